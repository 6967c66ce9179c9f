//! A spoke's API server is down while something is asked of it: the others do not wait, the hub says what it waits for,
//! and a spoke that returns catches up without help.

use super::Run;
use super::stand::{CLUSTERS, Kind, PATIENCE, Stand, entry, summary, uid};
use crate::env::controller::NAMESPACE;
use crate::env::eventually;
use crate::env::registration::condition;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

pub const TRIALS: &[Run] = &[
    ("faults::a_spoke_that_is_down_at_creation_catches_up", creation),
    ("faults::a_start_with_a_spoke_down_deletes_nothing", start),
];

/// These go on while another spoke is frozen.
pub const DELETIONS: &[Run] = &[
    ("faults::a_spoke_that_is_down_holds_the_deletion", deletion),
    ("faults::a_spoke_that_is_let_go_is_cleaned_when_it_returns", release),
    ("faults::what_an_instance_left_without_its_finalizer_is_cleaned_when_its_spoke_returns", stripped),
];

/// What needs no timer and no contact that is lost is done within this.
const AT_ONCE: Duration = Duration::from_secs(2);

/// An API server that is stopped; it is started again also when the trial fails.
pub struct Down<'a> {
    stand: &'a Stand,
    name: &'static str,
    back: bool,
}

impl<'a> Down<'a> {
    pub fn stop(stand: &'a Stand, name: &'static str) -> Result<Self> {
        stand.env.stop_server(name)?;
        Ok(Self { stand, name, back: false })
    }

    /// Waits until the hub has noticed.
    pub fn wait_noticed(&self) -> Result<()> {
        wait_cluster(self.stand, self.name, "Unreachable").map(drop)
    }

    pub fn start(mut self) -> Result<()> {
        self.back = true;
        self.stand.env.start_server(self.name)
    }
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        if !self.back {
            // The trial has failed already; those that follow need the server.
            let _ = self.stand.env.start_server(self.name);
        }
    }
}

/// Waits until the Cluster is Ready=False with this reason; returns it.
pub fn wait_cluster(stand: &Stand, name: &str, reason: &str) -> Result<Value> {
    eventually(PATIENCE, &format!("Cluster {name} Ready=False {reason}"), || {
        let cluster = cluster(stand, name)?;
        for of_type in ["Ready", "Reachable"] {
            let found = condition(&cluster, of_type).cloned().unwrap_or_default();
            ensure!(found["status"] == "False" && found["reason"] == reason, "{of_type}: {found}");
        }
        Ok(cluster)
    })
}

pub fn cluster(stand: &Stand, name: &str) -> Result<Value> {
    stand.api("hub").get(&format!("{CLUSTERS}/{name}"))?.with_context(|| format!("no Cluster {name}"))
}

/// A kind with one child, a ConfigMap of the instance's name.
pub fn define<'a>(stand: &'a Stand, name: &str, kind: &str) -> Result<Kind<'a>> {
    stand.define(&format!(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: {name}}}
spec:
  schema: {{apiVersion: v1alpha1, kind: {kind}, spec: {{text: string}}}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{schema.metadata.name}}'}}
      data: {{text: '${{schema.spec.text}}'}}
"
    ))
}

/// Waits until the child is there with this text, and says if that was late.
fn at_once(kind: &Kind, cluster: &str, name: &str, text: &str) -> Result<()> {
    let start = Instant::now();
    kind.wait_child(cluster, &format!("configmaps/{name}"), |c| c["data"]["text"] == text)?;
    ensure!(start.elapsed() < AT_ONCE, "{name} on {cluster}: only after {:?}", start.elapsed());
    Ok(())
}

/// Waits until the entry of a spoke says that there is no contact; returns the instance.
pub fn wait_unreachable(kind: &Kind, name: &str, spoke: &str) -> Result<Value> {
    eventually(PATIENCE, &format!("{name}: no contact with {spoke}"), || {
        let instance = kind.hub(name)?;
        let entry = entry(&instance, spoke)?;
        let message = entry["message"].as_str().unwrap_or_default();
        ensure!(entry["state"] == "Unreachable" && message.contains("no contact since"), "{entry}");
        Ok(instance)
    })
}

fn creation(stand: &Stand) -> Result<()> {
    let down = Down::stop(stand, "us")?;
    // The hub does not know yet, or just so.
    let kind = define(stand, "down-creation", "DownCreation")?;
    kind.create("early", "eu,us,ap", "{text: one}")?;
    at_once(&kind, "eu", "early", "one")?;
    at_once(&kind, "ap", "early", "one")?;
    down.wait_noticed()?;
    // It knows.
    kind.create("late", "eu,us,ap", "{text: two}")?;
    at_once(&kind, "eu", "late", "two")?;
    at_once(&kind, "ap", "late", "two")?;
    for name in ["early", "late"] {
        let instance = wait_unreachable(&kind, name, "us")?;
        let fleet = &instance["status"]["fleet"];
        ensure!(instance["status"]["state"] == "IN_PROGRESS", "{}", summary(&instance));
        ensure!(fleet["desired"] == 3 && fleet["unreachable"] == 1, "{fleet}");
        eventually(AT_ONCE, "the others are fine", || {
            let instance = kind.hub(name)?;
            for spoke in ["eu", "ap"] {
                ensure!(entry(&instance, spoke)?["state"] == "ACTIVE", "{}", summary(&instance));
            }
            Ok(())
        })?;
    }
    // An edit goes on too.
    kind.edit("early", "{text: three}")?;
    at_once(&kind, "eu", "early", "three")?;
    down.start()?;
    for (name, text) in [("early", "three"), ("late", "two")] {
        kind.wait_active(name, &["eu", "us", "ap"])?;
        at_once(&kind, "us", name, text)?;
    }
    for name in ["early", "late"] {
        kind.remove(name)?;
    }
    Ok(())
}

/// Everything of this hub, by cluster and path, with its uid.
pub fn content(stand: &Stand, clusters: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for cluster in clusters {
        let api = stand.api(cluster);
        let kinds = api.get("/apis/kro.run/v1alpha1")?.unwrap_or_default();
        let generated = kinds["resources"].as_array().into_iter().flatten().filter_map(|r| {
            let name = r["name"].as_str().filter(|n| !n.contains('/'))?;
            Some(format!("/apis/kro.run/v1alpha1/{name}"))
        });
        let fixed = ["/api/v1/configmaps", super::stand::CRDS].map(str::to_owned);
        for path in fixed.into_iter().chain(generated) {
            // On the hub instances carry no such label, and all of them are of this hub.
            let selector = if *cluster == "hub" { "" } else { "?labelSelector=hub.kro.run/hub-id" };
            for object in api.list(&format!("{path}{selector}"))? {
                let metadata = &object["metadata"];
                let key = format!("{cluster} {path} {}/{}", metadata["namespace"], metadata["name"]);
                found.insert(key, uid(&object));
            }
        }
    }
    Ok(found)
}

/// That what was there is there, and is what it was.
pub fn nothing_vanished(stand: &Stand, clusters: &[&str], before: &BTreeMap<String, String>) -> Result<()> {
    let now = content(stand, clusters)?;
    let of_these = |key: &str| clusters.iter().any(|c| key.starts_with(&format!("{c} ")));
    let vanished: Vec<_> = before.iter().filter(|(k, v)| of_these(k) && now.get(*k) != Some(v)).collect();
    ensure!(vanished.is_empty(), "vanished or made anew: {vanished:?}");
    Ok(())
}

fn start(stand: &Stand) -> Result<()> {
    let kind = define(stand, "down-start", "DownStart")?;
    for (name, clusters) in [("both", "eu,us"), ("one", "us"), ("chosen", "?name in (us,ap)"), ("all", "*")] {
        kind.create(name, clusters, "{text: one}")?;
    }
    let placed: [(&str, &[&str]); 4] =
        [("both", &["eu", "us"]), ("one", &["us"]), ("chosen", &["us", "ap"]), ("all", &["eu", "us", "ap"])];
    for (name, clusters) in placed {
        kind.wait_active(name, clusters)?;
    }
    let (all, up) = (["hub", "eu", "us", "ap"], ["hub", "eu", "ap"]);
    let before = content(stand, &all)?;
    ensure!(before.keys().filter(|k| k.starts_with("us ")).count() >= 9, "too little on us: {before:?}");

    stand.end_controller()?;
    let down = Down::stop(stand, "us")?;
    stand.start_controller()?;
    for (name, _) in placed {
        wait_unreachable(&kind, name, "us")?;
    }
    // The others are at work: what somebody changes there is repaired.
    for (spoke, name) in [("eu", "both"), ("ap", "chosen")] {
        let path = kind.beside(&format!("configmaps/{name}"));
        stand.api(spoke).merge_patch(&path, &json!({"data": {"text": "changed"}}))?;
        kind.wait_child(spoke, &format!("configmaps/{name}"), |c| c["data"]["text"] == "one")?;
    }
    throughout(Duration::from_secs(1), "all is there", || nothing_vanished(stand, &up, &before))?;
    down.start()?;
    for (name, clusters) in placed {
        kind.wait_active(name, clusters)?;
    }
    throughout(Duration::from_secs(1), "all is there", || nothing_vanished(stand, &all, &before))?;
    placed.iter().try_for_each(|(name, _)| kind.delete(name))?;
    placed.iter().try_for_each(|(name, _)| kind.wait_gone(name))
}

/// What of this hub is on a spoke.
fn labelled(stand: &Stand, spoke: &str) -> Result<BTreeSet<String>> {
    let id = stand.api("hub").get(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps/kro-hub-id"))?;
    let id = id.context("the hub has no id")?["data"]["id"].as_str().unwrap_or_default().to_owned();
    ensure!(!id.is_empty(), "the hub id is empty");
    Ok(stand.env.labelled(spoke, &format!("hub.kro.run/hub-id={id}"))?.into_iter().collect())
}

/// An instance on `eu` and `us` that is deleted while `us` is down, once the hub says what it waits for.
fn deleted_while_down<'a>(kind: &Kind<'a>, instance: &Value) -> Result<Down<'a>> {
    let down = Down::stop(kind.stand, "us")?;
    down.wait_noticed()?;
    kind.delete("a")?;
    let start = Instant::now();
    kind.wait_no_child("eu", "configmaps/a")?;
    ensure!(start.elapsed() < AT_ONCE, "deleted on eu only after {:?}", start.elapsed());
    eventually(AT_ONCE, "the status says what is waited for", || {
        let found = kind.hub("a")?;
        ensure!(
            uid(&found) == uid(instance) && found["status"]["state"] == "DELETING",
            "{}",
            summary(&found)
        );
        let entries = super::stand::placed(&found);
        ensure!(entries == ["us"], "{}", summary(&found));
        let entry = entry(&found, "us")?;
        let since = entry["since"].as_str().filter(|s| !s.is_empty()).context("since when?")?;
        let lost = cluster(kind.stand, "us")?;
        let lost = condition(&lost, "Ready").cloned().unwrap_or_default();
        ensure!(lost["lastTransitionTime"] == since, "{entry}, but lost since {lost}");
        let said = condition(&found, "ResourcesReady").cloned().unwrap_or_default();
        let message = said["message"].as_str().unwrap_or_default();
        for part in ["us", since, "hub.kro.run/release"] {
            ensure!(message.contains(part), "it does not say {part:?}: {message}");
        }
        ensure!(entry["message"].as_str().is_some_and(|m| m.contains("waits for contact")), "{entry}");
        Ok(())
    })?;
    Ok(down)
}

fn deletion(stand: &Stand) -> Result<()> {
    let before = labelled(stand, "us")?;
    let kind = define(stand, "down-deletion", "DownDeletion")?;
    let instance = kind.create("a", "eu,us", "{text: one}")?;
    kind.wait_active("a", &["eu", "us"])?;
    let down = deleted_while_down(&kind, &instance)?;
    throughout(Duration::from_secs(1), "the finalizer holds", || {
        let found = kind.hub("a")?;
        let finalizers = &found["metadata"]["finalizers"];
        ensure!(*finalizers == json!(["kro.run/finalizer"]), "finalizers {finalizers}");
        Ok(())
    })?;
    down.start()?;
    kind.wait_gone("a")?;
    // The instance goes last.
    let left: Vec<String> = labelled(stand, "us")?.difference(&before).cloned().collect();
    let crd = format!("CustomResourceDefinition.apiextensions.k8s.io/{}.kro.run", kind.plural);
    ensure!(left == [crd], "left on us: {left:?}");
    let claim = stand.api("us").get("/api/v1/namespaces/kube-system/configmaps/kro-hub-claim")?;
    ensure!(claim.is_some(), "the claim is gone");
    Ok(())
}

fn release(stand: &Stand) -> Result<()> {
    let kind = define(stand, "down-release", "DownRelease")?;
    let instance = kind.create("a", "eu,us", "{text: one}")?;
    kind.wait_active("a", &["eu", "us"])?;
    let id = cluster(stand, "us")?["status"]["clusterID"].as_str().unwrap_or_default().to_owned();
    ensure!(!id.is_empty(), "Cluster us has no id");
    let record = || -> Result<Map<String, Value>> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/left-{id}");
        let found = stand.api("hub").get(&path)?.unwrap_or_default();
        Ok(found["data"].as_object().cloned().unwrap_or_default())
    };
    let down = deleted_while_down(&kind, &instance)?;
    ensure!(record()?.is_empty(), "left behind before anybody let go: {:?}", record()?);
    kind.annotate("a", &json!({"hub.kro.run/release": "us"}))?;
    let start = Instant::now();
    kind.wait_gone("a")?;
    ensure!(start.elapsed() < AT_ONCE, "gone only after {:?}", start.elapsed());
    // By then it is on record.
    let found = record()?;
    let left = found.get(&uid(&instance)).and_then(Value::as_str).with_context(|| format!("{found:?}"))?;
    let left: Value = serde_json::from_str(left)?;
    ensure!(left["kind"] == kind.kind && left["name"] == "a" && left["namespace"] == kind.rgd, "{left}");
    lists_it(&kind)?;
    down.start()?;
    kind.wait_no_child("us", "configmaps/a")?;
    eventually(PATIENCE, "the mirror is gone, and the record", || {
        let mirror = kind.on("us", "a")?;
        ensure!(mirror.is_none(), "the mirror is there: {}", mirror.unwrap_or_default()["metadata"]);
        ensure!(record()?.is_empty(), "on record: {:?}", record()?);
        let behind = cluster(stand, "us")?["status"]["leftBehind"].take();
        ensure!(behind.is_null(), "leftBehind {behind}");
        Ok(())
    })
}

/// What `us` still has of the instance is named by its Cluster.
fn lists_it(kind: &Kind) -> Result<()> {
    let named = format!("{}.kro.run {}/a", kind.kind, kind.rgd);
    eventually(AT_ONCE, "the Cluster lists it", || {
        let behind = cluster(kind.stand, "us")?["status"]["leftBehind"].take();
        ensure!(behind == json!({"count": 1, "names": [named]}), "leftBehind {behind}");
        Ok(())
    })
}

fn stripped(stand: &Stand) -> Result<()> {
    let kind = define(stand, "down-stripped", "DownStripped")?;
    let instance = kind.create("a", "eu,us", "{text: one}")?;
    kind.wait_active("a", &["eu", "us"])?;
    let down = deleted_while_down(&kind, &instance)?;
    kind.patch("a", &json!({"metadata": {"finalizers": null}}))?;
    kind.wait_gone("a")?;
    lists_it(&kind)?;
    down.start()?;
    kind.wait_no_child("us", "configmaps/a")?;
    eventually(PATIENCE, "the mirror is gone, and the record", || {
        let mirror = kind.on("us", "a")?;
        ensure!(mirror.is_none(), "the mirror is there: {}", mirror.unwrap_or_default()["metadata"]);
        let behind = cluster(stand, "us")?["status"]["leftBehind"].take();
        ensure!(behind.is_null(), "leftBehind {behind}");
        Ok(())
    })
}
