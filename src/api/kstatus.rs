//! The verdict of kstatus on an object of a kind that kstatus does not know. Flux waits by it.

use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kstatus {
    InProgress,
    Failed,
    Current,
    Terminating,
}

pub fn of(object: &Value) -> Kstatus {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Kstatus::Terminating;
    }
    let observed = object.pointer("/status/observedGeneration");
    if observed.is_some_and(|observed| Some(observed) != object.pointer("/metadata/generation")) {
        return Kstatus::InProgress;
    }
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let is = |type_: &str, status: &str| {
        conditions.into_iter().flatten().any(|c| c["type"] == type_ && c["status"] == status)
    };
    if is("Reconciling", "True") {
        Kstatus::InProgress
    } else if is("Stalled", "True") {
        Kstatus::Failed
    } else if is("Ready", "False") || is("Ready", "Unknown") {
        Kstatus::InProgress
    } else {
        // An object without any conditions counts as current too.
        Kstatus::Current
    }
}
