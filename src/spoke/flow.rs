//! How fast the events of a watch are read: what comes faster for long waits in the server, not here.

use std::time::Duration;
use tokio::time::Instant;

const MIB: u64 = 1024 * 1024;
/// In bytes a second.
const RATE: u64 = 16 * MIB;
/// So much is read as fast as it comes.
const BURST: u64 = 128 * MIB;
/// What an event costs, however small it is.
const LEAST: u64 = 1024;

#[derive(Debug)]
pub(super) struct Flow {
    since: Instant,
    level: u64,
}

impl Flow {
    pub fn new(now: Instant) -> Self {
        Self { since: now, level: 0 }
    }

    /// The pause after an event of this size.
    pub fn read(&mut self, size: usize, now: Instant) -> Duration {
        let passed = u64::try_from(now.duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        let gone = (RATE / 1000).saturating_mul(passed);
        if passed > 0 {
            self.since = now;
        }
        let size = u64::try_from(size).unwrap_or(u64::MAX).max(LEAST);
        self.level = self.level.saturating_sub(gone).saturating_add(size);
        Duration::from_millis(self.level.saturating_sub(BURST) / (RATE / 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events that are read in a minute, when they are there at once.
    fn in_a_minute(size: usize) -> u64 {
        let begun = Instant::now();
        let (mut flow, mut now, mut events) = (Flow::new(begun), begun, 0);
        while now.duration_since(begun) < Duration::from_secs(60) {
            now += flow.read(size, now).max(Duration::from_micros(10));
            events += 1;
        }
        events
    }

    #[test]
    fn what_is_sent_without_end_is_read_at_a_bounded_rate() {
        let most = (BURST + 61 * RATE) / LEAST;
        let small = in_a_minute(10);
        assert!((most / 2..most).contains(&small), "{small} small events");
        let large = in_a_minute(MIB as usize);
        assert!((61..=1_200).contains(&large), "{large} events of 1 MiB");
    }

    #[test]
    fn a_burst_waits_for_nothing() {
        let now = Instant::now();
        let mut flow = Flow::new(now);
        assert!((0..20_000).all(|_| flow.read(6 * 1024, now).is_zero()));
        let later = now + Duration::from_secs(10);
        assert!((0..20_000).all(|_| flow.read(6 * 1024, later).is_zero()));
    }
}
