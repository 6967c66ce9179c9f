//! Resources that live on the hub, where no Cluster stands for the hub.

use super::Run;
use super::stand::{CLUSTERS, Kind, PATIENCE, Stand, entry, text, uid};
use crate::env::eventually;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("instances::what_lives_on_the_hub_needs_no_cluster_for_it", without_a_cluster),
    ("instances::a_cluster_for_the_hub_takes_over_what_lives_there_and_hands_it_back", hands_over),
    ("instances::what_was_left_on_the_hub_stays_and_goes_with_its_instance", left_on_hub),
];

/// What the hub's own part is called in a status.
const ITSELF: &str = "@hub";
const WHILE: Duration = Duration::from_millis(700);

/// A database on the hub, and what reads it on each cluster.
fn define<'a>(stand: &'a Stand, name: &str, kind: &str) -> Result<Kind<'a>> {
    let rgd = r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: NAME, annotations: {hub.kro.run/hub-refs: settings}}
spec:
  schema: {apiVersion: v1alpha1, kind: KIND, spec: {size: string}, status: {size: '${app.data.size}'}}
  resources:
  - id: settings
    externalRef: {apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}
  - id: db
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-db', annotations: {hub.kro.run/target: hub}}
      data: {size: '${schema.spec.size}', region: '${settings.data.value}'}
  - id: app
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-app'}
      data: {size: '${db.data.size}', region: '${db.data.region}'}
";
    let kind = stand.define(&rgd.replace("NAME", name).replace("KIND", kind))?;
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
        "data": {"value": "north"}});
    kind.create_beside("hub", "configmaps", &settings.to_string())?;
    Ok(kind)
}

/// The part on the hub is there once, and the cluster has what it reads of it.
fn wait_made(kind: &Kind, size: &str, region: &str) -> Result<()> {
    let wanted = json!({"size": size, "region": region});
    kind.wait_child("hub", "configmaps/a-db", |c| c["data"] == wanted)?;
    kind.wait_child("eu", "configmaps/a-app", |c| c["data"] == wanted)?;
    kind.wait_owned("hub", "configmaps", &["a-db"])?;
    kind.wait_owned("eu", "configmaps", &["a-app"])
}

/// Everything of the definition, as it stands.
fn content(stand: &Stand, kind: &Kind) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for cluster in ["hub", "eu"] {
        for path in [kind.collection(), kind.beside("configmaps")] {
            all.extend(stand.api(cluster).list(&path)?);
        }
    }
    Ok(all)
}

fn without_a_cluster(stand: &Stand) -> Result<()> {
    let kind = define(stand, "alone", "Alone")?;
    kind.create("a", "eu", "{size: small}")?;
    wait_made(&kind, "small", "north")?;
    let instance = kind.wait_active("a", &["eu", ITSELF])?;
    ensure!(instance["status"]["size"] == "small", "{}", instance["status"]);
    kind.edit("a", "{size: large}")?;
    wait_made(&kind, "large", "north")?;
    let settings = kind.beside("configmaps/settings");
    stand.api("hub").merge_patch(&settings, &json!({"data": {"value": "south"}}))?;
    wait_made(&kind, "large", "south")?;
    stand.api("hub").delete(&kind.beside("configmaps/a-db"))?;
    wait_made(&kind, "large", "south")?;
    kind.wait_active("a", &["eu", ITSELF])?;

    // The hub is no cluster for all that.
    kind.create_as(json!({"name": "silent"}), "{size: small}")?;
    kind.create("called", ITSELF, "{size: small}")?;
    kind.wait_reason("silent", "NotPlaced")?;
    eventually(PATIENCE, "called says that there is no such Cluster", || {
        let called = kind.hub("called")?;
        ensure!(entry(&called, ITSELF)?["state"] == "NotRegistered", "{}", called["status"]);
        Ok(())
    })?;
    let registered = stand.api("hub").list(CLUSTERS)?;
    ensure!(registered.iter().all(|c| c["spec"]["local"] != true), "{registered:?}");
    let fleet = &kind.status()?["fleet"];
    ensure!(fleet["clusters"] == registered.len(), "{fleet}");
    kind.remove("silent")?;
    kind.remove("called")?;

    throughout(Duration::from_millis(1500), "settled", || Ok(()))?;
    let before = content(stand, &kind)?;
    restart(stand)?;
    throughout(Duration::from_secs(3), "a restart writes nothing", || {
        let now = content(stand, &kind)?;
        let changed: Vec<&Value> = now.iter().filter(|o| !before.contains(o)).collect();
        ensure!(changed.is_empty() && now.len() == before.len(), "changed: {changed:?}");
        Ok(())
    })?;

    // Placed nowhere, it has nothing on the hub either; and it may come back.
    kind.place("a", "")?;
    kind.wait_owned("eu", "configmaps", &[])?;
    kind.wait_owned("hub", "configmaps", &[])?;
    kind.wait_reason("a", "NotPlaced")?;
    kind.place("a", "eu")?;
    wait_made(&kind, "large", "south")?;
    goes_last(stand, &kind)?;
    ensure!(kind.child("hub", "configmaps/settings")?.is_some(), "it is no child");
    Ok(())
}

/// Ends the controller and starts it, and waits until it has looked at the hub and the cluster.
fn restart(stand: &Stand) -> Result<()> {
    stand.end_controller()?;
    stand.start_controller()?;
    eventually(PATIENCE, "both looked at again", || {
        let text = stand.metrics()?;
        for cluster in ["eu", ITSELF] {
            let label = format!("\"{cluster}\"");
            let stepped = text.lines().any(|l| l.contains("reconcile_seconds_count") && l.contains(&label));
            ensure!(stepped, "no step for {cluster} yet");
        }
        Ok(())
    })
}

/// Deletes the instance: what lives on the hub stays while a cluster may read it, also over a restart.
fn goes_last(stand: &Stand, kind: &Kind) -> Result<()> {
    let hold = |finalizers: Value| {
        let patch = json!({"metadata": {"finalizers": finalizers}});
        stand.api("eu").merge_patch(&kind.beside("configmaps/a-app"), &patch)
    };
    hold(json!(["example.com/hold"]))?;
    let db = kind.child("hub", "configmaps/a-db")?.context("no db")?;
    kind.delete("a")?;
    eventually(PATIENCE, "the resource on the cluster is going", || {
        let app = kind.child("eu", "configmaps/a-app")?.context("no app")?;
        ensure!(!text(&app, "/metadata/deletionTimestamp").is_empty(), "{}", app["metadata"]);
        Ok(())
    })?;
    stand.end_controller()?;
    stand.start_controller()?;
    throughout(WHILE, "what lives on the hub stays", || {
        let now = kind.child("hub", "configmaps/a-db")?.context("it is gone")?;
        ensure!(now == db, "{now}");
        Ok(())
    })?;
    hold(json!([]))?;
    kind.wait_gone("a")?;
    for (cluster, what) in [("eu", "a-app"), ("hub", "a-db")] {
        ensure!(kind.child(cluster, &format!("configmaps/{what}"))?.is_none(), "{what} is left on {cluster}");
    }
    Ok(())
}

/// A Cluster that stands for the hub.
pub fn register(stand: &Stand, leave: &str) -> Result<()> {
    let cluster = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster",
        "metadata": {"name": "local"}, "spec": {"local": true, "onDeregister": leave}});
    stand.api("hub").post(CLUSTERS, &cluster).map(drop)
}

pub fn deregister(stand: &Stand) -> Result<()> {
    let (hub, path) = (stand.api("hub"), format!("{CLUSTERS}/local"));
    hub.delete(&path)?;
    eventually(PATIENCE, "Cluster local gone", || {
        ensure!(hub.get(&path)?.is_none(), "it is there");
        Ok(())
    })
}

fn hands_over(stand: &Stand) -> Result<()> {
    let kind = define(stand, "hands", "Hand")?;
    kind.create("a", "eu", "{size: s0}")?;
    wait_made(&kind, "s0", "north")?;
    kind.wait_active("a", &["eu", ITSELF])?;
    let children = || -> Result<[String; 2]> {
        let db = kind.child("hub", "configmaps/a-db")?.context("no db")?;
        let app = kind.child("eu", "configmaps/a-app")?.context("no app")?;
        Ok([&db, &app].map(|o| format!("{} {}", uid(o), text(o, "/metadata/resourceVersion"))))
    };
    for (turn, leave) in ["Orphan", "Delete"].into_iter().enumerate() {
        let before = children()?;
        register(stand, leave)?;
        kind.wait_active("a", &["eu", "local"])?;
        ensure!(children()? == before, "taken over without a write: {before:?}, now {:?}", children()?);
        let size = format!("s{}", turn + 1);
        kind.edit("a", &format!("{{size: {size}}}"))?;
        wait_made(&kind, &size, "north")?;
        kind.wait_active("a", &["eu", "local"])?;

        let before = children()?;
        deregister(stand)?;
        kind.wait_active("a", &["eu", ITSELF])?;
        ensure!(children()? == before, "handed back without a write: {before:?}, now {:?}", children()?);
    }
    kind.remove("a")?;
    kind.wait_owned("hub", "configmaps", &[])?;
    kind.wait_owned("eu", "configmaps", &[])
}

fn left_on_hub(stand: &Stand) -> Result<()> {
    let kind = define(stand, "stays", "Stay")?;
    register(stand, "Orphan")?;
    kind.create_as(json!({"name": "a"}), "{size: small}")?;
    let children = || -> Result<Vec<Value>> {
        ["a-app", "a-db"]
            .map(|c| kind.child("hub", &format!("configmaps/{c}"))?.context(c))
            .into_iter()
            .collect()
    };
    let made = eventually(PATIENCE, "all of it made on the hub", children)?;
    deregister(stand)?;
    let stays = |why: &str| {
        throughout(WHILE, why, || {
            let now = children()?;
            ensure!(now == made, "{now:?}");
            Ok(())
        })
    };
    kind.wait_reason("a", "NotPlaced")?;
    stays("what was let go stays")?;
    kind.place("a", "eu")?;
    eventually(PATIENCE, "a says what its part on the hub waits for", || {
        let instance = kind.hub("a")?;
        ensure!(entry(&instance, ITSELF)?["state"] == "NotRegistered", "{}", instance["status"]);
        Ok(())
    })?;
    stays("also when the instance goes elsewhere")?;
    stand.end_controller()?;
    stand.start_controller()?;
    stays("and over a restart")?;
    kind.remove("a")?;
    kind.wait_owned("hub", "configmaps", &[])?;
    kind.wait_owned("eu", "configmaps", &[])
}
