//! What is written to GraphRevisions: issued, adopted, let go, deleted when there are too many.

use super::Outcome;
use super::deeds::Teller;
use super::entry::DefinitionEntry;
use super::revisions::{self, Revisions};
use super::snapshot::Issue;
use crate::api::Object;
use crate::api::keys::kro;
use crate::api::rgd::Metadata;
use crate::graph::Graph;
use crate::hub::context::Context;
use crate::hub::resources;
use crate::spoke::client::ApiError;
use serde_json::{Value, json};
use std::sync::Arc;

/// Creates the snapshot of a graph, and says in its status that it compiles.
pub(super) fn issue_revision(
    ctx: &Context,
    entry: &DefinitionEntry,
    graph: Arc<Graph>,
    issue: Issue,
    teller: Teller,
) {
    let spec = entry.object.0.get("spec").cloned().unwrap_or_default();
    let body = revisions::body(&entry.rgd, &spec, &graph, issue.number);
    let this = ctx.clone();
    ctx.spawn(async move {
        let resource = resources::revisions();
        let created = this.client.create(&resource, "", &body).await;
        if let Ok(created) = &created {
            let created = Object(created.clone());
            let now = this.clock.now().rfc3339;
            let status = json!({"status": revisions::verified_status(&graph, created.generation(), &now)});
            if let Err(error) = this.client.at(&resource, "", created.name()).merge_status(&status).await {
                tracing::warn!(revision = created.name(), %error, "writing the status of a revision failed");
            }
        }
        teller.tell(Outcome::Issued(issue, created.map(drop)));
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

/// What is to be written to a snapshot that is there.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Chore {
    /// It gets these ownerReferences.
    Adopt(Arc<Object>, Value),
    Delete(Arc<Object>),
}

/// What is to be done about the snapshots of a definition: those that it does not own yet are adopted, and once its kind is
/// `served`, those that are too many go.
pub(super) fn chores(
    snapshots: &Revisions,
    definition: &Object,
    rgd: &Metadata,
    served: bool,
    limit: usize,
) -> Vec<Chore> {
    let adopt = if definition.is_deleting() { Vec::new() } else { snapshots.to_adopt(rgd) };
    let surplus = if served { snapshots.surplus(limit) } else { Vec::new() };
    let adopt: Vec<_> =
        adopt.into_iter().filter(|(object, _)| !surplus.iter().any(|s| s.uid() == object.uid())).collect();
    let adopt = adopt.into_iter().map(|(object, owners)| Chore::Adopt(object, owners));
    adopt.chain(surplus.into_iter().map(Chore::Delete)).collect()
}

impl Chore {
    pub fn perform(self, ctx: &Context) {
        match self {
            Self::Adopt(object, owners) => {
                let version = object.resource_version();
                let patch = json!({"metadata": {"ownerReferences": owners, "resourceVersion": version}});
                patch_revision(ctx, object.name(), patch);
            }
            Self::Delete(object) => delete_revision(ctx, object),
        }
    }
}

fn patch_revision(ctx: &Context, name: &str, patch: Value) {
    let (this, name) = (ctx.clone(), name.to_owned());
    ctx.spawn(async move {
        if !this.may_write() {
            return;
        }
        match this.client.at(&resources::revisions(), "", &name).merge_patch(&patch).await {
            // Somebody else changed it meanwhile: the watch shows it again.
            Ok(_) | Err(ApiError::NotFound | ApiError::Conflict { .. }) => {}
            Err(error) => tracing::warn!(revision = name, %error, "changing a revision failed"),
        }
    });
}

fn delete_revision(ctx: &Context, object: Arc<Object>) {
    let this = ctx.clone();
    ctx.spawn(async move {
        if !this.may_write() {
            return;
        }
        match this.client.at(&resources::revisions(), "", object.name()).delete(object.uid()).await {
            Ok(_) | Err(ApiError::Conflict { .. }) => {}
            Err(error) => tracing::warn!(revision = object.name(), %error, "deleting an old revision failed"),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_do_for_snapshots_is_told_until_it_is_done_and_each_once() {
        let of = |number: i64, owner: &str| {
            Arc::new(Object(json!({
                "metadata": {"name": format!("a-r{number:05}"), "uid": format!("r{number}"), "ownerReferences": [
                    {"kind": "ResourceGraphDefinition", "uid": owner, "controller": true}]},
                "spec": {"revision": number, "snapshot": {"name": "a"}},
            })))
        };
        let (definition, rgd) = (Object(json!({})), Metadata { uid: "u".into(), ..Metadata::default() });
        let told = |all: &[Arc<Object>], served: bool, definition: &Object| -> Vec<String> {
            let chores = chores(&Revisions::of("a", all.iter()), definition, &rgd, served, 2);
            let name = |chore: &Chore| match chore {
                Chore::Adopt(object, _) => format!("adopt {}", object.uid()),
                Chore::Delete(object) => format!("delete {}", object.uid()),
            };
            chores.iter().map(name).collect()
        };
        let all = [of(1, "old"), of(2, "old"), of(3, "u")];
        assert_eq!(told(&all, false, &definition), ["adopt r1", "adopt r2"]);
        assert_eq!(told(&all, true, &definition), ["adopt r2", "delete r1"]);
        assert!(told(&[of(2, "u"), of(3, "u")], true, &definition).is_empty());
        let leaving = Object(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        assert_eq!(told(&all, true, &leaving), ["delete r1"]);
    }
}
