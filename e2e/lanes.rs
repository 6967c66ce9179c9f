//! Which trials may run beside each other. Trials of one lane run one after the other, since they share clusters; two
//! lanes run at once. A trial that measures time has all lanes to itself.

use libtest_mimic::Trial;
use std::sync::{Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Waiting costs nothing: so many trials may be at the entrance of a lane.
pub const THREADS: usize = 8;

/// So many of the longest trials are told, and none that is shorter.
const SHOWN: usize = 25;
const LONG: Duration = Duration::from_secs(10);

/// Serves in the order of arrival.
pub struct Lane {
    /// Next ticket, and the one that is served.
    tickets: Mutex<(u64, u64)>,
    turn: Condvar,
}

/// The environment, what people call, and registration.
pub static CLUSTERS: Lane = Lane::new();
/// Definitions, instances and faults.
pub static INSTANCES: Lane = Lane::new();

/// Held for reading by every trial, for writing by one that measures.
static QUIET: RwLock<()> = RwLock::new(());

/// How long each took.
static TOOK: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

fn timed<T>(name: &str, trial: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = trial();
    TOOK.lock().unwrap_or_else(PoisonError::into_inner).push((start.elapsed(), name.to_owned()));
    result
}

/// The longest trials of this run, one a line. A pipeline waits for them.
pub fn longest() -> String {
    let mut all = std::mem::take(&mut *TOOK.lock().unwrap_or_else(PoisonError::into_inner));
    all.sort_by(|a, b| b.cmp(a));
    let longest = all.iter().take(SHOWN).filter(|(took, _)| *took >= LONG);
    longest.map(|(took, name)| format!("{:5.0} s  {name}\n", took.as_secs_f32())).collect()
}

impl Lane {
    const fn new() -> Self {
        Self { tickets: Mutex::new((0, 0)), turn: Condvar::new() }
    }

    pub fn run<T>(&self, name: &str, trial: impl FnOnce() -> T) -> T {
        let _place = self.enter();
        let _others = QUIET.read().unwrap_or_else(PoisonError::into_inner);
        timed(name, trial)
    }

    /// Runs with nothing beside it.
    pub fn run_alone<T>(&self, name: &str, trial: impl FnOnce() -> T) -> T {
        let _place = self.enter();
        let _nobody = QUIET.write().unwrap_or_else(PoisonError::into_inner);
        timed(name, trial)
    }

    fn enter(&self) -> Place<'_> {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.0.tickets.lock().unwrap_or_else(PoisonError::into_inner).1 += 1;
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
