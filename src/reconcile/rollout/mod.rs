//! How a change reaches the clusters: by stages, a few clusters at a time, as far as those before do well.
//!
//! A *unit* is the pairs (instance, cluster) that one rollout moves. Its numbered targets are its *versions*; the newest
//! one is the *target*, and the last one that every cluster within reach completed is the *stable* one. Which version a
//! cluster runs, and since when, stands on the copy of the instance there. All else follows from that, so nothing of a
//! rollout can be lost or stuck.

pub mod approving;
pub mod facts;
pub mod marks;
pub mod pin;
pub mod records;
pub mod stages;
pub mod unit;
pub mod versions;

pub use facts::Facts;
pub use marks::{Admitted, Mark};
pub use stages::{Limit, Rules, Stage};
pub use unit::{Progress, Reason, Unit};
