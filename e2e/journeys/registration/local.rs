//! The hub itself as a cluster: `spec.local`.

use super::seen::{CLUSTERS, conditions};
use super::stage::{SOON, Stage, WHILE, cluster_id, text_of};
use crate::env::wait::{eventually, throughout};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

fn local(name: &str) -> Value {
    json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster", "metadata": {"name": name}, "spec": {"local": true}})
}

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys
}

pub fn the_hub_runs_instances_as_kro_does(stage: &Stage) -> Result<()> {
    stage.note("plain", &json!({}))?;
    eventually(SOON, "without a local Cluster it is not placed", || {
        let note = stage.instance("plain")?;
        let said = conditions(&note);
        ensure!(said.contains("Ready=False NotPlaced") && said.contains("spec.local"), "{said}");
        Ok(())
    })?;
    let before = note_meta(stage)?;
    stage.put(&local("here"))?;
    stage.ready("here")?;
    let note = stage.active("plain")?;
    ensure!(before == note_meta(stage)?, "it was written anew, not reconciled: {note}");

    let status = &note["status"];
    // What tools look at first is said besides.
    let said = ["conditions", "copy", "observedGeneration", "state"];
    ensure!(keys(status) == said, "status has {:?}", keys(status));
    ensure!(status["copy"] == "text of plain", "copy {}", status["copy"]);
    let list = status["conditions"].as_array().cloned().unwrap_or_default();
    let shape: Vec<[&str; 3]> = list
        .iter()
        .map(|c| ["type", "status", "reason"].map(|key| c[key].as_str().unwrap_or_default()))
        .collect();
    ensure!(shape.last().is_some_and(|last| last[0] == "Ready"), "Ready is not the last of {shape:?}");
    let mut sorted = shape.clone();
    sorted.sort_unstable();
    let expected = [
        ["GraphResolved", "True", "Resolved"],
        ["InstanceManaged", "True", "Managed"],
        ["Ready", "True", "Ready"],
        ["ResourcesReady", "True", "AllResourcesReady"],
    ];
    ensure!(sorted == expected, "conditions {shape:?}");
    for condition in &list {
        // Being ready needs no words, and kro writes that there are none.
        let wanted = ["lastTransitionTime", "message", "observedGeneration", "reason", "status", "type"];
        ensure!(keys(condition) == wanted, "a condition has {:?}", keys(condition));
    }

    let ours = |object: &Value| -> Vec<String> {
        let maps = ["labels", "annotations"].map(|map| object["metadata"][map].clone());
        maps.iter().flat_map(keys).filter(|key| key.contains("hub.kro.run/")).map(str::to_owned).collect()
    };
    ensure!(ours(&note).is_empty(), "on the instance: {:?}", ours(&note));
    ensure!(
        note["metadata"]["finalizers"] == json!(["kro.run/finalizer"]),
        "finalizers {}",
        note["metadata"]["finalizers"]
    );
    let labels = [
        "applyset.kubernetes.io/id",
        "kro.run/kro-version",
        "kro.run/owned",
        "kro.run/resource-graph-definition-id",
        "kro.run/resource-graph-definition-name",
    ];
    ensure!(keys(&note["metadata"]["labels"]) == labels, "instance labels {}", note["metadata"]["labels"]);
    let children = stage.children("hub", "plain")?;
    ensure!(children.len() == 2, "{} children", children.len());
    for child in &children {
        let labels = [
            "app.kubernetes.io/managed-by",
            "applyset.kubernetes.io/part-of",
            "kro.run/instance-group",
            "kro.run/instance-id",
            "kro.run/instance-kind",
            "kro.run/instance-name",
            "kro.run/instance-namespace",
            "kro.run/instance-version",
            "kro.run/kro-version",
            "kro.run/node-id",
            "kro.run/owned",
        ];
        ensure!(keys(&child["metadata"]["labels"]) == labels, "child labels {}", child["metadata"]["labels"]);
        let part_of = &child["metadata"]["labels"]["applyset.kubernetes.io/part-of"];
        ensure!(*part_of == note["metadata"]["labels"]["applyset.kubernetes.io/id"], "part of {part_of}");
        ensure!(ours(child).is_empty(), "on a child: {:?}", ours(child));
    }
    ensure!(
        stage.env.api("hub").get("/api/v1/namespaces/kube-system/configmaps/kro-hub-claim")?.is_none(),
        "the hub was claimed"
    );
    // Columns are kro's own while no spoke is registered.
    let crd = stage.hub("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/notes.kro.run")?;
    let columns = crd.pointer("/spec/versions/0/additionalPrinterColumns").and_then(Value::as_array).cloned();
    let columns: Vec<String> =
        columns.into_iter().flatten().map(|c| c["name"].as_str().unwrap_or_default().to_owned()).collect();
    ensure!(columns == ["State", "Ready", "Age"], "columns {columns:?}");

    stage.drift_is_repaired("hub", "plain")?;
    // A restart changes nothing here either, and the end of the Cluster leaves the workload.
    let content = stage.content("hub")?;
    stage.restart_controller()?;
    stage.ready("here")?;
    throughout(WHILE, "no write on the hub", || stage.unchanged("hub", &content))?;
    stage.delete_note("plain")?;
    ensure!(stage.children("hub", "plain")?.is_empty(), "children are left");
    Ok(())
}

fn note_meta(stage: &Stage) -> Result<[Value; 2]> {
    let note = stage.instance("plain")?;
    Ok([note["metadata"]["uid"].clone(), note["metadata"]["generation"].clone()])
}

pub fn only_one_cluster_is_local(stage: &Stage) -> Result<()> {
    stage.put(&local("here"))?;
    let first = stage.ready("here")?;
    stage.put(&local("there"))?;
    let second = stage.is("there", "Ready", "False", "DuplicateCluster")?;
    ensure!(text_of(&second, "Ready").contains("Cluster here"), "it says {:?}", text_of(&second, "Ready"));
    stage.register("eu")?;
    // `*` is every cluster but the local one.
    stage.note("everywhere", &json!({"hub.kro.run/clusters": "*"}))?;
    stage.note("both", &json!({"hub.kro.run/clusters": "here,eu"}))?;
    stage.note("plain", &json!({}))?;
    for note in ["everywhere", "both", "plain"] {
        stage.active(note)?;
    }
    let on = |note: &str| -> Result<Vec<&'static str>> {
        let mut found = Vec::new();
        for cluster in ["hub", "eu"] {
            if stage.children(cluster, note)?.len() == 2 {
                found.push(cluster);
            }
        }
        Ok(found)
    };
    for (note, wanted) in [("everywhere", &["eu"][..]), ("both", &["hub", "eu"]), ("plain", &["hub"])] {
        let found = on(note)?;
        ensure!(found == wanted, "{note} is on {found:?}");
    }
    throughout(WHILE, "the second local Cluster is not used", || {
        let now = stage.cluster("there")?;
        ensure!(conditions(&now).contains("Ready=False DuplicateCluster"), "{}", conditions(&now));
        stage.cluster("here").map(drop)
    })?;
    for note in ["everywhere", "plain", "both"] {
        stage.delete_note(note)?;
    }
    for note in ["everywhere", "both", "plain"] {
        ensure!(on(note)?.is_empty(), "children of {note} are left");
    }
    // The first goes: the second serves.
    stage.delete_cluster("here")?;
    let second = stage.ready("there")?;
    ensure!(cluster_id(&second) == cluster_id(&first), "another id");
    stage.note("plain", &json!({}))?;
    stage.active("plain").map(drop)
}

pub fn the_local_cluster_leaves_its_workload(stage: &Stage) -> Result<()> {
    stage.put(&local("here"))?;
    stage.ready("here")?;
    stage.note("plain", &json!({}))?;
    stage.active("plain")?;
    let children = stage.children("hub", "plain")?;
    stage.delete_cluster("here")?;
    eventually(SOON, "Cluster here gone", || {
        let found = stage.env.api("hub").get(&format!("{CLUSTERS}/here"))?;
        ensure!(found.is_none(), "it is there");
        Ok(())
    })?;
    throughout(WHILE, "the workload stays", || {
        let now = stage.children("hub", "plain")?;
        ensure!(now == children, "children: {children:?}, then {now:?}");
        Ok(())
    })?;
    stage.put(&local("there"))?;
    stage.active("plain")?;
    stage.drift_is_repaired("hub", "plain")
}
