//! The world in one piece: a hub, clusters, a controller, and a clock of their own. What may happen next is collected,
//! chance picks one of it: so answers, events and messages come in any order and at any time.

use super::api_server::{Kind, Server, Snapshot, crd_kind, namespace_kind};
use super::cluster::{Actor, Said, ToSpoke};
use super::graphs::{Blueprint, NAMESPACE, OTHER_NAMESPACE, Sort, app_kind, operator_value};
use super::hub::Hub;
use super::laws::Laws;
use super::random::Random;
use super::requests::{Fault, Records, Request, Work, Wrote};
use super::watch::Watch;
use crate::api::names::{ClusterName, GroupKind, HubId, InstanceKey, ObjectRef};
use crate::reconcile::Now;
use crate::reconcile::fleet::Left;
use crate::reconcile::spoke::{Action, Goal};
use crate::reconcile::world::Lookup;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct Site {
    pub server: Server,
    pub reachable: bool,
    pub actor: Option<Actor>,
    /// A Cluster names it. The hub itself may be none.
    pub registered: bool,
    /// That Cluster is being deleted, and what runs there is to be left alone.
    pub leaving: bool,
    /// Label of its Cluster.
    pub tier: &'static str,
    /// The hub side knows that it cannot connect.
    refused: bool,
}

/// How often what goes wrong, in percent.
#[derive(Clone, Copy, Default)]
pub struct Weather {
    pub calls: u64,
    pub watches: u64,
    pub operator: u64,
}

/// What somebody does to an object again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fighter {
    Insists,
    Deletes,
}

#[derive(Default)]
pub struct LeftRecords(pub BTreeMap<ClusterName, BTreeMap<String, Left>>);

impl Records for LeftRecords {
    fn record(&mut self, cluster: &ClusterName, left: &Left) {
        self.0.entry(cluster.clone()).or_default().insert(left.hub_uid.clone(), left.clone());
    }
}

pub struct World {
    pub random: Random,
    pub now: Now,
    pub hub_id: HubId,
    pub sites: BTreeMap<ClusterName, Site>,
    pub hub: Hub,
    pub left: LeftRecords,
    pub blueprints: Vec<Arc<Blueprint>>,
    pub weather: Weather,
    pub laws: Laws,
    pub writes: u64,
    /// Requests to servers, by site and what they are.
    pub calls: BTreeMap<String, u64>,
    pub moves: u64,
    /// The controller dies right after this write.
    pub crash_after: Option<u64>,
    /// Up to so many milliseconds pass with each move.
    pub pace: usize,
    /// No time passes between what is asked for now, as far as clusters that leave are concerned.
    pub together: bool,
    /// Somebody insists on another content of these.
    pub fights: BTreeMap<(ClusterName, ObjectRef), Fighter>,
    epoch: u64,
    requests: Vec<Request>,
    trace: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
enum Move {
    Inbox(ClusterName),
    Step(ClusterName),
    See(ClusterName, GroupKind),
    Look(ClusterName, Lookup),
    Notice(ClusterName),
    Connect(ClusterName),
    Call(usize),
    Answer(usize),
    HubInbox,
    HubSee,
    HubStep,
    HubEvaluates,
    Operate(ClusterName, ObjectRef),
    LetGo(ClusterName),
    Depart(ClusterName),
    Fight(ClusterName, ObjectRef),
}

pub fn hub_site() -> ClusterName {
    ClusterName::new("local")
}

/// A run at rest looks no further into the future than this: longer than every back-off and pause.
const HORIZON: u64 = 3 * 3_600_000;

impl World {
    pub fn new(seed: u64, spokes: usize, local: bool, blueprint: Arc<Blueprint>, traced: bool) -> Self {
        let random = Random::new(seed);
        let mut sites = BTreeMap::new();
        let site = |name: &str, registered| {
            let mut server = Server::new(name);
            server.serve(Sort::ConfigMap.gk(), Kind { namespaced: true });
            server.serve(Sort::Widget.gk(), Kind { namespaced: true });
            server.serve(Sort::Zone.gk(), Kind { namespaced: false });
            for namespace in [NAMESPACE, OTHER_NAMESPACE] {
                if namespace == NAMESPACE && name != "local" {
                    continue;
                }
                let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
                let target = ObjectRef::new(namespace_kind(), "", namespace);
                server.create(&target, "admin", &body).unwrap();
            }
            let tier = if name.ends_with(['1', '3']) { "odd" } else { "even" };
            Site { server, reachable: true, actor: None, registered, leaving: false, tier, refused: false }
        };
        let mut home = site("local", local);
        home.server.serve(app_kind(), Kind { namespaced: true });
        sites.insert(hub_site(), home);
        for index in 0..spokes {
            let name = format!("c{index}");
            sites.insert(ClusterName::new(&name), site(&name, true));
        }
        let hub_id = HubId::new("hub-1");
        let clusters = registered(&sites);
        let hub = Hub::new(1, hub_id.clone(), blueprint.graph.clone(), &clusters);
        Self {
            random,
            now: Now { millis: 0, rfc3339: rfc3339(0) },
            hub_id,
            sites,
            hub,
            left: LeftRecords::default(),
            blueprints: vec![blueprint],
            weather: Weather::default(),
            laws: Laws::default(),
            writes: 0,
            calls: BTreeMap::new(),
            moves: 0,
            crash_after: None,
            pace: 3,
            together: false,
            fights: BTreeMap::new(),
            epoch: 1,
            requests: Vec::new(),
            trace: traced.then(Vec::new),
        }
    }

    pub fn blueprint(&self) -> &Arc<Blueprint> {
        self.blueprints.last().unwrap()
    }
    pub fn hub_server(&mut self) -> &mut Server {
        &mut self.sites.get_mut(&hub_site()).unwrap().server
    }
    pub fn spokes(&self) -> Vec<ClusterName> {
        self.sites.keys().filter(|n| **n != hub_site()).cloned().collect()
    }
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        let at = self.now.millis;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{at:>8} {}", text()));
        }
    }
    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    fn pass(&mut self, millis: u64) {
        self.now.millis += millis;
        self.now.rfc3339 = rfc3339(self.now.millis / 1000);
        for site in self.sites.values_mut() {
            if let Some(actor) =
                site.actor.as_mut().filter(|a| a.next_wake().is_some_and(|w| w <= self.now.millis))
            {
                actor.wake_due(&self.now);
            }
        }
        if self.hub.next_wake().is_some_and(|w| w <= self.now.millis) {
            self.hub.wake_due(&self.now);
        }
    }

    fn moves(&self) -> Vec<Move> {
        let mut out = Vec::new();
        for (name, site) in &self.sites {
            if let Some(actor) = &site.actor {
                if !actor.inbox.is_empty() {
                    out.push(Move::Inbox(name.clone()));
                }
                if actor.can_step() {
                    out.push(Move::Step(name.clone()));
                }
                if actor.parked == site.reachable {
                    out.push(Move::Notice(name.clone()));
                }
                if site.reachable {
                    let news = actor.watches.values().filter(|w| w.has_news(&site.server));
                    out.extend(news.map(|w| Move::See(name.clone(), w.gk.clone())));
                    let news = actor.lookups.iter().filter(|(_, w)| w.has_news(&site.server));
                    out.extend(news.map(|(lookup, _)| Move::Look(name.clone(), lookup.clone())));
                }
            } else if site.registered && (site.reachable || !site.refused) {
                out.push(Move::Connect(name.clone()));
            }
            if site.leaving && !self.together && self.hub.may_depart(name) {
                out.push(Move::Depart(name.clone()));
            }
            if site.leaving && self.hub.may_let_go(name) {
                out.push(Move::LetGo(name.clone()));
            }
            for target in site.server.unfinished() {
                out.push(Move::Operate(name.clone(), target.clone()));
            }
        }
        for (index, request) in self.requests.iter().enumerate() {
            if request.not_before <= self.now.millis {
                out.push(if request.answer.is_some() { Move::Answer(index) } else { Move::Call(index) });
            }
        }
        for ((name, target), fighter) in &self.fights {
            let live = self.sites[name].server.get(target);
            let disagrees = live.is_some_and(|v| {
                let likes = *fighter == Fighter::Insists && fought(target, v) == FOUGHT;
                v["metadata"].get("deletionTimestamp").is_none() && !likes
            });
            out.extend(disagrees.then(|| Move::Fight(name.clone(), target.clone())));
        }
        if !self.hub.inbox.is_empty() {
            out.push(Move::HubInbox);
        }
        if self.hub.watch.has_news(&self.sites[&hub_site()].server) {
            out.push(Move::HubSee);
        }
        if self.hub.can_step() {
            out.push(Move::HubStep);
        }
        if !self.hub.questions.is_empty() {
            out.push(Move::HubEvaluates);
        }
        out
    }

    fn next_wake(&self) -> Option<u64> {
        let actors = self.sites.values().filter_map(|s| s.actor.as_ref()).filter(|a| !a.parked);
        let wakes = actors.filter_map(Actor::next_wake).chain(self.hub.next_wake());
        wakes.chain(self.requests.iter().map(|r| r.not_before)).min()
    }

    /// One thing happens. False when nothing will.
    pub fn advance(&mut self) -> bool {
        let millis = self.random.below(self.pace + 1) as u64;
        self.pass(millis);
        let moves = self.moves();
        if moves.is_empty() {
            let Some(at) = self.next_wake().filter(|at| *at <= self.now.millis + HORIZON) else {
                return false;
            };
            let pause = at.saturating_sub(self.now.millis).max(1);
            self.moves += 1;
            self.pass(pause);
            return true;
        }
        self.moves += 1;
        let chosen = self.random.pick(&moves);
        self.perform(chosen);
        if self.crash_after == Some(self.writes) {
            self.crash_after = None;
            self.crash();
        }
        true
    }

    fn perform(&mut self, chosen: Move) {
        match chosen {
            Move::Inbox(name) => {
                let actor = self.sites.get_mut(&name).and_then(|s| s.actor.as_mut()).unwrap();
                actor.take_message();
            }
            Move::Step(name) => self.step(&name),
            Move::See(name, gk) => self.see(&name, &gk),
            Move::Look(name, lookup) => self.look(&name, &lookup),
            Move::Notice(name) => {
                let site = self.sites.get_mut(&name).unwrap();
                let reachable = site.reachable;
                let actor = site.actor.as_mut().unwrap();
                actor.contact(reachable);
                self.note(|| format!("{name}: contact {reachable}"));
                self.collect(&name);
            }
            Move::Connect(name) => {
                let site = self.sites.get_mut(&name).unwrap();
                if !site.reachable {
                    site.refused = true;
                    self.hub.cannot_connect(&name, &self.now);
                    return;
                }
                site.refused = false;
                self.epoch += 1;
                let local = name == hub_site();
                site.actor = Some(Actor::new(self.epoch, local, self.hub_id.clone(), &self.now));
                let left = self.left.0.get(&name).cloned().unwrap_or_default();
                self.note(|| format!("{name}: connected"));
                let tier = self.sites[&name].tier;
                self.hub.connected(&name, left, tier);
                self.after_hub();
            }
            Move::Call(index) => self.call(index),
            Move::Answer(index) => self.answer(index),
            Move::HubInbox => {
                let sites = &self.sites;
                let current = |n: &ClusterName| sites.get(n).and_then(|s| s.actor.as_ref()).map(|a| a.epoch);
                self.hub.take_message(current, &self.now);
                self.after_hub();
            }
            Move::HubSee => {
                self.hub.see(&self.sites[&hub_site()].server);
                self.after_hub();
            }
            Move::HubEvaluates => self.hub.evaluate(),
            Move::HubStep => {
                if let Some(stepped) = self.hub.step(&self.now) {
                    self.note(|| format!("hub: {} decides {:?}", stepped.key, stepped.actions));
                    let places = self.sites.iter().filter(|(_, s)| s.registered && !s.leaving);
                    let places = places.map(|(name, site)| (name.clone(), site.tier)).collect();
                    let live = self.sites[&hub_site()].server.object(&stepped.key.object());
                    if let Some(live) = live.filter(|l| l.uid() == stepped.object.uid()) {
                        self.laws.looked(&places, &live);
                    }
                    for (cluster, message) in &self.hub.out {
                        if let ToSpoke::Task(task) = message {
                            self.laws.sent(cluster, &places, task, &stepped.object);
                        }
                    }
                    for action in stepped.actions {
                        let (key, object) = (stepped.key.clone(), stepped.object.clone());
                        let work = Work::Fleet { key, object, action };
                        self.request(hub_site(), self.hub.epoch, work);
                    }
                }
                self.after_hub();
            }
            Move::LetGo(name) => self.let_go(&name),
            Move::Depart(name) => {
                self.note(|| format!("Cluster {name} has been leaving for a while"));
                self.hub.departs(&name);
            }
            Move::Fight(name, target) => {
                let fighter = self.fights[&(name.clone(), target.clone())];
                self.note(|| format!("fighter: {fighter:?} on {target} on {name}"));
                let site = self.sites.get_mut(&name).unwrap();
                if fighter == Fighter::Deletes {
                    site.server.delete(&target, None).unwrap();
                    return;
                }
                let change = |v: &mut serde_json::Value| v[field(&target)]["x"] = json!(FOUGHT);
                site.server.change(&target, "fighter", false, change).unwrap();
                let epoch = site.actor.as_ref().map_or(0, |a| a.epoch);
                self.laws.fought(&name, &target, epoch, self.now.millis);
            }
            Move::Operate(name, target) => {
                let flaps = self.random.chance(self.weather.operator);
                let status = json!({"value": operator_value(&target.name), "ready": !flaps});
                self.note(|| format!("{name}: the operator writes {target}: {status}"));
                let server = &mut self.sites.get_mut(&name).unwrap().server;
                server
                    .change(&target, "operator", true, |v| {
                        v["status"] = status.clone();
                    })
                    .unwrap();
            }
        }
    }

    fn request(&mut self, site: ClusterName, epoch: u64, work: Work) {
        let slow = if self.random.chance(self.weather.calls) { self.random.below(3_000) as u64 } else { 0 };
        let not_before = self.now.millis + slow;
        self.requests.push(Request { site, epoch, work, part: 0, answer: None, not_before });
    }

    fn step(&mut self, name: &ClusterName) {
        let site = self.sites.get_mut(name).unwrap();
        let actor = site.actor.as_mut().unwrap();
        let epoch = actor.epoch;
        if let Some(stepped) = actor.step(&self.now) {
            let hub = (*name == hub_site()).then_some(&site.server);
            self.laws.stepped(name, &actor.store, &self.blueprints, &stepped, hub);
            self.laws.held_back(name, &stepped);
            for action in stepped.actions {
                self.note(|| format!("{name}: {} wants {}", stepped.key, short(&action)));
                let work = match action {
                    Action::EnsureCrd { graph, .. } => Work::Crd { graph },
                    action => Work::Spoke { key: stepped.key.clone(), task: stepped.task.clone(), action },
                };
                self.request(name.clone(), epoch, work);
            }
        }
        self.collect(name);
    }

    fn see(&mut self, name: &ClusterName, gk: &GroupKind) {
        let site = self.sites.get_mut(name).unwrap();
        let actor = site.actor.as_mut().unwrap();
        let watch = actor.watches.get_mut(gk).unwrap();
        if self.random.chance(self.weather.watches) {
            if *gk != crd_kind() && self.random.chance(20) {
                watch.relist();
                actor.refused(gk);
                self.note(|| format!("{name}: the watch of {gk} is refused"));
                return;
            }
            trouble(watch, &site.server, &mut self.random);
            self.note(|| format!("{name}: the watch of {gk} is troubled"));
            return;
        }
        actor.see(gk, &site.server, &self.now);
        self.collect(name);
    }

    fn look(&mut self, name: &ClusterName, lookup: &Lookup) {
        let site = self.sites.get_mut(name).unwrap();
        let actor = site.actor.as_mut().unwrap();
        let watch = actor.lookups.get_mut(lookup).unwrap();
        if self.random.chance(self.weather.watches) {
            trouble(watch, &site.server, &mut self.random);
            self.note(|| format!("{name}: the watch of {lookup} is troubled"));
            return;
        }
        actor.look(lookup, &site.server);
    }

    fn call(&mut self, index: usize) {
        let fault = self.random.chance(self.weather.calls).then(|| {
            let all = [Fault::Lost, Fault::Unheard, Fault::Error, Fault::Conflict];
            self.random.pick(&all)
        });
        let request = &mut self.requests[index];
        let site = self.sites.get_mut(&request.site).unwrap();
        let spurious = fault == Some(Fault::Conflict)
            && !matches!(&request.work, Work::Spoke { action: Action::Apply(_), .. } | Work::Fleet { .. });
        let fault = if site.reachable { fault.filter(|_| !spurious) } else { Some(Fault::Lost) };
        let (write, wrote) = request.call(&mut site.server, &mut self.left, &self.hub_id, fault);
        if let Work::Spoke { task, action: Action::Apply(apply), .. } = &request.work
            && write
            && matches!(fault, None | Some(Fault::Unheard))
        {
            let actor = (request.site.clone(), request.epoch);
            self.laws.wrote(actor, &apply.object, task.wish(), self.now.millis);
        }
        self.writes += u64::from(write);
        let what = format!(
            "{} {}",
            if *request.site.as_str() == *"local" { "hub" } else { "spoke" },
            request.work.verb(write)
        );
        *self.calls.entry(what).or_default() += 1;
        let name = request.site.clone();
        if self.trace.is_some() && (write || fault.is_some()) {
            let text = format!("{name}: call {} {fault:?}", describe(&request.work));
            self.note(|| text);
        }
        if let Wrote::Content(target, live) = wrote
            && name != hub_site()
        {
            let hub = &self.sites[&hub_site()].server;
            self.laws.content_written(&name, &target, &live, hub, &self.left);
        }
    }

    fn answer(&mut self, index: usize) {
        let request = self.requests.swap_remove(index);
        let Some(answer) = request.answer else { return };
        match &request.work {
            Work::Fleet { key, object, .. } => {
                if request.epoch == self.hub.epoch {
                    self.hub.answered(key, object.uid(), answer, &self.now);
                    self.after_hub();
                }
            }
            work => {
                let site = self.sites.get_mut(&request.site).unwrap();
                if let Some(actor) = site.actor.as_mut().filter(|a| a.epoch == request.epoch) {
                    let text = if self.trace.is_some() { format!("{answer:?}") } else { String::new() };
                    let (key, gk) = match work {
                        Work::Spoke { key, .. } => (Some(key), key.gk.clone()),
                        _ => (None, app_kind()),
                    };
                    actor.answered(key, &gk, answer, &self.now);
                    self.note(|| format!("{}: answer {:.160}", request.site, text));
                    let name = request.site.clone();
                    self.collect(&name);
                }
            }
        }
    }

    /// What an actor said goes to the hub side.
    fn collect(&mut self, name: &ClusterName) {
        let Some(actor) = self.sites.get_mut(name).and_then(|s| s.actor.as_mut()) else { return };
        let epoch = actor.epoch;
        let said: Vec<Said> = actor.said.drain(..).collect();
        self.hub.inbox.extend(said.into_iter().map(|s| (name.clone(), epoch, s)));
    }

    /// Messages of the hub side go to the actors that there are.
    fn after_hub(&mut self) {
        self.hub.judge_leftovers();
        for (name, message) in std::mem::take(&mut self.hub.out) {
            self.note(|| format!("hub: to {name}: {}", told(&message)));
            if let ToSpoke::Task(task) = &message {
                let leaving = self.sites.get(&name).is_some_and(|s| s.leaving);
                let live = self.sites[&hub_site()].server.object(&task.key.object());
                let lives = live.is_some_and(|l| l.uid() == task.hub_uid && !l.is_deleting());
                self.laws.told(&name, leaving && lives, task);
            }
            if let Some(actor) = self.sites.get_mut(&name).and_then(|s| s.actor.as_mut()) {
                actor.inbox.push_back(message);
            }
        }
        for (name, uid) in std::mem::take(&mut self.hub.forgotten) {
            if let Some(left) = self.left.0.get_mut(&name) {
                left.remove(&uid);
            }
        }
    }

    /// Somebody deletes the Cluster.
    pub fn deregister(&mut self, name: &ClusterName) {
        self.note(|| format!("user: deletes Cluster {name}"));
        self.sites.get_mut(name).unwrap().leaving = true;
        self.hub.leaves(name);
    }

    /// Nothing is held there any more: the Cluster goes, and its actor ends.
    fn let_go(&mut self, name: &ClusterName) {
        self.note(|| format!("Cluster {name} is gone"));
        self.end_requests(|site| site == name);
        let site = self.sites.get_mut(name).unwrap();
        (site.registered, site.leaving, site.actor, site.refused) = (false, false, None, false);
        self.hub.unregistered(name);
    }

    pub fn register(&mut self, name: &ClusterName) {
        self.note(|| format!("user: registers Cluster {name}"));
        let site = self.sites.get_mut(name).unwrap();
        site.registered = true;
        self.hub.registered(name, site.tier);
    }

    /// Somebody labels the Cluster anew.
    pub fn relabel(&mut self, name: &ClusterName, tier: &'static str) {
        self.note(|| format!("user: labels Cluster {name} tier={tier}"));
        self.sites.get_mut(name).unwrap().tier = tier;
        self.hub.relabelled(name, tier);
    }

    /// Requests on their way may arrive or not; nobody hears of them.
    fn end_requests(&mut self, ends: impl Fn(&ClusterName) -> bool) {
        for mut request in std::mem::take(&mut self.requests) {
            let hub_side = matches!(request.work, Work::Fleet { .. });
            if hub_side && request.epoch == self.hub.epoch && !ends(&hub_site()) || !ends(&request.site) {
                self.requests.push(request);
                continue;
            }
            let site = self.sites.get_mut(&request.site).unwrap();
            if request.answer.is_none() && site.reachable && self.random.chance(50) {
                request.call(&mut site.server, &mut self.left, &self.hub_id, None);
            }
        }
    }

    /// The controller dies. Requests on their way may arrive or not; nobody hears of them.
    pub fn crash(&mut self) {
        self.note(|| "the controller crashes".into());
        self.end_requests(|_| true);
        self.start_anew();
    }

    /// The controller was down while the hub was restored: nothing of it is on its way.
    pub fn crash_silently(&mut self) {
        self.requests.clear();
        self.start_anew();
    }

    /// The hub is restored under a running controller: what was on its way there came to its end before, and every watch
    /// of it starts again with a list.
    pub fn restore(&mut self, snapshot: Snapshot, left: LeftRecords) {
        while let Some(index) = self.requests.iter().position(|r| r.site == hub_site()) {
            match self.requests[index].answer {
                Some(_) => self.answer(index),
                None => self.call(index),
            }
        }
        self.hub_server().restore(snapshot, true);
        self.left = left;
        self.hub.watch.relist();
        let actor = self.sites.get_mut(&hub_site()).and_then(|s| s.actor.as_mut());
        if let Some(actor) = actor {
            actor.watches.values_mut().chain(actor.lookups.values_mut()).for_each(Watch::relist);
        }
    }

    fn start_anew(&mut self) {
        for site in self.sites.values_mut() {
            site.actor = None;
            site.refused = false;
        }
        self.epoch += 1;
        let clusters = registered(&self.sites);
        let graph = self.blueprint().graph.clone();
        self.hub = Hub::new(self.epoch, self.hub_id.clone(), graph, &clusters);
        let leaving: Vec<ClusterName> =
            self.sites.iter().filter(|(_, s)| s.leaving).map(|(n, _)| n.clone()).collect();
        for name in &leaving {
            self.hub.leaves(name);
        }
    }

    pub fn serve(&mut self, blueprint: Arc<Blueprint>) {
        self.note(|| format!("the definition is now {:?}", blueprint.plans));
        self.hub.graph = blueprint.graph.clone();
        self.blueprints.push(blueprint);
        self.hub.enqueue_all();
    }

    /// Every watch that lost something lists again, as it does sooner or later.
    pub fn cure_watches(&mut self) {
        for site in self.sites.values_mut() {
            let Some(actor) = &mut site.actor else { continue };
            let watches = actor.watches.values_mut().chain(actor.lookups.values_mut());
            watches.filter(|w| w.lossy).for_each(Watch::relist);
        }
    }

    /// Goes on until nothing is left to do; how many moves it took, or `None` when there is no end to it.
    pub fn run_to_rest(&mut self, limit: u64) -> Option<u64> {
        let start = self.moves;
        while self.advance() {
            if self.moves - start > limit {
                return None;
            }
            if self.laws.is_broken() {
                break;
            }
        }
        Some(self.moves - start)
    }
}

const FOUGHT: &str = "fought";

/// Where the content of a child stands.
pub fn field(target: &ObjectRef) -> &'static str {
    if *target.gk.kind == *"ConfigMap" { "data" } else { "spec" }
}

fn fought<'a>(target: &ObjectRef, live: &'a serde_json::Value) -> &'a str {
    live[field(target)]["x"].as_str().unwrap_or_default()
}

fn trouble(watch: &mut Watch, server: &Server, random: &mut Random) {
    match random.below(4) {
        0 => watch.lose(server),
        1 => watch.swap(server),
        2 => watch.double(server),
        _ => watch.relist(),
    }
}

fn registered(sites: &BTreeMap<ClusterName, Site>) -> Vec<(ClusterName, &'static str)> {
    sites.iter().filter(|(_, s)| s.registered).map(|(n, s)| (n.clone(), s.tier)).collect()
}

fn rfc3339(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    format!("2026-01-{:02}T{:02}:{:02}:{:02}Z", 1 + hours / 24, hours % 24, minutes % 60, seconds % 60)
}

fn told(message: &ToSpoke) -> String {
    match message {
        ToSpoke::Forget(key) => format!("forget {key}"),
        ToSpoke::Task(task) => match &task.goal {
            Goal::Run { graph, mirror, .. } => {
                format!("run {} uid {} at {} with {}", task.key, task.hub_uid, graph.generation, mirror.spec)
            }
            Goal::Remove { .. } => format!("remove {} uid {}", task.key, task.hub_uid),
        },
    }
}

fn short(action: &Action) -> String {
    match action {
        Action::Apply(a) => format!("apply {} by {} {:?} {}", a.object, a.manager, a.guard, a.body),
        Action::EnsureCrd { graph, .. } => format!("the CRD of generation {}", graph.generation),
        other => format!("{other:?}"),
    }
}

fn describe(work: &Work) -> String {
    match work {
        Work::Spoke { action, .. } => format!("{:.200}", short(action)),
        Work::Crd { .. } => "CRD".into(),
        Work::Fleet { action, .. } => format!("{action:.200?}"),
    }
}

pub fn instance_key(name: &str) -> InstanceKey {
    InstanceKey::new(app_kind(), NAMESPACE, name)
}
