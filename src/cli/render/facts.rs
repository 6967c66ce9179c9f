//! What expressions read of a cluster, from its Cluster object, a file of facts, and what was set on the command line.

use crate::api::Object;
use crate::api::cluster::{ChildNamespaces, ClusterSpec};
use crate::api::names::ClusterName;
use crate::graph::Graph;
use crate::reconcile::bounds::Bounds;
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::placement::ClusterView;
use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What files say of a cluster that no Cluster object says: its id and its version.
pub type Facts = BTreeMap<String, Value>;

/// Reads what `kro-hub cluster facts` prints.
///
/// # Errors
/// It is something else.
pub fn read(text: &str) -> anyhow::Result<Facts> {
    of(&serde_saphyr::from_str(text).context("it is no YAML")?)
}

/// The same from what was read.
///
/// # Errors
/// It is something else.
pub fn of(value: &Value) -> anyhow::Result<Facts> {
    let clusters = value.get("clusters").and_then(Value::as_object);
    let clusters =
        clusters.context("clusters is missing: kro-hub cluster facts > facts.yaml writes such a file")?;
    Ok(clusters.iter().map(|(name, facts)| (name.clone(), facts.clone())).collect())
}

/// The cluster of that name, with all that is known of it.
///
/// # Errors
/// Nothing is known of it, or something set cannot be read.
pub fn cluster(
    name: &ClusterName,
    object: Option<&Object>,
    facts: &Facts,
    set: &[String],
) -> anyhow::Result<ClusterState> {
    let known = facts.get(name.as_str());
    if object.is_none() && known.is_none() && set.is_empty() {
        let names: Vec<&str> = facts.keys().map(String::as_str).collect();
        bail!(
            "cluster {name}: there is neither a Cluster of that name among the files nor a line in --facts ({}); say what it is like with --set",
            names.join(", ")
        );
    }
    let (mut view, mut bounds) = (ClusterView::default(), Arc::default());
    let mut all = Map::from_iter([("name".to_owned(), json!(name.as_str()))]);
    let mut properties = BTreeMap::new();
    if let Some(object) = object {
        let spec: ClusterSpec =
            object.0.get("spec").cloned().map(serde_json::from_value).transpose()?.unwrap_or_default();
        // A file is of what is to be, not of what is on its way out.
        view = ClusterView { leaving: false, ..ClusterView::of(object, &spec) };
        bounds = Arc::new(Bounds::of(object.name(), &spec, &ChildNamespaces::default()));
        properties = spec.properties;
    }
    for (key, value) in known.and_then(Value::as_object).into_iter().flatten() {
        put(key, value.as_str().unwrap_or_default(), &mut all)?;
    }
    for entry in set {
        let (path, value) =
            entry.split_once('=').with_context(|| format!("--set {entry}: write PATH=VALUE"))?;
        match path.split_once('.') {
            Some(("labels", key)) => drop(view.labels.insert(key.to_owned(), value.to_owned())),
            Some(("properties", key)) => drop(properties.insert(key.to_owned(), value.to_owned())),
            _ => put(path, value, &mut all).with_context(|| format!("--set {entry}"))?,
        }
    }
    all.insert("labels".to_owned(), json!(view.labels));
    all.insert("properties".to_owned(), json!(properties));
    let facts = Some(Arc::new(Value::Object(all)));
    Ok(ClusterState { view, facts, bounds, ..ClusterState::default() })
}

fn put(path: &str, value: &str, into: &mut Map<String, Value>) -> anyhow::Result<()> {
    match path {
        "id" => drop(into.insert("id".to_owned(), json!(value))),
        "version" => {
            let mut parts = value.trim_start_matches('v').split('.');
            let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
            let (Some(major), Some(minor)) = (number(), number()) else {
                bail!("{value:?} is no version of Kubernetes; write it like 1.33");
            };
            into.insert("version".to_owned(), json!({"major": major, "minor": minor}));
        }
        _ => bail!("a cluster has labels.KEY, properties.KEY, id and version"),
    }
    Ok(())
}

/// Refuses to render what reads a fact that nobody gave: what came of it would be a guess.
///
/// # Errors
/// The first fact that is missing.
pub fn ensure_known(
    graph: &Graph,
    cluster: Option<(&ClusterName, &ClusterState)>,
    file: &str,
) -> anyhow::Result<()> {
    for path in graph.cluster_reads() {
        let Some((name, state)) = cluster else {
            bail!(
                "{} reads kro.cluster.{}: say which cluster with --cluster NAME, or what it is like with --set",
                graph.rgd_name,
                path.join(".")
            );
        };
        let own = path.first().map(String::as_str);
        let known = own.is_none_or(|key| state.facts.as_ref().is_some_and(|facts| facts.get(key).is_some()));
        ensure!(known, "{name}: kro.cluster.{} is not in {file}", path.join("."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts_of(set: &[&str], object: Option<Value>) -> Result<Value, String> {
        let facts = read("clusters: {eu: {id: e1, version: v1.33.2+k3s1}}").unwrap();
        let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
        let state = cluster(&ClusterName::new("eu"), object.map(Object).as_ref(), &facts, &set);
        state.map(|s| (*s.facts.unwrap()).clone()).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn what_is_set_wins_over_files() {
        let object = json!({"metadata": {"name": "eu", "labels": {"region": "eu", "tier": "prod"}},
            "spec": {"properties": {"zone": "a"}}});
        assert_eq!(
            facts_of(&["labels.tier=test", "version=1.30", "properties.disk=ssd"], Some(object)).unwrap(),
            json!({"name": "eu", "id": "e1", "version": {"major": 1, "minor": 30},
                "labels": {"region": "eu", "tier": "test"}, "properties": {"zone": "a", "disk": "ssd"}})
        );
        assert_eq!(facts_of(&[], None).unwrap()["version"], json!({"major": 1, "minor": 33}));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (set, says) in [
            ("labels", "write PATH=VALUE"),
            ("version=new", "no version of Kubernetes"),
            ("colour=red", "labels.KEY, properties.KEY, id and version"),
        ] {
            let told = facts_of(&[set], None).unwrap_err();
            assert!(told.contains(says) && told.contains(set), "{told}");
        }
        assert!(read("[]").unwrap_err().to_string().contains("kro-hub cluster facts"));
    }
}
