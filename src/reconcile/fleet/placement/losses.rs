//! What was lost: clusters that an instance was placed on and that its words, as they are, do not choose any more.

use super::ground::{Ground, Names};
use super::record::LOCAL;
use super::unmatched::Then;
use crate::api::names::ClusterName;

/// What the record says of clusters that are still there, as of now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Losses {
    /// Placed and chosen, or just lost.
    pub placed: Names,
    /// Just lost, with content.
    pub fresh: Names,
    pub gone: Names,
    pub held: Names,
    /// Kept only because content was found there.
    pub restored: Names,
}

impl Losses {
    /// `chosen` are the clusters as the record names them.
    pub fn of(ground: &Ground, chosen: &Names) -> Self {
        let (past, has_own) = (ground.past, ground.own.is_some());
        let mark = ClusterName::new(LOCAL);
        let counts = |n: &&ClusterName| if **n == mark { has_own } else { !ground.leaves(n) };
        let here = |list: &Names| -> Names { list.iter().filter(counts).cloned().collect() };
        let mut placed = here(&past.record.placed);
        if past.record.local && has_own {
            placed.insert(mark.clone());
        }
        let mut gone = &here(&past.record.gone) - chosen;
        let mut held = &here(&past.record.held) - chosen;
        let is_unmatched = |n: &ClusterName| {
            past.record.unmatched.get(n).is_some_and(|u| matches!(u.then, Then::Delete | Then::Orphan))
        };
        placed.retain(|n| !gone.contains(n) && !held.contains(n) && !is_unmatched(n));
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
    pub fn are_many(&self, chosen: &Names) -> bool {
        !self.fresh.is_empty() && (chosen.is_empty() || self.count() * 2 >= self.measured_against())
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::{names, names_text};
    use super::super::{ClusterView, DefaultPlacement, Past, Record, Words};
    use super::*;

    #[test]
    fn losses_are_what_the_record_names_and_the_words_do_not() {
        // Record, holds, chosen: placed/fresh/gone/held, and whether they are many.
        for (record, holds, chosen, want, many) in [
            ("w/a,b,c", "a,b,c", "a,b,c", "a,b,c///", false),
            ("w/a,b,c", "a,b,c", "a,b", "a,b,c/c//", false),
            ("w/a,b", "a,b", "a", "a,b/b//", true),
            ("w/a", "a", "", "a/a//", true),
            // Nothing was ever written there.
            ("w/a,b", "a", "a", "a//b/", false),
            // Many small losses count as one.
            ("w/a,b//c,d", "a,b", "a", "a,b/b/c,d/", true),
            // What is chosen again is placed, and was not lost.
            ("w/a,b//c", "a,b,c", "a,b,c", "a,b,c///", false),
            ("w/a///b", "a,b", "a", "a///b", false),
            ("w/a///b", "a", "a", "a//b/", false),
            // What ran on the hub has its inventory there.
            ("w/@local,a", "a", "a", "@local,a/@local//", true),
            // The Cluster is being deregistered.
            ("w/a,away", "a,away", "a", "a///", false),
        ] {
            let view = |n: &&str| ClusterView {
                local: *n == "hub",
                leaving: *n == "away",
                ..ClusterView::default()
            };
            let all = ["a", "b", "c", "d", "away", "hub"];
            let clusters = all.iter().map(|n| (ClusterName::new(n), view(n))).collect();
            let past = Past {
                record: Record::read(Some(record), &Names::new()),
                holds: names(Some(holds)),
                ..Past::default()
            };
            let words = Words::default();
            let ground = Ground::of(&words, "n", &clusters, &past, DefaultPlacement::Local);
            let chosen = names(Some(chosen));
            let losses = Losses::of(&ground, &chosen);
            let lists = [&losses.placed, &losses.fresh, &losses.gone, &losses.held].map(names_text);
            assert_eq!(
                (lists.join("/").as_str(), losses.are_many(&chosen)),
                (want, many),
                "{record} {holds}"
            );
        }
    }
}
