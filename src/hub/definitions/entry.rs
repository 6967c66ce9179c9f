//! One definition: how far each of its parts is, and what is to be done for it next. Knows no I/O: what it decides it hands
//! out as [`Deed`]s, and what came of them it is told.

use super::compilation::{Begin, Compilation, Print, Verdict};
use super::deeds::Deed;
use super::kind::{Kind, Wish};
use super::revision_writes;
use super::revisions::Revisions;
use super::snapshot::{Needs, Snapshot};
use super::status::{self, Held};
use super::verdicts::Verdicts;
use super::wakes::{self, Subject, Wakes};
use super::{Effect, crd, in_use};
use crate::api::keys::kro;
use crate::api::names::Gvk;
use crate::api::rgd::ResourceGraphDefinition;
use crate::api::{Object, hash};
use crate::graph::{self, Graph};
use crate::hub::request::Request;
use crate::hub::writes::{Part, Writes};
use crate::reconcile::Moment;
use crate::reconcile::Now;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) struct DefinitionEntry {
    pub object: Arc<Object>,
    pub rgd: ResourceGraphDefinition,
    pub compilation: Compilation,
    pub snapshot: Snapshot,
    pub kind: Kind,
    pub care: Care,
    /// The search for a snapshot that can serve while the definition itself cannot.
    pub fallback: Request<()>,
    pub writes: Writes<()>,
    /// The `status.observedGeneration` that was written last: a CRD of kro's own may not keep it.
    pub observed: Option<i64>,
    /// While it is being deleted.
    pub held_by: Option<Held>,
    pub verdicts: Verdicts,
    /// How many pairs of an instance and a cluster run by each revision; `None` until that is known.
    pub in_use: Option<BTreeMap<u64, usize>>,
    /// Why its instances cannot be seen on the hub, if so.
    pub unseen: Option<String>,
}

/// What the hub does for instances of the kind.
#[derive(Clone, Debug)]
pub(super) enum Care {
    /// Nobody watches them.
    None,
    /// They are watched, and no graph fits their CRD.
    Watched,
    Serving(Serving),
}

/// What instances run with.
#[derive(Clone, Debug)]
pub(in crate::hub) struct Serving {
    pub graph: Arc<Graph>,
    /// Whether its CRD may break what is stored.
    pub allow_breaking: bool,
}

/// What is looked at beside the definition itself.
pub(super) struct Situation {
    pub now: Now,
    /// Its CRD on the hub.
    pub served: Option<Arc<Object>>,
    pub snapshots: Revisions,
    /// Whether generated kinds have the column of the clusters; `None` until the clusters are known.
    pub column: Option<bool>,
    /// How many clusters are registered; `None` until that is known.
    pub clusters: Option<usize>,
    /// GraphRevisions kept; 0 keeps all.
    pub limit: usize,
}

impl DefinitionEntry {
    pub fn new(object: Arc<Object>, rgd: ResourceGraphDefinition) -> Self {
        Self {
            object,
            rgd,
            compilation: Compilation::New,
            snapshot: Snapshot::default(),
            kind: Kind::default(),
            care: Care::None,
            fallback: Request::Idle,
            writes: Writes::default(),
            observed: None,
            held_by: None,
            verdicts: Verdicts::default(),
            in_use: None,
            unseen: None,
        }
    }

    pub fn gvk(&self) -> Gvk {
        self.rgd.spec.schema.gvk()
    }
    pub fn allow_breaking(&self) -> bool {
        self.object.annotation(kro::ALLOW_BREAKING) == Some("true")
    }
    pub fn has_finalizer(&self) -> bool {
        self.object.has_finalizer(kro::FINALIZER)
    }
    /// Whether instances are watched.
    pub fn is_watching(&self) -> bool {
        !matches!(self.care, Care::None)
    }
    pub fn serving(&self) -> Option<&Serving> {
        match &self.care {
            Care::Serving(serving) => Some(serving),
            Care::None | Care::Watched => None,
        }
    }
    /// What the hub serves can change what is said of it.
    pub fn is_unsettled(&self) -> bool {
        self.compilation.last().is_some_and(Verdict::is_unsettled)
    }
    /// The kind that the hub serves; else why it does not. `None`: not known yet.
    pub fn kind_said(&self) -> Option<Result<&str, &str>> {
        self.writes.unguarded().map(Err).or_else(|| self.kind.said())
    }
    /// It does not compile, or its CRD cannot be what it has to be.
    fn is_refused(&self) -> bool {
        self.compilation.last().is_some_and(|verdict| verdict.result.is_err())
            || matches!(self.kind_said(), Some(Err(_)))
    }

    /// The time of a subject has come: what it is about may be done again.
    pub fn due(&mut self, subject: Subject) {
        match subject {
            Subject::Compile => self.compilation.due(),
            Subject::Crd => self.kind.due(),
            Subject::Revision => self.snapshot.due(),
            Subject::Finalizers => self.writes.due(Part::Finalizers),
            Subject::Status => self.writes.due(Part::Status),
            Subject::Upkeep | Subject::Former => {}
        }
    }

    /// What is to be done next, which is taken as begun.
    pub fn look(&mut self, at: &Situation, wakes: &mut Wakes) -> Vec<Deed> {
        let mut deeds = Vec::new();
        // Compiling changes nothing, so it waits for nobody.
        let guarded = self.guard(at.now.at, &mut deeds);
        let name = self.object.name();
        let print = self.print();
        let begin = self.compilation.begin(print);
        if begin == Begin::OfAnother {
            // What failed with the spec before is over.
            wakes.settled(name, Subject::Compile);
            wakes.settled(name, Subject::Crd);
        }
        if begin != Begin::No {
            self.fallback = Request::Idle;
            let stored = at.snapshots.status_schema(&graph::spec_hash(&self.rgd.spec));
            deeds.push(Deed::Compile { print, stored });
        } else if let Some(graph) = self.compilation.graph().cloned().filter(|_| guarded) {
            self.bring_about(&graph, at, &mut deeds);
            self.keep_up(at, wakes, &mut deeds);
        }
        if let (true, Some(live)) = (self.is_refused(), &at.served) {
            // The kind is there from before: its instances are cared for.
            deeds.extend(self.fall_back(live, at));
        }
        deeds.extend(self.write_status(at));
        deeds
    }

    /// Whether the definition cannot go without us.
    fn guard(&mut self, now: Moment, deeds: &mut Vec<Deed>) -> bool {
        if self.has_finalizer() || self.object.is_deleting() {
            return true;
        }
        if self.writes.begin_finalizers(now) {
            let mut finalizers = self.object.finalizers();
            finalizers.push(kro::FINALIZER.to_owned());
            deeds.push(Deed::WriteFinalizers { finalizers, delete_crd: None });
        }
        false
    }

    fn print(&self) -> Print {
        let spec = self.object.0.get("spec").cloned().unwrap_or_default();
        hash::json(&json!([spec, graph::meaningful_annotations(&self.rgd)]))
    }

    /// The graph gets its snapshot, and then its CRD.
    fn bring_about(&mut self, graph: &Arc<Graph>, at: &Situation, deeds: &mut Vec<Deed>) {
        if !self.object.is_deleting() {
            let written = self.rgd.status.as_ref().map_or(0, |s| s.last_issued_revision);
            match self.snapshot.look(&graph.hash, written, &at.snapshots, at.now.at) {
                Needs::Nothing => {}
                Needs::Issue(issue) => {
                    deeds.push(Deed::Issue { graph: graph.clone(), issue });
                    return;
                }
                Needs::Wait => return,
            }
        }
        // What is not there needs no care any more while the definition is being deleted.
        let wanted = !self.object.is_deleting() || at.served.is_some();
        let Some(column) = at.column.filter(|_| wanted) else { return };
        let wish = Wish { hash: graph.hash.clone(), column, break_stored: self.allow_breaking() };
        if self.kind.begin(wish, at.now.at) {
            let may = crd::May { create: !self.object.is_deleting(), break_stored: self.allow_breaking() };
            deeds.push(Deed::EnsureCrd { graph: graph.clone(), column, may });
        }
    }

    /// Older snapshots are adopted, and those that are too many go.
    fn keep_up(&self, at: &Situation, wakes: &mut Wakes, deeds: &mut Vec<Deed>) {
        let (name, served) = (self.object.name(), matches!(self.kind_said(), Some(Ok(_))));
        let metadata = &self.rgd.metadata;
        let chores = revision_writes::chores(&at.snapshots, &self.object, metadata, served, at.limit);
        if chores.is_empty() {
            wakes.settled(name, Subject::Upkeep);
        } else if !wakes.is_waiting(name, Subject::Upkeep) {
            // Whether they worked is seen when it is looked again, ever less.
            wakes.failed(name, Subject::Upkeep, wakes::SOON, at.now.at);
            deeds.extend(chores.into_iter().map(Deed::Upkeep));
        }
    }

    /// After a restart, a definition that is refused is served by its newest snapshot that fits the CRD on the hub.
    fn fall_back(&mut self, live: &Arc<Object>, at: &Situation) -> Option<Deed> {
        if self.serving().is_some() || !self.fallback.begin((), at.now.at) {
            return None;
        }
        let snapshots = at.snapshots.snapshots(&self.rgd.metadata.uid);
        Some(Deed::FallBack { snapshots, live: live.clone() })
    }

    /// Lets a definition that is being deleted go, if that may be written now.
    pub fn let_go(&mut self, delete_crd: Option<Arc<Object>>, now: Moment) -> Option<Deed> {
        if !self.has_finalizer() || !self.writes.begin_finalizers(now) {
            return None;
        }
        let finalizers = self.object.finalizers_but(kro::FINALIZER);
        Some(Deed::WriteFinalizers { finalizers, delete_crd })
    }

    /// Watches the kind as this CRD serves it.
    pub fn watch(&mut self, crd: &Value) -> Option<Effect> {
        if self.is_watching() {
            return None;
        }
        self.care = Care::Watched;
        let text = |p: &str| crd.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
        let gvk = Gvk::new(&text("/spec/group"), &text("/spec/versions/0/name"), &text("/spec/names/kind"));
        Some(Effect::Watch { gvk, plural: text("/spec/names/plural") })
    }

    /// Instances run with this graph from now on, as this CRD serves them.
    pub fn serve(&mut self, graph: &Arc<Graph>, allow_breaking: bool, crd: &Value) -> Vec<Effect> {
        let mut effects: Vec<Effect> = self.watch(crd).into_iter().collect();
        let same = |s: &Serving| Arc::ptr_eq(&s.graph, graph) && s.allow_breaking == allow_breaking;
        if !self.serving().is_some_and(same) {
            self.care = Care::Serving(Serving { graph: graph.clone(), allow_breaking });
            let revision = self.snapshot.number_of(&graph.hash);
            effects.push(Effect::Serve { graph: graph.clone(), allow_breaking, revision });
        }
        effects
    }

    /// What is to be written to its status, if that may be written now and has to change.
    pub fn write_status(&mut self, at: &Situation) -> Option<Deed> {
        let now = &at.now;
        if self.compilation.is_under_way() || !self.writes.may_begin_status(&(), now.at) {
            return None;
        }
        let verdict = self.compilation.last();
        let is_open = match verdict {
            None => true,
            Some(verdict) => verdict.result.is_ok() && self.kind_said().is_none(),
        };
        // What was written before a restart stands until all has been said again.
        if is_open && self.rgd.status.is_some() {
            return None;
        }
        let old = self.rgd.status.clone().unwrap_or_default();
        let generation = self.object.generation();
        let new = status::status(&old, generation, &self.progress(at), now);
        let patch = status::patch(self.object.0.get("status"), &new)?;
        if patch == json!({"observedGeneration": generation}) && self.observed == Some(generation) {
            return None;
        }
        self.observed = Some(generation);
        self.writes.begin_status((), now.at);
        Some(Deed::WriteStatus { patch, news: status::news(&old, &new) })
    }

    fn progress(&self, at: &Situation) -> status::Progress {
        let accepted = self.compilation.last().map(|verdict| match &verdict.result {
            Ok(graph) => Ok(status::Compiled {
                topological_order: graph.nodes.iter().map(|n| n.id.clone()).collect(),
                resources: graph.resources.clone(),
            }),
            Err(why) => Err(why.clone()),
        });
        let serving = self.serving().map(|serving| serving.graph.hash.as_str());
        let fleet_before = self.rgd.status.as_ref().and_then(|s| s.fleet.as_ref());
        status::Progress {
            accepted,
            kind: self.kind_said().map(|said| said.map(str::to_owned).map_err(str::to_owned)),
            revision: self.snapshot.revision(at.snapshots.newest()),
            running: self.is_watching(),
            unseen: self.unseen.clone(),
            held_by: self.held_by.clone().filter(|_| self.object.is_deleting()),
            unfit: serving.and_then(|hash| self.verdicts.unfit(hash)),
            fleet: in_use::shown(
                self.verdicts.fleet(fleet_before, at.clusters),
                fleet_before,
                self.in_use.as_ref(),
            ),
        }
    }
}
