//! Performs the actions of a step on the cluster and says what came of them: exactly one answer each.

use super::client::{ApiError, SpokeClient, Verbs};
use super::{discovery, redacted};
use crate::api::Object;
use crate::api::keys::{hub, kro};
use crate::api::names::{GroupKind, Gvk, ObjectRef};
use crate::reconcile::lists;
use crate::reconcile::spoke::being_deleted;
use crate::reconcile::spoke::tracked::Trouble;
use crate::reconcile::spoke::{
    Action, Apply, Guard, Outcome, StatusTrouble, Task, merge_patch, namespace_body,
};
use crate::reconcile::world::Stored;
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::sync::Arc;

/// What an action led to.
#[derive(Debug)]
pub(crate) struct Done {
    pub outcomes: Vec<Outcome>,
    /// Uid of the object that is gone.
    pub uid: Option<String>,
    /// An object as a request returned it.
    pub seen: Option<(ObjectRef, Arc<Stored>)>,
}

impl Done {
    /// What may look otherwise now.
    pub fn objects(&self) -> Vec<ObjectRef> {
        let told = self.outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Applied { object, .. } | Outcome::Gone { object } | Outcome::Released { object } => {
                Some(object)
            }
            _ => None,
        });
        told.chain(self.seen.iter().map(|(object, _)| object)).cloned().collect()
    }
}

impl From<Outcome> for Done {
    fn from(outcome: Outcome) -> Self {
        Self { outcomes: vec![outcome], uid: None, seen: None }
    }
}

/// The kind whose REST path an action needs.
pub(crate) fn target(action: &Action) -> Option<&GroupKind> {
    match action {
        Action::Apply(apply) => Some(&apply.object.gk),
        Action::VerifyGone { object, .. }
        | Action::Delete { object, .. }
        | Action::RemoveFinalizer { object, .. }
        | Action::Release { object, .. } => Some(&object.gk),
        _ => None,
    }
}

pub(crate) async fn perform(
    client: &SpokeClient,
    task: &Task,
    action: Action,
    resource: Option<ApiResource>,
) -> Done {
    match action {
        Action::Apply(apply) => {
            let resource = resource_of(&apply.gvk, resource, task);
            apply_object(client, task, *apply, &resource).await
        }
        Action::VerifyGone { object, gvk } => {
            let resource = resource_of(&gvk, resource, task);
            look(client, object, &resource, Meant::Any).await
        }
        Action::Delete { object, gvk, uid } => {
            let resource = resource_of(&gvk, resource, task);
            match client.at(&resource, &object.namespace, &object.name).delete(&uid).await {
                Ok(None) => gone(object, uid),
                Ok(Some(_)) => {
                    look(
                        client,
                        object,
                        &resource,
                        Meant::Deleted { uid, answer: "the deletion was accepted" },
                    )
                    .await
                }
                // Perhaps another object has the name; perhaps the server could not settle it, or a webhook refused.
                // Nor does a version that is not served say that it is gone.
                Err(error @ (ApiError::Conflict { .. } | ApiError::KindUnknown)) => {
                    let answer = redacted::text(&object, &error);
                    look(client, object, &resource, Meant::Deleted { uid, answer: &answer }).await
                }
                Err(error) => delete_failed(object, &error),
            }
        }
        Action::Release { object, gvk, uid, patch } => {
            let resource = resource_of(&gvk, resource, task);
            match client.at(&resource, &object.namespace, &object.name).merge_patch(&patch).await {
                Ok(_) => released(object, uid),
                Err(ApiError::NotFound) => gone(object, uid),
                Err(error @ ApiError::Conflict { .. }) => {
                    let answer = redacted::text(&object, &error);
                    look(client, object, &resource, Meant::Deleted { uid, answer: &answer }).await
                }
                Err(error) => delete_failed(object, &error),
            }
        }
        Action::RemoveFinalizer { object, gvk, patch } => {
            let resource = resource_of(&gvk, resource, task);
            match client.at(&resource, &object.namespace, &object.name).merge_patch(&patch).await {
                Ok(live) => {
                    let seen = Some((object.clone(), Arc::new(Stored::new(live))));
                    Done { outcomes: vec![Outcome::FinalizerRemoved { object }], uid: None, seen }
                }
                Err(ApiError::NotFound) => gone(object, task.hub_uid.clone()),
                Err(error) => delete_failed(object, &error),
            }
        }
        Action::WriteStatus { gvk, uid, patch } => {
            let resource = resource_of(&gvk, resource, task);
            write_status(client, task, &resource, &uid, patch).await
        }
        Action::EnsureNamespace(name) => {
            let resource = core_resource("Namespace", "namespaces");
            match client.create(&resource, "", &namespace_body(&name)).await {
                Ok(_) | Err(ApiError::AlreadyExists) => Outcome::NamespaceReady.into(),
                Err(error) => {
                    Outcome::NamespaceFailed { message: format!("creating namespace {name}: {error}") }.into()
                }
            }
        }
        // The actor does these itself.
        Action::EnsureKind(..) | Action::ListAnew(_) | Action::EnsureGraph(..) | Action::EnsureCrd { .. } => {
            Done { outcomes: Vec::new(), uid: None, seen: None }
        }
    }
}

async fn apply_object(client: &SpokeClient, task: &Task, apply: Apply, resource: &ApiResource) -> Done {
    let (namespace, name) = (apply.object.namespace.clone(), apply.object.name.clone());
    let body = Arc::new(apply.body.clone());
    let failed = |trouble: Trouble, message: String, missing_namespace: Option<String>| -> Done {
        let object = apply.object.clone();
        Outcome::ApplyFailed {
            object,
            body: body.clone(),
            trouble,
            message,
            missing_namespace,
            unanswered: false,
        }
        .into()
    };
    let found = match apply.guard {
        Guard::None => Ok(None),
        Guard::MustBeFree => client.at(resource, &namespace, &name).get_metadata().await,
        Guard::AdoptIfEqual => client.at(resource, &namespace, &name).get().await,
    };
    match found {
        Err(error) => {
            let missing = missing_namespace(&error);
            return failed(trouble(&error), redacted::of_apply(&apply, &error), missing);
        }
        Ok(Some(found)) => {
            let found = Object(found);
            if let Err(owner) = apply.may_take(&found) {
                let message = format!("{} exists and belongs to {owner}", apply.object);
                return failed(Trouble::Conflict, message, None);
            }
            if found.is_deleting() {
                return failed(Trouble::Terminating, being_deleted(&apply.object), None);
            }
        }
        Ok(None) => {}
    }
    let mut sent = apply.body.clone();
    if apply.manager == kro::MANAGER_PARENT || (task.is_nested() && apply.object == task.key.object()) {
        // With the uid, an apply cannot bring back an instance that was deleted meanwhile.
        sent["metadata"]["uid"] = json!(task.hub_uid);
    }
    let mut written = client.at(resource, &namespace, &name).apply(apply.manager, &sent).await;
    if let Err(error) = &written
        && is_mirror(task, &apply)
        && is_untypable(error)
        && mend(client, task, resource, &apply).await
    {
        written = client.at(resource, &namespace, &name).apply(apply.manager, &sent).await;
    }
    if let Err(ApiError::Invalid { message }) = &written
        && hand_over(client, resource, &apply, message).await
    {
        written = client.at(resource, &namespace, &name).apply(apply.manager, &sent).await;
    }
    match written {
        Ok(live) => {
            let stored = Arc::new(Stored::new(live));
            Outcome::Applied {
                object: apply.object.clone(),
                body: body.clone(),
                manager: apply.manager,
                stored,
            }
            .into()
        }
        Err(error) => {
            let outcome = Outcome::ApplyFailed {
                object: apply.object.clone(),
                body: body.clone(),
                trouble: trouble(&error),
                message: redacted::of_apply(&apply, &error),
                missing_namespace: missing_namespace(&error),
                unanswered: error == ApiError::Timeout,
            };
            outcome.into()
        }
    }
}

fn is_mirror(task: &Task, apply: &Apply) -> bool {
    task.is_mirrored() && apply.manager == kro::MANAGER_LABELLER && apply.object == task.key.object()
}

/// Whether the stored object does not fit the schema any more, as after a breaking change of its CRD that was allowed:
/// no apply can succeed then, whatever it says.
fn is_untypable(error: &ApiError) -> bool {
    matches!(error, ApiError::Other { code: 500, message } if message.contains("failed to create typed live object"))
}

/// Where the API server refuses an apply because of items that somebody put in the place of ours: makes them ours, so that
/// the next apply replaces them.
async fn hand_over(client: &SpokeClient, resource: &ApiResource, apply: &Apply, complaint: &str) -> bool {
    let (namespace, name) = (&apply.object.namespace, &apply.object.name);
    let live = match client.at(resource, namespace, name).get().await {
        Ok(Some(live)) => live,
        Ok(None) => return false,
        Err(error) => {
            tracing::warn!(object = %apply.object, %error, "reading a refused object failed");
            return false;
        }
    };
    let Some(patch) = lists::hand_over(&live, &apply.body, apply.manager, complaint) else { return false };
    let handed = client.at(resource, namespace, name).json_patch(&patch).await;
    if let Err(error) = &handed {
        tracing::warn!(object = %apply.object, %error, "taking over list items failed");
    }
    handed.is_ok()
}

/// Brings the spec of the stored mirror to the wanted one without server-side apply. While the stored object does not fit
/// its schema, the API server notes no owner for such a patch; the apply that follows becomes the only one.
async fn mend(client: &SpokeClient, task: &Task, resource: &ApiResource, apply: &Apply) -> bool {
    let (namespace, name) = (&apply.object.namespace, &apply.object.name);
    let mended = match client.at(resource, namespace, name).get().await {
        Ok(Some(live)) => match mending(&Object(live), &apply.body, task.hub_id.as_str()) {
            Some(patch) => client.at(resource, namespace, name).merge_patch(&patch).await.map(drop),
            None => return false,
        },
        Ok(None) => return true,
        Err(error) => Err(error),
    };
    if let Err(error) = &mended {
        tracing::warn!(mirror = %apply.object, %error, "mending a mirror failed");
    }
    mended.is_ok()
}

/// The merge patch that gives a live mirror the wanted spec; `None` if it has that, or is not ours.
fn mending(live: &Object, desired: &Value, hub_id: &str) -> Option<Value> {
    if live.label(hub::HUB_ID) != Some(hub_id) || live.is_deleting() {
        return None;
    }
    let spec = |object: &Value| json!({"spec": object.get("spec").cloned().unwrap_or(Value::Null)});
    let mut patch = merge_patch(&spec(&live.0), &spec(desired))?;
    patch["metadata"] = json!({"uid": live.uid(), "resourceVersion": live.resource_version()});
    Some(patch)
}

pub(super) fn missing_namespace(error: &ApiError) -> Option<String> {
    match error {
        ApiError::NamespaceMissing { namespace } => Some(namespace.clone()),
        _ => None,
    }
}

pub(super) fn trouble(error: &ApiError) -> Trouble {
    match error {
        ApiError::FieldNotDeclared { .. } | ApiError::KindUnknown => Trouble::Incompatible,
        e if e.is_contact_problem() => Trouble::Contact,
        _ => Trouble::Error,
    }
}

pub(super) fn gone(object: ObjectRef, uid: String) -> Done {
    Done { outcomes: vec![Outcome::Gone { object }], uid: Some(uid), seen: None }
}

pub(super) fn released(object: ObjectRef, uid: String) -> Done {
    Done { outcomes: vec![Outcome::Released { object }], uid: Some(uid), seen: None }
}

pub(super) fn delete_failed(object: ObjectRef, error: &ApiError) -> Done {
    let message = redacted::text(&object, error);
    Outcome::DeleteFailed { object, message }.into()
}

/// What a look by name is about.
pub(super) enum Meant<'a> {
    /// Whatever has the name.
    Any,
    /// The object of this uid, which was to go; `answer` is what the API server said to that.
    Deleted { uid: String, answer: &'a str },
}

/// Reads without a selector. A version that is not served says nothing: the object may be there in another one.
pub(super) async fn look(
    client: &Verbs,
    object: ObjectRef,
    resource: &ApiResource,
    meant: Meant<'_>,
) -> Done {
    let read = |resource: ApiResource| {
        let object = &object;
        async move {
            if resource.version.is_empty() {
                return Err(ApiError::KindUnknown);
            }
            client.at(&resource, &object.namespace, &object.name).get_metadata().await
        }
    };
    let mut found = read(resource.clone()).await;
    if found == Err(ApiError::KindUnknown) {
        found = match discovery::discover(client, &object.gk, None).await {
            Ok(Some(served)) => read(served.resource).await,
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
    }
    judge_look(object, meant, found.map(|o| o.map(Object)))
}

/// Only a 404, or another uid than the one meant, says that it is gone.
fn judge_look(object: ObjectRef, meant: Meant<'_>, found: Result<Option<Object>, ApiError>) -> Done {
    let found = match found {
        Ok(Some(found)) => found,
        Ok(None) => {
            let uid = match meant {
                Meant::Any => None,
                Meant::Deleted { uid, .. } => Some(uid),
            };
            return Done { outcomes: vec![Outcome::Gone { object }], uid, seen: None };
        }
        Err(error) => return delete_failed(object, &error),
    };
    match meant {
        Meant::Deleted { uid, .. } if uid != found.uid() => gone(object, uid),
        Meant::Deleted { answer, .. } if !found.is_deleting() => {
            let message = format!("it is still there and not being deleted ({answer})");
            Outcome::DeleteFailed { object, message }.into()
        }
        _ => Outcome::StillThere { object, found: Arc::new(Stored::new(found.0)) }.into(),
    }
}

async fn write_status(
    client: &SpokeClient,
    task: &Task,
    resource: &ApiResource,
    uid: &str,
    patch: Value,
) -> Done {
    let patch = json!({"metadata": {"uid": uid}, "status": patch});
    match client.at(resource, &task.key.namespace, &task.key.name).merge_status(&patch).await {
        Ok(live) => {
            let stored = Arc::new(Stored::new(live));
            Done {
                outcomes: vec![Outcome::StatusWritten],
                uid: None,
                seen: Some((task.key.object(), stored)),
            }
        }
        Err(error) => {
            let trouble = match error {
                ApiError::NotFound => StatusTrouble::Missing,
                ApiError::Invalid { .. } => StatusTrouble::Refused,
                _ => StatusTrouble::Passing,
            };
            Outcome::StatusFailed { message: error.to_string(), trouble }.into()
        }
    }
}

pub(super) fn resource_of(gvk: &Gvk, known: Option<ApiResource>, task: &Task) -> ApiResource {
    let mut resource = known.unwrap_or_else(|| guess(gvk, task));
    if !gvk.version.is_empty() && *gvk.version != *resource.version {
        resource.version = gvk.version.to_string();
        resource.api_version = gvk.api_version();
    }
    resource
}

/// The generated kind on the hub is not looked up by the local actor; its plural is that of the generated CRD.
fn guess(gvk: &Gvk, task: &Task) -> ApiResource {
    let plural = task.plural().unwrap_or_else(|| crate::schema::plural::of(&gvk.kind.to_lowercase()));
    ApiResource {
        group: gvk.group.to_string(),
        version: gvk.version.to_string(),
        api_version: gvk.api_version(),
        kind: gvk.kind.to_string(),
        plural,
    }
}

fn core_resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: String::new(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: kind.into(),
        plural: plural.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> ObjectRef {
        ObjectRef::new(GroupKind::new("", "ConfigMap"), "n", "c")
    }

    fn live(uid: &str, deleting: bool) -> Result<Option<Object>, ApiError> {
        let mut meta = json!({"name": "c", "namespace": "n", "uid": uid});
        if deleting {
            meta["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        Ok(Some(Object(json!({"metadata": meta}))))
    }

    /// What a look says after a DELETE of uid `a` was answered with 409.
    fn after_conflict(found: Result<Option<Object>, ApiError>) -> Outcome {
        let meant = Meant::Deleted { uid: "a".into(), answer: "please try again" };
        judge_look(target(), meant, found).outcomes.remove(0)
    }

    #[test]
    fn a_conflict_on_a_delete_is_no_proof_that_the_object_is_gone() {
        assert!(matches!(after_conflict(Ok(None)), Outcome::Gone { .. }));
        assert!(matches!(after_conflict(live("b", false)), Outcome::Gone { .. }));
        assert!(
            matches!(after_conflict(live("a", true)), Outcome::StillThere { found, .. } if found.object.is_deleting())
        );
        let Outcome::DeleteFailed { message, .. } = after_conflict(live("a", false)) else { panic!() };
        assert_eq!(message, "it is still there and not being deleted (please try again)");
        assert!(matches!(after_conflict(Err(ApiError::Timeout)), Outcome::DeleteFailed { .. }));
        assert!(matches!(after_conflict(Err(ApiError::KindUnknown)), Outcome::DeleteFailed { .. }));
    }

    #[test]
    fn a_mirror_that_does_not_fit_its_schema_gets_the_wanted_spec() {
        let error = |code, message: &str| ApiError::Other { code, message: message.into() };
        assert!(is_untypable(&error(
            500,
            "failed to create typed live object: .spec.size: expected integer"
        )));
        assert!(!is_untypable(&error(
            500,
            "failed to create typed patch object: .spec.size: expected integer"
        )));

        let mirror = |hub_id: &str, spec: Value| json!({"metadata": {"uid": "u", "resourceVersion": "7", "labels": {hub::HUB_ID: hub_id}}, "spec": spec});
        let live = Object(mirror("us", json!({"size": "small", "old": 1, "same": true})));
        let desired = json!({"spec": {"size": 1, "same": true}});
        let want =
            json!({"metadata": {"uid": "u", "resourceVersion": "7"}, "spec": {"size": 1, "old": null}});
        assert_eq!(mending(&live, &desired, "us"), Some(want));
        assert_eq!(mending(&live, &desired, "them"), None);
        assert_eq!(mending(&live, &live.0, "us"), None);
    }

    #[test]
    fn a_look_at_a_name_tells_who_has_it() {
        let any = |found| judge_look(target(), Meant::Any, found).outcomes.remove(0);
        assert!(
            matches!(any(live("x", false)), Outcome::StillThere { found, .. } if found.object.uid() == "x")
        );
        assert!(matches!(any(Ok(None)), Outcome::Gone { .. }));
    }
}
