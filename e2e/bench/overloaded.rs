//! Too much at once on a machine that is too small: what the hub is asked for each instance.

use super::results::Results;
use super::site::Variant;
use super::stages::{CREATORS, Plan};
use super::watch::{Watch, active, name};
use super::workload::{INSTANCES, RESOURCE, instance};
use crate::env::api::Api;
use crate::env::controller::{Controller, Options};
use crate::env::{Environment, Programs, eventually};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(300);
const SPOKES: [&str; 2] = ["spoke-1", "spoke-2"];
/// Threads that do nothing but take time, for each core.
const BUSY_EACH: usize = 2;

/// Threads that are always busy, until it is dropped.
struct Load(Arc<AtomicBool>);

impl Load {
    fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores * BUSY_EACH {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(over)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub fn run(dir: &Path, plan: &Plan, run: usize, results: &mut Results) -> Result<()> {
    let names: Vec<&str> = std::iter::once("hub").chain(SPOKES).collect();
    let env = Environment::start_with(dir, &names, Programs::ServerOnly)?;
    let controller = Controller::start(&env, Options::default())?;
    let (writes, seconds) = measure(&env, plan.overloaded)
        .with_context(|| format!("the controller's log ends with:\n{}\n", controller.log_tail(6)))?;
    let timeouts = controller
        .metrics()?
        .lines()
        .filter(|line| line.starts_with("kro_hub_requests_total{") && line.contains("code=\"timeout\""))
        .filter_map(|line| line.rsplit_once("} ")?.1.parse::<f64>().ok())
        .sum::<f64>()
        + 0.0;
    let run = results.run(Variant::Overloaded.name(), run);
    run.set("hub_status_writes_per_instance", writes);
    run.set("s", seconds);
    run.set("timeouts", timeouts);
    println!(
        "  {} instances on two spokes in {seconds:.1} s; {writes:.2} status writes on the hub each, {timeouts} timeouts",
        plan.overloaded
    );
    results.write()
}

/// Status writes on the hub an instance, and seconds from the first POST to the last ACTIVE.
fn measure(env: &Environment, size: usize) -> Result<(f64, f64)> {
    let hub = env.api("hub");
    super::site::stand(env, &SPOKES, Variant::Overloaded, PATIENCE)?;
    let watch = Watch::open(hub, INSTANCES)?;
    let names: Vec<String> = (0..size).map(|n| format!("b-{n:04}")).collect();
    let bodies: Vec<_> = names.iter().map(|name| instance(name, Some(&SPOKES.join(",")))).collect();
    let mut waiting: BTreeSet<String> = names.into_iter().collect();
    let before = status_writes(hub)?;
    let load = Load::start();
    let start: Instant = hub.post_all(INSTANCES, &bodies, CREATORS)?;
    let last = watch
        .until(PATIENCE, |object| {
            if active(object) {
                waiting.remove(name(object));
            }
            waiting.is_empty()
        })
        .with_context(|| format!("{} of {size} are not ACTIVE", waiting.len()))?;
    drop(load);
    // Writes that come after the last ACTIVE belong to it.
    let mut seen = status_writes(hub)?;
    eventually(PATIENCE, "nobody writes any more", || {
        std::thread::sleep(Duration::from_secs(3));
        hub.wake()?;
        let now = status_writes(hub)?;
        anyhow::ensure!(std::mem::replace(&mut seen, now) == now, "{now} status writes");
        Ok(())
    })?;
    Ok(((seen - before) / size as f64, last.duration_since(start).as_secs_f64()))
}

/// Of instances, by any verb, from the API server's own metrics.
fn status_writes(hub: &Api) -> Result<f64> {
    let of = |line: &str| {
        let (labels, value) = line.strip_prefix("apiserver_request_total{")?.rsplit_once("} ")?;
        let has = |label: &str| labels.contains(label);
        let reads = has("verb=\"GET\"") || has("verb=\"LIST\"") || has("verb=\"WATCH\"");
        let this = has(&format!("resource=\"{RESOURCE}\"")) && has("subresource=\"status\"");
        (this && !reads).then(|| value.trim().parse::<f64>().ok()).flatten()
    };
    Ok(hub.text("/metrics")?.lines().filter_map(of).sum())
}
