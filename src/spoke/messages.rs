//! What the hub side and a cluster's actor say to each other.

use crate::api::names::{ClusterName, GroupKind, InstanceKey};
use crate::graph::Graph;
use crate::reconcile::bounds::Bounds;
use crate::reconcile::spoke::{Report, Side, Task};
use crate::reconcile::world::Definition;
use serde_json::Value;
use std::sync::Arc;

/// From the hub side to one actor.
#[derive(Clone, Debug)]
pub enum ToSpoke {
    /// The whole wish for one instance; replaces the one before.
    Task(Arc<Task>),
    /// Other definitions may make instances of this one here. Known before any task that makes them.
    Define(Definition),
    /// Nobody serves the kind any more: its instances stay as they are.
    Undefine(GroupKind),
    /// What `kro.cluster` is here.
    Facts(Arc<Value>),
    /// Where resources may be written here.
    Bounds(Arc<Bounds>),
    /// Say whether this part of a definition fits what the cluster serves, now and whenever that changes.
    Judge(Arc<Graph>, Side),
    /// Somebody else cares for this instance now; forget it and change nothing.
    Forget(InstanceKey),
    /// Say once more which mirrors of this kind are here.
    TellMirrors(GroupKind),
}

/// From one actor to the hub side. `epoch` tells actors of one cluster apart: what an ended actor said late is ignored.
#[derive(Debug)]
pub struct FromSpoke {
    pub cluster: ClusterName,
    pub epoch: u64,
    pub said: Said,
}

#[derive(Debug)]
pub enum Said {
    Report {
        key: InstanceKey,
        report: Box<Report>,
    },
    /// Nothing of the instance with this hub uid is left on the cluster.
    Gone {
        key: InstanceKey,
        hub_uid: String,
    },
    /// The complete list of this hub's mirrors of one kind.
    Mirrors {
        gk: GroupKind,
        mirrors: Vec<(InstanceKey, String)>,
    },
    /// Whether a definition fits what the cluster serves; else which field or kind is missing.
    Judged {
        rgd: String,
        /// Of the definition's spec.
        hash: String,
        side: Side,
        fits: Result<(), String>,
    },
    Contact(ContactState),
    /// A new connection led to another cluster, with this identity: nothing was asked of it but who it is.
    Stranger(String),
    /// What people should know of the cluster, though it can be talked to; empty when there is nothing any more.
    Notes(String),
    /// The actor ended by itself; the text says why.
    Ended(String),
}

/// Whether the cluster can be talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContactState {
    Ready,
    Unreachable(String),
    Unauthorized(String),
    /// It answers, but not what has to be known before anything is written there: a right is missing, as a rule.
    Unusable {
        reason: &'static str,
        message: String,
    },
}
