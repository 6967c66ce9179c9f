//! The commands. No logic of their own: arguments become settings before anything runs.

mod cel;
mod controller;
mod crd;
mod descriptors;
mod gates;
mod graph;
mod validate;

use clap::{Parser, Subcommand};
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
    /// Run the controller
    Controller(Box<controller::Args>),
    /// Check and evaluate expressions
    Cel(Box<cel::Args>),
    /// Check definitions, instances and clusters in files
    Validate(Box<validate::Args>),
    /// Draw a definition: which resource reads which
    Graph(Box<graph::Args>),
    /// Print the CRD that a definition generates
    Crd(Box<crd::Args>),
    /// Write the file of the built-in kinds from what a cluster serves
    #[command(hide = true)]
    KindsFile(Box<validate::BundleArgs>),
    /// Print the CRDs that the controller installs on the hub
    Crds,
}

/// Parses the command line, runs the command, and gives the exit code.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Controller(args) => controller::run(*args).map(|()| true),
        Command::Cel(args) => cel::run(*args),
        Command::Validate(args) => return validate::run(*args),
        Command::Graph(args) => return graph::run(*args),
        Command::Crd(args) => return crd::run(*args),
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
