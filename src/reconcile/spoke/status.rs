//! What one cluster says of an instance: kro's state, conditions and the author's fields.

use super::part::HubValues;
use super::tracked::{Failure, Trouble};
use super::write_budget::Unrest;
use crate::api::PackedObject;
use crate::api::condition::{self, Condition, ConditionStatus, Conditions, READY};
use crate::api::names::ObjectRef;
use crate::api::packed::At;
use crate::api::{hash, text};
use crate::graph::AuthorConditions;
use crate::reconcile::Now;
use crate::reconcile::rollout::{Admitted, Facts, Mark};
use serde_json::{Map, Value, json};
use std::sync::Arc;

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
/// What the hub's status says besides, for tools that read kstatus.
pub const FOR_TOOLS: [&str; 2] = ["Reconciling", "Stalled"];

/// How far one node of the graph is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NodeState {
    Ready,
    Skipped,
    Waiting(String),
    /// What should be there is being deleted.
    Terminating(String),
    Failed(Trouble, String),
}

impl NodeState {
    /// The state of a node from what is not well of its objects: the worst decides, and the first few that failed are told.
    pub fn of_objects(states: Vec<Self>) -> Option<Self> {
        const TOLD: usize = 3;
        let failed = |state: &Self| match state {
            Self::Failed(trouble, message) => Some((*trouble, message.clone())),
            _ => None,
        };
        let Some((trouble, _)) = states.iter().find_map(failed) else {
            let waits = |state: &Self| matches!(state, Self::Waiting(_) | Self::Terminating(_));
            return states.into_iter().reduce(|first, next| if waits(&first) { first } else { next });
        };
        let mut told: Vec<String> = Vec::new();
        let mut more = 0;
        for (_, message) in states.iter().filter_map(failed) {
            if told.len() < TOLD && !told.contains(&message) {
                told.push(message);
            } else if !told.contains(&message) {
                more += 1;
            }
        }
        if more > 0 {
            told.push(format!("{more} more failed"));
        }
        Some(Self::Failed(trouble, told.join("; ")))
    }
    /// What is said of an object that does not come to rest. What may settle yet is no error, but where nothing else would
    /// be said.
    pub fn of_unrest(object: &ObjectRef, unrest: &Unrest, is_parent: bool) -> Self {
        let message = format!("{object}: {}", unrest.message);
        if unrest.is_mild && !is_parent {
            Self::Waiting(message)
        } else {
            Self::Failed(unrest.trouble, message)
        }
    }
    /// What a failed write says of the node.
    pub fn of_failure(failure: &Failure) -> Self {
        match failure.trouble {
            Trouble::Contact => Self::Waiting(failure.message.clone()),
            Trouble::Terminating => Self::Terminating(failure.message.clone()),
            trouble => Self::Failed(trouble, failure.message.clone()),
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
    /// What the author's conditions gave, where they were evaluated.
    pub author: Option<Box<AuthorConditions>>,
    /// People should know more than that all is well.
    pub noted: bool,
}

impl Summary {
    fn not_yet(state: InstanceState, status: ConditionStatus, reason: &str, message: String) -> Self {
        let reason = reason.into();
        Self { state, ready: 0, total: 0, status, reason, message, fields: None, author: None, noted: false }
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
    pub fn suspended() -> Self {
        let message =
            format!("reconciliation is suspended by the annotation {}", crate::api::keys::kro::RECONCILE);
        Self::not_yet(InstanceState::InProgress, ConditionStatus::False, "ReconciliationSuspended", message)
    }
    /// What the author's conditions cannot say is an error of the instance, whatever else is.
    pub fn with_author_conditions(mut self, author: AuthorConditions) -> Self {
        if !author.problems.is_empty() && self.state != InstanceState::Error {
            self.state = InstanceState::Error;
            self.message = shorten(format!("status.conditions: {}", author.problems.join("; ")));
        }
        self.author = Some(Box::new(author));
        self
    }
    /// All may be well, but the author's fields cannot be written: those that stand there stay.
    pub fn refuse(&mut self, why: String, standing: Map<String, Value>) {
        self.state = InstanceState::Error;
        self.status = ConditionStatus::False;
        self.reason = "StatusRefused".into();
        self.message = shorten(why);
        self.fields = Some(standing);
    }
    pub fn deleting(message: String) -> Self {
        Self::not_yet(InstanceState::Deleting, ConditionStatus::Unknown, "UnderDeletion", message)
    }

    /// From the states of the nodes that were reached. `kept` is why prune left something, or may have.
    pub fn of(
        nodes: Vec<(String, NodeState)>,
        total: usize,
        fields: Map<String, Value>,
        problems: Vec<String>,
        kept: Option<NodeState>,
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
                NodeState::Waiting(why) | NodeState::Terminating(why) => Some(format!("node {id}: {why}")),
                _ => None,
            })
            .collect();
        let terminating = nodes.iter().any(|(_, s)| matches!(s, NodeState::Terminating(_)));
        let texts = |list: Vec<String>| list.join("; ");
        let (state, status, reason, message) = if let Some((reason, _)) = failed.first() {
            let all = texts(failed.iter().map(|(_, m)| m.clone()).collect());
            (InstanceState::Error, ConditionStatus::False, *reason, format!("resource error: {all}"))
        } else if !waiting.is_empty() {
            let message = format!("awaiting resource readiness: {}", texts(waiting));
            let reason = if terminating { Trouble::Terminating } else { Trouble::Error }.reason();
            (InstanceState::InProgress, ConditionStatus::False, reason, message)
        } else if let Some(NodeState::Failed(trouble, why)) = kept {
            (InstanceState::Error, ConditionStatus::False, trouble.reason(), why)
        } else if let Some(NodeState::Waiting(why) | NodeState::Terminating(why)) = kept {
            let message = format!("awaiting resource readiness: {why}");
            (InstanceState::InProgress, ConditionStatus::False, Trouble::Error.reason(), message)
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
            author: None,
            noted: false,
        }
    }

    /// Nothing is left to say.
    pub fn is_well(&self) -> bool {
        self.state == InstanceState::Active && self.status == ConditionStatus::True && !self.noted
    }

    /// With what people should know although it stops nothing; a few of many.
    pub fn with_notes(mut self, notes: &[String]) -> Self {
        const TOLD: usize = 3;
        let more = notes.len().saturating_sub(TOLD);
        let more = (more > 0).then(|| format!("and {more} more"));
        let told: Vec<String> = notes.iter().take(TOLD).cloned().chain(more).collect();
        if !told.is_empty() {
            self.message = shorten(format!("{}; {}", self.message, told.join("; ")));
            self.noted = true;
        }
        self
    }
}

/// Here everything is said; only what nobody could read any more is cut, each node by itself.
fn shorten(message: String) -> String {
    const LIMIT: usize = 8 << 10;
    text::cut_nodes(&message, LIMIT)
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
    pub conditions: Arc<[Condition]>,
    /// What is written in their place, where the author defines conditions.
    pub author: Option<Arc<[Condition]>>,
    /// What other clusters read of the hub's part.
    pub hub_values: Arc<HubValues>,
    /// The author's status fields.
    pub fields: Map<String, Value>,
    /// Nothing is under way.
    pub settled: bool,
    /// What stands on the cluster of the instance.
    pub stands: Stands,
    /// What stands on the mirror of the revision that it runs by.
    pub admitted: Option<Admitted>,
    /// What it says was read of the cluster.
    pub facts: Option<Arc<Facts>>,
}

/// What stands on a cluster of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stands {
    /// Not known.
    #[default]
    Unknown,
    Nothing,
    /// A mirror, which may say what version it is.
    Mirror(Option<Mark>),
}

impl Report {
    /// The conditions that the status shows.
    pub fn shown(&self) -> &[Condition] {
        self.author.as_ref().unwrap_or(&self.conditions)
    }

    /// Nobody can tell what stands here, and why.
    pub fn of_unseen(hub_uid: &str, why: String) -> Self {
        Self {
            hub_uid: hub_uid.to_owned(),
            generation: 0,
            revision: String::new(),
            state: InstanceState::Error,
            ready: 0,
            total: 0,
            message: why,
            conditions: condition::shared(&[]),
            author: None,
            hub_values: Arc::default(),
            fields: Map::new(),
            settled: true,
            stands: Stands::Unknown,
            admitted: None,
            facts: None,
        }
    }

    /// Nobody can tell what stands here, for as long as it stays like this.
    pub fn is_unseen(&self) -> bool {
        self.state == InstanceState::Error && self.stands == Stands::Unknown
    }

    /// What is wanted cannot be here: the cluster lacks a kind or a field, or its CRD cannot follow.
    pub fn does_not_fit(&self) -> bool {
        self.state == InstanceState::Error && self.conditions.iter().any(|c| c.reason == INCOMPATIBLE)
    }
}

/// The reason of what does not fit a cluster.
pub const INCOMPATIBLE: &str = "Incompatible";

/// The complete `.status` as kro writes it.
pub(super) fn status_value(report: &Report) -> Value {
    let mut status = report.fields.clone();
    status.insert("state".into(), json!(report.state.as_str()));
    status.insert("conditions".into(), serde_json::to_value(report.shown()).unwrap_or_default());
    Value::Object(status)
}

/// The conditions that stand in an object.
pub(super) fn written(object: &PackedObject) -> Vec<Condition> {
    let list = object.0.root().at(&["status", "conditions"]).map(At::unpack).unwrap_or_default();
    let list: Vec<Condition> = serde_json::from_value(list).unwrap_or_default();
    list.into_iter().filter(Condition::is_said).collect()
}

/// Whether an object has a status that was written about it as it is now.
pub(super) fn is_of_present(object: &PackedObject) -> bool {
    let conditions = written(object);
    let generation = object.generation();
    !conditions.is_empty() && conditions.iter().all(|c| c.observed_generation == generation)
}

/// The author's fields that stand in an object.
pub(super) fn written_fields(object: &PackedObject) -> Map<String, Value> {
    let own = |key: &str| matches!(key, "state" | "conditions" | "fleet" | "observedGeneration");
    let fields = object.0.root().get("status").into_iter().flat_map(At::entries);
    fields.filter(|(key, _)| !own(key)).map(|(key, value)| (key.to_owned(), value.unpack())).collect()
}

/// Whether a list of conditions is our own, and not an author's in its place.
pub fn is_own(list: &[Condition]) -> bool {
    DEPENDENTS.iter().all(|type_| list.iter().any(|c| c.type_ == *type_))
}

/// What takes the place of our conditions, on top of the list that stood there.
pub(super) fn author_conditions(
    before: Vec<Condition>,
    generation: i64,
    now: &Now,
    author: &AuthorConditions,
) -> Vec<Condition> {
    let own = is_own(&before);
    let stays = |c: &Condition| {
        let made = author.made.iter().any(|m| m.type_ == c.type_);
        // What the hub adds for tools is no author's.
        made || (author.incomplete && !own && !FOR_TOOLS.contains(&c.type_.as_str()))
    };
    let before = before.into_iter().filter(stays).collect();
    let mut list = Conditions::new(before, generation, &now.rfc3339);
    for made in &author.made {
        let status = match made.status.as_str() {
            "True" => ConditionStatus::True,
            "False" => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        };
        list.set(&made.type_, status, &made.reason, &made.message);
    }
    list.into_list()
}

/// Conditions from a summary, on top of those that were said before.
pub(super) fn conditions(
    mut before: Vec<Condition>,
    generation: i64,
    now: &Now,
    summary: &Summary,
) -> Vec<Condition> {
    before.retain(|c| c.type_ == READY || DEPENDENTS.contains(&c.type_.as_str()));
    let mut list = Conditions::new(before, generation, &now.rfc3339);
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
    let texts = |list: &[Condition]| -> Vec<Value> {
        list.iter().map(|c| json!([c.type_, c.status, c.reason, c.message])).collect()
    };
    let stands = match report.stands {
        Stands::Unknown => Value::Null,
        Stands::Nothing => json!(false),
        Stands::Mirror(mark) => json!([mark.map(Mark::text)]),
    };
    hash::json(&json!([
        report.generation,
        report.revision,
        report.state.as_str(),
        report.ready,
        report.total,
        report.message,
        texts(&report.conditions),
        report.author.as_deref().map(texts),
        report.hub_values.mark(),
        report.admitted.map(Admitted::text),
        report.facts.as_ref().map(|facts| facts.text()),
        report.fields,
        report.settled,
        stands
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::Moment;

    #[test]
    fn a_note_is_told_and_stops_nothing() {
        let well = || Summary::of(Vec::new(), 0, Map::new(), Vec::new(), None);
        assert!(well().is_well() && well().with_notes(&[]).is_well());
        let notes: Vec<String> = (0..5).map(|n| format!("note {n}")).collect();
        let noted = well().with_notes(&notes);
        assert_eq!(noted.state, InstanceState::Active);
        assert!(
            !noted.is_well() && noted.message.ends_with("ready; note 0; note 1; note 2; and 2 more"),
            "{}",
            noted.message
        );
    }

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
    fn a_node_is_as_the_worst_of_its_objects_and_tells_of_the_first_that_failed() {
        let failed = |why: &str| NodeState::Failed(Trouble::Conflict, why.into());
        let waiting = |why: &str| NodeState::Waiting(why.into());
        let cases = [
            (vec![], None),
            (vec![waiting("a"), waiting("b")], Some(waiting("a"))),
            (vec![waiting("a"), failed("b"), failed("c")], Some(failed("b; c"))),
            (vec![failed("a"), failed("a"), waiting("b")], Some(failed("a"))),
            (["a", "b", "c", "d", "e"].map(failed).to_vec(), Some(failed("a; b; c; 2 more failed"))),
        ];
        for (states, want) in cases {
            assert_eq!(NodeState::of_objects(states), want);
        }
    }

    fn condition(type_: &str, status: ConditionStatus, since: &str) -> Condition {
        let (reason, message) = ("Before".to_owned(), String::new());
        let last_transition_time = since.to_owned();
        Condition {
            type_: type_.into(),
            status,
            reason,
            message,
            last_transition_time,
            observed_generation: 1,
        }
    }

    fn author(types: &[(&str, &str)], incomplete: bool) -> AuthorConditions {
        let made = types.iter().map(|(type_, status)| crate::graph::AuthorCondition {
            type_: (*type_).into(),
            status: (*status).into(),
            reason: "Now".into(),
            message: String::new(),
        });
        AuthorConditions { made: made.collect(), incomplete, problems: Vec::new() }
    }

    #[test]
    fn case_152_154_what_an_author_says_takes_the_place_of_what_stood_there() {
        use ConditionStatus::{False, True, Unknown};
        let old = |types: &[&str]| -> Vec<Condition> {
            types.iter().map(|t| condition(t, True, "2026-01-01T00:00:00Z")).collect()
        };
        let own = [INSTANCE_MANAGED, GRAPH_RESOLVED, RESOURCES_READY, READY];
        let (before, after) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        type Row<'a> = (&'a str, Vec<Condition>, AuthorConditions, Vec<(&'a str, ConditionStatus, &'a str)>);
        let table: [Row; 7] = [
            ("new", old(&[]), author(&[("A", "True")], false), vec![("A", True, after)]),
            ("the same", old(&["A"]), author(&[("A", "True")], false), vec![("A", True, before)]),
            ("turned", old(&["A"]), author(&[("A", "False")], false), vec![("A", False, after)]),
            ("stale", old(&["A", "B"]), author(&[("A", "True")], false), vec![("A", True, before)]),
            (
                "kept while an entry waits",
                old(&["B"]),
                author(&[("A", "Unknown")], true),
                vec![("B", True, before), ("A", Unknown, after)],
            ),
            ("ours give way", old(&own), author(&[("A", "True")], true), vec![("A", True, after)]),
            ("an own Ready", old(&own), author(&[(READY, "True")], false), vec![(READY, True, before)]),
        ];
        let now = Now { at: Moment::START, rfc3339: after.into() };
        for (case, existing, author, want) in table {
            let list = author_conditions(existing, 2, &now, &author);
            let got: Vec<_> =
                list.iter().map(|c| (c.type_.as_str(), c.status, c.last_transition_time.as_str())).collect();
            assert_eq!(got, want, "{case}");
        }
    }

    #[test]
    fn case_152_what_an_author_cannot_say_is_an_error_of_the_instance() {
        let nodes = vec![("a".to_owned(), NodeState::Ready)];
        let fine = Summary::of(nodes, 1, Map::new(), vec![], None);
        let mut author = author(&[("A", "True")], false);
        assert_eq!(fine.clone().with_author_conditions(author.clone()).state, InstanceState::Active);
        author.problems = vec!["type B is given twice".into()];
        let summary = fine.with_author_conditions(author);
        assert_eq!(summary.state, InstanceState::Error);
        assert_eq!(summary.message, "status.conditions: type B is given twice");
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
