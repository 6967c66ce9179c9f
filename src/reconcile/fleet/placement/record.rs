//! What an instance remembers of its last decision, in one annotation.

use super::{names, names_text};
use crate::api::names::ClusterName;
use std::collections::BTreeSet;

/// Reads and writes as `<fingerprint of the words>/<placed>/<restored>/<gone>/<held>/<acknowledged>`; what is empty at the
/// end is left out. No cluster stands in two of the lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Fingerprint of the words; `None` before the first decision.
    pub words: Option<String>,
    /// The spokes that it is placed on. A loss is measured against these and those that are gone or held.
    pub placed: BTreeSet<ClusterName>,
    /// Whether it was placed on the local cluster, and what it made there was not taken away.
    pub local: bool,
    /// Spokes that are kept only because content was found there.
    pub restored: BTreeSet<ClusterName>,
    /// Lost since the words changed or a loss was acknowledged, and let go: they were few.
    pub gone: BTreeSet<ClusterName>,
    /// Lost, and kept until they are chosen again or somebody acknowledges.
    pub held: BTreeSet<ClusterName>,
    /// The token that was acknowledged last: it is spent.
    pub acknowledged: Option<String>,
}

/// What stands for the local cluster in the lists, whatever its Cluster is called.
pub(super) const LOCAL: &str = "@local";

impl Record {
    pub fn read(text: Option<&str>) -> Self {
        let mut parts = text.unwrap_or_default().split('/');
        let words = parts.next().filter(|w| !w.is_empty()).map(str::to_owned);
        let mut placed = names(parts.next());
        let (restored, gone, held) = (names(parts.next()), names(parts.next()), names(parts.next()));
        let acknowledged = parts.next().filter(|t| !t.is_empty()).map(str::to_owned);
        let mark = ClusterName::new(LOCAL);
        let local = placed.remove(&mark) || gone.contains(&mark) || held.contains(&mark);
        Self { words, placed, local, restored, gone, held, acknowledged }
    }

    pub fn text(&self) -> String {
        let mark = ClusterName::new(LOCAL);
        let mut placed = self.placed.clone();
        if self.local && !self.gone.contains(&mark) && !self.held.contains(&mark) {
            placed.insert(mark);
        }
        let mut parts = vec![self.words.clone().unwrap_or_default(), names_text(&placed)];
        parts.extend([&self.restored, &self.gone, &self.held].map(names_text));
        parts.extend(self.acknowledged.clone());
        while parts.len() > 2 && parts.last().is_some_and(String::is_empty) {
            parts.pop();
        }
        parts.join("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_reads_back() {
        let full = Record {
            words: Some("f".into()),
            placed: names(Some("a,b")),
            local: true,
            restored: names(Some("c")),
            gone: names(Some("d")),
            held: names(Some("e")),
            acknowledged: Some("0123abcd".into()),
        };
        let local_held = Record { held: names(Some("@local,e")), gone: BTreeSet::new(), ..full.clone() };
        for (record, text) in [
            (full, "f/@local,a,b/c/d/e/0123abcd"),
            (local_held, "f/a,b/c//@local,e/0123abcd"),
            (Record { words: Some("f".into()), placed: names(Some("a")), ..Record::default() }, "f/a"),
        ] {
            assert_eq!(record.text(), text);
            assert_eq!(Record::read(Some(text)), record);
        }
        assert_eq!(Record::read(None), Record::default());
    }
}
