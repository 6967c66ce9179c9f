//! Watches of one cluster: which kinds it serves, and a stream of what happens to them.
//!
//! A watch is opened with a server timeout below the client's idle limit, so one that says nothing for longer than that
//! is dead and is opened again. Failures are retried with back-off for as long as the actor lives.

use super::actor::Event;
use super::client::{ApiError, SpokeClient};
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
    pub group: std::sync::Arc<str>,
    pub gk: Option<GroupKind>,
    hub_id: Option<String>,
    /// Not the echo of a change that we made (told by the generation annotation of our last write).
    pub changed_by_others: bool,
}

impl CrdSeen {
    pub fn ours(&self, hub_id: &HubId) -> bool {
        self.hub_id.as_deref() == Some(hub_id.as_str())
    }
}

/// Where a kind is served.
#[derive(Clone, Debug)]
pub struct Served {
    pub resource: ApiResource,
    pub namespaced: bool,
}

/// Looks a kind up. `Ok(None)`: the cluster answered, and does not serve it.
///
/// # Errors
/// The cluster could not be asked; says nothing about the kind.
pub async fn discover(
    client: &SpokeClient,
    gk: &GroupKind,
    gvk: Option<&Gvk>,
) -> Result<Option<Served>, ApiError> {
    let version = match gvk {
        Some(gvk) => gvk.version.to_string(),
        None if gk.group.is_empty() => "v1".to_owned(),
        None => {
            let Some(group) = client.get_json(&format!("/apis/{}", gk.group)).await? else { return Ok(None) };
            let preferred = group.pointer("/preferredVersion/version").and_then(Value::as_str);
            match preferred {
                Some(v) => v.to_owned(),
                None => return Ok(None),
            }
        }
    };
    let path =
        if gk.group.is_empty() { format!("/api/{version}") } else { format!("/apis/{}/{version}", gk.group) };
    let Some(list) = client.get_json(&path).await? else { return Ok(None) };
    let resources = list.get("resources").and_then(Value::as_array).cloned().unwrap_or_default();
    let found = resources.iter().find(|r| {
        let text = |k| r.get(k).and_then(Value::as_str).unwrap_or_default();
        text("kind") == &*gk.kind && !text("name").contains('/')
    });
    Ok(found.map(|r| {
        let plural = r.get("name").and_then(Value::as_str).unwrap_or_default();
        let api_version =
            if gk.group.is_empty() { version.clone() } else { format!("{}/{version}", gk.group) };
        let resource = ApiResource {
            group: gk.group.to_string(),
            version: version.clone(),
            api_version,
            kind: gk.kind.to_string(),
            plural: plural.to_owned(),
        };
        Served { resource, namespaced: r.get("namespaced").and_then(Value::as_bool).unwrap_or(true) }
    }))
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
            hub_id: meta.labels.as_ref().and_then(|m| m.get(hub::HUB_ID)).cloned(),
            changed_by_others: gone || before.is_some(),
        };
        if events.send(Event::Crd(seen)).is_err() {
            return;
        }
    }
}
