//! Instances that may run no newer revision of their definition than somebody pins.

use super::policies::Policies;
use super::{Effect, InstanceKey, InstanceKind, Instances, Target, crash};
use crate::api::names::GroupKind;
use crate::api::object::{Document, Object};
use crate::api::rollout::Scope;
use crate::graph::Graph;
use crate::reconcile::Now;
use crate::reconcile::fleet::FleetAction;
use crate::reconcile::fleet::rollout::OnRecord;
use crate::reconcile::policy::Effective;
use crate::reconcile::rollout::pin::{Ceiling, Refused, Revisions};
use std::sync::Arc;
use std::time::Duration;

/// What could not be told is told again so much later.
const PAUSE: Duration = Duration::from_secs(5);

/// The revision that a Placement pins for its instances, each by itself.
fn pin(of: &Effective) -> Option<i64> {
    of.rollout.as_ref().filter(|rollout| rollout.scope == Scope::Instance)?.revision
}

impl Policies {
    /// What is pinned for an instance.
    pub(super) fn pins<D: Document>(&self, key: &InstanceKey, object: &Object<D>) -> Vec<i64> {
        let any = self.of_kind(&key.gk).into_iter().flatten().any(|one| pin(&one.effective).is_some());
        if !any {
            return Vec::new();
        }
        self.of(key, object).iter().filter_map(|of| pin(of)).collect()
    }
}

impl InstanceKind {
    pub(super) fn known(&self) -> Option<Revisions<'_>> {
        let newest = self.graph.as_ref()?;
        Some(Revisions { newest, former: &self.former, numbers: &self.revisions, unfit: &self.unfit })
    }

    /// The graph that an instance is to run by, and the number of its revision where that is pinned. Where no pin can be
    /// obeyed, the version that is on record stays.
    pub(super) fn ceiling(
        &self,
        pins: &[i64],
        on_record: Option<&Arc<OnRecord>>,
    ) -> (Option<Arc<Graph>>, Option<u64>) {
        let Some(newest) = self.graph.as_ref().filter(|_| !pins.is_empty()) else {
            return (self.graph.clone(), None);
        };
        let revisions =
            Revisions { newest, former: &self.former, numbers: &self.revisions, unfit: &self.unfit };
        match revisions.ceiling(pins.iter().copied()) {
            Ceiling::At(number, graph) => (Some(graph.clone()), Some(number)),
            Ceiling::Refused => {
                let last = on_record.and_then(|known| known.versions.last_key_value());
                let stays = last.and_then(|(_, version)| revisions.graph(&version.content.graph));
                (Some(stays.unwrap_or(newest).clone()), None)
            }
            Ceiling::None | Ceiling::Wanted(_) | Ceiling::Unknown | Ceiling::Unfit(_) => {
                (Some(newest.clone()), None)
            }
        }
    }

    /// Why what a Placement pins cannot be obeyed.
    pub(super) fn pin_refused(&self, by: &Effective) -> Option<String> {
        match self.known()?.pinned(Some(pin(by)?)) {
            Err(Refused::Because(why) | Refused::Unfit { why, .. }) => Some(why),
            Ok(_) | Err(Refused::Unknown) => None,
        }
    }
}

impl Instances {
    /// Whether all is at hand that pins of an instance need; what is not is asked for, and what cannot be is told.
    pub(super) fn obeys_pins(
        &mut self,
        key: &InstanceKey,
        object: &Arc<Object>,
        pins: &[i64],
        now: &Now,
    ) -> bool {
        if pins.is_empty() || object.is_deleting() {
            return true;
        }
        let Some(kind) = self.kinds.get(&key.gk) else { return true };
        let Some(known) = kind.known() else { return true };
        let ceiling = if kind.is_numbered { known.ceiling(pins.iter().copied()) } else { Ceiling::Unknown };
        match ceiling {
            Ceiling::Unknown => {
                self.effects.push(Effect::Number(key.gk.clone()));
                false
            }
            Ceiling::Wanted(hash) => {
                self.rollouts.wants(&key.gk, &hash);
                self.need_graphs();
                false
            }
            Ceiling::Unfit(why) => {
                self.tell_unfit(key, object, &why, now);
                false
            }
            Ceiling::None | Ceiling::At(..) | Ceiling::Refused => true,
        }
    }

    /// Nothing is told to anybody of an instance whose pinned revision cannot be made, but its status says so.
    fn tell_unfit(&mut self, key: &InstanceKey, object: &Arc<Object>, why: &str, now: &Now) {
        let Some(kind) = self.kinds.get_mut(&key.gk) else { return };
        let Some(slot) = kind.slots.get_mut(key) else { return };
        let again = slot.pin_told.map(|at| at.after(PAUSE)).filter(|again| *again > now.at);
        if again.is_some() {
            return self.agenda.set(key, again);
        }
        let message = format!("{why}; what runs stays as it is, and is not looked after");
        let Some(patch) = crash::status(object, ("PinRefused", &message), now) else { return };
        slot.pin_told = Some(now.at);
        let target = Target { key: key.clone(), object: object.clone(), resource: kind.resource.clone() };
        self.agenda.set(key, Some(now.at.after(PAUSE)));
        self.effects.push(Effect::Request(target, FleetAction::WriteStatus { patch }));
    }

    /// Whether a Placement pins instances of the kind.
    pub(super) fn pins_any(&self, gk: &GroupKind) -> bool {
        self.policies.of_kind(gk).into_iter().flatten().any(|one| pin(&one.effective).is_some())
    }
}
