//! Which of the clusters that may be taken are taken.

use super::ground::{Ground, Names};
use super::record::LOCAL;
use crate::api::names::ClusterName;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Choice {
    /// Non-local clusters.
    pub spokes: Names,
    pub local: Option<ClusterName>,
}

impl Choice {
    /// All of them, but those that somebody let go and where the record still names content.
    pub fn of(free: Names, ground: &Ground) -> Self {
        let is_local = |name: &ClusterName| ground.clusters.get(name).is_some_and(|c| c.local);
        let (local, spokes): (Names, Names) = free.into_iter().partition(is_local);
        Self { spokes: &spokes - &ground.past.released, local: local.into_iter().next_back() }
    }

    /// The clusters as the record names them.
    pub fn recorded(&self) -> Names {
        let mut names = self.spokes.clone();
        names.extend(self.local.is_some().then(|| ClusterName::new(LOCAL)));
        names
    }

    /// Takes these too.
    pub fn keep(&mut self, kept: &Names, ground: &Ground) {
        for name in kept {
            match ground.own.filter(|_| name.as_str() == LOCAL) {
                Some(own) => self.local = Some(own.clone()),
                None => drop(self.spokes.insert(name.clone())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::{names, names_text};
    use super::super::{ClusterView, DefaultPlacement, Past, Words};
    use super::*;

    #[test]
    fn what_was_let_go_is_not_taken_and_what_is_kept_is() {
        let local = ClusterView { local: true, ..ClusterView::default() };
        let clusters = [("a", ClusterView::default()), ("b", ClusterView::default()), ("hub", local)];
        let clusters = clusters.map(|(n, c)| (ClusterName::new(n), c)).into();
        for (free, released, kept, want) in [
            ("", "", "", ""),
            ("a,b", "", "", "a,b"),
            ("a,b", "b", "", "a"),
            ("a,hub", "", "", "@local,a"),
            ("a", "", "@local,b", "@local,a,b"),
        ] {
            let past = Past { released: names(Some(released)), ..Past::default() };
            let words = Words::default();
            let ground = Ground::of(&words, "n", &clusters, &past, DefaultPlacement::Local);
            let mut choice = Choice::of(names(Some(free)), &ground);
            choice.keep(&names(Some(kept)), &ground);
            assert_eq!(names_text(&choice.recorded()), want, "{free} {released} {kept}");
            let own = want.contains(LOCAL).then(|| ClusterName::new("hub"));
            assert_eq!(choice.local, own, "{free} {released} {kept}");
        }
    }
}
