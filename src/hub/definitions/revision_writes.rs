//! What is written to GraphRevisions: issued, adopted, let go, deleted when there are too many.

use super::{Outcome, revisions};
use crate::api::Object;
use crate::api::keys::kro;
use crate::api::rgd::ResourceGraphDefinition;
use crate::graph::Graph;
use crate::hub::context::Context;
use crate::hub::{Event, resources};
use crate::spoke::client::ApiError;
use serde_json::{Value, json};
use std::sync::Arc;

/// Creates the snapshot of a graph, and says in its status that it compiles.
pub(super) fn issue_revision(
    ctx: &Context,
    rgd: &ResourceGraphDefinition,
    object: &Object,
    graph: Arc<Graph>,
    number: i64,
) {
    let spec = object.0.get("spec").cloned().unwrap_or_default();
    let body = revisions::body(rgd, &spec, &graph, number);
    let (this, name) = (ctx.clone(), object.name().to_owned());
    ctx.spawn(async move {
        let resource = resources::revisions();
        let created = this.client.create(&resource, "", &body).await;
        if let Ok(created) = &created {
            let created = Object(created.clone());
            let now = this.clock.now().rfc3339;
            let status = json!({"status": revisions::verified_status(&graph, created.generation(), &now)});
            if let Err(error) = this.client.merge_status(&resource, "", created.name(), &status).await {
                tracing::warn!(revision = created.name(), %error, "writing the status of a revision failed");
            }
        }
        this.tell(Event::Definition(name, Outcome::Issued(graph.hash.clone(), number, created)));
    });
}

/// A revision that is being deleted waits for nobody here.
pub(super) fn let_revision_go(ctx: &Context, object: &Object) {
    let finalizers = object.finalizers();
    if !finalizers.iter().any(|f| f == kro::FINALIZER) {
        return;
    }
    let rest: Vec<String> = finalizers.into_iter().filter(|f| f != kro::FINALIZER).collect();
    let patch = json!({"metadata": {"finalizers": rest, "resourceVersion": object.resource_version()}});
    patch_revision(ctx, object.name(), patch);
}

pub(super) fn adopt_revision(ctx: &Context, object: Arc<Object>, owners: Value) {
    let patch =
        json!({"metadata": {"ownerReferences": owners, "resourceVersion": object.resource_version()}});
    patch_revision(ctx, object.name(), patch);
}

fn patch_revision(ctx: &Context, name: &str, patch: Value) {
    let (this, name) = (ctx.clone(), name.to_owned());
    ctx.spawn(async move {
        if !this.may_write() {
            return;
        }
        match this.client.merge_patch(&resources::revisions(), "", &name, &patch).await {
            // Somebody else changed it meanwhile: the watch shows it again.
            Ok(_) | Err(ApiError::NotFound | ApiError::Conflict { .. }) => {}
            Err(error) => tracing::warn!(revision = name, %error, "changing a revision failed"),
        }
    });
}

pub(super) fn delete_revision(ctx: &Context, object: Arc<Object>) {
    let this = ctx.clone();
    ctx.spawn(async move {
        if !this.may_write() {
            return;
        }
        match this.client.delete(&resources::revisions(), "", object.name(), object.uid()).await {
            Ok(_) | Err(ApiError::Conflict { .. }) => {}
            Err(error) => tracing::warn!(revision = object.name(), %error, "deleting an old revision failed"),
        }
    });
}
