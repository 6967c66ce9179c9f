//! Which clusters are asked for, before anybody looks at whether they may be taken.
//!
//! Each source of words gives its own matches, and all of them add up: none takes away what another one asks for.

use super::Selector;
use super::ground::{Clusters, Ground, Names};
use super::names::{ALL, items};
use super::{DefaultPlacement, Words};
use crate::api::keys::hub;
use crate::api::names::{ClusterName, ITSELF};
use crate::api::text;
use std::collections::BTreeSet;

/// Names that an instance may list. More clusters are chosen by `*` or by their labels.
pub const MOST_NAMES: usize = 1_000;
/// As much of a word as a message shows.
pub(super) const SHOWN: usize = 80;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Matches {
    /// Clusters that are asked for. Those that are named need not be registered.
    pub names: Names,
    /// Those of them that are named.
    pub named: Names,
    /// What cannot be read of the words.
    pub unreadable: Vec<String>,
}

impl Matches {
    fn of_names(names: impl IntoIterator<Item = ClusterName>) -> Self {
        Self { names: names.into_iter().collect(), ..Self::default() }
    }

    fn unreadable(annotation: &str, why: &str) -> Self {
        Self { unreadable: vec![format!("annotation {annotation}: {why}")], ..Self::default() }
    }

    fn add(&mut self, mut more: Self) {
        self.names.append(&mut more.names);
        self.named.append(&mut more.named);
        self.unreadable.append(&mut more.unreadable);
    }
}

type Source = fn(&Words, &Clusters) -> Matches;
const SOURCES: [Source; 2] = [listed, labelled];

pub(super) fn of(ground: &Ground) -> Matches {
    if ground.is_silent() {
        return unsaid(ground);
    }
    let mut all = Matches::default();
    for source in SOURCES {
        all.add(source(ground.words, ground.clusters));
    }
    all
}

/// Where an instance goes that says nothing.
fn unsaid(ground: &Ground) -> Matches {
    match ground.default {
        DefaultPlacement::Local => {
            let local = ground.clusters.iter().filter(|(_, c)| c.local);
            Matches::of_names(local.map(|(name, _)| name.clone()))
        }
        DefaultPlacement::None => Matches::default(),
    }
}

/// The clusters that the instance names. What cannot be meant is left out, and said.
fn listed(words: &Words, clusters: &Clusters) -> Matches {
    let list = words.clusters.as_deref();
    let count = items(list).count();
    if count > MOST_NAMES {
        let other = hub::CLUSTER_SELECTOR;
        let why = format!(
            "{count} names are listed, and at most {MOST_NAMES} may be; \"*\" or {other} choose more"
        );
        return Matches::unreadable(hub::CLUSTERS, &why);
    }
    let may_be_meant = |w: &&str| *w == ALL || *w == ITSELF || ClusterName::may_be(w);
    let (good, bad): (BTreeSet<&str>, BTreeSet<&str>) = items(list).partition(may_be_meant);
    let mut all = Matches::default();
    if let Some(word) = bad.first() {
        let why = format!("{:?} can be no Cluster's name", text::cut(word, SHOWN));
        all.add(Matches::unreadable(hub::CLUSTERS, &why));
    }
    for word in good {
        if word == ALL {
            all.names.extend(clusters.iter().filter(|(_, c)| !c.local).map(|(name, _)| name.clone()));
        } else {
            all.names.insert(ClusterName::new(word));
            all.named.insert(ClusterName::new(word));
        }
    }
    all
}

/// The clusters whose labels the instance selects.
fn labelled(words: &Words, clusters: &Clusters) -> Matches {
    let Some(text) = &words.selector else { return Matches::default() };
    match Selector::parse(text) {
        Ok(selector) => {
            let matching = clusters.iter().filter(|(_, c)| selector.matches(&c.labels));
            Matches::of_names(matching.map(|(name, _)| name.clone()))
        }
        Err(why) => Matches::unreadable(hub::CLUSTER_SELECTOR, &why),
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::names_text;
    use super::super::{ClusterView, Past};
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn sources_add_up_and_what_cannot_be_read_in_one_takes_nothing_from_another() {
        let view = |region: &str, local| ClusterView {
            labels: BTreeMap::from([("region".to_owned(), region.to_owned())]),
            local,
            ..ClusterView::default()
        };
        let all = [("a", "eu", false), ("b", "us", false), ("hub", "eu", true)];
        let clusters: Clusters = all.map(|(n, r, local)| (ClusterName::new(n), view(r, local))).into();
        for (listed, selector, want, unreadable) in [
            (None, None, "hub", 0),
            (Some("*"), None, "a,b", 0),
            (Some(""), None, "", 0),
            (Some("mars,@hub"), None, "@hub,mars", 0),
            (Some("b"), Some("region=eu"), "a,b,hub", 0),
            (Some("b,B"), Some("region=eu"), "a,b,hub", 1),
            (Some("b"), Some("(("), "b", 1),
            (Some("B,C"), Some("(("), "", 2),
        ] {
            let words = Words { clusters: listed.map(str::to_owned), selector: selector.map(str::to_owned) };
            let past = Past::default();
            let got = of(&Ground::of(&words, "n", &clusters, &past, DefaultPlacement::Local));
            assert_eq!(
                (names_text(&got.names).as_str(), got.unreadable.len()),
                (want, unreadable),
                "{words:?}"
            );
            let none = of(&Ground::of(&words, "n", &clusters, &past, DefaultPlacement::None));
            assert_eq!(none.names.is_empty(), words.is_silent() || want.is_empty(), "{words:?}");
        }
    }
}
