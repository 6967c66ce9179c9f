//! Watches of one cluster: which kinds it serves, and a stream of what happens to them.
//!
//! A watch is opened with a server timeout below the client's idle limit, so one that says nothing for longer than that
//! is dead and is opened again. Failures are retried with back-off for as long as the actor lives.

use super::actor::Event;
use super::client::{ApiError, SpokeClient, Verbs, path};
use super::crd::Mark;
use super::health::backoff;
use super::listwatch::{self, Wanted};
use super::references::Subject;
use crate::api::hash;
use crate::api::keys::{hub, kro};
use crate::api::maps::{HashMap, HashSet};
use crate::api::names::{GroupKind, Gvk, HubId, ObjectRef};
use crate::reconcile::world::{Lookup, Selection, Stored};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ApiResource;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// Seconds after which the server ends a watch that is a sign of life, or has a connection of its own.
pub const SERVER_TIMEOUT_SECONDS: u32 = 55;
/// The same of all others: opening them anew is most of what is asked at rest, where there are many.
pub const LONG_TIMEOUT_SECONDS: u32 = 290;

/// An API server serves a changed CRD a moment later: what is watched of its kind is listed anew after this.
pub const CHANGED_CRD_SERVED: Duration = Duration::from_secs(2);

/// What a watch of one kind saw.
#[derive(Debug)]
pub enum Seen {
    Served(ApiResource),
    NotServed,
    Failed(String),
    ListStarted,
    Object(Value),
    /// It left the selection: reference, uid, and the version as of which it did.
    Left(ObjectRef, String, u64),
    /// The list is complete, as of this version.
    ListDone {
        namespaced: bool,
        version: u64,
    },
}

/// A CustomResourceDefinition appeared, changed or went.
#[derive(Debug, Clone)]
pub struct CrdSeen {
    pub name: String,
    pub group: std::sync::Arc<str>,
    /// The kind, where a hub wrote it there.
    pub gk: Option<GroupKind>,
    pub mark: Mark,
    pub gone: bool,
    /// Generated from a definition, by the labels that kro and the hub give it where definitions live.
    pub generated: bool,
    /// It was there when the watch began.
    pub first: bool,
}

impl CrdSeen {
    pub fn ours(&self, hub_id: &HubId) -> bool {
        self.mark.hub_id.as_deref() == Some(hub_id.as_str())
    }
}

/// Whether a CRD of this name is for the kind.
pub fn is_crd_of(name: &str, resource: &ApiResource) -> bool {
    name.strip_prefix(&resource.plural) == Some(&format!(".{}", resource.group))
}

/// Where a kind is served.
#[derive(Clone, Debug)]
pub struct Served {
    pub resource: ApiResource,
    pub namespaced: bool,
}

/// Looks a kind up: in the version of `gvk` where there is one, else in whatever version has it, the preferred one
/// first. `Ok(None)`: the cluster answered, and serves the kind in no version.
///
/// # Errors
/// The cluster could not be asked; says nothing about the kind.
pub async fn discover(
    client: &SpokeClient,
    gk: &GroupKind,
    gvk: Option<&Gvk>,
) -> Result<Option<Served>, ApiError> {
    let wanted = gvk.map(|gvk| gvk.version.to_string()).filter(|v| !v.is_empty());
    if let Some(version) = &wanted
        && let Some(served) = find_in(client, gk, version).await?
    {
        return Ok(Some(served));
    }
    let others = if gk.group.is_empty() {
        vec!["v1".to_owned()]
    } else {
        match client.get_json(&format!("/apis/{}", gk.group)).await? {
            Some(group) => versions(&group),
            None => return Ok(None),
        }
    };
    for version in others.iter().filter(|v| Some(*v) != wanted.as_ref()) {
        if let Some(served) = find_in(client, gk, version).await? {
            return Ok(Some(served));
        }
    }
    Ok(None)
}

/// All versions of an APIGroup, the preferred one first.
fn versions(group: &Value) -> Vec<String> {
    let preferred = group.pointer("/preferredVersion/version").and_then(Value::as_str);
    let all = group.get("versions").and_then(Value::as_array).into_iter().flatten();
    let mut out: Vec<String> = preferred.map(str::to_owned).into_iter().collect();
    for version in all.filter_map(|v| v.get("version").and_then(Value::as_str)) {
        if !out.iter().any(|known| known == version) {
            out.push(version.to_owned());
        }
    }
    out
}

/// Whether the cluster serves a kind in this very version.
///
/// # Errors
/// The cluster could not be asked.
pub async fn is_served(client: &Verbs, gvk: &Gvk) -> Result<bool, ApiError> {
    Ok(find_in(client, &gvk.group_kind(), &gvk.version).await?.is_some())
}

async fn find_in(client: &Verbs, gk: &GroupKind, version: &str) -> Result<Option<Served>, ApiError> {
    let path =
        if gk.group.is_empty() { format!("/api/{version}") } else { format!("/apis/{}/{version}", gk.group) };
    Ok(client.get_json(&path).await?.and_then(|list| served_as(gk, version, &list)))
}

/// The kind in an APIResourceList.
fn served_as(gk: &GroupKind, version: &str, list: &Value) -> Option<Served> {
    let found = list.get("resources")?.as_array()?.iter().find(|r| {
        let text = |k| r.get(k).and_then(Value::as_str).unwrap_or_default();
        text("kind") == &*gk.kind && !text("name").contains('/')
    })?;
    let api_version =
        if gk.group.is_empty() { version.to_owned() } else { format!("{}/{version}", gk.group) };
    let resource = ApiResource {
        group: gk.group.to_string(),
        version: version.to_owned(),
        api_version,
        kind: gk.kind.to_string(),
        plural: found.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
    };
    Some(Served { resource, namespaced: found.get("namespaced").and_then(Value::as_bool).unwrap_or(true) })
}

/// Watches every object of a kind that matches `selector`, for ever; `serial` tells this watch from earlier ones.
pub(super) async fn kind(
    client: SpokeClient,
    gk: GroupKind,
    gvk: Option<Gvk>,
    selector: Option<String>,
    serial: u64,
    events: UnboundedSender<Event>,
) {
    let tell = |seen: Seen| events.send(Event::Watch(gk.clone(), serial, seen)).is_ok();
    let mut attempt = 0;
    let served = loop {
        match discover(&client, &gk, gvk.as_ref()).await {
            Ok(Some(served)) => break served,
            Ok(None) => {
                tell(Seen::NotServed);
                return;
            }
            Err(error) => {
                tracing::debug!(kind = %gk, %error, "looking a kind up failed");
                if !error.is_contact_problem() {
                    tell(Seen::Failed(format!("{gk} cannot be looked up on the cluster: {error}")));
                }
                tokio::time::sleep(backoff(attempt, client.cluster())).await;
                attempt += 1;
            }
        }
    };
    tell(Seen::Served(served.resource.clone()));
    follow(&client, &gk, &served, Scope { selector, ..Scope::default() }, tell).await;
}

/// Watches what external references read, for ever; `known` tells where the kind is served, if anybody knows.
pub(super) async fn reference(
    client: SpokeClient,
    subject: Subject,
    known: Option<Served>,
    serial: u64,
    events: UnboundedSender<Event>,
) {
    let tell = |seen: Seen| events.send(Event::Reference(subject.clone(), serial, seen)).is_ok();
    let gvk = subject.gvk();
    let gk = gvk.group_kind();
    let mut attempt = 0;
    let mut known = known;
    let served = loop {
        if let Some(served) = known.take() {
            break served;
        }
        match discover(&client, &gk, Some(gvk)).await {
            // Expressions were checked against this version: another one may have other fields.
            Ok(Some(served)) if *served.resource.version == *gvk.version => {
                drop(events.send(Event::Served(gvk.clone(), served.clone())));
                break served;
            }
            Ok(_) => {
                tell(Seen::NotServed);
                return;
            }
            Err(error) => {
                tracing::debug!(kind = %gk, %error, "looking a kind up failed");
                tell(Seen::Failed(error.to_string()));
                tokio::time::sleep(backoff(attempt, client.cluster())).await;
                attempt += 1;
            }
        }
    };
    let mut scope = Scope::default();
    if let Subject::Lookup(lookup) = &subject {
        if served.namespaced && !lookup.namespace.is_empty() {
            scope.namespace = Some(lookup.namespace.to_string());
        }
        match &lookup.selection {
            Selection::Name(_) if served.namespaced && lookup.namespace.is_empty() => {
                tell(Seen::Failed(format!("{gk} is namespaced and metadata.namespace is empty")));
                return;
            }
            Selection::Name(name) => scope.name = Some(name.to_string()),
            Selection::Labels(labels) => scope.selector = Some(labels.to_string()).filter(|s| !s.is_empty()),
        }
    }
    follow(&client, &gk, &served, scope, tell).await;
}

/// Reads what a lookup names, once; tried again for ever while there is no answer.
pub(super) async fn ask(
    client: SpokeClient,
    lookup: Lookup,
    known: Option<Served>,
    events: UnboundedSender<Event>,
) {
    let Selection::Name(name) = &lookup.selection else { return };
    let tell = |answer| events.send(Event::Answered(lookup.clone(), answer)).is_ok();
    let mut attempt = 0;
    loop {
        let found = match &known {
            Some(served) if served.namespaced && lookup.namespace.is_empty() => {
                tell(Err(format!("{} is namespaced and metadata.namespace is empty", lookup.gvk)));
                return;
            }
            Some(served) => {
                let namespace = if served.namespaced { &*lookup.namespace } else { "" };
                client.get(&served.resource, namespace, name).await
            }
            None => {
                // Its watch looks the kind up right now.
                match discover(&client, &lookup.gvk.group_kind(), Some(&lookup.gvk)).await {
                    Ok(Some(served)) => {
                        let namespace = if served.namespaced { &*lookup.namespace } else { "" };
                        client.get(&served.resource, namespace, name).await
                    }
                    Ok(None) => return,
                    Err(error) => Err(error),
                }
            }
        };
        let failed = match found {
            Ok(found) => {
                tell(Ok(found.map(Stored::new)));
                return;
            }
            Err(error) => tell(Err(error.to_string())),
        };
        if !failed {
            return;
        }
        tokio::time::sleep(backoff(attempt, client.cluster())).await;
        attempt += 1;
    }
}

/// Tells what happens to the objects of a kind.
async fn follow(
    client: &SpokeClient,
    gk: &GroupKind,
    served: &Served,
    scope: Scope,
    tell: impl Fn(Seen) -> bool,
) {
    let namespaced = served.namespaced;
    let listed = |listed: Listed| match listed {
        Listed::Started => tell(Seen::ListStarted),
        Listed::Object(object) => tell(Seen::Object(object)),
        Listed::Left(object) => {
            let object = crate::api::Object(object);
            let version = object.version();
            tell(Seen::Left(object.object_ref(), object.uid().to_owned(), version))
        }
        Listed::Done(version) => tell(Seen::ListDone { namespaced, version }),
    };
    let trouble = |code: Option<u16>, text: &str| match code {
        Some(403) => {
            tell(Seen::Failed(format!("this hub may not list or watch {gk} on the cluster: {text}")))
        }
        // It is the kind's trouble, not the cluster's: who needs it is told.
        Some(400 | 413 | 500 | 503) => {
            tell(Seen::Failed(format!("{gk} cannot be listed on the cluster: {text}")))
        }
        Some(404) => {
            // The kind is gone from the cluster: whoever needs it looks it up again.
            tell(Seen::NotServed);
            false
        }
        _ => true,
    };
    objects(client, &served.resource, &scope, listed, trouble).await;
}

/// Which objects of a kind a watch shows.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// All namespaces without it.
    pub namespace: Option<String>,
    /// A label selector; everything without it.
    pub selector: Option<String>,
    /// Only the object of this name.
    pub name: Option<String>,
}

/// One step of a watch: a list from `Started` to `Done`, then what changes.
#[derive(Debug)]
pub enum Listed {
    Started,
    Object(Value),
    /// It left the selection, or is deleted.
    Left(Value),
    /// The list is complete, as of this version.
    Done(u64),
}

/// Watches objects until `listed` or `trouble` says to stop; retries with back-off. `trouble` hears the HTTP code, where there was
/// one, and a text for people.
pub async fn objects(
    client: &Verbs,
    resource: &ApiResource,
    scope: &Scope,
    listed: impl Fn(Listed) -> bool,
    trouble: impl Fn(Option<u16>, &str) -> bool,
) {
    let mut selectors = Vec::new();
    if let Some(selector) = &scope.selector {
        selectors.push(("labelSelector", selector.clone()));
    }
    if let Some(name) = &scope.name {
        selectors.push(("fieldSelector", format!("metadata.name={}", field_value(name))));
    }
    let namespace = scope.namespace.as_deref().unwrap_or_default();
    let wanted = Wanted {
        path: path(resource, namespace, ""),
        kind: resource.kind.clone(),
        selectors,
        metadata: false,
    };
    let typed = |seen: Listed| {
        listed(match seen {
            Listed::Object(object) => Listed::Object(to_value(object, resource)),
            Listed::Left(object) => Listed::Left(to_value(object, resource)),
            other => other,
        })
    };
    listwatch::follow(client, &wanted, typed, trouble).await;
}

/// A value in a field selector, whose own signs are escaped.
fn field_value(text: &str) -> String {
    text.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

/// Items of lists do not say what they are; the kind that was asked for does.
fn to_value(mut object: Value, resource: &ApiResource) -> Value {
    object["apiVersion"] = Value::String(resource.api_version.clone());
    object["kind"] = Value::String(resource.kind.clone());
    object
}

/// Watches the names of all CRDs until `told` says to stop: the one watch that every cluster always keeps, and so its
/// sign of life.
pub async fn crds(client: &Verbs, told: impl Fn(CrdSeen) -> bool) {
    let resource = super::crd::crd_resource();
    let wanted =
        Wanted { path: path(&resource, "", ""), kind: resource.kind, selectors: Vec::new(), metadata: true };
    let mut names = CrdNames::default();
    let listed = |seen: Listed| names.take(seen).into_iter().all(&told);
    listwatch::follow(client, &wanted, listed, |_, _| true).await;
}

/// The CRDs as they were seen last: what changed since, also between two lists.
#[derive(Default)]
struct CrdNames {
    known: HashMap<String, Known>,
    /// Names in the list that is being received.
    listing: Option<HashSet<String>>,
    /// A list was received to its end.
    synced: bool,
}

/// Kept small: every cluster has one of these for each of its CRDs.
#[derive(PartialEq, Eq)]
struct Known {
    uid: Box<str>,
    generation: i64,
    hub_id: u32,
}

impl Known {
    fn of(mark: &Mark) -> Self {
        let hub_id = hash::fnv32(mark.hub_id.as_deref().unwrap_or_default());
        Self { uid: mark.uid.as_str().into(), generation: mark.generation, hub_id }
    }
}

impl CrdNames {
    fn take(&mut self, event: Listed) -> Vec<CrdSeen> {
        match event {
            Listed::Started => {
                self.listing = Some(HashSet::default());
                Vec::new()
            }
            Listed::Object(crd) => {
                let mut seen = seen(metadata(&crd), false);
                if let Some(seen) = &mut seen {
                    seen.first = !self.synced;
                }
                if let (Some(listing), Some(seen)) = (&mut self.listing, &seen) {
                    listing.insert(seen.name.clone());
                }
                // Status changes come without a new generation; only `Established` matters among them, and whoever waits
                // for that asks.
                let is_new = |seen: &CrdSeen, known: &mut HashMap<String, Known>| {
                    let now = Known::of(&seen.mark);
                    let same = known.get(&seen.name) == Some(&now);
                    known.insert(seen.name.clone(), now);
                    !same
                };
                seen.filter(|s| is_new(s, &mut self.known)).into_iter().collect()
            }
            Listed::Left(crd) => {
                let seen = seen(metadata(&crd), true);
                if let Some(seen) = &seen {
                    self.known.remove(&seen.name);
                }
                seen.into_iter().collect()
            }
            Listed::Done(_) => {
                self.synced = true;
                let Some(listing) = self.listing.take() else { return Vec::new() };
                let lost = self.known.extract_if(|name, _| !listing.contains(name));
                lost.filter_map(|(name, known)| {
                    let mark = Mark { uid: known.uid.into(), generation: known.generation, hub_id: None };
                    let group = name.split_once('.')?.1.into();
                    Some(CrdSeen { name, group, gk: None, mark, gone: true, generated: false, first: false })
                })
                .collect()
            }
        }
    }
}

fn metadata(object: &Value) -> ObjectMeta {
    let metadata = object.get("metadata").map(serde::Deserialize::deserialize);
    metadata.and_then(Result::ok).unwrap_or_default()
}

fn seen(meta: ObjectMeta, gone: bool) -> Option<CrdSeen> {
    let name = meta.name.unwrap_or_default();
    let group = name.split_once('.')?.1.to_owned();
    let kind = meta.annotations.as_ref().and_then(|m| m.get(super::crd::KIND_ANNOTATION));
    Some(CrdSeen {
        gk: kind.map(|kind| GroupKind::new(&group, kind)),
        group: group.into(),
        mark: Mark {
            uid: meta.uid.unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            hub_id: meta.labels.as_ref().and_then(|m| m.get(hub::HUB_ID)).cloned(),
        },
        generated: meta.labels.as_ref().is_some_and(|m| m.get(kro::OWNED).is_some_and(|v| v == "true")),
        first: false,
        gone,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_version_of_a_group_is_looked_at_the_preferred_one_first() {
        let group = json!({"preferredVersion": {"version": "v1"},
            "versions": [{"version": "v2alpha1"}, {"version": "v1"}, {"version": "v1beta1"}]});
        assert_eq!(versions(&group), ["v1", "v2alpha1", "v1beta1"]);
        assert!(versions(&json!({})).is_empty());
    }

    #[test]
    fn a_kind_is_found_in_the_list_of_a_version() {
        let gk = GroupKind::new("policy", "PodDisruptionBudget");
        let list = json!({"resources": [
            {"name": "poddisruptionbudgets/status", "kind": "PodDisruptionBudget", "namespaced": true},
            {"name": "poddisruptionbudgets", "kind": "PodDisruptionBudget", "namespaced": true}]});
        let served = served_as(&gk, "v1", &list).unwrap();
        assert_eq!((&*served.resource.plural, served.namespaced), ("poddisruptionbudgets", true));
        assert_eq!(served.resource.api_version, "policy/v1");
        assert!(served_as(&GroupKind::new("policy", "Eviction"), "v1", &list).is_none());
    }

    fn crd(uid: &str, generation: i64) -> Value {
        let meta = json!({"name": "apps.kro.run", "uid": uid, "generation": generation,
            "annotations": {super::super::crd::KIND_ANNOTATION: "App"}});
        json!({"metadata": meta})
    }

    #[test]
    fn what_happened_to_a_crd_between_two_lists_is_seen() {
        use Listed::{
            Done as InitDone, Left as Delete, Object as Apply, Object as InitApply, Started as Init,
        };
        let mut names = CrdNames::default();
        let mut take = |event| -> Vec<(String, bool)> {
            names.take(event).into_iter().map(|s| (s.mark.uid, s.gone)).collect()
        };
        let one = |uid: &str, gone: bool| vec![(uid.to_owned(), gone)];
        take(Init);
        assert_eq!(take(InitApply(crd("a", 1))), one("a", false));
        assert!(take(InitDone(9)).is_empty());
        // Its status changed.
        assert!(take(Apply(crd("a", 1))).is_empty());
        assert_eq!(take(Apply(crd("a", 2))), one("a", false));
        // The watch broke; meanwhile another one of the same generation took its place.
        take(Init);
        assert_eq!(take(InitApply(crd("b", 2))), one("b", false));
        assert!(take(InitDone(9)).is_empty());
        // It broke again, and meanwhile the CRD went.
        take(Init);
        assert_eq!(take(InitDone(9)), one("b", true));
        assert_eq!(take(Apply(crd("c", 1))), one("c", false));
        assert_eq!(take(Delete(crd("c", 1))), one("c", true));
    }
}
