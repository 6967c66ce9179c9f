//! A Kubernetes object as JSON, with the few accessors that everything needs.

use super::names::{GroupKind, Gvk, ObjectRef};
use serde_json::Value;
use std::collections::BTreeMap;

/// Any Kubernetes object. Accessors never fail: what is missing or of another type reads as empty.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Object(pub Value);

impl Object {
    pub fn str_at(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
    pub fn name(&self) -> &str {
        self.str_at("/metadata/name")
    }
    pub fn namespace(&self) -> &str {
        self.str_at("/metadata/namespace")
    }
    pub fn uid(&self) -> &str {
        self.str_at("/metadata/uid")
    }
    pub fn resource_version(&self) -> &str {
        self.str_at("/metadata/resourceVersion")
    }
    /// The resource version as a number; 0 where it is no number. One API server orders its objects by it.
    pub fn version(&self) -> u64 {
        self.resource_version().parse().unwrap_or_default()
    }
    pub fn generation(&self) -> i64 {
        self.0.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default()
    }
    pub fn is_deleting(&self) -> bool {
        self.0.pointer("/metadata/deletionTimestamp").is_some_and(|v| !v.is_null())
    }
    pub fn gvk(&self) -> Gvk {
        Gvk::from_api(self.str_at("/apiVersion"), self.str_at("/kind"))
    }
    pub fn group_kind(&self) -> GroupKind {
        self.gvk().group_kind()
    }
    pub fn object_ref(&self) -> ObjectRef {
        ObjectRef::new(self.group_kind(), self.namespace(), self.name())
    }
    pub fn label(&self, key: &str) -> Option<&str> {
        self.map_entry("labels", key)
    }
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.map_entry("annotations", key)
    }
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.map("labels")
    }
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.map("annotations")
    }
    pub fn finalizers(&self) -> Vec<String> {
        let list = self.0.pointer("/metadata/finalizers").and_then(Value::as_array);
        list.map(|l| l.iter().filter_map(Value::as_str).map(str::to_owned).collect()).unwrap_or_default()
    }

    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers().iter().any(|f| f == name)
    }
    /// The finalizers that stay when this one goes.
    pub fn finalizers_but(&self, name: &str) -> Vec<String> {
        self.finalizers().into_iter().filter(|f| f != name).collect()
    }

    /// Whether reconciling of this instance is suspended (`kro.run/reconcile`).
    pub fn is_suspended(&self) -> bool {
        let word = self.annotation(super::keys::kro::RECONCILE).unwrap_or_default();
        ["suspended", "disabled"].iter().any(|w| word.eq_ignore_ascii_case(w))
    }

    fn map_entry(&self, map: &str, key: &str) -> Option<&str> {
        self.0.get("metadata")?.get(map)?.get(key)?.as_str()
    }
    fn map(&self, map: &str) -> BTreeMap<String, String> {
        let found = self.0.get("metadata").and_then(|m| m.get(map)).and_then(Value::as_object);
        found
            .map(|m| m.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect())
            .unwrap_or_default()
    }
}
