//! What the status of the instance says, and when it is written.

use super::aggregate::{Aggregate, ClusterLine, LineState};
use super::on_hub::{has_part_on_hub, may_be_local};
use super::over_all::OverClusters;
use super::placement::{Decision, Refusal, Refused};
use super::situation::Situation;
use super::{Fleet, FleetAction, FleetStep, Inputs, on_hub, over_all};
use crate::api::keys::hub;
use crate::api::names::ClusterName;
use crate::api::{Object, hash};
use crate::graph::Graph;
use crate::reconcile::Moment;
use crate::reconcile::spoke::{InstanceState, merge_patch};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A state on the way to another is shown when it lasts longer.
const PASSING: Duration = Duration::from_millis(80);
/// The same while nothing has to happen but what is under way already; and while it is not even its turn. To say that
/// of a thousand instances would take the time that they need.
const UNDER_WAY: Duration = Duration::from_secs(3);
const QUEUED: Duration = Duration::from_secs(15);

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
        let entries = &aggregate.entries;
        let asks = aggregate.held.is_some() || aggregate.invalid.is_some() || aggregate.unmanaged.is_some();
        if asks || entries.is_empty() || !entries.iter().all(ClusterLine::is_under_way) {
            Self::Waiting
        } else if entries.iter().any(ClusterLine::has_begun) {
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
}

/// Since when a cluster's line is as it is.
#[derive(Clone, Debug)]
pub(super) struct Since {
    state: String,
    since: String,
}

impl Since {
    /// What stands in the status.
    fn written(instance: &Object, name: &ClusterName) -> Option<Self> {
        let list = instance.0.pointer("/status/fleet/clusters")?.as_array()?;
        let text = |line: &'_ Value, field| Some(line.get(field)?.as_str()?.to_owned());
        let line = list.iter().find(|e| e.get("name").and_then(Value::as_str) == Some(name.as_str()))?;
        Some(Self { state: text(line, "state")?, since: text(line, "since")? })
    }
}

/// What there is to say of each cluster.
struct Lines {
    of_clusters: Vec<ClusterLine>,
    /// The instance is on the hub, where a Cluster stands for it, and nowhere else.
    only_local: bool,
}

impl Fleet {
    pub(super) fn status(
        &mut self,
        step: &mut FleetStep,
        situation: &Situation,
        holds: &BTreeSet<ClusterName>,
    ) {
        if let Some(aggregate) = self.aggregate(step, situation, holds) {
            self.write_status(step, situation.inputs, aggregate);
        }
    }

    /// What the status is to say; `None` while what was written before stands.
    fn aggregate(
        &mut self,
        step: &mut FleetStep,
        situation: &Situation,
        holds: &BTreeSet<ClusterName>,
    ) -> Option<Aggregate> {
        let Situation { inputs, decision, deleting, .. } = situation;
        let (inputs, deleting) = (*inputs, *deleting);
        let Lines { of_clusters, only_local } = self.lines(situation, holds);
        // After a restart, what was written before stands until every cluster that can speak has spoken.
        // The part on the hub is asked to go only when nothing reads it any more.
        let unheard = |e: &ClusterLine| e.is_unheard() && !(deleting && e.hub_part);
        if self.is_restarted(inputs) && of_clusters.iter().any(unheard) {
            return None;
        }
        let entries: Vec<ClusterLine> = of_clusters.into_iter().map(|e| self.dated(inputs, e)).collect();
        let over_all = match inputs.graph.filter(|_| !deleting) {
            Some(graph) => self.over_all(step, inputs, graph, &entries)?,
            None => OverClusters::default(),
        };
        Some(Aggregate {
            over_all: over_all.fields,
            unresolved: over_all.problems,
            entries,
            only_local,
            deleting,
            held: decision.held.clone().filter(|_| !deleting && is_on_record(inputs.instance, decision)),
            invalid: decision.invalid.clone(),
            graph_missing: inputs.graph.is_none(),
            unmanaged: self.stuck.clone().or_else(|| self.unlabelled.clone()),
            by_author: inputs.graph.map(|g| g.has_conditions()),
            has_local: situation.on_hub.registered,
            refused: None,
        })
    }

    /// A line for each cluster where something of the instance is, may be or is to be, and for each that refuses it.
    fn lines(&self, situation: &Situation, holds: &BTreeSet<ClusterName>) -> Lines {
        let Situation { inputs, decision, on_hub, deleting, .. } = situation;
        let (deleting, local) = (*deleting, &on_hub.name);
        let mut names: BTreeSet<ClusterName> = holds.clone();
        names.extend(decision.local.iter().cloned());
        if deleting && may_be_local(inputs.instance) {
            names.insert(local.clone());
        }
        if !deleting {
            names.extend(decision.spokes.iter().cloned());
        }
        let hub_part = decision.local.is_none() && has_part_on_hub(inputs, &decision.spokes, holds);
        let let_go = hub_part && on_hub.left && !deleting;
        if hub_part && !let_go {
            names.insert(local.clone());
        }
        let line = |n: &ClusterName| {
            let of_hub = hub_part && n == local;
            let leaves = deleting || (!decision.spokes.contains(n) && !of_hub);
            let mut line = self.line(inputs, n, leaves);
            line.hub_part = of_hub;
            line
        };
        let mut of_clusters: Vec<ClusterLine> = names.iter().map(line).collect();
        if let_go {
            let refused = Refused { why: Refusal::NotRegistered, message: on_hub::left_message() };
            of_clusters.push(ClusterLine::refused(local, &refused));
        }
        if !deleting {
            let refused = decision.refused.iter().filter(|(name, _)| !names.contains(*name));
            of_clusters.extend(refused.map(|(name, why)| ClusterLine::refused(name, why)));
        }
        let all_local = !names.is_empty() && names.iter().all(|n| n == local);
        Lines { only_local: on_hub.registered && all_local && of_clusters.len() == names.len(), of_clusters }
    }

    /// Writes the status where it says something else than before, and it is time to say so.
    fn write_status(&mut self, step: &mut FleetStep, inputs: &Inputs, mut aggregate: Aggregate) {
        if !self.status_retry.is_due(inputs.now) {
            return;
        }
        let old = inputs.instance.0.get("status").cloned().unwrap_or_else(|| json!({}));
        let fields = hash::json(&Value::Object(aggregate.fields(&old)));
        // What was refused is not offered again while it is the same: the rest of the status says so.
        self.status_refused = self.status_refused.take().filter(|(print, _)| *print == fields);
        aggregate.refused = self.status_refused.as_ref().map(|(_, why)| why.clone());
        let new = aggregate.status(&old, inputs.instance.generation(), inputs.now);
        // What stood before it was written is good as it is: an upgrade writes nothing.
        let for_that_alone = |patch: &Value| {
            old.get("observedGeneration").is_none()
                && *patch == json!({"observedGeneration": inputs.instance.generation()})
        };
        let Some(patch) = merge_patch(&old, &new).filter(|p| !for_that_alone(p)) else {
            self.passing_since = None;
            return;
        };
        if self.status_busy {
            return;
        }
        let state = aggregate.state();
        if let Some(due) = self.status_due(inputs, state, Haste::of(&aggregate)) {
            step.wake_at = Some(due);
            return;
        }
        self.passing_since = None;
        self.status_offered = aggregate.refused.is_none().then_some(fields);
        self.status_busy = true;
        self.last_state = Some(state);
        self.last_status_write = Some(inputs.now.at);
        step.actions.push(FleetAction::WriteStatus { patch });
    }

    /// The author's fields over all clusters; `None` while they are being evaluated.
    pub(super) fn over_all(
        &mut self,
        step: &mut FleetStep,
        inputs: &Inputs,
        graph: &Arc<Graph>,
        entries: &[ClusterLine],
    ) -> Option<OverClusters> {
        let facts = |name| inputs.clusters.get(name).and_then(|c| c.facts.as_deref());
        let seen = entries.iter().filter(|e| !e.hub_part);
        let clusters = || seen.map(|e| e.shown(facts(&e.name))).collect();
        let (said, question) = self.over_all.of(graph, inputs.instance, clusters, inputs.now);
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
    pub(super) fn passing(&mut self, now: Moment, haste: Haste) -> Moment {
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
    pub(super) fn status_due(
        &mut self,
        inputs: &Inputs,
        state: InstanceState,
        haste: Haste,
    ) -> Option<Moment> {
        let now = inputs.now.at;
        let passing = matches!(state, InstanceState::InProgress | InstanceState::Deleting);
        let due = if self.last_state == Some(state) {
            let pause = Duration::from_secs(1 + inputs.instance.0.to_string().len() as u64 / (16 << 10));
            let pause = if passing { pause.max(haste.pause()) } else { pause };
            self.last_status_write.map_or(Moment::START, |at| at.after(pause))
        } else if passing {
            self.passing(now, haste).after(haste.pause())
        } else {
            Moment::START
        };
        (now < due).then_some(due)
    }

    fn line(&self, inputs: &Inputs, name: &ClusterName, leaves: bool) -> ClusterLine {
        let health = on_hub::health(inputs, name);
        let report = self.reports.get(name).filter(|r| r.hub_uid == inputs.instance.uid());
        let generation = inputs.instance.generation();
        ClusterLine::of(name, health.as_ref(), report, leaves, generation)
    }

    /// Notes since when an entry is as it is; a restart finds it in the status that was written.
    pub(super) fn dated(&mut self, inputs: &Inputs, mut entry: ClusterLine) -> ClusterLine {
        let known =
            self.since.get(&entry.name).cloned().or_else(|| Since::written(inputs.instance, &entry.name));
        let state = entry.state.text();
        let since = match (known, &entry.state) {
            (Some(known), _) if known.state == state => known.since,
            (_, LineState::Unreachable { since }) => since.clone(),
            _ => inputs.now.rfc3339.clone(),
        };
        let noted = Since { state: state.to_owned(), since: since.clone() };
        self.since.insert(entry.name.clone(), noted);
        entry.since = since;
        entry
    }
}

/// Whether what was decided stands on the instance, where it has a record: what is said before a restart forgets it.
pub(super) fn is_on_record(instance: &Object, decision: &Decision) -> bool {
    let decided = instance.annotation(hub::DECIDED);
    decided.is_none_or(|decided| decided == decision.record.text())
}
