//! What came of that which was done for a definition.

use super::compilation::{Print, Verdict};
use super::compile::Compiled;
use super::entry::DefinitionEntry;
use super::snapshot::Issue;
use super::wakes::{self, Subject, Wakes};
use super::{Change, Definitions, Effect, crd};
use crate::api::Object;
use crate::api::keys::kro;
use crate::graph::Graph;
use crate::hub::context::Context;
use crate::hub::writes::Part;
use crate::reconcile::Moment;
use crate::spoke::client::ApiError;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// What came of work that was started for a definition.
#[derive(Debug)]
pub(in crate::hub) enum Outcome {
    /// Of the spec with this fingerprint.
    Compiled(Print, Compiled),
    Issued(Issue, Result<(), ApiError>),
    /// The newest snapshot that fits the CRD on the hub, while the definition itself cannot serve.
    Fallback(Option<Arc<Graph>>),
    /// The CRD of this graph.
    Crd(Arc<Graph>, Result<String, crd::Failure>),
    Written(Part, Result<Value, ApiError>),
}

impl Definitions {
    /// `uid`: of the definition for which it was done. There may be another of that name by now.
    pub fn outcome(&mut self, ctx: &Context, name: &str, uid: &str, outcome: Outcome) -> Vec<Effect> {
        let live = self.served_crd(name);
        let now = ctx.clock.now().at;
        let Some(entry) = self.entries.get_mut(name).filter(|e| e.object.uid() == uid) else {
            return Vec::new();
        };
        let wakes = &mut self.wakes;
        let mut effects = Vec::new();
        match outcome {
            Outcome::Compiled(print, compiled) => entry.compiled(print, compiled, wakes, now),
            Outcome::Issued(issue, result) => entry.issued(issue, result, wakes, now),
            Outcome::Fallback(graph) => effects = entry.fell_back(graph.as_ref(), live.as_deref()),
            Outcome::Crd(graph, result) => {
                match &result {
                    Ok(_) => drop(self.mendable.remove(&graph.gvk.group_kind())),
                    Err(failure) if failure.mends == crd::Mends::Instances => {
                        self.mendable.insert(graph.gvk.group_kind(), name.to_owned());
                    }
                    Err(_) => {}
                }
                effects = entry.crd_ensured(&graph, result, wakes, now);
            }
            // It is gone, which the watch shows.
            Outcome::Written(part, Err(ApiError::NotFound)) => {
                entry.writes.answered(part);
                return Vec::new();
            }
            Outcome::Written(part, Err(error)) => {
                if let (Part::Status, ApiError::Invalid { message }) = (part, &error) {
                    tracing::warn!(rgd = name, message, "the API server refuses the status");
                    let note = format!("the hub refuses the status of the definition: {message}");
                    ctx.publish(&entry.object, true, "StatusRefused", note);
                }
                entry.not_written(part, &error, wakes, now);
            }
            Outcome::Written(part, Ok(value)) => {
                entry.writes.answered(part);
                wakes.settled(name, part.into());
                if let Some(Change { after: Some(object), .. }) = self.view.refresh(value) {
                    return self.take(ctx, &object);
                }
            }
        }
        self.look(ctx, name);
        effects
    }
}

impl DefinitionEntry {
    pub fn compiled(&mut self, print: Print, compiled: Compiled, wakes: &mut Wakes, now: Moment) {
        let lacking = compiled.lacking;
        let result = match compiled.result {
            Some(Ok(graph)) => Ok(graph),
            Some(Err(problems)) => {
                let lines = problems.iter().map(ToString::to_string).chain(compiled.silent);
                Err(lines.collect::<Vec<_>>().join("\n"))
            }
            None => {
                Err("the compiler failed on this definition; please report it with the definition".into())
            }
        };
        let refused = result.is_err();
        let Some(outdated) = self.compilation.answered(print, Verdict { result, lacking }) else { return };
        let name = self.object.name();
        if lacking {
            let pauses = if refused { wakes::SOON } else { wakes::LASTING };
            wakes.failed(name, Subject::Compile, pauses, now);
        } else {
            wakes.settled(name, Subject::Compile);
        }
        if outdated && (refused || lacking) {
            wakes.within(name, Subject::Compile, now, Duration::ZERO);
        }
    }

    pub fn issued(&mut self, issue: Issue, result: Result<(), ApiError>, wakes: &mut Wakes, now: Moment) {
        if !self.snapshot.awaits(&issue) {
            return;
        }
        let name = self.object.name();
        match result {
            Ok(()) => {
                wakes.settled(name, Subject::Revision);
                self.snapshot.granted(issue);
            }
            Err(error) => {
                tracing::warn!(rgd = name, number = issue.number, %error, "issuing a revision failed");
                let retry = wakes.failed(name, Subject::Revision, wakes::SOON, now);
                self.snapshot.failed(error.to_string(), retry);
            }
        }
    }

    /// `live`: its CRD on the hub.
    pub fn fell_back(&mut self, graph: Option<&Arc<Graph>>, live: Option<&Object>) -> Vec<Effect> {
        self.fallback.granted();
        let Some(live) = live else { return Vec::new() };
        match graph.filter(|_| self.serving().is_none()) {
            Some(graph) => {
                let rgd = self.object.name();
                tracing::info!(rgd, "its newest snapshot that fits the CRD on the hub serves on");
                self.serve(graph, false, &live.0)
            }
            None => self.watch(&live.0).into_iter().collect(),
        }
    }

    pub fn crd_ensured(
        &mut self,
        graph: &Arc<Graph>,
        result: Result<String, crd::Failure>,
        wakes: &mut Wakes,
        now: Moment,
    ) -> Vec<Effect> {
        let current = self.compilation.graph().is_some_and(|present| Arc::ptr_eq(present, graph));
        if !current {
            // The spec may have gone and come back meanwhile, with the same hash.
            self.kind.answered_for_another();
            return Vec::new();
        }
        let name = self.object.name();
        match result {
            Ok(kind) => {
                wakes.settled(name, Subject::Crd);
                self.kind.granted(kind);
                self.serve(graph, self.allow_breaking(), &graph.crd)
            }
            Err(failure) => {
                let pauses = match failure.mends {
                    crd::Mends::Itself => wakes::SOON,
                    crd::Mends::Somebody | crd::Mends::Instances => wakes::LASTING,
                };
                let retry = wakes.failed(name, Subject::Crd, pauses, now);
                self.kind.failed(failure.message, retry);
                Vec::new()
            }
        }
    }

    pub fn not_written(&mut self, part: Part, error: &ApiError, wakes: &mut Wakes, now: Moment) {
        let name = self.object.name();
        tracing::debug!(rgd = name, %error, "writing a definition failed");
        let refused = !matches!(error, ApiError::Conflict { .. });
        let pauses = if refused { wakes::SOON } else { wakes::OVERTAKEN };
        let retry = wakes.failed(name, part.into(), pauses, now);
        let said = part == Part::Finalizers && refused && !self.object.is_deleting();
        let why = said.then(|| format!("the finalizer {} cannot be added: {error}", kro::FINALIZER));
        self.writes.failed(part, why, retry);
    }
}
