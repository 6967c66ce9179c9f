//! Where an instance goes, as a line of small steps: its words, the clusters that match them, those that are refused, the
//! choice among the others, the guard against accidental shrinking, and the record of it all.

mod choice;
mod ground;
mod guard;
#[cfg(test)]
mod laws;
mod losses;
mod matches;
mod names;
mod record;
mod refusals;
mod selector;
#[cfg(test)]
mod tests;
mod words;

pub use guard::ShrinkHeld;
pub use names::{holds, names, names_text};
pub use record::Record;
pub use refusals::{Refusal, Refused};
pub use selector::Selector;
pub use words::Words;

use crate::api::names::ClusterName;
use choice::Choice;
use ground::Ground;
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

/// What happens to an instance that says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultPlacement {
    /// It runs on the local cluster, as with kro.
    #[default]
    Local,
    /// It waits for words.
    None,
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

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Non-local clusters to run on.
    pub spokes: BTreeSet<ClusterName>,
    /// The local cluster, if it runs there.
    pub local: Option<ClusterName>,
    /// Clusters that are asked for and cannot be used.
    pub refused: BTreeMap<ClusterName, Refused>,
    /// The words cannot be read.
    pub invalid: Option<String>,
    /// Clusters kept against the words until somebody acknowledges, and the token for it.
    pub held: Option<ShrinkHeld>,
    /// Clusters lost a moment ago, kept until it is clear that no more are.
    pub waiting: BTreeSet<ClusterName>,
    /// What to remember of this decision.
    pub record: Record,
}

/// Decides. `clusters` must be the complete, synced set: a partial one would look like a shrink.
pub fn decide(
    words: &Words,
    namespace: &str,
    clusters: &BTreeMap<ClusterName, ClusterView>,
    past: &Past,
    default: DefaultPlacement,
) -> Decision {
    let ground = Ground::of(words, namespace, clusters, past, default);
    let matches = matches::of(&ground);
    let (free, mut refused) = refusals::sort(matches.names, &ground);
    let mut choice = Choice::of(free, &ground);
    let chosen = choice.recorded();
    let verdict = guard::judge(&ground, matches.unreadable.is_empty(), &chosen);
    let record = Record::after(&ground, &chosen, &verdict);
    let kept = verdict.kept();
    choice.keep(&kept, &ground);
    for name in &kept {
        refused.remove(&ground.meant(name));
    }
    Decision {
        spokes: choice.spokes,
        local: choice.local,
        refused,
        invalid: (!matches.unreadable.is_empty()).then(|| matches.unreadable.join("; ")),
        held: verdict.held().cloned(),
        waiting: verdict.waiting(),
        record,
    }
}
