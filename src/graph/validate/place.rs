//! Which variables an expression may read where it stands, which fields it may follow, and which type it must have.

use super::fields::{self, Reason};
use crate::graph::diagnostic::{Problems, suggestion};
use crate::graph::evident::{self, Schemas};
use crate::graph::expression::Use;
use serde_json::Value;
use std::collections::BTreeSet;

/// Where an expression stands.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    Template {
        own: &'a str,
        iterators: &'a [String],
    },
    ForEach {
        own: &'a str,
        iterators: &'a [String],
    },
    IncludeWhen {
        own: &'a str,
    },
    /// The one variable: the node's own id, or `each`.
    ReadyWhen {
        variable: &'a str,
    },
    Status,
}

/// What every place can know.
pub struct Known<'a> {
    pub ids: &'a BTreeSet<&'a str>,
    /// Ids of Secrets.
    pub secrets: &'a BTreeSet<&'a str>,
    /// Schemas of `schema`, and of iterators where they are known.
    pub schemas: &'a Schemas,
}

/// Checks one expression; gives the ids that it reads.
pub fn check(usage: &Use, place: Place<'_>, known: &Known<'_>, problems: &mut Problems) -> BTreeSet<String> {
    let text = &usage.expression.text;
    let mut reads = BTreeSet::new();
    let mut unknown: Vec<&str> = Vec::new();
    for variable in usage.expression.program.variables() {
        let variable = variable.as_str();
        match (place, variable) {
            (Place::ReadyWhen { variable: own }, v) if v == own => {}
            (Place::ReadyWhen { .. }, v) => unknown.push(v),
            (Place::Template { iterators, .. }, v) if iterators.iter().any(|i| i == v) => {}
            (Place::ForEach { iterators, .. }, v) if iterators.iter().any(|i| i == v) => {
                problems.add(&usage.path, format!("{text}: forEach cannot reference other iterators: [{v}]"));
            }
            (_, "schema") => {}
            (Place::Template { own, .. } | Place::ForEach { own, .. } | Place::IncludeWhen { own }, v)
                if v == own =>
            {
                let message = format!("{text}: self references are not allowed: {v} reads itself");
                problems.add(&usage.path, message);
            }
            (_, v) if known.ids.contains(v) => {
                reads.insert(v.to_owned());
            }
            (_, "cluster" | "kro") => {
                problems.add(&usage.path, format!("{text}: {variable} is not supported yet"));
            }
            (_, v) => unknown.push(v),
        }
    }
    if usage.expression.program.functions().iter().any(|f| f.starts_with("runtime.")) {
        problems.add(
            &usage.path,
            format!(
                "{text}: runtime is only available in status.conditions expressions, and those are not supported yet"
            ),
        );
    }
    if !unknown.is_empty() {
        let message = format!("{text}: references unknown identifiers: [{}]", unknown.join(" "));
        problems.add_with_help(&usage.path, message, help(&unknown, place, known));
    }
    follow(usage, known.schemas, problems);
    parts_are_texts(usage, known.schemas, problems);
    secret_values(usage, known, problems);
    reads
}

fn help(unknown: &[&str], place: Place<'_>, known: &Known<'_>) -> Option<String> {
    let first = unknown.first()?;
    if let Place::ReadyWhen { variable } = place {
        return Some(format!("readyWhen can read {variable} alone"));
    }
    if ["spec", "metadata"].contains(first) {
        return Some(format!("the instance is called schema: schema.{first}"));
    }
    let iterators: &[String] = match place {
        Place::Template { iterators, .. } => iterators,
        _ => &[],
    };
    let candidates = known.ids.iter().copied().chain(iterators.iter().map(String::as_str));
    suggestion(first, candidates.chain(["schema"]))
}

/// Every path into something with a schema must exist there.
fn follow(usage: &Use, schemas: &Schemas, problems: &mut Problems) {
    for path in usage.expression.program.paths() {
        let Some((variable, steps)) = path.steps.split_first() else { continue };
        let Some(schema) = schemas.get(variable) else { continue };
        let Err(lost) = fields::find(schema, steps) else { continue };
        let Some(field) = steps.get(lost.depth) else { continue };
        let mut parent = vec![variable.as_str()];
        parent.extend(steps.iter().take(lost.depth).map(String::as_str));
        let parent = parent.join(".");
        let text = &usage.expression.text;
        match lost.reason {
            Reason::Undefined(fields) => problems.add_with_help(
                &usage.path,
                format!("{text}: undefined field '{field}' in {parent}"),
                suggestion(field, fields.iter().copied()).or_else(|| {
                    (variable == "schema")
                        .then(|| format!("declare it in spec.schema, or read what {parent} has"))
                }),
            ),
            Reason::NotAnObject(found) => problems.add(
                &usage.path,
                format!(
                    "{text}: type '{}' of {parent} does not support field selection ('{field}')",
                    evident::name(found)
                ),
            ),
        }
    }
}

/// Expressions inside a text are joined to it, so each must give a string.
fn parts_are_texts(usage: &Use, schemas: &Schemas, problems: &mut Problems) {
    for part in &usage.expression.parts {
        let Some(found) = evident::of(part, schemas).map(|t| evident::name(&t)) else { continue };
        if found != "string" {
            problems.add_with_help(
                &usage.path,
                format!(
                    "{}: found no matching overload for '_+_': the expression {} returns type {found:?}, not \"string\"",
                    usage.expression.text,
                    part.trim()
                ),
                Some(format!("write ${{string({})}}", part.trim())),
            );
        }
    }
}

/// In kro the values of a Secret's data are decoded bytes. Computing with the encoded text instead would give another
/// result without a word; copying it is the same.
fn secret_values(usage: &Use, known: &Known<'_>, problems: &mut Problems) {
    let copied = usage.expression.is_standalone().then(|| usage.expression.program.source().trim());
    for path in usage.expression.program.paths() {
        let [id, data, _, ..] = path.steps.as_slice() else { continue };
        let reads_value = known.secrets.contains(id.as_str()) && data == "data" && !path.tested;
        if reads_value && copied != Some(path.steps.join(".").as_str()) {
            problems.add_with_help(
                &usage.path,
                format!(
                    "{}: computing with values of a Secret ({id}) is not supported yet",
                    usage.expression.text
                ),
                Some(format!("copy them as they are: ${{{id}.data}}")),
            );
        }
    }
}

/// A condition must give a bool.
pub fn is_condition(usage: &Use, what: &str, schemas: &Schemas, problems: &mut Problems) {
    if let Some(found) = evident_name(usage, schemas).filter(|t| t != "bool") {
        problems.add(
            &usage.path,
            format!(
                "{what} expression {} must return bool or optional_type(bool), but returns {found}",
                usage.expression.text
            ),
        );
    }
}

/// A dimension must give a list. What its items look like, where that is known.
pub fn items(usage: &Use, schemas: &Schemas, problems: &mut Problems) -> Option<Value> {
    let found = evident::of(usage.expression.program.source(), schemas)?;
    if found.get("type").and_then(Value::as_str) != Some("array") {
        let message = format!(
            "forEach expression {} must return a list, got {}",
            usage.expression.text,
            evident::name(&found)
        );
        let keys = found.get("additionalProperties").is_some();
        let keys = keys
            .then(|| format!("for its keys write {}.map(k, k)", usage.expression.program.source().trim()));
        problems.add_with_help(&usage.path, message, keys);
        return None;
    }
    found.get("items").cloned()
}

fn evident_name(usage: &Use, schemas: &Schemas) -> Option<String> {
    let found = evident::of(usage.expression.program.source(), schemas)?;
    Some(evident::name(&found))
}
