//! Clusters that are told the same become one group.

use super::{Action, Group, InstanceChanges, Summary};
use crate::api::hash;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something told twice: as it is on its cluster, and with the facts of the cluster by their names.
#[derive(Clone, Debug, PartialEq)]
pub struct Told<T> {
    pub shown: T,
    pub neutral: T,
}

impl<T: Clone> Told<T> {
    pub fn same(shown: T) -> Self {
        Self { neutral: shown.clone(), shown }
    }
}

/// What changes on one cluster.
pub struct OfCluster {
    /// None for the hub itself.
    pub name: Option<String>,
    /// In one order for all clusters.
    pub instances: Vec<Arc<Told<InstanceChanges>>>,
}

/// The groups, the largest first, and how many objects change on all clusters together.
pub fn groups(all: &[OfCluster]) -> (Vec<Group>, Summary) {
    let mut sorted: BTreeMap<(bool, Vec<u64>), Vec<&OfCluster>> = BTreeMap::new();
    // Instances of clusters that are told the same are often one: each is written out once.
    let mut prints: BTreeMap<*const Told<InstanceChanges>, u64> = BTreeMap::new();
    for cluster in all.iter().filter(|cluster| !cluster.instances.is_empty()) {
        let print = |told: &Arc<Told<InstanceChanges>>| {
            *prints
                .entry(Arc::as_ptr(told))
                .or_insert_with(|| hash::json(&serde_json::to_value(&told.neutral).unwrap_or_default()))
        };
        let key = cluster.instances.iter().map(print).collect();
        sorted.entry((cluster.name.is_none(), key)).or_default().push(cluster);
    }
    let mut summary =
        Summary { clusters: all.iter().filter(|c| c.name.is_some()).count(), ..Summary::default() };
    let mut groups = Vec::new();
    for clusters in sorted.into_values() {
        let Some(first) = clusters.first() else { continue };
        let mut names: Vec<String> = clusters.iter().filter_map(|c| c.name.clone()).collect();
        names.sort_by_key(|name| natural(name));
        let one = clusters.len() == 1;
        let instances: Vec<InstanceChanges> = first
            .instances
            .iter()
            .map(|told| if one { told.shown.clone() } else { told.neutral.clone() })
            .collect();
        summary.changed += names.len();
        for change in instances.iter().flat_map(|instance| &instance.changes) {
            *match change.action {
                Action::Create => &mut summary.create,
                Action::Update => &mut summary.update,
                Action::Delete => &mut summary.delete,
                Action::Refused => &mut summary.refused,
            } += clusters.len();
        }
        groups.push(Group { hub: names.is_empty(), clusters: names, instances });
    }
    groups.sort_by(|a, b| {
        let first = |group: &Group| group.clusters.first().map(|name| natural(name));
        (b.clusters.len(), first(a)).cmp(&(a.clusters.len(), first(b)))
    });
    (groups, summary)
}

/// Numbers in names in their order: eu-2 before eu-10.
fn natural(name: &str) -> Vec<(bool, u64, String)> {
    let mut parts: Vec<(bool, u64, String)> = Vec::new();
    for c in name.chars() {
        match parts.last_mut() {
            Some((is_number, value, _)) if *is_number && c.is_ascii_digit() => {
                *value = value.saturating_mul(10).saturating_add(u64::from(c.to_digit(10).unwrap_or(0)));
            }
            Some((false, _, text)) if !c.is_ascii_digit() => text.push(c),
            _ => match c.to_digit(10) {
                Some(digit) => parts.push((true, u64::from(digit), String::new())),
                None => parts.push((false, 0, c.to_string())),
            },
        }
    }
    parts
}
