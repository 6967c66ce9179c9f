//! JSON merge patch (RFC 7386) and JSON patch (RFC 6902), with errors as a server words them.

use serde_json::{Map, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchError {
    /// The patch is none: 400.
    Malformed(String),
    /// The patch does not fit the object: 422. A server keeps these words for itself: its message is `the server rejected our
    /// request due to an error in our request`.
    Failed(String),
}

/// RFC 7386.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Is it a merge patch at all?
///
/// # Errors
/// It is no object.
pub fn check_merge(patch: &Value) -> Result<(), PatchError> {
    if patch.is_object() { Ok(()) } else { Err(malformed(patch, "map[string]interface {}")) }
}

fn malformed(found: &Value, wanted: &str) -> PatchError {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    PatchError::Malformed(format!(
        "error decoding patch: json: cannot unmarshal {found} into Go value of type {wanted}"
    ))
}

/// RFC 6902. The object is the same as before when an operation fails.
///
/// # Errors
/// The patch is malformed or does not fit.
pub fn json(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = match patch {
        Value::Array(operations) => operations,
        Value::Null => return Err(PatchError::Malformed("invalid JSON patch".to_owned())),
        other => return Err(malformed(other, "[]handlers.jsonPatchOp")),
    };
    if let Some(other) = operations.iter().find(|o| !o.is_object()) {
        return Err(malformed(other, "handlers.jsonPatchOp"));
    }
    let mut object = target.clone();
    for operation in operations {
        step(&mut object, operation)?;
    }
    Ok(object)
}

fn step(object: &mut Value, operation: &Value) -> Result<(), PatchError> {
    let word = |name: &str| operation.get(name).and_then(Value::as_str);
    let path = word("path").unwrap_or_default();
    let from = word("from").unwrap_or_default();
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    let done = match word("op").unwrap_or("unknown") {
        "add" => add(object, path, value(), "add"),
        "remove" => remove(object, path, "remove", "path").map(|_| ()),
        "replace" => replace(object, path, value()),
        "move" => {
            remove(object, from, "move", "from path").and_then(|taken| add(object, path, taken, "move"))
        }
        // Other than the RFC says, a field that is not there is null for a server, if what should hold it is there.
        "copy" => match looked(object, from) {
            Some(found) => add(object, path, found, "copy"),
            None => {
                Err(format!("copy operation does not apply: doc is missing from path: {from}: missing value"))
            }
        },
        "test" => match looked(object, path) {
            Some(found) if found == value() => Ok(()),
            Some(_) => Err(format!("testing value {path} failed: test failed")),
            None => Err(format!("test operation does not apply: is missing path: {path}: missing value")),
        },
        other => Err(format!("Unexpected kind: {other}")),
    };
    done.map_err(PatchError::Failed)
}

/// What is at a path; null where only the last step is missing in an object.
fn looked(object: &mut Value, path: &str) -> Option<Value> {
    match parent(object, path)? {
        (Value::Object(fields), last) => Some(fields.get(&last).cloned().unwrap_or(Value::Null)),
        (Value::Array(items), last) => index(&last, items.len()).ok().and_then(|i| items.get(i).cloned()),
        _ => None,
    }
}

/// The place that holds the last step of a pointer, and that step with `~1` and `~0` taken back.
fn parent<'a>(object: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    // What comes before the first slash counts for nothing.
    let (above, last) = path.get(path.find('/')?..)?.rsplit_once('/')?;
    let place = object.pointer_mut(above).filter(|p| p.is_object() || p.is_array())?;
    Some((place, last.replace("~1", "/").replace("~0", "~")))
}

fn add(object: &mut Value, path: &str, value: Value, kind: &str) -> Result<(), String> {
    let within = |why: String| format!("error in {kind} for path: '{path}': {why}");
    match parent(object, path) {
        Some((Value::Object(fields), last)) => {
            fields.insert(last, value);
            Ok(())
        }
        Some((Value::Array(items), last)) if last == "-" => {
            items.push(value);
            Ok(())
        }
        Some((Value::Array(items), last)) => {
            let index = index(&last, items.len() + 1).map_err(within)?;
            items.insert(index, value);
            Ok(())
        }
        _ => Err(format!("{kind} operation does not apply: doc is missing path: \"{path}\": missing value")),
    }
}

fn remove(object: &mut Value, path: &str, kind: &str, which: &str) -> Result<Value, String> {
    let within = |why: String| format!("error in {kind} for path: '{path}': {why}");
    match parent(object, path) {
        Some((Value::Object(fields), last)) => fields
            .remove(&last)
            .ok_or_else(|| within(format!("Unable to remove nonexistent key: {last}: missing value"))),
        Some((Value::Array(items), last)) => {
            let index = index(&last, items.len()).map_err(within)?;
            Ok(items.remove(index))
        }
        _ => {
            Err(format!("{kind} operation does not apply: doc is missing {which}: \"{path}\": missing value"))
        }
    }
}

fn replace(object: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let missing = |what: &str| {
        format!("replace operation does not apply: doc is missing {what}: {path}: missing value")
    };
    match parent(object, path) {
        Some((Value::Object(fields), last)) => {
            // Other than the RFC says, a server adds a field that is not there.
            fields.insert(last, value);
            Ok(())
        }
        Some((Value::Array(items), last)) => {
            let index = index(&last, items.len()).map_err(|_| missing("key"))?;
            items[index] = value;
            Ok(())
        }
        _ => Err(missing("path")),
    }
}

/// An index below `count`; negative ones count from the end, as servers allow.
fn index(step: &str, count: usize) -> Result<usize, String> {
    let number: i64 = step.parse().map_err(|_| {
        format!(
            "value was not a proper array index: '{step}': strconv.Atoi: parsing {step:?}: invalid syntax"
        )
    })?;
    let size = i64::try_from(count).unwrap_or(i64::MAX);
    let number = if number < 0 { number + size } else { number };
    let found = usize::try_from(number).ok().filter(|n| *n < count);
    found.ok_or_else(|| format!("Unable to access invalid index: {step}: invalid index referenced"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merge_patches() {
        for (target, patch, merged) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut object = target.clone();
            merge(&mut object, &patch);
            assert_eq!(object, merged, "{target} with {patch}");
        }
    }

    #[test]
    fn json_patches() {
        let object = json!({"a": {"b": 1, "x/y~z": 2}, "list": ["p", "q"]});
        for (patch, changed) in [
            (
                json!({"op": "add", "path": "/a/c", "value": 3}),
                json!({"a": {"b": 1, "x/y~z": 2, "c": 3}, "list": ["p", "q"]}),
            ),
            (
                json!({"op": "add", "path": "/list/1", "value": "n"}),
                json!({"a": {"b": 1, "x/y~z": 2}, "list": ["p", "n", "q"]}),
            ),
            (
                json!({"op": "add", "path": "/list/-", "value": "n"}),
                json!({"a": {"b": 1, "x/y~z": 2}, "list": ["p", "q", "n"]}),
            ),
            (json!({"op": "remove", "path": "/a/x~1y~0z"}), json!({"a": {"b": 1}, "list": ["p", "q"]})),
            (json!({"op": "remove", "path": "/list/0"}), json!({"a": {"b": 1, "x/y~z": 2}, "list": ["q"]})),
            (json!({"op": "replace", "path": "/a", "value": null}), json!({"a": null, "list": ["p", "q"]})),
            (
                json!({"op": "move", "from": "/list", "path": "/a/l"}),
                json!({"a": {"b": 1, "x/y~z": 2, "l": ["p", "q"]}}),
            ),
            (
                json!({"op": "copy", "from": "/a/b", "path": "/list/0"}),
                json!({"a": {"b": 1, "x/y~z": 2}, "list": [1, "p", "q"]}),
            ),
            (json!({"op": "test", "path": "/a/b", "value": 1}), object.clone()),
            (json!({"op": "test", "path": "/a/none", "value": null}), object.clone()),
            (
                json!({"op": "replace", "path": "/new", "value": 1}),
                json!({"a": {"b": 1, "x/y~z": 2}, "list": ["p", "q"], "new": 1}),
            ),
            (json!({"op": "copy", "from": "/none", "path": "/a"}), json!({"a": null, "list": ["p", "q"]})),
            (json!({"op": "remove", "path": "/list/-1"}), json!({"a": {"b": 1, "x/y~z": 2}, "list": ["p"]})),
        ] {
            assert_eq!(json(&object, &json!([patch])), Ok(changed), "{patch}");
        }
    }

    #[test]
    fn a_json_patch_that_does_not_fit() {
        let object = json!({"a": {"b": 1}, "list": ["p"]});
        for (patch, why) in [
            (json!({"op": "test", "path": "/a/b", "value": 2}), "testing value /a/b failed: test failed"),
            (
                json!({"op": "add", "path": "/x/y", "value": 1}),
                "add operation does not apply: doc is missing path: \"/x/y\": missing value",
            ),
            (
                json!({"op": "remove", "path": "/a/c"}),
                "error in remove for path: '/a/c': Unable to remove nonexistent key: c: missing value",
            ),
            (
                json!({"op": "replace", "path": "/x/c", "value": 1}),
                "replace operation does not apply: doc is missing path: /x/c: missing value",
            ),
            (
                json!({"op": "add", "path": "/list/5", "value": 1}),
                "error in add for path: '/list/5': Unable to access invalid index: 5: invalid index referenced",
            ),
            (json!({"op": "jump", "path": "/a"}), "Unexpected kind: jump"),
        ] {
            assert_eq!(json(&object, &json!([patch])), Err(PatchError::Failed(why.to_owned())));
        }
        let what = "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp";
        assert_eq!(json(&object, &json!({})), Err(PatchError::Malformed(what.to_owned())));
        assert!(check_merge(&json!([])).is_err() && check_merge(&json!({})).is_ok());
    }
}
