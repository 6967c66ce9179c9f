//! A template against the schema of its kind: fields that exist, literals of the right type. What expressions give is
//! judged in [`super::types`]; what the API server checks better (required fields, patterns) is left to it.

use crate::cel::template::{Part, Text, split};
use crate::graph::diagnostic::{Path, Problems, Segment, suggestion};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What a place of a template may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'s> {
    Schema(&'s Value),
    Anything,
}

impl<'s> Field<'s> {
    /// A schema that says nothing about a place allows anything there.
    fn of(schema: &'s Value) -> Self {
        if is_open(schema) && !has_fields(schema) { Self::Anything } else { Self::Schema(schema) }
    }

    fn step(self, step: &Segment) -> Result<Self, Vec<&'s str>> {
        let Self::Schema(schema) = self else { return Ok(Self::Anything) };
        match step {
            Segment::Index(_) => Ok(schema.get("items").map_or(Self::Anything, Self::of)),
            Segment::Key(key) => child(schema, key),
        }
    }

    /// Goes down to a place. A field that the schema lacks was reported before, so anything is allowed below it.
    pub fn at(self, steps: &[Segment]) -> Self {
        steps.iter().try_fold(self, |at, step| at.step(step)).unwrap_or(Self::Anything)
    }
}

fn is_open(schema: &Value) -> bool {
    let flag = |key: &str| schema.get(key) == Some(&Value::Bool(true));
    flag("x-kubernetes-preserve-unknown-fields")
}

fn has_fields(schema: &Value) -> bool {
    schema.get("properties").and_then(Value::as_object).is_some_and(|p| !p.is_empty())
}

/// The field of an object; if there is none, the names of the fields that there are.
fn child<'s>(schema: &'s Value, key: &str) -> Result<Field<'s>, Vec<&'s str>> {
    let properties = schema.get("properties").and_then(Value::as_object);
    if let Some(found) = properties.and_then(|p| p.get(key)) {
        return Ok(Field::of(found));
    }
    match schema.get("additionalProperties") {
        Some(values @ Value::Object(_)) => return Ok(Field::of(values)),
        Some(Value::Bool(true)) => return Ok(Field::Anything),
        _ => {}
    }
    let embedded = schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true));
    if is_open(schema)
        || !has_fields(schema)
        || (embedded && ["apiVersion", "kind", "metadata"].contains(&key))
    {
        return Ok(Field::Anything);
    }
    Err(properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect())
}

/// Checks all literals of a template.
pub fn check(value: &Value, field: Field<'_>, path: &Path, problems: &mut Problems) {
    let Field::Schema(schema) = field else { return };
    let expected = expected(schema);
    let fits = |kind: &str| expected.is_empty() || expected.contains(&kind);
    match value {
        Value::Null => {}
        Value::String(text) if schema.get("format").and_then(Value::as_str) == Some("byte") => {
            if let Some(help) = not_base64(text) {
                problems.add_with_help(path, "the field holds base64, this text is none", Some(help));
            }
        }
        Value::String(text) if text.contains("${") => {}
        Value::Object(fields) if fits("object") => {
            for (key, value) in fields {
                let path = path.key(key);
                match child(schema, key) {
                    Ok(field) => check(value, field, &path, problems),
                    Err(known) => problems.add_with_help(
                        &path,
                        format!("schema not found for field {key}"),
                        suggestion(key, known),
                    ),
                }
            }
        }
        Value::Array(items) if fits("array") => {
            let field = schema.get("items").map_or(Field::Anything, Field::of);
            for (i, item) in items.iter().enumerate() {
                check(item, field, &path.index(i), problems);
            }
        }
        Value::Number(n) if fits("integer") && is_whole(n) => {}
        Value::Number(_) if fits("number") => {}
        Value::String(_) if fits("string") => {}
        Value::Bool(_) if fits("boolean") => {}
        other => {
            let quote = expected.contains(&"string") && matches!(other, Value::Bool(_) | Value::Number(_));
            problems.add_with_help(
                path,
                format!("expected {} type, got {}", expected.join(" or "), type_name(other)),
                quote.then(|| format!("quote it: \"{other}\"")),
            );
        }
    }
}

/// What to write instead of a text that is not base64. In a text with expressions the literal parts are judged, since
/// no expression mends them.
fn not_base64(text: &str) -> Option<String> {
    let standard = |c: char| c.is_ascii_alphanumeric() || "+/=\r\n".contains(c);
    match split(text) {
        Ok(Text::Literal(text)) => {
            let bare: String = text.chars().filter(|c| !"\r\n".contains(*c)).collect();
            let encoded = || STANDARD.encode(&text);
            STANDARD.decode(bare).is_err().then(|| match text.len() {
                0..=60 => format!("write {}, or the text itself under stringData in a Secret", encoded()),
                _ => "encode it, or write the text itself under stringData in a Secret".to_owned(),
            })
        }
        Ok(Text::Mixed(parts)) => {
            let wrong = |p: &Part| matches!(p, Part::Literal(text) if !text.chars().all(standard));
            parts.iter().any(wrong).then(|| {
                let pieces: Vec<String> = parts
                    .iter()
                    .map(|p| match p {
                        Part::Literal(text) => format!("{text:?}"),
                        Part::Expr(source) => format!("({})", source.trim()),
                    })
                    .collect();
                format!("write ${{base64.encode(bytes({}))}}", pieces.join(" + "))
            })
        }
        Ok(Text::Standalone(_)) | Err(_) => None,
    }
}

/// The types that a literal may have; none if the schema does not say.
fn expected(schema: &Value) -> Vec<&str> {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true))
        || schema.get("format").and_then(Value::as_str) == Some("int-or-string")
    {
        return vec!["string", "integer"];
    }
    schema.get("type").and_then(Value::as_str).into_iter().collect()
}

fn is_whole(n: &serde_json::Number) -> bool {
    !n.is_f64() || n.as_f64().is_some_and(|f| f.fract() == 0.0)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if is_whole(n) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
