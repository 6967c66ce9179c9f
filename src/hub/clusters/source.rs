//! From a Cluster and its Secret to a way to reach it, or to the reason why there is none.

use crate::api::Object;
use crate::api::cluster::{ClusterSpec, SecretRef};
use crate::api::keys;
use crate::spoke::kubeconfig::{self, Endpoint, Policy};
use base64::Engine;
use serde_json::Value;
use std::fmt::Display;

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub enum Source {
    /// The hub itself.
    Local,
    Remote(Box<Endpoint>),
}

impl Source {
    /// Changes when the cluster has to be connected anew: other credentials, or another limit.
    pub fn fingerprint(&self, in_flight: Option<u32>) -> ([u8; 32], Option<u32>) {
        let way = match self {
            Self::Local => [0; 32],
            Self::Remote(endpoint) => endpoint.fingerprint(),
        };
        (way, in_flight)
    }
}

/// Why a cluster is not used, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    InvalidSpec,
    NamespaceNotAllowed,
    SecretMissing,
    KeyMissing,
    KubeconfigRefused,
    ClaimedByAnotherHub,
    /// Another Cluster stands for it.
    DuplicateCluster,
    IdentityChanged,
    Paused,
}

impl Reason {
    /// As the condition says it.
    pub fn text(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::NamespaceNotAllowed => "NamespaceNotAllowed",
            Self::SecretMissing => "SecretMissing",
            Self::KeyMissing => "KeyMissing",
            Self::KubeconfigRefused => "KubeconfigRefused",
            Self::ClaimedByAnotherHub => "ClaimedByAnotherHub",
            Self::DuplicateCluster => "DuplicateCluster",
            Self::IdentityChanged => "IdentityChanged",
            Self::Paused => "Paused",
        }
    }

    pub fn concern(self) -> Concern {
        match self {
            Self::InvalidSpec
            | Self::NamespaceNotAllowed
            | Self::SecretMissing
            | Self::KeyMissing
            | Self::KubeconfigRefused => Concern::Credentials,
            Self::ClaimedByAnotherHub => Concern::Claim,
            Self::DuplicateCluster | Self::IdentityChanged | Self::Paused => Concern::Cluster,
        }
    }
}

/// What a reason says something of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    Credentials,
    Claim,
    /// Nothing is wrong with either; the cluster as a whole is not used.
    Cluster,
}

/// Why a cluster is not used: in a word, and in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub reason: Reason,
    pub message: String,
}

impl Blocked {
    pub fn new(reason: Reason, message: String) -> Self {
        Self { reason, message }
    }
}

/// Keys of a Secret that hold a kubeconfig, in the order they are tried.
const KEYS: [&str; 2] = ["kubeconfig", "value"];

/// Decides how to reach a cluster. `secret` is looked up by the reference; `namespaces` are those that Secrets may be in.
///
/// # Errors
/// What is missing or refused.
pub fn of(
    spec: &ClusterSpec,
    secret: impl Fn(&SecretRef) -> Option<Object>,
    namespaces: &[String],
) -> Result<Source, Blocked> {
    let reference = match (&spec.credentials, spec.local) {
        (None, true) => return Ok(Source::Local),
        (Some(credentials), false) => &credentials.secret_ref,
        (Some(_), true) => {
            let message = "spec: both local and credentials are set; keep one of them".to_owned();
            return Err(Blocked::new(Reason::InvalidSpec, message));
        }
        (None, false) => {
            let message = "spec.credentials is missing; name the kubeconfig Secret in spec.credentials.secretRef, or set \
                           spec.local: true for the hub itself"
                .to_owned();
            return Err(Blocked::new(Reason::InvalidSpec, message));
        }
    };
    let SecretRef { name, namespace, .. } = reference;
    if !namespaces.contains(namespace) {
        let message = format!(
            "spec.credentials.secretRef.namespace: Secrets are read only in {}; move the Secret there, or start the \
             controller with --cluster-namespaces",
            namespaces.join(", ")
        );
        return Err(Blocked::new(Reason::NamespaceNotAllowed, message));
    }
    let Some(found) = secret(reference) else {
        let message = format!("Secret {namespace}/{name} does not exist; nothing on the cluster is changed");
        return Err(Blocked::new(Reason::SecretMissing, message));
    };
    let data = kubeconfig_of(&found, reference.key.as_deref())?;
    let public_roots = found.annotation(keys::hub::PUBLIC_ROOTS) == Some("true");
    let endpoint = kubeconfig::parse(&data, &Policy { public_roots })
        .map_err(|refused| unusable(Some(reference), &refused))?;
    Ok(Source::Remote(Box::new(endpoint)))
}

/// What is wrong with the kubeconfig of a Secret.
pub fn unusable(reference: Option<&SecretRef>, why: &impl Display) -> Blocked {
    let message = match reference {
        Some(SecretRef { name, namespace, .. }) => format!("Secret {namespace}/{name}: {why}"),
        None => why.to_string(),
    };
    Blocked::new(Reason::KubeconfigRefused, message)
}

fn kubeconfig_of(secret: &Object, key: Option<&str>) -> Result<Vec<u8>, Blocked> {
    let place = format!("Secret {}/{}", secret.namespace(), secret.name());
    let chosen = key.or_else(|| secret.annotation(keys::hub::KEY));
    let keys: Vec<&str> = match chosen {
        Some(key) => vec![key],
        None => KEYS.to_vec(),
    };
    let found = keys.iter().find_map(|k| secret.0.get("data")?.get(*k).and_then(Value::as_str));
    let Some(text) = found else {
        let message = format!(
            "{place} has no key {}; store the kubeconfig there, or name its key in the annotation {}",
            keys.join(" or "),
            keys::hub::KEY
        );
        return Err(Blocked::new(Reason::KeyMissing, message));
    };
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|_| Blocked::new(Reason::KeyMissing, format!("{place}: the value is not base64")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cluster::Credentials;
    use serde_json::json;

    const KUBECONFIG: &str = "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n\
        clusters: [{name: k, cluster: {server: 'https://h', certificate-authority-data: Y2E=}}]\nusers: [{name: u, user: {token: sesame}}]\n";

    fn spec() -> ClusterSpec {
        let secret_ref = SecretRef { name: "eu".into(), namespace: "kro-hub".into(), key: None };
        ClusterSpec { credentials: Some(Credentials { secret_ref }), ..ClusterSpec::default() }
    }
    fn secret(key: &str, text: &str) -> Object {
        let data = base64::engine::general_purpose::STANDARD.encode(text);
        Object(json!({"metadata": {"name": "eu", "namespace": "kro-hub"}, "data": {key: data}}))
    }
    fn decide(spec: &ClusterSpec, secret: Option<Object>) -> Result<Source, Blocked> {
        of(spec, |_| secret.clone(), &["kro-hub".to_owned()])
    }

    #[test]
    fn a_good_secret_is_a_way_in() {
        assert!(matches!(decide(&spec(), Some(secret("kubeconfig", KUBECONFIG))), Ok(Source::Remote(_))));
        assert!(matches!(decide(&spec(), Some(secret("value", KUBECONFIG))), Ok(Source::Remote(_))));
        let mut other = secret("mine", KUBECONFIG);
        other.0["metadata"]["annotations"] = json!({"hub.kro.run/key": "mine"});
        assert!(matches!(decide(&spec(), Some(other)), Ok(Source::Remote(_))));
        let local = ClusterSpec { local: true, ..ClusterSpec::default() };
        assert!(matches!(decide(&local, None), Ok(Source::Local)));
    }

    #[test]
    fn another_limit_is_another_connection() {
        let source = Source::Local;
        assert_eq!(source.fingerprint(Some(8)), source.fingerprint(Some(8)));
        assert_ne!(source.fingerprint(Some(8)), source.fingerprint(None));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let both = ClusterSpec { local: true, ..spec() };
        let mut elsewhere = spec();
        if let Some(c) = &mut elsewhere.credentials {
            c.secret_ref.namespace = "kube-system".into();
        }
        let exec = KUBECONFIG.replace("token: sesame", "exec: {command: rm}");
        let cases = [
            (decide(&spec(), None), Reason::SecretMissing, "kro-hub/eu"),
            (decide(&both, None), Reason::InvalidSpec, "both"),
            (decide(&ClusterSpec::default(), None), Reason::InvalidSpec, "secretRef"),
            (decide(&elsewhere, None), Reason::NamespaceNotAllowed, "--cluster-namespaces"),
            (decide(&spec(), Some(secret("other", "x"))), Reason::KeyMissing, "kubeconfig or value"),
            (decide(&spec(), Some(secret("value", &exec))), Reason::KubeconfigRefused, "users[0].user.exec"),
        ];
        for (got, reason, part) in cases {
            let blocked = got.expect_err(reason.text());
            assert_eq!(blocked.reason, reason);
            assert!(blocked.message.contains(part), "{}", blocked.message);
            assert!(!blocked.message.contains("sesame"));
        }
    }
}
