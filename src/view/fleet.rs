//! Instances by clusters: who stands how where.

use super::document::View;
use super::instance::{Around, ClusterLine, ready};
use super::kinds::Generated;
use super::look::Look;
use super::registry::told;
use super::table::Table;
use super::{Mark, age};
use crate::api::Object;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Instances and how they stand on their clusters.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FleetTable {
    /// The clusters that there are, or that some instance names.
    pub clusters: Vec<Column>,
    pub instances: Vec<Row>,
    pub summary: Summary,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Column {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// `ACTIVE`, `IN_PROGRESS`, `ERROR`, `DELETING`; empty while nobody looked at it.
    pub state: String,
    /// Reason of the condition Ready.
    pub reason: String,
    pub message: String,
    /// Clusters where it is ready, and all that it is placed on.
    pub ready: usize,
    pub placed: usize,
    /// Revisions of the definition that its clusters run by.
    pub revisions: Vec<i64>,
    pub generation: i64,
    pub created: String,
    pub clusters: Vec<ClusterLine>,
}

/// Counted over all instances and clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    pub instances: usize,
    pub clusters: usize,
    pub ready: usize,
    pub progressing: usize,
    pub failed: usize,
    pub unreachable: usize,
}

impl View for FleetTable {
    const KIND: &'static str = "FleetTable";
}

/// Which instances are shown.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only those where something is not ready.
    pub problems: bool,
    /// Only those that stand like this somewhere.
    pub state: Option<Mark>,
    /// Only these clusters.
    pub clusters: Option<BTreeSet<String>>,
}

/// How the table is laid out.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// A column for each value of this label instead of one for each cluster.
    pub group_by: Option<String>,
    pub wide: bool,
    pub namespaces: bool,
    /// What fails is told of all, however many they are.
    pub all_failures: bool,
}

/// Of what fails, so much is told under a table that is not about failures.
const TOLD: usize = 20;

impl FleetTable {
    pub fn new(
        instances: &[(&Generated, &Object)],
        clusters: &[Object],
        around: &Around<'_>,
        wanted: &Wanted,
    ) -> Self {
        let shown = |name: &str| wanted.clusters.as_ref().is_none_or(|only| only.contains(name));
        let mut columns: BTreeMap<String, BTreeMap<String, String>> =
            clusters.iter().map(|c| (c.name().to_owned(), c.labels())).collect();
        let mut rows = Vec::new();
        for (kind, object) in instances {
            let mut lines = around.lines(object);
            lines.retain(|line| shown(&line.name));
            for line in &lines {
                columns.entry(line.name.clone()).or_default();
            }
            let row = Row::of(kind, object, lines);
            let has = |mark: Mark| row.clusters.iter().any(|line| line.mark == mark);
            let is_well = row.state == "ACTIVE" && row.clusters.iter().all(|l| l.mark == Mark::Ready);
            if !(wanted.problems && is_well) && wanted.state.is_none_or(has) {
                rows.push(row);
            }
        }
        rows.sort_by(|a, b| (&a.namespace, &a.kind, &a.name).cmp(&(&b.namespace, &b.kind, &b.name)));
        columns.retain(|name, _| shown(name));
        let columns: Vec<Column> =
            columns.into_iter().map(|(name, labels)| Column { name, labels }).collect();
        let summary = Summary::of(&rows, columns.len());
        Self { clusters: columns, instances: rows, summary }
    }

    pub fn text(&self, look: &Look, layout: &Layout, now: Timestamp) -> String {
        let columns = Columns::choose(self, look, layout, now);
        let mut out = self.table(&columns, look, layout, now).text(look);
        let failures = self.failures(now);
        let most = if layout.all_failures { usize::MAX } else { TOLD };
        out.push_str(&told(look, failures.get(..most).unwrap_or(&failures)));
        if failures.len() > most {
            out.push_str(&format!("  and {} more: --problems\n", failures.len() - most));
        }
        out.push_str(&self.summary.text());
        out
    }

    fn table(&self, columns: &Columns, look: &Look, layout: &Layout, now: Timestamp) -> Table {
        let mut heads: Vec<String> = Vec::new();
        if layout.namespaces {
            heads.push("NAMESPACE".into());
        }
        heads.extend(["INSTANCE", "READY", "REV"].map(str::to_owned));
        heads.extend(columns.heads());
        heads.push("AGE".into());
        if layout.wide {
            heads.extend(["STATE", "REASON"].map(str::to_owned));
        }
        let mut table = Table::new(heads);
        for row in &self.instances {
            let mut cells = Vec::new();
            if layout.namespaces {
                cells.push(row.namespace.clone());
            }
            cells.push(row.title());
            cells.push(format!("{}/{}", row.ready, row.placed));
            let revisions: Vec<String> = row.revisions.iter().map(i64::to_string).collect();
            cells.push(revisions.join(","));
            cells.extend(columns.cells(row, look));
            cells.push(age::since(&row.created, now));
            if layout.wide {
                cells.extend([row.state.clone(), row.reason.clone()]);
            }
            table.row(cells);
        }
        table.narrowed(look, &["AGE", "NAMESPACE"])
    }

    /// What fails, the worst first.
    fn failures(&self, now: Timestamp) -> Vec<(Mark, String)> {
        let mut all = Vec::new();
        for row in &self.instances {
            let place = row.place();
            for line in row.clusters.iter().filter(|line| line.mark == Mark::Failed) {
                let since = age::since(&line.since, now);
                let since = if since.is_empty() { since } else { format!(", {since}") };
                let why = if line.message.is_empty() { &line.state } else { &line.message };
                all.push((Mark::Failed, format!("{place} on {}{since}: {why}", line.name)));
            }
            // What is wrong with no cluster in particular: not placed, a held shrink.
            let told = row.clusters.iter().any(|line| line.mark != Mark::Ready);
            if !told && row.state != "ACTIVE" && !row.reason.is_empty() {
                let mark = if row.state == "ERROR" { Mark::Failed } else { Mark::Moving };
                all.push((mark, format!("{place}: {}: {}", row.reason, row.message)));
            }
        }
        all.sort_by_key(|(mark, _)| *mark);
        all
    }
}

impl Row {
    fn of(kind: &Generated, object: &Object, clusters: Vec<ClusterLine>) -> Self {
        let (reason, message, _) = ready(object);
        let state = object.str_at("/status/state").to_owned();
        let revisions: BTreeSet<i64> = clusters.iter().filter_map(|line| line.revision).collect();
        Self {
            api_version: kind.gvk.api_version(),
            kind: kind.gvk.kind.to_string(),
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            reason: reason.to_owned(),
            message: if state == "ACTIVE" { String::new() } else { message.to_owned() },
            state,
            ready: clusters.iter().filter(|line| line.mark == Mark::Ready).count(),
            placed: clusters.len(),
            revisions: revisions.into_iter().collect(),
            generation: object.generation(),
            created: object.str_at("/metadata/creationTimestamp").to_owned(),
            clusters,
        }
    }

    /// `webapp/shop`.
    pub fn title(&self) -> String {
        format!("{}/{}", self.kind.to_lowercase(), self.name)
    }

    fn place(&self) -> String {
        match self.namespace.as_str() {
            "" => self.name.clone(),
            namespace => format!("{namespace}/{}", self.name),
        }
    }
}

impl Summary {
    fn of(rows: &[Row], clusters: usize) -> Self {
        let lines = || rows.iter().flat_map(|row| &row.clusters);
        let count = |marks: &[Mark]| lines().filter(|line| marks.contains(&line.mark)).count();
        Self {
            instances: rows.len(),
            clusters,
            ready: count(&[Mark::Ready]),
            progressing: count(&[Mark::Moving, Mark::Absent]),
            failed: count(&[Mark::Failed]),
            unreachable: count(&[Mark::Silent]),
        }
    }

    fn text(&self) -> String {
        let many = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
        let counts = [
            (self.ready, "ready"),
            (self.progressing, "under way"),
            (self.failed, "failed"),
            (self.unreachable, "without contact"),
        ];
        let counts: Vec<String> =
            counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        let counts = if counts.is_empty() { "nothing placed".to_owned() } else { counts.join(", ") };
        let (instances, clusters) = (many(self.instances, "instance"), many(self.clusters, "cluster"));
        format!("{instances} on {clusters}: {counts}\n")
    }
}

/// What stands between READY and AGE.
enum Columns {
    /// Names of clusters.
    Each(Vec<String>),
    /// Values of a label, and the clusters that have it.
    Groups(Vec<(String, BTreeSet<String>)>),
    Nothing,
}

impl Columns {
    fn choose(table: &FleetTable, look: &Look, layout: &Layout, now: Timestamp) -> Self {
        let each = || Self::Each(table.clusters.iter().map(|c| c.name.clone()).collect());
        if let Some(label) = &layout.group_by {
            return Self::by(&table.clusters, label);
        }
        let Some(width) = look.width else { return each() };
        if table.table(&each(), look, layout, now).width() <= width {
            return each();
        }
        match common_label(&table.clusters) {
            Some(label) => Self::by(&table.clusters, &label),
            None => Self::Nothing,
        }
    }

    fn by(clusters: &[Column], label: &str) -> Self {
        let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for cluster in clusters {
            let value = cluster.labels.get(label).map_or("<none>", String::as_str);
            groups.entry(value.to_owned()).or_default().insert(cluster.name.clone());
        }
        Self::Groups(groups.into_iter().collect())
    }

    fn heads(&self) -> Vec<String> {
        match self {
            Self::Each(names) => names.iter().map(|name| name.to_uppercase()).collect(),
            Self::Groups(groups) => groups
                .iter()
                .map(|(value, all)| format!("{} ({})", value.to_uppercase(), all.len()))
                .collect(),
            Self::Nothing => Vec::new(),
        }
    }

    fn cells(&self, row: &Row, look: &Look) -> Vec<String> {
        let line = |name: &String| row.clusters.iter().find(|line| line.name == *name);
        match self {
            Self::Each(names) => names
                .iter()
                .map(|name| match line(name) {
                    None => look.mark(Mark::Unplaced),
                    Some(line) => {
                        let newest = row.revisions.last();
                        let revision = line.revision.filter(|r| Some(r) != newest);
                        let revision = revision.map(|r| r.to_string()).unwrap_or_default();
                        format!("{}{revision}", look.mark(line.mark))
                    }
                })
                .collect(),
            Self::Groups(groups) => groups
                .iter()
                .map(|(_, names)| {
                    let lines: Vec<&ClusterLine> = names.iter().filter_map(line).collect();
                    let ready = lines.iter().filter(|line| line.mark == Mark::Ready).count();
                    match lines.iter().map(|line| line.mark).min() {
                        None => look.mark(Mark::Unplaced),
                        Some(worst) => look.painted(worst, &format!("{ready}/{}", lines.len())),
                    }
                })
                .collect(),
            Self::Nothing => Vec::new(),
        }
    }
}

/// The label that all clusters have and that makes the fewest groups over one.
fn common_label(clusters: &[Column]) -> Option<String> {
    let first = clusters.first()?;
    let groups = |label: &String| {
        let values: Option<BTreeSet<&String>> = clusters.iter().map(|c| c.labels.get(label)).collect();
        values.map(|values| values.len()).filter(|count| *count > 1)
    };
    let counted = first.labels.keys().filter_map(|label| Some((groups(label)?, label)));
    counted.min().map(|(_, label)| label.clone())
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
