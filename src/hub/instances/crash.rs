//! A panic in a step of one instance ends that step alone. Its machine is made anew, as after a restart; its status says
//! so; and it is tried again slowly, or when somebody edits it.

use crate::api::Object;
use crate::api::condition::{Condition, ConditionStatus, Conditions, READY};
use crate::reconcile::Moment;
use crate::reconcile::Now;
use crate::reconcile::fleet::FleetStep;
use crate::reconcile::spoke::{InstanceState, merge_patch};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

const AGAIN: Duration = Duration::from_secs(60);
const MESSAGE: &str = "internal error, see the log of kro-hub; tried again every minute";

/// A step that panicked: when the next may be tried, and for which generation nothing is tried before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crash {
    pub until: Moment,
    generation: i64,
}

impl Crash {
    pub fn of(instance: &Object, now: Moment) -> Self {
        Self { until: now.after(AGAIN), generation: instance.generation() }
    }

    /// Whether the instance waits still.
    pub fn holds(&self, instance: &Object, now: Moment) -> bool {
        now < self.until && instance.generation() == self.generation
    }
}

/// The step, unless it panicked.
pub(super) fn guarded(step: impl FnOnce() -> FleetStep) -> Option<FleetStep> {
    let stepped = catch_unwind(AssertUnwindSafe(step));
    #[cfg(test)]
    let stepped =
        stepped.map_err(|panic| match panic.downcast::<crate::reconcile::fleet::afresh::Disagreement>() {
            Ok(disagreement) => panic!("{}", disagreement.0),
            Err(panic) => panic,
        });
    stepped.ok()
}

/// What is said of an instance whose step panicked: reason and message.
pub(super) const SAID: (&str, &str) = ("InternalError", MESSAGE);

/// The patch of the status that says why nothing is done, unless it does already.
pub(super) fn status(instance: &Object, (reason, message): (&str, &str), now: &Now) -> Option<Value> {
    let old = instance.0.get("status").cloned().unwrap_or_else(|| json!({}));
    let known = old.get("conditions").cloned().unwrap_or_else(|| json!([]));
    let known: Vec<Condition> = serde_json::from_value(known).unwrap_or_default();
    let mut conditions = Conditions::new(known, instance.generation(), &now.rfc3339);
    conditions.set(READY, ConditionStatus::False, reason, message);
    let state = if instance.is_deleting() { InstanceState::Deleting } else { InstanceState::Error };
    let mut new = old.clone();
    new["state"] = json!(state.as_str());
    new["observedGeneration"] = json!(instance.generation());
    new["conditions"] = json!(conditions.into_list());
    merge_patch(&old, &new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn instance(generation: i64, status: Value) -> Object {
        Object(json!({"metadata": {"name": "a", "generation": generation}, "status": status}))
    }

    #[test]
    fn a_panic_ends_one_step_alone() {
        assert!(guarded(|| panic!("boom")).is_none());
        assert!(guarded(FleetStep::default).is_some());
    }

    #[test]
    fn it_is_tried_again_slowly_or_when_it_was_edited() {
        let crash = Crash::of(&instance(2, json!({})), at(1_000));
        assert!(crash.holds(&instance(2, json!({"state": "ERROR"})), at(60_999)));
        assert!(!crash.holds(&instance(2, json!({})), at(61_000)));
        assert!(!crash.holds(&instance(3, json!({})), at(1_001)));
    }

    #[test]
    fn the_status_says_so_once_and_keeps_what_else_it_says() {
        let now = Now { at: Moment::from_millis(1), rfc3339: "2026-01-01T00:00:00Z".into() };
        let mut object = instance(2, json!({"state": "ACTIVE", "url": "x"}));
        let patch = status(&object, SAID, &now).unwrap();
        assert_eq!((&patch["state"], patch.get("url")), (&json!("ERROR"), None));
        let ready = &patch["conditions"][0];
        assert_eq!((&ready["type"], &ready["reason"]), (&json!("Ready"), &json!("InternalError")));
        object.0["status"]["state"] = patch["state"].clone();
        object.0["status"]["observedGeneration"] = json!(2);
        object.0["status"]["conditions"] = patch["conditions"].clone();
        assert_eq!(status(&object, SAID, &now), None);
    }
}
