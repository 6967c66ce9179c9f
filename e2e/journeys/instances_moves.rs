//! Instances move: by their own words at once, by changed clusters only as far as that is safe.

use super::Run;
use super::stand::{Kind, PATIENCE, Stand, annotation, text, uid};
use crate::env::eventually;
use crate::env::registration::condition;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("instances::move_when_their_words_change", words),
    ("instances::follow_labels_but_a_large_shrink_is_held", shrink),
    ("instances::outlive_a_typo_on_labels_that_is_mended", typo),
];

fn define<'a>(stand: &'a Stand, name: &str, kind: &str) -> Result<Kind<'a>> {
    stand.define(&format!(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: {name}}}
spec:
  schema: {{apiVersion: v1alpha1, kind: {kind}, spec: {{text: string}}}}
  resources:
  - id: config
    template: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: '${{schema.metadata.name}}'}}}}
"
    ))
}

fn wait_clean(kind: &Kind, cluster: &str) -> Result<()> {
    kind.wait_no_child(cluster, "configmaps/a")?;
    eventually(PATIENCE, &format!("no mirror on {cluster}"), || {
        ensure!(kind.on(cluster, "a")?.is_none(), "it is there");
        Ok(())
    })
}

fn words(stand: &Stand) -> Result<()> {
    let kind = define(stand, "moves", "Move")?;
    kind.create("a", "eu,us", "{text: x}")?;
    kind.wait_active("a", &["eu", "us"])?;
    let kept = uid(&kind.child("us", "configmaps/a")?.context("no child")?);
    kind.place("a", "us,ap")?;
    kind.wait_active("a", &["us", "ap"])?;
    wait_clean(&kind, "eu")?;
    eventually(PATIENCE, "the record follows", || {
        let holds = annotation(&kind.hub("a")?, "hub.kro.run/holds");
        ensure!(holds == "ap,us", "{holds}");
        Ok(())
    })?;
    ensure!(uid(&kind.child("us", "configmaps/a")?.context("no child")?) == kept, "us was made anew");
    kind.remove("a")
}

fn typo(stand: &Stand) -> Result<()> {
    let kind = define(stand, "slips", "Slip")?;
    let all = ["ap", "eu", "us"];
    let label = |cluster: &str, env: Option<&str>| stand.label_cluster(cluster, &json!({"typo-env": env}));
    for cluster in all {
        label(cluster, Some("prod"))?;
    }
    kind.create("a", "?typo-env=prod", "{text: x}")?;
    kind.wait_active("a", &all)?;
    let uids = || -> Result<Vec<String>> {
        all.iter().map(|c| Ok(uid(&kind.child(c, "configmaps/a")?.context("no child")?))).collect()
    };
    let before = uids()?;
    for cluster in all {
        label(cluster, Some("prdo"))?;
    }
    eventually(PATIENCE, "all are held", || {
        let ready = condition(&kind.hub("a")?, "Ready").cloned().unwrap_or_default();
        let message = text(&ready, "/message");
        ensure!(ready["reason"] == "ShrinkHeld" && all.iter().all(|c| message.contains(c)), "{ready}");
        Ok(())
    })?;
    for cluster in ["us", "ap", "eu"] {
        label(cluster, Some("prod"))?;
    }
    kind.wait_active("a", &all)?;
    ensure!(uids()? == before, "something was made anew");
    for cluster in all {
        label(cluster, None)?;
    }
    kind.remove("a")
}

fn shrink(stand: &Stand) -> Result<()> {
    let kind = define(stand, "shrinks", "Shrink")?;
    let label =
        |cluster: &str, tier: Option<&str>| stand.label_cluster(cluster, &json!({"shrink-tier": tier}));
    label("eu", Some("web"))?;
    label("us", Some("web"))?;
    kind.create("a", "?shrink-tier=web", "{text: x}")?;
    kind.wait_active("a", &["eu", "us"])?;
    label("ap", Some("web"))?;
    kind.wait_active("a", &["ap", "eu", "us"])?;
    // One of three is no accident.
    label("ap", None)?;
    kind.wait_active("a", &["eu", "us"])?;
    wait_clean(&kind, "ap")?;
    label("eu", None)?;
    label("us", None)?;
    let held = eventually(PATIENCE, "both are held", || {
        let instance = kind.hub("a")?;
        let ready = condition(&instance, "Ready").cloned().unwrap_or_default();
        let message = text(&ready, "/message");
        ensure!(ready["reason"] == "ShrinkHeld", "{}", instance["status"]);
        ensure!(message.contains("us"), "{message}");
        Ok(message)
    })?;
    // A cluster that is newly chosen is added meanwhile.
    label("ap", Some("web"))?;
    kind.wait_child("ap", "configmaps/a", |_| true)?;
    throughout(Duration::from_millis(600), "nothing is deleted", || {
        ensure!(kind.child("us", "configmaps/a")?.is_some(), "the child on us is gone");
        ensure!(kind.on("us", "a")?.is_some(), "the mirror on us is gone");
        Ok(())
    })?;
    ensure!(held.contains("hub.kro.run/allow-shrink="), "{held}");
    eventually(PATIENCE, "the acknowledged shrink", || {
        let ready = condition(&kind.hub("a")?, "Ready").cloned().unwrap_or_default();
        if ready["reason"] == "ShrinkHeld" {
            let message = text(&ready, "/message");
            let token = message.rsplit('=').next().unwrap_or_default();
            kind.annotate("a", &json!({"hub.kro.run/allow-shrink": token}))?;
        }
        ensure!(ready["status"] == "True", "{ready}");
        Ok(())
    })?;
    kind.wait_active("a", &["ap"])?;
    wait_clean(&kind, "eu")?;
    wait_clean(&kind, "us")?;
    label("ap", None)?;
    kind.remove("a")
}
