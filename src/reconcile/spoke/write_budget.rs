//! How often one object is written that does not come to rest, whatever the cause.
//!
//! Writes are free as long as few follow each other. Beyond that each one waits twice as long as the one before. A minute
//! of rest, or twice the present interval where that is longer, takes back one write. So no way of moving an object, in
//! bursts or steadily, gets more than about twenty writes in ten minutes out of us.

use super::tracked::Trouble;
use crate::reconcile::{Moment, Now};
use std::time::Duration;

/// How writes of one thing are spaced.
#[derive(Debug, PartialEq, Eq)]
pub struct WritePace {
    /// So many follow each other freely.
    pub free: u32,
    /// The longest interval.
    pub longest: Duration,
}

/// Of an object, and of a node whose names change.
pub const OBJECT: WritePace = WritePace { free: 10, longest: Duration::from_secs(600) };
/// Of a status, which may follow what it tells of, and is late at most by this much.
pub const STATUS: WritePace = WritePace { free: 20, longest: Duration::from_secs(60) };

/// Without a write for so long a thing counts as calm.
pub const CALM: Duration = Duration::from_secs(60);
/// Intervals double so often at most.
const STEPS: u32 = 12;
/// What our own writes move is shown as an error from this interval on; before, it may be on its way to rest.
const GRAVE: Duration = Duration::from_secs(8);

/// Why something is held back, or was until a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unrest {
    pub trouble: Trouble,
    pub message: String,
    /// It may be on its way to rest.
    pub is_mild: bool,
}

#[derive(Clone, Debug)]
pub struct WriteBudget {
    pace: &'static WritePace,
    /// Writes that were not taken back by rest.
    level: u32,
    /// When a write was last needed, or rest was last counted.
    mark: Moment,
    /// When a write was last needed.
    needed: Moment,
    last_write: Moment,
    /// Writes since `level` was nothing, and when that began.
    count: u32,
    since: Moment,
    /// No write before this time.
    held_until: Option<Moment>,
    unrest: Option<Box<Unrest>>,
}

impl Default for WriteBudget {
    fn default() -> Self {
        Self::new(&OBJECT)
    }
}

impl WriteBudget {
    pub fn new(pace: &'static WritePace) -> Self {
        Self {
            pace,
            level: 0,
            mark: Moment::START,
            needed: Moment::START,
            last_write: Moment::START,
            count: 0,
            since: Moment::START,
            held_until: None,
            unrest: None,
        }
    }

    /// Something else is wanted: what was before counts no more.
    pub fn start_afresh(&mut self) {
        *self = Self::new(self.pace);
    }

    /// A write was done.
    pub fn wrote(&mut self, now: &Now) {
        self.rest_until(now);
        if self.level == 0 {
            (self.count, self.since) = (0, now.at);
        }
        self.level = (self.level + 1).min(self.pace.free + STEPS);
        self.count = self.count.saturating_add(1);
        (self.last_write, self.mark, self.needed) = (now.at, now.at, now.at);
        self.held_until = None;
    }

    /// A write is needed: whether it may be done now. If not, the caller says why by [`Self::say`].
    pub fn allows(&mut self, now: &Now) -> bool {
        self.rest_until(now);
        self.mark = self.mark.max(now.at);
        self.needed = now.at;
        let at = self.last_write.after(self.interval());
        let allowed = self.interval().is_zero() || now.at >= at;
        self.held_until = (!allowed).then_some(at);
        allowed
    }

    /// A write is needed, and not done before this time.
    pub fn hold_until(&mut self, at: Moment, now: &Now) {
        (self.mark, self.needed) = (now.at, now.at);
        self.held_until = Some(at);
    }

    pub fn say(&mut self, trouble: Trouble, message: String) {
        let is_mild = trouble == Trouble::Restless && self.interval() < GRAVE;
        self.unrest = Some(Box::new(Unrest { trouble, message, is_mild }));
    }

    /// No write is needed.
    pub fn calm(&mut self, now: &Now) {
        self.held_until = None;
        if self.is_calm(now) {
            self.unrest = None;
        }
    }

    /// What to say of a thing that does not come to rest: while a write is held back, and until it was calm for a while.
    pub fn unrest(&self, now: &Now) -> Option<&Unrest> {
        self.unrest.as_deref().filter(|_| !self.is_calm(now))
    }

    /// When the write that is held back is due.
    pub fn held_until(&self) -> Option<Moment> {
        self.held_until
    }

    /// When nothing is said any more, if no write is needed until then.
    pub fn calm_at(&self) -> Option<Moment> {
        self.unrest.as_ref().filter(|_| self.held_until.is_none()).map(|_| self.needed.after(CALM))
    }

    /// A write is held back at this moment.
    pub fn holds(&self, now: &Now) -> bool {
        self.held_until.is_some_and(|at| now.at < at)
    }

    /// It was written several times without rest.
    pub fn is_busy(&self) -> bool {
        self.level >= self.pace.free / 2
    }

    /// Nothing is remembered any more.
    pub fn is_blank(&mut self, now: &Now) -> bool {
        self.rest_until(now);
        self.level == 0
    }

    /// The pause before the next write, if it is needed at once.
    pub fn interval(&self) -> Duration {
        match self.level.checked_sub(self.pace.free) {
            Some(over) => Duration::from_secs(1 << over.min(STEPS)).min(self.pace.longest),
            None => Duration::ZERO,
        }
    }

    /// How often, in how long.
    pub fn so_far(&self, now: &Now) -> String {
        let times = if self.count == 1 { "once".into() } else { format!("{} times", self.count) };
        format!("{times} in {}", span(now.at.since(self.since)))
    }

    /// Takes back a write for each rest.
    fn rest_until(&mut self, now: &Now) {
        if self.is_calm(now) {
            self.unrest = None;
        }
        while self.level > 0 {
            let rest = CALM.max(2 * self.interval());
            if now.at.since(self.mark) < rest {
                return;
            }
            self.mark = self.mark.after(rest);
            self.level -= 1;
        }
    }

    fn is_calm(&self, now: &Now) -> bool {
        self.held_until.is_none() && now.at >= self.needed.after(CALM)
    }
}

/// A time in words, rounded up to what matters.
pub fn span(time: Duration) -> String {
    match time.as_millis().div_ceil(1_000) {
        seconds @ 0..120 => format!("{} s", seconds.max(1)),
        seconds @ 120..7_200 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3_600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Now {
        Now { at: Moment::from_millis(millis), rfc3339: String::new() }
    }

    /// When writes are done within `end`, of a thing that needs one `pause(n)` after the `n`th.
    fn writes(end: u64, pause: impl Fn(usize) -> u64) -> Vec<u64> {
        let (mut budget, mut now, mut done) = (WriteBudget::default(), 1_000, Vec::new());
        while now < end {
            if budget.allows(&at(now)) {
                budget.wrote(&at(now));
                done.push(now);
                budget.calm(&at(now));
                now += pause(done.len()).max(1);
            } else {
                now = budget.held_until().unwrap().as_millis();
            }
        }
        done
    }

    #[test]
    fn what_is_moved_at_once_is_written_ever_more_slowly() {
        let done = writes(4 * 3_600_000, |_| 1);
        let pauses: Vec<u64> = done.windows(2).map(|w| (w[1] - w[0]) / 1_000).collect();
        assert_eq!(pauses[..9], [0; 9]);
        assert_eq!(pauses[9..19], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
        assert!(pauses[19..].iter().all(|p| *p == 600), "{pauses:?}");
    }

    #[test]
    fn no_rhythm_gets_many_writes_in_ten_minutes() {
        type Rhythm = fn(usize) -> u64;
        let rhythms: [(&str, Rhythm); 6] = [
            ("at once", |_| 1),
            ("every second", |_| 1_000),
            ("a little less than a minute", |_| 59_000),
            ("a little more than a minute", |_| 61_000),
            ("bursts of ten and a minute of rest", |n| if n % 10 == 0 { 61_000 } else { 1 }),
            ("bursts of twelve and five minutes of rest", |n| if n % 12 == 0 { 301_000 } else { 1 }),
        ];
        for (rhythm, pause) in rhythms {
            let done = writes(6 * 3_600_000, pause);
            for (index, start) in done.iter().enumerate() {
                let within = done[index..].iter().take_while(|t| **t < start + 600_000).count();
                assert!(within <= 24, "{rhythm}: {within} writes in ten minutes");
            }
        }
    }

    #[test]
    fn a_quiet_object_is_written_at_once_also_after_a_long_fight() {
        // One write a minute, the rarest that counts as quiet.
        let done = writes(3_600_000, |_| 60_000);
        assert!(done.windows(2).all(|w| w[1] - w[0] == 60_000));
        let mut budget = WriteBudget::default();
        let mut now = 0;
        for _ in 0..40 {
            while !budget.allows(&at(now)) {
                now = budget.held_until().unwrap().as_millis();
            }
            budget.wrote(&at(now));
        }
        budget.calm(&at(now));
        assert!(budget.allows(&at(now + 600_000)), "the interval is over, so nobody waits");
        assert!(!budget.allows(&at(now + 599_999)));
        assert!(!budget.is_blank(&at(now + 3_600_000)));
        assert!(budget.is_blank(&at(now + 3 * 3_600_000)));
        let mut budget = WriteBudget { level: 40, last_write: at(5).at, ..WriteBudget::default() };
        assert!(!budget.allows(&at(6)));
        budget.start_afresh();
        assert!(budget.allows(&at(6)), "somebody wants something else");
    }

    #[test]
    fn what_is_said_stands_while_a_write_is_held_and_a_minute_longer() {
        let mut budget = WriteBudget { level: 13, last_write: at(1_000).at, ..WriteBudget::default() };
        assert!(!budget.allows(&at(2_000)));
        budget.say(Trouble::Restless, "moves".into());
        assert_eq!(budget.held_until(), Some(at(9_000).at));
        assert!(budget.unrest(&at(8_999)).is_some_and(|u| !u.is_mild));
        budget.wrote(&at(9_000));
        assert_eq!((budget.held_until(), budget.calm_at()), (None, Some(at(69_000).at)));
        assert!(budget.unrest(&at(68_999)).is_some());
        assert_eq!(budget.unrest(&at(69_000)), None);
        assert!(budget.allows(&at(3_600_000)));
        assert_eq!(budget.unrest(&at(3_600_000)), None, "old words are forgotten");
    }

    #[test]
    fn times_are_said_in_few_words() {
        let cases = [
            (0, "1 s"),
            (1_001, "2 s"),
            (119_000, "119 s"),
            (120_001, "3 min"),
            (600_000, "10 min"),
            (7_200_001, "3 h"),
        ];
        for (millis, want) in cases {
            assert_eq!(span(Duration::from_millis(millis)), want);
        }
    }
}
