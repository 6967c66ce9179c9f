//! Wherever tests run the instances, those that a change of a cluster was found not to concern are tried all the same: a
//! step of theirs must have nothing to say.

use super::Instances;
use super::policies::Layers;
use crate::api::names::InstanceKey;
use crate::hub::view::Key;
use crate::reconcile::Now;
use crate::reconcile::fleet::Inputs;
use std::sync::Arc;

impl Instances {
    /// All that wait for no step now were passed over.
    pub(super) fn pass_over_others(&mut self) {
        let all = self.kinds.values().flat_map(|kind| kind.slots.keys());
        self.passed_over = all.filter(|key| !self.lanes.has(key)).cloned().collect();
    }

    pub(super) fn nothing_was_missed(&mut self, now: &Now) {
        for key in std::mem::take(&mut self.passed_over) {
            let due = self.agenda.time(&key);
            if !self.lanes.has(&key) && due.is_none_or(|at| at > now.at) {
                let (says, wake) = self.would_say(&key, now);
                // With the first instance of a kind that moves as one, the kind is looked at too.
                let moves_kind = self.kinds.get(&key.gk).is_some_and(|kind| kind.rollout.is_some());
                let is_earlier = moves_kind && due.is_some_and(|due| wake.is_none_or(|at| due < at));
                let wake = if is_earlier { due } else { wake };
                assert_eq!((says, wake), (Vec::new(), due), "{key} was passed over");
            }
        }
    }

    /// What a step would want, and when the next.
    fn would_say(&self, key: &InstanceKey, now: &Now) -> (Vec<String>, Option<crate::reconcile::Moment>) {
        let nothing = (Vec::new(), self.agenda.time(key));
        let Some(kind) = self.kinds.get(&key.gk).filter(|kind| kind.view.is_synced()) else { return nothing };
        let object = kind.view.get(&Key::new(&key.namespace, &key.name));
        let slot = kind.slots.get(key).filter(|slot| slot.crash.is_none());
        let (Some(object), Some(slot)) = (object, slot) else { return nothing };
        let placements = self.policies.of(key, &object.object);
        let overrides = Layers::default().of(&placements, kind.graph.as_ref());
        let pins = self.policies.pins(key, &object.object);
        let (own, ceiling) = kind.ceiling(&pins, self.rollouts.of(key, object.object.uid()));
        let step = slot.fleet.clone().step(&Inputs {
            instance: &Arc::new(object.object.unpack()),
            stored: object,
            graph: own.as_ref(),
            allow_breaking: kind.allow_breaking,
            clusters: &self.clusters,
            hub_id: &self.hub_id,
            default_placement: self.default_placement,
            placements: &placements,
            overrides: &overrides,
            rolled: crate::reconcile::fleet::rollout::Rolled {
                on_record: self.rollouts.of(key, object.object.uid()),
                former: Some(&kind.former),
                unfit: Some(&kind.unfit),
                revisions: Some(&kind.revisions),
                newest: kind.graph.as_ref(),
                ceiling,
                quiet_until: self.rollouts.quiet_until.max(slot.quiet_until),
                gates: kind.rollout.as_ref().map(|rollout| rollout.gates(key)),
            },
            now,
        });
        (step.actions.iter().map(|action| format!("{action:?}")).collect(), step.wake_at)
    }
}
