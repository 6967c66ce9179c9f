//! What a controller holds and asks for while nothing happens, from the outside.

use crate::bench::usage::Usage;
use crate::env::controller::Controller;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;

/// At rest.
#[derive(Clone, Debug)]
pub struct Held {
    pub resident_mib: f64,
    /// Open files, sockets among them.
    pub descriptors: f64,
    /// TCP connections.
    pub connections: f64,
    pub tasks: f64,
    pub watches: f64,
    /// A minute, watches aside: those end by themselves at times that differ.
    pub requests: f64,
}

/// What may differ though nothing leaks.
///
/// - Memory: what jemalloc keeps of pages that are partly in use, which depends on what happened last.
/// - Descriptors and connections: one that ends while its successor is open already, and a reader of `/metrics`.
/// - Tasks: those of such connections.
/// - Watches: one that ended and begins again.
/// - Requests: where in their rhythm the probes and the lease are when counting begins.
pub const MARGINS: Held =
    Held { resident_mib: 4.0, descriptors: 2.0, connections: 2.0, tasks: 4.0, watches: 2.0, requests: 4.0 };

impl Held {
    /// So many requests were seen in the last minute.
    pub fn of(controller: &Controller, requests: f64) -> Result<Self> {
        let pid = controller.pid();
        // Whoever reads the metrics is a connection too.
        let (descriptors, connections) = open(pid)?;
        let text = controller.metrics()?;
        Ok(Self {
            resident_mib: Usage::of(&[pid])?.resident_mib,
            descriptors,
            connections,
            tasks: metric(&text, "kro_hub_tasks"),
            watches: metric(&text, "kro_hub_watches"),
            requests,
        })
    }

    fn all(&self) -> [(&'static str, f64); 6] {
        [
            ("MiB", self.resident_mib),
            ("descriptors", self.descriptors),
            ("connections", self.connections),
            ("tasks", self.tasks),
            ("watches", self.watches),
            ("requests a minute", self.requests),
        ]
    }

    /// Equal within the margins; less memory is no leak.
    pub fn is_as(&self, before: &Self) -> Result<()> {
        for ((what, now), ((_, was), (_, margin))) in
            self.all().into_iter().zip(before.all().into_iter().zip(MARGINS.all()))
        {
            let more = now - was;
            ensure!(
                more <= margin && (what == "MiB" || -more <= margin),
                "{what}: {now:.1}, before {was:.1}; it may differ by {margin}. Now {self}; before {before}"
            );
        }
        Ok(())
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.all().map(|(what, value)| format!("{value:.1} {what}")).into();
        f.write_str(&words.join(", "))
    }
}

/// The sum over all clusters.
pub fn metric(text: &str, name: &str) -> f64 {
    let is_it = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    };
    let values = text.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next());
    values.filter_map(|value| value.parse::<f64>().ok()).sum()
}

/// Open files, and how many of them are TCP connections.
fn open(pid: u32) -> Result<(f64, f64)> {
    let mut files = 0_usize;
    let mut sockets = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).context("the controller has ended")? {
        // One that was closed meanwhile has no name.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        files += 1;
        let target = target.to_string_lossy();
        sockets.extend(
            target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')).map(str::to_owned),
        );
    }
    let mut connections = 0_usize;
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        // State and inode are the fourth and tenth word; 0A is a listener.
        connections += text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|words| words.get(3).is_some_and(|state| *state != "0A"))
            .filter(|words| words.get(9).is_some_and(|inode| sockets.contains(*inode)))
            .count();
    }
    Ok((files as f64, connections as f64))
}
