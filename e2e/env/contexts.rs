//! One kubeconfig with a context for each cluster, as people have it.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// The first context is the current one.
pub struct Contexts {
    namespace: String,
    contexts: Vec<Value>,
    clusters: Vec<Value>,
    users: Vec<Value>,
}

impl Contexts {
    /// All of them begin in this namespace.
    pub fn new(namespace: &str) -> Self {
        let namespace = namespace.to_owned();
        Self { namespace, contexts: Vec::new(), clusters: Vec::new(), users: Vec::new() }
    }

    /// A context from a kubeconfig with one cluster and one user, both as `change` leaves them.
    pub fn add(
        &mut self,
        name: &str,
        kubeconfig: &Path,
        change: impl FnOnce(&mut Value, &mut Value),
    ) -> Result<()> {
        let text = fs::read_to_string(kubeconfig).with_context(|| kubeconfig.display().to_string())?;
        let file: Value = serde_saphyr::from_str(&text)?;
        let mut cluster = file["clusters"][0]["cluster"].clone();
        let mut user = file["users"][0]["user"].clone();
        change(&mut cluster, &mut user);
        self.contexts.push(json!({"name": name,
            "context": {"cluster": name, "user": name, "namespace": self.namespace}}));
        self.clusters.push(json!({"name": name, "cluster": cluster}));
        self.users.push(json!({"name": name, "user": user}));
        Ok(())
    }

    pub fn write(self, path: &Path) -> Result<()> {
        let current = self.contexts.first().context("no context")?["name"].clone();
        let all = json!({"apiVersion": "v1", "kind": "Config", "current-context": current,
            "contexts": self.contexts, "clusters": self.clusters, "users": self.users});
        fs::write(path, all.to_string()).with_context(|| path.display().to_string())
    }
}
