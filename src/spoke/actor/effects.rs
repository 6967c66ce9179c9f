//! What an actor hears from what runs beside it, and what it wants to run there. Whoever drives an actor performs its
//! [`Effect`]s and brings it the [`Event`]s that they lead to, in any order and at any time.

use crate::api::Gvk;
use crate::api::names::{GroupKind, InstanceKey};
use crate::graph::Graph;
use crate::reconcile::spoke::{Action, Task};
use crate::reconcile::world::{Lookup, Stored};
use crate::spoke::crd::{Ensured, May};
use crate::spoke::crd_names::CrdSeen;
use crate::spoke::discovery::Served;
use crate::spoke::messages::Said;
use crate::spoke::perform::Done;
use crate::spoke::references::Subject;
use crate::spoke::schemas::{Key, Verdict};
use crate::spoke::watch::Seen;
use kube::core::ApiResource;
use std::sync::Arc;
use std::time::Duration;

/// Where it is told. Boxed: a channel keeps room for many of what it carries, and each cluster has one.
pub(super) type Events = tokio::sync::mpsc::UnboundedSender<Box<Event>>;

/// What watches, requests and timers tell the actor.
#[derive(Debug)]
pub(crate) enum Event {
    /// With the serial of the watch: what an earlier one of the kind said late does not count.
    Watch(GroupKind, u64, Seen),
    /// The same of external references.
    Reference(Subject, u64, Seen),
    /// The answer to what was to be read once.
    Answered(Lookup, Result<Option<Stored>, String>),
    /// Where a kind is served that external references read.
    Served(Gvk, Served),
    /// A generated or foreign CRD changed on the cluster.
    Crd(CrdSeen),
    Done(InstanceKey, Done),
    Crds(GroupKind, Ensured),
    /// A kind that was not served may be now.
    LookAgain(GroupKind),
    /// A definition was judged by the schemas of the cluster.
    Judged(Key, Verdict),
    /// The schemas may have changed. With the serial of the change, and whether only a definition that does not fit
    /// is to be judged again.
    Schemas(u64, bool),
    /// The same of the kinds of a group that external references read.
    LookAgainIn(Arc<str>),
    /// The objects of a kind are to be listed anew, unless its schema changed once more since: which change it was.
    Reread(GroupKind, u64),
}

/// What an actor wants done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// The hub side is to hear this.
    Say(Said),
    /// A request of one instance: ends in one [`Event::Done`].
    Perform {
        key: InstanceKey,
        task: Arc<Task>,
        action: Action,
        resource: Option<ApiResource>,
    },
    /// The kind's CRD is to be brought to the cluster: ends in one [`Event::Crds`].
    EnsureCrd {
        graph: Arc<Graph>,
        may: May,
    },
    /// Objects of a kind are to be watched, and are no longer by an earlier watch of the kind.
    Watch {
        gk: GroupKind,
        gvk: Option<Gvk>,
        selector: Option<String>,
        serial: u64,
    },
    /// The same of what is only read. `known`: where the kind is served.
    WatchReference {
        subject: Subject,
        known: Option<Served>,
        serial: u64,
    },
    EndReference(Subject),
    /// One object is to be read once: ends in [`Event::Answered`], unless nobody reads its kind any more.
    Ask {
        lookup: Lookup,
        known: Option<Served>,
    },
    /// Definitions are to be judged by the schemas of the cluster, for as long as it takes to hear from it.
    Judge {
        wanted: Vec<ToJudge>,
        freshness: Freshness,
    },
    /// To be heard after a while.
    After(Duration, Event),
}

/// A definition to judge, and the definitions whose kinds its resources are.
#[derive(Debug)]
pub(crate) struct ToJudge {
    pub key: Key,
    pub hub: Arc<Graph>,
    pub generated: Vec<Arc<Graph>>,
}

/// What a judgement may rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// On what was read of the schemas before.
    Known,
    /// The same, and what is being judged ends: all of it is judged now.
    KnownOfAll,
    /// What was read may be outdated; all is judged now.
    AnewOfAll,
}

impl Freshness {
    pub fn is_of_all(self) -> bool {
        self != Self::Known
    }
}
