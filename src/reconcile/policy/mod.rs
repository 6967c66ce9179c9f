//! One Placement or ClusterPlacement: which instances it is about, which clusters it means, and what its status says.
//!
//! It is decided once for all its instances ([`Effective`]); each instance goes by that ([`super::fleet::placement`]).

pub mod approving;
mod clusters;
mod effective;
mod filter;
mod guard;
mod instances;
mod machine;
mod name;
mod nulls;
pub mod overrides;
mod rollouts;
pub mod stages;
mod status;
mod taints;
#[cfg(test)]
mod tests;

pub use clusters::OutOfReach;
pub use effective::{Chosen, Effective, Limit};
pub use filter::{Filter, Match};
pub use instances::Selects;
pub use machine::Policy;
pub use name::PolicyName;
pub use rollouts::Rollouts;
pub use status::Count;
pub use taints::{keeps_away, tolerates};

/// How many of them may concern one instance; of more, the first in the order of their names.
pub const MOST_FOR_ONE: usize = 16;
