//! What each marker does to the schema of its field.

use super::Fault;
use super::markers::{Key, Marker};
use super::types::quote;
use super::{number, pattern};
use serde_json::{Map, Value, json};

const VALIDATIONS: &str = "x-kubernetes-validations";
const LIST_TYPE: &str = "x-kubernetes-list-type";
const LIST_MAP_KEYS: &str = "x-kubernetes-list-map-keys";

/// Applies markers in written order. Says whether they make the field required, and everything that is wrong.
pub fn apply(schema: &mut Map<String, Value>, markers: &[Marker]) -> (bool, Vec<Fault>) {
    let mut required = false;
    let mut faults = Vec::new();
    for marker in markers {
        match one(schema, marker) {
            Ok(makes_required) => required |= makes_required,
            Err(fault) => faults.push(fault),
        }
    }
    if schema.contains_key(LIST_MAP_KEYS) && schema.get(LIST_TYPE).and_then(Value::as_str) != Some("map") {
        faults.push(Fault::new("listMapKey needs listType=map").help("add listType=map"));
    }
    (required, faults)
}

fn one(schema: &mut Map<String, Value>, marker: &Marker) -> Result<bool, Fault> {
    let Marker { key, value } = marker;
    match key {
        Key::Required => return boolean(*key, value),
        Key::Default => default(schema, value)?,
        Key::Description => set(schema, "description", json!(value)),
        Key::Minimum | Key::Maximum => {
            let number = number::float(value).ok_or_else(|| {
                Fault::new(format!("{} must be a number, found {}", key.name(), quote(value)))
            })?;
            set(schema, key.name(), number);
        }
        Key::MinLength | Key::MaxLength => {
            only_on(schema, *key, &["string"])?;
            set(schema, key.name(), json!(integer(key.name(), value)?));
        }
        Key::MinItems | Key::MaxItems => {
            only_on(schema, *key, &["array"])?;
            set(schema, key.name(), json!(integer(key.name(), value)?));
        }
        Key::Pattern => {
            only_on(schema, *key, &["string"])?;
            if value.is_empty() {
                return Err(Fault::new("pattern must not be empty"));
            }
            pattern::check(value)
                .map_err(|why| Fault::new(format!("pattern {} is no RE2 expression: {why}", quote(value))))?;
            set(schema, "pattern", json!(value));
        }
        Key::Enum => {
            only_on(schema, *key, &["string", "integer"])?;
            let values = enum_values(type_of(schema), value)?;
            set(schema, "enum", values);
        }
        Key::UniqueItems => {
            let unique = boolean(*key, value)?;
            only_on(schema, *key, &["array"])?;
            if unique {
                list_type(schema, "set")?;
            }
        }
        Key::ListType => {
            only_on(schema, *key, &["array"])?;
            if !["atomic", "set", "map"].contains(&value.as_str()) {
                return Err(Fault::new(format!(
                    "listType must be atomic, set or map, found {}",
                    quote(value)
                )));
            }
            list_type(schema, value)?;
        }
        Key::ListMapKey => {
            only_on(schema, *key, &["array"])?;
            let known = schema.get(LIST_MAP_KEYS).and_then(Value::as_array);
            if known.is_some_and(|keys| keys.iter().any(|key| key == value)) {
                return Err(Fault::new(format!("duplicate listMapKey {}", quote(value))));
            }
            push(schema, LIST_MAP_KEYS, json!(value));
        }
        Key::Validation => {
            if value.trim().is_empty() {
                return Err(
                    Fault::new("validation must not be empty").help("write a CEL expression over `self`")
                );
            }
            push(schema, VALIDATIONS, json!({"rule": value, "message": "validation failed"}));
        }
        Key::Immutable => {
            if boolean(*key, value)? {
                let rule = json!({"rule": "self == oldSelf", "message": "field is immutable"});
                push(schema, VALIDATIONS, rule);
            }
        }
    }
    Ok(false)
}

fn set(schema: &mut Map<String, Value>, key: &str, value: Value) {
    schema.insert(key.to_owned(), value);
}

/// Adds to the list at a key of the schema.
fn push(schema: &mut Map<String, Value>, key: &str, value: Value) {
    match schema.get_mut(key) {
        Some(Value::Array(list)) => list.push(value),
        _ => set(schema, key, json!([value])),
    }
}

fn type_of(schema: &Map<String, Value>) -> &str {
    schema.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn only_on(schema: &Map<String, Value>, key: Key, types: &[&str]) -> Result<(), Fault> {
    let found = type_of(schema);
    if types.contains(&found) {
        return Ok(());
    }
    let allowed = types.join(" and ");
    Err(Fault::new(format!("{} is only valid for type {allowed}, found type {found}", key.name())))
}

fn boolean(key: Key, value: &str) -> Result<bool, Fault> {
    number::boolean(value)
        .ok_or_else(|| Fault::new(format!("{} must be true or false, found {}", key.name(), quote(value))))
}

fn integer(name: &str, value: &str) -> Result<i64, Fault> {
    number::integer(value)
        .ok_or_else(|| Fault::new(format!("{name} must be an integer, found {}", quote(value))))
}

fn list_type(schema: &mut Map<String, Value>, wanted: &str) -> Result<(), Fault> {
    match schema.get(LIST_TYPE).and_then(Value::as_str) {
        Some(set) if set != wanted => {
            Err(Fault::new(format!("contradicting list types: {set} and {wanted}"))
                .help("uniqueItems=true means listType=set; keep one of them"))
        }
        _ => {
            set(schema, LIST_TYPE, json!(wanted));
            Ok(())
        }
    }
}

fn enum_values(type_: &str, value: &str) -> Result<Value, Fault> {
    let mut values = Vec::new();
    for item in value.split(',').map(str::trim) {
        if item.is_empty() {
            return Err(Fault::new(format!("empty enum value in {}", quote(value)))
                .help("write the values with commas between them, as in enum=\"a,b\""));
        }
        values.push(match type_ {
            "integer" => json!(integer("enum value", item)?),
            _ => json!(item),
        });
    }
    Ok(Value::Array(values))
}

fn default(schema: &mut Map<String, Value>, value: &str) -> Result<(), Fault> {
    let wrong = |what: &str| Fault::new(format!("default must be {what}, found {}", quote(value)));
    let default = match type_of(schema) {
        "string" => json!(value),
        "integer" => json!(number::integer(value).ok_or_else(|| wrong("an integer"))?),
        "number" => number::float(value).ok_or_else(|| wrong("a number"))?,
        "boolean" => json!(number::boolean(value).ok_or_else(|| wrong("true or false"))?),
        type_ => {
            let article = if type_ == "array" { "a JSON array" } else { "a JSON object" };
            let default: Value = serde_json::from_str(value).map_err(|_| wrong(article))?;
            if default.is_null() {
                // The API server does not keep such a default.
                schema.remove("default");
                return Ok(());
            }
            if let Some((path, expected)) = misfit(schema, &default) {
                let place = if path.is_empty() { String::new() } else { format!(" at {path}") };
                return Err(Fault::new(format!(
                    "default{place} must be of type {expected}, found {}",
                    quote(value)
                )));
            }
            default
        }
    };
    set(schema, "default", default);
    Ok(())
}

/// The first place where a value has another type than its schema says, and that type.
fn misfit(schema: &Map<String, Value>, value: &Value) -> Option<(String, String)> {
    let type_ = type_of(schema);
    let fits = match type_ {
        "string" => value.is_string(),
        "integer" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    };
    if !fits {
        return Some((String::new(), type_.to_owned()));
    }
    let below = |inner: Option<&Value>, value: &Value, step: String| {
        let (path, type_) = misfit(inner?.as_object()?, value)?;
        Some((format!("{step}{path}"), type_))
    };
    match value {
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(i, item)| below(schema.get("items"), item, format!("[{i}]")))
        }
        Value::Object(fields) => fields.iter().find_map(|(name, field)| {
            let property = schema.get("properties").and_then(|p| p.get(name));
            below(property.or_else(|| schema.get("additionalProperties")), field, format!(".{name}"))
        }),
        _ => None,
    }
}
