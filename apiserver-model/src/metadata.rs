//! The rules of `metadata`, which are the same for all kinds.

use crate::admit::FieldError;
use regex::Regex;
use serde_json::{Map, Value};
use std::sync::LazyLock;

static SUBDOMAIN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$").ok());
static LABEL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").ok());
static NAME_PART: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$").ok());

fn fits(regex: &LazyLock<Option<Regex>>, text: &str) -> bool {
    regex.as_ref().is_some_and(|r| r.is_match(text))
}

const NO_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const NO_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const NO_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NO_NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const MOST_ANNOTATIONS: usize = 256 * 1024;

pub(crate) fn invalid(path: &str, value: &str, why: &str) -> FieldError {
    FieldError {
        reason: "FieldValueInvalid",
        path: path.into(),
        message: format!("Invalid value: {value}: {why}"),
    }
}

fn quoted(path: &str, value: &str, why: &str) -> FieldError {
    invalid(path, &format!("{value:?}"), why)
}

fn required(path: &str, why: &str) -> FieldError {
    let message = if why.is_empty() { "Required value".into() } else { format!("Required value: {why}") };
    FieldError { reason: "FieldValueRequired", path: path.into(), message }
}

pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// A key of labels or annotations; `None` where it is one.
fn key_fault(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        None => (None, key),
        Some((_, rest)) if rest.contains('/') => {
            return Some("a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')".into());
        }
        Some((prefix, name)) => (Some(prefix), name),
    };
    if prefix == Some("") {
        return Some("prefix part must be non-empty".into());
    }
    if prefix.is_some_and(|p| !fits(&SUBDOMAIN, p)) {
        return Some(format!("prefix part {NO_SUBDOMAIN}"));
    }
    if name.is_empty() {
        return Some("name part must be non-empty".into());
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 bytes".into());
    }
    (!fits(&NAME_PART, name)).then(|| NO_NAME_PART.into())
}

/// How names of a kind are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    Subdomain,
    Label,
    /// Any segment of a path: roles.
    Segment,
}

pub(crate) fn naming(plural: &str) -> Naming {
    match plural {
        "namespaces" => Naming::Label,
        "roles" | "rolebindings" | "clusterroles" | "clusterrolebindings" => Naming::Segment,
        _ => Naming::Subdomain,
    }
}

fn name_fault(name: &str, naming: Naming) -> Option<&'static str> {
    let (most, right, why) = match naming {
        Naming::Subdomain => (253, fits(&SUBDOMAIN, name), NO_SUBDOMAIN),
        Naming::Label => (63, fits(&LABEL, name), NO_LABEL),
        Naming::Segment if name == "." || name == ".." => return Some("may not be '.'"),
        Naming::Segment if name.contains('/') => return Some("may not contain '/'"),
        Naming::Segment if name.contains('%') => return Some("may not contain '%'"),
        Naming::Segment => return None,
    };
    if name.len() > most {
        return Some(if most == 63 {
            "must be no more than 63 bytes"
        } else {
            "must be no more than 253 bytes"
        });
    }
    (!right).then_some(why)
}

/// What is wrong with the metadata of an object that is to be kept.
pub(crate) fn validate(object: &Value, naming: Naming) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let metadata = object.get("metadata");
    let name = text(object, "name");
    if name.is_empty() {
        errors.push(required("metadata.name", "name or generateName is required"));
    } else if let Some(why) = name_fault(name, naming) {
        errors.push(quoted("metadata.name", name, why));
    }
    let map = |field: &str| metadata.and_then(|m| m.get(field)).and_then(Value::as_object);
    for (key, value) in map("labels").into_iter().flatten() {
        if let Some(why) = key_fault(key) {
            errors.push(quoted("metadata.labels", key, &why));
        }
        let value = value.as_str().unwrap_or_default();
        if value.len() > 63 {
            errors.push(quoted("metadata.labels", value, "must be no more than 63 bytes"));
        } else if !value.is_empty() && !fits(&NAME_PART, value) {
            errors.push(quoted("metadata.labels", value, NO_VALUE));
        }
    }
    let mut size = 0;
    for (key, value) in map("annotations").into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        if let Some(why) = key_fault(&key.to_lowercase()) {
            errors.push(quoted("metadata.annotations", key, &why));
        }
    }
    if size > MOST_ANNOTATIONS {
        errors.push(FieldError {
            reason: "FieldValueTooLong",
            path: "metadata.annotations".into(),
            message: format!("Too long: may not be more than {MOST_ANNOTATIONS} bytes"),
        });
    }
    owners(metadata, &mut errors);
    let finalizers =
        metadata.and_then(|m| m.get("finalizers")).and_then(Value::as_array).into_iter().flatten();
    for (index, finalizer) in finalizers.enumerate() {
        let finalizer = finalizer.as_str().unwrap_or_default();
        let path = format!("metadata.finalizers[{index}]");
        if let Some(why) = key_fault(finalizer) {
            errors.push(quoted(&path, finalizer, &why));
        } else if !finalizer.contains('/') && !STANDARD.contains(&finalizer) && !finalizer.contains('.') {
            errors.push(quoted(
                &path,
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    errors
}

const STANDARD: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

fn owners(metadata: Option<&Value>, errors: &mut Vec<FieldError>) {
    let owners = metadata.and_then(|m| m.get("ownerReferences")).and_then(Value::as_array);
    let mut controllers = 0;
    for (index, owner) in owners.into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner.get(field).and_then(Value::as_str).unwrap_or_default().is_empty() {
                errors.push(required(
                    &format!("metadata.ownerReferences[{index}].{field}"),
                    "must not be empty",
                ));
            }
        }
        controllers += usize::from(owner.get("controller").and_then(Value::as_bool).unwrap_or(false));
    }
    if controllers > 1 {
        let why = "Only one reference can have Controller set to true";
        errors.push(invalid("metadata.ownerReferences", "[...]", why));
    }
}

/// What a write may not change.
pub(crate) fn validate_update(before: &Value, after: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let list = |object: &Value| -> Vec<String> {
        let found = object.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
        found.filter_map(|f| f.as_str().map(str::to_owned)).collect()
    };
    if !text(before, "deletionTimestamp").is_empty() {
        let old = list(before);
        let new: Vec<String> = list(after).into_iter().filter(|f| !old.contains(f)).collect();
        if !new.is_empty() {
            let names: Vec<String> = new.iter().map(|f| format!("{f:?}")).collect();
            let message = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                names.join(", ")
            );
            errors.push(FieldError {
                reason: "FieldValueForbidden",
                path: "metadata.finalizers".into(),
                message,
            });
        }
    }
    for field in ["name", "namespace", "uid"] {
        let (old, new) = (text(before, field), text(after, field));
        if old != new {
            errors.push(quoted(&format!("metadata.{field}"), new, "field is immutable"));
        }
    }
    errors
}

/// Metadata as a server writes it: what is empty is left out.
pub(crate) fn tidy(object: &mut Value) {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
        object["metadata"] = Value::Object(Map::new());
        return;
    };
    metadata.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
}
