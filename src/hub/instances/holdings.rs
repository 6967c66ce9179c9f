//! Which clusters hold content of which instances, kept while instances change: nobody walks over all of them.

use crate::api::PackedObject;
use crate::api::keys::{hub, kro};
use crate::api::maps::{HashMap, HashSet};
use crate::api::names::{ClusterName, GroupKind, InstanceKey};
use crate::reconcile::fleet::Fleet;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// Only of instances that hold anything.
    spokes: HashMap<InstanceKey, BTreeSet<ClusterName>>,
    /// Instances with content on the hub itself.
    local: HashSet<InstanceKey>,
    counts: BTreeMap<ClusterName, i64>,
}

#[cfg(test)]
impl Holdings {
    pub fn remembered(&self) -> Vec<String> {
        let keys = self.spokes.keys().chain(&self.local);
        let counts = self.counts.keys().map(|name| format!("a count of {name}"));
        keys.map(|key| format!("where {key} is")).chain(counts).collect()
    }
}

/// Whether its record says that it has something on the hub itself.
fn says_local(object: &PackedObject) -> bool {
    object.label(kro::APPLYSET_ID).is_some() || object.annotation(kro::INVENTORY_HASH).is_some()
}

impl Holdings {
    /// The instance was so, and is so now. Most changes are of its status, and change nothing here.
    pub fn changed(
        &mut self,
        key: &InstanceKey,
        before: Option<&PackedObject>,
        after: Option<&PackedObject>,
    ) {
        let says = |object: &'_ PackedObject| {
            let holds = object.annotation(hub::HOLDS).unwrap_or_default().to_owned();
            (holds, says_local(object))
        };
        if before.is_none() || before.map(says) != after.map(says) {
            self.note(key, after);
        }
    }

    /// The instance is as it is now, or gone.
    fn note(&mut self, key: &InstanceKey, object: Option<&PackedObject>) {
        let holds = object.map(Fleet::holds).unwrap_or_default();
        // All instances of a cluster share its name.
        let shared = |n| self.counts.get_key_value(&n).map_or(n, |(known, _)| known.clone());
        let holds: BTreeSet<ClusterName> = holds.into_iter().map(shared).collect();
        let before = if holds.is_empty() {
            self.spokes.remove(key)
        } else {
            self.spokes.insert(key.clone(), holds.clone())
        };
        let before = before.unwrap_or_default();
        for name in holds.difference(&before) {
            *self.counts.entry(name.clone()).or_default() += 1;
        }
        for name in before.difference(&holds) {
            if let Some(count) = self.counts.get_mut(name) {
                *count -= 1;
            }
        }
        self.counts.retain(|_, count| *count > 0);
        // What is being deleted there is so until it is gone, also where somebody takes the record off meanwhile.
        let goes_on = |o: &PackedObject| o.is_deleting() && self.local.contains(key);
        if object.is_some_and(|o| says_local(o) || goes_on(o)) {
            self.local.insert(key.clone());
        } else {
            self.local.remove(key);
        }
    }

    /// Instances of the kind are not looked at any more.
    pub fn forget_kind(&mut self, gk: &GroupKind) {
        let keys: Vec<InstanceKey> =
            self.spokes.keys().chain(&self.local).filter(|k| k.gk == *gk).cloned().collect();
        for key in keys {
            self.note(&key, None);
        }
    }

    /// Instances by the cluster that holds content of them.
    pub fn counts(&self, local: Option<&ClusterName>) -> BTreeMap<ClusterName, i64> {
        let mut out = self.counts.clone();
        if let Some(local) = local.filter(|_| !self.local.is_empty()) {
            *out.entry(local.clone()).or_default() += i64::try_from(self.local.len()).unwrap_or(i64::MAX);
        }
        out
    }

    /// Whether some cluster other than the hub holds content of the instance.
    pub fn is_on_spokes(&self, key: &InstanceKey) -> bool {
        self.spokes.contains_key(key)
    }

    /// Whether any instance names the cluster as one that holds content of it.
    pub fn any(&self, name: &ClusterName) -> bool {
        self.counts.contains_key(name)
    }

    /// Instances with content on the hub itself.
    pub fn local(&self) -> impl Iterator<Item = &InstanceKey> {
        self.local.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Object;
    use serde_json::json;

    fn key(kind: &str, name: &str) -> InstanceKey {
        InstanceKey::new(GroupKind::new("kro.run", kind), "n", name)
    }

    fn instance(holds: &str, local: bool) -> PackedObject {
        let labels = if local { json!({kro::APPLYSET_ID: "x"}) } else { json!({}) };
        Object(json!({"metadata": {"annotations": {hub::HOLDS: holds}, "labels": labels}})).pack()
    }

    #[test]
    fn counts_follow_the_instances() {
        let local = ClusterName::new("local");
        let mut holdings = Holdings::default();
        let counts = |h: &Holdings| -> Vec<String> {
            h.counts(Some(&local)).into_iter().map(|(name, n)| format!("{name} {n}")).collect()
        };
        let steps: [(InstanceKey, Option<PackedObject>, &[&str]); 7] = [
            (key("A", "x"), Some(instance("a,b", false)), &["a 1", "b 1"]),
            (key("A", "x"), Some(instance("a,b", false)), &["a 1", "b 1"]),
            (key("A", "y"), Some(instance("b", true)), &["a 1", "b 2", "local 1"]),
            (key("B", "x"), Some(instance("", true)), &["a 1", "b 2", "local 2"]),
            (key("A", "x"), Some(instance("b", false)), &["b 2", "local 2"]),
            (key("B", "x"), None, &["b 2", "local 1"]),
            (key("A", "y"), Some(instance("", false)), &["b 1"]),
        ];
        let mut known = BTreeMap::new();
        for (key, object, want) in steps {
            let before: Option<PackedObject> = known.remove(&key);
            holdings.changed(&key, before.as_ref(), object.as_ref());
            known.extend(object.map(|object| (key, object)));
            assert_eq!(counts(&holdings), want);
        }
        assert!(holdings.any(&ClusterName::new("b")) && !holdings.any(&ClusterName::new("a")));
        holdings.forget_kind(&key("A", "").gk);
        assert!(counts(&holdings).is_empty());
    }

    /// Who is asked about it is not let go before it answered.
    #[test]
    fn what_is_being_deleted_on_the_hub_is_there_until_it_is_gone() {
        let object = |metadata: serde_json::Value| Object(json!({"metadata": metadata})).pack();
        let deleted = json!("2026-01-01T00:00:00Z");
        let label = json!({kro::APPLYSET_ID: "x"});
        let hash = json!({kro::INVENTORY_HASH: "x"});
        let key = key("A", "x");
        for (ends, record) in [(true, &label), (false, &label)] {
            let mut holdings = Holdings::default();
            let before = object(json!({"labels": record}));
            holdings.changed(&key, None, Some(&before));
            let after = if ends { json!({}) } else { json!({"deletionTimestamp": deleted}) };
            let after = object(after);
            holdings.changed(&key, Some(&before), Some(&after));
            assert_eq!(holdings.local().next().is_none(), ends);
            holdings.changed(&key, Some(&after), None);
            assert!(holdings.local().next().is_none());
        }
        let mut holdings = Holdings::default();
        holdings.changed(&key, None, Some(&object(json!({"annotations": hash}))));
        assert!(holdings.local().next().is_some());
    }
}
