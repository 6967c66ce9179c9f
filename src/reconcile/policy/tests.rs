//! What one Placement decides, and what its status says of it.

use super::*;
use crate::api::Object;
use crate::api::names::ClusterName;
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::placement::names_text;
use crate::reconcile::{Moment, Now};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

type All = BTreeMap<ClusterName, ClusterState>;

fn clusters(of: &[(&str, &str)]) -> All {
    let state = |tier: &str| {
        let mut state = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
        state.view.labels.insert("tier".into(), tier.into());
        state.facts =
            Some(Arc::new(json!({"name": "x", "id": "x", "labels": {"tier": tier}, "properties": {},
            "version": {"major": 1, "minor": 33}})));
        state
    };
    of.iter().map(|(name, tier)| (ClusterName::new(name), state(tier))).collect()
}

fn object(clusters: Value, status: Value) -> Object {
    Object(json!({"metadata": {"name": "web", "namespace": "shop", "generation": 1},
        "spec": {"instances": {"kind": "WebApp"}, "clusters": clusters}, "status": status}))
}

fn chosen(policy: &Policy) -> String {
    policy.effective().and_then(|e| e.clusters.as_ref()).map(|c| names_text(&c.names)).unwrap_or_default()
}

/// Reason and message of Ready.
fn ready(policy: &Policy) -> String {
    let count = Count { is_served: true, instances: 3, ..Count::default() };
    let now = Now { rfc3339: "2026-01-01T00:00:00Z".into(), ..Now::default() };
    let status = policy.status(&count, &now).unwrap();
    let ready = status.conditions.last().unwrap();
    format!("{}: {}", ready.reason, ready.message)
}

#[test]
fn words_mean_clusters_and_the_status_says_how_many() {
    let all = clusters(&[("a", "prod"), ("b", "prod"), ("c", "dev")]);
    for (words, want, told) in [
        (json!({"names": ["a", "z"]}), "a,z", "Placed: 1 cluster matches, 3 instances"),
        (json!({"all": true, "exclude": ["b"]}), "a,c", "Placed: 2 clusters match, 3 instances"),
        (
            json!({"labelSelector": {"matchLabels": {"tier": "prod"}}}),
            "a,b",
            "Placed: 2 clusters match, 3 instances",
        ),
        (json!({"labelSelector": {}}), "", "NoClusters: no registered cluster matches"),
        (
            json!({"expression": "cluster.labels.tier == \"dev\""}),
            "c",
            "Placed: 1 cluster matches, 3 instances",
        ),
        (
            json!({"expression": "cluster.version.minor > 33", "names": ["b"]}),
            "b",
            "Placed: 1 cluster matches, 3 instances",
        ),
    ] {
        let mut policy = Policy::new(&object(words.clone(), json!({})));
        assert!(policy.decide(&all, Moment::START), "{words}");
        assert_eq!((chosen(&policy).as_str(), ready(&policy).as_str()), (want, told), "{words}");
        let before = policy.effective().cloned().unwrap();
        assert!(
            !policy.decide(&all, Moment::START) && Arc::ptr_eq(&before, policy.effective().unwrap()),
            "{words}"
        );
    }
}

#[test]
fn an_expression_that_fails_leaves_a_cluster_in_or_out_and_one_that_is_wrong_changes_nothing() {
    let all = clusters(&[("a", "prod"), ("b", "prod")]);
    let words = json!({"expression": "cluster.labels.region == \"eu\""});
    let decided = json!({"decided": {"words": "w", "clusters": "a"}});
    for (status, want, told) in [
        (json!({}), "", "NoClusters: no registered cluster matches"),
        (decided.clone(), "a", "Placed: 1 cluster matches"),
    ] {
        let mut policy = Policy::new(&object(words.clone(), status));
        policy.decide(&all, Moment::START);
        assert_eq!(chosen(&policy), want);
        let ready = ready(&policy);
        assert!(
            ready.starts_with(told) && ready.contains("the expression failed on 2 clusters: a: "),
            "{ready}"
        );
    }
    let mut policy = Policy::new(&object(json!({"expression": "cluster.name"}), decided));
    policy.decide(&all, Moment::START);
    assert_eq!(chosen(&policy), "a");
    let told = "InvalidPlacement: spec.clusters.expression: expected bool, got string; what was decided before stands";
    assert_eq!(ready(&policy), told);
}

#[test]
fn a_typo_keeps_what_there_was_until_the_token_lets_it_go_over_restarts() {
    let all = clusters(&[("a", "prod"), ("b", "prod"), ("c", "pord")]);
    let tier = |tier: &str, allow: &str| json!({"labelSelector": {"matchLabels": {"tier": tier}}, "allowShrink": allow});
    let mut policy = Policy::new(&object(tier("prod", ""), json!({})));
    policy.decide(&all, Moment::START);
    policy.see(&object(tier("pord", ""), json!({})));
    policy.decide(&all, Moment::START);
    assert_eq!(chosen(&policy), "a,b,c");
    let told = ready(&policy);
    let token = told.rsplit(' ').next().unwrap().to_owned();
    assert!(told.starts_with("ShrinkHeld: 2 of 3 clusters would be lost (a, b); they are kept."), "{told}");
    let written = json!({"decided": policy.decided});
    let mut restarted = Policy::new(&object(tier("pord", ""), written.clone()));
    restarted.decide(&all, Moment::START);
    assert_eq!((chosen(&restarted), ready(&restarted)), ("a,b,c".to_owned(), told));
    restarted.see(&object(tier("pord", &token), written));
    restarted.decide(&all, Moment::START);
    assert_eq!(chosen(&restarted), "c");
    // Taken back, nothing happened.
    policy.see(&object(tier("prod", ""), json!({})));
    policy.decide(&all, Moment::START);
    assert_eq!(chosen(&policy), "a,b");
}

#[test]
fn labels_that_change_one_after_the_other_are_one_loss() {
    let at = |seconds: u64| Moment::from_millis(seconds * 1_000);
    let tier = json!({"labelSelector": {"matchLabels": {"tier": "prod"}}});
    let mut policy = Policy::new(&object(tier, json!({})));
    let of = |tiers: [&str; 3]| clusters(&[("a", tiers[0]), ("b", tiers[1]), ("c", tiers[2])]);
    let mut decide = |tiers, seconds| {
        policy.decide(&of(tiers), at(seconds));
        (chosen(&policy), policy.wakes())
    };
    let all = || "a,b,c".to_owned();
    assert_eq!(decide(["prod", "prod", "prod"], 0), (all(), None));
    assert_eq!(decide(["pord", "prod", "prod"], 1), (all(), Some(at(6))));
    assert_eq!(decide(["pord", "prod", "prod"], 5), (all(), Some(at(6))), "looked at again");
    assert_eq!(decide(["pord", "pord", "prod"], 5), (all(), None), "two of three are held");
    // Taken back, and one alone: it is let go once the pause is over.
    assert_eq!(decide(["prod", "prod", "prod"], 6), (all(), None));
    assert_eq!(decide(["pord", "prod", "prod"], 7), (all(), Some(at(12))));
    assert_eq!(decide(["pord", "prod", "prod"], 12), ("b,c".to_owned(), None));
}

#[test]
fn who_holds_clusters_back_has_a_finalizer_as_long_and_says_what_its_deletion_waits_for() {
    use crate::api::keys::hub;
    use crate::reconcile::rollout::{Progress, Reason};
    let count = |held: usize| {
        let mut count = Count { is_served: true, instances: 1, ..Count::default() };
        let progress = Progress {
            version: 8,
            stable: Some(7),
            stage: None,
            reason: Reason::InProgress,
            message: String::new(),
            updated: 1,
            total: 1 + held,
            in_flight: 0,
            failing: 0,
            failed: 0,
            deferred: 0,
            stale: 0,
        };
        count.rollouts.add("shop/a", &progress);
        count
    };
    let own = hub::FINALIZER;
    // Which it has, whether it is being deleted, how many are held, which it is to have.
    for (has, deleting, held, wants) in [
        (vec![], false, 0, None),
        (vec![], false, 2, Some(vec![own])),
        (vec!["x/y"], false, 2, Some(vec!["x/y", own])),
        (vec!["x/y", own], false, 2, None),
        (vec!["x/y", own], true, 2, None),
        (vec!["x/y", own], true, 0, Some(vec!["x/y"])),
        (vec![own], false, 0, Some(vec![])),
        // The API server takes none on what is going.
        (vec!["x/y"], true, 2, None),
    ] {
        let mut object = object(json!({"names": ["a"]}), json!({}));
        object.0["metadata"]["finalizers"] = json!(has);
        if deleting {
            object.0["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        let mut policy = Policy::new(&object);
        policy.decide(&clusters(&[("a", "prod")]), Moment::START);
        let wants: Option<Vec<String>> = wants.map(|list| list.into_iter().map(str::to_owned).collect());
        assert_eq!(policy.finalizers(&object, &count(held)), wants, "{has:?} {deleting} {held}");
        let status = policy.status(&count(held), &Now::default()).unwrap();
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
        let waits = "deletion waits: 2 pairs are held at version 7; remove spec.rollout to let them move, or apply it again";
        assert_eq!(ready.message == waits, deleting && held > 0, "{}", ready.message);
    }
}
