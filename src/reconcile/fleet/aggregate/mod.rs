//! The status of a hub instance, from what its clusters say.

mod conditions;
mod health;
mod line;
mod lines;
mod messages;
mod obstacle;
pub mod runs;
#[cfg(test)]
mod tests;
mod written;

pub use health::ClusterHealth;
pub use line::{ClusterLine, LineKind, LineRollout};
pub(super) use line::{Since, Standing};
pub(super) use lines::{Before, Lines};
pub(super) use written::Written;

use super::placement::ShrinkHeld;
use crate::api::condition::Condition;
use crate::api::names::ClusterName;
use crate::reconcile::Now;
use crate::reconcile::rollout::unit::{Progress, Reason};
use crate::reconcile::spoke::InstanceState;
use obstacle::Obstacle;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// Lines that the status shows by itself, all that there are.
pub(super) const MAX_ENTRIES: usize = 100;
/// Of more clusters, so many where something is not well yet.
const MAX_PROBLEMS: usize = 20;

/// Everything the status is made of.
#[derive(Debug)]
pub(super) struct Aggregate<'a> {
    pub lines: &'a Lines,
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
    /// How far a rollout is that moves the instance.
    pub rollout: Option<Progress>,
}

impl Aggregate<'_> {
    pub fn status(&self, old: &Value, generation: i64, now: &Now) -> Value {
        let conditions = self.conditions(standing(old), generation, now).into_list();
        let mut status = self.fields(old).into_owned();
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
        let any = |standing| self.lines.count(standing) > 0;
        if self.deleting {
            InstanceState::Deleting
        } else if any(Standing::Failed)
            || self.graph_missing
            || self.invalid.is_some()
            || self.unmanaged.is_some()
            || self.refused.is_some()
            || self.rollout.as_ref().is_some_and(|r| r.reason == Reason::Halted)
        {
            InstanceState::Error
        } else if self.lines.counted() == 0
            || any(Standing::Progressing)
            || any(Standing::Unreachable)
            || self.is_rolling()
        {
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
    pub fn fields(&self, old: &Value) -> Cow<'_, Map<String, Value>> {
        if self.deleting || self.graph_missing || self.refused.is_some() {
            let kept = old.as_object().into_iter().flatten();
            let kept = kept.filter(|(key, _)| !matches!(key.as_str(), "state" | "conditions" | "fleet"));
            return Cow::Owned(kept.map(|(key, value)| (key.clone(), value.clone())).collect());
        }
        let agreed = self.lines.agreed();
        if self.over_all.is_empty() {
            return Cow::Borrowed(agreed);
        }
        let mut fields = agreed.clone();
        fields.extend(self.over_all.clone());
        Cow::Owned(fields)
    }

    fn fleet(&self) -> Value {
        let mut fleet = self.counts();
        fleet["clusters"] = json!(self.lines.shown());
        fleet
    }

    /// Whether a rollout is not through.
    fn is_rolling(&self) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| rollout.reason != Reason::Complete)
    }

    fn counts(&self) -> Value {
        let (all, count) = (self.lines.counted(), |standing| self.lines.count(standing));
        let mut counts = json!({
            "desired": all,
            "ready": count(Standing::Ready),
            "progressing": count(Standing::Progressing),
            "failed": count(Standing::Failed),
            "unreachable": count(Standing::Unreachable),
            "summary": format!("{}/{all}", count(Standing::Ready)),
        });
        if let Some(held) = &self.held {
            let names: Vec<&str> = held.kept.iter().take(MAX_ENTRIES).map(ClusterName::as_str).collect();
            counts["held"] = json!({"token": held.token, "clusters": names});
        }
        if let Some(rollout) = &self.rollout {
            counts["rollout"] = shown(rollout);
            if self.is_rolling() {
                let ready = count(Standing::Ready);
                counts["summary"] = json!(format!("{ready}/{all}, {} updated", rollout.updated));
            }
        }
        counts
    }
}

/// A rollout as the status has it.
fn shown(rollout: &Progress) -> Value {
    let mut shown = json!({
        "version": rollout.version,
        "state": rollout.reason.state(),
        "updated": rollout.updated,
        "total": rollout.total,
        "inFlight": rollout.in_flight,
        "failed": rollout.failed + rollout.failing,
        "deferred": rollout.deferred,
    });
    if let Some(stable) = rollout.stable {
        shown["stable"] = json!(stable);
    }
    if let Some(stage) = &rollout.stage {
        shown["stage"] = json!(**stage);
    }
    shown
}

/// The conditions that stand in a status.
fn standing(status: &Value) -> Vec<Condition> {
    status.get("conditions").and_then(|c| Vec::deserialize(c).ok()).unwrap_or_default()
}
