//! The stages of a rollout: which clusters belong to each, in which order, and how many at a time.

use crate::api::names::ClusterName;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What of no stage is left for the last one.
pub const REST: &str = "rest";

/// A number, or so many of a hundred, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Number(u32),
    Percent(u32),
}

impl Limit {
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Number(number) => number as usize,
            Self::Percent(percent) => total * percent as usize / 100,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    pub name: Arc<str>,
    pub max_concurrent: Limit,
    /// Label of a cluster that says when its turn is.
    pub order_by: Option<Arc<str>>,
    /// Seconds that a cluster has to be well.
    pub soak: u64,
    pub approval: bool,
}

/// What a rollout goes by.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// In order; the last one is for what belongs to no other.
    stages: Vec<Stage>,
    pub max_failures: Limit,
    /// Seconds after which a cluster that is not well has failed.
    pub deadline: u64,
    pub paused: bool,
    /// Who said so: `Placement shop/web`.
    pub by: Arc<str>,
}

impl Rules {
    pub fn new(
        mut stages: Vec<Stage>,
        max_failures: Limit,
        deadline: u64,
        paused: bool,
        by: Arc<str>,
    ) -> Self {
        let approval = stages.iter().any(|stage| stage.approval);
        let rest = stages.last().map_or(
            Stage {
                name: REST.into(),
                max_concurrent: Limit::Percent(10),
                order_by: None,
                soak: 0,
                approval,
            },
            |last| Stage { name: REST.into(), approval, ..last.clone() },
        );
        stages.push(rest);
        Self { stages, max_failures, deadline, paused, by }
    }

    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }
    /// The stage of a number; the last one, where there is none.
    pub fn stage(&self, index: usize) -> &Stage {
        &self.stages[index.min(self.stages.len() - 1)]
    }
    /// The number of the stage for what belongs to no other.
    pub fn rest(&self) -> usize {
        self.stages.len() - 1
    }
}

/// When the turn of a cluster is, within its stage.
#[derive(Clone, Debug, PartialEq)]
pub enum Wave {
    Number(f64),
    Text(Arc<str>),
    /// It does not say.
    Last,
}

impl Eq for Wave {}
impl PartialOrd for Wave {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Wave {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl Wave {
    fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Text(_) => 1,
            Self::Last => 2,
        }
    }
}

/// Where a cluster stands in a rollout. Many clusters stand at the same place, and share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub stage: usize,
    pub wave: Wave,
}

/// A cluster of a stage, with what its label of the order says.
type Member<'c> = (&'c ClusterName, Option<Arc<str>>);

/// The places of all clusters: the first stage that matches has the cluster. Where every cluster of a stage that has the
/// label of the order has a number there, they go by number, else by text.
pub fn places<'c>(
    rules: &Rules,
    clusters: impl Iterator<Item = &'c ClusterName>,
    matches: impl Fn(usize, &ClusterName) -> bool,
    label: impl Fn(&ClusterName, &str) -> Option<Arc<str>>,
) -> BTreeMap<ClusterName, Arc<Place>> {
    let mut members: Vec<Vec<Member>> = vec![Vec::new(); rules.stages.len()];
    for name in clusters {
        let stage = (0..rules.rest()).find(|n| matches(*n, name)).unwrap_or(rules.rest());
        let order = rules.stages[stage].order_by.as_ref().and_then(|key| label(name, key));
        members[stage].push((name, order));
    }
    let mut places = BTreeMap::new();
    for (stage, members) in members.into_iter().enumerate() {
        let mut waves = BTreeMap::new();
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite());
        let numbers = members.iter().filter_map(|(_, order)| order.as_deref()).all(|o| number(o).is_some());
        for (name, order) in members {
            let wave = match order {
                None => Wave::Last,
                Some(order) => {
                    number(&order).filter(|_| numbers).map_or_else(|| Wave::Text(order.clone()), Wave::Number)
                }
            };
            let place = waves.entry(wave.clone()).or_insert_with(|| Arc::new(Place { stage, wave }));
            places.insert(name.clone(), place.clone());
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, order_by: Option<&str>, approval: bool) -> Stage {
        Stage {
            name: name.into(),
            max_concurrent: Limit::Percent(25),
            order_by: order_by.map(Into::into),
            soak: 7,
            approval,
        }
    }

    #[test]
    fn limits_round_down() {
        assert_eq!((Limit::Percent(10).of(19), Limit::Percent(100).of(3), Limit::Number(4).of(1)), (1, 3, 4));
    }

    #[test]
    fn the_first_stage_that_matches_has_the_cluster_and_numbers_count_where_all_are() {
        let rules = Rules::new(
            vec![stage("a", Some("wave"), true), stage("b", Some("wave"), false)],
            Limit::Number(0),
            600,
            false,
            "Placement n/p".into(),
        );
        let rest = rules.stage(rules.rest());
        assert_eq!((&*rest.name, rest.soak, rest.approval), ("rest", 7, true));
        let names: Vec<ClusterName> = ["a1", "a2", "a3", "b1", "b2", "c1"].map(ClusterName::new).into();
        let waves = [("a1", "10"), ("a2", "9"), ("b1", "10"), ("b2", "x")];
        let label =
            |n: &ClusterName, _: &str| waves.iter().find(|w| w.0 == n.as_str()).map(|w| Arc::from(w.1));
        // Both stages match what begins with `a`.
        let matches = |stage: usize, n: &ClusterName| {
            n.as_str().starts_with('a') || (stage == 1 && n.as_str().starts_with('b'))
        };
        let places = places(&rules, names.iter(), matches, label);
        let mut order: Vec<_> = places.iter().map(|(n, p)| (p.stage, p.wave.clone(), n.as_str())).collect();
        order.sort();
        let order: Vec<_> = order.iter().map(|(stage, _, name)| (*stage, *name)).collect();
        assert_eq!(order, [(0, "a2"), (0, "a1"), (0, "a3"), (1, "b1"), (1, "b2"), (2, "c1")]);
    }
}
