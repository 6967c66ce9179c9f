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

/// Where who is there stays, and nobody new goes.
fn standing(policy: &Policy) -> String {
    policy.effective().and_then(|e| e.clusters.as_ref()).map(|c| names_text(&c.standing)).unwrap_or_default()
}

/// How many clusters the status counts.
fn counted(policy: &Policy) -> i64 {
    let count = Count { is_served: true, instances: 3, ..Count::default() };
    policy.status(&count, &Now::default()).unwrap().clusters
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
    assert_eq!((chosen(&policy), standing(&policy), counted(&policy)), (String::new(), "a".to_owned(), 1));
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

/// The API server takes no `spec.clusters` that says nothing.
#[test]
fn clusters_that_are_taken_out_keep_who_is_there_until_names_say_that_there_are_none() {
    let all = clusters(&[("a", "prod"), ("b", "prod"), ("c", "prod")]);
    let some = json!({"all": true, "max": 2, "tolerations": [{"operator": "Exists"}]});
    let mut policy = Policy::new(&object(some.clone(), json!({})));
    policy.decide(&all, Moment::START);
    let without = |status: Value| {
        let mut object = object(Value::Null, status);
        object.0["spec"].as_object_mut().unwrap().remove("clusters");
        object
    };
    policy.see(&without(json!({})));
    policy.decide(&all, Moment::START);
    let told = "ShrinkHeld: 3 of 3 clusters would be lost (a, b, c); they are kept. To let them go: set \
        spec.clusters: {names: []}";
    let written = json!({"decided": policy.decided});
    let mut restarted = Policy::new(&without(written));
    restarted.decide(&all, Moment::START);
    for policy in [&policy, &restarted] {
        assert_eq!(
            (chosen(policy), standing(policy), counted(policy)),
            (String::new(), "a,b,c".to_owned(), 3)
        );
        let chosen = policy.effective().unwrap().clusters.clone().unwrap();
        assert_eq!((names_text(&chosen.kept).as_str(), &chosen.limit), ("a,b,c", &None));
        assert_eq!(ready(policy), told);
    }
    for (words, names, held) in [(json!({"names": []}), "", false), (some, "a,b,c", false)] {
        let mut policy = Policy::new(&without(json!({"decided": restarted.decided})));
        policy.decide(&all, Moment::START);
        policy.see(&object(words.clone(), json!({})));
        policy.decide(&all, Moment::START);
        assert_eq!((chosen(&policy).as_str(), standing(&policy).as_str()), (names, ""), "{words}");
        assert_eq!(policy.held().is_some(), held, "{words}");
    }
    restarted.see(&object(json!({"names": []}), json!({})));
    restarted.decide(&all, Moment::START);
    restarted.see(&without(json!({})));
    restarted.decide(&all, Moment::START);
    assert_eq!(restarted.effective().unwrap().clusters, None, "nothing is left to be kept");
}

#[test]
fn what_cannot_be_read_leaves_what_was_decided_by_the_words_of_then() {
    let all = clusters(&[("a", "prod"), ("b", "prod"), ("c", "prod")]);
    let good = || json!({"all": true, "max": 2, "tolerations": [{"operator": "Exists"}]});
    let broken = || json!({"all": true, "expression": "cluster.name"});
    let staged = |clusters: Value, status: Value| {
        let mut object = object(clusters, status);
        object.0["spec"]["rollout"] =
            json!({"stages": [{"name": "canary", "clusters": {"names": ["Prod-1"]}}]});
        object
    };
    let mut policy = Policy::new(&object(good(), json!({})));
    policy.decide(&all, Moment::START);
    let status = || json!({"decided": policy.decided});
    let of_null = |status: Value| {
        let mut object = object(json!({"all": true, "max": "two"}), status);
        object.0["spec"]["rollout"] = json!({"stages": [{"name": "canary"}]});
        object
    };
    // What is written after the decision, what is chosen and with which limit, and what stands.
    for (later, names, limit, stands) in [
        (object(broken(), status()), "", None, "a,b,c"),
        (staged(good(), status()), "a,b,c", Some(2), ""),
        // That there is no limit any more was never decided.
        (staged(json!({"all": true}), status()), "", None, "a,b,c"),
        (of_null(status()), "", None, "a,b,c"),
        // It never was decided, and yet it places.
        (object(broken(), json!({})), "", None, ""),
        (of_null(json!({})), "", None, ""),
    ] {
        let mut restarted = Policy::new(&later);
        restarted.decide(&all, Moment::START);
        assert!(ready(&restarted).starts_with("InvalidPlacement: spec"), "{later:?}");
        let effective = restarted.effective().unwrap();
        let found = effective.clusters.as_ref().unwrap();
        assert_eq!(
            (chosen(&restarted).as_str(), standing(&restarted).as_str()),
            (names, stands),
            "{later:?}"
        );
        assert_eq!(found.limit.as_ref().map(|limit| limit.max), limit, "{later:?}");
        assert_eq!(found.kept, found.standing, "whatever taint there is, somebody tolerated it");
        assert_eq!(counted(&restarted), if names.is_empty() && stands.is_empty() { 0 } else { 3 });
        assert_eq!(
            effective.rollout.is_some(),
            later.0["spec"].get("rollout").is_some(),
            "its stages are known all the same"
        );
    }
    // Without a restart it is known by which words.
    for later in [object(broken(), json!({})), staged(json!({"all": true}), json!({})), of_null(json!({}))] {
        let mut seen = Policy::new(&object(good(), json!({})));
        seen.decide(&all, Moment::START);
        seen.see(&later);
        seen.decide(&all, Moment::START);
        let found = seen.effective().unwrap().clusters.clone().unwrap();
        assert_eq!(
            (chosen(&seen).as_str(), found.limit.map(|limit| limit.max)),
            ("a,b,c", Some(2)),
            "{later:?}"
        );
        assert_eq!(found.tolerations.len(), 1, "{later:?}");
    }
}

#[test]
fn a_stage_that_cannot_be_read_is_told_and_not_empty() {
    let stage = |field: &str, value: Value| json!({"name": "canary", field: value});
    let operator = json!({"labelSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}});
    for (stage, told) in [
        (stage("clusters", json!({"expression": "cluster.name"})), ".clusters.expression: expected bool"),
        (stage("clusters", json!({"names": ["Prod-1"]})), ".clusters.names: \"Prod-1\" can be no"),
        (stage("clusters", operator.clone()), ".clusters.labelSelector.matchExpressions[0]"),
        (stage("instances", operator), ".instances.labelSelector.matchExpressions[0]"),
    ] {
        let mut object = object(json!({"names": ["a"]}), json!({}));
        object.0["spec"]["rollout"] = json!({"stages": [{"name": "first"}, stage]});
        let mut policy = Policy::new(&object);
        policy.decide(&clusters(&[("a", "prod")]), Moment::START);
        let invalid = policy.effective().unwrap().invalid.clone().unwrap_or_default();
        assert!(invalid.starts_with(&format!("spec.rollout.stages[1]{told}")), "{invalid}");
        assert!(ready(&policy).starts_with("InvalidPlacement: spec.rollout.stages[1]"));
    }
}

/// As in `spec.clusters`: an expression alone means all for which it is true, and names mean theirs besides.
#[test]
fn names_and_an_expression_mean_both_of_them() {
    let all = clusters(&[("a", "prod"), ("b", "prod"), ("c", "dev"), ("d", "test")]);
    let is_dev = "cluster.labels.tier == \"dev\"";
    for (words, want) in [
        (json!({}), "a,b,c,d"),
        (json!({"names": ["a"]}), "a"),
        (json!({"expression": is_dev}), "c"),
        (json!({"names": ["a"], "expression": is_dev}), "a,c"),
        (json!({"labelSelector": {"matchLabels": {"tier": "prod"}}, "expression": is_dev}), ""),
        (json!({"labelSelector": {"matchLabels": {"tier": "prod"}}, "names": ["d"]}), "a,b,d"),
        (json!({"labelSelector": {}}), ""),
    ] {
        let filter = serde_json::from_value(words.clone()).unwrap();
        let filter = Filter::read(Some(&filter), "clusters").unwrap();
        let is_in = |(name, c): &(&ClusterName, &ClusterState)| {
            filter.matches(name, &c.view.labels, false, c.facts.as_deref()) == Match::Yes
        };
        let found = all.iter().filter(is_in).map(|(name, _)| name.clone()).collect();
        assert_eq!(names_text(&found), want, "{words}");
        let clusters = &words;
        if words != json!({}) {
            let mut policy = Policy::new(&object(clusters.clone(), json!({})));
            policy.decide(&all, Moment::START);
            assert_eq!(chosen(&policy), want, "{words}");
        }
    }
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
        let waits = "deletion waits: 2 pairs are held at version 7; remove spec.rollout to let them move now; to keep it, apply it again once it is gone";
        assert_eq!(ready.message == waits, deleting && held > 0, "{}", ready.message);
    }
}
