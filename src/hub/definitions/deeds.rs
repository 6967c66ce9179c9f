//! What is done for a definition, and how what came of it is told.

use super::compilation::Print;
use super::entry::DefinitionEntry;
use super::revision_writes::{Chore, issue_revision};
use super::snapshot::Issue;
use super::status::News;
use super::{Outcome, compile, crd};
use crate::api::Object;
use crate::api::rgd::ResourceGraphDefinition;
use crate::graph::Graph;
use crate::hub::Event;
use crate::hub::context::Context;
use crate::hub::resources::definitions;
use crate::hub::writes::Part;
use crate::schema::crd::for_hub;
use crate::spoke::client::ApiError;
use crate::spoke::crd::crd_resource;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug)]
pub(super) enum Deed {
    /// `stored`: what its snapshot says of its status.
    Compile {
        print: Print,
        stored: Option<Value>,
    },
    Issue {
        graph: Arc<Graph>,
        issue: Issue,
    },
    EnsureCrd {
        graph: Arc<Graph>,
        column: bool,
        may: crd::May,
    },
    Upkeep(Chore),
    /// Looks for the newest of these that fits the CRD on the hub.
    FallBack {
        snapshots: Vec<ResourceGraphDefinition>,
        live: Arc<Object>,
    },
    /// The CRD is deleted before that, where one is given.
    WriteFinalizers {
        finalizers: Vec<String>,
        delete_crd: Option<Arc<Object>>,
    },
    WriteStatus {
        patch: Value,
        news: Vec<News>,
    },
}

/// Who is told what came of it: the definition for which it was done, and none that came after it under its name.
#[derive(Clone)]
pub(super) struct Teller {
    ctx: Context,
    name: String,
    uid: String,
}

impl Teller {
    fn of(ctx: &Context, object: &Object) -> Self {
        Self { ctx: ctx.clone(), name: object.name().to_owned(), uid: object.uid().to_owned() }
    }
    pub fn name(&self) -> &str {
        &self.name
    }
    pub fn tell(self, outcome: Outcome) {
        self.ctx.tell(Event::Definition { name: self.name, uid: self.uid, outcome });
    }
}

/// What compiling has to know of the hub.
pub(super) struct OfHub {
    /// The generated CRDs on the hub of which the definition makes instances.
    pub own: Vec<Arc<Object>>,
    /// There are no clusters but the hub.
    pub alone: bool,
}

impl Deed {
    /// `of_hub` is asked only where it is needed.
    pub fn perform(self, ctx: &Context, entry: &DefinitionEntry, of_hub: impl FnOnce() -> OfHub) {
        let (object, teller) = (&entry.object, Teller::of(ctx, &entry.object));
        match self {
            Self::Compile { print, stored } => {
                let job = compile::Job { rgd: entry.rgd.clone(), stored, print, of_hub: of_hub() };
                compile::start(ctx, job, teller);
            }
            Self::Issue { graph, issue } => issue_revision(ctx, entry, graph, issue, teller),
            Self::EnsureCrd { graph, column, may } => {
                let (this, rgd_name) = (ctx.clone(), entry.rgd.metadata.name.clone());
                ctx.spawn(async move {
                    let result = crd::ensure(&this, &for_hub(&graph.crd, column), &rgd_name, may).await;
                    teller.tell(Outcome::Crd(graph, result));
                });
            }
            Self::Upkeep(chore) => chore.perform(ctx),
            Self::FallBack { snapshots, live } => {
                let search = compile::Search { snapshots, own: of_hub().own, live: live.0.clone() };
                compile::fall_back(ctx, search, teller);
            }
            Self::WriteFinalizers { finalizers, delete_crd } => {
                let version = object.resource_version();
                let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
                write_finalizers(ctx, patch, delete_crd, teller);
            }
            Self::WriteStatus { patch, news } => {
                for News { warning, reason, message } in news {
                    ctx.publish(object, warning, &reason, message);
                }
                let patch = json!({"metadata": {"uid": object.uid()}, "status": patch});
                let this = ctx.clone();
                ctx.spawn(async move {
                    let written =
                        this.client.at(&definitions(), "", teller.name()).merge_status(&patch).await;
                    teller.tell(Outcome::Written(Part::Status, written));
                });
            }
        }
    }
}

fn write_finalizers(ctx: &Context, patch: Value, delete_crd: Option<Arc<Object>>, teller: Teller) {
    let this = ctx.clone();
    let write = async move |name: &str| -> Result<Value, ApiError> {
        if let Some(crd) = &delete_crd {
            this.client.at(&crd_resource(), "", crd.name()).delete(crd.uid()).await?;
        }
        this.client.at(&definitions(), "", name).merge_patch(&patch).await
    };
    ctx.spawn(async move {
        let written = write(teller.name()).await;
        teller.tell(Outcome::Written(Part::Finalizers, written));
    });
}
