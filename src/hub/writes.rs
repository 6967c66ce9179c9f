//! What is written to one object of ours: its finalizers and its status, one write at a time.

use super::request::Request;
use crate::reconcile::Moment;

/// Which part of an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Finalizers,
    Status,
}

/// `S` tells one status from another.
#[derive(Debug)]
pub(super) struct Writes<S> {
    finalizers: Request<()>,
    status: Request<S>,
}

impl<S> Default for Writes<S> {
    fn default() -> Self {
        Self { finalizers: Request::Idle, status: Request::Idle }
    }
}

impl<S: PartialEq> Writes<S> {
    pub fn is_under_way(&self) -> bool {
        self.finalizers.is_under_way() || self.status.is_under_way()
    }

    /// Takes a write of the finalizers as begun, if it may begin now: no other is under way, and the last one did not fail a
    /// moment ago.
    pub fn begin_finalizers(&mut self, now: Moment) -> bool {
        !self.is_under_way() && self.finalizers.begin((), now)
    }

    pub fn may_begin_status(&self, status: &S, now: Moment) -> bool {
        !self.is_under_way() && self.status.may_begin(status, now)
    }

    /// The same of the status.
    pub fn begin_status(&mut self, status: S, now: Moment) -> bool {
        !self.is_under_way() && self.status.begin(status, now)
    }

    /// There was an answer, and the same may be written again.
    pub fn answered(&mut self, part: Part) {
        match part {
            Part::Finalizers => self.finalizers = Request::Idle,
            Part::Status => self.status = Request::Idle,
        }
    }

    /// The status was written. The same is not written again before it is due.
    pub fn status_granted(&mut self) {
        self.status.granted();
    }

    /// All is as it has to be.
    pub fn status_stands(&mut self) {
        if !self.status.is_under_way() {
            self.status = Request::Idle;
        }
    }

    /// `why`: trouble that the status has to say.
    pub fn failed(&mut self, part: Part, why: Option<String>, retry: Option<Moment>) {
        match part {
            Part::Finalizers => self.finalizers.failed(why, retry),
            Part::Status => self.status.failed(why, retry),
        }
    }

    pub fn due(&mut self, part: Part) {
        match part {
            Part::Finalizers => self.finalizers.due(),
            Part::Status => self.status.due(),
        }
    }

    /// Why the finalizer cannot be added.
    pub fn unguarded(&self) -> Option<&str> {
        self.finalizers.why()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn one_write_at_a_time_and_a_refused_part_holds_up_no_other() {
        let mut writes = Writes::default();
        assert!(writes.begin_finalizers(at(0)));
        assert!(!writes.begin_status(1, at(0)) && !writes.begin_finalizers(at(0)));
        writes.failed(Part::Finalizers, Some("no".into()), Some(at(5_000)));
        assert!(!writes.begin_finalizers(at(4_999)));
        assert!(writes.begin_status(1, at(0)));
        assert!(!writes.begin_finalizers(at(5_000)));
        writes.answered(Part::Status);
        assert_eq!(writes.unguarded(), Some("no"));
        assert!(writes.begin_finalizers(at(5_000)));
        assert_eq!(writes.unguarded(), Some("no"), "until there is an answer");
        writes.answered(Part::Finalizers);
        assert_eq!(writes.unguarded(), None);
        assert!(writes.begin_status(1, at(5_000)));
    }

    #[test]
    fn a_status_that_does_not_stay_is_written_again_when_it_is_due_and_another_at_once() {
        let mut writes = Writes::default();
        assert!(writes.begin_status(1, at(0)));
        writes.status_granted();
        assert!(!writes.may_begin_status(&1, at(9_000)) && writes.may_begin_status(&2, at(9_000)));
        // A write of the finalizers between two of them does not make it another.
        assert!(writes.begin_finalizers(at(9_000)));
        writes.answered(Part::Finalizers);
        assert!(!writes.begin_status(1, at(9_000)));
        writes.due(Part::Status);
        assert!(writes.begin_status(1, at(9_000)));
        writes.failed(Part::Status, None, Some(at(10_000)));
        assert!(!writes.begin_status(1, at(9_999)) && writes.begin_status(2, at(9_999)));
        writes.status_granted();
        writes.status_stands();
        assert!(writes.begin_status(2, at(9_999)), "it was as it had to be, and is not any more");
    }
}
