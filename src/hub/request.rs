//! What one thing asks an API server for: one request at a time; what was refused is not asked again before its time, and
//! what was granted is not asked again at all. Another wish waits for neither.

use crate::reconcile::Moment;

/// How a request for a wish stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Request<T> {
    /// Nothing was asked for, or it has to be asked for anew.
    #[default]
    Idle,
    UnderWay(UnderWay<T>),
    Failed(Failed<T>),
    /// It was granted, and is so still as far as anybody knows.
    Done(T),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnderWay<T> {
    pub of: T,
    /// Why the try before failed: that is said until there is an answer.
    pub before: Option<String>,
    /// What it looks at changed meanwhile: it is asked again after the answer.
    pub outdated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed<T> {
    pub of: T,
    /// `None`: it is no trouble that anybody has to hear of.
    pub why: Option<String>,
    /// When the same may be asked again. `None`: not by itself.
    pub retry: Option<Moment>,
}

impl<T: PartialEq> Request<T> {
    /// Whether this may be asked for now.
    pub fn may_begin(&self, wish: &T, now: Moment) -> bool {
        match self {
            Self::Idle => true,
            Self::UnderWay(_) => false,
            Self::Failed(failed) => failed.of != *wish || failed.retry.is_some_and(|at| at <= now),
            Self::Done(of) => of != wish,
        }
    }

    /// Takes it as asked for, if that may be now.
    pub fn begin(&mut self, wish: T, now: Moment) -> bool {
        let may = self.may_begin(&wish, now);
        if may {
            let before = match std::mem::take(self) {
                Self::Failed(failed) => failed.why,
                _ => None,
            };
            *self = Self::UnderWay(UnderWay { of: wish, before, outdated: false });
        }
        may
    }

    pub fn is_under_way(&self) -> bool {
        matches!(self, Self::UnderWay(_))
    }

    /// Whether an answer to this wish is waited for.
    pub fn awaits(&self, wish: &T) -> bool {
        matches!(self, Self::UnderWay(under_way) if under_way.of == *wish)
    }

    /// What is wrong, as far as anybody knows.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::UnderWay(under_way) => under_way.before.as_deref(),
            Self::Failed(failed) => failed.why.as_deref(),
            Self::Idle | Self::Done(_) => None,
        }
    }

    /// It was granted. Does nothing where no answer is waited for.
    pub fn granted(&mut self) {
        *self = match std::mem::take(self) {
            Self::UnderWay(UnderWay { of, outdated: false, .. }) => Self::Done(of),
            Self::UnderWay(_) => Self::Idle,
            other => other,
        };
    }

    /// It was not granted. Does nothing where no answer is waited for.
    pub fn failed(&mut self, why: Option<String>, retry: Option<Moment>) {
        *self = match std::mem::take(self) {
            Self::UnderWay(UnderWay { of, outdated, .. }) => {
                Self::Failed(Failed { of, why, retry: if outdated { Some(Moment::START) } else { retry } })
            }
            other => other,
        };
    }

    /// What it looks at changed: it is asked for again, after an answer that is under way.
    pub fn changed(&mut self) {
        match self {
            Self::UnderWay(under_way) => under_way.outdated = true,
            _ => self.due(),
        }
    }

    /// The same may be asked for again. An answer that is under way counts.
    pub fn due(&mut self) {
        match self {
            Self::Idle | Self::UnderWay(_) => {}
            Self::Failed(failed) => failed.retry = Some(Moment::START),
            Self::Done(_) => *self = Self::Idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }
    fn under_way() -> Request<u8> {
        let mut request = Request::Idle;
        assert!(request.begin(1, at(0)));
        request
    }
    fn failed(retry: Option<Moment>) -> Request<u8> {
        let mut request = under_way();
        request.failed(Some("no".into()), retry);
        request
    }
    fn done() -> Request<u8> {
        let mut request = under_way();
        request.granted();
        request
    }
    fn changed(mut request: Request<u8>) -> Request<u8> {
        request.changed();
        request
    }

    #[test]
    fn when_a_wish_may_be_asked_for() {
        for (name, request, same, other) in [
            ("nothing was asked for", Request::Idle, true, true),
            ("one is under way", under_way(), false, false),
            ("it was granted", done(), false, true),
            ("it was granted, and changed since", changed(done()), true, true),
            ("it was refused a moment ago", failed(Some(at(101))), false, true),
            ("it was refused, and its time has come", failed(Some(at(100))), true, true),
            ("it was refused for good", failed(None), false, true),
            ("it was refused, and what it looks at changed", changed(failed(None)), true, true),
            ("one is under way, and what it looks at changed", changed(under_way()), false, false),
        ] {
            assert_eq!(
                (request.may_begin(&1, at(100)), request.may_begin(&2, at(100))),
                (same, other),
                "{name}"
            );
            let mut begun = request.clone();
            assert_eq!(begun.begin(1, at(100)), same, "{name}");
            assert!(!same || begun.awaits(&1), "{name}");
        }
    }

    #[test]
    fn a_change_while_it_is_under_way_makes_it_asked_for_again() {
        let mut granted = changed(under_way());
        granted.granted();
        assert!(granted.may_begin(&1, at(0)));
        let mut refused = changed(under_way());
        refused.failed(None, None);
        assert!(refused.may_begin(&1, at(0)));
    }

    #[test]
    fn what_was_wrong_is_said_until_there_is_an_answer() {
        let mut request = failed(Some(at(1)));
        assert_eq!(request.why(), Some("no"));
        assert!(request.begin(1, at(1)));
        assert_eq!(request.why(), Some("no"));
        request.granted();
        assert_eq!(request.why(), None);
    }

    #[test]
    fn an_answer_that_nobody_waits_for_says_nothing() {
        for before in [Request::Idle, failed(Some(at(1))), done()] {
            let mut request = before.clone();
            request.granted();
            request.failed(Some("late".into()), None);
            assert_eq!(request, before);
        }
    }
}
