//! Requests under way: each is a few calls to a server, at moments of their own, and then exactly one answer.
//! What is asked, and what an answer means, is as in the real shell.

use super::api_server::{Refused, Server, crd_kind, namespace_kind};
use crate::api::Object;
use crate::api::keys::{hub, kro};
use crate::api::names::{ClusterName, HubId, InstanceKey, ObjectRef};
use crate::graph::Graph;
use crate::reconcile::fleet::{FleetAction, Left};
use crate::reconcile::spoke::being_deleted;
use crate::reconcile::spoke::tracked::Trouble;
use crate::reconcile::spoke::{Action, Apply, Guard, Outcome, StatusTrouble, Task, namespace_body};
use crate::reconcile::world::{CrdState, CrdWish, Stored};
use crate::schema::{compat, crd};
use serde_json::{Value, json};
use std::sync::Arc;

pub const KIND_ANNOTATION: &str = "hub.kro.run/kind";

#[derive(Clone, Debug)]
pub enum Work {
    Spoke { key: InstanceKey, task: Arc<Task>, action: Action },
    Crd { graph: Arc<Graph> },
    Fleet { key: InstanceKey, object: Arc<Object>, action: FleetAction },
}

impl Work {
    /// What one call of it is.
    pub fn verb(&self, write: bool) -> &'static str {
        match self {
            _ if !write => "get",
            Self::Spoke { action: Action::WriteStatus { .. }, .. }
            | Self::Fleet { action: FleetAction::WriteStatus { .. }, .. } => "status",
            Self::Spoke { action: Action::Apply(_), .. }
            | Self::Fleet { action: FleetAction::PatchMeta { .. }, .. } => "apply",
            _ => "other",
        }
    }
}

#[derive(Debug)]
pub struct Request {
    pub site: ClusterName,
    /// Of the actor, or of the controller, that waits for the answer.
    pub epoch: u64,
    pub work: Work,
    /// Calls done so far.
    pub part: u32,
    pub answer: Option<Answer>,
    /// Not looked at before this time.
    pub not_before: u64,
}

#[derive(Debug)]
pub enum Answer {
    Spoke { outcomes: Vec<Outcome>, uid: Option<String>, seen: Option<Arc<Stored>> },
    Crd(CrdState),
    Meta(Option<Arc<Value>>),
    Status(Option<Arc<Value>>),
    Finalizer(Option<Arc<Value>>),
    Left(ClusterName, Box<Left>, bool),
}

/// How a call fails that the server itself would not have refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server never got it.
    Lost,
    /// The server did it, and the answer was lost.
    Unheard,
    /// The server says 500.
    Error,
    /// The server says 409.
    Conflict,
}

#[derive(Debug)]
enum Failure {
    Contact,
    Error,
    Refused(Refused),
}

impl Failure {
    fn trouble(&self) -> Trouble {
        match self {
            Self::Contact => Trouble::Contact,
            Self::Refused(Refused::KindUnknown) => Trouble::Incompatible,
            _ => Trouble::Error,
        }
    }
}

/// What one call changed on the server, for the laws.
#[derive(Clone, Debug)]
pub enum Wrote {
    Nothing,
    Content(ObjectRef, Arc<Value>),
    Other,
}

/// Where leftovers are recorded.
pub trait Records {
    fn record(&mut self, cluster: &ClusterName, left: &Left);
}

impl Request {
    /// One call. Returns whether it was a write, and what it wrote.
    pub fn call(
        &mut self,
        server: &mut Server,
        records: &mut dyn Records,
        hub_id: &HubId,
        fault: Option<Fault>,
    ) -> (bool, Wrote) {
        let mut line = Line { server, fault, writes: false, wrote: Wrote::Nothing };
        let part = self.part;
        self.part += 1;
        self.answer = match &self.work {
            Work::Spoke { task, action, .. } => spoke(&mut line, task, action, part),
            Work::Crd { graph } => {
                ensure_crd(&mut line, graph, hub_id, part, self.not_before + 60_000).map(Answer::Crd)
            }
            Work::Fleet { object, action, .. } => Some(fleet(&mut line, records, object, action)),
        };
        (line.writes, line.wrote)
    }
}

/// A connection on which a call may fail.
struct Line<'a> {
    server: &'a mut Server,
    fault: Option<Fault>,
    writes: bool,
    wrote: Wrote,
}

impl Line<'_> {
    fn read(&mut self, target: &ObjectRef) -> Result<Option<Arc<Value>>, Failure> {
        match self.fault {
            Some(Fault::Error | Fault::Conflict) => Err(Failure::Error),
            Some(_) => Err(Failure::Contact),
            None if self.server.kind(&target.gk).is_none() => Err(Failure::Refused(Refused::KindUnknown)),
            None => Ok(self.server.get(target).cloned()),
        }
    }

    fn write<T>(&mut self, call: impl FnOnce(&mut Server) -> Result<T, Refused>) -> Result<T, Failure> {
        self.writes = true;
        match self.fault {
            Some(Fault::Lost) => Err(Failure::Contact),
            Some(Fault::Error) => Err(Failure::Error),
            Some(Fault::Conflict) => Err(Failure::Refused(Refused::Conflict)),
            Some(Fault::Unheard) => {
                if call(self.server).is_ok() {
                    self.wrote = Wrote::Other;
                }
                Err(Failure::Contact)
            }
            None => {
                let result = call(self.server).map_err(Failure::Refused);
                if result.is_ok() {
                    self.wrote = Wrote::Other;
                }
                result
            }
        }
    }
}

fn answer(outcome: Outcome) -> Option<Answer> {
    Some(Answer::Spoke { outcomes: vec![outcome], uid: None, seen: None })
}

fn gone(object: &ObjectRef, uid: Option<&str>) -> Option<Answer> {
    let outcomes = vec![Outcome::Gone { object: object.clone() }];
    Some(Answer::Spoke { outcomes, uid: uid.map(str::to_owned), seen: None })
}

fn delete_failed(object: &ObjectRef, failure: &Failure) -> Option<Answer> {
    let (object, message, trouble) = (object.clone(), format!("{failure:?}"), failure.trouble());
    answer(Outcome::DeleteFailed { object, message, trouble })
}

fn spoke(line: &mut Line, task: &Task, action: &Action, part: u32) -> Option<Answer> {
    match action {
        Action::Apply(apply) => apply_object(line, task, apply, part),
        Action::VerifyGone { object, .. } => look(line, object, None),
        Action::Delete { object, uid, .. } => {
            if part > 0 {
                return look(line, object, Some(uid));
            }
            match line.write(|s| s.delete(object, Some(uid))) {
                Ok(_) => None,
                Err(Failure::Refused(Refused::NotFound | Refused::Conflict)) => gone(object, Some(uid)),
                Err(failure) => delete_failed(object, &failure),
            }
        }
        Action::Release { object, uid, patch, .. } => {
            match line.write(|s| s.merge_patch(object, hub::MANAGER, false, patch)) {
                Ok(_) | Err(Failure::Refused(Refused::NotFound | Refused::Conflict)) => {
                    gone(object, Some(uid))
                }
                Err(failure) => delete_failed(object, &failure),
            }
        }
        Action::RemoveFinalizer { object, patch, .. } => {
            match line.write(|s| s.merge_patch(object, hub::MANAGER, false, patch)) {
                Ok(_) => answer(Outcome::FinalizerRemoved { object: object.clone() }),
                Err(Failure::Refused(Refused::NotFound)) => gone(object, None),
                Err(failure) => delete_failed(object, &failure),
            }
        }
        Action::WriteStatus { patch, uid, .. } => {
            let patch = json!({"metadata": {"uid": uid}, "status": patch});
            match line.write(|s| s.merge_patch(&task.key.object(), hub::MANAGER, true, &patch)) {
                Ok(live) => Some(Answer::Spoke {
                    outcomes: vec![Outcome::StatusWritten],
                    uid: None,
                    seen: Some(Arc::new(Stored::new((*live).clone()))),
                }),
                Err(failure) => {
                    let trouble = match failure {
                        Failure::Refused(Refused::NotFound) => StatusTrouble::Missing,
                        _ => StatusTrouble::Passing,
                    };
                    answer(Outcome::StatusFailed { message: format!("{failure:?}"), trouble })
                }
            }
        }
        Action::EnsureNamespace(name) => {
            let target = ObjectRef::new(namespace_kind(), "", name);
            match line.write(|s| s.create(&target, hub::MANAGER, &namespace_body(name))) {
                Ok(_) | Err(Failure::Refused(Refused::AlreadyExists)) => answer(Outcome::NamespaceReady),
                Err(failure) => answer(Outcome::NamespaceFailed { message: format!("{failure:?}") }),
            }
        }
        Action::EnsureKind(..) | Action::EnsureGraph(..) | Action::EnsureCrd { .. } => {
            Some(Answer::Spoke { outcomes: Vec::new(), uid: None, seen: None })
        }
    }
}

fn apply_object(line: &mut Line, task: &Task, apply: &Apply, part: u32) -> Option<Answer> {
    let body = Arc::new(apply.body.clone());
    let failed = |trouble: Trouble, message: String, missing_namespace: Option<String>| {
        let object = apply.object.clone();
        answer(Outcome::ApplyFailed {
            object,
            body: body.clone(),
            trouble,
            message,
            missing_namespace,
            unanswered: false,
        })
    };
    if part == 0 && apply.guard != Guard::None {
        let found = match line.read(&apply.object) {
            Err(failure) => return failed(failure.trouble(), format!("{failure:?}"), None),
            Ok(found) => found.map(|v| Object((*v).clone())),
        };
        if let Some(found) = found {
            if let Err(owner) = apply.may_take(&found) {
                let message = format!("{} exists and belongs to {owner}", apply.object);
                return failed(Trouble::Conflict, message, None);
            }
            if found.is_deleting() {
                return failed(Trouble::Terminating, being_deleted(&apply.object), None);
            }
        }
        return None;
    }
    let mut sent = apply.body.clone();
    if apply.manager == kro::MANAGER_PARENT {
        sent["metadata"]["uid"] = json!(task.hub_uid);
    }
    let result = line.write(|s| s.apply(&apply.object, apply.manager, &sent));
    if matches!(line.wrote, Wrote::Other)
        && let Some(live) = line.server.get(&apply.object)
    {
        line.wrote = Wrote::Content(apply.object.clone(), live.clone());
    }
    match result {
        Ok(live) => answer(Outcome::Applied {
            object: apply.object.clone(),
            body: body.clone(),
            manager: apply.manager,
            stored: Arc::new(Stored::new((*live).clone())),
        }),
        Err(failure) => {
            let missing = match &failure {
                Failure::Refused(Refused::NamespaceMissing(namespace)) => Some(namespace.clone()),
                _ => None,
            };
            failed(failure.trouble(), format!("{failure:?}"), missing)
        }
    }
}

fn look(line: &mut Line, object: &ObjectRef, meant: Option<&str>) -> Option<Answer> {
    match line.read(object) {
        Ok(None) | Err(Failure::Refused(Refused::KindUnknown)) => gone(object, meant),
        Ok(Some(found)) => {
            let found = Object((*found).clone());
            match meant {
                Some(uid) if uid != found.uid() => gone(object, meant),
                _ => answer(Outcome::StillThere {
                    object: object.clone(),
                    uid: found.uid().to_owned(),
                    deleting: found.is_deleting(),
                    labels: found.labels(),
                }),
            }
        }
        Err(failure) => delete_failed(object, &failure),
    }
}

/// A CRD as it is written to a spoke.
pub fn crd_of(graph: &Graph, hub_id: &HubId) -> Value {
    let mut wanted = crd::for_spoke(&graph.crd, hub_id);
    wanted["metadata"]["annotations"][KIND_ANNOTATION] = json!(*graph.gvk.kind);
    wanted
}

fn ensure_crd(line: &mut Line, graph: &Graph, hub_id: &HubId, part: u32, retry_at: u64) -> Option<CrdState> {
    let wanted = crd_of(graph, hub_id);
    let target = ObjectRef::new(crd_kind(), "", Object(wanted.clone()).name());
    let ready = CrdState::Ready { hash: graph.crd_hash() };
    let wish = CrdWish { hash: graph.crd_hash(), allow_breaking: false };
    let refused = |reason: &'static str, message: String| CrdState::Refused {
        reason,
        message,
        wish: wish.clone(),
        retry_at: Some(retry_at),
    };
    let failed = |failure: &Failure| match failure {
        Failure::Contact => CrdState::Unknown,
        other => refused("CRDNotReady", format!("{other:?}")),
    };
    if part == 0 {
        return match line.read(&target) {
            Err(failure) => Some(failed(&failure)),
            Ok(None) => None,
            Ok(Some(live)) => {
                let changes = compat::compare(&live, &wanted);
                if changes.is_empty() {
                    return Some(ready);
                }
                let refusal = compat::refusal(&target.name, &changes);
                refusal.map(|message| refused("Incompatible", message))
            }
        };
    }
    Some(match line.write(|s| s.apply(&target, hub::MANAGER, &wanted)) {
        Ok(_) => ready,
        Err(failure) => failed(&failure),
    })
}

fn fleet(line: &mut Line, records: &mut dyn Records, object: &Object, action: &FleetAction) -> Answer {
    let target = object.object_ref();
    match action {
        FleetAction::PatchMeta { body } => {
            let mut body = body.clone();
            body["metadata"]["uid"] = json!(object.uid());
            Answer::Meta(line.write(|s| s.apply(&target, kro::MANAGER_LABELLER, &body)).ok())
        }
        FleetAction::WriteStatus { patch } => {
            let patch = json!({"metadata": {"uid": object.uid()}, "status": patch});
            Answer::Status(line.write(|s| s.merge_patch(&target, hub::MANAGER, true, &patch)).ok())
        }
        FleetAction::RemoveFinalizer => {
            let rest: Vec<String> = object.finalizers().into_iter().filter(|f| f != kro::FINALIZER).collect();
            let patch =
                json!({"metadata": {"finalizers": rest, "resourceVersion": object.resource_version()}});
            Answer::Finalizer(line.write(|s| s.merge_patch(&target, hub::MANAGER, false, &patch)).ok())
        }
        FleetAction::RecordLeft { cluster, left } => {
            let result = line.write(|_| {
                records.record(cluster, left);
                Ok(())
            });
            Answer::Left(cluster.clone(), Box::new(left.clone()), result.is_ok())
        }
        // The hub side hands these over itself.
        FleetAction::Send { .. }
        | FleetAction::Forget { .. }
        | FleetAction::Tell { .. }
        | FleetAction::Evaluate(_) => unreachable!(),
    }
}
