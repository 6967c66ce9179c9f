//! The author's own conditions: `status.conditions`.

use super::diagnostic::{Path, Problems, legible};
use super::expression::{Expression, Expressions};
use super::validate::place::{self, Known, Place};
use super::validate::types;
use super::variables::{SCHEMA, Variables};
use crate::cel::{Condition, Type};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Our own conditions, which `runtime.condition(schema, …)` reads.
const OWN: [&str; 4] = ["Ready", "InstanceManaged", "GraphResolved", "ResourcesReady"];
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// What an entry may name, and the types of that.
pub struct Nameable<'a> {
    pub known: &'a Known<'a>,
    pub variables: &'a Variables<'a>,
}

/// Compiles the entries.
pub fn compile(
    entries: &Value,
    path: &Path,
    expressions: &mut Expressions,
    nameable: Nameable<'_>,
    problems: &mut Problems,
) -> Vec<Arc<Expression>> {
    let Some(entries) = entries.as_array() else {
        problems.add_with_help(
            path,
            "conditions is not a list of expressions",
            Some("write a list, each entry one expression: [\"${runtime.newCondition({type: …, status: …})}\"]".into()),
        );
        return Vec::new();
    };
    let decls = nameable.variables.all();
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    let mut compiled = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        let path = path.index(position);
        let Some(text) = entry.as_str() else {
            problems.add(&path, "an entry of conditions is an expression: ${runtime.newCondition({…})}");
            continue;
        };
        let Some(usage) = expressions.standalone(text, &path, problems) else { continue };
        if !place::check(&usage, Place::Condition, nameable.known, problems).wrong
            && let Some(found) = types::of(&usage, decls, problems)
            && !gives_conditions(&found)
        {
            let message =
                format!("{text}: must return a condition or a list of conditions, but returns {found}");
            problems.add_with_help(
                &path,
                legible(&message),
                Some("use runtime.newCondition({type: …, status: …})".into()),
            );
        }
        for condition in usage.expression.program.conditions() {
            match condition {
                Condition::New { kind, status } => {
                    if kind.is_empty() {
                        problems.add(&path, format!("{text}: type must not be empty"));
                    }
                    if status.as_ref().is_some_and(|s| !STATUSES.contains(&s.as_str())) {
                        problems.add(&path, format!("{text}: status must be True, False or Unknown"));
                    }
                    let first = *made.entry(kind.clone()).or_insert(position);
                    if first != position {
                        let message = format!("condition type {kind:?} is made by entry {first} already");
                        problems.add_with_help(&path, message, Some("make it in one entry".into()));
                    }
                }
                Condition::Read { variable, kind } if variable == SCHEMA && !OWN.contains(&kind.as_str()) => {
                    let message = format!("{text}: schema has no condition {kind:?} to read");
                    let help = format!("it has {}; its own conditions cannot be read", OWN.join(", "));
                    problems.add_with_help(&path, message, Some(help));
                }
                Condition::Read { .. } => {}
            }
        }
        compiled.push(usage.expression);
    }
    compiled
}

fn gives_conditions(found: &Type) -> bool {
    match found {
        Type::Opaque("kro.run.Condition") | Type::Dyn => true,
        Type::List(item) | Type::Optional(item) => gives_conditions(item),
        _ => false,
    }
}
