//! The conditions of a hub instance: each type over all clusters.

use super::line::{ClusterLine, LineState, Standing};
use super::messages::MAX_NAMED;
use super::{Aggregate, Obstacle};
use crate::api::condition::{Condition, ConditionStatus, Conditions, READY};
use crate::reconcile::Now;
use crate::reconcile::rollout::unit::Reason;
use crate::reconcile::spoke::{
    DEPENDENTS, FOR_TOOLS, GRAPH_RESOLVED, INSTANCE_MANAGED, InstanceState, RESOURCES_READY, is_own,
};
use std::borrow::Cow;

/// Why a condition cannot be told yet.
const AWAITED: &str = "AwaitingReconciliation";

/// kro's condition types, which every cluster reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dependent {
    InstanceManaged,
    GraphResolved,
    ResourcesReady,
}

impl Dependent {
    /// By number.
    pub const ALL: [Self; 3] = [Self::InstanceManaged, Self::GraphResolved, Self::ResourcesReady];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::InstanceManaged => INSTANCE_MANAGED,
            Self::GraphResolved => GRAPH_RESOLVED,
            Self::ResourcesReady => RESOURCES_READY,
        }
    }

    fn named(type_: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dependent| dependent.as_str() == type_)
    }
}

/// What a condition says, whatever its type.
pub(super) struct Told<'a> {
    pub status: ConditionStatus,
    pub reason: &'a str,
    pub message: Cow<'a, str>,
}

impl<'a> Told<'a> {
    fn new(status: ConditionStatus, reason: &'a str, message: impl Into<Cow<'a, str>>) -> Self {
        Self { status, reason, message: message.into() }
    }
    fn set(&self, conditions: &mut Conditions, type_: &str) {
        conditions.set(type_, self.status, self.reason, &self.message);
    }
}

impl Aggregate<'_> {
    /// All of them, on top of those that stand in the instance.
    pub(super) fn conditions(&self, mut existing: Vec<Condition>, generation: i64, now: &Now) -> Conditions {
        existing.retain(Condition::is_said);
        let by_author = self.by_author.unwrap_or_else(|| !existing.is_empty() && !is_own(&existing));
        let mut conditions = if by_author {
            self.author_conditions(existing, generation, now)
        } else {
            self.own_conditions(existing, generation, now)
        };
        if self.only_local {
            FOR_TOOLS.iter().for_each(|type_| conditions.remove(type_));
        } else {
            self.for_tools(&mut conditions);
        }
        conditions
    }

    fn own_conditions(&self, mut existing: Vec<Condition>, generation: i64, now: &Now) -> Conditions {
        // What an author defined no longer stays.
        existing.retain(|c| {
            let type_ = c.type_.as_str();
            type_ == READY || DEPENDENTS.contains(&type_) || FOR_TOOLS.contains(&type_)
        });
        let mut conditions = Conditions::new(existing, generation, &now.rfc3339);
        for type_ in DEPENDENTS {
            // What was true of a living instance stays said while it goes; `Ready` then tells of the deletion alone.
            if self.deleting
                && type_ != RESOURCES_READY
                && (type_ != INSTANCE_MANAGED || self.unmanaged.is_none())
                && conditions.get(type_).is_some_and(|c| c.status == ConditionStatus::True)
            {
                continue;
            }
            self.condition(type_).set(&mut conditions, type_);
        }
        // Set once: a detour over another value would look like a transition every time.
        match self.ready_by_the_hub() {
            Some(told) => told.set(&mut conditions, READY),
            None => conditions.set_ready_from(&DEPENDENTS),
        }
        conditions
    }

    /// The author's conditions, by type as ours. Those of clusters that say nothing now stay as they were.
    fn author_conditions(&self, existing: Vec<Condition>, generation: i64, now: &Now) -> Conditions {
        let own = is_own(&existing);
        let tellers = || self.lines.iter().filter(|e| !e.hub_part && !e.aside);
        let reported = || tellers().filter_map(|e| e.report.as_ref());
        let mut types: Vec<&str> = Vec::new();
        for condition in reported().flat_map(|r| r.author.iter().flat_map(|list| list.iter())) {
            if !types.contains(&condition.type_.as_str()) {
                types.push(&condition.type_);
            }
        }
        let ready = self.ready_by_the_hub().filter(|_| !self.deleting);
        let silent = self.deleting || self.graph_missing || reported().count() < tellers().count();
        let stays = |c: &Condition| {
            let type_ = c.type_.as_str();
            FOR_TOOLS.contains(&type_)
                || types.contains(&type_)
                || (silent && !own)
                || (ready.is_some() && type_ == READY)
        };
        let existing = existing.into_iter().filter(stays).collect();
        let mut conditions = Conditions::new(existing, generation, &now.rfc3339);
        if self.deleting {
            self.condition(RESOURCES_READY).set(&mut conditions, RESOURCES_READY);
            return conditions;
        }
        // As for ours, each is set once.
        for type_ in types.into_iter().filter(|type_| ready.is_none() || *type_ != READY) {
            self.condition(type_).set(&mut conditions, type_);
        }
        if let Some(ready) = ready {
            ready.set(&mut conditions, READY);
        }
        conditions
    }

    /// What goes before any other word of whether the instance is ready: nothing can go on before somebody does something,
    /// or a version is not everywhere yet, and what clusters say is about another one in part.
    fn ready_by_the_hub(&self) -> Option<Told<'_>> {
        if let Some(Obstacle { reason, message }) = self.obstacle() {
            return Some(Told::new(ConditionStatus::False, reason.as_str(), message));
        }
        let rollout = self.rollout.as_ref().filter(|_| self.is_rolling() && !self.deleting)?;
        let status = match rollout.reason {
            Reason::Halted => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        };
        Some(Told::new(status, rollout.reason.as_str(), rollout.message.as_str()))
    }

    /// The two conditions that Flux and kstatus read.
    fn for_tools(&self, conditions: &mut Conditions) {
        use ConditionStatus::{False, True};
        let state = self.state();
        let (reconciling, stalled) = match state {
            InstanceState::Active => (False, False),
            InstanceState::InProgress | InstanceState::Deleting => (True, False),
            InstanceState::Error => (False, True),
        };
        let [of_reconciling, of_stalled] = FOR_TOOLS;
        for (type_, status, when_true, when_false) in [
            (of_reconciling, reconciling, "Progressing", "Settled"),
            (of_stalled, stalled, "Failed", "Moving"),
        ] {
            let is_true = status == True;
            let (reason, message) = if is_true { (when_true, state.as_str()) } else { (when_false, "") };
            conditions.set(type_, status, reason, message);
        }
    }

    /// What a condition says of the instance as a whole.
    fn condition(&self, type_: &str) -> Told<'_> {
        let dependent = Dependent::named(type_);
        match (dependent, &self.unmanaged) {
            (Some(Dependent::InstanceManaged), Some(why)) => {
                return Told::new(ConditionStatus::False, "ManagementFailed", why);
            }
            (Some(Dependent::GraphResolved), _) if self.graph_missing => {
                let message = "latest issued graph revision not available";
                return Told::new(ConditionStatus::False, "ResolutionFailed", message);
            }
            (Some(Dependent::ResourcesReady), _) if self.deleting => {
                return Told::new(ConditionStatus::Unknown, "UnderDeletion", self.deletion_message());
            }
            _ => {}
        }
        self.over_clusters(type_, dependent)
    }

    /// False if False anywhere, else Unknown if Unknown or without contact anywhere, else True.
    fn over_clusters(&self, type_: &str, dependent: Option<Dependent>) -> Told<'_> {
        for status in [ConditionStatus::False, ConditionStatus::Unknown] {
            let (count, first) = self.saying(type_, dependent, status);
            let bad: Vec<(&ClusterLine, Told)> =
                first.into_iter().map(|line| (line, said_by(line, type_, dependent))).collect();
            if let Some((_, Told { reason, .. })) = bad.first() {
                return Told::new(status, reason, self.name_clusters(&bad, count));
            }
        }
        let mut speakers = self.lines.iter().filter(|line| speaks(line, dependent));
        match speakers.next() {
            Some(first) => Told { status: ConditionStatus::True, ..said_by(first, type_, dependent) },
            None => Told::new(ConditionStatus::Unknown, AWAITED, ""),
        }
    }

    /// How many clusters say so, and the first few of them.
    fn saying(
        &self,
        type_: &str,
        dependent: Option<Dependent>,
        status: ConditionStatus,
    ) -> (usize, Vec<&ClusterLine>) {
        if let Some(dependent) = dependent {
            return self.lines.saying(dependent, status, MAX_NAMED);
        }
        let (mut count, mut first) = (0, Vec::new());
        for line in self.lines.iter().filter(|line| speaks(line, None)) {
            if said_by(line, type_, None).status == status {
                count += 1;
                first.extend((count <= MAX_NAMED).then_some(line));
            }
        }
        (count, first)
    }
}

/// Whether a line has a say: what lives on the hub has nothing of the author's status.
fn speaks(line: &ClusterLine, dependent: Option<Dependent>) -> bool {
    !line.aside && (!line.hub_part || dependent.is_some())
}

/// What a condition says on one cluster.
pub(super) fn said_by<'a>(line: &'a ClusterLine, type_: &str, dependent: Option<Dependent>) -> Told<'a> {
    let by_author = line.report.as_ref().is_some_and(|r| r.author.is_some());
    let shown = line.report.as_ref().map(|r| r.shown()).unwrap_or_default();
    let own = shown.iter().find(|c| c.type_ == type_);
    // What runs there goes on, and is not what is wanted.
    let of_content = dependent == Some(Dependent::ResourcesReady) || type_ == READY;
    let (standing, state, message) = (line.standing(), line.state.text(), line.message.as_str());
    match own {
        _ if line.state == LineState::OverrideFailed && of_content => {
            Told::new(ConditionStatus::False, state, message)
        }
        Some(_) if line.outdated && by_author => Told::new(ConditionStatus::Unknown, AWAITED, message),
        Some(_) if line.outdated && dependent == Some(Dependent::ResourcesReady) => {
            Told::new(ConditionStatus::False, "NotReady", message)
        }
        _ if standing == Standing::Unreachable => Told::new(ConditionStatus::Unknown, state, message),
        None if standing == Standing::Failed && !by_author => {
            Told::new(ConditionStatus::False, state, message)
        }
        Some(condition) => Told::new(condition.status, &condition.reason, &condition.message),
        None => Told::new(ConditionStatus::Unknown, AWAITED, message),
    }
}
