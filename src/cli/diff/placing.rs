//! Where instances go at each revision, as the hub would decide it: what a Placement or an instance loses without an edit of
//! its own words is held there as it would be on the hub.

use super::side::{ANY, Side};
use crate::api::Object;
use crate::api::keys::hub;
use crate::api::names::{ClusterName, InstanceKey};
use crate::reconcile::Moment;
use crate::reconcile::fleet::placement::{
    Around, ClusterView, Decision, DefaultPlacement, Past, Reach, Record, Said, Words, decide, holds,
};
use crate::reconcile::policy::{Effective, MOST_FOR_ONE, Policy, PolicyName, Selects};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A Placement as it was decided.
#[derive(Clone)]
pub struct Decided {
    pub selects: Selects,
    pub of: Arc<Effective>,
    /// The clusters that its guard keeps, and the token that lets them go.
    pub held: Option<(BTreeSet<ClusterName>, String)>,
}

/// The machines of all Placements, from one revision to the next.
#[derive(Default)]
pub struct Policies {
    all: BTreeMap<PolicyName, Policy>,
    /// When it is.
    at: Moment,
}

/// Longer than any pause of a decision.
const LONG: Duration = Duration::from_secs(3600);
/// Longer than any grace.
const VERY_LONG: i64 = 1 << 40;
/// Decisions come to rest before.
const MOST_ROUNDS: usize = 6;

impl Policies {
    /// Decides all of a revision, in the order in which they apply.
    pub fn decide(&mut self, side: &Side) -> Vec<Decided> {
        let name = |object: &Object| PolicyName::new(object.namespace(), object.name());
        let there: BTreeSet<PolicyName> = side.placements.iter().map(name).collect();
        self.all.retain(|name, _| there.contains(name));
        for object in &side.placements {
            match self.all.get_mut(&name(object)) {
                Some(policy) => policy.see(object),
                None => drop(self.all.insert(name(object), Policy::new(object))),
            }
        }
        // What is lost a moment ago is kept for a while, in case more is.
        for _ in 0..2 {
            self.at = self.at.after(LONG);
            for policy in self.all.values_mut() {
                policy.decide(&side.clusters, self.at);
            }
        }
        let decided = |policy: &Policy| {
            let held = policy.held().map(|(kept, token)| (kept.clone(), token.to_owned()));
            Some(Decided { selects: policy.selects()?.clone(), of: policy.effective()?.clone(), held })
        };
        self.all.values().filter_map(decided).collect()
    }
}

/// Those that are about an instance.
pub fn concerning<'d>(decided: &'d [Decided], instance: &Object) -> Vec<&'d Decided> {
    let (key, labels) = (InstanceKey::of(&instance.object_ref()), instance.labels());
    decided.iter().filter(|d| d.selects.matches(&key, &labels)).take(MOST_FOR_ONE).collect()
}

/// What an instance remembers at the later of two revisions.
pub fn since(side: &Side, instance: &Object, before: Option<&Decision>) -> Past {
    let mut past =
        Past { allow_shrink: instance.annotation(hub::ALLOW_SHRINK).map(str::to_owned), ..Past::default() };
    if let Some(before) = before {
        past.record = before.record.clone();
        past.holds.clone_from(&before.spokes);
        // What is registered no more holds nothing: it was let go with its Cluster.
        let is_there = |name: &ClusterName| side.clusters.contains_key(name);
        past.holds.retain(is_there);
        past.record.placed.retain(is_there);
        past.record.held.retain(is_there);
        past.record.gone.retain(is_there);
        past.record.unmatched.retain(|name, _| is_there(name));
    }
    past
}

/// What an instance of a hub remembers, by its own record there.
pub fn on_record(instance: &Object) -> Past {
    Past {
        allow_shrink: instance.annotation(hub::ALLOW_SHRINK).map(str::to_owned),
        holds: holds(instance.annotation(hub::HOLDS)).0,
        record: Record::on(instance),
        ..Past::default()
    }
}

/// Where an instance goes.
pub fn place(side: &Side, instance: &Object, decided: &[Decided], mut past: Past) -> Decision {
    if side.clusters.keys().any(|name| name.as_str() == ANY) {
        return Decision { spokes: side.clusters.keys().cloned().collect(), ..Decision::default() };
    }
    let views: BTreeMap<ClusterName, ClusterView> =
        side.clusters.iter().map(|(name, state)| (name.clone(), state.view.clone())).collect();
    let placements: Vec<Arc<Effective>> =
        concerning(decided, instance).into_iter().map(|d| d.of.clone()).collect();
    let key = InstanceKey::of(&instance.object_ref());
    let words = Words::of(instance);
    let mut decision = Decision::default();
    for round in 0..MOST_ROUNDS {
        let now = i64::try_from(round).unwrap_or(0).saturating_mul(VERY_LONG);
        let said = Said {
            placements: &placements,
            key: &key,
            reach: &|name| if views.contains_key(name) { Reach::Ready } else { Reach::Other },
            is_active: &|_| true,
            trouble: false,
            trouble_at: 0,
            now,
        };
        let concerns = !placements.is_empty() || !past.record.policies.is_empty();
        let around = Around {
            namespace: instance.namespace(),
            clusters: &views,
            default: DefaultPlacement::Local,
            said: concerns.then_some(&said),
        };
        decision = decide(&words, around, &past);
        if decision.record == past.record {
            break;
        }
        past.waited.clone_from(&decision.waiting);
        past.record = decision.record.clone();
        past.holds = &past.holds | &decision.spokes;
    }
    decision
}

/// The clusters that it runs on.
pub fn clusters(decision: &Decision) -> BTreeSet<ClusterName> {
    decision.spokes.iter().chain(&decision.local).cloned().collect()
}
