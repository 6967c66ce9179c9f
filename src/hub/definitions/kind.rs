//! Whether the hub serves the kind of a definition as its graph wants it.

use crate::hub::request::Request;
use crate::reconcile::Moment;

/// What the CRD on the hub is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// Of the graph.
    pub hash: String,
    /// With the column of the clusters.
    pub column: bool,
    /// Though that breaks what instances carry.
    pub break_stored: bool,
}

#[derive(Debug, Default)]
pub(super) struct Kind {
    request: Request<Wish>,
    /// As the API server accepted it last.
    accepted: Option<String>,
}

impl Kind {
    /// Takes the CRD as asked for, if that is to be done now.
    pub fn begin(&mut self, wish: Wish, now: Moment) -> bool {
        self.request.begin(wish, now)
    }

    pub fn is_under_way(&self) -> bool {
        self.request.is_under_way()
    }

    pub fn granted(&mut self, kind: String) {
        self.request.granted();
        self.accepted = Some(kind);
    }

    pub fn failed(&mut self, why: String, retry: Option<Moment>) {
        self.request.failed(Some(why), retry);
    }

    /// What was answered says nothing of what is wanted now.
    pub fn answered_for_another(&mut self) {
        self.request = Request::Idle;
    }

    /// Somebody changed or removed the CRD.
    pub fn changed(&mut self) {
        self.request.changed();
    }

    pub fn due(&mut self) {
        self.request.due();
    }

    /// The kind that the hub serves; else why it does not. `None`: not known yet.
    pub fn said(&self) -> Option<Result<&str, &str>> {
        self.request.why().map(Err).or_else(|| self.accepted.as_deref().map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn wish(hash: &str) -> Wish {
        Wish { hash: hash.into(), column: false, break_stored: false }
    }

    #[test]
    fn what_is_served_is_not_asked_for_again_until_somebody_changes_it() {
        let mut kind = Kind::default();
        assert!(kind.begin(wish("a"), at(0)) && !kind.begin(wish("a"), at(0)));
        kind.granted("App".into());
        assert!(!kind.begin(wish("a"), at(0)));
        kind.changed();
        assert!(kind.begin(wish("a"), at(0)));
        assert_eq!(kind.said(), Some(Ok("App")));
        // It changes again, before there is an answer.
        kind.changed();
        kind.granted("App".into());
        assert!(kind.begin(wish("a"), at(0)));
    }

    #[test]
    fn what_was_refused_is_said_until_it_is_mended_and_another_wish_does_not_wait() {
        let mut kind = Kind::default();
        assert!(kind.begin(wish("a"), at(0)));
        kind.failed("no".into(), Some(at(60_000)));
        assert!(!kind.begin(wish("a"), at(59_999)));
        assert!(kind.begin(wish("b"), at(0)));
        assert_eq!(kind.said(), Some(Err("no")));
        kind.answered_for_another();
        assert!(kind.begin(wish("b"), at(0)), "it is asked for at once");
        kind.granted("App".into());
        assert_eq!(kind.said(), Some(Ok("App")));
    }
}
