//! Pairs that nothing chooses any more and that are kept for a while, because a Placement let them go: until its grace is
//! over, or until what replaces a lost cluster is ACTIVE.

use super::ground::{Ground, Names};
use super::policies::{Reach, Taken};
use super::record::{LOCAL, Record};
use crate::api::amounts::Span;
use crate::api::names::ClusterName;
use crate::api::placement::OnUnmatch;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub struct Unmatched {
    /// In seconds of Unix: when it goes; of one that was replaced, since when.
    pub at: i64,
    pub then: Then,
    /// How long it was to be kept, as was said when nothing chose it any more.
    pub grace: Span,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Then {
    Delete,
    Orphan,
    /// There was no contact. It goes once there is, and the instance is ACTIVE on the other.
    Replaced {
        by: ClusterName,
        on_unmatch: OnUnmatch,
    },
}

impl Unmatched {
    /// Whether its grace is over.
    pub(super) fn is_over(&self, now: i64) -> bool {
        matches!(self.then, Then::Delete | Then::Orphan) && self.at <= now
    }

    /// What is said of the pair; `refused` is why the cluster is not taken.
    pub(super) fn message(&self, refused: Option<&str>) -> String {
        let why = refused.unwrap_or("no placement chooses it");
        let grace = if self.grace.is_zero() { String::new() } else { format!(", grace {}", self.grace) };
        match &self.then {
            Then::Delete => format!("{why}; deleted at {} (Delete{grace})", time(self.at)),
            Then::Orphan => format!("{why}; left as it is at {} (Orphan{grace})", time(self.at)),
            Then::Replaced { by, on_unmatch } => {
                let then = if *on_unmatch == OnUnmatch::Orphan { "left as it is" } else { "deleted" };
                format!(
                    "no contact since {}; replaced by {by}; {then} once it is back and {by} is ACTIVE",
                    time(self.at)
                )
            }
        }
    }
}

fn time(at: i64) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| "an unknown time".to_owned(), |time| time.to_string())
}

/// What a Placement said when it was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub hash: String,
    pub on_unmatch: OnUnmatch,
    pub grace: Span,
}

fn letter(on_unmatch: OnUnmatch) -> char {
    match on_unmatch {
        OnUnmatch::Delete => 'D',
        OnUnmatch::Orphan => 'O',
    }
}

fn of_letter(text: &str) -> Option<OnUnmatch> {
    match text {
        "D" => Some(OnUnmatch::Delete),
        "O" => Some(OnUnmatch::Orphan),
        _ => None,
    }
}

/// `web:0123abcd:D:600,@base:...`
pub(super) fn read_policies(text: &str) -> BTreeMap<String, Recorded> {
    let one = |text: &str| {
        let mut parts = text.split(':');
        let name = parts.next().filter(|n| ClusterName::may_be(n.strip_prefix('@').unwrap_or(n)))?;
        let hash = parts.next()?.to_owned();
        let on_unmatch = of_letter(parts.next()?)?;
        let grace = Span(parts.next()?.parse().ok()?);
        Some((name.to_owned(), Recorded { hash, on_unmatch, grace }))
    };
    text.split(',').filter_map(one).collect()
}

pub(super) fn policies_text(policies: &BTreeMap<String, Recorded>) -> String {
    let one =
        |(name, r): (&String, &Recorded)| format!("{name}:{}:{}:{}", r.hash, letter(r.on_unmatch), r.grace.0);
    policies.iter().map(one).collect::<Vec<_>>().join(",")
}

/// `1796000000:D600:a+b,1796000000:RDc:lost`
pub(super) fn read(text: &str) -> BTreeMap<ClusterName, Unmatched> {
    let mut all = BTreeMap::new();
    for entry in text.split(',') {
        let mut parts = entry.split(':');
        let (Some(at), Some(then), Some(list)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (Ok(at), Some((then, grace))) = (at.parse::<i64>(), read_then(then)) else { continue };
        for name in list.split('+').filter(|n| *n == LOCAL || ClusterName::may_be(n)) {
            all.insert(ClusterName::new(name), Unmatched { at, then: then.clone(), grace });
        }
    }
    all
}

/// `D`, `O600`, `RDc`: what becomes of it, and the grace in seconds where there is one.
fn read_then(text: &str) -> Option<(Then, Span)> {
    let (letter, rest) = text.split_at_checked(1)?;
    if letter == "R" {
        let (on_unmatch, by) = rest.split_at_checked(1)?;
        let on_unmatch = of_letter(on_unmatch)?;
        let by = ClusterName::may_be(by).then(|| ClusterName::new(by))?;
        return Some((Then::Replaced { by, on_unmatch }, Span(0)));
    }
    let then = match of_letter(letter)? {
        OnUnmatch::Delete => Then::Delete,
        OnUnmatch::Orphan => Then::Orphan,
    };
    let grace = if rest.is_empty() { 0 } else { rest.parse().ok()? };
    Some((then, Span(grace)))
}

pub(super) fn text(all: &BTreeMap<ClusterName, Unmatched>) -> String {
    let mut groups: BTreeMap<(i64, &Then, Span), Vec<&str>> = BTreeMap::new();
    for (name, unmatched) in all {
        groups.entry((unmatched.at, &unmatched.then, unmatched.grace)).or_default().push(name.as_str());
    }
    let one = |((at, then, grace), names): ((i64, &Then, Span), Vec<&str>)| {
        let grace = if grace.is_zero() { String::new() } else { grace.0.to_string() };
        let then = match then {
            Then::Delete => format!("D{grace}"),
            Then::Orphan => format!("O{grace}"),
            Then::Replaced { by, on_unmatch } => format!("R{}{by}", letter(*on_unmatch)),
        };
        format!("{at}:{then}:{}", names.join("+"))
    };
    groups.into_iter().map(one).collect::<Vec<_>>().join(",")
}

/// What may end now.
pub(super) struct Over<'a> {
    /// What was replaced, and goes.
    pub settled: &'a BTreeMap<ClusterName, OnUnmatch>,
    /// All words can be read. Otherwise nothing is taken away, however long it was kept.
    pub readable: bool,
}

/// Names that were replaced, where there is contact again, and with the other one too, which is ACTIVE. They are let go, and
/// that is no loss.
pub(super) fn settled(ground: &Ground) -> BTreeMap<ClusterName, OnUnmatch> {
    let Some(said) = ground.said else { return BTreeMap::new() };
    let record = &ground.past.record;
    let over = |(name, unmatched): (&ClusterName, &Unmatched)| match &unmatched.then {
        Then::Replaced { by, on_unmatch } => {
            // What a cluster out of reach said last is no proof.
            let is_ready = |name: &ClusterName| (said.reach)(name) == Reach::Ready;
            let is_over =
                is_ready(name) && is_ready(by) && record.placed.contains(by) && (said.is_active)(by);
            is_over.then(|| (name.clone(), *on_unmatch))
        }
        Then::Delete | Then::Orphan => None,
    };
    record.unmatched.iter().filter_map(over).collect()
}

/// Names that were replaced and are not chosen again.
pub(super) fn replaced(ground: &Ground, taken: &Taken, chosen: &Names) -> Names {
    let recorded = ground.past.record.unmatched.iter();
    let recorded = recorded.filter(|(_, u)| matches!(u.then, Then::Replaced { .. })).map(|(name, _)| name);
    let all = recorded.chain(taken.replaced.keys());
    all.filter(|name| !chosen.contains(*name) && !ground.leaves(name)).cloned().collect()
}

/// What of the pairs that are not chosen is kept for a while. `before` are the clusters that the record named.
pub(super) fn after(
    ground: &Ground,
    record: &Record,
    taken: &Taken,
    (chosen, kept): (&Names, &Names),
    &Over { settled, readable }: &Over,
) -> BTreeMap<ClusterName, Unmatched> {
    let Some(said) = ground.said else { return BTreeMap::new() };
    let past = &ground.past.record;
    let mark = ClusterName::new(LOCAL);
    let has_content = |n: &ClusterName| {
        if *n == mark { past.local && ground.own.is_some() } else { ground.past.holds.contains(n) }
    };
    let may_stay = |n: &ClusterName| !chosen.contains(n) && has_content(n) && !ground.leaves(n);
    let mut all = BTreeMap::new();
    for (name, unmatched) in past.unmatched.iter().filter(|(n, _)| may_stay(n)) {
        match &unmatched.then {
            Then::Delete if readable && unmatched.is_over(said.now) => {}
            Then::Delete | Then::Orphan => drop(all.insert(name.clone(), unmatched.clone())),
            Then::Replaced { .. } if settled.contains_key(name) => {}
            Then::Replaced { by, on_unmatch } => {
                // What replaced it may have been replaced in its turn.
                let by = if chosen.contains(by) { Some(by) } else { taken.replaced.get(by) };
                let by = by.or_else(|| chosen.iter().find(|n| **n != mark));
                if let Some(by) = by {
                    let then = Then::Replaced { by: by.clone(), on_unmatch: *on_unmatch };
                    all.insert(name.clone(), Unmatched { at: unmatched.at, then, grace: Span(0) });
                }
            }
        }
    }
    for (name, by) in taken.replaced.iter().filter(|(n, _)| may_stay(n)) {
        let on_unmatch = policy_of(ground, taken, name).map_or(OnUnmatch::Delete, |(policy, _)| policy);
        let at = match (said.reach)(name) {
            Reach::Lost(since) => since,
            Reach::Ready | Reach::Other => said.now,
        };
        let then = Then::Replaced { by: by.clone(), on_unmatch };
        all.insert(name.clone(), Unmatched { at, then, grace: Span(0) });
    }
    let mut before = &(&past.placed | &past.held) | &past.restored;
    before.extend(ground.past.found.iter().cloned());
    before.extend((past.local && !past.gone.contains(&mark)).then(|| mark.clone()));
    let after = &(&record.placed | &record.held) | &record.restored;
    let is_let_go = |n: &&ClusterName| {
        may_stay(n) && !after.contains(*n) && !past.unmatched.contains_key(*n) && !all.contains_key(*n)
    };
    let still_kept = |n: &&ClusterName| !kept.contains(*n) || record.gone.contains(*n);
    let let_go: Vec<ClusterName> = before.iter().filter(is_let_go).filter(still_kept).cloned().collect();
    let policies = let_go.into_iter().map(|name| (policy_of(ground, taken, &name), name));
    let graceful = policies.filter_map(|(policy, name)| policy.map(|policy| (name, policy)));
    for (name, (on_unmatch, grace)) in graceful {
        let then = match on_unmatch {
            OnUnmatch::Delete if grace.is_zero() => continue,
            OnUnmatch::Delete => Then::Delete,
            OnUnmatch::Orphan => Then::Orphan,
        };
        let at = said.now.saturating_add(i64::try_from(grace.0).unwrap_or(i64::MAX));
        all.insert(name, Unmatched { at, then, grace });
    }
    for (name, on_unmatch) in settled.iter().filter(|(n, _)| may_stay(n)) {
        if *on_unmatch == OnUnmatch::Orphan {
            let left = Unmatched { at: said.now, then: Then::Orphan, grace: Span(0) };
            all.insert(name.clone(), left);
        }
    }
    all
}

/// What those Placements say that let a cluster go: Orphan before Delete, and the longest grace. `None` where none of them
/// ever chose it. Where somebody edited words, it was these that let go, and not others that may have chosen it by labels.
fn policy_of(ground: &Ground, taken: &Taken, name: &ClusterName) -> Option<(OnUnmatch, Span)> {
    let said = ground.said?;
    let meant = ground.meant(name);
    let recorded = &ground.past.record.policies;
    let now = |text: &str| said.placements.iter().find(|p| p.name.recorded() == text);
    let is_changed = |text: &str, recorded: &Recorded| now(text).is_none_or(|p| p.hash != recorded.hash);
    let edited = ground.words_are_edited() || recorded.iter().any(|(text, r)| is_changed(text, r));
    let mut found: Option<(OnUnmatch, Span)> = None;
    for (text, recorded) in recorded {
        let (on_unmatch, grace) =
            now(text).map_or((recorded.on_unmatch, recorded.grace), |p| (p.on_unmatch, p.grace));
        // One that asks for it cannot take it any more, by a taint or its limit.
        let asks = || taken.asked.get(text).is_some_and(|asked| asked.contains(&meant));
        // By the same words, names alone never chose what they do not name.
        let may_have = || {
            let chosen = now(text).and_then(|p| p.clusters.as_ref());
            !edited && chosen.is_some_and(|chosen| !chosen.names_only)
        };
        if is_changed(text, recorded) || asks() || may_have() {
            let before = found.unwrap_or_default();
            found = Some((on_unmatch.max(before.0), grace.max(before.1)));
        }
    }
    found
}
