//! One instance on one cluster.
//!
//! [`Machine::step`] looks at the [`World`] and returns the [`Action`]s to perform now; the caller performs them, tells
//! the outcome by [`Machine::feed`] and steps again. The order it keeps: generated CRD, mirror, children by dependency,
//! prune, status; for removal: children by descending apply order, wave by wave, then the mirror.

mod children;
mod identity;
mod looked;
mod mirror;
mod moving;
mod nested;
mod nodes;
mod parent;
mod part;
mod pruning;
mod remove;
mod replaced;
mod run;
mod status;
mod stay;
mod task;
mod telling;
pub mod tracked;
mod unrest;
mod write_budget;
mod writing;

pub use super::side::Side;
pub use children::{being_deleted, owner_of};
pub use identity::{Made, mirrored_uid, nested};
pub use mirror::{MirrorContent, namespace_body};
pub use nested::task as nested_task;
pub use part::{HubValues, Part, has_hub_part};
pub use status::{
    DEPENDENTS, FOR_TOOLS, GRAPH_RESOLVED, INCOMPATIBLE, INSTANCE_MANAGED, InstanceState, RESOURCES_READY,
    Report, Stands, fingerprint as report_fingerprint, is_own, merge_patch,
};

pub use task::{Goal, Home, Task};

use super::settled::Rules;
use super::world::{Lookup, Rank, Stored, World};
use super::{Now, Retry};
use crate::api::Object;
use crate::api::applyset::Inventory;
use crate::api::names::{GroupKind, Gvk, ObjectRef};
use crate::api::packed::Packed;
use crate::graph::Graph;
use crate::reconcile::Moment;
use crate::schema::kinds::Kind;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use telling::LastReport;
use tracked::{Tracked, Trouble};
use write_budget::{STATUS, WriteBudget};

/// Whether an existing object may be taken by the first write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// It is known to be ours, or policy says to take it.
    None,
    /// A read must say that nothing is there, or that it is ours.
    MustBeFree,
    /// A read must say that nothing is there, that it is ours, or that it equals what we want.
    AdoptIfEqual,
}

#[derive(Clone, Debug)]
pub enum Action {
    /// Look the kind up, watch it, and say [`super::world::KindState`].
    EnsureKind(GroupKind, Option<Gvk>),
    /// What was listed of the kind lacks what is there: it counts for nothing until it is listed once more.
    ListAnew(GroupKind),
    /// Judge the definition by the schemas of this cluster, and say [`super::world::Compiled`].
    EnsureGraph(Arc<Graph>, Side),
    /// Bring the generated CRD there.
    EnsureCrd {
        graph: Arc<Graph>,
        allow_breaking: bool,
        rank: Rank,
    },
    EnsureNamespace(String),
    Apply(Box<Apply>),
    /// The object left our selection: read it without a selector.
    VerifyGone {
        object: ObjectRef,
        gvk: Gvk,
    },
    Delete {
        object: ObjectRef,
        gvk: Gvk,
        uid: String,
    },
    /// Take our labels off and let it live.
    Release {
        object: ObjectRef,
        gvk: Gvk,
        uid: String,
        patch: Value,
    },
    /// Take `kro.run/finalizer` off an instance whose home is this cluster; these stay.
    RemoveFinalizer {
        object: ObjectRef,
        gvk: Gvk,
        patch: Value,
    },
    /// Replace the status of the mirror, or of an instance whose home is this cluster.
    WriteStatus {
        gvk: Gvk,
        /// Of the object that it is about: one that took its name gets nothing.
        uid: String,
        patch: Value,
    },
}

#[derive(Clone, Debug)]
pub struct Apply {
    pub object: ObjectRef,
    pub gvk: Gvk,
    pub manager: &'static str,
    pub body: Value,
    pub guard: Guard,
    /// Uid of the object that was ours, if it was.
    pub our_uid: Option<String>,
    pub applyset: String,
    /// What the cluster says of the kind, where it is known.
    pub kind: Option<Arc<Kind>>,
    /// The body may carry what was read from a Secret.
    pub carries_secret: bool,
}

impl Apply {
    /// Whether an object that a guarding read found may be written: it is ours, or policy takes it. Else who owns it.
    pub fn may_take(&self, found: &Object) -> Result<(), String> {
        let ours = found.label(crate::api::keys::kro::APPLYSET_PART_OF) == Some(&self.applyset)
            || (!found.uid().is_empty() && self.our_uid.as_deref() == Some(found.uid()));
        let equal = || {
            let rules = Rules { schema: self.kind.as_ref().map(|k| &k.schema), as_served: false };
            self.guard == Guard::AdoptIfEqual && rules.covered(&self.body, &found.0)
        };
        if ours || self.guard == Guard::None || equal() { Ok(()) } else { Err(children::owner_of(found)) }
    }
}

/// What came of an action.
#[derive(Clone, Debug)]
pub enum Outcome {
    Applied {
        object: ObjectRef,
        body: Arc<Value>,
        manager: &'static str,
        stored: Arc<Stored>,
    },
    ApplyFailed {
        object: ObjectRef,
        body: Arc<Value>,
        trouble: Trouble,
        message: String,
        missing_namespace: Option<String>,
        /// There was no answer in time: the API server may still execute it.
        unanswered: bool,
    },
    /// A read without selector said 404.
    Gone {
        object: ObjectRef,
    },
    /// Our labels are off.
    Released {
        object: ObjectRef,
    },
    /// Something of this name is still there: ours, being deleted or no longer selected, or somebody else's.
    StillThere {
        object: ObjectRef,
        /// Of its metadata at least.
        found: Arc<Stored>,
    },
    DeleteFailed {
        object: ObjectRef,
        message: String,
    },
    FinalizerRemoved {
        object: ObjectRef,
    },
    StatusWritten,
    StatusFailed {
        message: String,
        trouble: StatusTrouble,
    },
    NamespaceReady,
    NamespaceFailed {
        message: String,
    },
}

/// Why a status could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusTrouble {
    /// Nothing that is about this status.
    Passing,
    /// The API server does not take it as it is.
    Refused,
    /// There is no such object.
    Missing,
}

/// The result of one step.
#[derive(Debug, Default)]
pub struct Step {
    pub actions: Vec<Action>,
    /// What to tell the hub; always the whole present state.
    pub report: Option<Report>,
    /// Everything is gone: the machine may be dropped.
    pub gone: bool,
    /// Step again at this time, if nothing happens before.
    pub wake_at: Option<Moment>,
    /// All that this instance reads and does not own: to be looked for, and looked at again whenever it changes.
    pub reads: BTreeSet<Lookup>,
    /// Objects that a write is held back from, since they do not come to rest: the report names them.
    pub held: BTreeSet<ObjectRef>,
    /// Objects that it wants and that are in its way, as another instance's or as on their way out: to be looked at again
    /// when they change, whatever their own labels say.
    pub awaited: BTreeSet<ObjectRef>,
}

/// The state of one instance on one cluster. Holds nothing that a restart could not find again.
#[derive(Debug)]
pub struct Machine {
    task: Arc<Task>,
    /// The task that runs on while the definition of the present one does not fit here.
    served: Option<Arc<Task>>,
    objects: BTreeMap<ObjectRef, Box<Tracked>>,
    /// [`Task::wish`] that the present counts of writes began with.
    wish: u64,
    /// Of objects that are neither wanted nor there, and were written lately.
    former: BTreeMap<ObjectRef, WriteBudget>,
    /// Of nodes that replaced their objects by others of new names.
    renames: BTreeMap<String, WriteBudget>,
    status_writes: WriteBudget,
    /// Objects that a read without selector did not find; cleared when they show up again.
    gone: BTreeSet<ObjectRef>,
    /// Namespaces other than the instance's own that rendered children are in.
    extra_namespaces: BTreeSet<String>,
    /// Objects that a read found although our selection does not show them.
    strays: BTreeMap<ObjectRef, Arc<Stored>>,
    /// The mirror that we wrote last or found as we want it, and uid of the hub instance it was for.
    mirror_written: Option<Box<(String, String)>>,
    /// What the parent records, as we wrote it last or found it first.
    record: Option<Arc<Inventory>>,
    /// Nobody else wrote at the record that was found.
    record_is_ours: bool,
    /// All instances of other definitions that this one wants here, once a pass went through all that it wants.
    makes: Option<BTreeSet<ObjectRef>>,
    /// The hub instance as our last write of its inventory returned it.
    written_parent: Option<Arc<Stored>>,
    status_busy: bool,
    status_retry: Retry,
    /// The author's fields that the status write under way offers; `None` where it leaves them as they are.
    status_offered: Option<u64>,
    /// What the API server said to those fields.
    status_refused: Option<(u64, String)>,
    /// The API server did not find the mirror that the store shows.
    mirror_doubted: bool,
    namespace_busy: bool,
    namespace_missing: Option<String>,
    /// What was said.
    namespace_failure: Option<(String, Retry)>,
    last_report: Option<LastReport>,
    /// Milliseconds of the first step.
    first_step: Option<Moment>,
    /// Author's fields of the last run, kept while suspended or deleting; before the first one, those on the wire.
    last_fields: Option<Packed>,
    /// What external references read, by node. One that waits for data goes on reading what it read last.
    reads: BTreeMap<String, Lookup>,
    delete_failures: BTreeMap<ObjectRef, (String, Retry)>,
    /// Objects that were asked to go and wait for their finalizers: when to look again.
    leaving: BTreeMap<ObjectRef, Moment>,
}

impl Machine {
    pub fn new(task: Arc<Task>) -> Self {
        Self {
            wish: task.wish(),
            task,
            served: None,
            objects: BTreeMap::new(),
            former: BTreeMap::new(),
            renames: BTreeMap::new(),
            status_writes: WriteBudget::new(&STATUS),
            gone: BTreeSet::new(),
            extra_namespaces: BTreeSet::new(),
            strays: BTreeMap::new(),
            mirror_written: None,
            record: None,
            record_is_ours: false,
            makes: None,
            written_parent: None,
            status_busy: false,
            status_retry: Retry::default(),
            status_offered: None,
            status_refused: None,
            mirror_doubted: false,
            namespace_busy: false,
            namespace_missing: None,
            namespace_failure: None,
            last_report: None,
            first_step: None,
            last_fields: None,
            reads: BTreeMap::new(),
            delete_failures: BTreeMap::new(),
            leaving: BTreeMap::new(),
        }
    }

    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// The hub wants something else of the same instance. Knowledge of objects stays.
    pub fn retarget(&mut self, task: Arc<Task>) {
        self.forget_former_parent(&task);
        let before = std::mem::replace(&mut self.task, task);
        // Until the next definition is known to fit, the one of before is what works here.
        match (&before.goal, &self.task.goal) {
            (Goal::Run { graph: old, .. }, Goal::Run { graph: new, .. }) if before.is_mirrored() => {
                if old.hash != new.hash && self.last_report.is_some() {
                    self.served.get_or_insert(before);
                }
            }
            _ => self.served = None,
        }
        let wish = self.task.wish();
        if std::mem::replace(&mut self.wish, wish) != wish {
            self.objects.values_mut().for_each(|tracked| tracked.start_afresh());
            self.status_writes.start_afresh();
            self.former.clear();
            self.renames.clear();
        }
    }

    /// Forgets what an instance has nothing of that was at rest for a while; says whether there is nothing more to forget.
    pub fn rest(&mut self, now: &Now) -> bool {
        let mut all = true;
        for tracked in self.objects.values_mut() {
            all &= tracked.rest(now);
        }
        all
    }

    pub fn step(&mut self, world: &dyn World, now: &Now) -> Step {
        self.learn_record(world);
        let mut step = match self.task.goal.clone() {
            Goal::Run { .. } => match run::Wanted::of(&self.task.goal) {
                Some(wanted) => self.run(world, now, &wanted),
                None => Step::default(),
            },
            Goal::GoOn { .. } => self.go_on(world, now),
            Goal::Stay { graph } => self.stay(world, &graph),
            Goal::Remove { group_kinds } => {
                self.reads.clear();
                self.remove(world, now, &group_kinds)
            }
        };
        step.reads = self.reads.values().cloned().collect();
        step
    }

    pub fn feed(&mut self, outcome: Outcome, now: &Now) {
        match outcome {
            Outcome::Applied { object, body, manager, stored } => {
                self.gone.remove(&object);
                if object == self.task.key.object() {
                    self.parent_written(&body, &stored);
                }
                let tracked = self.objects.entry(object).or_default();
                tracked.busy = false;
                tracked.applied(&body, &stored, manager, now);
            }
            Outcome::ApplyFailed { object, body, trouble, message, missing_namespace, unanswered } => {
                let own_namespace = missing_namespace.is_some_and(|n| *n == *self.task.key.namespace);
                let mirror_itself = object == self.task.key.object();
                if own_namespace && mirror_itself && self.task.is_mirrored() {
                    self.namespace_missing = Some(self.task.key.namespace.to_string());
                }
                let tracked = self.objects.entry(object).or_default();
                tracked.busy = false;
                if unanswered {
                    tracked.unanswered(now);
                }
                tracked.fail(trouble, message, &body, now);
            }
            Outcome::Gone { object } => self.note_gone(object),
            Outcome::Released { object } => self.note_released(object),
            Outcome::StillThere { object, found } => self.still_there(object, found, now),
            Outcome::FinalizerRemoved { object } => {
                self.delete_failures.remove(&object);
                if let Some(t) = self.objects.get_mut(&object) {
                    t.busy = false;
                }
            }
            Outcome::DeleteFailed { object, message } => {
                if let Some(t) = self.objects.get_mut(&object) {
                    t.busy = false;
                }
                let failure = self.delete_failures.entry(object).or_default();
                failure.0 = message;
                failure.1.failed(now);
            }
            Outcome::StatusWritten => {
                self.status_busy = false;
                self.status_writes.wrote(now);
                self.status_retry = Retry::default();
            }
            Outcome::StatusFailed { message, trouble } => {
                self.status_busy = false;
                self.status_retry.failed(now);
                match trouble {
                    StatusTrouble::Passing => {}
                    StatusTrouble::Missing => self.mirror_doubted = true,
                    StatusTrouble::Refused => {
                        if let Some(fields) = self.status_offered {
                            self.status_refused = Some((fields, message));
                        }
                    }
                }
            }
            Outcome::NamespaceReady => self.namespace_ready(),
            Outcome::NamespaceFailed { message } => {
                self.namespace_busy = false;
                let failure = self.namespace_failure.get_or_insert_default();
                failure.0 = message;
                failure.1.failed(now);
            }
        }
    }

    fn namespace_ready(&mut self) {
        self.namespace_busy = false;
        self.namespace_missing = None;
        self.namespace_failure = None;
        let mirror = self.task.key.object();
        for (object, tracked) in &mut self.objects {
            if *object == mirror {
                // That was all that was wrong with it.
                tracked.failure = None;
            } else if let Some(f) = &mut tracked.failure {
                f.retry.at_once();
            }
        }
    }

    /// Contact is back: what waited for it is tried at once.
    pub fn reconnected(&mut self) {
        for tracked in self.objects.values_mut() {
            if let Some(f) = &mut tracked.failure
                && f.trouble == Trouble::Contact
            {
                f.retry.at_once();
            }
        }
        for failure in self.delete_failures.values_mut() {
            failure.1.at_once();
        }
        self.status_retry.at_once();
    }

    /// The schema of a kind changed on this cluster.
    pub fn schema_changed(&mut self, gk: &GroupKind) {
        for (object, tracked) in &mut self.objects {
            if object.gk == *gk {
                tracked.schema_changed();
            }
        }
    }

    fn is_quiet(&self) -> bool {
        !self.status_busy && !self.namespace_busy && !self.objects.values().any(|t| t.busy)
    }

    fn parent_written(&mut self, body: &Value, stored: &Arc<Stored>) {
        self.note_record(stored);
        if self.task.is_local() {
            self.written_parent = Some(stored.clone());
        }
        let labels = body.pointer("/metadata/labels");
        let hub_uid = labels.and_then(|l| l.get(crate::api::keys::hub::INSTANCE_UID)).and_then(Value::as_str);
        if let Some(hub_uid) = hub_uid.filter(|_| self.task.is_mirrored()) {
            self.mirror_written = Some(Box::new((stored.object.uid().to_owned(), hub_uid.to_owned())));
        }
    }

    /// When to step again if nothing happens before. What is due now was tried in this step, or waits for an event.
    fn wake_at(&self, now: &Now) -> Option<Moment> {
        let objects = self.objects.values().filter_map(|tracked| tracked.wake_at());
        let failed = self.delete_failures.values().filter_map(|f| f.1.at());
        let deletes = failed.chain(self.leaving.values().copied());
        let late = self.objects.values().filter_map(|t| t.uncertain_until(now));
        let renames = self
            .renames
            .values()
            .chain(self.former.values())
            .flat_map(|r| [r.held_until(), r.calm_at()])
            .flatten();
        let objects = objects.chain(renames);
        let status = [self.status_retry.at(), self.status_writes.held_until()].into_iter().flatten().max();
        let status = status.filter(|_| !self.status_busy);
        let namespace =
            self.namespace_failure.as_ref().and_then(|f| f.1.at()).filter(|_| !self.namespace_busy);
        objects.chain(deletes).chain(late).chain(status).chain(namespace).filter(|at| *at > now.at).min()
    }
}
