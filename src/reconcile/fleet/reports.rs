//! Where an instance is on more clusters than its status lists, the rest stands in InstanceReports, of up to a hundred
//! clusters each.
//!
//! A cluster stays in its report, and a new one fills the first gap: so what changes on k clusters changes at most k
//! reports. Clusters that stand alike share an entry, so that one where all is well costs its name. What stands in the
//! reports on the hub is heard, not assumed: after a restart nothing is written where nothing changed.

use super::aggregate::runs::graph_print;
use super::aggregate::{Before, ClusterLine, Lines, Since, Standing};
use crate::api::names::{ClusterName, InstanceKey};
use crate::api::{hash, text};
use crate::reconcile::{Moment, Now, Retry};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Clusters of one report.
pub const MEMBERS: usize = 100;
/// No instance has more reports. A number beyond it is nobody's of ours.
const MOST: usize = 10_000;
/// What is under way is written when it lasts longer.
const UNDER_WAY: Duration = Duration::from_secs(3);
/// Bytes of an instance's name in those of its reports.
const NAME: usize = 220;

/// A report that is to be on the hub with this content, or not to be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub index: usize,
    pub name: String,
    pub report: Option<Value>,
}

/// The name of a report. Two kinds may have instances of one name.
pub fn name(key: &InstanceKey, index: usize) -> String {
    let cut = text::head(&key.name, NAME).trim_end_matches(['.', '-']);
    format!("{cut}-{:08x}-{index}", hash::fnv32(&key.to_string()))
}

/// What an entry says of each of its clusters.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    print: u64,
    since: Arc<str>,
    /// As it is written, but for the names.
    entry: Value,
}

impl Group {
    fn state(&self) -> &str {
        self.entry.get("state").and_then(Value::as_str).unwrap_or_default()
    }
}

/// What is to be said of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    print: u64,
    since: Arc<str>,
    /// It is on the way to something else, without anybody's help.
    moves: bool,
}

#[derive(Clone, Debug)]
struct Member {
    index: usize,
    now: Option<Shown>,
    stands: Option<Arc<Group>>,
}

impl Member {
    /// Whether the report says something else. The clusters of an entry share the latest of their times.
    fn is_off(&self) -> bool {
        match (&self.now, &self.stands) {
            (Some(now), Some(stands)) => now.print != stands.print || now.since > stands.since,
            _ => true,
        }
    }
    fn moves(&self) -> bool {
        self.now.as_ref().is_some_and(|now| now.moves)
    }
}

#[derive(Clone, Debug, Default)]
struct Report {
    members: usize,
    /// Of these, those of which it says something else.
    off: usize,
    moving: usize,
    /// How many clusters it names; `None` where there is none.
    stands: Option<usize>,
    /// Since when it says something else.
    off_since: Option<Moment>,
    busy: bool,
    retry: Retry,
    last_write: Option<Moment>,
    /// Bytes of what was written last.
    size: usize,
}

impl Report {
    fn count(&mut self, member: &Member, add: bool) {
        let step = |n: &mut usize, counts: bool| match (counts, add) {
            (false, _) => {}
            (true, true) => *n += 1,
            (true, false) => *n = n.saturating_sub(1),
        };
        step(&mut self.members, true);
        step(&mut self.off, member.is_off());
        step(&mut self.moving, member.moves());
    }

    fn is_off(&self) -> bool {
        match self.members {
            0 => self.stands.is_some(),
            members => self.off > 0 || self.stands != Some(members),
        }
    }

    /// The first change at once, others at most once a second, and a second more for each 16 KiB.
    fn due(&self, since: Moment) -> Moment {
        let pause = Duration::from_secs(1 + self.size as u64 / (16 << 10));
        let after_last = self.last_write.map_or(Moment::START, |at| at.after(pause));
        let patient = if self.moving > 0 { since.after(UNDER_WAY) } else { Moment::START };
        [Some(after_last), Some(patient), self.retry.at()]
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(Moment::START)
    }
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Reports {
    members: BTreeMap<ClusterName, Member>,
    list: Vec<Report>,
    /// The clusters of the instance are in it; before, only what stands on the hub is.
    taken: bool,
}

impl Reports {
    /// What stands in a report on the hub, or that there is none; whether that is news.
    pub fn stands(&mut self, key: &InstanceKey, index: usize, report: Option<&Value>) -> bool {
        if index >= MOST || (report.is_none() && index >= self.list.len()) {
            return false;
        }
        if index >= self.list.len() {
            self.list.resize_with(index + 1, Report::default);
        }
        let mut groups: BTreeMap<ClusterName, Arc<Group>> = BTreeMap::new();
        let mut named = report.map(|report| usize::from(!is_ours(report, key, index)) * (MEMBERS + 1));
        for (group, names) in report.into_iter().flat_map(groups_of) {
            named = named.map(|n| n + names.len());
            groups.extend(names.into_iter().map(|name| (name, group.clone())));
        }
        let before = self.list.get_mut(index).map(|known| std::mem::replace(&mut known.stands, named));
        let mut news = before != Some(named);
        let own: Vec<ClusterName> =
            self.members.iter().filter(|(_, m)| m.index == index).map(|(name, _)| name.clone()).collect();
        for name in own {
            let group = groups.remove(&name);
            news |= self.change(&name, |member| {
                let same = member.stands == group;
                member.stands = group;
                !same
            });
        }
        // Those of another report, and those that are nobody's any more, make it say too much.
        let strangers: Vec<(ClusterName, Arc<Group>)> =
            groups.into_iter().filter(|(name, _)| !self.taken && !self.members.contains_key(name)).collect();
        for (name, group) in strangers {
            self.add(name, Member { index, now: None, stands: Some(group) });
        }
        news
    }

    /// How a write ended. Of one that succeeded, what stands now.
    pub fn written(
        &mut self,
        key: &InstanceKey,
        index: usize,
        result: Result<Option<&Value>, ()>,
        now: &Now,
    ) {
        if let Some(report) = self.list.get_mut(index) {
            report.busy = false;
            report.retry.outcome(result.is_ok(), now);
        }
        if let Ok(stands) = result {
            self.stands(key, index, stands);
        }
    }

    /// Since when a cluster is in a state, and by which graph it ran, as far as a report says so.
    pub fn before(&self, name: &ClusterName) -> Option<Before> {
        let group = self.members.get(name)?.stands.as_ref()?;
        let since = Since { state: group.state().to_owned().into(), since: group.since.clone() };
        let revision = group.entry.get("revision").and_then(Value::as_str).unwrap_or_default();
        Some(Before { since, runs: graph_print(revision) })
    }

    /// What a report says of a cluster.
    pub fn entry(&self, name: &ClusterName) -> Option<&Value> {
        Some(&self.members.get(name)?.stands.as_ref()?.entry)
    }

    /// Takes in what is new of the lines; `most`: so many the status lists by itself.
    pub fn take(&mut self, lines: &mut Lines, most: usize) {
        let news = lines.take_news();
        if lines.len() <= most {
            self.clear();
            return;
        }
        let is_new = !std::mem::replace(&mut self.taken, true);
        if is_new || news.membership {
            self.enlist(lines);
        }
        if is_new {
            for (line, since) in lines.dated() {
                self.show(line, since);
            }
        } else {
            for name in &news.names {
                if let Some((line, since)) = lines.dated_of(name) {
                    self.show(line, since);
                }
            }
        }
    }

    fn clear(&mut self) {
        if self.taken || !self.members.is_empty() {
            self.members.clear();
            for report in &mut self.list {
                (report.members, report.off, report.moving) = (0, 0, 0);
            }
            self.taken = false;
        }
    }

    /// Who is placed no more leaves its report, and who is new fills the first gap.
    fn enlist(&mut self, lines: &Lines) {
        let names: BTreeSet<&ClusterName> = lines.iter().map(|line| &line.name).collect();
        let gone: Vec<ClusterName> =
            self.members.keys().filter(|name| !names.contains(name)).cloned().collect();
        for name in gone {
            if let Some(member) = self.members.remove(&name)
                && let Some(report) = self.list.get_mut(member.index)
            {
                report.count(&member, false);
            }
        }
        let mut index = 0;
        for name in names {
            if self.members.contains_key(name) {
                continue;
            }
            while self.list.get(index).is_some_and(|report| report.members >= MEMBERS) {
                index += 1;
            }
            if index >= self.list.len() {
                self.list.push(Report::default());
            }
            self.add(name.clone(), Member { index, now: None, stands: None });
        }
    }

    fn add(&mut self, name: ClusterName, member: Member) {
        if let Some(report) = self.list.get_mut(member.index) {
            report.count(&member, true);
        }
        self.members.insert(name, member);
    }

    fn show(&mut self, line: &ClusterLine, since: &Arc<str>) {
        let shown = Shown { print: print_of(&body(line)), since: since.clone(), moves: moves(line) };
        self.change(&line.name, |member| member.now.replace(shown).is_some());
    }

    fn change(&mut self, name: &ClusterName, change: impl FnOnce(&mut Member) -> bool) -> bool {
        let Some(member) = self.members.get_mut(name) else { return false };
        let Some(report) = self.list.get_mut(member.index) else { return false };
        report.count(member, false);
        let changed = change(member);
        report.count(member, true);
        changed
    }

    /// What is to be written now, and when to look again.
    pub fn due(&mut self, key: &InstanceKey, lines: &Lines, now: &Now) -> (Vec<Write>, Option<Moment>) {
        let (mut writes, mut wake) = (Vec::new(), None);
        for index in 0..self.list.len() {
            let Some(report) = self.list.get_mut(index) else { continue };
            if !report.is_off() {
                report.off_since = None;
                continue;
            }
            let since = *report.off_since.get_or_insert(now.at);
            let due = report.due(since);
            if report.busy {
                continue;
            }
            if due > now.at {
                wake = wake.into_iter().chain([due]).min();
                continue;
            }
            let (members, name) = (report.members, name(key, index));
            let content = (members > 0).then(|| self.report(key, index, lines));
            let Some(report) = self.list.get_mut(index) else { continue };
            report.busy = true;
            report.last_write = Some(now.at);
            report.size = content.as_ref().map_or(0, |content| content.to_string().len());
            writes.push(Write { index, name, report: content });
        }
        while self.list.last().is_some_and(|r| r.members == 0 && r.stands.is_none() && !r.busy) {
            self.list.pop();
        }
        (writes, wake)
    }

    /// What a report is to say: the worst first, then by name.
    fn report(&self, key: &InstanceKey, index: usize, lines: &Lines) -> Value {
        let mut groups: BTreeMap<(Standing, u64), (Value, Vec<&str>, &str)> = BTreeMap::new();
        let (mut count, mut ready) = (0, 0);
        for (name, _) in self.members.iter().filter(|(_, member)| member.index == index) {
            let Some((line, since)) = lines.dated_of(name) else { continue };
            count += 1;
            ready += usize::from(line.standing() == Standing::Ready);
            let value = body(line);
            let (_, names, latest) =
                groups.entry((line.standing(), print_of(&value))).or_insert_with(|| (value, Vec::new(), ""));
            names.push(name.as_str());
            *latest = (*latest).max(since);
        }
        let mut groups: Vec<_> = groups.into_iter().map(|((standing, _), group)| (standing, group)).collect();
        groups.sort_by(|(a, (_, x, _)), (b, (_, y, _))| (a, x).cmp(&(b, y)));
        let entry = |(_, (mut value, names, since)): (Standing, (Value, Vec<&str>, &str))| {
            value["clusters"] = json!(names);
            value["since"] = json!(since);
            value
        };
        let entries: Vec<Value> = groups.into_iter().map(entry).collect();
        json!({"instance": instance_of(key), "index": index, "clusters": count, "ready": ready, "entries": entries})
    }

    #[cfg(test)]
    pub fn kept(&self) -> String {
        let Self { members, list, taken } = self;
        let list: Vec<_> =
            list.iter().map(|r| (r.members, r.off, r.moving, r.stands, r.off_since, r.busy)).collect();
        format!("{members:?} {list:?} {taken}")
    }
}

/// What a line says, but for whose it is and since when.
fn body(line: &ClusterLine) -> Value {
    let mut value = line.value("");
    if let Some(fields) = value.as_object_mut() {
        fields.remove("name");
        fields.remove("since");
    }
    value
}

fn print_of(body: &Value) -> u64 {
    hash::json(body)
}

fn moves(line: &ClusterLine) -> bool {
    line.standing() == Standing::Progressing && line.is_under_way()
}

/// The entries of a report, each with its clusters.
fn groups_of(report: &Value) -> impl Iterator<Item = (Arc<Group>, Vec<ClusterName>)> {
    let entries = report.get("entries").and_then(Value::as_array).into_iter().flatten();
    entries.map(|entry| {
        let since = entry.get("since").and_then(Value::as_str).unwrap_or_default();
        let names = entry.get("clusters").and_then(Value::as_array).into_iter().flatten();
        let names = names.filter_map(Value::as_str).map(ClusterName::new).collect();
        let mut entry = entry.clone();
        if let Some(fields) = entry.as_object_mut() {
            fields.remove("clusters");
        }
        let mut body = entry.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.remove("since");
        }
        let group = Group { print: print_of(&body), since: since.into(), entry };
        (Arc::new(group), names)
    })
}

fn instance_of(key: &InstanceKey) -> Value {
    json!({"group": *key.gk.group, "kind": *key.gk.kind, "name": *key.name})
}

/// Whether what a report says of itself is as we write it.
fn is_ours(report: &Value, key: &InstanceKey, index: usize) -> bool {
    let number = |field: &str| report.get(field).and_then(Value::as_u64);
    let (mut count, mut ready) = (0, 0);
    for (group, names) in groups_of(report) {
        count += names.len() as u64;
        ready += if group.state() == "ACTIVE" { names.len() as u64 } else { 0 };
    }
    report.get("instance") == Some(&instance_of(key))
        && number("index") == Some(index as u64)
        && number("clusters") == Some(count)
        && number("ready") == Some(ready)
        && count <= MEMBERS as u64
}
