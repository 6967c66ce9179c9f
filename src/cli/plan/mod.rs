//! `kro-hub plan`: what objects in files would change on each cluster as it is. Nothing is stored.

mod deciding;
mod overlay;
mod reading;
#[cfg(test)]
mod tests;

use super::cluster::confirm;
use super::connection::Connecting;
use super::diff::comparing::{Revision, definitions, registered};
use super::diff::placing::Policies;
use super::diff::side::Side;
use super::get::chosen;
use super::show::{self, Showing};
use super::validate::{self, Judged, Judging};
use crate::api::names::ClusterName;
use crate::edge::planning::{Planner, Stage};
use crate::edge::{Failure, Hub, Person, Sort, Way, Ways, reach};
use crate::view::changes::{
    Action, Changes, DefinitionChange, InstanceChanges, OfCluster, Outcome, Plan, Told, Unplanned, groups,
};
use crate::view::document::View;
use clap::{Args as ClapArgs, ValueEnum};
use deciding::{Decided, Orders};
use futures::{StreamExt, stream};
use overlay::Deleted;
use reading::Read;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Clusters that are planned at the same time.
const AT_ONCE: usize = 32;
/// So many objects may be tried without asking.
const MOST_TRIED: usize = 5_000;
/// The exit code where something changes.
const CHANGES: u8 = 2;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Files, or folders: definitions, instances, Placements, Clusters; - is standard input
    #[arg(short = 'f', long = "filename", value_name = "PATH", required_unless_present = "delete", num_args = 1..)]
    paths: Vec<PathBuf>,
    /// Plan that this is deleted; may be given more than once
    #[arg(long, value_name = "KIND/NAME", value_parser = overlay::deleted)]
    delete: Vec<Deleted>,
    /// Only these clusters: names with commas, or a label selector
    #[arg(long, value_name = "NAMES|SELECTOR")]
    clusters: Option<String>,
    /// What a cluster without contact means: a failure, or no more than its line
    #[arg(long, value_enum, default_value = "fail", value_name = "WHAT")]
    unreachable: Unreachable,
    /// Name the clusters where nothing changes
    #[arg(long)]
    show_same: bool,
    /// How to show it: markdown is a comment for a pull request, github what a workflow shows
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORM")]
    output: Format,
    /// Clusters are read by your contexts
    #[arg(long, value_enum, default_value = "spokes", value_name = "SOURCE")]
    from: From,
    /// The context of a cluster, where it is not named like it
    #[arg(long, value_name = "NAME=CONTEXT", value_parser = super::trace::pair)]
    spoke_context: Vec<(String, String)>,
    /// Try it with the kubeconfigs that the hub has, if you may read those Secrets
    #[arg(long)]
    hub_credentials: bool,
    /// Namespace of the controller on the hub
    #[arg(long, value_name = "NAME", default_value = "kro-hub")]
    hub_namespace: String,
    /// Do not ask, however much there is to try
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    judging: Judging,
    #[command(flatten)]
    showing: Showing,
    #[command(flatten)]
    connecting: Connecting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Unreachable {
    Fail,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    Spokes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Yaml,
    Markdown,
    Github,
}

/// Prints what would change: 0 nothing, 2 something, 1 something is refused, or a cluster could not be looked at.
pub fn run(args: Args) -> ExitCode {
    let connecting = args.connecting.clone();
    connecting.run(move || async move { plan(&args).await })
}

fn wrong(error: anyhow::Error) -> Failure {
    Failure::usage(format!("{error:#}"))
}

async fn plan(args: &Args) -> Result<ExitCode, Failure> {
    let person = args.connecting.person()?;
    let hub = Hub::new(person.hub().await?);
    let files = args.judging.read(&args.paths).map_err(wrong)?;
    let read = reading::read(&hub, &files, &args.hub_namespace).await?;
    let laid = overlay::lay(&read, files, &args.delete, &hub.connection.namespace).map_err(wrong)?;
    args.showing.notes(laid.notes.clone());
    let judge = |texts| args.judging.judge_served(texts, read.documents.clone()).map_err(wrong);
    let before = judge(overlay::texts(&read.objects).map_err(wrong)?)?;
    let after = judge(laid.texts.clone())?.found_in(|name| laid.names.contains(name));
    if after.has_errors() {
        validate::shown(&after, validate::Format::Text, true);
        return Ok(ExitCode::FAILURE);
    }
    let view = view(args, &person, &hub, (&read, &laid), (&before, &after)).await?;
    args.showing.notes(hub.take_holes());
    match args.output {
        Format::Text => show::print(&view.text(&args.showing.look(), args.show_same)),
        Format::Json => show::print(&view.json()),
        Format::Yaml => show::print(&view.yaml()),
        Format::Markdown => show::print(&view.markdown()),
        Format::Github => show::print(&view.github()),
    }
    Ok(match view.outcome() {
        Outcome::Same => ExitCode::SUCCESS,
        Outcome::Changes => ExitCode::from(CHANGES),
        Outcome::Incomplete => ExitCode::FAILURE,
    })
}

async fn view(
    args: &Args,
    person: &Person,
    hub: &Hub,
    (read, laid): (&Read, &overlay::Laid),
    (before, after): (&Judged, &Judged),
) -> Result<Plan, Failure> {
    let (was, is) = (side(before, read)?, side(after, read)?);
    let wanted = args.clusters.as_ref().map(|text| {
        let clusters: Vec<_> = is.registered.values().cloned().collect();
        chosen(text, &clusters)
    });
    let wanted = wanted.transpose()?;
    let mut policies = Policies::default();
    let decided = Decided {
        was: Revision::new(&was, &mut policies),
        is: Revision::new(&is, &mut policies),
        graphs: (before.graphs(), after.graphs()),
        touched: &laid.touched,
        hub_id: read.hub_id.clone(),
    };
    let mut orders = decided.orders();
    if let Some(wanted) = &wanted {
        orders.retain(|name, _| wanted.contains(name.as_str()));
    }
    let tried: usize = orders.values().map(Orders::size).sum();
    if tried > MOST_TRIED && !args.yes {
        args.showing.note(&format!("up to {tried} objects on {} clusters are to be tried", orders.len()));
        if !confirm(false)? {
            return Err(Failure::usage("nothing was planned"));
        }
    }
    let planner = Planner::new(read.hub_id.clone(), deciding::definitions(&after.graphs()))?;
    let ways = Ways {
        contexts: args.from == From::Spokes,
        named: args.spoke_context.iter().cloned().collect(),
        hub_credentials: args.hub_credentials,
    };
    let each = orders.iter().map(|(name, orders)| {
        let (planner, ways) = (&planner, &ways);
        async move { (name.clone(), on_cluster(person, hub, planner, ways, (read, name, orders)).await) }
    });
    let done: Vec<_> = stream::iter(each).buffered(AT_ONCE).collect().await;
    let mut all = Vec::new();
    let mut unplanned = Vec::new();
    for (name, planned) in done {
        match planned {
            Ok(instances) => all.push(OfCluster { name: Some(name.to_string()), instances }),
            Err(failure) => {
                let forgiven = args.unreachable == Unreachable::Skip && failure.sort == Sort::Silent;
                let reason = failure.text;
                unplanned.push(Unplanned { cluster: name.to_string(), reason, forgiven });
            }
        }
    }
    let (groups, mut summary) = groups(&all);
    summary.unplanned = unplanned.len();
    let changed: BTreeSet<&String> = groups.iter().flat_map(|group| &group.clusters).collect();
    let names = all.iter().filter_map(|of| of.name.clone());
    let unchanged = names.filter(|name| !changed.contains(name)).collect();
    let clusters = if wanted.is_none() { registered(&was, &is) } else { Vec::new() };
    let definitions = numbered(definitions(&was, &is), &read.revisions);
    Ok(Plan { changes: Changes { summary, clusters, definitions, groups }, unplanned, unchanged })
}

fn side<'j>(judged: &'j Judged, read: &Read) -> Result<Side<'j>, Failure> {
    Side::new(judged, &read.facts).map_err(wrong)
}

/// With the numbers of their revisions.
fn numbered(mut all: Vec<DefinitionChange>, known: &BTreeMap<String, i64>) -> Vec<DefinitionChange> {
    for change in &mut all {
        change.from = known.get(&change.name).copied();
        if change.action != Action::Delete {
            change.to = Some(change.from.unwrap_or_default() + 1);
        }
    }
    all
}

async fn on_cluster(
    person: &Person,
    hub: &Hub,
    planner: &Planner,
    ways: &Ways,
    (read, name, orders): (&Read, &ClusterName, &Orders),
) -> Result<Vec<Arc<Told<InstanceChanges>>>, Failure> {
    let Some(cluster) = read.clusters.iter().find(|cluster| cluster.name() == name.as_str()) else {
        return Err(Failure::usage("it is not registered yet"));
    };
    let (connection, way) = reach(person, hub, cluster, ways).await?;
    let local = way == Way::Hub;
    planner
        .plan(&Stage {
            connection: &connection,
            local,
            bounds: &orders.bounds,
            facts: &orders.facts,
            wishes: &orders.wishes,
        })
        .await
}
