//! The author's status fields: each as far as its data is there.

use super::{EvalError, Pass};
use crate::cel::{Budget, Scope};
use crate::graph::Graph;
use crate::graph::expression::Expression;
use crate::graph::template::Template;
use crate::graph::variables::{CLUSTERS, KRO, SCHEMA};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Enough for some operations on each of a thousand clusters.
const HUB_STEPS: u64 = 200_000;

impl Pass<'_> {
    /// The fields that can be computed now, and the problems of fields that never can. A field without data is left
    /// out.
    pub fn status(&self) -> (Map<String, Value>, Vec<String>) {
        self.all_of(&self.graph.status)
    }

    /// The fields that are computed once for all clusters.
    pub(in crate::graph) fn over_all(
        graph: &Graph,
        instance: &Value,
        clusters: &Value,
    ) -> (Map<String, Value>, Vec<String>) {
        let mut pass = Pass::new(graph, instance, &Value::Null);
        // The statuses of other instances that read all clusters wait for this.
        pass.budget = Budget::new(HUB_STEPS, HUB_STEPS);
        pass.scope.bind(KRO, &json!({CLUSTERS: clusters}));
        pass.all_of(&graph.over_all)
    }

    fn all_of(&self, templates: &BTreeMap<String, Template>) -> (Map<String, Value>, Vec<String>) {
        let mut scope = self.scope.child();
        let instance = self.instance.clone();
        scope.bind_typed(SCHEMA, &instance, &self.graph.instance);
        let mut fields = Map::new();
        let mut problems = Vec::new();
        for (name, template) in templates {
            if let Some(value) = self.project(template, &format!("status.{name}"), &scope, &mut problems) {
                fields.insert(name.clone(), value);
            }
        }
        (fields, problems)
    }

    /// The value of a template; `None` while nothing of it can be computed. A map is written with the entries that it
    /// has. A list is written only whole, since a hole would shift its meaning.
    fn project(
        &self,
        template: &Template,
        path: &str,
        scope: &Scope<'_>,
        problems: &mut Vec<String>,
    ) -> Option<Value> {
        match template {
            // An empty map or list says nothing.
            Template::Literal(_) => None,
            Template::Expression(expression) | Template::Encoded(expression, _) => {
                match self.field(expression, scope) {
                    Ok(value) => Some(value).filter(|v| !v.is_null()),
                    Err(EvalError::Pending { .. }) => None,
                    Err(EvalError::Fatal { message }) => {
                        problems.push(format!("{path}: {}: {message}", expression.text));
                        None
                    }
                }
            }
            Template::Map(fields) => {
                let mut map = Map::new();
                for (key, field) in fields {
                    if let Some(value) = self.project(field, &format!("{path}.{key}"), scope, problems) {
                        map.insert(key.clone(), value);
                    }
                }
                Some(Value::Object(map)).filter(|m| m.as_object().is_some_and(|m| !m.is_empty()))
            }
            Template::List(items) => {
                let items = items.iter().enumerate();
                let values: Vec<Option<Value>> = items
                    .map(|(i, item)| self.element(item, &format!("{path}[{i}]"), scope, problems))
                    .collect();
                values.into_iter().collect::<Option<Vec<Value>>>().map(Value::Array)
            }
        }
    }

    /// An element of a list: a map counts only when all of it is there.
    fn element(
        &self,
        template: &Template,
        path: &str,
        scope: &Scope<'_>,
        problems: &mut Vec<String>,
    ) -> Option<Value> {
        match template {
            Template::Map(fields) => {
                let fields: Vec<Option<(String, Value)>> = fields
                    .iter()
                    .map(|(key, field)| {
                        Some((key.clone(), self.element(field, &format!("{path}.{key}"), scope, problems)?))
                    })
                    .collect();
                fields.into_iter().collect::<Option<Map<_, _>>>().map(Value::Object)
            }
            Template::Literal(value) => Some(value.clone()),
            other => self.project(other, path, scope, problems),
        }
    }

    /// A resource that the expression reads and that was not seen yet.
    pub(super) fn unobserved(&self, expression: &Expression) -> Option<String> {
        let mut nodes = self.graph.nodes.iter().zip(&self.nodes);
        let found = nodes.find(|(node, state)| !state.observed && expression.reads(&node.id));
        found.map(|(node, _)| node.id.clone())
    }

    fn field(&self, expression: &Expression, scope: &Scope<'_>) -> Result<Value, EvalError> {
        if let Some(id) = self.unobserved(expression) {
            return super::pending(format!("{id} is not observed"));
        }
        match self.results.get(expression.slot) {
            Some(Some(known)) => known.clone(),
            _ => expression.program.eval(scope, &self.budget),
        }
    }
}
