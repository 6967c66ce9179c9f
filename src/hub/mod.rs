//! The hub side of the running controller: registered clusters, definitions, and where each instance goes.
//!
//! One task owns all state ([`controller`]); watches, requests and the clusters' actors run beside it and send it
//! [`Event`]s. Decisions are pure and stand in files of their own ([`clusters::source`], [`clusters::status`],
//! [`definitions::status`], [`crate::reconcile::fleet`]).

pub mod clusters;
mod context;
mod controller;
mod debounce;
pub mod definitions;
pub mod identity;
mod install;
mod instances;
mod lease;
#[cfg(test)]
#[allow(clippy::too_many_lines, clippy::too_many_arguments)] // Of tests.
mod machines;
mod neighbours;
mod placements;
mod request;
pub mod resources;
mod run;
mod scrapers;
pub mod server;
#[cfg(test)]
#[allow(clippy::too_many_lines, clippy::too_many_arguments)] // Of tests.
mod simulation;
mod timers;
pub mod tls;
mod view;
mod writes;

pub use context::Settings;
pub use lease::Times as LeaseTimes;
pub use run::run;

use crate::api::names::{ClusterName, GroupKind, InstanceKey};
use crate::reconcile::fleet::Left;
use crate::reconcile::policy::PolicyName;
use crate::spoke::client::ApiError;
use crate::spoke::messages::FromSpoke;
use crate::spoke::watch::Listed;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the hub side watches.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Watched {
    /// Secrets of one namespace.
    Secrets(String),
    Clusters,
    Definitions,
    Revisions,
    Placements,
    ClusterPlacements,
    /// The generated CRDs on the hub.
    Crds,
    Instances(GroupKind),
    /// InstanceReports.
    Reports,
    /// ControllerRevisions of ours.
    Versions,
    Approvals,
}

/// Everything that the one task hears.
#[derive(Debug)]
enum Event {
    Seen(Watched, Listed),
    /// It could not be listed or watched several times in a row, and why.
    Unseen(Watched, String),
    /// The instances of a kind are to be listed anew, if its generated CRD is this one still: its hash.
    Reread(GroupKind, String),
    Spoke(FromSpoke),
    /// A CRD of this group that is not generated came, changed or went on the hub; or was there from the first.
    CrdOfGroup {
        group: Arc<str>,
        first: bool,
    },
    /// A step of connecting a cluster; the number tells tries of different credentials apart.
    Connect(ClusterName, u64, clusters::connect::Progress),
    /// A write of ours to a Cluster object was answered.
    ClusterWritten(ClusterName, writes::Part, Result<Value, ApiError>),
    /// The Cluster that the Secret of this place asks for was applied, or not.
    Registered(view::Key, Result<Value, ApiError>),
    /// What was done for a definition came to this.
    Definition {
        name: String,
        uid: String,
        outcome: definitions::Outcome,
    },
    Instance(InstanceKey, String, instances::Outcome),
    /// The status of a Placement was written, or not.
    PlacementWritten(PolicyName, Result<Value, ApiError>),
    /// A version of a whole kind was written, and whether it is there now.
    KindVersion(GroupKind, Result<(Value, bool), ApiError>),
    /// An earlier revision of a definition by the hash of its graph, for instances that still run by it; or why it cannot be
    /// made.
    Former {
        gk: GroupKind,
        hash: String,
        made: Result<Arc<crate::graph::Graph>, String>,
    },
    /// A record of what is left on a cluster was taken out: cluster and uid of the hub instance.
    LeftForgotten(ClusterName, String),
    /// All that is on record as left on a cluster, read anew.
    LeftRead(ClusterName, BTreeMap<String, Left>),
}
