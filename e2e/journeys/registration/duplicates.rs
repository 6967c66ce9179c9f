//! One cluster under two names: the second is not used until the first is gone.

use super::stage::{Stage, WHILE, cluster_id, text_of};
use anyhow::{Result, ensure};
use serde_json::json;

pub fn twins_wait_for_each_other(stage: &Stage) -> Result<()> {
    let first = stage.register_as("first", "eu")?;
    stage.note("lives", &json!({"hub.kro.run/clusters": "first,second"}))?;
    stage.entry("lives", "first", "ACTIVE")?;
    let before = stage.content("eu")?;
    let tried = stage.write_requests("eu")?;

    stage.put_secret("second", &stage.kubeconfig("eu")?)?;
    let twin = stage.is("second", "Ready", "False", "DuplicateCluster")?;
    let said = text_of(&twin, "Ready");
    ensure!(said.contains("Cluster first") && said.contains(&cluster_id(&first)), "it says {said:?}");
    stage.entry("lives", "second", "DuplicateCluster")?;
    stage.note("waits", &json!({"hub.kro.run/clusters": "second"}))?;
    stage.entry("waits", "second", "DuplicateCluster")?;
    stage.stays_untouched("eu", WHILE)?;
    stage.ready("first")?;

    // The twin goes: the first works on.
    stage.deregister("second")?;
    stage.unchanged("eu", &before)?;
    let now = stage.write_requests("eu")?;
    ensure!(now == tried, "{} writes were tried through the twin", now - tried);
    stage.drift_is_repaired("eu", "lives")?;
    stage.ready("first")?;

    // The first goes: the twin takes its place, and what stands there over as it stands.
    stage.put_secret("second", &stage.kubeconfig("eu")?)?;
    stage.is("second", "Ready", "False", "DuplicateCluster")?;
    let before = stage.content("eu")?;
    stage.deregister("first")?;
    let second = stage.ready("second")?;
    ensure!(cluster_id(&second) == cluster_id(&first), "another id");
    stage.active("waits")?;
    stage.entry("lives", "second", "ACTIVE")?;
    let written = stage.changed_since("eu", &before)?;
    let written: Vec<&String> = written.iter().filter(|line| line.contains("/lives")).collect();
    ensure!(written.is_empty(), "written though it stood there: {written:?}");
    ensure!(stage.children("eu", "waits")?.len() == 2, "the children of `waits` are not there");
    stage.drift_is_repaired("eu", "lives")
}

pub fn the_hub_is_no_spoke(stage: &Stage) -> Result<()> {
    let before = stage.content("hub")?;
    stage.put_secret("me", &stage.kubeconfig("hub")?)?;
    let cluster = stage.is("me", "Ready", "False", "DuplicateCluster")?;
    let said = text_of(&cluster, "Ready");
    ensure!(said.contains("spec.local"), "it does not say what to do: {said:?}");
    stage.note("mine", &json!({"hub.kro.run/clusters": "me"}))?;
    stage.entry("mine", "me", "DuplicateCluster")?;
    let changed: Vec<String> = stage.changed_since("hub", &before)?;
    // The trial's own Secret and instance, and the column that the kind gets with the first spoke.
    let known = ["secrets kro-hub/me:", "notes default/mine:", "customresourcedefinitions /notes.kro.run:"];
    let foreign: Vec<&String> =
        changed.iter().filter(|line| !known.iter().any(|k| line.contains(k))).collect();
    ensure!(foreign.is_empty(), "written to the hub: {foreign:?}");
    ensure!(stage.children("hub", "mine")?.is_empty(), "children on the hub");
    Ok(())
}
