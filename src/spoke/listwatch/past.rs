//! Whether an API server went back in time. Where etcd is restored from a backup and gives versions a second time, a watch
//! from a version that is yet to come is let in, and told of nothing that happens up to there: only lists tell.
//!
//! It is asked when contact was lost, by the first of all watches that goes on, for all of them.

use super::ListWatch;
use super::wanted::{Listed, Wanted};
use crate::api::maps::HashMap;
use crate::spoke::client::ApiError;
use crate::spoke::groups::aggregated;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// What is known of one API server, shared by all that watch there.
#[derive(Clone, Debug, Default)]
pub(in crate::spoke) struct Past(Arc<Mutex<HashMap<Box<str>, Arc<Scope>>>>);

/// What counts its versions together: Kubernetes' own groups, or one group that another server may serve.
#[derive(Debug, Default)]
struct Scope {
    known: Mutex<Known>,
    /// Held by the one that asks.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// The highest version that a watch had come to which lost contact.
    newest: u64,
    /// When the server was known last to have come to a version, and to which.
    came_to: Option<(Instant, u64)>,
    /// When it was found last to have gone back.
    went_back: Option<Instant>,
}

impl Past {
    fn scope(&self, wanted: &Wanted) -> Arc<Scope> {
        let group = aggregated(&wanted.path).unwrap_or_default();
        let mut scopes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.entry(group.into()).or_default().clone()
    }
}

impl Scope {
    fn known<T>(&self, f: impl FnOnce(&mut Known) -> T) -> T {
        f(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    /// Whether the server went back after contact was lost, as far as that was asked since.
    fn went_back(&self, lost: Instant, version: u64) -> Option<bool> {
        if self.went_back.is_some_and(|at| at >= lost) {
            return Some(true);
        }
        self.came_to.is_some_and(|(at, known)| at >= lost && version <= known).then_some(false)
    }
}

impl<L: FnMut(Listed) -> bool> ListWatch<'_, L> {
    /// Contact was lost when this version was known.
    pub(super) fn lose(&mut self, version: &str) {
        self.lost = Some(Instant::now());
        if let Ok(version) = version.parse::<u64>() {
            let scope = self.client.past().scope(self.wanted);
            scope.known(|known| known.newest = known.newest.max(version));
        }
    }

    /// Whether the server went back behind this version since contact was lost, if it was.
    pub(super) async fn went_back(&mut self, version: &str) -> Result<bool, ApiError> {
        let (Some(lost), Ok(version)) = (self.lost, version.parse::<u64>()) else { return Ok(false) };
        let scope = self.client.past().scope(self.wanted);
        let _one = scope.asking.lock().await;
        let known = scope.known(|known| known.went_back(lost, version));
        let went_back = match known {
            Some(known) => known,
            None => self.ask(&scope, version).await?,
        };
        self.lost = None;
        Ok(went_back)
    }

    async fn ask(&self, scope: &Scope, version: u64) -> Result<bool, ApiError> {
        let (begun, newest) = (Instant::now(), scope.known(|known| known.newest.max(version)));
        match self.client.has_come_to(&self.wanted.path_at(newest)).await {
            Ok(true) => {
                scope.known(|known| known.came_to = Some((begun, newest)));
                Ok(false)
            }
            Ok(false) => {
                scope.known(|known| {
                    *known = Known { went_back: Some(Instant::now()), ..Known::default() };
                });
                let text = "it went back in time, as after a restore of etcd: all of it is listed anew";
                tracing::warn!(kind = self.wanted.kind, newest, "{text}");
                self.client.note("restore", text);
                Ok(true)
            }
            Err(error) if error.is_contact_problem() => Err(error),
            // The watch itself will say what is wrong.
            Err(_) => Ok(false),
        }
    }
}
