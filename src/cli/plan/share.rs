//! What of an instance one cluster has: some resources live on the hub, once for all clusters.

use crate::api::Object;
use crate::api::keys::kro;
use crate::api::names::ClusterName;
use crate::cli::diff::comparing::Subject;
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::on_hub::{ITSELF, left_message};
use crate::reconcile::spoke::{Side, has_hub_part};
use std::collections::BTreeMap;

/// Who acts on the hub: the Cluster that stands for it, or the controller itself.
pub fn hub(clusters: &BTreeMap<ClusterName, ClusterState>) -> ClusterName {
    let local = clusters.iter().find(|(_, state)| state.view.local).map(|(name, _)| name.clone());
    local.unwrap_or_else(|| ClusterName::new(ITSELF))
}

/// What of an instance is on a cluster; `None` where nothing is. `hub`: who acts on the hub.
pub fn share(subject: &Subject<'_>, name: &ClusterName, hub: &ClusterName) -> Option<Side> {
    let apart = has_hub_part(subject.graph);
    match subject.runs_on.contains(name) {
        true if apart && name != hub => Some(Side::Rest),
        true => Some(Side::Whole),
        false if apart && name == hub && !subject.runs_on.is_empty() => Some(Side::Hub),
        false => None,
    }
}

/// Why what lives on the hub does not go on there.
pub fn obstacle(subject: &Subject<'_>, name: &ClusterName) -> Option<String> {
    (name.as_str() == ITSELF && subject.decision.record.local).then(left_message)
}

/// Whether an instance made something on the hub.
pub fn is_on_hub(live: &Object) -> bool {
    live.annotation(kro::APPLYSET_GROUP_KINDS).is_some_and(|kinds| !kinds.is_empty())
}
