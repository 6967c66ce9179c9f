//! Instances are stepped in turn, and what a step says is done.

use super::{Actor, TURN};
use crate::api::names::InstanceKey;
use crate::reconcile::Now;
use crate::reconcile::spoke::{Goal, Machine, Step, Task, report_fingerprint};
use crate::spoke::fallback_report;
use crate::spoke::messages::Said;
use crate::spoke::spans;
use crate::spoke::store::Store;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// One panicked is tried again after this.
const CRASHED: Duration = Duration::from_secs(60);

/// Instances that are stepped now, wherever there is time for it: to hand each over alone would cost more than most steps
/// do. The actor hears nothing else until their steps are brought back.
pub(crate) struct Turn {
    machines: Vec<(InstanceKey, Arc<Task>, Box<Machine>)>,
    store: Arc<RwLock<Store>>,
    now: Now,
}

/// An instance that had its turn.
pub(crate) struct Stepped {
    pub key: InstanceKey,
    pub task: Arc<Task>,
    /// `None`: the step panicked.
    pub step: Option<(Box<Machine>, Step)>,
}

impl Turn {
    /// What comes back if nobody takes the turn to its end.
    pub fn lost(&self) -> Vec<Stepped> {
        let lost = |(key, task, _): &(InstanceKey, Arc<Task>, Box<Machine>)| Stepped {
            key: key.clone(),
            task: task.clone(),
            step: None,
        };
        self.machines.iter().map(lost).collect()
    }

    /// Steps each; `took` hears how long.
    pub fn run(self, took: impl Fn(Duration)) -> Vec<Stepped> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let step = |(key, task, machine): (InstanceKey, Arc<Task>, Box<Machine>)| {
            let _of = spans::instance(&key).entered();
            let started = Instant::now();
            let step = guarded(machine, &store, &self.now);
            took(started.elapsed());
            Stepped { key, task, step }
        };
        self.machines.into_iter().map(step).collect()
    }
}

impl Actor {
    /// Takes the instances whose turn it is.
    pub fn begin_turn(&mut self) -> Turn {
        let (mut machines, mut begun) = (Vec::new(), 0);
        while machines.len() < TURN && (!self.queue.is_empty() || self.may_begin(begun)) {
            let Some(key) = self.next_key() else { break };
            self.queued.remove(&key);
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            begun += usize::from(slot.fresh);
            (slot.fresh, slot.rested) = (false, false);
            machines.extend(slot.machine.take().map(|machine| (key, machine.task().clone(), machine)));
        }
        Turn { machines, store: self.store.clone(), now: self.now.clone() }
    }

    /// Their turn is over.
    pub fn end_turn(&mut self, all: Vec<Stepped>) {
        for Stepped { key, task, step } in all {
            match step {
                Some((machine, step)) => self.after_step(&key, &task, machine, step),
                None => self.after_crash(key, task),
            }
        }
    }

    fn after_crash(&mut self, key: InstanceKey, task: Arc<Task>) {
        tracing::error!(instance = %key, "a step panicked; starting it afresh");
        let Some(slot) = self.slots.get_mut(&key) else { return };
        self.agenda.set(&key, Some(self.now.at.after(CRASHED)));
        let report = fallback_report::crashed(&task, &self.now);
        slot.last_sent = Some(report_fingerprint(&report));
        slot.machine = Some(Box::new(Machine::new(task.clone())));
        if !task.is_nested() {
            self.say(Said::Report { key, report: Box::new(report) });
        }
    }

    fn after_step(&mut self, key: &InstanceKey, task: &Arc<Task>, machine: Box<Machine>, step: Step) {
        if step.gone && task.is_nested() {
            self.drop_nested(key);
            return;
        }
        if step.gone && matches!(task.goal, Goal::Remove { .. }) {
            self.close(key);
            self.say(Said::Gone { key: key.clone(), hub_uid: task.hub_uid.clone() });
            return;
        }
        let mut told = None;
        if let Some(slot) = self.slots.get_mut(key) {
            slot.machine = Some(machine);
            // Not at once: whatever wants to be stepped without end leaves room for the rest.
            self.agenda.set(key, step.wake_at.map(|at| at.max(self.now.at.after(Duration::from_millis(1)))));
            if let Some(report) = step.report.filter(|_| !task.is_nested()) {
                let print = report_fingerprint(&report);
                if slot.last_sent != Some(print) {
                    slot.last_sent = Some(print);
                    told = Some(Said::Report { key: key.clone(), report: Box::new(report) });
                }
            }
        }
        told.into_iter().for_each(|said| self.say(said));
        if self.slots.contains_key(key) {
            self.read_lookups(key, &step.reads);
            // Nearly none waits.
            if !step.awaited.is_empty() || self.read_store(|s| s.objects.awaits_any(key)) {
                self.write_store(|s| s.objects.awaits(key, step.awaited));
            }
        }
        // It may know by now what it made here.
        self.settle_made_by(key);
        for action in step.actions {
            self.act(key, task, action);
        }
    }
}

/// A panic ends the step of one instance; those of the same turn go on.
fn guarded(mut machine: Box<Machine>, store: &Store, now: &Now) -> Option<(Box<Machine>, Step)> {
    let stepped = catch_unwind(AssertUnwindSafe(move || {
        let step = machine.step(store, now);
        (machine, step)
    }));
    stepped.ok()
}
