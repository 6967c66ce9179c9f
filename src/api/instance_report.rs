//! InstanceReport (hub.kro.run/v1alpha1): how one instance stands on up to 100 of its clusters, where it has more than
//! its own status lists. Only the controller writes it; its owner is the instance.

use super::rollout_approval::InstanceRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is reported. Nobody asks for it, so it has no spec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportBody {
    pub instance: InstanceRef,
    /// Which of the instance's reports this is, counted from 0.
    #[serde(default)]
    pub index: i64,
    /// How many clusters it is about.
    #[serde(default)]
    pub clusters: i64,
    /// On how many of them all is well.
    #[serde(default)]
    pub ready: i64,
    /// Clusters that stand alike share an entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("items" = {"type": "object", "x-kubernetes-preserve-unknown-fields": true}))]
    pub entries: Vec<Value>,
}
