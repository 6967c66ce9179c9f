//! The controller dies and comes back: everything converges, and what is settled is not written.

use super::Run;
use super::stand::{PATIENCE, Stand, uid};
use crate::env::controller::{Controller, Options};
use crate::env::eventually;
use crate::env::wait::throughout;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("faults::kill_during_fan_out_then_restart_without_a_write", kill_and_restart),
    ("faults::a_leader_that_slept_writes_nothing_when_it_wakes", sleeping_leader),
];

const COUNT: usize = 20;

fn kill_and_restart(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: kills}
spec:
  schema: {apiVersion: v1alpha1, kind: Kill, spec: {text: string}}
  resources:
  - id: config
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.name}'}}
  - id: service
    template:
      apiVersion: v1
      kind: Service
      metadata: {name: '${config.metadata.name}'}
      spec: {ports: [{port: 80}]}
",
    )?;
    let names: Vec<String> = (0..COUNT).map(|n| format!("i{n:02}")).collect();
    for name in &names {
        kind.create(name, "eu,us", "{text: x}")?;
    }
    stand.kill_controller();
    let clusters = ["eu", "us"];
    let written = kind.owned("eu", "services")?.len();
    stand.start_controller()?;
    for name in &names {
        kind.wait_active(name, &clusters)?;
    }
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    for cluster in clusters {
        kind.wait_owned(cluster, "services", &wanted)?;
        kind.wait_owned(cluster, "configmaps", &wanted)?;
        ensure!(stand.api(cluster).list(&kind.collection())?.len() == COUNT, "mirrors doubled on {cluster}");
    }
    println!("killed when {written} of {COUNT} instances had their last child on eu");

    // Everything is settled now: the next start writes nothing.
    let versions = || -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for cluster in ["hub", "eu", "us"] {
            for path in
                [kind.collection(), kind.beside("configmaps"), kind.beside("services"), kind.crd_path()]
            {
                let found = stand.api(cluster).get(&path)?.unwrap_or_default();
                let items = found["items"].as_array().cloned().unwrap_or_else(|| vec![found.clone()]);
                for item in items {
                    let version = item["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
                    all.insert(format!("{cluster} {path} {}", uid(&item)), version);
                }
            }
        }
        Ok(all)
    };
    throughout(Duration::from_millis(1500), "settled", || Ok(()))?;
    let before = versions()?;
    restart_without_writes(stand, &clusters)?;
    let after = versions()?;
    let changed: Vec<_> = after.iter().filter(|(k, v)| before.get(*k) != Some(v)).collect();
    ensure!(changed.is_empty() && after.len() == before.len(), "changed: {changed:?}");
    names.iter().try_for_each(|name| kind.delete(name))?;
    names.iter().try_for_each(|name| kind.wait_gone(name))
}

/// Kills the controller, starts it again, and sees that it sends no write to these clusters for some seconds.
pub fn restart_without_writes(stand: &Stand, clusters: &[&str]) -> Result<()> {
    stand.kill_controller();
    stand.start_controller()?;
    // The lease of the one that was killed lasts for most of the first twenty seconds.
    eventually(PATIENCE, "the spokes looked at again", || {
        let text = stand.metrics()?;
        for cluster in clusters {
            let steps = text.lines().any(|l| l.contains("reconcile_seconds_count") && l.contains(cluster));
            ensure!(steps, "no step for {cluster} yet");
        }
        Ok(())
    })?;
    throughout(Duration::from_secs(3), "nothing is written", || {
        let writes = writes(stand, clusters)?;
        ensure!(writes.is_empty(), "writes after a restart: {writes:?}");
        Ok(())
    })
}

/// The counters of writes to these clusters.
pub fn writes(stand: &Stand, clusters: &[&str]) -> Result<Vec<String>> {
    let text = stand.metrics()?;
    let to = |l: &&str| {
        l.starts_with("kro_hub_requests_total") && clusters.iter().any(|c| l.contains(&format!("\"{c}\"")))
    };
    let writing = |l: &&str| {
        ["apply", "patch", "create", "update", "delete"].iter().any(|v| l.contains(&format!("verb=\"{v}")))
    };
    Ok(text.lines().filter(to).filter(writing).map(str::to_owned).collect())
}

/// Its process stands still in the middle of its work for longer than its term, and wakes up when another has taken over
/// and the work is no longer wanted.
fn sleeping_leader(stand: &Stand) -> Result<()> {
    const SLEEPERS: usize = 30;
    let kind = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: sleeps}
spec:
  schema: {apiVersion: v1alpha1, kind: Sleep, spec: {text: string}}
  resources:
  - id: first
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.name}-a'}}
  - id: second
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${first.metadata.name}-b'}}
",
    )?;
    stand.end_controller()?;
    let start = |name: &str| {
        let args = [
            "--leader-election-lease-duration=3",
            "--leader-election-renew-deadline=2",
            "--leader-election-retry-period=1",
        ];
        let args = args.map(str::to_owned).to_vec();
        Controller::start(&stand.env, Options { name: name.into(), args, ..Options::default() })
    };
    let sleeper = start("sleeper")?;
    let names: Vec<String> = (0..SLEEPERS).map(|n| format!("i{n:02}")).collect();
    for name in &names {
        kind.create(name, "eu,us", "{text: x}")?;
    }
    eventually(Duration::from_secs(10), "the work has begun", || {
        ensure!(!kind.owned("eu", "configmaps")?.is_empty(), "nothing is there");
        Ok(())
    })?;
    sleeper.freeze()?;
    let begun = kind.owned("eu", "configmaps")?.len();
    let heir = start("heir")?;
    for name in &names {
        kind.wait_active(name, &["eu", "us"])?;
    }
    names.iter().try_for_each(|name| kind.delete(name))?;
    names.iter().try_for_each(|name| kind.wait_gone(name))?;
    sleeper.thaw()?;
    throughout(Duration::from_secs(4), "nothing comes back", || {
        for cluster in ["eu", "us"] {
            let found =
                (kind.owned(cluster, "configmaps")?, stand.api(cluster).list(&kind.collection())?.len());
            ensure!(found == (Vec::new(), 0), "on {cluster}: {found:?}");
        }
        Ok(())
    })?;
    heir.check()?;
    println!("slept with {begun} of {} objects made on eu", 2 * SLEEPERS);
    sleeper.kill9();
    heir.terminate()?;
    stand.start_controller()
}
