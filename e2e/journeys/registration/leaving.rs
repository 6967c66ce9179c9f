//! A cluster loses its Secret, or is deregistered, and may come back.

use super::seen::{CLUSTERS, conditions};
use super::stage::{HOME, SOON, Stage, WHILE, cluster_id};
use crate::env::controller::NAMESPACE;
use crate::env::registration::secret;
use crate::env::wait::{eventually, throughout};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

pub fn a_lost_secret_changes_nothing(stage: &Stage) -> Result<()> {
    let before = stage.register("eu")?;
    stage.placed_note("kept", "eu")?;
    let content = stage.content("eu")?;
    let tried = stage.write_requests("eu")?;
    stage.delete_secret("eu")?;
    let cluster = stage.is("eu", "CredentialsValid", "False", "SecretMissing")?;
    stage.is("eu", "Ready", "False", "SecretMissing")?;
    ensure!(cluster_id(&cluster) == cluster_id(&before), "it forgot who it was");
    stage.entry("kept", "eu", "SecretMissing")?;
    throughout(WHILE, "eu untouched, and registered still", || {
        stage.unchanged("eu", &content)?;
        let holds = stage.instance("kept")?["metadata"]["annotations"]["hub.kro.run/holds"].take();
        ensure!(holds == "eu", "the instance holds {holds}");
        stage.cluster("eu").map(drop)
    })?;
    stage.put_secret("eu", &stage.kubeconfig("eu")?)?;
    stage.ready("eu")?;
    stage.active("kept")?;
    throughout(WHILE, "eu untouched", || stage.unchanged("eu", &content))?;
    let tried = stage.write_requests("eu")? - tried;
    ensure!(tried == 0, "{tried} writes were tried on eu");
    stage.drift_is_repaired("eu", "kept")
}

/// The Cluster and its Secret go: what it held is released and on record, and nothing on the spoke changes.
fn leave(stage: &Stage, name: &str, notes: &[&str]) -> Result<String> {
    let cluster = stage.cluster(name)?;
    let id = cluster_id(&cluster);
    stage.deregister(name)?;
    let left = stage.left_behind(&id)?;
    for note in notes {
        let instance = stage.instance(note)?;
        let uid = instance["metadata"]["uid"].as_str().unwrap_or_default();
        let record = left.get(uid).with_context(|| format!("left-{id} does not list {note}: {left:?}"))?;
        let record: Value = serde_json::from_str(record.as_str().unwrap_or_default())?;
        ensure!(
            record["kind"] == "Note" && record["name"] == *note && record["namespace"] == HOME,
            "{record}"
        );
        let said = stage.event("Note", note, "LeftBehind")?;
        ensure!(said.contains(name), "the event does not name the cluster: {said}");
    }
    ensure!(left.len() == notes.len(), "left-{id} lists more: {left:?}");
    Ok(id)
}

fn holds(stage: &Stage, note: &str) -> Result<String> {
    let note = stage.instance(note)?;
    Ok(note["metadata"]["annotations"]["hub.kro.run/holds"].as_str().unwrap_or_default().to_owned())
}

pub fn workloads_outlive_their_registration(stage: &Stage) -> Result<()> {
    stage.register("eu")?;
    stage.register("us")?;
    stage.placed_note("kept", "eu,us")?;
    let content = stage.content("eu")?;
    let tried = stage.write_requests("eu")?;
    let id = leave(stage, "eu", &["kept"])?;
    throughout(WHILE, "eu untouched, the hold released", || {
        stage.unchanged("eu", &content)?;
        let holds = holds(stage, "kept")?;
        ensure!(holds == "us", "the instance holds {holds:?}");
        Ok(())
    })?;
    stage.entry("kept", "eu", "NotRegistered")?;
    stage.drift_is_repaired("us", "kept")?;

    // It comes back, and is adopted as it stands.
    stage.put_secret("eu", &stage.kubeconfig("eu")?)?;
    stage.ready("eu")?;
    stage.active("kept")?;
    eventually(SOON, "no longer on record", || {
        let left = stage.left_behind(&id)?;
        ensure!(left.is_empty(), "left-{id} lists {left:?}");
        let behind = stage.cluster("eu")?["status"]["leftBehind"].take();
        ensure!(behind.is_null(), "Cluster eu says leftBehind {behind}");
        let holds = holds(stage, "kept")?;
        ensure!(holds == "eu,us", "the instance holds {holds:?}");
        Ok(())
    })?;
    throughout(WHILE, "adopted without a write", || stage.unchanged("eu", &content))?;
    let tried = stage.write_requests("eu")? - tried;
    ensure!(tried == 0, "{tried} writes were tried on eu");
    stage.drift_is_repaired("eu", "kept")?;
    // And the deletion of the instance ends, on both clusters.
    stage.delete_note("kept")?;
    for spoke in ["eu", "us"] {
        ensure!(stage.mirror(spoke, "kept")?.is_none(), "the mirror is left on {spoke}");
        ensure!(stage.children(spoke, "kept")?.is_empty(), "children are left on {spoke}");
    }
    Ok(())
}

pub fn a_found_mirror_is_let_go_too(stage: &Stage) -> Result<()> {
    stage.register("eu")?;
    stage.register("us")?;
    stage.placed_note("kept", "eu,us")?;
    // A rotation: the hub has found the mirror there, and not only written it.
    stage.put_secret("eu", &stage.env.least_kubeconfig_of("eu", "robot", Duration::from_secs(3600))?)?;
    stage.ready("eu")?;
    stage.drift_is_repaired("eu", "kept")?;
    leave(stage, "eu", &["kept"])?;
    throughout(WHILE, "the hold is released and stays so", || {
        let holds = holds(stage, "kept")?;
        ensure!(holds == "us", "the instance holds {holds:?}");
        Ok(())
    })?;
    stage.delete_note("kept")
}

pub fn leftovers_are_cleaned_on_return(stage: &Stage) -> Result<()> {
    stage.register("eu")?;
    for note in ["deleted", "again", "kept"] {
        stage.placed_note(note, "eu")?;
    }
    // Unknown to this hub's record: not to be touched.
    let foreign = json!({"apiVersion": "kro.run/v1alpha1", "kind": "Note", "metadata": {"name": "foreign"}});
    stage.env.api("eu").post(&super::stage::notes(HOME), &foreign)?;
    let id = leave(stage, "eu", &["deleted", "again", "kept"])?;
    let content = stage.content("eu")?;
    // Nothing holds them: they go at once, though no contact is possible.
    stage.delete_note("deleted")?;
    stage.delete_note("again")?;
    let again = stage.note("again", &json!({"hub.kro.run/clusters": "eu"}))?;
    stage.entry("again", "eu", "NotRegistered")?;
    stage.unchanged("eu", &content)?;
    let left = stage.left_behind(&id)?;
    ensure!(left.len() == 3, "the record lost something: {left:?}");

    stage.put_secret("eu", &stage.kubeconfig("eu")?)?;
    stage.ready("eu")?;
    eventually(SOON, "what was left is cleaned", || {
        ensure!(stage.mirror("eu", "deleted")?.is_none(), "the mirror of `deleted` is there");
        ensure!(stage.children("eu", "deleted")?.is_empty(), "children of `deleted` are there");
        let left = stage.left_behind(&id)?;
        ensure!(left.is_empty(), "left-{id} lists {left:?}");
        Ok(())
    })?;
    stage.active("again")?;
    stage.active("kept")?;
    let mirror = stage.mirror("eu", "again")?.context("`again` is not there")?;
    let uid = &mirror["metadata"]["labels"]["hub.kro.run/instance-uid"];
    ensure!(*uid == again["metadata"]["uid"], "the mirror of `again` belongs to {uid}");
    ensure!(stage.children("eu", "again")?.len() == 2, "children of `again` are missing");
    ensure!(stage.mirror("eu", "foreign")?.is_some(), "a Note of somebody else was deleted");
    let kept: Vec<String> =
        stage.changed_since("eu", &content)?.into_iter().filter(|line| line.contains("/kept")).collect();
    ensure!(kept.is_empty(), "`kept` was written: {kept:?}");
    stage.env.api("eu").delete(&format!("{}/foreign", super::stage::notes(HOME)))
}

pub fn on_deregister_delete_cleans_first(stage: &Stage) -> Result<()> {
    // As GitOps would have it: the Cluster is written by hand and names a Secret that is not labelled.
    let credentials = |kubeconfig: &str| -> Result<()> {
        let mut secret = secret("eu-credentials", kubeconfig, &[]);
        secret["metadata"]["labels"] = json!({});
        stage.put(&secret)
    };
    credentials(&stage.kubeconfig("eu")?)?;
    stage.put(&json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster", "metadata": {"name": "eu"},
        "spec": {
            "credentials": {"secretRef": {"name": "eu-credentials", "namespace": NAMESPACE}},
            "onDeregister": "Delete",
        },
    }))?;
    let id = cluster_id(&stage.ready("eu")?);
    stage.register("us")?;
    stage.placed_note("kept", "eu,us")?;
    let on_us = stage.content("us")?;
    // Without contact it waits, and says for what.
    credentials("rubbish")?;
    stage.is("eu", "Ready", "False", "KubeconfigRefused")?;
    stage.delete_cluster("eu")?;
    eventually(SOON, "the instance says what is waited for", || {
        let entry = stage.entry("kept", "eu", "KubeconfigRefused")?;
        ensure!(
            entry["message"].as_str().is_some_and(|m| m.contains("waits for contact")),
            "it says {entry}"
        );
        Ok(())
    })?;
    let content = stage.content("eu")?;
    throughout(WHILE, "the Cluster waits", || {
        stage.unchanged("eu", &content)?;
        stage.cluster("eu").map(drop)
    })?;
    credentials(&stage.kubeconfig("eu")?)?;
    eventually(SOON, "Cluster eu gone", || {
        let found = stage.env.api("hub").get(&format!("{CLUSTERS}/eu"))?;
        ensure!(found.is_none(), "it is there: {}", found.as_ref().map(conditions).unwrap_or_default());
        Ok(())
    })?;
    // By the time that the Cluster is gone, so is its content.
    ensure!(stage.mirror("eu", "kept")?.is_none(), "the mirror is left");
    ensure!(stage.children("eu", "kept")?.is_empty(), "children are left");
    ensure!(stage.left_behind(&id)?.is_empty(), "something is on record as left behind");
    stage.entry("kept", "eu", "NotRegistered")?;
    let held = holds(stage, "kept")?;
    ensure!(held == "us", "the instance holds {held:?}");
    stage.unchanged("us", &on_us)?;
    stage.delete_secret("eu-credentials")
}

/// As GitOps would have it: Cluster, instance and credentials go in one commit, in the order that leaves least time.
pub fn what_is_removed_with_its_cluster_leaves_nothing_behind(stage: &Stage) -> Result<()> {
    let mut credentials = secret("eu-credentials", &stage.kubeconfig("eu")?, &[]);
    credentials["metadata"]["labels"] = json!({});
    stage.put(&credentials)?;
    stage.put(&json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster", "metadata": {"name": "eu"},
        "spec": {"credentials": {"secretRef": {"name": "eu-credentials", "namespace": NAMESPACE}}},
    }))?;
    let id = cluster_id(&stage.ready("eu")?);
    stage.register("us")?;
    for note in ["one", "two", "stays"] {
        stage.placed_note(note, "eu,us")?;
    }
    stage.delete_cluster("eu")?;
    stage.delete_secret("eu-credentials")?;
    for note in ["one", "two"] {
        stage.env.api("hub").delete(&format!("{}/{note}", super::stage::notes(HOME)))?;
    }
    stage.is("eu", "Ready", "False", "Leaving")?;
    for note in ["one", "two"] {
        eventually(SOON, &format!("{note} is gone"), || {
            let found = stage.env.api("hub").get(&format!("{}/{note}", super::stage::notes(HOME)))?;
            ensure!(found.is_none(), "it is there: {}", found.unwrap_or_default()["status"]);
            Ok(())
        })?;
        ensure!(stage.mirror("eu", note)?.is_none(), "the mirror of {note} is left");
        ensure!(stage.children("eu", note)?.is_empty(), "children of {note} are left");
    }
    eventually(SOON, "Cluster eu gone", || {
        let found = stage.env.api("hub").get(&format!("{CLUSTERS}/eu"))?;
        ensure!(found.is_none(), "it is there: {}", found.as_ref().map(conditions).unwrap_or_default());
        Ok(())
    })?;
    // What was not deleted runs on, is on record, and is named.
    ensure!(stage.mirror("eu", "stays")?.is_some(), "what was not deleted is gone");
    let left = stage.left_behind(&id)?;
    ensure!(left.len() == 1, "left-{id} lists {left:?}");
    let said = stage.event("Cluster", "eu", "LeftBehind")?;
    ensure!(said.contains("stays"), "{said}");
    stage.register("eu")?;
    stage.active("stays")?;
    eventually(SOON, "no empty record", || {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/left-{id}");
        ensure!(stage.env.api("hub").get(&path)?.is_none(), "left-{id} is there");
        Ok(())
    })?;
    stage.delete_note("stays")
}
