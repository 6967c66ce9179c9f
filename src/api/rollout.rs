//! The rollout of a Placement: in which order and how fast a change reaches the clusters.

use super::amounts::{Amount, Span};
use super::placement::ClusterFilter;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// In order. A cluster belongs to the first that matches; what none matches goes last, in a stage `rest`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub stages: Vec<Stage>,
    /// How many clusters may fail, a number or a percentage of all, before nothing further is begun.
    #[serde(default = "none", skip_serializing_if = "is_none")]
    pub max_failures: Amount,
    /// How long a cluster may take before it counts as failed.
    #[serde(default = "ten_minutes")]
    pub progress_deadline: Span,
    /// Nothing further is begun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// The highest revision of the definition that these instances may run; none means the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub revision: Option<i64>,
    /// What moves as one: each instance by itself, or the revision of the whole kind.
    #[serde(default, skip_serializing_if = "Scope::is_instance")]
    pub scope: Scope,
}

impl Rollout {
    /// Whether each instance travels by it: in stages, or not at all for the moment. One that only pins moves none.
    pub fn moves_instances(&self) -> bool {
        self.scope == Scope::Instance && self.travels()
    }

    /// Whether the revision of a whole kind goes by it, or is held by it.
    pub fn moves_kind(&self) -> bool {
        self.scope == Scope::Kind && (self.travels() || self.revision.is_some())
    }

    fn travels(&self) -> bool {
        !self.stages.is_empty() || self.paused
    }
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            stages: Vec::new(),
            max_failures: none(),
            progress_deadline: ten_minutes(),
            paused: false,
            revision: None,
            scope: Scope::Instance,
        }
    }
}

fn none() -> Amount {
    Amount::Count(0)
}

fn is_none(amount: &Amount) -> bool {
    *amount == none()
}

fn ten_minutes() -> Span {
    Span::minutes(10)
}

fn a_tenth() -> Amount {
    Amount::Percent(10)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Scope {
    #[default]
    Instance,
    Kind,
}

impl Scope {
    fn is_instance(&self) -> bool {
        *self == Self::Instance
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.name != 'rest'", "message": "rest is the stage of the clusters that no stage matches"},
]))]
pub struct Stage {
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Its clusters; none means all that are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterFilter>,
    /// Its instances, where the whole kind moves as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<StageInstances>,
    /// How many clusters change at one time: a number, or a percentage of the stage rounded down, at least one.
    #[serde(default = "a_tenth")]
    #[schemars(extend("minimum" = 1))]
    pub max_concurrent: Amount,
    /// A label of Clusters that orders them, as numbers where all are, else as text; a missing one is last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 316))]
    pub order_by: String,
    /// How long a cluster is watched after it became ACTIVE before it counts as done.
    #[serde(default, skip_serializing_if = "Span::is_zero")]
    pub soak: Span,
    /// It begins only once a RolloutApproval for it exists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            name: String::new(),
            clusters: None,
            instances: None,
            max_concurrent: a_tenth(),
            order_by: String::new(),
            soak: Span(0),
            approval: false,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageInstances {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
    /// A selector over the instances' labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
}
