//! One instance on the hub: where it goes, what the spokes are told, what its status says.
//!
//! The record of where content may exist (`hub.kro.run/holds`) is written before the first message to a cluster and
//! shrinks only after that cluster confirmed that nothing is left, or somebody let it go.

pub mod aggregate;
pub mod on_hub;
pub mod over_all;
pub mod placement;

use super::spoke::{
    Goal, Home, HubValues, InstanceState, MirrorContent, Part, Report, StatusTrouble, Task, has_hub_part,
};
use super::{Now, Retry};
use crate::api::keys::{hub, kro};
use crate::api::names::{ClusterName, GroupKind, Gvk, HubId, InstanceKey};
use crate::api::{Object, hash};
use crate::graph::Graph;
use aggregate::{Aggregate, ClusterHealth, Entry};
use on_hub::{OnHub, has_part_on_hub, may_be_local};
use over_all::OverAll;
use placement::{ClusterView, Decision, DefaultPlacement, Past, Words};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
}

impl ClusterState {
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
    pub instance: &'a Object,
    /// The newest graph that compiled; `None` while there never was one.
    pub graph: Option<&'a Arc<Graph>>,
    pub allow_breaking: bool,
    /// The complete, synced set.
    pub clusters: &'a BTreeMap<ClusterName, ClusterState>,
    pub hub_id: &'a HubId,
    pub default_placement: DefaultPlacement,
    pub now: &'a Now,
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
    /// An Event on the instance, for what no condition says.
    Tell { reason: &'static str, message: String },
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
}

impl Left {
    pub fn key(&self) -> InstanceKey {
        InstanceKey::new(GroupKind::new(&self.group, &self.kind), &self.namespace, &self.name)
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
    pub wake_at: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    fingerprint: u64,
    removal: bool,
}

/// A state on the way to another is shown when it lasts longer.
const PASSING_MILLIS: u64 = 80;
/// The same while nothing has to happen but what is under way already; and while it is not even its turn. To say that
/// of a thousand instances would take the time that they need.
const UNDER_WAY_MILLIS: u64 = 3_000;
const QUEUED_MILLIS: u64 = 15_000;
/// What is lost within this time of another loss is judged together with it.
const LOSS_PAUSE_MILLIS: u64 = 5_000;

/// How soon a state that may pass is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    /// Something has to happen first that nobody here does.
    Waiting,
    /// All that it takes is under way.
    UnderWay,
    /// Not begun.
    Queued,
}

impl Haste {
    fn of(aggregate: &Aggregate) -> Self {
        let entries = &aggregate.entries;
        let asks = aggregate.held.is_some() || aggregate.invalid.is_some() || aggregate.unmanaged.is_some();
        if asks || entries.is_empty() || !entries.iter().all(Entry::is_under_way) {
            Self::Waiting
        } else if entries.iter().any(Entry::has_begun) {
            Self::UnderWay
        } else {
            Self::Queued
        }
    }
    fn millis(self) -> u64 {
        match self {
            Self::Waiting => PASSING_MILLIS,
            Self::UnderWay => UNDER_WAY_MILLIS,
            Self::Queued => QUEUED_MILLIS,
        }
    }
}

/// The machine of one hub instance.
#[derive(Debug)]
pub struct Fleet {
    key: InstanceKey,
    gvk: Gvk,
    reports: BTreeMap<ClusterName, Report>,
    sent: BTreeMap<ClusterName, Sent>,
    /// Clusters that confirmed that nothing is left, since the last task that asked for it.
    gone: BTreeSet<ClusterName>,
    /// Clusters for which what is left is on record.
    left: BTreeSet<ClusterName>,
    left_busy: BTreeSet<ClusterName>,
    /// What is on the hub lives there, on record; nothing else of the instance does.
    only_hub_part: bool,
    /// Spokes that showed content of ours that no hold names.
    found: BTreeSet<ClusterName>,
    /// Clusters that were lost, and since when no other one was. A restart begins the pause anew: what is lost stands in
    /// the record.
    lost: (BTreeSet<ClusterName>, u64),
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
    status_busy: bool,
    finalizer_busy: bool,
    /// Back-off of the record (finalizer, holds, leftovers), and of the status: one must not wait for the other.
    record_retry: Retry,
    status_retry: Retry,
    last_status_write: Option<u64>,
    /// The author's fields that the status write under way offers; `None` where it leaves them as they are.
    status_offered: Option<u64>,
    /// What the API server said to those fields.
    status_refused: Option<(u64, String)>,
    /// Since when a state that may pass in a moment is to be written.
    passing_since: Option<(u64, Haste)>,
    /// Why our finalizer and labels could not be written.
    unlabelled: Option<String>,
    /// Why our finalizer could not be taken off.
    stuck: Option<String>,
    last_state: Option<String>,
    since: BTreeMap<ClusterName, (String, String)>,
}

impl Fleet {
    pub fn new(key: InstanceKey, gvk: Gvk) -> Self {
        Self {
            key,
            gvk,
            reports: BTreeMap::new(),
            sent: BTreeMap::new(),
            gone: BTreeSet::new(),
            left: BTreeSet::new(),
            left_busy: BTreeSet::new(),
            only_hub_part: false,
            found: BTreeSet::new(),
            lost: (BTreeSet::new(), 0),
            held: BTreeSet::new(),
            version: 0,
            had_record: false,
            meta_busy: false,
            recording: None,
            over_all: OverAll::default(),
            status_busy: false,
            finalizer_busy: false,
            record_retry: Retry::default(),
            status_retry: Retry::default(),
            last_status_write: None,
            status_offered: None,
            status_refused: None,
            passing_since: None,
            unlabelled: None,
            stuck: None,
            last_state: None,
            since: BTreeMap::new(),
        }
    }

    pub fn report(&mut self, cluster: &ClusterName, report: Report) {
        self.reports.insert(cluster.clone(), report);
    }

    /// The cluster confirmed that nothing of the instance with this uid is left there.
    pub fn gone(&mut self, cluster: &ClusterName) {
        if self.sent.get(cluster).is_some_and(|s| s.removal) {
            self.gone.insert(cluster.clone());
            self.found.remove(cluster);
            self.reports.remove(cluster);
        }
    }

    /// Whether a Cluster that stands for the hub has nothing more to clean: it confirmed that nothing is left there, or
    /// what is left lives there whoever stands for the hub.
    pub fn is_clean_on_hub(&self, cluster: &ClusterName) -> bool {
        self.gone.contains(cluster) || self.only_hub_part
    }

    /// A mirror of this instance stands on a cluster that no hold names.
    pub fn found(&mut self, cluster: &ClusterName) {
        self.found.insert(cluster.clone());
    }

    /// The cluster's actor is new: it knows nothing, and what is on record as left there is read anew.
    pub fn actor_restarted(&mut self, cluster: &ClusterName) {
        self.left.remove(cluster);
        self.found.remove(cluster);
        self.sent.remove(cluster);
        self.gone.remove(cluster);
    }

    pub fn left_recorded(&mut self, cluster: &ClusterName, ok: bool, now: &Now) {
        self.left_busy.remove(cluster);
        if ok {
            self.left.insert(cluster.clone());
            self.found.remove(cluster);
        }
        self.record_retry.outcome(ok, now);
    }

    pub fn meta_written(&mut self, result: Result<(), String>, now: &Now) {
        self.meta_busy = false;
        self.record_retry.outcome(result.is_ok(), now);
        if result.is_ok() {
            self.recording = None;
        }
        self.unlabelled = result.err().map(|why| format!("finalizer/labeling failed: {why}"));
    }
    pub fn status_written(&mut self, result: Result<(), (StatusTrouble, String)>, now: &Now) {
        self.status_busy = false;
        self.status_retry.outcome(result.is_ok(), now);
        if let (Err((StatusTrouble::Refused, why)), Some(fields)) = (result, self.status_offered) {
            self.status_refused = Some((fields, why));
        }
    }
    pub fn evaluated(&mut self, answer: over_all::Answer) {
        self.over_all.answered(answer);
    }
    pub fn finalizer_removed(&mut self, result: Result<(), String>, now: &Now) {
        self.finalizer_busy = false;
        self.record_retry.outcome(result.is_ok(), now);
        self.stuck = result.err().map(|why| format!("failed removing finalizer: {why}"));
    }

    /// Whether the record on the instance is what this machine decided, with nothing under way.
    pub fn is_recorded(&self) -> bool {
        !self.meta_busy && self.left_busy.is_empty() && !self.record_retry.has_failed()
    }

    /// Clusters that hold, or may hold, content of this instance.
    pub fn holds(instance: &Object) -> BTreeSet<ClusterName> {
        placement::holds(instance.annotation(hub::HOLDS)).0
    }

    pub fn step(&mut self, inputs: &Inputs) -> FleetStep {
        let mut step = FleetStep::default();
        let deleting = inputs.instance.is_deleting();
        let managed = inputs.instance.has_finalizer(kro::FINALIZER);
        if deleting && !managed {
            return step;
        }
        self.find_unrecorded(inputs);
        self.forget_newer(&mut step, inputs);
        let words = Words::of(inputs.instance);
        let past = self.past(inputs);
        let registered = inputs.clusters.iter().filter(|(_, c)| !c.implied);
        let views: BTreeMap<ClusterName, ClusterView> =
            registered.map(|(n, c)| (n.clone(), c.view.clone())).collect();
        let decision =
            placement::decide(&words, &self.key.namespace, &views, &past, inputs.default_placement);
        let pause = if deleting { None } else { self.note_losses(&decision, inputs.now) };
        self.held = decision.record.held.clone();
        let on_hub = OnHub::of(&views, &decision);
        self.only_hub_part = decision.local.is_none()
            && has_part_on_hub(inputs, &decision.spokes, &past.holds)
            && on_hub::is_part_on_record(inputs.instance);
        let spokes = if deleting { BTreeSet::new() } else { decision.spokes.clone() };

        let holds = self.wanted_holds(&mut step, inputs, &past, &spokes);
        self.patch_meta(&mut step, inputs, &decision, &holds, deleting);
        self.send(&mut step, inputs, &past, &spokes, &decision, &on_hub, deleting);

        if deleting {
            self.let_local_go(&mut step, inputs, &past, &on_hub.name);
        }
        let finished = deleting && self.finished(&holds, &on_hub.name, inputs);
        if finished && !self.finalizer_busy && !self.meta_busy && self.record_retry.is_due(inputs.now) {
            self.finalizer_busy = true;
            step.actions.push(FleetAction::RemoveFinalizer);
        }
        // Of an instance that goes now nothing more is said, unless it cannot.
        if !finished || self.stuck.is_some() {
            self.status(&mut step, inputs, &decision, &holds, &on_hub, deleting);
        }
        let retries = [self.record_retry.at(), self.status_retry.at(), pause].into_iter().flatten();
        let next = retries.chain(step.wake_at).filter(|at| *at > inputs.now.millis).min();
        step.wake_at = next;
        step
    }

    /// Clusters whose loss waited long enough without another one.
    fn waited(&self, now: &Now) -> BTreeSet<ClusterName> {
        let over = now.millis >= self.lost.1 + LOSS_PAUSE_MILLIS;
        if over { self.lost.0.clone() } else { BTreeSet::new() }
    }

    /// When the pause after the last loss is over.
    fn note_losses(&mut self, decision: &Decision, now: &Now) -> Option<u64> {
        if self.lost.0 != decision.waiting {
            self.lost = (decision.waiting.clone(), now.millis);
        }
        (!self.lost.0.is_empty()).then_some(self.lost.1 + LOSS_PAUSE_MILLIS)
    }

    /// A cluster is told something only while the record names it, and the record loses it only after it confirmed that
    /// nothing is left, or was let go. A record without it is an older one: the hub was restored, or somebody edited it.
    fn find_unrecorded(&mut self, inputs: &Inputs) {
        let holds = Self::holds(inputs.instance);
        let is_spoke = |n: &ClusterName| inputs.clusters.get(n).is_some_and(|c| !c.view.local);
        let lost = self.sent.keys().filter(|n| is_spoke(n) && !holds.contains(*n) && !self.gone.contains(*n));
        self.found.extend(lost.cloned());
    }

    /// An instance that is older than it was, or lost its record, comes from a restore of the hub. On the hub itself it is
    /// its own mirror: who runs it there must not go by what it wrote since.
    fn forget_newer(&mut self, step: &mut FleetStep, inputs: &Inputs) {
        let version = inputs.instance.resource_version().parse().unwrap_or_default();
        let has_record = inputs.instance.annotation(hub::DECIDED).is_some();
        let is_older = std::mem::replace(&mut self.version, version) > version;
        let lost_record = std::mem::replace(&mut self.had_record, has_record) && !has_record;
        if !is_older && !lost_record {
            return;
        }
        for (name, _) in inputs.clusters.iter().filter(|(_, c)| c.view.local) {
            self.gone.remove(name);
            self.forget(step, name);
        }
    }

    fn past(&self, inputs: &Inputs) -> Past {
        let holds = Self::holds(inputs.instance);
        let released = placement::names(inputs.instance.annotation(hub::RELEASE));
        let known = |n: &ClusterName| holds.contains(n) || released.contains(n) || self.left.contains(n);
        let mut record = placement::Record::read(inputs.instance.annotation(hub::DECIDED));
        if record.words.is_none() {
            // An instance that only ever ran on the hub has no record: its ApplySet inventory is one.
            record.local = may_be_local(inputs.instance);
        }
        record.held.extend(self.held.iter().cloned());
        let taken_away = |c: &ClusterState| c.view.local && c.view.leaving && c.delete_on_leave;
        if inputs.clusters.values().any(taken_away) {
            record.local = false;
        }
        Past {
            found: self.found.iter().filter(|n| !known(n)).cloned().collect(),
            record,
            allow_shrink: inputs.instance.annotation(hub::ALLOW_SHRINK).map(str::to_owned),
            waited: self.waited(inputs.now),
            holds,
            released,
        }
    }

    /// Whether content on a cluster is let go instead of being deleted.
    fn is_let_go(inputs: &Inputs, past: &Past, name: &ClusterName) -> bool {
        let waits = |c: &ClusterState| match c.departure {
            Departure::Settling => c.may_be_reached(),
            Departure::Finishing => c.may_be_reached() && inputs.instance.is_deleting(),
            Departure::Over => false,
        };
        let leaves = |c: &ClusterState| c.view.leaving && !c.delete_on_leave && !waits(c);
        past.released.contains(name) || inputs.clusters.get(name).is_some_and(leaves)
    }

    /// Whether a cluster that is being deregistered is told nothing for now: the instance may be about to be deleted too,
    /// and if not, what runs there stays.
    fn waits_for_departure(inputs: &Inputs, name: &ClusterName) -> bool {
        let settles =
            |c: &ClusterState| c.view.leaving && !c.delete_on_leave && c.departure == Departure::Settling;
        !inputs.instance.is_deleting() && inputs.clusters.get(name).is_some_and(settles)
    }

    /// The holds to record: what is placed, and what may still be left of what was.
    fn wanted_holds(
        &mut self,
        step: &mut FleetStep,
        inputs: &Inputs,
        past: &Past,
        spokes: &BTreeSet<ClusterName>,
    ) -> BTreeSet<ClusterName> {
        // Discovery is news once; from then on the record speaks.
        self.found.retain(|n| !past.holds.contains(n));
        // Nothing was ever written to a cluster that was not ready: there is nothing to hold.
        let ready =
            |n: &ClusterName| inputs.clusters.get(n).is_some_and(|c| c.health == ClusterHealth::Ready);
        let known = |n: &ClusterName| past.holds.contains(n) || past.found.contains(n);
        let mut holds: BTreeSet<ClusterName> =
            spokes.iter().filter(|n| known(n) || ready(n)).cloned().collect();
        for name in past.holds.iter().chain(&past.found) {
            if holds.contains(name) {
                continue;
            }
            if Self::is_let_go(inputs, past, name) {
                self.forget(step, name);
                if self.left.contains(name) {
                    continue;
                }
                self.record_left(step, inputs, name);
            } else if self.gone.contains(name) {
                continue;
            }
            holds.insert(name.clone());
        }
        // A cluster that is placed again starts anew.
        self.left.retain(|n| !spokes.contains(n));
        self.reports.retain(|n, _| holds.contains(n) || inputs.clusters.get(n).is_some_and(|c| c.view.local));
        holds
    }

    /// What is let go is not touched any more.
    fn forget(&mut self, step: &mut FleetStep, name: &ClusterName) {
        if self.sent.remove(name).is_some() {
            step.actions.push(FleetAction::Forget { cluster: name.clone() });
        }
    }

    fn record_left(&mut self, step: &mut FleetStep, inputs: &Inputs, name: &ClusterName) {
        if self.record_retry.is_due(inputs.now) && self.left_busy.insert(name.clone()) {
            let left = self.left_behind(inputs);
            step.actions.push(FleetAction::RecordLeft { cluster: name.clone(), left });
        }
    }

    fn left_behind(&self, inputs: &Inputs) -> Left {
        Left {
            hub_uid: inputs.instance.uid().to_owned(),
            group: self.gvk.group.to_string(),
            version: self.gvk.version.to_string(),
            kind: self.gvk.kind.to_string(),
            namespace: self.key.namespace.to_string(),
            name: self.key.name.to_string(),
            group_kinds: inputs.graph.map(|g| kinds(g)).unwrap_or_default(),
            since: inputs.now.rfc3339.clone(),
        }
    }

    fn patch_meta(
        &mut self,
        step: &mut FleetStep,
        inputs: &Inputs,
        decision: &Decision,
        holds: &BTreeSet<ClusterName>,
        deleting: bool,
    ) {
        let may = !self.meta_busy && self.record_retry.is_due(inputs.now);
        let body = self.meta_body(inputs, decision, holds, deleting);
        // A record that may have landed or not is written again, whatever the instance seems to say.
        let Some(body) = body.filter(|b| self.recording.is_some() || !is_applied(b, inputs.instance)) else {
            // What could not be written is not to be written any more.
            self.unlabelled = self.unlabelled.take().filter(|_| self.meta_busy);
            return;
        };
        if !may {
            return;
        }
        self.meta_busy = true;
        self.recording = Some(match self.recording.take() {
            Some(open) => open.intersection(holds).cloned().collect(),
            None => holds.clone(),
        });
        step.actions.push(FleetAction::PatchMeta { body });
        let rubbish = placement::holds(inputs.instance.annotation(hub::HOLDS)).1;
        if rubbish > 0 {
            let message = format!(
                "{rubbish} words of the annotation {} can be no Cluster's name; they are dropped",
                hub::HOLDS
            );
            step.actions.push(FleetAction::Tell { reason: "HoldsCorrected", message });
        }
    }

    fn meta_body(
        &self,
        inputs: &Inputs,
        decision: &Decision,
        holds: &BTreeSet<ClusterName>,
        deleting: bool,
    ) -> Option<Value> {
        let placed = !holds.is_empty() || decision.local.is_some();
        let managed = inputs.instance.has_finalizer(kro::FINALIZER);
        if !placed && !managed {
            return None;
        }
        let mut labels = json!({kro::OWNED: "true", kro::KRO_VERSION: kro::COMPATIBLE_VERSION});
        if let Some(graph) = inputs.graph {
            labels[kro::RGD_ID] = json!(graph.rgd_uid);
            labels[kro::RGD_NAME] = json!(hash::label_value(&graph.rgd_name));
        } else {
            for key in [kro::RGD_ID, kro::RGD_NAME] {
                if let Some(value) = inputs.instance.label(key) {
                    labels[key] = json!(value);
                }
            }
        }
        let mut metadata = json!({"name": *self.key.name, "labels": labels, "finalizers": [kro::FINALIZER]});
        if !self.key.namespace.is_empty() {
            metadata["namespace"] = json!(*self.key.namespace);
        }
        let knows_fleet = !holds.is_empty() || inputs.instance.annotation(hub::HOLDS).is_some();
        if knows_fleet {
            let decided = if deleting {
                inputs.instance.annotation(hub::DECIDED).unwrap_or_default().to_owned()
            } else {
                decision.record.text()
            };
            metadata["annotations"] =
                json!({hub::HOLDS: placement::names_text(holds), hub::DECIDED: decided});
        }
        Some(json!({"apiVersion": self.gvk.api_version(), "kind": *self.gvk.kind, "metadata": metadata}))
    }

    #[allow(clippy::too_many_arguments)]
    fn send(
        &mut self,
        step: &mut FleetStep,
        inputs: &Inputs,
        past: &Past,
        spokes: &BTreeSet<ClusterName>,
        decision: &Decision,
        on_hub: &OnHub,
        deleting: bool,
    ) {
        let local = &on_hub.name;
        let managed = inputs.instance.has_finalizer(kro::FINALIZER);
        if let Some(graph) = inputs.graph {
            // Only what is on record may be written to, also in the record that is on its way.
            let on_record = |n: &ClusterName| {
                past.holds.contains(n) && self.recording.as_ref().is_none_or(|holds| holds.contains(n))
            };
            let ready: Vec<&ClusterName> = spokes.iter().filter(|n| managed && on_record(n)).collect();
            for name in ready {
                let Some(part) = self.part_of_spokes(inputs, graph, past, on_hub, name) else { continue };
                if let Some(goal) = run_goal(inputs, graph, part, name) {
                    self.send_one(step, inputs, name, Home::Mirror, goal);
                }
            }
        }
        let leave = past.holds.iter().filter(|n| !spokes.contains(*n));
        for name in leave.filter(|n| !Self::waits_for_departure(inputs, n)) {
            if !Self::is_let_go(inputs, past, name) && !self.gone.contains(name) {
                self.send_one(step, inputs, name, Home::Mirror, remove_goal(inputs));
            }
        }
        let home = Home::Local { instance: Arc::new(inputs.instance.clone()) };
        if decision.local.is_some() && !deleting {
            let graph = inputs.graph.filter(|_| managed);
            if let Some(goal) = graph.and_then(|graph| run_goal(inputs, graph, Part::Whole, local)) {
                self.send_one(step, inputs, local, home, goal);
            }
        } else if Self::is_let_go(inputs, past, local) || (on_hub.left && !deleting) {
            self.forget(step, local);
        } else if has_part_on_hub(inputs, spokes, &past.holds) {
            // What lives on the hub goes last: other clusters may read it. It comes after the record, which tells it from
            // what the instance made there as a whole.
            let may = managed && past.record.words.is_some() && !deleting;
            let graph = inputs.graph.filter(|_| may);
            if let Some(goal) = graph.and_then(|graph| run_goal(inputs, graph, Part::Hub, local)) {
                self.send_one(step, inputs, local, home, goal);
            }
        } else if Self::waits_for_departure(inputs, local) {
        } else if managed && may_be_local(inputs.instance) && !self.gone.contains(local) {
            self.send_one(step, inputs, local, home, remove_goal(inputs));
        }
    }

    /// What a cluster makes of the definition, with what the hub shows of its own part for the present spec. `None` while
    /// what it was told before stands, since the hub will say in a moment what it has.
    fn part_of_spokes(
        &self,
        inputs: &Inputs,
        graph: &Graph,
        past: &Past,
        on_hub: &OnHub,
        name: &ClusterName,
    ) -> Option<Part> {
        if !has_hub_part(graph) {
            return Some(Part::Whole);
        }
        let said = self.reports.get(&on_hub.name).filter(|r| r.hub_uid == inputs.instance.uid());
        let told = self.sent.contains_key(name) || self.is_restarted(inputs);
        let may_speak = on_hub.may_speak(inputs) && !Self::is_let_go(inputs, past, &on_hub.name);
        if said.is_none() && told && may_speak {
            return None;
        }
        let fresh = |r: &&Report| r.generation == inputs.instance.generation() && r.revision == graph.hash;
        let values = said.filter(fresh).map(|r| r.hub_values.clone());
        Some(Part::Rest(values.unwrap_or_else(|| Arc::new(HubValues::default()))))
    }

    /// Whether what the status says was written by an earlier run of the controller.
    fn is_restarted(&self, inputs: &Inputs) -> bool {
        inputs.instance.0.pointer("/status/state").is_some() && self.last_status_write.is_none()
    }

    fn send_one(
        &mut self,
        step: &mut FleetStep,
        inputs: &Inputs,
        cluster: &ClusterName,
        home: Home,
        goal: Goal,
    ) {
        if inputs.clusters.get(cluster).is_none_or(|c| !c.health.has_actor()) {
            return;
        }
        let task = Task {
            key: self.key.clone(),
            gvk: self.gvk.clone(),
            hub_uid: inputs.instance.uid().to_owned(),
            hub_id: inputs.hub_id.clone(),
            home,
            goal,
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
    fn finished(&self, holds: &BTreeSet<ClusterName>, local: &ClusterName, inputs: &Inputs) -> bool {
        // Children on the hub are cleaned there, or let go.
        let local_done =
            !may_be_local(inputs.instance) || self.gone.contains(local) || self.left.contains(local);
        holds.is_empty() && local_done && self.left_busy.is_empty()
    }

    /// Children on the hub that a deleted instance leaves there, since somebody let go.
    fn let_local_go(&mut self, step: &mut FleetStep, inputs: &Inputs, past: &Past, local: &ClusterName) {
        let let_go = Self::is_let_go(inputs, past, local);
        if may_be_local(inputs.instance) && let_go && !self.left.contains(local) {
            self.record_left(step, inputs, local);
        }
    }

    fn status(
        &mut self,
        step: &mut FleetStep,
        inputs: &Inputs,
        decision: &Decision,
        holds: &BTreeSet<ClusterName>,
        on_hub: &OnHub,
        deleting: bool,
    ) {
        let local = &on_hub.name;
        let mut names: BTreeSet<ClusterName> = holds.clone();
        names.extend(decision.local.iter().cloned());
        if deleting && may_be_local(inputs.instance) {
            names.insert(local.clone());
        }
        if !deleting {
            names.extend(decision.spokes.iter().cloned());
        }
        let hub_part = decision.local.is_none() && has_part_on_hub(inputs, &decision.spokes, holds);
        let let_go = hub_part && on_hub.left && !deleting;
        if hub_part && !let_go {
            names.insert(local.clone());
        }
        let entry = |n: &ClusterName| {
            let of_hub = hub_part && n == local;
            let leaves = !decision.spokes.contains(n) && !of_hub;
            let mut entry = self.entry(inputs, n, deleting, leaves);
            entry.hub_part = of_hub;
            entry
        };
        let mut entries: Vec<Entry> = names.iter().map(entry).collect();
        if let_go {
            entries.push(Entry::refused(local, "NotRegistered", &on_hub::left_message()));
        }
        if !deleting {
            let refused = decision.refused.iter().filter(|(name, _)| !names.contains(*name));
            entries.extend(refused.map(|(name, (reason, message))| Entry::refused(name, reason, message)));
        }
        // After a restart, what was written before stands until every cluster that can speak has spoken.
        // The part on the hub is asked to go only when nothing reads it any more.
        let unheard = |e: &Entry| e.is_unheard() && !(deleting && e.hub_part);
        if self.is_restarted(inputs) && entries.iter().any(unheard) {
            return;
        }
        let entries: Vec<Entry> = entries.into_iter().map(|e| self.dated(inputs, e)).collect();
        let only_local =
            on_hub.registered && names.iter().all(|n| n == local) && entries.len() == names.len();
        let over_all = match inputs.graph.filter(|_| !deleting) {
            Some(graph) => {
                let Some(fields) = self.over_all(step, inputs, graph, &entries) else { return };
                fields
            }
            None => Map::new(),
        };
        let mut aggregate = Aggregate {
            over_all,
            entries,
            only_local: only_local && !names.is_empty(),
            deleting,
            held: decision.held.clone().filter(|_| !deleting && is_on_record(inputs.instance, decision)),
            invalid: decision.invalid.clone(),
            graph_missing: inputs.graph.is_none(),
            unmanaged: self.stuck.clone().or_else(|| self.unlabelled.clone()),
            by_author: inputs.graph.map(|g| g.has_conditions()),
            has_local: on_hub.registered,
            refused: None,
        };
        if !self.status_retry.is_due(inputs.now) {
            return;
        }
        let old = inputs.instance.0.get("status").cloned().unwrap_or_else(|| json!({}));
        let fields = hash::json(&Value::Object(aggregate.fields(&old)));
        // What was refused is not offered again while it is the same: the rest of the status says so.
        self.status_refused = self.status_refused.take().filter(|(print, _)| *print == fields);
        aggregate.refused = self.status_refused.as_ref().map(|(_, why)| why.clone());
        let new = aggregate.status(&old, inputs.instance.generation(), inputs.now);
        // What stood before it was written is good as it is: an upgrade writes nothing.
        let for_that_alone = |patch: &Value| {
            old.get("observedGeneration").is_none()
                && *patch == json!({"observedGeneration": inputs.instance.generation()})
        };
        let Some(patch) = super::spoke::merge_patch(&old, &new).filter(|p| !for_that_alone(p)) else {
            self.passing_since = None;
            return;
        };
        if self.status_busy {
            return;
        }
        let state = new.get("state").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(due) = self.status_due(inputs, &state, Haste::of(&aggregate)) {
            step.wake_at = Some(due);
            return;
        }
        self.passing_since = None;
        self.status_offered = aggregate.refused.is_none().then_some(fields);
        self.status_busy = true;
        self.last_state = Some(state);
        self.last_status_write = Some(inputs.now.millis);
        step.actions.push(FleetAction::WriteStatus { patch });
    }

    /// The author's fields over all clusters; `None` while they are being evaluated.
    fn over_all(
        &mut self,
        step: &mut FleetStep,
        inputs: &Inputs,
        graph: &Arc<Graph>,
        entries: &[Entry],
    ) -> Option<Map<String, Value>> {
        let facts = |name| inputs.clusters.get(name).and_then(|c| c.facts.as_deref());
        let seen = entries.iter().filter(|e| !e.hub_part);
        let clusters = || seen.map(|e| e.shown(facts(&e.name))).collect();
        let (said, question) = self.over_all.of(graph, inputs.instance, clusters, inputs.now);
        step.actions.extend(question.map(FleetAction::Evaluate));
        match said {
            over_all::Said::Fields(fields) => Some(fields),
            over_all::Said::Wait(until) => {
                step.wake_at = until;
                None
            }
        }
    }

    /// Since when a state that may pass is to be told. Whose turn it is now has waited, and begins only then.
    fn passing(&mut self, now: u64, haste: Haste) -> u64 {
        let since = match self.passing_since {
            Some((_, Haste::Queued)) if haste == Haste::UnderWay => now,
            Some((since, _)) => since,
            None => now,
        };
        self.passing_since = Some((since, haste));
        since
    }

    /// When a status may be written, if not now. Leading edge: every change of state at once, others at most once a second,
    /// and a second more for each 16 KiB of object. What is on its way may be there before anybody could have read that
    /// it is: that is said only if it takes a while.
    fn status_due(&mut self, inputs: &Inputs, state: &str, haste: Haste) -> Option<u64> {
        let now = inputs.now.millis;
        let passing =
            [InstanceState::InProgress, InstanceState::Deleting].iter().any(|s| s.as_str() == state);
        let due = if self.last_state.as_deref() == Some(state) {
            let pause = 1_000 + 1_000 * (inputs.instance.0.to_string().len() as u64 / (16 << 10));
            let pause = if passing { pause.max(haste.millis()) } else { pause };
            self.last_status_write.map_or(0, |at| at + pause)
        } else if passing {
            self.passing(now, haste) + haste.millis()
        } else {
            0
        };
        (now < due).then_some(due)
    }

    fn entry(&self, inputs: &Inputs, name: &ClusterName, deleting: bool, leaves: bool) -> Entry {
        let health = on_hub::health(inputs, name);
        let report = self.reports.get(name).filter(|r| r.hub_uid == inputs.instance.uid());
        let generation = inputs.instance.generation();
        Entry::of(name, health.as_ref(), report, deleting || leaves, generation)
    }

    /// Notes since when an entry is as it is; a restart finds it in the status that was written.
    fn dated(&mut self, inputs: &Inputs, mut entry: Entry) -> Entry {
        let name = entry.name.clone();
        let known = self.since.get(&name).cloned().or_else(|| {
            let list = inputs.instance.0.pointer("/status/fleet/clusters")?.as_array()?;
            let old = list.iter().find(|e| e.get("name").and_then(Value::as_str) == Some(name.as_str()))?;
            Some((old.get("state")?.as_str()?.to_owned(), old.get("since")?.as_str()?.to_owned()))
        });
        let since = match known {
            Some((state, since)) if state == entry.state => since,
            _ => entry.unreachable_since.clone().unwrap_or_else(|| inputs.now.rfc3339.clone()),
        };
        self.since.insert(name, (entry.state.clone(), since.clone()));
        entry.since = since;
        entry
    }
}

fn kinds(graph: &Graph) -> BTreeSet<String> {
    graph.group_kinds().iter().map(GroupKind::to_string).collect()
}

/// `None` while the definition reads of the cluster what is not known yet.
fn run_goal(inputs: &Inputs, graph: &Arc<Graph>, part: Part, cluster: &ClusterName) -> Option<Goal> {
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

fn remove_goal(inputs: &Inputs) -> Goal {
    Goal::Remove { group_kinds: inputs.graph.map(|g| g.group_kinds()).unwrap_or_default() }
}

/// Whether what was decided stands on the instance, where it has a record: what is said before a restart forgets it.
fn is_on_record(instance: &Object, decision: &Decision) -> bool {
    let decided = instance.annotation(hub::DECIDED);
    decided.is_none_or(|decided| decided == decision.record.text())
}

/// Whether the instance already has all that the patch would set.
fn is_applied(body: &Value, instance: &Object) -> bool {
    let has = |field: &str| {
        let want = body["metadata"].get(field).and_then(Value::as_object);
        let live = instance.0.pointer(&format!("/metadata/{field}"));
        want.is_none_or(|w| w.iter().all(|(k, v)| live.and_then(|l| l.get(k)) == Some(v)))
    };
    let finalized = instance.has_finalizer(kro::FINALIZER);
    finalized && has("labels") && has("annotations")
}
