//! What `testenv` can do.

pub mod demo;
pub mod down;
pub mod logs;
mod screen;
mod table;
pub mod up;

use crate::bench;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    about = "Real Kubernetes API servers on loopback, with kro-hub on top",
    arg_required_else_help = true
)]
struct Cli {
    /// Where kubeconfigs, logs and data are.
    #[arg(long, global = true, default_value = ".run")]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a hub and spokes in the background, and registers the spokes.
    Up {
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=100))]
        spokes: u16,
        /// Makes the hub a place for instances too.
        #[arg(long)]
        local: bool,
    },
    /// Ends what `up` started, and removes its data.
    Down,
    /// Shows a log; on a terminal it goes on until Ctrl-C.
    Logs {
        /// `controller`, or one like `spoke-1/kube-apiserver`.
        #[arg(default_value = "controller")]
        name: String,
    },
    /// Shows the whole journey in a temporary folder, and checks it.
    Demo,
    /// Measures kro-hub beside kro; minutes to hours.
    Bench {
        /// One run with few instances.
        #[arg(long)]
        quick: bool,
        /// Only these variants: kro, kro-tuned, local, fail, adopt, replay, fleet, crds, memory, overloaded, idle-spokes,
        /// isolation, fleet-1000.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// Runs of each variant.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=99))]
        runs: Option<u16>,
        /// Create so many instances at once, and no other batch.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        instances: Option<u16>,
        /// Spokes of the fleets.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=2000))]
        spokes: Option<u16>,
        /// Writes docs/performance.md and its plot.
        #[arg(long)]
        docs: bool,
    },
}

/// Does what the arguments say.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Up { spokes, local } => up::up(&cli.dir, spokes, local),
        Command::Down => down::down(&cli.dir),
        Command::Logs { name } => logs::logs(&cli.dir, &name),
        Command::Demo => demo::demo(),
        Command::Bench { quick, only, runs, instances, spokes, docs } => {
            let (runs, instances) = (runs.map(usize::from), instances.map(usize::from));
            bench::bench(&cli.dir, &bench::Options { quick, only, runs, instances, spokes, docs })
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
