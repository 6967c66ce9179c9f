//! What an actor writes is tried.

use super::reading::{failed, named};
use super::trying::Try;
use super::{Answer, AsIf, Deed, Failed, Stage, What, as_if};
use crate::api::Object;
use crate::api::keys::kro;
use crate::api::names::{InstanceKey, ObjectRef};
use crate::reconcile::spoke::{Action, Outcome, Task};
use crate::reconcile::world::{Stored, World};
use crate::spoke::actor::Event;
use crate::spoke::client::ApiError;
use crate::spoke::perform::{self, Done, Meant, resource_of};
use crate::spoke::redacted;
use crate::spoke::watch::Seen;
use kube::core::ApiResource;
use std::sync::Arc;

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
        let answered =
            |done: Done| Answer { events: vec![Event::Done(key.clone(), done)], ..Answer::default() };
        Ok(match action {
            Action::Apply(apply) => {
                let resource = resource_of(&apply.gvk, resource, task);
                self.apply(&Try { key: &key, task, apply: &apply, resource: &resource }).await?
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
                        Answer { deed, ..answered(perform::released(object, uid)) }
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
                answer.events.extend(self.leaves(object));
                answer
            }
            Action::EnsureNamespace(name) => {
                Answer { namespace: Some(name), ..answered(Outcome::NamespaceReady.into()) }
            }
            // What is said of an instance is no part of what is planned. Unanswered, it is said once.
            Action::WriteStatus { .. }
            | Action::EnsureKind(..)
            | Action::ListAnew(_)
            | Action::EnsureGraph(..)
            | Action::EnsureCrd { .. } => answered(Done { outcomes: Vec::new(), uid: None, seen: None }),
        })
    }

    pub(super) fn deed(
        &self,
        key: &InstanceKey,
        object: &ObjectRef,
        manager: &'static str,
        what: What,
    ) -> Deed {
        let before = self.live.get(object).cloned().flatten();
        Deed { key: key.clone(), object: object.clone(), manager, before, what }
    }

    async fn delete(&self, key: &InstanceKey, gone: Gone<'_>) -> Result<Answer, Failed> {
        let Gone { object, resource, uid } = gone;
        let answered =
            |done: Done| Answer { events: vec![Event::Done(key.clone(), done)], ..Answer::default() };
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
        let (found, left) = (Arc::new(Stored::new(left.clone())), Arc::new(left));
        let outcome = Outcome::StillThere { object: object.clone(), found: found.clone() };
        let seen = Some((object.clone(), found));
        let known = AsIf { value: left, manager: kro::MANAGER_LABELLER, made: false };
        Ok(Answer {
            deed,
            as_if: Some((object, known)),
            ..answered(Done { outcomes: vec![outcome], uid: None, seen })
        })
    }

    /// Nothing keeps it any more.
    fn leaves(&self, object: ObjectRef) -> Option<Event> {
        let (serial, stored) = self.done.read(|store| {
            let serial = store.kind_of(&object.gk).map(|kind| kind.serial);
            (serial, store.get(&object))
        });
        let uid = stored?.object.uid().to_owned();
        let gk = object.gk.clone();
        Some(Event::Watch(gk, serial?, Seen::Left(object, uid, self.versions.next())))
    }
}
