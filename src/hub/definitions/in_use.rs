//! Which revisions of a definition are in use, as its status says while there are several; and earlier ones that are needed.

use super::wakes::{self, Subject};
use super::{DefinitionEntry, Definitions, Revisions, compile};
use crate::api::names::GroupKind;
use crate::graph;
use crate::graph::Graph;
use crate::hub::context::Context;
use crate::reconcile::Moment;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What is said of one definition changes at most this often.
const APART: Duration = Duration::from_secs(1);

/// What is in use of a kind's revisions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::hub) struct InUse {
    /// How many pairs run by each revision, by number; empty while no rollout may keep them apart.
    pub pairs: BTreeMap<u64, usize>,
    /// Hashes of the graphs that somebody may run by, of revisions that are to stay.
    pub graphs: BTreeSet<String>,
}

/// Kinds of which something else may be in use than was said, and what is needed of them.
#[derive(Default)]
pub(super) struct Uses {
    unsaid: BTreeSet<GroupKind>,
    /// When each may be looked at again.
    next: BTreeMap<GroupKind, Moment>,
    /// Hashes of graphs of revisions that are to stay.
    needed: BTreeMap<GroupKind, BTreeSet<String>>,
    /// Those of them that could not be made.
    unfit: BTreeMap<GroupKind, BTreeSet<String>>,
}

impl Uses {
    fn due(&self) -> impl Iterator<Item = (&GroupKind, Moment)> {
        self.unsaid.iter().map(|gk| (gk, self.next.get(gk).copied().unwrap_or(Moment::START)))
    }

    /// Those whose time has come.
    fn take_due(&mut self, now: Moment) -> Vec<GroupKind> {
        let due: Vec<GroupKind> = self.due().filter(|(_, at)| *at <= now).map(|(gk, _)| gk.clone()).collect();
        for gk in &due {
            self.unsaid.remove(gk);
            self.next.insert(gk.clone(), now.after(APART));
        }
        self.next.retain(|gk, at| self.unsaid.contains(gk) || *at > now);
        due
    }
}

/// `status.fleet` with what is in use. `before`: what was said; it stands until it is known anew.
pub(super) fn shown(
    fleet: Option<Value>,
    before: Option<&Value>,
    in_use: Option<&BTreeMap<u64, usize>>,
) -> Option<Value> {
    let said = || before.and_then(|before| before.get("revisions")).cloned();
    let list = in_use.map_or_else(said, |in_use| {
        let one = |(revision, pairs)| json!({"revision": revision, "pairs": pairs});
        (in_use.len() > 1).then(|| in_use.iter().map(one).collect())
    });
    let mut fleet = fleet.or_else(|| list.is_some().then(|| json!({})))?;
    let fields = fleet.as_object_mut()?;
    fields.remove("revisions");
    fields.extend(list.map(|list| ("revisions".to_owned(), list)));
    (!fields.is_empty()).then_some(fleet)
}

impl Definitions {
    /// Of these kinds, something else may be in use.
    pub fn reused(&mut self, kinds: BTreeSet<GroupKind>) {
        self.uses.unsaid.extend(kinds);
    }

    /// When the next of them may be looked at.
    pub fn looks_at_uses(&self) -> Option<Moment> {
        self.uses.due().map(|(_, at)| at).min()
    }

    /// Those that are to be looked at now; [`Self::in_use`] follows.
    pub fn take_due_uses(&mut self, now: Moment) -> Vec<GroupKind> {
        self.uses.take_due(now)
    }

    /// What is in use of a kind's revisions; `None` where that is not known yet.
    pub fn in_use(&mut self, ctx: &Context, gk: &GroupKind, in_use: Option<InUse>) {
        let Some(InUse { pairs, graphs }) = in_use else {
            if self.entry_of(gk).is_some() {
                self.uses.unsaid.insert(gk.clone());
            }
            return;
        };
        let unfit = self.uses.unfit.remove(gk).unwrap_or_default();
        let unfit: BTreeSet<String> = unfit.intersection(&graphs).cloned().collect();
        if !unfit.is_empty() {
            self.uses.unfit.insert(gk.clone(), unfit);
        }
        if graphs.is_empty() {
            self.uses.needed.remove(gk);
        } else {
            self.uses.needed.insert(gk.clone(), graphs);
        }
        let Some((name, entry)) = self.entry_of(gk) else { return };
        if entry.in_use.replace(pairs.clone()) != Some(pairs) {
            self.write_status(ctx, &name);
        }
    }

    pub(super) fn entry_of(&mut self, gk: &GroupKind) -> Option<(String, &mut DefinitionEntry)> {
        let name = self.name_of(gk)?.clone();
        self.entries.get_mut(&name).map(|entry| (name, entry))
    }

    /// Hashes of graphs of a kind that somebody may run by.
    pub(super) fn needed_of(&self, gk: &GroupKind) -> BTreeSet<String> {
        self.uses.needed.get(gk).cloned().unwrap_or_default()
    }

    /// Somebody may run by the graph of this hash: its snapshot stays, and it is compiled where it is not the newest. Why it
    /// cannot be, where that is known at once.
    pub fn need(&mut self, ctx: &Context, gk: &GroupKind, hash: &str) -> Option<String> {
        self.uses.needed.entry(gk.clone()).or_default().insert(hash.to_owned());
        let (name, entry) = self.entries.get_key_value(self.name_of(gk)?)?;
        if entry.serving().is_some_and(|serving| serving.graph.hash == hash) {
            return None;
        }
        let snapshots =
            Revisions::of(name, self.revisions.iter().map(|(_, o)| o)).snapshots(entry.object.uid());
        let Some(rgd) = snapshots.into_iter().find(|rgd| graph::spec_hash(&rgd.spec) == hash) else {
            return Some("is not there any more: its GraphRevision is gone".to_owned());
        };
        let own = self.own_crds(&rgd);
        compile::former(ctx, rgd, own);
        None
    }

    /// What came of compiling one of them. What failed is tried again when the hub serves something else, and ever less.
    pub fn former_compiled(
        &mut self,
        gk: &GroupKind,
        hash: &str,
        made: Result<&Arc<Graph>, &str>,
        now: Moment,
    ) {
        let name = self.entry_of(gk).map(|(name, _)| name);
        let unfit = self.uses.unfit.entry(gk.clone()).or_default();
        if made.is_ok() {
            unfit.remove(hash);
        } else {
            unfit.insert(hash.to_owned());
        }
        let is_over = unfit.is_empty();
        if is_over {
            self.uses.unfit.remove(gk);
        }
        match name {
            Some(name) if is_over => self.wakes.settled(&name, Subject::Former),
            Some(name) => drop(self.wakes.failed(&name, Subject::Former, wakes::LASTING, now)),
            None => {}
        }
    }

    /// Compiles those again that could not be made.
    pub(super) fn try_formers(&mut self, ctx: &Context, name: &str) {
        let Some(gk) = self.entries.get(name).map(|entry| entry.gvk().group_kind()) else { return };
        for hash in self.uses.unfit.get(&gk).cloned().unwrap_or_default() {
            self.need(ctx, &gk, &hash);
        }
    }

    /// Whether some of a definition's could not be made.
    pub(super) fn has_unfit(&self, entry: &DefinitionEntry) -> bool {
        self.uses.unfit.contains_key(&entry.gvk().group_kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_revisions_are_shown_and_one_is_not() {
        let two = BTreeMap::from([(4, 588), (5, 12)]);
        let one = BTreeMap::from([(5, 600)]);
        let list = json!([{"revision": 4, "pairs": 588}, {"revision": 5, "pairs": 12}]);
        let clusters = || Some(json!({"clusters": 2, "compatible": 2}));
        let both = json!({"clusters": 2, "compatible": 2, "revisions": list});
        for (fleet, before, in_use, want) in [
            (clusters(), None, Some(&two), Some(both.clone())),
            (None, None, Some(&two), Some(json!({"revisions": list}))),
            (Some(both.clone()), Some(&both), Some(&one), clusters()),
            (Some(both.clone()), Some(&both), Some(&BTreeMap::new()), clusters()),
            // After a restart, what was said stands until it is known anew.
            (clusters(), Some(&both), None, Some(both.clone())),
            (Some(both.clone()), Some(&both), None, Some(both.clone())),
            (None, None, None, None),
            (None, Some(&json!({"revisions": list})), Some(&one), None),
        ] {
            assert_eq!(shown(fleet.clone(), before, in_use), want, "{fleet:?} {before:?} {in_use:?}");
        }
    }

    #[test]
    fn the_first_change_is_looked_at_at_once_and_the_next_a_second_later() {
        let at = Moment::from_millis;
        let gk = GroupKind::new("kro.run", "App");
        let mut uses = Uses::default();
        assert_eq!(uses.take_due(at(5_000)), []);
        uses.unsaid.insert(gk.clone());
        assert_eq!(uses.take_due(at(5_000)), std::slice::from_ref(&gk));
        uses.unsaid.insert(gk.clone());
        assert_eq!(uses.take_due(at(5_999)), []);
        assert_eq!(uses.due().next(), Some((&gk, at(6_000))));
        assert_eq!(uses.take_due(at(6_000)), std::slice::from_ref(&gk));
        assert_eq!(uses.take_due(at(9_000)), []);
        assert!(uses.next.is_empty(), "nothing is kept of what rests");
    }
}
