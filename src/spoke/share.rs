//! How much each cluster may have under way before it begins what is new: with many clusters each a little, so that all of
//! them together do not fill the memory of this process. A cluster's share follows from how many there are, and from nothing that
//! another one does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Requests of all clusters together.
const ALL: usize = 2_048;
/// The least of one cluster, in requests.
pub const LEAST: usize = 4;
/// The most of one cluster, in requests.
pub const MOST: usize = 64;

/// So many clusters may begin at the same moment: each lists all that it keeps.
const AT_ONCE: u32 = 100;
/// What each further one waits longer than the one before.
const BETWEEN: Duration = Duration::from_millis(20);

/// The clusters that are talked to.
#[derive(Clone, Debug, Default)]
pub struct Clusters {
    members: Arc<AtomicUsize>,
    begins: Arc<Mutex<Begins>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Member(Arc<AtomicUsize>);

/// When clusters begin.
#[derive(Debug, Default)]
struct Begins {
    /// When the last one would have begun if each had waited for the one before.
    last: Option<Instant>,
}

impl Begins {
    /// How long one that wants to begin now waits.
    fn wait(&mut self, now: Instant) -> Duration {
        let last = self.last.map_or(now, |last| last.max(now));
        self.last = Some(last + BETWEEN);
        (last - now).saturating_sub(BETWEEN * AT_ONCE)
    }
}

impl Clusters {
    /// One more of them.
    pub fn join(&self) -> Member {
        self.members.fetch_add(1, Ordering::Relaxed);
        Member(self.members.clone())
    }

    /// How long a cluster that has just been reached waits before it is read, so that after a start of this process not all of a
    /// large fleet are read in the same second. One that cannot be reached keeps nobody waiting: it does not ask.
    pub fn wait_to_begin(&self, now: Instant) -> Duration {
        self.begins.lock().unwrap_or_else(PoisonError::into_inner).wait(now)
    }
}

impl Member {
    /// Requests that it may have under way.
    pub fn share(&self) -> usize {
        of(self.0.load(Ordering::Relaxed))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn of(clusters: usize) -> usize {
    (ALL / clusters.max(1)).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_have_enough_and_many_a_little_each() {
        for (clusters, share) in [(0, 64), (1, 64), (32, 64), (128, 16), (1_000, 4), (100_000, 4)] {
            assert_eq!(of(clusters), share, "{clusters}");
        }
    }

    #[test]
    fn a_hundred_begin_at_once_and_the_others_one_by_one() {
        let (start, clusters) = (Instant::now(), Clusters::default());
        let waits: Vec<u128> = (0..1_000).map(|_| clusters.wait_to_begin(start).as_millis()).collect();
        assert_eq!((waits[0], waits[100], waits[101], waits[999]), (0, 0, 20, 17_980));
        assert_eq!(
            clusters.wait_to_begin(start + Duration::from_secs(30)),
            Duration::ZERO,
            "a new one later"
        );
    }

    #[test]
    fn who_ends_leaves_its_share_to_the_others() {
        let clusters = Clusters::default();
        let first = clusters.join();
        let others: Vec<Member> = (1..128).map(|_| clusters.join()).collect();
        assert_eq!(first.share(), 16);
        drop(others);
        assert_eq!(first.share(), 64);
    }
}
