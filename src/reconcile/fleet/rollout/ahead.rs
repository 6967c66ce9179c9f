//! What a rollout would make of a change that nobody wrote yet: the clusters as they stand, moved to a version that comes next.

use super::content::Content;
use super::kind::{Member, Revision};
use super::ruling::Ruling;
use crate::api::names::ClusterName;
use crate::api::rollout::Rollout;
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::policy::Effective;
use crate::reconcile::rollout::Rules;
use crate::reconcile::rollout::approving::Approved;
use crate::reconcile::rollout::stages::Place;
use crate::reconcile::rollout::unit::{Condition, Contact, Course, Frame, Pair, Read, Version, course};
use crate::reconcile::rollout::versions::{self, Records};
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
    one.rollout.as_ref().is_some_and(Rollout::moves_kind) && one.name.is_of_cluster()
}

/// What the hub knows of a rollout, and the content that comes.
#[derive(Debug)]
pub struct Known<'a, C> {
    pub records: &'a Records<C>,
    pub approvals: &'a BTreeSet<Approved>,
    pub wanted: &'a C,
    /// What its status says.
    pub written: Option<&'a Value>,
}

/// Of an instance; `None` where no rollout of these Placements moves it.
pub fn of_instance(
    placements: &[Arc<Effective>],
    clusters: &BTreeMap<ClusterName, ClusterState>,
    members: &BTreeMap<ClusterName, Stands>,
    known: &Known<'_, Content>,
) -> Option<Ahead<ClusterName>> {
    let ruling = Ruling::of(placements, None)?;
    let names: BTreeSet<ClusterName> = members.keys().cloned().collect();
    let mut places = ruling.places(|name| clusters.get(name), &names);
    let pairs = members.iter().filter_map(|(name, stands)| {
        let place = places.remove(name)?;
        Some((name.clone(), pair(place, *stands)))
    });
    Some(ahead(&ruling.rules, known, pairs.collect()))
}

/// Of the revision of a whole kind. Each member has the labels of its instance.
pub fn of_kind(
    by: &Arc<Effective>,
    clusters: &BTreeMap<ClusterName, ClusterState>,
    members: &[(Member, BTreeMap<String, String>, Stands)],
    known: &Known<'_, Revision>,
) -> Option<Ahead<Member>> {
    let ruling = Ruling::read(by, None)?;
    let pairs = members.iter().map(|(member, labels, stands)| {
        let place = ruling.place(labels, &member.instance, (&member.cluster, clusters.get(&member.cluster)));
        (member.clone(), pair(place, *stands))
    });
    Some(ahead(&ruling.rules, known, pairs.collect()))
}

fn ahead<K: Ord + Clone + Display, C: PartialEq>(
    rules: &Arc<Rules>,
    known: &Known<'_, C>,
    pairs: Vec<(K, Pair)>,
) -> Ahead<K> {
    let number = |field: &str| known.written.and_then(|written| written.get(field)?.as_u64());
    let approved = known.approvals.iter().map(|(number, _)| *number);
    let target = versions::target(known.records, known.wanted, number("version").into_iter(), approved);
    let mut frame =
        Frame::of(rules, target, |content| content == known.wanted, (known.records, known.approvals));
    // What is on record may be hidden from who asks.
    frame.stable = frame.stable.or_else(|| number("stable"));
    Ahead { by: rules.by.clone(), version: frame.target, course: course(frame, pairs) }
}

/// All are within reach, and well.
fn pair(place: Arc<Place>, stands: Stands) -> Pair {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::rollout::stages::{Limit, Stage, Wave};
    use crate::reconcile::rollout::versions::Recorded;

    /// A canary and a stage that somebody has to approve; all clusters are at version 8, which says `two`, and was not yet
    /// completed. 7 was: it says `one`.
    fn told(wanted: &str, approvals: &[(u64, &str)]) -> (u64, Option<u64>, Vec<String>) {
        let stage = |name: &str, approval| Stage {
            name: name.into(),
            max_concurrent: Limit::Number(1),
            order_by: None,
            soak: 60,
            approval,
        };
        let stages = vec![stage("canary", false), stage("prod", true)];
        let rules = Arc::new(Rules::new(stages, Limit::Number(0), 600, false, "Placement shop/web".into()));
        let record = |number: u64, stable: bool, says: &str| {
            (number, Recorded { number, stable, content: Arc::new(says.to_owned()) })
        };
        let records = Records::from([record(7, true, "one"), record(8, false, "two")]);
        let approvals = approvals.iter().map(|(number, stage)| (*number, Arc::from(*stage))).collect();
        let stands = Stands { version: Version::Number(8), same: false };
        let pairs = [("eu", 0), ("us", 1), ("ap", 1)].map(|(name, stage)| {
            (ClusterName::new(name), pair(Arc::new(Place { stage, wave: Wave::Last }), stands))
        });
        let known =
            Known { records: &records, approvals: &approvals, wanted: &wanted.to_owned(), written: None };
        let Ahead { version, course, .. } = ahead(&rules, &known, pairs.to_vec());
        let legs = course.stages.iter().map(|leg| {
            let names: Vec<&str> = leg.members.iter().map(ClusterName::as_str).collect();
            let asked = if leg.approval { ", asked" } else { "" };
            format!("{}: {} {}s{asked}", leg.stage, names.join(" "), leg.soak)
        });
        (version, course.back_to, legs.collect())
    }

    #[test]
    fn new_content_goes_by_stages_and_what_was_stable_comes_back_at_once() {
        let forward = |version| {
            let legs = ["canary: eu 60s", "prod: ap us 60s, asked"].map(str::to_owned).to_vec();
            (version, None, legs)
        };
        assert_eq!(told("three", &[]), forward(9));
        // The number is above all that somebody approved ahead: it is for no version that nobody saw.
        assert_eq!(told("three", &[(11, "prod")]), forward(12));
        let legs = ["canary: eu 0s", "prod: ap us 0s"].map(str::to_owned).to_vec();
        assert_eq!(told("one", &[]), (9, Some(7), legs));
    }
}
