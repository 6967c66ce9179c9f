//! The mirror: the copy of a hub instance on a spoke, and the record of its children there.

use super::identity::Whose;
use super::{Machine, Task};
use crate::api::applyset::{Inventory, InventoryError};
use crate::api::keys::{self, hub, kro};
use crate::api::names::ObjectRef;
use crate::api::packed::{At, Packed, Packer};
use crate::api::{Object, PackedObject, hash};
use crate::reconcile::Now;
use crate::reconcile::rollout::{Admitted, Facts, Mark};
use crate::reconcile::world::{KindState, Stored, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What of a hub instance travels to its mirrors. Everything else stays on the hub.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MirrorContent {
    /// Labels, annotations and spec.
    content: Packed,
    /// `metadata.generation` of the hub instance this was taken from.
    pub generation: i64,
}

impl MirrorContent {
    pub fn new(labels: &Words, annotations: &Words, spec: &Value, generation: i64) -> Self {
        let mut packer = Packer::default();
        packer.list(|packer| {
            for words in [labels, annotations] {
                packer.map(|packer| {
                    for (key, value) in words {
                        packer.text(key);
                        packer.text(value);
                    }
                });
            }
            packer.value(spec);
        });
        Self { content: packer.packed(), generation }
    }

    pub fn of(instance: &Object) -> Self {
        let keep = |map: Words| map.into_iter().filter(|(k, _)| keys::is_mirrored(k)).collect();
        let (labels, annotations) = (keep(instance.labels()), keep(instance.annotations()));
        let spec = instance.0.get("spec").unwrap_or(&Value::Null);
        Self::new(&labels, &annotations, spec, instance.generation())
    }

    /// What we applied of a mirror that stands, as far as it travelled there. `None` where nothing of ours does.
    pub fn of_mirror(found: &Stored) -> Option<Self> {
        let ours = found.projection(kro::MANAGER_LABELLER)?.unpack();
        let words = |map: &str| -> Words {
            let words =
                ours.pointer(&format!("/metadata/{map}")).and_then(Value::as_object).into_iter().flatten();
            let words = words.filter(|(key, _)| keys::is_mirrored(key));
            words.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
        };
        let spec = ours.get("spec").unwrap_or(&Value::Null);
        Some(Self::new(&words("labels"), &words("annotations"), spec, 0))
    }

    pub fn labels(&self) -> Words {
        self.words(0)
    }
    pub fn annotations(&self) -> Words {
        self.words(1)
    }
    pub fn spec(&self) -> Value {
        self.part(2).map(At::unpack).unwrap_or_default()
    }
    /// Fingerprint of labels, annotations and spec.
    pub fn fingerprint(&self) -> u64 {
        hash::fnv64(self.content.root().bytes())
    }

    fn part(&self, index: usize) -> Option<At<'_>> {
        self.content.root().items().nth(index)
    }
    fn words(&self, index: usize) -> Words {
        let all = self.part(index).into_iter().flat_map(At::entries);
        all.filter_map(|(key, value)| Some((key.to_owned(), value.as_str()?.to_owned()))).collect()
    }
}

/// Labels or annotations.
type Words = BTreeMap<String, String>;

/// What rollouts write on a mirror.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Marks {
    pub version: Option<Mark>,
    pub admitted: Option<Admitted>,
    pub facts: Option<Arc<Facts>>,
}

impl Marks {
    /// What stands there.
    pub fn on(mirror: &PackedObject) -> Self {
        Self {
            version: marks::version(mirror),
            admitted: marks::admitted(mirror),
            facts: marks::facts(mirror),
        }
    }

    fn annotations(self) -> impl Iterator<Item = (String, String)> {
        let Self { version, admitted, facts } = self;
        let all = [
            (hub::VERSION, version.map(Mark::text)),
            (hub::REVISION, admitted.map(Admitted::text)),
            (hub::FACTS, facts.map(|facts| facts.text())),
        ];
        all.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text?)))
    }
}

/// Each of them, as it stands on a mirror.
pub(super) mod marks {
    use super::{Admitted, Arc, Facts, Mark, PackedObject, hub};

    pub fn version(mirror: &PackedObject) -> Option<Mark> {
        mirror.annotation(hub::VERSION).and_then(Mark::read)
    }
    pub fn admitted(mirror: &PackedObject) -> Option<Admitted> {
        mirror.annotation(hub::REVISION).and_then(Admitted::read)
    }
    pub fn facts(mirror: &PackedObject) -> Option<Arc<Facts>> {
        mirror.annotation(hub::FACTS).and_then(Facts::read).map(Arc::new)
    }
}

/// The mirror as we apply it.
pub(super) fn body(task: &Task, content: &MirrorContent, marks: Marks, inventory: &Inventory) -> Value {
    let id = task.applyset();
    let mut labels = content.labels();
    labels.insert(hub::HUB_ID.into(), task.hub_id.as_str().into());
    labels.insert(hub::INSTANCE_UID.into(), task.hub_uid.clone());
    labels.insert(kro::APPLYSET_ID.into(), id.clone());
    let mut annotations = content.annotations();
    annotations.extend(inventory.annotations(&id));
    annotations.extend(marks.annotations());
    let mut metadata = json!({"name": *task.key.name, "labels": labels, "annotations": annotations});
    if !task.key.namespace.is_empty() {
        metadata["namespace"] = json!(*task.key.namespace);
    }
    let mut body =
        json!({"apiVersion": task.gvk.api_version(), "kind": *task.gvk.kind, "metadata": metadata});
    let spec = content.spec();
    if !spec.is_null() {
        body["spec"] = spec;
    }
    body
}

/// A mirror that is as wanted, without what somebody added to it: a field that the hub does not say, a label. Nothing is made
/// of that. A default is no addition: that of the instance's own definition is filled in afterwards, and one of another
/// revision, which the CRD of the cluster may be of, means nothing to it.
pub(super) fn as_written(mut mirror: Object, content: &MirrorContent) -> Object {
    let spec = content.spec();
    let metadata = [("labels", content.labels()), ("annotations", content.annotations())];
    for (field, ours) in metadata {
        let words = mirror.0.pointer_mut(&format!("/metadata/{field}")).and_then(Value::as_object_mut);
        if let Some(words) = words {
            words.retain(|key, _| ours.contains_key(key) || !keys::is_mirrored(key));
        }
    }
    if let Some(fields) = mirror.0.as_object_mut() {
        match fields.get_mut("spec") {
            Some(live) if !spec.is_null() => without_additions(live, &spec),
            _ => drop(fields.remove("spec")),
        }
    }
    mirror
}

fn without_additions(live: &mut Value, wanted: &Value) {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            live.retain(|key, _| wanted.contains_key(key));
            for (key, live) in live {
                if let Some(wanted) = wanted.get(key) {
                    without_additions(live, wanted);
                }
            }
        }
        (Value::Array(live), Value::Array(wanted)) if live.len() == wanted.len() => {
            live.iter_mut().zip(wanted).for_each(|(live, wanted)| without_additions(live, wanted));
        }
        _ => {}
    }
}

/// The ApplySet part that we apply to a hub instance that is its own mirror, and what rollouts say of it.
pub(super) fn parent_body(task: &Task, marks: Marks, inventory: &Inventory) -> Value {
    let id = task.applyset();
    let mut annotations = inventory.annotations(&id);
    annotations.extend(marks.annotations());
    let mut metadata = json!({
        "name": *task.key.name,
        "labels": {kro::APPLYSET_ID: id},
        "annotations": annotations,
    });
    if !task.key.namespace.is_empty() {
        metadata["namespace"] = json!(*task.key.namespace);
    }
    json!({"apiVersion": task.gvk.api_version(), "kind": *task.gvk.kind, "metadata": metadata})
}

impl Machine {
    /// The inventory to record: `wanted`, which the graph may make, and what the recorded one names as long as something may be
    /// left of it. It shrinks only when every kind in it was seen to hold nothing.
    pub(super) fn wanted_inventory(
        &self,
        world: &dyn World,
        now: &Now,
        recorded: Option<Inventory>,
        mut wanted: Inventory,
    ) -> Inventory {
        let Some(recorded) = recorded else { return wanted };
        let members = world.members(&self.task.applyset());
        // What is on its way to the cluster may be there in a moment.
        let coming: Vec<&ObjectRef> =
            self.objects.iter().filter(|(_, t)| t.may_come(now)).map(|(object, _)| object).collect();
        let holds = |is: &dyn Fn(&ObjectRef) -> bool| {
            members.iter().any(|(object, _)| is(object)) || coming.iter().any(|object| is(object))
        };
        let all_seen = recorded
            .group_kinds
            .iter()
            .all(|gk| matches!(world.kind(gk), KindState::Synced { .. } | KindState::Missing));
        for gk in recorded.group_kinds {
            let seen = matches!(world.kind(&gk), KindState::Synced { .. } | KindState::Missing);
            if !seen || holds(&|object| object.gk == gk) {
                wanted.group_kinds.insert(gk);
            }
        }
        for ns in recorded.namespaces {
            if !all_seen || holds(&|object| *object.namespace == *ns) {
                wanted.namespaces.insert(ns);
            }
        }
        wanted
    }

    /// The record as it stands on the parent.
    pub(super) fn recorded_inventory(&self, parent: &Stored) -> Result<Option<Inventory>, InventoryError> {
        let (mut labels, annotations) = (parent.object.labels(), parent.object.annotations());
        if annotations.contains_key(kro::INVENTORY_HASH) {
            // The hash says whose record it is, also where somebody took the label off.
            labels.insert(kro::APPLYSET_ID.into(), self.task.applyset());
        }
        Inventory::read(&self.task.key, &labels, &annotations)
    }

    /// The record as this machine knows it: as it wrote it last, or as it found it first. What somebody else makes of it
    /// meanwhile is repaired, and takes nothing away.
    pub(super) fn known_record(
        &mut self,
        parent: Option<&Stored>,
    ) -> Result<Option<Inventory>, InventoryError> {
        if self.record.is_none()
            && let Some(parent) = parent
        {
            self.record = self.recorded_inventory(parent)?.map(|record| record.shared());
            let lists = format!("f:{}", kro::APPLYSET_GROUP_KINDS);
            self.record_is_ours =
                parent.covers(kro::MANAGER_LABELLER, &["f:metadata", "f:annotations", &lists]);
        }
        Ok(self.record.as_deref().cloned())
    }

    /// Reads the record of a parent that is there. What it made before goes on also while nothing new can be made.
    pub(super) fn learn_record(&mut self, world: &dyn World) {
        if self.record.is_some() || self.task.is_local() {
            return;
        }
        let parent = world.get(&self.task.key.object());
        let parent = parent.filter(|p| !self.task.is_mirrored() || matches!(self.whose(p), Whose::This));
        // What cannot be read is said where it matters.
        drop(self.known_record(parent.as_deref()));
    }

    /// Notes the record that our own write left.
    pub(super) fn note_record(&mut self, written: &Stored) {
        if let Ok(Some(record)) = self.recorded_inventory(written) {
            self.record = Some(record.shared());
            self.record_is_ours = true;
        }
    }
}

/// What is said where it cannot be known what an instance made before.
pub(super) fn unreadable(task: &Task, why: &InventoryError) -> String {
    format!(
        "{} {}: the record of what was made for it cannot be read: {why}; put it right, or take the label {} and the \
         annotations {}, {}, {} and {} off to have it written anew, which forgets what only the record knew",
        task.gvk.kind,
        task.key.short(),
        kro::APPLYSET_ID,
        kro::APPLYSET_TOOLING,
        kro::APPLYSET_GROUP_KINDS,
        kro::APPLYSET_NAMESPACES,
        kro::INVENTORY_HASH,
    )
}

/// The name of a namespace that exists nowhere but in an instance's key needs no labels of ours: it may be shared.
pub fn namespace_body(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bookkeeping_and_tracking_metadata_never_travel() {
        let instance = Object(json!({"metadata": {"generation": 3,
            "labels": {"team": "a", "kro.run/owned": "true", "app.kubernetes.io/instance": "argo"},
            "annotations": {"note": "x", "hub.kro.run/clusters": "*", "argocd.argoproj.io/tracking-id": "t",
                "kubectl.kubernetes.io/last-applied-configuration": "{}", "internal.kro.run/a": "b",
                "applyset.kubernetes.io/tooling": "kro/x", "kustomize.toolkit.fluxcd.io/name": "n"}},
            "spec": {"a": 1}}));
        let content = MirrorContent::of(&instance);
        assert_eq!(content.labels().keys().collect::<Vec<_>>(), ["team"]);
        assert_eq!(content.annotations().keys().collect::<Vec<_>>(), ["note"]);
        assert_eq!((content.spec(), content.generation), (json!({"a": 1}), 3));
    }
}
