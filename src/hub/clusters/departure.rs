//! How long a Cluster that is being deregistered waits, where what runs there is to stay.
//!
//! Whoever removes a repository removes instances and Clusters together, in any order. So nothing is let go before it is
//! clear what else is being deleted; and what is being deleted is deleted there too, while there is contact, for a time that
//! the Cluster says.

use super::Due;
use super::entry::ClusterEntry;
use crate::api::Object;
use crate::api::cluster::OnDeregister;
use crate::api::names::ClusterName;
use crate::hub::timers::Timers;
use crate::reconcile::fleet::Departure;
use crate::spoke::host::Clock;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// What is deleted within this time counts as deleted together with the Cluster.
const SETTLING: SignedDuration = SignedDuration::from_secs(10);
/// The same where a GitOps tool deletes: it goes part by part, and looks after the next one every half minute.
const SETTLING_BY_TOOL: SignedDuration = SignedDuration::from_secs(90);
/// Deletions that take longer are given up.
const LIMIT: SignedDuration = SignedDuration::from_mins(10);

/// How far a Cluster is whose deletion was asked for then, and how long it stays so.
fn stage(asked: Timestamp, now: Timestamp, settling: SignedDuration) -> (Departure, Option<Duration>) {
    let passed = now.duration_since(asked);
    let until = |end: SignedDuration| Duration::try_from(end.saturating_sub(passed)).ok();
    if passed < settling {
        (Departure::Settling, until(settling))
    } else if passed < LIMIT {
        (Departure::Finishing, until(LIMIT))
    } else {
        (Departure::Over, None)
    }
}

fn settling(cluster: &Object) -> SignedDuration {
    if is_managed_by_tool(cluster) { SETTLING_BY_TOOL } else { SETTLING }
}

/// What Flux and Argo CD mark with what they sync; Argo CD by an annotation, or by one of two labels that it is told.
const MARKS: [&str; 5] = [
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
    "argocd.argoproj.io/tracking-id",
    "argocd.argoproj.io/instance",
    "app.kubernetes.io/instance",
];

/// Whether Flux or Argo CD put the object there.
fn is_managed_by_tool(object: &Object) -> bool {
    let mut keys = object.labels().into_keys().chain(object.annotations().into_keys());
    keys.any(|key| MARKS.contains(&key.as_str()))
}

/// Notes how far the Cluster is; looks again when that ends.
pub(super) fn look(timers: &mut Timers<Due>, clock: &Clock, name: &ClusterName, entry: &mut ClusterEntry) {
    if !entry.object.is_deleting() {
        return;
    }
    let asked = entry.object.str_at("/metadata/deletionTimestamp").parse::<Timestamp>();
    let (stage, left) =
        asked.map_or((Departure::Over, None), |asked| stage(asked, clock.wall(), settling(&entry.object)));
    if let Some(left) = left.filter(|_| entry.departure != Some(stage)) {
        // A moment later: the time it says is cut to seconds.
        timers.after(&Due::Departure(name.clone()), clock.now().at, left + Duration::from_millis(100));
    }
    entry.departure = Some(stage);
}

/// What the status says of a Cluster that is being deregistered.
pub(super) fn message(entry: &ClusterEntry) -> Option<String> {
    if !entry.object.is_deleting() {
        return None;
    }
    let waits = match entry.instances {
        0 => {
            let waits = entry
                .unseen
                .as_ref()
                .map(|why| format!(": it waits until nothing can hold content there; {why}"));
            return Some(format!("being deregistered{}", waits.unwrap_or_default()));
        }
        1 => "1 instance holds content there".to_owned(),
        n => format!("{n} instances hold content there"),
    };
    let then = if entry.cluster.spec.on_deregister == OnDeregister::Delete {
        "it is deleted first, for which contact is needed".to_owned()
    } else {
        let asked = entry.object.str_at("/metadata/deletionTimestamp").parse::<Timestamp>().ok()?;
        let until = asked.checked_add(LIMIT).ok()?.strftime("%Y-%m-%dT%H:%M:%SZ");
        format!(
            "what is being deleted is waited for until {until}, while there is contact; the rest stays and is recorded"
        )
    };
    Some(format!("being deregistered: {waits}; {then}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_departure_has_stages_that_follow_from_when_it_was_asked_for() {
        let asked: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (at, stage_then, left) in [
            ("2025-12-31T23:59:58Z", Departure::Settling, Some(12)),
            ("2026-01-01T00:00:00Z", Departure::Settling, Some(10)),
            ("2026-01-01T00:00:10Z", Departure::Finishing, Some(590)),
            ("2026-01-01T00:09:59Z", Departure::Finishing, Some(1)),
            ("2026-01-01T00:10:00Z", Departure::Over, None),
        ] {
            assert_eq!(
                stage(asked, at.parse().unwrap(), settling(&Object(json!({})))),
                (stage_then, left.map(Duration::from_secs)),
                "{at}"
            );
        }
    }

    #[test]
    fn what_a_gitops_tool_deletes_it_deletes_part_by_part() {
        let asked: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let flux = json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "clusters"}}});
        let argo = json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "fleet:x"}}});
        let by_label = json!({"metadata": {"labels": {"app.kubernetes.io/instance": "fleet"}}});
        let person = json!({"metadata": {"labels": {"region": "eu"}}});
        for (cluster, want) in [
            (flux, Departure::Settling),
            (argo, Departure::Settling),
            (by_label, Departure::Settling),
            (person, Departure::Finishing),
        ] {
            let now = "2026-01-01T00:01:29Z".parse().unwrap();
            assert_eq!(stage(asked, now, settling(&Object(cluster.clone()))).0, want, "{cluster}");
        }
    }
}
