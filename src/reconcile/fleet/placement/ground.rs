//! What every step of a placement looks at, besides what the step before it gave.

use super::record::LOCAL;
use super::{ClusterView, DefaultPlacement, Past, Said, Words};
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
    /// What Placements say; `None` where none concerns the instance, nor did.
    pub said: Option<&'a Said<'a>>,
}

impl<'a> Ground<'a> {
    pub fn of(
        words: &'a Words,
        namespace: &'a str,
        clusters: &'a Clusters,
        past: &'a Past,
        default: DefaultPlacement,
    ) -> Self {
        let mut ground = Self { words, namespace, clusters, past, default, own: None, said: None };
        let own = clusters.iter().find(|(name, c)| c.local && !ground.leaves(name));
        ground.own = own.map(|(name, _)| name);
        ground
    }

    /// Whether nothing says, or said, where the instance goes. One whose record names a Placement is not silent because
    /// that vanished.
    pub fn is_silent(&self) -> bool {
        let placing = self.said.is_some_and(|said| said.placing().next().is_some());
        self.words.is_silent() && !placing && self.past.record.policies.is_empty()
    }

    /// Whether somebody edited the instance's own words since the last decision.
    pub fn words_are_edited(&self) -> bool {
        match self.past.record.words.as_deref() {
            Some(before) => before != self.words.fingerprint(),
            // Nothing was ever recorded: until now it said nothing.
            None => !self.words.is_silent(),
        }
    }

    /// Placements of the record that are there no more, or concern the instance no more, as the record names them.
    pub fn gone_policies(&self) -> Vec<&'a str> {
        let recorded = self.past.record.policies.keys();
        let is_there = |text: &String| {
            self.said.is_some_and(|said| said.placements.iter().any(|p| p.name.recorded() == *text))
        };
        recorded.filter(|text| !is_there(text)).map(String::as_str).collect()
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
