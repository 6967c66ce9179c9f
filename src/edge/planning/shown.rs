//! Objects without what nobody wishes: what servers note on them, and the bookkeeping of the controller.

use crate::api::Object;
use crate::api::keys::{self, kro};
use crate::api::names::InstanceKey;
use crate::graph::{Node, Sketch};
use crate::reconcile::ownership::fold_string_data;
use serde_json::Value;

const OF_SERVER: [&str; 7] = [
    "managedFields",
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "selfLink",
];

/// An object as people are shown it.
pub fn shown(object: &Value) -> Value {
    let mut out = object.clone();
    if let Some(top) = out.as_object_mut() {
        top.remove("status");
    }
    let Some(metadata) = out.get_mut("metadata").and_then(Value::as_object_mut) else { return out };
    OF_SERVER.iter().for_each(|field| drop(metadata.remove(*field)));
    for field in ["labels", "annotations"] {
        let Some(map) = metadata.get_mut(field).and_then(Value::as_object_mut) else { continue };
        let ours = |key: &str, value: &Value| {
            keys::is_identity(key)
                || key == kro::APPLY_ORDER
                || (key == kro::MANAGED_BY && value.as_str() == Some(kro::MANAGED_BY_VALUE))
        };
        map.retain(|key, value| !ours(key, value));
        if map.is_empty() {
            metadata.remove(field);
        }
    }
    if let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
        list.retain(|name| !name.as_str().is_some_and(keys::is_own_finalizer));
        if list.is_empty() {
            metadata.remove("finalizers");
        }
    }
    out
}

/// A sketch as the controller completes it: at home in the namespace of its instance, `stringData` where it is stored.
pub fn sketched(sketch: &Sketch, node: &Node, key: &InstanceKey) -> Sketch {
    let mut sketch = sketch.clone();
    fold_string_data(&mut sketch.object);
    let has = !Object(sketch.object.clone()).namespace().is_empty();
    let namespaced = node.kind.as_ref().is_none_or(|kind| kind.namespaced);
    if namespaced && !has && !key.namespace.is_empty() {
        sketch.object["metadata"]["namespace"] = Value::from(&*key.namespace);
    }
    sketch
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_nobody_wishes_is_not_shown() {
        let object = json!({"kind": "A", "metadata": {"name": "a", "uid": "u", "resourceVersion": "1",
            "managedFields": [], "generation": 2, "labels": {"kro.run/owned": "true",
                "app.kubernetes.io/managed-by": "kro"}, "annotations": {"note": "n", "internal.kro.run/apply-order": "1"},
            "finalizers": ["kro.run/finalizer"]}, "spec": {"x": 1}, "status": {"y": 1}});
        let want =
            json!({"kind": "A", "metadata": {"name": "a", "annotations": {"note": "n"}}, "spec": {"x": 1}});
        assert_eq!(shown(&object), want);
    }
}
