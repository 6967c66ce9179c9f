//! The objects of one cluster that matter here, by kind, as its watches and the answers to our own writes show them.
//!
//! Whichever is newer wins, so that an event which only repeats our own write changes nothing and wakes nobody. A list that
//! was read to its end is the truth as of its version. Only what it lacks, and a removal that a watch showed, takes an object out.

use super::awaited::Awaited;
use super::spoke::mirrored_uid;
use super::world::Stored;
use crate::api::PackedObject;
use crate::api::keys::{hub, kro};
use crate::api::maps::{HashMap, HashSet};
use crate::api::names::{GroupKind, InstanceKey, ObjectRef};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One kind that is watched.
#[derive(Debug, Default)]
struct KindIndex {
    objects: HashMap<ObjectRef, Arc<Stored>>,
    /// The list that is being received.
    listing: Option<Listing>,
    /// The version of the last complete list.
    listed: u64,
    /// Its objects are mirrors: instances of a generated kind.
    generated: bool,
}

#[derive(Debug, Default)]
struct Listing {
    /// What it has shown so far.
    shown: HashSet<ObjectRef>,
    /// What we changed meanwhile: of that the list may be older.
    changed: HashSet<ObjectRef>,
}

#[derive(Debug, Default)]
pub struct Objects {
    kinds: HashMap<GroupKind, KindIndex>,
    members: HashMap<String, BTreeSet<ObjectRef>>,
    /// Which instance wants an object, also where the object's own labels do not say so.
    wanted_by: HashMap<ObjectRef, InstanceKey>,
    awaited: Awaited,
    /// Objects that are being written, and the version that was known when that began.
    being_written: HashMap<ObjectRef, u64>,
    removed: Removed,
}

/// What was removed lately, by uid: the version as of which it was gone. An answer to a write that is taken in later than
/// the removal must not bring the object back.
#[derive(Debug, Default)]
struct Removed {
    recent: HashMap<String, u64>,
    older: HashMap<String, u64>,
}

impl Removed {
    fn forget(&mut self, uid: &str) {
        self.recent.remove(uid);
        self.older.remove(uid);
    }
    fn version(&self, uid: &str) -> Option<u64> {
        self.recent.get(uid).or_else(|| self.older.get(uid)).copied()
    }
}

#[cfg(test)]
impl Objects {
    /// One word for each object of ours, and for what is kept of it.
    pub fn remembered(&self) -> Vec<String> {
        let members = self.members.values().flatten().map(|object| format!("{object}, part of an instance"));
        let wanted = self.wanted_by.keys().map(|object| format!("who wants {object}"));
        let written = self.being_written.keys().map(|object| format!("a write of {object}"));
        members.chain(wanted).chain(written).chain(self.awaited.remembered()).collect()
    }
}

impl Objects {
    /// A kind matters; from now on its objects are mirrors if they ever were said to be.
    pub fn watch(&mut self, gk: &GroupKind, generated: bool) {
        let kind = self.kinds.entry(gk.clone()).or_default();
        kind.generated |= generated;
    }
    pub fn is_generated(&self, gk: &GroupKind) -> bool {
        self.kinds.get(gk).is_some_and(|k| k.generated)
    }
    pub fn get(&self, object: &ObjectRef) -> Option<&Arc<Stored>> {
        self.kinds.get(&object.gk)?.objects.get(object)
    }
    /// What carries this ApplySet label.
    pub fn members(&self, applyset: &str) -> impl Iterator<Item = (&ObjectRef, &Arc<Stored>)> {
        let refs = self.members.get(applyset).into_iter().flatten();
        refs.filter_map(|r| Some((r, self.get(r)?)))
    }
    /// Every known object of a kind.
    pub fn of_kind(&self, gk: &GroupKind) -> impl Iterator<Item = (&ObjectRef, &Arc<Stored>)> {
        self.kinds.get(gk).into_iter().flat_map(|k| k.objects.iter())
    }
    /// Mirrors of this hub among the objects of a generated kind: key and uid of the hub instance.
    pub fn mirrors(&self, gk: &GroupKind, hub_id: &str) -> Vec<(InstanceKey, String)> {
        let mirror = |(r, s): (&ObjectRef, &Arc<Stored>)| {
            let uid = mirrored_uid(s, hub_id)?;
            Some((InstanceKey::of(r), uid.to_owned()))
        };
        self.of_kind(gk).filter_map(mirror).collect()
    }
    /// Whether the object is a mirror of this hub.
    pub fn is_mirror(&self, object: &ObjectRef, hub_id: &str) -> bool {
        self.is_generated(&object.gk) && self.get(object).is_some_and(|s| mirrored_uid(s, hub_id).is_some())
    }
    pub fn note_wanted(&mut self, object: &ObjectRef, key: &InstanceKey) {
        self.wanted_by.insert(object.clone(), key.clone());
    }
    /// A write of an object begins.
    pub fn write_begins(&mut self, object: &ObjectRef) {
        if let Some(known) = self.get(object).map(|known| known.object.version()) {
            self.being_written.insert(object.clone(), known);
        }
    }
    /// It ended without an answer that shows the object.
    pub fn write_failed(&mut self, object: &ObjectRef) {
        self.being_written.remove(object);
    }
    pub fn forget_wanted(&mut self, key: &InstanceKey) {
        self.wanted_by.retain(|_, k| k != key);
        self.awaited.set(key, BTreeSet::new());
    }
    /// Whether the instance waits for objects that are in its way.
    pub fn awaits_any(&self, key: &InstanceKey) -> bool {
        self.awaited.is_waiting(key)
    }
    /// The instance waits for these objects to change, and for no others.
    pub fn awaits(&mut self, key: &InstanceKey, objects: BTreeSet<ObjectRef>) {
        self.awaited.set(key, objects);
    }

    /// Takes in what the watch shows; returns the instances it concerns, none if it was known already.
    pub fn show(&mut self, target: &ObjectRef, stored: Arc<Stored>) -> Vec<InstanceKey> {
        let mut may_go_back = false;
        if let Some(listing) = self.kinds.get_mut(&target.gk).and_then(|k| k.listing.as_mut()) {
            listing.shown.insert(target.clone());
            // After a restore of etcd, a list shows older versions of what was known, and they are the truth.
            may_go_back = !listing.changed.contains(target);
        }
        self.take(target, stored, may_go_back)
    }

    /// Takes in the answer to a request; returns the instances it concerns, none if it was known already.
    pub fn upsert(&mut self, target: &ObjectRef, stored: Arc<Stored>) -> Vec<InstanceKey> {
        self.note_change(target);
        let known = self.being_written.remove(target);
        // Nothing newer was seen since the write began, and its answer is older than that: the server went back. A list that
        // is being received may have been made before the write, and shows nothing of it.
        let went_back = known.is_some_and(|known| {
            stored.object.version() < known && self.get(target).is_some_and(|s| s.object.version() == known)
        });
        // The answer may come after a list that was made after the write, and that knows the object no more.
        let gone = |k: &KindIndex| {
            k.listing.is_none() && !k.objects.contains_key(target) && stored.object.version() <= k.listed
        };
        if self.kinds.get(&target.gk).is_some_and(gone) {
            return Vec::new();
        }
        self.take(target, stored, went_back)
    }

    fn note_change(&mut self, target: &ObjectRef) {
        if let Some(listing) = self.kinds.get_mut(&target.gk).and_then(|k| k.listing.as_mut()) {
            listing.changed.insert(target.clone());
        }
    }

    fn take(&mut self, target: &ObjectRef, stored: Arc<Stored>, may_go_back: bool) -> Vec<InstanceKey> {
        let generated = self.kinds.get(&target.gk).is_some_and(|k| k.generated);
        let Some(kind) = self.kinds.get_mut(&target.gk) else { return Vec::new() };
        let removed =
            self.removed.version(stored.object.uid()).is_some_and(|at| stored.object.version() <= at);
        if removed && !may_go_back {
            return Vec::new();
        }
        // An answer about an earlier object of this name may come late.
        if let Some(old) = kind.objects.get(target) {
            let same =
                old.object.uid() == stored.object.uid() && old.object.version() == stored.object.version();
            // The same version reads differently in a list after the kind's schema changed.
            let known = same && old.object == stored.object;
            if known || (old.object.version() >= stored.object.version() && !may_go_back) {
                return Vec::new();
            }
        }
        if removed {
            self.removed.forget(stored.object.uid());
        }
        let old = kind.objects.insert(target.clone(), stored.clone());
        let mut concerned = self.concerned(target, &stored, generated);
        if let Some(old) = old {
            concerned.extend(self.concerned(target, &old, generated));
            self.index(target, &old, false);
        }
        self.index(target, &stored, true);
        concerned.into_iter().collect()
    }

    /// The object left the watch, as of `at`; returns the instances it concerns. With `uid`, only if that object is meant.
    pub fn remove(&mut self, target: &ObjectRef, uid: Option<&str>, at: Option<u64>) -> Vec<InstanceKey> {
        self.note_change(target);
        let Some(kind) = self.kinds.get_mut(&target.gk) else { return Vec::new() };
        let generated = kind.generated;
        if let (Some(uid), Some(at)) = (uid, at) {
            // Also where it is not known: the answer that tells of it may be under way.
            self.removed.recent.insert(uid.to_owned(), at);
        }
        if uid.is_some_and(|u| kind.objects.get(target).is_some_and(|s| s.object.uid() != u)) {
            return Vec::new();
        }
        let Some(old) = kind.objects.remove(target) else { return Vec::new() };
        let known = self.removed.recent.entry(old.object.uid().to_owned()).or_default();
        *known = old.object.version().max(*known);
        self.index(target, &old, false);
        self.concerned(target, &old, generated).into_iter().collect()
    }

    /// Called now and then: what was removed is remembered until the second call after it.
    pub fn forget_removed(&mut self) {
        self.removed.older = std::mem::take(&mut self.removed.recent);
    }

    pub fn list_started(&mut self, gk: &GroupKind) {
        if let Some(kind) = self.kinds.get_mut(gk) {
            kind.listing = Some(Listing::default());
        }
    }

    /// The list that is being received breaks off: it says nothing.
    pub fn list_ended(&mut self, gk: &GroupKind) {
        if let Some(kind) = self.kinds.get_mut(gk) {
            kind.listing = None;
        }
    }

    /// The list is complete, as of this version: what was not in it is gone from the selection, unless we wrote it later.
    pub fn list_done(&mut self, gk: &GroupKind, listed: u64) -> Vec<InstanceKey> {
        let Some(kind) = self.kinds.get_mut(gk) else { return Vec::new() };
        let Some(listing) = kind.listing.take() else { return Vec::new() };
        kind.listed = listed;
        let stays = |target: &ObjectRef, stored: &Stored| {
            listing.shown.contains(target)
                || (listing.changed.contains(target) && stored.object.version() > listed)
        };
        let lost: Vec<ObjectRef> =
            kind.objects.iter().filter(|(r, s)| !stays(r, s)).map(|(r, _)| r.clone()).collect();
        lost.iter().flat_map(|r| self.remove(r, None, None)).collect()
    }

    fn index(&mut self, target: &ObjectRef, stored: &Stored, add: bool) {
        let Some(id) = stored.object.label(kro::APPLYSET_PART_OF) else { return };
        if add {
            self.members.entry(id.to_owned()).or_default().insert(target.clone());
        } else if let Some(set) = self.members.get_mut(id) {
            set.remove(target);
            if set.is_empty() {
                self.members.remove(id);
            }
        }
    }

    fn concerned(&self, target: &ObjectRef, stored: &Stored, generated: bool) -> HashSet<InstanceKey> {
        let mut out = HashSet::default();
        if generated {
            out.insert(InstanceKey::of(target));
        }
        out.extend(owner(&stored.object));
        out.extend(self.wanted_by.get(target).cloned());
        out.extend(self.awaited.by(target).cloned());
        out
    }
}

/// The instance that the labels of a child name.
fn owner(object: &PackedObject) -> Option<InstanceKey> {
    let full = |label: &str, long: &str| {
        let long = object.annotation(long);
        long.or_else(|| object.label(label)).unwrap_or_default().to_owned()
    };
    let kind = object.label(kro::INSTANCE_KIND)?;
    let gk = GroupKind::new(object.label(kro::INSTANCE_GROUP).unwrap_or_default(), kind);
    let namespace = full(kro::INSTANCE_NAMESPACE, hub::FULL_INSTANCE_NAMESPACE);
    Some(InstanceKey::new(gk, &namespace, &full(kro::INSTANCE_NAME, hub::FULL_INSTANCE_NAME)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn child(version: u64, part_of: &str) -> Arc<Stored> {
        Arc::new(Stored::new(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "c", "namespace": "n", "uid": "u", "resourceVersion": version.to_string(),
                "labels": {"kro.run/instance-kind": "App", "kro.run/instance-group": "kro.run",
                    "kro.run/instance-name": "a", "kro.run/instance-namespace": "n",
                    "applyset.kubernetes.io/part-of": part_of}}})))
    }

    #[test]
    fn an_event_that_repeats_our_own_write_wakes_nobody() {
        let gk = GroupKind::new("", "ConfigMap");
        let target = ObjectRef::new(gk.clone(), "n", "c");
        let mut store = Objects::default();
        store.watch(&gk, false);
        assert_eq!(store.upsert(&target, child(5, "x")).len(), 1);
        assert!(store.upsert(&target, child(5, "x")).is_empty());
        assert!(store.upsert(&target, child(4, "x")).is_empty());
        assert_eq!(store.upsert(&target, child(6, "y")).len(), 1);
        assert_eq!((store.members("x").count(), store.members("y").count()), (0, 1));
    }

    #[test]
    fn an_answer_that_comes_after_the_removal_brings_nothing_back() {
        let gk = GroupKind::new("", "ConfigMap");
        let target = ObjectRef::new(gk.clone(), "n", "c");
        // The watch knew of the object, or its removal was all that the watch ever told.
        for known in [true, false] {
            let mut store = Objects::default();
            store.watch(&gk, false);
            if known {
                store.upsert(&target, child(5, "x"));
            }
            store.remove(&target, Some("u"), Some(8));
            assert!(store.upsert(&target, child(7, "x")).is_empty());
            assert!(store.get(&target).is_none());
            store.forget_removed();
            assert!(store.upsert(&target, child(8, "x")).is_empty());
            // It only left the selection, and is back.
            assert_eq!(store.upsert(&target, child(9, "x")).len(), 1);
        }
    }

    #[test]
    fn a_list_is_the_truth_also_where_it_goes_back_unless_we_wrote_meanwhile() {
        let gk = GroupKind::new("", "ConfigMap");
        let target = ObjectRef::new(gk.clone(), "n", "c");
        let version = |store: &Objects| store.get(&target).map(|s| s.object.resource_version().to_owned());
        // Known as of 9, or removed as of 9; the cluster was restored to 5.
        for removed in [false, true] {
            for written in [false, true] {
                let mut store = Objects::default();
                store.watch(&gk, false);
                store.show(&target, child(9, "x"));
                if removed {
                    store.remove(&target, Some("u"), Some(9));
                }
                store.list_started(&gk);
                if written {
                    store.upsert(&target, child(11, "x"));
                }
                let concerned = store.show(&target, child(5, "x"));
                store.list_done(&gk, 0);
                let want = if written { "11" } else { "5" };
                assert_eq!(version(&store).as_deref(), Some(want), "removed {removed}, written {written}");
                assert_eq!(concerned.is_empty(), written);
                assert!(store.show(&target, child(4, "x")).is_empty(), "an event that comes late is none");
            }
        }
    }

    #[test]
    fn an_answer_that_is_older_than_what_was_known_when_its_write_began_is_believed() {
        let target = ObjectRef::new(GroupKind::new("", "ConfigMap"), "n", "c");
        // A later event, if one came before the answer; what is known then.
        for (event, want) in [(None, 5), (Some(12), 12)] {
            for listing in [false, true] {
                let mut store = Objects::default();
                store.watch(&target.gk, false);
                store.show(&target, child(9, "x"));
                if listing {
                    store.list_started(&target.gk);
                }
                store.write_begins(&target);
                event.map(|version| store.show(&target, child(version, "x")));
                store.upsert(&target, child(5, "x"));
                let known = |store: &Objects| store.get(&target).map(|s| s.object.version());
                assert_eq!(known(&store), Some(want), "{event:?}, {listing}");
                store.upsert(&target, child(4, "x"));
                assert_eq!(known(&store), Some(want), "an answer to nothing");
            }
        }
    }

    #[test]
    fn the_answer_to_a_write_before_a_list_does_not_hide_that_the_object_is_gone() {
        let gk = GroupKind::new("", "ConfigMap");
        let target = ObjectRef::new(gk.clone(), "n", "c");
        // Written as of 5, deleted, and listed as of 7; or written after the list was made.
        for (written, there) in [(5, false), (8, true)] {
            for during in [true, false] {
                let mut store = Objects::default();
                store.watch(&gk, false);
                store.list_started(&gk);
                if during {
                    store.upsert(&target, child(written, "x"));
                }
                let concerned = store.list_done(&gk, 7);
                if during {
                    assert_eq!(concerned.is_empty(), there, "who wrote it is told that it is gone");
                } else {
                    assert_eq!(store.upsert(&target, child(written, "x")).is_empty(), !there);
                }
                assert_eq!(store.get(&target).is_some(), there, "{written}, during {during}");
            }
        }
    }

    #[test]
    fn who_waits_for_an_object_hears_of_it_beside_its_owner() {
        let gk = GroupKind::new("", "ConfigMap");
        let target = ObjectRef::new(gk.clone(), "n", "c");
        let key = |name: &str| InstanceKey::new(GroupKind::new("kro.run", "App"), "n", name);
        let heard = |concerned: Vec<InstanceKey>| {
            let mut names: Vec<String> = concerned.iter().map(|key| key.name.to_string()).collect();
            names.sort();
            names.concat()
        };
        let mut store = Objects::default();
        store.watch(&gk, false);
        store.note_wanted(&target, &key("a"));
        for waits in ["b", "c"] {
            store.awaits(&key(waits), BTreeSet::from([target.clone()]));
        }
        assert_eq!(heard(store.show(&target, child(5, "x"))), "abc");
        store.awaits(&key("c"), BTreeSet::new());
        assert!(store.awaits_any(&key("b")) && !store.awaits_any(&key("c")));
        assert_eq!(heard(store.show(&target, child(6, "y"))), "ab");
        store.note_wanted(&target, &key("d"));
        assert_eq!(heard(store.remove(&target, None, None)), "abd", "by its labels, and as it is wanted");
        store.forget_wanted(&key("b"));
        assert_eq!(heard(store.show(&target, child(8, "x"))), "ad");
    }

    #[test]
    fn what_a_new_list_does_not_name_is_gone() {
        let gk = GroupKind::new("", "ConfigMap");
        let target = ObjectRef::new(gk.clone(), "n", "c");
        let mut store = Objects::default();
        store.watch(&gk, false);
        store.upsert(&target, child(5, "x"));
        store.list_started(&gk);
        assert_eq!(store.list_done(&gk, 0).len(), 1);
        assert!(store.get(&target).is_none());
    }
}
