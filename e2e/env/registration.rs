//! Registering clusters at the hub, as a user does: a labelled kubeconfig Secret.

use super::Environment;
use super::controller::NAMESPACE;
use super::wait::eventually;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const CLUSTERS: &str = "/apis/hub.kro.run/v1alpha1/clusters";

/// The Secret that registers a cluster.
pub fn secret(cluster: &str, kubeconfig: &str, labels: &[(&str, &str)]) -> Value {
    let mut all = json!({"hub.kro.run/cluster": "true"});
    for (key, value) in labels {
        all[*key] = json!(value);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": cluster, "namespace": NAMESPACE, "labels": all},
        "stringData": {"kubeconfig": kubeconfig},
    })
}

impl Environment {
    /// Registers cluster `name` at `hub` with the admin's kubeconfig, where people or benchmarks make definitions of which
    /// nobody knows beforehand.
    ///
    /// # Errors
    /// kubectl failed.
    pub fn register(&self, hub: &str, name: &str, labels: &[(&str, &str)]) -> Result<()> {
        let kubeconfig = fs::read_to_string(self.kubeconfig(name))?;
        self.apply(hub, &secret(name, &kubeconfig, labels).to_string())?;
        Ok(())
    }

    /// Waits until the hub says that the Cluster is Ready.
    ///
    /// # Errors
    /// It does not become so in time; with the conditions last seen.
    pub fn wait_cluster_ready(&self, hub: &str, name: &str, timeout: Duration) -> Result<()> {
        eventually(timeout, &format!("Cluster {name} Ready"), || {
            let cluster =
                self.api(hub).get(&format!("{CLUSTERS}/{name}"))?.context("there is no such Cluster")?;
            let conditions = cluster.pointer("/status/conditions").cloned().unwrap_or_default();
            let ready = condition(&cluster, "Ready").is_some_and(|c| c["status"] == "True");
            ensure!(ready, "conditions {conditions}");
            Ok(())
        })
    }
}

/// The condition of that type.
pub fn condition<'a>(object: &'a Value, of_type: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|c| c["type"] == of_type)
}
