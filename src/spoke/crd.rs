//! The generated CRD on a spoke: brought there before the first mirror, changed only where that breaks nothing, never
//! taken from somebody else, never deleted but to be replaced where it is of another API and has no instances.

use super::client::{ApiError, SpokeClient, Verbs};
use crate::api::Object;
use crate::api::keys::hub;
use crate::api::maps::HashMap;
use crate::api::names::{GroupKind, HubId};
use crate::graph::Graph;
use crate::reconcile::spoke::{Goal, INCOMPATIBLE, MirrorContent, Task};
use crate::reconcile::world::{CrdState, CrdWish, Rank};
use crate::schema::compat::{self, Break, Conclusion, Look};
use crate::schema::crd;
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::sync::Arc;
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

/// What may be done to a CRD of ours that is there.
#[derive(Clone, Debug)]
pub struct May {
    /// It may break what is stored: the author says so.
    pub break_it: bool,
    pub rank: Rank,
    pub told: Told,
}

/// What instances of the kind are told to be on the cluster, by namespace and name. Their mirrors may not be there yet, or be of
/// earlier words: the CRD comes first.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Contents>);

/// By namespace and name.
type Contents = HashMap<(Arc<str>, Arc<str>), Arc<MirrorContent>>;

impl Told {
    pub fn of<'a>(gk: &GroupKind, tasks: impl Iterator<Item = &'a Task>) -> Self {
        let told = tasks.filter(|task| task.key.gk == *gk && task.is_mirrored()).filter_map(|task| {
            let Goal::Run { mirror, suspended: false, .. } = &task.goal else { return None };
            Some(((task.key.namespace.clone(), task.key.name.clone()), mirror.clone()))
        });
        Self(Arc::new(told.collect()))
    }

    /// The spec that a live instance is told to have.
    fn spec(&self, live: &Value) -> Option<Value> {
        let text = |path: &str| Arc::from(live.pointer(path).and_then(Value::as_str).unwrap_or_default());
        let key = (text("/metadata/namespace"), text("/metadata/name"));
        self.0.get(&key).map(|mirror| mirror.spec())
    }
}

/// Makes the cluster serve the graph's kind. Trouble with contact leaves the state unknown, so that it is tried again.
pub async fn ensure(client: &SpokeClient, graph: &Graph, hub_id: &HubId, may: &May) -> Ensured {
    let mut judged = None;
    let ended = try_ensure(client, graph, hub_id, may, &mut judged).await;
    let (reason, message, soon) = match ended {
        Ok(Serves(hash, serves)) => {
            let state = CrdState::Ready { hash, serves };
            return Ensured { state, judged, soon: false };
        }
        // What an instance there carries may be taken out of it by the next write of ours, which may be under way.
        Err(Ended::Refused(reason, message)) => (reason, message, reason == INCOMPATIBLE),
        Err(Ended::Failed(error)) => {
            tracing::warn!(kind = %graph.gvk, %error, "ensuring the CRD failed");
            if error.is_contact_problem() {
                tokio::time::sleep(PAUSE).await;
                return Ensured { state: CrdState::Unknown, judged, soon: false };
            }
            ("CRDNotReady", format!("CustomResourceDefinition: {error}"), true)
        }
    };
    let wish = CrdWish { hash: graph.crd_hash(), allow_breaking: may.break_it };
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

/// What is there: the hash of its content (empty: it is of a newer revision), and the highest revision that it serves.
struct Serves(String, u64);

/// On a CRD: the number of the revision that it is of, and the uid of the definition whose numbers these are.
const REVISION_ANNOTATION: &str = "hub.kro.run/crd-revision";

/// The number of the revision that a live CRD is of, by the numbers of this definition.
fn numbered(live: &Object, rgd_uid: &str) -> Option<u64> {
    let (number, of) = live.annotation(REVISION_ANNOTATION)?.split_once(' ')?;
    number.parse().ok().filter(|_| of == rgd_uid)
}

/// Whether a live CRD serves what is behind as it is. One without a number is newer where it knows what `wanted` does not.
fn is_newer(live: &Object, wanted: &Value, rgd_uid: &str, number: u64) -> bool {
    match numbered(live, rgd_uid) {
        Some(of) => of > number,
        None => number == 0 || !compat::compare(&live.0, wanted).breaking.is_empty(),
    }
}

/// What is to be done about a CRD.
enum Todo {
    Nothing(Serves),
    Write(Value),
    /// In place of this one, which is of another API.
    Replace(Object, Value),
}

/// What bringing a CRD to a cluster would do there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// It is there as it is wanted, or will not be taken.
    AsItIs,
    New,
    Changed,
}

/// What [`ensure`] would lead to, by verbs that store nothing.
///
/// # Errors
/// The cluster cannot be asked.
pub async fn rehearse(
    client: &Verbs,
    graph: &Graph,
    hub_id: &HubId,
    may: &May,
) -> Result<(Ensured, Brought), ApiError> {
    let mut judged = None;
    let todo = todo(client, graph, hub_id, may, &mut judged).await;
    let ready = |serves| CrdState::Ready { hash: graph.crd_hash(), serves };
    let refused = |reason, message| {
        let wish = CrdWish { hash: graph.crd_hash(), allow_breaking: may.break_it };
        CrdState::Refused { reason, message, wish, retry_at: None }
    };
    let (state, brought) = match todo {
        Ok(Todo::Nothing(Serves(hash, serves))) => (CrdState::Ready { hash, serves }, Brought::AsItIs),
        // Its name is taken as long as the other one is there.
        Ok(Todo::Replace(..)) => (ready(may.rank.number), Brought::Changed),
        Ok(Todo::Write(wanted)) => {
            let name = Object(wanted.clone()).name().to_owned();
            match client.at(&crd_resource(), "", &name).apply(hub::MANAGER, &wanted).await {
                Ok(_) if judged.is_some() => (ready(may.rank.number), Brought::Changed),
                Ok(_) => (ready(may.rank.number), Brought::New),
                Err(error) if error.is_contact_problem() => return Err(error),
                Err(error) => {
                    let message = format!("CustomResourceDefinition {name}: {error}");
                    (refused("CRDNotReady", message), Brought::AsItIs)
                }
            }
        }
        Err(Ended::Refused(reason, message)) => (refused(reason, message), Brought::AsItIs),
        Err(Ended::Failed(error)) => return Err(error),
    };
    Ok((Ensured { state, judged, soon: false }, brought))
}

async fn todo(
    client: &Verbs,
    graph: &Graph,
    hub_id: &HubId,
    may: &May,
    judged: &mut Option<Mark>,
) -> Result<Todo, Ended> {
    let resource = crd_resource();
    let mut wanted = crd::for_spoke(&graph.crd, hub_id);
    wanted["metadata"]["annotations"][KIND_ANNOTATION] = json!(*graph.gvk.kind);
    let name = Object(wanted.clone()).name().to_owned();
    let Rank { number, behind } = may.rank;
    let mut replaced = None;
    if let Some(live) = client.at(&resource, "", &name).get().await? {
        let live = Object(live);
        *judged = Some(Mark::of(&live));
        match judge(&live, &wanted, hub_id) {
            Verdict::Settled => {
                let serves = numbered(&live, &graph.rgd_uid).unwrap_or_default().max(number);
                return Ok(Todo::Nothing(Serves(graph.crd_hash(), serves)));
            }
            Verdict::Write | Verdict::Look(_)
                if behind && is_established(&live.0) && is_newer(&live, &wanted, &graph.rgd_uid, number) =>
            {
                let serves = numbered(&live, &graph.rgd_uid).unwrap_or(number);
                return Ok(Todo::Nothing(Serves(String::new(), serves)));
            }
            Verdict::Write => {}
            Verdict::Look(breaking) => {
                let look = look(client, &live.0, &breaking, &may.told).await?;
                let conclusion = look.conclude(&name, may.break_it);
                match conclusion {
                    Conclusion::Update => {}
                    Conclusion::Replace => replaced = Some(live),
                    Conclusion::Refused(message) => return Err(Ended::Refused(INCOMPATIBLE, message)),
                }
            }
            Verdict::Refused(reason, message) => return Err(Ended::Refused(reason, message)),
        }
    }
    if number > 0 {
        wanted["metadata"]["annotations"][REVISION_ANNOTATION] = json!(format!("{number} {}", graph.rgd_uid));
    }
    Ok(match replaced {
        Some(live) => Todo::Replace(live, wanted),
        None => Todo::Write(wanted),
    })
}

async fn try_ensure(
    client: &SpokeClient,
    graph: &Graph,
    hub_id: &HubId,
    may: &May,
    judged: &mut Option<Mark>,
) -> Result<Serves, Ended> {
    let resource = crd_resource();
    let wanted = match todo(client, graph, hub_id, may, judged).await? {
        Todo::Nothing(serves) => return Ok(serves),
        Todo::Write(wanted) => wanted,
        Todo::Replace(live, wanted) => {
            take_away(client, &live).await?;
            wanted
        }
    };
    let (name, number) = (Object(wanted.clone()).name().to_owned(), may.rank.number);
    let mut live = Object(client.at(&resource, "", &name).apply(hub::MANAGER, &wanted).await?);
    for _ in 0..ESTABLISH_POLLS {
        *judged = Some(Mark::of(&live));
        if is_established(&live.0) {
            return Ok(Serves(graph.crd_hash(), number));
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

/// Asks the instances that are there what the changes of their CRD do to them, and to what they are told to be.
///
/// # Errors
/// They cannot be read.
pub async fn look<'a>(
    client: &Verbs,
    live: &Value,
    breaking: &'a [Break],
    told: &Told,
) -> Result<Look<'a>, ApiError> {
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
        for item in page.get("items").and_then(Value::as_array).into_iter().flatten() {
            look.at(item, told.spec(item).as_ref());
        }
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

    #[test]
    fn a_crd_is_newer_by_its_number_and_without_one_by_what_it_knows() {
        let live = |annotation: Option<&str>, fields: Value| {
            let mut live = crd("string");
            *live
                .pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties")
                .unwrap() = fields;
            if let Some(text) = annotation {
                live["metadata"]["annotations"] = json!({REVISION_ANNOTATION: text});
            }
            Object(live)
        };
        let (a, ab) =
            (json!({"a": {"type": "string"}}), json!({"a": {"type": "string"}, "b": {"type": "string"}}));
        // "1" is the uid of the definition.
        for (annotation, fields, number, newer) in [
            (Some("5 1"), &a, 4, true),
            (Some("5 1"), &ab, 5, false),
            (Some("5 1"), &ab, 6, false),
            // Numbers of another definition, or none: what it knows says it.
            (Some("5 2"), &ab, 6, true),
            (Some("5 2"), &a, 4, false),
            (Some("five 1"), &ab, 6, true),
            (None, &a, 4, false),
            (None, &a, 0, true),
        ] {
            let found = is_newer(&live(annotation, fields.clone()), &crd("string"), "1", number);
            assert_eq!(found, newer, "{annotation:?} {fields} {number}");
        }
    }
}
