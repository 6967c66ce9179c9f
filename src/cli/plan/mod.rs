//! `kro-hub plan`: what objects in files would change on each cluster as it is. Nothing is stored.

mod deciding;
mod on_record;
mod overlay;
mod reading;
mod share;
#[cfg(test)]
mod tests;
mod travel;

use super::cluster::confirm;
use super::connection::Connecting;
use super::diff::comparing::{Revision, definitions, registered};
use super::diff::placing::Policies;
use super::diff::side::Side;
use super::get::chosen;
use super::progress::Progress;
use super::show::{self, Showing};
use super::validate::{self, Judged, Judging};
use crate::api::cluster::ChildNamespaces;
use crate::api::names::ClusterName;
use crate::cli::bounds::child_namespaces;
use crate::edge::planning::{Planned, Planner, Stage};
use crate::edge::{Connection, Failure, Hub, Person, Sort, Way, Ways, reach};
use crate::reconcile::fleet::on_hub::ITSELF;
use crate::view::changes::{Action, Changes, DefinitionChange, OfCluster, Outcome, Plan, Unplanned, groups};
use crate::view::document::View;
use clap::{Args as ClapArgs, ValueEnum};
use deciding::{Decided, Orders};
use futures::{StreamExt, stream};
use overlay::Deleted;
use reading::Read;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

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
    /// The same flag of the controller: into which namespaces of the hub itself instances may write their resources
    #[arg(long, value_name = "POLICY", default_value = "Any", value_parser = child_namespaces)]
    local_child_namespaces: ChildNamespaces,
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
    args.showing.notes(read.notes.clone());
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
        of_hub: &args.local_child_namespaces,
        live: read.objects.iter().map(|object| (object.object_ref(), object)).collect(),
        revisions: &read.revisions,
        rollouts: &read.rollouts,
    };
    let hub_name = decided.hub();
    let (mut orders, rollouts) = decided.orders();
    if let Some(wanted) = &wanted {
        let is_wanted = |name: &ClusterName| wanted.contains(name.as_str());
        let reads_hub = orders.iter().any(|(name, orders)| is_wanted(name) && orders.reads_hub());
        // What lives on the hub is tried for those who read it.
        orders.retain(|name, _| is_wanted(name) || (*name == hub_name && reads_hub));
    }
    let tried: usize = orders.values().map(Orders::size).sum();
    if tried > MOST_TRIED && !args.yes {
        args.showing.note(&format!("up to {tried} objects on {} clusters are to be tried", orders.len()));
        if !confirm(false)? {
            return Err(Failure::usage("nothing was planned"));
        }
    }
    let planner = Planner::new(read.hub_id.clone(), deciding::definitions(&after.graphs()))?;
    let progress = Progress::of(orders.keys().map(place));
    let trying = Trying { args, person, hub, read, planner, progress: &progress };
    let mut all = Vec::new();
    let mut unplanned = Vec::new();
    for (name, planned) in progress.during(&args.showing, trying.all(&hub_name, orders)).await {
        let on_hub = name.as_str() == ITSELF;
        if let Ok(Planned { narrowed, .. }) = &planned
            && !narrowed.is_empty()
        {
            let kinds: Vec<&str> = narrowed.iter().map(String::as_str).collect();
            args.showing.note(&format!(
                "note: {}: you may not list {} in all namespaces: what is elsewhere than its instance may not be told",
                place(&name),
                kinds.join(", ")
            ));
        }
        match planned {
            Ok(_) if wanted.as_ref().is_some_and(|wanted| !wanted.contains(name.as_str())) => {}
            Ok(planned) => {
                let name = (!on_hub).then(|| name.to_string());
                all.push(OfCluster { name, instances: planned.instances });
            }
            Err(failure) => {
                let forgiven = args.unreachable == Unreachable::Skip && failure.sort == Sort::Silent;
                let cluster = if on_hub { String::new() } else { name.to_string() };
                unplanned.push(Unplanned { cluster, hub: on_hub, reason: failure.text, forgiven });
            }
        }
    }
    let (groups, mut summary) = groups(&all);
    summary.unplanned = unplanned.iter().filter(|one| !one.hub).count();
    let changed: BTreeSet<&String> = groups.iter().flat_map(|group| &group.clusters).collect();
    let names = all.iter().filter_map(|of| of.name.clone());
    let unchanged = names.filter(|name| !changed.contains(name)).collect();
    let clusters = if wanted.is_none() { registered(&was, &is) } else { Vec::new() };
    let definitions = numbered(definitions(&was, &is), &read.revisions);
    Ok(Plan { changes: Changes { summary, clusters, definitions, groups }, rollouts, unplanned, unchanged })
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

/// What is needed to try something on any cluster.
struct Trying<'t> {
    args: &'t Args,
    person: &'t Person,
    hub: &'t Hub,
    read: &'t Read,
    planner: Planner,
    progress: &'t Progress,
}

/// What people call it.
fn place(name: &ClusterName) -> String {
    if name.as_str() == ITSELF { "the hub".to_owned() } else { name.to_string() }
}

impl Trying<'_> {
    /// First what lives on the hub, since other clusters read it.
    async fn all(
        &self,
        hub: &ClusterName,
        mut orders: BTreeMap<ClusterName, Orders>,
    ) -> Vec<(ClusterName, Result<Planned, Failure>)> {
        let mut done = Vec::new();
        if let Some(first) = orders.remove(hub) {
            let planned = self.on_cluster(hub, &first).await;
            if let Ok(planned) = &planned {
                orders.values_mut().for_each(|orders| orders.give(&planned.on_hub));
            }
            done.push((hub.clone(), planned));
        }
        let each = orders
            .iter()
            .map(|(name, orders)| async move { (name.clone(), self.on_cluster(name, orders).await) });
        done.extend(stream::iter(each).buffered(AT_ONCE).collect::<Vec<_>>().await);
        done.sort_by(|(a, _), (b, _)| a.cmp(b));
        done
    }

    async fn on_cluster(&self, name: &ClusterName, orders: &Orders) -> Result<Planned, Failure> {
        let planned = self.tried(name, orders).await;
        self.progress.done(&place(name));
        planned
    }

    async fn tried(&self, name: &ClusterName, orders: &Orders) -> Result<Planned, Failure> {
        let (connection, way) = self.reach(name).await?;
        let Orders { bounds, facts, wishes } = orders;
        let local = way == Way::Hub;
        self.planner.plan(&Stage { connection: &connection, local, bounds, facts, wishes }).await
    }

    async fn reach(&self, name: &ClusterName) -> Result<(Connection, Way), Failure> {
        if name.as_str() == ITSELF {
            return Ok((self.hub.connection.clone(), Way::Hub));
        }
        let Some(cluster) = self.read.clusters.iter().find(|cluster| cluster.name() == name.as_str()) else {
            return Err(Failure::usage("it is not registered yet"));
        };
        let ways = Ways {
            contexts: self.args.from == From::Spokes,
            named: self.args.spoke_context.iter().cloned().collect(),
            hub_credentials: self.args.hub_credentials,
        };
        reach(self.person, self.hub, cluster, &ways).await
    }
}
