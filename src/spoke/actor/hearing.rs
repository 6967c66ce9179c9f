//! What an actor hears: tasks of the hub side, watches, answers to its own requests.

use super::{Actor, Event, SERVED_DOUBLINGS, SERVED_SOON, Slot};
use crate::api::names::GroupKind;
use crate::api::names::InstanceKey;
use crate::api::names::ObjectRef;
use crate::reconcile::bounds::Bounds;
use crate::reconcile::spoke::Goal;
use crate::reconcile::spoke::Machine;
use crate::reconcile::spoke::Outcome;
use crate::reconcile::world::CrdState;
use crate::reconcile::world::KindState;
use crate::reconcile::world::World;
use crate::spoke::crd_names;
use crate::spoke::messages::Said;
use crate::spoke::messages::ToSpoke;
use crate::spoke::perform::Done;
use crate::spoke::store::Store;
use crate::spoke::watch::Seen;
use std::sync::Arc;

impl Actor {
    /// Something that the hub side says.
    pub fn on_message(&mut self, message: ToSpoke) {
        match message {
            ToSpoke::Task(task) => {
                let key = task.key.clone();
                if let (Goal::Run { graph, rank, .. }, false) = (&task.goal, task.is_local())
                    && !rank.behind
                {
                    self.write_store(|s| s.crds.want(&key.gk, graph.crd_hash()));
                }
                if !task.is_local()
                    && self.read_store(|s| s.kind_of(&key.gk).is_some() && !s.objects.is_generated(&key.gk))
                {
                    // So far only our children of that kind were watched; now every object there matters.
                    self.ensure_kind(&key.gk, Some(task.gvk.clone()), true);
                }
                if self.is_displaced(&task) {
                    return;
                }
                match self.slots.get_mut(&key) {
                    Some(Slot { machine: Some(machine), last_sent, .. }) => {
                        *last_sent = None;
                        machine.retarget(task);
                    }
                    _ => self.open(&key, Machine::new(task)),
                }
                self.enqueue(&key);
            }
            ToSpoke::Define(definition) => self.define(definition),
            ToSpoke::Undefine(gk) => self.undefine(&gk),
            ToSpoke::Facts(facts) => self.facts(facts),
            ToSpoke::Bounds(bounds) => self.bound(bounds),
            ToSpoke::Judge(graph, side) => self.ensure_judged(&graph, side),
            ToSpoke::Forget(key) => {
                if self.forget_displaced(&key) {
                    return;
                }
                self.close(&key);
            }
            ToSpoke::TellMirrors(gk) => {
                if self.read_store(|s| matches!(s.kind_state(&gk), KindState::Synced { .. })) {
                    self.tell_mirrors(&gk);
                }
            }
        }
    }

    /// Something that happened beside the actor.
    pub fn on_event(&mut self, event: Event) {
        match event {
            Event::Judged(key, verdict) => self.on_judged(&key, verdict),
            Event::Schemas(serial, lacking) => {
                if serial == self.schemas_serial && (!lacking || self.read_store(|s| s.graphs.lacks())) {
                    self.judge_again(true);
                }
            }
            Event::Watch(gk, serial, seen) => {
                if self.read_store(|s| s.kind_of(&gk).is_some_and(|k| k.serial == serial)) {
                    self.on_seen(&gk, seen);
                }
            }
            Event::Reference(subject, serial, seen) => {
                let readers = self.write_store(|s| s.references.seen(&subject, serial, seen));
                readers.iter().for_each(|key| self.enqueue(key));
            }
            Event::Answered(lookup, answer) => {
                let readers = self.write_store(|s| s.references.answered(&lookup, answer));
                readers.iter().for_each(|key| self.enqueue(key));
            }
            Event::Served(gvk, served) => self.write_store(|s| s.references.note_served(gvk, served)),
            Event::Crd(seen) => self.on_crd(&seen),
            Event::Crds(gk, ensured) => {
                let now = self.now.at;
                self.write_store(|s| s.crds.ensured(&gk, ensured, now));
                let ready = matches!(self.read_store(|s| s.crd(&gk)), CrdState::Ready { .. });
                if ready && self.read_store(|s| s.kind_state(&gk)) == KindState::Missing {
                    // It was asked for before its CRD was established.
                    self.write_store(|s| s.kind_mut(&gk).state = KindState::Unknown);
                }
                // What makes instances of the kind waits for it too.
                self.enqueue_all();
            }
            Event::LookAgain(gk) => {
                if self.read_store(|s| s.kind_state(&gk)) == KindState::Missing {
                    self.write_store(|s| s.kind_mut(&gk).state = KindState::Unknown);
                    // What makes objects of the kind waits for it too.
                    self.enqueue_all();
                }
            }
            Event::LookAgainIn(group) => {
                let reopened = self.write_store(|s| s.references.retry(Some(&group)));
                self.open_lookups(reopened);
            }
            Event::Reread(gk, change) => {
                if self.changes.get(&gk) == Some(&change) {
                    self.changes.remove(&gk);
                    self.reread(&gk);
                }
            }
            Event::Done(key, done) => {
                self.requests = self.requests.saturating_sub(1);
                self.ended = self.now.at;
                let concerned = self.take_in(&done);
                let written = done.objects();
                if let Some(Slot { machine: Some(machine), .. }) = self.slots.get_mut(&key) {
                    for outcome in done.outcomes {
                        machine.feed(outcome, &self.now);
                    }
                }
                self.enqueue(&key);
                for other in concerned {
                    self.enqueue(&other);
                }
                written.iter().for_each(|object| self.settle_home(object));
            }
        }
    }

    /// Where resources may be written from now on.
    fn bound(&mut self, bounds: Arc<Bounds>) {
        if self.read_store(|s| s.bounds != bounds) {
            self.write_store(|s| s.bounds = bounds);
            self.enqueue_all();
        }
    }

    /// Own writes are known at once, not when the watch repeats them.
    pub(super) fn take_in(&self, done: &Done) -> Vec<InstanceKey> {
        let mut concerned = Vec::new();
        for outcome in &done.outcomes {
            match outcome {
                Outcome::Applied { object, stored, .. } => {
                    concerned.extend(self.write_store(|s| s.objects.upsert(object, stored.clone())));
                }
                Outcome::ApplyFailed { object, .. } => self.write_store(|s| s.objects.write_failed(object)),
                Outcome::Gone { object } | Outcome::Released { object } => concerned
                    .extend(self.write_store(|s| s.objects.remove(object, done.uid.as_deref(), None))),
                _ => {}
            }
        }
        if let Some((object, stored)) = &done.seen {
            // Who made a nested instance waits for what it says.
            concerned.extend(self.write_store(|s| s.objects.upsert(object, stored.clone())));
        }
        concerned
    }

    pub(super) fn on_seen(&mut self, gk: &GroupKind, seen: Seen) {
        let concerned = match seen {
            Seen::Served(resource) => {
                self.write_store(|s| s.served(gk, resource));
                Vec::new()
            }
            Seen::NotServed => {
                let misses = self.write_store(|s| s.missed(gk));
                if matches!(self.read_store(|s| s.crd(gk)), CrdState::Ready { .. }) {
                    // Its CRD is there: discovery follows in a moment.
                    let pause = SERVED_SOON * 2_u32.pow(misses.min(SERVED_DOUBLINGS));
                    self.later(pause, Event::LookAgain(gk.clone()));
                }
                self.enqueue_all();
                Vec::new()
            }
            Seen::Failed(message) => {
                let synced = matches!(self.read_store(|s| s.kind_state(gk)), KindState::Synced { .. });
                if synced {
                    self.write_store(|s| s.refused(gk, message));
                } else {
                    self.write_store(|s| s.kind_mut(gk).state = KindState::Failed(message));
                    self.enqueue_all();
                }
                Vec::new()
            }
            Seen::ListStarted => {
                self.write_store(|s| s.objects.list_started(gk));
                Vec::new()
            }
            Seen::Object(stored) => {
                let target = stored.object.object_ref();
                let concerned = self.write_store(|s| s.objects.show(&target, stored));
                self.settle_home(&target);
                concerned
            }
            Seen::Left(target, uid, version) => {
                let unclaimed = self.is_unclaimed_mirror(&target, &uid);
                let concerned = self.write_store(|s| s.objects.remove(&target, Some(&uid), Some(version)));
                self.settle_home(&target);
                if unclaimed {
                    self.tell_mirrors(gk);
                }
                concerned
            }
            Seen::ListDone { namespaced, version } => {
                let first = self.read_store(|s| {
                    !matches!(s.kind_state(gk), KindState::Synced { .. }) || s.blind(gk).is_some()
                });
                let concerned = self.write_store(|s| s.list_done(gk, namespaced, version));
                if first {
                    self.enqueue_all();
                }
                self.tell_mirrors(gk);
                self.settle_kind(gk);
                concerned
            }
        };
        for key in concerned {
            self.enqueue(&key);
        }
    }

    /// Whether it is a mirror that no task is about: the hub lists such.
    fn is_unclaimed_mirror(&self, target: &ObjectRef, uid: &str) -> bool {
        let shown = |s: &Store| s.objects.get(target).is_some_and(|known| known.object.uid() == uid);
        let is_mirror = self.read_store(|s| shown(s) && s.objects.is_mirror(target, self.hub_id.as_str()));
        is_mirror && !self.slots.contains_key(&InstanceKey::of(target))
    }

    pub(super) fn tell_mirrors(&mut self, gk: &GroupKind) {
        let hub_id = self.hub_id.clone();
        let (generated, mirrors) =
            self.read_store(|s| (s.objects.is_generated(gk), s.objects.mirrors(gk, hub_id.as_str())));
        if generated && !self.local {
            self.say(Said::Mirrors { gk: gk.clone(), mirrors });
        }
    }

    pub(super) fn on_crd(&mut self, seen: &crd_names::CrdSeen) {
        // A kind that was not served may be served now; what failed because of a schema may work now.
        let gk = seen.gk.clone().or_else(|| self.read_store(|s| s.kind_of_crd(&seen.name)));
        let unserved = self.read_store(Store::unserved);
        for missing in unserved.into_iter().filter(|u| u.group == seen.group) {
            self.write_store(|s| s.kind_mut(&missing).state = KindState::Unknown);
        }
        self.retry_lookups(&seen.group);
        if !self.is_generated(seen) && self.use_group(&seen.group) {
            self.schemas_changed();
        }
        if let Some(gk) = gk {
            for slot in self.slots.values_mut() {
                if let Some(machine) = &mut slot.machine {
                    machine.schema_changed(&gk);
                }
            }
            self.write_store(|s| s.crds.seen(&gk, &seen.mark, seen.shown()));
            self.schema_changed(&gk);
            if seen.gk.is_some() && !seen.gone && seen.ours(&self.hub_id) && !self.local {
                let known = self.read_store(|s| s.objects.is_generated(&gk));
                if !known {
                    self.ensure_kind(&gk, None, true);
                }
            }
        }
        self.enqueue_all();
    }
}
