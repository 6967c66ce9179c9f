//! What Placements make of an instance on a cluster.

use super::rendering::Question;
use crate::api::Object;
use crate::api::names::{ClusterName, InstanceKey};
use crate::graph::Graph;
use crate::reconcile::Moment;
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::overriding::Layer;
use crate::reconcile::policy::Policy;
use crate::reconcile::policy::overrides::{self, Cluster, Failed};
use std::collections::BTreeMap;

/// The instance as it is on a cluster.
#[derive(Debug)]
pub struct Overlaid {
    pub instance: Object,
    /// Facts of the cluster that overrides read, as paths below it.
    pub facts: Vec<Vec<String>>,
}

/// The instance with the overrides of all Placements that select it and choose the cluster.
///
/// # Errors
/// What overrides make of it cannot be told.
pub fn on(question: &Question) -> Result<Object, String> {
    let Question { graph, instance, cluster, placements, .. } = *question;
    let Some((name, state)) = cluster.filter(|_| !placements.is_empty()) else {
        return Ok(served(graph, instance));
    };
    let all = BTreeMap::from([(name.clone(), state.clone())]);
    let key = InstanceKey::of(&instance.object_ref());
    let mut policies: Vec<Policy> = placements.iter().map(Policy::new).collect();
    policies.sort_by_key(|policy| policy.name().clone());
    let mut layers = Vec::new();
    for policy in &mut policies {
        policy.decide(&all, Moment::default());
        let selects = policy.selects().is_some_and(|s| s.matches(&key, &instance.labels()));
        if let Some(of) = policy.effective().filter(|of| selects && of.invalid.is_none()) {
            layers.push(Layer::read(of, graph));
        }
    }
    let layers: Vec<&Layer> = layers.iter().filter(|layer| layer.reaches(name)).collect();
    overlaid(graph, instance, &layers, (name, state)).map(|made| made.instance)
}

/// The instance with these overrides, in their order.
///
/// # Errors
/// What they make of it cannot be told.
pub fn overlaid(
    graph: &Graph,
    instance: &Object,
    layers: &[&Layer],
    (name, state): (&ClusterName, &ClusterState),
) -> Result<Overlaid, String> {
    // The local cluster has no copy of the instance: it uses it as written.
    let layers = if state.view.local { &[] } else { layers };
    let facts = state.facts.as_deref();
    let on = Cluster { name, labels: &state.view.labels, local: state.view.local, facts };
    let mut rules = Vec::new();
    for layer in layers {
        match &layer.read {
            Ok(overrides) => overrides.on(on, &mut rules).map_err(why)?,
            Err(all) => {
                let first = all.first().map(ToString::to_string).unwrap_or_default();
                return Err(format!("{}: {first}", layer.of.name));
            }
        }
    }
    let mut made = Overlaid { instance: served(graph, instance), facts: Vec::new() };
    if rules.is_empty() {
        return Ok(made);
    }
    let spec = overrides::apply(&rules, &graph.subject(instance), graph, facts).map_err(why)?.spec;
    made.instance.0["spec"] = spec;
    made.facts = overrides::cluster_reads(&rules);
    Ok(made)
}

fn served(graph: &Graph, instance: &Object) -> Object {
    graph.as_served(instance).unwrap_or_else(|| instance.clone())
}

fn why(failed: Failed) -> String {
    match failed {
        Failed::Unknown => {
            "an override reads a fact of the cluster that is not known; give it with --facts or --set".into()
        }
        Failed::Because(why) => why,
    }
}
