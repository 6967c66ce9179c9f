//! What people are shown of a fleet. Each view is a model made of objects alone, as text and as JSON; whoever calls reads the
//! objects, and says what time it is and how wide the terminal.

mod age;
pub mod awaited;
pub mod changes;
pub mod chosen;
pub mod clusters;
pub mod document;
pub mod events;
pub mod example;
pub mod fleet;
pub mod instance;
pub mod kinds;
pub mod look;
mod mark;
pub mod nodes;
mod plain;
pub mod reasons;
pub mod registry;
pub mod rolling;
#[cfg(test)]
#[allow(clippy::too_many_lines)] // A table.
mod schemas;
mod table;
pub mod trace;

pub use look::Look;
pub use mark::Mark;
