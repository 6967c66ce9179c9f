//! One node of the graph: whether it is wanted, what its objects are to be, and whether it is ready.

use super::run::{Fatal, Situation, Walk, readiness};
use super::status::NodeState;
use super::tracked::Trouble;
use super::writing::Wish;
use super::{Guard, HubValues, Machine, Part, children, identity};
use crate::api::Object;
use crate::api::keys::{hub, kro};
use crate::api::names::{GroupKind, ObjectRef};
use crate::graph::{EvalError, External, Node, OnExisting, Pass};
use crate::reconcile::world::{KindState, Looked, Lookup, Stored};
use serde_json::Value;
use std::sync::Arc;

/// The trouble of one desired object, and what is there of it that dependents may read.
pub(super) type Child = (Option<NodeState>, Option<Arc<Stored>>);

impl Machine {
    /// Renders, judges and applies one node, and evaluates whether it is ready.
    pub(super) fn node(
        &mut self,
        walk: &mut Walk,
        pass: &mut Pass,
        situation: &Situation,
        index: usize,
    ) -> Result<NodeState, Fatal> {
        let Situation { wanted, parent, .. } = situation;
        let Some(node) = wanted.graph.nodes.get(index) else { return Ok(NodeState::Skipped) };
        match pass.included(index) {
            Ok(true) => {}
            Ok(false) => {
                self.reads.remove(&node.id);
                return Ok(NodeState::Skipped);
            }
            Err(EvalError::Pending { message }) => return Ok(walk.wait(format!("includeWhen: {message}"))),
            Err(EvalError::Fatal { message }) => return Err(Fatal(format!("includeWhen: {message}"))),
        }
        if let Part::Rest(values) = &wanted.part
            && node.on_hub
        {
            return Ok(on_hub(walk, pass, index, node, values));
        }
        if node.external.is_some() {
            return self.external(walk, pass, index, node);
        }
        if makes_kinds(&node.gvk.group_kind()) && !self.task.is_local() {
            walk.incomplete = true;
            let message = format!(
                "a ResourceGraphDefinition belongs on the hub, where it is served; annotate its template with {}: hub",
                hub::TARGET
            );
            return Ok(NodeState::Failed(Trouble::Incompatible, message));
        }
        let namespaced = match walk.world.kind(&node.gvk.group_kind()) {
            KindState::Synced { namespaced } => namespaced,
            KindState::Missing => {
                walk.incomplete = true;
                let message = format!("the cluster does not serve {}", node.gvk);
                return Ok(NodeState::Failed(Trouble::Incompatible, message));
            }
            KindState::Failed(message) => {
                walk.incomplete = true;
                return Ok(NodeState::Failed(Trouble::Error, message));
            }
            KindState::Unknown | KindState::Syncing => {
                walk.unseen = true;
                return Ok(walk.wait(format!("waiting for the first list of {}", node.gvk)));
            }
        };
        let rendered = match pass.render(index) {
            Ok(rendered) => rendered,
            Err(EvalError::Pending { message }) => return Ok(walk.wait(message)),
            Err(EvalError::Fatal { message }) => return Err(Fatal(message)),
        };
        let mut observed: Vec<Arc<Stored>> = Vec::new();
        let mut states: Vec<NodeState> = Vec::new();
        for item in &rendered {
            let body = children::complete(&self.task, parent.uid(), node, item, namespaced).map_err(Fatal)?;
            let (state, seen) = self.child(walk, node, body)?;
            if let Some(state) = state {
                let applyset = self.task.applyset();
                let is_ours = |s: &Arc<Stored>| s.object.label(kro::APPLYSET_PART_OF) == Some(&applyset);
                match &state {
                    // What it was before it was to be there has to stay.
                    NodeState::Failed(Trouble::OutOfBounds, _) => walk.refused = true,
                    NodeState::Failed(..) if seen.as_ref().is_some_and(is_ours) => walk.refused = true,
                    _ => walk.incomplete = true,
                }
                states.push(state);
            }
            observed.extend(seen);
        }
        let views = if node.is_read() || node.on_hub { walk.views(node, &observed) } else { Vec::new() };
        if node.is_read() {
            pass.observe(index, &views.iter().collect::<Vec<_>>(), rendered.len());
        } else {
            pass.count(index, observed.len(), rendered.len());
        }
        if let Some(state) = NodeState::of_objects(states) {
            return Ok(state);
        }
        Ok(walk.readiness(pass, index, node, views))
    }

    /// A node that is only read: nothing of it is ever written, labelled, pruned or deleted.
    pub(super) fn external(
        &mut self,
        walk: &mut Walk,
        pass: &mut Pass,
        index: usize,
        node: &Node,
    ) -> Result<NodeState, Fatal> {
        let reference = match pass.reference(index) {
            Ok(reference) => reference,
            Err(EvalError::Pending { message }) => return Ok(walk.wait(message)),
            Err(EvalError::Fatal { message }) => return Err(Fatal(message)),
        };
        let lookup = Lookup::of(&node.gvk, reference, &self.task.key.namespace).map_err(Fatal)?;
        self.reads.insert(node.id.clone(), lookup.clone());
        let found = match walk.world.look(&lookup) {
            Looked::Found(found) => found,
            Looked::NotYet => {
                walk.unseen = true;
                return Ok(walk.wait(format!("waiting for external reference {lookup}: not read yet")));
            }
            // Whether it is there is not known: that is never taken for an absence.
            Looked::Failed(why) => {
                return Ok(walk.wait(format!("waiting for external reference {lookup}: {why}")));
            }
            Looked::NotServed => {
                walk.incomplete = true;
                let message = format!("the cluster does not serve {}", node.gvk);
                return Ok(NodeState::Failed(Trouble::Incompatible, message));
            }
        };
        let views: Vec<Value> = found.iter().map(|s| s.object.unpack().0).collect();
        let missing = node.external == Some(External::Named) && views.is_empty();
        let wanted = if missing { 1 } else { views.len() };
        pass.observe(index, &views.iter().collect::<Vec<_>>(), wanted);
        if missing {
            return Ok(NodeState::Waiting(format!("waiting for external reference {lookup}: not found")));
        }
        Ok(walk.readiness(pass, index, node, views))
    }

    /// One desired object: its trouble, if any, and what is there of it that dependents may read.
    pub(super) fn child(&mut self, walk: &mut Walk, node: &Node, body: Value) -> Result<Child, Fatal> {
        let object = Object(body);
        let target = object.object_ref();
        if let Some(other) = walk.desired.insert(target.clone(), node.id.clone()) {
            let message = format!(
                "found resources with conflicts: resourceID: {other} conflicts with resourceID: {}",
                node.id
            );
            return Err(Fatal(message));
        }
        let within = match walk.world.bounds().admit(&self.task.key.namespace, object) {
            Ok(within) => within,
            Err(why) => return Ok(self.out_of_bounds(walk, target, why)),
        };
        let outside = !target.namespace.is_empty() && *target.namespace != *self.task.key.namespace;
        if outside {
            // Also where it is on record: the record is not to shrink by it.
            self.extra_namespaces.insert(target.namespace.to_string());
        }
        if outside && !self.namespace_is_recorded(walk, &target.namespace) {
            walk.step.wake_at = Some(walk.now.at);
            return Ok((Some(NodeState::Waiting(format!("recording namespace {}", target.namespace))), None));
        }
        let stored = walk.world.get(&target);
        if let Some(refused) = self.of_another(walk, &target, stored.as_deref()) {
            walk.step.awaited.insert(target);
            return Ok((Some(refused), None));
        }
        let mut guard = self.guard(node);
        if let Some(found) = &stored {
            if found.object.label(kro::APPLYSET_PART_OF).is_some() {
                guard = Guard::None;
            }
            if found.object.is_deleting() {
                let going = NodeState::Terminating(children::being_deleted(&target));
                walk.step.awaited.insert(target);
                return Ok((Some(going), None));
            }
        }
        if stored.is_none() && !self.objects.get(&target).is_some_and(|tracked| tracked.was_ours()) {
            if let Some(held) = self.hold_new_name(walk, &node.id, &target) {
                return Ok((Some(held), None));
            }
            walk.made.insert(target.clone());
        }
        let state = self.apply_if_needed(walk, &target, stored.clone(), Wish::child(within, guard, node));
        let readable = match &state {
            None | Some(NodeState::Failed(..)) => stored,
            // While a write is under way, readiness of the old content says nothing.
            Some(_) => None,
        };
        Ok((state, readable))
    }

    /// What is said of an object that another instance has, or had until a moment ago. It is never taken from that one, and
    /// taken up once that one gave it up.
    fn of_another(&mut self, walk: &Walk, target: &ObjectRef, stored: Option<&Stored>) -> Option<NodeState> {
        let part_of = stored.and_then(|found| found.object.label(kro::APPLYSET_PART_OF));
        let is_mirror = |found: &&Stored| !self.task.is_local() && identity::is_mirror(found);
        let ours = part_of.map(|id| id == self.task.applyset());
        if let Some(found) = stored.filter(|found| ours == Some(false) || is_mirror(found)) {
            let owner = children::owner_of(&found.object.unpack());
            let message =
                format!("{target} exists and belongs to {owner}, a different ApplySet; cannot reassign");
            self.tracked(target).another_has_it(message.clone());
            return Some(NodeState::Failed(Trouble::Conflict, message));
        }
        if ours == Some(true) {
            return None;
        }
        let tracked = self.objects.get_mut(target)?;
        tracked.may_be_taken_back(walk.now).map(NodeState::of_failure)
    }

    /// Nothing is written; what stands there of this instance stays as it is.
    fn out_of_bounds(&self, walk: &mut Walk, target: ObjectRef, why: String) -> Child {
        let ours = |s: &Arc<Stored>| s.object.label(kro::APPLYSET_PART_OF) == Some(&self.task.applyset());
        let stands = walk.world.get(&target).filter(ours);
        walk.out_of_bounds.insert(target);
        (Some(NodeState::Failed(Trouble::OutOfBounds, why)), stands)
    }

    pub(super) fn guard(&self, node: &Node) -> Guard {
        let policy = node.on_existing.unwrap_or(if self.task.is_local() {
            OnExisting::Adopt
        } else {
            OnExisting::Fail
        });
        match policy {
            OnExisting::Adopt => Guard::None,
            OnExisting::AdoptIfEqual => Guard::AdoptIfEqual,
            OnExisting::Fail => Guard::MustBeFree,
        }
    }

    pub(super) fn namespace_is_recorded(&self, walk: &Walk, namespace: &str) -> bool {
        let parent = self.local_parent().or_else(|| walk.world.get(&self.task.key.object()));
        let recorded = parent.and_then(|p| self.recorded_inventory(&p).ok().flatten());
        recorded.is_some_and(|i| i.namespaces.contains(namespace))
    }
}

/// A node that lives on the hub, seen from another cluster.
pub(super) fn on_hub(
    walk: &mut Walk,
    pass: &mut Pass,
    index: usize,
    node: &Node,
    values: &HubValues,
) -> NodeState {
    let Some(objects) = values.get(&node.id) else {
        return walk.wait(format!("waiting for {} on the hub", node.id));
    };
    let views: Vec<&Value> = objects.iter().collect();
    pass.observe(index, &views, views.len());
    readiness(pass, index)
}

/// Its objects are definitions themselves.
pub(super) fn makes_kinds(gk: &GroupKind) -> bool {
    &*gk.group == kro::GROUP && &*gk.kind == "ResourceGraphDefinition"
}
