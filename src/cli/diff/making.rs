//! What one instance makes on one cluster, with all that instances within it make.

use super::side::Side;
use crate::api::Object;
use crate::api::names::{GroupKind, InstanceKey};
use crate::cli::render::placed;
use crate::graph::{Graph, Leaf, Sketch, Sketcher};
use crate::view::changes::Half;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Instances within instances are opened so deep.
const MOST_DEPTH: usize = 8;

/// What an instance makes.
#[derive(Debug)]
pub struct Made {
    pub key: InstanceKey,
    pub api_version: String,
    /// Its namespace and name with the facts of the cluster by their names.
    pub neutral: (String, String),
    pub objects: Vec<MadeObject>,
    /// Nodes that no cluster could make.
    pub failed: Vec<Failed>,
    /// Nodes that wait for those.
    pub stuck: BTreeSet<String>,
}

/// A node that no cluster could make.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    pub node: String,
    pub kind: String,
    pub on_hub: bool,
    pub why: String,
}

#[derive(Debug)]
pub struct MadeObject {
    pub node: String,
    pub on_hub: bool,
    pub sketch: Sketch,
    /// What decides whether it is made, or how often.
    pub only_if: Option<String>,
    pub key: (GroupKind, String, String),
}

/// What is to be made.
pub struct Order<'o> {
    pub side: &'o Side<'o>,
    pub graph: &'o Graph,
    pub instance: &'o Object,
    /// What places of it were made of.
    pub leaves: Vec<Leaf>,
    pub cluster: &'o Value,
}

/// An instance of which nothing can be made.
pub fn nothing(graph: &Graph, instance: &Object, why: String) -> Arc<Vec<Made>> {
    let failed = Failed { node: "overrides".into(), kind: String::new(), on_hub: false, why };
    Arc::new(vec![Made {
        key: InstanceKey::of(&instance.object_ref()),
        api_version: graph.gvk.api_version(),
        neutral: (instance.namespace().to_owned(), instance.name().to_owned()),
        objects: Vec::new(),
        failed: vec![failed],
        stuck: graph.nodes.iter().map(|node| node.id.clone()).collect(),
    }])
}

/// The instance first, then those within it.
pub fn make(order: Order) -> Arc<Vec<Made>> {
    let neutral = (order.instance.namespace().to_owned(), order.instance.name().to_owned());
    let mut all = Vec::new();
    add(order, neutral, 0, &mut all);
    Arc::new(all)
}

fn add(order: Order, neutral: (String, String), depth: usize, into: &mut Vec<Made>) {
    let Order { side, graph, instance, leaves, cluster } = order;
    let mut made = Made {
        key: InstanceKey::of(&instance.object_ref()),
        api_version: graph.gvk.api_version(),
        neutral,
        objects: Vec::new(),
        failed: Vec::new(),
        stuck: BTreeSet::new(),
    };
    let mut sketcher = Sketcher::new(graph, &instance.0, cluster, leaves);
    for (index, node) in graph.nodes.iter().enumerate() {
        let fails = |id: &str| made.stuck.contains(id) || made.failed.iter().any(|failed| failed.node == id);
        if graph.read_by(node).any(|read| fails(&read.id)) {
            made.stuck.insert(node.id.clone());
            continue;
        }
        let sketches = match sketcher.node(index) {
            Ok(sketches) => sketches,
            Err(error) => {
                made.failed.push(Failed {
                    node: node.id.clone(),
                    kind: node.gvk.kind.to_string(),
                    on_hub: node.on_hub,
                    why: error.message().to_owned(),
                });
                continue;
            }
        };
        for mut sketch in sketches {
            sketch.object = placed(sketch.object, node.kind.as_deref(), instance.namespace());
            let of = Object(sketch.object.clone()).object_ref();
            let each = sketch.for_each.as_ref().map(|list| format!("for each of {list}"));
            let conditions: Vec<String> = sketch.only_if.iter().cloned().chain(each).collect();
            made.objects.push(MadeObject {
                node: node.id.clone(),
                on_hub: node.on_hub,
                only_if: (!conditions.is_empty()).then(|| conditions.join(", ")),
                key: (node.gvk.group_kind(), of.namespace.to_string(), of.name.to_string()),
                sketch,
            });
        }
    }
    let at = into.len();
    into.push(made);
    if depth < MOST_DEPTH {
        within(side, cluster, (at, depth), into);
    }
}

/// Objects of kinds that definitions generate are instances where they stand.
fn within(side: &Side, cluster: &Value, (at, depth): (usize, usize), into: &mut Vec<Made>) {
    let count = into.get(at).map_or(0, |made| made.objects.len());
    for position in 0..count {
        let Some(object) = into.get(at).and_then(|made| made.objects.get(position)) else { continue };
        let instance = Object(object.sketch.object.clone());
        let Some((_, graph)) = side.graph_of(&instance.gvk()).filter(|_| !object.on_hub) else { continue };
        let neutral = object.half(cluster).named();
        let leaves = object.sketch.leaves.clone();
        let served = graph.as_served(&instance).unwrap_or(instance);
        add(Order { side, graph, instance: &served, leaves, cluster }, neutral, depth + 1, into);
    }
}

impl MadeObject {
    pub fn half<'m>(&'m self, cluster: &'m Value) -> Half<'m> {
        Half {
            object: &self.sketch.object,
            leaves: &self.sketch.leaves,
            cluster,
            only_if: self.only_if.as_deref(),
        }
    }
}
