//! Files laid over the hub as it is, and what is to be deleted taken out.

use super::reading::Read;
use crate::api::keys::{self, hub, kro};
use crate::api::names::{GroupKind, ObjectRef};
use crate::api::rgd::ResourceGraphDefinition;
use crate::api::{Object, hash};
use crate::view::kinds::{self, Generated};
use anyhow::{anyhow, bail};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What is to be deleted.
#[derive(Clone, Debug)]
pub struct Deleted {
    kind: String,
    name: String,
}

/// # Errors
/// It is not `KIND/NAME`.
pub fn deleted(text: &str) -> Result<Deleted, String> {
    match text.split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(Deleted { kind: kind.into(), name: name.into() })
        }
        _ => Err("write KIND/NAME".into()),
    }
}

/// What is about to be, and what of it is somebody's wish.
#[derive(Default)]
pub struct Laid {
    pub texts: Vec<(String, String)>,
    /// The files, as errors name them.
    pub names: BTreeSet<String>,
    pub touched: Touched,
    /// What is worth a word.
    pub notes: Vec<String>,
}

/// What files name, or is deleted.
#[derive(Default)]
pub struct Touched {
    pub definitions: BTreeSet<String>,
    pub instances: BTreeSet<ObjectRef>,
}

/// The objects of a hub, as texts to judge.
///
/// # Errors
/// One cannot be written as text.
pub fn texts(objects: &[Object]) -> anyhow::Result<Vec<(String, String)>> {
    objects.iter().map(|object| Ok((format!("the hub's {}", object.object_ref()), text(object)?))).collect()
}

fn text(object: &Object) -> anyhow::Result<String> {
    let mut shown = object.0.clone();
    // What Placements say of themselves is what they go on by; what is said of the others decides nothing.
    let gk = object.group_kind();
    if let Some(fields) = shown.as_object_mut().filter(|_| is_definition(&gk) || !is_ours(&gk)) {
        fields.remove("status");
    }
    if let Some(metadata) = shown.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Ok(serde_saphyr::to_string(&shown)?)
}

/// # Errors
/// Something to delete is not there, or has a kind that nobody knows.
pub fn lay(
    read: &Read,
    files: Vec<(String, Object)>,
    delete: &[Deleted],
    namespace: &str,
) -> anyhow::Result<Laid> {
    let mut laid = Laid::default();
    let known: Vec<Generated> =
        read.objects.iter().chain(files.iter().map(|(_, o)| o)).filter_map(generated).collect();
    let (mut over, mut others) = (Vec::new(), 0);
    for (name, mut object) in files {
        let gk = object.group_kind();
        let generated = known.iter().find(|kind| kind.gvk.group_kind() == gk);
        if generated.is_none() && !is_ours(&gk) {
            others += 1;
            continue;
        }
        let namespaced = generated.map_or(&*gk.kind == "Placement", |kind| kind.namespaced);
        if namespaced && object.namespace().is_empty() {
            object.0["metadata"]["namespace"] = namespace.into();
        }
        if is_definition(&gk) {
            laid.touched.definitions.insert(object.name().to_owned());
        } else if generated.is_some() {
            laid.touched.instances.insert(object.object_ref());
        }
        over.push((name, object));
    }
    if others > 0 {
        laid.notes
            .push(format!("{others} objects in the files are nothing that the hub places, and are left out"));
    }
    let gone = delete.iter().map(|deleted| reference(deleted, &known, namespace));
    let gone: BTreeSet<ObjectRef> = gone.collect::<anyhow::Result<_>>()?;
    for object in &gone {
        if read.objects.iter().all(|other| other.object_ref() != *object) {
            bail!("--delete {object}: it is not on the hub");
        }
        if over.iter().any(|(_, other)| other.object_ref() == *object) {
            bail!("--delete {object}: it is among the files too");
        }
        if is_definition(&object.gk) {
            laid.touched.definitions.insert(object.name.to_string());
        } else {
            laid.touched.instances.insert(object.clone());
        }
    }
    for live in &read.objects {
        let reference = live.object_ref();
        let file = over.iter().any(|(_, object)| object.object_ref() == reference);
        if !file && !gone.contains(&reference) {
            laid.texts.push((format!("the hub's {reference}"), text(live)?));
        }
    }
    for (name, object) in over {
        let reference = object.object_ref();
        let live = read.objects.iter().find(|live| live.object_ref() == reference);
        laid.texts.push((name.clone(), text(&laid_over(live, object))?));
        laid.names.insert(name);
    }
    Ok(laid)
}

fn generated(object: &Object) -> Option<Generated> {
    is_definition(&object.group_kind()).then(|| Generated::of(object))?
}

fn is_definition(gk: &GroupKind) -> bool {
    &*gk.group == kro::GROUP && &*gk.kind == "ResourceGraphDefinition"
}

fn is_ours(gk: &GroupKind) -> bool {
    let of_hub =
        &*gk.group == hub::GROUP && ["Cluster", "Placement", "ClusterPlacement"].contains(&&*gk.kind);
    is_definition(gk) || of_hub
}

fn reference(deleted: &Deleted, known: &[Generated], namespace: &str) -> anyhow::Result<ObjectRef> {
    let Deleted { kind, name } = deleted;
    let of_hub =
        |kind: &str, namespace: &str| ObjectRef::new(GroupKind::new(hub::GROUP, kind), namespace, name);
    Ok(match kind.to_lowercase().as_str() {
        "resourcegraphdefinition" | "resourcegraphdefinitions" | "rgd" | "definition" => {
            ObjectRef::new(GroupKind::new(kro::GROUP, "ResourceGraphDefinition"), "", name)
        }
        "cluster" | "clusters" => of_hub("Cluster", ""),
        "clusterplacement" | "clusterplacements" => of_hub("ClusterPlacement", ""),
        "placement" | "placements" => of_hub("Placement", namespace),
        _ => {
            let kind = kinds::named(known, kind)
                .map_err(|why| anyhow!("--delete {}/{name}: {why}", deleted.kind))?;
            let namespace = if kind.namespaced { namespace } else { "" };
            ObjectRef::new(kind.gvk.group_kind(), namespace, name)
        }
    })
}

/// An object of a file, as it would be on the hub: what servers and the controller note of the live one stays.
fn laid_over(live: Option<&Object>, file: Object) -> Object {
    let Some(live) = live else { return unsaved(file) };
    let mut out = file.0;
    if let Some(status) = live.0.get("status") {
        out["status"] = status.clone();
    }
    let meta = |field: &str| live.0.pointer(&format!("/metadata/{field}"));
    for field in
        ["uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "finalizers"]
    {
        if let Some(value) = meta(field) {
            out["metadata"][field] = value.clone();
        }
    }
    for field in ["labels", "annotations"] {
        let kept = meta(field).and_then(Value::as_object).into_iter().flatten();
        let kept = kept.filter(|(key, _)| keys::is_identity(key) || is_of_controller(live, field, key));
        let mut all: Map<String, Value> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        if let Some(own) = out["metadata"].get(field).and_then(Value::as_object) {
            all.extend(own.clone());
        }
        if !all.is_empty() {
            out["metadata"][field] = Value::Object(all);
        }
    }
    Object(out)
}

/// What is not there yet has a uid all the same: what it makes carries it.
fn unsaved(mut file: Object) -> Object {
    let name = file.object_ref().to_string();
    file.0["metadata"]["uid"] = format!("planned-{:016x}", hash::fnv64(name.as_bytes())).into();
    file
}

/// Whether the controller set a label or annotation, as those of a Cluster that come from its Secret.
fn is_of_controller(live: &Object, field: &str, key: &str) -> bool {
    let entries = live.0.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries.into_iter().flatten().any(|entry| {
        let manager = entry.get("manager").and_then(Value::as_str);
        let fields = entry.pointer(&format!("/fieldsV1/f:metadata/f:{field}"));
        manager == Some(hub::MANAGER) && fields.is_some_and(|fields| fields.get(format!("f:{key}")).is_some())
    })
}

/// Whether the author lets it break what is stored.
pub fn allows_breaking(definition: &ResourceGraphDefinition) -> bool {
    definition.metadata.annotations.get(kro::ALLOW_BREAKING).is_some_and(|value| value == "true")
}
