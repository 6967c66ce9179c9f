//! The status of a ResourceGraphDefinition, from how far it is.

use super::verdicts::Unfit;
use crate::api::condition::{ConditionStatus, Conditions, READY};
use crate::api::keys::hub;
use crate::api::rgd::{ResourceInformation, RgdStatus};
use crate::api::text;
use crate::reconcile::Now;
use serde_json::{Value, json};

/// What is known of a definition now. `None`: not known yet.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The current spec compiles; else every problem.
    pub accepted: Option<Result<Compiled, String>>,
    /// The kind that the hub serves; else why it does not.
    pub kind: Option<Result<String, String>>,
    /// The snapshot that instances run on.
    pub revision: Revision,
    /// Instances are watched.
    pub running: bool,
    /// Why they cannot be seen, though.
    pub unseen: Option<String>,
    /// It is being deleted, and these instances are still there.
    pub held_by: Option<Held>,
    pub unfit: Option<Unfit>,
    /// How it fits the clusters.
    pub fleet: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Revision {
    /// There never was one.
    #[default]
    None,
    /// `why`: the last try failed.
    Issuing {
        number: i64,
        why: Option<String>,
    },
    Active(i64),
}

/// Instances that hold a definition which is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub count: usize,
    /// The names of the first ones.
    pub first: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Compiled {
    pub topological_order: Vec<String>,
    pub resources: Vec<ResourceInformation>,
}

const DEPENDENTS: [&str; 4] = ["GraphRevisionsResolved", "GraphAccepted", "KindReady", "ControllerReady"];
/// What kstatus, and so Flux, reads; only there while it is true.
const STALLED: &str = "Stalled";
/// Longer texts are cut: a condition is read by people.
const MESSAGE_LIMIT: usize = 16 << 10;

/// The status to write; the same as `old` when nothing changed.
pub fn status(old: &RgdStatus, generation: i64, progress: &Progress, now: &Now) -> RgdStatus {
    use ConditionStatus::{False, True, Unknown};
    let mut list = Conditions::new(old.conditions.clone(), generation, &now.rfc3339);
    list.remove("ResourceGraphAccepted");
    let waiting = |type_: &str| format!("condition {type_:?} is awaiting reconciliation");
    let resolved = "GraphRevisionsResolved";
    match &progress.revision {
        Revision::Active(n) => {
            list.set(resolved, True, "Resolved", &format!("revision {n} compiled and active"))
        }
        Revision::Issuing { number, why } => {
            let why = why.as_ref().map(|why| format!("; the last try failed: {why}")).unwrap_or_default();
            let message = format!("revision {number} is being issued{why}");
            let message = text::head(&message, MESSAGE_LIMIT);
            list.set(resolved, Unknown, "WaitingForGraphRevisionCompilation", message);
        }
        Revision::None => list.set(resolved, Unknown, "AwaitingReconciliation", &waiting(resolved)),
    }
    match &progress.accepted {
        Some(Ok(_)) => list.set("GraphAccepted", True, "Valid", "resource graph and schema are valid"),
        Some(Err(why)) => {
            list.set("GraphAccepted", False, "InvalidResourceGraph", text::head(why, MESSAGE_LIMIT))
        }
        None => list.set("GraphAccepted", Unknown, "AwaitingReconciliation", &waiting("GraphAccepted")),
    }
    match &progress.kind {
        Some(Ok(kind)) => {
            list.set("KindReady", True, "Ready", &format!("kind {kind} has been accepted and ready"));
        }
        Some(Err(why)) => list.set("KindReady", False, "Failed", text::head(why, MESSAGE_LIMIT)),
        None => list.set("KindReady", Unknown, "AwaitingReconciliation", &waiting("KindReady")),
    }
    if let Some(why) = progress.unseen.as_ref().filter(|_| progress.running) {
        let message = format!("the instances cannot be seen on the hub: {why}");
        list.set("ControllerReady", False, "NotWatched", text::head(&message, MESSAGE_LIMIT));
    } else if progress.running {
        list.set("ControllerReady", True, "Running", "controller is running");
    } else {
        list.set("ControllerReady", Unknown, "AwaitingReconciliation", &waiting("ControllerReady"));
    }
    let is_true = |type_: &str| list.get(type_).is_some_and(|c| c.status == True);
    let fits_nowhere = progress.unfit.as_ref().filter(|_| DEPENDENTS.iter().all(|type_| is_true(type_)));
    // Set once: a status that is set back and forth would be new each time.
    match (&progress.held_by, fits_nowhere) {
        (Some(held), _) => list.set(READY, False, "InstancesExist", &held.message()),
        (None, Some(unfit)) => list.set(READY, False, "Incompatible", &unfit.message()),
        (None, None) => list.set_ready_from(&DEPENDENTS),
    }
    match &progress.accepted {
        // Nothing helps but an edit: who waits for it need not wait any longer.
        Some(Err(why)) => list.set(STALLED, True, "InvalidResourceGraph", text::head(why, MESSAGE_LIMIT)),
        _ => list.remove(STALLED),
    }
    // Which snapshot serves does not count: an old one serves as well.
    let all = DEPENDENTS.iter().skip(1).all(|t| list.get(t).is_some_and(|c| c.status == True));
    let (topological_order, resources) = match &progress.accepted {
        Some(Ok(compiled)) => (compiled.topological_order.clone(), compiled.resources.clone()),
        Some(Err(_)) => (Vec::new(), Vec::new()),
        None => (old.topological_order.clone(), old.resources.clone()),
    };
    RgdStatus {
        state: if all && progress.unfit.is_none() { "Active" } else { "Inactive" }.to_owned(),
        topological_order,
        resources,
        last_issued_revision: match progress.revision {
            Revision::Active(n) => old.last_issued_revision.max(n),
            Revision::None | Revision::Issuing { .. } => old.last_issued_revision,
        },
        observed_generation: generation,
        conditions: list.into_list(),
        fleet: progress.fleet.clone(),
    }
}

impl Held {
    /// Why a definition that is being deleted is still there, and the ways out.
    fn message(&self) -> String {
        let more = match self.count.saturating_sub(self.first.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(
            "deletion waits for {} instances: {}{more}; delete them, or annotate the definition with {}=\"true\": then it goes \
             and they stay with all that they made, and the same definition applied anew looks after them again",
            self.count,
            self.first.join(", "),
            hub::ABANDON
        )
    }
}

impl Unfit {
    fn message(&self) -> String {
        match self.clusters {
            1 => format!("it does not fit the only cluster: {}", self.first),
            count => format!("it fits none of {count} clusters: {}", self.first),
        }
    }
}

/// The merge patch that makes of the live status what is to be said; fields of others in it stay. `None`: it is said.
pub fn patch(live: Option<&Value>, new: &RgdStatus) -> Option<Value> {
    let value = |s: &RgdStatus| serde_json::to_value(s).unwrap_or_default();
    let live = live.cloned().unwrap_or_else(|| json!({}));
    let mut wanted = value(new);
    if let (Some(wanted), Some(live)) = (wanted.as_object_mut(), live.as_object()) {
        let known = value(&RgdStatus { fleet: Some(json!({})), ..RgdStatus::default() });
        for (key, value) in live.iter().filter(|(key, _)| known.get(key.as_str()).is_none()) {
            wanted.insert(key.clone(), value.clone());
        }
    }
    crate::reconcile::spoke::merge_patch(&live, &wanted)
}

/// Longer texts do not fit an Event.
const NOTE_LIMIT: usize = 1000;

/// What is worth an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub warning: bool,
    pub reason: String,
    pub message: String,
}

/// Conditions that became true or false.
pub fn news(old: &RgdStatus, new: &RgdStatus) -> Vec<News> {
    let before =
        |type_: &str| old.conditions.iter().find(|c| c.type_ == type_).map(|c| (c.status, &c.reason));
    let told = new.conditions.iter().filter(|c| c.status != ConditionStatus::Unknown && c.type_ != STALLED);
    told.filter(|c| before(&c.type_) != Some((c.status, &c.reason)))
        .map(|c| {
            let said = if c.message.is_empty() { c.reason.as_str() } else { c.message.as_str() };
            let message = format!("{}: {}", c.type_, text::head(said, NOTE_LIMIT));
            News { warning: c.status == ConditionStatus::False, reason: c.reason.clone(), message }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kstatus::{self, Kstatus};
    use crate::reconcile::Moment;

    fn of(progress: &Progress) -> RgdStatus {
        let now = Now { at: Moment::START, rfc3339: "2026-01-01T00:00:00Z".into() };
        status(&RgdStatus::default(), 1, progress, &now)
    }
    fn ready(status: &RgdStatus) -> String {
        let c = status.conditions.iter().find(|c| c.type_ == READY).unwrap();
        format!("{} {:?} {}", status.state, c.status, c.reason)
    }

    #[test]
    fn states() {
        let accepted = Some(Ok(Compiled { topological_order: vec!["a".into()], resources: vec![] }));
        let cases = [
            (Progress::default(), "Inactive Unknown AwaitingReconciliation"),
            (
                Progress { accepted: Some(Err("bad".into())), running: true, ..Progress::default() },
                "Inactive False InvalidResourceGraph",
            ),
            (
                Progress { accepted: accepted.clone(), kind: Some(Err("no".into())), ..Progress::default() },
                "Inactive False Failed",
            ),
            (
                Progress {
                    accepted: accepted.clone(),
                    kind: Some(Ok("App".into())),
                    revision: Revision::Active(1),
                    running: true,
                    ..Progress::default()
                },
                "Active True Ready",
            ),
            (
                Progress {
                    accepted: accepted.clone(),
                    kind: Some(Ok("App".into())),
                    revision: Revision::Active(1),
                    running: true,
                    unseen: Some("403".into()),
                    ..Progress::default()
                },
                "Inactive False NotWatched",
            ),
            (
                Progress {
                    accepted: accepted.clone(),
                    kind: Some(Ok("App".into())),
                    revision: Revision::Active(1),
                    running: true,
                    unfit: Some(Unfit { clusters: 2, first: "eu: no such field".into() }),
                    ..Progress::default()
                },
                "Inactive False Incompatible",
            ),
            (
                Progress {
                    accepted,
                    kind: Some(Ok("App".into())),
                    revision: Revision::Active(1),
                    running: true,
                    held_by: Some(Held { count: 7, first: vec!["n/a".into()] }),
                    ..Progress::default()
                },
                "Active False InstancesExist",
            ),
        ];
        for (progress, want) in cases {
            assert_eq!(ready(&of(&progress)), want);
            let status = of(&progress);
            let object = |generation: i64| json!({"metadata": {"generation": generation}, "status": status});
            let told = match want {
                "Active True Ready" => Kstatus::Current,
                "Inactive False InvalidResourceGraph" => Kstatus::Failed,
                _ => Kstatus::InProgress,
            };
            assert_eq!(kstatus::of(&object(1)), told, "{want}");
            assert_eq!(kstatus::of(&object(2)), Kstatus::InProgress, "{want}, and edited since");
        }
    }

    #[test]
    fn what_does_not_compile_is_stalled_until_it_does() {
        let refused = of(&Progress { accepted: Some(Err("bad".into())), ..Progress::default() });
        let has = |status: &RgdStatus| status.conditions.iter().any(|c| c.type_ == "Stalled");
        assert!(has(&refused));
        let now = Now { at: Moment::from_millis(1), rfc3339: "2026-01-01T00:00:01Z".into() };
        let looked_at = status(&refused, 2, &Progress::default(), &now);
        assert!(!has(&looked_at) && looked_at.observed_generation == 2, "the mended one is looked at");
    }

    #[test]
    fn what_became_true_or_false_is_news() {
        let accepted = Progress { accepted: Some(Ok(Compiled::default())), ..Progress::default() };
        let refused = Progress { accepted: Some(Err("bad".into())), ..Progress::default() };
        let news = |old: &RgdStatus, new: &RgdStatus| {
            let told = |n: News| format!("{} {} {}", n.warning, n.reason, n.message);
            news(old, new).into_iter().map(told).collect::<Vec<_>>()
        };
        let (nothing, good, bad) = (RgdStatus::default(), of(&accepted), of(&refused));
        assert_eq!(news(&nothing, &good), ["false Valid GraphAccepted: resource graph and schema are valid"]);
        assert_eq!(news(&good, &good), Vec::<String>::new());
        let want = ["true InvalidResourceGraph GraphAccepted: bad", "true InvalidResourceGraph Ready: bad"];
        assert_eq!(news(&good, &bad), want);
    }

    #[test]
    fn what_overrules_ready_is_not_new_each_time() {
        let fine = Progress {
            accepted: Some(Ok(Compiled::default())),
            kind: Some(Ok("App".into())),
            revision: Revision::Active(1),
            running: true,
            ..Progress::default()
        };
        let later = Now { at: Moment::from_millis(9), rfc3339: "2026-02-02T00:00:00Z".into() };
        for overruled in [
            Progress { held_by: Some(Held { count: 1, first: vec!["n/a".into()] }), ..fine.clone() },
            Progress { unfit: Some(Unfit { clusters: 1, first: "eu: no".into() }), ..fine.clone() },
        ] {
            let first = of(&overruled);
            assert_eq!(status(&first, 1, &overruled, &later), first);
        }
    }

    #[test]
    fn nothing_new_changes_nothing_and_an_invalid_spec_clears_the_order() {
        let fine = Progress {
            accepted: Some(Ok(Compiled { topological_order: vec!["a".into()], resources: vec![] })),
            kind: Some(Ok("App".into())),
            revision: Revision::Active(1),
            running: true,
            ..Progress::default()
        };
        let first = of(&fine);
        let later = Now { at: Moment::from_millis(9), rfc3339: "2026-02-02T00:00:00Z".into() };
        assert_eq!(status(&first, 1, &fine, &later), first);
        let broken = Progress { accepted: Some(Err("x".into())), ..fine };
        assert!(status(&first, 2, &broken, &later).topological_order.is_empty());
    }
}
