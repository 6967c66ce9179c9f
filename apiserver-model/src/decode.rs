//! What comes in: an object of a kind of Kubernetes has to fit its types; an unknown field is dropped, told or refused.

use crate::admit;
use crate::kinds::Kind;
use crate::metadata;
use crate::schema::{At, Type};
use crate::server::Context;
use crate::status::Refusal;
use serde_json::{Value, json};

/// What a request says of fields that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    Refused,
    Told,
    Dropped,
}

fn unknown(context: &Context<'_>) -> Result<Unknown, Refusal> {
    match context.query.get("fieldValidation") {
        "Strict" => Ok(Unknown::Refused),
        "Warn" | "" => Ok(Unknown::Told),
        "Ignore" => Ok(Unknown::Dropped),
        other => {
            let error = admit::FieldError {
                reason: "FieldValueNotSupported",
                path: "fieldValidation".into(),
                message: format!(
                    "Unsupported value: {other:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
                ),
            };
            let options = match context.parts.method.as_str() {
                "POST" => "CreateOptions",
                "PUT" => "UpdateOptions",
                _ => "PatchOptions",
            };
            Err(Refusal::invalid("meta.k8s.io", options, "", &[error]))
        }
    }
}

/// An object of the kind that the path names, as a server understands it; with warnings for whoever sent it.
pub(crate) fn object(
    context: &Context<'_>,
    mut value: Value,
    text: &str,
) -> Result<(Value, Vec<String>), Refusal> {
    let kind = &context.kind;
    if !value.is_object() {
        let why = format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind",
            kind.kind
        );
        return Err(Refusal::bad_request(&why));
    }
    let word =
        |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (said_kind, said_version) = (word(&value, "kind"), word(&value, "apiVersion"));
    if kind.custom && said_kind.is_empty() {
        let why = format!(
            "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in '{text}' ({text})",
            kind.kind
        );
        return Err(Refusal::bad_request(&why));
    }
    if !said_kind.is_empty() && said_kind != kind.kind {
        return Err(other_kind(kind, &said_kind, &said_version, metadata::text(&value, "name")));
    }
    if !kind.custom && !said_version.is_empty() && said_version != kind.api_version() {
        let short = said_version.rsplit('/').next().unwrap_or_default();
        return Err(Refusal::bad_request(&format!(
            "{} in version {short:?} cannot be handled as a {}: no kind {:?} is registered for version {said_version:?} in scheme \"pkg/runtime/scheme.go:111\"",
            kind.kind, kind.kind, kind.kind
        )));
    }
    if !said_version.is_empty() && said_version != kind.api_version() {
        let why = format!(
            "the API version in the data ({said_version}) does not match the expected API version ({})",
            kind.api_version()
        );
        return Err(Refusal::bad_request(&why));
    }
    value["kind"] = json!(kind.kind);
    value["apiVersion"] = json!(kind.api_version());
    let unknown = unknown(context)?;
    // What a ControllerRevision holds is kept to the letter.
    let raw = if kind.group == "apps" { value.get_mut("data").map(Value::take) } else { None };
    if !kind.custom {
        without_nulls(&mut value, kind.generation);
        if let Err((what, path, want)) = typed(&value, kind.schema.top(), "") {
            let why = format!(
                "json: cannot unmarshal {what} into Go struct field {}{path} of type {want}",
                kind.kind
            );
            return Err(cannot(kind, &why));
        }
    }
    lease_times(kind, &value)?;
    if !value.get("metadata").is_none_or(|m| m.is_object() || m.is_null()) {
        return Err(cannot(kind, "json: cannot unmarshal string into Go struct field of type v1.ObjectMeta"));
    }
    let kept = take_aside(kind, &mut value);
    let dropped = admit::prune(&mut value, &kind.schema);
    put_back(kind, &mut value, kept);
    if let Some(raw) = raw {
        value["data"] = raw;
    }
    let mut warnings = Vec::new();
    if !dropped.is_empty() {
        let texts: Vec<String> = dropped.iter().map(|path| format!("unknown field {path:?}")).collect();
        match unknown {
            Unknown::Refused => {
                return Err(cannot(kind, &format!("strict decoding error: {}", texts.join(", "))));
            }
            Unknown::Told => warnings = texts,
            Unknown::Dropped => {}
        }
    }
    metadata::tidy(&mut value);
    Ok((value, warnings))
}

/// Times of a Lease are written with their fractions.
fn lease_times(kind: &Kind, value: &Value) -> Result<(), Refusal> {
    if !kind.custom && kind.kind == "Lease" {
        for field in ["acquireTime", "renewTime"] {
            let time =
                value.get("spec").and_then(|s| s.get(field)).and_then(Value::as_str).unwrap_or_default();
            let rest = time.get(19..).unwrap_or_default();
            if !time.is_empty() && !rest.starts_with('.') {
                let why = format!(
                    "parsing time {time:?} as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse {rest:?} as \".000000\""
                );
                return Err(cannot(kind, &why));
            }
        }
    }
    Ok(())
}

/// What a schema does not describe well enough to be pruned by: metadata of a custom object, field owners, and the schemas in
/// a CRD.
fn take_aside(kind: &Kind, value: &mut Value) -> Vec<Value> {
    if kind.custom {
        return value.get_mut("metadata").map(Value::take).into_iter().collect();
    }
    let owners = value.pointer_mut("/metadata/managedFields").map(Value::take);
    let mut kept = vec![owners.unwrap_or_default()];
    if kind.generation {
        let versions =
            value.pointer_mut("/spec/versions").and_then(Value::as_array_mut).into_iter().flatten();
        kept.extend(versions.map(|v| v.get_mut("schema").map(Value::take).unwrap_or_default()));
    }
    kept
}

fn put_back(kind: &Kind, value: &mut Value, kept: Vec<Value>) {
    let mut kept = kept.into_iter();
    let Some(first) = kept.next() else { return };
    if kind.custom {
        value["metadata"] = first;
        return;
    }
    if !first.is_null() {
        value["metadata"]["managedFields"] = first;
    }
    let versions = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut).into_iter().flatten();
    for (version, schema) in versions.zip(kept).filter(|(_, schema)| !schema.is_null()) {
        version["schema"] = schema;
    }
}

fn cannot(kind: &Kind, why: &str) -> Refusal {
    let text =
        format!("{} in version {:?} cannot be handled as a {}: {why}", kind.kind, kind.version, kind.kind);
    Refusal::bad_request(&text)
}

fn other_kind(kind: &Kind, said: &str, version: &str, name: &str) -> Refusal {
    let group_version = if version.is_empty() { kind.api_version() } else { version.to_owned() };
    let short = group_version.rsplit('/').next().unwrap_or_default();
    if kind.custom {
        let error = metadata::invalid("kind", &format!("{said:?}"), &format!("must be {}", kind.kind));
        return Refusal::invalid(&kind.group, said, name, &[error]);
    }
    let package = match kind.group.as_str() {
        "" => "core",
        "rbac.authorization.k8s.io" => "rbac",
        "coordination.k8s.io" => "coordination",
        _ => "apiextensions",
    };
    Refusal::bad_request(&format!(
        "{said} in version {short:?} cannot be handled as a {}: converting ({short}.{said}) to ({package}.{}): unknown conversion",
        kind.kind, kind.kind
    ))
}

/// Kubernetes' own types know no null, and mostly no empty map or list.
fn without_nulls(value: &mut Value, keep_empty: bool) {
    let Value::Object(fields) = value else { return };
    for (name, inner) in fields.iter_mut() {
        // Schemas and patterns in CRDs may well hold nulls and empty maps.
        if !(keep_empty && name == "spec") {
            deep(inner, name == "metadata" || name == "spec");
        }
    }
    fields.retain(|_, inner| !inner.is_null());
    if !keep_empty {
        for name in ["data", "binaryData", "stringData"] {
            for value in
                fields.get_mut(name).and_then(Value::as_object_mut).into_iter().flat_map(|m| m.values_mut())
            {
                if value.is_null() {
                    *value = json!("");
                }
            }
        }
        for name in ["data", "binaryData", "stringData", "secrets", "imagePullSecrets", "subjects"] {
            let empty = match fields.get(name) {
                Some(Value::Object(m)) => m.is_empty(),
                Some(Value::Array(a)) => a.is_empty(),
                _ => false,
            };
            if empty {
                fields.remove(name);
            }
        }
    }
}

fn deep(value: &mut Value, struct_like: bool) {
    match value {
        Value::Object(fields) => {
            if struct_like {
                fields.retain(|_, inner| !inner.is_null());
            }
            fields.values_mut().for_each(|inner| deep(inner, true));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| deep(inner, true)),
        _ => {}
    }
}

/// The first place where a value is of another type than its field: what it is, where, what it should be.
fn typed(value: &Value, at: At<'_>, path: &str) -> Result<(), (&'static str, String, &'static str)> {
    let is = match value {
        Value::Null => return Ok(()),
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let (fits, want) = match at.ty() {
        Type::Any => (true, ""),
        Type::String => (is == "string", "string"),
        Type::Integer => (value.is_i64() || value.is_u64(), "int32"),
        Type::Number => (is == "number", "float64"),
        Type::Boolean => (is == "bool", "bool"),
        Type::IntOrString => (matches!(is, "number" | "string"), "intstr.IntOrString"),
        Type::Object => (is == "object", "map[string]string"),
        Type::Array => (is == "array", "[]string"),
    };
    if !fits {
        return Err((is, path.to_owned(), want));
    }
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                if let Some(place) = at.declared(name) {
                    let below = if at.names(name) { format!("{path}.{name}") } else { path.to_owned() };
                    typed(inner, place, &below)?;
                }
            }
            Ok(())
        }
        Value::Array(items) if at.has_items() => {
            items.iter().try_for_each(|item| typed(item, at.item(), path))
        }
        _ => Ok(()),
    }
}
