//! ResourceGraphDefinitions on the hub: what is accepted, what is refused, what an edit does, when one may go.

use super::Run;
use super::stand::{PATIENCE, Stand, text};
use crate::env::eventually;
use crate::env::registration::condition;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("definitions::a_valid_one_becomes_active", a_valid_one_becomes_active),
    ("definitions::what_is_wrong_is_named_and_nothing_is_made", what_is_wrong_is_named),
    ("definitions::an_invalid_edit_keeps_the_old_graph_serving", an_invalid_edit_keeps_the_old_graph),
    ("definitions::a_breaking_edit_is_refused_until_it_is_allowed", a_breaking_edit_is_refused),
    ("definitions::the_second_of_one_kind_waits_for_the_first_to_go", two_of_one_kind),
    ("definitions::deletion_waits_for_instances_and_goes_on_caring", deletion_waits_for_instances),
    ("definitions::an_empty_group_is_the_default_and_goes_as_any_other", an_empty_group),
    ("definitions::what_no_object_can_be_is_an_error_at_once", what_no_object_can_be),
    ("definitions::abandon_leaves_instances_and_children_alone", abandon_leaves_everything),
];

/// A definition of `kind` whose one ConfigMap shows `spec.text`.
pub fn note(name: &str, kind: &str, spec: &str) -> String {
    format!(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: {name}}}
spec:
  schema:
    apiVersion: v1alpha1
    kind: {kind}
    spec: {spec}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{schema.metadata.name}}'}}
      data: {{text: '${{schema.spec.text}}'}}
"
    )
}

fn a_valid_one_becomes_active(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: def-valid}
spec:
  schema:
    apiVersion: v1alpha1
    kind: DefValid
    spec:
      size: integer | default=3 minimum=1
    status:
      address: '${service.spec.clusterIP}'
  resources:
  - id: last
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: last}
      data: {a: '${service.spec.clusterIP}'}
  - id: service
    template:
      apiVersion: v1
      kind: Service
      metadata: {name: '${first.metadata.name}'}
      spec: {ports: [{port: 80}]}
  - id: first
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: first}
",
    )?;
    let rgd = stand.api("hub").get(&kind.rgd_path())?.context("gone")?;
    for of_type in ["GraphAccepted", "KindReady", "ControllerReady", "Ready"] {
        let found = condition(&rgd, of_type).with_context(|| format!("no condition {of_type}"))?;
        ensure!(found["status"] == "True", "{found}");
        ensure!(found["observedGeneration"] == rgd["metadata"]["generation"], "{found}");
    }
    let order = &rgd["status"]["topologicalOrder"];
    ensure!(*order == json!(["first", "service", "last"]), "order {order}");
    ensure!(rgd["metadata"]["finalizers"] == json!(["kro.run/finalizer"]), "{}", rgd["metadata"]);

    let crd = stand.api("hub").get(&kind.crd_path())?.context("no CRD")?;
    let label = |key: &str| crd["metadata"]["labels"][key].as_str().unwrap_or_default();
    ensure!(label("kro.run/owned") == "true", "labels {}", crd["metadata"]["labels"]);
    ensure!(label("kro.run/resource-graph-definition-name") == "def-valid", "{}", crd["metadata"]["labels"]);
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    ensure!(schema["spec"]["properties"]["size"]["default"] == 3, "{}", schema["spec"]);
    ensure!(schema["status"]["x-kubernetes-preserve-unknown-fields"] == true, "{}", schema["status"]);
    ensure!(schema["status"]["properties"].get("fleet").is_none(), "fleet must not be declared");
    for spoke in &stand.spokes {
        ensure!(
            stand.api(spoke).get(&kind.crd_path())?.is_none(),
            "a CRD on {spoke} without an instance there"
        );
    }
    eventually(PATIENCE, "an Event says that it is accepted", || {
        let events = stand.api("hub").list("/apis/events.k8s.io/v1/namespaces/default/events")?;
        let told = |e: &Value| {
            e["regarding"]["name"] == "def-valid" && e["reason"] == "Valid" && e["type"] == "Normal"
        };
        ensure!(events.iter().any(told), "{} Events, none of it", events.len());
        Ok(())
    })
}

fn what_is_wrong_is_named(stand: &Stand) -> Result<()> {
    let config = |id: &str, value: &str| {
        format!(
            "\n  - id: {id}\n    template: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: {id}}}, data: {{k: '{value}'}}}}"
        )
    };
    let cases: [(&str, &str, String, &[&str]); 7] = [
        (
            "def-cycle",
            "DefCycle",
            config("a", "${b.data.k}") + &config("b", "${a.data.k}"),
            &["cycle", "a", "b"],
        ),
        ("def-field", "DefField", config("a", "${schema.spec.txet}"), &["txet", "text"]),
        ("def-unknown", "DefUnknown", config("a", "${nobody.data.k}"), &["nobody"]),
        (
            "def-external",
            "DefExternal",
            config("a", "x")
                + "\n  - id: platform\n    externalRef: {apiVersion: v1, kind: ConfigMap, metadata: {}}",
            &["exactly one of name or selector", "spec.resources[1].externalRef"],
        ),
        (
            "def-restless",
            "DefRestless",
            config("a", "${schema.metadata.resourceVersion}"),
            &["resource \"a\"", "schema.metadata.resourceVersion", "template.data.k"],
        ),
        (
            "def-selector",
            "DefSelector",
            config("a", "x")
                + "\n  - id: some\n    externalRef: {apiVersion: v1, kind: ConfigMap, metadata: {selector: {matchLabels: {'bad key!': x}}}}",
            &["invalid label selector", "bad key!"],
        ),
        ("def-type", "DefType", config("a", "${schema.metadata.labels}"), &["type mismatch", "data"]),
    ];
    let mut kinds = Vec::new();
    for (name, kind, resources, parts) in cases {
        let rgd = format!(
            "apiVersion: kro.run/v1alpha1\nkind: ResourceGraphDefinition\nmetadata: {{name: {name}}}\nspec:\n  schema: {{apiVersion: v1alpha1, kind: {kind}, spec: {{text: string}}}}\n  resources:{resources}\n"
        );
        kinds.push((stand.submit(&rgd)?, parts));
    }
    for (kind, parts) in kinds {
        let message = eventually(PATIENCE, &format!("{} refused", kind.rgd), || {
            let rgd = stand.api("hub").get(&kind.rgd_path())?.context("gone")?;
            let accepted = condition(&rgd, "GraphAccepted").cloned().unwrap_or_default();
            ensure!(
                accepted["status"] == "False" && accepted["reason"] == "InvalidResourceGraph",
                "{accepted}"
            );
            ensure!(rgd["status"]["state"] == "Inactive", "{}", rgd["status"]);
            Ok(text(&accepted, "/message"))
        })?;
        for part in parts {
            ensure!(message.contains(part), "{} should name {part:?}: {message}", kind.rgd);
        }
        ensure!(stand.api("hub").get(&kind.crd_path())?.is_none(), "{} made a CRD", kind.rgd);
        stand.api("hub").delete(&kind.rgd_path())?;
        eventually(PATIENCE, "a refused definition goes at once", || {
            ensure!(stand.api("hub").get(&kind.rgd_path())?.is_none(), "still there");
            Ok(())
        })?;
    }
    Ok(())
}

fn an_invalid_edit_keeps_the_old_graph(stand: &Stand) -> Result<()> {
    let kind = stand.define(&note("def-edit", "DefEdit", "{text: string}"))?;
    kind.create("a", "eu", "{text: one}")?;
    kind.wait_active("a", &["eu"])?;
    let resources = |value: &str| {
        format!(
            "spec: {{resources: [{{id: config, template: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: '${{schema.metadata.name}}'}}, data: {{text: '{value}'}}}}}}]}}"
        )
    };
    kind.edit_definition(&resources("${schema.spec.nope}"))?;
    eventually(PATIENCE, "the edit refused", || {
        let status = kind.status()?;
        ensure!(status["state"] == "Inactive", "{status}");
        Ok(())
    })?;
    kind.edit("a", "{text: two}")?;
    kind.wait_child("eu", "configmaps/a", |c| c["data"]["text"] == "two")?;
    kind.edit_definition(&resources("new ${schema.spec.text}"))?;
    kind.wait_defined()?;
    kind.wait_child("eu", "configmaps/a", |c| c["data"]["text"] == "new two")?;
    kind.remove("a")
}

fn a_breaking_edit_is_refused(stand: &Stand) -> Result<()> {
    let kind = stand.define(&note("def-break", "DefBreak", "{text: string, size: integer, old: string}"))?;
    kind.create("a", "eu", "{text: one, size: 1, old: x}")?;
    kind.wait_active("a", &["eu"])?;
    kind.edit_definition("spec: {schema: {spec: {text: string, size: string, old: null}}}")?;
    let message = eventually(PATIENCE, "the edit refused", || {
        let rgd = stand.api("hub").get(&kind.rgd_path())?.context("gone")?;
        let ready = condition(&rgd, "KindReady").cloned().unwrap_or_default();
        ensure!(ready["status"] == "False", "{}", rgd["status"]);
        Ok(text(&ready, "/message"))
    })?;
    for part in ["spec.size", "spec.old", "kro.run/allow-breaking-changes"] {
        ensure!(message.contains(part), "should name {part}: {message}");
    }
    // What serves is what was accepted before.
    kind.edit("a", "{text: two}")?;
    kind.wait_child("eu", "configmaps/a", |c| c["data"]["text"] == "two")?;
    kind.edit_definition("metadata: {annotations: {kro.run/allow-breaking-changes: 'true'}}")?;
    kind.wait_defined()?;
    kind.edit("a", "{text: three, size: big}")?;
    kind.wait_child("eu", "configmaps/a", |c| c["data"]["text"] == "three")?;
    let mirror = kind.wait_active("a", &["eu"]).and_then(|_| kind.on("eu", "a"))?.context("no mirror")?;
    ensure!(mirror["spec"] == json!({"text": "three", "size": "big"}), "mirror {}", mirror["spec"]);
    kind.remove("a")
}

fn two_of_one_kind(stand: &Stand) -> Result<()> {
    let first = stand.define(&note("def-first", "DefTwin", "{text: string}"))?;
    let second = stand.submit(&note("def-second", "DefTwin", "{text: string, more: string}"))?;
    eventually(PATIENCE, "the second one refused", || {
        let rgd = stand.api("hub").get(&second.rgd_path())?.context("gone")?;
        let ready = condition(&rgd, "KindReady").cloned().unwrap_or_default();
        ensure!(
            ready["status"] == "False" && text(&ready, "/message").contains("def-first"),
            "{}",
            rgd["status"]
        );
        Ok(())
    })?;
    first.create("a", "us", "{text: one}")?;
    first.wait_active("a", &["us"])?;
    stand.api("hub").delete(&second.rgd_path())?;
    eventually(PATIENCE, "the second one gone", || {
        ensure!(stand.api("hub").get(&second.rgd_path())?.is_none(), "{}", second.status()?);
        Ok(())
    })?;
    // The first one still is cared for.
    first.edit("a", "{text: two}")?;
    first.wait_child("us", "configmaps/a", |c| c["data"]["text"] == "two")?;
    first.remove("a")
}

fn deletion_waits_for_instances(stand: &Stand) -> Result<()> {
    let kind = stand.define(&note("def-leaving", "DefLeaving", "{text: string}"))?;
    kind.create("a", "eu", "{text: one}")?;
    kind.wait_active("a", &["eu"])?;
    stand.api("hub").delete(&kind.rgd_path())?;
    eventually(PATIENCE, "InstancesExist", || {
        let rgd = stand.api("hub").get(&kind.rgd_path())?.context("it is gone")?;
        let ready = condition(&rgd, "Ready").cloned().unwrap_or_default();
        ensure!(ready["status"] == "False" && ready["reason"] == "InstancesExist", "{}", rgd["status"]);
        let message = text(&ready, "/message");
        ensure!(message.contains("def-leaving/a") && message.contains("1 instance"), "{message}");
        Ok(())
    })?;
    stand.api("eu").delete(&kind.beside("configmaps/a"))?;
    kind.wait_child("eu", "configmaps/a", |c| c["data"]["text"] == "one")?;
    kind.edit("a", "{text: two}")?;
    kind.wait_child("eu", "configmaps/a", |c| c["data"]["text"] == "two")?;
    kind.remove("a")?;
    eventually(PATIENCE, "the definition gone", || {
        ensure!(stand.api("hub").get(&kind.rgd_path())?.is_none(), "{}", kind.status()?);
        Ok(())
    })?;
    ensure!(stand.api("hub").get(&kind.crd_path())?.is_some(), "the CRD went without being allowed to");
    Ok(())
}

fn an_empty_group(stand: &Stand) -> Result<()> {
    let yaml = note("def-no-group", "DefNoGroup", "{text: string}");
    let kind = stand.define(&yaml.replace("    kind: DefNoGroup", "    group: ''\n    kind: DefNoGroup"))?;
    kind.create("a", "eu", "{text: one}")?;
    kind.wait_active("a", &["eu"])?;
    kind.remove("a")?;
    stand.api("hub").delete(&kind.rgd_path())?;
    eventually(PATIENCE, "the definition gone", || {
        ensure!(stand.api("hub").get(&kind.rgd_path())?.is_none(), "{}", kind.status()?);
        Ok(())
    })
}

/// Names and selectors that only an instance makes wrong.
fn what_no_object_can_be(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: def-names}
spec:
  schema:
    apiVersion: v1alpha1
    kind: DefBadName
    spec: {name: string, namespace: string, label: string}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.spec.name}', namespace: '${schema.spec.namespace}'}
  - id: some
    externalRef: {apiVersion: v1, kind: Secret, metadata: {selector: {matchLabels: {a: '${schema.spec.label}'}}}}
",
    )?;
    for (name, spec, told) in [
        ("slash", "{name: a/b, namespace: def-names, label: x}", "config: metadata.name"),
        ("percent", "{name: x%2fy, namespace: def-names, label: x}", "config: metadata.name"),
        ("upper", "{name: Upper, namespace: def-names, label: x}", "config: metadata.name"),
        ("namespace", "{name: a, namespace: ../kube-system, label: x}", "config: metadata.namespace"),
        ("label", "{name: a, namespace: def-names, label: b c}", "some: metadata.selector"),
    ] {
        kind.create(name, "eu", spec)?;
        eventually(PATIENCE, &format!("{name} is an error that says where"), || {
            let instance = kind.hub(name)?;
            ensure!(instance["status"]["state"] == "ERROR", "{}", instance["status"]);
            ensure!(instance["status"].to_string().contains(told), "{}", instance["status"]);
            Ok(())
        })?;
    }
    for name in ["slash", "percent", "upper", "namespace", "label"] {
        kind.remove(name)?;
    }
    let refused = stand
        .metrics()?
        .lines()
        .filter(|l| l.contains("verb=\"list\"") && l.contains("code=\"400\""))
        .count();
    ensure!(refused == 0, "a list was refused");
    Ok(())
}

fn abandon_leaves_everything(stand: &Stand) -> Result<()> {
    let kind = stand.define(&note("def-abandon", "DefAbandon", "{text: string}"))?;
    kind.create("a", "eu", "{text: one}")?;
    kind.wait_active("a", &["eu"])?;
    stand.api("hub").delete(&kind.rgd_path())?;
    kind.edit_definition("metadata: {annotations: {hub.kro.run/abandon: 'true'}}")?;
    eventually(PATIENCE, "the definition gone", || {
        ensure!(stand.api("hub").get(&kind.rgd_path())?.is_none(), "{}", kind.status()?);
        Ok(())
    })?;
    let uid = |object: &Value| text(object, "/metadata/uid");
    let child = kind.child("eu", "configmaps/a")?.context("the child is gone")?;
    let mirror = kind.on("eu", "a")?.context("the mirror is gone")?;
    throughout(Duration::from_millis(500), "everything stays", || {
        ensure!(kind.hub("a")?["metadata"].get("deletionTimestamp").is_none(), "the instance goes");
        ensure!(kind.on("eu", "a")?.is_some_and(|m| uid(&m) == uid(&mirror)), "the mirror changed");
        ensure!(
            kind.child("eu", "configmaps/a")?.is_some_and(|c| uid(&c) == uid(&child)),
            "the child changed"
        );
        Ok(())
    })?;
    // Defined again, it is cared for again.
    let again = stand.define(&note("def-abandon", "DefAbandon", "{text: string}"))?;
    again.edit("a", "{text: two}")?;
    again.wait_child("eu", "configmaps/a", |c| c["data"]["text"] == "two")?;
    again.remove("a")
}
