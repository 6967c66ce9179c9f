//! The objects kro-hub reads and writes, and the names it gives them.
//!
//! Only types and the small laws that belong to them: no I/O, no clock, no expressions.

pub mod amounts;
pub mod applyset;
pub mod cluster;
pub mod condition;
pub mod crds;
pub mod hash;
pub mod instance_report;
pub mod keys;
#[cfg(test)]
pub mod kstatus;
pub mod maps;
pub mod names;
pub mod naming;
pub mod object;
pub mod packed;
pub mod placement;
pub mod rgd;
pub mod rollout;
pub mod rollout_approval;
pub mod shared;
pub mod text;

pub use condition::{Condition, ConditionStatus, Conditions};
pub use names::{GroupKind, Gvk, HubId};
pub use object::{Object, PackedObject};
pub use rgd::ResourceGraphDefinition;
