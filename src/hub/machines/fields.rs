//! Field ownership as the API server keeps it: which leaves a manager set, written as FieldsV1.
//!
//! Maps merge by key, `metadata.finalizers` is a set, `ports` is keyed by `port`, every other list is one value.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Steps in FieldsV1's words: `f:spec`, `k:{"port":80}`, `v:"x"`, `.`.
pub type Path = Vec<String>;
pub type Fields = BTreeSet<Path>;

/// What an object sets, without its identity. With `status`: only that; without: all but that.
pub fn leaves(object: &Value, status: bool) -> Fields {
    let mut out = Fields::new();
    for (key, value) in object.as_object().into_iter().flatten() {
        let path = vec![format!("f:{key}")];
        match key.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" if status => {}
            "metadata" => {
                for field in ["labels", "annotations", "finalizers"] {
                    if let Some(value) = value.get(field).filter(|v| !v.is_null()) {
                        walk(&mut out, [&path[..], &[format!("f:{field}")]].concat(), field, value);
                    }
                }
            }
            "status" if status => walk(&mut out, path, key, value),
            "status" => {}
            _ if status => {}
            _ => walk(&mut out, path, key, value),
        }
    }
    out
}

fn walk(out: &mut Fields, path: Path, name: &str, value: &Value) {
    let with = |step: String| [&path[..], &[step]].concat();
    match (name, value) {
        (_, Value::Object(map)) if !map.is_empty() => {
            for (key, inner) in map {
                walk(out, with(format!("f:{key}")), key, inner);
            }
        }
        ("finalizers", Value::Array(items)) => {
            out.extend(items.iter().map(|item| with(format!("v:{item}"))));
        }
        ("ports", Value::Array(items)) => {
            for item in items {
                let path = with(format!("k:{}", json!({"port": item["port"]})));
                out.insert([&path[..], &[".".to_owned()]].concat());
                walk(out, path, "", item);
            }
        }
        _ => {
            out.insert(path);
        }
    }
}

/// The value at a path.
pub fn get<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    let Some((step, rest)) = path.split_first() else { return Some(object) };
    if step == "." {
        return Some(&Value::Null);
    }
    let inner = match step.split_at(2) {
        ("f:", name) => object.get(name)?,
        ("v:", text) => {
            let wanted: Value = serde_json::from_str(text).unwrap();
            object.as_array()?.iter().find(|v| **v == wanted)?
        }
        (_, text) => {
            let keys: Map<String, Value> = serde_json::from_str(text).unwrap();
            object.as_array()?.iter().find(|item| keys.iter().all(|(k, v)| item.get(k) == Some(v)))?
        }
    };
    get(inner, rest)
}

/// Puts a value at a path and makes what is missing on the way.
pub fn set(object: &mut Value, path: &[String], value: &Value) {
    let Some((step, rest)) = path.split_first() else {
        *object = value.clone();
        return;
    };
    if step == "." {
        return;
    }
    match step.split_at(2) {
        ("f:", name) => {
            if !object.is_object() {
                *object = json!({});
            }
            set(object.as_object_mut().unwrap().entry(name).or_insert(Value::Null), rest, value);
        }
        (kind, text) => {
            if !object.is_array() {
                *object = json!([]);
            }
            let items = object.as_array_mut().unwrap();
            let key: Value = serde_json::from_str(text).unwrap();
            let is = |item: &Value| match kind {
                "v:" => *item == key,
                _ => key.as_object().unwrap().iter().all(|(k, v)| item.get(k) == Some(v)),
            };
            let index = items.iter().position(is).unwrap_or_else(|| {
                items.push(key.clone());
                items.len() - 1
            });
            if kind == "k:" {
                set(&mut items[index], rest, value);
            }
        }
    }
}

/// Takes out what is at a path, and the maps and lists that are empty then.
pub fn remove(object: &mut Value, path: &[String]) {
    let Some((step, rest)) = path.split_first() else { return };
    if step == "." {
        return;
    }
    match step.split_at(2) {
        ("f:", name) => {
            let Some(map) = object.as_object_mut() else { return };
            let Some(inner) = map.get_mut(name) else { return };
            remove(inner, rest);
            let empty = match inner {
                Value::Object(m) => m.is_empty(),
                Value::Array(a) => a.is_empty(),
                _ => false,
            };
            if rest.is_empty() || empty {
                map.remove(name);
            }
        }
        (kind, text) => {
            let Some(items) = object.as_array_mut() else { return };
            let key: Value = serde_json::from_str(text).unwrap();
            if kind == "v:" {
                items.retain(|item| *item != key);
                return;
            }
            let is = |item: &Value| key.as_object().unwrap().iter().all(|(k, v)| item.get(k) == Some(v));
            if rest == ["."] {
                items.retain(|item| !is(item));
            } else if let Some(item) = items.iter_mut().find(|item| is(item)) {
                remove(item, rest);
            }
        }
    }
}

/// The record of one manager.
pub fn to_v1(fields: &Fields) -> Value {
    let mut out = json!({});
    for path in fields {
        let mut at = &mut out;
        for step in path {
            at = at.as_object_mut().unwrap().entry(step.clone()).or_insert_with(|| json!({}));
        }
    }
    out
}
