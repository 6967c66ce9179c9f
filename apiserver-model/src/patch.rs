//! JSON merge patch (RFC 7386) and JSON patch (RFC 6902), with errors as a server words them.

use serde_json::{Map, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchError {
    /// The patch is none: 400.
    Malformed(String),
    /// The patch does not fit the object: 422.
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

/// RFC 6902. The object is the same as before when an operation fails.
///
/// # Errors
/// The patch is malformed or does not fit.
pub fn json(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Array(operations) = patch else {
        let what =
            "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch";
        return Err(PatchError::Malformed(what.to_owned()));
    };
    let mut object = target.clone();
    for operation in operations {
        step(&mut object, operation)?;
    }
    Ok(object)
}

fn step(object: &mut Value, operation: &Value) -> Result<(), PatchError> {
    let word = |name: &str| operation.get(name).and_then(Value::as_str);
    let kind = word("op").unwrap_or("unknown");
    let path = word("path").unwrap_or_default();
    let fails = |what: String| PatchError::Failed(what);
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    let missing = |kind: &str, path: &str| {
        PatchError::Failed(format!(
            "{kind} operation does not apply: doc is missing path: {path}: missing value"
        ))
    };
    match kind {
        "add" => {
            add(object, path, value()).map_err(|why| fails(format!("add operation does not apply: {why}")))
        }
        "remove" => match remove(object, path) {
            Ok(_) => Ok(()),
            Err(why) => Err(fails(format!("remove operation does not apply: {why}"))),
        },
        "replace" => {
            let place = find(object, path).ok_or_else(|| {
                fails(format!("replace operation does not apply: doc is missing key: {path}: missing value"))
            })?;
            *place = value();
            Ok(())
        }
        "move" => {
            let from = word("from").unwrap_or_default();
            let taken = remove(object, from).map_err(|_| missing("move", from))?;
            add(object, path, taken).map_err(|why| fails(format!("move operation does not apply: {why}")))
        }
        "copy" => {
            let from = word("from").unwrap_or_default();
            let found = find(object, from).cloned().ok_or_else(|| missing("copy", from))?;
            add(object, path, found).map_err(|why| fails(format!("copy operation does not apply: {why}")))
        }
        "test" => {
            let found = find(object, path).cloned().unwrap_or(Value::Null);
            if found == value() {
                return Ok(());
            }
            Err(fails(format!("testing path {path}: test failed")))
        }
        other => Err(fails(format!("unexpected kind: {other}"))),
    }
}

/// The steps of a pointer, `~1` and `~0` taken back.
fn steps(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(|s| s.replace("~1", "/").replace("~0", "~")).collect()
}

fn find<'a>(object: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    object.pointer_mut(path)
}

fn parent<'a>(object: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let mut steps = steps(path);
    let Some(last) = steps.pop() else { return Err(format!("doc is missing path: {path:?}: missing value")) };
    let end = path.rfind('/').unwrap_or(0);
    let place = object.pointer_mut(&path[..end]);
    let place = place.filter(|p| p.is_object() || p.is_array());
    place.map(|p| (p, last)).ok_or_else(|| format!("doc is missing path: {path:?}: missing value"))
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *object = value;
        return Ok(());
    }
    match parent(object, path)? {
        (Value::Object(fields), last) => {
            fields.insert(last, value);
        }
        (Value::Array(items), last) if last == "-" => items.push(value),
        (Value::Array(items), last) => {
            let index = index(&last, items.len() + 1, path)?;
            items.insert(index, value);
        }
        _ => {}
    }
    Ok(())
}

fn remove(object: &mut Value, path: &str) -> Result<Value, String> {
    match parent(object, path)? {
        (Value::Object(fields), last) => fields
            .remove(&last)
            .ok_or_else(|| format!("unable to remove nonexistent key: {last}: missing value")),
        (Value::Array(items), last) => {
            let index = index(&last, items.len(), path)?;
            Ok(items.remove(index))
        }
        _ => Err(format!("doc is missing path: {path:?}: missing value")),
    }
}

/// An index below `count`; negative ones count from the end, as servers allow.
fn index(step: &str, count: usize, path: &str) -> Result<usize, String> {
    let number: i64 = step.parse().map_err(|_| {
        format!("error in add for path: '{path}': strconv.Atoi: parsing {step:?}: invalid syntax")
    })?;
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let number = if number < 0 { number + count } else { number };
    if !(0..count).contains(&number) {
        return Err(format!("Unable to access invalid index: {step}: invalid index referenced"));
    }
    usize::try_from(number).map_err(|e| e.to_string())
}
