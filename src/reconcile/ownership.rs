//! What our field manager owns on a live object.
//!
//! Server-side apply records, per manager, which fields it set (`managedFields`, format FieldsV1). The part of the object
//! under these fields tells drift: our entry shrank (somebody changed our value), or a value that we own changed. Whether
//! the part is what we want is judged in [`super::settled`].
//!
//! The record also tells how lists are keyed, so that `ports` or `containers` match by their keys here as they do in
//! the API server.

use crate::api::packed::{At, Packed, Packer};
use crate::schema::kept::is_zero;
use serde_json::{Map, Value};

/// The fields that `manager` applied (not through a subresource), as FieldsV1.
pub fn applied_fields<'a>(object: &'a Value, manager: &str) -> Option<&'a Value> {
    object.pointer("/metadata/managedFields")?.as_array()?.iter().find_map(|entry| {
        let is = |key: &str, want: &str| entry.get(key).and_then(Value::as_str) == Some(want);
        let whole = entry.get("subresource").and_then(Value::as_str).unwrap_or_default().is_empty();
        (is("manager", manager) && is("operation", "Apply") && whole).then(|| entry.get("fieldsV1"))?
    })
}

/// The live values at the paths of `fields`: the part of the object that the manager owns, as it is now.
pub fn project(fields: At, live: At) -> Packed {
    let mut packer = Packer::default();
    project_into(fields, live, &mut packer);
    packer.packed()
}

fn project_into(fields: At, live: At, packer: &mut Packer) {
    if fields.entries().next().is_none() {
        packer.at(live);
    } else if live.is_map() {
        packer.map(|packer| {
            // The keys of both are in one order, also without what FieldsV1 puts before them.
            for (key, inner) in fields.entries() {
                if let Some((name, value)) = key.strip_prefix("f:").and_then(|n| Some((n, live.get(n)?))) {
                    packer.text(name);
                    project_into(inner, value, packer);
                }
            }
        });
    } else if live.is_list() {
        let entries: Vec<(ListKey, At)> =
            fields.entries().filter_map(|(k, v)| Some((ListKey::parse(k)?, v))).collect();
        packer.list(|packer| {
            for (index, item) in live.items().enumerate() {
                if let Some((_, inner)) = entries.iter().find(|(key, _)| key.is_of(index, item)) {
                    project_into(*inner, item, packer);
                }
            }
        });
    } else {
        packer.at(live);
    }
}

/// One element of a list in FieldsV1.
pub(super) enum ListKey {
    /// `k:{"port":80,"protocol":"TCP"}`
    Keys(Map<String, Value>),
    /// `v:"value"`
    Value(Value),
    /// `i:3`
    Index(usize),
}

impl ListKey {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (tag, rest) = text.split_once(':')?;
        match tag {
            "k" => serde_json::from_str(rest).ok().map(Self::Keys),
            "v" => serde_json::from_str(rest).ok().map(Self::Value),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }
    /// Whether a wanted item has this key, as far as it spells its keys out.
    pub(super) fn may_mean(&self, item: &Value) -> bool {
        match self {
            Self::Keys(keys) => {
                let told = |k: &String, v: &Value| item.get(k).map(|own| own == v);
                keys.iter().any(|(k, v)| told(k, v) == Some(true))
                    && keys.iter().all(|(k, v)| told(k, v) != Some(false))
            }
            Self::Value(value) => item == value,
            Self::Index(_) => false,
        }
    }
    /// Whether a wanted item and one that is there have the same key, where the list is keyed like this.
    pub(super) fn is_same(&self, wanted: &Value, there: &Value) -> bool {
        match self {
            Self::Keys(keys) => {
                keys.keys().filter(|k| wanted.get(*k).is_some()).all(|k| wanted.get(k) == there.get(k))
            }
            Self::Value(_) | Self::Index(_) => wanted == there,
        }
    }
    /// The same of an item that is packed.
    fn is_of(&self, index: usize, item: At) -> bool {
        match self {
            Self::Keys(keys) => keys.iter().all(|(k, v)| item.get(k).is_some_and(|own| own.unpack() == *v)),
            Self::Value(value) => item.unpack() == *value,
            Self::Index(i) => *i == index,
        }
    }
    pub(super) fn matches(&self, index: usize, item: &Value) -> bool {
        match self {
            // The record spells out defaulted keys, so an item has all of them.
            Self::Keys(keys) => keys.iter().all(|(k, v)| item.get(k) == Some(v)),
            Self::Value(value) => item == value,
            Self::Index(i) => *i == index,
        }
    }
}

/// The fields of a desired object that managedFields speaks of: without identity, with `stringData` of a Secret folded
/// into `data`, as the API server stores it.
pub fn owned_part(desired: &Value) -> Value {
    let mut out = desired.clone();
    if let Some(top) = out.as_object_mut() {
        top.remove("apiVersion");
        top.remove("kind");
        if let Some(meta) = top.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.remove("name");
            meta.remove("namespace");
        }
    }
    out
}

/// Folds `stringData` of a Secret into `data`: otherwise the API server would keep a field that never reads back.
pub fn fold_string_data(object: &mut Value) {
    use base64::Engine;
    let is_secret = object.get("kind").and_then(Value::as_str) == Some("Secret")
        && object.get("apiVersion").and_then(Value::as_str) == Some("v1");
    let Some(top) = object.as_object_mut().filter(|_| is_secret) else { return };
    let Some(Value::Object(text)) = top.remove("stringData") else { return };
    let data = top.entry("data").or_insert(Value::Null);
    if data.is_null() {
        *data = Value::Object(Map::new());
    }
    if let Some(data) = data.as_object_mut() {
        for (key, value) in text {
            if let Some(value) = value.as_str() {
                let encoded = base64::engine::general_purpose::STANDARD.encode(value.as_bytes());
                data.insert(key, Value::String(encoded));
            }
        }
    }
}

/// The first desired leaf that the response of an apply does not have, as a path: the API server dropped it because
/// the kind's schema does not know it.
pub fn dropped_leaf(desired: &Value, live: &Value) -> Option<String> {
    fn walk(desired: &Value, live: Option<&Value>, path: &mut Vec<String>) -> bool {
        match (desired, live) {
            (d, None) => !is_empty(d),
            (Value::Object(d), Some(Value::Object(l))) => d.iter().any(|(k, v)| {
                path.push(k.clone());
                let lost = walk(v, l.get(k), path);
                if !lost {
                    path.pop();
                }
                lost
            }),
            // Items of lists may be reordered or merged by key; only lists of equal length are compared.
            (Value::Array(d), Some(Value::Array(l))) if d.len() == l.len() => {
                d.iter().zip(l).enumerate().any(|(i, (v, w))| {
                    path.push(i.to_string());
                    let lost = walk(v, Some(w), path);
                    if !lost {
                        path.pop();
                    }
                    lost
                })
            }
            _ => false,
        }
    }
    let mut path = Vec::new();
    walk(desired, Some(live), &mut path).then(|| path.join("."))
}

/// What servers leave out when they write an object.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().all(is_empty),
        other => is_zero(other),
    }
}

/// The first path at which two values differ; for messages.
pub fn first_difference(a: &Value, b: &Value) -> String {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let keys = x.keys().chain(y.keys().filter(|k| !x.contains_key(*k)));
            for key in keys {
                let (l, r) = (x.get(key).unwrap_or(&Value::Null), y.get(key).unwrap_or(&Value::Null));
                if l != r {
                    let rest = first_difference(l, r);
                    return if rest.is_empty() { key.clone() } else { format!("{key}.{rest}") };
                }
            }
            String::new()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dropped_fields_are_named() {
        let desired = json!({"spec": {"size": 1, "list": [{"a": 1, "b": 2}], "none": null}});
        assert_eq!(dropped_leaf(&desired, &desired), None);
        let live = json!({"spec": {"size": 1, "list": [{"a": 1}]}});
        assert_eq!(dropped_leaf(&desired, &live).as_deref(), Some("spec.list.0.b"));
        // An API server leaves out what is empty.
        let desired = json!({"spec": {"readOnly": false, "value": "", "none": {"deep": []}, "n": 0}});
        assert_eq!(dropped_leaf(&desired, &json!({"spec": {}})), None);
    }

    #[test]
    fn string_data_is_folded_only_in_secrets() {
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"k": "hello"}});
        fold_string_data(&mut secret);
        assert_eq!(secret["data"]["k"], json!("aGVsbG8="));
        assert!(secret.get("stringData").is_none());
        let mut empty =
            json!({"apiVersion": "v1", "kind": "Secret", "data": null, "stringData": {"k": "hello"}});
        fold_string_data(&mut empty);
        assert_eq!(empty["data"], json!({"k": "aGVsbG8="}));
        let mut other = json!({"apiVersion": "x/v1", "kind": "Secret", "stringData": {"k": "hello"}});
        fold_string_data(&mut other);
        assert!(other.get("stringData").is_some());
    }
}
