//! What a cluster serves decides what fits there: kinds that only some clusters have, kinds that differ, bytes and types.

use super::Run;
use super::stand::{CRDS, Kind, PATIENCE, Stand, entry, parse, text};
use crate::env::eventually;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("schemas::a_kind_of_one_spoke_works_there_and_elsewhere_once_it_is_installed", one_spoke_only),
    ("schemas::a_field_that_differs_is_incompatible_on_that_cluster_alone", a_field_differs),
    ("schemas::bytes_of_a_secret_are_read_and_written_as_bytes", bytes_of_a_secret),
    ("schemas::a_definition_that_came_before_its_kind_is_accepted_when_the_kind_is_there", kind_comes_later),
    ("schemas::the_type_of_a_status_field_stays_what_it_was_when_the_revision_was_issued", status_stays),
    ("schemas::a_second_instance_asks_for_no_schema", nobody_asks_twice),
    ("schemas::an_object_that_reads_differently_since_its_kind_changed_is_read_anew", read_anew),
];

pub const GROUP: &str = "schemas.example.org";

/// A CRD of this test's group whose `spec` has these properties.
fn crd(kind: &str, properties: &str) -> Result<Value> {
    let singular = kind.to_lowercase();
    parse(&format!(
        r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {singular}s.{GROUP}}}
spec:
  group: {GROUP}
  scope: Namespaced
  names: {{kind: {kind}, listKind: {kind}List, plural: {singular}s, singular: {singular}}}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {{spec: {{type: object, properties: {properties}}}}}
"
    ))
}

/// Installs the kind, and waits until it is served.
pub fn install(stand: &Stand, cluster: &str, kind: &str, properties: &str) -> Result<()> {
    stand.api(cluster).post(CRDS, &crd(kind, properties)?)?;
    eventually(PATIENCE, &format!("{kind} served on {cluster}"), || {
        let list = stand.api(cluster).get(&format!("/apis/{GROUP}/v1"))?.context("no such group")?;
        let resources = list["resources"].as_array().cloned().unwrap_or_default();
        ensure!(resources.iter().any(|r| r["kind"] == kind), "{list}");
        Ok(())
    })
}

/// Gives the kind other fields.
pub fn replace(stand: &Stand, cluster: &str, kind: &str, properties: &str) -> Result<()> {
    let wanted = crd(kind, properties)?;
    let path = format!("{CRDS}/{}", text(&wanted, "/metadata/name"));
    let patch = json!({"spec": {"versions": wanted["spec"]["versions"]}});
    stand.api(cluster).merge_patch(&path, &patch).map(drop)
}

/// Path of the one object of the test's group that an instance makes.
fn thing(kind: &Kind, plural: &str) -> String {
    kind.beside(&format!("{GROUP}/v1/{plural}/thing"))
}

/// Waits until the definition says that it fits exactly these of the three clusters; returns the problems.
fn wait_fits(kind: &Kind, compatible: u64, misfits: &[&str]) -> Result<Vec<Value>> {
    eventually(PATIENCE, &format!("{} fits all but {misfits:?}", kind.rgd), || {
        let fleet = kind.status()?["fleet"].clone();
        let problems = fleet["problems"].as_array().cloned().unwrap_or_default();
        let named: Vec<String> = problems.iter().map(|p| text(p, "/cluster")).collect();
        ensure!(fleet["compatible"] == compatible && named == misfits, "{fleet}");
        ensure!(problems.iter().all(|p| p["reason"] == "Incompatible"), "{fleet}");
        Ok(problems)
    })
}

/// Waits until the instance failed on one cluster for a reason that names this, and works on the other.
fn wait_misfit(kind: &Kind, name: &str, (bad, good): (&str, &str), named: &str) -> Result<()> {
    eventually(PATIENCE, &format!("{name} does not fit {bad}"), || {
        let instance = kind.hub(name)?;
        let found = entry(&instance, bad)?;
        ensure!(found["state"] == "ERROR" && text(&found, "/message").contains(named), "{found}");
        ensure!(entry(&instance, good)?["state"] == "ACTIVE", "{}", instance["status"]);
        ensure!(instance["status"]["state"] == "ERROR", "{}", instance["status"]);
        Ok(())
    })
}

/// Nothing of the kind or of its instance is written to a cluster that it does not fit.
fn nothing_written(kind: &Kind, cluster: &str, name: &str) -> Result<()> {
    throughout(Duration::from_millis(500), "nothing is written where it does not fit", || {
        ensure!(kind.on(cluster, name)?.is_none(), "there is a mirror on {cluster}");
        ensure!(kind.owned(cluster, "configmaps")?.is_empty(), "there are children on {cluster}");
        Ok(())
    })
}

/// A default that changes is shown for what is stored without a value, and no watch tells of it.
fn read_anew(stand: &Stand) -> Result<()> {
    let with_default = |mode: &str| format!("{{mode: {{type: string, default: {mode}}}}}");
    install(stand, "eu", "Knob", &with_default("first"))?;
    let kind = stand.submit(&format!(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: knobs}}
spec:
  schema: {{apiVersion: v1alpha1, kind: Turner, spec: {{text: string}}}}
  resources:
  - id: knob
    externalRef: {{apiVersion: {GROUP}/v1, kind: Knob, metadata: {{name: thing}}}}
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{schema.metadata.name}}'}}
      data: {{mode: '${{knob.spec.mode}}'}}
"
    ))?;
    kind.wait_defined()?;
    kind.namespace_on("eu")?;
    let knob = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Knob", "metadata": {"name": "thing"}, "spec": {}});
    // Only what reads it later sees the default of that time: it is stored with the one of its creation.
    let knobs = format!("/apis/{GROUP}/v1/namespaces/{}/knobs", kind.rgd);
    stand.api("eu").post(&knobs, &knob)?;
    kind.create("a", "eu", "{text: x}")?;
    kind.wait_child("eu", "configmaps/a", |c| c["data"]["mode"] == "first")?;
    let grown = "{mode: {type: string}, size: {type: integer, default: 3}}";
    replace(stand, "eu", "Knob", grown)?;
    kind.edit_definition(
        "spec: {resources: [{id: knob, externalRef: {apiVersion: GROUP/v1, kind: Knob, metadata: {name: thing}}}, \
         {id: config, template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.name}'}, \
         data: {mode: '${knob.spec.mode}', size: '${string(knob.spec.size)}'}}}]}"
            .replace("GROUP", GROUP)
            .as_str(),
    )?;
    kind.wait_child("eu", "configmaps/a", |c| c["data"] == json!({"mode": "first", "size": "3"}))?;
    replace(stand, "eu", "Knob", "{mode: {type: string}, size: {type: integer, default: 4}}")?;
    kind.wait_child("eu", "configmaps/a", |c| c["data"]["size"] == "4")?;
    kind.remove("a")
}

fn one_spoke_only(stand: &Stand) -> Result<()> {
    install(stand, "eu", "Gadget", "{size: {type: integer}}")?;
    let kind = stand.define(&format!(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: gadgets}}
spec:
  schema:
    apiVersion: v1alpha1
    kind: GadgetUser
    spec: {{size: integer}}
    status: {{size: '${{gadget.spec.size}}'}}
  resources:
  - id: config
    template: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: config}}}}
  - id: gadget
    template:
      apiVersion: {GROUP}/v1
      kind: Gadget
      metadata: {{name: thing}}
      spec: {{size: '${{schema.spec.size}}'}}
"
    ))?;
    let problems = wait_fits(&kind, 1, &["ap", "us"])?;
    ensure!(problems.iter().all(|p| text(p, "/message").contains("Gadget")), "{problems:?}");
    kind.create("a", "eu,us", "{size: 3}")?;
    wait_misfit(&kind, "a", ("us", "eu"), "Gadget")?;
    nothing_written(&kind, "us", "a")?;
    ensure!(stand.api("us").get(&kind.crd_path())?.is_none(), "the generated CRD is of no use there");

    install(stand, "us", "Gadget", "{size: {type: integer}}")?;
    let instance = kind.wait_active("a", &["eu", "us"])?;
    ensure!(instance["status"]["size"] == 3, "{}", instance["status"]);
    // The hub knows no such kind; the one cluster that serves it said what the field is.
    let crd = stand.api("hub").get(&kind.crd_path())?.context("the generated CRD is gone")?;
    let size = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/size/type";
    ensure!(text(&crd, size) == "integer", "{crd}");
    let made = stand.api("us").get(&thing(&kind, "gadgets"))?.context("no gadget on us")?;
    ensure!(made["spec"]["size"] == 3, "{made}");
    wait_fits(&kind, 2, &["ap"])?;
    kind.remove("a")?;
    ensure!(stand.api("us").get(&thing(&kind, "gadgets"))?.is_none(), "the gadget stayed on us");
    Ok(())
}

fn a_field_differs(stand: &Stand) -> Result<()> {
    let (number, word) = ("{level: {type: integer}}", "{level: {type: string}}");
    for cluster in ["hub", "eu", "ap"] {
        install(stand, cluster, "Gauge", number)?;
    }
    install(stand, "us", "Gauge", word)?;
    let kind = stand.define(&format!(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: gauges}}
spec:
  schema: {{apiVersion: v1alpha1, kind: Gauging, spec: {{level: integer}}}}
  resources:
  - id: gauge
    template:
      apiVersion: {GROUP}/v1
      kind: Gauge
      metadata: {{name: thing}}
      spec: {{level: '${{schema.spec.level}}'}}
"
    ))?;
    let problems = wait_fits(&kind, 2, &["us"])?;
    ensure!(problems.iter().all(|p| text(p, "/message").contains("level")), "{problems:?}");
    kind.create("a", "eu,us", "{level: 7}")?;
    wait_misfit(&kind, "a", ("us", "eu"), "level")?;
    nothing_written(&kind, "us", "a")?;
    // The other cluster goes on with its work meanwhile.
    kind.edit("a", "{level: 8}")?;
    eventually(PATIENCE, "the edit is on eu", || {
        let made = stand.api("eu").get(&thing(&kind, "gauges"))?.context("no gauge")?;
        ensure!(made["spec"]["level"] == 8, "{made}");
        Ok(())
    })?;

    replace(stand, "us", "Gauge", number)?;
    kind.wait_active("a", &["eu", "us"])?;
    wait_fits(&kind, 3, &[])?;

    // What fitted and fits no longer stays as it is, and says so.
    replace(stand, "us", "Gauge", "{other: {type: string}}")?;
    wait_misfit(&kind, "a", ("us", "eu"), "level")?;
    wait_fits(&kind, 2, &["us"])?;
    ensure!(stand.api("us").get(&thing(&kind, "gauges"))?.is_some(), "it was taken away");
    ensure!(kind.on("us", "a")?.is_some(), "its mirror was taken away");
    replace(stand, "us", "Gauge", number)?;
    kind.wait_active("a", &["eu", "us"])?;
    kind.remove("a")
}

fn bytes_of_a_secret(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: secretive}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Secretive
    spec: {text: string}
    status: {length: '${size(src.data.key)}'}
  resources:
  - id: src
    template:
      apiVersion: v1
      kind: Secret
      metadata: {name: src}
      stringData: {key: '${schema.spec.text}'}
  - id: shown
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: shown}
      data: {text: '${string(src.data.key)}', encoded: '${base64.encode(src.data.key)}'}
  - id: copy
    template:
      apiVersion: v1
      kind: Secret
      metadata: {name: copy}
      data: {key: '${src.data.key}'}
",
    )?;
    kind.create("a", "eu,us", "{text: straße}")?;
    let instance = kind.wait_active("a", &["eu", "us"])?;
    // Seven bytes of six characters.
    ensure!(instance["status"]["length"] == 7, "{}", instance["status"]);
    for cluster in ["eu", "us"] {
        let shown = kind.child(cluster, "configmaps/shown")?.context("nothing shown")?;
        let source = kind.child(cluster, "secrets/src")?.context("no source")?;
        let copy = kind.child(cluster, "secrets/copy")?.context("no copy")?;
        ensure!(shown["data"]["text"] == "straße", "{}", shown["data"]);
        ensure!(shown["data"]["encoded"] == source["data"]["key"], "{}", shown["data"]);
        ensure!(copy["data"] == source["data"], "the copy differs");
    }
    kind.edit("a", "{text: weg}")?;
    kind.wait_child("us", "configmaps/shown", |c| c["data"]["text"] == "weg")?;
    kind.remove("a")
}

/// `sprockets` of one field, shown in the status.
fn of_sprockets(name: &str, kind: &str, made: &str) -> String {
    format!(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: {name}}}
spec:
  schema:
    apiVersion: v1alpha1
    kind: {kind}
    spec: {{teeth: integer}}
    status: {{teeth: '${{sprocket.spec.teeth}}'}}
  resources:
  - id: sprocket
    template:
      apiVersion: {GROUP}/v1
      kind: {made}
      metadata: {{name: thing}}
      spec: {{teeth: '${{schema.spec.teeth}}'}}
"
    )
}

/// The type that the generated CRD on the hub gives to a field of the author's status.
fn status_type(stand: &Stand, kind: &Kind, field: &str) -> Result<Value> {
    let crd = stand.api("hub").get(&kind.crd_path())?.context("no generated CRD")?;
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    Ok(crd.pointer(status).map(|s| s[field]["type"].clone()).unwrap_or_default())
}

fn kind_comes_later(stand: &Stand) -> Result<()> {
    // The hub's schema judges: a field of another type is refused for as long as that is so.
    install(stand, "hub", "Sprocket", "{teeth: {type: string}}")?;
    let kind = stand.submit(&of_sprockets("sprockets", "SprocketUser", "Sprocket"))?;
    eventually(PATIENCE, "the wrong type is named", || {
        let status = kind.status()?;
        let accepted = crate::env::registration::condition(&json!({"status": status}), "GraphAccepted")
            .cloned()
            .context("no condition GraphAccepted")?;
        ensure!(accepted["status"] == "False", "{accepted}");
        let message = text(&accepted, "/message");
        ensure!(message.contains("teeth") && message.contains("string"), "{message}");
        Ok(())
    })?;
    replace(stand, "hub", "Sprocket", "{teeth: {type: integer}}")?;
    // A definition that fits no cluster is not Active.
    install(stand, "eu", "Sprocket", "{teeth: {type: integer}}")?;
    kind.wait_defined()?;
    ensure!(status_type(stand, &kind, "teeth")? == "integer", "the status is not typed");
    Ok(())
}

fn status_stays(stand: &Stand) -> Result<()> {
    for cluster in ["hub", "eu"] {
        install(stand, cluster, "Cog", "{teeth: {type: integer}}")?;
    }
    let kind = stand.define(&of_sprockets("cogs", "Cogwork", "Cog"))?;
    ensure!(status_type(stand, &kind, "teeth")? == "integer", "the status is not typed");
    let revisions = "/apis/internal.kro.run/v1alpha1/graphrevisions";
    let revision = stand.api("hub").get(&format!("{revisions}/cogs-r00001"))?.context("no revision")?;
    let stored = super::stand::annotation(&revision, "hub.kro.run/status-schema");
    ensure!(stored.contains("teeth") && stored.contains("integer"), "{stored:?}");
    kind.create("a", "eu", "{teeth: 9}")?;
    kind.wait_active("a", &["eu"])?;

    // The kind goes from the hub, and the controller starts anew: what was promised to readers of the status holds.
    stand.api("hub").delete(&format!("{CRDS}/cogs.{GROUP}"))?;
    stand.end_controller()?;
    stand.start_controller()?;
    kind.wait_defined()?;
    kind.edit("a", "{teeth: 10}")?;
    eventually(PATIENCE, "the edit is answered", || {
        ensure!(kind.hub("a")?["status"]["teeth"] == 10, "{}", kind.hub("a")?["status"]);
        Ok(())
    })?;
    ensure!(status_type(stand, &kind, "teeth")? == "integer", "the status lost its type");
    ensure!(
        stand.api("hub").get(&format!("{revisions}/cogs-r00002"))?.is_none(),
        "a revision without an edit"
    );
    kind.remove("a")
}

/// Requests to a cluster so far, all verbs but watches.
fn reads(stand: &Stand, cluster: &str) -> Result<u64> {
    let text = stand.metrics()?;
    let of_cluster = format!("kro_hub_requests_total{{cluster=\"{cluster}\",verb=\"get\"");
    let counts = text.lines().filter(|l| l.starts_with(&of_cluster));
    Ok(counts.filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

fn nobody_asks_twice(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: asks-once}
spec:
  schema: {apiVersion: v1alpha1, kind: AskOnce}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}', annotations: {hub.kro.run/on-existing: Adopt}}
      data: {a: b}
",
    )?;
    kind.create("first", "eu", "{}")?;
    kind.wait_active("first", &["eu"])?;
    // What follows the new CRD there has ended.
    std::thread::sleep(Duration::from_secs(8));
    let before = reads(stand, "eu")?;
    for n in 0..5 {
        kind.create(&format!("more-{n}"), "eu", "{}")?;
    }
    for n in 0..5 {
        kind.wait_active(&format!("more-{n}"), &["eu"])?;
    }
    let asked = reads(stand, "eu")? - before;
    ensure!(asked == 0, "{asked} reads on eu for five more instances");
    for name in ["first", "more-0", "more-1", "more-2", "more-3", "more-4"] {
        kind.remove(name)?;
    }
    Ok(())
}
