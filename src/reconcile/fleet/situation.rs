//! What one step goes by: its inputs, and what follows from them, worked out once.

use super::on_hub::OnHub;
use super::placement::{Decision, Past};
use super::{ClusterState, Departure, Inputs};
use crate::api::names::ClusterName;
use std::collections::BTreeSet;

pub(super) struct Situation<'a> {
    pub inputs: &'a Inputs<'a>,
    /// The instance is being deleted.
    pub deleting: bool,
    /// Our finalizer stands on the instance.
    pub managed: bool,
    /// What earlier decisions left on the instance.
    pub past: Past,
    pub decision: Decision,
    /// Clusters that the instance is to run on besides the hub: none once it is being deleted.
    pub spokes: BTreeSet<ClusterName>,
    pub on_hub: OnHub,
}

impl Situation<'_> {
    /// Whether content on a cluster is let go instead of being deleted.
    pub fn is_let_go(&self, name: &ClusterName) -> bool {
        let waits = |c: &ClusterState| match c.departure {
            Departure::Settling => c.may_be_reached(),
            Departure::Finishing => c.may_be_reached() && self.deleting,
            Departure::Over => false,
        };
        let leaves = |c: &ClusterState| c.view.leaving && !c.delete_on_leave && !waits(c);
        self.past.released.contains(name) || self.inputs.clusters.get(name).is_some_and(leaves)
    }

    /// Whether a cluster that is being deregistered is told nothing for now: the instance may be about to be deleted too,
    /// and if not, what runs there stays.
    pub fn waits_for_departure(&self, name: &ClusterName) -> bool {
        let settles =
            |c: &ClusterState| c.view.leaving && !c.delete_on_leave && c.departure == Departure::Settling;
        !self.deleting && self.inputs.clusters.get(name).is_some_and(settles)
    }
}
