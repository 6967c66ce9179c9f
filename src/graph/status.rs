//! The author's status: its expressions, and the OpenAPI of what they give.

use super::conditions::{self, Nameable};
use super::diagnostic::{Path, Problems};
use super::expression::{Expression, Expressions, Use};
use super::template::Template;
use super::validate::place::{self, Known, Place};
use super::validate::types;
use super::variables::{CLUSTERS, KRO, Variables};
use crate::api::maps::HashMap;
use crate::cel::template::{Text, split};
use crate::cel::{Type, unescape_field};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Default)]
pub struct Status {
    /// The author's fields. Each is evaluated and written by itself.
    pub fields: BTreeMap<String, Template>,
    /// The fields that read `kro.clusters`: they are computed once for all clusters.
    pub over_all: BTreeMap<String, Template>,
    /// OpenAPI of the author's part.
    pub schema: Value,
    /// `Some` if the author's conditions take the place of ours.
    pub conditions: Option<Vec<Arc<Expression>>>,
}

/// Fields that the controller itself writes.
const STATE: &str = "state";
const CONDITIONS: &str = "conditions";
const FLEET: &str = "fleet";
/// Fields that the controller writes even if the author declares one of that name, and their types.
const WRITTEN: [(&str, &str); 2] = [(STATE, "string"), ("observedGeneration", "integer")];

pub fn compile(
    status: &Value,
    expressions: &mut Expressions,
    known: &Known<'_>,
    variables: &Variables<'_>,
    problems: &mut Problems,
) -> Status {
    let path = Path::of(&["spec", "schema", "status"]);
    let mut found = Status::default();
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
        if name == FLEET {
            problems.add_with_help(
                &path,
                format!("status.{FLEET} is written by kro-hub itself, a definition cannot declare it"),
                Some("give the field another name".to_owned()),
            );
            continue;
        }
        if name == CONDITIONS {
            let entries =
                conditions::compile(value, &path, expressions, Nameable { known, variables }, problems);
            found.conditions = Some(entries).filter(|e| !e.is_empty());
            continue;
        }
        let (template, uses) = expressions.read(value, &path, problems);
        if let Some(bare) = first_literal(&template, value, &path) {
            problems.add(&bare, format!("status fields without expressions are not supported: [{bare}]"));
        }
        // An empty map or list says nothing, so it gets no schema.
        if template.is_literal() {
            continue;
        }
        let mut types = Types::default();
        for usage in &uses {
            types.insert(usage.expression.slot, type_of(usage, known, variables, problems));
        }
        let declared = schema(&template, &types);
        if let Some((_, type_)) = WRITTEN.iter().find(|(n, t)| n == name && !holds(&declared, t)) {
            problems.add_with_help(
                &path,
                format!(
                    "status.{name} is written by the controller, as {type_}; declared as anything else, no status could be written"
                ),
                Some("give the field another name".to_owned()),
            );
        }
        properties.insert(name.clone(), declared);
        if name != STATE {
            let over_all = uses.iter().any(|u| reads_clusters(&u.expression));
            let fields = if over_all { &mut found.over_all } else { &mut found.fields };
            fields.insert(name.clone(), template);
        }
    }
    found.schema = json!({"type": "object", "properties": properties});
    found
}

/// Whether a field of this schema can hold what the controller writes.
fn holds(schema: &Value, type_: &str) -> bool {
    schema.get("type").is_none_or(|t| t == type_) && schema.get("format").is_none()
}

/// Whether an expression is about all clusters together.
fn reads_clusters(expression: &Expression) -> bool {
    expression.program.paths().iter().any(|path| match path.steps.as_slice() {
        [first] => first == KRO,
        [first, second, ..] => first == KRO && second == CLUSTERS,
        [] => false,
    })
}

/// The OpenAPI of each expression's result, by the expression's slot.
type Types = HashMap<usize, Value>;

fn type_of(usage: &Use, known: &Known<'_>, variables: &Variables<'_>, problems: &mut Problems) -> Value {
    let text = &usage.expression.text;
    if place::check(usage, Place::Status, known, problems).wrong {
        return anything();
    }
    if usage.expression.program.variables().is_empty() {
        problems
            .add(&usage.path, format!("{text}: instance status field must refer to a resource or schema"));
        return anything();
    }
    if reads_clusters(&usage.expression) {
        let others = |v: &&String| !["schema", KRO].contains(&v.as_str());
        if let Some(other) = usage.expression.program.variables().iter().find(others) {
            let message = format!(
                "{text}: what reads {KRO}.{CLUSTERS} is said once for all clusters, it cannot read {other}"
            );
            let help =
                format!("read it by cluster: a status field of its own, then {KRO}.{CLUSTERS}[…].status");
            problems.add_with_help(&usage.path, message, Some(help));
            return anything();
        }
    }
    let Some(found) = types::of(usage, &variables.over_all(), problems) else { return anything() };
    infer(&found, true)
}

/// What kro declares for a type. `top`: it is the type of a whole field, not a part of one.
fn infer(t: &Type, top: bool) -> Value {
    match t.plain() {
        Type::Bool => json!({"type": "boolean"}),
        Type::Int | Type::Uint => json!({"type": "integer"}),
        Type::Double => json!({"type": "number"}),
        Type::String => json!({"type": "string"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Timestamp if top => json!({"type": "string", "format": "date-time"}),
        Type::List(item) => json!({"type": "array", "items": infer(item, false)}),
        Type::Map(_, value) => json!({"type": "object", "additionalProperties": infer(value, false)}),
        Type::Struct(s) => {
            let fields = s.fields.iter().map(|(name, t)| (unescape_field(name), infer(t, false)));
            let mut schema = json!({"type": "object", "properties": fields.collect::<Map<_, _>>()});
            if s.open
                && let Some(schema) = schema.as_object_mut()
            {
                schema.insert("x-kubernetes-preserve-unknown-fields".into(), Value::Bool(true));
            }
            schema
        }
        Type::Duration | Type::Optional(_) | Type::Opaque(_) | Type::Type(_) => {
            let mut schema = anything();
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("description".into(), format!("unknown CEL type: {t}").into());
            }
            schema
        }
        _ => anything(),
    }
}

/// The first leaf that no expression fills.
fn first_literal(template: &Template, value: &Value, path: &Path) -> Option<Path> {
    match (template, value) {
        (Template::Expression(_) | Template::Encoded(..), _) => None,
        (Template::Map(fields), Value::Object(values)) => fields.iter().find_map(|(key, field)| {
            first_literal(field, values.get(key).unwrap_or(&Value::Null), &path.key(key))
        }),
        (Template::List(items), Value::Array(values)) => items
            .iter()
            .enumerate()
            .find_map(|(i, item)| first_literal(item, values.get(i).unwrap_or(&Value::Null), &path.index(i))),
        (_, Value::Object(values)) => values
            .iter()
            .find_map(|(key, value)| first_literal(&Template::Literal(value.clone()), value, &path.key(key))),
        (_, Value::Array(values)) => values
            .iter()
            .enumerate()
            .find_map(|(i, value)| first_literal(&Template::Literal(value.clone()), value, &path.index(i))),
        // A text that failed to compile has a problem of its own already.
        (_, Value::String(text)) if !matches!(split(text), Ok(Text::Literal(_))) => None,
        _ => Some(path.clone()),
    }
}

fn schema(template: &Template, types: &Types) -> Value {
    match template {
        Template::Literal(_) => anything(),
        Template::Expression(e) | Template::Encoded(e, _) => {
            types.get(&e.slot).cloned().unwrap_or_else(anything)
        }
        Template::Map(fields) => {
            let properties: Map<String, Value> = fields
                .iter()
                .filter(|(_, field)| !field.is_literal())
                .map(|(k, field)| (k.clone(), schema(field, types)))
                .collect();
            json!({"type": "object", "properties": properties})
        }
        Template::List(items) => {
            let mut items = items.iter().map(|item| schema(item, types));
            let first = items.next().unwrap_or_else(anything);
            let same = items.all(|item| item == first);
            json!({"type": "array", "items": if same { first } else { anything() }})
        }
    }
}

fn anything() -> Value {
    json!({"x-kubernetes-preserve-unknown-fields": true})
}
