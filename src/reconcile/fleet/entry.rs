//! What an earlier life wrote of a cluster in the status, or in a report beside it.

use super::Fleet;
use crate::api::Object;
use crate::api::names::ClusterName;
use crate::reconcile::rollout::marks;
use serde_json::Value;

pub struct Entry<'s>(&'s Value);

impl<'s> Entry<'s> {
    /// `reported`: what a report beside the status says.
    pub fn of(status: Option<&'s Value>, reported: Option<&'s Value>, name: &ClusterName) -> Option<Self> {
        let list = status.and_then(|status| status.pointer("/fleet/clusters")?.as_array());
        let is_its = |entry: &&Value| entry.get("name").and_then(Value::as_str) == Some(name.as_str());
        list.and_then(|list| list.iter().find(is_its)).or(reported).map(Self)
    }
    pub fn number(&self, field: &str) -> Option<u64> {
        self.0.get(field)?.as_u64()
    }
    pub fn text(&self, field: &str) -> Option<&'s str> {
        self.0.get(field)?.as_str()
    }
    /// Since when it was ACTIVE.
    pub fn well_since(&self) -> Option<u64> {
        marks::time(self.text("since")?).filter(|_| self.text("state") == Some("ACTIVE"))
    }
    /// Since when it was under way, or in error.
    pub fn unwell_since(&self) -> Option<u64> {
        let is_unwell = matches!(self.text("state"), Some("IN_PROGRESS" | "ERROR"));
        marks::time(self.text("since")?).filter(|_| is_unwell)
    }
}

/// How an instance was on a cluster, when the status was written last.
#[derive(Clone, Debug, Default)]
pub struct Was {
    /// Hash of the graph that it ran by.
    pub graph: String,
    /// Since when it was ACTIVE.
    pub well_since: Option<u64>,
    /// Since when it was under way, or in error.
    pub unwell_since: Option<u64>,
}

impl Fleet {
    /// As the status said it; nothing of where no revision ran.
    pub fn was(&self, instance: &Object, name: &ClusterName) -> Option<Was> {
        let entry = Entry::of(instance.0.get("status"), self.reports.entry(name), name)?;
        let graph = entry.text("revision").filter(|hash| !hash.is_empty())?.to_owned();
        Some(Was { graph, well_since: entry.well_since(), unwell_since: entry.unwell_since() })
    }
}
