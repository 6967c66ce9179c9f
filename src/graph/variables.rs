//! The variables of a definition's expressions, with their types.

use super::diagnostic::TYPE_PREFIX;
use super::expression::Expression;
use super::validate::shape::Shape;
use crate::api::rgd::Scope;
use crate::cel::{Decls, Type};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The instance.
pub const SCHEMA: &str = "schema";
/// The clusters: `kro.cluster` is the one that is rendered for.
pub const KRO: &str = "kro";
/// The same as `kro.cluster`, unless a resource or an iterator has that name.
pub const CLUSTER: &str = "cluster";
/// `kro.clusters`: all clusters that the instance is placed on.
pub const CLUSTERS: &str = "clusters";
/// One object of a collection, in its readyWhen.
pub const EACH: &str = "each";

/// Fields of `schema.metadata` that our own writes change. An object that is made of one would never come to rest, so
/// no expression sees them.
pub const RESTLESS: [&str; 2] = ["resourceVersion", "managedFields"];

/// What expressions may read.
pub struct Variables<'a> {
    pub ids: BTreeSet<&'a str>,
    /// `schema`, the resources as others see them, `kro`, `cluster`.
    all: Decls,
    /// The type of one object of each resource.
    objects: BTreeMap<&'a str, Type>,
    /// Variables of unknown type.
    untyped: BTreeSet<&'a str>,
}

impl<'a> Variables<'a> {
    /// `resources`: id, outer form if it has one, and whether it is a list to those that read it.
    pub fn new(instance: &Instance, resources: &[(&'a str, Option<&Shape>, bool)]) -> Self {
        let mut all = Decls::new();
        all.declare(SCHEMA, instance.schema.clone());
        declare_cluster(&mut all);
        let mut variables = Self {
            ids: resources.iter().map(|(id, ..)| *id).collect(),
            all,
            objects: BTreeMap::new(),
            untyped: BTreeSet::new(),
        };
        for (id, shape, is_list) in resources {
            let object = shape.and_then(|s| s.object_type(id));
            if object.is_none() {
                variables.untyped.insert(id);
            }
            let object = object.unwrap_or(Type::Dyn);
            let seen = if *is_list { Type::list(object.clone()) } else { object.clone() };
            variables.all.declare(id, seen);
            variables.objects.insert(id, object);
        }
        variables
    }

    /// Notes that the type of this variable is not known after all.
    pub fn forget(&mut self, variable: &'a str) {
        self.untyped.insert(variable);
    }

    /// All variables. Whether an expression may read one at its place is judged elsewhere, and before.
    pub fn all(&self) -> &Decls {
        &self.all
    }

    /// The variables of the status, with `kro.clusters` beside `kro.cluster`.
    pub fn over_all(&self) -> Decls {
        let mut decls = self.all.clone();
        decls.declare(KRO, Type::from_openapi(&clusters(), KRO).unwrap_or(Type::Dyn));
        decls
    }

    /// All variables, and the iterators of a collection.
    pub fn with(&self, iterators: &[(String, Type)]) -> Decls {
        let mut decls = self.all.clone();
        for (name, t) in iterators {
            decls.declare(name, t.clone());
        }
        decls
    }

    /// What the readyWhen of a resource may read.
    pub fn own(&self, id: &str, is_list: bool) -> Decls {
        let mut decls = Decls::new();
        let object = self.objects.get(id).cloned().unwrap_or(Type::Dyn);
        if is_list {
            decls.declare(EACH, object.clone());
        }
        decls.declare(id, if is_list { Type::list(object) } else { object });
        decls
    }

    pub fn object(&self, id: &str) -> Type {
        self.objects.get(id).cloned().unwrap_or(Type::Dyn)
    }

    /// Whether the type of every one of these variables is known. If not, a result of type `dyn` is no mistake of the
    /// author.
    pub fn are_typed(&self, variables: &BTreeSet<String>, of: &str) -> bool {
        !variables.iter().any(|v| self.untyped.contains(if v == EACH { of } else { v.as_str() }))
    }
}

/// The type of `schema`: the instance without its status.
pub struct Instance {
    pub schema: Type,
}

impl Instance {
    /// Makes the types. Where the spec has no schema, because it has problems of its own, anything goes below it.
    pub fn new(spec: Option<&Value>, scope: Scope) -> Self {
        let mut metadata = object_meta();
        if let Some(fields) = metadata.pointer_mut("/properties").and_then(Value::as_object_mut) {
            fields.retain(|name, _| !RESTLESS.contains(&name.as_str()));
            if scope == Scope::Cluster {
                fields.remove("namespace");
            }
        }
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = json!({"type": "object", "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": metadata,
            "spec": spec.cloned().unwrap_or(anything),
        }});
        Self { schema: Type::from_openapi(&schema, &format!("{TYPE_PREFIX}{SCHEMA}")).unwrap_or(Type::Dyn) }
    }
}

/// OpenAPI of `metadata`, the same for every kind.
pub fn object_meta() -> Value {
    let text = json!({"type": "string"});
    let time = json!({"type": "string", "format": "date-time"});
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let number = json!({"type": "integer"});
    let flag = json!({"type": "boolean"});
    let list = |items: Value| json!({"type": "array", "items": items});
    json!({"type": "object", "properties": {
        "name": text, "generateName": text, "namespace": text, "selfLink": text, "uid": text,
        "resourceVersion": text, "generation": number, "creationTimestamp": time, "deletionTimestamp": time,
        "deletionGracePeriodSeconds": number, "labels": texts, "annotations": texts, "finalizers": list(text.clone()),
        "ownerReferences": list(json!({"type": "object", "properties": {
            "apiVersion": text, "kind": text, "name": text, "uid": text, "controller": flag, "blockOwnerDeletion": flag,
        }})),
        "managedFields": list(json!({"type": "object", "properties": {
            "manager": text, "operation": text, "apiVersion": text, "time": time, "fieldsType": text,
            "subresource": text, "fieldsV1": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }})),
    }})
}

/// Declares the cluster that is rendered for, under both its names.
pub fn declare_cluster(decls: &mut Decls) {
    decls.declare(KRO, kro_type());
    decls.declare(CLUSTER, cluster_type());
}

/// The fields of `kro.cluster` that expressions read, as paths below it. `is_other`: what `cluster` stands for otherwise.
pub fn cluster_reads<'e>(
    expressions: impl Iterator<Item = &'e Arc<Expression>>,
    is_other: impl Fn(&str) -> bool,
) -> BTreeSet<Vec<String>> {
    let mut reads = BTreeSet::new();
    for path in expressions.flat_map(|e| e.program.paths()) {
        match path.steps.as_slice() {
            [first, rest @ ..] if first == CLUSTER && !is_other(first) => {
                reads.insert(rest.to_vec());
            }
            [first, second, rest @ ..] if first == KRO && second == CLUSTER => {
                reads.insert(rest.to_vec());
            }
            [first] if first == KRO => {
                reads.insert(Vec::new());
            }
            _ => {}
        }
    }
    reads
}

/// OpenAPI of what an expression may know of a cluster. No health and no clock: a rendering must not change by itself.
fn cluster() -> Value {
    let text = json!({"type": "string"});
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({"type": "object", "properties": {
        "name": text, "id": text, "labels": texts, "properties": texts,
        "version": {"type": "object", "properties": {"major": {"type": "integer"}, "minor": {"type": "integer"}}},
    }})
}

/// The type of `cluster`.
pub fn cluster_type() -> Type {
    Type::from_openapi(&cluster(), "kro.cluster").unwrap_or(Type::Dyn)
}

/// The type of `kro` in most places.
pub fn kro_type() -> Type {
    Type::from_openapi(&kro(), KRO).unwrap_or(Type::Dyn)
}

/// OpenAPI of `kro` in most places.
fn kro() -> Value {
    json!({"type": "object", "properties": {"cluster": cluster()}})
}

/// OpenAPI of `kro` in the status: every cluster has also the state and the status of the instance there.
fn clusters() -> Value {
    let mut one = cluster();
    if let Some(fields) = one.pointer_mut("/properties").and_then(Value::as_object_mut) {
        fields.insert("state".into(), json!({"type": "string"}));
        fields
            .insert("status".into(), json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    }
    json!({"type": "object", "properties": {"cluster": cluster(), CLUSTERS: {"type": "array", "items": one}}})
}

impl Shape {
    /// The type of an object of this kind, if its schema is known.
    pub fn object_type(&self, id: &str) -> Option<Type> {
        let kind = self.served.kind()?;
        if self.is_crd() {
            return Some(Type::Dyn);
        }
        Type::from_openapi(&kind.schema, &format!("{TYPE_PREFIX}{id}"))
    }
}
