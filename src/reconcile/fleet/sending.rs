//! What each cluster is told to do with the instance.

use super::entry::Entry;
use super::gate::{Gates, known_to};
use super::moved::Assigned;
use super::on_hub::{has_part_on_hub, may_be_local};
use super::overriding::{Content, Overlay, Place};
use super::pairs::Sent;
use super::situation::{Plan, Situation};
use super::{Fleet, FleetAction, FleetStep, Inputs};
use crate::api::names::ClusterName;
use crate::api::{Object, hash};
use crate::graph::Graph;
use crate::reconcile::rollout::{Admitted, Mark};
use crate::reconcile::spoke::{Goal, Home, HubValues, MirrorContent, Part, Report, Task, has_hub_part};
use serde_json::{Value, json};
use std::sync::Arc;

/// What all clusters are told alike that the instance runs on, but for what each of them is.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Orders {
    goal: Goal,
    /// Of all that is in it.
    print: u64,
    /// Who was told before is told nothing: the hub will say in a moment what it has.
    only_new: bool,
    /// What is otherwise on some of them.
    pub overlay: Option<Arc<Overlay>>,
}

/// Where the object lives that the children on a cluster belong to.
#[derive(Clone, Copy)]
enum At {
    Mirror,
    /// On the hub the instance is its own.
    Instance,
}

impl At {
    fn home(self, inputs: &Inputs) -> Home {
        match self {
            Self::Mirror => Home::Mirror,
            Self::Instance => Home::Local { instance: inputs.stored.clone() },
        }
    }
}

/// All of an instance but what every write of ours changes.
fn words_of(instance: &Object) -> Value {
    let fields = instance.0.as_object().into_iter().flatten().filter(|(key, _)| *key != "status");
    let word = |(key, value): (&String, &Value)| {
        let mut value = value.clone();
        if let Some(metadata) = value.as_object_mut().filter(|_| key == "metadata") {
            metadata.retain(|key, _| key != "managedFields" && key != "resourceVersion");
        }
        (key.clone(), value)
    };
    fields.map(word).collect()
}

impl Fleet {
    /// Tells the clusters what follows from what is on record.
    pub(super) fn send(&mut self, step: &mut FleetStep, situation: Situation) {
        let Situation { inputs, plan } = situation;
        let (deleting, managed, local) = (plan.deleting, plan.managed, &plan.on_hub.name);
        for name in &plan.spokes {
            self.send_to_spoke(step, situation, name);
        }
        let leave = plan.past.holds.iter().filter(|n| !plan.spokes.contains(*n));
        for name in leave.filter(|n| !situation.waits_for_departure(n)) {
            if !situation.is_let_go(name) && !self.pairs.is(name, |p| p.gone) {
                self.send_goal(step, inputs, name, (At::Mirror, remove_goal(inputs)));
            }
        }
        if plan.decision.local.is_some() && !deleting {
            self.send_to_itself(step, situation);
        } else if situation.is_let_go(local) || (plan.on_hub.left && !deleting) {
            self.forget(step, local);
        } else if has_part_on_hub(inputs, &plan.spokes, &plan.past.holds) {
            self.send_part_of_hub(step, situation);
        } else if situation.waits_for_departure(local) {
        } else if managed && self.may_hold_on_hub(inputs.instance, local) && !self.pairs.is(local, |p| p.gone)
        {
            self.send_goal(step, inputs, local, (At::Instance, remove_goal(inputs)));
        }
    }

    /// Tells the hub to run the instance as a whole: what is written there counts at once, the revision of the definition
    /// when its turn comes.
    fn send_to_itself(&mut self, step: &mut FleetStep, situation: Situation) {
        let Situation { inputs, plan } = situation;
        let local = &plan.on_hub.name;
        let newest = inputs.graph.filter(|_| plan.managed);
        let Some((of, said, let_by)) = newest.and_then(|newest| self.run_by_itself(situation, newest)) else {
            return;
        };
        let Some(mut goal) = run_goal(inputs, of, Part::Whole, local) else { return };
        if let Goal::Run { mark, admitted, .. } = &mut goal {
            (*mark, *admitted) = (said, let_by);
        }
        let goal = self.keeping(situation, goal);
        self.send_goal(step, inputs, local, (At::Instance, goal));
    }

    /// Tells the hub what lives there.
    fn send_part_of_hub(&mut self, step: &mut FleetStep, situation: Situation) {
        let Situation { inputs, plan } = situation;
        // What lives on the hub goes last: other clusters may read it. It comes after the record, which tells it from
        // what the instance made there as a whole.
        let may = plan.managed && plan.past.record.words.is_some() && !plan.deleting;
        let graph = inputs.graph.filter(|_| may);
        if let Some(goal) = graph.and_then(|graph| run_goal(inputs, graph, Part::Hub, &plan.on_hub.name)) {
            let goal = self.keeping(situation, goal);
            self.send_goal(step, inputs, &plan.on_hub.name, (At::Instance, goal));
        }
    }

    /// The same again, where something of it changed.
    pub(super) fn send_to_hub(&mut self, step: &mut FleetStep, situation: Situation) {
        let Situation { inputs, plan } = situation;
        if plan.decision.local.is_some() {
            self.send_to_itself(step, situation);
        } else if !plan.on_hub.left
            && !situation.is_let_go(&plan.on_hub.name)
            && has_part_on_hub(inputs, &plan.spokes, &plan.past.holds)
        {
            self.send_part_of_hub(step, situation);
        }
    }

    /// What the hub runs an instance by that is on it as a whole, and what the instance says of that. `None`: as before.
    fn run_by_itself<'i>(
        &self,
        situation: Situation<'i>,
        newest: &'i Arc<Graph>,
    ) -> Option<(&'i Arc<Graph>, Option<Mark>, Option<Admitted>)> {
        let inputs = situation.inputs;
        let local = &situation.plan.on_hub.name;
        if has_hub_part(newest) {
            return Some((newest, None, None));
        }
        if let Some(gates) = inputs.rolled.gates {
            return gates.graph(inputs, local).map(|(gate, graph)| (graph, None, gate.admitted));
        }
        let Some(rolling) = self.rolling.as_ref().filter(|rolling| rolling.moves(local)) else {
            return Some((newest, None, None));
        };
        let assigned = self.pairs.get(local)?.moved.as_ref()?.assigned;
        let (content, mark) = rolling.content(assigned)?;
        Some((inputs.graph_for(&content.graph)?, mark, None))
    }

    /// What lives on the hub goes only once no cluster can read it any more.
    fn keeping(&mut self, situation: Situation, mut goal: Goal) -> Goal {
        if let Goal::Run { keeps, graph, .. } = &mut goal {
            *keeps = has_hub_part(graph) && self.is_behind(situation, graph);
            self.keeps = *keeps;
        }
        goal
    }

    /// Whether some cluster goes by an earlier version, or by an earlier revision of its kind.
    fn is_behind(&self, situation: Situation, newest: &Graph) -> bool {
        let by_another = |name| self.pairs.report(name).is_none_or(|report| report.revision != newest.hash);
        let of_kind = situation.inputs.rolled.gates.is_some();
        self.rolling.as_ref().is_some_and(|rolling| !rolling.is_everywhere)
            || (of_kind && situation.plan.spokes.iter().any(by_another))
    }

    /// Tells whatever cluster it is.
    pub(super) fn send_to(&mut self, step: &mut FleetStep, situation: Situation, name: &ClusterName) {
        if situation.plan.spokes.contains(name) {
            self.send_to_spoke(step, situation, name);
        } else if situation.plan.decision.local.as_ref() == Some(name) {
            self.send_to_itself(step, situation);
        }
    }

    /// Tells a cluster that the instance is to run there, if only what is on record is written to, also in the record that
    /// is on its way.
    pub(super) fn send_to_spoke(&mut self, step: &mut FleetStep, situation: Situation, name: &ClusterName) {
        let Situation { inputs, plan } = situation;
        let Some(orders) = &plan.orders else { return };
        let on_record = plan.past.holds.contains(name)
            && self.recording.as_ref().is_none_or(|holds| holds.contains(name));
        // What nothing chooses any more goes on by what it was told, and gets nothing new.
        let goes_by_a_rollout = self.rolling.is_some() || inputs.rolled.gates.is_some();
        let is_still = goes_by_a_rollout && plan.decision.still.contains(name);
        if on_record && (is_still || plan.decision.stays.contains_key(name)) {
            if let Some(graph) = inputs.graph.filter(|_| !self.goes_on(name)) {
                let goal = self.goal_as_it_stands(situation, name, graph);
                self.send_goal(step, inputs, name, (At::Mirror, goal));
            }
            return;
        }
        if self.rolling.is_some() && on_record {
            return self.send_version(step, situation, name);
        }
        if let Some(gates) = inputs.rolled.gates.filter(|_| on_record) {
            return self.send_gated(step, situation, name, gates);
        }
        let is_told = || self.pairs.is(name, |p| p.sent.is_some()) || self.is_restarted(inputs);
        if !on_record || (orders.only_new && is_told()) {
            return;
        }
        let Goal::Run { graph, part, mirror, suspended, allow_breaking, rank, .. } = &orders.goal else {
            return;
        };
        let rank = *rank;
        // What nothing chooses any more stays as it is.
        if plan.stays(name) {
            return self.ask_what_stands(step, situation, (name, graph), true);
        }
        let facts = inputs.clusters.get(name).and_then(|c| c.facts.clone());
        let Some(print) = orders.print_at(graph, facts.as_deref()) else { return };
        let content = match &orders.overlay {
            Some(overlay) => {
                let place = Place::now(inputs, name);
                self.content(&place, overlay, (graph, mirror, print))
            }
            None => Content::Written,
        };
        let (print, made) = match content {
            Content::Written => (print, Some(mirror.clone())),
            Content::Overridden(print, made) => (print, made),
            Content::Nothing => return self.ask_what_stands(step, situation, (name, graph), false),
        };
        let sent = Sent { fingerprint: print, removal: false };
        if self.pairs.is(name, |p| p.sent == Some(sent)) {
            return;
        }
        let made = made.or_else(|| {
            let overlay = orders.overlay.as_ref()?;
            self.overridden(&Place::now(inputs, name), overlay, (graph, mirror))
        });
        let Some(mirror) = made else { return };
        let goal = || Goal::Run {
            graph: graph.clone(),
            part: part.clone(),
            mirror: mirror.clone(),
            suspended: *suspended,
            allow_breaking: *allow_breaking,
            cluster: facts.clone().unwrap_or_default(),
            mark: None,
            admitted: None,
            facts: None,
            keeps: false,
            rank,
        };
        self.send_one(step, inputs, (name, sent), || (Home::Mirror, goal()));
    }

    /// Tells a cluster to have the version that it is to have; to stay as it is, where that is not known or is none.
    fn send_version(&mut self, step: &mut FleetStep, situation: Situation, name: &ClusterName) {
        let inputs = situation.inputs;
        let (Some(rolling), Some(newest)) = (&self.rolling, inputs.graph) else { return };
        let Some(orders) = &situation.plan.orders else { return };
        let Goal::Run { part, suspended, allow_breaking, .. } = &orders.goal else { return };
        let assigned = self.pairs.get(name).and_then(|pair| Some(pair.moved.as_ref()?.assigned));
        let assigned = assigned.unwrap_or_default();
        let Some((content, mark)) = rolling.content(assigned) else {
            // What runs there by an earlier word goes on by it.
            let goes_on =
                matches!(assigned, Assigned::Unmarked(_)) && self.pairs.is(name, |p| p.sent.is_some());
            if !goes_on {
                self.send_goal(step, inputs, name, (At::Mirror, Goal::Stay { graph: newest.clone() }));
            }
            return;
        };
        // The hub will say in a moment what it has.
        if orders.only_new && (self.goes_on(name) || self.is_restarted(inputs)) {
            return;
        }
        let gated = inputs.rolled.gates.map(|gates| gates.graph(inputs, name));
        if gated.is_some_and(|gated| gated.is_none()) {
            return self.leave_as_it_is(step, inputs, (name, newest));
        }
        let gated = gated.flatten();
        // The revision of the kind moved by itself when the version came, and does so no more.
        let follows = content.graph.is_empty() && gated.is_none();
        let graph = match gated {
            Some((_, graph)) => Some(graph),
            None if follows => self.runs_by(inputs, name),
            None => inputs.graph_for(&content.graph),
        };
        let Some(graph) = graph else {
            if follows {
                self.leave_as_it_is(step, inputs, (name, newest));
            }
            return;
        };
        let admitted = gated.and_then(|(gate, _)| gate.admitted);
        let read = self.pairs.get(name).and_then(|pair| pair.moved.as_ref()?.facts.clone());
        let place = Place::now(inputs, name).then(read.as_deref());
        let facts = place.facts.clone();
        if facts.is_none() && !graph.cluster_reads().is_empty() {
            return;
        }
        let part =
            if content == rolling.wanted() { part.clone() } else { self.part_as_it_is(situation, graph) };
        let (written, overlay) =
            (known_to_gate(gated.is_some(), graph, &content.mirror), rolling.overlay(assigned).cloned());
        let goal = |mirror: Arc<MirrorContent>| Goal::Run {
            graph: graph.clone(),
            part: part.clone(),
            mirror,
            suspended: *suspended,
            allow_breaking: *allow_breaking,
            cluster: facts.clone().unwrap_or_default(),
            mark,
            admitted,
            facts: read.clone(),
            keeps: false,
            rank: inputs.rank(graph),
        };
        self.send_content(step, situation, (&place, graph, written, overlay), goal);
    }

    /// Tells a cluster to run by the revision that it may run.
    fn send_gated(&mut self, step: &mut FleetStep, situation: Situation, name: &ClusterName, gates: &Gates) {
        let inputs = situation.inputs;
        let (Some(orders), Some(newest)) = (&situation.plan.orders, inputs.graph) else { return };
        let Goal::Run { part, mirror, suspended, allow_breaking, .. } = &orders.goal else { return };
        let Some((gate, graph)) = gates.graph(inputs, name) else {
            return self.leave_as_it_is(step, inputs, (name, newest));
        };
        let told = self.goes_on(name) || self.is_restarted(inputs);
        let facts = inputs.clusters.get(name).and_then(|c| c.facts.clone());
        if (orders.only_new && told) || (facts.is_none() && !graph.cluster_reads().is_empty()) {
            return;
        }
        let behind = newest.hash != graph.hash;
        let goal = |mirror: Arc<MirrorContent>| Goal::Run {
            graph: graph.clone(),
            part: part.clone(),
            mirror,
            suspended: *suspended,
            allow_breaking: *allow_breaking,
            cluster: facts.clone().unwrap_or_default(),
            mark: None,
            admitted: gate.admitted,
            facts: None,
            keeps: false,
            rank: inputs.rank(graph),
        };
        let written = known_to_gate(behind, graph, mirror);
        let place = Place::now(inputs, name);
        self.send_content(step, situation, (&place, graph, written, orders.overlay.clone()), goal);
    }

    /// What runs there by an earlier word goes on by it; else the cluster says what stands there.
    /// The graph that the instance runs by on a cluster, as far as it is known and at hand.
    fn runs_by<'i>(&self, inputs: &'i Inputs, name: &ClusterName) -> Option<&'i Arc<Graph>> {
        let said = self.heard(name, inputs.instance.uid()).filter(|report| !report.revision.is_empty());
        let written = || self.was(inputs.instance, name).map(|was| was.graph);
        let hash = said.map(|report| report.revision.clone()).or_else(written)?;
        inputs.graph_of(&hash)
    }

    fn leave_as_it_is(
        &mut self,
        step: &mut FleetStep,
        inputs: &Inputs,
        (name, newest): (&ClusterName, &Arc<Graph>),
    ) {
        if !self.goes_on(name) {
            self.send_goal(step, inputs, name, (At::Mirror, Goal::Stay { graph: newest.clone() }));
        }
    }

    fn send_content(
        &mut self,
        step: &mut FleetStep,
        situation: Situation,
        (place, graph, written, overlay): (&Place, &Arc<Graph>, Arc<MirrorContent>, Option<Arc<Overlay>>),
        goal: impl Fn(Arc<MirrorContent>) -> Goal,
    ) {
        let (inputs, name) = (situation.inputs, place.name);
        let Some(overlay) = overlay else {
            // An earlier version may have had some.
            self.note(name, None);
            return self.send_goal(step, inputs, name, (At::Mirror, goal(written)));
        };
        let print = self.task(inputs, Home::Mirror, goal(written.clone())).fingerprint();
        let mirror = match self.content(place, &overlay, (graph, &written, print)) {
            Content::Written => written,
            Content::Overridden(_, Some(made)) => made,
            Content::Overridden(_, None) => {
                let Some(made) = self.overridden(place, &overlay, (graph, &written)) else {
                    return;
                };
                made
            }
            Content::Nothing => return self.ask_what_stands(step, situation, (name, graph), false),
        };
        self.send_goal(step, inputs, name, (At::Mirror, goal(mirror)));
    }

    /// Whom nobody told anything since the start, and who cannot be told what to run, says what stands there.
    fn ask_what_stands(
        &mut self,
        step: &mut FleetStep,
        situation: Situation,
        (name, graph): (&ClusterName, &Arc<Graph>),
        stays: bool,
    ) {
        let cannot = stays || self.pairs.is(name, |p| p.applied.is_some());
        if cannot && !self.pairs.is(name, |p| p.sent.is_some()) {
            let goal = self.goal_as_it_stands(situation, name, graph);
            self.send_goal(step, situation.inputs, name, (At::Mirror, goal));
        }
    }

    /// To look after what stands there, by the graph that it was made by as the last written status says; to look only,
    /// where that is not known.
    fn goal_as_it_stands(&self, situation: Situation, name: &ClusterName, graph: &Arc<Graph>) -> Goal {
        let inputs = situation.inputs;
        let entry = Entry::of(inputs.instance.0.get("status"), self.reports.entry(name), name);
        let said = entry.and_then(|entry| entry.text("revision"));
        let facts = inputs.clusters.get(name).and_then(|c| c.facts.clone());
        let orders = situation.plan.orders.as_ref().map(|orders| &orders.goal);
        match (said.and_then(|hash| inputs.graph_of(hash)), orders) {
            (Some(own), Some(Goal::Run { part, suspended, .. }))
                // What the hub shows of its part is not said twice.
                if (facts.is_some() || own.cluster_reads().is_empty()) && !has_hub_part(own) =>
            {
                Goal::GoOn {
                    graph: own.clone(),
                    part: part.clone(),
                    suspended: *suspended,
                    cluster: facts.unwrap_or_default(),
                    rank: inputs.rank(own),
                }
            }
            _ => Goal::Stay { graph: graph.clone() },
        }
    }

    /// What the spokes are to be told.
    pub(super) fn orders(&self, inputs: &Inputs, plan: &Plan) -> Option<Orders> {
        let graph = inputs.graph.filter(|_| plan.managed && !plan.spokes.is_empty())?;
        let (part, only_new) = self.part_of_spokes(Situation { inputs, plan }, graph);
        let goal = goal_of(inputs, graph, part, Arc::default());
        let print = self.task(inputs, Home::Mirror, goal.clone()).fingerprint();
        Some(Orders { goal, print, only_new, overlay: Overlay::of(inputs, graph, &plan.decision) })
    }

    /// What the spokes make of the definition, with what the hub shows of its own part for the present spec; and whether
    /// what they were told before stands, since the hub will say in a moment what it has.
    fn part_of_spokes(&self, situation: Situation, graph: &Graph) -> (Part, bool) {
        let Situation { inputs, plan } = situation;
        if !has_hub_part(graph) {
            return (Part::Whole, false);
        }
        let on_hub = &plan.on_hub;
        let said = self.pairs.report(&on_hub.name).filter(|r| r.hub_uid == inputs.instance.uid());
        let may_speak = on_hub.may_speak(inputs) && !situation.is_let_go(&on_hub.name);
        let fresh =
            |r: &&Arc<Report>| r.generation == inputs.instance.generation() && r.revision == graph.hash;
        let values = said.filter(fresh).map(|r| r.hub_values.clone());
        let values = values.unwrap_or_else(|| Arc::new(HubValues::default()));
        (Part::Rest(values), said.is_none() && may_speak)
    }

    /// The same of an earlier version: whatever the hub shows now.
    fn part_as_it_is(&self, situation: Situation, graph: &Graph) -> Part {
        if !has_hub_part(graph) {
            return Part::Whole;
        }
        let said = self.pairs.report(&situation.plan.on_hub.name);
        let said = said.filter(|said| said.hub_uid == situation.inputs.instance.uid());
        Part::Rest(said.map(|said| said.hub_values.clone()).unwrap_or_default())
    }

    /// Whether what the status says was written by an earlier run of the controller.
    pub(super) fn is_restarted(&self, inputs: &Inputs) -> bool {
        self.last_status_write.is_none() && inputs.instance.0.pointer("/status/state").is_some()
    }

    fn task(&self, inputs: &Inputs, home: Home, goal: Goal) -> Task {
        Task {
            key: self.key.clone(),
            gvk: self.gvk.clone(),
            hub_uid: inputs.instance.uid().to_owned(),
            hub_id: inputs.hub_id.clone(),
            home,
            goal,
        }
    }

    fn send_goal(
        &mut self,
        step: &mut FleetStep,
        inputs: &Inputs,
        cluster: &ClusterName,
        (at, goal): (At, Goal),
    ) {
        let removal = matches!(goal, Goal::Remove { .. });
        let task = self.task(inputs, Home::Mirror, goal);
        let print = task.fingerprint();
        let fingerprint = match at {
            At::Mirror => print,
            At::Instance => hash::json(&json!([print, words_of(inputs.instance)])),
        };
        self.send_one(step, inputs, (cluster, Sent { fingerprint, removal }), || {
            (at.home(inputs), task.goal)
        });
    }

    fn send_one(
        &mut self,
        step: &mut FleetStep,
        inputs: &Inputs,
        (cluster, sent): (&ClusterName, Sent),
        wanted: impl FnOnce() -> (Home, Goal),
    ) {
        let has_actor = inputs.clusters.get(cluster).is_some_and(|c| c.health.has_actor());
        if !has_actor || self.pairs.is(cluster, |p| p.sent == Some(sent)) {
            return;
        }
        let pair = self.pairs.at(cluster);
        pair.gone = false;
        pair.sent = Some(sent);
        let (home, goal) = wanted();
        let task = Arc::new(self.task(inputs, home, goal));
        step.actions.push(FleetAction::Send { cluster: cluster.clone(), task });
    }

    /// Whether a deleted instance may go.
    pub(super) fn finished(&self, situation: Situation) -> bool {
        let local = &situation.on_hub.name;
        // Children on the hub are cleaned there, or let go.
        let local_done = !self.may_hold_on_hub(situation.inputs.instance, local)
            || self.pairs.is(local, |p| p.gone || p.left);
        situation.holds.is_empty() && local_done && !self.pairs.iter().any(|(_, p)| p.left_busy)
    }

    /// Children on the hub that a deleted instance leaves there, since somebody let go.
    pub(super) fn let_local_go(&mut self, step: &mut FleetStep, situation: Situation) {
        let local = &situation.on_hub.name;
        let let_go = situation.is_let_go(local);
        if may_be_local(situation.inputs.instance) && let_go && !self.pairs.is(local, |p| p.left) {
            self.record_left(step, situation.inputs, local);
        }
    }

    /// Whether a change of this cluster's part of an instance changes what others are told.
    pub(super) fn is_heard_by_others(inputs: &Inputs, plan: &Plan, name: &ClusterName) -> bool {
        *name == plan.on_hub.name && inputs.graph.is_some_and(|graph| has_hub_part(graph))
    }
}

impl Orders {
    /// The content that the instance wants now, and its definition.
    pub fn wanted(&self) -> Option<(&Arc<MirrorContent>, &Arc<Graph>)> {
        match &self.goal {
            Goal::Run { mirror, graph, .. } => Some((mirror, graph)),
            Goal::GoOn { .. } | Goal::Stay { .. } | Goal::Remove { .. } => None,
        }
    }

    /// Changes when a cluster of these facts has to be told; `None` while the definition reads what is not known yet.
    fn print_at(&self, graph: &Graph, facts: Option<&Value>) -> Option<u64> {
        if graph.cluster_reads().is_empty() {
            return Some(self.print);
        }
        let facts = facts?;
        let read = |path: &Vec<String>| path.iter().try_fold(facts, |value, key| value.get(key)).cloned();
        let read: Vec<Option<Value>> = graph.cluster_reads().iter().map(read).collect();
        Some(hash::json(&json!([self.print, read])))
    }
}

/// The content as another revision than that which it is for knows it.
fn known_to_gate(other: bool, graph: &Graph, content: &Arc<MirrorContent>) -> Arc<MirrorContent> {
    if other { known_to(graph, content) } else { content.clone() }
}

/// `None` while the definition reads of the cluster what is not known yet.
fn run_goal(inputs: &Inputs, graph: &Arc<Graph>, part: Part, cluster: &ClusterName) -> Option<Goal> {
    let facts = inputs.clusters.get(cluster).and_then(|c| c.facts.clone());
    // What lives on the hub reads nothing of any one cluster.
    let reads = !graph.cluster_reads().is_empty() && !matches!(part, Part::Hub);
    (facts.is_some() || !reads).then(|| goal_of(inputs, graph, part, facts.unwrap_or_default()))
}

fn goal_of(inputs: &Inputs, graph: &Arc<Graph>, part: Part, cluster: Arc<Value>) -> Goal {
    let shown = graph.as_served(inputs.instance);
    Goal::Run {
        graph: graph.clone(),
        part,
        mirror: Arc::new(MirrorContent::of(shown.as_ref().unwrap_or(inputs.instance))),
        suspended: inputs.instance.is_suspended(),
        allow_breaking: inputs.allow_breaking,
        cluster,
        mark: None,
        admitted: None,
        facts: None,
        keeps: false,
        rank: inputs.rank(graph),
    }
}

fn remove_goal(inputs: &Inputs) -> Goal {
    Goal::Remove { group_kinds: inputs.graph.map(|g| g.group_kinds()).unwrap_or_default() }
}
