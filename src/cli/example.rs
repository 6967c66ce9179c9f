//! `kro-hub example`: an instance of a definition, to begin with.

use super::show;
use super::validate::{self, World};
use crate::view::example::Example;
use clap::Args as ClapArgs;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Files or folders with a ResourceGraphDefinition; - is standard input
    #[arg(value_name = "RGD", required = true)]
    paths: Vec<PathBuf>,
    /// Which definition, where there are several
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    world: World,
}

/// Prints the instance: 0; 1 where the definition has an error.
pub fn run(args: Args) -> ExitCode {
    let done = super::on_large_stack(move || {
        let judged = args.world.judge_definitions(&args.paths)?;
        if judged.has_errors() {
            return Ok(validate::shown(&judged, validate::Format::Text, true));
        }
        let (_, graph) = judged.definition(args.name.as_deref())?;
        let example = Example::of(graph);
        show::print(&example.yaml);
        if !example.open.is_empty() {
            eprintln!(
                "note: these are to be written, their rules name no value: {}",
                example.open.join(", ")
            );
        }
        Ok(ExitCode::SUCCESS)
    });
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
