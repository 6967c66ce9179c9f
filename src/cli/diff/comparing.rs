//! Two revisions, compared on each cluster.

use super::making::{Failed, Made, MadeObject, Order, make, nothing};
use super::placing::{Decided, Policies, clusters, concerning, place, since};
use super::side::Side;
use crate::api::Object;
use crate::api::hash;
use crate::api::keys::hub;
use crate::api::names::{ClusterName, InstanceKey};
use crate::cli::render::overlay::{Overlaid, overlaid};
use crate::graph::{Graph, Leaf, Origin};
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::overriding::{Layer, recorded};
use crate::reconcile::fleet::placement::{Decision, Past};
use crate::reconcile::policy::{Effective, PolicyName};
use crate::schema::compat;
use crate::view::changes::{
    Action, Change, Changes, ClusterChange, DefinitionChange, InstanceChanges, Named, OfCluster, Told,
    change, groups,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What an instance makes on a cluster, and a print of all that went into it.
struct Rendered {
    print: u64,
    made: Arc<Vec<Made>>,
    facts: Arc<Value>,
}

/// What two such make together, by their prints and how the instance came here.
type Compared = BTreeMap<(Option<u64>, Option<u64>, String), Vec<Arc<Told<InstanceChanges>>>>;

/// One revision, with what was decided of its Placements.
pub struct Revision<'s> {
    pub side: &'s Side<'s>,
    decided: Vec<Decided>,
    /// Overrides, as they were read for a graph.
    layers: BTreeMap<(PolicyName, usize), Arc<Layer>>,
}

/// One instance at one revision.
pub struct Subject<'s> {
    /// Which of the definitions.
    pub at: usize,
    pub graph: &'s Graph,
    pub instance: &'s Object,
    layers: Vec<Arc<Layer>>,
    pub decision: Decision,
    /// Clusters that a guard keeps, and what lets them go.
    held: BTreeMap<ClusterName, String>,
    pub runs_on: BTreeSet<ClusterName>,
    /// What was made of it, by print.
    made: BTreeMap<u64, Arc<Vec<Made>>>,
}

/// Compares them on the clusters of the later one, or those of them that are `wanted`.
///
/// # Errors
/// A fact of a cluster is read and not known; `file` is where it was looked for.
pub fn compare(
    before: &Side,
    after: &Side,
    wanted: Option<&BTreeSet<String>>,
    file: &str,
) -> anyhow::Result<Changes> {
    let mut policies = Policies::default();
    let mut was = Revision::new(before, &mut policies);
    let mut is = Revision::new(after, &mut policies);
    let is_wanted = |name: &ClusterName| wanted.is_none_or(|wanted| wanted.contains(name.as_str()));
    let mut all: BTreeMap<ClusterName, Vec<Arc<Told<InstanceChanges>>>> =
        after.clusters.keys().filter(|name| is_wanted(name)).map(|name| (name.clone(), Vec::new())).collect();
    let mut on_hub = Vec::new();
    let keys: BTreeSet<&InstanceKey> = before.instances.keys().chain(after.instances.keys()).collect();
    for key in keys {
        let mut old = was.subject(key, |instance| since(before, instance, None));
        let decided = old.as_ref().map(|old| &old.decision);
        let mut new = is.subject(key, |instance| since(after, instance, decided));
        let mut known = Compared::new();
        for (name, changes) in &mut all {
            let placement = placement(name, old.as_ref(), new.as_ref());
            let stays = placement == LET_GO;
            let old = old.as_mut().map(|old| old.on(name, before, file)).transpose()?.flatten();
            let new = new.as_mut().map(|new| new.on(name, after, file)).transpose()?.flatten();
            if old.is_none() && new.is_none() {
                continue;
            }
            let print = |of: &Option<Rendered>| of.as_ref().map(|rendered| rendered.print);
            let found = known.entry((print(&old), print(&new), placement.clone())).or_insert_with(|| {
                let old = old.filter(|_| !stays);
                told(old.as_ref(), new.as_ref(), &placement, false)
            });
            changes.extend(found.iter().cloned());
        }
        on_hub.extend(of_hub(old.as_ref().map(|s| (s, before)), new.as_ref().map(|s| (s, after))));
    }
    let mut all: Vec<OfCluster> = all
        .into_iter()
        .map(|(name, instances)| OfCluster { name: Some(name.as_str().to_owned()), instances })
        .collect();
    if wanted.is_none() {
        all.push(OfCluster { name: None, instances: on_hub });
    }
    let (groups, summary) = groups(&all);
    let clusters = if wanted.is_none() { registered(before, after) } else { Vec::new() };
    Ok(Changes { summary, clusters, definitions: definitions(before, after), groups })
}

impl<'s> Revision<'s> {
    /// Decides its Placements.
    pub fn new(side: &'s Side<'s>, policies: &mut Policies) -> Self {
        Self { decided: policies.decide(side), side, layers: BTreeMap::new() }
    }

    /// The Placements that concern an instance.
    pub fn concerning(&self, instance: &Object) -> Vec<Arc<Effective>> {
        concerning(&self.decided, instance).into_iter().map(|decided| decided.of.clone()).collect()
    }

    /// An instance, and where it goes by what it remembers.
    pub fn subject(&mut self, key: &InstanceKey, past: impl FnOnce(&Object) -> Past) -> Option<Subject<'s>> {
        let side = self.side;
        let (at, instance) = side.instances.get(key)?;
        let graph = *side.graphs.get(*at)?;
        let mut layers = Vec::new();
        for decided in concerning(&self.decided, instance) {
            if decided.of.invalid.is_none() && !decided.of.overrides.is_empty() {
                let key = (decided.of.name.clone(), *at);
                let layer =
                    self.layers.entry(key).or_insert_with(|| Arc::new(Layer::read(&decided.of, graph)));
                layers.push(layer.clone());
            }
        }
        let decision = place(side, instance, &self.decided, past(instance));
        let held = held(&concerning(&self.decided, instance), &decision);
        let runs_on = clusters(&decision);
        Some(Subject { at: *at, graph, instance, layers, decision, held, runs_on, made: BTreeMap::new() })
    }
}

impl Subject<'_> {
    /// What it makes on a cluster; `None` where it does not run there.
    fn on(&mut self, name: &ClusterName, side: &Side, file: &str) -> anyhow::Result<Option<Rendered>> {
        let Some(state) = side.clusters.get(name).filter(|_| self.runs_on.contains(name)) else {
            return Ok(None);
        };
        side.ensure_known(self.at, name, file)?;
        let facts = state.facts.clone().unwrap_or_default();
        let (print, made) = match self.overlaid(name, state) {
            Ok(overlaid) => {
                let read = side.reads.get(self.at).into_iter().flatten().chain(&overlaid.facts);
                let read: BTreeMap<String, Option<&Value>> = read
                    .map(|path| (path.join("."), path.iter().try_fold(&*facts, |at, key| at.get(key))))
                    .collect();
                let print = hash::json(&json!([overlaid.instance.0.get("spec"), read]));
                let make = || {
                    let origin =
                        Origin { facts: overlaid.facts.iter().cloned().collect(), ..Origin::default() };
                    let leaf = Leaf { steps: vec!["spec".into()], origin };
                    let leaves = if leaf.origin.facts.is_empty() { Vec::new() } else { vec![leaf] };
                    let instance = &overlaid.instance;
                    make(Order { side, graph: self.graph, instance, leaves, cluster: &facts })
                };
                (print, self.made.entry(print).or_insert_with(make).clone())
            }
            Err(why) => (hash::json(&json!(why)), nothing(self.graph, self.instance, why)),
        };
        Ok(Some(Rendered { print, made, facts }))
    }

    /// The instance as it is on a cluster, by the overrides of its Placements.
    ///
    /// # Errors
    /// What they make of it cannot be told.
    pub fn overlaid(&self, name: &ClusterName, state: &ClusterState) -> Result<Overlaid, String> {
        let limited = &self.decision.limited;
        let reaches = |layer: &&Layer| {
            layer.reaches(name) && limited.get(&layer.of.name).is_none_or(|names| names.contains(name))
        };
        let layers: Vec<&Layer> = self.layers.iter().map(|layer| &**layer).filter(reaches).collect();
        overlaid(self.graph, self.instance, &layers, (name, state))
    }

    /// The rules of overrides that hold for it, as they are put on record.
    pub fn rules(&self) -> Value {
        recorded(&self.layers)
    }

    /// What it makes on the hub, once for all clusters.
    fn on_hub(&self, side: &Side) -> Option<Rendered> {
        let lives_there = self.graph.nodes.iter().any(|node| node.on_hub && node.external.is_none());
        if !lives_there || self.runs_on.is_empty() {
            return None;
        }
        let instance = self.graph.as_served(self.instance).unwrap_or_else(|| self.instance.clone());
        let facts = Arc::new(Value::Null);
        let order =
            Order { side, graph: self.graph, instance: &instance, leaves: Vec::new(), cluster: &Value::Null };
        Some(Rendered { print: 0, made: make(order), facts })
    }
}

fn of_hub(old: Option<(&Subject, &Side)>, new: Option<(&Subject, &Side)>) -> Vec<Arc<Told<InstanceChanges>>> {
    let rendered = |of: Option<(&Subject, &Side)>| of.and_then(|(subject, side)| subject.on_hub(side));
    let (old, new) = (rendered(old), rendered(new));
    if old.is_none() && new.is_none() { Vec::new() } else { told(old.as_ref(), new.as_ref(), "", true) }
}

/// What the guards of an instance and of its Placements keep.
fn held(concerning: &[&Decided], decision: &Decision) -> BTreeMap<ClusterName, String> {
    let mut all = BTreeMap::new();
    for decided in concerning {
        if let Some((kept, token)) = &decided.held {
            let words = format!("token {token} of {}", decided.of.name);
            all.extend(kept.iter().map(|name| (name.clone(), words.clone())));
        }
    }
    if let Some(held) = &decision.held {
        let words = format!("token {}", held.token);
        all.extend(held.kept.iter().map(|name| (name.clone(), words.clone())));
    }
    all
}

pub const LET_GO: &str = "let go: what it made there stays";

/// How an instance comes to a cluster, or goes.
pub fn placement(name: &ClusterName, old: Option<&Subject>, new: Option<&Subject>) -> String {
    let runs = |of: Option<&Subject>| of.is_some_and(|subject| subject.runs_on.contains(name));
    match (runs(old), runs(new)) {
        (false, true) if old.is_none() => "new".to_owned(),
        (false, true) => "comes here".to_owned(),
        (true, false) if new.is_none() => "deleted".to_owned(),
        (true, false) if new.is_some_and(|new| new.decision.orphaned.contains(name)) => LET_GO.to_owned(),
        (true, false) => "leaves".to_owned(),
        (true, true) => {
            let held = new.and_then(|new| new.held.get(name));
            held.map_or_else(String::new, |held| {
                format!("kept until somebody acknowledges: ShrinkHeld, {held}")
            })
        }
        (false, false) => String::new(),
    }
}

/// What changes for an instance and those within it.
fn told(
    old: Option<&Rendered>,
    new: Option<&Rendered>,
    placement: &str,
    on_hub: bool,
) -> Vec<Arc<Told<InstanceChanges>>> {
    let made = |of: Option<&'_ Rendered>| of.map(|rendered| rendered.made.clone()).unwrap_or_default();
    let (before, after) = (made(old), made(new));
    let gone = before.iter().filter(|made| after.iter().all(|other| other.key != made.key));
    let mut out = Vec::new();
    for made in after.iter().chain(gone) {
        let find = |among: &'_ [Made]| among.iter().position(|other| other.key == made.key);
        let pair = Pair {
            before: find(&before).and_then(|at| before.get(at)),
            after: find(&after).and_then(|at| after.get(at)),
            facts: [old, new].map(|of| of.map_or(&Value::Null, |rendered| &*rendered.facts)),
            on_hub,
        };
        let (shown, neutral): (Vec<Change>, Vec<Change>) =
            pair.changes().into_iter().map(|told| (told.shown, told.neutral)).unzip();
        let is_first =
            [&before, &after].iter().any(|all| all.first().is_some_and(|first| first.key == made.key));
        let placement = if is_first { placement } else { "" };
        if shown.is_empty() && placement.is_empty() {
            continue;
        }
        let named = |(namespace, name): (String, String), changes: Vec<Change>| InstanceChanges {
            api_version: made.api_version.clone(),
            kind: made.key.gk.kind.to_string(),
            namespace,
            name,
            placement: placement.to_owned(),
            changes,
        };
        let own = (made.key.namespace.to_string(), made.key.name.to_string());
        out.push(Arc::new(Told { shown: named(own, shown), neutral: named(made.neutral.clone(), neutral) }));
    }
    out
}

fn objects(of: Option<&Made>) -> &[MadeObject] {
    of.map(|made| made.objects.as_slice()).unwrap_or_default()
}

/// One instance at both revisions.
struct Pair<'m> {
    before: Option<&'m Made>,
    after: Option<&'m Made>,
    facts: [&'m Value; 2],
    on_hub: bool,
}

impl Pair<'_> {
    fn changes(&self) -> Vec<Told<Change>> {
        let mut out = self.refused();
        let here = |object: &&MadeObject| object.on_hub == self.on_hub;
        let (old, new) = (objects(self.before), objects(self.after));
        for object in new.iter().filter(here) {
            let same = old.iter().filter(here).find(|other| other.key == object.key);
            let [was, is] = self.facts;
            let before = same.map(|same| same.half(was));
            out.extend(change(Named { node: &object.node, gone: "" }, before, Some(object.half(is))));
        }
        // As deletions go: the last first.
        for object in old.iter().rev().filter(here).filter(|object| self.goes(object)) {
            let gone = if self.after.is_some() { "no node makes it any more" } else { "" };
            let orphaned = Object(object.sketch.object.clone());
            let orphaned = orphaned.annotation(hub::ON_DELETE) == Some("Orphan");
            let gone = if orphaned { "it stays: hub.kro.run/on-delete is Orphan" } else { gone };
            out.extend(change(Named { node: &object.node, gone }, Some(object.half(self.facts[0])), None));
        }
        out
    }

    /// Whether nothing makes the object any more. What fails or waits for that takes nothing away.
    fn goes(&self, object: &MadeObject) -> bool {
        let Some(after) = self.after else { return true };
        after.objects.iter().all(|other| other.key != object.key)
            && after.failed.iter().all(|failed| failed.node != object.node)
            && !after.stuck.contains(&object.node)
    }

    fn refused(&self) -> Vec<Told<Change>> {
        let Some(after) = self.after else { return Vec::new() };
        let before = self.before.map(|made| made.failed.as_slice()).unwrap_or_default();
        let is_new = |failed: &&Failed| failed.on_hub == self.on_hub && !before.contains(failed);
        let refused = after.failed.iter().filter(is_new).map(|failed| {
            Told::same(Change {
                node: failed.node.clone(),
                api_version: String::new(),
                kind: failed.kind.clone(),
                namespace: String::new(),
                name: String::new(),
                action: Action::Refused,
                reason: format!("refused: {}", failed.why),
                fields: Vec::new(),
            })
        });
        refused.collect()
    }
}

/// Clusters that come and go.
pub fn registered(before: &Side, after: &Side) -> Vec<ClusterChange> {
    let line = |name: &String, action: Action, reason: &str| ClusterChange {
        name: name.clone(),
        action,
        reason: reason.to_owned(),
    };
    let come = after.registered.keys().filter(|name| !before.registered.contains_key(*name));
    let gone = before.registered.keys().filter(|name| !after.registered.contains_key(*name));
    let come = come.map(|name| line(name, Action::Create, "to be registered"));
    let gone = gone.map(|name| {
        let emptied = before.is_emptied(name);
        let reason = if emptied { "what runs there is deleted" } else { "what runs there stays" };
        line(name, Action::Delete, reason)
    });
    come.chain(gone).collect()
}

pub fn definitions(before: &Side, after: &Side) -> Vec<DefinitionChange> {
    let by_name = |side: &'_ Side<'_>| -> BTreeMap<String, usize> {
        side.graphs.iter().enumerate().map(|(at, graph)| (graph.rgd_name.clone(), at)).collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut out = Vec::new();
    for name in names {
        let was = old.get(name).and_then(|at| before.graphs.get(*at));
        let is = new.get(name).and_then(|at| after.graphs.get(*at));
        let mut line = DefinitionChange {
            name: name.clone(),
            action: Action::Update,
            from: None,
            to: None,
            schema: Vec::new(),
            breaking: Vec::new(),
        };
        match (was, is) {
            (None, Some(_)) => line.action = Action::Create,
            (Some(_), None) => line.action = Action::Delete,
            (Some(was), Some(is)) if was.hash != is.hash || was.annotations != is.annotations => {
                let found = compat::compare(&was.crd, &is.crd);
                line.schema = found.compatible;
                line.breaking = found.breaking.into_iter().map(|one| one.text).collect();
            }
            _ => continue,
        }
        out.push(line);
    }
    out
}
