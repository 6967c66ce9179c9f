//! Many real spokes: how long a change on the hub takes to the child on each spoke.

use super::results::Results;
use super::site::Variant;
use super::stages::{Plan, percentiles};
use super::watch::{Watch, active, name};
use super::workload::{CONFIGS, INSTANCES, instance};
use crate::env::controller::{Controller, Options};
use crate::env::{Environment, Programs};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

pub fn run(dir: &Path, plan: &Plan, run: usize, results: &mut Results) -> Result<()> {
    let spokes: Vec<String> = (1..=plan.spokes).map(|n| format!("spoke-{n}")).collect();
    let names: Vec<&str> = std::iter::once("hub").chain(spokes.iter().map(String::as_str)).collect();
    let env = Environment::start_with(dir, &names, Programs::ServerOnly)?;
    let controller = Controller::start(&env, Options::default())?;
    let times = edits(&env, &spokes, plan)
        .with_context(|| format!("the controller's log ends with:\n{}\n", controller.log_tail(6)))?;
    let run = results.run(Variant::Fleet.name(), run);
    run.set("spokes", spokes.len() as f64);
    let told = percentiles(run, "hub_to_spoke", &times);
    println!("  hub write to child on {} spokes: {told}", spokes.len());
    results.write()
}

/// Milliseconds from before the write on the hub to the event on each spoke.
fn edits(env: &Environment, spokes: &[String], plan: &Plan) -> Result<Vec<f64>> {
    let hub = env.api("hub");
    super::site::stand(env, spokes, Variant::Fleet, PATIENCE)?;
    let watch = Watch::open(hub, INSTANCES)?;
    hub.post(INSTANCES, &instance("all", Some("*")))?;
    watch.until(PATIENCE, |object| name(object) == "all" && active(object) && ready(object, spokes.len()))?;
    let watches: Vec<Watch> =
        spokes.iter().map(|spoke| Watch::open(env.api(spoke), CONFIGS)).collect::<Result<_>>()?;
    let mut times = Vec::new();
    for n in 0..plan.fleet_edits {
        let words = format!("edit {n}");
        let start = Instant::now();
        hub.merge_patch(&format!("{INSTANCES}/all"), &json!({"spec": {"text": words}}))?;
        for watch in &watches {
            let at = watch.until(PATIENCE, |o| name(o) == "all" && o["data"]["text"] == words.as_str())?;
            times.push(at.duration_since(start).as_secs_f64() * 1000.0);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(times)
}

fn ready(object: &Value, count: usize) -> bool {
    object.pointer("/status/fleet/ready").and_then(Value::as_u64) == Some(count as u64)
}
