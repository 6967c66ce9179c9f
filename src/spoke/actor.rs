//! One cluster's actor: its client, its watches, its queue of instances, its steps.
//!
//! Nothing here is shared with another cluster but the pool of step threads, where each cluster has at most one step at
//! a time. All state is owned by one task; watches and requests run beside it and send what they saw.

mod judging;
mod lookups;
mod nested;
mod rereading;

use super::agenda::Agenda;
use super::client::{MayWrite, SpokeClient};
use super::crd::{self, Ensured};
use super::fallback_report;
use super::health::{Contact, Health, Transition};
use super::host::Clock;
use super::messages::{ContactState, FromSpoke, Said, ToSpoke};
use super::notes::{Notes, THROTTLED};
use super::perform::{self, Done};
use super::pool::Pool;
use super::references::Subject;
use super::schemas::{Key, Reader, Verdict};
use super::spans;
use super::store::{Open, Store};
use super::watch::{self, Seen};
use crate::api::Object;
use crate::api::maps::{HashMap, HashSet};
use crate::api::names::{ClusterName, GroupKind, HubId, InstanceKey};
use crate::metrics::Metrics;
use crate::reconcile::Now;
use crate::reconcile::spoke::{Action, Goal, Machine, Outcome, Step, Task, report_fingerprint};
use crate::reconcile::world::{CrdState, CrdWish, KindState, Lookup, Stored, World};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use judging::Patience;
use nested::Nested;

/// What an actor is made of.
pub struct Settings {
    pub cluster: ClusterName,
    pub epoch: u64,
    pub local: bool,
    pub hub_id: HubId,
    pub client: SpokeClient,
    pub health: Arc<Mutex<Health>>,
    pub contacts: mpsc::UnboundedReceiver<Contact>,
    pub pool: Pool,
    /// The schemas of the cluster.
    pub reader: Reader,
    pub metrics: Metrics,
    pub clock: Clock,
    /// Whether writes are allowed now (the lease is held).
    pub may_write: MayWrite,
}

#[derive(Clone, Debug)]
pub struct Handle {
    pub tasks: mpsc::UnboundedSender<ToSpoke>,
    cancel: CancellationToken,
}

impl Handle {
    /// Ends the actor: no further write starts.
    pub fn stop(&self) {
        self.cancel.cancel();
    }
    pub fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

/// Starts the actor. It ends with [`Handle::stop`] and with the term, or says [`Said::Ended`].
pub fn start(
    mut settings: Settings,
    hub: mpsc::UnboundedSender<FromSpoke>,
    term: &CancellationToken,
) -> Handle {
    settings.client = settings.client.guarded(settings.may_write.clone());
    let (tasks, inbox) = mpsc::unbounded_channel();
    let cancel = term.child_token();
    let handle = Handle { tasks, cancel: cancel.clone() };
    let (events, incoming) = mpsc::unbounded_channel();
    let actor = Actor {
        store: Arc::new(RwLock::new(Store::default())),
        slots: HashMap::default(),
        watches: HashMap::default(),
        lookups: HashMap::default(),
        queue: VecDeque::new(),
        fresh: VecDeque::new(),
        queued: HashSet::default(),
        agenda: Agenda::default(),
        begun: Instant::now(),
        requests: 0,
        parked: false,
        notes: Notes::default(),
        events,
        reader: settings.reader.clone(),
        nested: Nested::default(),
        schemas_serial: 0,
        patience: Patience::default(),
        changes: HashMap::default(),
        judging: cancel.child_token(),
        tracker: TaskTracker::new(),
        cancel: cancel.clone(),
        hub,
        settings,
    };
    let last_words = (actor.settings.cluster.clone(), actor.settings.epoch, actor.hub.clone());
    let span = spans::cluster(&actor.settings.cluster, actor.settings.epoch);
    let work = tokio::spawn(actor.run(inbox, incoming).instrument(span.clone()));
    tokio::spawn(supervise(work, cancel, last_words, ENDED_PAUSE).instrument(span));
    handle
}

/// An actor that ends by itself is started anew by the hub side; not faster than this.
const ENDED_PAUSE: Duration = Duration::from_secs(5);

/// Waits for the end of an actor, and says so if nobody asked for it.
async fn supervise(
    mut work: JoinHandle<()>,
    cancel: CancellationToken,
    (cluster, epoch, hub): (ClusterName, u64, mpsc::UnboundedSender<FromSpoke>),
    pause: Duration,
) {
    let ended = tokio::select! {
        biased;
        ended = &mut work => ended,
        () = cancel.cancelled() => {
            work.abort();
            return;
        }
    };
    let why = match ended {
        Ok(()) => "nobody gives it tasks any more".to_owned(),
        Err(error) => error.to_string(),
    };
    tokio::select! {
        biased;
        () = tokio::time::sleep(pause) => {}
        () = cancel.cancelled() => return,
    }
    // Its watches end too.
    cancel.cancel();
    drop(hub.send(FromSpoke { cluster, epoch, said: Said::Ended(why) }));
}

/// What watches, requests and timers tell the actor.
#[derive(Debug)]
pub(super) enum Event {
    /// With the serial of the watch: what an earlier one of the kind said late does not count.
    Watch(GroupKind, u64, Seen),
    /// The same of external references.
    Reference(Subject, u64, Seen),
    /// The answer to what was to be read once.
    Answered(Lookup, Result<Option<Stored>, String>),
    /// Where a kind is served that external references read.
    Served(crate::api::Gvk, watch::Served),
    /// A generated or foreign CRD changed on the cluster.
    Crd(watch::CrdSeen),
    Done(InstanceKey, Done),
    Crds(GroupKind, Ensured),
    /// A kind that was not served may be now.
    LookAgain(GroupKind),
    /// A definition was judged by the schemas of the cluster.
    Judged(Key, Verdict),
    /// The schemas may have changed. With the serial of the change, and whether only a definition that does not fit
    /// is to be judged again.
    Schemas(u64, bool),
    /// The same of the kinds of a group that external references read.
    LookAgainIn(Arc<str>),
    /// The objects of a kind are to be listed anew, unless its schema changed once more since: which change it was.
    Reread(GroupKind, u64),
}

struct Slot {
    machine: Option<Machine>,
    last_sent: Option<u64>,
    /// It was never stepped.
    fresh: bool,
}

impl Slot {
    fn new(machine: Machine) -> Self {
        // What is to be taken away waits for nobody.
        let fresh = matches!(machine.task().goal, Goal::Run { .. });
        Self { machine: Some(machine), last_sent: None, fresh }
    }
    /// Whether the instance is at home on this cluster.
    fn is_nested(&self) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.task().is_nested())
    }
}

struct Actor {
    settings: Settings,
    store: Arc<RwLock<Store>>,
    slots: HashMap<InstanceKey, Slot>,
    /// Ends the watch of a kind.
    watches: HashMap<GroupKind, CancellationToken>,
    /// Ends the watch of an external reference.
    lookups: HashMap<Subject, CancellationToken>,
    queue: VecDeque<InstanceKey>,
    /// Those that were never stepped: what was begun is finished first, as long as there are enough requests under way.
    fresh: VecDeque<InstanceKey>,
    queued: HashSet<InstanceKey>,
    agenda: Agenda,
    /// When the last of them was begun.
    begun: Instant,
    /// Requests of instances that are under way, or wait for their turn.
    requests: usize,
    notes: Notes,
    /// No contact: nothing is stepped until it is back.
    parked: bool,
    events: mpsc::UnboundedSender<Event>,
    reader: Reader,
    nested: Nested,
    schemas_serial: u64,
    patience: Patience,
    /// Changes of the schema of each kind.
    changes: HashMap<GroupKind, u64>,
    /// Ends judging that a newer one has overtaken.
    judging: CancellationToken,
    tracker: TaskTracker,
    cancel: CancellationToken,
    hub: mpsc::UnboundedSender<FromSpoke>,
}

/// While so many requests are under way, no further instance is begun.
const ENOUGH: usize = 64;
/// One that was never stepped is begun at least this often.
const OVERDUE: Duration = Duration::from_secs(1);
/// So many instances are stepped in one turn.
const TURN: usize = 8;
const TICK: Duration = Duration::from_secs(30);
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
    async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<ToSpoke>,
        mut incoming: mpsc::UnboundedReceiver<Event>,
    ) {
        self.watch_crds();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Before the steps: while the queue is never empty, nothing after them would ever have its turn.
            self.wake_due();
            let busy = self.has_work() && !self.parked;
            let wake = self.next_wake();
            tokio::select! {
                biased;
                message = inbox.recv() => match message {
                    Some(message) => self.on_message(message),
                    None => return,
                },
                event = incoming.recv() => if let Some(event) = event { self.on_event(event) },
                contact = self.settings.contacts.recv() => if let Some(contact) = contact { self.on_contact(contact) },
                _ = tick.tick() => {
                    self.write_store(|s| s.objects.forget_removed());
                    let changed = self.notes.changed(Instant::now().into_std());
                    changed.into_iter().for_each(|notes| self.say(Said::Notes(notes)));
                    self.retry_unserved();
                }
                () = std::future::ready(()), if busy => self.step_next().await,
                () = tokio::time::sleep(wake) => {}
            }
            let length = self.queue.len() + self.fresh.len();
            self.settings.metrics.queue_length(self.settings.cluster.as_str(), length);
        }
    }

    fn say(&self, said: Said) {
        let from = FromSpoke { cluster: self.settings.cluster.clone(), epoch: self.settings.epoch, said };
        // The hub side ends after the actors: nobody listens only while everything stops.
        drop(self.hub.send(from));
    }

    fn enqueue(&mut self, key: &InstanceKey) {
        if let Some(slot) = self.slots.get(key)
            && self.queued.insert(key.clone())
        {
            if slot.fresh { &mut self.fresh } else { &mut self.queue }.push_back(key.clone());
        }
    }

    fn has_work(&self) -> bool {
        !self.queue.is_empty() || (!self.fresh.is_empty() && (self.requests < ENOUGH || self.is_overdue()))
    }

    /// Requests that hang must not keep out what is new for ever.
    fn is_overdue(&self) -> bool {
        !self.fresh.is_empty() && self.begun.elapsed() >= OVERDUE
    }

    fn next_key(&mut self) -> Option<InstanceKey> {
        let first = if self.is_overdue() { None } else { self.queue.pop_front() };
        first.or_else(|| {
            self.begun = Instant::now();
            self.fresh.pop_front().or_else(|| self.queue.pop_front())
        })
    }

    fn on_message(&mut self, message: ToSpoke) {
        match message {
            ToSpoke::Task(task) => {
                let key = task.key.clone();
                if let (Goal::Run { graph, .. }, false) = (&task.goal, task.is_local()) {
                    self.write_store(|s| s.crds.want(&key.gk, graph.crd_hash()));
                }
                if !task.is_local()
                    && self.read_store(|s| s.kind_of(&key.gk).is_some() && !s.objects.is_generated(&key.gk))
                {
                    // So far only our children of that kind were watched; now every object there matters.
                    self.ensure_kind(&key.gk, Some(task.gvk.clone()), true);
                }
                if self.is_displaced(&task) {
                    return;
                }
                match self.slots.get_mut(&key) {
                    Some(Slot { machine: Some(machine), last_sent, .. }) => {
                        *last_sent = None;
                        machine.retarget(task);
                    }
                    _ => self.open(&key, Machine::new(task)),
                }
                self.enqueue(&key);
            }
            ToSpoke::Define(definition) => self.define(definition),
            ToSpoke::Undefine(gk) => self.undefine(&gk),
            ToSpoke::Facts(facts) => self.facts(facts),
            ToSpoke::Judge(graph, side) => {
                if let Some(key) = self.write_store(|s| s.graphs.begin(&graph, side)) {
                    self.judge(vec![(key, graph)], false);
                }
            }
            ToSpoke::Forget(key) => {
                if self.forget_displaced(&key) {
                    return;
                }
                self.close(&key);
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Judged(key, verdict) => self.on_judged(&key, verdict),
            Event::Schemas(serial, lacking) => {
                if serial == self.schemas_serial && (!lacking || self.read_store(|s| s.graphs.lacks())) {
                    self.judge_again(true);
                }
            }
            Event::Watch(gk, serial, seen) => {
                if self.read_store(|s| s.kind_of(&gk).is_some_and(|k| k.serial == serial)) {
                    self.on_seen(&gk, seen);
                }
            }
            Event::Reference(subject, serial, seen) => {
                let readers = self.write_store(|s| s.references.seen(&subject, serial, seen));
                readers.iter().for_each(|key| self.enqueue(key));
            }
            Event::Answered(lookup, answer) => {
                let readers = self.write_store(|s| s.references.answered(&lookup, answer));
                readers.iter().for_each(|key| self.enqueue(key));
            }
            Event::Served(gvk, served) => self.write_store(|s| s.references.note_served(gvk, served)),
            Event::Crd(seen) => self.on_crd(&seen),
            Event::Crds(gk, ensured) => {
                let now = self.settings.clock.now().millis;
                self.write_store(|s| s.crds.ensured(&gk, ensured, now));
                let ready = matches!(self.read_store(|s| s.crd(&gk)), CrdState::Ready { .. });
                if ready && self.read_store(|s| s.kind_state(&gk)) == KindState::Missing {
                    // It was asked for before its CRD was established.
                    self.write_store(|s| s.kind_mut(&gk).state = KindState::Unknown);
                }
                // What makes instances of the kind waits for it too.
                self.enqueue_all();
            }
            Event::LookAgain(gk) => {
                if self.read_store(|s| s.kind_state(&gk)) == KindState::Missing {
                    self.write_store(|s| s.kind_mut(&gk).state = KindState::Unknown);
                    // What makes objects of the kind waits for it too.
                    self.enqueue_all();
                }
            }
            Event::LookAgainIn(group) => {
                let reopened = self.write_store(|s| s.references.retry(Some(&group)));
                self.open_lookups(reopened);
            }
            Event::Reread(gk, change) => {
                if self.changes.get(&gk) == Some(&change) {
                    self.changes.remove(&gk);
                    self.reread(&gk);
                }
            }
            Event::Done(key, done) => {
                self.requests = self.requests.saturating_sub(1);
                let concerned = self.take_in(&done);
                let written = done.objects();
                let now = self.settings.clock.now();
                if let Some(Slot { machine: Some(machine), .. }) = self.slots.get_mut(&key) {
                    for outcome in done.outcomes {
                        machine.feed(outcome, &now);
                    }
                }
                self.enqueue(&key);
                for other in concerned {
                    self.enqueue(&other);
                }
                written.iter().for_each(|object| self.settle_home(object));
            }
        }
    }

    /// Own writes are known at once, not when the watch repeats them.
    fn take_in(&self, done: &Done) -> Vec<InstanceKey> {
        let mut concerned = Vec::new();
        for outcome in &done.outcomes {
            match outcome {
                Outcome::Applied { object, stored, .. } => {
                    concerned.extend(self.write_store(|s| s.objects.upsert(object, stored.clone())));
                }
                Outcome::Gone { object } => concerned
                    .extend(self.write_store(|s| s.objects.remove(object, done.uid.as_deref(), None))),
                _ => {}
            }
        }
        if let Some((object, stored)) = &done.seen {
            // Who made a nested instance waits for what it says.
            concerned.extend(self.write_store(|s| s.objects.upsert(object, stored.clone())));
        }
        concerned
    }

    fn on_seen(&mut self, gk: &GroupKind, seen: Seen) {
        let concerned = match seen {
            Seen::Served(resource) => {
                self.write_store(|s| s.served(gk, resource));
                Vec::new()
            }
            Seen::NotServed => {
                let misses = self.write_store(|s| s.missed(gk));
                if matches!(self.read_store(|s| s.crd(gk)), CrdState::Ready { .. }) {
                    // Its CRD is there: discovery follows in a moment.
                    let (events, gk) = (self.events.clone(), gk.clone());
                    let pause = SERVED_SOON * 2_u32.pow(misses.min(SERVED_DOUBLINGS));
                    self.spawn(async move {
                        tokio::time::sleep(pause).await;
                        drop(events.send(Event::LookAgain(gk)));
                    });
                }
                self.enqueue_all();
                Vec::new()
            }
            Seen::Failed(message) => {
                let synced = matches!(self.read_store(|s| s.kind_state(gk)), KindState::Synced { .. });
                if !synced {
                    self.write_store(|s| s.kind_mut(gk).state = KindState::Failed(message));
                    self.enqueue_all();
                }
                Vec::new()
            }
            Seen::ListStarted => {
                self.write_store(|s| s.objects.list_started(gk));
                Vec::new()
            }
            Seen::Object(object) => {
                let stored = Arc::new(Stored::new(object));
                let target = stored.object.object_ref();
                let concerned = self.write_store(|s| s.objects.show(&target, stored));
                self.settle_home(&target);
                concerned
            }
            Seen::Left(target, uid, version) => {
                let concerned = self.write_store(|s| s.objects.remove(&target, Some(&uid), Some(version)));
                self.settle_home(&target);
                concerned
            }
            Seen::ListDone { namespaced, version } => {
                let first = !matches!(self.read_store(|s| s.kind_state(gk)), KindState::Synced { .. });
                let concerned = self.write_store(|s| s.list_done(gk, namespaced, version));
                if first {
                    self.enqueue_all();
                }
                self.tell_mirrors(gk);
                self.settle_kind(gk);
                concerned
            }
        };
        for key in concerned {
            self.enqueue(&key);
        }
    }

    fn tell_mirrors(&self, gk: &GroupKind) {
        let hub_id = self.settings.hub_id.clone();
        let (generated, mirrors) =
            self.read_store(|s| (s.objects.is_generated(gk), s.objects.mirrors(gk, hub_id.as_str())));
        if generated && !self.settings.local {
            self.say(Said::Mirrors { gk: gk.clone(), mirrors });
        }
    }

    fn on_crd(&mut self, seen: &watch::CrdSeen) {
        // A kind that was not served may be served now; what failed because of a schema may work now.
        let gk = seen.gk.clone().or_else(|| self.read_store(|s| s.kind_of_crd(&seen.name)));
        let unserved = self.read_store(Store::unserved);
        for missing in unserved.into_iter().filter(|u| u.group == seen.group) {
            self.write_store(|s| s.kind_mut(&missing).state = KindState::Unknown);
        }
        self.retry_lookups(&seen.group);
        if !self.is_generated(seen) && self.use_group(&seen.group) {
            self.schemas_changed();
        }
        if let Some(gk) = gk {
            for slot in self.slots.values_mut() {
                if let Some(machine) = &mut slot.machine {
                    machine.schema_changed(&gk);
                }
            }
            self.write_store(|s| s.crds.seen(&gk, &seen.mark, seen.gone));
            self.schema_changed(&gk);
            if seen.gk.is_some() && !seen.gone && seen.ours(&self.settings.hub_id) && !self.settings.local {
                let known = self.read_store(|s| s.objects.is_generated(&gk));
                if !known {
                    self.ensure_kind(&gk, None, true);
                }
            }
        }
        self.enqueue_all();
    }

    fn on_contact(&mut self, contact: Contact) {
        match &contact {
            Contact::Throttled => self.note("throttle", &THROTTLED.into()),
            Contact::Note(topic, text) => self.note(topic, text),
            // The hub side judges it; until then nothing is sent to it anyway.
            Contact::Stranger(found) => self.say(Said::Stranger(found.to_string())),
            _ => {}
        }
        let transition = match self.settings.health.lock() {
            Ok(mut health) => health.on(contact, std::time::Instant::now()),
            Err(poisoned) => poisoned.into_inner().on(contact, std::time::Instant::now()),
        };
        let Some(transition) = transition else { return };
        let state = match transition {
            Transition::Recovered => ContactState::Ready,
            Transition::Lost(why) => ContactState::Unreachable(why),
            Transition::Unauthorized(why) => ContactState::Unauthorized(why),
        };
        self.parked = state != ContactState::Ready;
        if !self.parked {
            for slot in self.slots.values_mut() {
                if let Some(machine) = &mut slot.machine {
                    machine.reconnected();
                }
            }
            self.enqueue_all();
            self.schemas_changed();
        }
        self.say(Said::Contact(state));
    }

    fn note(&mut self, topic: &'static str, text: &Arc<str>) {
        let changed = self.notes.take(topic, text, Instant::now().into_std());
        changed.into_iter().for_each(|notes| self.say(Said::Notes(notes)));
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

    fn next_wake(&self) -> Duration {
        let now = self.settings.clock.now().millis;
        self.agenda.next().map_or(TICK, |at| Duration::from_millis(at.saturating_sub(now).max(1)))
    }

    fn wake_due(&mut self) {
        for key in self.agenda.due(self.settings.clock.now().millis) {
            self.enqueue(&key);
        }
    }

    /// Kinds of aggregated APIs come and go without a CRD event.
    fn retry_unserved(&mut self) {
        self.judge_unfit();
        let reopened = self.write_store(|s| s.references.retry(None));
        self.open_lookups(reopened);
        let unserved = self.read_store(Store::unserved);
        if unserved.is_empty() || self.slots.is_empty() {
            return;
        }
        for gk in &unserved {
            self.write_store(|s| s.kind_mut(gk).state = KindState::Unknown);
        }
        self.enqueue_all();
    }

    /// Steps the next instances in one turn of the pool: to hand each over alone would cost more than most steps do.
    async fn step_next(&mut self) {
        let mut machines = Vec::new();
        while machines.len() < TURN && self.has_work() {
            let Some(key) = self.next_key() else { break };
            self.queued.remove(&key);
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            slot.fresh = false;
            machines.extend(slot.machine.take().map(|machine| (key, machine.task().clone(), machine)));
        }
        let tasks: Vec<(InstanceKey, Arc<Task>)> =
            machines.iter().map(|(key, task, _)| (key.clone(), task.clone())).collect();
        let (store, now) = (self.store.clone(), self.settings.clock.now());
        let (metrics, cluster) = (self.settings.metrics.clone(), self.settings.cluster.clone());
        let span = Span::current();
        let turn = move || {
            let _in = span.entered();
            let store = store.read().unwrap_or_else(PoisonError::into_inner);
            let step = |(key, task, machine): (InstanceKey, Arc<Task>, Machine)| {
                let _of = spans::instance(&key).entered();
                let started = Instant::now();
                let stepped = guarded(machine, &store, &now);
                metrics.reconcile_seconds(cluster.as_str(), started.elapsed());
                (key, task, stepped)
            };
            machines.into_iter().map(step).collect::<Vec<_>>()
        };
        match self.settings.pool.run(turn).await {
            Some(all) => {
                for (key, task, stepped) in all {
                    match stepped {
                        Some((machine, step)) => self.after_step(&key, &task, machine, step),
                        None => self.after_crash(key, task),
                    }
                }
            }
            None => tasks.into_iter().for_each(|(key, task)| self.after_crash(key, task)),
        }
    }

    fn after_crash(&mut self, key: InstanceKey, task: Arc<Task>) {
        tracing::error!(instance = %key, "a step panicked; starting it afresh");
        let now = self.settings.clock.now();
        let Some(slot) = self.slots.get_mut(&key) else { return };
        self.agenda.set(&key, Some(now.millis + 60_000));
        let report = fallback_report::crashed(&task, &now);
        slot.last_sent = Some(report_fingerprint(&report));
        slot.machine = Some(Machine::new(task.clone()));
        if !task.is_nested() {
            self.say(Said::Report { key, report: Box::new(report) });
        }
    }

    fn after_step(&mut self, key: &InstanceKey, task: &Arc<Task>, machine: Machine, step: Step) {
        let now = self.settings.clock.now().millis;
        if step.gone && task.is_nested() {
            self.drop_nested(key);
            return;
        }
        if step.gone && matches!(task.goal, Goal::Remove { .. }) {
            self.close(key);
            self.say(Said::Gone { key: key.clone(), hub_uid: task.hub_uid.clone() });
            return;
        }
        if let Some(slot) = self.slots.get_mut(key) {
            slot.machine = Some(machine);
            // Not at once: whatever wants to be stepped without end leaves room for the rest.
            self.agenda.set(key, step.wake_at.map(|at| at.max(now + 1)));
            if let Some(report) = step.report.filter(|_| !task.is_nested()) {
                let print = report_fingerprint(&report);
                if slot.last_sent != Some(print) {
                    slot.last_sent = Some(print);
                    self.say(Said::Report { key: key.clone(), report: Box::new(report) });
                }
            }
        }
        if self.slots.contains_key(key) {
            self.read_lookups(key, &step.reads);
        }
        // It may know by now what it made here.
        self.settle_made_by(key);
        for action in step.actions {
            self.act(key, task, action);
        }
    }

    fn act(&mut self, key: &InstanceKey, task: &Arc<Task>, action: Action) {
        match action {
            Action::EnsureKind(gk, gvk) => {
                let generated = gk == task.key.gk || self.read_store(|s| s.definitions.contains_key(&gk));
                let generated = generated && !self.settings.local;
                self.ensure_kind(&gk, gvk, generated);
            }
            Action::EnsureGraph(graph, side) => {
                if let Some(key) = self.write_store(|s| s.graphs.begin(&graph, side)) {
                    self.judge(vec![(key, graph)], false);
                }
            }
            Action::EnsureCrd { graph, allow_breaking } => {
                let gk = graph.gvk.group_kind();
                let wish = CrdWish { hash: graph.crd_hash(), allow_breaking };
                let begun = self.write_store(|s| s.crds.begin(&gk, Object(graph.crd.clone()).name(), &wish));
                if !begun {
                    // Another instance asked for it in the same turn.
                    return;
                }
                let (client, hub_id, events) =
                    (self.settings.client.clone(), self.settings.hub_id.clone(), self.events.clone());
                self.spawn(async move {
                    let ensured = crd::ensure(&client, &graph, &hub_id, allow_breaking).await;
                    drop(events.send(Event::Crds(gk, ensured)));
                });
            }
            action => {
                if let Action::Apply(apply) = &action {
                    self.write_store(|s| s.objects.note_wanted(&apply.object, key));
                }
                let gk = perform::target(&action).unwrap_or(&key.gk);
                let resource = self.read_store(|s| s.resource(gk).cloned());
                let (client, events, key) = (self.settings.client.clone(), self.events.clone(), key.clone());
                let task = task.clone();
                self.requests += 1;
                let span = spans::instance(&key);
                let work = async move {
                    let done = perform::perform(&client, &task, action, resource).await;
                    drop(events.send(Event::Done(key, done)));
                };
                self.spawn(work.instrument(span));
            }
        }
    }

    fn ensure_kind(&mut self, gk: &GroupKind, gvk: Option<crate::api::Gvk>, generated: bool) {
        if let Some(open) = self.write_store(|s| s.open(gk, generated)) {
            self.watch_kind(gk, gvk, &open);
        }
    }

    fn watch_kind(&mut self, gk: &GroupKind, gvk: Option<crate::api::Gvk>, open: &Open) {
        let stop = self.cancel.child_token();
        if let Some(before) = self.watches.insert(gk.clone(), stop.clone()) {
            before.cancel();
        }
        let selector = if open.everything {
            None
        } else if self.settings.local {
            Some(format!("{}=true", crate::api::keys::kro::OWNED))
        } else {
            Some(format!("{}={}", crate::api::keys::hub::HUB_ID, self.settings.hub_id))
        };
        let (client, events, gk) = (self.settings.client.clone(), self.events.clone(), gk.clone());
        self.spawn_watch(stop, watch::kind(client, gk, gvk, selector, open.serial, events));
    }

    fn watch_crds(&mut self) {
        let (client, events) = (self.settings.client.clone(), self.events.clone());
        self.spawn(async move {
            let told = |seen| events.send(Event::Crd(seen)).is_ok();
            watch::crds(&client, told).await;
        });
    }

    /// Runs beside the actor and ends with it.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        let work = async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = work => {}
            }
        };
        self.tracker.spawn(work.in_current_span());
    }

    fn write_store<T>(&self, f: impl FnOnce(&mut Store) -> T) -> T {
        match self.store.write() {
            Ok(mut store) => f(&mut store),
            Err(poisoned) => f(&mut poisoned.into_inner()),
        }
    }
    fn read_store<T>(&self, f: impl FnOnce(&Store) -> T) -> T {
        match self.store.read() {
            Ok(store) => f(&store),
            Err(poisoned) => f(&poisoned.into_inner()),
        }
    }
}

/// A panic ends the step of one instance; those of the same turn go on.
fn guarded(mut machine: Machine, store: &Store, now: &Now) -> Option<(Machine, Step)> {
    let stepped = catch_unwind(AssertUnwindSafe(move || {
        let step = machine.step(store, now);
        (machine, step)
    }));
    stepped.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ended(work: JoinHandle<()>) -> Option<String> {
        let (hub, mut heard) = mpsc::unbounded_channel();
        supervise(work, CancellationToken::new(), (ClusterName::new("c"), 7, hub), Duration::ZERO).await;
        match heard.recv().await?.said {
            Said::Ended(why) => Some(why),
            _ => None,
        }
    }

    #[tokio::test]
    async fn an_actor_that_panicked_says_that_it_ended() {
        let why = ended(tokio::spawn(async { panic!("boom") })).await;
        assert!(why.is_some_and(|w| w.contains("panicked")));
    }

    #[tokio::test]
    async fn an_actor_that_was_stopped_says_nothing() {
        let (hub, mut heard) = mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        cancel.cancel();
        let work = tokio::spawn(std::future::pending());
        supervise(work, cancel, (ClusterName::new("c"), 7, hub), Duration::ZERO).await;
        assert!(heard.recv().await.is_none());
    }
}
