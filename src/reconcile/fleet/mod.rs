//! One instance on the hub: where it goes, what the spokes are told, what its status says.
//!
//! The record of where content may exist (`hub.kro.run/holds`) is written before the first message to a cluster and
//! shrinks only after that cluster confirmed that nothing is left, or somebody let it go.

#[cfg(test)]
pub mod afresh;
pub mod aggregate;
mod entry;
pub mod gate;
pub mod measured;
mod moved;
mod news;
pub mod on_hub;
pub mod over_all;
pub mod overriding;
mod pairs;
pub mod placement;
mod recording;
mod registered;
pub mod reports;
pub mod rollout;
mod sending;
mod situation;
mod telling;
mod trouble;

pub use entry::Was;
pub use registered::{Registered, Turn};

use super::spoke::{Goal, Home, InstanceState, Report, StatusTrouble, Task};
use super::world::{Rank, Stored};
use super::{Now, Retry, unix};
use crate::api::keys::{hub, kro};
use crate::api::names::{ClusterName, GroupKind, Gvk, HubId, InstanceKey};
use crate::api::object::{Document, Object};
use crate::graph::Graph;
use crate::reconcile::Moment;
use crate::reconcile::bounds::Bounds;
use crate::reconcile::policy::{Effective, PolicyName};
use crate::reconcile::rollout::unit::Told;
use aggregate::runs::Runs;
use aggregate::{ClusterHealth, Lines, Written};
use news::{News, Seen};
use on_hub::{OnHub, has_part_on_hub};
use over_all::OverAll;
use overriding::{Layer, Shared};
use pairs::Pairs;
use placement::{ClusterView, DefaultPlacement, Reach, Said, Short, Watches, Words};
use reports::Reports;
use rollout::{Rolled, Rolling};
use serde_json::Value;
use situation::{Plan, Situation};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use telling::Haste;
use trouble::Trouble;

/// A registered cluster, as the hub side knows it now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterState {
    pub view: ClusterView,
    pub health: ClusterHealth,
    /// Being deregistered, and workloads are to be deleted first.
    pub delete_on_leave: bool,
    /// Matters while it is being deregistered and workloads are to stay.
    pub departure: Departure,
    /// Nobody registered it: it is the hub, for what lives there. Nothing is placed on it.
    pub implied: bool,
    /// What `kro.cluster` is there: name, id, labels, properties, version. `None` while not all of it is known.
    pub facts: Option<Arc<Value>>,
    /// Where resources may be written there.
    pub bounds: Arc<Bounds>,
}

impl ClusterState {
    /// Whether all is as it was that says where instances may go, and what becomes of what is there.
    fn stands_as(&self, other: &Self) -> bool {
        let Self { view, health: _, delete_on_leave, departure, implied, facts: _, bounds: _ } = self;
        *view == other.view
            && *delete_on_leave == other.delete_on_leave
            && *departure == other.departure
            && *implied == other.implied
    }

    /// Whether there is contact, or may be in a moment.
    fn may_be_reached(&self) -> bool {
        matches!(self.health, ClusterHealth::Ready | ClusterHealth::Connecting)
    }
}

/// How far a Cluster is that is being deregistered, where what runs there is to stay. Without contact, all is let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Departure {
    /// Deletions may be asked for together with it: nothing is let go yet, and nothing is told but to delete those.
    Settling,
    /// What is being deleted goes on being deleted there; all else is let go.
    Finishing,
    /// All is let go.
    #[default]
    Over,
}

/// Everything a step looks at besides the machine itself.
pub struct Inputs<'a> {
    pub instance: &'a Arc<Object>,
    /// The same as it is kept.
    pub stored: &'a Arc<Stored>,
    /// The newest graph that compiled, or that of an earlier revision where the instance may run no newer one; `None` while
    /// there never was one.
    pub graph: Option<&'a Arc<Graph>>,
    pub allow_breaking: bool,
    pub clusters: &'a Registered,
    pub hub_id: &'a HubId,
    pub default_placement: DefaultPlacement,
    /// The Placements and ClusterPlacements that concern the instance, in the order of their names.
    pub placements: &'a [Arc<Effective>],
    /// The overrides of these, as they were read for `graph`, in the order in which they apply.
    pub overrides: &'a [Arc<Layer>],
    pub rolled: Rolled<'a>,
    pub now: &'a Now,
}

impl<'a> Inputs<'a> {
    /// The graph of a hash, where it is at hand.
    fn graph_of(&self, hash: &str) -> Option<&'a Arc<Graph>> {
        let former = || self.rolled.former.and_then(|former| former.get(hash));
        let known = [self.graph, self.rolled.newest].into_iter().flatten();
        known.into_iter().find(|graph| graph.hash == hash).or_else(former)
    }

    /// The same of what is on record of a version, which names none where the revision of the kind moves by itself.
    fn graph_for(&self, hash: &str) -> Option<&'a Arc<Graph>> {
        if hash.is_empty() { self.graph } else { self.graph_of(hash) }
    }

    /// Where the revision of a graph stands among those of the definition.
    fn rank(&self, graph: &Graph) -> Rank {
        let revisions = self.rolled.revisions.into_iter().flatten();
        let own = revisions.filter(|(_, hash)| **hash == graph.hash).map(|(number, _)| *number);
        let newest = self.rolled.newest.or(self.graph);
        let behind = newest.is_some_and(|newest| newest.hash != graph.hash);
        Rank { number: own.max().unwrap_or_default(), behind }
    }
}

#[derive(Clone, Debug)]
pub enum FleetAction {
    /// Server-side apply of finalizer, labels, holds and decision, with kro's labeller.
    PatchMeta { body: Value },
    /// Tell a cluster to do nothing any more for this instance, and to leave everything as it is.
    Forget { cluster: ClusterName },
    /// Tell a cluster what to do with this instance.
    Send { cluster: ClusterName, task: Arc<Task> },
    /// Record durably that content stays on a cluster; answered by [`Fleet::left_recorded`].
    RecordLeft { cluster: ClusterName, left: Left },
    /// JSON merge patch of `.status`.
    WriteStatus { patch: Value },
    /// Take `kro.run/finalizer` off.
    RemoveFinalizer,
    /// Evaluate fields of the status, which may take long; answered by [`Fleet::evaluated`].
    Evaluate(over_all::Question),
    /// Write or delete an InstanceReport; answered by [`Fleet::report_written`].
    WriteReport(reports::Write),
    /// Put a version of the instance on record; answered by [`Fleet::version_written`], as the next two are.
    RecordVersion { name: String, body: Value },
    /// Every cluster within reach completed the version of this name.
    MarkStable { name: String },
    /// Nobody needs that version any more.
    DropVersion { name: String },
    /// An Event on the instance, for what no condition says.
    Tell { warning: bool, reason: &'static str, message: String },
}

/// What stays on a cluster that was let go: enough to clean it later without the instance.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    pub hub_uid: String,
    pub group: String,
    pub version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub group_kinds: BTreeSet<String>,
    pub since: String,
    /// A Placement said that it stays when it lets go: it is listed, and nobody cleans it up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stays: bool,
    /// Its cluster was deregistered as it was: it is cleaned once the instance is gone, and not before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stays_while_it_lives: bool,
}

impl Left {
    pub fn key(&self) -> InstanceKey {
        InstanceKey::new(GroupKind::new(&self.group, &self.kind), &self.namespace, &self.name)
    }

    /// What becomes of it, for people.
    pub fn becomes(&self) -> &'static str {
        match (self.stays, self.stays_while_it_lives) {
            (true, _) => "it stays (onUnmatch is Orphan)",
            (false, true) => {
                "the cluster is deregistered as it is; once it is registered again, what runs there is taken up where the instance \
                 goes there, and cleaned where the instance is gone"
            }
            (false, false) => "it is cleaned once there is contact again",
        }
    }

    /// The task that cleans it up.
    pub fn removal(&self, hub_id: &HubId) -> Task {
        Task {
            key: self.key(),
            gvk: Gvk::new(&self.group, &self.version, &self.kind),
            hub_uid: self.hub_uid.clone(),
            hub_id: hub_id.clone(),
            home: Home::Mirror,
            goal: Goal::Remove {
                group_kinds: self.group_kinds.iter().map(|g| GroupKind::parse(g)).collect(),
            },
        }
    }
}

#[derive(Debug, Default)]
pub struct FleetStep {
    pub actions: Vec<FleetAction>,
    pub wake_at: Option<Moment>,
}

/// The machine of one hub instance.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Fleet {
    key: InstanceKey,
    gvk: Gvk,
    pairs: Pairs,
    /// What the status shows of the clusters.
    lines: Lines,
    /// What the last step went by.
    plan: Option<Box<Plan>>,
    /// How many plans there were.
    plans: u64,
    seen: Option<Seen>,
    /// What happened since then.
    news: News,
    /// The status that stands on the instance says all there is to say.
    is_told: bool,
    /// What is on the hub lives there, on record; nothing else of the instance does.
    only_hub_part: bool,
    /// Clusters that were lost, and since when no other one was. A restart begins the pause anew: what is lost stands in
    /// the record.
    lost: (BTreeSet<ClusterName>, Moment),
    /// Clusters that the last decision held: the record that says so may have landed unheard.
    held: BTreeSet<ClusterName>,
    /// The version of the instance that was looked at last.
    version: u64,
    /// Whether it had a record then.
    had_record: bool,
    meta_busy: bool,
    /// Holds that every record names which may have landed since it was last certain what stands there.
    recording: Option<BTreeSet<ClusterName>>,
    over_all: OverAll,
    /// Contents with overrides that clusters share.
    shared: Shared,
    /// What is said of its clusters beside the status, where they are many.
    reports: Reports,
    status_busy: bool,
    finalizer_busy: bool,
    /// Back-off of the record (finalizer, holds, leftovers), and of the status: one must not wait for the other.
    record_retry: Retry,
    status_retry: Retry,
    last_status_write: Option<Moment>,
    /// How long the hub took for it.
    status_took: Duration,
    /// How often in a row the state was told that was told last.
    in_a_row: u32,
    /// The author's fields that the status write under way offers; `None` where it leaves them as they are.
    status_offered: Option<u64>,
    /// What the API server said to those fields.
    status_refused: Option<(u64, String)>,
    /// Since when a state that may pass in a moment is to be written.
    passing_since: Option<(Moment, Haste)>,
    /// Why our finalizer and labels could not be written.
    unlabelled: Option<String>,
    /// Why our finalizer could not be taken off.
    stuck: Option<String>,
    last_state: Option<InstanceState>,
    /// What is known where a rollout moves the instance.
    rolling: Option<Box<Rolling>>,
    /// The hub was told to keep what is not wanted any more of what lives there.
    keeps: bool,
    version_busy: bool,
    version_retry: Retry,
    /// Why the last of them could not be written.
    version_trouble: Option<String>,
    trouble: Trouble,
    /// What was told of its rollout by Events.
    told: Told,
}

impl Fleet {
    pub fn new(key: InstanceKey, gvk: Gvk) -> Self {
        Self {
            key,
            gvk,
            pairs: Pairs::default(),
            lines: Lines::default(),
            plan: None,
            plans: 0,
            seen: None,
            news: News::default(),
            is_told: false,
            only_hub_part: false,
            lost: (BTreeSet::new(), Moment::START),
            held: BTreeSet::new(),
            version: 0,
            had_record: false,
            meta_busy: false,
            recording: None,
            over_all: OverAll::default(),
            shared: Shared::new(),
            reports: Reports::default(),
            status_busy: false,
            finalizer_busy: false,
            record_retry: Retry::default(),
            status_retry: Retry::default(),
            last_status_write: None,
            status_took: Duration::ZERO,
            in_a_row: 0,
            status_offered: None,
            status_refused: None,
            passing_since: None,
            unlabelled: None,
            stuck: None,
            last_state: None,
            rolling: None,
            keeps: false,
            version_busy: false,
            version_retry: Retry::default(),
            version_trouble: None,
            trouble: Trouble::default(),
            told: Told::default(),
        }
    }

    pub fn report(&mut self, cluster: &ClusterName, report: Report) {
        if self.pairs.said(cluster, report) {
            self.news.said(cluster);
        }
    }

    /// The cluster confirmed that nothing of the instance with this uid is left there.
    pub fn gone(&mut self, cluster: &ClusterName) {
        let asked = |p: &&mut pairs::Pair| p.sent.is_some_and(|s| s.removal);
        if let Some(pair) = self.pairs.get_mut(cluster).filter(asked) {
            pair.gone = true;
            pair.found = false;
            (pair.report, pair.facts) = (None, None);
            self.news.everything = true;
        }
    }

    /// Whether a Cluster that stands for the hub has nothing more to clean: it confirmed that nothing is left there, or
    /// what is left lives there whoever stands for the hub.
    pub fn is_clean_on_hub(&self, cluster: &ClusterName) -> bool {
        self.only_hub_part || self.pairs.is(cluster, |p| p.gone)
    }

    /// A mirror of this instance stands on a cluster that no hold names.
    pub fn found(&mut self, cluster: &ClusterName) {
        self.pairs.at(cluster).found = true;
        self.news.everything = true;
    }

    /// The cluster's actor is new: it knows nothing, and what is on record as left there is read anew.
    pub fn actor_restarted(&mut self, cluster: &ClusterName) {
        let Some(pair) = self.pairs.get_mut(cluster) else { return };
        let told = pair.left || pair.found || pair.gone;
        (pair.left, pair.found, pair.sent, pair.gone) = (false, false, None, false);
        self.news.everything |= told;
        self.news.restarted(cluster);
    }

    pub fn left_recorded(&mut self, cluster: &ClusterName, ok: bool, now: &Now) {
        let pair = self.pairs.at(cluster);
        pair.left_busy = false;
        if ok {
            pair.left = true;
            pair.found = false;
        }
        self.record_retry.outcome(ok, now);
        self.news.everything = true;
    }

    pub fn meta_written(&mut self, result: Result<(), String>, now: &Now) {
        self.meta_busy = false;
        self.record_retry.outcome(result.is_ok(), now);
        if result.is_ok() {
            self.recording = None;
        }
        self.unlabelled = result.err().map(|why| format!("finalizer/labeling failed: {why}"));
        self.news.everything = true;
    }
    pub fn status_written(&mut self, result: Result<(), (StatusTrouble, String)>, now: &Now) {
        self.status_busy = false;
        self.status_took = self.last_status_write.map_or(Duration::ZERO, |began| now.at.since(began));
        self.status_retry.outcome(result.is_ok(), now);
        if let (Err((StatusTrouble::Refused, why)), Some(fields)) = (result, self.status_offered) {
            self.status_refused = Some((fields, why));
        }
        self.is_told = false;
    }
    /// What stands in a report of the instance on the hub, or that there is none; whether that is news.
    pub fn report_stands(&mut self, index: usize, report: Option<&Value>) -> bool {
        self.reports.stands(&self.key, index, report)
    }
    /// How the write of a report ended, and what stands there now.
    pub fn report_written(&mut self, index: usize, result: Result<Option<&Value>, ()>, now: &Now) {
        self.reports.written(&self.key, index, result, now);
    }
    pub fn evaluated(&mut self, answer: over_all::Answer) {
        self.over_all.answered(answer);
        self.is_told = false;
    }
    pub fn finalizer_removed(&mut self, result: Result<(), String>, now: &Now) {
        self.finalizer_busy = false;
        self.record_retry.outcome(result.is_ok(), now);
        self.stuck = result.err().map(|why| format!("failed removing finalizer: {why}"));
        self.news.everything = true;
    }

    /// Whether the record on the instance is what this machine decided, with nothing under way.
    pub fn is_recorded(&self) -> bool {
        let left_busy = self.pairs.iter().any(|(_, pair)| pair.left_busy);
        !self.meta_busy && !left_busy && !self.record_retry.has_failed()
    }

    /// Clusters that hold, or may hold, content of this instance.
    pub fn holds<D: Document>(instance: &Object<D>) -> BTreeSet<ClusterName> {
        placement::holds(instance.annotation(hub::HOLDS)).0
    }

    /// Whether a change of the cluster may have anything to do with the instance.
    pub fn minds(&self, cluster: &ClusterName, turn: Turn) -> bool {
        let Some(plan) = &self.plan else { return true };
        let remembers = || plan.chooses || plan.is_meant(cluster) || plan.remembered.contains(cluster);
        turn == Turn::Own
            || self.is_concerned(plan, cluster)
            || plan.decision.watches == Watches::All
            || (turn == Turn::Standing && remembers())
    }

    /// Whether a Placement chose fewer clusters than it may, at the last decision.
    pub fn short_of(&self, policy: &PolicyName) -> Option<&Short> {
        self.plan.as_ref()?.decision.short.iter().find(|short| short.policy == *policy)
    }

    /// The Placements that chose fewer clusters than they may, at the last decision.
    pub fn short(&self) -> Vec<Short> {
        self.plan.as_ref().map(|plan| plan.decision.short.clone()).unwrap_or_default()
    }

    /// Whether a step decided where it goes.
    pub fn is_planned(&self) -> bool {
        self.plan.is_some()
    }

    /// Where the instance runs besides the hub, by the last decision.
    pub fn spokes(&self) -> impl Iterator<Item = &ClusterName> {
        self.plan.iter().flat_map(|plan| &plan.spokes)
    }

    /// Whether the last look was by this Placement as it is now.
    pub fn went_by(&self, placement: &Arc<Effective>) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.placements().any(|known| Arc::ptr_eq(known, placement)))
    }

    /// The clusters that it may be moved on: not those where all stays as it is.
    pub fn moving(&self) -> impl Iterator<Item = &ClusterName> {
        self.plan.iter().flat_map(|plan| plan.spokes.iter().filter(|name| !plan.stays(name)))
    }

    /// By which graphs it runs, as far as it is known of every cluster: [`Self::knows_runs`].
    pub fn runs(&self) -> &Runs {
        self.lines.runs()
    }

    /// Whether a step decided where it goes, and nothing is awaited of any cluster before it may be told how it does there.
    pub fn knows_runs(&self) -> bool {
        self.is_planned() && self.lines.are_dated()
    }

    /// Lets go of what a step reads of the instance: the next one reads it anew.
    pub fn rest(&mut self) {
        self.seen = None;
        self.pairs.rest();
    }

    pub fn step(&mut self, inputs: &Inputs) -> FleetStep {
        #[cfg(test)]
        let twin = self.afresh(inputs);
        let step = self.take_step(inputs);
        #[cfg(test)]
        self.agrees_with(twin, inputs, &step);
        step
    }

    fn take_step(&mut self, inputs: &Inputs) -> FleetStep {
        let mut step = FleetStep::default();
        let deleting = inputs.instance.is_deleting();
        if deleting && !inputs.instance.has_finalizer(kro::FINALIZER) {
            return step;
        }
        let plan = match self.still_planned(inputs) {
            Some((plan, news)) => {
                self.look_at_news(&mut step, Situation { inputs, plan: &plan }, news);
                plan
            }
            None => self.look_at_everything(&mut step, inputs),
        };
        let situation = Situation { inputs, plan: &plan };
        let finished = plan.is_over;
        if finished && !self.finalizer_busy && !self.meta_busy && self.record_retry.is_due(inputs.now) {
            self.finalizer_busy = true;
            step.actions.push(FleetAction::RemoveFinalizer);
        }
        let seen = self.seen.take();
        let known = seen.map(|seen| seen.written).filter(|written| written.is_on(inputs.instance));
        let written = known.unwrap_or_else(|| Written::on(inputs.instance));
        // Of an instance that goes now nothing more is said, unless it cannot.
        if !self.is_told && (!finished || self.stuck.is_some()) {
            self.status(&mut step, situation, &written);
        }
        if !finished {
            self.write_reports(&mut step, inputs);
        }
        let pause = self.pause_after_losses().filter(|_| !deleting);
        let rolls = self.rolls_at(inputs).filter(|_| !deleting);
        let decision = plan.decision.wake.filter(|_| !deleting).map(|at| inputs.now.moment_of(at));
        let retries = [self.record_retry.at(), self.status_retry.at(), pause, rolls, decision];
        let retries = retries.into_iter().flatten();
        step.wake_at = retries.chain(step.wake_at).filter(|at| *at > inputs.now.at).min();
        self.seen = Some(Seen::of(inputs, written));
        self.plan = Some(plan);
        step
    }

    /// Everything that a step looks at may be new.
    fn look_at_everything(&mut self, step: &mut FleetStep, inputs: &Inputs) -> Box<Plan> {
        let holds = placement::holds(inputs.instance.annotation(hub::HOLDS)).0;
        // The names that everybody shares.
        let shared = |n| inputs.clusters.get_key_value(&n).map_or(n, |(known, _)| known.clone());
        let holds: BTreeSet<ClusterName> = holds.into_iter().map(shared).collect();
        self.find_unrecorded(inputs, &holds);
        self.forget_newer(step, inputs);
        let mut plan = self.decide(inputs, holds);
        self.plans += 1;
        if !plan.deleting {
            self.note_losses(&plan.decision, inputs.now);
        }
        self.held = plan.decision.record.held.clone();
        self.only_hub_part = plan.decision.local.is_none()
            && has_part_on_hub(inputs, &plan.decision.spokes, &plan.past.holds)
            && on_hub::is_part_on_record(inputs.instance);
        plan.holds = self.wanted_holds(step, Situation { inputs, plan: &plan });
        let decided = inputs.instance.annotation(hub::DECIDED);
        plan.is_on_record = decided.is_none_or(|decided| decided == plan.decision.record.text(&plan.holds));
        self.patch_meta(step, Situation { inputs, plan: &plan });
        plan.orders = self.orders(inputs, &plan);
        self.shared.clear();
        self.forget_overrides(&plan);
        self.roll_anew(step, Situation { inputs, plan: &plan });
        self.send(step, Situation { inputs, plan: &plan });
        if plan.deleting {
            self.let_local_go(step, Situation { inputs, plan: &plan });
            plan.is_over = self.finished(Situation { inputs, plan: &plan });
        }
        let (lines, only_local) = self.all_lines(inputs, &plan);
        self.lines.replace(lines);
        plan.only_local = only_local;
        plan.keep_what_is_needed();
        self.pairs.tidy();
        // What was begun may have consequences.
        self.news.everything |= !step.actions.is_empty();
        self.is_told = false;
        plan
    }

    fn decide(&mut self, inputs: &Inputs, holds: BTreeSet<ClusterName>) -> Box<Plan> {
        let deleting = inputs.instance.is_deleting();
        match inputs.placements {
            [] => self.trouble = Trouble::default(),
            _ => self.trouble.look(inputs.clusters.values(), inputs.now.unix()),
        }
        let past = self.past(inputs, holds);
        let views = inputs.clusters.views();
        let words = Words::of(inputs.instance);
        let health = |name: &ClusterName| inputs.clusters.get(name).map(|c| &c.health);
        let reach = |name: &ClusterName| match health(name) {
            Some(ClusterHealth::Ready) => Reach::Ready,
            Some(ClusterHealth::Unreachable { since, .. }) => Reach::Lost(unix(since)),
            _ => Reach::Other,
        };
        let is_active =
            |name: &ClusterName| self.pairs.report(name).is_some_and(|r| r.state == InstanceState::Active);
        let concerned = !inputs.placements.is_empty()
            || !past.record.policies.is_empty()
            || !past.record.unmatched.is_empty();
        let said = concerned.then(|| Said {
            placements: inputs.placements,
            key: &self.key,
            reach: &reach,
            is_active: &is_active,
            trouble: self.trouble.holds,
            trouble_at: self.trouble.at,
            now: inputs.now.unix(),
        });
        let around = placement::Around {
            namespace: &self.key.namespace,
            clusters: views,
            default: inputs.default_placement,
            said: said.as_ref(),
        };
        let decision = placement::decide(&words, around, &past);
        let on_hub = OnHub::of(views, &decision);
        Box::new(Plan {
            deleting,
            managed: inputs.instance.has_finalizer(kro::FINALIZER),
            past,
            spokes: if deleting { BTreeSet::new() } else { decision.spokes.clone() },
            holds: BTreeSet::new(),
            orders: None,
            is_on_record: false,
            chooses: words.may_choose_any(),
            placements: inputs.placements.to_vec(),
            minds_hub: decision.local.is_some()
                || self.may_hold_on_hub(inputs.instance, &on_hub.name)
                || inputs.graph.is_some_and(|graph| super::spoke::has_hub_part(graph)),
            remembered: BTreeSet::new(),
            is_over: false,
            only_local: false,
            on_hub,
            decision,
        })
    }
}
