//! When a watch is opened again, and when lists take its place.

use crate::spoke::health::backoff;
use std::time::Duration;

/// A watch without a head for this long is held back.
pub(super) const HELD: Duration = Duration::from_secs(12);
/// Where lists take long, so many times the duration of one: what is slow as a whole holds nothing back.
const HELD_TIMES: u32 = 10;
/// The pause between two lists where watches are held back; for costly lists so many times their duration.
pub(super) const POLL: Duration = Duration::from_secs(5);
const POLL_TIMES: u32 = 20;
/// A watch that lasted so long has worked.
pub(super) const LASTED: Duration = Duration::from_secs(20);
/// One that was ended after so long is opened again at once, while there is credit: an API server ends the watches of a
/// kind whose CRD changes.
pub(super) const SOME: Duration = Duration::from_secs(1);
/// Credit comes with time, up to the most; to open a watch at once costs so much.
const CREDIT: Duration = Duration::from_secs(100);
const COST: Duration = Duration::from_secs(10);
/// The pause without credit.
const SHORT: Duration = Duration::from_secs(2);
/// So many heads in time end polling.
const PROMPT: u32 = 2;

/// When to try again, and how.
#[derive(Debug)]
pub(super) struct WatchPace {
    /// A watch without a head for this long is held back.
    held: Duration,
    /// The least pause between two lists where watches are held back.
    poll: Duration,
    /// Watches in a row that did not last.
    pub attempt: u32,
    /// The last one worked.
    worked: bool,
    credit: Duration,
    /// Lists take the place of the watch.
    polling: bool,
    /// Heads in a row that came in time.
    prompt: u32,
    /// What the last list took.
    pub list: Duration,
}

impl Default for WatchPace {
    fn default() -> Self {
        Self::new(HELD, POLL)
    }
}

impl WatchPace {
    pub fn new(held: Duration, poll: Duration) -> Self {
        Self {
            held,
            poll,
            attempt: 0,
            worked: false,
            credit: CREDIT,
            polling: false,
            prompt: 0,
            list: Duration::ZERO,
        }
    }

    pub fn patience(&self) -> Duration {
        if self.polling {
            self.poll.max(self.list * POLL_TIMES)
        } else {
            self.held.max(self.list * HELD_TIMES)
        }
    }

    /// The head of a watch came in time; says whether this ends polling.
    pub fn opened(&mut self) -> bool {
        self.prompt += 1;
        let ends = self.polling && self.prompt >= PROMPT;
        self.polling &= !ends;
        ends
    }

    /// No head came in time, and lists are answered; says whether this begins polling.
    pub fn held(&mut self) -> bool {
        self.prompt = 0;
        !std::mem::replace(&mut self.polling, true)
    }

    /// The pause after a watch, by the time that it lasted and how it ended.
    pub fn ended(&mut self, lasted: Duration, how: How, cluster: &str) -> Duration {
        self.earn(lasted);
        let after_one_that_worked = std::mem::replace(&mut self.worked, how == How::Worked);
        if lasted >= LASTED || how == How::Worked {
            self.attempt = 0;
        }
        match how {
            _ if lasted >= LASTED => Duration::ZERO,
            How::Worked if self.credit >= COST => {
                self.credit -= COST;
                Duration::ZERO
            }
            How::Worked => SHORT,
            How::Outdated if after_one_that_worked => Duration::ZERO,
            How::Outdated | How::Failed => {
                let pause = backoff(self.attempt, cluster);
                self.attempt = self.attempt.saturating_add(1);
                self.earn(pause);
                pause
            }
        }
    }

    fn earn(&mut self, time: Duration) {
        self.credit = (self.credit + time).min(CREDIT);
    }
}

/// What came of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Something, and the server ended it.
    Worked,
    /// The server forgot the version to begin with; it does when the CRD of the kind changes.
    Outdated,
    Failed,
}
