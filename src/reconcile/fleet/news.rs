//! What is new since the step before. Most of it concerns one cluster where the instance is at home, and changes nothing
//! of where it goes, nor of what stands on record: then that cluster alone is looked at. Whatever is not clearly like that
//! makes a step look at everything.

use super::aggregate::Written;
use super::gate::Gates;
use super::placement::{DefaultPlacement, Watches};
use super::rollout::OnRecord;
use super::situation::{Plan, Situation};
use super::{Fleet, FleetStep, Inputs};
use crate::api::Object;
use crate::api::names::ClusterName;
use crate::graph::Graph;
use crate::reconcile::policy::Effective;
use crate::reconcile::rollout::pin::Unfit;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is new of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    /// It reported.
    Said,
    /// It is otherwise itself, or its actor is new: it may have to be told again.
    Changed,
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct News {
    pub everything: bool,
    pub of_clusters: BTreeMap<ClusterName, Novelty>,
}

impl News {
    pub fn said(&mut self, name: &ClusterName) {
        self.of_clusters.entry(name.clone()).or_insert(Novelty::Said);
    }
    pub fn restarted(&mut self, name: &ClusterName) {
        self.of_clusters.insert(name.clone(), Novelty::Changed);
    }
}

/// What the last step saw.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Seen {
    pub written: Written,
    graph: Option<Arc<Graph>>,
    allow_breaking: bool,
    default_placement: DefaultPlacement,
    placements: Vec<Arc<Effective>>,
    on_record: Option<Arc<OnRecord>>,
    former: Option<Arc<BTreeMap<String, Arc<Graph>>>>,
    unfit: Option<Arc<Unfit>>,
    gates: Option<Arc<Gates>>,
    /// The version of the clusters.
    clusters: u64,
}

impl Seen {
    pub fn placements(&self) -> impl Iterator<Item = &Arc<Effective>> {
        self.placements.iter()
    }

    pub fn of(inputs: &Inputs, written: Written) -> Self {
        Self {
            written,
            graph: inputs.graph.cloned(),
            allow_breaking: inputs.allow_breaking,
            default_placement: inputs.default_placement,
            placements: inputs.placements.to_vec(),
            on_record: inputs.rolled.on_record.cloned(),
            former: inputs.rolled.former.cloned(),
            unfit: inputs.rolled.unfit.cloned(),
            gates: inputs.rolled.gates.cloned(),
            clusters: inputs.clusters.version(),
        }
    }

    fn is_of_definition(&self, inputs: &Inputs) -> bool {
        let graph = match (&self.graph, inputs.graph) {
            (Some(seen), Some(graph)) => Arc::ptr_eq(seen, graph),
            (None, None) => true,
            _ => false,
        };
        graph
            && same(self.on_record.as_ref(), inputs.rolled.on_record)
            && same(self.former.as_ref(), inputs.rolled.former)
            && same(self.unfit.as_ref(), inputs.rolled.unfit)
            && same(self.gates.as_ref(), inputs.rolled.gates)
            && self.allow_breaking == inputs.allow_breaking
            && self.default_placement == inputs.default_placement
            && self.placements.len() == inputs.placements.len()
            && self.placements.iter().zip(inputs.placements).all(|(seen, now)| Arc::ptr_eq(seen, now))
    }
}

impl Fleet {
    /// The plan of the step before, where it stands, and what is new of the clusters that matter.
    pub(super) fn still_planned(
        &mut self,
        inputs: &Inputs,
    ) -> Option<(Box<Plan>, BTreeMap<ClusterName, Novelty>)> {
        let News { everything, mut of_clusters } = std::mem::take(&mut self.news);
        let plan = self.plan.take()?;
        let seen = self.seen.as_ref().filter(|seen| seen.is_of_definition(inputs))?;
        let waits = self.recording.is_some() || self.record_retry.has_failed() || !self.lost.0.is_empty();
        if everything || plan.deleting || waits {
            return None;
        }
        if !seen.written.is_on(inputs.instance) {
            let before = seen.written.object();
            let version = inputs.instance.version();
            if version < self.version || !differ_in_status_alone(before, inputs.instance) {
                return None;
            }
            self.version = version;
            self.is_told = false;
        }
        for name in inputs.clusters.passed_since(seen.clusters)? {
            of_clusters.insert(name.clone(), Novelty::Changed);
        }
        let is_time = plan.decision.wake.is_some_and(|at| at <= inputs.now.unix());
        let says_all = plan.decision.watches == Watches::All && !of_clusters.is_empty();
        let may_choose =
            |(name, novelty): (&ClusterName, &Novelty)| *novelty == Novelty::Changed && plan.watches(name);
        if is_time || says_all || of_clusters.iter().any(may_choose) {
            return None;
        }
        of_clusters.retain(|name, _| self.is_concerned(&plan, name));
        let alone = |(name, novelty): (&ClusterName, &Novelty)| self.is_alone(inputs, &plan, name, *novelty);
        of_clusters.iter().all(alone).then_some((plan, of_clusters))
    }

    /// Whether what is new of the cluster can change that cluster's line and task alone.
    fn is_alone(&self, inputs: &Inputs, plan: &Plan, name: &ClusterName, novelty: Novelty) -> bool {
        if *name == plan.on_hub.name {
            let heard = Self::is_heard_by_others(inputs, plan, name);
            return novelty == Novelty::Said && !heard && self.lines.get(name).is_some();
        }
        // What lives on the hub may go once this one does not read it any more.
        if self.keeps && inputs.rolled.gates.is_some() {
            return false;
        }
        let is_plain = self.pairs.get(name).is_none_or(|p| !(p.gone || p.left || p.found || p.left_busy));
        let stays = |c: &super::ClusterState| !c.view.leaving && !c.view.local && !c.implied;
        is_plain
            && plan.spokes.contains(name)
            && plan.past.holds.contains(name)
            && !plan.past.released.contains(name)
            && inputs.clusters.get(name).is_some_and(stays)
            && self.lines.get(name).is_some()
    }

    pub(super) fn look_at_news(
        &mut self,
        step: &mut FleetStep,
        situation: Situation,
        news: BTreeMap<ClusterName, Novelty>,
    ) {
        // Whoever said what stands there is told to have it.
        let mut told = BTreeSet::new();
        for name in news.keys() {
            let before = self.goes_by(name);
            self.roll_news(situation, name);
            if self.goes_by(name) != before {
                told.insert(name.clone());
            }
        }
        let everywhere = |fleet: &Self| fleet.rolling.as_ref().is_some_and(|rolling| rolling.is_everywhere);
        let before = everywhere(self);
        told.extend(self.roll_on(step, situation));
        if everywhere(self) != before {
            self.send_to_hub(step, situation);
        }
        for name in told {
            self.send_to(step, situation, &name);
            self.is_told &= !self.lines.set(self.line(situation, &name, !situation.runs_on(&name)));
        }
        for (name, novelty) in news {
            if novelty == Novelty::Changed {
                self.send_to_spoke(step, situation, &name);
                // What the cluster is may be shown.
                self.is_told = false;
            }
            let line = self.line(situation, &name, !situation.runs_on(&name));
            if self.lines.set(line) {
                self.is_told = false;
            }
        }
    }

    /// Whether how a cluster is may matter to the instance, wherever it may go next.
    pub(super) fn is_concerned(&self, plan: &Plan, name: &ClusterName) -> bool {
        self.pairs.get(name).is_some()
            || (plan.minds_hub && *name == plan.on_hub.name)
            || self.lines.has(name)
            || plan.spokes.contains(name)
            || plan.past.holds.contains(name)
    }
}

fn same<T>(seen: Option<&Arc<T>>, now: Option<&Arc<T>>) -> bool {
    match (seen, now) {
        (Some(seen), Some(now)) => Arc::ptr_eq(seen, now),
        (None, None) => true,
        _ => false,
    }
}

/// Whether nobody but us, who write the status, could tell the two apart.
fn differ_in_status_alone(before: &Object, after: &Object) -> bool {
    let parts =
        |object: &'_ Object| object.0.as_object().map(|o| o.len() - usize::from(o.contains_key("status")));
    let (Some(old), Some(new)) = (before.0.as_object(), after.0.as_object()) else { return false };
    let same = |(key, value): (&String, &Value)| match key.as_str() {
        "status" => true,
        "metadata" => old.get(key).is_some_and(|before| is_same_metadata(before, value)),
        _ => old.get(key) == Some(value),
    };
    parts(before) == parts(after) && new.iter().all(same)
}

/// Every write changes these two, whatever it writes.
fn is_same_metadata(before: &Value, after: &Value) -> bool {
    let told = |value: &'_ Value| {
        let fields = value.as_object().into_iter().flatten();
        fields.filter(|(key, _)| !matches!(key.as_str(), "managedFields" | "resourceVersion")).count()
    };
    let same = |(key, value): (&String, &Value)| {
        matches!(key.as_str(), "managedFields" | "resourceVersion") || before.get(key) == Some(value)
    };
    told(before) == told(after) && after.as_object().is_some_and(|fields| fields.iter().all(same))
}
