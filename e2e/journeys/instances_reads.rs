//! What an instance reads and does not own, and what its author says of it: external references, the cluster it is on,
//! conditions.

use super::Run;
use super::stand::{CLUSTERS, Kind, PATIENCE, Stand, annotation, text};
use crate::env::eventually;
use crate::env::registration::condition;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("instances::external_references_are_read_and_followed", external),
    ("instances::an_external_reference_that_goes_freezes_what_reads_it", external_goes),
    ("instances::conditions_of_the_author_take_the_place_of_ours", conditions),
    ("instances::facts_of_a_cluster_reach_those_that_read_them", cluster_facts),
    ("instances::what_lives_on_the_hub_is_there_once_and_read_everywhere", on_hub),
];

fn config(name: &str, labels: &Value, value: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels},
        "data": {"value": value}})
    .to_string()
}

/// Waits until the instance says that it waits for this.
fn wait_message(kind: &Kind, name: &str, want: &str) -> Result<()> {
    eventually(PATIENCE, &format!("{name} says {want:?}"), || {
        let instance = kind.hub(name)?;
        let message = text(&instance, "/status/fleet/clusters/0/message");
        ensure!(instance["status"]["state"] == "IN_PROGRESS", "{}", instance["status"]);
        ensure!(message.contains(want), "{message}");
        Ok(())
    })
}

fn external(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: reads}
spec:
  schema: {apiVersion: v1alpha1, kind: Read, spec: {source: string, tier: string}, status: {value: '${settings.data.value}'}}
  resources:
  - id: settings
    externalRef: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.spec.source}'}}
  - id: peers
    externalRef:
      apiVersion: v1
      kind: ConfigMap
      metadata:
        selector:
          matchLabels: {reads-tier: '${schema.spec.tier}'}
          matchExpressions: [{key: reads-hidden, operator: DoesNotExist}]
  - id: copy
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-copy'}
      data:
        value: '${settings.data.value}'
        peers: '${peers.map(p, p.metadata.namespace + "/" + p.metadata.name).join(",")}'
"#,
    )?;
    kind.create("a", "eu", "{source: settings, tier: web}")?;
    kind.create("b", "eu", "{source: settings, tier: db}")?;
    wait_message(&kind, "a", "waiting for external reference v1 ConfigMap reads/settings: not found")?;
    ensure!(kind.child("eu", "configmaps/a-copy")?.is_none(), "made of nothing");

    let copied = |name: &str, value: &str, peers: &str| {
        let wanted = json!({"value": value, "peers": peers});
        kind.wait_child("eu", &format!("configmaps/{name}-copy"), |c| c["data"] == wanted)
    };
    kind.create_beside("eu", "configmaps", &config("settings", &json!({}), "one"))?;
    copied("a", "one", "")?;
    let instance = kind.wait_active("a", &["eu"])?;
    ensure!(instance["status"]["value"] == "one", "{}", instance["status"]);

    let web = json!({"reads-tier": "web"});
    kind.create_beside("eu", "configmaps", &config("p2", &web, ""))?;
    copied("a", "one", "reads/p2")?;
    stand.create("eu", "/api/v1/namespaces/default/configmaps", &config("p1", &web, ""))?;
    copied("a", "one", "default/p1,reads/p2")?;
    copied("b", "one", "")?;

    let eu = stand.api("eu");
    eu.merge_patch(&kind.beside("configmaps/settings"), &json!({"data": {"value": "two"}}))?;
    copied("a", "two", "default/p1,reads/p2")?;
    copied("b", "two", "")?;
    let relabel = |labels: Value| {
        let patch = json!({"metadata": {"labels": labels}});
        eu.merge_patch(&kind.beside("configmaps/p2"), &patch).map(drop)
    };
    relabel(json!({"reads-tier": "db"}))?;
    copied("a", "two", "default/p1")?;
    copied("b", "two", "reads/p2")?;
    relabel(json!({"reads-hidden": "yes"}))?;
    copied("b", "two", "")?;

    kind.remove("a")?;
    kind.remove("b")?;
    for name in ["settings", "p2"] {
        let found = kind.child("eu", &format!("configmaps/{name}"))?.context("it is no child")?;
        let labels = &found["metadata"]["labels"];
        ensure!(labels.get("kro.run/owned").is_none(), "{labels}");
    }
    eu.delete("/api/v1/namespaces/default/configmaps/p1")
}

fn external_goes(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: follows}
spec:
  schema: {apiVersion: v1alpha1, kind: Follow, spec: {source: string}}
  resources:
  - id: settings
    externalRef: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.spec.source}'}}
    readyWhen: ['${settings.data.value != ``}']
  - id: copy
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: copy}
      data: {value: '${settings.data.value}'}
"
        .replace("``", "\"\"")
        .as_str(),
    )?;
    kind.namespace_on("eu")?;
    kind.create_beside("eu", "configmaps", &config("first", &json!({}), "one"))?;
    kind.create("a", "eu", "{source: first}")?;
    kind.wait_active("a", &["eu"])?;
    let settings = kind.beside("configmaps/first");
    let eu = stand.api("eu");
    eu.merge_patch(&settings, &json!({"data": {"value": ""}}))?;
    wait_message(&kind, "a", "readyWhen of settings is not met")?;
    eu.delete(&settings)?;
    wait_message(&kind, "a", "not found")?;
    throughout(Duration::from_millis(500), "what reads it stays as it is", || {
        let copy = kind.child("eu", "configmaps/copy")?.context("it was deleted")?;
        ensure!(copy["data"]["value"] == "one", "{}", copy["data"]);
        Ok(())
    })?;
    kind.create_beside("eu", "configmaps", &config("second", &json!({}), "two"))?;
    kind.edit("a", "{source: second}")?;
    kind.wait_active("a", &["eu"])?;
    kind.wait_child("eu", "configmaps/copy", |c| c["data"]["value"] == "two")?;
    // Of what nobody reads any more, nothing wakes anybody: its watch is closed.
    kind.create_beside("eu", "configmaps", &config("first", &json!({}), "three"))?;
    eu.delete(&kind.beside("configmaps/second"))?;
    wait_message(&kind, "a", "ConfigMap follows/second: not found")?;
    kind.remove("a")
}

fn conditions(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: speaks}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Speak
    spec: {text: string}
    status:
      conditions:
      - '${runtime.newCondition({type: "Ready", status: gate.?data.?open.orValue("no") == "yes" ? "True" : "False", reason: "Gate", message: schema.spec.text})}'
      - '${runtime.newCondition({type: "Complete", status: runtime.condition(schema, "ResourcesReady").status, reason: "Own"})}'
  resources:
  - id: gate
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: gate}}
"#,
    )?;
    kind.create("a", "eu,us", "{text: hello}")?;
    let said = |object: &Value, type_: &str| {
        let found = condition(object, type_).cloned().unwrap_or_default();
        (text(&found, "/status"), text(&found, "/reason"), text(&found, "/message"))
    };
    let wait = |ready: &str, message: &str| {
        eventually(PATIENCE, &format!("Ready={ready}: {message}"), || {
            let instance = kind.hub("a")?;
            ensure!(instance["status"]["state"] == "ACTIVE", "{}", instance["status"]);
            let (status, reason, text) = said(&instance, "Ready");
            ensure!(status == ready && reason == "Gate" && text == message, "{}", instance["status"]);
            ensure!(said(&instance, "Complete").0 == "True", "{}", instance["status"]);
            for ours in ["InstanceManaged", "GraphResolved", "ResourcesReady"] {
                ensure!(condition(&instance, ours).is_none(), "{ours} is there: {}", instance["status"]);
            }
            Ok(instance)
        })
    };
    wait("False", "eu, us: hello")?;
    let open = |cluster: &str| {
        let patch = json!({"data": {"open": "yes"}});
        stand.api(cluster).merge_patch(&kind.beside("configmaps/gate"), &patch).map(drop)
    };
    open("eu")?;
    let before = wait("False", "us: hello")?;
    let mirror = kind.on("eu", "a")?.context("no mirror")?;
    ensure!(said(&mirror, "Ready") == ("True".into(), "Gate".into(), "hello".into()), "{}", mirror["status"]);
    let since = |object: &Value| {
        condition(object, "Complete").cloned().unwrap_or_default()["lastTransitionTime"].clone()
    };
    open("us")?;
    let after = wait("True", "hello")?;
    ensure!(since(&before) == since(&after), "nothing changed of Complete");

    kind.edit_definition("{spec: {schema: {status: {conditions: null}}}}")?;
    eventually(PATIENCE, "our conditions are back", || {
        let instance = kind.hub("a")?;
        ensure!(condition(&instance, "Complete").is_none(), "{}", instance["status"]);
        ensure!(said(&instance, "ResourcesReady").0 == "True", "{}", instance["status"]);
        ensure!(said(&instance, "Ready").1 == "Ready", "{}", instance["status"]);
        Ok(())
    })?;
    kind.remove("a")
}

fn cluster_facts(stand: &Stand) -> Result<()> {
    let reader = stand.define(
        r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: knows}
spec:
  schema: {apiVersion: v1alpha1, kind: Know}
  resources:
  - id: facts
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: facts}
      data:
        name: '${kro.cluster.name}'
        label: '${kro.cluster.labels.name}'
        tier: '${kro.cluster.labels.?tier.orValue("none")}'
        modern: '${string(kro.cluster.version.major >= 1 && kro.cluster.version.minor > 20)}'
"#,
    )?;
    let other = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: ignores}
spec:
  schema: {apiVersion: v1alpha1, kind: Ignore}
  resources:
  - id: plain
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: plain}, data: {name: x}}
",
    )?;
    reader.create("a", "eu,us", "{}")?;
    other.create("a", "eu,us", "{}")?;
    reader.wait_active("a", &["eu", "us"])?;
    other.wait_active("a", &["eu", "us"])?;
    let wait = |cluster: &str, tier: &str| {
        let wanted = json!({"name": cluster, "label": cluster, "tier": tier, "modern": "true"});
        reader.wait_child(cluster, "configmaps/facts", |c| c["data"] == wanted)
    };
    wait("eu", "none")?;
    let on_us = wait("us", "none")?;
    let untouched = || -> Result<Vec<Value>> {
        let child = other.child("eu", "configmaps/plain")?.context("no child")?;
        let mirror = other.on("eu", "a")?.context("no mirror")?;
        Ok(vec![child["metadata"]["resourceVersion"].clone(), mirror["metadata"]["resourceVersion"].clone()])
    };
    let before = untouched()?;
    stand.label_cluster("eu", &json!({"tier": "gold"}))?;
    wait("eu", "gold")?;
    ensure!(wait("us", "none")?["metadata"] == on_us["metadata"], "us has another label");
    ensure!(untouched()? == before, "what reads nothing of it was written");
    stand.label_cluster("eu", &json!({"tier": null}))?;
    wait("eu", "none")?;
    ensure!(annotation(&reader.hub("a")?, "hub.kro.run/holds") == "eu,us", "its place is the same");
    reader.remove("a")?;
    other.remove("a")
}

fn on_hub(stand: &Stand) -> Result<()> {
    let hub = stand.api("hub");
    let cluster = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster",
        "metadata": {"name": "local"}, "spec": {"local": true}});
    hub.post(CLUSTERS, &cluster)?;
    let outcome = on_registered_hub(stand);
    let path = format!("{CLUSTERS}/local");
    hub.delete(&path)?;
    eventually(PATIENCE, "Cluster local gone", || {
        ensure!(hub.get(&path)?.is_none(), "it is there");
        Ok(())
    })?;
    outcome
}

fn on_registered_hub(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: shares, annotations: {hub.kro.run/hub-refs: settings}}
spec:
  schema: {apiVersion: v1alpha1, kind: Share, spec: {size: string}, status: {size: '${app.data.size}'}}
  resources:
  - id: settings
    externalRef: {apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}
  - id: db
    readyWhen: ['${db.?data.?address.hasValue()}']
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-db', annotations: {hub.kro.run/target: hub}}
      data: {size: '${schema.spec.size}', region: '${settings.data.value}'}
  - id: app
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-app'}
      data: {address: '${db.data.address}', size: '${db.data.size}', region: '${settings.data.value}'}
"#,
    )?;
    kind.create_beside("hub", "configmaps", &config("settings", &json!({}), "north"))?;
    kind.create("a", "eu,us", "{size: small}")?;
    let db = kind.wait_child("hub", "configmaps/a-db", |c| c["data"]["size"] == "small")?;
    ensure!(db["data"]["region"] == "north", "{}", db["data"]);
    throughout(Duration::from_millis(500), "nothing is made of what is not ready on the hub", || {
        ensure!(kind.child("eu", "configmaps/a-app")?.is_none(), "it is there");
        Ok(())
    })?;
    let hub = stand.api("hub");
    hub.merge_patch(&kind.beside("configmaps/a-db"), &json!({"data": {"address": "db.example"}}))?;
    let wait = |size: &str, region: &str| -> Result<()> {
        let wanted = json!({"address": "db.example", "size": size, "region": region});
        for cluster in ["eu", "us"] {
            kind.wait_child(cluster, "configmaps/a-app", |c| c["data"] == wanted)?;
            ensure!(kind.child(cluster, "configmaps/a-db")?.is_none(), "it lives on the hub alone");
        }
        Ok(())
    };
    wait("small", "north")?;
    let instance = kind.wait_active("a", &["eu", "us", "local"])?;
    ensure!(instance["status"]["size"] == "small", "{}", instance["status"]);
    kind.edit("a", "{size: large}")?;
    wait("large", "north")?;
    hub.merge_patch(&kind.beside("configmaps/settings"), &json!({"data": {"value": "south"}}))?;
    wait("large", "south")?;
    kind.wait_active("a", &["eu", "us", "local"])?;
    kind.remove("a")?;
    for (cluster, what) in [("eu", "a-app"), ("us", "a-app"), ("hub", "a-db")] {
        ensure!(kind.child(cluster, &format!("configmaps/{what}"))?.is_none(), "{what} is left on {cluster}");
    }
    ensure!(kind.child("hub", "configmaps/settings")?.is_some(), "it is no child");
    Ok(())
}
