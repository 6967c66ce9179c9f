//! Credentials that may do less than the hub needs.

use super::seen::conditions;
use super::stage::{SOON, Stage, text_of};
use crate::env::eventually;
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
/// What has to be mended by somebody is asked for ever less.
const ASKED_AGAIN: Duration = Duration::from_secs(40);

fn role(resources: &[&str]) -> Value {
    let all = json!(["*"]);
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "test:few"},
    "rules": [
        {"nonResourceURLs": all, "verbs": all},
        {"apiGroups": ["apiextensions.k8s.io", "kro.run", "hub.kro.run", "authorization.k8s.io"], "resources": all, "verbs": all},
        {"apiGroups": [""], "resources": resources, "verbs": all},
    ]})
}

/// What a cluster does not allow is named on it, one right after the other, until it is Ready.
pub fn a_missing_right_is_named(stage: &Stage) -> Result<()> {
    let api = stage.env.api("eu");
    let kubeconfig = stage.env.token_kubeconfig("eu", "few", Duration::from_secs(3600))?;
    api.delete(&format!("{BINDINGS}/test:few:admin"))?;
    api.post(ROLES, &role(&["secrets"]))?;
    api.post(
        BINDINGS,
        &json!({"metadata": {"name": "test:few"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "test:few"},
            "subjects": [{"kind": "ServiceAccount", "name": "few", "namespace": "kube-system"}]}),
    )?;
    stage.put_secret("eu", &kubeconfig)?;
    let names = |right: &str, patience: Duration| {
        eventually(patience, &format!("the right to {right} is named"), || {
            let cluster = stage.cluster("eu")?;
            let (said, text) = (conditions(&cluster), text_of(&cluster, "Ready"));
            // There is contact, and the credentials are known there.
            let all = ["CredentialsValid=True", "Reachable=True", "Ready=False MissingRight"];
            ensure!(all.iter().all(|c| said.contains(c)) && text.contains(right), "{said}: {text}");
            Ok(())
        })
    };
    names("get namespace kube-system", SOON)?;
    let allow = |resources: &[&str]| api.merge_patch(&format!("{ROLES}/test:few"), &role(resources));
    allow(&["secrets", "namespaces"])?;
    names("ConfigMap", ASKED_AGAIN)?;
    allow(&["*"])?;
    eventually(ASKED_AGAIN, "Ready with all rights", || {
        let said = conditions(&stage.cluster("eu")?);
        ensure!(said.contains("Ready=True"), "{said}");
        Ok(())
    })?;
    stage.deregister("eu")?;
    api.delete(&format!("{BINDINGS}/test:few"))?;
    api.delete(&format!("{ROLES}/test:few"))
}
