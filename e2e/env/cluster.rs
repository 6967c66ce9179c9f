//! One cluster: an API server, and the programs that make workloads run without machines.

use super::api::Api;
use super::assets::Assets;
use super::pki::{self, Pki};
use super::process::Process;
use super::wait::eventually;
use super::{ports, programs};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const START: Duration = Duration::from_secs(120);
const APISERVER: &str = "kube-apiserver";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";
/// Nodes are kwok's.
const ALL_BUT_NODES: &str = "*,-node-ipam-controller,-node-lifecycle-controller";

/// The whole of each request, once it has been answered.
const AUDIT_POLICY: &str = r"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules: [{level: Request}]
";

/// What runs in a cluster beside its API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programs {
    /// Controller manager, scheduler, and kwok in the kubelet's place: Deployments become available.
    Workloads,
    /// Nothing, so that every request that is counted is ours.
    ServerOnly,
    /// The garbage collector: what is deleted in the foreground, as Argo CD prunes, ends by its word alone.
    GarbageCollector,
    /// As `ServerOnly`, and each request is written to `audit.log` in the cluster's folder, with its body.
    Audited,
}

/// What clusters of an environment share.
pub(super) struct Shared {
    pub dir: PathBuf,
    pub assets: Assets,
    pub pki: Pki,
    pub etcd_port: u16,
}

pub(super) struct Cluster {
    name: String,
    dir: PathBuf,
    port: u16,
    kubeconfig: PathBuf,
    api: Api,
    audited: bool,
    server: Mutex<Option<Process>>,
    others: Mutex<Vec<Process>>,
}

impl Cluster {
    /// Starts what does not run yet, and waits until pods could be created.
    pub fn start(shared: &Shared, name: &str, run: Programs) -> Result<Self> {
        let dir = shared.dir.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let port = ports::kept(&shared.dir.join("ports.json"), name)?;
        let kubeconfig = shared.dir.join(format!("{name}.kubeconfig"));
        let user = certificate(&shared.pki.admin_cert, &shared.pki.admin_key)?;
        pki::write_private(&kubeconfig, &kubeconfig_text(&shared.pki, name, port, &user)?)?;
        let cluster = Self {
            name: name.to_owned(),
            port,
            api: Api::from_kubeconfig(&kubeconfig)?,
            kubeconfig,
            audited: run == Programs::Audited,
            server: Mutex::new(Process::open(&dir, APISERVER)),
            others: Mutex::new(Vec::new()),
            dir,
        };
        if lock(&cluster.server).is_none() {
            cluster.start_server(shared)?;
        } else {
            cluster.wait_ready()?;
        }
        match run {
            Programs::Workloads => cluster.start_workload_programs(shared),
            Programs::GarbageCollector => cluster.start_garbage_collector(shared),
            Programs::ServerOnly | Programs::Audited => Ok(()),
        }
        .with_context(|| format!("cluster {name}"))?;
        Ok(cluster)
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub fn api(&self) -> &Api {
        &self.api
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether its API server was started, and not stopped since.
    pub fn is_up(&self) -> bool {
        lock(&self.server).is_some()
    }

    pub fn start_server(&self, shared: &Shared) -> Result<()> {
        {
            let mut server = lock(&self.server);
            ensure!(server.is_none(), "the API server of {} runs already", self.name);
            let mut command = programs::kube_apiserver(
                &shared.assets,
                &shared.pki,
                &self.name,
                shared.etcd_port,
                self.port,
            );
            if self.audited {
                let policy = self.dir.join("audit-policy.yaml");
                fs::write(&policy, AUDIT_POLICY)?;
                programs::audited(&mut command, &policy, &self.dir.join("audit.log"));
            }
            *server = Some(Process::spawn(command, &self.dir, APISERVER)?);
        }
        self.wait_ready()
    }

    /// `SIGKILL`: connections break, nothing is drained.
    pub fn stop_server(&self) -> Result<()> {
        match lock(&self.server).take() {
            Some(server) => server.kill9(),
            None => bail!("the API server of {} does not run", self.name),
        }
        Ok(())
    }

    pub fn signal_server(&self, signal: &str) -> Result<()> {
        match lock(&self.server).as_ref() {
            Some(server) => server.signal(signal),
            None => bail!("the API server of {} does not run", self.name),
        }
    }

    pub fn server_pid(&self) -> Result<u32> {
        let server = lock(&self.server);
        let server =
            server.as_ref().with_context(|| format!("the API server of {} does not run", self.name))?;
        Ok(server.pid())
    }

    pub fn server_rss(&self) -> Result<u64> {
        lock(&self.server)
            .as_ref()
            .with_context(|| format!("the API server of {} does not run", self.name))?
            .rss()
    }

    /// Leaves everything running.
    pub fn release(self) {
        for process in into_inner(self.others) {
            process.release();
        }
        if let Some(server) = into_inner(self.server) {
            server.release();
        }
    }

    /// Ends everything, also what an earlier run started.
    pub fn end(self) {
        for process in into_inner(self.others) {
            process.kill9();
        }
        if let Some(server) = into_inner(self.server) {
            server.kill9();
        }
    }

    fn wait_ready(&self) -> Result<()> {
        eventually(START, &format!("API server of {} ready", self.name), || {
            // One that has ended will not get ready: no error of the probe, but the end of the waiting.
            if let Some(Err(ended)) = lock(&self.server).as_ref().map(Process::check) {
                return Ok(Err(ended));
            }
            self.api.text("/readyz").map(|_| Ok(()))
        })?
    }

    /// Another program of the cluster, unless it runs already.
    fn keep_running(&self, name: &str, command: Command) -> Result<()> {
        let process = match Process::open(&self.dir, name) {
            Some(process) => process,
            None => Process::spawn(command, &self.dir, name)?,
        };
        lock(&self.others).push(process);
        Ok(())
    }

    fn start_garbage_collector(&self, shared: &Shared) -> Result<()> {
        let only = "garbage-collector-controller";
        let command = programs::kube_controller_manager(&shared.assets, &shared.pki, &self.kubeconfig, only);
        self.keep_running(CONTROLLER_MANAGER, command)
    }

    fn start_workload_programs(&self, shared: &Shared) -> Result<()> {
        let stages = self.dir.join("kwok-stages.yaml");
        fs::write(&stages, include_str!("kwok-stages.yaml"))?;
        let config = &self.kubeconfig;
        let commands = [
            (
                CONTROLLER_MANAGER,
                programs::kube_controller_manager(&shared.assets, &shared.pki, config, ALL_BUT_NODES),
            ),
            ("kube-scheduler", programs::kube_scheduler(&shared.assets, config)),
            ("kwok", programs::kwok(&shared.assets, config, &stages)),
        ];
        for (name, command) in commands {
            self.keep_running(name, command)?;
        }
        if self.api.get("/api/v1/nodes/fake")?.is_none() {
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {
                "name": "fake", "labels": {"kubernetes.io/hostname": "fake", "kubernetes.io/os": "linux"},
            }});
            self.api.post("/api/v1/nodes", &node)?;
        }
        eventually(START, "programs that run workloads ready", || {
            if let Some(ended) = lock(&self.others).iter().find_map(|process| process.check().err()) {
                return Ok(Err(ended));
            }
            let account = self.api.get("/api/v1/namespaces/default/serviceaccounts/default")?;
            ensure!(account.is_some(), "the default service account is not there yet");
            let node = self.api.get("/api/v1/nodes/fake")?.unwrap_or_default();
            let phase = node.pointer("/status/phase").and_then(|p| p.as_str()).unwrap_or("unknown");
            ensure!(phase == "Running", "the node is {phase}");
            Ok(Ok(()))
        })?
    }
}

/// A kubeconfig of one context; JSON is YAML too.
pub(super) fn kubeconfig_text(pki: &Pki, name: &str, port: u16, user: &serde_json::Value) -> Result<String> {
    let cluster = json!({
        "server": format!("https://127.0.0.1:{port}"),
        "certificate-authority-data": base64_of_file(&pki.ca_cert)?,
    });
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "user"}}],
    });
    Ok(serde_json::to_string_pretty(&config)?)
}

/// A user of a kubeconfig.
pub(super) fn certificate(cert: &Path, key: &Path) -> Result<serde_json::Value> {
    Ok(json!({"client-certificate-data": base64_of_file(cert)?, "client-key-data": base64_of_file(key)?}))
}

fn base64_of_file(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}
