//! `kro-hub events`: what happened to an instance, on the hub and on its clusters.

use super::connection::{Connecting, duration};
use super::find::{Found, one};
use super::show::{self, Format, Showing};
use super::trace::{Reading, Tracing};
use crate::api::Object;
use crate::edge::{Failure, Hub, Person, Tracer, Watch, event_resource, events, follow, numbers, reach};
use crate::view::document::View;
use crate::view::events::{About, EventList};
use crate::view::instance::Around;
use crate::view::nodes::NodeLine;
use crate::view::trace::{Source, TracedCluster};
use clap::Args as ClapArgs;
use futures::future::{join_all, try_join3};
use jiff::{SignedDuration, Timestamp};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// KIND NAME, or KIND/NAME
    #[arg(value_name = "INSTANCE", required = true)]
    words: Vec<String>,
    /// Only what is not older
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    since: Duration,
    /// Go on, and show what is new
    #[arg(short, long)]
    watch: bool,
    /// text, json or yaml
    #[arg(short, long, value_enum, default_value = "text", hide_possible_values = true)]
    output: Format,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    showing: Showing,
    #[command(flatten)]
    connecting: Connecting,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let connecting = args.connecting.clone();
    connecting.run(move || async move { run_events(&args).await.map(|()| ExitCode::SUCCESS) })
}

async fn run_events(args: &Args) -> Result<(), Failure> {
    let person = args.connecting.person()?;
    let hub = Hub::new(person.hub().await?);
    if !args.watch {
        let list = read(args, &person, &hub).await?;
        show::print(&shown(args, &list));
        return Ok(());
    }
    let watches = watches(args, &person, &hub).await?;
    let mut seen = EventList::default();
    follow(&watches, async || {
        let mut list = read(args, &person, &hub).await?;
        list.events.retain(|event| !seen.events.contains(event));
        seen.events.extend(list.events.iter().cloned());
        if !list.events.is_empty() {
            show::print(&shown(args, &list));
        }
        Ok(true)
    })
    .await
}

/// What is watched: the instance, and events where it is, on the hub and on each cluster that can be read.
async fn watches(args: &Args, person: &Person, hub: &Hub) -> Result<Vec<Watch>, Failure> {
    let (found, object) = one(hub, &args.words).await?;
    let namespace = found.kind.namespaced.then(|| hub.connection.namespace.clone());
    let place = namespace.clone().unwrap_or_else(|| "default".to_owned());
    let events = |connection| Watch {
        connection,
        resource: event_resource(),
        namespace: Some(place.clone()),
        selector: None,
    };
    let instance = Watch {
        connection: hub.connection.clone(),
        resource: found.kind.resource(),
        namespace,
        selector: None,
    };
    let mut all = vec![instance, events(hub.connection.clone())];
    let lines = Around::default().lines(&object);
    for cluster in hub.clusters().await? {
        let is_there = lines.iter().any(|line| line.name == cluster.name());
        if is_there && args.reading.reads_clusters() {
            // One that cannot be read is named where it is read.
            let reached = reach(person, hub, &cluster, &args.reading.ways()).await;
            all.extend(reached.ok().map(|(connection, _)| events(connection)));
        }
    }
    Ok(all)
}

fn shown(args: &Args, list: &EventList) -> String {
    match args.output {
        Format::Json => list.json(),
        Format::Yaml => list.yaml(),
        Format::Text | Format::Wide => list.text(&args.showing.look()),
    }
}

async fn read(args: &Args, person: &Person, hub: &Hub) -> Result<EventList, Failure> {
    let (found, object) = one(hub, &args.words).await?;
    let namespace = Some(object.namespace()).filter(|n| !n.is_empty());
    let (clusters, reports, snapshots) =
        try_join3(hub.clusters(), hub.reports(namespace), hub.revisions(None)).await?;
    let around = Around::new(numbers(&snapshots), &reports, &clusters);
    let lines = around.lines(&object);
    let tracer = Tracer::new(&found.kinds, snapshots.clone())?;
    let tracing = Tracing {
        reading: &args.reading,
        showing: &args.showing,
        depth: crate::edge::Depth { nested: 2, pods: false },
        person,
        hub,
        found: &found,
        clusters: &clusters,
        tracer: &tracer,
    };
    let traced = tracing.clusters(&object, &lines).await;
    let since = Timestamp::now()
        .checked_sub(SignedDuration::try_from(args.since).unwrap_or(SignedDuration::MAX))
        .unwrap_or(Timestamp::MIN);
    let own = About { kind: object.kind().to_owned(), name: object.name().to_owned(), with_offspring: false };
    let mut list = EventList::default();
    // Events about what has no namespace stand in `default`.
    let place = namespace.unwrap_or("default");
    list.add("hub", &hub.events(Some(place)).await?, std::slice::from_ref(&own), since);
    let each = traced.iter().filter(|c| c.source != Source::Hub).map(|cluster| {
        let (about, tracing) = (about(&found, &own, cluster), &tracing);
        async move { (cluster.line.name.clone(), told(tracing, cluster, place).await, about) }
    });
    for (name, read, about) in join_all(each).await {
        match read {
            Ok(events) => list.add(&name, &events, &about, since),
            Err(failure) => args.showing.note(&format!("note: {name}: {failure}")),
        }
    }
    for cluster in traced.iter().filter(|c| c.source == Source::Hub && !c.unread.is_empty()) {
        args.showing.note(&format!("note: {} is not read: {}", cluster.line.name, cluster.unread));
    }
    args.showing.notes(hub.take_holes());
    Ok(list)
}

async fn told(
    tracing: &Tracing<'_>,
    cluster: &TracedCluster,
    namespace: &str,
) -> Result<Vec<Object>, Failure> {
    let object = tracing.clusters.iter().find(|c| c.name() == cluster.line.name);
    let Some(object) = object else { return Ok(Vec::new()) };
    let (connection, _) = reach(tracing.person, tracing.hub, object, &tracing.reading.ways()).await?;
    events(&connection, Some(namespace)).await
}

/// The mirror, and all that it makes there.
fn about(found: &Found, own: &About, cluster: &TracedCluster) -> Vec<About> {
    let mut out = vec![About { kind: found.kind.gvk.kind.to_string(), ..own.clone() }];
    let mut open: Vec<&NodeLine> = cluster.nodes.iter().collect();
    while let Some(node) = open.pop() {
        if let Some((kind, name)) = node.object.split_once('/').filter(|_| !node.external) {
            out.push(About { kind: kind.to_owned(), name: name.to_owned(), with_offspring: true });
        }
        open.extend(&node.nodes);
    }
    out
}
