//! What would change on one cluster as it is: a rehearsal over a person's connection, told by instances.

mod shown;
mod told;

use super::connection::Connection;
use super::failure::{Failure, Sort};
use crate::api::names::{GroupKind, HubId, InstanceKey};
use crate::api::{Gvk, Object};
use crate::graph::{Graph, Leaf};
use crate::reconcile::bounds::Bounds;
use crate::reconcile::spoke::{Goal, HubValues, Part, Task};
use crate::reconcile::world::Definition;
use crate::reconcile::{Moment, Now};
use crate::spoke::host::{AnyHost, ThisHost};
use crate::spoke::pool::Pool;
use crate::spoke::rehearsal::{Scene, rehearse};
use crate::spoke::schemas::{Book, Reader};
use crate::view::changes::{InstanceChanges, Told, planned};
use jiff::{Timestamp, Unit};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use told::{Side, Subject, Telling};

/// An instance, what it is made by, and places that something of note was put in.
#[derive(Clone)]
pub struct Made {
    pub graph: Arc<Graph>,
    pub instance: Object,
    pub leaves: Vec<Leaf>,
}

/// What is wanted of one instance on one cluster.
pub struct Wish {
    pub key: InstanceKey,
    pub gvk: Gvk,
    /// How it comes here, or goes.
    pub placement: String,
    /// As it is now.
    pub before: Option<Made>,
    /// As it would be; `None` where it goes.
    pub after: Option<Made>,
    /// What the cluster would be told; `None`: nothing.
    pub task: Option<Arc<Task>>,
    /// Why that cannot be told.
    pub refused: Option<String>,
}

impl Wish {
    /// Which part of its definition the cluster makes.
    pub fn part(&self) -> &Part {
        match self.task.as_deref().map(|task| &task.goal) {
            Some(Goal::Run { part, .. }) => part,
            _ => &Part::Whole,
        }
    }
}

/// What came of a cluster.
pub struct Planned {
    /// In the order of the wishes. Nothing of it is stored.
    pub instances: Vec<Arc<Told<InstanceChanges>>>,
    /// What the hub would show other clusters of its part of each instance.
    pub on_hub: BTreeMap<InstanceKey, Arc<HubValues>>,
    /// Kinds that the person may list in the namespaces of the instances alone.
    pub narrowed: BTreeSet<String>,
}

/// A cluster, and all that is wanted there.
pub struct Stage<'a> {
    pub connection: &'a Connection,
    pub local: bool,
    /// Where resources may be written.
    pub bounds: &'a Arc<Bounds>,
    /// What `kro.cluster` is.
    pub facts: &'a Arc<Value>,
    pub wishes: &'a [Wish],
}

/// What planning needs for any cluster.
pub struct Planner {
    hub_id: HubId,
    definitions: Vec<Definition>,
    book: Book,
    pool: Pool,
}

impl Planner {
    /// # Errors
    /// No thread can be had.
    pub fn new(hub_id: HubId, definitions: Vec<Definition>) -> Result<Self, Failure> {
        let host: AnyHost = Arc::new(ThisHost);
        let pool =
            Pool::start(2, &host).map_err(|e| Failure::new(Sort::Other, "no thread can be started", &e))?;
        let book = Book::counting(crate::metrics::Metrics::default());
        Ok(Self { hub_id, definitions, book, pool })
    }

    /// What changes there.
    ///
    /// # Errors
    /// The cluster cannot be read, or nothing may be tried there.
    pub async fn plan(&self, stage: &Stage<'_>) -> Result<Planned, Failure> {
        let Stage { connection, local, bounds, facts, wishes } = *stage;
        let tasks = wishes.iter().filter_map(|wish| wish.task.clone()).collect();
        let now = Timestamp::now().round(Unit::Second).unwrap_or_default();
        let scene = Scene {
            hub_id: self.hub_id.clone(),
            local,
            bounds: bounds.clone(),
            facts: facts.clone(),
            definitions: self.definitions.clone(),
            tasks,
            now: Now { at: Moment::default(), rfc3339: now.to_string() },
        };
        let reader = Reader::new(self.book.clone(), self.pool.clone());
        let rehearsed = rehearse(connection.verbs(), &reader, scene).await.map_err(|failed| {
            let seconds = connection.timeout().as_secs();
            Failure::of_request(&failed.error, &connection.server, seconds, &failed.what)
        })?;
        if !rehearsed.at_rest {
            let text =
                format!("{}: it did not come to rest: some instances move without end", connection.name);
            return Err(Failure::usage(text));
        }
        let judged = |graph: &Arc<Graph>, part: &Part| {
            rehearsed.graph(graph, part.side()).unwrap_or_else(|| graph.clone())
        };
        let graphs: BTreeMap<GroupKind, Arc<Graph>> = self
            .definitions
            .iter()
            .map(|definition| (definition.graph.gvk.group_kind(), judged(&definition.graph, &Part::Whole)))
            .collect();
        let telling = Telling { rehearsed: &rehearsed, graphs: &graphs };
        let mut out = Vec::new();
        for wish in wishes {
            let part = wish.part();
            let after =
                wish.after.as_ref().map(|made| Made { graph: judged(&made.graph, part), ..made.clone() });
            let subject = Subject {
                key: wish.key.clone(),
                placement: &wish.placement,
                before: wish.before.as_ref().map(side),
                after: after.as_ref().map(side),
                facts,
                part,
                local,
            };
            match &wish.refused {
                Some(why) => out.push(Arc::new(Told::same(refused(wish, why)))),
                None => out.extend(telling.of(&subject)),
            }
        }
        let on_hub = rehearsed.reports.iter();
        let on_hub = on_hub.map(|(key, report)| (key.clone(), report.hub_values.clone())).collect();
        Ok(Planned { instances: out, on_hub, narrowed: rehearsed.narrowed.clone() })
    }
}

/// An instance of which nothing can be told.
fn refused(wish: &Wish, why: &str) -> InstanceChanges {
    let name = (&*wish.key.namespace, &*wish.key.name);
    InstanceChanges {
        api_version: wish.gvk.api_version(),
        kind: wish.gvk.kind.to_string(),
        namespace: wish.key.namespace.to_string(),
        name: wish.key.name.to_string(),
        placement: wish.placement.clone(),
        changes: vec![planned::refused("", &wish.gvk, name, format!("not planned: {why}"))],
    }
}

fn side(made: &Made) -> Side<'_> {
    Side { graph: &made.graph, instance: &made.instance, leaves: &made.leaves }
}
