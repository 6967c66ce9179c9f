//! Texts and bytes that many objects have alike, each of them kept once.

use super::maps::HashSet;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Values that are kept once for all that have them. What nobody has any more is forgotten by and by.
pub(super) struct Shared<T: ?Sized>(Vec<Mutex<Shelf<T>>>);

struct Shelf<T: ?Sized> {
    values: HashSet<Arc<T>>,
    /// When there are so many, those that nobody has are forgotten.
    full: usize,
}

/// So many tasks do not wait for each other.
const SHELVES: usize = 16;
const LEAST: usize = 64;

impl<T: ?Sized + Hash + Eq> Shared<T> {
    pub fn new() -> Self {
        let shelf = |_| Mutex::new(Shelf { values: HashSet::default(), full: LEAST });
        Self((0..SHELVES).map(shelf).collect())
    }

    /// The one that is kept of these; `make` makes one of its own.
    pub fn one(&self, value: &T, make: impl FnOnce(&T) -> Arc<T>) -> Arc<T> {
        static PLACE: LazyLock<super::maps::HashState> = LazyLock::new(Default::default);
        let place = usize::try_from(PLACE.hash_one(value) % SHELVES as u64).unwrap_or_default();
        let Some(shelf) = self.0.get(place) else { return make(value) };
        let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shelf.values.get(value) {
            return known.clone();
        }
        if shelf.values.len() >= shelf.full {
            shelf.values.retain(|value| Arc::strong_count(value) > 1);
            shelf.full = (2 * shelf.values.len()).max(LEAST);
        }
        let kept = make(value);
        shelf.values.insert(kept.clone());
        kept
    }
}

/// A text that is kept once for all that have it: of names that many objects have in common.
pub fn text(text: &str) -> Arc<str> {
    static TEXTS: LazyLock<Shared<str>> = LazyLock::new(Shared::new);
    TEXTS.one(text, |own| own.into())
}

/// Bytes that are kept once for all that have them.
pub fn bytes(bytes: &[u8]) -> Arc<[u8]> {
    static BYTES: LazyLock<Shared<[u8]>> = LazyLock::new(Shared::new);
    BYTES.one(bytes, |own| own.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_kept_once_and_forgotten_when_nobody_has_them() {
        let shared: Shared<str> = Shared::new();
        let one = |text: &str| shared.one(text, |own| own.into());
        let (first, same, other) = (one("a"), one("a"), one("b"));
        assert!(Arc::ptr_eq(&first, &same) && !Arc::ptr_eq(&first, &other));
        for n in 0..100_000 {
            one(&format!("{n}"));
        }
        let kept = |shelf: &Mutex<Shelf<str>>| shelf.lock().unwrap().values.len();
        assert!(shared.0.iter().map(kept).sum::<usize>() <= SHELVES * 2 * LEAST);
        assert!(Arc::ptr_eq(&first, &one("a")), "it is in use");
    }
}
