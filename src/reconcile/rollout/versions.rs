//! The versions of a unit: which one is the target, which number the next one has, and which are needed no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A mark so far above all that is on record was made up on its cluster.
const INVENTED: u64 = 1_000;

/// A version on record.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded<C> {
    pub number: u64,
    pub stable: bool,
    pub content: Arc<C>,
}

/// The versions on record, by number.
pub type Records<C> = BTreeMap<u64, Recorded<C>>;

/// The last version that was completed.
pub fn stable<C>(records: &Records<C>) -> Option<&Recorded<C>> {
    records.values().rev().find(|version| version.stable)
}

/// Whether a version is of a rollout that ended. Numbers only rise, so it is below all that are on record now.
pub fn is_ended<C>(records: &Records<C>, number: u64) -> bool {
    !records.contains_key(&number) && records.keys().next().is_none_or(|first| number < *first)
}

/// The number of the version that is wanted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// It is on record.
    Recorded(u64),
    /// It has to be recorded.
    New(u64),
}

impl Target {
    pub fn number(self) -> u64 {
        match self {
            Self::Recorded(number) | Self::New(number) => number,
        }
    }
}

/// The newest version on record is the target if its content is what is wanted. `marks`: the numbers that clusters say
/// they run. `approved`: the numbers that approvals name.
pub fn target<C: PartialEq>(
    records: &Records<C>,
    wanted: &C,
    marks: impl Iterator<Item = u64>,
    approved: impl Iterator<Item = u64>,
) -> Target {
    let newest = records.last_key_value().map(|(_, version)| version);
    let run = highest(newest.map(|version| version.number), marks);
    match newest {
        // Where a later one is run that is not on record, what is wanted now has to be told from it.
        Some(newest) if *newest.content == *wanted && run == newest.number => Target::Recorded(newest.number),
        _ => Target::New(highest(Some(run), approved).saturating_add(1)),
    }
}

/// The highest number that is no invention.
fn highest(recorded: Option<u64>, seen: impl Iterator<Item = u64>) -> u64 {
    let seen: BTreeSet<u64> = seen.collect();
    let mut highest = recorded.or(seen.first().copied()).unwrap_or_default();
    for number in seen {
        if number > highest.saturating_add(INVENTED) {
            break;
        }
        highest = highest.max(number);
    }
    highest
}

/// Versions that nobody needs: neither target nor stable, and run by no cluster. `run`: the versions that a cluster may be at,
/// `None` while that is not known of all of them. It looks at every cluster, and is asked only where something might go.
pub fn needless<C>(
    records: &Records<C>,
    target: u64,
    run: impl FnOnce() -> Option<BTreeSet<u64>>,
) -> Vec<u64> {
    let stable = stable(records).map(|version| version.number);
    let mut spare: Vec<u64> =
        records.keys().copied().filter(|n| *n != target && Some(*n) != stable).collect();
    if !spare.is_empty() {
        let run = run();
        spare.retain(|n| run.as_ref().is_some_and(|run| !run.contains(n)));
    }
    spare
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(of: &[(u64, bool, &'static str)]) -> Records<&'static str> {
        let record = |(number, stable, content): &(u64, bool, &'static str)| {
            (*number, Recorded { number: *number, stable: *stable, content: Arc::new(*content) })
        };
        of.iter().map(record).collect()
    }

    #[test]
    fn numbers_only_rise_and_inventions_do_not_count() {
        let seven = records(&[(6, true, "a"), (7, false, "b")]);
        let none = records(&[]);
        type Case<'c> = (&'c str, &'c Records<&'static str>, &'static str, &'c [u64], &'c [u64], Target);
        let cases: [Case; 10] = [
            ("nothing at all", &none, "a", &[], &[], Target::New(1)),
            ("the newest is wanted", &seven, "b", &[6, 7], &[], Target::Recorded(7)),
            ("an edit", &seven, "c", &[6, 7], &[], Target::New(8)),
            ("going back is a version of its own", &seven, "a", &[6, 7], &[], Target::New(8)),
            ("a restored hub", &seven, "b", &[7, 8], &[], Target::New(9)),
            ("an approval ahead of its time", &seven, "b", &[7], &[8], Target::Recorded(7)),
            ("an approval that an edit must not meet", &seven, "c", &[7], &[8], Target::New(9)),
            ("an invention", &seven, "b", &[7, 5_000], &[], Target::Recorded(7)),
            ("an invention at the end", &seven, "c", &[7, u64::MAX], &[u64::MAX], Target::New(8)),
            ("lost records", &none, "c", &[5_000, 5_003], &[], Target::New(5_004)),
        ];
        for (case, records, wanted, marks, approved, expected) in cases {
            let (marks, approved) = (marks.iter().copied(), approved.iter().copied());
            assert_eq!(target(records, &wanted, marks, approved), expected, "{case}");
        }
    }

    #[test]
    fn what_is_run_stable_or_wanted_stays() {
        let all =
            records(&[(1, true, "a"), (2, false, "b"), (3, true, "c"), (4, false, "d"), (5, false, "e")]);
        assert_eq!(stable(&all).map(|v| v.number), Some(3));
        assert_eq!(needless(&all, 5, || Some(BTreeSet::from([2]))), [1, 4]);
        assert_eq!(needless(&all, 5, || None), [] as [u64; 0], "it is not known what is run");
        let two = records(&[(3, true, "c"), (5, false, "e")]);
        let nobody = || panic!("a fleet was looked at in vain");
        assert_eq!(needless(&two, 5, nobody), [] as [u64; 0]);
    }
}
