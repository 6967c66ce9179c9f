//! Half an hour of everything, on thirty spokes, and a thousand rotations: afterwards the controller holds what it held, and
//! the clusters have what users said. `make soak`.

mod held;
mod plan;
mod site;

use crate::lanes::INSTANCES;
use crate::lazy::Lazy;
use anyhow::{Context, Result};
use libtest_mimic::Trial;
use plan::End;
use site::Site;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const MINUTES: u64 = 30;
const ROTATIONS: usize = 1_000;
/// Four rests with what goes before them.
const RESTS: Duration = Duration::from_secs(6 * 60);
/// In a soak that is short.
const LEAST: Duration = Duration::from_secs(60);

/// A trial: its name and what it does.
type Run = (&'static str, fn(&Site) -> Result<()>);

/// The fleet that the trials share.
pub struct Sites(Lazy<Site>);

impl Default for Sites {
    fn default() -> Self {
        Self(Lazy::new(|| Site::start(seed())))
    }
}

impl Sites {
    /// Those that take long are run by `make soak` alone.
    pub fn trials(&self) -> Vec<Trial> {
        let draws = Trial::test("soak::a_seed_says_what_happens_and_every_outage_ends", || {
            plan::keeps_its_word().map_err(|e| format!("{e:#}").into())
        });
        let long: [Run; 2] = [
            ("soak::a_thousand_rotations_leave_nothing_behind", rotations),
            ("soak::after_everything_at_once_all_is_held_as_before", everything),
        ];
        let long = long.into_iter().map(|(name, run)| {
            let sites = self.0.clone();
            let work = move || {
                let site = sites.get().map_err(|e| format!("seed {}: {e:#}", seed()))?;
                Ok(run(&site).map_err(|e| {
                    format!(
                        "the controller's log ends with:\n{}\n\nseed {}: {e:#}",
                        site.stand.log_tail(),
                        seed()
                    )
                })?)
            };
            Trial::test(name, move || INSTANCES.run(name, work)).with_ignored_flag(true)
        });
        std::iter::once(draws).chain(long).collect()
    }

    pub fn end(&self) {
        self.0.end();
    }
}

/// `KRO_HUB_SEED`, else of the time.
fn seed() -> u64 {
    static SEED: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| {
        let given = std::env::var("KRO_HUB_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let seed = given.unwrap_or_else(now);
        println!("soak: KRO_HUB_SEED={seed} repeats what happens");
        seed
    });
    *SEED
}

fn minutes() -> u64 {
    std::env::var("KRO_HUB_SOAK_MINUTES").ok().and_then(|m| m.parse().ok()).unwrap_or(MINUTES)
}

/// Each is used by the controller before the next one comes.
fn rotations(site: &Site) -> Result<()> {
    (0..2).try_for_each(|_| site.rotate_all())?;
    let before = site.rest()?;
    println!("soak: before the rotations: {before}");
    let (start, rounds) = (Instant::now(), ROTATIONS.div_ceil(site.spokes()));
    for round in 0..rounds {
        site.rotate_all().with_context(|| format!("round {round}"))?;
    }
    println!("soak: {} rotations in {:.0} s", rounds * site.spokes(), start.elapsed().as_secs_f64());
    site.right()?;
    let after = site.rest()?;
    println!("soak: after the rotations: {after}");
    after.is_as(&before)
}

/// Two lives are compared: one from its first storm to its end, and the first with the last, both fresh.
fn everything(site: &Site) -> Result<()> {
    let acts = Duration::from_secs(minutes() * 60).saturating_sub(RESTS).max(LEAST * 2);
    let fresh = |what: &str| {
        let held = site.rest_afresh()?;
        println!("soak: {what}: {held}");
        Ok::<_, anyhow::Error>(held)
    };
    let first = fresh("a fresh controller at first")?;
    let storm = |what: &str, share: f64, restarts: bool| {
        let start = Instant::now();
        let done = site.storm(acts.mul_f64(share), restarts)?;
        println!("soak: {what}, right after {:.0} s: {done:?}", start.elapsed().as_secs_f64());
        Ok::<_, anyhow::Error>(())
    };
    storm("with restarts", 0.25, true)?;
    site.restart(End::Killed)?;
    // What it keeps of the most that it ever had, it has by then.
    storm("without", 0.25, false)?;
    let before = site.rest()?;
    println!("soak: before: {before}");
    storm("without", 0.5, false)?;
    let after = site.rest()?;
    println!("soak: after: {after}");
    let last = fresh("a fresh controller at last")?;
    after.is_as(&before).context("one life, before and after")?;
    last.is_as(&first).context("a fresh controller, at first and at last")
}
