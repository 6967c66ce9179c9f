//! End-to-end tests on real API servers. `cargo test --test e2e -- NAME` runs those whose name contains NAME.

#![allow(clippy::too_many_lines, clippy::too_many_arguments)] // A trial is one story.

mod bench;
mod commands;
mod env;
mod environment;
mod faults;
mod for_people;
mod gitops;
mod journeys;
mod lanes;
mod lazy;
mod model;
mod soak;

use anyhow::Result;
use env::{Environment, Scratch};
use libtest_mimic::{Arguments, Trial};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The clusters that all trials share; started by the first that asks.
#[derive(Clone, Default)]
pub struct Fleet(Arc<Mutex<Option<Arc<Environment>>>>);

impl Fleet {
    /// A hub and the spokes `eu` and `us`.
    ///
    /// # Errors
    /// They do not start.
    pub fn get(&self) -> Result<Arc<Environment>> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(env) = slot.as_ref() {
            return Ok(Arc::clone(env));
        }
        let env = Arc::new(Environment::start(&scratch_folder().join("fleet"), &["hub", "eu", "us"])?);
        *slot = Some(Arc::clone(&env));
        Ok(env)
    }

    /// Ends the clusters.
    fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Everything that this run writes.
pub fn scratch_folder() -> &'static Path {
    static FOLDER: LazyLock<std::path::PathBuf> =
        LazyLock::new(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("e2e-{}", std::process::id())));
    &FOLDER
}

/// Trials run this program again as something else: `testenv`, or `owner` of an environment.
const ROLE: &str = "KRO_HUB_E2E_ROLE";

/// This program in another role, its output kept together.
///
/// # Errors
/// It cannot find itself.
pub fn myself_as(role: &str, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ROLE, role).args(args);
    Ok(command)
}

fn main() -> ExitCode {
    if let Some(role) = std::env::var_os(ROLE) {
        return match role.to_str() {
            Some("testenv") => commands::run(),
            _ => environment::own_and_wait(),
        };
    }
    let mut args = Arguments::from_args();
    args.test_threads = args.test_threads.or(Some(lanes::THREADS));
    let fleet = Fleet::default();
    let stands = journeys::Stands::default();
    let registration = journeys::registration::Shared::default();
    let gitops = gitops::Stands::default();
    let soak = soak::Sites::default();
    let clusters: Vec<Trial> = environment::trials(&fleet)
        .into_iter()
        .chain(for_people::trials())
        .chain(faults::trials())
        .chain([model::trial(), journeys::cluster_verbs::trial(), journeys::webhook::trial()])
        .chain(journeys::registration::trials(&registration))
        .chain([journeys::takeover::trial(), journeys::chart::trial(), journeys::argocd::trial()])
        .chain(stands.stormy())
        .collect();
    let mut trials = lanes::interleave(clusters, stands.calm());
    trials.extend(gitops.trials());
    trials.extend(soak.trials());
    trials.push(journeys::scenarios_table::check(&trials));
    trials.push(gitops::table::check(&trials));
    let trials = journeys::scenarios_table::lane(trials);
    if args.list {
        return libtest_mimic::run(&args, trials).exit_code();
    }
    let scratch = match Scratch::new(scratch_folder().to_owned()) {
        Ok(scratch) => scratch,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let conclusion = libtest_mimic::run(&args, trials);
    fleet.end();
    stands.end();
    registration.end();
    gitops.end();
    soak.end();
    let told = lanes::told();
    if conclusion.has_failed() {
        eprintln!("Logs of this run: {}", scratch.keep().display());
    }
    eprint!("{told}");
    conclusion.exit_code()
}
