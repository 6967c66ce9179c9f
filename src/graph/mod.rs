//! A ResourceGraphDefinition, compiled: what its instances need, in which order, and how one evaluation goes.
//!
//! - [`compile()`] makes a [`Graph`] or says everything that is wrong, judged by the kinds of one cluster.
//! - A [`Pass`] evaluates a graph for one instance on one cluster: include, render, observe, ready, status.
//!
//! No I/O, no clock. The same definition gives the same graph; the order of resources in it decides nothing but ties.

mod compile;
mod conditions;
mod diagnostic;
mod expression;
mod hash;
mod order;
mod pass;
pub mod patch;
mod read;
mod secrets;
mod status;
mod template;
#[cfg(test)]
#[allow(clippy::too_many_lines)] // Tables.
pub(in crate::graph) mod tests;
mod validate;
pub mod variables;

pub use crate::cel::EvalError;
pub use compile::compile;
pub use diagnostic::{Diagnostic, Spot, backslash, suggestion};
pub use hash::spec as spec_hash;
pub use pass::{Leaf, Origin, Pass, Readiness, Rendered, Sketch, Sketcher};

use crate::api::keys::hub;
use crate::api::rgd::{ResourceGraphDefinition, ResourceInformation};
use crate::api::{GroupKind, Gvk, Object};
use crate::cel::Type;
use crate::schema::kinds::{Kind, Kinds};
use crate::schema::served;
use expression::Expression;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use template::Template;

/// What a definition may do here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Most objects that one collection may have.
    pub collection_size: usize,
    /// Most entries of one `forEach`.
    pub collection_dimensions: usize,
    /// `omit()` may be used: kro's feature gate `CELOmitFunction`.
    pub omit: bool,
    /// OpenAPI of the author's status, as an earlier compilation of this definition inferred it. It is used instead
    /// of what the kinds say now.
    pub status_schema: Option<Value>,
}

impl Default for Options {
    fn default() -> Self {
        Self { collection_size: 1000, collection_dimensions: 10, omit: false, status_schema: None }
    }
}

/// The kinds that a definition names.
pub fn kinds_named_by(rgd: &ResourceGraphDefinition) -> BTreeSet<Gvk> {
    let named = rgd.spec.resources.iter().filter_map(|r| {
        let object = r.template.as_ref().or(r.external_ref.as_ref())?;
        let text = |field: &str| object.get(field).and_then(Value::as_str);
        Some(Gvk::from_api(text("apiVersion")?, text("kind")?))
    });
    named.collect()
}

/// The annotations of a definition that decide what it means.
pub fn meaningful_annotations(rgd: &ResourceGraphDefinition) -> BTreeMap<String, String> {
    let all = rgd.metadata.annotations.iter();
    let meaning = all.filter(|(key, _)| MEANINGFUL.contains(&key.as_str()));
    meaning.map(|(key, value)| (key.clone(), value.clone())).collect()
}

const MEANINGFUL: [&str; 2] = [hub::HUB_REFS, hub::CEL_LIBRARIES];

/// A compiled definition.
#[derive(Debug)]
pub struct Graph {
    pub rgd_name: String,
    pub rgd_uid: String,
    /// Hash of the definition's spec; 16 hex digits.
    pub hash: String,
    pub generation: i64,
    /// Fingerprint of the definition's [`meaningful_annotations`].
    pub annotations: u64,
    pub gvk: Gvk,
    /// The generated CustomResourceDefinition.
    pub crd: Value,
    /// In topological order.
    pub nodes: Vec<Node>,
    /// The nodes that depend on others, for the definition's status.
    pub resources: Vec<ResourceInformation>,
    crd_hash: String,
    status: BTreeMap<String, Template>,
    /// Fields of the status that are computed once for all clusters.
    over_all: BTreeMap<String, Template>,
    status_schema: Value,
    conditions: Option<Vec<Arc<Expression>>>,
    /// The type of `schema` in expressions that decide what is rendered.
    instance: Type,
    cluster_reads: BTreeSet<Vec<String>>,
    /// Number of different expressions.
    slots: usize,
    options: Options,
    definition: Arc<ResourceGraphDefinition>,
}

/// A resource of the definition.
#[derive(Debug)]
pub struct Node {
    pub id: String,
    pub gvk: Gvk,
    /// Children are deleted in falling order.
    pub apply_order: u32,
    pub on_existing: Option<OnExisting>,
    /// Set for an `externalRef`: the node is read and never written.
    pub external: Option<External>,
    /// The node lives on the hub, once for all clusters: annotation `hub.kro.run/target: hub`, or named in
    /// `hub-refs`.
    pub on_hub: bool,
    /// What the cluster says of the kind, where it is known.
    pub kind: Option<Arc<Kind>>,
    /// Some expression reads its objects.
    is_read: bool,
    /// Its template may carry what was read from a Secret.
    carries_secret: bool,
    /// The type of one object.
    object: Type,
    /// `metadata.namespace`, when it is a literal.
    namespace: Option<String>,
    /// Indices of other nodes, all lower than the own one.
    dependencies: Vec<usize>,
    template: Template,
    for_each: Vec<Dimension>,
    include_when: Vec<Arc<Expression>>,
    ready_when: Vec<Arc<Expression>>,
}

impl Node {
    /// Whether the node may give any number of objects. Its readers see a list then.
    pub fn is_collection(&self) -> bool {
        !self.for_each.is_empty() || self.external == Some(External::Selected)
    }
    /// Whether some expression reads its objects, those of its own readyWhen among them.
    pub fn is_read(&self) -> bool {
        self.is_read
    }
    /// Whether its objects may carry what was read from a Secret, so that no answer about them is shown in full.
    pub fn carries_secret(&self) -> bool {
        self.carries_secret
    }
    /// Whether the node has an includeWhen.
    pub fn is_conditional(&self) -> bool {
        !self.include_when.is_empty()
    }
}

/// How an external reference finds what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum External {
    /// One object by its name.
    Named,
    /// All objects with these labels, as a list.
    Selected,
}

/// What an external reference reads, its expressions evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The namespace as written. Empty or absent means the instance's namespace for [`Target::Name`], and all
    /// namespaces for [`Target::Selector`].
    pub namespace: Option<String>,
    pub target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Name(String),
    /// In the form that the API takes: `a=b,c in (d,e)`. Empty selects everything.
    Selector(String),
}

/// What the author's `status.conditions` gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorConditions {
    /// One of each type, in the order of the entries.
    pub made: Vec<AuthorCondition>,
    /// Some entry waits for data or failed. Conditions that were written before and are not made now stay then.
    pub incomplete: bool,
    /// Entries that can never be evaluated, and types that two entries gave.
    pub problems: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorCondition {
    pub type_: String,
    pub status: String,
    pub reason: String,
    pub message: String,
}

/// One `forEach` entry.
#[derive(Debug)]
struct Dimension {
    iterator: String,
    expression: Arc<Expression>,
    /// The entry reads nothing but the instance, so a field that its items lack stays missing.
    of_instance: bool,
    item: Type,
}

/// What to do about an object that exists before the first write of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExisting {
    Adopt,
    AdoptIfEqual,
    Fail,
}

impl Graph {
    /// The kinds of the objects that its nodes make.
    pub fn group_kinds(&self) -> BTreeSet<GroupKind> {
        self.made().map(|n| n.gvk.group_kind()).collect()
    }
    /// The namespaces that templates name without an expression.
    pub fn literal_namespaces(&self) -> BTreeSet<String> {
        self.made().filter_map(|n| n.namespace.clone()).collect()
    }
    fn made(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|n| n.external.is_none())
    }
    /// The nodes that a node's expressions read.
    pub fn read_by<'g>(&'g self, node: &'g Node) -> impl Iterator<Item = &'g Node> {
        node.dependencies.iter().filter_map(|index| self.nodes.get(*index))
    }
    /// OpenAPI of an instance.
    pub fn schema(&self) -> Option<&Value> {
        served::schema_of_crd(&self.crd)
    }
    /// An instance as a server that serves the generated CRD shows it. An instance that was read before the
    /// definition changed reads differently afterwards, and no watch tells of it.
    pub fn as_served(&self, instance: &Object) -> Option<Object> {
        match served::as_served(&instance.0, self.schema()?) {
            Cow::Owned(shown) => Some(Object(shown)),
            Cow::Borrowed(_) => None,
        }
    }
    /// Fingerprint of the generated CRD.
    pub fn crd_hash(&self) -> String {
        self.crd_hash.clone()
    }
    /// The definition as it was written.
    pub fn definition(&self) -> &ResourceGraphDefinition {
        &self.definition
    }
    pub fn crd_name(&self) -> &str {
        self.crd.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
    }
    /// Whether the author's conditions take the place of ours in the status.
    pub fn has_conditions(&self) -> bool {
        self.conditions.is_some()
    }
    /// Whether fields of the author's read `kro.clusters`.
    pub fn reads_clusters(&self) -> bool {
        !self.over_all.is_empty()
    }
    /// Evaluates the author's fields that read `kro.clusters`, for an instance on the hub. `clusters` holds for each
    /// cluster its facts, and the `state` and `status` that the instance has there.
    pub fn over_clusters(&self, instance: &Value, clusters: &Value) -> (Map<String, Value>, Vec<String>) {
        if self.over_all.is_empty() {
            return (Map::new(), Vec::new());
        }
        Pass::over_all(self, instance, clusters)
    }
    /// What expressions read of `kro.cluster`, as paths below it.
    pub fn cluster_reads(&self) -> &BTreeSet<Vec<String>> {
        &self.cluster_reads
    }
    /// OpenAPI of the author's status, for [`Options::status_schema`].
    pub fn status_schema(&self) -> &Value {
        &self.status_schema
    }
    /// The kinds of these nodes.
    pub fn kinds_of(&self, has: impl Fn(&Node) -> bool) -> BTreeSet<Gvk> {
        self.nodes.iter().filter(|n| has(n)).map(|n| n.gvk.clone()).collect()
    }
    /// The same definition where all that it makes is ready, as far as readiness has no say in values: nobody waits for it.
    #[must_use]
    pub fn once_ready(mut self) -> Self {
        let made = self.nodes.iter_mut().filter(|node| node.external.is_none());
        made.for_each(|node| node.ready_when.clear());
        self
    }
    /// The same definition for a cluster with these kinds. The generated CRD stays what it is.
    ///
    /// # Errors
    /// What does not fit there.
    pub fn on_cluster(&self, kinds: &dyn Kinds) -> Result<Self, Vec<Diagnostic>> {
        let options = Options { status_schema: Some(self.status_schema.clone()), ..self.options.clone() };
        compile(&self.definition, &options, kinds)
    }
}
