//! The instance shall be there: CRD, mirror, children by dependency, prune, status.

use super::status::{INCOMPATIBLE, NodeState, Summary};
use super::tracked::Trouble;
use super::{Action, Goal, HubValues, Machine, MirrorContent, Part, Step, has_hub_part, nested};
use crate::api::names::{GroupKind, ObjectRef};
use crate::api::{Object, PackedObject};
use crate::graph::{Graph, Node, Pass, Readiness};
use crate::reconcile::Now;
use crate::reconcile::rollout::{Admitted, Facts, Mark};
use crate::reconcile::world::{
    Again, Compiled, CrdAnswer, CrdWish, Definition, KindState, Rank, Stored, World,
};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The goal of a run, unpacked.
#[derive(Clone)]
pub(super) struct Wanted {
    pub graph: Arc<Graph>,
    pub part: Part,
    pub mirror: Arc<MirrorContent>,
    pub suspended: bool,
    pub allow_breaking: bool,
    pub cluster: Arc<Value>,
    pub mark: Option<Mark>,
    pub admitted: Option<Admitted>,
    pub facts: Option<Arc<Facts>>,
    pub keeps: bool,
    pub rank: Rank,
}

/// What all nodes of one step go by.
pub(super) struct Situation<'a> {
    pub wanted: &'a Wanted,
    /// The object that children belong to, as expressions see it.
    pub parent: Object,
    /// Kinds that may hold children.
    pub kinds: BTreeSet<GroupKind>,
}

/// An expression, or what it gave, can never succeed: the pass stops here.
pub(super) struct Fatal(pub String);

/// One step's working state: what it wants to do and what it found.
pub(super) struct Walk<'a> {
    pub world: &'a dyn World,
    pub now: &'a Now,
    pub step: Step,
    /// Desired objects of this step, and the node each belongs to.
    pub desired: BTreeMap<ObjectRef, String>,
    pub nodes: Vec<(String, NodeState)>,
    /// Some object could not be rendered or made, so nothing may be pruned.
    pub incomplete: bool,
    /// Some object is there, and its update was refused: what it was made of before may have to stay.
    pub refused: bool,
    /// Something was not listed for the first time yet: all may be well and only not seen.
    pub unseen: bool,
    /// What the hub shows of its part, for other clusters.
    pub hub_values: HubValues,
    /// Objects that a write is held back from, since they do not come to rest.
    pub held: BTreeSet<ObjectRef>,
    /// Nodes that are as wanted now, and were not at rest until a moment ago.
    pub restless: Vec<(String, NodeState)>,
    /// The same of objects that no node wants.
    pub unrest: Vec<(Trouble, String)>,
    /// Objects that are made for the first time.
    pub made: BTreeSet<ObjectRef>,
    /// Desired objects that the rules of the cluster keep out.
    pub out_of_bounds: BTreeSet<ObjectRef>,
    /// What people should know although it stops nothing.
    pub notes: Vec<String>,
}

impl Wanted {
    pub fn of(goal: &Goal) -> Option<Self> {
        let Goal::Run {
            graph,
            part,
            mirror,
            suspended,
            allow_breaking,
            cluster,
            mark,
            admitted,
            facts,
            keeps,
            rank,
        } = goal
        else {
            return None;
        };
        Some(Self {
            graph: graph.clone(),
            part: part.clone(),
            mirror: mirror.clone(),
            suspended: *suspended,
            allow_breaking: *allow_breaking,
            cluster: cluster.clone(),
            mark: *mark,
            admitted: *admitted,
            facts: facts.clone(),
            keeps: *keeps,
            rank: *rank,
        })
    }

    /// Whether the definition reads the same of the cluster as it did then.
    pub fn reads_as(&self, then: &Facts) -> bool {
        let before = then.over(&self.cluster);
        let read =
            |of: &'_ Value, path: &[String]| path.iter().try_fold(of, |value, key| value.get(key)).cloned();
        self.graph.cluster_reads().iter().all(|path| read(&before, path) == read(&self.cluster, path))
    }

    /// The nodes that this cluster makes.
    pub fn made(&self) -> impl Iterator<Item = &Node> {
        self.graph.nodes.iter().filter(|n| n.external.is_none() && self.part.has(n))
    }
    pub fn group_kinds(&self) -> BTreeSet<GroupKind> {
        self.made().map(|n| n.gvk.group_kind()).collect()
    }
    /// Without the kinds that the instance's own words leave out, as kro records them.
    pub fn kinds_to_record(&self, instance: &PackedObject) -> BTreeSet<GroupKind> {
        let nodes = &self.graph.nodes;
        if !nodes.iter().any(Node::is_conditional) {
            return self.group_kinds();
        }
        let instance = instance.unpack();
        let shown = self.graph.as_served(&instance).unwrap_or(instance);
        let mut pass = Pass::new(&self.graph, &shown.0, &self.cluster);
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
    pub fn readiness(&mut self, pass: &Pass, index: usize, node: &Node, views: Vec<Value>) -> NodeState {
        let state = readiness(pass, index);
        if node.on_hub && state == NodeState::Ready {
            self.hub_values.insert(&node.id, views);
        }
        state
    }
    /// Objects of a node as expressions see them.
    pub fn views(&self, node: &Node, observed: &[Arc<Stored>]) -> Vec<Value> {
        let definition = self.world.definition(&node.gvk.group_kind());
        let view = |stored: &Arc<Stored>| {
            let object = stored.object.unpack();
            let shown = definition.as_ref().and_then(|d| d.graph.as_served(&object));
            shown.unwrap_or(object).0
        };
        observed.iter().map(view).collect()
    }
    pub fn wait(&mut self, message: String) -> NodeState {
        self.incomplete = true;
        NodeState::Waiting(message)
    }
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
            out_of_bounds: BTreeSet::new(),
            notes: Vec::new(),
        };
        let side = wanted.part.side();
        let summary = match world.graph(&wanted.graph, side) {
            // The generated CRD is the same everywhere.
            Compiled::Fits(_) if self.task.is_nested() && has_hub_part(&wanted.graph) => {
                Summary::blocked(INCOMPATIBLE, nested::no_hub_part(&wanted.graph))
            }
            Compiled::Fits(graph) => {
                let wanted = Wanted { graph, ..wanted.clone() };
                self.advance(&mut walk, &wanted)
            }
            Compiled::Incompatible(why) => {
                let blocked = Summary::blocked(INCOMPATIBLE, why);
                self.serve_on(&mut walk, blocked)
            }
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
            return if blocked.reason == INCOMPATIBLE { self.serve_on(walk, blocked) } else { blocked };
        }
        self.served = None;
        self.make(walk, wanted)
    }

    /// What does not fit here leaves what did: its mirror and its resources are looked after as before.
    fn serve_on(&mut self, walk: &mut Walk, blocked: Summary) -> Summary {
        let Some(wanted) = self.served.as_ref().and_then(|task| Wanted::of(&task.goal)) else {
            return blocked;
        };
        let Compiled::Fits(graph) = walk.world.graph(&wanted.graph, wanted.part.side()) else {
            return blocked;
        };
        let made = self.make(walk, &Wanted { graph, ..wanted });
        let message = format!("{}; the revision of before serves on", blocked.message);
        Summary { ready: made.ready, total: made.total, fields: made.fields, message, ..blocked }
    }

    /// The mirror and all that the definition makes.
    fn make(&mut self, walk: &mut Walk, wanted: &Wanted) -> Summary {
        let graph = &*wanted.graph;
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
        let situation = Situation { wanted, parent, kinds };
        let mut pass = Pass::new(graph, &situation.parent.0, &wanted.cluster);
        if wanted.suspended && matches!(wanted.part, Part::Hub) {
            return Summary::suspended();
        }
        if wanted.suspended {
            // What reads resources waits, so what was said of them before stays.
            return self.with_author_conditions(walk, &pass, &situation, Summary::suspended());
        }
        for (index, node) in graph.nodes.iter().enumerate() {
            let of_hub = matches!(wanted.part, Part::Hub);
            if of_hub && !node.on_hub {
                continue;
            }
            match self.node(walk, &mut pass, &situation, index) {
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
            if wanted.keeps { None } else { self.prune(walk, &situation) }
        };
        let held = held.or_else(|| {
            let unrest = walk.unrest.first().cloned();
            unrest.map(|(trouble, why)| NodeState::Failed(trouble, why))
        });
        let mut nodes = std::mem::take(&mut walk.nodes);
        nodes.append(&mut walk.restless);
        if matches!(wanted.part, Part::Hub) {
            // The status is about the whole; the clusters that see the rest tell it.
            let total = graph.nodes.iter().filter(|n| n.on_hub).count();
            return Summary::of(nodes, total, Map::new(), self.blind(walk, wanted), held);
        }
        let (fields, mut problems) = pass.status();
        problems.extend(self.blind(walk, wanted));
        let summary = Summary::of(nodes, graph.nodes.len(), fields, problems, held).with_notes(&walk.notes);
        self.with_author_conditions(walk, &pass, &situation, summary)
    }

    /// What is there may differ from what was seen last, and nobody would know.
    fn blind(&self, walk: &Walk, wanted: &Wanted) -> Vec<String> {
        let kinds = wanted.group_kinds().into_iter().chain([self.task.key.gk.clone()]);
        let kinds = kinds.filter_map(|gk| walk.world.blind(&gk));
        let read = self.reads.values().filter_map(|lookup| walk.world.blind_to(lookup));
        let all: BTreeSet<String> = kinds.chain(read).collect();
        all.into_iter().map(|why| format!("what changes is not seen: {why}")).collect()
    }

    /// Adds the conditions that the author defined, which may read our own.
    fn with_author_conditions(
        &self,
        walk: &Walk,
        pass: &Pass,
        situation: &Situation,
        summary: Summary,
    ) -> Summary {
        if !situation.wanted.graph.has_conditions() {
            return summary;
        }
        let parent = &situation.parent;
        let own = self.own_conditions(Some(&parent.pack()), parent.generation(), walk.now, &summary);
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
        let own_kind = &self.task.key.gk;
        all.find_map(|definition| {
            let kind = definition.graph.gvk.group_kind();
            let own = kind == *own_kind;
            let blocked = ensure_crd(walk, definition, if own { wanted.rank } else { Rank::default() })?;
            if own || blocked.reason != INCOMPATIBLE {
                return Some(blocked);
            }
            // What an instance that is made here carries goes with what makes it: until then the CRD that is there serves on.
            walk.notes.push(format!("{kind}: {}", blocked.message));
            None
        })
    }
}

/// `Some` while the CRD of a definition keeps us from going on.
fn ensure_crd(walk: &mut Walk, definition: Definition, rank: Rank) -> Option<Summary> {
    let Definition { graph, allow_breaking } = definition;
    let gk = graph.gvk.group_kind();
    let wish = CrdWish { hash: graph.crd_hash(), allow_breaking };
    let state = walk.world.crd(&gk);
    let ensure = Action::EnsureCrd { graph, allow_breaking, rank };
    match state.answer(&wish, rank, walk.world.crd_wanted(&gk).as_deref(), walk.now) {
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

pub(super) fn readiness(pass: &Pass, index: usize) -> NodeState {
    match pass.readiness(index) {
        Readiness::Ready => NodeState::Ready,
        Readiness::Skipped => NodeState::Skipped,
        Readiness::Waiting(message) => NodeState::Waiting(message.clone()),
        Readiness::Failed(message) => NodeState::Failed(Trouble::Error, message.clone()),
    }
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
