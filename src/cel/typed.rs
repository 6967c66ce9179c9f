//! JSON that a schema describes, as values.

use super::time;
use super::types::{Struct, Type};
use super::value::{Map, Val, escape_field, exact_int};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use std::sync::Arc;

/// A converted value, and whether its type changed anything in it.
pub(super) struct Converted {
    pub(super) value: Val,
    changed: bool,
}

/// Converts by type. What does not have the form that the schema promises stays as it is: the expression that uses it
/// fails then, and only that one.
pub(super) fn convert(json: &Json, t: &Type) -> Converted {
    let special = match (t, json) {
        (Type::Bytes, Json::String(s)) => STANDARD.decode(s).ok().map(|b| Val::Bytes(Arc::from(b))),
        (Type::Timestamp, Json::String(s)) => time::parse_timestamp(s)
            .or_else(|| time::parse_timestamp(&format!("{s}T00:00:00Z")))
            .map(Val::Timestamp),
        (Type::Duration, Json::String(s)) => time::parse_duration(s).map(Val::Duration),
        (Type::Int, Json::Number(n)) if n.is_f64() => n.as_f64().and_then(exact_int).map(Val::Int),
        (Type::Double, Json::Number(n)) if !n.is_f64() => n.as_f64().map(Val::Double),
        (Type::Optional(inner), json) => return convert(json, inner),
        (Type::List(item), Json::Array(items)) => return list(items, item),
        (Type::Map(_, value), Json::Object(fields)) => return map(json, fields, |_| value, false),
        (Type::Struct(s), Json::Object(fields)) => {
            return map(json, fields, |field| field_type(s, field), true);
        }
        _ => None,
    };
    match special {
        Some(value) => Converted { value, changed: true },
        None => Converted { value: Val::from_json(json), changed: false },
    }
}

/// A result for a field of this type: bytes become base64 where the field holds base64.
pub(super) fn for_field(value: Val, field: &Type) -> Val {
    match (field, value) {
        (Type::Bytes, Val::Bytes(b)) => Val::string(STANDARD.encode(b)),
        (field, Val::Optional(Some(inner))) => Val::some(for_field((*inner).clone(), field)),
        (Type::List(item), Val::List(items)) => {
            Val::list(items.iter().map(|v| for_field(v.clone(), item)).collect())
        }
        (Type::Map(_, value), Val::Map(map)) => fields(&map, |_| value),
        (Type::Struct(s), Val::Map(map)) => fields(&map, |name| field_type(s, name)),
        (_, value) => value,
    }
}

fn fields<'t>(map: &Map, type_of: impl Fn(&str) -> &'t Type) -> Val {
    let mut out = map.clone();
    if out.origin.is_none() {
        for (name, value) in &mut out.strings {
            *value = for_field(value.clone(), type_of(name));
        }
    }
    Val::map(out)
}

fn field_type<'t>(s: &'t Struct, name: &str) -> &'t Type {
    s.fields.get(name).or_else(|| s.fields.get(&escape_field(name))).unwrap_or(&Type::Dyn)
}

fn list(items: &[Json], item: &Type) -> Converted {
    let mut changed = false;
    let items = items.iter().map(|json| {
        let converted = convert(json, item);
        changed |= converted.changed;
        converted.value
    });
    let value = Val::list(items.collect());
    Converted { value, changed }
}

fn map<'t>(
    json: &Json,
    fields: &serde_json::Map<String, Json>,
    type_of: impl Fn(&str) -> &'t Type,
    null_is_absent: bool,
) -> Converted {
    let mut out = Map::default();
    let mut changed = false;
    for (field, value) in fields {
        let t = type_of(field);
        if value.is_null() && null_is_absent && *t != Type::Dyn {
            changed = true;
            continue;
        }
        let converted = convert(value, t);
        changed |= converted.changed;
        out.strings.insert(Arc::from(field.as_str()), converted.value);
    }
    out.origin = changed.then(|| Arc::new(json.clone()));
    Converted { value: Val::map(out), changed }
}
