//! What makes a definition wrong before any cluster is asked. Each file knows one kind of rule; all of them report
//! into one list, none stops at the first problem.

pub mod annotations;
pub mod fields;
pub mod identity;
pub mod place;
pub mod scope;
pub mod shape;
