//! One change of many instances travels over a large simulated fleet, a third of which is silent. Shown: how far it gets, what it
//! costs the hub in writes and memory, and how large its objects are.

use super::results::{Results, Run};
use super::simulated::{Fleet, changes};
use super::site::Variant;
use super::stages::Plan;
use super::usage::Usage;
use super::workload::{INSTANCES, NAMESPACE};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const PLACEMENTS: &str = "/apis/hub.kro.run/v1alpha1/namespaces/bench/placements";
const REPORTS: &str = "/apis/hub.kro.run/v1alpha1/namespaces/bench/instancereports";
/// Of a stage are under way at one time.
const AT_ONCE: &str = "10%";

pub fn run(dir: &Path, plan: &Plan, run: usize, results: &mut Results) -> Result<()> {
    let fleet = Fleet::start(dir, plan.rollout_spokes)?;
    let done = travel(&fleet, plan, results.run(Variant::Rollout.name(), run));
    results.write()?;
    done.with_context(|| format!("the controller's log ends with:\n{}\n", fleet.log_tail()))
}

fn travel(fleet: &Fleet, plan: &Plan, run: &mut Run) -> Result<()> {
    let spokes = fleet.spokes;
    let pairs = plan.rollout_instances as f64 * f64::from(spokes);
    println!("  {spokes} spokes, {} instances on all", plan.rollout_instances);
    fleet.register()?;
    fleet.place(plan.rollout_instances)?;
    let rest = || -> Result<f64> {
        fleet.settle()?;
        sleep(Duration::from_secs(plan.memory_rest_seconds));
        fleet.hub.wake()?;
        fleet.resident_mib()
    };
    let ungoverned = rest()?;
    let rollout = json!({"stages": [{"name": "all", "maxConcurrent": AT_ONCE}], "progressDeadline": "1h"});
    fleet.hub.post(
        PLACEMENTS,
        &json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Placement",
            "metadata": {"name": "all", "namespace": NAMESPACE},
            "spec": {"instances": {"kind": "Bench"}, "rollout": rollout}}),
    )?;
    let governed = rest()?;
    run.set("spokes", f64::from(spokes));
    run.set("ungoverned_mib", ungoverned);
    run.set("governed_mib", governed);
    run.set("bytes_a_pair", (governed - ungoverned) * 1024.0 * 1024.0 / pairs);
    println!("    at rest {ungoverned:.1} MiB, with a rollout in effect {governed:.1} MiB");

    let silent = spokes / 3;
    fleet.simulator.silence(spokes - silent + 1, spokes)?;
    let lost = |fleet: &Fleet| counted(fleet, "unreachable");
    fleet.wait("the silent ones are noticed", || {
        let (lost, all) = (lost(fleet)?, plan.rollout_instances as u64 * u64::from(silent));
        ensure!(lost == all, "{lost} of {all} pairs are unreachable");
        Ok(())
    })?;
    let before = (changes(&fleet.counts()?), Usage::of(&[fleet.controller()?.pid()])?);
    let start = edit(fleet, "second")?;
    let answering = plan.rollout_instances as u64 * u64::from(spokes - silent);
    updated(fleet, answering)?;
    let took = start.elapsed().as_secs_f64();
    let cpu = Usage::of(&[fleet.controller()?.pid()])?.cpu_seconds - before.1.cpu_seconds;
    fleet.settle()?;
    run.set("answering_updated_s", took);
    run.set("cpu_ms_a_pair", cpu * 1000.0 / answering as f64);
    println!(
        "    {answering} pairs that answer updated in {took:.1} s, {:.2} ms of CPU each",
        cpu * 1000.0 / answering as f64
    );
    let written = since(&changes(&fleet.counts()?), &before.0);
    let on_hub: f64 = written.iter().filter(|(key, _)| key.starts_with("hub ")).map(|(_, count)| count).sum();
    run.set("hub_writes_an_instance", on_hub / plan.rollout_instances as f64);
    println!("    writes: {written:?}");
    sizes(fleet, run)?;

    let start = Instant::now();
    fleet.simulator.speak(spokes - silent + 1, spokes)?;
    updated(fleet, plan.rollout_instances as u64 * u64::from(spokes))?;
    run.set("all_updated_s", start.elapsed().as_secs_f64());
    println!(
        "    the others updated {:.1} s after contact was possible again",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Every instance gets another text.
fn edit(fleet: &Fleet, text: &str) -> Result<Instant> {
    let start = Instant::now();
    for instance in fleet.hub.list(INSTANCES)? {
        let name = instance["metadata"]["name"].as_str().unwrap_or_default();
        fleet.hub.merge_patch(&format!("{INSTANCES}/{name}"), &json!({"spec": {"text": text}}))?;
    }
    Ok(start)
}

/// The sum of a count of `status.fleet` over all instances.
fn counted(fleet: &Fleet, what: &str) -> Result<u64> {
    let count = |object: &Value| object.pointer(&format!("/status/fleet/{what}")).and_then(Value::as_u64);
    Ok(fleet.hub.list(INSTANCES)?.iter().filter_map(count).sum())
}

fn updated(fleet: &Fleet, wanted: u64) -> Result<()> {
    fleet.wait("the change travels", || {
        let found = fleet.hub.list(INSTANCES)?;
        let of_second = |object: &&Value| object["status"]["fleet"]["rollout"]["version"] == 2;
        let count = |object: &Value| object["status"]["fleet"]["rollout"]["updated"].as_u64();
        let done: u64 = found.iter().filter(of_second).filter_map(count).sum();
        ensure!(done >= wanted, "{done} of {wanted} pairs are");
        Ok(())
    })
}

fn since(after: &BTreeMap<String, f64>, before: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let more = after.iter().map(|(key, n)| (key.clone(), n - before.get(key).copied().unwrap_or_default()));
    more.filter(|(_, more)| *more > 0.0).collect()
}

fn sizes(fleet: &Fleet, run: &mut Run) -> Result<()> {
    let largest = |objects: &[Value]| objects.iter().map(|o| o.to_string().len()).max().unwrap_or_default();
    let reports = fleet.hub.get(REPORTS)?.unwrap_or_default();
    let reports = reports["items"].as_array().cloned().unwrap_or_default();
    let parent = largest(&fleet.hub.list(INSTANCES)?);
    run.set("parent_kb", parent as f64 / 1000.0);
    run.set("report_kb", largest(&reports) as f64 / 1000.0);
    println!(
        "    the largest parent has {parent} bytes, the largest of {} reports {}",
        reports.len(),
        largest(&reports)
    );
    Ok(())
}
