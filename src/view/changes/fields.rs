//! Where two objects differ. Lists of maps are compared by what names their items, as far as all of them have it.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A place where they differ.
#[derive(Debug, PartialEq)]
pub struct Difference<'v> {
    /// As people read it: `spec.containers[app].image`.
    pub path: String,
    pub before: Option<Place<'v>>,
    pub after: Option<Place<'v>>,
}

/// A value, and the keys and positions that lead to it.
pub type Place<'v> = (Vec<String>, &'v Value);

/// What names an item of a list, the best first.
const KEYS: [&str; 7] = ["name", "key", "id", "containerPort", "port", "mountPath", "ip"];

/// All places where two objects differ; with one alone, all that it has.
pub fn differences<'v>(before: Option<&'v Value>, after: Option<&'v Value>) -> Vec<Difference<'v>> {
    let mut out = Vec::new();
    let root = |value: Option<&'v Value>| value.map(|value| (Vec::new(), value));
    walk("", root(before), root(after), &mut out);
    out
}

fn walk<'v>(path: &str, before: Option<Place<'v>>, after: Option<Place<'v>>, out: &mut Vec<Difference<'v>>) {
    let value = |place: &Option<Place<'v>>| place.as_ref().map(|(_, value)| *value);
    let (old, new) = (value(&before), value(&after));
    if old == new {
        return;
    }
    if let Some(keys) = maps(old, new) {
        for key in keys {
            let below = |place: &Option<Place<'v>>| {
                let (steps, value) = place.as_ref()?;
                Some((with(steps, key), value.get(key)?))
            };
            walk(&named(path, key), below(&before), below(&after), out);
        }
        return;
    }
    if let Some(items) = lists(old, new) {
        for Item { shown, before: at, after: to } in &items {
            let below = |place: &Option<Place<'v>>, at: Option<usize>| {
                let (steps, value) = place.as_ref()?;
                Some((with(steps, &at?.to_string()), value.get(at?)?))
            };
            walk(&format!("{path}[{shown}]"), below(&before, *at), below(&after, *to), out);
        }
        if !is_moved(&items) {
            return;
        }
    }
    out.push(Difference { path: path.to_owned(), before, after });
}

fn with(steps: &[String], step: &str) -> Vec<String> {
    steps.iter().cloned().chain([step.to_owned()]).collect()
}

fn named(path: &str, key: &str) -> String {
    match path {
        _ if key.is_empty() || key.contains(['.', '[', ']', '"']) => format!("{path}[{key:?}]"),
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    }
}

/// The keys of both, where both are maps or one is not there.
fn maps<'v>(old: Option<&'v Value>, new: Option<&'v Value>) -> Option<BTreeSet<&'v str>> {
    let of = |value: &'v Value| value.as_object().filter(|map| !map.is_empty());
    let keys = |map: &'v Map<String, Value>| map.keys().map(String::as_str);
    match (old, new) {
        (Some(old), Some(new)) => {
            let (old, new) = (old.as_object()?, new.as_object()?);
            Some(keys(old).chain(keys(new)).collect())
        }
        (Some(one), None) | (None, Some(one)) => Some(keys(of(one)?).collect()),
        (None, None) => None,
    }
}

struct Item {
    shown: String,
    before: Option<usize>,
    after: Option<usize>,
}

/// The items of both, where they are lists of maps or of lists.
fn lists(old: Option<&Value>, new: Option<&Value>) -> Option<Vec<Item>> {
    let (old, new) = (items_of(old)?, items_of(new)?);
    let all = || old.iter().chain(new);
    if !all().any(|item| item.is_object() || item.is_array()) {
        return None;
    }
    if let Some(key) = KEYS.into_iter().find(|key| names(old, key).is_some() && names(new, key).is_some()) {
        let (old, new) = (names(old, key)?, names(new, key)?);
        let mut items: Vec<Item> = Vec::new();
        for (at, name) in old.iter().enumerate() {
            let after = new.iter().position(|other| other == name);
            items.push(Item { shown: name.clone(), before: Some(at), after });
        }
        for (at, name) in new.iter().enumerate().filter(|(_, name)| !old.contains(name)) {
            items.push(Item { shown: name.clone(), before: None, after: Some(at) });
        }
        return Some(items);
    }
    let has = |list: &[Value], at: usize| (at < list.len()).then_some(at);
    let longest = old.len().max(new.len());
    let item = |at: usize| Item { shown: at.to_string(), before: has(old, at), after: has(new, at) };
    Some((0..longest).map(item).collect())
}

/// Nothing has no items.
fn items_of(value: Option<&Value>) -> Option<&[Value]> {
    match value {
        None => Some(&[]),
        Some(value) => value.as_array().map(Vec::as_slice),
    }
}

/// What names the items, where each has a name of its own.
fn names(list: &[Value], key: &str) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let name = |item: &Value| {
        let name = match item.get(key)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        seen.insert(name.clone()).then_some(name)
    };
    list.iter().map(name).collect()
}

/// Whether those that are in both stand in another order.
fn is_moved(items: &[Item]) -> bool {
    let both: Vec<usize> = items.iter().filter(|i| i.before.is_some()).filter_map(|i| i.after).collect();
    !both.is_sorted()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(before: &Value, after: &Value) -> Vec<String> {
        let value = |place: &Option<Place<'_>>| {
            place.as_ref().map_or("-".to_owned(), |(steps, value)| format!("{value}@{}", steps.join("/")))
        };
        let all = differences(Some(before), Some(after));
        all.iter().map(|d| format!("{} {} {}", d.path, value(&d.before), value(&d.after))).collect()
    }

    #[test]
    fn fields_are_found_by_what_names_them() {
        for (before, after, want) in [
            (json!({"a": 1}), json!({"a": 1}), vec![]),
            (json!({"a": {"b": 1}}), json!({"a": {"b": 2}}), vec!["a.b 1@a/b 2@a/b"]),
            (json!({}), json!({"a": {"b.c": 1}}), vec!["a[\"b.c\"] - 1@a/b.c"]),
            (json!({"a": {}}), json!({}), vec!["a {}@a -"]),
            (
                json!({"l": [{"name": "x", "v": 1}, {"name": "y"}]}),
                json!({"l": [{"name": "z"}, {"name": "x", "v": 2}]}),
                vec!["l[x].v 1@l/0/v 2@l/1/v", "l[y].name \"y\"@l/1/name -", "l[z].name - \"z\"@l/0/name"],
            ),
            (
                json!({"l": [{"name": "x"}, {"name": "y"}]}),
                json!({"l": [{"name": "y"}, {"name": "x"}]}),
                vec!["l [{\"name\":\"x\"},{\"name\":\"y\"}]@l [{\"name\":\"y\"},{\"name\":\"x\"}]@l"],
            ),
            (json!({"l": [1, 2]}), json!({"l": [2]}), vec!["l [1,2]@l [2]@l"]),
            (json!({"l": [{"v": 1}]}), json!({"l": [{"v": 1}, {"v": 2}]}), vec!["l[1].v - 2@l/1/v"]),
            (
                json!({"l": [{"port": 80}]}),
                json!({"l": [{"port": 80, "p": "UDP"}]}),
                vec!["l[80].p - \"UDP\"@l/0/p"],
            ),
            (json!({"a": [1]}), json!({"a": "x"}), vec!["a [1]@a \"x\"@a"]),
        ] {
            assert_eq!(shown(&before, &after), want, "{before} {after}");
        }
    }

    #[test]
    fn one_alone_is_told_to_its_leaves() {
        let object = json!({"a": {"b": 1, "c": []}, "l": [{"name": "x", "v": 2}]});
        let paths = |all: Vec<Difference>| all.into_iter().map(|d| d.path).collect::<Vec<_>>();
        let want = ["a.b", "a.c", "l[x].name", "l[x].v"];
        assert_eq!(paths(differences(None, Some(&object))), want);
        assert_eq!(paths(differences(Some(&object), None)), want);
    }
}
