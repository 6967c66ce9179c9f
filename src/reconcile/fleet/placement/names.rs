//! Lists of cluster names, as annotations hold them.

use crate::api::names::ClusterName;
use std::collections::BTreeSet;

/// What stands for every cluster but the local one in a list of names.
pub(super) const ALL: &str = "*";

/// Reads a comma-separated list of cluster names. What can be no cluster's name is not one, but for `*` and for what
/// starts with `@`, which stands for the hub.
pub fn names(text: Option<&str>) -> BTreeSet<ClusterName> {
    let may_be = |w: &&str| ClusterName::may_be(w) || *w == ALL || w.starts_with('@');
    items(text).filter(may_be).map(ClusterName::new).collect()
}

/// The record of where content may exist, and how many words of it can be no cluster's name.
pub fn holds(text: Option<&str>) -> (BTreeSet<ClusterName>, usize) {
    let (names, rubbish): (Vec<&str>, Vec<&str>) = items(text).partition(|w| ClusterName::may_be(w));
    (names.into_iter().map(ClusterName::new).collect(), rubbish.len())
}

/// Writes a list of cluster names, sorted.
pub fn names_text(names: &BTreeSet<ClusterName>) -> String {
    names.iter().map(ClusterName::as_str).collect::<Vec<_>>().join(",")
}

/// What stands between the commas, without what is blank.
pub(super) fn items(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.unwrap_or_default().split(',').map(str::trim).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_without_rubbish_and_written_sorted() {
        for (text, named, held, rubbish) in
            [("", "", "", 0), (" b , a,,b ", "a,b", "a,b", 0), ("*,@local,UP,a", "*,@local,a", "a", 3)]
        {
            assert_eq!(names_text(&names(Some(text))), named, "{text:?}");
            let (holds, dropped) = holds(Some(text));
            assert_eq!((names_text(&holds).as_str(), dropped), (held, rubbish), "{text:?}");
        }
    }
}
