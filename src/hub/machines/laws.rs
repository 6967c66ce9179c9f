//! What must never happen on the way, and what must be so when all is at rest.

use super::api_server::Server;
use super::graphs::{
    Blueprint, CALM_VALUE, Expected, Outside, Plan, Sort, Wish, app_kind, is_outside, outside,
};
use super::world::{LeftRecords, World, hub_site, instance_key};
use crate::api::applyset::Inventory;
use crate::api::keys::{hub, kro};
use crate::api::names::{ClusterName, InstanceKey, ObjectRef};
use crate::api::{Object, applyset};
use crate::reconcile::fleet::Fleet;
use crate::reconcile::fleet::placement;
use crate::reconcile::spoke::{Action, Goal, Home, InstanceState, Step, Task};
use crate::reconcile::world::{Looked, Selection, World as _};
use crate::spoke::store::Store;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Default)]
pub struct Laws {
    broken: Vec<String>,
    /// The hub lost its memory of some instances: what they left on spokes is named nowhere.
    pub amnesia: bool,
    /// Mirrors that somebody deleted, and with them the only record of the kinds that they made there.
    pub unrecorded: BTreeSet<(ClusterName, InstanceKey)>,
    /// Instances whose words somebody changed after they were created.
    pub edited: BTreeSet<InstanceKey>,
    /// What the record says is held, since when nobody chose, edited or acknowledged.
    held: BTreeSet<(InstanceKey, ClusterName)>,
    /// The record that somebody chose, edited or acknowledged against. It stands until the hub writes the next one.
    answered: BTreeMap<InstanceKey, Option<String>>,
    /// When somebody changed back what one actor repairs.
    fights: BTreeMap<(ClusterName, ObjectRef, u64), Vec<u64>>,
    /// When one actor wrote an object, since somebody wanted something else of its instance.
    writes: BTreeMap<(ClusterName, u64, ObjectRef), (u64, Vec<u64>)>,
}

/// Repairs that a foreign writer may provoke within ten minutes: three of a fight, and those that come along with a write
/// that was due for another reason.
const REPAIRS: usize = 16;

/// Writes of one object within ten minutes while nobody wants anything else: about twenty, and those whose answer was lost.
const WRITES: usize = 40;

/// One step of an instance on a cluster, and what it saw there.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    pub site: &'a ClusterName,
    pub store: &'a Store,
    pub task: &'a Task,
    pub step: &'a Step,
}

impl Laws {
    pub fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }
    pub fn verdict(&self) -> Result<(), String> {
        if self.broken.is_empty() { Ok(()) } else { Err(self.broken.join("\n")) }
    }
    pub fn breach(&mut self, text: String) {
        self.broken.push(text);
    }

    /// A cluster is told to take an instance away only when that was decided.
    /// `places` are those that it could be placed on, each with its tier.
    pub fn sent(
        &mut self,
        cluster: &ClusterName,
        places: &BTreeMap<ClusterName, &str>,
        task: &Task,
        instance: &Object,
    ) {
        let Goal::Remove { .. } = &task.goal else { return };
        let mine = task.key == InstanceKey::new(instance.group_kind(), instance.namespace(), instance.name());
        if !mine || task.hub_uid != instance.uid() || instance.is_deleting() {
            return;
        }
        if places.get(cluster).is_some_and(|tier| chooses(instance, cluster, tier)) {
            self.breach(format!("{cluster} is told to remove {}, which is placed there", task.key));
        }
        if self.held.contains(&(task.key.clone(), cluster.clone())) && !self.amnesia {
            self.breach(format!("{cluster} is told to remove {}, which is held there", task.key));
        }
        // Nobody said so: not the words, which are as they were, and no acknowledgement.
        let untouched = !self.edited.contains(&task.key) && instance.annotation(hub::ALLOW_SHRINK).is_none();
        let record = placement::Record::on(instance);
        // It was let go while others were placed, which may have been lost since, and are held.
        let earlier = record.gone.contains(cluster) && !(record.placed.is_empty() && record.held.is_empty());
        let chosen = places.iter().any(|(name, tier)| chooses(instance, name, tier));
        let nowhere = !chosen && !earlier;
        if untouched && nowhere && !self.amnesia {
            self.breach(format!("{cluster} is told to remove {}, which then is nowhere", task.key));
        }
    }

    /// The hub side looks at an instance, whose record is this.
    pub fn looked(&mut self, places: &BTreeMap<ClusterName, &str>, instance: &Object) {
        let key = InstanceKey::new(instance.group_kind(), instance.namespace(), instance.name());
        let text = instance.annotation(hub::DECIDED);
        if self.answered.get(&key).is_none_or(|answered| answered.as_deref() != text) {
            self.answered.remove(&key);
            let record = placement::Record::on(instance);
            self.held.extend(record.held.into_iter().map(|n| (key.clone(), n)));
        }
        let chosen = |n: &ClusterName| places.get(n).is_none_or(|tier| chooses(instance, n, tier));
        self.held.retain(|(k, n)| *k != key || !(chosen(n) || instance.is_deleting()));
    }

    /// Somebody says what is to become of what this record holds.
    pub fn decided(&mut self, key: &InstanceKey, record: Option<&str>) {
        self.held.retain(|(k, _)| k != key);
        self.answered.insert(key.clone(), record.map(str::to_owned));
    }

    pub fn fought(&mut self, site: &ClusterName, target: &ObjectRef, epoch: u64, now: u64) {
        let times = self.fights.entry((site.clone(), target.clone(), epoch)).or_default();
        times.push(now);
        times.retain(|at| now - at < 600_000);
        if times.len() > REPAIRS {
            self.breach(format!("{site}: {target} is fought over without end"));
        }
    }

    /// One actor, by its site and epoch, wrote an object for a task that wants this.
    pub fn wrote(&mut self, (site, epoch): (ClusterName, u64), target: &ObjectRef, wish: u64, now: u64) {
        let (wanted, times) = self.writes.entry((site.clone(), epoch, target.clone())).or_default();
        if std::mem::replace(wanted, wish) != wish {
            times.clear();
        }
        times.push(now);
        times.retain(|at| now - at < 600_000);
        if times.len() > WRITES {
            self.breach(format!("{site}: {target} is written without end"));
        }
    }

    /// What a write is held back from is told, and is not well.
    pub fn held_back(&mut self, look: &Look<'_>) {
        let Look { site, task, step, .. } = *look;
        let Some(report) = step.report.as_ref().filter(|_| !step.held.is_empty()) else { return };
        let named = step.held.iter().any(|object| report.message.contains(&object.to_string()));
        if report.state == InstanceState::Active || !named {
            let (key, held, message) = (&task.key, &step.held, &report.message);
            self.breach(format!("{site}: {key} holds back {held:?} and says {:?} {message:?}", report.state));
        }
    }

    /// A cluster that is being deregistered is told to take nothing away but what is being deleted.
    pub fn told(&mut self, cluster: &ClusterName, leaving: bool, task: &Task) {
        if leaving && matches!(task.goal, Goal::Remove { .. }) {
            self.breach(format!("{cluster} is being deregistered and told to remove {}", task.key));
        }
    }

    /// What a step wants follows from its task and from what the cluster shows.
    pub fn stepped(&mut self, look: &Look<'_>, all: &[Arc<Blueprint>], hub_server: Option<&Server>) {
        let Look { site, store, task, step } = *look;
        // On the hub the answer to a write of ours may be newer than the task.
        let live = hub_server.and_then(|s| s.object(&task.key.object()));
        if let (Home::Local { instance }, Some(live)) = (&task.home, live)
            && live.0["spec"] != instance.object.unpack().0["spec"]
        {
            return;
        }
        let Goal::Run { graph, mirror, suspended, cluster, .. } = &task.goal else {
            return self.goes_in_order(look);
        };
        if *suspended {
            let child = |a: &&Action| match a {
                Action::Apply(apply) => apply.manager == kro::MANAGER_APPLYSET,
                Action::Delete { .. } | Action::Release { .. } => true,
                _ => false,
            };
            if let Some(action) = step.actions.iter().find(child) {
                self.breach(format!("{site}: {} is suspended and wants {action:?}", task.key));
            }
            return;
        }
        let Some(blueprint) = all.iter().find(|b| b.graph.hash == graph.hash) else { return };
        let spec = match &task.home {
            Home::Local { instance } => instance.object.unpack().0["spec"].clone(),
            Home::Mirror | Home::Nested => mirror.spec(),
        };
        let wish = Wish::read(&spec);
        let parent = store.get(&task.key.object()).map(|s| s.object.uid().to_owned());
        let uid = match &task.home {
            Home::Local { instance } => instance.object.uid().to_owned(),
            Home::Mirror | Home::Nested => parent.unwrap_or_default(),
        };
        let expected = blueprint.expected(&task.key.name, &uid, &wish);
        for action in &step.actions {
            match action {
                Action::Delete { object, .. } | Action::Release { object, .. }
                    if expected.contains_key(object) || *object == task.key.object() =>
                {
                    self.breach(format!("{site}: {} deletes {object}, which it wants", task.key));
                }
                Action::Delete { object, .. } | Action::Release { object, .. }
                    if store.get(object).is_some_and(|s| {
                        !task.is_local()
                            && is_renamed(blueprint, &task.key, &wish, object, &s.object.unpack())
                    }) =>
                {
                    let why = "whose name only the uid of the mirror changed";
                    self.breach(format!("{site}: {} deletes {object}, {why}", task.key));
                }
                Action::Apply(apply) if apply.manager == kro::MANAGER_APPLYSET => {
                    let body = Object(apply.body.clone());
                    let Some(want) = expected.get(&apply.object) else {
                        self.breach(format!(
                            "{site}: {} applies {}, which it does not want",
                            task.key, apply.object
                        ));
                        continue;
                    };
                    if let Some(difference) = differs(want, &body) {
                        self.breach(format!(
                            "{site}: {} applies {} with {difference}",
                            task.key, apply.object
                        ));
                    }
                    let Some(plan) = blueprint.plan(&want.node) else { continue };
                    let content = &body.0[want.field];
                    if plan.tells_tier && content["tier"] != cluster["labels"]["tier"] {
                        self.breach(format!("{site}: {} applies {} with {content}", task.key, apply.object));
                    }
                    for read in plan.reads.iter().filter_map(|r| blueprint.plan(r)) {
                        let shown = shown(store, step, read, &wish);
                        if read.outside.is_some() && content[&read.id].as_str() != shown.as_deref() {
                            self.breach(format!(
                                "{site}: {} applies {} with {} of {}, where the cluster shows {shown:?}",
                                task.key, apply.object, content[&read.id], read.id
                            ));
                        }
                    }
                    for read in plan.reads.iter().filter_map(|r| blueprint.plan(r)) {
                        for object in blueprint.objects_of(read, &task.key.name, &uid, &wish) {
                            let ready = store.get(&object).is_some_and(|s| {
                                !s.object.is_deleting()
                                    && (!read.waits
                                        || s.object.unpack().0.pointer("/status/ready") == Some(&json!(true)))
                            });
                            if !ready {
                                self.breach(format!(
                                    "{site}: {} applies {} before {object}, which it reads, is ready",
                                    task.key, apply.object
                                ));
                            }
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// What others may depend on goes after them, and the mirror last.
    fn goes_in_order(&mut self, look: &Look<'_>) {
        let Look { site, store, task, step } = *look;
        let order = |o: &Object| o.annotation(kro::APPLY_ORDER).map_or(0, |v| v.parse::<u64>().unwrap_or(0));
        let key = &task.key;
        let mut members = store.members(&task.applyset());
        members.retain(|(target, _)| *target != key.object());
        for action in &step.actions {
            let (Action::Delete { object, .. } | Action::Release { object, .. }) = action else { continue };
            let Some(going) = store.get(object) else { continue };
            let is_mirror = *object == key.object();
            let parent = if is_mirror {
                going.object.uid()
            } else {
                going.object.label(kro::INSTANCE_ID).unwrap_or("")
            };
            let earlier = members.iter().find(|(_, s)| {
                s.object.label(kro::INSTANCE_ID) == Some(parent)
                    && (is_mirror || order(&s.object.unpack()) > order(&going.object.unpack()))
            });
            if let Some((earlier, _)) = earlier {
                self.breach(format!("{site}: the removal of {key} deletes {object} before {earlier}"));
            }
        }
    }

    /// Content stands only where the record on the hub, or that of what was left behind, says so.
    pub fn content_written(
        &mut self,
        site: &ClusterName,
        (target, live): (&ObjectRef, &Value),
        hub_server: &Server,
        left: &LeftRecords,
    ) {
        let live = Object(live.clone());
        if is_outside(target) {
            self.breach(format!("{site}: {target} is only read, and was written"));
        }
        let Some(key) = owner(target, &live) else { return };
        if !self.amnesia && !is_named(site, &key, hub_server, left) {
            self.breach(format!("{target} was written to {site}, which no record of {key} names"));
        }
    }
}

/// What the store shows of an external reference, as its readers say it.
fn shown(store: &Store, step: &Step, plan: &Plan, wish: &Wish) -> Option<String> {
    let target = outside(&wish.x);
    let found = step.reads.iter().find(|lookup| match (&lookup.selection, plan.outside) {
        (Selection::Name(name), Some(Outside::Named)) => *name == target.name,
        (Selection::Labels(_), Some(Outside::Selected)) => true,
        _ => false,
    });
    match (found.map(|lookup| store.look(lookup)), plan.outside) {
        (Some(Looked::Found(found)), Some(Outside::Selected)) => Some(found.len().to_string()),
        (Some(Looked::Found(found)), _) => {
            found.first().map(|s| s.object.unpack().str_at("/data/value").to_owned())
        }
        _ => None,
    }
}

fn owner(target: &ObjectRef, live: &Object) -> Option<InstanceKey> {
    live.label(hub::HUB_ID)?;
    if target.gk == app_kind() {
        return Some(InstanceKey::of(target));
    }
    Some(instance_key(live.label(kro::INSTANCE_NAME)?))
}

fn is_named(site: &ClusterName, key: &InstanceKey, hub_server: &Server, left: &LeftRecords) -> bool {
    let held = hub_server.object(&key.object()).is_some_and(|i| Fleet::holds(&i).contains(site));
    held || left.0.get(site).is_some_and(|l| l.values().any(|l| l.key() == *key))
}

/// Whether an object is kept although it is not wanted: it would be, if the mirror still had the uid that it names.
fn is_renamed(
    blueprint: &Blueprint,
    key: &InstanceKey,
    wish: &Wish,
    target: &ObjectRef,
    object: &Object,
) -> bool {
    let former = object.label(kro::INSTANCE_ID).unwrap_or_default();
    blueprint.expected(&key.name, former, wish).contains_key(target)
}

/// Whether what is left of an instance stays on a cluster and on record: its words name a cluster that nobody knows,
/// which may be this one under its former name; or the cluster was deregistered as it was, and the instance goes elsewhere.
fn stays_there(world: &World, site: &ClusterName, key: &InstanceKey) -> bool {
    let Some(instance) = world.sites[&hub_site()].server.object(&key.object()) else { return false };
    let recorded = world.left.0.get(site).and_then(|left| left.get(instance.uid()));
    let goes_there = chooses(&instance, site, world.sites[site].tier);
    recorded.is_some_and(|left| names_unknown(world, &instance) || (left.stays_while_it_lives && !goes_there))
}

/// Whether a hub that lost its memory cannot know of what it left on a site: no mirror names an instance that it has.
fn is_forgotten(world: &World, site: &ClusterName, key: &InstanceKey) -> bool {
    let mirror = world.sites[site].server.object(&key.object()).filter(|_| *site != hub_site());
    let instance = world.sites[&hub_site()].server.object(&key.object());
    let (Some(mirror), Some(instance)) = (mirror, instance) else { return true };
    mirror.label(hub::INSTANCE_UID) != Some(instance.uid())
}

fn names_unknown(world: &World, instance: &Object) -> bool {
    let named = placement::names(instance.annotation(hub::CLUSTERS).filter(|w| *w != "*"));
    named.iter().any(|n| !world.sites.get(n).is_some_and(|s| s.registered))
}

fn differs(want: &Expected, live: &Object) -> Option<String> {
    let content = live.0.get(want.field).cloned().unwrap_or_default();
    want.content.iter().find(|(k, v)| content.get(*k).and_then(Value::as_str) != Some(v)).map(|(k, v)| {
        format!("{}.{k} = {} instead of {v}", want.field, content.get(k).unwrap_or(&Value::Null))
    })
}

/// Whether an instance's own words choose a site.
fn chooses(instance: &Object, name: &ClusterName, tier: &str) -> bool {
    let words = instance.annotation(hub::CLUSTERS);
    let selector = instance.annotation(hub::CLUSTER_SELECTOR);
    let is_spoke = *name != hub_site();
    if words.is_none() && selector.is_none() {
        return !is_spoke;
    }
    let names = placement::names(words);
    let selected = selector.is_some_and(|s| s.strip_prefix("tier=") == Some(tier));
    names.contains(name) || (is_spoke && names.contains(&ClusterName::new("*"))) || selected
}

/// The sites that an instance's own words choose.
fn chosen(world: &World, instance: &Object) -> BTreeSet<ClusterName> {
    let registered = world.sites.iter().filter(|(_, s)| s.registered);
    registered.filter(|(name, s)| chooses(instance, name, s.tier)).map(|(name, _)| name.clone()).collect()
}

/// What is kept of an instance on a cluster only because its mirror was replaced.
fn kept(world: &World, site: &ClusterName, key: &InstanceKey, wish: &Wish) -> BTreeSet<ObjectRef> {
    let server = &world.sites[site].server;
    let Some(mirror) = server.object(&key.object()).filter(|_| *site != hub_site()) else {
        return BTreeSet::new();
    };
    let objects = server.iter().map(|(target, value)| (target, Object((**value).clone())));
    objects
        .filter(|(target, object)| {
            object.label(kro::APPLYSET_PART_OF) == Some(&applyset::id(key))
                && object.label(kro::INSTANCE_ID) != Some(mirror.uid())
                && is_renamed(world.blueprint(), key, wish, target, object)
        })
        .map(|(target, _)| target.clone())
        .collect()
}

/// The reason of a condition.
fn reason(object: &Object, type_: &str) -> String {
    let list = object.0.pointer("/status/conditions").and_then(Value::as_array);
    let condition = list.into_iter().flatten().find(|c| c["type"] == type_);
    condition.and_then(|c| c["reason"].as_str()).unwrap_or_default().to_owned()
}

/// What the controller still knows of instances when there are none any more: memory that would never be given back.
pub fn remembered(world: &World) -> Vec<String> {
    let hub = world.hub.instances.remembered().into_iter().map(|kept| format!("the hub side keeps {kept}"));
    let actors = world.sites.iter().filter_map(|(name, site)| Some((name, site.actor.as_ref()?)));
    let spokes = actors.flat_map(|(name, driven)| {
        driven.actor.remembered().into_iter().map(move |kept| format!("the actor of {name} keeps {kept}"))
    });
    hub.chain(spokes).collect()
}

/// Everything is as the instances on the hub say; nothing else is left.
pub fn at_rest(world: &World) -> Vec<String> {
    let mut bad = Vec::new();
    let hub_server = &world.sites[&hub_site()].server;
    let mut wanted: BTreeMap<ClusterName, BTreeSet<ObjectRef>> = BTreeMap::new();
    for value in hub_server.list(&app_kind(), None) {
        let instance = Object((**value).clone());
        let key = instance_key(instance.name());
        if instance.is_deleting() {
            bad.push(format!("{key} is still being deleted: {}", instance.0["status"]));
            continue;
        }
        let places = chosen(world, &instance);
        let wish = Wish::read(&instance.0["spec"]);
        let replaced: Vec<&ClusterName> =
            places.iter().filter(|p| !kept(world, p, &key, &wish).is_empty()).collect();
        let state = instance.str_at("/status/state");
        let want = match (replaced.is_empty(), names_unknown(world, &instance) || places.is_empty()) {
            (false, _) => "ERROR",
            (true, true) => "IN_PROGRESS",
            (true, false) => "ACTIVE",
        };
        if state != want {
            bad.push(format!("{key} is {state:?} instead of {want}: {}", instance.0["status"]));
        }
        let active = instance.0.pointer("/status/active");
        if world.blueprint().graph.reads_clusters()
            && want == "ACTIVE"
            && active != Some(&json!(places.len()))
        {
            bad.push(format!("{key} says that {active:?} of {} are active", places.len()));
        }
        let spokes: BTreeSet<ClusterName> = places.iter().filter(|p| **p != hub_site()).cloned().collect();
        if Fleet::holds(&instance) != spokes {
            bad.push(format!("{key} holds {:?} instead of {spokes:?}", Fleet::holds(&instance)));
        }
        for place in &places {
            let server = &world.sites[place].server;
            let uid = match *place == hub_site() {
                true => instance.uid().to_owned(),
                false => server.object(&key.object()).map(|m| m.uid().to_owned()).unwrap_or_default(),
            };
            let expected = world.blueprint().expected(instance.name(), &uid, &wish);
            for (target, want) in &expected {
                match server.object(target) {
                    None => bad.push(format!("{place}: {target} is missing")),
                    Some(live) => {
                        if let Some(difference) = differs(want, &live) {
                            bad.push(format!("{place}: {target} has {difference}"));
                        }
                        let plan = world.blueprint().plan(&want.node);
                        let tier = world.sites[place].tier;
                        if plan.is_some_and(|p| p.tells_tier) && live.0[want.field]["tier"] != tier {
                            bad.push(format!("{place}: {target} has another tier than {tier}"));
                        }
                        for read in plan.into_iter().flat_map(|p| &p.reads) {
                            let read = world.blueprint().plan(read).and_then(|p| p.outside.map(|o| (p, o)));
                            let Some((plan, outside)) = read else { continue };
                            let calm = if outside == Outside::Named { CALM_VALUE } else { "1" };
                            if live.0[want.field][&plan.id] != calm {
                                bad.push(format!("{place}: {target} has another {} than {calm}", plan.id));
                            }
                        }
                        if live.label(kro::APPLYSET_PART_OF) != Some(&applyset::id(&key)) {
                            bad.push(format!("{place}: {target} is not labelled as part of {key}"));
                        }
                        if *place != hub_site() && live.label(hub::HUB_ID).is_none() {
                            bad.push(format!("{place}: {target} does not say which hub it belongs to"));
                        }
                    }
                }
            }
            let parent = server.object(&key.object()).unwrap_or_default();
            let inventory = Inventory::read(&key, &parent.labels(), &parent.annotations());
            let recorded = inventory.ok().flatten().unwrap_or_default().group_kinds;
            if let Some(target) = expected.keys().find(|t| !recorded.contains(&t.gk)) {
                bad.push(format!("{place}: the inventory of {key} does not name the kind of {target}"));
            }
            let names = wanted.entry(place.clone()).or_default();
            names.extend(expected.into_keys());
            names.extend(kept(world, place, &key, &wish));
            if *place != hub_site() {
                match server.object(&key.object()) {
                    None => bad.push(format!("{place}: the mirror of {key} is missing")),
                    Some(mirror) => {
                        if mirror.0["spec"] != instance.0["spec"] {
                            bad.push(format!("{place}: the mirror of {key} has {}", mirror.0["spec"]));
                        }
                        if mirror.label(hub::INSTANCE_UID) != Some(instance.uid()) {
                            bad.push(format!("{place}: the mirror of {key} names another uid"));
                        }
                        let said = reason(&mirror, "Ready");
                        let want = if replaced.contains(&place) { "MirrorReplaced" } else { "Ready" };
                        if said != want {
                            bad.push(format!("{place}: the mirror says {}", mirror.0["status"]));
                        }
                    }
                }
                names.insert(key.object());
            }
        }
    }
    for (name, site) in &world.sites {
        for (target, value) in site.server.iter() {
            let object = Object((**value).clone());
            let child = Sort::ALL.iter().any(|s| s.gk() == target.gk)
                && object.label(kro::APPLYSET_PART_OF).is_some();
            let mirror = target.gk == app_kind() && *name != hub_site();
            if !(child || mirror) || wanted.get(name).is_some_and(|w| w.contains(target)) {
                continue;
            }
            let key = match mirror {
                true => instance_key(&target.name),
                false => instance_key(object.label(kro::INSTANCE_NAME).unwrap_or_default()),
            };
            // Of a kind that the definition does not make any more, only the record tells after a restart.
            let made = world.blueprint().plans.iter().any(|plan| plan.sort.gk() == target.gk);
            if child && !made && world.laws.unrecorded.contains(&(name.clone(), key.clone())) {
                continue;
            }
            // What a hub forgot is listed, never cleaned.
            let forgotten = world.laws.amnesia && is_forgotten(world, name, &key);
            if !forgotten && !stays_there(world, name, &key) {
                bad.push(format!("{name}: {target} is left over"));
            }
        }
    }
    // A record of an instance that was forgotten meanwhile is read when its cluster connects anew.
    for (name, left) in world.left.0.iter().filter(|_| !world.laws.amnesia) {
        for entry in left.values().filter(|l| !stays_there(world, name, &l.key())) {
            bad.push(format!("{name}: what is left of {} is still on record", entry.key()));
        }
    }
    bad
}
