//! Placements over fleets of simulated clusters: more than there is room for API servers, and longer than the pipeline waits.

use crate::bench::simulated::{Fleet, changes, spoke};
use crate::bench::workload::{INSTANCES as BENCHES, NAMESPACE, RGDS, instance, small_definition};
use crate::env::api::Api;
use crate::env::eventually;
use crate::env::registration::condition;
use crate::env::wait::throughout;
use crate::lanes::INSTANCES;
use crate::scratch_folder;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const CLUSTERS: &str = "/apis/hub.kro.run/v1alpha1/clusters";
const POLICIES: &str = "/apis/hub.kro.run/v1alpha1/clusterplacements";
/// Thousands of pairs in a build that is not optimised.
const PATIENCE: Duration = Duration::from_secs(600);

/// A trial: its name, how many spokes it needs, and what it does.
type Run = (&'static str, u16, fn(&Fleet) -> Result<()>);

/// They take minutes: `make long`.
pub fn trials() -> Vec<Trial> {
    let all: [Run; 2] = [
        ("placement::a_typo_over_a_fleet_is_held_once_until_somebody_lets_go", 20, typo),
        ("placement::who_is_lost_is_replaced_and_a_network_that_is_lost_moves_nothing", 10, failover),
    ];
    let trial = |(name, spokes, run): Run| {
        let work = move || {
            let dir = scratch_folder().join(name.rsplit("::").next().unwrap_or(name));
            let fleet = Fleet::start(&dir, spokes).map_err(|e| format!("{e:#}"))?;
            Ok(run(&fleet).map_err(|e| format!("{e:#}\nthe logs end with:\n{}", fleet.log_tail()))?)
        };
        Trial::test(name, move || INSTANCES.run_alone(name, work)).with_ignored_flag(true)
    };
    all.into_iter().map(trial).collect()
}

fn label(fleet: &Fleet, cluster: &str, labels: &Value) -> Result<()> {
    fleet
        .hub
        .merge_patch(&format!("{CLUSTERS}/{cluster}"), &json!({"metadata": {"labels": labels}}))
        .map(drop)
}

fn define(fleet: &Fleet, definition: &Value) -> Result<()> {
    fleet.hub.post("/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}}))?;
    fleet.hub.post(RGDS, definition)?;
    eventually(PATIENCE, "the kind is served", || fleet.hub.get(BENCHES)?.context("not yet")).map(drop)
}

fn place(fleet: &Fleet, clusters: &Value, more: &Value) -> Result<()> {
    let mut spec = json!({"instances": {"kind": "Bench"}, "clusters": clusters});
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    let policy = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "ClusterPlacement",
        "metadata": {"name": "all"}, "spec": spec});
    fleet.hub.post(POLICIES, &policy).map(drop)
}

fn edit(fleet: &Fleet, clusters: &Value) -> Result<()> {
    fleet.hub.merge_patch(&format!("{POLICIES}/all"), &json!({"spec": {"clusters": clusters}})).map(drop)
}

/// Waits until Ready of the ClusterPlacement has this reason; its message.
fn wait_policy(fleet: &Fleet, reason: &str) -> Result<String> {
    eventually(PATIENCE, &format!("the ClusterPlacement says {reason}"), || {
        let policy = fleet.hub.get(&format!("{POLICIES}/all"))?.context("it is gone")?;
        let ready = condition(&policy, "Ready").cloned().unwrap_or_default();
        ensure!(ready["reason"] == reason, "{}", policy["status"]);
        Ok(ready["message"].as_str().unwrap_or_default().to_owned())
    })
}

/// How many pairs are ready, over all instances that are.
fn ready(fleet: &Fleet) -> Result<u64> {
    let found = fleet.hub.list(BENCHES)?;
    let well = found.iter().filter(|o| condition(o, "Ready").is_some_and(|ready| ready["status"] == "True"));
    Ok(well.filter_map(|o| o.pointer("/status/fleet/ready").and_then(Value::as_u64)).sum())
}

fn wait_ready(fleet: &Fleet, pairs: u64) -> Result<()> {
    eventually(PATIENCE, &format!("{pairs} pairs are ready"), || {
        let ready = ready(fleet)?;
        ensure!(
            ready == pairs,
            "{ready} are; {:?}",
            fleet.hub.list(BENCHES)?.first().map(|o| o["status"].clone())
        );
        Ok(())
    })
}

/// Mirrors on all spokes.
fn mirrors(spokes: &[Api]) -> Result<usize> {
    spokes.iter().map(|spoke| Ok(spoke.list(BENCHES)?.len())).sum()
}

fn writes_on_spokes(fleet: &Fleet) -> Result<f64> {
    let counts = changes(&fleet.counts()?);
    Ok(counts.iter().filter(|(key, _)| key.starts_with("spokes ")).map(|(_, count)| count).sum())
}

/// The fifth. A typo in the selector of 200 instances on 20 clusters.
fn typo(fleet: &Fleet) -> Result<()> {
    const COUNT: usize = 200;
    let region = |value: &str| json!({"labelSelector": {"matchLabels": {"region": value}}});
    fleet.register()?;
    (1..=fleet.spokes).try_for_each(|n| label(fleet, &spoke(n), &json!({"region": "eu"})))?;
    let spokes: Vec<Api> = (1..=fleet.spokes).map(|n| fleet.simulator.api(n)).collect::<Result<_>>()?;
    define(fleet, &small_definition())?;
    place(fleet, &region("eu"), &json!({"grace": "20s"}))?;
    let bodies: Vec<Value> = (0..COUNT).map(|n| instance(&format!("i{n:03}"), None)).collect();
    fleet.hub.post_all(BENCHES, &bodies, 8)?;
    let pairs = COUNT * usize::from(fleet.spokes);
    wait_ready(fleet, pairs as u64)?;
    fleet.settle()?;
    let before = writes_on_spokes(fleet)?;

    edit(fleet, &region("ue"))?;
    let held = wait_policy(fleet, "ShrinkHeld")?;
    ensure!(
        held.starts_with("20 of 20 clusters would be lost (s0001, s0002, s0003, s0004, s0005 and 15 more)"),
        "{held}"
    );
    throughout(Duration::from_secs(15), "all instances are well", || {
        let ready = ready(fleet)?;
        ensure!(ready == pairs as u64, "{ready} pairs are ready");
        Ok(())
    })?;
    // Taken back: nothing happened.
    edit(fleet, &region("eu"))?;
    wait_policy(fleet, "Placed")?;
    fleet.settle()?;
    let written = writes_on_spokes(fleet)? - before;
    ensure!(written == 0.0 && mirrors(&spokes)? == pairs, "{written} writes on spokes");

    edit(fleet, &region("ue"))?;
    let held = wait_policy(fleet, "ShrinkHeld")?;
    let token = held.rsplit("allowShrink: ").next().context("no token")?.to_owned();
    let mut words = region("ue");
    words["allowShrink"] = json!(token);
    edit(fleet, &words)?;
    eventually(PATIENCE, "they are kept for a while", || {
        let one = fleet.hub.get(&format!("{BENCHES}/i000"))?.context("it is gone")?;
        let entry = &one["status"]["fleet"]["clusters"][0];
        let message = entry["message"].as_str().unwrap_or_default();
        ensure!(
            message.contains("no placement chooses it") && message.contains("grace 20s"),
            "{}",
            one["status"]
        );
        Ok(())
    })?;
    ensure!(mirrors(&spokes)? == pairs, "{} of {pairs} mirrors in grace", mirrors(&spokes)?);
    eventually(PATIENCE, "none is placed", || {
        let found = fleet.hub.list(BENCHES)?;
        let placed = |o: &&Value| condition(o, "Ready").is_none_or(|ready| ready["reason"] != "NotPlaced");
        let placed = found.iter().filter(placed).count();
        ensure!(placed == 0, "{placed} of {COUNT} are");
        Ok(())
    })?;
    eventually(PATIENCE, "all are gone", || {
        let left = mirrors(&spokes)?;
        ensure!(left == 0, "{left} mirrors are left");
        Ok(())
    })?;
    wait_policy(fleet, "NoClusters").map(drop)
}

fn holds(fleet: &Fleet, name: &str) -> Result<BTreeSet<String>> {
    let instance = fleet.hub.get(&format!("{BENCHES}/{name}"))?.context("it is gone")?;
    let holds = instance["metadata"]["annotations"]["hub.kro.run/holds"].as_str().unwrap_or_default();
    Ok(holds.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn number(name: &str) -> Result<u16> {
    name.trim_start_matches('s').parse().with_context(|| format!("{name} has no number"))
}

/// The sixth, with the shortest wait that there is. A cluster says by its label whether what is there gets ready.
fn failover(fleet: &Fleet) -> Result<()> {
    fleet.register()?;
    let definition = json!({"apiVersion": "kro.run/v1alpha1", "kind": "ResourceGraphDefinition",
        "metadata": {"name": "bench"}, "spec": {
            "schema": {"apiVersion": "v1alpha1", "kind": "Bench", "spec": {"text": "string"}},
            "resources": [{"id": "config", "readyWhen": [r#"${config.data.well == "yes"}"#],
                "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "${schema.metadata.name}"},
                    "data": {"well": r#"${cluster.labels[?"well"].orValue("yes")}"#}}}]}});
    define(fleet, &definition)?;
    place(fleet, &json!({"all": true, "max": 2, "failover": {"after": "1m"}}), &json!({}))?;
    let names = ["a", "b", "c"];
    let bodies: Vec<Value> = names.iter().map(|name| instance(name, None)).collect();
    fleet.hub.post_all(BENCHES, &bodies, 3)?;
    wait_ready(fleet, 6)?;
    let first: Vec<BTreeSet<String>> = names.iter().map(|name| holds(fleet, name)).collect::<Result<_>>()?;

    fleet.simulator.silence(5, 10)?;
    eventually(PATIENCE, "all six are missed", || {
        let said = wait_policy(fleet, "FailoverHeld")?;
        ensure!(said == "6 of 10 clusters are unreachable: this looks like the hub's own network", "{said}");
        Ok(())
    })?;
    throughout(Duration::from_secs(80), "nothing is replaced", || {
        let now: Vec<_> = names.iter().map(|name| holds(fleet, name)).collect::<Result<_>>()?;
        ensure!(now == first, "{now:?} instead of {first:?}");
        Ok(())
    })?;
    fleet.simulator.speak(5, 10)?;
    wait_policy(fleet, "Placed")?;
    wait_ready(fleet, 6)?;
    throughout(Duration::from_secs(5), "nothing is replaced when they are back", || {
        let now: Vec<_> = names.iter().map(|name| holds(fleet, name)).collect::<Result<_>>()?;
        ensure!(now == first, "{now:?} instead of {first:?}");
        Ok(())
    })?;

    // One alone, where whoever comes in its place does not get ready at once.
    let own = first.first().context("no holds")?;
    let lost = own.first().context("no hold")?.clone();
    for server in 1..=fleet.spokes {
        if !own.contains(&spoke(server)) {
            label(fleet, &spoke(server), &json!({"well": "no"}))?;
        }
    }
    fleet.simulator.silence(number(&lost)?, number(&lost)?)?;
    let now = eventually(PATIENCE, "it is replaced", || {
        let now = holds(fleet, "a")?;
        ensure!(now.len() == 3, "{now:?}");
        Ok(now)
    })?;
    let next = now.difference(own).next().context("nobody is new")?.clone();
    eventually(PATIENCE, "the lost one says by whom", || {
        let instance = fleet.hub.get(&format!("{BENCHES}/a"))?.context("it is gone")?;
        let text = instance["status"]["fleet"]["clusters"].to_string();
        ensure!(text.contains(&format!("replaced by {next}")), "{text}");
        Ok(())
    })?;
    fleet.simulator.speak(number(&lost)?, number(&lost)?)?;
    eventually(PATIENCE, "it is back", || {
        let cluster = fleet.hub.get(&format!("{CLUSTERS}/{lost}"))?.context("it is gone")?;
        let ready = condition(&cluster, "Ready").cloned().unwrap_or_default();
        ensure!(ready["status"] == "True", "{ready}");
        Ok(())
    })?;
    throughout(Duration::from_secs(10), "it is kept while the other is not well", || {
        let now = holds(fleet, "a")?;
        ensure!(now.len() == 3, "{now:?}");
        Ok(())
    })?;
    label(fleet, &next, &json!({"well": null}))?;
    eventually(PATIENCE, "it goes", || {
        let now = holds(fleet, "a")?;
        ensure!(now.len() == 2 && !now.contains(&lost) && now.contains(&next), "{now:?}");
        let mirror = fleet.simulator.api(number(&lost)?)?.get(&format!("{BENCHES}/a"))?;
        ensure!(mirror.is_none(), "its mirror is there");
        Ok(())
    })
}
