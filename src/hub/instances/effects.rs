//! What the instances want done, and how that ends.

use crate::api::Object;
use crate::api::names::{ClusterName, GroupKind, InstanceKey};
use crate::hub::clusters::left_behind::Recorded;
use crate::reconcile::fleet::FleetAction;
use crate::reconcile::fleet::over_all::{Answer, Question};
use crate::spoke::client::ApiError;
use crate::spoke::messages::ToSpoke;
use kube::core::ApiResource;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// What is to be done because of the instances.
#[derive(Debug)]
pub(in crate::hub) enum Effect {
    /// Versions of instances of the kind were made with the graph of this hash.
    Need(GroupKind, String),
    /// The numbers of the kind's revisions are to be known: [`super::Instances::know_revisions`].
    Number(GroupKind),
    /// A version of a whole kind is to be written: [`super::Instances::kind_version_written`].
    KindVersion(GroupKind, FleetAction),
    /// An actor is to hear this.
    Send(ClusterName, ToSpoke),
    /// All actors are.
    SendToAll(ToSpoke),
    /// The instances of a kind are to be watched, and are no longer by an earlier watch.
    Watch(GroupKind, ApiResource),
    EndWatch(GroupKind),
    /// The kind's CRD is now the one with this hash: its instances are to be listed anew when the hub serves it.
    RereadLater(GroupKind, String),
    /// A request: ends in one [`Outcome`], unless it only tells.
    Request(Target, FleetAction),
    /// Fields of a status are to be evaluated. `slow`: that took long the last time.
    Evaluate {
        target: Target,
        question: Question,
        slow: bool,
    },
    /// What was left on a cluster of the instance with this uid is there no more.
    ForgetLeft(ClusterName, String),
    /// The hub refuses the status of an instance for good, and why.
    TellRefused(Option<Arc<Object>>, String),
}

/// The instance that a request is about.
#[derive(Clone, Debug)]
pub(in crate::hub) struct Target {
    pub key: InstanceKey,
    pub object: Arc<Object>,
    pub resource: ApiResource,
}

/// How a request for an instance ended.
#[derive(Debug)]
pub(in crate::hub) enum Outcome {
    Meta(Result<Value, ApiError>),
    Status(Result<Value, ApiError>),
    Finalizer(Result<Value, ApiError>),
    Left(ClusterName, Result<Recorded, ApiError>),
    /// The write of the report of this number, and what stands there now.
    Report(usize, Result<Option<Value>, ApiError>),
    /// A version, and whether it is there now.
    Version(Result<(Value, bool), ApiError>),
    /// Fields of the status, and how long they took.
    Evaluated(Answer, Duration),
}
