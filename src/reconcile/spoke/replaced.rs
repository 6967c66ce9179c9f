//! An object whose name follows the uid of its mirror. A mirror that somebody deleted is made again with another uid, so
//! the name changes although nobody decided anything: what had the old name stays. A name that the author, the spec or
//! the cluster changed is another matter, also if the mirror was replaced at the same time.

use super::run::{Situation, Walk};
use super::{Machine, Part, children};
use crate::api::Object;
use crate::api::names::ObjectRef;
use crate::graph::{Node, Pass};
use crate::reconcile::world::{KindState, Looked, Stored};
use serde_json::Value;
use std::sync::Arc;

/// The step as it would be if the mirror still had a former uid.
pub(super) struct FormerMirror<'a> {
    machine: &'a Machine,
    walk: &'a Walk<'a>,
    situation: &'a Situation<'a>,
    uid: &'a str,
    pass: Pass<'a>,
}

impl<'a> FormerMirror<'a> {
    pub fn new(machine: &'a Machine, walk: &'a Walk<'a>, situation: &'a Situation<'a>, uid: &'a str) -> Self {
        let mut mirror = situation.parent.0.clone();
        if let Some(place) = mirror.pointer_mut("/metadata/uid") {
            *place = Value::String(uid.to_owned());
        }
        let wanted = situation.wanted;
        Self { machine, walk, situation, uid, pass: Pass::new(&wanted.graph, &mirror, &wanted.cluster) }
    }

    /// Whether the object `target` of the node at `position` would be wanted as it is named. What cannot be told is taken
    /// for a yes: then nothing is deleted.
    pub fn wants(mut self, target: &ObjectRef, position: usize) -> bool {
        let wanted = self.situation.wanted;
        for (index, node) in wanted.graph.nodes.iter().enumerate() {
            match self.pass.included(index) {
                Ok(true) => {}
                Ok(false) if index == position => return false,
                Ok(false) => continue,
                Err(_) => return true,
            }
            if index == position && !wanted.part.has(node) {
                return false;
            }
            if index == position {
                return self.names(index, node).is_none_or(|names| names.contains(target));
            }
            let Some(seen) = self.seen(index, node) else { return true };
            self.pass.observe(index, &seen.iter().collect::<Vec<_>>(), seen.len());
        }
        true
    }

    /// The objects that a node wants; `None` while that cannot be told.
    fn names(&mut self, index: usize, node: &Node) -> Option<Vec<ObjectRef>> {
        let KindState::Synced { namespaced } = self.walk.world.kind(&node.gvk.group_kind()) else {
            return None;
        };
        let rendered = self.pass.render(index).ok()?;
        let complete = |item| children::complete(&self.machine.task, self.uid, node, item, namespaced).ok();
        rendered.iter().map(|item| Some(Object(complete(item)?).object_ref())).collect()
    }

    /// What later nodes read of a node: the objects of its former names, which are there as long as they are kept, else
    /// those that took their place.
    fn seen(&mut self, index: usize, node: &Node) -> Option<Vec<Value>> {
        let values = |seen: Vec<Arc<Stored>>| seen.iter().map(|s| s.object.unpack().0).collect();
        let world = self.walk.world;
        if let Part::Rest(of_hub) = &self.situation.wanted.part
            && node.on_hub
        {
            return Some(of_hub.get(&node.id)?.to_vec());
        }
        if node.external.is_some() {
            return match world.look(self.machine.reads.get(&node.id)?) {
                Looked::Found(found) => Some(values(found)),
                _ => None,
            };
        }
        let names = self.names(index, node)?;
        let kept: Option<Vec<Arc<Stored>>> = names.iter().map(|name| world.get(name)).collect();
        let kept = kept.or_else(|| {
            let present = self.walk.desired.iter().filter(|(_, id)| **id == node.id);
            present.map(|(name, _)| world.get(name)).collect()
        });
        kept.map(values)
    }
}
