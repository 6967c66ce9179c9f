//! The revision of a whole kind, which moves as one over all pairs of an instance and a cluster.
//!
//! Its versions are on record as ControllerRevisions of its ClusterPlacement; which one a pair was let run by stands on the
//! mirror. A pair of which nobody knows what stands there is left as it is.

use super::assigned::{condition, only_looked};
use super::ruling::Ruling;
use crate::api::keys::hub;
use crate::api::names::{ClusterName, GroupKind, InstanceKey};
use crate::api::{Object, hash};
use crate::graph::Graph;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::gate::{Gate, Gated, Gates, Itself};
use crate::reconcile::fleet::moved::Assigned;
use crate::reconcile::fleet::{ClusterState, FleetAction, Registered, Was};
use crate::reconcile::policy::Effective;
use crate::reconcile::rollout::approving::Approves;
use crate::reconcile::rollout::pin::{Numbered, Refused, Revisions, Unfit};
use crate::reconcile::rollout::records::{self, Write};
use crate::reconcile::rollout::stages::Place;
use crate::reconcile::rollout::unit::{self, Contact, Frame, Reason, Version};
use crate::reconcile::rollout::versions::{self, Recorded, Records, Target};
use crate::reconcile::rollout::{Admitted, Mark, Progress, Unit, marks};
use crate::reconcile::spoke::{InstanceState, Report, Stands};
use crate::reconcile::{Moment, Now, Retry};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A revision of a definition. Two of the same graph are the same.
#[derive(Clone, Debug)]
pub struct Revision {
    pub number: u64,
    /// Hash of its graph.
    pub graph: Arc<str>,
}

impl PartialEq for Revision {
    fn eq(&self, other: &Self) -> bool {
        self.graph == other.graph
    }
}

/// What is on record of the rollout of one kind.
#[derive(Clone, Debug, Default)]
pub struct KindRecord {
    pub versions: Records<Revision>,
    /// Versions with the stages that somebody approved for them.
    pub approvals: BTreeSet<(u64, Arc<str>)>,
}

/// Uid of the ClusterPlacement that a ControllerRevision is a version of, the kind that it moves, and that version.
pub fn read_kind_version(object: &Object) -> Option<(String, GroupKind, Recorded<Revision>)> {
    let uid = object.label(hub::VERSION_OF)?.to_owned();
    let number = object.0.get("revision").and_then(Value::as_u64).filter(|n| *n > 0)?;
    let data = object.0.get("data")?;
    let kind = data.get("kind")?;
    let text = |value: Option<&'_ Value>| value.and_then(Value::as_str).map(str::to_owned);
    let gk = GroupKind::new(&text(kind.get("group"))?, &text(kind.get("kind"))?);
    let graph = text(data.get("graph"))?.as_str().into();
    let content = Arc::new(Revision { number: data.get("revision")?.as_u64()?, graph });
    Some((uid, gk, Recorded { number, stable: object.label(hub::STABLE) == Some("true"), content }))
}

/// One pair that the rollout moves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub instance: InstanceKey,
    pub cluster: ClusterName,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.instance.short(), self.cluster)
    }
}

/// Whose rollout it is.
#[derive(Clone, Debug)]
pub struct By {
    pub effective: Arc<Effective>,
    /// Uid of the ClusterPlacement.
    pub uid: Arc<str>,
}

/// What the kind is now.
pub struct KindInputs<'a> {
    pub gk: &'a GroupKind,
    pub by: &'a By,
    pub on_record: Option<&'a Arc<KindRecord>>,
    /// The newest graph that serves.
    pub newest: &'a Arc<Graph>,
    pub former: &'a BTreeMap<String, Arc<Graph>>,
    /// Hashes of the graphs of all revisions that there are, by number.
    pub revisions: &'a BTreeMap<u64, String>,
    /// Why graphs of earlier ones cannot be at hand, by hash.
    pub unfit: &'a Unfit,
    pub clusters: &'a Registered,
    pub quiet_until: Moment,
    pub now: &'a Now,
}

impl KindInputs<'_> {
    fn known(&self) -> Revisions<'_> {
        Revisions { newest: self.newest, former: self.former, numbers: self.revisions, unfit: self.unfit }
    }
}

/// What is known of one instance.
pub struct Seen<'a> {
    pub key: &'a InstanceKey,
    pub labels: &'a BTreeMap<String, String>,
    /// It shows nothing of what a revision does to it.
    pub suspended: bool,
    /// The highest revision that it may run, whatever the kind is at.
    pub ceiling: Option<u64>,
    /// How it was on a cluster, by what was written last.
    pub was: &'a dyn Fn(&ClusterName) -> Option<Was>,
    /// The clusters that it runs on, with what each said last.
    pub on: Vec<(ClusterName, Option<Arc<Report>>)>,
    /// The Cluster that stands for the hub, where it runs there as a whole.
    pub on_hub: Option<Itself>,
}

/// What came of a look.
#[derive(Debug, Default)]
pub struct Moves {
    /// Instances whose clusters may run something else now.
    pub changed: BTreeSet<InstanceKey>,
    pub write: Option<FleetAction>,
    /// Hashes of graphs that are to be at hand.
    pub wants: BTreeSet<Arc<str>>,
    /// When time alone may move something.
    pub wake_at: Option<Moment>,
    /// What is said of it is something else now.
    pub news: bool,
}

/// What is kept of a pair.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    assigned: Assigned,
    /// Hash of the graph that it runs by, as far as that is known.
    runs: Option<Arc<str>>,
    place: Arc<Place>,
    suspended: bool,
    ceiling: Option<u64>,
    report: Option<Arc<Report>>,
    well_since: Option<u64>,
    contact_since: Option<u64>,
}

#[derive(Debug)]
struct Walked {
    ruling: Ruling,
    on_record: Arc<KindRecord>,
    target: Target,
    wanted: Arc<Revision>,
    unit: Unit<Member>,
}

#[derive(Debug, Default)]
pub struct KindRollout {
    pairs: BTreeMap<Member, Kept>,
    gates: BTreeMap<InstanceKey, Arc<Gates>>,
    none: Arc<Gates>,
    walked: Option<Walked>,
    progress: Option<Progress>,
    /// All pairs were judged anew, and all gates are to be.
    anew: bool,
    busy: bool,
    retry: Retry,
    /// Why the last version could not be written.
    trouble: Option<String>,
}

impl KindRollout {
    /// What the clusters of an instance may run.
    pub fn gates(&self, key: &InstanceKey) -> &Arc<Gates> {
        self.gates.get(key).unwrap_or(&self.none)
    }

    /// Whether nobody knows of some pair what stands there.
    pub fn is_finding_out(&self) -> bool {
        self.walked.as_ref().is_none_or(|walked| walked.unit.is_connecting())
    }

    pub fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    /// There is no such instance any more, or another one of its name.
    pub fn forget(&mut self, key: &InstanceKey) {
        let own: Vec<Member> = self.members(key).collect();
        for member in own {
            self.drop(&member);
        }
        self.gates.remove(key);
    }

    /// Why a write failed; [`Self::written`] follows.
    pub fn refused(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// How a write ended.
    pub fn written(&mut self, ok: bool, now: &Now) {
        self.busy = false;
        self.trouble = self.trouble.take().filter(|_| !ok);
        self.retry.outcome(ok, now);
    }

    fn members(&self, key: &InstanceKey) -> impl Iterator<Item = Member> + use<> {
        let from = Member { instance: key.clone(), cluster: ClusterName::new("") };
        let own = self.pairs.range(from..).take_while(|(member, _)| member.instance == *key);
        own.map(|(member, _)| member.clone()).collect::<Vec<_>>().into_iter()
    }

    fn drop(&mut self, member: &Member) {
        self.pairs.remove(member);
        if let Some(walked) = &mut self.walked {
            walked.unit.drop(member);
        }
    }

    /// Takes in what is known of an instance, and moves those whose turn it is.
    pub fn look(&mut self, inputs: &KindInputs, seen: Seen) -> Moves {
        let mut moves = Moves::default();
        let before = self.walked.as_ref().map(|walked| walked.ruling.clone());
        let Some(ruling) = Ruling::read(&inputs.by.effective, before) else { return moves };
        let key = seen.key.clone();
        let on_record = inputs.on_record.cloned().unwrap_or_default();
        self.take_in(inputs, &ruling, &on_record, seen);
        let refused = self.frame(inputs, ruling, on_record);
        let Some(mut walked) = self.walked.take() else { return moves };
        for member in self.members(&key) {
            self.put(&mut walked, inputs, &member);
        }
        let now = marks::seconds(inputs.now);
        walked.unit.pass(now);
        let at_hand = inputs.known().graph(&walked.wanted.graph).is_some();
        let readable = inputs.by.effective.invalid.is_none();
        let known = readable && refused.is_none() && matches!(walked.target, Target::Recorded(_)) && at_hand;
        let ready = known && inputs.now.at >= inputs.quiet_until;
        self.turns(&mut walked, inputs, ready, &mut moves);
        self.keep_gates(&walked, inputs, &key, &mut moves);
        let others = if std::mem::take(&mut self.anew) {
            self.pairs.keys().map(|member| member.instance.clone()).collect()
        } else {
            moves.changed.clone()
        };
        for key in others {
            self.keep_gates(&walked, inputs, &key, &mut moves);
        }
        moves.write = self.write(&walked, inputs, ready, refused.is_none());
        let mut progress = walked.unit.progress();
        progress.message = format!("revision {}: {}", walked.wanted.number, progress.message);
        if let Some(why) = &self.trouble {
            progress.message += &format!("; the ControllerRevision of a version cannot be written: {why}");
        }
        if let Some(Refused::Because(why) | Refused::Unfit { why, .. }) =
            refused.filter(|_| !self.pairs.is_empty())
        {
            (progress.reason, progress.message) = (Reason::PinRefused, why);
        }
        let progress = (!self.pairs.is_empty()).then_some(progress);
        moves.news = self.progress != progress;
        self.progress = progress;
        let next = walked.unit.next().map(|at| marks::moment(inputs.now, at));
        let times = next.into_iter().chain([inputs.quiet_until]);
        moves.wake_at = times.chain(self.retry.at()).filter(|at| *at > inputs.now.at).min();
        self.walked = Some(walked);
        moves
    }

    /// What is known of the pairs of an instance.
    fn take_in(&mut self, inputs: &KindInputs, ruling: &Ruling, on_record: &KindRecord, seen: Seen) {
        let key = seen.key.clone();
        let left: Vec<Member> =
            self.members(&key).filter(|m| !seen.on.iter().any(|(name, _)| *name == m.cluster)).collect();
        for member in left {
            self.drop(&member);
        }
        for (cluster, report) in seen.on {
            let state = inputs.clusters.get(&cluster);
            let place = ruling.place(seen.labels, &key, (&cluster, state));
            let name = cluster.clone();
            let member = Member { instance: key.clone(), cluster };
            let kept = self.pairs.entry(member).or_insert_with(|| Kept {
                assigned: Assigned::Unknown,
                runs: None,
                place: place.clone(),
                suspended: false,
                ceiling: None,
                report: None,
                well_since: None,
                contact_since: None,
            });
            (kept.place, kept.report) = (place, report);
            (kept.suspended, kept.ceiling) = (seen.suspended, seen.ceiling);
            let told = kept.report.as_deref().filter(|report| !only_looked(report));
            if let Some(told) = told.filter(|told| kept.runs.as_deref() != Some(&told.revision)) {
                kept.runs = Some(told.revision.as_str().into());
            }
            if kept.assigned == Assigned::Unknown {
                // Nobody has to be asked what the hub runs.
                let own = seen.on_hub.as_ref().filter(|own| own.name == name);
                let stands = own.map_or_else(|| stands(kept.report.as_deref()), by_itself);
                let was = (seen.was)(&name);
                if kept.runs.is_none() {
                    kept.runs = was.as_ref().map(|was| was.graph.as_str().into());
                }
                kept.assigned = if is_leftover(&on_record.versions, stands, kept.report.as_deref()) {
                    Assigned::Unmarked(None)
                } else {
                    stands
                };
                let gate = gate(inputs, &on_record.versions, kept);
                let was = was.filter(|was| gate.is_some_and(|gate| *gate.graph == *was.graph));
                kept.well_since = was.as_ref().and_then(|was| was.well_since);
                // The time that it has to get well goes on, and does not begin anew with each life of the hub.
                if kept.assigned != Assigned::Unknown {
                    kept.contact_since = was.and_then(|was| was.unwell_since).or(kept.contact_since);
                }
            }
        }
    }

    /// What all pairs go by. Where it is another one, every pair is judged anew. Why nothing may be moved, if so.
    fn frame(&mut self, inputs: &KindInputs, ruling: Ruling, on_record: Arc<KindRecord>) -> Option<Refused> {
        let newest = on_record.versions.last_key_value().map(|(_, version)| version.content.clone());
        let (wanted, refused) = match wanted(inputs) {
            Ok(wanted) => (Some(Arc::new(wanted)), None),
            // What was the target stays it.
            Err(refused) => (newest, Some(refused)),
        };
        let Some(wanted) = wanted else {
            self.walked = None;
            return refused;
        };
        let marks = self.pairs.values().filter_map(|kept| kept.assigned.version());
        let approved = on_record.approvals.iter().map(|(number, _)| *number);
        let target = versions::target(&on_record.versions, &*wanted, marks, approved);
        let is_wanted = |content: &_| *content == *wanted;
        let frame = Frame::of(&ruling.rules, target, is_wanted, (&on_record.versions, &on_record.approvals));
        let same = self.walked.as_ref().is_some_and(|walked| {
            *walked.unit.frame() == frame && Arc::ptr_eq(&walked.on_record, &on_record)
        });
        if same {
            return refused;
        }
        let mut walked = Walked { ruling, on_record, target, wanted, unit: Unit::new(frame) };
        let all: Vec<Member> = self.pairs.keys().cloned().collect();
        for member in &all {
            self.put(&mut walked, inputs, member);
        }
        walked.unit.pack();
        self.walked = Some(walked);
        self.anew = true;
        refused
    }

    fn put(&mut self, walked: &mut Walked, inputs: &KindInputs, member: &Member) {
        let Some(kept) = self.pairs.get_mut(member) else { return };
        let now = marks::seconds(inputs.now);
        let versions = &walked.on_record.versions;
        let frame = walked.unit.frame();
        // Where nothing is under way, who comes gets what all have.
        let settled = frame.stable == Some(frame.target) && matches!(walked.target, Target::Recorded(_));
        if settled && kept.assigned == Assigned::Nothing {
            kept.assigned = Assigned::Marked(Mark { version: frame.target, since: now, unjudged: false });
        }
        // It may not have the target, so that changes nothing there. Who comes gets what all have, as far as it may.
        let capped = kept.ceiling.is_some_and(|ceiling| ceiling < walked.wanted.number);
        if capped && kept.assigned == Assigned::Nothing {
            kept.assigned = Assigned::Unmarked(None);
            kept.runs = versions::stable(versions).map(|stable| stable.content.graph.clone());
        }
        // It was moved by a rollout of which nothing is on record any more.
        if is_ended(versions, kept.assigned) {
            kept.assigned = Assigned::Unmarked(None);
        }
        let gate = gate(inputs, versions, kept);
        let health = inputs.clusters.get(&member.cluster).map(|cluster: &ClusterState| &cluster.health);
        let shows = health == Some(&ClusterHealth::Ready) && !kept.suspended;
        kept.contact_since = shows.then(|| kept.contact_since.unwrap_or(now));
        let contact = match (health, kept.contact_since) {
            // Like one out of reach, it neither holds anything up nor counts.
            _ if kept.suspended => Contact::Lost,
            // What may not be looked at there as well.
            (Some(ClusterHealth::Ready), _)
                if kept.assigned == Assigned::Unknown
                    && kept.report.as_deref().is_some_and(Report::is_unseen) =>
            {
                Contact::Lost
            }
            (Some(ClusterHealth::Ready), Some(since)) if kept.assigned != Assigned::Unknown => {
                Contact::Ready(since)
            }
            (Some(ClusterHealth::Ready | ClusterHealth::Connecting), _) => Contact::Connecting,
            _ => Contact::Lost,
        };
        let answer = kept.report.as_deref().filter(|report| answers(gate.as_ref(), report));
        let condition = condition(answer.map(|report| report.state), &mut kept.well_since, now);
        let why = answer.filter(|r| r.state == InstanceState::Error && !r.message.is_empty());
        let mark = match kept.assigned {
            Assigned::Marked(mark) => Some(mark),
            _ => None,
        };
        let version = match kept.assigned {
            _ if capped => Version::Unmarked,
            Assigned::Marked(mark) => Version::Number(mark.version),
            Assigned::Unmarked(_) => Version::Unmarked,
            Assigned::Unknown | Assigned::Nothing => Version::Nothing,
        };
        // Before anything is on record, what stands there is what is to be the first, unless it is known to be another.
        let first = versions.is_empty() && version == Version::Unmarked && kept.runs.is_none();
        let seen = unit::Pair {
            place: kept.place.clone(),
            contact,
            version,
            admitted: mark.map_or(0, |mark| mark.since),
            unjudged: mark.is_some_and(|mark| mark.unjudged),
            condition,
            why: why.map(|report| Arc::from(report.message.as_str())),
            same: first || capped || gate.is_some_and(|gate| gate.graph == walked.wanted.graph),
            refused: None,
            read: unit::Read::default(),
        };
        if walked.unit.pair(member).as_ref() != Some(&seen) {
            walked.unit.put(member, seen, now);
        }
    }

    fn turns(&mut self, walked: &mut Walked, inputs: &KindInputs, ready: bool, moves: &mut Moves) {
        let now = marks::seconds(inputs.now);
        for (member, mark) in walked.unit.turns(ready, now) {
            let Some(kept) = self.pairs.get_mut(&member) else { continue };
            (kept.assigned, kept.well_since) = (Assigned::Marked(mark), None);
            self.put(walked, inputs, &member);
            moves.changed.insert(member.instance);
        }
    }

    fn keep_gates(&mut self, walked: &Walked, inputs: &KindInputs, key: &InstanceKey, moves: &mut Moves) {
        let versions = &walked.on_record.versions;
        let own = self.members(key).filter_map(|member| {
            let stage = walked.unit.stage_name(&member)?.clone();
            let kept = self.pairs.get(&member)?;
            let gate = gate(inputs, versions, kept);
            let runs = |of: &&Recorded<Revision>| gate.as_ref().is_some_and(|g| g.graph == of.content.graph);
            let version = match kept.assigned {
                Assigned::Unmarked(_) => versions::stable(versions).filter(runs).map(|stable| stable.number),
                known => known.version(),
            };
            Some((member.cluster, Gated { stage, version, gate }))
        });
        let gates = Gates(own.collect());
        let at_hand = |gate: &&Gate| inputs.known().graph(&gate.graph).is_some();
        let graphs = gates.0.values().filter_map(|gated| gated.gate.as_ref());
        moves.wants.extend(graphs.filter(|gate| !at_hand(gate)).map(|gate| gate.graph.clone()));
        if *self.gates(key).as_ref() != gates {
            self.gates.insert(key.clone(), Arc::new(gates));
            moves.changed.insert(key.clone());
        }
    }

    /// The next of what has to be on record, or need not be any more.
    fn write(
        &mut self,
        walked: &Walked,
        inputs: &KindInputs,
        ready: bool,
        known: bool,
    ) -> Option<FleetAction> {
        let is_unknown = !known && matches!(walked.target, Target::New(_));
        if self.busy || !self.retry.is_due(inputs.now) || is_unknown {
            return None;
        }
        let name = |number| version_name(&inputs.by.effective, &inputs.by.uid, number);
        // The first is what all run that run anything.
        let records = &walked.on_record.versions;
        let is_it = |pair: &unit::Pair| match pair.version {
            Version::Nothing => true,
            Version::Unmarked => pair.same,
            Version::Number(_) => false,
        };
        let first_is_stable = walked.unit.pairs().all(|(_, pair)| is_it(&pair));
        let kept = records::Kept { records, target: walked.target, ready, first_is_stable };
        let write = kept.next(&walked.unit, || self.run())?;
        self.busy = true;
        Some(match write {
            Write::Record(number, stable) => {
                let body = record(inputs, (&name(number), number), &walked.wanted, stable);
                FleetAction::RecordVersion { name: name(number), body }
            }
            Write::Stable(number) => FleetAction::MarkStable { name: name(number) },
            Write::Drop(number) => FleetAction::DropVersion { name: name(number) },
        })
    }

    /// Versions that a pair may be at.
    fn run(&self) -> Option<BTreeSet<u64>> {
        let mut run = BTreeSet::new();
        for kept in self.pairs.values() {
            match kept.assigned {
                Assigned::Unknown => return None,
                known => run.extend(known.version()),
            }
            let said = kept.report.as_deref().and_then(|report| report.admitted);
            run.extend(said.map(|admitted| admitted.mark.version));
        }
        Some(run)
    }

    /// Why an approval counts for nothing; `None` of the outer: nothing is moved yet.
    pub fn judges(&self, approval: Approves) -> Option<Option<String>> {
        let walked = self.walked.as_ref()?;
        Some(approval.refused_by(&walked.ruling.rules, walked.target.number()))
    }

    /// The revision that all are to run.
    pub fn revision(&self) -> Option<u64> {
        self.walked.as_ref().map(|walked| walked.wanted.number)
    }

    /// Hash of the graph that all are to run by.
    pub fn wanted(&self) -> Option<&Arc<str>> {
        self.walked.as_ref().map(|walked| &walked.wanted.graph)
    }
}

/// The revision that all are to run.
fn wanted(inputs: &KindInputs) -> Result<Revision, Refused> {
    let rollout = inputs.by.effective.rollout.as_ref();
    let Numbered { number, graph } = inputs.known().pinned(rollout.and_then(|rollout| rollout.revision))?;
    Ok(Revision { number, graph })
}

/// What a cluster says stands there.
fn stands(report: Option<&Report>) -> Assigned {
    let Some(report) = report else { return Assigned::Unknown };
    match (report.stands, report.admitted) {
        (Stands::Unknown, _) => Assigned::Unknown,
        (Stands::Nothing, _) => Assigned::Nothing,
        (Stands::Mirror(_), Some(admitted)) => Assigned::Marked(admitted.mark),
        (Stands::Mirror(_), None) => Assigned::Unmarked(None),
    }
}

/// What an instance says that the hub runs.
fn by_itself(own: &Itself) -> Assigned {
    match own.admitted {
        Some(admitted) => Assigned::Marked(admitted.mark),
        None if own.runs => Assigned::Unmarked(None),
        None => Assigned::Nothing,
    }
}

/// Whether what is known of a pair is a mark of a rollout that ended.
fn is_ended(versions: &Records<Revision>, assigned: Assigned) -> bool {
    matches!(assigned, Assigned::Marked(mark) if versions::is_ended(versions, mark.version))
}

/// The same, or the pair runs by another graph than its mark says.
fn is_leftover(versions: &Records<Revision>, stands: Assigned, report: Option<&Report>) -> bool {
    let told = report.filter(|report| !only_looked(report) && !report.does_not_fit());
    let marked = stands.version().and_then(|number| versions.get(&number));
    let differs = told.zip(marked).is_some_and(|(told, of)| *told.revision != *of.content.graph);
    differs || is_ended(versions, stands)
}

/// What a pair may run. Where no turn of it is known, that is what it runs.
fn gate(inputs: &KindInputs, versions: &Records<Revision>, kept: &Kept) -> Option<Gate> {
    match kept.assigned {
        Assigned::Unknown | Assigned::Nothing => None,
        Assigned::Unmarked(_) => {
            let graph = kept.runs.clone()?;
            let of = |(number, hash): (&u64, &String)| (**hash == *graph).then_some(*number);
            let revision = inputs.revisions.iter().rev().find_map(of).unwrap_or_default();
            Some(Gate { revision, graph, admitted: None })
        }
        Assigned::Marked(mark) => {
            let content = &versions.get(&mark.version)?.content;
            let admitted = Some(Admitted { revision: content.number, mark });
            Some(Gate { revision: content.number, graph: content.graph.clone(), admitted })
        }
    }
}

/// Whether a report is about what the pair may run.
fn answers(gate: Option<&Gate>, report: &Report) -> bool {
    let stands = matches!(report.stands, Stands::Mirror(_));
    // What does not fit leaves the mirror as it was.
    let by = |gate: &Gate| {
        *report.revision == *gate.graph && (report.admitted == gate.admitted || report.does_not_fit())
    };
    stands && !only_looked(report) && gate.is_none_or(by)
}

/// The name of a version's ControllerRevision.
fn version_name(by: &Effective, uid: &str, number: u64) -> String {
    let print = hash::fnv32(&format!("ClusterPlacement {uid}"));
    let suffix = format!("-{print:08x}-{number}");
    let room = 253 - suffix.len();
    let name = by.name.name.get(..room).unwrap_or(&by.name.name);
    format!("{}{suffix}", name.trim_end_matches(['-', '.']))
}

/// A version as it is recorded, in the controller's namespace.
fn record(inputs: &KindInputs, (name, number): (&str, u64), revision: &Revision, stable: bool) -> Value {
    let By { effective, uid } = inputs.by;
    let mut labels = json!({hub::VERSION_OF: **uid});
    if stable {
        labels[hub::STABLE] = json!("true");
    }
    let owner = json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "ClusterPlacement", "name": *effective.name.name,
        "uid": **uid, "controller": true,
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
        "revision": number,
        "data": {
            "kind": {"group": *inputs.gk.group, "kind": *inputs.gk.kind},
            "revision": revision.number,
            "graph": *revision.graph,
        },
    })
}
