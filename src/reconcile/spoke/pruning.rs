//! What is not wanted any more goes, in the order in which nothing that is read goes before its reader.

use super::Machine;
use super::replaced::FormerMirror;
use super::run::{Situation, Walk};
use super::status::NodeState;
use super::tracked::{Tracked, Trouble};
use crate::api::keys::kro;
use crate::api::names::{GroupKind, ObjectRef};
use crate::graph::Graph;
use crate::reconcile::world::{KindState, Stored};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is not wanted any more: the position of its node, which is the order in which such objects go.
pub(super) type Candidate = (u64, ObjectRef, Arc<Stored>);

/// A kind that is not known to have been listed.
enum Unknown {
    Said(NodeState),
    Silent,
}

impl Machine {
    /// Memory of objects that are neither wanted nor there.
    pub(super) fn forget_unwanted(&mut self, walk: &mut Walk) {
        let mirror = self.task.key.object();
        let (desired, world) = (&walk.desired, walk.world);
        let there = |o: &ObjectRef| *o == mirror || desired.contains_key(o) || world.get(o).is_some();
        // One that only left our selection is looked for by its name, and goes by its uid.
        let lost: Vec<ObjectRef> = self
            .objects
            .iter()
            .filter(|(o, t)| !there(o) && t.uid().is_some() && !self.gone.contains(*o))
            .map(|(o, _)| o.clone())
            .collect();
        let is_over = |o: &ObjectRef, t: &Tracked| {
            !there(o) && !lost.contains(o) || t.is_anothers() && !desired.contains_key(o)
        };
        let goes = |o: &ObjectRef, t: &Tracked| !t.may_come(walk.now) && is_over(o, t);
        let forgotten = self.objects.iter().filter(|(o, t)| goes(o, t)).map(|(o, _)| o.clone());
        let forgotten: Vec<ObjectRef> = forgotten.collect();
        for object in forgotten {
            let writes = self.objects.remove(&object).map(|tracked| tracked.into_writes());
            self.former.extend(writes.map(|writes| (object, writes)));
        }
        for (object, writes) in &mut self.former {
            writes.calm(walk.now);
            let said = writes.unrest(walk.now).filter(|u| !u.is_mild);
            walk.unrest.extend(said.map(|u| (u.trouble, format!("{object}: {}", u.message))));
        }
        self.former.retain(|_, writes| !writes.is_blank(walk.now));
        let home = self.task.key.namespace.clone();
        let written = desired.keys().filter(|o| !walk.out_of_bounds.contains(*o));
        let outside = written.map(|o| &o.namespace).filter(|ns| !ns.is_empty() && **ns != home);
        self.extra_namespaces = outside.map(ToString::to_string).collect();
        let stays = |o: &ObjectRef| there(o) || lost.contains(o);
        self.delete_failures.retain(|o, _| stays(o) && !desired.contains_key(o));
        self.leaving.retain(|o, _| stays(o) && !desired.contains_key(o));
        self.strays.retain(|o, _| stays(o));
        // What was let go stays so for as long as a late write of ours may bring it back.
        let let_go = |o: &ObjectRef| self.objects.get(o).is_some_and(|t| t.uid().is_none());
        self.gone.retain(|o| there(o) || let_go(o));
        for target in &lost {
            self.make_sure(walk.now, &mut walk.step, target);
        }
    }

    /// What cannot be looked at may hold something that is not wanted any more: then nothing is deleted, and this is said.
    fn unknown_kind(&self, walk: &mut Walk, kinds: &BTreeSet<GroupKind>) -> Option<Unknown> {
        let mut unlisted = None;
        for gk in kinds {
            match walk.world.kind(gk) {
                KindState::Synced { .. } | KindState::Missing => {}
                KindState::Failed(why) => {
                    let why = format!("resource error: prune of {gk} waits: {why}");
                    return Some(Unknown::Said(NodeState::Failed(Trouble::Error, why)));
                }
                KindState::Unknown | KindState::Syncing => unlisted = unlisted.or(Some(gk)),
            }
        }
        let gk = unlisted?;
        walk.unseen = true;
        // What was looked at before is listed anew: that is over soon, and until then all is as it was.
        if self.makes.is_some() {
            return Some(Unknown::Silent);
        }
        let why = format!("prune: waiting for the first list of {gk}");
        Some(Unknown::Said(NodeState::Waiting(why)))
    }

    /// Deletes what belongs to this instance and is not wanted any more. Returns why something of it stays, or may.
    pub(super) fn prune(&mut self, walk: &mut Walk, situation: &Situation) -> Option<NodeState> {
        let Situation { wanted, parent, kinds } = situation;
        match self.unknown_kind(walk, kinds) {
            None => {}
            Some(Unknown::Silent) => return None,
            Some(Unknown::Said(state)) => return Some(state),
        }
        let mut held = Vec::new();
        let mut candidates: Vec<Candidate> = Vec::new();
        // As long as each list is known to have been.
        let mut longest: BTreeMap<String, usize> = BTreeMap::new();
        for (target, stored) in self.children_there(walk.world, Some(parent.uid())) {
            let label = |key: &str| stored.object.label(key);
            if let (Some(node), Some(size)) = (label(kro::NODE_ID), label(kro::COLLECTION_SIZE)) {
                let longest = longest.entry(node.to_owned()).or_default();
                *longest = (*longest).max(size.parse().unwrap_or_default());
            }
            if walk.desired.contains_key(&target) || stored.object.is_deleting() {
                continue;
            }
            let node = stored.object.label(kro::NODE_ID).unwrap_or_default();
            let position = wanted.graph.nodes.iter().position(|n| n.id == node);
            let former = stored.object.label(kro::INSTANCE_ID);
            let renamed =
                |former, place| FormerMirror::new(self, walk, situation, former).wants(&target, place);
            if former != Some(parent.uid())
                && !self.task.is_local()
                && let Some(place) = position
                && former.is_none_or(|former| renamed(former, place))
            {
                held.push(target);
                continue;
            }
            let rank = position.map_or(u64::MAX, |p| p as u64);
            candidates.push((rank, target, stored));
        }
        let makes = walk.desired.keys().chain(&held);
        let makes = makes.filter(|target| walk.world.definition(&target.gk).is_some());
        self.makes = Some(makes.cloned().collect());
        if walk.refused {
            candidates = dropped_by_lists(candidates, &wanted.graph, &walk.desired, &longest);
        }
        // What depends on others goes first; the next wave follows when the last one was asked to go.
        let wave = candidates.iter().map(|c| c.0).max();
        let mut refused = None;
        for (rank, target, stored) in candidates {
            if Some(rank) == wave {
                self.take_away(walk.now, &mut walk.step, &target, &stored);
            }
            if let Some((why, ..)) = self.delete_failures.get(&target) {
                refused.get_or_insert_with(|| format!("resource error: prune of {target}: {why}"));
            }
        }
        if let Some(why) = refused {
            return Some(NodeState::Failed(Trouble::Error, why));
        }
        held.sort();
        (!held.is_empty()).then(|| {
            let kept = "kept, since only the replaced mirror's uid changed their names";
            let held: Vec<String> = held.iter().map(ToString::to_string).collect();
            NodeState::Failed(Trouble::MirrorReplaced, format!("{kept}: {}", held.join(", ")))
        })
    }
}

/// Those that nothing can have taken the place of: a list got shorter by as many as there are. What they are read by
/// goes before them or keeps them.
pub(super) fn dropped_by_lists(
    candidates: Vec<Candidate>,
    graph: &Graph,
    desired: &BTreeMap<ObjectRef, String>,
    longest: &BTreeMap<String, usize>,
) -> Vec<Candidate> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for (rank, ..) in &candidates {
        *counts.entry(*rank).or_default() += 1;
    }
    let kept = counts.iter().filter(|(rank, count)| {
        let Some(node) = usize::try_from(**rank).ok().and_then(|p| graph.nodes.get(p)) else { return true };
        let left = desired.values().filter(|id| **id == node.id).count();
        left == 0 || left + **count > longest.get(&node.id).copied().unwrap_or_default()
    });
    let kept = kept.map(|(rank, _)| *rank).max();
    candidates.into_iter().filter(|(rank, ..)| Some(*rank) > kept).collect()
}
