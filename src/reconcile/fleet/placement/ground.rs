//! What every step of a placement looks at, besides what the step before it gave.

use super::record::LOCAL;
use super::{ClusterView, DefaultPlacement, Past, Words};
use crate::api::names::ClusterName;
use std::collections::{BTreeMap, BTreeSet};

pub(super) type Names = BTreeSet<ClusterName>;
pub(super) type Clusters = BTreeMap<ClusterName, ClusterView>;

pub(super) struct Ground<'a> {
    pub words: &'a Words,
    /// The namespace of the instance.
    pub namespace: &'a str,
    /// The complete, synced set of registered clusters.
    pub clusters: &'a Clusters,
    pub past: &'a Past,
    pub default: DefaultPlacement,
    /// The Cluster that stands for the hub, and does not leave.
    pub own: Option<&'a ClusterName>,
}

impl<'a> Ground<'a> {
    pub fn of(
        words: &'a Words,
        namespace: &'a str,
        clusters: &'a Clusters,
        past: &'a Past,
        default: DefaultPlacement,
    ) -> Self {
        let mut ground = Self { words, namespace, clusters, past, default, own: None };
        let own = clusters.iter().find(|(name, c)| c.local && !ground.leaves(name));
        ground.own = own.map(|(name, _)| name);
        ground
    }

    /// Whether what is on a cluster is about to be nobody's business here: nothing is kept there.
    pub fn leaves(&self, name: &ClusterName) -> bool {
        self.past.released.contains(name) || self.clusters.get(name).is_some_and(|c| c.leaving)
    }

    /// The cluster that a name in the record means.
    pub fn meant(&self, recorded: &ClusterName) -> ClusterName {
        match self.own {
            Some(own) if recorded.as_str() == LOCAL => own.clone(),
            _ => recorded.clone(),
        }
    }
}
