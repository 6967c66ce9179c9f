//! What stands on a cluster and is not ours is not taken; deletion takes what is ours, in order.

use super::Run;
use super::stand::{Kind, PATIENCE, Stand, entry, text, uid};
use crate::env::eventually;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("instances::a_foreign_object_is_not_taken", foreign),
    ("instances::what_one_instance_gives_up_another_takes", given_up),
    ("instances::existing_objects_are_adopted_where_the_template_says_so", adopted),
    ("instances::deletion_goes_in_reverse_order_and_leaves_nothing", deletion),
];

fn define<'a>(stand: &'a Stand, name: &str, kind: &str, annotations: &str) -> Result<Kind<'a>> {
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
      metadata: {{name: config, annotations: {annotations}}}
      data: {{text: '${{schema.spec.text}}'}}
  - id: second
    template: {{apiVersion: v1, kind: Secret, metadata: {{name: 'after-${{config.metadata.name}}'}}}}
"
    ))
}

fn foreign(stand: &Stand) -> Result<()> {
    let kind = define(stand, "foreign", "Foreign", "{}")?;
    kind.namespace_on("eu")?;
    let theirs = kind.create_beside(
        "eu",
        "configmaps",
        "{metadata: {name: config, labels: {app.kubernetes.io/managed-by: Helm}}, data: {text: theirs}}",
    )?;
    kind.create("a", "eu,us", "{text: ours}")?;
    eventually(PATIENCE, "the conflict named", || {
        let instance = kind.hub("a")?;
        let message = text(&entry(&instance, "eu")?, "/message");
        ensure!(message.contains("config") && message.contains("Helm"), "{}", instance["status"]);
        ensure!(entry(&instance, "us")?["state"] == "ACTIVE", "{}", instance["status"]);
        ensure!(instance["status"]["state"] == "ERROR", "{}", instance["status"]);
        Ok(())
    })?;
    throughout(Duration::from_millis(600), "it stays theirs", || {
        let found = kind.child("eu", "configmaps/config")?.context("gone")?;
        ensure!(uid(&found) == uid(&theirs) && found["data"]["text"] == "theirs", "{found}");
        ensure!(kind.owned("eu", "configmaps")?.is_empty(), "it carries our labels");
        Ok(())
    })?;
    stand.api("eu").delete(&kind.beside("configmaps/config"))?;
    kind.wait_active("a", &["eu", "us"])?;
    kind.wait_child("eu", "configmaps/config", |c| c["data"]["text"] == "ours")?;
    // A second instance that renders the same object must not have it.
    kind.create("b", "eu", "{text: other}")?;
    eventually(PATIENCE, "the other instance named", || {
        let message = text(&entry(&kind.hub("b")?, "eu")?, "/message");
        ensure!(message.contains("foreign/a"), "{message}");
        Ok(())
    })?;
    kind.remove("b")?;
    kind.wait_child("eu", "configmaps/config", |c| c["data"]["text"] == "ours")?;
    kind.remove("a")
}

/// An instance that is renamed in Git: the new name is applied, then the old one is pruned.
fn given_up(stand: &Stand) -> Result<()> {
    let kind = define(stand, "given-up", "GivenUp", "{}")?;
    kind.create("a", "eu", "{text: old}")?;
    kind.wait_active("a", &["eu"])?;
    kind.create("b", "eu", "{text: new}")?;
    eventually(PATIENCE, "the other instance named", || {
        let message = text(&entry(&kind.hub("b")?, "eu")?, "/message");
        ensure!(message.contains("given-up/a"), "{message}");
        Ok(())
    })?;
    // One that somebody deletes is its owner's to make again.
    let before = kind.child("eu", "configmaps/config")?.context("gone")?;
    stand.api("eu").delete(&kind.beside("configmaps/config"))?;
    kind.wait_child("eu", "configmaps/config", |c| uid(c) != uid(&before) && c["data"]["text"] == "old")?;
    kind.remove("a")?;
    kind.wait_active("b", &["eu"])?;
    kind.wait_child("eu", "configmaps/config", |c| c["data"]["text"] == "new")?;
    kind.remove("b")
}

fn adopted(stand: &Stand) -> Result<()> {
    let cases = [
        ("adopts", "Adopt", "{hub.kro.run/on-existing: Adopt}"),
        ("equals", "Equal", "{hub.kro.run/on-existing: AdoptIfEqual, hub.kro.run/on-delete: Orphan}"),
    ];
    for (name, kind, annotations) in cases {
        let kind = define(stand, name, kind, annotations)?;
        kind.namespace_on("eu")?;
        let theirs = kind.create_beside(
            "eu",
            "configmaps",
            &format!("{{metadata: {{name: config, annotations: {annotations}}}, data: {{text: theirs}}}}"),
        )?;
        kind.create("a", "eu", "{text: ours}")?;
        if name == "equals" {
            eventually(PATIENCE, "what differs is not taken", || {
                let found = entry(&kind.hub("a")?, "eu")?;
                ensure!(found["state"] == "ERROR", "{found}");
                Ok(())
            })?;
            kind.edit("a", "{text: theirs}")?;
        }
        kind.wait_active("a", &["eu"])?;
        let found = kind.child("eu", "configmaps/config")?.context("gone")?;
        ensure!(uid(&found) == uid(&theirs), "it was made anew");
        ensure!(kind.owned("eu", "configmaps")? == ["config"], "not labelled");
        kind.remove("a")?;
        let left = kind.child("eu", "configmaps/config")?;
        ensure!(left.is_some() == (name == "equals"), "{name}: left {left:?}");
        ensure!(kind.owned("eu", "configmaps")?.is_empty(), "an orphan carries our labels");
    }
    Ok(())
}

fn deletion(stand: &Stand) -> Result<()> {
    let kind = define(stand, "deletes", "Delete", "{}")?;
    kind.create("a", "eu,us", "{text: x}")?;
    kind.wait_active("a", &["eu", "us"])?;
    let held = |finalizers: serde_json::Value| {
        let patch = json!({"metadata": {"finalizers": finalizers}});
        stand.api("eu").merge_patch(&kind.beside("secrets/after-config"), &patch)
    };
    held(json!(["example.org/hold"]))?;
    kind.delete("a")?;
    eventually(PATIENCE, "the last in order goes first", || {
        let secret = kind.child("eu", "secrets/after-config")?.context("gone")?;
        ensure!(secret["metadata"].get("deletionTimestamp").is_some(), "not deleted");
        ensure!(kind.on("us", "a")?.is_none(), "us still has its mirror");
        Ok(())
    })?;
    throughout(Duration::from_millis(600), "everything before it waits", || {
        ensure!(kind.child("eu", "configmaps/config")?.is_some(), "the first in order is gone");
        ensure!(kind.on("eu", "a")?.is_some(), "the mirror is gone");
        let instance = kind.hub("a")?;
        ensure!(
            instance["metadata"]["finalizers"] == json!(["kro.run/finalizer"]),
            "{}",
            instance["metadata"]
        );
        Ok(())
    })?;
    held(json!(null))?;
    kind.wait_gone("a")?;
    for cluster in ["eu", "us"] {
        let left = stand.env.labelled(cluster, "hub.kro.run/hub-id")?;
        let left: Vec<_> = left.iter().filter(|o| o.starts_with("deletes/")).collect();
        ensure!(left.is_empty(), "left on {cluster}: {left:?}");
        ensure!(stand.api(cluster).get(&kind.crd_path())?.is_some(), "the CRD went");
        ensure!(stand.api(cluster).get("/api/v1/namespaces/deletes")?.is_some(), "the namespace went");
    }
    // Deleted and made anew at once, under the same name.
    for text in ["one", "two"] {
        kind.create("b", "eu,us", &format!("{{text: {text}}}"))?;
        kind.wait_child("us", "configmaps/config", |c| c["data"]["text"] == text)?;
        kind.delete("b")?;
    }
    kind.wait_gone("b")
}
