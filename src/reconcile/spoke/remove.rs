//! The instance shall be gone: children by descending apply order, wave by wave, then the mirror.
//!
//! Nothing is taken for gone because it cannot be seen: every kind of the inventory must be listed first, and an object
//! that left our selection counts as gone only after a read without selector said 404.

use super::identity::Whose;
use super::looked::LEAVING;
use super::status::Summary;
use super::telling::Told;
use super::{Action, Machine, Step, children, nested};
use crate::api::PackedObject;
use crate::api::keys::{hub, kro};
use crate::api::names::{GroupKind, Gvk, ObjectRef};
use crate::reconcile::Now;
use crate::reconcile::world::{KindState, Stored, World};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One step of a removal.
struct Removal<'a> {
    world: &'a dyn World,
    now: &'a Now,
    step: Step,
}

impl Machine {
    pub(super) fn remove(&mut self, world: &dyn World, now: &Now, hint: &BTreeSet<GroupKind>) -> Step {
        let mut removal = Removal { world, now, step: Step::default() };
        let message = match self.remove_all(&mut removal, hint) {
            Err(why) => why,
            // What is on its way to the cluster would come after the last look.
            Ok(()) if !self.is_quiet() => "deleting resources: waiting for requests under way".into(),
            Ok(()) => {
                removal.step.gone = true;
                String::new()
            }
        };
        let mut step = removal.step;
        if !step.gone {
            let parent = world.get(&self.task.key.object());
            let last = self.last_report.as_ref();
            let revision = last.map(|r| r.revision.to_string()).unwrap_or_default();
            let told = Told {
                parent: parent.as_deref(),
                summary: &Summary::deleting(message),
                generation: last.map_or(0, |r| r.generation),
                revision: &revision,
                by_author: last.is_some_and(|r| r.author.is_some()),
            };
            self.report(&mut step, now, &told);
        }
        if self.task.is_nested() && !step.gone && self.is_quiet() {
            // Nobody else tells of it.
            let parent = world.get(&self.task.key.object());
            self.write_status(&mut step, now, parent.as_deref());
        }
        step.wake_at = [step.wake_at, self.wake_at(now)].into_iter().flatten().min();
        step
    }

    /// Gets as far as it can; says what is still in the way.
    fn remove_all(&mut self, removal: &mut Removal, hint: &BTreeSet<GroupKind>) -> Result<(), String> {
        let parent = self.parent_of_removal(removal.world, &mut removal.step)?;
        self.look_for_unseen_mirror(removal, parent.is_some())?;
        self.remove_children(removal, parent.as_deref(), hint)?;
        self.remove_mirror(removal, parent.as_deref())
    }

    /// The mirror, or the instance itself on the hub. `Ok(None)`: there is none.
    fn parent_of_removal(&self, world: &dyn World, step: &mut Step) -> Result<Option<Arc<Stored>>, String> {
        if let super::Home::Local { instance } = &self.task.home {
            return Ok(Some(instance.clone()));
        }
        match world.kind(&self.task.key.gk) {
            KindState::Synced { .. } => Ok(world.get(&self.task.key.object())),
            KindState::Missing => Ok(None),
            KindState::Unknown => {
                step.actions.push(Action::EnsureKind(self.task.key.gk.clone(), Some(self.task.gvk.clone())));
                Err("deleting resources: waiting for the first list of the mirror's kind".into())
            }
            KindState::Syncing => {
                Err("deleting resources: waiting for the first list of the mirror's kind".into())
            }
            KindState::Failed(why) => Err(format!("deletion blocked: {why}")),
        }
    }

    /// No mirror is shown, and none ever was to this machine. A list that left it out by mistake must not end a removal
    /// that has not begun: one read by its name says that there is none, before anything is taken for gone.
    fn look_for_unseen_mirror(&mut self, removal: &mut Removal, shown: bool) -> Result<(), String> {
        let Removal { world, now, step } = removal;
        let target = self.task.key.object();
        if !self.is_unseen_mirror(&target) {
            return Ok(());
        }
        if shown {
            // There is nothing to wait for any more.
            self.leaving.remove(&target);
            return Ok(());
        }
        if self.gone.contains(&target) || matches!(world.kind(&target.gk), KindState::Missing) {
            return Ok(());
        }
        self.objects.entry(target.clone()).or_default();
        if self.strays.remove(&target).is_some() {
            self.leaving.insert(target.clone(), now.at.after(LEAVING));
            step.actions.push(Action::ListAnew(target.gk.clone()));
        } else {
            self.make_sure(now, step, &target);
        }
        Err(match self.delete_failures.get(&target) {
            Some((why, ..)) => format!("deletion blocked: {target}: {why}"),
            None => "deleting resources: making sure that there is no mirror".into(),
        })
    }

    fn remove_children(
        &mut self,
        removal: &mut Removal,
        parent: Option<&Stored>,
        hint: &BTreeSet<GroupKind>,
    ) -> Result<(), String> {
        let Removal { world, now, step } = removal;
        let mut kinds = hint.clone();
        // What is not a mirror of ours has nothing to say.
        let parent = parent.filter(|p| !self.task.is_mirrored() || !matches!(self.whose(p), Whose::Other(_)));
        if let Some(parent) = parent {
            match self.recorded_inventory(parent) {
                Ok(Some(inventory)) => kinds.extend(inventory.group_kinds),
                Ok(None) => {}
                Err(why) => return Err(format!("deletion blocked: validate deletion inventory: {why}")),
            }
        }
        // What somebody else took from the record meanwhile counts all the same.
        let known = self.known_record(parent).ok().flatten();
        kinds.extend(known.into_iter().flat_map(|record| record.group_kinds));
        let mut waiting = Vec::new();
        for gk in &kinds {
            match world.kind(gk) {
                KindState::Synced { .. } | KindState::Missing => {}
                KindState::Failed(why) => return Err(format!("deletion blocked: {why}")),
                KindState::Unknown => {
                    step.actions.push(Action::EnsureKind(gk.clone(), None));
                    waiting.push(gk.to_string());
                }
                KindState::Syncing => waiting.push(gk.to_string()),
            }
        }
        if !waiting.is_empty() {
            return Err(format!("deleting resources: waiting for the first list of {}", waiting.join(", ")));
        }
        let mut members = self.children_there(*world, parent.map(|p| p.object.uid()));
        // The mirror of a later instance of this name: its children are not ours to take.
        if let Some(other) = parent.filter(|p| self.is_of_namesake(p)) {
            members.retain(|(_, s)| s.object.label(kro::INSTANCE_ID) != Some(other.object.uid()));
        }
        // An object that left the selection while it was being deleted is asked for by name.
        let unseen: Vec<ObjectRef> = self
            .objects
            .iter()
            .filter(|(target, t)| {
                t.was_ours()
                    && **target != self.task.key.object()
                    && !self.gone.contains(*target)
                    && !members.iter().any(|(m, _)| m == *target)
                    && world.get(target).is_none()
            })
            .map(|(target, _)| target.clone())
            .collect();
        for target in &unseen {
            self.make_sure(now, step, target);
        }
        if let Some(order) = members.iter().map(|(_, s)| children::apply_order(&s.object)).max() {
            let wave: Vec<(ObjectRef, Arc<Stored>)> =
                members.into_iter().filter(|(_, s)| children::apply_order(&s.object) == order).collect();
            let names: Vec<String> = wave.iter().take(5).map(|(o, _)| o.to_string()).collect();
            let mut blocked = None;
            for (target, stored) in wave {
                if stored.object.is_deleting() {
                    // It is seen going: its end will be seen too, and is looked into at once.
                    self.leaving.remove(&target);
                } else {
                    self.take_away(now, step, &target, &stored);
                }
                if let Some((why, ..)) = self.delete_failures.get(&target) {
                    blocked = Some(format!("deletion blocked: {target}: {why}"));
                }
            }
            return Err(
                blocked.unwrap_or_else(|| format!("deleting apply-order wave {order}: {}", names.join(", ")))
            );
        }
        if unseen.is_empty() {
            Ok(())
        } else {
            Err("deleting resources: making sure that nothing is left".into())
        }
    }

    /// Its children as far as they are seen: those that say so, and those that it is known to have made, whatever they say
    /// now, unless another instance has taken them over since. `parent` is the uid of the object they belong to.
    pub(super) fn children_there(
        &self,
        world: &dyn World,
        parent: Option<&str>,
    ) -> Vec<(ObjectRef, Arc<Stored>)> {
        let mut members = world.members(&self.task.applyset());
        members.retain(|(target, stored)| self.is_child(target, stored));
        let named: BTreeSet<ObjectRef> = members.iter().map(|(target, _)| target.clone()).collect();
        let mirror = self.task.key.object();
        // Without a mirror, the last one tells.
        let parent = parent.or(self.mirror_written.as_ref().map(|written| written.0.as_str()));
        let elsewhere = |t: &&ObjectRef| **t != mirror && !named.contains(*t) && !self.gone.contains(*t);
        for target in self.objects.keys().filter(elsewhere) {
            let Some(stored) = world.get(target).filter(|s| self.is_known(target, &s.object)) else {
                continue;
            };
            let owner = stored.object.label(kro::INSTANCE_ID);
            if owner.is_none_or(|owner| parent.is_none_or(|uid| uid == owner)) {
                members.push((target.clone(), stored));
            }
        }
        members
    }

    /// Reads an object that is not seen by its name: only a 404 says that it is gone, and only after a write that got no
    /// answer cannot be executed any more.
    pub(super) fn make_sure(&mut self, now: &Now, step: &mut Step, target: &ObjectRef) {
        let waits = self.delete_failures.get(target).is_some_and(|(_, retry)| !retry.is_due(now))
            || self.leaving.get(target).is_some_and(|at| now.at < *at);
        let Some(tracked) = self.objects.get_mut(target) else { return };
        if tracked.busy || waits || tracked.uncertain_until(now).is_some() {
            return;
        }
        tracked.busy = true;
        let gvk = Gvk::new(&target.gk.group, "", &target.gk.kind);
        step.actions.push(match self.strays.remove(target) {
            // Somebody took our labels off; it is ours by its uid.
            Some(found) => self.farewell(target, gvk, &found.object),
            None => Action::VerifyGone { object: target.clone(), gvk },
        });
    }

    fn remove_mirror(&mut self, removal: &mut Removal, parent: Option<&Stored>) -> Result<(), String> {
        let Removal { world, now, step } = removal;
        if self.objects.values().any(|t| t.busy) {
            return Err("deleting resources: waiting for writes under way".into());
        }
        if self.task.is_local() {
            return Ok(());
        }
        if self.task.is_nested() {
            return self.let_nested_go(now, step, parent);
        }
        let target = self.task.key.object();
        let Some(parent) = parent else {
            let may_come = self.objects.get(&target).is_some_and(|t| t.was_ours())
                && !self.gone.contains(&target)
                && !matches!(world.kind(&target.gk), KindState::Missing);
            if may_come {
                self.make_sure(now, step, &target);
                return Err("deleting resources: making sure that no mirror is left".into());
            }
            return Ok(());
        };
        match self.whose(parent) {
            Whose::This => {}
            Whose::Namesake | Whose::Other(_) => return Ok(()),
            Whose::Untold => {
                return Err(format!(
                    "deletion blocked: {target} may be the mirror, but nothing on it says so; delete it on the cluster, \
                     or let the cluster go with {}",
                    hub::RELEASE
                ));
            }
        }
        if parent.object.is_deleting() {
            self.leaving.remove(&target);
        } else {
            self.take_away(now, step, &target, parent);
        }
        match self.delete_failures.get(&target) {
            Some((why, ..)) => Err(format!("deletion blocked: {target}: {why}")),
            None => Err("deleting the mirror".into()),
        }
    }

    /// Takes our finalizer off an instance that is at home here, once nothing of it is left.
    fn let_nested_go(&mut self, now: &Now, step: &mut Step, parent: Option<&Stored>) -> Result<(), String> {
        let of_this = parent.filter(|p| p.object.uid() == self.task.hub_uid);
        let Some(patch) = of_this.and_then(|p| nested::finalizer_patch(&p.object)) else { return Ok(()) };
        let object = self.task.key.object();
        let failure = self.delete_failures.get(&object);
        let due = failure.is_none_or(|(_, retry)| retry.is_due(now));
        let message = failure
            .map_or("removing the finalizer".into(), |(why, _)| format!("failed removing finalizer: {why}"));
        let tracked = self.objects.entry(object.clone()).or_default();
        if due && !tracked.busy {
            tracked.busy = true;
            step.actions.push(Action::RemoveFinalizer { object, gvk: self.task.gvk.clone(), patch });
        }
        Err(message)
    }

    /// Deletes one object, with its uid as precondition; or lets it live where its annotation says so.
    pub(super) fn take_away(&mut self, now: &Now, step: &mut Step, target: &ObjectRef, stored: &Stored) {
        let waits = self.delete_failures.get(target).is_some_and(|(_, retry)| !retry.is_due(now))
            || self.leaving.get(target).is_some_and(|at| now.at < *at);
        let tracked = self.objects.entry(target.clone()).or_default();
        if tracked.busy || waits {
            return;
        }
        tracked.ask_to_delete(stored.object.uid());
        step.actions.push(self.farewell(target, stored.object.gvk(), &stored.object));
    }

    /// Deletes an object, or lets it live where its annotation says so, whatever its labels say by now. A mirror is what an
    /// instance is here; its annotations are copies.
    fn farewell(&self, target: &ObjectRef, gvk: Gvk, live: &PackedObject) -> Action {
        let (object, uid) = (target.clone(), live.uid().to_owned());
        let mirror = *target == self.task.key.object();
        if !mirror && children::is_orphaned_on_delete(live) {
            Action::Release { object, gvk, uid, patch: children::release_patch(live) }
        } else {
            Action::Delete { object, gvk, uid }
        }
    }
}
