//! What each cluster is told to do with the instance.

use super::on_hub::{has_part_on_hub, may_be_local};
use super::situation::Situation;
use super::{Fleet, FleetAction, FleetStep, Inputs, Sent};
use crate::api::names::ClusterName;
use crate::graph::Graph;
use crate::reconcile::spoke::{Goal, Home, HubValues, MirrorContent, Part, Report, Task, has_hub_part};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a cluster is to do with the instance, and where the object lives that the children there belong to.
struct Wanted {
    home: Home,
    goal: Goal,
}

impl Wanted {
    fn of_mirror(goal: Goal) -> Self {
        Self { home: Home::Mirror, goal }
    }
}

impl Fleet {
    pub(super) fn send(&mut self, step: &mut FleetStep, situation: &Situation) {
        let Situation { inputs, deleting, managed, past, decision, spokes, on_hub } = situation;
        let (deleting, managed, local) = (*deleting, *managed, &on_hub.name);
        if let Some(graph) = inputs.graph {
            // Only what is on record may be written to, also in the record that is on its way.
            let on_record = |n: &ClusterName| {
                past.holds.contains(n) && self.recording.as_ref().is_none_or(|holds| holds.contains(n))
            };
            let ready: Vec<&ClusterName> = spokes.iter().filter(|n| managed && on_record(n)).collect();
            for name in ready {
                let Some(part) = self.part_of_spokes(situation, graph, name) else { continue };
                if let Some(goal) = run_goal(inputs, graph, part, name) {
                    self.send_one(step, inputs, name, Wanted::of_mirror(goal));
                }
            }
        }
        let leave = past.holds.iter().filter(|n| !spokes.contains(*n));
        for name in leave.filter(|n| !situation.waits_for_departure(n)) {
            if !situation.is_let_go(name) && !self.gone.contains(name) {
                self.send_one(step, inputs, name, Wanted::of_mirror(remove_goal(inputs)));
            }
        }
        let home = Home::Local { instance: Arc::new(inputs.instance.clone()) };
        if decision.local.is_some() && !deleting {
            let graph = inputs.graph.filter(|_| managed);
            if let Some(goal) = graph.and_then(|graph| run_goal(inputs, graph, Part::Whole, local)) {
                self.send_one(step, inputs, local, Wanted { home, goal });
            }
        } else if situation.is_let_go(local) || (on_hub.left && !deleting) {
            self.forget(step, local);
        } else if has_part_on_hub(inputs, spokes, &past.holds) {
            // What lives on the hub goes last: other clusters may read it. It comes after the record, which tells it from
            // what the instance made there as a whole.
            let may = managed && past.record.words.is_some() && !deleting;
            let graph = inputs.graph.filter(|_| may);
            if let Some(goal) = graph.and_then(|graph| run_goal(inputs, graph, Part::Hub, local)) {
                self.send_one(step, inputs, local, Wanted { home, goal });
            }
        } else if situation.waits_for_departure(local) {
        } else if managed && may_be_local(inputs.instance) && !self.gone.contains(local) {
            self.send_one(step, inputs, local, Wanted { home, goal: remove_goal(inputs) });
        }
    }

    /// What a cluster makes of the definition, with what the hub shows of its own part for the present spec. `None` while
    /// what it was told before stands, since the hub will say in a moment what it has.
    pub(super) fn part_of_spokes(
        &self,
        situation: &Situation,
        graph: &Graph,
        name: &ClusterName,
    ) -> Option<Part> {
        let Situation { inputs, on_hub, .. } = situation;
        if !has_hub_part(graph) {
            return Some(Part::Whole);
        }
        let said = self.reports.get(&on_hub.name).filter(|r| r.hub_uid == inputs.instance.uid());
        let told = self.sent.contains_key(name) || self.is_restarted(inputs);
        let may_speak = on_hub.may_speak(inputs) && !situation.is_let_go(&on_hub.name);
        if said.is_none() && told && may_speak {
            return None;
        }
        let fresh = |r: &&Report| r.generation == inputs.instance.generation() && r.revision == graph.hash;
        let values = said.filter(fresh).map(|r| r.hub_values.clone());
        Some(Part::Rest(values.unwrap_or_else(|| Arc::new(HubValues::default()))))
    }

    /// Whether what the status says was written by an earlier run of the controller.
    pub(super) fn is_restarted(&self, inputs: &Inputs) -> bool {
        inputs.instance.0.pointer("/status/state").is_some() && self.last_status_write.is_none()
    }

    fn send_one(&mut self, step: &mut FleetStep, inputs: &Inputs, cluster: &ClusterName, wanted: Wanted) {
        if inputs.clusters.get(cluster).is_none_or(|c| !c.health.has_actor()) {
            return;
        }
        let task = Task {
            key: self.key.clone(),
            gvk: self.gvk.clone(),
            hub_uid: inputs.instance.uid().to_owned(),
            hub_id: inputs.hub_id.clone(),
            home: wanted.home,
            goal: wanted.goal,
        };
        let sent =
            Sent { fingerprint: task.fingerprint(), removal: matches!(task.goal, Goal::Remove { .. }) };
        if self.sent.get(cluster) != Some(&sent) {
            self.gone.remove(cluster);
            self.sent.insert(cluster.clone(), sent);
            step.actions.push(FleetAction::Send { cluster: cluster.clone(), task: Arc::new(task) });
        }
    }

    /// Whether a deleted instance may go.
    pub(super) fn finished(&self, situation: &Situation, holds: &BTreeSet<ClusterName>) -> bool {
        let local = &situation.on_hub.name;
        // Children on the hub are cleaned there, or let go.
        let local_done = !may_be_local(situation.inputs.instance)
            || self.gone.contains(local)
            || self.left.contains(local);
        holds.is_empty() && local_done && self.left_busy.is_empty()
    }

    /// Children on the hub that a deleted instance leaves there, since somebody let go.
    pub(super) fn let_local_go(&mut self, step: &mut FleetStep, situation: &Situation) {
        let local = &situation.on_hub.name;
        let let_go = situation.is_let_go(local);
        if may_be_local(situation.inputs.instance) && let_go && !self.left.contains(local) {
            self.record_left(step, situation.inputs, local);
        }
    }
}

/// `None` while the definition reads of the cluster what is not known yet.
pub(super) fn run_goal(
    inputs: &Inputs,
    graph: &Arc<Graph>,
    part: Part,
    cluster: &ClusterName,
) -> Option<Goal> {
    let facts = inputs.clusters.get(cluster).and_then(|c| c.facts.clone());
    // What lives on the hub reads nothing of any one cluster.
    let reads = !graph.cluster_reads().is_empty() && !matches!(part, Part::Hub);
    if facts.is_none() && reads {
        return None;
    }
    let shown = graph.as_served(inputs.instance);
    Some(Goal::Run {
        graph: graph.clone(),
        part,
        mirror: Arc::new(MirrorContent::of(shown.as_ref().unwrap_or(inputs.instance))),
        suspended: inputs.instance.is_suspended(),
        allow_breaking: inputs.allow_breaking,
        cluster: facts.unwrap_or_default(),
    })
}

pub(super) fn remove_goal(inputs: &Inputs) -> Goal {
    Goal::Remove { group_kinds: inputs.graph.map(|g| g.group_kinds()).unwrap_or_default() }
}
