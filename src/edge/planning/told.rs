//! What a rehearsal tried, as people are told of it: objects of each instance by the nodes that make them. What waits for
//! what only a stored object can tell is told as far as it is known.

use super::shown::{shown, sketched};
use crate::api::keys::kro;
use crate::api::names::{GroupKind, InstanceKey, ObjectRef};
use crate::api::{Object, applyset};
use crate::graph::{Graph, Leaf, Node, Origin, Sketch, Sketcher};
use crate::reconcile::spoke::{InstanceState, Part};
use crate::reconcile::world::{Looked, Lookup, Stored, World};
use crate::spoke::rehearsal::{Deed, Rehearsed, What};
use crate::view::changes::planned::{self, Tried};
use crate::view::changes::{Action, Change, Half, InstanceChanges, Named, Told, change};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An instance, and what made it what it is.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub graph: &'a Graph,
    pub instance: &'a Object,
    /// Places of the instance that something of note was put in.
    pub leaves: &'a [Leaf],
}

/// An instance to tell of.
pub struct Subject<'a> {
    pub key: InstanceKey,
    /// How it comes here, or goes.
    pub placement: &'a str,
    /// As the hub has it now, where it does.
    pub before: Option<Side<'a>>,
    /// As it would run here; `None` where it goes.
    pub after: Option<Side<'a>>,
    /// What `kro.cluster` is.
    pub facts: &'a Value,
    /// Which part of its definition this cluster makes.
    pub part: &'a Part,
    /// The instance itself is the object that children belong to.
    pub local: bool,
}

/// One node, told.
struct OfNode {
    changes: Vec<Told<Change>>,
    /// Names of all that it wants.
    wanted: BTreeSet<ObjectRef>,
    /// Not all of them are known.
    open: bool,
    /// Some of it was not tried, since it waits.
    waits: bool,
}

/// What the definition of before made: for what stood at a place.
struct Former<'a> {
    sketches: Vec<(String, ObjectRef, Sketch)>,
    facts: &'a Value,
}

pub struct Telling<'a> {
    pub rehearsed: &'a Rehearsed,
    /// Definitions of nested instances, as the cluster has them.
    pub graphs: &'a BTreeMap<GroupKind, Arc<Graph>>,
}

impl Telling<'_> {
    /// The instance, and those within it of which something changes.
    pub fn of(&self, subject: &Subject<'_>) -> Vec<Arc<Told<InstanceChanges>>> {
        let mut out = Vec::new();
        let mut seen = BTreeSet::new();
        self.add(subject, &mut seen, &mut out);
        out
    }

    fn add(
        &self,
        subject: &Subject<'_>,
        seen: &mut BTreeSet<InstanceKey>,
        out: &mut Vec<Arc<Told<InstanceChanges>>>,
    ) {
        if !seen.insert(subject.key.clone()) {
            return;
        }
        let mut changes = Vec::new();
        let mut nested: Vec<(InstanceKey, Vec<Leaf>)> = Vec::new();
        if self.rehearsed.namespaces.contains(&*subject.key.namespace) && subject.after.is_some() {
            changes.push(Told::same(planned::namespace(&subject.key.namespace)));
        }
        match subject.after {
            Some(after) if after.instance.is_suspended() || self.is_blocked(subject) => {}
            Some(after) => changes.extend(self.nodes(subject, after, &mut nested)),
            None => changes.extend(self.deletions(subject, None)),
        }
        changes.extend(self.refused(subject, &changes));
        let (shown, neutral): (Vec<Change>, Vec<Change>) =
            changes.into_iter().map(|told| (told.shown, told.neutral)).unzip();
        let side = subject.after.or(subject.before);
        let api_version = side.map(|side| side.graph.gvk.api_version()).unwrap_or_default();
        if !shown.is_empty() || !subject.placement.is_empty() {
            let told = |changes: Vec<Change>| InstanceChanges {
                api_version: api_version.clone(),
                kind: subject.key.gk.kind.to_string(),
                namespace: subject.key.namespace.to_string(),
                name: subject.key.name.to_string(),
                placement: subject.placement.to_owned(),
                changes,
            };
            out.push(Arc::new(Told { shown: told(shown), neutral: told(neutral) }));
        }
        // Instances that it makes here, and those that go with it.
        let tried = self.rehearsed.deeds.iter().filter(|deed| deed.key == subject.key);
        let gone = tried.filter(|deed| matches!(deed.what, What::Deleted));
        nested.extend(gone.map(|deed| (InstanceKey::of(&deed.object), Vec::new())));
        for (key, leaves) in nested {
            let Some(graph) = self.graphs.get(&key.gk) else { continue };
            let stored = self.rehearsed.read(|store| store.get(&key.object()));
            let instance = stored.map(|stored| stored.object.unpack());
            let before = self.rehearsed.deeds.iter().find(|deed| deed.object == key.object());
            let before = before.and_then(|deed| deed.before.as_ref()).map(|live| Object((**live).clone()));
            let side = |instance| Side { graph, instance, leaves: &leaves };
            let within = Subject {
                placement: "",
                before: before.as_ref().or(instance.as_ref()).map(side),
                after: instance.as_ref().map(side),
                facts: subject.facts,
                part: &Part::Whole,
                local: subject.local,
                key,
            };
            self.add(&within, seen, out);
        }
    }

    /// Whether something stands in the way of all that it would make.
    fn is_blocked(&self, subject: &Subject<'_>) -> bool {
        let said = self.rehearsed.reports.get(&subject.key);
        let own = subject.key.object();
        let refused = |deed: &Deed| deed.object == own && matches!(deed.what, What::Refused(_));
        let none = self.rehearsed.deeds.iter().all(|deed| deed.key != subject.key || refused(deed));
        none && said.is_some_and(|report| report.state == InstanceState::Error)
    }

    fn nodes(
        &self,
        subject: &Subject<'_>,
        after: Side<'_>,
        nested: &mut Vec<(InstanceKey, Vec<Leaf>)>,
    ) -> Vec<Told<Change>> {
        let graph = after.graph;
        // The object that children belong to; the instance itself while nothing stands for it.
        let there = self.rehearsed.read(|store| store.get(&subject.key.object()));
        let there = there.filter(|_| !subject.local).map(|stored| stored.object.unpack());
        let parent = there.as_ref().unwrap_or(after.instance);
        let parent = graph.as_served(parent).unwrap_or_else(|| parent.clone());
        let former = Former::of(subject);
        let mut sketcher = Sketcher::new(graph, &parent.0, subject.facts, after.leaves.to_vec());
        let mut all = Vec::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            let told = self.node(subject, (index, node), &mut sketcher, &former);
            for object in &told.wanted {
                if self.graphs.contains_key(&object.gk) {
                    nested.push((InstanceKey::of(object), sketcher.leaves(index)));
                }
            }
            all.push((node.id.clone(), told));
        }
        let mut changes = Vec::new();
        for (_, told) in &mut all {
            changes.append(&mut told.changes);
        }
        changes.extend(self.deletions(subject, Some(&all)));
        changes
    }

    fn node(
        &self,
        subject: &Subject<'_>,
        (index, node): (usize, &Node),
        sketcher: &mut Sketcher<'_>,
        former: &Former<'_>,
    ) -> OfNode {
        let mut out = OfNode { changes: Vec::new(), wanted: BTreeSet::new(), open: false, waits: false };
        let sketches = sketcher.node(index);
        if !subject.part.has(node) {
            if let Part::Rest(values) = subject.part
                && let Some(objects) = values.get(&node.id)
            {
                sketcher.see(index, &objects.iter().collect::<Vec<_>>());
            }
            return out;
        }
        let sketches = match sketches {
            Ok(sketches) => sketches,
            Err(error) => {
                out.open = true;
                let why = format!("refused: {}", error.message());
                out.changes.push(Told::same(planned::refused(&node.id, &node.gvk, ("", ""), why)));
                return out;
            }
        };
        if node.external.is_some() {
            let found = self.external(subject, (index, node), sketcher);
            sketcher.see(index, &found.iter().collect::<Vec<_>>());
            return out;
        }
        let mut there: Vec<Value> = Vec::new();
        for sketch in &sketches {
            let sketch = sketched(sketch, node, &subject.key);
            let object = Object(sketch.object.clone()).object_ref();
            let object = ObjectRef::new(node.gvk.group_kind(), &object.namespace, &object.name);
            let waits = sketch.leaves.iter().any(|leaf| leaf.origin.waits);
            let named = sketch.leaves.iter().any(names);
            out.open |= sketch.for_each.is_some() || sketch.only_if.is_some() || named;
            out.wanted.insert(object.clone());
            let stored = self.rehearsed.read(|store| store.get(&object));
            let own =
                stored.filter(|s| s.object.label(kro::APPLYSET_PART_OF) == Some(&applyset::id(&subject.key)));
            let allowed = self.rehearsed.read(|store| store.bounds().allow(&subject.key.namespace, &object));
            match (self.deed(&subject.key, &object), allowed) {
                (Some(deed), _) => out.changes.extend(tried(deed, node, &sketch, former)),
                (None, Err(why)) => {
                    let place = (&*object.namespace, &*object.name);
                    let why = format!("refused: {why}");
                    out.changes.push(Told::same(planned::refused(&node.id, &node.gvk, place, why)));
                }
                (None, Ok(())) if own.is_some() && !waits => {}
                (None, Ok(())) => {
                    out.waits = true;
                    out.changes.extend(forecast(own.as_deref(), node, &sketch, former));
                }
            }
            there.extend(own.filter(|_| !waits).map(|stored| stored.object.unpack().0));
        }
        if there.len() == sketches.len() {
            sketcher.see(index, &there.iter().collect::<Vec<_>>());
        }
        out
    }

    /// What was tried last of an object that a node makes.
    fn deed(&self, key: &InstanceKey, object: &ObjectRef) -> Option<&Deed> {
        let of = |deed: &&Deed| {
            deed.key == *key && deed.object == *object && deed.manager == kro::MANAGER_APPLYSET
        };
        let made = |deed: &&Deed| matches!(deed.what, What::Applied { .. } | What::Refused(_));
        self.rehearsed.deeds.iter().rev().filter(of).find(made)
    }

    fn external(
        &self,
        subject: &Subject<'_>,
        (index, node): (usize, &Node),
        sketcher: &mut Sketcher<'_>,
    ) -> Vec<Value> {
        let lookup = sketcher.reference(index).ok();
        let lookup =
            lookup.and_then(|reference| Lookup::of(&node.gvk, reference, &subject.key.namespace).ok());
        let found = lookup.map(|lookup| self.rehearsed.read(|store| store.look(&lookup)));
        match found {
            Some(Looked::Found(found)) => found.iter().map(|stored| stored.object.unpack().0).collect(),
            _ => Vec::new(),
        }
    }

    /// What goes: as it was tried; where the instance waits, all that nothing will make by then.
    fn deletions(&self, subject: &Subject<'_>, nodes: Option<&[(String, OfNode)]>) -> Vec<Told<Change>> {
        let is_node = |id: &str| nodes.is_some_and(|nodes| nodes.iter().any(|(node, _)| node == id));
        let why = |id: &str| match nodes {
            None => "",
            Some(_) if is_node(id) => "pruned: its node makes it no more",
            Some(_) => "pruned: no node makes it any more",
        };
        let mut out = Vec::new();
        let mut told = BTreeSet::new();
        for deed in self.rehearsed.deeds.iter().filter(|deed| deed.key == subject.key) {
            if deed.object == subject.key.object() {
                continue;
            }
            let Some(before) = deed.before.as_deref() else { continue };
            let node = node_of(before);
            let change = match &deed.what {
                What::Deleted => planned::gone(&node, before, why(&node)),
                What::Released => planned::gone(&node, before, "it stays: hub.kro.run/on-delete is Orphan"),
                What::DeleteRefused(text) => planned::stays(&node, before, &format!("refused: {text}")),
                What::Applied { .. } | What::Refused(_) => continue,
            };
            if told.insert(deed.object.clone()) {
                out.push(Told::same(change));
            }
        }
        let Some(nodes) = nodes.filter(|nodes| nodes.iter().any(|(_, told)| told.waits)) else { return out };
        let wanted: BTreeSet<&ObjectRef> = nodes.iter().flat_map(|(_, told)| &told.wanted).collect();
        let open: BTreeSet<&str> =
            nodes.iter().filter(|(_, told)| told.open).map(|(id, _)| id.as_str()).collect();
        let members = self.rehearsed.read(|store| store.members(&applyset::id(&subject.key)));
        for (object, stored) in members {
            let before = stored.object.unpack().0;
            let node = node_of(&before);
            let going = stored.object.is_deleting() || object == subject.key.object();
            if !going && !wanted.contains(&object) && !open.contains(node.as_str()) && told.insert(object) {
                out.push(Told::same(planned::gone(&node, &before, why(&node))));
            }
        }
        out
    }

    /// What stands in the way of the instance as a whole, or of what no change tells.
    fn refused(&self, subject: &Subject<'_>, changes: &[Told<Change>]) -> Option<Told<Change>> {
        if changes.iter().any(|told| told.shown.action == Action::Refused) {
            return None;
        }
        let own = subject.key.object();
        let of_own = self.rehearsed.deeds.iter().find_map(|deed| match &deed.what {
            What::Refused(why) | What::DeleteRefused(why) if deed.object == own => Some(why.clone()),
            _ => None,
        });
        let said = self.rehearsed.reports.get(&subject.key);
        let said = said.filter(|report| report.state == InstanceState::Error && !report.message.is_empty());
        let why = of_own.or_else(|| Some(said?.message.clone()))?;
        let gvk = subject.after.or(subject.before)?.graph.gvk.clone();
        let name = (&*subject.key.namespace, &*subject.key.name);
        Some(Told::same(planned::refused("", &gvk, name, format!("refused: {why}"))))
    }
}

/// Whether what an object is called waits.
fn names(leaf: &Leaf) -> bool {
    let of_name = matches!(leaf.steps.as_slice(), [metadata, field, ..]
        if metadata == "metadata" && (field == "name" || field == "namespace"));
    leaf.origin.waits && of_name
}

fn node_of(object: &Value) -> String {
    let label = object.pointer("/metadata/labels").and_then(|labels| labels.get(kro::NODE_ID));
    label.and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl<'a> Former<'a> {
    fn of(subject: &Subject<'a>) -> Self {
        let mut sketches = Vec::new();
        if let Some(Side { graph, instance, leaves }) = subject.before {
            let parent = graph.as_served(instance).unwrap_or_else(|| instance.clone());
            let mut sketcher = Sketcher::new(graph, &parent.0, subject.facts, leaves.to_vec());
            for (index, node) in graph.nodes.iter().enumerate() {
                for sketch in sketcher.node(index).unwrap_or_default() {
                    let sketch = sketched(&sketch, node, &subject.key);
                    let object = Object(sketch.object.clone()).object_ref();
                    let object = ObjectRef::new(node.gvk.group_kind(), &object.namespace, &object.name);
                    sketches.push((node.id.clone(), object, sketch));
                }
            }
        }
        Self { sketches, facts: subject.facts }
    }

    /// What the places of an object that is there were made of. Where that cannot be told of one that may come from a
    /// Secret, all of it may.
    fn leaves(&self, node: &str, object: &ObjectRef) -> Vec<Leaf> {
        let of = self.sketches.iter().find(|(_, other, _)| other == object);
        if let Some((.., sketch)) = of {
            return sketch.leaves.clone();
        }
        let of_node = self.sketches.iter().filter(|(id, ..)| id == node);
        let secret = of_node.flat_map(|(.., sketch)| &sketch.leaves).any(|leaf| leaf.origin.secret);
        let all = Leaf { steps: Vec::new(), origin: Origin { secret: true, ..Origin::default() } };
        if secret { vec![all] } else { Vec::new() }
    }
}

/// What was tried of an object.
fn tried(deed: &Deed, node: &Node, sketch: &Sketch, former: &Former<'_>) -> Option<Told<Change>> {
    let was = former.leaves(&node.id, &deed.object);
    let named = Named { node: &node.id, gone: "" };
    let (body, after, untried) = match &deed.what {
        What::Applied { body, after, untried } => (body, after, untried),
        What::Refused(why) => {
            let secret = sketch.leaves.iter().any(|leaf| leaf.origin.secret);
            let why = match secret {
                true => "refused; the answer is not shown, since it may quote a Secret".to_owned(),
                false => format!("refused: {why}"),
            };
            let name = (&*deed.object.namespace, &*deed.object.name);
            return Some(Told::same(planned::refused(&node.id, &node.gvk, name, why)));
        }
        _ => return None,
    };
    let before = deed.before.as_deref().map(shown);
    // What the API server adds to a new object is nobody's wish.
    let after = if before.is_some() { shown(after) } else { shown(body) };
    let half = |object, leaves| Half { object, leaves, cluster: former.facts, only_if: None };
    let told = change(named, before.as_ref().map(|b| half(b, &was)), Some(half(&after, &sketch.leaves)))?;
    let live = deed.before.as_deref().zip(before.as_ref());
    let tried = live.map(|(live, before)| Tried { live, before, after: &after });
    Some(planned::with(told, tried, untried.as_deref().map(|why| format!("not tried: {why}"))))
}

/// What is known of an object that waits for others.
fn forecast(own: Option<&Stored>, node: &Node, sketch: &Sketch, former: &Former<'_>) -> Option<Told<Change>> {
    let named = Named { node: &node.id, gone: "" };
    let before = own.and_then(|stored| {
        let mut owned = stored.projection(kro::MANAGER_APPLYSET)?.unpack();
        for field in ["apiVersion", "kind"] {
            owned[field] = sketch.object.get(field)?.clone();
        }
        for field in ["name", "namespace"] {
            if let Some(value) = sketch.object.pointer(&format!("/metadata/{field}")) {
                owned["metadata"][field] = value.clone();
            }
        }
        Some(shown(&owned))
    });
    let object = own.map(|stored| stored.object.object_ref());
    let was = object.map(|object| former.leaves(&node.id, &object)).unwrap_or_default();
    let half = |object, leaves, only_if| Half { object, leaves, cluster: former.facts, only_if };
    let before = before.as_ref().map(|b| half(b, &was, None));
    let only_if = sketch.only_if.as_deref();
    let after = shown(&sketch.object);
    let told = change(named, before, Some(half(&after, &sketch.leaves, only_if)))?;
    Some(planned::with(told, None, None))
}
