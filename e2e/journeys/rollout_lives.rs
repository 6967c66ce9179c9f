//! What an earlier life of the hub left behind, or never knew, takes nothing from a rollout.

use super::Run;
use super::rollout::{ALL, PATIENCE, approve, define, place, stays, two_stages, wait_says, wait_texts};
use super::stand::{Kind, Stand, annotation, text};
use crate::env::eventually;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// The controller is killed in these.
pub const FAULTS: &[Run] = &[
    ("rollout::a_hub_restored_from_before_an_edit_goes_on_above_every_number_seen", restored),
    ("rollout::a_call_of_an_earlier_life_that_lands_late_moves_in_its_turn", late),
];

const MARK: &str = "hub.kro.run/version";

fn mirror(kind: &Kind, cluster: &str) -> Result<Value> {
    kind.on(cluster, "a")?.with_context(|| format!("no mirror on {cluster}"))
}

/// The version that a mirror says it is of.
fn version(mirror: &Value) -> String {
    annotation(mirror, MARK).split(' ').next().unwrap_or_default().to_owned()
}

/// Which object it is, and whether anybody wrote it.
fn print(mirror: &Value) -> [String; 2] {
    ["uid", "resourceVersion"].map(|field| text(mirror, &format!("/metadata/{field}")))
}

/// The numbers of the versions on record.
fn recorded(kind: &Kind) -> Result<Vec<u64>> {
    let path = format!("/apis/apps/v1/namespaces/{}/controllerrevisions", kind.rgd);
    let found = kind.stand.api("hub").list(&path)?;
    let mut numbers: Vec<u64> = found.iter().filter_map(|record| record["revision"].as_u64()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn wait_stable(kind: &Kind) -> Result<()> {
    let path = format!("/apis/apps/v1/namespaces/{}/controllerrevisions", kind.rgd);
    eventually(PATIENCE, "the version is stable", || {
        let found = kind.stand.api("hub").list(&path)?;
        let stable = found.iter().any(|record| record["metadata"]["labels"]["hub.kro.run/stable"] == "true");
        ensure!(stable, "{found:?}");
        Ok(())
    })
}

/// The ninth. What stands at a version that the hub does not know stays until its turn; the next number is above every mark
/// and every approval.
fn restored(stand: &Stand) -> Result<()> {
    let kind = define(stand, "restores", "Restore")?;
    place(&kind, &json!({"names": ALL}), &two_stages())?;
    kind.create_as(json!({"name": "a"}), "{text: one}")?;
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 1"])?;
    approve(&kind, "a", 1, "prod")?;
    kind.wait_active("a", &ALL)?;
    wait_stable(&kind)?;
    let prefixes = [
        "kro.run/restores/restores/",
        "controllerrevisions/restores/",
        "hub.kro.run/placements/restores/",
        "hub.kro.run/rolloutapprovals/restores/",
    ];
    let backup = stand.env.backup("hub", &prefixes)?;
    ensure!(backup.len() == 4, "the backup has {} objects", backup.len());

    kind.edit("a", "{text: two}")?;
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 2"])?;
    wait_texts(&kind, "a", ["two", "one", "one"])?;
    stand.kill_controller();
    stand.env.restore(&backup)?;
    // Git has approvals that the backup does not know.
    approve(&kind, "a", 2, "prod")?;
    approve(&kind, "a", 3, "prod")?;
    ensure!(kind.hub("a")?["spec"]["text"] == "one" && recorded(&kind)? == [1], "it is not restored");
    let before: Vec<Value> = ALL.iter().map(|cluster| mirror(&kind, cluster)).collect::<Result<_>>()?;
    ensure!(before.iter().map(version).eq(["2", "1", "1"]), "{before:?}");

    let (_task, seen_on_eu) = stand.api("eu").watch(&format!("{}?watch=true", kind.collection()))?;
    stand.start_controller()?;
    eventually(PATIENCE, "eu has its turn", || {
        let now: Vec<Value> = ALL.iter().map(|cluster| mirror(&kind, cluster)).collect::<Result<_>>()?;
        for (was, is) in before.iter().zip(&now) {
            let moved = uid_of(was) == uid_of(is) && version(is) == "4" && version(was) == "2";
            ensure!(moved || print(was) == print(is), "{was} became {is}");
        }
        ensure!(version(&now[0]) == "4", "eu is at {}", version(&now[0]));
        Ok(())
    })?;
    let mut versions: Vec<String> =
        seen_on_eu.try_iter().map(|(_, event)| version(&event["object"])).collect();
    versions.dedup();
    ensure!(versions == ["2", "4"], "eu was at {versions:?}");
    ensure!(recorded(&kind)?.last() == Some(&4), "on record: {:?}", recorded(&kind)?);
    wait_texts(&kind, "a", ["one", "one", "one"])?;
    wait_says(&kind, "a", "Ready", &[])?;
    // What was approved for the numbers between counts for nothing.
    kind.edit("a", "{text: five}")?;
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 5", "stage prod"])?;
    stays(&kind, "a", ["five", "one", "one"])?;
    kind.remove("a")
}

fn uid_of(mirror: &Value) -> String {
    text(mirror, "/metadata/uid")
}

/// The second. Version 2 fails on the first of two canaries and is under way to the other when version 3 comes and the
/// controller dies; then the call lands that it had sent there.
fn late(stand: &Stand) -> Result<()> {
    let kind = define(stand, "lates", "Late")?;
    let rollout = json!({"progressDeadline": "2s", "stages": [
        {"name": "canary", "clusters": {"names": ["eu", "us"]}, "maxConcurrent": 2},
        {"name": "prod", "approval": true},
    ]});
    place(&kind, &json!({"names": ALL}), &rollout)?;
    kind.create_as(json!({"name": "a"}), "{text: one}")?;
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 1"])?;
    approve(&kind, "a", 1, "prod")?;
    kind.wait_active("a", &ALL)?;
    wait_stable(&kind)?;
    let (_task, seen_on_ap) = stand.api("ap").watch(&format!("{}?watch=true", kind.collection()))?;

    stand.env.freeze("us")?;
    let died = die_on_the_way(&kind);
    stand.env.thaw("us")?;
    died?;
    land(&kind, "eu", "us")?;
    ensure!(version(&mirror(&kind, "us")?) == "2", "{}", mirror(&kind, "us")?);
    stand.start_controller()?;
    wait_texts(&kind, "a", ["three", "three", "one"])?;
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 3", "canary", "stage prod"])?;
    stays(&kind, "a", ["three", "three", "one"])?;
    approve(&kind, "a", 3, "prod")?;
    kind.wait_active("a", &ALL)?;
    wait_texts(&kind, "a", ["three", "three", "three"])?;
    let had: Vec<String> =
        seen_on_ap.try_iter().map(|(_, event)| text(&event, "/object/spec/text")).collect();
    ensure!(!had.is_empty() && had.iter().all(|text| text == "one" || text == "three"), "ap had {had:?}");
    kind.remove("a")
}

/// Until the controller is killed.
fn die_on_the_way(kind: &Kind) -> Result<()> {
    kind.edit("a", "{text: bad two}")?;
    wait_says(kind, "a", "RolloutHalted", &["version 2", "eu"])?;
    approve(kind, "a", 2, "prod")?;
    kind.edit("a", "{text: three}")?;
    kind.stand.kill_controller();
    Ok(())
}

/// What a killed controller had sent lands: the very apply that another cluster got.
fn land(kind: &Kind, like: &str, on: &str) -> Result<()> {
    let mut sent = mirror(kind, like)?;
    let managed = sent["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let by = managed.iter().find(|by| by["operation"] == "Apply" && by["fieldsV1"]["f:spec"].is_object());
    let manager = text(by.context("nobody applied its spec")?, "/manager");
    let metadata = &sent["metadata"];
    let metadata = json!({"name": metadata["name"], "namespace": metadata["namespace"],
        "labels": metadata["labels"], "annotations": metadata["annotations"]});
    if version(&sent) != "2" {
        // The killed one had begun with the next version here.
        sent["spec"] = json!({"text": "bad two"});
    }
    let mut body = json!({"apiVersion": sent["apiVersion"], "kind": sent["kind"], "metadata": metadata,
        "spec": sent["spec"]});
    let admitted = annotation(&sent, MARK);
    let since = admitted.split_once(' ').map_or("", |(_, since)| since);
    body["metadata"]["annotations"][MARK] = json!(format!("2 {since}"));
    eventually(PATIENCE, &format!("{on} answers"), || {
        kind.stand.api(on).apply_as(&manager, &kind.path("a"), &body)
    })
    .map(drop)
}
