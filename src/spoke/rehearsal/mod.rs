//! What a cluster would come to: its actor as it ships, over one read of the cluster, with verbs that store nothing. Each
//! write is tried, and its answer is brought back as if it had been done, until nothing more is to be done.

mod as_if;
mod reading;
#[cfg(test)]
mod tests;
mod trying;
mod writing;

use super::actor::{Actor, Effect, Event};
use super::client::{ApiError, Verbs};
use super::crd::Brought;
use super::messages::{Said, ToSpoke};
use super::schemas::Reader;
use super::store::Store;
use crate::api::names::{GroupKind, HubId, InstanceKey, ObjectRef};
use crate::graph::Graph;
use crate::reconcile::Now;
use crate::reconcile::bounds::Bounds;
use crate::reconcile::spoke::{Report, Side, Task};
use crate::reconcile::world::{Compiled, Definition, World};
use as_if::Versions;
use futures::{StreamExt, stream};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// What is wanted of a cluster.
pub struct Scene {
    pub hub_id: HubId,
    /// The cluster is the hub itself.
    pub local: bool,
    /// Where resources may be written.
    pub bounds: Arc<Bounds>,
    pub facts: Arc<Value>,
    /// Whose instances others may make there.
    pub definitions: Vec<Definition>,
    pub tasks: Vec<Arc<Task>>,
    /// The present.
    pub now: Now,
}

/// A write that was tried.
#[derive(Clone, Debug)]
pub struct Deed {
    pub key: InstanceKey,
    pub object: ObjectRef,
    pub manager: &'static str,
    /// What is there; `None` where nothing is.
    pub before: Option<Arc<Value>>,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Applied {
        body: Arc<Value>,
        after: Arc<Value>,
        /// Why no API server judged it.
        untried: Option<String>,
    },
    Refused(String),
    Deleted,
    DeleteRefused(String),
    /// It lives on without us.
    Released,
}

/// Why a cluster cannot be rehearsed.
#[derive(Debug)]
pub struct Failed {
    /// Completes “you may not …”.
    pub what: String,
    pub error: ApiError,
}

/// What a cluster would come to.
pub struct Rehearsed {
    actor: Actor,
    /// In the order in which they were tried.
    pub deeds: Vec<Deed>,
    /// What is said of each instance of the hub.
    pub reports: BTreeMap<InstanceKey, Report>,
    /// Namespaces that would be made for mirrors.
    pub namespaces: BTreeSet<String>,
    /// Kinds that could be listed in the namespaces of the instances alone.
    pub narrowed: BTreeSet<String>,
    /// It came to rest.
    pub at_rest: bool,
}

impl Rehearsed {
    /// The cluster as it would be.
    pub fn read<T>(&self, f: impl FnOnce(&Store) -> T) -> T {
        self.actor.read_store(f)
    }

    /// A definition as the cluster has it, once all is ready.
    pub fn graph(&self, hub: &Arc<Graph>, side: Side) -> Option<Arc<Graph>> {
        match self.read(|store| store.graph(hub, side)) {
            Compiled::Fits(graph) => Some(graph),
            _ => None,
        }
    }
}

/// An object as it would be, and who wrote it last.
struct AsIf {
    value: Arc<Value>,
    manager: &'static str,
    /// It is not there.
    made: bool,
}

/// What came of one effect.
#[derive(Default)]
struct Answer {
    events: Vec<Event>,
    deed: Option<Deed>,
    /// As it is; `None` where nothing is.
    live: Vec<(ObjectRef, Option<Arc<Value>>)>,
    as_if: Option<(ObjectRef, AsIf)>,
    report: Option<(InstanceKey, Box<Report>)>,
    namespace: Option<String>,
    /// A kind that could not be listed everywhere.
    narrowed: Option<String>,
    crd: Option<(Arc<Graph>, Brought)>,
}

struct Stage<'a> {
    verbs: &'a Verbs,
    reader: &'a Reader,
    hub_id: HubId,
    now: Now,
    /// Where the instances are.
    homes: BTreeSet<String>,
    done: Rehearsed,
    live: HashMap<ObjectRef, Option<Arc<Value>>>,
    as_if: HashMap<ObjectRef, AsIf>,
    versions: Versions,
    /// Definitions whose kind is not served yet, or not as it would be.
    coming: BTreeMap<GroupKind, (Arc<Graph>, Brought)>,
}

/// Requests under way to one cluster.
const AT_ONCE: usize = 8;
/// What waits for no longer than this is waited for; what failed is not tried again.
const PASSES: Duration = Duration::from_millis(150);
/// No cluster has to be asked so often.
const MOST_ROUNDS: usize = 500;

/// Tries all of it, by the same verbs, that store nothing.
///
/// # Errors
/// The cluster cannot be read.
pub async fn rehearse(verbs: &Verbs, reader: &Reader, scene: Scene) -> Result<Rehearsed, Failed> {
    play(&verbs.clone().dry_run(), reader, scene).await
}

async fn play(verbs: &Verbs, reader: &Reader, scene: Scene) -> Result<Rehearsed, Failed> {
    let Scene { hub_id, local, bounds, facts, definitions, tasks, now } = scene;
    let homes = tasks.iter().map(|task| task.key.namespace.to_string());
    let homes = homes.filter(|namespace| !namespace.is_empty()).collect();
    let mut actor = Actor::new(hub_id.clone(), local, bounds, now.clone());
    actor.begin_until(usize::MAX);
    actor.on_message(ToSpoke::Facts(facts));
    definitions.into_iter().for_each(|definition| actor.on_message(ToSpoke::Define(definition)));
    tasks.into_iter().for_each(|task| actor.on_message(ToSpoke::Task(task)));
    let done = Rehearsed {
        actor,
        deeds: Vec::new(),
        reports: BTreeMap::new(),
        namespaces: BTreeSet::new(),
        narrowed: BTreeSet::new(),
        at_rest: false,
    };
    let mut stage = Stage {
        verbs,
        reader,
        hub_id,
        now,
        homes,
        done,
        live: HashMap::new(),
        as_if: HashMap::new(),
        versions: Versions::default(),
        coming: BTreeMap::new(),
    };
    stage.play().await?;
    Ok(stage.done)
}

impl Stage<'_> {
    async fn play(&mut self) -> Result<(), Failed> {
        let last = self.now.at.after(PASSES);
        for _ in 0..MOST_ROUNDS {
            for _ in 0..MOST_ROUNDS {
                if !self.done.actor.is_busy() {
                    break;
                }
                let turn = self.done.actor.begin_turn();
                let stepped = turn.run(|_| ());
                self.done.actor.end_turn(stepped);
            }
            let effects = self.done.actor.take_effects();
            if effects.is_empty() {
                match self.done.actor.next_wake().filter(|at| *at <= last) {
                    Some(at) => self.now.at = at.max(self.now.at),
                    None => {
                        self.done.at_rest = !self.done.actor.is_busy();
                        return Ok(());
                    }
                }
                self.done.actor.at(self.now.clone());
                continue;
            }
            let mut answers = Vec::new();
            {
                let stage = &*self;
                let each = effects.into_iter().map(|effect| stage.answer(effect));
                // In the order of the effects, so that one plan is as another.
                let mut each = stream::iter(each).buffered(AT_ONCE);
                while let Some(answer) = each.next().await {
                    answers.push(answer?);
                }
            }
            answers.into_iter().for_each(|answer| self.take(answer));
        }
        Ok(())
    }

    async fn answer(&self, effect: Effect) -> Result<Answer, Failed> {
        match effect {
            Effect::Say(Said::Report { key, report }) => {
                Ok(Answer { report: Some((key, report)), ..Answer::default() })
            }
            Effect::Perform { key, task, action, resource } => {
                self.perform(key, &task, action, resource).await
            }
            Effect::EnsureCrd { graph, may } => self.ensure_crd(graph, &may).await,
            Effect::Watch { gk, gvk, selector, serial } => self.list(gk, gvk, selector, serial).await,
            Effect::WatchReference { subject, known, serial } => self.reference(subject, known, serial).await,
            Effect::Ask { lookup, .. } => self.ask(lookup).await,
            Effect::Judge { wanted, .. } => self.judge(wanted).await,
            // Nobody waits for what changes by and by.
            Effect::Say(_) | Effect::EndReference(_) | Effect::After(..) => Ok(Answer::default()),
        }
    }

    fn take(&mut self, answer: Answer) {
        let Answer { events, deed, live, as_if, report, namespace, narrowed, crd } = answer;
        self.live.extend(live);
        self.as_if.extend(as_if);
        self.done.deeds.extend(deed);
        self.done.namespaces.extend(namespace);
        self.done.narrowed.extend(narrowed);
        if let Some((key, report)) = report {
            self.done.reports.insert(key, *report);
        }
        if let Some((graph, brought)) = crd.filter(|(_, brought)| *brought != Brought::AsItIs) {
            self.coming.insert(graph.gvk.group_kind(), (graph, brought));
        }
        events.into_iter().for_each(|event| self.done.actor.on_event(event));
    }
}
