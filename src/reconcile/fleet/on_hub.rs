//! What of an instance is on the hub itself: who acts there, and what may be taken away.
//!
//! The record of it is the ApplySet inventory on the instance. Whether the instance made it as a whole, placed there, or
//! only the resources that live on the hub, stands in the record of its last decision.

use super::aggregate::ClusterHealth;
use super::placement::{ClusterView, Decision, Record};
use super::{ClusterState, Fleet, Inputs};
use crate::api::Object;
use crate::api::keys::{hub, kro};
use crate::api::names::ClusterName;
use crate::reconcile::spoke::has_hub_part;
use std::collections::{BTreeMap, BTreeSet};

pub use crate::api::names::ITSELF;

/// Who acts on the hub.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct OnHub {
    pub name: ClusterName,
    /// A Cluster stands for the hub.
    pub registered: bool,
    /// The instance ran there as a whole, and no Cluster stands for the hub any more, or yet: whoever let that go, or
    /// whichever controller made it, nothing of it is taken away before the instance is deleted.
    pub left: bool,
}

impl OnHub {
    pub fn of(registered: &BTreeMap<ClusterName, ClusterView>, decision: &Decision) -> Self {
        let cluster = registered.iter().find(|(_, view)| view.local).map(|(name, _)| name.clone());
        let is_registered = cluster.is_some();
        Self {
            name: decision.local.clone().or(cluster).unwrap_or_else(|| ClusterName::new(ITSELF)),
            registered: is_registered,
            left: !is_registered && decision.record.local,
        }
    }

    /// Whether a word about its part of an instance may come soon.
    pub fn may_speak(&self, inputs: &Inputs) -> bool {
        let health = health(inputs, &self.name);
        !self.left && matches!(health, Some(ClusterHealth::Ready | ClusterHealth::Connecting))
    }
}

const CONNECTING: ClusterHealth = ClusterHealth::Connecting;

/// How a cluster is. The hub itself is connected when it is needed.
pub(super) fn health<'a>(inputs: &'a Inputs, name: &ClusterName) -> Option<&'a ClusterHealth> {
    let known = inputs.clusters.get(name).map(|c: &ClusterState| &c.health);
    known.or_else(|| (name.as_str() == ITSELF).then_some(&CONNECTING))
}

/// Why the resources that live on the hub do not go on.
pub fn left_message() -> String {
    format!(
        "the instance ran on the hub as a whole, and no Cluster stands for the hub now; what it made there stays as it is, \
         and resources with the annotation {}: hub go on once a Cluster with spec.local: true is registered",
        hub::TARGET
    )
}

/// Whether children of this instance may exist on the hub: its ApplySet inventory is the record, by its label or by the hash
/// that says whose it is. Its lists alone are nobody's record: whoever copies or forges them holds up no deletion.
pub(super) fn may_be_local(instance: &Object) -> bool {
    instance.label(kro::APPLYSET_ID).is_some() || instance.annotation(kro::INVENTORY_HASH).is_some()
}

impl Fleet {
    /// The same, also where nothing of the record is left: what the hub was told, and did not say that it is gone.
    pub(super) fn may_hold_on_hub(&self, instance: &Object, name: &ClusterName) -> bool {
        may_be_local(instance) || self.pairs.is(name, |p| p.sent.is_some() && !p.gone && !p.left)
    }
}

/// Whether resources of an instance that is placed elsewhere live on the hub, or are read there.
pub(super) fn has_part_on_hub(
    inputs: &Inputs,
    spokes: &BTreeSet<ClusterName>,
    holds: &BTreeSet<ClusterName>,
) -> bool {
    inputs.graph.is_some_and(|g| has_hub_part(g)) && !(spokes.is_empty() && holds.is_empty())
}

/// Whether the record says that the instance made nothing on the hub but what lives there.
pub(super) fn is_part_on_record(instance: &Object) -> bool {
    let record = Record::on(instance);
    record.words.is_some() && !record.local
}
