//! Real clusters for people: `make up`, `make down`, `make logs`, `make demo`.

#![allow(clippy::too_many_lines, clippy::too_many_arguments)] // A trial is one story.

mod bench;
mod commands;
mod env;

fn main() -> std::process::ExitCode {
    commands::run()
}
