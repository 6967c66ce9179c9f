//! Instances whose home is a spoke: a resource of another definition made them there, and nobody else may.

use super::{Goal, Home, MirrorContent, Part, Task};
use crate::api::applyset::Inventory;
use crate::api::hash::label_value;
use crate::api::keys::{hub, kro};
use crate::api::names::{HubId, InstanceKey};
use crate::api::object::{Document, Object, PackedObject};
use crate::graph::Graph;
use crate::reconcile::world::{Definition, Rank};
use serde_json::{Value, json};
use std::sync::Arc;

/// The finalizers that stay when ours goes; `None` if ours is not there.
pub(super) fn finalizers_but_ours<D: Document>(object: &Object<D>) -> Option<Vec<String>> {
    object.has_finalizer(kro::FINALIZER).then(|| object.finalizers_but(kro::FINALIZER))
}

/// Takes `kro.run/finalizer` off; the version guards what others write meanwhile.
pub(super) fn finalizer_patch(object: &PackedObject) -> Option<Value> {
    let rest = finalizers_but_ours(object)?;
    let (uid, version) = (object.uid(), object.resource_version());
    Some(json!({"metadata": {"finalizers": rest, "uid": uid, "resourceVersion": version}}))
}

/// What is to be done for such an instance: nothing without a definition, unless it is going; nor before it is known what
/// the definition reads of the cluster. `facts` is what `kro.cluster` is in expressions.
pub fn task(
    object: &PackedObject,
    definition: Option<&Definition>,
    hub_id: &HubId,
    facts: Option<&Arc<Value>>,
) -> Option<Task> {
    let goal = if object.is_deleting() {
        Goal::Remove { group_kinds: definition.map(|d| d.graph.group_kinds()).unwrap_or_default() }
    } else {
        let Definition { graph, allow_breaking } = definition?;
        if facts.is_none() && !graph.cluster_reads().is_empty() {
            return None;
        }
        Goal::Run {
            graph: graph.clone(),
            part: Part::Whole,
            mirror: Arc::new(MirrorContent::of(&object.unpack())),
            suspended: object.is_suspended(),
            allow_breaking: *allow_breaking,
            cluster: facts.cloned().unwrap_or_default(),
            mark: None,
            admitted: None,
            facts: None,
            keeps: false,
            rank: Rank::default(),
        }
    };
    let gvk = definition.map_or_else(|| object.gvk(), |d| d.graph.gvk.clone());
    Some(Task {
        key: InstanceKey::new(gvk.group_kind(), object.namespace(), object.name()),
        gvk,
        hub_uid: object.uid().to_owned(),
        hub_id: hub_id.clone(),
        home: Home::Nested,
        goal,
    })
}

/// What we apply to the instance: finalizer, kro's labels, and the inventory.
pub(super) fn body(task: &Task, graph: &Graph, inventory: &Inventory) -> Value {
    let id = task.applyset();
    let mut metadata = json!({
        "name": *task.key.name,
        "finalizers": [kro::FINALIZER],
        "labels": {
            kro::OWNED: "true",
            kro::KRO_VERSION: kro::COMPATIBLE_VERSION,
            kro::RGD_ID: graph.rgd_uid,
            kro::RGD_NAME: label_value(&graph.rgd_name),
            kro::APPLYSET_ID: id,
        },
        "annotations": inventory.annotations(&id),
    });
    if !task.key.namespace.is_empty() {
        metadata["namespace"] = json!(*task.key.namespace);
    }
    json!({"apiVersion": task.gvk.api_version(), "kind": *task.gvk.kind, "metadata": metadata})
}

/// Why an instance that is at home on a spoke cannot have resources on the hub.
pub(super) fn no_hub_part(graph: &Graph) -> String {
    format!(
        "ResourceGraphDefinition {} keeps resources on the hub ({}: hub, {}), and this instance lives on a spoke: \
         its resources cannot",
        graph.rgd_name,
        hub::TARGET,
        hub::HUB_REFS
    )
}
