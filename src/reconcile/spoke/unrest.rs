//! Nodes whose objects get new names again and again: one is made, the one before is pruned, and so on.

use super::run::Walk;
use super::status::NodeState;
use super::tracked::Trouble;
use super::write_budget::{Unrest, span};
use super::{Action, Machine};
use crate::api::keys::kro;
use crate::api::names::ObjectRef;
use std::collections::BTreeSet;

impl Machine {
    /// Why an object of a new name is not made now: the names of its node do not come to rest. The one before stays
    /// meanwhile, since nothing is pruned while something is missing.
    pub(super) fn hold_new_name(
        &mut self,
        walk: &mut Walk,
        node: &str,
        target: &ObjectRef,
    ) -> Option<NodeState> {
        let renames = self.renames.get_mut(node)?;
        if renames.is_blank(walk.now) {
            self.renames.remove(node);
            return None;
        }
        if renames.allows(walk.now) {
            return None;
        }
        let (so_far, pause) = (renames.so_far(walk.now), span(renames.interval()));
        renames.say(
            Trouble::Restless,
            format!("the names of its objects change again and again; replaced {so_far} without coming to rest, now at most every {pause}"),
        );
        walk.held.insert(target.clone());
        renames.unrest(walk.now).map(|u| NodeState::of_unrest(target, u, false))
    }

    /// Counts nodes that make an object of a new name although one of theirs is there that is wanted no more.
    pub(super) fn count_renames(&mut self, walk: &mut Walk) {
        let new: BTreeSet<&str> =
            walk.made.iter().chain(&walk.held).filter_map(|object| walk.node_of(object)).collect();
        let mut said = Vec::new();
        for (node, renames) in self.renames.iter_mut().filter(|(node, _)| !new.contains(node.as_str())) {
            renames.calm(walk.now);
            let message = |u: &Unrest| match u.is_mild {
                true => NodeState::Waiting(u.message.clone()),
                false => NodeState::Failed(u.trouble, u.message.clone()),
            };
            said.extend(renames.unrest(walk.now).map(|u| (node.clone(), message(u))));
        }
        walk.restless.extend(said);
        self.renames.retain(|_, renames| !renames.is_blank(walk.now));
        let making = walk.step.actions.iter().filter_map(|action| match action {
            Action::Apply(apply) if walk.made.contains(&apply.object) => walk.node_of(&apply.object),
            _ => None,
        });
        let making: BTreeSet<&str> = making.collect();
        if making.is_empty() {
            return;
        }
        let former =
            walk.world.members(&self.task.applyset()).into_iter().filter(|(o, _)| walk.node_of(o).is_none());
        let renamed: BTreeSet<String> = former
            .filter_map(|(_, stored)| stored.object.label(kro::NODE_ID).map(str::to_owned))
            .filter(|node| making.contains(node.as_str()))
            .collect();
        for node in renamed {
            self.renames.entry(node).or_default().wrote(walk.now);
        }
    }
}
