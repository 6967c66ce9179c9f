//! Definitions judged by the schemas of the cluster: when, and again when the schemas change.

use super::{Actor, Event, SCHEMAS_FOLLOW};
use crate::graph::Graph;
use crate::spoke::client::ApiError;
use crate::spoke::health::backoff;
use crate::spoke::messages::Said;
use crate::spoke::schemas::{Key, Verdict};
use std::sync::Arc;

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

/// Whether it is the trouble of what was asked for, which may last, and not of the whole cluster.
fn says_enough(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::GroupUnavailable { .. } | ApiError::TooLarge { .. } | ApiError::Forbidden { .. }
    )
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

    /// Judges definitions by what the cluster serves, for as long as it takes to hear from it. `anew`: what was read of
    /// the schemas may be outdated.
    pub(super) fn judge(&self, graphs: Vec<(Key, Arc<Graph>)>, anew: bool) {
        let (client, reader, events) =
            (self.settings.client.clone(), self.reader.clone(), self.events.clone());
        let graphs: Vec<_> = graphs
            .into_iter()
            .map(|(key, hub)| {
                let generated = self.generated_for(&key, &hub);
                (key, hub, generated)
            })
            .collect();
        let (cluster, outdated) = (self.settings.cluster.clone(), self.judging.clone());
        let work = async move {
            if anew {
                reader.forget().await;
            }
            // Beside each other: a document that cannot be read holds up nobody who does not need it.
            let judged = graphs.into_iter().map(|(key, hub, generated)| {
                let (client, reader, events, cluster) = (&client, &reader, &events, &cluster);
                async move {
                    let mut attempt = 0;
                    let verdict = loop {
                        match reader.judge(client, &key, &hub, &generated).await {
                            Ok(verdict) => break verdict,
                            Err(error) => {
                                tracing::debug!(rgd = hub.rgd_name, %error, "reading schemas failed");
                                if says_enough(&error) {
                                    // Said where it is used, and tried on.
                                    let verdict = Err(Arc::from(error.to_string()));
                                    drop(events.send(Event::Judged(key.clone(), verdict)));
                                }
                            }
                        }
                        tokio::time::sleep(backoff(attempt, cluster.as_str())).await;
                        attempt += 1;
                    };
                    drop(events.send(Event::Judged(key, verdict)));
                }
            });
            futures::future::join_all(judged).await;
        };
        self.spawn(async move {
            tokio::select! {
                biased;
                () = outdated.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// All at once, so what is still under way is of no use any more. `anew`: as for [`Self::judge`].
    pub(super) fn judge_again(&mut self, anew: bool) {
        let all = self.read_store(|s| s.graphs.all());
        if !all.is_empty() {
            self.judging.cancel();
            self.judging = self.cancel.child_token();
            self.judge(all, anew);
        }
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
        let (events, serial) = (self.events.clone(), self.schemas_serial);
        self.spawn(async move {
            for (number, pause) in SCHEMAS_FOLLOW.into_iter().enumerate() {
                tokio::time::sleep(pause).await;
                drop(events.send(Event::Schemas(serial, number > 1)));
            }
        });
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
