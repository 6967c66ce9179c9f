//! When a request to one API server may go out: its turn among those in flight, the pauses that the server asks for.

use super::in_flight::{Begun, InFlight, Outcome, Sort};
use crate::metrics::Metrics;
use http::{HeaderMap, header};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Pages of lists that are received at the same time.
const PAGES: usize = 2;

pub(super) struct Gate {
    /// As many as the limit, and those that are owed.
    turns: Arc<Semaphore>,
    state: Mutex<GateState>,
    opened: Notify,
    pub pages: Arc<Semaphore>,
    /// Requests share connections, and PINGs notice one that fell silent.
    pub shares: AtomicBool,
    shown: OnceLock<(Metrics, Arc<str>)>,
}

#[derive(Debug)]
struct GateState {
    in_flight: InFlight,
    /// Turns that are not given back, since the limit fell while they were taken.
    owed: usize,
}

/// The right to have a request under way.
pub(super) struct Turn {
    gate: Arc<Gate>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        if state.owed > 0
            && let Some(permit) = self.permit.take()
        {
            state.owed -= 1;
            permit.forget();
        }
    }
}

impl Gate {
    /// `most`: requests in flight, watches aside.
    pub fn new(most: usize) -> Arc<Self> {
        Self::over(InFlight::between(1, most.min(Semaphore::MAX_PERMITS)))
    }

    pub fn over(in_flight: InFlight) -> Arc<Self> {
        Arc::new(Self {
            turns: Arc::new(Semaphore::new(in_flight.limit())),
            state: Mutex::new(GateState { in_flight, owed: 0 }),
            opened: Notify::new(),
            pages: Arc::new(Semaphore::new(PAGES)),
            shares: AtomicBool::new(false),
            shown: OnceLock::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for one of the turns, and for the end of a pause.
    pub async fn turn(self: &Arc<Self>) -> Result<Turn, AcquireError> {
        let permit = self.turns.clone().acquire_owned().await?;
        let turn = Turn { gate: self.clone(), permit: Some(permit) };
        self.open().await;
        Ok(turn)
    }

    /// Waits for the end of a pause alone: what needs no turn.
    pub async fn open(&self) {
        loop {
            let mut opened = std::pin::pin!(self.opened.notified());
            opened.as_mut().enable();
            let Some(until) = self.state().in_flight.may_go(Instant::now()) else { return };
            tokio::select! {
                biased;
                () = opened => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    pub fn begin(&self, sort: Sort) -> Begun {
        self.state().in_flight.begin(sort, Instant::now())
    }

    /// Shows the limit under this name, now and whenever it changes.
    pub fn show(&self, metrics: &Metrics, cluster: &Arc<str>) {
        let limit = self.state().in_flight.limit();
        let (metrics, cluster) = self.shown.get_or_init(|| (metrics.clone(), cluster.clone()));
        metrics.in_flight_limit(cluster, limit);
    }

    /// A request ended.
    pub fn heard(&self, request: Begun, outcome: Outcome) {
        let mut state = self.state();
        let before = state.in_flight.limit();
        let under_way = (before + state.owed).saturating_sub(self.turns.available_permits());
        let opens = state.in_flight.heard(request, outcome, under_way, Instant::now());
        let after = state.in_flight.limit();
        let grown = after.saturating_sub(before);
        let paid = grown.min(state.owed);
        state.owed -= paid;
        self.turns.add_permits(grown - paid);
        let shrunk = before.saturating_sub(after);
        state.owed += shrunk - self.turns.forget_permits(shrunk);
        drop(state);
        if opens {
            self.opened.notify_waiters();
        }
        if after != before
            && let Some((metrics, cluster)) = self.shown.get()
        {
            metrics.in_flight_limit(cluster, after);
        }
    }
}

/// The pause that an answer names, in seconds; a date counts as none.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(gate: &Gate) -> usize {
        gate.state().in_flight.limit()
    }

    #[tokio::test]
    async fn who_waits_goes_on_at_once_when_a_pause_is_over() {
        let gate = Gate::new(8);
        gate.heard(gate.begin(Sort::Read), Outcome::SlowDown(None));
        let tried = gate.turn().await.unwrap();
        let other = tokio::spawn({
            let gate = gate.clone();
            async move { gate.turn().await.is_ok() }
        });
        tokio::task::yield_now().await;
        gate.heard(gate.begin(Sort::Read), Outcome::Answered);
        assert!(tokio::time::timeout(Duration::from_millis(500), other).await.is_ok());
        drop(tried);
    }

    /// A limit that falls below what is under way takes effect as that ends.
    #[tokio::test(start_paused = true)]
    async fn no_more_turns_than_the_limit() {
        let gate = Gate::new(8);
        let mut turns = Vec::new();
        for _ in 0..8 {
            turns.push(gate.turn().await.unwrap());
        }
        let request = gate.begin(Sort::Write);
        tokio::time::sleep(Duration::from_secs(10)).await;
        gate.heard(request, Outcome::TimedOut);
        assert_eq!(limit(&gate), 4);
        turns.truncate(4);
        assert_eq!(gate.turns.available_permits(), 0);
        turns.truncate(2);
        assert_eq!(gate.turns.available_permits(), 2);
        // It falls again: two that are free go, and nothing is owed.
        let request = gate.begin(Sort::Write);
        tokio::time::sleep(Duration::from_secs(10)).await;
        gate.heard(request, Outcome::TimedOut);
        assert_eq!(limit(&gate), 2);
        assert_eq!(gate.turns.available_permits(), 0);
        // What is owed is paid first when it grows.
        let request = gate.begin(Sort::Write);
        tokio::time::sleep(Duration::from_secs(10)).await;
        gate.heard(request, Outcome::TimedOut);
        for _ in 0..20 {
            gate.heard(gate.begin(Sort::Write), Outcome::Answered);
        }
        turns.clear();
        let state = gate.state();
        assert_eq!((state.owed, gate.turns.available_permits()), (0, state.in_flight.limit()));
    }
}
