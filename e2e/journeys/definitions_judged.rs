//! Definitions that are judged again when what they name is served, and what that costs.

use super::Run;
use super::definitions::note;
use super::definitions_edits::wait_condition;
use super::stand::{PATIENCE, Stand};
use crate::env::eventually;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const TRIALS: &[Run] = &[
    ("definitions::the_order_of_applying_decides_nothing", the_order_decides_nothing),
    ("definitions::a_missing_kind_is_looked_for_once_however_often_its_group_changes", looked_for_once),
    ("definitions::a_dead_api_group_concerns_who_uses_it", a_dead_api_group),
];

const APISERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// A definition that makes an object of another kind; `spec` is that object's.
fn maker(name: &str, kind: &str, made: (&str, &str), spec: &str) -> String {
    let (api_version, made) = made;
    format!(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: {name}}}
spec:
  schema: {{apiVersion: v1alpha1, kind: {kind}, spec: {{text: string}}}}
  resources:
  - id: inner
    template:
      apiVersion: {api_version}
      kind: {made}
      metadata: {{name: '${{schema.metadata.name}}'}}
      spec: {spec}
"
    )
}

fn the_order_decides_nothing(stand: &Stand) -> Result<()> {
    const RIGHT: &str = "{text: '${schema.spec.text}'}";
    const WRONG: &str = "{text: '${schema.spec.text}', nosuch: x}";
    let outer = |which: &str, spec: &str| {
        let name = format!("def-outer-{}", which.to_lowercase());
        maker(&name, &format!("DefOuter{which}"), ("kro.run/v1alpha1", "DefInner"), spec)
    };
    let (early, wrong_early) = (stand.submit(&outer("A", RIGHT))?, stand.submit(&outer("B", WRONG))?);
    for kind in [&early, &wrong_early] {
        // No cluster serves what it makes, so it fits none: not Active, whatever the hub may know of it.
        eventually(PATIENCE, "a verdict", || {
            let status = kind.status()?;
            ensure!(status["state"] == "Inactive", "{status}");
            Ok(())
        })?;
    }
    let inner = stand.define(&note("def-inner", "DefInner", "{text: string}"))?;
    early.wait_defined()?;
    let (late, wrong_late) = (stand.define(&outer("C", RIGHT))?, stand.submit(&outer("D", WRONG))?);
    let mut told = Vec::new();
    for kind in [&wrong_early, &wrong_late] {
        told.push(wait_condition(kind, "GraphAccepted", "False")?);
        ensure!(kind.status()?["state"] == "Inactive", "{}", kind.status()?);
    }
    ensure!(told[0].contains("nosuch") && told[0] == told[1], "{told:?}");
    for kind in [&early, &late, &wrong_early, &wrong_late, &inner] {
        stand.api("hub").delete(&kind.rgd_path())?;
    }
    Ok(())
}

/// Requests so far: of the hub side, and of all clusters.
fn requests(stand: &Stand) -> Result<f64> {
    let text = stand.metrics()?;
    let counts = text.lines().filter(|line| line.starts_with("kro_hub_requests_total{"));
    Ok(counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
}

fn looked_for_once(stand: &Stand) -> Result<()> {
    const CRDS: &str = super::stand::CRDS;
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "others.wanting.example.org"},
        "spec": {"group": "wanting.example.org", "scope": "Namespaced",
            "names": {"kind": "Other", "plural": "others", "singular": "other"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let hub = stand.api("hub");
    hub.post(CRDS, &crd)?;
    // Refused for its field, and lacking the kind as well.
    let wrong = maker(
        "def-wanting",
        "DefWanting",
        ("wanting.example.org/v1", "Wanted"),
        "{text: '${schema.spec.nosuch}'}",
    );
    let kind = stand.submit(&wrong)?;
    wait_condition(&kind, "GraphAccepted", "False")?;
    let before = requests(stand)?;
    for n in 0..8 {
        let patch = json!({"spec": {"versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "description": format!("edit {n}"),
                "x-kubernetes-preserve-unknown-fields": true}}}]}});
        hub.merge_patch(&format!("{CRDS}/others.wanting.example.org"), &patch)?;
        sleep(Duration::from_millis(120));
    }
    sleep(Duration::from_secs(5));
    let asked = requests(stand)? - before;
    hub.delete(&kind.rgd_path())?;
    hub.delete(&format!("{CRDS}/others.wanting.example.org"))?;
    // Two looks of a few requests each, and what is asked at rest by four API servers.
    ensure!(asked <= 45.0, "{asked} requests in six seconds for one definition that lacks a kind");
    Ok(())
}

/// An API group whose server is not there.
fn a_dead_api_group(stand: &Stand) -> Result<()> {
    let dead = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.dead.example.org"},
        "spec": {"group": "dead.example.org", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "insecureSkipTLSVerify": true, "service": {"name": "nobody", "namespace": "default"}}});
    for cluster in ["hub", "eu"] {
        stand.api(cluster).post(APISERVICES, &dead)?;
    }
    let done = beside_a_dead_group(stand);
    for cluster in ["hub", "eu"] {
        stand.api(cluster).delete(&format!("{APISERVICES}/v1.dead.example.org"))?;
    }
    done
}

fn beside_a_dead_group(stand: &Stand) -> Result<()> {
    for cluster in ["hub", "eu"] {
        eventually(PATIENCE, "the group is dead", || {
            let service =
                stand.api(cluster).get(&format!("{APISERVICES}/v1.dead.example.org"))?.context("none")?;
            let available =
                crate::env::registration::condition(&service, "Available").cloned().unwrap_or_default();
            ensure!(available["status"] == "False", "{available}");
            Ok(())
        })?;
    }
    let verdict = |kind: &super::stand::Kind| -> Result<(Value, Duration)> {
        let begun = Instant::now();
        let status = eventually(PATIENCE, &format!("a verdict on {}", kind.rgd), || {
            let status = kind.status()?;
            ensure!(status["state"] == "Active" || status["state"] == "Inactive", "{status}");
            Ok(status)
        })?;
        Ok((status, begun.elapsed()))
    };
    let begun = maker("def-dead", "DefDead", ("dead.example.org/v1", "Corpse"), "{a: b}");
    let uses = stand.submit(&begun)?;
    let (said, took) = verdict(&uses)?;
    ensure!(took < Duration::from_secs(6), "a verdict after {took:?}: {said}");
    // It fits none of the clusters, since none says what the group serves.
    eventually(PATIENCE, "the group is named", || {
        let status = uses.status()?;
        ensure!(status["state"] == "Inactive" && status.to_string().contains("dead.example.org"), "{status}");
        Ok(())
    })?;
    // Who does not use it does not notice: neither a definition, nor an instance on a spoke where it is dead too.
    let other = stand.submit(&note("def-alive", "DefAlive", "{text: string}"))?;
    let (said, took) = verdict(&other)?;
    ensure!(said["state"] == "Active" && took < Duration::from_secs(6), "after {took:?}: {said}");
    other.create("a", "eu", "{text: one}")?;
    other.wait_active("a", &["eu"])?;
    let cluster =
        stand.api("hub").get(&format!("{}/eu", super::stand::CLUSTERS))?.context("no Cluster eu")?;
    let ready = crate::env::registration::condition(&cluster, "Ready").cloned().unwrap_or_default();
    ensure!(ready["status"] == "True", "eu is not Ready: {ready}");
    let begun = Instant::now();
    stand.end_controller()?;
    stand.start_controller()?;
    let took = begun.elapsed();
    ensure!(took < Duration::from_secs(20), "ready again after {took:?}");
    other.edit("a", "{text: two}")?;
    other.wait_child("eu", "configmaps/a", |c| c["data"]["text"] == "two")?;
    other.remove("a")?;
    stand.api("hub").delete(&uses.rgd_path())
}
