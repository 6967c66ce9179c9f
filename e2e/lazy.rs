//! What several trials share, and the first of them that asks for it starts.

use anyhow::{Result, anyhow};
use std::sync::{Arc, Mutex, PoisonError};

/// Started, or why not. None: nobody asked.
type Slot<S> = Option<Result<Arc<S>, String>>;

pub struct Lazy<S> {
    slot: Arc<Mutex<Slot<S>>>,
    start: fn() -> Result<S>,
}

impl<S> Clone for Lazy<S> {
    fn clone(&self) -> Self {
        Self { slot: Arc::clone(&self.slot), start: self.start }
    }
}

impl<S> Lazy<S> {
    pub fn new(start: fn() -> Result<S>) -> Self {
        Self { slot: Arc::default(), start }
    }

    /// It is tried once. A second start on what the first left behind would fail for another reason, and hide the first.
    pub fn get(&self) -> Result<Arc<S>> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || (self.start)().map(Arc::new).map_err(|e| format!("{e:#}"));
        slot.get_or_insert_with(start).clone().map_err(|e| anyhow!(e))
    }

    pub fn end(&self) {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
