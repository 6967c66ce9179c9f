//! What the hub wants of one instance on one cluster.

use super::{MirrorContent, Part};
use crate::api::names::{GroupKind, Gvk, HubId, InstanceKey};
use crate::api::{applyset, hash};
use crate::graph::Graph;
use crate::reconcile::rollout::{Admitted, Facts, Mark};
use crate::reconcile::world::{Rank, Stored};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the hub wants of one instance on one cluster.
#[derive(Clone, Debug)]
pub struct Task {
    pub key: InstanceKey,
    pub gvk: Gvk,
    /// Uid of the instance on the hub.
    pub hub_uid: String,
    pub hub_id: HubId,
    pub home: Home,
    pub goal: Goal,
}

/// Where the object lives that children belong to.
#[derive(Clone, Debug)]
pub enum Home {
    /// The hub itself: the instance is its own mirror. The hub side owns its finalizer, labels and status.
    Local { instance: Arc<Stored> },
    /// A spoke: we keep a mirror there.
    Mirror,
    /// A spoke, where the instance itself is a child: a resource of another definition made it. It is its own mirror, and
    /// the hub knows nothing of it.
    Nested,
}

#[derive(Clone, Debug)]
pub enum Goal {
    Run {
        graph: Arc<Graph>,
        part: Part,
        mirror: Arc<MirrorContent>,
        suspended: bool,
        /// Compatibility of the generated CRD is overridden by the author.
        allow_breaking: bool,
        /// What `kro.cluster` is in expressions.
        cluster: Arc<Value>,
        /// The version of the instance that this is, where a rollout moves it.
        mark: Option<Mark>,
        /// The revision that it was let run by, where the whole kind moves as one.
        admitted: Option<Admitted>,
        /// What was read of the cluster when the instance was let there, where a rollout moves it. It is in `cluster`.
        facts: Option<Arc<Facts>>,
        /// What is not wanted any more stays: some cluster goes by an earlier version, which may read it.
        keeps: bool,
        /// Which revision of the definition this is.
        rank: Rank,
    },
    /// Nothing new can be made for it: what the mirror says is looked after as it is.
    GoOn { graph: Arc<Graph>, part: Part, suspended: bool, cluster: Arc<Value>, rank: Rank },
    /// Leave all as it is, and say what stands there.
    Stay { graph: Arc<Graph> },
    /// Take everything away. `group_kinds` are kinds that may hold children besides those of the inventory.
    Remove { group_kinds: BTreeSet<GroupKind> },
}

impl Task {
    pub fn is_local(&self) -> bool {
        matches!(self.home, Home::Local { .. })
    }
    pub fn is_mirrored(&self) -> bool {
        matches!(self.home, Home::Mirror)
    }
    pub fn is_nested(&self) -> bool {
        matches!(self.home, Home::Nested)
    }
    /// Plural of the generated kind, where the graph is known.
    pub fn plural(&self) -> Option<String> {
        match &self.goal {
            Goal::Run { graph, .. } | Goal::GoOn { graph, .. } | Goal::Stay { graph } => {
                graph.crd.pointer("/spec/names/plural")?.as_str().map(str::to_owned)
            }
            Goal::Remove { .. } => None,
        }
    }
    pub fn applyset(&self) -> String {
        applyset::id(&self.key)
    }

    /// Changes when somebody wants something else: words of the instance, a revision of the definition, facts of the cluster.
    /// Nothing that the instance itself makes is in it.
    pub fn wish(&self) -> u64 {
        let Goal::Run { graph, mirror, suspended, allow_breaking, cluster, .. } = &self.goal else {
            return 0;
        };
        let words = match &self.home {
            Home::Local { instance } => Cow::Owned(MirrorContent::of(&instance.object.unpack())),
            Home::Mirror | Home::Nested => Cow::Borrowed(&**mirror),
        };
        hash::json(&json!([
            self.hub_uid,
            graph.hash,
            graph.rgd_uid,
            words.fingerprint(),
            suspended,
            allow_breaking,
            facts(graph, cluster)
        ]))
    }

    /// Changes when the cluster has to be told.
    pub fn fingerprint(&self) -> u64 {
        let home = match &self.home {
            Home::Mirror | Home::Nested => Value::Null,
            Home::Local { instance } => {
                let mut seen = instance.object.unpack().0;
                if let Some(top) = seen.as_object_mut() {
                    top.remove("status");
                }
                if let Some(meta) = seen.get_mut("metadata").and_then(Value::as_object_mut) {
                    meta.remove("resourceVersion");
                }
                seen
            }
        };
        let goal = match &self.goal {
            Goal::Run {
                graph,
                part,
                mirror,
                suspended,
                allow_breaking,
                cluster,
                mark,
                admitted,
                facts: read,
                keeps,
                rank,
            } => {
                json!([
                    graph.hash,
                    graph.rgd_uid,
                    graph.crd_hash(),
                    mirror.fingerprint(),
                    mirror.generation,
                    suspended,
                    allow_breaking,
                    part.mark(),
                    facts(graph, cluster),
                    mark.map(Mark::text),
                    admitted.map(Admitted::text),
                    read.as_ref().map(|read| (read.text(), read.held)),
                    keeps,
                    rank.behind
                ])
            }
            Goal::GoOn { graph, part, suspended, cluster, rank } => {
                json!(["on", graph.hash, part.mark(), suspended, facts(graph, cluster), rank.behind])
            }
            Goal::Stay { graph } => json!(["stay", graph.hash]),
            Goal::Remove { group_kinds } => {
                json!(["remove", group_kinds.iter().map(GroupKind::to_string).collect::<Vec<_>>()])
            }
        };
        hash::json(&json!([self.hub_uid, home, goal]))
    }
}

/// What an instance reads of the cluster; another fact is no news to it.
fn facts<'c>(graph: &Graph, cluster: &'c Value) -> Vec<Option<&'c Value>> {
    graph.cluster_reads().iter().map(|path| read(cluster, path)).collect()
}

/// What stands at a path.
fn read<'a>(facts: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(facts, |value, key| value.get(key))
}
