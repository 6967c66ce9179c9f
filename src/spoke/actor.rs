//! One cluster's actor: its client, its watches, its queue of instances, its steps.
//!
//! Nothing here is shared with another cluster but the pool of step threads, where each cluster has at most one step at
//! a time. All state is owned by one task; watches and requests run beside it and send what they saw.

mod acting;
mod contact;
mod hearing;
mod judging;
mod lookups;
mod nested;
mod rereading;
mod stepping;

use super::agenda::Agenda;
use super::client::{MayWrite, SpokeClient};
use super::crd::Ensured;
use super::health::{Contact, Health};
use super::host::Clock;
use super::messages::{FromSpoke, Said, ToSpoke};
use super::notes::Notes;
use super::perform::Done;
use super::pool::Pool;
use super::references::Subject;
use super::schemas::{Key, Reader, Verdict};
use super::spans;
use super::store::Store;
use super::watch::{self, Seen};
use crate::api::maps::{HashMap, HashSet};
use crate::api::names::{ClusterName, GroupKind, HubId, InstanceKey};
use crate::metrics::Metrics;
use crate::reconcile::spoke::{Goal, Machine};
use crate::reconcile::world::{KindState, Lookup, Stored};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

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
