//! The one task that owns the hub side's state: hears events, hands them to the part they concern, steps instances.

use super::clusters::{self, Clusters};
use super::context::Context;
use super::debounce::Debounce;
use super::definitions::{self, Definitions};
use super::identity::ClusterInfo;
use super::instances::Instances;
use super::instances::beside::Beside;
use super::{Event, Watched};
use crate::reconcile::Moment;
use crate::reconcile::spoke::Side;
use crate::spoke::backlog::Backlog;
use crate::spoke::messages::{FromSpoke, Said};
use crate::spoke::spans;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::Span;

pub(super) struct Hub {
    ctx: Context,
    clusters: Clusters,
    definitions: Definitions,
    instances: Instances,
    beside: Beside,
    /// Set once everything was seen.
    ready: Arc<AtomicBool>,
    /// Something changed that deregistration, deletion or counts depend on.
    settle: Debounce,
}

/// What the hub's task does in one turn.
enum Turn {
    Event(Event),
    Spoke(FromSpoke),
    Step,
    Pause,
}

const IDLE: Duration = Duration::from_secs(30);

impl Hub {
    pub fn new(
        ctx: Context,
        info: ClusterInfo,
        from_spokes: mpsc::UnboundedSender<FromSpoke>,
        ready: Arc<AtomicBool>,
    ) -> Self {
        let clusters = Clusters::new(&ctx, info, from_spokes);
        let definitions = Definitions::new(&ctx);
        let instances = Instances::new(ctx.hub_id.clone(), ctx.settings.default_placement);
        Self {
            ctx,
            clusters,
            definitions,
            instances,
            beside: Beside::default(),
            ready,
            settle: Debounce::default(),
        }
    }

    /// Runs until the context is cancelled.
    pub async fn run(
        mut self,
        mut events: mpsc::UnboundedReceiver<Event>,
        mut spokes: mpsc::UnboundedReceiver<FromSpoke>,
    ) {
        let cancel = self.ctx.cancel.clone();
        let (mut of_hub, mut of_spokes) = (Backlog::default(), Backlog::default());
        loop {
            let now = self.ctx.clock.now().at;
            // Before the queue: that may never be empty.
            if self.clusters.next_wake().is_some_and(|at| at <= now) {
                let effects = self.clusters.wake_due(&self.ctx);
                self.on_clusters(effects);
            }
            if self.definitions.next_wake().is_some_and(|at| at <= now) {
                self.definitions.wake_due(&self.ctx);
            }
            let next = self.instances.next_wake();
            if next.is_some_and(|at| at <= now) {
                self.instances.wake_due(now);
            }
            let work = self.instances.has_work(now);
            let busy = self.may_step() && work;
            let others = self.clusters.next_wake().into_iter().chain(self.definitions.next_wake());
            let next = next.filter(|at| *at > now).into_iter().chain(others).min();
            let wake = wake_in(now, next, self.settle.due(work));
            let turn = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                Some(event) = events.recv() => Turn::Event(event),
                Some(from) = spokes.recv() => Turn::Spoke(from),
                () = std::future::ready(()), if busy => Turn::Step,
                () = tokio::time::sleep(wake) => Turn::Pause,
            };
            let begin = Instant::now();
            match turn {
                Turn::Event(event) => {
                    self.waited(of_hub.taken(begin));
                    self.on(event);
                }
                Turn::Spoke(from) => {
                    self.waited(of_spokes.taken(begin));
                    self.on(Event::Spoke(from));
                }
                Turn::Step => {
                    let now = self.ctx.clock.now();
                    self.instances(|i| i.step_next(&now));
                }
                Turn::Pause => {}
            }
            let now = self.ctx.clock.now().at;
            if self.settle.take(now, self.instances.has_work(now)) {
                self.settle();
            }
            self.ctx.metrics.queue_length("hub", self.instances.queue_length());
            of_hub.stands(events.len(), begin);
            of_spokes.stands(spokes.len(), begin);
            self.ctx.metrics.events_waiting("hub", events.len() + spokes.len());
        }
    }

    fn waited(&self, lag: Option<Duration>) {
        if let Some(lag) = lag {
            self.ctx.metrics.event_lag("hub", lag);
        }
    }

    /// Decisions need the complete picture: all clusters, all Secrets, all definitions. No instance waits for the
    /// definition of another: its kind is watched only once its own was compiled.
    fn may_step(&mut self) -> bool {
        let synced = self.clusters.is_synced() && self.definitions.is_synced();
        if synced && !self.ready.load(Ordering::Acquire) && self.definitions.are_compiled() {
            self.ready.store(true, Ordering::Release);
        }
        synced
    }

    fn on(&mut self, event: Event) {
        let _in = span_of(&event).map(Span::entered);
        match event {
            Event::Seen(Watched::Secrets(namespace), listed) => {
                let effects = self.clusters.seen_secret(&self.ctx, &namespace, listed);
                self.on_clusters(effects);
            }
            Event::Seen(Watched::Clusters, listed) => {
                let effects = self.clusters.seen_cluster(&self.ctx, listed);
                self.on_clusters(effects);
            }
            Event::Seen(Watched::Definitions, listed) => {
                let effects = self.definitions.seen(&self.ctx, listed);
                self.on_definitions(effects);
            }
            Event::Seen(Watched::Revisions, listed) => {
                let effects = self.definitions.seen_revision(&self.ctx, listed);
                self.on_definitions(effects);
            }
            Event::Seen(Watched::Crds, listed) => {
                let effects = self.definitions.seen_crd(&self.ctx, listed);
                self.on_definitions(effects);
            }
            Event::Seen(Watched::Instances(gk), listed) => {
                self.instances(|i| i.seen(&gk, listed));
                self.definitions.instances_changed(&self.ctx, &gk);
                self.look_after_itself();
                self.settle.want(self.ctx.clock.now().at);
            }
            Event::Reread(gk, crd_hash) => self.instances(|i| i.reread(&gk, &crd_hash)),
            Event::Spoke(from) => self.on_spoke(from),
            Event::Connect(name, epoch, progress) => {
                let effects = self.clusters.progress(&self.ctx, &name, epoch, progress);
                self.on_clusters(effects);
            }
            Event::ClusterWritten(name, part, result) => {
                let effects = self.clusters.written(&self.ctx, &name, part, result);
                self.on_clusters(effects);
            }
            Event::Registered(secret, result) => {
                let effects = self.clusters.registered(&self.ctx, &secret, result);
                self.on_clusters(effects);
            }
            Event::CrdOfGroup { group, first } => self.definitions.group_changed(&self.ctx, &group, first),
            Event::Definition { name, uid, outcome } => {
                let effects = self.definitions.outcome(&self.ctx, &name, &uid, outcome);
                self.on_definitions(effects);
            }
            Event::Instance(key, uid, outcome) => {
                let now = self.ctx.clock.now();
                if let Some((cluster, left)) = self.instances(|i| i.outcome(&key, &uid, outcome, &now)) {
                    self.clusters.left_recorded(&self.ctx, &cluster, left);
                }
                self.settle.want(self.ctx.clock.now().at);
            }
            Event::LeftForgotten(name, uid, true) => self.clusters.left_forgotten(&self.ctx, &name, &uid),
            Event::LeftForgotten(_, _, false) => {}
        }
    }

    fn on_spoke(&mut self, from: FromSpoke) {
        let FromSpoke { cluster, epoch, said } = from;
        if !self.clusters.is_current(&cluster, epoch) {
            return;
        }
        match said {
            Said::Contact(state) => {
                let effects = self.clusters.contact(&self.ctx, &cluster, state);
                self.on_clusters(effects);
            }
            Said::Stranger(found) => {
                let effects = self.clusters.stranger(&self.ctx, &cluster, &found);
                self.on_clusters(effects);
            }
            Said::Notes(notes) => self.clusters.noted(&self.ctx, &cluster, notes),
            Said::Ended(why) => {
                let effects = self.clusters.ended(&self.ctx, &cluster, &why);
                self.on_clusters(effects);
            }
            Said::Judged { rgd, hash, side, fits } => {
                if side != Side::Hub {
                    let verdict = definitions::Verdict { hash, fits };
                    self.definitions.judged(&self.ctx, &cluster, &rgd, verdict);
                }
            }
            said => self.instances(|i| i.said(&cluster, said)),
        }
    }

    fn on_clusters(&mut self, mut effects: Vec<clusters::Effect>) {
        effects.extend(self.clusters.serve_itself(&self.ctx, self.instances.need_hub()));
        for effect in &effects {
            if let clusters::Effect::Connected(name, _) = effect {
                // All are known before any is judged: one may make instances of another.
                for serving in self.definitions.serving() {
                    self.clusters.define(Some(name), &serving.graph, serving.allow_breaking);
                }
                for serving in self.definitions.serving() {
                    self.clusters.judge(Some(name), &serving.graph);
                }
            }
        }
        self.settle.want(self.ctx.clock.now().at);
        self.tell_instances(effects);
        if self.clusters.is_synced() {
            let column = self.clusters.any_spoke();
            self.definitions.set_clusters_column(&self.ctx, column);
            self.definitions.clusters_are(&self.ctx, &self.clusters.names());
        }
    }

    fn on_definitions(&mut self, effects: Vec<definitions::Effect>) {
        self.settle.want(self.ctx.clock.now().at);
        for effect in effects {
            if let definitions::Effect::Serve { graph, allow_breaking } = &effect {
                self.clusters.define(None, graph, *allow_breaking);
                self.clusters.judge(None, graph);
            }
            self.instances(|i| i.serve(effect));
        }
        self.look_after_itself();
    }

    /// Something for the instances; what they want done is begun at once.
    fn instances<T>(&mut self, tell: impl FnOnce(&mut Instances) -> T) -> T {
        let told = tell(&mut self.instances);
        for effect in self.instances.take_effects() {
            self.beside.begin(&self.ctx, &self.clusters, effect);
        }
        told
    }

    /// What became of clusters, for the instances.
    fn tell_instances(&mut self, effects: Vec<clusters::Effect>) {
        if effects.is_empty() {
            return;
        }
        let states = self.clusters.states();
        self.instances(|i| i.clusters_changed(states));
        for effect in effects {
            match effect {
                clusters::Effect::Changed => {}
                clusters::Effect::Connected(name, left) => self.instances(|i| i.connected(&name, left)),
                clusters::Effect::Returned(name, left) => self.instances(|i| i.returned(&name, left)),
            }
        }
    }

    /// Before an instance is looked at, it is known who acts on the hub.
    fn look_after_itself(&mut self) {
        let effects = self.clusters.serve_itself(&self.ctx, self.instances.need_hub());
        self.tell_instances(effects);
    }

    /// What may end now: Clusters that nothing is held on, definitions that have no instances.
    fn settle(&mut self) {
        if !self.may_step() {
            return;
        }
        let all_watched = self.definitions.all_watched();
        self.instances(|i| i.judge_leftovers(all_watched));
        let all_seen = all_watched && self.instances.are_synced();
        for name in self.clusters.leaving() {
            if all_seen && !self.instances.holds_any(&name) {
                self.clusters.release(&self.ctx, &name);
            }
        }
        for (name, gk) in self.definitions.leaving() {
            let names = self.instances.names(&gk);
            self.definitions.settle_deletion(&self.ctx, &name, names);
        }
        if all_seen {
            self.clusters.count(&self.ctx, &self.instances.counts());
        }
    }
}

/// What an event is about.
fn span_of(event: &Event) -> Option<Span> {
    Some(match event {
        Event::Spoke(from) => spans::cluster(&from.cluster, from.epoch),
        Event::Connect(name, epoch, _) => spans::cluster(name, *epoch),
        Event::Definition { name, .. } => spans::definition(name),
        Event::Instance(key, ..) => spans::instance(key),
        _ => return None,
    })
}

/// How long nothing has to be done by itself.
fn wake_in(now: Moment, instances: Option<Moment>, settle: Option<Moment>) -> Duration {
    let next = instances.into_iter().chain(settle).min();
    next.map_or(IDLE, |at| at.since(now).max(Duration::from_millis(1)))
}
