//! What the model of an API server answers to a request, in the words of Kubernetes.

use super::api_server::{Refused, Server};
use crate::api::keys::hub;
use crate::api::names::{GroupKind, ObjectRef};
use http::Method;
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::sync::Arc;

/// A request as a client of production sends it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub content_type: String,
    pub metadata_only: bool,
    pub body: Value,
}

impl Asked {
    pub fn is_write(&self) -> bool {
        self.method != Method::GET
    }

    /// The kind of request, as costs are counted.
    pub fn verb(&self) -> &'static str {
        match &self.method {
            _ if !self.is_write() => "get",
            _ if self.path.ends_with("/status") => "status",
            _ if self.is_apply() => "apply",
            _ => "other",
        }
    }

    pub fn is_apply(&self) -> bool {
        self.content_type == "application/apply-patch+yaml"
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = url::form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

#[derive(Clone, Debug)]
pub struct Answered {
    pub code: u16,
    pub body: Value,
    /// What was written.
    pub wrote: Option<(ObjectRef, Arc<Value>)>,
}

impl Answered {
    pub fn refusal(code: u16, reason: &str, message: &str, details: &Value) -> Self {
        let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": reason, "message": message, "details": details});
        Self { code, body, wrote: None }
    }

    fn not_served() -> Self {
        Self::refusal(404, "NotFound", "the server could not find the requested resource", &json!({}))
    }

    fn ok(body: Value) -> Self {
        Self { code: 200, body, wrote: None }
    }
}

impl From<Refused> for Answered {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound => {
                Self::refusal(404, "NotFound", "objects \"x\" not found", &json!({"kind": "objects"}))
            }
            Refused::NamespaceMissing(name) => {
                let details = json!({"kind": "namespaces", "name": name});
                Self::refusal(404, "NotFound", &format!("namespaces {name:?} not found"), &details)
            }
            Refused::KindUnknown => Self::not_served(),
            Refused::Conflict => Self::refusal(409, "Conflict", "the object has been modified", &json!({})),
            Refused::AlreadyExists => {
                Self::refusal(409, "AlreadyExists", "objects \"x\" already exists", &json!({}))
            }
        }
    }
}

/// The one version that each group has here.
pub fn version_of(group: &str) -> &'static str {
    if group == "kro.run" { "v1alpha1" } else { "v1" }
}

/// Where a kind is served.
pub fn resource_of(gk: &GroupKind) -> ApiResource {
    let version = version_of(&gk.group).to_owned();
    let api_version = if gk.group.is_empty() { version.clone() } else { format!("{}/{version}", gk.group) };
    ApiResource {
        group: gk.group.to_string(),
        version,
        api_version,
        kind: gk.kind.to_string(),
        plural: format!("{}s", gk.kind.to_lowercase()),
    }
}

/// What a path names.
struct Place<'a> {
    group: &'a str,
    version: &'a str,
    namespace: &'a str,
    plural: &'a str,
    name: &'a str,
    status: bool,
}

fn place(path: &str) -> Option<Place<'_>> {
    let mut segments = path.trim_start_matches('/').split('/');
    let (group, version) = match segments.next()? {
        "api" => ("", segments.next()?),
        "apis" => (segments.next()?, segments.next().unwrap_or_default()),
        _ => return None,
    };
    let rest: Vec<&str> = segments.collect();
    let (namespace, rest) = match rest.as_slice() {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() && *rest != ["status"] => (*namespace, rest),
        rest => ("", rest),
    };
    let part = |index: usize| rest.get(index).copied().unwrap_or_default();
    let status = part(2) == "status";
    Some(Place { group, version, namespace, plural: part(0), name: part(1), status })
}

pub fn answer(server: &mut Server, asked: &Asked) -> Answered {
    let Some(place) = place(&asked.path) else { return Answered::not_served() };
    let kinds: Vec<GroupKind> = server.kinds().filter(|gk| *gk.group == *place.group).cloned().collect();
    if kinds.is_empty() {
        return Answered::not_served();
    }
    if place.version.is_empty() {
        return Answered::ok(json!({"kind": "APIGroup", "versions": [{"version": version_of(place.group)}]}));
    }
    if place.version != version_of(place.group) {
        return Answered::not_served();
    }
    if place.plural.is_empty() {
        let served = |gk: &GroupKind| {
            let namespaced = server.kind(gk).is_some_and(|k| k.namespaced);
            json!({"name": resource_of(gk).plural, "kind": *gk.kind, "namespaced": namespaced,
                "verbs": ["get", "list", "watch", "patch", "create", "delete"]})
        };
        return Answered::ok(
            json!({"kind": "APIResourceList", "resources": kinds.iter().map(served).collect::<Vec<_>>()}),
        );
    }
    let Some(gk) = kinds.into_iter().find(|gk| resource_of(gk).plural == place.plural) else {
        return Answered::not_served();
    };
    if asked.method == Method::GET && place.name.is_empty() {
        let items: Vec<Value> = server.list(&gk, None).map(|v| (**v).clone()).collect();
        return Answered::ok(
            json!({"kind": "List", "items": items, "metadata": {"resourceVersion": server.version().to_string()}}),
        );
    }
    let name = if asked.method == Method::POST {
        asked.body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
    } else {
        place.name
    };
    let target = ObjectRef::new(gk, place.namespace, name);
    act(server, asked, &target, place.status).unwrap_or_else(Answered::from)
}

fn act(server: &mut Server, asked: &Asked, target: &ObjectRef, status: bool) -> Result<Answered, Refused> {
    let wrote =
        |live: Arc<Value>| Answered { code: 200, body: (*live).clone(), wrote: Some((target.clone(), live)) };
    match (asked.method.as_str(), asked.content_type.as_str()) {
        ("GET", _) => {
            let live = server.get(target).ok_or(Refused::NotFound)?;
            let mut body = (**live).clone();
            if asked.metadata_only {
                body = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": body["metadata"]});
            }
            Ok(Answered::ok(body))
        }
        ("POST", _) => server.create(target, hub::MANAGER, &asked.body).map(wrote),
        ("PATCH", "application/apply-patch+yaml") => {
            let manager = asked.parameter("fieldManager").unwrap_or_default();
            server.apply(target, &manager, &asked.body).map(wrote)
        }
        ("PATCH", "application/merge-patch+json") => {
            server.merge_patch(target, hub::MANAGER, status, &asked.body).map(wrote)
        }
        ("DELETE", _) => {
            let uid = asked.body.pointer("/preconditions/uid").and_then(Value::as_str);
            let left = server.delete(target, uid)?;
            let body = left.map_or_else(|| json!({"kind": "Status", "status": "Success"}), |v| (*v).clone());
            Ok(Answered::ok(body))
        }
        (method, content) => panic!("the model does not know {method} with {content}"),
    }
}
