//! SimpleSchema, the CRD it becomes, and what may change in that CRD.
//!
//! Pure: JSON in, JSON or problems out. Types of expressions are not judged here, see [`crate::graph`].

pub(crate) mod compat;
pub(crate) mod crd;
pub(crate) mod kept;
pub(crate) mod kinds;
pub(crate) mod openapi;
pub(crate) mod plural;
pub(crate) mod served;
pub mod simple;
pub(crate) mod unmet;
