//! The guard against accidental shrinking.
//!
//! A loss is a cluster that it was placed on and that the words, as they are, do not choose any more: somebody changed the
//! cluster, not the instance. Losses are counted since the words changed or a loss was acknowledged, so many small ones
//! count as one. Few are let go, after a pause in which nothing more was lost. Half of all, or more, are held: each until it
//! is chosen again or somebody acknowledges. So whoever takes back what was lost, in whatever order, deletes nothing that
//! was held.

use super::record::LOCAL;
use super::{ClusterView, Decision, Past, Record, ShrinkHeld, Words};
use crate::api::hash;
use crate::api::names::ClusterName;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

type Names = BTreeSet<ClusterName>;

/// What the record says of clusters that are still there, as of now.
struct Losses {
    /// Placed and chosen, or just lost.
    placed: Names,
    /// Just lost, with content.
    fresh: Names,
    gone: Names,
    held: Names,
    /// Kept only because content was found there.
    restored: Names,
}

impl Losses {
    fn of(
        past: &Past,
        chosen: &Names,
        own: Option<&ClusterName>,
        leaves: impl Fn(&ClusterName) -> bool,
    ) -> Self {
        let mark = ClusterName::new(LOCAL);
        let counts = |n: &&ClusterName| if **n == mark { own.is_some() } else { !leaves(n) };
        let here = |list: &Names| -> Names { list.iter().filter(counts).cloned().collect() };
        let mut placed = here(&past.record.placed);
        if past.record.local && own.is_some() {
            placed.insert(mark.clone());
        }
        let mut gone = &here(&past.record.gone) - chosen;
        let mut held = &here(&past.record.held) - chosen;
        placed.retain(|n| !gone.contains(n) && !held.contains(n));
        placed.extend((&here(&past.record.gone) | &here(&past.record.held)).intersection(chosen).cloned());
        // Where no content is, nothing can be kept.
        let has_content = |n: &ClusterName| *n == mark || past.holds.contains(n);
        let (fresh, empty): (Names, Names) = (&placed - chosen).into_iter().partition(has_content);
        let emptied: Names = held.iter().filter(|n| !has_content(n)).cloned().collect();
        held.retain(has_content);
        gone.extend(empty.iter().cloned().chain(emptied));
        placed.retain(|n| !empty.contains(n));
        let restored = &(&here(&past.record.restored) | &here(&past.found)) - chosen;
        Self { placed, fresh, gone, held, restored }
    }

    fn count(&self) -> usize {
        self.fresh.len() + self.gone.len() + self.held.len()
    }
    fn measured_against(&self) -> usize {
        self.placed.len() + self.gone.len() + self.held.len()
    }
    /// Half counts as more than half.
    fn are_many(&self, chosen: &Names) -> bool {
        !self.fresh.is_empty() && (chosen.is_empty() || self.count() * 2 >= self.measured_against())
    }
}

pub(super) fn guard(
    words: &Words,
    clusters: &BTreeMap<ClusterName, ClusterView>,
    past: &Past,
    out: &mut Decision,
) {
    let mark = ClusterName::new(LOCAL);
    let unreadable = out.invalid.is_some();
    let edited = !unreadable
        && match past.record.words.as_deref() {
            Some(before) => before != words.fingerprint(),
            // Nothing was ever recorded: until now it said nothing.
            None => !words.is_silent(),
        };
    let leaves = |n: &ClusterName| past.released.contains(n) || clusters.get(n).is_some_and(|c| c.leaving);
    let own = clusters.iter().find(|(n, c)| c.local && !leaves(n)).map(|(n, _)| n.clone());
    // What ran on the hub was let go with the Cluster that stood for it, and stays on record as such.
    let left_on_hub = past.record.local && own.is_none();
    let mut chosen = out.spokes.clone();
    if out.local.is_some() {
        chosen.insert(mark.clone());
    }
    let record = |words: Option<String>, mut placed: Names| Record {
        words,
        local: placed.remove(&mark) || left_on_hub,
        placed,
        acknowledged: past.record.acknowledged.clone(),
        ..Record::default()
    };
    if edited {
        out.record = record(Some(words.fingerprint()), chosen);
        return;
    }
    let mut losses = Losses::of(past, &chosen, own.as_ref(), leaves);
    let many = losses.are_many(&chosen);
    if many && !unreadable {
        losses.held.append(&mut losses.fresh);
    }
    let asked = &losses.held | &losses.restored;
    let shown: Names =
        asked.iter().map(|n| own.clone().filter(|_| *n == mark).unwrap_or_else(|| n.clone())).collect();
    let token = token(words, &shown, past.record.acknowledged.as_deref());
    let acknowledged = !unreadable && !asked.is_empty() && past.allow_shrink.as_deref() == Some(&token);
    let mut kept = losses.fresh.clone();
    if acknowledged {
        out.record = record(Some(words.fingerprint()), &chosen | &losses.fresh);
        out.record.acknowledged = Some(token);
    } else {
        // What nobody can read decides nothing.
        let before = past.record.words.clone().filter(|_| unreadable);
        let over = !unreadable && losses.fresh.is_subset(&past.waited);
        let goes = if over { losses.fresh.clone() } else { Names::new() };
        let placed = &(&(&losses.placed | &chosen) - &losses.held) - &goes;
        out.record = record(before.or_else(|| Some(words.fingerprint())), placed);
        out.record.gone = &losses.gone | &goes;
        out.record.held = losses.held.clone();
        out.record.restored = losses.restored.clone();
        out.record.local |= out.record.gone.contains(&mark) || out.record.held.contains(&mark);
        kept.append(&mut asked.clone());
        if !asked.is_empty() && !unreadable {
            out.held = Some(ShrinkHeld { kept: shown, token });
        }
    }
    if !unreadable {
        out.waiting = losses.fresh;
    }
    for name in kept {
        let local = own.clone().filter(|_| name == mark);
        out.refused.remove(local.as_ref().unwrap_or(&name));
        match local {
            Some(own) => out.local = Some(own),
            None => drop(out.spokes.insert(name)),
        }
    }
}

/// Stands for these clusters and words, once: the next loss asks with another one.
fn token(words: &Words, kept: &Names, spent: Option<&str>) -> String {
    let names: Vec<&str> = kept.iter().map(ClusterName::as_str).collect();
    let (words, mut of) = (words.fingerprint(), json!([names]));
    if let Some(list) = of.as_array_mut() {
        list.push(json!(words));
        list.extend(spent.map(|s| json!(s)));
    }
    hash::json_hex(&of)[..8].to_owned()
}
