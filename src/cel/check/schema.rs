//! Types from OpenAPI schemas.

use crate::cel::types::{Identity, Struct, Type};
use crate::cel::value::escape_field;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Type {
    /// The type of what a schema describes; `None` when the schema says nothing that a type could be made of, so that
    /// the field can not be referred to. `name` is where the schema stands, and becomes the name of object types.
    pub fn from_openapi(schema: &Json, name: &str) -> Option<Type> {
        let flag = |key: &str| schema.get(key).and_then(Json::as_bool).unwrap_or(false);
        if flag("x-kubernetes-int-or-string") {
            return Some(Type::Dyn);
        }
        let open = flag("x-kubernetes-preserve-unknown-fields");
        let text = |key: &str| schema.get(key).and_then(Json::as_str).unwrap_or_default();
        match text("type") {
            "integer" => Some(Type::Int),
            "number" => Some(Type::Double),
            "boolean" => Some(Type::Bool),
            "string" => Some(match text("format") {
                "byte" => Type::Bytes,
                "duration" => Type::Duration,
                "date" | "date-time" => Type::Timestamp,
                _ => Type::String,
            }),
            "array" => {
                let item = Type::from_openapi(schema.get("items")?, &format!("{name}.@idx"))?;
                Some(Type::list(item))
            }
            "object" => Some(object(schema, name, open)),
            _ if open => Some(Type::Dyn),
            _ => None,
        }
    }
}

fn object(schema: &Json, name: &str, open: bool) -> Type {
    let properties = schema.get("properties").and_then(Json::as_object);
    match schema.get("additionalProperties") {
        Some(values @ Json::Object(_)) if properties.is_none() => {
            let value = Type::from_openapi(values, &format!("{name}.@elem")).unwrap_or(Type::Dyn);
            return Type::map(Type::String, value);
        }
        Some(Json::Bool(true)) if properties.is_none() => return Type::map(Type::String, Type::Dyn),
        _ => {}
    }
    let mut fields = BTreeMap::new();
    let mut lists = BTreeMap::new();
    for (field, schema) in properties.into_iter().flatten() {
        let named = escape_field(field).zip(Type::from_openapi(schema, &format!("{name}.{field}")));
        if let Some((field, t)) = named {
            if let Some(identity) = identity(schema).filter(|_| matches!(t, Type::List(_))) {
                lists.insert(field.clone(), Arc::new(identity));
            }
            fields.insert(field, t);
        }
    }
    if schema.get("x-kubernetes-embedded-resource").and_then(Json::as_bool) == Some(true) {
        for field in ["apiVersion", "kind"] {
            fields.entry(field.to_owned()).or_insert(Type::String);
        }
        fields.entry("metadata".to_owned()).or_insert(Type::Dyn);
    }
    Type::Struct(Arc::new(Struct { name: name.to_owned(), fields, open, lists }))
}

/// What makes elements of a list the same, where their order means nothing.
fn identity(schema: &Json) -> Option<Identity> {
    match schema.get("x-kubernetes-list-type")?.as_str()? {
        "set" => Some(Identity::Value),
        "map" => {
            let keys = schema.get("x-kubernetes-list-map-keys")?.as_array()?;
            let keys: Vec<String> = keys.iter().filter_map(|k| k.as_str().map(str::to_owned)).collect();
            (!keys.is_empty()).then_some(Identity::Keys(keys))
        }
        _ => None,
    }
}
