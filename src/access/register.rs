//! Registering a cluster: what is known of both sides, whether it may go on, and what is written there.

use super::{Access, Account, Role, Rule};
use crate::api::cluster::ChildNamespaces;
use crate::api::keys::hub;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::net::IpAddr;

/// How a cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    pub server: String,
    /// The authority's certificates as PEM; none where a public authority speaks for the server.
    pub authority: Option<Vec<u8>>,
    pub tls_server_name: Option<String>,
}

/// What both sides say before anything is written.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The name to register under.
    pub name: String,
    /// The spoke: its id, and the uid of its kube-system.
    pub id: String,
    pub system_uid: String,
    /// The hub that the spoke says it belongs to.
    pub claim: Option<String>,
    /// The hub: its id, where a controller ran already, and the uid of its kube-system.
    pub hub_id: Option<String>,
    pub hub_uid: String,
    /// All Clusters of the hub.
    pub clusters: Vec<Value>,
    /// The Secret of that name on the hub.
    pub secret: Option<Value>,
    pub hub_namespace: String,
}

/// Why a cluster is not registered; the last words say what to do.
pub fn refusal(survey: &Survey) -> Option<String> {
    let Survey { name, .. } = survey;
    if !crate::api::names::ClusterName::may_be(name) {
        return Some(format!("{name:?} is no name for a Cluster: write small letters, digits, - and ."));
    }
    if !survey.hub_uid.is_empty() && survey.hub_uid == survey.system_uid {
        return Some(
            "this is the hub itself; to run instances there, apply a Cluster with spec.local: true".into(),
        );
    }
    if let Some(owner) = survey.claim.as_ref().filter(|owner| survey.hub_id.as_ref() != Some(owner)) {
        return Some(format!(
            "the cluster is claimed by another hub ({owner}); if that hub is gone for good, delete ConfigMap {}/{} there",
            hub::CLAIM_NAMESPACE,
            hub::CLAIM_CONFIGMAP
        ));
    }
    let text =
        |c: &Value, pointer: &str| c.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_it = |c: &Value| {
        let same = |known: String, found: &str| !known.is_empty() && known == found;
        same(text(c, "/status/kubeSystemUID"), &survey.system_uid)
            || same(text(c, "/status/clusterID"), &survey.id)
    };
    let other = survey.clusters.iter().find(|c| is_it(c) && text(c, "/metadata/name") != *name);
    if let Some(other) = other {
        let other = text(other, "/metadata/name");
        return Some(format!(
            "the cluster is registered already, as {other}; use that name, or kro-hub cluster remove {other} first"
        ));
    }
    if let Some(own) = survey.clusters.iter().find(|c| text(c, "/metadata/name") == *name) {
        if own.pointer("/spec/local") == Some(&Value::Bool(true)) {
            return Some(format!("Cluster {name} stands for the hub itself; choose another name"));
        }
        let known = text(own, "/status/clusterID");
        if !known.is_empty() && !is_it(own) {
            return Some(format!("Cluster {name} is another cluster (id {known}); choose another name"));
        }
        let secret = (
            text(own, "/spec/credentials/secretRef/namespace"),
            text(own, "/spec/credentials/secretRef/name"),
        );
        if secret != (survey.hub_namespace.clone(), name.clone()) {
            return Some(format!(
                "Cluster {name} takes its credentials from Secret {}/{}; choose another name, or write them there",
                secret.0, secret.1
            ));
        }
    }
    let secret = survey.secret.as_ref()?;
    let labelled = hub::CLUSTER_LABELS.iter().any(|label| {
        secret.pointer("/metadata/labels").and_then(|l| l.get(*label)).and_then(Value::as_str) == Some("true")
    });
    (!labelled).then(|| {
        let namespace = &survey.hub_namespace;
        format!("Secret {namespace}/{name} exists on the hub and registers no cluster; choose another name")
    })
}

/// Whether nobody but this machine can reach the address.
pub fn is_loopback(server: &str) -> bool {
    let Ok(url) = url::Url::parse(server) else { return false };
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

/// The kubeconfig that goes to the hub.
pub fn kubeconfig(way: &Way, token: &str) -> String {
    let mut cluster = json!({"server": way.server});
    if let Some(authority) = &way.authority {
        cluster["certificate-authority-data"] = json!(STANDARD.encode(authority));
    }
    if let Some(name) = &way.tls_server_name {
        cluster["tls-server-name"] = json!(name);
    }
    // JSON is YAML, and needs no quoting of its own.
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "hub",
        "clusters": [{"name": "spoke", "cluster": cluster}],
        "users": [{"name": "kro-hub", "user": {"token": token}}],
        "contexts": [{"name": "hub", "context": {"cluster": "spoke", "user": "kro-hub"}}],
    })
    .to_string()
}

/// The Secret that registers a cluster.
pub fn secret(survey: &Survey, labels: &[(String, String)], way: &Way, kubeconfig: &str) -> Value {
    let mut all = json!({hub::CLUSTER_LABEL: "true"});
    for (key, value) in labels {
        all[key] = json!(value);
    }
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": survey.name, "namespace": survey.hub_namespace, "labels": all},
        "data": {"kubeconfig": STANDARD.encode(kubeconfig)},
    });
    if way.authority.is_none() {
        secret["metadata"]["annotations"] = json!({hub::PUBLIC_ROOTS: "true"});
    }
    secret
}

/// What a Cluster says that its Secret cannot.
#[derive(Clone, Debug, Default)]
pub struct Says {
    /// Only instances of these namespaces are placed there.
    pub allowed_namespaces: Vec<String>,
    /// Into which namespaces instances may write there.
    pub child_namespaces: Option<ChildNamespaces>,
}

impl Says {
    pub fn is_nothing(&self) -> bool {
        self.allowed_namespaces.is_empty() && self.child_namespaces.is_none()
    }
}

/// The Cluster, where it says more than its Secret can.
pub fn cluster(survey: &Survey, labels: &[(String, String)], says: &Says) -> Value {
    let mut object = json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster",
        "metadata": {"name": survey.name},
        "spec": {"credentials": {"secretRef": {"name": survey.name, "namespace": survey.hub_namespace}}},
    });
    for (key, value) in labels {
        object["metadata"]["labels"][key] = json!(value);
    }
    if !says.allowed_namespaces.is_empty() {
        object["spec"]["allowedNamespaces"] = json!(says.allowed_namespaces);
    }
    if let Some(policy) = &says.child_namespaces {
        object["spec"]["childNamespaces"] = json!(policy);
    }
    object
}

/// The same in words: `allowedNamespaces shop, childNamespaces Own,logs`.
pub fn said(says: &Says) -> String {
    let allowed = (!says.allowed_namespaces.is_empty())
        .then(|| format!("allowedNamespaces {}", says.allowed_namespaces.join(",")));
    let policy = says.child_namespaces.as_ref().map(|said| {
        let words = std::iter::once(format!("{:?}", said.policy)).chain(said.also.iter().cloned());
        format!("childNamespaces {}", words.collect::<Vec<_>>().join(","))
    });
    allowed.into_iter().chain(policy).collect::<Vec<_>>().join(", ")
}

/// Label of what a registration makes on a spoke.
pub const MADE_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "kro-hub-cli");

/// The account of the hub on a spoke, with the namespace that it is in.
pub fn account(account: &Account) -> Vec<Value> {
    let labels = json!({MADE_BY.0: MADE_BY.1});
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": account.namespace, "labels": labels}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": account.name, "namespace": account.namespace, "labels": labels}}),
    ]
}

/// A Secret that a cluster fills with a token of the account, which lasts until it is deleted.
pub fn token_secret(account: &Account, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": name, "namespace": account.namespace, "labels": {MADE_BY.0: MADE_BY.1},
            "annotations": {"kubernetes.io/service-account.name": account.name}}})
}

/// Every right there is.
pub fn admin(account: &Account) -> Access {
    let all = || vec!["*".to_owned()];
    let rule = Rule {
        groups: all(),
        resources: all(),
        verbs: all(),
        why: "--access admin".into(),
        ..Rule::default()
    };
    let paths = Rule { urls: all(), verbs: all(), why: "--access admin".into(), ..Rule::default() };
    Access {
        title: "Every right there is.".into(),
        roles: vec![Role {
            name: "kro-hub-admin".into(),
            namespace: None,
            labels: Vec::new(),
            rules: vec![rule, paths],
            bound_to: Some(account.clone()),
        }],
        notes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change<'a> = &'a dyn Fn(&mut Survey);

    fn survey() -> Survey {
        Survey {
            name: "eu".into(),
            id: "spoke".into(),
            system_uid: "spoke".into(),
            hub_id: Some("h".into()),
            hub_uid: "hub".into(),
            hub_namespace: "kro-hub".into(),
            ..Survey::default()
        }
    }
    fn registered(name: &str, id: &str, secret: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"credentials": {"secretRef": {"name": secret, "namespace": "kro-hub"}}},
            "status": {"clusterID": id, "kubeSystemUID": id}})
    }

    #[test]
    fn what_must_not_be_registered_is_refused() {
        let with = |change: Change<'_>| {
            let mut survey = survey();
            change(&mut survey);
            refusal(&survey)
        };
        let fine: [Change<'_>; 5] = [
            &|_| (),
            &|s| s.claim = Some("h".into()),
            &|s| s.clusters = vec![registered("eu", "spoke", "eu"), registered("us", "other", "us")],
            &|s| s.clusters = vec![registered("eu", "", "eu")],
            &|s| s.secret = Some(json!({"metadata": {"labels": {"hub.kro.run/cluster": "true"}}})),
        ];
        for (at, change) in fine.iter().enumerate() {
            assert_eq!(with(change), None, "{at}");
        }
        let refused: [(Change<'_>, &str); 10] = [
            (&|s| s.name = "Prod EU".into(), "no name"),
            (&|s| s.system_uid = "hub".into(), "spec.local: true"),
            (&|s| s.claim = Some("them".into()), "claimed by another hub (them)"),
            (&|s| (s.claim, s.hub_id) = (Some("them".into()), None), "claimed by another hub"),
            (&|s| s.clusters = vec![registered("us", "spoke", "us")], "registered already, as us"),
            (&|s| s.clusters = vec![registered("eu", "other", "eu")], "another cluster (id other)"),
            (&|s| s.clusters = vec![registered("eu", "spoke", "elsewhere")], "Secret kro-hub/elsewhere"),
            (
                &|s| s.clusters = vec![json!({"metadata": {"name": "eu"}, "spec": {"local": true}})],
                "the hub itself",
            ),
            (&|s| s.secret = Some(json!({"metadata": {}})), "registers no cluster"),
            (
                &|s| s.secret = Some(json!({"metadata": {"labels": {"hub.kro.run/cluster": "no"}}})),
                "registers no cluster",
            ),
        ];
        for (change, why) in refused {
            assert!(with(change).is_some_and(|said| said.contains(why)), "{why}");
        }
    }

    #[test]
    fn a_loopback_address_is_known() {
        for (server, loopback) in [
            ("https://127.0.0.1:6443", true),
            ("https://127.8.9.1", true),
            ("https://localhost:6443", true),
            ("https://kind.localhost", true),
            ("https://[::1]:6443", true),
            ("https://0.0.0.0:6443", true),
            ("https://10.0.0.1:6443", false),
            ("https://prod.example.org", false),
            ("nonsense", false),
        ] {
            assert_eq!(is_loopback(server), loopback, "{server}");
        }
    }

    #[test]
    fn what_goes_to_the_hub_says_no_more_than_it_must() {
        let way = Way { server: "https://h".into(), authority: Some(b"ca".to_vec()), tls_server_name: None };
        let labels = [("region".to_owned(), "eu".to_owned())];
        let object = secret(&survey(), &labels, &way, "text");
        assert_eq!(object["metadata"]["labels"], json!({"hub.kro.run/cluster": "true", "region": "eu"}));
        assert_eq!(object["metadata"]["annotations"], Value::Null);
        assert_eq!(object["data"]["kubeconfig"], STANDARD.encode("text"));
        let public = Way { authority: None, ..way };
        let object = secret(&survey(), &[], &public, "text");
        assert_eq!(object["metadata"]["annotations"], json!({"hub.kro.run/public-roots": "true"}));
        assert!(!kubeconfig(&public, "t").contains("certificate-authority"));
    }
}
