//! What a server does with kinds of Kubernetes that no schema says.

use crate::admit::FieldError;
use crate::crds;
use crate::kinds::Kind;
use crate::metadata::{invalid, text};
use base64::Engine;
use serde_json::{Value, json};

const KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const RBAC: &str = "rbac.authorization.k8s.io";

/// Sets what nobody said.
pub(crate) fn default(kind: &Kind, object: &mut Value) {
    match kind.kind.as_str() {
        "CustomResourceDefinition" => crds::default(object),
        "Secret" => {
            let strings = object.as_object_mut().and_then(|o| o.remove("stringData"));
            for (key, value) in strings.as_ref().and_then(Value::as_object).into_iter().flatten() {
                let bytes = value.as_str().unwrap_or_default().as_bytes();
                object["data"][key] = base64::engine::general_purpose::STANDARD.encode(bytes).into();
            }
            if object.get("type").and_then(Value::as_str).unwrap_or_default().is_empty() {
                object["type"] = json!("Opaque");
            }
        }
        "Namespace" => {
            let name = text(object, "name").to_owned();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = json!(name);
            if !object["spec"].is_object() {
                object["spec"] = json!({});
            }
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            if object.pointer("/roleRef/apiGroup").and_then(Value::as_str).unwrap_or_default().is_empty() {
                object["roleRef"]["apiGroup"] = json!(RBAC);
            }
            for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
                let group = subject.get("apiGroup").and_then(Value::as_str).unwrap_or_default();
                if group.is_empty() && matches!(subject["kind"].as_str(), Some("User" | "Group")) {
                    subject["apiGroup"] = json!(RBAC);
                }
            }
        }
        "Role" | "ClusterRole" if object.get("rules").is_none() => object["rules"] = Value::Null,
        "Event" => {
            for field in ["regarding", "deprecatedSource"] {
                if !object[field].is_object() {
                    object[field] = json!({});
                }
            }
            for field in ["eventTime", "deprecatedFirstTimestamp", "deprecatedLastTimestamp"] {
                if object.get(field).is_none() {
                    object[field] = Value::Null;
                }
            }
        }
        "Lease" if !object["spec"].is_object() => object["spec"] = json!({}),
        _ => {}
    }
}

/// What a new object has that nobody may say.
pub(crate) fn first_status(kind: &Kind, object: &mut Value) {
    match kind.kind.as_str() {
        "CustomResourceDefinition" => crds::first_status(object),
        "Namespace" => object["status"] = json!({"phase": "Active"}),
        _ => {}
    }
}

/// What a new object has and nobody owns.
pub(crate) fn after_owners(kind: &Kind, object: &mut Value) {
    if kind.kind == "Namespace" && !kind.custom && object.pointer("/spec/finalizers").is_none() {
        object["spec"]["finalizers"] = json!(["kubernetes"]);
    }
}

pub(crate) fn validate(kind: &Kind, object: &Value, before: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match kind.kind.as_str() {
        "ConfigMap" | "Secret" => {
            for field in ["data", "binaryData"] {
                for key in object.get(field).and_then(Value::as_object).into_iter().flatten().map(|(k, _)| k)
                {
                    let right = !key.is_empty()
                        && key.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
                    if !right {
                        errors.push(invalid(&format!("{field}[{key}]"), &format!("{key:?}"), KEY));
                    }
                }
            }
            if let Some(before) = before {
                fixed(kind, before, object, &mut errors);
            }
        }
        "RoleBinding" | "ClusterRoleBinding" if before.is_some_and(|b| b["roleRef"] != object["roleRef"]) => {
            let found = format!("{}", object["roleRef"]);
            errors.push(invalid("roleRef", &found, "cannot change roleRef"));
        }
        "Lease" => {
            let seconds = object.pointer("/spec/leaseDurationSeconds").and_then(Value::as_i64);
            if let Some(seconds) = seconds.filter(|s| *s <= 0) {
                errors.push(invalid(
                    "spec.leaseDurationSeconds",
                    &seconds.to_string(),
                    "must be greater than 0",
                ));
            }
            let transitions = object.pointer("/spec/leaseTransitions").and_then(Value::as_i64);
            if let Some(number) = transitions.filter(|s| *s < 0) {
                let why = "must be greater than or equal to 0";
                errors.push(invalid("spec.leaseTransitions", &number.to_string(), why));
            }
        }
        _ => {}
    }
    errors
}

/// What cannot change: all of an immutable ConfigMap, the type of a Secret.
fn fixed(kind: &Kind, before: &Value, object: &Value, errors: &mut Vec<FieldError>) {
    let forbidden = |path: &str, why: &str| FieldError {
        reason: "FieldValueForbidden",
        path: path.into(),
        message: format!("Forbidden: {why}"),
    };
    if kind.kind == "Secret" && before["type"] != object["type"] {
        let found = format!("{:?}", object["type"].as_str().unwrap_or_default());
        errors.push(invalid("type", &found, "field is immutable"));
    }
    if before["immutable"] != true {
        return;
    }
    if object["immutable"] != true {
        errors.push(forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    for field in ["data", "binaryData"] {
        if before.get(field) != object.get(field) {
            errors.push(forbidden(field, "field is immutable when `immutable` is set"));
        }
    }
}
