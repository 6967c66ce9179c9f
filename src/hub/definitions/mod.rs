//! ResourceGraphDefinitions: compiled, their CRD on the hub, their status; and when they may go.
//!
//! An edit that does not compile, or whose CRD is refused, changes nothing for instances: the graph that served before
//! serves on.

mod compile;
mod crd;
mod deletion;
mod entry;
mod revision_writes;
mod revisions;
pub mod status;
mod verdicts;
mod wakes;

use super::Watched;
use super::context::Context;
use super::resources::{self, definitions};
use super::view::{Change, View};
use crate::api::keys::{hub, kro};
use crate::api::names::{ClusterName, GroupKind, Gvk};
use crate::api::rgd::{ResourceGraphDefinition, RgdStatus};
use crate::api::{Object, hash};
use crate::graph::{self, Graph};
use crate::schema::openapi;
use crate::spoke::client::ApiError;
use crate::spoke::crd::{crd_resource, is_established};
use crate::spoke::watch::{Listed, Scope};
use entry::{DefinitionEntry, write};
use revision_writes::{Chore, let_revision_go};
use revisions::Revisions;
use serde_json::{Value, json};
use status::Revision;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wakes::{Subject, Wakes};

/// What came of work that was started for a definition.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Of the spec with this fingerprint.
    Compiled(u64, compile::Compiled),
    /// The snapshot of the graph with this hash got this number.
    Issued(String, i64, Result<Value, ApiError>),
    /// The newest snapshot that fits the CRD on the hub, while the definition itself cannot serve.
    Fallback(Option<Arc<Graph>>),
    /// The CRD of this graph.
    Crd(Arc<Graph>, Result<String, crd::Failure>),
    Written(Written, Result<Value, ApiError>),
}

/// Which part of a definition was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Finalizers,
    Status,
}

impl Written {
    fn subject(self) -> Subject {
        match self {
            Self::Finalizers => Subject::Finalizers,
            Self::Status => Subject::Status,
        }
    }
}

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
    Serve { graph: Arc<Graph>, allow_breaking: bool },
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
    wakes: Wakes,
    /// Kinds whose CRD cannot be what it has to be because of what instances carry; and their definitions.
    mendable: BTreeMap<GroupKind, String>,
}

/// What stands in the way of a CRD may be mended by every write of an instance; it is not looked at for each of them.
const MENDED: u64 = 15_000;

impl Definitions {
    pub fn new(ctx: &Context) -> Self {
        ctx.watch(Watched::Definitions, definitions(), Scope::default(), ctx.cancel.clone());
        let generated = Scope { selector: Some(format!("{}=true", kro::OWNED)), ..Scope::default() };
        ctx.watch(Watched::Crds, crd_resource(), generated, ctx.cancel.clone());
        ctx.watch_groups();
        ctx.watch(Watched::Revisions, resources::revisions(), Scope::default(), ctx.cancel.clone());
        Self {
            view: View::default(),
            revisions: View::default(),
            crds: View::default(),
            entries: BTreeMap::new(),
            clusters_column: None,
            wakes: Wakes::default(),
            mendable: BTreeMap::new(),
        }
    }

    /// When something is to be tried again.
    pub fn next_wake(&self) -> Option<u64> {
        self.wakes.next()
    }

    /// Tries again what is due.
    pub fn wake_due(&mut self, ctx: &Context) {
        for (name, subject) in self.wakes.due(ctx.clock.now().millis) {
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            match subject {
                // What is being read may be outdated when it is there.
                Subject::Compile if entry.compiling => entry.outdated = true,
                Subject::Compile => entry.compiled_print = None,
                Subject::Crd if entry.crd_busy => continue,
                Subject::Crd => entry.crd_for = None,
                Subject::Revision | Subject::Upkeep | Subject::Finalizers | Subject::Status => {}
            }
            self.advance(ctx, &name);
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
        self.is_synced() && self.entries.values().all(|e| e.compiled.is_some())
    }

    /// Whether instances of every kind that the hub serves are watched: what is not seen then does not exist.
    pub fn all_watched(&self) -> bool {
        let seen = |(name, entry): (&String, &DefinitionEntry)| {
            let served = self.served_crd(name).is_some();
            deletion::is_seen(entry.watching, entry.crd_busy, served)
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
        // Somebody changed or removed a generated CRD: look whether it still is as it should be.
        for change in changes {
            let state = |o: &Option<Arc<Object>>| o.as_ref().map(|o| (o.generation(), is_in_use(o)));
            let (before, after) = (state(&change.before), state(&change.after));
            let Some(object) = change.after.or(change.before).filter(|_| before != after) else { continue };
            self.kind_changed(ctx, &object);
            if before.map(|b| b.0) == after.map(|a| a.0) {
                continue;
            }
            let label = object.label(kro::RGD_NAME).unwrap_or_default().to_owned();
            let name = self.entries.keys().find(|n| hash::label_value(n) == label).cloned();
            if let Some(name) = name {
                if let Some(entry) = self.entries.get_mut(&name) {
                    entry.crd_for = None;
                }
                self.advance(ctx, &name);
            }
        }
        Vec::new()
    }

    pub fn seen_revision(&mut self, ctx: &Context, listed: Listed) -> Vec<Effect> {
        let was = self.is_synced();
        for change in self.revisions.take(listed) {
            if let Some(object) = change.after.filter(|o| o.is_deleting()) {
                let_revision_go(ctx, &object);
            }
        }
        if was { Vec::new() } else { self.after(ctx, was, Vec::new()) }
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
                    if let Some(entry) = self.entries.remove(&change.key.name).filter(|e| e.watching) {
                        effects.push(Effect::Stop(entry.gvk().group_kind()));
                    }
                }
            }
        }
        effects
    }

    /// A column appears on the generated kinds with the first spoke.
    pub fn set_clusters_column(&mut self, ctx: &Context, column: bool) {
        if self.clusters_column == Some(column) {
            return;
        }
        self.clusters_column = Some(column);
        let names: Vec<String> = self.entries.keys().cloned().collect();
        for name in names {
            self.advance(ctx, &name);
        }
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
                stopped = old.filter(|e| e.watching).map(|e| Effect::Stop(e.gvk().group_kind()));
            }
        }
        self.advance(ctx, &name);
        stopped.into_iter().collect()
    }

    pub fn outcome(&mut self, ctx: &Context, name: &str, outcome: Outcome) -> Vec<Effect> {
        let live = self.served_crd(name);
        let now = ctx.clock.now().millis;
        let Some(entry) = self.entries.get_mut(name) else { return Vec::new() };
        match outcome {
            Outcome::Compiled(print, compiled) => {
                if entry.compiled_print != Some(print) {
                    return Vec::new();
                }
                entry.compiling = false;
                entry.lacking = compiled.lacking;
                let refused = !matches!(compiled.result, Some(Ok(_)));
                if compiled.lacking {
                    let first = if refused { wakes::SOON } else { wakes::LASTING };
                    self.wakes.failed(name, Subject::Compile, first, now);
                } else {
                    self.wakes.settled(name, Subject::Compile);
                }
                if std::mem::take(&mut entry.outdated) && (refused || compiled.lacking) {
                    self.wakes.at_once(name, Subject::Compile, now);
                }
                entry.compiled = Some(match compiled.result {
                    Some(Ok(graph)) => Ok(graph),
                    Some(Err(problems)) => {
                        let lines = problems.iter().map(ToString::to_string).chain(compiled.silent);
                        Err(lines.collect::<Vec<_>>().join("\n"))
                    }
                    None => {
                        Err("the compiler failed on this definition; please report it with the definition"
                            .into())
                    }
                });
            }
            Outcome::Issued(hash, number, result) => {
                entry.issuing = None;
                match result {
                    Ok(_) => {
                        entry.issued = Some((hash, number));
                        self.wakes.settled(name, Subject::Revision);
                    }
                    Err(error) => {
                        tracing::warn!(rgd = name, number, %error, "issuing a revision failed");
                        self.wakes.failed(name, Subject::Revision, wakes::SOON, now);
                        return Vec::new();
                    }
                }
            }
            Outcome::Fallback(graph) => {
                let Some(live) = live else { return Vec::new() };
                let mut effects: Vec<Effect> = entry.watch(&live.0).into_iter().collect();
                if let Some(graph) = graph.filter(|_| entry.serving.is_none()) {
                    tracing::info!(rgd = name, "its newest snapshot that fits the CRD on the hub serves on");
                    entry.serving = Some((graph.clone(), false));
                    effects.push(Effect::Serve { graph, allow_breaking: false });
                }
                return effects;
            }
            Outcome::Crd(graph, result) => return self.crd_ensured(ctx, name, graph, result),
            Outcome::Written(what, result) => {
                entry.writing = false;
                let subject = what.subject();
                match result {
                    Ok(value) => {
                        self.wakes.settled(name, subject);
                        if let Some(Change { after: Some(object), .. }) = self.view.refresh(value) {
                            return self.take(ctx, &object);
                        }
                    }
                    Err(ApiError::NotFound) => return Vec::new(),
                    Err(error) => {
                        tracing::debug!(rgd = name, %error, "writing a definition failed");
                        if let (Written::Status, ApiError::Invalid { message }) = (&what, &error) {
                            tracing::warn!(rgd = name, message, "the API server refuses the status");
                            let note = format!("the hub refuses the status of the definition: {message}");
                            ctx.publish(&entry.object, true, "StatusRefused", note);
                        }
                        let refused = !matches!(error, ApiError::Conflict { .. });
                        let pause = if refused { wakes::SOON } else { wakes::OVERTAKEN };
                        self.wakes.failed(name, subject, pause, now);
                        if what == Written::Finalizers && refused && !entry.object.is_deleting() {
                            let why = format!("the finalizer {} cannot be added: {error}", kro::FINALIZER);
                            entry.kind = Some(Err(why));
                            self.write_status(ctx, name);
                        }
                        return Vec::new();
                    }
                }
            }
        }
        self.advance(ctx, name);
        Vec::new()
    }

    fn crd_ensured(
        &mut self,
        ctx: &Context,
        name: &str,
        graph: Arc<Graph>,
        result: Result<String, crd::Failure>,
    ) -> Vec<Effect> {
        let Some(entry) = self.entries.get_mut(name) else { return Vec::new() };
        entry.crd_busy = false;
        let current = matches!(&entry.compiled, Some(Ok(g)) if Arc::ptr_eq(g, &graph));
        if !current {
            // The spec may have gone and come back meanwhile, with the same hash.
            entry.crd_for = None;
            self.advance(ctx, name);
            return Vec::new();
        }
        let mut effects = Vec::new();
        match result {
            Ok(kind) => {
                self.wakes.settled(name, Subject::Crd);
                self.mendable.remove(&graph.gvk.group_kind());
                entry.kind = Some(Ok(kind));
                effects.extend(entry.watch(&graph.crd));
                let allow_breaking = entry.allow_breaking();
                let same =
                    |(g, allow): &(Arc<Graph>, bool)| Arc::ptr_eq(g, &graph) && *allow == allow_breaking;
                if !entry.serving.as_ref().is_some_and(same) {
                    entry.serving = Some((graph.clone(), allow_breaking));
                    effects.push(Effect::Serve { graph, allow_breaking });
                }
            }
            Err(failure) => {
                entry.kind = Some(Err(failure.message));
                let first = if failure.retry { wakes::SOON } else { wakes::LASTING };
                self.wakes.failed(name, Subject::Crd, first, ctx.clock.now().millis);
                if failure.instances {
                    self.mendable.insert(graph.gvk.group_kind(), name.to_owned());
                }
            }
        }
        self.advance(ctx, name);
        effects
    }

    /// Does the next thing that is to be done for a definition.
    fn advance(&mut self, ctx: &Context, name: &str) {
        let column = self.clusters_column;
        let served = self.served_crd(name);
        let snapshots = Revisions::of(name, self.revisions.iter().map(|(_, o)| o));
        let waiting = |subject| self.wakes.is_waiting(name, subject);
        let (no_finalizer, no_revision) = (waiting(Subject::Finalizers), waiting(Subject::Revision));
        let no_upkeep = waiting(Subject::Upkeep);
        let Some(own) = self.entries.get(name).map(|entry| self.own_crds(&entry.rgd)) else { return };
        let Some(entry) = self.entries.get_mut(name) else { return };
        // Compiling changes nothing, so it waits for nobody.
        let unguarded = entry.add_finalizer(ctx, no_finalizer);
        let spec = entry.object.0.get("spec").cloned().unwrap_or_default();
        let print = hash::json(&json!([spec, graph::meaningful_annotations(&entry.rgd)]));
        if entry.compiled_print != Some(print) {
            if entry.compiled_print.is_some() {
                // Another spec: what failed with the old one is over.
                self.wakes.settled(name, Subject::Compile);
                self.wakes.settled(name, Subject::Crd);
            }
            entry.compiled_print = Some(print);
            entry.compiling = true;
            entry.outdated = false;
            entry.fallback_tried = false;
            let stored = snapshots.status_schema(&graph::spec_hash(&entry.rgd.spec));
            compile::start(ctx, entry.rgd.clone(), stored, own.clone(), column == Some(false), print);
        } else if let Some(Ok(graph)) = entry.compiled.clone().filter(|_| !unguarded) {
            if entry.ensure_revision(ctx, &graph, &snapshots, no_revision) {
                // What is not there needs no care any more while the definition is being deleted.
                let wanted = !entry.object.is_deleting() || served.is_some();
                if let Some(column) = column.filter(|_| wanted) {
                    entry.ensure_crd(ctx, graph, column);
                }
            }
            let served = entry.kind.as_ref().is_some_and(Result::is_ok);
            let limit = ctx.settings.max_graph_revisions;
            let chores =
                revision_writes::chores(&snapshots, &entry.object, &entry.rgd.metadata, served, limit);
            if chores.is_empty() {
                self.wakes.settled(name, Subject::Upkeep);
            } else if !no_upkeep {
                // Whether they worked is seen when it is looked again, ever less.
                self.wakes.failed(name, Subject::Upkeep, wakes::SOON, ctx.clock.now().millis);
                chores.into_iter().for_each(|chore: Chore| chore.perform(ctx));
            }
        }
        if let (true, Some(live)) = (entry.is_refused(), served) {
            // The kind is there from before: its instances are cared for.
            entry.fall_back(ctx, &snapshots, own, live);
        }
        self.write_status(ctx, name);
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
        let gvk = self.entries.get(name)?.gvk();
        let label = hash::label_value(name);
        let of_kind =
            |o: &Object| o.str_at("/spec/names/kind") == &*gvk.kind && o.str_at("/spec/group") == &*gvk.group;
        let mut all = self.crds.iter().map(|(_, o)| o);
        all.find(|o| of_kind(o) && o.label(kro::RGD_NAME) == Some(&label)).cloned()
    }

    /// A definition that is being deleted: `instances` are its own, as far as they were all seen. Its kind is served until
    /// it is gone, for the write that lets it go may fail.
    pub fn settle_deletion(&mut self, ctx: &Context, name: &str, instances: Option<Vec<String>>) {
        let served = self.served_crd(name).is_some();
        let Some(entry) = self.entries.get_mut(name) else { return };
        let abandoned = entry.object.annotation(hub::ABANDON) == Some("true");
        let facts = deletion::Facts {
            abandoned,
            served,
            watching: entry.watching,
            crd_busy: entry.crd_busy,
            instances,
        };
        match deletion::verdict(facts) {
            deletion::Verdict::Go => {}
            deletion::Verdict::Wait => return,
            deletion::Verdict::Held(names) => {
                entry.held_by = Some((names.len(), names.into_iter().take(5).collect()));
                self.write_status(ctx, name);
                return;
            }
        }
        let waiting = self.wakes.is_waiting(name, Subject::Finalizers);
        if entry.writing || waiting || !entry.has_finalizer() {
            return;
        }
        let rest: Vec<String> = entry.object.finalizers_but(kro::FINALIZER);
        let version = entry.object.resource_version().to_owned();
        let patch = json!({"metadata": {"finalizers": rest, "resourceVersion": version}});
        let delete_crd = ctx.settings.allow_crd_deletion && !abandoned;
        entry.writing = true;
        let live = self.served_crd(name).filter(|_| delete_crd);
        write(ctx, name, Written::Finalizers, patch, live);
    }

    /// Kinds of a group are served, or described, otherwise on the hub: what was refused is looked at again, and what was
    /// accepted though a kind was not known. `first`: they were there from the start.
    pub fn group_changed(&mut self, ctx: &Context, group: &str, first: bool) {
        let now = ctx.clock.now().millis;
        for (name, entry) in &self.entries {
            let concerned = entry.is_unsettled() || (entry.compiling && !first);
            if concerned && graph::kinds_named_by(&entry.rgd).iter().any(|gvk| *gvk.group == *group) {
                self.wakes.changed(name, Subject::Compile, now);
            }
        }
    }

    /// The same of the one kind of a generated CRD, which needs no time until it is described.
    fn kind_changed(&mut self, ctx: &Context, crd: &Object) {
        let now = ctx.clock.now().millis;
        for (name, entry) in &self.entries {
            if (entry.is_unsettled() || entry.compiling)
                && graph::kinds_named_by(&entry.rgd).iter().any(|gvk| openapi::serves(&crd.0, gvk))
            {
                self.wakes.at_once(name, Subject::Compile, now);
            }
        }
    }

    /// Instances of a kind came, changed or went.
    pub fn instances_changed(&mut self, ctx: &Context, gk: &GroupKind) {
        if let Some(name) = self.mendable.remove(gk) {
            self.wakes.within(&name, Subject::Crd, ctx.clock.now().millis + MENDED);
        }
    }

    /// The graphs that instances run with, and whether their CRDs may break what is stored.
    pub fn serving(&self) -> impl Iterator<Item = &(Arc<Graph>, bool)> {
        self.entries.values().filter_map(|e| e.serving.as_ref())
    }

    /// A cluster says whether a definition fits there.
    pub fn judged(
        &mut self,
        ctx: &Context,
        cluster: &ClusterName,
        rgd: &str,
        hash: String,
        fits: Result<(), String>,
    ) {
        let Some(entry) = self.entries.get_mut(rgd) else { return };
        if entry.serving.as_ref().is_some_and(|(graph, _)| graph.hash == hash) {
            entry.verdicts.insert(cluster.clone(), (hash, fits));
            self.write_status(ctx, rgd);
        }
    }

    /// Exactly these clusters are registered.
    pub fn clusters_are(&mut self, ctx: &Context, registered: &BTreeSet<ClusterName>) {
        let gone = |e: &DefinitionEntry| e.verdicts.keys().any(|name| !registered.contains(name));
        let concerned: Vec<String> =
            self.entries.iter().filter(|(_, e)| gone(e)).map(|(n, _)| n.clone()).collect();
        for name in concerned {
            if let Some(entry) = self.entries.get_mut(&name) {
                entry.verdicts.retain(|cluster, _| registered.contains(cluster));
            }
            self.write_status(ctx, &name);
        }
    }

    fn write_status(&mut self, ctx: &Context, name: &str) {
        let newest = Revisions::of(name, self.revisions.iter().map(|(_, o)| o)).newest();
        let Some(entry) = self.entries.get_mut(name) else { return };
        // Before the compiler has spoken, what was written before a restart stands.
        if self.wakes.is_waiting(name, Subject::Status) {
            return;
        }
        if entry.writing || entry.compiling || (entry.compiled.is_none() && entry.rgd.status.is_some()) {
            return;
        }
        if entry.kind.is_none() && matches!(entry.compiled, Some(Ok(_))) && entry.rgd.status.is_some() {
            return;
        }
        let serving = entry.serving.as_ref().map(|(graph, _)| graph.hash.as_str());
        let progress = status::Progress {
            accepted: entry.compiled.as_ref().map(|c| match c {
                Ok(graph) => Ok(status::Compiled {
                    topological_order: graph.nodes.iter().map(|n| n.id.clone()).collect(),
                    resources: graph.resources.clone(),
                }),
                Err(why) => Err(why.clone()),
            }),
            kind: entry.kind.clone(),
            revision: match (&entry.issued, entry.issuing) {
                (_, Some(number)) => Revision::Issuing(number),
                (Some((_, number)), None) => Revision::Active(*number),
                (None, None) => newest.map_or(Revision::None, Revision::Active),
            },
            running: entry.watching,
            held_by: entry.held_by.clone().filter(|_| entry.object.is_deleting()),
            unfit: serving.and_then(|hash| verdicts::unfit(&entry.verdicts, hash)),
            fleet: verdicts::fleet(&entry.verdicts, entry.rgd.status.as_ref().and_then(|s| s.fleet.as_ref())),
        };
        let old = entry.rgd.status.clone().unwrap_or_default();
        let new = status::status(&old, entry.object.generation(), &progress, &ctx.clock.now());
        let value = |s: &RgdStatus| serde_json::to_value(s).unwrap_or_default();
        let live = entry.object.0.get("status").cloned().unwrap_or_else(|| json!({}));
        let mut wanted = value(&new);
        // Fields of others in the status stay.
        if let (Some(wanted), Some(live)) = (wanted.as_object_mut(), live.as_object()) {
            let known = value(&RgdStatus { fleet: Some(json!({})), ..RgdStatus::default() });
            for (key, value) in live {
                if known.get(key).is_none() {
                    wanted.insert(key.clone(), value.clone());
                }
            }
        }
        let Some(patch) = crate::reconcile::spoke::merge_patch(&live, &wanted) else { return };
        let generation = entry.object.generation();
        if patch == json!({"observedGeneration": generation}) && entry.observed == Some(generation) {
            return;
        }
        entry.observed = Some(generation);
        for (warning, reason, message) in status::news(&old, &new) {
            ctx.publish(&entry.object, warning, &reason, message);
        }
        entry.writing = true;
        let patch = json!({"metadata": {"uid": entry.object.uid()}, "status": patch});
        write(ctx, name, Written::Status, patch, None);
    }
}
