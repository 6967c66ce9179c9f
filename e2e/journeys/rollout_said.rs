//! What people see of rollouts: of a revision that waits, of approvals that count for nothing, of a Placement that is
//! deleted too early, and of a field that kubectl takes out.

use super::Run;
use super::definitions_edits::wait_condition;
use super::faults_restart::restart_without_writes;
use super::people::Person;
use super::rollout::{
    ALL, PATIENCE, approve, define, definition, place, placements, stays, two_stages, wait_says, wait_texts,
};
use super::schemas::{GROUP, install, replace};
use super::stand::{Kind, Stand, entry, text};
use crate::env::eventually;
use crate::env::registration::condition;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("rollout::a_revision_that_waits_is_seen_wherever_people_look", waits),
    ("rollout::a_placement_that_holds_clusters_back_is_not_gone_before_it_lets_them_go", deleted),
    ("rollout::a_pin_to_what_does_not_compile_any_more_says_so_and_mends", uncompiled),
    ("placement::a_field_that_kubectl_takes_out_is_taken_out", null),
];

const POLICIES: &str = "/apis/hub.kro.run/v1alpha1/clusterplacements";
/// Where the controller lives.
const HOME: &str = "kro-hub";

/// Events on an object: reason and note.
fn events(stand: &Stand, kind: &str, name: &str) -> Result<Vec<(String, String)>> {
    let all = stand.api("hub").list("/apis/events.k8s.io/v1/events")?;
    let about = |event: &&Value| event["regarding"]["kind"] == kind && event["regarding"]["name"] == name;
    Ok(all.iter().filter(about).map(|event| (text(event, "/reason"), text(event, "/note"))).collect())
}

fn wait_event(stand: &Stand, (kind, name): (&str, &str), reason: &str, note: &str) -> Result<()> {
    eventually(PATIENCE, &format!("event {reason} on {kind} {name}: {note}"), || {
        let all = events(stand, kind, name)?;
        ensure!(all.iter().any(|(r, n)| r == reason && n.contains(note)), "{all:?}");
        Ok(())
    })
}

fn wait_rolled_out(stand: &Stand, name: &str, reason: &str, part: &str) -> Result<Value> {
    eventually(PATIENCE, &format!("ClusterPlacement {name} {reason} {part}"), || {
        let policy = stand.api("hub").get(&format!("{POLICIES}/{name}"))?.context("it is gone")?;
        let rolled = condition(&policy, "RolledOut").cloned().unwrap_or_default();
        ensure!(
            rolled["reason"] == reason && text(&rolled, "/message").contains(part),
            "{}",
            policy["status"]
        );
        Ok(policy)
    })
}

/// Waits until the definition says so of its revisions.
fn wait_revisions(kind: &Kind, wanted: &Value) -> Result<()> {
    eventually(PATIENCE, &format!("revisions {wanted}"), || {
        let fleet = kind.status()?["fleet"].clone();
        ensure!(fleet["revisions"] == *wanted, "{fleet}");
        Ok(())
    })
}

fn approval(stand: &Stand, name: &str, spec: &Value) -> Result<()> {
    let path = format!("/apis/hub.kro.run/v1alpha1/namespaces/{HOME}/rolloutapprovals");
    let body = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "RolloutApproval",
        "metadata": {"name": name, "namespace": HOME}, "spec": spec});
    stand.api("hub").post(&path, &body).map(drop)
}

fn columns(stand: &Stand, name: &str) -> Result<Vec<String>> {
    let shown = stand.env.kubectl("hub", &["get", "clusterplacements", name])?;
    let row = shown.lines().nth(1).context("no row")?;
    Ok(row.split_whitespace().map(str::to_owned).collect())
}

fn waits(stand: &Stand) -> Result<()> {
    let kind = define(stand, "shown", "Shown")?;
    let policy = |name: &str, of: &str, rollout: &Value| {
        let policy = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "ClusterPlacement",
            "metadata": {"name": name}, "spec": {"instances": {"kind": of}, "rollout": rollout}});
        stand.api("hub").post(POLICIES, &policy)
    };
    let mut whole = two_stages();
    whole["scope"] = json!("Kind");
    whole["stages"][0]["maxConcurrent"] = json!(2);
    policy("shown", &kind.kind, &whole)?;
    policy("shown-each", "Nobodys", &two_stages())?;
    ensure!(
        columns(stand, "shown")?.get(2).is_some_and(|scope| scope == "Kind"),
        "{:?}",
        columns(stand, "shown")
    );
    let each = columns(stand, "shown-each")?;
    ensure!(each.get(2).is_some_and(|scope| scope == "Instance"), "{each:?}");
    stand.api("hub").delete(&format!("{POLICIES}/shown-each"))?;
    for name in ["a", "b"] {
        kind.create(name, "eu,us,ap", "{text: one}")?;
        kind.wait_active(name, &ALL)?;
    }
    wait_rolled_out(stand, "shown", "Complete", "")?;
    ensure!(kind.status()?["fleet"]["revisions"].is_null(), "one is in use: {}", kind.status()?);

    kind.edit_definition(&definition("shown", "Shown", "new ${schema.spec.text}"))?;
    let policy = wait_rolled_out(stand, "shown", "RolloutAwaitingApproval", "stage prod")?;
    let progress = &policy["status"]["rollout"]["kind"];
    let version = progress["version"].as_u64().context("no version")?;
    ensure!(progress["revision"] == 2 && progress["state"] == "AwaitingApproval", "{progress}");
    wait_event(stand, ("ClusterPlacement", "shown"), "RolloutAwaitingApproval", "stage prod")?;
    wait_revisions(&kind, &json!([{"revision": 1, "pairs": 4}, {"revision": 2, "pairs": 2}]))?;
    eventually(PATIENCE, "the entries name stage and version", || {
        let instance = kind.hub("a")?;
        let (eu, us) = (entry(&instance, "eu")?, entry(&instance, "us")?);
        ensure!(eu["stage"] == "canary" && eu["version"] == version, "{eu}");
        ensure!(us["stage"] == "prod" && us["version"].as_u64() < Some(version), "{us}");
        Ok(())
    })?;
    let person = Person::new(stand, "shown")?;
    let held = "held: stage prod needs approval";
    person.shows("explain shown/a", &["revision 2", &format!("revision 1, {held}")])?;
    person.shows("trace shown/a --from hub", &[held])?;
    // A restart changes nothing of that, and tells nothing twice.
    let told = events(stand, "ClusterPlacement", "shown")?;
    let before = stand.api("hub").get(&kind.rgd_path())?.context("no definition")?;
    restart_without_writes(stand, &ALL)?;
    throughout(Duration::from_secs(3), "the definition is not written", || {
        let now = stand.api("hub").get(&kind.rgd_path())?.context("no definition")?;
        ensure!(
            now["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"],
            "{}",
            now["status"]
        );
        Ok(())
    })?;
    ensure!(events(stand, "ClusterPlacement", "shown")? == told, "told twice");
    for_nothing(stand, &person, version)?;

    person.shows("approve clusterplacement/shown", &[&format!("version {version} may enter stage prod")])?;
    for name in ["a", "b"] {
        wait_texts(&kind, name, ["new one", "new one", "new one"])?;
    }
    wait_rolled_out(stand, "shown", "Complete", "")?;
    wait_event(stand, ("ClusterPlacement", "shown"), "Complete", "revision 2")?;
    wait_revisions(&kind, &Value::Null)?;
    kind.remove("a")?;
    kind.remove("b")?;
    stand.api("hub").delete(&format!("{POLICIES}/shown"))
}

/// Approvals that count for nothing are refused where somebody looks, and told of where nobody did.
fn for_nothing(stand: &Stand, person: &Person, version: u64) -> Result<()> {
    let refused = person.says("approve clusterplacement/shown --stage prdo")?;
    let why = "there is no stage prdo; there are canary, prod, rest";
    ensure!(refused.code != 0 && refused.err.contains(why), "{refused:?}");
    let refused = person.says(&format!("approve clusterplacement/shown --version {}", version + 1))?;
    ensure!(refused.code != 0 && refused.err.contains("the newest is"), "{refused:?}");
    let wrong = json!({"clusterPlacement": "shown", "version": version, "stage": "prdo"});
    approval(stand, "shown-wrong", &wrong)?;
    let nobodys = json!({"instance": {"kind": "Shown", "name": "nobody"}, "version": 1, "stage": "prod"});
    approval(stand, "shown-nobodys", &nobodys)?;
    wait_event(stand, ("RolloutApproval", "shown-wrong"), "NothingToApprove", why)?;
    wait_event(stand, ("RolloutApproval", "shown-nobodys"), "NothingToApprove", "there is no Shown nobody")?;
    wait_rolled_out(stand, "shown", "RolloutAwaitingApproval", why)?;
    let path = format!("/apis/hub.kro.run/v1alpha1/namespaces/{HOME}/rolloutapprovals");
    stand.api("hub").delete(&format!("{path}/shown-wrong"))?;
    stand.api("hub").delete(&format!("{path}/shown-nobodys"))
}

/// A Placement that holds two clusters back is deleted: that waits, and says so; without its rollout it is gone, and they
/// move.
fn deleted(stand: &Stand) -> Result<()> {
    let kind = define(stand, "holdings", "Holding")?;
    place(&kind, &Value::Null, &two_stages())?;
    kind.create("a", "eu,us,ap", "{text: one}")?;
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 1"])?;
    approve(&kind, "a", 1, "prod")?;
    kind.wait_active("a", &ALL)?;
    kind.edit("a", "{text: two}")?;
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 2"])?;
    let path = format!("{}/fleet", placements(&kind));
    let hub = stand.api("hub");
    eventually(PATIENCE, "it has our finalizer", || {
        let placement = hub.get(&path)?.context("it is gone")?;
        ensure!(
            placement["metadata"]["finalizers"] == json!(["hub.kro.run/finalizer"]),
            "{}",
            placement["metadata"]
        );
        Ok(())
    })?;
    hub.delete(&path)?;
    let message = "deletion waits: 2 pairs are held at version 1; remove spec.rollout to let them move now; to keep it, apply it again once it is gone";
    eventually(PATIENCE, "it says what its deletion waits for", || {
        let placement = hub.get(&path)?.context("it is gone")?;
        let ready = condition(&placement, "Ready").cloned().unwrap_or_default();
        ensure!(ready["reason"] == "DeletionWaits" && ready["message"] == message, "{}", placement["status"]);
        Ok(())
    })?;
    stays(&kind, "a", ["two", "one", "one"])?;
    hub.merge_patch(&path, &json!({"spec": {"rollout": null}}))?;
    wait_texts(&kind, "a", ["two", "two", "two"])?;
    eventually(PATIENCE, "it is gone", || {
        let left = hub.get(&path)?;
        ensure!(left.is_none(), "{}", left.unwrap_or_default()["metadata"]);
        Ok(())
    })?;
    wait_says(&kind, "a", "Ready", &[])?;
    kind.remove("a")
}

/// Revision 1 names a field that the kind loses while the controller is down: who is pinned to it stays, and says why, until
/// the field is back.
fn uncompiled(stand: &Stand) -> Result<()> {
    let (both, one) = ("{size: {type: integer}, teeth: {type: integer}}", "{teeth: {type: integer}}");
    let clusters = ["hub", "eu"];
    clusters.iter().try_for_each(|cluster| install(stand, cluster, "Gear", both))?;
    let definition = |field: &str| {
        format!(
            r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: rusts}}
spec:
  schema: {{apiVersion: v1alpha1, kind: Rust, spec: {{count: integer}}}}
  resources:
  - id: thing
    template:
      apiVersion: {GROUP}/v1
      kind: Gear
      metadata: {{name: '${{schema.metadata.name}}'}}
      spec: {{{field}: '${{schema.spec.count}}'}}
"
        )
    };
    let kind = stand.define(&definition("size"))?;
    kind.create("a", "eu", "{count: 3}")?;
    kind.wait_active("a", &["eu"])?;
    let rollout = json!({"scope": "Kind", "revision": 1, "stages": [{"name": "all"}]});
    let policy = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "ClusterPlacement",
        "metadata": {"name": "rusts"}, "spec": {"instances": {"kind": kind.kind}, "rollout": rollout}});
    stand.api("hub").post(POLICIES, &policy)?;
    wait_rolled_out(stand, "rusts", "Complete", "")?;
    kind.edit_definition(&definition("teeth"))?;
    wait_condition(&kind, "Ready", "True")?;
    kind.wait_active("a", &["eu"])?;
    stand.kill_controller();
    clusters.iter().try_for_each(|cluster| replace(stand, cluster, "Gear", one))?;
    stand.start_controller()?;
    let why = "revision 1 does not compile on the hub any more";
    wait_rolled_out(stand, "rusts", "PinRefused", why)?;
    eventually(PATIENCE, "the instance says so", || {
        let instance = kind.hub("a")?;
        let found = entry(&instance, "eu")?;
        ensure!(found["state"] == "NotCompiled" && text(&found, "/message").contains(why), "{found}");
        Ok(())
    })?;
    Person::new(stand, "rusts")?.shows("explain rust/a", &["NotCompiled", why])?;
    clusters.iter().try_for_each(|cluster| replace(stand, cluster, "Gear", both))?;
    wait_rolled_out(stand, "rusts", "Complete", "")?;
    kind.wait_active("a", &["eu"])?;
    kind.remove("a")?;
    stand.api("hub").delete(&format!("{POLICIES}/rusts"))
}

/// kubectl sends no field that is null: what it applied last says which ones those were.
fn null(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: nulls}
spec:
  schema: {apiVersion: v1alpha1, kind: Nulled, spec: {text: string, note: 'string | default="none"'}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}'}
      data: {text: '${schema.spec.text} ${schema.spec.note}'}
"#,
    )?;
    let apply = |spec: &str| {
        let placement = format!(
            r"
apiVersion: hub.kro.run/v1alpha1
kind: Placement
metadata: {{name: nulls, namespace: nulls}}
spec:
  instances: {{kind: Nulled}}
  clusters: {{names: [eu, us, ap]}}
  overrides:
  - clusters: {{names: [eu]}}
    spec: {spec}
"
        );
        stand.env.apply("hub", &placement)
    };
    apply("{text: there}")?;
    kind.create_as(json!({"name": "a"}), "{text: x, note: mine}")?;
    wait_texts(&kind, "a", ["there mine", "x mine", "x mine"])?;
    apply("{text: there, note: null}")?;
    wait_texts(&kind, "a", ["there none", "x mine", "x mine"])?;
    apply("{note: null}")?;
    wait_texts(&kind, "a", ["x none", "x mine", "x mine"])?;
    apply("{text: there}")?;
    wait_texts(&kind, "a", ["there mine", "x mine", "x mine"])?;
    wait_condition(&kind, "Ready", "True")?;
    kind.remove("a")?;
    stand.api("hub").delete(&format!("{}/nulls", placements(&kind)))
}
