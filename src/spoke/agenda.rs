//! When which subject, an instance as a rule, wants to be looked at if nothing happens before: one time for each.

use crate::api::maps::HashMap;
use crate::api::names::InstanceKey;
use crate::reconcile::Moment;
use std::collections::BTreeSet;
use std::hash::Hash;

#[derive(Debug)]
pub struct Agenda<K = InstanceKey> {
    by_time: BTreeSet<(Moment, K)>,
    times: HashMap<K, Moment>,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), times: HashMap::default() }
    }
}

impl<K: Clone + Ord + Hash> Agenda<K> {
    /// Replaces what was noted of the subject.
    pub fn set(&mut self, key: &K, at: Option<Moment>) {
        if self.times.get(key).copied() == at {
            return;
        }
        if let Some(old) = self.times.remove(key) {
            self.by_time.remove(&(old, key.clone()));
        }
        if let Some(at) = at {
            self.times.insert(key.clone(), at);
            self.by_time.insert((at, key.clone()));
        }
    }

    pub fn time(&self, key: &K) -> Option<Moment> {
        self.times.get(key).copied()
    }

    pub fn next(&self) -> Option<Moment> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes those whose time has come.
    pub fn due(&mut self, now: Moment) -> Vec<K> {
        let mut due = Vec::new();
        while self.next().is_some_and(|at| at <= now) {
            let Some((_, key)) = self.by_time.pop_first() else { break };
            self.times.remove(&key);
            due.push(key);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::GroupKind;

    #[test]
    fn each_instance_has_one_time_and_comes_up_once() {
        let key = |name: &str| InstanceKey::new(GroupKind::new("g", "K"), "n", name);
        let at = Moment::from_millis;
        let mut agenda = Agenda::default();
        agenda.set(&key("a"), Some(at(30)));
        agenda.set(&key("b"), Some(at(20)));
        agenda.set(&key("c"), Some(at(10)));
        agenda.set(&key("a"), Some(at(15)));
        agenda.set(&key("b"), None);
        assert_eq!(agenda.next(), Some(at(10)));
        assert_eq!(agenda.due(at(9)), []);
        assert_eq!(agenda.due(at(20)), [key("c"), key("a")]);
        assert_eq!((agenda.due(at(u64::MAX)), agenda.next()), (vec![], None));
    }
}
