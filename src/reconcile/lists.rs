//! Lists in which somebody put items of their own in the place of ours.
//!
//! An apply adds our items again and does not touch those of others, and the API server may refuse both together: a
//! Service of two ports must name them. What has to go belongs to the other manager, so it is given to our own entry of
//! managedFields first; nothing else of the object changes. The apply that follows takes out what it owns and does not name,
//! in the same moment in which it brings ours back, and nobody is left as an owner of what is not theirs.

use super::ownership::ListKey;
use serde_json::{Map, Value, json};

/// The JSON patch of managedFields after which an apply of `desired` as `manager` replaces the items that took the place of
/// ours, in lists that `complaint` of the API server is about. `None`: there are none.
pub fn hand_over(live: &Value, desired: &Value, manager: &str, complaint: &str) -> Option<Value> {
    let mut entries = live.pointer("/metadata/managedFields")?.as_array()?.clone();
    let text =
        |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is = |entry: &Value, operation: &str| {
        text(entry, "operation") == operation && text(entry, "subresource").is_empty()
    };
    let own = entries.iter().position(|e| text(e, "manager") == manager && is(e, "Apply"))?;
    let version = text(entries.get(own)?, "apiVersion");
    let mut ours = entries.get(own)?.get("fieldsV1")?.clone();
    let mut moved = false;
    for (index, entry) in entries.iter_mut().enumerate() {
        if index != own
            && is(entry, "Update")
            && text(entry, "apiVersion") == version
            && let Some(theirs) = entry.get_mut("fieldsV1")
        {
            moved |= Lists { complaint }.within(desired, live, Owned { ours: &mut ours, theirs }, "");
        }
    }
    *entries.get_mut(own)?.get_mut("fieldsV1")? = ours;
    entries.retain(|e| e.get("fieldsV1").and_then(Value::as_object).is_none_or(|f| !f.is_empty()));
    moved.then(|| {
        json!([
            {"op": "replace", "path": "/metadata/managedFields", "value": entries},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": live.pointer("/metadata/resourceVersion")},
        ])
    })
}

/// Fields of one object, as FieldsV1: what we own, and what the other manager does.
struct Owned<'a> {
    ours: &'a mut Value,
    theirs: &'a mut Value,
}

struct Lists<'a> {
    complaint: &'a str,
}

impl Lists<'_> {
    /// Moves what is in the way below `path`; whether there was any. What is empty then goes.
    fn within(&self, desired: &Value, live: &Value, Owned { ours, theirs }: Owned, path: &str) -> bool {
        match (desired, live) {
            (Value::Object(wanted), Value::Object(there)) => {
                let mut moved = false;
                for (name, wanted) in wanted {
                    let key = format!("f:{name}");
                    let (Some(there), Some(theirs)) = (there.get(name), theirs.as_object_mut()) else {
                        continue;
                    };
                    let Some(below) = theirs.get_mut(&key) else { continue };
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    let mut own = ours.get(&key).cloned().unwrap_or_else(|| json!({}));
                    if self.within(wanted, there, Owned { ours: &mut own, theirs: below }, &path) {
                        moved = true;
                        if is_bare(below) {
                            theirs.remove(&key);
                        }
                        if let Some(ours) = ours.as_object_mut() {
                            ours.insert(key, own);
                        }
                    }
                }
                moved
            }
            (Value::Array(wanted), Value::Array(there)) if self.is_meant(path) => {
                match (ours.as_object_mut(), theirs.as_object_mut()) {
                    (Some(ours), Some(theirs)) => move_strangers(wanted, there, ours, theirs),
                    _ => false,
                }
            }
            _ => false,
        }
    }

    /// Whether the API server complains of this list or of an item of it.
    fn is_meant(&self, path: &str) -> bool {
        [":", "["].iter().any(|end| self.complaint.contains(&format!("{path}{end}")))
    }
}

/// The items that are theirs alone, if one of ours is gone.
fn move_strangers(
    wanted: &[Value],
    there: &[Value],
    ours: &mut Map<String, Value>,
    theirs: &mut Map<String, Value>,
) -> bool {
    let parsed: Vec<(String, ListKey)> =
        theirs.keys().filter_map(|k| Some((k.clone(), ListKey::parse(k)?))).collect();
    let Some((_, key)) = parsed.first() else { return false };
    let all_there = wanted.iter().all(|item| there.iter().any(|other| key.is_same(item, other)));
    if all_there {
        return false;
    }
    let strangers = parsed
        .iter()
        .filter(|(text, key)| !ours.contains_key(text) && !wanted.iter().any(|item| key.may_mean(item)));
    let strangers: Vec<String> = strangers.map(|(text, _)| text.clone()).collect();
    for text in &strangers {
        if let Some(fields) = theirs.remove(text) {
            ours.insert(text.clone(), fields);
        }
    }
    !strangers.is_empty()
}

/// Nothing is in it any more.
fn is_bare(fields: &Value) -> bool {
    fields.as_object().is_some_and(|f| f.keys().all(|k| k == "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u16) -> String {
        format!(r#"k:{{"port":{number},"protocol":"TCP"}}"#)
    }
    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }
    fn service(ports: &Value, entries: &[Value]) -> Value {
        json!({"metadata": {"resourceVersion": "7", "managedFields": entries}, "spec": {"ports": ports}})
    }

    #[test]
    fn items_in_the_place_of_ours_are_handed_over_and_nothing_else() {
        let refusal = "Service \"a\" is invalid: spec.ports[0].name: Required value";
        let ours = entry("us", "Apply", &json!({"f:spec": {"f:selector": {}}}));
        let owned = json!({".": {}, "f:port": {}});
        let patched = |keep: Value| {
            let mut fields = json!({"f:spec": {"f:ports": {".": {}, port(81): owned}}});
            if !keep.is_null() {
                fields["f:metadata"] = keep;
            }
            entry("kubectl-patch", "Update", &fields)
        };
        let theirs_alone = json!([{"port": 81, "protocol": "TCP"}]);
        let desired = json!({"spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}});
        let handed =
            entry("us", "Apply", &json!({"f:spec": {"f:selector": {}, "f:ports": {port(81): owned}}}));
        let labels = json!({"f:labels": {"f:x": {}}});
        let patch = |entries: &[Value]| {
            Some(json!([
                {"op": "replace", "path": "/metadata/managedFields", "value": entries},
                {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
            ]))
        };
        let both = json!([{"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}]);
        let got = |ports: &Value, entries: &[Value], refusal: &str| {
            hand_over(&service(ports, entries), &desired, "us", refusal)
        };
        let cases = [
            (
                "in place of ours",
                &theirs_alone,
                patched(Value::Null),
                refusal,
                patch(std::slice::from_ref(&handed)),
            ),
            (
                "other fields stay theirs",
                &theirs_alone,
                patched(labels.clone()),
                refusal,
                patch(&[handed, entry("kubectl-patch", "Update", &json!({"f:metadata": labels}))]),
            ),
            ("beside ours", &both, patched(Value::Null), refusal, None),
            (
                "another complaint",
                &theirs_alone,
                patched(Value::Null),
                "spec.portsX: no; spec.type: no",
                None,
            ),
        ];
        for (case, ports, theirs, refusal, want) in cases {
            assert_eq!(got(ports, &[ours.clone(), theirs], refusal), want, "{case}");
        }
        let applied = entry("them", "Apply", &json!({"f:spec": {"f:ports": {port(81): {}}}}));
        assert_eq!(got(&theirs_alone, &[ours, applied], refusal), None, "another apply keeps what it owns");
        assert_eq!(got(&theirs_alone, &[patched(Value::Null)], refusal), None, "nothing of it is ours");
    }
}
