//! The machine that a simulated process runs on.

use super::network::Network;
use super::process::ProcessId;
use crate::hub::machines::random::Random;
use crate::spoke::host::{Connecting, Host};
use http::Uri;
use jiff::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Its clock, its chance and its network.
#[derive(Debug)]
pub struct SimulatedHost {
    process: ProcessId,
    network: Arc<Network>,
    random: Mutex<Random>,
    /// So many milliseconds the machine slept, while timers stood still.
    slept: AtomicU64,
}

impl SimulatedHost {
    pub fn new(process: ProcessId, network: Arc<Network>, seed: u64) -> Self {
        let random = Mutex::new(Random::new(seed ^ u64::from(process.0)));
        Self { process, network, random, slept: AtomicU64::new(0) }
    }

    /// The machine was suspended and went on: its timers do not know.
    pub fn sleep(&self, millis: u64) {
        self.slept.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Host for SimulatedHost {
    fn wall(&self) -> Timestamp {
        self.network.clock.wall()
    }
    fn uptime(&self) -> u64 {
        // No clock begins at zero, which means "not held" to a lease.
        1 + self.network.clock.millis() + self.slept.load(Ordering::SeqCst)
    }
    fn random(&self) -> u64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
    fn name(&self) -> String {
        self.process.to_string()
    }
    fn has_threads(&self) -> bool {
        false
    }
    fn connect(&self, to: &Uri) -> Option<Connecting> {
        Some(self.network.connect(self.process, to))
    }
}
