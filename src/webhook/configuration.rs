//! The ValidatingWebhookConfiguration: what API servers ask, and where.

use crate::api::keys::{hub, kro};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Where questions are put.
pub const PATH: &str = "/review";
/// Seconds that an API server waits.
pub const TIMEOUT: u64 = 5;

/// How API servers reach the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// By a Service of its own namespace.
    Service { name: String, port: u16 },
    /// Where no Service leads to it: `https://HOST[:PORT]`.
    Url(url::Url),
}

/// What an API server does when it gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    Ignore,
    Fail,
}

impl FailurePolicy {
    fn word(self) -> &'static str {
        match self {
            Self::Ignore => "Ignore",
            Self::Fail => "Fail",
        }
    }
}

impl Reached {
    /// What the certificate has to be for.
    pub fn names(&self, namespace: &str) -> BTreeSet<String> {
        match self {
            Self::Service { name, .. } => [format!("{name}.{namespace}.svc")].into(),
            Self::Url(url) => {
                let host = url.host_str().unwrap_or_default();
                [host.trim_start_matches('[').trim_end_matches(']').to_owned()].into()
            }
        }
    }

    fn client(&self, namespace: &str, bundle: &str) -> Value {
        let bundle = STANDARD.encode(bundle);
        match self {
            Self::Service { name, port } => json!({"caBundle": bundle,
                "service": {"name": name, "namespace": namespace, "port": port, "path": PATH}}),
            Self::Url(url) => {
                json!({"caBundle": bundle, "url": format!("{}{PATH}", url.as_str().trim_end_matches('/'))})
            }
        }
    }
}

/// What goes into it.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    pub reached: &'a Reached,
    pub failure_policy: FailurePolicy,
    /// Namespaces whose labelled Secrets are judged; none: no Secrets.
    pub secrets: &'a [String],
    /// Name and uid of the ClusterRole that it goes with.
    pub owner: Option<(&'a str, &'a str)>,
}

/// The whole object. Each rule names its kinds, so that nothing else of the hub ever waits for this webhook.
pub fn object(wanted: &Wanted<'_>, bundle: &str) -> Value {
    let client = wanted.reached.client(wanted.namespace, bundle);
    let webhook = |name: &str, policy: FailurePolicy, rule: Value| {
        json!({
            "name": format!("{name}.{}", hub::GROUP), "clientConfig": client, "rules": [rule],
            "failurePolicy": policy.word(), "timeoutSeconds": TIMEOUT, "sideEffects": "None",
            "matchPolicy": "Equivalent", "admissionReviewVersions": ["v1"],
        })
    };
    let rule = |group: &str, version: &str, resource: &str, scope: &str| {
        json!({"apiGroups": [group], "apiVersions": [version], "resources": [resource],
            "operations": ["CREATE", "UPDATE"], "scope": scope})
    };
    let definitions = rule(kro::GROUP, kro::VERSION, "resourcegraphdefinitions", "Cluster");
    let mut clusters =
        webhook("clusters", wanted.failure_policy, rule(hub::GROUP, "v1alpha1", "clusters", "Cluster"));
    // All others are written often, and pass.
    clusters["matchConditions"] =
        json!([{"name": "local", "expression": "has(object.spec.local) && object.spec.local"}]);
    let mut webhooks = vec![webhook("definitions", wanted.failure_policy, definitions), clusters];
    // A selector cannot say that one of several labels is there.
    for (label, name) in
        hub::CLUSTER_LABELS.iter().zip(["secrets", "secrets-of-kro", "secrets-of-multicluster-runtime"])
    {
        if wanted.secrets.is_empty() {
            break;
        }
        // Nobody is kept from writing Secrets because this webhook is away.
        let mut secrets = webhook(name, FailurePolicy::Ignore, rule("", "v1", "secrets", "Namespaced"));
        secrets["objectSelector"] = json!({"matchLabels": {*label: "true"}});
        secrets["namespaceSelector"] = json!({"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": wanted.secrets}]});
        webhooks.push(secrets);
    }
    let mut metadata = json!({"name": wanted.name, "labels": {"app.kubernetes.io/name": "kro-hub-webhook"}});
    if let Some((name, uid)) = wanted.owner {
        metadata["ownerReferences"] = json!([{
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": name, "uid": uid}]);
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": metadata, "webhooks": webhooks,
    })
}

/// The authorities that a configuration names, as PEM.
pub fn bundle_of(configuration: &Value) -> String {
    let found = configuration.pointer("/webhooks/0/clientConfig/caBundle").and_then(Value::as_str);
    let bytes = found.and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_as_the_hub_takes_it() {
        let reached = Reached::Service { name: "kro-hub-webhook".into(), port: 443 };
        let secrets = ["kro-hub".to_owned(), "team-a".to_owned()];
        let wanted = Wanted {
            name: "kro-hub",
            namespace: "kro-hub",
            reached: &reached,
            failure_policy: FailurePolicy::Fail,
            secrets: &secrets,
            owner: Some(("kro-hub-webhook", "u")),
        };
        let made = object(&wanted, "PEM");
        insta::assert_yaml_snapshot!(made);
        assert_eq!(bundle_of(&made), "PEM");
        let without = object(&Wanted { secrets: &[], owner: None, ..wanted }, "PEM");
        assert_eq!(without["webhooks"].as_array().map(Vec::len), Some(2));
        assert!(without["metadata"].get("ownerReferences").is_none());
        assert_eq!(bundle_of(&json!({})), "");
    }

    #[test]
    fn where_it_is_reached() {
        let url = |text: &str| Reached::Url(text.parse().unwrap());
        for (reached, name, to) in [
            (url("https://127.0.0.1:9443"), "127.0.0.1", json!("https://127.0.0.1:9443/review")),
            (url("https://[::1]:9443/"), "::1", json!("https://[::1]:9443/review")),
            (
                url("https://hooks.example.org"),
                "hooks.example.org",
                json!("https://hooks.example.org/review"),
            ),
        ] {
            assert_eq!(reached.names("n"), [name.to_owned()].into());
            assert_eq!(reached.client("n", "")["url"], to);
        }
        let service = Reached::Service { name: "s".into(), port: 443 };
        assert_eq!(service.names("n"), ["s.n.svc".to_owned()].into());
    }
}
