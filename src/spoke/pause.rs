//! The pauses that whoever answers asks for: of a whole API server, or of one API group that another server stands behind.
//!
//! In a pause nothing goes out but one request now and then, to see whether it is over. The pause grows with each of them that
//! is refused; the first that is answered ends it.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// No `Retry-After` is obeyed for longer.
const LONGEST: Duration = Duration::from_secs(60);
/// The pause where none is named, doubled with each refusal up to the most.
const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Pause {
    /// What began before says nothing about whether it is over.
    since: Instant,
    until: Instant,
    /// Tries in a row that were refused.
    refused: u32,
}

impl Pause {
    /// Whether a request may go now; else when to ask again.
    pub fn may_go(&mut self, now: Instant) -> Option<Instant> {
        if self.until > now {
            return Some(self.until);
        }
        // The others wait for what becomes of this one.
        self.until = now + pause_after(self.refused);
        None
    }

    /// A request that went out at `at` was refused, with the pause that it names. `before`: the pause that there was.
    pub fn refused(before: Option<&Self>, at: Instant, named: Option<Duration>, now: Instant) -> Self {
        let refused = match before {
            // It was under way together with the first one that was refused.
            Some(pause) if at <= pause.since => pause.refused,
            Some(pause) => pause.refused.saturating_add(1),
            None => 1,
        };
        let ends = now + named.unwrap_or_default().min(LONGEST).max(pause_after(refused));
        let (since, until) = before.map_or((now, ends), |pause| (pause.since, pause.until.max(ends)));
        Self { since, until, refused }
    }

    /// Whether an answer to a request that went out at `at` ends it.
    pub fn ends_with(&self, at: Instant) -> bool {
        at > self.since
    }
}

fn pause_after(refused: u32) -> Duration {
    FIRST.saturating_mul(1 << refused.saturating_sub(1).min(5)).min(MOST)
}

/// The API groups of one server that do not answer.
#[derive(Debug, Default)]
pub(super) struct Groups(BTreeMap<Box<str>, Pause>);

impl Groups {
    /// Whether a request to this group may go now; else when to ask again.
    pub fn may_go(&mut self, group: &str, now: Instant) -> Option<Instant> {
        self.0.get_mut(group)?.may_go(now)
    }

    /// Whether the pause began after a request was let go, so that it has to wait all the same.
    pub fn began_since(&self, group: &str, let_go: Instant) -> bool {
        self.0.get(group).is_some_and(|pause| pause.since >= let_go)
    }

    pub fn refused(&mut self, group: &str, at: Instant, named: Option<Duration>, now: Instant) {
        let pause = Pause::refused(self.0.get(group), at, named, now);
        self.0.insert(group.into(), pause);
    }

    /// The group answered. Returns whether those that wait may go on.
    pub fn answered(&mut self, group: &str, at: Instant) -> bool {
        let ends = self.0.get(group).is_some_and(|pause| pause.ends_with(at));
        ends && self.0.remove(group).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: &str = "down.example.com";

    /// How many requests go to a group in a minute when 40 askers try again at once, whatever they hear.
    fn in_a_minute(named: Option<Duration>) -> usize {
        let (mut groups, begun, mut sent) = (Groups::default(), Instant::now(), 0);
        for millis in (0..60_000).step_by(5) {
            let now = begun + Duration::from_millis(millis);
            let allowed = (0..40).filter(|_| groups.may_go(DOWN, now).is_none()).count();
            sent += allowed;
            for _ in 0..allowed {
                groups.refused(DOWN, now, named, now + Duration::from_millis(1));
            }
            assert_eq!(groups.may_go("other.example.com", now), None, "another group waits for nothing");
        }
        sent
    }

    #[test]
    fn a_group_that_does_not_answer_is_asked_ever_less() {
        // The forty of the beginning were under way together.
        let sent = in_a_minute(None);
        assert!((44..=46).contains(&sent), "{sent}");
        let sent = in_a_minute(Some(Duration::from_secs(20)));
        assert!((42..=43).contains(&sent), "{sent}");
    }

    #[test]
    fn the_first_answer_ends_the_pause_of_a_group_and_one_from_before_does_not() {
        let (mut groups, begun) = (Groups::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        groups.refused(DOWN, at(1), None, at(2));
        assert!(groups.began_since(DOWN, at(1)), "who was let go before it began waits too");
        assert!(!groups.answered(DOWN, at(1)), "it was under way before");
        assert_eq!(groups.may_go(DOWN, at(2)), Some(at(3)));
        assert_eq!(groups.may_go(DOWN, at(3)), None);
        assert_eq!(groups.may_go(DOWN, at(3)), Some(at(4)), "one at a time");
        assert!(!groups.began_since(DOWN, at(3)));
        assert!(groups.answered(DOWN, at(3)));
        assert_eq!(groups.may_go(DOWN, at(3)), None);
        assert!(groups.0.is_empty(), "nothing is remembered of a group that answers");
    }
}
