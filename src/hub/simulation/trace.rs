//! What happened in a run, line by line. Two runs of one seed have the same print.

use crate::api::hash::fnv64;
use serde_json::Value;
use std::collections::VecDeque;
use std::fmt::Write;

/// Lines that a failing run shows.
const SHOWN: usize = 60;

/// `KRO_HUB_TRACE=1` prints every line of a run, `KRO_HUB_TRACE=bodies` also what is written.
pub fn is_loud() -> bool {
    std::env::var("KRO_HUB_TRACE").is_ok()
}

#[derive(Debug, Default)]
pub struct Trace {
    last: VecDeque<String>,
    print: u64,
    pub lines: u64,
    all: bool,
}

impl Trace {
    /// `all`: every line is printed when it is written.
    pub fn new(all: bool) -> Self {
        Self { all, ..Self::default() }
    }

    pub fn line(&mut self, millis: u64, text: &str) {
        let line = format!("{:>9.3} {text}", millis as f64 / 1_000.0);
        if self.all {
            println!("{line}");
        }
        self.print = self.print.rotate_left(5) ^ fnv64(line.as_bytes());
        self.lines += 1;
        // A lease is renewed all the time.
        if text.contains("/leases/") {
            return;
        }
        if self.last.len() >= SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// What a request wrote.
    pub fn body(&self, body: &Value) {
        if self.all && std::env::var("KRO_HUB_TRACE").is_ok_and(|what| what == "bodies") {
            println!("          {body}");
        }
    }

    pub fn print(&self) -> u64 {
        self.print
    }

    pub fn tail(&self) -> String {
        self.last.iter().fold(String::new(), |mut out, line| {
            let _ = writeln!(out, "{line}");
            out
        })
    }
}
