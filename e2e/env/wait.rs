//! Waiting for the world to become as expected, with the last thing seen in the failure.

use anyhow::{Result, anyhow};
use std::time::{Duration, Instant};

/// Calls `probe` until it succeeds. Its error is what was observed; the last one stands in the failure.
///
/// # Errors
/// `what` did not come true in time.
pub fn eventually<T>(timeout: Duration, what: &str, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(seen) if start.elapsed() >= timeout => {
                return Err(anyhow!("{what}: not within {} s; last seen: {seen:#}", timeout.as_secs_f32()));
            }
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// Calls `probe` for the whole time: it must succeed each time.
///
/// # Errors
/// `what` stopped being true; with when, and what was seen instead.
pub fn throughout(time: Duration, what: &str, mut probe: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        if let Err(seen) = probe() {
            let after = start.elapsed().as_secs_f32();
            return Err(anyhow!("{what}: no longer so after {after:.1} s; seen: {seen:#}"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
