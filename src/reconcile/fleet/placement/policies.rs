//! What Placements choose for one instance. Each chooses by itself, by its own tolerations and its own limit; what they
//! choose adds up.

use super::ground::{Ground, Names};
use super::rank::{self, Field};
use super::record::LOCAL;
use super::refusals::{self, Refused};
use super::unmatched::Then;
use crate::api::amounts::Span;
use crate::api::names::{ClusterName, InstanceKey};
use crate::reconcile::policy::{Chosen, Effective, Limit, PolicyName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whether a cluster can be talked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    Ready,
    /// There is no contact, since then in seconds of Unix.
    Lost(i64),
    /// Anything else, which says nothing of what runs there.
    #[default]
    Other,
}

/// What Placements say, and what they go by besides the clusters.
pub struct Said<'a> {
    /// Those that concern the instance.
    pub placements: &'a [Arc<Effective>],
    pub key: &'a InstanceKey,
    pub reach: &'a dyn Fn(&ClusterName) -> Reach,
    /// Whether the instance is ACTIVE there.
    pub is_active: &'a dyn Fn(&ClusterName) -> bool,
    /// So many clusters are out of reach that none of them is replaced.
    pub trouble: bool,
    /// When that was so last, in seconds of Unix. A network that comes back gives one cluster back after the other.
    pub trouble_at: i64,
    /// Seconds of Unix.
    pub now: i64,
}

impl Said<'_> {
    pub fn placing(&self) -> impl Iterator<Item = (&Arc<Effective>, &Chosen)> {
        self.placements.iter().filter_map(|p| p.clusters.as_ref().map(|chosen| (p, chosen)))
    }
}

/// One goes to fewer clusters than its limit allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Short {
    pub policy: PolicyName,
    pub have: usize,
    /// Why no more.
    pub why: String,
}

/// What all of them choose together.
#[derive(Default)]
pub(super) struct Taken {
    pub free: Names,
    pub refused: BTreeMap<ClusterName, Refused>,
    /// What each of them asks for, by its name in the record, whether it may be taken or not.
    pub asked: BTreeMap<String, Names>,
    pub short: Vec<Short>,
    /// What each with a limit chooses.
    pub limited: BTreeMap<PolicyName, Names>,
    /// Clusters out of reach, and what replaces each.
    pub replaced: BTreeMap<ClusterName, ClusterName>,
    /// When a cluster is to be replaced.
    pub wake: Option<i64>,
    /// One has a failover.
    pub fails_over: bool,
}

/// Where the instance is by whatever word, as clusters are called. What was replaced counts no more.
pub(super) fn there(ground: &Ground) -> Names {
    let record = &ground.past.record;
    let mut names = &(&record.placed | &record.held) | &record.restored;
    for (name, unmatched) in &record.unmatched {
        match unmatched.then {
            Then::Replaced { .. } => drop(names.remove(name)),
            Then::Delete | Then::Orphan => drop(names.insert(name.clone())),
        }
    }
    if record.local {
        names.insert(ClusterName::new(LOCAL));
    }
    names.iter().map(|name| ground.meant(name)).collect()
}

/// What cannot be read of Placements, whether they place something or not.
pub(super) fn unreadable(said: &Said) -> Vec<String> {
    let problem = |policy: &Arc<Effective>| {
        let why = policy.invalid.as_ref()?;
        Some(format!("{}: {why}; what was decided before stands", policy.name))
    };
    said.placements.iter().filter_map(problem).collect()
}

pub(super) fn take(ground: &Ground) -> Taken {
    let mut all = Taken::default();
    let Some(said) = ground.said else { return all };
    let there = there(ground);
    for (policy, chosen) in said.placing() {
        let stays = &(&chosen.unsure | &chosen.standing) & &there;
        let asked = &(&chosen.names | &chosen.refused) | &stays;
        let asking =
            refusals::Asking { named: &chosen.named, tolerations: &chosen.tolerations, kept: &chosen.kept };
        let (free, refused) = refusals::sort(asked.clone(), ground, &asking);
        all.asked.insert(policy.name.recorded(), asked);
        match &chosen.limit {
            None => {
                all.free.extend(free);
                refusals::add(&mut all.refused, refused);
            }
            Some(limit) => all.limited(&Scene { ground, said, policy, chosen, limit }, free, &there, refused),
        }
    }
    all
}

/// One Placement with a limit.
struct Scene<'a> {
    ground: &'a Ground<'a>,
    said: &'a Said<'a>,
    policy: &'a Effective,
    chosen: &'a Chosen,
    limit: &'a Limit,
}

impl Taken {
    fn limited(
        &mut self,
        scene: &Scene,
        free: Names,
        there: &Names,
        refused: BTreeMap<ClusterName, Refused>,
    ) {
        let Scene { ground, said, policy, chosen, limit } = scene;
        let free = &free - &ground.past.released;
        let field =
            Field { key: said.key, clusters: ground.clusters, limit, tolerations: &chosen.tolerations };
        let (mut taken, others): (Names, Names) = free.into_iter().partition(|n| there.contains(n));
        if taken.len() > limit.max {
            taken = rank::best(&field, taken, limit.max, &Names::new());
        }
        let is_ready = |name: &&ClusterName| (said.reach)(name) == Reach::Ready;
        let ready: Names = others.iter().filter(is_ready).cloned().collect();
        if taken.len() < limit.max {
            let more = rank::best(&field, ready.clone(), limit.max - taken.len(), &taken);
            taken.extend(more);
        }
        if let Some(after) = limit.failover {
            self.fails_over = true;
            self.fail_over(scene, after, &mut taken, &ready);
        }
        if taken.len() < limit.max {
            let unready: Vec<&str> =
                others.iter().filter(|n| !is_ready(n)).map(ClusterName::as_str).collect();
            let refusals: Vec<String> =
                refused.iter().map(|(n, r)| format!("{n} ({})", r.why.as_str())).collect();
            let why = if !unready.is_empty() {
                let are = if unready.len() == 1 { "is" } else { "are" };
                format!("{} {are} not ready", crate::api::text::few(&unready, 5))
            } else if refusals.is_empty() {
                "no other cluster matches".to_owned()
            } else {
                let list: Vec<&str> = refusals.iter().map(String::as_str).collect();
                format!("{} cannot be taken", crate::api::text::few(&list, 5))
            };
            self.short.push(Short { policy: policy.name.clone(), have: taken.len(), why });
            refusals::add(&mut self.refused, refused);
        }
        self.limited.insert(policy.name.clone(), taken.clone());
        self.free.extend(taken);
    }

    /// Replaces a cluster that is long out of reach: one at a time, the next once the instance is ACTIVE on the last.
    fn fail_over(&mut self, scene: &Scene, after: Span, taken: &mut Names, ready: &Names) {
        let Scene { ground, said, chosen, limit, .. } = scene;
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        let due = |name: &ClusterName| match (said.reach)(name) {
            Reach::Lost(since) => Some(since.max(said.trouble_at).saturating_add(after)),
            Reach::Ready | Reach::Other => None,
        };
        let lost: Vec<(i64, ClusterName)> =
            taken.iter().filter_map(|name| due(name).map(|at| (at, name.clone()))).collect();
        // While so many are out of reach, whoever comes back wakes it.
        let later = lost.iter().map(|(at, _)| *at).filter(|at| *at > said.now && !said.trouble).min();
        self.wake = self.wake.into_iter().chain(later).min();
        let waits = ground.past.record.unmatched.values().any(|unmatched| match &unmatched.then {
            Then::Replaced { by, .. } => !(said.is_active)(by),
            Then::Delete | Then::Orphan => false,
        });
        let first = lost.into_iter().filter(|(at, _)| *at <= said.now).min();
        let Some((_, name)) = first.filter(|_| !said.trouble && !waits && self.replaced.is_empty()) else {
            return;
        };
        taken.remove(&name);
        let field =
            Field { key: said.key, clusters: ground.clusters, limit, tolerations: &chosen.tolerations };
        let free = ready - taken;
        match rank::best(&field, free, 1, taken).pop_first() {
            Some(by) => {
                taken.insert(by.clone());
                self.replaced.insert(name, by);
            }
            None => drop(taken.insert(name)),
        }
    }
}
