//! All lines of an instance with what they add up to. When one of them changes, that one is counted anew.

use super::conditions::{Dependent, said_by};
use super::line::{ClusterLine, Ground, Since, Standing};
use super::runs::{GraphPrint, Runs, graph_print};
use super::{MAX_ENTRIES, MAX_PROBLEMS};
use crate::api::condition::ConditionStatus;
use crate::api::hash;
use crate::api::names::ClusterName;
use crate::reconcile::spoke::Report;
use serde_json::{Map, Value};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one line adds to the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marks {
    standing: Standing,
    /// What each of kro's conditions says there.
    says: [Option<ConditionStatus>; Dependent::ALL.len()],
    is_unheard: bool,
    is_under_way: bool,
    has_begun: bool,
}

impl Marks {
    fn of(line: &ClusterLine) -> Self {
        Self {
            standing: line.standing(),
            says: Dependent::ALL.map(|d| (!line.aside).then(|| said_by(line, d.as_str(), Some(d)).status)),
            is_unheard: line.is_unheard(),
            is_under_way: line.is_under_way(),
            has_begun: line.has_begun(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Kept {
    line: ClusterLine,
    marks: Marks,
    since: Since,
    /// By which graph it ran when somebody said so last; `None` while nobody did.
    runs: Option<GraphPrint>,
    /// Of the line as the status shows it; `None` before it is known since when it is so.
    print: Option<u64>,
}

/// How many lines are how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    standing: [usize; 5],
    says: [[usize; 3]; Dependent::ALL.len()],
    unheard: usize,
    /// Of these, for what lives on the hub.
    unheard_on_hub: usize,
    not_under_way: usize,
    begun: usize,
    undated: usize,
}

impl Tally {
    /// Counts a line, or takes it out of the count.
    fn count(&mut self, kept: &Kept, add: bool) {
        let step = |n: &mut usize, counts: bool| match (counts, add) {
            (false, _) => {}
            (true, true) => *n += 1,
            (true, false) => *n -= 1,
        };
        let marks = &kept.marks;
        step(&mut self.standing[marks.standing as usize], true);
        for (says, status) in self.says.iter_mut().zip(marks.says) {
            if let Some(status) = status {
                step(&mut says[status as usize], true);
            }
        }
        step(&mut self.unheard, marks.is_unheard);
        step(&mut self.unheard_on_hub, marks.is_unheard && kept.line.hub_part);
        step(&mut self.not_under_way, !marks.is_under_way);
        step(&mut self.begun, marks.has_begun);
        step(&mut self.undated, kept.print.is_none());
    }
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(in super::super) struct Lines {
    /// By ground and name.
    list: Vec<Kept>,
    tally: Tally,
    runs: Runs,
    /// The author's fields that all clusters agree on.
    agreed: OnceCell<Map<String, Value>>,
    /// Changes with what `kro.clusters` shows.
    version: u64,
    news: LineNews,
}

/// What is new since somebody asked last.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct LineNews {
    /// There are other clusters than before.
    pub membership: bool,
    /// Whose lines may read otherwise than before. Of few lines, nobody asks.
    pub names: Vec<ClusterName>,
}

impl Lines {
    /// All of them anew, in the order of grounds and names. What did not change stays as it was counted.
    pub fn replace(&mut self, lines: impl IntoIterator<Item = ClusterLine>) {
        let before = std::mem::take(&mut self.list);
        let mut before: BTreeMap<ClusterName, Kept> =
            before.into_iter().map(|kept| (kept.line.name.clone(), kept)).collect();
        let (mut changed, mut list) = (false, Vec::with_capacity(before.len()));
        for line in lines {
            match before.remove(&line.name) {
                Some(kept) if kept.line == line && kept.print.is_some() => list.push(kept),
                known => {
                    changed = true;
                    self.news.membership |= known.is_none();
                    let (since, runs) = known.map(|kept| (kept.since, kept.runs)).unwrap_or_default();
                    let runs = runs_by(&line, runs);
                    list.push(Kept { marks: Marks::of(&line), line, since, runs, print: None });
                }
            }
        }
        changed |= !before.is_empty();
        self.news.membership |= !before.is_empty();
        self.list = list;
        self.list.shrink_to_fit();
        self.tally = Tally::default();
        self.runs = Runs::default();
        for kept in &self.list {
            self.tally.count(kept, true);
            self.runs.extend(kept.runs);
        }
        if changed {
            self.agreed = OnceCell::new();
            self.version += 1;
        }
    }

    /// One of those that are placed anew; whether it changed.
    pub fn set(&mut self, line: ClusterLine) -> bool {
        let Some(kept) = self.position(&line.name).and_then(|at| self.list.get_mut(at)) else { return false };
        if kept.line == line {
            return false;
        }
        self.tally.count(kept, false);
        if kept.line.report.as_ref().map(|r| &r.fields) != line.report.as_ref().map(|r| &r.fields) {
            self.agreed = OnceCell::new();
        }
        self.version += 1;
        kept.marks = Marks::of(&line);
        let runs = runs_by(&line, kept.runs);
        if runs != kept.runs {
            self.runs.replace(kept.runs, runs);
            kept.runs = runs;
        }
        kept.line = line;
        kept.print = None;
        self.tally.count(kept, true);
        true
    }

    fn position(&self, name: &ClusterName) -> Option<usize> {
        let place = (Ground::Placed, name);
        self.list.binary_search_by(|kept| (kept.line.ground, &kept.line.name).cmp(&place)).ok()
    }

    /// Whether the cluster has a line.
    pub fn has(&self, name: &ClusterName) -> bool {
        let others = self.list.iter().rev().take_while(|kept| kept.line.ground != Ground::Placed);
        self.position(name).is_some() || others.into_iter().any(|kept| kept.line.name == *name)
    }

    /// The line of a cluster that is placed.
    pub fn get(&self, name: &ClusterName) -> Option<&ClusterLine> {
        self.position(name).and_then(|at| self.list.get(at)).map(|kept| &kept.line)
    }

    /// Since when each is as it is. What nobody knows here, the status says that was written before a restart, or what
    /// was reported beside it.
    pub fn date(
        &mut self,
        now: &str,
        status: Option<&Value>,
        reported: impl Fn(&ClusterName) -> Option<Before>,
    ) {
        if self.tally.undated == 0 {
            return;
        }
        let now: Arc<str> = now.into();
        let written = OnceCell::new();
        let many = self.list.len() > MAX_ENTRIES;
        for kept in self.list.iter_mut().filter(|kept| kept.print.is_none()) {
            let is_new = kept.since == Since::default();
            let name = &kept.line.name;
            let in_status = || written.get_or_init(|| Written::of(status)).of_cluster(name);
            let written = is_new.then(|| in_status().or_else(|| reported(name)));
            let known = match written {
                Some(before) => {
                    // Of whom nobody heard in this life, the one before knew.
                    let ran = before.as_ref().and_then(|before| before.runs).filter(|_| kept.runs.is_none());
                    if ran.is_some() {
                        self.runs.replace(None, ran);
                        kept.runs = ran;
                    }
                    before.map(|before| before.since)
                }
                None => Some(kept.since.clone()),
            };
            kept.since = kept.line.since(known.as_ref(), &now);
            kept.print = Some(hash::json(&kept.line.value(&kept.since.since)));
            self.news.names.extend(many.then(|| kept.line.name.clone()));
        }
        self.tally.undated = 0;
    }

    /// What was worked out of them is forgotten.
    #[cfg(test)]
    pub fn forget(&mut self) {
        self.list.iter_mut().for_each(|kept| kept.print = None);
        self.tally.undated = self.list.len();
        self.agreed = OnceCell::new();
    }

    #[cfg(test)]
    pub fn kept(&self) -> String {
        // Prints are made when the status is looked at, which may not have come yet.
        let list: Vec<_> = self.list.iter().map(|kept| (&kept.line, &kept.marks, &kept.since)).collect();
        let tally = Tally { undated: 0, ..self.tally.clone() };
        format!("{list:?} {tally:?} {:?}", self.agreed())
    }

    /// By which graphs it runs.
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// What is new since this was asked last.
    pub fn take_news(&mut self) -> LineNews {
        std::mem::take(&mut self.news)
    }
    /// Whether it is known of each since when it is so.
    pub fn are_dated(&self) -> bool {
        self.tally.undated == 0
    }
    /// A line, whatever its ground, with since when it is so.
    pub fn dated_of(&self, name: &ClusterName) -> Option<(&ClusterLine, &Arc<str>)> {
        let others = self.list.iter().rev().take_while(|kept| kept.line.ground != Ground::Placed);
        let placed = self.position(name).and_then(|at| self.list.get(at));
        let kept = placed.or_else(|| others.into_iter().find(|kept| kept.line.name == *name))?;
        Some((&kept.line, &kept.since.since))
    }

    pub fn version(&self) -> u64 {
        self.version
    }
    pub fn len(&self) -> usize {
        self.list.len()
    }
    /// How many there are that count.
    pub(super) fn counted(&self) -> usize {
        self.list.len() - self.count(Standing::Aside)
    }
    pub fn iter(&self) -> impl Iterator<Item = &ClusterLine> {
        self.list.iter().map(|kept| &kept.line)
    }
    pub fn dated(&self) -> impl Iterator<Item = (&ClusterLine, &Arc<str>)> {
        self.list.iter().map(|kept| (&kept.line, &kept.since.since))
    }
    pub(super) fn count(&self, standing: Standing) -> usize {
        self.tally.standing[standing as usize]
    }
    /// Whether something is awaited of a cluster that may be fine. `deleting`: the part on the hub is asked to go only when
    /// nothing reads it any more.
    pub fn any_unheard(&self, deleting: bool) -> bool {
        self.tally.unheard > if deleting { self.tally.unheard_on_hub } else { 0 }
    }
    pub fn all_under_way(&self) -> bool {
        self.tally.not_under_way == 0
    }
    pub fn any_begun(&self) -> bool {
        self.tally.begun > 0
    }

    /// How many say so of one of kro's conditions, and the first few of them.
    pub(super) fn saying(
        &self,
        dependent: Dependent,
        status: ConditionStatus,
        few: usize,
    ) -> (usize, Vec<&ClusterLine>) {
        let n = dependent as usize;
        let count = self.tally.says[n][status as usize];
        let these = self.list.iter().filter(|kept| kept.marks.says[n] == Some(status)).map(|kept| &kept.line);
        (count, these.take(few.min(count)).collect())
    }

    /// The author's fields that all clusters say alike.
    pub(super) fn agreed(&self) -> &Map<String, Value> {
        self.agreed.get_or_init(|| {
            let tellers = || self.iter().filter(|line| !line.hub_part && !line.aside);
            let mut reports = tellers().filter_map(|line| line.report.as_ref());
            let Some(first) = reports.next() else { return Map::new() };
            if tellers().any(|line| line.report.is_none()) {
                return Map::new();
            }
            let alike = |report: &&Arc<Report>| Arc::ptr_eq(report, first) || report.fields == first.fields;
            let others: Vec<&Arc<Report>> = reports.filter(|report| !alike(report)).collect();
            let agreed = |(k, v): &(&String, &Value)| {
                *k != "fleet" && others.iter().all(|report| report.fields.get(*k) == Some(*v))
            };
            first.fields.iter().filter(agreed).map(|(k, v)| (k.clone(), v.clone())).collect()
        })
    }

    /// Those that the status shows: the worst first, then by name. Of many, those where something is not well yet.
    fn window(&self) -> Vec<&Kept> {
        let (most, standings) = match self.list.len() {
            0..=MAX_ENTRIES => (MAX_ENTRIES, Standing::ALL.as_slice()),
            _ => (MAX_PROBLEMS, Standing::NOT_READY.as_slice()),
        };
        let mixed = self.list.last().is_some_and(|kept| kept.line.ground != Ground::Placed);
        let mut shown: Vec<&Kept> = Vec::with_capacity(most.min(self.list.len()));
        for standing in standings.iter().copied() {
            let room = most - shown.len();
            if room == 0 || self.count(standing) == 0 {
                continue;
            }
            let these = self.list.iter().filter(|kept| kept.marks.standing == standing);
            if mixed {
                let mut these: Vec<&Kept> = these.collect();
                these.sort_by(|a, b| a.line.name.cmp(&b.line.name));
                shown.extend(these.into_iter().take(room));
            } else {
                shown.extend(these.take(room.min(self.count(standing))));
            }
        }
        shown
    }

    pub(super) fn shown(&self) -> Vec<Value> {
        self.window().into_iter().map(|kept| kept.line.value(&kept.since.since)).collect()
    }

    /// Whether exactly these are shown, by their prints.
    pub(super) fn are_shown(&self, prints: &[u64]) -> bool {
        let window = self.window();
        window.len() == prints.len()
            && window.iter().zip(prints).all(|(kept, print)| kept.print == Some(*print))
    }
}

/// What was written of a cluster before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Before {
    pub since: Since,
    pub runs: Option<GraphPrint>,
}

/// The graph that the cluster says it runs by. While it says nothing, what it ran `before` counts; where the instance is
/// not to be any more, nothing does.
fn runs_by(line: &ClusterLine, before: Option<GraphPrint>) -> Option<GraphPrint> {
    let said = || graph_print(&line.report.as_ref()?.revision);
    (line.ground == Ground::Placed).then(|| said().or(before)).flatten()
}

/// The lines that stand in a status.
struct Written<'a>(BTreeMap<&'a str, (&'a str, &'a str, &'a str)>);

impl<'a> Written<'a> {
    fn of(status: Option<&'a Value>) -> Self {
        let list = status.and_then(|s| s.pointer("/fleet/clusters")).and_then(Value::as_array);
        let line = |line: &'a Value| {
            let text = |field| line.get(field).and_then(Value::as_str);
            Some((text("name")?, (text("state")?, text("since")?, text("revision").unwrap_or_default())))
        };
        Self(list.into_iter().flatten().filter_map(line).collect())
    }

    fn of_cluster(&self, name: &ClusterName) -> Option<Before> {
        let (state, since, revision) = *self.0.get(name.as_str())?;
        let since = Since { state: state.to_owned().into(), since: since.into() };
        Some(Before { since, runs: graph_print(revision) })
    }
}

/// Prints of the lines that a status shows.
pub(super) fn prints(status: &Value) -> Vec<u64> {
    let list = status.pointer("/fleet/clusters").and_then(Value::as_array);
    list.into_iter().flatten().map(hash::json).collect()
}
