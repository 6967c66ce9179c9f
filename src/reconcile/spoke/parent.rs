//! The object that children belong to: the mirror, or the instance itself where it is at home. Children wait until it is
//! there and records where they may be.

use super::identity::Whose;
use super::mirror::Marks;
use super::run::{Walk, Wanted, ensure_kind};
use super::status::{NodeState, Summary};
use super::writing::Wish;
use super::{Action, Home, Machine, Task, mirror, nested};
use crate::api::applyset::Inventory;
use crate::api::keys::{hub, kro};
use crate::api::names::GroupKind;
use crate::api::{Object, PackedObject};
use crate::reconcile::world::{KindState, Stored};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Machine {
    pub(super) fn parent(
        &mut self,
        walk: &mut Walk,
        wanted: &Wanted,
        kinds: &mut BTreeSet<GroupKind>,
    ) -> Result<Object, Summary> {
        let parent = match self.local_parent() {
            Some(stored) => self.local_instance(walk, wanted, kinds, stored),
            None if self.task.is_nested() => self.nested_instance(walk, wanted, kinds),
            None => self.mirror(walk, wanted, kinds),
        };
        parent.map(|shown| wanted.graph.as_served(&shown).unwrap_or(shown))
    }

    /// The hub instance, as it was sent to us or as our own write returned it, whichever is newer.
    pub(super) fn local_parent(&self) -> Option<Arc<Stored>> {
        let Home::Local { instance } = &self.task.home else { return None };
        let newer = |written: &PackedObject| {
            written.uid() == instance.object.uid() && instance.object.version() < written.version()
        };
        match &self.written_parent {
            Some(written) if newer(&written.object) => Some(written.clone()),
            _ => Some(instance.clone()),
        }
    }

    /// What our write returned is no truth any more where the hub goes back: it was restored.
    pub(super) fn forget_former_parent(&mut self, next: &Task) {
        if let (Home::Local { instance: before }, Home::Local { instance: now }) =
            (&self.task.home, &next.home)
            && (before.object.uid() != now.object.uid() || now.object.version() < before.object.version())
        {
            self.written_parent = None;
        }
    }

    /// The instance on the hub, which the hub side has already labelled.
    fn local_instance(
        &mut self,
        walk: &mut Walk,
        wanted: &Wanted,
        kinds: &mut BTreeSet<GroupKind>,
        stored: Arc<Stored>,
    ) -> Result<Object, Summary> {
        let key = self.task.key.object();
        let inventory = self.inventory_for(walk, wanted, Some(&stored), kinds)?;
        let marks = Marks { version: wanted.mark, admitted: wanted.admitted, facts: None };
        let body = mirror::parent_body(&self.task, marks.clone(), &inventory);
        let wish = Wish::parent(body);
        let state = self.apply_if_needed(walk, &key, Some(stored.clone()), wish);
        let parent = self.recorded(&stored, &inventory, state)?;
        // What comes by the next revision comes after the word that it may.
        let there = Marks { facts: None, ..Marks::on(&stored.object) };
        if marks != Marks::default() && marks != there {
            return Err(Summary::waiting("recording the revision"));
        }
        Ok(parent)
    }

    /// Children may be written as soon as the record names all that they may be.
    fn recorded(
        &self,
        stored: &Stored,
        inventory: &Inventory,
        state: Option<NodeState>,
    ) -> Result<Object, Summary> {
        let recorded = self.recorded_inventory(stored).ok().flatten().unwrap_or_default();
        match state {
            Some(NodeState::Failed(trouble, why)) => {
                Err(Summary::blocked(trouble.reason(), format!("inventory: {why}")))
            }
            Some(_) if recorded.union(inventory) != recorded => {
                Err(Summary::waiting("recording the inventory"))
            }
            _ => Ok(stored.object.unpack()),
        }
    }

    /// The instance, where another definition made it on this cluster.
    fn nested_instance(
        &mut self,
        walk: &mut Walk,
        wanted: &Wanted,
        kinds: &mut BTreeSet<GroupKind>,
    ) -> Result<Object, Summary> {
        self.kind_is_seen(walk)?;
        let key = self.task.key.object();
        let Some(stored) = walk.world.get(&key).filter(|s| s.object.uid() == self.task.hub_uid) else {
            return Err(Summary::waiting("the instance is gone"));
        };
        let inventory = self.inventory_for(walk, wanted, Some(&stored), kinds)?;
        let body = nested::body(&self.task, &wanted.graph, &inventory);
        let wish = Wish::labels(body);
        let state = self.apply_if_needed(walk, &key, Some(stored.clone()), wish);
        // No child before the finalizer that makes sure that it goes with the instance.
        if !stored.object.has_finalizer(kro::FINALIZER) {
            return match state {
                Some(NodeState::Failed(trouble, why)) => {
                    Err(Summary::blocked(trouble.reason(), format!("finalizer/labeling failed: {why}")))
                }
                _ => Err(Summary::waiting("writing the finalizer")),
            };
        }
        self.recorded(&stored, &inventory, state)
    }

    fn kind_is_seen(&self, walk: &mut Walk) -> Result<(), Summary> {
        match walk.world.kind(&self.task.key.gk) {
            KindState::Synced { .. } => Ok(()),
            KindState::Failed(why) => Err(Summary::blocked("NotReady", why)),
            _ => {
                walk.unseen = true;
                Err(Summary::waiting("waiting for the first list of the mirror's kind"))
            }
        }
    }

    /// The mirror.
    fn mirror(
        &mut self,
        walk: &mut Walk,
        wanted: &Wanted,
        kinds: &mut BTreeSet<GroupKind>,
    ) -> Result<Object, Summary> {
        let task = self.task.clone();
        let key = task.key.object();
        self.kind_is_seen(walk)?;
        let stored = walk.world.get(&key);
        if self.mirror_doubted && stored.is_some() {
            self.look_for_mirror(walk);
            return Err(Summary::waiting("looking for the mirror, which the cluster did not find"));
        }
        if let Some(found) = &stored {
            let name = format!("{} {} exists and", task.gvk.kind, task.key.short());
            match self.whose(found) {
                Whose::This | Whose::Namesake => {}
                Whose::Other(owner) => {
                    return Err(Summary::blocked("Conflict", format!("{name} belongs to {owner}")));
                }
                Whose::Untold => {
                    let message = format!(
                        "{name} may be the mirror, but nothing on it says so; label it {}={} to have it taken back, or \
                         delete it",
                        hub::HUB_ID,
                        task.hub_id
                    );
                    return Err(Summary::blocked("Conflict", message));
                }
            }
            if found.object.is_deleting() {
                return Err(Summary::waiting("the mirror is being deleted on the cluster"));
            }
        }
        if let Some(namespace) = self.namespace_missing.clone() {
            let due = self.namespace_failure.as_ref().is_none_or(|f| f.1.is_due(walk.now));
            if due && !self.namespace_busy {
                self.namespace_busy = true;
                walk.step.actions.push(Action::EnsureNamespace(namespace.clone()));
            }
            let why = self
                .namespace_failure
                .as_ref()
                .map_or_else(|| format!("creating namespace {namespace}"), |f| f.0.clone());
            return Err(Summary::waiting(&why));
        }
        let inventory = self.inventory_for(walk, wanted, stored.as_deref(), kinds)?;
        let marks = self.marks(stored.as_deref(), wanted);
        let body = mirror::body(&task, &wanted.mirror, marks, &inventory);
        let wish = Wish::mirror(body, &wanted.graph);
        let busy_or_failed = self.apply_if_needed(walk, &key, stored.clone(), wish);
        match (stored, busy_or_failed) {
            (_, Some(NodeState::Failed(trouble, why))) => {
                Err(Summary::blocked(trouble.reason(), format!("mirror: {why}")))
            }
            // A mirror of an older spec stays the base of its children until the newer one is answered.
            (Some(_), Some(_)) | (None, _) => Err(Summary::waiting("writing the mirror")),
            (Some(found), None) => {
                self.mirror_written = Some(Box::new((found.object.uid().to_owned(), task.hub_uid.clone())));
                Ok(mirror::as_written(found.object.unpack(), &wanted.mirror))
            }
        }
    }

    /// The store shows a mirror that a write did not find: an event was lost, or comes late.
    fn look_for_mirror(&mut self, walk: &mut Walk) {
        let object = self.task.key.object();
        let due = self.delete_failures.get(&object).is_none_or(|(_, retry)| retry.is_due(walk.now));
        let tracked = self.objects.entry(object.clone()).or_default();
        if due && !tracked.busy {
            tracked.busy = true;
            walk.step.actions.push(Action::VerifyGone { object, gvk: self.task.gvk.clone() });
        }
    }

    fn inventory_for(
        &mut self,
        walk: &mut Walk,
        wanted: &Wanted,
        parent: Option<&Stored>,
        kinds: &mut BTreeSet<GroupKind>,
    ) -> Result<Inventory, Summary> {
        let recorded = self
            .known_record(parent)
            .map_err(|why| Summary::blocked("InventoryInvalid", mirror::unreadable(&self.task, &why)))?;
        for gk in recorded.iter().flat_map(|record| &record.group_kinds) {
            ensure_kind(walk, gk, None);
            kinds.insert(gk.clone());
        }
        let mut namespaces = wanted.graph.literal_namespaces();
        namespaces.extend(self.extra_namespaces.iter().cloned());
        namespaces.remove(&*self.task.key.namespace);
        let group_kinds = match parent {
            Some(instance) if self.task.is_local() => wanted.kinds_to_record(&instance.object),
            _ => wanted.group_kinds(),
        };
        Ok(self.wanted_inventory(walk.world, walk.now, recorded, Inventory { group_kinds, namespaces }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::{Gvk, HubId, InstanceKey};
    use crate::reconcile::spoke::Goal;
    use serde_json::json;

    fn instance(uid: &str, version: u64) -> Object {
        Object(json!({"apiVersion": "kro.run/v1alpha1", "kind": "App",
            "metadata": {"name": "a", "namespace": "n", "uid": uid, "resourceVersion": version.to_string()}}))
    }

    fn task(uid: &str, version: u64) -> Arc<Task> {
        let key = InstanceKey::new(GroupKind::new("kro.run", "App"), "n", "a");
        let gvk = Gvk { group: "kro.run".into(), version: "v1alpha1".into(), kind: "App".into() };
        let home = Home::Local { instance: Arc::new(Stored::new(instance(uid, version).0)) };
        let goal = Goal::Remove { group_kinds: BTreeSet::new() };
        Arc::new(Task { key, gvk, hub_uid: uid.into(), hub_id: HubId::new("h"), home, goal })
    }

    #[test]
    fn what_a_write_returned_is_the_parent_until_the_hub_shows_it_or_goes_back() {
        let cases = [
            ("the hub lags behind", ("u", 7), ("u", 9)),
            ("the hub shows a newer one", ("u", 11), ("u", 11)),
            ("the hub was restored", ("u", 4), ("u", 4)),
            ("it was made anew", ("v", 8), ("v", 8)),
        ];
        for (case, (uid, version), want) in cases {
            let mut machine = Machine::new(task("u", 5));
            machine.written_parent = Some(Arc::new(Stored::new(instance("u", 9).0)));
            machine.retarget(task(uid, version));
            let parent = machine.local_parent().unwrap().object.unpack();
            assert_eq!(
                (parent.uid(), parent.resource_version()),
                (want.0, want.1.to_string().as_str()),
                "{case}"
            );
        }
    }
}
