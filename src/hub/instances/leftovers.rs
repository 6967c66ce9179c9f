//! What stands on clusters and is not where its instance is now: on record as left there, or found there.

use super::{Effect, Instances};
use crate::api::PackedObject;
use crate::api::keys::hub;
use crate::api::names::{ClusterName, GroupKind, InstanceKey};
use crate::hub::view::Key;
use crate::reconcile::fleet::{Fleet, Left, placement};
use crate::spoke::messages::ToSpoke;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is certain of kinds that nobody watches.
#[derive(Debug, Default)]
pub struct Unwatched {
    /// Instances of every kind that a definition serves are watched.
    pub all_watched: bool,
    /// Kinds without definition that have a CRD all the same: one that was abandoned leaves CRD and instances as they are.
    pub with_crd: BTreeSet<GroupKind>,
}

impl Unwatched {
    /// Whether the hub has no instance of a kind that is not watched.
    pub(super) fn has_none(&self, gk: &GroupKind) -> bool {
        self.all_watched && !self.with_crd.contains(gk)
    }
}

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

    /// Kinds of what was left, or found, that are not watched.
    pub fn left_of_unwatched(&self) -> BTreeSet<GroupKind> {
        let left = self.unjudged.iter().chain(&self.let_go).map(|(_, left)| left.key().gk.clone());
        let found = self.undiscovered.keys().map(|(_, gk)| gk.clone());
        left.chain(found).filter(|gk| !self.kinds.contains_key(gk)).collect()
    }

    /// Only what was recorded is cleaned, and only when it is certain that its instance does not want it.
    pub fn judge_leftovers(&mut self, unwatched: &Unwatched) {
        let (held, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.let_go).into_iter().partition(|(name, left)| self.holds(name, left));
        self.let_go = held;
        self.unjudged.extend(gone);
        self.undecided.clear();
        for (name, left) in std::mem::take(&mut self.unjudged) {
            if self.clusters.get(&name).is_some_and(|c| c.view.leaving && !c.delete_on_leave) {
                // Deregistered as it is: the record is read again when it is registered again.
                continue;
            }
            let key = left.key();
            let kind = self.kinds.get(&key.gk);
            if !kind.map_or_else(|| unwatched.has_none(&key.gk), |k| k.view.is_synced()) {
                self.unjudged.push((name, left));
                continue;
            }
            let instance = kind.and_then(|k| k.view.get(&Key::new(&key.namespace, &key.name)));
            let same = instance.map(|i| &i.object).filter(|i| i.uid() == left.hub_uid);
            let slot = kind.and_then(|k| k.slots.get(&key));
            let lives = same.filter(|i| !i.is_deleting());
            if lives.is_some() && !self.is_decided(&key) {
                // It may be wanted there: nobody looked at it since the cluster can be talked to.
                self.undecided.insert(key);
                self.unjudged.push((name, left));
            } else if same.is_some() && slot.is_some_and(|s| !s.fleet.is_recorded()) {
                // Where it goes is being written right now.
                self.unjudged.push((name, left));
            } else if lives.is_some_and(|i| self.names_unregistered(i)) {
                // Perhaps this cluster under its former name: nobody is asked to delete running workloads by a rename.
                self.unjudged.push((name, left));
            } else if same.is_some_and(|i| Fleet::holds(i).contains(&name) && self.is_let_go(i, &name)) {
                // It is about to be recorded once more.
                self.unjudged.push((name, left));
            } else if same.is_some_and(|i| Fleet::holds(i).contains(&name)) {
                // It is placed there again: its own record tells what to do from now on.
                self.ask(Effect::ForgetLeft(name, left.hub_uid));
            } else if lives.is_some() && slot.is_some_and(|s| s.fleet.spokes().any(|spoke| *spoke == name)) {
                // That it goes there is about to be recorded.
                self.unjudged.push((name, left));
            } else if self.cleaning.contains_key(&(name.clone(), key.clone())) {
                // What another instance of that name left there goes first.
                self.unjudged.push((name, left));
            } else if left.stays || (left.stays_while_it_lives && lives.is_some()) {
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

    /// Whether the machine of an instance decided by all that is known now.
    fn is_decided(&self, key: &InstanceKey) -> bool {
        let slot = self.kinds.get(&key.gk).and_then(|kind| kind.slots.get(key));
        slot.is_some_and(|slot| slot.stepped) && !self.lanes.has(key)
    }

    /// Whether leftovers waited for what was decided of this instance.
    pub fn was_awaited(&mut self, key: &InstanceKey) -> bool {
        self.undecided.remove(key)
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
    pub(super) fn discovered(
        &mut self,
        name: &ClusterName,
        gk: &GroupKind,
        mirrors: Vec<(InstanceKey, String)>,
    ) {
        let mut unknown = Vec::new();
        for (key, hub_uid) in mirrors {
            let cleaned = self.is_being_cleaned(name, &key, &hub_uid);
            match self.slot(&key).filter(|s| s.uid == hub_uid) {
                Some(slot) if !cleaned => {
                    slot.fleet.found(name);
                    self.enqueue(&key);
                }
                Some(_) => {}
                None => unknown.push((key, hub_uid)),
            }
        }
        self.unknown.listed(name, gk, unknown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::{Gvk, HubId};
    use crate::graph::patch::merge;
    use crate::hub::definitions;
    use crate::hub::instances::Outcome;
    use crate::reconcile::Now;
    use crate::reconcile::fleet::aggregate::ClusterHealth;
    use crate::reconcile::fleet::placement::DefaultPlacement;
    use crate::reconcile::fleet::{ClusterState, FleetAction};
    use crate::spoke::watch::Listed;
    use serde_json::json;

    fn gk() -> GroupKind {
        GroupKind::new("kro.run", "App")
    }

    fn eu() -> ClusterName {
        ClusterName::new("eu")
    }

    fn left(stays: &str) -> Left {
        let mut left = json!({"hubUid": "u", "group": "kro.run", "version": "v1alpha1", "kind": "App", "namespace": "shop",
            "name": "web", "groupKinds": ["ConfigMap"], "since": "2026-01-01T00:00:00Z"});
        left[stays] = json!(true);
        serde_json::from_value(left).unwrap()
    }

    /// A hub on which `eu` and `us` are registered; an instance that names `former` has left something on `eu`.
    fn hub(definition: bool) -> Instances {
        let mut instances = with_instance(definition.then_some("former"));
        instances.returned(&eu(), vec![left("-")]);
        instances
    }

    /// Where the instance says that it goes, if there is one.
    fn with_instance(clusters: Option<&str>) -> Instances {
        let mut instances = Instances::new(HubId::new("h"), DefaultPlacement::Local);
        let ready = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
        instances.cluster_changed(&eu(), ready.clone());
        instances.cluster_changed(&ClusterName::new("us"), ready);
        if let Some(clusters) = clusters {
            let gvk = Gvk::new("kro.run", "v1alpha1", "App");
            instances.serve(definitions::Effect::Watch { gvk, plural: "apps".into() });
            let object = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App", "metadata": {"name": "web", "namespace": "shop",
                "uid": "u", "resourceVersion": "1", "annotations": {"hub.kro.run/clusters": clusters}}});
            instances.seen(&gk(), Listed::Started);
            instances.seen(&gk(), Listed::Object(object));
            instances.seen(&gk(), Listed::Done(1));
        }
        instances
    }

    /// Whether what was left is on record no more, since the instance says where it is.
    fn forgets(instances: &mut Instances) -> bool {
        instances.judge_leftovers(&Unwatched { all_watched: true, ..Unwatched::default() });
        instances.take_effects().iter().any(|effect| matches!(effect, Effect::ForgetLeft(..)))
    }

    /// Whether what was left is cleaned up. `crd`: the kind has one on the hub.
    fn cleans(instances: &mut Instances, crd: bool) -> bool {
        instances.take_effects();
        let with_crd = instances.left_of_unwatched().into_iter().filter(|_| crd).collect();
        instances.judge_leftovers(&Unwatched { all_watched: true, with_crd });
        instances.take_effects().iter().any(|effect| matches!(effect, Effect::Send(_, ToSpoke::Task(_))))
    }

    /// Every instance is looked at.
    fn step(instances: &mut Instances) {
        while instances.step_next(&Now::default()).is_some() {}
    }

    /// Where the instance goes is on record.
    fn records(instances: &mut Instances) {
        for effect in instances.take_effects() {
            if let Effect::Request(target, FleetAction::PatchMeta { body }) = effect {
                let mut value = target.object.0.clone();
                merge(&mut value, &body);
                merge(&mut value, &json!({"metadata": {"resourceVersion": "2"}}));
                let now = Now::default();
                instances.outcome(&target.key, target.object.uid(), Outcome::Meta(Ok(value)), &now);
            }
        }
        step(instances);
    }

    #[test]
    fn nothing_is_cleaned_before_its_instance_was_looked_at_nor_where_it_goes() {
        for (clusters, cleaned) in [("*", false), ("eu", false), ("us", true)] {
            let mut instances = with_instance(Some(clusters));
            instances.returned(&eu(), vec![left("-")]);
            assert!(!cleans(&mut instances, true), "{clusters}: nobody looked at it");
            assert!(instances.was_awaited(&left("-").key()));
            step(&mut instances);
            records(&mut instances);
            let cleans = cleaned && cleans(&mut instances, true);
            assert_eq!(cleans, cleaned, "{clusters}");
            assert_eq!(forgets(&mut instances), !cleaned, "{clusters}");
            assert!(!instances.was_awaited(&left("-").key()));
        }
    }

    #[test]
    fn what_a_deregistered_cluster_kept_stays_while_its_instance_lives() {
        for (stays, lives, goes) in
            [("staysWhileItLives", false, true), ("stays", false, false), ("-", true, true)]
        {
            let mut instances = with_instance(Some("us"));
            instances.returned(&eu(), vec![left(stays)]);
            step(&mut instances);
            records(&mut instances);
            assert_eq!(cleans(&mut instances, true), lives, "{stays}");
            if !lives {
                let mut gone = with_instance(Some("us"));
                gone.seen(
                    &gk(),
                    Listed::Left(json!({"apiVersion": "kro.run/v1alpha1", "kind": "App",
                    "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "2"}})),
                );
                gone.returned(&eu(), vec![left(stays)]);
                assert_eq!(cleans(&mut gone, true), goes, "{stays}: the instance is gone");
            }
        }
    }

    #[test]
    fn what_an_abandoned_definition_left_is_cleaned_by_nobody() {
        let mut registered_again = hub(false);
        assert!(!cleans(&mut registered_again, true), "its instances may exist");
        assert!(cleans(&mut registered_again, false), "without CRD there is none");
        assert!(cleans(&mut hub(false), false));
        // What waits while the definition serves goes on waiting.
        let mut renamed = hub(true);
        step(&mut renamed);
        assert!(!cleans(&mut renamed, true), "perhaps it is `former` under another name");
        renamed.serve(definitions::Effect::Stop(gk()));
        assert!(!cleans(&mut renamed, true));
        assert!(cleans(&mut renamed, false));
    }
}
