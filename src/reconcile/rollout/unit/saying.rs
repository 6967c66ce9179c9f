//! What is said of a unit.

use super::{Barrier, State, Tally, Unit, Walk};
use std::fmt::{Display, Write};
use std::sync::Arc;

/// What is said of clusters that changed, and that go by what was read of them before.
const READ_BEFORE: &str = "goes by earlier labels or properties";
const READ_BEFORE_ALL: &str = "go by earlier labels or properties";

/// How many clusters are named that failed.
const NAMED: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Complete,
    InProgress,
    AwaitingApproval,
    Paused,
    StageUnproven,
    Halted,
    /// The revision that is asked for cannot be run.
    PinRefused,
}

impl Reason {
    /// In one word.
    pub fn state(self) -> &'static str {
        self.as_str().trim_start_matches("Rollout")
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "Complete",
            Self::InProgress => "RolloutInProgress",
            Self::AwaitingApproval => "RolloutAwaitingApproval",
            Self::Paused => "RolloutPaused",
            Self::StageUnproven => "RolloutStageUnproven",
            Self::Halted => "RolloutHalted",
            Self::PinRefused => "PinRefused",
        }
    }
}

/// How far a unit is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub version: u64,
    pub stable: Option<u64>,
    /// The first stage that is not through.
    pub stage: Option<Arc<str>>,
    pub reason: Reason,
    pub message: String,
    pub updated: usize,
    pub total: usize,
    pub in_flight: usize,
    pub failing: usize,
    pub failed: usize,
    pub deferred: usize,
    /// Those that go by what was read of their cluster before it changed, and wait to be read anew.
    pub stale: usize,
}

impl Progress {
    /// How many wait for their turn.
    pub fn held(&self) -> usize {
        let others = self.updated + self.in_flight + self.failed + self.deferred;
        self.total.saturating_sub(others)
    }
}

impl<K: Ord + Clone + Display> Unit<K> {
    /// Every cluster within reach completed the target, one at least. Those out of reach come late, but where their stage
    /// still waits for an approval: nobody said that the target may come to them.
    pub fn is_complete(&self) -> bool {
        let done = self.sum(|t| t.done);
        self.connecting == 0 && done > 0 && done == self.sum(Tally::reached) && !self.is_to_be_approved()
    }

    /// Whether a stage that no approval was given for has somebody that the target is yet to come to.
    fn is_to_be_approved(&self) -> bool {
        let asks = |stage: usize| self.frame.rules.stage(stage).approval && !self.is_approved(stage);
        let mut tallies = self.tallies.iter().enumerate();
        !self.frame.goes_back && tallies.any(|(stage, tally)| tally.behind > 0 && asks(stage))
    }

    /// The stage of a cluster.
    pub fn stage_name(&self, name: &K) -> Option<&Arc<str>> {
        let pair = self.pair(name)?;
        Some(&self.frame.rules.stage(self.stage_of(&pair)).name)
    }

    fn sum(&self, of: impl Fn(&Tally<K>) -> usize) -> usize {
        self.tallies.iter().map(of).sum()
    }

    pub fn progress(&self) -> Progress {
        let walk = self.walk();
        let failing = self.sum(|t| t.failing);
        let unfinished = self.tallies.iter().position(|t| t.done < t.reached());
        let mut progress = Progress {
            version: self.frame.target,
            stable: self.frame.stable,
            stage: unfinished.map(|n| self.frame.rules.stage(n).name.clone()),
            reason: Reason::InProgress,
            message: String::new(),
            updated: self.sum(|t| t.done),
            total: self.entries.len(),
            in_flight: self.sum(|t| t.in_flight + t.failing),
            failing,
            failed: walk.failures - failing,
            deferred: self.sum(|t| t.deferred),
            stale: self.sum(|t| t.stale.len()),
        };
        progress.reason = self.reason(&progress, &walk);
        progress.message = format!("version {}: {}", self.frame.target, self.message(&progress, &walk));
        if progress.reason == Reason::Complete {
            progress.message = complete(&progress);
        }
        progress
    }

    fn reason(&self, progress: &Progress, walk: &Walk) -> Reason {
        let forward = !self.frame.goes_back;
        let waits = forward && progress.in_flight == 0;
        match &walk.barrier {
            _ if self.is_complete() && progress.stale == 0 => Reason::Complete,
            _ if forward && walk.failures > self.failure_budget() => Reason::Halted,
            _ if self.reading_halts(progress, walk) => Reason::Halted,
            _ if self.frame.rules.paused && self.sum(|t| t.held) + progress.stale > 0 => Reason::Paused,
            Some(Barrier::Approval { .. }) if waits => Reason::AwaitingApproval,
            Some(Barrier::Unproven { .. }) if waits => Reason::StageUnproven,
            _ => Reason::InProgress,
        }
    }

    /// What was read anew did harm, and others wait for it.
    fn reading_halts(&self, progress: &Progress, walk: &Walk) -> bool {
        progress.stale > 0 && walk.failures + self.spoilt.len() > self.failure_budget()
    }

    fn message(&self, progress: &Progress, walk: &Walk) -> String {
        let rules = &self.frame.rules;
        let Progress { version, updated, total, .. } = progress;
        match (progress.reason, &walk.barrier) {
            (Reason::Halted, _) => self.halted(progress, walk),
            (Reason::Paused, _) => format!("paused by {} at {updated} of {total}", rules.by),
            (Reason::AwaitingApproval, Some(Barrier::Approval { stage, before })) => {
                let done = |n: usize| {
                    let count = clusters(self.tallies.get(n).map_or(0, |t| t.done));
                    format!("stage {} is done ({count}); ", rules.stage(n).name)
                };
                let next = &rules.stage(*stage).name;
                let done = before.map(done).unwrap_or_default();
                let astray = match self.frame.astray.as_slice() {
                    [] => String::new(),
                    [one] => format!("; {one}"),
                    [first, more @ ..] => format!("; {first}, and so do {} more", more.len()),
                };
                format!("{done}create a RolloutApproval for version {version}, stage {next}{astray}")
            }
            (Reason::StageUnproven, Some(Barrier::Unproven { stage, next })) => {
                let (all, reached) = self.tallies.get(*stage).map_or((0, 0), |t| (t.total, t.reached()));
                let (name, next) = (&rules.stage(*stage).name, &rules.stage(*next).name);
                let what = if reached == 0 { "unreachable" } else { "unreachable or failed" };
                let all = match all {
                    1 => format!("the cluster of stage {name} is {what}"),
                    all => format!("all {all} clusters of stage {name} are {what}"),
                };
                format!("{all}, so it proves nothing; wait, or approve stage {next}")
            }
            _ => under_way(progress),
        }
    }

    fn halted(&self, progress: &Progress, walk: &Walk) -> String {
        let stays = match (self.frame.stable, self.sum(|t| t.held)) {
            (_, 0) => String::new(),
            (Some(stable), 1) => format!("; 1 cluster stays at version {stable}"),
            (Some(stable), held) => format!("; {held} clusters stay at version {stable}"),
            (None, 1) => "; 1 cluster waits".to_owned(),
            (None, held) => format!("; {held} clusters wait"),
        };
        let waits = match progress.stale {
            0 => String::new(),
            1 => format!("; 1 cluster {READ_BEFORE}"),
            stale => format!("; {stale} clusters {READ_BEFORE_ALL}"),
        };
        let spoilt = if progress.stale > 0 { self.spoilt.len() } else { 0 };
        let (failed, allowed, who) = (walk.failures + spoilt, self.failure_budget(), self.failures(walk));
        format!(
            "{failed} failed, {allowed} allowed: {who}{stays}{waits}. Edit, go back, or raise maxFailures"
        )
    }

    /// The first of those that failed, each with what it says.
    fn failures(&self, walk: &Walk) -> String {
        let open = self.tallies.iter().zip(&walk.open).filter(|(_, open)| **open);
        let refused = open.flat_map(|(tally, _)| tally.refused.iter().take(NAMED));
        let mut all: Vec<(&K, &str)> = Vec::new();
        for name in self.ill.iter().take(NAMED).chain(self.spoilt.iter().take(NAMED)).chain(refused) {
            let Some(kept) = self.entries.get(name) else { continue };
            let why = match kept.state() {
                State::Held if !kept.is_spoilt() => kept.refused(),
                _ => kept.why(),
            };
            all.push((name, why.unwrap_or("not ACTIVE within progressDeadline")));
        }
        all.sort();
        let named: Vec<String> = all.iter().take(NAMED).map(|(name, why)| format!("{name}: {why}")).collect();
        named.join("; ")
    }
}

fn clusters(count: usize) -> String {
    if count == 1 { "1 cluster".to_owned() } else { format!("{count} clusters") }
}

fn complete(progress: &Progress) -> String {
    let Progress { version, updated, total, deferred, .. } = progress;
    if updated == total {
        format!("version {version} on {}", clusters(*total))
    } else {
        format!("version {version} on {updated} of {}, {deferred} deferred", clusters(*total))
    }
}

fn under_way(progress: &Progress) -> String {
    let mut text = format!("{} of {} updated", progress.updated, clusters(progress.total));
    if let Some(stage) = &progress.stage {
        write!(text, ", stage {stage}").unwrap_or_default();
    }
    let counts = [
        (progress.in_flight, "under way"),
        (progress.failing, "failing"),
        (progress.failed, "failed"),
        (progress.deferred, "deferred"),
    ];
    for (count, word) in counts.into_iter().filter(|(count, _)| *count > 0) {
        write!(text, ", {count} {word}").unwrap_or_default();
    }
    match progress.stale {
        0 => {}
        1 => write!(text, "; 1 cluster {READ_BEFORE}").unwrap_or_default(),
        stale => write!(text, "; {stale} clusters {READ_BEFORE_ALL}").unwrap_or_default(),
    }
    text
}
