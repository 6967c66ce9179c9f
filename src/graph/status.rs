//! The author's status: its expressions, and the OpenAPI of what they give.

use super::diagnostic::{Path, Problems};
use super::evident;
use super::expression::Expressions;
use super::template::Template;
use super::validate::place::{self, Known, Place};
use crate::cel::template::{Text, split};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Status {
    /// What is written, by field. Each field stands alone.
    pub fields: BTreeMap<String, Template>,
    /// OpenAPI of the author's part.
    pub schema: Value,
}

/// Fields that the controller itself writes.
const STATE: &str = "state";
const CONDITIONS: &str = "conditions";

pub fn compile(
    status: &Value,
    expressions: &mut Expressions,
    known: &Known<'_>,
    problems: &mut Problems,
) -> Status {
    let path = Path::of(&["spec", "schema", "status"]);
    let mut fields = BTreeMap::new();
    let mut properties = Map::new();
    let declared = match status {
        Value::Null => None,
        Value::Object(declared) => Some(declared),
        _ => {
            problems.add(&path, "status is not a map");
            None
        }
    };
    for (name, value) in declared.into_iter().flatten() {
        let path = path.key(name);
        if name == CONDITIONS {
            problems.add(&path, "custom conditions (status.conditions) are not supported yet");
            continue;
        }
        let (template, uses) = expressions.read(value, &path, problems);
        if let Some(bare) = first_literal(&template, value, &path) {
            problems.add(&bare, format!("status fields without expressions are not supported: [{bare}]"));
        }
        for usage in &uses {
            place::check(usage, Place::Status, known, problems);
            if usage.expression.program.variables().is_empty() {
                problems.add(
                    &usage.path,
                    format!(
                        "{}: instance status field must refer to a resource or schema",
                        usage.expression.text
                    ),
                );
            }
        }
        properties.insert(name.clone(), schema(&template, known));
        if name != STATE {
            fields.insert(name.clone(), template);
        }
    }
    Status { fields, schema: json!({"type": "object", "properties": properties}) }
}

/// The first leaf that no expression fills.
fn first_literal(template: &Template, value: &Value, path: &Path) -> Option<Path> {
    match (template, value) {
        (Template::Expression(_), _) => None,
        (Template::Map(fields), Value::Object(values)) => fields.iter().find_map(|(key, field)| {
            first_literal(field, values.get(key).unwrap_or(&Value::Null), &path.key(key))
        }),
        (Template::List(items), Value::Array(values)) => items
            .iter()
            .enumerate()
            .find_map(|(i, item)| first_literal(item, values.get(i).unwrap_or(&Value::Null), &path.index(i))),
        (_, Value::Object(values)) if !values.is_empty() => values
            .iter()
            .find_map(|(key, value)| first_literal(&Template::Literal(value.clone()), value, &path.key(key))),
        (_, Value::Array(values)) if !values.is_empty() => values
            .iter()
            .enumerate()
            .find_map(|(i, value)| first_literal(&Template::Literal(value.clone()), value, &path.index(i))),
        // A text that failed to compile has a problem of its own already.
        (_, Value::String(text)) if !matches!(split(text), Ok(Text::Literal(_))) => None,
        _ => Some(path.clone()),
    }
}

fn schema(template: &Template, known: &Known<'_>) -> Value {
    match template {
        Template::Literal(_) => anything(),
        Template::Expression(e) if !e.is_standalone() => json!({"type": "string"}),
        Template::Expression(e) => match evident::of(e.program.source(), known.schemas) {
            Some(found) => evident::shape(&found),
            None => anything(),
        },
        Template::Map(fields) => {
            let properties: Map<String, Value> =
                fields.iter().map(|(k, field)| (k.clone(), schema(field, known))).collect();
            json!({"type": "object", "properties": properties})
        }
        Template::List(items) => {
            let mut items = items.iter().map(|item| schema(item, known));
            let first = items.next().unwrap_or_else(anything);
            let same = items.all(|item| item == first);
            json!({"type": "array", "items": if same { first } else { anything() }})
        }
    }
}

fn anything() -> Value {
    json!({"x-kubernetes-preserve-unknown-fields": true})
}
