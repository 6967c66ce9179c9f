//! Why an approval counts for nothing: it names a stage that there is not, or a version that there never was.

use super::stages::{REST, Rules};
use crate::api::Object;
use crate::api::names::{GroupKind, InstanceKey};
use crate::api::rollout_approval::RolloutApproval;
use std::sync::Arc;

/// What a RolloutApproval approves of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approves<'a> {
    pub version: u64,
    pub stage: &'a str,
}

/// The version and the stage that somebody approved.
pub type Approved = (u64, Arc<str>);

/// The instance that a RolloutApproval is about, and what it approves.
pub fn read_of_instance(object: &Object) -> Option<(InstanceKey, Approved)> {
    let approval: RolloutApproval = serde_json::from_value(object.0.clone()).ok()?;
    let spec = approval.spec;
    let instance = spec.instance?;
    let gk = GroupKind::new(&instance.group, &instance.kind);
    let key = InstanceKey::new(gk, object.namespace(), &instance.name);
    Some((key, (u64::try_from(spec.version).ok()?, spec.stage.as_str().into())))
}

/// The name of the ClusterPlacement that a RolloutApproval is about, and what it approves.
pub fn read_of_kind(object: &Object) -> Option<(String, Approved)> {
    let approval: RolloutApproval = serde_json::from_value(object.0.clone()).ok()?;
    let spec = approval.spec;
    Some((spec.cluster_placement?, (u64::try_from(spec.version).ok()?, spec.stage.as_str().into())))
}

impl Approves<'_> {
    /// Why it counts for nothing in a rollout of these stages. `newest`: its newest version, where that is known. One of an
    /// older version counted, and is over.
    pub fn refused<'s>(self, stages: impl Iterator<Item = &'s str>, newest: Option<u64>) -> Option<String> {
        let mut names: Vec<&str> = stages.collect();
        if !names.contains(&REST) {
            names.push(REST);
        }
        if !names.contains(&self.stage) {
            return Some(format!("there is no stage {}; there are {}", self.stage, names.join(", ")));
        }
        let newest = newest.filter(|newest| self.version > *newest)?;
        Some(format!(
            "there is no version {}: the newest is {newest}, and the next gets a number above all that approvals name",
            self.version
        ))
    }

    /// The same by the rules of a rollout that is in effect.
    pub fn refused_by(self, rules: &Rules, newest: u64) -> Option<String> {
        self.refused(rules.stages().iter().map(|stage| &*stage.name), Some(newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_and_a_version_have_to_be_there() {
        let there = || ["canary", "prod"].into_iter();
        let refused = |version, stage, newest| Approves { version, stage }.refused(there(), newest);
        for (version, stage, newest, want) in [
            (8, "prod", Some(8), None),
            (7, "prod", Some(8), None),
            (8, "rest", Some(8), None),
            (9, "prod", None, None),
            (8, "prdo", Some(8), Some("there is no stage prdo; there are canary, prod, rest")),
            (
                9,
                "prod",
                Some(8),
                Some(
                    "there is no version 9: the newest is 8, and the next gets a number above all that approvals name",
                ),
            ),
        ] {
            assert_eq!(refused(version, stage, newest).as_deref(), want, "{version} {stage}");
        }
    }
}
