//! Mirrors of this hub that clusters show and whose instance the hub does not have. They are listed, and nobody deletes them:
//! after a restore of the hub from a backup these are the newest workloads.

use super::Instances;
use super::leftovers::Unwatched;
use crate::api::cluster::UnknownMirrors;
use crate::api::names::{ClusterName, GroupKind, InstanceKey};
use crate::hub::view::Key;
use crate::reconcile::fleet::Fleet;
use std::collections::BTreeMap;

/// So many are named.
const NAMED: usize = 10;

/// By cluster: of which instance, and the uid that it had.
#[derive(Debug, Default)]
pub(super) struct Unknown(BTreeMap<ClusterName, BTreeMap<InstanceKey, String>>);

impl Unknown {
    /// These are all of a kind on a cluster.
    pub fn listed(&mut self, name: &ClusterName, gk: &GroupKind, mirrors: Vec<(InstanceKey, String)>) {
        if !mirrors.is_empty() {
            self.0.entry(name.clone()).or_default();
        }
        let Some(known) = self.0.get_mut(name) else { return };
        known.retain(|key, _| key.gk != *gk);
        known.extend(mirrors);
        self.0.retain(|_, known| !known.is_empty());
    }

    pub fn forget_cluster(&mut self, name: &ClusterName) {
        self.0.remove(name);
    }

    pub fn forget_kind(&mut self, gk: &GroupKind) {
        self.0.values_mut().for_each(|known| known.retain(|key, _| key.gk != *gk));
    }

    #[cfg(test)]
    pub fn remembered(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .flat_map(|(name, known)| known.keys().map(move |key| format!("unknown {key} on {name}")))
    }
}

impl Instances {
    /// The mirrors on each cluster that belong to no instance. `on_record`: it is counted as left there already.
    pub fn unclaimed(
        &mut self,
        unwatched: &Unwatched,
        on_record: impl Fn(&ClusterName, &str) -> bool,
    ) -> BTreeMap<ClusterName, UnknownMirrors> {
        let mut unknown = std::mem::take(&mut self.unknown);
        unknown.0.retain(|name, known| {
            known.retain(|key, uid| !self.is_claimed(name, key, uid));
            !known.is_empty() && self.clusters.contains_key(name)
        });
        let mut all: BTreeMap<ClusterName, UnknownMirrors> = BTreeMap::new();
        // Of a kind that has neither definition nor CRD, the hub has no instance.
        let of_no_kind = self
            .undiscovered
            .iter()
            .filter(|((_, gk), _)| !self.kinds.contains_key(gk) && unwatched.has_none(gk));
        let of_no_kind =
            of_no_kind.flat_map(|((name, _), mirrors)| mirrors.iter().map(move |(k, u)| (name, k, u)));
        let known = unknown.0.iter().flat_map(|(name, known)| known.iter().map(move |(k, u)| (name, k, u)));
        for (name, key, uid) in known.chain(of_no_kind) {
            if self.is_being_cleaned(name, key, uid) || on_record(name, uid) {
                continue;
            }
            let of = all.entry(name.clone()).or_default();
            of.count += 1;
            if of.names.len() < NAMED {
                of.names.push(key.to_string());
            }
        }
        self.unknown = unknown;
        all
    }

    /// Whether an instance looks after the mirror by now: its own, or one that took it over.
    fn is_claimed(&self, name: &ClusterName, key: &InstanceKey, uid: &str) -> bool {
        let Some(kind) = self.kinds.get(&key.gk) else { return false };
        let Some(instance) = kind.view.get(&Key::new(&key.namespace, &key.name)) else { return false };
        instance.object.uid() == uid || Fleet::holds(&instance.object).contains(name)
    }

    /// Whether it is known what becomes of a mirror, though its instance is not there.
    pub(super) fn is_being_cleaned(&self, name: &ClusterName, key: &InstanceKey, uid: &str) -> bool {
        self.cleaning.contains_key(&(name.clone(), key.clone()))
            || self.unjudged.iter().any(|(n, left)| n == name && left.hub_uid == uid)
            || self.vanished.has(name, uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::{Gvk, HubId};
    use crate::hub::definitions;
    use crate::reconcile::fleet::ClusterState;
    use crate::reconcile::fleet::placement::DefaultPlacement;
    use crate::spoke::messages::Said;
    use crate::spoke::watch::Listed;
    use serde_json::{Value, json};

    fn eu() -> ClusterName {
        ClusterName::new("eu")
    }
    fn key(kind: &str, name: &str) -> InstanceKey {
        InstanceKey::new(GroupKind::new("kro.run", kind), "shop", name)
    }
    fn shows(instances: &mut Instances, kind: &str, mirrors: &[(&str, &str)]) {
        let mirrors = mirrors.iter().map(|(name, uid)| (key(kind, name), (*uid).to_owned())).collect();
        instances.said(&eu(), Said::Mirrors { gk: GroupKind::new("kro.run", kind), mirrors });
    }
    fn listed(instances: &mut Instances, names: &[(&str, &str, &str)]) {
        let gk = GroupKind::new("kro.run", "App");
        instances.seen(&gk, Listed::Started);
        for (name, uid, holds) in names {
            let object: Value = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App", "metadata": {"name": name,
                "namespace": "shop", "uid": uid, "resourceVersion": "1", "annotations": {"hub.kro.run/holds": holds}}});
            instances.seen(&gk, Listed::Object(object));
        }
        instances.seen(&gk, Listed::Done(1));
    }
    fn named(instances: &mut Instances, with_crd: &[&str]) -> Vec<String> {
        let with_crd = with_crd.iter().map(|kind| GroupKind::new("kro.run", kind)).collect();
        let mut all =
            instances.unclaimed(&Unwatched { all_watched: true, with_crd }, |_, uid| uid == "on record");
        all.remove(&eu()).map(|of| of.names).unwrap_or_default()
    }

    #[test]
    fn mirrors_without_instance_are_named_until_somebody_claims_them_or_they_go() {
        let mut instances = Instances::new(HubId::new("h"), DefaultPlacement::Local);
        instances.cluster_changed(&eu(), ClusterState::default());
        let gvk = Gvk::new("kro.run", "v1alpha1", "App");
        instances.serve(definitions::Effect::Watch { gvk, plural: "apps".into() });
        shows(&mut instances, "App", &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "on record")]);
        assert!(named(&mut instances, &[]).is_empty(), "the instances were not listed");
        listed(&mut instances, &[("a", "1", "")]);
        assert_eq!(named(&mut instances, &[]), ["App.kro.run shop/b", "App.kro.run shop/c"]);
        // One of that name that goes elsewhere is not its own; one that is there took it over.
        listed(&mut instances, &[("a", "1", ""), ("b", "9", ""), ("c", "8", "eu")]);
        assert_eq!(named(&mut instances, &[]), ["App.kro.run shop/b"]);
        shows(&mut instances, "App", &[("a", "1")]);
        assert!(named(&mut instances, &[]).is_empty(), "it is not there any more");
        assert!(instances.take_effects().iter().all(|e| !matches!(
            e,
            crate::hub::instances::Effect::Send(_, crate::spoke::messages::ToSpoke::Task(_))
        )));
    }

    #[test]
    fn mirrors_of_a_kind_that_the_hub_does_not_know_are_named_unless_its_instances_may_exist() {
        let mut instances = Instances::new(HubId::new("h"), DefaultPlacement::Local);
        instances.cluster_changed(&eu(), ClusterState::default());
        let many: Vec<String> = (0..12).map(|n| format!("x{n:02}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (&**name, "u")).collect();
        shows(&mut instances, "Db", &many);
        assert!(named(&mut instances, &["Db"]).is_empty(), "its CRD is there: its definition was abandoned");
        let names = named(&mut instances, &[]);
        assert_eq!((names.len(), &*names[0]), (NAMED, "Db.kro.run shop/x00"));
        let all = Unwatched { all_watched: true, ..Unwatched::default() };
        assert_eq!(instances.unclaimed(&all, |_, _| false)[&eu()].count, 12);
        instances.connected(&eu(), Vec::new());
        assert!(named(&mut instances, &[]).is_empty(), "a new connection lists anew");
    }
}
