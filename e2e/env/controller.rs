//! The binary under test, as a process.

use super::api::Api;
use super::process::{self, Process};
use super::wait::eventually;
use super::{Environment, ports};
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where the controller looks for its Secrets and keeps its own objects.
pub const NAMESPACE: &str = "kro-hub";
const START: Duration = Duration::from_secs(60);

/// How to start it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names the log and pid file; two controllers at once need two names.
    pub name: String,
    /// The cluster that is the hub.
    pub hub: String,
    /// Further arguments.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { name: "controller".into(), hub: "hub".into(), args: Vec::new(), env: Vec::new() }
    }
}

/// Where the controller finds its hub, and where its log goes.
pub struct Hub<'a> {
    pub dir: &'a Path,
    pub kubeconfig: &'a Path,
    pub api: &'a Api,
}

/// A running `kro-hub controller`; it ends when dropped.
pub struct Controller {
    process: Process,
    metrics_port: u16,
    health_port: u16,
}

impl Controller {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// The binary is not built, or ends, or does not get ready; with the end of its log.
    pub fn start(env: &Environment, options: Options) -> Result<Self> {
        let hub =
            Hub { dir: env.dir(), kubeconfig: env.kubeconfig(&options.hub), api: env.api(&options.hub) };
        Self::start_at(hub, options)
    }

    /// As [`Controller::start`], for a hub that is no cluster of an environment.
    ///
    /// # Errors
    /// As there.
    pub fn start_at(hub: Hub<'_>, options: Options) -> Result<Self> {
        let controller = Self::launch(hub, options)?;
        controller.wait_ready()?;
        Ok(controller)
    }

    /// Starts it, and does not wait.
    ///
    /// # Errors
    /// The binary is not built.
    pub fn launch(hub: Hub<'_>, options: Options) -> Result<Self> {
        let binary = binary()?;
        create_namespace(hub.api)?;
        let (metrics_port, health_port) = ports_in(hub.dir, &options.name)?;
        let mut command = Command::new(binary);
        // Its flags can be set by the environment; those of whoever runs this must not leak in.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("KRO_HUB_")) {
            command.env_remove(key);
        }
        command
            .arg("controller")
            .arg("--kubeconfig")
            .arg(hub.kubeconfig)
            .args(["--namespace", NAMESPACE])
            .args(["--metrics-bind-address", &format!("127.0.0.1:{metrics_port}")])
            .args(["--health-probe-bind-address", &format!("127.0.0.1:{health_port}")])
            .args(&options.args)
            .envs(options.env);
        let process = Process::spawn(command, hub.dir, &options.name)?;
        Ok(Self { process, metrics_port, health_port })
    }

    /// One that an earlier run left running.
    ///
    /// # Errors
    /// Its ports cannot be read.
    pub fn open(env: &Environment, name: &str) -> Result<Option<Self>> {
        let Some(process) = Process::open(env.dir(), name) else { return Ok(None) };
        let (metrics_port, health_port) = ports_of(env, name)?;
        Ok(Some(Self { process, metrics_port, health_port }))
    }

    /// # Errors
    /// It has ended, or did not get ready in time; with the end of its log.
    pub fn wait_ready(&self) -> Result<()> {
        let ready = eventually(START, "controller ready", || match self.process.check() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => http_get(self.health_port, "/readyz").map(|_| Ok(())),
        });
        ready.with_context(|| format!("the end of {}:\n{}", self.log().display(), self.log_tail(15)))?
    }

    /// `SIGKILL`: nothing is finished, nothing is handed over.
    pub fn kill9(self) {
        self.process.kill9();
    }

    /// `SIGTERM`, then waits.
    ///
    /// # Errors
    /// It did not end by itself within 30 s.
    pub fn terminate(self) -> Result<()> {
        self.process.terminate(Duration::from_secs(30))
    }

    /// `SIGSTOP`: as a leader that is not scheduled for a while.
    ///
    /// # Errors
    /// It has ended.
    pub fn freeze(&self) -> Result<()> {
        self.process.signal("STOP")
    }

    /// # Errors
    /// It has ended.
    pub fn thaw(&self) -> Result<()> {
        self.process.signal("CONT")
    }

    /// # Errors
    /// It has ended; with the end of its log.
    pub fn check(&self) -> Result<()> {
        self.process.check()
    }

    /// What `/metrics` says.
    ///
    /// # Errors
    /// No answer.
    pub fn metrics(&self) -> Result<String> {
        http_get(self.metrics_port, "/metrics")
    }

    pub fn metrics_port(&self) -> u16 {
        self.metrics_port
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// It has ended.
    pub fn rss(&self) -> Result<u64> {
        self.process.rss()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn log(&self) -> &Path {
        self.process.log()
    }

    pub fn log_tail(&self, lines: usize) -> String {
        process::tail(self.log(), lines)
    }

    /// Leaves it running.
    pub fn release(self) {
        self.process.release();
    }
}

/// `KRO_HUB_BIN`, else what cargo built beside this program.
///
/// # Errors
/// It is not there; with how to build it.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("KRO_HUB_BIN") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "KRO_HUB_BIN: {} does not exist", path.display());
        return Ok(path);
    }
    built("kro-hub")
}

/// A program that cargo built with the profile of this one.
///
/// # Errors
/// It is not there; with how to build it.
pub(super) fn built(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    // This is target/<profile>/{deps,examples}/<name>.
    let profile =
        this.parent().and_then(Path::parent).context("this program does not stand in a target folder")?;
    let path = profile.join(name);
    let how = match name.strip_prefix("examples/") {
        Some(example) => format!("--workspace --example {example}"),
        None => format!("--bin {name}"),
    };
    ensure!(path.is_file(), "{} does not exist; build it with: cargo build {how}", path.display());
    Ok(path)
}

/// For metrics and health; the same after a restart.
pub(super) fn ports_of(env: &Environment, name: &str) -> Result<(u16, u16)> {
    ports_in(env.dir(), name)
}

fn ports_in(dir: &Path, name: &str) -> Result<(u16, u16)> {
    let file = dir.join("ports.json");
    Ok((ports::kept(&file, &format!("{name}-metrics"))?, ports::kept(&file, &format!("{name}-health"))?))
}

fn create_namespace(api: &Api) -> Result<()> {
    if api.get(&format!("/api/v1/namespaces/{NAMESPACE}"))?.is_none() {
        api.post("/api/v1/namespaces", &serde_json::json!({"metadata": {"name": NAMESPACE}}))?;
    }
    Ok(())
}

/// The body of a plain HTTP answer of status 200.
pub(super) fn http_get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    // 1.0: the answer is neither chunked nor kept open.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split_whitespace().nth(1) != Some("200") {
        bail!("{path} answers {status}: {}", body.trim());
    }
    Ok(body.to_owned())
}
