//! `kro-hub webhook` as a process.

use super::controller::{binary, http_get};
use super::ports;
use super::process::{self, Process};
use super::wait::eventually;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const START: Duration = Duration::from_secs(60);

/// A running webhook; it ends when dropped.
pub struct Webhook {
    process: Process,
    port: u16,
}

impl Webhook {
    /// Where the webhook of this name is reached.
    ///
    /// # Errors
    /// There is no port for it.
    pub fn url(dir: &Path, name: &str) -> Result<String> {
        Ok(format!("https://127.0.0.1:{}", ports::kept(&dir.join("ports.json"), name)?))
    }

    /// Starts it; `args` beside its addresses.
    ///
    /// # Errors
    /// The binary is not built, or there is no port.
    pub fn spawn(dir: &Path, name: &str, kubeconfig: &Path, args: &[String]) -> Result<Self> {
        let file = dir.join("ports.json");
        let (port, health) = (ports::kept(&file, name)?, ports::kept(&file, &format!("{name}-health"))?);
        let mut command = Command::new(binary()?);
        // Its flags can be set by the environment; those of whoever runs this must not leak in.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("KRO_HUB_")) {
            command.env_remove(key);
        }
        command.arg("webhook").arg("--kubeconfig").arg(kubeconfig).args(args);
        command.args(["--bind-address", &format!("127.0.0.1:{port}")]);
        command.args(["--health-probe-bind-address", &format!("127.0.0.1:{health}")]);
        Ok(Self { process: Process::spawn(command, dir, name)?, port: health })
    }

    /// Waits until it serves and API servers are told so.
    ///
    /// # Errors
    /// It ended, or is not ready in time; with the end of its log.
    pub fn wait_ready(&self) -> Result<()> {
        let ready = eventually(START, "webhook ready", || match self.process.check() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => http_get(self.port, "/readyz").map(|_| Ok(())),
        });
        ready.with_context(|| format!("its log ends with:\n{}", self.log_tail(15)))?
    }

    pub fn log_tail(&self, lines: usize) -> String {
        process::tail(self.process.log(), lines)
    }

    /// `SIGTERM`, then waits.
    ///
    /// # Errors
    /// It did not end by itself.
    pub fn terminate(self) -> Result<()> {
        self.process.terminate(Duration::from_secs(30))
    }
}
