//! Where an instance goes: its own words, the registered clusters, and the guard against accidental shrinking.

mod guard;
#[cfg(test)]
mod laws;
mod record;
mod selector;

pub use record::Record;
pub use selector::Selector;

use super::on_hub::ITSELF;
use crate::api::keys::hub;
use crate::api::names::ClusterName;
use crate::api::{Object, hash, text};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What placement needs to know of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterView {
    pub labels: BTreeMap<String, String>,
    pub local: bool,
    /// Empty means all.
    pub allowed_namespaces: Vec<String>,
    /// Being deregistered: chosen no more.
    pub leaving: bool,
}

/// Names that an instance may list. More clusters are chosen by `*` or by their labels.
pub const MOST_NAMES: usize = 1_000;

/// The placement words that stand on an instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words {
    clusters: Option<String>,
    selector: Option<String>,
}

impl Words {
    pub fn of(instance: &Object) -> Self {
        Self {
            clusters: instance.annotation(hub::CLUSTERS).map(str::to_owned),
            selector: instance.annotation(hub::CLUSTER_SELECTOR).map(str::to_owned),
        }
    }
    pub fn is_silent(&self) -> bool {
        self.clusters.is_none() && self.selector.is_none()
    }
    /// Changes exactly when somebody edits the words.
    pub fn fingerprint(&self) -> String {
        hash::json_hex(&json!([self.clusters, self.selector]))
    }
}

/// What happens to an instance that says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultPlacement {
    /// It runs on the local cluster, as with kro.
    #[default]
    Local,
    /// It waits for words.
    None,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Non-local clusters to run on.
    pub spokes: BTreeSet<ClusterName>,
    /// The local cluster, if it runs there.
    pub local: Option<ClusterName>,
    /// Clusters that the words name and that cannot be used, with the reason and a sentence.
    pub refused: BTreeMap<ClusterName, (&'static str, String)>,
    /// The words cannot be read.
    pub invalid: Option<String>,
    /// Clusters kept against the words until somebody acknowledges, and the token for it.
    pub held: Option<ShrinkHeld>,
    /// Clusters lost a moment ago, kept until it is clear that no more are.
    pub waiting: BTreeSet<ClusterName>,
    /// What to remember of this decision.
    pub record: Record,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ShrinkHeld {
    pub kept: BTreeSet<ClusterName>,
    pub token: String,
}

/// What stands on the instance from earlier decisions.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Spokes where content may exist.
    pub holds: BTreeSet<ClusterName>,
    /// The record of the last decision.
    pub record: Record,
    /// Spokes that show content of this instance which no hold names: the hub is older than they are.
    pub found: BTreeSet<ClusterName>,
    /// The token that somebody acknowledged.
    pub allow_shrink: Option<String>,
    /// Clusters whose loss waited long enough, without another one.
    pub waited: BTreeSet<ClusterName>,
    /// Clusters that somebody let go.
    pub released: BTreeSet<ClusterName>,
}

/// Decides. `clusters` must be the complete, synced set: a partial one would look like a shrink.
pub fn decide(
    words: &Words,
    namespace: &str,
    clusters: &BTreeMap<ClusterName, ClusterView>,
    past: &Past,
    default: DefaultPlacement,
) -> Decision {
    let mut out = Decision::default();
    let mut chosen: BTreeSet<ClusterName> = BTreeSet::new();
    if let Some(list) = &words.clusters {
        let (listed, problem) = listed(list);
        for word in listed {
            choose(word, clusters, &mut chosen, &mut out);
        }
        out.invalid = problem.map(|why| format!("annotation {}: {why}", hub::CLUSTERS));
    }
    if let Some(text) = &words.selector {
        match Selector::parse(text) {
            Ok(selector) => {
                let matching = clusters.iter().filter(|(_, c)| selector.matches(&c.labels));
                chosen.extend(matching.map(|(n, _)| n.clone()));
            }
            Err(why) => {
                let why = format!("annotation {}: {why}", hub::CLUSTER_SELECTOR);
                out.invalid = Some(out.invalid.map_or(why.clone(), |first| format!("{first}; {why}")));
            }
        }
    }
    if words.is_silent() && default == DefaultPlacement::Local {
        chosen.extend(clusters.iter().filter(|(_, c)| c.local).map(|(n, _)| n.clone()));
    }
    for name in chosen {
        let Some(cluster) = clusters.get(&name) else { continue };
        let allowed = cluster.allowed_namespaces.is_empty()
            || cluster.allowed_namespaces.iter().any(|n| n == namespace);
        if cluster.leaving {
            out.refused.insert(name, ("Leaving", "the Cluster is being deregistered".into()));
        } else if !allowed {
            let message = format!("the Cluster does not allow instances of namespace {namespace:?}");
            out.refused.insert(name, ("NotAllowed", message));
        } else if past.released.contains(&name) && !past.holds.contains(&name) {
            let message = format!(
                "let go by the annotation {}; remove it to place the instance there again",
                hub::RELEASE
            );
            out.refused.insert(name, ("Released", message));
        } else if cluster.local {
            out.local = Some(name);
        } else if !past.released.contains(&name) {
            out.spokes.insert(name);
        }
    }
    guard::guard(words, clusters, past, &mut out);
    out
}

/// The words of a list that can be meant, and what is wrong with the others.
fn listed(list: &str) -> (BTreeSet<&str>, Option<String>) {
    let count = words(Some(list)).count();
    if count > MOST_NAMES {
        let other = hub::CLUSTER_SELECTOR;
        let why = format!(
            "{count} names are listed, and at most {MOST_NAMES} may be; \"*\" or {other} choose more"
        );
        return (BTreeSet::new(), Some(why));
    }
    let (good, bad): (BTreeSet<&str>, BTreeSet<&str>) =
        words(Some(list)).partition(|w| *w == "*" || *w == ITSELF || ClusterName::may_be(w));
    let why = bad.first().map(|word| format!("{:?} can be no Cluster's name", text::cut(word, SHOWN)));
    (good, why)
}

/// As much of a word as a message shows.
const SHOWN: usize = 80;

fn choose(
    word: &str,
    clusters: &BTreeMap<ClusterName, ClusterView>,
    chosen: &mut BTreeSet<ClusterName>,
    out: &mut Decision,
) {
    if word == "*" {
        chosen.extend(clusters.iter().filter(|(_, c)| !c.local).map(|(n, _)| n.clone()));
        return;
    }
    let name = ClusterName::new(word);
    if clusters.contains_key(&name) {
        chosen.insert(name);
    } else {
        let message = if word == ITSELF {
            "no Cluster can have this name; what is meant is the Cluster with spec.local: true, by its own name".into()
        } else {
            format!("no Cluster named {word} is registered; the instance goes there once it is")
        };
        out.refused.insert(name, ("NotRegistered", message));
    }
}

/// Reads a comma-separated list of cluster names. What can be no cluster's name is not one, but for `*` and for what
/// starts with `@`, which stands for the hub.
pub fn names(text: Option<&str>) -> BTreeSet<ClusterName> {
    let may_be = |w: &&str| ClusterName::may_be(w) || *w == "*" || w.starts_with('@');
    words(text).filter(may_be).map(ClusterName::new).collect()
}

/// The record of where content may exist, and how many words of it can be no cluster's name.
pub fn holds(text: Option<&str>) -> (BTreeSet<ClusterName>, usize) {
    let (names, rubbish): (Vec<&str>, Vec<&str>) = words(text).partition(|w| ClusterName::may_be(w));
    (names.into_iter().map(ClusterName::new).collect(), rubbish.len())
}

fn words(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.unwrap_or_default().split(',').map(str::trim).filter(|t| !t.is_empty())
}

/// Writes a list of cluster names, sorted.
pub fn names_text(names: &BTreeSet<ClusterName>) -> String {
    names.iter().map(ClusterName::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
