//! What instances read on a cluster and do not own: one watch for each different [`Lookup`], shared and counted. Of the
//! names of one kind only so many have a watch of their own; the others share one.
//!
//! A lookup is opened when the first instance reads it and closed when the last one does not any more. What was seen
//! stands while its watch is interrupted; only a complete list takes something away.

use super::blind::Blind;
use super::crd_names::is_crd_of;
use super::discovery::Served;
use super::shared_watch::SharedWatch;
use super::watch::Seen;
use crate::api::Gvk;
use crate::api::maps::{HashMap, HashSet};
use crate::api::names::{GroupKind, InstanceKey, ObjectRef};
use crate::reconcile::world::{Looked, Lookup, Selection, Stored};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq)]
enum ReferenceState {
    Syncing,
    Synced,
    NotServed,
    Failed(String),
}

#[derive(Debug)]
struct Reference {
    state: ReferenceState,
    /// By namespace and name.
    objects: BTreeMap<(Arc<str>, Arc<str>), Arc<Stored>>,
    /// Objects of the list that is being received.
    listing: Option<HashSet<(Arc<str>, Arc<str>)>>,
    readers: BTreeSet<InstanceKey>,
    /// Of the watch that was opened last.
    serial: u64,
    blind: Blind,
}

/// Names of one kind that have a watch of their own.
const OWN_WATCHES: usize = 16;

/// What a watch of external references shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Lookup(Lookup),
    /// All of a kind, for many names.
    Kind(Gvk),
}

impl Subject {
    pub fn gvk(&self) -> &Gvk {
        match self {
            Self::Lookup(lookup) => &lookup.gvk,
            Self::Kind(gvk) => gvk,
        }
    }
}

/// A watch to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub subject: Subject,
    pub serial: u64,
}

/// What an instance's new reads lead to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub open: Vec<Open>,
    pub close: Vec<Subject>,
    /// To be read once: they joined a watch that had begun.
    pub ask: Vec<Lookup>,
}

#[derive(Debug, Default)]
pub struct References {
    lookups: HashMap<Lookup, Reference>,
    shared: HashMap<Gvk, SharedWatch>,
    reads: HashMap<InstanceKey, BTreeSet<Lookup>>,
    /// Where kinds are served, as found by a watch that is open.
    served: HashMap<Gvk, Served>,
    serial: u64,
}

#[cfg(test)]
impl References {
    pub fn remembered(&self) -> Vec<String> {
        let reads = self.reads.keys().map(|key| format!("reads of {key}"));
        let lookups = self.lookups.keys().map(|lookup| format!("{lookup} is read"));
        reads.chain(lookups).chain(self.served.keys().map(|gvk| format!("where {gvk} is served"))).collect()
    }
}

impl References {
    /// An instance reads exactly these.
    pub fn read(&mut self, key: &InstanceKey, wanted: &BTreeSet<Lookup>) -> Changes {
        let mut changes = Changes::default();
        if self.reads.get(key).map_or(wanted.is_empty(), |before| before == wanted) {
            return changes;
        }
        let before = if wanted.is_empty() {
            self.reads.remove(key)
        } else {
            self.reads.insert(key.clone(), wanted.clone())
        };
        let before = before.unwrap_or_default();
        for lookup in wanted.difference(&before) {
            if let Some(known) = self.lookups.get_mut(lookup) {
                known.readers.insert(key.clone());
                continue;
            }
            if let Selection::Name(name) = &lookup.selection
                && self.is_crowded(&lookup.gvk)
            {
                self.join(lookup, name, key, &mut changes);
                continue;
            }
            self.serial += 1;
            let reference = Reference {
                state: ReferenceState::Syncing,
                objects: BTreeMap::new(),
                listing: None,
                readers: BTreeSet::from([key.clone()]),
                serial: self.serial,
                blind: Blind::default(),
            };
            self.lookups.insert(lookup.clone(), reference);
            changes.open.push(Open { subject: Subject::Lookup(lookup.clone()), serial: self.serial });
        }
        for lookup in before.difference(wanted) {
            let Some(known) = self.lookups.get_mut(lookup) else {
                self.leave(lookup, key, &mut changes);
                continue;
            };
            known.readers.remove(key);
            if known.readers.is_empty() {
                self.lookups.remove(lookup);
                changes.close.push(Subject::Lookup(lookup.clone()));
            }
        }
        if !changes.close.is_empty() {
            let (lookups, shared) = (&self.lookups, &self.shared);
            self.served.retain(|gvk, _| shared.contains_key(gvk) || lookups.keys().any(|l| l.gvk == *gvk));
        }
        changes
    }

    fn is_crowded(&self, gvk: &Gvk) -> bool {
        let named = |l: &&Lookup| l.gvk == *gvk && matches!(l.selection, Selection::Name(_));
        self.shared.contains_key(gvk) || self.lookups.keys().filter(named).count() >= OWN_WATCHES
    }

    fn join(&mut self, lookup: &Lookup, name: &Arc<str>, key: &InstanceKey, changes: &mut Changes) {
        let serial = self.serial + 1;
        let watch = self.shared.entry(lookup.gvk.clone()).or_insert_with(|| SharedWatch::new(serial));
        if watch.is_empty() {
            self.serial = serial;
            changes.open.push(Open { subject: Subject::Kind(lookup.gvk.clone()), serial });
        }
        if watch.join(name, &lookup.namespace, key) {
            changes.ask.push(lookup.clone());
        }
    }

    fn leave(&mut self, lookup: &Lookup, key: &InstanceKey, changes: &mut Changes) {
        let (Selection::Name(name), Some(watch)) = (&lookup.selection, self.shared.get_mut(&lookup.gvk))
        else {
            return;
        };
        watch.leave(name, &lookup.namespace, key);
        if watch.is_empty() {
            self.shared.remove(&lookup.gvk);
            changes.close.push(Subject::Kind(lookup.gvk.clone()));
        }
    }

    /// Lookups of kinds that are not served, to be tried again; of one group, or of all.
    pub fn retry(&mut self, group: Option<&str>) -> Vec<Open> {
        let mut open = Vec::new();
        for (lookup, reference) in &mut self.lookups {
            if reference.state == ReferenceState::NotServed && group.is_none_or(|g| *lookup.gvk.group == *g) {
                self.serial += 1;
                reference.serial = self.serial;
                reference.state = ReferenceState::Syncing;
                open.push(Open { subject: Subject::Lookup(lookup.clone()), serial: self.serial });
            }
        }
        for (gvk, watch) in &mut self.shared {
            let serial = self.serial + 1;
            if group.is_none_or(|g| *gvk.group == *g) && watch.reopen(serial) {
                self.serial = serial;
                open.push(Open { subject: Subject::Kind(gvk.clone()), serial });
            }
        }
        open
    }

    /// What is read of a kind, to be listed anew while what was seen stands: its schema changed.
    pub fn reread(&mut self, gk: &GroupKind) -> Vec<Open> {
        let mut open = Vec::new();
        for (lookup, reference) in &mut self.lookups {
            if reference.state == ReferenceState::Synced && lookup.gvk.group_kind() == *gk {
                self.serial += 1;
                reference.serial = self.serial;
                reference.listing = None;
                open.push(Open { subject: Subject::Lookup(lookup.clone()), serial: self.serial });
            }
        }
        for (gvk, watch) in &mut self.shared {
            if gvk.group_kind() == *gk && watch.reread(self.serial + 1) {
                self.serial += 1;
                open.push(Open { subject: Subject::Kind(gvk.clone()), serial: self.serial });
            }
        }
        open
    }

    /// Whether some lookup reads a kind of this group that is not served.
    pub fn lacks(&self, group: &str) -> bool {
        self.lookups.iter().any(|(l, r)| r.state == ReferenceState::NotServed && *l.gvk.group == *group)
            || self.shared.iter().any(|(gvk, watch)| watch.is_not_served() && *gvk.group == *group)
    }

    /// The kind that a CRD of this name is for, where it is read.
    pub fn kind_of_crd(&self, name: &str) -> Option<GroupKind> {
        let named = self.served.iter().find(|(_, served)| is_crd_of(name, &served.resource));
        named.map(|(gvk, _)| gvk.group_kind())
    }

    /// Whether some lookup reads a kind.
    pub fn reads(&self, gk: &GroupKind) -> bool {
        self.lookups.keys().map(|l| &l.gvk).chain(self.shared.keys()).any(|gvk| gvk.group_kind() == *gk)
    }

    pub fn note_served(&mut self, gvk: Gvk, served: Served) {
        self.served.insert(gvk, served);
    }
    pub fn served(&self, gvk: &Gvk) -> Option<&Served> {
        self.served.get(gvk)
    }

    /// Takes in what a watch saw; returns the instances that it concerns.
    pub fn seen(&mut self, subject: &Subject, serial: u64, seen: Seen) -> Vec<InstanceKey> {
        let lookup = match subject {
            Subject::Lookup(lookup) => lookup,
            Subject::Kind(gvk) => {
                if matches!(seen, Seen::NotServed) {
                    self.served.remove(gvk);
                }
                let watch = self.shared.get_mut(gvk).filter(|c| c.serial == serial);
                return watch.map(|c| c.seen(seen).into_iter().collect()).unwrap_or_default();
            }
        };
        let Some(reference) = self.lookups.get_mut(lookup).filter(|r| r.serial == serial) else {
            return Vec::new();
        };
        let changed = match seen {
            Seen::Served(_) => false,
            Seen::NotServed => {
                self.served.remove(&lookup.gvk);
                reference.objects.clear();
                reference.listing = None;
                reference.blind = Blind::default();
                reference.set(ReferenceState::NotServed)
            }
            // What was seen stands: that it may not be read now does not say that it is gone.
            Seen::Failed(why) if reference.state == ReferenceState::Synced => {
                reference.blind.refused(why);
                false
            }
            Seen::Failed(why) => reference.set(ReferenceState::Failed(why)),
            Seen::ListStarted => {
                reference.listing = Some(HashSet::default());
                false
            }
            Seen::Object(object) => reference.upsert(lookup, object),
            Seen::Left(target, uid, _) => reference.remove(&target, &uid),
            Seen::ListDone { .. } => reference.blind.sees() | reference.listed(),
        };
        if changed { reference.readers.iter().cloned().collect() } else { Vec::new() }
    }

    /// Takes in the answer to what was to be read once.
    pub fn answered(&mut self, lookup: &Lookup, answer: Result<Option<Stored>, String>) -> Vec<InstanceKey> {
        match (&lookup.selection, self.shared.get_mut(&lookup.gvk)) {
            (Selection::Name(name), Some(watch)) => {
                watch.answered(name, &lookup.namespace, answer).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Time went by; returns the instances that read what is not seen any more, as is to be told from now on.
    pub fn tick_blind(&mut self) -> Vec<InstanceKey> {
        let lookups = self.lookups.values_mut().filter_map(|r| r.blind.tick().then_some(&r.readers));
        let mut readers: Vec<InstanceKey> = lookups.flatten().cloned().collect();
        readers.extend(self.shared.values_mut().flat_map(SharedWatch::tick_blind));
        readers
    }

    /// Contact is back.
    pub fn reconnected(&mut self) {
        let lookups = self.lookups.values_mut().map(|r| &mut r.blind);
        lookups.chain(self.shared.values_mut().map(|w| &mut w.blind)).for_each(Blind::count_anew);
    }

    /// Why changes of what is read are not seen, though it was seen once.
    pub fn blind_to(&self, lookup: &Lookup) -> Option<&str> {
        match self.lookups.get(lookup) {
            Some(reference) => reference.blind.told(),
            None => self.shared.get(&lookup.gvk)?.blind.told(),
        }
    }

    pub fn all_blind(&self) -> impl Iterator<Item = String> + use<'_> {
        let lookups = self.lookups.values().map(|r| &r.blind);
        lookups.chain(self.shared.values().map(|w| &w.blind)).filter_map(Blind::told).map(str::to_owned)
    }

    pub fn look(&self, lookup: &Lookup) -> Looked {
        let watch = self.shared.get(&lookup.gvk).filter(|_| !self.lookups.contains_key(lookup));
        if let (Selection::Name(name), Some(watch)) = (&lookup.selection, watch) {
            return watch.look(name, &lookup.namespace);
        }
        match self.lookups.get(lookup) {
            None | Some(Reference { state: ReferenceState::Syncing, .. }) => Looked::NotYet,
            Some(Reference { state: ReferenceState::NotServed, .. }) => Looked::NotServed,
            Some(Reference { state: ReferenceState::Failed(why), .. }) => Looked::Failed(why.clone()),
            Some(Reference { state: ReferenceState::Synced, objects, .. }) => {
                Looked::Found(objects.values().cloned().collect())
            }
        }
    }
}

impl Reference {
    fn set(&mut self, state: ReferenceState) -> bool {
        let changed = self.state != state;
        self.state = state;
        changed
    }

    fn upsert(&mut self, lookup: &Lookup, stored: Arc<Stored>) -> bool {
        let target = stored.object.object_ref();
        if matches!(&lookup.selection, Selection::Name(name) if *name != target.name) {
            return false;
        }
        let place = (target.namespace.clone(), target.name.clone());
        if let Some(listing) = &mut self.listing {
            listing.insert(place.clone());
        }
        let mark = |s: &Stored| (s.object.uid().to_owned(), s.object.resource_version().to_owned());
        // The same version reads differently after the kind's schema changed.
        if self
            .objects
            .get(&place)
            .is_some_and(|old| mark(old) == mark(&stored) && old.object == stored.object)
        {
            return false;
        }
        self.objects.insert(place, stored);
        self.state == ReferenceState::Synced
    }

    fn remove(&mut self, target: &ObjectRef, uid: &str) -> bool {
        let place = (target.namespace.clone(), target.name.clone());
        if self.objects.get(&place).is_none_or(|old| old.object.uid() != uid) {
            return false;
        }
        self.objects.remove(&place);
        true
    }

    fn listed(&mut self) -> bool {
        let before = self.objects.len();
        if let Some(listing) = self.listing.take() {
            self.objects.retain(|place, _| listing.contains(place));
        }
        let lost = self.objects.len() != before;
        self.set(ReferenceState::Synced) || lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn lookup(selection: Selection) -> Lookup {
        Lookup { gvk: Gvk::new("", "v1", "ConfigMap"), namespace: "n".into(), selection }
    }
    fn by_name() -> Lookup {
        lookup(Selection::Name("a".into()))
    }
    fn subject() -> Subject {
        Subject::Lookup(by_name())
    }
    fn reader(name: &str) -> InstanceKey {
        InstanceKey::new(GroupKind::new("kro.run", "App"), "n", name)
    }
    fn object(object: Value) -> Seen {
        Seen::Object(Arc::new(Stored::new(object)))
    }

    fn config_map(name: &str, version: u64) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": version.to_string()}})
    }
    fn names(looked: &Looked) -> Option<Vec<String>> {
        match looked {
            Looked::Found(found) => Some(found.iter().map(|s| s.object.name().to_owned()).collect()),
            _ => None,
        }
    }

    #[test]
    fn a_lookup_is_shared_and_closed_by_the_last_reader() {
        let mut book = References::default();
        let wanted = BTreeSet::from([by_name()]);
        assert_eq!(book.read(&reader("x"), &wanted).open, [Open { subject: subject(), serial: 1 }]);
        assert_eq!(book.read(&reader("x"), &wanted), Changes::default());
        assert_eq!(book.read(&reader("y"), &wanted), Changes::default());
        assert_eq!(book.read(&reader("x"), &BTreeSet::new()), Changes::default());
        assert_eq!(book.read(&reader("y"), &BTreeSet::new()).close, [subject()]);
        assert!(matches!(book.look(&by_name()), Looked::NotYet));
    }

    #[test]
    fn nothing_is_absent_before_the_first_list_is_complete() {
        let mut book = References::default();
        book.read(&reader("x"), &BTreeSet::from([by_name()]));
        let mut see = |seen| book.seen(&subject(), 1, seen).len();
        assert_eq!(see(Seen::ListStarted), 0);
        assert_eq!(see(Seen::Failed("403".into())), 1);
        assert_eq!(see(object(config_map("a", 1))), 0);
        assert_eq!(see(object(config_map("b", 1))), 0, "not what was asked for");
        assert_eq!(see(Seen::ListDone { namespaced: true, version: 1 }), 1);
        assert_eq!(see(Seen::Failed("403".into())), 0, "what was seen stands");
        assert_eq!(see(object(config_map("a", 1))), 0, "nothing new");
        assert_eq!(see(object(config_map("a", 2))), 1);
        assert_eq!(names(&book.look(&by_name())), Some(vec!["a".into()]));
    }

    #[test]
    fn what_a_new_list_does_not_name_is_gone_and_the_order_is_stable() {
        let all = lookup(Selection::Labels("".into()));
        let mut book = References::default();
        book.read(&reader("x"), &BTreeSet::from([all.clone()]));
        let whole = Subject::Lookup(all.clone());
        for seen in [
            Seen::ListStarted,
            object(config_map("c", 1)),
            object(config_map("a", 2)),
            Seen::ListDone { namespaced: true, version: 1 },
            object(config_map("b", 3)),
        ] {
            book.seen(&whole, 1, seen);
        }
        assert_eq!(names(&book.look(&all)), Some(vec!["a".into(), "b".into(), "c".into()]));
        book.seen(&whole, 1, Seen::ListStarted);
        book.seen(&whole, 1, object(config_map("b", 3)));
        assert_eq!(names(&book.look(&all)).map(|n| n.len()), Some(3), "the list is not complete yet");
        assert_eq!(book.seen(&whole, 1, Seen::ListDone { namespaced: true, version: 1 }).len(), 1);
        assert_eq!(names(&book.look(&all)), Some(vec!["b".into()]));
        let target = ObjectRef::new(GroupKind::new("", "ConfigMap"), "n", "b");
        assert_eq!(book.seen(&whole, 1, Seen::Left(target.clone(), "another".into(), 9)).len(), 0);
        assert_eq!(book.seen(&whole, 1, Seen::Left(target, "b".into(), 9)).len(), 1);
        assert_eq!(names(&book.look(&all)), Some(vec![]));
    }

    #[test]
    fn many_names_of_one_kind_share_a_watch() {
        let mut book = References::default();
        let named = |i: usize| Lookup { selection: Selection::Name(format!("c{i}").into()), ..by_name() };
        let watch = Subject::Kind(by_name().gvk);
        let mut opened = Vec::new();
        for i in 0..OWN_WATCHES + 5 {
            opened.extend(book.read(&reader(&i.to_string()), &BTreeSet::from([named(i)])).open);
        }
        assert_eq!(opened.len(), OWN_WATCHES + 1);
        let serial = opened.last().map(|o| o.serial).unwrap();
        assert_eq!(opened.pop().unwrap().subject, watch);
        for seen in
            [Seen::ListStarted, object(config_map("c20", 1)), Seen::ListDone { namespaced: true, version: 1 }]
        {
            book.seen(&watch, serial, seen);
        }
        assert_eq!(names(&book.look(&named(20))), Some(vec!["c20".into()]));
        assert_eq!(names(&book.look(&named(19))), Some(vec![]));
        assert!(matches!(book.look(&named(0)), Looked::NotYet), "it has a watch of its own");
        let late = book.read(&reader("late"), &BTreeSet::from([named(99)]));
        assert_eq!((late.open.len(), late.ask), (0, vec![named(99)]));
        assert_eq!(book.answered(&named(99), Ok(None)), [reader("late")]);
        assert_eq!(names(&book.look(&named(99))), Some(vec![]));
        let mut closed = Vec::new();
        for name in (OWN_WATCHES..OWN_WATCHES + 5).map(|i| i.to_string()).chain(["late".to_owned()]) {
            closed.extend(book.read(&reader(&name), &BTreeSet::new()).close);
        }
        assert_eq!(closed, [watch]);
    }

    #[test]
    fn a_kind_that_is_not_served_is_tried_again_when_its_group_changes() {
        let mut book = References::default();
        book.read(&reader("x"), &BTreeSet::from([by_name()]));
        assert_eq!(book.seen(&subject(), 1, Seen::NotServed).len(), 1);
        assert!(matches!(book.look(&by_name()), Looked::NotServed));
        assert_eq!(book.retry(Some("apps")), []);
        assert_eq!(book.retry(Some("")), [Open { subject: subject(), serial: 2 }]);
        assert!(
            book.seen(&subject(), 1, Seen::ListDone { namespaced: true, version: 1 }).is_empty(),
            "of an earlier watch"
        );
        assert!(matches!(book.look(&by_name()), Looked::NotYet));
    }
}
