//! What an object becomes by a write: what is kept, set, counted and refused.

use crate::kinds::Kind;
use crate::metadata::{self, naming, text};
use crate::server::Context;
use crate::status::Refusal;
use crate::{admit, crds, own};
use serde_json::{Map, Value, json};

/// Fields that a server alone sets.
pub(crate) const SYSTEM: [&str; 5] =
    ["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"];

/// Sets what nobody said.
pub(crate) fn complete(kind: &Kind, object: &mut Value) {
    if kind.custom {
        let metadata = object.get_mut("metadata").map(Value::take).unwrap_or_default();
        admit::default(object, &kind.schema);
        object["metadata"] = metadata;
    } else {
        own::default(kind, object);
    }
    metadata::tidy(object);
}

pub(crate) fn check(kind: &Kind, object: &Value, before: Option<&Value>, sub: &str) -> Result<(), Refusal> {
    let mut errors = metadata::validate(object, naming(&kind.plural));
    // A server checks custom objects twice here, and says so twice.
    for _ in 0..=usize::from(kind.custom) {
        errors.extend(before.into_iter().flat_map(|before| metadata::validate_update(before, object)));
    }
    if kind.custom {
        let mut found = admit::validate(object, &kind.schema);
        if sub == "status" {
            found.retain(|e| e.path == "status" || e.path.starts_with("status."));
            for error in &mut found {
                let short = error.path.strip_prefix("status.").unwrap_or(&error.path);
                error.message =
                    error.message.replace(&format!("{} in body", error.path), &format!("{short} in body"));
            }
        }
        errors.extend(found);
    } else if crds::is(&kind.resource()) && sub.is_empty() {
        errors.retain(|e| e.path != "metadata.name");
        errors.extend(crds::validate(object, before));
    } else {
        errors.extend(own::validate(kind, object, before));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid(&kind.group, &kind.kind, text(object, "name"), &errors))
}

/// Equal but for the times of field owners.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        if let Some(Value::Array(owners)) = object.pointer_mut("/metadata/managedFields") {
            owners.iter_mut().filter_map(Value::as_object_mut).for_each(|o| drop(o.remove("time")));
        }
        object
    };
    a == b || timeless(a) == timeless(b)
}

pub(crate) fn without(object: &Value, fields: &[&str]) -> Map<String, Value> {
    let mut left = object.as_object().cloned().unwrap_or_default();
    fields.iter().for_each(|field| drop(left.remove(*field)));
    left
}

/// What a patch made is no object of its kind.
pub(crate) fn unfit(text: &str, refusal: Refusal) -> Refusal {
    let crate::status::Body::Status(status) = &refusal.body else { return refusal };
    let message = status["message"].as_str().unwrap_or_default();
    let fault = ["json: ", "strict decoding error: "].iter().find_map(|word| message.find(word));
    let Some(why) = fault.and_then(|at| message.get(at..)) else { return refusal };
    let error = metadata::invalid("patch", &format!("{text:?}"), why);
    Refusal::invalid("", "", "", &[error])
}

/// What this endpoint does not write stays as it is.
pub(crate) fn keep(context: &Context<'_>, live: &Value, object: &mut Value) {
    let kind = &context.kind;
    if context.sub == "status" {
        let status = object.get("status").cloned();
        let metadata = object.get("metadata").cloned().unwrap_or_default();
        *object = live.clone();
        match (status, object.as_object_mut()) {
            (Some(status), Some(fields)) => drop(fields.insert("status".into(), status)),
            (None, Some(fields)) => drop(fields.remove("status")),
            _ => {}
        }
        if !kind.custom {
            // Labels and annotations may be written here, as for most kinds of Kubernetes.
            for field in ["annotations", "finalizers"] {
                if let Some(value) = metadata.get(field) {
                    object["metadata"][field] = value.clone();
                }
            }
        }
        if let Some(fields) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            fields.remove("managedFields");
        }
        return;
    }
    if let (true, Some(fields)) = (kind.status, object.as_object_mut()) {
        match live.get("status") {
            Some(status) => drop(fields.insert("status".into(), status.clone())),
            None => drop(fields.remove("status")),
        }
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    let Some(fields) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    fields.remove("selfLink");
    for field in SYSTEM {
        match live["metadata"].get(field) {
            Some(value) => drop(fields.insert(field.to_owned(), value.clone())),
            None => drop(fields.remove(field)),
        }
    }
}

/// The generation counts what is asked for, not what is found.
pub(crate) fn count(kind: &Kind, live: &Value, object: &mut Value) {
    let aside: &[&str] = if kind.status { &["metadata", "status"] } else { &["metadata"] };
    if without(live, aside) != without(object, aside) {
        let generation = live.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
        object["metadata"]["generation"] = json!(generation + 1);
    }
}

/// It is being deleted, and nothing keeps it.
pub(crate) fn is_done(object: &Value) -> bool {
    let holds =
        |pointer: &str| object.pointer(pointer).and_then(Value::as_array).is_some_and(|f| !f.is_empty());
    let namespace = object["kind"] == "Namespace" && holds("/spec/finalizers");
    !text(object, "deletionTimestamp").is_empty() && !holds("/metadata/finalizers") && !namespace
}
