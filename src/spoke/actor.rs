//! What one cluster's actor knows and decides: which instances it cares for, what is watched for them, whose turn it is.
//!
//! It does no I/O and has no clock of its own: it is told the time, hears [`Event`]s and messages, and says by [`Effect`]s what
//! is to be done. [`running`] drives it with a client, watches and timers.
//!
//! Nothing here is shared with another cluster but the pool of step threads, where each cluster has at most one step at
//! a time. All state is owned by one task; watches and requests run beside it and send what they saw.

mod acting;
mod blindness;
mod contact;
mod effects;
mod hearing;
mod judging;
mod lookups;
mod nested;
mod performing;
#[cfg(test)]
mod remembered;
mod rereading;
mod running;
mod stepping;

use effects::Events;
pub(crate) use effects::{Effect, Event, Freshness, ToJudge};
pub use running::{Handle, Settings, start};

use super::agenda::Agenda;
use super::messages::Said;
use super::share;
use super::store::Store;
use crate::api::maps::{HashMap, HashSet};
use crate::api::names::{GroupKind, HubId, InstanceKey};
use crate::reconcile::Moment;
use crate::reconcile::Now;
use crate::reconcile::bounds::Bounds;
use crate::reconcile::spoke::{Goal, Machine};
use crate::reconcile::world::KindState;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use judging::Patience;
use nested::Nested;

struct Slot {
    /// Away while it is being stepped.
    machine: Option<Box<Machine>>,
    last_sent: Option<u64>,
    /// It was never stepped.
    fresh: bool,
    /// It forgot all that it has nothing of at rest.
    rested: bool,
}

impl Slot {
    fn new(machine: Machine) -> Self {
        // What is to be taken away waits for nobody.
        let fresh = matches!(machine.task().goal, Goal::Run { .. } | Goal::GoOn { .. } | Goal::Stay { .. });
        Self { machine: Some(Box::new(machine)), last_sent: None, fresh, rested: false }
    }
    /// Whether the instance is at home on this cluster.
    fn is_nested(&self) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.task().is_nested())
    }
}

/// The part of an actor that decides.
pub(crate) struct Actor {
    hub_id: HubId,
    /// The cluster is the hub itself.
    local: bool,
    now: Now,
    effects: Vec<Effect>,
    store: Arc<RwLock<Store>>,
    slots: HashMap<InstanceKey, Slot>,
    queue: VecDeque<InstanceKey>,
    /// Those that were never stepped: what was begun is finished first, as long as there are enough requests under way.
    fresh: VecDeque<InstanceKey>,
    queued: HashSet<InstanceKey>,
    agenda: Agenda,
    /// When the last of them was begun.
    begun: Moment,
    /// When a request ended last.
    ended: Moment,
    /// Requests of instances that are under way, or wait for their turn.
    requests: usize,
    /// While so many are, no further instance is begun.
    enough: usize,
    /// No contact: nothing is stepped until it is back.
    parked: bool,
    nested: Nested,
    schemas_serial: u64,
    patience: Patience,
    /// Changes of the schema of each kind.
    changes: HashMap<GroupKind, u64>,
}

/// One that was never stepped is begun at least this often while no request ends.
const OVERDUE: Duration = Duration::from_secs(1);
/// The same while requests end: a slow server gets no more of what is new than it finishes, unless some of its requests hang.
const OVERDUE_AT_WORK: Duration = Duration::from_secs(10);
/// So many instances are stepped in one turn.
const TURN: usize = 8;
/// How often [`Actor::tick`] is called.
pub(crate) const TICK: Duration = Duration::from_secs(30);
/// Discovery follows a CRD; doubled up to 6.4 s while it does not.
const SERVED_SOON: Duration = Duration::from_millis(100);
const SERVED_DOUBLINGS: u32 = 6;
/// When schemas are read again after a CRD changed, one pause after the other.
const SCHEMAS_FOLLOW: [Duration; 4] = [
    Duration::from_millis(300),
    Duration::from_millis(1_200),
    Duration::from_secs(3),
    Duration::from_secs(6),
];

impl Actor {
    /// `local`: the cluster is the hub itself.
    pub fn new(hub_id: HubId, local: bool, bounds: Arc<Bounds>, now: Now) -> Self {
        Self {
            hub_id,
            local,
            begun: now.at,
            ended: now.at,
            now,
            effects: Vec::new(),
            store: Arc::new(RwLock::new(Store::within(bounds))),
            slots: HashMap::default(),
            queue: VecDeque::new(),
            fresh: VecDeque::new(),
            queued: HashSet::default(),
            agenda: Agenda::default(),
            requests: 0,
            enough: share::MOST,
            parked: false,
            nested: Nested::default(),
            schemas_serial: 0,
            patience: Patience::default(),
            changes: HashMap::default(),
        }
    }

    /// What is heard from now on is heard at this time; whose time has come is looked at.
    pub fn at(&mut self, now: Now) {
        self.now = now;
        for key in self.agenda.due(self.now.at) {
            self.enqueue(&key);
        }
    }

    /// What is to be done because of what was heard since this was asked last, in this order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// While so many requests are under way, no further instance is begun.
    pub fn begin_until(&mut self, requests: usize) {
        self.enough = requests;
    }

    /// When some instance wants to be looked at if nothing happens before.
    pub fn next_wake(&self) -> Option<Moment> {
        self.agenda.next()
    }

    /// Whether a turn may be taken now.
    pub fn is_busy(&self) -> bool {
        self.has_work() && !self.parked
    }

    /// Instances that wait for their turn.
    pub fn queue_length(&self) -> usize {
        self.queue.len() + self.fresh.len()
    }

    /// The cluster can be talked to, or not.
    pub fn contact(&mut self, ready: bool) {
        self.parked = !ready;
        if self.parked {
            return;
        }
        for slot in self.slots.values_mut() {
            if let Some(machine) = &mut slot.machine {
                machine.reconnected();
            }
        }
        self.write_store(Store::reconnected);
        self.enqueue_all();
        self.schemas_changed();
    }

    /// Called every [`TICK`]. Kinds of aggregated APIs come and go without an event of a CRD.
    pub fn tick(&mut self) {
        for slot in self.slots.values_mut().filter(|slot| !slot.rested) {
            slot.rested = slot.machine.as_mut().is_some_and(|machine| machine.rest(&self.now));
        }
        self.write_store(|s| s.objects.forget_removed());
        self.tick_blind();
        self.judge_unfit();
        let reopened = self.write_store(|s| s.references.retry(None));
        self.open_lookups(reopened);
        if self.lacks_kinds() {
            for gk in &self.read_store(Store::unserved) {
                self.write_store(|s| s.kind_mut(gk).state = KindState::Unknown);
            }
            self.enqueue_all();
        }
    }

    /// Whether instances may wait for a kind that the cluster does not serve.
    pub fn lacks_kinds(&self) -> bool {
        !self.slots.is_empty() && self.read_store(|s| !s.unserved().is_empty())
    }

    fn ask(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn say(&mut self, said: Said) {
        self.ask(Effect::Say(said));
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.ask(Effect::After(after, event));
    }

    fn enqueue(&mut self, key: &InstanceKey) {
        if let Some(slot) = self.slots.get(key)
            && self.queued.insert(key.clone())
        {
            if slot.fresh { &mut self.fresh } else { &mut self.queue }.push_back(key.clone());
        }
    }

    fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.may_begin(0)
    }

    /// Whether one more that was never stepped may be, after so many in the same turn.
    fn may_begin(&self, begun: usize) -> bool {
        !self.fresh.is_empty() && (self.requests + begun < self.enough || self.is_overdue())
    }

    /// Requests that hang must not keep out what is new for ever.
    fn is_overdue(&self) -> bool {
        let at_work = self.now.at.since(self.ended) < OVERDUE;
        let patience = if at_work { OVERDUE_AT_WORK } else { OVERDUE };
        !self.fresh.is_empty() && self.now.at.since(self.begun) >= patience
    }

    fn next_key(&mut self) -> Option<InstanceKey> {
        let first = if self.is_overdue() { None } else { self.queue.pop_front() };
        first.or_else(|| {
            self.begun = self.now.at;
            self.fresh.pop_front().or_else(|| self.queue.pop_front())
        })
    }

    fn enqueue_all(&mut self) {
        let keys: Vec<InstanceKey> = self.slots.keys().cloned().collect();
        for key in &keys {
            self.enqueue(key);
        }
    }
    fn enqueue_kind(&mut self, gk: &GroupKind) {
        let keys: Vec<InstanceKey> = self.slots.keys().filter(|k| k.gk == *gk).cloned().collect();
        for key in &keys {
            self.enqueue(key);
        }
    }

    fn write_store<T>(&self, f: impl FnOnce(&mut Store) -> T) -> T {
        f(&mut self.store.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of the cluster.
    pub fn read_store<T>(&self, f: impl FnOnce(&Store) -> T) -> T {
        f(&self.store.read().unwrap_or_else(PoisonError::into_inner))
    }
}
