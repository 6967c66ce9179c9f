//! What stands on a copy of an instance about the version that it is of. It is written in the same apply as the content, so
//! it cannot disagree with it.

use crate::reconcile::{Moment, Now};

/// Which version stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    pub version: u64,
    /// When it was sent there, in seconds.
    pub since: u64,
    /// The cluster was not well before it came.
    pub unjudged: bool,
}

const UNJUDGED: &str = "unjudged";

impl Mark {
    /// `8 2026-11-28T10:00:00Z`, and `unjudged` where so.
    pub fn text(self) -> String {
        let since = time_text(self.since);
        let suffix = if self.unjudged { " unjudged" } else { "" };
        format!("{} {since}{suffix}", self.version)
    }

    /// `None` where it is no mark of ours.
    pub fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let version = words.next()?.parse().ok().filter(|n| *n > 0)?;
        let since = time(words.next()?)?;
        let unjudged = match words.next() {
            None => false,
            Some(UNJUDGED) => true,
            Some(_) => return None,
        };
        words.next().is_none().then_some(Self { version, since, unjudged })
    }
}

/// Which revision of its definition a copy of an instance was let run by, where the revision of the whole kind moves as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Admitted {
    pub revision: u64,
    /// The version of the kind's rollout.
    pub mark: Mark,
}

impl Admitted {
    /// `5 12 2026-11-28T10:00:00Z`: the revision, then the mark.
    pub fn text(self) -> String {
        format!("{} {}", self.revision, self.mark.text())
    }

    /// `None` where it is none of ours.
    pub fn read(text: &str) -> Option<Self> {
        let (revision, mark) = text.split_once(' ')?;
        let revision = revision.parse().ok().filter(|n| *n > 0)?;
        Some(Self { revision, mark: Mark::read(mark)? })
    }
}

/// The time of day in seconds since 1970.
pub fn seconds(now: &Now) -> u64 {
    time(&now.rfc3339).unwrap_or_default()
}

/// When that time comes. Whole seconds are all that marks tell, so that looks within one second agree on it.
pub fn moment(now: &Now, seconds: u64) -> Moment {
    now.moment_of(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// Seconds since 1970 as RFC 3339 in UTC.
pub fn time_text(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    time.unwrap_or_default().to_string()
}

/// The seconds since 1970 of a time in RFC 3339.
pub fn time(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_were_written() {
        let plain = Mark { version: 8, since: 1_795_860_000, unjudged: false };
        assert_eq!(plain.text(), "8 2026-11-28T10:00:00Z");
        for mark in [plain, Mark { unjudged: true, ..plain }, Mark { version: 1, since: 0, unjudged: false }]
        {
            assert_eq!(Mark::read(&mark.text()), Some(mark));
            let admitted = Admitted { revision: 5, mark };
            assert_eq!(Admitted::read(&admitted.text()), Some(admitted));
        }
    }

    #[test]
    fn what_is_no_mark_is_none() {
        for text in [
            "",
            "8",
            "0 2026-11-28T10:00:00Z",
            "x 2026-11-28T10:00:00Z",
            "8 yesterday",
            "8 2026-11-28T10:00:00Z judged",
            "8 2026-11-28T10:00:00Z unjudged x",
            "-1 2026-11-28T10:00:00Z",
        ] {
            assert_eq!(Mark::read(text), None, "{text}");
            assert_eq!(Admitted::read(&format!("5 {text}")), None, "{text}");
        }
    }
}
