//! How much of what one cluster shows is kept, over all that is listed and watched there: each event of a watch may be
//! small, and their number without end.

use crate::api::maps::HashMap;
use crate::api::maps::HashState;
use serde_json::Value;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const MIB: usize = 1024 * 1024;
/// For one cluster, in bytes as received.
pub(super) const KEPT: usize = 256 * MIB;
/// What it costs to know an object, however small it is.
const LEAST: usize = 256;

/// What is kept of one cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<AtomicUsize>);

/// What is kept of one list and its watch; given back when it ends.
#[derive(Debug)]
pub(super) struct Weights {
    kept: Kept,
    /// By name: the size, and the list that showed it last.
    of: HashMap<u64, (usize, u64)>,
    names: HashState,
    list: u64,
}

impl Weights {
    pub fn new(kept: Kept) -> Self {
        Self { kept, of: HashMap::default(), names: HashState::default(), list: 0 }
    }

    pub fn list_started(&mut self) {
        self.list += 1;
    }

    /// What the list did not show is kept no more.
    pub fn list_done(&mut self) {
        let (list, mut gone) = (self.list, 0);
        self.of.retain(|_, (size, seen)| {
            let stays = *seen == list;
            gone += if stays { 0 } else { *size };
            stays
        });
        self.kept.0.fetch_sub(gone, Ordering::Relaxed);
    }

    /// Whether there is room for an object of this size.
    pub fn shown(&mut self, object: &Value, size: usize) -> bool {
        let (key, size) = (self.key(object), size.max(LEAST));
        let before = self.of.get(&key).map_or(0, |(size, _)| *size);
        if size > before && self.kept.0.load(Ordering::Relaxed) + (size - before) > KEPT {
            return false;
        }
        self.of.insert(key, (size, self.list));
        self.kept.0.fetch_add(size, Ordering::Relaxed);
        self.kept.0.fetch_sub(before, Ordering::Relaxed);
        true
    }

    pub fn left(&mut self, object: &Value) {
        let size = self.of.remove(&self.key(object)).map_or(0, |(size, _)| size);
        self.kept.0.fetch_sub(size, Ordering::Relaxed);
    }

    fn key(&self, object: &Value) -> u64 {
        let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
        self.names.hash_one((text("/metadata/namespace"), text("/metadata/name")))
    }
}

impl Drop for Weights {
    fn drop(&mut self) {
        let sum: usize = self.of.values().map(|(size, _)| *size).sum();
        self.kept.0.fetch_sub(sum, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: usize) -> Value {
        json!({"metadata": {"namespace": "n", "name": name.to_string()}})
    }

    #[test]
    fn what_all_watches_show_is_bounded_together_and_given_back() {
        let kept = Kept::default();
        let (mut one, mut other) = (Weights::new(kept.clone()), Weights::new(kept.clone()));
        let shown = (0..10_000).filter(|n| one.shown(&object(*n), MIB)).count();
        assert_eq!(shown, 256, "events without end");
        assert!(!other.shown(&object(0), 1) && one.shown(&object(7), MIB), "an edit needs no more room");
        one.left(&object(3));
        one.left(&object(3));
        assert!(other.shown(&object(0), MIB / 2));
        one.list_started();
        assert!(
            (0..100).all(|n| n == 3 || one.shown(&object(n), MIB)),
            "a new list is not counted beside the old"
        );
        one.list_done();
        assert_eq!(kept.0.load(Ordering::Relaxed), 99 * MIB + MIB / 2);
        drop(one);
        drop(other);
        assert_eq!(kept.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn names_cost_something_too() {
        let mut weights = Weights::new(Kept::default());
        assert!(weights.shown(&object(0), 0));
        assert_eq!(weights.kept.0.load(Ordering::Relaxed), LEAST);
    }
}
