//! Instances that went before clusters were rid of them: somebody took our finalizer off.
//!
//! What one leaves is put on record and cleaned only where it was seen being deleted, which is somebody's decision. One that
//! is missing without that may be missing because the hub was restored: what it has on clusters is listed, and stays.

use super::{Effect, Instances, Target};
use crate::api::names::{ClusterName, InstanceKey};
use crate::hub::clusters::left_behind::Recorded;
use crate::reconcile::Moment;
use crate::reconcile::Now;
use crate::reconcile::fleet::{FleetAction, Left};
use crate::reconcile::retry::Retry;
use crate::reconcile::world::Stored;
use crate::spoke::client::ApiError;
use crate::spoke::messages::ToSpoke;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is still to be put on record, by cluster and uid of the instance.
#[derive(Debug, Default)]
pub(super) struct Vanished(BTreeMap<(ClusterName, String), Unrecorded>);

#[derive(Debug)]
struct Unrecorded {
    target: Target,
    left: Left,
    busy: bool,
    retry: Retry,
}

impl Vanished {
    /// When the next record is to be tried again.
    pub fn next(&self) -> Option<Moment> {
        self.0.values().filter(|unrecorded| !unrecorded.busy).filter_map(|u| u.retry.at()).min()
    }

    /// Whether what the instance with this uid left there is to be put on record.
    pub fn has(&self, name: &ClusterName, uid: &str) -> bool {
        self.0.keys().any(|(cluster, of)| cluster == name && of == uid)
    }

    /// Whether something is left on the cluster of which there is no record yet.
    pub fn any(&self, name: &ClusterName) -> bool {
        self.0.keys().any(|(cluster, _)| cluster == name)
    }

    #[cfg(test)]
    pub fn remembered(&self) -> impl Iterator<Item = String> {
        self.0.keys().map(|(name, uid)| format!("unrecorded: {uid} on {name}"))
    }
}

impl Instances {
    /// The instance is not there any more, or another one has its name.
    pub(super) fn went(&mut self, key: &InstanceKey, before: &Arc<Stored>) {
        let Some(kind) = self.kinds.get(&key.gk) else { return };
        let Some(slot) = kind.slots.get(key).filter(|slot| slot.uid == before.object.uid()) else { return };
        let left = slot.fleet.left_by(&before.object, kind.graph.as_ref());
        if !before.object.is_deleting() {
            for (name, _) in left {
                self.send(&name, ToSpoke::TellMirrors(key.gk.clone()));
            }
            return;
        }
        let target = Target {
            key: key.clone(),
            object: Arc::new(before.object.unpack()),
            resource: kind.resource.clone(),
        };
        for (name, left) in left {
            tracing::warn!(instance = %key, cluster = %name, "it went before the cluster was rid of it");
            let place = (name, left.hub_uid.clone());
            let unrecorded =
                Unrecorded { target: target.clone(), left, busy: false, retry: Retry::default() };
            self.vanished.0.insert(place, unrecorded);
        }
        self.record_vanished(Moment::START);
    }

    /// Asks for the records whose time has come.
    pub(super) fn record_vanished(&mut self, now: Moment) {
        for ((cluster, _), unrecorded) in &mut self.vanished.0 {
            if unrecorded.busy || unrecorded.retry.at().is_some_and(|at| at > now) {
                continue;
            }
            unrecorded.busy = true;
            let action = FleetAction::RecordLeft { cluster: cluster.clone(), left: unrecorded.left.clone() };
            self.effects.push(Effect::Request(unrecorded.target.clone(), action));
        }
    }

    /// What a cluster has of an instance is on record, or could not be put there.
    pub(super) fn record_answered(
        &mut self,
        (key, uid): (&InstanceKey, &str),
        (cluster, result): (ClusterName, Result<Recorded, ApiError>),
        now: &Now,
    ) -> Option<(ClusterName, Recorded)> {
        let Some(slot) = self.slot(key).filter(|slot| slot.uid == uid) else {
            return self.vanished_recorded(uid, (cluster, result), now);
        };
        slot.fleet.left_recorded(&cluster, result.is_ok(), now);
        self.enqueue(key);
        let recorded = result.ok()?;
        let own = recorded.of(uid).filter(|left| left.stays);
        self.let_go.extend(own.map(|left| (cluster.clone(), left)));
        Some((cluster, recorded))
    }

    /// The same of one that is not there any more: what it left is cleaned as soon as the cluster can be talked to.
    fn vanished_recorded(
        &mut self,
        uid: &str,
        (cluster, result): (ClusterName, Result<Recorded, ApiError>),
        now: &Now,
    ) -> Option<(ClusterName, Recorded)> {
        let place = (cluster, uid.to_owned());
        match result {
            Ok(recorded) => {
                self.vanished.0.remove(&place);
                let (cluster, _) = place;
                if self.clusters.contains_key(&cluster) {
                    self.returned(&cluster, recorded.of(uid).into_iter().collect());
                }
                Some((cluster, recorded))
            }
            Err(error) => {
                tracing::warn!(cluster = %place.0, %error, "what is left there is not on record yet");
                if let Some(unrecorded) = self.vanished.0.get_mut(&place) {
                    unrecorded.busy = false;
                    unrecorded.retry.failed(now);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::{GroupKind, Gvk, HubId};
    use crate::hub::definitions;
    use crate::hub::instances::{Outcome, Unwatched};
    use crate::reconcile::fleet::ClusterState;
    use crate::reconcile::fleet::aggregate::ClusterHealth;
    use crate::reconcile::fleet::placement::DefaultPlacement;
    use crate::spoke::messages::Said;
    use crate::spoke::watch::Listed;
    use serde_json::{Value, json};
    use std::time::Duration;

    fn gk() -> GroupKind {
        GroupKind::new("kro.run", "App")
    }
    fn eu() -> ClusterName {
        ClusterName::new("eu")
    }
    fn key() -> InstanceKey {
        InstanceKey::new(gk(), "shop", "web")
    }
    fn now(seconds: u64) -> Now {
        Now { at: Moment::START.after(Duration::from_secs(seconds)), ..Now::default() }
    }

    fn instance(uid: &str, version: u64, deleting: bool, holds: &str) -> Value {
        let mut object = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App", "metadata": {"name": "web",
            "namespace": "shop", "uid": uid, "resourceVersion": version.to_string(), "finalizers": ["kro.run/finalizer"],
            "annotations": {"hub.kro.run/clusters": "eu", "hub.kro.run/holds": holds}}});
        if deleting {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        object
    }

    /// How it went.
    #[derive(Clone, Copy, Debug)]
    enum Way {
        Event,
        List,
        ListWithAnother,
    }

    /// A hub on which the instance was seen so, with `eu` in this health.
    fn hub(health: ClusterHealth, deleting: bool, holds: &str) -> Instances {
        let mut instances = Instances::new(HubId::new("h"), DefaultPlacement::Local);
        instances.cluster_changed(&eu(), ClusterState { health, ..ClusterState::default() });
        let gvk = Gvk::new("kro.run", "v1alpha1", "App");
        instances.serve(definitions::Effect::Watch { gvk, plural: "apps".into() });
        instances.seen(&gk(), Listed::Started);
        instances.seen(&gk(), Listed::Object(instance("u", 1, false, holds)));
        instances.seen(&gk(), Listed::Done(1));
        if deleting {
            instances.seen(&gk(), Listed::Object(instance("u", 2, true, holds)));
        }
        instances.take_effects();
        instances
    }

    fn goes(instances: &mut Instances, way: Way) {
        match way {
            Way::Event => instances.seen(&gk(), Listed::Left(instance("u", 3, true, "eu"))),
            Way::List | Way::ListWithAnother => {
                instances.seen(&gk(), Listed::Started);
                if matches!(way, Way::ListWithAnother) {
                    instances.seen(&gk(), Listed::Object(instance("v", 4, false, "")));
                }
                instances.seen(&gk(), Listed::Done(5));
            }
        }
    }

    /// What is to be put on record, and where.
    fn records(instances: &mut Instances) -> Vec<(ClusterName, Left)> {
        let record = |effect| match effect {
            Effect::Request(_, FleetAction::RecordLeft { cluster, left }) => Some((cluster, left)),
            _ => None,
        };
        instances.take_effects().into_iter().filter_map(record).collect()
    }

    fn told(effects: &[Effect]) -> Vec<&ToSpoke> {
        let messages = effects.iter().filter_map(|effect| match effect {
            Effect::Send(_, message) => Some(message),
            _ => None,
        });
        messages.collect()
    }

    fn lost() -> ClusterHealth {
        ClusterHealth::Unreachable { since: String::new(), message: String::new() }
    }

    #[test]
    fn what_a_deleted_instance_left_without_its_finalizer_is_on_record_and_cleaned() {
        for health in [ClusterHealth::Ready, lost()] {
            for way in [Way::Event, Way::List, Way::ListWithAnother] {
                let mut instances = hub(health.clone(), true, "eu");
                goes(&mut instances, way);
                assert!(instances.holds_any(&eu()), "{way:?}: a Cluster that goes waits for the record");
                let found = records(&mut instances);
                let [(cluster, left)] = &found[..] else { panic!("{way:?}: {found:?}") };
                assert_eq!((cluster, &*left.hub_uid, left.key()), (&eu(), "u", key()));
                assert_eq!(left.since, "2026-01-01T00:00:00Z");
                assert!(!left.stays && !left.stays_while_it_lives);
                // It fails, and is tried again.
                let failed = Outcome::Left(eu(), Err(ApiError::Timeout));
                assert!(instances.outcome(&key(), "u", failed, &now(1)).is_none());
                assert!(records(&mut instances).is_empty(), "{way:?}: not at once");
                let next = instances.next_wake().unwrap();
                instances.wake_due(next);
                assert_eq!(records(&mut instances).len(), 1, "{way:?}");
                let recorded = Outcome::Left(eu(), Ok(Recorded::More(left.clone())));
                assert!(instances.outcome(&key(), "u", recorded, &now(2)).is_some());
                instances.judge_leftovers(&Unwatched { all_watched: true, ..Unwatched::default() });
                let effects = instances.take_effects();
                let told = told(&effects);
                assert!(
                    matches!(&told[..], [ToSpoke::Task(task)] if task.hub_uid == "u"),
                    "{way:?}: {effects:?}"
                );
                instances.said(&eu(), Said::Gone { key: key(), hub_uid: "u".into() });
                let over = instances.take_effects();
                assert!(over.iter().any(|e| matches!(e, Effect::ForgetLeft(_, uid) if uid == "u")));
                assert!(instances.vanished.0.is_empty() && !instances.holds_any(&eu()));
            }
        }
    }

    #[test]
    fn what_went_without_being_deleted_is_never_cleaned() {
        for way in [Way::Event, Way::List, Way::ListWithAnother] {
            let mut instances = hub(ClusterHealth::Ready, false, "eu");
            goes(&mut instances, way);
            let effects = instances.take_effects();
            let asks = |e: &Effect| matches!(e, Effect::Send(name, ToSpoke::TellMirrors(kind)) if *name == eu() && *kind == gk());
            assert!(effects.iter().any(asks), "{way:?}: it is listed");
            let touches = |e: &Effect| {
                matches!(
                    e,
                    Effect::Request(_, FleetAction::RecordLeft { .. }) | Effect::Send(_, ToSpoke::Task(_))
                )
            };
            assert!(!effects.iter().any(touches), "{way:?}: {effects:?}");
            instances.judge_leftovers(&Unwatched { all_watched: true, ..Unwatched::default() });
            assert!(told(&instances.take_effects()).is_empty(), "{way:?}");
        }
    }

    #[test]
    fn what_clusters_are_rid_of_is_put_on_no_record() {
        // It holds nothing.
        let mut instances = hub(ClusterHealth::Ready, true, "");
        goes(&mut instances, Way::Event);
        assert!(records(&mut instances).is_empty());
        // The cluster confirmed it, and the record on the instance was not rewritten yet.
        let mut instances = hub(ClusterHealth::Ready, true, "eu");
        while instances.step_next(&now(1)).is_some() {}
        instances.said(&eu(), Said::Gone { key: key(), hub_uid: "u".into() });
        instances.take_effects();
        goes(&mut instances, Way::Event);
        assert!(records(&mut instances).is_empty());
        // An earlier record that is answered late is known to the Clusters.
        let mut instances = hub(ClusterHealth::Ready, true, "eu");
        let annotated = {
            let mut object = instance("u", 3, true, "eu");
            object["metadata"]["annotations"]["hub.kro.run/release"] = json!("eu");
            object
        };
        instances.seen(&gk(), Listed::Object(annotated));
        while instances.step_next(&now(1)).is_some() {}
        let [(_, left)] = &records(&mut instances)[..] else { panic!() };
        goes(&mut instances, Way::Event);
        let late = Outcome::Left(eu(), Ok(Recorded::More(left.clone())));
        assert!(instances.outcome(&key(), "u", late, &now(2)).is_some());
    }

    #[test]
    fn two_that_left_something_under_one_name_are_cleaned_one_after_the_other() {
        let mut instances = hub(ClusterHealth::Ready, true, "eu");
        let left = |uid: &str| Left { hub_uid: uid.into(), ..instances_left() };
        goes(&mut instances, Way::Event);
        instances.returned(&eu(), vec![left("u"), left("t")]);
        let all = Unwatched { all_watched: true, ..Unwatched::default() };
        let mut cleaned = Vec::new();
        for _ in 0..2 {
            instances.judge_leftovers(&all);
            let effects = instances.take_effects();
            let tasks = told(&effects).into_iter().filter_map(|message| match message {
                ToSpoke::Task(task) => Some(task.hub_uid.clone()),
                _ => None,
            });
            let tasks: Vec<String> = tasks.collect();
            assert_eq!(tasks.len(), 1, "{tasks:?}");
            instances.said(&eu(), Said::Gone { key: key(), hub_uid: tasks[0].clone() });
            cleaned.extend(tasks);
        }
        cleaned.sort();
        assert_eq!(cleaned, ["t", "u"]);
    }

    fn instances_left() -> Left {
        serde_json::from_value(
            json!({"hubUid": "-", "group": "kro.run", "version": "v1alpha1", "kind": "App",
            "namespace": "shop", "name": "web", "groupKinds": [], "since": "2026-01-01T00:00:00Z"}),
        )
        .unwrap()
    }
}
