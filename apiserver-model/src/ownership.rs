//! The entries of `metadata.managedFields` and how a write changes them.

use crate::fields::{Fields, print};
use crate::managed::{Apply, ApplyError, Conflict, Update};
use crate::schema::At;
use crate::typed::{Difference, check, merge, remove};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Beyond so many entries of updates, the oldest are joined.
const MAX_UPDATERS: usize = 10;
/// Who holds the fields of updates that were joined.
const ANCIENT: &str = "ancient-changes";
/// Who holds what an object had before the first apply.
const BEFORE: &str = "before-first-apply";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

#[derive(Clone, PartialEq)]
struct Entry {
    operation: Operation,
    manager: String,
    api_version: String,
    subresource: String,
    time: Option<String>,
    fields: Fields,
}

impl Entry {
    /// Applies of one manager are one entry whatever the version; updates are not.
    fn is(&self, other: &Self) -> bool {
        self.operation == other.operation
            && self.manager == other.manager
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    fn read(value: &Value) -> Option<Self> {
        let word = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let operation = match value.get("operation")?.as_str()? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        Some(Self {
            operation,
            manager: word("manager").unwrap_or_default(),
            api_version: word("apiVersion").unwrap_or_default(),
            subresource: word("subresource").unwrap_or_default(),
            time: word("time"),
            fields: Fields::from_json(value.get("fieldsV1").unwrap_or(&Value::Null)),
        })
    }

    fn write(&self) -> Value {
        let mut entry = Map::new();
        let mut set = |name: &str, value: &str| {
            if !value.is_empty() {
                entry.insert(name.to_owned(), json!(value));
            }
        };
        set("manager", &self.manager);
        set("operation", self.operation.name());
        set("apiVersion", &self.api_version);
        set("time", self.time.as_deref().unwrap_or_default());
        set("fieldsType", "FieldsV1");
        set("subresource", &self.subresource);
        entry.insert("fieldsV1".to_owned(), self.fields.to_json());
        Value::Object(entry)
    }

    /// As a server names the manager in a conflict.
    fn print(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            text += &format!(" using {}", self.api_version);
        }
        text
    }
}

fn entries(object: &Value) -> Vec<Entry> {
    let all = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    all.into_iter().flatten().filter_map(Entry::read).collect()
}

/// The object without `managedFields`.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
    }
    object
}

fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.sort_by(|a, b| {
        let key = |e: &Entry| (e.operation, seconds(e));
        let rest = |e: &Entry| (e.manager.clone(), e.api_version.clone(), e.subresource.clone());
        key(a).cmp(&key(b)).then_with(|| rest(a).cmp(&rest(b)))
    });
    let Some(object) = object.as_object_mut() else { return };
    if entries.is_empty() {
        return;
    }
    let meta = object.entry("metadata").or_insert_with(|| json!({}));
    if let Some(meta) = meta.as_object_mut() {
        meta.insert("managedFields".to_owned(), entries.iter().map(Entry::write).collect());
    }
}

/// Times of whole seconds; an entry without one comes first.
fn seconds(entry: &Entry) -> i64 {
    let time = entry.time.as_deref().and_then(|t| t.parse::<jiff::Timestamp>().ok());
    time.map_or(0, jiff::Timestamp::as_second)
}

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
    format!("{}/{}; {version}, Kind={}", word("/metadata/namespace"), word("/metadata/name"), word("/kind"))
}

fn typed_fault(applied: &Value, faults: &[String]) -> ApplyError {
    let what = match faults {
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    ApplyError::Typed(format!("failed to create typed patch object ({}): {what}", named(applied)))
}

pub(crate) fn apply(live: Option<&Value>, applied: &Value, how: &Apply<'_>) -> Result<Value, ApplyError> {
    if applied.pointer("/metadata/managedFields").and_then(Value::as_array).is_some_and(|m| !m.is_empty()) {
        return Err(ApplyError::Refused("metadata.managedFields must be nil".to_owned()));
    }
    let top = how.schema.top();
    let faults = check(applied, top);
    if !faults.is_empty() {
        return Err(typed_fault(applied, &faults));
    }
    let base = bare(live.unwrap_or(how.zero));
    let mut all = live.map(entries).unwrap_or_default();
    if let Some(live) = live.filter(|_| all.is_empty()) {
        all = before_first(live, how);
    }
    let mut me = Entry {
        operation: Operation::Apply,
        manager: how.manager.to_owned(),
        api_version: how.api_version.to_owned(),
        subresource: how.subresource.to_owned(),
        time: None,
        fields: Fields::of(applied, how.schema).difference_below(how.reset),
    };
    let mut last = Fields::default();
    if let Some(place) = all.iter().position(|e| e.is(&me)) {
        let old = all.remove(place);
        (last, me.time) = (old.fields, old.time);
    }
    let object = pruned(merge(&base, applied, top), &all, &me, &last, top);
    let changed = Difference::between(&base, &object, top).without(how.reset);
    let found = conflicts(&all, &me, &changed);
    if !how.force && found.iter().any(|f| !f.is_empty()) {
        return Err(ApplyError::Conflicts(told(&all, &found)));
    }
    take(&mut all, &me, &found, &changed);
    me.fields = me.fields.difference(&Fields::never_owned());
    let same = base == object && live.is_some();
    if !same {
        me.time = Some(how.time.to_owned());
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
fn before_first(live: &Value, how: &Apply<'_>) -> Vec<Entry> {
    let changed = Difference::between(how.zero, &bare(live), how.schema.top()).without(how.reset);
    let fields = changed.modified.union(&changed.added).difference(&Fields::never_owned());
    let entry = Entry {
        operation: Operation::Update,
        manager: BEFORE.to_owned(),
        api_version: how.api_version.to_owned(),
        subresource: how.subresource.to_owned(),
        time: Some(how.time.to_owned()),
        fields,
    };
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

pub(crate) fn update(before: Option<&Value>, after: &Value, how: &Update<'_>) -> Value {
    let reset = after.pointer("/metadata/managedFields") == Some(&json!([{}]));
    let mut object = bare(after);
    let given = if how.subresource.is_empty() { entries(after) } else { Vec::new() };
    let mut all = match before {
        _ if reset && how.subresource.is_empty() => Vec::new(),
        Some(before) if given.is_empty() => entries(before),
        _ => given,
    };
    // An object that nobody owns stays so.
    if before.is_some() && all.is_empty() {
        return object;
    }
    let live = bare(before.unwrap_or(how.zero));
    let changed = Difference::between(&live, &object, how.schema.top()).without(how.reset);
    // A manager of its own for now: what the same manager owned before is taken and given back.
    let mut me = Entry {
        operation: Operation::Update,
        manager: how.manager.to_owned(),
        api_version: how.api_version.to_owned(),
        subresource: how.subresource.to_owned(),
        time: Some(how.time.to_owned()),
        fields: changed.modified.union(&changed.added).difference(&changed.removed),
    };
    me.fields = me.fields.difference_below(how.reset).difference(&Fields::never_owned());
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

/// Joins the oldest updates, version by version, until few enough are left.
fn cap(all: &mut Vec<Entry>) {
    let mut old: Vec<Entry> = all.iter().filter(|e| e.operation == Operation::Update).cloned().collect();
    let mut left = old.len();
    if left <= MAX_UPDATERS {
        return;
    }
    old.sort_by(|a, b| seconds(a).cmp(&seconds(b)).then_with(|| a.manager.cmp(&b.manager)));
    let mut first: BTreeMap<String, Entry> = BTreeMap::new();
    for entry in old {
        if left <= MAX_UPDATERS {
            return;
        }
        let Some(start) = first.get(&entry.api_version) else {
            first.insert(entry.api_version.clone(), entry);
            continue;
        };
        let bucket = Entry { manager: ANCIENT.to_owned(), subresource: String::new(), ..start.clone() };
        if !all.iter().any(|e| e.is(&bucket)) {
            all.retain(|e| !e.is(start));
            all.push(bucket.clone());
        }
        all.retain(|e| !e.is(&entry) || e.is(&bucket));
        if let Some(bucket) = all.iter_mut().find(|e| e.is(&bucket)) {
            bucket.fields = bucket.fields.union(&entry.fields);
            bucket.time = entry.time;
        }
        left -= 1;
    }
}
