//! `kro-hub crd`: the CustomResourceDefinitions that definitions generate.

use super::validate::{self, World};
use clap::Args as ClapArgs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Files, or folders, with ResourceGraphDefinitions; - is standard input
    #[arg(value_name = "FILE", required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    world: World,
}

/// Prints one document for each definition; nothing if one has an error.
pub fn run(args: Args) -> ExitCode {
    validate::on_large_stack(move || {
        let judged = args.world.judge_definitions(&args.paths)?;
        if judged.has_errors() {
            return Ok(validate::shown(&judged, validate::Format::Text, true));
        }
        let definitions = judged.definitions();
        anyhow::ensure!(!definitions.is_empty(), "there is no ResourceGraphDefinition");
        let mut out = String::new();
        for (_, graph) in definitions {
            let text = serde_saphyr::to_string(&graph.crd)?;
            out.push_str("---\n");
            out.push_str(text.trim_end());
            out.push('\n');
        }
        // A reader that has seen enough is no error.
        let _seen = std::io::stdout().write_all(out.as_bytes());
        Ok(ExitCode::SUCCESS)
    })
}
