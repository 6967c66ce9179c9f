//! Definitions made of other definitions' kinds: on a spoke, what they make there is an instance that is at home there.

use super::Run;
use super::stand::{CRDS, Kind, PATIENCE, Stand, parse, text, uid};
use crate::env::eventually;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("nested::an_instance_made_by_another_is_reconciled_on_the_spoke", made_by_another),
    ("nested::a_definition_that_others_make_instances_of_is_kept", kept_for_others),
    ("nested::labels_do_not_tell_what_an_object_is", told_by_no_label),
    ("nested::labels_copied_from_the_instance_do_no_harm", labels_copied),
];

/// A cell says where it is, and a part of it can be held.
fn cells<'a>(stand: &'a Stand, rgd: &str, kind: &str) -> Result<Kind<'a>> {
    stand.define(&format!(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: {rgd}}}
spec:
  schema:
    apiVersion: v1alpha1
    kind: {kind}
    spec: {{text: string}}
    status: {{said: '${{config.data.text}}'}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{schema.metadata.name}}-cell'}}
      data: {{text: '${{schema.spec.text}} on ${{kro.cluster.name}}'}}
"
    ))
}

/// A body has two cells, and reads what the first says.
fn bodies<'a>(stand: &'a Stand, rgd: &str, kind: &str, cell: &str) -> Result<Kind<'a>> {
    stand.define(&format!(
        r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: {rgd}}}
spec:
  schema:
    apiVersion: v1alpha1
    kind: {kind}
    spec: {{text: string, second: boolean | default=true}}
    status: {{heard: '${{first.status.said}}'}}
  resources:
  - id: first
    readyWhen: ['${{first.status.state == "ACTIVE"}}']
    template:
      apiVersion: kro.run/v1alpha1
      kind: {cell}
      metadata: {{name: '${{schema.metadata.name}}-first'}}
      spec: {{text: '${{schema.spec.text}}'}}
  - id: second
    includeWhen: ['${{schema.spec.second}}']
    template:
      apiVersion: kro.run/v1alpha1
      kind: {cell}
      metadata: {{name: '${{schema.metadata.name}}-second'}}
      spec: {{text: '${{first.status.said}}'}}
"#
    ))
}

/// Waits until an object beside the instances has this text in its data.
fn wait_text(kind: &Kind, cluster: &str, config: &str, want: &str) -> Result<Value> {
    kind.wait_child(cluster, &format!("configmaps/{config}"), |c| c["data"]["text"] == want)
}

fn made_by_another(stand: &Stand) -> Result<()> {
    let cell = cells(stand, "cells", "Cell")?;
    let body = bodies(stand, "organs", "Organ", "Cell")?;
    let all = format!("/apis/kro.run/v1alpha1/namespaces/{}/cells", body.rgd);
    let path = |name: &str| format!("{all}/{name}");
    let on_eu = |name: &str| stand.api("eu").get(&path(name));

    eventually(PATIENCE, "the definition fits everywhere, before any CRD is there", || {
        let fleet = body.status()?["fleet"].clone();
        ensure!(fleet["compatible"] == stand.spokes.len(), "{fleet}");
        Ok(())
    })?;
    body.create("a", "eu", "{text: hi}")?;
    let instance = body.wait_active("a", &["eu"])?;
    ensure!(instance["status"]["heard"] == "hi on eu", "{}", instance["status"]);
    wait_text(&body, "eu", "a-first-cell", "hi on eu")?;
    wait_text(&body, "eu", "a-second-cell", "hi on eu on eu")?;

    let crd = stand.api("eu").get(&format!("{CRDS}/cells.kro.run"))?.context("no CRD of the inner kind")?;
    ensure!(!text(&crd, "/metadata/labels/hub.kro.run~1hub-id").is_empty(), "{}", crd["metadata"]);
    let first = on_eu("a-first")?.context("no inner instance")?;
    ensure!(first["metadata"]["finalizers"] == json!(["kro.run/finalizer"]), "{}", first["metadata"]);
    ensure!(first["status"]["state"] == "ACTIVE", "{}", first["status"]);
    ensure!(stand.api("hub").get(&path("a-first"))?.is_none(), "the inner instance is on the hub");
    ensure!(stand.api("us").get(&format!("{CRDS}/cells.kro.run"))?.is_none(), "us has the CRD");

    // One made by hand on the spoke is nobody's.
    let by_hand =
        parse("{apiVersion: kro.run/v1alpha1, kind: Cell, metadata: {name: by-hand}, spec: {text: mine}}")?;
    stand.api("eu").post(&all, &by_hand)?;

    // Drift two levels down; an edit; what one cell is made of goes with it.
    stand
        .api("eu")
        .merge_patch(&body.beside("configmaps/a-second-cell"), &json!({"data": {"text": "bent"}}))?;
    wait_text(&body, "eu", "a-second-cell", "hi on eu on eu")?;
    body.edit("a", "{text: ho}")?;
    wait_text(&body, "eu", "a-second-cell", "ho on eu on eu")?;
    body.wait_active("a", &["eu"])?;

    // A restart finds everything as it should be.
    let versions = || -> Result<Vec<Value>> {
        let seen = [path("a-first"), path("a-second"), body.beside("configmaps/a-second-cell")];
        let found = seen.iter().map(|p| stand.api("eu").get(p)?.context("gone"));
        let found: Result<Vec<Value>> = found.collect();
        Ok(found?.iter().map(|o| json!([uid(o), o["metadata"]["resourceVersion"]])).collect())
    };
    let before = eventually(PATIENCE, "everything is at rest", || {
        let before = versions()?;
        std::thread::sleep(Duration::from_millis(700));
        ensure!(versions()? == before, "something is still written");
        Ok(before)
    })?;
    stand.kill_controller();
    stand.start_controller()?;
    body.edit("a", "{text: ho, second: true}")?;
    throughout(Duration::from_secs(4), "a restart writes nothing", || {
        ensure!(versions()? == before, "something was written");
        Ok(())
    })?;

    // Pruned with all that it is made of.
    body.edit("a", "{text: ho, second: false}")?;
    body.wait_no_child("eu", "configmaps/a-second-cell")?;
    body.wait_no_child("eu", "kro.run/v1alpha1/cells/a-second")?;

    // Deleted while what it makes is held: it waits, and says so on the spoke.
    let held = json!({"metadata": {"finalizers": ["example.org/hold"]}});
    stand.api("eu").merge_patch(&body.beside("configmaps/a-first-cell"), &held)?;
    body.delete("a")?;
    eventually(PATIENCE, "the inner instance is being deleted", || {
        let first = on_eu("a-first")?.context("gone")?;
        ensure!(first["status"]["state"] == "DELETING", "{}", first["status"]);
        Ok(())
    })?;
    ensure!(body.on("eu", "a")?.is_some(), "the outer instance went before the inner one");
    let free = json!({"metadata": {"finalizers": null}});
    stand.api("eu").merge_patch(&body.beside("configmaps/a-first-cell"), &free)?;
    body.wait_gone("a")?;
    ensure!(on_eu("a-first")?.is_none() && body.owned("eu", "configmaps")?.is_empty(), "something is left");
    let mine = on_eu("by-hand")?.context("what somebody made by hand is gone")?;
    ensure!(mine["metadata"]["finalizers"].is_null() && mine["status"]["state"].is_null(), "{mine}");

    for kind in [&body, &cell] {
        stand.api("hub").delete(&kind.rgd_path())?;
    }
    eventually(PATIENCE, "both definitions are gone", || {
        ensure!(stand.api("hub").get(&cell.rgd_path())?.is_none(), "the inner one stays");
        Ok(())
    })
}

fn kept_for_others(stand: &Stand) -> Result<()> {
    let cell = cells(stand, "atoms", "Atom")?;
    let body = bodies(stand, "molecules", "Molecule", "Atom")?;
    body.create("m", "us", "{text: x}")?;
    body.wait_active("m", &["us"])?;

    stand.api("hub").delete(&cell.rgd_path())?;
    eventually(PATIENCE, "the definition says who needs it", || {
        let rgd = stand.api("hub").get(&cell.rgd_path())?.context("it is gone")?;
        let conditions = rgd["status"]["conditions"].to_string();
        ensure!(conditions.contains("InstancesExist"), "{conditions}");
        ensure!(conditions.contains("Molecule molecules/m"), "{conditions}");
        Ok(())
    })?;
    // It serves on meanwhile.
    body.edit("m", "{text: yo}")?;
    wait_text(&body, "us", "m-second-cell", "yo on us on us")?;
    body.remove("m")?;
    eventually(PATIENCE, "the definition is gone", || {
        ensure!(stand.api("hub").get(&cell.rgd_path())?.is_none(), "it stays");
        Ok(())
    })
}

/// What was made by hand with our labels is nobody's; a mirror without them is ours.
fn told_by_no_label(stand: &Stand) -> Result<()> {
    let cell = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: spores}
spec:
  schema: {apiVersion: v1alpha1, kind: Spore, spec: {home: string}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-spore', namespace: '${schema.spec.home}'}
",
    )?;
    let namespace = cell.rgd.clone();
    cell.create("real", "eu", &format!("{{home: {namespace}}}"))?;
    cell.wait_active("real", &["eu"])?;
    let mirror = cell.on("eu", "real")?.context("no mirror")?;
    let hub_id = text(&mirror, "/metadata/labels/hub.kro.run~1hub-id");
    let id = text(&mirror, "/metadata/labels/applyset.kubernetes.io~1id");
    let all = format!("/apis/kro.run/v1alpha1/namespaces/{namespace}/spores");
    for (name, part_of) in [("forged", "applyset-nobody-v1"), ("grafted", id.as_str())] {
        let labels = json!({"hub.kro.run/hub-id": hub_id, "applyset.kubernetes.io/part-of": part_of});
        let forged = json!({"apiVersion": "kro.run/v1alpha1", "kind": "Spore",
            "metadata": {"name": name, "labels": labels}, "spec": {"home": "kube-system"}});
        stand.api("eu").post(&all, &forged)?;
    }

    // A mirror that was relabelled by hand is repaired as long as it is wanted.
    let off = json!({"metadata": {"labels":
        {"hub.kro.run/hub-id": null, "hub.kro.run/instance-uid": null, "applyset.kubernetes.io/id": "x"}}});
    stand.api("eu").merge_patch(&cell.path("real"), &off)?;
    eventually(PATIENCE, "the labels of the mirror are back", || {
        let found = cell.on("eu", "real")?.context("gone")?;
        ensure!(uid(&found) == uid(&mirror), "it was made anew");
        ensure!(
            found["metadata"]["labels"] == mirror["metadata"]["labels"],
            "{}",
            found["metadata"]["labels"]
        );
        Ok(())
    })?;

    // Nobody remembers anything.
    stand.kill_controller();
    stand.api("eu").merge_patch(&cell.path("real"), &off)?;
    stand.start_controller()?;
    throughout(Duration::from_secs(2), "what was forged is left alone", || {
        for name in ["forged", "grafted"] {
            let made = format!("/api/v1/namespaces/kube-system/configmaps/{name}-spore");
            ensure!(stand.api("eu").get(&made)?.is_none(), "{name} was acted on");
            let found = stand.api("eu").get(&format!("{all}/{name}"))?;
            let finalizers = found.map(|f| f["metadata"]["finalizers"].clone()).unwrap_or_default();
            ensure!(finalizers.is_null(), "{name}: {finalizers}");
        }
        Ok(())
    })?;
    cell.remove("real")?;
    ensure!(cell.on("eu", "real")?.is_none(), "the mirror is left behind");
    ensure!(cell.owned("eu", "configmaps")?.is_empty(), "a child is left behind");
    for name in ["forged", "grafted"] {
        stand.api("eu").delete(&format!("{all}/{name}"))?;
    }
    stand.api("hub").delete(&cell.rgd_path())
}

fn labels_copied(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: copies}
spec:
  schema: {apiVersion: v1alpha1, kind: Clone, spec: {text: string}, status: {seen: '${string(size(schema.metadata.labels))}'}}
  resources:
  - id: first
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: first, labels: '${schema.metadata.labels}', annotations: '${schema.metadata.annotations}'}
      data: {text: '${schema.spec.text}'}
  - id: second
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: second, labels: '${first.metadata.labels}', annotations: '${first.metadata.annotations}'}
      data: {text: '${schema.spec.text}'}
",
    )?;
    let metadata = json!({"name": "a", "labels": {"team": "a"},
        "annotations": {"hub.kro.run/clusters": "eu,us", "note": "x"}});
    kind.create_as(metadata, "{text: hi}")?;
    kind.wait_active("a", &["eu", "us"])?;
    let check = |team: &str| {
        for (spoke, name) in [("eu", "first"), ("us", "first"), ("eu", "second"), ("us", "second")] {
            let found = kind.wait_child(spoke, &format!("configmaps/{name}"), |c| {
                c["metadata"]["labels"]["team"] == team
            })?;
            let labels = &found["metadata"]["labels"];
            ensure!(labels["hub.kro.run/instance-uid"].is_null(), "{labels}");
            ensure!(labels["applyset.kubernetes.io/id"].is_null(), "{labels}");
            let notes = &found["metadata"]["annotations"];
            ensure!(notes["note"] == "x" && notes["applyset.kubernetes.io/tooling"].is_null(), "{notes}");
        }
        Ok(())
    };
    check("a")?;
    kind.patch("a", &json!({"metadata": {"labels": {"team": "b"}}}))?;
    check("b")?;
    kind.wait_active("a", &["eu", "us"])?;
    let versions = || -> Result<Vec<Value>> {
        let all = [("eu", "first"), ("us", "first"), ("eu", "second"), ("us", "second")];
        let found = all.iter().map(|(s, n)| kind.child(s, &format!("configmaps/{n}"))?.context("gone"));
        let found: Result<Vec<Value>> = found.collect();
        Ok(found?.iter().map(|o| o["metadata"]["resourceVersion"].clone()).collect())
    };
    let before = versions()?;
    throughout(Duration::from_secs(2), "nothing is written when nothing changes", || {
        ensure!(versions()? == before, "something was written");
        Ok(())
    })?;
    kind.remove("a")?;
    for spoke in ["eu", "us"] {
        ensure!(kind.on(spoke, "a")?.is_none(), "the mirror is left on {spoke}");
        for name in ["first", "second"] {
            ensure!(kind.child(spoke, &format!("configmaps/{name}"))?.is_none(), "{name} is left on {spoke}");
        }
    }
    stand.api("hub").delete(&kind.rgd_path())
}
