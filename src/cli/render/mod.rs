//! `kro-hub render`: what instances make on a cluster, without one.

pub mod facts;
pub mod overlay;
mod rendering;
#[cfg(test)]
mod tests;

use super::validate::{self, Judged, World};
use crate::api::Object;
use crate::api::keys::hub;
use crate::api::names::ClusterName;
use crate::graph::Graph;
use crate::reconcile::fleet::ClusterState;
use anyhow::{Context, ensure};
use clap::Args as ClapArgs;
pub use rendering::placed;
use rendering::{Line, Question, render};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Files, or folders: instances, their definitions, and where they matter Clusters and Placements; - is standard input
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The cluster to render for: a Cluster among the files, or a name of --facts
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Ids and versions of clusters, as `kro-hub cluster facts` prints them
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// What the cluster is like: labels.KEY=VALUE, properties.KEY=VALUE, id=…, version=1.33
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Objects as a cluster shows them, for expressions that read their status: a file or folder
    #[arg(long, value_name = "PATH")]
    observed: Vec<PathBuf>,
    /// Objects that external references find: a file or folder
    #[arg(long, value_name = "PATH")]
    external: Vec<PathBuf>,
    /// Fail where something waits for what is not known
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    world: World,
}

/// Prints the objects as YAML, in apply order: 0; 1 where something is wrong, or with --strict waits.
pub fn run(args: Args) -> ExitCode {
    validate::on_large_stack(move || {
        let judged = args.world.judge(&args.paths, false)?;
        if judged.has_errors() {
            return Ok(validate::shown(&judged, validate::Format::Text, true));
        }
        let text = rendered(&args, &judged)?;
        // A reader that has seen enough is no error.
        let _seen = std::io::stdout().write_all(text.out.as_bytes());
        eprint!("{}", text.problems);
        Ok(if text.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// What is printed.
struct Text {
    out: String,
    problems: String,
    good: bool,
}

fn rendered(args: &Args, judged: &Judged) -> anyhow::Result<Text> {
    let of_hub = |kind: &str| judged.objects_of(hub::GROUP, kind);
    let placements = [of_hub("ClusterPlacement"), of_hub("Placement")].concat();
    let cluster = args.cluster(&of_hub("Cluster"))?;
    let cluster = cluster.as_ref().map(|(name, state)| (name, state));
    let observed = [args.world.objects(&args.observed)?, args.world.objects(&args.external)?].concat();
    let mut text = Text { out: String::new(), problems: String::new(), good: true };
    let mut instances = 0;
    for (_, graph) in judged.definitions() {
        for instance in judged.objects_of(&graph.gvk.group, &graph.gvk.kind) {
            instances += 1;
            facts::ensure_known(graph, cluster, &args.where_facts_are())?;
            let instance = at_home(instance, graph);
            let question = Question {
                graph,
                instance: &instance,
                cluster,
                placements: &placements,
                observed: &observed,
            };
            let of = cluster.map_or_else(|| instance.name().to_owned(), |(name, _)| name.to_string());
            let lines = render(&question).map_err(|why| anyhow::anyhow!("{of}: {why}"))?;
            text.write(&of, &lines, graph.nodes.len(), args.strict)?;
        }
    }
    ensure!(instances > 0, "there is no instance of a definition of these files");
    Ok(text)
}

impl Args {
    /// The cluster to render for, where one is meant.
    fn cluster(&self, clusters: &[Object]) -> anyhow::Result<Option<(ClusterName, ClusterState)>> {
        let known = match &self.facts {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
                facts::read(&text).with_context(|| path.display().to_string())?
            }
            None => facts::Facts::default(),
        };
        let set = (!self.set.is_empty()).then(|| "cluster".to_owned());
        let Some(name) = self.cluster.clone().or(set) else { return Ok(None) };
        let object = clusters.iter().find(|c| c.name() == name);
        let name = ClusterName::new(&name);
        let state = facts::cluster(&name, object, &known, &self.set)?;
        Ok(Some((name, state)))
    }

    fn where_facts_are(&self) -> String {
        self.facts.as_ref().map_or_else(|| "--facts or --set".to_owned(), |f| f.display().to_string())
    }
}

/// An instance that names no namespace is in `default`, as kubectl has it.
pub fn at_home(mut instance: Object, graph: &Graph) -> Object {
    let namespaced = graph.crd.pointer("/spec/scope").and_then(|s| s.as_str()) != Some("Cluster");
    if namespaced && instance.namespace().is_empty() {
        instance.0["metadata"]["namespace"] = "default".into();
    }
    instance
}

impl Text {
    /// Writes the documents, with a comment for each node that gave none.
    fn write(&mut self, of: &str, lines: &[Line], nodes: usize, strict: bool) -> anyhow::Result<()> {
        let out = &mut self.out;
        for line in lines {
            match line {
                Line::Object { node, object, on_hub } => {
                    let place = if *on_hub { " (on the hub)" } else { "" };
                    write!(out, "---\n# {of}: {node}{place}\n{}", document(object)?)?;
                }
                Line::Waits { node, position, why } => {
                    self.good &= !strict;
                    let why = plain(why);
                    writeln!(
                        out,
                        "# {of}: node {node} ({position} of {nodes}) waits: {why}; give it with --observed or --external"
                    )?;
                }
                Line::LeftOut { node } => writeln!(out, "# {of}: node {node} is left out by includeWhen")?,
                Line::Empty { node } => {
                    writeln!(out, "# {of}: node {node} makes nothing: its forEach is empty")?
                }
                Line::Failed { node, why } => {
                    self.good = false;
                    writeln!(self.problems, "error: {of}: node {node}: {why}")?;
                }
            }
        }
        Ok(())
    }
}

/// As YAML, with what names the object first.
fn document(object: &Value) -> anyhow::Result<String> {
    const FIRST: [&str; 3] = ["apiVersion", "kind", "metadata"];
    let fields = object.as_object();
    let first = FIRST.iter().filter_map(|key| Some((*key, fields?.get(*key)?)));
    let rest = fields.into_iter().flatten().map(|(key, value)| (key.as_str(), value));
    let mut text = String::new();
    for (key, value) in first.chain(rest.filter(|(key, _)| !FIRST.contains(key))) {
        let field = serde_saphyr::to_string(&serde_json::json!({ key: value }))?;
        writeln!(text, "{}", field.trim_end())?;
    }
    Ok(text)
}

/// On one line, so that it stays within its comment.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
