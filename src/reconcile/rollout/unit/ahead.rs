//! What comes of a unit whose members all do well from now on: who is moved when, and what somebody has to say before.

use super::{Admission, Condition, Frame, Pair, Read, Reason, Unit, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

/// The way of a version through all stages.
#[derive(Clone, Debug, PartialEq)]
pub struct Course<K> {
    /// Those that something is moved in, in their order.
    pub stages: Vec<Leg<K>>,
    /// Nothing is moved as long as it is so.
    pub paused: bool,
    /// So many may fail.
    pub failures: usize,
    /// The stable version, where it is that one again: no stage waits for another, nor any cluster to be well.
    pub back_to: Option<u64>,
}

/// One stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Leg<K> {
    pub stage: Arc<str>,
    /// In the order of their turns.
    pub members: Vec<K>,
    pub at_once: usize,
    /// Seconds that each has to be well.
    pub soak: u64,
    /// Somebody has to approve it first.
    pub approval: bool,
}

/// Later than any soak.
const LATE: u64 = 1 << 40;

/// Moves the members as production does, each of them well at once, and approves where that is all that is missing.
pub fn course<K: Ord + Clone + Display>(mut frame: Frame, pairs: Vec<(K, Pair)>) -> Course<K> {
    let paused = frame.rules.paused;
    Arc::make_mut(&mut frame.rules).paused = false;
    let mut asked: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut unit = filled(frame, pairs);
    let mut moved: BTreeMap<usize, Vec<K>> = BTreeMap::new();
    loop {
        let turns = unit.admit(true);
        if turns.is_empty() {
            let progress = unit.progress();
            let stage = progress.stage.filter(|_| progress.reason == Reason::AwaitingApproval);
            let Some(stage) = stage.filter(|stage| asked.insert(stage.clone())) else { break };
            let mut frame = unit.frame.clone();
            frame.approved.insert(stage);
            let pairs = unit.pairs().map(|(key, pair)| (key.clone(), pair.clone())).collect();
            unit = filled(frame, pairs);
        }
        for Admission { cluster, .. } in turns {
            let Some(pair) = unit.pair(&cluster) else { continue };
            moved.entry(unit.stage_of(&pair)).or_default().push(cluster.clone());
            let version = Version::Number(unit.frame.target);
            let condition = Condition::Active(0);
            unit.put(&cluster, Pair { version, condition, read: Read::default(), ..pair }, LATE);
        }
    }
    let back_to = unit.frame.stable.filter(|_| unit.frame.goes_back);
    let legs = moved.into_iter().map(|(index, members)| {
        let stage = unit.frame.rules.stage(index);
        Leg {
            stage: stage.name.clone(),
            members,
            at_once: unit.slots_of(index),
            soak: if back_to.is_some() { 0 } else { stage.soak },
            approval: asked.contains(&stage.name),
        }
    });
    Course { stages: legs.collect(), paused, failures: unit.failure_budget(), back_to }
}

fn filled<K: Ord + Clone + Display>(frame: Frame, pairs: Vec<(K, Pair)>) -> Unit<K> {
    let mut unit = Unit::new(frame);
    for (key, pair) in pairs {
        unit.put(&key, pair, LATE);
    }
    unit
}
