//! When a definition is looked at again if nothing happens before. Each of its subjects has one time, the sooner wins; a
//! failure that lasts is tried ever less.

use crate::spoke::agenda::Agenda;
use std::collections::BTreeMap;

/// What is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// To compile it: what the hub serves may be otherwise by now.
    Compile,
    /// To bring its CRD about.
    Crd,
    /// To issue its snapshot.
    Revision,
    /// To adopt its older snapshots, and to delete those that are too many.
    Upkeep,
    /// To write its finalizers.
    Finalizers,
    /// To write its status.
    Status,
}

/// A failure is tried again after this.
pub const SOON: u64 = 5_000;
/// What only somebody else can mend is tried again after this: not all that mends it is watched.
pub const LASTING: u64 = 60_000;
/// Somebody else wrote in between.
pub const OVERTAKEN: u64 = 1_000;
/// However often it failed.
const LONGEST: u64 = 300_000;

/// A kind is described a moment after its CRD changed; how soon is not told. Since the change.
const DESCRIBED: [u64; 3] = [400, 2_000, 7_000];
/// Changes that follow each other are taken together: such looks begin at most this often.
const APART: u64 = 10_000;

type Key = (String, Subject);

#[derive(Debug, Default)]
struct WakeState {
    failures: u32,
    retry_at: Option<u64>,
    /// Looks because of a change: since when they are counted, which comes next, and when.
    series: Option<u64>,
    look: usize,
    look_at: Option<u64>,
}

impl WakeState {
    fn next_look(&mut self) {
        self.look_at = self.series.and_then(|since| Some(since + DESCRIBED.get(self.look)?));
        self.look += 1;
    }
    fn at(&self) -> Option<u64> {
        self.retry_at.into_iter().chain(self.look_at).min()
    }
}

#[derive(Debug, Default)]
pub struct Wakes {
    agenda: Agenda<Key>,
    states: BTreeMap<Key, WakeState>,
}

impl Wakes {
    /// It failed: it is tried again after `first` milliseconds, doubled with each failure in a row.
    pub fn failed(&mut self, name: &str, subject: Subject, first: u64, now: u64) {
        self.with(name, subject, |state| {
            let pause = first.saturating_mul(1 << state.failures.min(16)).min(LONGEST.max(first));
            state.failures = state.failures.saturating_add(1);
            state.retry_at = Some(state.retry_at.map_or(now + pause, |known| known.min(now + pause)));
        });
    }

    /// It is to be looked at now, whatever was planned.
    pub fn at_once(&mut self, name: &str, subject: Subject, now: u64) {
        self.with(name, subject, |state| state.retry_at = Some(now));
    }

    /// It is to be looked at by then.
    pub fn within(&mut self, name: &str, subject: Subject, at: u64) {
        self.with(name, subject, |state| {
            state.retry_at = Some(state.retry_at.map_or(at, |known| known.min(at)));
        });
    }

    /// It works: earlier failures are forgotten, and looks because of a change go on.
    pub fn settled(&mut self, name: &str, subject: Subject) {
        self.with(name, subject, |state| (state.failures, state.retry_at) = (0, None));
    }

    /// What it looks at changed, and reads as it is now a moment later only.
    pub fn changed(&mut self, name: &str, subject: Subject, now: u64) {
        self.with(name, subject, |state| {
            // Looks that have not begun come after this change too.
            if state.series.is_none_or(|since| since <= now) {
                state.series = Some(state.series.map_or(now, |last| now.max(last + APART)));
                state.look = 0;
                let pending = state.look_at;
                state.next_look();
                state.look_at = state.look_at.into_iter().chain(pending).min();
            }
        });
    }

    /// Whether it failed and its time has not come.
    pub fn is_waiting(&self, name: &str, subject: Subject) -> bool {
        let state = self.states.get(&(name.to_owned(), subject));
        state.is_some_and(|s| s.failures > 0 && s.retry_at.is_some())
    }

    pub fn forget(&mut self, name: &str) {
        let gone: Vec<Key> = self.states.keys().filter(|key| key.0 == name).cloned().collect();
        for key in &gone {
            self.states.remove(key);
            self.agenda.set(key, None);
        }
    }

    pub fn next(&self) -> Option<u64> {
        self.agenda.next()
    }

    /// Takes those whose time has come.
    pub fn due(&mut self, now: u64) -> Vec<(String, Subject)> {
        let due = self.agenda.due(now);
        for (name, subject) in &due {
            self.with(name, *subject, |state| {
                state.retry_at = state.retry_at.filter(|at| *at > now);
                if state.look_at.is_some_and(|at| at <= now) {
                    state.next_look();
                }
            });
        }
        due
    }

    fn with(&mut self, name: &str, subject: Subject, change: impl FnOnce(&mut WakeState)) {
        let key = (name.to_owned(), subject);
        let state = self.states.entry(key.clone()).or_default();
        change(state);
        self.agenda.set(&key, state.at());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_MINUTES: u64 = 600_000;

    /// How often it is tried in each of ten minutes, if every try fails and `changes` come meanwhile.
    fn tries_of(subject: Subject, first: u64, changes: impl Fn(u64) -> bool) -> Vec<usize> {
        let (mut wakes, mut tried) = (Wakes::default(), vec![0; 10]);
        wakes.failed("a", subject, first, 0);
        for now in (0..TEN_MINUTES).step_by(100) {
            if changes(now) {
                wakes.changed("a", subject, now);
            }
            for (name, subject) in wakes.due(now) {
                tried[usize::try_from(now / 60_000).unwrap()] += 1;
                wakes.failed(&name, subject, first, now);
            }
        }
        tried
    }
    fn tries(changes: impl Fn(u64) -> bool) -> Vec<usize> {
        tries_of(Subject::Compile, SOON, changes)
    }

    #[test]
    fn a_failure_that_lasts_is_tried_ever_less() {
        let cases = [
            ("a kind is missing", Subject::Compile, SOON, [3, 1, 1, 0, 0, 1, 0, 0, 0, 0]),
            ("accepted without knowing a kind", Subject::Compile, LASTING, [0, 1, 0, 1, 0, 0, 0, 1, 0, 0]),
            ("its CRD would break instances", Subject::Crd, LASTING, [0, 1, 0, 1, 0, 0, 0, 1, 0, 0]),
            ("its snapshot is refused", Subject::Revision, SOON, [3, 1, 1, 0, 0, 1, 0, 0, 0, 0]),
            ("403 on an older snapshot", Subject::Upkeep, SOON, [3, 1, 1, 0, 0, 1, 0, 0, 0, 0]),
            ("403 on its finalizer", Subject::Finalizers, SOON, [3, 1, 1, 0, 0, 1, 0, 0, 0, 0]),
            ("403 on its status", Subject::Status, SOON, [3, 1, 1, 0, 0, 1, 0, 0, 0, 0]),
        ];
        for (what, subject, first, want) in cases {
            assert_eq!(tries_of(subject, first, |_| false), want, "{what}");
        }
    }

    #[test]
    fn changes_that_do_not_help_add_three_looks_each_and_no_chain() {
        let once = tries(|now| now == 100_000);
        assert_eq!(once.iter().sum::<usize>(), 7 + 3 - 1, "{once:?}");
        for apart in [100, 1_000, 8_000] {
            let often = tries(|now| now % apart == 0);
            assert!(often.iter().all(|n| *n <= 3 * 6 + 4), "every {apart} ms: {often:?}");
            assert!(often[9] <= often[1] + 1, "every {apart} ms: {often:?}");
        }
        let twelve = tries(|now| now < 96_000 && now % 8_000 == 0);
        assert!(twelve[3..].iter().all(|n| *n <= 1), "{twelve:?}");
    }

    #[test]
    fn the_looks_after_a_change_are_close_and_the_last_change_is_seen() {
        let mut wakes = Wakes::default();
        let mut looks = Vec::new();
        for now in (0..60_000).step_by(100) {
            if now == 1_000 || now == 4_000 {
                wakes.changed("a", Subject::Compile, now);
            }
            looks.extend(wakes.due(now).iter().map(|_| now));
        }
        assert_eq!(looks, [1_400, 3_000, 8_000, 13_000, 18_000]);
    }

    #[test]
    fn each_subject_has_one_time_and_the_sooner_wins() {
        let mut wakes = Wakes::default();
        wakes.failed("a", Subject::Crd, LASTING, 0);
        wakes.failed("a", Subject::Crd, LASTING, 0);
        wakes.failed("a", Subject::Status, SOON, 0);
        assert!(wakes.is_waiting("a", Subject::Crd) && !wakes.is_waiting("b", Subject::Crd));
        assert_eq!(wakes.due(10_000), [("a".to_owned(), Subject::Status)]);
        assert_eq!(wakes.next(), Some(60_000));
        wakes.at_once("a", Subject::Crd, 20_000);
        assert_eq!(wakes.due(20_000).len(), 1);
        assert_eq!(wakes.next(), None);
        wakes.failed("a", Subject::Crd, SOON, 20_000);
        wakes.settled("a", Subject::Crd);
        assert_eq!((wakes.next(), wakes.is_waiting("a", Subject::Crd)), (None, false));
        wakes.failed("a", Subject::Crd, SOON, 20_000);
        assert_eq!(wakes.next(), Some(25_000), "earlier failures are forgotten");
        wakes.forget("a");
        assert_eq!(wakes.next(), None);
    }
}
