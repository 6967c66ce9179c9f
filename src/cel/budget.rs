//! How much one evaluation, and all evaluations of one reconcile, may do.
//!
//! Steps are counted, not timed, so the same expression on the same data gives the same answer on a busy machine.
//! Every node that is evaluated costs one step. Every byte or element that a function produces or compares costs a
//! part of one. So time and memory are both bounded, and no function can escape.

use super::error::Fault;
use super::re2;
use regex_automata::meta::Regex;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Steps for one expression.
pub const EXPRESSION_STEPS: u64 = 2_000_000;
/// Steps for all expressions that share a budget.
pub const TOTAL_STEPS: u64 = 50_000_000;
/// A longer string or list is refused at once.
pub const MAX_SIZE: usize = 1 << 20;
/// Steps between two looks at the interrupt.
const INTERRUPT_STEPS: u64 = 1 << 10;
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
    interrupt: Option<Arc<AtomicBool>>,
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
            interrupt: None,
            regexes: RefCell::new(HashMap::new()),
        }
    }

    /// Every evaluation ends soon after this flag is set. The caller sets it by a clock; this layer has none.
    #[must_use]
    pub fn with_interrupt(mut self, interrupt: Arc<AtomicBool>) -> Self {
        self.interrupt = Some(interrupt);
        self
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
        // The flag is read once in [`INTERRUPT_STEPS`] steps, and before a costly one.
        if let Some(interrupt) = &self.interrupt
            && (left ^ (left + steps)) >= INTERRUPT_STEPS
            && interrupt.load(Ordering::Relaxed)
        {
            return Err(Fault::Exhausted("time"));
        }
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

    /// The compiled pattern, to be matched against a text. It is kept, so a loop compiles it once.
    pub(super) fn regex(&self, pattern: &str, text: &str) -> Result<Rc<Regex>, Fault> {
        // Matching costs time by the length of the text, at worst times that of the pattern.
        self.charge(text.len() as u64 * (pattern.len() as u64 / 16 + 1) / 16)?;
        if let Some(found) = self.regexes.borrow().get(pattern) {
            return Ok(Rc::clone(found));
        }
        self.charge(200 + pattern.len() as u64)?;
        let built = re2::compile(pattern, REGEX_BYTES).map_err(Fault::Invalid)?;
        let built = Rc::new(built);
        let mut kept = self.regexes.borrow_mut();
        if kept.len() >= MAX_REGEXES {
            kept.clear();
        }
        kept.insert(pattern.to_owned(), Rc::clone(&built));
        Ok(built)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::{EvalError, Program, Scope};

    #[test]
    fn an_interrupt_ends_what_runs_long_and_only_that() {
        let flag = Arc::new(AtomicBool::new(false));
        let budget = Budget::default().with_interrupt(Arc::clone(&flag));
        let long = Program::compile("lists.range(2000).map(x, x + 1).size()").unwrap();
        let absorbed = Program::compile("lists.range(2000).exists(x, x < 0) || true").unwrap();
        assert!(long.eval(&Scope::new(), &budget).is_ok());
        flag.store(true, Ordering::Relaxed);
        for program in [&long, &absorbed] {
            let error = program.eval(&Scope::new(), &budget).unwrap_err();
            assert_eq!(error, EvalError::Fatal { message: "expression needs too much time".into() });
        }
        let short = Program::compile("1 + 1").unwrap();
        assert!(short.eval(&Scope::new(), &budget).is_ok());
    }
}
