//! RolloutApproval (hub.kro.run/v1alpha1): somebody lets one version of one rollout enter one stage.

use super::keys::kro;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RolloutApproval {
    #[serde(default)]
    pub metadata: ObjectMeta,
    pub spec: RolloutApprovalSpec,
}

/// What is approved. It names either an instance or a ClusterPlacement that moves a whole kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.instance) != has(self.clusterPlacement)",
        "message": "exactly one of instance and clusterPlacement says whose rollout is approved"},
    {"rule": "self == oldSelf", "message": "spec is immutable; create another RolloutApproval"},
]))]
pub struct RolloutApprovalSpec {
    /// An instance in the namespace of this object; one of a cluster scoped kind is approved in the controller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceRef>,
    /// A ClusterPlacement whose rollout has the scope Kind; approved in the controller's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub cluster_placement: Option<String>,
    /// The version of the rollout that is approved.
    #[schemars(range(min = 1))]
    pub version: i64,
    /// The stage that it may enter.
    #[schemars(length(min = 1, max = 63))]
    pub stage: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct InstanceRef {
    #[serde(default = "kro_group")]
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn kro_group() -> String {
    kro::GROUP.to_owned()
}
