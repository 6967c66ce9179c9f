//! What one cluster shows to the machines, kept from a watch and from answers: the newer version of an object wins, and
//! only those instances are woken that an object concerns.

use super::api_server::Server;
use super::watch::Seen;
use crate::api::Object;
use crate::api::keys::kro;
use crate::api::names::{GroupKind, InstanceKey, ObjectRef};
use crate::graph::Graph;
use crate::reconcile::spoke::{Side, mirrored_uid};
use crate::reconcile::world::{Compiled, CrdState, Definition, KindState, Looked, Lookup, Stored, World};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug)]
pub struct Kind {
    pub state: KindState,
    pub generated: bool,
    listing: Option<BTreeSet<ObjectRef>>,
    /// Answers to our own writes that came during the list: they may be newer than it.
    written: BTreeSet<ObjectRef>,
}

/// What one external reference shows.
#[derive(Debug, Default)]
struct Outside {
    synced: bool,
    objects: BTreeMap<ObjectRef, Arc<Stored>>,
    listing: Option<BTreeSet<ObjectRef>>,
}

#[derive(Debug, Default)]
pub struct Store {
    pub kinds: BTreeMap<GroupKind, Kind>,
    pub crds: BTreeMap<GroupKind, CrdState>,
    pub wanted: BTreeMap<GroupKind, String>,
    objects: BTreeMap<ObjectRef, Arc<Stored>>,
    wanted_by: BTreeMap<ObjectRef, InstanceKey>,
    pub lookups: BTreeMap<Lookup, Looked>,
    outside: BTreeMap<Lookup, Outside>,
    /// What left the selection: uid, and the version of the change. The answer to an older write does not bring it back.
    left: BTreeMap<ObjectRef, (String, u64)>,
    /// The version of the last complete list of a kind.
    listed: BTreeMap<GroupKind, u64>,
}

impl World for Store {
    fn kind(&self, gk: &GroupKind) -> KindState {
        self.kinds.get(gk).map_or(KindState::Unknown, |k| k.state.clone())
    }
    /// Every cluster serves the same.
    fn graph(&self, hub: &Arc<Graph>, _: Side) -> Compiled {
        Compiled::Fits(hub.clone())
    }
    fn crd(&self, gk: &GroupKind) -> CrdState {
        self.crds.get(gk).cloned().unwrap_or(CrdState::Unknown)
    }
    fn crd_wanted(&self, gk: &GroupKind) -> Option<String> {
        self.wanted.get(gk).cloned()
    }
    /// No definition makes instances of another.
    fn definition(&self, _: &GroupKind) -> Option<Definition> {
        None
    }
    fn get(&self, object: &ObjectRef) -> Option<Arc<Stored>> {
        self.objects.get(object).cloned()
    }
    fn members(&self, applyset: &str) -> Vec<(ObjectRef, Arc<Stored>)> {
        let is = |s: &Stored| s.object.label(kro::APPLYSET_PART_OF) == Some(applyset);
        self.objects.iter().filter(|(_, s)| is(s)).map(|(r, s)| (r.clone(), s.clone())).collect()
    }
    fn look(&self, lookup: &Lookup) -> Looked {
        self.lookups.get(lookup).cloned().unwrap_or(Looked::NotYet)
    }
}

impl Store {
    pub fn kind_mut(&mut self, gk: &GroupKind, generated: bool) -> &mut Kind {
        let new = || Kind { state: KindState::Unknown, generated, listing: None, written: BTreeSet::new() };
        self.kinds.entry(gk.clone()).or_insert_with(new)
    }
    pub fn unserved(&self) -> Vec<GroupKind> {
        let bad = |k: &Kind| matches!(k.state, KindState::Missing | KindState::Failed(_));
        self.kinds.iter().filter(|(_, k)| bad(k)).map(|(gk, _)| gk.clone()).collect()
    }
    pub fn note_wanted(&mut self, object: &ObjectRef, key: &InstanceKey) {
        self.wanted_by.insert(object.clone(), key.clone());
    }
    pub fn forget_wanted(&mut self, key: &InstanceKey) {
        self.wanted_by.retain(|_, k| k != key);
    }

    /// What the watch showed. A list is the truth, also where it is older than what was known: the cluster may have been
    /// restored.
    pub fn seen(&mut self, target: &ObjectRef, stored: Arc<Stored>) -> BTreeSet<InstanceKey> {
        let Some(kind) = self.kinds.get_mut(&target.gk) else { return BTreeSet::new() };
        let believed = kind.listing.is_some() && !kind.written.contains(target);
        kind.listing.iter_mut().for_each(|l| l.extend([target.clone()]));
        if !believed {
            return self.take(target, stored);
        }
        self.left.remove(target);
        let version = |s: &Stored| s.object.resource_version().to_owned();
        let known = self.objects.get(target);
        if known.is_some_and(|k| k.object.uid() == stored.object.uid() && version(k) == version(&stored)) {
            return BTreeSet::new();
        }
        self.put(target, stored)
    }

    /// The answer to a write of ours.
    pub fn upsert(&mut self, target: &ObjectRef, stored: Arc<Stored>) -> BTreeSet<InstanceKey> {
        let out = self.take(target, stored.clone());
        let taken = self.objects.get(target).is_some_and(|known| Arc::ptr_eq(known, &stored));
        if let Some(kind) = self.kinds.get_mut(&target.gk).filter(|k| taken && k.listing.is_some()) {
            kind.written.insert(target.clone());
        }
        out
    }

    fn take(&mut self, target: &ObjectRef, stored: Arc<Stored>) -> BTreeSet<InstanceKey> {
        let Some(kind) = self.kinds.get(&target.gk) else { return BTreeSet::new() };
        let version = version_of;
        let old = self.objects.get(target);
        let departed = self.left.get(target).filter(|(uid, _)| uid == stored.object.uid()).map_or(0, |l| l.1);
        let known_without =
            self.listed.get(&target.gk).copied().filter(|_| kind.listing.is_none()).unwrap_or(0);
        if old.is_none() && version(&stored) <= departed.max(known_without) {
            return BTreeSet::new();
        }
        if old.is_some_and(|o| o.object.uid() == stored.object.uid() && version(o) >= version(&stored)) {
            return BTreeSet::new();
        }
        self.put(target, stored)
    }

    fn put(&mut self, target: &ObjectRef, stored: Arc<Stored>) -> BTreeSet<InstanceKey> {
        let mut out = self.concerned(target, &stored);
        if let Some(old) = self.objects.insert(target.clone(), stored) {
            out.extend(self.concerned(target, &old));
        }
        out
    }

    pub fn remove(&mut self, target: &ObjectRef, uid: Option<&str>) -> BTreeSet<InstanceKey> {
        let Some(old) = self.objects.get(target) else { return BTreeSet::new() };
        if !self.kinds.contains_key(&target.gk) || uid.is_some_and(|u| old.object.uid() != u) {
            return BTreeSet::new();
        }
        let out = self.concerned(target, &old.clone());
        self.objects.remove(target);
        out
    }

    pub fn left(&mut self, target: &ObjectRef, uid: &str, version: u64) -> BTreeSet<InstanceKey> {
        self.left.insert(target.clone(), (uid.to_owned(), version));
        self.remove(target, Some(uid))
    }

    pub fn list_started(&mut self, gk: &GroupKind) {
        if let Some(kind) = self.kinds.get_mut(gk) {
            kind.listing = Some(BTreeSet::new());
            kind.written.clear();
        }
    }

    pub fn list_done(&mut self, gk: &GroupKind, namespaced: bool, version: u64) -> BTreeSet<InstanceKey> {
        let Some(kind) = self.kinds.get_mut(gk) else { return BTreeSet::new() };
        kind.state = KindState::Synced { namespaced };
        let Some(listing) = kind.listing.take() else { return BTreeSet::new() };
        self.listed.insert(gk.clone(), version);
        // The answer to a write may come after a list that was made after that write.
        let newer = |target: &ObjectRef, stored: &Stored| {
            kind.written.contains(target) && version_of(stored) > version
        };
        let lost: Vec<ObjectRef> = self
            .objects
            .iter()
            .filter(|(r, s)| r.gk == *gk && !listing.contains(*r) && !newer(r, s))
            .map(|(r, _)| r.clone())
            .collect();
        lost.iter().flat_map(|r| self.remove(r, None)).collect()
    }

    fn concerned(&self, target: &ObjectRef, stored: &Stored) -> BTreeSet<InstanceKey> {
        let mut out = BTreeSet::new();
        if self.kinds.get(&target.gk).is_some_and(|k| k.generated) {
            out.insert(InstanceKey::new(target.gk.clone(), &target.namespace, &target.name));
        }
        out.extend(owner(&stored.object));
        out.extend(self.wanted_by.get(target).cloned());
        out
    }

    /// Mirrors of this hub: key, and uid of the hub instance.
    pub fn mirrors(&self, gk: &GroupKind, hub_id: &str) -> Vec<(InstanceKey, String)> {
        let all = self.objects.iter().filter(|(r, _)| r.gk == *gk);
        all.filter_map(|(r, s)| {
            let uid = mirrored_uid(s, hub_id)?;
            Some((InstanceKey::new(r.gk.clone(), &r.namespace, &r.name), uid.to_owned()))
        })
        .collect()
    }

    /// What the watch of an external reference saw.
    pub fn look_seen(&mut self, lookup: &Lookup, seen: Seen) -> bool {
        let outside = self.outside.entry(lookup.clone()).or_default();
        match seen {
            Seen::Served | Seen::NotServed => return false,
            Seen::ListStarted => outside.listing = Some(BTreeSet::new()),
            Seen::Object(value) => {
                let stored = Arc::new(Stored::new((*value).clone()));
                let target = stored.object.object_ref();
                outside.listing.iter_mut().for_each(|l| l.extend([target.clone()]));
                outside.objects.insert(target, stored);
            }
            Seen::Left(value, _) => drop(outside.objects.remove(&Object((*value).clone()).object_ref())),
            Seen::ListDone { .. } => {
                if let Some(listing) = outside.listing.take() {
                    outside.objects.retain(|target, _| listing.contains(target));
                }
                outside.synced = true;
            }
        }
        if outside.synced {
            let found = outside.objects.values().cloned().collect();
            self.lookups.insert(lookup.clone(), Looked::Found(found));
        }
        outside.synced
    }
    pub fn forget_lookup(&mut self, lookup: &Lookup) {
        self.outside.remove(lookup);
        self.lookups.remove(lookup);
    }

    /// Everything that a server has now, as if all of it had been listed.
    pub fn complete(server: &Server, kinds: &[GroupKind]) -> Self {
        let mut out = Self::default();
        for gk in kinds {
            let namespaced = server.kind(gk).is_none_or(|k| k.namespaced);
            out.kind_mut(gk, false).state =
                if server.kind(gk).is_some() { KindState::Synced { namespaced } } else { KindState::Missing };
            for value in server.list(gk, None) {
                let stored = Arc::new(Stored::new((**value).clone()));
                out.upsert(&stored.object.object_ref(), stored);
            }
        }
        out
    }
}

fn version_of(stored: &Stored) -> u64 {
    stored.object.resource_version().parse().unwrap_or_default()
}

fn owner(object: &Object) -> Option<InstanceKey> {
    let gk = GroupKind::new(
        object.label(kro::INSTANCE_GROUP).unwrap_or_default(),
        object.label(kro::INSTANCE_KIND)?,
    );
    let text = |label| object.label(label).unwrap_or_default();
    Some(InstanceKey::new(gk, text(kro::INSTANCE_NAMESPACE), text(kro::INSTANCE_NAME)))
}
