//! Which clusters a Placement means, before its guard looks at what would be lost.

use super::filter::{Filter, Match, Words};
use super::taints::keeps_away;
use super::{Limit, PolicyName};
use crate::api::cluster::Taint;
use crate::api::names::ClusterName;
use crate::api::placement::{Clusters, Toleration};
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::placement::Selector;
use std::collections::{BTreeMap, BTreeSet};

/// `spec.clusters` as it was read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub filter: Filter,
    exclude: BTreeSet<ClusterName>,
    pub tolerations: Vec<Toleration>,
    pub limit: Option<Limit>,
    pub names_only: bool,
}

/// What matches.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Matching {
    /// Clusters that are meant and may be taken; one that is named need not be registered.
    pub names: BTreeSet<ClusterName>,
    /// Where the expression failed, and why.
    pub failed: BTreeMap<ClusterName, String>,
    /// Clusters that are meant and cannot be taken, and why not.
    pub refused: BTreeMap<ClusterName, String>,
    pub unregistered: usize,
}

impl Read {
    /// # Errors
    /// A sentence that begins with the field.
    pub fn of(clusters: &Clusters) -> Result<Self, String> {
        let path = "spec.clusters";
        let words = Words {
            names: &clusters.names,
            selector: clusters.label_selector.as_ref(),
            all: clusters.all,
            expression: &clusters.expression,
        };
        let filter = Filter::of(&words, path)?;
        let prefer = clusters.prefer.iter().enumerate().map(|(index, term)| {
            Selector::of(&term.label_selector)
                .map_err(|why| format!("{path}.prefer[{index}].labelSelector.{why}"))
        });
        let prefer = prefer.collect::<Result<Vec<Selector>, String>>()?;
        let limit = clusters.max.map(|max| Limit {
            max: max as usize,
            prefer,
            spread: clusters.spread.as_ref().map(|spread| spread.key.clone()),
            failover: clusters.failover.as_ref().map(|failover| failover.after),
        });
        Ok(Self {
            names_only: filter.is_names_only(),
            filter,
            exclude: clusters.exclude.iter().map(|name| ClusterName::new(name)).collect(),
            tolerations: clusters.tolerations.clone(),
            limit,
        })
    }

    pub fn matching(&self, of: &PolicyName, all: &BTreeMap<ClusterName, ClusterState>) -> Matching {
        let mut found = Matching::default();
        for name in self.filter.names().iter().filter(|n| !self.exclude.contains(*n)) {
            if all.get(name).is_none_or(|c| c.implied) {
                found.unregistered += 1;
                found.names.insert(name.clone());
            }
        }
        for (name, cluster) in all.iter().filter(|(n, c)| !c.implied && !self.exclude.contains(*n)) {
            let view = &cluster.view;
            match self.filter.matches(name, &view.labels, view.local, cluster.facts.as_deref()) {
                Match::No => {}
                Match::Unsure(why) => drop(found.failed.insert(name.clone(), why)),
                Match::Yes => match self.refusal(of, cluster) {
                    Some(why) => drop(found.refused.insert(name.clone(), why)),
                    None => drop(found.names.insert(name.clone())),
                },
            }
        }
        found
    }

    /// Why no instance may be there. What only forbids new ones is judged for each of them.
    fn refusal(&self, of: &PolicyName, cluster: &ClusterState) -> Option<String> {
        let view = &cluster.view;
        let allowed = &view.allowed_namespaces;
        if view.leaving {
            return Some("Leaving".into());
        }
        if !of.is_of_cluster() && !allowed.is_empty() && !allowed.iter().any(|n| **n == *of.namespace) {
            return Some("NotAllowed".into());
        }
        keeps_away(&view.taints, &self.tolerations, true).map(|taint: &Taint| format!("Tainted {taint}"))
    }
}

/// How many clusters cannot be reached, of those that somebody registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutOfReach {
    pub lost: usize,
    /// Nobody asked them yet.
    unasked: usize,
    pub all: usize,
}

impl OutOfReach {
    pub fn of<'c>(all: impl Iterator<Item = &'c ClusterState>) -> Self {
        let mut count = Self::default();
        for cluster in all.filter(|c| !c.implied && !c.view.local) {
            count.all += 1;
            count.lost += usize::from(matches!(cluster.health, ClusterHealth::Unreachable { .. }));
            count.unasked += usize::from(cluster.health == ClusterHealth::Connecting);
        }
        count
    }

    /// With those that may turn out to be lost.
    pub fn with_unasked(self) -> Self {
        Self { lost: self.lost + self.unasked, unasked: 0, all: self.all }
    }

    /// Whether they are so many that it looks like the hub's own network: then who is long out of reach is not replaced.
    pub fn is_trouble(self) -> bool {
        self.lost > 1 && self.lost * 5 > self.all
    }
}
