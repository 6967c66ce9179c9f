//! A generated kind as an API server would publish it, so that it is read in the same way before it is served.

use super::Document;
use crate::api::Gvk;
use crate::schema::kinds::Kind;
use serde_json::{Value, json};

/// The kind of a CustomResourceDefinition's version with this schema. `metadata`: of any object.
fn published(gvk: &Gvk, namespaced: bool, mut schema: Value, metadata: &Value) -> Option<Kind> {
    if !schema.is_object() {
        schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    }
    let marked = json!({"group": &*gvk.group, "version": &*gvk.version, "kind": &*gvk.kind});
    if !schema.get("properties").is_some_and(Value::is_object) {
        schema["properties"] = json!({});
    }
    schema["properties"]["apiVersion"] = json!({"type": "string"});
    schema["properties"]["kind"] = json!({"type": "string"});
    schema["properties"]["metadata"] = metadata.clone();
    schema["x-kubernetes-group-version-kind"] = json!([marked]);
    let scope = if namespaced { "namespaces/{namespace}/" } else { "" };
    let path = format!("/apis/{}/{}/{scope}all/{{name}}", gvk.group, gvk.version);
    let document = Document::new(json!({
        "paths": {path: {"get": {"x-kubernetes-group-version-kind": marked}}},
        "components": {"schemas": {"Kind": schema}},
    }));
    document.ok()?.kind(gvk)
}

/// The versions in which a CustomResourceDefinition serves its kind. Any other object serves none.
fn served(crd: &Value) -> impl Iterator<Item = (Gvk, &Value)> {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, kind) = (text("/spec/group"), text("/spec/names/kind"));
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    versions.filter_map(move |version| {
        let name = version.get("name").and_then(Value::as_str).unwrap_or_default();
        if version.get("served") == Some(&Value::Bool(false)) || name.is_empty() || kind.is_empty() {
            return None;
        }
        Some((Gvk::new(group, name, kind), version))
    })
}

/// Whether a CustomResourceDefinition serves this kind.
pub fn serves(crd: &Value, gvk: &Gvk) -> bool {
    served(crd).any(|(served, _)| served == *gvk)
}

/// The kinds that a CustomResourceDefinition serves. `metadata`: of any object.
pub fn of_crd(crd: &Value, metadata: &Value) -> Vec<(Gvk, Kind)> {
    let namespaced = crd.pointer("/spec/scope").and_then(Value::as_str) != Some("Cluster");
    let kinds = served(crd).filter_map(|(gvk, version)| {
        let schema = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_default();
        let kind = published(&gvk, namespaced, schema, metadata)?;
        Some((gvk, kind))
    });
    kinds.collect()
}
