//! An instance down to its resources, on each of its clusters.

use super::document::View;
use super::fleet::Row;
use super::instance::ClusterLine;
use super::look::{Look, wide};
use super::nodes::NodeLine;
use super::{Mark, age};
use crate::api::Object;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Instances with their resources.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Traces {
    pub items: Vec<Trace>,
}

impl View for Traces {
    const KIND: &'static str = "TraceList";
}

/// One instance with its resources.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    pub spec: Subject,
    pub state: String,
    /// Of the condition Ready.
    pub reason: String,
    pub message: String,
    pub since: String,
    pub ready: usize,
    pub placed: usize,
    pub clusters: Vec<TracedCluster>,
}

impl View for Trace {
    const KIND: &'static str = "Trace";
}

/// Which instance it is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub generation: i64,
    /// The definition's newest revision.
    pub revision: i64,
}

/// Who read what is told of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The person's own context.
    Spokes,
    /// The credentials that the hub has, as the person may read them.
    HubCredentials,
    /// The status on the hub: nothing of resources is known.
    Hub,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracedCluster {
    #[serde(flatten)]
    pub line: ClusterLine,
    pub source: Source,
    /// Why nothing was read there.
    pub unread: String,
    pub nodes: Vec<NodeLine>,
}

/// What of a trace is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    /// Clusters that are well, too, down to their resources.
    pub all: bool,
    pub now: Timestamp,
    /// How the command is called here.
    pub program: &'static str,
}

impl Trace {
    pub fn new(object: &Object, row: &Row, revision: i64, clusters: Vec<TracedCluster>) -> Self {
        let since = super::instance::ready(object).2.to_owned();
        Self {
            spec: Subject {
                api_version: row.api_version.clone(),
                kind: row.kind.clone(),
                namespace: row.namespace.clone(),
                name: row.name.clone(),
                generation: row.generation,
                revision,
            },
            state: row.state.clone(),
            reason: row.reason.clone(),
            message: row.message.clone(),
            since,
            ready: row.ready,
            placed: row.placed,
            clusters,
        }
    }

    pub fn text(&self, look: &Look, shown: Shown) -> String {
        let mut out = self.head(look, shown);
        let branches = look.branches();
        let columns = Columns::of(&self.clusters, shown.now);
        for (at, cluster) in self.clusters.iter().enumerate() {
            let last = at + 1 == self.clusters.len();
            let begin = if last { branches.last } else { branches.middle };
            let below = if last { "   " } else { branches.below };
            out.push_str(&columns.line(cluster, begin, look, shown.now));
            let is_open = shown.all || cluster.line.mark != Mark::Ready || has_trouble(&cluster.nodes);
            if is_open {
                nodes(&mut out, &cluster.nodes, below, look, shown.now);
            }
            // What no node says is said of the cluster.
            let told = cluster.nodes.iter().any(|node| !node.message.is_empty() && node.mark == Mark::Failed);
            let of_cluster = cluster.line.mark == Mark::Failed && !told && !cluster.line.message.is_empty();
            if of_cluster {
                for line in look.wrapped(&cluster.line.message, wide(below) + 2) {
                    out.push_str(&format!("{below}  {line}\n"));
                }
            }
            // Where all is well, and nobody asks further, nothing is missing.
            if !cluster.unread.is_empty() && is_open && cluster.line.mark != Mark::Silent {
                for line in look.wrapped(&format!("not read there: {}", cluster.unread), wide(below) + 2) {
                    out.push_str(&format!("{below}  {line}\n"));
                }
            }
        }
        out.push_str(&self.foot(shown.program));
        out
    }

    fn head(&self, look: &Look, shown: Shown) -> String {
        let place = match self.spec.namespace.as_str() {
            "" => self.spec.name.clone(),
            namespace => format!("{namespace}/{}", self.spec.name),
        };
        let since = age::since(&self.since, shown.now);
        let state = if self.state.is_empty() { "not looked at yet" } else { self.state.as_str() };
        let behind = self.clusters.iter().filter_map(|c| c.line.revision).min();
        let revision = match (behind, self.spec.revision) {
            (_, 0) => String::new(),
            (Some(oldest), newest) if oldest < newest => format!("   revision {oldest} to {newest}"),
            (_, newest) => format!("   revision {newest} of {newest}"),
        };
        let title = look.bold(&format!("{} {place}", self.spec.kind));
        let mut out =
            format!("{title}   {state} {since}   {}/{} clusters{revision}\n", self.ready, self.placed);
        if self.clusters.is_empty() && !self.message.is_empty() {
            out.push_str(&format!("  {}: {}\n", self.reason, self.message));
        }
        out
    }

    /// Who said it, and what to do next.
    fn foot(&self, program: &str) -> String {
        let mut by: BTreeMap<Source, Vec<&str>> = BTreeMap::new();
        for cluster in &self.clusters {
            by.entry(cluster.source).or_default().push(&cluster.line.name);
        }
        let some = |names: &Vec<&str>| match names.as_slice() {
            [a, b, c, _, rest @ ..] => format!("{a}, {b}, {c} and {} more", rest.len() + 1),
            few => few.join(", "),
        };
        let parts: Vec<String> = by
            .iter()
            .map(|(source, names)| {
                let how = match source {
                    Source::Spokes => "by your contexts",
                    Source::HubCredentials => "with the hub's credentials",
                    Source::Hub => "by the hub",
                };
                format!("{} {how}", some(names))
            })
            .collect();
        let mut foot =
            if parts.is_empty() { String::new() } else { format!("read from: {}.", parts.join("; ")) };
        if let Some(reason) = self.next() {
            if !foot.is_empty() {
                foot.push_str("   ");
            }
            foot.push_str(&format!("next: {program} explain {reason}"));
        }
        if foot.is_empty() { foot } else { foot + "\n" }
    }

    /// The reason that explains most: that of a failure, else of a cluster without contact.
    fn next(&self) -> Option<&str> {
        const STATES: [&str; 4] = ["ACTIVE", "IN_PROGRESS", "ERROR", "DELETING"];
        let all = || self.clusters.iter().map(|c| &c.line);
        let special = |mark: Mark| all().find(|l| l.mark == mark && !STATES.contains(&l.state.as_str()));
        if self.state == "ACTIVE" {
            return None;
        }
        let of_cluster = special(Mark::Failed).or_else(|| special(Mark::Silent)).map(|l| l.state.as_str());
        of_cluster.or(Some(self.reason.as_str())).filter(|reason| !reason.is_empty())
    }
}

fn has_trouble(nodes: &[NodeLine]) -> bool {
    nodes.iter().any(|n| matches!(n.mark, Mark::Failed | Mark::Moving) || n.state == "missing")
}

/// How wide what stands in the lines of clusters is.
struct Columns {
    name: usize,
    state: usize,
    resources: usize,
    revision: usize,
}

impl Columns {
    fn of(clusters: &[TracedCluster], _now: Timestamp) -> Self {
        let most =
            |of: fn(&ClusterLine) -> usize| clusters.iter().map(|c| of(&c.line)).max().unwrap_or_default();
        Self {
            name: most(|l| l.name.len()),
            state: most(|l| l.state.len()),
            resources: most(|l| l.resources.len()),
            revision: most(|l| revision(l).len()),
        }
    }

    fn line(&self, cluster: &TracedCluster, begin: &str, look: &Look, now: Timestamp) -> String {
        let line = &cluster.line;
        let Self { name, state, resources, revision: rev } = *self;
        let text = format!(
            "{begin}{} {:name$}  {:state$}  {:resources$}  {:rev$}  {:4}",
            look.mark(line.mark),
            line.name,
            line.state,
            line.resources,
            revision(line),
            age::since(&line.since, now),
        );
        let mut text = text.trim_end().to_owned();
        if line.mark == Mark::Silent {
            let why = if line.message.is_empty() { "no contact" } else { &line.message };
            text.push_str(&format!("   {why}; changes since then are not there"));
        } else if line.mark == Mark::Moving && cluster.nodes.is_empty() && !line.message.is_empty() {
            text.push_str(&format!("   {}", line.message));
        }
        if !line.held.is_empty() {
            text.push_str(&format!("   held: {}", line.held));
        }
        text.push('\n');
        text
    }
}

fn revision(line: &ClusterLine) -> String {
    line.revision.map(|r| format!("r{r}")).unwrap_or_default()
}

/// Nodes under each other; what a node reads stands behind it, since a graph is no tree.
fn nodes(out: &mut String, all: &[NodeLine], before: &str, look: &Look, now: Timestamp) {
    let branches = look.branches();
    let most = |of: fn(&NodeLine) -> usize| all.iter().map(of).max().unwrap_or_default();
    let (id, object) = (most(|n| n.id.chars().count()), most(|n| n.object.chars().count()));
    let state = most(|n| n.state.chars().count());
    for (at, node) in all.iter().enumerate() {
        let last = at + 1 == all.len();
        let begin = if last { branches.last } else { branches.middle };
        let inside = if last { "   " } else { branches.below };
        let reads =
            if node.reads.is_empty() { String::new() } else { format!("<- {}", node.reads.join(", ")) };
        let line = format!(
            "{before}{begin}{} {:id$}  {:object$}  {:state$}  {:4} {reads}",
            look.mark(node.mark),
            node.id,
            node.object,
            node.state,
            age::since(&node.since, now),
        );
        out.push_str(line.trim_end());
        out.push('\n');
        let below = format!("{before}{inside}");
        if !node.message.is_empty() && node.mark != Mark::Ready {
            for line in look.wrapped(&node.message, wide(&below) + 3) {
                out.push_str(&format!("{below}   {line}\n"));
            }
        }
        for pod in &node.pods {
            let restarts =
                if pod.restarts > 0 { format!("  {} restarts", pod.restarts) } else { String::new() };
            out.push_str(&format!(
                "{below}   {} pod {}  {}{restarts}\n",
                look.mark(pod.mark),
                pod.name,
                pod.state
            ));
        }
        if !node.nodes.is_empty() {
            nodes(out, &node.nodes, &below, look, now);
        }
    }
}

#[cfg(test)]
#[allow(clippy::too_many_arguments)] // Of tests.
#[path = "trace_tests.rs"]
mod tests;
