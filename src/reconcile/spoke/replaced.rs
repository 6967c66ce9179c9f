//! An object whose name follows the uid of its mirror. A mirror that somebody deleted is made again with another uid, so
//! the name changes although nobody decided anything: what had the old name stays. A name that the author, the spec or
//! the cluster changed is another matter, also if the mirror was replaced at the same time.

use super::run::Wanted;
use super::{Machine, Part, children};
use crate::api::Object;
use crate::api::names::ObjectRef;
use crate::graph::{Node, Pass};
use crate::reconcile::world::{KindState, Looked, Stored, World};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Machine {
    /// Whether the object `target` of the node at `position` would be wanted as it is named, if the mirror still had the
    /// uid `former`. What cannot be told is taken for a yes: then nothing is deleted.
    pub(super) fn is_renamed_by_uid(
        &self,
        world: &dyn World,
        wanted: &Wanted,
        parent: &Object,
        former: &str,
        (target, position): (&ObjectRef, usize),
        desired: &BTreeMap<ObjectRef, String>,
    ) -> bool {
        let mut mirror = parent.0.clone();
        if let Some(uid) = mirror.pointer_mut("/metadata/uid") {
            *uid = Value::String(former.to_owned());
        }
        let mut pass = Pass::new(&wanted.graph, &mirror, &wanted.cluster);
        for (index, node) in wanted.graph.nodes.iter().enumerate() {
            match pass.included(index) {
                Ok(true) => {}
                Ok(false) if index == position => return false,
                Ok(false) => continue,
                Err(_) => return true,
            }
            if index == position && !wanted.part.has(node) {
                return false;
            }
            if index == position {
                let names = self.names(world, &mut pass, former, index, node);
                return names.is_none_or(|names| names.contains(target));
            }
            let Some(seen) = self.seen_then(world, wanted, &mut pass, former, (index, node), desired) else {
                return true;
            };
            let views: Vec<&Value> = seen.iter().map(|s| &s.object.0).collect();
            pass.observe(index, &views, views.len());
        }
        true
    }

    /// The objects that a node wants; `None` while that cannot be told.
    fn names(
        &self,
        world: &dyn World,
        pass: &mut Pass,
        uid: &str,
        index: usize,
        node: &Node,
    ) -> Option<Vec<ObjectRef>> {
        let KindState::Synced { namespaced } = world.kind(&node.gvk.group_kind()) else { return None };
        let rendered = pass.render(index).ok()?;
        let complete = |item| children::complete(&self.task, uid, node, item, namespaced).ok();
        rendered.iter().map(|item| Some(Object(complete(item)?).object_ref())).collect()
    }

    /// What later nodes read of a node: the objects of its former names, which are there as long as they are kept, else
    /// those that took their place.
    fn seen_then(
        &self,
        world: &dyn World,
        wanted: &Wanted,
        pass: &mut Pass,
        former: &str,
        (index, node): (usize, &Node),
        desired: &BTreeMap<ObjectRef, String>,
    ) -> Option<Vec<Arc<Stored>>> {
        if let Part::Rest(values) = &wanted.part
            && node.on_hub
        {
            return Some(values.get(&node.id)?.iter().map(|v| Arc::new(Stored::new(v.clone()))).collect());
        }
        if node.external.is_some() {
            return match world.look(self.reads.get(&node.id)?) {
                Looked::Found(found) => Some(found),
                _ => None,
            };
        }
        let names = self.names(world, pass, former, index, node)?;
        let kept: Option<Vec<Arc<Stored>>> = names.iter().map(|name| world.get(name)).collect();
        kept.or_else(|| {
            let present = desired.iter().filter(|(_, id)| **id == node.id);
            present.map(|(name, _)| world.get(name)).collect()
        })
    }
}
