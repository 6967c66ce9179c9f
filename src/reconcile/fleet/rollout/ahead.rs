//! What a rollout would make of a change that nobody wrote yet: the clusters as they stand, moved to a version that comes next.

use super::kind::Member;
use super::ruling::Ruling;
use crate::api::names::ClusterName;
use crate::api::rollout::{Rollout, Scope};
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::policy::Effective;
use crate::reconcile::rollout::Rules;
use crate::reconcile::rollout::stages::Place;
use crate::reconcile::rollout::unit::{Condition, Contact, Course, Frame, Pair, Read, Version, course};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

/// What a change finds on one cluster.
#[derive(Clone, Copy, Debug)]
pub struct Stands {
    pub version: Version,
    /// It changes nothing there.
    pub same: bool,
}

/// The course of a version, and who says so.
#[derive(Debug)]
pub struct Ahead<K> {
    pub by: Arc<str>,
    pub version: u64,
    pub course: Course<K>,
}

/// Of several that concern a kind, the one whose rollout moves the revision of all of it: that of the lower name.
pub fn moves_kind(one: &Effective) -> bool {
    let holds = |r: &Rollout| !r.stages.is_empty() || r.revision.is_some();
    one.rollout.as_ref().is_some_and(|r| r.scope == Scope::Kind && holds(r)) && one.name.is_of_cluster()
}

/// Of an instance; `None` where no rollout of these Placements moves it. `written`: what its status says of its rollout.
pub fn of_instance(
    placements: &[Arc<Effective>],
    known: &BTreeMap<ClusterName, ClusterState>,
    members: &BTreeMap<ClusterName, Stands>,
    written: Option<&Value>,
) -> Option<Ahead<ClusterName>> {
    let ruling = Ruling::of(placements, None)?;
    let names: BTreeSet<ClusterName> = members.keys().cloned().collect();
    let mut places = ruling.places(|name| known.get(name), &names);
    let pairs = members.iter().filter_map(|(name, stands)| {
        let place = places.remove(name)?;
        Some((name.clone(), pair(place, *stands)))
    });
    Some(ahead(&ruling.rules, written, pairs.collect()))
}

/// Of the revision of a whole kind. Each member has the labels of its instance.
pub fn of_kind(
    by: &Arc<Effective>,
    known: &BTreeMap<ClusterName, ClusterState>,
    members: &[(Member, BTreeMap<String, String>, Stands)],
    written: Option<&Value>,
) -> Option<Ahead<Member>> {
    let ruling = Ruling::read(by, None)?;
    let pairs = members.iter().map(|(member, labels, stands)| {
        let place = ruling.place(labels, &member.instance, (&member.cluster, known.get(&member.cluster)));
        (member.clone(), pair(place, *stands))
    });
    Some(ahead(&ruling.rules, written, pairs.collect()))
}

fn ahead<K: Ord + Clone + Display>(
    rules: &Arc<Rules>,
    written: Option<&Value>,
    pairs: Vec<(K, Pair)>,
) -> Ahead<K> {
    let number = |field: &str| written.and_then(|written| written.get(field)?.as_u64());
    let version = number("version").unwrap_or_default() + 1;
    let frame = Frame {
        rules: rules.clone(),
        target: version,
        stable: number("stable"),
        goes_back: false,
        approved: BTreeSet::new(),
        astray: Vec::new(),
    };
    Ahead { by: rules.by.clone(), version, course: course(frame, pairs) }
}

/// All are within reach, and well.
fn pair(place: Place, stands: Stands) -> Pair {
    Pair {
        place,
        contact: Contact::Ready(0),
        version: stands.version,
        admitted: 0,
        unjudged: false,
        condition: Condition::Active(0),
        why: None,
        same: stands.same,
        refused: None,
        read: Read::default(),
    }
}
