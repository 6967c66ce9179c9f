//! What a repository says at one revision.

use crate::api::cluster::{ClusterSpec, OnDeregister};
use crate::api::keys::hub;
use crate::api::names::{ClusterName, GroupKind, InstanceKey};
use crate::api::{Gvk, Object};
use crate::cli::render::{at_home, facts};
use crate::cli::validate::Judged;
use crate::graph::Graph;
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use anyhow::bail;
use std::collections::{BTreeMap, BTreeSet};

/// What is rendered, and for whom.
pub struct Side<'j> {
    pub graphs: Vec<&'j Graph>,
    pub by_kind: BTreeMap<GroupKind, usize>,
    /// By key: which graph, and the instance.
    pub instances: BTreeMap<InstanceKey, (usize, Object)>,
    pub clusters: BTreeMap<ClusterName, ClusterState>,
    /// The Clusters as written.
    pub registered: BTreeMap<String, Object>,
    pub placements: Vec<Object>,
    /// What each graph, and those of instances that its instances make, read of a cluster.
    pub reads: Vec<BTreeSet<Vec<String>>>,
}

/// What stands for the clusters of a repository that has none.
pub const ANY: &str = "any cluster";
/// Of the file of facts.
const FACTS: (&str, &str) = ("cli.hub.kro.run", "Facts");

/// The facts that stand in a repository.
pub fn facts_in(judged: &Judged) -> anyhow::Result<facts::Facts> {
    let mut all = facts::Facts::new();
    for object in judged.objects_of(FACTS.0, FACTS.1) {
        all.extend(facts::of(&object.0)?);
    }
    Ok(all)
}

impl<'j> Side<'j> {
    /// # Errors
    /// What a Cluster says of itself cannot be read.
    pub fn new(judged: &'j Judged, known: &facts::Facts) -> anyhow::Result<Self> {
        let graphs: Vec<&Graph> = judged.definitions().into_iter().map(|(_, graph)| graph).collect();
        let by_kind = graphs.iter().enumerate().map(|(at, graph)| (graph.gvk.group_kind(), at)).collect();
        let mut instances = BTreeMap::new();
        for (at, graph) in graphs.iter().enumerate() {
            for instance in judged.objects_of(&graph.gvk.group, &graph.gvk.kind) {
                let instance = at_home(instance, graph);
                instances.insert(InstanceKey::of(&instance.object_ref()), (at, instance));
            }
        }
        let of_hub = |kind: &str| judged.objects_of(hub::GROUP, kind);
        let registered: BTreeMap<String, Object> =
            of_hub("Cluster").into_iter().map(|cluster| (cluster.name().to_owned(), cluster)).collect();
        let mut clusters = BTreeMap::new();
        for (name, object) in &registered {
            let name = ClusterName::new(name);
            let state = facts::cluster(&name, Some(object), known, &[])?;
            clusters.insert(name, ClusterState { health: ClusterHealth::Ready, ..state });
        }
        let mut side = Self {
            reads: Vec::new(),
            graphs,
            by_kind,
            instances,
            clusters,
            registered,
            placements: [of_hub("ClusterPlacement"), of_hub("Placement")].concat(),
        };
        side.reads = (0..side.graphs.len()).map(|at| side.reads_of(at)).collect();
        Ok(side)
    }

    /// The graph that instances of a kind are made by.
    pub fn graph_of(&self, gvk: &Gvk) -> Option<(usize, &'j Graph)> {
        let at = *self.by_kind.get(&gvk.group_kind())?;
        Some((at, *self.graphs.get(at)?))
    }

    fn reads_of(&self, at: usize) -> BTreeSet<Vec<String>> {
        let (mut seen, mut next, mut reads) = (BTreeSet::new(), vec![at], BTreeSet::new());
        while let Some(at) = next.pop() {
            let Some(graph) = self.graphs.get(at).filter(|_| seen.insert(at)) else { continue };
            reads.extend(graph.cluster_reads().iter().cloned());
            next.extend(graph.nodes.iter().filter_map(|node| self.graph_of(&node.gvk)).map(|(at, _)| at));
        }
        reads
    }

    /// Where nothing is registered, all instances are looked at once.
    pub fn on_any_cluster(&mut self) {
        self.clusters = [(ClusterName::new(ANY), ClusterState::default())].into();
    }

    /// Refuses to render what reads facts that nobody gave: what came of it would be a guess.
    ///
    /// # Errors
    /// The first fact that is missing.
    pub fn ensure_known(&self, at: usize, name: &ClusterName, file: &str) -> anyhow::Result<()> {
        let state = self.clusters.get(name);
        for path in self.reads.get(at).into_iter().flatten() {
            let own = path.first().map(String::as_str);
            let facts = state.and_then(|state| state.facts.as_ref());
            if own.is_none_or(|key| facts.is_some_and(|facts| facts.get(key).is_some())) {
                continue;
            }
            let path = path.join(".");
            match name.as_str() {
                ANY => {
                    bail!("{} reads kro.cluster.{path}: there is no Cluster among the files", self.name(at))
                }
                name => bail!("{name}: kro.cluster.{path} is not in {file}"),
            }
        }
        Ok(())
    }

    fn name(&self, at: usize) -> &str {
        self.graphs.get(at).map_or("", |graph| graph.rgd_name.as_str())
    }

    /// Whether what runs on a cluster goes with its Cluster.
    pub fn is_emptied(&self, name: &str) -> bool {
        let spec = self.registered.get(name).and_then(|cluster| cluster.0.get("spec").cloned());
        let spec = spec.map(serde_json::from_value::<ClusterSpec>);
        spec.is_some_and(|spec| spec.is_ok_and(|spec| spec.on_deregister == OnDeregister::Delete))
    }
}
