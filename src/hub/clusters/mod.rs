//! Registered clusters: a labelled Secret makes a Cluster, a Cluster gets an actor once its identity is good.
//!
//! What never happens here: a Secret or a Cluster that is missing, unreadable or not yet listed takes nothing away from
//! any cluster. The actor ends, and that is all.

pub mod connect;
mod connecting;
mod connection;
mod credentials;
mod departure;
mod entry;
mod implied;
pub mod left_behind;
mod registering;
mod registration;
mod same;
mod small;
pub mod source;
pub mod status;
mod writes;

use super::Watched;
use super::context::Context;
use super::identity::ClusterInfo;
use super::resources::{clusters, secrets};
use super::timers::{Pauses, Timers};
use super::view::{Change, Key, View};
use super::writes::Part;
use crate::api::Object;
use crate::api::cluster::{Cluster, SecretRef, UnknownMirrors};
use crate::api::keys::hub;
use crate::api::names::ClusterName;
use crate::graph::Graph;
use crate::reconcile::Moment;
use crate::reconcile::fleet::{ClusterState, Left};
use crate::reconcile::spoke::{Side, has_hub_part};
use crate::reconcile::world::Definition;
use crate::spoke::client::ApiError;
use crate::spoke::messages::{FromSpoke, ToSpoke};
use crate::spoke::watch::{Listed, Scope};
use connect::Asker;
use connection::Connection;
use entry::ClusterEntry;
use left_behind::Recorded;
use registration::Registrations;
use serde_json::Value;
use source::{Blocked, Reason, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// What the rest of the hub side has to hear of.
#[derive(Debug)]
pub(super) enum Effect {
    /// Anything of this cluster that placement or status looks at; [`Clusters::state`] tells what.
    Changed(ClusterName),
    /// The cluster has a new actor, which knows nothing; and what was left there earlier.
    Connected(ClusterName, Vec<Left>),
    /// Contact is back; and what somebody let go there meanwhile.
    Returned(ClusterName, Vec<Left>),
}

/// A changed count of instances is written after this pause, with others.
const COUNT_PAUSE: Duration = Duration::from_secs(5);
/// Between tries of a write that fails.
const WRITE_PAUSES: Pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(300) };

/// Why a Cluster is looked at again by itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Due {
    /// A write failed, or did not stay.
    Write(ClusterName),
    /// What it says of itself may be mended by now.
    TryAgain(ClusterName),
    /// A stage of its departure ends.
    Departure(ClusterName),
    /// A changed count of instances is to be written.
    Count(ClusterName),
}

/// What is counted by cluster.
pub(super) struct Counts {
    /// Instances that hold content there.
    pub instances: BTreeMap<ClusterName, i64>,
    pub unknown: BTreeMap<ClusterName, UnknownMirrors>,
}

pub(super) struct Clusters {
    view: View,
    secrets: BTreeMap<String, View>,
    entries: BTreeMap<ClusterName, ClusterEntry>,
    /// Secrets that were refused, as that was said.
    told: BTreeMap<Key, registration::Told>,
    hub: ClusterInfo,
    epoch: u64,
    registrations: Registrations,
    timers: Timers<Due>,
    from_spokes: UnboundedSender<FromSpoke>,
}

impl Clusters {
    pub fn new(ctx: &Context, hub: ClusterInfo, from_spokes: UnboundedSender<FromSpoke>) -> Self {
        let mut all = BTreeMap::new();
        for namespace in &ctx.settings.cluster_namespaces {
            all.insert(namespace.clone(), View::default());
            let scope = Scope { namespace: Some(namespace.clone()), ..Scope::default() };
            ctx.watch(Watched::Secrets(namespace.clone()), secrets(), scope, ctx.cancel.clone());
        }
        ctx.watch(Watched::Clusters, clusters(), Scope::default(), ctx.cancel.clone());
        Self {
            view: View::default(),
            secrets: all,
            entries: BTreeMap::new(),
            told: BTreeMap::new(),
            hub,
            epoch: 0,
            registrations: Registrations::default(),
            timers: Timers::default(),
            from_spokes,
        }
    }

    /// Whether every Cluster and every Secret was seen.
    pub fn is_synced(&self) -> bool {
        self.view.is_synced() && self.secrets.values().all(View::is_synced)
    }

    /// Every registered cluster, as placement sees it. Of several that say they are the hub itself, one is; where none
    /// does, the hub is there all the same once something lives on it.
    pub fn states(&self) -> BTreeMap<ClusterName, ClusterState> {
        let local = entry::the_local(self.entries.iter());
        let real = self
            .entries
            .iter()
            .filter(|(name, e)| !e.cluster.spec.local || e.implied || Some(*name) == local);
        real.map(|(name, entry)| (name.clone(), entry.state())).collect()
    }

    /// One of them, where it can be told without looking at the others: it is no candidate for the hub itself.
    pub fn state(&self, name: &ClusterName) -> Option<ClusterState> {
        self.entries.get(name).filter(|e| !e.cluster.spec.local && !e.implied).map(ClusterEntry::state)
    }

    pub fn any_spoke(&self) -> bool {
        self.entries.values().any(|e| !e.cluster.spec.local)
    }

    /// Hands a message to the actor of a cluster, if it has one.
    pub fn send(&self, name: &ClusterName, message: ToSpoke) {
        if let Some(ClusterEntry { connection: Connection::Running(running), .. }) = self.entries.get(name) {
            running.actor.tell(message);
        }
    }

    pub fn names(&self) -> BTreeSet<ClusterName> {
        self.entries.iter().filter(|(_, e)| !e.implied).map(|(name, _)| name.clone()).collect()
    }

    /// Asks one cluster, or all, whether a definition fits there.
    pub fn judge(&self, one: Option<&ClusterName>, graph: &Arc<Graph>) {
        let asked = self.entries.iter().filter(|(name, _)| one.is_none_or(|one| one == *name));
        for (name, entry) in asked.filter(|(_, e)| !e.implied) {
            let apart = has_hub_part(graph) && !entry.cluster.spec.local;
            let side = if apart { Side::Rest } else { Side::Whole };
            self.send(name, ToSpoke::Judge(graph.clone(), side));
        }
    }

    /// Tells one cluster, or all, of a definition whose instances others may make there.
    pub fn define(&self, one: Option<&ClusterName>, graph: &Arc<Graph>, allow_breaking: bool) {
        for name in self.entries.keys().filter(|name| one.is_none_or(|one| one == *name)) {
            self.send(name, ToSpoke::Define(Definition { graph: graph.clone(), allow_breaking }));
        }
    }

    pub fn broadcast(&self, message: impl Fn() -> ToSpoke) {
        for name in self.entries.keys() {
            self.send(name, message());
        }
    }

    /// The id under which leftovers of a cluster are recorded.
    pub fn record_id(&self, name: &ClusterName) -> String {
        let known = self.entries.get(name).and_then(ClusterEntry::cluster_id);
        known.unwrap_or_else(|| left_behind::unknown_id(name))
    }

    /// Whether all that is on record as left on a cluster is known.
    pub fn knows_left(&self, name: &ClusterName) -> bool {
        self.entries.get(name).is_some_and(|e| e.left.is_some())
    }

    /// Whether it is on record as left on a cluster.
    pub fn is_left(&self, name: &ClusterName, hub_uid: &str) -> bool {
        self.entries.get(name).and_then(|e| e.left.as_ref()).is_some_and(|left| left.contains_key(hub_uid))
    }

    /// Whether messages of this epoch come from the cluster's present actor.
    pub fn is_current(&self, name: &ClusterName, epoch: u64) -> bool {
        self.entries.get(name).is_some_and(|e| e.connection.is_actor(epoch))
    }

    /// The clusters that are being deregistered.
    pub fn leaving(&self) -> Vec<ClusterName> {
        self.entries.iter().filter(|(_, e)| e.object.is_deleting()).map(|(n, _)| n.clone()).collect()
    }

    pub fn seen_secret(&mut self, ctx: &Context, namespace: &str, listed: Listed) -> Vec<Effect> {
        let Some(view) = self.secrets.get_mut(namespace) else { return Vec::new() };
        let was_synced = self.view.is_synced() && view.is_synced();
        let changes = view.take(small::listed(listed));
        if !self.is_synced() {
            return Vec::new();
        }
        if !was_synced {
            return self.look_at_everything(ctx);
        }
        changes.into_iter().flat_map(|change| self.secret_changed(ctx, &change)).collect()
    }

    pub fn seen_cluster(&mut self, ctx: &Context, listed: Listed) -> Vec<Effect> {
        let was_synced = self.view.is_synced();
        let changes = self.view.take(small::listed(listed));
        if !self.is_synced() {
            return Vec::new();
        }
        if !was_synced {
            return self.look_at_everything(ctx);
        }
        changes.into_iter().flat_map(|change| self.cluster_changed(ctx, &change)).collect()
    }

    /// The first complete picture.
    fn look_at_everything(&mut self, ctx: &Context) -> Vec<Effect> {
        let mut effects = Vec::new();
        let all: Vec<Arc<Object>> = self.view.iter().map(|(_, o)| o.clone()).collect();
        for object in all {
            effects.extend(self.reconcile(ctx, &object));
        }
        let labelled: Vec<Arc<Object>> =
            self.secrets.values().flat_map(|v| v.iter().map(|(_, o)| o.clone())).collect();
        for secret in labelled {
            self.register(ctx, &secret);
        }
        effects
    }

    fn secret_changed(&mut self, ctx: &Context, change: &Change) -> Vec<Effect> {
        match &change.after {
            Some(secret) => self.register(ctx, secret),
            None => {
                self.told.remove(&change.key);
                self.registrations.settled(&change.key);
            }
        }
        // Every Cluster that names this Secret.
        let users: Vec<Arc<Object>> = self
            .entries
            .values()
            .filter(|e| {
                e.secret_ref()
                    .is_some_and(|r| r.name == change.key.name && r.namespace == change.key.namespace)
            })
            .map(|e| e.object.clone())
            .collect();
        users.into_iter().flat_map(|object| self.reconcile(ctx, &object)).collect()
    }

    fn cluster_changed(&mut self, ctx: &Context, change: &Change) -> Vec<Effect> {
        let name = ClusterName::new(&change.key.name);
        match &change.after {
            Some(object) => {
                // Its deletion was not seen: what is known of the one of that name before says nothing of this one.
                if change.before.as_ref().is_some_and(|before| before.uid() != object.uid()) {
                    self.forget(ctx, &name);
                }
                self.register_waiting(ctx, &name);
                self.reconcile(ctx, object)
            }
            None => {
                self.forget(ctx, &name);
                let mut effects = vec![Effect::Changed(name)];
                // Its Secret, if it still asks for a Cluster, makes a new one; a twin may be free now.
                let all: Vec<Arc<Object>> =
                    self.secrets.values().flat_map(|v| v.iter().map(|(_, o)| o.clone())).collect();
                for secret in all {
                    self.register(ctx, &secret);
                }
                effects.extend(self.retry_twins(ctx));
                effects
            }
        }
    }

    fn forget(&mut self, ctx: &Context, name: &ClusterName) {
        for due in [Due::Write, Due::TryAgain, Due::Departure, Due::Count] {
            self.timers.settled(&due(name.clone()));
        }
        self.entries.remove(name);
        ctx.metrics.forget(name.as_str());
    }

    fn retry_twins(&mut self, ctx: &Context) -> Vec<Effect> {
        let twins: Vec<Arc<Object>> = self
            .entries
            .values_mut()
            .filter(|e| e.is_duplicate())
            .map(|e| {
                e.connection.forget_credentials();
                e.object.clone()
            })
            .collect();
        twins.into_iter().flat_map(|object| self.reconcile(ctx, &object)).collect()
    }

    /// When something wants to be looked at by itself.
    pub fn next_wake(&self) -> Option<Moment> {
        self.timers.next().into_iter().chain(self.registrations.next()).min()
    }

    pub fn wake_due(&mut self, ctx: &Context) -> Vec<Effect> {
        let now = ctx.clock.now().at;
        for place in self.registrations.due(now) {
            self.register_at(ctx, &place);
        }
        let mut effects = Vec::new();
        for due in self.timers.due(now) {
            let name = match &due {
                Due::Write(name) | Due::TryAgain(name) | Due::Departure(name) | Due::Count(name) => name,
            };
            if let Some(entry) = self.entries.get_mut(name) {
                match due {
                    Due::Write(_) => {
                        entry.writes.due(Part::Finalizers);
                        entry.writes.due(Part::Status);
                    }
                    Due::TryAgain(_) => entry.connection.try_again(now),
                    Due::Departure(_) | Due::Count(_) => {}
                }
            }
            effects.extend(self.look_again(ctx, name));
        }
        effects
    }

    /// Looks at one Cluster again: after a failure, or because something that it depends on changed.
    fn look_again(&mut self, ctx: &Context, name: &ClusterName) -> Vec<Effect> {
        if self.entries.get(name).is_some_and(|entry| entry.implied) {
            return self.connect_itself(ctx);
        }
        let object = self.view.get(&Key::new("", name.as_str())).cloned();
        object.map(|o| self.reconcile(ctx, &o)).unwrap_or_default()
    }

    pub fn written(
        &mut self,
        ctx: &Context,
        name: &ClusterName,
        part: Part,
        result: Result<Value, ApiError>,
    ) -> Vec<Effect> {
        let Some(entry) = self.entries.get_mut(name) else { return Vec::new() };
        match (&result, part) {
            (Ok(_) | Err(ApiError::NotFound), Part::Finalizers) => entry.writes.answered(part),
            (Ok(_) | Err(ApiError::NotFound), Part::Status) => entry.writes.status_granted(),
            (Err(error), _) => {
                tracing::debug!(cluster = %name, %error, "writing a Cluster failed");
                if matches!(error, ApiError::Invalid { .. }) {
                    tracing::warn!(cluster = %name, %error, "the API server refuses what is written");
                    let note = format!("the hub refuses what is written to the Cluster: {error}");
                    ctx.publish(&entry.object, true, "WriteRefused", note);
                }
                let due = Due::Write(name.clone());
                self.timers.failed(&due, ctx.clock.now().at, WRITE_PAUSES);
                entry.writes.failed(part, None, self.timers.time(&due));
                return Vec::new();
            }
        }
        let Ok(value) = result else { return Vec::new() };
        self.view.refresh(small::object(value));
        self.look_again(ctx, name)
    }

    /// Brings what runs in line with what the Cluster says.
    fn reconcile(&mut self, ctx: &Context, object: &Arc<Object>) -> Vec<Effect> {
        let name = ClusterName::new(object.name());
        let cluster: Cluster = match serde_json::from_value(object.0.clone()) {
            Ok(cluster) => cluster,
            Err(error) => {
                // The CRD's schema lets nothing else through; say it and leave everything as it is.
                tracing::error!(cluster = %name, %error, "a Cluster cannot be read");
                return Vec::new();
            }
        };
        let before = self.entries.get(&name).map(ClusterEntry::state);
        let decided = self.source(ctx, &cluster);
        let secret = cluster.spec.credentials.as_ref().and_then(|c| self.secret(&c.secret_ref));
        let told = decided.as_ref().ok().and_then(|source| credentials::status(source, secret.map(|s| &**s)));
        let entry =
            self.entries.entry(name.clone()).or_insert_with(|| ClusterEntry::new(object.clone(), &cluster));
        entry.of_hub = ctx.settings.local_child_namespaces.clone();
        entry.object = object.clone();
        departure::look(&mut self.timers, &ctx.clock, &name, entry);
        let paused = cluster.spec.paused;
        entry.cluster = cluster;
        entry.credentials = told;
        if !object.has_finalizer(hub::FINALIZER) && !object.is_deleting() {
            writes::add_finalizer(ctx, &name, entry);
        }
        let limit = entry.cluster.spec.limits.as_ref().and_then(|l| l.in_flight);
        match decided {
            _ if paused => {
                let why = "spec.paused is true: nothing is written to it";
                entry.connection.refuse(Blocked::new(Reason::Paused, why.into()));
            }
            // Whoever removes all of it removes the Secret as well, and what is being deleted there is to be deleted.
            Err(blocked)
                if object.is_deleting()
                    && entry.connection.is_running()
                    && blocked.reason == Reason::SecretMissing => {}
            Err(blocked) => entry.connection.refuse(blocked),
            Ok(source) if entry.connection.tried() == Some(source.fingerprint(limit)) => {}
            Ok(source) => {
                self.epoch += 1;
                let until = entry.ask(self.epoch, source.fingerprint(limit), &ctx.cancel);
                connect::identify(Asker::new(ctx, &name, self.epoch, until), &source, limit);
            }
        }
        self.write_status(ctx, &name);
        let after = self.entries.get(&name).map(ClusterEntry::state);
        if before == after { Vec::new() } else { vec![Effect::Changed(name)] }
    }

    fn source(&self, ctx: &Context, cluster: &Cluster) -> Result<Source, Blocked> {
        let lookup = |r: &SecretRef| self.secret(r).map(|found| (**found).clone());
        source::of(&cluster.spec, lookup, &ctx.settings.cluster_namespaces)
    }

    fn secret(&self, reference: &SecretRef) -> Option<&Arc<Object>> {
        self.secrets.get(&reference.namespace)?.get(&Key::new(&reference.namespace, &reference.name))
    }

    /// How many instances hold content on a cluster, and which mirrors there belong to none; written a little later, with
    /// others.
    pub fn count(&mut self, ctx: &Context, counts: &Counts) {
        for (name, entry) in self.entries.iter_mut().filter(|(_, e)| !e.implied) {
            let count = counts.instances.get(name).copied().unwrap_or(0);
            let unknown = match counts.unknown.get(name) {
                None if !entry.connection.is_running() => entry.unknown.clone(),
                found => found.cloned(),
            };
            if entry.instances != count || entry.unknown != unknown {
                if let Some(unknown) = unknown.as_ref().filter(|_| entry.unknown != unknown) {
                    tracing::warn!(cluster = %name, count = unknown.count, names = ?unknown.names, "mirrors there belong to no instance; they stay");
                }
                entry.instances = count;
                entry.unknown = unknown;
                self.timers.after(&Due::Count(name.clone()), ctx.clock.now().at, COUNT_PAUSE);
            }
        }
    }

    /// Why instances of some kind cannot be seen: until then no Cluster is let go, since one of them may hold content there.
    pub fn unseen(&mut self, ctx: &Context, why: Option<&str>) {
        for name in self.leaving() {
            let entry = self.entries.get_mut(&name).filter(|entry| entry.unseen.as_deref() != why);
            if let Some(entry) = entry {
                entry.unseen = why.map(str::to_owned);
                self.write_status(ctx, &name);
            }
        }
    }

    /// Content was let go, and is on record now.
    pub fn left_recorded(&mut self, ctx: &Context, name: &ClusterName, recorded: Recorded) {
        if let Some(entry) = self.entries.get_mut(name) {
            match (recorded, &mut entry.left) {
                (Recorded::More(left), Some(known)) => drop(known.insert(left.hub_uid.clone(), left)),
                (Recorded::All(left), known) => *known = Some(left),
                // It is read when the cluster connects.
                (Recorded::More(_), None) => {}
            }
        }
        self.write_status(ctx, name);
    }

    pub fn left_forgotten(&mut self, ctx: &Context, name: &ClusterName, hub_uid: &str) {
        if let Some(left) = self.entries.get_mut(name).and_then(|e| e.left.as_mut()) {
            left.remove(hub_uid);
        }
        self.write_status(ctx, name);
    }

    /// Nothing holds content on a cluster that is being deregistered: let the Cluster go.
    pub fn release(&mut self, ctx: &Context, name: &ClusterName) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        if !entry.object.has_finalizer(hub::FINALIZER) || !entry.writes.begin_finalizers(ctx.clock.now().at) {
            return;
        }
        entry.connection.stop();
        let left = entry.left.iter().flatten().map(|(_, left)| left.key().to_string());
        let left: Vec<String> = left.collect();
        if !left.is_empty() {
            let names: Vec<&str> = left.iter().map(String::as_str).collect();
            let message = format!(
                "content of {} stays there; it is on record: once that cluster is registered again, what no instance has any more is cleaned",
                crate::api::text::few(&names, 5)
            );
            ctx.publish(&entry.object, true, "LeftBehind", message);
        }
        tracing::info!(cluster = %name, left = left.len(), "deregistered");
        writes::write_finalizers(ctx, name, entry, &entry.object.finalizers_but(hub::FINALIZER));
    }
}

impl Effect {
    /// The cluster that it is about.
    pub fn cluster(&self) -> &ClusterName {
        match self {
            Self::Changed(name) | Self::Connected(name, _) | Self::Returned(name, _) => name,
        }
    }
}

impl Clusters {
    fn write_status(&mut self, ctx: &Context, name: &ClusterName) {
        if let Some(entry) = self.entries.get_mut(name).filter(|e| !e.implied) {
            writes::write_status(ctx, &mut self.timers, name, entry);
        }
    }
}
