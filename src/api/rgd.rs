//! `ResourceGraphDefinition` (kro.run/v1alpha1).
//!
//! The object is kro's; the types here read it. Schema, status and templates stay JSON: their shape is the
//! author's and is judged by [`crate::schema`] and [`crate::graph`].

use super::condition::Condition;
use super::names::Gvk;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceGraphDefinition {
    #[serde(default)]
    pub metadata: Metadata,
    pub spec: RgdSpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RgdStatus>,
}

/// The part of ObjectMeta that decisions need.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    pub name: String,
    pub uid: String,
    pub generation: i64,
    pub resource_version: String,
    pub deletion_timestamp: Option<String>,
    pub creation_timestamp: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub finalizers: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RgdSpec {
    pub schema: Schema,
    #[serde(default)]
    pub resources: Vec<Resource>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schema {
    pub kind: String,
    pub api_version: String,
    /// The group as written. Use [`Schema::group`], which knows the default.
    #[serde(default = "default_group")]
    pub group: String,
    #[serde(default)]
    pub scope: Scope,
    /// The instance's spec, in SimpleSchema.
    #[serde(default)]
    pub spec: Value,
    /// SimpleSchema of custom types.
    #[serde(default)]
    pub types: Value,
    /// The instance's status: a tree with expressions.
    #[serde(default)]
    pub status: Value,
    #[serde(default)]
    pub additional_printer_columns: Vec<Value>,
    #[serde(default)]
    pub short_names: Vec<String>,
    #[serde(default)]
    pub categories: Vec<String>,
    #[serde(default)]
    pub metadata: SchemaMetadata,
}

impl Schema {
    /// The group of the generated kind. An empty one means the default, as with kro, since the API server fills in a
    /// default only where a field is absent.
    pub fn group(&self) -> &str {
        if self.group.is_empty() { super::keys::kro::GROUP } else { &self.group }
    }
    pub fn gvk(&self) -> Gvk {
        Gvk::new(self.group(), &self.api_version, &self.kind)
    }
}

fn default_group() -> String {
    super::keys::kro::GROUP.to_owned()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    #[default]
    Namespaced,
    Cluster,
}

/// Labels and annotations for the generated CRD.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchemaMetadata {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_ref: Option<Value>,
    #[serde(default)]
    pub ready_when: Vec<String>,
    #[serde(default)]
    pub include_when: Vec<String>,
    /// One-entry maps: iterator name to expression.
    #[serde(default)]
    pub for_each: Vec<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RgdStatus {
    pub state: String,
    pub topological_order: Vec<String>,
    pub resources: Vec<ResourceInformation>,
    pub last_issued_revision: i64,
    /// The generation that the status is about.
    pub observed_generation: i64,
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceInformation {
    pub id: String,
    pub dependencies: Vec<Dependency>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dependency {
    pub id: String,
}
