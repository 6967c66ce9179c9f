//! A labelled kubeconfig Secret is a Cluster.

use super::seen::CLUSTERS;
use super::stage::{SOON, SPOKES, Stage, WHILE, cluster_id};
use crate::env::controller::{Controller, NAMESPACE};
use crate::env::registration::{condition, secret};
use crate::env::wait::{eventually, throughout};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

fn kube_system_uid(stage: &Stage, spoke: &str) -> Result<String> {
    let namespace = stage.env.api(spoke).get("/api/v1/namespaces/kube-system")?.context("no kube-system")?;
    Ok(namespace["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
}

pub fn a_secret_makes_a_cluster(stage: &Stage) -> Result<()> {
    let labels = [("region", "eu"), ("tier", "gold")];
    stage.put(&secret("eu", &stage.kubeconfig("eu")?, &labels))?;
    let cluster = stage.ready("eu")?;
    ensure!(cluster_id(&cluster) == kube_system_uid(stage, "eu")?, "clusterID {:?}", cluster_id(&cluster));
    let version: Value = serde_json::from_str(&stage.env.api("eu").text("/version")?)?;
    ensure!(
        cluster["status"]["kubernetesVersion"] == version["gitVersion"],
        "version {} is not {}",
        cluster["status"]["kubernetesVersion"],
        version["gitVersion"]
    );
    for of_type in ["CredentialsValid", "Reachable", "Claimed"] {
        ensure!(condition(&cluster, of_type).is_some_and(|c| c["status"] == "True"), "{of_type} is not True");
    }
    let copied = &cluster["metadata"]["labels"];
    ensure!(*copied == json!({"region": "eu", "tier": "gold"}), "labels {copied}");
    let hub_id =
        stage.hub(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps/kro-hub-id"))?["data"]["id"].take();
    let claim = stage.env.api("eu").get("/api/v1/namespaces/kube-system/configmaps/kro-hub-claim")?;
    let claimed_by = claim.context("eu is not claimed")?["data"]["hub-id"].take();
    ensure!(claimed_by == hub_id, "claimed by {claimed_by}, this hub is {hub_id}");

    // Labels follow the Secret, those that are gone from it too.
    stage.put(&secret("eu", &stage.kubeconfig("eu")?, &[("region", "europe")]))?;
    eventually(SOON, "labels follow", || {
        let labels = stage.cluster("eu")?["metadata"]["labels"].take();
        ensure!(labels == json!({"region": "europe"}), "labels {labels}");
        Ok(())
    })
}

pub fn keys_and_labels_of_other_tools(stage: &Stage) -> Result<()> {
    let body = |name: &str, label: &str, key: &str| -> Result<Value> {
        Ok(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {label: "true"}},
            "stringData": {key: stage.kubeconfig(name)?},
        }))
    };
    stage.put(&body("eu", "kro.run/cluster", "value")?)?;
    let mut annotated = body("us", "sigs.k8s.io/multicluster-runtime-kubeconfig", "admin.conf")?;
    annotated["metadata"]["annotations"] = json!({"hub.kro.run/key": "admin.conf"});
    // The annotation wins over a key of the usual name.
    annotated["stringData"]["kubeconfig"] = json!("rubbish");
    stage.put(&annotated)?;
    stage.put(&body("asia", "hub.kro.run/cluster", "mine")?)?;
    stage.ready("eu")?;
    stage.ready("us")?;
    stage.is("asia", "CredentialsValid", "False", "KeyMissing")?;
    // What is not labelled, or says no, is no cluster.
    for (name, label, value) in [("plain", "region", "eu"), ("no", "hub.kro.run/cluster", "false")] {
        let mut object = secret(name, &stage.kubeconfig("asia")?, &[]);
        object["metadata"]["labels"] = json!({label: value});
        stage.put(&object)?;
    }
    let names = || -> Result<Vec<String>> {
        let clusters = stage.env.api("hub").list(CLUSTERS)?;
        Ok(clusters.iter().map(|c| c["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect())
    };
    throughout(WHILE, "only labelled Secrets are clusters", || {
        let names = names()?;
        ensure!(names == ["asia", "eu", "us"], "clusters {names:?}");
        Ok(())
    })?;
    stage.delete_secret("plain")?;
    // The label may be set later.
    stage.delete_secret("asia")?;
    stage.deregister("asia")?;
    stage.put_secret("no", &stage.kubeconfig("asia")?)?;
    stage.ready("no").map(drop)
}

pub fn the_first_secret_owns_the_name(stage: &Stage) -> Result<()> {
    let before = stage.register("eu")?;
    if stage.env.api("hub").get("/api/v1/namespaces/kro-system")?.is_none() {
        stage.env.api("hub").post("/api/v1/namespaces", &json!({"metadata": {"name": "kro-system"}}))?;
    }
    let mut second = secret("eu", &stage.kubeconfig("us")?, &[("region", "us")]);
    second["metadata"]["namespace"] = json!("kro-system");
    stage.put(&second)?;
    let said = stage.event("Secret", "eu", "ClusterNameTaken")?;
    ensure!(said.contains("kro-hub/eu"), "the event does not name the owner: {said}");
    throughout(WHILE, "the first Secret's Cluster is as it was", || {
        let now = stage.cluster("eu")?;
        let same = now["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"];
        ensure!(same, "was {before}, is {now}");
        Ok(())
    })?;
    ensure!(stage.content("us")?.keys().all(|k| !k.ends_with("kro-hub-claim")), "us was claimed");
    // Where the controller does not look, there is no cluster.
    let mut elsewhere = secret("elsewhere", &stage.kubeconfig("us")?, &[]);
    elsewhere["metadata"]["namespace"] = json!("default");
    stage.put(&elsewhere)?;
    let path = format!("{CLUSTERS}/elsewhere");
    throughout(WHILE, "a Secret of another namespace is not read", || {
        ensure!(stage.env.api("hub").get(&path)?.is_none(), "it made a Cluster");
        Ok(())
    })?;
    stage.env.api("hub").delete("/api/v1/namespaces/default/secrets/elsewhere")
}

pub fn a_restart_writes_nothing(stage: &Stage) -> Result<()> {
    for spoke in SPOKES {
        stage.put_secret(spoke, &stage.kubeconfig(spoke)?)?;
    }
    for spoke in SPOKES {
        stage.ready(spoke)?;
    }
    stage.placed_note("stays", "eu,us")?;
    // The count of instances is written a little later than the rest.
    eventually(SOON, "counts written", || {
        for (spoke, count) in [("eu", 1), ("us", 1), ("asia", 0)] {
            let found = stage.cluster(spoke)?["status"]["instances"].take();
            ensure!(found == count, "{spoke} counts {found}");
        }
        Ok(())
    })?;
    let objects = || -> Result<Vec<Value>> {
        let mut all: Vec<Value> = stage.env.api("hub").list(CLUSTERS)?;
        all.push(stage.instance("stays")?);
        Ok(all)
    };
    let (before, on_eu) = (objects()?, stage.content("eu")?);
    let tried = stage.write_requests("eu")?;
    stage.restart_controller()?;
    let connected = |spoke: &str| format!("kro_hub_cluster_healthy{{cluster=\"{spoke}\"}} 1");
    eventually(SOON, "all clusters connected", || {
        let metrics = stage.on_controller(Controller::metrics)?;
        for spoke in SPOKES {
            ensure!(metrics.contains(&connected(spoke)), "{spoke} is not");
        }
        Ok(())
    })?;
    throughout(WHILE, "no write", || {
        for (was, is) in before.iter().zip(objects()?) {
            ensure!(*was == is, "written: {was}, then {is}");
        }
        stage.unchanged("eu", &on_eu)
    })?;
    let tried = stage.write_requests("eu")? - tried;
    ensure!(tried == 0, "{tried} writes were tried on eu");
    // It is at work all the same.
    stage.drift_is_repaired("eu", "stays")?;
    stage.drift_is_repaired("us", "stays")
}
