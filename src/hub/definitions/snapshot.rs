//! Whether the graph of a definition has its GraphRevision.

use super::revisions::{Revisions, Standing};
use super::status::Revision;
use crate::hub::request::{Failed, Request, UnderWay};
use crate::reconcile::Moment;

/// A GraphRevision that there is, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::hub) struct Issue {
    /// Of the graph.
    pub hash: String,
    pub number: i64,
}

#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// The newest that is known to be there.
    issued: Option<Issue>,
    request: Request<Issue>,
    /// The highest number of those that went: an answer to its creation may come later.
    gone: i64,
}

/// What is to be done before the graph may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// To be issued now.
    Issue(Issue),
    /// An answer, or time.
    Wait,
}

impl Snapshot {
    /// Looks whether the graph of this hash has its snapshot. `written`: the number in the status of the definition.
    pub fn look(&mut self, hash: &str, written: i64, snapshots: &Revisions, now: Moment) -> Needs {
        if self.issued.as_ref().is_some_and(|issued| issued.hash == hash) {
            self.no_longer_wanted();
            return Needs::Nothing;
        }
        let last = written.max(self.gone).max(self.issued.as_ref().map_or(0, |issued| issued.number));
        let of = |number| Issue { hash: hash.to_owned(), number };
        match snapshots.standing(hash, last) {
            Standing::Issued(number) => {
                self.issued = Some(of(number));
                self.no_longer_wanted();
                Needs::Nothing
            }
            Standing::Missing(number) if self.request.begin(of(number), now) => Needs::Issue(of(number)),
            Standing::Missing(_) => Needs::Wait,
        }
    }

    /// The snapshot of this number is there no more, or is being deleted: its graph gets another one.
    pub fn gone(&mut self, number: i64) {
        self.gone = self.gone.max(number);
        if self.issued.as_ref().is_some_and(|issued| issued.number == number) {
            self.issued = None;
        }
    }

    /// What was refused for another graph is of no interest any more.
    fn no_longer_wanted(&mut self) {
        if matches!(self.request, Request::Failed(_)) {
            self.request = Request::Idle;
        }
    }

    /// The number of the snapshot of this hash, where it is the newest; 0 else.
    pub fn number_of(&self, hash: &str) -> u64 {
        let issued = self.issued.as_ref().filter(|issued| issued.hash == hash);
        issued.and_then(|issued| u64::try_from(issued.number).ok()).unwrap_or_default()
    }

    pub fn awaits(&self, issue: &Issue) -> bool {
        self.request.awaits(issue)
    }

    pub fn granted(&mut self, issue: Issue) {
        self.request = Request::Idle;
        if issue.number > self.gone {
            self.issued = Some(issue);
        }
    }

    pub fn failed(&mut self, why: String, retry: Option<Moment>) {
        self.request.failed(Some(why), retry);
    }

    pub fn due(&mut self) {
        self.request.due();
    }

    /// `newest`: that the hub shows.
    pub fn revision(&self, newest: Option<i64>) -> Revision {
        let active = self.issued.as_ref().map(|issued| issued.number).or(newest);
        match &self.request {
            Request::UnderWay(UnderWay { of, before: why, .. }) | Request::Failed(Failed { of, why, .. }) => {
                Revision::Issuing { number: of.number, why: why.clone() }
            }
            Request::Idle | Request::Done(_) => active.map_or(Revision::None, Revision::Active),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn a_graph_is_issued_once_and_after_a_failure_not_before_its_time() {
        let (mut snapshot, none) = (Snapshot::default(), Revisions::default());
        let issue = |hash: &str, number| Issue { hash: hash.into(), number };
        assert_eq!(snapshot.look("a", 0, &none, at(0)), Needs::Issue(issue("a", 1)));
        assert_eq!(snapshot.look("a", 0, &none, at(0)), Needs::Wait);
        let issuing = |why: Option<&str>| Revision::Issuing { number: 1, why: why.map(str::to_owned) };
        assert_eq!(snapshot.revision(None), issuing(None));
        snapshot.failed("no".into(), Some(at(5_000)));
        assert_eq!(snapshot.look("a", 0, &none, at(4_999)), Needs::Wait);
        assert_eq!(snapshot.revision(None), issuing(Some("no")));
        assert_eq!(snapshot.look("a", 0, &none, at(5_000)), Needs::Issue(issue("a", 1)));
        assert_eq!(snapshot.revision(None), issuing(Some("no")), "until there is an answer");
        assert!(snapshot.awaits(&issue("a", 1)) && !snapshot.awaits(&issue("a", 2)));
        snapshot.granted(issue("a", 1));
        assert_eq!(snapshot.look("a", 0, &none, at(5_000)), Needs::Nothing);
        // It is not shown yet, and the next one has its own number.
        assert_eq!(snapshot.look("b", 0, &none, at(5_000)), Needs::Issue(issue("b", 2)));
        snapshot.failed("no".into(), Some(at(9_000)));
        assert_eq!(snapshot.look("a", 0, &none, at(5_000)), Needs::Nothing);
        assert_eq!(snapshot.revision(None), Revision::Active(1), "the graph of before is wanted again");
    }

    #[test]
    fn a_snapshot_that_somebody_deletes_is_issued_again_under_the_next_number() {
        let none = Revisions::default();
        let issue = |number| Issue { hash: "a".into(), number };
        let mut snapshot = Snapshot::default();
        snapshot.look("a", 0, &none, at(0));
        snapshot.granted(issue(1));
        snapshot.gone(7);
        assert_eq!(snapshot.look("a", 0, &none, at(0)), Needs::Nothing, "another one went");
        let mut snapshot = Snapshot::default();
        snapshot.look("a", 0, &none, at(0));
        snapshot.granted(issue(1));
        snapshot.gone(1);
        assert_eq!(snapshot.revision(None), Revision::None);
        assert_eq!(snapshot.look("a", 0, &none, at(0)), Needs::Issue(issue(2)), "the status may be behind");
        let issuing = Revision::Issuing { number: 2, why: None };
        assert_eq!(snapshot.revision(None), issuing);
        // It goes before its creation is answered.
        snapshot.gone(2);
        snapshot.granted(issue(2));
        assert_eq!(snapshot.look("a", 1, &none, at(0)), Needs::Issue(issue(3)));
        snapshot.granted(issue(3));
        snapshot.gone(2);
        assert_eq!(snapshot.look("a", 3, &none, at(0)), Needs::Nothing);
    }
}
