//! What stands on the instance: finalizer and labels, the holds, the decision; and what is let go, on record.

use super::aggregate::ClusterHealth;
use super::on_hub::may_be_local;
use super::pairs::Pair;
use super::placement::{Decision, Past};
use super::situation::Situation;
use super::{ClusterState, Fleet, FleetAction, FleetStep, Inputs, Left, placement};
use crate::api::keys::{hub, kro};
use crate::api::names::{ClusterName, GroupKind};
use crate::api::{Object, PackedObject, hash};
use crate::graph::Graph;
use crate::reconcile::Moment;
use crate::reconcile::Now;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What is lost within this time of another loss is judged together with it.
const LOSS_PAUSE: Duration = Duration::from_secs(5);

/// What is to become of what is let go, once its cluster is registered again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stays {
    /// Somebody said that the cluster is not to have it any more: it is cleaned.
    No,
    /// The cluster was deregistered as it was. That says nothing of the instance.
    WhileItLives,
    /// Somebody said that it stays.
    Always,
}

impl Fleet {
    /// Clusters whose loss waited long enough without another one.
    pub(super) fn waited(&self, now: &Now) -> BTreeSet<ClusterName> {
        let over = now.at >= self.lost.1.after(LOSS_PAUSE);
        if over { self.lost.0.clone() } else { BTreeSet::new() }
    }

    pub(super) fn note_losses(&mut self, decision: &Decision, now: &Now) {
        if self.lost.0 != decision.waiting {
            self.lost = (decision.waiting.clone(), now.at);
        }
    }

    /// When the pause after the last loss is over.
    pub(super) fn pause_after_losses(&self) -> Option<Moment> {
        (!self.lost.0.is_empty()).then_some(self.lost.1.after(LOSS_PAUSE))
    }

    /// A cluster is told something only while the record names it, and the record loses it only after it confirmed that
    /// nothing is left, or was let go. A record without it is an older one: the hub was restored, or somebody edited it.
    pub(super) fn find_unrecorded(&mut self, inputs: &Inputs, holds: &BTreeSet<ClusterName>) {
        let is_spoke = |n: &ClusterName| inputs.clusters.get(n).is_some_and(|c| !c.view.local);
        for (name, pair) in self.pairs.iter_mut() {
            pair.found |= pair.sent.is_some() && !pair.gone && !holds.contains(name) && is_spoke(name);
        }
    }

    /// An instance that is older than it was, or lost its record, comes from a restore of the hub. On the hub itself it is
    /// its own mirror: who runs it there must not go by what it wrote since.
    pub(super) fn forget_newer(&mut self, step: &mut FleetStep, inputs: &Inputs) {
        let version = inputs.instance.version();
        let has_record = inputs.instance.annotation(hub::DECIDED).is_some();
        let is_older = std::mem::replace(&mut self.version, version) > version;
        let lost_record = std::mem::replace(&mut self.had_record, has_record) && !has_record;
        if !is_older && !lost_record {
            return;
        }
        for (name, _) in inputs.clusters.iter().filter(|(_, c)| c.view.local) {
            if let Some(pair) = self.pairs.get_mut(name) {
                pair.gone = false;
            }
            self.forget(step, name);
        }
    }

    pub(super) fn past(&self, inputs: &Inputs, holds: BTreeSet<ClusterName>) -> Past {
        let released = placement::names(inputs.instance.annotation(hub::RELEASE));
        let mut record = placement::Record::on(&**inputs.instance);
        if record.words.is_none() {
            // An instance that only ever ran on the hub has no record: its ApplySet inventory is one.
            record.local = may_be_local(inputs.instance);
        }
        record.held.extend(self.held.iter().cloned());
        let taken_away = |c: &ClusterState| c.view.local && c.view.leaving && c.delete_on_leave;
        if inputs.clusters.values().any(taken_away) {
            record.local = false;
        }
        let is_news =
            |n: &ClusterName, p: &Pair| p.found && !p.left && !holds.contains(n) && !released.contains(n);
        let found = self.pairs.iter().filter(|(n, p)| is_news(n, p)).map(|(n, _)| n.clone()).collect();
        Past {
            found,
            record,
            allow_shrink: inputs.instance.annotation(hub::ALLOW_SHRINK).map(str::to_owned),
            waited: self.waited(inputs.now),
            holds,
            released,
        }
    }

    /// The holds to record: what is placed, and what may still be left of what was.
    pub(super) fn wanted_holds(
        &mut self,
        step: &mut FleetStep,
        situation: Situation,
    ) -> BTreeSet<ClusterName> {
        let Situation { inputs, plan } = situation;
        let (past, spokes) = (&plan.past, &plan.spokes);
        // Nothing was ever written to a cluster that was not ready: there is nothing to hold.
        let ready =
            |n: &ClusterName| inputs.clusters.get(n).is_some_and(|c| c.health == ClusterHealth::Ready);
        let known = |n: &ClusterName| past.holds.contains(n) || past.found.contains(n);
        let mut holds: BTreeSet<ClusterName> =
            spokes.iter().filter(|n| known(n) || ready(n)).cloned().collect();
        for name in past.holds.iter().chain(&past.found) {
            if holds.contains(name) {
                continue;
            }
            if situation.is_let_go(name) {
                self.forget(step, name);
                if self.pairs.is(name, |p| p.left) {
                    continue;
                }
                let released = past.released.contains(name);
                let stays = match released {
                    true => Stays::No,
                    false if plan.decision.orphaned.contains(name) => Stays::Always,
                    false => Stays::WhileItLives,
                };
                self.record_left_as(step, inputs, (name, stays));
            } else if self.pairs.is(name, |p| p.gone) {
                continue;
            }
            holds.insert(name.clone());
        }
        let is_local = |n: &ClusterName| inputs.clusters.get(n).is_some_and(|c| c.view.local);
        for (name, pair) in self.pairs.iter_mut() {
            // Discovery is news once; from then on the record speaks.
            pair.found &= !past.holds.contains(name);
            // A cluster that is placed again starts anew.
            pair.left &= !spokes.contains(name);
            if pair.report.is_some() && !holds.contains(name) && !is_local(name) {
                pair.report = None;
            }
        }
        holds
    }

    /// What is let go is not touched any more.
    pub(super) fn forget(&mut self, step: &mut FleetStep, name: &ClusterName) {
        if self.pairs.get_mut(name).and_then(|pair| pair.sent.take()).is_some() {
            step.actions.push(FleetAction::Forget { cluster: name.clone() });
        }
    }

    pub(super) fn record_left(&mut self, step: &mut FleetStep, inputs: &Inputs, name: &ClusterName) {
        self.record_left_as(step, inputs, (name, Stays::No));
    }

    fn record_left_as(
        &mut self,
        step: &mut FleetStep,
        inputs: &Inputs,
        (name, stays): (&ClusterName, Stays),
    ) {
        if self.record_retry.is_due(inputs.now)
            && !std::mem::replace(&mut self.pairs.at(name).left_busy, true)
        {
            let left = Left {
                stays: stays == Stays::Always,
                stays_while_it_lives: stays == Stays::WhileItLives,
                ..self.left_behind(inputs)
            };
            step.actions.push(FleetAction::RecordLeft { cluster: name.clone(), left });
        }
    }

    pub(super) fn left_behind(&self, inputs: &Inputs) -> Left {
        Left { since: inputs.now.rfc3339.clone(), ..self.left_of(inputs.instance.uid(), inputs.graph) }
    }

    fn left_of(&self, uid: &str, graph: Option<&Arc<Graph>>) -> Left {
        Left {
            hub_uid: uid.to_owned(),
            group: self.gvk.group.to_string(),
            version: self.gvk.version.to_string(),
            kind: self.gvk.kind.to_string(),
            namespace: self.key.namespace.to_string(),
            name: self.key.name.to_string(),
            group_kinds: graph.map(|g| kinds(g)).unwrap_or_default(),
            since: String::new(),
            stays: false,
            stays_while_it_lives: false,
        }
    }

    /// What the instance has on clusters if it went as it is here: all that is not confirmed to be gone, nor on record.
    pub fn left_by(&self, instance: &PackedObject, graph: Option<&Arc<Graph>>) -> Vec<(ClusterName, Left)> {
        let found = self.pairs.iter().filter(|(_, pair)| pair.found).map(|(name, _)| name.clone());
        let mut held: BTreeSet<ClusterName> = Self::holds(instance).into_iter().chain(found).collect();
        held.retain(|name| !self.pairs.is(name, |pair| pair.gone || pair.left));
        let since = instance.deletion_timestamp().to_owned();
        let left = Left { since, ..self.left_of(instance.uid(), graph) };
        held.into_iter().map(|name| (name, left.clone())).collect()
    }

    pub(super) fn patch_meta(&mut self, step: &mut FleetStep, situation: Situation) {
        let (inputs, holds) = (situation.inputs, &situation.plan.holds);
        let may = !self.meta_busy && self.record_retry.is_due(inputs.now);
        let body = self.meta_body(situation);
        // A record that may have landed or not is written again, whatever the instance seems to say.
        let Some(body) = body.filter(|b| self.recording.is_some() || !is_applied(b, inputs.instance)) else {
            // What could not be written is not to be written any more.
            self.unlabelled = self.unlabelled.take().filter(|_| self.meta_busy);
            return;
        };
        if !may {
            return;
        }
        self.meta_busy = true;
        self.recording = Some(match self.recording.take() {
            Some(open) => open.intersection(holds).cloned().collect(),
            None => holds.clone(),
        });
        step.actions.push(FleetAction::PatchMeta { body });
        let rubbish = placement::holds(inputs.instance.annotation(hub::HOLDS)).1;
        if rubbish > 0 {
            let message = format!(
                "{rubbish} words of the annotation {} can be no Cluster's name; they are dropped",
                hub::HOLDS
            );
            step.actions.push(FleetAction::Tell { warning: true, reason: "HoldsCorrected", message });
        }
    }

    fn meta_body(&self, situation: Situation) -> Option<Value> {
        let Situation { inputs, plan } = situation;
        let (decision, holds) = (&plan.decision, &plan.holds);
        let placed = !holds.is_empty() || decision.local.is_some();
        if !placed && !situation.managed {
            return None;
        }
        let mut labels = json!({kro::OWNED: "true", kro::KRO_VERSION: kro::COMPATIBLE_VERSION});
        if let Some(graph) = inputs.graph {
            labels[kro::RGD_ID] = json!(graph.rgd_uid);
            labels[kro::RGD_NAME] = json!(hash::label_value(&graph.rgd_name));
        } else {
            for key in [kro::RGD_ID, kro::RGD_NAME] {
                if let Some(value) = inputs.instance.label(key) {
                    labels[key] = json!(value);
                }
            }
        }
        let mut metadata = json!({"name": *self.key.name, "labels": labels, "finalizers": [kro::FINALIZER]});
        if !self.key.namespace.is_empty() {
            metadata["namespace"] = json!(*self.key.namespace);
        }
        let knows_fleet = !holds.is_empty() || inputs.instance.annotation(hub::HOLDS).is_some();
        if knows_fleet {
            let decided = if situation.deleting {
                inputs.instance.annotation(hub::DECIDED).unwrap_or_default().to_owned()
            } else {
                decision.record.text(holds)
            };
            metadata["annotations"] =
                json!({hub::HOLDS: placement::names_text(holds), hub::DECIDED: decided});
        }
        Some(json!({"apiVersion": self.gvk.api_version(), "kind": *self.gvk.kind, "metadata": metadata}))
    }
}

pub(super) fn kinds(graph: &Graph) -> BTreeSet<String> {
    graph.group_kinds().iter().map(GroupKind::to_string).collect()
}

/// Whether the instance already has all that the patch would set.
pub(super) fn is_applied(body: &Value, instance: &Object) -> bool {
    let has = |field: &str| {
        let want = body["metadata"].get(field).and_then(Value::as_object);
        let live = instance.0.pointer(&format!("/metadata/{field}"));
        want.is_none_or(|w| w.iter().all(|(k, v)| live.and_then(|l| l.get(k)) == Some(v)))
    };
    let finalized = instance.has_finalizer(kro::FINALIZER);
    finalized && has("labels") && has("annotations")
}
