//! One instance of the hub: how it stands as a whole and on each cluster.

use super::rolling::{KindRollouts, Told};
use super::{Mark, plain};
use crate::api::Object;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// How an instance stands on one cluster, as the hub knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterLine {
    pub name: String,
    pub mark: Mark,
    /// `ACTIVE`, `IN_PROGRESS`, `ERROR`, `DELETING`, or why there is nothing to say of it.
    pub state: String,
    /// Number of the definition's revision that it runs by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// How many of its resources are ready: `3/4`.
    pub resources: String,
    pub message: String,
    pub since: String,
    /// The version of a rollout that it is told to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// The stage of the rollout that it belongs to.
    pub stage: String,
    /// What it has by that rollout, and why no more.
    pub rollout: String,
    /// Why it does not have the newest version.
    pub held: String,
    /// The message in the words of the hub.
    #[serde(skip)]
    pub said: String,
}

/// What is around the instances of the hub.
#[derive(Debug, Default)]
pub struct Around<'a> {
    /// Numbers of revisions, by the hash of their graph.
    pub revisions: BTreeMap<String, i64>,
    /// InstanceReports, by namespace and what they are about: kind with group, and name.
    pub reports: BTreeMap<(String, String, String), Vec<&'a Object>>,
    /// The Cluster that is the hub itself.
    pub local: Option<&'a str>,
    /// How far the rollouts of whole kinds are.
    pub kinds: KindRollouts,
}

impl<'a> Around<'a> {
    pub fn new(revisions: BTreeMap<String, i64>, reports: &'a [Object], clusters: &'a [Object]) -> Self {
        let mut sorted: BTreeMap<_, Vec<&Object>> = BTreeMap::new();
        for report in reports {
            let text = |field| report.str_at(&format!("/report/instance/{field}")).to_owned();
            let kind = format!("{}.{}", text("kind"), text("group"));
            sorted.entry((report.namespace().to_owned(), kind, text("name"))).or_default().push(report);
        }
        let is_local = |c: &&Object| c.0.pointer("/spec/local").and_then(Value::as_bool) == Some(true);
        let local = clusters.iter().find(is_local).map(|c| c.name());
        Self { revisions, reports: sorted, local, kinds: KindRollouts::default() }
    }

    /// The same where these Placements and ClusterPlacements are known.
    #[must_use]
    pub fn moved_by(self, placements: &[Object]) -> Self {
        Self { kinds: KindRollouts::of(placements), ..self }
    }

    /// All clusters of an instance, by name.
    pub fn lines(&self, instance: &Object) -> Vec<ClusterLine> {
        let mut lines: BTreeMap<String, ClusterLine> = BTreeMap::new();
        let gk = instance.group_kind();
        let key = (
            instance.namespace().to_owned(),
            format!("{}.{}", gk.kind, gk.group),
            instance.name().to_owned(),
        );
        for report in self.reports.get(&key).into_iter().flatten() {
            let entries = report.0.pointer("/report/entries").and_then(Value::as_array);
            for entry in entries.into_iter().flatten() {
                let names = entry.get("clusters").and_then(Value::as_array).into_iter().flatten();
                for name in names.filter_map(Value::as_str) {
                    lines.insert(name.to_owned(), self.line(instance, name, entry));
                }
            }
        }
        let shown = instance.0.pointer("/status/fleet/clusters").and_then(Value::as_array);
        for entry in shown.into_iter().flatten() {
            let name = entry.get("name").and_then(Value::as_str).unwrap_or_default();
            lines.insert(name.to_owned(), self.line(instance, name, entry));
        }
        // Where only the hub itself is placed the status is kro's, and says nothing of clusters.
        let state = instance.str_at("/status/state");
        if let (None, Some(local), false) = (shown, self.local, state.is_empty()) {
            let (_, message, since) = ready(instance);
            let line = ClusterLine {
                name: local.to_owned(),
                mark: Mark::of_line(state),
                state: state.to_owned(),
                revision: None,
                resources: String::new(),
                message: if state == "ACTIVE" { String::new() } else { plain::message(message) },
                since: since.to_owned(),
                version: None,
                stage: String::new(),
                rollout: String::new(),
                held: String::new(),
                said: message.to_owned(),
            };
            lines.insert(local.to_owned(), line);
        }
        lines.into_values().collect()
    }

    fn line(&self, instance: &Object, name: &str, entry: &Value) -> ClusterLine {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        let revision = self.revisions.get(text("revision")).copied();
        let told = Told::of(instance, &self.kinds, entry, revision);
        ClusterLine {
            name: name.to_owned(),
            mark: Mark::of_line(text("state")),
            state: text("state").to_owned(),
            revision,
            resources: text("resources").to_owned(),
            message: plain::message(text("message")),
            since: text("since").to_owned(),
            version: entry.get("version").and_then(Value::as_i64),
            stage: text("stage").to_owned(),
            rollout: told.words,
            held: told.held,
            said: text("message").to_owned(),
        }
    }
}

/// Whether some cluster of it belongs to a stage of the rollout of its whole kind, which its ClusterPlacement tells of.
pub fn moves_with_its_kind(instance: &Object) -> bool {
    let fleet = |field: &str| instance.0.pointer(&format!("/status/fleet/{field}"));
    let field = if fleet("rollout").is_some() { "kindStage" } else { "stage" };
    let entries = fleet("clusters").and_then(Value::as_array).into_iter().flatten();
    let many = fleet("desired").and_then(Value::as_i64) > Some(100);
    many || entries.into_iter().any(|entry| entry.get(field).is_some())
}

/// Reason, message and time of the condition `Ready`.
pub fn ready(object: &Object) -> (&str, &str, &str) {
    condition(object, "Ready").map_or(("", "", ""), |c| {
        let text = |field: &str| c.get(field).and_then(Value::as_str).unwrap_or_default();
        (text("reason"), text("message"), text("lastTransitionTime"))
    })
}

/// A condition of an object.
pub fn condition<'o>(object: &'o Object, of_type: &str) -> Option<&'o Value> {
    let all = object.0.pointer("/status/conditions").and_then(Value::as_array)?;
    all.iter().find(|c| c.get("type").and_then(Value::as_str) == Some(of_type))
}

/// Whether a condition is True.
pub fn is_true(object: &Object, of_type: &str) -> bool {
    condition(object, of_type).and_then(|c| c.get("status")?.as_str()) == Some("True")
}
