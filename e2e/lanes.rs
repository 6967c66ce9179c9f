//! Which trials may run beside each other. Trials of one lane run one after the other, since they share clusters; two
//! lanes run at once. A trial that measures time has all lanes to itself.

use libtest_mimic::Trial;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// Waiting costs nothing: so many trials may be at the entrance of a lane.
pub const THREADS: usize = 8;

#[derive(Default)]
pub struct Lane(Mutex<()>);

/// The environment, what people call, and registration.
pub static CLUSTERS: Lane = Lane(Mutex::new(()));
/// Definitions, instances and faults.
pub static INSTANCES: Lane = Lane(Mutex::new(()));

/// Held for reading by every trial, for writing by one that measures.
static QUIET: RwLock<()> = RwLock::new(());

impl Lane {
    pub fn run<T>(&self, trial: impl FnOnce() -> T) -> T {
        let _lane = self.enter();
        let _others = QUIET.read().unwrap_or_else(PoisonError::into_inner);
        trial()
    }

    /// Runs with nothing beside it.
    pub fn run_alone<T>(&self, trial: impl FnOnce() -> T) -> T {
        let _lane = self.enter();
        let _nobody = QUIET.write().unwrap_or_else(PoisonError::into_inner);
        trial()
    }

    fn enter(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
