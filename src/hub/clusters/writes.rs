//! What is written to Cluster objects. One write of a Cluster at a time: its answer comes back as an event.

use super::connection::Connection;
use super::entry::ClusterEntry;
use super::status::{self, Facts, Standing};
use super::{Due, WRITE_PAUSES};
use crate::api::cluster::{ClusterStatus, LeftBehind};
use crate::api::condition::READY;
use crate::api::hash;
use crate::api::keys::hub;
use crate::api::names::ClusterName;
use crate::hub::Event;
use crate::hub::context::Context;
use crate::hub::resources::clusters;
use crate::hub::timers::Timers;
use crate::hub::writes::Part;
use crate::reconcile::fleet::Left;
use crate::spoke::messages::ContactState;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Writes the status, if it has to change.
pub(super) fn write_status(
    ctx: &Context,
    timers: &mut Timers<Due>,
    name: &ClusterName,
    entry: &mut ClusterEntry,
) {
    if entry.writes.is_under_way() {
        return;
    }
    let old = entry.cluster.status.clone().unwrap_or_default();
    let was_used = old.conditions.iter().any(|c| c.type_ == READY && c.is_said());
    let standing = match &entry.connection {
        Connection::Refused(refused) => Standing::Blocked(&refused.why),
        // After a restart, what was written before stands until the first answer; and so does what is wrong.
        Connection::Asking(asking)
            if asking.failure.is_none() && was_used && !entry.connection.was_ready() =>
        {
            return;
        }
        Connection::Asking(asking) => Standing::Connecting(asking.failure.as_ref()),
        Connection::Running(running) => {
            Standing::Running(running.contact.lost().unwrap_or(&ContactState::Ready))
        }
    };
    let counted = !timers.is_waiting(&Due::Count(name.clone()));
    let facts = Facts {
        info: entry.info.clone(),
        instances: if counted { entry.instances } else { old.instances },
        credentials: entry.credentials.clone(),
        notes: entry.notes.clone(),
        leaving: super::departure::message(entry),
        left_behind: match &entry.left {
            Some(left) => left_behind(left),
            None => old.left_behind.clone(),
        },
        unknown_mirrors: if counted { entry.unknown.clone() } else { old.unknown_mirrors.clone() },
    };
    let now = ctx.clock.now();
    let new = status::status(&old, entry.object.generation(), &standing, &facts, &now);
    let (old, new) = (to_value(&old), to_value(&new));
    let due = Due::Write(name.clone());
    let Some(patch) = crate::reconcile::spoke::merge_patch(&old, &new) else {
        entry.writes.status_stands();
        if !entry.object.is_deleting() && entry.object.has_finalizer(hub::FINALIZER) {
            timers.settled(&due);
        }
        return;
    };
    if !entry.writes.begin_status(print(&patch), now.at) {
        // The same was written before, and was refused or did not stay.
        timers.failed(&due, now.at, WRITE_PAUSES);
        return;
    }
    let (this, name) = (ctx.clone(), name.clone());
    let patch = json!({"metadata": {"uid": entry.object.uid()}, "status": patch});
    ctx.spawn(async move {
        let written = this.client.at(&clusters(), "", name.as_str()).merge_status(&patch).await;
        this.tell(Event::ClusterWritten(name, Part::Status, written));
    });
}

fn to_value(status: &ClusterStatus) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}

fn left_behind(left: &BTreeMap<String, Left>) -> Option<LeftBehind> {
    let names = left.values().take(10).map(|l| l.key().to_string()).collect();
    let count = i64::try_from(left.len()).unwrap_or(i64::MAX);
    (count > 0).then_some(LeftBehind { count, names })
}

/// What a patch says, whenever it is written.
fn print(patch: &Value) -> u64 {
    fn timeless(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let dated = ["lastTransitionTime", "lastContact"];
                let kept = fields.iter().filter(|(key, _)| !dated.contains(&key.as_str()));
                kept.map(|(key, value)| (key.clone(), timeless(value))).collect()
            }
            Value::Array(items) => items.iter().map(timeless).collect(),
            other => other.clone(),
        }
    }
    hash::json(&timeless(patch))
}

pub(super) fn add_finalizer(ctx: &Context, name: &ClusterName, entry: &mut ClusterEntry) {
    let mut finalizers = entry.object.finalizers();
    finalizers.push(hub::FINALIZER.to_owned());
    if entry.writes.begin_finalizers(ctx.clock.now().at) {
        write_finalizers(ctx, name, entry, &finalizers);
    }
}

/// Writes the finalizers, which is taken as begun.
pub(super) fn write_finalizers(
    ctx: &Context,
    name: &ClusterName,
    entry: &ClusterEntry,
    finalizers: &[String],
) {
    let version = entry.object.resource_version();
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
    let (this, name) = (ctx.clone(), name.clone());
    ctx.spawn(async move {
        let written = this.client.at(&clusters(), "", name.as_str()).merge_patch(&patch).await;
        this.tell(Event::ClusterWritten(name, Part::Finalizers, written));
    });
}
