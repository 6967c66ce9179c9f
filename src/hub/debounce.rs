//! When work that walks over everything is done: at once when it is quiet, bundled when much happens, late never.

use crate::reconcile::Moment;
use std::time::Duration;

/// At most this often.
const APART: Duration = Duration::from_millis(50);
/// Other work may hold it up for this long.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Debounce {
    wanted_since: Option<Moment>,
    last: Option<Moment>,
}

impl Debounce {
    /// Something changed.
    pub fn want(&mut self, now: Moment) {
        self.wanted_since.get_or_insert(now);
    }

    /// Whether to do it now, which is taken as done. `busy`: other work is waiting.
    pub fn take(&mut self, now: Moment, busy: bool) -> bool {
        if self.due(busy).is_none_or(|at| at > now) {
            return false;
        }
        self.wanted_since = None;
        self.last = Some(now);
        true
    }

    /// When it is to be done, if nothing else happens.
    pub fn due(&self, busy: bool) -> Option<Moment> {
        let since = self.wanted_since?;
        let apart = self.last.map_or(Moment::START, |last| last.after(APART));
        Some(apart.max(if busy { since.after(PATIENCE) } else { since }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_is_at_once_much_is_bundled_and_constant_load_holds_nothing_up_for_ever() {
        let at = Moment::from_millis;
        let mut debounce = Debounce::default();
        assert!(!debounce.take(at(0), false), "nobody wants it");
        debounce.want(at(1_000));
        assert!(debounce.take(at(1_000), false), "at once");
        debounce.want(at(1_010));
        assert!(!debounce.take(at(1_011), false) && debounce.due(false) == Some(at(1_050)), "bundled");
        assert!(debounce.take(at(1_050), false));
        debounce.want(at(2_000));
        for now in 2_000..3_000 {
            debounce.want(at(now));
            assert!(!debounce.take(at(now), true), "{now}");
        }
        assert!(debounce.take(at(3_000), true), "busy without end");
    }
}
