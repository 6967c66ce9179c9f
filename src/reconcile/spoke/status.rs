//! What one cluster says of an instance: kro's state, conditions and the author's fields.

use super::tracked::Trouble;
use crate::api::condition::{Condition, ConditionStatus, Conditions};
use crate::api::hash;
use crate::reconcile::Now;
use serde_json::{Map, Value, json};

/// kro's `status.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceState {
    Active,
    InProgress,
    Error,
    Deleting,
}

impl InstanceState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::InProgress => "IN_PROGRESS",
            Self::Error => "ERROR",
            Self::Deleting => "DELETING",
        }
    }
}

pub const INSTANCE_MANAGED: &str = "InstanceManaged";
pub const GRAPH_RESOLVED: &str = "GraphResolved";
pub const RESOURCES_READY: &str = "ResourcesReady";
/// kro's dependents of `Ready`, in the order they are set.
pub const DEPENDENTS: [&str; 3] = [INSTANCE_MANAGED, GRAPH_RESOLVED, RESOURCES_READY];

/// How far one node of the graph is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NodeState {
    Ready,
    Skipped,
    Waiting(String),
    Failed(Trouble, String),
}

impl NodeState {
    /// The state of a collection is that of its worst item; the first one wins among equals.
    pub fn worse(a: Option<Self>, b: Self) -> Self {
        match (a, b) {
            (Some(a @ Self::Failed(..)), _) => a,
            (_, b @ Self::Failed(..)) => b,
            (Some(a @ Self::Waiting(_)), _) => a,
            (_, b) => b,
        }
    }
}

/// The outcome of one step, before it is turned into conditions.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub state: InstanceState,
    pub ready: usize,
    pub total: usize,
    pub status: ConditionStatus,
    pub reason: String,
    pub message: String,
    pub fields: Option<Map<String, Value>>,
}

impl Summary {
    fn not_yet(state: InstanceState, status: ConditionStatus, reason: &str, message: String) -> Self {
        Self { state, ready: 0, total: 0, status, reason: reason.into(), message, fields: None }
    }
    /// Nothing is wrong; something has to happen first.
    pub fn waiting(message: &str) -> Self {
        let message = format!("awaiting resource readiness: {message}");
        Self::not_yet(InstanceState::InProgress, ConditionStatus::False, "NotReady", message)
    }
    /// Somebody has to do something.
    pub fn blocked(reason: &str, message: String) -> Self {
        Self::not_yet(
            InstanceState::Error,
            ConditionStatus::False,
            reason,
            format!("resource error: {message}"),
        )
    }
    pub fn suspended(fields: Map<String, Value>) -> Self {
        let message =
            format!("reconciliation is suspended by the annotation {}", crate::api::keys::kro::RECONCILE);
        let mut out = Self::not_yet(
            InstanceState::InProgress,
            ConditionStatus::False,
            "ReconciliationSuspended",
            message,
        );
        out.fields = Some(fields);
        out
    }
    pub fn deleting(message: String) -> Self {
        Self::not_yet(InstanceState::Deleting, ConditionStatus::Unknown, "UnderDeletion", message)
    }

    /// From the states of the nodes that were reached. `held` is what prune kept.
    pub fn of(
        nodes: Vec<(String, NodeState)>,
        total: usize,
        fields: Map<String, Value>,
        problems: Vec<String>,
        held: Option<String>,
    ) -> Self {
        let ready = nodes.iter().filter(|(_, s)| matches!(s, NodeState::Ready | NodeState::Skipped)).count();
        let mut failed: Vec<(&'static str, String)> = nodes
            .iter()
            .filter_map(|(id, s)| match s {
                NodeState::Failed(trouble, why) => Some((trouble.reason(), format!("node {id}: {why}"))),
                _ => None,
            })
            .collect();
        failed.extend(problems.into_iter().map(|p| ("NotReady", p)));
        let waiting: Vec<String> = nodes
            .iter()
            .filter_map(|(id, s)| match s {
                NodeState::Waiting(why) => Some(format!("node {id}: {why}")),
                _ => None,
            })
            .collect();
        let texts = |list: Vec<String>| list.join("; ");
        let (state, status, reason, message) = if let Some((reason, _)) = failed.first() {
            let all = texts(failed.iter().map(|(_, m)| m.clone()).collect());
            (InstanceState::Error, ConditionStatus::False, *reason, format!("resource error: {all}"))
        } else if !waiting.is_empty() {
            let message = format!("awaiting resource readiness: {}", texts(waiting));
            (InstanceState::InProgress, ConditionStatus::False, "NotReady", message)
        } else if let Some(held) = held {
            (InstanceState::Active, ConditionStatus::False, Trouble::MirrorReplaced.reason(), held)
        } else {
            let message = "all resources are created and ready".to_owned();
            (InstanceState::Active, ConditionStatus::True, "AllResourcesReady", message)
        };
        Self {
            state,
            ready,
            total,
            status,
            reason: reason.into(),
            message: shorten(message),
            fields: Some(fields),
        }
    }
}

/// Keeps messages readable and status objects small.
fn shorten(message: String) -> String {
    const LIMIT: usize = 1024;
    if message.len() <= LIMIT {
        return message;
    }
    let cut = (0..=LIMIT).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
    format!("{}…", &message[..cut])
}

/// What the hub hears from one cluster about one instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Uid of the hub instance that this is about.
    pub hub_uid: String,
    /// Generation of the hub instance that was acted on.
    pub generation: i64,
    /// Hash of the graph that was used.
    pub revision: String,
    pub state: InstanceState,
    pub ready: usize,
    pub total: usize,
    /// Essence of what is going on, empty when all is well.
    pub message: String,
    pub conditions: Vec<Condition>,
    /// The author's status fields.
    pub fields: Map<String, Value>,
    /// Nothing is under way.
    pub settled: bool,
}

/// The complete `.status` as kro writes it.
pub(super) fn status_value(report: &Report) -> Value {
    let mut status = report.fields.clone();
    status.insert("state".into(), json!(report.state.as_str()));
    status.insert("conditions".into(), serde_json::to_value(&report.conditions).unwrap_or_default());
    Value::Object(status)
}

/// Conditions from a summary, on top of those that stand in the object.
pub(super) fn conditions(
    existing: Option<&Value>,
    generation: i64,
    now: &Now,
    summary: &Summary,
) -> Vec<Condition> {
    let old: Vec<Condition> = existing
        .and_then(|s| s.get("conditions"))
        .and_then(|c| serde_json::from_value(c.clone()).ok())
        .unwrap_or_default();
    let mut list = Conditions::new(old, generation, &now.rfc3339);
    list.set(
        INSTANCE_MANAGED,
        ConditionStatus::True,
        "Managed",
        "instance is properly managed with finalizers and labels",
    );
    list.set(
        GRAPH_RESOLVED,
        ConditionStatus::True,
        "Resolved",
        "runtime graph created and all resources resolved",
    );
    list.set(RESOURCES_READY, summary.status, &summary.reason, &summary.message);
    list.set_ready_from(&DEPENDENTS);
    list.into_list()
}

/// A JSON merge patch that turns `old` into `new`; `None` when they are equal.
pub fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(a), Value::Object(b)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for (key, value) in b {
        match a.get(key) {
            Some(before) => {
                if let Some(inner) = merge_patch(before, value) {
                    patch.insert(key.clone(), inner);
                }
            }
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in a.keys().filter(|k| !b.contains_key(*k)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Fingerprint of a report without times; for deciding whether the hub has to hear of it again.
pub fn fingerprint(report: &Report) -> u64 {
    let conditions: Vec<Value> =
        report.conditions.iter().map(|c| json!([c.type_, c.status, c.reason, c.message])).collect();
    hash::json(&json!([
        report.generation,
        report.revision,
        report.state.as_str(),
        report.ready,
        report.total,
        report.message,
        conditions,
        report.fields,
        report.settled
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_patches_change_one_value_into_the_other() {
        let cases = [
            (json!({"a": 1}), json!({"a": 1}), None),
            (
                json!({"a": 1, "b": {"c": 1, "d": 2}}),
                json!({"b": {"c": 1, "d": 3}}),
                Some(json!({"a": null, "b": {"d": 3}})),
            ),
            (json!(null), json!({"x": 1}), Some(json!({"x": 1}))),
            (json!({"l": [1]}), json!({"l": [1, 2]}), Some(json!({"l": [1, 2]}))),
        ];
        for (old, new, want) in cases {
            assert_eq!(merge_patch(&old, &new), want);
        }
    }

    #[test]
    fn a_failure_outweighs_waiting_and_both_are_named() {
        let nodes = vec![
            ("a".to_owned(), NodeState::Ready),
            ("b".to_owned(), NodeState::Waiting("later".into())),
            ("c".to_owned(), NodeState::Failed(Trouble::Conflict, "taken".into())),
        ];
        let s = Summary::of(nodes, 3, Map::new(), vec![], None);
        assert_eq!((s.state, s.reason.as_str(), s.ready, s.total), (InstanceState::Error, "Conflict", 1, 3));
        assert_eq!(s.message, "resource error: node c: taken");
    }
}
