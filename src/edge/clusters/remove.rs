//! Taking a cluster out of the fleet, and on its own side what registering made there.

use super::hub::Hub;
use super::{PATIENCE, POLL, delete, plural_of};
use crate::access::{Account, CLAIM_ROLE, SPOKE_ROLE, warnings};
use crate::api::Object;
use crate::api::keys::hub as keys;
use crate::edge::{Connection, Failure, Sort};
use crate::hub::resources;
use kube::core::ApiResource;
use serde_json::json;
use std::time::{Duration, Instant};

/// What happens to what runs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    Keep,
    Delete,
}

/// Deletes the Secret, then the Cluster, and waits until it is gone. Returns how long that took.
///
/// # Errors
/// What could not be done; or it is not gone after a minute, with what the Cluster says.
pub async fn remove(hub: &Hub, cluster: &Object, leaving: Leaving) -> Result<Duration, Failure> {
    let (client, name) = (&hub.connection, cluster.name());
    let policy = match leaving {
        Leaving::Keep => "Orphan",
        Leaving::Delete => "Delete",
    };
    let patch = json!({"metadata": {"uid": cluster.uid()}, "spec": {"onDeregister": policy}});
    let clusters = resources::clusters();
    let what = format!("patch Cluster {name}");
    client.within(&what, client.verbs().at(&clusters, "", name).merge_patch(&patch)).await?;
    let (namespace, secret) = (
        cluster.str_at("/spec/credentials/secretRef/namespace"),
        cluster.str_at("/spec/credentials/secretRef/name"),
    );
    // With contact needed to delete what runs there, the credentials go last.
    let found = if secret.is_empty() { None } else { hub.secret(namespace, secret).await? };
    let early = found.as_ref().filter(|_| leaving == Leaving::Keep);
    if let Some(secret) = early {
        delete(client, &secret.0).await?;
    }
    delete(client, &cluster.0).await?;
    if leaving == Leaving::Delete
        && let Some(secret) = &found
    {
        unlabel(client, secret).await?;
    }
    let start = Instant::now();
    while let Some(left) = hub.cluster(name).await?.filter(|left| left.uid() == cluster.uid()) {
        if start.elapsed() > PATIENCE {
            let status = super::hub::status_of(&left);
            let said = status
                .conditions
                .iter()
                .find(|c| c.type_ == "Ready")
                .map(|c| format!("{}: {}", c.reason, c.message));
            return Err(Failure::usage(format!(
                "Cluster {name} is still there after {} s: {}",
                PATIENCE.as_secs(),
                said.unwrap_or_else(|| "the controller says nothing of it; kro-hub check".into())
            )));
        }
        tokio::time::sleep(POLL).await;
    }
    if leaving == Leaving::Delete
        && let Some(secret) = &found
    {
        delete(client, &secret.0).await?;
    }
    Ok(start.elapsed())
}

/// A labelled Secret makes its Cluster again.
async fn unlabel(client: &Connection, secret: &Object) -> Result<(), Failure> {
    let labels: serde_json::Map<String, serde_json::Value> =
        keys::CLUSTER_LABELS.iter().map(|label| ((*label).to_owned(), json!(null))).collect();
    let (resource, what) = (resources::secrets(), format!("patch Secret {}", secret.name()));
    let at = client.verbs().at(&resource, secret.namespace(), secret.name());
    client.within(&what, at.merge_patch(&json!({"metadata": {"labels": labels}}))).await.map(drop)
}

/// A kind of the API machinery, in `v1`.
fn of(group: &str, kind: &str) -> ApiResource {
    ApiResource {
        group: group.into(),
        version: "v1".into(),
        api_version: if group.is_empty() { "v1".into() } else { format!("{group}/v1") },
        kind: kind.into(),
        plural: plural_of(kind),
    }
}

/// What warns of edits. What is left there is nobody's to keep, so nobody is to be warned.
fn of_warnings() -> [(ApiResource, &'static str, &'static str); 2] {
    ["ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"]
        .map(|kind| (of(warnings::ADMISSION, kind), "", warnings::POLICY))
}

/// Deletes what warns of edits alone. Returns whether it was there.
///
/// # Errors
/// It could not be deleted.
pub async fn unwarn(spoke: &Connection) -> Result<bool, Failure> {
    let mut there = false;
    for (resource, _, name) in of_warnings() {
        let found = match spoke.get(&resource, "", name).await {
            Err(failure) if failure.sort == Sort::NotServed => None,
            found => found?,
        };
        if let Some(found) = found {
            delete(spoke, &found.0).await?;
            there = true;
        }
    }
    Ok(there)
}

/// Deletes what registering made on a spoke: what warns of edits, roles, account, tokens, and the claim where it is this hub's. Returns their names.
///
/// # Errors
/// What could not be deleted.
pub async fn clean(
    spoke: &Connection,
    account: &Account,
    hub_id: Option<&str>,
) -> Result<Vec<String>, Failure> {
    let rbac = |kind: &str| of("rbac.authorization.k8s.io", kind);
    let core = |kind: &str| of("", kind);
    let system = keys::CLAIM_NAMESPACE;
    let made = [
        (rbac("ClusterRoleBinding"), "", SPOKE_ROLE),
        (rbac("ClusterRoleBinding"), "", "kro-hub-admin"),
        (rbac("ClusterRole"), "", SPOKE_ROLE),
        (rbac("ClusterRole"), "", "kro-hub-admin"),
        (rbac("RoleBinding"), system, CLAIM_ROLE),
        (rbac("Role"), system, CLAIM_ROLE),
        (core("ConfigMap"), system, keys::CLAIM_CONFIGMAP),
        (core("ServiceAccount"), account.namespace.as_str(), account.name.as_str()),
        (core("Namespace"), "", account.namespace.as_str()),
    ];
    let mut gone = Vec::new();
    for (resource, namespace, name) in of_warnings().into_iter().chain(made) {
        let found = match spoke.get(&resource, namespace, name).await {
            Err(failure) if failure.sort == Sort::NotServed => None,
            found => found?,
        };
        let Some(found) = found else { continue };
        let of_another = resource.kind == "ConfigMap" && hub_id != Some(found.str_at("/data/hub-id"));
        // A namespace that somebody else made may hold more.
        let (key, value) = crate::access::register::MADE_BY;
        let foreign = resource.kind == "Namespace" && found.label(key) != Some(value);
        if of_another || foreign {
            continue;
        }
        delete(spoke, &found.0).await?;
        let place = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        gone.push(format!("{} {place}{name}", resource.kind));
    }
    Ok(gone)
}
