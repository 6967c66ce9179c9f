//! What an actor writes is tried.

use super::reading::{failed, named};
use super::{Answer, AsIf, Deed, Failed, Stage, What, as_if};
use crate::api::Object;
use crate::api::keys::kro;
use crate::api::names::{InstanceKey, ObjectRef};
use crate::reconcile::lists;
use crate::reconcile::spoke::tracked::Trouble;
use crate::reconcile::spoke::{Action, Apply, Guard, Home, Outcome, Task, being_deleted};
use crate::reconcile::world::Stored;
use crate::spoke::actor::Event;
use crate::spoke::client::ApiError;
use crate::spoke::crd::Brought;
use crate::spoke::perform::{self, Done, Meant, resource_of};
use crate::spoke::redacted;
use crate::spoke::watch::Seen;
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::sync::Arc;

/// What a webhook with side effects makes an API server say to a dry run.
const NO_DRY_RUN: &str = "does not support dry run";

/// An object to delete.
struct Gone<'a> {
    object: ObjectRef,
    resource: &'a ApiResource,
    uid: String,
}

impl Stage<'_> {
    pub(super) async fn perform(
        &self,
        key: InstanceKey,
        task: &Task,
        action: Action,
        resource: Option<ApiResource>,
    ) -> Result<Answer, Failed> {
        let answered = |done: Done| Answer { events: vec![Event::Done(key.clone(), done)], ..Answer::default() };
        Ok(match action {
            Action::Apply(apply) => {
                let resource = resource_of(&apply.gvk, resource, task);
                self.apply(&key, task, *apply, &resource).await?
            }
            Action::Delete { object, gvk, uid } => {
                let resource = &resource_of(&gvk, resource, task);
                self.delete(&key, Gone { object, resource, uid }).await?
            }
            Action::VerifyGone { object, gvk } => {
                let resource = resource_of(&gvk, resource, task);
                answered(perform::look(self.verbs, object, &resource, Meant::Any).await)
            }
            Action::Release { object, uid, gvk, patch } => {
                let resource = resource_of(&gvk, resource, task);
                let tried = self.verbs.at(&resource, &object.namespace, &object.name).merge_patch(&patch);
                let deed = |what| self.deed(&key, &object, kro::MANAGER_APPLYSET, what);
                match tried.await {
                    Ok(_) | Err(ApiError::NotFound) => {
                        let deed = Some(deed(What::Released));
                        Answer { deed, ..answered(perform::gone(object, uid)) }
                    }
                    Err(error) if error.is_contact_problem() => {
                        return Err(failed(|| format!("patch {}", named(&resource)))(error));
                    }
                    Err(error) => {
                        let deed = Some(deed(What::DeleteRefused(redacted::text(&object, &error))));
                        Answer { deed, ..answered(perform::delete_failed(object, &error)) }
                    }
                }
            }
            Action::RemoveFinalizer { object, .. } => {
                let mut answer = answered(Outcome::FinalizerRemoved { object: object.clone() }.into());
                answer.events.extend(self.left(object));
                answer
            }
            Action::EnsureNamespace(name) => {
                Answer { namespace: Some(name), ..answered(Outcome::NamespaceReady.into()) }
            }
            // What is said of an instance is no part of what is planned. Unanswered, it is said once.
            Action::WriteStatus { .. }
            | Action::EnsureKind(..)
            | Action::EnsureGraph(..)
            | Action::EnsureCrd { .. } => {
                answered(Done { outcomes: Vec::new(), uid: None, seen: None })
            }
        })
    }

    fn deed(&self, key: &InstanceKey, object: &ObjectRef, manager: &'static str, what: What) -> Deed {
        let before = self.live.get(object).cloned().flatten();
        Deed { key: key.clone(), object: object.clone(), manager, before, what }
    }

    async fn apply(
        &self,
        key: &InstanceKey,
        task: &Task,
        apply: Apply,
        resource: &ApiResource,
    ) -> Result<Answer, Failed> {
        let Apply { object, manager, body, .. } = &apply;
        let known = self.as_if.get(object);
        if let Home::Local { instance } = &task.home
            && *object == task.key.object()
        {
            // As the hub would have it by then, which no API server knows yet.
            let instance = instance.object.unpack();
            let known = known.map_or(&instance.0, |known| &known.value);
            return Ok(self.as_applied(key, &apply, Some(known), None, false));
        }
        if let Some(known) = known.filter(|known| known.manager != *manager && *manager != kro::MANAGER_APPLYSET)
        {
            return Ok(self.as_applied(key, &apply, Some(&known.value), None, known.made));
        }
        let kind = self.coming.get(&object.gk);
        let live = match self.live.get(object) {
            Some(live) => live.clone(),
            None if kind.is_some_and(|(_, brought)| *brought == Brought::New) => None,
            None => {
                let read = self.verbs.at(resource, &object.namespace, &object.name).get().await;
                let read = match read {
                    Err(ApiError::KindUnknown) => None,
                    read => read.map_err(failed(|| format!("get {}", named(resource))))?,
                };
                read.map(Arc::new)
            }
        };
        let note = vec![(object.clone(), live.clone())];
        if let Some(refused) = self.guarded(key, &apply, live.as_deref()) {
            return Ok(Answer { live: note, ..refused });
        }
        let first = match kind {
            Some((graph, _)) => Some(format!("CustomResourceDefinition {}", graph.crd_name())),
            None => self.namespace_comes(&object.namespace).then(|| format!("namespace {}", object.namespace)),
        };
        if let Some(first) = first {
            let untried = Some(format!("{first} would come first"));
            let base = known.map(|known| &*known.value).or(live.as_deref());
            let made = live.is_none();
            return Ok(Answer { live: note, ..self.as_applied_untried(key, &apply, base, (untried, made)) });
        }
        let mut sent = body.clone();
        let own = *manager == kro::MANAGER_PARENT || (task.is_nested() && *object == task.key.object());
        if own && live.is_some() {
            sent["metadata"]["uid"] = json!(task.hub_uid);
        }
        let tried = self.verbs.at(resource, &object.namespace, &object.name).apply(manager, &sent).await;
        let answer = match tried {
            Ok(answer) => self.done(key, &apply, answer, live.as_ref()),
            Err(error) => self.not_applied(key, task, &apply, (error, live.as_ref()), resource)?,
        };
        Ok(Answer { live: note, ..answer })
    }

    /// Whether a namespace would be made in this plan.
    fn namespace_comes(&self, name: &str) -> bool {
        let gk = crate::api::names::GroupKind::new("", "Namespace");
        let made = || self.as_if.get(&ObjectRef::new(gk, "", name)).is_some_and(|known| known.made);
        !name.is_empty() && (self.done.namespaces.contains(name) || made())
    }

    /// As production, where policy does not take what is there.
    fn guarded(&self, key: &InstanceKey, apply: &Apply, live: Option<&Value>) -> Option<Answer> {
        let found = Object(live.filter(|_| apply.guard != Guard::None)?.clone());
        let (trouble, why) = match apply.may_take(&found) {
            Err(owner) => {
                (Trouble::Conflict, format!("{} exists and belongs to {owner}", apply.object))
            }
            Ok(()) if found.is_deleting() => (Trouble::Terminating, being_deleted(&apply.object)),
            Ok(()) => return None,
        };
        Some(self.refused(key, apply, (trouble, why), Some(&found.0)))
    }

    fn refused(
        &self,
        key: &InstanceKey,
        apply: &Apply,
        (trouble, why): (Trouble, String),
        live: Option<&Value>,
    ) -> Answer {
        let outcome = Outcome::ApplyFailed {
            object: apply.object.clone(),
            body: Arc::new(apply.body.clone()),
            trouble,
            message: why.clone(),
            missing_namespace: None,
            unanswered: false,
        };
        let what = What::Refused { body: Arc::new(apply.body.clone()), why };
        let before = live.map(|live| Arc::new(live.clone()));
        let deed = Deed { before, ..self.deed(key, &apply.object, apply.manager, what) };
        Answer { events: vec![Event::Done(key.clone(), outcome.into())], deed: Some(deed), ..Answer::default() }
    }

    fn not_applied(
        &self,
        key: &InstanceKey,
        task: &Task,
        apply: &Apply,
        (error, live): (ApiError, Option<&Arc<Value>>),
        resource: &ApiResource,
    ) -> Result<Answer, Failed> {
        let object = &apply.object;
        if error.is_contact_problem() {
            return Err(failed(|| format!("patch {}", named(resource)))(error));
        }
        if let ApiError::NamespaceMissing { namespace } = &error
            && task.is_mirrored()
            && *object == task.key.object()
        {
            let outcome = Outcome::ApplyFailed {
                object: object.clone(),
                body: Arc::new(apply.body.clone()),
                trouble: Trouble::Error,
                message: error.to_string(),
                missing_namespace: Some(namespace.clone()),
                unanswered: false,
            };
            return Ok(Answer {
                events: vec![Event::Done(key.clone(), outcome.into())],
                ..Answer::default()
            });
        }
        if let ApiError::Invalid { message } = &error {
            let mends = |live: &Arc<Value>| {
                lists::hand_over(live, &apply.body, apply.manager, message).is_some()
            };
            let untried = if message.contains(NO_DRY_RUN) {
                Some("a webhook there has side effects")
            } else if live.is_some_and(mends) {
                Some("items that others put into its lists are taken over first")
            } else {
                None
            };
            if let Some(why) = untried {
                let base = live.map(|live| &**live);
                let told = (Some(why.to_owned()), live.is_none());
                return Ok(self.as_applied_untried(key, apply, base, told));
            }
        }
        let why = redacted::text(object, &error);
        Ok(self.refused(key, apply, (perform::trouble(&error), why), live.map(|live| &**live)))
    }

    /// An answer, as if it had been stored.
    fn done(&self, key: &InstanceKey, apply: &Apply, answer: Value, live: Option<&Arc<Value>>) -> Answer {
        let known = self.as_if.get(&apply.object);
        let uid = known.and_then(|known| known.value.pointer("/metadata/uid")?.as_str());
        let mut after = as_if::stored(answer, self.versions.next(), uid);
        if let Some(known) = known.filter(|known| known.manager != apply.manager) {
            after = as_if::with_marks_of(after, &known.value);
        }
        self.told(key, apply, after, (None, live))
    }

    /// Where no API server judges it.
    fn as_applied_untried(
        &self,
        key: &InstanceKey,
        apply: &Apply,
        base: Option<&Value>,
        (untried, made): (Option<String>, bool),
    ) -> Answer {
        self.as_applied(key, apply, base, untried, made)
    }

    fn as_applied(
        &self,
        key: &InstanceKey,
        apply: &Apply,
        base: Option<&Value>,
        untried: Option<String>,
        made: bool,
    ) -> Answer {
        let after = as_if::applied(base, &apply.body, apply.manager, self.versions.next());
        let nothing = Arc::new(Value::Null);
        let live = (!made).then_some(&nothing);
        self.told(key, apply, after, (untried, live))
    }

    fn told(
        &self,
        key: &InstanceKey,
        apply: &Apply,
        after: Value,
        (untried, live): (Option<String>, Option<&Arc<Value>>),
    ) -> Answer {
        let (body, after) = (Arc::new(apply.body.clone()), Arc::new(after));
        let outcome = Outcome::Applied {
            object: apply.object.clone(),
            body: body.clone(),
            manager: apply.manager,
            stored: Arc::new(Stored::new((*after).clone())),
        };
        let what = What::Applied { body, after: after.clone(), untried };
        let mut deed = self.deed(key, &apply.object, apply.manager, what);
        if let Some(live) = live.filter(|live| !live.is_null()) {
            deed.before = Some(live.clone());
        }
        let known = AsIf { value: after, manager: apply.manager, made: live.is_none() };
        Answer {
            events: vec![Event::Done(key.clone(), outcome.into())],
            deed: Some(deed),
            as_if: Some((apply.object.clone(), known)),
            ..Answer::default()
        }
    }

    async fn delete(&self, key: &InstanceKey, gone: Gone<'_>) -> Result<Answer, Failed> {
        let Gone { object, resource, uid } = gone;
        let answered = |done: Done| Answer { events: vec![Event::Done(key.clone(), done)], ..Answer::default() };
        let known = self.as_if.get(&object);
        if known.is_none_or(|known| !known.made) {
            let tried = self.verbs.at(resource, &object.namespace, &object.name).delete(&uid).await;
            match tried {
                Ok(_) => {}
                Err(error) if error.is_contact_problem() => {
                    return Err(failed(|| format!("delete {}", named(resource)))(error));
                }
                Err(error) => {
                    let what = What::DeleteRefused(redacted::text(&object, &error));
                    let deed = Some(self.deed(key, &object, kro::MANAGER_APPLYSET, what));
                    return Ok(Answer { deed, ..answered(perform::delete_failed(object, &error)) });
                }
            }
        }
        let deed = Some(self.deed(key, &object, kro::MANAGER_APPLYSET, What::Deleted));
        let live = || self.live.get(&object).and_then(Option::as_ref);
        let value = known.map(|known| &known.value).or_else(live);
        let waits = value.filter(|value| Object((***value).clone()).has_finalizer(kro::FINALIZER));
        let Some(value) = waits else {
            return Ok(Answer { deed, ..answered(perform::gone(object, uid)) });
        };
        // An instance of ours: all that it made goes first.
        let left = as_if::leaving(value, &self.now.rfc3339, self.versions.next());
        let (labels, left) = (Object(left.clone()).labels(), Arc::new(left));
        let outcome = Outcome::StillThere { object: object.clone(), uid, deleting: true, labels };
        let seen = Some((object.clone(), Arc::new(Stored::new((*left).clone()))));
        let known = AsIf { value: left, manager: kro::MANAGER_LABELLER, made: false };
        Ok(Answer {
            deed,
            as_if: Some((object, known)),
            ..answered(Done { outcomes: vec![outcome], uid: None, seen })
        })
    }

    /// Nothing keeps it any more.
    fn left(&self, object: ObjectRef) -> Option<Event> {
        let (serial, stored) = self.done.read(|store| {
            let serial = store.kind_of(&object.gk).map(|kind| kind.serial);
            (serial, crate::reconcile::world::World::get(store, &object))
        });
        let uid = stored?.object.uid().to_owned();
        let gk = object.gk.clone();
        Some(Event::Watch(gk, serial?, Seen::Left(object, uid, self.versions.next())))
    }
}
