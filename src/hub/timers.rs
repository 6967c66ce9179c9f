//! When what failed, or is to change by itself, is looked at again: one timer for a subject, however many ask for one.
//!
//! Of two times the sooner counts. A failure that lasts costs ever less.

use crate::api::maps::HashMap;
use crate::reconcile::Moment;
use crate::spoke::agenda::Agenda;
use std::hash::Hash;
use std::time::Duration;

/// The pause after the first failure, doubled with each one in a row up to the longest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    pub first: Duration,
    pub longest: Duration,
}

impl Pauses {
    fn after(self, failures: u32) -> Duration {
        self.first.saturating_mul(1 << failures.min(16)).min(self.longest)
    }
}

#[derive(Debug)]
pub(super) struct Timers<K> {
    agenda: Agenda<K>,
    /// Failures in a row.
    failures: HashMap<K, u32>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { agenda: Agenda::default(), failures: HashMap::default() }
    }
}

impl<K: Clone + Ord + Hash> Timers<K> {
    /// The subject is due after this time, if not sooner.
    pub fn after(&mut self, subject: &K, now: Moment, pause: Duration) {
        let at = now.after(pause);
        if self.agenda.time(subject).is_none_or(|noted| at < noted) {
            self.agenda.set(subject, Some(at));
        }
    }

    /// The subject failed, and is due again after a pause. While a timer of it runs that changes nothing: whoever tells the
    /// same failure twice does not make it two.
    pub fn failed(&mut self, subject: &K, now: Moment, pauses: Pauses) {
        if self.is_waiting(subject) {
            return;
        }
        let failures = self.failures.entry(subject.clone()).or_default();
        let pause = pauses.after(*failures);
        *failures = failures.saturating_add(1);
        self.after(subject, now, pause);
    }

    /// Nothing is to be done for the subject any more, and its failures are forgotten.
    pub fn settled(&mut self, subject: &K) {
        self.agenda.set(subject, None);
        self.failures.remove(subject);
    }

    pub fn is_waiting(&self, subject: &K) -> bool {
        self.agenda.time(subject).is_some()
    }

    pub fn time(&self, subject: &K) -> Option<Moment> {
        self.agenda.time(subject)
    }

    pub fn next(&self) -> Option<Moment> {
        self.agenda.next()
    }

    /// Takes the subjects whose time has come.
    pub fn due(&mut self, now: Moment) -> Vec<K> {
        self.agenda.due(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    const PAUSES: Pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(60) };

    #[test]
    fn a_subject_has_one_timer_and_the_sooner_wins() {
        let mut timers = Timers::default();
        timers.after(&"a", at(0), Duration::from_millis(50));
        timers.after(&"a", at(0), Duration::from_millis(20));
        timers.after(&"a", at(0), Duration::from_millis(90));
        timers.after(&"b", at(0), Duration::from_millis(30));
        assert_eq!(timers.next(), Some(at(20)));
        assert_eq!(timers.due(at(100)), ["a", "b"]);
        assert_eq!((timers.due(at(1_000)), timers.next()), (Vec::new(), None));
    }

    #[test]
    fn a_failure_that_lasts_costs_ever_less_however_often_it_is_told() {
        let mut timers = Timers::default();
        let mut tries = vec![0_u32; 10];
        timers.failed(&"a", at(0), PAUSES);
        for now in (0..600_000).step_by(10) {
            for subject in timers.due(at(now)) {
                tries[usize::try_from(now / 60_000).unwrap()] += 1;
                timers.failed(&subject, at(now), PAUSES);
                timers.failed(&subject, at(now), PAUSES);
            }
            // Somebody tells it over and over again.
            timers.failed(&"a", at(now), PAUSES);
        }
        assert!(tries[0] <= 6 && tries[0] > 3, "{tries:?}");
        assert!(tries.is_sorted_by(|a, b| a >= b) && tries[9] == 1, "{tries:?}");
        timers.settled(&"a");
        assert_eq!(timers.next(), None);
        timers.failed(&"a", at(0), PAUSES);
        assert_eq!(timers.next(), Some(at(1_000)), "forgotten");
    }
}
