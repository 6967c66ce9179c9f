//! Whether a default keeps the rules of its own field. If not, the API server refuses the CRD.

use super::Fault;
use super::types::quote;
use crate::schema::kept::{LIST_KEYS, list_keys};
use regex::RegexBuilder;
use serde_json::{Map, Value};

/// Larger patterns are left to the API server.
const MAX_COMPILED: usize = 1 << 20;

/// What is wrong with the default of a finished field.
pub fn default(schema: &Map<String, Value>) -> Option<Fault> {
    let default = schema.get("default").filter(|d| !d.is_null())?;
    let (path, why) = unmet(schema, default)?;
    let place = if path.is_empty() { String::new() } else { format!(" at {path}") };
    Some(
        Fault::new(format!("the default {}{place} {why}", shown(default)))
            .help("change the default, or the rule"),
    )
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        other => quote(&other.to_string()),
    }
}

/// The first place where a value of the right type breaks a rule, and how.
fn unmet(schema: &Map<String, Value>, value: &Value) -> Option<(String, String)> {
    let here = |why: String| Some((String::new(), why));
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    let size = |key: &str| schema.get(key).and_then(Value::as_i64);
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let allowed: Vec<String> = allowed.iter().map(shown).collect();
        return here(format!("is none of the enum: {}", allowed.join(", ")));
    }
    match value {
        Value::Number(n) => {
            let n = n.as_f64()?;
            if let Some(least) = number("minimum").filter(|least| n < *least) {
                return here(format!("is less than minimum={least}"));
            }
            if let Some(most) = number("maximum").filter(|most| n > *most) {
                return here(format!("is more than maximum={most}"));
            }
            None
        }
        Value::String(text) => {
            if let Some(why) = outside(
                text.chars().count(),
                [size("minLength"), size("maxLength")],
                ["minLength", "maxLength"],
            ) {
                return here(format!("has {} characters, {why}", text.chars().count()));
            }
            let pattern = schema.get("pattern").and_then(Value::as_str)?;
            let known = RegexBuilder::new(pattern).size_limit(MAX_COMPILED).build().ok()?;
            if known.is_match(text) {
                None
            } else {
                here(format!("does not match the pattern {}", quote(pattern)))
            }
        }
        Value::Array(items) => {
            if let Some(why) =
                outside(items.len(), [size("minItems"), size("maxItems")], ["minItems", "maxItems"])
            {
                return here(format!("has {} items, {why}", items.len()));
            }
            if let Some(why) = twice(schema, items) {
                return here(why);
            }
            let inner = schema.get("items")?.as_object()?;
            items.iter().enumerate().find_map(|(i, item)| {
                let (path, why) = unmet(inner, item)?;
                Some((format!("[{i}]{path}"), why))
            })
        }
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let property = |name: &str| properties.and_then(|p| p.get(name)).and_then(Value::as_object);
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            // A required field with a default of its own is filled in by the API server.
            let mut absent = required.filter_map(Value::as_str).filter(|name| {
                !fields.contains_key(*name) && property(name).is_none_or(|p| !p.contains_key("default"))
            });
            if let Some(name) = absent.next() {
                return here(format!("lacks {name}, which is required"));
            }
            let rest = schema.get("additionalProperties").and_then(Value::as_object);
            let open = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
            fields.iter().find_map(|(name, field)| match property(name).or(rest) {
                Some(inner) => {
                    let (path, why) = unmet(inner, field)?;
                    Some((format!(".{name}{path}"), why))
                }
                None if open || properties.is_none() => None,
                None => Some((format!(".{name}"), "is no field of its type".to_owned())),
            })
        }
        Value::Null | Value::Bool(_) => None,
    }
}

fn outside(
    found: usize,
    [least, most]: [Option<i64>; 2],
    [least_name, most_name]: [&str; 2],
) -> Option<String> {
    let found = i64::try_from(found).unwrap_or(i64::MAX);
    match (least.filter(|l| found < *l), most.filter(|m| found > *m)) {
        (Some(least), _) => Some(format!("fewer than {least_name}={least}")),
        (_, Some(most)) => Some(format!("more than {most_name}={most}")),
        _ => None,
    }
}

/// Two items that count as one: equal ones of a set, or ones with equal keys of a keyed list.
fn twice(schema: &Map<String, Value>, items: &[Value]) -> Option<String> {
    let kind = schema.get("x-kubernetes-list-type").and_then(Value::as_str)?;
    let keys: Vec<&str> = list_keys(schema.get(LIST_KEYS)).collect();
    let identity = |item: &Value| match kind {
        "set" => Some(vec![Some(item.clone())]),
        "map" => Some(keys.iter().map(|key| item.get(key).cloned()).collect()),
        _ => None,
    };
    let mut seen = Vec::new();
    for item in items {
        let identity = identity(item)?;
        if seen.contains(&identity) {
            return Some(format!("has the same item twice, against listType={kind}"));
        }
        seen.push(identity);
    }
    None
}
