//! Definitions judged by the schemas of the cluster: when, and again when the schemas change.

use super::{Actor, Effect, Event, Freshness, SCHEMAS_FOLLOW, ToJudge};
use crate::graph::Graph;
use crate::spoke::messages::Said;
use crate::spoke::schemas::{Key, Verdict};
use std::sync::Arc;
use std::time::Duration;

/// When what does not fit is judged again though nothing was heard of it: aggregated kinds come and go without a CRD.
#[derive(Debug, Default)]
pub(super) struct Patience {
    ticks: u32,
    tries: u32,
}

impl Patience {
    /// As many ticks as this lie between two tries in the end.
    const LONGEST: u32 = 16;

    /// Whether it is time to try; ever less often.
    fn tick(&mut self) -> bool {
        self.ticks += 1;
        let due = self.ticks >= 2_u32.saturating_pow(self.tries).min(Self::LONGEST);
        if due {
            self.ticks = 0;
            self.tries = self.tries.saturating_add(1);
        }
        due
    }
}

impl Actor {
    pub(super) fn on_judged(&mut self, key: &Key, verdict: Verdict) {
        let fits = verdict.as_ref().map(drop).map_err(ToString::to_string);
        let Some(hub) = self.write_store(|s| s.graphs.judged(key, verdict)) else { return };
        self.patience = Patience::default();
        let (rgd, hash, side) = (hub.rgd_name.clone(), key.hash.clone(), key.side);
        self.say(Said::Judged { rgd, hash, side, fits });
        self.enqueue_kind(&hub.gvk.group_kind());
    }

    /// All at once, so what is still under way is of no use any more. `anew`: what was read of the schemas may be
    /// outdated.
    pub(super) fn judge_again(&mut self, anew: bool) {
        let all = self.read_store(|s| s.graphs.all());
        if all.is_empty() {
            return;
        }
        let to_judge = |(key, hub): (Key, Arc<Graph>)| {
            let generated = self.generated_for(&key, &hub);
            ToJudge { key, hub, generated }
        };
        let wanted = all.into_iter().map(to_judge).collect();
        let freshness = if anew { Freshness::AnewOfAll } else { Freshness::KnownOfAll };
        self.ask(Effect::Judge { wanted, freshness });
    }

    /// Another tick in which something may not fit.
    pub(super) fn judge_unfit(&mut self) {
        if !self.parked && self.read_store(|s| s.graphs.lacks()) && self.patience.tick() {
            self.judge_again(true);
        }
    }

    /// The server's own description of its kinds follows a change of a CRD by up to seconds.
    pub(super) fn schemas_changed(&mut self) {
        self.schemas_serial += 1;
        self.patience = Patience::default();
        if self.read_store(|s| s.graphs.is_empty()) {
            return;
        }
        let mut after = Duration::ZERO;
        for (number, pause) in SCHEMAS_FOLLOW.into_iter().enumerate() {
            after += pause;
            self.later(after, Event::Schemas(self.schemas_serial, number > 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_judged_ever_less_often() {
        let mut patience = Patience::default();
        let tried: Vec<u32> = (1..100).filter(|_| patience.tick()).collect();
        assert_eq!(tried, [1, 3, 7, 15, 31, 47, 63, 79, 95]);
    }
}
