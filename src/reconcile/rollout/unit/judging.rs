//! How far one cluster is.

use super::{Condition, Contact, Frame, Pair, Version};

/// How far a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Out of reach: it neither holds anything up nor counts.
    Deferred,
    /// Not at the target.
    Held,
    /// On the way to it.
    InFlight,
    /// On the way, and in error.
    Failing,
    /// Not well within its time.
    Failed,
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub state: State,
    /// It holds one of the places of its stage.
    pub slot: bool,
    /// Waits for its turn: who waits with a lower one goes first.
    pub rank: Option<u8>,
    /// When time alone changes this.
    pub until: Option<u64>,
    /// Waits to be read anew, in the same way.
    pub reads: Option<u8>,
    /// What was read of it last did harm.
    pub spoilt: bool,
}

/// The rank of those that are not well by what came to them.
pub(super) const SPOILT: u8 = 0;

impl Judged {
    fn now(state: State) -> Self {
        Self { state, slot: false, rank: None, until: None, reads: None, spoilt: false }
    }
    fn under_way(state: State, until: u64) -> Self {
        Self { slot: true, until: Some(until), ..Self::now(state) }
    }
}

/// Its version came after the stable one, and is not the target any more.
fn is_superseded(pair: &Pair, frame: &Frame) -> bool {
    let came_after = |n: u64| n < frame.target && frame.stable.is_none_or(|stable| n > stable);
    matches!(pair.version, Version::Number(n) if came_after(n))
}

pub(super) fn is_well(pair: &Pair) -> bool {
    matches!(pair.condition, Condition::Active(_))
}

/// Whether nobody can say what the target will have done to it: it is not well as it is, and that is no fault of a
/// version that was just being tried.
pub(super) fn is_unjudged(pair: &Pair, frame: &Frame) -> bool {
    let is_there = pair.version != Version::Nothing;
    !is_well(pair) && is_there && (pair.unjudged || !is_superseded(pair, frame))
}

pub(super) fn judge(pair: &Pair, frame: &Frame, now: u64) -> Judged {
    let Contact::Ready(contact) = pair.contact else { return Judged::now(State::Deferred) };
    // Without contact the clock stands still.
    let begun = pair.admitted.max(pair.read.since.unwrap_or_default()).max(contact);
    let ends = begun.saturating_add(frame.rules.deadline);
    let mut judged = by_version(pair, frame, (ends, now));
    // What was read anew is under way like a version, where no version is.
    let late = now >= ends;
    let trying = pair.read.since.is_some() && !is_well(pair);
    let is_error = pair.condition == Condition::Error;
    let failed = trying && !pair.read.unjudged && (late || is_error);
    if trying && !late && judged.until.is_none() && !(is_error && pair.read.unjudged) {
        (judged.slot, judged.until) = (true, Some(ends));
        if judged.state == State::Done {
            judged.state = State::InFlight;
        }
    }
    judged.spoilt = failed && !matches!(judged.state, State::Failed | State::Failing);
    if pair.read.stale && pair.version != Version::Nothing {
        let is_ill = judged.spoilt || matches!(judged.state, State::Failed | State::Failing);
        judged.reads = Some(if is_ill {
            SPOILT
        } else if is_well(pair) {
            1
        } else {
            2
        });
    }
    judged
}

fn by_version(pair: &Pair, frame: &Frame, (ends, now): (u64, u64)) -> Judged {
    let superseded = is_superseded(pair, frame);
    // Where the target changes nothing of what is being tried, the trial goes on.
    if pair.version == Version::Number(frame.target) || (pair.same && superseded) {
        return at_target(pair, frame, ends, now);
    }
    if pair.same {
        return Judged::now(State::Done);
    }
    let slot = superseded && !is_well(pair) && now < ends;
    let rank = if superseded && !is_well(pair) {
        0
    } else if is_unjudged(pair, frame) {
        2
    } else {
        1
    };
    let rank = pair.refused.is_none().then_some(rank);
    Judged { slot, rank, until: slot.then_some(ends), ..Judged::now(State::Held) }
}

fn at_target(pair: &Pair, frame: &Frame, ends: u64, now: u64) -> Judged {
    // Once all of them completed it, what becomes of one later is no matter of the rollout.
    let settled = frame.is_settled();
    let soak =
        if settled && pair.read.since.is_none() { 0 } else { frame.rules.stage(pair.place.stage).soak };
    let late = now >= ends;
    match pair.condition {
        Condition::Active(since) if since.saturating_add(soak) <= now => Judged::now(State::Done),
        Condition::Active(since) => Judged::under_way(State::InFlight, since.saturating_add(soak)),
        Condition::Moving | Condition::Error if late && (settled || pair.unjudged) => {
            Judged::now(State::Done)
        }
        Condition::Moving | Condition::Error if late => Judged::now(State::Failed),
        Condition::Error if pair.unjudged || (settled && pair.read.unjudged) => Judged::now(State::Done),
        Condition::Error if !settled => Judged::under_way(State::Failing, ends),
        Condition::Moving | Condition::Error => Judged::under_way(State::InFlight, ends),
    }
}
