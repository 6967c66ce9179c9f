//! One instance at a time is looked at, and what its machine decides becomes effects.

use super::crash::{self, Crash};
use super::{Effect, Instances, Target};
use crate::api::names::InstanceKey;
use crate::hub::view::Key;
use crate::reconcile::Now;
use crate::reconcile::fleet::rollout::{QUIET, Rolled, on_record_at};
use crate::reconcile::fleet::{Fleet, FleetAction, FleetStep, Inputs};
use crate::spoke::messages::ToSpoke;
use crate::spoke::spans;
use tokio::time::Instant;

impl Instances {
    /// Steps the next instance that wants it; which that was, if there was one.
    pub fn step_next(&mut self, now: &Now) -> Option<InstanceKey> {
        #[cfg(test)]
        self.nothing_was_missed(now);
        let key = self.lanes.pop(now.at)?;
        let kind = self.kinds.get_mut(&key.gk).filter(|k| k.view.is_synced())?;
        let stored = kind.view.get(&Key::new(&key.namespace, &key.name)).cloned()?;
        let gates = kind.gates(&key, &self.policies);
        let slot = kind.slots.get_mut(&key)?;
        let object = slot.open(&stored, now.at);
        slot.stepped = false;
        self.awake.stepped(&key, now.at);
        let pins = self.policies.pins(&key, &object);
        if !self.obeys_pins(&key, &object, &pins, now) {
            // Nobody is told to run what is newer than what may be run.
            return None;
        }
        let kind = self.kinds.get_mut(&key.gk)?;
        let (own, ceiling) = kind.ceiling(&pins, self.rollouts.of(&key, object.uid()));
        let slot = kind.slots.get_mut(&key)?;
        let _in = spans::instance(&key).entered();
        let began = Instant::now();
        if let Some(crash) = slot.crash.filter(|crash| crash.holds(&object, now.at)) {
            self.agenda.set(&key, Some(crash.until));
            return None;
        }
        let placements = self.policies.of(&key, &object);
        let overrides = self.policies.layers(&placements, kind.graph.as_ref());
        let fleet = &mut slot.fleet;
        self.rollouts.prepare(&key, object.uid());
        let rolled = Rolled {
            gates: gates.as_ref(),
            on_record: self.rollouts.of(&key, object.uid()),
            former: Some(&kind.former),
            unfit: Some(&kind.unfit),
            revisions: Some(&kind.revisions),
            newest: kind.graph.as_ref(),
            ceiling,
            quiet_until: self.rollouts.quiet_until.max(slot.quiet_until),
        };
        let short = fleet.short();
        let stepped = crash::guarded(|| {
            fleet.step(&Inputs {
                instance: &object,
                stored: &stored,
                graph: own.as_ref(),
                allow_breaking: kind.allow_breaking,
                clusters: &self.clusters,
                hub_id: &self.hub_id,
                default_placement: self.default_placement,
                placements: &placements,
                overrides: &overrides,
                rolled,
                now,
            })
        });
        slot.crash = None;
        slot.stepped = stepped.is_some();
        if slot.counts_anew(&short) {
            self.counted.insert(key.gk.clone());
        }
        if let Some(before) = slot.runs_anew() {
            kind.runs.replace_all(&before, &slot.runs);
            self.reused.insert(key.gk.clone());
        }
        let step = stepped.unwrap_or_else(|| {
            tracing::error!("a step panicked; starting it afresh");
            let crash = Crash::of(&object, now.at);
            slot.fleet = Fleet::new(key.clone(), kind.gvk.clone());
            self.reported.tell(&on_record_at(&key, &self.rollouts.home), &slot.uid, &mut slot.fleet);
            slot.crash = Some(crash);
            slot.quiet_until = now.at.after(QUIET);
            let patch = crash::status(&object, crash::SAID, now);
            let actions = patch.map(|patch| FleetAction::WriteStatus { patch }).into_iter().collect();
            FleetStep { actions, wake_at: Some(crash.until) }
        });
        let took = began.elapsed();
        self.lanes.took(&key, took, now.at.after(took));
        let (slow, resource) = (slot.slow, kind.resource.clone());
        self.look_again(&key, &object, step.wake_at, now);
        let target = Target { key: key.clone(), object, resource };
        self.begin(&target, step.actions, slow);
        Some(key)
    }

    /// Has done what a step wants.
    fn begin(&mut self, target: &Target, actions: Vec<FleetAction>, slow: bool) {
        let key = &target.key;
        for action in actions {
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
    }
}
