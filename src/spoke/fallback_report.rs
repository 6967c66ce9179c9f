//! What users see of an instance that has no machine to speak for it.

use crate::api::condition::{ConditionStatus, Conditions};
use crate::reconcile::Now;
use crate::reconcile::spoke::{Goal, InstanceState, Report, Stands, Task};

/// kro's condition for all that concerns the resources of an instance.
const RESOURCES_READY: &str = "ResourcesReady";
const CRASHED: &str = "internal error, see the log of kro-hub; trying again every minute";

/// A step panicked.
pub(super) fn crashed(task: &Task, now: &Now) -> Report {
    report(task, now, "InternalError", CRASHED)
}

/// Something else has its name on the cluster.
pub(super) fn conflict(task: &Task, now: &Now, owner: &str) -> Report {
    let message = format!("{} {} exists and belongs to {owner}", task.gvk.kind, task.key.short());
    report(task, now, "Conflict", &message)
}

fn report(task: &Task, now: &Now, reason: &str, message: &str) -> Report {
    let (state, generation, revision, total) = match &task.goal {
        Goal::Run { graph, mirror, .. } => {
            (InstanceState::Error, mirror.generation, graph.hash.clone(), graph.nodes.len())
        }
        Goal::GoOn { graph, .. } | Goal::Stay { graph } => {
            (InstanceState::Error, 0, graph.hash.clone(), graph.nodes.len())
        }
        Goal::Remove { .. } => (InstanceState::Deleting, 0, String::new(), 0),
    };
    let mut conditions = Conditions::new(Vec::new(), generation, &now.rfc3339);
    conditions.set(RESOURCES_READY, ConditionStatus::False, reason, message);
    conditions.set_ready_from(&[RESOURCES_READY]);
    Report {
        hub_uid: task.hub_uid.clone(),
        generation,
        revision,
        state,
        ready: 0,
        total,
        message: message.to_owned(),
        conditions: conditions.into_list().into(),
        author: None,
        hub_values: std::sync::Arc::default(),
        fields: serde_json::Map::new(),
        settled: false,
        stands: Stands::Unknown,
        admitted: None,
        facts: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Gvk;
    use crate::api::names::{GroupKind, HubId, InstanceKey};
    use crate::reconcile::Moment;
    use crate::reconcile::spoke::Home;

    #[test]
    fn a_crash_is_no_secret() {
        let task = Task {
            key: InstanceKey::new(GroupKind::new("kro.run", "App"), "n", "a"),
            gvk: Gvk::new("kro.run", "v1", "App"),
            hub_uid: "u".into(),
            hub_id: HubId::new("h"),
            home: Home::Mirror,
            goal: Goal::Remove { group_kinds: std::collections::BTreeSet::new() },
        };
        let report =
            crashed(&task, &Now { at: Moment::from_millis(1), rfc3339: "2026-01-01T00:00:00Z".into() });
        assert_eq!((report.hub_uid.as_str(), report.state), ("u", InstanceState::Deleting));
        let ready = report.conditions.last().unwrap();
        assert_eq!((ready.type_.as_str(), ready.status), ("Ready", ConditionStatus::False));
        assert_eq!(ready.message, CRASHED);
    }
}
