//! What is on record of rollouts: versions of instances, and what somebody approved.

use super::{Effect, InstanceKey, Instances, Outcome, Target};
use crate::api::Object;
use crate::api::keys::hub;
use crate::api::maps::HashMap;
use crate::api::names::GroupKind;
use crate::graph::Graph;
use crate::hub::resources;
use crate::hub::view::{Change, Key, View};
use crate::reconcile::Moment;
use crate::reconcile::fleet::FleetAction;
use crate::reconcile::fleet::rollout::kind::{By, KindRecord, read_kind_version};
use crate::reconcile::fleet::rollout::{OnRecord, on_record_at, read_version, version_owner};
use crate::reconcile::rollout::approving;
use crate::spoke::client::{ApiError, Verbs};
use crate::spoke::watch::Listed;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Rollouts {
    versions: View,
    approvals: View,
    /// By the name of the instance, then by its uid: versions may be seen before the instance is. A version counts beside its
    /// instance alone: who may write in another namespace says nothing of it, whatever uid they write.
    on_record: HashMap<InstanceKey, BTreeMap<String, Arc<OnRecord>>>,
    /// Graphs that somebody may run by who is not to have the newest: by kind and hash.
    graphs: BTreeMap<(GroupKind, String), Wanted>,
    /// Versions with stages, by instance.
    approved: BTreeMap<InstanceKey, BTreeSet<(u64, Arc<str>)>>,
    /// What is on record of whole kinds, by uid of the ClusterPlacement.
    of_kinds: BTreeMap<String, Arc<KindRecord>>,
    /// Versions with stages, by ClusterPlacement.
    approved_of_kinds: BTreeMap<String, BTreeSet<(u64, Arc<str>)>>,
    /// Something of these kinds changed since somebody asked.
    changed_kinds: BTreeSet<GroupKind>,
    /// The controller's namespace: what moves whole kinds stands there.
    pub home: String,
    /// Nobody is moved before.
    pub quiet_until: Moment,
}

/// A graph that is to be at hand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    /// Somebody was asked for it since the kind is served.
    asked: bool,
    /// How many versions on record were made with it.
    versions: usize,
}

impl Rollouts {
    pub fn are_synced(&self) -> bool {
        self.versions.is_synced() && self.approvals.is_synced()
    }

    pub fn of(&self, key: &InstanceKey, uid: &str) -> Option<&Arc<OnRecord>> {
        self.on_record.get(&on_record_at(key, &self.home))?.get(uid)
    }

    /// What was approved before anything else is on record is known as well: an earlier instance may have had the name.
    pub fn prepare(&mut self, key: &InstanceKey, uid: &str) {
        if self.approved.is_empty() || self.of(key, uid).is_some() {
            return;
        }
        let key = on_record_at(key, &self.home);
        if let Some(approvals) = self.approved.get(&key) {
            let on_record = OnRecord { approvals: approvals.clone(), ..OnRecord::default() };
            self.on_record.entry(key).or_default().insert(uid.to_owned(), Arc::new(on_record));
        }
    }

    /// The instance is gone. Versions of it that are still there are forgotten as they go.
    pub fn forget(&mut self, key: &InstanceKey, uid: &str) {
        if self.of(key, uid).is_some_and(|known| known.versions.is_empty()) {
            let key = on_record_at(key, &self.home);
            self.drop(&key, uid);
        }
    }

    fn drop(&mut self, key: &InstanceKey, uid: &str) {
        if let Some(of_name) = self.on_record.get_mut(key) {
            of_name.remove(uid);
            if of_name.is_empty() {
                self.on_record.remove(key);
            }
        }
    }

    /// The version that an answer says is gone. One that was not found any more tells no uid, and is whatever is known by
    /// its name: else it would be asked for again and again until the watch says so.
    fn gone(&self, answer: Value) -> Value {
        let answer = Object(answer);
        let known = self.versions.get(&Key::new(answer.namespace(), answer.name()));
        match known.filter(|_| answer.uid().is_empty()) {
            Some(known) => known.0.clone(),
            None => answer.0,
        }
    }

    /// Takes in versions that changed; the instances that it concerns.
    fn versions_changed(&mut self, changes: Vec<Change>) -> BTreeSet<InstanceKey> {
        let mut concerned = BTreeSet::new();
        for Change { before, after, .. } in changes {
            for (object, is_there) in [(before, false), (after, true)] {
                let Some(object) = object else { continue };
                if object.namespace() == self.home
                    && let Some((uid, gk, version)) = read_kind_version(&object)
                {
                    self.graph_counts(&gk, &version.content.graph, is_there);
                    let known = Arc::make_mut(self.of_kinds.entry(uid).or_default());
                    if is_there {
                        known.versions.insert(version.number, version);
                    } else {
                        known.versions.remove(&version.number);
                    }
                    self.changed_kinds.insert(gk);
                    continue;
                }
                let Some((uid, version)) = read_version(&object) else { continue };
                let Some(key) = version_owner(&object) else { continue };
                self.graph_counts(&key.gk, &version.content.graph, is_there);
                let of_name = self.on_record.entry(key.clone()).or_default();
                let known = Arc::make_mut(of_name.entry(uid.clone()).or_default());
                if is_there {
                    known.versions.insert(version.number, version);
                    known.approvals = self.approved.get(&key).cloned().unwrap_or_default();
                } else {
                    known.versions.remove(&version.number);
                }
                // While the instance lives, its next step finds what is approved.
                if known.versions.is_empty() {
                    self.drop(&key, &uid);
                }
                concerned.insert(key);
            }
        }
        concerned
    }

    /// A version on record was made with this graph, or was until now.
    fn graph_counts(&mut self, gk: &GroupKind, hash: &str, is_there: bool) {
        // A version names none where the revision of the kind moves by itself.
        if hash.is_empty() {
            return;
        }
        let versions = &mut self.graphs.entry((gk.clone(), hash.to_owned())).or_default().versions;
        *versions = if is_there { *versions + 1 } else { versions.saturating_sub(1) };
    }

    /// Whether a graph of the kind is to be at hand.
    pub fn has_graphs(&self, gk: &GroupKind) -> bool {
        self.graphs_of(gk).next().is_some()
    }

    pub(super) fn graphs_of<'g>(&'g self, gk: &'g GroupKind) -> impl Iterator<Item = (&'g str, Wanted)> {
        let from = (gk.clone(), String::new());
        let own = self.graphs.range(from..).take_while(move |((of, _), _)| of == gk);
        own.map(|((_, hash), wanted)| (hash.as_str(), *wanted))
    }

    /// Lets go of the graphs of a kind that no version on record was made with, and nobody wants; what stays.
    pub fn keep_graphs(&mut self, gk: &GroupKind, is_wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let (stay, go): (Vec<_>, Vec<_>) =
            self.graphs_of(gk).partition(|(hash, wanted)| wanted.versions > 0 || is_wanted(hash));
        let (stay, go): (BTreeSet<String>, Vec<String>) = (
            stay.into_iter().map(|(hash, _)| hash.to_owned()).collect(),
            go.into_iter().map(|(hash, _)| hash.to_owned()).collect(),
        );
        for hash in go {
            self.graphs.remove(&(gk.clone(), hash));
        }
        stay
    }

    /// What is on record of a whole kind.
    pub fn of_kind(&mut self, by: &By) -> Arc<KindRecord> {
        let approvals = self.approved_of_kinds.get(&*by.effective.name.name);
        let approvals = approvals.cloned().unwrap_or_default();
        let known = self.of_kinds.entry(by.uid.to_string()).or_default();
        if known.approvals != approvals {
            Arc::make_mut(known).approvals = approvals;
        }
        known.clone()
    }

    /// Kinds of which something on record changed, since this was asked last.
    pub fn take_changed_kinds(&mut self) -> BTreeSet<GroupKind> {
        std::mem::take(&mut self.changed_kinds)
    }

    /// A graph that instances of the kind may run by is to be at hand.
    pub fn wants(&mut self, gk: &GroupKind, hash: &str) {
        let key = (gk.clone(), hash.to_owned());
        self.graphs.entry(key).or_default();
    }

    /// What is approved of whole kinds stands in the controller's namespace alone.
    fn approve_kinds(&mut self) {
        let approved = self.approvals.iter().filter(|(_, object)| object.namespace() == self.home);
        let mut all: BTreeMap<String, BTreeSet<(u64, Arc<str>)>> = BTreeMap::new();
        for (_, object) in approved {
            if let Some((name, approved)) = approving::read_of_kind(object) {
                all.entry(name).or_default().insert(approved);
            }
        }
        self.approved_of_kinds = all;
    }

    fn approvals_changed(&mut self, changes: Vec<Change>) -> BTreeSet<InstanceKey> {
        self.approve_kinds();
        let mut concerned = BTreeSet::new();
        for Change { before, after, .. } in changes {
            for (object, is_there) in [(before, false), (after, true)] {
                let Some((key, approved)) = object.as_deref().and_then(approving::read_of_instance) else {
                    continue;
                };
                let all = self.approved.entry(key.clone()).or_default();
                if is_there {
                    all.insert(approved);
                } else {
                    all.remove(&approved);
                }
                concerned.insert(key);
            }
        }
        // Two objects may approve the same: what one of them took out, the other still says.
        for (key, approved) in
            self.approvals.iter().filter_map(|(_, object)| approving::read_of_instance(object))
        {
            if concerned.contains(&key) {
                self.approved.entry(key).or_default().insert(approved);
            }
        }
        self.approved.retain(|_, all| !all.is_empty());
        for key in &concerned {
            let approvals = self.approved.get(key).cloned().unwrap_or_default();
            for known in self.on_record.get_mut(key).into_iter().flat_map(BTreeMap::values_mut) {
                Arc::make_mut(known).approvals = approvals.clone();
            }
        }
        concerned
    }
}

impl Instances {
    /// Nobody is moved before: what an earlier life of the hub sent may land until then.
    pub fn quiet_until(&mut self, at: Moment) {
        self.rollouts.quiet_until = at;
    }

    pub fn rollouts_are_synced(&self) -> bool {
        self.rollouts.are_synced()
    }

    pub fn seen_version(&mut self, listed: Listed) {
        let changes = self.rollouts.versions.take(listed);
        let concerned = self.rollouts.versions_changed(changes);
        self.reused.extend(concerned.iter().map(|key| key.gk.clone()));
        self.need_graphs();
        self.look_at(concerned);
        for gk in self.rollouts.take_changed_kinds() {
            self.look_at_kind(&gk);
            self.reused.insert(gk);
        }
    }

    pub fn seen_approval(&mut self, listed: Listed, now: Moment) {
        let was_synced = self.rollouts.approvals.is_synced();
        let changes = self.rollouts.approvals.take(listed);
        for change in &changes {
            match (&change.before, &change.after) {
                (None, Some(new)) if was_synced => self.approvals.add(new.clone(), now),
                (Some(old), None) => self.approvals.remove(old),
                _ => {}
            }
        }
        let concerned = self.rollouts.approvals_changed(changes);
        self.look_at(concerned);
        self.look_at_moved_kinds();
    }

    /// Asks for the graphs that versions were made with, of kinds that are served.
    pub(super) fn need_graphs(&mut self) {
        let served = |gk: &GroupKind| self.kinds.get(gk).is_some_and(|kind| kind.graph.is_some());
        let open = self.rollouts.graphs.iter_mut().filter(|((gk, _), wanted)| !wanted.asked && served(gk));
        for ((gk, hash), wanted) in open {
            wanted.asked = true;
            self.effects.push(Effect::Need(gk.clone(), hash.clone()));
        }
    }

    /// The graph of an earlier revision of a definition, by hash; or why it cannot be made.
    pub fn know_former(&mut self, gk: &GroupKind, hash: &str, made: Result<Arc<Graph>, String>) {
        let Some(kind) = self.kinds.get_mut(gk) else { return };
        match made {
            Ok(graph) => {
                if kind.unfit.contains_key(hash) {
                    Arc::make_mut(&mut kind.unfit).remove(hash);
                }
                Arc::make_mut(&mut kind.former).insert(graph.hash.clone(), graph);
            }
            Err(why) => {
                if kind.unfit.get(hash).is_some_and(|known| **known == *why) {
                    return;
                }
                Arc::make_mut(&mut kind.unfit).insert(hash.to_owned(), why.into());
            }
        }
        self.counted.insert(gk.clone());
        self.reused.insert(gk.clone());
        self.enqueue_kind(gk);
    }

    /// The answer to a write of a version.
    pub(super) fn version_answered(&mut self, answer: Value, is_there: bool) {
        let listed = if is_there { Listed::Object(answer) } else { Listed::Left(self.rollouts.gone(answer)) };
        self.seen_version(listed);
    }

    /// What concerns an instance of a cluster scoped kind stands in the controller's namespace.
    pub(super) fn place_of(&self, key: &InstanceKey) -> Option<InstanceKey> {
        let slots = &self.kinds.get(&key.gk)?.slots;
        let of_cluster = InstanceKey::new(key.gk.clone(), "", &key.name);
        [key.clone(), of_cluster].into_iter().find(|key| slots.contains_key(key))
    }

    fn look_at(&mut self, concerned: BTreeSet<InstanceKey>) {
        for key in concerned {
            if let Some(key) = self.place_of(&key) {
                self.enqueue(&key);
            }
        }
    }
}

/// Writes what a fleet machine wants on record of versions; `None` where the action is about something else. `home`: the
/// controller's namespace.
pub(in crate::hub) async fn write_version(
    client: &Verbs,
    home: &str,
    target: &Target,
    action: &FleetAction,
) -> Option<Outcome> {
    let namespace = if target.key.namespace.is_empty() { home } else { &*target.key.namespace };
    write_version_in(client, namespace, action).await
}

/// The same in this namespace.
pub(super) async fn write_version_in(
    client: &Verbs,
    namespace: &str,
    action: &FleetAction,
) -> Option<Outcome> {
    let resource = resources::controller_revisions();
    Some(match action {
        FleetAction::RecordVersion { name, body } => {
            let mut body = body.clone();
            body["metadata"]["namespace"] = json!(namespace);
            let written = client.at(&resource, namespace, name).apply(hub::MANAGER, &body).await;
            Outcome::Version(written.map(|value| (value, true)))
        }
        FleetAction::MarkStable { name } => {
            let patch = json!({"metadata": {"labels": {hub::STABLE: "true"}}});
            let written = client.at(&resource, namespace, name).merge_patch(&patch).await;
            Outcome::Version(written.map(|value| (value, true)))
        }
        FleetAction::DropVersion { name } => {
            Outcome::Version(drop_version(client, namespace, name).await.map(|value| (value, false)))
        }
        _ => return None,
    })
}

async fn drop_version(client: &Verbs, namespace: &str, name: &str) -> Result<Value, ApiError> {
    let resource = resources::controller_revisions();
    let Some(found) = client.at(&resource, namespace, name).get().await? else {
        return Ok(json!({"metadata": {"name": name, "namespace": namespace}}));
    };
    let found = Object(found);
    client.at(&resource, namespace, name).delete(found.uid()).await?;
    Ok(found.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::Gvk;
    use crate::reconcile::fleet::rollout::version_name;

    fn key() -> InstanceKey {
        InstanceKey::new(GroupKind::new("kro.run", "App"), "shop", "web")
    }

    fn version(number: u64) -> Listed {
        let gvk = Gvk::new("kro.run", "v1alpha1", "App");
        let owner = json!({"apiVersion": gvk.api_version(), "kind": *gvk.kind, "name": "web", "uid": "u"});
        Listed::Object(json!({
            "metadata": {"name": version_name(&key(), "u", number), "namespace": "shop", "uid": number.to_string(),
                "resourceVersion": "1", "labels": {hub::VERSION_OF: "u"}, "ownerReferences": [owner]},
            "revision": number, "data": {"graph": "g", "print": "p"},
        }))
    }

    fn approval(name: &str, version: u64) -> Value {
        json!({"metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1"},
            "spec": {"instance": {"kind": "App", "name": "web"}, "version": version, "stage": "prod"}})
    }

    #[test]
    fn what_is_on_record_is_known_in_whatever_order_it_is_listed() {
        let known = |rollouts: &Rollouts| {
            let known = rollouts.of(&key(), "u").unwrap();
            (known.versions.keys().copied().collect::<Vec<_>>(), known.approvals.len())
        };
        for approvals_first in [false, true] {
            let mut rollouts = Rollouts::default();
            for approvals in [approvals_first, !approvals_first] {
                if approvals {
                    for name in ["a", "b"] {
                        let changes = rollouts.approvals.take(Listed::Object(approval(name, 2)));
                        assert_eq!(rollouts.approvals_changed(changes), BTreeSet::from([key()]));
                    }
                } else {
                    for number in [1, 2] {
                        let changes = rollouts.versions.take(version(number));
                        assert_eq!(rollouts.versions_changed(changes), BTreeSet::from([key()]));
                    }
                }
            }
            assert_eq!(known(&rollouts), (vec![1, 2], 1), "{approvals_first}");
            // Two objects say the same: it holds until both are gone.
            for (name, left) in [("a", 1), ("b", 0)] {
                let changes = rollouts.approvals.take(Listed::Left(approval(name, 2)));
                rollouts.approvals_changed(changes);
                assert_eq!(known(&rollouts).1, left);
            }
        }
    }

    #[test]
    fn what_was_approved_for_an_earlier_instance_of_the_name_is_known_before_the_first_version() {
        // What concerns an instance of a cluster scoped kind stands in the controller's namespace.
        for namespace in ["shop", ""] {
            let mut rollouts = Rollouts { home: "shop".into(), ..Rollouts::default() };
            let changes = rollouts.approvals.take(Listed::Object(approval("a", 1)));
            rollouts.approvals_changed(changes);
            let key = InstanceKey::new(key().gk.clone(), namespace, "web");
            assert!(rollouts.of(&key, "u").is_none());
            rollouts.prepare(&key, "u");
            assert_eq!(rollouts.of(&key, "u").unwrap().approvals.len(), 1, "{namespace:?}");
            let changes = rollouts.approvals.take(Listed::Object(approval("b", 2)));
            rollouts.approvals_changed(changes);
            assert_eq!(rollouts.of(&key, "u").unwrap().approvals.len(), 2, "{namespace:?}");
        }
    }

    #[test]
    fn a_version_in_another_namespace_is_none_whatever_uid_it_names() {
        let mut rollouts = Rollouts { home: "kro-hub".into(), ..Rollouts::default() };
        let Listed::Object(mut forged) = version(7) else { panic!() };
        forged["metadata"]["namespace"] = json!("tenant");
        for version in [version(1), Listed::Object(forged)] {
            let changes = rollouts.versions.take(version);
            rollouts.versions_changed(changes);
        }
        let known: Vec<u64> = rollouts.of(&key(), "u").unwrap().versions.keys().copied().collect();
        assert_eq!(known, [1]);
        // Nor for an instance without a namespace, whose versions stand beside the controller.
        let of_cluster = InstanceKey::new(key().gk.clone(), "", "web");
        assert!(rollouts.of(&of_cluster, "u").is_none());
    }

    #[test]
    fn nothing_is_remembered_of_an_instance_that_is_gone() {
        for recorded in [false, true] {
            let mut rollouts = Rollouts::default();
            let changes = rollouts.approvals.take(Listed::Object(approval("a", 1)));
            rollouts.approvals_changed(changes);
            rollouts.prepare(&key(), "u");
            if recorded {
                let changes = rollouts.versions.take(version(1));
                rollouts.versions_changed(changes);
            }
            rollouts.forget(&key(), "u");
            assert_eq!(rollouts.of(&key(), "u").is_some(), recorded, "a version is still there");
            if let (true, Listed::Object(version)) = (recorded, version(1)) {
                let changes = rollouts.versions.take(Listed::Left(version));
                rollouts.versions_changed(changes);
            }
            assert!(rollouts.on_record.is_empty(), "{recorded}");
        }
    }

    #[test]
    fn a_version_that_is_not_found_any_more_is_not_on_record_though_an_old_event_brought_it_back() {
        let mut rollouts = Rollouts::default();
        rollouts.prepare(&key(), "u");
        let Listed::Object(object) = version(1) else { panic!() };
        let metadata = |uid: bool| {
            let mut metadata = json!({"name": object["metadata"]["name"], "namespace": "shop"});
            if uid {
                metadata["uid"] = json!("1");
            }
            json!({"metadata": metadata})
        };
        for (answer, stays) in [
            (metadata(true), false),
            (metadata(false), false),
            (
                json!({"metadata": {"name": object["metadata"]["name"], "namespace": "shop", "uid": "other"}}),
                true,
            ),
            (json!({"metadata": {"name": "other", "namespace": "shop"}}), true),
        ] {
            let changes = rollouts.versions.take(Listed::Object(object.clone()));
            rollouts.versions_changed(changes);
            let gone = rollouts.gone(answer.clone());
            let changes = rollouts.versions.take(Listed::Left(gone));
            rollouts.versions_changed(changes);
            let is_there = rollouts.of(&key(), "u").is_some_and(|known| known.versions.contains_key(&1));
            assert_eq!(is_there, stays, "{answer}");
        }
    }
}
