//! Registered, but not for everything: paused, closed to namespaces, or not there yet.

use super::stage::{HOME, SOON, Stage, WHILE, notes};
use crate::env::wait::{eventually, throughout};
use anyhow::{Context, Result, ensure};
use serde_json::json;

pub fn a_paused_cluster_gets_nothing(stage: &Stage) -> Result<()> {
    stage.register("eu")?;
    stage.placed_note("kept", "eu")?;
    stage.patch_cluster("eu", &json!({"spec": {"paused": true}}))?;
    stage.is("eu", "Ready", "False", "Paused")?;
    stage.note("waits", &json!({"hub.kro.run/clusters": "eu"}))?;
    stage.entry("waits", "eu", "Paused")?;
    stage.entry("kept", "eu", "Paused")?;
    // Not even drift is repaired.
    let path = format!("/api/v1/namespaces/{HOME}/configmaps/kept-second");
    stage.env.api("eu").merge_patch(&path, &json!({"data": {"text": "edited"}}))?;
    stage.stays_untouched("eu", WHILE)?;
    stage.patch_cluster("eu", &json!({"spec": {"paused": false}}))?;
    stage.ready("eu")?;
    stage.active("waits")?;
    eventually(SOON, "the edit repaired", || {
        let text = stage.env.api("eu").get(&path)?.context("gone")?["data"]["text"].take();
        ensure!(text == "text of kept", "it says {text}");
        Ok(())
    })?;
    stage.active("kept").map(drop)
}

pub fn other_namespaces_are_not_allowed(stage: &Stage) -> Result<()> {
    stage.register("eu")?;
    stage.register("us")?;
    stage.patch_cluster("eu", &json!({"spec": {"allowedNamespaces": ["team-a"]}}))?;
    stage.note("stranger", &json!({"hub.kro.run/clusters": "eu,us"}))?;
    let entry = stage.entry("stranger", "eu", "NotAllowed")?;
    ensure!(entry["message"].as_str().is_some_and(|m| m.contains(HOME)), "it says {entry}");
    stage.entry("stranger", "us", "ACTIVE")?;
    throughout(WHILE, "nothing of it on eu", || {
        ensure!(stage.mirror("eu", "stranger")?.is_none(), "the mirror is there");
        Ok(())
    })?;
    if stage.env.api("hub").get("/api/v1/namespaces/team-a")?.is_none() {
        stage.env.api("hub").post("/api/v1/namespaces", &json!({"metadata": {"name": "team-a"}}))?;
    }
    stage.note_in("team-a", "member", &json!({"hub.kro.run/clusters": "eu"}))?;
    eventually(SOON, "the allowed namespace's instance ACTIVE", || {
        let status = stage.hub(&format!("{}/member", notes("team-a")))?["status"].take();
        ensure!(status["state"] == "ACTIVE", "status {status}");
        Ok(())
    })?;
    ensure!(stage.env.api("eu").get(&format!("{}/member", notes("team-a")))?.is_some(), "it is not on eu");
    // Opened: it goes there without an edit of the instance.
    stage.patch_cluster("eu", &json!({"spec": {"allowedNamespaces": ["team-a", HOME]}}))?;
    stage.entry("stranger", "eu", "ACTIVE")?;
    stage.active("stranger")?;
    stage.env.api("hub").delete(&format!("{}/member", notes("team-a")))?;
    eventually(SOON, "the instance of team-a gone", || {
        let found = stage.env.api("hub").get(&format!("{}/member", notes("team-a")))?;
        ensure!(found.is_none(), "it is there: {}", found.unwrap_or_default()["status"]);
        Ok(())
    })
}

pub fn an_instance_waits_for_its_cluster(stage: &Stage) -> Result<()> {
    stage.register("us")?;
    stage.note(
        "early",
        &json!({"hub.kro.run/clusters": "eu, us", "hub.kro.run/cluster-selector": "tier=gold"}),
    )?;
    let entry = stage.entry("early", "eu", "NotRegistered")?;
    ensure!(entry["message"].as_str().is_some_and(|m| m.contains("eu")), "it says {entry}");
    stage.entry("early", "us", "ACTIVE")?;
    let waiting = stage.instance("early")?;
    ensure!(waiting["status"]["state"] != "ACTIVE", "ACTIVE though a cluster is missing");
    stage.register("eu")?;
    stage.entry("early", "eu", "ACTIVE")?;
    stage.active("early")?;
    // Selected by a label that its Secret brings.
    stage.put(&crate::env::registration::secret("asia", &stage.kubeconfig("asia")?, &[("tier", "gold")]))?;
    stage.entry("early", "asia", "ACTIVE")?;
    for spoke in ["eu", "us", "asia"] {
        ensure!(stage.children(spoke, "early")?.len() == 2, "children are missing on {spoke}");
    }
    stage.delete_note("early")
}
