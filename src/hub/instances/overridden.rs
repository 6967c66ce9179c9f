//! What the overrides of Placements come to, for their status.

use super::Instances;
use crate::api::condition::ConditionStatus;
use crate::api::names::{ClusterName, GroupKind, InstanceKey};
use crate::reconcile::fleet::overriding::Layer;
use crate::reconcile::policy::overrides::{Cluster, Layered, Overrides, layered, verdict};
use crate::reconcile::policy::{Effective, PolicyName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Status, reason, message of a condition.
pub(super) type Verdict = (ConditionStatus, String, String);

impl Instances {
    /// The verdict on the overrides of each Placement of a kind that has any; none while nobody makes the kind.
    pub(super) fn overrides_come_to(&self, gk: &GroupKind) -> BTreeMap<PolicyName, Verdict> {
        let graph = self.kinds.get(gk).and_then(|kind| kind.graph.as_ref());
        let (Some(graph), Some(list)) = (graph, self.policies.of_kind(gk)) else { return BTreeMap::new() };
        let with = list.iter().map(|one| &one.effective).filter(|of| !of.overrides.is_empty());
        let layers: BTreeMap<&PolicyName, Arc<Layer>> = with
            .map(|of| {
                let known = self.policies.known_layer(of, graph);
                (&of.name, known.unwrap_or_else(|| Arc::new(Layer::read(of, graph))))
            })
            .collect();
        let lies = if layers.len() > 1 { self.layers_lie(gk, &layers) } else { Vec::new() };
        layers.iter().map(|(name, layer)| ((*name).clone(), verdict(&layer.read, &lies))).collect()
    }

    /// Which of them set the same, on clusters where an instance is that both are about.
    fn layers_lie(&self, gk: &GroupKind, layers: &BTreeMap<&PolicyName, Arc<Layer>>) -> Vec<Layered> {
        let Some(kind) = self.kinds.get(gk) else { return Vec::new() };
        let mut together: BTreeMap<Vec<PolicyName>, BTreeSet<ClusterName>> = BTreeMap::new();
        for (key, stored) in kind.view.iter() {
            let key = InstanceKey::new(gk.clone(), &key.namespace, &key.name);
            let Some(slot) = kind.slots.get(&key) else { continue };
            let concern: Vec<Arc<Effective>> = self.policies.of(&key, &stored.object);
            let names = concern.iter().map(|of| &of.name).filter(|name| layers.contains_key(name));
            let names: Vec<PolicyName> = names.cloned().collect();
            if names.len() > 1 {
                together.entry(names).or_default().extend(slot.fleet.spokes().cloned());
            }
        }
        let mut found: BTreeMap<(String, Arc<str>, Arc<str>), BTreeSet<ClusterName>> = BTreeMap::new();
        for (names, clusters) in together {
            let layers: Vec<&Arc<Layer>> = names.iter().filter_map(|name| layers.get(name)).collect();
            let layers: Vec<(&Layer, &Overrides)> =
                layers.into_iter().filter_map(|layer| Some((&**layer, layer.read.as_ref().ok()?))).collect();
            let overrides: Vec<&Overrides> = layers.iter().map(|(_, overrides)| *overrides).collect();
            let reach = |place: usize, cluster: Cluster<'_>| {
                layers.get(place).is_some_and(|(layer, _)| layer.reaches(cluster.name))
            };
            let known = clusters.iter().filter_map(|name| {
                let (name, state) = self.clusters.get_key_value(name)?;
                let facts = state.facts.as_deref();
                Some(Cluster { name, labels: &state.view.labels, local: state.view.local, facts })
            });
            for Layered { path, winner, loser, clusters } in layered(&overrides, reach, known) {
                found.entry((path, winner, loser)).or_default().extend(clusters);
            }
        }
        let layered = |((path, winner, loser), clusters)| Layered { path, winner, loser, clusters };
        found.into_iter().map(layered).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Policed;
    use super::*;
    use crate::api::names::HubId;
    use crate::api::{Object, ResourceGraphDefinition};
    use crate::graph::{Graph, Options, compile};
    use crate::hub::definitions::Effect;
    use crate::reconcile::fleet::ClusterState;
    use crate::reconcile::fleet::aggregate::ClusterHealth;
    use crate::reconcile::fleet::placement::DefaultPlacement;
    use crate::reconcile::policy::Policy;
    use crate::reconcile::{Moment, Now};
    use crate::schema::kinds::Anywhere;
    use crate::spoke::watch::Listed;
    use serde_json::{Value, json};

    fn app() -> GroupKind {
        GroupKind::new("kro.run", "App")
    }

    fn graph() -> Arc<Graph> {
        let definition: ResourceGraphDefinition = serde_json::from_value(json!({
            "metadata": {"name": "app", "uid": "1", "generation": 1},
            "spec": {"resources": [], "schema": {"kind": "App", "apiVersion": "v1alpha1",
                "spec": {"size": "integer", "text": "string"}}},
        }))
        .unwrap();
        Arc::new(compile(&definition, &Options::default(), &Anywhere).unwrap())
    }

    fn clusters() -> BTreeMap<ClusterName, ClusterState> {
        let ready = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
        ["a", "b", "c"].map(|name| (ClusterName::new(name), ready.clone())).into()
    }

    /// Instances with labels and clusters, and what ClusterPlacements with these overrides say of them.
    fn verdicts(
        instances: &[(&str, Value, &str)],
        placements: &[(&str, Value, Value)],
        graph: Option<Arc<Graph>>,
    ) -> Vec<(String, String)> {
        let mut hub = Instances::new(HubId::new("h"), DefaultPlacement::Local);
        let gvk = crate::api::names::Gvk::new("kro.run", "v1alpha1", "App");
        hub.serve(Effect::Watch { gvk, plural: "apps".into() });
        if let Some(graph) = graph {
            hub.serve(Effect::Serve { graph, allow_breaking: false, revision: 0 });
        }
        hub.clusters_changed(clusters());
        let policed = |(name, labels, overrides): &(&str, Value, Value)| {
            let spec = json!({"instances": {"kind": "App", "labelSelector": {"matchLabels": labels}},
                "overrides": overrides});
            let mut policy = Policy::new(&Object(json!({"metadata": {"name": name}, "spec": spec})));
            policy.decide(&clusters(), Moment::START);
            let (selects, effective) = (policy.selects().unwrap(), policy.effective().unwrap());
            Policed { selects: Arc::new(selects.clone()), effective: effective.clone(), uid: (*name).into() }
        };
        hub.set_policies(&app(), placements.iter().map(policed).collect());
        hub.seen(&app(), Listed::Started);
        for (name, labels, on) in instances {
            let metadata = json!({"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1",
                "labels": labels, "annotations": {"hub.kro.run/clusters": on}});
            let spec = json!({"size": 1, "text": "x"});
            hub.seen(&app(), Listed::Object(json!({"metadata": metadata, "spec": spec})));
        }
        hub.seen(&app(), Listed::Done(1));
        while hub.step_next(&Now::default()).is_some() {}
        let said = hub.overrides_come_to(&app()).into_iter();
        said.map(|(name, (status, reason, message))| {
            (name.name.to_string(), format!("{status:?} {reason}: {message}"))
        })
        .collect()
    }

    fn said(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn each_with_overrides_is_judged_by_the_schema_that_serves() {
        let placements = [
            ("bad", json!({"tier": "web"}), json!([{"spec": {"size": "large"}}])),
            ("good", json!({"tier": "web"}), json!([{"spec": {"size": 2}}])),
            ("none", json!({"tier": "web"}), json!([])),
        ];
        let wanted = [
            ("bad", "False InvalidOverride: spec.overrides[0].spec.size: expected integer type, got string"),
            ("good", "True Valid: "),
        ];
        assert_eq!(verdicts(&[], &placements, Some(graph())), said(&wanted));
        assert_eq!(verdicts(&[], &placements, None), [], "nobody can say while nobody makes the kind");
    }

    #[test]
    fn two_that_set_the_same_say_so_where_an_instance_has_both() {
        let one = |text: &str| json!([{"spec": {"text": text}}]);
        let placements = [
            ("base", json!({"team": "x"}), one("base")),
            (
                "web",
                json!({"tier": "web"}),
                json!([{"clusters": {"names": ["a", "b"]}, "spec": {"text": "web"}}]),
            ),
        ];
        let both = json!({"team": "x", "tier": "web"});
        let apart = [("p", json!({"team": "x"}), "a,b"), ("q", json!({"tier": "web"}), "a,b")];
        let valid = said(&[("base", "True Valid: "), ("web", "True Valid: ")]);
        assert_eq!(verdicts(&apart, &placements, Some(graph())), valid, "no instance has both");
        assert_eq!(verdicts(&[("p", both.clone(), "c")], &placements, Some(graph())), valid, "not there");
        let lies = "True Layered: spec.text: ClusterPlacement web wins over ClusterPlacement base on";
        let told = |count: &str| {
            let text = format!("{lies} {count}");
            said(&[("base", text.as_str()), ("web", text.as_str())])
        };
        assert_eq!(verdicts(&[("p", both.clone(), "a,c")], &placements, Some(graph())), told("1 cluster"));
        // Instances that other Placements are about as well, on other clusters: each cluster counts once.
        let third = ("other", json!({"also": "y"}), json!([{"spec": {"size": 7}}]));
        let placements = [placements[0].clone(), third, placements[1].clone()];
        let thrice = json!({"team": "x", "tier": "web", "also": "y"});
        let instances = [("p", both, "a"), ("q", thrice, "b")];
        let mut wanted = told("2 clusters");
        wanted.insert(1, ("other".into(), "True Valid: ".into()));
        assert_eq!(verdicts(&instances, &placements, Some(graph())), wanted);
    }
}
