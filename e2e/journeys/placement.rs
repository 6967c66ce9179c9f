//! Placements choose clusters for instances that say nothing themselves, and a change of them takes nothing away by accident.

use super::Run;
use super::stand::{CLUSTERS, Kind, PATIENCE, Stand, entry, summary, text, uid};
use crate::env::eventually;
use crate::env::registration::condition;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("placement::a_pruned_one_takes_nothing_and_its_successor_takes_over", replaced),
    ("placement::clusters_that_are_relabelled_stay_until_somebody_acknowledges", relabelled),
    ("placement::overrides_reach_the_clusters_that_they_name", overridden),
    (TAINTS, tainted),
];
/// It keeps all instances away from a cluster.
pub const TAINTS: &str = "placement::a_taint_refuses_who_does_not_tolerate_it";

const ALL: [&str; 3] = ["ap", "eu", "us"];
/// So long nothing happens where nothing must.
const WHILE: Duration = Duration::from_secs(2);

fn define<'a>(stand: &'a Stand, name: &str, kind: &str) -> Result<Kind<'a>> {
    stand.define(&format!(
        r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: {name}}}
spec:
  schema: {{apiVersion: v1alpha1, kind: {kind}, spec: {{text: string, note: 'string | default="none"'}}}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{schema.metadata.name}}'}}
      data: {{text: '${{schema.spec.text}}', note: '${{schema.spec.note}}'}}
"#
    ))
}

/// Labels clusters for one trial alone, and takes the labels away again, however it ends.
fn labelled(
    stand: &Stand,
    key: &str,
    values: [(&str, &str); 3],
    trial: impl FnOnce() -> Result<()>,
) -> Result<()> {
    values.iter().try_for_each(|(name, value)| stand.label_cluster(name, &json!({key: value})))?;
    let ended = trial();
    let cleaned = ALL.iter().try_for_each(|name| stand.label_cluster(name, &json!({key: null})));
    ended.and(cleaned)
}

fn all(value: &str) -> [(&str, &str); 3] {
    ALL.map(|name| (name, value))
}

fn placements(kind: &Kind) -> String {
    format!("/apis/hub.kro.run/v1alpha1/namespaces/{}/placements", kind.rgd)
}

/// Creates a Placement for all instances of the kind.
fn place(kind: &Kind, name: &str, labels: &Value, more: &Value) -> Result<Value> {
    let mut placement = json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "Placement",
        "metadata": {"name": name, "namespace": kind.rgd},
        "spec": {"instances": {"kind": kind.kind}, "clusters": {"labelSelector": {"matchLabels": labels}}},
    });
    if let (Some(spec), Some(more)) = (placement["spec"].as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    kind.stand.api("hub").post(&placements(kind), &placement)
}

/// Waits until Ready of the Placement has this reason; returns its message.
fn wait_placement(kind: &Kind, name: &str, reason: &str) -> Result<String> {
    eventually(PATIENCE, &format!("Placement {name} {reason}"), || {
        let path = format!("{}/{name}", placements(kind));
        let placement = kind.stand.api("hub").get(&path)?.context("it is gone")?;
        let ready = condition(&placement, "Ready").cloned().unwrap_or_default();
        ensure!(ready["reason"] == reason, "{}", placement["status"]);
        Ok(text(&ready, "/message"))
    })
}

/// What is there of instance `a`: mirror and child of each cluster, by uid and version.
fn there(kind: &Kind) -> Result<Vec<String>> {
    let on = |cluster: &&str| -> Result<String> {
        let mirror = kind.on(cluster, "a")?.with_context(|| format!("no mirror on {cluster}"))?;
        let child = kind.child(cluster, "configmaps/a")?.with_context(|| format!("no child on {cluster}"))?;
        let print = |o: &Value| format!("{}@{}", uid(o), text(o, "/metadata/resourceVersion"));
        Ok(format!("{cluster}: {} {}", print(&mirror), print(&child)))
    };
    ALL.iter().map(on).collect()
}

fn unchanged(kind: &Kind, before: &[String]) -> Result<()> {
    let now = there(kind)?;
    ensure!(now == before, "{now:?} instead of {before:?}");
    Ok(())
}

fn replaced(stand: &Stand) -> Result<()> {
    let kind = define(stand, "prunes", "Prune")?;
    labelled(stand, "prune-tier", all("web"), || {
        let labels = json!({"prune-tier": "web"});
        place(&kind, "web", &labels, &json!({}))?;
        kind.create_as(json!({"name": "a"}), "{text: x}")?;
        kind.wait_active("a", &ALL)?;
        wait_placement(&kind, "web", "Placed")?;
        let reports = format!("/apis/hub.kro.run/v1alpha1/namespaces/{}/instancereports", kind.rgd);
        let reports = stand.api("hub").list(&reports)?;
        ensure!(reports.is_empty(), "reports of an instance on three clusters: {reports:?}");
        let before = there(&kind)?;

        stand.api("hub").delete(&format!("{}/web", placements(&kind)))?;
        throughout(WHILE, "nothing is written", || unchanged(&kind, &before))?;
        let held = kind.wait_reason("a", "ShrinkHeld")?;
        let message = text(condition(&held, "Ready").context("no Ready")?, "/message");
        ensure!(message.contains("Placement prunes/web is gone"), "{message}");
        place(&kind, "web2", &labels, &json!({}))?;
        kind.wait_active("a", &ALL)?;
        throughout(WHILE, "nothing is written", || unchanged(&kind, &before))?;
        kind.remove("a")
    })
}

fn relabelled(stand: &Stand) -> Result<()> {
    let kind = define(stand, "relabels", "Relabel")?;
    labelled(stand, "relabel-tier", all("web"), || {
        place(&kind, "web", &json!({"relabel-tier": "web"}), &json!({}))?;
        kind.create_as(json!({"name": "a"}), "{text: x}")?;
        kind.wait_active("a", &ALL)?;
        wait_placement(&kind, "web", "Placed")?;
        let before = there(&kind)?;
        for cluster in ALL {
            stand.label_cluster(cluster, &json!({"relabel-tier": "wbe"}))?;
        }
        let asked = wait_placement(&kind, "web", "ShrinkHeld")?;
        // What the first of them loses is judged with the others, not by itself.
        throughout(Duration::from_secs(7), "all is kept", || unchanged(&kind, &before))?;
        let asked = wait_placement(&kind, "web", "ShrinkHeld").with_context(|| asked)?;
        ensure!(asked.starts_with("3 of 3 clusters would be lost (ap, eu, us)"), "{asked}");
        let token = asked.rsplit("allowShrink: ").next().context("no token")?.to_owned();
        let path = format!("{}/web", placements(&kind));
        let allow = |token: &str| json!({"spec": {"clusters": {"allowShrink": token}}});
        stand.api("hub").merge_patch(&path, &allow("00000000"))?;
        throughout(Duration::from_millis(500), "another token counts for nothing", || {
            unchanged(&kind, &before)
        })?;
        stand.api("hub").merge_patch(&path, &allow(&token))?;
        for cluster in ALL {
            kind.wait_no_child(cluster, "configmaps/a")?;
        }
        wait_placement(&kind, "web", "NoClusters")?;
        kind.wait_reason("a", "NotPlaced")?;
        kind.remove("a")
    })
}

fn overridden(stand: &Stand) -> Result<()> {
    let kind = define(stand, "differs", "Differ")?;
    let values = [("eu", "north"), ("us", "south"), ("ap", "south")];
    labelled(stand, "vary-region", values, || {
        let overrides = json!({"overrides": [{
            "clusters": {"labelSelector": {"matchLabels": {"vary-region": "north"}}},
            "spec": {"text": "${'for ' + cluster.labels['vary-region'] + ': ' + schema.spec.text}", "note": null},
        }]});
        place(&kind, "south", &json!({"vary-region": "south"}), &json!({}))?;
        let created = place(&kind, "north", &json!({"vary-region": "north"}), &overrides)?;
        let written = &created["spec"]["overrides"][0]["spec"];
        ensure!(written.get("note") == Some(&Value::Null), "the hub dropped a null: {written}");
        kind.create_as(json!({"name": "a"}), "{text: x, note: mine}")?;
        kind.wait_active("a", &ALL)?;
        let data = |cluster: &str| -> Result<Value> {
            Ok(kind.child(cluster, "configmaps/a")?.context("no child")?["data"].clone())
        };
        let (north, south) = (data("eu")?, data("us")?);
        ensure!(north == json!({"text": "for north: x", "note": "none"}), "{north}");
        ensure!(south == json!({"text": "x", "note": "mine"}), "{south}");
        let instance = kind.hub("a")?;
        ensure!(instance["spec"] == json!({"text": "x", "note": "mine"}), "{}", instance["spec"]);
        let paths = entry(&instance, "eu")?["overrides"].clone();
        ensure!(paths == json!(["spec.note", "spec.text"]), "{}", summary(&instance));
        ensure!(entry(&instance, "us")?["overrides"].is_null(), "{}", summary(&instance));
        kind.remove("a")
    })
}

fn tainted(stand: &Stand) -> Result<()> {
    let kind = define(stand, "taints", "Taint")?;
    let taint = |taints: Value| {
        let patch = json!({"spec": {"taints": taints}});
        stand.api("hub").merge_patch(&format!("{CLUSTERS}/us"), &patch).map(drop)
    };
    labelled(stand, "taint-tier", all("web"), || {
        taint(json!([{"key": "trial", "value": "yes", "effect": "NoSelect"}]))?;
        let ended = refused_and_tolerated(&kind);
        ended.and(taint(Value::Null))
    })
}

fn refused_and_tolerated(kind: &Kind) -> Result<()> {
    place(kind, "web", &json!({"taint-tier": "web"}), &json!({}))?;
    kind.create_as(json!({"name": "a"}), "{text: x}")?;
    eventually(PATIENCE, "us is refused", || {
        let instance = kind.hub("a")?;
        let us = entry(&instance, "us")?;
        let says = text(&us, "/message");
        ensure!(us["state"] == "Tainted" && says.contains("trial=yes:NoSelect"), "{us}");
        ensure!(entry(&instance, "eu")?["state"] == "ACTIVE", "{}", summary(&instance));
        Ok(())
    })?;
    ensure!(kind.on("us", "a")?.is_none(), "it is on us");
    let tolerate = json!({"spec": {"clusters": {"tolerations": [
        {"key": "trial", "operator": "Exists"},
    ]}}});
    kind.stand.api("hub").merge_patch(&format!("{}/web", placements(kind)), &tolerate)?;
    kind.wait_active("a", &ALL)?;
    kind.remove("a")
}
