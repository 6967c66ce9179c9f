//! `kro-hub cluster …`: the clusters of a hub.

mod add;
mod check;
mod facts;
mod list;
mod remove;
mod rotate;

pub use check::{Format, show};

use super::connection::{Connecting, TIMEOUT, duration};
use crate::edge::clusters::Hub;
use crate::edge::{Connection, Failure, Person};
use clap::{Args as ClapArgs, Subcommand};
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Register a cluster: an account with the least rights there, its credentials here
    Add(Box<add::Args>),
    /// The clusters of the hub, where they are, and how old their credentials are
    List(Box<list::Args>),
    /// Look for what is wrong with clusters, and say what mends it
    Check(Box<check::Args>),
    /// Give the hub a new token of its account on a cluster
    Rotate(Box<rotate::Args>),
    /// Take a cluster out of the fleet; says what stays there
    Remove(Box<remove::Args>),
    /// Print what clusters say of themselves, for work without them
    Facts(Box<facts::Args>),
}

/// Runs one of them.
pub fn run(command: Command) -> ExitCode {
    match command {
        Command::Add(args) => add::run(*args),
        Command::List(args) => list::run(*args),
        Command::Check(args) => check::run(*args),
        Command::Rotate(args) => rotate::run(*args),
        Command::Remove(args) => remove::run(*args),
        Command::Facts(args) => facts::run(*args),
    }
}

/// The flags of a command that talks to the hub and to a cluster: `--context` is that of the cluster.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Connection")]
pub struct Both {
    /// Path of the kubeconfig [default: KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the cluster itself
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Context of the hub [default: the present one]
    #[arg(long, value_name = "NAME")]
    hub_context: Option<String>,
    /// Namespace of the controller on the hub, where its Secrets are
    #[arg(long, value_name = "NAME", default_value = "kro-hub")]
    hub_namespace: String,
    /// As another user
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// As one of these groups; needs --as, may be given more than once
    #[arg(long = "as-group", value_name = "GROUP")]
    groups: Vec<String>,
    /// How long one cluster may take to answer
    #[arg(long, value_name = "DURATION", default_value = TIMEOUT, value_parser = duration)]
    request_timeout: Duration,
    /// Show what lies behind an error
    #[arg(short, long)]
    verbose: bool,
}

impl Both {
    /// The flags that lead to the hub.
    pub fn connecting(&self) -> Connecting {
        Connecting {
            kubeconfig: self.kubeconfig.clone(),
            context: self.hub_context.clone(),
            namespace: None,
            user: self.user.clone(),
            groups: self.groups.clone(),
            request_timeout: self.request_timeout,
            verbose: self.verbose,
        }
    }

    /// The hub.
    ///
    /// # Errors
    /// No such context.
    pub async fn hub(&self, person: &Person) -> Result<Hub, Failure> {
        Ok(Hub { connection: person.hub().await?, namespace: self.hub_namespace.clone() })
    }

    /// The cluster itself.
    ///
    /// # Errors
    /// No context is given, or there is none of the name.
    pub async fn spoke(&self, person: &Person) -> Result<Connection, Failure> {
        let Some(context) = &self.context else {
            return Err(Failure::usage("give the context of the cluster itself with --context"));
        };
        person.connect(context).await
    }
}

/// Asks whether to go on. Never without a terminal: then `--yes` says so.
pub fn confirm(yes: bool) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask whether to go on; give --yes"));
    }
    eprint!("Go on? [y/N] ");
    let mut answer = String::new();
    let _asked = std::io::stderr().flush();
    let read = std::io::stdin().lock().read_line(&mut answer);
    Ok(read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Prints an answer; a reader that has seen enough is no error.
fn print(text: &str) {
    let _seen = std::io::stdout().write_all(text.as_bytes());
}

/// Whether marks are letters of ASCII: the locale says that it can show no others.
pub fn plain() -> bool {
    let said = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|key| std::env::var(key).ok().filter(|v| !v.is_empty()));
    said.is_some_and(|locale| !locale.to_lowercase().replace('-', "").contains("utf8"))
}

/// Columns with two blanks between them; the last is as long as it is.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let wide = |at: usize| {
        rows.iter().filter_map(|r| r.get(at)).map(|t| t.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..count).map(wide).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(text, wide)| format!("{text:wide$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Seconds since 1970.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
