//! One unit: how far each cluster is, which ones may be moved now, and what is to be said of it.
//!
//! How far a cluster is follows from what is known of it and from the time alone. What is kept besides are counts and one
//! ordered set a stage, so that news of one cluster costs nothing of the others.

mod ahead;
mod judging;
mod kept;
#[cfg(test)]
mod model;
mod saying;
#[cfg(test)]
mod tests;
mod told;

pub use ahead::{Course, Leg, course};
pub use judging::State;
pub use saying::{Progress, Reason};
pub use told::{News, Told, WrittenState};

use super::Mark;
use super::approving::Approves;
use super::stages::{Place, Rules};
use super::versions::{self, Records, Target};
use crate::api::names::ClusterName;
use kept::Kept;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

/// Whether a cluster can be talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// Since that time, in seconds.
    Ready(u64),
    /// Nobody knows yet what is there.
    Connecting,
    Lost,
}

/// What a cluster runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Nothing of the instance.
    Nothing,
    /// Something that says no version.
    Unmarked,
    /// That one: it stands there, or was sent.
    Number(u64),
}

/// How it does there.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Well, since that time in seconds.
    Active(u64),
    /// On the way, or nobody said yet.
    Moving,
    Error,
}

/// How what was read of the cluster, its labels and properties, stands to what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// The cluster is otherwise by now.
    pub stale: bool,
    /// When it was read, in seconds, where that was after the version came.
    pub since: Option<u64>,
    /// The instance was not well there then.
    pub unjudged: bool,
}

/// What is known of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub place: Arc<Place>,
    pub contact: Contact,
    pub version: Version,
    /// When its version was sent there, in seconds.
    pub admitted: u64,
    /// It was not well when the turn of its version came: nobody can say what the version did to it.
    pub unjudged: bool,
    pub condition: Condition,
    /// What it says of itself.
    pub why: Option<Arc<str>>,
    /// The target would change nothing there.
    pub same: bool,
    /// Why the target cannot be there at all.
    pub refused: Option<Arc<str>>,
    pub read: Read,
}

/// What a unit goes by.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub rules: Arc<Rules>,
    pub target: u64,
    pub stable: Option<u64>,
    /// The target is what is stable, or changes nothing of it: clusters go back to it, or come late.
    pub goes_back: bool,
    /// Stages that somebody approved for the target, by name.
    pub approved: BTreeSet<Arc<str>>,
    /// Why approvals count for nothing, of each that somebody may take for one of the target.
    pub astray: Vec<String>,
}

impl Frame {
    /// What follows from what is on record: versions, and approvals by version and stage. `is_wanted`: whether a cluster that
    /// completed a version of this content has all that is wanted.
    pub fn of<C>(
        rules: &Arc<Rules>,
        target: Target,
        is_wanted: impl Fn(&C) -> bool,
        (versions, approvals): (&Records<C>, &BTreeSet<(u64, Arc<str>)>),
    ) -> Self {
        let stable = versions::stable(versions);
        let of_target = approvals.iter().filter(|(number, _)| *number == target.number());
        Self {
            rules: rules.clone(),
            target: target.number(),
            stable: stable.map(|version| version.number),
            goes_back: stable.is_some_and(|version| is_wanted(&version.content)),
            approved: of_target.map(|(_, stage)| stage.clone()).collect(),
            astray: astray(rules, target.number(), approvals),
        }
    }

    /// Every cluster that was there completed the target once.
    fn is_settled(&self) -> bool {
        self.stable == Some(self.target)
    }
}

/// Why approvals of the target, or of what is newer, count for nothing.
fn astray(rules: &Rules, target: u64, approvals: &BTreeSet<(u64, Arc<str>)>) -> Vec<String> {
    let recent = approvals.iter().filter(|(version, _)| *version >= target);
    let why = |(version, stage): &(u64, Arc<str>)| {
        let why = Approves { version: *version, stage }.refused_by(rules, target)?;
        Some(format!("the one for version {version}, stage {stage} counts for nothing: {why}"))
    };
    recent.filter_map(why).collect()
}

/// A cluster whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission<K = ClusterName> {
    pub cluster: K,
    pub unjudged: bool,
}

/// When its turn is, within its stage.
type Turn<K> = (u8, Arc<Place>, K);

#[derive(Clone, Debug, PartialEq)]
struct Tally<K> {
    total: usize,
    deferred: usize,
    held: usize,
    in_flight: usize,
    done: usize,
    /// Clusters that something is under way to.
    slots: usize,
    failed: usize,
    failing: usize,
    /// Cannot be moved at all.
    refused: BTreeSet<K>,
    /// At the target, whether there is contact or not.
    there: usize,
    /// Neither at the target nor the same without it, whether there is contact or not.
    behind: usize,
    /// Those that wait, in order.
    queue: BTreeSet<Turn<K>>,
    /// Those that wait to be read anew, in order.
    stale: BTreeSet<Turn<K>>,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self {
            total: 0,
            deferred: 0,
            held: 0,
            in_flight: 0,
            done: 0,
            slots: 0,
            failed: 0,
            failing: 0,
            refused: BTreeSet::new(),
            there: 0,
            behind: 0,
            queue: BTreeSet::new(),
            stale: BTreeSet::new(),
        }
    }
}

impl<K> Tally<K> {
    fn reached(&self) -> usize {
        self.total - self.deferred
    }
}

/// How far the stages are.
#[derive(Debug)]
struct Walk {
    open: Vec<bool>,
    /// Failed, failing, and what cannot be moved though its stage is open.
    failures: usize,
    /// Why what waits first does not go on.
    barrier: Option<Barrier>,
}

#[derive(Debug, PartialEq)]
enum Barrier {
    Approval { stage: usize, before: Option<usize> },
    Unproven { stage: usize, next: usize },
}

/// `K` names its members: the clusters of one instance, or pairs of an instance and a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit<K = ClusterName> {
    frame: Frame,
    /// Behind a pointer each: a map keeps room for as many again.
    entries: BTreeMap<K, Box<Kept>>,
    tallies: Vec<Tally<K>>,
    /// When time alone may change how far a cluster is.
    times: BTreeSet<(u64, K)>,
    connecting: usize,
    /// Within reach, and without anything of the instance.
    empty: BTreeSet<K>,
    /// Failed or failing.
    ill: BTreeSet<K>,
    /// The same by what was read of the cluster last, whatever version is there.
    spoilt: BTreeSet<K>,
}

impl<K: Ord + Clone + Display> Unit<K> {
    pub fn new(frame: Frame) -> Self {
        let tallies = vec![Tally::default(); frame.rules.stages().len()];
        Self {
            frame,
            entries: BTreeMap::new(),
            tallies,
            times: BTreeSet::new(),
            connecting: 0,
            empty: BTreeSet::new(),
            ill: BTreeSet::new(),
            spoilt: BTreeSet::new(),
        }
    }

    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    pub fn pair(&self, name: &K) -> Option<Pair> {
        self.entries.get(name).map(|kept| kept.pair())
    }
    pub fn has(&self, name: &K) -> bool {
        self.entries.contains_key(name)
    }
    #[cfg(test)]
    pub fn state(&self, name: &K) -> Option<State> {
        self.entries.get(name).map(|kept| kept.state())
    }
    pub fn pairs(&self) -> impl Iterator<Item = (&K, Pair)> {
        self.entries.iter().map(|(name, kept)| (name, kept.pair()))
    }
    /// Whether nobody knows of some cluster what is there.
    pub fn is_connecting(&self) -> bool {
        self.connecting > 0
    }
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Another frame: everything is judged anew, but for new approvals alone.
    #[cfg(test)]
    pub fn reframe(&mut self, frame: Frame, now: u64) {
        let words = (self.frame.approved.clone(), self.frame.astray.clone());
        let same = Frame { approved: words.0, astray: words.1, ..frame.clone() } == self.frame;
        if same {
            self.frame = frame;
            return;
        }
        let before = std::mem::replace(self, Self::new(frame));
        for (name, kept) in before.entries {
            self.put(&name, kept.pair(), now);
        }
    }

    /// What is known of a cluster now.
    pub fn put(&mut self, name: &K, pair: Pair, now: u64) {
        self.drop(name);
        let judged = judging::judge(&pair, &self.frame, now);
        self.count(name, Kept::of(pair, &judged));
    }

    /// Gives back the room that maps keep for what may come in between: many came one after the other.
    pub fn pack(&mut self) {
        self.entries = std::mem::take(&mut self.entries).into_iter().collect();
        for tally in &mut self.tallies {
            tally.queue = std::mem::take(&mut tally.queue).into_iter().collect();
            tally.stale = std::mem::take(&mut tally.stale).into_iter().collect();
        }
    }

    /// The instance is to be there no more.
    pub fn drop(&mut self, name: &K) {
        let Some(kept) = self.entries.remove(name) else { return };
        let (pair, judged) = (kept.pair(), kept.judged());
        let stage = self.stage_of(&pair);
        self.connecting -= usize::from(pair.contact == Contact::Connecting);
        self.empty.remove(name);
        self.ill.remove(name);
        self.spoilt.remove(name);
        if let Some(at) = judged.until {
            self.times.remove(&(at, name.clone()));
        }
        let there = usize::from(pair.version == Version::Number(self.frame.target));
        let behind = usize::from(there == 0 && !pair.same);
        let Some(tally) = self.tallies.get_mut(stage) else { return };
        tally.total -= 1;
        tally.there -= there;
        tally.behind -= behind;
        tally.refused.remove(name);
        *tally.of(judged.state) -= 1;
        tally.slots -= usize::from(judged.slot);
        if let Some(rank) = judged.rank {
            tally.queue.remove(&(rank, pair.place.clone(), name.clone()));
        }
        if let Some(rank) = judged.reads {
            tally.stale.remove(&(rank, pair.place.clone(), name.clone()));
        }
    }

    fn stage_of(&self, pair: &Pair) -> usize {
        pair.place.stage.min(self.frame.rules.rest())
    }

    fn count(&mut self, name: &K, kept: Kept) {
        let (pair, judged) = (kept.pair(), kept.judged());
        let stage = self.stage_of(&pair);
        self.connecting += usize::from(pair.contact == Contact::Connecting);
        if pair.version == Version::Nothing && matches!(pair.contact, Contact::Ready(_)) {
            self.empty.insert(name.clone());
        }
        if matches!(judged.state, State::Failed | State::Failing) {
            self.ill.insert(name.clone());
        } else if judged.spoilt {
            self.spoilt.insert(name.clone());
        }
        if let Some(at) = judged.until {
            self.times.insert((at, name.clone()));
        }
        let there = usize::from(pair.version == Version::Number(self.frame.target));
        let behind = usize::from(there == 0 && !pair.same);
        if let Some(tally) = self.tallies.get_mut(stage) {
            tally.total += 1;
            tally.there += there;
            tally.behind += behind;
            *tally.of(judged.state) += 1;
            tally.slots += usize::from(judged.slot);
            if let Some(rank) = judged.rank {
                tally.queue.insert((rank, pair.place.clone(), name.clone()));
            } else if judged.state == State::Held {
                tally.refused.insert(name.clone());
            }
            if let Some(rank) = judged.reads {
                tally.stale.insert((rank, pair.place.clone(), name.clone()));
            }
        }
        self.entries.insert(name.clone(), Box::new(kept));
    }

    /// What time alone changes.
    pub fn pass(&mut self, now: u64) {
        while let Some((at, name)) = self.times.first().cloned() {
            if at > now {
                break;
            }
            match self.pair(&name) {
                Some(pair) => self.put(&name, pair, now),
                None => drop(self.times.pop_first()),
            }
        }
    }

    /// When time alone may change something next, in seconds.
    pub fn next(&self) -> Option<u64> {
        self.times.first().map(|(at, _)| *at)
    }

    fn failure_budget(&self) -> usize {
        self.frame.rules.max_failures.of(self.entries.len())
    }

    fn slots_of(&self, stage: usize) -> usize {
        let total = self.tallies.get(stage).map_or(0, |tally| tally.total);
        self.frame.rules.stage(stage).max_concurrent.of(total).max(1)
    }

    fn is_approved(&self, stage: usize) -> bool {
        self.frame.approved.contains(&self.frame.rules.stage(stage).name)
    }

    /// Which stages are open.
    fn walk(&self) -> Walk {
        let rules = &self.frame.rules;
        let mut failures: usize = self.tallies.iter().map(|t| t.failed + t.failing).sum();
        let budget = self.failure_budget();
        let mut open = vec![false; self.tallies.len()];
        let mut barrier = None;
        let mut all_passed = true;
        let members: Vec<usize> = (0..self.tallies.len()).filter(|n| self.tallies[*n].total > 0).collect();
        for (place, &stage) in members.iter().enumerate() {
            let tally = &self.tallies[stage];
            let asks = rules.stage(stage).approval && !self.is_approved(stage);
            open[stage] = !asks && (all_passed || tally.there > 0);
            if all_passed && asks && barrier.is_none() && (tally.done < tally.reached() || tally.behind > 0) {
                let before = place.checked_sub(1).and_then(|n| members.get(n)).copied();
                barrier = Some(Barrier::Approval { stage, before });
            }
            let refused = if open[stage] { tally.refused.len() } else { 0 };
            failures += refused;
            let over = tally.done + tally.failed + refused == tally.reached();
            let next = members.get(place + 1).copied();
            let proven = tally.done > 0 || next.is_some_and(|next| self.is_approved(next));
            if all_passed && over && !proven && barrier.is_none() {
                barrier = next.map(|next| Barrier::Unproven { stage, next });
            }
            all_passed = all_passed && over && proven && (tally.failed + refused == 0 || failures <= budget);
        }
        Walk { open, failures, barrier }
    }

    /// Nobody is moved as long as somebody said so, or nobody knows what is under way. `ready`: the decision is valid,
    /// the target on record, and nothing that an earlier life sent can land any more.
    fn is_held(&self, ready: bool) -> bool {
        !ready || self.connecting > 0 || self.frame.rules.paused
    }

    /// The marks of those whose turn it is, and of those that get the stable version at once.
    pub fn turns(&self, ready: bool, now: u64) -> Vec<(K, Mark)> {
        let mark = |unjudged| Mark { version: self.frame.target, since: now, unjudged };
        let admitted = self.admit(ready).into_iter().map(|a| (a.cluster, mark(a.unjudged)));
        admitted.chain(self.joins(ready, now)).collect()
    }

    /// Of those that get the stable version at once.
    pub fn joins(&self, ready: bool, now: u64) -> Vec<(K, Mark)> {
        let mark = |version| Mark { version, since: now, unjudged: false };
        self.join(ready).into_iter().filter_map(|key| Some((key, mark(self.frame.stable?)))).collect()
    }

    /// Whether no member goes by anything but the target, whether there is contact or not.
    pub fn is_everywhere(&self) -> bool {
        self.entries.values().all(|kept| match kept.state() {
            State::Done => true,
            State::Deferred => kept.is_same() || kept.version() == Version::Number(self.frame.target),
            _ => false,
        })
    }

    /// Whose turn it is.
    pub fn admit(&self, ready: bool) -> Vec<Admission<K>> {
        if self.is_held(ready) {
            return Vec::new();
        }
        let walk = (!self.frame.goes_back).then(|| self.walk());
        if walk.as_ref().is_some_and(|walk| walk.failures > self.failure_budget()) {
            return Vec::new();
        }
        let is_open = |stage: usize| walk.as_ref().is_none_or(|walk| walk.open[stage]);
        let mut admitted = Vec::new();
        for (stage, tally) in self.tallies.iter().enumerate().filter(|(n, _)| is_open(*n)) {
            let limit = self.slots_of(stage);
            let mut slots = tally.slots;
            for (_, _, name) in &tally.queue {
                let Some(kept) = self.entries.get(name) else { continue };
                let others = slots - usize::from(kept.has_slot());
                if others >= limit {
                    break;
                }
                slots = others + 1;
                let unjudged = judging::is_unjudged(&kept.pair(), &self.frame);
                admitted.push(Admission { cluster: name.clone(), unjudged });
            }
        }
        admitted
    }

    /// Of whom labels and properties may be read anew, without another version: as many at a time as may be moved, and as long
    /// as what was read anew of others did no harm. Who is not well by what was read of it is put right.
    pub fn read_anew(&self, ready: bool) -> Vec<Admission<K>> {
        if self.is_held(ready) || self.tallies.iter().all(|tally| tally.stale.is_empty()) {
            return Vec::new();
        }
        let over = self.walk().failures + self.spoilt.len() > self.failure_budget();
        let mut admitted = Vec::new();
        for (stage, tally) in self.tallies.iter().enumerate() {
            let limit = self.slots_of(stage);
            let mut slots = tally.slots;
            for (rank, _, name) in &tally.stale {
                let Some(kept) = self.entries.get(name) else { continue };
                let others = slots - usize::from(kept.has_slot());
                if others >= limit || (over && *rank > judging::SPOILT) {
                    break;
                }
                slots = others + 1;
                let unjudged = !judging::is_well(&kept.pair());
                admitted.push(Admission { cluster: name.clone(), unjudged });
            }
        }
        admitted
    }

    /// Clusters that came while a version that is not stable is under way, and that the turn of this one has not come
    /// for: they get the stable one at once.
    pub fn join(&self, ready: bool) -> Vec<K> {
        let stable = self.frame.stable.filter(|_| !self.frame.goes_back);
        if stable.is_none() || self.empty.is_empty() || !ready || self.connecting > 0 {
            return Vec::new();
        }
        let walk = self.walk();
        let within = walk.failures <= self.failure_budget() && !self.frame.rules.paused;
        let waits = |name: &&K| {
            let pair = self.pair(name);
            let stage = pair.as_ref().map(|pair| self.stage_of(pair));
            pair.is_some_and(|pair| pair.refused.is_none())
                && stage.is_some_and(|stage| walk.open[stage])
                && within
        };
        self.empty.iter().filter(|name| !waits(name)).cloned().collect()
    }
}

impl<K> Tally<K> {
    fn of(&mut self, state: State) -> &mut usize {
        match state {
            State::Deferred => &mut self.deferred,
            State::Done => &mut self.done,
            State::Failed => &mut self.failed,
            State::Failing => &mut self.failing,
            State::Held => &mut self.held,
            State::InFlight => &mut self.in_flight,
        }
    }
}
