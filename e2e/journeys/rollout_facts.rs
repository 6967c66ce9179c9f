//! What a cluster is read for goes by turns as well; and the hub itself, where an instance runs there too.

use super::Run;
use super::faults_restart::restart_without_writes;
use super::instances_on_hub::{deregister, register};
use super::rollout::{ALL, PATIENCE, WHILE, define, definition, place, stays, wait_says, wait_texts};
use super::stand::{Kind, Stand, annotation, entry, summary, text};
use crate::env::controller::NAMESPACE;
use crate::env::eventually;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

pub const TRIALS: &[Run] = &[
    ("rollout::labels_that_change_go_by_turns_without_a_version", labels),
    ("rollout::on_the_hub_content_is_there_at_once_and_a_revision_in_its_turn", on_hub),
];

const FACTS: &str = "hub.kro.run/facts";
const REVISION: &str = "hub.kro.run/revision";
const POLICIES: &str = "/apis/hub.kro.run/v1alpha1/clusterplacements";

fn pause(kind: &Kind, paused: bool) -> Result<()> {
    let path = format!("/apis/hub.kro.run/v1alpha1/namespaces/{}/placements/fleet", kind.rgd);
    kind.stand.api("hub").merge_patch(&path, &json!({"spec": {"rollout": {"paused": paused}}})).map(drop)
}

fn tone(stand: &Stand, clusters: &[&str], tone: &Value) -> Result<()> {
    clusters.iter().try_for_each(|cluster| stand.label_cluster(cluster, &json!({"tone": tone})))
}

fn labels(stand: &Stand) -> Result<()> {
    tone(stand, &ALL, &json!("low"))?;
    let said = r#"${cluster.labels[?"tone"].orValue("no") + " " + schema.spec.text}"#;
    let kind = stand.define(&definition("tones", "Tone", said))?;
    let stages =
        json!([{"name": "canary", "clusters": {"names": ["eu"]}}, {"name": "prod", "maxConcurrent": 1}]);
    let rollout = json!({"progressDeadline": "2s", "stages": stages});
    place(&kind, &json!({"names": ALL}), &rollout)?;
    kind.create_as(json!({"name": "a"}), "{text: one}")?;
    wait_texts(&kind, "a", ["low one"; 3])?;
    kind.wait_active("a", &ALL)?;
    wait_says(&kind, "a", "Ready", &[])?;
    let read = |cluster: &str| -> Result<String> {
        Ok(annotation(&kind.on(cluster, "a")?.context("no mirror")?, FACTS))
    };
    ensure!(read("us")?.contains(r#""tone":"low""#), "what was read of us: {}", read("us")?);

    // They wait as long as somebody says so, and after a start as well.
    pause(&kind, true)?;
    tone(stand, &ALL, &json!("high"))?;
    wait_says(&kind, "a", "RolloutPaused", &[])?;
    stays(&kind, "a", ["low one"; 3])?;
    restart_without_writes(stand, &ALL)?;
    stays(&kind, "a", ["low one"; 3])?;
    // A child that somebody took away comes back as it was.
    stand.api("us").delete(&kind.beside("configmaps/a"))?;
    wait_texts(&kind, "a", ["low one"; 3])?;
    pause(&kind, false)?;
    wait_texts(&kind, "a", ["high one"; 3])?;
    wait_says(&kind, "a", "Ready", &[])?;
    let found = entry(&kind.hub("a")?, "us")?;
    ensure!(found["version"] == 1, "no new version: {found}");
    ensure!(read("us")?.contains(r#""tone":"high""#), "what was read of us: {}", read("us")?);

    // One that does its cluster no good keeps those of others waiting, and is put right at once.
    tone(stand, &["eu"], &json!("bad"))?;
    wait_texts(&kind, "a", ["bad one", "high one", "high one"])?;
    std::thread::sleep(2 * WHILE);
    tone(stand, &["us"], &json!("low"))?;
    wait_says(&kind, "a", "RolloutHalted", &["eu", "earlier labels or properties"])?;
    stays(&kind, "a", ["bad one", "high one", "high one"])?;
    tone(stand, &["eu"], &json!("low"))?;
    wait_texts(&kind, "a", ["low one", "low one", "high one"])?;
    wait_says(&kind, "a", "Ready", &[])?;
    kind.remove("a")?;
    tone(stand, &ALL, &Value::Null)
}

fn on_hub(stand: &Stand) -> Result<()> {
    let kind = define(stand, "homes", "Home")?;
    register(stand, "Delete")?;
    let policy = json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "ClusterPlacement", "metadata": {"name": "homes"},
        "spec": {"instances": {"kind": kind.kind}, "rollout": {"scope": "Kind", "stages": [
            {"name": "canary", "clusters": {"names": ["eu"]}}, {"name": "prod", "approval": true},
        ]}},
    });
    stand.api("hub").post(POLICIES, &policy)?;
    kind.create("a", "eu,local", "{text: one}")?;
    kind.wait_active("a", &["eu", "local"])?;
    let said = || -> Result<[String; 2]> {
        let on = |cluster: &str| -> Result<String> {
            Ok(kind.child(cluster, "configmaps/a")?.map_or("-".into(), |child| text(&child, "/data/text")))
        };
        Ok([on("eu")?, on("hub")?])
    };
    let wait = |wanted: [&str; 2]| {
        eventually(PATIENCE, &format!("a on eu and the hub: {wanted:?}"), || {
            let found = said()?;
            ensure!(found == wanted, "{found:?}; {}", summary(&kind.hub("a")?));
            Ok(())
        })
    };
    let remains = |wanted: [&str; 2]| {
        throughout(WHILE, &format!("a stays on eu and the hub: {wanted:?}"), || {
            let found = said()?;
            ensure!(found == wanted, "{found:?}; {}", summary(&kind.hub("a")?));
            Ok(())
        })
    };
    wait(["one", "one"])?;
    kind.edit_definition(&definition("homes", "Home", "new ${schema.spec.text}"))?;
    wait(["new one", "one"])?;
    remains(["new one", "one"])?;
    kind.edit("a", "{text: two}")?;
    wait(["new two", "two"])?;
    // What the mirror says of it is written a moment later.
    remains(["new two", "two"])?;
    restart_without_writes(stand, &["eu"])?;
    remains(["new two", "two"])?;
    stand.api("hub").delete(&kind.beside("configmaps/a"))?;
    wait(["new two", "two"])?;
    let approval = json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "RolloutApproval", "metadata": {"name": "homes-2-prod"},
        "spec": {"clusterPlacement": "homes", "version": 2, "stage": "prod"},
    });
    let approvals = format!("/apis/hub.kro.run/v1alpha1/namespaces/{NAMESPACE}/rolloutapprovals");
    stand.api("hub").post(&approvals, &approval)?;
    wait(["new two", "new two"])?;
    let mark = annotation(&kind.hub("a")?, REVISION);
    ensure!(mark.starts_with("2 2 20"), "the instance says what runs on the hub: {mark:?}");
    kind.wait_active("a", &["eu", "local"])?;
    kind.remove("a")?;
    stand.api("hub").delete(&format!("{approvals}/homes-2-prod"))?;
    stand.api("hub").delete(&format!("{POLICIES}/homes"))?;
    deregister(stand)
}
