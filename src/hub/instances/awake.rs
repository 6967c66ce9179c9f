//! Which instances were stepped lately: what their steps read is at hand. Of others it is packed.

use crate::api::names::InstanceKey;
use crate::reconcile::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// Most steps of an instance follow each other within this.
const LATELY: Duration = Duration::from_secs(10);
/// However many are stepped, so many are awake at most.
const MOST: usize = 256;

/// In the order of their steps. One that was stepped several times stands here several times.
#[derive(Debug, Default)]
pub(super) struct Awake(VecDeque<(InstanceKey, Moment)>);

impl Awake {
    /// It was stepped at this time.
    pub fn stepped(&mut self, key: &InstanceKey, at: Moment) {
        self.0.push_back((key.clone(), at));
    }

    /// The next that may have rested long enough, with the time of its step.
    pub fn tired(&mut self, now: Moment) -> Option<(InstanceKey, Moment)> {
        let (_, at) = self.0.front()?;
        if self.0.len() > MOST || now >= at.after(LATELY) { self.0.pop_front() } else { None }
    }

    /// When the next has rested long enough.
    pub fn next(&self) -> Option<Moment> {
        self.0.front().map(|(_, at)| at.after(LATELY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::GroupKind;

    #[test]
    fn who_was_not_stepped_for_a_while_and_the_oldest_of_very_many_go_to_rest() {
        let key = |n: usize| InstanceKey::new(GroupKind::new("kro.run", "App"), "n", &n.to_string());
        let at = |seconds: u64| Moment::from_millis(seconds * 1_000);
        let mut awake = Awake::default();
        awake.stepped(&key(0), at(1));
        awake.stepped(&key(1), at(2));
        assert_eq!((awake.tired(at(10)), awake.next()), (None, Some(at(11))));
        assert_eq!(awake.tired(at(11)), Some((key(0), at(1))));
        assert_eq!((awake.tired(at(11)), awake.next()), (None, Some(at(12))));
        for n in 2..=MOST + 1 {
            awake.stepped(&key(n), at(3));
        }
        assert_eq!(awake.tired(at(3)), Some((key(1), at(2))), "there are too many");
        assert_eq!(awake.tired(at(3)), None);
    }
}
