//! The conditions of a hub instance: each type over all clusters.

use super::line::{ClusterLine, Standing};
use super::{Aggregate, Obstacle};
use crate::api::condition::{Condition, ConditionStatus, Conditions, READY};
use crate::reconcile::Now;
use crate::reconcile::spoke::{
    DEPENDENTS, FOR_TOOLS, GRAPH_RESOLVED, INSTANCE_MANAGED, InstanceState, RESOURCES_READY, Report, is_own,
};

/// Why a condition cannot be told yet.
const AWAITED: &str = "AwaitingReconciliation";

/// kro's condition types, which every cluster reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dependent {
    InstanceManaged,
    GraphResolved,
    ResourcesReady,
}

impl Dependent {
    fn named(type_: &str) -> Option<Self> {
        match type_ {
            INSTANCE_MANAGED => Some(Self::InstanceManaged),
            GRAPH_RESOLVED => Some(Self::GraphResolved),
            RESOURCES_READY => Some(Self::ResourcesReady),
            _ => None,
        }
    }
}

/// What a condition says, whatever its type.
pub(super) struct Told {
    pub status: ConditionStatus,
    pub reason: String,
    pub message: String,
}

impl Told {
    fn new(status: ConditionStatus, reason: &str, message: &str) -> Self {
        Self { status, reason: reason.to_owned(), message: message.to_owned() }
    }
    fn of(condition: &Condition) -> Self {
        Self::new(condition.status, &condition.reason, &condition.message)
    }
    fn set(&self, conditions: &mut Conditions, type_: &str) {
        conditions.set(type_, self.status, &self.reason, &self.message);
    }
}

impl Aggregate {
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
        match self.obstacle() {
            Some(Obstacle { reason, message }) => {
                conditions.set(READY, ConditionStatus::False, reason.as_str(), &message);
            }
            None => conditions.set_ready_from(&DEPENDENTS),
        }
        conditions
    }

    /// The author's conditions, by type as ours. Those of clusters that say nothing now stay as they were.
    fn author_conditions(&self, existing: Vec<Condition>, generation: i64, now: &Now) -> Conditions {
        let own = is_own(&existing);
        let tellers = || self.entries.iter().filter(|e| !e.hub_part);
        let reported = || tellers().filter_map(|e| e.report.as_ref());
        let mut types: Vec<&str> = Vec::new();
        for condition in reported().flat_map(|r| r.author.iter().flatten()) {
            if !types.contains(&condition.type_.as_str()) {
                types.push(&condition.type_);
            }
        }
        let silent = self.deleting || self.graph_missing || reported().count() < tellers().count();
        let stays = |c: &Condition| {
            let type_ = c.type_.as_str();
            FOR_TOOLS.contains(&type_) || types.contains(&type_) || (silent && !own)
        };
        let existing = existing.into_iter().filter(stays).collect();
        let mut conditions = Conditions::new(existing, generation, &now.rfc3339);
        if self.deleting {
            self.condition(RESOURCES_READY).set(&mut conditions, RESOURCES_READY);
            return conditions;
        }
        for type_ in types {
            self.condition(type_).set(&mut conditions, type_);
        }
        // Where nothing can go on before somebody does something, that is said in any case.
        if let Some(Obstacle { reason, message }) = self.obstacle() {
            conditions.set(READY, ConditionStatus::False, reason.as_str(), &message);
        }
        conditions
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
    fn condition(&self, type_: &str) -> Told {
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
                let message = self.deletion_message();
                return Told::new(ConditionStatus::Unknown, "UnderDeletion", &message);
            }
            _ => {}
        }
        let speaks = |e: &&ClusterLine| !e.hub_part || dependent.is_some();
        self.over_clusters(
            self.entries.iter().filter(speaks).map(|e| (e, said_by(e, type_, dependent))).collect(),
        )
    }

    /// False if False anywhere, else Unknown if Unknown or without contact anywhere, else True.
    fn over_clusters(&self, said: Vec<(&ClusterLine, Told)>) -> Told {
        for status in [ConditionStatus::False, ConditionStatus::Unknown] {
            let bad: Vec<(&ClusterLine, &Told)> =
                said.iter().filter(|(_, told)| told.status == status).map(|(e, told)| (*e, told)).collect();
            if let Some((_, first)) = bad.first() {
                return Told { status, reason: first.reason.clone(), message: self.name_clusters(&bad) };
            }
        }
        match said.into_iter().next() {
            Some((_, first)) => Told { status: ConditionStatus::True, ..first },
            None => Told::new(ConditionStatus::Unknown, AWAITED, ""),
        }
    }
}

/// What a condition says on one cluster.
fn said_by(line: &ClusterLine, type_: &str, dependent: Option<Dependent>) -> Told {
    let by_author = line.report.as_ref().is_some_and(|r| r.author.is_some());
    let shown = line.report.as_ref().map(Report::shown).unwrap_or_default();
    let own = shown.iter().find(|c| c.type_ == type_);
    let (standing, state, message) = (line.standing(), line.state.text(), &line.message);
    match own {
        Some(_) if line.outdated && by_author => Told::new(ConditionStatus::Unknown, AWAITED, message),
        Some(_) if line.outdated && dependent == Some(Dependent::ResourcesReady) => {
            Told::new(ConditionStatus::False, "NotReady", message)
        }
        _ if standing == Standing::Unreachable => Told::new(ConditionStatus::Unknown, state, message),
        None if standing == Standing::Failed && !by_author => {
            Told::new(ConditionStatus::False, state, message)
        }
        Some(condition) => Told::of(condition),
        None => Told::new(ConditionStatus::Unknown, AWAITED, message),
    }
}
