//! Many objects of one kind, each read by its name: one watch of the whole kind instead of one for each, for a connection
//! carries only so many. Of all that it shows, only what is read is kept.

use super::blind::Blind;
use super::watch::Seen;
use crate::api::names::InstanceKey;
use crate::reconcile::world::{Looked, Stored};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What one name stands for.
#[derive(Debug)]
enum Known {
    /// It was asked for after the list began, so the list does not tell; says why there is no answer yet, if one was tried.
    Asked(Option<String>),
    /// The list tells.
    Listed,
    Absent,
    There(Arc<Stored>),
}

#[derive(Debug)]
struct Member {
    readers: BTreeSet<InstanceKey>,
    known: Known,
    /// The version as of which it was gone: what is older does not bring it back.
    gone_at: u64,
    /// It was in the list that is being received.
    listed: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum ListState {
    /// No list has begun.
    Starting,
    Started,
    Synced,
    NotServed,
    Failed(String),
}

/// By name and namespace. Objects of a cluster-scoped kind have no namespace, whatever was asked for.
type Place = (Arc<str>, Arc<str>);

/// The names of one kind.
#[derive(Debug)]
pub struct SharedWatch {
    state: ListState,
    members: BTreeMap<Place, Member>,
    /// Of the watch that was opened last.
    pub serial: u64,
    pub(super) blind: Blind,
    /// A list is being received.
    listing: bool,
}

impl SharedWatch {
    pub fn new(serial: u64) -> Self {
        Self {
            state: ListState::Starting,
            members: BTreeMap::new(),
            serial,
            blind: Blind::default(),
            listing: false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Somebody reads a name; returns whether it has to be asked for.
    pub fn join(&mut self, name: &Arc<str>, namespace: &Arc<str>, key: &InstanceKey) -> bool {
        let late = !matches!(self.state, ListState::Starting | ListState::NotServed);
        let mut new = false;
        let member = self.members.entry((name.clone(), namespace.clone())).or_insert_with(|| {
            new = true;
            let known = if late { Known::Asked(None) } else { Known::Listed };
            Member { readers: BTreeSet::new(), known, gone_at: 0, listed: false }
        });
        member.readers.insert(key.clone());
        new && late
    }

    pub fn leave(&mut self, name: &Arc<str>, namespace: &Arc<str>, key: &InstanceKey) {
        let place = (name.clone(), namespace.clone());
        if let Some(member) = self.members.get_mut(&place) {
            member.readers.remove(key);
            if member.readers.is_empty() {
                self.members.remove(&place);
            }
        }
    }

    /// Its kind was not served, and is tried again.
    pub fn reopen(&mut self, serial: u64) -> bool {
        if self.state != ListState::NotServed {
            return false;
        }
        self.state = ListState::Starting;
        self.serial = serial;
        true
    }
    /// All of it is listed anew while what was seen stands.
    pub fn reread(&mut self, serial: u64) -> bool {
        let synced = self.state == ListState::Synced;
        if synced {
            self.serial = serial;
        }
        synced
    }
    pub fn is_not_served(&self) -> bool {
        self.state == ListState::NotServed
    }

    /// Takes in what the watch saw; returns the instances that it concerns.
    pub fn seen(&mut self, seen: Seen) -> BTreeSet<InstanceKey> {
        match seen {
            Seen::Served(_) => BTreeSet::new(),
            Seen::NotServed => {
                self.state = ListState::NotServed;
                self.blind = Blind::default();
                self.members.values_mut().for_each(|m| m.known = Known::Listed);
                self.everybody()
            }
            Seen::Failed(why) => {
                if self.state == ListState::Synced {
                    self.blind.refused(why);
                    return BTreeSet::new();
                }
                self.state = ListState::Failed(why);
                self.everybody()
            }
            Seen::ListStarted => {
                if self.state != ListState::Synced {
                    self.state = ListState::Started;
                }
                self.members.values_mut().for_each(|m| m.listed = false);
                self.listing = true;
                BTreeSet::new()
            }
            Seen::Object(object) => self.shown(&object),
            Seen::Left(target, uid, version) => {
                let mut concerned = BTreeSet::new();
                for member in self.of(&target.name, &target.namespace) {
                    member.gone_at = member.gone_at.max(version);
                    if matches!(&member.known, Known::There(s) if s.object.uid() == uid) {
                        member.known = Known::Absent;
                        concerned.extend(member.readers.iter().cloned());
                    }
                }
                concerned
            }
            Seen::ListDone { .. } => self.listed(),
        }
    }

    fn shown(&mut self, stored: &Arc<Stored>) -> BTreeSet<InstanceKey> {
        let mut concerned = BTreeSet::new();
        let target = stored.object.object_ref();
        let listing = self.listing;
        for member in self.of(&target.name, &target.namespace) {
            member.listed = true;
            if member.take(stored, listing) {
                concerned.extend(member.readers.iter().cloned());
            }
        }
        concerned
    }

    fn listed(&mut self) -> BTreeSet<InstanceKey> {
        let first = self.blind.sees() | (self.state != ListState::Synced);
        self.state = ListState::Synced;
        self.listing = false;
        let mut concerned = BTreeSet::new();
        for member in self.members.values_mut() {
            let absent = !member.listed && !matches!(member.known, Known::Asked(_) | Known::Absent);
            if absent {
                member.known = Known::Absent;
            }
            if absent || first {
                concerned.extend(member.readers.iter().cloned());
            }
        }
        concerned
    }

    /// Time went by; returns the instances that are to be told from now on that no more is seen.
    pub fn tick_blind(&mut self) -> BTreeSet<InstanceKey> {
        if self.blind.tick() { self.everybody() } else { BTreeSet::new() }
    }

    /// The answer to a question for one name.
    pub fn answered(
        &mut self,
        name: &Arc<str>,
        namespace: &Arc<str>,
        answer: Result<Option<Stored>, String>,
    ) -> BTreeSet<InstanceKey> {
        let Some(member) = self.members.get_mut(&(name.clone(), namespace.clone())) else {
            return BTreeSet::new();
        };
        let changed = match answer {
            Ok(Some(stored)) => member.take(&Arc::new(stored), false),
            Ok(None) => false,
            Err(why) => {
                if matches!(member.known, Known::Asked(_)) {
                    member.known = Known::Asked(Some(why));
                    return member.readers.clone();
                }
                return BTreeSet::new();
            }
        };
        let asked = matches!(member.known, Known::Asked(_));
        if asked {
            member.known = Known::Absent;
        }
        if changed || asked { member.readers.clone() } else { BTreeSet::new() }
    }

    pub fn look(&self, name: &Arc<str>, namespace: &Arc<str>) -> Looked {
        let Some(member) = self.members.get(&(name.clone(), namespace.clone())) else {
            return Looked::NotYet;
        };
        match (&member.known, &self.state) {
            (_, ListState::NotServed) => Looked::NotServed,
            (Known::There(stored), _) => Looked::Found(vec![stored.clone()]),
            (Known::Absent, _) => Looked::Found(Vec::new()),
            (Known::Asked(Some(why)), _) | (Known::Listed, ListState::Failed(why)) => {
                Looked::Failed(why.clone())
            }
            (Known::Asked(None) | Known::Listed, _) => Looked::NotYet,
        }
    }

    fn everybody(&self) -> BTreeSet<InstanceKey> {
        self.members.values().flat_map(|m| m.readers.iter().cloned()).collect()
    }

    fn of<'a>(&'a mut self, name: &Arc<str>, namespace: &'a str) -> impl Iterator<Item = &'a mut Member> {
        let from: Place = (name.clone(), Arc::from(""));
        let (name, range) = (name.clone(), self.members.range_mut(from..));
        range
            .take_while(move |(place, _)| place.0 == name)
            .filter(move |(place, _)| namespace.is_empty() || *place.1 == *namespace)
            .map(|(_, member)| member)
    }
}

impl Member {
    /// Takes in what is newer than what is known; says whether it was.
    /// `listed`: a list shows it. After a restore of etcd that may be older than what was known, and is the truth.
    fn take(&mut self, stored: &Arc<Stored>, listed: bool) -> bool {
        let version = |s: &Stored| s.object.version();
        // The same version reads differently after the kind's schema changed.
        let is_known = |old: &Stored| {
            (version(old) > version(stored) && !listed)
                || (version(old) == version(stored) && old.object == stored.object)
        };
        if (version(stored) <= self.gone_at && !listed)
            || matches!(&self.known, Known::There(old) if is_known(old))
        {
            return false;
        }
        self.gone_at = self.gone_at.min(version(stored).saturating_sub(1));
        self.known = Known::There(stored.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::{GroupKind, ObjectRef};
    use serde_json::{Value, json};

    fn text(text: &str) -> Arc<str> {
        Arc::from(text)
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
    fn left(name: &str, version: u64) -> Seen {
        Seen::Left(ObjectRef::new(GroupKind::new("", "ConfigMap"), "n", name), name.into(), version)
    }
    fn looked(watch: &SharedWatch, name: &str) -> String {
        match watch.look(&text(name), &text("n")) {
            Looked::NotYet => "not yet".into(),
            Looked::NotServed => "not served".into(),
            Looked::Failed(why) => why,
            Looked::Found(found) => {
                found.iter().map(|s| s.object.resource_version().to_owned()).collect::<Vec<_>>().join(",")
            }
        }
    }
    fn done() -> Seen {
        Seen::ListDone { namespaced: true, version: 1 }
    }
    fn synced(names: &[&str]) -> SharedWatch {
        let mut watch = SharedWatch::new(1);
        for name in names {
            assert!(!watch.join(&text(name), &text("n"), &reader(name)), "the list will tell");
        }
        watch.seen(Seen::ListStarted);
        for name in names {
            watch.seen(object(config_map(name, 5)));
        }
        watch.seen(done());
        watch
    }

    #[test]
    fn only_readers_of_a_name_hear_of_it_and_nothing_else_is_kept() {
        let mut watch = synced(&["a", "b"]);
        assert_eq!(watch.seen(object(config_map("a", 6))), BTreeSet::from([reader("a")]));
        assert!(watch.seen(object(config_map("a", 6))).is_empty(), "nothing new");
        assert!(watch.seen(object(config_map("c", 7))).is_empty());
        assert_eq!(
            (watch.members.len(), looked(&watch, "a"), looked(&watch, "c")),
            (2, "6".into(), "not yet".into())
        );
        assert_eq!(watch.seen(left("a", 8)), BTreeSet::from([reader("a")]));
        assert_eq!(looked(&watch, "a"), "");
        watch.leave(&text("a"), &text("n"), &reader("a"));
        watch.leave(&text("b"), &text("n"), &reader("b"));
        assert!(watch.is_empty());
    }

    #[test]
    fn who_joins_late_asks_and_is_not_absent_before_the_answer() {
        let mut watch = synced(&["a"]);
        assert!(watch.join(&text("b"), &text("n"), &reader("b")));
        assert!(!watch.join(&text("b"), &text("n"), &reader("c")), "it is asked for already");
        watch.seen(Seen::ListStarted);
        watch.seen(done());
        assert_eq!((looked(&watch, "a"), looked(&watch, "b")), (String::new(), "not yet".into()));
        let mut answer = |answer| watch.answered(&text("b"), &text("n"), answer).len();
        assert_eq!(answer(Err("no contact".into())), 2);
        assert_eq!(answer(Ok(Some(Stored::new(config_map("b", 9))))), 2);
        assert_eq!(looked(&watch, "b"), "9");
    }

    #[test]
    fn the_watch_and_the_answer_may_come_in_any_order() {
        let answers: [(&str, Vec<Seen>, Option<u64>, &str); 5] = [
            ("the watch is newer", vec![object(config_map("b", 9))], Some(7), "9"),
            ("the answer is newer", vec![object(config_map("b", 7))], Some(9), "9"),
            ("it was deleted meanwhile", vec![left("b", 8)], Some(7), ""),
            ("it was made again meanwhile", vec![left("b", 8)], Some(9), "9"),
            ("it was made after the answer", vec![object(config_map("b", 9))], None, "9"),
        ];
        for (case, seen, answer, want) in answers {
            let mut watch = synced(&["a"]);
            watch.join(&text("b"), &text("n"), &reader("b"));
            for seen in seen {
                watch.seen(seen);
            }
            let answer = Ok(answer.map(|v| Stored::new(config_map("b", v))));
            watch.answered(&text("b"), &text("n"), answer);
            assert_eq!(looked(&watch, "b"), want, "{case}");
        }
    }

    #[test]
    fn a_cluster_scoped_kind_has_no_namespaces() {
        let mut watch = SharedWatch::new(1);
        watch.join(&text("a"), &text("n"), &reader("x"));
        watch.join(&text("a"), &text("m"), &reader("y"));
        watch.seen(Seen::ListStarted);
        let mut zone = config_map("a", 5);
        zone["metadata"]["namespace"] = Value::Null;
        assert_eq!(watch.seen(object(zone)).len(), 2);
        assert_eq!(watch.seen(object(config_map("a", 6))), BTreeSet::from([reader("x")]));
    }

    #[test]
    fn what_cannot_be_read_is_not_absent() {
        let mut watch = SharedWatch::new(1);
        watch.join(&text("a"), &text("n"), &reader("a"));
        assert_eq!(watch.seen(Seen::Failed("403".into())).len(), 1);
        assert_eq!(looked(&watch, "a"), "403");
        assert_eq!(watch.seen(Seen::NotServed).len(), 1);
        assert_eq!(looked(&watch, "a"), "not served");
        assert!(watch.reopen(2) && !watch.reopen(3));
        assert_eq!(looked(&watch, "a"), "not yet");
    }
}
