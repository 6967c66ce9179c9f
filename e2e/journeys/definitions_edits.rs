//! Edits that go back, and CRDs that an earlier definition left: only what an instance carries stands in the way.

use super::Run;
use super::definitions::note;
use super::stand::{Kind, PATIENCE, Stand, text};
use crate::env::eventually;
use crate::env::registration::condition;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("definitions::a_field_that_came_goes_again_unless_an_instance_sets_it", a_field_goes_again),
    ("definitions::a_field_goes_from_a_definition_and_its_instances_in_one_commit", a_field_goes_from_both),
    ("definitions::a_field_goes_from_a_definition_and_from_what_makes_its_instances", a_made_field_goes),
    ("definitions::a_left_over_crd_without_instances_is_no_obstacle", a_left_over_crd),
    ("definitions::a_revision_that_is_deleted_by_hand_is_issued_again", a_deleted_revision),
    ("definitions::a_crd_that_is_given_to_another_definition_is_taken_at_once", a_crd_given_away),
];

const REVISIONS: &str = "/apis/internal.kro.run/v1alpha1/graphrevisions";
/// What is noticed when it is done, and not at the next look.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Waits until a condition of the definition's present generation has this status; its message.
pub fn wait_condition(kind: &Kind, of_type: &str, status: &str) -> Result<String> {
    eventually(PATIENCE, &format!("{}: {of_type} is {status}", kind.rgd), || {
        let rgd = kind.stand.api("hub").get(&kind.rgd_path())?.context("gone")?;
        let found = condition(&rgd, of_type).cloned().unwrap_or_default();
        let newest = found["observedGeneration"] == rgd["metadata"]["generation"];
        ensure!(newest && found["status"] == status, "{}", rgd["status"]);
        Ok(text(&found, "/message"))
    })
}

fn wait_gone(kind: &Kind) -> Result<()> {
    kind.stand.api("hub").delete(&kind.rgd_path())?;
    eventually(PATIENCE, "the definition gone", || {
        ensure!(kind.stand.api("hub").get(&kind.rgd_path())?.is_none(), "{}", kind.status()?);
        Ok(())
    })
}

fn a_deleted_revision(stand: &Stand) -> Result<()> {
    let kind = stand.define(&note("def-revised", "DefRevised", "{text: string}"))?;
    let path = |number: u32| format!("{REVISIONS}/def-revised-r{number:05}");
    stand.api("hub").delete(&path(1))?;
    eventually(AT_ONCE, "the next revision", || {
        let again = stand.api("hub").get(&path(2))?.context("no second revision")?;
        ensure!(again["spec"]["snapshot"]["name"] == "def-revised", "{again}");
        let rgd = stand.api("hub").get(&kind.rgd_path())?.context("gone")?;
        ensure!(rgd["status"]["lastIssuedRevision"] == 2, "{}", rgd["status"]);
        Ok(())
    })?;
    kind.wait_defined()?;
    wait_gone(&kind)
}

fn a_crd_given_away(stand: &Stand) -> Result<()> {
    let first = stand.define(&note("def-giver", "DefGiven", "{text: string}"))?;
    let second = stand.submit(&note("def-taker", "DefGiven", "{text: string}"))?;
    let why = wait_condition(&second, "KindReady", "False")?;
    let label = "kro.run/resource-graph-definition-name";
    ensure!(why.contains(&format!("{label}=def-taker")), "{why}");
    let relabel = json!({"metadata": {"labels": {label: "def-taker"}}});
    stand.api("hub").merge_patch(&second.crd_path(), &relabel)?;
    eventually(AT_ONCE, "the second one has the kind", || {
        let rgd = stand.api("hub").get(&second.rgd_path())?.context("gone")?;
        let ready = condition(&rgd, "KindReady").cloned().unwrap_or_default();
        ensure!(ready["status"] == "True", "{ready}");
        Ok(())
    })?;
    wait_gone(&first)?;
    second.create("a", "eu", "{text: one}")?;
    second.wait_active("a", &["eu"])?;
    second.remove("a")?;
    wait_gone(&second)
}

/// Waits until the kind has a field `spec.more` on the hub and on eu, or has none.
fn wait_field(kind: &Kind, wanted: bool) -> Result<()> {
    let at = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/more";
    for cluster in ["hub", "eu"] {
        eventually(PATIENCE, &format!("spec.more on {cluster}: {wanted}"), || {
            let crd = kind.stand.api(cluster).get(&kind.crd_path())?.context("no CRD")?;
            ensure!(crd.pointer(at).is_some() == wanted, "{}", kind.status()?);
            Ok(())
        })?;
    }
    Ok(())
}

fn a_field_goes_again(stand: &Stand) -> Result<()> {
    let kind = stand.define(&note("def-revert", "DefRevert", "{text: string}"))?;
    kind.create("a", "eu", "{text: one}")?;
    kind.wait_active("a", &["eu"])?;
    // With a default, each write of an instance stores the field, and those of its status are ours: nobody asked for it.
    for field in ["string", "string | default=x", "object"] {
        kind.edit_definition(&format!("spec: {{schema: {{spec: {{text: string, more: {field}}}}}}}"))?;
        wait_field(&kind, true)?;
        kind.annotate("a", &json!({"example.org/touched": field}))?;
        kind.wait_active("a", &["eu"])?;
        kind.edit_definition("spec: {schema: {spec: {text: string, more: null}}}")?;
        wait_field(&kind, false)?;
        kind.wait_defined()?;
    }
    kind.edit_definition("spec: {schema: {spec: {text: string, more: string}}}")?;
    wait_field(&kind, true)?;
    kind.edit("a", "{text: one, more: mine}")?;
    kind.wait_active("a", &["eu"])?;
    kind.edit_definition("spec: {schema: {spec: {text: string, more: null}}}")?;
    let message = wait_condition(&kind, "KindReady", "False")?;
    ensure!(message.contains("spec.more") && message.contains("def-revert/a"), "{message}");
    // Taken out of the instance, it passes without another word.
    kind.edit("a", "{text: one, more: null}")?;
    wait_condition(&kind, "KindReady", "True")?;
    wait_field(&kind, false)?;
    kind.remove("a")
}

/// Nobody looks meanwhile, so that what is on the spoke has the field still when its CRD is to lose it.
fn a_field_goes_from_both(stand: &Stand) -> Result<()> {
    let kind = stand.define(&note("def-both", "DefBoth", "{text: string, more: string}"))?;
    kind.create("a", "eu", "{text: one, more: mine}")?;
    kind.wait_active("a", &["eu"])?;
    stand.kill_controller();
    kind.edit_definition("spec: {schema: {spec: {text: string, more: null}}}")?;
    kind.edit("a", "{text: two, more: null}")?;
    stand.start_controller()?;
    wait_field(&kind, false)?;
    kind.wait_active("a", &["eu"])?;
    let mirror = kind.on("eu", "a")?.context("no mirror")?;
    ensure!(mirror["spec"] == json!({"text": "two"}), "{}", mirror["spec"]);
    kind.remove("a")
}

/// Instances that a definition makes are edited by it alone.
fn a_made_field_goes(stand: &Stand) -> Result<()> {
    let inner = stand.define(&note("def-core", "DefCore", "{text: string, more: string}"))?;
    let outer = |more: &str| {
        let made = format!("{{text: '${{schema.spec.text}}'{more}}}");
        let of =
            format!("apiVersion: kro.run/v1alpha1, kind: DefCore, metadata: {{name: made}}, spec: {made}");
        format!("spec: {{resources: [{{id: inner, template: {{{of}}}}}]}}")
    };
    let parent = stand.submit(&note("def-shell", "DefShell", "{text: string}"))?;
    parent.edit_definition(&outer(", more: mine"))?;
    parent.wait_defined()?;
    parent.create("a", "eu", "{text: one}")?;
    parent.wait_active("a", &["eu"])?;
    let made = || parent.child("eu", "kro.run/v1alpha1/defcores/made")?.context("nothing made");
    ensure!(made()?["spec"]["more"] == "mine", "{}", made()?["spec"]);
    inner.edit_definition("spec: {schema: {spec: {text: string, more: null}}}")?;
    parent.edit_definition(&outer(""))?;
    wait_field(&inner, false)?;
    parent.wait_active("a", &["eu"])?;
    ensure!(made()?["spec"] == json!({"text": "one"}), "{}", made()?["spec"]);
    parent.remove("a")
}

fn a_left_over_crd(stand: &Stand) -> Result<()> {
    let on_eu = |kind: &Kind, spec: &str| -> Result<()> {
        kind.create("a", "eu", spec)?;
        kind.wait_active("a", &["eu"])?;
        kind.remove("a")?;
        ensure!(kind.on("eu", "a")?.is_none(), "the mirror stayed");
        Ok(())
    };
    let first = stand.define(&note("def-left", "DefLeft", "{text: string, old: string}"))?;
    on_eu(&first, "{text: one, old: x}")?;
    wait_gone(&first)?;
    // Another type, and a field less.
    let second = note("def-left", "DefLeft", "{text: integer | default=1}");
    let second = stand.define(&second.replace("${schema.spec.text}", "${string(schema.spec.text)}"))?;
    on_eu(&second, "{text: 2}")?;
    wait_gone(&second)?;
    // Another kind with the same plural: its CRD takes the place of the old one on the hub and on the spoke.
    let third = stand.define(&note("def-left", "Defleft", "{text: string}"))?;
    on_eu(&third, "{text: three}")?;
    for cluster in ["hub", "eu"] {
        let crd = stand.api(cluster).get(&third.crd_path())?.context("no CRD")?;
        ensure!(crd["spec"]["names"]["kind"] == "Defleft", "{cluster}: {}", crd["spec"]["names"]);
    }
    wait_gone(&third)
}
