//! A new token for the hub: made, tried, swapped, and the old ones deleted once the controller uses it.

use super::add::try_it;
use super::hub::Hub;
use super::token::{self, TokenKind};
use super::{apply, delete};
use crate::access::Account;
use crate::access::register::{self, Way};
use crate::api::Object;
use crate::api::keys::hub as keys;
use crate::api::names::ClusterName;
use crate::edge::{Connection, Failure};
use crate::metrics::Metrics;
use crate::spoke::client::{ClientSettings, SpokeClient};
use crate::spoke::host::ThisHost;
use crate::spoke::kubeconfig::{self, Endpoint, Policy};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Gives the hub a new token of the account on its spoke. Returns the names of the tokens that were deleted.
///
/// # Errors
/// Whatever fails; until the controller has connected by the new one, the old one stays.
pub async fn rotate(
    hub: &Hub,
    spoke: &Connection,
    cluster: &Object,
    account: &Account,
    kind: TokenKind,
) -> Result<Vec<String>, Failure> {
    let name = cluster.name();
    let (namespace, secret) = (
        cluster.str_at("/spec/credentials/secretRef/namespace"),
        cluster.str_at("/spec/credentials/secretRef/name"),
    );
    let (known, uid) =
        (cluster.str_at("/status/kubeSystemUID"), spoke.system_uid().await?.unwrap_or_default());
    if !known.is_empty() && known != uid {
        return Err(Failure::usage(format!(
            "context {} is another cluster than Cluster {name} (kube-system {uid}, not {known}); give its own context",
            spoke.name
        )));
    }
    let Some(found) = hub.secret(namespace, secret).await? else {
        return Err(Failure::usage(format!(
            "Secret {namespace}/{secret} of Cluster {name} is not there; kro-hub cluster add {name} --context {} makes it",
            spoke.name
        )));
    };
    let key = key_of(cluster, &found);
    let way = way_of(&found, &key)?;
    let id = cluster.str_at("/status/clusterID").to_owned();
    let token = token::get(spoke, account, kind, true).await?;
    let text = register::kubeconfig(&way, &token.text);
    if let Err(why) = try_it(&text, &way, if id.is_empty() { &uid } else { &id }).await? {
        eprintln!("warning: the new token is not tried: {why}");
    }
    let mut written = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": secret, "namespace": namespace}, "data": {}});
    written["data"][&key] = json!(STANDARD.encode(&text));
    let before = super::hub::status_of(cluster).credentials;
    apply(&hub.connection, &written).await?;
    hub.wait_ready(name, before.as_ref()).await?;
    let mut gone = Vec::new();
    for old in token::held(spoke, account).await? {
        if Some(old.name()) != token.secret.as_deref() {
            delete(spoke, &old.0).await?;
            gone.push(old.name().to_owned());
        }
    }
    Ok(gone)
}

/// What the kubeconfig in a Secret says, as the hub reads it.
fn endpoint_of(secret: &Object, key: &str) -> Result<Endpoint, Failure> {
    let place = format!("Secret {}/{}", secret.namespace(), secret.name());
    let bytes =
        secret.0.pointer("/data").and_then(|d| d.get(key)?.as_str()).and_then(|t| STANDARD.decode(t).ok());
    let public_roots = secret.annotation(keys::PUBLIC_ROOTS) == Some("true");
    kubeconfig::parse(&bytes.unwrap_or_default(), &Policy { public_roots })
        .map_err(|refused| Failure::usage(format!("{place}: {refused}")))
}

/// How the present kubeconfig reaches the cluster.
fn way_of(secret: &Object, key: &str) -> Result<Way, Failure> {
    let endpoint = endpoint_of(secret, key)?;
    Ok(Way {
        server: endpoint.server().to_owned(),
        authority: endpoint.ca_pem().map(<[u8]>::to_vec),
        tls_server_name: endpoint.tls_server_name().map(str::to_owned),
    })
}

/// The address that a Secret leads to.
pub fn address(secret: &Object) -> Option<String> {
    ["kubeconfig", "value"].iter().find_map(|key| way_of(secret, key).ok()).map(|way| way.server)
}

/// A connection to a cluster as the hub has it: by the Secret of its Cluster, read with the hub's own parser.
///
/// # Errors
/// The Secret may not be read, or is refused.
pub async fn by_secret(hub: &Hub, cluster: &Object, timeout: Duration) -> Result<Connection, Failure> {
    let at = |field: &str| cluster.str_at(&format!("/spec/credentials/secretRef/{field}")).to_owned();
    let (namespace, name) = (at("namespace"), at("name"));
    let Some(secret) = hub.secret(&namespace, &name).await? else {
        return Err(Failure::usage(format!(
            "Secret {namespace}/{name} of Cluster {} is not there",
            cluster.name()
        )));
    };
    let key = key_of(cluster, &secret);
    let endpoint = endpoint_of(&secret, &key)?;
    let (contacts, _unheard) = tokio::sync::mpsc::unbounded_channel();
    let settings = ClientSettings {
        cluster: ClusterName::new(cluster.name()),
        in_flight: 32,
        metrics: Metrics::default(),
        contacts,
    };
    let client = SpokeClient::new(&endpoint, settings, Arc::new(ThisHost))
        .map_err(|error| Failure::usage(format!("Secret {namespace}/{name}: {error}")))?;
    Ok(Connection::new(cluster.name(), endpoint.server(), "", (*client).clone(), timeout))
}

/// Which key of a Secret holds the kubeconfig.
fn key_of(cluster: &Object, secret: &Object) -> String {
    let chosen = cluster.str_at("/spec/credentials/secretRef/key");
    let data = secret.0.pointer("/data");
    [chosen, secret.annotation(keys::KEY).unwrap_or_default(), "kubeconfig", "value"]
        .into_iter()
        .find(|key| !key.is_empty() && data.and_then(|d| d.get(*key)).is_some())
        .unwrap_or("kubeconfig")
        .to_owned()
}
