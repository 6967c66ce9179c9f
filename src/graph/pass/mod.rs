//! One evaluation of a graph, for one instance on one cluster.
//!
//! The caller goes through the nodes in their order. It asks whether a node is included and what it renders to, tells
//! what the cluster shows of it, and asks whether it is ready. At the end it asks for the status. An expression that
//! several places share is evaluated once.

mod conditions;
mod missing;
mod project;
mod reference;
mod render;
mod sketch;

pub use sketch::{Leaf, Origin, Sketch, Sketcher};

use super::expression::Expression;
use super::variables::{CLUSTER, EACH, KRO, RESTLESS, SCHEMA};
use super::{Graph, Node};
use crate::api::keys;
use crate::cel::{Budget, EvalError, Scope, Type};
use serde_json::{Map, Value, json};

/// One desired object.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    pub object: Value,
    /// For an object of a collection: which item it is, and of how many.
    pub item: Option<(usize, usize)>,
}

/// Whether a node is as its dependents need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Waiting(String),
    Ready,
    Failed(String),
    /// The node is left out, by its own includeWhen or because a node that it depends on is.
    Skipped,
}

/// One evaluation of a graph.
pub struct Pass<'g> {
    graph: &'g Graph,
    /// `schema` in expressions that decide what is rendered.
    pub(in crate::graph) instance: Value,
    scope: Scope<'static>,
    budget: Budget,
    nodes: Vec<PassState>,
    results: Vec<Option<Result<Value, EvalError>>>,
}

struct PassState {
    included: Option<bool>,
    /// The node's variable has a value.
    observed: bool,
    readiness: Readiness,
}

static NO_SUCH_NODE: Readiness = Readiness::Waiting(String::new());

impl<'g> Pass<'g> {
    /// Begins a pass. `parent` is the object that the children belong to: the instance, or its mirror. `cluster` is
    /// what `kro.cluster` gives: name, id, labels, properties, version.
    pub fn new(graph: &'g Graph, parent: &Value, cluster: &Value) -> Self {
        let instance = visible(graph, parent);
        let mut scope = Scope::new();
        scope.bind_typed(SCHEMA, &instance, &graph.instance);
        if !cluster.is_null() {
            scope.bind(KRO, &json!({CLUSTER: cluster}));
            if graph.nodes.iter().all(|n| n.id != CLUSTER) {
                scope.bind(CLUSTER, cluster);
            }
        }
        let waiting =
            |node: &Node| Readiness::Waiting(format!("{} is waiting for what it depends on", node.id));
        let nodes = graph
            .nodes
            .iter()
            .map(|node| PassState { included: None, observed: false, readiness: waiting(node) })
            .collect();
        Self { graph, instance, scope, budget: Budget::default(), nodes, results: vec![None; graph.slots] }
    }

    /// Whether a node is included. Nodes that depend on an excluded one are excluded as well.
    ///
    /// # Errors
    /// Pending while a condition waits for another node; fatal if it can not be evaluated.
    pub fn included(&mut self, index: usize) -> Result<bool, EvalError> {
        if let Some(known) = self.nodes.get(index).and_then(|n| n.included) {
            return Ok(known);
        }
        let Some(node) = self.graph.nodes.get(index) else { return Ok(false) };
        let by_dependencies = node.dependencies.iter().all(|d| self.is_included(*d) != Some(false));
        let included = by_dependencies && self.conditions_hold(node)?;
        if let Some(state) = self.nodes.get_mut(index) {
            state.included = Some(included);
            if !included {
                state.readiness = Readiness::Skipped;
            }
        }
        Ok(included)
    }

    fn is_included(&self, index: usize) -> Option<bool> {
        self.nodes.get(index).and_then(|n| n.included)
    }

    fn conditions_hold(&mut self, node: &'g Node) -> Result<bool, EvalError> {
        // All nodes that the conditions read must be ready before any condition is believed.
        for dependency in &node.dependencies {
            let read = self.graph.nodes.get(*dependency).map(|n| n.id.as_str()).unwrap_or_default();
            if node.include_when.iter().any(|e| e.reads(read)) {
                self.is_ready(*dependency)?;
            }
        }
        for condition in &node.include_when {
            let result =
                self.shared(condition).map_err(|error| missing::judge(condition, error, &self.instance, &[]));
            match result {
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false) | Value::Null) => return Ok(false),
                Ok(_) => return Err(fatal(&condition.text, "must give a bool")),
                Err(error) => return Err(at(&condition.text, error)),
            }
        }
        Ok(true)
    }

    /// Pending unless the node is ready.
    fn is_ready(&self, index: usize) -> Result<(), EvalError> {
        let id = self.graph.nodes.get(index).map(|n| n.id.as_str()).unwrap_or_default();
        match self.readiness(index) {
            Readiness::Ready => Ok(()),
            Readiness::Skipped => pending(format!("unresolved dependency {id}: it is not included")),
            Readiness::Waiting(why) | Readiness::Failed(why) => {
                pending(format!("unresolved dependency {id}: {why}"))
            }
        }
    }

    /// Takes what the cluster shows of a node: the objects that are there, of the `desired` number that were
    /// rendered, in the order of rendering.
    pub fn observe(&mut self, index: usize, objects: &[&Value], desired: usize) {
        let Some(node) = self.graph.nodes.get(index) else { return };
        if node.is_collection() {
            let list = Value::Array(objects.iter().map(|o| (*o).clone()).collect());
            self.scope.bind_typed(&node.id, &list, &Type::list(node.object.clone()));
        } else if let Some(object) = objects.first() {
            self.scope.bind_typed(&node.id, object, &node.object);
        }
        let readiness = self.judge(node, objects, desired);
        self.observed(index, objects.len(), readiness);
    }

    /// As [`Self::observe`], of a node whose objects no expression reads: so many of them are there.
    pub fn count(&mut self, index: usize, there: usize, desired: usize) {
        let Some(node) = self.graph.nodes.get(index) else { return };
        self.observed(index, there, not_there(node, there, desired).unwrap_or(Readiness::Ready));
    }

    fn observed(&mut self, index: usize, there: usize, readiness: Readiness) {
        if let (Some(node), Some(state)) = (self.graph.nodes.get(index), self.nodes.get_mut(index)) {
            state.observed = node.is_collection() || there > 0;
            state.readiness = readiness;
        }
    }

    fn judge(&mut self, node: &'g Node, objects: &[&Value], desired: usize) -> Readiness {
        if let Some(waiting) = not_there(node, objects.len(), desired) {
            return waiting;
        }
        if !node.is_collection() {
            for condition in &node.ready_when {
                let result = self.shared(condition);
                if let Some(not) = unready(node, condition, None, result) {
                    return not;
                }
            }
            return Readiness::Ready;
        }
        // A condition on an external reference may also read the list as a whole.
        let (of_list, of_items): (Vec<_>, Vec<_>) = node.ready_when.iter().partition(|c| c.reads(&node.id));
        for condition in of_list {
            let result = self.shared(condition);
            if let Some(not) = unready(node, condition, None, result) {
                return not;
            }
        }
        for (item, object) in objects.iter().enumerate() {
            let mut each = self.scope.child();
            each.bind_typed(EACH, object, &node.object);
            for condition in &of_items {
                let result = condition.program.eval(&each, &self.budget);
                if let Some(not) = unready(node, condition, Some(item), result) {
                    return not;
                }
            }
        }
        Readiness::Ready
    }

    /// Whether a node is ready, as it was observed.
    pub fn readiness(&self, index: usize) -> &Readiness {
        self.nodes.get(index).map_or(&NO_SUCH_NODE, |n| &n.readiness)
    }

    /// Evaluates an expression that reads no iterator, once for the whole pass.
    fn shared(&mut self, expression: &Expression) -> Result<Value, EvalError> {
        shared(&mut self.results, expression, &self.scope, &self.budget)
    }
}

/// The instance as expressions see it.
pub(super) fn visible(graph: &Graph, parent: &Value) -> Value {
    let field = |name: &str| parent.get(name).filter(|v| !v.is_null()).cloned();
    let mut metadata = field("metadata").unwrap_or_else(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        RESTLESS.iter().for_each(|name| drop(metadata.remove(*name)));
        hide_bookkeeping(metadata);
    }
    json!({
        "apiVersion": field("apiVersion").unwrap_or_else(|| json!(graph.gvk.api_version())),
        "kind": field("kind").unwrap_or_else(|| json!(graph.gvk.kind)),
        "metadata": metadata,
        "spec": field("spec").unwrap_or_else(|| json!({})),
    })
}

/// Takes the bookkeeping of kro and of ours out of an instance's metadata. A map that becomes empty stays, so that
/// `has(metadata.labels)` does not depend on who else wrote labels.
fn hide_bookkeeping(metadata: &mut Map<String, Value>) {
    for field in ["labels", "annotations"] {
        if let Some(map) = metadata.get_mut(field).and_then(Value::as_object_mut) {
            map.retain(|key, value| !keys::is_hidden(key, value.as_str()));
        }
    }
    if let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
        list.retain(|name| !name.as_str().is_some_and(keys::is_own_finalizer));
    }
}

fn shared(
    results: &mut [Option<Result<Value, EvalError>>],
    expression: &Expression,
    scope: &Scope<'_>,
    budget: &Budget,
) -> Result<Value, EvalError> {
    match results.get_mut(expression.slot) {
        Some(result) => result.get_or_insert_with(|| expression.program.eval(scope, budget)).clone(),
        None => expression.program.eval(scope, budget),
    }
}

/// What is waited for while objects of a node are not there.
fn not_there(node: &Node, there: usize, desired: usize) -> Option<Readiness> {
    let why = match node.external {
        _ if node.is_collection() && there < desired => {
            format!("{}: observed {there} but desired {desired}", node.id)
        }
        _ if node.is_collection() || there > 0 => return None,
        Some(_) => format!("waiting for external reference {}: not found", node.id),
        None => format!("{} does not exist yet", node.id),
    };
    Some(Readiness::Waiting(why))
}

/// What a condition's result says against the node's readiness.
fn unready(
    node: &Node,
    condition: &Expression,
    item: Option<usize>,
    result: Result<Value, EvalError>,
) -> Option<Readiness> {
    let of_item = item.map(|i| format!(" item {i}")).unwrap_or_default();
    let what = format!("readyWhen of {}{of_item}", node.id);
    let text = &condition.text;
    match result {
        Ok(Value::Bool(true)) => None,
        Ok(Value::Bool(false) | Value::Null) => {
            Some(Readiness::Waiting(format!("{what} is not met: {text}")))
        }
        Ok(_) => Some(Readiness::Failed(format!("{what} must give a bool: {text}"))),
        Err(EvalError::Pending { message }) => {
            Some(Readiness::Waiting(format!("{what} is not met: {text}: {message}")))
        }
        Err(EvalError::Fatal { message }) => {
            Some(Readiness::Failed(format!("{what} can not be evaluated: {text}: {message}")))
        }
    }
}

fn pending<T>(message: String) -> Result<T, EvalError> {
    Err(EvalError::Pending { message })
}

fn fatal(place: &str, message: &str) -> EvalError {
    EvalError::Fatal { message: format!("{place}: {message}") }
}

/// An error with the place it comes from in front.
fn at(place: &str, error: EvalError) -> EvalError {
    match error {
        EvalError::Pending { message } => EvalError::Pending { message: format!("{place}: {message}") },
        EvalError::Fatal { message } => EvalError::Fatal { message: format!("{place}: {message}") },
    }
}
