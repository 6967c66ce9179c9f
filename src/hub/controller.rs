//! The one task that owns the hub side's state: hears events, hands them to the part they concern, steps instances.

use super::clusters::left_behind::Recorded;
use super::clusters::{self, Clusters, Counts};
use super::context::Context;
use super::debounce::Debounce;
use super::definitions::{self, Definitions};
use super::identity::ClusterInfo;
use super::instances::beside::Beside;
use super::instances::{self, Instances, Unwatched};
use super::placements::Placements;
use super::{Event, Watched, resources};
use crate::api::keys::hub;
use crate::api::names::{ClusterName, GroupKind};
use crate::graph::Graph;
use crate::reconcile::Moment;
use crate::reconcile::fleet::rollout::QUIET;
use crate::reconcile::spoke::Side;
use crate::spoke::backlog::Backlog;
use crate::spoke::messages::{FromSpoke, Said};
use crate::spoke::spans;
use crate::spoke::watch::{Listed, Scope};
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
    placements: Placements,
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
        let placements = Placements::new(&ctx);
        ctx.watch(Watched::Reports, resources::reports(), Scope::default(), ctx.cancel.clone());
        let mut instances = Instances::new(ctx.hub_id.clone(), ctx.settings.default_placement);
        instances.lives_in(&ctx.settings.namespace);
        // What an earlier life sent may land until then.
        if !ctx.is_first {
            instances.quiet_until(ctx.clock.now().at.after(QUIET));
        }
        let versions = Scope { selector: Some(hub::VERSION_OF.to_owned()), ..Scope::default() };
        ctx.watch(Watched::Versions, resources::controller_revisions(), versions, ctx.cancel.clone());
        let approvals = resources::rollout_approvals();
        ctx.watch(Watched::Approvals, approvals, Scope::default(), ctx.cancel.clone());
        Self {
            ctx,
            clusters,
            definitions,
            placements,
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
            self.place();
            let next = self.instances(|i| i.wake_due(now));
            let work = self.instances.has_work(now);
            let busy = self.may_step() && work;
            self.tell_placements();
            self.tell_revisions();
            self.tell_approvals();
            let others = self.clusters.next_wake().into_iter().chain(self.definitions.next_wake());
            let told = [
                self.placements.due(),
                self.definitions.looks_at_uses(),
                self.instances.judges_approvals_at(),
            ];
            let others = others.chain(told.into_iter().flatten().filter(|at| *at > now));
            let next = next.into_iter().chain(others).min();
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
                    let awaited =
                        self.instances(|i| i.step_next(&now).is_some_and(|key| i.was_awaited(&key)));
                    if awaited {
                        self.settle.want(now.at);
                    }
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
        let synced =
            self.clusters.is_synced() && self.definitions.is_synced() && self.placements.are_decided();
        let synced = synced && self.instances.knows_reports() && self.instances.rollouts_are_synced();
        if synced && !self.ready.load(Ordering::Acquire) && self.definitions.are_compiled() {
            self.ready.store(true, Ordering::Release);
        }
        synced
    }

    /// What Placements mean. The clusters are complete before any is judged by them.
    fn place(&mut self) {
        if self.clusters.is_synced() {
            let now = self.ctx.clock.now().at;
            self.placements.decide_if_due(&self.clusters, &mut self.instances, now);
        }
    }

    /// What the status of Placements says.
    fn tell_placements(&mut self) {
        for gk in self.instances.take_counted() {
            self.placements.count_anew(&gk);
        }
        let now = self.ctx.clock.now().at;
        if self.ready.load(Ordering::Acquire) && self.placements.due().is_some_and(|at| at <= now) {
            self.placements.tell(&self.ctx, &self.instances);
        }
    }

    /// What definitions say of their revisions.
    fn tell_revisions(&mut self) {
        self.definitions.reused(self.instances.take_reused());
        if !self.ready.load(Ordering::Acquire) {
            return;
        }
        for gk in self.definitions.take_due_uses(self.ctx.clock.now().at) {
            let in_use = self.instances(|i| i.revisions_in_use(&gk));
            self.definitions.in_use(&self.ctx, &gk, in_use);
        }
    }

    /// What is said of approvals that count for nothing.
    fn tell_approvals(&mut self) {
        if self.ready.load(Ordering::Acquire) {
            for (object, why) in self.instances.judge_approvals(self.ctx.clock.now().at) {
                self.ctx.publish(&object, true, "NothingToApprove", why);
            }
        }
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
                for gk in self.instances.moved_kinds() {
                    self.instances.know_revisions(&gk, self.definitions.numbers(&gk));
                }
            }
            Event::Seen(watched @ (Watched::Placements | Watched::ClusterPlacements), listed) => {
                self.placements.seen(&watched, listed, self.ctx.clock.now().at);
            }
            Event::PlacementWritten(name, result) => {
                self.placements.written(&name, result, self.ctx.clock.now().at);
            }
            Event::Seen(Watched::Crds, listed) => {
                let effects = self.definitions.seen_crd(&self.ctx, listed);
                self.on_definitions(effects);
            }
            Event::Unseen(watched, why) => self.on_unseen(&watched, Some(why)),
            Event::Seen(Watched::Instances(gk), listed) => self.on_instances(gk, listed),
            Event::Seen(Watched::Reports, listed) => self.instances(|i| i.seen_report(listed)),
            Event::Seen(Watched::Versions, listed) => self.instances(|i| i.seen_version(listed)),
            Event::Seen(Watched::Approvals, listed) => {
                let now = self.ctx.clock.now().at;
                self.instances(|i| i.seen_approval(listed, now));
            }
            Event::Reread(gk, crd_hash) => self.instances(|i| i.reread(&gk, &crd_hash)),
            Event::KindVersion(gk, result) => {
                let now = self.ctx.clock.now();
                self.instances(|i| i.kind_version_written(&gk, result, &now));
            }
            Event::Former { gk, hash, made } => self.know_former(&gk, &hash, made),
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
            Event::LeftForgotten(name, uid) => self.clusters.left_forgotten(&self.ctx, &name, &uid),
            Event::LeftRead(name, left) => {
                self.clusters.left_recorded(&self.ctx, &name, Recorded::All(left));
            }
        }
    }

    fn know_former(&mut self, gk: &GroupKind, hash: &str, made: Result<Arc<Graph>, String>) {
        let now = self.ctx.clock.now().at;
        self.definitions.former_compiled(gk, hash, made.as_ref().map_err(String::as_str), now);
        self.instances(|i| i.know_former(gk, hash, made));
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
            said => {
                // What waits for that one may be judged, or something else is to be listed.
                if matches!(said, Said::Gone { .. } | Said::Mirrors { .. }) {
                    self.settle.want(self.ctx.clock.now().at);
                }
                self.instances(|i| i.said(&cluster, said));
            }
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
            if let definitions::Effect::Serve { graph, allow_breaking, .. } = &effect {
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
            match effect {
                instances::Effect::Number(gk) => {
                    self.instances.know_revisions(&gk, self.definitions.numbers(&gk));
                }
                instances::Effect::Need(gk, hash) => {
                    if let Some(why) = self.definitions.need(&self.ctx, &gk, &hash) {
                        self.instances.know_former(&gk, &hash, Err(why));
                    }
                }
                effect => self.beside.begin(&self.ctx, &self.clusters, effect),
            }
        }
        told
    }

    /// What became of clusters, for the instances.
    fn tell_instances(&mut self, effects: Vec<clusters::Effect>) {
        if effects.is_empty() {
            return;
        }
        self.placements.clusters_changed(self.ctx.clock.now().at);
        for effect in &effects {
            let name = effect.cluster();
            match self.clusters.state(name).filter(|_| !self.instances.know_as_hub(name)) {
                Some(state) => self.instances(|i| i.cluster_changed(name, state)),
                None => self.look_at_clusters(),
            }
        }
        for effect in effects {
            match effect {
                clusters::Effect::Changed(_) => {}
                clusters::Effect::Connected(name, left) => self.instances(|i| i.connected(&name, left)),
                clusters::Effect::Returned(name, left) => self.instances(|i| i.returned(&name, left)),
            }
        }
    }

    /// Which cluster stands for the hub, and which does no more, is seen from all of them.
    fn look_at_clusters(&mut self) {
        let states = self.clusters.states();
        self.instances(|i| i.clusters_changed(states));
    }

    /// Before an instance is looked at, it is known who acts on the hub.
    fn look_after_itself(&mut self) {
        let effects = self.clusters.serve_itself(&self.ctx, self.instances.need_hub());
        self.tell_instances(effects);
    }

    fn on_instances(&mut self, gk: GroupKind, listed: Listed) {
        let is_whole = matches!(listed, Listed::Done(_));
        self.instances(|i| i.seen(&gk, listed));
        self.definitions.instances_changed(&self.ctx, &gk);
        self.look_after_itself();
        self.settle.want(self.ctx.clock.now().at);
        if is_whole {
            self.on_unseen(&Watched::Instances(gk), None);
        }
    }

    /// Something cannot be seen on the hub, and why; or it is seen again.
    fn on_unseen(&mut self, watched: &Watched, why: Option<String>) {
        let Watched::Instances(gk) = watched else { return };
        let is_news = self.definitions.instances_unseen(&self.ctx, gk, why.clone());
        // A Cluster may have begun to leave since.
        if is_news || why.is_some() {
            self.clusters.unseen(&self.ctx, self.definitions.cannot_see().as_deref());
        }
    }

    /// What may end now: Clusters that nothing is held on, definitions that have no instances.
    fn settle(&mut self) {
        if !self.may_step() {
            return;
        }
        self.look_at_clusters();
        let all_watched = self.definitions.all_watched();
        let with_crd = self
            .instances
            .left_of_unwatched()
            .into_iter()
            .filter(|gk| self.definitions.has_crd(gk))
            .collect();
        let unwatched = Unwatched { all_watched, with_crd };
        self.instances(|i| i.judge_leftovers(&unwatched));
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
            let is_left = |name: &ClusterName, uid: &str| self.clusters.is_left(name, uid);
            let unknown = self.instances.unclaimed(&unwatched, is_left);
            let counts = Counts { instances: self.instances.counts(), unknown };
            self.clusters.count(&self.ctx, &counts);
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
