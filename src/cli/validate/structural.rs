//! Whether a value is what a CRD's schema allows: the structural part of what an API server checks.

use super::yaml::{Content, Node};
use crate::graph::suggestion;
use crate::schema::kept::{LIST_KEYS, list_keys};
use regex::Regex;
use serde_json::{Map, Value};
use std::ops::Range;

/// Something that the schema does not allow.
pub struct Problem {
    pub path: String,
    pub span: Range<usize>,
    pub message: String,
    pub help: Option<String>,
    /// A field that the schema does not know: an API server drops it, or refuses it when asked to be strict.
    pub unknown_field: bool,
}

/// Checks a value; `source` is the file.
pub fn check(source: &str, node: &Node, schema: &Value, path: &str) -> Vec<Problem> {
    let mut checker = Checker { source, problems: Vec::new() };
    checker.value(node, schema, path, node.mark(source));
    checker.problems
}

struct Checker<'s> {
    source: &'s str,
    problems: Vec<Problem>,
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

fn is_null(node: &Node) -> bool {
    matches!(node.content, Content::Scalar(Value::Null, _))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(n) if n.is_f64() => "a number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn wanted(type_: &str) -> &str {
    match type_ {
        "boolean" => "a boolean",
        "number" => "a number",
        "integer" => "an integer",
        "string" => "a string",
        "array" => "a list",
        "object" => "a map",
        other => other,
    }
}

pub fn below(path: &str, key: &str) -> String {
    if key.is_empty() || key.contains(['.', '[', ']', '"']) {
        format!("{path}[{key:?}]")
    } else if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// What there may be too few or too many of, and the keywords that say so.
struct Counted {
    what: &'static str,
    least: &'static str,
    most: &'static str,
}

const LETTERS: Counted = Counted { what: "letters", least: "minLength", most: "maxLength" };
const ENTRIES: Counted = Counted { what: "entries", least: "minProperties", most: "maxProperties" };
const ITEMS: Counted = Counted { what: "items", least: "minItems", most: "maxItems" };

impl Checker<'_> {
    fn add(&mut self, path: &str, span: &Range<usize>, message: String, help: Option<String>) {
        self.problems.push(Problem {
            path: path.to_owned(),
            span: span.clone(),
            message,
            help,
            unknown_field: false,
        });
    }

    /// `span` is what to underline for the value.
    fn value(&mut self, node: &Node, schema: &Value, path: &str, span: Range<usize>) {
        let value = match &node.content {
            Content::Scalar(value, _) => value.clone(),
            Content::Map(_) => Value::Object(Map::new()),
            Content::List(_) => Value::Array(Vec::new()),
        };
        if value.is_null() && flag(schema, "nullable") {
            return;
        }
        if !self.is_of_type(&value, schema, path, &span) {
            return;
        }
        self.rules_of_value(&value, schema, path, &span);
        match &node.content {
            Content::Map(_) => self.map(node, schema, path, &span),
            Content::List(items) => self.list(items, schema, path, &span),
            Content::Scalar(..) => {}
        }
        self.combined(node, schema, path, &span);
    }

    fn is_of_type(&mut self, value: &Value, schema: &Value, path: &str, span: &Range<usize>) -> bool {
        if flag(schema, "x-kubernetes-int-or-string") {
            let fits = value.is_string() || value.is_i64() || value.is_u64();
            if !fits {
                self.add(
                    path,
                    span,
                    format!("an integer or a string is needed, found {}", type_name(value)),
                    None,
                );
            }
            return fits;
        }
        let Some(type_) = schema.get("type").and_then(Value::as_str) else { return true };
        let fits = match type_ {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            _ => true,
        };
        if !fits {
            let help = match (type_, value) {
                ("string", Value::Bool(_) | Value::Number(_)) => {
                    let text = self.source.get(span.clone()).unwrap_or_default();
                    Some(format!("write it in quotes: \"{text}\""))
                }
                ("integer" | "number" | "boolean", Value::String(text)) if text.contains("${") => {
                    Some("an instance has values; expressions belong to the definition".to_owned())
                }
                ("integer" | "number", Value::String(text)) if text.parse::<f64>().is_ok() => {
                    Some(format!("write it without quotes: {text}"))
                }
                ("boolean", Value::String(text)) if text == "true" || text == "false" => {
                    Some(format!("write it without quotes: {text}"))
                }
                _ => None,
            };
            self.add(path, span, format!("{} is needed, found {}", wanted(type_), type_name(value)), help);
        }
        fits
    }

    fn rules_of_value(&mut self, value: &Value, schema: &Value, path: &str, span: &Range<usize>) {
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
            && !allowed.contains(value)
        {
            let near = value.as_str().and_then(|v| suggestion(v, allowed.iter().filter_map(Value::as_str)));
            let all = allowed.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
            self.add(
                path,
                span,
                format!("{value} is none of the allowed values"),
                Some(near.unwrap_or(format!("allowed are {all}"))),
            );
        }
        let number = |key: &str| schema.get(key).and_then(Value::as_f64);
        let shown = |key: &str| schema.get(key).map(Value::to_string).unwrap_or_default();
        if let Some(found) = value.as_f64() {
            if let Some(least) = number("minimum") {
                let strict = flag(schema, "exclusiveMinimum");
                if found < least || (strict && found <= least) {
                    let word = if strict { "more than" } else { "at least" };
                    self.add(
                        path,
                        span,
                        format!("{value} is too small: {word} {} is needed", shown("minimum")),
                        None,
                    );
                }
            }
            if let Some(most) = number("maximum") {
                let strict = flag(schema, "exclusiveMaximum");
                if found > most || (strict && found >= most) {
                    let word = if strict { "less than" } else { "at most" };
                    self.add(
                        path,
                        span,
                        format!("{value} is too large: {word} {} is allowed", shown("maximum")),
                        None,
                    );
                }
            }
            if let Some(step) = number("multipleOf").filter(|s| *s != 0.0) {
                let steps = found / step;
                if (steps - steps.round()).abs() > 1e-9 {
                    self.add(path, span, format!("{value} is no multiple of {}", shown("multipleOf")), None);
                }
            }
        }
        if let Some(text) = value.as_str() {
            let length = text.chars().count() as u64;
            self.count(length, schema, &LETTERS, (path, span));
            if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
                && Regex::new(pattern).is_ok_and(|r| !r.is_match(text))
            {
                self.add(path, span, format!("{text:?} does not match {pattern}"), None);
            }
        }
    }

    fn count(&mut self, n: u64, schema: &Value, counted: &Counted, (path, span): (&str, &Range<usize>)) {
        let limit = |key: &str| schema.get(key).and_then(Value::as_u64);
        let (least, most, what) = (limit(counted.least), limit(counted.most), counted.what);
        if let Some(least) = least.filter(|l| n < *l) {
            self.add(path, span, format!("too few {what}: {n}, at least {least} are needed"), None);
        }
        if let Some(most) = most.filter(|m| n > *m) {
            self.add(path, span, format!("too many {what}: {n}, at most {most} are allowed"), None);
        }
    }

    fn map(&mut self, node: &Node, schema: &Value, path: &str, span: &Range<usize>) {
        let none = Map::new();
        let entries = node.entries();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        self.count(entries.len() as u64, schema, &ENTRIES, (path, span));
        for name in
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        {
            let filled = properties.get(name).is_some_and(|p| p.get("default").is_some());
            let nullable = properties.get(name).is_some_and(|p| flag(p, "nullable"));
            let absent = node.get(name).is_none_or(|n| is_null(n) && !nullable);
            if absent && !filled {
                let place = if path.is_empty() { "the object".to_owned() } else { path.to_owned() };
                let near =
                    entries.iter().map(|(k, _)| k.text.as_str()).filter(|k| !properties.contains_key(*k));
                let help = suggestion(name, near)
                    .map(|_| format!("there is a field with nearly that name: write {name}"));
                self.add(path, span, format!("{place} has no field {name}, which is required"), help);
            }
        }
        let rest = schema.get("additionalProperties");
        let open = flag(schema, "x-kubernetes-preserve-unknown-fields") || rest == Some(&Value::Bool(true));
        // A schema that says nothing about fields allows any field.
        let silent = properties.is_empty() && schema.get("type").and_then(Value::as_str) != Some("object");
        for (key, value) in entries {
            // A server takes a null for a field that is not there, unless it may be null.
            if is_null(value) && properties.contains_key(&key.text) {
                continue;
            }
            let inner_path = below(path, &key.text);
            let mark = match &value.content {
                Content::Scalar(v, _) if !v.is_null() => value.mark(self.source),
                _ => key.span.clone(),
            };
            match (properties.get(&key.text), rest) {
                (Some(inner), _) => self.value(value, inner, &inner_path, mark),
                (None, Some(inner @ Value::Object(_))) => self.value(value, inner, &inner_path, mark),
                (None, _) if open || silent => {}
                (None, _) => {
                    let names = properties.keys().map(String::as_str).filter(|n| node.get(n).is_none());
                    let help = suggestion(&key.text, names.clone()).or_else(|| {
                        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
                        match names.as_slice() {
                            [] => None,
                            few if few.len() <= 12 => Some(format!("fields here are {}", few.join(", "))),
                            _ => None,
                        }
                    });
                    self.problems.push(Problem {
                        path: inner_path,
                        span: key.span.clone(),
                        message: format!("unknown field {:?}", key.text),
                        help,
                        unknown_field: true,
                    });
                }
            }
        }
    }

    fn list(&mut self, items: &[Node], schema: &Value, path: &str, span: &Range<usize>) {
        self.count(items.len() as u64, schema, &ITEMS, (path, span));
        let is = |key: &str, text: &str| schema.get(key).and_then(Value::as_str) == Some(text);
        let keys: Vec<&str> = list_keys(schema.get(LIST_KEYS)).collect();
        let mut seen: Vec<Value> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let mark = item.mark(self.source);
            let identity = if is("x-kubernetes-list-type", "map") {
                Some(Value::Array(
                    keys.iter().map(|k| item.get(k).map_or(Value::Null, Node::value)).collect(),
                ))
            } else if is("x-kubernetes-list-type", "set") || flag(schema, "uniqueItems") {
                Some(item.value())
            } else {
                None
            };
            if let Some(identity) = identity {
                if seen.contains(&identity) {
                    self.add(&path, &mark, "this is in the list already".to_owned(), None);
                }
                seen.push(identity);
            }
            if let Some(inner) = schema.get("items") {
                self.value(item, inner, &path, mark);
            }
        }
    }

    fn combined(&mut self, node: &Node, schema: &Value, path: &str, span: &Range<usize>) {
        let fits = |inner: &Value| check(self.source, node, inner, path).iter().all(|p| p.unknown_field);
        let branches = |key: &str| schema.get(key).and_then(Value::as_array);
        let mut told = Vec::new();
        if branches("allOf").is_some_and(|all| !all.iter().all(fits)) {
            told.push("this does not fit all of what its schema asks for (allOf)");
        }
        // Kubernetes writes this for int-or-string too, where it says nothing more.
        if branches("anyOf").is_some_and(|any| !any.iter().any(fits)) {
            told.push("this fits none of the forms that its schema allows (anyOf)");
        }
        if branches("oneOf").is_some_and(|one| one.iter().filter(|s| fits(s)).count() != 1) {
            told.push("this must fit exactly one of the forms that its schema allows (oneOf)");
        }
        if schema.get("not").is_some_and(fits) {
            told.push("this has a form that its schema excludes (not)");
        }
        for message in told {
            self.add(path, span, message.to_owned(), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::read;
    use super::*;
    use serde_json::json;

    fn told(text: &str, schema: Value) -> Vec<String> {
        let node = read(text, 0..text.len()).unwrap().unwrap();
        check(text, &node, &schema, "").into_iter().map(|p| format!("{}: {}", p.path, p.message)).collect()
    }

    #[test]
    fn what_a_schema_does_not_allow() {
        let schema = json!({"type": "object", "required": ["num", "d"], "properties": {
            "num": {"type": "integer", "minimum": 1, "maximum": 5},
            "d": {"type": "string", "default": "x"},
            "s": {"type": "string", "enum": ["red", "green"]},
            "p": {"type": "string", "pattern": "^a+$", "maxLength": 3},
            "m": {"type": "object", "additionalProperties": {"type": "string"}},
            "l": {"type": "array", "maxItems": 2, "items": {"type": "boolean"}},
            "i": {"x-kubernetes-int-or-string": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }});
        for (text, want) in [
            ("num: 1\n", vec![]),
            ("{}", vec![": the object has no field num, which is required"]),
            ("num: '1'\n", vec!["num: an integer is needed, found a string"]),
            ("num: 6\n", vec!["num: 6 is too large: at most 5 is allowed"]),
            ("num: 1\ns: blue\n", vec!["s: \"blue\" is none of the allowed values"]),
            ("num: 1\np: aaaa\n", vec!["p: too many letters: 4, at most 3 are allowed"]),
            ("num: 1\np: b\n", vec!["p: \"b\" does not match ^a+$"]),
            ("num: 1\nm: {a: 1}\n", vec!["m.a: a string is needed, found an integer"]),
            (
                "num: 1\nl: [true, no, 1]\n",
                vec![
                    "l: too many items: 3, at most 2 are allowed",
                    "l[2]: a boolean is needed, found an integer",
                ],
            ),
            ("num: 1\ni: 5\nfree: {x: 1}\n", vec![]),
            ("num: 1\ni: 1.5\n", vec!["i: an integer or a string is needed, found a number"]),
            ("num: 1\nx.y: 2\n", vec!["[\"x.y\"]: unknown field \"x.y\""]),
            ("num: 1\nd: null\ns: null\n", vec![]),
            ("num: null\n", vec![": the object has no field num, which is required"]),
            ("num: 1\nl: [null]\n", vec!["l[0]: a boolean is needed, found null"]),
        ] {
            assert_eq!(told(text, schema.clone()), want, "{text}");
        }
    }
}
