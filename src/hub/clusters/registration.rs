//! A labelled kubeconfig Secret asks for a Cluster of its name.

use crate::api::keys::hub;
use crate::api::{Object, hash};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// On a Cluster: fingerprint of the labels that were copied from its Secret, so that they are copied again only when the
/// Secret's change, and an edit on the Cluster stands.
const COPIED: &str = "hub.kro.run/labels-from-secret";

#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is not labelled, or all is as it should be.
    Nothing,
    /// Server-side apply of the Cluster.
    Apply(Value),
    /// The name belongs to something else; says to what.
    Refuse(String),
}

/// Decides what a Secret means for the Cluster of its name.
pub(super) fn of(secret: &Object, cluster: Option<&Object>) -> Verdict {
    let labelled = hub::CLUSTER_LABELS.iter().any(|l| secret.label(l) == Some("true"));
    if !labelled || secret.is_deleting() {
        return Verdict::Nothing;
    }
    let (name, namespace) = (secret.name(), secret.namespace());
    if let Some(cluster) = cluster {
        if cluster.is_deleting() {
            return Verdict::Nothing;
        }
        let owner = |field: &str| cluster.str_at(&format!("/spec/credentials/secretRef/{field}")).to_owned();
        if cluster.0.pointer("/spec/local") == Some(&Value::Bool(true)) {
            return Verdict::Refuse(format!(
                "Cluster {name} is the hub itself (spec.local); give the Secret another name"
            ));
        }
        let (owner_name, owner_namespace) = (owner("name"), owner("namespace"));
        if !owner_name.is_empty() && (owner_name != name || owner_namespace != namespace) {
            return Verdict::Refuse(format!(
                "Cluster {name} belongs to Secret {owner_namespace}/{owner_name}; give this Secret another name"
            ));
        }
    }
    let mut labels: BTreeMap<String, String> = secret.labels();
    labels.retain(|k, _| !hub::CLUSTER_LABELS.contains(&k.as_str()));
    let print = labels_print(&labels);
    let known = cluster.is_some_and(|c| {
        c.annotation(COPIED) == Some(&print) && !c.str_at("/spec/credentials/secretRef/name").is_empty()
    });
    if known {
        return Verdict::Nothing;
    }
    Verdict::Apply(json!({
        "apiVersion": "hub.kro.run/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name, "labels": labels, "annotations": {COPIED: print}},
        "spec": {"credentials": {"secretRef": {"name": name, "namespace": namespace}}},
    }))
}

/// Fingerprint of the labels that a Secret gave its Cluster.
fn labels_print(labels: &BTreeMap<String, String>) -> String {
    hash::json_hex(&json!(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(namespace: &str, labels: Value) -> Object {
        Object(json!({"metadata": {"name": "eu", "namespace": namespace, "labels": labels}}))
    }
    fn applied(verdict: &Verdict) -> Object {
        match verdict {
            Verdict::Apply(body) => Object(body.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_labelled_secret_makes_a_cluster_with_its_labels() {
        let labelled = secret("kro-hub", json!({"hub.kro.run/cluster": "true", "region": "eu"}));
        let cluster = applied(&of(&labelled, None));
        assert_eq!((cluster.name(), cluster.label("region")), ("eu", Some("eu")));
        assert_eq!(cluster.label("hub.kro.run/cluster"), None);
        assert_eq!(of(&labelled, Some(&cluster)), Verdict::Nothing, "settled");
        assert_eq!(of(&secret("kro-hub", json!({"region": "eu"})), None), Verdict::Nothing);
        assert_eq!(of(&secret("kro-hub", json!({"hub.kro.run/cluster": "false"})), None), Verdict::Nothing);
        for label in ["kro.run/cluster", "sigs.k8s.io/multicluster-runtime-kubeconfig"] {
            applied(&of(&secret("kro-hub", json!({label: "true"})), None));
        }
    }

    #[test]
    fn labels_follow_the_secret_but_an_edit_on_the_cluster_stands() {
        let labelled = secret("kro-hub", json!({"hub.kro.run/cluster": "true", "region": "eu"}));
        let mut cluster = applied(&of(&labelled, None));
        cluster.0["metadata"]["labels"]["region"] = json!("edited");
        assert_eq!(of(&labelled, Some(&cluster)), Verdict::Nothing);
        let changed = secret("kro-hub", json!({"hub.kro.run/cluster": "true", "region": "us"}));
        assert_eq!(applied(&of(&changed, Some(&cluster))).label("region"), Some("us"));
    }

    #[test]
    fn the_first_secret_owns_the_name() {
        let first = secret("kro-hub", json!({"hub.kro.run/cluster": "true"}));
        let cluster = applied(&of(&first, None));
        let second = secret("kro-system", json!({"hub.kro.run/cluster": "true"}));
        assert!(matches!(of(&second, Some(&cluster)), Verdict::Refuse(m) if m.contains("kro-hub/eu")));
        let local = Object(json!({"metadata": {"name": "eu"}, "spec": {"local": true}}));
        assert!(matches!(of(&first, Some(&local)), Verdict::Refuse(_)));
    }
}
