//! What one step goes by: its inputs, and what follows from them. That is worked out once and kept until something of it
//! may have changed.

use super::on_hub::OnHub;
use super::placement::{Decision, Past, Record, Watches};
use super::sending::Orders;
use super::{ClusterState, Departure, Inputs};
use crate::api::names::ClusterName;
use crate::reconcile::policy::Effective;
use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Plan {
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
    /// The holds that are to be on record.
    pub holds: BTreeSet<ClusterName>,
    /// It is being deleted, and nothing of it is left.
    pub is_over: bool,
    /// What all spokes are told alike.
    pub orders: Option<Orders>,
    /// What was decided stands on the instance, where it has a record: what is said before a restart forgets it.
    pub is_on_record: bool,
    /// The words may choose clusters that they do not name.
    pub chooses: bool,
    /// The Placements that concern the instance.
    pub placements: Vec<Arc<Effective>>,
    /// Something of the instance is on the hub, or may be.
    pub minds_hub: bool,
    /// Clusters that the record remembers, and nothing is there.
    pub remembered: BTreeSet<ClusterName>,
    /// The instance is on the hub, where a Cluster stands for it, and nowhere else.
    pub only_local: bool,
}

impl Plan {
    /// Whether the cluster is to have the instance, as a whole or without what lives on the hub.
    pub fn runs_on(&self, name: &ClusterName) -> bool {
        !self.deleting && (self.spokes.contains(name) || self.decision.local.as_ref() == Some(name))
    }

    /// Whether what is on the cluster stays as it is.
    pub fn stays(&self, name: &ClusterName) -> bool {
        self.decision.stays.contains_key(name) || self.decision.still.contains(name)
    }

    /// Whether a Placement means the cluster, or could not say.
    pub fn is_meant(&self, name: &ClusterName) -> bool {
        let chosen = self.placements.iter().filter_map(|placement| placement.clusters.as_ref());
        chosen.into_iter().any(|c| c.names.contains(name) || c.unsure.contains(name))
    }

    /// Whether the cluster's health may change where the instance goes.
    pub fn watches(&self, name: &ClusterName) -> bool {
        match self.decision.watches {
            Watches::None => false,
            Watches::Placed => self.spokes.contains(name),
            Watches::All => true,
        }
    }

    /// What only making it needs is let go.
    pub fn keep_what_is_needed(&mut self) {
        let record = std::mem::take(&mut self.decision.record);
        let before = std::mem::take(&mut self.past.record);
        let lists = |r: Record| {
            [r.placed, r.restored, r.gone, r.held, r.unmatched.into_keys().collect::<BTreeSet<_>>()]
        };
        let all = lists(record).into_iter().chain(lists(before)).flatten();
        self.remembered =
            all.filter(|name| !self.past.holds.contains(name) && !self.spokes.contains(name)).collect();
        self.decision.spokes = BTreeSet::new();
        self.holds = BTreeSet::new();
    }
}

#[derive(Clone, Copy)]
pub(super) struct Situation<'a> {
    pub inputs: &'a Inputs<'a>,
    pub plan: &'a Plan,
}

impl Deref for Situation<'_> {
    type Target = Plan;
    fn deref(&self) -> &Plan {
        self.plan
    }
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
        self.past.released.contains(name)
            || (self.plan.decision.orphaned.contains(name) && !self.deleting)
            || self.inputs.clusters.get(name).is_some_and(leaves)
    }

    /// Whether a cluster that is being deregistered is told nothing for now: the instance may be about to be deleted too,
    /// and if not, what runs there stays.
    pub fn waits_for_departure(&self, name: &ClusterName) -> bool {
        let settles =
            |c: &ClusterState| c.view.leaving && !c.delete_on_leave && c.departure == Departure::Settling;
        !self.deleting && self.inputs.clusters.get(name).is_some_and(settles)
    }
}
