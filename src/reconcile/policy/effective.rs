//! What instances go by: a Placement as it was read, with the clusters that it means now.

use super::PolicyName;
use crate::api::amounts::Span;
use crate::api::names::{ClusterName, GroupKind};
use crate::api::placement::{OnUnmatch, Override, Toleration};
use crate::api::rollout::Rollout;
use crate::reconcile::fleet::placement::Selector;
use std::collections::BTreeSet;

/// It is made anew only where something in it changes, so its address stands for its content.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    pub name: PolicyName,
    pub group_kind: GroupKind,
    /// Changes exactly when somebody edits `spec.instances` or `spec.clusters`.
    pub hash: String,
    /// `None` where it places nothing.
    pub clusters: Option<Chosen>,
    pub on_unmatch: OnUnmatch,
    pub grace: Span,
    pub overrides: Vec<Override>,
    pub rollout: Option<Rollout>,
    /// Why it cannot be read. What was decided before stands, and nobody loses a cluster by it.
    pub invalid: Option<String>,
}

/// The clusters that it means, for all its instances alike.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chosen {
    /// Those that match, and those that its guard keeps. One that is named need not be registered.
    pub names: BTreeSet<ClusterName>,
    /// Those that match and cannot be taken: each instance says so, and whoever leaves them leaves by these rules.
    pub refused: BTreeSet<ClusterName>,
    /// Those that it names.
    pub named: BTreeSet<ClusterName>,
    /// Those that its guard keeps: an instance that is there stays, whatever taint came meanwhile.
    pub kept: BTreeSet<ClusterName>,
    /// Where the expression failed: whoever is there stays, and nobody new goes there.
    pub unsure: BTreeSet<ClusterName>,
    /// It says nothing of them any more, or nothing that can be read: whoever is there stays, and nobody new goes there.
    pub standing: BTreeSet<ClusterName>,
    /// Nothing but names chooses: what they do not name they never did.
    pub names_only: bool,
    pub tolerations: Vec<Toleration>,
    /// `None` where each instance goes to all of them.
    pub limit: Option<Limit>,
}

impl Chosen {
    /// These, for those instances that are there.
    pub(super) fn standing(names: BTreeSet<ClusterName>) -> Self {
        Self { kept: names.clone(), standing: names, ..Self::default() }
    }
}

/// The most clusters for each instance, and which of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limit {
    pub max: usize,
    /// Clusters that an earlier one selects are taken first.
    pub prefer: Vec<Selector>,
    /// Clusters are taken evenly over the values of this label.
    pub spread: Option<String>,
    /// How long one is out of reach before it is replaced; `None`: it never is.
    pub failover: Option<Span>,
}
