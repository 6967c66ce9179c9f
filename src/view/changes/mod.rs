//! What would change: objects of each cluster, field by field, with clusters that are told the same in one group.

mod fields;
mod groups;
mod markdown;
mod plan;
pub mod planned;
mod rollouts;
#[cfg(test)]
mod tests;
mod text;
mod told;

pub use groups::{OfCluster, Told, groups};
pub use plan::{Outcome, Plan, Unplanned};
pub use rollouts::{RolloutChange, StageChange, together};
pub use told::{Half, Named, change};

use super::document::View;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// What differs between two revisions of a repository.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    pub spec: Compared,
    #[serde(flatten)]
    pub changes: Changes,
}

impl View for Diff {
    const KIND: &'static str = "Diff";
}

/// What is compared.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    pub from: String,
    pub to: String,
}

/// All that would change.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    pub summary: Summary,
    /// Clusters that come and go.
    pub clusters: Vec<ClusterChange>,
    pub definitions: Vec<DefinitionChange>,
    /// Clusters that change, each in one group.
    pub groups: Vec<Group>,
}

impl Changes {
    /// Whether anything changes, or would and is refused.
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty() && self.definitions.is_empty() && self.groups.is_empty()
    }
}

/// How many objects, over all clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub create: usize,
    pub update: usize,
    pub delete: usize,
    pub refused: usize,
    /// Clusters that were looked at.
    pub clusters: usize,
    /// Clusters of them where something changes.
    pub changed: usize,
    /// Clusters of which that cannot be told.
    pub unplanned: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    Create,
    Update,
    Delete,
    /// Nothing can come of it.
    Refused,
}

/// A cluster that is registered, or no more.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterChange {
    pub name: String,
    pub action: Action,
    /// What becomes of what runs there.
    pub reason: String,
}

/// A definition that comes, goes or is another.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionChange {
    pub name: String,
    pub action: Action,
    /// The revision that it has, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// The revision that it would get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
    /// What changes in the schema of its instances.
    pub schema: Vec<String>,
    /// What of it instances may not survive.
    pub breaking: Vec<String>,
}

/// Clusters that are told the same, but for what they are called and labelled.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    pub clusters: Vec<String>,
    /// It is the hub, for resources that live there; then there are no clusters.
    pub hub: bool,
    pub instances: Vec<InstanceChanges>,
}

/// What changes for one instance on one cluster.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceChanges {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// How it comes to be here, or goes.
    pub placement: String,
    pub changes: Vec<Change>,
}

/// What changes of one object.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The resource of the definition.
    pub node: String,
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub action: Action,
    pub reason: String,
    pub fields: Vec<Field>,
}

/// What changes of one field. Without `before` it is new, without `after` it goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// It comes from a Secret: neither value is here.
    pub sensitive: bool,
    /// Only a cluster could tell it: the value says what it is made of.
    pub live: bool,
    /// Who set the value that is written over.
    pub taken_from: String,
}
