//! How long messages wait in a queue, without a time on each: one message is followed at a time, by how many are before it.

use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub struct Backlog {
    followed: Option<Followed>,
}

#[derive(Clone, Copy, Debug)]
struct Followed {
    since: Instant,
    /// Messages that are taken before it, and itself.
    left: usize,
}

impl Backlog {
    /// So many messages wait at the end of a turn of who takes them, which began then. The last of them is followed, if none
    /// is yet; it waits since then at most.
    pub fn stands(&mut self, depth: usize, begin: Instant) {
        if depth > 0 && self.followed.is_none() {
            self.followed = Some(Followed { since: begin, left: depth });
        }
    }

    /// A message was taken. Returns how long it waited, if it was followed.
    pub fn taken(&mut self, now: Instant) -> Option<Duration> {
        let followed = self.followed.as_mut()?;
        followed.left -= 1;
        if followed.left > 0 {
            return None;
        }
        let since = followed.since;
        self.followed = None;
        Some(now.duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_those_that_wait_is_followed_until_it_is_taken() {
        let (start, mut backlog) = (Instant::now(), Backlog::default());
        let at = |ms: u64| start + Duration::from_millis(ms);
        backlog.stands(0, at(0));
        assert_eq!(backlog.taken(at(1)), None, "it did not wait");
        backlog.stands(2, at(10));
        assert_eq!(backlog.taken(at(20)), None);
        // More come meanwhile, behind it.
        backlog.stands(5, at(20));
        assert_eq!(backlog.taken(at(35)), Some(Duration::from_millis(25)));
        assert_eq!(backlog.taken(at(36)), None, "the next one is not followed yet");
        backlog.stands(1, at(40));
        assert_eq!(backlog.taken(at(41)), Some(Duration::from_millis(1)));
    }
}
