//! Registered clusters: a labelled Secret makes a Cluster, a Cluster gets an actor once its identity is good.
//!
//! What never happens here: a Secret or a Cluster that is missing, unreadable or not yet listed takes nothing away from
//! any cluster. The actor ends, and that is all.

pub mod connect;
pub mod left;
mod registration;
pub mod source;
pub mod status;

use super::context::Context;
use super::identity::{Claim, ClusterInfo};
use super::resources::{clusters, secrets};
use super::view::{Change, Key, View};
use super::{Event, Watched};
use crate::api::cluster::{Cluster, ClusterStatus, LeftBehind, OnDeregister, SecretRef};
use crate::api::condition::{ConditionStatus, READY};
use crate::api::keys::hub;
use crate::api::names::ClusterName;
use crate::api::{Object, hash};
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::placement::ClusterView;
use crate::reconcile::fleet::{ClusterState, Left};
use crate::spoke::actor;
use crate::spoke::client::ApiError;
use crate::spoke::messages::{ContactState, FromSpoke, ToSpoke};
use crate::spoke::watch::{Listed, Scope};
use connect::{Line, Progress};
use serde_json::{Value, json};
use source::{Blocked, Source};
use status::{Facts, Standing};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

/// What the rest of the hub side has to hear of.
#[derive(Debug)]
pub(super) enum Effect {
    /// Anything that placement or status looks at; [`Clusters::states`] tells what.
    Changed,
    /// The cluster has a new actor, which knows nothing; and what was left there earlier.
    Connected(ClusterName, Vec<Left>),
}

/// A failing first contact is shown after this many tries in a row.
const TRIES_BEFORE_UNREACHABLE: u32 = 2;
const COUNT_PAUSE: Duration = Duration::from_secs(5);

enum Phase {
    Blocked(Blocked),
    Connecting { failure: Option<ContactState>, failures: u32 },
    Running { handle: actor::Handle, contact: ContactState },
}

struct Entry {
    object: Arc<Object>,
    cluster: Cluster,
    phase: Phase,
    /// Of the credentials that the phase stands for.
    fingerprint: Option<[u8; 32]>,
    epoch: u64,
    until: CancellationToken,
    info: Option<ClusterInfo>,
    left: BTreeMap<String, Left>,
    instances: i64,
    lost_since: Option<String>,
    writing: bool,
    /// A changed count waits to be written.
    count_due: bool,
}

pub(super) struct Clusters {
    view: View,
    secrets: BTreeMap<String, View>,
    entries: BTreeMap<ClusterName, Entry>,
    hub: ClusterInfo,
    epoch: u64,
    from_spokes: UnboundedSender<FromSpoke>,
}

impl Clusters {
    pub fn new(ctx: &Context, hub: ClusterInfo, from_spokes: UnboundedSender<FromSpoke>) -> Self {
        let mut all = BTreeMap::new();
        for namespace in &ctx.settings.cluster_namespaces {
            all.insert(namespace.clone(), View::default());
            let scope = Scope { namespace: Some(namespace.clone()), selector: None };
            ctx.watch(Watched::Secrets(namespace.clone()), secrets(), scope, ctx.cancel.clone());
        }
        ctx.watch(Watched::Clusters, clusters(), Scope::default(), ctx.cancel.clone());
        Self { view: View::default(), secrets: all, entries: BTreeMap::new(), hub, epoch: 0, from_spokes }
    }

    /// Whether every Cluster and every Secret was seen.
    pub fn is_synced(&self) -> bool {
        self.view.is_synced() && self.secrets.values().all(View::is_synced)
    }

    /// Every registered cluster, as placement sees it.
    pub fn states(&self) -> BTreeMap<ClusterName, ClusterState> {
        self.entries.iter().map(|(name, entry)| (name.clone(), entry.state())).collect()
    }

    pub fn any_spoke(&self) -> bool {
        self.entries.values().any(|e| !e.cluster.spec.local)
    }

    /// Hands a message to the actor of a cluster, if it has one.
    pub fn send(&self, name: &ClusterName, message: ToSpoke) {
        if let Some(Entry { phase: Phase::Running { handle, .. }, .. }) = self.entries.get(name) {
            drop(handle.tasks.send(message));
        }
    }

    pub fn broadcast(&self, message: impl Fn() -> ToSpoke) {
        for name in self.entries.keys() {
            self.send(name, message());
        }
    }

    /// The id under which leftovers of a cluster are recorded.
    pub fn record_id(&self, name: &ClusterName) -> String {
        let known = self.entries.get(name).and_then(Entry::cluster_id);
        known.unwrap_or_else(|| left::unknown_id(name))
    }

    /// Whether messages of this epoch come from the cluster's present actor.
    pub fn is_current(&self, name: &ClusterName, epoch: u64) -> bool {
        self.entries.get(name).is_some_and(|e| e.epoch == epoch && matches!(e.phase, Phase::Running { .. }))
    }

    /// The clusters that are being deregistered.
    pub fn leaving(&self) -> Vec<ClusterName> {
        self.entries.iter().filter(|(_, e)| e.object.is_deleting()).map(|(n, _)| n.clone()).collect()
    }

    pub fn seen_secret(&mut self, ctx: &Context, namespace: &str, listed: Listed) -> Vec<Effect> {
        let Some(view) = self.secrets.get_mut(namespace) else { return Vec::new() };
        let was_synced = self.view.is_synced() && view.is_synced();
        let changes = view.take(listed);
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
        let changes = self.view.take(listed);
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
        if let Some(secret) = &change.after {
            self.register(ctx, secret);
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
            Some(object) => self.reconcile(ctx, object),
            None => {
                if let Some(entry) = self.entries.remove(&name) {
                    entry.stop();
                }
                ctx.metrics.forget(name.as_str());
                let mut effects = vec![Effect::Changed];
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

    fn retry_twins(&mut self, ctx: &Context) -> Vec<Effect> {
        let twins: Vec<Arc<Object>> = self
            .entries
            .values_mut()
            .filter(|e| matches!(&e.phase, Phase::Blocked(b) if b.reason == "DuplicateCluster"))
            .map(|e| {
                e.fingerprint = None;
                e.object.clone()
            })
            .collect();
        twins.into_iter().flat_map(|object| self.reconcile(ctx, &object)).collect()
    }

    /// A labelled Secret asks for a Cluster.
    fn register(&mut self, ctx: &Context, secret: &Object) {
        let existing = self.view.get(&Key::new("", secret.name())).map(|o| (**o).clone());
        match registration::of(secret, existing.as_ref()) {
            registration::Verdict::Nothing => {}
            registration::Verdict::Refuse(message) => {
                tracing::warn!(secret = secret.name(), namespace = secret.namespace(), message);
                ctx.publish(secret, true, "ClusterNameTaken", message);
            }
            registration::Verdict::Apply(body) => {
                let (this, name) = (ctx.clone(), ClusterName::new(secret.name()));
                ctx.spawn(async move {
                    if !this.may_write() {
                        return;
                    }
                    let written =
                        this.client.apply(&clusters(), "", name.as_str(), hub::MANAGER, &body).await;
                    if let Err(error) = &written {
                        tracing::warn!(cluster = %name, %error, "registering a cluster failed");
                        this.later(Duration::from_secs(2), Event::ClusterDue(name.clone()));
                    }
                    this.tell(Event::ClusterWritten(name, written));
                });
            }
        }
    }

    /// Looks at one Cluster again: after a failure, or because something that it depends on changed.
    pub fn due(&mut self, ctx: &Context, name: &ClusterName) -> Vec<Effect> {
        if !self.is_synced() {
            return Vec::new();
        }
        let named: Vec<Arc<Object>> = self
            .secrets
            .values()
            .flat_map(|v| v.iter().filter(|(k, _)| k.name == name.as_str()).map(|(_, o)| o.clone()))
            .collect();
        for secret in named {
            self.register(ctx, &secret);
        }
        if let Some(entry) = self.entries.get_mut(name) {
            entry.count_due = false;
        }
        let object = self.view.get(&Key::new("", name.as_str())).cloned();
        object.map(|o| self.reconcile(ctx, &o)).unwrap_or_default()
    }

    pub fn written(
        &mut self,
        ctx: &Context,
        name: &ClusterName,
        result: Result<Value, ApiError>,
    ) -> Vec<Effect> {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.writing = false;
        }
        match result {
            Ok(value) => {
                self.view.refresh(value);
                self.due(ctx, name)
            }
            Err(ApiError::NotFound) => Vec::new(),
            Err(error) => {
                tracing::debug!(cluster = %name, %error, "writing a Cluster failed");
                ctx.later(Duration::from_secs(1), Event::ClusterDue(name.clone()));
                Vec::new()
            }
        }
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
        let before = self.entries.get(&name).map(Entry::state);
        let decided = self.source(ctx, &cluster);
        let entry = self.entries.entry(name.clone()).or_insert_with(|| Entry::new(object.clone(), &cluster));
        entry.object = object.clone();
        let paused = cluster.spec.paused;
        entry.cluster = cluster;
        if object.finalizers().iter().all(|f| f != hub::FINALIZER) && !object.is_deleting() {
            add_finalizer(ctx, &name, entry);
        }
        match decided {
            _ if paused => {
                entry.block(Blocked::ready("Paused", "spec.paused is true: nothing is written to it".into()))
            }
            Err(blocked) => entry.block(blocked),
            Ok(source) if entry.fingerprint == Some(source.fingerprint()) => {}
            Ok(source) => {
                self.epoch += 1;
                entry.restart(self.epoch, source.fingerprint());
                let limit = entry.cluster.spec.limits.as_ref().and_then(|l| l.in_flight);
                connect::identify(ctx, &name, self.epoch, &source, limit, entry.until.clone());
            }
        }
        self.write_status(ctx, &name);
        let after = self.entries.get(&name).map(Entry::state);
        if before == after { Vec::new() } else { vec![Effect::Changed] }
    }

    fn source(&self, ctx: &Context, cluster: &Cluster) -> Result<Source, Blocked> {
        let lookup = |r: &SecretRef| {
            let found = self.secrets.get(&r.namespace)?.get(&Key::new(&r.namespace, &r.name))?;
            Some((**found).clone())
        };
        source::of(&cluster.spec, lookup, &ctx.settings.cluster_namespaces, &ctx.settings.policy)
    }

    /// Connecting got further.
    pub fn progress(
        &mut self,
        ctx: &Context,
        name: &ClusterName,
        epoch: u64,
        progress: Progress,
    ) -> Vec<Effect> {
        let Some(before) = self.entries.get(name).filter(|e| e.epoch == epoch).map(Entry::state) else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        match progress {
            Progress::Unusable(message) => self.block(
                name,
                Blocked {
                    condition: crate::api::cluster::conditions::CREDENTIALS_VALID,
                    reason: "KubeconfigRefused",
                    message,
                },
            ),
            Progress::Failed(why) => self.failed(ctx, name, why),
            Progress::Identified(found) => {
                let (info, line) = *found;
                self.identified(ctx, name, epoch, info, line);
            }
            Progress::Claimed(found) => {
                let (claim, line, left) = *found;
                effects.extend(self.claimed(ctx, name, claim, line, left));
            }
        }
        self.write_status(ctx, name);
        if self.entries.get(name).map(Entry::state) != Some(before) {
            effects.insert(0, Effect::Changed);
        }
        effects
    }

    fn block(&mut self, name: &ClusterName, blocked: Blocked) {
        if let Some(entry) = self.entries.get_mut(name) {
            let fingerprint = entry.fingerprint;
            entry.block(blocked);
            // The same credentials are not tried again; changed ones are.
            entry.fingerprint = fingerprint;
        }
    }

    fn failed(&mut self, ctx: &Context, name: &ClusterName, why: ContactState) {
        let now = ctx.clock.now();
        let Some(entry) = self.entries.get_mut(name) else { return };
        if let Phase::Connecting { failure, failures } = &mut entry.phase {
            *failures += 1;
            let at_once = matches!(why, ContactState::Unauthorized(_));
            if *failures >= TRIES_BEFORE_UNREACHABLE || at_once {
                *failure = Some(why);
                entry.note_lost(&now.rfc3339);
            }
        }
    }

    fn identified(&mut self, ctx: &Context, name: &ClusterName, epoch: u64, info: ClusterInfo, line: Line) {
        let Some(entry) = self.entries.get(name) else { return };
        let local = entry.cluster.spec.local;
        let known = entry.cluster.status.as_ref().map(|s| s.cluster_id.clone()).unwrap_or_default();
        if !known.is_empty() && known != info.id {
            let message = format!(
                "the credentials lead to cluster {}, but this Cluster was cluster {known}; nothing is read from it or written \
                 to it. If that is meant: delete this Cluster and register it again",
                info.id
            );
            return self.block(name, Blocked::ready("IdentityChanged", message));
        }
        if let Some(twin) = self.twin(name, &info, local) {
            let message = format!("{twin}; nothing is written through this Cluster");
            return self.block(name, Blocked::ready("DuplicateCluster", message));
        }
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.info = Some(info.clone());
        connect::claim(ctx, name, epoch, &info.id, line, local, entry.until.clone());
    }

    /// Another registration of the same cluster, which came first.
    fn twin(&self, name: &ClusterName, info: &ClusterInfo, local: bool) -> Option<String> {
        if !local && info.id == self.hub.id {
            return Some(
                "it is the hub's own cluster; to use that as a spoke, register it with spec.local: true"
                    .into(),
            );
        }
        let other = self.entries.iter().find(|(n, e)| *n != name && e.cluster_id() == Some(info.id.clone()));
        other.map(|(n, _)| format!("it is the same cluster as Cluster {n} (id {})", info.id))
    }

    fn claimed(
        &mut self,
        ctx: &Context,
        name: &ClusterName,
        claim: Claim,
        line: Line,
        left: BTreeMap<String, Left>,
    ) -> Vec<Effect> {
        if let Claim::Other(owner) = claim {
            let message = format!(
                "ConfigMap {}/{} there says that hub {owner} owns it; this is hub {}. If that hub is gone: delete the ConfigMap",
                hub::CLAIM_NAMESPACE,
                hub::CLAIM_CONFIGMAP,
                ctx.hub_id
            );
            self.block(name, Blocked::claimed(message));
            // The claim may be lifted on the spoke; nobody tells us.
            if let Some(entry) = self.entries.get_mut(name) {
                entry.fingerprint = None;
            }
            ctx.later(Duration::from_secs(60), Event::ClusterDue(name.clone()));
            return Vec::new();
        }
        let Some(entry) = self.entries.get_mut(name) else { return Vec::new() };
        let lease = ctx.lease.clone();
        let handle = actor::start(
            actor::Settings {
                cluster: name.clone(),
                epoch: entry.epoch,
                local: entry.cluster.spec.local,
                hub_id: ctx.hub_id.clone(),
                client: line.client,
                health: Arc::new(Mutex::default()),
                contacts: line.contacts,
                pool: ctx.pool.clone(),
                metrics: ctx.metrics.clone(),
                clock: ctx.clock.clone(),
                may_write: Arc::new(move || lease.is_held()),
            },
            self.from_spokes.clone(),
        );
        tracing::info!(cluster = %name, "connected");
        ctx.metrics.healthy(name.as_str(), true);
        entry.phase = Phase::Running { handle, contact: ContactState::Ready };
        entry.lost_since = None;
        entry.left = left.clone();
        vec![Effect::Connected(name.clone(), left.into_values().collect())]
    }

    pub fn contact(&mut self, ctx: &Context, name: &ClusterName, state: ContactState) -> Vec<Effect> {
        let now = ctx.clock.now();
        let Some(entry) = self.entries.get_mut(name) else { return Vec::new() };
        let Phase::Running { contact, .. } = &mut entry.phase else { return Vec::new() };
        let ready = state == ContactState::Ready;
        tracing::info!(cluster = %name, ?state, "contact changed");
        ctx.metrics.healthy(name.as_str(), ready);
        *contact = state;
        if ready {
            entry.lost_since = None;
        } else {
            entry.note_lost(&now.rfc3339);
        }
        self.write_status(ctx, name);
        vec![Effect::Changed]
    }

    /// The actor ended by itself: connect anew.
    pub fn ended(&mut self, ctx: &Context, name: &ClusterName, why: &str) -> Vec<Effect> {
        tracing::error!(cluster = %name, why, "an actor ended; connecting anew");
        if let Some(entry) = self.entries.get_mut(name) {
            entry.fingerprint = None;
        }
        self.due(ctx, name)
    }

    /// How many instances hold content on a cluster; written a little later, with others.
    pub fn count(&mut self, ctx: &Context, counts: &BTreeMap<ClusterName, i64>) {
        for (name, entry) in &mut self.entries {
            let count = counts.get(name).copied().unwrap_or(0);
            if entry.instances != count {
                entry.instances = count;
                if !entry.count_due {
                    entry.count_due = true;
                    ctx.later(COUNT_PAUSE, Event::ClusterDue(name.clone()));
                }
            }
        }
    }

    pub fn left_recorded(&mut self, ctx: &Context, name: &ClusterName, left: Left) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.left.insert(left.hub_uid.clone(), left);
        }
        self.write_status(ctx, name);
    }
    pub fn left_forgotten(&mut self, ctx: &Context, name: &ClusterName, hub_uid: &str) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.left.remove(hub_uid);
        }
        self.write_status(ctx, name);
    }

    /// Nothing holds content on a cluster that is being deregistered: let the Cluster go.
    pub fn release(&mut self, ctx: &Context, name: &ClusterName) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let finalizers = entry.object.finalizers();
        if entry.writing || !finalizers.iter().any(|f| f == hub::FINALIZER) {
            return;
        }
        entry.stop();
        let rest: Vec<String> = finalizers.into_iter().filter(|f| f != hub::FINALIZER).collect();
        let patch =
            json!({"metadata": {"finalizers": rest, "resourceVersion": entry.object.resource_version()}});
        tracing::info!(cluster = %name, "deregistered");
        patch_cluster(ctx, name, entry, patch);
    }

    fn write_status(&mut self, ctx: &Context, name: &ClusterName) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        if entry.writing {
            return;
        }
        let old = entry.cluster.status.clone().unwrap_or_default();
        let was_used = old.conditions.iter().any(|c| c.type_ == READY);
        let standing = match &entry.phase {
            Phase::Blocked(blocked) => Standing::Blocked(blocked),
            // After a restart, what was written before stands until the first answer.
            Phase::Connecting { failure: None, .. } if was_used => return,
            Phase::Connecting { failure, .. } => Standing::Connecting(failure.as_ref()),
            Phase::Running { contact, .. } => Standing::Running(contact),
        };
        let counted = !entry.count_due;
        let facts = Facts {
            info: entry.info.clone(),
            instances: if counted { entry.instances } else { old.instances },
            left_behind: left_behind(&entry.left),
        };
        let now = ctx.clock.now();
        let new = status::status(&old, entry.object.generation(), &standing, &facts, &now);
        let (old, new) = (to_value(&old), to_value(&new));
        let Some(patch) = crate::reconcile::spoke::merge_patch(&old, &new) else { return };
        entry.writing = true;
        let (this, name) = (ctx.clone(), name.clone());
        let patch = json!({"metadata": {"uid": entry.object.uid()}, "status": patch});
        ctx.spawn(async move {
            let written = if this.may_write() {
                this.client.merge_status(&clusters(), "", name.as_str(), &patch).await
            } else {
                Err(ApiError::Other { code: 0, message: "this process does not hold the lease".into() })
            };
            this.tell(Event::ClusterWritten(name, written));
        });
    }
}

fn to_value(status: &ClusterStatus) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}

fn left_behind(left: &BTreeMap<String, Left>) -> Option<LeftBehind> {
    let names = left.values().take(10).map(|l| l.key().to_string()).collect();
    let count = i64::try_from(left.len()).unwrap_or(i64::MAX);
    (count > 0).then_some(LeftBehind { count, names })
}

fn add_finalizer(ctx: &Context, name: &ClusterName, entry: &mut Entry) {
    if entry.writing {
        return;
    }
    let mut finalizers = entry.object.finalizers();
    finalizers.push(hub::FINALIZER.to_owned());
    let patch =
        json!({"metadata": {"finalizers": finalizers, "resourceVersion": entry.object.resource_version()}});
    patch_cluster(ctx, name, entry, patch);
}

fn patch_cluster(ctx: &Context, name: &ClusterName, entry: &mut Entry, patch: Value) {
    entry.writing = true;
    let (this, name) = (ctx.clone(), name.clone());
    ctx.spawn(async move {
        let written = if this.may_write() {
            this.client.merge_patch(&clusters(), "", name.as_str(), &patch).await
        } else {
            Err(ApiError::Other { code: 0, message: "this process does not hold the lease".into() })
        };
        this.tell(Event::ClusterWritten(name, written));
    });
}

impl Entry {
    fn new(object: Arc<Object>, cluster: &Cluster) -> Self {
        let status = cluster.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().find(|c| c.type_ == READY);
        // A restart does not forget since when there is no contact.
        let lost_since = ready
            .filter(|c| {
                c.status == ConditionStatus::False
                    && matches!(c.reason.as_str(), "Unreachable" | "Unauthorized")
            })
            .map(|c| c.last_transition_time.clone());
        Self {
            object,
            cluster: cluster.clone(),
            phase: Phase::Connecting { failure: None, failures: 0 },
            fingerprint: None,
            epoch: 0,
            until: CancellationToken::new(),
            info: None,
            left: BTreeMap::new(),
            instances: status.instances,
            lost_since,
            writing: false,
            count_due: false,
        }
    }

    fn secret_ref(&self) -> Option<&SecretRef> {
        self.cluster.spec.credentials.as_ref().map(|c| &c.secret_ref)
    }

    /// The identity that this Cluster stands for, unless it was refused.
    fn cluster_id(&self) -> Option<String> {
        let written = self.cluster.status.as_ref().map(|s| s.cluster_id.clone());
        let known = self.info.as_ref().map(|i| i.id.clone()).or(written);
        known.filter(|id| !id.is_empty())
    }

    fn stop(&self) {
        self.until.cancel();
        if let Phase::Running { handle, .. } = &self.phase {
            handle.stop();
        }
    }

    fn block(&mut self, blocked: Blocked) {
        self.stop();
        self.phase = Phase::Blocked(blocked);
        self.fingerprint = None;
    }

    fn restart(&mut self, epoch: u64, fingerprint: [u8; 32]) {
        self.stop();
        self.phase = Phase::Connecting { failure: None, failures: 0 };
        self.epoch = epoch;
        self.fingerprint = Some(fingerprint);
        self.until = CancellationToken::new();
    }

    fn note_lost(&mut self, now: &str) {
        self.lost_since.get_or_insert_with(|| now.to_owned());
    }

    fn state(&self) -> ClusterState {
        let spec = &self.cluster.spec;
        ClusterState {
            view: ClusterView {
                labels: self.object.labels(),
                local: spec.local,
                allowed_namespaces: spec.allowed_namespaces.clone(),
                leaving: self.object.is_deleting(),
            },
            health: self.health(),
            delete_on_leave: spec.on_deregister == OnDeregister::Delete,
        }
    }

    fn health(&self) -> ClusterHealth {
        let lost = |why: &ContactState| {
            let message = match why {
                ContactState::Ready => return ClusterHealth::Ready,
                ContactState::Unreachable(m) | ContactState::Unauthorized(m) => m.clone(),
            };
            ClusterHealth::Unreachable { since: self.lost_since.clone().unwrap_or_default(), message }
        };
        match &self.phase {
            Phase::Blocked(b) => {
                ClusterHealth::NotReady { reason: b.reason.to_owned(), message: b.message.clone() }
            }
            Phase::Connecting { failure: None, .. } => ClusterHealth::Connecting,
            Phase::Connecting { failure: Some(why), .. } => lost(why),
            Phase::Running { contact, .. } => lost(contact),
        }
    }
}

/// Fingerprint of the labels that a Secret gave its Cluster.
fn labels_print(labels: &BTreeMap<String, String>) -> String {
    hash::json_hex(&json!(labels))
}
