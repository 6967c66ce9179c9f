//! One watch of a collection, with the moment at which each event came.

use crate::env::api::{Api, Task};
use crate::env::eventually;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Events since it was opened; it is closed when dropped. The API server ends the watches of a kind when its CRD changes:
/// then all objects are told as they are, and it goes on.
pub struct Watch {
    api: Api,
    path: String,
    open: RefCell<Open>,
}

struct Open {
    events: Receiver<(Instant, Value)>,
    /// Objects that a list told, and nobody has looked at.
    listed: VecDeque<Value>,
    _task: Task,
}

impl Watch {
    /// Watches from now on: objects that exist already are not told.
    pub fn open(api: &Api, path: &str) -> Result<Self> {
        let mut open = Self::begin(api, path)?;
        open.listed.clear();
        Ok(Self { api: api.clone(), path: path.to_owned(), open: RefCell::new(open) })
    }

    fn begin(api: &Api, path: &str) -> Result<Open> {
        eventually(Duration::from_secs(120), &format!("{path} is watched"), || {
            let list = api.get(path)?.with_context(|| format!("{path} is not served"))?;
            let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0");
            let (task, events) =
                api.watch(&format!("{path}?watch=1&timeoutSeconds=3600&resourceVersion={version}"))?;
            let listed = list["items"].as_array().cloned().unwrap_or_default().into();
            Ok(Open { events, listed, _task: task })
        })
    }

    /// The moment of the first event that `wanted` says yes to, from now on.
    pub fn until(&self, patience: Duration, mut wanted: impl FnMut(&Value) -> bool) -> Result<Instant> {
        let end = Instant::now() + patience;
        let mut open = self.open.borrow_mut();
        loop {
            while let Some(object) = open.listed.pop_front() {
                if wanted(&object) {
                    return Ok(Instant::now());
                }
            }
            match open.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok((at, event)) if event["type"] != "ERROR" && wanted(&event["object"]) => return Ok(at),
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) if Instant::now() < end => {
                    *open = Self::begin(&self.api, &self.path)?;
                }
                Err(_) => bail!("not seen on {} within {} s", self.path, patience.as_secs()),
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
