//! Which variables and functions an expression may use where it stands.

use crate::api::keys::hub;
use crate::cel::Libraries;
use crate::graph::diagnostic::{Problems, backslash, suggestion};
use crate::graph::expression::Use;
use crate::graph::variables::{CLUSTER, EACH, KRO, RESTLESS, SCHEMA};
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
    /// The node's own id, and `each` where it is a list.
    ReadyWhen {
        own: &'a str,
        each: bool,
        id: bool,
    },
    Status,
    /// `status.conditions`
    Condition,
    /// A patch of the instance for one cluster.
    Override,
}

/// What the definition has to say about names and functions.
pub struct Known<'a> {
    pub ids: &'a BTreeSet<&'a str>,
    /// kro's feature gate for `omit()` is on.
    pub omit: bool,
}

/// The resources that an expression reads and may read.
#[derive(Debug, Default)]
pub struct Reads {
    pub ids: BTreeSet<String>,
    /// The expression reads what it must not. Its type is of no use then.
    pub wrong: bool,
}

/// Checks one expression.
pub fn check(usage: &Use, place: Place<'_>, known: &Known<'_>, problems: &mut Problems) -> Reads {
    let text = &usage.expression.text;
    let mut reads = Reads::default();
    let mut unknown: Vec<&str> = Vec::new();
    let mut add = |message: String, help: Option<String>| {
        problems.add_with_help(&usage.path, format!("{text}: {message}"), help);
    };
    let mut wrong = false;
    for field in usage.expression.program.paths().iter().filter_map(|p| restless(&p.steps)) {
        wrong = true;
        let of = match place {
            Place::Template { own, .. } | Place::ForEach { own, .. } | Place::IncludeWhen { own } => {
                format!("resource {own:?} reads ")
            }
            _ => String::new(),
        };
        let why =
            "changes with every write of the instance, also of its status: what reads it never comes to rest";
        add(format!("{of}{SCHEMA}.metadata.{field}, which {why}"), Some(INSTEAD.to_owned()));
    }
    for variable in usage.expression.program.variables() {
        let variable = variable.as_str();
        match (place, variable) {
            (Place::ReadyWhen { own, id, .. }, v) if v == own && id => {}
            (Place::ReadyWhen { each: true, .. }, EACH) => {}
            (Place::ReadyWhen { .. }, v) => unknown.push(v),
            (Place::Template { iterators, .. }, v) if iterators.iter().any(|i| i == v) => {}
            (Place::ForEach { iterators, .. }, v) if iterators.iter().any(|i| i == v) => {
                wrong = true;
                add(format!("forEach cannot reference other iterators: [{v}]"), None);
            }
            (_, SCHEMA) => {}
            (Place::Template { own, .. } | Place::ForEach { own, .. } | Place::IncludeWhen { own }, v)
                if v == own =>
            {
                wrong = true;
                add(format!("self references are not allowed: {v} reads itself"), None);
            }
            (_, v) if known.ids.contains(v) => {
                reads.ids.insert(v.to_owned());
            }
            (_, CLUSTER | KRO) => {}
            (_, v) => unknown.push(v),
        }
    }
    for function in usage.expression.program.functions() {
        if let Some((message, help)) = misplaced(function, place, known) {
            wrong = true;
            add(message, help);
        }
    }
    if !unknown.is_empty() {
        wrong = true;
        add(
            format!("references unknown identifiers: [{}]", unknown.join(" ")),
            help(text, &unknown, place, known),
        );
    }
    reads.wrong = wrong;
    reads
}

/// The field of `schema.metadata` that may not be read.
fn restless(steps: &[String]) -> Option<&str> {
    let [variable, metadata, field, ..] = steps else { return None };
    let hidden = RESTLESS.contains(&field.as_str());
    (variable == SCHEMA && metadata == "metadata" && hidden).then_some(field)
}

/// What to read in the place of a field of `schema.metadata` that no expression sees.
pub const INSTEAD: &str =
    "read schema.metadata.uid for what is unique, or the fields of schema.spec for what changes";

/// Functions that not every place has.
fn misplaced(function: &str, place: Place<'_>, known: &Known<'_>) -> Option<(String, Option<String>)> {
    match (function, place) {
        (f, place) if f.starts_with("runtime.") => (!matches!(place, Place::Condition))
            .then(|| ("runtime is only available in status.conditions expressions".to_owned(), None)),
        ("omit", _) if !known.omit => {
            let help = "start the controller with --feature-gates=CELOmitFunction=true".to_owned();
            Some(("omit() requires the CELOmitFunction feature gate to be enabled".to_owned(), Some(help)))
        }
        ("omit", Place::Template { .. }) => None,
        ("omit", _) => Some(("omit() can only be used in resource template expressions".to_owned(), None)),
        _ => None,
    }
}

fn help(text: &str, unknown: &[&str], place: Place<'_>, known: &Known<'_>) -> Option<String> {
    if let Some(help) = backslash(text, None) {
        return Some(help);
    }
    let first = unknown.first()?;
    match place {
        Place::ReadyWhen { id: true, own, .. } => return Some(format!("readyWhen can read {own} alone")),
        Place::ReadyWhen { .. } => return Some(format!("readyWhen can read {EACH} alone")),
        _ => {}
    }
    if ["spec", "metadata"].contains(first) {
        return Some(format!("the instance is called schema: schema.{first}"));
    }
    if Libraries::parse(first).is_ok() {
        return Some(format!("ask for the library with the annotation {}: {first}", hub::CEL_LIBRARIES));
    }
    let iterators: &[String] = match place {
        Place::Template { iterators, .. } => iterators,
        _ => &[],
    };
    let candidates = known.ids.iter().copied().chain(iterators.iter().map(String::as_str));
    suggestion(first, candidates.chain([SCHEMA]))
}
