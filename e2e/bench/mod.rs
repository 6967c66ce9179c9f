//! `make bench`: kro-hub beside kro, on the same API servers, with the same definition and the same instances.
//!
//! Each variant runs alone on a fresh API server, one after the other, and this some times over; what is reported are
//! medians. Results are written after each stage, so a run that is interrupted has still shown something.

mod counts;
mod crds;
mod fleet;
mod isolation;
mod memory;
mod overloaded;
mod people;
mod plot;
mod replay;
mod report;
mod results;
mod rollout;
pub mod simulated;
mod site;
mod stages;
pub mod usage;
mod watch;
pub mod workload;

use anyhow::{Context, Result, bail, ensure};
use results::Results;
use site::Variant;
use stages::Plan;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How to run it.
pub struct Options {
    /// One run with few instances.
    pub quick: bool,
    /// Names of variants; empty: all of them.
    pub only: Vec<String>,
    /// Runs of each variant, when it shall not be the usual number.
    pub runs: Option<usize>,
    /// Instances created at once, when it shall not be the usual number.
    pub instances: Option<usize>,
    /// Spokes of the fleets, when it shall not be the usual number.
    pub spokes: Option<u16>,
    /// Write docs/performance.md and its plot.
    pub docs: bool,
}

/// Runs what is asked for, writes `dir/bench.json` and prints the table.
///
/// # Errors
/// No variant gave a result, or one is asked for that does not exist. A variant that fails is reported and left out.
pub fn bench(dir: &Path, options: &Options) -> Result<()> {
    let start = Instant::now();
    let variants = chosen(&options.only, options.quick)?;
    let mut plan = if options.quick { Plan::quick() } else { Plan::full() };
    if let Some(instances) = options.instances {
        plan.batches = vec![instances];
        plan.memory = vec![instances.div_ceil(5), instances];
        plan.overloaded = instances;
        plan.large_instances = instances;
        plan.rollout_instances = instances;
    }
    if let Some(spokes) = options.spokes {
        plan.spokes = usize::from(spokes);
        plan.idle_spokes = spokes;
        plan.large_spokes = vec![spokes];
        plan.isolation_spokes = spokes;
        plan.rollout_spokes = spokes;
    }
    let runs = options.runs.unwrap_or(if options.quick { 1 } else { 5 });
    fs::create_dir_all(dir)?;
    let mut results = Results::new(dir.join("bench.json"), options.quick, runs, &plan);
    let scratch =
        crate::env::Scratch::new(dir.canonicalize()?.join(format!("bench-{}", std::process::id())))?;
    let place = |name: String| -> PathBuf { scratch.path().join(name) };
    let mut recording = None;
    let mut failed = Vec::new();
    for run in 1..=runs {
        // Those that run early must not always be the same ones.
        let mut order = variants.clone();
        if run % 2 == 0 {
            order.reverse();
        }
        for variant in order {
            println!("\n[{run}/{runs}] {} ({:.0} s so far)", variant.title(), start.elapsed().as_secs_f32());
            let here = place(format!("{}-{run}", variant.name()));
            let done = match variant {
                Variant::Fleet => fleet::run(&here, &plan, run, &mut results),
                Variant::Crds => crds::run(&here, &plan, run, &mut results),
                Variant::Memory => memory::run(&here, &plan, run, &mut results),
                Variant::Overloaded => overloaded::run(&here, &plan, run, &mut results),
                Variant::IdleSpokes => simulated::idle_spokes(&here, &plan, run, &mut results),
                Variant::Isolation => isolation::run(&here, &plan, run, &mut results),
                Variant::Large => simulated::large(&here, &plan, run, &mut results),
                Variant::Rollout => rollout::run(&here, &plan, run, &mut results),
                Variant::People => people::run(&here, &plan, run, &mut results),
                Variant::Replay => {
                    if recording.is_none() {
                        println!("  recording the writes of kro-hub first");
                        match replay::record(&place(format!("recording-{run}")), &plan) {
                            Ok(made) => recording = Some(made),
                            Err(error) => {
                                eprintln!("  failed: {error:#}");
                                failed.push(format!("recording: {error:#}"));
                                continue;
                            }
                        }
                    }
                    match &recording {
                        Some(recording) => stages::replay(&here, recording, &plan, run, &mut results),
                        None => continue,
                    }
                }
                _ => stages::controller(variant, &here, &plan, run, &mut results),
            };
            if let Err(error) = done {
                eprintln!("  failed: {error:#}");
                failed.push(format!("{} in run {run}: {error:#}", variant.name()));
            }
            results.write()?;
            let _ = fs::remove_dir_all(&here);
        }
    }
    results.failures = failed;
    results.write()?;
    let text = report::text(&results);
    println!("\n{text}");
    println!("Took {:.0} s. {} has all of it.", start.elapsed().as_secs_f32(), results.path().display());
    let docs = options.docs.then(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("docs"));
    for (name, svg) in plot::all(&results) {
        fs::write(docs.as_deref().unwrap_or(dir).join(name), svg)?;
    }
    if let Some(docs) = docs {
        report::into_document(&docs.join("performance.md"), &results)?;
        println!("docs/performance.md and its plots are written anew.");
    }
    ensure!(!results.runs.is_empty(), "no variant gave a result");
    ensure!(results.failures.is_empty(), "left out: {}", results.failures.join("; "));
    Ok(())
}

/// What takes long is measured quickly only where it is asked for.
fn chosen(only: &[String], quick: bool) -> Result<Vec<Variant>> {
    if only.is_empty() {
        let all = Variant::ALL.into_iter();
        return Ok(all.filter(|variant| !quick || !variant.is_long()).collect());
    }
    only.iter()
        .map(|name| match Variant::ALL.iter().find(|v| v.name() == name) {
            Some(variant) => Ok(*variant),
            None => {
                let names: Vec<_> = Variant::ALL.iter().map(|v| v.name()).collect();
                bail!("there is no variant {name}; ONLY takes some of {}", names.join(","))
            }
        })
        .collect::<Result<_>>()
        .context("ONLY")
}
