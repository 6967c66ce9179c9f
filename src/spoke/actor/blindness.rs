//! Kinds that may not be listed or watched any more: what was seen of them stands, and people are told that no more is seen.

use super::Actor;
use crate::spoke::store::Store;

impl Actor {
    /// What may not be seen has not been for a while longer.
    pub(super) fn tick_blind(&mut self) {
        if self.parked {
            return;
        }
        let (kinds, readers) = self.write_store(|s| (s.tick_blind(), s.references.tick_blind()));
        if kinds {
            self.enqueue_all();
        }
        readers.iter().for_each(|key| self.enqueue(key));
    }

    /// What people are to know of it.
    pub fn blind(&self) -> Vec<String> {
        self.read_store(Store::all_blind)
    }
}
