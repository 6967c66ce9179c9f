//! What the controller holds at rest: idle, and for each pair of an instance and a cluster.

use super::results::{Results, Run};
use super::site::Variant;
use super::stages::{CREATORS, Plan};
use super::usage::Usage;
use super::watch::{Watch, active, name};
use super::workload::{INSTANCES, NAMESPACE, RGDS, definition, instance};
use crate::env::controller::{Controller, Options};
use crate::env::{Environment, Programs, eventually};
use anyhow::{Context, Result};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
const SPOKES: [&str; 2] = ["spoke-1", "spoke-2"];

/// Two settled sizes on fresh API servers, once on the hub itself and once on a spoke.
pub fn run(dir: &Path, plan: &Plan, run: usize, results: &mut Results) -> Result<()> {
    for (place, on_spoke) in [("local", false), ("spoke", true)] {
        let names: Vec<&str> = std::iter::once("hub").chain(SPOKES).collect();
        let env = Environment::start_with(&dir.join(place), &names, Programs::ServerOnly)?;
        let controller = Controller::start(&env, Options::default())?;
        let clusters = on_spoke.then_some(SPOKES[0]);
        let done =
            measure(&env, &controller, plan, (place, clusters), results.run(Variant::Memory.name(), run));
        results.write()?;
        done.with_context(|| format!("the controller's log ends with:\n{}\n", controller.log_tail(6)))?;
    }
    Ok(())
}

fn measure(
    env: &Environment,
    controller: &Controller,
    plan: &Plan,
    (place, clusters): (&str, Option<&str>),
    run: &mut Run,
) -> Result<()> {
    let hub = env.api("hub");
    for spoke in SPOKES {
        env.register("hub", spoke, &[])?;
    }
    if clusters.is_none() {
        let local = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "local"}, "spec": {"local": true}});
        hub.post("/apis/hub.kro.run/v1alpha1/clusters", &local)?;
        env.wait_cluster_ready("hub", "local", PATIENCE)?;
    }
    for spoke in SPOKES {
        env.wait_cluster_ready("hub", spoke, PATIENCE)?;
    }
    let at_rest = || -> Result<f64> {
        sleep(Duration::from_secs(plan.memory_rest_seconds));
        hub.wake()?;
        Ok(Usage::of(&[controller.pid()])?.resident_mib)
    };
    let idle = at_rest()?;
    run.set(&format!("idle_{place}_mib"), idle);
    println!("  {place}: idle with {} spokes {idle:.1} MiB", SPOKES.len());

    hub.post("/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}}))?;
    hub.post(RGDS, &definition("bench", "Bench", Variant::Memory))?;
    eventually(PATIENCE, "the kind is served", || hub.get(INSTANCES)?.context("not yet"))?;
    let watch = Watch::open(hub, INSTANCES)?;
    let mut known: Vec<(usize, f64)> = Vec::new();
    for size in &plan.memory {
        let from = known.last().map_or(0, |(size, _)| *size);
        let names: Vec<String> = (from..*size).map(|n| format!("pair-{n:05}")).collect();
        let bodies: Vec<_> = names.iter().map(|name| instance(name, clusters)).collect();
        let mut waiting: BTreeSet<String> = names.into_iter().collect();
        hub.post_all(INSTANCES, &bodies, CREATORS)?;
        watch
            .until(plan.patience(), |object| {
                if active(object) {
                    waiting.remove(name(object));
                }
                waiting.is_empty()
            })
            .with_context(|| format!("{} of {size} are not ACTIVE", waiting.len()))?;
        let peak = Usage::of(&[controller.pid()])?.peak_mib;
        let held = at_rest()?;
        run.set(&format!("{place}_{size}_mib"), held);
        run.set(&format!("{place}_{size}_peak_mib"), peak);
        println!("  {place}: {size} pairs {held:.1} MiB at rest, {peak:.1} at most");
        known.push((*size, held));
    }
    let kib_each = |from: (usize, f64), to: (usize, f64)| {
        let pairs = to.0.saturating_sub(from.0).max(1);
        (to.1 - from.1) * 1024.0 / pairs as f64
    };
    let (Some(first), Some(last)) = (known.first().copied(), known.last().copied()) else { return Ok(()) };
    let over_idle = kib_each((0, idle), last);
    run.set(&format!("{place}_over_idle_kib"), over_idle);
    // One size has no slope but the one from nothing.
    let each = if known.len() > 1 { kib_each(first, last) } else { over_idle };
    run.set(&format!("{place}_pair_kib"), each);
    println!(
        "  {place}: a pair {each:.1} KiB between the sizes, {over_idle:.1} KiB over the idle controller"
    );
    Ok(())
}
