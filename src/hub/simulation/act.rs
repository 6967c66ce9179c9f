//! What happens in a storm, from outside of the controller.

use super::steering;
use super::weather::Weather;
use super::wishes::{Wish, Words};
use crate::hub::machines::random::Random;
use serde_json::Value;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Create {
        name: String,
        wish: Wish,
        words: Words,
    },
    Edit {
        name: String,
        wish: Wish,
    },
    Place {
        name: String,
        words: Words,
    },
    Delete {
        name: String,
    },
    /// The definition is edited.
    Revise,
    /// Somebody deletes a child, or writes into it.
    ChildDeleted {
        site: String,
        pick: usize,
    },
    ChildEdited {
        site: String,
        pick: usize,
    },
    MirrorDeleted {
        site: String,
        pick: usize,
    },
    Weather {
        site: String,
        weather: Weather,
        lasting: Duration,
    },
    /// Connections end, once.
    Cut {
        site: String,
    },
    /// Watches cannot go on from where they were.
    Compact {
        site: String,
    },
    Kill {
        restart: Duration,
    },
    KillAtWrite {
        after: u64,
        /// At those alone whose path has this in it.
        at: &'static str,
        done: bool,
        restart: Duration,
    },
    Stop {
        restart: Duration,
    },
    /// One more process, which stands by.
    Standby,
    /// The hub and the process that leads do not hear each other.
    CutOff {
        lasting: Duration,
    },
    /// The machine of the process that leads is suspended for so many milliseconds, without the knowledge of its timers.
    Sleep {
        millis: u64,
    },
    /// New credentials; the old ones end after a while.
    Rotate {
        site: String,
        grace: Duration,
    },
    /// Another cluster answers behind the address.
    Swap {
        site: String,
        lasting: Duration,
    },
    Deregister {
        site: String,
        again: Duration,
    },
    /// The hub is as it was some time ago.
    Restore,
    /// A Placement is made or edited, or is deleted.
    Steer {
        policy: String,
        of_cluster: bool,
        spec: Value,
    },
    Unsteer {
        policy: String,
        of_cluster: bool,
    },
    Label {
        site: String,
        key: &'static str,
        value: &'static str,
    },
    Taint {
        site: String,
        taints: Value,
    },
    Approve {
        pick: usize,
        stage: &'static str,
    },
    Withdraw {
        pick: usize,
    },
    Pause {
        policy: String,
        of_cluster: bool,
        on: bool,
    },
    /// The kind goes to so many revisions before the newest.
    Pin {
        back: u64,
    },
    /// What a guard holds is let go.
    Acknowledge,
    /// Somebody sends this to the hub.
    ByHand {
        method: &'static str,
        path: String,
        body: Value,
    },
}

/// When, since the begin of the storm, and what.
pub type Timed = (Duration, Act);

pub const NAMES: [&str; 4] = ["one", "two", "three", "four"];

/// The acts of a storm, in order.
pub fn random(random: &mut Random, spokes: &[String], until: Duration) -> Vec<Timed> {
    let mut acts = Vec::new();
    let number = 12 + random.below(28);
    // Some storms are quick, some are slow.
    let until = until.as_millis() as usize / random.pick(&[1, 1, 4, 12]);
    let restores = random.chance(12);
    for _ in 0..number {
        let at = Duration::from_millis(random.below(until) as u64);
        acts.push((at, one(random, spokes, restores)));
    }
    acts.sort_by_key(|(at, _)| *at);
    acts
}

/// The acts of a storm over a fleet that is steered. Where all is moved by stages, little happens in a short time.
pub fn steered(random: &mut Random, spokes: &[String], until: Duration) -> Vec<Timed> {
    let until = until.as_millis() as usize / random.pick(&[1, 1, 1, 3]);
    let restores = random.chance(8);
    let mut acts = Vec::new();
    for n in 0..30 + random.below(50) {
        let at = Duration::from_millis(random.below(until) as u64);
        let act = if n % 5 < 2 { steering::random(random, spokes) } else { one(random, spokes, restores) };
        acts.push((at, placed_by_others(act, random)));
    }
    // Something is there from the beginning.
    for (n, name) in NAMES.into_iter().enumerate() {
        let (wish, words) = (Wish::random(random), Words::None);
        acts.push((Duration::from_millis(10 * n as u64), Act::Create { name: name.to_owned(), wish, words }));
    }
    for n in 0..3 {
        acts.push((Duration::from_millis(n), steering::random(random, spokes)));
    }
    acts.sort_by_key(|(at, _)| *at);
    acts
}

/// Most instances say nothing of where they go; some never get ready.
fn placed_by_others(act: Act, random: &mut Random) -> Act {
    match act {
        Act::Create { name, wish, .. } if random.chance(80) => Act::Create { name, wish, words: Words::None },
        Act::Place { name, .. } if random.chance(60) => Act::Place { name, words: Words::None },
        Act::Edit { name, wish } if random.chance(20) => Act::Edit { name, wish: wish.ill() },
        // Half of what is deleted stays: else nothing is left to be moved.
        Act::Delete { name } if random.chance(60) => Act::Edit { name, wish: Wish::random(random) },
        Act::Deregister { .. } | Act::Create { .. } if random.chance(50) => Act::Revise,
        Act::KillAtWrite { after, done, restart, .. } => {
            let at = random.pick(&["", "/controllerrevisions", "placements/", "/shops"]);
            Act::KillAtWrite { after: if at.is_empty() { after } else { after % 4 }, at, done, restart }
        }
        act => act,
    }
}

fn one(random: &mut Random, spokes: &[String], restores: bool) -> Act {
    let name = random.pick(&NAMES).to_owned();
    let site = random.pick(spokes);
    let anywhere = if random.chance(25) { super::network::HUB.to_owned() } else { site.clone() };
    let pick = random.below(100);
    match random.below(100) {
        0..18 => Act::Create { name, wish: Wish::random(random), words: Words::random(random, spokes) },
        18..28 => Act::Edit { name, wish: Wish::random(random) },
        28..38 => Act::Place { name, words: Words::random(random, spokes) },
        38..46 => Act::Delete { name },
        46..52 => Act::Revise,
        52..56 => Act::ChildDeleted { site: anywhere, pick },
        56..60 => Act::ChildEdited { site: anywhere, pick },
        60..62 => Act::MirrorDeleted { site, pick },
        62..74 => {
            let (weather, lasting) = (Weather::random(random), Weather::lasting(random));
            Act::Weather { site: anywhere, weather, lasting }
        }
        74..76 => Act::Cut { site: anywhere },
        76..79 => Act::Compact { site: anywhere },
        79..82 => Act::Kill { restart: restart(random) },
        82..87 => {
            let (after, done) = (random.below(20) as u64, random.chance(50));
            Act::KillAtWrite { after, at: "", done, restart: restart(random) }
        }
        87..88 => Act::Stop { restart: restart(random) },
        88..90 => Act::Standby,
        90..92 => Act::CutOff { lasting: Duration::from_secs(random.pick(&[4, 12, 40])) },
        92..93 => Act::Sleep { millis: random.pick(&[3_000, 11_000, 60_000]) },
        93..95 => Act::Rotate { site, grace: Duration::from_secs(random.pick(&[0, 60])) },
        95..97 => Act::Swap { site, lasting: Duration::from_secs(random.pick(&[5, 60])) },
        97..99 => Act::Deregister { site, again: Duration::from_secs(random.pick(&[5, 60, 240])) },
        _ if restores => Act::Restore,
        _ => Act::Cut { site: anywhere },
    }
}

fn restart(random: &mut Random) -> Duration {
    Duration::from_secs(random.pick(&[0, 1, 20, 100]))
}
