//! What to do next, decided without I/O and without a clock.
//!
//! Three machines. [`policy`] serves one Placement or ClusterPlacement: which clusters it means. [`spoke`] serves one instance on one cluster: from what the cluster shows it decides which objects to
//! apply, to delete, and what to report. [`fleet`] serves one instance on the hub: from the registered clusters and the
//! reports it decides where the instance goes and what its status says.
//!
//! Both are level-triggered: a step looks at the whole present state, so a lost or doubled event changes nothing, and a
//! restart needs no memory. Invariants that hold in both:
//! - nothing is deleted because something could not be read;
//! - a delete names the uid of the object it means;
//! - no step depends on wall time: callers pass [`Now`].

mod awaited;
pub mod bounds;
pub mod fleet;
pub mod lists;
pub mod managers;
mod moment;
pub mod objects;
pub mod ownership;
pub mod policy;
pub mod retry;
pub mod rivals;
pub mod rollout;
pub mod settled;
mod side;
pub mod spoke;
pub mod world;

pub use moment::Moment;
pub use retry::Retry;

use std::time::Duration;

/// The present, as the caller sees it.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// Of a monotonic clock.
    pub at: Moment,
    /// RFC 3339 in UTC, whole seconds; goes into conditions.
    pub rfc3339: String,
}

impl Now {
    /// Seconds of Unix.
    pub fn unix(&self) -> i64 {
        unix(&self.rfc3339)
    }

    /// When that time comes, in seconds of Unix; never before the second after this one.
    pub fn moment_of(&self, unix: i64) -> Moment {
        let seconds = u64::try_from(unix.saturating_sub(self.unix())).unwrap_or_default().max(1);
        let whole = self.at.since(Moment::START).as_secs();
        Moment::START.after(Duration::from_secs(whole.saturating_add(seconds)))
    }
}

/// Seconds of Unix of a time in RFC 3339; 0 for what is none.
pub fn unix(rfc3339: &str) -> i64 {
    rfc3339.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second)
}
