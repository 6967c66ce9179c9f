//! Which clusters are taken where only some are: a choice that every controller makes alike, and that no cluster which
//! comes or goes elsewhere changes.

use super::ground::{Clusters, Names};
use crate::api::cluster::Effect;
use crate::api::hash::fnv64;
use crate::api::names::{ClusterName, InstanceKey};
use crate::api::placement::Toleration;
use crate::reconcile::policy::{Limit, tolerates};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// What the order depends on besides the clusters' names.
pub(super) struct Field<'a> {
    pub key: &'a InstanceKey,
    pub clusters: &'a Clusters,
    pub limit: &'a Limit,
    pub tolerations: &'a [Toleration],
}

/// The less the better, but for the spread over the values of a label.
type Rank = (bool, usize);

impl Field<'_> {
    fn rank(&self, name: &ClusterName) -> Rank {
        let Some(cluster) = self.clusters.get(name) else { return (true, usize::MAX) };
        let avoided = cluster.taints.iter().any(|taint| {
            taint.effect == Effect::PreferNoSelect && !self.tolerations.iter().any(|t| tolerates(t, taint))
        });
        let term = self.limit.prefer.iter().position(|selector| selector.matches(&cluster.labels));
        (avoided, term.unwrap_or(usize::MAX))
    }

    /// The value of the label that is spread over; one that is missing is a value too.
    fn part(&self, name: &ClusterName) -> Option<&str> {
        let key = self.limit.spread.as_ref()?;
        self.clusters.get(name)?.labels.get(key).map(String::as_str)
    }

    fn weight(&self, name: &ClusterName) -> u64 {
        weight(self.key, name)
    }
}

/// The best of these, so many, where `taken` are taken already.
pub(super) fn best(field: &Field, of: Names, count: usize, taken: &Names) -> Names {
    if of.len() <= count {
        return of;
    }
    let mut ranked: Vec<(Rank, Reverse<u64>, ClusterName)> =
        of.into_iter().map(|name| (field.rank(&name), Reverse(field.weight(&name)), name)).collect();
    ranked.sort();
    if field.limit.spread.is_none() {
        return ranked.into_iter().take(count).map(|(.., name)| name).collect();
    }
    let mut chosen: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for name in taken {
        *chosen.entry(field.part(name)).or_default() += 1;
    }
    let mut best = Names::new();
    while best.len() < count && !ranked.is_empty() {
        let crowd = |name: &ClusterName| chosen.get(&field.part(name)).copied().unwrap_or_default();
        let order =
            ranked.iter().enumerate().min_by_key(|(place, (rank, _, name))| (*rank, crowd(name), *place));
        let Some((place, _)) = order else { break };
        let (.., name) = ranked.remove(place);
        *chosen.entry(field.part(&name)).or_default() += 1;
        best.insert(name);
    }
    best
}

/// Spreads instances over clusters as chance would. FNV alone does not: its last bytes hardly move its first bits.
fn weight(key: &InstanceKey, cluster: &ClusterName) -> u64 {
    let text = format!("{}/{}/{}\0{cluster}", key.gk, key.namespace, key.name);
    splitmix64(fnv64(text.as_bytes()))
}

fn splitmix64(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::names::names_text;
    use super::super::{ClusterView, Selector};
    use super::*;
    use crate::api::cluster::Taint;
    use crate::api::names::GroupKind;

    fn view(labels: &[(&str, &str)], effect: Option<Effect>) -> ClusterView {
        ClusterView {
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            taints: effect
                .map(|effect| Taint { key: "t".into(), value: String::new(), effect })
                .into_iter()
                .collect(),
            ..ClusterView::default()
        }
    }

    fn key(name: &str) -> InstanceKey {
        InstanceKey::new(GroupKind::new("kro.run", "App"), "shop", name)
    }

    #[test]
    fn instances_are_spread_as_chance_would() {
        let clusters: Clusters =
            (0..100).map(|n| (ClusterName::new(&format!("c{n}")), view(&[], None))).collect();
        let limit = Limit { max: 10, ..Limit::default() };
        let mut counts: BTreeMap<ClusterName, usize> = BTreeMap::new();
        for n in 0..1_000 {
            let key = key(&format!("web-{n}"));
            let field = Field { key: &key, clusters: &clusters, limit: &limit, tolerations: &[] };
            let chosen = best(&field, clusters.keys().cloned().collect(), 10, &Names::new());
            assert_eq!(chosen.len(), 10);
            chosen.into_iter().for_each(|name| *counts.entry(name).or_default() += 1);
        }
        // Each has a hundred, give or take four times the deviation of chance, which is 9.5.
        assert!(counts.len() == 100 && counts.values().all(|n| (62..=138).contains(n)), "{counts:?}");
    }

    #[test]
    fn one_that_comes_or_goes_moves_no_other() {
        let clusters: Clusters =
            (0..20).map(|n| (ClusterName::new(&format!("c{n}")), view(&[], None))).collect();
        let (limit, key) = (Limit { max: 3, ..Limit::default() }, key("web"));
        let field = Field { key: &key, clusters: &clusters, limit: &limit, tolerations: &[] };
        let all: Names = clusters.keys().cloned().collect();
        let chosen = best(&field, all.clone(), 3, &Names::new());
        for gone in &all {
            let mut rest = all.clone();
            rest.remove(gone);
            let again = best(&field, rest, 3, &Names::new());
            assert!(again.intersection(&chosen).count() >= if chosen.contains(gone) { 2 } else { 3 });
        }
    }

    #[test]
    fn taints_come_before_preferences_and_these_before_the_spread() {
        let low = [("cost", "low"), ("region", "eu")];
        let clusters: Clusters = [
            ("avoided", view(&low, Some(Effect::PreferNoSelect))),
            ("low-eu", view(&low, None)),
            ("low-eu-2", view(&low, None)),
            ("low-us", view(&[("cost", "low"), ("region", "us")], None)),
            ("dear", view(&[("region", "asia")], None)),
            ("nowhere", view(&[], None)),
        ]
        .map(|(n, v)| (ClusterName::new(n), v))
        .into();
        let prefer = vec![Selector::parse("cost=low").unwrap()];
        let limit = Limit { max: 1, prefer, spread: Some("region".into()), failover: None };
        for instance in ["a", "b", "c", "d"] {
            let key = key(instance);
            let field = Field { key: &key, clusters: &clusters, limit: &limit, tolerations: &[] };
            let take = |n| best(&field, clusters.keys().cloned().collect(), n, &Names::new());
            let two = names_text(&take(2));
            assert!(two == "low-eu,low-us" || two == "low-eu-2,low-us", "{two}");
            assert_eq!(names_text(&take(3)), "low-eu,low-eu-2,low-us");
            assert_eq!(names_text(&take(5)), "dear,low-eu,low-eu-2,low-us,nowhere");
        }
    }
}
