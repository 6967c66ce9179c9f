//! One schema out of a document: references followed, recursion cut, and only what types are made of kept.

use serde_json::{Map, Value, json};

const REFERENCE: &str = "#/components/schemas/";
/// Longer first sentences of descriptions are of no help in a message.
const ABOUT: usize = 120;
/// Deeper schemas are cut as recursive ones are.
const MAX_DEPTH: usize = 60;

pub const KEPT: [&str; 7] = [
    "type",
    "format",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
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
        let resolved = self.schema(schema, 0);
        self.within.pop();
        Some(resolved)
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
            let properties: Map<String, Value> =
                properties.iter().map(|(name, p)| (name.clone(), self.schema(p, depth + 1))).collect();
            out.insert("properties".to_owned(), Value::Object(properties));
        }
        Value::Object(out)
    }
}

/// The schema that this one stands for. An API server writes `allOf` with one reference where a default or a description
/// of the place goes beside it.
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
