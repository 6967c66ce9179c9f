//! Answers that are more than one object: pages of lists, and watches.

use super::error::{ApiError, classify, read};
use kube::client::Body;
use serde_json::Value;

/// One page of a list.
#[derive(Debug)]
pub(in crate::spoke) struct Page {
    pub version: String,
    /// Where the next page begins; empty where this is the last one.
    pub next: String,
    pub items: Vec<Value>,
    /// In bytes, as received.
    pub size: usize,
}

#[derive(serde::Deserialize)]
pub(super) struct List {
    pub metadata: ListMeta,
    // Some servers say null for none; a list that does not speak of items is none.
    pub items: Option<Vec<Value>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMeta {
    #[serde(default)]
    pub resource_version: String,
    #[serde(rename = "continue")]
    pub next: Option<String>,
}

/// The events of a watch.
pub(in crate::spoke) struct Lines {
    body: Body,
    received: Vec<u8>,
    /// So much of it holds no line end.
    scanned: usize,
    /// Of the last event, in bytes.
    pub size: usize,
}

impl Lines {
    pub(super) fn of(body: Body) -> Self {
        Self { body, received: Vec::new(), scanned: 0, size: 0 }
    }

    /// The next event; `Ok(None)` when the server ended the watch. May be dropped and asked again.
    pub async fn next(&mut self) -> Result<Option<Value>, ApiError> {
        loop {
            let rest = self.received.get(self.scanned..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let end = self.scanned + end;
                self.scanned = 0;
                let line: Vec<u8> = self.received.drain(..=end).collect();
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                self.size = line.len();
                return read(&line).map(Some);
            }
            self.scanned = self.received.len();
            let frame = std::future::poll_fn(|cx| {
                let body = std::pin::Pin::new(&mut self.body);
                hyper::body::Body::poll_frame(body, cx)
            });
            match frame.await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.received.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(classify(&error)),
                None => return Ok(None),
            }
        }
    }
}
