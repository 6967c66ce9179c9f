//! The generated CRD on a spoke: brought there before the first mirror, changed only where that breaks nothing, never
//! taken from somebody else, never deleted but to be replaced where it is of another API and has no instances.

use super::client::{ApiError, SpokeClient, Verbs};
use crate::api::Object;
use crate::api::keys::hub;
use crate::api::names::HubId;
use crate::graph::Graph;
use crate::reconcile::world::{CrdState, CrdWish};
use crate::schema::compat::{self, Break, Conclusion, Look};
use crate::schema::crd;
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

/// What tells one state of a live CRD from another, as far as we care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub uid: String,
    pub generation: i64,
    pub hub_id: Option<String>,
}

impl Mark {
    fn of(live: &Object) -> Self {
        Self {
            uid: live.uid().to_owned(),
            generation: live.generation(),
            hub_id: live.label(hub::HUB_ID).map(str::to_owned),
        }
    }
}

/// What came of bringing a CRD to a cluster, and the live CRD that this was told from.
#[derive(Clone, Debug)]
pub struct Ensured {
    pub state: CrdState,
    pub judged: Option<Mark>,
    /// A refusal may be over soon: it is no word of the CRD that is there.
    pub soon: bool,
}

/// Contact problems are no state of the CRD; another try follows after this.
const PAUSE: Duration = Duration::from_secs(2);

/// Makes the cluster serve the graph's kind. Trouble with contact leaves the state unknown, so that it is tried again.
pub async fn ensure(client: &SpokeClient, graph: &Graph, hub_id: &HubId, allow_breaking: bool) -> Ensured {
    let mut judged = None;
    let ended = try_ensure(client, graph, hub_id, allow_breaking, &mut judged).await;
    let (reason, message, soon) = match ended {
        Ok(()) => {
            let state = CrdState::Ready { hash: graph.crd_hash() };
            return Ensured { state, judged, soon: false };
        }
        Err(Ended::Refused(reason, message)) => (reason, message, false),
        Err(Ended::Failed(error)) => {
            tracing::warn!(kind = %graph.gvk, %error, "ensuring the CRD failed");
            if error.is_contact_problem() {
                tokio::time::sleep(PAUSE).await;
                return Ensured { state: CrdState::Unknown, judged, soon: false };
            }
            ("CRDNotReady", format!("CustomResourceDefinition: {error}"), true)
        }
    };
    let wish = CrdWish { hash: graph.crd_hash(), allow_breaking };
    Ensured { state: CrdState::Refused { reason, message, wish, retry_at: None }, judged, soon }
}

/// Why the cluster does not serve the kind as wanted.
enum Ended {
    /// Reason and message.
    Refused(&'static str, String),
    Failed(ApiError),
}

impl From<ApiError> for Ended {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

async fn try_ensure(
    client: &SpokeClient,
    graph: &Graph,
    hub_id: &HubId,
    allow_breaking: bool,
    judged: &mut Option<Mark>,
) -> Result<(), Ended> {
    let resource = crd_resource();
    let mut wanted = crd::for_spoke(&graph.crd, hub_id);
    wanted["metadata"]["annotations"][KIND_ANNOTATION] = json!(*graph.gvk.kind);
    let name = Object(wanted.clone()).name().to_owned();
    if let Some(live) = client.at(&resource, "", &name).get().await? {
        let live = Object(live);
        *judged = Some(Mark::of(&live));
        match judge(&live, &wanted, hub_id) {
            Verdict::Settled => return Ok(()),
            Verdict::Write => {}
            Verdict::Look(breaking) => {
                match look(client, &live.0, &breaking).await?.conclude(&name, allow_breaking) {
                    Conclusion::Update => {}
                    Conclusion::Replace => take_away(client, &live).await?,
                    Conclusion::Refused(message) => return Err(Ended::Refused("Incompatible", message)),
                }
            }
            Verdict::Refused(reason, message) => return Err(Ended::Refused(reason, message)),
        }
    }
    let mut live = Object(client.at(&resource, "", &name).apply(hub::MANAGER, &wanted).await?);
    for _ in 0..ESTABLISH_POLLS {
        *judged = Some(Mark::of(&live));
        if is_established(&live.0) {
            return Ok(());
        }
        tokio::time::sleep(ESTABLISH_POLL).await;
        live = Object(client.at(&resource, "", &name).get().await?.unwrap_or_default());
        if let Some(why) = names_refused(&live.0) {
            return Err(Ended::Refused("Conflict", format!("CustomResourceDefinition {name}: {why}")));
        }
    }
    let message = format!("CustomResourceDefinition {name} did not become Established within 30 s");
    Err(Ended::Refused("CRDNotReady", message))
}

/// What to do about a CRD that is there.
#[derive(Debug, PartialEq)]
enum Verdict {
    Settled,
    Write,
    /// To look whether instances carry what breaks.
    Look(Vec<Break>),
    /// Reason and message.
    Refused(&'static str, String),
}

fn judge(live: &Object, wanted: &Value, hub_id: &HubId) -> Verdict {
    let name = live.name();
    if live.label(hub::HUB_ID) != Some(hub_id.as_str()) {
        let owner = live.label(hub::HUB_ID).map_or_else(
            || {
                "somebody on that cluster (it does not carry this hub's label; upstream kro may run there)"
                    .to_owned()
            },
            |id| format!("another hub ({id})"),
        );
        let message = format!(
            "CustomResourceDefinition {name} exists and belongs to {owner}; it is not taken over: remove it there, or choose another kind or group"
        );
        return Verdict::Refused("Conflict", message);
    }
    if live.is_deleting() {
        let message = format!("CustomResourceDefinition {name} is being deleted on the cluster");
        return Verdict::Refused("CRDNotReady", message);
    }
    let changes = compat::compare(&live.0, wanted);
    if changes.is_empty() && is_established(&live.0) {
        return Verdict::Settled;
    }
    match changes.breaking.is_empty() {
        true => Verdict::Write,
        false => Verdict::Look(changes.breaking),
    }
}

/// So many instances are read at once.
const PAGE: usize = 250;

/// Asks the instances that are there what the changes of their CRD do to them.
///
/// # Errors
/// They cannot be read.
pub async fn look<'a>(client: &Verbs, live: &Value, breaking: &'a [Break]) -> Result<Look<'a>, ApiError> {
    let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let versions = live.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let served = versions.filter(|v| v.get("served") != Some(&Value::Bool(false)));
    let Some(version) = served.filter_map(|v| v.get("name")?.as_str()).next() else {
        return Ok(Look::blind(breaking));
    };
    let path = format!("/apis/{}/{version}/{}", text("/spec/group"), text("/spec/names/plural"));
    let (mut look, mut from) = (Look::new(breaking), String::new());
    loop {
        let token: String = url::form_urlencoded::byte_serialize(from.as_bytes()).collect();
        let page = client.get_json(&format!("{path}?limit={PAGE}&continue={token}")).await?;
        // A kind that is not served yet may have been before.
        let Some(page) = page else { return Ok(Look::blind(breaking)) };
        page.get("items").and_then(Value::as_array).into_iter().flatten().for_each(|item| look.at(item));
        from = page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default().to_owned();
        if from.is_empty() || look.is_decided() {
            return Ok(look);
        }
    }
}

const GONE_POLL: Duration = Duration::from_millis(50);
const GONE_POLLS: u32 = 200;

/// Takes away a CRD that has no instances, and waits until it is gone.
///
/// # Errors
/// It cannot be taken away, or does not go in time.
pub async fn take_away(client: &Verbs, live: &Object) -> Result<(), ApiError> {
    let resource = crd_resource();
    tracing::info!(
        cluster = client.cluster(),
        crd = live.name(),
        "a CRD of another API without instances is replaced"
    );
    client.at(&resource, "", live.name()).delete(live.uid()).await?;
    for _ in 0..GONE_POLLS {
        let left = client.at(&resource, "", live.name()).get().await?;
        if left.is_none_or(|left| Object(left).uid() != live.uid()) {
            return Ok(());
        }
        tokio::time::sleep(GONE_POLL).await;
    }
    Err(ApiError::Conflict { message: format!("{} is being deleted", live.name()) })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn crd(spec_type: &str) -> Value {
        json!({
            "metadata": {"name": "apps.kro.run", "uid": "u", "generation": 1, "labels": {hub::HUB_ID: "us"}},
            "spec": {"group": "kro.run", "names": {"kind": "App", "plural": "apps"}, "versions": [{"name": "v1",
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"a": {"type": spec_type}}}}}}}]},
            "status": {"conditions": [{"type": "Established", "status": "True"}]},
        })
    }

    #[test]
    fn a_crd_that_is_there_is_judged() {
        let hub_id = HubId::new("us");
        let verdict = |live: Value| judge(&Object(live), &crd("string"), &hub_id);
        let changed = |path: &str, value: Value| {
            let mut live = crd("string");
            *live.pointer_mut(path).unwrap() = value;
            live
        };
        assert_eq!(verdict(crd("string")), Verdict::Settled);
        assert_eq!(verdict(changed("/status", json!({}))), Verdict::Write);
        assert!(matches!(verdict(crd("integer")), Verdict::Look(breaking) if breaking.len() == 1));
        for owner in [json!({}), json!({hub::HUB_ID: "them"})] {
            assert!(matches!(verdict(changed("/metadata/labels", owner)), Verdict::Refused("Conflict", _)));
        }
        let mut deleting = crd("string");
        deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(matches!(verdict(deleting), Verdict::Refused("CRDNotReady", _)));
    }
}
