//! Where an instance goes, as a line of small steps: its words, the clusters that match them, those that are refused, the
//! choice among the others, the guard against accidental shrinking, and the record of it all.

mod choice;
mod ground;
mod guard;
#[cfg(test)]
mod kept_tests;
#[cfg(test)]
mod laws;
mod losses;
mod matches;
mod names;
mod policies;
mod rank;
mod record;
mod refusals;
mod selector;
#[cfg(test)]
mod tests;
mod unmatched;
mod words;

pub use guard::ShrinkHeld;
pub use names::{holds, names, names_text};
pub use policies::{Reach, Said, Short};
#[cfg(test)]
pub use record::LOCAL;
pub use record::Record;
pub use refusals::{Refusal, Refused};
pub use selector::Selector;
pub use unmatched::Then;
pub use words::Words;

use crate::api::Object;
use crate::api::cluster::{ClusterSpec, Taint};
use crate::api::names::ClusterName;
use crate::reconcile::policy::PolicyName;
use choice::Choice;
use ground::Ground;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use unmatched::Unmatched;

/// What placement needs to know of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterView {
    pub labels: BTreeMap<String, String>,
    pub local: bool,
    /// Empty means all.
    pub allowed_namespaces: Vec<String>,
    /// Being deregistered: chosen no more.
    pub leaving: bool,
    /// What keeps instances away that do not tolerate it.
    pub taints: Vec<Taint>,
}

impl ClusterView {
    /// Of a Cluster and its spec.
    pub fn of(cluster: &Object, spec: &ClusterSpec) -> Self {
        Self {
            labels: cluster.labels(),
            local: spec.local,
            allowed_namespaces: spec.allowed_namespaces.clone(),
            leaving: cluster.is_deleting(),
            taints: spec.taints.clone(),
        }
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
    /// Clusters that nothing chooses any more and that are kept as they are for a while, with what is said of them.
    pub stays: BTreeMap<ClusterName, String>,
    /// Clusters that the guard keeps as they are, while a Placement that chose them says so no more.
    pub still: BTreeSet<ClusterName>,
    /// What each Placement with a limit chooses.
    pub limited: BTreeMap<PolicyName, BTreeSet<ClusterName>>,
    /// Clusters that are let go as they are.
    pub orphaned: BTreeSet<ClusterName>,
    /// Placements that choose fewer clusters than they may.
    pub short: Vec<Short>,
    /// When it is to be decided anew, in seconds of Unix.
    pub wake: Option<i64>,
    /// Which changes of clusters' health may change it.
    pub watches: Watches,
    /// What to remember of this decision.
    pub record: Record,
}

/// Whose health may change a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watches {
    #[default]
    None,
    /// Of the clusters that are placed.
    Placed,
    /// Of any.
    All,
}

/// What an instance is decided over, besides what it says and what stands on it.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Of the instance.
    pub namespace: &'a str,
    /// The complete, synced set: a partial one would look like a shrink.
    pub clusters: &'a BTreeMap<ClusterName, ClusterView>,
    pub default: DefaultPlacement,
    /// `None` where no Placement concerns the instance, nor did.
    pub said: Option<&'a Said<'a>>,
}

/// Why it is kept where nothing chooses it, and for how long.
fn why_it_stays(
    ground: &Ground,
    (name, unmatched): (&ClusterName, &Unmatched),
    refused: &BTreeMap<ClusterName, Refused>,
    readable: bool,
) -> String {
    let why = refused.get(&ground.meant(name)).map(|refused| refused.message.as_str());
    let waits = !readable && ground.said.is_some_and(|said| unmatched.is_over(said.now));
    let more = if waits { "; it stays until all words can be read" } else { "" };
    unmatched.message(why) + more
}

/// Decides.
pub fn decide(words: &Words, around: Around, past: &Past) -> Decision {
    let Around { namespace, clusters, default, said } = around;
    let found = Ground { said, ..Ground::of(words, namespace, clusters, past, default) };
    let matches = matches::of(&found);
    let of_policies = said.map(policies::unreadable).unwrap_or_default();
    let unreadable = [matches.unreadable, of_policies].concat();
    let readable = unreadable.is_empty();
    let settled = if readable { unmatched::settled(&found) } else { BTreeMap::new() };
    // What was replaced, and is to go, is no loss.
    let mut past_now = Cow::Borrowed(past);
    if !settled.is_empty() {
        past_now.to_mut().record.placed.retain(|name| !settled.contains_key(name));
    }
    let ground = Ground { said, ..Ground::of(words, namespace, clusters, &past_now, default) };
    let (mut free, mut refused) = {
        let asking = refusals::Asking { named: &matches.named, tolerations: &[], kept: &BTreeSet::new() };
        refusals::sort(matches.names, &ground, &asking)
    };
    let mut taken = policies::take(&ground);
    free.append(&mut taken.free);
    refusals::add(&mut refused, std::mem::take(&mut taken.refused));
    refused.retain(|name, _| !free.contains(name));
    let mut choice = Choice::of(free, &ground);
    let chosen = choice.recorded();
    let replaced = unmatched::replaced(&ground, &taken, &chosen);
    let replaced = replaced.into_iter().filter(|n| !settled.contains_key(n)).collect();
    let counted = &chosen | &replaced;
    let verdict = guard::judge(&ground, readable, &counted);
    let mut record = Record::after(&ground, &counted, &verdict);
    let mut kept = verdict.kept();
    let over = unmatched::Over { settled: &settled, readable };
    record.unmatched = unmatched::after(&ground, &record, &taken, (&chosen, &kept), &over);
    record.note_unmatched(&ground);
    let is_recorded_over = |name: &ClusterName, u: &Unmatched| {
        readable
            && u.then == Then::Orphan
            && past.record.unmatched.get(name) == Some(u)
            && said.is_some_and(|said| u.at <= said.now)
    };
    let over = record.unmatched.iter().filter(|(name, u)| is_recorded_over(name, u));
    let orphaned: BTreeSet<ClusterName> = over.map(|(name, _)| name.clone()).collect();
    let stays = record.unmatched.iter().filter(|(name, _)| !orphaned.contains(*name));
    let stays =
        stays.map(|(name, u)| (ground.meant(name), why_it_stays(&ground, (name, u), &refused, readable)));
    let stays = stays.collect();
    let still = said.is_some().then(|| kept.iter().map(|name| ground.meant(name)).collect());
    kept.extend(record.unmatched.keys().filter(|name| !orphaned.contains(*name)).cloned());
    // What is to go is told so once that is on record.
    kept.extend(settled.keys().filter(|name| past.record.placed.contains(*name)).cloned());
    choice.keep(&kept, &ground);
    for name in &kept {
        refused.remove(&ground.meant(name));
    }
    let due = said.map_or(i64::MAX, |said| said.now);
    let grace = record.unmatched.values().filter(|u| !matches!(u.then, Then::Replaced { .. }));
    let grace = grace.map(|u| u.at).filter(|at| *at > due).min();
    let is_lost = |name: &ClusterName| said.is_some_and(|s| matches!((s.reach)(name), Reach::Lost(_)));
    let watches = if !taken.short.is_empty() || !replaced.is_empty() || !settled.is_empty() {
        Watches::All
    } else if !taken.fails_over {
        Watches::None
    } else if chosen.iter().any(is_lost) {
        Watches::All
    } else {
        Watches::Placed
    };
    Decision {
        spokes: choice.spokes,
        local: choice.local,
        refused,
        invalid: (!unreadable.is_empty()).then(|| unreadable.join("; ")),
        held: verdict.held().cloned(),
        waiting: verdict.waiting(),
        stays,
        still: still.unwrap_or_default(),
        limited: std::mem::take(&mut taken.limited),
        orphaned: orphaned.iter().map(|name| ground.meant(name)).collect(),
        short: taken.short,
        wake: grace.into_iter().chain(taken.wake).min(),
        watches,
        record,
    }
}
