//! Instances on the hub: one fleet machine each, stepped when something it looks at changed.

mod crash;
mod holdings;
mod lanes;
mod perform;

use super::clusters::{self, Clusters};
use super::context::Context;
use super::view::{Change, Key, View};
use super::{Event, Watched, definitions};
use crate::api::keys::hub;
use crate::api::maps::HashMap;
use crate::api::names::{ClusterName, GroupKind, Gvk, InstanceKey};
use crate::api::{Object, text};
use crate::graph::Graph;
use crate::reconcile::fleet::{ClusterState, Fleet, FleetAction, FleetStep, Inputs, Left};
use crate::reconcile::fleet::{over_all, placement};
use crate::reconcile::spoke::{StatusTrouble, has_hub_part};
use crate::spoke::agenda::Agenda;
use crate::spoke::client::ApiError;
use crate::spoke::messages::{Said, ToSpoke};
use crate::spoke::spans;
use crate::spoke::watch::{CHANGED_CRD_SERVED, Listed, Scope};
use kube::core::ApiResource;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crash::Crash;
use holdings::Holdings;
use lanes::Lanes;

/// How a request for an instance ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Meta(Result<Value, ApiError>),
    Status(Result<Value, ApiError>),
    Finalizer(Result<Value, ApiError>),
    Left(ClusterName, Result<Recorded, ApiError>),
    /// Fields of the status, and how long they took.
    Evaluated(over_all::Answer, Duration),
}

/// What is on record now as left on a cluster.
#[derive(Debug)]
pub(super) enum Recorded {
    /// This too.
    More(Left),
    /// All of it: nobody knew before.
    All(BTreeMap<String, Left>),
}

struct Slot {
    uid: String,
    /// What the API server said to a status that it refuses for good, once that was told.
    told: Option<String>,
    fleet: Fleet,
    /// Its status took long to evaluate.
    slow: bool,
    crash: Option<Crash>,
}

struct InstanceKind {
    gvk: Gvk,
    resource: ApiResource,
    view: View,
    slots: HashMap<InstanceKey, Slot>,
    graph: Option<Arc<Graph>>,
    allow_breaking: bool,
    until: CancellationToken,
}

#[derive(Default)]
pub(super) struct Instances {
    kinds: BTreeMap<GroupKind, InstanceKind>,
    holdings: Holdings,
    clusters: BTreeMap<ClusterName, ClusterState>,
    lanes: Lanes,
    agenda: Agenda,
    /// Content of an earlier time that is being cleaned before an instance of that name may go there again.
    cleaning: BTreeMap<(ClusterName, InstanceKey), Left>,
    /// Mirrors that clusters showed before the instances of their kind were listed.
    undiscovered: BTreeMap<(ClusterName, GroupKind), Vec<(InstanceKey, String)>>,
    /// Leftovers that nobody could judge yet, because their kind was not yet listed.
    unjudged: Vec<(ClusterName, Left)>,
}

impl Instances {
    pub fn serve(&mut self, ctx: &Context, effect: definitions::Effect, clusters: &Clusters) {
        match effect {
            definitions::Effect::Watch { gvk, plural } => self.watch(ctx, gvk, plural),
            definitions::Effect::Serve { graph, allow_breaking } => {
                let gk = graph.gvk.group_kind();
                if let Some(kind) = self.kinds.get_mut(&gk) {
                    let hash = graph.crd_hash();
                    if kind.graph.as_ref().is_some_and(|before| before.crd_hash() != hash) {
                        ctx.later(CHANGED_CRD_SERVED, Event::Reread(gk.clone(), hash));
                    }
                    kind.graph = Some(graph);
                    kind.allow_breaking = allow_breaking;
                }
                self.enqueue_kind(&gk);
            }
            definitions::Effect::Stop(gk) => {
                if let Some(kind) = self.kinds.remove(&gk) {
                    kind.until.cancel();
                    self.holdings.forget_kind(&gk);
                    clusters.broadcast(|| ToSpoke::Undefine(gk.clone()));
                    for key in kind.slots.into_keys() {
                        clusters.broadcast(|| ToSpoke::Forget(key.clone()));
                        self.lanes.forget(&key);
                    }
                }
            }
        }
    }

    /// Lists the instances of a kind anew, a while after its schema became this one.
    pub fn reread(&mut self, ctx: &Context, gk: &GroupKind, crd_hash: &str) {
        let Some(kind) = self.kinds.get_mut(gk) else { return };
        if kind.graph.as_ref().is_some_and(|graph| graph.crd_hash() == crd_hash) {
            kind.until.cancel();
            kind.until = CancellationToken::new();
            let watched = Watched::Instances(gk.clone());
            ctx.watch(watched, kind.resource.clone(), Scope::default(), kind.until.clone());
        }
    }

    fn watch(&mut self, ctx: &Context, gvk: Gvk, plural: String) {
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
        let until = CancellationToken::new();
        ctx.watch(Watched::Instances(gk.clone()), resource.clone(), Scope::default(), until.clone());
        let kind = InstanceKind {
            gvk,
            resource,
            view: View::default(),
            slots: HashMap::default(),
            graph: None,
            allow_breaking: false,
            until,
        };
        self.kinds.insert(gk, kind);
    }

    pub fn seen(&mut self, gk: &GroupKind, listed: Listed, clusters: &Clusters) {
        let Some(kind) = self.kinds.get_mut(gk) else { return };
        let was_synced = kind.view.is_synced();
        let changes = kind.view.take(listed);
        for change in changes {
            self.changed(gk, &change, clusters);
        }
        let synced = self.kinds.get(gk).is_some_and(|k| k.view.is_synced());
        if synced && !was_synced {
            self.enqueue_kind(gk);
            let waiting: Vec<ClusterName> = self
                .undiscovered
                .keys()
                .filter(|(_, kind)| kind == gk)
                .map(|(name, _)| name.clone())
                .collect();
            for name in waiting {
                let mirrors = self.undiscovered.remove(&(name.clone(), gk.clone())).unwrap_or_default();
                self.discovered(&name, mirrors);
            }
        }
    }

    fn changed(&mut self, gk: &GroupKind, change: &Change, clusters: &Clusters) {
        let Some(kind) = self.kinds.get_mut(gk) else { return };
        let key = InstanceKey::new(gk.clone(), &change.key.namespace, &change.key.name);
        self.holdings.note(&key, change.after.as_deref());
        match &change.after {
            Some(object) => {
                let before = kind.slots.get(&key).map(|s| s.uid.clone());
                if before.as_deref() != Some(object.uid()) {
                    if before.is_some() {
                        // An instance of the same name: nobody cares for the old one any more.
                        clusters.broadcast(|| ToSpoke::Forget(key.clone()));
                    }
                    let fleet = Fleet::new(key.clone(), kind.gvk.clone());
                    let slot =
                        Slot { uid: object.uid().to_owned(), told: None, fleet, slow: false, crash: None };
                    kind.slots.insert(key.clone(), slot);
                }
                self.enqueue(&key);
            }
            None => {
                kind.slots.remove(&key);
                self.lanes.forget(&key);
                // What is being cleaned there goes on without the instance.
                for name in self.clusters.keys() {
                    if !self.cleaning.contains_key(&(name.clone(), key.clone())) {
                        clusters.send(name, ToSpoke::Forget(key.clone()));
                    }
                }
            }
        }
    }

    pub fn clusters_changed(&mut self, states: BTreeMap<ClusterName, ClusterState>, clusters: &Clusters) {
        for (name, state) in &states {
            let before = self.clusters.get(name).and_then(|c| c.facts.as_ref());
            if let Some(facts) = state.facts.as_ref().filter(|f| before != Some(f)) {
                clusters.send(name, ToSpoke::Facts(facts.clone()));
            }
        }
        let changed: BTreeSet<ClusterName> = states
            .iter()
            .filter(|(n, s)| self.clusters.get(*n) != Some(*s))
            .map(|(n, _)| n.clone())
            .chain(self.clusters.keys().filter(|n| !states.contains_key(*n)).cloned())
            .collect();
        self.clusters = states;
        if !changed.is_empty() {
            let kinds: Vec<GroupKind> = self.kinds.keys().cloned().collect();
            for gk in &kinds {
                self.enqueue_kind(gk);
            }
        }
    }

    /// A cluster has a new actor, and perhaps leftovers.
    pub fn connected(&mut self, name: &ClusterName, left: Vec<Left>, clusters: &Clusters) {
        if let Some(facts) = self.clusters.get(name).and_then(|c| c.facts.clone()) {
            clusters.send(name, ToSpoke::Facts(facts));
        }
        for kind in self.kinds.values_mut() {
            for slot in kind.slots.values_mut() {
                slot.fleet.actor_restarted(name);
            }
        }
        self.cleaning.retain(|(cluster, _), _| cluster != name);
        self.unjudged.retain(|(cluster, _)| cluster != name);
        self.unjudged.extend(left.into_iter().map(|l| (name.clone(), l)));
        let kinds: Vec<GroupKind> = self.kinds.keys().cloned().collect();
        for gk in &kinds {
            self.enqueue_kind(gk);
        }
    }

    /// A cluster can be talked to again.
    fn returned(&mut self, name: &ClusterName, left: Vec<Left>) {
        let new = left.into_iter().filter(|l| {
            let place = (name.clone(), l.key());
            let known = self.cleaning.get(&place).is_some_and(|c| c.hub_uid == l.hub_uid);
            !known && !self.unjudged.iter().any(|(n, u)| n == name && u.hub_uid == l.hub_uid)
        });
        let new: Vec<(ClusterName, Left)> = new.map(|l| (name.clone(), l)).collect();
        self.unjudged.extend(new);
    }

    /// Only what was recorded is cleaned, and only when it is certain that its instance does not want it.
    /// `all_watched`: a kind that is not watched is not served by the hub, so it has no instances.
    pub fn judge_leftovers(&mut self, ctx: &Context, clusters: &Clusters, all_watched: bool) {
        for (name, left) in std::mem::take(&mut self.unjudged) {
            if self.clusters.get(&name).is_some_and(|c| c.view.leaving && !c.delete_on_leave) {
                // Deregistered as it is: the record is read again when it is registered again.
                continue;
            }
            let key = left.key();
            let kind = self.kinds.get(&key.gk);
            if !kind.map_or(all_watched, |k| k.view.is_synced()) {
                self.unjudged.push((name, left));
                continue;
            }
            let instance = kind.and_then(|k| k.view.get(&Key::new(&key.namespace, &key.name)));
            let same = instance.filter(|i| i.uid() == left.hub_uid);
            let slot = kind.and_then(|k| k.slots.get(&key));
            if same.is_some() && slot.is_some_and(|s| !s.fleet.is_recorded()) {
                // Where it goes is being written right now.
                self.unjudged.push((name, left));
            } else if same.is_some_and(|i| !i.is_deleting() && self.names_unregistered(i)) {
                // Perhaps this cluster under its former name: nobody is asked to delete running workloads by a rename.
                self.unjudged.push((name, left));
            } else if same.is_some_and(|i| Fleet::holds(i).contains(&name) && self.is_let_go(i, &name)) {
                // It is about to be recorded once more.
                self.unjudged.push((name, left));
            } else if same.is_some_and(|i| Fleet::holds(i).contains(&name)) {
                // It is placed there again: its own record tells what to do from now on.
                perform::forget_left(ctx, &name, clusters, &left.hub_uid);
            } else {
                tracing::info!(cluster = %name, instance = %key, "cleaning what was left behind");
                clusters.send(&name, ToSpoke::Task(Arc::new(left.removal(&ctx.hub_id))));
                self.cleaning.insert((name, key), left);
            }
        }
    }

    fn is_let_go(&self, instance: &Object, name: &ClusterName) -> bool {
        placement::names(instance.annotation(hub::RELEASE)).contains(name)
            || self.clusters.get(name).is_some_and(|c| c.view.leaving)
    }

    fn names_unregistered(&self, instance: &Object) -> bool {
        let named = placement::names(instance.annotation(hub::CLUSTERS));
        named.iter().any(|n| n.as_str() != "*" && !self.clusters.contains_key(n))
    }

    /// Mirrors of this hub that stand on a cluster, by instance and uid of the hub instance.
    fn discovered(&mut self, name: &ClusterName, mirrors: Vec<(InstanceKey, String)>) {
        for (key, hub_uid) in mirrors {
            let cleaned = self.cleaning.contains_key(&(name.clone(), key.clone()))
                || self.unjudged.iter().any(|(n, l)| n == name && l.hub_uid == hub_uid);
            if let Some(slot) = self.slot(&key).filter(|s| s.uid == hub_uid && !cleaned) {
                slot.fleet.found(name);
                self.enqueue(&key);
            }
        }
    }

    pub fn said(&mut self, ctx: &Context, name: &ClusterName, said: Said, clusters: &Clusters) {
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
                    perform::forget_left(ctx, name, clusters, &hub_uid);
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
                    self.discovered(name, mirrors);
                } else {
                    // Whose they are is known when the instances were listed.
                    self.undiscovered.insert((name.clone(), gk), mirrors);
                }
            }
            Said::Contact(_) | Said::Stranger(_) | Said::Notes(_) | Said::Ended(_) | Said::Judged { .. } => {}
        }
    }

    pub fn outcome(
        &mut self,
        ctx: &Context,
        key: &InstanceKey,
        uid: &str,
        outcome: Outcome,
    ) -> Option<(ClusterName, Recorded)> {
        let now = ctx.clock.now();
        let kind = self.kinds.get_mut(&key.gk)?;
        let mut recorded = None;
        let mut refreshed = None;
        let object = kind.view.get(&Key::new(&key.namespace, &key.name)).cloned();
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
                    slot.fleet.meta_written(told("writing the record", result).map_err(text), &now)
                }
                Outcome::Status(result) => {
                    let trouble = |error: ApiError| match error {
                        ApiError::Invalid { .. } => (StatusTrouble::Refused, text(error)),
                        _ => (StatusTrouble::Passing, text(error)),
                    };
                    let result = told("writing the status", result).map_err(trouble);
                    let refused = result.as_ref().err().filter(|(t, _)| *t == StatusTrouble::Refused);
                    let refused = refused.map(|(_, why)| why.clone());
                    if refused.is_some() && slot.told != refused {
                        perform::tell_refused(ctx, object.as_deref(), refused.as_deref());
                    }
                    slot.told = refused.or_else(|| slot.told.take());
                    slot.fleet.status_written(result, &now);
                }
                Outcome::Finalizer(result) => {
                    let result = told("removing the finalizer", result).map_err(text);
                    slot.fleet.finalizer_removed(result, &now);
                }
                Outcome::Evaluated(answer, took) => {
                    slot.slow = took >= lanes::LONG;
                    slot.fleet.evaluated(answer);
                }
                Outcome::Left(cluster, result) => {
                    slot.fleet.left_recorded(&cluster, result.is_ok(), &now);
                    recorded = result.ok().map(|left| (cluster, left));
                }
            }
        }
        if let Some(value) = refreshed {
            let change = kind.view.refresh(value);
            if let Some(change) = change {
                self.holdings.note(key, change.after.as_deref());
            }
        }
        self.enqueue(key);
        recorded
    }

    fn slot(&mut self, key: &InstanceKey) -> Option<&mut Slot> {
        self.kinds.get_mut(&key.gk)?.slots.get_mut(key)
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

    pub fn has_work(&self, now: u64) -> bool {
        self.lanes.has_work(now)
    }
    pub fn queue_length(&self) -> usize {
        self.lanes.len()
    }

    /// When the next instance wants to be looked at, in milliseconds of the clock.
    pub fn next_wake(&self) -> Option<u64> {
        self.agenda.next().into_iter().chain(self.lanes.next()).min()
    }

    pub fn wake_due(&mut self, now: u64) {
        for key in self.agenda.due(now) {
            self.enqueue(&key);
        }
    }

    /// Steps the next instance that wants it.
    pub fn step_next(&mut self, ctx: &Context, clusters: &Clusters) {
        let Some(key) = self.lanes.pop(ctx.clock.now().millis) else { return };
        let Some(kind) = self.kinds.get_mut(&key.gk).filter(|k| k.view.is_synced()) else { return };
        let Some(object) = kind.view.get(&Key::new(&key.namespace, &key.name)).cloned() else { return };
        let Some(slot) = kind.slots.get_mut(&key) else { return };
        let _in = spans::instance(&key).entered();
        let (now, began) = (ctx.clock.now(), Instant::now());
        if let Some(crash) = slot.crash.filter(|crash| crash.holds(&object, now.millis)) {
            self.agenda.set(&key, Some(crash.until));
            return;
        }
        let fleet = &mut slot.fleet;
        let stepped = crash::guarded(|| {
            fleet.step(&Inputs {
                instance: &object,
                graph: kind.graph.as_ref(),
                allow_breaking: kind.allow_breaking,
                clusters: &self.clusters,
                hub_id: &ctx.hub_id,
                default_placement: ctx.settings.default_placement,
                now: &now,
            })
        });
        slot.crash = None;
        let step = stepped.unwrap_or_else(|| {
            tracing::error!("a step panicked; starting it afresh");
            let crash = Crash::of(&object, now.millis);
            slot.fleet = Fleet::new(key.clone(), kind.gvk.clone());
            slot.crash = Some(crash);
            let patch = crash::status(&object, &now);
            let actions = patch.map(|patch| FleetAction::WriteStatus { patch }).into_iter().collect();
            FleetStep { actions, wake_at: Some(crash.until) }
        });
        self.lanes.took(&key, began.elapsed(), ctx.clock.now().millis);
        self.agenda.set(&key, step.wake_at);
        let slow = slot.slow;
        let target = perform::Target { key: key.clone(), object, resource: kind.resource.clone() };
        for action in step.actions {
            match action {
                FleetAction::Send { cluster, task } => {
                    if !self.cleaning.contains_key(&(cluster.clone(), key.clone())) {
                        clusters.send(&cluster, ToSpoke::Task(task));
                    }
                }
                FleetAction::Forget { cluster } => clusters.send(&cluster, ToSpoke::Forget(key.clone())),
                FleetAction::Evaluate(question) => perform::evaluate(ctx, &target, question, slow),
                other => perform::start(ctx, &target, other, clusters),
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

    /// Whether any instance still records content on a cluster.
    pub fn holds_any(&self, name: &ClusterName) -> bool {
        let cluster = self.clusters.get(name);
        let local = cluster.is_some_and(|c| c.view.local && c.delete_on_leave);
        let is_gone = |key: &InstanceKey| {
            self.kinds
                .get(&key.gk)
                .and_then(|k| k.slots.get(key))
                .is_none_or(|s| s.fleet.is_clean_on_hub(name))
        };
        self.holdings.any(name) || (local && self.holdings.local().any(|key| !is_gone(key)))
    }
}

/// Effects of the clusters on the instances.
pub(super) fn on_cluster_effects(
    instances: &mut Instances,
    clusters: &Clusters,
    effects: Vec<clusters::Effect>,
) {
    if effects.is_empty() {
        return;
    }
    instances.clusters_changed(clusters.states(), clusters);
    for effect in effects {
        match effect {
            clusters::Effect::Changed => {}
            clusters::Effect::Connected(name, left) => instances.connected(&name, left, clusters),
            clusters::Effect::Returned(name, left) => instances.returned(&name, left),
        }
    }
}
