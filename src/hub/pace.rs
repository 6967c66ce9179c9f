//! When work that walks over everything is done: at once when it is quiet, bundled when much happens, late never.

/// At most this often, in milliseconds.
const APART: u64 = 50;
/// Other work may hold it up for this long.
const PATIENCE: u64 = 1_000;

#[derive(Debug, Default)]
pub(super) struct Pace {
    wanted_since: Option<u64>,
    last: Option<u64>,
}

impl Pace {
    /// Something changed.
    pub fn want(&mut self, now: u64) {
        self.wanted_since.get_or_insert(now);
    }

    /// Whether to do it now, which is taken as done. `busy`: other work is waiting.
    pub fn take(&mut self, now: u64, busy: bool) -> bool {
        if self.due(busy).is_none_or(|at| at > now) {
            return false;
        }
        self.wanted_since = None;
        self.last = Some(now);
        true
    }

    /// When it is to be done, if nothing else happens.
    pub fn due(&self, busy: bool) -> Option<u64> {
        let since = self.wanted_since?;
        let apart = self.last.map_or(0, |last| last + APART);
        Some(apart.max(if busy { since + PATIENCE } else { since }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_is_at_once_much_is_bundled_and_constant_load_holds_nothing_up_for_ever() {
        let mut pace = Pace::default();
        assert!(!pace.take(0, false), "nobody wants it");
        pace.want(1_000);
        assert!(pace.take(1_000, false), "at once");
        pace.want(1_010);
        assert!(!pace.take(1_011, false) && pace.due(false) == Some(1_050), "bundled");
        assert!(pace.take(1_050, false));
        pace.want(2_000);
        for now in 2_000..3_000 {
            pace.want(now);
            assert!(!pace.take(now, true), "{now}");
        }
        assert!(pace.take(3_000, true), "busy without end");
    }
}
