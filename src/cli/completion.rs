//! `kro-hub completion`: scripts for shells, and the names that they ask for.
//!
//! Commands and flags stand in the scripts. Kinds and instances are asked of the hub by the hidden command `__complete`, which
//! answers in the protocol of Cobra, so that kubectl can ask it too.

use super::Cli;
use super::connection::Connecting;
use super::show;
use crate::edge::{Failure, Hub, Scope};
use crate::view::kinds::{Generated, named};
use crate::view::reasons;
use clap::{Args as ClapArgs, CommandFactory, Parser, ValueEnum};
use clap_complete::{Shell, generate};
use std::process::ExitCode;
use std::time::Duration;

/// Nobody waits longer for a name.
const PATIENCE: Duration = Duration::from_secs(1);
/// The commands that are about instances.
const OF_INSTANCES: [&str; 7] = ["get", "trace", "tree", "explain", "wait", "events", "approve"];

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// kubectl prints the file kubectl_complete-kro_hub, which belongs into the PATH
    #[arg(value_enum)]
    shell: For,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum For {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Elvish,
    Kubectl,
}

/// Prints the script.
pub fn run(args: &Args) -> ExitCode {
    let shell = match args.shell {
        For::Bash => Shell::Bash,
        For::Zsh => Shell::Zsh,
        For::Fish => Shell::Fish,
        For::Powershell => Shell::PowerShell,
        For::Elvish => Shell::Elvish,
        For::Kubectl => {
            show::print("#!/bin/sh\nexec kubectl kro_hub __complete \"$@\"\n");
            return ExitCode::SUCCESS;
        }
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "kro-hub", &mut script);
    show::print(&String::from_utf8_lossy(&script));
    let names = match args.shell {
        For::Bash => BASH,
        For::Fish => FISH,
        _ => "",
    };
    show::print(names);
    ExitCode::SUCCESS
}

/// Adds the names of kinds and instances to what the script knows.
const BASH: &str = r#"
_kro_hub_with_names() {
    _kro-hub "$@"
    local current="${COMP_WORDS[COMP_CWORD]}"
    case "${COMP_WORDS[1]}" in
    get|trace|tree|explain|wait|events|approve)
        case "$current" in -*) return ;; esac
        local names
        names=$(kro-hub __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | grep -v '^:')
        COMPREPLY=($(compgen -W "$names" -- "$current"))
        ;;
    esac
}
complete -F _kro_hub_with_names -o nosort -o bashdefault -o default kro-hub
"#;
const FISH: &str = r#"
complete -c kro-hub -n "__fish_seen_subcommand_from get trace tree explain wait events approve" -f \
    -a "(kro-hub __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null | string match -v ':*')"
"#;

#[derive(Debug, ClapArgs)]
pub struct Asked {
    /// The words so far; the last one is not complete
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    words: Vec<String>,
}

/// The flags of a line that is not complete, as far as they say which hub is meant.
#[derive(Debug, Parser)]
#[command(ignore_errors = true, disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    connecting: Connecting,
    #[arg()]
    words: Vec<String>,
}

/// Answers with one candidate a line, then what the shell is to do: `:4`, take no files.
pub fn complete(asked: Asked) -> ExitCode {
    let (last, before) = asked.words.split_last().map_or(("", &[][..]), |(l, b)| (l.as_str(), b));
    let mut names = Vec::new();
    match before.first() {
        None => {
            let all = Cli::command();
            let known = all.get_subcommands().filter(|c| !c.is_hide_set());
            names.extend(known.map(|c| c.get_name().to_owned()));
        }
        Some(verb) if OF_INSTANCES.contains(&verb.as_str()) && !last.starts_with('-') => {
            let line = std::iter::once("kro-hub".to_owned()).chain(before.iter().skip(1).cloned());
            if let Ok(line) = Line::try_parse_from(line) {
                names = live(line, verb, last.to_owned());
            }
            if verb == "explain" && before.len() == 1 {
                names.extend(reasons::all());
            }
        }
        Some(_) => {}
    }
    names.retain(|name| name.starts_with(last));
    names.iter().for_each(|name| show::print(&format!("{name}\n")));
    show::print(":4\n");
    ExitCode::SUCCESS
}

/// Asks the hub; who cannot be asked in time has no names.
fn live(line: Line, verb: &str, last: String) -> Vec<String> {
    let of_get = verb == "get";
    let found = super::on_large_stack(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let asking = async { tokio::time::timeout(PATIENCE, ask(&line, &last, of_get)).await };
        let found = runtime.block_on(asking);
        runtime.shutdown_background();
        anyhow::Ok(found)
    });
    match found {
        Ok(Ok(Ok(names))) => names,
        _ => Vec::new(),
    }
}

async fn ask(line: &Line, last: &str, of_get: bool) -> Result<Vec<String>, Failure> {
    let hub = Hub::new(line.connecting.person()?.hub().await?);
    let definitions = hub.definitions().await?;
    let all: Vec<Generated> = definitions.iter().filter_map(Generated::of).collect();
    let (kind, prefix) = match (last.split_once('/'), line.words.first()) {
        (Some((kind, _)), _) => (kind.to_owned(), format!("{kind}/")),
        (None, Some(kind)) if !kind.contains('/') => (kind.clone(), String::new()),
        _ => {
            let mut names: Vec<String> = all.iter().map(|kind| kind.plural.clone()).collect();
            if of_get {
                names.extend(["clusters".to_owned(), "definitions".to_owned()]);
            }
            names.extend(all.iter().map(|kind| format!("{}/", kind.lower())));
            return Ok(names);
        }
    };
    let kind = named(&all, &kind).map_err(Failure::usage)?;
    let scope = Scope { namespace: Some(hub.connection.namespace.clone()), ..Scope::default() };
    let objects = hub.instances(&kind.resource(), kind.namespaced, &scope).await?;
    Ok(objects.iter().map(|object| format!("{prefix}{}", object.name())).collect())
}
