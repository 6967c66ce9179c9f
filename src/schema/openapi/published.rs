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

/// The kinds that a CustomResourceDefinition serves. What is no such thing serves none.
pub fn of_crd(crd: &Value, metadata: &Value) -> Vec<(Gvk, Kind)> {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, kind) = (text("/spec/group"), text("/spec/names/kind"));
    let namespaced = text("/spec/scope") != "Cluster";
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let served = versions.filter_map(|version| {
        let name = version.get("name").and_then(Value::as_str).unwrap_or_default();
        if version.get("served") == Some(&Value::Bool(false)) || name.is_empty() || kind.is_empty() {
            return None;
        }
        let schema = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_default();
        let gvk = Gvk::new(group, name, kind);
        let kind = published(&gvk, namespaced, schema, metadata)?;
        Some((gvk, kind))
    });
    served.collect()
}
