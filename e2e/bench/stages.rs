//! The stages of one variant on fresh API servers.

use super::counts::Counts;
use super::replay::{self, Recording};
use super::results::{Results, Run, percentile};
use super::site::{Site, Variant};
use super::usage::Usage;
use super::watch::{Watch, active, name};
use super::workload::{CONFIGS, INSTANCES, NAMESPACE, RESOURCE, RGDS, definition, instance, names};
use crate::env::{Programs, eventually};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How much of each.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Seconds without work whose requests are subtracted; only in the first run.
    pub idle_seconds: u64,
    /// Seconds at rest with everything settled, and after a restart; only in the first run.
    pub rest_seconds: u64,
    /// Instances that are created one by one, and drifts that are repaired one by one.
    pub singles: usize,
    /// Instances created at once; the last batch is the one that is counted.
    pub batches: Vec<usize>,
    /// Definitions applied at once.
    pub definitions: usize,
    /// Edits of an instance on all real spokes.
    pub fleet_edits: usize,
    pub spokes: usize,
    /// Settled pairs whose memory is measured, and seconds of rest before.
    pub memory: Vec<usize>,
    pub memory_rest_seconds: u64,
    /// Instances created at once on an overloaded machine.
    pub overloaded: usize,
    pub idle_spokes: u16,
    /// Simulated spokes and real ones, a third of which fall silent; repairs in a round, and rounds of either sort.
    pub isolation_spokes: u16,
    pub isolation_servers: u16,
    pub repairs: usize,
    pub isolation_rounds: usize,
    /// Sizes of simulated fleets, and instances on all of their spokes.
    pub large_spokes: Vec<u16>,
    pub large_instances: usize,
    /// Simulated spokes over which a change travels, and instances on all of them.
    pub rollout_spokes: u16,
    pub rollout_instances: usize,
    /// Instances that people ask for, those of them that are on all clusters, and these clusters.
    pub people_instances: usize,
    pub people_everywhere: usize,
    pub people_clusters: u16,
    /// Seconds at rest with many definitions.
    pub crds_rest_seconds: u64,
    pub patience_seconds: u64,
}

impl Plan {
    pub fn full() -> Self {
        Self {
            idle_seconds: 120,
            rest_seconds: 60,
            singles: 50,
            batches: vec![200, 1000],
            definitions: 36,
            fleet_edits: 50,
            spokes: 20,
            memory: vec![1000, 5000],
            memory_rest_seconds: 60,
            overloaded: 400,
            idle_spokes: 500,
            isolation_spokes: 30,
            isolation_servers: 9,
            repairs: 200,
            isolation_rounds: 5,
            large_spokes: vec![100, 300, 1000],
            large_instances: 100,
            rollout_spokes: 1000,
            rollout_instances: 100,
            people_instances: 1000,
            people_everywhere: 100,
            people_clusters: 40,
            crds_rest_seconds: 600,
            patience_seconds: 600,
        }
    }

    pub fn quick() -> Self {
        Self {
            idle_seconds: 5,
            rest_seconds: 5,
            singles: 10,
            batches: vec![50],
            definitions: 12,
            fleet_edits: 10,
            spokes: 3,
            memory: vec![200, 600],
            memory_rest_seconds: 10,
            overloaded: 100,
            idle_spokes: 50,
            isolation_spokes: 12,
            isolation_servers: 0,
            repairs: 30,
            isolation_rounds: 1,
            large_spokes: vec![30],
            large_instances: 20,
            rollout_spokes: 30,
            rollout_instances: 10,
            people_instances: 1000,
            people_everywhere: 100,
            people_clusters: 40,
            crds_rest_seconds: 300,
            patience_seconds: 90,
        }
    }

    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_seconds)
    }

    pub fn largest(&self) -> usize {
        self.batches.iter().copied().max().unwrap_or_default()
    }
}

/// POSTs of the user under way at once.
pub const CREATORS: usize = 16;
const SOON: Duration = Duration::from_secs(60);

/// All stages of kro or kro-hub.
pub fn controller(
    variant: Variant,
    dir: &Path,
    plan: &Plan,
    run: usize,
    results: &mut Results,
) -> Result<()> {
    let mut site = Site::start(variant, dir, Programs::ServerOnly)?;
    let done = all(&mut site, plan, run, results);
    done.with_context(|| format!("the controller's log ends with:\n{}\n", site.log_tail()))
}

fn all(site: &mut Site, plan: &Plan, run: usize, results: &mut Results) -> Result<()> {
    let variant = site.variant.name();
    let seconds = prepare(site)?;
    let mut stage = |what: &str, fill: &mut dyn FnMut(&mut Run) -> Result<String>| -> Result<()> {
        let told = fill(results.run(variant, run)).with_context(|| what.to_owned())?;
        println!("  {what}: {told}");
        results.write()
    };
    stage("definition Active", &mut |r| {
        r.set("rgd_1_s", seconds);
        Ok(format!("{seconds:.2} s"))
    })?;
    let watch = Watch::open(site.hub(), INSTANCES)?;

    // The first one brings namespaces, CRDs and watches up, which nobody counts.
    create_one(site, &watch, "first")?;
    sleep(Duration::from_secs(2));
    let idle = if run == 1 { plan.idle_seconds } else { plan.idle_seconds.min(20) };
    let before = Counts::read(site)?;
    let start = Instant::now();
    sleep(Duration::from_secs(idle));
    let idle_rate = Counts::read(site)?.since(&before).times(1.0 / start.elapsed().as_secs_f64());
    stage("requests a second when idle", &mut |r| {
        r.requests("idle_per_second", &idle_rate);
        Ok(format!("{:.2}", idle_rate.sum()))
    })?;

    stage("create to ACTIVE, one by one", &mut |r| {
        let mut times = Vec::new();
        for n in 0..plan.singles {
            times.push(create_one(site, &watch, &format!("single-{n:03}"))?);
            sleep(Duration::from_millis(50));
        }
        Ok(percentiles(r, "create", &times))
    })?;
    stage("drift repaired", &mut |r| {
        let times = drifts(site, plan)?;
        Ok(percentiles(r, "drift", &times))
    })?;
    for size in &plan.batches {
        stage(&format!("{size} instances"), &mut |r| {
            batch(site, &watch, *size, plan, r, &idle_rate, &mut || Ok(()))
        })?;
    }
    if run == 1 {
        sleep(Duration::from_secs(2));
        stage("at rest", &mut |r| {
            let before = Counts::read(site)?;
            sleep(Duration::from_secs(plan.rest_seconds));
            Ok(tell(r, "rest", &Counts::read(site)?.since(&before)))
        })?;
        let before = Counts::read(site)?;
        site.stop_manager()?;
        site.start_manager()?;
        stage("restart", &mut |r| {
            sleep(Duration::from_secs(plan.rest_seconds));
            Ok(tell(r, "restart", &Counts::read(site)?.since(&before)))
        })?;
    }
    drop(watch);
    stage("many definitions at once", &mut |r| {
        let watch = Watch::open(site.hub(), RGDS)?;
        let bodies: Vec<_> = (0..plan.definitions)
            .map(|n| definition(&format!("many-{n:02}"), &format!("Many{n:02}"), site.variant))
            .collect();
        let mut waiting: BTreeSet<String> = bodies.iter().map(|b| name(b).to_owned()).collect();
        let start = site.hub().post_all(RGDS, &bodies, plan.definitions)?;
        let last = watch.until(Duration::from_secs(180), |rgd| {
            if rgd["status"]["state"] == "Active" {
                waiting.remove(name(rgd));
            }
            waiting.is_empty()
        });
        match last {
            Ok(last) => {
                let seconds = last.duration_since(start).as_secs_f64();
                r.set(&format!("rgd_{}_s", plan.definitions), seconds);
                Ok(format!("{} in {seconds:.2} s", plan.definitions))
            }
            Err(_) => Ok(format!("{} of {} not Active after 180 s", waiting.len(), plan.definitions)),
        }
    })
}

/// The definition and the namespace. Returns the seconds until the definition was Active.
pub fn prepare(site: &Site) -> Result<f64> {
    let hub = site.hub();
    hub.post("/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}}))?;
    let watch = Watch::open(hub, RGDS)?;
    let start = Instant::now();
    hub.post(RGDS, &definition("bench", "Bench", site.variant))?;
    let last = watch.until(SOON, |rgd| rgd["status"]["state"] == "Active")?;
    eventually(SOON, "the kind is served", || hub.get(INSTANCES)?.context("not yet"))?;
    Ok(last.duration_since(start).as_secs_f64())
}

/// Milliseconds until ACTIVE.
fn create_one(site: &Site, watch: &Watch, which: &str) -> Result<f64> {
    let start = Instant::now();
    site.hub().post(INSTANCES, &instance(which, site.variant.spoke()))?;
    let at = watch.until(SOON, |object| name(object) == which && active(object))?;
    Ok(at.duration_since(start).as_secs_f64() * 1000.0)
}

/// Milliseconds from the event of a foreign change to the event of its repair, each on an object of its own.
fn drifts(site: &Site, plan: &Plan) -> Result<Vec<f64>> {
    let home = site.home();
    let watch = Watch::open(home, CONFIGS)?;
    let mut times = Vec::new();
    for n in 0..plan.singles {
        let which = format!("single-{n:03}");
        home.merge_patch(&format!("{CONFIGS}/{which}"), &json!({"data": {"text": "drifted"}}))?;
        let seen = |text: &'static str| watch.until(SOON, |o| name(o) == which && o["data"]["text"] == text);
        let (from, to) = (seen("drifted")?, seen("hello")?);
        times.push(to.duration_since(from).as_secs_f64() * 1000.0);
        sleep(Duration::from_millis(50));
    }
    Ok(times)
}

/// Creates so many at once; `act` does what a controller would do, if none runs.
fn batch(
    site: &Site,
    watch: &Watch,
    size: usize,
    plan: &Plan,
    run: &mut Run,
    idle_rate: &Counts,
    act: &mut dyn FnMut() -> Result<()>,
) -> Result<String> {
    let bodies: Vec<_> = names(size).iter().map(|n| instance(n, site.variant.spoke())).collect();
    let mut waiting: BTreeSet<String> = names(size).into_iter().collect();
    let controllers: Vec<u32> = site.manager.iter().map(super::site::Manager::pid).collect();
    let servers = site.server_pids()?;
    let usage = || -> Result<(Usage, Usage)> { Ok((Usage::of(&controllers)?, Usage::of(&servers)?)) };
    let (before, used) = (Counts::read(site)?, usage()?);
    let window = Instant::now();
    let start = if site.manager.is_some() {
        site.hub().post_all(INSTANCES, &bodies, CREATORS)?
    } else {
        act()?;
        window
    };
    let last = watch.until(plan.patience(), |object| {
        if active(object) {
            waiting.remove(name(object));
        }
        waiting.is_empty()
    });
    let last = last.with_context(|| format!("{} of {size} are not ACTIVE", waiting.len()))?;
    settle(site)?;
    let seconds = last.duration_since(start).as_secs_f64();
    let after = usage()?;
    let own = Counts::one(&format!("hub POST {RESOURCE}"), bodies.len() as f64);
    let counts = Counts::read(site)?.since(&before).without(&own);
    let counts = counts.without(&idle_rate.times(window.elapsed().as_secs_f64())).times(1.0 / size as f64);
    run.set(&format!("batch_{size}_s"), seconds);
    run.set(&format!("batch_{size}_requests_per_instance"), counts.sum());
    run.set(&format!("batch_{size}_controller_cpu_s"), after.0.cpu_seconds - used.0.cpu_seconds);
    run.set(&format!("batch_{size}_server_cpu_s"), after.1.cpu_seconds - used.1.cpu_seconds);
    run.set("controller_peak_mib", after.0.peak_mib);
    run.set("server_peak_mib", after.1.peak_mib);
    let cpu = (after.0.cpu_seconds - used.0.cpu_seconds) * 1000.0 / size as f64;
    run.set("controller_cpu_ms_per_instance", cpu);
    run.set("requests_per_instance", counts.sum());
    run.requests("per_instance", &counts);
    Ok(format!("{seconds:.2} s, {:.2} requests an instance", counts.sum()))
}

/// What follows the last ACTIVE belongs to it: waits until nobody writes any more.
fn settle(site: &Site) -> Result<()> {
    let end = Instant::now() + SOON;
    let mut before = Counts::read(site)?;
    while Instant::now() < end {
        sleep(Duration::from_millis(1500));
        let now = Counts::read(site)?;
        if now.since(&before).writes() == 0.0 {
            break;
        }
        before = now;
    }
    Ok(())
}

/// The writes of a recording, sent again with no logic between them.
pub fn replay(
    dir: &Path,
    recording: &Recording,
    plan: &Plan,
    run: usize,
    results: &mut Results,
) -> Result<()> {
    let mut site = Site::start(Variant::Replay, dir, Programs::ServerOnly)?;
    prepare(&site)?;
    let watch = Watch::open(site.hub(), INSTANCES)?;
    // As with the others, the first one brings everything up; from then on nobody but the replay writes.
    create_one(&site, &watch, "first")?;
    sleep(Duration::from_secs(2));
    site.stop_manager()?;
    let sender = replay::Sender::new(&site)?;
    for size in &plan.batches {
        ensure!(*size <= plan.largest(), "a batch is larger than the recording");
        let run = results.run(Variant::Replay.name(), run);
        let mut act = || sender.send(recording, &names(*size));
        let told = batch(&site, &watch, *size, plan, run, &Counts::default(), &mut act)?;
        println!("  {size} instances: {told}");
        results.write()?;
    }
    Ok(())
}

pub fn percentiles(run: &mut Run, what: &str, times: &[f64]) -> String {
    let mut told = Vec::new();
    for percent in [50, 95, 99] {
        if let Some(value) = percentile(times, percent) {
            run.set(&format!("{what}_p{percent}_ms"), value);
            told.push(format!("p{percent} {value:.0} ms"));
        }
    }
    told.join(", ")
}

fn tell(run: &mut Run, what: &'static str, counts: &Counts) -> String {
    run.set(&format!("{what}_requests"), counts.sum());
    run.set(&format!("{what}_writes"), counts.writes());
    run.requests(what, counts);
    format!("{:.0} requests, {:.0} writes", counts.sum(), counts.writes())
}
