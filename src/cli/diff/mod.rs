//! `kro-hub diff`: what changes on each cluster between two revisions of a repository, without one.

pub mod comparing;
mod git;
mod making;
pub mod placing;
pub mod side;
#[cfg(test)]
mod tests;

use super::get::chosen;
use super::render::facts::{self, Facts};
use super::show::{self, Showing};
use super::validate::{self, Judged, Judging};
use crate::api::Object;
use crate::view::changes::{Compared, Diff};
use crate::view::document::View;
use anyhow::{Context, anyhow};
use clap::{Args as ClapArgs, ValueEnum};
use comparing::compare;
use git::{Repository, Texts};
use side::{Side, facts_in};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The earlier revision
    #[arg(value_name = "REV1")]
    before: String,
    /// The later revision; without one it is the work tree
    #[arg(value_name = "REV2|DIR")]
    after: String,
    /// A folder of the repository
    #[arg(value_name = "DIR")]
    folder: Option<String>,
    /// Only these clusters: names with commas, or a label selector
    #[arg(long, value_name = "NAMES|SELECTOR")]
    clusters: Option<String>,
    /// Ids and versions of clusters, as `kro-hub cluster facts` prints them [default: those in the repository]
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// How to show it: markdown is for a comment under a pull request
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORM")]
    output: Format,
    #[command(flatten)]
    judging: Judging,
    #[command(flatten)]
    showing: Showing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Yaml,
    Markdown,
}

/// The exit code where something changes.
const CHANGES: u8 = 2;

/// Prints what changes: 0 nothing, 2 something, 1 it cannot be told or is refused.
pub fn run(args: Args) -> ExitCode {
    super::on_large_stack(move || diff(&args)).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn diff(args: &Args) -> anyhow::Result<ExitCode> {
    let (after, folder) = match &args.folder {
        Some(folder) => (Some(&args.after), folder),
        None => (None, &args.after),
    };
    let repository = Repository::at(Path::new(folder))?;
    let reads = args.judging.reads()?;
    let (from, old) = at(&repository, &args.before, &reads)?;
    let (to, new) = match after {
        Some(after) => at(&repository, after, &reads)?,
        None => ("the work tree".to_owned(), repository.texts(&reads)?),
    };
    let before = args.judging.judge_texts(old)?;
    let after = args.judging.judge_texts(new)?;
    if after.has_errors() {
        validate::shown(&after, validate::Format::Text, true);
        return Ok(ExitCode::FAILURE);
    }
    if before.has_errors() {
        let count = before.errors();
        args.showing.note(&format!("note: {from} has {count} errors; what they are in counts as absent"));
    }
    let view = view(args, (&before, &after), Compared { from, to })?;
    match args.output {
        Format::Text => show::print(&view.text(&args.showing.look())),
        Format::Json => show::print(&view.json()),
        Format::Yaml => show::print(&view.yaml()),
        Format::Markdown => show::print(&view.markdown()),
    }
    Ok(match &view.changes {
        changes if changes.summary.refused > 0 => ExitCode::FAILURE,
        changes if changes.is_empty() => ExitCode::SUCCESS,
        _ => ExitCode::from(CHANGES),
    })
}

/// What a revision is called, and its files.
fn at(
    repository: &Repository,
    revision: &str,
    reads: impl Fn(&Path) -> bool,
) -> anyhow::Result<(String, Texts)> {
    let commit = repository.commit(revision)?;
    let short = commit.get(..7).unwrap_or(&commit);
    let named = if commit.starts_with(revision) { short.to_owned() } else { format!("{revision} ({short})") };
    Ok((named, repository.texts_at(&commit, reads)?))
}

fn view(args: &Args, (before, after): (&Judged, &Judged), spec: Compared) -> anyhow::Result<Diff> {
    let known = known(args, before, after)?;
    let (mut was, mut is) = (Side::new(before, &known)?, Side::new(after, &known)?);
    let wanted = match &args.clusters {
        Some(text) => {
            let clusters: Vec<Object> = is.registered.values().cloned().collect();
            Some(chosen(text, &clusters).map_err(|failure| anyhow!("{failure}"))?)
        }
        None => None,
    };
    if was.clusters.is_empty() && is.clusters.is_empty() {
        was.on_any_cluster();
        is.on_any_cluster();
    }
    let file = args.facts.as_ref().map_or_else(|| "facts.yaml".to_owned(), |file| file.display().to_string());
    Ok(Diff { spec, changes: compare(&was, &is, wanted.as_ref(), &file)? })
}

/// What is known of the clusters now, at whichever revision: facts are no part of a change.
fn known(args: &Args, before: &Judged, after: &Judged) -> anyhow::Result<Facts> {
    if let Some(path) = &args.facts {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        return facts::read(&text).with_context(|| path.display().to_string());
    }
    let mut known = facts_in(before)?;
    known.extend(facts_in(after)?);
    Ok(known)
}
