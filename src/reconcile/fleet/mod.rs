//! One instance on the hub: where it goes, what the spokes are told, what its status says.
//!
//! The record of where content may exist (`hub.kro.run/holds`) is written before the first message to a cluster and
//! shrinks only after that cluster confirmed that nothing is left, or somebody let it go.

pub mod aggregate;
pub mod on_hub;
pub mod over_all;
pub mod placement;
mod recording;
mod sending;
mod situation;
mod telling;

use super::spoke::{Goal, Home, InstanceState, Report, StatusTrouble, Task};
use super::{Now, Retry};
use crate::api::Object;
use crate::api::keys::{hub, kro};
use crate::api::names::{ClusterName, GroupKind, Gvk, HubId, InstanceKey};
use crate::graph::Graph;
use crate::reconcile::Moment;
use aggregate::ClusterHealth;
use on_hub::{OnHub, has_part_on_hub};
use over_all::OverAll;
use placement::{ClusterView, DefaultPlacement, Words};
use serde_json::Value;
use situation::Situation;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use telling::{Haste, Since};

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
    pub wake_at: Option<Moment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    fingerprint: u64,
    removal: bool,
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
    status_busy: bool,
    finalizer_busy: bool,
    /// Back-off of the record (finalizer, holds, leftovers), and of the status: one must not wait for the other.
    record_retry: Retry,
    status_retry: Retry,
    last_status_write: Option<Moment>,
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
    since: BTreeMap<ClusterName, Since>,
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
            lost: (BTreeSet::new(), Moment::START),
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
        if deleting && !inputs.instance.has_finalizer(kro::FINALIZER) {
            return step;
        }
        self.find_unrecorded(inputs);
        self.forget_newer(&mut step, inputs);
        let situation = self.situation(inputs);
        let decision = &situation.decision;
        let pause = if deleting { None } else { self.note_losses(decision, inputs.now) };
        self.held = decision.record.held.clone();
        self.only_hub_part = decision.local.is_none()
            && has_part_on_hub(inputs, &decision.spokes, &situation.past.holds)
            && on_hub::is_part_on_record(inputs.instance);

        let holds = self.wanted_holds(&mut step, &situation);
        self.patch_meta(&mut step, &situation, &holds);
        self.send(&mut step, &situation);

        if deleting {
            self.let_local_go(&mut step, &situation);
        }
        let finished = deleting && self.finished(&situation, &holds);
        if finished && !self.finalizer_busy && !self.meta_busy && self.record_retry.is_due(inputs.now) {
            self.finalizer_busy = true;
            step.actions.push(FleetAction::RemoveFinalizer);
        }
        // Of an instance that goes now nothing more is said, unless it cannot.
        if !finished || self.stuck.is_some() {
            self.status(&mut step, &situation, &holds);
        }
        let retries = [self.record_retry.at(), self.status_retry.at(), pause].into_iter().flatten();
        let next = retries.chain(step.wake_at).filter(|at| *at > inputs.now.at).min();
        step.wake_at = next;
        step
    }

    fn situation<'a>(&self, inputs: &'a Inputs) -> Situation<'a> {
        let deleting = inputs.instance.is_deleting();
        let past = self.past(inputs);
        let registered = inputs.clusters.iter().filter(|(_, c)| !c.implied);
        let views: BTreeMap<ClusterName, ClusterView> =
            registered.map(|(n, c)| (n.clone(), c.view.clone())).collect();
        let words = Words::of(inputs.instance);
        let decision =
            placement::decide(&words, &self.key.namespace, &views, &past, inputs.default_placement);
        Situation {
            inputs,
            deleting,
            managed: inputs.instance.has_finalizer(kro::FINALIZER),
            past,
            spokes: if deleting { BTreeSet::new() } else { decision.spokes.clone() },
            on_hub: OnHub::of(&views, &decision),
            decision,
        }
    }
}
