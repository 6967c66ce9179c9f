//! A custom resource as an API server shows it, by the schema of its kind.
//!
//! Whatever is stored, a read fills in the defaults of the schema and leaves out fields that the schema does not
//! know. So an object reads differently once its kind's schema has changed, and no watch tells of it. The rules here
//! are those of Kubernetes for structural schemas.

use serde_json::{Map, Value};
use std::borrow::Cow;

const PRESERVE_UNKNOWN: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";

/// The schema of the only version of a generated CustomResourceDefinition.
pub fn schema_of_crd(crd: &Value) -> Option<&Value> {
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema")
}

/// `object` as a server shows it that serves its kind with `schema`. Identity, metadata and status stay as they are.
pub fn as_served<'o>(object: &'o Value, schema: &Value) -> Cow<'o, Value> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let (Some(fields), Some(properties)) = (object.as_object(), properties) else {
        return Cow::Borrowed(object);
    };
    let own = |field: &str| matches!(field, "apiVersion" | "kind" | "metadata" | "status");
    let mut changed: Vec<(&String, Option<Value>)> = Vec::new();
    for (field, schema) in properties.iter().filter(|(field, _)| !own(field)) {
        let shown = shown(fields.get(field), schema);
        if shown.as_ref() != fields.get(field) {
            changed.push((field, shown));
        }
    }
    if !keeps_unknown(schema) {
        changed.extend(fields.keys().filter(|f| !own(f) && !properties.contains_key(*f)).map(|f| (f, None)));
    }
    if changed.is_empty() {
        return Cow::Borrowed(object);
    }
    let mut fields = fields.clone();
    for (field, value) in changed {
        match value {
            Some(value) => drop(fields.insert(field.clone(), value)),
            None => drop(fields.remove(field)),
        }
    }
    Cow::Owned(Value::Object(fields))
}

/// What a value of `schema` reads as; without `value` its default, if it has one.
pub fn shown(value: Option<&Value>, schema: &Value) -> Option<Value> {
    let default = || schema.get("default").filter(|d| !d.is_null());
    let value = match value {
        Some(Value::Null) if schema.get("nullable") != Some(&Value::Bool(true)) => default()?,
        Some(value) => value,
        None => default()?,
    };
    Some(match value {
        Value::Object(fields) => Value::Object(shown_fields(fields, schema)),
        Value::Array(items) => match schema.get("items") {
            Some(of_items) => Value::Array(
                items.iter().map(|item| shown(Some(item), of_items).unwrap_or(Value::Null)).collect(),
            ),
            None => value.clone(),
        },
        other => other.clone(),
    })
}

fn shown_fields(fields: &Map<String, Value>, schema: &Value) -> Map<String, Value> {
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let others = schema.get("additionalProperties");
    let is_embedded = schema.get(EMBEDDED) == Some(&Value::Bool(true));
    let mut out = Map::new();
    for (name, value) in fields {
        let kept = match (properties.get(name), others) {
            (Some(property), _) => shown(Some(value), property),
            (None, Some(values @ Value::Object(_))) => shown(Some(value), values),
            (None, Some(Value::Bool(true))) => Some(value.clone()),
            (None, _) if keeps_unknown(schema) || schema.get("type").is_none() => Some(value.clone()),
            (None, _) if is_embedded && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") => {
                Some(value.clone())
            }
            (None, _) => None,
        };
        if let Some(kept) = kept {
            out.insert(name.clone(), kept);
        }
    }
    for (name, property) in properties.iter().filter(|(name, _)| !fields.contains_key(*name)) {
        if let Some(default) = shown(None, property) {
            out.insert(name.clone(), default);
        }
    }
    out
}

fn keeps_unknown(schema: &Value) -> bool {
    schema.get(PRESERVE_UNKNOWN) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec_schema: Value, spec: Value, want: Value) {
        let schema = json!({"type": "object", "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
            "spec": spec_schema,
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
        let object = json!({"kind": "App", "metadata": {"name": "a", "labels": {"x": "y"}}, "spec": spec});
        let shown = as_served(&object, &schema);
        assert_eq!(shown["spec"], want);
        assert_eq!(shown["metadata"], object["metadata"]);
        assert_eq!(
            matches!(shown, Cow::Borrowed(_)),
            want == spec,
            "nothing is copied where nothing changes"
        );
        let again = as_served(&shown, &schema);
        assert!(matches!(again, Cow::Borrowed(_)), "once is enough");
    }

    fn object(properties: Value) -> Value {
        json!({"type": "object", "properties": properties})
    }

    #[test]
    fn a_default_is_there_before_the_object_is_written_again() {
        let text = json!({"type": "string", "default": "x"});
        check(object(json!({"a": text})), json!({}), json!({"a": "x"}));
        check(object(json!({"a": text})), json!({"a": "y"}), json!({"a": "y"}));
        check(object(json!({"a": text})), json!({"a": null}), json!({"a": "x"}));
        check(
            object(json!({"a": {"type": "string", "default": "x", "nullable": true}})),
            json!({"a": null}),
            json!({"a": null}),
        );
        // The default of a nested field is filled in only where the object around it is there, or has a default
        // itself.
        check(object(json!({"o": object(json!({"a": text}))})), json!({}), json!({}));
        check(object(json!({"o": object(json!({"a": text}))})), json!({"o": {}}), json!({"o": {"a": "x"}}));
        let defaulted = json!({"type": "object", "default": {}, "properties": {"a": text}});
        check(object(json!({"o": defaulted})), json!({}), json!({"o": {"a": "x"}}));
        // Defaults are filled into items of lists and values of maps too.
        let items = json!({"type": "array", "items": object(json!({"a": text, "b": {"type": "integer"}}))});
        check(
            object(json!({"l": items})),
            json!({"l": [{"b": 1}, {"a": "y"}]}),
            json!({"l": [{"b": 1, "a": "x"}, {"a": "y"}]}),
        );
        let values = json!({"type": "object", "additionalProperties": object(json!({"a": text}))});
        check(object(json!({"m": values})), json!({"m": {"k": {}}}), json!({"m": {"k": {"a": "x"}}}));
        // A default that is zero or empty is a value like any other.
        for zero in [json!(0), json!(false), json!(""), json!([]), json!({})] {
            check(object(json!({"a": {"default": zero}})), json!({}), json!({"a": zero}));
        }
    }

    #[test]
    fn what_the_schema_does_not_know_is_not_there() {
        let known = json!({"type": "string"});
        check(object(json!({"a": known})), json!({"a": "1", "old": {"b": 1}}), json!({"a": "1"}));
        check(object(json!({"o": object(json!({"a": known}))})), json!({"o": {"old": 1}}), json!({"o": {}}));
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        check(object(json!({"o": open})), json!({"o": {"any": 1}}), json!({"o": {"any": 1}}));
        check(object(json!({"o": {}})), json!({"o": {"any": 1}}), json!({"o": {"any": 1}}));
        let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
        check(object(json!({"m": map})), json!({"m": {"any": "1"}}), json!({"m": {"any": "1"}}));
        let embedded =
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"a": known}});
        let pod = json!({"kind": "Pod", "metadata": {"name": "p"}, "a": "1", "b": "2"});
        check(
            object(json!({"o": embedded})),
            json!({"o": pod}),
            json!({"o": {"kind": "Pod", "metadata": {"name": "p"}, "a": "1"}}),
        );
    }
}
