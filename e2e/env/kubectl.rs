//! kubectl, as a user would call it.

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What it printed, and what it said aside: warnings.
pub struct Said {
    pub out: String,
    pub aside: String,
}

/// Runs kubectl.
///
/// # Errors
/// It failed; with what it said.
pub fn run(kubectl: &Path, kubeconfig: &Path, args: &[&str], input: Option<&str>) -> Result<Said> {
    // Its cache stands beside the kubeconfig: one in HOME would outlive the cluster and describe another.
    let cache = kubeconfig.with_extension("kubectl-cache");
    let mut child = Command::new(kubectl)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .arg("--cache-dir")
        .arg(cache)
        .arg("--request-timeout=60s")
        .args(args)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", kubectl.display()))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).context("kubectl does not read its input")?;
    }
    let output = child.wait_with_output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = Said { out: text(&output.stdout), aside: text(&output.stderr) };
    if !output.status.success() {
        bail!("kubectl {}: {}", args.join(" "), said.aside.trim());
    }
    Ok(said)
}
