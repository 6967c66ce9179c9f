//! What of a unit has to be on record next, or need not be any more.

use super::Unit;
use super::versions::{self, Records, Target};
use std::collections::BTreeSet;
use std::fmt::Display;

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// A version; whether all are at it already.
    Record(u64, bool),
    /// Every cluster within reach completed it.
    Stable(u64),
    /// No cluster can be at it.
    Drop(u64),
}

/// What a unit goes by.
pub struct Kept<'a, C> {
    pub records: &'a Records<C>,
    pub target: Target,
    /// The target is on record, and nothing that an earlier life sent can land any more.
    pub ready: bool,
    /// What runs before anything is on record is stable.
    pub first_is_stable: bool,
}

impl<C> Kept<'_, C> {
    /// `run`: the versions that a cluster may be at; `None` while that is not known of all of them.
    pub fn next<K: Ord + Clone + Display>(
        &self,
        unit: &Unit<K>,
        run: impl FnOnce() -> Option<BTreeSet<u64>>,
    ) -> Option<Write> {
        if unit.is_empty() || unit.is_connecting() {
            return None;
        }
        match self.target {
            Target::New(number) => {
                let first = self.first_is_stable && self.records.is_empty();
                Some(Write::Record(number, first || unit.is_complete()))
            }
            Target::Recorded(number) if self.ready => {
                let is_stable = self.records.get(&number).is_some_and(|version| version.stable);
                if !is_stable && unit.is_complete() {
                    return Some(Write::Stable(number));
                }
                versions::needless(self.records, number, run).into_iter().next().map(Write::Drop)
            }
            Target::Recorded(_) => None,
        }
    }
}
