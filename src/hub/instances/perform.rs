//! Performs what a fleet machine decided; each request is answered by exactly one outcome.

use super::reported::write_report;
use super::rollouts::write_version;
use super::{Outcome, Target};
use crate::api::Object;
use crate::api::keys::kro;
use crate::api::names::ClusterName;
use crate::hub::Event;
use crate::hub::clusters::Clusters;
use crate::hub::clusters::left_behind::{self, Recorded};
use crate::hub::context::Context;
use crate::reconcile::fleet::over_all::Question;
use crate::reconcile::fleet::{FleetAction, Left};
use crate::spoke::client::{ApiError, Verbs};
use crate::spoke::health::backoff;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

pub(super) fn start(ctx: &Context, target: &Target, action: FleetAction, clusters: &Clusters) {
    let record = match &action {
        FleetAction::RecordLeft { cluster, .. } => {
            (clusters.record_id(cluster), clusters.knows_left(cluster))
        }
        _ => (String::new(), false),
    };
    let (this, target) = (ctx.clone(), target.clone());
    ctx.spawn(async move {
        let outcome = perform(&this, &target, action, &record).await;
        let uid = target.object.uid().to_owned();
        if let Some(outcome) = outcome {
            this.tell(Event::Instance(target.key, uid, outcome));
        }
    });
}

/// Evaluates fields of a status beside the hub's loop. Those that took long before wait for each other alone.
pub(super) fn evaluate(ctx: &Context, target: &Target, question: Question, slow: bool) {
    let (this, key, uid) = (ctx.clone(), target.key.clone(), target.object.uid().to_owned());
    ctx.spawn(async move {
        let pool = if slow { &this.evaluators.slow } else { &this.evaluators.quick };
        let unanswered = question.unanswered();
        let evaluated = pool.run(move || {
            let began = Instant::now();
            (question.evaluate(), began.elapsed())
        });
        let (answer, took) = evaluated.await.unwrap_or_else(|| {
            tracing::error!(
                "the evaluation of its status over all clusters panicked; the fields stay as they are"
            );
            (unanswered, Duration::ZERO)
        });
        this.tell(Event::Instance(key, uid, Outcome::Evaluated(answer, took)));
    });
}

/// `record`: the id of the cluster's record, and whether what stands there is known.
async fn perform(
    ctx: &Context,
    target: &Target,
    action: FleetAction,
    record: &(String, bool),
) -> Option<Outcome> {
    match action {
        FleetAction::RecordLeft { cluster, left } => {
            let (id, known) = record;
            let becomes = left.becomes();
            let result = record_left(ctx, id, *known, left).await;
            if result.is_ok() {
                let message = format!("content on cluster {cluster} is left behind: {becomes}");
                ctx.publish(&target.object, false, "LeftBehind", message);
            }
            Some(Outcome::Left(cluster, result))
        }
        FleetAction::WriteReport(write) => {
            let written = write_report(&ctx.client, &ctx.settings.namespace, target, &write).await;
            Some(Outcome::Report(write.index, written))
        }
        FleetAction::Tell { warning, reason, message } => {
            ctx.publish(&target.object, warning, reason, message);
            None
        }
        action => match write_version(&ctx.client, &ctx.settings.namespace, target, &action).await {
            Some(outcome) => Some(outcome),
            None => write(&ctx.client, target, action).await,
        },
    }
}

/// Writes the instance; `None` where the action is none of its own writes.
pub(in crate::hub) async fn write(client: &Verbs, target: &Target, action: FleetAction) -> Option<Outcome> {
    let (resource, namespace, name) = (&target.resource, &*target.key.namespace, &*target.key.name);
    let uid = target.object.uid();
    Some(match action {
        FleetAction::PatchMeta { mut body } => {
            // With the uid, an apply cannot bring back an instance that was deleted meanwhile.
            body["metadata"]["uid"] = json!(uid);
            Outcome::Meta(client.at(resource, namespace, name).apply(kro::MANAGER_LABELLER, &body).await)
        }
        FleetAction::WriteStatus { patch } => {
            let patch = json!({"metadata": {"uid": uid}, "status": patch});
            Outcome::Status(client.at(resource, namespace, name).merge_status(&patch).await)
        }
        FleetAction::RemoveFinalizer => {
            let rest: Vec<String> = target.object.finalizers_but(kro::FINALIZER);
            let version = target.object.resource_version();
            let patch = json!({"metadata": {"finalizers": rest, "resourceVersion": version}});
            Outcome::Finalizer(client.at(resource, namespace, name).merge_patch(&patch).await)
        }
        _ => return None,
    })
}

async fn record_left(ctx: &Context, id: &str, known: bool, left: Left) -> Result<Recorded, ApiError> {
    let (client, namespace) = (&ctx.client, &ctx.settings.namespace);
    left_behind::record(client, namespace, id, &left).await?;
    if known {
        return Ok(Recorded::More(left));
    }
    Ok(Recorded::All(left_behind::read(client, namespace, id).await?))
}

/// A status that the API server refuses for good is told where a person looks, since the status cannot tell it.
pub(super) fn tell_refused(ctx: &Context, object: Option<&Object>, why: &str) {
    tracing::warn!(why, "the API server refuses the status");
    if let Some(object) = object {
        let message = format!("the hub refuses the status of the instance: {why}");
        ctx.publish(object, true, "StatusRefused", message);
    }
}

/// Takes a record of what is left out: it was cleaned, or its instance is there again.
pub(super) fn forget_left(ctx: &Context, name: &ClusterName, clusters: &Clusters, hub_uid: &str) {
    let ids = left_behind::ids(&clusters.record_id(name), name);
    let (this, name, hub_uid) = (ctx.clone(), name.clone(), hub_uid.to_owned());
    ctx.spawn(async move {
        if !this.may_write() {
            return;
        }
        for id in &ids {
            let forgotten = left_behind::forget(&this.client, &this.settings.namespace, id, &hub_uid).await;
            if let Err(error) = forgotten {
                tracing::warn!(cluster = %name, %error, "a leftover may stay on record; the record is read again, and judged anew");
                return read_again(&this, name, ids).await;
            }
        }
        this.tell(Event::LeftForgotten(name, hub_uid));
    });
}

/// What is on record as left is read until it can be: a request that got no answer may have been executed.
async fn read_again(ctx: &Context, name: ClusterName, ids: [String; 2]) {
    for attempt in 0.. {
        tokio::time::sleep(backoff(attempt, name.as_str())).await;
        let left = left_behind::read_under(&ctx.client, &ctx.settings.namespace, &ids).await;
        if let Ok(left) = left {
            return ctx.tell(Event::LeftRead(name, left));
        }
    }
}
