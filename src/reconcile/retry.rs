//! When something that failed is tried again.

use super::{Moment, Now};
use std::time::Duration;

/// 200 ms doubled with each failure, at most one minute.
fn delay(attempts: u32) -> Duration {
    Duration::from_millis(200 << attempts.min(9)).min(Duration::from_secs(60))
}

/// How often something failed in a row, and when it may be tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    at: Option<Moment>,
    failures: u32,
}

impl Retry {
    pub fn failed(&mut self, now: &Now) {
        self.at = Some(now.at.after(delay(self.failures)));
        self.failures += 1;
    }
    pub fn outcome(&mut self, ok: bool, now: &Now) {
        if ok { *self = Self::default() } else { self.failed(now) }
    }
    /// Whether the last try failed.
    pub fn has_failed(&self) -> bool {
        self.at.is_some()
    }
    pub fn is_due(&self, now: &Now) -> bool {
        self.at.is_none_or(|at| now.at >= at)
    }
    /// When it may be tried again; `None` when nothing failed.
    pub fn at(&self) -> Option<Moment> {
        self.at
    }
    /// What it waited for has come: if it failed, it is due.
    pub fn at_once(&mut self) {
        self.at = self.at.map(|_| Moment::START);
    }
    /// Not before this time.
    pub fn wait_until(&mut self, at: Moment) {
        self.at = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_double_up_to_a_minute_and_success_forgets_them() {
        let mut now = Now { at: Moment::from_millis(1_000), rfc3339: String::new() };
        let mut retry = Retry::default();
        assert!(retry.is_due(&now) && !retry.has_failed());
        let mut pauses = Vec::new();
        for _ in 0..11 {
            retry.failed(&now);
            assert!(!retry.is_due(&now));
            let at = retry.at().unwrap();
            pauses.push(at.since(now.at));
            now.at = at;
            assert!(retry.is_due(&now));
        }
        assert_eq!(pauses[..4], [200, 400, 800, 1_600].map(Duration::from_millis));
        assert_eq!(pauses[9..], [Duration::from_secs(60); 2]);
        retry.failed(&now);
        retry.at_once();
        assert!(retry.is_due(&now) && retry.has_failed());
        retry.outcome(true, &now);
        assert_eq!(retry, Retry::default());
        retry.at_once();
        assert!(!retry.has_failed());
    }
}
