//! The author's conditions, as far as they can be said.

use super::{EvalError, Pass};
use crate::graph::variables::SCHEMA;
use crate::graph::{AuthorCondition, AuthorConditions};
use serde_json::{Value, json};
use std::collections::BTreeSet;

impl Pass<'_> {
    /// The author's conditions. `own` are the conditions that would be written without them, which
    /// `runtime.condition(schema, …)` reads.
    pub fn conditions(&self, own: &Value) -> AuthorConditions {
        let mut found = AuthorConditions::default();
        let Some(entries) = &self.graph.conditions else { return found };
        let mut instance = self.instance.clone();
        if let Some(instance) = instance.as_object_mut() {
            instance.insert("status".into(), json!({"conditions": own}));
        }
        let mut scope = self.scope.child();
        scope.bind_typed(SCHEMA, &instance, &self.graph.instance);
        for entry in entries {
            let unobserved = self.unobserved(entry).map(|id| EvalError::Pending { message: id });
            let result = match unobserved {
                Some(pending) => Err(pending),
                None => entry.program.eval(&scope, &self.budget),
            };
            match result {
                Ok(Value::Array(items)) => items.iter().for_each(|item| found.take(item, &entry.text)),
                Ok(Value::Null) => {}
                Ok(item) => found.take(&item, &entry.text),
                Err(EvalError::Pending { .. }) => found.incomplete = true,
                Err(EvalError::Fatal { message }) => {
                    found.incomplete = true;
                    found.problems.push(format!("status.conditions: {}: {message}", entry.text));
                }
            }
        }
        found.without_twins()
    }
}

impl AuthorConditions {
    fn take(&mut self, item: &Value, text: &str) {
        let field = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let condition = AuthorCondition {
            type_: field("type"),
            status: field("status"),
            reason: field("reason"),
            message: field("message"),
        };
        let valid = matches!(condition.status.as_str(), "True" | "False" | "Unknown");
        if condition.type_.is_empty() || !valid {
            self.incomplete = true;
            self.problems.push(format!("status.conditions: {text}: gives no condition"));
        } else {
            self.made.push(condition);
        }
    }

    /// Where two entries give one type, neither is taken: nobody can say which is meant.
    fn without_twins(mut self) -> Self {
        let mut seen = BTreeSet::new();
        let twins: BTreeSet<String> =
            self.made.iter().filter(|c| !seen.insert(c.type_.clone())).map(|c| c.type_.clone()).collect();
        self.made.retain(|c| !twins.contains(&c.type_));
        for type_ in twins {
            self.problems.push(format!("status.conditions: type {type_:?} is made more than once"));
        }
        self
    }
}
