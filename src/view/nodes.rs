//! The resources of one instance on one cluster: what its graph says of what was read there.
//!
//! Nothing is read in here. Where an external reference is missing, the walk says which; whoever reads it walks again.

use super::{Mark, plain};
use crate::api::Object;
use crate::api::keys::kro;
use crate::graph::{EvalError, External, Graph, Node, Pass, Readiness};
use crate::reconcile::world::Lookup;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One resource of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeLine {
    pub id: String,
    pub mark: Mark,
    /// `ready`, `NotReady`, `waits`, `missing`, `deleting`, `excluded`, `failed`, `unknown`.
    pub state: String,
    /// `Deployment/shop`; the kind alone where nothing is there and no name is known.
    pub object: String,
    pub api_version: String,
    pub namespace: String,
    /// Objects that are there, and that are to be.
    pub there: usize,
    pub desired: usize,
    pub message: String,
    pub since: String,
    /// The nodes that its expressions read.
    pub reads: Vec<String>,
    /// Left out, by its own `includeWhen` or because one that it reads is.
    pub excluded: bool,
    /// It is read and never written.
    pub external: bool,
    /// Its pods that are worst off.
    pub pods: Vec<Pod>,
    /// The resources of an instance that this one is.
    pub nodes: Vec<NodeLine>,
}

/// A pod of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    pub name: String,
    pub mark: Mark,
    pub state: String,
    pub restarts: i64,
}

/// What was read of an instance on a cluster.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The instance as it stands there.
    pub parent: &'a Object,
    /// `kro.cluster` in expressions.
    pub cluster: &'a Value,
    /// All that carries its ApplySet, of the kinds that could be read.
    pub members: &'a [Object],
    /// What of it lives on the hub; `None` where that was not read.
    pub on_hub: Option<&'a [Object]>,
    /// Kinds that could not be read, and why.
    pub unread: &'a BTreeMap<String, String>,
    /// What external references gave so far.
    pub looked: &'a BTreeMap<Lookup, Result<Vec<Object>, String>>,
    /// What the hub says of the instance there.
    pub message: &'a str,
}

/// How far a walk came.
#[derive(Debug, Default)]
pub struct Walked {
    pub nodes: Vec<NodeLine>,
    /// What is to be read before it can say more.
    pub wants: Vec<Lookup>,
}

/// Goes through the nodes in the order in which they are applied.
pub fn walk(graph: &Graph, seen: &Seen<'_>) -> Walked {
    let mut pass = Pass::new(graph, &seen.parent.0, seen.cluster);
    let mut walked = Walked::default();
    for (index, node) in graph.nodes.iter().enumerate() {
        let judged = judge(&mut pass, index, node, seen, &mut walked.wants);
        let reads = graph.read_by(node).map(|n| n.id.clone()).collect();
        walked.nodes.push(judged.line(node, reads, seen));
    }
    walked
}

/// What is found of one node.
struct Judged<'a> {
    state: &'static str,
    mark: Mark,
    message: String,
    objects: Vec<&'a Object>,
    desired: usize,
    /// Its name where nothing is there.
    name: String,
}

impl<'a> Judged<'a> {
    fn of(state: &'static str, mark: Mark, message: impl Into<String>) -> Self {
        Self { state, mark, message: message.into(), objects: Vec::new(), desired: 0, name: String::new() }
    }

    fn waits(message: impl Into<String>) -> Self {
        Self::of("waits", Mark::Absent, message)
    }

    fn with(self, objects: Vec<&'a Object>, desired: usize) -> Self {
        Self { objects, desired, ..self }
    }

    fn line(mut self, node: &Node, reads: Vec<String>, seen: &Seen<'_>) -> NodeLine {
        let own = format!("{}: ", node.id);
        if let Some(rest) = self.message.strip_prefix(&own) {
            self.message = rest.to_owned();
        }
        // The hub knows what an API server said to a write, and nobody else does.
        if self.mark != Mark::Ready
            && !matches!(self.state, "excluded" | "waits")
            && let Some(said) = plain::of_node(seen.message, &node.id)
        {
            if seen.message.starts_with(plain::ERROR) {
                self.mark = Mark::Failed;
            }
            self.message = said.to_owned();
        }
        let first = self.objects.first();
        let kind = node.gvk.kind.to_string();
        let name = first.map_or(self.name.as_str(), |object| object.name());
        let object = match (self.objects.len(), name) {
            (0 | 1, "") => kind,
            (0 | 1, name) => format!("{kind}/{name}"),
            (several, _) => format!("{kind} ×{several}"),
        };
        NodeLine {
            id: node.id.clone(),
            mark: self.mark,
            state: self.state.to_owned(),
            object,
            api_version: node.gvk.api_version(),
            namespace: first.map(|o| o.namespace().to_owned()).unwrap_or_default(),
            there: self.objects.len(),
            desired: self.desired,
            message: self.message,
            since: self.objects.iter().map(|o| since(o)).max().unwrap_or_default(),
            reads,
            excluded: self.state == "excluded",
            external: node.external.is_some(),
            pods: Vec::new(),
            nodes: Vec::new(),
        }
    }
}

fn judge<'a>(
    pass: &mut Pass<'_>,
    index: usize,
    node: &Node,
    seen: &Seen<'a>,
    wants: &mut Vec<Lookup>,
) -> Judged<'a> {
    match pass.included(index) {
        Ok(true) => {}
        Ok(false) => return Judged::of("excluded", Mark::Unplaced, ""),
        Err(EvalError::Pending { message }) => return Judged::waits(format!("includeWhen: {message}")),
        Err(EvalError::Fatal { message }) => {
            return Judged::of("failed", Mark::Failed, format!("includeWhen: {message}"));
        }
    }
    if node.external.is_some() {
        return external(pass, index, node, seen, wants);
    }
    let members = if node.on_hub {
        match seen.on_hub {
            Some(members) => members,
            None => {
                return Judged::of(
                    "unknown",
                    Mark::Silent,
                    "it lives on the hub and could not be read there",
                );
            }
        }
    } else {
        seen.members
    };
    if let Some(why) = seen.unread.get(&node.gvk.group_kind().to_string()) {
        return Judged::of("unknown", Mark::Silent, why.clone());
    }
    let mut own: Vec<&Object> = members.iter().filter(|o| o.label(kro::NODE_ID) == Some(&node.id)).collect();
    own.sort_by_key(|o| o.label(kro::COLLECTION_INDEX).and_then(|i| i.parse::<u64>().ok()));
    let rendered = match pass.render(index) {
        Ok(rendered) => rendered,
        Err(EvalError::Pending { message }) => {
            let there = own.len();
            return Judged::waits(message).with(own, there);
        }
        Err(EvalError::Fatal { message }) => {
            let there = own.len();
            return Judged::of("failed", Mark::Failed, message).with(own, there);
        }
    };
    let home = seen.parent.namespace();
    let wanted: Vec<Object> = rendered.iter().map(|r| Object(r.object.clone())).collect();
    let is = |object: &Object, wish: &Object| {
        let place = if wish.namespace().is_empty() { home } else { wish.namespace() };
        object.name() == wish.name() && (object.namespace() == place || object.namespace().is_empty())
    };
    let found: Vec<&Object> =
        wanted.iter().filter_map(|wish| own.iter().copied().find(|object| is(object, wish))).collect();
    let views: Vec<&Value> = found.iter().map(|object| &object.0).collect();
    pass.observe(index, &views, wanted.len());
    let mut judged = stands(pass, index, &found).with(found, wanted.len());
    if let ([], [one]) = (judged.objects.as_slice(), wanted.as_slice()) {
        judged.name = one.name().to_owned();
    }
    judged
}

/// A node that is only read.
fn external<'a>(
    pass: &mut Pass<'_>,
    index: usize,
    node: &Node,
    seen: &Seen<'a>,
    wants: &mut Vec<Lookup>,
) -> Judged<'a> {
    let lookup = match pass.reference(index) {
        Ok(reference) => Lookup::of(&node.gvk, reference, seen.parent.namespace()),
        Err(EvalError::Pending { message }) => return Judged::waits(message),
        Err(EvalError::Fatal { message }) => Err(message),
    };
    let lookup = match lookup {
        Ok(lookup) => lookup,
        Err(message) => return Judged::of("failed", Mark::Failed, message),
    };
    match seen.looked.get(&lookup) {
        None => {
            wants.push(lookup);
            Judged::of("unknown", Mark::Silent, "not read yet")
        }
        Some(Err(why)) => Judged::of("unknown", Mark::Silent, why.clone()),
        Some(Ok(objects)) => {
            let views: Vec<&Value> = objects.iter().map(|object| &object.0).collect();
            let missing = node.external == Some(External::Named) && views.is_empty();
            let wanted = if missing { 1 } else { views.len() };
            pass.observe(index, &views, wanted);
            let found: Vec<&Object> = objects.iter().collect();
            stands(pass, index, &found).with(found, wanted)
        }
    }
}

fn stands<'a>(pass: &Pass<'_>, index: usize, found: &[&'a Object]) -> Judged<'a> {
    let deleting = found.iter().any(|object| object.is_deleting());
    match pass.readiness(index) {
        _ if deleting => {
            let waits = found.iter().flat_map(|object| object.finalizers()).collect::<Vec<_>>().join(", ");
            let waits = if waits.is_empty() { waits } else { format!("waits for finalizers {waits}") };
            Judged::of("deleting", Mark::Absent, waits)
        }
        Readiness::Ready => Judged::of("ready", Mark::Ready, ""),
        Readiness::Skipped => Judged::of("excluded", Mark::Unplaced, ""),
        Readiness::Waiting(_) if found.is_empty() => Judged::of("missing", Mark::Absent, ""),
        Readiness::Waiting(why) => Judged::of("NotReady", Mark::Moving, why.clone()),
        Readiness::Failed(why) => Judged::of("failed", Mark::Failed, why.clone()),
    }
}

/// Since when an object is as it is, as far as it says: its last transition, else its beginning.
fn since(object: &Object) -> String {
    let conditions = object.0.pointer("/status/conditions").and_then(Value::as_array);
    let times = conditions.into_iter().flatten().filter_map(|c| c.get("lastTransitionTime")?.as_str());
    let created = object.str_at("/metadata/creationTimestamp");
    times.max().unwrap_or(created).to_owned()
}

/// The pods that are worst off, of those that a workload selects.
pub fn worst_pods(pods: &[Object]) -> Vec<Pod> {
    const SHOWN: usize = 3;
    let mut all: Vec<Pod> = pods.iter().map(pod).filter(|pod| pod.mark != Mark::Ready).collect();
    all.sort_by(|a, b| (a.mark, b.restarts, &a.name).cmp(&(b.mark, a.restarts, &b.name)));
    all.truncate(SHOWN);
    all
}

fn pod(pod: &Object) -> Pod {
    let statuses = pod.0.pointer("/status/containerStatuses").and_then(Value::as_array);
    let containers = || statuses.into_iter().flatten();
    let waiting = containers()
        .filter_map(|c| {
            ["waiting", "terminated"].iter().find_map(|s| c.pointer(&format!("/state/{s}/reason")))
        })
        .find_map(Value::as_str);
    let unscheduled = super::instance::condition(pod, "PodScheduled")
        .filter(|c| c.get("status").and_then(Value::as_str) == Some("False"))
        .and_then(|c| c.get("message")?.as_str());
    let phase = pod.str_at("/status/phase");
    let is_ready = super::instance::is_true(pod, "Ready") || phase == "Succeeded";
    let mark = match (is_ready, waiting, phase) {
        (true, ..) => Mark::Ready,
        (_, Some("ContainerCreating" | "PodInitializing"), _) | (_, None, "Running") => Mark::Moving,
        (_, None, "Pending") if unscheduled.is_none() => Mark::Moving,
        _ => Mark::Failed,
    };
    Pod {
        name: pod.name().to_owned(),
        mark,
        state: waiting.or(unscheduled).unwrap_or(phase).to_owned(),
        restarts: containers().filter_map(|c| c.get("restartCount")?.as_i64()).sum(),
    }
}

#[cfg(test)]
#[path = "nodes_tests.rs"]
mod tests;
