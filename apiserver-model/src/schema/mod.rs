//! What a server knows of the fields of a kind: the structural schema of a CRD, or a schema of OpenAPI v3.
//!
//! A schema is parsed once and shared. Schemas that name each other (`$ref`) live in one arena, so one may hold itself.

mod at;
mod known;
mod parse;

pub(crate) use at::{At, Shape};

use parse::Parser;
use regex::Regex;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

#[derive(Clone)]
pub struct Schema {
    arena: Arc<Arena>,
    root: usize,
}

/// All schemas of an OpenAPI v3 document, parsed once for all its kinds.
#[derive(Clone)]
pub struct Components {
    arena: Arc<Arena>,
    names: Arc<HashMap<String, usize>>,
}

impl Components {
    /// `schemas` is the map `components.schemas` of a document.
    #[must_use]
    pub fn read(schemas: &Value) -> Self {
        let mut parser = Parser::new(schemas.as_object());
        for name in schemas.as_object().into_iter().flat_map(Map::keys) {
            parser.named(name);
        }
        parser.finish();
        Self { names: Arc::new(parser.names), arena: Arc::new(Arena { nodes: parser.nodes }) }
    }

    #[must_use]
    pub fn schema(&self, name: &str) -> Option<Schema> {
        let root = *self.names.get(name)?;
        Some(Schema { arena: Arc::clone(&self.arena), root })
    }
}

impl Schema {
    /// The schema of a custom resource, from `openAPIV3Schema` of a version of its CRD.
    #[must_use]
    pub fn of_crd(schema: &Value) -> Self {
        let mut parser = Parser::new(None);
        let root = parser.parse(schema, false);
        parser.embed(root);
        Self { arena: Arc::new(Arena { nodes: parser.nodes }), root }
    }

    /// One schema of a document with all it refers to. For many kinds, read [`Components`] once.
    #[must_use]
    pub fn of_openapi(schemas: &Value, name: &str) -> Option<Self> {
        schemas.get(name)?;
        let mut parser = Parser::new(schemas.as_object());
        let root = parser.named(name)?;
        parser.finish();
        Some(Self { arena: Arc::new(Arena { nodes: parser.nodes }), root })
    }

    /// A schema that knows nothing: all is allowed, maps are granular and lists atomic.
    #[must_use]
    pub fn any() -> Self {
        Self::of_crd(&json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}))
    }

    pub(crate) fn top(&self) -> At<'_> {
        At { arena: &self.arena, node: None, atomic: false }.go(self.root)
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.arena.nodes.iter()
    }
}

struct Arena {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Type {
    #[default]
    Any,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
    Object,
    Array,
}

impl Type {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::IntOrString => "integer,string",
            Self::Object => "object",
            Self::Array => "array",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListType {
    #[default]
    Atomic,
    Set,
    Map(Vec<String>),
}

#[derive(Default)]
pub(crate) struct Node {
    /// The schema that this one refers to: it says all but the default and whether a map is atomic.
    target: Option<usize>,
    pub ty: Type,
    pub nullable: bool,
    pub properties: BTreeMap<String, usize>,
    pub additional: Option<usize>,
    /// `additionalProperties: false`, or `true`.
    pub additional_all: Option<bool>,
    pub items: Option<usize>,
    pub list: ListType,
    pub atomic_map: bool,
    /// As the schema itself says.
    pub preserve: bool,
    /// As the schema or one above it says; of use for field sets alone.
    preserve_below: bool,
    pub embedded: bool,
    pub default: Option<Value>,
    pub rules: Option<Box<Rules>>,
    pub lacks: Vec<&'static str>,
}

#[derive(Default)]
pub(crate) struct Rules {
    pub allowed: Option<Vec<Value>>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub exclusive_minimum: bool,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<f64>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub pattern: Option<(String, Option<Regex>)>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub unique_items: bool,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    pub required: Vec<String>,
    pub format: Option<String>,
}
