//! Watches of what instances only read: opened for the first that reads it, closed after the last.

use super::{Actor, Event, SERVED_DOUBLINGS, SERVED_SOON};
use crate::api::names::InstanceKey;
use crate::reconcile::world::Lookup;
use crate::spoke::references::{self, Subject};
use crate::spoke::watch;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

impl Actor {
    /// An instance reads exactly these.
    pub(super) fn read_lookups(&mut self, key: &InstanceKey, wanted: &BTreeSet<Lookup>) {
        let changes = self.write_store(|s| s.references.read(key, wanted));
        for subject in changes.close {
            if let Some(stop) = self.lookups.remove(&subject) {
                stop.cancel();
            }
        }
        self.open_lookups(changes.open);
        for lookup in changes.ask {
            let known = self.read_store(|s| s.references.served(&lookup.gvk).cloned());
            let shared = self.lookups.get(&Subject::Kind(lookup.gvk.clone()));
            let stop = shared.cloned().unwrap_or_else(|| self.cancel.clone());
            let asking = watch::ask(self.settings.client.clone(), lookup, known, self.events.clone());
            self.spawn(async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = asking => {}
                }
            });
        }
    }

    /// A CRD of the group changed: what was not served may be served now, or in a moment, when discovery follows.
    pub(super) fn retry_lookups(&mut self, group: &Arc<str>) {
        if !self.read_store(|s| s.references.lacks(group)) {
            return;
        }
        let (events, group) = (self.events.clone(), group.clone());
        self.spawn(async move {
            for doubling in 0..=SERVED_DOUBLINGS {
                drop(events.send(Event::LookAgainIn(group.clone())));
                tokio::time::sleep(SERVED_SOON * 2_u32.pow(doubling)).await;
            }
        });
    }

    pub(super) fn open_lookups(&mut self, open: Vec<references::Open>) {
        for references::Open { subject, serial } in open {
            let stop = self.cancel.child_token();
            if let Some(before) = self.lookups.insert(subject.clone(), stop.clone()) {
                before.cancel();
            }
            let known = self.read_store(|s| s.references.served(subject.gvk()).cloned());
            let watch =
                watch::reference(self.settings.client.clone(), subject, known, serial, self.events.clone());
            self.spawn_watch(stop, watch);
        }
    }

    /// A watch that is counted, and ends with `stop`.
    pub(super) fn spawn_watch(
        &self,
        stop: CancellationToken,
        watch: impl Future<Output = ()> + Send + 'static,
    ) {
        let (metrics, cluster) = (self.settings.metrics.clone(), self.settings.cluster.clone());
        self.spawn(async move {
            metrics.watch_opened(cluster.as_str());
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = watch => {}
            }
            metrics.watch_closed(cluster.as_str());
        });
    }
}
