//! Who this hub is, and which cluster it stands on.

use super::resources::{config_maps, namespaces};
use crate::api::Object;
use crate::api::cluster::ClusterSpec;
use crate::api::keys::hub;
use crate::api::names::HubId;
use crate::api::text;
use crate::spoke::client::{ApiError, HubClient, Verbs};
use crate::spoke::host::AnyHost;
use serde_json::{Value, json};

/// What a cluster says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterInfo {
    /// ClusterProperty `cluster.clusterset.k8s.io`, else the uid of namespace kube-system.
    pub id: String,
    /// The uid of kube-system; empty where that may not be read.
    pub system_uid: String,
    /// `v1.37.2`.
    pub version: String,
}

/// Major and minor of a version, whatever a vendor wrote behind them.
pub fn version_numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').splitn(3, '.');
    let mut number = || {
        let part = parts.next()?;
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part.get(..end)?.parse().ok()
    };
    Some((number()?, number()?))
}

impl ClusterInfo {
    /// Major and minor of the version, whatever a vendor wrote behind them.
    pub fn version_numbers(&self) -> Option<(u32, u32)> {
        version_numbers(&self.version)
    }

    /// What `kro.cluster` is in expressions; `None` while the cluster did not say all of it.
    pub fn facts(&self, cluster: &Object, spec: &ClusterSpec) -> Option<Value> {
        let (major, minor) = self.version_numbers()?;
        (!self.id.is_empty()).then(|| {
            json!({
                "name": cluster.name(),
                "id": self.id,
                "labels": cluster.labels(),
                "properties": spec.properties,
                "version": {"major": major, "minor": minor},
            })
        })
    }

    /// Whether both are one cluster.
    pub fn is_same(&self, other: &Self) -> bool {
        let equal = |a: &str, b: &str| !a.is_empty() && a == b;
        equal(&self.id, &other.id) || equal(&self.system_uid, &other.system_uid)
    }
}

/// Why it is not known who a cluster is, or whose.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("the credentials lack the right to {right}; grant it to their user there ({said})")]
    Right { right: &'static str, said: String },
    #[error("{0} on the hub, which says what was left there, cannot be read: {1}")]
    Record(String, ApiError),
}

impl AskError {
    /// Whether the error says nothing but that there was no contact.
    pub fn is_contact_problem(&self) -> bool {
        matches!(self, Self::Api(error) if error.is_contact_problem())
    }
}

/// Names the right that a refused request needs.
fn needs(right: &'static str) -> impl Fn(ApiError) -> AskError {
    move |error| match error {
        ApiError::Forbidden { message } => AskError::Right { right, said: text::cut(&message, 300) },
        error => AskError::Api(error),
    }
}

const GET_VERSION: &str = "get the path /version";
const GET_SYSTEM: &str = "get namespace kube-system";
const GET_CLAIM: &str = "get ConfigMap kube-system/kro-hub-claim";
const CREATE_CLAIM: &str = "create ConfigMap kube-system/kro-hub-claim";

/// Reads the identity of the cluster behind a client.
///
/// # Errors
/// The cluster could not be asked, or may not be.
pub async fn of_cluster(client: &Verbs) -> Result<ClusterInfo, AskError> {
    let (mut named, mut hidden) = (None, false);
    for api in ["v1beta1", "v1alpha1"] {
        let path = format!("/apis/about.k8s.io/{api}/clusterproperties/cluster.clusterset.k8s.io");
        // Where the API is not served, some clusters answer 403 to those who may not see everything.
        let property = match client.get_json(&path).await {
            Ok(found) => found,
            Err(ApiError::Forbidden { .. }) => None,
            // That group alone may be dead; whether the cluster is, its own namespace tells.
            Err(
                ApiError::Unavailable { .. } | ApiError::GroupUnavailable { .. } | ApiError::Other { .. },
            ) => {
                hidden = true;
                None
            }
            Err(error) => return Err(error.into()),
        };
        let id = property.as_ref().and_then(|p| p.pointer("/spec/value")).and_then(Value::as_str);
        named = id.filter(|id| !id.is_empty()).map(str::to_owned);
        if named.is_some() {
            break;
        }
    }
    let system = match client.at(&namespaces(), "", "kube-system").get().await {
        Err(ApiError::Forbidden { .. }) if named.is_some() => None,
        found => found.map_err(needs(GET_SYSTEM))?,
    };
    let uid = system.as_ref().and_then(|s| s.pointer("/metadata/uid")).and_then(Value::as_str);
    let system_uid = uid.unwrap_or_default().to_owned();
    // Last: a cluster that may not say who it is answers nothing else, and that right is the one to name.
    let version = client.get_json("/version").await.map_err(needs(GET_VERSION))?.unwrap_or_default();
    let version = version.get("gitVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    match named.or_else(|| uid.map(str::to_owned)) {
        Some(id) => Ok(ClusterInfo { id, system_uid, version }),
        None if hidden => {
            Err(ApiError::Unavailable { message: "the API group about.k8s.io does not answer".into() }.into())
        }
        None => {
            let message = "namespace kube-system is missing or has no uid".into();
            Err(ApiError::Other { code: 404, message }.into())
        }
    }
}

/// Whose a cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    Ours,
    /// Of the hub with this id.
    Other(String),
}

/// Reads the claim on a spoke, and writes ours where there is none.
///
/// # Errors
/// The cluster could not be asked, or may not be.
pub async fn claim(client: &Verbs, hub_id: &HubId) -> Result<Claim, AskError> {
    let (resource, namespace, name) = (config_maps(), hub::CLAIM_NAMESPACE, hub::CLAIM_CONFIGMAP);
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {hub::HUB_ID: hub_id.as_str()}},
        "data": {"hub-id": hub_id.as_str()}});
    let read = || async { client.at(&resource, namespace, name).get().await.map_err(needs(GET_CLAIM)) };
    let found = match read().await? {
        Some(found) => found,
        None => match client.create(&resource, namespace, &body).await {
            Ok(created) => created,
            Err(ApiError::AlreadyExists) => read().await?.unwrap_or_default(),
            Err(error) => return Err(needs(CREATE_CLAIM)(error)),
        },
    };
    Ok(owner_of(&found, hub_id))
}

/// Reads the claim on a spoke that was claimed before. Where it is missing nobody else says that it is his.
///
/// # Errors
/// The cluster could not be asked, or may not be.
pub async fn claim_of(client: &Verbs, hub_id: &HubId) -> Result<Claim, AskError> {
    let found = client.at(&config_maps(), hub::CLAIM_NAMESPACE, hub::CLAIM_CONFIGMAP).get().await;
    let found = found.map_err(needs(GET_CLAIM))?;
    Ok(found.map_or(Claim::Ours, |f| owner_of(&f, hub_id)))
}

fn owner_of(claim: &Value, hub_id: &HubId) -> Claim {
    let owner = claim.pointer("/data/hub-id").and_then(Value::as_str).unwrap_or_default();
    if owner == hub_id.as_str() { Claim::Ours } else { Claim::Other(owner.to_owned()) }
}

/// The id of this hub: what the flag says, else what the ConfigMap `kro-hub-id` says, else a new random one, kept there. And
/// whether it is new: then no controller ever wrote anything for this hub.
///
/// # Errors
/// The hub could not be asked; or the flag contradicts the ConfigMap.
pub async fn of_hub(
    client: &HubClient,
    namespace: &str,
    wanted: Option<&str>,
) -> Result<(HubId, bool), IdentityError> {
    let (resource, name) = (config_maps(), hub::HUB_ID_CONFIGMAP);
    if let Some(found) = client.at(&resource, namespace, name).get().await? {
        let id = found.pointer("/data/id").and_then(Value::as_str).unwrap_or_default().to_owned();
        return match wanted {
            Some(wanted) if wanted != id => Err(IdentityError::Contradiction {
                namespace: namespace.to_owned(),
                found: id,
                wanted: wanted.to_owned(),
            }),
            _ if id.is_empty() => Err(IdentityError::Empty { namespace: namespace.to_owned() }),
            _ => Ok((HubId::new(&id), false)),
        };
    }
    let id = wanted.map_or_else(|| random_id(client.host()), str::to_owned);
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace}, "data": {"id": id}});
    client.create(&resource, namespace, &body).await?;
    tracing::info!(id, "this hub has a new id; keep ConfigMap {namespace}/{name} in Git or in a backup");
    Ok((HubId::new(&id), wanted.is_none()))
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(
        "ConfigMap {namespace}/{} has no data.id; write the id of this hub there, or delete it",
        hub::HUB_ID_CONFIGMAP
    )]
    Empty { namespace: String },
    #[error(
        "--hub-id is {wanted:?}, but ConfigMap {namespace}/{} says {found:?}; another id would make this hub a stranger to its own spokes. Drop the flag, or change the ConfigMap on purpose",
        hub::HUB_ID_CONFIGMAP
    )]
    Contradiction { namespace: String, found: String, wanted: String },
}

/// 16 hex digits.
pub fn random_id(host: &AnyHost) -> String {
    format!("{:016x}", host.random())
}

#[cfg(test)]
mod tests {
    use super::ClusterInfo;

    #[test]
    fn vendors_write_more_behind_the_numbers() {
        let cases = [
            ("v1.33.2", Some((1, 33))),
            ("v1.27+", Some((1, 27))),
            ("v1.31.4+k3s1", Some((1, 31))),
            ("v1.32.1-gke.1729000", Some((1, 32))),
            ("v1", None),
            ("", None),
        ];
        for (version, want) in cases {
            let info = ClusterInfo { version: version.into(), ..ClusterInfo::default() };
            assert_eq!(info.version_numbers(), want, "{version}");
        }
    }

    #[test]
    fn ids_differ_and_are_label_values() {
        let host: crate::spoke::host::AnyHost = std::sync::Arc::new(crate::spoke::host::ThisHost);
        let (a, b) = (super::random_id(&host), super::random_id(&host));
        assert!(a != b && a.len() == 16 && a.chars().all(|c| c.is_ascii_hexdigit()));
    }
}
