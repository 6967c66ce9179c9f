//! Real clusters on loopback: one etcd, and for each name an API server with the programs that make workloads run.
//!
//! ```text
//! Environment::start(dir, &["hub", "eu", "us"])   seconds; everything ends when it is dropped
//!   .kubectl("eu", &["get", "pods"])              as a user
//!   .api("eu").get("/api/v1/...")                 quick, for what is timed
//!   .stop_server("eu"), .freeze("eu")             as fate
//! Controller::start(&env, Options::default())     the binary under test
//! ```

// Two binaries share this module, and neither uses all of it.
#![allow(dead_code)]

pub mod api;
pub mod assets;
mod cluster;
pub mod contexts;
pub mod controller;
mod etcd;
pub mod gitops;
pub mod kro;
mod kubectl;
pub mod pki;
pub mod ports;
pub mod process;
mod programs;
pub mod registration;
mod rights;
pub mod simulator;
pub mod wait;
pub mod webhook;

use anyhow::{Context, Result, anyhow, ensure};
use api::Api;
use assets::Assets;
pub use cluster::Programs;
use cluster::{Cluster, Shared};
pub use kubectl::Said;
use pki::Pki;
use process::Process;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use wait::eventually;

const ETCD: &str = "etcd";

/// Running clusters. Those that this run started end when it is dropped; see [`Environment::release`].
pub struct Environment {
    shared: Shared,
    rights: rights::Rights,
    // Clusters end before the store they write to.
    clusters: BTreeMap<String, Cluster>,
    etcd: Process,
}

impl Environment {
    /// Starts one cluster a name in `dir`, all at once, with everything that workloads need.
    ///
    /// Programs of an earlier run in `dir` that still run are kept, those that ended are started again on their data.
    ///
    /// # Errors
    /// A program cannot be built or run, or does not get ready.
    pub fn start(dir: &Path, names: &[&str]) -> Result<Self> {
        Self::start_with(dir, names, Programs::Workloads)
    }

    /// As [`Environment::start`], with a choice of what runs beside the API servers.
    ///
    /// # Errors
    /// As there.
    pub fn start_with(dir: &Path, names: &[&str], run: Programs) -> Result<Self> {
        let assets = Assets::ensure()?;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let pki = Pki::open(&dir.join("pki"))?;
        let ports = dir.join("ports.json");
        let (etcd_port, peer_port) = (ports::kept(&ports, "etcd")?, ports::kept(&ports, "etcd-peer")?);
        let etcd = match Process::open(&dir, ETCD) {
            Some(process) => process,
            None => {
                let command = programs::etcd(&assets, &dir.join("etcd"), etcd_port, peer_port);
                Process::spawn(command, &dir, ETCD)?
            }
        };
        eventually(Duration::from_secs(30), "etcd listening", || match etcd.check() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => Ok(TcpStream::connect(("127.0.0.1", etcd_port)).map(|_| Ok(()))?),
        })??;
        let shared = Shared { dir, assets, pki, etcd_port };
        let started: Vec<Result<(String, Cluster)>> = std::thread::scope(|scope| {
            let start = |name: &str| Cluster::start(&shared, name, run).map(|c| (name.to_owned(), c));
            let threads: Vec<_> = names.iter().map(|name| scope.spawn(move || start(name))).collect();
            let died = || Err(anyhow!("the thread that starts a cluster panicked"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| died())).collect()
        });
        let clusters = started.into_iter().collect::<Result<_>>()?;
        Ok(Self { shared, rights: rights::Rights::default(), clusters, etcd })
    }

    /// The folder of logs, kubeconfigs and data.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    pub fn assets(&self) -> &Assets {
        &self.shared.assets
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.clusters.keys().map(String::as_str)
    }

    /// The admin's kubeconfig of a cluster.
    ///
    /// # Panics
    /// There is no cluster of that name: a mistake in the caller. So for all methods that take a name.
    pub fn kubeconfig(&self, name: &str) -> &Path {
        self.cluster(name).kubeconfig()
    }

    pub fn api(&self, name: &str) -> &Api {
        self.cluster(name).api()
    }

    /// Certificate and key that all servers of the environment show.
    pub fn server_identity(&self) -> (&Path, &Path) {
        (&self.shared.pki.server_cert, &self.shared.pki.server_key)
    }

    /// Certificate of the authority of all of them.
    pub fn authority(&self) -> &Path {
        &self.shared.pki.ca_cert
    }

    pub fn port(&self, name: &str) -> u16 {
        self.cluster(name).port()
    }

    pub fn server_url(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}", self.cluster(name).port())
    }

    /// # Errors
    /// kubectl failed; with what it said.
    pub fn kubectl(&self, name: &str, args: &[&str]) -> Result<String> {
        Ok(self.kubectl_says(name, args, None)?.out)
    }

    /// kubectl, with what it says aside.
    ///
    /// # Errors
    /// kubectl failed; with what it said.
    pub fn kubectl_says(&self, name: &str, args: &[&str], input: Option<&str>) -> Result<Said> {
        kubectl::run(&self.shared.assets.kubectl, self.kubeconfig(name), args, input)
    }

    /// kubectl with `input` on its standard input.
    ///
    /// # Errors
    /// kubectl failed; with what it said.
    pub fn kubectl_with(&self, name: &str, args: &[&str], input: &str) -> Result<String> {
        Ok(self.kubectl_says(name, args, Some(input))?.out)
    }

    /// `kubectl apply -f -`.
    ///
    /// # Errors
    /// kubectl failed; with what it said.
    pub fn apply(&self, name: &str, manifests: &str) -> Result<String> {
        self.kubectl_with(name, &["apply", "-f", "-"], manifests)
    }

    /// Waits until each CRD of a cluster is served. `kubectl wait` gives up on one that is too young to have a status.
    ///
    /// # Errors
    /// One is not within half a minute; with its conditions.
    pub fn wait_crds(&self, name: &str) -> Result<()> {
        eventually(Duration::from_secs(30), &format!("CRDs of {name} established"), || {
            let crds = self.api(name).list("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")?;
            let waits = crds.iter().find(|crd| {
                registration::condition(crd, "Established").is_none_or(|told| told["status"] != "True")
            });
            waits.map_or(Ok(()), |crd| Err(anyhow!("{}: {}", crd["metadata"]["name"], crd["status"])))
        })
    }

    /// Every object of every kind that matches a label selector, as `kind.group/name` with its namespace before it.
    ///
    /// # Errors
    /// kubectl failed.
    pub fn labelled(&self, name: &str, selector: &str) -> Result<Vec<String>> {
        let kinds = self.kubectl(name, &["api-resources", "--verbs=list", "-o", "name", "--cached=false"])?;
        // Events under both of their groups would be read twice, and nobody labels them.
        let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
        let columns = "custom-columns=N:.metadata.namespace,K:.kind,A:.apiVersion,M:.metadata.name";
        let args = ["get", &kinds.join(","), "-A", "-l", selector, "-o", columns, "--no-headers"];
        let table = self.kubectl(name, &args)?;
        let mut objects: Vec<String> = table
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let (namespace, kind, api) = (words.next()?, words.next()?, words.next()?);
                let (group, object) = (api.split_once('/').map_or("", |(group, _)| group), words.next()?);
                let kind = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
                Some(match namespace {
                    "<none>" => format!("{kind}/{object}"),
                    _ => format!("{namespace}/{kind}/{object}"),
                })
            })
            .collect();
        objects.sort();
        Ok(objects)
    }

    /// Kills the API server; its data stays.
    ///
    /// # Errors
    /// It does not run.
    pub fn stop_server(&self, name: &str) -> Result<()> {
        self.cluster(name).stop_server()
    }

    /// Starts the API server again, on the same port and data, and waits until it is ready.
    ///
    /// # Errors
    /// It runs already, or does not get ready.
    pub fn start_server(&self, name: &str) -> Result<()> {
        self.cluster(name).start_server(&self.shared)?;
        self.grant_on(name)
    }

    /// Stops the API server without ending it: connections stay open and nothing answers.
    ///
    /// # Errors
    /// It does not run.
    pub fn freeze(&self, name: &str) -> Result<()> {
        self.note_frozen(name, true);
        self.cluster(name).signal_server("STOP")
    }

    /// # Errors
    /// It does not run.
    pub fn thaw(&self, name: &str) -> Result<()> {
        self.cluster(name).signal_server("CONT")?;
        self.note_frozen(name, false);
        self.grant_on(name)
    }

    /// Process id of the API server.
    ///
    /// # Errors
    /// It does not run.
    pub fn server_pid(&self, name: &str) -> Result<u32> {
        self.cluster(name).server_pid()
    }

    /// Resident memory of the API server in bytes.
    ///
    /// # Errors
    /// It does not run.
    pub fn server_rss(&self, name: &str) -> Result<u64> {
        self.cluster(name).server_rss()
    }

    /// A kubeconfig with a fresh token of a service account that may do everything; the account is made at the first
    /// call. Deleting the account (`kube-system/<account>`) ends its tokens.
    ///
    /// # Errors
    /// The API server refuses.
    pub fn token_kubeconfig(&self, name: &str, account: &str, valid: Duration) -> Result<String> {
        let cluster = self.cluster(name);
        let accounts = "/api/v1/namespaces/kube-system/serviceaccounts";
        let api = cluster.api();
        if api.get(&format!("{accounts}/{account}"))?.is_none() {
            api.post(accounts, &json!({"metadata": {"name": account}}))?;
        }
        let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
        let binding = format!("test:{account}:admin");
        if api.get(&format!("{bindings}/{binding}"))?.is_none() {
            let body = json!({
                "metadata": {"name": binding},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "kube-system"}],
            });
            api.post(bindings, &body)?;
        }
        self.account_kubeconfig(name, ("kube-system", account), valid)
    }

    /// A kubeconfig with a token of a ServiceAccount that is there, with no rights but its own.
    ///
    /// # Errors
    /// The API server refuses.
    pub fn account_kubeconfig(
        &self,
        name: &str,
        (namespace, account): (&str, &str),
        valid: Duration,
    ) -> Result<String> {
        let cluster = self.cluster(name);
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": valid.as_secs()},
        });
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let answer = cluster.api().post(&path, &request)?;
        let token =
            answer.pointer("/status/token").and_then(|t| t.as_str()).context("no token in the answer")?;
        cluster::kubeconfig_text(&self.shared.pki, name, cluster.port(), &json!({"token": token}))
    }

    /// Leaves everything running; [`Environment::start`] in the same folder finds it again.
    pub fn release(self) {
        for (_, cluster) in self.clusters {
            cluster.release();
        }
        self.etcd.release();
    }

    /// Ends everything in `dir`, of this run or an earlier one. Returns how many programs it ended.
    ///
    /// # Errors
    /// The folder cannot be read, or a program does not end.
    pub fn end_all(dir: &Path) -> Result<usize> {
        let mut folders = vec![dir.to_owned()];
        for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
        let mut running = Vec::new();
        for folder in &folders {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "pid") {
                    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    running.extend(Process::open(folder, &name));
                }
            }
        }
        // The controller first, etcd last: nobody logs errors about the others.
        running.sort_by_key(|process| match process.log().file_stem().and_then(|s| s.to_str()) {
            Some("controller") => 0,
            Some(ETCD) => 2,
            _ => 1,
        });
        let count = running.len();
        running.into_iter().for_each(Process::kill9);
        Ok(count)
    }

    #[allow(clippy::panic)]
    fn cluster(&self, name: &str) -> &Cluster {
        match self.clusters.get(name) {
            Some(cluster) => cluster,
            None => panic!("no cluster {name} in this environment"),
        }
    }
}

/// A folder that is removed when dropped unless `keep` was called, and by the guardian should this process be killed.
pub struct Scratch {
    dir: PathBuf,
    keep: bool,
}

impl Scratch {
    /// # Errors
    /// It exists already or cannot be made.
    pub fn new(dir: PathBuf) -> Result<Self> {
        ensure!(!dir.exists(), "{} exists already", dir.display());
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        process::remove_at_end(&dir)?;
        Ok(Self { dir, keep: false })
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Keeps logs for whoever looks for the cause; the data is dropped.
    pub fn keep(mut self) -> PathBuf {
        self.keep = true;
        let _ = process::keep_at_end();
        let _ = fs::remove_dir_all(self.dir.join("etcd"));
        self.dir.clone()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.dir);
            let _ = process::keep_at_end();
        }
    }
}
