//! Whether an object that is there needs no write: our field manager's entry covers exactly what we want, and each value
//! is what we want.
//!
//! "What we want" is meant to the letter. Only three things may differ:
//! - what the API server writes out in another form, where the schema of the field says so ([`Kept`]): `1000m` of CPU;
//! - what it fills in where a value is owned as a whole: a default that the schema names;
//! - what it leaves out because it is empty, where our entry tells that we applied it.
//!
//! A difference that cannot be explained costs an apply, and an apply that changes nothing costs no write in etcd. A
//! difference that is overlooked loses somebody's edit.

mod rewritten;

use super::ownership::ListKey;
use crate::api::keys::kro;
use crate::cel;
use crate::schema::kept::{Kept, LIST_KEYS, is_zero, list_keys};
use crate::schema::served::shown;
use serde_json::{Map, Value};

const LIST_TYPE: &str = "x-kubernetes-list-type";
const MAP_TYPE: &str = "x-kubernetes-map-type";

/// How two objects are compared.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'s> {
    /// Reduced OpenAPI of the whole object; without it everything is to the letter.
    pub schema: Option<&'s Value>,
    /// A default of the schema need not be owned, and what the schema does not know may be: the wanted object was read
    /// from a server of the same schema, which filled in and left out.
    pub as_served: bool,
}

impl Rules<'_> {
    #[cfg(test)]
    pub const TO_THE_LETTER: Rules<'static> = Rules { schema: None, as_served: false };

    /// Whether an apply of `desired` would change nothing. `fields`: what our manager owns of `live`, as FieldsV1. Both
    /// objects without identity, see [`super::ownership::owned_part`].
    pub fn settled(self, desired: &Value, live: &Value, fields: &Value) -> bool {
        owned(self, desired, Some(live), fields, self.schema)
    }

    /// Whether laying `desired` over `live`, which may hold more, would change nothing.
    pub fn covered(self, desired: &Value, live: &Value) -> bool {
        covered(desired, Some(live), None, self.schema)
    }
}

type Schema<'s> = Option<&'s Value>;

fn of_field<'s>(schema: Schema<'s>, name: &str) -> Schema<'s> {
    let schema = schema?;
    let property = schema.get("properties").and_then(|p| p.get(name));
    property.or_else(|| schema.get("additionalProperties").filter(|values| values.is_object()))
}

fn of_items(schema: Schema<'_>) -> Schema<'_> {
    schema?.get("items")
}

fn says(schema: Schema<'_>, key: &str, word: &str) -> bool {
    schema.and_then(|s| s.get(key)).and_then(Value::as_str) == Some(word)
}

/// The version of the writer is no content.
fn is_ignored(name: &str) -> bool {
    name == kro::KRO_VERSION
}

/// A value at which our entry has these fields.
fn owned(rules: Rules, desired: &Value, live: Option<&Value>, fields: &Value, schema: Schema) -> bool {
    let Some(fields) = fields.as_object().filter(|f| f.keys().any(|k| k != ".")) else {
        return leaf(desired, live, schema);
    };
    match (desired, live) {
        (Value::Object(desired), Some(Value::Object(live))) => {
            owned_fields(rules, desired, live, fields, schema)
        }
        (Value::Array(desired), Some(Value::Array(live))) => {
            owned_items(rules, desired, live, fields, schema)
        }
        _ => false,
    }
}

fn owned_fields(
    rules: Rules,
    desired: &Map<String, Value>,
    live: &Map<String, Value>,
    fields: &Map<String, Value>,
    schema: Schema,
) -> bool {
    let wanted = |(name, value): (&String, &Value)| match fields.get(&format!("f:{name}")) {
        _ if is_ignored(name) => true,
        Some(inner) => owned(rules, value, live.get(name), inner, of_field(schema, name)),
        None => rules.as_served && is_default(value, of_field(schema, name)) && live.get(name) == Some(value),
    };
    let only_wanted = |key: &String| match key.strip_prefix("f:") {
        Some(name) if is_ignored(name) || desired.contains_key(name) => true,
        // A field that the schema does not know any more is still in the entry, and is not shown.
        Some(name) => rules.as_served && is_closed(schema) && !live.contains_key(name),
        None => key == ".",
    };
    desired.iter().all(wanted) && fields.keys().all(only_wanted)
}

/// A list whose items our entry tells apart: of ours, the API server keeps the order in which we applied them.
fn owned_items(
    rules: Rules,
    desired: &[Value],
    live: &[Value],
    fields: &Map<String, Value>,
    schema: Schema,
) -> bool {
    let entries: Option<Vec<(ListKey, &Value)>> =
        fields.iter().filter(|(k, _)| *k != ".").map(|(k, v)| Some((ListKey::parse(k)?, v))).collect();
    let Some(entries) = entries.filter(|e| e.len() == desired.len()) else { return false };
    let ours = live.iter().enumerate().filter_map(|(index, item)| {
        let (_, inner) = entries.iter().find(|(key, _)| key.matches(index, item))?;
        Some((item, *inner))
    });
    let ours: Vec<(&Value, &Value)> = ours.collect();
    ours.len() == desired.len()
        && desired
            .iter()
            .zip(ours)
            .all(|(wanted, (item, inner))| owned(rules, wanted, Some(item), inner, of_items(schema)))
}

/// A value that our entry names and does not look into: a scalar, something owned as a whole, or something empty.
fn leaf(desired: &Value, live: Option<&Value>, schema: Schema) -> bool {
    let Some(live) = live.filter(|l| !l.is_null()) else {
        // We applied something here, and it is not there: it was left out because it was empty.
        return is_zero(desired);
    };
    match (desired, live) {
        // Of a map or a keyed list that we want empty, others may have entries.
        (Value::Object(wanted), Value::Object(_)) if wanted.is_empty() && is_granular_map(schema) => true,
        (Value::Array(wanted), Value::Array(_)) if wanted.is_empty() && is_keyed_list(schema) => true,
        _ => same(desired, live, schema),
    }
}

fn is_granular_map(schema: Schema) -> bool {
    let known = schema.is_some_and(|s| s.get("properties").is_some() || of_field(schema, "").is_some());
    known && !says(schema, MAP_TYPE, "atomic")
}

fn is_keyed_list(schema: Schema) -> bool {
    says(schema, LIST_TYPE, "map") || says(schema, LIST_TYPE, "set")
}

/// Whether two whole values are the same to an API server.
fn same(desired: &Value, live: &Value, schema: Schema) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => {
            let wanted = |(name, value): (&String, &Value)| match live.get(name) {
                Some(live) => same(value, live, of_field(schema, name)),
                None => is_left_out(value, schema, of_field(schema, name)),
            };
            let filled_in = |(name, value): (&String, &Value)| {
                desired.contains_key(name) || value.is_null() || is_default(value, of_field(schema, name))
            };
            desired.iter().all(wanted) && live.iter().all(filled_in)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| same(x, y, of_items(schema)))
        }
        (a, b) => {
            a == b
                || same_number(a, b)
                || schema.and_then(Kept::of).is_some_and(|kept| kept_the_same(kept, a, b))
        }
    }
}

/// JSON has one kind of numbers: `1.0` reads back as `1`.
fn same_number(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => (x.is_f64() || y.is_f64()) && x.as_f64() == y.as_f64(),
        _ => false,
    }
}

fn kept_the_same(kept: Kept, a: &Value, b: &Value) -> bool {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        // A quantity may be written as a number.
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let (Some(a), Some(b)) = (text(a), text(b)) else { return false };
    match kept {
        Kept::Quantity => cel::same_quantity(&a, &b),
        Kept::Time => match (a.parse::<jiff::Timestamp>(), b.parse::<jiff::Timestamp>()) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        },
        Kept::Bytes => {
            // A decoder of base64 skips line ends.
            let plain = |text: &str| text.replace(['\r', '\n'], "");
            plain(&a) == plain(&b)
        }
        Kept::Struct => false,
    }
}

/// Whether a value that is not there is one that a server leaves out on writing: a null anywhere; in a struct of
/// Kubernetes' own an empty text, list or map, but not an empty struct, which may mean much.
fn is_left_out(value: &Value, within: Schema, schema: Schema) -> bool {
    let in_struct = within.and_then(Kept::of) == Some(Kept::Struct);
    match value {
        Value::Null => true,
        Value::String(text) => in_struct && text.is_empty(),
        Value::Array(items) => in_struct && items.is_empty(),
        Value::Object(fields) => in_struct && fields.is_empty() && of_field(schema, "").is_some(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_default(value: &Value, schema: Schema) -> bool {
    schema.is_some_and(|schema| shown(None, schema).as_ref() == Some(value))
}

/// Whether a schema says all that a value may have.
fn is_closed(schema: Schema) -> bool {
    schema.is_some_and(|s| {
        let open = s.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
        !open && s.get("properties").is_some() && s.get("additionalProperties").is_none()
    })
}

fn covered(desired: &Value, live: Option<&Value>, within: Schema, schema: Schema) -> bool {
    match (desired, live) {
        (Value::Object(desired), Some(Value::Object(live))) if !says(schema, MAP_TYPE, "atomic") => {
            desired.iter().all(|(name, value)| {
                is_bookkeeping(name) || covered(value, live.get(name), schema, of_field(schema, name))
            })
        }
        (Value::Object(desired), None) if !desired.is_empty() => desired.iter().all(|(name, value)| {
            is_bookkeeping(name) || covered(value, None, schema, of_field(schema, name))
        }),
        (Value::Array(desired), Some(Value::Array(live))) if is_keyed_list(schema) => {
            desired.iter().all(|item| match live.iter().find(|other| same_item(item, other, schema)) {
                Some(other) => covered(item, Some(other), schema, of_items(schema)),
                None => false,
            })
        }
        (desired, Some(live)) => same(desired, live, schema),
        (desired, None) => is_left_out(desired, within, schema),
    }
}

/// Whether two items of a keyed list have the same key.
fn same_item(a: &Value, b: &Value, schema: Schema) -> bool {
    if says(schema, LIST_TYPE, "set") {
        return same(a, b, of_items(schema));
    }
    list_keys(schema.and_then(|s| s.get(LIST_KEYS))).all(|key| {
        let of =
            |item: &Value| item.get(key).cloned().or_else(|| shown(None, of_field(of_items(schema), key)?));
        of(a) == of(b)
    })
}

/// What adoption adds to an object.
fn is_bookkeeping(key: &str) -> bool {
    key.contains("kro.run/") || key.starts_with("applyset.kubernetes.io/") || key == kro::MANAGED_BY
}

#[cfg(test)]
mod tests;
