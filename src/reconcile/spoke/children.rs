//! Children: what kro puts on them, who else may own them, and which policy applies.

use super::{Task, nested};
use crate::api::hash::label_value;
use crate::api::keys::{self, hub, kro};
use crate::api::names::ObjectRef;
use crate::api::{Object, PackedObject};
use crate::graph::{Node, Rendered};
use crate::reconcile::ownership;
use serde_json::{Map, Value, json};

/// What is said of a child on its way out, with kro's words for the object.
pub fn being_deleted(child: &ObjectRef) -> String {
    let place = if child.namespace.is_empty() { String::new() } else { format!("{}/", child.namespace) };
    format!("{} resource \"{place}{}\" is being deleted; waiting until it is gone", child.gk, child.name)
}

/// Takes off what was copied from another object and says what that one is: who made it, what it holds, who waits for it.
fn without_identity(metadata: &mut Map<String, Value>) {
    for field in ["labels", "annotations"] {
        if let Some(map) = metadata.get_mut(field).and_then(Value::as_object_mut) {
            map.retain(|key, _| !keys::is_identity(key));
        }
    }
    if let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
        list.retain(|name| !name.as_str().is_some_and(keys::is_own_finalizer));
    }
}

/// Completes a rendered template: namespace, kro's labels and apply order, our hub id on spokes. What a copied map of
/// labels or annotations says of its first owner goes.
///
/// # Errors
/// The template sets a namespace on a cluster-scoped kind, or leaves it empty where the instance has none.
pub(super) fn complete(
    task: &Task,
    parent_uid: &str,
    node: &Node,
    rendered: &Rendered,
    namespaced: bool,
) -> Result<Value, String> {
    let mut object = rendered.object.clone();
    ownership::fold_string_data(&mut object);
    let Some(top) = object.as_object_mut() else { return Err("the template is not an object".into()) };
    let metadata = top.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else { return Err("metadata is not a map".into()) };

    without_identity(metadata);
    let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err("metadata.name is empty; give the template a name".into());
    }
    let namespace = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default().to_owned();
    match (namespaced, namespace.is_empty()) {
        (true, true) if task.key.namespace.is_empty() => {
            return Err(format!(
                "{} is namespaced and must resolve metadata.namespace, since the instance is cluster-scoped",
                node.gvk.kind
            ));
        }
        (true, true) => {
            metadata.insert("namespace".into(), json!(*task.key.namespace));
        }
        (false, false) => {
            return Err(format!("{} is cluster-scoped and must not set metadata.namespace", node.gvk.kind));
        }
        (false, true) => {
            metadata.remove("namespace");
        }
        (true, false) => {}
    }

    let mut notes: Vec<(String, String)> = vec![(kro::APPLY_ORDER.into(), node.apply_order.to_string())];
    let mut labels: Vec<(String, String)> = vec![
        (kro::OWNED.into(), "true".into()),
        (kro::KRO_VERSION.into(), kro::COMPATIBLE_VERSION.into()),
        (kro::INSTANCE_ID.into(), parent_uid.into()),
        (kro::INSTANCE_GROUP.into(), task.key.gk.group.to_string()),
        (kro::INSTANCE_VERSION.into(), task.gvk.version.to_string()),
        (kro::INSTANCE_KIND.into(), task.key.gk.kind.to_string()),
        (kro::NODE_ID.into(), node.id.clone()),
        (kro::MANAGED_BY.into(), kro::MANAGED_BY_VALUE.into()),
        (kro::APPLYSET_PART_OF.into(), task.applyset()),
    ];
    let mut long = |key: &str, full: &str| {
        let value = label_value(full);
        if value != full {
            let short = key.rsplit('/').next().unwrap_or(key);
            notes.push((format!("{}/{short}", hub::GROUP), full.to_owned()));
        }
        labels.push((key.to_owned(), value));
    };
    long(kro::INSTANCE_NAME, &task.key.name);
    if !task.key.namespace.is_empty() {
        long(kro::INSTANCE_NAMESPACE, &task.key.namespace);
    }
    if let Some((index, size)) = rendered.item {
        labels.push((kro::COLLECTION_INDEX.into(), index.to_string()));
        labels.push((kro::COLLECTION_SIZE.into(), size.to_string()));
    }
    if !task.is_local() {
        labels.push((hub::HUB_ID.into(), task.hub_id.as_str().into()));
    }
    merge(metadata, "labels", labels)?;
    merge(metadata, "annotations", notes)?;
    Ok(object)
}

fn merge(
    metadata: &mut Map<String, Value>,
    field: &str,
    entries: Vec<(String, String)>,
) -> Result<(), String> {
    let map = metadata.entry(field).or_insert_with(|| json!({}));
    if map.is_null() {
        *map = json!({});
    }
    let Some(map) = map.as_object_mut() else { return Err(format!("metadata.{field} is not a map")) };
    for (key, value) in entries {
        map.insert(key, Value::String(value));
    }
    Ok(())
}

/// Names the owner of an object that is not ours, as well as it can be told.
pub fn owner_of(found: &Object) -> String {
    let label = |key| found.label(key).filter(|v| !v.is_empty());
    if let (Some(name), Some(kind)) = (label(kro::INSTANCE_NAME), label(kro::INSTANCE_KIND)) {
        let namespace = label(kro::INSTANCE_NAMESPACE).map(|n| format!("{n}/")).unwrap_or_default();
        let whose = label(hub::HUB_ID).map(|id| format!(" of hub {id}")).unwrap_or_default();
        return format!("instance {kind} {namespace}{name}{whose}");
    }
    if let Some(manager) = label(kro::MANAGED_BY) {
        return format!("{manager} (label {})", kro::MANAGED_BY);
    }
    let owner = found.0.pointer("/metadata/ownerReferences/0");
    if let Some((kind, name)) = owner.and_then(|o| Some((o.get("kind")?.as_str()?, o.get("name")?.as_str()?)))
    {
        return format!("{kind} {name}");
    }
    match found.0.pointer("/metadata/managedFields/0/manager").and_then(Value::as_str) {
        Some(manager) => format!("field manager {manager}"),
        None => "somebody else".into(),
    }
}

/// Whether deleting this object is replaced by letting it live.
pub(super) fn is_orphaned_on_delete(object: &PackedObject) -> bool {
    object.annotation(hub::ON_DELETE) == Some("Orphan")
}

/// Takes kro's and our labels off an object that is to live on; the uid guards against another object of that name. An
/// instance that nobody will serve any more must not wait for us when it is deleted.
pub(super) fn release_patch(object: &PackedObject) -> Value {
    let labels = [
        kro::OWNED,
        kro::KRO_VERSION,
        kro::INSTANCE_ID,
        kro::INSTANCE_NAME,
        kro::INSTANCE_NAMESPACE,
        kro::INSTANCE_GROUP,
        kro::INSTANCE_VERSION,
        kro::INSTANCE_KIND,
        kro::NODE_ID,
        kro::COLLECTION_INDEX,
        kro::COLLECTION_SIZE,
        kro::APPLYSET_PART_OF,
        hub::HUB_ID,
    ];
    let labels: serde_json::Map<String, Value> =
        labels.iter().map(|l| ((*l).to_owned(), Value::Null)).collect();
    let mut metadata =
        json!({"uid": object.uid(), "labels": labels, "annotations": {kro::APPLY_ORDER: null}});
    if let Some(rest) = nested::finalizers_but_ours(object) {
        metadata["finalizers"] = json!(rest);
        metadata["resourceVersion"] = json!(object.resource_version());
    }
    json!({"metadata": metadata})
}

/// The position in deletion: higher is deleted earlier; what does not say is deleted last.
pub(super) fn apply_order(object: &PackedObject) -> u64 {
    object.annotation(kro::APPLY_ORDER).and_then(|v| v.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_copied_map_says_of_its_first_owner_goes() {
        let mut metadata = json!({"name": "a",
            "labels": {"team": "a", hub::HUB_ID: "h", hub::INSTANCE_UID: "u", kro::APPLYSET_ID: "x", kro::OWNED: "true",
                kro::COLLECTION_SIZE: "3", kro::RGD_NAME: "r", hub::CLUSTER_LABEL: "true"},
            "annotations": {"note": "n", kro::INVENTORY_HASH: "x", kro::APPLYSET_GROUP_KINDS: "ConfigMap",
                hub::HOLDS: "a", hub::ON_DELETE: "Orphan", hub::CLUSTERS: "*", kro::RECONCILE: "Suspended"},
            "finalizers": ["x/y", kro::FINALIZER, hub::FINALIZER]});
        without_identity(metadata.as_object_mut().unwrap());
        let want = json!({"name": "a",
            "labels": {"team": "a", hub::CLUSTER_LABEL: "true"},
            "annotations": {"note": "n", hub::ON_DELETE: "Orphan", hub::CLUSTERS: "*", kro::RECONCILE: "Suspended"},
            "finalizers": ["x/y"]});
        assert_eq!(metadata, want);
    }
}
