//! What Placements override on some clusters, step by step.

use super::fleet_tables::{Bench, name};
use super::graphs::app_gvk;
use super::world::instance_key;
use crate::api::Object;
use crate::api::keys::hub;
use crate::reconcile::Moment;
use crate::reconcile::fleet::Fleet;
use crate::reconcile::policy::Policy;
use crate::reconcile::spoke::Stands;
use serde_json::{Value, json};
use std::sync::Arc;

/// What instances go by of a Placement with these overrides, which places nothing by itself.
fn placed(bench: &mut Bench, placements: &[(&str, Value)]) {
    let effective = |(name, overrides): &(&str, Value)| {
        let object = Object(json!({"metadata": {"name": name, "namespace": "apps", "generation": 1},
            "spec": {"instances": {"kind": "App"}, "overrides": overrides}}));
        let mut policy = Policy::new(&object);
        policy.decide(&bench.clusters, Moment::START);
        policy.effective().unwrap().clone()
    };
    let effective = placements.iter().map(effective).collect();
    bench.placements = effective;
}

fn know(bench: &mut Bench, cluster: &str, properties: &Value) {
    let state = bench.clusters.get_mut(&name(cluster)).unwrap();
    let labels = json!(state.view.labels);
    state.facts =
        Some(Arc::new(json!({"name": cluster, "id": cluster, "labels": labels, "properties": properties,
        "version": {"major": 1, "minor": 34}})));
}

fn line(bench: &Bench, cluster: &str) -> Value {
    let status = bench.instance().unwrap().0["status"].clone();
    let list = status["fleet"]["clusters"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|line| line["name"] == cluster).unwrap_or_default()
}

fn sent(bench: &Bench, cluster: &str) -> Value {
    bench.sent[&name(cluster)]["x"].clone()
}

#[test]
fn what_is_otherwise_on_a_cluster_travels_there_alone_and_is_listed() {
    let mut bench = Bench::placed("a,b,c");
    bench.active(&["a", "b", "c"]);
    bench.later(5);
    bench.rounds();
    let before = bench.sent.clone();
    let eu = json!({"labelSelector": {"matchLabels": {"region": "eu"}}});
    placed(&mut bench, &[("web", json!([{"clusters": eu, "spec": {"x": "eu"}}]))]);
    assert_eq!(bench.round(), ["run a", "run b"]);
    assert_eq!(
        (sent(&bench, "a"), sent(&bench, "b"), sent(&bench, "c")),
        (json!("eu"), json!("eu"), json!("x"))
    );
    bench.later(5);
    bench.rounds();
    assert_eq!(line(&bench, "a")["overrides"], json!(["spec.x"]));
    assert_eq!(line(&bench, "c").get("overrides"), None);
    // Another Placement, of a later name, lies on top of it.
    let web = ("web", json!([{"clusters": eu, "spec": {"x": "eu"}}]));
    let xtra = ("xtra", json!([{"clusters": {"names": ["b"]}, "spec": {"x": "${schema.spec.x + '-b'}"}}]));
    placed(&mut bench, &[web, xtra]);
    assert_eq!(bench.round(), ["run b"]);
    assert_eq!(sent(&bench, "b"), json!("x-b"));
    // An edit of the instance reaches all, each with its own.
    bench.annotate("team", Some("one"));
    assert_eq!(bench.round(), ["run a", "run b", "run c"]);
    assert_eq!(
        (sent(&bench, "a"), sent(&bench, "b"), sent(&bench, "c")),
        (json!("eu"), json!("x-b"), json!("x"))
    );
    bench.placements.clear();
    assert_eq!(bench.round(), ["run a", "run b"]);
    assert_eq!(bench.sent, before);
    bench.later(10);
    bench.rounds();
    assert_eq!(line(&bench, "a").get("overrides"), None);
}

#[test]
fn a_changed_fact_is_news_where_an_override_reads_it() {
    let mut bench = Bench::placed("a,b,c");
    for cluster in ["a", "b", "c"] {
        know(&mut bench, cluster, &json!({"registry": "one", "other": "1"}));
    }
    let reads = json!([{"clusters": {"names": ["a", "b"]}, "spec": {"x": "${cluster.properties.registry}"}}]);
    placed(&mut bench, &[("web", reads)]);
    assert_eq!(bench.round(), ["run a", "run b"]);
    bench.rounds();
    know(&mut bench, "a", &json!({"registry": "one", "other": "2"}));
    know(&mut bench, "c", &json!({"registry": "two"}));
    assert_eq!(bench.rounds(), [""; 0], "nobody reads that there");
    know(&mut bench, "b", &json!({"registry": "two"}));
    assert_eq!(bench.rounds(), ["run b"]);
    assert_eq!((sent(&bench, "a"), sent(&bench, "b")), (json!("one"), json!("two")));
    // What is not known yet is waited for.
    bench.clusters.get_mut(&name("a")).unwrap().facts = None;
    bench.fleet.actor_restarted(&name("a"));
    assert_eq!(bench.rounds(), [""; 0]);
    know(&mut bench, "a", &json!({"registry": "one"}));
    assert_eq!(bench.rounds(), ["run a"]);
}

#[test]
fn where_an_override_fails_what_runs_stays_and_nothing_new_is_made() {
    let mut bench = Bench::placed("a,b");
    for cluster in ["a", "b", "c"] {
        know(&mut bench, cluster, &json!({"registry": "one"}));
    }
    bench.active(&["a", "b"]);
    bench.later(5);
    bench.rounds();
    let reads = json!([{"clusters": {"names": ["a", "c"]}, "spec": {"x": "${cluster.properties.region}"}}]);
    placed(&mut bench, &[("web", reads.clone())]);
    bench.annotate(hub::CLUSTERS, Some("a,b,c"));
    assert_eq!(bench.rounds(), ["record", "stay c"], "c only says what stands there");
    bench.later(10);
    bench.rounds();
    let why = "Placement apps/web spec.overrides[0].spec.x: no such key: region";
    for (cluster, message) in [("a", format!("{why}; what runs there stays")), ("c", why.to_owned())] {
        let line = line(&bench, cluster);
        assert_eq!((&line["state"], &line["message"]), (&json!("OverrideFailed"), &json!(message)), "{line}");
    }
    assert_eq!(line(&bench, "b")["state"], "ACTIVE");
    let status = bench.instance().unwrap().0["status"].clone();
    assert_eq!((&status["state"], &status["fleet"]["failed"]), (&json!("ERROR"), &json!(2)));
    let (_, message) = bench.ready();
    assert!(message.contains(why), "{message}");
    // Others go on.
    bench.annotate("team", Some("one"));
    assert_eq!(bench.rounds(), ["run b"]);
    // After a restart, what runs somewhere goes on by its mirror, and where nothing does, that is said.
    bench.fleet = Fleet::new(instance_key("app"), app_gvk());
    assert_eq!(bench.rounds(), ["go on a, run b, stay c"]);
    let mut looked = bench.report();
    (looked.generation, looked.revision) = (0, String::new());
    looked.stands = Stands::Mirror(None);
    bench.fleet.report(&name("a"), looked.clone());
    looked.stands = Stands::Nothing;
    bench.fleet.report(&name("c"), looked);
    bench.active(&["b"]);
    bench.later(10);
    bench.rounds();
    let said = |cluster: &str| line(&bench, cluster)["message"].clone();
    assert_eq!((said("a"), said("c")), (json!(format!("{why}; what runs there stays")), json!(why)));
    // Whatever fails, it can be taken away.
    bench.annotate(hub::CLUSTERS, Some("b,c"));
    assert_eq!(bench.rounds(), ["record, remove a"]);
    know(&mut bench, "c", &json!({"region": "eu"}));
    assert_eq!(bench.rounds(), ["run c"]);
    assert_eq!(sent(&bench, "c"), json!("eu"));
}

#[test]
fn overrides_that_cannot_be_read_hold_their_pairs_until_they_are_mended() {
    let mut bench = Bench::placed("a,b");
    bench.active(&["a", "b"]);
    bench.later(5);
    bench.rounds();
    placed(&mut bench, &[("web", json!([{"clusters": {"names": ["a"]}, "spec": {"y": 1}}]))]);
    bench.annotate("team", Some("one"));
    assert_eq!(bench.rounds(), [""; 0], "it cannot be said whom they are for");
    bench.later(10);
    bench.rounds();
    let message = line(&bench, "a")["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        message.starts_with("Placement apps/web spec.overrides[0].spec.y: schema not found"),
        "{message}"
    );
    placed(&mut bench, &[("web", json!([{"clusters": {"names": ["a"]}, "spec": {"x": "1"}}]))]);
    assert_eq!(bench.rounds(), ["run a, run b"]);
}

/// The instance goes by a Placement alone that has these clusters, and sets `spec.x` to `o`.
fn placed_by(bench: &mut Bench, clusters: &Value) {
    let object = Object(json!({"metadata": {"name": "web", "namespace": "apps", "generation": 1},
        "spec": {"instances": {"kind": "App"}, "clusters": clusters, "overrides": [{"spec": {"x": "o"}}]}}));
    let mut policy = Policy::new(&object);
    policy.decide(&bench.clusters, Moment::START);
    bench.placements = vec![policy.effective().unwrap().clone()];
}

#[test]
fn a_placement_that_vanishes_takes_its_overrides_from_no_cluster_that_is_kept() {
    let mut bench = Bench::new(json!({}));
    placed_by(&mut bench, &json!({"names": ["a", "b"]}));
    assert_eq!(bench.rounds(), ["record", "run a, run b"]);
    bench.active(&["a", "b"]);
    bench.later(5);
    bench.rounds();
    bench.placements.clear();
    bench.later(5);
    let told = bench.rounds().join(", ");
    assert!(!told.contains("run") && !told.contains("remove"), "{told}");
    bench.later(5);
    let later = bench.rounds().join(", ");
    assert!(!later.contains("run") && !later.contains("remove"), "{later}");
    assert_eq!(bench.ready().0, "ShrinkHeld", "{told}, {later}");
    assert_eq!((sent(&bench, "a"), sent(&bench, "b")), (json!("o"), json!("o")));
    // Nor does a restart, nor an edit.
    bench.fleet = Fleet::new(instance_key("app"), app_gvk());
    bench.annotate("team", Some("one"));
    let told = bench.rounds().join(", ");
    assert!(told.contains("go on a, go on b") && !told.contains("run"), "{told}");
    // It is back, as Git makes it anew.
    placed_by(&mut bench, &json!({"names": ["a", "b"]}));
    bench.later(5);
    let told = bench.rounds().join(", ");
    assert!(told.contains("run a, run b") && !told.contains("remove"), "{told}");
    assert_eq!((sent(&bench, "a"), sent(&bench, "b")), (json!("o"), json!("o")));
}

#[test]
fn overrides_of_a_placement_with_a_limit_reach_what_it_chooses_alone() {
    let mut bench = Bench::placed("a,b,c");
    placed_by(&mut bench, &json!({"all": true, "max": 1}));
    let told = bench.rounds().join(", ");
    assert_eq!(told.matches("run").count(), 1, "{told}");
    let others = ["a", "b", "c"].into_iter().filter(|cluster| sent(&bench, cluster) == json!("o"));
    assert_eq!(others.count(), 1);
}
