//! Which version a cluster is told to have, and how it does with it.

use super::{Content, Known};
use crate::api::keys::hub;
use crate::api::names::ClusterName;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::entry::Entry;
use crate::reconcile::fleet::moved::Assigned;
use crate::reconcile::fleet::on_hub::may_be_local;
use crate::reconcile::fleet::pairs::Pair;
use crate::reconcile::fleet::situation::Situation;
use crate::reconcile::rollout::stages::Place;
use crate::reconcile::rollout::unit::{self, Condition, Contact, Version};
use crate::reconcile::rollout::versions::{self, Recorded, Target};
use crate::reconcile::rollout::{Facts, Mark};
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
        if situation.on_hub.name == *name {
            return self.assign_itself(situation, name, pair);
        }
        let uid = situation.inputs.instance.uid();
        let report = pair.report.clone().filter(|report| report.hub_uid == uid);
        let stood = pair.facts.clone();
        let moved = pair.moved.get_or_insert_default();
        let open = matches!(moved.assigned, Assigned::Unknown | Assigned::Unmarked(None));
        let Some(report) = report.filter(|_| open) else { return };
        let entry = self.entry(situation, name);
        let assigned = match report.stands {
            Stands::Unknown => return,
            // Somebody took it away: it comes back as what was there.
            Stands::Nothing => match self.said(situation, name) {
                Some(version) => Assigned::Marked(Mark { version, since: self.now, unjudged: false }),
                None => Assigned::Nothing,
            },
            Stands::Mirror(mark) => {
                let mark = mark.filter(|mark| !self.is_leftover(*mark, &report));
                let stands = mark.map(|mark| mark.version);
                match self.had_its_turn(situation, name, stands) {
                    Some(later) => Assigned::Marked(later),
                    None => mark.map_or_else(
                        || Assigned::Unmarked(self.unmarked(situation, name, &report)),
                        Assigned::Marked,
                    ),
                }
            }
        };
        if std::mem::replace(&mut moved.assigned, assigned) != Assigned::Unknown {
            return;
        }
        moved.facts = stood.filter(|_| matches!(report.stands, Stands::Mirror(_)));
        let entry = entry.filter(|e| e.number("version") == moved.assigned.version());
        let well = report.state == InstanceState::Active;
        // Since it was read anew, at the most.
        let read = moved.facts.as_ref().and_then(|facts| facts.since).unwrap_or_default();
        let since = entry.as_ref().filter(|_| well).and_then(Entry::well_since);
        moved.well_since = since.map(|since| since.max(read));
        // The time that it has to get well goes on, and does not begin anew with each life of the hub.
        let begun = entry.and_then(|entry| entry.unwell_since());
        moved.contact_since = begun.or(moved.contact_since);
    }

    /// Whether a mark is of a rollout that ended: what came after it was on no record, and may be there instead. Or the cluster
    /// runs by another graph than the mark says.
    fn is_leftover(&self, mark: Mark, report: &Report) -> bool {
        let tells = !only_looked(report) && !report.does_not_fit();
        let differs = |Recorded { content, .. }: &Recorded<Content>| {
            tells && !content.graph.is_empty() && *content.graph != *report.revision
        };
        versions::is_ended(self.versions, mark.version)
            || self.versions.get(&mark.version).is_some_and(differs)
    }

    /// The version that an earlier life of the hub sent to a cluster in its turn, and which is not what stands there: it did
    /// not arrive, or was refused there. `stands`: the version that the mirror says; a mirror that says none is at the version
    /// that all had at the most.
    fn had_its_turn(&self, situation: Situation, name: &ClusterName, stands: Option<u64>) -> Option<Mark> {
        let before = stands.or_else(|| versions::stable(self.versions).map(|version| version.number))?;
        let version = self.said(situation, name).filter(|said| *said > before)?;
        let since = self.entry(situation, name).and_then(|entry| entry.unwell_since());
        Some(Mark { version, since: since.unwrap_or(self.now), unjudged: false })
    }

    /// What the written status says of a cluster.
    fn entry<'s>(&'s self, situation: Situation<'s>, name: &ClusterName) -> Option<Entry<'s>> {
        let status = situation.inputs.instance.0.get("status");
        // Without a rollout of its own, the versions that it shows are those of the kind.
        let is_own = status.is_some_and(|status| status.pointer("/fleet/rollout").is_some());
        Entry::of(status, self.reported, name).filter(|_| is_own)
    }

    /// The version on record that the written status says a cluster has.
    fn said(&self, situation: Situation, name: &ClusterName) -> Option<u64> {
        let number = self.entry(situation, name)?.number("version")?;
        Some(number).filter(|number| self.versions.contains_key(number))
    }

    /// What runs on the hub the instance itself says; where it says nothing, that is what the status says, or what all ran.
    fn assign_itself(&self, situation: Situation, name: &ClusterName, pair: &mut Pair) {
        let instance = situation.inputs.instance;
        let moved = pair.moved.get_or_insert_default();
        if !matches!(moved.assigned, Assigned::Unknown | Assigned::Unmarked(None)) {
            return;
        }
        let mark = instance.annotation(hub::VERSION).and_then(Mark::read);
        let mark = mark.filter(|mark| self.versions.contains_key(&mark.version));
        let stable = versions::stable(self.versions).map(|version| version.number);
        let wanted = match self.target {
            Target::Recorded(number) => Some(number),
            Target::New(_) => None,
        };
        moved.assigned = match mark {
            Some(mark) => Assigned::Marked(mark),
            None if may_be_local(instance) => {
                Assigned::Unmarked(self.said(situation, name).or(stable).or(wanted))
            }
            None => Assigned::Nothing,
        };
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

    /// The version on record that such a mirror is of. Versions may differ in what a mirror does not show, as in overrides:
    /// the one that the status says comes first, then the one that all had.
    fn unmarked(&self, situation: Situation, name: &ClusterName, report: &Report) -> Option<u64> {
        let (generation, graph) = self.is_of(situation, name, report)?;
        let of = |content: &Content| content.mirror.generation == generation && is_by(content, &graph);
        let is_it = |number: &u64| self.versions.get(number).is_some_and(|version| of(&version.content));
        let stable = || versions::stable(self.versions).map(|version| version.number);
        if let Some(known) = self.said(situation, name).filter(is_it).or_else(|| stable().filter(is_it)) {
            return Some(known);
        }
        if let Target::Recorded(number) = self.target
            && self.is_current(situation, name, report)
        {
            return Some(number);
        }
        self.versions.keys().rev().copied().find(is_it)
    }

    /// How a cluster is, for the unit.
    pub fn seen(
        &self,
        situation: Situation,
        name: &ClusterName,
        place: Arc<Place>,
        pair: &mut Pair,
    ) -> unit::Pair {
        let inputs = situation.inputs;
        let report = pair.report.clone().filter(|report| report.hub_uid == inputs.instance.uid());
        let answered = report.as_deref().filter(|report| self.answers(pair, report)).map(|r| r.state);
        let moved = pair.moved.get_or_insert_default();
        let health = inputs.clusters.get(name).map(|cluster| &cluster.health);
        let is_ready = health == Some(&ClusterHealth::Ready);
        moved.contact_since = is_ready.then(|| moved.contact_since.unwrap_or(self.now));
        let is_unseen =
            moved.assigned == Assigned::Unknown && report.as_deref().is_some_and(Report::is_unseen);
        let contact = match (health, moved.contact_since) {
            // What may not be looked at there is like one out of reach: it holds nobody else up.
            (Some(ClusterHealth::Ready), _) if is_unseen => Contact::Lost,
            (Some(ClusterHealth::Ready), Some(since)) if moved.assigned != Assigned::Unknown => {
                Contact::Ready(since)
            }
            (Some(ClusterHealth::Ready | ClusterHealth::Connecting), _) => Contact::Connecting,
            _ => Contact::Lost,
        };
        let condition = condition(answered, &mut moved.well_since, self.now);
        let why = report.clone().filter(|r| answered == Some(InstanceState::Error) && !r.message.is_empty());
        let number = moved.assigned.version();
        let content = number.and_then(|number| self.versions.get(&number)).map(|version| &version.content);
        let unsaid = moved.assigned == Assigned::Unmarked(None);
        let current = report.as_deref().is_some_and(|r| unsaid && self.is_current(situation, name, r));
        let on_hub = situation.on_hub.name == *name;
        let is_same = |content: &Content| match on_hub {
            // What is written counts there at once.
            true => content.graph == self.wanted.graph,
            false => *content == *self.wanted,
        };
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
            same: is_target
                || current
                || (on_hub && unsaid)
                || content.is_some_and(|content| is_same(content)),
            refused: None,
            read: moved.facts.as_ref().map_or_else(unit::Read::default, |facts| unit::Read {
                stale: false,
                since: facts.since,
                unjudged: facts.unjudged,
            }),
        }
    }

    /// Whether a report is about what the cluster was told last.
    pub fn answers(&self, pair: &Pair, report: &Report) -> bool {
        let Some(moved) = &pair.moved else { return false };
        let assigned = moved.assigned;
        let since = |facts: &Option<Arc<Facts>>| facts.as_ref().and_then(|facts| facts.since);
        // What was read anew comes with a write of its own.
        if since(&moved.facts).is_some() && since(&moved.facts) != since(&pair.facts) {
            return false;
        }
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
