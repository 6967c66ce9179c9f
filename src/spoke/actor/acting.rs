//! What a step asks for: requests, kinds to watch, CRDs to bring.

use super::{Actor, Effect, ToJudge};
use crate::api::names::{GroupKind, InstanceKey};
use crate::api::{Gvk, Object, keys};
use crate::graph::Graph;
use crate::reconcile::spoke::{Action, Side, Task};
use crate::reconcile::world::CrdWish;
use crate::spoke::actor::Freshness;
use crate::spoke::crd::{May, Told};
use crate::spoke::perform;
use crate::spoke::store::Open;
use std::sync::Arc;

impl Actor {
    pub(super) fn act(&mut self, key: &InstanceKey, task: &Arc<Task>, action: Action) {
        match action {
            Action::EnsureKind(gk, gvk) => {
                let generated = gk == task.key.gk || self.read_store(|s| s.definitions.contains_key(&gk));
                self.ensure_kind(&gk, gvk, generated && !self.local);
            }
            Action::ListAnew(gk) => {
                let open = self.write_store(|s| s.distrust(&gk));
                self.watch_anew(&gk, open);
            }
            Action::EnsureGraph(graph, side) => self.ensure_judged(&graph, side),
            Action::EnsureCrd { graph, allow_breaking, rank } => {
                let gk = graph.gvk.group_kind();
                let wish = CrdWish { hash: graph.crd_hash(), allow_breaking };
                // Else another instance asked for it in the same turn.
                if self.write_store(|s| s.crds.begin(&gk, Object(graph.crd.clone()).name(), &wish)) {
                    let others = self.slots.values().filter_map(|slot| slot.machine.as_ref());
                    // Its own machine is away while it is stepped.
                    let tasks = others.map(|machine| &**machine.task()).chain([&**task]);
                    let may = May { break_it: allow_breaking, rank, told: Told::of(&gk, tasks) };
                    self.ask(Effect::EnsureCrd { graph, may });
                }
            }
            action => {
                if let Action::Apply(apply) = &action {
                    self.write_store(|s| {
                        s.objects.note_wanted(&apply.object, key);
                        s.objects.write_begins(&apply.object);
                    });
                }
                let gk = perform::target(&action).unwrap_or(&key.gk);
                let resource = self.read_store(|s| s.resource(gk).cloned());
                self.requests += 1;
                self.ask(Effect::Perform { key: key.clone(), task: task.clone(), action, resource });
            }
        }
    }

    /// The definition is judged, unless it was or is being judged.
    pub(super) fn ensure_judged(&mut self, graph: &Arc<Graph>, side: Side) {
        if let Some(key) = self.write_store(|s| s.graphs.begin(graph, side)) {
            let generated = self.generated_for(&key, graph);
            let wanted = vec![ToJudge { key, hub: graph.clone(), generated }];
            self.ask(Effect::Judge { wanted, freshness: Freshness::Known });
        }
    }

    pub(super) fn ensure_kind(&mut self, gk: &GroupKind, gvk: Option<Gvk>, generated: bool) {
        if let Some(open) = self.write_store(|s| s.open(gk, generated)) {
            self.watch_kind(gk, gvk, &open);
        }
    }

    pub(super) fn watch_kind(&mut self, gk: &GroupKind, gvk: Option<Gvk>, open: &Open) {
        let selector = if open.everything {
            None
        } else if self.local {
            Some(format!("{}=true", keys::kro::OWNED))
        } else {
            Some(format!("{}={}", keys::hub::HUB_ID, self.hub_id))
        };
        self.ask(Effect::Watch { gk: gk.clone(), gvk, selector, serial: open.serial });
    }
}
