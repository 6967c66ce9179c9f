//! What `testenv` can do.

pub mod demo;
pub mod down;
pub mod logs;
mod screen;
mod table;
pub mod up;
