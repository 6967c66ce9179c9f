//! Whose turn it is. Instances whose step takes long wait in a lane of their own, which gets a third of the time at most:
//! what somebody writes into one of them holds up no other.

use crate::api::maps::HashSet;
use crate::api::names::InstanceKey;
use crate::reconcile::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// A step that takes longer makes its instance a slow one.
pub(super) const LONG: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(super) struct Lanes {
    quick: VecDeque<InstanceKey>,
    slow: VecDeque<InstanceKey>,
    queued: HashSet<InstanceKey>,
    /// Instances whose last step took long.
    long: HashSet<InstanceKey>,
    /// No slow one before this time.
    pause_until: Moment,
}

impl Lanes {
    pub fn push(&mut self, key: &InstanceKey) {
        if self.queued.insert(key.clone()) {
            let lane = if self.long.contains(key) { &mut self.slow } else { &mut self.quick };
            lane.push_back(key.clone());
        }
    }

    /// The next one. A slow one goes first when its time has come, so that a busy lane starves nobody.
    pub fn pop(&mut self, now: Moment) -> Option<InstanceKey> {
        let slow = if now >= self.pause_until { self.slow.pop_front() } else { None };
        let key = slow.or_else(|| self.quick.pop_front())?;
        self.queued.remove(&key);
        Some(key)
    }

    /// How long its step took, which ended now.
    pub fn took(&mut self, key: &InstanceKey, long: Duration, now: Moment) {
        if long < LONG {
            self.long.remove(key);
            return;
        }
        self.long.insert(key.clone());
        self.pause_until = now.after(long.saturating_mul(2));
    }

    pub fn forget(&mut self, key: &InstanceKey) {
        self.long.remove(key);
    }

    pub fn has_work(&self, now: Moment) -> bool {
        !self.quick.is_empty() || (!self.slow.is_empty() && now >= self.pause_until)
    }
    pub fn has(&self, key: &InstanceKey) -> bool {
        self.queued.contains(key)
    }
    pub fn len(&self) -> usize {
        self.queued.len()
    }
    /// When a slow one may go that has to wait.
    pub fn next(&self) -> Option<Moment> {
        (!self.slow.is_empty()).then_some(self.pause_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::GroupKind;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }
    fn key(name: &str) -> InstanceKey {
        InstanceKey::new(GroupKind::new("kro.run", "App"), "n", name)
    }

    #[test]
    fn slow_ones_take_a_third_of_the_time_and_are_not_starved() {
        let mut lanes = Lanes::default();
        let slow: Vec<InstanceKey> = (0..20).map(|n| key(&format!("slow-{n}"))).collect();
        let (mut now, mut spent, mut quick, mut last) = (0_u64, 0_u64, 0, 0);
        let mut longest_wait = 0;
        while now < 60_000 {
            for key in &slow {
                lanes.push(key);
            }
            lanes.push(&key("quick"));
            let Some(next) = lanes.pop(at(now)) else {
                now = lanes.next().unwrap().as_millis();
                continue;
            };
            let takes = if next == key("quick") { 1 } else { 100 };
            now += takes;
            lanes.took(&next, Duration::from_millis(takes), at(now));
            if takes == 1 {
                quick += 1;
                longest_wait = longest_wait.max(now - last);
                last = now;
            } else {
                spent += takes;
            }
        }
        // The first round found out which are slow.
        assert!(spent < 60_000 / 3 + 2_500 && spent > 60_000 / 4, "{spent}");
        assert!(quick > 30_000, "{quick}");
        assert!(longest_wait <= 2_102, "{longest_wait}");
    }

    #[test]
    fn what_is_quick_again_is_treated_so() {
        let mut lanes = Lanes::default();
        lanes.push(&key("a"));
        let a = lanes.pop(at(0)).unwrap();
        lanes.took(&a, Duration::from_millis(50), at(50));
        lanes.push(&a);
        assert!(
            !lanes.has_work(at(60))
                && lanes.len() == 1
                && lanes.next() == Some(at(150))
                && lanes.pop(at(60)).is_none()
        );
        assert!(lanes.has_work(at(150)));
        lanes.pop(at(150)).unwrap();
        lanes.took(&a, Duration::from_millis(1), at(151));
        lanes.push(&a);
        assert!(lanes.has_work(at(152)) && lanes.next().is_none());
    }
}
