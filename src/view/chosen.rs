//! Why an instance is on each of its clusters, and why not on the others. What Placements mean is decided by the machine that
//! decides it for the hub.

use super::Mark;
use super::document::View;
use super::instance::{Around, ready};
use super::kinds::Generated;
use super::look::Look;
use super::reasons;
use crate::api::Object;
use crate::api::cluster::Cluster;
use crate::api::keys::hub;
use crate::api::names::{ClusterName, InstanceKey};
use crate::reconcile::Moment;
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::placement::{ClusterView, Selector, holds, names};
use crate::reconcile::policy::Policy;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where one instance goes, and why.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    pub spec: Instance,
    pub state: String,
    pub reason: String,
    pub message: String,
    pub clusters: Vec<ChosenCluster>,
    /// What the reason means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<reasons::Explanation>,
}

/// Which instance it is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl View for Choice {
    const KIND: &'static str = "Choice";
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChosenCluster {
    pub name: String,
    pub mark: Mark,
    pub state: String,
    /// What chooses it.
    pub by: Vec<String>,
    /// Why it is not taken all the same.
    pub refused: String,
    /// What it has by a rollout, and why no more.
    pub rollout: String,
}

/// What the hub has that chooses.
pub struct Choosers<'a> {
    pub clusters: &'a [Object],
    /// Placements and ClusterPlacements; `None` where they could not be read.
    pub placements: Option<&'a [Object]>,
    /// `kro.cluster` of each cluster.
    pub facts: &'a BTreeMap<String, Value>,
}

impl Choice {
    pub fn new(kind: &Generated, instance: &Object, around: &Around<'_>, choosers: &Choosers<'_>) -> Self {
        let states = states(choosers);
        let mut by = by_words(instance, &states);
        let key = InstanceKey::of(&instance.object_ref());
        for object in choosers.placements.into_iter().flatten() {
            by_placement(object, &key, instance, &states, &mut by);
        }
        let held = holds(instance.annotation(hub::HOLDS)).0;
        let lines = around.lines(instance);
        let mut all: BTreeSet<String> = states.keys().map(|name| name.as_str().to_owned()).collect();
        all.extend(by.keys().cloned());
        all.extend(lines.iter().map(|line| line.name.clone()));
        let clusters = all.into_iter().map(|name| {
            let line = lines.iter().find(|line| line.name == name);
            let Chosen { mut by, mut refused } = by.remove(&name).unwrap_or_default();
            const REFUSALS: [&str; 6] =
                ["NotRegistered", "Leaving", "NotAllowed", "Tainted", "Released", "OverrideFailed"];
            if let Some(line) = line.filter(|line| REFUSALS.contains(&line.state.as_str())) {
                refused = format!("{}: {}", line.state, line.message);
            }
            let is_local = states.iter().any(|(n, s)| n.as_str() == name && s.view.local);
            if by.is_empty() && line.is_some() && is_local {
                by.push("no words, so it runs on the hub".into());
            }
            if by.is_empty() && held.iter().any(|held| held.as_str() == name) {
                by.push("nothing any more; what it holds there is on its way out, or is kept".into());
            }
            ChosenCluster {
                name,
                mark: line.map_or(Mark::Unplaced, |line| line.mark),
                state: line.map(|line| line.state.clone()).unwrap_or_default(),
                by,
                refused,
                rollout: line.map(|line| line.rollout.clone()).unwrap_or_default(),
            }
        });
        let (reason, message, _) = ready(instance);
        Self {
            spec: Instance {
                api_version: kind.gvk.api_version(),
                kind: kind.gvk.kind.to_string(),
                namespace: instance.namespace().to_owned(),
                name: instance.name().to_owned(),
            },
            state: instance.str_at("/status/state").to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            clusters: clusters.collect(),
            explanation: reasons::explain(reason).ok().filter(|_| reason != "Ready"),
        }
    }

    pub fn text(&self, look: &Look) -> String {
        let Instance { kind, namespace, name, .. } = &self.spec;
        let place = if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") };
        let mut out = format!("{}   {} {}\n", look.bold(&format!("{kind} {place}")), self.state, self.reason);
        let width = self.clusters.iter().map(|c| c.name.len()).max().unwrap_or_default();
        for cluster in &self.clusters {
            let mut why = match cluster.by.as_slice() {
                [] => "nothing chooses it".to_owned(),
                by => format!("chosen by {}", by.join(", and by ")),
            };
            if !cluster.refused.is_empty() {
                why.push_str(&format!("; not taken: {}", cluster.refused));
            }
            if !cluster.rollout.is_empty() {
                why.push_str(&format!("; {}", cluster.rollout));
            }
            let lines = look.wrapped(&why, width + 4);
            for (at, line) in lines.iter().enumerate() {
                let begin = if at == 0 {
                    format!("{} {:width$}", look.mark(cluster.mark), cluster.name)
                } else {
                    " ".repeat(width + 2)
                };
                out.push_str(&format!("{begin}  {line}\n"));
            }
        }
        if let Some(explanation) = &self.explanation {
            if !self.message.is_empty() {
                out.push_str(&format!("\n{}\n", look.wrapped(&self.message, 0).join("\n")));
            }
            out.push_str(&explanation.text(look));
        }
        out
    }
}

#[derive(Clone, Debug, Default)]
struct Chosen {
    by: Vec<String>,
    refused: String,
}

fn states(choosers: &Choosers<'_>) -> BTreeMap<ClusterName, ClusterState> {
    let state = |object: &Object| {
        let cluster: Cluster = serde_json::from_value(object.0.clone()).ok()?;
        let view = ClusterView::of(object, &cluster.spec);
        let facts = choosers.facts.get(object.name()).cloned().map(Arc::new);
        Some((ClusterName::new(object.name()), ClusterState { view, facts, ..ClusterState::default() }))
    };
    choosers.clusters.iter().filter_map(state).collect()
}

/// What the annotations of the instance choose.
fn by_words(instance: &Object, states: &BTreeMap<ClusterName, ClusterState>) -> BTreeMap<String, Chosen> {
    let mut out: BTreeMap<String, Chosen> = BTreeMap::new();
    let mut add = |name: &str, why: String| out.entry(name.to_owned()).or_default().by.push(why);
    let words = instance.annotation(hub::CLUSTERS);
    for name in names(words) {
        if name.as_str() == "*" {
            continue;
        }
        add(name.as_str(), format!("annotation {}", hub::CLUSTERS));
    }
    let all = words.is_some_and(|text| text.split(',').any(|word| word.trim() == "*"));
    for (name, _) in states.iter().filter(|(_, state)| all && !state.view.local) {
        add(name.as_str(), format!("annotation {}: *", hub::CLUSTERS));
    }
    if let Some(text) = instance.annotation(hub::CLUSTER_SELECTOR)
        && let Ok(selector) = Selector::parse(text)
        && !selector.is_empty()
    {
        for (name, _) in states.iter().filter(|(_, state)| selector.matches(&state.view.labels)) {
            add(name.as_str(), format!("annotation {}: {text}", hub::CLUSTER_SELECTOR));
        }
    }
    out
}

/// What a Placement chooses, if it is about the instance.
fn by_placement(
    object: &Object,
    key: &InstanceKey,
    instance: &Object,
    states: &BTreeMap<ClusterName, ClusterState>,
    out: &mut BTreeMap<String, Chosen>,
) {
    let mut policy = Policy::new(object);
    if !policy.selects().is_some_and(|selects| selects.matches(key, &instance.labels())) {
        return;
    }
    policy.decide(states, Moment::START);
    let Some(effective) = policy.effective() else { return };
    let Some(chosen) = &effective.clusters else { return };
    let title = effective.name.to_string();
    let limit = chosen.limit.as_ref().map(|limit| format!(", which takes {} of them", limit.max));
    for name in &chosen.names {
        let entry = out.entry(name.as_str().to_owned()).or_default();
        entry.by.push(format!("{title}{}", limit.clone().unwrap_or_default()));
    }
    for name in &chosen.refused {
        let entry = out.entry(name.as_str().to_owned()).or_default();
        entry.by.push(title.clone());
        entry.refused = "its taints, or what it allows, keep this Placement away".into();
    }
    for name in &chosen.unsure {
        let entry = out.entry(name.as_str().to_owned()).or_default();
        entry.by.push(format!("{title}, whose expression cannot be answered there: it stays as it is"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cluster(name: &str, region: &str) -> Object {
        let taints = if name == "gpu" { json!([{"key": "gpu", "effect": "NoSelect"}]) } else { json!([]) };
        Object(json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster",
            "metadata": {"name": name, "labels": {"region": region}}, "spec": {"local": name == "here", "taints": taints}}))
    }

    fn check(annotations: Value, placements: &[Object], lines: Value, expect: &[&str]) {
        let kind = Generated::of(&Object(
            json!({"metadata": {"name": "webapp"}, "spec": {"schema": {"kind": "WebApp", "apiVersion": "v1"}}}),
        ))
        .unwrap();
        let instance = Object(json!({"apiVersion": "kro.run/v1", "kind": "WebApp",
            "metadata": {"name": "shop", "namespace": "shop", "annotations": annotations},
            "status": {"state": "ACTIVE", "fleet": {"clusters": lines}}}));
        let clusters =
            [cluster("eu-1", "eu"), cluster("us-1", "us"), cluster("here", "eu"), cluster("gpu", "us")];
        let around = Around::new(BTreeMap::new(), &[], &clusters);
        let facts = BTreeMap::new();
        let choosers = Choosers { clusters: &clusters, placements: Some(placements), facts: &facts };
        let choice = Choice::new(&kind, &instance, &around, &choosers);
        assert_eq!(crate::view::schemas::wrong(&choice), [""; 0]);
        let line = |c: &ChosenCluster| {
            let refused = if c.refused.is_empty() { String::new() } else { format!(" but {}", c.refused) };
            format!("{:?} {}: {}{refused}", c.mark, c.name, c.by.join(" + "))
        };
        let got: Vec<String> = choice.clusters.iter().map(line).collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn each_cluster_says_what_chooses_it() {
        let line = |name: &str, state: &str, message: &str| json!({"name": name, "state": state, "message": message});
        check(
            json!({hub::CLUSTERS: "eu-1, ap-1", hub::CLUSTER_SELECTOR: "region=us"}),
            &[],
            json!([
                line("eu-1", "ACTIVE", ""),
                line("us-1", "ACTIVE", ""),
                line("ap-1", "NotRegistered", "no Cluster"),
                line("gpu", "Tainted", "taint gpu:NoSelect is not tolerated")
            ]),
            &[
                "Silent ap-1: annotation hub.kro.run/clusters but NotRegistered: no Cluster",
                "Ready eu-1: annotation hub.kro.run/clusters",
                "Failed gpu: annotation hub.kro.run/cluster-selector: region=us but Tainted: taint gpu:NoSelect is not tolerated",
                "Unplaced here: ",
                "Ready us-1: annotation hub.kro.run/cluster-selector: region=us",
            ],
        );
        check(
            json!({hub::CLUSTERS: "*", hub::HOLDS: "gone"}),
            &[],
            json!([line("eu-1", "ACTIVE", ""), line("gone", "DELETING", "")]),
            &[
                "Ready eu-1: annotation hub.kro.run/clusters: *",
                "Absent gone: nothing any more; what it holds there is on its way out, or is kept",
                "Unplaced gpu: annotation hub.kro.run/clusters: *",
                "Unplaced here: ",
                "Unplaced us-1: annotation hub.kro.run/clusters: *",
            ],
        );
        check(
            json!({}),
            &[],
            json!([line("here", "ACTIVE", "")]),
            &[
                "Unplaced eu-1: ",
                "Unplaced gpu: ",
                "Ready here: no words, so it runs on the hub",
                "Unplaced us-1: ",
            ],
        );
    }

    #[test]
    fn where_a_rollout_moves_it_each_cluster_says_what_it_has_and_what_it_waits_for() {
        let kind = Generated::of(&Object(
            json!({"metadata": {"name": "webapp"}, "spec": {"schema": {"kind": "WebApp", "apiVersion": "v1"}}}),
        ))
        .unwrap();
        let entry = |name: &str, stage: &str, version: u64| json!({"name": name, "state": "ACTIVE", "stage": stage, "version": version});
        let instance = Object(json!({"apiVersion": "kro.run/v1", "kind": "WebApp",
        "metadata": {"name": "shop", "namespace": "shop", "annotations": {hub::CLUSTERS: "eu-1,us-1"}},
        "status": {"state": "IN_PROGRESS", "fleet": {
            "rollout": {"version": 8, "state": "AwaitingApproval", "stage": "prod"},
            "clusters": [entry("eu-1", "canary", 8), entry("us-1", "prod", 7)],
        }}}));
        let clusters = [cluster("eu-1", "eu"), cluster("us-1", "us")];
        let around = Around::new(BTreeMap::new(), &[], &clusters);
        let facts = BTreeMap::new();
        let choosers = Choosers { clusters: &clusters, placements: None, facts: &facts };
        let choice = Choice::new(&kind, &instance, &around, &choosers);
        assert_eq!(crate::view::schemas::wrong(&choice), [""; 0]);
        let said: Vec<&str> = choice.clusters.iter().map(|cluster| cluster.rollout.as_str()).collect();
        assert_eq!(said, ["version 8", "version 7, held: stage prod needs approval"]);
        let text = choice.text(&Look::default());
        let shown = "chosen by annotation hub.kro.run/clusters; version 7, held: stage prod needs approval";
        assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(shown), "{text}");
    }

    #[test]
    fn placements_are_decided_by_the_machine_that_decides_them() {
        let placement = |namespace: &str, name: &str, kind: &str| {
            Object(json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Placement",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"instances": {"kind": kind}, "clusters": {"labelSelector": {"matchLabels": {"region": "us"}}}}}))
        };
        check(
            json!({}),
            &[
                placement("shop", "web", "WebApp"),
                placement("other", "web", "WebApp"),
                placement("shop", "x", "Other"),
            ],
            json!([]),
            &[
                "Unplaced eu-1: ",
                "Unplaced gpu: Placement shop/web but its taints, or what it allows, keep this Placement away",
                "Unplaced here: ",
                "Unplaced us-1: Placement shop/web",
            ],
        );
    }
}
