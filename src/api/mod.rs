//! The objects kro-hub reads and writes, and the names it gives them.
//!
//! Only types and the small laws that belong to them: no I/O, no clock, no expressions.

pub mod applyset;
pub mod cluster;
pub mod condition;
pub mod crds;
pub mod hash;
pub mod keys;
#[cfg(test)]
pub mod kstatus;
pub mod maps;
pub mod names;
pub mod naming;
pub mod object;
pub mod rgd;
pub mod text;

pub use condition::{Condition, ConditionStatus, Conditions};
pub use names::{GroupKind, Gvk, HubId};
pub use object::Object;
pub use rgd::ResourceGraphDefinition;
