//! What is read of a cluster where a rollout moves the instance: labels and properties as they were, until the turn of the
//! cluster comes to be read anew.

use super::{Assigned, Content, Rolling};
use crate::api::names::ClusterName;
use crate::graph::Graph;
use crate::reconcile::fleet::Inputs;
use crate::reconcile::fleet::overriding::Place;
use crate::reconcile::fleet::pairs::Pair;
use crate::reconcile::rollout::Facts;
use crate::reconcile::rollout::facts::Reads;
use serde_json::Value;
use std::sync::Arc;

impl Rolling {
    /// The definition that a cluster runs by, where it is at hand.
    fn graph_at<'i>(
        &self,
        inputs: &'i Inputs,
        name: &ClusterName,
        content: &Content,
    ) -> Option<&'i Arc<Graph>> {
        match inputs.rolled.gates {
            Some(gates) => gates.graph(inputs, name).map(|(_, graph)| graph),
            None => inputs.graph_for(&content.graph),
        }
    }

    fn reads(&self, inputs: &Inputs, name: &ClusterName, assigned: Assigned) -> Option<(Reads, &Content)> {
        let (content, _) = self.content(assigned)?;
        let graph = self.graph_at(inputs, name, content)?;
        let of_rules = self.overlay(assigned).map(|overlay| overlay.reads(name)).unwrap_or_default();
        Some((Reads::of(graph.cluster_reads()).and(of_rules), content))
    }

    /// What is read of a cluster now.
    pub(super) fn reading(&self, inputs: &Inputs, name: &ClusterName, assigned: Assigned) -> Option<Facts> {
        let now = inputs.clusters.get(name)?.facts.as_deref()?;
        Facts::of(now, self.reads(inputs, name, assigned)?.0)
    }

    /// Keeps what was read of a cluster first; whether something else would come of what it is now. Where that is so, and stands
    /// nowhere yet, it is to be written: a restart would take what is so now for what was read.
    pub(super) fn keep_reading(&self, inputs: &Inputs, name: &ClusterName, pair: &mut Pair) -> bool {
        let Some(moved) = &mut pair.moved else { return false };
        let assigned = moved.assigned;
        let Some(facts) = &moved.facts else {
            moved.facts = self.reading(inputs, name, assigned).map(Arc::new);
            return false;
        };
        let Some((_, content)) = self.reads(inputs, name, assigned) else { return false };
        let now = Place::now(inputs, name);
        let then = now.clone().then(Some(facts));
        let (Some(before), Some(after)) = (&then.facts, &now.facts) else { return false };
        let read = |of: &'_ Value, path: &[String]| path.iter().try_fold(of, |v, key| v.get(key)).cloned();
        let differs = |path: &Vec<String>| read(before, path) != read(after, path);
        let graph = self.graph_at(inputs, name, content);
        let is_stale = graph.is_some_and(|graph| graph.cluster_reads().iter().any(differs))
            || self.overlay(assigned).is_some_and(|overlay| overlay.print(&then) != overlay.print(&now));
        if is_stale && pair.facts.is_none() && !facts.held {
            moved.facts = Some(Arc::new((**facts).clone().held()));
        }
        is_stale
    }
}
