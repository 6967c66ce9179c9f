//! ResourceGraphDefinitions: compiled, their CRD on the hub, their status; and when they may go.
//!
//! An edit that does not compile, or whose CRD is refused, changes nothing for instances: the graph that served before
//! serves on. What is decided about one definition stands in [`entry`]; here is what all of them share: what the hub shows,
//! and when each is looked at.

mod answers;
mod changes;
mod claims;
mod compilation;
mod compile;
pub mod crd;
mod deeds;
mod deletion;
mod entry;
mod in_use;
mod kind;
mod revision_writes;
pub mod revisions;
mod snapshot;
pub mod status;
#[cfg(test)]
mod tests;
mod verdicts;
mod wakes;

pub(super) use answers::Outcome;
pub(super) use in_use::InUse;
pub(super) use verdicts::Verdict;

use super::Watched;
use super::context::Context;
use super::resources::{self, definitions};
use super::view::{Change, View};
use crate::api::Object;
use crate::api::keys::{hub, kro};
use crate::api::names::{GroupKind, Gvk};
use crate::api::rgd::ResourceGraphDefinition;
use crate::graph::{self, Graph};
use crate::reconcile::Moment;
use crate::schema::openapi;
use crate::spoke::crd::{crd_resource, is_established};
use crate::spoke::watch::{Listed, Scope};
use claims::{CrdNews, concerns, is_for, is_labelled};
use deeds::{Deed, OfHub};
use entry::{DefinitionEntry, Serving, Situation};
use in_use::Uses;
use revision_writes::let_revision_go;
use revisions::Revisions;
use status::Held;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wakes::{Subject, Wakes};

/// Whether a CRD can be counted on.
fn is_in_use(crd: &Object) -> bool {
    is_established(&crd.0) && !crd.is_deleting()
}

/// What the rest of the hub side has to hear of.
#[derive(Debug)]
pub(super) enum Effect {
    /// Instances of this kind are to be watched.
    Watch { gvk: Gvk, plural: String },
    /// Instances run with this graph from now on.
    Serve {
        graph: Arc<Graph>,
        allow_breaking: bool,
        /// Number of its revision; 0 where it is not known.
        revision: u64,
    },
    /// Nobody serves the kind any more.
    Stop(GroupKind),
}

pub(super) struct Definitions {
    view: View,
    revisions: View,
    crds: View,
    entries: BTreeMap<String, DefinitionEntry>,
    /// `None` until the clusters are known: a CRD is not written twice after a start.
    clusters_column: Option<bool>,
    /// How many clusters there are; `None` until they are known.
    registered: Option<usize>,
    wakes: Wakes,
    /// Kinds whose CRD cannot be what it has to be because of what instances carry; and their definitions.
    mendable: BTreeMap<GroupKind, String>,
    uses: Uses,
}

impl Definitions {
    pub fn new(ctx: &Context) -> Self {
        ctx.watch(Watched::Definitions, definitions(), Scope::default(), ctx.cancel.clone());
        let generated = Scope { selector: Some(format!("{}=true", kro::OWNED)), ..Scope::default() };
        ctx.watch(Watched::Crds, crd_resource(), generated, ctx.cancel.clone());
        ctx.watch_groups();
        ctx.watch(Watched::Revisions, resources::revisions(), Scope::default(), ctx.cancel.clone());
        Self::unseen()
    }

    /// As it is before the hub showed anything.
    fn unseen() -> Self {
        Self {
            view: View::default(),
            revisions: View::default(),
            crds: View::default(),
            entries: BTreeMap::new(),
            clusters_column: None,
            registered: None,
            wakes: Wakes::default(),
            mendable: BTreeMap::new(),
            uses: Uses::default(),
        }
    }

    /// When something is to be tried again.
    pub fn next_wake(&self) -> Option<Moment> {
        self.wakes.next()
    }

    /// Tries again what is due.
    pub fn wake_due(&mut self, ctx: &Context) {
        for wake in self.wakes.due(ctx.clock.now().at) {
            if let Some(entry) = self.entries.get_mut(&wake.definition) {
                entry.due(wake.subject);
                match wake.subject {
                    Subject::Former => self.try_formers(ctx, &wake.definition),
                    _ => self.look(ctx, &wake.definition),
                }
            }
        }
    }

    /// Whether every definition was seen.
    pub fn is_synced(&self) -> bool {
        self.view.is_synced() && self.crds.is_synced() && self.revisions.is_synced()
    }

    /// Definitions that are being deleted, with the kind of their instances.
    pub fn leaving(&self) -> Vec<(String, GroupKind)> {
        let leaving = self.entries.iter().filter(|(_, e)| e.object.is_deleting());
        leaving.map(|(name, e)| (name.clone(), e.gvk().group_kind())).collect()
    }

    /// Whether the compiler has spoken about every definition.
    pub fn are_compiled(&self) -> bool {
        self.is_synced() && self.entries.values().all(|e| e.compilation.last().is_some())
    }

    /// Whether instances of every kind that the hub serves are watched: what is not seen then does not exist.
    pub fn all_watched(&self) -> bool {
        let seen = |(name, entry): (&String, &DefinitionEntry)| {
            let served = self.served_crd(name).is_some();
            deletion::is_seen(entry.is_watching(), entry.kind.is_under_way(), served)
        };
        // One that cannot be read has no entry; its kind may be served all the same.
        self.is_synced() && self.view.iter().count() == self.entries.len() && self.entries.iter().all(seen)
    }

    pub fn seen(&mut self, ctx: &Context, listed: Listed) -> Vec<Effect> {
        let was = self.is_synced();
        let changes = self.view.take(listed);
        self.after(ctx, was, changes)
    }

    pub fn seen_crd(&mut self, ctx: &Context, listed: Listed) -> Vec<Effect> {
        let was = self.is_synced();
        let changes = self.crds.take(listed);
        if !was {
            return self.after(ctx, was, Vec::new());
        }
        for change in changes {
            let news = CrdNews::of(change.before.as_deref(), change.after.as_deref());
            let Some(object) = change.after.as_ref().or(change.before.as_ref()) else { continue };
            if news != CrdNews::None {
                self.kind_changed(ctx, object);
            }
            if news != CrdNews::Otherwise {
                continue;
            }
            // Somebody changed or removed a generated CRD: look whether it still is as it should be.
            let crds: Vec<&Object> =
                change.before.as_deref().into_iter().chain(change.after.as_deref()).collect();
            let concerned = |(name, entry): &(&String, &mut DefinitionEntry)| {
                crds.iter().any(|crd| concerns(crd, name, &entry.gvk().group_kind()))
            };
            let mut names = Vec::new();
            for (name, entry) in self.entries.iter_mut().filter(concerned) {
                entry.kind.changed();
                names.push(name.clone());
            }
            names.iter().for_each(|name| self.look(ctx, name));
        }
        Vec::new()
    }

    pub fn seen_revision(&mut self, ctx: &Context, listed: Listed) -> Vec<Effect> {
        let was = self.is_synced();
        let mut gone = Vec::new();
        for change in self.revisions.take(listed) {
            match change.after {
                Some(object) if object.is_deleting() => {
                    let_revision_go(ctx, &object);
                    gone.push(object);
                }
                Some(_) => {}
                None => gone.extend(change.before),
            }
        }
        if !was {
            return self.after(ctx, was, Vec::new());
        }
        // What instances run by is to have its snapshot, whoever deleted that.
        let mut names = BTreeSet::new();
        for object in &gone {
            let name = revisions::of_definition(object);
            if let Some(entry) = self.entries.get_mut(name) {
                entry.snapshot.gone(revisions::number(object));
                names.insert(name);
            }
        }
        names.into_iter().for_each(|name| self.look(ctx, name));
        Vec::new()
    }

    fn after(&mut self, ctx: &Context, was_synced: bool, changes: Vec<Change>) -> Vec<Effect> {
        if !self.is_synced() {
            return Vec::new();
        }
        if !was_synced {
            let all: Vec<Arc<Object>> = self.view.iter().map(|(_, o)| o.clone()).collect();
            return all.into_iter().flat_map(|o| self.take(ctx, &o)).collect();
        }
        let mut effects = Vec::new();
        for change in changes {
            match change.after {
                Some(object) => effects.extend(self.take(ctx, &object)),
                None => {
                    self.wakes.forget(&change.key.name);
                    // One that was refused never served the kind; another definition may.
                    let gone = self.entries.remove(&change.key.name).filter(DefinitionEntry::is_watching);
                    effects.extend(gone.and_then(|entry| self.stop(entry.gvk().group_kind())));
                }
            }
        }
        effects
    }

    fn take(&mut self, ctx: &Context, object: &Arc<Object>) -> Vec<Effect> {
        let name = object.name().to_owned();
        let rgd: ResourceGraphDefinition = match serde_json::from_value(object.0.clone()) {
            Ok(rgd) => rgd,
            Err(error) => {
                tracing::error!(rgd = name, %error, "a ResourceGraphDefinition cannot be read");
                return Vec::new();
            }
        };
        let mut stopped = None;
        match self.entries.get_mut(&name) {
            Some(entry) if entry.object.uid() == object.uid() => {
                entry.object = object.clone();
                entry.rgd = rgd;
            }
            _ => {
                // Deleted and created again between two lists.
                let old = self.entries.insert(name.clone(), DefinitionEntry::new(object.clone(), rgd));
                let old = old.filter(DefinitionEntry::is_watching);
                stopped = old.and_then(|entry| self.stop(entry.gvk().group_kind()));
            }
        }
        self.look(ctx, &name);
        stopped.into_iter().collect()
    }

    /// Does what is to be done next for a definition.
    fn look(&mut self, ctx: &Context, name: &str) {
        let at = self.situation(ctx, name);
        let Some(entry) = self.entries.get_mut(name) else { return };
        let deeds = entry.look(&at, &mut self.wakes);
        self.perform(ctx, name, deeds);
    }

    fn perform(&self, ctx: &Context, name: &str, deeds: impl IntoIterator<Item = Deed>) {
        let Some(entry) = self.entries.get(name) else { return };
        for deed in deeds {
            let of_hub =
                || OfHub { own: self.own_crds(&entry.rgd), alone: self.clusters_column == Some(false) };
            deed.perform(ctx, entry, of_hub);
        }
    }

    fn write_status(&mut self, ctx: &Context, name: &str) {
        let at = self.situation(ctx, name);
        let Some(entry) = self.entries.get_mut(name) else { return };
        let deed = entry.write_status(&at);
        self.perform(ctx, name, deed);
    }

    fn situation(&self, ctx: &Context, name: &str) -> Situation {
        let gk = self.entries.get(name).map(|entry| entry.gvk().group_kind());
        let needed = gk.map(|gk| self.needed_of(&gk)).unwrap_or_default();
        Situation {
            now: ctx.clock.now(),
            served: self.served_crd(name),
            snapshots: Revisions::of(name, self.revisions.iter().map(|(_, o)| o)).needing(&needed),
            column: self.clusters_column,
            clusters: self.registered,
            limit: ctx.settings.max_graph_revisions,
        }
    }

    /// The generated CRDs on the hub of which a definition makes instances.
    fn own_crds(&self, rgd: &ResourceGraphDefinition) -> Vec<Arc<Object>> {
        let named = graph::kinds_named_by(rgd);
        let crds = self.crds.iter().map(|(_, crd)| crd);
        let used = crds.filter(|crd| is_in_use(crd) && named.iter().any(|gvk| openapi::serves(&crd.0, gvk)));
        used.cloned().collect()
    }

    /// The CRD on the hub that belongs to a definition.
    fn served_crd(&self, name: &str) -> Option<Arc<Object>> {
        let gk = self.entries.get(name)?.gvk().group_kind();
        self.crds_of(&gk).find(|o| is_labelled(o, name)).cloned()
    }

    fn crds_of(&self, gk: &GroupKind) -> impl Iterator<Item = &Arc<Object>> {
        self.crds.iter().map(|(_, o)| o).filter(move |o| is_for(o, gk))
    }

    /// Whether a generated CRD of the kind is on the hub, with or without its definition.
    pub fn has_crd(&self, gk: &GroupKind) -> bool {
        self.crds_of(gk).next().is_some()
    }

    /// A definition that is being deleted: `instances` are its own, as far as they were all seen. Its kind is served until
    /// it is gone, for the write that lets it go may fail.
    pub fn settle_deletion(&mut self, ctx: &Context, name: &str, instances: Option<Vec<String>>) {
        let served = self.served_crd(name);
        let given_away = self.is_given_away(name);
        let Some(entry) = self.entries.get_mut(name) else { return };
        let abandoned = entry.object.annotation(hub::ABANDON) == Some("true");
        let facts = deletion::Facts {
            abandoned,
            served: served.is_some(),
            watching: entry.is_watching() && !given_away,
            crd_busy: entry.kind.is_under_way(),
            instances,
        };
        match deletion::verdict(facts) {
            deletion::Verdict::Go => {
                let delete_crd = ctx.settings.allow_crd_deletion && !abandoned;
                let deed = entry.let_go(served.filter(|_| delete_crd), ctx.clock.now().at);
                self.perform(ctx, name, deed);
            }
            deletion::Verdict::Wait => {}
            deletion::Verdict::Held(names) => {
                let count = names.len();
                entry.held_by = Some(Held { count, first: names.into_iter().take(5).collect() });
                self.write_status(ctx, name);
            }
        }
    }

    /// What instances run with.
    pub fn serving(&self) -> impl Iterator<Item = &Serving> {
        self.entries.values().filter_map(DefinitionEntry::serving)
    }
}
