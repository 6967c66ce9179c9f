//! Which version a cluster is told to have, and how it does with it.

use super::{Content, Known};
use crate::api::names::ClusterName;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::entry::Entry;
use crate::reconcile::fleet::moved::Assigned;
use crate::reconcile::fleet::pairs::Pair;
use crate::reconcile::fleet::situation::Situation;
use crate::reconcile::rollout::Mark;
use crate::reconcile::rollout::stages::Place;
use crate::reconcile::rollout::unit::{self, Condition, Contact, Version};
use crate::reconcile::rollout::versions::Target;
use crate::reconcile::spoke::{InstanceState, Report, Stands};
use std::sync::Arc;

/// How a cluster does that said so of the version that it is to have; `well_since`: since when it is well. What was known
/// of that before a restart stands until it answers.
pub fn condition(state: Option<InstanceState>, well_since: &mut Option<u64>, now: u64) -> Condition {
    match state {
        Some(InstanceState::Active) => Condition::Active(*well_since.get_or_insert(now)),
        Some(state) => {
            *well_since = None;
            if state == InstanceState::Error { Condition::Error } else { Condition::Moving }
        }
        None => Condition::Moving,
    }
}

/// It only said what stands there: it was not told to run anything.
pub fn only_looked(report: &Report) -> bool {
    report.revision.is_empty()
}

/// Whether what runs by the graph of this hash may be of a content.
fn is_by(content: &Content, graph: &str) -> bool {
    content.graph.is_empty() || *content.graph == *graph
}

impl Known<'_> {
    /// Takes in what a cluster says stands there, where nobody knew.
    pub fn assign(&self, situation: Situation, name: &ClusterName, pair: &mut Pair) {
        let uid = situation.inputs.instance.uid();
        let report = pair.report.clone().filter(|report| report.hub_uid == uid);
        let moved = pair.moved.get_or_insert_default();
        let open = matches!(moved.assigned, Assigned::Unknown | Assigned::Unmarked(None));
        let Some(report) = report.filter(|_| open) else { return };
        let entry = || Entry::of(situation.inputs.instance.0.get("status"), self.reported, name);
        let assigned = match report.stands {
            Stands::Unknown => return,
            // Somebody took it away: it comes back as what was there.
            Stands::Nothing => match entry().and_then(|e| e.number("version")) {
                Some(version) if self.versions.contains_key(&version) => {
                    Assigned::Marked(Mark { version, since: self.now, unjudged: false })
                }
                _ => Assigned::Nothing,
            },
            Stands::Mirror(Some(mark)) => Assigned::Marked(mark),
            Stands::Mirror(None) => Assigned::Unmarked(self.unmarked(situation, name, &report)),
        };
        if std::mem::replace(&mut moved.assigned, assigned) != Assigned::Unknown {
            return;
        }
        let is_same = |e: &Entry| e.number("version") == moved.assigned.version();
        let well = report.state == InstanceState::Active;
        moved.well_since = entry().filter(|e| well && is_same(e)).and_then(|e| e.well_since());
    }

    /// Generation and hash of the graph of a mirror that says no version: as the cluster says, or as the last written
    /// status does.
    fn is_of(&self, situation: Situation, name: &ClusterName, report: &Report) -> Option<(i64, String)> {
        if !only_looked(report) {
            return Some((report.generation, report.revision.clone()));
        }
        let entry = Entry::of(situation.inputs.instance.0.get("status"), self.reported, name)?;
        let generation = entry.number("observedGeneration").and_then(|n| i64::try_from(n).ok())?;
        Some((generation, entry.text("revision")?.to_owned()))
    }

    /// Whether a mirror that says no version is as the instance is now.
    fn is_current(&self, situation: Situation, name: &ClusterName, report: &Report) -> bool {
        let now = situation.inputs.instance.generation();
        self.is_of(situation, name, report)
            .is_some_and(|(generation, graph)| generation == now && is_by(self.wanted, &graph))
    }

    /// The version on record that such a mirror is of.
    fn unmarked(&self, situation: Situation, name: &ClusterName, report: &Report) -> Option<u64> {
        if let Target::Recorded(number) = self.target
            && self.is_current(situation, name, report)
        {
            return Some(number);
        }
        let (generation, graph) = self.is_of(situation, name, report)?;
        let of = |content: &Content| content.mirror.generation == generation && is_by(content, &graph);
        self.versions.values().rev().find(|version| of(&version.content)).map(|version| version.number)
    }

    /// How a cluster is, for the unit.
    pub fn seen(
        &self,
        situation: Situation,
        name: &ClusterName,
        place: Place,
        pair: &mut Pair,
    ) -> unit::Pair {
        let inputs = situation.inputs;
        let report = pair.report.clone().filter(|report| report.hub_uid == inputs.instance.uid());
        let moved = pair.moved.get_or_insert_default();
        let health = inputs.clusters.get(name).map(|cluster| &cluster.health);
        let is_ready = health == Some(&ClusterHealth::Ready);
        moved.contact_since = is_ready.then(|| moved.contact_since.unwrap_or(self.now));
        let contact = match (health, moved.contact_since) {
            (Some(ClusterHealth::Ready), Some(since)) if moved.assigned != Assigned::Unknown => {
                Contact::Ready(since)
            }
            (Some(ClusterHealth::Ready | ClusterHealth::Connecting), _) => Contact::Connecting,
            _ => Contact::Lost,
        };
        let state = report.as_deref().filter(|report| self.answers(moved.assigned, report)).map(|r| r.state);
        let condition = condition(state, &mut moved.well_since, self.now);
        let why = report.clone().filter(|r| state == Some(InstanceState::Error) && !r.message.is_empty());
        let number = moved.assigned.version();
        let content = number.and_then(|number| self.versions.get(&number)).map(|version| &version.content);
        let unsaid = moved.assigned == Assigned::Unmarked(None);
        let current = report.as_deref().is_some_and(|r| unsaid && self.is_current(situation, name, r));
        let is_target = number.is_some_and(|number| self.target == Target::Recorded(number));
        let (version, mark) = match moved.assigned {
            Assigned::Marked(mark) => (Version::Number(mark.version), Some(mark)),
            Assigned::Unmarked(_) => (Version::Unmarked, None),
            Assigned::Unknown | Assigned::Nothing => (Version::Nothing, None),
        };
        unit::Pair {
            place,
            contact,
            version,
            admitted: mark.map_or(0, |mark| mark.since),
            unjudged: mark.is_some_and(|mark| mark.unjudged),
            condition,
            why: why.map(|report| Arc::from(report.message.as_str())),
            same: is_target || current || content.is_some_and(|content| **content == *self.wanted),
            refused: None,
        }
    }

    /// Whether a report is about what the cluster was told last.
    pub fn answers(&self, assigned: Assigned, report: &Report) -> bool {
        // What does not fit leaves the mirror as it was.
        let unfit = |mark: Mark| {
            let content = self.versions.get(&mark.version).map(|version| &version.content);
            report.does_not_fit() && content.is_some_and(|content| *content.graph == *report.revision)
        };
        let stands = match assigned {
            Assigned::Marked(mark) => report.stands == Stands::Mirror(Some(mark)) || unfit(mark),
            Assigned::Unmarked(_) => matches!(report.stands, Stands::Mirror(_)),
            Assigned::Unknown | Assigned::Nothing => false,
        };
        // What only looked says how it was; that counts where nothing else is to come.
        stands && (!only_looked(report) || !self.can_run(assigned))
    }
}
