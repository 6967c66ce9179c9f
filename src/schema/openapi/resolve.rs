//! One schema out of a document: references followed, recursion cut. Kept are the keywords that types are made of,
//! and those that tell how the API server keeps a value.

use super::implied;
use crate::schema::kept::{KEPT_AS, Kept, OWN_TYPES, is_zero};
use serde_json::{Map, Value, json};

const REFERENCE: &str = "#/components/schemas/";
/// Longer first sentences of descriptions are of no help in a message.
const ABOUT: usize = 120;
/// Deeper schemas are cut as recursive ones are.
const MAX_DEPTH: usize = 60;

pub const KEPT: [&str; 9] = [
    "type",
    "format",
    "default",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
];

pub struct Resolver<'d> {
    schemas: &'d Map<String, Value>,
    /// The names on the way down.
    within: Vec<&'d str>,
}

impl<'d> Resolver<'d> {
    pub fn new(schemas: &'d Map<String, Value>) -> Self {
        Self { schemas, within: Vec::new() }
    }

    pub fn object(&mut self, name: &str) -> Option<Value> {
        let (name, schema) = self.schemas.get_key_value(name)?;
        if self.within.contains(&name.as_str()) || self.within.len() > MAX_DEPTH {
            return Some(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
        }
        self.within.push(name);
        let mut resolved = self.schema(schema, 0);
        self.within.pop();
        if let Some(kept) = Kept::of_type(name) {
            resolved[KEPT_AS] = kept.word().into();
        }
        Some(resolved)
    }

    /// The name of the Kubernetes type that is being resolved; `None` within a custom resource.
    fn own_type(&self) -> Option<&'d str> {
        self.within.last().copied().filter(|name| name.starts_with(OWN_TYPES))
    }

    fn schema(&mut self, schema: &'d Value, depth: usize) -> Value {
        let mut out = match referred(schema) {
            Some(name) => match self.object(name) {
                Some(Value::Object(resolved)) => resolved,
                _ => Map::new(),
            },
            None => Map::new(),
        };
        for key in KEPT {
            if let Some(value) = schema.get(key) {
                out.insert(key.to_owned(), value.clone());
            }
        }
        if schema.get("format").and_then(Value::as_str) == Some("int-or-string") {
            out.remove("format");
            out.insert("x-kubernetes-int-or-string".to_owned(), Value::Bool(true));
        }
        if let Some(text) = schema.get("description") {
            out.insert("description".to_owned(), text.clone());
        }
        let own_type = self.own_type();
        if own_type.is_some() {
            // Documents give this default for nearly every field, but no server sets it: empty values are left out.
            if out.get("default").is_some_and(is_zero) {
                out.remove("default");
            }
            if schema.get("format").and_then(Value::as_str) == Some("byte") {
                out.insert(KEPT_AS.to_owned(), Kept::Bytes.word().into());
            }
        }
        if depth > MAX_DEPTH {
            return Value::Object(out);
        }
        if let Some(items) = schema.get("items") {
            out.insert("items".to_owned(), self.schema(items, depth + 1));
        }
        match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => {
                out.insert("additionalProperties".to_owned(), self.schema(values, depth + 1));
            }
            Some(flag) => drop(out.insert("additionalProperties".to_owned(), flag.clone())),
            None => {}
        }
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let mut resolved = Map::new();
            for (name, property) in properties {
                let mut property = self.schema(property, depth + 1);
                if let Some(default) = own_type.and_then(|of| implied::default(of, name)) {
                    property["default"] = default;
                }
                resolved.insert(name.clone(), property);
            }
            out.insert("properties".to_owned(), Value::Object(resolved));
        }
        Value::Object(out)
    }
}

/// The schema that this one stands for. Where a place has a default or a description of its own, an API server wraps
/// the reference into an `allOf` of one.
fn referred(schema: &Value) -> Option<&str> {
    let direct =
        schema.get("$ref").or_else(|| match schema.get("allOf").and_then(Value::as_array)?.as_slice() {
            [only] => only.get("$ref"),
            _ => None,
        });
    direct?.as_str()?.strip_prefix(REFERENCE)
}

/// The first sentence.
pub fn about(text: &str) -> String {
    let text = text.trim();
    let end = text.find(". ").map_or(text.len(), |dot| dot + 1);
    let sentence = text.get(..end).unwrap_or(text);
    match sentence.char_indices().nth(ABOUT) {
        Some((cut, _)) => format!("{}…", sentence.get(..cut).unwrap_or_default().trim_end()),
        None => sentence.to_owned(),
    }
}
