//! Watches of what instances only read: opened for the first that reads it, closed after the last.

use super::{Actor, Effect, Event, SERVED_DOUBLINGS, SERVED_SOON};
use crate::api::names::InstanceKey;
use crate::reconcile::world::Lookup;
use crate::spoke::references;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

impl Actor {
    /// An instance reads exactly these.
    pub(super) fn read_lookups(&mut self, key: &InstanceKey, wanted: &BTreeSet<Lookup>) {
        let changes = self.write_store(|s| s.references.read(key, wanted));
        for subject in changes.close {
            self.ask(Effect::EndReference(subject));
        }
        self.open_lookups(changes.open);
        for lookup in changes.ask {
            let known = self.read_store(|s| s.references.served(&lookup.gvk).cloned());
            self.ask(Effect::Ask { lookup, known });
        }
    }

    /// A CRD of the group changed: what was not served may be served now, or in a moment, when discovery follows.
    pub(super) fn retry_lookups(&mut self, group: &Arc<str>) {
        if !self.read_store(|s| s.references.lacks(group)) {
            return;
        }
        let mut after = Duration::ZERO;
        for doubling in 0..=SERVED_DOUBLINGS {
            self.later(after, Event::LookAgainIn(group.clone()));
            after += SERVED_SOON * 2_u32.pow(doubling);
        }
    }

    pub(super) fn open_lookups(&mut self, open: Vec<references::Open>) {
        for references::Open { subject, serial } in open {
            let known = self.read_store(|s| s.references.served(subject.gvk()).cloned());
            self.ask(Effect::WatchReference { subject, known, serial });
        }
    }
}
