//! Instances on the hub: one fleet machine each, stepped when something it looks at changed.
//!
//! Nothing here does I/O or asks a clock: what is to be done is said by [`Effect`]s, which [`beside`] begins.

mod approvals;
mod awake;
pub(super) mod beside;
mod crash;
mod effects;
mod holdings;
mod in_use;
mod kind_rollouts;
mod lanes;
mod leftovers;
mod overridden;
#[cfg(test)]
mod passed_over;
mod perform;
mod pins;
mod policies;
#[cfg(test)]
mod remembered;
mod reported;
mod rollouts;
mod stepping;
mod unknown;
mod vanished;

pub(super) use effects::{Effect, Outcome, Target};
pub(super) use leftovers::Unwatched;
#[cfg(test)]
pub(super) use perform::write;
pub(super) use policies::Policed;
#[cfg(test)]
pub(super) use rollouts::write_version;

use super::clusters::left_behind::Recorded;
use super::definitions;
use super::view::{Change, Key, View};
use crate::api::maps::HashMap;
use crate::api::names::{ClusterName, GroupKind, Gvk, HubId, InstanceKey};
use crate::api::{Object, PackedObject, text};
use crate::graph::Graph;
use crate::reconcile::Moment;
use crate::reconcile::Now;
use crate::reconcile::fleet::aggregate::runs::Runs;
use crate::reconcile::fleet::placement::{DefaultPlacement, Short};
use crate::reconcile::fleet::rollout::kind::KindRollout;
use crate::reconcile::fleet::rollout::on_record_at;
use crate::reconcile::fleet::{ClusterState, Fleet, Left, Registered, Turn};
use crate::reconcile::rollout::Progress;
use crate::reconcile::rollout::pin::Unfit;
use crate::reconcile::spoke::{StatusTrouble, has_hub_part};
use crate::reconcile::world::Stored;
use crate::spoke::agenda::Agenda;
use crate::spoke::client::ApiError;
use crate::spoke::messages::{Said, ToSpoke};
use crate::spoke::watch::Listed;
use kube::core::ApiResource;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use approvals::Unjudged;
use awake::Awake;
use crash::Crash;
use holdings::Holdings;
use lanes::Lanes;
use policies::Policies;
use reported::Reported;
use rollouts::Rollouts;
use unknown::Unknown;
use vanished::Vanished;

struct Slot {
    uid: String,
    /// What the API server said to a status that it refuses for good, once that was told.
    told: Option<String>,
    fleet: Fleet,
    /// Its machine saw all of it since its turn came last.
    stepped: bool,
    /// Its status took long to evaluate.
    slow: bool,
    crash: Option<Crash>,
    /// What a machine that crashed sent may land until then.
    quiet_until: Moment,
    /// How far its rollout was when the Placement's status counted it last.
    rolled: Option<Box<Progress>>,
    /// By which graphs it ran when all of its kind were counted last.
    runs: Runs,
    /// When its status was told last that its pinned revision cannot be made.
    pin_told: Option<Moment>,
    /// The instance as its steps read it, and what it was unpacked from.
    open: Option<Open>,
}

struct Open {
    from: Arc<Stored>,
    object: Arc<Object>,
    /// When it was read last.
    at: Moment,
}

impl Slot {
    /// By which graphs it ran before, if it runs by others now.
    fn runs_anew(&mut self) -> Option<Runs> {
        let now = self.fleet.runs();
        (self.runs != *now).then(|| std::mem::replace(&mut self.runs, now.clone()))
    }

    /// Whether its Placements have something else to say of it. `short`: what it lacked before.
    fn counts_anew(&mut self, short: &[Short]) -> bool {
        let is_news = self.rolled.as_deref() != self.fleet.progress();
        if is_news {
            self.rolled = self.fleet.progress().cloned().map(Box::new);
        }
        is_news || *short != *self.fleet.short()
    }

    /// The instance as a step reads it.
    fn open(&mut self, stored: &Arc<Stored>, at: Moment) -> Arc<Object> {
        let known = self.open.take().filter(|open| Arc::ptr_eq(&open.from, stored));
        let object = known.map_or_else(|| Arc::new(stored.object.unpack()), |open| open.object);
        self.open = Some(Open { from: stored.clone(), object: object.clone(), at });
        object
    }
}

/// What is kept of an instance, without who applied what.
fn packed(stored: Option<&Arc<Stored>>) -> Option<&PackedObject> {
    stored.map(|stored| &stored.object)
}

struct InstanceKind {
    gvk: Gvk,
    resource: ApiResource,
    view: View<Stored>,
    slots: HashMap<InstanceKey, Box<Slot>>,
    graph: Option<Arc<Graph>>,
    /// Graphs that served before, by hash: instances that a rollout moves may run by them.
    former: Arc<BTreeMap<String, Arc<Graph>>>,
    /// Why other graphs that somebody wants cannot be made, by hash.
    unfit: Arc<Unfit>,
    /// By which graphs the instances run.
    runs: Runs,
    allow_breaking: bool,
    /// Where its revision moves as one.
    rollout: Option<Box<KindRollout>>,
    /// Hashes of the graphs of its revisions, by number: all of them where somebody asked.
    revisions: BTreeMap<u64, String>,
    /// Somebody asked, and was answered.
    is_numbered: bool,
    /// Every instance was looked at since the start.
    surveyed: bool,
}

pub(super) struct Instances {
    hub_id: HubId,
    default_placement: DefaultPlacement,
    effects: Vec<Effect>,
    kinds: BTreeMap<GroupKind, InstanceKind>,
    holdings: Holdings,
    policies: Policies,
    reported: Reported,
    rollouts: Rollouts,
    approvals: Unjudged,
    /// Kinds of which something changed that Placements count.
    counted: BTreeSet<GroupKind>,
    /// Kinds of which other revisions may be in use than before.
    reused: BTreeSet<GroupKind>,
    clusters: Registered,
    lanes: Lanes,
    agenda: Agenda,
    awake: Awake,
    /// Content of an earlier time that is being cleaned before an instance of that name may go there again.
    cleaning: BTreeMap<(ClusterName, InstanceKey), Left>,
    /// Mirrors that clusters showed before the instances of their kind were listed.
    undiscovered: BTreeMap<(ClusterName, GroupKind), Vec<(InstanceKey, String)>>,
    /// Leftovers that nobody could judge yet, because their kind was not yet listed.
    unjudged: Vec<(ClusterName, Left)>,
    /// Instances of some of these that are to be looked at first.
    undecided: BTreeSet<InstanceKey>,
    /// What was just put on record as left there for good, and is held until the instance says so too.
    let_go: Vec<(ClusterName, Left)>,
    vanished: Vanished,
    unknown: Unknown,
    /// Instances that a change of a cluster was found not to concern.
    #[cfg(test)]
    passed_over: BTreeSet<InstanceKey>,
}

impl Instances {
    pub fn new(hub_id: HubId, default_placement: DefaultPlacement) -> Self {
        Self {
            hub_id,
            default_placement,
            effects: Vec::new(),
            kinds: BTreeMap::new(),
            holdings: Holdings::default(),
            policies: Policies::default(),
            reported: Reported::default(),
            rollouts: Rollouts::default(),
            approvals: Unjudged::default(),
            counted: BTreeSet::new(),
            reused: BTreeSet::new(),
            clusters: Registered::default(),
            lanes: Lanes::default(),
            agenda: Agenda::default(),
            awake: Awake::default(),
            cleaning: BTreeMap::new(),
            undiscovered: BTreeMap::new(),
            unjudged: Vec::new(),
            undecided: BTreeSet::new(),
            let_go: Vec::new(),
            vanished: Vanished::default(),
            unknown: Unknown::default(),
            #[cfg(test)]
            passed_over: BTreeSet::new(),
        }
    }

    /// What is to be done since this was asked last, in this order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    fn ask(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn send(&mut self, name: &ClusterName, message: ToSpoke) {
        self.ask(Effect::Send(name.clone(), message));
    }

    pub fn serve(&mut self, effect: definitions::Effect) {
        match effect {
            definitions::Effect::Watch { gvk, plural } => self.watch(gvk, plural),
            definitions::Effect::Serve { graph, allow_breaking, revision } => {
                let gk = graph.gvk.group_kind();
                if let Some(kind) = self.kinds.get_mut(&gk) {
                    let hash = graph.crd_hash();
                    if revision > 0 {
                        kind.revisions.insert(revision, graph.hash.clone());
                    }
                    if kind.graph.as_ref().is_some_and(|before| before.crd_hash() != hash) {
                        self.effects.push(Effect::RereadLater(gk.clone(), hash));
                    }
                    if let Some(before) = kind.graph.replace(graph) {
                        Arc::make_mut(&mut kind.former).insert(before.hash.clone(), before);
                    }
                    kind.allow_breaking = allow_breaking;
                }
                self.reused.insert(gk.clone());
                self.need_graphs();
                self.enqueue_kind(&gk);
            }
            definitions::Effect::Stop(gk) => {
                if let Some(kind) = self.kinds.remove(&gk) {
                    self.ask(Effect::EndWatch(gk.clone()));
                    self.holdings.forget_kind(&gk);
                    self.unknown.forget_kind(&gk);
                    self.ask(Effect::SendToAll(ToSpoke::Undefine(gk)));
                    for key in kind.slots.into_keys() {
                        self.lanes.forget(&key);
                        self.ask(Effect::SendToAll(ToSpoke::Forget(key)));
                    }
                }
            }
        }
    }

    /// Lists the instances of a kind anew, a while after its schema became this one.
    pub fn reread(&mut self, gk: &GroupKind, crd_hash: &str) {
        let Some(kind) = self.kinds.get(gk) else { return };
        if kind.graph.as_ref().is_some_and(|graph| graph.crd_hash() == crd_hash) {
            self.effects.push(Effect::Watch(gk.clone(), kind.resource.clone()));
        }
    }

    fn watch(&mut self, gvk: Gvk, plural: String) {
        let gk = gvk.group_kind();
        if self.kinds.contains_key(&gk) {
            return;
        }
        let resource = ApiResource {
            group: gvk.group.to_string(),
            version: gvk.version.to_string(),
            api_version: gvk.api_version(),
            kind: gvk.kind.to_string(),
            plural,
        };
        self.ask(Effect::Watch(gk.clone(), resource.clone()));
        let kind = InstanceKind {
            gvk,
            resource,
            view: View::default(),
            slots: HashMap::default(),
            graph: None,
            former: Arc::default(),
            unfit: Arc::default(),
            runs: Runs::default(),
            allow_breaking: false,
            rollout: None,
            revisions: BTreeMap::new(),
            is_numbered: false,
            surveyed: false,
        };
        self.kinds.insert(gk, kind);
    }

    pub fn seen(&mut self, gk: &GroupKind, listed: Listed) {
        let Some(kind) = self.kinds.get_mut(gk) else { return };
        let was_synced = kind.view.is_synced();
        let changes = kind.view.take(listed);
        for change in changes {
            self.note_selected(gk, &change);
            self.changed(gk, &change);
        }
        let synced = self.kinds.get(gk).is_some_and(|k| k.view.is_synced());
        if synced && !was_synced {
            self.counted.insert(gk.clone());
            self.enqueue_kind(gk);
            let waiting: Vec<ClusterName> = self
                .undiscovered
                .keys()
                .filter(|(_, kind)| kind == gk)
                .map(|(name, _)| name.clone())
                .collect();
            for name in waiting {
                let mirrors = self.undiscovered.remove(&(name.clone(), gk.clone())).unwrap_or_default();
                self.discovered(&name, gk, mirrors);
            }
        }
    }

    fn changed(&mut self, gk: &GroupKind, change: &Change<Stored>) {
        let key = InstanceKey::new(gk.clone(), &change.key.namespace, &change.key.name);
        let after = change.after.as_ref().map(|after| after.object.uid());
        if let Some(before) = change.before.as_ref().filter(|before| after != Some(before.object.uid())) {
            self.went(&key, before);
        }
        let Some(kind) = self.kinds.get_mut(gk) else { return };
        self.holdings.changed(&key, packed(change.before.as_ref()), packed(change.after.as_ref()));
        match change.after.as_deref().map(|stored| &stored.object) {
            Some(object) => {
                let before = kind.slots.get(&key).map(|s| s.uid.clone());
                if before.as_deref() != Some(object.uid()) {
                    if let Some(before) = &before {
                        // An instance of the same name: nobody cares for the old one any more.
                        self.effects.push(Effect::SendToAll(ToSpoke::Forget(key.clone())));
                        self.rollouts.forget(&key, before);
                    }
                    if let Some(rollout) = &mut kind.rollout {
                        rollout.forget(&key);
                    }
                    let mut fleet = Fleet::new(key.clone(), kind.gvk.clone());
                    self.reported.tell(&on_record_at(&key, &self.rollouts.home), object.uid(), &mut fleet);
                    let slot = Slot {
                        uid: object.uid().to_owned(),
                        told: None,
                        fleet,
                        slow: false,
                        crash: None,
                        rolled: None,
                        quiet_until: Moment::START,
                        runs: Runs::default(),
                        pin_told: None,
                        stepped: false,
                        open: None,
                    };
                    if let Some(before) = kind.slots.insert(key.clone(), Box::new(slot)) {
                        kind.runs.replace_all(&before.runs, &Runs::default());
                        self.reused.insert(gk.clone());
                    }
                }
                self.enqueue(&key);
            }
            None => {
                if let Some(slot) = kind.slots.remove(&key) {
                    self.rollouts.forget(&key, &slot.uid);
                    kind.runs.replace_all(&slot.runs, &Runs::default());
                    self.reused.insert(gk.clone());
                }
                self.leaves_kind(&key);
                self.lanes.forget(&key);
                // What is being cleaned there goes on without the instance.
                for name in self.clusters.keys() {
                    if !self.cleaning.contains_key(&(name.clone(), key.clone())) {
                        self.effects.push(Effect::Send(name.clone(), ToSpoke::Forget(key.clone())));
                    }
                }
            }
        }
    }

    /// The registered clusters are these, as they are now.
    pub fn clusters_changed(&mut self, states: BTreeMap<ClusterName, ClusterState>) {
        for (name, state) in &states {
            self.tell(name, state);
        }
        for (name, turn) in self.clusters.replace(states) {
            self.enqueue_minding(&name, turn);
        }
    }

    /// One of them is like this now.
    pub fn cluster_changed(&mut self, name: &ClusterName, state: ClusterState) {
        self.tell(name, &state);
        if let Some(turn) = self.clusters.set(name, Some(state)) {
            self.enqueue_minding(name, turn);
        }
    }

    /// Whether the cluster stands for the hub, as far as is known here.
    pub fn know_as_hub(&self, name: &ClusterName) -> bool {
        self.clusters.get(name).is_some_and(|c| c.view.local || c.implied)
    }

    /// What its actor goes by, where that changed.
    fn tell(&mut self, name: &ClusterName, state: &ClusterState) {
        let before = self.clusters.get(name);
        let known = before.and_then(|c| c.facts.as_ref());
        let facts = state.facts.as_ref().filter(|f| known != Some(f));
        let bounds = before.is_none_or(|c| c.bounds != state.bounds).then_some(&state.bounds);
        let news = bounds.map(|b| ToSpoke::Bounds(b.clone())).into_iter();
        let news: Vec<ToSpoke> = news.chain(facts.map(|f| ToSpoke::Facts(f.clone()))).collect();
        self.effects.extend(news.into_iter().map(|said| Effect::Send(name.clone(), said)));
    }

    /// Instances that a change of the cluster may concern: where they are held, or where they may go.
    fn enqueue_minding(&mut self, name: &ClusterName, turn: Turn) {
        let slots = self.kinds.values().flat_map(|kind| &kind.slots);
        let minding = slots.filter(|(_, slot)| slot.crash.is_some() || slot.fleet.minds(name, turn));
        let minding: Vec<InstanceKey> = minding.map(|(key, _)| key.clone()).collect();
        for key in &minding {
            self.enqueue(key);
        }
        #[cfg(test)]
        self.pass_over_others();
    }

    /// A cluster has a new actor, and perhaps leftovers.
    pub fn connected(&mut self, name: &ClusterName, left: Vec<Left>) {
        let state = self.clusters.get(name).map(|c| (c.bounds.clone(), c.facts.clone()));
        if let Some((bounds, facts)) = state {
            self.send(name, ToSpoke::Bounds(bounds));
            facts.into_iter().for_each(|facts| self.send(name, ToSpoke::Facts(facts)));
        }
        for kind in self.kinds.values_mut() {
            for slot in kind.slots.values_mut() {
                slot.fleet.actor_restarted(name);
            }
        }
        self.enqueue_minding(name, Turn::Passing);
        self.cleaning.retain(|(cluster, _), _| cluster != name);
        self.unjudged.retain(|(cluster, _)| cluster != name);
        self.let_go.retain(|(cluster, _)| cluster != name);
        self.unknown.forget_cluster(name);
        self.undiscovered.retain(|(cluster, _), _| cluster != name);
        self.unjudged.extend(left.into_iter().map(|l| (name.clone(), l)));
    }

    /// What an actor said, as far as it concerns instances.
    pub fn said(&mut self, name: &ClusterName, said: Said) {
        match said {
            Said::Report { key, report } => {
                if let Some(slot) = self.slot(&key).filter(|s| s.uid == report.hub_uid) {
                    slot.fleet.report(name, *report);
                    self.enqueue(&key);
                }
            }
            Said::Gone { key, hub_uid } => {
                let place = (name.clone(), key.clone());
                if self.cleaning.get(&place).is_some_and(|l| l.hub_uid == hub_uid) {
                    self.cleaning.remove(&place);
                    self.ask(Effect::ForgetLeft(name.clone(), hub_uid));
                    if let Some(slot) = self.slot(&key) {
                        slot.fleet.actor_restarted(name);
                    }
                } else if let Some(slot) = self.slot(&key).filter(|s| s.uid == hub_uid) {
                    slot.fleet.gone(name);
                }
                self.enqueue(&key);
            }
            Said::Mirrors { gk, mirrors } => {
                if self.kinds.get(&gk).is_some_and(|k| k.view.is_synced()) {
                    self.discovered(name, &gk, mirrors);
                } else {
                    // Whose they are is known when the instances were listed.
                    self.undiscovered.insert((name.clone(), gk), mirrors);
                }
            }
            Said::Contact(_) | Said::Stranger(_) | Said::Notes(_) | Said::Ended(_) | Said::Judged { .. } => {}
        }
    }

    /// How a request for an instance ended; returns what is on record now as left on a cluster, if that was asked.
    pub fn outcome(
        &mut self,
        key: &InstanceKey,
        uid: &str,
        outcome: Outcome,
        now: &Now,
    ) -> Option<(ClusterName, Recorded)> {
        if let Outcome::Left(cluster, result) = outcome {
            return self.record_answered((key, uid), (cluster, result), now);
        }
        let kind = self.kinds.get_mut(&key.gk)?;
        let (mut refreshed, mut version) = (None, None);
        let stored = kind.view.get(&Key::new(&key.namespace, &key.name)).cloned();
        if let Some(slot) = kind.slots.get_mut(key).filter(|s| s.uid == uid) {
            let mut told = |what: &str, result: Result<Value, ApiError>| match result {
                Ok(value) => {
                    refreshed = Some(value);
                    Ok(())
                }
                Err(error) => {
                    tracing::debug!(instance = %key, %error, "{what} failed");
                    Err(error)
                }
            };
            let text = |error: ApiError| text::plain(&error.to_string());
            match outcome {
                Outcome::Meta(result) => {
                    slot.fleet.meta_written(told("writing the record", result).map_err(text), now)
                }
                Outcome::Status(result) => {
                    let trouble = |error: ApiError| match error {
                        ApiError::Invalid { .. } => (StatusTrouble::Refused, text(error)),
                        _ => (StatusTrouble::Passing, text(error)),
                    };
                    let result = told("writing the status", result).map_err(trouble);
                    let refused = result.as_ref().err().filter(|(t, _)| *t == StatusTrouble::Refused);
                    let refused = refused.map(|(_, why)| why.clone());
                    if let Some(why) = refused.clone().filter(|_| slot.told != refused) {
                        let object = stored.map(|stored| Arc::new(stored.object.unpack()));
                        self.effects.push(Effect::TellRefused(object, why));
                    }
                    slot.told = refused.or_else(|| slot.told.take());
                    slot.fleet.status_written(result, now);
                }
                Outcome::Finalizer(result) => {
                    let result = told("removing the finalizer", result).map_err(text);
                    slot.fleet.finalizer_removed(result, now);
                }
                Outcome::Report(index, result) => {
                    if let Err(error) = &result {
                        tracing::debug!(instance = %key, %error, index, "writing a report failed");
                    }
                    let stands = result.as_ref().map(Option::as_ref).map_err(|_| ());
                    slot.fleet.report_written(index, stands, now);
                }
                Outcome::Evaluated(answer, took) => {
                    slot.slow = took >= lanes::LONG;
                    slot.fleet.evaluated(answer);
                }
                Outcome::Version(result) => {
                    if let Err(error) = &result {
                        tracing::debug!(instance = %key, %error, "writing a version failed");
                        slot.fleet.version_refused(text::plain(&error.to_string()));
                    }
                    slot.fleet.version_written(result.is_ok(), now);
                    version = result.ok();
                }
                // Answered above.
                Outcome::Left(..) => {}
            }
        }
        if let Some(value) = refreshed {
            let change = kind.view.refresh(value);
            if let Some(change) = change {
                self.holdings.changed(key, packed(change.before.as_ref()), packed(change.after.as_ref()));
            }
        }
        if let Some((answer, is_there)) = version {
            self.version_answered(answer, is_there);
        }
        self.enqueue(key);
        None
    }

    /// The instance as it was seen last.
    #[cfg(test)]
    pub fn get(&self, key: &InstanceKey) -> Option<Arc<Object>> {
        let stored = self.kinds.get(&key.gk)?.view.get(&Key::new(&key.namespace, &key.name))?;
        Some(Arc::new(stored.object.unpack()))
    }

    fn slot(&mut self, key: &InstanceKey) -> Option<&mut Slot> {
        self.kinds.get_mut(&key.gk)?.slots.get_mut(key).map(|slot| &mut **slot)
    }

    fn enqueue(&mut self, key: &InstanceKey) {
        self.lanes.push(key);
    }
    fn enqueue_kind(&mut self, gk: &GroupKind) {
        let keys: Vec<InstanceKey> =
            self.kinds.get(gk).map(|k| k.slots.keys().cloned().collect()).unwrap_or_default();
        for key in &keys {
            self.enqueue(key);
        }
    }

    pub fn has_work(&self, now: Moment) -> bool {
        self.lanes.has_work(now)
    }
    pub fn queue_length(&self) -> usize {
        self.lanes.len()
    }

    /// When the next instance wants to be looked at.
    #[cfg(test)]
    pub fn next_wake(&self) -> Option<Moment> {
        let times = [self.agenda.next(), self.lanes.next(), self.awake.next(), self.vanished.next()];
        times.into_iter().flatten().min()
    }

    /// Looks after all whose time has come. Returns the next time that something wants to be done by itself: always one
    /// that is still to come, since what waits in a lane that may go now is work and not a time.
    pub fn wake_due(&mut self, now: Moment) -> Option<Moment> {
        self.let_rest(now);
        self.record_vanished(now);
        for key in self.agenda.due(now) {
            self.enqueue(&key);
        }
        let times = [self.agenda.next(), self.lanes.next(), self.awake.next(), self.vanished.next()];
        times.into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Packs what was not read for a while.
    fn let_rest(&mut self, now: Moment) {
        while let Some((key, at)) = self.awake.tired(now) {
            // One that was read since stands in line once more.
            if let Some(slot) = self.slot(&key).filter(|s| s.open.as_ref().is_some_and(|open| open.at == at))
            {
                slot.open = None;
                slot.fleet.rest();
            }
        }
    }

    /// Whether every instance of every watched kind was seen.
    pub fn are_synced(&self) -> bool {
        self.kinds.values().all(|k| k.view.is_synced())
    }

    /// Names of the instances of a kind, and of those of other kinds whose resources are such instances on the clusters;
    /// `None` while they were not all seen.
    pub fn names(&self, gk: &GroupKind) -> Option<Vec<String>> {
        let kind = self.kinds.get(gk).filter(|k| k.view.is_synced())?;
        let mut names: BTreeSet<String> = kind.slots.keys().map(InstanceKey::short).collect();
        for (other, kind) in self.makers(gk) {
            if !kind.view.is_synced() {
                return None;
            }
            // On the hub itself, what it makes are instances like any.
            let elsewhere = kind.slots.keys().filter(|key| self.holdings.is_on_spokes(key));
            names.extend(elsewhere.map(|key| format!("{} {}", other.kind, key.short())));
        }
        Some(names.into_iter().collect())
    }

    /// The kinds whose instances make, by themselves or by others, instances of this kind.
    fn makers(&self, gk: &GroupKind) -> BTreeMap<&GroupKind, &InstanceKind> {
        let mut found: BTreeMap<&GroupKind, &InstanceKind> = BTreeMap::new();
        let mut wanted = vec![gk];
        while let Some(made) = wanted.pop() {
            for (other, kind) in &self.kinds {
                let makes = kind.graph.as_ref().is_some_and(|g| g.group_kinds().contains(made));
                if makes && other != gk && found.insert(other, kind).is_none() {
                    wanted.push(other);
                }
            }
        }
        found
    }

    /// Instances by the cluster that holds content of them.
    pub fn counts(&self) -> BTreeMap<ClusterName, i64> {
        let local = self.clusters.iter().find(|(_, c)| c.view.local).map(|(n, _)| n);
        self.holdings.counts(local)
    }

    /// Whether anything lives on the hub, or children of an instance may be left there.
    pub fn need_hub(&self) -> bool {
        let mut graphs = self.kinds.values().filter_map(|k| k.graph.as_ref());
        self.holdings.local().next().is_some() || graphs.any(|graph| has_hub_part(graph))
    }

    /// Whether any instance still records content on a cluster, or what one left there is not on record yet.
    pub fn holds_any(&self, name: &ClusterName) -> bool {
        let cluster = self.clusters.get(name);
        let local = cluster.is_some_and(|c| c.view.local && c.delete_on_leave);
        let is_gone = |key: &InstanceKey| {
            self.kinds
                .get(&key.gk)
                .and_then(|k| k.slots.get(key))
                .is_none_or(|s| s.fleet.is_clean_on_hub(name))
        };
        self.holdings.any(name)
            || self.vanished.any(name)
            || (local && self.holdings.local().any(|key| !is_gone(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One time that came must not hide another: each of the three is looked at anew.
    #[test]
    fn what_came_due_hides_nothing_that_is_still_to_come() {
        let key = |name: &str| InstanceKey::new(GroupKind::new("kro.run", "App"), "n", name);
        let at = Moment::from_millis;
        let mut instances = Instances::new(HubId::new("h"), DefaultPlacement::Local);
        instances.awake.stepped(&key("a"), at(0));
        instances.agenda.set(&key("b"), Some(at(10_080)));
        assert_eq!(instances.wake_due(at(9_000)), Some(at(10_000)));
        assert_eq!(instances.wake_due(at(10_000)), Some(at(10_080)), "one went to rest");
        // A step that takes long puts its instance into a lane that pauses.
        instances.lanes.took(&key("b"), std::time::Duration::from_millis(50), at(10_050));
        assert_eq!(instances.wake_due(at(10_080)), Some(at(10_150)), "it is due, and waits for its lane");
        assert!(!instances.has_work(at(10_080)) && instances.has_work(at(10_150)));
        assert_eq!(instances.wake_due(at(10_150)), None);
    }
}
