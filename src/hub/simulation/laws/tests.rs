//! Each law says so where it is broken, and is silent where it is kept.

use super::admission::{self, Case};
use super::pairs::{Landing, Pair, Pairs};
use super::{choice, content, removal};
use crate::api::Object;
use crate::api::keys::hub;
use crate::hub::simulation::ground::{Cluster, Ground, Instance, Policy, Unit, Version};
use crate::hub::simulation::history::History;
use crate::reconcile::fleet::placement::{Record, names};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn unit() -> Unit {
    Unit::Instance("u".into())
}

fn version(stable: bool, print: &str) -> Version {
    let (spec, overrides) = (json!({"value": print}), json!([{"rules": [{"spec": {"value": "over"}}]}]));
    Version { stable, print: print.into(), spec, overrides, graph: String::new() }
}

/// An instance on two clusters, which goes from version 1 to 2.
fn ground(rollout: &Value) -> Ground {
    let cluster = Cluster {
        labels: BTreeMap::new(),
        taints: Vec::new(),
        allowed: Vec::new(),
        leaving: false,
        ready: true,
        id: "id".into(),
    };
    let spec = json!({"instances": {"kind": "Shop"}, "rollout": rollout});
    let policy = Policy {
        of_cluster: true,
        name: "p".into(),
        spec: serde_json::from_value(spec).unwrap(),
        held: [].into(),
    };
    let holds = names(Some("c1,c2"));
    let instance = Instance {
        uid: "u".into(),
        labels: BTreeMap::new(),
        words: Some("c1,c2".into()),
        deleting: false,
        on_hub: false,
        record: Record { placed: holds.clone(), ..Record::default() },
        holds,
    };
    Ground {
        clusters: ["c1", "c2"].map(|name| (name.to_owned(), cluster.clone())).into(),
        policies: vec![policy],
        instances: [("one".to_owned(), instance)].into(),
        versions: [((unit(), 1), version(true, "a")), ((unit(), 2), version(false, "b"))].into(),
        ..Ground::default()
    }
}

fn history(grounds: &[Ground]) -> History {
    let mut history = History::default();
    // Each stood long enough to be all that was seen.
    for (n, ground) in grounds.iter().enumerate() {
        history.note(n as u64 * 600_000, ground.clone());
    }
    history
}

fn pair(unit: Unit, site: &str) -> Pair {
    Pair { unit, instance: "one".into(), site: site.into() }
}

fn landing(version: u64, since: u64, well: Option<u64>) -> Landing {
    Landing { version, since, unjudged: false, well, revision: None }
}

fn mirror(version: u64, spec: &Value) -> Object {
    let mark = format!("{version} 2026-01-01T00:01:40Z");
    let admitted = format!("{version} {mark}");
    Object(json!({"metadata": {"labels": {hub::INSTANCE_UID: "u"},
        "annotations": {hub::VERSION: mark, hub::REVISION: admitted}}, "spec": spec}))
}

/// Breaks a law of admission, or does not: what it says of the second cluster.
fn of_the_second(
    law: impl Fn(&Case) -> Option<String>,
    ground: &Ground,
    first: Vec<Landing>,
    second: Landing,
) -> bool {
    let (history, now) = (history(std::slice::from_ref(ground)), second.since + 500);
    let own = pair(unit(), "c2");
    let pairs = Pairs::of_landings([(pair(unit(), "c1"), first), (own.clone(), vec![second])].into());
    law(&Case { history: &history, pairs: &pairs, now, pair: &own }).is_some()
}

fn stages() -> Value {
    json!({"stages": [{"name": "all", "maxConcurrent": 1}], "progressDeadline": "60s"})
}

#[test]
fn admission() {
    let all = ground(&stages());
    let second = || landing(2, 101_000, None);
    let l1 = admission::no_more_at_a_time_than_the_stage_allows;
    assert!(of_the_second(l1, &all, vec![landing(2, 100_000, None)], second()));
    assert!(!of_the_second(l1, &all, vec![landing(2, 100_000, Some(100_500))], second()));
    assert!(!of_the_second(l1, &all, vec![landing(1, 100_000, None)], second()), "the stable one");

    let l2 = admission::nothing_goes_on_after_too_many_failures;
    let late = || landing(2, 500_000, None);
    assert!(of_the_second(l2, &all, vec![landing(2, 100_000, None)], late()));
    assert!(!of_the_second(l2, &all, vec![landing(2, 100_000, Some(101_000))], late()));

    let l3 = admission::what_comes_is_on_record;
    assert!(of_the_second(l3, &all, Vec::new(), landing(3, 101_000, None)));
    assert!(!of_the_second(l3, &all, Vec::new(), second()));

    let l3 = admission::nobody_is_moved_without_leave;
    let mut paused = stages();
    paused["paused"] = json!(true);
    assert!(of_the_second(l3, &ground(&paused), Vec::new(), second()));
    assert!(!of_the_second(l3, &all, Vec::new(), second()));
    let mut asks = ground(&json!({"stages": [{"name": "all", "approval": true}]}));
    assert!(of_the_second(l3, &asks, Vec::new(), second()));
    asks.approvals.insert((Some("one".into()), 2, "all".into()));
    assert!(!of_the_second(l3, &asks, Vec::new(), second()));

    let order = admission::stages_are_begun_in_order;
    let two =
        ground(&json!({"stages": [{"name": "canary", "clusters": {"names": ["c1"]}}, {"name": "all"}]}));
    let late = || landing(2, 400_000, None);
    assert!(of_the_second(order, &two, vec![landing(1, 0, Some(0))], late()));
    assert!(!of_the_second(order, &two, vec![landing(1, 0, Some(0)), landing(2, 300_000, None)], late()));

    let l6 = content::nothing_older_comes;
    let mut newer = all.clone();
    newer.versions.insert((unit(), 3), version(false, "c"));
    assert!(of_the_second(l6, &newer, Vec::new(), second()));
    assert!(!of_the_second(l6, &all, Vec::new(), second()));
    assert!(!of_the_second(l6, &newer, Vec::new(), landing(1, 101_000, None)), "the stable one");
}

#[test]
fn a_pin() {
    let rollout = json!({"scope": "Kind", "revision": 1, "stages": [{"name": "all"}]});
    let history = history(&[ground(&rollout)]);
    let own = pair(Unit::Kind, "c2");
    let pairs = Pairs::of_landings([(own.clone(), vec![landing(2, 101_000, None)])].into());
    let case = Case { history: &history, pairs: &pairs, now: 101_500, pair: &own };
    assert!(admission::no_revision_is_above_the_ceiling(&case, Some(2)).is_some());
    assert!(admission::no_revision_is_above_the_ceiling(&case, Some(1)).is_none());
}

#[test]
fn what_is_read_anew() {
    let all = ground(&stages());
    let mut paused = stages();
    paused["paused"] = json!(true);
    let law = |ground: &Ground| {
        let history = history(std::slice::from_ref(ground));
        admission::nobody_is_read_anew_while_it_is_paused(&history, (&unit(), "one"), 100_000)
    };
    assert!(law(&ground(&paused)).is_some() && law(&all).is_none());
    let mut nobody = all;
    nobody.policies.clear();
    assert!(law(&nobody).is_none(), "no rollout moves it");
}

#[test]
fn an_override_goes_by_the_labels_that_were_read() {
    let mut before = ground(&stages());
    let rule =
        json!({"clusters": {"labelSelector": {"matchLabels": {"region": "eu"}}}, "spec": {"value": "eu"}});
    let layer = json!([{"rules": [rule]}]);
    before.versions.get_mut(&(unit(), 2)).unwrap().overrides = layer;
    let history = history(&[before]);
    let l5 = |facts: Option<&str>, value: &str| {
        let mut mirror = mirror(2, &json!({"value": value}));
        mirror.0["metadata"]["annotations"][hub::FACTS] = json!(facts);
        content::a_mirror_has_the_content_of_its_version(&history, 200_000, "c1", &mirror)
    };
    let (eu, us) = (r#"{"labels":{"region":"eu"}}"#, r#"{"labels":{"region":"us"}}"#);
    // Whom a Placement's overrides reach changes, so what was written may stand anywhere.
    let cases = [
        (Some(eu), "eu", true),
        (Some(eu), "b", true),
        (Some(us), "b", true),
        (Some(us), "eu", false),
        (None, "eu", true),
    ];
    for (facts, value, fine) in cases {
        assert_eq!(l5(facts, value).is_none(), fine, "{facts:?} {value}");
    }
}

#[test]
fn content_and_records() {
    let before = ground(&stages());
    let one = history(std::slice::from_ref(&before));
    let l5 = |spec: &Value| {
        content::a_mirror_has_the_content_of_its_version(&one, 200_000, "c1", &mirror(2, spec))
    };
    assert!(l5(&json!({"value": "c"})).is_some());
    for value in ["b", "over"] {
        assert!(l5(&json!({"value": value})).is_none(), "{value}");
    }

    let mut after = before.clone();
    after.versions.remove(&(unit(), 1));
    let two = history(&[before.clone(), after]);
    let pairs = Pairs::of_landings([(pair(unit(), "c1"), Vec::new())].into());
    let l7 = |runs: u64| {
        content::no_version_is_deleted_that_a_pair_runs(&two, &pairs, 700_000, |_| {
            Some(mirror(runs, &json!({})))
        })
    };
    assert!(l7(1).is_some() && l7(2).is_none());

    let mut before = ground(&json!({"scope": "Kind", "stages": [{"name": "all"}]}));
    before.revisions = [(1, 1), (2, 2)].into();
    let mut after = before.clone();
    after.revisions.remove(&1);
    let two = history(&[before, after]);
    let pairs = Pairs::of_landings([(pair(Unit::Kind, "c1"), Vec::new())].into());
    let l7 = |runs: u64| {
        let of = |_: &Pair| Some(mirror(runs, &json!({})));
        content::no_revision_is_deleted_that_a_pair_runs_by(&two, &pairs, 700_000, of)
    };
    assert!(l7(1).is_some() && l7(2).is_none());

    let mut fields = content::Fields::default();
    let of = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    assert!(fields.note("c1", of(&["a"])).is_none() && fields.note("c1", of(&["a", "b"])).is_none());
    assert!(fields.note("c2", of(&["a"])).is_none() && fields.note("c1", of(&["a"])).is_some());
}

#[test]
fn removal_and_choice() {
    let all = ground(&stages());
    let with = |change: fn(&mut Ground)| {
        let mut ground = all.clone();
        change(&mut ground);
        ground
    };
    fn one(ground: &mut Ground) -> &mut Instance {
        ground.instances.get_mut("one").unwrap()
    }
    let deleting = with(|g| one(g).deleting = true);
    let l8 = |ground: &Ground| {
        let history = history(std::slice::from_ref(ground));
        removal::a_deleted_instance_gets_removals_only(
            &history,
            (100_000, "c1"),
            "one",
            &mirror(1, &json!({})),
        )
    };
    assert!(l8(&deleting).is_some() && l8(&all).is_none());

    let l9 = |ground: &Ground| {
        let history = history(std::slice::from_ref(ground));
        removal::nothing_that_is_kept_is_taken_away(&history, (100_000, "c2"), "one")
    };
    let elsewhere = with(|g| one(g).words = Some("c1".into()));
    let guarded = with(|g| {
        one(g).words = Some("c1".into());
        one(g).record.held = names(Some("c2"));
    });
    let kept_by_a_placement = with(|g| {
        one(g).words = Some("c1".into());
        g.policies[0].held.insert("c2".into());
    });
    let in_grace = with(|g| {
        one(g).words = Some("c1".into());
        one(g).record = Record::read(Some("w/c1/////p:x:D:60/1900000000:D60:c2"), &names(Some("c1,c2")));
    });
    for (ground, kept) in
        [(&all, true), (&elsewhere, false), (&guarded, true), (&kept_by_a_placement, true), (&in_grace, true)]
    {
        assert_eq!(l9(ground).is_some(), kept, "{:?}", l9(ground));
    }
    assert!(l9(&deleting).is_none());

    let moved = with(|g| one(g).record.placed = names(Some("c1")));
    let edited = with(|g| {
        one(g).record.placed = names(Some("c1"));
        one(g).words = Some("c1".into());
    });
    let l10 = |after: &Ground, at: u64| {
        let mut history = history(std::slice::from_ref(&all));
        history.note(at, after.clone());
        choice::a_choice_stands(&history, at, "one")
    };
    assert!(l10(&moved, 500_000).is_some() && l10(&edited, 500_000).is_none());

    let l13 = |ground: &Ground| {
        let history = history(std::slice::from_ref(ground));
        choice::nobody_is_where_no_word_takes_it(&history, 100_000, "c2", "one")
    };
    let fenced = with(|g| g.clusters.get_mut("c2").unwrap().allowed = vec!["other".into()]);
    let tainted = with(|g| {
        let taint = json!([{"key": "gpu", "value": "yes", "effect": "NoSelect"}]);
        g.clusters.get_mut("c2").unwrap().taints = serde_json::from_value(taint).unwrap();
    });
    for (ground, broken) in [(&all, false), (&elsewhere, true), (&fenced, true), (&tainted, true)] {
        assert_eq!(l13(ground).is_some(), broken);
    }
}
