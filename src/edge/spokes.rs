//! A way to one registered cluster, with the person's own rights or with those of the hub. Whoever answers is believed only if
//! it is the cluster that is registered.

use super::connection::Connection;
use super::failure::{Failure, Sort};
use super::hub::Hub;
use super::person::Person;
use crate::api::Object;
use crate::api::cluster::{Cluster, SecretRef};
use crate::api::names::ClusterName;
use crate::hub::clusters::source;
use crate::hub::resources;
use crate::metrics::Metrics;
use crate::spoke::client::{ClientSettings, DEFAULT_IN_FLIGHT, SpokeClient};
use crate::spoke::host::ThisHost;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// By which ways clusters may be read.
#[derive(Clone, Debug, Default)]
pub struct Ways {
    /// The person's contexts.
    pub contexts: bool,
    /// Contexts of clusters that are named otherwise.
    pub named: BTreeMap<String, String>,
    /// The Secrets that the hub has of them.
    pub hub_credentials: bool,
}

/// How a cluster was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Context,
    HubCredentials,
    /// It is the hub itself.
    Hub,
}

/// Reaches a cluster.
///
/// # Errors
/// Nothing leads there, or another cluster answers.
pub async fn reach(
    person: &Person,
    hub: &Hub,
    cluster: &Object,
    ways: &Ways,
) -> Result<(Connection, Way), Failure> {
    let name = cluster.name();
    let read: Cluster = serde_json::from_value(cluster.0.clone())
        .map_err(|e| Failure::new(Sort::Other, format!("Cluster {name} cannot be read"), &e))?;
    if read.spec.local {
        return Ok((hub.connection.clone(), Way::Hub));
    }
    let registered = read.status.as_ref().map(|s| s.kube_system_uid.as_str()).unwrap_or_default();
    if ways.hub_credentials {
        let connection = with_credentials(hub, name, &read).await?;
        return is_it(&connection, name, registered).await.map(|()| (connection, Way::HubCredentials));
    }
    let context = ways.named.get(name).map_or(name, String::as_str);
    if !ways.contexts || (!ways.named.contains_key(name) && !person.has_context(name)) {
        return Err(Failure::usage(format!(
            "no context of yours is named {name}; --spoke-context {name}=CONTEXT names one"
        )));
    }
    let connection = person.connect(context).await?;
    is_it(&connection, name, registered).await.map(|()| (connection, Way::Context))
}

/// # Errors
/// It is another cluster, or that cannot be told.
async fn is_it(connection: &Connection, name: &str, registered: &str) -> Result<(), Failure> {
    let found = connection.system_uid().await?.unwrap_or_default();
    if registered.is_empty() {
        let text = format!("Cluster {name} does not say yet which cluster it is (status.kubeSystemUID)");
        return Err(Failure::usage(text));
    }
    if found == registered {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} leads to another cluster than Cluster {name}: its kube-system is {found}, registered is {registered}",
        connection.name
    )))
}

async fn with_credentials(hub: &Hub, name: &str, cluster: &Cluster) -> Result<Connection, Failure> {
    let reference: Option<&SecretRef> = cluster.spec.credentials.as_ref().map(|c| &c.secret_ref);
    let (namespace, secret) = match reference {
        Some(reference) => {
            let SecretRef { name, namespace, .. } = reference;
            (namespace.clone(), hub.connection.get(&resources::secrets(), namespace, name).await?)
        }
        None => (String::new(), None),
    };
    // Where Secrets may be is the controller's affair; the person has just read this one.
    let found = source::of(&cluster.spec, |_| secret.clone(), &[namespace]);
    let endpoint = match found {
        Ok(source::Source::Remote(endpoint)) => endpoint,
        Ok(source::Source::Local) => return Ok(hub.connection.clone()),
        Err(blocked) => {
            return Err(Failure::usage(format!("{name}: {}: {}", blocked.reason.text(), blocked.message)));
        }
    };
    // Nobody listens how contact goes.
    let (contacts, _) = mpsc::unbounded_channel();
    let settings = ClientSettings {
        cluster: ClusterName::new(name),
        in_flight: DEFAULT_IN_FLIGHT,
        metrics: Metrics::default(),
        contacts,
    };
    let client = SpokeClient::new(&endpoint, settings, Arc::new(ThisHost))
        .map_err(|e| Failure::new(Sort::Usage, format!("the hub's credentials of {name}: {e}"), &e))?;
    Ok(Connection::new(name, endpoint.server(), "default", (*client).clone(), hub.connection.timeout()))
}
