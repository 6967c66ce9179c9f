//! Instants of the clock that every decision is timed by.

use std::time::Duration;

/// An instant of the program's monotonic clock, in whole milliseconds since it began. A span between two is a [`Duration`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// When the clock began: what is due then is due at once.
    pub const START: Self = Self(0);

    /// Decisions compare instants and add spans; only tests name them by numbers.
    #[cfg(test)]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    #[cfg(test)]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This much later; the last instant there is, where that would be beyond it.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago the earlier instant is; nothing, if it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_whole_milliseconds_and_stay_within_the_clock() {
        let at = Moment::from_millis;
        assert_eq!(at(5).after(Duration::from_micros(2_999)), at(7));
        assert_eq!(at(5).after(Duration::MAX), at(u64::MAX));
        assert_eq!(at(7).since(at(5)), Duration::from_millis(2));
        assert_eq!(at(5).since(at(7)), Duration::ZERO);
        assert_eq!((Moment::default(), Moment::START.after(Duration::ZERO)), (at(0), at(0)));
    }
}
