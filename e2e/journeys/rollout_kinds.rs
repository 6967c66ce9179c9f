//! The revision of a whole kind travels over many pairs of an instance and a cluster.

use super::Run;
use super::rollout::PATIENCE;
use super::stand::{Kind, Stand, annotation, text};
use crate::env::eventually;
use crate::env::registration::condition;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

pub const TRIALS: &[Run] = &[("rollout::old_wrecks_go_last_and_who_heals_late_lets_a_revision_go_on", heals)];

/// The controller is killed again and again: `make long`.
pub const LONG: &[Run] = &[("rollout::a_revision_killed_at_each_step_goes_back_by_a_pin", killed)];

const POLICIES: &str = "/apis/hub.kro.run/v1alpha1/clusterplacements";
const COUNT: usize = 50;
/// Not well at any time: a child of its name is there, and is nobody's.
const WRECK: &str = "i00";
/// Not well by the new revision, until somebody helps.
const SLOW: &str = "i25";

fn definition(text: &str) -> String {
    format!(
        r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: heals}}
spec:
  schema: {{apiVersion: v1alpha1, kind: Heal, spec: {{text: string}}}}
  resources:
  - id: gate
    externalRef: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: gate}}}}
  - id: config
    readyWhen: ['${{!config.data.text.startsWith("bad")}}']
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{schema.metadata.name}}'}}
      data: {{text: '{text}'}}
"#
    )
}

/// Revision of the definition that each mirror was let run by, by instance.
fn admitted(kind: &Kind) -> Result<Vec<(String, String)>> {
    let mirrors = kind.stand.api("eu").list(&kind.collection())?;
    let of = |mirror: &Value| (text(mirror, "/metadata/name"), annotation(mirror, "hub.kro.run/revision"));
    let mut all: Vec<(String, String)> = mirrors.iter().map(of).collect();
    all.sort();
    Ok(all)
}

fn wait_rolled_out(kind: &Kind, policy: &str, reason: &str) -> Result<String> {
    eventually(PATIENCE, &format!("ClusterPlacement {policy} {reason}"), || {
        let policy = kind.stand.api("hub").get(&format!("{POLICIES}/{policy}"))?.context("it is gone")?;
        let rolled = condition(&policy, "RolledOut").cloned().unwrap_or_default();
        ensure!(rolled["reason"] == reason, "{}", policy["status"]);
        Ok(text(&rolled, "/message"))
    })
}

/// The eighth. Fifty instances, no failure allowed: one was never well, and so is no failure of the revision; another one is
/// not well in time, which halts, and is well later, which lets the others go on without a hand.
fn heals(stand: &Stand) -> Result<()> {
    let kind = stand.define(&definition("${gate.data.free + schema.spec.text}"))?;
    kind.namespace_on("eu")?;
    let eu = stand.api("eu");
    let gate = json!({"metadata": {"name": "gate"}, "data": {"free": "", "slow": "bad"}});
    eu.post(&kind.beside("configmaps"), &gate)?;
    eu.post(&kind.beside("configmaps"), &json!({"metadata": {"name": WRECK}, "data": {"text": "mine"}}))?;
    let names: Vec<String> = (0..COUNT).map(|n| format!("i{n:02}")).collect();
    for name in &names {
        kind.create(name, "eu", if name == SLOW { "{text: slow}" } else { "{text: x}" })?;
    }
    let well = || names.iter().filter(|name| *name != WRECK);
    well().try_for_each(|name| kind.wait_active(name, &["eu"]).map(drop))?;
    kind.wait_reason(WRECK, "Conflict")?;
    let policy = json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "ClusterPlacement", "metadata": {"name": "heals"},
        "spec": {"instances": {"kind": kind.kind}, "rollout": {"scope": "Kind", "progressDeadline": "3s",
            "stages": [{"name": "all", "maxConcurrent": 1}]}},
    });
    stand.api("hub").post(POLICIES, &policy)?;
    wait_rolled_out(&kind, "heals", "Complete")?;

    kind.edit_definition(&definition(
        r#"${(schema.spec.text == "slow" ? gate.data.slow : gate.data.free) + schema.spec.text + " new"}"#,
    ))?;
    let halted = wait_rolled_out(&kind, "heals", "RolloutHalted")?;
    ensure!(halted.contains("1 failed, 0 allowed") && halted.contains(SLOW), "{halted}");
    let when_halted = admitted(&kind)?;
    let at = |all: &[(String, String)], revision: &str| -> Vec<String> {
        let of = |(_, mark): &&(String, String)| mark.split(' ').next() == Some(revision);
        all.iter().filter(of).map(|(name, _)| name.clone()).collect()
    };
    let moved = at(&when_halted, "2");
    ensure!(
        moved.len() < COUNT && moved.contains(&SLOW.into()) && !moved.contains(&WRECK.into()),
        "{moved:?}"
    );
    throughout(Duration::from_secs(2), "nobody is moved", || {
        let now = at(&admitted(&kind)?, "2");
        ensure!(now == moved, "{now:?} instead of {moved:?}");
        Ok(())
    })?;

    eu.merge_patch(&kind.beside("configmaps/gate"), &json!({"data": {"slow": ""}}))?;
    wait_rolled_out(&kind, "heals", "Complete")?;
    let all = admitted(&kind)?;
    ensure!(at(&all, "2").len() == COUNT, "{all:?}");
    for (name, mark) in &all {
        ensure!(mark.ends_with(" unjudged") == (name == WRECK), "{name}: {mark}");
    }
    let last =
        |name: &str| all.iter().find(|(n, _)| n == name).map(|(_, mark)| time(mark)).unwrap_or_default();
    ensure!(well().all(|name| last(name) <= last(WRECK)), "{all:?}");
    well().try_for_each(|name| kind.wait_active(name, &["eu"]).map(drop))?;
    kind.wait_reason(WRECK, "Conflict")?;
    names.iter().try_for_each(|name| kind.delete(name))?;
    names.iter().try_for_each(|name| kind.wait_gone(name))?;
    stand.api("hub").delete(&format!("{POLICIES}/heals"))
}

/// When a pair was let run by its revision.
fn time(mark: &str) -> String {
    mark.split(' ').nth(2).unwrap_or_default().to_owned()
}

fn steps(more: &str, text: &str) -> String {
    format!(
        r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: steps}}
spec:
  schema: {{apiVersion: v1alpha1, kind: Step, spec: {{text: string{more}}}}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{schema.metadata.name}}'}}
      data: {{text: '{text}'}}
"#
    )
}

const PAIRS: [(&str, &str); 4] = [("eu", "a"), ("eu", "b"), ("us", "a"), ("us", "b")];

/// The pairs that were let run by this revision, and those of them that have it.
fn moved(kind: &Kind, revision: &str, text: &str) -> Result<(Vec<(&'static str, &'static str)>, usize)> {
    let mut admitted = Vec::new();
    for (cluster, name) in PAIRS {
        let mirror = kind.on(cluster, name)?.with_context(|| format!("no mirror of {name} on {cluster}"))?;
        let mark = annotation(&mirror, "hub.kro.run/revision");
        if mark.split(' ').next() == Some(revision) {
            admitted.push((cluster, name));
        }
    }
    let mut there = 0;
    for (cluster, name) in &admitted {
        let child = kind.child(cluster, &format!("configmaps/{name}"))?;
        there += usize::from(child.is_some_and(|child| child["data"]["text"] == text));
    }
    Ok((admitted, there))
}

/// Kills the controller at each admission, a moment later, until so many pairs run by this revision. Never is more than one
/// under way.
fn kill_at_each_step(
    kind: &Kind,
    chance: &mut u64,
    (revision, text): (&str, &str),
    until: usize,
) -> Result<()> {
    let mut known = moved(kind, revision, text)?.0.len();
    while known < until {
        let (admitted, there) = eventually(PATIENCE, &format!("more than {known} of {until}"), || {
            let now = moved(kind, revision, text)?;
            ensure!(now.0.len() > known || now.0.len() > now.1 + 1, "{now:?}");
            Ok(now)
        })?;
        ensure!(admitted.len() <= there + 1, "more than one is under way: {there} of {admitted:?} are there");
        known = admitted.len();
        *chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis((*chance >> 33) % 300));
        kind.stand.kill_controller();
        kind.stand.start_controller()?;
    }
    eventually(PATIENCE, "all of them are there", || {
        let (admitted, there) = moved(kind, revision, text)?;
        ensure!(admitted.len() == until && there == until, "{there} of {admitted:?}");
        Ok(())
    })
}

/// Which objects they are, and whether anybody wrote them.
fn prints(kind: &Kind, cluster: &str) -> Result<Vec<[String; 3]>> {
    let list = kind.stand.api(cluster).list(&kind.collection())?;
    let of =
        |mirror: &Value| ["name", "uid", "resourceVersion"].map(|f| text(mirror, &format!("/metadata/{f}")));
    Ok(list.iter().map(of).collect())
}

/// The first. Revision 2 goes to a canary of two, the other has to be approved, a third is cut off; the controller is killed
/// after each admission. Then revision 1 is pinned.
fn killed(stand: &Stand) -> Result<()> {
    let kind = stand.define(&steps("", "${schema.spec.text}"))?;
    let policy = json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "ClusterPlacement", "metadata": {"name": "steps"},
        "spec": {"instances": {"kind": kind.kind}, "rollout": {"scope": "Kind", "stages": [
            {"name": "canary", "clusters": {"names": ["eu"]}, "maxConcurrent": 1}, {"name": "prod", "approval": true},
        ]}},
    });
    stand.api("hub").post(POLICIES, &policy)?;
    for name in ["a", "b"] {
        kind.create(name, "eu,us,ap", "{text: one}")?;
        kind.wait_active(name, &["eu", "us", "ap"])?;
    }
    wait_rolled_out(&kind, "steps", "Complete")?;
    let held = prints(&kind, "us")?;
    let cut_off = prints(&kind, "ap")?;
    stand.env.stop_server("ap")?;
    let mut chance = std::time::UNIX_EPOCH.elapsed()?.as_secs();
    println!("chance {chance}");
    let ended = (|| {
        kind.edit_definition(&steps(
            ", more: string | default=\"more\"",
            r#"${schema.spec.more + " " + schema.spec.text}"#,
        ))?;
        kill_at_each_step(&kind, &mut chance, ("2", "more one"), 2)?;
        wait_rolled_out(&kind, "steps", "RolloutAwaitingApproval")?;
        ensure!(prints(&kind, "us")? == held, "what is held was written");
        let pin = json!({"spec": {"rollout": {"revision": 1}}});
        stand.api("hub").merge_patch(&format!("{POLICIES}/steps"), &pin)?;
        kill_at_each_step(&kind, &mut chance, ("1", "one"), 2)?;
        wait_rolled_out(&kind, "steps", "Complete").map(drop)
    })();
    stand.env.start_server("ap")?;
    ended?;
    for name in ["a", "b"] {
        kind.wait_active(name, &["eu", "us", "ap"])?;
    }
    throughout(Duration::from_secs(5), "what was held, and what was cut off, is not written", || {
        let now = (prints(&kind, "us")?, prints(&kind, "ap")?);
        ensure!(now == (held.clone(), cut_off.clone()), "{now:?}");
        Ok(())
    })?;
    let crd = stand.api("eu").get(&kind.crd_path())?.context("no CRD on eu")?;
    let served = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
    ensure!(served["properties"]["more"].is_object(), "the CRD of eu went back: {served}");
    for name in ["a", "b"] {
        kind.remove(name)?;
    }
    stand.api("hub").delete(&format!("{POLICIES}/steps"))
}
