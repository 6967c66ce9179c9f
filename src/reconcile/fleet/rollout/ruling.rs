//! Which rollout is in effect for an instance, as its stages are read.

use crate::api::amounts::Amount;
use crate::api::names::{ClusterName, InstanceKey};
use crate::api::rollout::Rollout;
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::placement::Selector;
use crate::reconcile::policy::{Effective, Filter, Match};
use crate::reconcile::rollout::stages::{self, Place, Wave};
use crate::reconcile::rollout::{Limit, Rules, Stage};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Ruling {
    by: Arc<Effective>,
    pub rules: Arc<Rules>,
    /// Of each stage; `None` where it cannot be read: nothing belongs to it, and nobody is moved until it can be.
    filters: Vec<Option<Filter>>,
    /// The instances of each stage, where the whole kind moves as one.
    instances: Vec<Option<Members>>,
}

/// The instances of a stage.
#[derive(Clone, Debug)]
struct Members {
    namespaces: Vec<String>,
    selector: Option<Selector>,
}

impl Members {
    fn read(stage: &crate::api::rollout::Stage) -> Option<Self> {
        let instances = stage.instances.clone().unwrap_or_default();
        let selector = instances.label_selector.as_ref().map(Selector::of).transpose().ok()?;
        Some(Self { namespaces: instances.namespaces, selector })
    }

    fn has(&self, key: &InstanceKey, labels: &BTreeMap<String, String>) -> bool {
        let is_there = self.namespaces.is_empty() || self.namespaces.iter().any(|n| **n == *key.namespace);
        is_there && self.selector.as_ref().is_none_or(|selector| selector.matches(labels))
    }
}

/// Of several, that of a Placement before that of a ClusterPlacement, then that of the lower name.
fn in_effect(placements: &[Arc<Effective>]) -> Option<(&Arc<Effective>, &Rollout)> {
    let moving = placements.iter().filter_map(|by| Some((by, by.rollout.as_ref()?)));
    // Without stages all go at once.
    let moving = moving.filter(|(_, rollout)| rollout.moves_instances());
    moving.min_by_key(|(by, _)| (by.name.is_of_cluster(), by.name.clone()))
}

fn limit(amount: &Amount) -> Limit {
    match *amount {
        Amount::Count(count) => Limit::Number(count),
        Amount::Percent(percent) => Limit::Percent(percent),
    }
}

impl Ruling {
    /// `before`: what was read before, which stands where nobody edited it.
    pub fn of(placements: &[Arc<Effective>], before: Option<Self>) -> Option<Self> {
        Self::read(in_effect(placements)?.0, before)
    }

    /// Of this one; `None` where it moves nothing by stages.
    pub fn read(by: &Arc<Effective>, before: Option<Self>) -> Option<Self> {
        let rollout = by.rollout.as_ref()?;
        if let Some(before) = before.filter(|before| Arc::ptr_eq(&before.by, by)) {
            return Some(before);
        }
        let stage = |stage: &crate::api::rollout::Stage| Stage {
            name: stage.name.as_str().into(),
            max_concurrent: limit(&stage.max_concurrent),
            order_by: Some(stage.order_by.as_str().into()).filter(|_| !stage.order_by.is_empty()),
            soak: stage.soak.0,
            approval: stage.approval,
        };
        let mut stages: Vec<Stage> = rollout.stages.iter().map(stage).collect();
        if stages.is_empty() {
            // All go at once.
            let all = Limit::Percent(100);
            let name = stages::REST.into();
            stages.push(Stage { name, max_concurrent: all, order_by: None, soak: 0, approval: false });
        }
        let rules = Rules::new(
            stages,
            limit(&rollout.max_failures),
            rollout.progress_deadline.0,
            rollout.paused,
            by.name.to_string().into(),
        );
        let filter =
            |stage: &crate::api::rollout::Stage| Filter::read(stage.clusters.as_ref(), "clusters").ok();
        let filters = rollout.stages.iter().map(filter).collect();
        let instances = rollout.stages.iter().map(Members::read).collect();
        Some(Self { by: by.clone(), rules: Arc::new(rules), filters, instances })
    }

    /// The place of one pair. Its wave goes by number where its own label is one.
    pub fn place(
        &self,
        labels: &BTreeMap<String, String>,
        key: &InstanceKey,
        (name, cluster): (&ClusterName, Option<&ClusterState>),
    ) -> Arc<Place> {
        let is_in = |filter: &Filter, c: &ClusterState| {
            filter.matches(name, &c.view.labels, c.view.local, c.facts.as_deref()) == Match::Yes
        };
        let matches = |stage: &usize| {
            let filter = self.filters.get(*stage).and_then(Option::as_ref);
            let members = self.instances.get(*stage).and_then(Option::as_ref);
            filter.zip(cluster).is_some_and(|(filter, cluster)| is_in(filter, cluster))
                && members.is_some_and(|members| members.has(key, labels))
        };
        let stage = (0..self.rules.rest()).find(matches).unwrap_or(self.rules.rest());
        let order = self.rules.stage(stage).order_by.as_ref();
        let label = order.and_then(|order| cluster?.view.labels.get(&**order));
        let wave = match label.map(|label| (label, label.trim().parse::<f64>())) {
            None => Wave::Last,
            Some((_, Ok(number))) if number.is_finite() => Wave::Number(number),
            Some((label, _)) => Wave::Text(label.as_str().into()),
        };
        Arc::new(Place { stage, wave })
    }

    pub fn places<'c>(
        &self,
        known: impl Fn(&ClusterName) -> Option<&'c ClusterState>,
        clusters: &BTreeSet<ClusterName>,
    ) -> BTreeMap<ClusterName, Arc<Place>> {
        let is_in = |filter: &Filter, name: &ClusterName, c: &ClusterState| {
            filter.matches(name, &c.view.labels, c.view.local, c.facts.as_deref()) == Match::Yes
        };
        let matches = |stage: usize, name: &ClusterName| {
            let filter = self.filters.get(stage).and_then(Option::as_ref);
            filter.zip(known(name)).is_some_and(|(filter, cluster)| is_in(filter, name, cluster))
        };
        let label = |name: &ClusterName, key: &str| Some(known(name)?.view.labels.get(key)?.as_str().into());
        stages::places(&self.rules, clusters.iter(), matches, label)
    }
}
