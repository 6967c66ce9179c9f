//! What a process has used, from `/proc`.

use anyhow::{Context, Result};
use std::fs;

/// Of one process, or of several together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub peak_mib: f64,
    /// VmRSS.
    pub resident_mib: f64,
}

impl Usage {
    /// # Errors
    /// A process has ended, or this system has no `/proc`.
    pub fn of(pids: &[u32]) -> Result<Self> {
        let mut sum = Self::default();
        for pid in pids {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
                .with_context(|| format!("process {pid} has ended"))?;
            // The name, in parentheses, may hold anything; user and system time are the twelfth and next after it.
            let fields: Vec<&str> =
                stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
            let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default();
            // Linux counts hundredths of a second for programs, whatever its own clock does.
            sum.cpu_seconds += (ticks(11) + ticks(12)) / 100.0;
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let mib = |field: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(field));
                let kib = line.and_then(|p| p.split_whitespace().next()?.parse::<f64>().ok());
                kib.unwrap_or_default() / 1024.0
            };
            sum.peak_mib += mib("VmHWM:");
            sum.resident_mib += mib("VmRSS:");
        }
        Ok(sum)
    }
}
