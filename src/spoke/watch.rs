//! Watches of one cluster: which kinds it serves, and a stream of what happens to them.
//!
//! A watch is opened with a server timeout below the client's idle limit, so one that says nothing for longer than that
//! is dead and is opened again. Failures are retried with back-off for as long as the actor lives.

use super::actor::Event;
use super::client::{ApiError, SpokeClient};
use super::crd::Mark;
use super::health::backoff;
use crate::api::keys::hub;
use crate::api::names::{GroupKind, Gvk, HubId, ObjectRef};
use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, watcher};
use serde_json::Value;
use std::collections::HashMap;
use tokio::sync::mpsc::UnboundedSender;

/// Seconds after which the server ends a watch; below the client's idle limit.
pub const SERVER_TIMEOUT_SECONDS: u32 = 55;

/// What a watch of one kind saw.
#[derive(Debug)]
pub enum Seen {
    Served(ApiResource),
    NotServed,
    Failed(String),
    ListStarted,
    Object(Value),
    /// It left the selection: reference and uid.
    Left(ObjectRef, String),
    ListDone {
        namespaced: bool,
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
}

impl CrdSeen {
    pub fn ours(&self, hub_id: &HubId) -> bool {
        self.mark.hub_id.as_deref() == Some(hub_id.as_str())
    }
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

async fn find_in(client: &SpokeClient, gk: &GroupKind, version: &str) -> Result<Option<Served>, ApiError> {
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

/// Watches every object of a kind that matches `selector`, for ever.
pub(super) async fn kind(
    client: SpokeClient,
    gk: GroupKind,
    gvk: Option<Gvk>,
    selector: Option<String>,
    events: UnboundedSender<Event>,
) {
    let tell = |seen: Seen| events.send(Event::Watch(gk.clone(), seen)).is_ok();
    let mut attempt = 0;
    let served = loop {
        match discover(&client, &gk, gvk.as_ref()).await {
            Ok(Some(served)) => break served,
            Ok(None) => {
                tell(Seen::NotServed);
                return;
            }
            Err(error) => {
                tracing::debug!(cluster = client.cluster(), kind = %gk, %error, "looking a kind up failed");
                tokio::time::sleep(backoff(attempt, client.cluster())).await;
                attempt += 1;
            }
        }
    };
    tell(Seen::Served(served.resource.clone()));
    let namespaced = served.namespaced;
    let listed = |listed: Listed| match listed {
        Listed::Started => tell(Seen::ListStarted),
        Listed::Object(object) => tell(Seen::Object(object)),
        Listed::Left(object) => {
            let object = crate::api::Object(object);
            tell(Seen::Left(object.object_ref(), object.uid().to_owned()))
        }
        Listed::Done => tell(Seen::ListDone { namespaced }),
    };
    let trouble = |code: Option<u16>, text: &str| match code {
        Some(403) => {
            tell(Seen::Failed(format!("this hub may not list or watch {gk} on the cluster: {text}")))
        }
        Some(404) => {
            // The kind is gone from the cluster: whoever needs it looks it up again.
            tell(Seen::NotServed);
            false
        }
        _ => true,
    };
    let scope = Scope { namespace: None, selector };
    objects(client.kube().clone(), client.cluster(), &served.resource, &scope, listed, trouble).await;
}

/// Which objects of a kind a watch shows.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// All namespaces without it.
    pub namespace: Option<String>,
    /// A label selector; everything without it.
    pub selector: Option<String>,
}

/// One step of a watch: a list from `Started` to `Done`, then what changes.
#[derive(Debug)]
pub enum Listed {
    Started,
    Object(Value),
    /// It left the selection, or is deleted.
    Left(Value),
    Done,
}

/// Watches objects until `listed` or `trouble` says to stop; retries with back-off. `trouble` hears the HTTP code, where there was
/// one, and a text for people.
pub async fn objects(
    client: kube::Client,
    cluster: &str,
    resource: &ApiResource,
    scope: &Scope,
    listed: impl Fn(Listed) -> bool,
    trouble: impl Fn(Option<u16>, &str) -> bool,
) {
    let api: Api<DynamicObject> = match &scope.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, resource),
        None => Api::all_with(client, resource),
    };
    let mut config = watcher::Config::default().timeout(SERVER_TIMEOUT_SECONDS);
    if let Some(selector) = &scope.selector {
        config = config.labels(selector);
    }
    let mut stream = std::pin::pin!(watcher(api, config));
    let mut attempt = 0;
    while let Some(event) = stream.next().await {
        let go_on = match event {
            Ok(event) => {
                attempt = 0;
                listed(match event {
                    watcher::Event::Init => Listed::Started,
                    watcher::Event::InitDone => Listed::Done,
                    watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                        Listed::Object(to_value(object, resource))
                    }
                    watcher::Event::Delete(object) => Listed::Left(to_value(object, resource)),
                })
            }
            Err(error) => {
                let text = describe(&error);
                tracing::debug!(cluster, kind = %resource.kind, error = text, "watch interrupted");
                let go_on = trouble(refusal(&error), &text);
                if go_on {
                    tokio::time::sleep(backoff(attempt, cluster)).await;
                    attempt += 1;
                }
                go_on
            }
        };
        if !go_on {
            return;
        }
    }
}

/// Items of lists do not say what they are; the kind that was asked for does.
fn to_value(object: DynamicObject, resource: &ApiResource) -> Value {
    let mut value = object.data;
    if !value.is_object() {
        value = serde_json::json!({});
    }
    value["apiVersion"] = Value::String(resource.api_version.clone());
    value["kind"] = Value::String(resource.kind.clone());
    value["metadata"] = serde_json::to_value(object.metadata).unwrap_or_default();
    value
}

fn refusal(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status.code),
        watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

fn describe(error: &watcher::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

/// Watches the names of all CRDs: the one watch that every cluster always keeps, and so its sign of life.
pub(super) async fn crds(client: SpokeClient, events: UnboundedSender<Event>) {
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client.kube().clone());
    let mut stream = std::pin::pin!(watcher(api, watcher::Config::default().timeout(SERVER_TIMEOUT_SECONDS)));
    let mut generations: HashMap<String, i64> = HashMap::new();
    let mut attempt = 0;
    while let Some(event) = stream.next().await {
        let (meta, gone) = match event {
            Ok(watcher::Event::InitApply(o) | watcher::Event::Apply(o)) => (o.metadata, false),
            Ok(watcher::Event::Delete(o)) => (o.metadata, true),
            Ok(_) => continue,
            Err(error) => {
                let text = describe(&error);
                tracing::debug!(cluster = client.cluster(), error = text, "CRD watch interrupted");
                tokio::time::sleep(backoff(attempt, client.cluster())).await;
                attempt += 1;
                continue;
            }
        };
        attempt = 0;
        let name = meta.name.clone().unwrap_or_default();
        let generation = meta.generation.unwrap_or_default();
        let before =
            if gone { generations.remove(&name) } else { generations.insert(name.clone(), generation) };
        // Status changes of a CRD come without a new generation; only `Established` matters among them, and whoever
        // waits for that asks.
        if !gone && before == Some(generation) {
            continue;
        }
        let Some((_, group)) = name.split_once('.') else { continue };
        let annotation = |k: &str| meta.annotations.as_ref().and_then(|m| m.get(k)).cloned();
        let seen = CrdSeen {
            group: group.into(),
            gk: annotation(super::crd::KIND_ANNOTATION).map(|kind| GroupKind::new(group, &kind)),
            mark: Mark {
                uid: meta.uid.clone().unwrap_or_default(),
                generation,
                hub_id: meta.labels.as_ref().and_then(|m| m.get(hub::HUB_ID)).cloned(),
            },
            gone,
            name: name.clone(),
        };
        if events.send(Event::Crd(seen)).is_err() {
            return;
        }
    }
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
}
