//! What stands on clusters and is not where its instance is now: on record as left there, or found there.

use super::{Effect, Instances};
use crate::api::PackedObject;
use crate::api::keys::hub;
use crate::api::names::{ClusterName, InstanceKey};
use crate::hub::view::Key;
use crate::reconcile::fleet::{Fleet, Left, placement};
use crate::spoke::messages::ToSpoke;
use std::sync::Arc;

impl Instances {
    /// A cluster can be talked to again.
    pub fn returned(&mut self, name: &ClusterName, left: Vec<Left>) {
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
    pub fn judge_leftovers(&mut self, all_watched: bool) {
        let (held, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.let_go).into_iter().partition(|(name, left)| self.holds(name, left));
        self.let_go = held;
        self.unjudged.extend(gone);
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
            let same = instance.map(|i| &i.object).filter(|i| i.uid() == left.hub_uid);
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
                self.ask(Effect::ForgetLeft(name, left.hub_uid));
            } else if left.stays {
                // Whoever let go said that it stays, until the instance is placed there again.
                self.unjudged.push((name, left));
            } else {
                tracing::info!(cluster = %name, instance = %key, "cleaning what was left behind");
                let removal = Arc::new(left.removal(&self.hub_id));
                self.send(&name, ToSpoke::Task(removal));
                self.cleaning.insert((name, key), left);
            }
        }
    }

    /// Whether the instance still says that it is there.
    fn holds(&self, name: &ClusterName, left: &Left) -> bool {
        let key = left.key();
        let view = self.kinds.get(&key.gk).map(|kind| &kind.view);
        let instance = view.and_then(|view| view.get(&Key::new(&key.namespace, &key.name)));
        let same = instance.map(|i| &i.object).filter(|i| i.uid() == left.hub_uid);
        same.is_some_and(|instance| Fleet::holds(instance).contains(name))
    }

    fn is_let_go(&self, instance: &PackedObject, name: &ClusterName) -> bool {
        placement::names(instance.annotation(hub::RELEASE)).contains(name)
            || self.clusters.get(name).is_some_and(|c| c.view.leaving)
    }

    fn names_unregistered(&self, instance: &PackedObject) -> bool {
        let named = placement::names(instance.annotation(hub::CLUSTERS));
        named.iter().any(|n| n.as_str() != "*" && !self.clusters.contains_key(n))
    }

    /// Mirrors of this hub that stand on a cluster, by instance and uid of the hub instance.
    pub(super) fn discovered(&mut self, name: &ClusterName, mirrors: Vec<(InstanceKey, String)>) {
        for (key, hub_uid) in mirrors {
            let cleaned = self.cleaning.contains_key(&(name.clone(), key.clone()))
                || self.unjudged.iter().any(|(n, l)| n == name && l.hub_uid == hub_uid);
            if let Some(slot) = self.slot(&key).filter(|s| s.uid == hub_uid && !cleaned) {
                slot.fleet.found(name);
                self.enqueue(&key);
            }
        }
    }
}
