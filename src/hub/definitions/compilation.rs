//! How far compiling a definition is.

use crate::graph::Graph;
use std::sync::Arc;

/// Fingerprint of what is compiled.
pub(super) type Print = u64;

#[derive(Debug, Default)]
pub(super) enum Compilation {
    #[default]
    New,
    UnderWay {
        print: Print,
        /// What the hub serves changed meanwhile.
        outdated: bool,
        /// It is said until there is another.
        before: Option<Verdict>,
    },
    Done {
        print: Print,
        verdict: Verdict,
    },
    /// It is to be compiled anew, whatever its spec is.
    Outdated(Verdict),
}

/// What the compiler said.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub result: Result<Arc<Graph>, String>,
    /// The hub did not serve all kinds that the definition names.
    pub lacking: bool,
}

impl Verdict {
    /// What the hub serves can change it.
    pub fn is_unsettled(&self) -> bool {
        self.lacking || self.result.is_err()
    }
}

/// Whether compiling begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// This is compiled, or being compiled.
    No,
    Yes,
    /// Another spec than the one before.
    OfAnother,
}

impl Compilation {
    /// Takes compiling as begun, unless this is compiled, or being compiled, already.
    pub fn begin(&mut self, print: Print) -> Begin {
        let known = match self {
            Self::UnderWay { print, .. } | Self::Done { print, .. } => Some(*print),
            Self::New | Self::Outdated(_) => None,
        };
        if known == Some(print) {
            return Begin::No;
        }
        let before = match std::mem::take(self) {
            Self::New => None,
            Self::UnderWay { before, .. } => before,
            Self::Done { verdict, .. } | Self::Outdated(verdict) => Some(verdict),
        };
        *self = Self::UnderWay { print, outdated: false, before };
        if known.is_some() { Begin::OfAnother } else { Begin::Yes }
    }

    /// The compiler said this. Returns whether what the hub serves changed meanwhile; `None`: nobody waits for it.
    pub fn answered(&mut self, of: Print, verdict: Verdict) -> Option<bool> {
        let Self::UnderWay { print, outdated, .. } = *self else { return None };
        if print != of {
            return None;
        }
        *self = Self::Done { print, verdict };
        Some(outdated)
    }

    /// What the hub serves may be otherwise: it is compiled anew, after what is under way.
    pub fn due(&mut self) {
        *self = match std::mem::take(self) {
            Self::UnderWay { print, before, .. } => Self::UnderWay { print, outdated: true, before },
            Self::Done { verdict, .. } => Self::Outdated(verdict),
            other => other,
        };
    }

    pub fn is_under_way(&self) -> bool {
        matches!(self, Self::UnderWay { .. })
    }

    /// What was said last, of this spec or of one before.
    pub fn last(&self) -> Option<&Verdict> {
        match self {
            Self::New => None,
            Self::UnderWay { before, .. } => before.as_ref(),
            Self::Done { verdict, .. } | Self::Outdated(verdict) => Some(verdict),
        }
    }

    /// The graph of the last verdict.
    pub fn graph(&self) -> Option<&Arc<Graph>> {
        self.last()?.result.as_ref().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(why: &str) -> Verdict {
        Verdict { result: Err(why.into()), lacking: false }
    }
    fn said(compilation: &Compilation) -> Option<&str> {
        compilation.last()?.result.as_ref().err().map(String::as_str)
    }

    #[test]
    fn a_spec_is_compiled_once_and_the_last_verdict_is_said_meanwhile() {
        let mut compilation = Compilation::New;
        assert_eq!(compilation.begin(1), Begin::Yes);
        assert_eq!((compilation.begin(1), said(&compilation)), (Begin::No, None));
        assert_eq!(compilation.answered(1, refused("a")), Some(false));
        assert_eq!((compilation.begin(1), said(&compilation)), (Begin::No, Some("a")));
        assert_eq!((compilation.begin(2), said(&compilation)), (Begin::OfAnother, Some("a")));
        assert_eq!(compilation.answered(1, refused("late")), None, "of the spec before");
        assert_eq!(compilation.answered(2, refused("b")), Some(false));
        assert_eq!(compilation.answered(2, refused("twice")), None);
        assert_eq!(said(&compilation), Some("b"));
    }

    #[test]
    fn what_is_due_is_compiled_anew_and_what_is_under_way_is_answered_first() {
        let mut compilation = Compilation::New;
        compilation.due();
        assert_eq!(compilation.begin(1), Begin::Yes);
        compilation.due();
        assert_eq!(compilation.begin(1), Begin::No);
        assert_eq!(compilation.answered(1, refused("a")), Some(true));
        compilation.due();
        assert_eq!((compilation.begin(1), said(&compilation)), (Begin::Yes, Some("a")));
    }
}
