//! What changes around definitions: what the hub serves, what instances carry, which clusters there are and what they say.

use super::verdicts::Verdict;
use super::wakes::Subject;
use super::{DefinitionEntry, Definitions};
use crate::api::Object;
use crate::api::names::{ClusterName, GroupKind};
use crate::graph;
use crate::hub::context::Context;
use crate::schema::openapi;
use std::collections::BTreeSet;
use std::time::Duration;

/// What stands in the way of a CRD may be mended by every write of an instance; it is not looked at for each of them.
const MENDED: Duration = Duration::from_secs(15);
/// The same of CRDs of the group, which come many at a time.
const OUT_OF_THE_WAY: Duration = Duration::from_secs(1);

impl Definitions {
    /// A column appears on the generated kinds with the first spoke.
    pub fn set_clusters_column(&mut self, ctx: &Context, column: bool) {
        if self.clusters_column == Some(column) {
            return;
        }
        self.clusters_column = Some(column);
        let names: Vec<String> = self.entries.keys().cloned().collect();
        for name in names {
            self.look(ctx, &name);
        }
    }

    /// Kinds of a group are served, or described, otherwise on the hub: what was refused is looked at again, and what was
    /// accepted though a kind was not known. `first`: they were there from the start.
    pub fn group_changed(&mut self, ctx: &Context, group: &str, first: bool) {
        let now = ctx.clock.now().at;
        for (name, entry) in &self.entries {
            let concerned = entry.is_unsettled() || (entry.compilation.is_under_way() && !first);
            if concerned && graph::kinds_named_by(&entry.rgd).iter().any(|gvk| *gvk.group == *group) {
                self.wakes.changed(name, Subject::Compile, now);
            }
            // What an earlier revision names is not looked up for each change.
            if self.has_unfit(entry) && !first {
                self.wakes.changed(name, Subject::Former, now);
            }
            // Somebody else's CRD may have stood in the way.
            if matches!(entry.kind.said(), Some(Err(_))) && *entry.gvk().group == *group && !first {
                self.wakes.within(name, Subject::Crd, now, OUT_OF_THE_WAY);
            }
        }
    }

    /// The same of the one kind of a generated CRD, which needs no time until it is described.
    pub(super) fn kind_changed(&mut self, ctx: &Context, crd: &Object) {
        let now = ctx.clock.now().at;
        for (name, entry) in &self.entries {
            if (entry.is_unsettled() || entry.compilation.is_under_way())
                && graph::kinds_named_by(&entry.rgd).iter().any(|gvk| openapi::serves(&crd.0, gvk))
            {
                self.wakes.within(name, Subject::Compile, now, Duration::ZERO);
            }
            if self.has_unfit(entry) {
                self.wakes.changed(name, Subject::Former, now);
            }
        }
    }

    /// Instances of a kind came, changed or went.
    pub fn instances_changed(&mut self, ctx: &Context, gk: &GroupKind) {
        if let Some(name) = self.mendable.remove(gk) {
            self.wakes.within(&name, Subject::Crd, ctx.clock.now().at, MENDED);
        }
    }

    /// Its instances cannot be listed or watched on the hub, and why; or they are seen again. Whether that is news.
    pub fn instances_unseen(&mut self, ctx: &Context, gk: &GroupKind, why: Option<String>) -> bool {
        let Some((name, entry)) = self.entry_of(gk).filter(|(_, entry)| entry.unseen != why) else {
            return false;
        };
        entry.unseen = why;
        self.write_status(ctx, &name);
        true
    }

    /// Why the instances of some kind cannot be seen, if so.
    pub fn cannot_see(&self) -> Option<String> {
        let mut all = self.entries.values().filter_map(|entry| Some((entry.gvk(), entry.unseen.as_ref()?)));
        all.next().map(|(gvk, why)| format!("the instances of {} cannot be seen: {why}", gvk.group_kind()))
    }

    /// A cluster says whether a definition fits there.
    pub fn judged(&mut self, ctx: &Context, cluster: &ClusterName, rgd: &str, verdict: Verdict) {
        let Some(entry) = self.entries.get_mut(rgd) else { return };
        if entry.serving().is_some_and(|serving| serving.graph.hash == verdict.hash) {
            entry.verdicts.take(cluster, verdict);
            self.write_status(ctx, rgd);
        }
    }

    /// Exactly these clusters are registered.
    pub fn clusters_are(&mut self, ctx: &Context, registered: &BTreeSet<ClusterName>) {
        let before = self.registered.replace(registered.len());
        let first_or_last = before.map(|count| count == 0) != Some(registered.is_empty());
        let concerned = |(name, entry): (&String, &mut DefinitionEntry)| {
            let lost = entry.verdicts.keep(registered);
            (lost || first_or_last).then(|| name.clone())
        };
        let concerned: Vec<String> = self.entries.iter_mut().filter_map(concerned).collect();
        for name in concerned {
            self.write_status(ctx, &name);
        }
    }
}
