//! What commands about clusters say for programs.

use super::document::View;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// The clusters of a hub, with where each is and how old its credentials are.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClusterList {
    pub clusters: Vec<ListedCluster>,
}

impl View for ClusterList {
    const KIND: &'static str = "ClusterList";
}

/// One cluster of a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ListedCluster {
    pub name: String,
    /// `True`, `False` or `Unknown`; null while the hub has not said.
    pub ready: Option<String>,
    pub reason: Option<String>,
    pub message: Option<String>,
    /// Of its Kubernetes.
    pub version: String,
    pub instances: i64,
    /// Null where the Secret may not be read, or holds no kubeconfig.
    pub address: Option<String>,
    pub credential: Credential,
}

/// What the hub shows of a credential.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    #[serde(rename = "type")]
    pub type_: String,
    pub issued_at: Option<String>,
    pub expires_at: Option<String>,
}

/// What clusters say of themselves, and no file of a repository can.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Facts {
    pub clusters: BTreeMap<String, Fact>,
}

impl View for Facts {
    const KIND: &'static str = "Facts";
}

/// The facts of one cluster.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Fact {
    pub id: String,
    /// Of its Kubernetes.
    pub version: String,
}

#[cfg(test)]
mod tests {
    use super::super::schemas;
    use super::*;

    #[test]
    fn documents_fit_their_schemas() {
        let credential = Credential {
            type_: "Token".into(),
            issued_at: None,
            expires_at: Some("2026-01-01T00:00:00Z".into()),
        };
        let cluster = ListedCluster {
            name: "eu".into(),
            ready: Some("True".into()),
            reason: None,
            message: None,
            version: "v1.37.2".into(),
            instances: 3,
            address: None,
            credential,
        };
        assert_eq!(schemas::wrong(&ClusterList { clusters: vec![cluster] }), Vec::<String>::new());
        let fact = Fact { id: "a".into(), version: "v1.37.2".into() };
        let facts = Facts { clusters: [("eu".to_owned(), fact)].into() };
        assert_eq!(schemas::wrong(&facts), Vec::<String>::new());
        assert!(facts.yaml().contains("kind: Facts\n"), "{}", facts.yaml());
    }
}
