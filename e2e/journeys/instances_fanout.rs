//! From one instance on the hub to its mirrors and children on clusters.

use super::Run;
use super::stand::{PATIENCE, Stand, annotation, entries, text, uid};
use crate::env::eventually;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("instances::go_where_they_say_and_nowhere_else", go_where_they_say),
    ("instances::what_belongs_to_the_hub_stays_there", what_belongs_to_the_hub_stays),
    ("instances::edits_travel_and_status_comes_back", edits_travel),
    ("instances::without_a_place_they_say_how_to_get_one", without_a_place),
];

const FANOUT: &str = r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: fanout}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Fanout
    spec:
      text: string | default=hello
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}'}
      data: {text: '${schema.spec.text}'}
";

fn go_where_they_say(stand: &Stand) -> Result<()> {
    let kind = stand.define(FANOUT)?;
    kind.create("named", "us", "{}")?;
    kind.wait_active("named", &["us"])?;
    let crd = stand.api("us").get(&kind.crd_path())?.context("no CRD on us")?;
    ensure!(!text(&crd, "/metadata/labels/hub.kro.run~1hub-id").is_empty(), "{}", crd["metadata"]["labels"]);
    ensure!(
        crd["metadata"]["labels"].get("kro.run/owned").is_none(),
        "upstream kro would take it for its own"
    );
    let mirror = kind.on("us", "named")?.context("no mirror")?;
    ensure!(
        text(&crd, "/metadata/creationTimestamp") <= text(&mirror, "/metadata/creationTimestamp"),
        "the mirror is older than its CRD"
    );
    throughout(Duration::from_millis(500), "nothing on eu and ap", || {
        for spoke in ["eu", "ap"] {
            ensure!(stand.api(spoke).get(&kind.crd_path())?.is_none(), "a CRD on {spoke}");
            ensure!(stand.api(spoke).get("/api/v1/namespaces/fanout")?.is_none(), "a namespace on {spoke}");
        }
        Ok(())
    })?;

    kind.create("selected", "?name in (eu,ap)", "{}")?;
    kind.create("everywhere", "*", "{}")?;
    let selected = kind.wait_active("selected", &["ap", "eu"])?;
    kind.wait_active("everywhere", &["ap", "eu", "us"])?;
    ensure!(annotation(&selected, "hub.kro.run/holds") == "ap,eu", "{}", selected["metadata"]["annotations"]);
    for (name, clusters) in [("selected", 2), ("everywhere", 3)] {
        let count = stand.spokes.iter().filter(|s| kind.on(s, name).ok().flatten().is_some()).count();
        ensure!(count == clusters, "{name} on {count} clusters");
    }
    ensure!(kind.child("hub", "configmaps/everywhere")?.is_none(), "a child on the hub");

    // A name that nobody registered yet is said, and the others are served.
    kind.create("partly", "eu,mars", "{}")?;
    eventually(PATIENCE, "eu served, mars said", || {
        let instance = kind.hub("partly")?;
        let states: Vec<(String, String)> =
            entries(&instance).iter().map(|e| (text(e, "/name"), text(e, "/state"))).collect();
        let wanted = [("mars", "NotRegistered"), ("eu", "ACTIVE")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        ensure!(states == wanted, "{}", instance["status"]);
        ensure!(instance["status"]["state"] != "ACTIVE", "{}", instance["status"]);
        Ok(())
    })?;
    ["named", "selected", "everywhere", "partly"].iter().try_for_each(|name| kind.delete(name))?;
    ["named", "selected", "everywhere", "partly"].iter().try_for_each(|name| kind.wait_gone(name))
}

fn what_belongs_to_the_hub_stays(stand: &Stand) -> Result<()> {
    let kind = stand.define(&FANOUT.replace("fanout", "travel").replace("Fanout", "Travel"))?;
    let stays = [
        "kro.run/anything",
        "internal.kro.run/x",
        "argocd.argoproj.io/tracking-id",
        "kustomize.toolkit.fluxcd.io/name",
        "helm.toolkit.fluxcd.io/name",
        "kubectl.kubernetes.io/last-applied-configuration",
        "app.kubernetes.io/instance",
    ];
    let mut annotations = json!({"hub.kro.run/clusters": "eu", "example.org/note": "kept"});
    for key in stays {
        annotations[key] = json!("{}");
    }
    let owner = kind.create_beside("hub", "configmaps", "{metadata: {name: owner}}")?;
    let instance = kind.create_as(
        json!({
            "name": "a",
            "annotations": annotations,
            "labels": {"team": "storefront", "app.kubernetes.io/instance": "argo", "helm.toolkit.fluxcd.io/name": "x"},
            "finalizers": ["example.org/mine"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid(&owner)}],
        }),
        "{}",
    )?;
    kind.wait_active("a", &["eu"])?;
    let mirror = kind.on("eu", "a")?.context("no mirror")?;
    let meta = &mirror["metadata"];
    ensure!(uid(&mirror) != uid(&instance), "the mirror has a uid of its own");
    ensure!(
        meta["labels"]["team"] == "storefront" && meta["annotations"]["example.org/note"] == "kept",
        "{meta}"
    );
    ensure!(meta["labels"]["hub.kro.run/instance-uid"] == uid(&instance).as_str(), "{meta}");
    ensure!(!text(&mirror, "/metadata/labels/hub.kro.run~1hub-id").is_empty(), "{meta}");
    ensure!(meta.get("ownerReferences").is_none() && meta.get("finalizers").is_none(), "{meta}");
    for key in stays.iter().chain(&["hub.kro.run/clusters", "hub.kro.run/holds", "hub.kro.run/decided"]) {
        for map in ["labels", "annotations"] {
            ensure!(meta[map].get(key).is_none(), "{key} travelled: {meta}");
        }
    }
    // What a user adds or takes away later travels too.
    kind.patch("a", &json!({"metadata": {"labels": {"team": null, "tier": "web"}}}))?;
    eventually(PATIENCE, "labels follow", || {
        let labels = kind.on("eu", "a")?.context("no mirror")?["metadata"]["labels"].clone();
        ensure!(labels["tier"] == "web" && labels.get("team").is_none(), "{labels}");
        Ok(())
    })?;
    kind.delete("a")?;
    eventually(PATIENCE, "only the user's finalizer is left", || {
        let finalizers = kind.hub("a")?["metadata"]["finalizers"].clone();
        ensure!(finalizers == json!(["example.org/mine"]), "{finalizers}");
        ensure!(kind.on("eu", "a")?.is_none(), "the mirror is there");
        Ok(())
    })?;
    kind.patch("a", &json!({"metadata": {"finalizers": null}}))?;
    kind.wait_gone("a")
}

fn edits_travel(stand: &Stand) -> Result<()> {
    let kind = stand.define(&FANOUT.replace("fanout", "edited").replace("Fanout", "Edited"))?;
    kind.create("a", "eu,us", "{text: one}")?;
    let before = kind.wait_active("a", &["eu", "us"])?;
    for cluster in ["eu", "us"] {
        ensure!(
            kind.child(cluster, "configmaps/a")?.is_some_and(|c| c["data"]["text"] == "one"),
            "{cluster}"
        );
    }
    let fleet = &before["status"]["fleet"];
    ensure!(fleet["desired"] == 2 && fleet["ready"] == 2 && fleet["summary"] == "2/2", "{fleet}");
    ensure!(entries(&before).iter().all(|e| e["resources"] == "1/1"), "{fleet}");
    kind.edit("a", "{text: two}")?;
    let after = kind.wait_active("a", &["eu", "us"])?;
    ensure!(after["metadata"]["generation"] != before["metadata"]["generation"], "no new generation");
    for cluster in ["eu", "us"] {
        let child = kind.child(cluster, "configmaps/a")?.unwrap_or_default();
        ensure!(child["data"] == json!({"text": "two"}), "ACTIVE, but {cluster} has {}", child["data"]);
        let mirror = kind.on(cluster, "a")?.unwrap_or_default();
        ensure!(mirror["status"]["state"] == "ACTIVE" && mirror["spec"]["text"] == "two", "{mirror}");
    }
    kind.remove("a")
}

fn without_a_place(stand: &Stand) -> Result<()> {
    let kind = stand.define(&FANOUT.replace("fanout", "unplaced").replace("Fanout", "Unplaced"))?;
    kind.create_as(json!({"name": "a"}), "{}")?;
    let instance = kind.wait_reason("a", "NotPlaced")?;
    let ready: Value = entries(&instance).into();
    ensure!(ready == json!([]), "{ready}");
    ensure!(instance["status"]["state"] == "IN_PROGRESS", "{}", instance["status"]);
    kind.place("a", "ap")?;
    kind.wait_active("a", &["ap"])?;
    kind.remove("a")
}
