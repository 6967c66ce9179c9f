//! What an API server's OpenAPI v3 says of the kinds of one group and version.

mod implied;
mod needed;
mod published;
mod resolve;

use super::kinds::Kind;
use crate::api::Gvk;
use needed::{GVK, Operations, Whole};
pub use published::{of_crd, serves};
use resolve::Resolver;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Where objects of a kind are.
#[derive(Clone)]
struct Place {
    namespaced: bool,
    plural: String,
}

/// The document of one group and version, as `/openapi/v3/apis/<group>/<version>` serves it.
#[derive(Clone)]
pub struct Document {
    schemas: Map<String, Value>,
    /// Name of the schema, and where objects of the kind are.
    kinds: BTreeMap<Gvk, (String, Place)>,
}

impl Document {
    /// # Errors
    /// It is not an OpenAPI v3 document; says what is missing.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let whole: Whole = serde_json::from_slice(json).map_err(|e| format!("not OpenAPI: {e}"))?;
        Self::of(whole)
    }

    /// Makes a document of JSON that was parsed already.
    ///
    /// # Errors
    /// As for [`Self::parse`].
    pub fn new(json: Value) -> Result<Self, String> {
        let whole: Whole = serde_json::from_value(json).map_err(|e| format!("not OpenAPI: {e}"))?;
        Self::of(whole)
    }

    fn of(whole: Whole) -> Result<Self, String> {
        let Some(paths) = whole.paths else {
            return Err("not an OpenAPI v3 document: it has no paths".to_owned());
        };
        let places = places(&paths);
        let schemas: Map<String, Value> =
            whole.components.schemas.into_iter().map(|(name, schema)| (name, schema.0)).collect();
        let mut kinds = BTreeMap::new();
        for (name, schema) in &schemas {
            for gvk in schema.get(GVK).map(gvks).unwrap_or_default() {
                if let Some(place) = places.get(&gvk) {
                    kinds.insert(gvk, (name.clone(), place.clone()));
                }
            }
        }
        Ok(Self { schemas, kinds })
    }

    /// The kinds whose objects can be read and written.
    pub fn kinds(&self) -> impl Iterator<Item = &Gvk> {
        self.kinds.keys()
    }

    /// A kind with its whole schema.
    pub fn kind(&self, gvk: &Gvk) -> Option<Kind> {
        let (name, place) = self.kinds.get(gvk)?;
        let schema = Resolver::new(&self.schemas).object(name)?;
        Some(Kind { namespaced: place.namespaced, schema })
    }

    /// What a kind is called in paths.
    pub fn plural(&self, gvk: &Gvk) -> Option<&str> {
        self.kinds.get(gvk).map(|(_, place)| place.plural.as_str())
    }
}

/// One kind, or a list of them.
fn gvks(named: &Value) -> Vec<Gvk> {
    let found = match named {
        Value::Array(all) => all.iter().collect(),
        one @ Value::Object(_) => vec![one],
        _ => Vec::new(),
    };
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    found.into_iter().map(|v| Gvk::new(&text(v, "group"), &text(v, "version"), &text(v, "kind"))).collect()
}

/// The kinds that have objects with names of their own, told from the paths: `…/pods/{name}`, not `…/pods/{name}/status`.
fn places(paths: &BTreeMap<String, Operations>) -> BTreeMap<Gvk, Place> {
    let mut places = BTreeMap::new();
    for (path, operations) in paths {
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        let below = match parts.as_slice() {
            ["api", _version, below @ ..] => below,
            ["apis", _group, _version, below @ ..] => below,
            _ => continue,
        };
        let (namespaced, plural) = match below {
            ["namespaces", "{namespace}", plural, "{name}"] => (true, plural),
            [plural, "{name}"] => (false, plural),
            _ => continue,
        };
        for gvk in operations.get.as_ref().map(|get| gvks(&get.kind)).unwrap_or_default() {
            places.insert(gvk, Place { namespaced, plural: (*plural).to_owned() });
        }
    }
    places
}

/// The documents that a server has: by `api/v1` or `apis/<group>/<version>`, the path to fetch each from. The path
/// carries the hash of the content.
pub fn index(value: &Value) -> BTreeMap<String, String> {
    let paths = value.get("paths").and_then(Value::as_object);
    let entries = paths.into_iter().flatten().filter_map(|(name, entry)| {
        let url = entry.get("serverRelativeURL").and_then(Value::as_str)?;
        Some((name.clone(), url.to_owned()))
    });
    entries.collect()
}

/// The name of the document that a kind is in.
pub fn document_of(gvk: &Gvk) -> String {
    if gvk.group.is_empty() {
        format!("api/{}", gvk.version)
    } else {
        format!("apis/{}/{}", gvk.group, gvk.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Document {
        let gvk = json!([{"group": "x.io", "version": "v1", "kind": "Thing"}]);
        let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
        let value = json!({
            "paths": {
                "/apis/x.io/v1/": {"get": {}},
                "/apis/x.io/v1/namespaces/{namespace}/things/{name}": {
                    "get": {"x-kubernetes-group-version-kind": gvk[0]}, "parameters": []},
                "/apis/x.io/v1/namespaces/{namespace}/things/{name}/scale": {
                    "get": {"x-kubernetes-group-version-kind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}}},
            },
            "components": {"schemas": {
                "io.x.v1.Thing": {
                    "type": "object", "x-kubernetes-group-version-kind": gvk, "required": ["spec"],
                    "properties": {
                        "metadata": {"allOf": [reference("Meta")], "default": {}, "description": "About it. More."},
                        "port": reference("IntOrString"),
                        "amount": reference("Quantity"),
                        "tree": reference("Tree"),
                        "spec": {"type": "object", "properties": {"a": {"type": "string", "enum": ["x"], "default": "y"}}},
                        "keyed": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map",
                                  "x-kubernetes-list-map-keys": ["name"]},
                    },
                },
                "Meta": {"type": "object", "properties": {"name": {"type": "string"}}, "example": [{"x": 1}, null]},
                "IntOrString": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
                "Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
                "Tree": {"type": "object", "properties": {"left": reference("Tree"), "value": {"type": "integer"}}},
                "Scale": {"type": "object", "x-kubernetes-group-version-kind":
                          [{"group": "autoscaling", "version": "v1", "kind": "Scale"}]},
            }},
        });
        Document::parse(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_kind_is_whole_and_small() {
        let gvk = Gvk::new("x.io", "v1", "Thing");
        let kind = document().kind(&gvk).unwrap();
        assert!(kind.namespaced);
        assert_eq!(document().plural(&gvk), Some("things"));
        assert_eq!(
            kind.schema,
            json!({"type": "object", "properties": {
                "metadata": {"type": "object", "default": {}, "description": "About it.",
                    "properties": {"name": {"type": "string"}}},
                "port": {"x-kubernetes-int-or-string": true},
                "amount": {},
                "tree": {"type": "object", "properties": {
                    "left": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "value": {"type": "integer"},
                }},
                "spec": {"type": "object", "properties": {"a": {"type": "string", "default": "y"}}},
                "keyed": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map",
                          "x-kubernetes-list-map-keys": ["name"]},
            }})
        );
    }

    #[test]
    fn what_has_no_objects_is_no_kind() {
        let document = document();
        assert_eq!(document.kinds().count(), 1);
        assert_eq!(document.kind(&Gvk::new("autoscaling", "v1", "Scale")), None);
        assert!(Document::parse(b"{}").is_err() && Document::parse(b"<html>").is_err());
    }

    #[test]
    fn the_index_names_documents_by_group_and_version() {
        let value =
            json!({"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=A"}, "version": {}}});
        let want = [("api/v1".to_owned(), "/openapi/v3/api/v1?hash=A".to_owned())];
        assert_eq!(index(&value), BTreeMap::from(want));
        assert_eq!(document_of(&Gvk::from_api("v1", "Pod")), "api/v1");
        assert_eq!(document_of(&Gvk::from_api("apps/v1", "Deployment")), "apis/apps/v1");
    }
}
