//! The objects that a node wants.

use super::missing::{self, Item};
use super::{EvalError, Pass, Rendered, at, fatal, shared};
use crate::api::naming;
use crate::cel::{Budget, Scope, Type};
use crate::graph::expression::Expression;
use crate::graph::template::Failure;
use crate::graph::{Dimension, Node};
use serde_json::Value;
use std::collections::BTreeMap;

impl<'g> Pass<'g> {
    /// The desired objects of a node, once everything it depends on is ready.
    ///
    /// # Errors
    /// Pending while a dependency is not ready or lacks data; fatal if waiting can not help.
    pub fn render(&mut self, index: usize) -> Result<Vec<Rendered>, EvalError> {
        let Some(node) = self.graph.nodes.get(index) else { return Ok(Vec::new()) };
        if self.is_included(index) == Some(false) {
            return Ok(Vec::new());
        }
        self.may_read(node)?;
        if node.external.is_some() {
            return Ok(Vec::new());
        }
        if !node.is_collection() {
            let object = self.object(node, &[])?;
            can_be(node, &object, "")?;
            return Ok(vec![Rendered { object, item: None }]);
        }
        let lists = self.lists(node)?;
        if lists.iter().any(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let combinations = combinations(&lists);
        let size = combinations.len();
        let mut rendered = Vec::with_capacity(size);
        for (position, values) in combinations.iter().enumerate() {
            let items: Vec<Item<'_>> = node.for_each.iter().zip(values).map(|(d, v)| item(d, v)).collect();
            let object = self.object(node, &items)?;
            can_be(node, &object, &format!(" item {position}"))?;
            rendered.push(Rendered { object, item: Some((position, size)) });
        }
        self.are_distinct(node, &rendered)?;
        Ok(rendered)
    }

    /// Pending until everything that the node depends on is ready.
    pub(super) fn may_read(&self, node: &Node) -> Result<(), EvalError> {
        node.dependencies.iter().try_for_each(|dependency| self.is_ready(*dependency))
    }

    pub(super) fn object(&mut self, node: &Node, items: &[Item<'_>]) -> Result<Value, EvalError> {
        let mut own = self.scope.child();
        for item in items {
            own.bind_typed(item.name, item.value, item.t);
        }
        let (results, budget, scope) = (&mut self.results, &self.budget, &self.scope);
        let mut evaluating =
            Evaluating { results, budget, scope, own: &own, items, instance: &self.instance };
        node.template
            .render(&mut |expression, field| evaluating.value(expression, field))
            .map_err(|Failure { path, text, error }| at(&format!("{path}: {text}"), error))
    }

    /// The lists that the dimensions of a collection give.
    pub(super) fn lists(&mut self, node: &'g Node) -> Result<Vec<Vec<Value>>, EvalError> {
        let mut lists = Vec::new();
        for dimension in &node.for_each {
            let expression = &dimension.expression;
            let place = format!("forEach {}: {}", dimension.iterator, expression.text);
            let result = self.shared(expression);
            match result.map_err(|e| missing::judge(expression, e, &self.instance, &[])) {
                Ok(Value::Array(values)) => lists.push(values),
                Ok(other) => {
                    return Err(fatal(&place, &format!("must return a list, got {}", type_name(&other))));
                }
                Err(error) => return Err(at(&place, error)),
            }
        }
        let size = lists.iter().try_fold(1_usize, |size, list| size.checked_mul(list.len()));
        let most = self.graph.options.collection_size;
        match size {
            Some(size) if size <= most => Ok(lists),
            size => {
                let size = size.map_or_else(|| "too many items".to_owned(), |s| s.to_string());
                let message =
                    format!("collection size of {size} is over the maximum collection size of {most}");
                Err(fatal(&node.id, &message))
            }
        }
    }

    /// Two items must not be the same object.
    pub(super) fn are_distinct(&self, node: &Node, rendered: &[Rendered]) -> Result<(), EvalError> {
        let home = self.instance.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
        let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (position, item) in rendered.iter().enumerate() {
            let text = |pointer| item.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
            let placed = if namespace.is_empty() { home } else { namespace };
            if let Some(first) = seen.insert((placed, name), position) {
                let gvk = &node.gvk;
                let message = format!(
                    "identity collision: duplicate identity: {}/{}/{}/{namespace}/{name} (items {first} and {position})",
                    gvk.group, gvk.version, gvk.kind
                );
                return Err(fatal(&node.id, &message));
            }
        }
        Ok(())
    }
}

/// What the expressions of one object are evaluated with.
pub(super) struct Evaluating<'a> {
    pub results: &'a mut [Option<Result<Value, EvalError>>],
    pub budget: &'a Budget,
    pub scope: &'a Scope<'static>,
    /// The scope, and the iterators of the object.
    pub own: &'a Scope<'a>,
    pub items: &'a [Item<'a>],
    pub instance: &'a Value,
}

impl Evaluating<'_> {
    pub fn value(
        &mut self,
        expression: &Expression,
        field: Option<&Type>,
    ) -> Result<Option<Value>, EvalError> {
        let Self { budget, scope, own, items, instance, .. } = *self;
        let program = &expression.program;
        let result = match field {
            Some(field) => program.eval_into(own, budget, field),
            None if program.functions().contains("omit") => program.eval_or_omit(own, budget),
            None if items.iter().any(|i| expression.reads(i.name)) => program.eval(own, budget).map(Some),
            None => shared(self.results, expression, scope, budget).map(Some),
        };
        result.map_err(|error| missing::judge(expression, error, instance, items))
    }
}

/// Refuses a name or namespace that no object can have, so that no API server is asked for it.
pub(super) fn can_be(node: &Node, object: &Value, item: &str) -> Result<(), EvalError> {
    let field = |name: &str| object.pointer(&format!("/metadata/{name}")).filter(|v| !v.is_null());
    let refuse = |name: &str, why: &str| fatal(&format!("{}{item}: metadata.{name}", node.id), why);
    match field("name").map(Value::as_str) {
        Some(Some(name)) => {
            naming::object(&node.gvk.group_kind(), name).map_err(|why| refuse("name", why))?;
        }
        Some(None) => return Err(refuse("name", "must give a string")),
        None => return Err(refuse("name", "gives no name")),
    }
    match field("namespace").map(Value::as_str) {
        None | Some(Some("")) => Ok(()),
        Some(Some(namespace)) => naming::namespace(namespace).map_err(|why| refuse("namespace", why)),
        Some(None) => Err(refuse("namespace", "must give a string")),
    }
}

pub(super) fn item<'a>(dimension: &'a Dimension, value: &'a Value) -> Item<'a> {
    Item { name: &dimension.iterator, value, t: &dimension.item, of_instance: dimension.of_instance }
}

/// The cartesian product, the first list outermost.
pub(super) fn combinations(lists: &[Vec<Value>]) -> Vec<Vec<Value>> {
    lists.iter().fold(vec![Vec::new()], |so_far, list| {
        let longer = |head: &Vec<Value>| {
            let head = head.clone();
            list.iter().map(move |value| head.iter().chain([value]).cloned().collect()).collect::<Vec<_>>()
        };
        so_far.iter().flat_map(longer).collect()
    })
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}
