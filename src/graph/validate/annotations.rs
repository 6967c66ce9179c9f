//! Labels and annotations with a meaning: kro's own, which authors may not set, and the hub's policies.

use crate::api::keys::hub;
use crate::api::rgd::ResourceGraphDefinition;
use crate::cel::Libraries;
use crate::graph::OnExisting;
use crate::graph::diagnostic::{Path, Problems};
use serde_json::{Map, Value};

const RESERVED_PREFIXES: [&str; 2] = ["kro.run/", "internal.kro.run/"];

/// The libraries that expressions of the definition may use beside kro's.
pub fn cel_libraries(rgd: &ResourceGraphDefinition, problems: &mut Problems) -> Libraries {
    let text = rgd.metadata.annotations.get(hub::CEL_LIBRARIES).map_or("", String::as_str);
    Libraries::parse(text).unwrap_or_else(|message| {
        problems.add(&Path::of(&["metadata", "annotations"]).key(hub::CEL_LIBRARIES), message);
        Libraries::default()
    })
}

/// Checks a template's labels and annotations, and reads the policy for objects that exist already.
pub fn of_template(
    metadata: &Map<String, Value>,
    path: &Path,
    problems: &mut Problems,
) -> Option<OnExisting> {
    for field in ["labels", "annotations"] {
        let path = path.key(field);
        match metadata.get(field) {
            Some(Value::Object(map)) => {
                reserved(field, map, &path, problems);
            }
            // Where one expression gives the whole map, the map is judged when it is evaluated.
            Some(Value::String(text)) if text.contains("${") => {}
            Some(Value::Null) | None => {}
            Some(_) => problems.add(&path, format!("metadata.{field} is not a map")),
        }
    }
    let annotations = metadata.get("annotations").and_then(Value::as_object)?;
    let path = path.key("annotations");
    choice(annotations, hub::TARGET, &["hub"], &path, problems);
    choice(annotations, hub::ON_DELETE, &["Delete", "Orphan"], &path, problems);
    match choice(annotations, hub::ON_EXISTING, &["Adopt", "AdoptIfEqual", "Fail"], &path, problems)? {
        "Adopt" => Some(OnExisting::Adopt),
        "AdoptIfEqual" => Some(OnExisting::AdoptIfEqual),
        _ => Some(OnExisting::Fail),
    }
}

fn reserved(field: &str, map: &Map<String, Value>, path: &Path, problems: &mut Problems) {
    for key in map.keys() {
        if let Some(prefix) = RESERVED_PREFIXES.iter().find(|p| key.starts_with(**p)) {
            problems
                .add(&path.key(key), format!("{field} with prefix {prefix} are reserved for internal use"));
        }
    }
}

/// The value of a policy annotation. It stays on the child and is read there, so it must be known now.
fn choice<'a>(
    annotations: &'a Map<String, Value>,
    key: &str,
    allowed: &[&str],
    path: &Path,
    problems: &mut Problems,
) -> Option<&'a str> {
    let value = annotations.get(key)?.as_str()?;
    if allowed.contains(&value) {
        return Some(value);
    }
    let message = if value.contains("${") {
        format!("{key} must be a literal, not an expression")
    } else {
        format!("{key} has no value {value:?}")
    };
    problems.add_with_help(&path.key(key), message, Some(format!("allowed are {}", allowed.join(", "))));
    None
}
