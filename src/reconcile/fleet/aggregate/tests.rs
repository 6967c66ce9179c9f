//! What the status of an instance says, from the lines of its clusters.

use super::*;
use crate::api::condition::{ConditionStatus, unseen_status};
use crate::api::kstatus::{self, Kstatus};
use crate::api::names::ClusterName;
use crate::reconcile::Moment;
use crate::reconcile::fleet::placement::{Refusal, Refused};
use crate::reconcile::spoke::{DEPENDENTS, Report};
use std::sync::Arc;

fn report(state: InstanceState, generation: i64) -> Report {
    let status = match state {
        InstanceState::Active => ConditionStatus::True,
        InstanceState::InProgress | InstanceState::Deleting => ConditionStatus::Unknown,
        InstanceState::Error => ConditionStatus::False,
    };
    Report {
        hub_uid: "u".into(),
        generation,
        revision: "r".into(),
        state,
        ready: 1,
        total: 1,
        message: "m".into(),
        conditions: DEPENDENTS.iter().map(|type_| said(type_, status)).collect(),
        author: None,
        hub_values: Arc::default(),
        fields: Map::new(),
        settled: true,
        stands: crate::reconcile::spoke::Stands::Unknown,
        admitted: None,
        facts: None,
    }
}

fn said(type_: &str, status: ConditionStatus) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status,
        reason: "Said".to_owned(),
        message: "m".to_owned(),
        last_transition_time: String::new(),
        observed_generation: 0,
    }
}

fn refused(name: &ClusterName, why: Refusal) -> ClusterLine {
    ClusterLine::refused(name, &Refused { why, message: "m".to_owned(), named: true })
}

fn lines(entries: Vec<ClusterLine>) -> Lines {
    let mut lines = Lines::default();
    lines.replace(entries);
    lines.date("2026-01-01T00:00:00Z", None, |_| None);
    lines
}

fn of_entries(lines: &Lines) -> Aggregate<'_> {
    Aggregate {
        lines,
        only_local: false,
        deleting: false,
        held: None,
        invalid: None,
        graph_missing: false,
        unmanaged: None,
        by_author: Some(false),
        has_local: false,
        unresolved: Vec::new(),
        rollout: None,
        refused: None,
        over_all: Map::new(),
    }
}

/// What the status of an instance of generation 2 says with these entries, before and after the next edit.
fn told(entries: Vec<ClusterLine>, invalid: Option<&str>) -> (Kstatus, Kstatus) {
    let lines = lines(entries);
    let aggregate = Aggregate { invalid: invalid.map(str::to_owned), ..of_entries(&lines) };
    let now = Now { at: Moment::START, rfc3339: "2026-01-01T00:00:00Z".into() };
    let status = aggregate.status(&unseen_status(), 2, &now);
    let of =
        |generation: i64| kstatus::of(&json!({"metadata": {"generation": generation}, "status": status}));
    (of(2), of(3))
}

#[test]
fn tools_that_wait_take_an_instance_for_ready_when_it_is() {
    use Kstatus::{Current, Failed, InProgress};
    let new = json!({"metadata": {"generation": 1}, "status": unseen_status()});
    assert_eq!(kstatus::of(&new), InProgress, "nobody looked at it");
    let name = ClusterName::new("eu");
    let ready = ClusterHealth::Ready;
    let lost = ClusterHealth::Unreachable { since: "t".into(), message: "m".into() };
    let at = |health: &ClusterHealth, report: Option<Report>| {
        ClusterLine::of(&name, Some(health), report.map(Arc::new).as_ref(), false, 2)
    };
    for (what, entry, want) in [
        ("no report yet", at(&ready, None), InProgress),
        ("as it was before the edit", at(&ready, Some(report(InstanceState::Active, 1))), InProgress),
        ("under way", at(&ready, Some(report(InstanceState::InProgress, 2))), InProgress),
        ("failed", at(&ready, Some(report(InstanceState::Error, 2))), Failed),
        ("ready", at(&ready, Some(report(InstanceState::Active, 2))), Current),
        ("no contact", at(&lost, Some(report(InstanceState::Active, 2))), InProgress),
        ("refused", refused(&name, Refusal::NotAllowed), Failed),
        ("not registered yet", refused(&name, Refusal::NotRegistered), InProgress),
    ] {
        assert_eq!(told(vec![entry], None), (want, InProgress), "{what}");
    }
    assert_eq!(told(Vec::new(), None), (InProgress, InProgress), "placed nowhere");
    assert_eq!(told(Vec::new(), Some("bad words")), (Failed, InProgress));
}

#[test]
fn fields_over_all_clusters_that_nobody_can_say_are_an_error_once_all_else_is_well() {
    let name = ClusterName::new("eu");
    let said = |state: InstanceState| {
        let report = Arc::new(report(state, 2));
        let entry = ClusterLine::of(&name, Some(&ClusterHealth::Ready), Some(&report), false, 2);
        let unresolved = vec!["status.n: 1 / 0: division by zero".to_owned()];
        let lines = lines(vec![entry]);
        let aggregate = Aggregate { unresolved, ..of_entries(&lines) };
        let now = Now { at: Moment::START, rfc3339: "2026-01-01T00:00:00Z".into() };
        let status = aggregate.status(&unseen_status(), 2, &now);
        let list = status["conditions"].as_array().unwrap();
        let ready = list.iter().find(|c| c["type"] == "Ready").unwrap();
        format!("{} {}: {}", status["state"], ready["reason"], ready["message"]).replace('"', "")
    };
    assert_eq!(said(InstanceState::Active), "ERROR StatusUnresolved: status.n: 1 / 0: division by zero");
    let under_way = said(InstanceState::InProgress);
    assert!(under_way.starts_with("IN_PROGRESS") && !under_way.contains("Unresolved"), "{under_way}");
}

fn at(reason: Reason) -> Progress {
    Progress {
        version: 2,
        stable: Some(1),
        stage: None,
        reason,
        message: "m".to_owned(),
        updated: 0,
        total: 1,
        in_flight: 0,
        failing: 0,
        failed: 0,
        deferred: 0,
        stale: 0,
    }
}

/// Status and reason of a condition, and since when; after one look, and after another a minute later.
fn by_author(of: &str, rollout: Reason, type_: &str) -> [Option<String>; 2] {
    let name = ClusterName::new("eu");
    let author = Some([said(of, ConditionStatus::True)].into());
    let report = Arc::new(Report { author, ..report(InstanceState::Active, 2) });
    let lines = lines(vec![ClusterLine::of(&name, Some(&ClusterHealth::Ready), Some(&report), false, 2)]);
    let aggregate = Aggregate { by_author: Some(true), rollout: Some(at(rollout)), ..of_entries(&lines) };
    let mut status = unseen_status();
    ["2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"].map(|time| {
        status = aggregate.status(&status, 2, &Now { at: Moment::START, rfc3339: time.into() });
        let found = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == type_)?;
        let text = format!("{} {} {}", found["status"], found["reason"], found["lastTransitionTime"]);
        Some(text.replace('"', ""))
    })
}

#[test]
fn a_rollout_under_way_goes_before_an_authors_ready() {
    let since_the_first = |text: &str| [0, 1].map(|_| Some(format!("{text} 2026-01-01T00:00:00Z")));
    for of in ["Ready", "Available"] {
        for (rollout, want) in [
            (Reason::InProgress, "Unknown RolloutInProgress"),
            (Reason::AwaitingApproval, "Unknown RolloutAwaitingApproval"),
            (Reason::Halted, "False RolloutHalted"),
        ] {
            assert_eq!(by_author(of, rollout, "Ready"), since_the_first(want), "{of}");
        }
    }
    assert_eq!(by_author("Ready", Reason::Complete, "Ready"), since_the_first("True Said"));
    assert_eq!(by_author("Available", Reason::Complete, "Ready"), [None, None]);
    assert_eq!(by_author("Available", Reason::InProgress, "Available"), since_the_first("True Said"));
}

#[test]
fn the_default_of_a_crd_is_nobodys_word() {
    let lines = lines(vec![refused(&ClusterName::new("eu"), Refusal::NotRegistered)]);
    let aggregate = Aggregate { by_author: None, ..of_entries(&lines) };
    let now = Now { at: Moment::START, rfc3339: "2026-01-01T00:00:00Z".into() };
    let status = aggregate.status(&unseen_status(), 1, &now);
    let times: Vec<&Value> =
        status["conditions"].as_array().unwrap().iter().map(|c| &c["lastTransitionTime"]).collect();
    assert!(times.len() > 1 && times.iter().all(|t| **t == "2026-01-01T00:00:00Z"), "{status}");
}

#[test]
fn a_taint_that_nobody_asked_to_overcome_is_told_and_counts_nowhere() {
    let name = |n: &str| ClusterName::new(n);
    let tainted = |named| {
        let refused =
            Refused { why: Refusal::Tainted, message: "taint gpu:NoSelect is not tolerated".into(), named };
        ClusterLine::refused(&name("eu"), &refused)
    };
    let us = Arc::new(report(InstanceState::Active, 1));
    let well = ClusterLine::of(&name("us"), Some(&ClusterHealth::Ready), Some(&us), false, 1);
    let now = Now { at: Moment::START, rfc3339: "2026-01-01T00:00:00Z".into() };
    for (named, state, summary) in [(false, "ACTIVE", "1/1"), (true, "ERROR", "1/2")] {
        let lines = lines(vec![well.clone(), tainted(named)]);
        let status = of_entries(&lines).status(&json!({}), 1, &now);
        assert_eq!(
            (&status["state"], &status["fleet"]["summary"]),
            (&json!(state), &json!(summary)),
            "{status}"
        );
        assert_eq!(status["fleet"]["clusters"].as_array().map(Vec::len), Some(2), "{status}");
    }
    let alone = lines(vec![tainted(false)]);
    let status = of_entries(&alone).status(&json!({}), 1, &now);
    let ready = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
    assert_eq!((&ready["reason"], &status["state"]), (&json!("NotPlaced"), &json!("IN_PROGRESS")));
    assert_eq!(
        ready["message"],
        "no cluster that is chosen can be taken: eu (taint gpu:NoSelect is not tolerated)"
    );
}

#[test]
fn what_a_cluster_ran_counts_while_it_is_silent_and_no_more_once_it_refuses() {
    let a = ClusterName::new("a");
    let active = Arc::new(report(InstanceState::Active, 1));
    let says = |report| ClusterLine::of(&a, Some(&ClusterHealth::Ready), report, false, 1);
    let mut lines = lines(vec![says(Some(&active))]);
    let by_one = runs::Runs::One(runs::graph_print("r").unwrap(), 1);
    assert_eq!(*lines.runs(), by_one);
    lines.replace(vec![says(None)]);
    assert_eq!(*lines.runs(), by_one);
    lines.replace(vec![refused(&a, Refusal::Tainted)]);
    assert_eq!(*lines.runs(), runs::Runs::None);
}
