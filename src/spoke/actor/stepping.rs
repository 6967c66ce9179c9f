//! Instances are stepped in turn, and what a step says is done.

use super::{Actor, TICK, TURN};
use crate::api::names::InstanceKey;
use crate::reconcile::Now;
use crate::reconcile::spoke::Goal;
use crate::reconcile::spoke::Machine;
use crate::reconcile::spoke::Step;
use crate::reconcile::spoke::Task;
use crate::reconcile::spoke::report_fingerprint;
use crate::spoke::fallback_report;
use crate::spoke::messages::Said;
use crate::spoke::spans;
use crate::spoke::store::Store;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Span;

impl Actor {
    pub(super) fn next_wake(&self) -> Duration {
        let now = self.settings.clock.now().millis;
        self.agenda.next().map_or(TICK, |at| Duration::from_millis(at.saturating_sub(now).max(1)))
    }

    pub(super) fn wake_due(&mut self) {
        for key in self.agenda.due(self.settings.clock.now().millis) {
            self.enqueue(&key);
        }
    }

    /// Steps the next instances in one turn of the pool: to hand each over alone would cost more than most steps do.
    pub(super) async fn step_next(&mut self) {
        let mut machines = Vec::new();
        while machines.len() < TURN && self.has_work() {
            let Some(key) = self.next_key() else { break };
            self.queued.remove(&key);
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            slot.fresh = false;
            machines.extend(slot.machine.take().map(|machine| (key, machine.task().clone(), machine)));
        }
        let tasks: Vec<(InstanceKey, Arc<Task>)> =
            machines.iter().map(|(key, task, _)| (key.clone(), task.clone())).collect();
        let (store, now) = (self.store.clone(), self.settings.clock.now());
        let (metrics, cluster) = (self.settings.metrics.clone(), self.settings.cluster.clone());
        let span = Span::current();
        let turn = move || {
            let _in = span.entered();
            let store = store.read().unwrap_or_else(PoisonError::into_inner);
            let step = |(key, task, machine): (InstanceKey, Arc<Task>, Machine)| {
                let _of = spans::instance(&key).entered();
                let started = Instant::now();
                let stepped = guarded(machine, &store, &now);
                metrics.reconcile_seconds(cluster.as_str(), started.elapsed());
                (key, task, stepped)
            };
            machines.into_iter().map(step).collect::<Vec<_>>()
        };
        match self.settings.pool.run(turn).await {
            Some(all) => {
                for (key, task, stepped) in all {
                    match stepped {
                        Some((machine, step)) => self.after_step(&key, &task, machine, step),
                        None => self.after_crash(key, task),
                    }
                }
            }
            None => tasks.into_iter().for_each(|(key, task)| self.after_crash(key, task)),
        }
    }

    pub(super) fn after_crash(&mut self, key: InstanceKey, task: Arc<Task>) {
        tracing::error!(instance = %key, "a step panicked; starting it afresh");
        let now = self.settings.clock.now();
        let Some(slot) = self.slots.get_mut(&key) else { return };
        self.agenda.set(&key, Some(now.millis + 60_000));
        let report = fallback_report::crashed(&task, &now);
        slot.last_sent = Some(report_fingerprint(&report));
        slot.machine = Some(Machine::new(task.clone()));
        if !task.is_nested() {
            self.say(Said::Report { key, report: Box::new(report) });
        }
    }

    pub(super) fn after_step(&mut self, key: &InstanceKey, task: &Arc<Task>, machine: Machine, step: Step) {
        let now = self.settings.clock.now().millis;
        if step.gone && task.is_nested() {
            self.drop_nested(key);
            return;
        }
        if step.gone && matches!(task.goal, Goal::Remove { .. }) {
            self.close(key);
            self.say(Said::Gone { key: key.clone(), hub_uid: task.hub_uid.clone() });
            return;
        }
        if let Some(slot) = self.slots.get_mut(key) {
            slot.machine = Some(machine);
            // Not at once: whatever wants to be stepped without end leaves room for the rest.
            self.agenda.set(key, step.wake_at.map(|at| at.max(now + 1)));
            if let Some(report) = step.report.filter(|_| !task.is_nested()) {
                let print = report_fingerprint(&report);
                if slot.last_sent != Some(print) {
                    slot.last_sent = Some(print);
                    self.say(Said::Report { key: key.clone(), report: Box::new(report) });
                }
            }
        }
        if self.slots.contains_key(key) {
            self.read_lookups(key, &step.reads);
        }
        // It may know by now what it made here.
        self.settle_made_by(key);
        for action in step.actions {
            self.act(key, task, action);
        }
    }
}

/// A panic ends the step of one instance; those of the same turn go on.
fn guarded(mut machine: Machine, store: &Store, now: &Now) -> Option<(Machine, Step)> {
    let stepped = catch_unwind(AssertUnwindSafe(move || {
        let step = machine.step(store, now);
        (machine, step)
    }));
    stepped.ok()
}
