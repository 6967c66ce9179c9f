//! `Cluster` (hub.kro.run/v1alpha1): one registered cluster of the fleet.

use super::condition::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "hub.kro.run",
    version = "v1alpha1",
    kind = "Cluster",
    status = "ClusterStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".status.kubernetesVersion"}"#,
    printcolumn = r#"{"name":"Instances","type":"integer","jsonPath":".status.instances"}"#,
    printcolumn = r#"{"name":"Credential","type":"string","priority":1,"jsonPath":".status.credentials.type"}"#,
    printcolumn = r#"{"name":"Issued","type":"date","priority":1,"jsonPath":".status.credentials.issuedAt"}"#,
    printcolumn = r#"{"name":"Expires","type":"string","priority":1,"jsonPath":".status.credentials.expiresAt"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpec {
    /// Where the kubeconfig is. Exactly one of `credentials` and `local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// The hub itself, used as a spoke: the hub instance is its own mirror. At most one Cluster is local.
    #[serde(default, skip_serializing_if = "is_false")]
    pub local: bool,
    /// Facts about the cluster that are not labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// What keeps instances away that do not tolerate it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// Nothing is written to a paused cluster.
    #[serde(default, skip_serializing_if = "is_false")]
    pub paused: bool,
    /// What happens to workloads when this Cluster is deleted.
    #[serde(default)]
    pub on_deregister: OnDeregister,
    /// Namespaces whose instances may be placed here; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_namespaces: Vec<String>,
    /// Into which namespaces instances may write their namespaced resources; any, unless it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child_namespaces: Option<ChildNamespaces>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

fn is_false(b: &bool) -> bool {
    !*b
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    pub secret_ref: SecretRef,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    pub name: String,
    pub namespace: String,
    /// Key of `data`; without it `kubeconfig`, then `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Taint {
    pub key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    pub effect: Effect,
}

/// Into which namespaces the resources of instances may be written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChildNamespaces {
    /// What holds for an instance's namespaced resources.
    pub policy: ChildNamespacePolicy,
    /// With `Own`: namespaces into which every instance may write besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChildNamespacePolicy {
    /// Wherever the template says, as with kro.
    #[default]
    Any,
    /// Only in the namespace of the instance.
    Own,
    /// Nothing that we know: a Cluster from before policies were checked.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// What a taint does to instances that do not tolerate it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Effect {
    /// None is placed here, and one that is here leaves.
    #[default]
    NoSelect,
    /// None is placed here; one that is here stays.
    NoSelectIfNew,
    /// Where only some clusters are taken, this one is taken last.
    PreferNoSelect,
    /// Nothing that we know: a Cluster from before effects were checked.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoSelect => "NoSelect",
            Self::NoSelectIfNew => "NoSelectIfNew",
            Self::PreferNoSelect => "PreferNoSelect",
            Self::Other => "unknown",
        })
    }
}

impl std::fmt::Display for Taint {
    /// As `kubectl` writes taints: `gpu=yes:NoSelect`, `gpu:NoSelect`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let equals = if self.value.is_empty() { "" } else { "=" };
        write!(f, "{}{equals}{}:{}", self.key, self.value, self.effect)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDeregister {
    /// Workloads stay; what is left is listed.
    #[default]
    Orphan,
    /// Workloads are deleted first; needs contact.
    Delete,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Most requests in flight to this cluster at one time; 32 where it is not said. A slow cluster gets fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// ClusterProperty `cluster.clusterset.k8s.io`, else the uid of namespace kube-system. As first seen: a property that
    /// appears later does not change it.
    #[serde(default, rename = "clusterID", skip_serializing_if = "String::is_empty")]
    pub cluster_id: String,
    /// The uid of namespace kube-system, where it may be read: by it a cluster is recognized.
    #[serde(default, rename = "kubeSystemUID", skip_serializing_if = "String::is_empty")]
    pub kube_system_uid: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kubernetes_version: String,
    /// Written only together with another change; the live value is a metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_contact: Option<Time>,
    /// Hub instances that hold content here.
    #[serde(default)]
    pub instances: i64,
    /// What the kubeconfig says of its credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_behind: Option<LeftBehind>,
    /// Mirrors of this hub whose instance the hub does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_mirrors: Option<UnknownMirrors>,
    /// The generation that the status is about.
    #[serde(default)]
    pub observed_generation: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Whose credentials are, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsStatus {
    /// `ClientCertificate`, `Token` (which says of itself what follows) or `OpaqueToken`.
    #[serde(rename = "type")]
    pub type_: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// As they say it, else when their Secret was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Time>,
    /// Absent: they do not say that they end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

/// Content that was let go without being deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeftBehind {
    pub count: i64,
    /// The first ten, `Kind.group namespace/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// Mirrors that stand on a cluster and belong to no instance of the hub. They are listed, and nobody deletes them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnknownMirrors {
    pub count: i64,
    /// The first ten, `Kind.group namespace/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// Condition types of a Cluster.
pub mod conditions {
    pub const CREDENTIALS_VALID: &str = "CredentialsValid";
    pub const REACHABLE: &str = "Reachable";
    pub const CLAIMED: &str = "Claimed";
    pub const READY: &str = "Ready";
}
