//! One watch of a collection, with the moment at which each event came.

use crate::env::api::Api;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Events since it was opened; it is closed when dropped.
pub struct Watch {
    events: Receiver<(Instant, Value)>,
    what: String,
    _task: crate::env::api::Task,
}

impl Watch {
    /// Watches from now on: objects that exist already are not told.
    pub fn open(api: &Api, path: &str) -> Result<Self> {
        let list = api.get(&format!("{path}?limit=1"))?.with_context(|| format!("{path} is not served"))?;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
        let (task, events) =
            api.watch(&format!("{path}?watch=1&timeoutSeconds=3600&resourceVersion={version}"))?;
        Ok(Self { events, what: path.to_owned(), _task: task })
    }

    /// The moment of the first event that `wanted` says yes to, from now on.
    pub fn until(&self, patience: Duration, mut wanted: impl FnMut(&Value) -> bool) -> Result<Instant> {
        let end = Instant::now() + patience;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok((at, event)) if wanted(&event["object"]) => return Ok(at),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("not seen on {} within {} s", self.what, patience.as_secs())
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the watch of {} has ended", self.what),
            }
        }
    }
}

pub fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// Whether an instance is ACTIVE.
pub fn active(object: &Value) -> bool {
    object.pointer("/status/state").and_then(Value::as_str) == Some("ACTIVE")
}
