//! A change travels over the clusters by stages: held, approved, halted, taken back, pinned.

use super::Run;
use super::definitions_edits::wait_condition;
use super::faults_restart::restart_without_writes;
use super::stand::{Kind, Stand, annotation, entry, summary, text};
use crate::env::eventually;
use crate::env::registration::condition;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("rollout::a_change_goes_by_stages_and_waits_for_approval", approval),
    ("rollout::a_canary_that_fails_halts_and_the_next_edit_begins_anew", failing_canary),
    ("rollout::what_is_held_is_repaired_at_its_own_version", held_is_repaired),
    ("rollout::while_halted_one_joins_one_leaves_one_changes_its_stage", joins_leaves_relabelled),
    ("rollout::a_revision_goes_by_stages_and_a_pin_brings_it_back", revision_and_pin),
    ("rollout::a_pin_between_what_runs_and_the_newest_brings_the_crd_up_to_it", pin_between),
];

/// The controller is killed in these.
pub const FAULTS: &[Run] = &[("rollout::a_killed_controller_loses_nothing_of_a_rollout", killed)];

pub const ALL: [&str; 3] = ["eu", "us", "ap"];
/// A change may have to wait for the half minute of quiet after a start.
pub const PATIENCE: Duration = Duration::from_secs(75);
/// So long nothing happens where nothing must.
pub const WHILE: Duration = Duration::from_secs(2);

/// A kind whose instances are ready unless their text begins with `bad`.
pub fn define<'a>(stand: &'a Stand, name: &str, kind: &str) -> Result<Kind<'a>> {
    stand.define(&definition(name, kind, "${schema.spec.text}"))
}

pub fn definition(name: &str, kind: &str, said: &str) -> String {
    format!(
        r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: {name}}}
spec:
  schema: {{apiVersion: v1alpha1, kind: {kind}, spec: {{text: string}}}}
  resources:
  - id: config
    readyWhen: ['${{!config.data.text.startsWith("bad")}}']
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{schema.metadata.name}}'}}
      data: {{text: '{said}'}}
"#
    )
}

/// Places all instances of the kind on these clusters, and moves changes by this rollout.
pub fn place(kind: &Kind, clusters: &Value, rollout: &Value) -> Result<()> {
    let placement = json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "Placement",
        "metadata": {"name": "fleet", "namespace": kind.rgd},
        "spec": {"instances": {"kind": kind.kind}, "clusters": clusters, "rollout": rollout},
    });
    kind.stand.api("hub").post(&placements(kind), &placement).map(drop)
}

pub fn placements(kind: &Kind) -> String {
    format!("/apis/hub.kro.run/v1alpha1/namespaces/{}/placements", kind.rgd)
}

pub fn approve(kind: &Kind, name: &str, version: u64, stage: &str) -> Result<()> {
    let path = format!("/apis/hub.kro.run/v1alpha1/namespaces/{}/rolloutapprovals", kind.rgd);
    let approval = json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "RolloutApproval",
        "metadata": {"name": format!("{name}-{version}-{stage}"), "namespace": kind.rgd},
        "spec": {"instance": {"kind": kind.kind, "name": name}, "version": version, "stage": stage},
    });
    kind.stand.api("hub").post(&path, &approval).map(drop)
}

/// The text of the child on each cluster, `-` where there is none.
pub fn texts(kind: &Kind, name: &str) -> Result<Vec<String>> {
    let on = |cluster: &&str| -> Result<String> {
        let child = kind.child(cluster, &format!("configmaps/{name}"))?;
        Ok(child.map_or("-".into(), |child| text(&child, "/data/text")))
    };
    ALL.iter().map(on).collect()
}

pub fn wait_texts(kind: &Kind, name: &str, wanted: [&str; 3]) -> Result<()> {
    eventually(PATIENCE, &format!("{name} at {wanted:?}"), || {
        let found = texts(kind, name)?;
        ensure!(found == wanted, "{found:?}; {}", summary(&kind.hub(name)?));
        Ok(())
    })
}

/// Nothing moves for a while.
pub fn stays(kind: &Kind, name: &str, wanted: [&str; 3]) -> Result<()> {
    throughout(WHILE, &format!("{name} stays at {wanted:?}"), || {
        let found = texts(kind, name)?;
        ensure!(found == wanted, "{found:?}; {}", summary(&kind.hub(name)?));
        Ok(())
    })
}

/// Waits until Ready has this reason, and its message all these parts.
pub fn wait_says(kind: &Kind, name: &str, reason: &str, parts: &[&str]) -> Result<Value> {
    eventually(PATIENCE, &format!("{name} {reason} {parts:?}"), || {
        let instance = kind.hub(name)?;
        let ready = condition(&instance, "Ready").cloned().unwrap_or_default();
        let message = ready["message"].as_str().unwrap_or_default();
        let said = ready["reason"] == reason && parts.iter().all(|part| message.contains(part));
        ensure!(said, "{ready}; {}", summary(&instance));
        Ok(instance)
    })
}

pub fn two_stages() -> Value {
    json!({"stages": [
        {"name": "canary", "clusters": {"names": ["eu"]}},
        {"name": "prod", "approval": true, "maxConcurrent": 1},
    ]})
}

fn approval(stand: &Stand) -> Result<()> {
    let kind = define(stand, "rolls", "Roll")?;
    place(&kind, &json!({"names": ALL}), &two_stages())?;
    kind.create_as(json!({"name": "a"}), "{text: one}")?;
    // The first version goes by stages too.
    wait_texts(&kind, "a", ["one", "-", "-"])?;
    let first = "create a RolloutApproval for version 1, stage prod";
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 1", "canary", first])?;
    approve(&kind, "a", 1, "prod")?;
    wait_texts(&kind, "a", ["one", "one", "one"])?;
    kind.wait_active("a", &ALL)?;
    let mirror = kind.on("us", "a")?.context("no mirror")?;
    let mark = annotation(&mirror, "hub.kro.run/version");
    ensure!(mark.starts_with("1 20"), "the mark of the version: {mark:?}");

    kind.edit("a", "{text: two}")?;
    wait_texts(&kind, "a", ["two", "one", "one"])?;
    let second = "create a RolloutApproval for version 2, stage prod";
    let waiting = wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 2", second])?;
    let rollout = &waiting["status"]["fleet"]["rollout"];
    let told = [&rollout["version"], &rollout["stable"], &rollout["updated"], &rollout["total"]];
    ensure!(told == [&json!(2), &json!(1), &json!(1), &json!(3)], "rollout {rollout}");
    // The approval of the version before counts for nothing; nor does a restart.
    stays(&kind, "a", ["two", "one", "one"])?;
    restart_without_writes(stand, &ALL)?;
    stays(&kind, "a", ["two", "one", "one"])?;
    approve(&kind, "a", 2, "prod")?;
    wait_texts(&kind, "a", ["two", "two", "two"])?;
    kind.wait_active("a", &ALL)?;
    kind.remove("a")
}

fn failing_canary(stand: &Stand) -> Result<()> {
    let kind = define(stand, "halts", "Halt")?;
    let rollout = json!({"progressDeadline": "2s", "stages": [
        {"name": "canary", "clusters": {"names": ["eu"]}}, {"name": "prod"},
    ]});
    place(&kind, &json!({"names": ALL}), &rollout)?;
    kind.create_as(json!({"name": "a"}), "{text: one}")?;
    wait_says(&kind, "a", "Ready", &[])?;

    kind.edit("a", "{text: bad two}")?;
    wait_texts(&kind, "a", ["bad two", "one", "one"])?;
    let said = wait_says(&kind, "a", "RolloutHalted", &["version 2", "eu", "2 clusters stay at version 1"])?;
    ensure!(said["status"]["state"] == "ERROR", "state {}", said["status"]["state"]);
    stays(&kind, "a", ["bad two", "one", "one"])?;
    // Taking it back is no rollout: the canary returns at once.
    kind.edit("a", "{text: one}")?;
    wait_texts(&kind, "a", ["one", "one", "one"])?;
    wait_says(&kind, "a", "Ready", &[])?;
    // The next edit after one that failed begins anew, the canary first; nobody else ever had the one that failed.
    kind.edit("a", "{text: bad four}")?;
    wait_says(&kind, "a", "RolloutHalted", &["version 4", "eu"])?;
    stays(&kind, "a", ["bad four", "one", "one"])?;
    kind.edit("a", "{text: five}")?;
    wait_texts(&kind, "a", ["five", "five", "five"])?;
    wait_says(&kind, "a", "Ready", &[])?;
    kind.remove("a")
}

fn held_is_repaired(stand: &Stand) -> Result<()> {
    let kind = define(stand, "repairs", "Repair")?;
    place(&kind, &json!({"names": ALL}), &two_stages())?;
    kind.create_as(json!({"name": "a"}), "{text: one}")?;
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 1"])?;
    approve(&kind, "a", 1, "prod")?;
    kind.wait_active("a", &ALL)?;
    kind.edit("a", "{text: two}")?;
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 2"])?;
    let held = ["two", "one", "one"];
    wait_texts(&kind, "a", held)?;

    let us = stand.api("us");
    us.delete(&kind.beside("configmaps/a"))?;
    wait_texts(&kind, "a", held)?;
    us.merge_patch(&kind.path("a"), &json!({"spec": {"text": "edited by hand"}}))?;
    eventually(PATIENCE, "the mirror says what its version says", || {
        let mirror = kind.on("us", "a")?.context("no mirror")?;
        ensure!(mirror["spec"]["text"] == "one", "{}", mirror["spec"]);
        Ok(())
    })?;
    wait_texts(&kind, "a", held)?;
    stand.kill_controller();
    us.delete(&kind.path("a"))?;
    stand.start_controller()?;
    eventually(PATIENCE, "the mirror is back", || {
        let mirror = kind.on("us", "a")?.context("no mirror")?;
        ensure!(mirror["spec"]["text"] == "one", "{}", mirror["spec"]);
        Ok(())
    })?;
    wait_texts(&kind, "a", held)?;
    stays(&kind, "a", held)?;
    kind.remove("a")
}

fn joins_leaves_relabelled(stand: &Stand) -> Result<()> {
    let kind = define(stand, "joins", "Join")?;
    for (cluster, stage) in [("eu", json!("canary")), ("us", json!("prod")), ("ap", Value::Null)] {
        stand.label_cluster(cluster, &json!({"joins": stage}))?;
    }
    let rollout = json!({"progressDeadline": "2s", "stages": [
        {"name": "canary", "clusters": {"labelSelector": {"matchLabels": {"joins": "canary"}}}},
        {"name": "prod"},
    ]});
    place(&kind, &json!({"expression": "'joins' in cluster.labels"}), &rollout)?;
    kind.create_as(json!({"name": "a"}), "{text: one}")?;
    kind.wait_active("a", &["eu", "us"])?;
    kind.edit("a", "{text: bad two}")?;
    wait_says(&kind, "a", "RolloutHalted", &["version 2", "eu"])?;
    wait_texts(&kind, "a", ["bad two", "one", "-"])?;
    // Who joins gets what is stable.
    stand.label_cluster("ap", &json!({"joins": "prod"}))?;
    wait_texts(&kind, "a", ["bad two", "one", "one"])?;
    // Who changes its stage stays, and counts there.
    stand.label_cluster("us", &json!({"joins": "canary"}))?;
    stays(&kind, "a", ["bad two", "one", "one"])?;
    eventually(PATIENCE, "us is shown in canary", || {
        let found = entry(&kind.hub("a")?, "us")?;
        ensure!(found["stage"] == "canary" && found["version"] == 1, "{found}");
        Ok(())
    })?;
    // Who leaves goes at once.
    stand.label_cluster("ap", &json!({"joins": null}))?;
    wait_texts(&kind, "a", ["bad two", "one", "-"])?;
    stays(&kind, "a", ["bad two", "one", "-"])?;
    kind.edit("a", "{text: three}")?;
    wait_texts(&kind, "a", ["three", "three", "-"])?;
    kind.remove("a")?;
    ["eu", "us", "ap"].iter().try_for_each(|c| stand.label_cluster(c, &json!({"joins": null})))
}

/// Between an edit and its approval, and between a revision and its approval.
fn killed(stand: &Stand) -> Result<()> {
    let kind = define(stand, "killed", "Killed")?;
    place(&kind, &json!({"names": ALL}), &two_stages())?;
    kind.create_as(json!({"name": "a"}), "{text: one}")?;
    // An approval that came before would belong to an earlier instance of the name.
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 1"])?;
    approve(&kind, "a", 1, "prod")?;
    wait_texts(&kind, "a", ["one", "one", "one"])?;
    kind.wait_active("a", &ALL)?;
    kind.edit("a", "{text: two}")?;
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 2"])?;
    stand.kill_controller();
    stand.api("us").delete(&kind.path("a"))?;
    stand.start_controller()?;
    // It comes back from its own version, while the others wait on.
    eventually(PATIENCE, "the mirror is there again", || {
        let mirror = kind.on("us", "a")?.context("no mirror")?;
        ensure!(mirror["spec"]["text"] == "one", "{mirror}");
        Ok(())
    })?;
    wait_texts(&kind, "a", ["two", "one", "one"])?;
    stays(&kind, "a", ["two", "one", "one"])?;
    approve(&kind, "a", 2, "prod")?;
    wait_texts(&kind, "a", ["two", "two", "two"])?;
    kind.wait_active("a", &ALL)?;

    // So it is with a revision of the definition: what is held is repaired by the one that it runs.
    kind.edit_definition(&definition("killed", "Killed", "new ${schema.spec.text}"))?;
    wait_texts(&kind, "a", ["new two", "two", "two"])?;
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 3"])?;
    stand.kill_controller();
    stand.api("us").delete(&kind.beside("configmaps/a"))?;
    stand.start_controller()?;
    wait_texts(&kind, "a", ["new two", "two", "two"])?;
    kind.remove("a")
}

/// While revision 1 runs everywhere two more come; a pin to the one between brings each spoke's CRD up to it and no further,
/// and never back.
fn pin_between(stand: &Stand) -> Result<()> {
    let kind = define(stand, "between", "Between")?;
    let path = "/apis/hub.kro.run/v1alpha1/clusterplacements";
    let rollout = |patch: &Value| {
        let patch = json!({"spec": {"rollout": patch}});
        stand.api("hub").merge_patch(&format!("{path}/between"), &patch)
    };
    let policy = json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "ClusterPlacement", "metadata": {"name": "between"},
        "spec": {"instances": {"kind": kind.kind}, "rollout": {"scope": "Kind", "stages": [{"name": "all", "maxConcurrent": 3}]}},
    });
    stand.api("hub").post(path, &policy)?;
    kind.create("a", "eu,us,ap", "{text: one}")?;
    kind.wait_active("a", &ALL)?;
    rollout(&json!({"paused": true}))?;
    for (fields, text) in [
        ("more: string | default=\"two\"", "schema.spec.more"),
        ("more: string | default=\"two\", extra: string | default=\"three\"", "schema.spec.extra"),
    ] {
        kind.edit_definition(&format!(
            r"
spec:
  schema: {{apiVersion: v1alpha1, kind: Between, spec: {{text: string, {fields}}}}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{schema.metadata.name}}'}}
      data: {{text: '${{{text} + schema.spec.text}}'}}
"
        ))?;
        // The next edit comes after this one has its revision.
        wait_condition(&kind, "Ready", "True")?;
    }
    let knows = |field: &str| -> Result<Vec<bool>> {
        let known = ALL.map(|cluster| -> Result<bool> {
            let crd = stand.api(cluster).get(&kind.crd_path())?.context("no CRD")?;
            let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
            Ok(spec["properties"][field].is_object())
        });
        known.into_iter().collect()
    };
    stays(&kind, "a", ["one", "one", "one"])?;
    ensure!(knows("more")? == [false; 3], "a CRD went ahead");

    rollout(&json!({"paused": false, "revision": 2}))?;
    wait_texts(&kind, "a", ["twoone", "twoone", "twoone"])?;
    kind.wait_active("a", &ALL)?;
    ensure!(knows("more")? == [true; 3] && knows("extra")? == [false; 3], "not the CRD of revision 2");
    for (revision, text) in [(json!(null), "threeone"), (json!(2), "twoone")] {
        rollout(&json!({"revision": revision}))?;
        wait_texts(&kind, "a", [text; 3])?;
        kind.wait_active("a", &ALL)?;
        ensure!(knows("extra")? == [true; 3], "not the CRD of revision 3");
    }
    kind.remove("a")?;
    stand.api("hub").delete(&format!("{path}/between"))
}

/// Revision 2 of a definition breaks on the canary and reaches no other cluster; revision 1 brings it back. Both instances
/// of the canary cluster have a slot: the first that fails would keep the other one.
fn revision_and_pin(stand: &Stand) -> Result<()> {
    let kind = define(stand, "revises", "Revise")?;
    let path = "/apis/hub.kro.run/v1alpha1/clusterplacements";
    let policy = json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "ClusterPlacement", "metadata": {"name": "revises"},
        "spec": {"instances": {"kind": kind.kind}, "rollout": {"scope": "Kind", "progressDeadline": "2s", "stages": [
            {"name": "canary", "clusters": {"names": ["eu"]}, "maxConcurrent": 2}, {"name": "prod"},
        ]}},
    });
    stand.api("hub").post(path, &policy)?;
    for name in ["a", "b"] {
        kind.create(name, "eu,us,ap", "{text: one}")?;
        kind.wait_active(name, &ALL)?;
    }
    kind.edit_definition(
        r#"
spec:
  schema: {apiVersion: v1alpha1, kind: Revise, spec: {text: string, more: string | default="bad"}}
  resources:
  - id: config
    readyWhen: ['${!config.data.text.startsWith("bad")}']
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}'}
      data: {text: '${schema.spec.more + " " + schema.spec.text}'}
"#,
    )?;
    for name in ["a", "b"] {
        wait_texts(&kind, name, ["bad one", "one", "one"])?;
    }
    eventually(PATIENCE, "the ClusterPlacement says that it halted", || {
        let policy = stand.api("hub").get(&format!("{path}/revises"))?.context("it is gone")?;
        let rolled = condition(&policy, "RolledOut").cloned().unwrap_or_default();
        ensure!(rolled["reason"] == "RolloutHalted", "{}", policy["status"]);
        Ok(())
    })?;
    stays(&kind, "a", ["bad one", "one", "one"])?;
    restart_without_writes(stand, &ALL)?;
    stays(&kind, "b", ["bad one", "one", "one"])?;

    stand
        .api("hub")
        .merge_patch(&format!("{path}/revises"), &json!({"spec": {"rollout": {"revision": 1}}}))?;
    for name in ["a", "b"] {
        wait_texts(&kind, name, ["one", "one", "one"])?;
        kind.wait_active(name, &ALL)?;
    }
    // What only the newer revision knows waits; the CRD of the spoke does not go back.
    let crd = stand.api("eu").get(&kind.crd_path())?.context("no CRD on eu")?;
    let served = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
    ensure!(served["properties"]["more"].is_object(), "the CRD of eu went back: {served}");
    for name in ["a", "b"] {
        kind.remove(name)?;
    }
    stand.api("hub").delete(&format!("{path}/revises"))
}
