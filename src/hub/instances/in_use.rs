//! Which revisions of a definition are in use: by how many pairs of an instance and a cluster each. Graphs that nobody uses
//! are let go.

use super::{Effect, InstanceKind, Instances};
use crate::api::names::GroupKind;
use crate::api::rollout::Rollout;
use crate::hub::definitions::InUse;
use crate::reconcile::fleet::aggregate::runs::graph_print;
use crate::reconcile::policy::Effective;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Whether it may keep revisions of a definition apart.
fn keeps_apart(of: &Effective) -> bool {
    of.rollout.as_ref().is_some_and(|rollout| !rollout.stages.is_empty() || rollout.revision.is_some())
}

/// The revision that it pins, whatever it moves.
fn pinned(of: &Effective) -> Option<u64> {
    of.rollout.as_ref().and_then(|rollout: &Rollout| rollout.revision).and_then(|pin| u64::try_from(pin).ok())
}

impl InstanceKind {
    /// Whether every instance was looked at since the start, so that a rollout of the kind counts all of them. Who comes later
    /// is looked at when it comes.
    pub(super) fn is_surveyed(&mut self) -> bool {
        let open = |slot: &super::Slot| slot.crash.is_none() && !slot.fleet.is_planned();
        self.surveyed =
            self.surveyed || (self.view.is_synced() && !self.slots.values().any(|slot| open(slot)));
        self.surveyed
    }

    /// Whether it is known of all instances by which graphs they run.
    fn knows_runs(&self) -> bool {
        let open = |slot: &super::Slot| slot.crash.is_none() && !slot.fleet.knows_runs();
        self.view.is_synced() && !self.slots.values().any(|slot| open(slot))
    }

    fn is_run(&self, hash: &str) -> bool {
        graph_print(hash).is_some_and(|print| self.runs.iter().any(|(known, _)| known == print))
    }

    /// How many pairs run by each revision; `None` where the number of one is not known.
    fn pairs(&self) -> Option<BTreeMap<u64, usize>> {
        let mut pairs = BTreeMap::new();
        for (print, count) in self.runs.iter() {
            let mut known = self.revisions.iter().rev();
            // A definition that goes back has a graph twice: the later number counts.
            match known.find(|(_, hash)| graph_print(hash) == Some(print)) {
                Some((number, _)) => *pairs.entry(*number).or_default() += count,
                None if self.is_numbered => {}
                None => return None,
            }
        }
        Some(pairs)
    }
}

impl Instances {
    /// Kinds of which other revisions may be in use, since this was asked last.
    pub fn take_reused(&mut self) -> BTreeSet<GroupKind> {
        std::mem::take(&mut self.reused)
    }

    /// What is in use of a kind's revisions; `None` while that is not known. What nobody uses is let go.
    pub fn revisions_in_use(&mut self, gk: &GroupKind) -> Option<InUse> {
        let list = self.policies.of_kind(gk).unwrap_or_default();
        let governed = list.iter().any(|one| keeps_apart(&one.effective));
        let pins: BTreeSet<u64> = list.iter().filter_map(|one| pinned(&one.effective)).collect();
        let kind = self.kinds.get(gk)?;
        if !governed && kind.former.is_empty() && !self.rollouts.has_graphs(gk) {
            return Some(InUse::default());
        }
        if !kind.knows_runs() {
            return None;
        }
        let pairs = if governed { kind.pairs() } else { Some(BTreeMap::new()) };
        let Some(pairs) = pairs else {
            self.effects.push(Effect::Number(gk.clone()));
            return None;
        };
        let graphs = self.let_graphs_go(gk, &pins);
        Some(InUse { pairs, graphs })
    }

    /// Keeps the graphs that somebody runs by, may be told to run by or pins; hashes of those, and of revisions that run
    /// somewhere.
    fn let_graphs_go(&mut self, gk: &GroupKind, pins: &BTreeSet<u64>) -> BTreeSet<String> {
        let Some(kind) = self.kinds.get_mut(gk) else { return BTreeSet::new() };
        let pinned = kind.revisions.iter().filter(|(number, _)| pins.contains(*number));
        let pinned: BTreeSet<String> = pinned.map(|(_, hash)| hash.clone()).collect();
        let wanted = kind.rollout.as_ref().and_then(|rollout| rollout.wanted()).map(ToString::to_string);
        let newest = kind.graph.as_ref().map(|graph| graph.hash.clone());
        let is_wanted = |hash: &str| {
            pinned.contains(hash)
                || wanted.as_deref() == Some(hash)
                || newest.as_deref() == Some(hash)
                || kind.is_run(hash)
        };
        let mut used = self.rollouts.keep_graphs(gk, is_wanted);
        let stays = |hash: &String| used.contains(hash) || is_wanted(hash);
        let running: Vec<String> =
            kind.revisions.values().filter(|hash| kind.is_run(hash)).cloned().collect();
        if kind.former.keys().any(|hash| !stays(hash)) {
            let former: BTreeMap<_, _> = kind
                .former
                .iter()
                .filter(|(hash, _)| stays(hash))
                .map(|(h, g)| (h.clone(), g.clone()))
                .collect();
            kind.former = Arc::new(former);
        }
        if kind.unfit.keys().any(|hash| !used.contains(hash)) {
            Arc::make_mut(&mut kind.unfit).retain(|hash, _| used.contains(hash));
        }
        used.extend(running);
        used.extend(pinned);
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ResourceGraphDefinition;
    use crate::api::amounts::Span;
    use crate::api::keys::hub;
    use crate::api::names::{Gvk, HubId};
    use crate::api::placement::{Instances as Which, OnUnmatch};
    use crate::api::rollout::{Scope, Stage};
    use crate::graph::{Graph, Options, compile};
    use crate::hub::definitions;
    use crate::hub::instances::Policed;
    use crate::reconcile::fleet::placement::DefaultPlacement;
    use crate::reconcile::policy::{PolicyName, Selects};
    use crate::schema::kinds::Anywhere;
    use crate::spoke::watch::Listed;
    use serde_json::{Value, json};

    fn gk() -> GroupKind {
        GroupKind::new("kro.run", "App")
    }

    fn graph(n: u64) -> Arc<Graph> {
        let definition: ResourceGraphDefinition = serde_json::from_value(json!({
            "metadata": {"name": "app", "uid": "1"},
            "spec": {"schema": {"kind": "App", "apiVersion": "v1alpha1", "spec": {"a": "string"}}, "resources": [{"id": "c",
                "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("x{n}")}}}]},
        }))
        .unwrap();
        Arc::new(compile(&definition, &Options::default(), &Anywhere).unwrap())
    }

    /// The kind at its fifth revision.
    fn instances() -> Instances {
        let mut instances = Instances::new(HubId::new("h"), DefaultPlacement::Local);
        let gvk = Gvk::new("kro.run", "v1alpha1", "App");
        instances.serve(definitions::Effect::Watch { gvk, plural: "apps".into() });
        instances.seen(&gk(), Listed::Started);
        instances.seen(&gk(), Listed::Done(1));
        for revision in 1..=5 {
            let graph = graph(revision);
            instances.serve(definitions::Effect::Serve { graph, allow_breaking: false, revision });
        }
        instances
    }

    fn runs(instances: &mut Instances, revision: u64, count: usize, add: bool) {
        let kind = instances.kinds.get_mut(&gk()).unwrap();
        kind.runs.change(graph_print(&graph(revision).hash).unwrap(), count, add);
    }

    fn version(revision: u64) -> Value {
        let owner = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App", "name": "web", "uid": "u"});
        json!({
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "v", "resourceVersion": "1",
                "labels": {hub::VERSION_OF: "u"}, "ownerReferences": [owner]},
            "revision": 1, "data": {"graph": graph(revision).hash, "print": "p"},
        })
    }

    fn moved_by(instances: &mut Instances, rollout: Option<Rollout>) {
        let name = PolicyName::new("", "app");
        let which = Which { group: "kro.run".into(), kind: "App".into(), ..Which::default() };
        let selects = Arc::new(Selects::read(&which, &name).unwrap());
        let effective = Effective {
            name,
            group_kind: gk(),
            hash: String::new(),
            clusters: None,
            on_unmatch: OnUnmatch::Delete,
            grace: Span(0),
            overrides: Vec::new(),
            rollout,
            invalid: None,
        };
        let one = Policed { selects, effective: Arc::new(effective), uid: "p".into() };
        instances.set_policies(&gk(), vec![one]);
    }

    /// Revisions whose graphs are kept: those of before, and those that somebody asked for.
    fn kept(instances: &Instances) -> (Vec<u64>, Vec<u64>) {
        let number = |hash: &String| (1..=5).find(|n| graph(*n).hash == *hash).unwrap();
        let former = instances.kinds[&gk()].former.keys().map(number);
        let mut former: Vec<u64> = former.collect();
        former.sort_unstable();
        (former, instances.rollouts.graphs_of(&gk()).map(|(hash, _)| number(&hash.to_owned())).collect())
    }

    #[test]
    fn graphs_that_no_pair_no_version_and_no_pin_uses_are_let_go() {
        let mut instances = instances();
        assert_eq!(kept(&instances), (vec![1, 2, 3, 4], vec![]));
        instances.seen_version(Listed::Object(version(2)));
        runs(&mut instances, 3, 1, true);
        runs(&mut instances, 5, 9, true);
        moved_by(&mut instances, Some(Rollout { revision: Some(4), ..Rollout::default() }));
        let in_use = instances.revisions_in_use(&gk()).unwrap();
        assert_eq!(kept(&instances), (vec![2, 3, 4], vec![2]));
        assert_eq!(in_use.graphs.len(), 4, "those and the newest, which runs");
        moved_by(&mut instances, None);
        instances.revisions_in_use(&gk()).unwrap();
        assert_eq!(kept(&instances), (vec![2, 3], vec![2]));
        runs(&mut instances, 3, 1, false);
        instances.revisions_in_use(&gk()).unwrap();
        assert_eq!(kept(&instances), (vec![2], vec![2]));
        instances.seen_version(Listed::Left(version(2)));
        assert!(instances.take_reused().contains(&gk()));
        instances.revisions_in_use(&gk()).unwrap();
        assert_eq!(kept(&instances), (vec![], vec![]));
        assert_eq!(instances.revisions_in_use(&gk()), Some(InUse::default()));
        // It is asked for anew where somebody needs it again.
        instances.take_effects();
        instances.seen_version(Listed::Object(version(2)));
        let asks = |effect: &Effect| matches!(effect, Effect::Need(_, hash) if *hash == graph(2).hash);
        assert!(instances.take_effects().iter().any(asks));
    }

    #[test]
    fn pairs_are_counted_by_revision_only_where_a_rollout_keeps_revisions_apart() {
        let mut instances = instances();
        runs(&mut instances, 3, 588, true);
        runs(&mut instances, 5, 12, true);
        let pairs = |instances: &mut Instances| instances.revisions_in_use(&gk()).unwrap().pairs;
        assert_eq!(pairs(&mut instances), BTreeMap::new());
        let stages = || vec![Stage { name: "all".into(), ..Stage::default() }];
        moved_by(
            &mut instances,
            Some(Rollout { stages: stages(), scope: Scope::Kind, ..Rollout::default() }),
        );
        assert_eq!(pairs(&mut instances), BTreeMap::from([(3, 588), (5, 12)]));
        moved_by(&mut instances, Some(Rollout::default()));
        assert_eq!(pairs(&mut instances), BTreeMap::new(), "all at once");
        moved_by(&mut instances, Some(Rollout { stages: stages(), ..Rollout::default() }));
        assert_eq!(pairs(&mut instances).len(), 2);
        // A number that is not known has to be asked for first.
        let kind = instances.kinds.get_mut(&gk()).unwrap();
        kind.revisions.remove(&3);
        assert_eq!(instances.revisions_in_use(&gk()), None);
        let numbers = |effect: &Effect| matches!(effect, Effect::Number(_));
        assert!(instances.take_effects().iter().any(numbers));
        // An instance that nobody looked at yet may run by any.
        let object =
            json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "1"}});
        instances.seen(&gk(), Listed::Object(object));
        assert_eq!(instances.revisions_in_use(&gk()), None);
    }
}
