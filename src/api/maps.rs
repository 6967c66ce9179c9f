//! Hash maps and sets that other people name the keys of: each process hashes in its own way, so that nobody can choose
//! keys that collide. A test may fix the way for its own thread, so that a run can be repeated to the letter.

pub type HashMap<K, V> = std::collections::HashMap<K, V, HashState>;
pub type HashSet<T> = std::collections::HashSet<T, HashState>;

#[cfg(not(test))]
pub type HashState = std::hash::RandomState;
#[cfg(test)]
pub use repeatable::{HashState, repeat};

#[cfg(test)]
mod repeatable {
    use std::cell::Cell;
    use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};

    thread_local! {
        static SEED: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// From now on maps and sets of this thread hash in a way that the seed says.
    pub fn repeat(seed: u64) {
        SEED.set(Some(seed));
    }

    #[derive(Clone, Debug)]
    pub enum HashState {
        Random(RandomState),
        Seeded(u64),
    }

    impl Default for HashState {
        fn default() -> Self {
            SEED.get().map_or_else(|| Self::Random(RandomState::new()), Self::Seeded)
        }
    }

    impl BuildHasher for HashState {
        type Hasher = DefaultHasher;
        fn build_hasher(&self) -> DefaultHasher {
            match self {
                Self::Random(state) => state.build_hasher(),
                Self::Seeded(seed) => {
                    let mut hasher = DefaultHasher::new();
                    hasher.write_u64(*seed);
                    hasher
                }
            }
        }
    }
}
