//! The hub's picture of one kind of object: complete, or openly not yet complete.
//!
//! Fed by a watch and by the answers to our own writes. A list that fails half-way removes nothing: only a list that was
//! read to its end, or a deletion that the watch showed, takes an object out.

use crate::api::Object;
use crate::reconcile::world::Stored;
use crate::spoke::watch::Listed;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Namespace (empty for cluster-scoped objects) and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// What is kept of an object.
pub trait Kept: Sized + PartialEq {
    fn read(shown: Value) -> Self;
    fn key(&self) -> Key;
    fn uid(&self) -> &str;
    /// Its resource version.
    fn version(&self) -> u64;
}

impl Kept for Object {
    fn read(shown: Value) -> Self {
        Self(shown)
    }
    fn key(&self) -> Key {
        Key::new(self.namespace(), self.name())
    }
    fn uid(&self) -> &str {
        self.uid()
    }
    fn version(&self) -> u64 {
        self.version()
    }
}

/// Of kinds with many objects.
impl Kept for Stored {
    fn read(shown: Value) -> Self {
        Self::new(shown)
    }
    fn key(&self) -> Key {
        Key::new(self.object.namespace(), self.object.name())
    }
    fn uid(&self) -> &str {
        self.object.uid()
    }
    fn version(&self) -> u64 {
        self.object.version()
    }
}

/// One object appeared, changed or went.
#[derive(Clone, Debug)]
pub struct Change<T = Object> {
    pub key: Key,
    pub before: Option<Arc<T>>,
    pub after: Option<Arc<T>>,
}

/// A list that is being read.
#[derive(Debug, Default)]
struct Listing {
    shown: BTreeSet<Key>,
    /// Answers to our own writes that came meanwhile: they may be newer than the list.
    written: BTreeSet<Key>,
}

#[derive(Debug)]
pub struct View<T = Object> {
    objects: BTreeMap<Key, Arc<T>>,
    listing: Option<Listing>,
    synced: bool,
}

impl<T> Default for View<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listing: None, synced: false }
    }
}

impl<T: Kept> View<T> {
    /// Whether a list was read to its end.
    pub fn is_synced(&self) -> bool {
        self.synced
    }
    pub fn get(&self, key: &Key) -> Option<&Arc<T>> {
        self.objects.get(key)
    }
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<T>)> {
        self.objects.iter()
    }

    /// Takes in what the watch showed.
    pub fn take(&mut self, listed: Listed) -> Vec<Change<T>> {
        match listed {
            Listed::Started => {
                self.listing = Some(Listing::default());
                Vec::new()
            }
            Listed::Object(value) => {
                let (object, mut may_go_back) = (T::read(value), false);
                if let Some(listing) = &mut self.listing {
                    let key = object.key();
                    // After a restore of etcd, a list shows older versions of what was known, and they are the truth.
                    may_go_back = !listing.written.contains(&key);
                    listing.shown.insert(key);
                }
                self.upsert(object, may_go_back).into_iter().collect()
            }
            Listed::Left(value) => {
                let object = T::read(value);
                let key = object.key();
                if self.objects.get(&key).is_some_and(|known| known.uid() != object.uid()) {
                    return Vec::new();
                }
                self.remove(key).into_iter().collect()
            }
            Listed::Done(_) => {
                self.synced = true;
                let Some(listing) = self.listing.take() else { return Vec::new() };
                let lost: Vec<Key> =
                    self.objects.keys().filter(|k| !listing.shown.contains(*k)).cloned().collect();
                lost.into_iter().filter_map(|key| self.remove(key)).collect()
            }
        }
    }

    /// Takes in the answer to a write of ours. An object that the watch has removed meanwhile is not brought back.
    pub fn refresh(&mut self, value: Value) -> Option<Change<T>> {
        let object = T::read(value);
        let known = self.objects.get(&object.key())?;
        if known.uid() != object.uid() {
            return None;
        }
        if let Some(listing) = &mut self.listing {
            listing.written.insert(object.key());
        }
        self.upsert(object, false)
    }

    fn upsert(&mut self, object: T, may_go_back: bool) -> Option<Change<T>> {
        let key = object.key();
        let before = self.objects.get(&key).cloned();
        let old = |b: &T| match b.version().cmp(&object.version()) {
            // The same version reads differently in a list after the kind's schema changed.
            std::cmp::Ordering::Equal => !may_go_back || *b == object,
            std::cmp::Ordering::Greater => !may_go_back,
            std::cmp::Ordering::Less => false,
        };
        if before.as_ref().is_some_and(|b| b.uid() == object.uid() && old(b)) {
            return None;
        }
        let after = Arc::new(object);
        self.objects.insert(key.clone(), after.clone());
        Some(Change { key, before, after: Some(after) })
    }

    fn remove(&mut self, key: Key) -> Option<Change<T>> {
        let before = self.objects.remove(&key)?;
        Some(Change { key, before: Some(before), after: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, uid: &str, version: u64) -> Value {
        json!({"metadata": {"name": name, "uid": uid, "resourceVersion": version.to_string()}})
    }
    fn names(view: &View) -> Vec<&str> {
        view.iter().map(|(k, _)| k.name.as_str()).collect()
    }

    #[test]
    fn only_a_complete_list_removes() {
        let mut view: View = View::default();
        view.take(Listed::Started);
        view.take(Listed::Object(object("a", "1", 1)));
        view.take(Listed::Object(object("b", "2", 2)));
        assert!(!view.is_synced());
        view.take(Listed::Done(9));
        view.take(Listed::Started);
        view.take(Listed::Object(object("a", "1", 1)));
        // The list breaks off and starts again: nothing is lost.
        view.take(Listed::Started);
        assert_eq!(names(&view), ["a", "b"]);
        view.take(Listed::Object(object("a", "1", 1)));
        assert_eq!(view.take(Listed::Done(9)).len(), 1);
        assert_eq!(names(&view), ["a"]);
    }

    #[test]
    fn old_news_changes_nothing() {
        let mut view: View = View::default();
        view.take(Listed::Object(object("a", "1", 5)));
        assert!(view.take(Listed::Object(object("a", "1", 5))).is_empty());
        assert!(view.take(Listed::Object(object("a", "1", 4))).is_empty());
        assert!(view.refresh(object("a", "1", 6)).is_some());
        assert!(view.take(Listed::Left(object("a", "0", 9))).is_empty(), "another object of that name");
        assert_eq!(view.take(Listed::Left(object("a", "1", 7))).len(), 1);
        assert!(view.refresh(object("a", "1", 8)).is_none(), "an answer does not bring back what is gone");
    }

    #[test]
    fn a_list_after_a_change_of_the_schema_is_believed_though_no_version_changed() {
        let mut view: View = View::default();
        view.take(Listed::Object(object("a", "1", 5)));
        let mut defaulted = object("a", "1", 5);
        defaulted["spec"] = json!({"tier": "small"});
        assert!(view.take(Listed::Object(defaulted.clone())).is_empty(), "an event of a known version");
        view.take(Listed::Started);
        assert_eq!(view.take(Listed::Object(defaulted.clone())).len(), 1);
        assert!(view.take(Listed::Object(defaulted)).is_empty());
    }

    #[test]
    fn a_list_after_a_restore_is_believed_though_it_is_older() {
        let mut view: View = View::default();
        for name in ["a", "b"] {
            view.take(Listed::Object(object(name, "1", 9)));
        }
        view.take(Listed::Started);
        view.refresh(object("b", "1", 10));
        assert_eq!(view.take(Listed::Object(object("a", "1", 4))).len(), 1);
        assert!(view.take(Listed::Object(object("b", "1", 8))).is_empty(), "our write came after that list");
        view.take(Listed::Done(9));
        assert!(view.take(Listed::Object(object("a", "1", 3))).is_empty(), "an event is old news");
        assert_eq!(view.take(Listed::Object(object("a", "1", 5))).len(), 1);
    }
}
