//! `kro-hub graph`: a definition as a picture.

mod layout;
pub mod picture;
pub mod svg;

use super::validate::{self, World};
use clap::{Args as ClapArgs, ValueEnum};
use picture::Picture;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// File with a ResourceGraphDefinition; - is standard input
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Which definition, where the file holds several
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    world: World,
    /// How to draw it
    #[arg(short, long, value_enum, default_value = "mermaid")]
    output: Format,
    /// Leave out the lines between resources that a longer way joins too
    #[arg(long)]
    reduce: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Mermaid,
    Dot,
    Svg,
    Json,
}

/// Prints the picture; nothing if the definition has an error.
pub fn run(args: Args) -> ExitCode {
    validate::on_large_stack(move || {
        let judged = args.world.judge_definitions(std::slice::from_ref(&args.path))?;
        if judged.has_errors() {
            return Ok(validate::shown(&judged, validate::Format::Text, true));
        }
        let (object, graph) = judged.definition(args.name.as_deref())?;
        let picture = Picture::new(&object.node, graph);
        let picture = if args.reduce { picture.reduced() } else { picture };
        let text = match args.output {
            Format::Mermaid => picture.mermaid(),
            Format::Dot => picture.dot(),
            Format::Svg => svg::draw(&picture),
            Format::Json => picture.json(),
        };
        // A reader that has seen enough is no error.
        let _seen = std::io::stdout().write_all(text.as_bytes());
        Ok(ExitCode::SUCCESS)
    })
}
