//! Tables that show every row that does not hold in one run.

use super::problems;
use std::fmt::Display;

/// Collects what differs.
#[derive(Default)]
pub struct Table(Vec<String>);

impl Table {
    /// What there is must hold what is wanted; ends of lines count.
    pub fn has(&mut self, row: impl Display, got: impl Display, want: &str) {
        let got = got.to_string();
        if !got.contains(want) {
            self.0.push(format!("{row}\n  want: {want}\n  got:  {got}"));
        }
    }

    pub fn is(&mut self, row: impl Display, got: impl Display, want: impl Display) {
        let (got, want) = (got.to_string(), want.to_string());
        if got != want {
            self.0.push(format!("{row}\n  want: {want}\n  got:  {got}"));
        }
    }

    /// A definition compiles (`ok`), or has exactly one problem, with this in its text.
    pub fn verdict(&mut self, row: impl Display, yaml: &str, want: &str) {
        let found = problems(yaml);
        match found.as_slice() {
            [] => self.is(row, "ok", want),
            [one] if want != "ok" => self.has(row, one, want),
            many => self.is(row, many.join("\n        "), want),
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "{} rows differ:\n{}", self.0.len(), self.0.join("\n"));
        }
    }
}
