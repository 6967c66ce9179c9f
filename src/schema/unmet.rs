//! Where a value breaks the rules of its schema: the structural part of what an API server checks before it takes an object.
//!
//! What is said names rules, never the value: a value may come from anywhere. Rules in CEL are left to the API server.

use super::kept::{LIST_KEYS, list_keys};
use crate::api::text;
use regex::RegexBuilder;
use serde_json::{Map, Value};

/// Larger patterns are left to the API server.
const MAX_COMPILED: usize = 1 << 20;
/// Bytes of a rule that a sentence shows.
const SHOWN: usize = 60;

/// A rule that a value breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// Below the value: `.a[0]`, or nothing where the value itself breaks it.
    pub path: String,
    /// What follows the name of the value in a sentence.
    pub why: String,
}

/// All rules that a value breaks. A value of the wrong type breaks that alone.
pub fn all(schema: &Map<String, Value>, value: &Value) -> Vec<Unmet> {
    let mut found = Found { whole: true, list: Vec::new() };
    found.value(schema, value, &mut String::new());
    found.list
}

/// The same of a value that others complete: what its maps lack is no fault, and null takes a field out. The maps in lists
/// are complete.
pub fn of_patch(schema: &Map<String, Value>, patch: &Value) -> Vec<Unmet> {
    let mut found = Found { whole: false, list: Vec::new() };
    found.value(schema, patch, &mut String::new());
    found.list
}

struct Found {
    whole: bool,
    list: Vec<Unmet>,
}

impl Found {
    fn add(&mut self, path: &str, why: impl Into<String>) {
        self.list.push(Unmet { path: path.to_owned(), why: why.into() });
    }

    fn value(&mut self, schema: &Map<String, Value>, value: &Value, path: &mut String) {
        if value.is_null() && (!self.whole || schema.get("nullable") == Some(&Value::Bool(true))) {
            return;
        }
        let wanted = types(schema);
        if !wanted.is_empty() && !wanted.iter().any(|wanted| is_of(wanted, value)) {
            self.add(path, format!("is no {}", wanted.join(" and no ")));
            return;
        }
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
            && !allowed.contains(value)
        {
            let allowed: Vec<String> = allowed.iter().map(shown).collect();
            self.add(path, format!("is none of the enum: {}", allowed.join(", ")));
            return;
        }
        match value {
            Value::Number(n) => self.number(schema, n.as_f64().unwrap_or_default(), path),
            Value::String(text) => self.text(schema, text, path),
            Value::Array(items) => self.list(schema, items, path),
            Value::Object(fields) => self.map(schema, fields, path),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn number(&mut self, schema: &Map<String, Value>, n: f64, path: &str) {
        let number = |key: &str| schema.get(key).and_then(Value::as_f64);
        let strict = |key: &str| schema.get(key) == Some(&Value::Bool(true));
        if let Some(least) = number("minimum") {
            if n < least {
                self.add(path, format!("is less than minimum={least}"));
            } else if n <= least && strict("exclusiveMinimum") {
                self.add(path, format!("is not more than minimum={least}"));
            }
        }
        if let Some(most) = number("maximum") {
            if n > most {
                self.add(path, format!("is more than maximum={most}"));
            } else if n >= most && strict("exclusiveMaximum") {
                self.add(path, format!("is not less than maximum={most}"));
            }
        }
        if let Some(step) = number("multipleOf").filter(|step| *step > 0.0 && (n / step).fract() != 0.0) {
            self.add(path, format!("is no multiple of {step}"));
        }
    }

    fn text(&mut self, schema: &Map<String, Value>, text: &str, path: &str) {
        self.counted(schema, text.chars().count(), ("characters", "minLength", "maxLength"), path);
        let Some(pattern) = schema.get("pattern").and_then(Value::as_str) else { return };
        let known = RegexBuilder::new(pattern).size_limit(MAX_COMPILED).build();
        if known.is_ok_and(|known| !known.is_match(text)) {
            self.add(path, format!("does not match the pattern {}", quote(pattern)));
        }
    }

    fn list(&mut self, schema: &Map<String, Value>, items: &[Value], path: &mut String) {
        self.counted(schema, items.len(), ("items", "minItems", "maxItems"), path);
        if let Some(why) = twice(schema, items) {
            self.add(path, why);
        }
        let Some(inner) = schema.get("items").and_then(Value::as_object) else { return };
        // A list replaces another as a whole.
        let outside = std::mem::replace(&mut self.whole, true);
        for (position, item) in items.iter().enumerate() {
            self.below(&format!("[{position}]"), inner, item, path);
        }
        self.whole = outside;
    }

    fn map(&mut self, schema: &Map<String, Value>, fields: &Map<String, Value>, path: &mut String) {
        if self.whole {
            self.counted(schema, fields.len(), ("entries", "minProperties", "maxProperties"), path);
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let property = |name: &str| properties.and_then(|p| p.get(name)).and_then(Value::as_object);
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        // A required field with a default of its own is filled in by the API server.
        let absent = required.filter_map(Value::as_str).filter(|name| {
            !fields.contains_key(*name) && property(name).is_none_or(|p| !p.contains_key("default"))
        });
        for name in absent.filter(|_| self.whole).collect::<Vec<_>>() {
            self.add(path, format!("lacks {name}, which is required"));
        }
        let rest = schema.get("additionalProperties").and_then(Value::as_object);
        let open = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
            || schema.get("additionalProperties") == Some(&Value::Bool(true));
        for (name, field) in fields {
            match property(name).or(rest) {
                Some(inner) => self.below(&step(name), inner, field, path),
                None if open || properties.is_none() => {}
                None => self.add(&format!("{path}{}", step(name)), "is no field of its type"),
            }
        }
    }

    fn below(&mut self, step: &str, schema: &Map<String, Value>, value: &Value, path: &mut String) {
        let length = path.len();
        path.push_str(step);
        self.value(schema, value, path);
        path.truncate(length);
    }

    fn counted(
        &mut self,
        schema: &Map<String, Value>,
        found: usize,
        (what, least_name, most_name): (&str, &str, &str),
        path: &str,
    ) {
        let size = |key: &str| schema.get(key).and_then(Value::as_i64);
        let count = i64::try_from(found).unwrap_or(i64::MAX);
        if let Some(least) = size(least_name).filter(|least| count < *least) {
            self.add(path, format!("has {found} {what}, fewer than {least_name}={least}"));
        } else if let Some(most) = size(most_name).filter(|most| count > *most) {
            self.add(path, format!("has {found} {what}, more than {most_name}={most}"));
        }
    }
}

fn step(name: &str) -> String {
    if name.is_empty() || name.contains(['.', '[', ']', '"']) {
        format!("[{name:?}]")
    } else {
        format!(".{name}")
    }
}

/// The types that a value may have; none if the schema does not say.
fn types(schema: &Map<String, Value>) -> Vec<&str> {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return vec!["integer", "string"];
    }
    schema.get("type").and_then(Value::as_str).into_iter().collect()
}

fn is_of(wanted: &str, value: &Value) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
        _ => true,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        other => quote(&other.to_string()),
    }
}

fn quote(rule: &str) -> String {
    format!("`{}`", text::cut(rule, SHOWN))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(found: Vec<Unmet>) -> Vec<String> {
        found.into_iter().map(|u| format!("{}: {}", u.path, u.why)).collect()
    }

    #[test]
    fn each_rule_is_named_with_its_place_and_no_value() {
        let schema = json!({"type": "object", "required": ["name", "size"], "properties": {
            "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
            "size": {"type": "integer", "default": 1, "minimum": 0, "exclusiveMinimum": true, "maximum": 9},
            "mode": {"type": "string", "enum": ["fast", "safe"]},
            "ports": {"type": "array", "x-kubernetes-list-type": "set", "maxItems": 2, "items": {"type": "integer"}},
            "list": {"type": "array", "items": {"type": "object", "required": ["key"], "properties": {
                "key": {"type": "string"}}}},
            "tags": {"type": "object", "additionalProperties": {"type": "string", "minLength": 2}},
            "either": {"x-kubernetes-int-or-string": true},
            "none": {"type": "string", "nullable": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }});
        let schema = schema.as_object().unwrap();
        for (value, want) in [
            (json!({"name": "abc", "size": 1, "none": null, "either": 1, "free": {"a": 1}}), vec![]),
            (json!({}), vec![": lacks name, which is required"]),
            (
                json!({"name": "SECRET"}),
                vec![
                    ".name: has 6 characters, more than maxLength=5",
                    ".name: does not match the pattern `^[a-z]+$`",
                ],
            ),
            (json!({"name": "a", "size": 0}), vec![".size: is not more than minimum=0"]),
            (json!({"name": "a", "size": 10}), vec![".size: is more than maximum=9"]),
            (json!({"name": "a", "size": "10"}), vec![".size: is no integer"]),
            (json!({"name": "a", "size": 2.0}), vec![]),
            (json!({"name": "a", "mode": "x"}), vec![".mode: is none of the enum: `fast`, `safe`"]),
            (
                json!({"name": "a", "ports": [1, 1, 2]}),
                vec![
                    ".ports: has 3 items, more than maxItems=2",
                    ".ports: has the same item twice, against listType=set",
                ],
            ),
            (
                json!({"name": "a", "list": [{"key": "k"}, {}]}),
                vec![".list[1]: lacks key, which is required"],
            ),
            (
                json!({"name": "a", "tags": {"a.b": "x"}}),
                vec![r#".tags["a.b"]: has 1 characters, fewer than minLength=2"#],
            ),
            (json!({"name": "a", "either": true}), vec![".either: is no integer and no string"]),
            (json!({"name": null}), vec![".name: is no string"]),
            (json!({"name": "a", "more": 1}), vec![".more: is no field of its type"]),
        ] {
            assert_eq!(said(all(schema, &value)), want, "{value}");
        }
        for (patch, want) in [
            (json!({"mode": null}), vec![]),
            (
                json!({"mode": "x", "list": [{}]}),
                vec![".list[0]: lacks key, which is required", ".mode: is none of the enum: `fast`, `safe`"],
            ),
        ] {
            assert_eq!(said(of_patch(schema, &patch)), want, "{patch}");
        }
    }
}
