//! From credentials to an actor: identity judged, claim made, contact lost and found.

use super::connect::{self, Asker, Claimed, Identified, Progress, Recognized};
use super::connection::{Actor, Connection};
use super::entry::ClusterEntry;
use super::same;
use super::source::{self, Blocked, Reason};
use super::{Clusters, Due, Effect};
use crate::api::keys::hub;
use crate::api::names::ClusterName;
use crate::hub::context::Context;
use crate::hub::identity::{Claim, ClusterInfo};
use crate::hub::neighbours::Neighbour;
use crate::hub::timers::Pauses;
use crate::spoke::actor;
use crate::spoke::messages::ContactState;
use crate::spoke::schemas::Reader;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// When a cluster is asked again that is not used because of what it says of itself.
const TRY_AGAIN: Pauses = Pauses { first: Duration::from_secs(60), longest: Duration::from_secs(300) };

impl Clusters {
    /// Connecting got further.
    pub fn progress(
        &mut self,
        ctx: &Context,
        name: &ClusterName,
        epoch: u64,
        progress: Progress,
    ) -> Vec<Effect> {
        let awaited = |e: &&ClusterEntry| match &progress {
            Progress::Recognized(episode, _) | Progress::Unrecognized(episode, _) => {
                e.connection.is_checking(epoch, *episode)
            }
            Progress::Stranger(_) => e.connection.is_actor(epoch) || e.connection.is_asking(epoch),
            _ => e.connection.is_asking(epoch),
        };
        let Some(before) = self.entries.get(name).filter(awaited).map(ClusterEntry::state) else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        match progress {
            Progress::Unrecognized(_, why) => self.unrecognized(ctx, name, why),
            Progress::Recognized(_, found) => effects.extend(self.returned(ctx, name, *found)),
            Progress::Unusable(why) => {
                let reference = self.entries.get(name).and_then(ClusterEntry::secret_ref);
                let blocked = source::unusable(reference, &why);
                self.block(ctx, name, blocked, false);
            }
            Progress::Failed(why) => self.failed(ctx, name, why),
            Progress::Stranger(found) => effects.extend(self.stranger(ctx, name, &found)),
            Progress::Identified(found) => self.identified(ctx, name, epoch, *found),
            Progress::Claimed(found) => effects.extend(self.claimed(ctx, name, *found)),
        }
        self.write_status(ctx, name);
        if self.entries.get(name).map(ClusterEntry::state) != Some(before) {
            effects.insert(0, Effect::Changed(name.clone()));
        }
        effects
    }

    /// The same credentials are not tried again at once; changed ones are. `again`: what is wrong may be mended on the
    /// cluster, of which nobody tells us.
    fn block(&mut self, ctx: &Context, name: &ClusterName, blocked: Blocked, again: bool) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let again_at = again.then(|| {
            let due = Due::TryAgain(name.clone());
            self.timers.failed(&due, ctx.clock.now().at, TRY_AGAIN);
            self.timers.time(&due)
        });
        entry.connection.refuse_credentials(blocked, again_at.flatten());
    }

    fn failed(&mut self, ctx: &Context, name: &ClusterName, why: ContactState) {
        let now = ctx.clock.now();
        let Some(entry) = self.entries.get_mut(name) else { return };
        let Connection::Asking(asking) = &mut entry.connection else { return };
        let lost = !matches!(why, ContactState::Unusable { .. });
        if asking.failed(why.clone()) && lost {
            entry.note_lost(&why, &now.rfc3339);
        }
    }

    fn identified(&mut self, ctx: &Context, name: &ClusterName, epoch: u64, found: Identified) {
        let Identified { info, line } = found;
        let Some(entry) = self.entries.get(name) else { return };
        let (local, implied) = (entry.cluster.spec.local, entry.implied);
        let known = entry.cluster.status.as_ref().map(same::written).unwrap_or_default();
        let found = info.id.clone();
        let Some(info) = same::recognize(&known, info) else {
            return self.block(ctx, name, changed(&known.id, &found), true);
        };
        if let Some(twin) = self.twin(name, &info, local).filter(|_| !implied) {
            let message = format!("{twin}; nothing is written through this Cluster");
            return self.block(ctx, name, Blocked::new(Reason::DuplicateCluster, message), true);
        }
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.info = Some(info.clone());
        if let Some(until) = entry.connection.until() {
            connect::claim(Asker::new(ctx, name, epoch, until), line, &info.id, local);
        }
    }

    /// Another registration of the same cluster, which came first.
    fn twin(&self, name: &ClusterName, info: &ClusterInfo, local: bool) -> Option<String> {
        if !local && info.is_same(&self.hub) {
            return Some(
                "it is the hub's own cluster; to use that as a spoke, register it with spec.local: true"
                    .into(),
            );
        }
        let other = self.entries.iter().find(|(n, e)| *n != name && !e.implied && e.identity().is_same(info));
        other.map(|(n, _)| format!("it is the same cluster as Cluster {n} (id {})", info.id))
    }

    fn claimed(&mut self, ctx: &Context, name: &ClusterName, found: Claimed) -> Vec<Effect> {
        let Claimed { claim, line, left } = found;
        if let Claim::Other(owner) = claim {
            self.block(ctx, name, claimed_by(&owner, ctx), true);
            return Vec::new();
        }
        let Some(entry) = self.entries.get_mut(name) else { return Vec::new() };
        let Some(epoch) = entry.connection.epoch() else { return Vec::new() };
        let (lease, trusted) = (ctx.lease.clone(), Arc::new(AtomicBool::new(true)));
        let (client, is_trusted) = (line.client.clone(), trusted.clone());
        let reader = Reader::new(ctx.book.clone(), ctx.pool.clone());
        let handle = actor::start(
            actor::Settings {
                cluster: name.clone(),
                epoch,
                local: entry.cluster.spec.local,
                bounds: entry.bounds(),
                hub_id: ctx.hub_id.clone(),
                client: line.client,
                health: Arc::new(Mutex::default()),
                contacts: line.contacts,
                pool: ctx.pool.clone(),
                clusters: ctx.talking.clone(),
                reader: reader.clone(),
                metrics: ctx.metrics.clone(),
                clock: ctx.clock.clone(),
                may_write: Arc::new(move || lease.is_held() && is_trusted.load(Ordering::Acquire)),
            },
            self.from_spokes.clone(),
            &ctx.cancel,
        );
        if !entry.cluster.spec.local {
            let neighbour = Neighbour {
                client: client.clone(),
                reader,
                trusted: trusted.clone(),
                handle: handle.clone(),
            };
            ctx.neighbours.add(name, neighbour);
        }
        tracing::info!(cluster = %name, "connected");
        ctx.metrics.healthy(name.as_str(), true);
        self.timers.settled(&Due::TryAgain(name.clone()));
        entry.connection.run(client, Actor::new(handle, trusted));
        entry.lost_since = None;
        entry.left = Some(left.clone());
        vec![Effect::Connected(name.clone(), left.into_values().collect())]
    }

    pub fn contact(&mut self, ctx: &Context, name: &ClusterName, state: ContactState) -> Vec<Effect> {
        let now = ctx.clock.now();
        let Some(entry) = self.entries.get_mut(name) else { return Vec::new() };
        let Connection::Running(running) = &mut entry.connection else { return Vec::new() };
        tracing::info!(cluster = %name, ?state, "contact changed");
        if state == ContactState::Ready {
            // Whoever answers now may be another cluster at the same address: it is asked before anything is written.
            let (number, asking) = running.check();
            let asker = Asker::new(ctx, name, running.epoch(), asking);
            connect::recognize(asker, number, &running.client);
            return Vec::new();
        }
        running.lose(state.clone());
        ctx.metrics.healthy(name.as_str(), false);
        entry.note_lost(&state, &now.rfc3339);
        self.write_status(ctx, name);
        vec![Effect::Changed(name.clone())]
    }

    /// Something answers again, but not who it is: nothing is written there, and the Cluster says why.
    fn unrecognized(&mut self, ctx: &Context, name: &ClusterName, why: ContactState) {
        let now = ctx.clock.now();
        let Some(entry) = self.entries.get_mut(name) else { return };
        if let Connection::Running(running) = &mut entry.connection {
            running.contact.is_unclear(why.clone());
            entry.note_lost(&why, &now.rfc3339);
        }
    }

    /// Contact is back, and it is known with whom.
    fn returned(&mut self, ctx: &Context, name: &ClusterName, found: Recognized) -> Vec<Effect> {
        let Recognized { info, claim } = found;
        let Some(entry) = self.entries.get_mut(name) else { return Vec::new() };
        let (known, found) = (entry.identity(), info.id.clone());
        let Some(info) = same::recognize(&known, info) else {
            self.block(ctx, name, changed(&known.id, &found), true);
            return Vec::new();
        };
        // Nobody claims the hub itself; as a spoke it may be another hub's.
        if let Claim::Other(owner) = claim
            && !entry.cluster.spec.local
        {
            self.block(ctx, name, claimed_by(&owner, ctx), true);
            return Vec::new();
        }
        entry.info = Some(info);
        entry.lost_since = None;
        if let Connection::Running(running) = &mut entry.connection {
            running.trust();
        }
        ctx.metrics.healthy(name.as_str(), true);
        let left = entry.left.iter().flatten().map(|(_, l)| l.clone()).collect();
        vec![Effect::Returned(name.clone(), left)]
    }

    /// A connection led to another cluster than the one that was judged. Nothing was sent there, and nothing is; who it
    /// is by then is asked again after a while.
    pub fn stranger(&mut self, ctx: &Context, name: &ClusterName, found: &str) -> Vec<Effect> {
        let Some(entry) = self.entries.get(name) else { return Vec::new() };
        let known = entry.identity().id;
        tracing::error!(cluster = %name, known, found, "a connection led to another cluster; it is not used");
        self.block(ctx, name, changed(&known, found), true);
        self.write_status(ctx, name);
        vec![Effect::Changed(name.clone())]
    }

    /// What people should know of a cluster that can be talked to.
    pub fn noted(&mut self, ctx: &Context, name: &ClusterName, notes: String) {
        if let Some(entry) = self.entries.get_mut(name) {
            tracing::info!(cluster = %name, notes, "what the cluster does");
            entry.notes = notes;
            self.write_status(ctx, name);
        }
    }

    /// The actor ended by itself: connect anew.
    pub fn ended(&mut self, ctx: &Context, name: &ClusterName, why: &str) -> Vec<Effect> {
        tracing::error!(cluster = %name, why, "an actor ended; connecting anew");
        if let Some(entry) = self.entries.get_mut(name) {
            entry.connection.forget_credentials();
        }
        self.look_again(ctx, name)
    }
}

fn changed(known: &str, found: &str) -> Blocked {
    let message = format!(
        "the credentials lead to cluster {found}, but this Cluster was cluster {known}; nothing is read from it or written \
         to it. If that is meant: delete this Cluster and register it again"
    );
    Blocked::new(Reason::IdentityChanged, message)
}

fn claimed_by(owner: &str, ctx: &Context) -> Blocked {
    let message = format!(
        "ConfigMap {}/{} there says that hub {owner} owns it; this is hub {}. If that hub is gone: delete the ConfigMap",
        hub::CLAIM_NAMESPACE,
        hub::CLAIM_CONFIGMAP,
        ctx.hub_id
    );
    Blocked::new(Reason::ClaimedByAnotherHub, message)
}
