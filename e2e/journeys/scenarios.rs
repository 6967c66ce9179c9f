//! What a hub must survive, by number: `docs/testing.md` has them all, with the trials elsewhere that some of them are.
//!
//! The controller sees the hub and the spoke `us` through proxies, `eu` directly; trials see all of them directly.

use super::faults_spoke_down::cluster;
use super::stand::{Lazy, PATIENCE, Stand};
use super::{
    scenarios_answers, scenarios_foreign, scenarios_gone, scenarios_hub, scenarios_line, scenarios_lives,
    scenarios_past, scenarios_rollout, scenarios_who,
};
use crate::env::Programs;
use crate::env::controller::NAMESPACE;
use crate::env::registration::condition;
use crate::faults::{Proxy, When};
use crate::lanes::CLUSTERS;
use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use std::time::{Duration, Instant};

/// A scenario: its name, what it does, and whether only `make faults` runs it.
pub type Scenario = (&'static str, fn(&Stand) -> Result<()>, Runs);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// In the pipeline.
    Always,
    /// In the pipeline, with nothing beside it: it measures milliseconds.
    Alone,
    /// With `make faults` alone: it takes minutes, or was not seen to pass yet; `docs/testing.md` says which.
    Long,
}

pub fn stand() -> Result<Stand> {
    Stand::start_through(&["hub", "us"], "scenarios", &["eu", "us"], Programs::ServerOnly)
}

pub fn trials(stand: &Lazy) -> Vec<Trial> {
    let all = [
        scenarios_line::ALL,
        scenarios_answers::ALL,
        scenarios_who::ALL,
        scenarios_hub::ALL,
        scenarios_gone::ALL,
        scenarios_past::ALL,
        scenarios_lives::ALL,
        scenarios_rollout::ALL,
        scenarios_foreign::ALL,
    ]
    .concat();
    all.into_iter().map(|scenario| trial(stand.clone(), scenario)).collect()
}

fn trial(stand: Lazy, (name, run, runs): Scenario) -> Trial {
    let work = move || {
        let stand = stand.get().map_err(|e| format!("{e:#}"))?;
        let start = Instant::now();
        let done = run(&stand).map_err(|e| {
            let told: Vec<String> = stand.proxies().map(Proxy::told).collect();
            // What failed stands last: of a long text, people are often shown the end.
            format!("{}\nthe controller's log ends with:\n{}\n\n{e:#}", told.join("\n"), stand.log_tail())
        });
        // Also after a failure: the next one begins in fair weather.
        let calm = calm(&stand).map_err(|e| format!("afterwards: {e:#}"));
        println!("{name}: {:.0} s", start.elapsed().as_secs_f32());
        done?;
        Ok(calm?)
    };
    let in_lane =
        move || if runs == Runs::Alone { CLUSTERS.run_alone(name, work) } else { CLUSTERS.run(name, work) };
    Trial::test(format!("scenarios::{name}"), in_lane).with_ignored_flag(runs == Runs::Long)
}

/// All is well again.
fn calm(stand: &Stand) -> Result<()> {
    stand.proxies().try_for_each(Proxy::heal)?;
    stand.proxies().for_each(Proxy::sweep);
    if !stand.controller_runs() {
        stand.start_controller()?;
    }
    for spoke in &stand.spokes {
        // A scenario that failed may have left it deregistered.
        let secret = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{spoke}");
        if stand.api("hub").get(&secret)?.is_none() {
            stand.register(spoke, &stand.env.least_kubeconfig(spoke)?)?;
        }
    }
    stand.spokes.iter().try_for_each(|spoke| stand.env.wait_cluster_ready("hub", spoke, PATIENCE))
}

/// Waits until a Cluster is Ready=False for this reason, within a time from a moment; says how long that took.
pub fn noticed(stand: &Stand, name: &str, reason: &str, since: Instant, limit: Duration) -> Result<Duration> {
    let left = limit.saturating_sub(since.elapsed());
    crate::env::eventually(left, &format!("Cluster {name} {reason} within {limit:?}"), || {
        let found = cluster(stand, name)?;
        let ready = condition(&found, "Ready").cloned().unwrap_or_default();
        ensure!(ready["status"] == "False" && ready["reason"] == reason, "{ready}");
        Ok(())
    })?;
    Ok(since.elapsed())
}

/// Ready all the time that it is looked at.
pub fn is_ready(stand: &Stand, name: &str) -> Result<()> {
    let found = cluster(stand, name)?;
    let ready = condition(&found, "Ready").cloned().unwrap_or_default();
    ensure!(ready["status"] == "True", "Cluster {name}: {ready}");
    Ok(())
}

/// What was written through a proxy since a moment, one request a line.
pub fn writes(proxy: &Proxy, since: Instant) -> Vec<String> {
    let seen = proxy.seen(since, &When::writes());
    seen.iter().map(|seen| format!("{} {} {:?}", seen.asked.method, seen.asked.path, seen.status)).collect()
}
