//! Loopback ports that stay free until their server binds them, and while it is down in between.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Below the range that systems take outgoing ports from: a stopped server's port is not lost to a client.
const FIRST: u16 = 18_000;
const COUNT: u16 = 14_000;
/// The first port beyond.
pub const END: u16 = FIRST + COUNT;

static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nobody listens on, given out once in this process.
///
/// # Errors
/// None is free.
pub fn free() -> Result<u16> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Runs at the same time start their search at different places.
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let seed = clock.wrapping_add(std::process::id().wrapping_mul(7919));
    let offset = u16::try_from(seed % u32::from(COUNT)).unwrap_or_default();
    (0..COUNT)
        .map(|step| FIRST + (offset + step) % COUNT)
        .find(|port| !taken.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .inspect(|port| _ = taken.insert(*port))
        .context("no free loopback port")
}

/// The port kept under `name` in `file`, chosen at the first call.
///
/// # Errors
/// The file cannot be read or written.
pub fn kept(file: &Path, name: &str) -> Result<u16> {
    static FILE: Mutex<()> = Mutex::new(());
    let _guard = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut ports: BTreeMap<String, u16> = match fs::read(file) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).with_context(|| format!("cannot read {}", file.display()))?
        }
        Err(_) => BTreeMap::new(),
    };
    if let Some(port) = ports.get(name) {
        return Ok(*port);
    }
    let port = free()?;
    ports.insert(name.to_owned(), port);
    fs::write(file, serde_json::to_vec_pretty(&ports)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(port)
}
