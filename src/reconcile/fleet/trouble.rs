//! Whether so many clusters are out of reach that it looks like the network of the hub itself: then none is replaced.

use super::ClusterState;
use crate::reconcile::policy::OutOfReach;

/// What one instance goes by.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    /// None is replaced now.
    pub holds: bool,
    /// When so many were out of reach last, in seconds of Unix.
    pub at: i64,
    /// It was so at the last look.
    was: bool,
    /// Some cluster was seen to be out of reach.
    met: bool,
}

impl Trouble {
    /// Looks at all clusters. One that was not asked yet may be out of reach as well: after a start, they are found so one
    /// by one.
    pub fn look<'c>(&mut self, clusters: impl Iterator<Item = &'c ClusterState>, now: i64) {
        let sure = OutOfReach::of(clusters);
        let perhaps = sure.with_unasked();
        let is_so = sure.is_trouble();
        let was = std::mem::replace(&mut self.was, is_so);
        // What was before a start is not known: several may be the rest of a trouble that is just over, one alone is none.
        let may_be_rest = !self.met && sure.lost > 0 && perhaps.lost > 1;
        self.met |= sure.lost > 0;
        // That it is over is seen a moment later.
        if was || is_so || may_be_rest {
            self.at = now;
        }
        self.holds = perhaps.is_trouble();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::fleet::aggregate::ClusterHealth;

    /// So many clusters that are lost, that were not asked yet, and that are ready.
    fn clusters(lost: usize, unasked: usize, ready: usize) -> Vec<ClusterState> {
        let gone = ClusterHealth::Unreachable { since: "2026-01-01T00:00:00Z".into(), message: "m".into() };
        let all = [(lost, gone), (unasked, ClusterHealth::Connecting), (ready, ClusterHealth::Ready)];
        let state = |health| ClusterState { health, ..ClusterState::default() };
        all.into_iter().flat_map(|(count, health)| vec![state(health); count]).collect()
    }

    /// What is so after each of these looks, ten seconds apart from 1,000 on.
    fn looks(steps: &[(usize, usize, usize)]) -> Vec<(bool, i64)> {
        let mut trouble = Trouble::default();
        let one = |(now, (lost, unasked, ready)): (i64, &(usize, usize, usize))| {
            trouble.look(clusters(*lost, *unasked, *ready).iter(), now);
            (trouble.holds, trouble.at)
        };
        (1_000..).step_by(10).zip(steps).map(one).collect()
    }

    #[test]
    fn the_pause_begins_when_the_network_is_back() {
        let steps = [(0, 0, 40), (8, 0, 32), (12, 0, 28), (8, 0, 32), (8, 0, 32)];
        assert_eq!(looks(&steps)[2..], [(true, 1_020), (false, 1_030), (false, 1_030)]);
    }

    #[test]
    fn after_a_start_in_an_outage_the_first_that_is_lost_is_not_lost_alone() {
        let found = looks(&[(0, 40, 0), (0, 12, 28), (1, 11, 28), (12, 0, 28)]);
        assert!(found.iter().all(|(holds, _)| *holds), "{found:?}");
    }

    #[test]
    fn after_a_start_the_rest_of_an_outage_waits_anew() {
        let steps = [(0, 40, 0), (0, 8, 32), (1, 7, 32), (8, 0, 32), (7, 0, 33)];
        assert_eq!(looks(&steps)[2..], [(false, 1_020), (false, 1_020), (false, 1_020)]);
    }

    #[test]
    fn who_refuses_credentials_is_not_out_of_reach() {
        let refused = ClusterHealth::Unauthorized { since: String::new(), message: "m".into() };
        let state = ClusterState { health: refused, ..ClusterState::default() };
        let mut trouble = Trouble::default();
        trouble.look(vec![state; 8].iter().chain(&clusters(0, 0, 32)), 1_000);
        assert_eq!((trouble.holds, trouble.at), (false, 0));
    }

    #[test]
    fn after_a_start_one_that_is_lost_alone_waits_no_longer() {
        assert_eq!(looks(&[(0, 40, 0), (0, 1, 39), (1, 0, 39)])[1..], [(false, 0), (false, 0)]);
    }
}
