//! What to do next, decided without I/O and without a clock.
//!
//! Two machines. [`spoke`] serves one instance on one cluster: from what the cluster shows it decides which objects to
//! apply, to delete, and what to report. [`fleet`] serves one instance on the hub: from the registered clusters and the
//! reports it decides where the instance goes and what its status says.
//!
//! Both are level-triggered: a step looks at the whole present state, so a lost or doubled event changes nothing, and a
//! restart needs no memory. Invariants that hold in both:
//! - nothing is deleted because something could not be read;
//! - a delete names the uid of the object it means;
//! - no step depends on wall time: callers pass [`Now`].

pub mod fleet;
pub mod lists;
mod moment;
pub mod objects;
pub mod ownership;
mod retry;
pub mod rivals;
pub mod settled;
mod side;
pub mod spoke;
pub mod world;

pub use moment::Moment;
pub use retry::Retry;

/// The present, as the caller sees it.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// Of a monotonic clock.
    pub at: Moment,
    /// RFC 3339 in UTC, whole seconds; goes into conditions.
    pub rfc3339: String,
}
