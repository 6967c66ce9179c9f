//! What a server does with an object before it stores it: defaults, pruning and validation by the schema.

use crate::schema::{At, Schema, Type};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

#[path = "validate.rs"]
mod validate;
pub use validate::validate;

/// One fault of a field, as a cause of an answer 422.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// `FieldValueInvalid`, `FieldValueRequired`...
    pub reason: &'static str,
    /// `spec.names[0]`.
    pub path: String,
    /// What follows the path: `Invalid value: "a": ...`.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// What of a schema the model does not do.
#[must_use]
pub fn lacks(schema: &Schema) -> Vec<String> {
    let found: BTreeSet<_> = schema.nodes().flat_map(|n| n.lacks.iter()).collect();
    found.into_iter().map(|s| (*s).to_owned()).collect()
}

/// Whole numbers written as decimals (`2.0`) as a server stores them.
pub fn numbers(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(numbers),
        Value::Array(items) => items.iter_mut().for_each(numbers),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|n| number.is_f64() && n.fract() == 0.0 && n.abs() < SAFE);
            if let Some(whole) = whole.and_then(|n| format!("{n:.0}").parse::<i64>().ok()) {
                *value = Value::from(whole);
            }
        }
        _ => {}
    }
}

/// Below it every whole number has a float of its own.
const SAFE: f64 = 9_007_199_254_740_992.0;

/// Sets the defaults of the schema, in objects that are there. A null where none is allowed goes first.
pub fn default(object: &mut Value, schema: &Schema) {
    fill(object, schema.top());
}

fn fill(value: &mut Value, at: At<'_>) {
    match value {
        Value::Object(fields) => {
            let refused = |name: &str| {
                at.declared(name).and_then(At::node).is_some_and(|n| !n.nullable && n.ty != Type::Any)
            };
            fields.retain(|name, inner| !inner.is_null() || !refused(name));
            for name in at.node().into_iter().flat_map(|n| n.properties.keys()) {
                let Some(default) = at.default_of(name) else { continue };
                if !fields.contains_key(name) {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, inner) in fields {
                if let Some(place) = at.declared(name) {
                    fill(inner, place);
                }
            }
        }
        Value::Array(items) if at.has_items() => items.iter_mut().for_each(|item| fill(item, at.item())),
        _ => {}
    }
}

/// Drops the fields that the schema does not know; answers with their paths (`spec.x`, `spec.items[0].y`), sorted.
pub fn prune(object: &mut Value, schema: &Schema) -> Vec<String> {
    let mut dropped = Vec::new();
    cut(object, schema.top(), "", &mut dropped);
    dropped.sort();
    dropped
}

fn cut(value: &mut Value, at: At<'_>, path: &str, dropped: &mut Vec<String>) {
    let node = at.node();
    match value {
        Value::Object(fields) => {
            let all = node.is_some_and(|n| n.preserve || n.additional_all == Some(true));
            fields.retain(|name, inner| {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match at.declared(name) {
                    Some(place) => cut(inner, place, &below, dropped),
                    None if all => {}
                    None => {
                        dropped.push(below);
                        return false;
                    }
                }
                true
            });
        }
        // Lists without a schema of their items: what is in them is not known.
        Value::Array(items) if at.has_items() || !node.is_some_and(|n| n.preserve) => {
            for (index, item) in items.iter_mut().enumerate() {
                cut(item, at.item(), &format!("{path}[{index}]"), dropped);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::schema;
    use serde_json::json;

    #[test]
    fn defaults_are_set_where_the_parent_is() {
        for (spec, filled) in [
            (json!({}), json!({"n": 1, "maybe": "x", "made": {"on": true}})),
            (
                json!({"n": null, "maybe": null, "plain": null}),
                json!({"n": 1, "maybe": null, "made": {"on": true}}),
            ),
            (
                json!({"n": 2, "maybe": "y", "inner": {}, "made": {"on": false}}),
                json!({"n": 2, "maybe": "y", "inner": {"on": true}, "made": {"on": false}}),
            ),
            (
                json!({"list": [{}, {"p": "UDP"}], "map": {"k": {}}}),
                json!({"n": 1, "maybe": "x", "made": {"on": true}, "list": [{"p": "TCP"}, {"p": "UDP"}],
                       "map": {"k": {"p": "TCP"}}}),
            ),
        ] {
            let mut object = json!({"spec": spec});
            default(&mut object, &schema());
            assert_eq!(object, json!({"spec": filled}));
        }
        let mut without = json!({"kind": "X"});
        default(&mut without, &schema());
        assert_eq!(without, json!({"kind": "X"}));
    }

    #[test]
    fn unknown_fields_are_dropped_and_named() {
        let mut object = json!({
            "apiVersion": "a/v1", "kind": "X", "top": 1,
            "metadata": {"name": "a", "labels": {"l": "m"}},
            "spec": {
                "n": 1, "x": {"y": 1},
                "inner": {"on": true, "off": 1},
                "list": [{"p": "a"}, {"q": "b"}],
                "map": {"k": {"p": "a", "r": 1}},
                "free": {"any": {"thing": 1}, "known": {"a": "b", "c": 1}},
                "template": {"apiVersion": "v1", "kind": "Y", "metadata": {"name": "y"}, "spec": {"z": 1}, "w": 1},
            },
        });
        let dropped = prune(&mut object, &schema());
        assert_eq!(
            dropped,
            [
                "spec.free.known.c",
                "spec.inner.off",
                "spec.list[1].q",
                "spec.map.k.r",
                "spec.template.spec.z",
                "spec.template.w",
                "spec.x",
                "top",
            ]
        );
        assert_eq!(
            object,
            json!({
                "apiVersion": "a/v1", "kind": "X",
                "metadata": {"name": "a", "labels": {"l": "m"}},
                "spec": {
                    "n": 1, "inner": {"on": true}, "list": [{"p": "a"}, {}], "map": {"k": {"p": "a"}},
                    "free": {"any": {"thing": 1}, "known": {"a": "b"}},
                    "template": {"apiVersion": "v1", "kind": "Y", "metadata": {"name": "y"}, "spec": {}},
                },
            })
        );
    }

    #[test]
    fn what_the_model_does_not_do_is_named() {
        let schema = Schema::of_crd(&json!({
            "type": "object",
            "properties": {"spec": {"type": "object", "x-kubernetes-validations": [{"rule": "true"}], "properties": {
                "a": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "b": {"type": "string", "not": {"enum": ["x"]}},
            }}},
        }));
        assert_eq!(lacks(&schema), ["not", "x-kubernetes-validations"]);
        assert!(lacks(&self::schema()).is_empty());
    }
}
