//! One instance at a time is looked at, and what its machine decides becomes effects.

use super::crash::{self, Crash};
use super::{Effect, Instances, Target};
use crate::api::names::InstanceKey;
use crate::hub::view::Key;
use crate::reconcile::Now;
use crate::reconcile::fleet::{Fleet, FleetAction, FleetStep, Inputs};
use crate::spoke::messages::ToSpoke;
use crate::spoke::spans;
use tokio::time::Instant;

impl Instances {
    /// Steps the next instance that wants it; which that was, if there was one.
    pub fn step_next(&mut self, now: &Now) -> Option<InstanceKey> {
        let key = self.lanes.pop(now.at)?;
        let kind = self.kinds.get_mut(&key.gk).filter(|k| k.view.is_synced())?;
        let object = kind.view.get(&Key::new(&key.namespace, &key.name)).cloned()?;
        let slot = kind.slots.get_mut(&key)?;
        let _in = spans::instance(&key).entered();
        let began = Instant::now();
        if let Some(crash) = slot.crash.filter(|crash| crash.holds(&object, now.at)) {
            self.agenda.set(&key, Some(crash.until));
            return None;
        }
        let fleet = &mut slot.fleet;
        let stepped = crash::guarded(|| {
            fleet.step(&Inputs {
                instance: &object,
                graph: kind.graph.as_ref(),
                allow_breaking: kind.allow_breaking,
                clusters: &self.clusters,
                hub_id: &self.hub_id,
                default_placement: self.default_placement,
                now,
            })
        });
        slot.crash = None;
        let step = stepped.unwrap_or_else(|| {
            tracing::error!("a step panicked; starting it afresh");
            let crash = Crash::of(&object, now.at);
            slot.fleet = Fleet::new(key.clone(), kind.gvk.clone());
            slot.crash = Some(crash);
            let patch = crash::status(&object, now);
            let actions = patch.map(|patch| FleetAction::WriteStatus { patch }).into_iter().collect();
            FleetStep { actions, wake_at: Some(crash.until) }
        });
        let took = began.elapsed();
        self.lanes.took(&key, took, now.at.after(took));
        self.agenda.set(&key, step.wake_at);
        let slow = slot.slow;
        let target = Target { key: key.clone(), object, resource: kind.resource.clone() };
        for action in step.actions {
            match action {
                FleetAction::Send { cluster, task } => {
                    if !self.cleaning.contains_key(&(cluster.clone(), key.clone())) {
                        self.send(&cluster, ToSpoke::Task(task));
                    }
                }
                FleetAction::Forget { cluster } => self.send(&cluster, ToSpoke::Forget(key.clone())),
                FleetAction::Evaluate(question) => {
                    self.ask(Effect::Evaluate { target: target.clone(), question, slow });
                }
                other => self.ask(Effect::Request(target.clone(), other)),
            }
        }
        Some(key)
    }
}
