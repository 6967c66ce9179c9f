//! By which graphs an instance runs, and on how many clusters by each.

use crate::api::hash;

/// A graph, in short.
pub type GraphPrint = u64;

/// The print of the graph with this hash; `None` where none is named.
pub fn graph_print(hash: &str) -> Option<GraphPrint> {
    (!hash.is_empty()).then(|| hash::fnv64(hash.as_bytes()))
}

/// Counts by graph. Nearly always there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Runs {
    #[default]
    None,
    One(GraphPrint, usize),
    Many(Vec<(GraphPrint, usize)>),
}

impl Runs {
    pub fn iter(&self) -> impl Iterator<Item = (GraphPrint, usize)> {
        let one = match self {
            Self::One(print, count) => Some((*print, *count)),
            Self::None | Self::Many(_) => None,
        };
        let many = match self {
            Self::Many(list) => list.as_slice(),
            Self::None | Self::One(..) => &[],
        };
        one.into_iter().chain(many.iter().copied())
    }

    /// One cluster more, or one less, by this graph.
    pub fn count(&mut self, print: GraphPrint, add: bool) {
        self.change(print, 1, add);
    }

    /// One cluster more, where it is known by which.
    pub fn extend(&mut self, print: Option<GraphPrint>) {
        if let Some(print) = print {
            self.count(print, true);
        }
    }

    /// A cluster runs by another graph than before.
    pub fn replace(&mut self, before: Option<GraphPrint>, after: Option<GraphPrint>) {
        if let Some(before) = before {
            self.count(before, false);
        }
        self.extend(after);
    }

    /// What one part of all that is counted here runs by is something else now.
    pub fn replace_all(&mut self, before: &Self, after: &Self) {
        for (print, count) in after.iter() {
            self.change(print, count, true);
        }
        for (print, count) in before.iter() {
            self.change(print, count, false);
        }
    }

    /// So many more, or less.
    pub fn change(&mut self, print: GraphPrint, by: usize, add: bool) {
        if let Self::One(known, count) = self
            && *known == print
            && (add || *count > by)
        {
            *count = if add { *count + by } else { *count - by };
            return;
        }
        let mut list: Vec<(GraphPrint, usize)> = match self {
            Self::Many(list) => std::mem::take(list),
            _ => self.iter().collect(),
        };
        let found = list.iter_mut().find(|(known, _)| *known == print);
        match (found, add) {
            (Some((_, count)), true) => *count += by,
            (Some((_, count)), false) => *count = count.saturating_sub(by),
            (None, true) => list.push((print, by)),
            (None, false) => {}
        }
        list.retain(|(_, count)| *count > 0);
        *self = match list.as_slice() {
            [] => Self::None,
            [(print, count)] => Self::One(*print, *count),
            _ => Self::Many(list),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_runs_by_is_not_counted() {
        let mut runs = Runs::default();
        let list = |runs: &Runs| {
            let mut list: Vec<_> = runs.iter().collect();
            list.sort_unstable();
            list
        };
        for (print, add, want) in [
            (1, true, vec![(1, 1)]),
            (1, true, vec![(1, 2)]),
            (2, true, vec![(1, 2), (2, 1)]),
            (3, false, vec![(1, 2), (2, 1)]),
            (1, false, vec![(1, 1), (2, 1)]),
            (1, false, vec![(2, 1)]),
            (2, false, vec![]),
        ] {
            runs.count(print, add);
            assert_eq!(list(&runs), want, "{print} {add}");
        }
        assert_eq!(runs, Runs::None);
        let (mut all, two) = (Runs::One(1, 3), Runs::Many(vec![(1, 1), (2, 1)]));
        all.replace_all(&Runs::One(1, 2), &two);
        assert_eq!(list(&all), [(1, 2), (2, 1)]);
        all.replace_all(&two, &Runs::None);
        assert_eq!(list(&all), [(1, 1)]);
        assert_eq!((graph_print(""), graph_print("a") == graph_print("b")), (None, false));
    }
}
