//! When a definition is looked at again if nothing happens before: what failed, ever less; what changed, a few times soon
//! after.

use crate::hub::timers::{Pauses, Timers};
use crate::hub::writes::Part;
use crate::reconcile::Moment;
use crate::spoke::agenda::Agenda;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

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
    /// To compile earlier revisions that somebody runs by.
    Former,
}

impl Subject {
    const ALL: [Self; 7] = [
        Self::Compile,
        Self::Crd,
        Self::Revision,
        Self::Upkeep,
        Self::Finalizers,
        Self::Status,
        Self::Former,
    ];
}

impl From<Part> for Subject {
    fn from(part: Part) -> Self {
        match part {
            Part::Finalizers => Self::Finalizers,
            Part::Status => Self::Status,
        }
    }
}

const LONGEST: Duration = Duration::from_secs(300);
/// A failure that may pass by itself.
pub const SOON: Pauses = Pauses { first: Duration::from_secs(5), longest: LONGEST };
/// What only somebody else can mend: not all that mends it is watched.
pub const LASTING: Pauses = Pauses { first: Duration::from_secs(60), longest: LONGEST };
/// Somebody else wrote in between.
pub const OVERTAKEN: Pauses = Pauses { first: Duration::from_secs(1), longest: LONGEST };

/// A kind is described a moment after its CRD changed; how soon is not told. Since the change.
const DESCRIBED: [Duration; 3] = [Duration::from_millis(400), Duration::from_secs(2), Duration::from_secs(7)];
/// Changes that follow each other are taken together: such looks begin at most this often.
const APART: Duration = Duration::from_secs(10);

/// One subject of one definition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wake {
    pub definition: String,
    pub subject: Subject,
}

impl Wake {
    fn new(definition: &str, subject: Subject) -> Self {
        Self { definition: definition.to_owned(), subject }
    }
}

#[derive(Debug, Default)]
pub struct Wakes {
    retries: Timers<Wake>,
    looks: Looks,
}

impl Wakes {
    /// It failed. Returns when it is tried again.
    pub fn failed(&mut self, name: &str, subject: Subject, pauses: Pauses, now: Moment) -> Option<Moment> {
        let wake = Wake::new(name, subject);
        self.retries.failed(&wake, now, pauses);
        self.retries.time(&wake)
    }

    /// It is to be looked at after this time, if not sooner.
    pub fn within(&mut self, name: &str, subject: Subject, now: Moment, pause: Duration) {
        self.retries.after(&Wake::new(name, subject), now, pause);
    }

    /// It works: earlier failures are forgotten, and looks because of a change go on.
    pub fn settled(&mut self, name: &str, subject: Subject) {
        self.retries.settled(&Wake::new(name, subject));
    }

    /// What it looks at changed, and reads as it is now a moment later only.
    pub fn changed(&mut self, name: &str, subject: Subject, now: Moment) {
        self.looks.changed(&Wake::new(name, subject), now);
    }

    /// Whether it is to be tried again, and its time has not come.
    pub fn is_waiting(&self, name: &str, subject: Subject) -> bool {
        self.retries.is_waiting(&Wake::new(name, subject))
    }

    pub fn forget(&mut self, name: &str) {
        for subject in Subject::ALL {
            let wake = Wake::new(name, subject);
            self.retries.settled(&wake);
            self.looks.forget(&wake);
        }
    }

    pub fn next(&self) -> Option<Moment> {
        self.retries.next().into_iter().chain(self.looks.agenda.next()).min()
    }

    /// Takes those whose time has come, each once.
    pub fn due(&mut self, now: Moment) -> BTreeSet<Wake> {
        self.retries.due(now).into_iter().chain(self.looks.due(now)).collect()
    }
}

/// Looks that follow a change, one series for each subject.
#[derive(Debug, Default)]
struct Looks {
    agenda: Agenda<Wake>,
    series: BTreeMap<Wake, Series>,
}

#[derive(Debug)]
struct Series {
    /// Since when its looks are counted.
    since: Moment,
    done: usize,
}

impl Series {
    fn next(&self) -> Option<Moment> {
        Some(self.since.after(*DESCRIBED.get(self.done)?))
    }
}

impl Looks {
    fn changed(&mut self, wake: &Wake, now: Moment) {
        let last = self.series.get(wake).map(|series| series.since);
        // Looks that have not begun come after this change too.
        if last.is_some_and(|since| since > now) {
            return;
        }
        let series = Series { since: last.map_or(now, |last| now.max(last.after(APART))), done: 0 };
        let pending = self.agenda.time(wake);
        self.agenda.set(wake, series.next().into_iter().chain(pending).min());
        self.series.insert(wake.clone(), series);
    }

    fn due(&mut self, now: Moment) -> Vec<Wake> {
        let due = self.agenda.due(now);
        for wake in &due {
            let Some(series) = self.series.get_mut(wake) else { continue };
            // One that was still to come from an earlier series is the first of this one.
            series.done += 1;
            self.agenda.set(wake, series.next());
        }
        due
    }

    fn forget(&mut self, wake: &Wake) {
        self.agenda.set(wake, None);
        self.series.remove(wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    const TEN_MINUTES: u64 = 600_000;

    /// How often it is tried in each of ten minutes, if every try fails and `changes` come meanwhile.
    fn tries_of(subject: Subject, pauses: Pauses, changes: impl Fn(u64) -> bool) -> Vec<usize> {
        let (mut wakes, mut tried) = (Wakes::default(), vec![0; 10]);
        wakes.failed("a", subject, pauses, at(0));
        for now in (0..TEN_MINUTES).step_by(100) {
            if changes(now) {
                wakes.changed("a", subject, at(now));
            }
            for wake in wakes.due(at(now)) {
                tried[usize::try_from(now / 60_000).unwrap()] += 1;
                wakes.failed(&wake.definition, wake.subject, pauses, at(now));
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
        for (what, subject, pauses, want) in cases {
            assert_eq!(tries_of(subject, pauses, |_| false), want, "{what}");
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
                wakes.changed("a", Subject::Compile, at(now));
            }
            looks.extend(wakes.due(at(now)).iter().map(|_| now));
        }
        assert_eq!(looks, [1_400, 3_000, 8_000, 13_000, 18_000]);
    }

    #[test]
    fn each_subject_has_one_time_and_the_sooner_wins() {
        let mut wakes = Wakes::default();
        wakes.failed("a", Subject::Crd, LASTING, at(0));
        wakes.failed("a", Subject::Crd, LASTING, at(0));
        wakes.failed("a", Subject::Status, SOON, at(0));
        assert!(wakes.is_waiting("a", Subject::Crd) && !wakes.is_waiting("b", Subject::Crd));
        assert_eq!(wakes.due(at(10_000)), BTreeSet::from([Wake::new("a", Subject::Status)]));
        assert_eq!(wakes.next(), Some(at(60_000)));
        wakes.within("a", Subject::Crd, at(20_000), Duration::ZERO);
        assert_eq!(wakes.due(at(20_000)).len(), 1);
        assert_eq!(wakes.next(), None);
        wakes.failed("a", Subject::Crd, SOON, at(20_000));
        wakes.settled("a", Subject::Crd);
        assert_eq!((wakes.next(), wakes.is_waiting("a", Subject::Crd)), (None, false));
        wakes.failed("a", Subject::Crd, SOON, at(20_000));
        assert_eq!(wakes.next(), Some(at(25_000)), "earlier failures are forgotten");
        wakes.forget("a");
        assert_eq!(wakes.next(), None);
    }
}
