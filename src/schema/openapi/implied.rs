//! What the API server fills in without saying so in its OpenAPI.
//!
//! Kubernetes' own kinds have defaults that are set by code. Field ownership tells which fields beside an applied one
//! are defaults. It does not tell within a value that is owned as a whole (an atomic list or struct): such a value
//! reads back with more in it than was applied. The defaults that can stand within such a value are listed here.

use serde_json::{Value, json};

const CORE: &str = "io.k8s.api.core.v1.";
const RBAC: &str = "rbac.authorization.k8s.io";

/// The default of a field of one of Kubernetes' own types, by the type's name in OpenAPI.
pub fn default(type_name: &str, field: &str) -> Option<Value> {
    let in_core = type_name.strip_prefix(CORE);
    Some(match (in_core, field) {
        (Some("ObjectFieldSelector"), "apiVersion") => json!("v1"),
        (Some("ResourceFieldSelector"), "divisor") => json!("0"),
        (Some("ServiceAccountTokenProjection"), "expirationSeconds") => json!(3600),
        (Some("PersistentVolumeClaim"), "apiVersion") => json!("v1"),
        (Some("PersistentVolumeClaim"), "kind") => json!("PersistentVolumeClaim"),
        (Some("PersistentVolumeClaim"), "status") => json!({"phase": "Pending"}),
        (Some("PersistentVolumeClaimSpec"), "volumeMode") => json!("Filesystem"),
        (Some("PersistentVolumeClaimSpec"), "resources") => json!({}),
        (Some("EndpointPort"), "protocol") => json!("TCP"),
        _ => match (type_name.strip_prefix("io.k8s.api.")?, field) {
            ("discovery.v1.EndpointPort" | "networking.v1.NetworkPolicyPort", "protocol") => json!("TCP"),
            ("rbac.v1.RoleRef" | "rbac.v1.Subject", "apiGroup") => json!(RBAC),
            ("batch.v1.PodFailurePolicyOnPodConditionsPattern", "status") => json!("True"),
            (name, field) => admission(name, field).or_else(|| devices(name, field))?,
        },
    })
}

fn admission(type_name: &str, field: &str) -> Option<Value> {
    let name = type_name.strip_prefix("admissionregistration.v1.")?;
    match (name, field) {
        ("RuleWithOperations" | "NamedRuleWithOperations", "scope") => Some(json!("*")),
        ("MatchResources", "matchPolicy") => Some(json!("Equivalent")),
        ("MatchResources", "namespaceSelector" | "objectSelector") => Some(json!({})),
        _ => None,
    }
}

fn devices(type_name: &str, field: &str) -> Option<Value> {
    let (_, name) = type_name.strip_prefix("resource.")?.split_once('.')?;
    match (name, field) {
        ("ExactDeviceRequest" | "DeviceSubRequest", "allocationMode") => Some(json!("ExactCount")),
        ("ExactDeviceRequest" | "DeviceSubRequest", "count") => Some(json!(1)),
        _ => None,
    }
}
