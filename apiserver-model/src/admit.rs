//! What a server does with an object before it stores it: defaults, pruning and validation by the schema.

use crate::schema::{At, Schema};
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

/// Sets the defaults of the schema, in objects that are there. A null where none is allowed gives way to a default.
pub fn default(object: &mut Value, schema: &Schema) {
    fill(object, schema.top());
}

fn fill(value: &mut Value, at: At<'_>) {
    match value {
        Value::Object(fields) => {
            for name in at.node().into_iter().flat_map(|n| n.properties.keys()) {
                let Some(default) = at.default_of(name) else { continue };
                let nullable = at.declared(name).and_then(At::node).is_some_and(|n| n.nullable);
                let absent = match fields.get(name) {
                    None => true,
                    Some(value) => value.is_null() && !nullable,
                };
                if absent {
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
        Value::Array(items) if at.has_items() => {
            for (index, item) in items.iter_mut().enumerate() {
                cut(item, at.item(), &format!("{path}[{index}]"), dropped);
            }
        }
        // Lists without a schema of their items: what is in them is not known.
        Value::Array(items) if !node.is_some_and(|n| n.preserve) => {
            for (index, item) in items.iter_mut().enumerate() {
                cut(item, at.item(), &format!("{path}[{index}]"), dropped);
            }
        }
        _ => {}
    }
}
