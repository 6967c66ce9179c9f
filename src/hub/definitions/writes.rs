//! What is written to a definition itself: its finalizers and its status, one write at a time.

use super::wakes::Subject;
use crate::hub::request::Request;

/// Which part of a definition is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum Part {
    Finalizers,
    Status,
}

impl Part {
    pub(super) fn subject(self) -> Subject {
        match self {
            Self::Finalizers => Subject::Finalizers,
            Self::Status => Subject::Status,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Writes {
    finalizers: Request<()>,
    status: Request<()>,
}

impl Writes {
    fn part(&mut self, part: Part) -> &mut Request<()> {
        match part {
            Part::Finalizers => &mut self.finalizers,
            Part::Status => &mut self.status,
        }
    }

    /// Whether a write of this part may begin now: none is under way, and the last one of the part did not fail a moment ago.
    pub fn may_begin(&self, part: Part, now: u64) -> bool {
        let request = match part {
            Part::Finalizers => &self.finalizers,
            Part::Status => &self.status,
        };
        !self.finalizers.is_under_way() && !self.status.is_under_way() && request.may_begin(&(), now)
    }

    /// Takes it as begun, if it may begin now.
    pub fn begin(&mut self, part: Part, now: u64) -> bool {
        self.may_begin(part, now) && self.part(part).begin((), now)
    }

    /// It was written. The next one is another.
    pub fn granted(&mut self, part: Part) {
        *self.part(part) = Request::Idle;
    }

    /// `why`: trouble that the status has to say.
    pub fn failed(&mut self, part: Part, why: Option<String>, retry: Option<u64>) {
        self.part(part).failed(why, retry);
    }

    pub fn due(&mut self, part: Part) {
        self.part(part).due();
    }

    /// Why the finalizer cannot be added.
    pub fn unguarded(&self) -> Option<&str> {
        self.finalizers.why()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_write_at_a_time_and_a_refused_part_holds_up_no_other() {
        let mut writes = Writes::default();
        assert!(writes.begin(Part::Finalizers, 0));
        assert!(!writes.begin(Part::Status, 0) && !writes.begin(Part::Finalizers, 0));
        writes.failed(Part::Finalizers, Some("no".into()), Some(5_000));
        assert!(!writes.begin(Part::Finalizers, 4_999));
        assert!(writes.begin(Part::Status, 0));
        assert!(!writes.begin(Part::Finalizers, 5_000));
        writes.granted(Part::Status);
        assert_eq!(writes.unguarded(), Some("no"));
        assert!(writes.begin(Part::Finalizers, 5_000));
        assert_eq!(writes.unguarded(), Some("no"), "until there is an answer");
        writes.granted(Part::Finalizers);
        assert_eq!(writes.unguarded(), None);
        assert!(writes.begin(Part::Status, 5_000));
    }
}
