//! One line of `status.fleet.clusters`: how an instance is on one cluster.

use super::ClusterHealth;
use crate::api::names::ClusterName;
use crate::api::text;
use crate::reconcile::fleet::placement::{Refusal, Refused};
use crate::reconcile::spoke::{InstanceState, Report};
use serde_json::{Value, json};

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
}

impl LineState {
    pub fn text(&self) -> &str {
        match self {
            Self::Instance(state) => state.as_str(),
            Self::Connecting => "Connecting",
            Self::Unreachable { .. } => "Unreachable",
            Self::Refused(why) => why.as_str(),
            Self::NotReady(reason) => reason,
        }
    }
}

/// What a line means for the instance as a whole, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Failed,
    Unreachable,
    Progressing,
    Ready,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ClusterLine {
    pub name: ClusterName,
    pub state: LineState,
    pub message: String,
    pub since: String,
    pub(super) report: Option<Report>,
    /// The report is of an older generation.
    pub(super) outdated: bool,
    /// Only resources that live on the hub are there: it says nothing of the author's status.
    pub hub_part: bool,
}

impl ClusterLine {
    fn new(name: &ClusterName, state: LineState, message: &str, report: Option<&Report>) -> Self {
        Self {
            name: name.clone(),
            state,
            message: message.to_owned(),
            since: String::new(),
            report: report.cloned(),
            outdated: false,
            hub_part: false,
        }
    }

    pub(in super::super) fn refused(name: &ClusterName, refused: &Refused) -> Self {
        Self::new(name, LineState::Refused(refused.why), &refused.message, None)
    }

    pub(in super::super) fn of(
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
                Self::new(name, LineState::Refused(Refusal::NotRegistered), &message, report)
            }
            Some(ClusterHealth::Unreachable { since, message }) => {
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

    fn in_contact(name: &ClusterName, report: Option<&Report>, leaves: bool, generation: i64) -> Self {
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

    pub(super) fn standing(&self) -> Standing {
        match &self.state {
            LineState::Instance(InstanceState::Active) => Standing::Ready,
            LineState::Instance(InstanceState::InProgress | InstanceState::Deleting) => Standing::Progressing,
            LineState::Instance(InstanceState::Error) => Standing::Failed,
            // What may come by itself is waited for, as with a cluster that cannot be reached.
            LineState::Refused(Refusal::NotRegistered | Refusal::Leaving)
            | LineState::Connecting
            | LineState::Unreachable { .. }
            | LineState::NotReady(_) => Standing::Unreachable,
            LineState::Refused(Refusal::NotAllowed | Refusal::Released) => Standing::Failed,
        }
    }

    /// Whether the cluster may be fine and has just not spoken yet.
    pub(in super::super) fn is_unheard(&self) -> bool {
        let may_speak = match &self.state {
            LineState::Instance(state) => {
                matches!(state, InstanceState::InProgress | InstanceState::Deleting)
            }
            LineState::Connecting => true,
            LineState::Unreachable { .. } | LineState::Refused(_) | LineState::NotReady(_) => false,
        };
        self.report.is_none() && may_speak
    }

    /// Whether it only has to be waited for: requests are under way, or it is not its turn yet.
    pub(in super::super) fn is_under_way(&self) -> bool {
        let under_way = || self.outdated || self.report.as_ref().is_none_or(|r| !r.settled);
        match self.standing() {
            Standing::Ready => true,
            Standing::Progressing => under_way(),
            Standing::Failed | Standing::Unreachable => false,
        }
    }

    /// Whether the cluster has said anything of what is wanted now.
    pub(in super::super) fn has_begun(&self) -> bool {
        self.report.is_some() && !self.outdated
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
    pub(super) fn value(&self) -> Value {
        let mut out = json!({"name": self.name.as_str(), "state": self.state.text(), "since": self.since});
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
