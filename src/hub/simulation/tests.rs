//! Storms by seed. `KRO_HUB_SEED` is the first seed, `KRO_HUB_SEEDS` how many; `KRO_HUB_TRACE=1` prints every line of the runs,
//! `KRO_HUB_QUICK=1` does not make failing storms small.

use super::act::{Act, Timed};
use super::network::HUB;
use super::storm::{self, Sort};
use super::trace::is_loud;
use super::weather::Weather;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn told(acts: &[Timed]) -> String {
    acts.iter().map(|(at, act)| format!("  {:>8.3} {act:?}\n", at.as_secs_f64())).collect()
}

#[test]
fn after_any_storm_everything_is_as_users_said() {
    blow_all(Sort::Plain, 40);
}

/// `KRO_HUB_SEEDS` asks for more of them.
#[test]
fn a_fleet_that_is_steered_keeps_its_laws_in_any_storm() {
    blow_all(Sort::Steered, 3);
}

fn blow_all(sort: Sort, usually: u64) {
    let (first, seeds) = (number("KRO_HUB_SEED", 1), number("KRO_HUB_SEEDS", usually));
    let loud = is_loud();
    let (next, failed, all) = (AtomicU64::new(first), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let blow = || {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= first + seeds {
                return;
            }
            let verdict = storm::run(sort, seed, sort.acts(seed), loud);
            all.lock().unwrap().push((verdict.requests, verdict.writes, verdict.landings));
            if !verdict.bad.is_empty() {
                eprintln!("seed {seed}: {}", verdict.bad.join("\n  "));
                failed.lock().unwrap().push((seed, verdict));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(blow);
        }
    });
    let all = all.into_inner().unwrap();
    let (requests, writes): (u64, u64) = (all.iter().map(|a| a.0).sum(), all.iter().map(|a| a.1).sum());
    let landings: usize = all.iter().map(|a| a.2).sum();
    println!("{seeds} storms: {requests} requests, {writes} writes, {landings} versions came to clusters");
    let mut failed = failed.into_inner().unwrap();
    failed.sort_by_key(|(seed, _)| *seed);
    let Some((seed, _)) = failed.first() else { return };
    let all: Vec<String> = failed.iter().map(|(seed, v)| format!("seed {seed}: {}", v.bad[0])).collect();
    // The first of them, with the acts that it takes.
    let is_quick = std::env::var("KRO_HUB_QUICK").is_ok();
    let acts = sort.acts(*seed);
    let few = if is_quick { acts } else { storm::minimised(sort, *seed, acts) };
    let small = storm::run(sort, *seed, few.clone(), false);
    panic!(
        "{} of {seeds} storms fail:\n{}\n\nseed {seed}, {} acts:\n{}{}\n\n{}",
        failed.len(),
        all.join("\n"),
        few.len(),
        told(&few),
        small.bad.join("\n"),
        small.tail
    );
}

#[test]
fn a_seed_gives_the_same_run_to_the_byte() {
    for (sort, seed) in [(Sort::Plain, 3), (Sort::Steered, 2)] {
        let [a, b] = [0, 1].map(|_| storm::run(sort, seed, sort.acts(seed), false));
        assert_eq!((a.requests, a.print), (b.requests, b.print), "seed {seed}");
        assert!(a.requests > 1_000 && a.writes > 50, "{} requests, {} writes", a.requests, a.writes);
    }
}

/// Nothing else happens afterwards, so that only what is tried again by itself brings it about.
#[test]
fn a_definition_that_was_refused_for_a_moment_is_brought_about_by_itself() {
    let second = Duration::from_secs;
    for code in [500, 403] {
        // Shorter than the lease needs to be renewed.
        let weather = Weather::ReadOnly(code);
        let acts = vec![
            (second(60), Act::Weather { site: HUB.into(), weather, lasting: second(4) }),
            (second(61), Act::Revise),
        ];
        let verdict = storm::run(Sort::Plain, 1, acts, is_loud());
        assert!(verdict.bad.is_empty(), "{code}: {:?}\n{}", verdict.bad, verdict.tail);
    }
}
