//! When work that walks over everything is done: at once when it is quiet, bundled when much happens, late never.

/// At most this often, in milliseconds.
const APART: u64 = 50;
/// Other work may hold it up for this long.
const PATIENCE: u64 = 1_000;

#[derive(Debug, Default)]
pub(super) struct Debounce {
    wanted_since: Option<u64>,
    last: Option<u64>,
}

impl Debounce {
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
        let mut debounce = Debounce::default();
        assert!(!debounce.take(0, false), "nobody wants it");
        debounce.want(1_000);
        assert!(debounce.take(1_000, false), "at once");
        debounce.want(1_010);
        assert!(!debounce.take(1_011, false) && debounce.due(false) == Some(1_050), "bundled");
        assert!(debounce.take(1_050, false));
        debounce.want(2_000);
        for now in 2_000..3_000 {
            debounce.want(now);
            assert!(!debounce.take(now, true), "{now}");
        }
        assert!(debounce.take(3_000, true), "busy without end");
    }
}
