//! What `kro-hub argocd` prints, run by the interpreter of Argo CD: health and actions of what a hub really writes.

use crate::env::assets;
use crate::lanes::CLUSTERS as LANE;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NAME: &str = "argocd::health_and_actions_run_in_the_interpreter_of_argo_cd";

pub fn trial() -> Trial {
    Trial::test(NAME, || {
        LANE.run(NAME, || {
            let lua = match assets::argocd_lua() {
                Ok(lua) => lua,
                Err(error) => {
                    eprintln!("\nSKIPPED {NAME}: the interpreter cannot be had here: {error:#}\n");
                    return Ok(());
                }
            };
            scripts(&lua).map_err(|error| format!("{error:#}").into())
        })
    })
}

/// The customizations of the definitions of an example.
fn customizations() -> Result<Value> {
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hub-repo/definitions");
    let output = Command::new(env!("CARGO_BIN_EXE_kro-hub")).arg("argocd").arg(definitions).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let map: Value = serde_saphyr::from_str(&String::from_utf8(output.stdout)?)?;
    let text = map["data"]["resource.customizations"].as_str().context("there are no customizations")?;
    Ok(serde_saphyr::from_str(text)?)
}

struct Lua(PathBuf);

impl Lua {
    fn run(&self, script: &Value, object: &Value) -> Result<Value> {
        let mut child = Command::new(&self.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let asked = json!({"script": script, "object": object});
        child.stdin.take().context("no input")?.write_all(asked.to_string().as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{}\n{script}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// The actions of a kind.
struct Actions<'a> {
    lua: &'a Lua,
    all: Value,
}

impl Actions<'_> {
    /// The names of those that may be taken now.
    fn offered(&self, object: &Value) -> Result<Vec<String>> {
        let found = self.lua.run(&self.all["discovery.lua"], object)?;
        let open =
            found.as_object().context("no map")?.iter().filter(|(_, action)| action["disabled"] == false);
        let mut names: Vec<String> = open.map(|(name, _)| name.clone()).collect();
        names.sort();
        Ok(names)
    }

    fn take(&self, name: &str, object: &Value) -> Result<Value> {
        let definitions = self.all["definitions"].as_array().context("no definitions")?;
        let action = definitions.iter().find(|action| action["name"] == name).context("no such action")?;
        self.lua.run(&action["action.lua"], object)
    }
}

fn scripts(lua: &Path) -> Result<()> {
    let lua = Lua(lua.to_owned());
    let all = customizations()?;
    let of = |key: &str| -> Result<Actions<'_>> {
        let text = all[key]["actions"].as_str().with_context(|| format!("{key} has no actions"))?;
        Ok(Actions { lua: &lua, all: serde_saphyr::from_str(text)? })
    };
    let health = &all["kro.run/Website"]["health.lua"];
    let site = |annotations: Value, status: Value| {
        json!({"apiVersion": "kro.run/v1alpha1", "kind": "Website", "status": status,
            "metadata": {"name": "shop", "namespace": "shop", "generation": 1, "annotations": annotations}})
    };
    let ready = |status: &str, reason: &str| json!([{"type": "Ready", "status": status, "reason": reason, "message": "m"}]);
    for (state, status, reason, want) in [
        ("ACTIVE", "True", "Ready", "Healthy"),
        ("IN_PROGRESS", "Unknown", "NotReady", "Progressing"),
        ("ERROR", "False", "ResourcesNotReady", "Degraded"),
        ("ACTIVE", "False", "ShrinkHeld", "Degraded"),
        ("IN_PROGRESS", "False", "NotPlaced", "Suspended"),
    ] {
        let object = site(json!({"a": "b"}), json!({"state": state, "conditions": ready(status, reason)}));
        let told = lua.run(health, &object)?;
        ensure!(told["status"] == want, "{state} {status} {reason}: {told}");
    }
    authors_conditions(&lua, health)?;

    let actions = of("kro.run/Website")?;
    let fleet = json!({"fleet": {"unreachable": 1, "held": {"token": "01fd56ea", "clusters": ["eu"]}, "clusters": [
        {"name": "us-1", "state": "Unreachable"}, {"name": "us-2", "state": "Unreachable"}, {"name": "eu", "state": "ACTIVE"}]}});
    let plain = site(json!({"a": "b"}), json!({}));
    ensure!(actions.offered(&plain)? == ["suspend"], "{:?}", actions.offered(&plain)?);
    let troubled = site(json!({"kro.run/reconcile": "suspended"}), fleet.clone());
    ensure!(actions.offered(&troubled)? == ["allow-shrink", "release-unreachable", "resume"]);

    let annotations = |object: Value| object["metadata"]["annotations"].clone();
    let suspended = actions.take("suspend", &plain)?;
    ensure!(annotations(suspended.clone()) == json!({"a": "b", "kro.run/reconcile": "suspended"}));
    ensure!(annotations(actions.take("resume", &suspended)?) == json!({"a": "b"}));
    // An empty map would be none to Argo CD.
    ensure!(annotations(actions.take("resume", &troubled)?) == json!({"kro.run/reconcile": "enabled"}));
    let released = annotations(actions.take("release-unreachable", &troubled)?);
    ensure!(released["hub.kro.run/release"] == "us-1,us-2", "{released}");
    let more = site(json!({"hub.kro.run/release": "ap"}), fleet);
    ensure!(
        annotations(actions.take("release-unreachable", &more)?)["hub.kro.run/release"] == "ap,us-1,us-2"
    );
    let allowed = annotations(actions.take("allow-shrink", &troubled)?);
    ensure!(allowed["hub.kro.run/allow-shrink"] == "01fd56ea", "{allowed}");
    let bare = json!({"apiVersion": "kro.run/v1alpha1", "kind": "Website", "metadata": {"name": "x"}});
    ensure!(annotations(actions.take("suspend", &bare)?) == json!({"kro.run/reconcile": "suspended"}));

    let actions = of("hub.kro.run/Cluster")?;
    let cluster =
        |paused: bool| json!({"metadata": {"name": "eu"}, "spec": {"paused": paused, "local": true}});
    ensure!(actions.offered(&cluster(false))? == ["pause"] && actions.offered(&cluster(true))? == ["resume"]);
    ensure!(actions.take("pause", &cluster(false))?["spec"] == json!({"paused": true, "local": true}));
    ensure!(actions.take("resume", &cluster(true))?["spec"] == json!({"paused": false, "local": true}));
    Ok(())
}

/// An author defines conditions of their own: `Available` alone, or `Ready` itself.
fn authors_conditions(lua: &Lua, health: &Value) -> Result<()> {
    let of = |type_: &str, status: &str, generation: u64| json!({"type": type_, "status": status, "reason": "R", "message": "m", "observedGeneration": generation});
    for (what, state, generation, conditions, want) in [
        (
            "all is ACTIVE",
            "ACTIVE",
            2,
            json!([of("Available", "True", 2), of("Stalled", "False", 2)]),
            "Healthy",
        ),
        ("on the hub alone", "ACTIVE", 2, json!([of("Available", "True", 2)]), "Healthy"),
        ("before the edit is seen", "ACTIVE", 1, json!([of("Available", "True", 1)]), "Progressing"),
        ("under way", "IN_PROGRESS", 2, json!([of("Available", "True", 2)]), "Progressing"),
        ("failed", "ERROR", 2, json!([of("Available", "True", 2), of("Stalled", "True", 2)]), "Degraded"),
        ("not yet by Ready", "ACTIVE", 2, json!([of("Ready", "False", 2)]), "Progressing"),
        ("by Ready, on the way", "IN_PROGRESS", 2, json!([of("Ready", "True", 2)]), "Progressing"),
        ("by Ready, failed", "ERROR", 2, json!([of("Ready", "True", 2)]), "Degraded"),
        ("by Ready", "ACTIVE", 2, json!([of("Ready", "True", 2), of("Reconciling", "False", 2)]), "Healthy"),
    ] {
        let status = json!({"state": state, "observedGeneration": generation, "conditions": conditions});
        let object = json!({"apiVersion": "kro.run/v1alpha1", "kind": "Website", "status": status,
            "metadata": {"name": "shop", "namespace": "shop", "generation": 2}});
        let told = lua.run(health, &object)?;
        ensure!(told["status"] == want, "{what}: {told}");
    }
    Ok(())
}
