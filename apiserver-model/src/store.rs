//! What is kept, as etcd and the watch cache of a server keep it: objects by key, and the latest changes.

use crate::kinds::Resource;
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// An object as it was written, and by which schema of its kind.
#[derive(Clone)]
pub struct Stored {
    kept: Kept,
    pub stamp: u64,
}

#[derive(Clone)]
enum Kept {
    Whole(Arc<Value>),
    /// As JSON: a tenth of the memory, read anew for each look.
    Text(Bytes),
}

impl Stored {
    pub fn new(object: Arc<Value>, stamp: u64, compact: bool) -> Self {
        let kept = if compact { Kept::Text(object.to_string().into()) } else { Kept::Whole(object) };
        Self { kept, stamp }
    }

    pub fn object(&self) -> Arc<Value> {
        match &self.kept {
            Kept::Whole(object) => Arc::clone(object),
            // What was written as JSON is JSON.
            Kept::Text(text) => Arc::new(serde_json::from_slice(text).unwrap_or_default()),
        }
    }

    /// The object as JSON, where it is kept so.
    pub fn text(&self) -> Option<&Bytes> {
        match &self.kept {
            Kept::Whole(_) => None,
            Kept::Text(text) => Some(text),
        }
    }
}

/// One write.
#[derive(Clone)]
pub(crate) struct Change {
    pub version: u64,
    pub resource: Resource,
    pub key: String,
    pub before: Option<Stored>,
    pub after: Option<Stored>,
}

pub(crate) type Objects = BTreeMap<String, Stored>;

#[derive(Clone)]
pub(crate) struct Store {
    pub version: u64,
    objects: BTreeMap<Resource, Objects>,
    changes: VecDeque<Change>,
    /// Changes up to this version are not known any more.
    pub forgotten: u64,
    history: usize,
    compact: bool,
}

pub(crate) fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

impl Store {
    pub fn new(history: usize, compact: bool) -> Self {
        let (objects, changes) = (BTreeMap::new(), VecDeque::new());
        Self { version: 1, objects, changes, forgotten: 0, history, compact }
    }

    pub fn get(&self, resource: &Resource, key: &str) -> Option<&Stored> {
        self.objects.get(resource)?.get(key)
    }

    pub fn of(&self, resource: &Resource) -> impl Iterator<Item = (&String, &Stored)> + use<'_> {
        self.objects.get(resource).into_iter().flatten()
    }

    pub fn all(&self) -> impl Iterator<Item = (&Resource, &String, &Stored)> {
        self.objects
            .iter()
            .flat_map(|(resource, all)| all.iter().map(move |(key, stored)| (resource, key, stored)))
    }

    /// Writes an object with the next version; returns it as it is kept.
    pub fn put(&mut self, resource: &Resource, key: &str, mut object: Value, stamp: u64) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = Arc::new(object);
        let after = Stored::new(Arc::clone(&object), stamp, self.compact);
        let before = self.objects.entry(resource.clone()).or_default().insert(key.to_owned(), after.clone());
        self.note(resource, key, before, Some(after));
        object
    }

    pub fn remove(&mut self, resource: &Resource, key: &str) -> Option<Stored> {
        let before = self.objects.get_mut(resource)?.remove(key)?;
        self.version += 1;
        self.note(resource, key, Some(before.clone()), None);
        Some(before)
    }

    fn note(&mut self, resource: &Resource, key: &str, before: Option<Stored>, after: Option<Stored>) {
        let change =
            Change { version: self.version, resource: resource.clone(), key: key.to_owned(), before, after };
        self.changes.push_back(change);
        while self.changes.len() > self.history {
            self.forgotten = self.changes.pop_front().map_or(self.forgotten, |c| c.version);
        }
    }

    /// Changes after a version.
    pub fn since(&self, version: u64) -> impl Iterator<Item = &Change> {
        let start = self.changes.partition_point(|c| c.version <= version);
        self.changes.range(start..)
    }

    /// Objects as they were at a version that is not forgotten.
    pub fn at(&self, resource: &Resource, version: u64) -> Objects {
        let mut objects = self.objects.get(resource).cloned().unwrap_or_default();
        let changes: Vec<&Change> = self.since(version).filter(|c| &c.resource == resource).collect();
        for change in changes.into_iter().rev() {
            match &change.before {
                Some(before) => drop(objects.insert(change.key.clone(), before.clone())),
                None => drop(objects.remove(&change.key)),
            }
        }
        objects
    }

    /// No watch and no page goes on from before now.
    pub fn compact(&mut self) {
        self.changes.clear();
        self.forgotten = self.version;
    }
}
