//! What is known of the instance on each cluster besides what stands on the instance itself.

use super::moved::Moved;
use super::overriding::Applied;
use crate::api::condition::{self, Condition};
use crate::api::names::ClusterName;
use crate::reconcile::rollout::Facts;
use crate::reconcile::spoke::Report;
use std::sync::Arc;

/// Reports that differ and are kept at hand: what the next cluster says is mostly one of them.
const AT_HAND: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub fingerprint: u64,
    pub removal: bool,
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Pair {
    pub report: Option<Arc<Report>>,
    pub sent: Option<Sent>,
    /// It confirmed that nothing is left, since the last task that asked for it.
    pub gone: bool,
    /// What is left there is on record.
    pub left: bool,
    /// That record is being written.
    pub left_busy: bool,
    /// It showed content of ours that no hold names.
    pub found: bool,
    /// What overrides make of the instance there; `None` where there are none.
    pub applied: Option<Box<Applied>>,
    /// Where a rollout moves the instance.
    pub moved: Option<Box<Moved>>,
    /// What stands there of what was read of the cluster.
    pub facts: Option<Arc<Facts>>,
}

impl Pair {
    fn is_blank(&self) -> bool {
        let Self { report, sent, gone, left, left_busy, found, applied, moved, facts: _ } = self;
        let known = report.is_some() || sent.is_some() || applied.is_some() || moved.is_some();
        !(known || *gone || *left || *left_busy || *found)
    }
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Pairs {
    /// By name. Most instances have few, and a map would take as much for one as for ten.
    of: Vec<(ClusterName, Pair)>,
    at_hand: Vec<Arc<Report>>,
}

impl Pairs {
    pub fn get(&self, name: &ClusterName) -> Option<&Pair> {
        self.place(name).ok().and_then(|n| self.of.get(n)).map(|(_, pair)| pair)
    }
    pub fn get_mut(&mut self, name: &ClusterName) -> Option<&mut Pair> {
        self.place(name).ok().and_then(|n| self.of.get_mut(n)).map(|(_, pair)| pair)
    }
    /// For something new of a cluster.
    pub fn at(&mut self, name: &ClusterName) -> &mut Pair {
        let place = self.place(name).unwrap_or_else(|free| {
            self.of.insert(free, (name.clone(), Pair::default()));
            free
        });
        &mut self.of[place].1
    }
    pub fn iter(&self) -> impl Iterator<Item = (&ClusterName, &Pair)> {
        self.of.iter().map(|(name, pair)| (name, pair))
    }
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&ClusterName, &mut Pair)> {
        self.of.iter_mut().map(|(name, pair)| (&*name, pair))
    }
    pub fn is(&self, name: &ClusterName, what: impl FnOnce(&Pair) -> bool) -> bool {
        self.get(name).is_some_and(what)
    }
    pub fn report(&self, name: &ClusterName) -> Option<&Arc<Report>> {
        self.get(name)?.report.as_ref()
    }
    /// Those of these names are moved by no rollout.
    pub fn forget_moved(&mut self, of: impl Fn(&ClusterName) -> bool) {
        for (name, pair) in &mut self.of {
            pair.moved = pair.moved.take().filter(|_| !of(name));
        }
    }
    /// Clusters of which nothing is known are forgotten.
    pub fn tidy(&mut self) {
        self.of.retain(|(_, pair)| !pair.is_blank());
    }

    /// Takes in what a cluster says; whether that is news. What clusters say alike is kept once: so without the times of
    /// conditions, which the hub sets by itself.
    pub fn said(&mut self, name: &ClusterName, mut report: Report) -> bool {
        report.conditions = timeless(&report.conditions);
        report.author = report.author.as_deref().map(timeless);
        // It is of one cluster, and the rest may be of many.
        let facts = report.facts.take();
        let pair = self.at(name);
        let is_news = pair.facts != facts;
        if is_news {
            let told = pair.moved.as_ref().and_then(|moved| moved.facts.as_ref());
            pair.facts = told.filter(|told| Some(*told) == facts.as_ref()).cloned().or(facts);
        }
        if pair.report.as_deref() == Some(&report) {
            return is_news;
        }
        let known = self.at_hand.iter().position(|known| **known == report);
        let report = match known {
            Some(n) => self.at_hand.remove(n),
            None => Arc::new(report),
        };
        self.at_hand.insert(0, report.clone());
        self.at_hand.truncate(AT_HAND);
        self.at(name).report = Some(report);
        true
    }

    /// No cluster is heard of for a while.
    pub fn rest(&mut self) {
        self.at_hand = Vec::new();
        self.of.shrink_to_fit();
    }

    fn place(&self, name: &ClusterName) -> Result<usize, usize> {
        self.of.binary_search_by(|(known, _)| known.cmp(name))
    }
}

/// What many instances say alike, each at its own time.
fn timeless(conditions: &[Condition]) -> Arc<[Condition]> {
    let timeless = |c: &Condition| Condition { last_transition_time: String::new(), ..c.clone() };
    condition::shared(&conditions.iter().map(timeless).collect::<Vec<_>>())
}
