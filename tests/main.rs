//! Tests that look at the project as a whole.

mod cel;
mod deploy;
mod fuzz;
mod layering;
mod validate;
