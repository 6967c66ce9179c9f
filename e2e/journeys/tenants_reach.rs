//! What somebody with the rights of one namespace may reach by what is made of their instances, by versions that they forge, and
//! by tolerations.

use super::Run;
use super::rollout::{approve, place, placements, two_stages, wait_says};
use super::stand::{CLUSTERS, Kind, PATIENCE, Stand, entry, text, uid};
use super::tenants::{Other, Said, WHILE, in_kube_system, makes, simple, tenant};
use crate::env::api::Api;
use crate::env::eventually;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

pub const TRIALS: &[Run] = &[
    ("tenants::what_nested_instances_make_stays_inside_too", nested),
    ("tenants::a_forged_version_counts_for_nothing_of_others", forged_version),
    (TAINTS, tolerations),
];

/// A taint keeps the instances of other trials away.
pub const TAINTS: &str = "tenants::a_toleration_opens_taints_to_its_own_namespace_and_no_fence";

/// Puts a ConfigMap where it is told.
const INNER: &str = r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: inlet}
spec:
  schema: {apiVersion: v1alpha1, kind: Inlet, spec: {home: string}}
  resources:
  - id: note
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-note', namespace: '${schema.spec.home}'}
      data: {text: a}
";

/// Makes an instance of it where it is told, and tells it the same.
const OUTER: &str = r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: outlet}
spec:
  schema: {apiVersion: v1alpha1, kind: Outlet, spec: {at: string, home: string}}
  resources:
  - id: inner
    template:
      apiVersion: kro.run/v1alpha1
      kind: Inlet
      metadata: {name: '${schema.metadata.name}', namespace: '${schema.spec.at}'}
      spec: {home: '${schema.spec.home}'}
";

fn nested(stand: &Stand) -> Result<()> {
    let inner = stand.define(INNER)?;
    let outer = stand.define(OUTER)?;
    let tenant = tenant(stand, "outlet")?;
    let said = Said::own(stand, "eu", &[])?;
    let inlet = |namespace: &str, name: &str| {
        let path = format!("/apis/kro.run/v1alpha1/namespaces/{namespace}/{}/{name}", inner.plural);
        stand.api("eu").get(&path)
    };
    for (name, at) in [("sly", "outlet"), ("bold", "kube-system")] {
        let placed = json!({"name": name, "annotations": {"hub.kro.run/clusters": "eu"}});
        makes(&tenant, &outer, &placed, &json!({"at": at, "home": "kube-system"}))?;
    }

    // The instance in the middle stands beside the tenant's own; what it makes is held to that place.
    eventually(PATIENCE, "the instance in the middle is refused", || {
        let found = inlet("outlet", "sly")?.context("it is not there")?;
        ensure!(found["status"].to_string().contains("NamespaceNotAllowed"), "{}", found["status"]);
        Ok(())
    })?;
    // Nor does it go itself to where kube-system would be its own.
    let refused = outer.wait_reason("bold", "NamespaceNotAllowed")?;
    let message = text(&entry(&refused, "eu")?, "/message");
    ensure!(
        message.contains("Inlet.kro.run kube-system/bold") || message.contains("kube-system/bold"),
        "{message}"
    );
    throughout(WHILE, "nothing in kube-system", || {
        for name in ["sly", "bold"] {
            ensure!(in_kube_system(stand, "eu", &format!("{name}-note"))?.is_none(), "{name} was written");
        }
        ensure!(inlet("kube-system", "bold")?.is_none(), "the instance in the middle was written");
        Ok(())
    })?;

    // It is that word alone that held it.
    said.say(&json!({"policy": "Own", "also": ["kube-system"]}))?;
    outer.wait_active("bold", &["eu"])?;
    for name in ["sly", "bold"] {
        eventually(PATIENCE, "it is written", || {
            in_kube_system(stand, "eu", &format!("{name}-note"))?.context("it is not there")
        })?;
        outer.remove(name)?;
        ensure!(in_kube_system(stand, "eu", &format!("{name}-note"))?.is_none(), "{name} is left behind");
    }
    Ok(())
}

fn versions(kind: &Kind) -> String {
    format!("/apis/apps/v1/namespaces/{}/controllerrevisions", kind.rgd)
}

/// In the place of a version, another one of the same number that says more.
fn forge(tenant: &Api, kind: &Kind, number: u64, change: impl Fn(&mut Value)) -> Result<()> {
    let all = tenant.list(&versions(kind))?;
    let found = all.into_iter().find(|v| v["revision"] == number).context("no such version")?;
    let metadata = &found["metadata"];
    let mut forged = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": number,
        "metadata": {"name": metadata["name"], "labels": metadata["labels"], "ownerReferences": metadata["ownerReferences"]},
        "data": found["data"]});
    let name = text(&forged, "/metadata/name");
    change(&mut forged);
    if text(&forged, "/metadata/name") == name {
        tenant.delete(&format!("{}/{name}", versions(kind)))?;
    }
    tenant.post(&versions(kind), &forged).map(drop)
}

fn forged_version(stand: &Stand) -> Result<()> {
    let kind = stand.define(&simple("verser", "Verser", "{name: '${schema.metadata.name}-note'}"))?;
    let tenant = tenant(stand, "verser")?;
    let other = Other::of(&kind)?;
    other.create("theirs", "eu,us")?;
    let theirs = stand.api("hub").get(&other.path("theirs"))?.context("theirs is gone")?;
    let content = || -> Result<Vec<Value>> {
        Ok([other.content("eu", "theirs")?, other.content("us", "theirs")?].concat())
    };
    let before = content()?;

    // The second cluster is held at the first version, and repaired by what is on record of that.
    place(&kind, &json!({"names": ["eu", "us"]}), &two_stages())?;
    makes(&tenant, &kind, &json!({"name": "mine"}), &json!({"text": "one"}))?;
    wait_says(&kind, "mine", "RolloutAwaitingApproval", &["version 1"])?;
    approve(&kind, "mine", 1, "prod")?;
    kind.wait_active("mine", &["eu", "us"])?;
    kind.edit("mine", "{text: two}")?;
    wait_says(&kind, "mine", "RolloutAwaitingApproval", &["version 2"])?;
    let identity = |mirror: &Value| -> Vec<(String, Value)> {
        let all =
            ["labels", "annotations"].iter().filter_map(|map| mirror["metadata"][*map].as_object()).flatten();
        let ours = |key: &str| key.contains("kro.run/") || key.contains("applyset.kubernetes.io/");
        // Its time, which a repair does not move.
        all.filter(|(key, _)| ours(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let own = identity(&kind.on("us", "mine")?.context("no mirror on us")?);
    let id = &before[0]["metadata"]["labels"];
    let words = json!({"team": "forged", "kro.run/owned": "true", "hub.kro.run/instance-uid": uid(&theirs),
        "applyset.kubernetes.io/part-of": id["applyset.kubernetes.io/id"], "kro.run/instance-name": "theirs",
        "applyset.kubernetes.io/tooling": "x", "hub.kro.run/on-delete": "Orphan"});
    forge(&tenant, &kind, 1, |version| {
        version["data"]["labels"] = words.clone();
        version["data"]["annotations"] = words.clone();
    })?;
    // What is no bookkeeping is a matter of their own instance, and shows that it was read.
    let mirror = eventually(PATIENCE, "the forged words are there", || {
        let mirror = kind.on("us", "mine")?.context("no mirror on us")?;
        ensure!(mirror["metadata"]["labels"]["team"] == "forged", "{}", mirror["metadata"]["labels"]);
        Ok(mirror)
    })?;
    ensure!(identity(&mirror) == own, "it was {own:?}, and is {:?}", identity(&mirror));

    // One that says it is somebody else's is nobody's.
    forge(&tenant, &kind, 2, |version| {
        version["metadata"] = json!({"name": "of-theirs", "labels": {"hub.kro.run/version-of": uid(&theirs),
            "hub.kro.run/stable": "true"}});
        version["revision"] = json!(99);
        version["data"]["spec"] = json!({"text": "forged"});
    })?;
    throughout(WHILE, "what is somebody else's stays as it is", || {
        let is = |o: &Value| (uid(o), text(o, "/metadata/resourceVersion"));
        let (was, is): (Vec<_>, Vec<_>) =
            (before.iter().map(is).collect(), content()?.iter().map(is).collect());
        ensure!(was == is, "{was:?}, then {is:?}");
        Ok(())
    })?;
    kind.remove("mine")?;
    other.remove("theirs")
}

fn tolerations(stand: &Stand) -> Result<()> {
    let kind = stand.define(&simple("bearer", "Bearer", "{name: '${schema.metadata.name}-note'}"))?;
    let say = |taints: Value, allowed: Value| {
        let patch = json!({"spec": {"taints": taints, "allowedNamespaces": allowed}});
        stand.api("hub").merge_patch(&format!("{CLUSTERS}/us"), &patch).map(drop)
    };
    say(json!([{"key": "secret-lab", "value": "yes", "effect": "NoSelect"}]), Value::Null)?;
    let ended = tolerated(stand, &kind, &say);
    ended.and(say(Value::Null, Value::Null))
}

fn tolerated(stand: &Stand, kind: &Kind, say: &dyn Fn(Value, Value) -> Result<()>) -> Result<()> {
    let tenant = tenant(stand, "bearer")?;
    let other = Other::of(kind)?;
    other.create("theirs", "eu")?;
    let theirs = || stand.api("hub").get(&other.path("theirs"))?.context("theirs is gone");
    let named = json!({"metadata": {"annotations": {"hub.kro.run/clusters": "eu,us"}}});
    stand.api("hub").merge_patch(&other.path("theirs"), &named)?;

    // An instance has no word that tolerates.
    let toleration = json!([{"operator": "Exists"}]);
    let metadata = json!({"name": "mine", "annotations": {"hub.kro.run/clusters": "eu,us",
        "hub.kro.run/tolerations": toleration.to_string(), "hub.kro.run/tolerate": "*"}});
    makes(&tenant, kind, &metadata, &json!({}))?;
    let refused = |instance: Value| -> Result<()> {
        let us = entry(&instance, "us")?;
        ensure!(us["state"] == "Tainted" && text(&us, "/message").contains("secret-lab"), "{us}");
        Ok(())
    };
    eventually(PATIENCE, "both are kept away", || refused(kind.hub("mine")?).and(refused(theirs()?)))?;
    throughout(WHILE, "nothing of it is on us", || {
        ensure!(kind.on("us", "mine")?.is_none(), "it is there");
        Ok(())
    })?;

    // A Placement has, for the instances of its namespace, whatever it says of others.
    let placement = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Placement", "metadata": {"name": "bears"},
        "spec": {"instances": {"kind": kind.kind}, "clusters": {"names": ["us"], "tolerations": toleration}}});
    tenant.post(&placements(kind), &placement)?;
    let wide = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "ClusterPlacement", "metadata": {"name": "bears"},
        "spec": placement["spec"]});
    let above = tenant.post("/apis/hub.kro.run/v1alpha1/clusterplacements", &wide);
    ensure!(above.is_err(), "the tenant writes what is for all namespaces");
    kind.wait_active("mine", &["eu", "us"])?;
    refused(theirs()?)?;

    // Who must keep somebody out says so by a fence.
    say(json!([{"key": "secret-lab", "value": "yes", "effect": "NoSelect"}]), json!([other.namespace()]))?;
    kind.annotate("mine", &json!({"hub.kro.run/clusters": "us"}))?;
    makes(&tenant, kind, &json!({"name": "later"}), &json!({}))?;
    eventually(PATIENCE, "the fence holds", || {
        let us = entry(&kind.hub("later")?, "us")?;
        ensure!(us["state"] == "NotAllowed", "{us}");
        Ok(())
    })?;
    ensure!(kind.on("us", "later")?.is_none(), "it is there");
    say(Value::Null, Value::Null)?;
    kind.remove("later")?;
    kind.remove("mine")?;
    other.remove("theirs")
}
