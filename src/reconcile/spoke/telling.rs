//! What a step tells: the report to the hub, and the status on the cluster.

use super::run::{Walk, Wanted};
use super::status::{Report, Summary, merge_patch, status_value};
use super::{Action, Machine, Part, Step, status};
use crate::api::condition::{self, Condition};
use crate::api::packed::{At, Packed};
use crate::api::{PackedObject, hash, shared};
use crate::graph::AuthorConditions;
use crate::reconcile::world::{KindState, Stored, World};
use crate::reconcile::{Now, Retry};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// For so long a new machine keeps silent while first lists are under way.
const STARTING: Duration = Duration::from_secs(10);
/// The same where a status stands that is about what is wanted, or may: very many lists may be under way after a restart.
const STANDING: Duration = Duration::from_secs(120);

/// What a report is made of.
pub(super) struct Told<'a> {
    /// The object that children belong to, where there is one.
    pub parent: Option<&'a Stored>,
    pub summary: &'a Summary,
    /// Of the hub instance.
    pub generation: i64,
    /// Of the definition.
    pub revision: &'a str,
    /// The author defined conditions.
    pub by_author: bool,
}

/// What is remembered of the report before: many instances say the same.
#[derive(Debug)]
pub(super) struct LastReport {
    pub generation: i64,
    pub revision: Arc<str>,
    pub conditions: Arc<[Condition]>,
    pub author: Option<Arc<[Condition]>>,
}

impl LastReport {
    fn of(report: &Report) -> Self {
        Self {
            generation: report.generation,
            revision: shared::text(&report.revision),
            conditions: report.conditions.clone(),
            author: report.author.clone(),
        }
    }
}

impl Machine {
    /// Turns the outcome into a report and, on a spoke, into at most one status write.
    pub(super) fn finish_run(&mut self, walk: Walk, wanted: &Wanted, summary: Summary) -> Step {
        let mut step = walk.step;
        step.held = walk.held;
        let parent = self.local_parent().or_else(|| walk.world.get(&self.task.key.object()));
        let summary = self.without_refused_fields(summary, parent.as_deref());
        if let Some(fields) = &summary.fields {
            self.last_fields = Some(Packed::of(&Value::Object(fields.clone())));
        }
        if walk.unseen && self.is_starting(walk.world, walk.now, parent.as_deref()) {
            // What a restart left settled must not look unsettled only because it was not looked at yet.
            step.wake_at = Some(walk.now.at.after(STARTING));
            return step;
        }
        let told = Told {
            parent: parent.as_deref(),
            summary: &summary,
            generation: wanted.mirror.generation,
            revision: &wanted.graph.hash,
            by_author: wanted.graph.has_conditions() && !matches!(wanted.part, Part::Hub),
        };
        self.report(&mut step, walk.now, &told);
        if let Some(report) = &mut step.report {
            report.hub_values = Arc::new(walk.hub_values);
        }
        let settled = self.is_quiet()
            && !walk.unseen
            && !step.actions.iter().any(|a| !matches!(a, Action::EnsureKind(..) | Action::EnsureGraph(..)));
        if settled && !self.task.is_local() {
            self.write_status(&mut step, walk.now, parent.as_deref());
        }
        step.wake_at = [step.wake_at, self.wake_at(walk.now)].into_iter().flatten().min();
        step
    }

    /// Writes what this step reports where the cluster shows something else.
    pub(super) fn write_status(&mut self, step: &mut Step, now: &Now, parent: Option<&Stored>) {
        if self.status_busy || !self.status_retry.is_due(now) {
            return;
        }
        let (Some(parent), Some(report)) = (parent, &step.report) else { return };
        let old = parent.object.0.root().get("status").map(At::unpack);
        let old = old.unwrap_or_else(|| serde_json::json!({}));
        if let Some(patch) = merge_patch(&old, &status_value(report)) {
            if !self.status_writes.allows(now) {
                return;
            }
            self.status_busy = true;
            self.status_offered = self.status_refused.is_none().then(|| fields_print(&report.fields));
            let (gvk, uid) = (self.task.gvk.clone(), parent.object.uid().to_owned());
            step.actions.push(Action::WriteStatus { gvk, uid, patch });
        } else {
            // A write that seemed to fail had landed.
            self.status_retry = Retry::default();
            self.status_writes.calm(now);
        }
    }

    /// Fields that the API server refused are not offered again while they are the same: the rest of the status says so.
    pub(super) fn without_refused_fields(
        &mut self,
        mut summary: Summary,
        parent: Option<&Stored>,
    ) -> Summary {
        let Some((print, why)) = &self.status_refused else { return summary };
        if summary.fields.as_ref().is_some_and(|fields| fields_print(fields) != *print) {
            self.status_refused = None;
            return summary;
        }
        let why = format!("the cluster refuses the fields of the status: {why}");
        let fields = parent.map(|p| status::written_fields(&p.object)).unwrap_or_default();
        summary.refuse(why, fields);
        summary
    }

    /// Whether this machine is young and has reported nothing yet.
    pub(super) fn is_starting(&mut self, world: &dyn World, now: &Now, parent: Option<&Stored>) -> bool {
        let since = *self.first_step.get_or_insert(now.at);
        let may_stand = match parent {
            Some(parent) => status::is_of_present(&parent.object),
            None => matches!(world.kind(&self.task.key.gk), KindState::Unknown | KindState::Syncing),
        };
        let patience = if may_stand { STANDING } else { STARTING };
        self.last_report.is_none() && now.at.since(since) < patience
    }

    /// Our own conditions, on top of those that were said before.
    pub(super) fn own_conditions(
        &self,
        parent: Option<&PackedObject>,
        generation: i64,
        now: &Now,
        summary: &Summary,
    ) -> Vec<Condition> {
        let before = match &self.last_report {
            Some(last) => last.conditions.to_vec(),
            None => parent.map(status::written).unwrap_or_default(),
        };
        status::conditions(before, generation, now, summary)
    }

    pub(super) fn report(&mut self, step: &mut Step, now: &Now, told: &Told) {
        let Told { parent, summary, generation, revision, by_author } = *told;
        let parent = parent.map(|p| &p.object);
        let observed = parent.map_or(generation, PackedObject::generation);
        let author = by_author.then(|| {
            let before = match &self.last_report {
                Some(LastReport { author: Some(author), .. }) => author.to_vec(),
                Some(_) => Vec::new(),
                None => parent.map(status::written).unwrap_or_default(),
            };
            // Where the pass did not get that far, what was said before stays.
            let nothing = AuthorConditions { incomplete: true, ..AuthorConditions::default() };
            let made = summary.author.as_deref().unwrap_or(&nothing);
            status::author_conditions(before, observed, now, made)
        });
        let on_wire = || parent.map(status::written_fields).unwrap_or_default();
        let last_fields = self.last_fields.as_ref().and_then(|fields| match fields.unpack() {
            Value::Object(fields) => Some(fields),
            _ => None,
        });
        let report = Report {
            hub_uid: self.task.hub_uid.clone(),
            generation,
            revision: revision.to_owned(),
            state: summary.state,
            ready: summary.ready,
            total: summary.total,
            message: if summary.is_well() { String::new() } else { summary.message.clone() },
            conditions: condition::shared(&self.own_conditions(parent, observed, now, summary)),
            author: author.as_deref().map(condition::shared),
            hub_values: Arc::default(),
            fields: last_fields.unwrap_or_else(on_wire),
            settled: self.is_quiet(),
            stands: self.stands(parent),
            admitted: self.admitted(parent),
            facts: self.facts(parent),
        };
        self.last_report = Some(LastReport::of(&report));
        step.report = Some(report);
    }
}

pub(super) fn fields_print(fields: &Map<String, Value>) -> u64 {
    hash::json(&Value::Object(fields.clone()))
}
