//! `logs`: the log of one program.

use crate::env::process::tail;
use anyhow::{Result, bail};
use std::fs::{self, File};
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

/// Prints the last hundred lines of `dir/name.log`; on a terminal, also what is added from then on.
///
/// # Errors
/// There is no such log; with those there are.
pub fn logs(dir: &Path, name: &str) -> Result<()> {
    let path = dir.join(format!("{name}.log"));
    if !path.is_file() {
        match names(dir, "").join(", ") {
            none if none.is_empty() => bail!("no logs in {}; start with `make up`", dir.display()),
            there => bail!("no log {name}; there are: {there}"),
        }
    }
    let mut file = File::open(&path)?;
    let mut end = file.seek(SeekFrom::End(0))?;
    println!("{}", tail(&path, 100));
    let mut out = std::io::stdout();
    while out.is_terminal() {
        let length = fs::metadata(&path)?.len();
        if length > end {
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            out.write_all(&text)?;
            out.flush()?;
            end += text.len() as u64;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Names of logs in a folder and those one below it.
fn names(dir: &Path, prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && prefix.is_empty() {
            names.extend(self::names(&path, &format!("{stem}/")));
        } else if path.extension().is_some_and(|extension| extension == "log") {
            names.push(format!("{prefix}{stem}"));
        }
    }
    names.sort();
    names
}
