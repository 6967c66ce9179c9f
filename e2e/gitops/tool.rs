//! What trials ask of a GitOps tool.

use crate::env::Environment;
use crate::env::process::{Process, tail};
use anyhow::Result;
use serde_json::Value;
use std::path::Path;

/// Where a tool finds everything.
pub struct Site<'a> {
    pub env: &'a Environment,
    /// A folder of its own.
    pub dir: &'a Path,
    /// The repository to sync.
    pub url: &'a str,
}

/// A tool that syncs `fleet/` of a repository into the hub. It ends when it is dropped.
pub trait Tool: Send + Sync {
    /// The collection on the hub whose objects say how far the tool is; of their names, those that are about the fleet.
    fn verdicts(&self) -> &'static str;

    /// That one of these objects calls its part synced and well, at this commit.
    ///
    /// # Errors
    /// It does not; with what it says.
    fn ensure_green(&self, verdict: &Value, commit: &str) -> Result<()>;

    /// What failed of this commit, as one of these objects says.
    fn failure(&self, verdict: &Value, commit: &str) -> Option<String>;

    /// Asks it to look at the repository now, and to sync what differs.
    ///
    /// # Errors
    /// The hub refuses.
    fn ask(&self, env: &Environment) -> Result<()>;

    /// What `examples/gitops/README.md` tells people to do so that a sync that still waits for deletions lets the next one begin.
    ///
    /// # Errors
    /// The hub refuses.
    fn let_the_next_sync_begin(&self, env: &Environment) -> Result<()>;

    fn processes(&self) -> &[Process];

    /// The ends of its logs, for failures.
    fn log_tail(&self) -> String {
        let each = |p: &Process| format!("{}:\n{}", p.log().display(), tail(p.log(), 4));
        self.processes().iter().map(each).collect::<Vec<_>>().join("\n")
    }
}
