//! One cluster with its actor: what surrounds an actor, watches and timers, is here; what the actor wants of the cluster
//! comes out as [`Wanted`].

use super::api_server::{Server, crd_kind};
use super::http_server::resource_of;
use super::random::Random;
use super::watch::{Shown, Watch, pair};
use crate::api::Object;
use crate::api::names::{GroupKind, HubId, InstanceKey};
use crate::graph::Graph;
use crate::reconcile::Moment;
use crate::reconcile::Now;
use crate::reconcile::spoke::{Action, Task};
use crate::reconcile::world::{Lookup, Selection, Stored};
use crate::spoke::actor::{Actor, Effect, Event, TICK, ToJudge};
use crate::spoke::crd_names::CrdNames;
use crate::spoke::discovery::Served;
use crate::spoke::messages::{Said, ToSpoke};
use crate::spoke::references::Subject;
use crate::spoke::watch::{Listed, Seen};
use kube::core::ApiResource;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A request that the actor wants made.
pub enum Wanted {
    Perform { key: InstanceKey, task: Arc<Task>, action: Box<Action>, resource: Option<ApiResource> },
    Crd { graph: Arc<Graph>, may: crate::spoke::crd::May },
}

/// What may be heard next beside messages.
#[derive(Clone, Debug)]
pub enum News {
    Crd,
    Kind(GroupKind),
    Reference(Subject),
    Asked,
    Judged,
}

pub struct Driven {
    pub epoch: u64,
    pub actor: Actor,
    pub inbox: VecDeque<ToSpoke>,
    /// Whether the actor was told that the cluster can be talked to.
    pub in_contact: bool,
    crds: Watch,
    names: CrdNames,
    watches: BTreeMap<GroupKind, (u64, Watch)>,
    references: Vec<(Subject, u64, Watch)>,
    asks: VecDeque<Lookup>,
    judging: VecDeque<ToJudge>,
    timers: Vec<(Moment, Event)>,
    next_tick: Moment,
}

impl Driven {
    pub fn new(epoch: u64, local: bool, hub_id: HubId, now: &Now) -> Self {
        Self {
            epoch,
            actor: Actor::new(hub_id, local, Arc::default(), now.clone()),
            inbox: VecDeque::new(),
            in_contact: true,
            crds: Watch::new(crd_kind(), None),
            names: CrdNames::default(),
            watches: BTreeMap::new(),
            references: Vec::new(),
            asks: VecDeque::new(),
            judging: VecDeque::new(),
            timers: Vec::new(),
            next_tick: now.at.after(TICK),
        }
    }

    /// What the actor wants by now: requests, and words for the hub side.
    pub fn take_wishes(&mut self, now: &Now) -> (Vec<Wanted>, Vec<Said>) {
        let (mut wanted, mut says) = (Vec::new(), Vec::new());
        for effect in self.actor.take_effects() {
            match effect {
                Effect::Say(said) => says.push(said),
                Effect::Perform { key, task, action, resource } => {
                    let action = Box::new(action);
                    wanted.push(Wanted::Perform { key, task, action, resource });
                }
                Effect::EnsureCrd { graph, may } => wanted.push(Wanted::Crd { graph, may }),
                Effect::Watch { gk, selector, serial, .. } => {
                    let watch = Watch::new(gk.clone(), selector.as_deref().and_then(pair));
                    self.watches.insert(gk, (serial, watch));
                }
                Effect::WatchReference { subject, serial, .. } => {
                    let watch = match &subject {
                        Subject::Lookup(lookup) => Watch::of(lookup),
                        Subject::Kind(gvk) => Watch::new(gvk.group_kind(), None),
                    };
                    self.references.retain(|(known, ..)| *known != subject);
                    self.references.push((subject, serial, watch));
                }
                Effect::EndReference(subject) => self.references.retain(|(known, ..)| *known != subject),
                Effect::Ask { lookup, .. } => self.asks.push_back(lookup),
                Effect::Judge { wanted, freshness } => {
                    if freshness.is_of_all() {
                        self.judging.clear();
                    }
                    self.judging.extend(wanted);
                }
                Effect::After(pause, event) => {
                    self.timers.push((now.at.after(pause), event));
                }
            }
        }
        (wanted, says)
    }

    pub fn news(&self, server: &Server) -> Vec<News> {
        let mut news = Vec::new();
        if self.crds.has_news(server) {
            news.push(News::Crd);
        }
        let kinds = self.watches.iter().filter(|(_, (_, watch))| watch.has_news(server));
        news.extend(kinds.map(|(gk, _)| News::Kind(gk.clone())));
        let references = self.references.iter().filter(|(.., watch)| watch.has_news(server));
        news.extend(references.map(|(subject, ..)| News::Reference(subject.clone())));
        news.extend(self.asks.front().map(|_| News::Asked));
        news.extend(self.judging.front().map(|_| News::Judged));
        news
    }

    /// The actor hears the next of it. `troubled`: what watches show is lost, swapped, doubled or refused.
    pub fn hear(&mut self, news: &News, server: &Server, troubled: Option<&mut Random>) {
        match news {
            News::Crd => {
                if let Some(random) = troubled {
                    return trouble(&mut self.crds, server, random);
                }
                let listed = self.crds.next(server).and_then(listed);
                for seen in listed.into_iter().flat_map(|l| self.names.take(l)) {
                    self.actor.on_event(Event::Crd(seen));
                }
            }
            News::Kind(gk) => self.see(gk, server, troubled),
            News::Reference(subject) => self.look(subject, server, troubled),
            News::Asked => {
                let Some(lookup) = self.asks.pop_front() else { return };
                let Selection::Name(name) = &lookup.selection else { return };
                let gk = lookup.gvk.group_kind();
                let target = crate::api::names::ObjectRef::new(gk, &lookup.namespace, name);
                let found = server.get(&target).map(|v| Stored::new((**v).clone()));
                self.actor.on_event(Event::Answered(lookup, Ok(found)));
            }
            News::Judged => {
                // Every cluster serves the same.
                if let Some(ToJudge { key, hub, .. }) = self.judging.pop_front() {
                    self.actor.on_event(Event::Judged(key, Ok(hub)));
                }
            }
        }
    }

    fn see(&mut self, gk: &GroupKind, server: &Server, troubled: Option<&mut Random>) {
        let Some((serial, watch)) = self.watches.get_mut(gk) else { return };
        let serial = *serial;
        let seen = match troubled {
            Some(random) => {
                if !random.chance(20) {
                    return trouble(watch, server, random);
                }
                watch.relist();
                Some(Seen::Failed("forbidden".into()))
            }
            None => watch.next(server).map(seen),
        };
        if matches!(seen, Some(Seen::NotServed)) {
            self.watches.remove(gk);
        }
        seen.into_iter().for_each(|seen| self.actor.on_event(Event::Watch(gk.clone(), serial, seen)));
    }

    fn look(&mut self, subject: &Subject, server: &Server, troubled: Option<&mut Random>) {
        let Some(index) = self.references.iter().position(|(known, ..)| known == subject) else { return };
        let (_, serial, watch) = &mut self.references[index];
        let serial = *serial;
        if let Some(random) = troubled {
            return trouble(watch, server, random);
        }
        let Some(seen) = watch.next(server).map(seen) else { return };
        match &seen {
            Seen::Served(resource) => {
                let namespaced = server.kind(&subject.gvk().group_kind()).is_some_and(|k| k.namespaced);
                let served = Served { resource: resource.clone(), namespaced };
                self.actor.on_event(Event::Served(subject.gvk().clone(), served));
            }
            Seen::NotServed => drop(self.references.remove(index)),
            _ => {}
        }
        self.actor.on_event(Event::Reference(subject.clone(), serial, seen));
    }

    /// When something is due by time alone.
    pub fn next_wake(&self) -> Option<Moment> {
        let timers = self.timers.iter().map(|(at, _)| *at);
        let tick = self.actor.lacks_kinds().then_some(self.next_tick);
        timers.chain(self.actor.next_wake()).chain(tick).min()
    }

    pub fn wake_due(&mut self, now: &Now) {
        self.actor.at(now.clone());
        let (due, later) = std::mem::take(&mut self.timers).into_iter().partition(|(at, _)| *at <= now.at);
        self.timers = later;
        let due: Vec<(Moment, Event)> = due;
        due.into_iter().for_each(|(_, event)| self.actor.on_event(event));
        if self.next_tick <= now.at {
            self.next_tick = now.at.after(TICK);
            self.actor.tick();
        }
    }

    fn all_watches(&mut self) -> impl Iterator<Item = &mut Watch> {
        let kinds = self.watches.values_mut().map(|(_, watch)| watch);
        kinds.chain(self.references.iter_mut().map(|(.., watch)| watch)).chain([&mut self.crds])
    }

    /// Every watch starts again with a list.
    pub fn relist(&mut self) {
        self.all_watches().for_each(Watch::relist);
    }

    /// Every watch that lost something lists again, as it does sooner or later.
    pub fn cure_watches(&mut self) {
        self.all_watches().filter(|w| w.lossy).for_each(Watch::relist);
    }
}

/// As a watch of one kind tells an actor.
fn seen(shown: Shown) -> Seen {
    match shown {
        Shown::Served(gk) => Seen::Served(resource_of(&gk)),
        Shown::NotServed => Seen::NotServed,
        Shown::ListStarted => Seen::ListStarted,
        Shown::Object(value) => Seen::Object(Arc::new(Stored::new((*value).clone()))),
        Shown::Left(value, version) => {
            let object = Object((*value).clone());
            Seen::Left(object.object_ref(), object.uid().to_owned(), version)
        }
        Shown::ListDone { namespaced, version } => Seen::ListDone { namespaced, version },
    }
}

/// As a watch tells who needs no discovery.
pub fn listed(shown: Shown) -> Option<Listed> {
    Some(match shown {
        Shown::Served(_) | Shown::NotServed => return None,
        Shown::ListStarted => Listed::Started,
        Shown::Object(value) => Listed::Object((*value).clone()),
        Shown::Left(value, _) => Listed::Left((*value).clone()),
        Shown::ListDone { version, .. } => Listed::Done(version),
    })
}

pub fn trouble(watch: &mut Watch, server: &Server, random: &mut Random) {
    match random.below(4) {
        0 => watch.lose(server),
        1 => watch.swap(server),
        2 => watch.double(server),
        _ => watch.relist(),
    }
}
