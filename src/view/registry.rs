//! What the hub has registered: its clusters and its definitions.

use super::document::View;
use super::instance::{is_true, ready};
use super::kinds::Generated;
use super::look::Look;
use super::table::Table;
use super::{Mark, age};
use crate::api::Object;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Registered clusters.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClusterTable {
    pub clusters: Vec<ClusterRow>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRow {
    pub name: String,
    pub mark: Mark,
    pub ready: bool,
    /// Reason of the condition Ready.
    pub reason: String,
    pub message: String,
    /// Since when Ready is as it is.
    pub since: String,
    pub local: bool,
    pub version: String,
    /// Instances that hold content there.
    pub instances: i64,
    pub labels: BTreeMap<String, String>,
    pub created: String,
}

impl View for ClusterTable {
    const KIND: &'static str = "ClusterTable";
}

fn text(object: &Object, pointer: &str) -> String {
    object.str_at(pointer).to_owned()
}

fn number(object: &Object, pointer: &str) -> i64 {
    object.0.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

impl ClusterTable {
    pub fn new(clusters: &[Object]) -> Self {
        let mut rows: Vec<ClusterRow> = clusters.iter().map(ClusterRow::of).collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Self { clusters: rows }
    }

    /// `wide`: labels too.
    pub fn text(&self, look: &Look, wide: bool, now: Timestamp) -> String {
        if self.clusters.is_empty() {
            return "no clusters are registered: kro-hub reads a labelled kubeconfig Secret, see docs/clusters.md\n"
                .into();
        }
        let mut heads = vec!["NAME", "READY", "VERSION", "INSTANCES", "AGE"];
        if wide {
            heads.push("LABELS");
        }
        let mut table = Table::new(heads);
        let mut wrong = Vec::new();
        for row in &self.clusters {
            let local = if row.local { " (hub)" } else { "" };
            let since = age::since(&row.since, now);
            let state = if row.ready { since.clone() } else { format!("{} {since}", row.reason) };
            let mut cells = vec![
                format!("{}{local}", row.name),
                format!("{} {state}", look.mark(row.mark)).trim_end().to_owned(),
                row.version.clone(),
                row.instances.to_string(),
                age::since(&row.created, now),
            ];
            if wide {
                let labels: Vec<String> = row.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                cells.push(labels.join(","));
            }
            table.row(cells);
            if !row.ready && !row.message.is_empty() {
                wrong.push((row.mark, format!("{}: {}", row.name, row.message)));
            }
        }
        let mut out = table.narrowed(look, &["AGE"]).text(look);
        out.push_str(&told(look, &wrong));
        out
    }
}

impl ClusterRow {
    fn of(cluster: &Object) -> Self {
        let (reason, message, since) = ready(cluster);
        let is_ready = is_true(cluster, "Ready");
        let mark = match reason {
            _ if is_ready => Mark::Ready,
            "Connecting" | "Leaving" | "AwaitingReconciliation" => Mark::Moving,
            "Unreachable" => Mark::Silent,
            "Paused" => Mark::Absent,
            _ => Mark::Failed,
        };
        Self {
            name: cluster.name().to_owned(),
            mark,
            ready: is_ready,
            reason: reason.to_owned(),
            message: if is_ready { String::new() } else { message.to_owned() },
            since: since.to_owned(),
            local: cluster.0.pointer("/spec/local").and_then(Value::as_bool).unwrap_or_default(),
            version: text(cluster, "/status/kubernetesVersion"),
            instances: number(cluster, "/status/instances"),
            labels: cluster.labels(),
            created: text(cluster, "/metadata/creationTimestamp"),
        }
    }
}

/// Definitions of the hub.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DefinitionTable {
    pub definitions: Vec<DefinitionRow>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionRow {
    pub name: String,
    pub mark: Mark,
    /// The kind that it generates, with its group.
    pub kind: String,
    pub state: String,
    pub reason: String,
    pub message: String,
    /// The revision that was issued last.
    pub revision: i64,
    /// Clusters that it was judged for, and those that it fits.
    pub clusters: i64,
    pub compatible: i64,
    pub created: String,
}

impl View for DefinitionTable {
    const KIND: &'static str = "DefinitionTable";
}

impl DefinitionTable {
    pub fn new(definitions: &[Object]) -> Self {
        let mut rows: Vec<DefinitionRow> = definitions.iter().map(DefinitionRow::of).collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Self { definitions: rows }
    }

    pub fn text(&self, look: &Look, now: Timestamp) -> String {
        if self.definitions.is_empty() {
            return "the hub has no definitions\n".into();
        }
        let mut table = Table::new(["NAME", "KIND", "STATE", "REV", "FITS", "AGE"]);
        let mut wrong = Vec::new();
        for row in &self.definitions {
            let fits = match row.clusters {
                0 => String::new(),
                all => format!("{}/{all}", row.compatible),
            };
            table.row(vec![
                row.name.clone(),
                row.kind.clone(),
                format!("{} {}", look.mark(row.mark), row.state),
                row.revision.to_string(),
                fits,
                age::since(&row.created, now),
            ]);
            if row.mark != Mark::Ready && !row.message.is_empty() {
                wrong.push((row.mark, format!("{}: {}: {}", row.name, row.reason, row.message)));
            }
        }
        let mut out = table.narrowed(look, &["AGE"]).text(look);
        out.push_str(&told(look, &wrong));
        out
    }
}

impl DefinitionRow {
    fn of(definition: &Object) -> Self {
        let (reason, message, _) = ready(definition);
        let state = text(definition, "/status/state");
        let kind = Generated::of(definition);
        let mark = match (is_true(definition, "Ready"), reason) {
            (true, _) => Mark::Ready,
            (false, "" | "AwaitingReconciliation" | "WaitingForGraphRevisionCompilation") => Mark::Moving,
            (false, "InstancesExist") => Mark::Absent,
            _ => Mark::Failed,
        };
        Self {
            name: definition.name().to_owned(),
            mark,
            kind: kind.map(|kind| kind.full()).unwrap_or_default(),
            state: if state.is_empty() { "Unknown".into() } else { state },
            reason: reason.to_owned(),
            message: if mark == Mark::Ready { String::new() } else { message.to_owned() },
            revision: number(definition, "/status/lastIssuedRevision"),
            clusters: number(definition, "/status/fleet/clusters"),
            compatible: number(definition, "/status/fleet/compatible"),
            created: text(definition, "/metadata/creationTimestamp"),
        }
    }
}

/// What is wrong, in full, under the table.
pub fn told(look: &Look, wrong: &[(Mark, String)]) -> String {
    let mut out = String::new();
    for (mark, text) in wrong {
        for (at, line) in look.wrapped(text, 2).iter().enumerate() {
            let begin = if at == 0 { format!("{} ", look.mark(*mark)) } else { "  ".to_owned() };
            out.push_str(&format!("{begin}{line}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LOOK: Look = Look { colour: false, utf8: true, width: None };

    fn now() -> Timestamp {
        "2026-01-10T00:00:00Z".parse().unwrap()
    }

    fn cluster(name: &str, status: &str, reason: &str, message: &str) -> Object {
        Object(
            json!({"metadata": {"name": name, "creationTimestamp": "2026-01-06T00:00:00Z", "labels": {"region": name}},
            "spec": {"local": name == "here"},
            "status": {"kubernetesVersion": "v1.37.2", "instances": 3, "conditions": [{"type": "Ready", "status": status,
                "reason": reason, "message": message, "lastTransitionTime": "2026-01-09T23:50:00Z"}]}}),
        )
    }

    #[test]
    fn clusters_say_why_they_are_not_ready() {
        let all = [
            cluster("us", "False", "Unreachable", "connecting fails"),
            cluster("here", "True", "Ready", ""),
            cluster("eu", "False", "KubeconfigRefused", "users[0].user.exec: programs are not run"),
        ];
        let table = ClusterTable::new(&all);
        assert_eq!(crate::view::schemas::wrong(&table), [""; 0]);
        assert_eq!(
            table.text(&LOOK, true, now()),
            "NAME        READY                    VERSION  INSTANCES  AGE  LABELS\n\
             eu          ✗ KubeconfigRefused 10m  v1.37.2  3          4d   region=eu\n\
             here (hub)  ✓ 10m                    v1.37.2  3          4d   region=here\n\
             us          ? Unreachable 10m        v1.37.2  3          4d   region=us\n\
             ✗ eu: users[0].user.exec: programs are not run\n\
             ? us: connecting fails\n"
        );
    }

    #[test]
    fn definitions_say_what_they_generate_and_where_they_fit() {
        let definition = |name: &str, kind: &str, status: Value| {
            Object(json!({"metadata": {"name": name, "creationTimestamp": "2026-01-06T00:00:00Z"},
                "spec": {"schema": {"kind": kind, "apiVersion": "v1"}}, "status": status}))
        };
        let ready = |status: &str, reason: &str, message: &str| {
            json!([{"type": "Ready", "status": status,
            "reason": reason, "message": message, "lastTransitionTime": "2026-01-09T23:50:00Z"}])
        };
        let all = [
            definition(
                "webapp",
                "WebApp",
                json!({"state": "Active", "lastIssuedRevision": 7,
                "fleet": {"clusters": 38, "compatible": 36}, "conditions": ready("True", "Ready", "")}),
            ),
            definition(
                "bad",
                "Bad",
                json!({"state": "Inactive",
                "conditions": ready("False", "InvalidResourceGraph", "spec.resources[0]: no kind")}),
            ),
            definition("new", "New", json!({})),
        ];
        assert_eq!(crate::view::schemas::wrong(&DefinitionTable::new(&all)), [""; 0]);
        assert_eq!(
            DefinitionTable::new(&all).text(&LOOK, now()),
            "NAME    KIND            STATE       REV  FITS   AGE\n\
             bad     Bad.kro.run     ✗ Inactive  0           4d\n\
             new     New.kro.run     ~ Unknown   0           4d\n\
             webapp  WebApp.kro.run  ✓ Active    7    36/38  4d\n\
             ✗ bad: InvalidResourceGraph: spec.resources[0]: no kind\n"
        );
    }
}
