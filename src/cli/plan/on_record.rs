//! What the hub has on record of rollouts: which versions there are, and what somebody approved.

use crate::api::Object;
use crate::api::keys::hub;
use crate::api::names::{GroupKind, InstanceKey};
use crate::edge::{Failure, Hub, Sort};
use crate::hub::resources;
use crate::reconcile::fleet::rollout::kind::{KindRecord, read_kind_version};
use crate::reconcile::fleet::rollout::{OnRecord, on_record_at, read_version, version_owner};
use crate::reconcile::rollout::approving::{self, Approved};
use std::collections::{BTreeMap, BTreeSet};

/// As the hub has it.
#[derive(Debug, Default)]
pub struct Rollouts {
    /// The controller's namespace.
    home: String,
    /// By the name that versions go by, and uid of the instance.
    instances: BTreeMap<(InstanceKey, String), OnRecord>,
    approved: BTreeMap<InstanceKey, BTreeSet<Approved>>,
    /// By uid of the ClusterPlacement, and kind.
    kinds: BTreeMap<(String, GroupKind), KindRecord>,
    /// By name of the ClusterPlacement.
    approved_of_kinds: BTreeMap<String, BTreeSet<Approved>>,
}

/// What is on record in these namespaces, and in that of the controller where it may be read. The second is why not all of it
/// is known.
///
/// # Errors
/// The hub does not answer.
pub async fn read(
    hub: &Hub,
    namespaces: &BTreeSet<String>,
    home: &str,
) -> Result<(Rollouts, Option<String>), Failure> {
    let [versions, approvals] = [resources::controller_revisions(), resources::rollout_approvals()];
    let mut hidden = Vec::new();
    let mut objects = Vec::new();
    for (resource, selector) in [(versions, Some(hub::VERSION_OF)), (approvals, None)] {
        match hub.connection.list_within_reach(&resource, selector, namespaces).await {
            Ok((found, _)) => objects.push(found),
            Err(failure) if matches!(failure.sort, Sort::Forbidden | Sort::NotServed) => {
                hidden.extend((failure.sort == Sort::Forbidden).then_some(resource.plural));
                objects.push(Vec::new());
            }
            Err(failure) => return Err(failure),
        }
    }
    let approvals = objects.pop().unwrap_or_default();
    let versions = objects.pop().unwrap_or_default();
    let note = (!hidden.is_empty()).then(|| {
        format!(
            "you may not list {} on the hub: a change that goes back, and what is approved, are told as if they were not",
            hidden.join(" and ")
        )
    });
    Ok((Rollouts::of(home, &versions, &approvals), note))
}

impl Rollouts {
    fn of(home: &str, versions: &[Object], approvals: &[Object]) -> Self {
        let mut all = Self { home: home.to_owned(), ..Self::default() };
        for object in versions {
            if let Some((uid, kind, version)) =
                read_kind_version(object).filter(|_| object.namespace() == home)
            {
                all.kinds.entry((uid, kind)).or_default().versions.insert(version.number, version);
            } else if let Some(((uid, version), key)) = read_version(object).zip(version_owner(object)) {
                // It counts beside its instance alone.
                all.instances.entry((key, uid)).or_default().versions.insert(version.number, version);
            }
        }
        for object in approvals {
            if let Some((key, approved)) = approving::read_of_instance(object) {
                all.approved.entry(key).or_default().insert(approved);
            } else if let Some((name, approved)) =
                approving::read_of_kind(object).filter(|_| object.namespace() == home)
            {
                all.approved_of_kinds.entry(name).or_default().insert(approved);
            }
        }
        all
    }

    /// Of an instance.
    pub fn of_instance(&self, key: &InstanceKey, uid: &str) -> OnRecord {
        let key = on_record_at(key, &self.home);
        let approvals = self.approved.get(&key).cloned().unwrap_or_default();
        let known = self.instances.get(&(key, uid.to_owned())).cloned().unwrap_or_default();
        OnRecord { approvals, ..known }
    }

    /// Of a kind, as the ClusterPlacement of this name and uid moves it.
    pub fn of_kind(&self, name: &str, uid: &str, kind: &GroupKind) -> KindRecord {
        let approvals = self.approved_of_kinds.get(name).cloned().unwrap_or_default();
        let known = self.kinds.get(&(uid.to_owned(), kind.clone())).cloned().unwrap_or_default();
        KindRecord { approvals, ..known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn version(namespace: &str, name: &str, uid: &str, number: u64, data: Value) -> Object {
        Object(
            json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": number, "data": data,
            "metadata": {"namespace": namespace, "name": format!("{name}-{number}"),
                "labels": {hub::VERSION_OF: uid},
                "ownerReferences": [{"apiVersion": "kro.run/v1alpha1", "kind": "App", "name": name, "uid": uid}]}}),
        )
    }

    fn approval(namespace: &str, of: Value, version: u64) -> Object {
        let mut spec = json!({"version": version, "stage": "prod"});
        spec.as_object_mut().unwrap().extend(of.as_object().unwrap().clone());
        Object(json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "RolloutApproval",
            "metadata": {"namespace": namespace, "name": "a"}, "spec": spec}))
    }

    #[test]
    fn a_record_counts_beside_its_instance_and_that_of_a_kind_beside_the_controller() {
        let content = json!({"graph": "g", "print": "p", "spec": {}});
        let of_kind = json!({"kind": {"group": "kro.run", "kind": "App"}, "revision": 3, "graph": "g"});
        let versions = [
            version("shop", "web", "u1", 1, content.clone()),
            version("shop", "web", "u1", 2, content.clone()),
            version("other", "web", "u1", 7, content.clone()),
            version("home", "cluster-wide", "u2", 4, content),
            version("home", "kinds", "u3", 5, of_kind.clone()),
            version("shop", "kinds", "u3", 6, of_kind),
        ];
        let instance = json!({"instance": {"group": "kro.run", "kind": "App", "name": "web"}});
        let placement = json!({"clusterPlacement": "kinds"});
        let approvals = [
            approval("shop", instance.clone(), 2),
            approval("other", instance, 7),
            approval("home", placement.clone(), 5),
            approval("shop", placement, 6),
        ];
        let all = Rollouts::of("home", &versions, &approvals);
        let gk = GroupKind::new("kro.run", "App");
        let shown = |key: &InstanceKey, uid: &str| {
            let OnRecord { versions, approvals } = all.of_instance(key, uid);
            let approved: Vec<u64> = approvals.iter().map(|(number, _)| *number).collect();
            (versions.keys().copied().collect::<Vec<_>>(), approved)
        };
        let web = InstanceKey::new(gk.clone(), "shop", "web");
        assert_eq!(shown(&web, "u1"), (vec![1, 2], vec![2]));
        assert_eq!(shown(&web, "of one before"), (vec![], vec![2]));
        assert_eq!(shown(&InstanceKey::new(gk.clone(), "", "cluster-wide"), "u2"), (vec![4], vec![]));
        let KindRecord { versions, approvals } = all.of_kind("kinds", "u3", &gk);
        assert_eq!(versions.keys().copied().collect::<Vec<_>>(), [5]);
        assert_eq!(approvals.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [5]);
    }
}
