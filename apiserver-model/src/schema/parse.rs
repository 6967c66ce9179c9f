//! Reading a schema as a CRD or an OpenAPI document writes it.

use super::known::{ATOMIC, ATOMIC_FIELDS, KEY_DEFAULTS};
use super::{ListType, Node, Rules, Type};
use regex::Regex;
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

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

pub(super) struct Parser<'a> {
    schemas: Option<&'a Map<String, Value>>,
    pub(super) nodes: Vec<Node>,
    pub(super) names: HashMap<String, usize>,
    waiting: Vec<String>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(schemas: Option<&'a Map<String, Value>>) -> Self {
        Self { schemas, nodes: Vec::new(), names: HashMap::new(), waiting: Vec::new() }
    }

    /// The place of a named schema: it is parsed by [`Self::finish`].
    pub(super) fn named(&mut self, name: &str) -> Option<usize> {
        if let Some(&index) = self.names.get(name) {
            return Some(index);
        }
        self.schemas?.get(name)?;
        let index = self.add(Node::default());
        self.names.insert(name.to_owned(), index);
        self.waiting.push(name.to_owned());
        Some(index)
    }

    pub(super) fn finish(&mut self) {
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

    pub(super) fn parse(&mut self, schema: &Value, preserve_above: bool) -> usize {
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
    pub(super) fn embed(&mut self, index: usize) {
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
