//! The status of a hub instance, from what its clusters say.

mod conditions;
mod health;
mod line;
mod messages;
mod obstacle;
#[cfg(test)]
mod tests;

pub use health::ClusterHealth;
pub use line::{ClusterLine, LineState};

use super::placement::ShrinkHeld;
use crate::api::condition::Condition;
use crate::reconcile::Now;
use crate::reconcile::spoke::{InstanceState, Report};
use line::Standing;
use obstacle::Obstacle;
use serde_json::{Map, Value, json};

/// Lines that the status shows.
const MAX_ENTRIES: usize = 100;

/// Everything the status is made of.
#[derive(Clone, Debug)]
pub(super) struct Aggregate {
    pub entries: Vec<ClusterLine>,
    /// Only the local cluster is placed: the status is kro's, exactly.
    pub only_local: bool,
    pub deleting: bool,
    pub held: Option<ShrinkHeld>,
    pub invalid: Option<String>,
    pub graph_missing: bool,
    /// Why our finalizer and labels are not as they should be.
    pub unmanaged: Option<String>,
    /// Whether the author's conditions take the place of ours; `None` where the definition is not known.
    pub by_author: Option<bool>,
    pub has_local: bool,
    /// What the hub said to the author's fields, which it does not take: those that stand there stay.
    pub refused: Option<String>,
    /// The author's fields that are said once for all clusters.
    pub over_all: Map<String, Value>,
    /// Why some of them cannot be said, ever.
    pub unresolved: Vec<String>,
}

impl Aggregate {
    pub fn status(&self, old: &Value, generation: i64, now: &Now) -> Value {
        let existing: Vec<Condition> =
            old.get("conditions").and_then(|c| serde_json::from_value(c.clone()).ok()).unwrap_or_default();
        let conditions = self.conditions(existing, generation, now).into_list();
        let mut status = self.fields(old);
        status.insert("state".into(), json!(self.state().as_str()));
        // Tools that wait for an object look here first. An author may have a field of that name.
        status.entry("observedGeneration").or_insert_with(|| json!(generation));
        status.insert("conditions".into(), serde_json::to_value(conditions).unwrap_or_default());
        if !self.only_local {
            status.insert("fleet".into(), self.fleet());
        }
        Value::Object(status)
    }

    pub fn state(&self) -> InstanceState {
        let any = |kind| self.entries.iter().any(|e| e.standing() == kind);
        if self.deleting {
            InstanceState::Deleting
        } else if any(Standing::Failed)
            || self.graph_missing
            || self.invalid.is_some()
            || self.unmanaged.is_some()
            || self.refused.is_some()
        {
            InstanceState::Error
        } else if self.entries.is_empty() || any(Standing::Progressing) || any(Standing::Unreachable) {
            InstanceState::InProgress
        } else if !self.unresolved.is_empty() {
            // While something is under way, the fields may be said in a moment.
            InstanceState::Error
        } else {
            InstanceState::Active
        }
    }

    /// The author's fields: what one cluster says, or what all agree on. Kept while an instance is deleted, and while
    /// nobody knows what it should be.
    pub fn fields(&self, old: &Value) -> Map<String, Value> {
        if self.deleting || self.graph_missing || self.refused.is_some() {
            let mut kept = old.as_object().cloned().unwrap_or_default();
            for key in ["state", "conditions", "fleet"] {
                kept.remove(key);
            }
            return kept;
        }
        let tellers: Vec<&ClusterLine> = self.entries.iter().filter(|e| !e.hub_part).collect();
        let reports: Vec<&Report> = tellers.iter().filter_map(|e| e.report.as_ref()).collect();
        let Some((first, rest)) = reports.split_first() else { return self.over_all.clone() };
        let complete = reports.len() == tellers.len();
        first
            .fields
            .iter()
            .filter(|(k, v)| complete && rest.iter().all(|r| r.fields.get(*k) == Some(*v)))
            .filter(|(k, _)| k.as_str() != "fleet")
            .map(|(k, v)| (k.clone(), v.clone()))
            .chain(self.over_all.clone())
            .collect()
    }

    fn fleet(&self) -> Value {
        let mut sorted: Vec<(Standing, &ClusterLine)> =
            self.entries.iter().map(|e| (e.standing(), e)).collect();
        sorted.sort_by(|(a, line), (b, other)| a.cmp(b).then_with(|| line.name.cmp(&other.name)));
        let count = |standing| sorted.iter().filter(|(s, _)| *s == standing).count();
        json!({
            "desired": self.entries.len(),
            "ready": count(Standing::Ready),
            "progressing": count(Standing::Progressing),
            "failed": count(Standing::Failed),
            "unreachable": count(Standing::Unreachable),
            "summary": format!("{}/{}", count(Standing::Ready), self.entries.len()),
            "clusters": sorted.iter().take(MAX_ENTRIES).map(|(_, e)| e.value()).collect::<Vec<_>>(),
        })
    }
}
