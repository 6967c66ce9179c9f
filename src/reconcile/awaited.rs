//! Objects that are in the way of instances: another instance has them, or they are on their way out. Few are, and their own
//! labels do not tell who waits for them.

use crate::api::maps::HashMap;
use crate::api::names::{InstanceKey, ObjectRef};
use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub(super) struct Awaited {
    waiting: HashMap<InstanceKey, BTreeSet<ObjectRef>>,
    by: HashMap<ObjectRef, BTreeSet<InstanceKey>>,
}

impl Awaited {
    /// The instance waits for these objects, and for no others.
    pub fn set(&mut self, key: &InstanceKey, objects: BTreeSet<ObjectRef>) {
        let before = self.waiting.remove(key).unwrap_or_default();
        for object in before.difference(&objects) {
            if let Some(all) = self.by.get_mut(object) {
                all.remove(key);
                if all.is_empty() {
                    self.by.remove(object);
                }
            }
        }
        for object in objects.difference(&before) {
            self.by.entry(object.clone()).or_default().insert(key.clone());
        }
        if !objects.is_empty() {
            self.waiting.insert(key.clone(), objects);
        }
    }

    pub fn is_waiting(&self, key: &InstanceKey) -> bool {
        self.waiting.contains_key(key)
    }

    /// Who waits for the object.
    pub fn by(&self, object: &ObjectRef) -> impl Iterator<Item = &InstanceKey> {
        self.by.get(object).into_iter().flatten()
    }

    #[cfg(test)]
    pub fn remembered(&self) -> impl Iterator<Item = String> {
        let waiting = self.waiting.keys().map(|key| format!("what {key} waits for"));
        waiting.chain(self.by.keys().map(|object| format!("who waits for {object}")))
    }
}
