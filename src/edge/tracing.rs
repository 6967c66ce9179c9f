//! Reads what one instance has on one cluster: the instance as it stands there, one list for each kind, and what it reads.

use super::connection::Connection;
use super::failure::{Failure, Sort};
use crate::api::keys::kro;
use crate::api::names::InstanceKey;
use crate::api::rgd::ResourceGraphDefinition;
use crate::api::{GroupKind, Gvk, Object, applyset};
use crate::graph::{self, Graph, Options};
use crate::hub::definitions::revisions;
use crate::reconcile::world::{Lookup, Selection};
use crate::spoke::discovery::{self, Served};
use crate::spoke::host::{AnyHost, ThisHost};
use crate::spoke::lists::Which;
use crate::spoke::pool::Pool;
use crate::spoke::schemas::{Book, Reader};
use crate::view::instance;
use crate::view::kinds::Generated;
use crate::view::nodes::{NodeLine, Seen, walk, worst_pods};
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// What tracing any instance needs of the hub.
pub struct Tracer {
    /// Kinds of the hub's definitions, each with the snapshots of its definition by number, the newest last.
    kinds: Vec<(Generated, BTreeMap<i64, Object>)>,
    book: Book,
    pool: Pool,
    /// Graphs by the hash of a snapshot and the kinds that it was judged by.
    graphs: Mutex<HashMap<(String, u64), Arc<Graph>>>,
}

/// How deep and how far one trace goes.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// Instances within instances are opened so often.
    pub nested: usize,
    pub pods: bool,
}

/// An instance on a cluster, to be read there.
pub struct Target<'a> {
    pub kind: &'a Generated,
    pub key: InstanceKey,
    /// The revision that it runs by there, where that is known.
    pub revision: Option<i64>,
    /// `kro.cluster`.
    pub facts: &'a Value,
    /// What the hub says of it there.
    pub said: &'a str,
}

/// A cluster that is read, and where each kind is served there.
pub struct Place<'a> {
    pub connection: &'a Connection,
    /// The hub, where the cluster is another.
    pub hub: Option<&'a Connection>,
    reader: Reader,
    served: Mutex<HashMap<Gvk, Option<Served>>>,
}

impl Tracer {
    /// # Errors
    /// No thread can be had.
    pub fn new(kinds: &[Generated], snapshots: Vec<Object>) -> Result<Self, Failure> {
        let mut by_definition: HashMap<String, BTreeMap<i64, Object>> = HashMap::new();
        for object in snapshots {
            let number = object.0.pointer("/spec/revision").and_then(Value::as_i64).unwrap_or_default();
            let of = object.str_at("/spec/snapshot/name").to_owned();
            by_definition.entry(of).or_default().insert(number, object);
        }
        let with = |kind: &Generated| {
            (kind.clone(), by_definition.get(&kind.definition).cloned().unwrap_or_default())
        };
        let host: AnyHost = Arc::new(ThisHost);
        let pool =
            Pool::start(2, &host).map_err(|e| Failure::new(Sort::Other, "no thread can be started", &e))?;
        Ok(Self {
            kinds: kinds.iter().map(with).collect(),
            book: Book::counting(crate::metrics::Metrics::default()),
            pool,
            graphs: Mutex::default(),
        })
    }

    /// A cluster to read.
    pub fn place<'a>(&self, connection: &'a Connection, hub: Option<&'a Connection>) -> Place<'a> {
        let reader = Reader::new(self.book.clone(), self.pool.clone());
        Place { connection, hub, reader, served: Mutex::default() }
    }

    /// The resources of an instance on a cluster; none where it is not there.
    ///
    /// # Errors
    /// The instance could not be read there.
    pub async fn nodes(
        &self,
        place: &Place<'_>,
        target: &Target<'_>,
        depth: Depth,
    ) -> Result<Vec<NodeLine>, Failure> {
        let namespace = if target.kind.namespaced { &*target.key.namespace } else { "" };
        let found = place.connection.get(&target.kind.resource(), namespace, &target.key.name).await?;
        match found {
            Some(parent) => self.of_parent(place, target, &parent, depth).await,
            None => Ok(Vec::new()),
        }
    }

    fn of_parent<'a>(
        &'a self,
        place: &'a Place<'_>,
        target: &'a Target<'_>,
        parent: &'a Object,
        depth: Depth,
    ) -> LocalBoxFuture<'a, Result<Vec<NodeLine>, Failure>> {
        async move {
            let graph = self.graph(place, target).await?;
            let members = self.members(place, &graph, &target.key).await;
            let mut looked: BTreeMap<Lookup, Result<Vec<Object>, String>> = BTreeMap::new();
            loop {
                let seen = Seen {
                    parent,
                    cluster: target.facts,
                    members: &members.here,
                    on_hub: members.on_hub.as_deref(),
                    unread: &members.unread,
                    looked: &looked,
                    message: target.said,
                };
                let walked = walk(&graph, &seen);
                let wants: Vec<Lookup> =
                    walked.wants.into_iter().filter(|want| !looked.contains_key(want)).collect();
                if wants.is_empty() {
                    let mut nodes = walked.nodes;
                    self.deepen(place, target, (&members.here, depth), &mut nodes).await;
                    return Ok(nodes);
                }
                let on_hub = |lookup: &Lookup| {
                    graph.nodes.iter().any(|n| n.on_hub && n.external.is_some() && n.gvk == lookup.gvk)
                };
                let read = join_all(wants.iter().map(|want| {
                    let connection = place.hub.filter(|_| on_hub(want)).unwrap_or(place.connection);
                    look(place, connection, want)
                }))
                .await;
                looked.extend(wants.into_iter().zip(read));
            }
        }
        .boxed_local()
    }

    /// Opens what is an instance itself, and looks at the pods of workloads.
    async fn deepen(
        &self,
        place: &Place<'_>,
        target: &Target<'_>,
        (members, depth): (&[Object], Depth),
        nodes: &mut [NodeLine],
    ) {
        for node in nodes.iter_mut().filter(|node| node.there > 0 && !node.external) {
            let is =
                |o: &&Object| o.label(kro::NODE_ID) == Some(&node.id) && o.api_version() == node.api_version;
            let own: Vec<&Object> = members.iter().filter(is).collect();
            if depth.pods {
                let mut pods = Vec::new();
                for object in &own {
                    pods.extend(pods_of(place, object).await);
                }
                node.pods = worst_pods(&pods);
            }
            let ([one], true) = (own.as_slice(), depth.nested > 1) else { continue };
            let Some((kind, _)) =
                self.kinds.iter().find(|(kind, _)| kind.gvk.group_kind() == one.group_kind())
            else {
                continue;
            };
            let inner = Target {
                kind,
                key: InstanceKey::of(&one.object_ref()),
                revision: None,
                facts: target.facts,
                said: instance::ready(one).1,
            };
            let deeper = Depth { nested: depth.nested - 1, ..depth };
            match self.of_parent(place, &inner, one, deeper).await {
                Ok(found) => node.nodes = found,
                Err(failure) => node.message = failure.text,
            }
        }
    }

    /// The graph that a cluster runs an instance by.
    async fn graph(&self, place: &Place<'_>, target: &Target<'_>) -> Result<Arc<Graph>, Failure> {
        let definition = &target.kind.definition;
        let snapshots = self.kinds.iter().find(|(kind, _)| kind.definition == *definition).map(|(_, s)| s);
        let chosen = snapshots.and_then(|all| match target.revision {
            Some(number) => all.get(&number).or_else(|| all.values().next_back()),
            None => all.values().next_back(),
        });
        let rgd: ResourceGraphDefinition = chosen
            .and_then(|object| revisions::snapshot(object, ""))
            .ok_or_else(|| Failure::usage(format!("no revision of {definition} can be read on the hub")))?;
        let wanted = graph::kinds_named_by(&rgd);
        let what = format!("read the schemas of {definition}");
        let kinds = place.reader.kinds(place.connection.verbs(), &wanted);
        let kinds = place.connection.within(&what, kinds).await?;
        let key = (graph::spec_hash(&rgd.spec), kinds.print());
        if let Some(known) = self.graphs.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let options = Options { status_schema: revisions::status_schema(&rgd), ..Options::default() };
        let compiled = graph::compile(&rgd, &options, &kinds).map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            Failure::usage(format!("{definition} does not fit this cluster: {first}"))
        })?;
        let compiled = Arc::new(compiled);
        self.graphs.lock().unwrap_or_else(PoisonError::into_inner).insert(key, compiled.clone());
        Ok(compiled)
    }

    /// One list for each kind that the graph makes.
    async fn members(&self, place: &Place<'_>, graph: &Graph, key: &InstanceKey) -> Members {
        let selector = format!("{}={}", kro::APPLYSET_PART_OF, applyset::id(key));
        let mut out = Members { here: Vec::new(), on_hub: None, unread: BTreeMap::new() };
        let made = |on_hub: bool| {
            let of = graph.kinds_of(|node| node.external.is_none() && node.on_hub == on_hub);
            of.into_iter().collect::<Vec<_>>()
        };
        let (here, there) = (made(false), made(true));
        // Where the cluster is the hub, both are there.
        let here = if place.hub.is_none() { [here, there.clone()].concat() } else { here };
        let read = join_all(here.iter().map(|gvk| list(place, place.connection, gvk, &selector, key))).await;
        for (gvk, read) in here.iter().zip(read) {
            match read {
                Ok(objects) => out.here.extend(objects),
                Err(failure) => drop(out.unread.insert(gvk.group_kind().to_string(), failure.text)),
            }
        }
        match place.hub {
            None => out.on_hub = Some(out.here.clone()),
            Some(hub) if !there.is_empty() => {
                let read = join_all(there.iter().map(|gvk| list(place, hub, gvk, &selector, key))).await;
                let read: Result<Vec<Vec<Object>>, Failure> = read.into_iter().collect();
                out.on_hub = read.ok().map(|all| all.concat());
            }
            Some(_) => {}
        }
        out
    }
}

struct Members {
    here: Vec<Object>,
    on_hub: Option<Vec<Object>>,
    unread: BTreeMap<String, String>,
}

/// All of a kind that carries the ApplySet. Who may not list everywhere may do so in the namespace of the instance.
async fn list(
    place: &Place<'_>,
    connection: &Connection,
    gvk: &Gvk,
    selector: &str,
    key: &InstanceKey,
) -> Result<Vec<Object>, Failure> {
    let Some(served) = place.served(connection, gvk).await? else {
        return Err(Failure::usage(format!("{gvk} is not served there")));
    };
    let which = |namespace| Which { namespace, selector: Some(selector) };
    match connection.list(&served.resource, which(None)).await {
        Err(failure) if failure.sort == Sort::Forbidden && served.namespaced && !key.namespace.is_empty() => {
            let own = connection.list(&served.resource, which(Some(&key.namespace))).await;
            // The wider right is not what most people lack.
            own.map_err(|narrow| if narrow.sort == Sort::Forbidden { narrow } else { failure })
        }
        read => read,
    }
}

/// What an external reference names.
async fn look(place: &Place<'_>, connection: &Connection, lookup: &Lookup) -> Result<Vec<Object>, String> {
    let read = async {
        let Some(served) = place.served(connection, &lookup.gvk).await? else {
            return Err(Failure::usage(format!("{} is not served there", lookup.gvk)));
        };
        let namespace = if served.namespaced { &*lookup.namespace } else { "" };
        match &lookup.selection {
            Selection::Name(name) => {
                Ok(connection.get(&served.resource, namespace, name).await?.into_iter().collect())
            }
            Selection::Labels(labels) => {
                let namespace = Some(namespace).filter(|n| !n.is_empty());
                connection.list(&served.resource, Which { namespace, selector: Some(labels) }).await
            }
        }
    };
    read.await.map_err(|failure: Failure| failure.text)
}

/// The pods that a workload selects; none where it is no workload, or they may not be read.
async fn pods_of(place: &Place<'_>, workload: &Object) -> Vec<Object> {
    const WORKLOADS: [&str; 5] = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"];
    let labels = workload.0.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let (Some(labels), true) = (labels, WORKLOADS.contains(&workload.kind())) else { return Vec::new() };
    let each = labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    let selector = each.collect::<Vec<_>>().join(",");
    let pods = Gvk::new("", "v1", "Pod");
    let Ok(Some(served)) = place.served(place.connection, &pods).await else { return Vec::new() };
    let which = Which { namespace: Some(workload.namespace()), selector: Some(&selector) };
    place.connection.list(&served.resource, which).await.unwrap_or_default()
}

impl Place<'_> {
    /// Where a kind is served. What both the hub and the cluster serve is served at one path.
    async fn served(&self, connection: &Connection, gvk: &Gvk) -> Result<Option<Served>, Failure> {
        let known = self.served.lock().unwrap_or_else(PoisonError::into_inner).get(gvk).cloned();
        if let Some(Some(known)) = known {
            return Ok(Some(known));
        }
        let gk: GroupKind = gvk.group_kind();
        let what = format!("look up {gk}");
        let found = discovery::discover(connection.verbs(), &gk, Some(gvk));
        let found = connection.within(&what, found).await?;
        self.served.lock().unwrap_or_else(PoisonError::into_inner).insert(gvk.clone(), found.clone());
        Ok(found)
    }
}
