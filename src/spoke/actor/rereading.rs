//! Kinds that are listed once more: their schema changed, so that their objects read differently from then on and no watch
//! tells of it, or their list left out what is there.

use super::{Actor, Event};
use crate::api::Gvk;
use crate::api::names::GroupKind;
use crate::reconcile::world::KindState;
use crate::spoke::store::Open;
use crate::spoke::watch::CHANGED_CRD_SERVED;

impl Actor {
    /// Lists what is watched of the kind anew, once the cluster serves the new schema.
    pub(super) fn schema_changed(&mut self, gk: &GroupKind) {
        let watched = self.read_store(|s| matches!(s.kind_state(gk), KindState::Synced { .. }));
        if !watched && !self.read_store(|s| s.references.reads(gk)) {
            return;
        }
        let change = self.changes.entry(gk.clone()).or_default();
        *change += 1;
        let change = *change;
        self.later(CHANGED_CRD_SERVED, Event::Reread(gk.clone(), change));
    }

    pub(super) fn reread(&mut self, gk: &GroupKind) {
        let open = self.write_store(|s| s.reread(gk));
        self.watch_anew(gk, open);
        let opened = self.write_store(|s| s.references.reread(gk));
        self.open_lookups(opened);
    }

    pub(super) fn watch_anew(&mut self, gk: &GroupKind, open: Option<Open>) {
        let Some(open) = open else { return };
        let gvk = self.read_store(|s| s.resource(gk).map(|r| Gvk::new(&r.group, &r.version, &r.kind)));
        self.watch_kind(gk, gvk, &open);
    }
}
