//! What one cluster shows to the machines, kept from a watch and from answers: the newer version of an object wins, and
//! only those instances are woken that an object concerns.

use super::api_server::Server;
use super::watch::Seen;
use crate::api::Object;
use crate::api::names::{GroupKind, InstanceKey, ObjectRef};
use crate::graph::Graph;
use crate::reconcile::objects::Objects;
use crate::reconcile::spoke::Side;
use crate::reconcile::world::{Compiled, CrdState, Definition, KindState, Looked, Lookup, Stored, World};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug)]
pub struct Kind {
    pub state: KindState,
    pub generated: bool,
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
    objects: Objects,
    pub lookups: BTreeMap<Lookup, Looked>,
    outside: BTreeMap<Lookup, Outside>,
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
        self.objects.members(applyset).map(|(r, s)| (r.clone(), s.clone())).collect()
    }
    fn look(&self, lookup: &Lookup) -> Looked {
        self.lookups.get(lookup).cloned().unwrap_or(Looked::NotYet)
    }
}

impl Store {
    pub fn kind_mut(&mut self, gk: &GroupKind, generated: bool) -> &mut Kind {
        let kind = self.kinds.entry(gk.clone()).or_insert(Kind { state: KindState::Unknown, generated });
        self.objects.watch(gk, kind.generated);
        kind
    }
    pub fn unserved(&self) -> Vec<GroupKind> {
        let bad = |k: &Kind| matches!(k.state, KindState::Missing | KindState::Failed(_));
        self.kinds.iter().filter(|(_, k)| bad(k)).map(|(gk, _)| gk.clone()).collect()
    }
    pub fn note_wanted(&mut self, object: &ObjectRef, key: &InstanceKey) {
        self.objects.note_wanted(object, key);
    }
    pub fn forget_wanted(&mut self, key: &InstanceKey) {
        self.objects.forget_wanted(key);
    }

    /// What the watch showed.
    pub fn seen(&mut self, target: &ObjectRef, stored: Arc<Stored>) -> BTreeSet<InstanceKey> {
        self.objects.show(target, stored).into_iter().collect()
    }
    /// The answer to a write of ours.
    pub fn upsert(&mut self, target: &ObjectRef, stored: Arc<Stored>) -> BTreeSet<InstanceKey> {
        self.objects.upsert(target, stored).into_iter().collect()
    }
    pub fn remove(&mut self, target: &ObjectRef, uid: Option<&str>) -> BTreeSet<InstanceKey> {
        self.objects.remove(target, uid, None).into_iter().collect()
    }
    pub fn left(&mut self, target: &ObjectRef, uid: &str, version: u64) -> BTreeSet<InstanceKey> {
        self.objects.remove(target, Some(uid), Some(version)).into_iter().collect()
    }
    pub fn list_started(&mut self, gk: &GroupKind) {
        self.objects.list_started(gk);
    }
    pub fn list_done(&mut self, gk: &GroupKind, namespaced: bool, version: u64) -> BTreeSet<InstanceKey> {
        let Some(kind) = self.kinds.get_mut(gk) else { return BTreeSet::new() };
        kind.state = KindState::Synced { namespaced };
        self.objects.list_done(gk, version).into_iter().collect()
    }
    /// The kind is watched from now on, as mirrors or not.
    pub fn opened(&mut self, gk: &GroupKind) {
        let generated = self.kinds.get(gk).is_some_and(|k| k.generated);
        self.objects.watch(gk, generated);
        self.objects.list_ended(gk);
    }
    /// Called now and then.
    pub fn forget_removed(&mut self) {
        self.objects.forget_removed();
    }
    /// Mirrors of this hub: key, and uid of the hub instance.
    pub fn mirrors(&self, gk: &GroupKind, hub_id: &str) -> Vec<(InstanceKey, String)> {
        let mut mirrors = self.objects.mirrors(gk, hub_id);
        mirrors.sort();
        mirrors
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
