//! Instances whose home is this cluster: resources of other definitions made them here. The hub does not know them; what it
//! would do for them, the actor does: it gives each a task.

use super::{Actor, Slot};
use crate::api::keys::kro;
use crate::api::maps::HashMap;
use crate::api::names::{GroupKind, Gvk, InstanceKey, ObjectRef};
use crate::api::{PackedObject, applyset};
use crate::graph::Graph;
use crate::reconcile::spoke::{Goal, Machine, Made, Task, nested, nested_task, owner_of};
use crate::reconcile::world::{Definition, Stored, World};
use crate::spoke::crd_names::CrdSeen;
use crate::spoke::fallback_report;
use crate::spoke::messages::Said;
use crate::spoke::schemas::Key;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Nested {
    /// What `kro.cluster` is here.
    facts: Option<Arc<Value>>,
    /// What the hub wants of an instance while a nested one has its name.
    displaced: HashMap<InstanceKey, Arc<Task>>,
    /// The instances that run here, by the id of their ApplySet.
    applysets: HashMap<String, InstanceKey>,
    /// The definitions by the kinds that are generated from them: what those kinds are, nobody needs to ask the cluster.
    generated: HashMap<GroupKind, Arc<Graph>>,
}

#[cfg(test)]
impl Nested {
    pub fn remembered(&self) -> Vec<String> {
        let displaced = self.displaced.keys().map(|key| format!("displaced: {key}"));
        displaced.chain(self.applysets.values().map(|key| format!("ApplySet of {key}"))).collect()
    }
}

impl Actor {
    pub(super) fn define(&mut self, definition: Definition) {
        let gk = definition.graph.gvk.group_kind();
        let hash = definition.graph.crd_hash();
        let before = self.nested.generated.insert(gk.clone(), definition.graph.clone());
        if before.is_none_or(|before| before.crd_hash() != hash)
            && self.read_store(|s| s.graphs.name(|gvk| gvk.group_kind() == gk))
        {
            self.judge_again(false);
        }
        if self.local {
            // What is made on the hub is an instance there.
            return;
        }
        self.write_store(|s| {
            s.crds.want(&gk, hash);
            s.definitions.insert(gk.clone(), definition);
        });
        self.settle_kind(&gk);
        // What makes instances of it may go on.
        self.enqueue_all();
    }

    pub(super) fn undefine(&mut self, gk: &GroupKind) {
        self.nested.generated.remove(gk);
        self.write_store(|s| s.definitions.remove(gk));
        // Those that are going are still cared for: nobody else takes our finalizer off.
        self.settle_kind(gk);
    }

    pub(super) fn facts(&mut self, facts: Arc<Value>) {
        if self.nested.facts.as_ref() != Some(&facts) {
            self.nested.facts = Some(facts);
            let kinds: Vec<GroupKind> = self.read_store(|s| s.definitions.keys().cloned().collect());
            kinds.iter().for_each(|gk| self.settle_kind(gk));
        }
    }

    /// Every object of a kind that others may make.
    pub(super) fn settle_kind(&mut self, gk: &GroupKind) {
        if self.read_store(|s| s.definitions.contains_key(gk) || s.objects.is_generated(gk)) {
            let objects = self.read_store(|s| s.objects(gk));
            let slots = self.slots.iter().filter(|(key, slot)| key.gk == *gk && slot.is_nested());
            let known = slots.map(|(key, _)| key.object());
            let all: BTreeSet<ObjectRef> = objects.into_iter().chain(known).collect();
            all.iter().for_each(|object| self.settle_home(object));
        }
    }

    /// An object changed, came, or went: if this is its home, a task is made of it.
    pub(super) fn settle_home(&mut self, target: &ObjectRef) {
        let (definition, generated) =
            self.read_store(|s| (s.definition(&target.gk), s.objects.is_generated(&target.gk)));
        if self.local || (definition.is_none() && !generated) {
            return;
        }
        let key = InstanceKey::of(target);
        let hub_id = &self.hub_id;
        let stored = self.read_store(|s| s.get(target)).filter(|s| self.is_at_home(&key, target, s));
        let facts = self.nested.facts.as_ref();
        let task = stored.as_ref().and_then(|s| nested_task(&s.object, definition.as_ref(), hub_id, facts));
        let (Some(stored), Some(task)) = (stored, task.map(Arc::new)) else {
            if self.slots.get(&key).is_some_and(Slot::is_nested) {
                self.drop_nested(&key);
            }
            return;
        };
        let mut displaced = None;
        match self.slots.get_mut(&key) {
            Some(slot) if slot.is_nested() => {
                let Some(machine) = &mut slot.machine else { return };
                if machine.task().hub_uid != task.hub_uid {
                    **machine = Machine::new(task);
                } else if machine.task().fingerprint() != task.fingerprint() {
                    machine.retarget(task);
                }
            }
            other => {
                displaced = other.and_then(|slot| Some(slot.machine.as_ref()?.task().clone()));
                self.open(&key, Machine::new(task));
            }
        }
        if let Some(task) = displaced {
            self.displace(task, &stored.object);
        }
        self.enqueue(&key);
    }

    /// Whether an instance that runs here made the object. Where that cannot be told now, what was so stays so.
    fn is_at_home(&self, key: &InstanceKey, target: &ObjectRef, found: &Stored) -> bool {
        let of = found.object.label(kro::APPLYSET_PART_OF);
        let maker = of.and_then(|id| self.nested.applysets.get(id)).and_then(|maker| self.slots.get(maker));
        let uid = found.object.uid();
        let machine = |slot: &Slot| slot.machine.as_ref().map_or(Made::Untold, |m| m.made(target, uid));
        match nested(found, self.hub_id.as_str(), maker.map(machine)) {
            Made::Yes => true,
            Made::No => false,
            Made::Untold => self.slots.get(key).is_some_and(|slot| {
                slot.is_nested() && slot.machine.as_ref().is_some_and(|m| m.task().hub_uid == uid)
            }),
        }
    }

    /// Begins to care for an instance.
    pub(super) fn open(&mut self, key: &InstanceKey, machine: Machine) {
        if !self.local {
            self.nested.applysets.insert(machine.task().applyset(), key.clone());
        }
        self.slots.insert(key.clone(), Slot::new(machine));
    }

    /// Ends it.
    pub(super) fn close(&mut self, key: &InstanceKey) {
        self.slots.remove(key);
        self.agenda.set(key, None);
        self.write_store(|s| s.objects.forget_wanted(key));
        self.read_lookups(key, &BTreeSet::new());
        self.settle_made_by(key);
        self.nested.applysets.remove(&applyset::id(key));
    }

    /// What it made here may be an instance of another definition, and what it made no more is none.
    pub(super) fn settle_made_by(&mut self, key: &InstanceKey) {
        if self.local {
            return;
        }
        let labelled = self.read_store(|s| s.instances_of(&applyset::id(key)));
        for target in labelled.into_iter().filter(|target| *target != key.object()) {
            let made = InstanceKey::of(&target);
            let found = self.read_store(|s| s.get(&target));
            let at_home = found.is_some_and(|found| self.is_at_home(&made, &target, &found));
            if at_home != self.slots.get(&made).is_some_and(Slot::is_nested) {
                self.settle_home(&target);
            }
        }
    }

    /// The hub's wish for an instance whose name a nested one has; `true` if that is so.
    pub(super) fn is_displaced(&mut self, task: &Arc<Task>) -> bool {
        let nested = self.slots.get(&task.key).is_some_and(|slot| slot.is_nested());
        let found = nested.then(|| self.read_store(|s| s.get(&task.key.object()))).flatten();
        if let Some(found) = &found {
            self.displace(task.clone(), &found.object);
        }
        nested && found.is_some()
    }

    fn displace(&mut self, task: Arc<Task>, found: &PackedObject) {
        let key = task.key.clone();
        if matches!(task.goal, Goal::Remove { .. }) {
            // All that stands there belongs to the one that is at home here.
            self.nested.displaced.remove(&key);
            self.say(Said::Gone { key, hub_uid: task.hub_uid.clone() });
            return;
        }
        let report = fallback_report::conflict(&task, &self.now, &owner_of(&found.unpack()));
        self.nested.displaced.insert(key.clone(), task);
        self.say(Said::Report { key, report: Box::new(report) });
    }

    pub(super) fn forget_displaced(&mut self, key: &InstanceKey) -> bool {
        self.nested.displaced.remove(key);
        self.slots.get(key).is_some_and(|slot| slot.is_nested())
    }

    /// It is no instance of ours any more: it is gone, or lives on without us.
    pub(super) fn drop_nested(&mut self, key: &InstanceKey) {
        self.close(key);
        if let Some(task) = self.nested.displaced.remove(key) {
            self.open(key, Machine::new(task));
            self.enqueue(key);
        }
    }

    /// The definitions whose kinds this one's resources are.
    pub(super) fn generated_for(&self, key: &Key, hub: &Graph) -> Vec<Arc<Graph>> {
        let kinds = hub.kinds_of(|node| key.side.has(node));
        kinds.iter().filter_map(|gvk| self.nested.generated.get(&gvk.group_kind()).cloned()).collect()
    }

    /// Whether a CRD is written by this hub for a definition: who uses the kind hears of it with the definition.
    pub(super) fn is_generated(&self, seen: &CrdSeen) -> bool {
        let ours = if self.local { seen.generated } else { seen.ours(&self.hub_id) };
        ours && self.nested.generated.values().any(|graph| graph.crd_name() == seen.name)
    }

    /// Whether some definition has resources of this group that are not generated from another one.
    pub(super) fn use_group(&self, group: &str) -> bool {
        let foreign =
            |gvk: &Gvk| *gvk.group == *group && !self.nested.generated.contains_key(&gvk.group_kind());
        self.read_store(|s| s.graphs.name(foreign))
    }
}
