//! What each cluster would be told: where instances go, by which definition, and what is the same as now.

use super::overlay::{Touched, allows_breaking};
use crate::api::Object;
use crate::api::keys::kro;
use crate::api::names::{ClusterName, HubId, InstanceKey};
use crate::cli::diff::comparing::{Revision, Subject, placement};
use crate::cli::diff::placing::on_record;
use crate::edge::planning::{Made, Wish};
use crate::graph::{Graph, Leaf, Origin};
use crate::reconcile::bounds::Bounds;
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::spoke::{Goal, Home, MirrorContent, Part, Task, has_hub_part};
use crate::reconcile::world::{Definition, Rank, Stored};
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
}

/// All that one cluster is told.
#[derive(Default)]
pub struct Orders {
    pub bounds: Arc<Bounds>,
    pub facts: Arc<Value>,
    pub wishes: Vec<Wish>,
}

impl Orders {
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

/// One instance on one cluster.
struct Pair<'p, 's> {
    key: &'p InstanceKey,
    name: &'p ClusterName,
    old: Option<&'p Subject<'s>>,
    new: Option<&'p Subject<'s>>,
    /// Somebody wrote of it.
    touched: bool,
}

impl Decided<'_> {
    /// By cluster: all that concerns what somebody wrote of, and all that is another than before.
    pub fn orders(mut self) -> BTreeMap<ClusterName, Orders> {
        let mut out: BTreeMap<ClusterName, Orders> = BTreeMap::new();
        let (before, after) = (self.was.side, self.is.side);
        let keys: BTreeSet<&InstanceKey> = before.instances.keys().chain(after.instances.keys()).collect();
        let clusters: BTreeSet<&ClusterName> = before.clusters.keys().chain(after.clusters.keys()).collect();
        for key in keys {
            let live = before.instances.get(key).map(|(_, live)| live);
            let mut old = self.was.subject(key, on_record);
            if let (Some(old), Some(live)) = (&mut old, live) {
                // Where it stands, whatever is decided now.
                old.runs_on = on_record(live).holds;
                old.runs_on.extend(local(old.decision.local.as_ref(), live));
            }
            let new = self.is.subject(key, |instance| on_record(live.unwrap_or(instance)));
            let touched = self.is_touched(key, new.as_ref().or(old.as_ref()));
            for name in &clusters {
                let pair = Pair { key, name, old: old.as_ref(), new: new.as_ref(), touched };
                if let Some(wish) = self.wish(&pair) {
                    let state = after.clusters.get(*name).or_else(|| before.clusters.get(*name));
                    let orders = out.entry((*name).clone()).or_default();
                    if let Some(state) = state {
                        orders.facts = state.facts.clone().unwrap_or_default();
                        orders.bounds = state.bounds.clone();
                    }
                    orders.wishes.push(wish);
                }
            }
        }
        out
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

    fn wish(&self, pair: &Pair<'_, '_>) -> Option<Wish> {
        let Pair { key, name, old, new, touched } = *pair;
        let runs = |of: Option<&'_ Subject<'_>>| of.is_some_and(|subject| subject.runs_on.contains(name));
        let (ran, runs) = (runs(old), runs(new));
        if !ran && !runs {
            return None;
        }
        let (before, after) = (self.was.side, self.is.side);
        let (was, is) = (before.clusters.get(name), after.clusters.get(name));
        let made = |subject: &Subject<'_>, graphs: &[Arc<Graph>], state: Option<&ClusterState>| {
            let state = state.cloned().unwrap_or_default();
            made(subject, graphs, (name, &state))
        };
        let old_made = old.filter(|_| ran).map(|old| made(old, &self.graphs.0, was.or(is)));
        let new_made = new.filter(|_| runs).map(|new| made(new, &self.graphs.1, is));
        let placement = placement(name, old, new);
        let (old_made, new_made) = (old_made.and_then(Result::ok), new_made);
        let same = |a: &Made, b: &Made| {
            a.graph.hash == b.graph.hash
                && a.graph.annotations == b.graph.annotations
                && content(a) == content(b)
                && reads(&a.graph, was) == reads(&b.graph, is)
        };
        let is_same = match (&old_made, &new_made) {
            (Some(old), Some(Ok(new))) => same(old, new),
            _ => false,
        };
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
            let stays = new.is_some_and(|new| new.decision.orphaned.contains(name)) || is.is_none();
            let task = self.removal(pair, old?).filter(|_| !stays || self.is_emptied(name));
            return Some(wish(None, task, None));
        };
        let (local, facts) = is.map(|state| (state.view.local, state.facts.clone())).unwrap_or_default();
        Some(match new_made {
            Ok(made) if has_hub_part(&made.graph) => {
                wish(None, None, Some("some of its resources live on the hub".to_owned()))
            }
            Ok(made) => {
                let task = self.run(key, &made, (local, facts.unwrap_or_default()));
                wish(Some(made), Some(task), None)
            }
            Err(why) => wish(None, None, Some(why)),
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

    fn run(&self, key: &InstanceKey, made: &Made, (local, facts): (bool, Arc<Value>)) -> Task {
        let goal = Goal::Run {
            graph: made.graph.clone(),
            part: Part::Whole,
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
        let state = self.was.side.clusters.get(pair.name).cloned().unwrap_or_default();
        let graph = self.graphs.0.get(old.at)?.clone();
        let made = Made { graph, instance: old.instance.clone(), leaves: Vec::new() };
        let goal = Goal::Remove { group_kinds: made.graph.group_kinds() };
        Some(self.task(pair.key, &made, home(state.view.local, old.instance), goal))
    }
}

fn home(local: bool, instance: &Object) -> Home {
    match local {
        true => Home::Local { instance: Arc::new(Stored::new(instance.0.clone())) },
        false => Home::Mirror,
    }
}

/// The local cluster, where the instance made something there.
fn local(decided: Option<&ClusterName>, live: &Object) -> Option<ClusterName> {
    let recorded = live.annotation(kro::APPLYSET_GROUP_KINDS).is_some_and(|kinds| !kinds.is_empty());
    decided.filter(|_| recorded).cloned()
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
