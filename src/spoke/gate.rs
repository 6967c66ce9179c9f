//! When a request to one API server may go out: its turn among those in flight, the pauses that the server asks for.

use super::in_flight::{Begun, InFlight, Outcome, Sort};
use super::pause::Groups;
use crate::metrics::Metrics;
use http::{HeaderMap, header};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// So long a request waits for an API group that does not answer; then whoever asked is told.
const PATIENCE: Duration = Duration::from_secs(5);
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
    groups: Groups,
    /// When a request was answered last.
    answered: Option<Instant>,
}

/// Why a request is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// There is no client any more.
    Closed,
    /// Its API group does not answer.
    Paused,
}

impl NoTurn {
    /// What is said of a group in a pause.
    pub const PAUSED: &str = "it gave no answer of use, and is asked ever less until it does";
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
            state: Mutex::new(GateState { in_flight, owed: 0, groups: Groups::default(), answered: None }),
            opened: Notify::new(),
            pages: Arc::new(Semaphore::new(PAGES)),
            shares: AtomicBool::new(false),
            shown: OnceLock::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for one of the turns, and for the end of pauses: of the server, and of the API group where another server may
    /// stand behind it. Who waits for a group takes up no turn.
    pub async fn turn(self: &Arc<Self>, group: Option<&str>) -> Result<Turn, NoTurn> {
        let patience = Instant::now() + PATIENCE;
        loop {
            self.group_opens(group, patience).await?;
            let let_go = Instant::now();
            let permit = self.turns.clone().acquire_owned().await.map_err(|_| NoTurn::Closed)?;
            let turn = Turn { gate: self.clone(), permit: Some(permit) };
            self.opens().await?;
            if !group.is_some_and(|group| self.state().groups.began_since(group, let_go)) {
                return Ok(turn);
            }
        }
    }

    /// Waits for the end of pauses alone: what needs no turn.
    pub async fn open(&self, group: Option<&str>) -> Result<(), NoTurn> {
        self.group_opens(group, Instant::now() + PATIENCE).await?;
        self.opens().await
    }

    async fn opens(&self) -> Result<(), NoTurn> {
        self.wait(|now| self.state().in_flight.may_go(now), None).await
    }

    async fn group_opens(&self, group: Option<&str>, patience: Instant) -> Result<(), NoTurn> {
        let Some(group) = group else { return Ok(()) };
        self.wait(|now| self.state().groups.may_go(group, now), Some(patience)).await
    }

    async fn wait(
        &self,
        may_go: impl Fn(Instant) -> Option<Instant>,
        patience: Option<Instant>,
    ) -> Result<(), NoTurn> {
        loop {
            let mut opened = std::pin::pin!(self.opened.notified());
            opened.as_mut().enable();
            let now = Instant::now();
            let Some(until) = may_go(now) else { return Ok(()) };
            if patience.is_some_and(|patience| now >= patience) {
                return Err(NoTurn::Paused);
            }
            let until = patience.map_or(until, |patience| until.min(patience));
            tokio::select! {
                biased;
                () = opened => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// What an answer to a request says of its group. `refused`: it is none of the group, and the pause that it names.
    pub fn heard_of_group(&self, group: &str, request: Begun, refused: Option<Option<Duration>>) {
        let mut state = self.state();
        match refused {
            Some(named) => state.groups.refused(group, request.at, named, Instant::now()),
            None if state.groups.answered(group, request.at) => {
                drop(state);
                self.opened.notify_waiters();
            }
            None => {}
        }
    }

    pub fn begin(&self, sort: Sort) -> Begun {
        self.state().in_flight.begin(sort, Instant::now())
    }

    /// Whether the server asked for a pause that is not over.
    pub fn is_paused(&self) -> bool {
        self.state().in_flight.is_paused()
    }

    /// Whether any request was answered since this one began.
    pub fn answered_since(&self, request: Begun) -> bool {
        self.state().answered.is_some_and(|answered| answered > request.at)
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
        if outcome == Outcome::Answered {
            state.answered = Some(Instant::now());
        }
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
        let tried = gate.turn(None).await.unwrap();
        let other = tokio::spawn({
            let gate = gate.clone();
            async move { gate.turn(None).await.is_ok() }
        });
        tokio::task::yield_now().await;
        gate.heard(gate.begin(Sort::Read), Outcome::Answered);
        assert!(tokio::time::timeout(Duration::from_millis(500), other).await.is_ok());
        drop(tried);
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_does_not_answer_takes_up_no_turn_and_holds_up_no_other() {
        let (gate, down) = (Gate::new(2), Some("down.example.com"));
        let asked = gate.begin(Sort::Read);
        let turns = [gate.turn(None).await.unwrap(), gate.turn(None).await.unwrap()];
        let let_go = tokio::spawn({
            let gate = gate.clone();
            async move { gate.turn(down).await.map(drop) }
        });
        tokio::task::yield_now().await;
        gate.heard_of_group("down.example.com", asked, Some(Some(Duration::from_secs(60))));
        drop(turns);
        let begun = Instant::now();
        assert_eq!(let_go.await.unwrap(), Err(NoTurn::Paused), "also who was let go before it began");
        assert_eq!(begun.elapsed(), PATIENCE);
        let waits = (0..8).map(|_| gate.turn(down));
        let others = async {
            for group in [None, Some("up.example.com")] {
                let now = Instant::now();
                assert!(gate.turn(group).await.is_ok() && now.elapsed().is_zero(), "{group:?}");
            }
        };
        let (refused, ()) = tokio::join!(futures::future::join_all(waits), others);
        assert!(refused.iter().all(Result::is_err));
        let back = gate.begin(Sort::Read);
        let waits = gate.turn(down);
        let answered = async { gate.heard_of_group("down.example.com", back, None) };
        let now = Instant::now();
        assert!(tokio::join!(waits, answered).0.is_ok() && now.elapsed().is_zero(), "an answer ends it");
    }

    /// A limit that falls below what is under way takes effect as that ends.
    #[tokio::test(start_paused = true)]
    async fn no_more_turns_than_the_limit() {
        let gate = Gate::new(8);
        let mut turns = Vec::new();
        for _ in 0..8 {
            turns.push(gate.turn(None).await.unwrap());
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
