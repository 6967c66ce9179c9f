//! The hub side, as the real one drives its machines: a view of the instances, one fleet machine each, leftovers.

use super::api_server::Server;
use super::cluster::{Said, ToSpoke, app_gvk};
use super::graphs::app_kind;
use super::requests::Answer;
use super::watch::{Seen, Watch};
use crate::api::Object;
use crate::api::keys::hub;
use crate::api::names::{ClusterName, HubId, InstanceKey};
use crate::graph::Graph;
use crate::reconcile::Now;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::over_all::Question;
use crate::reconcile::fleet::placement::{self, ClusterView, DefaultPlacement};
use crate::reconcile::fleet::{ClusterState, Departure, Fleet, FleetAction, Inputs, Left};
use crate::reconcile::spoke::StatusTrouble;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

struct Slot {
    uid: String,
    fleet: Fleet,
    wake_at: Option<u64>,
}

pub struct Hub {
    pub epoch: u64,
    hub_id: HubId,
    pub watch: Watch,
    objects: BTreeMap<InstanceKey, Arc<Object>>,
    listing: Option<BTreeSet<InstanceKey>>,
    /// Answers to our own writes that came during the list: they may be newer than it.
    written: BTreeSet<InstanceKey>,
    synced: bool,
    slots: BTreeMap<InstanceKey, Slot>,
    pub graph: Arc<Graph>,
    pub clusters: BTreeMap<ClusterName, ClusterState>,
    queue: VecDeque<InstanceKey>,
    queued: BTreeSet<InstanceKey>,
    cleaning: BTreeMap<(ClusterName, InstanceKey), Left>,
    unjudged: Vec<(ClusterName, Left)>,
    /// Mirrors that clusters showed before the instances were listed.
    undiscovered: BTreeMap<ClusterName, Vec<(InstanceKey, String)>>,
    /// Leftovers as read when a cluster connected, and recorded since.
    left: BTreeMap<ClusterName, BTreeMap<String, Left>>,
    pub inbox: VecDeque<(ClusterName, u64, Said)>,
    /// Messages for actors.
    pub out: Vec<(ClusterName, ToSpoke)>,
    /// Records that are to be taken out.
    pub forgotten: Vec<(ClusterName, String)>,
    /// Fields that are being evaluated.
    pub questions: VecDeque<(InstanceKey, String, Question)>,
}

/// What a step wants done.
pub struct Stepped {
    pub key: InstanceKey,
    pub object: Arc<Object>,
    pub actions: Vec<FleetAction>,
}

impl Hub {
    pub fn new(
        epoch: u64,
        hub_id: HubId,
        graph: Arc<Graph>,
        clusters: &[(ClusterName, &'static str)],
    ) -> Self {
        Self {
            epoch,
            hub_id,
            watch: Watch::new(app_kind(), None),
            objects: BTreeMap::new(),
            listing: None,
            written: BTreeSet::new(),
            synced: false,
            slots: BTreeMap::new(),
            graph,
            clusters: clusters.iter().map(|(n, tier)| (n.clone(), unknown(n, tier))).collect(),
            queue: VecDeque::new(),
            queued: BTreeSet::new(),
            cleaning: BTreeMap::new(),
            unjudged: Vec::new(),
            undiscovered: BTreeMap::new(),
            left: BTreeMap::new(),
            inbox: VecDeque::new(),
            out: Vec::new(),
            forgotten: Vec::new(),
            questions: VecDeque::new(),
        }
    }

    pub fn can_step(&self) -> bool {
        self.synced && !self.queue.is_empty()
    }
    fn enqueue(&mut self, key: &InstanceKey) {
        if self.queued.insert(key.clone()) {
            self.queue.push_back(key.clone());
        }
    }
    pub fn enqueue_all(&mut self) {
        for key in self.slots.keys().cloned().collect::<Vec<_>>() {
            self.enqueue(&key);
        }
    }

    pub fn see(&mut self, server: &Server) {
        match self.watch.next(server) {
            Some(Seen::ListStarted) => {
                self.listing = Some(BTreeSet::new());
                self.written.clear();
            }
            Some(Seen::Object(value)) => {
                let object = Object((*value).clone());
                let key = key_of(&object);
                // After a restore of the hub, a list shows older versions of what was known, and they are the truth.
                let may_go_back = self.listing.is_some() && !self.written.contains(&key);
                self.listing.iter_mut().for_each(|l| l.extend([key.clone()]));
                self.upsert(object, may_go_back);
            }
            Some(Seen::Left(value, _)) => {
                let object = Object((*value).clone());
                let key = key_of(&object);
                if self.objects.get(&key).is_some_and(|known| known.uid() == object.uid()) {
                    self.removed(&key);
                }
            }
            Some(Seen::ListDone { .. }) => {
                let first = !self.synced;
                self.synced = true;
                if let Some(listing) = self.listing.take() {
                    let lost: Vec<InstanceKey> =
                        self.objects.keys().filter(|k| !listing.contains(*k)).cloned().collect();
                    for key in lost {
                        self.removed(&key);
                    }
                }
                if first {
                    self.enqueue_all();
                    for (name, mirrors) in std::mem::take(&mut self.undiscovered) {
                        self.discovered(&name, mirrors);
                    }
                }
            }
            Some(Seen::Served | Seen::NotServed) | None => {}
        }
    }

    fn upsert(&mut self, object: Object, may_go_back: bool) {
        let key = key_of(&object);
        let known = self.objects.get(&key);
        let old = |b: &Object| match may_go_back {
            true => b.version() == object.version(),
            false => b.version() >= object.version(),
        };
        if known.is_some_and(|b| b.uid() == object.uid() && old(b)) {
            return;
        }
        let uid = object.uid().to_owned();
        self.objects.insert(key.clone(), Arc::new(object));
        if self.slots.get(&key).is_none_or(|s| s.uid != uid) {
            let fleet = Fleet::new(key.clone(), app_gvk());
            self.slots.insert(key.clone(), Slot { uid, fleet, wake_at: None });
        }
        self.enqueue(&key);
    }

    /// The answer to a write: does not bring back what the watch removed.
    fn refresh(&mut self, value: &Value) {
        let object = Object(value.clone());
        if self.objects.get(&key_of(&object)).is_some_and(|known| known.uid() == object.uid()) {
            let key = key_of(&object);
            if self.listing.is_some() {
                self.written.insert(key.clone());
            }
            if self.objects.get(&key).is_some_and(|b| b.version() < object.version()) {
                self.objects.insert(key, Arc::new(object));
            }
        }
    }

    fn removed(&mut self, key: &InstanceKey) {
        self.objects.remove(key);
        self.slots.remove(key);
        for name in self.clusters.keys() {
            if !self.cleaning.contains_key(&(name.clone(), key.clone())) {
                self.out.push((name.clone(), ToSpoke::Forget(key.clone())));
            }
        }
    }

    /// The Cluster is being deleted.
    pub fn leaves(&mut self, name: &ClusterName) {
        if let Some(state) = self.clusters.get_mut(name) {
            state.view.leaving = true;
            state.departure = Departure::Settling;
            self.enqueue_all();
        }
    }
    /// Time passed since it is being deleted.
    pub fn departs(&mut self, name: &ClusterName) {
        if let Some(state) = self.clusters.get_mut(name) {
            state.departure = match state.departure {
                Departure::Settling => Departure::Finishing,
                Departure::Finishing | Departure::Over => Departure::Over,
            };
            self.enqueue_all();
        }
    }
    /// Whether time may change what is let go there.
    pub fn may_depart(&self, name: &ClusterName) -> bool {
        self.clusters.get(name).is_some_and(|c| c.view.leaving && c.departure != Departure::Over)
    }
    /// Whether nothing is known to be held there any more.
    pub fn may_let_go(&self, name: &ClusterName) -> bool {
        self.synced && !self.objects.values().any(|o| Fleet::holds(o).contains(name))
    }
    pub fn unregistered(&mut self, name: &ClusterName) {
        self.clusters.remove(name);
        self.enqueue_all();
    }
    pub fn registered(&mut self, name: &ClusterName, tier: &'static str) {
        self.clusters.entry(name.clone()).or_insert_with(|| unknown(name, tier));
        self.enqueue_all();
    }

    /// Somebody labels the Cluster anew.
    pub fn relabelled(&mut self, name: &ClusterName, tier: &'static str) {
        if let Some(state) = self.clusters.get_mut(name) {
            state.view.labels.insert("tier".into(), tier.into());
            if state.facts.is_some() {
                state.facts = Some(facts(name, tier));
            }
            self.enqueue_all();
        }
    }

    fn set_health(&mut self, name: &ClusterName, health: ClusterHealth) {
        if let Some(state) = self.clusters.get_mut(name)
            && state.health != health
        {
            state.health = health;
            self.enqueue_all();
        }
    }

    /// The cluster has a new actor; and what is on record as left there.
    pub fn connected(&mut self, name: &ClusterName, left: BTreeMap<String, Left>, tier: &'static str) {
        self.set_health(name, ClusterHealth::Ready);
        if let Some(state) = self.clusters.get_mut(name) {
            state.facts = Some(facts(name, tier));
        }
        for slot in self.slots.values_mut() {
            slot.fleet.actor_restarted(name);
        }
        self.cleaning.retain(|(cluster, _), _| cluster != name);
        self.unjudged.retain(|(cluster, _)| cluster != name);
        self.unjudged.extend(left.values().map(|l| (name.clone(), l.clone())));
        self.left.insert(name.clone(), left);
        self.enqueue_all();
    }

    pub fn cannot_connect(&mut self, name: &ClusterName, now: &Now) {
        self.set_health(name, unreachable(now));
    }

    fn returned(&mut self, name: &ClusterName) {
        for left in self.left.get(name).cloned().unwrap_or_default().into_values() {
            let place = (name.clone(), left.key());
            let known = self.cleaning.get(&place).is_some_and(|c| c.hub_uid == left.hub_uid)
                || self.unjudged.iter().any(|(n, u)| n == name && u.hub_uid == left.hub_uid);
            if !known {
                self.unjudged.push((name.clone(), left));
            }
        }
    }

    pub fn judge_leftovers(&mut self) {
        for (name, left) in std::mem::take(&mut self.unjudged) {
            let key = left.key();
            if !self.synced {
                self.unjudged.push((name, left));
                continue;
            }
            let same = self.objects.get(&key).filter(|i| i.uid() == left.hub_uid);
            let unsettled = self.slots.get(&key).is_some_and(|s| !s.fleet.is_recorded());
            let leaves = self.clusters.get(&name).is_some_and(|c| c.view.leaving);
            if leaves {
                // What runs there is to be left alone; the record is read when the cluster is registered again.
            } else if same.is_some() && unsettled {
                self.unjudged.push((name, left));
            } else if same.is_some_and(|i| !i.is_deleting() && self.names_unregistered(i)) {
                // Perhaps this cluster under its former name.
                self.unjudged.push((name, left));
            } else if same.is_some_and(|i| {
                Fleet::holds(i).contains(&name)
                    && placement::names(i.annotation(hub::RELEASE)).contains(&name)
            }) {
                // It is about to be recorded once more.
                self.unjudged.push((name, left));
            } else if same.is_some_and(|i| Fleet::holds(i).contains(&name)) {
                self.forget_left(&name, &left.hub_uid);
            } else {
                let task = ToSpoke::Task(Arc::new(left.removal(&self.hub_id)));
                self.out.push((name.clone(), task));
                self.cleaning.insert((name, key), left);
            }
        }
    }

    fn names_unregistered(&self, instance: &Object) -> bool {
        let named = placement::names(instance.annotation(hub::CLUSTERS));
        named.iter().any(|n| n.as_str() != "*" && !self.clusters.contains_key(n))
    }

    fn discovered(&mut self, name: &ClusterName, mirrors: Vec<(InstanceKey, String)>) {
        for (key, hub_uid) in mirrors {
            let cleaned = self.cleaning.contains_key(&(name.clone(), key.clone()))
                || self.unjudged.iter().any(|(n, l)| n == name && l.hub_uid == hub_uid);
            if let Some(slot) = self.slots.get_mut(&key).filter(|s| s.uid == hub_uid && !cleaned) {
                slot.fleet.found(name);
                self.enqueue(&key);
            }
        }
    }

    fn forget_left(&mut self, name: &ClusterName, hub_uid: &str) {
        self.forgotten.push((name.clone(), hub_uid.to_owned()));
        if let Some(left) = self.left.get_mut(name) {
            left.remove(hub_uid);
        }
    }

    /// Takes one message of an actor; `current` is the epoch of the actor that the cluster has.
    pub fn take_message(&mut self, current: impl Fn(&ClusterName) -> Option<u64>, now: &Now) {
        let Some((name, epoch, said)) = self.inbox.pop_front() else { return };
        if current(&name) != Some(epoch) {
            return;
        }
        match said {
            Said::Contact(true) => {
                self.set_health(&name, ClusterHealth::Ready);
                self.returned(&name);
            }
            Said::Contact(false) => self.set_health(&name, unreachable(now)),
            Said::Report { key, report } => {
                if let Some(slot) = self.slots.get_mut(&key).filter(|s| s.uid == report.hub_uid) {
                    slot.fleet.report(&name, *report);
                    self.enqueue(&key);
                }
            }
            Said::Gone { key, hub_uid } => {
                let place = (name.clone(), key.clone());
                if self.cleaning.get(&place).is_some_and(|l| l.hub_uid == hub_uid) {
                    self.cleaning.remove(&place);
                    self.forget_left(&name, &hub_uid);
                    if let Some(slot) = self.slots.get_mut(&key) {
                        slot.fleet.actor_restarted(&name);
                    }
                } else if let Some(slot) = self.slots.get_mut(&key).filter(|s| s.uid == hub_uid) {
                    slot.fleet.gone(&name);
                }
                self.enqueue(&key);
            }
            Said::Mirrors { mirrors } if self.synced => self.discovered(&name, mirrors),
            // Whose they are is known when the instances were listed.
            Said::Mirrors { mirrors } => drop(self.undiscovered.insert(name, mirrors)),
        }
    }

    pub fn answered(&mut self, key: &InstanceKey, uid: &str, answer: Answer, now: &Now) {
        let mut refreshed = None;
        if let Some(slot) = self.slots.get_mut(key).filter(|s| s.uid == uid) {
            match answer {
                Answer::Meta(value) => {
                    slot.fleet.meta_written(value.is_some().then_some(()).ok_or_else(refused), now);
                    refreshed = value;
                }
                Answer::Status(value) => {
                    let passing = || (StatusTrouble::Passing, "refused".to_owned());
                    slot.fleet.status_written(value.as_ref().map(drop).ok_or_else(passing), now);
                    refreshed = value;
                }
                Answer::Finalizer(value) => {
                    slot.fleet.finalizer_removed(value.is_some().then_some(()).ok_or_else(refused), now);
                    refreshed = value;
                }
                Answer::Left(cluster, left, ok) => {
                    slot.fleet.left_recorded(&cluster, ok, now);
                    if ok {
                        self.left.entry(cluster).or_default().insert(left.hub_uid.clone(), *left);
                    }
                }
                Answer::Spoke { .. } | Answer::Crd(_) => {}
            }
        }
        if let Some(value) = refreshed {
            self.refresh(&value);
        }
        self.enqueue(key);
    }

    /// Answers the question that waited longest.
    pub fn evaluate(&mut self) {
        let Some((key, uid, question)) = self.questions.pop_front() else { return };
        if let Some(slot) = self.slots.get_mut(&key).filter(|s| s.uid == uid) {
            slot.fleet.evaluated(question.evaluate());
        }
        self.enqueue(&key);
    }

    pub fn step(&mut self, now: &Now) -> Option<Stepped> {
        let key = self.queue.pop_front()?;
        self.queued.remove(&key);
        let object = self.objects.get(&key)?.clone();
        let slot = self.slots.get_mut(&key)?;
        let step = slot.fleet.step(&Inputs {
            instance: &object,
            graph: Some(&self.graph),
            allow_breaking: false,
            clusters: &self.clusters,
            hub_id: &self.hub_id,
            default_placement: DefaultPlacement::Local,
            now,
        });
        slot.wake_at = step.wake_at;
        let mut actions = Vec::new();
        for action in step.actions {
            match action {
                FleetAction::Send { cluster, task } => {
                    if !self.cleaning.contains_key(&(cluster.clone(), key.clone())) {
                        self.out.push((cluster, ToSpoke::Task(task)));
                    }
                }
                FleetAction::Forget { cluster } => self.out.push((cluster, ToSpoke::Forget(key.clone()))),
                FleetAction::Tell { .. } => {}
                FleetAction::Evaluate(question) => {
                    self.questions.push_back((key.clone(), slot.uid.clone(), question));
                }
                other => actions.push(other),
            }
        }
        Some(Stepped { key, object, actions })
    }

    pub fn next_wake(&self) -> Option<u64> {
        self.slots.values().filter_map(|s| s.wake_at).min()
    }
    pub fn wake_due(&mut self, now: &Now) {
        let due: Vec<InstanceKey> = self
            .slots
            .iter_mut()
            .filter(|(_, s)| s.wake_at.is_some_and(|at| at <= now.millis))
            .map(|(k, s)| {
                s.wake_at = None;
                k.clone()
            })
            .collect();
        for key in due {
            self.enqueue(&key);
        }
    }
}

/// A cluster that nobody spoke to yet.
fn unknown(name: &ClusterName, tier: &str) -> ClusterState {
    let mut view = ClusterView { local: name.as_str() == "local", ..ClusterView::default() };
    view.labels.insert("tier".into(), tier.into());
    ClusterState { view, ..ClusterState::default() }
}

/// What `kro.cluster` is there.
fn facts(name: &ClusterName, tier: &str) -> Arc<Value> {
    Arc::new(
        json!({"name": name.as_str(), "id": format!("id-{name}"), "labels": {"tier": tier}, "properties": {},
        "version": {"major": 1, "minor": 34}}),
    )
}

fn unreachable(now: &Now) -> ClusterHealth {
    ClusterHealth::Unreachable { since: now.rfc3339.clone(), message: "connection refused".into() }
}

fn key_of(object: &Object) -> InstanceKey {
    InstanceKey::new(object.group_kind(), object.namespace(), object.name())
}

fn refused() -> String {
    "refused".into()
}
