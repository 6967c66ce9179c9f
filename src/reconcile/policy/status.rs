//! What the status of a Placement says.

use super::machine::Policy;
use super::{MOST_FOR_ONE, OutOfReach, PolicyName, Rollouts, Selects};
use crate::api::Object;
use crate::api::condition::{ConditionStatus, Conditions};
use crate::api::keys::hub;
use crate::api::names::{ClusterName, GroupKind, InstanceKey};
use crate::api::placement::{PlacementStatus, conditions};
use crate::reconcile::Now;
use ConditionStatus::{False, True};
use serde_json::Value;
use std::collections::BTreeMap;

/// What was found of its instances.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Count {
    /// A definition makes the kind.
    pub is_served: bool,
    pub instances: usize,
    /// Some instance was not looked at since the Placement is as it is.
    pub waits: bool,
    /// Instances that more than [`MOST_FOR_ONE`] select, this one too late.
    pub too_many: Vec<InstanceKey>,
    /// Instances whose rollout is that of another one.
    pub outranked: BTreeMap<PolicyName, Vec<InstanceKey>>,
    /// Instances that go to fewer clusters than `max`: to how many, and why no more.
    pub short: Vec<(InstanceKey, usize, String)>,
    /// What its overrides came to: status, reason, message.
    pub overrides: Option<(ConditionStatus, String, String)>,
    /// What the rollouts of its instances came to.
    pub rollouts: Rollouts,
}

type Told = (ConditionStatus, &'static str, String);

impl Policy {
    /// The status to write; `None` when that stands there already.
    pub fn status(&self, count: &Count, now: &Now) -> Option<PlacementStatus> {
        let mut list = Conditions::new(self.written.conditions.clone(), self.generation, &now.rfc3339);
        let mut set = |type_: &str, told: Option<&(ConditionStatus, String, String)>| match told {
            Some((status, reason, message)) => list.set(type_, *status, reason, message),
            None => list.remove(type_),
        };
        set(conditions::OVERRIDES_VALID, count.overrides.as_ref());
        set(conditions::ROLLED_OUT, count.rollouts.condition().as_ref());
        set(conditions::ROLLOUT_IN_EFFECT, self.outranked(count).as_ref());
        let (status, reason, message) = self.ready(count);
        list.set(conditions::READY, status, reason, &message);
        let status = PlacementStatus {
            instances: i64::try_from(count.instances).unwrap_or(i64::MAX),
            clusters: i64::try_from(self.taken).unwrap_or(i64::MAX),
            decided: self.decided.clone(),
            rollout: count.rollouts.counts(),
            observed_generation: self.generation,
            conditions: list.into_list(),
        };
        (status != self.written).then_some(status)
    }

    /// Whether its status tells of an earlier generation.
    pub fn is_news(&self) -> bool {
        self.written.observed_generation != self.generation
    }

    /// The finalizers that it is to have, where these are others than it has: while it holds clusters back, its end would
    /// let all of them move at once.
    pub fn finalizers(&self, object: &Object, count: &Count) -> Option<Vec<String>> {
        let has = object.has_finalizer(hub::FINALIZER);
        let wants = count.rollouts.holds().is_some();
        // None may be added to what is going.
        if has == wants || (wants && self.deleting) {
            return None;
        }
        let known = object.0.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
        let known = known.filter_map(Value::as_str).filter(|name| *name != hub::FINALIZER);
        Some(known.chain(wants.then_some(hub::FINALIZER)).map(str::to_owned).collect())
    }

    fn ready(&self, count: &Count) -> Told {
        let gk = self.spec.instances.group_kind();
        if let Some(waits) = count.rollouts.holds().filter(|_| self.deleting) {
            return (False, "DeletionWaits", waits);
        }
        if let Some(why) = &self.invalid {
            return (False, "InvalidPlacement", format!("{why}; what was decided before stands"));
        }
        if !count.is_served {
            return (
                False,
                "InvalidPlacement",
                format!("spec.instances: no ResourceGraphDefinition makes {gk}"),
            );
        }
        if let Some(held) = &self.held {
            return (False, "ShrinkHeld", held.message(self.spec.clusters.is_some()));
        }
        if let Some(first) = count.too_many.first() {
            let message = format!(
                "{} is selected by more than {MOST_FOR_ONE} Placements and ClusterPlacements, and this one comes later{}",
                first.short(),
                more(count.too_many.len())
            );
            return (False, "TooManyPlacements", message);
        }
        if let (Some(OutOfReach { lost, all, .. }), true) = (self.trouble, self.fails_over()) {
            let message =
                format!("{lost} of {all} clusters are unreachable: this looks like the hub's own network");
            return (False, "FailoverHeld", message);
        }
        let (clusters, failed) = (self.taken, self.failures());
        if self.spec.clusters.is_some() && clusters == 0 {
            return (False, "NoClusters", format!("{}{failed}", self.none()));
        }
        if let Some((first, have, why)) = count.short.first() {
            let max = self.spec.clusters.as_ref().and_then(|c| c.max).unwrap_or_default();
            let others = match count.short.len() {
                1 => String::new(),
                n => format!(" and {} more instances", n - 1),
            };
            return (
                False,
                "TooFewClusters",
                format!("{have} of {max} clusters for {}{others}: {why}{failed}", first.short()),
            );
        }
        if count.instances == 0 {
            return (True, "NoInstances", Selects::describe(&self.spec.instances, &self.name));
        }
        let instances = counted(count.instances, "instance");
        let message = match self.spec.clusters {
            Some(_) if clusters == 1 => format!("1 cluster matches, {instances}{failed}"),
            Some(_) => format!("{clusters} clusters match, {instances}{failed}"),
            None => format!("it places nothing; what else it says is for {instances}"),
        };
        (True, "Placed", message)
    }

    fn fails_over(&self) -> bool {
        self.spec.clusters.as_ref().is_some_and(|c| c.failover.is_some())
    }

    fn none(&self) -> String {
        let refused = &self.matching.refused;
        if refused.is_empty() {
            return "no registered cluster matches".into();
        }
        let shown = refused.iter().take(5).map(|(name, why)| format!("{name} ({why})"));
        let list = shown.collect::<Vec<_>>().join(", ");
        let rest = refused.len().saturating_sub(5);
        let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        let (verb, count) = if refused.len() == 1 { ("matches", 1) } else { ("match", refused.len()) };
        format!("{count} {verb} and cannot be taken: {list}{rest}")
    }

    fn failures(&self) -> String {
        let failed: &BTreeMap<ClusterName, String> = &self.matching.failed;
        let Some((name, why)) = failed.first_key_value() else { return String::new() };
        format!("; the expression failed on {}: {name}: {why}", counted(failed.len(), "cluster"))
    }

    fn outranked(&self, count: &Count) -> Option<(ConditionStatus, String, String)> {
        self.spec.rollout.as_ref()?;
        let Some((by, instances)) = count.outranked.first_key_value() else {
            return Some((True, "InEffect".into(), String::new()));
        };
        let all: usize = count.outranked.values().map(Vec::len).sum();
        let names = instances.iter().take(5).map(InstanceKey::short).collect::<Vec<_>>().join(", ");
        let rest = if all > instances.len().min(5) { ", ..." } else { "" };
        let message = format!("{by} outranks it for {}: {names}{rest}", counted(all, "instance"));
        Some((False, "Outranked".into(), message))
    }

    /// The kind whose instances it is about.
    pub fn group_kind(&self) -> GroupKind {
        self.spec.instances.group_kind()
    }
}

fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn more(n: usize) -> String {
    if n > 1 { format!("; so it is for {} more", counted(n - 1, "instance")) } else { String::new() }
}
