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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::{causes, message, resets};
    use crate::schema::Schema;

    const NOON: &str = "2024-01-01T12:00:00Z";
    const ONE: &str = "2024-01-01T13:00:00Z";
    const TWO: &str = "2024-01-01T14:00:00Z";

    struct World {
        schema: Schema,
        reset: Fields,
        zero: Value,
    }

    impl World {
        fn new() -> Self {
            let containers = json!({
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}, "image": {"type": "string"}}},
            });
            let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
            let schema = json!({"type": "object", "properties": {
                "spec": {"type": "object", "properties": {
                    "replicas": {"type": "integer"}, "paused": {"type": "boolean"},
                    "containers": containers, "map": texts,
                }},
                "status": {"type": "object", "properties": {"ready": {"type": "integer"}}},
            }});
            let zero = json!({"apiVersion": "x.io/v1", "kind": "App"});
            Self { schema: Schema::of_crd(&schema), reset: resets(true, ""), zero }
        }

        fn apply(
            &self,
            live: Option<&Value>,
            manager: &str,
            spec: Value,
            time: &str,
        ) -> Result<Value, ApplyError> {
            self.send(live, manager, spec, time, false)
        }

        fn force(&self, live: &Value, manager: &str, spec: Value) -> Value {
            self.send(Some(live), manager, spec, TWO, true).unwrap()
        }

        fn send(
            &self,
            live: Option<&Value>,
            manager: &str,
            spec: Value,
            time: &str,
            force: bool,
        ) -> Result<Value, ApplyError> {
            let (schema, reset, zero) = (&self.schema, &self.reset, &self.zero);
            let how =
                Apply { schema, manager, force, subresource: "", api_version: "x.io/v1", time, reset, zero };
            let mut applied = object(spec);
            if applied["spec"].is_null() {
                applied.as_object_mut().unwrap().remove("spec");
            }
            apply(live, &applied, &how)
        }

        fn update(&self, before: Option<&Value>, after: &Value, manager: &str, time: &str) -> Value {
            let (schema, reset, zero) = (&self.schema, &self.reset, &self.zero);
            let how = Update { schema, manager, subresource: "", api_version: "x.io/v1", time, reset, zero };
            update(before, after, &how)
        }
    }

    fn object(spec: Value) -> Value {
        json!({"apiVersion": "x.io/v1", "kind": "App", "metadata": {"name": "a"}, "spec": spec})
    }

    /// What each manager owns, as `manager/operation/hour: fields`.
    fn owners(object: &Value) -> Vec<String> {
        let all = entries(object).into_iter().map(|e| {
            let hour = e.time.as_deref().map_or("", |t| &t[11..13]);
            let fields: Vec<_> = e.fields.paths().iter().map(|p| print(p)).collect();
            format!("{} {} {hour}: {}", e.manager, e.operation.name(), fields.join(" "))
        });
        all.collect()
    }

    #[test]
    fn the_first_apply_owns_what_it_says() {
        let made = World::new().apply(None, "a", json!({"replicas": 1, "map": {"x": "1"}}), NOON).unwrap();
        let fields = json!({"f:spec": {"f:replicas": {}, "f:map": {"f:x": {}}}});
        assert_eq!(
            made["metadata"]["managedFields"],
            json!([{
                "manager": "a", "operation": "Apply", "apiVersion": "x.io/v1", "time": NOON,
                "fieldsType": "FieldsV1", "fieldsV1": fields,
            }])
        );
    }

    #[test]
    fn the_same_apply_again_changes_nothing() {
        let world = World::new();
        let spec = json!({"replicas": 1, "containers": [{"name": "c", "image": "i"}]});
        let made = world.apply(None, "a", spec.clone(), NOON).unwrap();
        assert_eq!(world.apply(Some(&made), "a", spec, ONE).unwrap(), made);
    }

    #[test]
    fn what_is_applied_no_more_goes_unless_another_owns_it() {
        let world = World::new();
        let both = json!({"replicas": 1, "paused": true, "map": {"x": "1", "y": "2"}});
        let made = world.apply(None, "a", both, NOON).unwrap();
        let shared = world.apply(Some(&made), "b", json!({"paused": true, "map": {"y": "2"}}), ONE).unwrap();
        assert_eq!(shared["spec"], made["spec"]);
        let left = world.apply(Some(&shared), "a", json!({"replicas": 1}), TWO).unwrap();
        assert_eq!(left["spec"], json!({"replicas": 1, "paused": true, "map": {"y": "2"}}));
        assert_eq!(owners(&left), ["b Apply : .spec.paused .spec.map.y", "a Apply 14: .spec.replicas"]);
        let gone = world.apply(Some(&left), "b", json!({}), TWO).unwrap();
        assert_eq!(gone["spec"], json!({"replicas": 1}));
    }

    #[test]
    fn a_manager_with_nothing_left_goes() {
        let world = World::new();
        let made = world.apply(None, "a", json!({"map": {"x": "1"}}), NOON).unwrap();
        let left = world.apply(Some(&made), "a", Value::Null, ONE).unwrap();
        assert_eq!(left, json!({"apiVersion": "x.io/v1", "kind": "App", "metadata": {"name": "a"}}));
        assert_eq!(
            world.force(&made, "b", json!({"map": {"x": "2"}}))["metadata"]["managedFields"][0]["manager"],
            "b"
        );
    }

    #[test]
    fn an_item_of_a_list_goes_with_its_owner() {
        let world = World::new();
        let two = json!({"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]});
        let made = world.apply(None, "a", two, NOON).unwrap();
        let one =
            world.apply(Some(&made), "a", json!({"containers": [{"name": "d", "image": "i"}]}), ONE).unwrap();
        assert_eq!(one["spec"]["containers"], json!([{"name": "d", "image": "i"}]));
        let none = world.apply(Some(&made), "a", json!({"replicas": 1}), ONE).unwrap();
        assert_eq!(none["spec"], json!({"replicas": 1}));
    }

    #[test]
    fn another_value_is_a_conflict() {
        let world = World::new();
        let made = world.apply(None, "a", json!({"replicas": 1}), NOON).unwrap();
        let mut edited = made.clone();
        edited["spec"]["replicas"] = json!(2);
        let edited = world.update(Some(&made), &edited, "kubectl-edit", ONE);
        assert_eq!(owners(&edited), ["kubectl-edit Update 13: .spec.replicas"]);
        let Err(ApplyError::Conflicts(found)) = world.apply(Some(&edited), "a", json!({"replicas": 1}), TWO)
        else {
            panic!("no conflict")
        };
        assert_eq!(
            message(&found),
            r#"Apply failed with 1 conflict: conflict with "kubectl-edit" using x.io/v1: .spec.replicas"#
        );
        assert_eq!(
            causes(&found),
            json!([{"reason": "FieldManagerConflict", "message": r#"conflict with "kubectl-edit" using x.io/v1"#,
                    "field": ".spec.replicas"}])
        );
        // The same value is shared.
        let shared = world.apply(Some(&edited), "a", json!({"replicas": 2}), TWO).unwrap();
        assert_eq!(owners(&shared), ["a Apply : .spec.replicas", "kubectl-edit Update 13: .spec.replicas"]);
        let forced = world.force(&edited, "a", json!({"replicas": 1}));
        assert_eq!(owners(&forced), ["a Apply 14: .spec.replicas"]);
    }

    #[test]
    fn many_conflicts_are_listed_by_manager() {
        let world = World::new();
        let spec = json!({"replicas": 1, "containers": [{"name": "a", "image": "1"}]});
        let made = world.apply(None, "b", spec, NOON).unwrap();
        let made = world.apply(Some(&made), "a", json!({"paused": true}), NOON).unwrap();
        let mine = json!({"replicas": 2, "paused": false, "containers": [{"name": "a", "image": "2"}]});
        let Err(ApplyError::Conflicts(found)) = world.apply(Some(&made), "c", mine, NOON) else {
            panic!("no conflict")
        };
        assert_eq!(
            message(&found),
            "Apply failed with 3 conflicts: conflicts with \"a\":\n- .spec.paused\nconflicts with \"b\":\n\
             - .spec.replicas\n- .spec.containers[name=\"a\"].image"
        );
    }

    #[test]
    fn an_update_owns_what_it_changed() {
        let world = World::new();
        let made = world.update(None, &object(json!({"replicas": 1, "map": {"x": "1"}})), "c", NOON);
        // A field that was not there before is a member with all that is in it.
        assert_eq!(owners(&made), ["c Update 12: .spec .spec.map .spec.replicas .spec.map.x"]);
        let mut next = made.clone();
        next["spec"] = json!({"replicas": 2, "map": {}});
        next["status"] = json!({"ready": 1});
        let next = world.update(Some(&made), &next, "d", ONE);
        assert_eq!(owners(&next), ["c Update 12: .spec .spec.map", "d Update 13: .spec.replicas"]);
        assert_eq!(world.update(Some(&next), &next, "d", TWO), next);
    }

    #[test]
    fn an_update_that_takes_from_itself_keeps_the_rest() {
        let world = World::new();
        let made = world.update(None, &object(json!({"replicas": 1})), "c", NOON);
        let mut next = made.clone();
        next["spec"]["replicas"] = json!(2);
        let next = world.update(Some(&made), &next, "c", ONE);
        assert_eq!(owners(&next), ["c Update 13: .spec .spec.replicas"]);
    }

    #[test]
    fn managed_fields_in_the_body() {
        let world = World::new();
        let made = world.apply(None, "a", json!({"replicas": 1}), NOON).unwrap();
        let with = |managed: Value| {
            let mut body = made.clone();
            body["metadata"]["managedFields"] = managed;
            owners(&world.update(Some(&made), &body, "c", ONE))
        };
        // One empty entry takes all away; none at all is no word on them.
        assert_eq!(with(json!([{}])), [""; 0]);
        assert_eq!(with(json!([])), owners(&made));
        assert_eq!(with(Value::Null), owners(&made));
        let other = json!([{"manager": "z", "operation": "Apply", "apiVersion": "x.io/v1", "time": NOON,
                            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
        assert_eq!(with(other), ["z Apply 12: .spec.replicas"]);
    }

    #[test]
    fn who_owned_an_object_before_the_first_apply() {
        let world = World::new();
        let live = object(json!({"replicas": 1, "paused": true}));
        let made = world.apply(Some(&live), "a", json!({"replicas": 1}), NOON).unwrap();
        assert_eq!(
            owners(&made),
            ["a Apply : .spec.replicas", "before-first-apply Update 12: .spec .spec.paused .spec.replicas"]
        );
    }

    #[test]
    fn an_object_that_does_not_fit_is_refused() {
        let world = World::new();
        let what = "failed to create typed patch object (/a; x.io/v1, Kind=App): .spec.x: field not declared in schema";
        assert_eq!(world.apply(None, "a", json!({"x": 1}), NOON), Err(ApplyError::Typed(what.to_owned())));
    }

    #[test]
    fn more_than_ten_updaters_are_joined() {
        let world = World::new();
        let mut live = world.update(None, &object(json!({"map": {"k": "0"}})), "m00", NOON);
        for i in 1..12 {
            let mut next = live.clone();
            next["spec"]["map"][format!("k{i:02}")] = json!("1");
            live =
                world.update(Some(&live), &next, &format!("m{i:02}"), &format!("2024-01-01T12:00:{i:02}Z"));
        }
        let all = owners(&live);
        assert_eq!(all.len(), MAX_UPDATERS);
        assert_eq!(
            all[0],
            "ancient-changes Update 12: .spec .spec.map .spec.map.k .spec.map.k01 .spec.map.k02"
        );
        assert_eq!(all[1], "m03 Update 12: .spec.map.k03");
    }

    #[test]
    fn applies_come_first_then_the_older() {
        let world = World::new();
        let made = world.update(None, &object(json!({"replicas": 1})), "z", NOON);
        let made = world.apply(Some(&made), "b", json!({"paused": true}), TWO).unwrap();
        let made = world.apply(Some(&made), "a", json!({"map": {"x": "1"}}), TWO).unwrap();
        let made = world.apply(Some(&made), "c", json!({"map": {"y": "1"}}), ONE).unwrap();
        let order: Vec<_> =
            owners(&made).iter().map(|o| o.split(' ').next().unwrap_or_default().to_owned()).collect();
        assert_eq!(order, ["c", "a", "b", "z"]);
    }

    #[test]
    fn the_status_belongs_to_its_own_endpoint() {
        let world = World::new();
        let made = world.apply(None, "a", json!({"replicas": 1}), NOON).unwrap();
        let mut next = made.clone();
        next["status"] = json!({"ready": 1});
        let reset = resets(true, "status");
        let (schema, zero) = (&world.schema, &world.zero);
        let how = Update {
            schema,
            manager: "a",
            subresource: "status",
            api_version: "x.io/v1",
            time: ONE,
            reset: &reset,
            zero,
        };
        let next = update(Some(&made), &next, &how);
        assert_eq!(owners(&next), ["a Apply 12: .spec.replicas", "a Update 13: .status .status.ready"]);
        assert_eq!(next["metadata"]["managedFields"][1]["subresource"], "status");
    }
}
