//! Validation of a custom resource by its schema, worded as a kube-apiserver words it.

use super::{FieldError, SAFE};
use crate::fields::{Element, step};
use crate::schema::{At, Node, Rules, Schema, Shape, Type};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Checks all that the schema says of values. What is below `metadata` of the object is not looked at.
#[must_use]
pub fn validate(object: &Value, schema: &Schema) -> Vec<FieldError> {
    let mut faults = Faults(Vec::new());
    faults.check(object, schema.top(), "");
    faults.embedded(object, schema.top(), "");
    faults.lists(object, schema.top(), "");
    faults.0
}

struct Faults(Vec<FieldError>);

impl Faults {
    fn add(&mut self, reason: &'static str, path: &str, message: String) {
        self.0.push(FieldError { reason, path: path.to_owned(), message });
    }

    fn invalid(&mut self, path: &str, value: &str, what: &str) {
        self.add("FieldValueInvalid", path, format!("Invalid value: {value}: {path} in body {what}"));
    }

    fn check(&mut self, value: &Value, at: At<'_>, path: &str) {
        let Some(node) = at.node() else { return };
        if !fits(value, node) {
            let format = node.rules.as_deref().and_then(|r| r.format.as_deref());
            // For a number, a format says more than the type.
            let (wanted, found) = match format.filter(|_| value.is_number()) {
                Some(format) => (format, if value.is_f64() { "float64" } else { "int64" }),
                None => (node.ty.name(), type_of(value)),
            };
            let what = format!("{path} in body must be of type {wanted}: {found:?}");
            self.add("FieldValueTypeInvalid", path, format!("Invalid value: {found:?}: {what}"));
        }
        if let Value::Number(number) = value {
            self.range(number.as_f64().unwrap_or_default(), node, path);
        }
        if let Value::Array(items) = value
            && at.has_items()
        {
            for (index, item) in items.iter().enumerate() {
                self.check(item, at.item(), &format!("{path}[{index}]"));
            }
        }
        if let Some(rules) = node.rules.as_deref() {
            match value {
                Value::String(text) => self.text(text, rules, path),
                Value::Number(number) => {
                    self.number(number.as_f64().unwrap_or_default(), &number.to_string(), rules, path);
                }
                Value::Array(items) => self.items(items, rules, path),
                _ => {}
            }
            self.allowed(value, rules, path);
        }
        if let Value::Object(fields) = value {
            self.fields(fields, at, node, path);
        }
    }

    /// Numbers that their type cannot hold. A server names no field for these.
    fn range(&mut self, number: f64, node: &Node, path: &str) {
        let format = node.rules.as_deref().and_then(|r| r.format.as_deref()).unwrap_or_default();
        let whole = number.fract() == 0.0;
        let fits = match (node.ty, format) {
            (Type::Integer, "int32") => {
                whole && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number)
            }
            (Type::Integer, _) => whole && number.abs() < 9_223_372_036_854_775_808.0,
            (Type::Number, "float") => number.abs() <= f64::from(f32::MAX),
            _ => true,
        };
        if !fits {
            let format = if format.is_empty() {
                "(default format)".to_owned()
            } else {
                format!("with format {format}")
            };
            let what = format!("Checked value must be of type {} {format} in {path}", node.ty.name());
            self.add("FieldValueInvalid", "<nil>", format!("Invalid value: \"\": {what}"));
        }
    }

    /// A whole object in a field says what it is.
    fn embedded(&mut self, value: &Value, at: At<'_>, path: &str) {
        match value {
            Value::Object(fields) => {
                if at.node().is_some_and(|n| n.embedded) {
                    for name in ["apiVersion", "kind"] {
                        if !fields.contains_key(name) {
                            self.add("FieldValueRequired", &join(path, name), "Required value".to_owned());
                        }
                    }
                }
                for (name, inner) in sorted(fields) {
                    if let Some(place) = at.declared(name) {
                        self.embedded(inner, place, &join(path, name));
                    }
                }
            }
            Value::Array(items) if at.has_items() => {
                for (index, item) in items.iter().enumerate() {
                    self.embedded(item, at.item(), &format!("{path}[{index}]"));
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str, rules: &Rules, path: &str) {
        let count = size(text.chars().count());
        let shown = format!("{text:?}");
        let longest = rules.max_length.filter(|max| count > *max);
        let shortest = rules.min_length.filter(|min| count < *min);
        let pattern =
            rules.pattern.as_ref().filter(|(_, regex)| regex.as_ref().is_some_and(|r| !r.is_match(text)));
        // Of these a server tells the first alone.
        if let Some(max) = longest {
            self.add("FieldValueTooLong", path, format!("Too long: may not be more than {max} bytes"));
        } else if let Some(min) = shortest {
            self.invalid(path, &shown, &format!("should be at least {min} chars long"));
        } else if let Some((pattern, _)) = pattern {
            self.invalid(path, &shown, &format!("should match '{pattern}'"));
        }
        if let Some(format) = rules.format.as_deref().filter(|f| !has_format(text, f)) {
            let what = format!("Invalid value: {text:?}: {path} in body must be of type {format}: {text:?}");
            self.add("FieldValueTypeInvalid", path, what);
        }
    }

    fn number(&mut self, number: f64, shown: &str, rules: &Rules, path: &str) {
        if let Some(of) = rules.multiple_of.filter(|of| (number / of).fract() != 0.0) {
            self.invalid(path, shown, &format!("should be a multiple of {of}"));
        }
        if let Some(min) = rules.minimum {
            if rules.exclusive_minimum && number <= min {
                self.invalid(path, shown, &format!("should be greater than {min}"));
            } else if number < min {
                self.invalid(path, shown, &format!("should be greater than or equal to {min}"));
            }
        }
        if let Some(max) = rules.maximum {
            if rules.exclusive_maximum && number >= max {
                self.invalid(path, shown, &format!("should be less than {max}"));
            } else if number > max {
                self.invalid(path, shown, &format!("should be less than or equal to {max}"));
            }
        }
    }

    fn items(&mut self, items: &[Value], rules: &Rules, path: &str) {
        let count = size(items.len());
        if let Some(min) = rules.min_items.filter(|min| count < *min) {
            self.invalid(path, &count.to_string(), &format!("should have at least {min} items"));
        }
        if let Some(max) = rules.max_items.filter(|max| count > *max) {
            self.too_many(path, count, max);
        }
        let twice = |(i, item): (usize, &Value)| items[..i].contains(item);
        if rules.unique_items && items.iter().enumerate().any(twice) {
            self.invalid(path, "\"\"", "shouldn't contain duplicates");
        }
    }

    fn too_many(&mut self, path: &str, count: u64, max: u64) {
        let items = if max == 1 { "item" } else { "items" };
        self.add("FieldValueTooMany", path, format!("Too many: {count}: must have at most {max} {items}"));
    }

    fn allowed(&mut self, value: &Value, rules: &Rules, path: &str) {
        let Some(allowed) = rules.allowed.as_ref().filter(|all| !all.contains(value)) else { return };
        let of = |value: &Value| match value {
            Value::String(text) => format!("{text:?}"),
            other => format!("{:?}", other.to_string()),
        };
        let all: Vec<_> = allowed.iter().map(of).collect();
        let what = format!("Unsupported value: {value}: supported values: {}", all.join(", "));
        self.add("FieldValueNotSupported", path, what);
    }

    fn fields(&mut self, fields: &Map<String, Value>, at: At<'_>, node: &Node, path: &str) {
        if let Some(rules) = node.rules.as_deref() {
            let count = size(fields.len());
            if let Some(min) = rules.min_properties.filter(|min| count < *min) {
                self.invalid(path, &count.to_string(), &format!("should have at least {min} properties"));
            }
            if let Some(max) = rules.max_properties.filter(|max| count > *max) {
                self.too_many(path, count, max);
            }
        }
        for (name, value) in sorted(fields) {
            if path.is_empty() && name == "metadata" {
                continue;
            }
            if let Some(place) = at.declared(name) {
                self.check(value, place, &join(path, name));
            }
        }
        for name in node.rules.iter().flat_map(|r| &r.required) {
            if !fields.contains_key(name) {
                self.add("FieldValueRequired", &join(path, name), "Required value".to_owned());
            }
        }
    }

    /// Items that may be there only once.
    fn lists(&mut self, value: &Value, at: At<'_>, path: &str) {
        match value {
            Value::Object(fields) => {
                for (name, inner) in sorted(fields) {
                    if let Some(place) = at.declared(name).filter(|_| !path.is_empty() || name != "metadata")
                    {
                        self.lists(inner, place, &join(path, name));
                    }
                }
            }
            Value::Array(items) => {
                let mut seen = BTreeSet::new();
                let once = matches!(at.shape(value), Shape::Set | Shape::Keyed);
                for (index, item) in items.iter().enumerate() {
                    let below = format!("{path}[{index}]");
                    if let Some(key) = step(at, item).ok().filter(|_| once)
                        && !seen.insert(key.clone())
                    {
                        let shown = match key {
                            Element::Key(key) => Value::Object(key.into_iter().collect()),
                            _ => item.clone(),
                        };
                        self.add("FieldValueDuplicate", &below, format!("Duplicate value: {shown}"));
                    }
                    self.lists(item, at.item(), &below);
                }
            }
            _ => {}
        }
    }
}

fn size(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn sorted(fields: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut all: Vec<_> = fields.iter().collect();
    all.sort_by_key(|(name, _)| *name);
    all
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn fits(value: &Value, node: &Node) -> bool {
    let whole = |number: &serde_json::Number| {
        number.as_f64().is_some_and(|n| n.fract() == 0.0 && (!number.is_f64() || n.abs() < SAFE))
    };
    match (node.ty, value) {
        (_, Value::Null) => node.nullable || node.ty == Type::Any,
        (Type::Any, _)
        | (Type::String, Value::String(_))
        | (Type::Number, Value::Number(_))
        | (Type::Boolean, Value::Bool(_))
        | (Type::IntOrString, Value::String(_))
        | (Type::Object, Value::Object(_))
        | (Type::Array, Value::Array(_)) => true,
        (Type::Integer | Type::IntOrString, Value::Number(number)) => whole(number),
        _ => false,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The formats of texts that the model knows; any text has another one.
fn has_format(text: &str, format: &str) -> bool {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    match format {
        "date-time" | "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10,
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => text.split_once('/').is_some_and(|(ip, bits)| {
            let most = |ip: IpAddr| if ip.is_ipv4() { 32 } else { 128 };
            ip.parse().is_ok_and(|ip| bits.parse::<u8>().is_ok_and(|bits| bits <= most(ip)))
        }),
        "uuid" => {
            let digits: Vec<char> = text.chars().filter(|c| *c != '-').collect();
            digits.len() == 32 && digits.iter().all(char::is_ascii_hexdigit)
        }
        "byte" => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).is_ok()
        }
        _ => true,
    }
}

#[cfg(test)]
#[allow(clippy::too_many_lines)] // Tables.
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn faults_are_worded_as_a_server_words_them() {
        let of = |field: Value, value: Value| -> Vec<String> {
            let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"x": field}}}});
            let schema = Schema::of_crd(&schema);
            validate(&json!({"spec": {"x": value}}), &schema).iter().map(ToString::to_string).collect()
        };
        for (field, value, fault) in [
            (
                json!({"type": "integer"}),
                json!("3"),
                r#"spec.x: Invalid value: "string": spec.x in body must be of type integer: "string""#,
            ),
            (
                json!({"type": "integer", "format": "int32"}),
                json!(3_000_000_000_u64),
                r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.x"#,
            ),
            (
                json!({"type": "string"}),
                json!(null),
                r#"spec.x: Invalid value: "null": spec.x in body must be of type string: "null""#,
            ),
            (
                json!({"x-kubernetes-int-or-string": true}),
                json!(true),
                r#"spec.x: Invalid value: "boolean": spec.x in body must be of type integer,string: "boolean""#,
            ),
            (
                json!({"type": "string", "enum": ["a", "b"]}),
                json!("c"),
                r#"spec.x: Unsupported value: "c": supported values: "a", "b""#,
            ),
            (
                json!({"type": "integer", "minimum": 1}),
                json!(0),
                "spec.x: Invalid value: 0: spec.x in body should be greater than or equal to 1",
            ),
            (
                json!({"type": "integer", "maximum": 5, "exclusiveMaximum": true}),
                json!(5),
                "spec.x: Invalid value: 5: spec.x in body should be less than 5",
            ),
            (
                json!({"type": "integer", "multipleOf": 3}),
                json!(4),
                "spec.x: Invalid value: 4: spec.x in body should be a multiple of 3",
            ),
            (
                json!({"type": "string", "minLength": 2}),
                json!("a"),
                r#"spec.x: Invalid value: "a": spec.x in body should be at least 2 chars long"#,
            ),
            (
                json!({"type": "string", "maxLength": 2}),
                json!("abc"),
                "spec.x: Too long: may not be more than 2 bytes",
            ),
            (
                json!({"type": "string", "pattern": "^a+$"}),
                json!("b"),
                r#"spec.x: Invalid value: "b": spec.x in body should match '^a+$'"#,
            ),
            (
                json!({"type": "string", "format": "date-time"}),
                json!("now"),
                r#"spec.x: Invalid value: "now": spec.x in body must be of type date-time: "now""#,
            ),
            (
                json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
                json!([]),
                "spec.x: Invalid value: 0: spec.x in body should have at least 1 items",
            ),
            (
                json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
                json!(["a", "b"]),
                "spec.x: Too many: 2: must have at most 1 item",
            ),
            (
                json!({"type": "array", "items": {"type": "string"}}),
                json!(["a", 1]),
                r#"spec.x[1]: Invalid value: "integer": spec.x[1] in body must be of type string: "integer""#,
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}),
                json!({}),
                "spec.x: Invalid value: 0: spec.x in body should have at least 1 properties",
            ),
            (
                json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}),
                json!({}),
                "spec.x.name: Required value",
            ),
            (
                json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
                json!(["a", "a"]),
                r#"spec.x[1]: Duplicate value: "a""#,
            ),
        ] {
            assert_eq!(of(field, value), [fault]);
        }
        let map = json!({
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}}},
        });
        assert_eq!(
            of(map, json!([{"name": "a"}, {"name": "a"}])),
            [r#"spec.x[1]: Duplicate value: {"name":"a"}"#]
        );
    }

    #[test]
    fn what_fits_has_no_faults() {
        let of = |field: Value, value: Value| {
            let schema = json!({"type": "object", "properties": {"x": field}});
            validate(&json!({"x": value, "metadata": {"name": 1}}), &Schema::of_crd(&schema))
        };
        for (field, value) in [
            (json!({"type": "integer"}), json!(2.0)),
            (json!({"type": "number"}), json!(2)),
            (json!({"type": "string", "nullable": true}), json!(null)),
            (json!({"x-kubernetes-int-or-string": true}), json!("50%")),
            (
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
                json!({"a": [1, {"b": null}]}),
            ),
            (json!({"type": "string", "format": "cidr"}), json!("10.0.0.0/8")),
            (json!({"x-kubernetes-preserve-unknown-fields": true}), json!([1])),
        ] {
            assert_eq!(of(field, value), []);
        }
    }
}
