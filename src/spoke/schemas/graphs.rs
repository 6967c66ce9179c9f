//! Definitions as they are on one cluster.

use crate::api::maps::HashMap;
use crate::api::names::Gvk;
use crate::graph::Graph;
use crate::reconcile::spoke::Side;
use crate::reconcile::world::Compiled;
use std::sync::Arc;

/// The graph for a cluster, or why there is none.
pub type Verdict = Result<Arc<Graph>, Arc<str>>;

/// A definition in one of its editions, and which part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub uid: String,
    pub hash: String,
    pub generation: i64,
    pub annotations: u64,
    pub side: Side,
}

impl Key {
    pub fn of(graph: &Graph, side: Side) -> Self {
        Self {
            uid: graph.rgd_uid.clone(),
            hash: graph.hash.clone(),
            generation: graph.generation,
            annotations: graph.annotations,
            side,
        }
    }
}

#[derive(Debug)]
struct JudgedGraph {
    /// As the hub compiled it.
    hub: Arc<Graph>,
    verdict: Option<Verdict>,
}

/// The definitions that are in use on one cluster.
#[derive(Debug, Default)]
pub struct Graphs(HashMap<Key, JudgedGraph>);

impl Graphs {
    pub fn look(&self, hub: &Graph, side: Side) -> Compiled {
        match self.0.get(&Key::of(hub, side)) {
            None => Compiled::Unknown,
            Some(JudgedGraph { verdict: None, .. }) => Compiled::Working,
            Some(JudgedGraph { verdict: Some(Ok(graph)), .. }) => Compiled::Fits(graph.clone()),
            Some(JudgedGraph { verdict: Some(Err(why)), .. }) => Compiled::Incompatible(why.to_string()),
        }
    }

    /// Notes that a definition is to be judged. `None` if it is already.
    pub fn begin(&mut self, hub: &Arc<Graph>, side: Side) -> Option<Key> {
        let key = Key::of(hub, side);
        if self.0.contains_key(&key) {
            return None;
        }
        // Of a definition, at most an older edition is still in use beside the newest.
        self.0.retain(|k, _| k.uid != key.uid || k.side != side || k.generation >= key.generation - 1);
        self.0.insert(key.clone(), JudgedGraph { hub: hub.clone(), verdict: None });
        Some(key)
    }

    /// Takes in a verdict; `Some` with the hub's graph if it changes anything.
    pub fn judged(&mut self, key: &Key, verdict: Verdict) -> Option<Arc<Graph>> {
        let entry = self.0.get_mut(key)?;
        let same = match (&entry.verdict, &verdict) {
            (Some(Ok(a)), Ok(b)) => Arc::ptr_eq(a, b),
            (Some(Err(a)), Err(b)) => a == b,
            _ => false,
        };
        if same {
            return None;
        }
        entry.verdict = Some(verdict);
        Some(entry.hub.clone())
    }

    pub fn all(&self) -> Vec<(Key, Arc<Graph>)> {
        self.0.iter().map(|(key, entry)| (key.clone(), entry.hub.clone())).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some definition has resources of a kind.
    pub fn name(&self, is: impl Fn(&Gvk) -> bool) -> bool {
        self.0.values().any(|e| e.hub.nodes.iter().any(|n| is(&n.gvk)))
    }

    /// Whether something would work with other schemas.
    pub fn lacks(&self) -> bool {
        self.0.values().any(|e| matches!(e.verdict, Some(Err(_))))
    }
}
