//! Somebody changes what the hub keeps on a cluster: it is put right by watch events, at once.

use super::Run;
use super::stand::{Kind, Stand, text, uid};
use crate::env::eventually;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub const TRIALS: &[Run] = &[
    ("instances::drift_of_children_is_repaired_at_once", children),
    ("instances::drift_of_a_mirror_is_repaired_and_its_children_stay", mirror),
    ("instances::drift_that_an_apply_cannot_undo_is_repaired", replaced_items),
    ("instances::drift_that_has_no_end_is_slowed_down_and_named", deleter),
];

/// A repair comes with the watch event; what waits for a timer would take longer than this.
const AT_ONCE: Duration = Duration::from_secs(2);

fn define<'a>(stand: &'a Stand, name: &str, kind: &str) -> Result<Kind<'a>> {
    stand.define(&format!(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: {name}}}
spec:
  schema: {{apiVersion: v1alpha1, kind: {kind}, spec: {{text: string, host: string}}}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{schema.metadata.name}}'}}
      data: {{text: '${{schema.spec.text}}', other: fixed}}
  - id: service
    template:
      apiVersion: v1
      kind: Service
      metadata: {{name: '${{config.metadata.name}}'}}
      spec: {{ports: [{{port: 80, targetPort: 8080}}]}}
  - id: host
    includeWhen: ['${{has(schema.spec.host)}}']
    template:
      apiVersion: v1
      kind: Secret
      metadata: {{name: '${{schema.metadata.name}}-host'}}
"
    ))
}

/// Waits for the repair, and says if it was late.
fn repaired(what: &str, probe: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    eventually(Duration::from_secs(20), what, probe)?;
    ensure!(start.elapsed() < AT_ONCE, "{what}: only after {:?}", start.elapsed());
    Ok(())
}

fn children(stand: &Stand) -> Result<()> {
    let kind = define(stand, "drift", "Drift")?;
    kind.create("a", "eu", "{text: one}")?;
    kind.wait_active("a", &["eu"])?;
    let (eu, config, service) = (stand.api("eu"), kind.beside("configmaps/a"), kind.beside("services/a"));
    let found = |what: &str| kind.child("eu", what)?.with_context(|| format!("no {what}"));

    eu.merge_patch(&config, &json!({"data": {"text": "changed", "added": "stays"}}))?;
    repaired("a changed value", || {
        let data = found("configmaps/a")?["data"].clone();
        ensure!(data == json!({"text": "one", "other": "fixed", "added": "stays"}), "{data}");
        Ok(())
    })?;
    eu.merge_patch(&config, &json!({"data": {"other": null}}))?;
    repaired("a removed value", || {
        let data = found("configmaps/a")?["data"].clone();
        ensure!(data["other"] == "fixed", "{data}");
        Ok(())
    })?;
    let before = uid(&found("services/a")?);
    eu.delete(&service)?;
    repaired("a deleted child", || {
        ensure!(uid(&found("services/a")?) != before, "not deleted yet");
        Ok(())
    })?;
    let before = uid(&found("configmaps/a")?);
    for label in ["applyset.kubernetes.io/part-of", "hub.kro.run/hub-id"] {
        eu.merge_patch(&config, &json!({"metadata": {"labels": {label: null}}}))?;
        repaired(&format!("removed label {label}"), || {
            let object = found("configmaps/a")?;
            ensure!(object["metadata"]["labels"].get(label).is_some(), "{}", object["metadata"]["labels"]);
            ensure!(uid(&object) == before, "it was made anew");
            Ok(())
        })?;
    }
    kind.wait_active("a", &["eu"])?;
    kind.remove("a")
}

fn mirror(stand: &Stand) -> Result<()> {
    let kind = define(stand, "drift-mirror", "DriftMirror")?;
    let instance = kind.create("a", "eu,us", "{text: one}")?;
    kind.wait_active("a", &["eu", "us"])?;
    let (eu, path) = (stand.api("eu"), kind.path("a"));
    let found = || kind.on("eu", "a")?.context("no mirror");
    eu.merge_patch(&path, &json!({"spec": {"text": "changed"}}))?;
    repaired("the mirror's spec", || {
        ensure!(found()?["spec"]["text"] == "one", "{}", found()?["spec"]);
        let config = kind.child("eu", "configmaps/a")?.unwrap_or_default();
        ensure!(config["data"]["text"] == "one", "{}", config["data"]);
        Ok(())
    })?;
    eu.merge_patch(&path, &json!({"spec": {"host": "by-hand"}}))?;
    throughout(Duration::from_millis(600), "what the hub does not say makes nothing", || {
        ensure!(found()?["spec"]["text"] == "one", "{}", found()?["spec"]);
        ensure!(kind.child("eu", "secrets/a-host")?.is_none(), "made of what was added by hand");
        Ok(())
    })?;
    kind.wait_active("a", &["eu", "us"])?;
    for label in ["hub.kro.run/instance-uid", "applyset.kubernetes.io/id"] {
        eu.merge_patch(&path, &json!({"metadata": {"labels": {label: null}}}))?;
        repaired(&format!("label {label} of the mirror"), || {
            let labels = found()?["metadata"]["labels"].clone();
            ensure!(labels.get(label).is_some(), "{labels}");
            Ok(())
        })?;
    }
    let uids = || -> Result<Vec<String>> {
        ["configmaps/a", "services/a"]
            .iter()
            .map(|what| Ok(uid(&kind.child("eu", what)?.with_context(|| format!("no {what}"))?)))
            .collect()
    };
    let (old, children) = (uid(&found()?), uids()?);
    eu.delete(&path)?;
    repaired("a deleted mirror", || {
        let mirror = found()?;
        ensure!(uid(&mirror) != old, "not deleted yet");
        ensure!(text(&mirror, "/metadata/labels/hub.kro.run~1instance-uid") == uid(&instance), "{mirror}");
        let owner = |o: Option<Value>| text(&o.unwrap_or_default(), "/metadata/labels/kro.run~1instance-id");
        for what in ["configmaps/a", "services/a"] {
            ensure!(owner(kind.child("eu", what)?) == uid(&mirror), "{what} is of the old mirror");
        }
        Ok(())
    })?;
    ensure!(uids()? == children, "children were made anew");
    kind.wait_active("a", &["eu", "us"])?;
    kind.remove("a")
}

/// Somebody's port stands in the place of ours; both together would have to be named, so the API server refuses the apply.
fn replaced_items(stand: &Stand) -> Result<()> {
    let kind = define(stand, "drift-items", "DriftItem")?;
    kind.create("a", "eu", "{text: one}")?;
    kind.wait_active("a", &["eu"])?;
    let (eu, service) = (stand.api("eu"), kind.beside("services/a"));
    for port in [81, 82] {
        let theirs = json!({"spec": {"ports": [{"port": port, "targetPort": 9090}]}});
        eu.merge_patch(&service, &theirs)?;
        repaired(&format!("port {port} in the place of ours"), || {
            let object = kind.child("eu", "services/a")?.context("no service")?;
            let ports = object["spec"]["ports"].as_array().cloned().unwrap_or_default();
            let is = ports.len() == 1 && ports[0]["port"] == 80 && ports[0]["targetPort"] == 8080;
            ensure!(is, "{ports:?}");
            let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
            let owners = entries.iter().filter(|e| e["fieldsV1"].to_string().contains("f:ports"));
            let owners: Vec<&Value> = owners.map(|e| &e["manager"]).collect();
            ensure!(owners == ["kro.run/applyset"], "{owners:?}");
            Ok(())
        })?;
    }
    kind.wait_active("a", &["eu"])?;
    kind.remove("a")
}

fn deleter(stand: &Stand) -> Result<()> {
    let kind = define(stand, "drift-deleter", "DriftDeleter")?;
    kind.create("a", "eu", "{text: one}")?;
    kind.wait_active("a", &["eu"])?;
    let (eu, config) = (stand.api("eu"), kind.beside("configmaps/a"));
    let (start, mut deleted) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(4) {
        if kind.child("eu", "configmaps/a")?.is_some() {
            eu.delete(&config)?;
            deleted += 1;
        }
    }
    // Ten at once, and then after 1 s and 2 s.
    ensure!((8..=13).contains(&deleted), "made anew {deleted} times in 4 s");
    let instance = kind.wait_reason("a", "Contested")?;
    ensure!(text(&instance, "/status/state") == "ERROR", "{}", instance["status"]);
    let said = instance["status"].to_string();
    ensure!(said.contains("is deleted again and again"), "{said}");
    kind.edit("a", "{text: two}")?;
    repaired("an edit in the middle of a fight", || {
        let data = kind.child("eu", "configmaps/a")?.context("no config")?["data"].clone();
        ensure!(data["text"] == "two", "{data}");
        Ok(())
    })?;
    kind.wait_active("a", &["eu"])?;
    kind.remove("a")
}
