//! The instance shall be there: CRD, mirror, children by dependency, prune, status.

use super::status::{self, InstanceState, NodeState, Report, Summary, merge_patch, status_value};
use super::tracked::{Cause, Tracked, Trouble, Verdict};
use super::{
    Action, Apply, Guard, HubValues, Machine, MirrorContent, Part, Step, children, has_hub_part, identity,
    nested,
};
use crate::api::condition::{Condition, ConditionStatus};
use crate::api::keys::{hub, kro};
use crate::api::names::{GroupKind, ObjectRef};
use crate::api::{Object, hash};
use crate::graph::{AuthorConditions, EvalError, External, Graph, Node, OnExisting, Pass, Readiness};
use crate::reconcile::settled::Rules;
use crate::reconcile::world::{
    Again, Compiled, CrdAnswer, CrdWish, Definition, KindState, Looked, Lookup, Stored, World,
};
use crate::reconcile::{Now, Retry};
use crate::schema::kinds::Kind;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// For so long a new machine keeps silent while first lists are under way.
const STARTING_MILLIS: u64 = 10_000;

/// The goal of a run, unpacked.
#[derive(Clone)]
pub(super) struct Wanted {
    pub graph: Arc<Graph>,
    pub part: Part,
    pub mirror: Arc<MirrorContent>,
    pub suspended: bool,
    pub allow_breaking: bool,
    pub cluster: Arc<Value>,
}

/// An object as it shall be, and how it is written and compared.
pub(super) struct Wish<'w> {
    body: Value,
    manager: &'static str,
    guard: Guard,
    /// What the cluster says of the kind.
    kind: Option<&'w Arc<Kind>>,
    /// Of a generated kind, where the body was read from a server of the same schema.
    served: Option<&'w Value>,
}

impl<'w> Wish<'w> {
    pub fn new(body: Value, manager: &'static str) -> Self {
        Self { body, manager, guard: Guard::None, kind: None, served: None }
    }
    fn child(body: Value, guard: Guard, node: &'w Node) -> Self {
        Self { guard, kind: node.kind.as_ref(), ..Self::new(body, kro::MANAGER_APPLYSET) }
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

/// An expression, or what it gave, can never succeed: the pass stops here.
struct Fatal(String);

/// One step's working state: what it wants to do and what it found.
pub(super) struct Walk<'a> {
    pub world: &'a dyn World,
    pub now: &'a Now,
    pub step: Step,
    /// Desired objects of this step, and the node each belongs to.
    desired: BTreeMap<ObjectRef, String>,
    nodes: Vec<(String, NodeState)>,
    /// Some object could not be rendered or made, so nothing may be pruned.
    incomplete: bool,
    /// Some object is there, and its update was refused: what it was made of before may have to stay.
    refused: bool,
    /// Something was not listed for the first time yet: all may be well and only not seen.
    pub unseen: bool,
    /// What the hub shows of its part, for other clusters.
    hub_values: HubValues,
    /// Objects that a write is held back from, since they do not come to rest.
    pub held: BTreeSet<ObjectRef>,
    /// Nodes that are as wanted now, and were not at rest until a moment ago.
    pub restless: Vec<(String, NodeState)>,
    /// The same of objects that no node wants.
    pub unrest: Vec<(Trouble, String)>,
    /// Objects that are made for the first time.
    pub made: BTreeSet<ObjectRef>,
}

impl Wanted {
    /// The nodes that this cluster makes.
    fn made(&self) -> impl Iterator<Item = &Node> {
        self.graph.nodes.iter().filter(|n| n.external.is_none() && self.part.has(n))
    }
    pub fn group_kinds(&self) -> BTreeSet<GroupKind> {
        self.made().map(|n| n.gvk.group_kind()).collect()
    }
    /// Without the kinds that the instance's own words leave out, as kro records them.
    pub fn kinds_to_record(&self, instance: &Object) -> BTreeSet<GroupKind> {
        let nodes = &self.graph.nodes;
        if !nodes.iter().any(Node::is_conditional) {
            return self.group_kinds();
        }
        let shown = self.graph.as_served(instance);
        let mut pass = Pass::new(&self.graph, &shown.as_ref().unwrap_or(instance).0, &self.cluster);
        let may_be = |(index, node)| (!matches!(pass.included(index), Ok(false))).then_some(node);
        let may_be: Vec<&Node> = nodes.iter().enumerate().filter_map(may_be).collect();
        let made = may_be.into_iter().filter(|n| n.external.is_none() && self.part.has(n));
        made.map(|n| n.gvk.group_kind()).collect()
    }
}

impl Walk<'_> {
    /// The node that wants an object.
    pub fn node_of(&self, object: &ObjectRef) -> Option<&str> {
        self.desired.get(object).map(String::as_str)
    }
    /// How a node stands after it was observed. What is ready of the hub's part is for other clusters to read.
    fn readiness(&mut self, pass: &Pass, index: usize, node: &Node, views: &[&Value]) -> NodeState {
        let state = readiness(pass, index);
        if node.on_hub && state == NodeState::Ready {
            self.hub_values.insert(&node.id, views.iter().map(|v| (*v).clone()).collect());
        }
        state
    }
    fn wait(&mut self, message: String) -> NodeState {
        self.incomplete = true;
        NodeState::Waiting(message)
    }
}

/// What is not wanted any more: the position of its node, which is the order in which such objects go.
type Candidate = (u64, ObjectRef, Arc<Stored>);

/// Those that nothing can have taken the place of: a list got shorter by as many as there are. What they are read by
/// goes before them or keeps them.
fn dropped_by_lists(
    candidates: Vec<Candidate>,
    graph: &Graph,
    desired: &BTreeMap<ObjectRef, String>,
    longest: &BTreeMap<String, usize>,
) -> Vec<Candidate> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for (rank, ..) in &candidates {
        *counts.entry(*rank).or_default() += 1;
    }
    let kept = counts.iter().filter(|(rank, count)| {
        let Some(node) = usize::try_from(**rank).ok().and_then(|p| graph.nodes.get(p)) else { return true };
        let left = desired.values().filter(|id| **id == node.id).count();
        left == 0 || left + **count > longest.get(&node.id).copied().unwrap_or_default()
    });
    let kept = kept.map(|(rank, _)| *rank).max();
    candidates.into_iter().filter(|(rank, ..)| Some(*rank) > kept).collect()
}

/// The trouble of one desired object, and what is there of it that dependents may read.
type Child = (Option<NodeState>, Option<Arc<Stored>>);

/// Its objects are definitions themselves.
fn makes_kinds(gk: &GroupKind) -> bool {
    &*gk.group == kro::GROUP && &*gk.kind == "ResourceGraphDefinition"
}

fn unseen(walk: &mut Walk) -> Summary {
    walk.unseen = true;
    Summary::waiting("waiting for the schemas of the cluster")
}

impl Machine {
    pub(super) fn run(&mut self, world: &dyn World, now: &Now, wanted: &Wanted) -> Step {
        let mut walk = Walk {
            world,
            now,
            step: Step::default(),
            desired: BTreeMap::new(),
            nodes: Vec::new(),
            incomplete: false,
            refused: false,
            unseen: false,
            hub_values: HubValues::default(),
            held: BTreeSet::new(),
            restless: Vec::new(),
            unrest: Vec::new(),
            made: BTreeSet::new(),
        };
        let side = wanted.part.side();
        let summary = match world.graph(&wanted.graph, side) {
            // The generated CRD is the same everywhere.
            Compiled::Fits(_) if self.task.is_nested() && has_hub_part(&wanted.graph) => {
                Summary::blocked("Incompatible", nested::no_hub_part(&wanted.graph))
            }
            Compiled::Fits(graph) => {
                let wanted = Wanted { graph, ..wanted.clone() };
                self.advance(&mut walk, &wanted)
            }
            Compiled::Incompatible(why) => Summary::blocked("Incompatible", why),
            Compiled::Working => unseen(&mut walk),
            Compiled::Unknown => {
                walk.step.actions.push(Action::EnsureGraph(wanted.graph.clone(), side));
                unseen(&mut walk)
            }
        };
        self.finish_run(walk, wanted, summary)
    }

    /// Gets as far as it can; says how far.
    fn advance(&mut self, walk: &mut Walk, wanted: &Wanted) -> Summary {
        let graph = &*wanted.graph;
        let read_here = |id: &String| {
            graph.nodes.iter().any(|n| n.id == *id && n.external.is_some() && wanted.part.has(n))
        };
        self.reads.retain(|id, _| read_here(id));
        if let Some(blocked) = self.ensure_crds(walk, wanted) {
            return blocked;
        }
        let mut kinds: BTreeSet<GroupKind> = wanted.group_kinds();
        for node in wanted.made() {
            ensure_kind(walk, &node.gvk.group_kind(), Some(node.gvk.clone()));
        }
        if !self.task.is_local() {
            ensure_kind(walk, &self.task.key.gk, Some(self.task.gvk.clone()));
        }
        let parent = match self.parent(walk, wanted, &mut kinds) {
            Ok(parent) => parent,
            Err(summary) => return summary,
        };
        let mut pass = Pass::new(graph, &parent.0, &wanted.cluster);
        if wanted.suspended && matches!(wanted.part, Part::Hub) {
            return Summary::suspended();
        }
        if wanted.suspended {
            // What reads resources waits, so what was said of them before stays.
            return self.with_author_conditions(walk, &pass, graph, &parent, Summary::suspended());
        }
        for (index, node) in graph.nodes.iter().enumerate() {
            let of_hub = matches!(wanted.part, Part::Hub);
            if of_hub && !node.on_hub {
                continue;
            }
            match self.node(walk, &mut pass, wanted, index, &parent) {
                Ok(state) => walk.nodes.push((node.id.clone(), state)),
                Err(Fatal(message)) => {
                    self.abandon_writes(walk);
                    walk.nodes.push((node.id.clone(), NodeState::Failed(Trouble::Error, message)));
                    walk.incomplete = true;
                    break;
                }
            }
        }
        self.count_renames(walk);
        let held = if walk.incomplete {
            None
        } else {
            self.forget_unwanted(walk);
            self.prune(walk, wanted, &parent, &kinds)
        };
        let held = held.or_else(|| walk.unrest.first().cloned());
        let mut nodes = std::mem::take(&mut walk.nodes);
        nodes.append(&mut walk.restless);
        if matches!(wanted.part, Part::Hub) {
            // The status is about the whole; the clusters that see the rest tell it.
            let total = graph.nodes.iter().filter(|n| n.on_hub).count();
            return Summary::of(nodes, total, Map::new(), Vec::new(), held);
        }
        let (fields, problems) = pass.status();
        let summary = Summary::of(nodes, graph.nodes.len(), fields, problems, held);
        self.with_author_conditions(walk, &pass, graph, &parent, summary)
    }

    /// Adds the conditions that the author defined, which may read our own.
    fn with_author_conditions(
        &self,
        walk: &Walk,
        pass: &Pass,
        graph: &Graph,
        parent: &Object,
        summary: Summary,
    ) -> Summary {
        if !graph.has_conditions() {
            return summary;
        }
        let own = self.own_conditions(Some(parent), parent.generation(), walk.now, &summary);
        let own = serde_json::to_value(own).unwrap_or_default();
        summary.with_author_conditions(pass.conditions(&own))
    }

    /// `Some` while a generated CRD keeps us from going on: that of the instance, or of what it makes.
    fn ensure_crds(&self, walk: &mut Walk, wanted: &Wanted) -> Option<Summary> {
        if self.task.is_local() {
            // The hub side brings them.
            return None;
        }
        let own = Definition { graph: wanted.graph.clone(), allow_breaking: wanted.allow_breaking };
        let made: BTreeSet<GroupKind> = wanted.group_kinds();
        let nested = made.iter().filter(|gk| **gk != self.task.key.gk);
        let nested: Vec<Definition> = nested.filter_map(|gk| walk.world.definition(gk)).collect();
        let mut all = std::iter::once(own).chain(nested);
        all.find_map(|definition| ensure_crd(walk, definition))
    }
}

/// `Some` while the CRD of a definition keeps us from going on.
fn ensure_crd(walk: &mut Walk, definition: Definition) -> Option<Summary> {
    let Definition { graph, allow_breaking } = definition;
    let gk = graph.gvk.group_kind();
    let wish = CrdWish { hash: graph.crd_hash(), allow_breaking };
    let state = walk.world.crd(&gk);
    let ensure = Action::EnsureCrd { graph, allow_breaking };
    match state.answer(&wish, walk.world.crd_wanted(&gk).as_deref(), walk.now) {
        CrdAnswer::Ready => None,
        // Another instance brought what the hub wants by now; this one hears of it soon. Going back would be a fight.
        CrdAnswer::Outdated => Some(Summary::waiting("waiting for the newer revision of the definition")),
        CrdAnswer::Refused { reason, message, again } => {
            match again {
                Again::Now => walk.step.actions.push(ensure),
                Again::At(at) => walk.step.wake_at = Some(at),
                Again::UnderWay => {}
            }
            Some(Summary::blocked(reason, message))
        }
        CrdAnswer::Working => {
            walk.unseen = true;
            Some(Summary::waiting("waiting for the CustomResourceDefinition"))
        }
        CrdAnswer::Ensure => {
            walk.unseen = true;
            walk.step.actions.push(ensure);
            Some(Summary::waiting("waiting for the CustomResourceDefinition"))
        }
    }
}

impl Machine {
    /// Renders, judges and applies one node, and evaluates whether it is ready.
    fn node(
        &mut self,
        walk: &mut Walk,
        pass: &mut Pass,
        wanted: &Wanted,
        index: usize,
        parent: &Object,
    ) -> Result<NodeState, Fatal> {
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
        if let Some(external) = node.external {
            return self.external(walk, pass, index, node, external);
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
                    NodeState::Failed(..) if seen.as_ref().is_some_and(is_ours) => walk.refused = true,
                    _ => walk.incomplete = true,
                }
                states.push(state);
            }
            observed.extend(seen);
        }
        let definition = walk.world.definition(&node.gvk.group_kind());
        let shown = |s: &Arc<Stored>| Some(definition.as_ref()?.graph.as_served(&s.object)?.0);
        let shown: Vec<Option<Value>> = observed.iter().map(shown).collect();
        let views: Vec<&Value> =
            observed.iter().zip(&shown).map(|(s, shown)| shown.as_ref().unwrap_or(&s.object.0)).collect();
        pass.observe(index, &views, rendered.len());
        if let Some(state) = NodeState::of_objects(states) {
            return Ok(state);
        }
        Ok(walk.readiness(pass, index, node, &views))
    }

    /// A node that is only read: nothing of it is ever written, labelled, pruned or deleted.
    fn external(
        &mut self,
        walk: &mut Walk,
        pass: &mut Pass,
        index: usize,
        node: &Node,
        external: External,
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
        let views: Vec<&Value> = found.iter().map(|s| &s.object.0).collect();
        if external == External::Named && views.is_empty() {
            pass.observe(index, &views, 1);
            return Ok(NodeState::Waiting(format!("waiting for external reference {lookup}: not found")));
        }
        pass.observe(index, &views, views.len());
        Ok(walk.readiness(pass, index, node, &views))
    }

    /// One desired object: its trouble, if any, and what is there of it that dependents may read.
    fn child(&mut self, walk: &mut Walk, node: &Node, body: Value) -> Result<Child, Fatal> {
        let object = Object(body);
        let target = object.object_ref();
        if let Some(other) = walk.desired.insert(target.clone(), node.id.clone()) {
            let message = format!(
                "found resources with conflicts: resourceID: {other} conflicts with resourceID: {}",
                node.id
            );
            return Err(Fatal(message));
        }
        let outside = !target.namespace.is_empty() && *target.namespace != *self.task.key.namespace;
        if outside {
            // Also where it is on record: the record is not to shrink by it.
            self.extra_namespaces.insert(target.namespace.to_string());
        }
        if outside && !self.namespace_is_recorded(walk, &target.namespace) {
            walk.step.wake_at = Some(walk.now.millis);
            return Ok((Some(NodeState::Waiting(format!("recording namespace {}", target.namespace))), None));
        }
        let stored = walk.world.get(&target);
        let mut guard = self.guard(node);
        if let Some(found) = &stored {
            let part_of = found.object.label(kro::APPLYSET_PART_OF);
            let mirror = !self.task.is_local() && identity::is_mirror(found);
            if mirror || part_of.is_some_and(|id| id != self.task.applyset()) {
                let owner = children::owner_of(&found.object);
                let message =
                    format!("{target} exists and belongs to {owner}, a different ApplySet; cannot reassign");
                return Ok((Some(NodeState::Failed(Trouble::Conflict, message)), None));
            }
            if part_of.is_some() {
                guard = Guard::None;
            }
            if found.object.is_deleting() {
                return Ok((Some(NodeState::Terminating(children::being_deleted(&target))), None));
            }
        }
        if stored.is_none() && !self.objects.get(&target).is_some_and(Tracked::was_ours) {
            if let Some(held) = self.hold_new_name(walk, &node.id, &target) {
                return Ok((Some(held), None));
            }
            walk.made.insert(target.clone());
        }
        let state = self.apply_if_needed(walk, &target, stored.clone(), Wish::child(object.0, guard, node));
        let readable = match &state {
            None | Some(NodeState::Failed(..)) => stored,
            // While a write is under way, readiness of the old content says nothing.
            Some(_) => None,
        };
        Ok((state, readable))
    }

    fn guard(&self, node: &Node) -> Guard {
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

    fn namespace_is_recorded(&self, walk: &Walk, namespace: &str) -> bool {
        let parent = self.local_parent().or_else(|| walk.world.get(&self.task.key.object()));
        let recorded = parent.and_then(|p| self.recorded_inventory(&p).ok().flatten());
        recorded.is_some_and(|i| i.namespaces.contains(namespace))
    }

    /// Writes an object unless it is settled. `None` when it is.
    pub(super) fn apply_if_needed(
        &mut self,
        walk: &mut Walk,
        target: &ObjectRef,
        stored: Option<Arc<Stored>>,
        wish: Wish,
    ) -> Option<NodeState> {
        let rules = wish.rules();
        let Wish { body, manager, guard, kind, .. } = wish;
        let is_parent = *target == self.task.key.object();
        let tracked = self.tracked(target);
        let verdict = tracked.judge(&body, stored.as_deref(), manager, rules, walk.now);
        let unrest =
            |tracked: &Tracked| tracked.unrest(walk.now).map(|u| NodeState::of_unrest(target, u, is_parent));
        let Verdict::Write(cause) = verdict else {
            let failed = tracked.failure.as_ref().map(NodeState::of_failure);
            let said = unrest(tracked).filter(|_| failed.is_none());
            match (said, walk.node_of(target).map(str::to_owned)) {
                (Some(said), Some(node)) => walk.restless.push((node, said)),
                (Some(NodeState::Failed(trouble, why)), None) => walk.unrest.push((trouble, why)),
                _ => {}
            }
            return failed;
        };
        let writing = || NodeState::Waiting(format!("writing {target}"));
        if tracked.busy {
            return Some(unrest(tracked).unwrap_or_else(writing));
        }
        if !tracked.may_try(&body, walk.now) {
            return tracked.failure.as_ref().map(NodeState::of_failure);
        }
        if tracked.is_held(cause, &body, stored.as_deref(), manager, walk.now) {
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
        let failed = tracked.failure.as_ref().map(NodeState::of_failure).or_else(|| unrest(tracked));
        let our_uid = tracked.uid().map(str::to_owned);
        self.apply(walk, target, Wish { guard, kind, ..Wish::new(body, manager) }, our_uid);
        Some(failed.unwrap_or_else(writing))
    }

    /// What is remembered of an object, also if it was gone for a while.
    fn tracked(&mut self, target: &ObjectRef) -> &mut Tracked {
        let former = &mut self.former;
        self.objects
            .entry(target.clone())
            .or_insert_with(|| former.remove(target).map(Tracked::of_name).unwrap_or_default())
    }

    fn apply(&mut self, walk: &mut Walk, target: &ObjectRef, wish: Wish, our_uid: Option<String>) {
        let Wish { body, manager, guard, kind, .. } = wish;
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
        })));
    }

    /// An expression that cannot succeed stops the whole pass: none of its children is written.
    fn abandon_writes(&mut self, walk: &mut Walk) {
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

    /// Memory of objects that are neither wanted nor there.
    fn forget_unwanted(&mut self, walk: &mut Walk) {
        let mirror = self.task.key.object();
        let (desired, world) = (&walk.desired, walk.world);
        let there = |o: &ObjectRef| *o == mirror || desired.contains_key(o) || world.get(o).is_some();
        // One that only left our selection is looked for by its name, and goes by its uid.
        let lost: Vec<ObjectRef> = self
            .objects
            .iter()
            .filter(|(o, t)| !there(o) && t.uid().is_some() && !self.gone.contains(*o))
            .map(|(o, _)| o.clone())
            .collect();
        let goes = |(o, t): &(&ObjectRef, &Tracked)| !t.may_come(walk.now) && !there(o) && !lost.contains(o);
        let forgotten: Vec<ObjectRef> = self.objects.iter().filter(goes).map(|(o, _)| o.clone()).collect();
        for object in forgotten {
            let writes = self.objects.remove(&object).map(Tracked::into_writes);
            self.former.extend(writes.map(|writes| (object, writes)));
        }
        for (object, writes) in &mut self.former {
            writes.calm(walk.now);
            let said = writes.unrest(walk.now).filter(|u| !u.is_mild);
            walk.unrest.extend(said.map(|u| (u.trouble, format!("{object}: {}", u.message))));
        }
        self.former.retain(|_, writes| !writes.is_blank(walk.now));
        let home = self.task.key.namespace.clone();
        let outside = desired.keys().map(|o| &o.namespace).filter(|ns| !ns.is_empty() && **ns != home);
        self.extra_namespaces = outside.map(ToString::to_string).collect();
        let stays = |o: &ObjectRef| there(o) || lost.contains(o);
        self.delete_failures.retain(|o, _| stays(o) && !desired.contains_key(o));
        self.leaving.retain(|o, _| stays(o) && !desired.contains_key(o));
        self.strays.retain(|o, _| stays(o));
        self.gone.retain(there);
        for target in &lost {
            self.make_sure(walk.now, &mut walk.step, target);
        }
    }

    /// Deletes what belongs to this instance and is not wanted any more. Returns why something of it stays.
    fn prune(
        &mut self,
        walk: &mut Walk,
        wanted: &Wanted,
        parent: &Object,
        kinds: &BTreeSet<GroupKind>,
    ) -> Option<(Trouble, String)> {
        let known = kinds
            .iter()
            .all(|gk| matches!(walk.world.kind(gk), KindState::Synced { .. } | KindState::Missing));
        if !known {
            return None;
        }
        let mut held = Vec::new();
        let mut candidates: Vec<Candidate> = Vec::new();
        // As long as each list is known to have been.
        let mut longest: BTreeMap<String, usize> = BTreeMap::new();
        for (target, stored) in self.children_there(walk.world, Some(parent.uid())) {
            let label = |key: &str| stored.object.label(key);
            if let (Some(node), Some(size)) = (label(kro::NODE_ID), label(kro::COLLECTION_SIZE)) {
                let longest = longest.entry(node.to_owned()).or_default();
                *longest = (*longest).max(size.parse().unwrap_or_default());
            }
            if walk.desired.contains_key(&target) || stored.object.is_deleting() {
                continue;
            }
            let node = stored.object.label(kro::NODE_ID).unwrap_or_default();
            let position = wanted.graph.nodes.iter().position(|n| n.id == node);
            let former = stored.object.label(kro::INSTANCE_ID);
            let renamed = |former, place| {
                self.is_renamed_by_uid(walk.world, wanted, parent, former, place, &walk.desired)
            };
            if former != Some(parent.uid())
                && !self.task.is_local()
                && let Some(place) = position.map(|p| (&target, p))
                && former.is_none_or(|former| renamed(former, place))
            {
                held.push(target);
                continue;
            }
            let rank = position.map_or(u64::MAX, |p| p as u64);
            candidates.push((rank, target, stored));
        }
        let makes = walk.desired.keys().chain(&held);
        let makes = makes.filter(|target| walk.world.definition(&target.gk).is_some());
        self.makes = Some(makes.cloned().collect());
        if walk.refused {
            candidates = dropped_by_lists(candidates, &wanted.graph, &walk.desired, &longest);
        }
        // What depends on others goes first; the next wave follows when the last one was asked to go.
        let wave = candidates.iter().map(|c| c.0).max();
        let mut refused = None;
        for (rank, target, stored) in candidates {
            if Some(rank) == wave {
                self.take_away(walk.now, &mut walk.step, &target, &stored);
            }
            if let Some((why, ..)) = self.delete_failures.get(&target) {
                refused.get_or_insert_with(|| format!("resource error: prune of {target}: {why}"));
            }
        }
        if let Some(why) = refused {
            return Some((Trouble::Error, why));
        }
        held.sort();
        (!held.is_empty()).then(|| {
            let kept = "kept, since only the replaced mirror's uid changed their names";
            let held: Vec<String> = held.iter().map(ToString::to_string).collect();
            (Trouble::MirrorReplaced, format!("{kept}: {}", held.join(", ")))
        })
    }
}

/// A node that lives on the hub, seen from another cluster.
fn on_hub(walk: &mut Walk, pass: &mut Pass, index: usize, node: &Node, values: &HubValues) -> NodeState {
    let Some(objects) = values.get(&node.id) else {
        return walk.wait(format!("waiting for {} on the hub", node.id));
    };
    let views: Vec<&Value> = objects.iter().collect();
    pass.observe(index, &views, views.len());
    readiness(pass, index)
}

fn readiness(pass: &Pass, index: usize) -> NodeState {
    match pass.readiness(index) {
        Readiness::Ready => NodeState::Ready,
        Readiness::Skipped => NodeState::Skipped,
        Readiness::Waiting(message) => NodeState::Waiting(message.clone()),
        Readiness::Failed(message) => NodeState::Failed(Trouble::Error, message.clone()),
    }
}

fn fields_print(fields: &Map<String, Value>) -> u64 {
    hash::json(&Value::Object(fields.clone()))
}

pub(super) fn ensure_kind(walk: &mut Walk, gk: &GroupKind, gvk: Option<crate::api::Gvk>) {
    if walk.world.kind(gk) == KindState::Unknown {
        let again =
            walk.step.actions.iter().any(|a| matches!(a, Action::EnsureKind(known, _) if known == gk));
        if !again {
            walk.step.actions.push(Action::EnsureKind(gk.clone(), gvk));
        }
    }
}

impl Machine {
    /// Turns the outcome into a report and, on a spoke, into at most one status write.
    fn finish_run(&mut self, walk: Walk, wanted: &Wanted, summary: Summary) -> Step {
        let mut step = walk.step;
        step.held = walk.held;
        let parent = self.local_parent().or_else(|| walk.world.get(&self.task.key.object()));
        let summary = self.without_refused_fields(summary, parent.as_deref());
        if let Some(fields) = &summary.fields {
            self.last_fields = Some(fields.clone());
        }
        if walk.unseen && self.is_starting(walk.now) {
            // What a restart left settled must not look unsettled only because it was not looked at yet.
            step.wake_at = Some(walk.now.millis + STARTING_MILLIS);
            return step;
        }
        self.report(
            &mut step,
            walk.now,
            parent.as_deref(),
            &summary,
            wanted.mirror.generation,
            &wanted.graph.hash,
            wanted.graph.has_conditions() && !matches!(wanted.part, Part::Hub),
        );
        if let Some(report) = &mut step.report {
            report.hub_values = Arc::new(walk.hub_values);
        }
        let settled = self.is_quiet()
            && !walk.unseen
            && !step.actions.iter().any(|a| !matches!(a, Action::EnsureKind(..) | Action::EnsureGraph(..)));
        if settled && !self.task.is_local() {
            self.write_status(&mut step, walk.now, parent.as_deref());
        }
        step.wake_at = [step.wake_at, self.wake_at(walk.now)].into_iter().flatten().min();
        step
    }

    /// Writes what this step reports where the cluster shows something else.
    pub(super) fn write_status(&mut self, step: &mut Step, now: &Now, parent: Option<&Stored>) {
        if self.status_busy || !self.status_retry.is_due(now) {
            return;
        }
        let (Some(parent), Some(report)) = (parent, &step.report) else { return };
        let old = parent.object.0.get("status").cloned().unwrap_or_else(|| serde_json::json!({}));
        if let Some(patch) = merge_patch(&old, &status_value(report)) {
            if !self.status_writes.allows(now) {
                return;
            }
            self.status_busy = true;
            self.status_offered = self.status_refused.is_none().then(|| fields_print(&report.fields));
            let (gvk, uid) = (self.task.gvk.clone(), parent.object.uid().to_owned());
            step.actions.push(Action::WriteStatus { gvk, uid, patch });
        } else {
            // A write that seemed to fail had landed.
            self.status_retry = Retry::default();
            self.status_writes.calm(now);
        }
    }

    /// Fields that the API server refused are not offered again while they are the same: the rest of the status says so.
    fn without_refused_fields(&mut self, mut summary: Summary, parent: Option<&Stored>) -> Summary {
        let Some((print, why)) = &self.status_refused else { return summary };
        if summary.fields.as_ref().is_some_and(|fields| fields_print(fields) != *print) {
            self.status_refused = None;
            return summary;
        }
        let why = format!("the cluster refuses the fields of the status: {why}");
        let fields = parent.map(|p| status::written_fields(&p.object)).unwrap_or_default();
        summary.refuse(why, fields);
        summary
    }

    /// Whether this machine is young and has reported nothing yet.
    fn is_starting(&mut self, now: &Now) -> bool {
        let since = *self.first_step.get_or_insert(now.millis);
        self.last_report.is_none() && now.millis.saturating_sub(since) < STARTING_MILLIS
    }

    /// Our own conditions, on top of those that were said before.
    fn own_conditions(
        &self,
        parent: Option<&Object>,
        generation: i64,
        now: &Now,
        summary: &Summary,
    ) -> Vec<Condition> {
        let before = match &self.last_report {
            Some(last) => last.conditions.clone(),
            None => parent.map(status::written).unwrap_or_default(),
        };
        status::conditions(before, generation, now, summary)
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn report(
        &mut self,
        step: &mut Step,
        now: &Now,
        parent: Option<&Stored>,
        summary: &Summary,
        generation: i64,
        revision: &str,
        by_author: bool,
    ) {
        let parent = parent.map(|p| &p.object);
        let observed = parent.map_or(generation, Object::generation);
        let author = by_author.then(|| {
            let before = match &self.last_report {
                Some(Report { author: Some(author), .. }) => author.clone(),
                Some(_) => Vec::new(),
                None => parent.map(status::written).unwrap_or_default(),
            };
            // Where the pass did not get that far, what was said before stays.
            let nothing = AuthorConditions { incomplete: true, ..AuthorConditions::default() };
            let made = summary.author.as_deref().unwrap_or(&nothing);
            status::author_conditions(before, observed, now, made)
        });
        let on_wire = || parent.map(status::written_fields).unwrap_or_default();
        let report = Report {
            hub_uid: self.task.hub_uid.clone(),
            generation,
            revision: revision.to_owned(),
            state: summary.state,
            ready: summary.ready,
            total: summary.total,
            message: if summary.state == InstanceState::Active && summary.status == ConditionStatus::True {
                String::new()
            } else {
                summary.message.clone()
            },
            conditions: self.own_conditions(parent, observed, now, summary),
            author,
            hub_values: Arc::default(),
            fields: self.last_fields.clone().unwrap_or_else(on_wire),
            settled: self.is_quiet(),
        };
        self.last_report = Some(report.clone());
        step.report = Some(report);
    }
}
