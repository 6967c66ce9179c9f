//! What one cluster shows: its kinds, its generated CRDs, and the objects that matter here.
//!
//! The objects themselves are kept by [`Objects`].

use super::blind::Blind;
use super::crd_book::CrdBook;
use super::crd_names::is_crd_of;
use super::references::References;
use super::schemas::Graphs;
use crate::api::maps::HashMap;
use crate::api::names::{GroupKind, InstanceKey, ObjectRef};
use crate::graph::Graph;
use crate::reconcile::bounds::Bounds;
use crate::reconcile::objects::Objects;
use crate::reconcile::spoke::Side;
use crate::reconcile::world::{Compiled, CrdState, Definition, KindState, Looked, Lookup, Stored, World};
use kube::core::ApiResource;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One kind of one cluster.
#[derive(Debug)]
pub struct WatchedKind {
    pub state: KindState,
    pub resource: Option<ApiResource>,
    /// Of the watch that was opened last.
    pub serial: u64,
    /// How often in a row the cluster said that it does not serve it.
    misses: u32,
    blind: Blind,
}

/// A watch to open.
#[derive(Debug, PartialEq, Eq)]
pub struct Open {
    pub serial: u64,
    /// Every object of the kind, not only ours.
    pub everything: bool,
}

impl WatchedKind {
    fn new() -> Self {
        Self { state: KindState::Unknown, resource: None, serial: 0, misses: 0, blind: Blind::default() }
    }
}

#[derive(Debug, Default)]
pub struct Store {
    pub bounds: Arc<Bounds>,
    kinds: HashMap<GroupKind, WatchedKind>,
    pub crds: CrdBook,
    pub references: References,
    pub graphs: Graphs,
    /// Definitions whose instances others may make here.
    pub definitions: HashMap<GroupKind, Definition>,
    pub objects: Objects,
}

impl World for Store {
    fn bounds(&self) -> &Bounds {
        &self.bounds
    }
    fn kind(&self, gk: &GroupKind) -> KindState {
        self.kinds.get(gk).map_or(KindState::Unknown, |k| k.state.clone())
    }
    fn graph(&self, hub: &Arc<Graph>, side: Side) -> Compiled {
        self.graphs.look(hub, side)
    }
    fn crd(&self, gk: &GroupKind) -> CrdState {
        self.crds.state(gk)
    }
    fn crd_wanted(&self, gk: &GroupKind) -> Option<String> {
        self.crds.wanted(gk)
    }
    fn definition(&self, gk: &GroupKind) -> Option<Definition> {
        self.definitions.get(gk).cloned()
    }
    fn get(&self, object: &ObjectRef) -> Option<Arc<Stored>> {
        self.objects.get(object).cloned()
    }
    fn members(&self, applyset: &str) -> Vec<(ObjectRef, Arc<Stored>)> {
        self.objects.members(applyset).map(|(r, s)| (r.clone(), s.clone())).collect()
    }
    fn look(&self, lookup: &Lookup) -> Looked {
        self.references.look(lookup)
    }
    fn blind(&self, gk: &GroupKind) -> Option<String> {
        let kind = self.kinds.get(gk).filter(|k| matches!(k.state, KindState::Synced { .. }))?;
        kind.blind.told().map(str::to_owned)
    }
    fn blind_to(&self, lookup: &Lookup) -> Option<String> {
        self.references.blind_to(lookup).map(str::to_owned)
    }
}

impl Store {
    /// Where resources may be written, of a cluster that shows nothing yet.
    pub fn within(bounds: Arc<Bounds>) -> Self {
        Self { bounds, ..Self::default() }
    }

    pub fn kind_mut(&mut self, gk: &GroupKind) -> &mut WatchedKind {
        self.objects.watch(gk, false);
        self.kinds.entry(gk.clone()).or_insert_with(WatchedKind::new)
    }

    /// Whether the kind needs a watch that it does not have: it has none, or one of our own objects only while it turns
    /// out to be `generated`, so that foreign objects of it matter too.
    pub fn open(&mut self, gk: &GroupKind, generated: bool) -> Option<Open> {
        let was_generated = self.objects.is_generated(gk);
        let kind = self.kind_mut(gk);
        let too_narrow = generated && !was_generated && kind.serial > 0;
        let needed = kind.state == KindState::Unknown || too_narrow;
        if needed {
            kind.state = KindState::Syncing;
            kind.serial += 1;
        }
        let serial = kind.serial;
        self.objects.watch(gk, generated);
        if needed {
            self.objects.list_ended(gk);
        }
        needed.then(|| Open { serial, everything: self.objects.is_generated(gk) })
    }
    /// The kind's objects are to be listed anew, while what was seen of them stands: its schema changed. `None` where no
    /// list was read to its end.
    pub fn reread(&mut self, gk: &GroupKind) -> Option<Open> {
        let kind = self.kinds.get_mut(gk).filter(|k| matches!(k.state, KindState::Synced { .. }))?;
        kind.serial += 1;
        let serial = kind.serial;
        self.objects.list_ended(gk);
        Some(Open { serial, everything: self.objects.is_generated(gk) })
    }
    /// The list of the kind left out what is there: it is not known what there is until it is listed once more. `None` where
    /// that is under way.
    pub fn distrust(&mut self, gk: &GroupKind) -> Option<Open> {
        let open = self.reread(gk)?;
        self.kind_mut(gk).state = KindState::Syncing;
        Some(open)
    }
    /// The cluster does not serve the kind; returns how often it said so in a row before.
    pub fn missed(&mut self, gk: &GroupKind) -> u32 {
        let kind = self.kind_mut(gk);
        kind.state = KindState::Missing;
        let before = kind.misses;
        kind.misses = before.saturating_add(1);
        before
    }
    pub fn served(&mut self, gk: &GroupKind, resource: ApiResource) {
        let kind = self.kind_mut(gk);
        kind.resource = Some(resource);
        kind.misses = 0;
    }
    pub fn kind_state(&self, gk: &GroupKind) -> KindState {
        self.kind(gk)
    }
    pub fn kind_of(&self, gk: &GroupKind) -> Option<&WatchedKind> {
        self.kinds.get(gk)
    }
    /// The kind that a CRD of this name is for, if it matters here.
    pub fn kind_of_crd(&self, name: &str) -> Option<GroupKind> {
        let named = |k: &WatchedKind| k.resource.as_ref().is_some_and(|r| is_crd_of(name, r));
        let watched = || self.kinds.iter().find(|(_, k)| named(k)).map(|(gk, _)| gk.clone());
        self.crds.kind_of(name).or_else(watched).or_else(|| self.references.kind_of_crd(name))
    }
    pub fn resource(&self, gk: &GroupKind) -> Option<&ApiResource> {
        self.kinds.get(gk)?.resource.as_ref()
    }
    /// Kinds that the cluster does not serve. The watch of one that may not be watched lives on and tries by itself.
    pub fn unserved(&self) -> Vec<GroupKind> {
        let missing = self.kinds.iter().filter(|(_, k)| k.state == KindState::Missing);
        missing.map(|(gk, _)| gk.clone()).collect()
    }
    /// Every known object of a kind.
    pub fn objects(&self, gk: &GroupKind) -> Vec<ObjectRef> {
        self.objects.of_kind(gk).map(|(r, _)| r.clone()).collect()
    }
    /// Instances of generated kinds among what carries this ApplySet label.
    pub fn instances_of(&self, applyset: &str) -> Vec<ObjectRef> {
        let generated =
            |r: &&ObjectRef| self.definitions.contains_key(&r.gk) || self.objects.is_generated(&r.gk);
        self.objects.members(applyset).map(|(r, _)| r).filter(generated).cloned().collect()
    }
    /// The kind may not be listed or watched now; what was seen of it stands.
    pub fn refused(&mut self, gk: &GroupKind, why: String) {
        self.kind_mut(gk).blind.refused(why);
    }
    /// Time went by; says whether people are to be told of another kind that no more is seen.
    pub fn tick_blind(&mut self) -> bool {
        self.kinds.values_mut().fold(false, |told, kind| kind.blind.tick() | told)
    }
    /// Contact is back.
    pub fn reconnected(&mut self) {
        self.kinds.values_mut().for_each(|kind| kind.blind.count_anew());
        self.references.reconnected();
    }
    /// Why what is watched is not seen, each reason once.
    pub fn all_blind(&self) -> Vec<String> {
        let kinds = self.kinds.keys().filter_map(|gk| self.blind(gk));
        let all: BTreeSet<String> = kinds.chain(self.references.all_blind()).collect();
        all.into_iter().collect()
    }
    /// The list of a kind is complete; returns the instances that it concerns.
    pub fn list_done(&mut self, gk: &GroupKind, namespaced: bool, version: u64) -> Vec<InstanceKey> {
        let Some(kind) = self.kinds.get_mut(gk) else { return Vec::new() };
        kind.state = KindState::Synced { namespaced };
        kind.blind.sees();
        self.objects.list_done(gk, version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::objects::tests::child;

    #[test]
    fn a_kind_that_turns_out_to_be_generated_is_watched_anew_and_unfiltered() {
        let gk = GroupKind::new("kro.run", "App");
        let mut store = Store::default();
        assert_eq!(store.open(&gk, false), Some(Open { serial: 1, everything: false }));
        assert_eq!(store.open(&gk, false), None);
        store.list_done(&gk, true, 0);
        assert_eq!(store.open(&gk, true), Some(Open { serial: 2, everything: true }));
        assert_eq!(store.kind(&gk), KindState::Syncing);
        assert_eq!(store.open(&gk, true), None);
        // It stays so, whoever asks when it is served again.
        store.kind_mut(&gk).state = KindState::Unknown;
        assert_eq!(store.open(&gk, false), Some(Open { serial: 3, everything: true }));
    }

    #[test]
    fn a_kind_that_may_not_be_watched_is_not_looked_up_a_second_time() {
        let mut store = Store::default();
        for (kind, state) in [
            ("Missing", KindState::Missing),
            ("Failed", KindState::Failed("forbidden".into())),
            ("Syncing", KindState::Syncing),
        ] {
            store.kind_mut(&GroupKind::new("g", kind)).state = state;
        }
        assert_eq!(store.unserved(), [GroupKind::new("g", "Missing")]);
    }

    #[test]
    fn a_kind_that_may_not_be_watched_any_more_keeps_what_was_seen_and_is_told() {
        let gk = GroupKind::new("", "ConfigMap");
        let target = ObjectRef::new(gk.clone(), "n", "c");
        let mut store = Store::default();
        store.open(&gk, false);
        store.objects.show(&target, child(5, "x"));
        store.list_done(&gk, true, 0);
        store.refused(&gk, "you may not".into());
        assert_eq!((store.tick_blind(), store.tick_blind(), store.blind(&gk)), (false, false, None));
        assert!(store.tick_blind());
        assert_eq!(store.blind(&gk).as_deref(), Some("you may not"));
        assert_eq!(store.all_blind(), ["you may not"]);
        assert_eq!(store.kind(&gk), KindState::Synced { namespaced: true });
        assert!(store.get(&target).is_some(), "nothing is taken for gone");
        store.list_done(&gk, true, 0);
        assert_eq!(store.blind(&gk), None);
    }

    #[test]
    fn a_kind_whose_schema_changed_is_listed_anew_and_read_as_it_is_shown_now() {
        let gk = GroupKind::new("", "ConfigMap");
        let target = ObjectRef::new(gk.clone(), "n", "c");
        let mut store = Store::default();
        assert_eq!(store.reread(&gk), None, "nothing was read yet");
        store.open(&gk, false);
        store.objects.show(&target, child(5, "x"));
        store.list_done(&gk, true, 0);
        let serial = store.reread(&gk).map(|open| open.serial);
        assert_eq!((serial, store.kind(&gk)), (Some(2), KindState::Synced { namespaced: true }));
        assert!(store.get(&target).is_some(), "what was seen stands");
        store.objects.list_started(&gk);
        assert!(store.objects.show(&target, child(5, "x")).is_empty(), "it reads as before");
        assert_eq!(store.objects.show(&target, child(5, "y")).len(), 1, "the same version reads differently");
        store.list_done(&gk, true, 0);
        assert!(store.objects.show(&target, child(5, "x")).is_empty(), "an event that comes late is none");
    }
}
