//! What log lines belong to: a cluster, a definition, an instance. Work that is begun inside of a span carries it along, so
//! that one word finds all that was said of one thing.

use crate::api::names::{ClusterName, InstanceKey};
use tracing::{Span, info_span};

/// A cluster, as it was connected for the time of this number.
pub fn cluster(name: &ClusterName, epoch: u64) -> Span {
    info_span!(parent: None, "cluster", %name, epoch)
}

/// What is read on the hub for the hub itself.
pub fn of_the_hub() -> Span {
    info_span!(parent: None, "cluster", name = "hub")
}

pub fn instance(key: &InstanceKey) -> Span {
    info_span!("instance", %key)
}

pub fn definition(name: &str) -> Span {
    info_span!(parent: None, "definition", name)
}
