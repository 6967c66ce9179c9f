//! What the status of the instance says, and when it is written.

use super::aggregate::{Aggregate, ClusterLine, Lines, MAX_ENTRIES, Written};
use super::on_hub::has_part_on_hub;
use super::over_all::OverClusters;
use super::placement::{Refusal, Refused};
use super::situation::{Plan, Situation};
use super::{Fleet, FleetAction, FleetStep, Inputs, on_hub, over_all};
use crate::api::hash;
use crate::api::names::ClusterName;
use crate::graph::Graph;
use crate::reconcile::Moment;
use crate::reconcile::rollout::unit::{Progress, Reason};
use crate::reconcile::spoke::{InstanceState, merge_patch};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A state on the way to another is shown when it lasts longer.
const PASSING: Duration = Duration::from_millis(80);
/// The same while nothing has to happen but what is under way already; and while it is not even its turn. To say that
/// of a thousand instances would take the time that they need.
const UNDER_WAY: Duration = Duration::from_secs(3);
const QUEUED: Duration = Duration::from_secs(15);
/// What goes on being under way is told again ever later, so many times the pause before.
const EVER_LATER: u32 = 3;
/// A hub that takes long to write a status has the status of an instance to write one in so many parts of the time.
const SHARE_OF_TIME: u32 = 8;
/// The longest that either of them puts off.
const AT_MOST: Duration = Duration::from_secs(30);

/// How soon a state that may pass is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    /// Something has to happen first that nobody here does.
    Waiting,
    /// All that it takes is under way.
    UnderWay,
    /// Not begun.
    Queued,
}

impl Haste {
    fn of(aggregate: &Aggregate) -> Self {
        let lines = aggregate.lines;
        let asks = aggregate.held.is_some() || aggregate.invalid.is_some() || aggregate.unmanaged.is_some();
        // Who waits for a word is to hear of it at once.
        let waits = |r: &Progress| !matches!(r.reason, Reason::Complete | Reason::InProgress);
        let asks = asks || aggregate.rollout.as_ref().is_some_and(waits);
        if asks || lines.len() == 0 || !lines.all_under_way() {
            Self::Waiting
        } else if lines.any_begun() {
            Self::UnderWay
        } else {
            Self::Queued
        }
    }
    fn pause(self) -> Duration {
        match self {
            Self::Waiting => PASSING,
            Self::UnderWay => UNDER_WAY,
            Self::Queued => QUEUED,
        }
    }

    /// After a state was told so often in a row.
    fn pause_after(self, told: u32) -> Duration {
        match self {
            Self::Waiting => PASSING,
            haste => {
                let longer = EVER_LATER.saturating_pow(told.saturating_sub(1));
                haste.pause().saturating_mul(longer).min(AT_MOST)
            }
        }
    }
}

impl Fleet {
    /// `written`: what stands on the instance.
    pub(super) fn status(&mut self, step: &mut FleetStep, situation: Situation, written: &Written) {
        let mut lines = std::mem::take(&mut self.lines);
        if let Some(aggregate) = self.aggregate(step, situation, &mut lines) {
            self.write_status(step, situation.inputs, aggregate, written);
        }
        self.lines = lines;
    }

    /// Writes what the status has no room for.
    pub(super) fn write_reports(&mut self, step: &mut FleetStep, inputs: &Inputs) {
        if !self.lines.are_dated() {
            return;
        }
        self.reports.take(&mut self.lines, MAX_ENTRIES);
        let (writes, wake) = self.reports.due(&self.key, &self.lines, inputs.now);
        step.actions.extend(writes.into_iter().map(FleetAction::WriteReport));
        step.wake_at = step.wake_at.into_iter().chain(wake).min();
    }

    /// What the status is to say; `None` while what was written before stands.
    fn aggregate<'l>(
        &mut self,
        step: &mut FleetStep,
        situation: Situation,
        lines: &'l mut Lines,
    ) -> Option<Aggregate<'l>> {
        let Situation { inputs, plan } = situation;
        // After a restart, what was written before stands until every cluster that can speak has spoken.
        if lines.any_unheard(plan.deleting) && self.is_restarted(inputs) {
            return None;
        }
        let reported = |name: &ClusterName| self.reports.before(name);
        lines.date(&inputs.now.rfc3339, inputs.instance.0.get("status"), reported);
        let over_all = match inputs.graph.filter(|_| !plan.deleting) {
            Some(graph) => self.over_all(step, inputs, graph, lines)?,
            None => OverClusters::default(),
        };
        Some(Aggregate {
            over_all: over_all.fields,
            unresolved: over_all.problems,
            lines,
            only_local: plan.only_local,
            deleting: plan.deleting,
            held: plan.decision.held.clone().filter(|_| !plan.deleting && plan.is_on_record),
            invalid: plan.decision.invalid.clone(),
            graph_missing: inputs.graph.is_none(),
            unmanaged: self.stuck.clone().or_else(|| self.unlabelled.clone()),
            by_author: inputs.graph.map(|g| g.has_conditions()),
            has_local: plan.on_hub.registered,
            refused: None,
            rollout: self.progress().filter(|_| !plan.deleting).cloned(),
        })
    }

    /// A line for each cluster where something of the instance is, may be or is to be, and for each that refuses it; and
    /// whether the instance is on the hub alone, where a Cluster stands for it.
    pub(super) fn all_lines(&self, inputs: &Inputs, plan: &Plan) -> (Vec<ClusterLine>, bool) {
        let Plan { decision, on_hub, deleting, holds, .. } = plan;
        let (deleting, local) = (*deleting, &on_hub.name);
        let mut names: BTreeSet<&ClusterName> = holds.iter().collect();
        names.extend(&decision.local);
        if deleting && self.may_hold_on_hub(inputs.instance, local) {
            names.insert(local);
        }
        if !deleting {
            names.extend(&decision.spokes);
        }
        let hub_part = decision.local.is_none() && has_part_on_hub(inputs, &decision.spokes, holds);
        let let_go = hub_part && on_hub.left && !deleting;
        if hub_part && !let_go {
            names.insert(local);
        }
        let line = |n: &&ClusterName| {
            let of_hub = hub_part && *n == local;
            let leaves = deleting || !(of_hub || plan.runs_on(n));
            let mut line = self.line(Situation { inputs, plan }, n, leaves);
            line.hub_part = of_hub;
            line
        };
        let mut lines: Vec<ClusterLine> = names.iter().map(line).collect();
        if let_go {
            let refused =
                Refused { why: Refusal::NotRegistered, message: on_hub::left_message(), named: true };
            lines.push(ClusterLine::left_on_hub(local, &refused));
        }
        if !deleting {
            let refused = decision.refused.iter().filter(|(name, _)| !names.contains(*name));
            lines.extend(refused.map(|(name, why)| ClusterLine::refused(name, why)));
        }
        let all_local = !names.is_empty() && names.iter().all(|n| *n == local);
        let only_local = on_hub.registered && all_local && lines.len() == names.len();
        (lines, only_local)
    }

    pub(super) fn line(&self, situation: Situation, name: &ClusterName, leaves: bool) -> ClusterLine {
        let Situation { inputs, plan } = situation;
        let report = self.pairs.report(name).filter(|r| r.hub_uid == inputs.instance.uid());
        let report = report.filter(|r| leaves || plan.stays(name) || !self.only_looked(inputs, r));
        let generation = inputs.instance.generation();
        let health = on_hub::health(inputs, name);
        let line = match self.line_rollout(name, inputs.instance.uid()).filter(|_| !leaves) {
            // What is written there counts at once.
            Some(rollout) if *name == plan.on_hub.name && rollout.answered => {
                ClusterLine::of(name, health, report, leaves, generation).in_stage(rollout)
            }
            Some(rollout) => ClusterLine::of_version(name, health, report, rollout),
            None => ClusterLine::of(name, health, report, leaves, generation),
        };
        let line = line.of_kind(self.line_kind(inputs, name).filter(|_| !leaves));
        let line = match self.uncompiled(inputs, name).filter(|_| !leaves) {
            Some(why) => line.not_compiled(&why),
            None => line,
        };
        let line = match plan.decision.stays.get(name).filter(|_| !leaves) {
            Some(why) => line.unmatched(why),
            None => line,
        };
        match self.pairs.get(name).and_then(|pair| pair.applied.as_deref()).filter(|_| !leaves) {
            Some(applied) => line.overridden(applied.shown()),
            None => line,
        }
    }

    /// Writes the status where it says something else than before, and it is time to say so.
    fn write_status(
        &mut self,
        step: &mut FleetStep,
        inputs: &Inputs,
        mut aggregate: Aggregate,
        written: &Written,
    ) {
        if !self.status_retry.is_due(inputs.now) {
            return;
        }
        let (old, generation) = (written.status(), inputs.instance.generation());
        let print = |aggregate: &Aggregate| hash::json(&json!(*aggregate.fields(old)));
        // What was refused is not offered again while it is the same: the rest of the status says so.
        self.status_refused = self.status_refused.take().filter(|(refused, _)| *refused == print(&aggregate));
        aggregate.refused = self.status_refused.as_ref().map(|(_, why)| why.clone());
        let differs = aggregate.differs(written, generation, inputs.now);
        #[cfg(test)]
        super::afresh::agree(
            differs,
            written.is_changed_by(&aggregate.status(old, generation, inputs.now), generation),
        );
        if !differs {
            self.passing_since = None;
            self.is_told = true;
            return;
        }
        if self.status_busy {
            return;
        }
        let state = aggregate.state();
        if let Some(due) = self.status_due(inputs, state, Haste::of(&aggregate), written) {
            step.wake_at = Some(due);
            return;
        }
        let nothing = json!({});
        let old = if old.is_null() { &nothing } else { old };
        let Some(patch) = merge_patch(old, &aggregate.status(old, generation, inputs.now)) else { return };
        self.passing_since = None;
        self.status_offered = aggregate.refused.is_none().then(|| print(&aggregate));
        self.status_busy = true;
        self.in_a_row = if self.last_state == Some(state) { self.in_a_row.saturating_add(1) } else { 1 };
        self.last_state = Some(state);
        // What waits for a first word is told now.
        self.news.everything |= self.last_status_write.is_none();
        self.last_status_write = Some(inputs.now.at);
        step.actions.push(FleetAction::WriteStatus { patch });
    }

    /// The author's fields over all clusters; `None` while they are being evaluated.
    fn over_all(
        &mut self,
        step: &mut FleetStep,
        inputs: &Inputs,
        graph: &Arc<Graph>,
        lines: &Lines,
    ) -> Option<OverClusters> {
        let facts = |name| inputs.clusters.get(name).and_then(|c| c.facts.as_deref());
        let seen = || lines.iter().filter(|e| !e.hub_part);
        let clusters = || seen().map(|e| e.shown(facts(&e.name))).collect();
        let clusters_version = inputs.clusters.version();
        let read = over_all::Read { plan: self.plans, lines: lines.version(), clusters: clusters_version };
        let subject = over_all::Subject { graph, instance: inputs.instance };
        let (said, question) = self.over_all.of(read, subject, clusters, inputs.now);
        step.actions.extend(question.map(FleetAction::Evaluate));
        match said {
            over_all::Said::This(said) => Some(said),
            over_all::Said::Wait(until) => {
                step.wake_at = until;
                None
            }
        }
    }

    /// Since when a state that may pass is to be told. Whose turn it is now has waited, and begins only then.
    fn passing(&mut self, now: Moment, haste: Haste) -> Moment {
        let since = match self.passing_since {
            Some((_, Haste::Queued)) if haste == Haste::UnderWay => now,
            Some((since, _)) => since,
            None => now,
        };
        self.passing_since = Some((since, haste));
        since
    }

    /// When a status may be written, if not now. Leading edge: every change of state at once, others at most once a second,
    /// and a second more for each 16 KiB of object. What is on its way may be there before anybody could have read that
    /// it is: that is said only if it takes a while.
    fn status_due(
        &mut self,
        inputs: &Inputs,
        state: InstanceState,
        haste: Haste,
        written: &Written,
    ) -> Option<Moment> {
        let now = inputs.now.at;
        let passing = matches!(state, InstanceState::InProgress | InstanceState::Deleting);
        let due = if self.last_state == Some(state) {
            let pause = Duration::from_secs(1 + written.size() as u64 / (16 << 10));
            let pause = if passing { pause.max(haste.pause_after(self.in_a_row)) } else { pause };
            let pause = pause.max(self.status_took.saturating_mul(SHARE_OF_TIME).min(AT_MOST));
            self.last_status_write.map_or(Moment::START, |at| at.after(pause))
        } else if passing {
            self.passing(now, haste).after(haste.pause())
        } else {
            Moment::START
        };
        (now < due).then_some(due)
    }
}
