//! What befalls a fleet and when, from a seed alone: the same seed brings the same acts in the same order.

use crate::faults::Chance;
use anyhow::{Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub const INSTANCES: usize = 200;
/// Every so many instances one is on all spokes, and is never moved.
const WIDE: usize = 20;
/// Where the others are.
const PLACES: usize = 3;
/// More at once would be a failure of the hub's own network.
const DOWN_AT_MOST: usize = 5;
/// Between two acts, and how long a spoke is away.
const PAUSE: (f64, f64) = (0.2, 1.2);
const AWAY: (f64, f64) = (3.0, 25.0);

/// What happens. Spokes and instances by number.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Somebody changes the spec of an instance.
    Edit(usize),
    Move(usize, BTreeSet<usize>),
    /// Deleted, and made again when it is gone.
    Replace(usize),
    /// Somebody deletes a child on one of its spokes.
    Lose(usize, usize),
    /// Somebody writes another text into a child.
    Scribble(usize, usize),
    /// The definition changes.
    Revise,
    /// New credentials.
    Rotate(usize),
    Down(usize, Outage),
    Up(usize),
    /// Connections with the hub are reset.
    CutHub,
    /// The controller ends, in good order or not, and is started again.
    Restart(End),
}

/// How a spoke goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    Refused,
    Silent,
    /// What was open is silent for ever, and new connections work.
    HalfOpen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Killed,
    Asked,
}

/// Draws acts, and knows what they left.
pub struct Plan {
    chance: Chance,
    spokes: usize,
    /// Seconds of its own: what takes long in the world makes no other acts.
    at: f64,
    /// Spokes that are away, and until when.
    down: BTreeMap<usize, f64>,
    places: Vec<BTreeSet<usize>>,
}

impl Plan {
    pub fn new(seed: u64, spokes: usize) -> Self {
        let mut plan =
            Self { chance: Chance::new(seed), spokes, at: 0.0, down: BTreeMap::new(), places: Vec::new() };
        plan.places = (0..INSTANCES)
            .map(|n| if n.is_multiple_of(WIDE) { (0..spokes).collect() } else { plan.somewhere() })
            .collect();
        plan
    }

    /// Where each instance is to be.
    pub fn places(&self) -> &[BTreeSet<usize>] {
        &self.places
    }

    /// The next act, and the pause before it. The controller is restarted only where that is said.
    pub fn next(&mut self, restarts: bool) -> (Duration, Act) {
        let pause = self.between(PAUSE);
        self.at += pause;
        (Duration::from_secs_f64(pause), self.act(restarts))
    }

    /// Who is away comes back.
    pub fn calm(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.down).into_keys().map(Act::Up).collect()
    }

    fn act(&mut self, restarts: bool) -> Act {
        if let Some(spoke) = self.down.iter().find(|(_, until)| **until <= self.at).map(|(spoke, _)| *spoke) {
            self.down.remove(&spoke);
            return Act::Up(spoke);
        }
        let instance = self.below(INSTANCES);
        match self.below(100) {
            0..10 if !instance.is_multiple_of(WIDE) => {
                let to = self.somewhere();
                if let Some(places) = self.places.get_mut(instance) {
                    places.clone_from(&to);
                }
                Act::Move(instance, to)
            }
            10..16 => Act::Replace(instance),
            16..21 => self.where_it_is_up(instance).map_or(Act::Edit(instance), |at| Act::Lose(instance, at)),
            21..26 => {
                self.where_it_is_up(instance).map_or(Act::Edit(instance), |at| Act::Scribble(instance, at))
            }
            26..36 => Act::Rotate(self.below(self.spokes)),
            36..44 => self.outage().unwrap_or(Act::Edit(instance)),
            44 => Act::Revise,
            45 => Act::CutHub,
            46 if restarts => Act::Restart(End::Killed),
            47 if restarts => Act::Restart(End::Asked),
            _ => Act::Edit(instance),
        }
    }

    fn outage(&mut self) -> Option<Act> {
        let spoke = self.below(self.spokes);
        if self.down.len() >= DOWN_AT_MOST || self.down.contains_key(&spoke) {
            return None;
        }
        let until = self.at + self.between(AWAY);
        self.down.insert(spoke, until);
        let how = [Outage::Refused, Outage::Silent, Outage::HalfOpen];
        Some(Act::Down(spoke, how[self.below(how.len())]))
    }

    /// One of its spokes that answers.
    fn where_it_is_up(&mut self, instance: usize) -> Option<usize> {
        let places = self.places.get(instance)?;
        let up: Vec<usize> = places.iter().filter(|spoke| !self.down.contains_key(spoke)).copied().collect();
        let chosen = self.below(up.len().max(1));
        up.get(chosen).copied()
    }

    fn somewhere(&mut self) -> BTreeSet<usize> {
        let mut places = BTreeSet::new();
        while places.len() < PLACES.min(self.spokes) {
            places.insert(self.below(self.spokes));
        }
        places
    }

    fn between(&mut self, (least, most): (f64, f64)) -> f64 {
        least + self.chance.part() * (most - least)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn below(&mut self, end: usize) -> usize {
        ((self.chance.part() * end as f64) as usize).min(end.saturating_sub(1))
    }
}

/// A seed says it all, whoever goes away comes back, and somebody is always there.
pub fn keeps_its_word() -> Result<()> {
    let acts = |seed: u64, restarts: bool| -> Vec<Act> {
        let mut plan = Plan::new(seed, 30);
        let mut acts: Vec<Act> = (0..2_000).map(|_| plan.next(restarts).1).collect();
        acts.extend(plan.calm());
        acts
    };
    ensure!(acts(7, true) == acts(7, true) && acts(7, true) != acts(8, true), "a seed is to say it all");
    for seed in 0..50 {
        let mut down = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for act in acts(seed, true) {
            match act {
                Act::Down(spoke, _) => ensure!(down.insert(spoke), "seed {seed}: {spoke} is away already"),
                Act::Up(spoke) => ensure!(down.remove(&spoke), "seed {seed}: {spoke} was not away"),
                Act::Lose(_, at) | Act::Scribble(_, at) => {
                    ensure!(!down.contains(&at), "seed {seed}: {at} is away and cannot be written to");
                }
                _ => {}
            }
            ensure!(down.len() <= DOWN_AT_MOST, "seed {seed}: {down:?} are away at once");
            let word = format!("{act:?}");
            seen.insert(word.split('(').next().unwrap_or_default().to_owned());
        }
        ensure!(down.is_empty() && seen.len() == 11, "seed {seed}: away at the end {down:?}, acts {seen:?}");
        let quiet = acts(seed, false);
        ensure!(
            !quiet.iter().any(|act| matches!(act, Act::Restart(_))),
            "seed {seed}: a restart nobody asked for"
        );
    }
    Ok(())
}
