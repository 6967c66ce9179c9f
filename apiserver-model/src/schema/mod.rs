//! What a server knows of the fields of a kind: the structural schema of a CRD, or a schema of OpenAPI v3.
//!
//! A schema is parsed once and shared. Schemas that name each other (`$ref`) live in one arena, so one may hold itself.

use regex::Regex;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

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

/// How a value is merged and owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A value in one piece: a scalar, an atomic list or an atomic map.
    Leaf,
    Map,
    Set,
    Keyed,
}

/// A place in a schema.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    arena: &'a Arena,
    /// None where the schema says nothing: the value tells its own shape.
    node: Option<usize>,
    atomic: bool,
}

impl<'a> At<'a> {
    fn go(self, index: usize) -> Self {
        let mut atomic = false;
        let mut index = index;
        // A schema that only refers to another. Schemas that refer to each other in a circle end as unknown.
        for _ in 0..16 {
            let node = &self.arena.nodes[index];
            atomic |= node.atomic_map;
            match node.target {
                Some(target) => index = target,
                None => return Self { arena: self.arena, node: Some(index), atomic },
            }
        }
        self.unknown()
    }

    fn unknown(self) -> Self {
        Self { arena: self.arena, node: None, atomic: false }
    }

    pub(crate) fn node(self) -> Option<&'a Node> {
        self.node.map(|i| &self.arena.nodes[i])
    }

    /// Does the schema name the field (not just allow any)?
    pub(crate) fn names(self, field: &str) -> bool {
        self.node().is_some_and(|n| n.properties.contains_key(field))
    }

    /// What is known of a field; none where it is not declared.
    pub(crate) fn field(self, name: &str) -> Option<Self> {
        let Some(node) = self.node() else { return Some(self.unknown()) };
        if let Some(&index) = node.properties.get(name).or(node.additional.as_ref()) {
            return Some(self.go(index));
        }
        let free = match node.additional_all {
            Some(all) => all,
            None => node.ty == Type::Any || node.preserve_below || node.properties.is_empty(),
        };
        free.then(|| self.unknown())
    }

    /// The schema of a named field or of the values of a map; nothing is deduced.
    pub(crate) fn declared(self, name: &str) -> Option<Self> {
        let node = self.node()?;
        node.properties.get(name).or(node.additional.as_ref()).map(|&i| self.go(i))
    }

    pub(crate) fn item(self) -> Self {
        self.node().and_then(|n| n.items).map_or(self.unknown(), |i| self.go(i))
    }

    pub(crate) fn has_items(self) -> bool {
        self.node().is_some_and(|n| n.items.is_some())
    }

    /// The default of a field of this object: as the field says, or what it refers to.
    pub(crate) fn default_of(self, field: &str) -> Option<&'a Value> {
        let mut index = *self.node()?.properties.get(field)?;
        for _ in 0..16 {
            let node = &self.arena.nodes[index];
            if node.default.is_some() {
                return node.default.as_ref();
            }
            index = node.target?;
        }
        None
    }

    pub(crate) fn keys(self) -> &'a [String] {
        match self.node().map(|n| &n.list) {
            Some(ListType::Map(keys)) => keys,
            _ => &[],
        }
    }

    pub(crate) fn ty(self) -> Type {
        self.node().map_or(Type::Any, |n| n.ty)
    }

    pub(crate) fn shape(self, value: &Value) -> Shape {
        let map = if self.atomic { Shape::Leaf } else { Shape::Map };
        match self.ty() {
            Type::Object => map,
            Type::Array => match self.node().map(|n| &n.list) {
                Some(ListType::Set) => Shape::Set,
                Some(ListType::Map(_)) => Shape::Keyed,
                _ => Shape::Leaf,
            },
            Type::Any if value.is_object() => map,
            _ => Shape::Leaf,
        }
    }
}

/// Maps in one piece among the kinds of Kubernetes: documents that were made small do not say it.
const ATOMIC: [&str; 22] = [
    "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
    "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
    "io.k8s.api.core.v1.ConfigMapKeySelector",
    "io.k8s.api.core.v1.SecretKeySelector",
    "io.k8s.api.core.v1.ObjectFieldSelector",
    "io.k8s.api.core.v1.ResourceFieldSelector",
    "io.k8s.api.core.v1.FileKeySelector",
    "io.k8s.api.core.v1.LocalObjectReference",
    "io.k8s.api.core.v1.ObjectReference",
    "io.k8s.api.core.v1.TypedLocalObjectReference",
    "io.k8s.api.core.v1.SecretReference",
    "io.k8s.api.core.v1.NodeSelector",
    "io.k8s.api.core.v1.NodeSelectorTerm",
    "io.k8s.api.core.v1.TopologySelectorTerm",
    "io.k8s.api.core.v1.ScopeSelector",
    "io.k8s.api.core.v1.EndpointAddress",
    "io.k8s.api.core.v1.EndpointPort",
    "io.k8s.api.discovery.v1.EndpointPort",
    "io.k8s.api.rbac.v1.RoleRef",
    "io.k8s.api.rbac.v1.Subject",
    "io.k8s.api.autoscaling.v1.CrossVersionObjectReference",
    "io.k8s.api.authentication.v1.BoundObjectReference",
];

/// Fields with a map in one piece.
const ATOMIC_FIELDS: [(&str, &str); 3] = [
    ("io.k8s.api.core.v1.PodSpec", "nodeSelector"),
    ("io.k8s.api.core.v1.ServiceSpec", "selector"),
    ("io.k8s.api.core.v1.ReplicationControllerSpec", "selector"),
];

/// Keys of lists that may be left out.
const KEY_DEFAULTS: [(&str, &str, &str); 2] = [
    ("io.k8s.api.core.v1.ContainerPort", "protocol", "TCP"),
    ("io.k8s.api.core.v1.ServicePort", "protocol", "TCP"),
];

/// The metadata of every object.
static META: LazyLock<Value> = LazyLock::new(|| {
    let text = json!({"type": "string"});
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let time = json!({"type": "string", "format": "date-time"});
    let number = json!({"type": "integer", "format": "int64"});
    json!({
        "type": "object",
        "properties": {
            "name": text, "generateName": text, "namespace": text, "uid": text, "selfLink": text,
            "resourceVersion": text, "generation": number, "deletionGracePeriodSeconds": number,
            "creationTimestamp": time, "deletionTimestamp": time, "labels": texts, "annotations": texts,
            "finalizers": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
            "ownerReferences": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["uid"],
                "items": {
                    "type": "object",
                    "x-kubernetes-map-type": "atomic",
                    "properties": {
                        "apiVersion": text, "kind": text, "name": text, "uid": text,
                        "controller": {"type": "boolean"}, "blockOwnerDeletion": {"type": "boolean"},
                    },
                },
            },
            "managedFields": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "manager": text, "operation": text, "apiVersion": text, "time": time,
                        "fieldsType": text, "subresource": text,
                        "fieldsV1": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    },
                },
            },
        },
    })
});

struct Parser<'a> {
    schemas: Option<&'a Map<String, Value>>,
    nodes: Vec<Node>,
    names: HashMap<String, usize>,
    waiting: Vec<String>,
}

impl<'a> Parser<'a> {
    fn new(schemas: Option<&'a Map<String, Value>>) -> Self {
        Self { schemas, nodes: Vec::new(), names: HashMap::new(), waiting: Vec::new() }
    }

    /// The place of a named schema: it is parsed by [`Self::finish`].
    fn named(&mut self, name: &str) -> Option<usize> {
        if let Some(&index) = self.names.get(name) {
            return Some(index);
        }
        self.schemas?.get(name)?;
        let index = self.add(Node::default());
        self.names.insert(name.to_owned(), index);
        self.waiting.push(name.to_owned());
        Some(index)
    }

    fn finish(&mut self) {
        while let Some(name) = self.waiting.pop() {
            let Some(schema) = self.schemas.and_then(|s| s.get(&name)) else { continue };
            let parsed = self.parse(schema, false);
            self.known(&name, parsed);
            let place = self.names[&name];
            self.nodes[place].target = Some(parsed);
        }
    }

    /// Adds what a document made small does not say.
    fn known(&mut self, name: &str, parsed: usize) {
        if ATOMIC.contains(&name) {
            self.nodes[parsed].atomic_map = true;
        }
        for (of, field) in ATOMIC_FIELDS {
            if let Some(&index) = self.nodes[parsed].properties.get(field).filter(|_| of == name) {
                self.nodes[index].atomic_map = true;
            }
        }
        for (of, field, value) in KEY_DEFAULTS {
            if let Some(&index) = self.nodes[parsed].properties.get(field).filter(|_| of == name) {
                self.nodes[index].default.get_or_insert_with(|| json!(value));
            }
        }
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn parse(&mut self, schema: &Value, preserve_above: bool) -> usize {
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or(false);
        let word = |name: &str| schema.get(name).and_then(Value::as_str);
        let mut node = Node { default: schema.get("default").cloned(), ..Node::default() };
        node.atomic_map = word("x-kubernetes-map-type") == Some("atomic");
        let reference = word("$ref").or_else(|| match schema.get("allOf").and_then(Value::as_array) {
            Some(all) if all.len() == 1 => all[0].get("$ref").and_then(Value::as_str),
            _ => None,
        });
        if let Some(reference) = reference {
            node.target = self.named(reference.rsplit('/').next().unwrap_or_default());
            return self.add(node);
        }
        node.preserve = flag("x-kubernetes-preserve-unknown-fields");
        node.preserve_below = preserve_above || node.preserve;
        node.nullable = flag("nullable");
        node.embedded = flag("x-kubernetes-embedded-resource");
        let mixed = flag("x-kubernetes-int-or-string") || word("format") == Some("int-or-string");
        node.ty = match word("type") {
            _ if mixed => Type::IntOrString,
            Some("string") => Type::String,
            Some("integer") => Type::Integer,
            Some("number") => Type::Number,
            Some("boolean") => Type::Boolean,
            Some("object") => Type::Object,
            Some("array") => Type::Array,
            _ if schema.get("properties").is_some() => Type::Object,
            _ => Type::Any,
        };
        // What a document of Kubernetes gives no type may be anything: the schemas inside of a CRD.
        node.preserve |= node.ty == Type::Any && self.schemas.is_some();
        for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let index = self.parse(field, node.preserve_below);
            node.properties.insert(name.clone(), index);
        }
        match schema.get("additionalProperties") {
            Some(Value::Bool(all)) => node.additional_all = Some(*all),
            Some(inner) => node.additional = Some(self.parse(inner, node.preserve_below)),
            None => {}
        }
        node.items = schema.get("items").map(|items| self.parse(items, node.preserve_below));
        node.list = match word("x-kubernetes-list-type") {
            Some("set") => ListType::Set,
            Some("map") => {
                let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
                let keys = keys.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
                ListType::Map(keys.collect::<BTreeSet<_>>().into_iter().collect())
            }
            _ => ListType::Atomic,
        };
        node.rules = rules(schema);
        node.lacks = lacks(schema);
        let embedded = node.embedded;
        let index = self.add(node);
        if embedded {
            self.embed(index);
        }
        index
    }

    /// Makes a node that of a whole object.
    fn embed(&mut self, index: usize) {
        let text = self.parse(&json!({"type": "string"}), false);
        let meta = self.parse(&META, false);
        let restricts = |n: &Node| !n.properties.is_empty() || n.rules.is_some();
        let own = self.nodes[index].properties.get("metadata").copied();
        if own.is_some_and(|own| restricts(&self.nodes[own])) {
            self.nodes[index].lacks.push("metadata");
        }
        let properties = &mut self.nodes[index].properties;
        properties.insert("apiVersion".to_owned(), text);
        properties.insert("kind".to_owned(), text);
        properties.insert("metadata".to_owned(), meta);
        self.nodes[index].ty = Type::Object;
    }
}

fn rules(schema: &Value) -> Option<Box<Rules>> {
    let number = |name: &str| schema.get(name).and_then(Value::as_f64);
    let count = |name: &str| schema.get(name).and_then(Value::as_u64);
    let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or(false);
    let word = |name: &str| schema.get(name).and_then(Value::as_str).map(str::to_owned);
    let names = [
        "enum",
        "minimum",
        "maximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "required",
        "format",
    ];
    if !names.iter().any(|n| schema.get(n).is_some()) {
        return None;
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    Some(Box::new(Rules {
        allowed: schema.get("enum").and_then(Value::as_array).cloned(),
        minimum: number("minimum"),
        maximum: number("maximum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        pattern: word("pattern").map(|p| (p.clone(), Regex::new(&p).ok())),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        unique_items: flag("uniqueItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        required: required.filter_map(Value::as_str).map(str::to_owned).collect(),
        format: word("format"),
    }))
}

/// What the schema asks for and the model does not do.
fn lacks(schema: &Value) -> Vec<&'static str> {
    let mut found = Vec::new();
    for name in ["x-kubernetes-validations", "allOf", "anyOf", "oneOf", "not"] {
        // Beside `x-kubernetes-int-or-string` the types are only told once more.
        let told = name == "anyOf" && schema.get("x-kubernetes-int-or-string").is_some();
        if schema.get(name).is_some() && !told {
            found.push(name);
        }
    }
    let pattern = schema.get("pattern").and_then(Value::as_str);
    if pattern.is_some_and(|p| Regex::new(p).is_err()) {
        found.push("pattern");
    }
    let unchecked = [
        "uri",
        "email",
        "hostname",
        "mac",
        "duration",
        "isbn",
        "isbn10",
        "isbn13",
        "creditcard",
        "ssn",
        "hexcolor",
    ];
    if schema.get("format").and_then(Value::as_str).is_some_and(|f| unchecked.contains(&f)) {
        found.push("format");
    }
    found
}
