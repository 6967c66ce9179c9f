//! Which trials may run beside each other. Trials of one lane run one after the other, since they share clusters; two
//! lanes run at once. A trial that measures time has all lanes to itself.

use libtest_mimic::{Failed, Trial};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

type Verdict = Result<(), Failed>;

/// Waiting costs nothing: so many trials may be at the entrance of a lane.
pub const THREADS: usize = 8;

/// So many of the longest trials are told, and none that is shorter.
const SHOWN: usize = 25;
const LONG: Duration = Duration::from_secs(10);
/// So much of the end of what a trial that failed says.
const WHY: usize = 1_500;

/// Serves in the order of arrival.
pub struct Lane {
    name: &'static str,
    /// Next ticket, and the one that is served.
    tickets: Mutex<(u64, u64)>,
    turn: Condvar,
}

/// The environment, what people call, registration, and clusters that are lost.
pub static CLUSTERS: Lane = Lane::new("clusters");
/// Definitions, instances, placement and rollouts.
pub static INSTANCES: Lane = Lane::new("instances");

/// Held for reading by every trial, for writing by one that measures.
static QUIET: RwLock<()> = RwLock::new(());

/// A trial that ran.
struct Ran {
    lane: &'static str,
    name: String,
    took: Duration,
    /// Why it failed.
    failed: Option<String>,
}

static RAN: Mutex<Vec<Ran>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The longest trials of this run, one a line, and how long its lanes were busy: a pipeline waits for them. Last what failed:
/// of a long log, people are often shown the end.
pub fn told() -> String {
    let mut ran = std::mem::take(&mut *locked(&RAN));
    let busy = |lane: &Lane| ran.iter().filter(|of| of.lane == lane.name).map(|of| of.took).sum::<Duration>();
    let lanes =
        [&CLUSTERS, &INSTANCES].map(|lane| format!("{} {:.0} s", lane.name, busy(lane).as_secs_f32()));
    let busy = format!("Lanes were busy: {}\n", lanes.join(", "));
    ran.sort_by_key(|of| std::cmp::Reverse(of.took));
    let longest = ran.iter().take(SHOWN).filter(|of| of.took >= LONG);
    let longest: String =
        longest.map(|of| format!("{:5.0} s  {}\n", of.took.as_secs_f32(), of.name)).collect();
    let failed =
        ran.iter().filter_map(|of| Some(format!("\n{} failed:\n{}\n", of.name, of.failed.as_ref()?)));
    longest + &busy + &failed.collect::<String>()
}

/// The end of a text.
fn end(text: &str) -> String {
    let skipped = text.chars().count().saturating_sub(WHY);
    text.chars().skip(skipped).collect()
}

impl Lane {
    const fn new(name: &'static str) -> Self {
        Self { name, tickets: Mutex::new((0, 0)), turn: Condvar::new() }
    }

    pub fn run(&self, name: &str, trial: impl FnOnce() -> Verdict) -> Verdict {
        let _place = self.enter();
        let _others = QUIET.read().unwrap_or_else(PoisonError::into_inner);
        self.noted(name, trial)
    }

    /// Runs with nothing beside it.
    pub fn run_alone(&self, name: &str, trial: impl FnOnce() -> Verdict) -> Verdict {
        let _place = self.enter();
        let _nobody = QUIET.write().unwrap_or_else(PoisonError::into_inner);
        self.noted(name, trial)
    }

    fn noted(&self, name: &str, trial: impl FnOnce() -> Verdict) -> Verdict {
        let start = Instant::now();
        let ended = catch_unwind(AssertUnwindSafe(trial));
        let failed = match &ended {
            Ok(Ok(())) => None,
            Ok(Err(failed)) => Some(end(failed.message().unwrap_or("it says nothing"))),
            Err(_) => Some("it panicked".to_owned()),
        };
        locked(&RAN).push(Ran { lane: self.name, name: name.to_owned(), took: start.elapsed(), failed });
        ended.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn enter(&self) -> Place<'_> {
        let mut tickets = locked(&self.tickets);
        let mine = tickets.0;
        tickets.0 += 1;
        while tickets.1 != mine {
            tickets = self.turn.wait(tickets).unwrap_or_else(PoisonError::into_inner);
        }
        Place(self)
    }
}

/// The one place in a lane; given on when it is dropped, also by a panic.
struct Place<'a>(&'a Lane);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        locked(&self.0.tickets).1 += 1;
        self.0.turn.notify_all();
    }
}

/// One of each in turn, so that both lanes are busy from the start.
pub fn interleave(a: Vec<Trial>, b: Vec<Trial>) -> Vec<Trial> {
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.into_iter(), b.into_iter());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return out,
            (x, y) => out.extend(x.into_iter().chain(y)),
        }
    }
}
