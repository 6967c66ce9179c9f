//! Many API servers in one process, in memory: `apiserver-model/examples/kro-hub-fleet-sim.rs`, as a process.

use super::api::Api;
use super::controller::http_get;
use super::process::{self, Process};
use super::wait::eventually;
use super::{controller, ports};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START: Duration = Duration::from_secs(60);

/// Servers are known by their number, from 0.
pub struct Simulator {
    process: Process,
    dir: PathBuf,
    control: u16,
    servers: u16,
}

impl Simulator {
    /// Starts so many servers; they end when it is dropped.
    ///
    /// # Errors
    /// The program is not built, or ends, or its ports are taken.
    pub fn start(dir: &Path, servers: u16) -> Result<Self> {
        let binary = controller::built("examples/kro-hub-fleet-sim")?;
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let control = ports::free()?;
        let first = free_range(servers)?;
        let mut command = Command::new(binary);
        command
            .args(["--servers", &servers.to_string(), "--port", &first.to_string()])
            .args(["--control", &control.to_string(), "--dir"])
            .arg(&dir);
        let process = Process::spawn(command, &dir, "simulator")?;
        let simulator = Self { process, dir, control, servers };
        eventually(START, "the simulator listens", || match simulator.process.check() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => simulator.counts(0, 0).map(|_| Ok(())),
        })??;
        Ok(simulator)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn kubeconfig(&self, server: u16) -> PathBuf {
        self.dir.join(format!("{server:04}.kubeconfig"))
    }

    /// # Errors
    /// There is no such server.
    pub fn api(&self, server: u16) -> Result<Api> {
        ensure!(server < self.servers, "there is no server {server}");
        Api::from_kubeconfig(&self.kubeconfig(server))
    }

    /// What servers were asked so far, by verb and resource.
    ///
    /// # Errors
    /// No answer.
    pub fn counts(&self, first: u16, last: u16) -> Result<BTreeMap<String, f64>> {
        Ok(serde_json::from_str(&self.ask("counts", first, last)?)?)
    }

    /// From now on these servers accept nothing, read nothing, answer nothing, and hang up on nobody.
    ///
    /// # Errors
    /// No answer.
    pub fn silence(&self, first: u16, last: u16) -> Result<()> {
        self.ask("silence", first, last).map(drop)
    }

    /// Ends that.
    ///
    /// # Errors
    /// No answer.
    pub fn speak(&self, first: u16, last: u16) -> Result<()> {
        self.ask("speak", first, last).map(drop)
    }

    /// New credentials, which the kubeconfigs have from now on. Those before are good until the next turn, the first for ever.
    ///
    /// # Errors
    /// No answer.
    pub fn turn(&self, first: u16, last: u16) -> Result<()> {
        self.ask("turn", first, last).map(drop)
    }

    /// How many of these servers were asked with their newest credentials.
    ///
    /// # Errors
    /// No answer.
    pub fn turned(&self, first: u16, last: u16) -> Result<u16> {
        Ok(serde_json::from_str(&self.ask("turned", first, last)?)?)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn log_tail(&self) -> String {
        process::tail(self.process.log(), 5)
    }

    fn ask(&self, what: &str, first: u16, last: u16) -> Result<String> {
        http_get(self.control, &format!("/{what}?servers={first}-{last}"))
    }
}

/// Ports in a row that nobody listens on; see `ports` for where they are looked for.
fn free_range(count: u16) -> Result<u16> {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (0..64)
        .filter_map(|_| ports::free().ok())
        .find(|first| {
            first.checked_add(count).is_some_and(|end| end < ports::END && (*first..end).all(is_free))
        })
        .with_context(|| format!("no {count} free loopback ports in a row"))
}
