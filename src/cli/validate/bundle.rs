//! The kinds of Kubernetes itself, for work without a cluster: what a plain API server says of them, made small.
//!
//! `make kinds` writes the file anew from the cluster that `KUBECONFIG` leads to; it should be one without CRDs.

use crate::schema::openapi::Document;
use anyhow::{anyhow, bail};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

static FILE: &[u8] = include_bytes!("kubernetes.json.zlib");
/// More than the file holds. The file is our own, yet nothing is unpacked without bounds.
const MAX_BYTES: usize = 64 << 20;

/// Keywords that decide neither types nor lists.
const DROPPED: [&str; 8] = [
    "default",
    "enum",
    "pattern",
    "required",
    "x-kubernetes-map-type",
    "x-kubernetes-patch-merge-key",
    "x-kubernetes-patch-strategy",
    "x-kubernetes-unions",
];

pub struct Bundle {
    /// The version of the API server that the file was read from.
    pub version: String,
    pub document: Document,
}

/// The built-in kinds, unpacked once: a webhook judges by them again and again.
///
/// # Errors
/// The file in the program is broken.
pub fn read() -> anyhow::Result<&'static Bundle> {
    static READ: LazyLock<Result<Bundle, String>> =
        LazyLock::new(|| unpacked().map_err(|error| format!("{error:#}")));
    READ.as_ref().map_err(|error| anyhow!("{error}"))
}

fn unpacked() -> anyhow::Result<Bundle> {
    let bytes = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(FILE, MAX_BYTES)
        .map_err(|e| anyhow!("the built-in kinds of Kubernetes: {e}"))?;
    let mut value: Value = serde_json::from_slice(&bytes)?;
    let version = value.get("version").and_then(Value::as_str).unwrap_or_default().to_owned();
    let document = value.get_mut("document").map(Value::take).unwrap_or_default();
    let document = Document::new(document).map_err(|e| anyhow!("the built-in kinds of Kubernetes: {e}"))?;
    Ok(Bundle { version, document })
}

/// The bytes of the file, from the documents of a server.
///
/// # Errors
/// A document is none.
pub fn write(version: &str, documents: &[Value]) -> anyhow::Result<Vec<u8>> {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for document in documents {
        let Some(all) = document.get("paths").and_then(Value::as_object) else {
            bail!("not an OpenAPI v3 document: it has no paths");
        };
        for (path, operations) in all.iter().filter(|(path, _)| path.ends_with("/{name}")) {
            if let Some(kind) = operations.pointer("/get/x-kubernetes-group-version-kind") {
                paths.insert(path.clone(), json!({"get": {"x-kubernetes-group-version-kind": kind}}));
            }
        }
        let found = document.pointer("/components/schemas").and_then(Value::as_object);
        for (name, schema) in found.into_iter().flatten() {
            schemas.insert(name.clone(), Value::Object(slim_fields(schema)));
        }
    }
    let all = json!({"version": version, "document": {"paths": paths, "components": {"schemas": schemas}}});
    Ok(miniz_oxide::deflate::compress_to_vec_zlib(all.to_string().as_bytes(), 10))
}

/// A schema without the keywords that nobody asks for. A property may have the name of a keyword, and stays.
fn slim_fields(schema: &Value) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, value) in schema.as_object().into_iter().flatten() {
        let slim = match (key.as_str(), value) {
            (dropped, _) if DROPPED.contains(&dropped) => continue,
            ("description", Value::String(text)) => first_sentence(text).into(),
            ("properties", Value::Object(properties)) => {
                properties.iter().map(|(name, p)| (name.clone(), Value::Object(slim_fields(p)))).collect()
            }
            ("items" | "additionalProperties", Value::Object(_)) => Value::Object(slim_fields(value)),
            _ => value.clone(),
        };
        out.insert(key.clone(), slim);
    }
    out
}

fn first_sentence(text: &str) -> &str {
    let text = text.trim();
    text.find(". ").and_then(|dot| text.get(..=dot)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Gvk;

    #[test]
    fn the_kinds_of_kubernetes_are_there() {
        assert!(FILE.len() < 600_000, "{}", FILE.len());
        let bundle = read().unwrap();
        assert!(bundle.version.starts_with("v1."), "{}", bundle.version);
        for (api, kind, namespaced, pointer) in [
            ("v1", "Pod", true, "/properties/spec/properties/containers/items/properties/image"),
            ("apps/v1", "Deployment", true, "/properties/spec/properties/selector/properties/matchLabels"),
            ("v1", "Namespace", false, "/properties/metadata/properties/name"),
            ("rbac.authorization.k8s.io/v1", "ClusterRole", false, "/properties/rules"),
            (
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                false,
                "/properties/spec/properties/names",
            ),
        ] {
            let found = bundle.document.kind(&Gvk::from_api(api, kind)).unwrap();
            assert_eq!(found.namespaced, namespaced, "{kind}");
            assert!(found.schema.pointer(pointer).is_some(), "{kind} {pointer}");
        }
    }

    #[test]
    fn a_field_may_have_the_name_of_a_keyword() {
        let schema =
            json!({"required": ["enum"], "properties": {"enum": {"type": "string", "default": "a"}}});
        assert_eq!(Value::Object(slim_fields(&schema)), json!({"properties": {"enum": {"type": "string"}}}));
    }
}
