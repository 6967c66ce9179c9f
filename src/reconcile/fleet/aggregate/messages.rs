//! Sentences that name clusters: a few of them, and how many more.

use super::Aggregate;
use super::conditions::Told;
use super::line::{ClusterLine, Standing};
use crate::api::keys::hub;
use crate::api::text;

pub(super) const MAX_NAMED: usize = 5;
/// Bytes of what one of them says: its nodes are all named, and the rest stands on the mirror.
pub(super) const MAX_SAID: usize = 600;

impl Aggregate<'_> {
    /// What so many clusters say of one condition, of which these are the first.
    pub(super) fn name_clusters(&self, bad: &[(&ClusterLine, Told)], of: usize) -> String {
        if self.only_local {
            return bad.first().map(|(_, told)| told.message.to_string()).unwrap_or_default();
        }
        // What several clusters say alike is said once.
        let mut said: Vec<(Vec<&str>, &str)> = Vec::new();
        for (entry, told) in bad {
            match said.iter_mut().find(|(_, message)| *message == &*told.message) {
                Some((names, _)) => names.push(entry.name.as_str()),
                None => said.push((vec![entry.name.as_str()], &told.message)),
            }
        }
        let part = |(names, message): &(Vec<&str>, &str)| {
            format!("{}: {}", names.join(", "), text::cut_nodes(message, MAX_SAID))
        };
        and_more(said.iter().map(part).collect(), of)
    }

    /// What a deletion waits for.
    pub(super) fn deletion_message(&self) -> String {
        const AT_WORK: &str = "deleting resources";
        if self.only_local {
            let own = self.lines.iter().next().map(|e| e.message.clone()).filter(|m| !m.is_empty());
            return own.unwrap_or_else(|| AT_WORK.into());
        }
        let part = |(entry, since): (&ClusterLine, &std::sync::Arc<str>)| {
            let what = if entry.message.is_empty() { AT_WORK } else { &entry.message };
            format!("{} (since {since}): {}", entry.name, text::cut_nodes(what, MAX_SAID))
        };
        let parts = self.lines.dated().take(MAX_NAMED).map(part).collect();
        let is_stuck = self.lines.count(Standing::Unreachable) > 0;
        let help = if is_stuck {
            format!("; to let clusters go without contact: annotate {}=\"name,name\"", hub::RELEASE)
        } else {
            String::new()
        };
        format!("deletion waits for {}{help}", and_more(parts, self.lines.len()))
    }
}

/// Joins what is said of the first few of so many clusters.
fn and_more(mut parts: Vec<String>, of: usize) -> String {
    if of > MAX_NAMED {
        parts.push(format!("and {} more", of - MAX_NAMED));
    }
    parts.join("; ")
}
