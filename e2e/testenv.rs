//! Real clusters for people: `make up`, `make down`, `make logs`, `make demo`.

mod bench;
mod commands;
mod env;

fn main() -> std::process::ExitCode {
    commands::run()
}
