//! One cluster's actor, as the real one drives its machines: a queue, watches, answers, and what it tells the hub.

use super::api_server::{Server, crd_kind};
use super::requests::{Answer, KIND_ANNOTATION};
use super::store::Store;
use super::watch::{Seen, Watch};
use crate::api::Object;
use crate::api::keys::{hub, kro};
use crate::api::names::{GroupKind, Gvk, HubId, InstanceKey, ObjectRef};
use crate::reconcile::Now;
use crate::reconcile::spoke::{
    Action, Goal, InstanceState, Machine, Outcome, Report, Task, report_fingerprint,
};
use crate::reconcile::world::{CrdState, KindState, Lookup, Stored};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

#[derive(Debug)]
pub enum ToSpoke {
    Task(Arc<Task>),
    Forget(InstanceKey),
}

#[derive(Debug)]
pub enum Said {
    Report { key: InstanceKey, report: Box<Report> },
    Gone { key: InstanceKey, hub_uid: String },
    Mirrors { mirrors: Vec<(InstanceKey, String)> },
    Contact(bool),
}

struct Slot {
    machine: Machine,
    last_sent: Option<u64>,
    wake_at: Option<u64>,
}

pub struct Actor {
    pub epoch: u64,
    local: bool,
    hub_id: HubId,
    pub store: Store,
    slots: BTreeMap<InstanceKey, Slot>,
    queue: VecDeque<InstanceKey>,
    queued: BTreeSet<InstanceKey>,
    pub parked: bool,
    pub inbox: VecDeque<ToSpoke>,
    pub watches: BTreeMap<GroupKind, Watch>,
    /// Of external references.
    pub lookups: BTreeMap<Lookup, Watch>,
    reads: BTreeMap<InstanceKey, BTreeSet<Lookup>>,
    crds_seen: BTreeSet<String>,
    /// Kinds that are looked up again soon.
    look_again: BTreeMap<GroupKind, u64>,
    next_tick: u64,
    pub said: Vec<Said>,
}

/// What a step wants done, and the task it came from.
pub struct Stepped {
    pub key: InstanceKey,
    pub task: Arc<Task>,
    pub actions: Vec<Action>,
    /// Objects that a write is held back from, and what is said meanwhile, if anything is.
    pub held: BTreeSet<ObjectRef>,
    pub told: Option<(InstanceState, String)>,
}

const TICK: u64 = 30_000;

impl Actor {
    pub fn new(epoch: u64, local: bool, hub_id: HubId, now: &Now) -> Self {
        let crds = Watch::new(crd_kind(), None);
        Self {
            epoch,
            local,
            hub_id,
            store: Store::default(),
            slots: BTreeMap::new(),
            queue: VecDeque::new(),
            queued: BTreeSet::new(),
            parked: false,
            inbox: VecDeque::new(),
            watches: BTreeMap::from([(crd_kind(), crds)]),
            lookups: BTreeMap::new(),
            reads: BTreeMap::new(),
            crds_seen: BTreeSet::new(),
            look_again: BTreeMap::new(),
            next_tick: now.millis + TICK,
            said: Vec::new(),
        }
    }

    pub fn can_step(&self) -> bool {
        !self.queue.is_empty() && !self.parked
    }

    fn enqueue(&mut self, key: &InstanceKey) {
        if self.slots.contains_key(key) && self.queued.insert(key.clone()) {
            self.queue.push_back(key.clone());
        }
    }
    fn enqueue_all(&mut self) {
        for key in self.slots.keys().cloned().collect::<Vec<_>>() {
            self.enqueue(&key);
        }
    }
    fn enqueue_some(&mut self, keys: BTreeSet<InstanceKey>) {
        for key in keys {
            self.enqueue(&key);
        }
    }

    pub fn take_message(&mut self) {
        match self.inbox.pop_front() {
            Some(ToSpoke::Task(task)) => {
                let key = task.key.clone();
                if let (Goal::Run { graph, .. }, false) = (&task.goal, task.is_local()) {
                    self.store.wanted.insert(key.gk.clone(), graph.crd_hash());
                }
                match self.slots.get_mut(&key) {
                    Some(slot) => {
                        slot.last_sent = None;
                        slot.machine.retarget(task);
                    }
                    None => {
                        let slot = Slot { machine: Machine::new(task), last_sent: None, wake_at: None };
                        self.slots.insert(key.clone(), slot);
                    }
                }
                self.enqueue(&key);
            }
            Some(ToSpoke::Forget(key)) => {
                self.slots.remove(&key);
                self.store.forget_wanted(&key);
                self.read(&key, BTreeSet::new());
            }
            None => {}
        }
    }

    pub fn contact(&mut self, ready: bool) {
        self.parked = !ready;
        if ready {
            for slot in self.slots.values_mut() {
                slot.machine.reconnected();
            }
            self.enqueue_all();
        }
        self.said.push(Said::Contact(ready));
    }

    pub fn see(&mut self, gk: &GroupKind, server: &Server, now: &Now) {
        let Some(seen) = self.watches.get_mut(gk).and_then(|w| w.next(server)) else { return };
        if *gk == crd_kind() {
            return self.see_crd(seen);
        }
        match seen {
            Seen::Served => {}
            Seen::NotServed => {
                self.watches.remove(gk);
                self.store.kind_mut(gk, false).state = KindState::Missing;
                if matches!(self.store.crds.get(gk), Some(CrdState::Ready { .. })) {
                    self.look_again.insert(gk.clone(), now.millis + 100);
                }
                self.enqueue_all();
            }
            Seen::ListStarted => self.store.list_started(gk),
            Seen::Object(value) => {
                let stored = Arc::new(Stored::new((*value).clone()));
                let concerned = self.store.seen(&stored.object.object_ref(), stored.clone());
                self.enqueue_some(concerned);
            }
            Seen::Left(value, version) => {
                let object = Object((*value).clone());
                let concerned = self.store.left(&object.object_ref(), object.uid(), version);
                self.enqueue_some(concerned);
            }
            Seen::ListDone { namespaced, version } => {
                let kind = self.store.kind_mut(gk, false);
                let first = !matches!(kind.state, KindState::Synced { .. });
                let generated = kind.generated;
                let concerned = self.store.list_done(gk, namespaced, version);
                if first {
                    self.enqueue_all();
                }
                if generated && !self.local {
                    self.said.push(Said::Mirrors { mirrors: self.store.mirrors(gk, self.hub_id.as_str()) });
                }
                self.enqueue_some(concerned);
            }
        }
    }

    /// The cluster does not let the kind be watched, for now.
    pub fn refused(&mut self, gk: &GroupKind) {
        self.store.kind_mut(gk, false).state = KindState::Failed("forbidden".into());
        self.enqueue_all();
    }

    /// An instance reads exactly these.
    fn read(&mut self, key: &InstanceKey, lookups: BTreeSet<Lookup>) {
        self.reads.insert(key.clone(), lookups);
        let all: BTreeSet<Lookup> = self.reads.values().flatten().cloned().collect();
        let idle: Vec<Lookup> = self.lookups.keys().filter(|l| !all.contains(*l)).cloned().collect();
        for lookup in idle {
            self.lookups.remove(&lookup);
            self.store.forget_lookup(&lookup);
        }
        for lookup in all {
            self.lookups.entry(lookup.clone()).or_insert_with(|| Watch::of(&lookup));
        }
    }

    pub fn look(&mut self, lookup: &Lookup, server: &Server) {
        let Some(seen) = self.lookups.get_mut(lookup).and_then(|w| w.next(server)) else { return };
        if self.store.look_seen(lookup, seen) {
            let readers = self.reads.iter().filter(|(_, l)| l.contains(lookup));
            self.enqueue_some(readers.map(|(key, _)| key.clone()).collect());
        }
    }

    fn see_crd(&mut self, seen: Seen) {
        let (value, gone) = match seen {
            Seen::Object(value) => (value, false),
            Seen::Left(value, _) => (value, true),
            _ => return,
        };
        let object = Object((*value).clone());
        let Some((_, group)) = object.name().split_once('.') else { return };
        let unserved = self.store.unserved();
        for missing in unserved.into_iter().filter(|u| *u.group == *group) {
            self.store.kind_mut(&missing, false).state = KindState::Unknown;
        }
        let known = !self.crds_seen.insert(object.name().to_owned());
        if let Some(kind) = object.annotation(KIND_ANNOTATION) {
            let gk = GroupKind::new(group, kind);
            for slot in self.slots.values_mut() {
                slot.machine.schema_changed(&gk);
            }
            if object.label(hub::HUB_ID) == Some(self.hub_id.as_str()) && !self.local {
                if !self.store.kinds.contains_key(&gk) {
                    self.ensure_kind(&gk, true);
                }
                if gone || known {
                    self.store.crds.remove(&gk);
                }
            }
        }
        self.enqueue_all();
    }

    fn ensure_kind(&mut self, gk: &GroupKind, generated: bool) {
        let kind = self.store.kind_mut(gk, generated);
        kind.generated |= generated;
        if kind.state != KindState::Unknown {
            return;
        }
        kind.state = KindState::Syncing;
        self.store.opened(gk);
        let selector = if generated {
            None
        } else if self.local {
            Some((kro::OWNED.to_owned(), "true".to_owned()))
        } else {
            Some((hub::HUB_ID.to_owned(), self.hub_id.to_string()))
        };
        self.watches.insert(gk.clone(), Watch::new(gk.clone(), selector));
    }

    pub fn answered(&mut self, key: Option<&InstanceKey>, gk: &GroupKind, answer: Answer, now: &Now) {
        match answer {
            Answer::Crd(state) => {
                let ready = matches!(state, CrdState::Ready { .. });
                self.store.crds.insert(gk.clone(), state);
                if ready && self.store.kinds.get(gk).is_some_and(|k| k.state == KindState::Missing) {
                    self.store.kind_mut(gk, false).state = KindState::Unknown;
                }
                let keys: BTreeSet<InstanceKey> =
                    self.slots.keys().filter(|k| k.gk == *gk).cloned().collect();
                self.enqueue_some(keys);
            }
            Answer::Spoke { outcomes, uid, seen } => {
                let Some(key) = key else { return };
                let mut concerned = BTreeSet::new();
                for outcome in &outcomes {
                    match outcome {
                        Outcome::Applied { object, stored, .. } => {
                            concerned.extend(self.store.upsert(object, stored.clone()));
                        }
                        Outcome::Gone { object } => {
                            concerned.extend(self.store.remove(object, uid.as_deref()))
                        }
                        _ => {}
                    }
                }
                if let Some(stored) = seen {
                    self.store.upsert(&stored.object.object_ref(), stored.clone());
                }
                if let Some(slot) = self.slots.get_mut(key) {
                    for outcome in outcomes {
                        slot.machine.feed(outcome, now);
                    }
                }
                self.enqueue(key);
                self.enqueue_some(concerned);
            }
            _ => {}
        }
    }

    /// Steps the next instance; the caller performs the actions.
    pub fn step(&mut self, now: &Now) -> Option<Stepped> {
        let key = self.queue.pop_front()?;
        self.queued.remove(&key);
        let slot = self.slots.get_mut(&key)?;
        let task = slot.machine.task().clone();
        let step = slot.machine.step(&self.store, now);
        if step.gone && matches!(task.goal, Goal::Remove { .. }) {
            self.slots.remove(&key);
            self.store.forget_wanted(&key);
            self.read(&key, BTreeSet::new());
            self.said.push(Said::Gone { key: key.clone(), hub_uid: task.hub_uid.clone() });
            return None;
        }
        slot.wake_at = step.wake_at;
        let (reads, held) = (step.reads, step.held);
        let told = step.report.as_ref().map(|r| (r.state, r.message.clone()));
        if let Some(report) = step.report {
            let print = report_fingerprint(&report);
            if slot.last_sent != Some(print) {
                slot.last_sent = Some(print);
                self.said.push(Said::Report { key: key.clone(), report: Box::new(report) });
            }
        }
        self.read(&key, reads);
        let mut actions = Vec::new();
        for action in step.actions {
            match action {
                Action::EnsureGraph(..) => {}
                Action::EnsureKind(kind, _) => self.ensure_kind(&kind, kind == key.gk && !self.local),
                Action::EnsureCrd { .. } => {
                    self.store.crds.insert(key.gk.clone(), CrdState::Working);
                    actions.push(action);
                }
                _ => {
                    if let Action::Apply(apply) = &action {
                        self.store.note_wanted(&apply.object, &key);
                    }
                    actions.push(action);
                }
            }
        }
        Some(Stepped { key, task, actions, held, told })
    }

    /// When something is due by time alone.
    pub fn next_wake(&self) -> Option<u64> {
        let wakes = self.slots.values().filter_map(|s| s.wake_at).chain(self.look_again.values().copied());
        let tick = (!self.store.unserved().is_empty() && !self.slots.is_empty()).then_some(self.next_tick);
        wakes.chain(tick).min()
    }

    pub fn wake_due(&mut self, now: &Now) {
        let due: BTreeSet<InstanceKey> = self
            .slots
            .iter_mut()
            .filter(|(_, s)| s.wake_at.is_some_and(|at| at <= now.millis))
            .map(|(k, s)| {
                s.wake_at = None;
                k.clone()
            })
            .collect();
        self.enqueue_some(due);
        let again: Vec<GroupKind> =
            self.look_again.iter().filter(|(_, at)| **at <= now.millis).map(|(gk, _)| gk.clone()).collect();
        for gk in again {
            self.look_again.remove(&gk);
            if self.store.kinds.get(&gk).is_some_and(|k| k.state == KindState::Missing) {
                self.store.kind_mut(&gk, false).state = KindState::Unknown;
                self.enqueue_all();
            }
        }
        if self.next_tick <= now.millis {
            self.next_tick = now.millis + TICK;
            self.store.forget_removed();
            let unserved = self.store.unserved();
            for gk in &unserved {
                self.store.kind_mut(gk, false).state = KindState::Unknown;
            }
            if !unserved.is_empty() {
                self.enqueue_all();
            }
        }
    }
}

/// The generated kind of the model.
pub fn app_gvk() -> Gvk {
    Gvk::new("kro.run", "v1alpha1", "App")
}
