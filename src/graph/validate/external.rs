//! `externalRef`: a kind, and a name or a selector.

use super::shape::{self, Shape};
use crate::api::naming;
use crate::api::rgd::Scope;
use crate::cel::template::{Text, split};
use crate::graph::External;
use crate::graph::diagnostic::{Path, Problems};
use crate::schema::kinds::Kinds;
use serde_json::{Map, Value, json};

pub fn check(
    reference: &Value,
    path: &Path,
    instance: Scope,
    kinds: &dyn Kinds,
    problems: &mut Problems,
) -> Option<Shape> {
    let Some(reference) = reference.as_object() else {
        problems.add(path, "externalRef is not an object");
        return None;
    };
    let gvk = shape::kind(reference, path, problems);
    let Some(metadata) = reference.get("metadata").and_then(Value::as_object) else {
        problems.add(path, "metadata field is missing");
        return None;
    };
    let metadata_path = path.key("metadata");
    let external = target(metadata, &metadata_path, problems);
    let (gvk, external) = (gvk?, external?);
    shape::literal_names(&gvk, metadata, &metadata_path, problems);
    let served = shape::served(&gvk, kinds, path, problems);
    let namespace = metadata.get("namespace").filter(|n| !n.is_null());
    if let Some(kind) = served.kind() {
        let blank = namespace.is_none_or(|n| n.as_str().is_some_and(|n| n.trim().is_empty()));
        if !kind.namespaced && namespace.is_some() {
            let message = format!("{} is cluster-scoped and must not set metadata.namespace", gvk.kind);
            problems.add(&metadata_path.key("namespace"), message);
        }
        if kind.namespaced && blank && instance == Scope::Cluster && external == External::Named {
            let message = format!(
                "{} is namespaced and must set metadata.namespace when the instance CRD is cluster-scoped",
                gvk.kind
            );
            problems.add(&metadata_path, message);
        }
    }
    let literal = namespace.and_then(Value::as_str).filter(|n| !n.is_empty() && !n.contains("${"));
    Some(Shape {
        gvk,
        served,
        external: Some(external),
        on_existing: None,
        namespace: literal.map(str::to_owned),
    })
}

fn target(metadata: &Map<String, Value>, path: &Path, problems: &mut Problems) -> Option<External> {
    let given = |field: &str| metadata.get(field).filter(|v| !v.is_null());
    let found = match (given("name"), given("selector")) {
        (Some(Value::String(name)), None) if !name.is_empty() => External::Named,
        (Some(_), None) => {
            problems.add(&path.key("name"), "metadata.name is not a name");
            return None;
        }
        (None, Some(Value::Object(selector))) => {
            requirements(selector, &path.key("selector"), problems);
            External::Selected
        }
        (None, Some(Value::String(text))) if is_one_expression(text) => External::Selected,
        (None, Some(_)) => {
            problems.add_with_help(
                &path.key("selector"),
                "metadata.selector is not a label selector",
                Some("write matchLabels or matchExpressions, or one expression that gives them".to_owned()),
            );
            return None;
        }
        _ => {
            problems.add(path, "exactly one of name or selector must be provided");
            return None;
        }
    };
    if given("namespace").is_some_and(|n| !n.is_string()) {
        problems.add(&path.key("namespace"), "metadata.namespace is not a string");
    }
    for key in metadata.keys().filter(|k| !["name", "namespace", "selector"].contains(&k.as_str())) {
        problems.add(
            &path.key(key),
            format!("unknown field {key:?}; externalRef.metadata has name, namespace, selector"),
        );
    }
    Some(found)
}

/// OpenAPI of a reference's metadata, for the types of its expressions. A whole selector that one expression gives is
/// judged when it is evaluated: its type may be any map.
pub fn schema(metadata: &Value) -> Value {
    let text = json!({"type": "string"});
    let requirement = json!({"type": "object", "properties": {
        "key": text, "operator": text, "values": {"type": "array", "items": text},
    }});
    let selector = match metadata.get("selector") {
        Some(Value::String(_)) => {
            json!({"type": "object", "additionalProperties": {"x-kubernetes-preserve-unknown-fields": true}})
        }
        selector => {
            // As the selector, they may be of any maps.
            let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
            let given = selector.and_then(|selector| selector.get("matchExpressions"));
            let items = if given.is_some_and(Value::is_string) { any } else { requirement };
            json!({"type": "object", "properties": {
                "matchLabels": {"type": "object", "additionalProperties": text},
                "matchExpressions": {"type": "array", "items": items},
            }})
        }
    };
    json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {
        "name": text, "namespace": text, "selector": selector,
    }}}})
}

const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// The form of a label selector; what its expressions give is judged when they are evaluated.
fn requirements(selector: &Map<String, Value>, path: &Path, problems: &mut Problems) {
    for (field, value) in selector {
        let path = path.key(field);
        match (field.as_str(), value) {
            (_, Value::Null) => {}
            ("matchLabels", Value::Object(labels)) => {
                for (key, value) in labels {
                    let path = path.key(key);
                    label_key(key, &path, problems);
                    if value.is_string() {
                        label_value(value, &path, problems);
                    } else {
                        wrong_type(&path, "string", &format!("{field}.{key}"), value, problems);
                    }
                }
            }
            ("matchExpressions", Value::Array(items)) => {
                for (i, item) in items.iter().enumerate() {
                    requirement(item, &path.index(i), problems);
                }
            }
            ("matchLabels" | "matchExpressions", Value::String(text)) if is_one_expression(text) => {}
            ("matchLabels", _) => wrong_type(&path, "object", field, value, problems),
            ("matchExpressions", _) => wrong_type(&path, "array", field, value, problems),
            _ => problems.add_with_help(
                &path,
                format!("schema not found for field {field}"),
                Some("a label selector has matchLabels, matchExpressions".to_owned()),
            ),
        }
    }
}

fn requirement(item: &Value, path: &Path, problems: &mut Problems) {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    match text("key") {
        None | Some("") => problems.add(path, "invalid label selector: key is missing"),
        Some(key) if is_literal(key) => label_key(key, &path.key("key"), problems),
        Some(_) => {}
    }
    for (i, value) in item.get("values").and_then(Value::as_array).into_iter().flatten().enumerate() {
        label_value(value, &path.key("values").index(i), problems);
    }
    match text("operator") {
        Some(operator) if OPERATORS.contains(&operator) => {
            let values = item.get("values").is_some_and(|v| v.as_array().is_none_or(|v| !v.is_empty()));
            if values != operator.ends_with("In") {
                let must = if values { "takes no values" } else { "needs values" };
                problems.add(path, format!("invalid label selector: operator {operator} {must}"));
            }
        }
        Some(operator) if !is_literal(operator) => {}
        _ => problems.add_with_help(
            path,
            "invalid label selector: operator is missing or unknown",
            Some(format!("allowed are {}", OPERATORS.join(", "))),
        ),
    }
}

fn is_literal(text: &str) -> bool {
    matches!(split(text), Ok(Text::Literal(_)))
}

fn label_key(key: &str, path: &Path, problems: &mut Problems) {
    if let Err(why) = naming::label_key(key) {
        problems.add(path, format!("invalid label selector: {key:?} is no key of a label: {why}"));
    }
}

fn label_value(value: &Value, path: &Path, problems: &mut Problems) {
    if let Some(text) = value.as_str().filter(|text| is_literal(text))
        && let Err(why) = naming::label_value(text)
    {
        problems.add(path, format!("invalid label selector: {text:?} is no value of a label: {why}"));
    }
}

/// Whether the whole text is one expression, which may give any value.
fn is_one_expression(text: &str) -> bool {
    matches!(split(text), Ok(Text::Standalone(_)))
}

fn wrong_type(path: &Path, expected: &str, field: &str, value: &Value, problems: &mut Problems) {
    let got = match value {
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::Null => "null",
    };
    let message = format!("expected {expected} type for path metadata.selector.{field}, got {got}");
    problems.add(path, message);
}
