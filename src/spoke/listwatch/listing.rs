//! One list, page by page.

use super::ListWatch;
use super::wanted::{Listed, is_named};
use crate::spoke::client::ApiError;
use crate::spoke::weight::{KEPT, Weights};

impl<L: FnMut(Listed) -> bool> ListWatch<'_, L> {
    /// Reads all pages; `None` when nobody wants to hear more. Returns the version to watch from.
    pub(super) async fn list(&mut self) -> Result<Option<String>, ApiError> {
        let mut next = String::new();
        self.weights.iter_mut().for_each(Weights::list_started);
        if !(self.listed)(Listed::Started) {
            return Ok(None);
        }
        loop {
            let limit = self.page.to_string();
            let mut query = vec![("limit", limit.as_str())];
            if !next.is_empty() {
                query.push(("continue", next.as_str()));
            }
            let path = self.wanted.path_with(&query);
            let read = match Box::pin(self.client.page(&path, self.wanted.accept(true))).await {
                Err(ApiError::TooLarge { .. }) if self.page > 1 => {
                    self.page = (self.page / 4).max(1);
                    continue;
                }
                read => read?,
            };
            let each = read.size / read.items.len().max(1);
            for object in read.items.into_iter().filter(is_named) {
                if self.weights.as_mut().is_some_and(|weights| !weights.shown(&object, each)) {
                    return Err(self.too_much());
                }
                if !(self.listed)(Listed::Object(object)) {
                    return Ok(None);
                }
            }
            if read.next.is_empty() {
                self.weights.iter_mut().for_each(Weights::list_done);
                let version = read.version.parse().unwrap_or_default();
                return Ok((self.listed)(Listed::Done(version)).then_some(read.version));
            }
            if read.next == next {
                return Err(ApiError::NotAnApi {
                    message: "its list goes on with the same page for ever".into(),
                });
            }
            next = read.next;
        }
    }

    /// The cluster shows more than is kept of it.
    pub(super) fn too_much(&self) -> ApiError {
        let message = format!(
            "with {} the cluster shows more than {} MiB; the rest is not read",
            self.wanted.kind,
            KEPT / 1024 / 1024
        );
        self.client.note("size", &message);
        ApiError::TooLarge { message }
    }
}
