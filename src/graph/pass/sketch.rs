//! What the nodes of a graph want as far as that can be told without a cluster. What waits for one stays as its author wrote
//! it, and each place says what its value was made of: of a Secret, of facts of the cluster, or of what is not known.

use super::missing::Item;
use super::render::{Evaluating, can_be, combinations, item};
use super::{EvalError, Pass, Readiness, at};
use crate::cel::Type;
use crate::graph::expression::Expression;
use crate::graph::secrets;
use crate::graph::template::Failure;
use crate::graph::variables::{CLUSTER, KRO, SCHEMA};
use crate::graph::{Graph, Node, Reference};
use serde_json::Value;
use std::collections::BTreeSet;

/// One object of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Sketch {
    pub object: Value,
    /// The places that expressions filled with something of note.
    pub leaves: Vec<Leaf>,
    /// What decides whether it is made at all, where that is not known: expressions.
    pub only_if: Option<String>,
    /// What it is made for each item of, where those are not known: an expression.
    pub for_each: Option<String>,
}

/// A place, and what its value was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// Keys and positions from the root of the object.
    pub steps: Vec<String>,
    pub origin: Origin,
}

/// What went into a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Only a cluster could tell it: the value is the text of the expression.
    pub waits: bool,
    /// It was read from a Secret.
    pub secret: bool,
    /// Facts of the cluster, as paths below it; an empty one is all of them.
    pub facts: BTreeSet<Vec<String>>,
}

impl Origin {
    fn add(&mut self, other: &Self) {
        self.waits |= other.waits;
        self.secret |= other.secret;
        self.facts.extend(other.facts.iter().cloned());
    }
}

impl Leaf {
    /// Whether one of the places holds the other.
    pub fn overlaps(&self, steps: &[String]) -> bool {
        self.steps.iter().zip(steps).all(|(a, b)| a == b)
    }
}

/// Sketches the nodes of a graph, in their order.
pub struct Sketcher<'g> {
    pass: Pass<'g>,
    /// What the instance was made of, where it was made.
    instance: Vec<Leaf>,
    nodes: Vec<Known>,
}

/// What is known of a node.
#[derive(Default)]
struct Known {
    /// Nothing: only a cluster has it, or says how many there are.
    unknown: bool,
    /// All that a cluster shows of it.
    seen: bool,
    leaves: Vec<Leaf>,
    only_if: Option<String>,
}

/// What a node's iterators were made of; `None` for one that has no value.
type Iterators<'a> = [(&'a str, Option<Origin>)];

/// Only a server writes these fields of `metadata`.
const OF_SERVER: [&str; 4] = ["uid", "creationTimestamp", "deletionTimestamp", "generation"];

impl<'g> Sketcher<'g> {
    /// As a pass begins. `leaves` are places of the instance that something of note was put in.
    pub fn new(graph: &'g Graph, parent: &Value, cluster: &Value, leaves: Vec<Leaf>) -> Self {
        let nodes = graph.nodes.iter().map(|_| Known::default()).collect();
        Self { pass: Pass::new(graph, parent, cluster), instance: leaves, nodes }
    }

    /// The objects of the next node. None, where it is left out, reads only, or makes nothing.
    ///
    /// # Errors
    /// No cluster could make it.
    pub fn node(&mut self, index: usize) -> Result<Vec<Sketch>, EvalError> {
        let Some(node) = self.pass.graph.nodes.get(index) else { return Ok(Vec::new()) };
        let Some(only_if) = self.included(node, index)? else { return Ok(Vec::new()) };
        if node.external.is_some() {
            self.keep(index, Known { unknown: true, only_if, ..Known::default() });
            return Ok(Vec::new());
        }
        let mut sketches = match self.all(node) {
            Ok(sketches) => sketches,
            Err(error) => {
                self.keep(index, Known { unknown: true, only_if, ..Known::default() });
                return Err(error);
            }
        };
        sketches.iter_mut().for_each(|sketch| sketch.only_if.clone_from(&only_if));
        let objects: Vec<&Value> = sketches.iter().map(|sketch| &sketch.object).collect();
        if node.is_collection() {
            let list = Value::Array(objects.iter().map(|o| (*o).clone()).collect());
            self.pass.scope.bind_typed(&node.id, &list, &Type::list(node.object.clone()));
        } else if let Some(object) = objects.first() {
            self.pass.scope.bind_typed(&node.id, object, &node.object);
        }
        self.pass.observed(index, objects.len(), Readiness::Ready);
        let unknown = sketches.iter().any(|sketch| sketch.for_each.is_some());
        let leaves = sketches.iter().flat_map(|sketch| sketch.leaves.clone()).collect();
        self.keep(index, Known { unknown, leaves, only_if, ..Known::default() });
        Ok(sketches)
    }

    /// Takes what a cluster shows of the node that was sketched last: what reads it reads that. Fields that are not there
    /// are not known.
    pub fn see(&mut self, index: usize, objects: &[&Value]) {
        let Some(node) = self.pass.graph.nodes.get(index) else { return };
        if node.is_collection() {
            let list = Value::Array(objects.iter().map(|o| (*o).clone()).collect());
            self.pass.scope.bind_typed(&node.id, &list, &Type::list(node.object.clone()));
        } else if let Some(object) = objects.first() {
            self.pass.scope.bind_typed(&node.id, object, &node.object);
        } else {
            return;
        }
        self.pass.observed(index, objects.len(), Readiness::Ready);
        if let Some(known) = self.nodes.get_mut(index) {
            (known.unknown, known.seen, known.only_if) = (false, true, None);
            known.leaves.iter_mut().for_each(|leaf| leaf.origin.waits = false);
        }
    }

    /// What the places of a node's objects were made of.
    pub fn leaves(&self, index: usize) -> Vec<Leaf> {
        self.nodes.get(index).map(|known| known.leaves.clone()).unwrap_or_default()
    }

    /// What an external reference reads, as far as what it is made of is known.
    ///
    /// # Errors
    /// As [`Pass::reference`].
    pub fn reference(&mut self, index: usize) -> Result<Reference, EvalError> {
        self.pass.reference(index)
    }

    fn keep(&mut self, index: usize, known: Known) {
        if let Some(place) = self.nodes.get_mut(index) {
            *place = known;
        }
    }

    /// `None` where it is left out; else the conditions that nobody knows.
    fn included(&mut self, node: &'g Node, index: usize) -> Result<Option<Option<String>>, EvalError> {
        let of = |at: &usize| self.nodes.get(*at).and_then(|known| known.only_if.clone());
        let mut unknown: BTreeSet<String> = node.dependencies.iter().filter_map(of).collect();
        let waits = node.include_when.iter().any(|e| self.origin(e, &[]).waits);
        let is_out = node.dependencies.iter().any(|d| self.pass.is_included(*d) == Some(false));
        let included = if waits && !is_out { None } else { Some(self.pass.included(index)) };
        match included {
            Some(Ok(false)) => return Ok(None),
            Some(Ok(true)) => {}
            Some(Err(error)) if !error.is_pending() => return Err(error),
            Some(Err(_)) | None => {
                unknown.extend(node.include_when.iter().map(|e| e.text.clone()));
                if let Some(state) = self.pass.nodes.get_mut(index) {
                    state.included = Some(true);
                }
            }
        }
        Ok(Some((!unknown.is_empty()).then(|| unknown.into_iter().collect::<Vec<_>>().join(" and "))))
    }

    fn all(&mut self, node: &'g Node) -> Result<Vec<Sketch>, EvalError> {
        if !node.is_collection() {
            return Ok(vec![self.one(node, &[], &[])?]);
        }
        let origins: Vec<Origin> = node.for_each.iter().map(|d| self.origin(&d.expression, &[])).collect();
        let lists = if origins.iter().any(|o| o.waits) { None } else { Some(self.pass.lists(node)) };
        let lists = match lists {
            Some(Ok(lists)) => lists,
            Some(Err(error)) if !error.is_pending() => return Err(error),
            Some(Err(_)) | None => {
                let iterators: Vec<_> = node.for_each.iter().map(|d| (d.iterator.as_str(), None)).collect();
                let mut sketch = self.one(node, &[], &iterators)?;
                let texts: Vec<&str> = node.for_each.iter().map(|d| d.expression.text.as_str()).collect();
                sketch.for_each = Some(texts.join(" and "));
                return Ok(vec![sketch]);
            }
        };
        if lists.iter().any(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let named = node.for_each.iter().zip(origins);
        let iterators: Vec<_> = named.map(|(d, origin)| (d.iterator.as_str(), Some(origin))).collect();
        let mut sketches = Vec::new();
        for values in combinations(&lists) {
            let items: Vec<Item<'_>> = node.for_each.iter().zip(&values).map(|(d, v)| item(d, v)).collect();
            sketches.push(self.one(node, &items, &iterators)?);
        }
        Ok(sketches)
    }

    fn one(
        &mut self,
        node: &Node,
        items: &[Item<'_>],
        iterators: &Iterators<'_>,
    ) -> Result<Sketch, EvalError> {
        let mut leaves = Vec::new();
        // Each expression once, before the pass is borrowed.
        let mut origins: Vec<Origin> = Vec::new();
        let mut none = |_: &[String], e: &Expression, _: Option<&Type>| {
            origins.push(self.origin(e, iterators));
            Ok(Some(Value::Null))
        };
        let failed = |Failure { path, text, error }: Failure| at(&format!("{path}: {text}"), error);
        node.template.render_at(&mut none).map_err(failed)?;
        let mut origins = origins.into_iter();

        let pass = &mut self.pass;
        let mut own = pass.scope.child();
        for item in items {
            own.bind_typed(item.name, item.value, item.t);
        }
        let (results, budget, scope) = (&mut pass.results, &pass.budget, &pass.scope);
        let mut evaluating =
            Evaluating { results, budget, scope, own: &own, items, instance: &pass.instance };
        let mut eval = |steps: &[String], expression: &Expression, field: Option<&Type>| {
            let mut origin = origins.next().unwrap_or_default();
            let mut value = None;
            if !origin.waits {
                match evaluating.value(expression, field) {
                    Ok(found) => value = found,
                    Err(error) if error.is_pending() => origin.waits = true,
                    Err(error) => return Err(error),
                }
            }
            if origin.waits {
                value = Some(Value::String(expression.text.clone()));
            }
            if origin != Origin::default() {
                leaves.push(Leaf { steps: steps.to_vec(), origin });
            }
            Ok(value)
        };
        let object = node.template.render_at(&mut eval).map_err(failed)?;
        if !leaves.iter().any(|leaf| leaf.origin.waits) {
            can_be(node, &object, "")?;
        }
        Ok(Sketch { object, leaves, only_if: None, for_each: None })
    }

    /// What the value of an expression is made of.
    fn origin(&self, expression: &Expression, iterators: &Iterators<'_>) -> Origin {
        let mut origin = Origin::default();
        for path in expression.program.paths() {
            let Some((root, steps)) = path.steps.split_first() else { continue };
            let of_iterator = iterators.iter().find(|(name, _)| name == root);
            let position = self.pass.graph.nodes.iter().position(|node| node.id == *root);
            match (of_iterator, position) {
                (Some((_, Some(of))), _) => origin.add(of),
                (Some((_, None)), _) => origin.waits = true,
                (None, Some(position)) => self.of_node(position, steps, &mut origin),
                (None, None) if root == SCHEMA => self.of_instance(steps, &mut origin),
                (None, None) if root == CLUSTER => {
                    origin.facts.insert(steps.to_vec());
                }
                (None, None) if root == KRO => {
                    origin.facts.insert(steps.get(1..).unwrap_or_default().to_vec());
                }
                (None, None) => {}
            }
        }
        origin
    }

    fn of_instance(&self, steps: &[String], origin: &mut Origin) {
        for leaf in self.instance.iter().filter(|leaf| leaf.overlaps(steps)) {
            origin.add(&leaf.origin);
        }
        if let [metadata, field, ..] = steps
            && metadata == "metadata"
            && OF_SERVER.contains(&field.as_str())
        {
            let own = self.pass.instance.pointer(&format!("/metadata/{field}"));
            origin.waits |= own.is_none();
        }
    }

    fn of_node(&self, position: usize, steps: &[String], origin: &mut Origin) {
        let (Some(node), Some(known)) = (self.pass.graph.nodes.get(position), self.nodes.get(position))
        else {
            return;
        };
        origin.secret |= secrets::is_secret(node) && !secrets::is_named(steps);
        origin.waits |= known.unknown;
        // All of an object is its status too.
        if !node.is_collection() && !known.seen {
            origin.waits |= steps.first().is_none_or(|first| first == "status");
        }
        let whole = node.is_collection();
        for leaf in known.leaves.iter().filter(|leaf| whole || leaf.overlaps(steps)) {
            origin.add(&leaf.origin);
        }
    }
}
