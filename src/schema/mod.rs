//! SimpleSchema, the CRD it becomes, and what may change in that CRD.
//!
//! Pure: JSON in, JSON or problems out. Types of expressions are not judged here, see [`crate::graph`].

pub mod compat;
pub mod crd;
pub mod kept;
pub mod kinds;
pub mod openapi;
pub mod plural;
pub mod served;
pub mod simple;
