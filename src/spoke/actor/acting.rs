//! What a step asks for: requests, kinds to watch, CRDs to bring.

use super::{Actor, Event};
use crate::api::Object;
use crate::api::names::GroupKind;
use crate::api::names::InstanceKey;
use crate::reconcile::spoke::Action;
use crate::reconcile::spoke::Task;
use crate::reconcile::world::CrdWish;
use crate::spoke::crd;
use crate::spoke::perform;
use crate::spoke::spans;
use crate::spoke::store::Open;
use crate::spoke::watch;
use std::sync::Arc;
use tracing::Instrument;

impl Actor {
    pub(super) fn act(&mut self, key: &InstanceKey, task: &Arc<Task>, action: Action) {
        match action {
            Action::EnsureKind(gk, gvk) => {
                let generated = gk == task.key.gk || self.read_store(|s| s.definitions.contains_key(&gk));
                let generated = generated && !self.settings.local;
                self.ensure_kind(&gk, gvk, generated);
            }
            Action::EnsureGraph(graph, side) => {
                if let Some(key) = self.write_store(|s| s.graphs.begin(&graph, side)) {
                    self.judge(vec![(key, graph)], false);
                }
            }
            Action::EnsureCrd { graph, allow_breaking } => {
                let gk = graph.gvk.group_kind();
                let wish = CrdWish { hash: graph.crd_hash(), allow_breaking };
                let begun = self.write_store(|s| s.crds.begin(&gk, Object(graph.crd.clone()).name(), &wish));
                if !begun {
                    // Another instance asked for it in the same turn.
                    return;
                }
                let (client, hub_id, events) =
                    (self.settings.client.clone(), self.settings.hub_id.clone(), self.events.clone());
                self.spawn(async move {
                    let ensured = crd::ensure(&client, &graph, &hub_id, allow_breaking).await;
                    drop(events.send(Event::Crds(gk, ensured)));
                });
            }
            action => {
                if let Action::Apply(apply) = &action {
                    self.write_store(|s| s.objects.note_wanted(&apply.object, key));
                }
                let gk = perform::target(&action).unwrap_or(&key.gk);
                let resource = self.read_store(|s| s.resource(gk).cloned());
                let (client, events, key) = (self.settings.client.clone(), self.events.clone(), key.clone());
                let task = task.clone();
                self.requests += 1;
                let span = spans::instance(&key);
                let work = async move {
                    let done = perform::perform(&client, &task, action, resource).await;
                    drop(events.send(Event::Done(key, done)));
                };
                self.spawn(work.instrument(span));
            }
        }
    }

    pub(super) fn ensure_kind(&mut self, gk: &GroupKind, gvk: Option<crate::api::Gvk>, generated: bool) {
        if let Some(open) = self.write_store(|s| s.open(gk, generated)) {
            self.watch_kind(gk, gvk, &open);
        }
    }

    pub(super) fn watch_kind(&mut self, gk: &GroupKind, gvk: Option<crate::api::Gvk>, open: &Open) {
        let stop = self.cancel.child_token();
        if let Some(before) = self.watches.insert(gk.clone(), stop.clone()) {
            before.cancel();
        }
        let selector = if open.everything {
            None
        } else if self.settings.local {
            Some(format!("{}=true", crate::api::keys::kro::OWNED))
        } else {
            Some(format!("{}={}", crate::api::keys::hub::HUB_ID, self.settings.hub_id))
        };
        let (client, events, gk) = (self.settings.client.clone(), self.events.clone(), gk.clone());
        self.spawn_watch(stop, watch::kind(client, gk, gvk, selector, open.serial, events));
    }

    pub(super) fn watch_crds(&mut self) {
        let (client, events) = (self.settings.client.clone(), self.events.clone());
        self.spawn(async move {
            let told = |seen| events.send(Event::Crd(seen)).is_ok();
            watch::crds(&client, told).await;
        });
    }
}
