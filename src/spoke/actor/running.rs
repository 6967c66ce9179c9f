//! What drives an [`Actor`]: one task that hears messages, events and the clock in turn, and sees to it that what the actor
//! wants is done beside it.

use super::performing::Beside;
use super::{Actor, Event, TICK};
use crate::api::names::{ClusterName, HubId};
use crate::metrics::Metrics;
use crate::reconcile::Moment;
use crate::reconcile::bounds::Bounds;
use crate::spoke::backlog::Backlog;
use crate::spoke::client::{MayWrite, SpokeClient};
use crate::spoke::health::{Contact, Health};
use crate::spoke::host::Clock;
use crate::spoke::messages::{FromSpoke, Said, ToSpoke};
use crate::spoke::notes::Notes;
use crate::spoke::pool::Pool;
use crate::spoke::schemas::Reader;
use crate::spoke::share::{Clusters, Member};
use crate::spoke::spans;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

/// What an actor is made of.
pub struct Settings {
    pub cluster: ClusterName,
    pub epoch: u64,
    pub local: bool,
    /// Where resources may be written, until the hub side says otherwise.
    pub bounds: Arc<Bounds>,
    pub hub_id: HubId,
    pub client: SpokeClient,
    pub health: Arc<Mutex<Health>>,
    pub contacts: mpsc::UnboundedReceiver<Contact>,
    pub pool: Pool,
    /// All clusters that are talked to.
    pub clusters: Clusters,
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
    // Bounded by construction: the hub side says a thing once for each step of an instance, and each replaces the one before.
    let (tasks, inbox) = mpsc::unbounded_channel();
    let cancel = term.child_token();
    let handle = Handle { tasks, cancel: cancel.clone() };
    // The same: one event for each object that a watch shows, which the store keeps in any case, and one for each request that
    // is under way. The actor takes all of them before its next turn. What waits all the same is measured.
    let (events, incoming) = mpsc::unbounded_channel();
    let last_words = (settings.cluster.clone(), settings.epoch, hub.clone());
    let span = spans::cluster(&settings.cluster, settings.epoch);
    let running = Running {
        actor: Actor::new(
            settings.hub_id.clone(),
            settings.local,
            settings.bounds.clone(),
            settings.clock.now(),
        ),
        beside: Beside::new(&settings, events, cancel.clone()),
        notes: Notes::default(),
        member: settings.clusters.join(),
        hub,
        settings,
    };
    let work = tokio::spawn(running.run(inbox, incoming).instrument(span.clone()));
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

/// Why an actor's task goes on.
enum Heard {
    Message(ToSpoke),
    Event(Box<Event>),
    Contact(Contact),
    Tick,
    /// Instances may be stepped.
    Turn,
    /// The time of some instance has come.
    Nothing,
}

/// The task that owns an actor.
pub(super) struct Running {
    pub(super) actor: Actor,
    pub(super) settings: Settings,
    pub(super) notes: Notes,
    beside: Beside,
    member: Member,
    hub: mpsc::UnboundedSender<FromSpoke>,
}

impl Running {
    async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<ToSpoke>,
        mut incoming: mpsc::UnboundedReceiver<Box<Event>>,
    ) {
        tokio::time::sleep(self.settings.clusters.wait_to_begin(Instant::now())).await;
        self.beside.watch_crds();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut of_hub, mut of_events) = (Backlog::default(), Backlog::default());
        loop {
            // Before the steps: while the queue is never empty, nothing after them would ever have its turn.
            let now = self.settings.clock.now();
            let at = now.at;
            self.actor.at(now);
            self.actor.begin_until(self.member.share());
            let (busy, wake) = (self.actor.is_busy(), self.wake(at));
            let heard = tokio::select! {
                biased;
                message = inbox.recv() => match message {
                    Some(message) => Heard::Message(message),
                    None => return,
                },
                Some(event) = incoming.recv() => Heard::Event(event),
                Some(contact) = self.settings.contacts.recv() => Heard::Contact(contact),
                _ = tick.tick() => Heard::Tick,
                () = std::future::ready(()), if busy => Heard::Turn,
                () = tokio::time::sleep(wake) => Heard::Nothing,
            };
            let begin = Instant::now();
            match heard {
                Heard::Message(message) => {
                    self.waited(of_hub.taken(begin));
                    self.now().on_message(message);
                }
                Heard::Event(event) => {
                    self.waited(of_events.taken(begin));
                    self.now().on_event(*event);
                }
                Heard::Contact(contact) => self.on_contact(contact),
                Heard::Tick => {
                    let changed = self.notes.changed(begin.into_std());
                    changed.into_iter().for_each(|notes| self.say(Said::Notes(notes)));
                    self.now().tick();
                    // Said again for as long as it lasts.
                    for text in self.actor.blind() {
                        self.note("blind", &format!("what changes is not seen: {text}").into());
                    }
                }
                Heard::Turn => self.take_turn().await,
                Heard::Nothing => {}
            }
            self.do_what_it_wants();
            of_hub.stands(inbox.len(), begin);
            of_events.stands(incoming.len(), begin);
            let (metrics, cluster) = (&self.settings.metrics, self.settings.cluster.as_str());
            metrics.queue_length(cluster, self.actor.queue_length());
            metrics.events_waiting(cluster, inbox.len() + incoming.len());
        }
    }

    fn waited(&self, lag: Option<Duration>) {
        if let Some(lag) = lag {
            self.settings.metrics.event_lag(self.settings.cluster.as_str(), lag);
        }
    }

    /// The actor, told what time it is.
    pub(super) fn now(&mut self) -> &mut Actor {
        self.actor.at(self.settings.clock.now());
        &mut self.actor
    }

    /// How long nothing has to be looked at by itself.
    fn wake(&self, now: Moment) -> Duration {
        self.actor.next_wake().map_or(TICK, |at| at.since(now).max(Duration::from_millis(1)))
    }

    fn do_what_it_wants(&mut self) {
        for effect in self.actor.take_effects() {
            if let Some(said) = self.beside.begin(effect) {
                self.say(said);
            }
        }
    }

    pub(super) fn say(&self, said: Said) {
        let from = FromSpoke { cluster: self.settings.cluster.clone(), epoch: self.settings.epoch, said };
        // The hub side ends after the actors: nobody listens only while everything stops.
        drop(self.hub.send(from));
    }

    async fn take_turn(&mut self) {
        let turn = self.now().begin_turn();
        let lost = turn.lost();
        let (metrics, cluster) = (self.settings.metrics.clone(), self.settings.cluster.clone());
        let span = Span::current();
        let steps = move || {
            let _in = span.entered();
            turn.run(|took| metrics.reconcile_seconds(cluster.as_str(), took))
        };
        let stepped = self.settings.pool.run(steps).await.unwrap_or(lost);
        self.now().end_turn(stepped);
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
