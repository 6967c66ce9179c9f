//! What is reconciled: one definition with four children, and its instances.

use super::site::Variant;
use serde_json::{Value, json};

pub const RGDS: &str = "/apis/kro.run/v1alpha1/resourcegraphdefinitions";
pub const NAMESPACE: &str = "bench";
pub const INSTANCES: &str = "/apis/kro.run/v1alpha1/namespaces/bench/benches";
pub const CONFIGS: &str = "/api/v1/namespaces/bench/configmaps";
/// Plural of the kind, as the API server's metrics name it.
pub const RESOURCE: &str = "benches";

/// A ConfigMap, a ServiceAccount, a Deployment that reads the ConfigMap's uid, a Service that reads the Deployment's
/// selector.
pub fn definition(name: &str, kind: &str, variant: Variant) -> Value {
    let mut resources = json!([
        {"id": "config", "template": {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "${schema.metadata.name}"}, "data": {"text": "${schema.spec.text}"}}},
        {"id": "account", "template": {"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "${schema.metadata.name}"}}},
        {"id": "deployment", "template": {"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "${schema.metadata.name}"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "${schema.metadata.name}"}},
                "template": {
                    "metadata": {"labels": {"app": "${schema.metadata.name}"},
                        "annotations": {"config": "${config.metadata.uid}"}},
                    "spec": {"containers": [{"name": "main", "image": "nginx"}]}}}}},
        {"id": "service", "template": {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "${schema.metadata.name}"},
            "spec": {"selector": "${deployment.spec.selector.matchLabels}", "ports": [{"port": 80}]}}},
    ]);
    let policy = match variant {
        Variant::Fail | Variant::Fleet => Some("Fail"),
        Variant::Adopt => Some("Adopt"),
        _ => None,
    };
    if let (Some(policy), Some(resources)) = (policy, resources.as_array_mut()) {
        for resource in resources {
            resource["template"]["metadata"]["annotations"] = json!({"hub.kro.run/on-existing": policy});
        }
    }
    json!({"apiVersion": "kro.run/v1alpha1", "kind": "ResourceGraphDefinition", "metadata": {"name": name},
        "spec": {"schema": {"apiVersion": "v1alpha1", "kind": kind, "spec": {"text": "string"}},
            "resources": resources}})
}

/// Four children of kinds that the simulator serves.
pub fn small_definition() -> Value {
    let name = "${schema.metadata.name}";
    let resources = json!([
        {"id": "config", "template": {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name}, "data": {"text": "${schema.spec.text}"}}},
        {"id": "account", "template": {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}},
        {"id": "secret", "template": {"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name}, "stringData": {"config": "${config.metadata.uid}"}}},
        {"id": "role", "template": {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": name},
            "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"],
                "resourceNames": ["${secret.metadata.name}"]}]}},
    ]);
    json!({"apiVersion": "kro.run/v1alpha1", "kind": "ResourceGraphDefinition", "metadata": {"name": "bench"},
        "spec": {"schema": {"apiVersion": "v1alpha1", "kind": "Bench", "spec": {"text": "string"}},
            "resources": resources}})
}

/// An instance; `clusters` is where it goes, None for the hub itself.
pub fn instance(name: &str, clusters: Option<&str>) -> Value {
    let mut metadata = json!({"name": name});
    if let Some(clusters) = clusters {
        metadata["annotations"] = json!({"hub.kro.run/clusters": clusters});
    }
    json!({"apiVersion": "kro.run/v1alpha1", "kind": "Bench", "metadata": metadata, "spec": {"text": "hello"}})
}

/// Names of a batch.
pub fn names(batch: usize) -> Vec<String> {
    (0..batch).map(|n| format!("b{batch}-{n:04}")).collect()
}
