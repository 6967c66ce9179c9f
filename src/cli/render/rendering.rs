//! What an instance makes on a cluster, as far as that can be told without one: the objects of each node in apply order, by the
//! same pass that the controller makes.
//!
//! A node that is rendered counts as there and ready. What only a cluster could tell of it is known where somebody gives the
//! object as it was observed.

use super::overlay;
use crate::api::Object;
use crate::api::names::ClusterName;
use crate::graph::{EvalError, Graph, Node, Pass, Reference, Target};
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::placement::Selector;
use crate::schema::kinds::Kind;
use serde_json::Value;

/// What is to be rendered, and what is known beside it.
pub struct Question<'q> {
    pub graph: &'q Graph,
    /// The instance as written, with its namespace.
    pub instance: &'q Object,
    /// The cluster; none where nobody said.
    pub cluster: Option<(&'q ClusterName, &'q ClusterState)>,
    /// Placements and ClusterPlacements.
    pub placements: &'q [Object],
    /// Objects as a cluster shows them.
    pub observed: &'q [Object],
}

/// What comes of one node.
#[derive(Debug, PartialEq)]
pub enum Line {
    Object {
        node: String,
        object: Value,
        on_hub: bool,
    },
    /// It reads what is not known.
    Waits {
        node: String,
        position: usize,
        why: String,
    },
    /// It is left out here, by its includeWhen or since it reads one that is.
    LeftOut {
        node: String,
    },
    /// A collection without items.
    Empty {
        node: String,
    },
    /// No cluster could make it either.
    Failed {
        node: String,
        why: String,
    },
}

/// Renders all nodes, in apply order.
///
/// # Errors
/// What overrides make of the instance cannot be told.
pub fn render(question: &Question) -> Result<Vec<Line>, String> {
    let Question { graph, cluster, .. } = *question;
    let instance = overlay::on(question)?;
    let facts = cluster.and_then(|(_, state)| state.facts.as_deref());
    let mut pass = Pass::new(graph, &instance.0, facts.unwrap_or(&Value::Null));
    let mut lines = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        match on_node(&mut pass, index, node, question) {
            Ok(made) => lines.extend(made),
            Err(EvalError::Pending { message: why }) => {
                lines.push(Line::Waits { node: node.id.clone(), position: index + 1, why });
            }
            Err(EvalError::Fatal { message: why }) => {
                lines.push(Line::Failed { node: node.id.clone(), why });
            }
        }
    }
    Ok(lines)
}

fn on_node(pass: &mut Pass, index: usize, node: &Node, question: &Question) -> Result<Vec<Line>, EvalError> {
    if !pass.included(index)? {
        return Ok(vec![Line::LeftOut { node: node.id.clone() }]);
    }
    let home = question.instance.namespace();
    if node.external.is_some() {
        let reference = pass.reference(index)?;
        let found = referred(&reference, node, home, question.observed);
        if found.is_empty() && !node.is_collection() {
            return Err(EvalError::Pending {
                message: format!("{} is not among the files", shown(&reference, node)),
            });
        }
        there(pass, index, &found);
        return Ok(Vec::new());
    }
    let rendered = pass.render(index)?;
    if rendered.is_empty() {
        there(pass, index, &[]);
        return Ok(vec![Line::Empty { node: node.id.clone() }]);
    }
    let objects: Vec<Value> =
        rendered.into_iter().map(|r| placed(r.object, node.kind.as_deref(), home)).collect();
    let as_seen = |object: &Value| {
        let own = Object(object.clone()).object_ref();
        let seen = question.observed.iter().find(|o| o.object_ref() == own);
        seen.map_or_else(|| object.clone(), |seen| seen.0.clone())
    };
    let seen: Vec<Value> = objects.iter().map(as_seen).collect();
    there(pass, index, &seen.iter().collect::<Vec<_>>());
    let line = |object| Line::Object { node: node.id.clone(), object, on_hub: node.on_hub };
    Ok(objects.into_iter().map(line).collect())
}

/// These objects of a node are there, and as its readers need them.
fn there(pass: &mut Pass, index: usize, objects: &[&Value]) {
    pass.observe(index, objects, objects.len());
    pass.count(index, objects.len(), objects.len());
}

/// A namespaced object that names no namespace is in the instance's.
pub fn placed(mut object: Value, kind: Option<&Kind>, home: &str) -> Value {
    let namespaced = kind.is_some_and(|k| k.namespaced);
    if namespaced && object.pointer("/metadata/namespace").is_none_or(|n| n.as_str() == Some("")) {
        object["metadata"]["namespace"] = home.into();
    }
    object
}

fn referred<'o>(reference: &Reference, node: &Node, home: &str, among: &'o [Object]) -> Vec<&'o Value> {
    let of_kind = among.iter().filter(|o| o.gvk() == node.gvk);
    let namespaced = node.kind.as_ref().is_none_or(|k| k.namespaced);
    let found = of_kind.filter(|object| {
        let namespace = reference.namespace.as_deref();
        match &reference.target {
            Target::Name(name) => {
                object.name() == name && (!namespaced || object.namespace() == namespace.unwrap_or(home))
            }
            Target::Selector(text) => {
                let chosen =
                    text.is_empty() || Selector::parse(text).is_ok_and(|s| s.matches(&object.labels()));
                chosen && namespace.is_none_or(|n| object.namespace() == n)
            }
        }
    });
    found.map(|object| &object.0).collect()
}

fn shown(reference: &Reference, node: &Node) -> String {
    let namespace = reference.namespace.as_deref().map(|n| format!("{n}/")).unwrap_or_default();
    match &reference.target {
        Target::Name(name) => format!("{} {namespace}{name}", node.gvk.kind),
        Target::Selector(selector) => format!("{} with {selector:?}", node.gvk.kind),
    }
}
