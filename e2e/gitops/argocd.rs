//! Argo CD: its application controller, its repo-server and a Redis, which sync `examples/gitops/argocd/application.yaml`.

use super::stand::example;
use super::tool::{Site, Tool};
use crate::env::process::Process;
use crate::env::{Environment, eventually, gitops, ports};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const APPLICATIONS: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications";
const START: Duration = Duration::from_secs(60);
/// What it calls with each commit, GPG or not.
const VERIFY: &str = "#!/bin/sh\nexit 0\n";

pub struct ArgoCd {
    processes: Vec<Process>,
}

impl ArgoCd {
    /// Installs its CRDs and its ConfigMaps on the hub, starts it, and tells it of the repository.
    ///
    /// # Errors
    /// It cannot be built, Redis is not installed, or something does not start.
    pub fn start(site: &Site<'_>) -> Result<Box<dyn Tool>> {
        gitops::installed("redis-server", "redis-server")?;
        let programs = gitops::ArgoCd::ensure()?;
        let env = site.env;
        for crd in &programs.crds {
            env.kubectl("hub", &["apply", "--server-side", "-f", &crd.display().to_string()])?;
        }
        env.wait_crds("hub")?;
        env.apply("hub", include_str!("argocd-base.yaml"))?;
        let health = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/argocd-health.yaml");
        env.apply("hub", &fs::read_to_string(health)?)?;
        let processes = start_all(site, &programs)?;
        env.apply("hub", &example("argocd/application.yaml", site.url)?)?;
        Ok(Box::new(Self { processes }))
    }
}

fn start_all(site: &Site<'_>, programs: &gitops::ArgoCd) -> Result<Vec<Process>> {
    let (redis, repo) = (ports::free()?, ports::free()?);
    let mut processes = Vec::new();
    let mut start = |name: &str, command: Command, port: u16| -> Result<()> {
        let process = Process::spawn(command, site.dir, name)?;
        let listens = eventually(START, &format!("{name} listens"), || match process.check() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => Ok(TcpStream::connect(("127.0.0.1", port)).map(|_| Ok(()))?),
        });
        processes.push(process);
        listens?
    };

    let mut command = Command::new("redis-server");
    command.args(["--port", &redis.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(site.dir);
    start("redis", command, redis)?;

    let address = format!("127.0.0.1:{redis}");
    let mut command = server(site, programs, "argocd-repo-server")?;
    command.args(["--address", "127.0.0.1", "--port", &repo.to_string()]);
    command.args(["--metrics-address", "127.0.0.1", "--metrics-port", &ports::free()?.to_string()]);
    command.args(["--redis", &address, "--disable-tls", "--client-ca-path=", "--logformat", "text"]);
    start("argocd-repo-server", command, repo)?;

    // Its metrics listen on all addresses; there is no flag for that.
    let metrics = ports::free()?;
    let mut command = server(site, programs, "argocd-application-controller")?;
    command.arg("--kubeconfig").arg(site.env.kubeconfig("hub")).args(["-n", "argocd"]);
    command.args(["--metrics-port", &metrics.to_string(), "--redis", &address]);
    command.args(["--repo-server", &format!("127.0.0.1:{repo}"), "--repo-server-plaintext"]);
    command.args(["--app-resync", "15", "--logformat", "text"]);
    start("argocd-application-controller", command, metrics)?;
    Ok(processes)
}

/// One of the servers that the program is, by name.
fn server(site: &Site<'_>, programs: &gitops::ArgoCd, name: &str) -> Result<Command> {
    let folder = |name: &str| -> Result<PathBuf> {
        let path = site.dir.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    };
    let (bin, ssh) = (folder("bin")?, folder("ssh")?);
    fs::write(ssh.join("ssh_known_hosts"), "")?;
    let verify = bin.join("git-verify-wrapper.sh");
    fs::write(&verify, VERIFY)?;
    fs::set_permissions(&verify, fs::Permissions::from_mode(0o755))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path)))?;
    let mut command = Command::new(&programs.program);
    command
        .env("ARGOCD_BINARY_NAME", name)
        // The server that it calls its own is then that of the kubeconfig.
        .env("ARGOCD_FAKE_IN_CLUSTER", "true")
        .env("KUBECONFIG", site.env.kubeconfig("hub"))
        .env("ARGOCD_TLS_DATA_PATH", folder("tls")?)
        .env("ARGOCD_SSH_DATA_PATH", ssh)
        .env("ARGOCD_GPG_ENABLED", "false")
        .env("ARGOCD_RECONCILIATION_JITTER", "0")
        .env("TMPDIR", folder("tmp")?)
        .env("PATH", path);
    Ok(command)
}

fn said(application: &Value) -> String {
    let status = &application["status"];
    let parts = ["conditions", "health", "sync"].map(|key| format!("{key} {}", status[key]));
    let unwell: Vec<String> = status["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|r| {
            r["status"] != "Synced" || !matches!(r["health"]["status"].as_str(), None | Some("Healthy"))
        })
        .map(|r| format!("{} {}: {} {}", r["kind"], r["name"], r["status"], r["health"]))
        .collect();
    let operation = &status["operationState"];
    format!("{}; {unwell:?}; {} {}", parts.join(" "), operation["phase"], operation["message"])
}

impl Tool for ArgoCd {
    fn verdicts(&self) -> &'static str {
        APPLICATIONS
    }

    fn ensure_green(&self, application: &Value, commit: &str) -> Result<()> {
        let status = &application["status"];
        let (sync, health) = (&status["sync"], &status["health"]["status"]);
        let done = status["operationState"]["phase"] != "Running";
        ensure!(
            sync["status"] == "Synced" && sync["revision"] == commit && health == "Healthy" && done,
            "{}",
            said(application)
        );
        Ok(())
    }

    fn failure(&self, application: &Value, commit: &str) -> Option<String> {
        let status = &application["status"];
        let operation = &status["operationState"];
        let phase = operation["phase"].as_str().unwrap_or_default();
        let broke = matches!(phase, "Failed" | "Error") && operation["syncResult"]["revision"] == commit;
        let degraded = status["sync"]["revision"] == commit && status["health"]["status"] == "Degraded";
        (broke || degraded).then(|| said(application))
    }

    fn ask(&self, env: &Environment) -> Result<()> {
        let asked = json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}});
        for application in env.api("hub").list(APPLICATIONS)? {
            let name = application["metadata"]["name"].as_str().unwrap_or_default();
            env.api("hub").merge_patch(&format!("{APPLICATIONS}/{name}"), &asked)?;
        }
        Ok(())
    }

    /// As `argocd app terminate-op` does through the server that people talk to, which does not run here.
    fn let_the_next_sync_begin(&self, env: &Environment) -> Result<()> {
        let end = json!({"status": {"operationState": {"phase": "Terminating"}}});
        for application in env.api("hub").list(APPLICATIONS)? {
            let running = application["status"]["operationState"]["phase"] == "Running";
            ensure!(running, "there is nothing to end: {}", said(&application));
            let name = application["metadata"]["name"].as_str().unwrap_or_default();
            env.api("hub").merge_patch(&format!("{APPLICATIONS}/{name}"), &end)?;
        }
        Ok(())
    }

    fn processes(&self) -> &[Process] {
        &self.processes
    }
}
