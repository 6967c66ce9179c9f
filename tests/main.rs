//! Tests that look at the project as a whole.

mod deploy;
mod layering;
