//! The generated CRD on a spoke: brought there before the first mirror, changed only where that breaks nothing, never
//! taken from somebody else, never deleted.

use super::client::{ApiError, SpokeClient};
use crate::api::Object;
use crate::api::hash;
use crate::api::keys::hub;
use crate::api::names::HubId;
use crate::graph::Graph;
use crate::reconcile::world::CrdState;
use crate::schema::{compat, crd};
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::time::Duration;

/// On a CRD that this hub wrote: the kind, so that a watch of names alone can tell it.
pub const KIND_ANNOTATION: &str = "hub.kro.run/kind";

const ESTABLISH_POLL: Duration = Duration::from_millis(100);
const ESTABLISH_POLLS: u32 = 300;

pub fn crd_resource() -> ApiResource {
    ApiResource {
        group: "apiextensions.k8s.io".into(),
        version: "v1".into(),
        api_version: "apiextensions.k8s.io/v1".into(),
        kind: "CustomResourceDefinition".into(),
        plural: "customresourcedefinitions".into(),
    }
}

/// Makes the cluster serve the graph's kind. Trouble with contact leaves the state unknown, so that it is tried again.
pub async fn ensure(
    client: &SpokeClient,
    graph: &Graph,
    hub_id: &HubId,
    allow_breaking: bool,
    may_write: &(dyn Fn() -> bool + Send + Sync),
) -> CrdState {
    match try_ensure(client, graph, hub_id, allow_breaking, may_write).await {
        Ok(state) => state,
        Err(error) => {
            tracing::warn!(cluster = client.cluster(), kind = %graph.gvk, %error, "ensuring the CRD failed");
            tokio::time::sleep(Duration::from_secs(2)).await;
            if error.is_contact_problem() {
                CrdState::Unknown
            } else {
                CrdState::Refused {
                    reason: "CRDNotReady",
                    message: format!("CustomResourceDefinition: {error}"),
                }
            }
        }
    }
}

async fn try_ensure(
    client: &SpokeClient,
    graph: &Graph,
    hub_id: &HubId,
    allow_breaking: bool,
    may_write: &(dyn Fn() -> bool + Send + Sync),
) -> Result<CrdState, ApiError> {
    let resource = crd_resource();
    let mut wanted = crd::for_spoke(&graph.crd, hub_id);
    wanted["metadata"]["annotations"][KIND_ANNOTATION] = json!(*graph.gvk.kind);
    let name = Object(wanted.clone()).name().to_owned();
    let ready = CrdState::Ready { hash: hash::json_hex(&graph.crd), generation: graph.generation };
    let found = client.get(&resource, "", &name).await?;
    if let Some(live) = &found {
        let live = Object(live.clone());
        if live.label(hub::HUB_ID) != Some(hub_id.as_str()) {
            let owner = live.label(hub::HUB_ID).map_or_else(
                || "somebody on that cluster (it does not carry this hub's label; upstream kro may run there)".to_owned(),
                |id| format!("another hub ({id})"),
            );
            let message = format!(
                "CustomResourceDefinition {name} exists and belongs to {owner}; it is not taken over"
            );
            return Ok(CrdState::Refused { reason: "Conflict", message });
        }
        if live.is_deleting() {
            return Ok(CrdState::Unknown);
        }
        let changes = compat::compare(&live.0, &wanted);
        if changes.is_empty() && is_established(&live.0) {
            return Ok(ready);
        }
        if let Some(message) = compat::refusal(&name, &changes).filter(|_| !allow_breaking) {
            return Ok(CrdState::Refused { reason: "Incompatible", message });
        }
    }
    if !may_write() {
        return Ok(CrdState::Unknown);
    }
    let mut live = client.apply(&resource, "", &name, hub::MANAGER, &wanted).await?;
    for _ in 0..ESTABLISH_POLLS {
        if is_established(&live) {
            return Ok(ready);
        }
        tokio::time::sleep(ESTABLISH_POLL).await;
        live = client.get(&resource, "", &name).await?.unwrap_or_default();
        if let Some(why) = names_refused(&live) {
            let message = format!("CustomResourceDefinition {name}: {why}");
            return Ok(CrdState::Refused { reason: "Conflict", message });
        }
    }
    let message = format!("CustomResourceDefinition {name} did not become Established within 30 s");
    Ok(CrdState::Refused { reason: "CRDNotReady", message })
}

/// Whether the API server serves the kind.
pub fn is_established(crd: &Value) -> bool {
    condition(crd, "Established").is_some_and(|c| c.get("status").and_then(Value::as_str) == Some("True"))
}

/// Why the API server does not accept the names, if it does not.
pub fn names_refused(crd: &Value) -> Option<String> {
    let accepted = condition(crd, "NamesAccepted")?;
    (accepted.get("status").and_then(Value::as_str) == Some("False"))
        .then(|| accepted.get("message").and_then(Value::as_str).unwrap_or("names not accepted").to_owned())
}

fn condition<'a>(crd: &'a Value, type_: &str) -> Option<&'a Value> {
    let list = crd.pointer("/status/conditions")?.as_array()?;
    list.iter().find(|c| c.get("type").and_then(Value::as_str) == Some(type_))
}
