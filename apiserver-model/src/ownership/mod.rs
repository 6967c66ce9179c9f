//! The entries of `metadata.managedFields` and how a write changes them.

mod ancient;
mod entry;
#[cfg(test)]
mod tests;

use crate::fields::{Fields, print};
use crate::managed::{ApplyError, Conflict, Writer};
use crate::schema::At;
use crate::typed::{Difference, check, merge, remove};
use ancient::cap;
use entry::{Entry, Operation, bare, entries, write};
use serde_json::{Map, Value, json};

/// Who holds what an object had before the first apply.
const BEFORE: &str = "before-first-apply";

/// Who else owns what differs, entry by entry.
fn conflicts(entries: &[Entry], me: &Entry, changed: &Difference) -> Vec<Fields> {
    let touched = changed.modified.union(&changed.added);
    let theirs = |e: &Entry| if e.is(me) { Fields::default() } else { e.fields.intersection(&touched) };
    entries.iter().map(theirs).collect()
}

/// Others lose what was changed or removed; who has nothing left goes.
fn take(entries: &mut Vec<Entry>, me: &Entry, conflicts: &[Fields], changed: &Difference) {
    for (entry, lost) in entries.iter_mut().zip(conflicts) {
        if !entry.is(me) {
            entry.fields = entry.fields.difference(lost).difference(&changed.removed);
        }
    }
    entries.retain(|e| !e.fields.is_empty());
}

/// A server's own words for an object: `default/a; apps/v1, Kind=Deployment`.
fn named(object: &Value) -> String {
    let word = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let version = word("/apiVersion");
    let slash = if version.contains('/') { "" } else { "/" };
    format!(
        "{}/{}; {slash}{version}, Kind={}",
        word("/metadata/namespace"),
        word("/metadata/name"),
        word("/kind")
    )
}

fn typed_fault(applied: &Value, faults: &[String]) -> ApplyError {
    let what = match faults {
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    ApplyError::Typed(format!("failed to create typed patch object ({}): {what}", named(applied)))
}

pub(crate) fn apply(
    live: Option<&Value>,
    applied: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    if applied.pointer("/metadata/managedFields").and_then(Value::as_array).is_some_and(|m| !m.is_empty()) {
        return Err(ApplyError::Refused("metadata.managedFields must be nil".to_owned()));
    }
    let top = writer.schema.top();
    let faults = check(applied, top);
    if !faults.is_empty() {
        return Err(typed_fault(applied, &faults));
    }
    let base = bare(live.unwrap_or(writer.zero));
    let mut all = live.map(entries).unwrap_or_default();
    if let Some(live) = live.filter(|_| all.is_empty()) {
        all = before_first(live, writer);
    }
    let fields = Fields::of(applied, writer.schema).difference_below(writer.reset);
    let mut me = Entry::of(Operation::Apply, writer, None, fields);
    let mut last = Fields::default();
    if let Some(place) = all.iter().position(|e| e.is(&me)) {
        let old = all.remove(place);
        (last, me.time) = (old.fields, old.time);
    }
    let object = pruned(merge(&base, applied, top), &all, &me, &last, top);
    let changed = Difference::between(&base, &object, top).without(writer.reset);
    let found = conflicts(&all, &me, &changed);
    if !force && found.iter().any(|f| !f.is_empty()) {
        return Err(ApplyError::Conflicts(told(&all, &found)));
    }
    take(&mut all, &me, &found, &changed);
    me.fields = me.fields.difference(&Fields::never_owned());
    let same = base == object && live.is_some();
    if !same {
        me.time = Some(writer.time.to_owned());
    }
    if !me.fields.is_empty() {
        all.push(me);
    }
    cap(&mut all);
    let mut object = object;
    write(&mut object, all);
    Ok(live.filter(|live| same && *live == &object).cloned().unwrap_or(object))
}

/// An object that nobody owns belongs to one manager when the first apply comes.
fn before_first(live: &Value, writer: &Writer<'_>) -> Vec<Entry> {
    let changed = Difference::between(writer.zero, &bare(live), writer.schema.top()).without(writer.reset);
    let fields = changed.modified.union(&changed.added).difference(&Fields::never_owned());
    let before = Writer { manager: BEFORE, ..*writer };
    let entry = Entry::of(Operation::Update, &before, Some(writer.time), fields);
    if entry.fields.is_empty() { Vec::new() } else { vec![entry] }
}

/// The conflicts by manager, as a server lists them.
fn told(entries: &[Entry], found: &[Fields]) -> Vec<Conflict> {
    let mut all: Vec<(String, Fields)> =
        entries.iter().zip(found).map(|(e, fields)| (e.print(), fields.clone())).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let of = |(manager, fields): (String, Fields)| {
        let one = move |path: Vec<_>| Conflict { manager: manager.clone(), path: print(&path) };
        fields.paths().into_iter().map(one).collect::<Vec<_>>()
    };
    all.into_iter().flat_map(of).collect()
}

/// Without what this manager applied last time, does not apply now, and nobody else owns.
fn pruned(merged: Value, others: &[Entry], me: &Entry, last: &Fields, top: At<'_>) -> Value {
    if last.difference(&me.fields).is_empty() {
        return merged;
    }
    let set = |value: &Value| Fields::at(value, top).with_named(top);
    let nothing = || Value::Object(Map::new());
    let last = last.with_named(top);
    let owned = others.iter().fold(me.fields.clone(), |all, e| all.union(&e.fields)).with_named(top);
    let all = set(&merged);
    let left = remove(&merged, &last, top).unwrap_or_else(nothing);
    let gone = all.difference(&set(&left).union(&owned));
    let left = remove(&merged, &gone, top).unwrap_or_else(nothing);
    let gone = all.difference(&set(&left)).intersection(&last);
    remove(&merged, &gone, top).unwrap_or_else(nothing)
}

pub(crate) fn update(before: Option<&Value>, after: &Value, writer: &Writer<'_>) -> Value {
    let reset = after.pointer("/metadata/managedFields") == Some(&json!([{}]));
    let mut object = bare(after);
    let given = if writer.subresource.is_empty() { entries(after) } else { Vec::new() };
    let mut all = match before {
        _ if reset && writer.subresource.is_empty() => Vec::new(),
        Some(before) if given.is_empty() => entries(before),
        _ => given,
    };
    // An object that nobody owns stays so.
    if before.is_some() && all.is_empty() {
        return object;
    }
    let live = bare(before.unwrap_or(writer.zero));
    let changed = Difference::between(&live, &object, writer.schema.top()).without(writer.reset);
    // A manager of its own for now: what the same manager owned before is taken and given back.
    let fields = changed.modified.union(&changed.added).difference(&changed.removed);
    let fields = fields.difference_below(writer.reset).difference(&Fields::never_owned());
    let mut me = Entry::of(Operation::Update, writer, Some(writer.time), fields);
    let nobody = Entry { manager: String::new(), subresource: "\0".to_owned(), ..me.clone() };
    let found = conflicts(&all, &nobody, &changed);
    take(&mut all, &nobody, &found, &changed);
    if !me.fields.is_empty() {
        if let Some(place) = all.iter().position(|e| e.is(&me)) {
            me.fields = me.fields.union(&all.remove(place).fields);
        }
        all.push(me);
    }
    cap(&mut all);
    write(&mut object, all);
    match before {
        Some(before) if same_but_times(before, &object) => before.clone(),
        _ => object,
    }
}

/// Times alone are no change.
fn same_but_times(before: &Value, after: &Value) -> bool {
    let timeless = |object: &Value| {
        let mut all = entries(object);
        all.iter_mut().for_each(|e| e.time = None);
        all.sort_by(|a, b| {
            (a.operation, &a.manager, &a.api_version).cmp(&(b.operation, &b.manager, &b.api_version))
        });
        all
    };
    bare(before) == bare(after) && timeless(before) == timeless(after)
}
