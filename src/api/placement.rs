//! Placement and ClusterPlacement (hub.kro.run/v1alpha1): where instances of one kind go, what differs there, and how a
//! change travels. Both have the same spec; of a Placement the API server takes no `instances.namespaces` and no
//! `rollout.scope`.

use super::amounts::Span;
use super::condition::Condition;
use super::keys::kro;
use super::names::GroupKind;
use super::rollout::Rollout;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Either of the two kinds; a ClusterPlacement is one without namespace.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Placement {
    #[serde(default)]
    pub metadata: ObjectMeta,
    pub spec: PlacementSpec,
    #[serde(default)]
    pub status: Option<PlacementStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementSpec {
    /// Which instances this is about.
    pub instances: Instances,
    /// Where they go. Without it this places nothing: it is overrides and rollout only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<Clusters>,
    /// What is done with an instance on a cluster that nothing chooses for it any more.
    #[serde(default)]
    pub on_unmatch: OnUnmatch,
    /// How long it is kept before that, e.g. 10m.
    #[serde(default, skip_serializing_if = "Span::is_zero")]
    pub grace: Span,
    /// What differs on some clusters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub overrides: Vec<Override>,
    /// How a change travels over the clusters. Without it, all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// Instances of one kind. Without names, selector and namespaces: all that there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!has(self.names) || !has(self.labelSelector)", "message": "names and labelSelector exclude each other"},
]))]
pub struct Instances {
    /// The group of the kind.
    #[serde(default = "kro_group")]
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// A selector over the instances' labels. One that is empty selects all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    pub names: Vec<String>,
    /// The namespaces of the instances; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
}

fn kro_group() -> String {
    kro::GROUP.to_owned()
}

impl Instances {
    pub fn group_kind(&self) -> GroupKind {
        GroupKind { group: self.group.as_str().into(), kind: self.kind.as_str().into() }
    }
}

/// The clusters by name, and those that the selector and the expression choose, without those excluded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.names) || has(self.labelSelector) || has(self.all) || has(self.expression)",
        "message": "one of names, labelSelector, all and expression says which clusters are meant"},
    {"rule": "!has(self.all) || !self.all || !has(self.labelSelector)", "message": "all and labelSelector exclude each other"},
    {"rule": "has(self.max) || !(has(self.prefer) || has(self.spread) || has(self.failover))",
        "message": "prefer, spread and failover need max"},
]))]
pub struct Clusters {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(min = 1, max = 253)))]
    pub names: Vec<String>,
    /// A selector over the labels of Clusters. One that is empty selects nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Every cluster but the local one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// A CEL expression over `cluster` that narrows the selector, or all clusters where there is none, e.g.
    /// cluster.version.minor >= 30.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096))]
    pub expression: String,
    /// Clusters that are not chosen by any of the above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(min = 1, max = 253)))]
    pub exclude: Vec<String>,
    /// Taints of Clusters that do not keep these instances away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tolerations: Vec<Toleration>,
    /// The most clusters for each instance; none means all that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max: Option<u32>,
    /// With `max`: clusters that an earlier term selects are taken first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub prefer: Vec<Preference>,
    /// With `max`: clusters are taken evenly over the values of a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// With `max`: a cluster that is out of reach is replaced by another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// The token that a held shrink names: lets those clusters go for all instances.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub allow_shrink: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "(has(self.key) && self.key != '') || (has(self.operator) && self.operator == 'Exists')",
        "message": "without key the operator is Exists, which tolerates every taint"},
    {"rule": "!has(self.value) || self.value == '' || !has(self.operator) || self.operator == 'Equal'",
        "message": "operator Exists takes no value"},
]))]
pub struct Toleration {
    /// The key of the taint; none, with operator Exists, means every one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 316))]
    pub key: String,
    #[serde(default)]
    pub operator: Operator,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub value: String,
    /// The effect that is tolerated; none means each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<super::cluster::Effect>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    #[default]
    Equal,
    Exists,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preference {
    /// A selector over the labels of Clusters.
    pub label_selector: LabelSelector,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// A label of Clusters. One that lacks it counts as a value of its own.
    #[schemars(length(min = 1, max = 316))]
    pub key: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "duration(self.after) >= duration('1m')", "message": "after is at least 1m"},
]))]
pub struct Failover {
    /// How long a cluster is out of reach before it is replaced; at least 1m.
    pub after: Span,
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum OnUnmatch {
    /// The content is deleted.
    #[default]
    Delete,
    /// The content stays as it is, and is listed as left behind.
    Orphan,
}

/// Some of the clusters that something is about. Said by nothing: all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFilter {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(min = 1, max = 253)))]
    pub names: Vec<String>,
    /// A selector over the labels of Clusters. One that is empty selects nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// A CEL expression over `cluster` that narrows the selector, or all clusters where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096))]
    pub expression: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Override {
    /// The clusters where it holds; none means each that this chooses, or all where this chooses none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterFilter>,
    /// A merge patch of the instance's spec. Strings may hold expressions over `schema` and `cluster`.
    #[schemars(extend("type" = "object", "x-kubernetes-preserve-unknown-fields" = true))]
    pub spec: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementStatus {
    /// How many instances this is about.
    #[serde(default)]
    pub instances: i64,
    /// How many clusters match.
    #[serde(default)]
    pub clusters: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutCounts>,
    /// The generation that the status is about.
    #[serde(default)]
    pub observed_generation: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What the last decision was, so that a sudden loss is seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decided {
    /// A print of the words that chose them.
    #[serde(default)]
    pub words: String,
    /// The clusters that it meant, sorted, with commas between.
    #[serde(default)]
    pub clusters: String,
    /// Clusters that it means no more, kept until somebody acknowledges that they go.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub held: String,
}

/// How the rollouts of the instances stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutCounts {
    /// In one line, the worst first.
    #[serde(default)]
    pub summary: String,
    #[serde(default)]
    pub moving: i64,
    /// Paused, or waiting for an approval.
    #[serde(default)]
    pub waiting: i64,
    #[serde(default)]
    pub halted: i64,
    /// The first 20 that wait or are halted, with why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// How far the revision of the whole kind is, where it moves as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<KindProgress>,
}

/// How far the revision of a whole kind is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KindProgress {
    /// The newest version of the rollout, which a RolloutApproval names.
    pub version: i64,
    /// The last version that every pair of an instance and a cluster completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<i64>,
    /// The revision of the definition that all are to run.
    pub revision: i64,
    /// The first stage that is not through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// In one word.
    pub state: String,
}

/// Condition types of a Placement.
pub mod conditions {
    pub const READY: &str = "Ready";
    pub const OVERRIDES_VALID: &str = "OverridesValid";
    pub const ROLLOUT_IN_EFFECT: &str = "RolloutInEffect";
    pub const ROLLED_OUT: &str = "RolledOut";
}
