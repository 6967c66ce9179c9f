//! The world in one piece: a hub, clusters, a controller, and a clock of their own. What may happen next is collected,
//! chance picks one of it: so answers, events and messages come in any order and at any time.

use super::api_server::{Kind, Server, Snapshot, namespace_kind};
use super::graphs::{Blueprint, NAMESPACE, OTHER_NAMESPACE, Sort, app_kind, operator_value};
use super::hub_side::HubSide;
use super::laws::{Laws, Look};
use super::random::Random;
use super::site::{Driven, News, Wanted};
use super::watch::Watch;
use super::wire::{self, Fault, Request};
use crate::api::names::{ClusterName, HubId, InstanceKey, ObjectRef};
use crate::hub::clusters::left_behind::Recorded;
use crate::hub::instances::{Effect, Outcome, Target, write, write_version};
use crate::reconcile::Moment;
use crate::reconcile::Now;
use crate::reconcile::fleet::{FleetAction, Left};
use crate::reconcile::spoke::{Action, Goal, Side, Task, has_hub_part};
use crate::reconcile::world::Definition;
use crate::spoke::actor::Event;
use crate::spoke::client::ApiError;
use crate::spoke::messages::{ContactState, Said, ToSpoke};
use crate::spoke::watch::CHANGED_CRD_SERVED;
use crate::spoke::{crd, perform};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub struct Site {
    pub server: Server,
    pub reachable: bool,
    pub actor: Option<Driven>,
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

/// What a request is for.
enum Work {
    Spoke { task: Arc<Task>, action: Action },
    Crd,
    Fleet { key: InstanceKey, uid: String, action: FleetAction },
}

/// How it ended, for who waits for it.
enum Ended {
    Actor(Event),
    Instance(Outcome),
}

/// Work with a server, and the record of what is left, which is no object of these servers.
enum Line {
    Server(Request<Ended>),
    Record { cluster: ClusterName, left: Left, outcome: Option<Outcome> },
}

struct Pending {
    site: ClusterName,
    /// Of the actor, or of the controller, that waits for the answer.
    epoch: u64,
    work: Work,
    line: Line,
    /// Not looked at before this time.
    not_before: Moment,
}

impl Pending {
    fn is_ended(&self) -> bool {
        match &self.line {
            Line::Server(request) => request.is_ended(),
            Line::Record { outcome, .. } => outcome.is_some(),
        }
    }
}

#[derive(Default)]
pub struct LeftRecords(pub BTreeMap<ClusterName, BTreeMap<String, Left>>);

impl LeftRecords {
    pub fn record(&mut self, cluster: &ClusterName, left: &Left) {
        self.0.entry(cluster.clone()).or_default().insert(left.hub_uid.clone(), left.clone());
    }
}

pub struct World {
    pub random: Random,
    pub now: Now,
    pub hub_id: HubId,
    pub sites: BTreeMap<ClusterName, Site>,
    pub hub: HubSide,
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
    requests: Vec<Pending>,
    trace: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
enum Move {
    Inbox(ClusterName),
    Step(ClusterName),
    Hear(ClusterName, News),
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
const HORIZON: Duration = Duration::from_secs(3 * 3_600);

impl World {
    pub fn new(seed: u64, spokes: usize, local: bool, blueprint: Arc<Blueprint>, traced: bool) -> Self {
        crate::api::maps::repeat(seed);
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
        let hub = HubSide::new(1, hub_id.clone(), blueprint.graph.clone(), &clusters);
        let mut out = Self {
            random,
            now: Now { at: Moment::START, rfc3339: rfc3339(0) },
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
        };
        out.after_hub();
        out
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
        let at = self.now.at.as_millis();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{at:>8} {}", text()));
        }
    }
    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    fn pass(&mut self, span: Duration) {
        self.now.at = self.now.at.after(span);
        self.now.rfc3339 = rfc3339(self.now.at.as_millis() / 1000);
        let due = |site: &Site| {
            site.actor.as_ref().is_some_and(|a| a.next_wake().is_some_and(|at| at <= self.now.at))
        };
        let due: Vec<ClusterName> =
            self.sites.iter().filter(|(_, s)| due(s)).map(|(n, _)| n.clone()).collect();
        for name in due {
            let now = self.now.clone();
            self.tell(&name, |driven, _| driven.wake_due(&now));
        }
        if self.hub.next_wake().is_some_and(|w| w <= self.now.at) {
            self.hub.wake_due(&self.now);
            self.after_hub();
        }
    }

    /// An actor hears something, at this time; what it wants is begun.
    fn tell(&mut self, name: &ClusterName, tell: impl FnOnce(&mut Driven, &Server)) {
        let now = self.now.clone();
        let Some(Site { server, actor: Some(driven), .. }) = self.sites.get_mut(name) else { return };
        driven.actor.at(now.clone());
        tell(driven, server);
        let epoch = driven.epoch;
        let (wanted, says) = driven.take_wishes(&now);
        self.hub.inbox.extend(says.into_iter().map(|s| (name.clone(), epoch, s)));
        for wanted in wanted {
            self.begin(name, epoch, wanted);
        }
    }

    fn begin(&mut self, name: &ClusterName, epoch: u64, wanted: Wanted) {
        let (work, line) = match wanted {
            Wanted::Perform { key, task, action, resource } => {
                self.note(|| format!("{name}: {key} wants {}", short(&action)));
                let work = Work::Spoke { task: task.clone(), action: (*action).clone() };
                let request = Request::new(|client| async move {
                    let done = perform::perform(&client, &task, *action, resource).await;
                    Ended::Actor(Event::Done(key, done))
                });
                (work, request)
            }
            Wanted::Crd { graph, may } => {
                self.note(|| format!("{name}: wants the CRD of generation {}", graph.generation));
                let hub_id = self.hub_id.clone();
                let request = Request::new(|client| async move {
                    let ensured = crd::ensure(&client, &graph, &hub_id, &may).await;
                    Ended::Actor(Event::Crds(graph.gvk.group_kind(), ensured))
                });
                (Work::Crd, request)
            }
        };
        self.request(name.clone(), epoch, work, Line::Server(line));
    }

    fn begin_fleet(&mut self, target: Target, action: FleetAction) {
        let (key, uid) = (target.key.clone(), target.object.uid().to_owned());
        let line = match &action {
            FleetAction::RecordLeft { cluster, left } => {
                Line::Record { cluster: cluster.clone(), left: left.clone(), outcome: None }
            }
            // An Event for people.
            FleetAction::Tell { .. } => return,
            action => {
                let action = action.clone();
                Line::Server(Request::new(|client| async move {
                    let version = write_version(&client, "kro-hub", &target, &action).await;
                    let ended = match version {
                        Some(ended) => Some(ended),
                        None => write(&client, &target, action).await,
                    };
                    Ended::Instance(ended.expect("a write"))
                }))
            }
        };
        self.request(hub_site(), self.hub.epoch, Work::Fleet { key, uid, action }, line);
    }

    fn moves(&self) -> Vec<Move> {
        let mut out = Vec::new();
        for (name, site) in &self.sites {
            if let Some(actor) = &site.actor {
                if !actor.inbox.is_empty() {
                    out.push(Move::Inbox(name.clone()));
                }
                if actor.actor.is_busy() {
                    out.push(Move::Step(name.clone()));
                }
                if actor.in_contact != site.reachable {
                    out.push(Move::Notice(name.clone()));
                }
                if site.reachable {
                    out.extend(actor.news(&site.server).into_iter().map(|n| Move::Hear(name.clone(), n)));
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
            if request.not_before <= self.now.at {
                out.push(if request.is_ended() { Move::Answer(index) } else { Move::Call(index) });
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
        let home = &self.sites[&hub_site()].server;
        if self.hub.watch.as_ref().is_some_and(|w| w.has_news(home)) {
            out.push(Move::HubSee);
        }
        if self.hub.instances.has_work(self.now.at) {
            out.push(Move::HubStep);
        }
        if !self.hub.questions.is_empty() {
            out.push(Move::HubEvaluates);
        }
        out
    }

    fn next_wake(&self) -> Option<Moment> {
        let actors = self.sites.values().filter_map(|s| s.actor.as_ref()).filter(|a| a.in_contact);
        let wakes = actors.filter_map(Driven::next_wake).chain(self.hub.next_wake());
        wakes.chain(self.requests.iter().map(|r| r.not_before)).min()
    }

    /// One thing happens. False when nothing will.
    pub fn advance(&mut self) -> bool {
        let millis = self.random.below(self.pace + 1) as u64;
        self.pass(Duration::from_millis(millis));
        let moves = self.moves();
        if moves.is_empty() {
            let Some(at) = self.next_wake().filter(|at| *at <= self.now.at.after(HORIZON)) else {
                return false;
            };
            let pause = at.since(self.now.at).max(Duration::from_millis(1));
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
            Move::Inbox(name) => self.tell(&name, |driven, _| {
                if let Some(message) = driven.inbox.pop_front() {
                    driven.actor.on_message(message);
                }
            }),
            Move::Step(name) => self.step(&name),
            Move::Hear(name, news) => self.hear(&name, &news),
            Move::Notice(name) => {
                let reachable = self.sites[&name].reachable;
                self.note(|| format!("{name}: contact {reachable}"));
                self.tell(&name, |driven, _| {
                    driven.in_contact = reachable;
                    driven.actor.contact(reachable);
                });
                let epoch = self.sites[&name].actor.as_ref().map_or(0, |a| a.epoch);
                let state = if reachable {
                    ContactState::Ready
                } else {
                    ContactState::Unreachable("connection refused".into())
                };
                self.hub.inbox.push_back((name, epoch, Said::Contact(state)));
            }
            Move::Connect(name) => {
                let site = self.sites.get_mut(&name).unwrap();
                if !site.reachable {
                    site.refused = true;
                    self.hub.cannot_connect(&name, &self.now);
                    self.after_hub();
                    return;
                }
                site.refused = false;
                self.epoch += 1;
                let local = name == hub_site();
                site.actor = Some(Driven::new(self.epoch, local, self.hub_id.clone(), &self.now));
                let left = self.left.0.get(&name).cloned().unwrap_or_default();
                self.note(|| format!("{name}: connected"));
                self.define(&name);
                let tier = self.sites[&name].tier;
                self.hub.connected(&name, left, tier);
                self.after_hub();
            }
            Move::Call(index) => self.call(index),
            Move::Answer(index) => self.answer(index),
            Move::HubInbox => self.hear_actor(),
            Move::HubSee => {
                self.hub.see(&self.sites[&hub_site()].server);
                self.after_hub();
            }
            Move::HubEvaluates => {
                self.hub.evaluate(&self.now);
                self.after_hub();
            }
            Move::HubStep => self.step_hub(),
            Move::LetGo(name) => self.let_go(&name),
            Move::Depart(name) => {
                self.note(|| format!("Cluster {name} has been leaving for a while"));
                self.hub.departs(&name);
                self.after_hub();
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
                self.laws.fought(&name, &target, epoch, self.now.at.as_millis());
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

    fn request(&mut self, site: ClusterName, epoch: u64, work: Work, line: Line) {
        let slow = if self.random.chance(self.weather.calls) { self.random.below(3_000) as u64 } else { 0 };
        let not_before = self.now.at.after(Duration::from_millis(slow));
        self.requests.push(Pending { site, epoch, work, line, not_before });
    }

    /// The cluster's new actor hears of the definition, as those that are there did.
    fn define(&mut self, name: &ClusterName) {
        let graph = self.hub.graph.clone();
        let side = if has_hub_part(&graph) && *name != hub_site() { Side::Rest } else { Side::Whole };
        if let Some(driven) = self.sites.get_mut(name).and_then(|s| s.actor.as_mut()) {
            let definition = Definition { graph: graph.clone(), allow_breaking: false };
            driven.inbox.push_back(ToSpoke::Define(definition));
            driven.inbox.push_back(ToSpoke::Judge(graph, side));
        }
    }

    fn step_hub(&mut self) {
        let now = &self.now;
        let Some(key) = wire::on_the_clock(|| self.hub.instances.step_next(now)) else { return };
        let object = self.hub.instances.get(&key);
        let places = self.sites.iter().filter(|(_, s)| s.registered && !s.leaving);
        let places = places.map(|(name, site)| (name.clone(), site.tier)).collect();
        let live = self.sites[&hub_site()].server.object(&key.object());
        let Some(object) = object else { return };
        if let Some(live) = live.filter(|l| l.uid() == object.uid()) {
            self.laws.looked(&places, &live);
        }
        let effects = self.hub.instances.take_effects();
        self.note(|| format!("hub: {key} decides {effects:?}"));
        for effect in &effects {
            if let Effect::Send(cluster, ToSpoke::Task(task)) = effect {
                self.laws.sent(cluster, &places, task, &object);
            }
        }
        self.do_for_hub(effects);
        self.after_hub();
    }

    fn step(&mut self, name: &ClusterName) {
        let site = self.sites.get_mut(name).unwrap();
        let driven = site.actor.as_mut().unwrap();
        let turn = driven.actor.begin_turn();
        let stepped = turn.run(|_| {});
        let hub = (*name == hub_site()).then_some(&site.server);
        for stepped in &stepped {
            let (_, step) = stepped.step.as_ref().expect("no step panics");
            driven.actor.read_store(|store| {
                let look = Look { site: name, store, task: &stepped.task, step };
                self.laws.stepped(&look, &self.blueprints, hub);
                self.laws.held_back(&look);
            });
        }
        self.tell(name, |driven, _| driven.actor.end_turn(stepped));
    }

    fn hear(&mut self, name: &ClusterName, news: &News) {
        let watched = matches!(news, News::Crd | News::Kind(_) | News::Reference(_));
        let troubled = watched && self.random.chance(self.weather.watches);
        let trouble = if troubled { ", which is troubled" } else { "" };
        self.note(|| format!("{name}: hears {news:?}{trouble}"));
        let mut random = self.random.clone();
        self.tell(name, |driven, server| driven.hear(news, server, troubled.then_some(&mut random)));
        self.random = random;
    }

    /// The hub side hears the next message of an actor.
    fn hear_actor(&mut self) {
        let Some((name, epoch, said)) = self.hub.inbox.pop_front() else { return };
        let current = self.sites.get(&name).and_then(|s| s.actor.as_ref()).map(|a| a.epoch);
        if current == Some(epoch) {
            self.note(|| format!("hub: hears from {name}: {said:.300?}"));
            match said {
                Said::Contact(state) => {
                    self.hub.contact(&name, state == ContactState::Ready, &self.now);
                }
                said => self.hub.instances.said(&name, said),
            }
        }
        self.after_hub();
    }

    fn call(&mut self, index: usize) {
        let fault = self.random.chance(self.weather.calls).then(|| {
            let all = [Fault::Lost, Fault::Unheard, Fault::Error, Fault::Conflict];
            self.random.pick(&all)
        });
        let now = self.now.at;
        let request = &mut self.requests[index];
        let site = self.sites.get_mut(&request.site).unwrap();
        let spurious = fault == Some(Fault::Conflict)
            && !matches!(&request.work, Work::Spoke { action: Action::Apply(_), .. } | Work::Fleet { .. });
        let fault = if site.reachable { fault.filter(|_| !spurious) } else { Some(Fault::Lost) };
        let name = request.site.clone();
        let told = format!("{name}: call {} {fault:?}", describe(&request.work));
        let (write, verb) = match &mut request.line {
            Line::Record { cluster, left, outcome } => {
                let heard = fault.is_none();
                if matches!(fault, None | Some(Fault::Unheard)) {
                    self.left.record(cluster, left);
                }
                let recorded = if heard { Ok(Recorded::More(left.clone())) } else { Err(ApiError::Timeout) };
                *outcome = Some(Outcome::Left(cluster.clone(), recorded));
                (true, "other")
            }
            Line::Server(line) => {
                let happened = line.call(&mut site.server, fault);
                let Some(asked) = happened.asked else {
                    request.not_before = now.after(Duration::from_secs(2));
                    return;
                };
                if let Work::Spoke { task, action: Action::Apply(apply) } = &request.work
                    && asked.is_apply()
                    && matches!(fault, None | Some(Fault::Unheard))
                {
                    let actor = (name.clone(), request.epoch);
                    self.laws.wrote(actor, &apply.object, task.wish(), now.as_millis());
                }
                let content = happened.wrote.filter(|_| asked.is_apply() && name != hub_site());
                if let Some((target, live)) = content
                    && matches!(request.work, Work::Spoke { .. })
                {
                    let hub = &self.sites[&hub_site()].server;
                    self.laws.content_written(&name, (&target, &live), hub, &self.left);
                }
                (asked.is_write(), asked.verb())
            }
        };
        self.writes += u64::from(write);
        let what = format!("{} {verb}", if name == hub_site() { "hub" } else { "spoke" });
        *self.calls.entry(what).or_default() += 1;
        if write || fault.is_some() {
            self.note(|| told);
        }
    }

    fn answer(&mut self, index: usize) {
        let Pending { site, epoch, work, line, .. } = self.requests.swap_remove(index);
        let ended = match line {
            Line::Server(request) => request.ended(),
            Line::Record { outcome, .. } => outcome.map(Ended::Instance),
        };
        match ended {
            Some(Ended::Actor(event))
                if self.sites[&site].actor.as_ref().is_some_and(|a| a.epoch == epoch) =>
            {
                self.note(|| format!("{site}: answer {:.160}", format!("{event:?}")));
                self.tell(&site, |driven, _| driven.actor.on_event(event));
            }
            Some(Ended::Instance(outcome)) => {
                let Work::Fleet { key, uid, .. } = &work else { return };
                if epoch == self.hub.epoch {
                    let recorded = self.hub.instances.outcome(key, uid, outcome, &self.now);
                    if let Some((cluster, Recorded::More(left))) = recorded {
                        self.hub.left.entry(cluster).or_default().insert(left.hub_uid.clone(), left);
                    }
                    self.after_hub();
                }
            }
            Some(Ended::Actor(_)) | None => {}
        }
    }

    /// What the hub side wants is begun.
    fn after_hub(&mut self) {
        let effects = self.hub.take_effects();
        self.do_for_hub(effects);
    }

    fn do_for_hub(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(name, message) => self.send(&name, message),
                Effect::SendToAll(message) => {
                    let names: Vec<ClusterName> = self.sites.keys().cloned().collect();
                    names.iter().for_each(|name| self.send(name, message.clone()));
                }
                Effect::Watch(gk, _) => self.hub.watch = Some(Watch::new(gk, None)),
                Effect::EndWatch(_) => self.hub.watch = None,
                Effect::RereadLater(_, hash) => {
                    self.hub.rereads.push((self.now.at.after(CHANGED_CRD_SERVED), hash));
                }
                Effect::Request(target, action) => self.begin_fleet(target, action),
                Effect::Evaluate { target, question, .. } => {
                    let uid = target.object.uid().to_owned();
                    self.hub.questions.push_back((target.key, uid, question));
                }
                Effect::ForgetLeft(name, uid) => {
                    for records in [&mut self.left.0, &mut self.hub.left] {
                        if let Some(left) = records.get_mut(&name) {
                            left.remove(&uid);
                        }
                    }
                }
                Effect::TellRefused(..) | Effect::Need(..) | Effect::Number(..) | Effect::KindVersion(..) => {
                }
            }
        }
    }

    fn send(&mut self, name: &ClusterName, message: ToSpoke) {
        self.note(|| format!("hub: to {name}: {}", told(&message)));
        if let ToSpoke::Task(task) = &message {
            let leaving = self.sites.get(name).is_some_and(|s| s.leaving);
            let live = self.sites[&hub_site()].server.object(&task.key.object());
            let lives = live.is_some_and(|l| l.uid() == task.hub_uid && !l.is_deleting());
            self.laws.told(name, leaving && lives, task);
        }
        if let Some(actor) = self.sites.get_mut(name).and_then(|s| s.actor.as_mut()) {
            actor.inbox.push_back(message);
        }
    }

    /// Somebody deletes the Cluster.
    pub fn deregister(&mut self, name: &ClusterName) {
        self.note(|| format!("user: deletes Cluster {name}"));
        self.sites.get_mut(name).unwrap().leaving = true;
        self.hub.leaves(name);
        self.after_hub();
    }

    /// Nothing is held there any more: the Cluster goes, and its actor ends.
    fn let_go(&mut self, name: &ClusterName) {
        self.note(|| format!("Cluster {name} is gone"));
        self.end_requests(|site| site == name);
        let site = self.sites.get_mut(name).unwrap();
        (site.registered, site.leaving, site.actor, site.refused) = (false, false, None, false);
        self.hub.unregistered(name);
        self.after_hub();
    }

    pub fn register(&mut self, name: &ClusterName) {
        self.note(|| format!("user: registers Cluster {name}"));
        let site = self.sites.get_mut(name).unwrap();
        site.registered = true;
        self.hub.registered(name, site.tier);
        self.after_hub();
    }

    /// Somebody labels the Cluster anew.
    pub fn relabel(&mut self, name: &ClusterName, tier: &'static str) {
        self.note(|| format!("user: labels Cluster {name} tier={tier}"));
        self.sites.get_mut(name).unwrap().tier = tier;
        self.hub.relabelled(name, tier);
        self.after_hub();
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
            if !request.is_ended() && site.reachable && self.random.chance(50) {
                match &mut request.line {
                    Line::Server(line) => drop(line.call(&mut site.server, Some(Fault::Unheard))),
                    Line::Record { cluster, left, .. } => self.left.record(cluster, left),
                }
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
            if self.requests[index].is_ended() { self.answer(index) } else { self.call(index) }
        }
        self.hub_server().restore(snapshot, true);
        self.left = left;
        self.hub.watch.iter_mut().for_each(Watch::relist);
        if let Some(driven) = self.sites.get_mut(&hub_site()).and_then(|s| s.actor.as_mut()) {
            driven.relist();
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
        self.hub = HubSide::new(self.epoch, self.hub_id.clone(), graph, &clusters);
        let leaving: Vec<ClusterName> =
            self.sites.iter().filter(|(_, s)| s.leaving).map(|(n, _)| n.clone()).collect();
        for name in &leaving {
            self.hub.leaves(name);
        }
        self.after_hub();
    }

    pub fn serve(&mut self, blueprint: Arc<Blueprint>) {
        self.note(|| format!("the definition is now {:?}", blueprint.plans));
        self.hub.graph = blueprint.graph.clone();
        let names: Vec<ClusterName> = self.sites.keys().cloned().collect();
        names.iter().for_each(|name| self.define(name));
        self.hub.serve(blueprint.graph.clone());
        self.blueprints.push(blueprint);
        self.after_hub();
    }

    /// The hub side's watch of the instances starts again with a list.
    pub fn list_hub_anew(&mut self) {
        self.hub.watch.iter_mut().for_each(Watch::relist);
    }

    /// Every watch that lost something lists again, as it does sooner or later.
    pub fn cure_watches(&mut self) {
        for site in self.sites.values_mut() {
            site.actor.iter_mut().for_each(Driven::cure_watches);
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

fn registered(sites: &BTreeMap<ClusterName, Site>) -> Vec<(ClusterName, &'static str)> {
    sites.iter().filter(|(_, s)| s.registered).map(|(n, s)| (n.clone(), s.tier)).collect()
}

fn rfc3339(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    format!("2026-01-{:02}T{:02}:{:02}:{:02}Z", 1 + hours / 24, hours % 24, minutes % 60, seconds % 60)
}

fn told(message: &ToSpoke) -> String {
    match message {
        ToSpoke::Define(_)
        | ToSpoke::Undefine(_)
        | ToSpoke::Facts(_)
        | ToSpoke::Bounds(_)
        | ToSpoke::Judge(..) => {
            format!("{message:.80?}")
        }
        ToSpoke::Forget(key) => format!("forget {key}"),
        ToSpoke::TellMirrors(gk) => format!("tell the mirrors of {gk}"),
        ToSpoke::Task(task) => match &task.goal {
            Goal::Run { graph, mirror, .. } => {
                format!(
                    "run {} uid {} at {} with {}",
                    task.key,
                    task.hub_uid,
                    graph.generation,
                    mirror.spec()
                )
            }
            Goal::GoOn { .. } => format!("go on {} uid {}", task.key, task.hub_uid),
            Goal::Stay { .. } => format!("stay {} uid {}", task.key, task.hub_uid),
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
        Work::Crd => "CRD".into(),
        Work::Fleet { action, .. } => format!("{action:.200?}"),
    }
}

pub fn instance_key(name: &str) -> InstanceKey {
    InstanceKey::new(app_kind(), NAMESPACE, name)
}
