//! An instance whose changes travel by a rollout: which version each of its clusters is told to have, and what of that has
//! to be on record before. What is decided for all of them stands in [`crate::reconcile::rollout`].

pub mod ahead;
mod assigned;
mod content;
pub mod kind;
#[cfg(test)]
mod kind_tests;
mod reading;
mod ruling;
#[cfg(test)]
mod tests;

pub use content::{Content, OnRecord, on_record_at, read_version, version_name, version_owner};

use super::aggregate::{ClusterHealth, LineRollout};
use super::gate::Gates;
use super::moved::Assigned;
use super::overriding::{Overlay, Place};
use super::situation::Situation;
use super::{Fleet, FleetAction, FleetStep, Inputs};
use crate::api::Object;
use crate::api::names::ClusterName;
use crate::graph::Graph;
use crate::reconcile::policy::Effective;
use crate::reconcile::rollout::approving::Approves;
use crate::reconcile::rollout::pin::Unfit;
use crate::reconcile::rollout::records::{Kept, Write};
use crate::reconcile::rollout::stages;
use crate::reconcile::rollout::unit::{Admission, Frame, News, Progress, WrittenState};
use crate::reconcile::rollout::versions::{self, Records, Target};
use crate::reconcile::rollout::{Facts, Mark, Unit, marks};
use crate::reconcile::spoke::{InstanceState, Stands, has_hub_part};
use crate::reconcile::{Moment, Now};
use assigned::only_looked;
use ruling::Ruling;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// For so long after its start a hub moves nobody: twice the longest call, so that all that an earlier life sent has landed.
pub const QUIET: Duration = Duration::from_secs(30);

/// What a step looks at of rollouts.
#[derive(Clone, Copy, Default)]
pub struct Rolled<'a> {
    /// `None`: nothing is on record.
    pub on_record: Option<&'a Arc<OnRecord>>,
    /// Graphs of earlier revisions of the definition, by hash.
    pub former: Option<&'a Arc<BTreeMap<String, Arc<Graph>>>>,
    /// Why graphs of earlier revisions cannot be at hand, by hash.
    pub unfit: Option<&'a Arc<Unfit>>,
    /// The newest graph that serves, where the instance may run an earlier one only.
    pub newest: Option<&'a Arc<Graph>>,
    /// The highest revision that the instance may run.
    pub ceiling: Option<u64>,
    /// Hashes of the graphs of the definition's revisions, by number, as far as they are known.
    pub revisions: Option<&'a BTreeMap<u64, String>>,
    /// Nobody is moved before: what an earlier life of the hub sent may land until then.
    pub quiet_until: Moment,
    /// What each cluster may run, where the revision of the whole kind moves as one.
    pub gates: Option<&'a Arc<Gates>>,
}

/// What is known of an instance that a rollout moves.
#[derive(Clone, Debug)]
pub(super) struct Rolling {
    ruling: Ruling,
    on_record: Arc<OnRecord>,
    wanted: Arc<Content>,
    target: Target,
    unit: Unit,
    /// Of the versions on record that have overrides, by number, with the content that they were read for.
    overlays: BTreeMap<u64, (Arc<Content>, Arc<Overlay>)>,
    /// Those say whom the overrides reach.
    placements: Vec<Arc<Effective>>,
    /// Hashes of the graphs that are at hand.
    graphs: BTreeSet<String>,
    pub progress: Progress,
    /// No cluster goes by an earlier version. It is known where something of the instance lives on the hub.
    pub is_everywhere: bool,
}

/// What all clusters of a step go by.
struct Known<'a> {
    versions: &'a Records<Content>,
    wanted: &'a Content,
    target: Target,
    graphs: &'a BTreeSet<String>,
    /// In seconds.
    now: u64,
    /// What a report beside the status said of the cluster that is looked at.
    reported: Option<&'a Value>,
}

impl Known<'_> {
    /// Whether what the cluster is told to have can be told: else it stays as it is.
    fn can_run(&self, assigned: Assigned) -> bool {
        let has_graph = |content: &Content| content.graph.is_empty() || self.graphs.contains(&*content.graph);
        match assigned.version() {
            None => false,
            Some(number) => self.versions.get(&number).is_some_and(|version| has_graph(&version.content)),
        }
    }
}

impl Rolling {
    fn known(&self, now: u64) -> Known<'_> {
        Known {
            versions: &self.on_record.versions,
            wanted: &self.wanted,
            target: self.target,
            graphs: &self.graphs,
            now,
            reported: None,
        }
    }

    /// Whether it says what this cluster is to have.
    pub fn moves(&self, name: &ClusterName) -> bool {
        self.unit.has(name)
    }

    /// The content that all are to have.
    pub fn wanted(&self) -> &Content {
        &self.wanted
    }

    /// The overrides of the version that a cluster is to have.
    pub fn overlay(&self, assigned: Assigned) -> Option<&Arc<Overlay>> {
        self.overlays.get(&assigned.version()?).map(|(_, overlay)| overlay)
    }

    /// What a cluster is to be told: the content of its version, and its mark. `None`: to stay as it is.
    pub fn content(&self, assigned: Assigned) -> Option<(&Content, Option<Mark>)> {
        if !self.known(0).can_run(assigned) {
            return None;
        }
        let number = assigned.version()?;
        let content = &*self.on_record.versions.get(&number)?.content;
        let mark = match assigned {
            Assigned::Marked(mark) => Some(mark),
            _ => None,
        };
        Some((content, mark))
    }

    fn is_ready(&self, situation: Situation) -> bool {
        let inputs = situation.inputs;
        let quiet = inputs.now.at < inputs.rolled.quiet_until;
        // What is suspended shows nothing of what a version does to it.
        let may = situation.decision.invalid.is_none() && !inputs.instance.is_suspended();
        matches!(self.target, Target::Recorded(_)) && may && !quiet
    }
}

/// The clusters that a rollout moves: not those where all stays as it is. The hub is one where the instance runs there as a whole: not where something lives
/// there once for all, which comes before all stages, nor where the revision of the kind moves by itself.
fn members(situation: Situation, graph: &Graph) -> BTreeSet<ClusterName> {
    let Situation { inputs, plan } = situation;
    let gated = inputs.rolled.gates.is_none() && !has_hub_part(graph);
    let local = plan.decision.local.iter().filter(|_| gated);
    plan.spokes.iter().chain(local).filter(|name| !plan.stays(name)).cloned().collect()
}

impl Fleet {
    /// Everything may be new.
    pub(super) fn roll_anew(&mut self, step: &mut FleetStep, situation: Situation) {
        let Situation { inputs, plan } = situation;
        let mut before = self.rolling.take();
        let same = |a: &[Arc<Effective>], b: &[Arc<Effective>]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let known = before.as_mut().filter(|before| same(&before.placements, inputs.placements));
        let mut overlays = known.map(|before| std::mem::take(&mut before.overlays)).unwrap_or_default();
        let overlay = plan.orders.as_ref().and_then(|orders| orders.overlay.as_ref());
        let wanted = plan.orders.as_ref().filter(|_| !plan.deleting).and_then(|orders| orders.wanted());
        let ruling = wanted.and_then(|_| Ruling::of(inputs.placements, before.map(|before| before.ruling)));
        let (Some((mirror, graph)), Some(ruling)) = (wanted, ruling) else {
            self.pairs.forget_moved(|_| true);
            self.forget_records(step, situation);
            return;
        };
        let members = members(situation, graph);
        self.pairs.forget_moved(|name| !members.contains(name));
        let on_record = inputs.rolled.on_record.cloned().unwrap_or_default();
        let rules = overlay.map(|overlay| overlay.recorded()).unwrap_or_default();
        // Where the revision of the kind moves by itself, it is no part of the version.
        let own = inputs.rolled.gates.is_none().then_some(graph);
        let wanted = Arc::new(Content::of(mirror, own.map(|graph| &**graph), rules));
        for (number, version) in &on_record.versions {
            let known =
                overlays.get(number).is_some_and(|(content, _)| Arc::ptr_eq(content, &version.content));
            // Whom a Placement with a limit chooses may be others now.
            let known = known && plan.decision.limited.is_empty();
            let content = &version.content;
            let read = || {
                let graph = inputs.graph_for(&content.graph)?;
                Overlay::of_version((inputs, &plan.decision), graph, &content.mirror, &content.overrides)
            };
            if let Some(overlay) = if known { None } else { read() } {
                overlays.insert(*number, (content.clone(), overlay));
            }
        }
        overlays.retain(|number, _| on_record.versions.contains_key(number));
        let now = marks::seconds(inputs.now);
        let said = self.pairs.iter().filter_map(|(_, pair)| match pair.report.as_ref()?.stands {
            Stands::Mirror(mark) => mark,
            _ => None,
        });
        let assigned = self.pairs.iter().filter_map(|(_, pair)| pair.moved.as_ref()?.assigned.version());
        let marks = said.map(|mark| mark.version).chain(assigned);
        let approved = on_record.approvals.iter().map(|(number, _)| *number);
        let target = versions::target(&on_record.versions, &*wanted, marks, approved);
        let is_wanted = |content: &Content| {
            *content == *wanted
                || (content.differs_in_who_moves_the_revision(&wanted)
                    && self.all_run(inputs, &members, &wanted))
        };
        let frame = Frame::of(&ruling.rules, target, is_wanted, (&on_record.versions, &on_record.approvals));
        let former = inputs.rolled.former.into_iter().flat_map(|former| former.keys().cloned());
        let graphs = former.chain([graph.hash.clone()]).collect();
        let places = ruling.places(|name| inputs.clusters.get(name), &members);
        let unit = Unit::new(frame);
        let progress = unit.progress();
        let placements = inputs.placements.to_vec();
        let mut rolling = Rolling {
            ruling,
            on_record,
            wanted,
            target,
            unit,
            overlays,
            placements,
            graphs,
            progress,
            is_everywhere: false,
        };
        for (name, place) in places {
            self.look_at_pair(&mut rolling, situation, (&name, place), now);
        }
        rolling.unit.pack();
        self.rolling = Some(Box::new(rolling));
        self.roll_on(step, situation);
    }

    /// Whether all clusters that there is contact to say that they run the revision that a content names. One that names
    /// none suits all.
    fn all_run(&self, inputs: &Inputs, members: &BTreeSet<ClusterName>, content: &Content) -> bool {
        let is_ready = |name: &&ClusterName| {
            inputs.clusters.get(name).is_some_and(|cluster| cluster.health == ClusterHealth::Ready)
        };
        let runs =
            |name: &ClusterName| self.pairs.report(name).is_some_and(|r| *r.revision == *content.graph);
        content.graph.is_empty() || members.iter().filter(is_ready).all(runs)
    }

    fn look_again(&mut self, rolling: &mut Rolling, situation: Situation, name: &ClusterName, now: u64) {
        let Some(place) = rolling.unit.pair(name).map(|pair| pair.place) else { return };
        self.look_at_pair(rolling, situation, (name, place), now);
    }

    fn look_at_pair(
        &mut self,
        rolling: &mut Rolling,
        situation: Situation,
        (name, place): (&ClusterName, Arc<stages::Place>),
        now: u64,
    ) {
        let pair = self.pairs.at(name);
        let known = Known { reported: self.reports.entry(name), ..rolling.known(now) };
        known.assign(situation, name, pair);
        // What the hub runs is as it is written there, and reads what is so now.
        let on_hub = situation.on_hub.name == *name;
        let stale = !on_hub && rolling.keep_reading(situation.inputs, name, pair);
        let mut seen = known.seen(situation, name, place, pair);
        seen.read.stale = stale;
        let orders = situation.orders.as_ref().filter(|_| !seen.same && !on_hub);
        if let Some((overlay, (mirror, graph))) = orders.and_then(|o| o.overlay.as_ref().zip(o.wanted())) {
            seen.refused = overlay.refusal(&Place::now(situation.inputs, name), graph, mirror);
        }
        if rolling.unit.pair(name).as_ref() != Some(&seen) {
            rolling.unit.put(name, seen, now);
        }
    }

    /// What a cluster is told of a rollout follows from this.
    pub(super) fn goes_by(&self, name: &ClusterName) -> (Assigned, Option<Arc<Facts>>) {
        let moved = self.pairs.get(name).and_then(|pair| pair.moved.as_deref());
        moved.map(|moved| (moved.assigned, moved.facts.clone())).unwrap_or_default()
    }

    /// Something of this cluster is new.
    pub(super) fn roll_news(&mut self, situation: Situation, name: &ClusterName) {
        let Some(mut rolling) = self.rolling.take() else { return };
        self.look_again(&mut rolling, situation, name, marks::seconds(situation.inputs.now));
        self.rolling = Some(rolling);
    }

    /// Whose turn it is now; what is on record, and what is to be. Clusters that are to be told something else.
    pub(super) fn roll_on(&mut self, step: &mut FleetStep, situation: Situation) -> Vec<ClusterName> {
        let Some(mut rolling) = self.rolling.take() else {
            self.forget_records(step, situation);
            return Vec::new();
        };
        let inputs = situation.inputs;
        let now = marks::seconds(inputs.now);
        rolling.unit.pass(now);
        let ready = rolling.is_ready(situation);
        // What lives on the hub comes before all stages, and nothing waits for it on the way back.
        let hub_first = self.waits_for_hub(situation).filter(|_| !rolling.unit.frame().goes_back);
        let turns = match &hub_first {
            Some(_) => rolling.unit.joins(ready, now),
            None => rolling.unit.turns(ready, now),
        };
        for (name, mark) in &turns {
            let moved = self.pairs.at(name).moved.get_or_insert_default();
            (moved.assigned, moved.well_since, moved.facts) = (Assigned::Marked(*mark), None, None);
            self.look_again(&mut rolling, situation, name, now);
        }
        let read = rolling.unit.read_anew(ready);
        for Admission { cluster, unjudged } in &read {
            let facts = rolling.reading(inputs, cluster, self.assigned(cluster));
            let moved = self.pairs.at(cluster).moved.get_or_insert_default();
            moved.facts = facts.map(|facts| Arc::new(facts.at(now, *unjudged)));
            moved.well_since = None;
            self.look_again(&mut rolling, situation, cluster, now);
        }
        self.keep_records(step, situation, &rolling, ready);
        let mut progress = rolling.unit.progress();
        if let Some(why) = &self.version_trouble {
            progress.message += &format!("; the ControllerRevision of a version cannot be written: {why}");
        }
        if let Some(why) = hub_first.filter(|_| progress.held() > 0) {
            progress.message += &format!("; what lives on the hub comes first{why}");
        }
        rolling.is_everywhere = inputs.graph.is_some_and(|g| has_hub_part(g)) && rolling.unit.is_everywhere();
        if progress != rolling.progress {
            self.is_told = false;
            rolling.progress = progress;
        }
        // Before it is known what stands there, and what is wanted is on record, nobody has to act.
        if matches!(rolling.target, Target::Recorded(_)) && !rolling.unit.is_connecting() {
            self.tell_rollout(step, inputs.instance, &rolling.progress);
        }
        self.rolling = Some(rolling);
        let read = read.into_iter().map(|admission| admission.cluster);
        turns.into_iter().map(|(name, _)| name).chain(read).collect()
    }

    /// Whether something of the instance lives on the hub, and is not there as it is to be; and why, where that is known.
    fn waits_for_hub(&self, situation: Situation) -> Option<String> {
        let Situation { inputs, plan } = situation;
        let may = !plan.on_hub.left && !inputs.instance.is_suspended();
        let graph = inputs.graph.filter(|graph| may && has_hub_part(graph))?;
        let said = self.pairs.report(&plan.on_hub.name).filter(|r| r.hub_uid == inputs.instance.uid());
        let fresh = said.filter(|r| r.generation == inputs.instance.generation() && r.revision == graph.hash);
        match fresh {
            Some(said) if said.state == InstanceState::Active => None,
            Some(said) if !said.message.is_empty() => Some(format!(": {}", said.message)),
            _ => Some(String::new()),
        }
    }

    /// What somebody has to look after is told once for each version.
    fn tell_rollout(&mut self, step: &mut FleetStep, instance: &Object, progress: &Progress) {
        let written = instance.0.pointer("/status/fleet/rollout").and_then(|rollout| {
            let text = |field: &str| rollout.get(field).and_then(Value::as_str);
            let version = rollout.get("version")?.as_u64()?;
            Some(WrittenState { version, state: text("state")?, stage: text("stage") })
        });
        if let Some(News { warning, reason, message }) = self.told.news(progress, written, false) {
            step.actions.push(FleetAction::Tell { warning, reason, message });
        }
    }

    /// Writes the next of what has to be on record, or need not be any more.
    fn keep_records(&mut self, step: &mut FleetStep, situation: Situation, rolling: &Rolling, ready: bool) {
        let inputs = situation.inputs;
        if self.version_busy || !self.version_retry.is_due(inputs.now) {
            return;
        }
        let uid = inputs.instance.uid();
        let name = |number| version_name(&self.key, uid, number);
        let records = &rolling.on_record.versions;
        let kept = Kept { records, target: rolling.target, ready, first_is_stable: false };
        let Some(write) = kept.next(&rolling.unit, || self.run(rolling)) else { return };
        step.actions.push(match write {
            Write::Record(number, stable) => {
                let body = content::record((&self.key, &self.gvk, uid), number, &rolling.wanted, stable);
                FleetAction::RecordVersion { name: name(number), body }
            }
            Write::Stable(number) => FleetAction::MarkStable { name: name(number) },
            Write::Drop(number) => FleetAction::DropVersion { name: name(number) },
        });
        self.version_busy = true;
    }

    /// What is on record belongs to a rollout. Where none is in effect any more, all clusters go by what is written now, and a
    /// rollout that comes later must not take them for what they had before.
    fn forget_records(&mut self, step: &mut FleetStep, Situation { inputs, plan }: Situation) {
        let first = inputs.rolled.on_record.and_then(|known| known.versions.keys().next().copied());
        let Some(first) = first else { return };
        let is_known =
            plan.decision.invalid.is_none() && inputs.placements.iter().all(|p| p.invalid.is_none());
        let runs = plan.orders.as_ref().is_some_and(|orders| orders.wanted().is_some()) && !plan.deleting;
        let ready = inputs.now.at >= inputs.rolled.quiet_until && self.version_retry.is_due(inputs.now);
        if is_known && runs && ready && !self.version_busy {
            let name = version_name(&self.key, inputs.instance.uid(), first);
            step.actions.push(FleetAction::DropVersion { name });
            self.version_busy = true;
        }
    }

    fn assigned(&self, name: &ClusterName) -> Assigned {
        self.pairs.get(name).and_then(|pair| Some(pair.moved.as_ref()?.assigned)).unwrap_or_default()
    }

    /// Versions that a cluster may be at.
    fn run(&self, rolling: &Rolling) -> Option<BTreeSet<u64>> {
        let mut run = BTreeSet::new();
        // Both are in the order of names.
        let mut pairs = self.pairs.iter().peekable();
        for (name, _) in rolling.unit.pairs() {
            while pairs.next_if(|(known, _)| *known < name).is_some() {}
            // It may be at any.
            let (_, pair) = pairs.next_if(|(known, _)| *known == name)?;
            match pair.moved.as_ref()?.assigned {
                Assigned::Unknown => return None,
                known => run.extend(known.version()),
            }
            // What stands there may still be another.
            if let Some(Stands::Mirror(Some(mark))) = pair.report.as_ref().map(|report| report.stands) {
                run.insert(mark.version);
            }
        }
        Some(run)
    }

    /// Why a version could not be put on record, marked or taken out; [`Self::version_written`] follows.
    pub fn version_refused(&mut self, why: String) {
        self.version_trouble = Some(why);
    }

    /// How a version was put on record, marked or taken out.
    pub fn version_written(&mut self, ok: bool, now: &Now) {
        self.version_busy = false;
        self.version_trouble = self.version_trouble.take().filter(|_| !ok);
        self.version_retry.outcome(ok, now);
        self.news.everything = true;
    }

    /// When time alone may move something.
    pub(super) fn rolls_at(&self, inputs: &Inputs) -> Option<Moment> {
        if self.rolling.is_none() && inputs.rolled.on_record.is_none_or(|known| known.versions.is_empty()) {
            return None;
        }
        let next = self.rolling.as_ref().and_then(|rolling| rolling.unit.next());
        let due = next.map(|at| marks::moment(inputs.now, at));
        let quiet = Some(inputs.rolled.quiet_until);
        let retry = self.version_retry.at();
        due.into_iter().chain(quiet).chain(retry).filter(|at| *at > inputs.now.at).min()
    }

    /// What the line of a cluster shows of the rollout.
    pub(super) fn line_rollout(&self, name: &ClusterName, uid: &str) -> Option<LineRollout> {
        let rolling = self.rolling.as_ref()?;
        let stage = rolling.unit.stage_name(name)?.clone();
        let pair = self.pairs.get(name)?;
        let assigned = pair.moved.as_ref()?.assigned;
        let report = pair.report.as_ref().filter(|report| report.hub_uid == uid);
        let answers = |report| rolling.known(0).answers(pair, report);
        let told_to_look = report.is_none_or(|report| only_looked(report) && !report.is_unseen());
        Some(LineRollout {
            stage,
            version: assigned.version(),
            waits: assigned == Assigned::Nothing,
            // Whoever was asked what stands there says in a moment how it does.
            unheard: told_to_look && (assigned == Assigned::Unknown || rolling.known(0).can_run(assigned)),
            answered: report.is_some_and(|report| answers(report)),
        })
    }

    /// Why the revision that a cluster is to run, or to go on by, cannot be made.
    pub(super) fn uncompiled(&self, inputs: &Inputs, name: &ClusterName) -> Option<String> {
        let unfit = inputs.rolled.unfit.filter(|unfit| !unfit.is_empty())?;
        let why = |hash: &str| unfit.get(hash).filter(|_| inputs.graph_of(hash).is_none());
        let of_version = || {
            let number = self.pairs.get(name)?.moved.as_ref()?.assigned.version()?;
            let content = &self.rolling.as_ref()?.on_record.versions.get(&number)?.content;
            Some(format!("the revision of version {number} {}", why(&content.graph)?))
        };
        let of_kind = || {
            let gate = inputs.rolled.gates?.gate(name)?;
            Some(format!("revision {} {}", gate.revision, why(&gate.graph)?))
        };
        of_version().or_else(of_kind)
    }

    /// Whether a rollout is in effect, and nobody knows of some cluster what stands there.
    pub fn is_finding_out(&self) -> bool {
        self.rolling.as_ref().is_some_and(|rolling| rolling.unit.is_connecting())
    }

    /// Why an approval counts for nothing in its rollout. `None` of the outer: none is in effect.
    pub fn judges(&self, approval: Approves) -> Option<Option<String>> {
        let rolling = self.rolling.as_ref()?;
        Some(approval.refused_by(&rolling.ruling.rules, rolling.target.number()))
    }

    /// How far the rollout is, where one is in effect.
    pub fn progress(&self) -> Option<&Progress> {
        self.rolling.as_ref().map(|rolling| &rolling.progress)
    }
}
