//! What an instance remembers of its last decision, in one annotation.

use super::ground::{Ground, Names};
use super::guard::Verdict;
use super::losses::Losses;
use super::unmatched::{self, Recorded, Then, Unmatched, policies_text, read_policies};
use super::{names, names_text};
use crate::api::Object;
use crate::api::keys::hub;
use crate::api::names::ClusterName;
use crate::api::object::Document;
use crate::reconcile::policy::Effective;
use std::collections::{BTreeMap, BTreeSet};

/// Reads and writes as `<fingerprint of the words>/<placed>/<restored>/<gone>/<held>/<acknowledged>`; what is empty at the
/// end is left out. No cluster stands in two of the lists. Where a Placement chose, `/<Placements>/<unmatched>` follows, and
/// `<placed>` is `=` with its difference to what the holds say: a thousand names need not stand twice.
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
    /// Placements that chose clusters.
    pub policies: BTreeMap<String, Recorded>,
    /// Clusters that nothing chooses any more, kept for a while because a Placement let them go.
    pub unmatched: BTreeMap<ClusterName, Unmatched>,
}

/// What stands for the local cluster in the lists, whatever its Cluster is called.
pub const LOCAL: &str = "@local";

impl Record {
    /// What stands on the instance.
    pub fn on<D: Document>(instance: &Object<D>) -> Self {
        let holds = super::holds(instance.annotation(hub::HOLDS)).0;
        Self::read(instance.annotation(hub::DECIDED), &holds)
    }

    /// `holds` stand on the same instance.
    pub fn read(text: Option<&str>, holds: &Names) -> Self {
        let mut parts = text.unwrap_or_default().split('/');
        let words = parts.next().filter(|w| !w.is_empty()).map(str::to_owned);
        let placed_text = parts.next();
        let difference = placed_text.and_then(|text| text.strip_prefix('='));
        let mut placed = names(placed_text.filter(|_| difference.is_none()));
        let (restored, gone, held) = (names(parts.next()), names(parts.next()), names(parts.next()));
        let acknowledged = parts.next().filter(|t| !t.is_empty()).map(str::to_owned);
        let policies = read_policies(parts.next().unwrap_or_default());
        let unmatched = unmatched::read(parts.next().unwrap_or_default());
        let mark = ClusterName::new(LOCAL);
        let mut record = Self {
            words,
            local: false,
            restored,
            gone,
            held,
            acknowledged,
            policies,
            unmatched,
            placed: Names::new(),
        };
        if let Some(difference) = difference {
            let signed = |sign: char| {
                let words = difference.split(',').filter_map(move |word| word.strip_prefix(sign));
                names(Some(&words.collect::<Vec<_>>().join(",")))
            };
            placed = &(&record.implied(holds) | &signed('+')) - &signed('-');
        }
        let elsewhere = [&record.gone, &record.held].iter().any(|list| list.contains(&mark));
        record.local = placed.remove(&mark) || elsewhere || record.unmatched.contains_key(&mark);
        record.placed = placed;
        record
    }

    /// What is placed where these are held, if nothing else is said.
    fn implied(&self, holds: &Names) -> Names {
        let is_kept = |n: &&ClusterName| {
            let unmatched = self.unmatched.get(*n);
            unmatched.is_none_or(|u| matches!(u.then, Then::Replaced { .. }))
                && ![&self.restored, &self.gone, &self.held].iter().any(|list| list.contains(*n))
        };
        holds.iter().filter(is_kept).cloned().collect()
    }

    /// What to remember of a decision. `chosen` are the clusters as the record names them.
    pub(super) fn after(ground: &Ground, chosen: &Names, verdict: &Verdict) -> Self {
        let before = &ground.past.record;
        let words = ground.words.fingerprint();
        let mut record = Self { acknowledged: before.acknowledged.clone(), ..Self::default() };
        match verdict {
            Verdict::Edited => {
                record.words = Some(words);
                record.placed = chosen.clone();
            }
            Verdict::Acknowledged { token, fresh } => {
                record.words = Some(words);
                record.placed = chosen | fresh;
                record.acknowledged = Some(token.clone());
            }
            Verdict::Unreadable(losses) => {
                record.words = before.words.clone().or(Some(words));
                record.note(losses, chosen, &Names::new());
            }
            Verdict::Judged { losses, goes, .. } => {
                record.words = Some(words);
                record.note(losses, chosen, goes);
            }
        }
        let mark = ClusterName::new(LOCAL);
        // What ran on the hub was let go with the Cluster that stood for it, and stays on record as such.
        let left_on_hub = before.local && ground.own.is_none();
        let is_lost = record.gone.contains(&mark) || record.held.contains(&mark);
        record.policies = ground.policies_after(verdict);
        record.local = record.placed.remove(&mark) || left_on_hub || is_lost;
        record
    }

    fn note(&mut self, losses: &Losses, chosen: &Names, goes: &Names) {
        self.placed = &(&(&losses.placed | chosen) - &losses.held) - goes;
        self.gone = &losses.gone | goes;
        self.held = losses.held.clone();
        self.restored = losses.restored.clone();
    }

    /// What is kept unmatched is placed no more, and the Placements that let it go stay on record with it.
    pub(super) fn note_unmatched(&mut self, ground: &Ground) {
        let plain = |u: &&Unmatched| !matches!(u.then, Then::Replaced { .. });
        self.local |= self.unmatched.get(&ClusterName::new(LOCAL)).filter(plain).is_some();
        if !self.unmatched.is_empty() {
            for text in ground.gone_policies() {
                let before = ground.past.record.policies.get_key_value(text);
                self.policies.extend(before.map(|(text, r)| (text.clone(), r.clone())));
            }
        }
    }

    /// `holds` are written together with it.
    pub fn text(&self, holds: &Names) -> String {
        let mark = ClusterName::new(LOCAL);
        let mut placed = self.placed.clone();
        let elsewhere =
            self.gone.contains(&mark) || self.held.contains(&mark) || self.unmatched.contains_key(&mark);
        if self.local && !elsewhere {
            placed.insert(mark);
        }
        let is_plain = self.policies.is_empty() && self.unmatched.is_empty();
        let placed = if is_plain { names_text(&placed) } else { difference(&self.implied(holds), &placed) };
        let mut parts = vec![self.words.clone().unwrap_or_default(), placed];
        parts.extend([&self.restored, &self.gone, &self.held].map(names_text));
        parts.push(self.acknowledged.clone().unwrap_or_default());
        parts.push(policies_text(&self.policies));
        parts.push(unmatched::text(&self.unmatched));
        while parts.len() > 2 && parts.last().is_some_and(String::is_empty) {
            parts.pop();
        }
        parts.join("/")
    }
}

/// `=+a,-b`: what the second has and lacks against the first.
fn difference(implied: &Names, placed: &Names) -> String {
    let more = placed.difference(implied).map(|n| format!("+{n}"));
    let less = implied.difference(placed).map(|n| format!("-{n}"));
    format!("={}", more.chain(less).collect::<Vec<_>>().join(","))
}

impl Ground<'_> {
    /// The Placements to record. One that is gone stays while clusters are kept for it; one that cannot be read stays as
    /// it was.
    fn policies_after(&self, verdict: &Verdict) -> BTreeMap<String, Recorded> {
        let before = &self.past.record.policies;
        if matches!(verdict, Verdict::Unreadable(_)) {
            return before.clone();
        }
        let Some(said) = self.said else { return BTreeMap::new() };
        let recorded =
            |p: &Effective| Recorded { hash: p.hash.clone(), on_unmatch: p.on_unmatch, grace: p.grace };
        let mut policies: BTreeMap<String, Recorded> =
            said.placing().map(|(p, _)| (p.name.recorded(), recorded(p))).collect();
        if !verdict.kept().is_empty() {
            for text in self.gone_policies() {
                policies.extend(before.get_key_value(text).map(|(text, r)| (text.clone(), r.clone())));
            }
        }
        policies
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClusterView, DefaultPlacement, Past, Words};
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
            ..Record::default()
        };
        let local_held = Record { held: names(Some("@local,e")), gone: BTreeSet::new(), ..full.clone() };
        for (record, text) in [
            (full, "f/@local,a,b/c/d/e/0123abcd"),
            (local_held, "f/a,b/c//@local,e/0123abcd"),
            (Record { words: Some("f".into()), placed: names(Some("a")), ..Record::default() }, "f/a"),
        ] {
            assert_eq!(record.text(&Names::new()), text);
            assert_eq!(Record::read(Some(text), &Names::new()), record);
        }
        assert_eq!(Record::read(None, &Names::new()), Record::default());
    }

    #[test]
    fn what_is_remembered_follows_the_verdict() {
        let words = Words { clusters: Some("a".into()), selector: None };
        let print = words.fingerprint();
        let lists = |[placed, fresh, gone, held, restored]: [&str; 5]| Losses {
            placed: names(Some(placed)),
            fresh: names(Some(fresh)),
            gone: names(Some(gone)),
            held: names(Some(held)),
            restored: names(Some(restored)),
        };
        let few = || lists(["a,b", "b", "c", "", ""]);
        let many = || lists(["a,b", "", "", "b", "r"]);
        let local = || lists(["@local,a", "", "", "@local", ""]);
        let judged = |losses, goes: &str| Verdict::Judged { losses, goes: names(Some(goes)), held: None };
        let agreed = Verdict::Acknowledged { token: "t2".into(), fresh: names(Some("b")) };
        // The record before and whether a Cluster stands for the hub; what is chosen; the record after.
        for (before, has_own, chosen, verdict, want) in [
            ("", true, "a", Verdict::Edited, "P/a"),
            ("old/x/r/g/h/t", true, "@local,a", Verdict::Edited, "P/@local,a////t"),
            ("old/@local", false, "a", Verdict::Edited, "P/@local,a"),
            ("P/a,b/r///t", true, "a", agreed, "P/a,b////t2"),
            ("P/a,b//c", true, "a", judged(few(), ""), "P/a,b//c"),
            ("P/a,b//c", true, "a", judged(few(), "b"), "P/a//b,c"),
            ("P/a,b", true, "a,n", judged(many(), ""), "P/a,n/r//b"),
            ("P/@local,a", true, "a", judged(local(), ""), "P/a///@local"),
            ("old/a,b", true, "a", Verdict::Unreadable(few()), "old/a,b//c"),
            ("", true, "", Verdict::Unreadable(Losses::default()), "P/"),
        ] {
            let view = ClusterView { local: true, ..ClusterView::default() };
            let clusters = has_own.then(|| (ClusterName::new("hub"), view)).into_iter().collect();
            let before = before.replace('P', &print);
            let past = Past { record: Record::read(Some(&before), &Names::new()), ..Past::default() };
            let ground = Ground::of(&words, "n", &clusters, &past, DefaultPlacement::Local);
            let record = Record::after(&ground, &names(Some(chosen)), &verdict);
            assert_eq!(record.text(&Names::new()), want.replace('P', &print), "{before} {verdict:?}");
        }
    }
}
