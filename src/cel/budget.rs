//! How much one evaluation, and all evaluations of one reconcile, may do.
//!
//! Counted, not timed: the same expression on the same data gives the same answer on a busy machine. Every node that
//! is evaluated costs one step, every byte or element that a function produces or compares costs a part of one; so
//! time and memory are both bounded, and no function can escape.

use super::error::Fault;
use regex::Regex;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Steps for one expression.
pub const EXPRESSION_STEPS: u64 = 2_000_000;
/// Steps for all expressions that share a budget.
pub const TOTAL_STEPS: u64 = 50_000_000;
/// A longer string or list is refused at once.
pub const MAX_SIZE: usize = 1 << 20;
/// Patterns kept compiled.
const MAX_REGEXES: usize = 64;
/// Compiled size of one pattern.
pub(super) const REGEX_BYTES: usize = 1 << 20;

/// Steps and sizes, shared by the evaluations of one reconcile.
#[derive(Debug)]
pub struct Budget {
    total: Cell<u64>,
    per_expression: u64,
    left: Cell<u64>,
    regexes: RefCell<HashMap<String, Rc<Regex>>>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(EXPRESSION_STEPS, TOTAL_STEPS)
    }
}

impl Budget {
    /// `per_expression` steps for each evaluation and `total` for all of them.
    pub fn new(per_expression: u64, total: u64) -> Self {
        Self {
            total: Cell::new(total),
            per_expression,
            left: Cell::new(0),
            regexes: RefCell::new(HashMap::new()),
        }
    }

    /// Steps that are left for all evaluations together.
    pub fn remaining(&self) -> u64 {
        self.total.get()
    }

    /// Begins an evaluation.
    pub(super) fn start(&self) {
        self.left.set(self.per_expression.min(self.total.get()));
    }

    #[cfg(test)]
    pub(super) fn started(self) -> Self {
        self.start();
        self
    }

    pub(super) fn step(&self) -> Result<(), Fault> {
        self.charge(1)
    }

    pub(super) fn charge(&self, steps: u64) -> Result<(), Fault> {
        let Some(left) = self.left.get().checked_sub(steps) else {
            self.total.set(self.total.get().saturating_sub(self.left.replace(0)));
            return Err(Fault::Exhausted("computation"));
        };
        self.left.set(left);
        self.total.set(self.total.get().saturating_sub(steps));
        Ok(())
    }

    /// Charges a string of `len` bytes, before it is made.
    pub(super) fn text(&self, len: usize) -> Result<(), Fault> {
        self.sized(len, 16)
    }

    /// Charges a list of `len` elements, before it is made.
    pub(super) fn items(&self, len: usize) -> Result<(), Fault> {
        self.sized(len, 1)
    }

    fn sized(&self, len: usize, per_step: u64) -> Result<(), Fault> {
        if len > MAX_SIZE {
            return Err(Fault::Exhausted("memory"));
        }
        self.charge(len as u64 / per_step)
    }

    /// The compiled pattern, to be matched against a text; a loop compiles it once.
    pub(super) fn regex(&self, pattern: &str, text: &str) -> Result<Rc<Regex>, Fault> {
        // Matching takes time by the text's length and at worst by the pattern's too.
        self.charge(text.len() as u64 * (pattern.len() as u64 / 16 + 1) / 16)?;
        if let Some(found) = self.regexes.borrow().get(pattern) {
            return Ok(Rc::clone(found));
        }
        self.charge(200 + pattern.len() as u64)?;
        let invalid = || Fault::invalid("invalid or too large regular expression");
        if repeats_too_often(pattern) {
            return Err(invalid());
        }
        let built = regex::RegexBuilder::new(pattern)
            .size_limit(REGEX_BYTES)
            .dfa_size_limit(REGEX_BYTES)
            .build()
            .map_err(|_| invalid())?;
        let built = Rc::new(built);
        let mut kept = self.regexes.borrow_mut();
        if kept.len() >= MAX_REGEXES {
            kept.clear();
        }
        kept.insert(pattern.to_owned(), Rc::clone(&built));
        Ok(built)
    }
}

/// RE2 takes no repeat count above a thousand.
fn repeats_too_often(pattern: &str) -> bool {
    let mut escaped = false;
    let mut in_class = false;
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            '{' if !in_class => {
                let inside = rest.as_str().split('}').next().unwrap_or_default();
                if inside.split(',').any(|n| n.trim().parse::<u64>().is_ok_and(|n| n > 1000)) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}
