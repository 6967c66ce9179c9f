//! One line of `status.fleet.clusters`: how an instance is on one cluster.

use super::ClusterHealth;
use crate::api::names::ClusterName;
use crate::api::text;
use crate::reconcile::fleet::placement::{Refusal, Refused};
use crate::reconcile::spoke::{InstanceState, Report, Stands};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineState {
    /// What is there, in kro's words.
    Instance(InstanceState),
    Connecting,
    Unreachable {
        since: String,
    },
    /// The cluster is not taken, or nobody registered it.
    Refused(Refusal),
    /// Why the Cluster is not ready, in one word.
    NotReady(String),
    /// The content for it cannot be made.
    OverrideFailed,
    /// Nothing is there, and its turn is still to come.
    Waiting,
    /// The revision that it is to run, or to go on by, cannot be made.
    NotCompiled,
}

/// What a line shows of a rollout that moves the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineRollout {
    pub stage: Arc<str>,
    /// What the cluster is told to have.
    pub version: Option<u64>,
    /// It gets something only when its turn comes.
    pub waits: bool,
    /// It says in a moment how it does.
    pub unheard: bool,
    /// It said how it does with that version.
    pub answered: bool,
}

/// What a line shows of the rollout of the whole kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineKind {
    pub stage: Arc<str>,
    /// The version of the kind's rollout that it is at, as far as that is known.
    pub version: Option<u64>,
    /// Nothing is there, and it gets something only when its turn comes.
    pub waits: bool,
}

/// What such a line is called.
pub(super) const OVERRIDE_FAILED: &str = "OverrideFailed";

impl Standing {
    pub const ALL: [Self; 5] = [Self::Failed, Self::Unreachable, Self::Progressing, Self::Ready, Self::Aside];
    pub const NOT_READY: [Self; 3] = [Self::Failed, Self::Unreachable, Self::Progressing];
}

impl LineState {
    pub fn text(&self) -> &str {
        match self {
            Self::Instance(state) => state.as_str(),
            Self::Connecting => "Connecting",
            Self::Unreachable { .. } => "Unreachable",
            Self::Refused(why) => why.as_str(),
            Self::NotReady(reason) => reason,
            Self::OverrideFailed => OVERRIDE_FAILED,
            Self::Waiting => "Waiting",
            Self::NotCompiled => "NotCompiled",
        }
    }

    /// The same, to be kept.
    fn kept(&self) -> Cow<'static, str> {
        match self {
            Self::Instance(state) => state.as_str().into(),
            Self::Connecting => "Connecting".into(),
            Self::Unreachable { .. } => "Unreachable".into(),
            Self::Refused(why) => why.as_str().into(),
            Self::NotReady(reason) => reason.clone().into(),
            Self::OverrideFailed => OVERRIDE_FAILED.into(),
            Self::Waiting => "Waiting".into(),
            Self::NotCompiled => "NotCompiled".into(),
        }
    }
}

/// Why a cluster has a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ground {
    /// Something of the instance is there, may be there or is to be.
    Placed,
    /// What is on the hub is left alone, since no Cluster stands for it.
    LeftOnHub,
    /// It is asked for, and not taken.
    Refused,
}

/// Since when a line is as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    pub state: Cow<'static, str>,
    pub since: Arc<str>,
}

/// What a line means for the instance as a whole, the worst first; by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Standing {
    Failed,
    Unreachable,
    Progressing,
    Ready,
    /// It is told of and counts nowhere: the instance may well not go there.
    Aside,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ClusterLine {
    pub name: ClusterName,
    pub ground: Ground,
    pub state: LineState,
    pub message: String,
    pub(super) report: Option<Arc<Report>>,
    /// The report is of an older generation.
    pub(super) outdated: bool,
    /// Only resources that live on the hub are there: it says nothing of the author's status.
    pub hub_part: bool,
    /// Nobody asks for this very cluster, and a taint keeps the instance away from it.
    pub(super) aside: bool,
    /// Paths of the instance that are otherwise there.
    pub overrides: Option<Arc<[String]>>,
    pub(super) rollout: Option<LineRollout>,
    /// Few have one.
    pub(super) kind: Option<Box<LineKind>>,
}

impl ClusterLine {
    fn new(name: &ClusterName, state: LineState, message: &str, report: Option<&Arc<Report>>) -> Self {
        Self {
            name: name.clone(),
            ground: Ground::Placed,
            state,
            message: message.to_owned(),
            report: report.cloned(),
            outdated: false,
            hub_part: false,
            aside: false,
            overrides: None,
            rollout: None,
            kind: None,
        }
    }

    /// The same where the revision of the whole kind moves as one.
    pub(in super::super) fn of_kind(self, kind: Option<LineKind>) -> Self {
        let Some(kind) = kind else { return self };
        let mut line = self;
        if kind.waits && line.rollout.is_none() && matches!(line.state, LineState::Instance(_)) {
            line.state = LineState::Waiting;
            line.message = format!("its turn comes with stage {}", kind.stage);
            line.report = None;
        }
        Self { kind: Some(Box::new(kind)), ..line }
    }

    /// The same where nothing can be told before the revision can be made again.
    pub(in super::super) fn not_compiled(self, why: &str) -> Self {
        if !matches!(self.state, LineState::Instance(_)) {
            return self;
        }
        let message = format!("{why}; what runs there stays as it is, and is not looked after");
        Self { state: LineState::NotCompiled, message, report: None, outdated: false, ..self }
    }

    /// The same of a cluster where the instance is not as it is written, or is to be and cannot.
    pub(in super::super) fn overridden(
        self,
        (paths, failed): (Option<&Arc<[String]>>, Option<&Arc<str>>),
    ) -> Self {
        let line = Self { overrides: paths.filter(|paths| !paths.is_empty()).cloned(), ..self };
        match (failed, &line.state) {
            (Some(why), LineState::Instance(_)) => {
                let runs = line.report.as_ref().is_some_and(|report| report.stands != Stands::Nothing);
                let stays = if runs { "; what runs there stays" } else { "" };
                let message = format!("{why}{stays}");
                Self { state: LineState::OverrideFailed, message, outdated: false, ..line }
            }
            _ => line,
        }
    }

    pub(in super::super) fn refused(name: &ClusterName, refused: &Refused) -> Self {
        let line = Self::new(name, LineState::Refused(refused.why), &refused.message, None);
        let aside = refused.why == Refusal::Tainted && !refused.named;
        Self { ground: Ground::Refused, aside, ..line }
    }

    /// Nothing chooses the cluster any more, and what is there stays for a while.
    pub(in super::super) fn unmatched(self, why: &str) -> Self {
        let is_well = self.message.is_empty() || self.standing() == Standing::Progressing;
        let message = if is_well { why.to_owned() } else { format!("{why}; {}", self.message) };
        Self { message, ..self }
    }

    pub(in super::super) fn left_on_hub(name: &ClusterName, refused: &Refused) -> Self {
        Self { ground: Ground::LeftOnHub, ..Self::refused(name, refused) }
    }

    pub(in super::super) fn of(
        name: &ClusterName,
        health: Option<&ClusterHealth>,
        report: Option<&Arc<Report>>,
        leaves: bool,
        generation: i64,
    ) -> Self {
        let held = if leaves { "deletion waits for contact; " } else { "" };
        match health {
            None => {
                let message = format!("{held}no Cluster named {name} is registered");
                Self::new(name, LineState::Refused(Refusal::NotRegistered), &message, report)
            }
            Some(
                ClusterHealth::Unreachable { since, message }
                | ClusterHealth::Unauthorized { since, message },
            ) => {
                let message = format!("{held}no contact since {since}: {message}");
                Self::new(name, LineState::Unreachable { since: since.clone() }, &message, report)
            }
            Some(ClusterHealth::NotReady { reason, message }) => {
                Self::new(name, LineState::NotReady(reason.clone()), &format!("{held}{message}"), report)
            }
            Some(ClusterHealth::Connecting) => {
                Self::new(name, LineState::Connecting, &format!("{held}connecting"), report)
            }
            Some(ClusterHealth::Ready) => Self::in_contact(name, report, leaves, generation),
        }
    }

    /// The same where a rollout moves the instance: what runs there is told, whatever is wanted by now.
    pub(in super::super) fn of_version(
        name: &ClusterName,
        health: Option<&ClusterHealth>,
        report: Option<&Arc<Report>>,
        rollout: LineRollout,
    ) -> Self {
        let report = report.filter(|_| !rollout.unheard);
        let mut line = Self::of(name, health, report, false, 0);
        if health == Some(&ClusterHealth::Ready) && rollout.waits {
            line.state = LineState::Waiting;
            line.message = format!("its turn comes with stage {}", rollout.stage);
            line.report = None;
        } else if health == Some(&ClusterHealth::Ready)
            && !rollout.answered
            && let (Some(version), Some(_)) = (rollout.version, report)
        {
            line.state = LineState::Instance(InstanceState::InProgress);
            line.message = format!("waiting for version {version}");
            line.outdated = true;
        }
        Self { rollout: Some(rollout), ..line }
    }

    pub(in super::super) fn in_stage(self, rollout: LineRollout) -> Self {
        Self { rollout: Some(rollout), ..self }
    }

    fn in_contact(name: &ClusterName, report: Option<&Arc<Report>>, leaves: bool, generation: i64) -> Self {
        let state = LineState::Instance;
        match report {
            None if leaves => Self::new(name, state(InstanceState::Deleting), "", None),
            None => Self::new(name, state(InstanceState::InProgress), "waiting for the first report", None),
            // What was true of the content before the edit says nothing of the new one.
            Some(r) if r.generation < generation && !leaves => {
                let message =
                    format!("waiting for generation {generation}; generation {} is there", r.generation);
                let line = Self::new(name, state(InstanceState::InProgress), &message, report);
                Self { outdated: true, ..line }
            }
            Some(r) => Self::new(name, state(r.state), &r.message, report),
        }
    }

    pub(in super::super) fn standing(&self) -> Standing {
        match &self.state {
            _ if self.aside => Standing::Aside,
            LineState::Instance(InstanceState::Active) => Standing::Ready,
            LineState::Instance(InstanceState::InProgress | InstanceState::Deleting) | LineState::Waiting => {
                Standing::Progressing
            }
            LineState::Instance(InstanceState::Error) => Standing::Failed,
            // What may come by itself is waited for, as with a cluster that cannot be reached.
            LineState::Refused(Refusal::NotRegistered | Refusal::Leaving)
            | LineState::Connecting
            | LineState::Unreachable { .. }
            | LineState::NotReady(_) => Standing::Unreachable,
            LineState::Refused(Refusal::NotAllowed | Refusal::Tainted | Refusal::Released)
            | LineState::OverrideFailed
            | LineState::NotCompiled => Standing::Failed,
        }
    }

    /// Whether the cluster may be fine and has just not spoken yet.
    pub(super) fn is_unheard(&self) -> bool {
        let may_speak = match &self.state {
            LineState::Instance(state) => {
                matches!(state, InstanceState::InProgress | InstanceState::Deleting)
            }
            LineState::Connecting => true,
            LineState::Unreachable { .. }
            | LineState::Refused(_)
            | LineState::NotReady(_)
            | LineState::OverrideFailed
            | LineState::Waiting
            | LineState::NotCompiled => false,
        };
        self.report.is_none() && may_speak
    }

    /// Whether it only has to be waited for: requests are under way, or it is not its turn yet.
    pub(in super::super) fn is_under_way(&self) -> bool {
        let under_way = || self.outdated || self.report.as_ref().is_none_or(|r| !r.settled);
        match self.standing() {
            Standing::Ready | Standing::Aside => true,
            Standing::Progressing => self.state != LineState::Waiting && under_way(),
            Standing::Failed | Standing::Unreachable => false,
        }
    }

    /// Whether the cluster has said anything of what is wanted now.
    pub(super) fn has_begun(&self) -> bool {
        self.report.is_some() && !self.outdated
    }

    /// Since when it is as it is, going by what was known before.
    pub(super) fn since(&self, known: Option<&Since>, now: &Arc<str>) -> Since {
        let state = self.state.kept();
        let since = match (known, &self.state) {
            (Some(known), _) if known.state == state => known.since.clone(),
            (_, LineState::Unreachable { since }) => since.as_str().into(),
            _ => now.clone(),
        };
        Since { state, since }
    }

    /// What `kro.clusters` shows of the instance there: facts of the cluster, state and the author's fields.
    pub fn shown(&self, facts: Option<&Value>) -> Value {
        let mut shown = facts.cloned().unwrap_or_else(|| json!({"name": self.name.as_str()}));
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("state".into(), json!(self.state.text()));
            let fields = self.report.as_ref().map(|r| r.fields.clone()).unwrap_or_default();
            shown.insert("status".into(), Value::Object(fields));
        }
        shown
    }

    /// As the status has it.
    pub(in super::super) fn value(&self, since: &str) -> Value {
        let mut out = json!({"name": self.name.as_str(), "state": self.state.text(), "since": since});
        if !self.message.is_empty() {
            out["message"] = json!(text::cut_nodes(&self.message, 400));
        }
        if let Some(report) = &self.report {
            // What only looked knows neither.
            if !report.revision.is_empty() {
                out["observedGeneration"] = json!(report.generation);
                out["revision"] = json!(report.revision);
            }
            if report.total > 0 {
                out["resources"] = json!(format!("{}/{}", report.ready, report.total));
            }
        }
        if let Some(paths) = &self.overrides {
            out["overrides"] = json!(paths);
        }
        let mut put = |[stage_field, version_field]: [&str; 2], stage: &str, version: Option<u64>| {
            out[stage_field] = json!(stage);
            if let Some(version) = version {
                out[version_field] = json!(version);
            }
        };
        let of_kind =
            if self.rollout.is_some() { ["kindStage", "kindVersion"] } else { ["stage", "version"] };
        if let Some(rollout) = &self.rollout {
            put(["stage", "version"], &rollout.stage, rollout.version);
        }
        if let Some(kind) = &self.kind {
            put(of_kind, &kind.stage, kind.version);
        }
        out
    }
}
