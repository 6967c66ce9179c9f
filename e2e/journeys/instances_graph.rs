//! The graph at work on each cluster: order, gates, conditions, collections, status.

use super::Run;
use super::stand::{PATIENCE, Stand, text, uid};
use crate::env::eventually;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("instances::children_follow_their_dependencies_and_status_comes_back", dependencies),
    ("instances::ready_when_holds_back_dependents", ready_when),
    ("instances::include_when_works_both_ways_and_later", include_when),
    ("instances::collections_grow_shrink_and_can_be_read", collections),
    ("instances::what_leaves_the_definition_leaves_the_clusters", what_leaves),
];

fn dependencies(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: depends}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Depend
    spec: {replicas: integer | default=2, note: string}
    status:
      available: '${deployment.status.availableReplicas}'
      address: '${service.spec.clusterIP}'
      replicas: '${deployment.spec.replicas}'
  resources:
  - id: address
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata:
        name: '${schema.metadata.name}-address'
        ownerReferences:
        - apiVersion: kro.run/v1alpha1
          kind: Depend
          name: '${schema.metadata.name}'
          uid: '${schema.metadata.uid}'
      data:
        ip: '${service.spec.clusterIP}'
        note: '${schema.spec.?note.orValue("none")}'
        team: '${schema.metadata.?labels[?"team"].orValue("nobody")}'
  - id: service
    template:
      apiVersion: v1
      kind: Service
      metadata: {name: '${schema.metadata.name}'}
      spec: {selector: {app: x}, ports: [{port: 80}]}
  - id: deployment
    readyWhen: ['${deployment.status.availableReplicas == deployment.spec.replicas}']
    template:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: '${schema.metadata.name}'}
      spec:
        replicas: '${schema.spec.replicas}'
        selector: {matchLabels: {app: x}}
        template:
          metadata: {labels: {app: x}}
          spec: {containers: [{name: c, image: nginx}]}
"#,
    )?;
    kind.create("a", "eu,us", "{}")?;
    let instance = kind.wait_active("a", &["eu", "us"])?;
    let status = &instance["status"];
    ensure!(status["available"] == 2 && status["replicas"] == 2, "all agree, so it is said: {status}");
    let mut addresses = Vec::new();
    for cluster in ["eu", "us"] {
        let service = kind.child(cluster, "services/a")?.context("no Service")?;
        let config = kind.child(cluster, "configmaps/a-address")?.context("no ConfigMap")?;
        let ip = text(&service, "/spec/clusterIP");
        ensure!(config["data"] == json!({"ip": ip, "note": "none", "team": "nobody"}), "{}", config["data"]);
        let mirror = kind.on(cluster, "a")?.context("no mirror")?;
        let owner = &config["metadata"]["ownerReferences"][0];
        ensure!(owner["uid"] == uid(&mirror).as_str() && uid(&mirror) != uid(&instance), "{owner}");
        // What the hub is told may be there before what the mirror is.
        eventually(PATIENCE, "the status of the mirror", || {
            let mirror = kind.on(cluster, "a")?.context("no mirror")?;
            let status = &mirror["status"];
            ensure!(status["address"] == ip.as_str() && status["available"] == 2, "{status}");
            Ok(())
        })?;
        addresses.push(ip);
    }
    if addresses[0] == addresses[1] {
        ensure!(status["address"] == addresses[0].as_str(), "{status}");
    } else {
        ensure!(status.get("address").is_none(), "clusters differ, so it is not said: {status}");
    }
    kind.patch(
        "a",
        &json!({"metadata": {"labels": {"team": "red"}}, "spec": {"note": "hi", "replicas": 3}}),
    )?;
    let instance = kind.wait_active("a", &["eu", "us"])?;
    ensure!(instance["status"]["available"] == 3, "{}", instance["status"]);
    kind.wait_child("us", "configmaps/a-address", |c| {
        c["data"]["note"] == "hi" && c["data"]["team"] == "red"
    })?;
    // The garbage collector would have taken a child whose owner does not exist.
    ensure!(kind.child("eu", "configmaps/a-address")?.is_some(), "collected");
    kind.remove("a")
}

fn ready_when(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: gates}
spec:
  schema: {apiVersion: v1alpha1, kind: Gate, spec: {text: string}}
  resources:
  - id: gate
    readyWhen: ['${gate.?data.?open.orValue("no") == "yes"}']
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: gate}
      data: {text: '${schema.spec.text}'}
  - id: behind
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: 'behind-${gate.metadata.name}'}
"#,
    )?;
    kind.create("a", "eu", "{text: x}")?;
    kind.wait_child("eu", "configmaps/gate", |_| true)?;
    throughout(Duration::from_millis(600), "the gate holds", || {
        ensure!(kind.child("eu", "configmaps/behind-gate")?.is_none(), "it is through");
        ensure!(kind.hub("a")?["status"]["state"] != "ACTIVE", "ACTIVE");
        Ok(())
    })?;
    eventually(PATIENCE, "the instance says what it waits for", || {
        let instance = kind.hub("a")?;
        ensure!(instance["status"]["state"] == "IN_PROGRESS", "{}", instance["status"]);
        let message = text(&instance, "/status/fleet/clusters/0/message");
        ensure!(message.contains("gate"), "{message}");
        Ok(())
    })?;
    stand.api("eu").merge_patch(&kind.beside("configmaps/gate"), &json!({"data": {"open": "yes"}}))?;
    kind.wait_active("a", &["eu"])?;
    ensure!(kind.child("eu", "configmaps/behind-gate")?.is_some(), "ACTIVE without it");
    kind.remove("a")
}

fn include_when(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: includes}
spec:
  schema: {apiVersion: v1alpha1, kind: Include, spec: {extra: boolean | default=false}}
  resources:
  - id: always
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.name}'}}
  - id: extra
    includeWhen: ['${schema.spec.extra}']
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.name}-extra'}}
  - id: after
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${extra.metadata.name}-after'}}
",
    )?;
    kind.create("no", "eu", "{}")?;
    kind.create("yes", "eu", "{extra: true}")?;
    kind.wait_active("no", &["eu"])?;
    kind.wait_active("yes", &["eu"])?;
    kind.wait_owned("eu", "configmaps", &["no", "yes", "yes-extra", "yes-extra-after"])?;
    kind.edit("no", "{extra: true}")?;
    kind.edit("yes", "{extra: false}")?;
    kind.wait_owned("eu", "configmaps", &["no", "no-extra", "no-extra-after", "yes"])?;
    kind.wait_active("no", &["eu"])?;
    kind.wait_active("yes", &["eu"])?;
    kind.remove("no")?;
    kind.remove("yes")
}

fn collections(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: collects}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Collect
    spec: {zones: '[]string'}
  resources:
  - id: zone
    forEach: [{one: '${schema.spec.zones}'}]
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-${one}'}
      data: {zone: '${one}'}
  - id: all
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}'}
      data: {names: '${zone.map(z, z.metadata.name).join(",")}'}
"#,
    )?;
    kind.create("a", "eu", "{zones: [p, q]}")?;
    kind.wait_active("a", &["eu"])?;
    for (zones, children, names) in [
        ("[p, q]", vec!["a", "a-p", "a-q"], "a-p,a-q"),
        ("[p, q, r]", vec!["a", "a-p", "a-q", "a-r"], "a-p,a-q,a-r"),
        ("[r]", vec!["a", "a-r"], "a-r"),
        ("[]", vec!["a"], ""),
    ] {
        kind.edit("a", &format!("{{zones: {zones}}}"))?;
        kind.wait_owned("eu", "configmaps", &children)?;
        kind.wait_child("eu", "configmaps/a", |c| c["data"]["names"] == names)?;
        kind.wait_active("a", &["eu"])?;
    }
    kind.remove("a")
}

fn what_leaves(stand: &Stand) -> Result<()> {
    let config = |data: &str| {
        format!(
            "{{id: config, template: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: config}}, data: {data}}}}}"
        )
    };
    let extra =
        "{id: extra, template: {apiVersion: v1, kind: Secret, metadata: {name: extra}, stringData: {a: b}}}";
    let kind = stand.define(&format!(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: leaves}}
spec:
  schema: {{apiVersion: v1alpha1, kind: Leave, spec: {{text: string}}}}
  resources: [{}, {extra}]
",
        config("{keep: a, drop: b}")
    ))?;
    kind.create("a", "eu,us", "{text: x}")?;
    kind.wait_active("a", &["eu", "us"])?;
    stand.api("us").merge_patch(&kind.beside("configmaps/config"), &json!({"data": {"foreign": "stays"}}))?;
    kind.edit_definition(&format!("spec: {{resources: [{}]}}", config("{keep: a}")))?;
    kind.wait_child("eu", "configmaps/config", |c| c["data"] == json!({"keep": "a"}))?;
    kind.wait_child("us", "configmaps/config", |c| c["data"] == json!({"keep": "a", "foreign": "stays"}))?;
    for cluster in ["eu", "us"] {
        kind.wait_no_child(cluster, "secrets/extra")?;
    }
    kind.wait_active("a", &["eu", "us"])?;
    kind.remove("a")
}
