//! How much each cluster may have under way before it begins what is new: with many clusters each a little, so that all of
//! them together do not fill the memory of this process. A cluster's share follows from how many there are, and from nothing that
//! another one does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Requests of all clusters together.
const ALL: usize = 2_048;
/// The least of one cluster, in requests.
pub const LEAST: usize = 4;
/// The most of one cluster, in requests.
pub const MOST: usize = 64;

/// The clusters that are talked to.
#[derive(Clone, Debug, Default)]
pub struct Clusters(Arc<AtomicUsize>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Member(Arc<AtomicUsize>);

impl Clusters {
    /// One more of them.
    pub fn join(&self) -> Member {
        self.0.fetch_add(1, Ordering::Relaxed);
        Member(self.0.clone())
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
    fn who_ends_leaves_its_share_to_the_others() {
        let clusters = Clusters::default();
        let first = clusters.join();
        let others: Vec<Member> = (1..128).map(|_| clusters.join()).collect();
        assert_eq!(first.share(), 16);
        drop(others);
        assert_eq!(first.share(), 64);
    }
}
