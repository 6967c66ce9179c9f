//! The registered clusters as the hub side knows them now, and what of them changed since when: a step that saw an earlier
//! version looks at what is new alone.

use super::ClusterState;
use super::placement::ClusterView;
use crate::api::maps::HashMap;
use crate::api::names::ClusterName;
use std::collections::BTreeMap;
use std::ops::{Bound, Deref};

/// What a change of a cluster may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// How it is, and what it says of itself: matters where an instance is, or is to be.
    Passing,
    /// Where instances may go, or what becomes of what is there: may matter to any that could choose it.
    Standing,
    /// The same of a cluster that stands for the hub: may matter to all.
    Own,
}

/// The complete, synced set.
#[derive(Debug, Default)]
pub struct Registered {
    states: BTreeMap<ClusterName, ClusterState>,
    /// What placement looks at: without the hub where nobody registered it.
    views: BTreeMap<ClusterName, ClusterView>,
    /// Counts the changes.
    version: u64,
    /// The last change that was more than passing.
    stood_since: u64,
    /// The last passing change of each cluster, both ways.
    passed: BTreeMap<u64, ClusterName>,
    passed_at: HashMap<ClusterName, u64>,
}

impl Deref for Registered {
    type Target = BTreeMap<ClusterName, ClusterState>;
    fn deref(&self) -> &Self::Target {
        &self.states
    }
}

impl Registered {
    pub(super) fn views(&self) -> &BTreeMap<ClusterName, ClusterView> {
        &self.views
    }
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The clusters with passing changes since a version; `None` where more changed.
    pub(super) fn passed_since(&self, version: u64) -> Option<impl Iterator<Item = &ClusterName>> {
        let later = (Bound::Excluded(version), Bound::Unbounded);
        (self.stood_since <= version && version <= self.version)
            .then(|| self.passed.range(later).map(|(_, name)| name))
    }

    /// The clusters are these now; which of them changed, and how.
    pub fn replace(&mut self, mut states: BTreeMap<ClusterName, ClusterState>) -> Vec<(ClusterName, Turn)> {
        let lost: Vec<ClusterName> =
            self.states.keys().filter(|name| !states.contains_key(*name)).cloned().collect();
        let mut changes = Vec::new();
        for name in lost {
            changes.extend(self.set(&name, None).map(|turn| (name, turn)));
        }
        while let Some((name, state)) = states.pop_first() {
            changes.extend(self.set(&name, Some(state)).map(|turn| (name, turn)));
        }
        changes
    }

    /// The cluster is like this now, or not registered any more; how that differs from before.
    pub fn set(&mut self, name: &ClusterName, state: Option<ClusterState>) -> Option<Turn> {
        let before = self.states.get(name);
        let turn = match (before, &state) {
            (None, None) => return None,
            (Some(before), Some(state)) if before == state => return None,
            (Some(before), Some(state)) if before.stands_as(state) => Turn::Passing,
            (before, after) if before.into_iter().chain(after).any(|c| c.view.local || c.implied) => {
                Turn::Own
            }
            _ => Turn::Standing,
        };
        self.version += 1;
        if let Some(at) = self.passed_at.remove(name) {
            self.passed.remove(&at);
        }
        if turn == Turn::Passing {
            self.passed_at.insert(name.clone(), self.version);
            self.passed.insert(self.version, name.clone());
        } else {
            self.stood_since = self.version;
            match state.as_ref().filter(|state| !state.implied) {
                Some(state) => drop(self.views.insert(name.clone(), state.view.clone())),
                None => drop(self.views.remove(name)),
            }
        }
        match state {
            Some(state) => drop(self.states.insert(name.clone(), state)),
            None => drop(self.states.remove(name)),
        }
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::fleet::aggregate::ClusterHealth;

    fn state(health: ClusterHealth, region: &str) -> ClusterState {
        let mut state = ClusterState { health, ..ClusterState::default() };
        state.view.labels.insert("region".into(), region.into());
        state
    }

    #[test]
    fn what_passed_is_told_by_name_until_more_changed() {
        use ClusterHealth::{Connecting, Ready};
        let [a, b] = ["a", "b"].map(ClusterName::new);
        let mut all = Registered::default();
        let since = |all: &Registered, version| {
            all.passed_since(version).map(|names| names.map(ClusterName::to_string).collect::<Vec<_>>())
        };
        assert_eq!(all.set(&a, Some(state(Connecting, "eu"))), Some(Turn::Standing));
        assert_eq!(all.set(&b, Some(state(Connecting, "eu"))), Some(Turn::Standing));
        let first = all.version();
        assert_eq!(since(&all, 0), None);
        assert_eq!(since(&all, first), Some(vec![]));
        assert_eq!(all.set(&b, Some(state(Ready, "eu"))), Some(Turn::Passing));
        let second = all.version();
        assert_eq!(all.set(&a, Some(state(Ready, "eu"))), Some(Turn::Passing));
        assert_eq!(all.set(&a, Some(state(Ready, "eu"))), None);
        assert_eq!(since(&all, first), Some(vec!["b".into(), "a".into()]));
        assert_eq!(since(&all, second), Some(vec!["a".into()]));
        assert_eq!(since(&all, all.version() + 1), None, "of another set");
        let changes = all.replace([(a.clone(), state(Connecting, "us"))].into());
        assert_eq!(changes, [(b.clone(), Turn::Standing), (a.clone(), Turn::Standing)]);
        assert_eq!(since(&all, second), None);
        assert_eq!(since(&all, all.version()), Some(vec![]));
        assert_eq!((all.len(), all.views().len(), all.passed.len()), (1, 1, 0));
    }

    #[test]
    fn nobody_is_placed_on_a_hub_that_nobody_registered() {
        let mut all = Registered::default();
        let implied = ClusterState { implied: true, ..ClusterState::default() };
        assert_eq!(all.set(&ClusterName::new("@hub"), Some(implied)), Some(Turn::Own));
        assert_eq!((all.len(), all.views().len()), (1, 0));
    }
}
