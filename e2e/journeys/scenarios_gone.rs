//! What goes for good, and what goes all at once.

use super::faults_spoke_down::{cluster, define};
use super::rollout::placements;
use super::scenarios::Runs::Long;
use super::scenarios::{Scenario, noticed};
use super::stand::{CLUSTERS, Kind, PATIENCE, RGDS, Stand, uid};
use crate::env::controller::NAMESPACE;
use crate::env::eventually;
use crate::faults::Line;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    ("scenario_13_a_spoke_that_is_gone_for_good", gone_for_good, Long),
    ("scenario_14_everything_is_pruned_by_one_commit", one_commit, Long),
];

/// From the last of the three deletions: a Cluster waits 10 s for what is deleted with it.
const ENDS: Duration = Duration::from_secs(30);
/// What a person lets go by one step goes within this.
const ONE_STEP: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    Instance,
    Placement,
    Cluster,
}
use Thing::{Cluster, Instance, Placement};

fn path(kind: &Kind, thing: Thing) -> String {
    match thing {
        Instance => kind.path("a"),
        Placement => format!("{}/everywhere", placements(kind)),
        Cluster => format!("{CLUSTERS}/us"),
    }
}

fn secret_path() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/secrets/us")
}

fn place(kind: &Kind) -> Result<()> {
    let placement = json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "Placement",
        "metadata": {"name": "everywhere", "namespace": kind.rgd},
        "spec": {"instances": {"kind": kind.kind}, "clusters": {"names": ["eu", "us"]}},
    });
    kind.stand.api("hub").post(&placements(kind), &placement).map(drop)
}

/// Registered anew, as another cluster would be that is given the same name.
fn back(stand: &Stand) -> Result<()> {
    stand.proxy("us")?.heal()?;
    stand.register("us", &stand.env.least_kubeconfig("us")?)?;
    stand.env.wait_cluster_ready("hub", "us", PATIENCE)
}

fn wait_all_gone(kind: &Kind, since: Instant, limit: Duration) -> Result<Duration> {
    for thing in [Instance, Placement, Cluster] {
        eventually(
            limit.saturating_sub(since.elapsed()),
            &format!("{thing:?} gone within {limit:?}"),
            || {
                let found = kind.stand.api("hub").get(&path(kind, thing))?;
                let told = |found: &serde_json::Value| {
                    format!("{} {}", found["metadata"]["finalizers"], found["status"])
                };
                ensure!(found.is_none(), "it is there: {}", told(&found.unwrap_or_default()));
                Ok(())
            },
        )?;
    }
    Ok(since.elapsed())
}

fn gone_for_good(stand: &Stand) -> Result<()> {
    let kind = define(stand, "gone-for-good", "GoneForGood")?;
    let (hub, proxy) = (stand.api("hub"), stand.proxy("us")?);
    let orders = [
        [Instance, Placement, Cluster],
        [Instance, Cluster, Placement],
        [Placement, Instance, Cluster],
        [Placement, Cluster, Instance],
        [Cluster, Instance, Placement],
        [Cluster, Placement, Instance],
    ];
    for order in orders {
        place(&kind)?;
        kind.create_as(json!({"name": "a"}), "{text: one}")?;
        kind.wait_active("a", &["eu", "us"])?;
        hub.delete(&secret_path())?;
        let start = Instant::now();
        proxy.line(Line::Refused)?;
        std::thread::sleep(Duration::from_secs(1));
        for thing in order {
            hub.delete(&path(&kind, thing))?;
            std::thread::sleep(Duration::from_secs(1));
        }
        let took = wait_all_gone(&kind, start, ENDS).with_context(|| format!("{order:?}"))?;
        println!("{order:?}: all gone after {took:?}");
        kind.wait_no_child("eu", "configmaps/a")?;
        // What could not be reached is on record: whoever comes back is cleaned.
        back(stand)?;
        kind.wait_no_child("us", "configmaps/a")?;
    }
    // A Cluster that is to be emptied first waits, and one step lets it go.
    place(&kind)?;
    kind.create_as(json!({"name": "a"}), "{text: one}")?;
    kind.wait_active("a", &["eu", "us"])?;
    let (us, start) = (format!("{CLUSTERS}/us"), Instant::now());
    hub.merge_patch(&us, &json!({"spec": {"onDeregister": "Delete"}}))?;
    proxy.line(Line::Refused)?;
    noticed(stand, "us", "Unreachable", start, Duration::from_secs(45))?;
    hub.delete(&secret_path())?;
    hub.delete(&us)?;
    std::thread::sleep(Duration::from_secs(12));
    ensure!(cluster(stand, "us").is_ok(), "it did not wait");
    let step = Instant::now();
    hub.merge_patch(&us, &json!({"spec": {"onDeregister": "Orphan"}}))?;
    for thing in [Instance, Placement] {
        hub.delete(&path(&kind, thing))?;
    }
    wait_all_gone(&kind, step, ONE_STEP)?;
    back(stand)?;
    kind.wait_no_child("us", "configmaps/a")
}

/// Definition, instances, their namespace, the Cluster and its Secret; somebody else's instance on that spoke is not meant.
fn one_commit(stand: &Stand) -> Result<()> {
    let others = define(stand, "bystander", "Bystander")?;
    others.create("b", "eu,us", "{text: one}")?;
    others.wait_active("b", &["eu", "us"])?;
    let kind = define(stand, "one-commit", "OneCommit")?;
    place(&kind)?;
    for name in ["a", "c", "d"] {
        kind.create_as(json!({"name": name}), "{text: one}")?;
        kind.wait_active(name, &["eu", "us"])?;
    }
    let (hub, us) = (stand.api("hub"), stand.api("us"));
    let before = uid(&others.on("us", "b")?.context("no mirror")?);
    let namespace = format!("/api/v1/namespaces/{}", kind.rgd);
    let start = Instant::now();
    // Whatever prunes goes by kind, and not by what needs what.
    for path in [
        secret_path(),
        path(&kind, Cluster),
        format!("{RGDS}/{}", kind.rgd),
        namespace.clone(),
        path(&kind, Placement),
        kind.path("a"),
        kind.path("c"),
        kind.path("d"),
    ] {
        hub.delete(&path)?;
    }
    let gone = |what: &str, path: &str| {
        eventually(Duration::from_secs(60), &format!("{what} gone"), || {
            let found = hub.get(path)?;
            let told = |found: &serde_json::Value| {
                format!("{} {}", found["metadata"]["finalizers"], found["status"])
            };
            ensure!(found.is_none(), "it is there: {}", told(&found.unwrap_or_default()));
            Ok(())
        })
    };
    for name in ["a", "c", "d"] {
        gone(name, &kind.path(name))?;
    }
    gone("the Placement", &path(&kind, Placement))?;
    gone("the Cluster", &path(&kind, Cluster))?;
    gone("the definition", &format!("{RGDS}/{}", kind.rgd))?;
    println!("everything is gone after {:?}", start.elapsed());
    // Nobody else ends a namespace here: nothing may be left in it that holds it.
    let finalize = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": kind.rgd}, "spec": {"finalizers": []}});
    hub.put(&format!("{namespace}/finalize"), &finalize)?;
    gone("the namespace", &namespace)?;
    for name in ["a", "c", "d"] {
        ensure!(kind.child("eu", &format!("configmaps/{name}"))?.is_none(), "{name} is left on eu");
    }
    // What was not meant runs on.
    ensure!(us.get(&others.beside("configmaps/b"))?.is_some(), "the bystander on us is gone");
    // Its Secret went first, and with it the contact: what is left there is on record, and goes when it is back.
    back(stand)?;
    for name in ["a", "c", "d"] {
        kind.wait_no_child("us", &format!("configmaps/{name}"))?;
    }
    others.wait_active("b", &["eu", "us"])?;
    ensure!(uid(&others.on("us", "b")?.context("no mirror")?) == before, "the bystander was made anew");
    others.remove("b")
}
