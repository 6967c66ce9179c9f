//! Objects by their schema, as server-side apply sees them: checked, merged, compared, and with fields taken out.

use crate::fields::{Element, Fields, Path, step};
use crate::schema::{At, Shape, Type};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The faults of an object that is applied, each with its path.
pub(crate) fn check(value: &Value, at: At<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    check_at(value, at, "", &mut faults);
    faults
}

fn check_at(value: &Value, at: At<'_>, path: &str, faults: &mut Vec<String>) {
    let mut say = |what: String| faults.push(if path.is_empty() { what } else { format!("{path}: {what}") });
    match (at.ty(), value) {
        (_, Value::Null) => {}
        (Type::Object | Type::Any, Value::Object(fields)) => {
            for (name, inner) in fields {
                let below = format!("{path}.{name}");
                let Some(place) = at.field(name) else {
                    faults.push(format!("{below}: field not declared in schema"));
                    return;
                };
                check_at(inner, place, &below, faults);
            }
        }
        (Type::Array | Type::Any, Value::Array(items)) => check_items(items, value, at, path, faults),
        (Type::Object, other) => say(format!("expected map, got &{{{}}}", plain(other))),
        (Type::Array, other) => say(format!("expected list, got &{{{}}}", plain(other))),
        (Type::String, other) if !other.is_string() => {
            say(format!("expected string, got &value.valueUnstructured{{Value:{}}}", go(other)));
        }
        (Type::Integer | Type::Number, other) if !other.is_number() => {
            say(format!("expected numeric (int or float), got {}", go_type(other)));
        }
        (Type::Boolean, other) if !other.is_boolean() => {
            say(format!("expected boolean, got &{{{}}}", plain(other)));
        }
        _ => {}
    }
}

fn check_items(items: &[Value], list: &Value, at: At<'_>, path: &str, faults: &mut Vec<String>) {
    let shape = at.shape(list);
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let mut element = Element::Index(i64::try_from(index).unwrap_or_default());
        if matches!(shape, Shape::Set | Shape::Keyed) {
            match step(at, item) {
                Ok(found) => element = found,
                Err(why) => {
                    faults.push(format!("{path}: element {index}: {why}"));
                    return;
                }
            }
            if !seen.insert(element.clone()) {
                faults.push(format!("{path}: duplicate entries for key {element}"));
            }
        }
        check_at(item, at.item(), &format!("{path}{element}"), faults);
    }
}

/// A value as Go prints it with `%v`.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            let fields: Vec<_> =
                sorted.iter().map(|(name, value)| format!("{name}:{}", plain(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

/// A value as Go prints it with `%#v`.
pub(crate) fn go(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            let fields: Vec<_> =
                sorted.iter().map(|(name, value)| format!("{name:?}:{}", go(value))).collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// The live object with what is applied.
pub(crate) fn merge(live: &Value, applied: &Value, at: At<'_>) -> Value {
    match (live, applied) {
        (Value::Object(live), Value::Object(over)) if at.shape(applied) == Shape::Map => {
            let mut merged = live.clone();
            for (name, value) in over {
                let merged_field = match (live.get(name), at.field(name)) {
                    (Some(old), Some(place)) => merge(old, value, place),
                    _ => value.clone(),
                };
                merged.insert(name.clone(), merged_field);
            }
            Value::Object(merged)
        }
        (Value::Array(old), Value::Array(new)) if matches!(at.shape(applied), Shape::Set | Shape::Keyed) => {
            Value::Array(merge_items(old, new, at))
        }
        // A null says nothing of what is below.
        (Value::Object(fields), Value::Null) if at.shape(live) == Shape::Map && !fields.is_empty() => {
            live.clone()
        }
        (Value::Array(items), Value::Null) if at.shape(live) != Shape::Leaf && !items.is_empty() => {
            live.clone()
        }
        _ => applied.clone(),
    }
}

/// The items of both lists: the order is that of the new one, and what only the old one has keeps its place between.
fn merge_items(old: &[Value], new: &[Value], at: At<'_>) -> Vec<Value> {
    let keyed = |items: &[Value]| -> Vec<Element> {
        let fallback = |i: usize| Element::Index(i64::try_from(i).unwrap_or_default());
        items.iter().enumerate().map(|(i, item)| step(at, item).unwrap_or_else(|_| fallback(i))).collect()
    };
    let (left, right) = (keyed(old), keyed(new));
    let mut in_left: BTreeMap<&Element, &Value> = BTreeMap::new();
    for (key, item) in left.iter().zip(old) {
        in_left.entry(key).or_insert(item);
    }
    let in_right: BTreeSet<&Element> = right.iter().collect();
    let mut shared = right.iter().filter(|key| in_left.contains_key(key));
    let mut next = shared.next();
    let mut merged = BTreeSet::new();
    let mut out = Vec::new();
    let joined = |key: &Element, item: &Value| {
        in_left.get(key).map_or_else(|| item.clone(), |old| merge(old, item, at.item()))
    };
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if l < left.len() && r < right.len() {
            let key = &left[l];
            if *key == right[r] {
                merged.insert(key);
                out.push(joined(key, &new[r]));
                (l, r) = (l + 1, r + 1);
                next = shared.next();
                continue;
            }
            if in_right.contains(key) && next.is_some_and(|next| next != key) {
                l += 1;
                continue;
            }
        }
        if l < left.len() {
            let key = &left[l];
            if !in_right.contains(key) {
                out.push(old[l].clone());
                l += 1;
                continue;
            }
            if merged.contains(key) {
                l += 1;
            }
        }
        if r < right.len() {
            let key = &right[r];
            merged.insert(key);
            out.push(joined(key, &new[r]));
            r += 1;
            if next == Some(key) {
                next = shared.next();
            }
        }
    }
    out
}

/// What differs between two objects. A field that came or went stands with all that is in it.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    pub added: Fields,
    pub modified: Fields,
    pub removed: Fields,
}

impl Difference {
    pub(crate) fn between(old: &Value, new: &Value, at: At<'_>) -> Self {
        let mut found = Self::default();
        found.walk(Some(old), Some(new), at, &mut Vec::new());
        found
    }

    pub(crate) fn without(self, ignored: &Fields) -> Self {
        if ignored.is_empty() {
            return self;
        }
        Self {
            added: self.added.difference_below(ignored),
            modified: self.modified.difference_below(ignored),
            removed: self.removed.difference_below(ignored),
        }
    }

    fn walk(&mut self, old: Option<&Value>, new: Option<&Value>, at: At<'_>, path: &mut Path) {
        if old == new {
            return;
        }
        let shape = |value: Option<&Value>| value.filter(|v| !v.is_null()).map(|v| at.shape(v));
        let (before, after) = (shape(old), shape(new));
        let unknown = || at.shape(&Value::Null);
        let first = before.or(after).unwrap_or_else(unknown);
        let mut leaf = self.level(first, (old, new), at, path);
        if let Some(second) = after.filter(|second| *second != first) {
            leaf |= self.level(second, (old, new), at, path);
        }
        if !leaf && !path.is_empty() {
            if old.is_none() {
                self.added.insert(path.iter().cloned());
            }
            if new.is_none() {
                self.removed.insert(path.iter().cloned());
            }
        }
    }

    /// Compares one level; answers whether it was a leaf.
    fn level(
        &mut self,
        shape: Shape,
        (old, new): (Option<&Value>, Option<&Value>),
        at: At<'_>,
        path: &mut Path,
    ) -> bool {
        match shape {
            Shape::Map => {
                let none = Map::new();
                let object =
                    |v: Option<&'_ Value>| v.and_then(Value::as_object).is_some_and(|o| !o.is_empty());
                if object(old) || object(new) {
                    let before = old.and_then(Value::as_object).unwrap_or(&none);
                    let after = new.and_then(Value::as_object).unwrap_or(&none);
                    let came = after.keys().filter(|name| !before.contains_key(*name));
                    for name in before.keys().chain(came) {
                        let Some(place) = at.field(name) else { continue };
                        path.push(Element::Field(name.clone()));
                        self.walk(before.get(name), after.get(name), place, path);
                        path.pop();
                    }
                    return false;
                }
            }
            Shape::Set | Shape::Keyed => {
                let (before, after) = (by_key(old, at), by_key(new, at));
                if !before.is_empty() || !after.is_empty() {
                    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
                    for key in keys {
                        path.push(key.clone());
                        self.walk(before.get(key).copied(), after.get(key).copied(), at.item(), path);
                        path.pop();
                    }
                    return false;
                }
            }
            Shape::Leaf => {}
        }
        if !path.is_empty() {
            let set = match (old, new) {
                (None, _) => &mut self.added,
                (_, None) => &mut self.removed,
                _ => &mut self.modified,
            };
            set.insert(path.iter().cloned());
        }
        true
    }
}

fn by_key<'a>(list: Option<&'a Value>, at: At<'_>) -> BTreeMap<Element, &'a Value> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    let mut found = BTreeMap::new();
    for item in items {
        if let Ok(key) = step(at, item) {
            found.entry(key).or_insert(item);
        }
    }
    found
}

/// The object without the fields of a set. What loses all it has becomes null, as on a server: validation may then refuse it.
pub(crate) fn remove(value: &Value, gone: &Fields, at: At<'_>) -> Option<Value> {
    let keep = |key: &Element, inner: &Value, place: At<'_>| {
        if gone.has(key) {
            return None;
        }
        let Some(below) = gone.under(key) else { return Some(inner.clone()) };
        Some(remove(inner, below, place).unwrap_or(Value::Null))
    };
    match (at.shape(value), value) {
        (Shape::Map, Value::Object(fields)) if !fields.is_empty() => {
            let kept = fields.iter().filter_map(|(name, inner)| {
                let Some(place) = at.field(name) else { return Some((name.clone(), inner.clone())) };
                Some((name.clone(), keep(&Element::Field(name.clone()), inner, place)?))
            });
            let kept: Map<_, _> = kept.collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        (Shape::Set | Shape::Keyed, Value::Array(items)) if !items.is_empty() => {
            let kept = items.iter().filter_map(|item| match step(at, item) {
                Ok(key) => keep(&key, item, at.item()),
                Err(_) => Some(item.clone()),
            });
            let kept: Vec<_> = kept.collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        _ => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;
    use serde_json::json;

    fn schema() -> Schema {
        let item = json!({"type": "object", "properties": {
            "name": {"type": "string"}, "image": {"type": "string"}, "env": {"type": "array", "items": {"type": "string"}},
        }});
        Schema::of_crd(&json!({
            "type": "object",
            "properties": {
                "n": {"type": "integer"}, "s": {"type": "string"}, "b": {"type": "boolean"},
                "map": {"type": "object", "additionalProperties": {"type": "string"}},
                "whole": {"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-map-type": "atomic"},
                "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "list": {
                    "type": "array", "items": item,
                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                },
                "free": {"x-kubernetes-preserve-unknown-fields": true},
            },
        }))
    }

    #[test]
    fn objects_are_merged() {
        for (live, applied, merged) in [
            (json!({"n": 1, "s": "a"}), json!({"n": 2}), json!({"n": 2, "s": "a"})),
            (json!({"map": {"a": "1"}}), json!({"map": {"b": "2"}}), json!({"map": {"a": "1", "b": "2"}})),
            (json!({"map": {"a": "1"}}), json!({"map": null}), json!({"map": {"a": "1"}})),
            (json!({"whole": {"a": "1"}}), json!({"whole": {"b": "2"}}), json!({"whole": {"b": "2"}})),
            (json!({"set": ["a", "b"]}), json!({"set": ["c", "b"]}), json!({"set": ["a", "c", "b"]})),
            // The order of what is applied wins.
            (json!({"set": ["a", "b", "c"]}), json!({"set": ["c", "a"]}), json!({"set": ["b", "c", "a"]})),
            (
                json!({"list": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}),
                json!({"list": [{"name": "b", "env": ["x"]}]}),
                json!({"list": [{"name": "a", "image": "1"}, {"name": "b", "image": "2", "env": ["x"]}]}),
            ),
            (
                json!({"free": {"a": {"x": 1}, "l": [1]}}),
                json!({"free": {"a": {"y": 2}, "l": [2]}}),
                json!({"free": {"a": {"x": 1, "y": 2}, "l": [2]}}),
            ),
        ] {
            assert_eq!(merge(&live, &applied, schema().top()), merged, "{live} with {applied}");
        }
    }

    #[test]
    fn what_differs() {
        for (old, new, added, modified, removed) in [
            (json!({"n": 1}), json!({"n": 2}), json!({}), json!({"f:n": {}}), json!({})),
            (
                json!({}),
                json!({"map": {"a": "1"}}),
                json!({"f:map": {".": {}, "f:a": {}}}),
                json!({}),
                json!({}),
            ),
            (
                json!({"map": {}}),
                json!({"map": {"a": "1"}}),
                json!({"f:map": {"f:a": {}}}),
                json!({}),
                json!({}),
            ),
            (
                json!({"list": [{"name": "a"}]}),
                json!({"list": []}),
                json!({}),
                json!({}),
                json!({"f:list": {r#"k:{"name":"a"}"#: {".": {}, "f:name": {}}}}),
            ),
            (
                json!({"whole": {"a": "1"}}),
                json!({"whole": {}}),
                json!({}),
                json!({"f:whole": {}}),
                json!({}),
            ),
            (
                json!({"free": {"a": {"b": 1}}}),
                json!({"free": {"a": "x"}}),
                json!({}),
                json!({"f:free": {"f:a": {}}}),
                json!({"f:free": {"f:a": {"f:b": {}}}}),
            ),
        ] {
            let found = Difference::between(&old, &new, schema().top());
            let found = (found.added.to_json(), found.modified.to_json(), found.removed.to_json());
            assert_eq!(found, (added, modified, removed), "{old} to {new}");
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for (applied, fault) in [
            (json!({"x": 1}), ".x: field not declared in schema"),
            (json!({"list": [{"name": "a", "y": 1}]}), ".list[name=\"a\"].y: field not declared in schema"),
            (json!({"n": "1"}), ".n: expected numeric (int or float), got string"),
            (json!({"s": 1}), ".s: expected string, got &value.valueUnstructured{Value:1}"),
            (json!({"b": "x"}), ".b: expected boolean, got &{x}"),
            (json!({"map": "x"}), ".map: expected map, got &{x}"),
            (json!({"list": {"a": 1}}), ".list: expected list, got &{map[a:1]}"),
            (json!({"set": ["a", "a"]}), ".set: duplicate entries for key [=\"a\"]"),
            (
                json!({"list": [{"name": "a"}, {"name": "a"}]}),
                ".list: duplicate entries for key [name=\"a\"]",
            ),
            (
                json!({"list": [{"image": "a"}]}),
                ".list: element 0: associative list with keys has an element that omits all key fields [\"name\"] (and \
                 doesn't have default values for any key fields)",
            ),
        ] {
            assert_eq!(check(&applied, schema().top()), [fault]);
        }
        let fits = json!({"n": 1, "map": null, "free": {"any": [{"thing": null}]}, "metadata": {"labels": {"a": "b"}}});
        assert!(check(&fits, schema().top()).is_empty());
    }
}
