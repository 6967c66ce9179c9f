//! How many requests may be under way to one API server: more while it answers fast, half as many when it cannot keep up,
//! and none for as long as it asks for. Watches are not counted.
//!
//! A limit that is too high makes a slow server slower: requests wait there until they time out, and are sent again.

use super::pause::Pause;
use std::time::Duration;
use tokio::time::Instant;

/// A new server gets so many at first.
const START: usize = 8;
/// What is answered within this is answered fast.
const FAST: Duration = Duration::from_secs(1);

/// Reads and writes load a server differently: where its disk is slow, reads may still be fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Read,
    Write,
}

/// How a request ended, as far as the server's load is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    /// An answer that says nothing of the load: a watch began, or what another server should answer is missing.
    Aside,
    TimedOut,
    /// 429, and the pause that it names.
    SlowDown(Option<Duration>),
    /// 503 of the server itself, and the pause that it names.
    Unavailable(Option<Duration>),
}

/// A request that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    sort: Sort,
    pub at: Instant,
    /// Fast answers of its sort before it.
    fast: u64,
}

#[derive(Debug)]
pub(super) struct InFlight {
    limit: usize,
    least: usize,
    most: usize,
    /// Below it each fast answer makes room for one more; above it, as many as the limit together.
    knee: usize,
    /// Fast answers towards the next one above the knee.
    credit: usize,
    /// Since the limit fell there was a fast answer.
    recovers: bool,
    /// When the limit fell last. What began before tells of the limit of that time.
    fell: Option<Instant>,
    reads: u64,
    writes: u64,
    pause: Option<Pause>,
}

impl InFlight {
    pub fn between(least: usize, most: usize) -> Self {
        let least = least.max(1);
        let most = most.max(least);
        let limit = START.clamp(least, most);
        Self {
            limit,
            least,
            most,
            knee: most,
            credit: 0,
            recovers: false,
            fell: None,
            reads: 0,
            writes: 0,
            pause: None,
        }
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether a request may go now; else when to ask again.
    pub fn may_go(&mut self, now: Instant) -> Option<Instant> {
        self.pause.as_mut()?.may_go(now)
    }

    pub fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    pub fn begin(&self, sort: Sort, now: Instant) -> Begun {
        Begun { sort, at: now, fast: self.fast(sort) }
    }

    /// `under_way`: requests, this one among them. Returns whether those that wait for the end of a pause may go on.
    pub fn heard(&mut self, request: Begun, outcome: Outcome, under_way: usize, now: Instant) -> bool {
        match outcome {
            Outcome::Answered if now.duration_since(request.at) <= FAST => self.grow(request, under_way),
            // A request that alone is slow, behind a webhook perhaps, is no sign of load.
            Outcome::TimedOut if self.is_fast_with_others(request) => {}
            Outcome::TimedOut | Outcome::Unavailable(None) => self.shrink(request, now),
            Outcome::SlowDown(named) | Outcome::Unavailable(named @ Some(_)) => {
                self.shrink(request, now);
                self.pause = Some(Pause::refused(self.pause.as_ref(), request.at, named, now));
                return false;
            }
            Outcome::Answered | Outcome::Aside => {}
        }
        let answers = matches!(outcome, Outcome::Answered | Outcome::Aside);
        self.pause.take_if(|pause| answers && pause.ends_with(request.at)).is_some()
    }

    fn fast(&self, sort: Sort) -> u64 {
        match sort {
            Sort::Read => self.reads,
            Sort::Write => self.writes,
        }
    }

    fn is_fast_with_others(&self, request: Begun) -> bool {
        let meanwhile = self.fast(request.sort).saturating_sub(request.fast);
        usize::try_from(meanwhile).is_ok_and(|fast| fast >= self.limit)
    }

    fn is_of_before(&self, request: Begun) -> bool {
        self.fell.is_some_and(|fell| request.at < fell)
    }

    fn grow(&mut self, request: Begun, under_way: usize) {
        match request.sort {
            Sort::Read => self.reads += 1,
            Sort::Write => self.writes += 1,
        }
        if self.is_of_before(request) {
            return;
        }
        self.recovers = true;
        // What is hardly used is not shown to be borne.
        if under_way * 2 <= self.limit || self.limit >= self.most {
            return;
        }
        self.credit += 1;
        if self.limit < self.knee || self.credit >= self.limit {
            self.limit += 1;
            self.credit = 0;
        }
    }

    fn shrink(&mut self, request: Begun, now: Instant) {
        if self.is_of_before(request) {
            return;
        }
        let half = (self.limit / 2).max(self.least);
        // A server that did not answer at all meanwhile did not show how much is too much.
        if std::mem::take(&mut self.recovers) {
            self.knee = half;
        }
        (self.limit, self.credit, self.fell) = (half, 0, Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Answered, Aside, SlowDown, TimedOut, Unavailable};
    use proptest::prelude::*;

    struct Table {
        machine: InFlight,
        begun: Instant,
    }

    impl Table {
        fn new(most: usize) -> Self {
            Self { machine: InFlight::between(1, most), begun: Instant::now() }
        }
        fn at(&self, millis: u64) -> Instant {
            self.begun + Duration::from_millis(millis)
        }
        /// So many requests that begin and end together.
        fn together(&mut self, count: usize, (from, to): (u64, u64), sort: Sort, outcome: Outcome) -> usize {
            let (from, to) = (self.at(from), self.at(to));
            let all: Vec<Begun> = (0..count).map(|_| self.machine.begin(sort, from)).collect();
            for request in all {
                self.machine.heard(request, outcome, count, to);
            }
            self.machine.limit()
        }
        /// As many writes as there may be, answered within 5 ms, until this time.
        fn fast(&mut self, from: u64, to: u64) -> usize {
            for millis in (from..to).step_by(5) {
                self.together(self.machine.limit(), (millis, millis + 5), Sort::Write, Answered);
            }
            self.machine.limit()
        }
    }

    #[test]
    fn it_grows_while_answers_are_fast_and_it_is_used() {
        let mut table = Table::new(32);
        assert_eq!(table.machine.limit(), 8);
        assert_eq!(table.together(3, (0, 5), Sort::Write, Answered), 8, "hardly used");
        assert_eq!(table.together(8, (5, 1_200), Sort::Write, Answered), 8, "not fast");
        assert_eq!(table.together(8, (1_200, 1_210), Sort::Write, Aside), 8);
        assert_eq!(table.together(8, (1_210, 1_220), Sort::Write, Answered), 16);
        assert_eq!(table.fast(1_220, 2_000), 32);
        assert_eq!(Table::new(3).fast(0, 1_000), 3);
    }

    #[test]
    fn a_burst_of_failures_counts_once() {
        for outcome in
            [TimedOut, Unavailable(None), SlowDown(None), Unavailable(Some(Duration::from_secs(1)))]
        {
            let mut table = Table::new(32);
            table.fast(0, 1_000);
            assert_eq!(table.together(32, (1_000, 11_000), Sort::Write, outcome), 16, "{outcome:?}");
            assert_eq!(table.together(16, (10_500, 11_001), Sort::Write, outcome), 16, "from before it fell");
            assert_eq!(table.together(16, (11_002, 21_000), Sort::Write, outcome), 8, "{outcome:?}");
        }
    }

    #[test]
    fn what_began_before_it_fell_does_not_raise_it() {
        let mut table = Table::new(32);
        table.together(8, (0, 10_000), Sort::Write, TimedOut);
        assert_eq!(table.together(8, (9_999, 10_001), Sort::Write, Answered), 4);
        assert_eq!(table.together(4, (10_001, 10_002), Sort::Write, Answered), 8);
    }

    #[test]
    fn after_a_fall_it_comes_back_carefully_and_after_silence_fast() {
        let mut overloaded = Table::new(32);
        overloaded.fast(0, 1_000);
        overloaded.together(32, (1_000, 11_000), Sort::Write, TimedOut);
        assert_eq!(overloaded.together(16, (11_001, 11_006), Sort::Write, Answered), 17);
        assert_eq!(overloaded.fast(11_006, 12_000), 32);

        let mut silent = Table::new(32);
        silent.fast(0, 1_000);
        for round in 0..8 {
            let from = 1_000 + round * 10_001;
            silent.together(silent.machine.limit(), (from, from + 10_000), Sort::Write, TimedOut);
        }
        assert_eq!(silent.machine.limit(), 1);
        let rounds = (0..4).map(|n| silent.fast(90_000 + n * 5, 90_005 + n * 5)).collect::<Vec<_>>();
        assert_eq!(rounds, [2, 4, 8, 16], "as far as it was borne");
        assert_eq!(silent.fast(90_020, 90_025), 17);
    }

    /// A webhook that hangs holds up the writes of one kind alone.
    #[test]
    fn one_request_that_times_out_among_fast_ones_lowers_nothing() {
        let case = |others: usize, sort: Sort| {
            let mut table = Table::new(32);
            table.fast(0, 1_000);
            let slow = table.machine.begin(Sort::Write, table.at(1_000));
            table.together(others, (2_000, 2_005), sort, Answered);
            table.machine.heard(slow, TimedOut, 1, table.at(11_000));
            table.machine.limit()
        };
        assert_eq!(case(32, Sort::Write), 32);
        assert_eq!(case(31, Sort::Write), 16, "too few");
        assert_eq!(case(1_000, Sort::Read), 16, "reads say nothing about writes");
    }

    /// How many requests go out in a minute, when 40 askers try again at once, whatever they hear. Time is counted, not
    /// waited for.
    fn in_a_minute(outcome: Outcome) -> usize {
        let (mut machine, begun, mut sent) = (InFlight::between(1, 32), Instant::now(), 0);
        for millis in (0..60_000).step_by(5) {
            let now = begun + Duration::from_millis(millis);
            let allowed = (0..40).filter(|_| machine.may_go(now).is_none()).count();
            sent += allowed;
            let all: Vec<Begun> = (0..allowed).map(|_| machine.begin(Sort::Read, now)).collect();
            for request in all {
                machine.heard(request, outcome, allowed, now + Duration::from_millis(1));
            }
        }
        sent
    }

    #[test]
    fn a_server_that_asks_to_slow_down_is_left_alone() {
        let seconds = |n| Some(Duration::from_secs(n));
        // The forty of the beginning were under way together.
        for (outcome, most) in [
            (SlowDown(seconds(1)), 47),
            (SlowDown(seconds(20)), 43),
            (SlowDown(seconds(1_000_000)), 41),
            (SlowDown(None), 47),
            (Unavailable(seconds(20)), 43),
        ] {
            let sent = in_a_minute(outcome);
            assert!((40..=most).contains(&sent), "{outcome:?}: {sent}");
        }
        for outcome in [Answered, Unavailable(None), TimedOut] {
            assert!(in_a_minute(outcome) > 10_000, "{outcome:?} does not ask for it");
        }
    }

    #[test]
    fn the_first_answer_ends_a_pause_and_one_from_before_does_not() {
        for answer in [Answered, Aside] {
            let (mut machine, begun) = (InFlight::between(1, 32), Instant::now());
            let at = |seconds| begun + Duration::from_secs(seconds);
            let (refused, before) = (machine.begin(Sort::Read, at(0)), machine.begin(Sort::Read, at(1)));
            machine.heard(refused, SlowDown(Some(Duration::from_secs(10))), 2, at(2));
            assert!(!machine.heard(before, answer, 2, at(3)), "it was under way before");
            assert_eq!(machine.may_go(at(3)), Some(at(12)));
            assert_eq!(machine.may_go(at(12)), None);
            assert_eq!(machine.may_go(at(12)), Some(at(13)), "one at a time");
            assert!(!machine.heard(before, answer, 2, at(12)));
            let tried = machine.begin(Sort::Read, at(12));
            assert!(machine.heard(tried, answer, 1, at(12)));
            assert_eq!(machine.may_go(at(12)), None);
        }
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            4 => Just(Answered),
            1 => Just(Aside),
            2 => Just(TimedOut),
            1 => (0_u64..100).prop_map(|n| SlowDown(Some(Duration::from_secs(n)))),
            1 => Just(SlowDown(None)),
            1 => Just(Unavailable(None)),
        ]
    }

    proptest! {
        /// Whatever is heard in whatever order: it stays between its bounds, falls by half at most, and no two falls are
        /// owed to requests that were under way together.
        #[test]
        fn laws(most in 1_usize..200, steps in prop::collection::vec((outcomes(), any::<bool>(), 0_u64..12_000, 0_usize..300), 1..200)) {
            let mut table = Table::new(most);
            let (mut now, mut fell) = (12_000, None);
            for (outcome, write, took, under_way) in steps {
                now += took / 10;
                let sort = if write { Sort::Write } else { Sort::Read };
                let began = now.saturating_sub(took);
                let request = table.machine.begin(sort, table.at(began));
                let before = table.machine.limit();
                table.machine.heard(request, outcome, under_way, table.at(now));
                let after = table.machine.limit();
                prop_assert!((1..=most).contains(&after));
                prop_assert!(after <= before + 1 && after >= (before / 2).max(1));
                if after < before {
                    prop_assert!(fell.is_none_or(|fell| began >= fell), "twice for one burst");
                    fell = Some(now);
                }
            }
            // It always recovers.
            let until = table.machine.may_go(table.at(now)).map_or(0, |at| (at - table.at(now)).as_millis());
            let from = now + 1 + u64::try_from(until).unwrap();
            let rounds = (0..1_000).take_while(|round| table.fast(from + round * 5, from + round * 5 + 5) < most);
            prop_assert!(rounds.count() < 400);
            prop_assert_eq!(table.machine.may_go(table.at(from + 60_000)), None);
        }
    }
}
