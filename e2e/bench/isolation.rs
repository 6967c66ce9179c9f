//! What the others feel while a third of the spokes answers nothing: repairs of drift on those that answer.

use super::results::{Results, Run, median, percentile};
use super::simulated::Fleet;
use super::site::Variant;
use super::stages::Plan;
use super::watch::{Watch, name};
use super::workload::{CONFIGS, INSTANCES, instance};
use crate::env::api::Api;
use crate::env::controller::{Controller, Options};
use crate::env::{Environment, Programs, eventually};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);
/// Of a fleet, the first of so many are silent.
const SILENT_OF: u16 = 3;
/// Repairs that are counted nowhere: they warm everything up.
const WARM: usize = 10;
/// From the silence on, until connections that are lost are found out and are tried again.
const NOTICE: Duration = Duration::from_secs(5);

pub fn run(dir: &Path, plan: &Plan, run: usize, results: &mut Results) -> Result<()> {
    if plan.isolation_spokes > 0 {
        let fleet = Fleet::start(&dir.join("simulated"), plan.isolation_spokes)?;
        let done = simulated(&fleet, plan, results.run(Variant::Isolation.name(), run));
        results.write()?;
        done.with_context(|| format!("the controller's log ends with:\n{}\n", fleet.log_tail()))?;
    }
    if plan.isolation_servers > 0 {
        let spokes: Vec<String> = (1..=plan.isolation_servers).map(|n| format!("spoke-{n}")).collect();
        let names: Vec<&str> = std::iter::once("hub").chain(spokes.iter().map(String::as_str)).collect();
        let env = Environment::start_with(&dir.join("real"), &names, Programs::ServerOnly)?;
        let controller = Controller::start(&env, Options::default())?;
        let done = real(&env, &spokes, plan, results.run(Variant::Isolation.name(), run));
        results.write()?;
        done.with_context(|| format!("the controller's log ends with:\n{}\n", controller.log_tail(6)))?;
    }
    Ok(())
}

fn simulated(fleet: &Fleet, plan: &Plan, run: &mut Run) -> Result<()> {
    fleet.register()?;
    let silent = fleet.spokes / SILENT_OF;
    let healthy: Vec<Api> =
        (silent + 1..=fleet.spokes).map(|server| fleet.simulator.api(server)).collect::<Result<_>>()?;
    let instances = instances_for(plan, &healthy);
    fleet.place(instances)?;
    fleet.settle()?;
    let mut round = Rounds { healthy: &healthy, next: 0, name: |n| format!("all-{n:03}") };
    let silence = |on: bool| {
        if on { fleet.simulator.silence(1, silent) } else { fleet.simulator.speak(1, silent) }
    };
    let back = || fleet.settle();
    alternate(&mut round, "simulated", plan, run, &silence, &back)
}

fn real(env: &Environment, spokes: &[String], plan: &Plan, run: &mut Run) -> Result<()> {
    let hub = env.api("hub");
    super::site::stand(env, spokes, Variant::Isolation, PATIENCE)?;
    let (silent, others) = spokes.split_at(spokes.len() / usize::from(SILENT_OF));
    let healthy: Vec<Api> = others.iter().map(|spoke| env.api(spoke).clone()).collect();
    let instances = instances_for(plan, &healthy);
    let bodies: Vec<Value> = (0..instances).map(|n| instance(&format!("all-{n:03}"), Some("*"))).collect();
    hub.post_all(INSTANCES, &bodies, 4)?;
    eventually(PATIENCE * 5, "all instances are ACTIVE", || {
        let found = hub.list(INSTANCES)?;
        let active = found.iter().filter(|o| super::watch::active(o)).count();
        anyhow::ensure!(active == instances, "{active} are");
        sleep(Duration::from_secs(1));
        Ok(())
    })?;
    let mut round = Rounds { healthy: &healthy, next: 0, name: |n| format!("all-{n:03}") };
    let silence =
        |on: bool| silent.iter().try_for_each(|name| if on { env.freeze(name) } else { env.thaw(name) });
    let back = || silent.iter().try_for_each(|name| env.wait_cluster_ready("hub", name, PATIENCE));
    alternate(&mut round, "real", plan, run, &silence, &back)
}

/// No object drifts twice: what is moved again and again is left alone for a while.
fn instances_for(plan: &Plan, healthy: &[Api]) -> usize {
    (WARM + plan.repairs * plan.isolation_rounds * 2).div_ceil(healthy.len())
}

/// All healthy, then a third silent, so many times over.
fn alternate(
    round: &mut Rounds<'_>,
    place: &str,
    plan: &Plan,
    run: &mut Run,
    silence: &dyn Fn(bool) -> Result<()>,
    back: &dyn Fn() -> Result<()>,
) -> Result<()> {
    round.repairs(WARM)?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..plan.isolation_rounds {
        without.push(round.repairs(plan.repairs)?);
        silence(true)?;
        sleep(NOTICE);
        let held = round.repairs(plan.repairs);
        silence(false)?;
        with.push(held?);
        back()?;
        sleep(Duration::from_secs(2));
    }
    let of = |rounds: &[Vec<f64>], percent: usize| {
        median(rounds.iter().filter_map(|times| percentile(times, percent)).collect()).unwrap_or_default()
    };
    for percent in [50, 99] {
        let (healthy, silent) = (of(&without, percent), of(&with, percent));
        run.set(&format!("{place}_healthy_p{percent}_ms"), healthy);
        run.set(&format!("{place}_silent_p{percent}_ms"), silent);
        run.set(&format!("{place}_p{percent}_ratio"), silent / healthy.max(0.001));
        println!(
            "  {place}: repairs p{percent} {healthy:.2} ms with all healthy, {silent:.2} ms with a third silent \
             (medians of {} rounds)",
            plan.isolation_rounds
        );
    }
    Ok(())
}

/// Repairs of objects that did not drift before.
struct Rounds<'a> {
    healthy: &'a [Api],
    next: usize,
    name: fn(usize) -> String,
}

impl Rounds<'_> {
    /// Milliseconds from the event of a foreign change to the event of its repair.
    fn repairs(&mut self, count: usize) -> Result<Vec<f64>> {
        let watches: Vec<Watch> =
            self.healthy.iter().map(|api| Watch::open(api, CONFIGS)).collect::<Result<_>>()?;
        let mut times = Vec::new();
        for _ in 0..count {
            let (spoke, which) = (self.next % self.healthy.len(), self.next / self.healthy.len());
            self.next += 1;
            let (Some(api), Some(watch)) = (self.healthy.get(spoke), watches.get(spoke)) else { continue };
            let which = (self.name)(which);
            api.merge_patch(&format!("{CONFIGS}/{which}"), &json!({"data": {"text": "drifted"}}))?;
            let seen = |text: &'static str| -> Result<Instant> {
                watch.until(PATIENCE, |o| name(o) == which && o["data"]["text"] == text)
            };
            let (from, to) = (seen("drifted")?, seen("hello")?);
            times.push(to.duration_since(from).as_secs_f64() * 1000.0);
            sleep(Duration::from_millis(20));
        }
        Ok(times)
    }
}
