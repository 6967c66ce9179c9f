//! What the controller has to be allowed on its hub, read from the manifests that are shipped; and who installs them.

use crate::access::{Question, Rule};
use serde_json::Value;

const CLUSTER_ROLE: &str = include_str!("../../../deploy/base/cluster-role.yaml");
const ROLE: &str = include_str!("../../../deploy/base/role.yaml");

/// What the controller needs, whatever definitions there are.
pub fn base(namespace: &str) -> Vec<Question> {
    let mut out = rules(CLUSTER_ROLE, "deploy/base/cluster-role.yaml", "");
    out.extend(rules(ROLE, "deploy/base/role.yaml", namespace));
    out
}

fn rules(text: &str, from: &str, namespace: &str) -> Vec<Question> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_default();
    let rules = documents.iter().filter_map(|d| d.get("rules")?.as_array()).flatten();
    rules.filter_map(|rule| Rule::read(rule, from)).flat_map(|rule| rule.questions(namespace)).collect()
}

/// What installing it needs.
pub fn install(namespace: &str) -> Vec<Question> {
    let question = |group: &str, resource: &str, namespace: &str| Question {
        verb: "create".into(),
        group: group.into(),
        resource: resource.into(),
        subresource: String::new(),
        name: String::new(),
        namespace: namespace.into(),
        url: String::new(),
        why: "to install it".into(),
    };
    let rbac = "rbac.authorization.k8s.io";
    vec![
        question("", "namespaces", ""),
        question("apiextensions.k8s.io", "customresourcedefinitions", ""),
        question(rbac, "clusterroles", ""),
        question(rbac, "clusterrolebindings", ""),
        question(rbac, "roles", namespace),
        question(rbac, "rolebindings", namespace),
        question("", "serviceaccounts", namespace),
        question("apps", "deployments", namespace),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_roles_are_read_whole() {
        let all: Vec<String> = base("kro-hub").iter().map(|q| format!("{} {}", q.verb, q.what())).collect();
        for wanted in [
            "patch clusters.hub.kro.run/status",
            "watch *.kro.run",
            "list secrets in kro-hub",
            "update leases.coordination.k8s.io in kro-hub",
        ] {
            assert!(all.contains(&wanted.to_owned()), "{wanted}: {all:#?}");
        }
    }
}
