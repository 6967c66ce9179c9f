//! Whether a cluster that has an actor can be talked to, and whether it is known to be the one that was claimed.

use crate::spoke::actor;
use crate::spoke::messages::{ContactState, ToSpoke};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Contact comes and goes.
pub(in crate::hub::clusters) enum Contact {
    /// It is the cluster that was claimed.
    Trusted,
    /// Something answers again, and who that is was asked. What was lost is shown until then.
    Checking(Check),
    Lost(ContactState),
}

/// A question who answers. It ends with its episode of contact, and so does its answer.
pub(in crate::hub::clusters) struct Check {
    number: u64,
    lost: ContactState,
    _ends: DropGuard,
}

impl Contact {
    /// What is wrong with it.
    pub fn lost(&self) -> Option<&ContactState> {
        match self {
            Self::Trusted => None,
            Self::Checking(Check { lost, .. }) | Self::Lost(lost) => {
                Some(lost).filter(|lost| **lost != ContactState::Ready)
            }
        }
    }

    /// Begins a question of this number; it ends with `until` at the latest.
    pub fn check(&mut self, number: u64, until: &CancellationToken) -> CancellationToken {
        let asking = until.child_token();
        let lost = self.lost().cloned().unwrap_or(ContactState::Ready);
        *self = Self::Checking(Check { number, lost, _ends: asking.clone().drop_guard() });
        asking
    }

    pub fn is_checking(&self, number: u64) -> bool {
        matches!(self, Self::Checking(check) if check.number == number)
    }

    /// It does not say who it is, and is asked on.
    pub fn is_unclear(&mut self, why: ContactState) {
        if let Self::Checking(check) = self {
            check.lost = why;
        }
    }
}

/// The actor of a cluster. It stops when this is dropped.
pub(in crate::hub::clusters) struct Actor {
    handle: actor::Handle,
    /// Whether the cluster is known to be the one that was claimed: nothing is written while that is open.
    trusted: Arc<AtomicBool>,
}

impl Actor {
    pub fn new(handle: actor::Handle, trusted: Arc<AtomicBool>) -> Self {
        Self { handle, trusted }
    }

    pub fn trust(&self, trusted: bool) {
        self.trusted.store(trusted, Ordering::Release);
    }

    pub fn tell(&self, message: ToSpoke) {
        // It may have ended by itself; what it is told then it is told anew.
        drop(self.handle.tasks.send(message));
    }

    /// Nor does what the actor has already begun start another write.
    pub fn stop(&self) {
        self.trust(false);
        self.handle.stop();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_in_its_own_episode_alone() {
        let until = CancellationToken::new();
        let mut contact = Contact::Lost(ContactState::Unreachable("gone".into()));
        let first = contact.check(1, &until);
        assert!(contact.is_checking(1) && contact.lost().is_some(), "what was lost is shown");
        // Contact is lost while the answer is on its way, and comes back.
        contact = Contact::Lost(ContactState::Unreachable("again".into()));
        assert!(first.is_cancelled() && !contact.is_checking(1));
        let second = contact.check(2, &until);
        assert!(contact.is_checking(2) && !contact.is_checking(1) && !second.is_cancelled());
        contact.is_unclear(ContactState::Unauthorized("no".into()));
        assert_eq!(contact.lost(), Some(&ContactState::Unauthorized("no".into())));
        until.cancel();
        assert!(second.is_cancelled());
    }
}
