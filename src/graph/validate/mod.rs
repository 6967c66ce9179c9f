//! What makes a definition wrong. Each file knows one kind of rule; all of them report
//! into one list, none stops at the first problem.

pub mod annotations;
pub mod external;
pub mod hub_side;
pub mod identity;
pub mod place;
pub mod rules;
pub mod shape;
pub mod types;
pub mod values;
