//! Deletion: at once, or when nobody holds an object any more.

use crate::kinds::{Kind, Resource};
use crate::list::list_of;
use crate::metadata::text;
use crate::selectors::Selectors;
use crate::server::{Context, Server, json_answer, object_answer, seconds};
use crate::status::Refusal;
use crate::store::{Stored, key};
use crate::tasks::Task;
use crate::{crds, own_namespaces};
use http::Response;
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What a request says of a deletion.
#[derive(Default)]
pub(crate) struct How {
    pub uid: String,
    pub version: String,
    pub propagation: String,
    pub dry: bool,
}

fn how(context: &Context<'_>, body: &Bytes) -> Result<How, Refusal> {
    let options: Value = if body.is_empty() {
        json!({})
    } else {
        serde_json::from_slice(body)
            .map_err(|e| Refusal::bad_request(&format!("error decoding options: {e}")))?
    };
    let text =
        |pointer: &str| options.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let query = context.query.get("propagationPolicy");
    let mut propagation = if query.is_empty() { text("/propagationPolicy") } else { query.to_owned() };
    let old = options.get("orphanDependents").filter(|old| !old.is_null());
    let refused = |reason: &'static str, message: String| {
        let error = crate::admit::FieldError { reason, path: "propagationPolicy".into(), message };
        Refusal::invalid("meta.k8s.io", "DeleteOptions", "", &[error])
    };
    if old.is_some() && !propagation.is_empty() {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        return Err(refused("FieldValueInvalid", format!("Invalid value: {propagation:?}: {why}")));
    }
    if old == Some(&json!(true)) {
        propagation = "Orphan".into();
    }
    if !matches!(propagation.as_str(), "" | "Background" | "Foreground" | "Orphan") {
        let known = r#"supported values: "Foreground", "Background", "Orphan", "nil""#;
        let message = format!("Unsupported value: {propagation:?}: {known}");
        return Err(refused("FieldValueNotSupported", message));
    }
    let dry = context.query.get("dryRun") == "All"
        || options.get("dryRun").and_then(Value::as_array).is_some_and(|a| a.contains(&json!("All")));
    Ok(How {
        uid: text("/preconditions/uid"),
        version: text("/preconditions/resourceVersion"),
        propagation,
        dry,
    })
}

/// What became of an object.
pub(crate) enum Deleted {
    Gone,
    Going(Arc<Value>),
}

/// What belongs to an object of these kinds stays, unless the request or a finalizer says otherwise: so it was when garbage
/// was not collected yet.
const ORPHANING: [(&str, &str, &str); 2] = [("batch", "v1", "jobs"), ("", "v1", "replicationcontrollers")];

impl How {
    /// The policy for an object of this kind that has these finalizers.
    fn policy(&self, kind: &Kind, finalizers: &[String]) -> &str {
        let orphaning =
            || ORPHANING.contains(&(kind.group.as_str(), kind.version.as_str(), kind.plural.as_str()));
        let unsaid =
            self.propagation.is_empty() && !finalizers.iter().any(|f| POLICIES.contains(&f.as_str()));
        if unsaid && orphaning() { "Orphan" } else { &self.propagation }
    }
}

/// Finalizers of the garbage collector.
const POLICIES: [&str; 2] = ["orphan", "foregroundDeletion"];

/// The finalizers of an object that is deleted with a policy: the latest one counts, and without one the earlier.
fn with_policy(mut finalizers: Vec<String>, propagation: &str) -> Vec<String> {
    let wanted = match propagation {
        "Orphan" => Some(POLICIES[0]),
        "Foreground" => Some(POLICIES[1]),
        "Background" => None,
        _ => return finalizers,
    };
    finalizers.retain(|f| Some(f.as_str()) == wanted || !POLICIES.contains(&f.as_str()));
    if let Some(wanted) = wanted.filter(|w| !finalizers.iter().any(|f| f == w)) {
        finalizers.push(wanted.to_owned());
    }
    finalizers
}

impl Server {
    pub(crate) fn delete(&mut self, context: &Context<'_>, body: &Bytes) -> Result<Response<Bytes>, Refusal> {
        let how = how(context, body)?;
        let kind = &context.kind;
        let stored = self.find(context)?.clone();
        if kind.plural == "namespaces" && kind.group.is_empty() && own_namespaces(&context.name) {
            return Err(Refusal::forbidden(kind, &context.name, "this namespace may not be deleted"));
        }
        let object = stored.object();
        let (uid, version) = (text(&object, "uid"), text(&object, "resourceVersion"));
        let differs = |what: &str, asked: &str, found: &str, why: &str| {
            let why = format!(
                "the {what} in the precondition ({asked}) does not match the {what} in record ({found}). The object might have been {why}"
            );
            Refusal::conflict(&kind.group, &kind.kind, &context.name, &why)
        };
        if !how.uid.is_empty() && how.uid != uid {
            return Err(differs("UID", &how.uid, uid, "deleted and then recreated"));
        }
        if !how.version.is_empty() && how.version != version {
            return Err(differs("ResourceVersion", &how.version, version, "modified"));
        }
        // What is tried out is taken back.
        let before = how.dry.then(|| (self.store.clone(), self.tasks.clone()));
        let policy = how.policy(kind, &finalizers_of(&object));
        let removed = self.remove(context.now, &kind.resource(), &context.key(), policy);
        if let Some((store, tasks)) = before {
            (self.store, self.tasks) = (store, tasks);
        }
        match removed {
            Some(Deleted::Going(object)) => {
                let stored = Stored::new(object, stored.stamp, false);
                Ok(object_answer(200, &self.shown(kind, &stored), context.format))
            }
            _ => {
                let mut details = json!({"name": context.name, "kind": kind.plural, "uid": uid});
                if !kind.group.is_empty() {
                    details["group"] = json!(kind.group);
                }
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
                Ok(json_answer(200, &status))
            }
        }
    }

    pub(crate) fn delete_collection(
        &mut self,
        context: &Context<'_>,
        body: &Bytes,
    ) -> Result<Response<Bytes>, Refusal> {
        let how = how(context, body)?;
        let selectors = Selectors::parse(
            context.kind.custom,
            context.query.get("labelSelector"),
            context.query.get("fieldSelector"),
        )?;
        let resource = context.kind.resource();
        let prefix =
            if context.namespace.is_empty() { String::new() } else { format!("{}/", context.namespace) };
        let chosen: Vec<(String, Stored)> = self
            .store
            .of(&resource)
            .filter(|(key, stored)| key.starts_with(&prefix) && selectors.match_object(&stored.object()))
            .map(|(key, stored)| (key.clone(), stored.clone()))
            .collect();
        let mut items = Vec::new();
        for (key, stored) in chosen {
            items.push(self.shown(&context.kind, &stored));
            if !how.dry {
                let policy = how.policy(&context.kind, &finalizers_of(&stored.object()));
                self.remove(context.now, &resource, &key, policy);
            }
        }
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), self.store.version.to_string().into());
        Ok(json_answer(200, &list_of(context, items, metadata)))
    }

    /// Deletes an object, or marks it where something holds it.
    pub(crate) fn remove(
        &mut self,
        now: Timestamp,
        resource: &Resource,
        key: &str,
        propagation: &str,
    ) -> Option<Deleted> {
        let stored = self.store.get(resource, key)?.clone();
        let mut object = (*stored.object()).clone();
        let going = !text(&object, "deletionTimestamp").is_empty();
        let mut finalizers = with_policy(finalizers_of(&object), propagation);
        if crds::is(resource) && !going && !finalizers.iter().any(|f| f == crds::FINALIZER) {
            finalizers.push(crds::FINALIZER.to_owned());
        }
        let namespace = resource.plural == "namespaces" && resource.group.is_empty();
        let held = !finalizers.is_empty()
            || (namespace && object.pointer("/spec/finalizers").is_some_and(|f| f != &json!([])));
        if !held {
            self.drop_object(now, resource, key);
            return Some(Deleted::Gone);
        }
        if going && finalizers == finalizers_of(&object) {
            return Some(Deleted::Going(stored.object()));
        }
        if going {
            object["metadata"]["finalizers"] = json!(finalizers);
            let object = self.store.put(resource, key, object, stored.stamp);
            self.going(now, resource, key, &object);
            return Some(Deleted::Going(object));
        }
        let time = seconds(now);
        if !finalizers.is_empty() {
            object["metadata"]["finalizers"] = json!(finalizers);
        }
        object["metadata"]["deletionTimestamp"] = json!(time);
        if namespace {
            object["status"]["phase"] = json!("Terminating");
        } else if crds::is(resource) {
            let message =
                "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
            let condition = crds::Condition {
                ty: "Terminating",
                status: "True",
                reason: "InstanceDeletionPending",
                message,
            };
            crds::set_condition(&mut object, &condition, &time);
        } else {
            object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            if let Some(generation) = object.pointer("/metadata/generation").and_then(Value::as_i64) {
                object["metadata"]["generation"] = json!(generation + 1);
            }
        }
        let object = self.store.put(resource, key, object, stored.stamp);
        self.going(now, resource, key, &object);
        Some(Deleted::Going(object))
    }

    /// The object is gone.
    pub(crate) fn drop_object(&mut self, now: Timestamp, resource: &Resource, key: &str) {
        let Some(stored) = self.store.remove(resource, key) else { return };
        if crds::is(resource) {
            self.stop_serving(&stored.object());
            self.look_at_names(now);
        }
        if let Some(delay) = self.options.collect_after {
            self.tasks.after(now, delay, Task::Collect(text(&stored.object(), "uid").to_owned()));
        }
    }
}

pub(crate) fn finalizers_of(object: &Value) -> Vec<String> {
    let found = object.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
    found.filter_map(|f| f.as_str().map(str::to_owned)).collect()
}

pub(crate) fn key_of(object: &Value) -> String {
    key(text(object, "namespace"), text(object, "name"))
}
