//! A cluster that asks to slow down (429) is asked ever less, one request at a time, until it answers again.

use http::{HeaderMap, header};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// No `Retry-After` is obeyed for longer.
const LONGEST: Duration = Duration::from_secs(60);
/// The pause where the cluster names none, doubled with each refusal up to the most.
const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Throttle {
    state: Mutex<ThrottleState>,
    opened: Notify,
}

#[derive(Debug, Default)]
struct ThrottleState {
    /// Tries in a row that were refused.
    refused: u32,
    /// The next request may go at this time.
    until: Option<Instant>,
    /// One request is under way to see whether it is over.
    trying: bool,
}

impl ThrottleState {
    fn pause(&self) -> Duration {
        FIRST.saturating_mul(1 << self.refused.saturating_sub(1).min(5)).min(MOST)
    }

    /// Whether a request may go now; else when to ask again.
    fn try_pass(&mut self, now: Instant) -> Option<Instant> {
        if let Some(until) = self.until.filter(|until| *until > now) {
            return Some(until);
        }
        if self.until.is_some() {
            // The others wait for what becomes of this one.
            self.until = Some(now + self.pause());
            self.trying = true;
        }
        None
    }

    /// Returns whether this ends the waiting.
    fn answered(&mut self, slow_down: Option<Option<Duration>>, now: Instant) -> bool {
        let Some(named) = slow_down else {
            let ends = self.trying;
            if ends {
                *self = Self::default();
            }
            return ends;
        };
        // Others that were under way at the same time are no further refusal.
        if self.refused == 0 || self.trying {
            self.refused = self.refused.saturating_add(1);
            self.trying = false;
        }
        let pause = named.unwrap_or_default().min(LONGEST).max(self.pause());
        self.until = self.until.max(Some(now + pause));
        false
    }
}

impl Throttle {
    /// Waits until a request may be sent.
    pub async fn pass(&self) {
        loop {
            let mut opened = std::pin::pin!(self.opened.notified());
            opened.as_mut().enable();
            let until = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                let Some(until) = state.try_pass(now) else { return };
                until
            };
            tokio::select! {
                biased;
                () = opened => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// The cluster answered; `Some` when it asks to slow down, with the pause that it names.
    pub fn answered(&self, slow_down: Option<Option<Duration>>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.answered(slow_down, now) {
            self.opened.notify_waiters();
        }
    }
}

/// The pause that an answer names, in seconds; a date counts as none.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// How many requests go out in a minute, when 40 askers try again at once, whatever they hear. Time is counted, not
    /// waited for.
    fn in_a_minute(answer: Option<Option<Duration>>) -> usize {
        let (mut state, begun, mut sent) = (ThrottleState::default(), Instant::now(), 0);
        for millis in (0..60_000).step_by(5) {
            let now = begun + Duration::from_millis(millis);
            let allowed = (0..40).filter(|_| state.try_pass(now).is_none()).count();
            sent += allowed;
            for _ in 0..allowed {
                state.answered(answer, now);
            }
        }
        sent
    }

    #[test]
    fn a_cluster_that_asks_to_slow_down_is_left_alone() {
        let seconds = |n| Some(Some(Duration::from_secs(n)));
        // The forty of the beginning were under way together.
        for (answer, most) in
            [(seconds(1), 47), (seconds(20), 43), (seconds(1_000_000), 41), (Some(None), 47)]
        {
            let sent = in_a_minute(answer);
            assert!((40..=most).contains(&sent), "{answer:?}: {sent}");
        }
        assert!(in_a_minute(None) > 10_000, "who does not ask for it is not slowed down");
    }

    #[test]
    fn the_first_answer_ends_it_and_one_from_before_does_not() {
        let (mut state, begun) = (ThrottleState::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        state.answered(Some(Some(Duration::from_secs(10))), at(0));
        assert!(!state.answered(None, at(1)), "it was under way before");
        assert_eq!(state.try_pass(at(1)), Some(at(10)));
        assert_eq!(state.try_pass(at(10)), None);
        assert_eq!(state.try_pass(at(10)), Some(at(11)), "one at a time");
        assert!(state.answered(None, at(10)));
        assert_eq!(state.try_pass(at(10)), None);
    }

    #[tokio::test]
    async fn who_waits_goes_on_at_once_when_it_is_over() {
        let throttle = Arc::new(Throttle::default());
        throttle.answered(Some(None));
        throttle.pass().await;
        let other = tokio::spawn({
            let throttle = throttle.clone();
            async move { throttle.pass().await }
        });
        tokio::task::yield_now().await;
        throttle.answered(None);
        assert!(tokio::time::timeout(Duration::from_millis(500), other).await.is_ok());
    }
}
