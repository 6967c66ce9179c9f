//! The Secret of a working cluster changes: for the better, for the worse, or to another cluster.

use super::stage::{HOME, SOON, Stage, WHILE, cluster_id, text_of};
use crate::env::wait::{eventually, throughout};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

pub fn a_token_takes_over_from_a_certificate(stage: &Stage) -> Result<()> {
    let before = stage.register("eu")?;
    stage.placed_note("kept", "eu")?;
    let content = stage.content("eu")?;
    let pid = stage.on_controller(|c| Ok(c.pid()))?;
    // Both work: which of them is used shows when the account of the token goes.
    stage.put_secret("eu", &stage.env.least_kubeconfig_of("eu", "rotated", HOUR)?)?;
    ensure!(cluster_id(&stage.ready("eu")?) == cluster_id(&before), "another id");
    stage.drift_is_repaired("eu", "kept")?;
    stage.env.api("eu").delete("/api/v1/namespaces/kro-hub-access/serviceaccounts/rotated")?;
    // Open watches outlive the account; the next request is refused.
    let refused = eventually(SOON, "the token of a deleted account is refused", || {
        let path = format!("/api/v1/namespaces/{HOME}/configmaps/kept-second");
        let touched = json!({"data": {"text": format!("{:?}", Instant::now())}});
        stage.env.api("eu").merge_patch(&path, &touched)?;
        let cluster = stage.cluster("eu")?;
        let said = super::seen::conditions(&cluster);
        ensure!(said.contains("CredentialsValid=False Unauthorized"), "{said}");
        Ok(cluster)
    })?;
    ensure!(cluster_id(&refused) == cluster_id(&before), "it forgot who it was");
    // Back to the certificate: at work again, and what was broken meanwhile is repaired.
    stage.put_secret("eu", &stage.kubeconfig("eu")?)?;
    stage.ready("eu")?;
    stage.drift_is_repaired("eu", "kept")?;
    let gone: Vec<String> = content
        .keys()
        .filter(|key| stage.content("eu").is_ok_and(|now| !now.contains_key(*key)))
        .cloned()
        .collect();
    ensure!(gone.iter().all(|key| key.contains("rotated")), "deleted meanwhile: {gone:?}");
    ensure!(stage.on_controller(|c| Ok(c.pid()))? == pid, "the controller was started anew");
    Ok(())
}

pub fn rubbish_deletes_nothing(stage: &Stage) -> Result<()> {
    let before = stage.register("eu")?;
    stage.placed_note("kept", "eu")?;
    let content = stage.content("eu")?;
    let good: Value = serde_json::from_str(&stage.kubeconfig("eu")?)?;
    let mut no_user = good.clone();
    no_user["users"] = json!([]);
    let mut broken_key = good.clone();
    broken_key["users"][0]["user"]["client-key-data"] = json!("AAAA");
    let cases = [
        ("certainly: [not, a kubeconfig".to_owned(), "kubeconfig: "),
        (String::new(), "kubeconfig: "),
        (no_user.to_string(), "users: "),
        (broken_key.to_string(), "client"),
    ];
    for (text, named) in cases {
        stage.put_secret("eu", &text)?;
        let cluster = stage.is("eu", "CredentialsValid", "False", "KubeconfigRefused")?;
        let said = text_of(&cluster, "CredentialsValid");
        ensure!(said.contains(named), "it should name {named:?}, it says {said:?}");
        ensure!(cluster_id(&cluster) == cluster_id(&before), "it forgot who it was");
        stage.entry("kept", "eu", "KubeconfigRefused")?;
        stage.put_secret("eu", &good.to_string())?;
        stage.ready("eu")?;
        stage.active("kept")?;
    }
    stage.put_secret("eu", "rubbish")?;
    stage.is("eu", "CredentialsValid", "False", "KubeconfigRefused")?;
    stage.stays_untouched("eu", WHILE)?;
    stage.put_secret("eu", &good.to_string())?;
    stage.ready("eu")?;
    stage.active("kept")?;
    stage.unchanged("eu", &content)
}

pub fn a_wrong_token_is_not_hammered(stage: &Stage) -> Result<()> {
    stage.register("eu")?;
    stage.placed_note("kept", "eu")?;
    let content = stage.content("eu")?;
    let mut wrong: Value = serde_json::from_str(&stage.kubeconfig("eu")?)?;
    wrong["users"][0]["user"] = json!({"token": "nobody.knows.me"});
    let start = Instant::now();
    stage.put_secret("eu", &wrong.to_string())?;
    stage.is("eu", "CredentialsValid", "False", "Unauthorized")?;
    let took = start.elapsed();
    ensure!(took < Duration::from_secs(2), "it took {took:?} to say so");
    stage.is("eu", "Ready", "False", "Unauthorized")?;
    let entry = stage.entry("kept", "eu", "Unreachable")?;
    ensure!(entry["message"].as_str().is_some_and(|m| m.contains("401")), "the instance says {entry}");
    let (requests, window) = (stage.requests("eu")?, Duration::from_secs(3));
    let said = stage.cluster("eu")?["status"]["conditions"].take();
    throughout(window, "eu untouched, and the Cluster says the same", || {
        let now = stage.cluster("eu")?["status"]["conditions"].take();
        ensure!(now == said, "it said {said}, it says {now}");
        stage.unchanged("eu", &content)
    })?;
    let asked = stage.requests("eu")? - requests;
    // Doubling from half a second: three or four tries, each of which may ask twice.
    ensure!((1..=8).contains(&asked), "{asked} requests within {window:?}");
    stage.put_secret("eu", &stage.kubeconfig("eu")?)?;
    stage.ready("eu")?;
    stage.active("kept")?;
    stage.unchanged("eu", &content)?;
    stage.drift_is_repaired("eu", "kept")
}

pub fn another_cluster_behind_the_name(stage: &Stage) -> Result<()> {
    let before = stage.register("eu")?;
    stage.placed_note("kept", "eu")?;
    let on_us = stage.content("us")?;
    let tried = (stage.write_requests("eu")?, stage.write_requests("us")?);
    let on_eu = stage.content("eu")?;
    stage.put_secret("eu", &stage.kubeconfig("us")?)?;
    let frozen = stage.is("eu", "Ready", "False", "IdentityChanged")?;
    ensure!(cluster_id(&frozen) == cluster_id(&before), "it took on the new identity: {frozen}");
    ensure!(
        text_of(&frozen, "Ready").contains(&cluster_id(&before)),
        "it says {:?}",
        text_of(&frozen, "Ready")
    );
    stage.entry("kept", "eu", "IdentityChanged")?;
    // Neither a new instance nor the end of one moves anything.
    stage.note("new", &json!({"hub.kro.run/clusters": "eu"}))?;
    stage.entry("new", "eu", "IdentityChanged")?;
    stage.env.api("hub").delete(&format!("{}/kept", super::stage::notes(HOME)))?;
    throughout(WHILE, "both clusters untouched", || {
        stage.unchanged("eu", &on_eu)?;
        stage.unchanged("us", &on_us)
    })?;
    let now = (stage.write_requests("eu")?, stage.write_requests("us")?);
    ensure!(now == tried, "writes tried on (eu, us): {tried:?} before, {now:?} now");
    let deleting = stage.instance("kept")?;
    let state = &deleting["status"]["state"];
    ensure!(state == "DELETING", "the deleted instance is {state}");
    let said = super::stage::text_of(&deleting, "ResourcesReady");
    ensure!(said.contains("eu") && said.contains("hub.kro.run/release"), "deletion hangs and says {said:?}");

    stage.put_secret("eu", &stage.kubeconfig("eu")?)?;
    stage.ready("eu")?;
    stage.active("new")?;
    eventually(SOON, "the deletion that was held is done", || {
        ensure!(stage.mirror("eu", "kept")?.is_none(), "the mirror is there");
        ensure!(stage.children("eu", "kept")?.is_empty(), "children are there");
        Ok(())
    })?;
    stage.unchanged("us", &on_us)
}

pub fn a_cluster_of_another_hub(stage: &Stage) -> Result<()> {
    let claim = json!({
        "metadata": {"name": "kro-hub-claim", "namespace": "kube-system"},
        "data": {"hub-id": "somebody-else"},
    });
    stage.env.api("asia").post("/api/v1/namespaces/kube-system/configmaps", &claim)?;
    let before = stage.content("asia")?;
    let tried = stage.write_requests("asia")?;
    stage.put_secret("asia", &stage.kubeconfig("asia")?)?;
    let cluster = stage.is("asia", "Claimed", "False", "ClaimedByAnotherHub")?;
    let said = text_of(&cluster, "Claimed");
    ensure!(said.contains("somebody-else") && said.contains("kube-system/kro-hub-claim"), "it says {said:?}");
    stage.is("asia", "Ready", "False", "ClaimedByAnotherHub")?;
    stage.note("waits", &json!({"hub.kro.run/clusters": "asia"}))?;
    stage.entry("waits", "asia", "ClaimedByAnotherHub")?;
    stage.stays_untouched("asia", WHILE)?;
    stage.unchanged("asia", &before)?;
    let tried = stage.write_requests("asia")? - tried;
    ensure!(tried == 0, "{tried} writes were tried");
    stage.deregister("asia")?;
    stage.delete_note("waits")?;
    stage.unchanged("asia", &before)
}

pub fn what_was_never_written_holds_nothing(stage: &Stage) -> Result<()> {
    let claim = json!({
        "metadata": {"name": "kro-hub-claim", "namespace": "kube-system"},
        "data": {"hub-id": "somebody-else"},
    });
    stage.env.api("asia").post("/api/v1/namespaces/kube-system/configmaps", &claim)?;
    stage.put_secret("asia", &stage.kubeconfig("asia")?)?;
    stage.is("asia", "Ready", "False", "ClaimedByAnotherHub")?;
    stage.note("waits", &json!({"hub.kro.run/clusters": "asia"}))?;
    stage.entry("waits", "asia", "ClaimedByAnotherHub")?;
    stage.delete_note("waits")
}
