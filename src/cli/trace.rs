//! `kro-hub trace`: an instance down to its resources on each cluster.

use super::connection::Connecting;
use super::find::{Found, find};
use super::get::chosen;
use super::graph::picture::Picture;
use super::graph::svg;
use super::show::{self, Showing};
use crate::api::Object;
use crate::api::cluster::Cluster;
use crate::api::names::InstanceKey;
use crate::edge::{
    Connection, Depth, Failure, Hub, Person, Target, Tracer, Watch, Way, Ways, follow, numbers, reach,
};
use crate::hub::identity::ClusterInfo;
use crate::view::Mark;
use crate::view::document::View;
use crate::view::fleet::{FleetTable, Wanted};
use crate::view::instance::{Around, ClusterLine, moves_with_its_kind};
use crate::view::kinds::Generated;
use crate::view::trace::{Shown, Source, Trace, TracedCluster, Traces};
use clap::{Args as ClapArgs, ValueEnum};
use futures::StreamExt;
use futures::future::try_join3;
use futures::stream;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

/// Clusters that are read at the same time.
const AT_ONCE: usize = 32;
/// After so long a person is told what is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// KIND NAME, or KIND/NAME; the kind alone means all of its instances
    #[arg(value_name = "INSTANCE", required = true)]
    words: Vec<String>,
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Open clusters that are well, too
    #[arg(long)]
    all: bool,
    /// Only this cluster
    #[arg(long, value_name = "NAME", conflicts_with = "clusters")]
    cluster: Option<String>,
    /// Only these clusters: names with commas, or a label selector
    #[arg(long, value_name = "NAMES|SELECTOR")]
    clusters: Option<String>,
    /// How deep instances within instances are opened
    #[arg(long, value_name = "N", default_value = "2")]
    depth: usize,
    /// The three worst pods of each workload
    #[arg(long)]
    pods: bool,
    /// Go on, and show what changes
    #[arg(short, long)]
    watch: bool,
    /// text, json, yaml, dot, mermaid or svg
    #[arg(short, long, value_enum, default_value = "text", hide_possible_values = true)]
    output: Format,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    showing: Showing,
    #[command(flatten)]
    connecting: Connecting,
}

/// By which ways clusters are read.
#[derive(Clone, Debug, ClapArgs)]
pub struct Reading {
    /// auto reads clusters by your contexts where there are any, and the hub for the others
    #[arg(long, value_enum, default_value = "auto", value_name = "SOURCE")]
    from: From,
    /// The context of a cluster, where it is not named like it
    #[arg(long, value_name = "NAME=CONTEXT", value_parser = pair)]
    spoke_context: Vec<(String, String)>,
    /// Read clusters with the kubeconfigs that the hub has, if you may read those Secrets
    #[arg(long)]
    hub_credentials: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    Auto,
    Hub,
    Spokes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Yaml,
    Dot,
    Mermaid,
    Svg,
}

pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, context)) if !name.is_empty() && !context.is_empty() => Ok((name.into(), context.into())),
        _ => Err("write NAME=CONTEXT".into()),
    }
}

impl Reading {
    /// Whether clusters are read at all.
    pub fn reads_clusters(&self) -> bool {
        self.from != From::Hub
    }

    /// By which ways they are read.
    pub fn ways(&self) -> Ways {
        Ways {
            contexts: self.from != From::Hub,
            named: self.spoke_context.iter().cloned().collect(),
            hub_credentials: self.hub_credentials && self.from != From::Hub,
        }
    }
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let connecting = args.connecting.clone();
    connecting.run(move || async move { trace(&args).await.map(|()| ExitCode::SUCCESS) })
}

async fn trace(args: &Args) -> Result<(), Failure> {
    let person = args.connecting.person()?;
    let hub = Hub::new(person.hub().await?);
    if !args.watch {
        return once(args, &person, &hub, "").await;
    }
    let found = find(&hub, &args.words, args.all_namespaces).await?;
    let watches = [Watch {
        connection: hub.connection.clone(),
        resource: found.kind.resource(),
        namespace: (!args.all_namespaces && found.kind.namespaced).then(|| hub.connection.namespace.clone()),
        selector: None,
    }];
    let terminal = std::io::stdout().is_terminal() && args.output == Format::Text;
    let before = if terminal { "\u{1b}[H\u{1b}[2J\u{1b}[3J" } else { "" };
    follow(&watches, async || once(args, &person, &hub, before).await.map(|()| true)).await
}

/// Reads all and shows it, after this text.
async fn once(args: &Args, person: &Person, hub: &Hub, before: &str) -> Result<(), Failure> {
    let found = find(hub, &args.words, args.all_namespaces).await?;
    let namespace = (!args.all_namespaces).then(|| hub.connection.namespace.clone());
    let (clusters, reports, snapshots) =
        try_join3(hub.clusters(), hub.reports(namespace.as_deref()), hub.revisions(None)).await?;
    let mut around = Around::new(numbers(&snapshots), &reports, &clusters);
    if found.objects.iter().any(moves_with_its_kind) {
        around = around.moved_by(&hub.placements(None).await?.unwrap_or_default());
    }
    let only = args.cluster.as_ref().or(args.clusters.as_ref());
    let only = only.map(|text| chosen(text, &clusters)).transpose()?;
    let wanted = Wanted { clusters: only, ..Wanted::default() };
    let tracer = Tracer::new(&found.kinds, snapshots.clone())?;
    let tracing = Tracing {
        reading: &args.reading,
        showing: &args.showing,
        depth: Depth { nested: args.depth, pods: args.pods },
        person,
        hub,
        found: &found,
        clusters: &clusters,
        tracer: &tracer,
    };
    let mut items = Vec::new();
    for object in &found.objects {
        let table = FleetTable::new(&[(&found.kind, object)], &clusters, &around, &wanted);
        let Some(row) = table.instances.first() else { continue };
        let traced = tracing.clusters(object, &row.clusters).await;
        items.push(Trace::new(object, row, found.kind.revision, traced));
    }
    args.showing.notes(hub.take_holes());
    show::print(&format!("{before}{}", shown(args, items)?));
    Ok(())
}

fn shown(args: &Args, mut items: Vec<Trace>) -> Result<String, Failure> {
    let named = args.words.len() > 1 || args.words.iter().any(|word| word.contains('/'));
    let look = args.showing.look();
    let text = |trace: &Trace| {
        trace.text(&look, Shown { all: args.all, now: Timestamp::now(), program: super::program() })
    };
    Ok(match args.output {
        Format::Text if items.is_empty() => "there are no instances\n".to_owned(),
        Format::Text => items.iter().map(text).collect::<Vec<_>>().join("\n"),
        Format::Json | Format::Yaml if items.len() == 1 && named => {
            let one = items.remove(0);
            if args.output == Format::Json { one.json() } else { one.yaml() }
        }
        Format::Json => Traces { items }.json(),
        Format::Yaml => Traces { items }.yaml(),
        Format::Dot | Format::Mermaid | Format::Svg => {
            let picture = picture(&items)?;
            match args.output {
                Format::Dot => picture.dot(),
                Format::Mermaid => picture.mermaid(),
                _ => svg::draw(&picture),
            }
        }
    })
}

/// The picture of one instance on one cluster: the one that is worst off.
fn picture(items: &[Trace]) -> Result<Picture, Failure> {
    let [trace] = items else {
        return Err(Failure::usage("a picture shows one instance: name it"));
    };
    let read = trace.clusters.iter().filter(|cluster| !cluster.nodes.is_empty());
    let Some(cluster) = read.min_by_key(|cluster| cluster.line.mark) else {
        return Err(Failure::usage("no cluster of it could be read, so there is nothing to draw"));
    };
    let place = [trace.spec.namespace.as_str(), trace.spec.name.as_str()];
    let place: Vec<&str> = place.into_iter().filter(|part| !part.is_empty()).collect();
    let title = format!("{} {} on {}", trace.spec.kind, place.join("/"), cluster.line.name);
    Ok(Picture::of_instance(title, &cluster.nodes))
}

/// Reads one instance on its clusters.
pub struct Tracing<'a> {
    pub reading: &'a Reading,
    pub showing: &'a Showing,
    pub depth: Depth,
    pub person: &'a Person,
    pub hub: &'a Hub,
    pub found: &'a Found,
    pub clusters: &'a [Object],
    pub tracer: &'a Tracer,
}

impl Tracing<'_> {
    /// All clusters of an instance, many at the same time; one that does not answer costs its own line alone.
    pub async fn clusters(&self, object: &Object, lines: &[ClusterLine]) -> Vec<TracedCluster> {
        let mut waits: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        let mut done: BTreeMap<usize, TracedCluster> = BTreeMap::new();
        let each =
            lines.iter().enumerate().map(|(at, line)| async move { (at, self.cluster(object, line).await) });
        let mut reading = stream::iter(each).buffer_unordered(AT_ONCE);
        let (mut told, mut pause) = (false, PATIENCE);
        let terminal = std::io::stderr().is_terminal();
        loop {
            let next = tokio::time::timeout(pause, reading.next()).await;
            match next {
                Ok(None) => break,
                Ok(Some((at, traced))) => {
                    waits.retain(|name| *name != traced.line.name);
                    done.insert(at, traced);
                }
                Err(_) => {
                    let first = waits.get(..waits.len().min(3)).unwrap_or_default().join(", ");
                    let begin = if terminal && told { "\u{1b}[1A\u{1b}[2K" } else { "" };
                    self.showing.note(&format!(
                        "{begin}{}/{} clusters, waiting for {first}",
                        done.len(),
                        lines.len()
                    ));
                    told = true;
                    if !terminal {
                        pause = Duration::from_secs(15);
                    }
                }
            }
        }
        done.into_values().collect()
    }

    async fn cluster(&self, object: &Object, line: &ClusterLine) -> TracedCluster {
        let by_hub = |unread: String| TracedCluster {
            line: line.clone(),
            source: Source::Hub,
            unread,
            nodes: Vec::new(),
        };
        let Some(cluster) = self.clusters.iter().find(|c| c.name() == line.name) else {
            return by_hub(String::new());
        };
        if self.reading.from == From::Hub {
            return by_hub(String::new());
        }
        // The controller has no contact; the person may have.
        let reached = reach(self.person, self.hub, cluster, &self.reading.ways()).await;
        let reached = match reached {
            Ok(reached) => reached,
            Err(failure) => return by_hub(failure.text),
        };
        match self.nodes(object, line, cluster, &reached).await {
            Ok(nodes) => {
                let (_, way) = reached;
                let source = if way == Way::HubCredentials { Source::HubCredentials } else { Source::Spokes };
                TracedCluster { line: line.clone(), source, unread: String::new(), nodes }
            }
            Err(failure) => by_hub(failure.text),
        }
    }

    async fn nodes(
        &self,
        object: &Object,
        line: &ClusterLine,
        cluster: &Object,
        (connection, way): &(Connection, Way),
    ) -> Result<Vec<crate::view::nodes::NodeLine>, Failure> {
        let facts = facts(cluster);
        let kind: &Generated = &self.found.kind;
        let target = Target {
            kind,
            key: InstanceKey::of(&object.object_ref()),
            revision: line.revision,
            facts: &facts,
            said: &line.said,
        };
        let hub = (*way != Way::Hub).then_some(&self.hub.connection);
        let place = self.tracer.place(connection, hub);
        let nodes = self.tracer.nodes(&place, &target, self.depth).await?;
        if nodes.is_empty() && line.mark == Mark::Ready {
            return Err(Failure::usage("the instance is not there"));
        }
        Ok(nodes)
    }
}

/// What `kro.cluster` is, as far as the hub has written it down.
pub fn facts(cluster: &Object) -> Value {
    let Ok(read) = serde_json::from_value::<Cluster>(cluster.0.clone()) else { return Value::Null };
    let status = read.status.unwrap_or_default();
    let info = ClusterInfo {
        id: status.cluster_id,
        system_uid: status.kube_system_uid,
        version: status.kubernetes_version,
    };
    info.facts(cluster, &read.spec).unwrap_or_default()
}
