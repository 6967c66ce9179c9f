//! One object: whether it is written now, and what is said while it is not.

use super::run::Walk;
use super::status::NodeState;
use super::tracked::{Cause, Desired, Tracked, Verdict};
use super::{Action, Apply, Guard, Machine};
use crate::api::Object;
use crate::api::keys::kro;
use crate::api::names::ObjectRef;
use crate::graph::{Graph, Node};
use crate::reconcile::bounds::Within;
use crate::reconcile::settled::Rules;
use crate::reconcile::world::Stored;
use crate::schema::kinds::Kind;
use serde_json::Value;
use std::sync::Arc;

/// An object as it shall be, and how it is written and compared.
pub(super) struct Wish<'w> {
    body: Value,
    manager: &'static str,
    guard: Guard,
    /// What the cluster says of the kind.
    kind: Option<&'w Arc<Kind>>,
    /// Of a generated kind, where the body was read from a server of the same schema.
    served: Option<&'w Value>,
    /// What was read from a Secret may be in the body.
    carries_secret: bool,
}

impl<'w> Wish<'w> {
    fn new(body: Value, manager: &'static str) -> Self {
        Self { body, manager, guard: Guard::None, kind: None, served: None, carries_secret: false }
    }
    /// The only way to write a resource: where the cluster's rules let it.
    pub fn child(within: Within, guard: Guard, node: &'w Node) -> Self {
        let (kind, carries_secret) = (node.kind.as_ref(), node.carries_secret());
        Self { guard, kind, carries_secret, ..Self::new(within.into_body(), kro::MANAGER_APPLYSET) }
    }
    /// What stands on the instance itself, on the hub.
    pub fn parent(body: Value) -> Self {
        Self::new(body, kro::MANAGER_PARENT)
    }
    /// The same, on a cluster that the instance is at home on.
    pub fn labels(body: Value) -> Self {
        Self::new(body, kro::MANAGER_LABELLER)
    }
    pub fn mirror(body: Value, graph: &'w Graph) -> Self {
        Self { served: graph.schema(), ..Self::new(body, kro::MANAGER_LABELLER) }
    }
    fn rules(&self) -> Rules<'w> {
        match self.served {
            Some(schema) => Rules { schema: Some(schema), as_served: true },
            None => Rules { schema: self.kind.map(|kind| &kind.schema), as_served: false },
        }
    }
}

/// What is said of an object that an API server does not take as it is applied. Values are not shown: they may be secret.
fn rewritten(object: &ObjectRef, field: &str) -> String {
    format!(
        "{object}: field {field} is changed by the cluster itself whenever it is written, as an admission policy or webhook does; it is written again every 10 minutes"
    )
}

impl Machine {
    /// Writes an object unless it is settled. `None` when it is.
    pub(super) fn apply_if_needed(
        &mut self,
        walk: &mut Walk,
        target: &ObjectRef,
        stored: Option<Arc<Stored>>,
        wish: Wish,
    ) -> Option<NodeState> {
        let rules = wish.rules();
        let Wish { body, manager, guard, kind, carries_secret, .. } = wish;
        let desired = Desired { body: &body, manager, rules };
        let is_parent = *target == self.task.key.object();
        let tracked = self.tracked(target);
        let verdict = tracked.judge(desired, stored.as_ref(), walk.now);
        let unrest =
            |tracked: &Tracked| tracked.unrest(walk.now).map(|u| NodeState::of_unrest(target, u, is_parent));
        let Verdict::Write(cause) = verdict else {
            let failed = tracked.failure.as_deref().map(NodeState::of_failure);
            let rewritten = tracked.rewritten().map(|field| rewritten(target, field));
            let said = unrest(tracked).filter(|_| failed.is_none());
            match (said, walk.node_of(target).map(str::to_owned)) {
                (Some(said), Some(node)) => walk.restless.push((node, said)),
                (Some(NodeState::Failed(trouble, why)), None) => walk.unrest.push((trouble, why)),
                _ => {}
            }
            walk.notes.extend(rewritten);
            return failed;
        };
        let writing = || NodeState::Waiting(format!("writing {target}"));
        if tracked.busy {
            return Some(unrest(tracked).unwrap_or_else(writing));
        }
        if !tracked.may_try(&body, walk.now) {
            return tracked.failure.as_deref().map(NodeState::of_failure);
        }
        if tracked.is_held(cause, desired, stored.as_deref(), walk.now) {
            walk.held.insert(target.clone());
            return Some(unrest(tracked).unwrap_or_else(writing));
        }
        let guard = if cause == Cause::Gone && guard == Guard::None && !is_parent {
            // It was ours and left the selection: whether it is gone or only relabelled, a read tells who has the name.
            Guard::MustBeFree
        } else {
            guard
        };
        // A retry does not hide what it retries, nor does one more write that it is one of many.
        let failed = tracked.failure.as_deref().map(NodeState::of_failure).or_else(|| unrest(tracked));
        let our_uid = tracked.uid().map(str::to_owned);
        let wish = Wish { guard, kind, carries_secret, ..Wish::new(body, manager) };
        self.apply(walk, target, wish, our_uid);
        Some(failed.unwrap_or_else(writing))
    }

    /// What is remembered of an object, also if it was gone for a while.
    pub(super) fn tracked(&mut self, target: &ObjectRef) -> &mut Tracked {
        let former = &mut self.former;
        self.objects.entry(target.clone()).or_insert_with(|| {
            former.remove(target).map(|writes| Box::new(Tracked::of_name(writes))).unwrap_or_default()
        })
    }

    pub(super) fn apply(&mut self, walk: &mut Walk, target: &ObjectRef, wish: Wish, our_uid: Option<String>) {
        let Wish { body, manager, guard, kind, carries_secret, .. } = wish;
        let tracked = self.objects.entry(target.clone()).or_default();
        if tracked.busy || !tracked.may_try(&body, walk.now) {
            return;
        }
        tracked.start_write();
        let gvk = Object(body.clone()).gvk();
        walk.step.actions.push(Action::Apply(Box::new(Apply {
            object: target.clone(),
            gvk,
            manager,
            body,
            guard,
            our_uid,
            applyset: self.task.applyset(),
            kind: kind.cloned(),
            carries_secret,
        })));
    }

    /// An expression that cannot succeed stops the whole pass: none of its children is written.
    pub(super) fn abandon_writes(&mut self, walk: &mut Walk) {
        let objects = &mut self.objects;
        walk.step.actions.retain(|action| match action {
            Action::Apply(apply) if apply.manager == kro::MANAGER_APPLYSET => {
                if let Some(tracked) = objects.get_mut(&apply.object) {
                    tracked.busy = false;
                }
                false
            }
            _ => true,
        });
    }
}
