//! What all clusters share: kinds by the document they stand in, and graphs by the kinds they were compiled for.

use super::graphs::{Key, Verdict};
use crate::api::hash;
use crate::api::names::Gvk;
use crate::schema::kinds::Kind;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// More entries than this are looked through for those that nobody uses.
const MANY: usize = 64;

/// A kind and the fingerprint of what is known of it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub kind: Arc<Kind>,
    pub print: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Book(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// By the URL of the document, which carries the hash of its content. `None`: the document has no such kind.
    documents: HashMap<String, HashMap<Gvk, Option<Entry>>>,
    /// Documents differ between clusters more often than the kinds in them do.
    kinds: HashMap<u64, Arc<Kind>>,
    /// By the definition and the fingerprint of the kinds.
    graphs: HashMap<(Key, u64), Verdict>,
}

impl Book {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a document says of a kind; outer `None` if nobody read it for that kind yet.
    pub fn kind(&self, url: &str, gvk: &Gvk) -> Option<Option<Entry>> {
        self.lock().documents.get(url)?.get(gvk).cloned()
    }

    pub fn learn(&self, url: &str, found: Vec<(Gvk, Option<Kind>)>) {
        let mut inner = self.lock();
        inner.forget_unused();
        for (gvk, kind) in found {
            let entry = kind.map(|kind| {
                let print = hash::json(&kind.schema) ^ u64::from(kind.namespaced);
                let kind = inner.kinds.entry(print).or_insert_with(|| Arc::new(kind)).clone();
                Entry { kind, print }
            });
            inner.documents.entry(url.to_owned()).or_default().insert(gvk, entry);
        }
    }

    pub fn graph(&self, key: &Key, kinds: u64) -> Option<Verdict> {
        self.lock().graphs.get(&(key.clone(), kinds)).cloned()
    }

    pub fn keep(&self, key: Key, kinds: u64, verdict: Verdict) {
        self.lock().graphs.insert((key, kinds), verdict);
    }
}

impl Inner {
    /// What no cluster's state holds any more can be made again.
    fn forget_unused(&mut self) {
        if self.graphs.len() > MANY {
            self.graphs.retain(|_, verdict| match verdict {
                Ok(graph) => Arc::strong_count(graph) > 1,
                Err(why) => Arc::strong_count(why) > 1,
            });
        }
        if self.documents.len() > MANY {
            // Each kind is held by the book twice: by its document and by its content.
            let mut holders: HashMap<u64, usize> = HashMap::new();
            for entry in self.documents.values().flat_map(HashMap::values).flatten() {
                *holders.entry(entry.print).or_default() += 1;
            }
            self.documents.retain(|_, kinds| {
                kinds.values().flatten().any(|e| {
                    Arc::strong_count(&e.kind) > 1 + holders.get(&e.print).copied().unwrap_or_default()
                })
            });
            self.kinds.retain(|_, kind| Arc::strong_count(kind) > 1);
        }
    }
}
