//! What stood on the hub at which time, and when a controller may not have seen it.

use super::ground::Ground;

/// What a controller sees late where nothing is wrong, in milliseconds.
const LATE: u64 = 4_000;

#[derive(Debug, Default)]
pub struct History {
    grounds: Vec<(u64, Ground)>,
    /// Between which times the controller may have seen nothing new of the hub.
    blind: Vec<(u64, u64)>,
    /// The same for what one cluster does and shows.
    trouble: Vec<(String, u64, u64)>,
    /// When processes started.
    pub starts: Vec<u64>,
}

impl History {
    pub fn note(&mut self, now: u64, ground: Ground) {
        if self.grounds.last().is_none_or(|(_, last)| *last != ground) {
            self.grounds.push((now, ground));
        }
    }

    pub fn blind(&mut self, from: u64, until: u64) {
        self.blind.push((from, until));
    }

    pub fn trouble(&mut self, site: &str, from: u64, until: u64) {
        self.trouble.push((site.to_owned(), from, until));
    }

    /// How often it changed.
    pub fn changes(&self) -> usize {
        self.grounds.len()
    }

    pub fn now(&self) -> Option<&Ground> {
        self.grounds.last().map(|(_, ground)| ground)
    }

    pub fn before(&self) -> Option<&Ground> {
        self.grounds.iter().rev().nth(1).map(|(_, ground)| ground)
    }

    /// The earliest time whose ground a controller may go by that decides at this time.
    pub fn seen_since(&self, at: u64) -> u64 {
        let mut from = at.saturating_sub(LATE);
        loop {
            let earlier = self.blind.iter().filter(|(begin, end)| *begin < from && from < *end);
            match earlier.map(|(begin, _)| begin.saturating_sub(LATE)).min() {
                Some(begin) if begin < from => from = begin,
                _ => return from,
            }
        }
    }

    /// Everything that a controller may have gone by that decided between these times.
    pub fn during(&self, from: u64, until: u64) -> impl Iterator<Item = &Ground> {
        let from = self.seen_since(from);
        let begins_late = move |n: usize| self.grounds.get(n + 1).is_some_and(|(next, _)| *next <= from);
        let all = self.grounds.iter().enumerate();
        all.filter(move |(n, (begin, _))| *begin <= until && !begins_late(*n)).map(|(_, (_, ground))| ground)
    }

    /// Since when something holds, without a break.
    pub fn since(&self, holds: impl Fn(&Ground) -> bool) -> Option<u64> {
        let all = self.grounds.iter().rev();
        all.take_while(|(_, ground)| holds(ground)).last().map(|(at, _)| *at)
    }

    pub fn is_troubled(&self, site: &str, from: u64, until: u64) -> bool {
        self.trouble.iter().any(|(of, begin, end)| of == site && *begin <= until && from <= *end)
    }

    /// Whether a process started between these times.
    pub fn started(&self, from: u64, until: u64) -> bool {
        self.starts.iter().any(|at| from <= *at && *at <= until)
    }
}
