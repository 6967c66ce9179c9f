//! `kro-hub get`: instances by clusters, clusters, definitions.

use super::connection::Connecting;
use super::show::{self, Format, Showing};
use crate::api::Object;
use crate::edge::{Failure, Hub, Scope, Watch, follow, numbers};
use crate::hub::resources;
use crate::reconcile::fleet::placement::Selector;
use crate::view::Mark;
use crate::view::fleet::{FleetTable, Layout, Wanted};
use crate::view::instance::Around;
use crate::view::kinds::{self, Generated};
use crate::view::registry::{ClusterTable, DefinitionTable};
use clap::{Args as ClapArgs, ValueEnum};
use futures::future::{join_all, try_join, try_join3};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// A kind, with names or without: KIND, KIND NAME…, KIND/NAME; or clusters, or definitions. Nothing means all kinds
    #[arg(value_name = "KIND")]
    words: Vec<String>,
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Instances with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Only what is not ready
    #[arg(long)]
    problems: bool,
    /// Only what stands like this on some cluster
    #[arg(long, value_enum, value_name = "STATE")]
    state: Option<State>,
    /// A column for each value of this label of clusters
    #[arg(long, value_name = "LABEL")]
    group_by: Option<String>,
    /// Only these clusters: names with commas, or a label selector
    #[arg(long, value_name = "NAMES|SELECTOR")]
    clusters: Option<String>,
    /// Go on, and show what changes
    #[arg(short, long)]
    watch: bool,
    /// text, wide, json or yaml
    #[arg(short, long, value_enum, default_value = "text", hide_possible_values = true)]
    output: Format,
    #[command(flatten)]
    showing: Showing,
    #[command(flatten)]
    connecting: Connecting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    Ready,
    Progressing,
    Failed,
    Unreachable,
}

impl State {
    fn mark(self) -> Mark {
        match self {
            Self::Ready => Mark::Ready,
            Self::Progressing => Mark::Moving,
            Self::Failed => Mark::Failed,
            Self::Unreachable => Mark::Silent,
        }
    }
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let connecting = args.connecting.clone();
    connecting.run(move || async move { get(&args).await.map(|()| ExitCode::SUCCESS) })
}

async fn get(args: &Args) -> Result<(), Failure> {
    let person = args.connecting.person()?;
    let hub = Hub::new(person.hub().await?);
    match args.words.first().map(String::as_str) {
        Some("clusters" | "cluster") => clusters(args, &hub).await,
        Some("definitions" | "definition" | "rgd" | "rgds") => definitions(args, &hub).await,
        _ => instances(args, &hub).await,
    }
}

async fn clusters(args: &Args, hub: &Hub) -> Result<(), Failure> {
    let watches = vec![all_of(hub, resources::clusters())];
    let names = args.words.get(1..).unwrap_or_default();
    shown(args, &watches, async || {
        let all = named(hub.clusters_or_fail().await?, names, "cluster")?;
        let mut table = ClusterTable::new(&all);
        table.clusters.retain(|row| !(args.problems && row.ready));
        Ok(Shown::new(&table, args.output, |wide| table.text(&args.showing.look(), wide, Timestamp::now())))
    })
    .await
}

async fn definitions(args: &Args, hub: &Hub) -> Result<(), Failure> {
    let watches = vec![all_of(hub, resources::definitions())];
    let names = args.words.get(1..).unwrap_or_default();
    shown(args, &watches, async || {
        let all = named(hub.definitions().await?, names, "definition")?;
        let mut table = DefinitionTable::new(&all);
        table.definitions.retain(|row| !(args.problems && row.mark == Mark::Ready));
        Ok(Shown::new(&table, args.output, |_| table.text(&args.showing.look(), Timestamp::now())))
    })
    .await
}

fn named(mut all: Vec<Object>, names: &[String], what: &str) -> Result<Vec<Object>, Failure> {
    if let Some(name) = names.iter().find(|name| all.iter().all(|o| o.name() != name.as_str())) {
        let near = crate::graph::suggestion(name, all.iter().map(Object::name));
        let near = near.map(|near| format!("; {near}")).unwrap_or_default();
        return Err(Failure::usage(format!("there is no {what} {name:?}{near}")));
    }
    all.retain(|o| names.is_empty() || names.iter().any(|name| name == o.name()));
    Ok(all)
}

fn all_of(hub: &Hub, resource: kube::core::ApiResource) -> Watch {
    Watch { connection: hub.connection.clone(), resource, namespace: None, selector: None }
}

async fn instances(args: &Args, hub: &Hub) -> Result<(), Failure> {
    let (clusters, definitions) = try_join(hub.clusters(), hub.definitions()).await?;
    let all: Vec<Generated> = definitions.iter().filter_map(Generated::of).collect();
    let (kinds, names) = if args.words.is_empty() {
        (all.clone(), Vec::new())
    } else {
        let asked = kinds::asked(&args.words).map_err(Failure::usage)?;
        (vec![kinds::named(&all, &asked.kind).map_err(Failure::usage)?.clone()], asked.names)
    };
    let namespace = (!args.all_namespaces).then(|| hub.connection.namespace.clone());
    let scope = Scope { namespace, selector: args.selector.clone(), names };
    let only = args.clusters.as_deref().map(|text| chosen(text, &clusters)).transpose()?;
    let wanted = Wanted { problems: args.problems, state: args.state.map(State::mark), clusters: only };
    let layout = Layout {
        group_by: args.group_by.clone(),
        wide: args.output == Format::Wide,
        namespaces: args.all_namespaces,
        all_failures: args.problems,
    };
    let mut watches = vec![all_of(hub, resources::clusters())];
    watches.extend(kinds.iter().map(|kind| Watch {
        connection: hub.connection.clone(),
        resource: kind.resource(),
        namespace: scope.namespace.clone().filter(|_| kind.namespaced),
        selector: scope.selector.clone(),
    }));
    let mut first = Some(clusters);
    shown(args, &watches, async || {
        // They were read a moment ago.
        let clusters = match first.take() {
            Some(clusters) => clusters,
            None => hub.clusters().await?,
        };
        let (objects, reports, revisions) = read(hub, &kinds, &scope).await?;
        let around = Around::new(numbers(&revisions), &reports, &clusters);
        let objects: Vec<(&Generated, &Object)> = kinds
            .iter()
            .zip(&objects)
            .flat_map(|(kind, objects)| objects.iter().map(move |object| (kind, object)))
            .collect();
        let table = FleetTable::new(&objects, &clusters, &around, &wanted);
        args.showing.notes(hub.take_holes());
        let look = args.showing.look();
        Ok(Shown::new(&table, args.output, |_| table.text(&look, &layout, Timestamp::now())))
    })
    .await
}

type Read = (Vec<Vec<Object>>, Vec<Object>, Vec<Object>);

/// Instances of each kind, their reports and the revisions of their definitions.
async fn read(hub: &Hub, kinds: &[Generated], scope: &Scope) -> Result<Read, Failure> {
    let resources: Vec<_> = kinds.iter().map(|kind| (kind.resource(), kind.namespaced)).collect();
    let one = match kinds {
        [one] => Some(one.definition.as_str()),
        _ => None,
    };
    let several = resources.len() > 1;
    let objects = async {
        let each = resources.iter().map(|(resource, namespaced)| hub.instances(resource, *namespaced, scope));
        let mut out = Vec::new();
        for objects in join_all(each).await {
            match objects {
                // Of many kinds, one that is not served yet has no instances.
                Err(failure) if several && failure.sort == crate::edge::Sort::NotServed => {
                    out.push(Vec::new());
                }
                objects => out.push(objects?),
            }
        }
        Ok(out)
    };
    try_join3(objects, hub.reports(scope.namespace.as_deref()), hub.revisions(one)).await
}

/// Clusters by names or by labels.
pub fn chosen(text: &str, clusters: &[Object]) -> Result<BTreeSet<String>, Failure> {
    if text.contains(['=', '!', '(']) {
        let selector =
            Selector::parse(text).map_err(|why| Failure::usage(format!("--clusters {text:?}: {why}")))?;
        let found = clusters.iter().filter(|c| selector.matches(&c.labels()));
        return Ok(found.map(|c| c.name().to_owned()).collect());
    }
    let names: BTreeSet<String> =
        text.split(',').map(|name| name.trim().to_owned()).filter(|n| !n.is_empty()).collect();
    match names.iter().find(|name| !clusters.is_empty() && clusters.iter().all(|c| c.name() != name.as_str()))
    {
        Some(name) => {
            let near = crate::graph::suggestion(name, clusters.iter().map(Object::name));
            let near = near.map(|near| format!("; {near}")).unwrap_or_default();
            Err(Failure::usage(format!("--clusters: there is no cluster {name:?}{near}")))
        }
        None => Ok(names),
    }
}

/// One showing, in the form that was asked for.
struct Shown(String);

impl Shown {
    fn new<V: crate::view::document::View>(
        view: &V,
        format: Format,
        text: impl FnOnce(bool) -> String,
    ) -> Self {
        Self(match format {
            Format::Json => view.json(),
            Format::Yaml => format!("---\n{}", view.yaml()),
            Format::Text => text(false),
            Format::Wide => text(true),
        })
    }
}

/// Shows once, or whenever something changes.
async fn shown(
    args: &Args,
    watches: &[Watch],
    mut make: impl AsyncFnMut() -> Result<Shown, Failure>,
) -> Result<(), Failure> {
    if !args.watch {
        let Shown(text) = make().await?;
        show::print(text.strip_prefix("---\n").unwrap_or(&text));
        return Ok(());
    }
    let terminal = std::io::stdout().is_terminal();
    let text_form = matches!(args.output, Format::Text | Format::Wide);
    let mut before: Vec<String> = Vec::new();
    follow(watches, async || {
        let Shown(text) = make().await?;
        match (terminal, text_form) {
            // The cursor goes to the top, and what was there goes.
            (true, true) => show::print(&format!("\u{1b}[H\u{1b}[2J\u{1b}[3J{text}")),
            (false, true) => {
                let lines: Vec<String> = text.lines().map(str::to_owned).collect();
                let now = Timestamp::now().strftime("%H:%M:%SZ").to_string();
                let new = lines.iter().filter(|line| !before.contains(&without_age(line)));
                show::print(&new.map(|line| format!("{now}  {line}\n")).collect::<String>());
                before = lines.iter().map(|line| without_age(line)).collect();
            }
            (_, false) => show::print(&text),
        }
        Ok(true)
    })
    .await
}

/// A row is no other one only because time passes: the words that are ages count as equal.
fn without_age(line: &str) -> String {
    let is_age = |word: &str| {
        let word = word.trim_end_matches([':', ',']);
        let number = word.trim_end_matches(['s', 'm', 'h', 'd', 'y']);
        number.len() + 1 == word.len() && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
    };
    let words = line.split_whitespace().map(|word| if is_age(word) { "*" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn clusters_are_chosen_by_name_or_label() {
        let cluster = |name: &str, region: &str| {
            Object(json!({"metadata": {"name": name, "labels": {"region": region}}}))
        };
        let all = [cluster("eu-1", "eu"), cluster("us-1", "us")];
        let check = |text: &str, expect: &str| {
            let got = match chosen(text, &all) {
                Ok(names) => names.into_iter().collect::<Vec<_>>().join(","),
                Err(failure) => failure.text,
            };
            assert_eq!(got, expect, "{text}");
        };
        check("eu-1, us-1", "eu-1,us-1");
        check("region=eu", "eu-1");
        check("region!=eu", "us-1");
        check("eu-2", "--clusters: there is no cluster \"eu-2\"; did you mean \"eu-1\"?");
    }

    #[test]
    fn rows_that_only_grew_older_are_the_same() {
        assert_eq!(without_age("webapp/shop  1/3  ✓   4d"), without_age("webapp/shop 1/3 ✓ 5d"));
        assert_eq!(without_age("✗ shop on eu, 3m: why"), without_age("✗ shop on eu, 4m: why"));
        assert_ne!(without_age("webapp/shop  1/3  ✓  4d"), without_age("webapp/shop  2/3  ✓  4d"));
    }
}
