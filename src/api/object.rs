//! A Kubernetes object as JSON, with the few accessors that everything needs.

use super::names::{GroupKind, Gvk, ObjectRef};
use super::packed::Packed;
use serde_json::Value;
use std::collections::BTreeMap;

/// Any Kubernetes object. Accessors never fail: what is missing or of another type reads as empty.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Object<D = Value>(pub D);

/// An object in few bytes.
pub type PackedObject = Object<Packed>;

/// JSON that is read at paths of keys.
pub trait Document {
    fn text_at(&self, path: &[&str]) -> Option<&str>;
    fn whole_number_at(&self, path: &[&str]) -> Option<i64>;
    /// Whether something stands there that is not null.
    fn has(&self, path: &[&str]) -> bool;
    /// The texts in a list.
    fn texts_at(&self, path: &[&str]) -> Vec<&str>;
    /// The texts in a map, by key.
    fn texts_by_key_at(&self, path: &[&str]) -> Vec<(&str, &str)>;
}

impl Document for Value {
    fn text_at(&self, path: &[&str]) -> Option<&str> {
        at(self, path)?.as_str()
    }
    fn whole_number_at(&self, path: &[&str]) -> Option<i64> {
        at(self, path)?.as_i64()
    }
    fn has(&self, path: &[&str]) -> bool {
        at(self, path).is_some_and(|found| !found.is_null())
    }
    fn texts_at(&self, path: &[&str]) -> Vec<&str> {
        let list = at(self, path).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }
    fn texts_by_key_at(&self, path: &[&str]) -> Vec<(&str, &str)> {
        let map = at(self, path).and_then(Value::as_object);
        map.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
    }
}

fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

impl Document for Packed {
    fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.root().at(path)?.as_str()
    }
    fn whole_number_at(&self, path: &[&str]) -> Option<i64> {
        self.root().at(path)?.as_i64()
    }
    fn has(&self, path: &[&str]) -> bool {
        self.root().at(path).is_some_and(|found| !found.is_null())
    }
    fn texts_at(&self, path: &[&str]) -> Vec<&str> {
        let list = self.root().at(path);
        list.into_iter().flat_map(|list| list.items()).filter_map(|item| item.as_str()).collect()
    }
    fn texts_by_key_at(&self, path: &[&str]) -> Vec<(&str, &str)> {
        let map = self.root().at(path).into_iter().flat_map(|map| map.entries());
        map.filter_map(|(key, value)| Some((key, value.as_str()?))).collect()
    }
}

impl PackedObject {
    pub fn unpack(&self) -> Object {
        Object(self.0.unpack())
    }
}

impl Object {
    pub fn pack(&self) -> PackedObject {
        Object(Packed::of(&self.0))
    }
}

impl<D: Document> Object<D> {
    fn text(&self, path: &[&str]) -> &str {
        self.0.text_at(path).unwrap_or_default()
    }
    pub fn api_version(&self) -> &str {
        self.text(&["apiVersion"])
    }
    pub fn kind(&self) -> &str {
        self.text(&["kind"])
    }
    pub fn name(&self) -> &str {
        self.text(&["metadata", "name"])
    }
    pub fn namespace(&self) -> &str {
        self.text(&["metadata", "namespace"])
    }
    pub fn uid(&self) -> &str {
        self.text(&["metadata", "uid"])
    }
    pub fn resource_version(&self) -> &str {
        self.text(&["metadata", "resourceVersion"])
    }
    /// The resource version as a number; 0 where it is no number. One API server orders its objects by it.
    pub fn version(&self) -> u64 {
        self.resource_version().parse().unwrap_or_default()
    }
    pub fn generation(&self) -> i64 {
        self.0.whole_number_at(&["metadata", "generation"]).unwrap_or_default()
    }
    pub fn is_deleting(&self) -> bool {
        self.0.has(&["metadata", "deletionTimestamp"])
    }
    /// When it was asked to go; empty where it was not.
    pub fn deletion_timestamp(&self) -> &str {
        self.text(&["metadata", "deletionTimestamp"])
    }
    pub fn gvk(&self) -> Gvk {
        Gvk::from_api(self.api_version(), self.kind())
    }
    pub fn group_kind(&self) -> GroupKind {
        self.gvk().group_kind()
    }
    pub fn object_ref(&self) -> ObjectRef {
        ObjectRef::new(self.group_kind(), self.namespace(), self.name())
    }
    pub fn label(&self, key: &str) -> Option<&str> {
        self.0.text_at(&["metadata", "labels", key])
    }
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.0.text_at(&["metadata", "annotations", key])
    }
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.map("labels")
    }
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.map("annotations")
    }
    pub fn finalizers(&self) -> Vec<String> {
        self.each_finalizer().into_iter().map(str::to_owned).collect()
    }

    pub fn has_finalizer(&self, name: &str) -> bool {
        self.each_finalizer().contains(&name)
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

    fn each_finalizer(&self) -> Vec<&str> {
        self.0.texts_at(&["metadata", "finalizers"])
    }
    fn map(&self, map: &str) -> BTreeMap<String, String> {
        let found = self.0.texts_by_key_at(&["metadata", map]);
        found.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

impl Object {
    pub fn str_at(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What is read of an object, whichever form it has.
    fn read<D: Document>(object: &Object<D>) -> String {
        let (labels, annotations) = (object.labels(), object.annotations());
        format!(
            "{} {} {} {} {} {labels:?} {annotations:?} {:?} {:?} {} {}",
            object.object_ref(),
            object.uid(),
            object.version(),
            object.generation(),
            object.is_deleting(),
            object.label("a"),
            object.finalizers(),
            object.has_finalizer("x"),
            object.is_suspended()
        )
    }

    #[test]
    fn an_object_reads_alike_packed_or_not_also_where_its_fields_are_rubbish() {
        for (object, want) in [
            (
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "n", "namespace": "s", "uid": "u",
                    "resourceVersion": "7", "generation": 3, "deletionTimestamp": "2026-01-01T00:00:00Z",
                    "labels": {"a": "b", "c": 1}, "annotations": {"kro.run/reconcile": "Suspended"}, "finalizers": ["x", 1]}}),
                r#"Deployment.apps s/n u 7 3 true {"a": "b"} {"kro.run/reconcile": "Suspended"} Some("b") ["x"] true true"#,
            ),
            (
                json!({"apiVersion": 1, "metadata": {"name": [], "uid": null, "resourceVersion": "x", "generation": "3",
                    "deletionTimestamp": null, "labels": ["a"], "annotations": "a", "finalizers": {"x": "x"}}}),
                "    0 0 false {} {} None [] false false",
            ),
            (json!(null), "    0 0 false {} {} None [] false false"),
            (json!({"metadata": 1}), "    0 0 false {} {} None [] false false"),
        ] {
            let object = Object(object);
            let packed = object.pack();
            assert_eq!(read(&object).trim_start(), want.trim_start());
            assert_eq!(read(&packed), read(&object));
            assert_eq!(packed.unpack(), object);
        }
    }
}
