//! `kro-hub cel`: tries an expression as a definition would have it checked and evaluated.

mod answer;
mod complete;
mod page;
mod shell;
mod world;

use answer::{Answer, Mode};
use anyhow::{Context, anyhow};
use clap::{Args as ClapArgs, ValueEnum};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use world::World;

/// The stack of the controller's evaluating threads, so that limits are the same.
const STACK_BYTES: usize = 16 << 20;
/// A longer line is cut: no expression is nearly as long.
const MAX_LINE: u64 = 1 << 20;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The expression; without one and without --file they are read from standard input, one a line
    #[arg(value_name = "EXPR", allow_hyphen_values = true)]
    expr: Option<String>,
    /// Values of the variables: a map, YAML or JSON
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Types of the variables: a map of OpenAPI schemas as in a CRD; a variable without one is dyn
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Expressions, one a line; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "expr")]
    file: Option<PathBuf>,
    /// Take each as the text of a field of a template, with its expressions in ${…}
    #[arg(long)]
    template: bool,
    /// text, or json: one object a line
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    /// As kro's flag: CELOmitFunction=true allows omit()
    #[arg(long, value_name = "NAME=BOOL,…", default_value = "", value_parser = gates, hide_default_value = true)]
    feature_gates: Gates,
    /// Print the reference of the language, docs/cel.md
    #[arg(long, conflicts_with_all = ["expr", "file", "data", "schema"])]
    docs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Gates {
    omit: bool,
}

fn gates(text: &str) -> Result<Gates, String> {
    let mut gates = Gates::default();
    for gate in text.split(',').map(str::trim).filter(|g| !g.is_empty()) {
        let (name, value) = gate.split_once('=').ok_or_else(|| format!("{gate}: write {gate}=true"))?;
        let value = match value.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => true,
            "false" | "f" | "0" => false,
            _ => return Err(format!("{gate}: write {name}=true or {name}=false")),
        };
        match name {
            "CELOmitFunction" | "AllAlpha" => gates.omit = value,
            // kro's other gates have nothing to do with expressions.
            "InstanceConditionEvents" | "InstanceConditionMetrics" | "AllBeta" => {}
            _ => return Err(format!("unknown gate {name}; expressions know CELOmitFunction")),
        }
    }
    Ok(gates)
}

/// Runs the command; false if an expression failed.
///
/// # Errors
/// A file cannot be read, or is not what it should be.
pub fn run(args: Args) -> anyhow::Result<bool> {
    let thread = std::thread::Builder::new().name("cel".into()).stack_size(STACK_BYTES);
    let done = thread.spawn(move || on_known_stack(&args))?.join();
    done.unwrap_or_else(|_| Err(anyhow!("an internal error, told above")))
}

fn on_known_stack(args: &Args) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    if args.docs {
        return finished(out.write_all(page::text().as_bytes()).map(|()| true));
    }
    let world = World::read(args.data.as_deref(), args.schema.as_deref())?;
    let mode = Mode { template: args.template, omit: args.feature_gates.omit };
    if let Some(expr) = &args.expr {
        let answer = world.answer(expr, mode);
        return finished(report(&mut out, args.output, expr, &answer, None).map(|()| answer.is_value()));
    }
    let asked = Asked { world: &world, mode, output: args.output };
    match &args.file {
        Some(path) if path.as_os_str() != "-" => {
            let name = path.display().to_string();
            let file = File::open(path).with_context(|| format!("--file {name}"))?;
            every_line(Lines { input: &mut BufReader::new(file), name: &name }, asked, &mut out)
        }
        None if io::stdin().is_terminal() => {
            drop(out);
            shell::run(world, mode).map(|()| true)
        }
        _ => every_line(Lines { input: &mut io::stdin().lock(), name: "<stdin>" }, asked, &mut out),
    }
}

/// Expressions, one on each line, and what they are called in messages.
struct Lines<'a, R> {
    input: &'a mut R,
    name: &'a str,
}

/// How each line is answered.
struct Asked<'a> {
    world: &'a World,
    mode: Mode,
    output: Output,
}

fn every_line<R: BufRead>(lines: Lines<R>, asked: Asked, out: &mut impl Write) -> anyhow::Result<bool> {
    let Lines { input, name } = lines;
    let Asked { world, mode, output } = asked;
    let mut good = true;
    let mut bytes = Vec::new();
    for number in 1_usize.. {
        bytes.clear();
        let read = io::Read::take(&mut *input, MAX_LINE).read_until(b'\n', &mut bytes);
        if read.with_context(|| format!("{name}:{number}"))? == 0 {
            break;
        }
        if !bytes.ends_with(b"\n") {
            input.skip_until(b'\n').with_context(|| format!("{name}:{number}"))?;
        }
        let line = String::from_utf8_lossy(&bytes);
        let expr = line.trim_end_matches(['\n', '\r']);
        if expr.trim().is_empty() {
            continue;
        }
        let answer = match std::str::from_utf8(&bytes) {
            Ok(_) => world.answer(expr, mode),
            Err(_) => Answer::refused("the line is not UTF-8"),
        };
        good &= answer.is_value();
        if let Err(error) = report(out, output, expr, &answer, Some((name, number))) {
            return finished(Err(error));
        }
    }
    finished(out.flush().map(|()| good))
}

fn report(
    out: &mut impl Write,
    output: Output,
    expr: &str,
    answer: &Answer,
    place: Option<(&str, usize)>,
) -> io::Result<()> {
    if output == Output::Json {
        return writeln!(out, "{}", answer.json(expr));
    }
    let text = answer.text(place);
    if answer.is_value() {
        return writeln!(out, "{text}");
    }
    // Results that were written before are flushed first, so that the order is right where both streams go to one
    // place.
    out.flush()?;
    eprintln!("{text}");
    Ok(())
}

/// A reader that has seen enough is no error.
fn finished(result: io::Result<bool>) -> anyhow::Result<bool> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        other => Ok(other?),
    }
}

/// The map that a YAML or JSON file holds.
fn read_map(path: &Path, flag: &str) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("{flag} {name}"))?;
    // YAML has a form of its own for nearly all JSON, but JSON says more exactly where it is wrong.
    let parsed = if path.extension().is_some_and(|e| e == "json") {
        serde_json::from_str(&text).map_err(|e| {
            let (line, column, told) = (e.line(), e.column(), e.to_string());
            let end = format!(" at line {line} column {column}");
            anyhow!("{flag} {name}:{line}:{column}: {}", told.strip_suffix(&end).unwrap_or(&told))
        })?
    } else {
        serde_saphyr::from_str(&text).map_err(|e| {
            // Only the first line of the error is shown; the others repeat the text.
            let told = e.to_string();
            let told = told.lines().next().unwrap_or_default();
            let Some(at) = e.location() else { return anyhow!("{flag} {name}: {told}") };
            let (line, column) = (at.line(), at.column());
            let start = format!("error: line {line} column {column}: ");
            anyhow!("{flag} {name}:{line}:{column}: {}", told.strip_prefix(&start).unwrap_or(told))
        })?
    };
    match parsed {
        serde_json::Value::Object(map) => Ok(map),
        serde_json::Value::Null => Ok(serde_json::Map::new()),
        _ => Err(anyhow!("{flag} {name}:1: a map of variable names is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], output: Output) -> (bool, String) {
        let mut out = Vec::new();
        let mode = Mode { template: false, omit: false };
        let lines = Lines { input: &mut &text[..], name: "e" };
        let good = every_line(lines, Asked { world: &World::default(), mode, output }, &mut out).unwrap();
        (good, String::from_utf8(out).unwrap())
    }

    #[test]
    fn one_answer_a_line() {
        let (good, out) = lines(b"1\r\n\n  \n'a' + 'b' \n", Output::Text);
        assert_eq!((good, out.as_str()), (true, "e:1: 1 : int\ne:4: \"ab\" : string\n"));
        let (good, out) = lines(b"\xff\n1", Output::Json);
        let rows: Vec<&str> = out.lines().collect();
        assert!(!good && rows.len() == 2 && rows[0].contains("check_error"), "{out}");
        assert_eq!(rows[1], r#"{"expr":"1","type":"int","value":1}"#);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut text = vec![b'('; 3 << 20];
        text.extend_from_slice(b"\n2");
        let (good, out) = lines(&text, Output::Json);
        assert!(!good && out.lines().count() == 2 && out.ends_with("\"value\":2}\n"));
    }

    #[test]
    fn feature_gates() {
        assert_eq!(gates("CELOmitFunction=true"), Ok(Gates { omit: true }));
        assert_eq!(gates(" InstanceConditionEvents=true, CELOmitFunction=false,"), Ok(Gates::default()));
        assert!(gates("CELOmitFunction").is_err() && gates("CELOmitFunction=maybe").is_err());
        assert!(gates("Nope=true").unwrap_err().contains("unknown gate Nope"));
    }
}
