//! The schemas of all views, as they stand in docs/cli/schemas.

use super::changes::{Diff, Plan};
use super::chosen::Choice;
use super::clusters::{ClusterList, Facts};
use super::document::{View, schema};
use super::events::EventList;
use super::fleet::FleetTable;
use super::reasons::Explanation;
use super::registry::{ClusterTable, DefinitionTable};
use super::trace::{Trace, Traces};
use serde_json::Value;

fn all() -> Vec<(&'static str, Value)> {
    vec![
        (FleetTable::KIND, schema::<FleetTable>()),
        (ClusterTable::KIND, schema::<ClusterTable>()),
        (DefinitionTable::KIND, schema::<DefinitionTable>()),
        (Trace::KIND, schema::<Trace>()),
        (Traces::KIND, schema::<Traces>()),
        (Diff::KIND, schema::<Diff>()),
        (Plan::KIND, schema::<Plan>()),
        (ClusterList::KIND, schema::<ClusterList>()),
        (Facts::KIND, schema::<Facts>()),
        (Choice::KIND, schema::<Choice>()),
        (Explanation::KIND, schema::<Explanation>()),
        (EventList::KIND, schema::<EventList>()),
    ]
}

/// With `UPDATE_SCHEMAS=1` they are written instead.
#[test]
fn the_published_schemas_are_those_of_the_views() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli/schemas");
    let mut names: Vec<String> = Vec::new();
    for (kind, schema) in all() {
        let name = format!("{}.json", kind.to_lowercase());
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(&name), &text).unwrap();
        }
        let published = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(
            published == text,
            "{name} differs: UPDATE_SCHEMAS=1 writes it anew; fields are only ever added"
        );
        names.push(name);
    }
    let mut there: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    there.sort();
    names.sort();
    assert_eq!(there, names, "nothing is published that no view has");
}

/// What is wrong with a document of a view by its schema.
pub(super) fn wrong<V: View>(view: &V) -> Vec<String> {
    let document: Value = serde_json::from_str(&view.json()).unwrap();
    let (mut out, root) = (Vec::new(), schema::<V>());
    Check { root: &root }.of(&root, &document, "", &mut out);
    out
}

struct Check<'a> {
    root: &'a Value,
}

impl Check<'_> {
    /// Of JSON Schema, what schemars writes: types, properties, required, items, enums, constants, alternatives, references.
    fn of(&self, schema: &Value, value: &Value, path: &str, out: &mut Vec<String>) {
        const KNOWN: [&str; 17] = [
            "$schema",
            "$ref",
            "$defs",
            "title",
            "description",
            "type",
            "properties",
            "required",
            "items",
            "enum",
            "const",
            "anyOf",
            "oneOf",
            "format",
            "minimum",
            "maximum",
            "additionalProperties",
        ];
        let Some(words) = schema.as_object() else { return };
        for word in words.keys().filter(|word| !KNOWN.contains(&word.as_str())) {
            out.push(format!("{path}: the test does not know {word}"));
        }
        if let Some(name) = words.get("$ref").and_then(Value::as_str) {
            match self.root.pointer(name.trim_start_matches('#')) {
                Some(schema) => self.of(schema, value, path, out),
                None => out.push(format!("{path}: nothing is at {name}")),
            }
        }
        let is = |of_type: &str| match of_type {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            _ => false,
        };
        let types: Vec<&str> = match words.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if !types.is_empty() && !types.iter().any(|t| is(t)) {
            out.push(format!("{path}: {value} is not {types:?}"));
        }
        if words.get("const").is_some_and(|c| c != value)
            || words.get("enum").and_then(Value::as_array).is_some_and(|all| !all.contains(value))
        {
            out.push(format!("{path}: {value} is not among the values"));
        }
        for key in ["anyOf", "oneOf"] {
            let Some(ways) = words.get(key).and_then(Value::as_array) else { continue };
            let fits = |way: &&Value| {
                let mut found = Vec::new();
                self.of(way, value, path, &mut found);
                found.is_empty()
            };
            if !ways.iter().any(|way| fits(&way)) {
                out.push(format!("{path}: {value} fits no way of {key}"));
            }
        }
        let properties = words.get("properties").and_then(Value::as_object);
        if let (Some(properties), Some(object)) = (properties, value.as_object()) {
            for (name, inner) in object {
                match properties.get(name) {
                    Some(schema) => self.of(schema, inner, &format!("{path}.{name}"), out),
                    None => out.push(format!("{path}.{name} is not in the schema")),
                }
            }
            let required = words.get("required").and_then(Value::as_array).into_iter().flatten();
            for name in required.filter_map(Value::as_str).filter(|name| !object.contains_key(*name)) {
                out.push(format!("{path}.{name} is missing"));
            }
        }
        if let (Some(schema), Some(items)) = (words.get("items"), value.as_array()) {
            items
                .iter()
                .enumerate()
                .for_each(|(at, item)| self.of(schema, item, &format!("{path}[{at}]"), out));
        }
        if let (Some(schema), None, Some(object)) =
            (words.get("additionalProperties"), words.get("properties"), value.as_object())
        {
            object.iter().for_each(|(name, inner)| self.of(schema, inner, &format!("{path}.{name}"), out));
        }
    }
}

#[test]
fn a_document_that_does_not_fit_would_be_seen() {
    let schema = schema::<Explanation>();
    let mut out = Vec::new();
    let document =
        serde_json::json!({"apiVersion": "other", "kind": "Explanation", "reason": 7, "more": true});
    Check { root: &schema }.of(&schema, &document, "", &mut out);
    out.sort();
    assert_eq!(
        out,
        [
            ".apiVersion: \"other\" is not among the values",
            ".entries is missing",
            ".more is not in the schema",
            ".reason: 7 is not [\"string\"]",
        ]
    );
}
