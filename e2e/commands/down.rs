//! `down`: ends what `up` started.

use crate::env::Environment;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

/// Ends every program of `dir` by the pid and start time that it noted, then removes the folder.
///
/// # Errors
/// The folder is not one that `up` made.
pub fn down(dir: &Path) -> Result<()> {
    if !dir.exists() {
        println!("Nothing runs: {} does not exist.", dir.display());
        return Ok(());
    }
    ensure!(
        dir.join("ports.json").is_file() || dir.join("lock").is_file(),
        "{} was not made by `up`; it is left alone",
        dir.display()
    );
    let _lock = super::up::lock(dir)?;
    let count = Environment::end_all(dir)?;
    fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    println!("Ended {count} programs and removed {}.", dir.display());
    Ok(())
}
