//! What our field manager owns on a live object, and whether that still is what we want.
//!
//! Server-side apply records, per manager, which fields it set (`managedFields`, format FieldsV1). Two questions
//! are answered from that record alone, without a schema of the kind:
//!
//! - *settled*: our entry covers exactly the desired leaves and every live value equals ours, so no write is needed
//!   (after a restart, this is what keeps a thousand settled instances at zero writes);
//! - *drift*: our entry shrank (somebody changed our value) or a value that we own changed.
//!
//! The record also tells how lists are keyed, so that `ports` or `containers` match by their keys here as they do in
//! the API server.

use serde_json::{Map, Value};

/// The fields that `manager` applied (not through a subresource), as FieldsV1.
pub fn applied_fields<'a>(object: &'a Value, manager: &str) -> Option<&'a Value> {
    object.pointer("/metadata/managedFields")?.as_array()?.iter().find_map(|entry| {
        let is = |key: &str, want: &str| entry.get(key).and_then(Value::as_str) == Some(want);
        let whole = entry.get("subresource").and_then(Value::as_str).unwrap_or_default().is_empty();
        (is("manager", manager) && is("operation", "Apply") && whole).then(|| entry.get("fieldsV1"))?
    })
}

/// The manager, other than ours, that wrote last (not through a subresource).
pub fn last_foreign_manager(object: &Value, ours: &[&str]) -> Option<String> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let text = |e: &Value, k: &str| e.get(k).and_then(Value::as_str).unwrap_or_default().to_owned();
    entries
        .iter()
        .filter(|e| text(e, "subresource").is_empty() && !ours.contains(&text(e, "manager").as_str()))
        .max_by_key(|e| text(e, "time"))
        .map(|e| text(e, "manager"))
}

/// The live values at the paths of `fields`: the part of the object that the manager owns, as it is now.
pub fn project(fields: &Value, live: &Value) -> Value {
    let Some(fields) = fields.as_object().filter(|f| !f.is_empty()) else {
        return live.clone();
    };
    match live {
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, inner) in fields {
                if let Some(name) = key.strip_prefix("f:")
                    && let Some(value) = map.get(name)
                {
                    out.insert(name.to_owned(), project(inner, value));
                }
            }
            Value::Object(out)
        }
        Value::Array(items) => {
            let entries: Vec<(ListKey, &Value)> =
                fields.iter().filter_map(|(k, v)| Some((ListKey::parse(k)?, v))).collect();
            let kept = items.iter().enumerate().filter_map(|(index, item)| {
                let (_, inner) = entries.iter().find(|(key, _)| key.matches(index, item))?;
                Some(project(inner, item))
            });
            Value::Array(kept.collect())
        }
        other => other.clone(),
    }
}

/// One element of a list in FieldsV1.
enum ListKey {
    /// `k:{"port":80,"protocol":"TCP"}`
    Keys(Map<String, Value>),
    /// `v:"value"`
    Value(Value),
    /// `i:3`
    Index(usize),
}

impl ListKey {
    fn parse(text: &str) -> Option<Self> {
        let (tag, rest) = text.split_once(':')?;
        match tag {
            "k" => serde_json::from_str(rest).ok().map(Self::Keys),
            "v" => serde_json::from_str(rest).ok().map(Self::Value),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }
    fn matches(&self, index: usize, item: &Value) -> bool {
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
    let data = top.entry("data").or_insert_with(|| Value::Object(Map::new()));
    if let Some(data) = data.as_object_mut() {
        for (key, value) in text {
            if let Some(value) = value.as_str() {
                let encoded = base64::engine::general_purpose::STANDARD.encode(value.as_bytes());
                data.insert(key, Value::String(encoded));
            }
        }
    }
}

/// Whether an owned, live part equals the desired part: what is empty equals what is absent, numbers and quantities
/// compare by value, and lists may come back in another order.
pub fn equal(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(a), Value::Object(b)) => {
            a.iter().all(|(k, v)| b.get(k).map_or_else(|| is_empty(v), |w| equal(v, w)))
                && b.iter().all(|(k, w)| a.contains_key(k) || is_empty(w))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && (a.iter().zip(b).all(|(x, y)| equal(x, y)) || same_items(a, b))
        }
        (a, b) if is_empty(a) && is_empty(b) => true,
        (a, b) => a == b || matches!((quantity(a), quantity(b)), (Some(x), Some(y)) if x == y),
    }
}

fn same_items(a: &[Value], b: &[Value]) -> bool {
    let mut rest: Vec<&Value> = b.iter().collect();
    a.iter().all(|x| match rest.iter().position(|y| equal(x, y)) {
        Some(i) => {
            rest.swap_remove(i);
            true
        }
        None => false,
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(m) => m.values().all(is_empty),
        Value::Array(a) => a.is_empty(),
        _ => false,
    }
}

/// A Kubernetes quantity (`500m`, `1Gi`, `2`) as a number of nano units; `None` for other text.
fn quantity(value: &Value) -> Option<i128> {
    let text = match value {
        Value::Number(n) => n.to_string(),
        Value::String(s) if s.len() <= 40 => s.clone(),
        _ => return None,
    };
    let split = text.find(|c: char| !(c.is_ascii_digit() || ".+-".contains(c))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let scale: i128 = match suffix {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => 1_000_000_000,
        "k" => 1_000_000_000_000,
        "M" => 10_i128.pow(15),
        "G" => 10_i128.pow(18),
        "T" => 10_i128.pow(21),
        "P" => 10_i128.pow(24),
        "E" => 10_i128.pow(27),
        "Ki" => 1_000_000_000 << 10,
        "Mi" => 1_000_000_000 << 20,
        "Gi" => 1_000_000_000 << 30,
        "Ti" => 1_000_000_000 << 40,
        "Pi" => 1_000_000_000 << 50,
        "Ei" => 1_000_000_000 << 60,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || whole.is_empty() {
        return None;
    }
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    let whole: i128 = whole.trim_start_matches(['+', '-']).parse().ok()?;
    let mut total = whole.checked_mul(scale)?;
    if !fraction.is_empty() {
        let part: i128 = fraction.parse().ok()?;
        total = total.checked_add(part.checked_mul(scale)? / 10_i128.pow(fraction.len() as u32))?;
    }
    Some(sign * total)
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

    fn service() -> (Value, Value) {
        let desired = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "labels": {"a": "b"}},
            "spec": {"selector": {"app": "x"}, "ports": [{"port": 80, "targetPort": 8080}]}});
        let live = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "s", "uid": "u", "labels": {"a": "b", "foreign": "c"}, "managedFields": [
                {"manager": "other", "operation": "Update", "time": "2026-01-01T00:00:00Z",
                 "fieldsV1": {"f:metadata": {"f:labels": {"f:foreign": {}}}}},
                {"manager": "kro.run/applyset", "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:a": {}}},
                    "f:spec": {"f:selector": {}, "f:ports": {
                        "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:targetPort": {}}}}}}]},
            "spec": {"clusterIP": "10.0.0.1", "selector": {"app": "x"},
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]}});
        (desired, live)
    }

    #[test]
    fn a_settled_object_needs_no_write() {
        let (desired, live) = service();
        let fields = applied_fields(&live, "kro.run/applyset").unwrap();
        assert!(equal(&owned_part(&desired), &project(fields, &live)));
        assert_eq!(last_foreign_manager(&live, &["kro.run/applyset"]).as_deref(), Some("other"));
    }

    #[test]
    fn a_changed_value_and_a_lost_field_are_seen() {
        let (desired, mut live) = service();
        let fields = applied_fields(&live, "kro.run/applyset").unwrap().clone();
        live["spec"]["ports"][0]["targetPort"] = json!(9090);
        assert!(!equal(&owned_part(&desired), &project(&fields, &live)));
        let (_, live) = service();
        let mut shrunk = fields.clone();
        shrunk["f:spec"].as_object_mut().unwrap().remove("f:selector");
        assert!(!equal(&owned_part(&desired), &project(&shrunk, &live)));
    }

    #[test]
    fn values_compare_as_the_api_server_stores_them() {
        let same = [
            (json!({"cpu": "1000m"}), json!({"cpu": "1"})),
            (json!({"cpu": 1}), json!({"cpu": "1"})),
            (json!({"memory": "1Gi"}), json!({"memory": "1024Mi"})),
            (json!({"a": null, "b": {}}), json!({})),
            (json!({"a": 1}), json!({"a": 1.0})),
            (json!([{"k": "a"}, {"k": "b"}]), json!([{"k": "b"}, {"k": "a"}])),
        ];
        for (a, b) in same {
            assert!(equal(&a, &b), "{a} should equal {b}");
        }
        let different = [
            (json!({"cpu": "1"}), json!({"cpu": "2"})),
            (json!({"a": "x"}), json!({})),
            (json!({}), json!({"a": "x"})),
            (json!([1, 1]), json!([1, 2])),
        ];
        for (a, b) in different {
            assert!(!equal(&a, &b), "{a} should differ from {b}");
        }
    }

    #[test]
    fn dropped_fields_are_named() {
        let desired = json!({"spec": {"size": 1, "list": [{"a": 1, "b": 2}], "none": null}});
        assert_eq!(dropped_leaf(&desired, &desired), None);
        let live = json!({"spec": {"size": 1, "list": [{"a": 1}]}});
        assert_eq!(dropped_leaf(&desired, &live).as_deref(), Some("spec.list.0.b"));
    }

    #[test]
    fn string_data_is_folded_only_in_secrets() {
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"k": "hello"}});
        fold_string_data(&mut secret);
        assert_eq!(secret["data"]["k"], json!("aGVsbG8="));
        assert!(secret.get("stringData").is_none());
        let mut other = json!({"apiVersion": "x/v1", "kind": "Secret", "stringData": {"k": "hello"}});
        fold_string_data(&mut other);
        assert!(other.get("stringData").is_some());
    }
}
