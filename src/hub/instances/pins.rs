//! Instances that may run no newer revision of their definition than somebody pins.

use super::policies::Policies;
use super::{Effect, InstanceKey, InstanceKind, Instances};
use crate::api::names::GroupKind;
use crate::api::object::{Document, Object};
use crate::api::rollout::Scope;
use crate::graph::Graph;
use crate::reconcile::fleet::rollout::OnRecord;
use crate::reconcile::policy::Effective;
use crate::reconcile::rollout::pin::{Ceiling, Refused, Revisions};
use std::sync::Arc;

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
        Some(Revisions { newest, former: &self.former, numbers: &self.revisions })
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
        let revisions = Revisions { newest, former: &self.former, numbers: &self.revisions };
        match revisions.ceiling(pins.iter().copied()) {
            Ceiling::At(number, graph) => (Some(graph.clone()), Some(number)),
            Ceiling::Refused => {
                let last = on_record.and_then(|known| known.versions.last_key_value());
                let stays = last.and_then(|(_, version)| revisions.graph(&version.content.graph));
                (Some(stays.unwrap_or(newest).clone()), None)
            }
            Ceiling::None | Ceiling::Wanted(_) | Ceiling::Unknown => (Some(newest.clone()), None),
        }
    }

    /// Why what a Placement pins cannot be obeyed.
    pub(super) fn pin_refused(&self, by: &Effective) -> Option<String> {
        match self.known()?.pinned(Some(pin(by)?)) {
            Err(Refused::Because(why)) => Some(why),
            Ok(_) | Err(Refused::Unknown) => None,
        }
    }
}

impl Instances {
    /// Whether all is at hand that pins of an instance need; what is not is asked for.
    pub(super) fn is_pin_known(&mut self, key: &InstanceKey, pins: &[i64]) -> bool {
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
            Ceiling::None | Ceiling::At(..) | Ceiling::Refused => true,
        }
    }

    /// Whether a Placement pins instances of the kind.
    pub(super) fn pins_any(&self, gk: &GroupKind) -> bool {
        self.policies.of_kind(gk).into_iter().flatten().any(|one| pin(&one.effective).is_some())
    }
}
