//! Objects as they would be if what was only tried had been done.

use crate::reconcile::ownership::owned_part;
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Versions that are newer than any that a cluster shows.
#[derive(Debug)]
pub struct Versions(AtomicU64);

impl Default for Versions {
    fn default() -> Self {
        Self(AtomicU64::new(1 << 62))
    }
}

impl Versions {
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// The answer to a write that was not stored, as if it had been. `uid`: of the object that was made before in the same way.
pub fn stored(mut answer: Value, version: u64, uid: Option<&str>) -> Value {
    answer["metadata"]["resourceVersion"] = json!(version.to_string());
    if let Some(uid) = uid {
        answer["metadata"]["uid"] = json!(uid);
    }
    answer
}

/// What an apply by `manager` makes of an object, or of nothing, where no API server can be asked: fields of a map are put in
/// place, all else is as the body says.
pub fn applied(known: Option<&Value>, body: &Value, manager: &str, version: u64) -> Value {
    let mut made =
        known.cloned().unwrap_or_else(|| json!({"metadata": {"uid": format!("planned-{version}")}}));
    let finalizers = union(&made, body);
    lay(&mut made, body);
    if let Some(spec) = body.get("spec") {
        made["spec"] = spec.clone();
    }
    if !finalizers.is_empty() {
        made["metadata"]["finalizers"] = json!(finalizers);
    }
    made["metadata"]["resourceVersion"] = json!(version.to_string());
    let of = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut managers: Vec<Value> =
        made.pointer("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
    managers.retain(|entry| of(entry, "manager") != manager || of(entry, "operation") != "Apply");
    managers.push(json!({
        "manager": manager,
        "operation": "Apply",
        "apiVersion": body.get("apiVersion").cloned().unwrap_or_default(),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields(&owned_part(body)),
    }));
    made["metadata"]["managedFields"] = Value::Array(managers);
    made
}

/// An object that was asked to go and waits for its finalizers.
pub fn leaving(known: &Value, at: &str, version: u64) -> Value {
    let mut left = stored(known.clone(), version, None);
    left["metadata"]["deletionTimestamp"] = json!(at);
    left
}

/// What another manager put on an object as if it had been done stays there when the next answer does not know of it.
pub fn with_marks_of(mut answer: Value, known: &Value) -> Value {
    let finalizers = union(known, &answer);
    for field in ["labels", "annotations"] {
        let known = known.pointer(&format!("/metadata/{field}")).and_then(Value::as_object);
        for (key, value) in known.into_iter().flatten() {
            if answer.pointer(&format!("/metadata/{field}")).and_then(|map| map.get(key)).is_none() {
                answer["metadata"][field][key] = value.clone();
            }
        }
    }
    if !finalizers.is_empty() {
        answer["metadata"]["finalizers"] = json!(finalizers);
    }
    let entries =
        |object: &Value| object.pointer("/metadata/managedFields").and_then(Value::as_array).cloned();
    let mut managers = entries(&answer).unwrap_or_default();
    let manager = |entry: &Value| entry.get("manager").and_then(Value::as_str).map(str::to_owned);
    for entry in entries(known).unwrap_or_default() {
        if managers.iter().all(|own| manager(own) != manager(&entry)) {
            managers.push(entry);
        }
    }
    answer["metadata"]["managedFields"] = Value::Array(managers);
    answer
}

fn union(known: &Value, body: &Value) -> Vec<String> {
    let of = |object: &Value| -> Vec<String> {
        let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let mut all = of(known);
    let more: Vec<String> = of(body).into_iter().filter(|name| !all.contains(name)).collect();
    all.extend(more);
    all
}

fn lay(into: &mut Value, over: &Value) {
    match (into, over) {
        (Value::Object(into), Value::Object(over)) => {
            for (key, value) in over {
                lay(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, over) => *into = over.clone(),
    }
}

/// FieldsV1 of what a body sets; a list is owned as a whole.
fn fields(body: &Value) -> Value {
    match body {
        Value::Object(map) if !map.is_empty() => {
            let mut out = Map::new();
            for (key, value) in map {
                let inner = match value {
                    Value::Array(names) if key == "finalizers" => {
                        names.iter().map(|name| (format!("v:{name}"), json!({}))).collect()
                    }
                    value => fields(value),
                };
                out.insert(format!("f:{key}"), inner);
            }
            Value::Object(out)
        }
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::keys::kro::MANAGER_APPLYSET;
    use crate::reconcile::world::Stored;

    #[test]
    fn what_was_applied_is_there_and_is_its_managers() {
        let live = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "finalizers": ["x/y"],
                "labels": {"team": "a"}, "managedFields": [
                    {"manager": MANAGER_APPLYSET, "operation": "Apply", "fieldsV1": {"f:spec": {"f:old": {}}}},
                    {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:team": {}}}}}]},
            "spec": {"old": 1}});
        let body = json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "finalizers": ["kro.run/finalizer"],
            "labels": {"own": "true"}}, "spec": {"new": {"list": [1]}}});
        let made = applied(Some(&live), &body, MANAGER_APPLYSET, 9);
        assert_eq!(made["spec"], json!({"new": {"list": [1]}}));
        let meta = &made["metadata"];
        assert_eq!((&meta["uid"], &meta["resourceVersion"]), (&json!("u"), &json!("9")));
        assert_eq!(meta["finalizers"], json!(["x/y", "kro.run/finalizer"]));
        assert_eq!(meta["labels"], json!({"team": "a", "own": "true"}));
        let stored = Stored::new(made);
        let own = stored.projection(MANAGER_APPLYSET).unwrap().unpack();
        assert_eq!(
            own,
            json!({"metadata": {"finalizers": ["kro.run/finalizer"], "labels": {"own": "true"}},
            "spec": {"new": {"list": [1]}}})
        );
        assert_eq!(stored.rivals().len(), 1);
    }

    #[test]
    fn what_is_made_of_nothing_has_a_uid_of_its_own() {
        let body = json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}});
        let (one, other) = (applied(None, &body, "me", 1), applied(None, &body, "me", 2));
        assert!(one["metadata"]["uid"].is_string());
        assert_ne!(one["metadata"]["uid"], other["metadata"]["uid"]);
    }

    #[test]
    fn an_answer_keeps_what_others_put_there_meanwhile() {
        let known = applied(
            Some(&json!({"metadata": {"uid": "u"}})),
            &json!({"metadata": {"finalizers": ["kro.run/finalizer"], "annotations": {"a": "1"}}}),
            "other",
            5,
        );
        let answer = json!({"metadata": {"uid": "u", "annotations": {"b": "2"}}, "spec": {"x": 1}});
        let kept = with_marks_of(answer, &known);
        assert_eq!(kept["metadata"]["annotations"], json!({"a": "1", "b": "2"}));
        assert_eq!(kept["metadata"]["finalizers"], json!(["kro.run/finalizer"]));
        assert_eq!(kept["spec"], json!({"x": 1}));
    }
}
