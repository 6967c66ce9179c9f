//! The commands. No logic of their own: arguments become settings before anything runs.

mod approve;
mod argocd;
mod bounds;
mod cel;
mod check;
mod cluster;
mod completion;
mod connection;
mod controller;
mod crd;
mod descriptors;
mod diff;
mod events;
mod example;
mod explain;
mod find;
mod gates;
mod get;
mod graph;
mod plan;
mod progress;
mod rbac;
mod render;
mod show;
mod trace;
pub(crate) mod validate;
mod wait;
mod webhook;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "kro-hub", version, about = "kro for a fleet: one definition, one instance, many clusters")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show instances and how they stand on their clusters; or clusters, or definitions
    Get(Box<get::Args>),
    /// Show an instance down to its resources on each cluster
    #[command(visible_alias = "tree")]
    Trace(Box<trace::Args>),
    /// Say what a reason means, or why an instance is on its clusters
    Explain(Box<explain::Args>),
    /// Wait until an instance is active, deleted, or at a revision
    Wait(Box<wait::Args>),
    /// Show what happened to an instance, on the hub and on its clusters
    Events(Box<events::Args>),
    /// Let the version of an instance that waits enter its next stage
    Approve(Box<approve::Args>),
    /// Print a script that completes commands and names in a shell
    Completion(completion::Args),
    #[command(name = "__complete", hide = true)]
    Complete(completion::Asked),
    /// Run the controller
    Controller(Box<controller::Args>),
    /// Run the admission webhook: what is wrong for good is refused when it is written
    Webhook(Box<webhook::Args>),
    /// Check and evaluate expressions
    Cel(Box<cel::Args>),
    /// Check definitions, instances and clusters in files
    Validate(Box<validate::Args>),
    /// Draw a definition: which resource reads which
    Graph(Box<graph::Args>),
    /// Print the CRD that a definition generates
    Crd(Box<crd::Args>),
    /// Print what instances make on a cluster, without one
    Render(Box<render::Args>),
    /// Print an instance of a definition, to begin with
    Example(Box<example::Args>),
    /// Print what Argo CD is to know of the kinds of definitions
    Argocd(Box<argocd::Args>),
    /// Show what changes on each cluster between two revisions of a repository, without one
    Diff(Box<diff::Args>),
    /// Show what objects in files would change on each cluster as it is, and change nothing
    Plan(Box<plan::Args>),
    /// Look for what is wrong with the hub, and say what mends it
    Check(Box<check::Args>),
    /// Register clusters, look after them, take them out
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Print the least rights that definitions need, each with its reason
    Rbac(Box<rbac::Args>),
    /// Write the file of the built-in kinds from what a cluster serves
    #[command(hide = true)]
    KindsFile(Box<validate::BundleArgs>),
    /// Print the CRDs that the controller installs on the hub
    Crds,
}

/// Parses the command line, runs the command, and gives the exit code.
pub fn run() -> ExitCode {
    let cli = match parsed() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let result = match cli.command {
        Command::Get(args) => return get::run(*args),
        Command::Trace(args) => return trace::run(*args),
        Command::Explain(args) => return explain::run(*args),
        Command::Wait(args) => return wait::run(*args),
        Command::Events(args) => return events::run(*args),
        Command::Approve(args) => return approve::run(*args),
        Command::Completion(args) => return completion::run(&args),
        Command::Complete(asked) => return completion::complete(asked),
        Command::Controller(args) => controller::run(*args).map(|()| true),
        Command::Webhook(args) => webhook::run(*args).map(|()| true),
        Command::Cel(args) => cel::run(*args),
        Command::Validate(args) => return validate::run(*args),
        Command::Graph(args) => return graph::run(*args),
        Command::Crd(args) => return crd::run(*args),
        Command::Render(args) => return render::run(*args),
        Command::Example(args) => return example::run(*args),
        Command::Argocd(args) => return argocd::run(*args),
        Command::Diff(args) => return diff::run(*args),
        Command::Plan(args) => return plan::run(*args),
        Command::Check(args) => return check::run(*args),
        Command::Cluster(command) => return cluster::run(command),
        Command::Rbac(args) => return rbac::run(*args),
        Command::KindsFile(args) => validate::write_bundle(&args).map(|()| true),
        Command::Crds => print_crds().map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        // What failed is told.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// How the command is called: as a plugin, kubectl calls it.
fn program() -> &'static str {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    called(&name)
}

fn called(name: &str) -> &'static str {
    if name.starts_with("kubectl-kro") { "kubectl kro-hub" } else { "kro-hub" }
}

/// Commands whose exit code for wrong flags is documented as 2.
const TWO: [&str; 3] = ["validate", "graph", "crd"];

/// The command line, or the exit code where it says nothing to do. Elsewhere 2 means that there are changes, so what is
/// mistyped is 1.
fn parsed() -> Result<Cli, ExitCode> {
    let name = program();
    let command = Cli::command().name(name).bin_name(name);
    let read = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    read.map_err(|error| {
        let _seen = error.print();
        let verb = std::env::args().nth(1).unwrap_or_default();
        match error.exit_code() {
            0 => ExitCode::SUCCESS,
            _ if TWO.contains(&verb.as_str()) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    })
}

fn print_crds() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for crd in crate::api::crds::all() {
        let text = serde_saphyr::to_string(&crd)?;
        match writeln!(out, "---\n{}", text.trim_end()) {
            // The reader has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

/// The stack of the controller's evaluating threads, so that limits are the same.
const STACK_BYTES: usize = 16 << 20;

/// Runs what compiles and evaluates, as the controller does.
///
/// # Errors
/// No thread can be had, or it panicked.
fn on_large_stack<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let thread = std::thread::Builder::new().name("work".into()).stack_size(STACK_BYTES).spawn(work)?;
    thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("an internal error, told above")))
}
