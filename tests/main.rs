//! Tests that look at the project as a whole.

mod binary;
mod cel;
mod console;
mod cycles;
mod deploy;
mod documents;
mod examples;
mod fuzz;
mod hostile_bytes;
mod hub_repo;
mod layering;
mod toolchain;
mod validate;
