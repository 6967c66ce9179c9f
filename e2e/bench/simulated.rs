//! Fleets of a size that no machine has API servers for. Two simulators serve them, one the hub and one all spokes: as in life,
//! the hub's API server does not wait for theirs.

use super::results::{Results, Run};
use super::site::Variant;
use super::stages::{CREATORS, Plan};
use super::usage::Usage;
use super::workload::{INSTANCES, NAMESPACE, RGDS, instance, small_definition};
use crate::env::api::Api;
use crate::env::controller::{self, Controller, Hub, Options};
use crate::env::eventually;
use crate::env::registration::{condition, secret};
use crate::env::simulator::Simulator;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

const CLUSTERS: &str = "/apis/hub.kro.run/v1alpha1/clusters";
const REPORTS: &str = "/apis/hub.kro.run/v1alpha1/namespaces/bench/instancereports";
const PATIENCE: Duration = Duration::from_secs(3600);
/// So long nothing is asked but what is asked at rest: it has settled.
const QUIET: Duration = Duration::from_secs(10);

/// A simulated fleet with a controller.
pub struct Fleet {
    // It ends before what it talks to.
    pub controller: Option<Controller>,
    pub simulator: Simulator,
    hub_server: Simulator,
    pub hub: Api,
    pub spokes: u16,
}

impl Fleet {
    /// Spokes are servers 1 to `spokes` of the simulator; none is registered yet.
    pub fn start(dir: &Path, spokes: u16) -> Result<Self> {
        let hub_server = Simulator::start(&dir.join("hub"), 1)?;
        let simulator = Simulator::start(&dir.join("spokes"), spokes + 1)?;
        let hub = hub_server.api(0)?;
        let mut fleet = Self { controller: None, simulator, hub_server, hub, spokes };
        fleet.start_controller()?;
        Ok(fleet)
    }

    pub fn hub_kubeconfig(&self) -> PathBuf {
        self.hub_server.kubeconfig(0)
    }

    /// Returns the seconds until it was ready.
    pub fn start_controller(&mut self) -> Result<f64> {
        let start = Instant::now();
        let kubeconfig = self.hub_server.kubeconfig(0);
        let hub = Hub { dir: self.hub_server.dir(), kubeconfig: &kubeconfig, api: &self.hub };
        self.controller = Some(Controller::start_at(hub, Options::default())?);
        Ok(start.elapsed().as_secs_f64())
    }

    pub fn controller(&self) -> Result<&Controller> {
        self.controller.as_ref().context("the controller does not run")
    }

    /// The Secret of every spoke, then waits until all are Ready. Returns the seconds.
    pub fn register(&self) -> Result<f64> {
        let secrets: Vec<Value> = (1..=self.spokes)
            .map(|server| {
                let kubeconfig = fs::read_to_string(self.simulator.kubeconfig(server))?;
                Ok(secret(&spoke(server), &kubeconfig, &[]))
            })
            .collect::<Result<_>>()?;
        let path = format!("/api/v1/namespaces/{}/secrets", controller::NAMESPACE);
        let start = self.hub.post_all(&path, &secrets, CREATORS)?;
        self.wait("all Clusters are Ready", || {
            let clusters = self.hub.list(CLUSTERS)?;
            let ready =
                clusters.iter().filter(|c| condition(c, "Ready").is_some_and(|c| c["status"] == "True"));
            let ready = ready.count();
            ensure!(ready == usize::from(self.spokes), "{ready} are");
            Ok(())
        })?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// The definition and so many instances on all spokes, then waits until all are ACTIVE. Returns the seconds from the
    /// first instance.
    pub fn place(&self, instances: usize) -> Result<f64> {
        self.hub.post("/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}}))?;
        self.hub.post(RGDS, &small_definition())?;
        eventually(PATIENCE, "the kind is served", || self.hub.get(INSTANCES)?.context("not yet"))?;
        let bodies: Vec<_> = (0..instances).map(|n| instance(&format!("all-{n:03}"), Some("*"))).collect();
        let start = self.hub.post_all(INSTANCES, &bodies, CREATORS)?;
        let mut told = Instant::now();
        self.wait("all instances are ACTIVE on all spokes", || {
            let found = self.hub.list(INSTANCES)?;
            let count = |object: &Value| object.pointer("/status/fleet/ready").and_then(Value::as_u64);
            let ready: u64 = found.iter().filter_map(count).sum();
            if told.elapsed() > Duration::from_secs(60) {
                told = Instant::now();
                println!(
                    "    {ready} pairs after {:.0} s; {}; {}",
                    start.elapsed().as_secs_f64(),
                    self.used()?,
                    self.waiting()?
                );
            }
            let active = found.iter().filter(|o| super::watch::active(o)).count();
            ensure!(
                active == instances && ready == instances as u64 * u64::from(self.spokes),
                "{active} instances are, with {ready} pairs"
            );
            Ok(())
        })?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Asks with pauses that grow with what an answer costs, so that asking does not move what is measured.
    pub fn wait(&self, what: &str, mut probe: impl FnMut() -> Result<()>) -> Result<()> {
        let start = Instant::now();
        loop {
            let asked = Instant::now();
            let Err(seen) = probe() else { return Ok(()) };
            ensure!(start.elapsed() < PATIENCE, "{what}: not within {} s; {seen:#}", PATIENCE.as_secs());
            self.controller()?.check()?;
            sleep((asked.elapsed() * 20).clamp(Duration::from_millis(200), Duration::from_secs(10)));
        }
    }

    /// Requests of all servers so far, as `hub VERB resource` and `spokes VERB resource`.
    pub fn counts(&self) -> Result<BTreeMap<String, f64>> {
        let named = |whose: &'static str, counts: BTreeMap<String, f64>| {
            counts.into_iter().map(move |(what, count)| (format!("{whose} {what}"), count))
        };
        let hub = named("hub", self.hub_server.counts(0, 0)?);
        Ok(hub.chain(named("spokes", self.simulator.counts(1, self.spokes)?)).collect())
    }

    /// Waits until the controller asks for nothing but what it asks for at rest.
    pub fn settle(&self) -> Result<()> {
        let working = || -> Result<f64> {
            let rests = |key: &str| key.contains("WATCH") || key.contains("leases");
            Ok(self.counts()?.iter().filter(|(key, _)| !rests(key)).map(|(_, count)| count).sum())
        };
        let mut before = working()?;
        self.wait("the controller comes to rest", || {
            sleep(QUIET);
            let now = working()?;
            let asked = now - std::mem::replace(&mut before, now);
            // A watch that could not go on is listed anew now and then.
            ensure!(asked <= (f64::from(self.spokes) / 100.0).max(2.0), "{asked} requests in {QUIET:?}");
            Ok(())
        })
    }

    pub fn used(&self) -> Result<String> {
        let (ours, theirs) = (
            Usage::of(&[self.controller()?.pid()])?,
            Usage::of(&[self.simulator.pid(), self.hub_server.pid()])?,
        );
        Ok(format!(
            "controller {:.0} MiB and {:.0} s of CPU, simulators {:.0} MiB and {:.0} s",
            ours.resident_mib, ours.cpu_seconds, theirs.resident_mib, theirs.cpu_seconds
        ))
    }

    /// What waits in the controller, over all clusters.
    fn waiting(&self) -> Result<String> {
        let text = self.controller()?.metrics()?;
        let sum = |name: &str| -> f64 {
            let values =
                text.lines().filter(|line| line.starts_with(name)).filter_map(|l| l.rsplit(' ').next());
            values.filter_map(|value| value.parse::<f64>().ok()).sum()
        };
        let [events, steps] = ["kro_hub_events_waiting{", "kro_hub_queue_length{"].map(sum);
        Ok(format!("{events} events and {steps} instances wait"))
    }

    pub fn resident_mib(&self) -> Result<f64> {
        Ok(Usage::of(&[self.controller()?.pid()])?.resident_mib)
    }

    pub fn log_tail(&self) -> String {
        let controller = self.controller.as_ref().map(|c| c.log_tail(6)).unwrap_or_default();
        format!("{controller}\nthe simulator's:\n{}", self.simulator.log_tail())
    }
}

pub fn spoke(server: u16) -> String {
    format!("s{server:04}")
}

pub fn changes(counts: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let change = |key: &str| {
        let mut words = key.split(' ').skip(1);
        let verb = words.next().unwrap_or_default();
        matches!(verb, "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE") && words.next() != Some("leases")
    };
    counts.iter().filter(|(key, _)| change(key)).map(|(key, count)| (key.clone(), *count)).collect()
}

/// Few instances on many spokes: what an idle spoke costs.
pub fn idle_spokes(dir: &Path, plan: &Plan, run: usize, results: &mut Results) -> Result<()> {
    let fleet = Fleet::start(dir, plan.idle_spokes)?;
    let done = idle(&fleet, plan, results.run(Variant::IdleSpokes.name(), run));
    results.write()?;
    done.with_context(|| format!("the controller's log ends with:\n{}\n", fleet.log_tail()))
}

fn idle(fleet: &Fleet, plan: &Plan, run: &mut Run) -> Result<()> {
    let rest = || -> Result<f64> {
        sleep(Duration::from_secs(plan.memory_rest_seconds));
        fleet.hub.wake()?;
        fleet.resident_mib()
    };
    let alone = rest()?;
    let registered = fleet.register()?;
    let converged = fleet.place(10)?;
    fleet.settle()?;
    let held = rest()?;
    let each = (held - alone) * 1024.0 / f64::from(fleet.spokes);
    run.set("spokes", f64::from(fleet.spokes));
    run.set("registered_s", registered);
    run.set("converged_s", converged);
    run.set("alone_mib", alone);
    run.set("all_mib", held);
    run.set("spoke_kib", each);
    println!(
        "  {} spokes with 10 instances each: {held:.1} MiB in all, {each:.0} KiB a spoke over {alone:.1} MiB with none; \
         registered in {registered:.1} s, converged in {converged:.1} s",
        fleet.spokes
    );
    Ok(())
}

/// Instances on all spokes of fleets of several sizes, and a restart of the controller of each.
pub fn large(dir: &Path, plan: &Plan, run: usize, results: &mut Results) -> Result<()> {
    for spokes in &plan.large_spokes {
        println!("  {spokes} spokes, {} instances on all", plan.large_instances);
        let mut fleet = Fleet::start(&dir.join(spokes.to_string()), *spokes)?;
        let done = one_size(&mut fleet, plan, results.run(Variant::Large.name(), run));
        results.write()?;
        done.with_context(|| format!("the controller's log ends with:\n{}\n", fleet.log_tail()))?;
    }
    Ok(())
}

fn one_size(fleet: &mut Fleet, plan: &Plan, run: &mut Run) -> Result<()> {
    let spokes = fleet.spokes;
    let mut set = |what: &str, value: f64| run.set(&format!("spokes_{spokes}_{what}"), value);
    let registered = fleet.register()?;
    set("registered_s", registered);
    println!("    registered in {registered:.1} s; {}", fleet.used()?);
    let converged = fleet.place(plan.large_instances)?;
    set("converged_s", converged);
    println!("    converged in {converged:.1} s; {}", fleet.used()?);
    fleet.settle()?;
    sleep(Duration::from_secs(plan.memory_rest_seconds));
    fleet.hub.wake()?;
    let pairs = plan.large_instances as f64 * f64::from(spokes);
    let usage = Usage::of(&[fleet.controller()?.pid()])?;
    set("mib", usage.resident_mib);
    set("peak_mib", usage.peak_mib);
    set("controller_cpu_ms_a_pair", usage.cpu_seconds * 1000.0 / pairs);
    let written = changes(&fleet.counts()?);
    set("writes_a_pair", written.values().sum::<f64>() / pairs);
    println!("    at rest: {}; at most {:.0} MiB", fleet.used()?, usage.peak_mib);

    let parents = fleet.hub.list(INSTANCES)?;
    let largest = |objects: &[Value]| objects.iter().map(|o| o.to_string().len()).max().unwrap_or_default();
    // Their kind is there once an instance needs them.
    let reports = fleet.hub.get(REPORTS)?.unwrap_or_default();
    let reports = reports["items"].as_array().cloned().unwrap_or_default();
    set("parent_kb", largest(&parents) as f64 / 1000.0);
    set("report_kb", largest(&reports) as f64 / 1000.0);
    set("reports", reports.len() as f64);
    println!(
        "    the largest parent has {} bytes, the largest of {} reports {}",
        largest(&parents),
        reports.len(),
        largest(&reports)
    );

    if let Some(controller) = fleet.controller.take() {
        controller.terminate()?;
    }
    let before = changes(&fleet.counts()?);
    let clusters = fleet.hub.list(CLUSTERS)?;
    let start = Instant::now();
    let ready = fleet.start_controller()?;
    let healthy = || -> Result<usize> {
        let text = fleet.controller()?.metrics()?;
        let of = |line: &&str| line.starts_with("kro_hub_cluster_healthy{") && line.ends_with(" 1");
        Ok(text.lines().filter(of).count())
    };
    fleet.wait("all clusters are healthy after the restart", || {
        let now = healthy()?;
        ensure!(now >= usize::from(spokes), "{now} are");
        Ok(())
    })?;
    let all = start.elapsed().as_secs_f64();
    fleet.settle()?;
    sleep(Duration::from_secs(plan.memory_rest_seconds));
    let after = changes(&fleet.counts()?);
    let more: BTreeMap<&String, f64> = after
        .iter()
        .map(|(key, count)| (key, count - before.get(key).copied().unwrap_or_default()))
        .filter(|(_, more)| *more > 0.0)
        .collect();
    let writes: f64 = more.values().sum::<f64>() + 0.0;
    let now = fleet.hub.list(CLUSTERS)?;
    if let Some((was, is)) = clusters.iter().zip(&now).find(|(was, is)| was["status"] != is["status"]) {
        println!("    the status of a Cluster was {} and is {}", was["status"], is["status"]);
    }
    set("restart_ready_s", ready);
    set("restart_connected_s", all);
    set("restart_writes", writes);
    set("restart_mib", fleet.resident_mib()?);
    println!(
        "    restart: ready in {ready:.1} s, all clusters connected in {all:.1} s, {writes:.0} writes {more:?}; {}",
        fleet.used()?
    );
    Ok(())
}
