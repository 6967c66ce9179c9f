//! Whether a path such as `schema.spec.name` leads to a field that the schema declares.

use crate::api::rgd::Scope;
use serde_json::{Value, json};

/// What stands at a path.
#[derive(Debug, PartialEq)]
pub enum Found<'s> {
    Schema(&'s Value),
    /// Somewhere above, the schema lets anything be.
    Anything,
}

/// A step that leads nowhere.
#[derive(Debug, PartialEq)]
pub struct Lost<'s> {
    /// How many steps were good.
    pub depth: usize,
    pub reason: Reason<'s>,
}

#[derive(Debug, PartialEq)]
pub enum Reason<'s> {
    /// The object has no such field; it has these.
    Undefined(Vec<&'s str>),
    /// What stands there has no fields at all.
    NotAnObject(&'s Value),
}

/// Follows field names from a schema.
pub fn find<'s, S: AsRef<str>>(root: &'s Value, steps: &[S]) -> Result<Found<'s>, Lost<'s>> {
    let mut at = root;
    for (depth, step) in steps.iter().enumerate() {
        let step = step.as_ref();
        let properties = at.get("properties").and_then(Value::as_object);
        let declared = properties.and_then(|p| p.get(step).or_else(|| p.get(&unescape(step))));
        if let Some(field) = declared {
            at = field;
        } else if at.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
            return Ok(Found::Anything);
        } else if let Some(values) = at.get("additionalProperties") {
            if !values.is_object() {
                return Ok(Found::Anything);
            }
            at = values;
        } else {
            let reason = match at.get("type").and_then(Value::as_str) {
                Some("object") => Reason::Undefined(
                    properties.map(|p| p.keys().map(String::as_str).collect()).unwrap_or_default(),
                ),
                Some(_) => Reason::NotAnObject(at),
                None => return Ok(Found::Anything),
            };
            return Err(Lost { depth, reason });
        }
    }
    Ok(Found::Schema(at))
}

/// Field names that are no CEL names are written escaped: `my__dash__field`.
fn unescape(name: &str) -> String {
    if !name.contains("__") {
        return name.to_owned();
    }
    let mut out = String::new();
    let mut rest = name;
    const ESCAPES: [(&str, &str); 4] =
        [("__dash__", "-"), ("__dot__", "."), ("__slash__", "/"), ("__underscores__", "__")];
    while !rest.is_empty() {
        match ESCAPES.iter().find_map(|(escape, plain)| Some((rest.strip_prefix(escape)?, plain))) {
            Some((after, plain)) => {
                out.push_str(plain);
                rest = after;
            }
            None => {
                let length = rest.chars().next().map_or(rest.len(), char::len_utf8);
                out.push_str(rest.get(..length).unwrap_or_default());
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }
    out
}

/// The schema of the variable `schema`: the instance without its status. Without a schema for the spec, because that
/// has problems of its own, anything goes below it.
pub fn instance(spec: Option<&Value>, scope: Scope) -> Value {
    let text = json!({"type": "string"});
    let time = json!({"type": "string", "format": "date-time"});
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let number = json!({"type": "integer"});
    let flag = json!({"type": "boolean"});
    let list = |items: Value| json!({"type": "array", "items": items});
    let mut metadata = json!({
        "name": text, "generateName": text, "namespace": text, "selfLink": text, "uid": text,
        "resourceVersion": text, "generation": number, "creationTimestamp": time, "deletionTimestamp": time,
        "deletionGracePeriodSeconds": number, "labels": texts, "annotations": texts, "finalizers": list(text.clone()),
        "ownerReferences": list(json!({"type": "object", "properties": {
            "apiVersion": text, "kind": text, "name": text, "uid": text, "controller": flag, "blockOwnerDeletion": flag,
        }})),
        "managedFields": list(json!({"type": "object", "properties": {
            "manager": text, "operation": text, "apiVersion": text, "time": time, "fieldsType": text,
            "subresource": text, "fieldsV1": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }})),
    });
    if let (Scope::Cluster, Some(fields)) = (scope, metadata.as_object_mut()) {
        fields.remove("namespace");
    }
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({"type": "object", "properties": {
        "apiVersion": text,
        "kind": text,
        "metadata": {"type": "object", "properties": metadata},
        "spec": spec.cloned().unwrap_or(anything),
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_the_schema_says() {
        let spec = json!({"type": "object", "properties": {
            "name": {"type": "string"},
            "my-field": {"type": "string"},
            "a__b": {"type": "integer"},
            "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"known": {"type": "object"}}},
            "labels": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {}}}},
            "empty": {"type": "object"},
            "list": {"type": "array", "items": {"type": "string"}},
        }});
        let root = instance(Some(&spec), Scope::Namespaced);
        for (path, want) in [
            ("spec.name", "ok"),
            ("spec.nmae", "undefined at 1 of a__b,empty,labels,list,my-field,name,raw"),
            ("spec.my__dash__field", "ok"),
            ("spec.my-field", "ok"),
            ("spec.a__b", "ok"),
            ("spec.a__underscores__b", "ok"),
            ("spec.raw.x.y.z", "any"),
            ("spec.raw.known", "ok"),
            ("spec.raw.known.x", "undefined at 3 of "),
            ("spec.labels.any.x", "ok"),
            ("spec.labels.any.y", "undefined at 3 of x"),
            ("spec.labels.any.x.y", "any"),
            ("spec.empty.x", "undefined at 2 of "),
            ("spec.list.x", "no object at 2"),
            ("spec.name.x", "no object at 2"),
            ("status", "undefined at 0 of apiVersion,kind,metadata,spec"),
            ("metadata.labels.x", "ok"),
            ("metadata.namespace", "ok"),
            ("kind", "ok"),
        ] {
            let steps: Vec<&str> = path.split('.').collect();
            let got = match find(&root, &steps) {
                Ok(Found::Schema(_)) => "ok".to_owned(),
                Ok(Found::Anything) => "any".to_owned(),
                Err(Lost { depth, reason: Reason::Undefined(known) }) => {
                    format!("undefined at {depth} of {}", known.join(","))
                }
                Err(Lost { depth, reason: Reason::NotAnObject(_) }) => format!("no object at {depth}"),
            };
            assert_eq!(got, want, "{path}");
        }
    }

    #[test]
    fn a_cluster_scoped_instance_has_no_namespace() {
        let root = instance(None, Scope::Cluster);
        assert!(find(&root, &["metadata", "namespace"]).is_err());
        assert_eq!(find(&root, &["spec", "x"]), Ok(Found::Anything));
    }
}
