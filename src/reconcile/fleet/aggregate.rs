//! The status of a hub instance, from what its clusters say.

use super::placement::ShrinkHeld;
use crate::api::condition::{Condition, ConditionStatus, Conditions, READY};
use crate::api::keys::hub;
use crate::api::names::ClusterName;
use crate::api::text;
use crate::reconcile::Now;
use crate::reconcile::spoke::{FOR_TOOLS, InstanceState, Report, is_own};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Whether a cluster can be talked to.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ClusterHealth {
    Ready,
    /// It was ready and has an actor; there is no contact now.
    Unreachable {
        since: String,
        message: String,
    },
    /// Not asked yet.
    #[default]
    Connecting,
    /// Nothing may be written there: refused, frozen, a duplicate, paused.
    NotReady {
        reason: String,
        message: String,
    },
}

impl ClusterHealth {
    /// Whether somebody is there to take messages.
    pub fn has_actor(&self) -> bool {
        matches!(self, Self::Ready | Self::Unreachable { .. })
    }
}

/// One line of `status.fleet.clusters`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterLine {
    pub name: ClusterName,
    /// kro's state, or `Unreachable`, `NotRegistered`, `NotAllowed`, `Leaving`, or the reason the Cluster is not ready.
    pub state: String,
    pub message: String,
    pub since: String,
    pub unreachable_since: Option<String>,
    report: Option<Report>,
    /// The report is of an older generation.
    outdated: bool,
    /// Only resources that live on the hub are there: it says nothing of the author's status.
    pub hub_part: bool,
    kind: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Failed,
    Unreachable,
    Progressing,
    Ready,
}

impl ClusterLine {
    /// What `kro.clusters` shows of the instance there: facts of the cluster, state and the author's fields.
    pub fn shown(&self, facts: Option<&Value>) -> Value {
        let mut shown = facts.cloned().unwrap_or_else(|| json!({"name": self.name.as_str()}));
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("state".into(), json!(self.state));
            let fields = self.report.as_ref().map(|r| r.fields.clone()).unwrap_or_default();
            shown.insert("status".into(), Value::Object(fields));
        }
        shown
    }

    pub(super) fn refused(name: &ClusterName, reason: &str, message: &str) -> Self {
        // What may come by itself is waited for, as with a cluster that cannot be reached.
        let kind = match reason {
            "NotRegistered" | "Leaving" => Standing::Unreachable,
            _ => Standing::Failed,
        };
        Self::new(name, reason, message, None, kind)
    }

    fn new(name: &ClusterName, state: &str, message: &str, report: Option<&Report>, kind: Standing) -> Self {
        Self {
            name: name.clone(),
            state: state.to_owned(),
            message: message.to_owned(),
            since: String::new(),
            unreachable_since: None,
            report: report.cloned(),
            outdated: false,
            hub_part: false,
            kind,
        }
    }

    pub(super) fn of(
        name: &ClusterName,
        health: Option<&ClusterHealth>,
        report: Option<&Report>,
        leaves: bool,
        generation: i64,
    ) -> Self {
        let held = if leaves { "deletion waits for contact; " } else { "" };
        match health {
            None => {
                let message = format!("{held}no Cluster named {name} is registered");
                Self::new(name, "NotRegistered", &message, report, Standing::Unreachable)
            }
            Some(ClusterHealth::Unreachable { since, message }) => {
                let text = format!("{held}no contact since {since}: {message}");
                let mut entry = Self::new(name, "Unreachable", &text, report, Standing::Unreachable);
                entry.unreachable_since = Some(since.clone());
                entry
            }
            Some(ClusterHealth::NotReady { reason, message }) => {
                Self::new(name, reason, &format!("{held}{message}"), report, Standing::Unreachable)
            }
            Some(ClusterHealth::Connecting) => {
                Self::new(name, "Connecting", &format!("{held}connecting"), report, Standing::Unreachable)
            }
            Some(ClusterHealth::Ready) => match report {
                None if leaves => Self::new(name, "DELETING", "", None, Standing::Progressing),
                None => Self::new(
                    name,
                    "IN_PROGRESS",
                    "waiting for the first report",
                    None,
                    Standing::Progressing,
                ),
                // What was true of the content before the edit says nothing of the new one.
                Some(r) if r.generation < generation && !leaves => {
                    let message =
                        format!("waiting for generation {generation}; generation {} is there", r.generation);
                    let mut entry = Self::new(name, "IN_PROGRESS", &message, report, Standing::Progressing);
                    entry.outdated = true;
                    entry
                }
                Some(r) => {
                    let kind = match r.state {
                        InstanceState::Active => Standing::Ready,
                        InstanceState::InProgress | InstanceState::Deleting => Standing::Progressing,
                        InstanceState::Error => Standing::Failed,
                    };
                    Self::new(name, r.state.as_str(), &r.message, report, kind)
                }
            },
        }
    }

    /// Whether the cluster may be fine and has just not spoken yet.
    pub(super) fn is_unheard(&self) -> bool {
        self.report.is_none() && matches!(self.state.as_str(), "Connecting" | "IN_PROGRESS" | "DELETING")
    }

    /// Whether it only has to be waited for: requests are under way, or it is not its turn yet.
    pub(super) fn is_under_way(&self) -> bool {
        let under_way = || self.outdated || self.report.as_ref().is_none_or(|r| !r.settled);
        match self.kind {
            Standing::Ready => true,
            Standing::Progressing => under_way(),
            Standing::Failed | Standing::Unreachable => false,
        }
    }

    /// Whether the cluster has said anything of what is wanted now.
    pub(super) fn has_begun(&self) -> bool {
        self.report.is_some() && !self.outdated
    }

    fn value(&self) -> Value {
        let mut out = json!({"name": self.name.as_str(), "state": self.state, "since": self.since});
        if !self.message.is_empty() {
            out["message"] = json!(text::cut_nodes(&self.message, 400));
        }
        if let Some(report) = &self.report {
            out["observedGeneration"] = json!(report.generation);
            out["revision"] = json!(report.revision);
            if report.total > 0 {
                out["resources"] = json!(format!("{}/{}", report.ready, report.total));
            }
        }
        out
    }
}

/// Everything the status is made of.
#[derive(Clone, Debug)]
pub(super) struct Aggregate {
    pub entries: Vec<ClusterLine>,
    /// Only the local cluster is placed: the status is kro's, exactly.
    pub only_local: bool,
    pub deleting: bool,
    pub held: Option<ShrinkHeld>,
    pub invalid: Option<String>,
    pub graph_missing: bool,
    /// Why our finalizer and labels are not as they should be.
    pub unmanaged: Option<String>,
    /// Whether the author's conditions take the place of ours; `None` where the definition is not known.
    pub by_author: Option<bool>,
    pub has_local: bool,
    /// What the hub said to the author's fields, which it does not take: those that stand there stay.
    pub refused: Option<String>,
    /// The author's fields that are said once for all clusters.
    pub over_all: Map<String, Value>,
    /// Why some of them cannot be said, ever.
    pub unresolved: Vec<String>,
}

/// kro's condition types, which every cluster reports.
const TYPES: [&str; 3] = [INSTANCE_MANAGED, "GraphResolved", "ResourcesReady"];
const INSTANCE_MANAGED: &str = "InstanceManaged";
const MAX_ENTRIES: usize = 100;
const MAX_NAMED: usize = 5;
/// Bytes of what one of them says: its nodes are all named, and the rest stands on the mirror.
const MAX_SAID: usize = 600;

impl Aggregate {
    pub fn status(&self, old: &Value, generation: i64, now: &Now) -> Value {
        let mut existing: Vec<Condition> =
            old.get("conditions").and_then(|c| serde_json::from_value(c.clone()).ok()).unwrap_or_default();
        existing.retain(Condition::is_said);
        let by_author = self.by_author.unwrap_or_else(|| !existing.is_empty() && !is_own(&existing));
        let state = self.state();
        let mut conditions = if by_author {
            self.author_conditions(existing, generation, now)
        } else {
            self.own_conditions(existing, generation, now)
        };
        if self.only_local {
            FOR_TOOLS.iter().for_each(|type_| conditions.remove(type_));
        } else {
            self.kstatus(&mut conditions, state);
        }
        let mut status = self.fields(old);
        status.insert("state".into(), json!(state.as_str()));
        // Tools that wait for an object look here first. An author may have a field of that name.
        status.entry("observedGeneration").or_insert_with(|| json!(generation));
        status.insert("conditions".into(), serde_json::to_value(conditions.into_list()).unwrap_or_default());
        if !self.only_local {
            status.insert("fleet".into(), self.fleet());
        }
        Value::Object(status)
    }

    fn own_conditions(&self, mut existing: Vec<Condition>, generation: i64, now: &Now) -> Conditions {
        // What an author defined no longer stays.
        existing
            .retain(|c| c.type_ == READY || [&TYPES[..], &FOR_TOOLS].concat().contains(&c.type_.as_str()));
        let mut conditions = Conditions::new(existing, generation, &now.rfc3339);
        for type_ in TYPES {
            // What was true of a living instance stays said while it goes; `Ready` then tells of the deletion alone.
            if self.deleting
                && type_ != "ResourcesReady"
                && (type_ != INSTANCE_MANAGED || self.unmanaged.is_none())
                && conditions.get(type_).is_some_and(|c| c.status == ConditionStatus::True)
            {
                continue;
            }
            let (status, reason, message) = self.condition(type_);
            conditions.set(type_, status, &reason, &message);
        }
        // Set once: a detour over another value would look like a transition every time.
        match self.outweighs() {
            Some((reason, message)) => conditions.set(READY, ConditionStatus::False, reason, &message),
            None => conditions.set_ready_from(&TYPES),
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
            let (status, reason, message) = self.condition("ResourcesReady");
            conditions.set("ResourcesReady", status, &reason, &message);
            return conditions;
        }
        for type_ in types {
            let (status, reason, message) = self.condition(type_);
            conditions.set(type_, status, &reason, &message);
        }
        // Where nothing can go on before somebody does something, that is said in any case.
        if let Some((reason, message)) = self.outweighs() {
            conditions.set(READY, ConditionStatus::False, reason, &message);
        }
        conditions
    }

    fn state(&self) -> InstanceState {
        let any = |kind| self.entries.iter().any(|e| e.kind == kind);
        if self.deleting {
            InstanceState::Deleting
        } else if any(Standing::Failed)
            || self.graph_missing
            || self.invalid.is_some()
            || self.unmanaged.is_some()
            || self.refused.is_some()
        {
            InstanceState::Error
        } else if self.entries.is_empty() || any(Standing::Progressing) || any(Standing::Unreachable) {
            InstanceState::InProgress
        } else if !self.unresolved.is_empty() {
            // While something is under way, the fields may be said in a moment.
            InstanceState::Error
        } else {
            InstanceState::Active
        }
    }

    /// False if False anywhere, else Unknown if Unknown or without contact anywhere, else True.
    fn condition(&self, type_: &str) -> (ConditionStatus, String, String) {
        if let (INSTANCE_MANAGED, Some(why)) = (type_, &self.unmanaged) {
            return (ConditionStatus::False, "ManagementFailed".into(), why.clone());
        }
        if type_ == "GraphResolved" && self.graph_missing {
            let message = "latest issued graph revision not available".to_owned();
            return (ConditionStatus::False, "ResolutionFailed".into(), message);
        }
        if self.deleting && type_ == "ResourcesReady" {
            return (ConditionStatus::Unknown, "UnderDeletion".into(), self.deletion_message());
        }
        let found: Vec<(&ClusterLine, Condition)> = self
            .entries
            .iter()
            .filter(|e| !e.hub_part || TYPES.contains(&type_))
            .map(|e| {
                let by_author = e.report.as_ref().is_some_and(|r| r.author.is_some());
                let shown = e.report.as_ref().map(Report::shown).unwrap_or_default();
                let own = shown.iter().find(|c| c.type_ == type_).cloned();
                let replaced = match (e.kind, own) {
                    (_, Some(_)) if e.outdated && by_author => {
                        of(type_, ConditionStatus::Unknown, "AwaitingReconciliation", &e.message)
                    }
                    (_, Some(c)) if e.outdated && type_ == "ResourcesReady" => {
                        of(&c.type_, ConditionStatus::False, "NotReady", &e.message)
                    }
                    (Standing::Unreachable, _) => of(type_, ConditionStatus::Unknown, &e.state, &e.message),
                    (Standing::Failed, None) if !by_author => {
                        of(type_, ConditionStatus::False, &e.state, &e.message)
                    }
                    (_, Some(c)) => c,
                    (_, None) => of(type_, ConditionStatus::Unknown, "AwaitingReconciliation", &e.message),
                };
                (e, replaced)
            })
            .collect();
        for status in [ConditionStatus::False, ConditionStatus::Unknown] {
            let bad: Vec<&(&ClusterLine, Condition)> =
                found.iter().filter(|(_, c)| c.status == status).collect();
            if let Some((_, first)) = bad.first() {
                let message = self.name_clusters(&bad);
                return (status, first.reason.clone(), message);
            }
        }
        match found.first() {
            Some((_, c)) => (ConditionStatus::True, c.reason.clone(), c.message.clone()),
            None => (ConditionStatus::Unknown, "AwaitingReconciliation".into(), String::new()),
        }
    }

    fn name_clusters(&self, bad: &[&(&ClusterLine, Condition)]) -> String {
        if self.only_local {
            return bad.first().map(|(_, c)| c.message.clone()).unwrap_or_default();
        }
        // What several clusters say alike is said once.
        let mut said: Vec<(Vec<&str>, &str)> = Vec::new();
        for (entry, condition) in bad.iter().take(MAX_NAMED) {
            match said.iter_mut().find(|(_, message)| *message == condition.message) {
                Some((names, _)) => names.push(entry.name.as_str()),
                None => said.push((vec![entry.name.as_str()], &condition.message)),
            }
        }
        let mut parts: Vec<String> = said
            .iter()
            .map(|(names, message)| format!("{}: {}", names.join(", "), text::cut_nodes(message, MAX_SAID)))
            .collect();
        if bad.len() > MAX_NAMED {
            parts.push(format!("and {} more", bad.len() - MAX_NAMED));
        }
        parts.join("; ")
    }

    fn deletion_message(&self) -> String {
        if self.only_local {
            let own = self.entries.first().map(|e| e.message.clone()).filter(|m| !m.is_empty());
            return own.unwrap_or_else(|| "deleting resources".into());
        }
        let mut parts: Vec<String> = Vec::new();
        for entry in self.entries.iter().take(MAX_NAMED) {
            let what = if entry.message.is_empty() { "deleting resources" } else { &entry.message };
            parts.push(format!(
                "{} (since {}): {}",
                entry.name,
                entry.since,
                text::cut_nodes(what, MAX_SAID)
            ));
        }
        if self.entries.len() > MAX_NAMED {
            parts.push(format!("and {} more", self.entries.len() - MAX_NAMED));
        }
        let stuck = self.entries.iter().any(|e| e.kind == Standing::Unreachable);
        let help = if stuck {
            format!("; to let clusters go without contact: annotate {}=\"name,name\"", hub::RELEASE)
        } else {
            String::new()
        };
        format!("deletion waits for {}{help}", parts.join("; "))
    }

    /// What outweighs the clusters' own words: the reason and the message of `Ready`.
    fn outweighs(&self) -> Option<(&'static str, String)> {
        if let Some(held) = &self.held {
            let names: Vec<&str> = held.kept.iter().map(ClusterName::as_str).collect();
            let message = format!(
                "the placement would lose {} without an edit of this instance; kept until chosen again. To let go: annotate {}={}",
                text::few(&names, MAX_NAMED),
                hub::ALLOW_SHRINK,
                held.token
            );
            return Some(("ShrinkHeld", message));
        }
        if let Some(invalid) = &self.invalid {
            return Some(("InvalidPlacement", invalid.clone()));
        }
        if let Some(why) = self.refused.as_ref().filter(|_| !self.deleting) {
            return Some(("StatusRefused", format!("the hub refuses the fields of the status: {why}")));
        }
        let well = |e: &ClusterLine| e.kind == Standing::Ready;
        if !self.unresolved.is_empty() && !self.deleting && self.entries.iter().all(well) {
            return Some(("StatusUnresolved", text::cut(&self.unresolved.join("; "), MAX_SAID)));
        }
        (self.entries.is_empty() && !self.deleting).then(|| {
            let local = if self.has_local {
                ""
            } else {
                ", or register the hub itself as a Cluster with spec.local: true"
            };
            let message = format!(
                "no cluster is chosen; annotate {}=\"name,name\" (or \"*\") or {}=\"key=value\"{local}",
                hub::CLUSTERS,
                hub::CLUSTER_SELECTOR
            );
            ("NotPlaced", message)
        })
    }

    /// The two conditions that Flux and kstatus read.
    fn kstatus(&self, conditions: &mut Conditions, state: InstanceState) {
        use ConditionStatus::{False, True};
        let (reconciling, stalled) = match state {
            InstanceState::Active => (False, False),
            InstanceState::InProgress | InstanceState::Deleting => (True, False),
            InstanceState::Error => (False, True),
        };
        let text = |status| if status == True { state.as_str() } else { "" };
        conditions.set(
            "Reconciling",
            reconciling,
            if reconciling == True { "Progressing" } else { "Settled" },
            text(reconciling),
        );
        conditions.set("Stalled", stalled, if stalled == True { "Failed" } else { "Moving" }, text(stalled));
    }

    /// The author's fields: what one cluster says, or what all agree on. Kept while an instance is deleted, and while
    /// nobody knows what it should be.
    pub fn fields(&self, old: &Value) -> Map<String, Value> {
        if self.deleting || self.graph_missing || self.refused.is_some() {
            let mut kept = old.as_object().cloned().unwrap_or_default();
            for key in ["state", "conditions", "fleet"] {
                kept.remove(key);
            }
            return kept;
        }
        let tellers: Vec<&ClusterLine> = self.entries.iter().filter(|e| !e.hub_part).collect();
        let reports: Vec<&Report> = tellers.iter().filter_map(|e| e.report.as_ref()).collect();
        let Some((first, rest)) = reports.split_first() else { return self.over_all.clone() };
        let complete = reports.len() == tellers.len();
        first
            .fields
            .iter()
            .filter(|(k, v)| complete && rest.iter().all(|r| r.fields.get(*k) == Some(*v)))
            .filter(|(k, _)| k.as_str() != "fleet")
            .map(|(k, v)| (k.clone(), v.clone()))
            .chain(self.over_all.clone())
            .collect()
    }

    fn fleet(&self) -> Value {
        let mut counts: BTreeMap<Standing, usize> = BTreeMap::new();
        for entry in &self.entries {
            *counts.entry(entry.kind).or_default() += 1;
        }
        let count = |kind| counts.get(&kind).copied().unwrap_or(0);
        let mut sorted: Vec<&ClusterLine> = self.entries.iter().collect();
        sorted.sort_by(|a, b| a.kind.cmp(&b.kind).then_with(|| a.name.cmp(&b.name)));
        json!({
            "desired": self.entries.len(),
            "ready": count(Standing::Ready),
            "progressing": count(Standing::Progressing),
            "failed": count(Standing::Failed),
            "unreachable": count(Standing::Unreachable),
            "summary": format!("{}/{}", count(Standing::Ready), self.entries.len()),
            "clusters": sorted.iter().take(MAX_ENTRIES).map(|e| e.value()).collect::<Vec<_>>(),
        })
    }
}

fn of(type_: &str, status: ConditionStatus, reason: &str, message: &str) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: String::new(),
        observed_generation: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::condition::unseen_status;
    use crate::api::kstatus::{self, Kstatus};
    use std::sync::Arc;

    fn report(state: InstanceState, generation: i64) -> Report {
        let status = match state {
            InstanceState::Active => ConditionStatus::True,
            InstanceState::InProgress | InstanceState::Deleting => ConditionStatus::Unknown,
            InstanceState::Error => ConditionStatus::False,
        };
        Report {
            hub_uid: "u".into(),
            generation,
            revision: "r".into(),
            state,
            ready: 1,
            total: 1,
            message: "m".into(),
            conditions: TYPES.iter().map(|type_| of(type_, status, "Said", "m")).collect(),
            author: None,
            hub_values: Arc::default(),
            fields: Map::new(),
            settled: true,
        }
    }

    fn of_entries(entries: Vec<ClusterLine>) -> Aggregate {
        Aggregate {
            entries,
            only_local: false,
            deleting: false,
            held: None,
            invalid: None,
            graph_missing: false,
            unmanaged: None,
            by_author: Some(false),
            has_local: false,
            unresolved: Vec::new(),
            refused: None,
            over_all: Map::new(),
        }
    }

    /// What the status of an instance of generation 2 says with these entries, before and after the next edit.
    fn told(entries: Vec<ClusterLine>, invalid: Option<&str>) -> (Kstatus, Kstatus) {
        let aggregate = Aggregate { invalid: invalid.map(str::to_owned), ..of_entries(entries) };
        let now = Now { millis: 0, rfc3339: "2026-01-01T00:00:00Z".into() };
        let status = aggregate.status(&unseen_status(), 2, &now);
        let of =
            |generation: i64| kstatus::of(&json!({"metadata": {"generation": generation}, "status": status}));
        (of(2), of(3))
    }

    #[test]
    fn tools_that_wait_take_an_instance_for_ready_when_it_is() {
        use Kstatus::{Current, Failed, InProgress};
        let new = json!({"metadata": {"generation": 1}, "status": unseen_status()});
        assert_eq!(kstatus::of(&new), InProgress, "nobody looked at it");
        let name = ClusterName::new("eu");
        let ready = ClusterHealth::Ready;
        let lost = ClusterHealth::Unreachable { since: "t".into(), message: "m".into() };
        let at = |health: &ClusterHealth, report: Option<Report>| {
            ClusterLine::of(&name, Some(health), report.as_ref(), false, 2)
        };
        for (what, entry, want) in [
            ("no report yet", at(&ready, None), InProgress),
            ("as it was before the edit", at(&ready, Some(report(InstanceState::Active, 1))), InProgress),
            ("under way", at(&ready, Some(report(InstanceState::InProgress, 2))), InProgress),
            ("failed", at(&ready, Some(report(InstanceState::Error, 2))), Failed),
            ("ready", at(&ready, Some(report(InstanceState::Active, 2))), Current),
            ("no contact", at(&lost, Some(report(InstanceState::Active, 2))), InProgress),
            ("refused", ClusterLine::refused(&name, "NotAllowed", "m"), Failed),
            ("not registered yet", ClusterLine::refused(&name, "NotRegistered", "m"), InProgress),
        ] {
            assert_eq!(told(vec![entry], None), (want, InProgress), "{what}");
        }
        assert_eq!(told(Vec::new(), None), (InProgress, InProgress), "placed nowhere");
        assert_eq!(told(Vec::new(), Some("bad words")), (Failed, InProgress));
    }

    #[test]
    fn fields_over_all_clusters_that_nobody_can_say_are_an_error_once_all_else_is_well() {
        let name = ClusterName::new("eu");
        let said = |state: InstanceState| {
            let entry =
                ClusterLine::of(&name, Some(&ClusterHealth::Ready), Some(&report(state, 2)), false, 2);
            let unresolved = vec!["status.n: 1 / 0: division by zero".to_owned()];
            let aggregate = Aggregate { unresolved, ..of_entries(vec![entry]) };
            let now = Now { millis: 0, rfc3339: "2026-01-01T00:00:00Z".into() };
            let status = aggregate.status(&unseen_status(), 2, &now);
            let list = status["conditions"].as_array().unwrap();
            let ready = list.iter().find(|c| c["type"] == "Ready").unwrap();
            format!("{} {}: {}", status["state"], ready["reason"], ready["message"]).replace('"', "")
        };
        assert_eq!(said(InstanceState::Active), "ERROR StatusUnresolved: status.n: 1 / 0: division by zero");
        let under_way = said(InstanceState::InProgress);
        assert!(under_way.starts_with("IN_PROGRESS") && !under_way.contains("Unresolved"), "{under_way}");
    }

    #[test]
    fn the_default_of_a_crd_is_nobodys_word() {
        let entries = vec![ClusterLine::refused(&ClusterName::new("eu"), "NotRegistered", "m")];
        let aggregate = Aggregate { by_author: None, ..of_entries(entries) };
        let now = Now { millis: 0, rfc3339: "2026-01-01T00:00:00Z".into() };
        let status = aggregate.status(&unseen_status(), 1, &now);
        let times: Vec<&Value> =
            status["conditions"].as_array().unwrap().iter().map(|c| &c["lastTransitionTime"]).collect();
        assert!(times.len() > 1 && times.iter().all(|t| **t == "2026-01-01T00:00:00Z"), "{status}");
    }
}
