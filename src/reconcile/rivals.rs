//! Who else has a say in an object: which field was taken from us, and by which field manager.

use super::ownership::ListKey;
use serde_json::{Map, Value};

/// What another field manager owns of an object.
#[derive(Debug, Clone)]
pub struct Rival {
    pub manager: String,
    /// FieldsV1.
    pub fields: Value,
}

/// The managers besides `ours`, the last writer first. What a status subresource owns of the status is left out: nothing
/// of ours is there.
pub fn rivals(object: &Value, ours: &[&str]) -> Vec<Rival> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let text =
        |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut found: Vec<(String, Rival)> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let manager = text(entry, "manager");
            let fields = entry.get("fieldsV1").filter(|_| !ours.contains(&manager.as_str()))?;
            let fields = if text(entry, "subresource").is_empty() {
                fields.clone()
            } else {
                let mut rest = fields.as_object()?.clone();
                rest.remove("f:status");
                if rest.is_empty() {
                    return None;
                }
                Value::Object(rest)
            };
            Some((text(entry, "time"), Rival { manager, fields }))
        })
        .collect();
    found.sort_by(|a, b| b.0.cmp(&a.0));
    found.into_iter().map(|(_, rival)| rival).collect()
}

/// Who besides `ours` set the value at a place of an object, where none of ours has a say in it: the last writer. `steps`
/// are keys and positions from the root.
pub fn owner(object: &Value, ours: &[&str], steps: &[String]) -> Option<String> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let is_ours = |entry: &&Value| {
        let manager = entry.get("manager").and_then(Value::as_str).unwrap_or_default();
        ours.contains(&manager)
    };
    let own = entries.into_iter().flatten().filter(is_ours);
    if own.filter_map(|entry| entry.get("fieldsV1")).any(|fields| has(fields, object, steps)) {
        return None;
    }
    let theirs = rivals(object, ours);
    theirs.into_iter().find(|rival| has(&rival.fields, object, steps)).map(|rival| rival.manager)
}

/// Whether FieldsV1 name the value at a place, or something in or around it.
fn has(fields: &Value, value: &Value, steps: &[String]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return true };
    if fields.as_object().is_none_or(Map::is_empty) {
        return true;
    }
    let inner = match value {
        Value::Array(items) => step.parse().ok().and_then(|at: usize| {
            let item = items.get(at)?;
            let (_, inner) = keys(fields).find(|(key, _)| key.matches(at, item))?;
            Some((inner, item))
        }),
        value => fields.get(format!("f:{step}")).zip(value.get(step)),
    };
    inner.is_some_and(|(fields, value)| has(fields, value, rest))
}

/// A field that we want and that another manager has instead of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub path: String,
    pub manager: String,
}

/// The first such field. `ours` is what our own entry says, as FieldsV1.
pub fn taken(desired: &Value, live: &Value, ours: Option<&Value>, rivals: &[Rival]) -> Option<Taken> {
    let theirs: Vec<(&str, &Value)> = rivals.iter().map(|r| (r.manager.as_str(), &r.fields)).collect();
    below(desired, Some(live), ours, &theirs, "")
}

/// Below a path that `theirs` have a say in.
fn below(
    desired: &Value,
    live: Option<&Value>,
    ours: Option<&Value>,
    theirs: &[(&str, &Value)],
    path: &str,
) -> Option<Taken> {
    let (manager, _) = theirs.first()?;
    let is_whole = |fields: &Value| fields.as_object().is_none_or(|f| f.keys().all(|k| k == "."));
    match desired {
        Value::Object(fields) if !theirs.iter().all(|(_, f)| is_whole(f)) => {
            fields.iter().find_map(|(name, value)| {
                let key = format!("f:{name}");
                let theirs = step(theirs, |f| f.get(&key));
                let live = live.and_then(|l| l.get(name));
                below(value, live, ours.and_then(|o| o.get(&key)), &theirs, &join(path, name))
            })
        }
        Value::Array(items) if !theirs.iter().all(|(_, f)| is_whole(f)) => {
            let live = live.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            items.iter().find_map(|item| taken_of_item(item, live, ours, theirs, path))
        }
        _ => ours.is_none().then(|| Taken { path: path.to_owned(), manager: (*manager).to_owned() }),
    }
}

/// Of one item of a list whose items are told apart.
fn taken_of_item(
    item: &Value,
    live: &[Value],
    ours: Option<&Value>,
    theirs: &[(&str, &Value)],
    path: &str,
) -> Option<Taken> {
    let ours = ours.and_then(|fields| entry_of(fields, item));
    let their_items = step(theirs, |fields| entry_of(fields, item));
    if !their_items.is_empty() {
        let keys = theirs.iter().find_map(|(_, fields)| key_of(fields, item));
        let found = keys.and_then(|key| live.iter().enumerate().find(|(i, v)| key.matches(*i, v)));
        let path = format!("{path}[{}]", named(item, theirs));
        return below(item, found.map(|(_, v)| v), ours, &their_items, &path);
    }
    // Our item is gone, and they have others in its list.
    let (manager, key) = theirs.iter().find_map(|(m, fields)| Some((*m, any_key(fields)?)))?;
    let stays = ours.is_some() || live.iter().any(|other| key.is_same(item, other));
    (!stays).then(|| Taken { path: format!("{path}[{}]", named(item, theirs)), manager: manager.to_owned() })
}

fn step<'a, 'f>(
    theirs: &[(&'a str, &'f Value)],
    inner: impl Fn(&'f Value) -> Option<&'f Value>,
) -> Vec<(&'a str, &'f Value)> {
    theirs.iter().filter_map(|(manager, fields)| Some((*manager, inner(fields)?))).collect()
}

pub(super) fn join(path: &str, name: &str) -> String {
    match (path.is_empty(), name.contains(['.', '/'])) {
        (_, true) => format!("{path}[{name}]"),
        (true, false) => name.to_owned(),
        (false, false) => format!("{path}.{name}"),
    }
}

/// The path of an item of a list that is keyed like this.
pub(super) fn item_path(path: &str, item: &Value, key: &ListKey) -> String {
    format!("{path}[{}]", in_words(item, Some(key)))
}

fn named(item: &Value, theirs: &[(&str, &Value)]) -> String {
    in_words(item, theirs.iter().find_map(|(_, fields)| any_key(fields)).as_ref())
}

/// What tells an item apart, in a few words.
fn in_words(item: &Value, key: Option<&ListKey>) -> String {
    let say = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match key {
        Some(ListKey::Keys(keys)) => {
            let known = keys.keys().filter_map(|k| Some(format!("{k}={}", say(item.get(k)?))));
            known.collect::<Vec<_>>().join(",")
        }
        _ => say(item),
    }
}

fn keys(fields: &Value) -> impl Iterator<Item = (ListKey, &Value)> {
    let fields = fields.as_object().into_iter().flatten();
    fields.filter_map(|(key, inner)| Some((ListKey::parse(key)?, inner)))
}
pub(super) fn any_key(fields: &Value) -> Option<ListKey> {
    keys(fields).map(|(key, _)| key).next()
}
fn entry_of<'f>(fields: &'f Value, item: &Value) -> Option<&'f Value> {
    keys(fields).find(|(key, _)| key.may_mean(item)).map(|(_, inner)| inner)
}
fn key_of(fields: &Value, item: &Value) -> Option<ListKey> {
    keys(fields).map(|(key, _)| key).find(|key| key.may_mean(item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_owner_of_a_place_is_the_last_who_wrote_it_unless_it_is_ours() {
        let entry = |manager: &str, time: &str, fields: Value| json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields});
        let image = |name: &str| json!({"f:spec": {"f:list": {(format!("k:{{\"name\":\"{name}\"}}")): {"f:image": {}}}}});
        let object = json!({"metadata": {"managedFields": [
                entry("ours", "1", json!({"f:spec": {"f:a": {}, "f:both": {}, "f:list": {"k:{\"name\":\"x\"}": {"f:image": {}}}}})),
                entry("old", "1", json!({"f:spec": {"f:b": {}}})),
                entry("new", "2", json!({"f:spec": {"f:b": {}, "f:both": {}, "f:whole": {}}})),
                entry("list", "2", image("y"))]},
            "spec": {"a": 1, "b": 2, "both": 3, "whole": {"deep": 1},
                "list": [{"name": "x", "image": "i"}, {"name": "y", "image": "j"}]}});
        for (path, want) in [
            ("spec/a", None),
            ("spec/b", Some("new")),
            ("spec/both", None),
            ("spec/whole/deep", Some("new")),
            ("spec/list/0/image", None),
            ("spec/list/1/image", Some("list")),
            ("spec/none", None),
        ] {
            let steps: Vec<String> = path.split('/').map(str::to_owned).collect();
            assert_eq!(owner(&object, &["ours"], &steps).as_deref(), want, "{path}");
        }
    }

    fn entry(manager: &str, subresource: &str, time: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": "Update", "subresource": subresource, "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    #[test]
    fn the_manager_of_a_field_is_who_has_that_field() {
        let container = r#"k:{"name":"app"}"#;
        let port = |n: u16| format!(r#"k:{{"port":{n},"protocol":"TCP"}}"#);
        let live = |entries: Vec<Value>| {
            json!({"metadata": {"managedFields": entries}, "spec": {
                "ports": [{"port": 81, "protocol": "TCP"}], "containers": [{"name": "app", "image": "x"}]}})
        };
        let ours = json!({"f:metadata": {"f:labels": {"f:a": {}}},
            "f:spec": {"f:containers": {container: {".": {}, "f:name": {}, "f:env": {}}}}});
        let desired = json!({"metadata": {"labels": {"a": "1"}, "annotations": {"x.io/revision": "5"}},
            "spec": {"replicas": 1, "containers": [{"name": "app", "image": "y", "env": {"A": "1"}}],
                "ports": [{"port": 80}], "rules": {"a": {"b": 1}}}});
        let scaler = entry("scaler", "scale", "t3", &json!({"f:spec": {"f:replicas": {}}}));
        let status = entry("kcm", "status", "t9", &json!({"f:status": {"f:x": {}}}));
        let revision =
            json!({"f:status": {}, "f:metadata": {"f:annotations": {".": {}, "f:x.io/revision": {}}}});
        let kcm = entry("kcm", "status", "t2", &revision);
        let setter =
            entry("setter", "", "t1", &json!({"f:spec": {"f:containers": {container: {"f:image": {}}}}}));
        let patch =
            entry("patch", "", "t4", &json!({"f:spec": {"f:ports": {".": {}, port(81): {"f:port": {}}}}}));
        let whole = entry("whole", "", "t5", &json!({"f:spec": {"f:rules": {}}}));
        let other = entry("other", "", "t8", &json!({"f:spec": {"f:nothing": {}}, "f:data": {"f:y": {}}}));
        let shares = entry("shares", "", "t7", &json!({"f:metadata": {"f:labels": {"f:a": {}}}}));
        type Case = (&'static str, Vec<Value>, Option<(&'static str, &'static str)>);
        let cases: [Case; 9] = [
            ("nobody", vec![status.clone(), other.clone()], None),
            ("the same value", vec![shares.clone()], None),
            ("one field", vec![scaler.clone(), other.clone(), status], Some(("spec.replicas", "scaler"))),
            (
                "through a status",
                vec![kcm, other.clone()],
                Some(("metadata.annotations[x.io/revision]", "kcm")),
            ),
            ("in an item", vec![setter.clone(), other], Some(("spec.containers[name=app].image", "setter"))),
            ("an item in place of ours", vec![patch], Some(("spec.ports[port=80]", "patch"))),
            ("a whole map", vec![whole], Some(("spec.rules", "whole"))),
            (
                "the first field",
                vec![scaler.clone(), setter],
                Some(("spec.containers[name=app].image", "setter")),
            ),
            (
                "the last writer",
                vec![entry("old", "", "t1", &json!({"f:spec": {"f:replicas": {}}})), shares, scaler],
                Some(("spec.replicas", "scaler")),
            ),
        ];
        for (case, entries, want) in cases {
            let live = live(entries);
            let got = taken(&desired, &live, Some(&ours), &rivals(&live, &["us"]));
            let want = want.map(|(path, manager)| Taken { path: path.into(), manager: manager.into() });
            assert_eq!(got, want, "{case}");
        }
    }

    #[test]
    fn of_others_only_what_a_fight_needs_is_kept() {
        let live = json!({"metadata": {"managedFields": [
            entry("us", "", "t1", &json!({"f:spec": {}})),
            entry("kubelet", "status", "t2", &json!({"f:status": {"f:phase": {}}}))]}});
        assert!(rivals(&live, &["us"]).is_empty());
    }
}
