//! Reads of a document only what is needed. The rest, which is most of its text, is skipped while it is read.

use super::resolve::{KEPT, about};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

pub const GVK: &str = "x-kubernetes-group-version-kind";

#[derive(serde::Deserialize)]
pub struct Whole {
    pub paths: Option<BTreeMap<String, Operations>>,
    #[serde(default)]
    pub components: Components,
}

#[derive(serde::Deserialize, Default)]
pub struct Components {
    #[serde(default)]
    pub schemas: BTreeMap<String, Needed>,
}

/// What can be done at a path.
#[derive(serde::Deserialize)]
pub struct Operations {
    pub get: Option<Operation>,
}

#[derive(serde::Deserialize)]
pub struct Operation {
    #[serde(rename = "x-kubernetes-group-version-kind", default)]
    pub kind: Value,
}

/// A schema reduced to the keywords that types are made of.
pub struct Needed(pub Value);

impl<'de> Deserialize<'de> for Needed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SchemaVisitor).map(Self)
    }
}

struct SchemaVisitor;

impl<'de> Visitor<'de> for SchemaVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a schema")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(field) = fields.next_key::<String>()? {
            let value = match field.as_str() {
                "items" | "additionalProperties" => fields.next_value::<Needed>()?.0,
                "properties" => {
                    let properties: BTreeMap<String, Needed> = fields.next_value()?;
                    Value::Object(properties.into_iter().map(|(name, p)| (name, p.0)).collect())
                }
                "allOf" => {
                    let all: Vec<Needed> = fields.next_value()?;
                    Value::Array(all.into_iter().map(|p| p.0).collect())
                }
                "description" => match fields.next_value()? {
                    Value::String(text) => about(&text).into(),
                    _ => continue,
                },
                "$ref" | GVK => fields.next_value()?,
                name if KEPT.contains(&name) => fields.next_value()?,
                _ => {
                    fields.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            out.insert(field, value);
        }
        Ok(Value::Object(out))
    }

    // `additionalProperties` may be a flag; nothing else is a schema.
    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }
}
