//! A map that tasks share. What is in it is copied out, or looked at and changed in place: no lock of it leaves this file,
//! so none is held over an await. What is done in place must not use the same map again.

use crate::api::maps::HashState;
use dashmap::DashMap;
use std::hash::Hash;
use std::sync::Arc;

pub struct SharedMap<K, V>(Arc<DashMap<K, V, HashState>>);

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Eq + Hash, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq + Hash, V> SharedMap<K, V> {
    /// Looks at an entry, if there is one.
    pub fn look<T>(&self, key: &K, at: impl FnOnce(&V) -> T) -> Option<T> {
        self.0.get(key).map(|entry| at(&entry))
    }

    /// Changes an entry, which is the default value if there is none.
    pub fn change<T>(&self, key: K, how: impl FnOnce(&mut V) -> T) -> T
    where
        V: Default,
    {
        how(&mut self.0.entry(key).or_default())
    }

    pub fn insert(&self, key: K, value: V) {
        self.0.insert(key, value);
    }

    /// The entry that is there, or this one from now on.
    pub fn first(&self, key: K, value: V) -> V
    where
        V: Clone,
    {
        self.0.entry(key).or_insert(value).clone()
    }

    pub fn retain(&self, stays: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain(stays);
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Goes through the entries, in no order.
    pub fn each(&self, mut see: impl FnMut(&K, &V)) {
        self.0.iter().for_each(|entry| see(entry.key(), entry.value()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn many_at_once_see_one_map() {
        let map: SharedMap<u64, u64> = SharedMap::default();
        thread::scope(|scope| {
            for n in 0..4_u64 {
                let map = map.clone();
                scope.spawn(move || {
                    for key in 0..100 {
                        map.change(key, |count| *count += 1);
                        assert!(map.first(1_000 + key, n) < 4);
                    }
                });
            }
        });
        assert!((0..100).all(|key| map.look(&key, |count| *count) == Some(4)));
        assert_eq!((map.count(), map.look(&5_000, |count| *count)), (200, None));
        map.insert(0, 9);
        map.retain(|key, _| *key < 2);
        let mut left = Vec::new();
        map.each(|key, value| left.push((*key, *value)));
        left.sort_unstable();
        assert_eq!(left, [(0, 9), (1, 4)]);
    }
}
