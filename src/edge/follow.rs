//! Noticing that something changed, for commands that go on showing it.

use super::connection::Connection;
use crate::spoke::watch::{self, Listed};
use futures::future::join_all;
use kube::core::ApiResource;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Nothing is shown more often.
const LEAST: Duration = Duration::from_millis(500);
/// What takes long to read is read so many times more seldom.
const SHARE: u32 = 4;

/// What is watched: a kind, in one namespace or in all.
pub struct Watch {
    pub connection: Connection,
    pub resource: ApiResource,
    pub namespace: Option<String>,
    pub selector: Option<String>,
}

/// Calls `show` at first and whenever something of this changed, until it says to stop; each time it reads anew.
pub async fn follow<E>(watches: &[Watch], mut show: impl AsyncFnMut() -> Result<bool, E>) -> Result<(), E> {
    let changed = Arc::new(Notify::new());
    let showing = async {
        loop {
            let begun = Instant::now();
            if !show().await? {
                return Ok(());
            }
            let took = begun.elapsed();
            changed.notified().await;
            tokio::time::sleep((took * SHARE).max(LEAST)).await;
        }
    };
    let watching = join_all(watches.iter().map(|watch| {
        let scope =
            watch::Scope { namespace: watch.namespace.clone(), selector: watch.selector.clone(), name: None };
        let tell = changed.clone();
        let seen = move |seen: Listed| {
            if !matches!(seen, Listed::Started) {
                tell.notify_one();
            }
            true
        };
        async move {
            watch::objects(watch.connection.verbs(), &watch.resource, &scope, seen, |_, _| true).await;
        }
    }));
    tokio::select! {
        biased;
        ended = showing => ended,
        _ = watching => std::future::pending().await,
    }
}
