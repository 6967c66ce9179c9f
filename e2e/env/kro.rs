//! The real kro, as a process.

use super::assets;
use super::controller::{http_get, ports_of};
use super::process::{self, Process};
use super::wait::eventually;
use super::{Environment, programs};
use anyhow::{Context, Result};
use std::fs;
use std::time::Duration;

const START: Duration = Duration::from_secs(60);

/// A running kro; it ends when dropped. Never beside kro-hub on the same cluster.
pub struct Kro {
    process: Process,
}

impl Kro {
    /// Installs kro's CRDs where they are missing, starts it, and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be built, or ends, or does not get ready; with the end of its log.
    pub fn start(env: &Environment, cluster: &str, args: &[String]) -> Result<Self> {
        let kro = assets::Kro::ensure()?;
        for crd in &kro.crds {
            // Files are named group_plural.yaml. Those that are there stay as they are: kro-hub has added to them.
            let stem = crd.file_stem().unwrap_or_default().to_string_lossy();
            let (group, plural) =
                stem.split_once('_').context("a CRD's file is not named group_plural.yaml")?;
            let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{group}");
            if env.api(cluster).get(&path)?.is_none() {
                env.kubectl(cluster, &["apply", "--server-side", "-f", &crd.display().to_string()])?;
            }
        }
        env.wait_crds(cluster)?;
        let name = format!("kro-{cluster}");
        let (metrics, health) = ports_of(env, &name)?;
        let command = programs::kro(&kro.controller, env.kubeconfig(cluster), metrics, health, args);
        let process = Process::spawn(command, env.dir(), &name)?;
        let kro = Self { process };
        let ready = eventually(START, "kro ready", || match kro.process.check() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => http_get(health, "/readyz").map(|_| Ok(())),
        });
        ready.with_context(|| format!("the end of its log:\n{}", kro.log_tail(15)))??;
        Ok(kro)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn log_tail(&self, lines: usize) -> String {
        process::tail(self.process.log(), lines)
    }

    /// The whole log.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.process.log())?)
    }

    /// `SIGTERM`, then waits.
    ///
    /// # Errors
    /// It did not end by itself within 30 s.
    pub fn terminate(self) -> Result<()> {
        self.process.terminate(Duration::from_secs(30))
    }
}
