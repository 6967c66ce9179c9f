//! Kinds whose revision moves as one over all their instances.

use super::policies::Policies;
use super::rollouts::write_version_in;
use super::{Effect, InstanceKey, InstanceKind, Instances, Outcome};
use crate::api::Object;
use crate::api::names::{ClusterName, GroupKind};
use crate::api::text;
use crate::hub::Event;
use crate::hub::context::Context;
use crate::reconcile::fleet::FleetAction;
use crate::reconcile::fleet::gate::Gates;
use crate::reconcile::fleet::rollout::kind::{KindInputs, Seen};
use crate::reconcile::{Moment, Now};
use crate::spoke::client::ApiError;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The other instances of a kind are looked at until then.
const SOON: Duration = Duration::from_secs(1);

impl InstanceKind {
    /// What each cluster may run of an instance, where the revision of the kind moves as one.
    pub(super) fn gates(&mut self, key: &InstanceKey, policies: &Policies) -> Option<Arc<Gates>> {
        if policies.moves_kind(&key.gk).is_none() {
            self.rollout = None;
            return None;
        }
        Some(self.rollout.get_or_insert_default().gates(key).clone())
    }
}

impl Instances {
    /// The namespace of the controller.
    pub fn lives_in(&mut self, namespace: &str) {
        namespace.clone_into(&mut self.rollouts.home);
    }

    /// Kinds whose revision moves as one, or whose revisions somebody asked for.
    pub fn moved_kinds(&self) -> Vec<GroupKind> {
        let moved = self.kinds.iter().filter(|(_, kind)| kind.rollout.is_some() || kind.is_numbered);
        moved.map(|(gk, _)| gk.clone()).collect()
    }

    /// Hashes of the graphs of the kind's revisions, by number.
    pub fn know_revisions(&mut self, gk: &GroupKind, revisions: BTreeMap<u64, String>) {
        let Some(kind) = self.kinds.get_mut(gk) else { return };
        let is_first = !std::mem::replace(&mut kind.is_numbered, true);
        let is_news = is_first || kind.revisions != revisions;
        kind.revisions = revisions;
        if is_news {
            self.reused.insert(gk.clone());
        }
        if is_first || (is_news && self.pins_any(gk)) {
            self.counted.insert(gk.clone());
            self.enqueue_kind(gk);
        } else if is_news {
            self.look_at_kind(gk);
        }
    }

    /// How the write of a version of a whole kind ended.
    pub fn kind_version_written(
        &mut self,
        gk: &GroupKind,
        result: Result<(Value, bool), ApiError>,
        now: &Now,
    ) {
        if let Some(rollout) = self.kinds.get_mut(gk).and_then(|kind| kind.rollout.as_mut()) {
            if let Err(error) = &result {
                rollout.refused(text::plain(&error.to_string()));
            }
            rollout.written(result.is_ok(), now);
        }
        match result {
            Ok((answer, is_there)) => self.version_answered(answer, is_there),
            Err(error) => tracing::debug!(%gk, %error, "writing a version of the kind failed"),
        }
        self.look_at_kind(gk);
    }

    /// Something is new that concerns the rollout of the whole kind: with any of its instances it is looked at.
    pub(super) fn look_at_kind(&mut self, gk: &GroupKind) {
        let kind = self.kinds.get(gk).filter(|kind| kind.rollout.is_some());
        let mut slots = kind.into_iter().flat_map(|kind| &kind.slots);
        let key = slots.find(|(_, slot)| slot.crash.is_none()).map(|(key, _)| key.clone());
        if let Some(key) = key {
            self.enqueue(&key);
        }
    }

    pub(super) fn look_at_moved_kinds(&mut self) {
        for gk in self.moved_kinds() {
            self.look_at_kind(&gk);
        }
    }

    /// The instance is gone.
    pub(super) fn leaves_kind(&mut self, key: &InstanceKey) {
        let kind = self.kinds.get_mut(&key.gk);
        if let Some(rollout) = kind.and_then(|kind| kind.rollout.as_mut()) {
            rollout.forget(key);
            self.look_at_kind(&key.gk);
        }
    }

    /// After a step of an instance, which wants to be looked at again then.
    pub(super) fn look_again(&mut self, key: &InstanceKey, object: &Object, at: Option<Moment>, now: &Now) {
        let rolls = self.roll_kind(key, object, now);
        self.agenda.set(key, at.into_iter().chain(rolls).min());
    }

    /// After a step of an instance: whose turn it is now. When time alone may move something.
    fn roll_kind(&mut self, key: &InstanceKey, object: &Object, now: &Now) -> Option<Moment> {
        let by = self.policies.moves_kind(&key.gk)?;
        let on_record = self.rollouts.of_kind(&by);
        let quiet_until = self.rollouts.quiet_until;
        let kind = self.kinds.get_mut(&key.gk)?;
        // Some alone say nothing of all of them.
        let quiet_until = if kind.is_surveyed() { quiet_until } else { quiet_until.max(now.at.after(SOON)) };
        let newest = kind.graph.clone()?;
        if !kind.is_numbered {
            // Which revision a pin means is known in a moment.
            self.effects.push(Effect::Number(key.gk.clone()));
            return None;
        }
        let pins = self.policies.pins(key, object);
        let (_, ceiling) = kind.ceiling(&pins, None);
        let fleet = &kind.slots.get(key)?.fleet;
        let on_hub = fleet.runs_on_hub(object, &newest);
        let names = fleet.moving().chain(on_hub.as_ref().map(|own| &own.name));
        let on = names.map(|name| (name.clone(), fleet.heard(name, object.uid()).cloned())).collect();
        let was = |name: &ClusterName| fleet.was(object, name);
        let (labels, suspended) = (&object.labels(), object.is_suspended());
        let seen = Seen { key, labels, suspended, ceiling, was: &was, on, on_hub };
        let inputs = KindInputs {
            gk: &key.gk,
            by: &by,
            on_record: Some(&on_record),
            newest: &newest,
            former: &kind.former,
            revisions: &kind.revisions,
            unfit: &kind.unfit,
            clusters: &self.clusters,
            quiet_until,
            now,
        };
        let rollout = kind.rollout.as_mut()?;
        let moves = rollout.look(&inputs, seen);
        let wanted = rollout.wanted().map(ToString::to_string);
        if !kind.revisions.values().any(|hash| *hash == newest.hash) {
            self.effects.push(Effect::Number(key.gk.clone()));
        }
        if moves.news {
            self.counted.insert(key.gk.clone());
        }
        let wanted = wanted.filter(|hash| *hash != newest.hash);
        let runs = moves.wants.iter().map(ToString::to_string);
        let wants: Vec<String> = wanted.into_iter().chain(runs).collect();
        for hash in &wants {
            self.rollouts.wants(&key.gk, hash);
        }
        if !wants.is_empty() {
            self.need_graphs();
        }
        if let Some(write) = moves.write {
            self.effects.push(Effect::KindVersion(key.gk.clone(), write));
        }
        for key in &moves.changed {
            self.enqueue(key);
        }
        moves.wake_at
    }
}

/// Writes a version of a whole kind; says [`Event::KindVersion`].
pub(super) fn write(ctx: &Context, gk: GroupKind, action: FleetAction) {
    let this = ctx.clone();
    ctx.spawn(async move {
        let namespace = &this.settings.namespace;
        let action = match action {
            FleetAction::RecordVersion { name, mut body } => {
                body["metadata"]["namespace"] = json!(namespace);
                FleetAction::RecordVersion { name, body }
            }
            action => action,
        };
        if let Some(Outcome::Version(result)) = write_version_in(&this.client, namespace, &action).await {
            this.tell(Event::KindVersion(gk, result));
        }
    });
}
