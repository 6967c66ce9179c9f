//! Which Placements concern which instances.

use super::{InstanceKey, Instances};
use crate::api::Object;
use crate::api::names::GroupKind;
use crate::api::object::Document;
use crate::api::rollout::{Rollout, Scope};
use crate::graph::Graph;
use crate::hub::view::Change;
use crate::reconcile::Moment;
use crate::reconcile::fleet::overriding::Layer;
use crate::reconcile::fleet::rollout::ahead::moves_kind;
use crate::reconcile::fleet::rollout::kind::By;
use crate::reconcile::policy::{Count, PolicyName};
use crate::reconcile::policy::{Effective, MOST_FOR_ONE, Selects};
use crate::reconcile::world::Stored;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One Placement, as the instances of its kind go by it.
#[derive(Clone)]
pub(in crate::hub) struct Policed {
    pub selects: Arc<Selects>,
    pub effective: Arc<Effective>,
    pub uid: Arc<str>,
}

/// All of them by kind, each list in the order of their names.
#[derive(Default)]
pub(in crate::hub) struct Policies(BTreeMap<GroupKind, Vec<Policed>>, Layers);

/// Overrides as they were read for the graph that a kind has now.
#[derive(Default)]
pub(in crate::hub) struct Layers(BTreeMap<PolicyName, (Arc<Graph>, Arc<Layer>)>);

impl Layers {
    /// Those of some Placements, in the same order.
    pub fn of(&mut self, placements: &[Arc<Effective>], graph: Option<&Arc<Graph>>) -> Vec<Arc<Layer>> {
        let Some(graph) = graph else { return Vec::new() };
        let with = placements.iter().filter(|of| !of.overrides.is_empty());
        with.map(|of| self.read(of, graph)).collect()
    }

    fn read(&mut self, of: &Arc<Effective>, graph: &Arc<Graph>) -> Arc<Layer> {
        let known = self.known(of, graph);
        known.unwrap_or_else(|| {
            let layer = Arc::new(Layer::read(of, graph));
            self.0.insert(of.name.clone(), (graph.clone(), layer.clone()));
            layer
        })
    }

    fn known(&self, of: &Arc<Effective>, graph: &Arc<Graph>) -> Option<Arc<Layer>> {
        let (known, layer) = self.0.get(&of.name)?;
        (Arc::ptr_eq(known, graph) && Arc::ptr_eq(&layer.of, of)).then(|| layer.clone())
    }
}

impl Policies {
    /// Those of a kind.
    pub fn of_kind(&self, gk: &GroupKind) -> Option<&[Policed]> {
        self.0.get(gk).map(Vec::as_slice)
    }

    /// The one whose rollout moves the revision of the whole kind: of several, that of the lower name.
    pub fn moves_kind(&self, gk: &GroupKind) -> Option<By> {
        let first = self.of_kind(gk)?.iter().filter(|one| moves_kind(&one.effective));
        let first = first.min_by_key(|one| &one.effective.name)?;
        Some(By { effective: first.effective.clone(), uid: first.uid.clone() })
    }

    /// The kind of which the ClusterPlacement of this name says that it moves it.
    pub fn kind_moved_by(&self, name: &str) -> Option<&GroupKind> {
        let is_it = |one: &Policed| {
            let scope = one.effective.rollout.as_ref().map(|rollout| rollout.scope);
            one.effective.name.is_of_cluster()
                && *one.effective.name.name == *name
                && scope == Some(Scope::Kind)
        };
        self.0.iter().find(|(_, list)| list.iter().any(is_it)).map(|(gk, _)| gk)
    }

    /// The overrides of a Placement, where they were read for this graph already.
    pub fn known_layer(&self, of: &Arc<Effective>, graph: &Arc<Graph>) -> Option<Arc<Layer>> {
        self.1.known(of, graph)
    }

    /// The overrides of some Placements, as they were read for this graph.
    pub fn layers(&mut self, placements: &[Arc<Effective>], graph: Option<&Arc<Graph>>) -> Vec<Arc<Layer>> {
        self.1.of(placements, graph)
    }

    /// Those that concern an instance, and how many of them there would be without a limit.
    pub fn of<D: Document>(&self, key: &InstanceKey, object: &Object<D>) -> Vec<Arc<Effective>> {
        let mut found = self.all_of(key, object);
        found.truncate(MOST_FOR_ONE);
        found
    }

    /// The same without the limit.
    pub fn all_of<D: Document>(&self, key: &InstanceKey, object: &Object<D>) -> Vec<Arc<Effective>> {
        let Some(list) = self.0.get(&key.gk).filter(|list| !list.is_empty()) else { return Vec::new() };
        let labels = object.labels();
        let concerned = list.iter().filter(|one| one.selects.matches(key, &labels));
        concerned.map(|one| one.effective.clone()).collect()
    }
}

impl Instances {
    /// Whether a definition makes the kind.
    pub fn is_served(&self, gk: &GroupKind) -> bool {
        self.kinds.contains_key(gk)
    }

    /// Kinds of which something changed that Placements count, since this was asked last.
    pub fn take_counted(&mut self) -> BTreeSet<GroupKind> {
        std::mem::take(&mut self.counted)
    }

    /// An instance came, went or changed: perhaps other Placements concern it.
    pub(super) fn note_selected(&mut self, gk: &GroupKind, change: &Change<Stored>) {
        let labels = |stored: &Option<Arc<Stored>>| stored.as_ref().map(|stored| stored.object.labels());
        if self.policies.0.contains_key(gk) && labels(&change.before) != labels(&change.after) {
            self.counted.insert(gk.clone());
        }
    }

    /// What each Placement of a kind comes to; `None` while the instances were not all seen. For a while after a start nothing
    /// is said either before all were looked at, and as long as some cluster did not say what stands there. Later, one that
    /// cannot be looked at silences nobody.
    pub fn count_policies(&self, gk: &GroupKind, now: Moment) -> Option<BTreeMap<PolicyName, Count>> {
        let mut counts: BTreeMap<PolicyName, Count> = BTreeMap::new();
        let is_early = now < self.rollouts.quiet_until;
        // Its definition may not have been read yet.
        let Some(kind) = self.kinds.get(gk) else { return (!is_early).then_some(counts) };
        let is_open = |slot: &super::Slot| {
            slot.crash.is_none() && (!slot.fleet.is_planned() || slot.fleet.is_finding_out())
        };
        let kind_is_open = || kind.rollout.as_ref().is_some_and(|rollout| rollout.is_finding_out());
        if !kind.view.is_synced()
            || (is_early && (kind_is_open() || kind.slots.values().any(|slot| is_open(slot))))
        {
            return None;
        }
        let mover = self.policies.moves_kind(gk);
        for (key, stored) in kind.view.iter() {
            let key = InstanceKey::new(gk.clone(), &key.namespace, &key.name);
            let all = self.policies.all_of(&key, &stored.object);
            let moves = |p: &&Arc<Effective>| p.rollout.as_ref().is_some_and(Rollout::moves_instances);
            // The nearest decides: a Placement before a ClusterPlacement, then the lower name.
            let nearest = |p: &&Arc<Effective>| (p.name.is_of_cluster(), p.name.clone());
            let winner = all.iter().take(MOST_FOR_ONE).filter(moves).min_by_key(nearest);
            for (place, policy) in all.iter().enumerate() {
                let count = counts.entry(policy.name.clone()).or_default();
                if place >= MOST_FOR_ONE {
                    count.too_many.push(key.clone());
                    continue;
                }
                count.instances += 1;
                let slot = kind.slots.get(&key).filter(|slot| slot.crash.is_none());
                count.waits |= slot.is_some_and(|slot| !slot.fleet.went_by(policy)) && self.lanes.has(&key);
                if let Some(winner) = winner.filter(|w| w.name != policy.name && moves(&policy)) {
                    count.outranked.entry(winner.name.clone()).or_default().push(key.clone());
                }
                // One moves the whole kind; of several, the others do nothing.
                let moves_kind = policy.rollout.as_ref().is_some_and(|r| r.scope == Scope::Kind);
                let mover = mover.as_ref().map(|by| &by.effective.name);
                if let Some(mover) = mover.filter(|mover| moves_kind && **mover != policy.name) {
                    count.outranked.entry(mover.clone()).or_default().push(key.clone());
                }
                let short = kind.slots.get(&key).and_then(|slot| slot.fleet.short_of(&policy.name));
                count.short.extend(short.map(|s| (key.clone(), s.have, s.why.clone())));
                if let Some(why) = kind.pin_refused(policy) {
                    count.rollouts.refuse(&key.short(), why);
                }
                let rolls = winner.is_some_and(|winner| winner.name == policy.name);
                let progress = kind.slots.get(&key).and_then(|slot| slot.fleet.progress());
                if let Some(progress) = progress.filter(|_| rolls) {
                    count.rollouts.add(&key.short(), progress);
                }
            }
        }
        let moved =
            kind.rollout.as_ref().and_then(|r| Some((r.progress()?, r.revision()?, !r.is_finding_out())));
        if let Some((by, (progress, revision, is_known))) = mover.zip(moved) {
            let count = counts.entry(by.effective.name.clone()).or_default();
            count.rollouts.add_kind(&gk.kind, progress, revision, is_known);
        }
        for (name, verdict) in self.overrides_come_to(gk) {
            counts.entry(name).or_default().overrides = Some(verdict);
        }
        Some(counts)
    }

    /// What the Placements of a kind say now. The instances that it concerns are looked at.
    pub fn set_policies(&mut self, gk: &GroupKind, list: Vec<Policed>) {
        self.reused.insert(gk.clone());
        let before = if list.is_empty() {
            self.policies.0.remove(gk)
        } else {
            self.policies.0.insert(gk.clone(), list)
        };
        let all: BTreeSet<&PolicyName> =
            self.policies.0.values().flatten().map(|one| &one.effective.name).collect();
        self.policies.1.0.retain(|name, _| all.contains(name));
        let before = Policies(before.map(|list| (gk.clone(), list)).into_iter().collect(), Layers::default());
        let Some(kind) = self.kinds.get(gk) else { return };
        let same = |a: &[Arc<Effective>], b: &[Arc<Effective>]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let concerned = kind.view.iter().filter_map(|(key, stored)| {
            let key = InstanceKey::new(gk.clone(), &key.namespace, &key.name);
            let (was, is) = (before.of(&key, &stored.object), self.policies.of(&key, &stored.object));
            (!same(&was, &is)).then_some(key)
        });
        let concerned: Vec<InstanceKey> = concerned.collect();
        if !concerned.is_empty() {
            self.counted.insert(gk.clone());
        }
        for key in &concerned {
            self.enqueue(key);
        }
    }
}
