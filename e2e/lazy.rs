//! What several trials share, and the first of them that asks for it starts.

use anyhow::Result;
use std::sync::{Arc, Mutex, PoisonError};

pub struct Lazy<S> {
    slot: Arc<Mutex<Option<Arc<S>>>>,
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

    pub fn get(&self) -> Result<Arc<S>> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = slot.as_ref() {
            return Ok(Arc::clone(shared));
        }
        let shared = Arc::new((self.start)()?);
        *slot = Some(Arc::clone(&shared));
        Ok(shared)
    }

    pub fn end(&self) {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
