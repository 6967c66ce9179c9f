//! What each cluster would be told: where instances go, by which definition, and what is the same as now.

use super::on_record::Rollouts;
use super::overlay::{Touched, allows_breaking};
use super::share::{self, is_on_hub, share};
use super::travel::{Moved, Travelling};
use crate::api::Object;
use crate::api::cluster::{ChildNamespaces, ClusterSpec};
use crate::api::names::{ClusterName, HubId, InstanceKey, ObjectRef};
use crate::cli::diff::comparing::{Revision, Subject, placement};
use crate::cli::diff::placing::on_record;
use crate::edge::planning::{Made, Wish};
use crate::graph::{Graph, Leaf, Origin};
use crate::reconcile::bounds::Bounds;
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::spoke::{Goal, Home, HubValues, MirrorContent, Part, Side, Task};
use crate::reconcile::world::{Definition, Rank, Stored};
use crate::view::changes::RolloutChange;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The fleet as it is, and as it would be.
pub struct Decided<'s> {
    pub was: Revision<'s>,
    pub is: Revision<'s>,
    /// Definitions of both, in their order.
    pub graphs: (Vec<Arc<Graph>>, Vec<Arc<Graph>>),
    pub touched: &'s Touched,
    pub hub_id: HubId,
    /// What the controller is told by its flag of the hub itself.
    pub of_hub: &'s ChildNamespaces,
    /// Objects of the hub as it has them, statuses included.
    pub live: BTreeMap<ObjectRef, &'s Object>,
    /// The newest revision of each definition.
    pub revisions: &'s BTreeMap<String, i64>,
    pub rollouts: &'s Rollouts,
}

/// All that one cluster is told.
#[derive(Default)]
pub struct Orders {
    pub bounds: Arc<Bounds>,
    pub facts: Arc<Value>,
    pub wishes: Vec<Wish>,
}

impl Orders {
    /// Whether something there reads what lives on the hub.
    pub fn reads_hub(&self) -> bool {
        self.wishes.iter().any(|wish| matches!(wish.part(), Part::Rest(_)))
    }

    /// What the hub shows of its part of each instance.
    pub fn give(&mut self, shown: &BTreeMap<InstanceKey, Arc<HubValues>>) {
        for wish in &mut self.wishes {
            let task = wish.task.as_mut().map(Arc::make_mut);
            if let Some(Task { goal: Goal::Run { part: Part::Rest(values), .. }, key, .. }) = task
                && let Some(shown) = shown.get(key)
            {
                values.clone_from(shown);
            }
        }
    }

    /// About so many objects are tried.
    pub fn size(&self) -> usize {
        let made =
            |wish: &Wish| wish.after.as_ref().or(wish.before.as_ref()).map_or(1, |m| m.graph.nodes.len());
        self.wishes.iter().map(made).sum()
    }
}

/// The definitions whose instances others may make.
pub fn definitions(graphs: &[Arc<Graph>]) -> Vec<Definition> {
    let of = |graph: &Arc<Graph>| Definition {
        graph: graph.clone(),
        allow_breaking: allows_breaking(graph.definition()),
    };
    graphs.iter().map(of).collect()
}

/// One instance on one cluster, as it was and as it would be.
struct Halves {
    old: Option<Made>,
    /// Or why that cannot be told.
    new: Option<Result<Made, String>>,
    /// What it reads of the cluster is as it was.
    same_reads: bool,
}

impl Halves {
    fn both(&self) -> Option<(&Made, &Made)> {
        Some((self.old.as_ref()?, self.new.as_ref()?.as_ref().ok()?))
    }

    fn same_graph(&self) -> bool {
        self.both().is_some_and(|(old, new)| {
            old.graph.hash == new.graph.hash && old.graph.annotations == new.graph.annotations
        })
    }

    fn same_content(&self) -> bool {
        self.both().is_some_and(|(old, new)| content(old) == content(new))
    }

    fn is_same(&self) -> bool {
        self.same_graph() && self.same_content() && self.same_reads
    }

    /// What of it a rollout would move; `None` where it goes, or is made once for all clusters.
    fn moved(&self, pair: &Pair<'_, '_>) -> Option<Moved> {
        pair.has.filter(|side| *side != Side::Hub)?;
        let (content, graph) = (!self.same_content(), !self.same_graph());
        Some(Moved { was_there: pair.had.is_some(), content, graph })
    }
}

/// One instance on one cluster.
struct Pair<'p, 's> {
    key: &'p InstanceKey,
    name: &'p ClusterName,
    old: Option<&'p Subject<'s>>,
    new: Option<&'p Subject<'s>>,
    /// What of it was there.
    had: Option<Side>,
    /// What of it would be there.
    has: Option<Side>,
    /// Somebody wrote of it.
    touched: bool,
}

impl Pair<'_, '_> {
    /// How it comes to the cluster, or goes.
    fn placement(&self) -> String {
        match (self.had, self.has, self.old, self.new) {
            (None, Some(Side::Hub), None, _) => "new".to_owned(),
            (Some(Side::Hub), None, _, None) => "deleted".to_owned(),
            (None | Some(Side::Hub), Some(Side::Hub), ..) | (Some(Side::Hub), None, ..) => String::new(),
            _ => placement(self.name, self.old, self.new),
        }
    }
}

impl Decided<'_> {
    /// Who acts on the hub.
    pub fn hub(&self) -> ClusterName {
        share::hub(&self.is.side.clusters)
    }

    /// The number of the revision that a definition would have.
    pub fn next_revision(&self, definition: &str) -> i64 {
        self.revisions.get(definition).copied().unwrap_or_default() + 1
    }

    /// By cluster: all that concerns what somebody wrote of, and all that is another than before. And how it travels.
    pub fn orders(mut self) -> (BTreeMap<ClusterName, Orders>, Vec<RolloutChange>) {
        let mut out: BTreeMap<ClusterName, Orders> = BTreeMap::new();
        let mut travelling = Travelling::default();
        let (before, after) = (self.was.side, self.is.side);
        let keys: BTreeSet<&InstanceKey> = before.instances.keys().chain(after.instances.keys()).collect();
        let hubs = [share::hub(&before.clusters), self.hub()];
        let mut clusters: BTreeSet<&ClusterName> =
            before.clusters.keys().chain(after.clusters.keys()).collect();
        clusters.insert(&hubs[1]);
        for key in keys {
            let live = before.instances.get(key).map(|(_, live)| live);
            let mut old = self.was.subject(key, on_record);
            if let (Some(old), Some(live)) = (&mut old, live) {
                // Where it stands, whatever is decided now.
                old.runs_on = on_record(live).holds;
                old.runs_on.extend(old.decision.local.clone().filter(|_| is_on_hub(live)));
            }
            let new = self.is.subject(key, |instance| on_record(live.unwrap_or(instance)));
            let touched = self.is_touched(key, new.as_ref().or(old.as_ref()));
            let mut moved = BTreeMap::new();
            for name in &clusters {
                let pair = self.pair((key, name, live), (old.as_ref(), new.as_ref()), &hubs, touched);
                let Some(halves) = self.halves(&pair) else { continue };
                moved.extend(halves.moved(&pair).map(|moved| ((*name).clone(), moved)));
                if let Some(wish) = self.wish(&pair, halves) {
                    let state = after.clusters.get(*name).or_else(|| before.clusters.get(*name));
                    let orders = out.entry((*name).clone()).or_default();
                    if let Some(state) = state {
                        orders.facts = state.facts.clone().unwrap_or_default();
                    }
                    orders.bounds = self.bounds(name, state);
                    orders.wishes.push(wish);
                }
            }
            if let Some(new) = &new {
                travelling.add(&self, key, new, moved);
            }
        }
        (out, travelling.told(&self))
    }

    /// Where resources may be written on a cluster, or on the hub.
    fn bounds(&self, name: &ClusterName, state: Option<&ClusterState>) -> Arc<Bounds> {
        match state {
            Some(state) if !state.view.local => state.bounds.clone(),
            _ => {
                let registered = [self.is.side, self.was.side].map(|side| side.registered.get(name.as_str()));
                let spec = registered.into_iter().flatten().next().and_then(|o| o.0.get("spec").cloned());
                let spec = spec.and_then(|spec| serde_json::from_value::<ClusterSpec>(spec).ok());
                let spec = ClusterSpec { local: true, ..spec.unwrap_or_default() };
                Arc::new(Bounds::of(name.as_str(), &spec, self.of_hub))
            }
        }
    }

    fn pair<'p, 's>(
        &self,
        (key, name, live): (&'p InstanceKey, &'p ClusterName, Option<&Object>),
        (old, new): (Option<&'p Subject<'s>>, Option<&'p Subject<'s>>),
        [before, now]: &[ClusterName; 2],
        touched: bool,
    ) -> Pair<'p, 's> {
        let had = old.and_then(|old| share(old, name, before));
        // Whoever acted on the hub: what lives there is the same.
        let had = had.or_else(|| {
            let of_hub = old.filter(|_| name == now).and_then(|old| share(old, before, before));
            of_hub.filter(|side| *side == Side::Hub)
        });
        let had = had.filter(|side| *side != Side::Hub || (name == now && live.is_some_and(is_on_hub)));
        Pair { key, name, old, new, had, has: new.and_then(|new| share(new, name, now)), touched }
    }

    /// Whether files name it, its definition, or one whose instances it makes.
    fn is_touched(&self, key: &InstanceKey, subject: Option<&Subject<'_>>) -> bool {
        if self.touched.instances.contains(&key.object()) {
            return true;
        }
        let Some(subject) = subject else { return false };
        let side = self.is.side;
        let (mut seen, mut next) = (BTreeSet::new(), vec![subject.graph]);
        while let Some(graph) = next.pop() {
            if self.touched.definitions.contains(&graph.rgd_name) {
                return true;
            }
            if seen.insert(graph.rgd_name.as_str()) {
                next.extend(graph.nodes.iter().filter_map(|node| side.graph_of(&node.gvk)).map(|(_, g)| g));
            }
        }
        false
    }

    /// The instance on a cluster as it was and as it would be; `None` where it is neither.
    fn halves(&self, pair: &Pair<'_, '_>) -> Option<Halves> {
        let Pair { name, old, new, had, has, .. } = *pair;
        if had.is_none() && has.is_none() {
            return None;
        }
        let (was, is) = self.states(name);
        let made = |subject: &Subject<'_>, side, graphs: &[Arc<Graph>], state: Option<&ClusterState>| {
            let mut state = state.cloned().unwrap_or_default();
            // What lives on the hub is the same for all clusters.
            state.view.local |= side == Side::Hub;
            made(subject, graphs, (name, &state))
        };
        let old_made = old.zip(had).map(|(old, side)| made(old, side, &self.graphs.0, was.or(is)));
        let new_made = new.zip(has).map(|(new, side)| made(new, side, &self.graphs.1, is));
        let same_reads = match (&old_made, &new_made) {
            (Some(Ok(old)), Some(Ok(new))) => reads(&old.graph, was) == reads(&new.graph, is),
            _ => false,
        };
        Some(Halves { old: old_made.and_then(Result::ok), new: new_made, same_reads })
    }

    /// A cluster as it is, and as it would be.
    fn states(&self, name: &ClusterName) -> (Option<&ClusterState>, Option<&ClusterState>) {
        (self.was.side.clusters.get(name), self.is.side.clusters.get(name))
    }

    fn wish(&self, pair: &Pair<'_, '_>, halves: Halves) -> Option<Wish> {
        let Pair { key, name, old, new, had, has, touched } = *pair;
        let (_, is) = self.states(name);
        let placement = pair.placement();
        let is_same = halves.is_same() && had == has;
        let Halves { old: old_made, new: new_made, .. } = halves;
        if is_same && !touched && placement.is_empty() {
            return None;
        }
        let gvk = new.or(old)?.graph.gvk.clone();
        let wish = |after: Option<Made>, task: Option<Task>, refused: Option<String>| Wish {
            key: key.clone(),
            gvk,
            placement,
            before: old_made.clone(),
            after,
            task: task.map(Arc::new),
            refused,
        };
        let Some(new_made) = new_made else {
            let stays = new.is_some_and(|new| new.decision.orphaned.contains(name))
                || (is.is_none() && had != Some(Side::Hub));
            let task = self.removal(pair, old?).filter(|_| !stays || self.is_emptied(name));
            return Some(wish(None, task, None));
        };
        let obstacle = new.filter(|_| has == Some(Side::Hub)).and_then(|new| share::obstacle(new, name));
        Some(match (new_made, obstacle) {
            (Err(why), _) | (_, Some(why)) => wish(None, None, Some(why)),
            (Ok(made), None) => {
                let local = is.map_or(has == Some(Side::Hub), |state| state.view.local);
                let facts = is.and_then(|state| state.facts.clone()).unwrap_or_default();
                let task = self.run(key, &made, part(has), (local, facts));
                wish(Some(made), Some(task), None)
            }
        })
    }

    /// What runs on a cluster that is taken out goes with it where it says so.
    fn is_emptied(&self, name: &ClusterName) -> bool {
        !self.is.side.clusters.contains_key(name) && self.was.side.is_emptied(name.as_str())
    }

    fn task(&self, key: &InstanceKey, made: &Made, home: Home, goal: Goal) -> Task {
        Task {
            key: key.clone(),
            gvk: made.graph.gvk.clone(),
            hub_uid: made.instance.uid().to_owned(),
            hub_id: self.hub_id.clone(),
            home,
            goal,
        }
    }

    fn run(&self, key: &InstanceKey, made: &Made, part: Part, (local, facts): (bool, Arc<Value>)) -> Task {
        let goal = Goal::Run {
            graph: made.graph.clone(),
            part,
            mirror: Arc::new(MirrorContent::of(&made.instance)),
            suspended: made.instance.is_suspended(),
            allow_breaking: allows_breaking(made.graph.definition()),
            cluster: facts,
            mark: None,
            admitted: None,
            facts: None,
            keeps: false,
            rank: Rank::default(),
        };
        self.task(key, made, home(local, &made.instance), goal)
    }

    fn removal(&self, pair: &Pair<'_, '_>, old: &Subject<'_>) -> Option<Task> {
        let state = self.was.side.clusters.get(pair.name);
        let local = state.map_or(pair.had == Some(Side::Hub), |state| state.view.local);
        let graph = self.graphs.0.get(old.at)?.clone();
        let made = Made { graph, instance: old.instance.clone(), leaves: Vec::new() };
        let goal = Goal::Remove { group_kinds: made.graph.group_kinds() };
        Some(self.task(pair.key, &made, home(local, old.instance), goal))
    }
}

fn home(local: bool, instance: &Object) -> Home {
    match local {
        true => Home::Local { instance: Arc::new(Stored::new(instance.0.clone())) },
        false => Home::Mirror,
    }
}

/// What is told of the hub comes later.
fn part(side: Option<Side>) -> Part {
    match side {
        Some(Side::Hub) => Part::Hub,
        Some(Side::Rest) => Part::Rest(Arc::default()),
        Some(Side::Whole) | None => Part::Whole,
    }
}

fn made(
    subject: &Subject<'_>,
    graphs: &[Arc<Graph>],
    (name, state): (&ClusterName, &ClusterState),
) -> Result<Made, String> {
    let graph = graphs.get(subject.at).ok_or("its definition is not there")?.clone();
    let overlaid = subject.overlaid(name, state)?;
    let origin = Origin { facts: overlaid.facts.iter().cloned().collect(), ..Origin::default() };
    let leaves = match origin.facts.is_empty() {
        true => Vec::new(),
        false => vec![Leaf { steps: vec!["spec".into()], origin }],
    };
    Ok(Made { graph, instance: overlaid.instance, leaves })
}

/// What of an instance travels.
fn content(made: &Made) -> (u64, bool) {
    (MirrorContent::of(&made.instance).fingerprint(), made.instance.is_suspended())
}

/// What a definition reads of a cluster.
fn reads(graph: &Graph, state: Option<&ClusterState>) -> Vec<Option<Value>> {
    let facts = state.and_then(|state| state.facts.clone()).unwrap_or_default();
    let read = |path: &Vec<String>| path.iter().try_fold(&*facts, |at, key| at.get(key)).cloned();
    graph.cluster_reads().iter().map(read).collect()
}
