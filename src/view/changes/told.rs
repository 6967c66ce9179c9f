//! How an object differs, told twice: as it is on its cluster, and with the facts of the cluster by their names. Clusters
//! whose second telling is the same are one group.

use super::fields::{Place, differences};
use super::{Action, Change, Field, Told};
use crate::graph::Leaf;
use serde_json::Value;
use std::collections::BTreeSet;

/// An object before or after.
#[derive(Clone, Copy)]
pub struct Half<'a> {
    pub object: &'a Value,
    /// What its places were made of.
    pub leaves: &'a [Leaf],
    /// What `kro.cluster` is.
    pub cluster: &'a Value,
    /// What decides whether it is made, or how often, where nobody knows.
    pub only_if: Option<&'a str>,
}

/// What a change is called beside its fields.
#[derive(Clone, Copy)]
pub struct Named<'a> {
    pub node: &'a str,
    /// Why an object goes.
    pub gone: &'a str,
}

/// What it is that makes an object itself: no field of a change.
const IDENTITY: [&str; 4] = ["apiVersion", "kind", "metadata.name", "metadata.namespace"];
/// Where an object that is only made under a condition says so.
const ONLY_IF: &str = "(only if)";

/// What changes; `None` where nothing does.
pub fn change<'a>(of: Named<'_>, before: Option<Half<'a>>, after: Option<Half<'a>>) -> Option<Told<Change>> {
    let (old, new) = (before.as_ref().map(|half| half.object), after.as_ref().map(|half| half.object));
    let mut fields: Vec<Told<Field>> = Vec::new();
    for found in differences(old, new) {
        if (old.is_none() || new.is_none()) && IDENTITY.contains(&found.path.as_str()) {
            continue;
        }
        let old = found.before.as_ref().zip(before);
        let new = found.after.as_ref().zip(after);
        fields.push(field(&found.path, old, new));
    }
    let condition = |half: Option<Half<'_>>| half.and_then(|half| half.only_if).map(Value::from);
    let (was, is) = (condition(before), condition(after));
    if was != is {
        let field = Field { path: ONLY_IF.into(), before: was, after: is, live: true, ..Field::default() };
        fields.push(Told::same(field));
    }
    let action = match (old, new) {
        (None, None) => return None,
        (None, Some(_)) => Action::Create,
        (Some(_), None) => Action::Delete,
        (Some(_), Some(_)) if fields.is_empty() => return None,
        (Some(_), Some(_)) => Action::Update,
    };
    // What goes is told by its name: its fields go with it.
    if action == Action::Delete {
        fields.clear();
    }
    let half = after.or(before)?;
    let reason = if action == Action::Delete { of.gone } else { "" };
    let text = |pointer: &str| half.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let named = |namespace: String, name: String, fields: Vec<Field>| Change {
        node: of.node.to_owned(),
        api_version: text("/apiVersion").to_owned(),
        kind: text("/kind").to_owned(),
        namespace,
        name,
        action,
        reason: reason.to_owned(),
        fields,
    };
    let (shown, neutral) = fields.into_iter().map(|told| (told.shown, told.neutral)).unzip();
    let (namespace, name) = half.named();
    Some(Told {
        shown: named(text("/metadata/namespace").into(), text("/metadata/name").into(), shown),
        neutral: named(namespace, name, neutral),
    })
}

impl Half<'_> {
    /// The places in or around one.
    fn leaves_at<'s>(&'s self, steps: &'s [String]) -> impl Iterator<Item = &'s Leaf> {
        self.leaves.iter().filter(move |leaf| leaf.overlaps(steps))
    }

    /// Whether what stands there must not be shown.
    fn is_secret(&self, steps: &[String]) -> bool {
        let text = |pointer: &str| self.object.pointer(pointer).and_then(Value::as_str);
        let of_secret = text("/kind") == Some("Secret") && text("/apiVersion") == Some("v1");
        let is_data = steps.first().is_none_or(|first| first == "data" || first == "stringData");
        (of_secret && is_data) || self.leaves_at(steps).any(|leaf| leaf.origin.secret)
    }

    /// Namespace and name of the object, with facts of the cluster by their names.
    pub fn named(&self) -> (String, String) {
        let own = |name: &str| self.neutral(&["metadata".into(), name.into()]);
        (own("namespace"), own("name"))
    }

    /// A text of the object, with facts of the cluster by their names.
    fn neutral(&self, steps: &[String]) -> String {
        let value = steps.iter().try_fold(self.object, |value, step| value.get(step));
        let value = value.cloned().unwrap_or_default();
        match self.neutral_value(steps, &value) {
            Value::String(text) => text,
            _ => String::new(),
        }
    }

    fn neutral_value(&self, steps: &[String], value: &Value) -> Value {
        let read: BTreeSet<&Vec<String>> =
            self.leaves_at(steps).flat_map(|leaf| &leaf.origin.facts).collect();
        if read.is_empty() {
            return value.clone();
        }
        let mut facts = Vec::new();
        for path in read {
            let fact = path.iter().try_fold(self.cluster, |fact, key| fact.get(key));
            if let Some(fact) = fact {
                collect(fact, &mut path.clone(), &mut facts);
            }
        }
        // The longest first: a name may be a part of another fact.
        facts.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
        neutral(value, &facts)
    }
}

/// A side of a difference.
type At<'a> = Option<(&'a Place<'a>, Half<'a>)>;

fn field<'a>(path: &str, old: At<'a>, new: At<'a>) -> Told<Field> {
    let both = [old, new];
    let sides = || both.iter().flatten();
    let sensitive = sides().any(|((steps, _), half)| half.is_secret(steps));
    let live = sides().any(|((steps, _), half)| half.leaves_at(steps).any(|leaf| leaf.origin.waits));
    let value = |side: At<'_>| side.map(|((_, value), _)| (*value).clone());
    let plain = |side: At<'_>| side.map(|((steps, value), half)| half.neutral_value(steps, value));
    let field = |before: Option<Value>, after: Option<Value>| Field {
        path: path.to_owned(),
        before: before.filter(|_| !sensitive),
        after: after.filter(|_| !sensitive),
        sensitive,
        live,
        ..Field::default()
    };
    Told { shown: field(value(old), value(new)), neutral: field(plain(old), plain(new)) }
}

/// What facts there are, each with its name as an expression.
fn collect(fact: &Value, path: &mut Vec<String>, into: &mut Vec<(String, String)>) {
    if let Some(fields) = fact.as_object() {
        for (key, below) in fields {
            path.push(key.clone());
            collect(below, path, into);
            path.pop();
        }
        return;
    }
    let mut name = "${cluster".to_owned();
    for key in path.iter() {
        let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        name.push_str(&if plain { format!(".{key}") } else { format!("[{key:?}]") });
    }
    name.push('}');
    let text = fact.as_str().map_or_else(|| fact.to_string(), str::to_owned);
    if !text.is_empty() {
        into.push((name, text));
    }
}

fn neutral(value: &Value, facts: &[(String, String)]) -> Value {
    match value {
        Value::String(text) => Value::String(replaced(text, facts)),
        Value::Array(items) => items.iter().map(|item| neutral(item, facts)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, below)| (replaced(key, facts), neutral(below, facts))).collect()
        }
        other => {
            let text = other.to_string();
            let fact = facts.iter().find(|(_, fact)| *fact == text);
            fact.map_or_else(|| other.clone(), |(name, _)| Value::String(name.clone()))
        }
    }
}

/// One walk over the text, so that nothing is replaced in what was put in.
fn replaced(text: &str, facts: &[(String, String)]) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        match facts.iter().find(|(_, fact)| rest.starts_with(fact.as_str())) {
            Some((name, fact)) => {
                out.push_str(name);
                rest = rest.strip_prefix(fact.as_str()).unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = rest.strip_prefix(first).unwrap_or_default();
            }
        }
    }
    out
}
