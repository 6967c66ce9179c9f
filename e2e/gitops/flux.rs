//! Flux: its source-controller and its kustomize-controller, which sync `examples/gitops/flux/flux.yaml`.

use super::stand::example;
use super::tool::{Site, Tool};
use crate::env::process::Process;
use crate::env::registration::condition;
use crate::env::{Environment, eventually, gitops, ports};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

const NAMESPACE: &str = "flux-system";
const REPOSITORY: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/flux-system/gitrepositories/hub";
const KUSTOMIZATIONS: &str = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations";
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Flux {
    processes: Vec<Process>,
}

impl Flux {
    /// Installs its CRDs on the hub, starts it, and tells it of the repository.
    ///
    /// # Errors
    /// It cannot be built, or does not start.
    pub fn start(site: &Site<'_>) -> Result<Box<dyn Tool>> {
        let programs = gitops::Flux::ensure()?;
        let env = site.env;
        for crd in &programs.crds {
            env.kubectl("hub", &["apply", "--server-side", "-f", &crd.display().to_string()])?;
        }
        env.wait_crds("hub")?;
        env.api("hub").post("/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}}))?;
        let address = || ports::free().map(|port| format!("127.0.0.1:{port}"));
        let (storage, artifacts) = (site.dir.join("artifacts"), address()?);
        fs::create_dir_all(&storage)?;
        let mut source = Command::new(&programs.source_controller);
        source
            .arg(format!("--storage-path={}", storage.display()))
            .arg(format!("--storage-addr={artifacts}"))
            .arg(format!("--storage-adv-addr={artifacts}"));
        let mut kustomize = Command::new(&programs.kustomize_controller);
        kustomize.arg("--requeue-dependency=5s");
        let mut processes = Vec::new();
        for (name, mut command) in [("source-controller", source), ("kustomize-controller", kustomize)] {
            command
                .arg(format!("--metrics-addr={}", address()?))
                .arg(format!("--health-addr={}", address()?))
                .args(["--enable-leader-election=false", "--watch-all-namespaces"])
                .env("RUNTIME_NAMESPACE", NAMESPACE)
                .env("KUBECONFIG", env.kubeconfig("hub"))
                .env("TMPDIR", site.dir);
            processes.push(Process::spawn(command, site.dir, name)?);
        }
        let flux = Self { processes };
        env.apply("hub", &example("flux/flux.yaml", site.url)?)?;
        Ok(Box::new(flux))
    }
}

/// Asked for by an annotation, with a word that it did not have yet.
fn now() -> Result<Value> {
    let word = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos().to_string();
    Ok(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": word}}}))
}

/// As both controllers write a commit.
fn revision(commit: &str) -> String {
    format!("main@sha1:{commit}")
}

fn said(kustomization: &Value) -> String {
    let ready = condition(kustomization, "Ready").cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{}: applied {}, Ready {} {}: {}",
        text(&kustomization["metadata"]["name"]),
        text(&kustomization["status"]["lastAppliedRevision"]),
        text(&ready["status"]),
        text(&ready["reason"]),
        text(&ready["message"])
    )
}

impl Tool for Flux {
    fn verdicts(&self) -> &'static str {
        KUSTOMIZATIONS
    }

    fn ensure_green(&self, kustomization: &Value, commit: &str) -> Result<()> {
        let ready = condition(kustomization, "Ready").is_some_and(|ready| ready["status"] == "True");
        let here = kustomization["status"]["lastAppliedRevision"] == json!(revision(commit));
        ensure!(ready && here, "{}", said(kustomization));
        Ok(())
    }

    fn failure(&self, kustomization: &Value, commit: &str) -> Option<String> {
        let ready = condition(kustomization, "Ready")?;
        let here = kustomization["status"]["lastAttemptedRevision"] == json!(revision(commit));
        // That another one comes first is no failure.
        let failed = ready["status"] == "False" && ready["reason"] != "DependencyNotReady";
        (here && failed).then(|| said(kustomization))
    }

    fn ask(&self, env: &Environment) -> Result<()> {
        let hub = env.api("hub");
        let asked = now()?;
        hub.merge_patch(REPOSITORY, &asked)?;
        // It fetches first; a Kustomization that is asked before that would sync the commit before.
        eventually(PATIENCE, "Flux fetched the repository", || {
            let repository = hub.get(REPOSITORY)?.unwrap_or_default();
            let word = &asked["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
            ensure!(repository["status"]["lastHandledReconcileAt"] == *word, "{}", repository["status"]);
            Ok(())
        })?;
        for kustomization in hub.list(KUSTOMIZATIONS)? {
            let name = kustomization["metadata"]["name"].as_str().unwrap_or_default();
            hub.merge_patch(&format!("{KUSTOMIZATIONS}/{name}"), &asked)?;
        }
        Ok(())
    }

    /// It does not wait for what it has asked to be deleted.
    fn let_the_next_sync_begin(&self, _: &Environment) -> Result<()> {
        Ok(())
    }

    fn processes(&self) -> &[Process] {
        &self.processes
    }
}
