//! An instance on more clusters than its status lists: what stands in its reports, and how often they are written.

use super::fleet_tables::{Bench, name};
use super::graphs::app_gvk;
use super::world::instance_key;
use crate::api::Object;
use crate::api::keys::hub;
use crate::reconcile::Moment;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::{ClusterState, Fleet};
use crate::reconcile::policy::Policy;
use crate::reconcile::spoke::InstanceState;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn called(n: usize) -> String {
    format!("c{n:04}")
}

fn register(bench: &mut Bench, n: usize) {
    let state = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
    bench.clusters.insert(name(&called(n)), state);
}

/// On so many clusters, where all is well.
fn settled(many: usize) -> Bench {
    let mut bench = Bench::new(json!({hub::CLUSTERS: "*"}));
    bench.clusters.clear();
    (0..many).for_each(|n| register(&mut bench, n));
    bench.rounds();
    report_all(&mut bench, many);
    rest(&mut bench);
    bench
}

fn report_all(bench: &mut Bench, many: usize) {
    let names: Vec<String> = (0..many).map(called).collect();
    bench.active(&names.iter().map(String::as_str).collect::<Vec<_>>());
}

fn fails(bench: &mut Bench, n: usize, why: &str) {
    let mut report = bench.report();
    (report.state, report.message) = (InstanceState::Error, why.into());
    bench.fleet.report(&name(&called(n)), report);
}

/// Time passes until nothing is left to say; the reports that were written meanwhile.
fn rest(bench: &mut Bench) -> Vec<String> {
    let mut said = Vec::new();
    for _ in 0..5 {
        bench.later(4);
        let words = bench.rounds().join(", ");
        said.extend(words.split(", ").filter(|word| word.starts_with("report")).map(str::to_owned));
    }
    said
}

/// Each cluster with its entry.
fn entries(bench: &Bench) -> BTreeMap<String, (usize, Value)> {
    let mut all = BTreeMap::new();
    for (index, report) in &bench.reports {
        let mut count = 0;
        for entry in report["entries"].as_array().unwrap() {
            for cluster in entry["clusters"].as_array().unwrap() {
                let mut entry = entry.clone();
                entry.as_object_mut().unwrap().remove("clusters");
                assert!(all.insert(cluster.as_str().unwrap().to_owned(), (*index, entry)).is_none(), "twice");
                count += 1;
            }
        }
        assert_eq!(report["clusters"], count);
        assert!(count <= 100, "{count}");
    }
    all
}

fn restarted(bench: &mut Bench) {
    bench.fleet = Fleet::new(instance_key("app"), app_gvk());
    for (index, report) in bench.reports.clone() {
        bench.fleet.report_stands(index, Some(&report));
    }
}

/// Each change of the status sends all of the object to everybody who watches it: with ordinary names it stays under 100 KB on
/// a thousand clusters, whatever becomes of them.
#[test]
fn a_parent_on_a_thousand_clusters_stays_under_a_hundred_kilobytes() {
    const MOST: usize = 100_000;
    // Long enough for the largest status to be written again.
    let look = |bench: &mut Bench| {
        bench.later(10);
        bench.rounds();
    };
    let names: Vec<String> = (0..1000).map(|n| format!("prod-eu-{n:04}")).collect();
    let mut bench = Bench::new(json!({}));
    bench.clusters.clear();
    for of in &names {
        let mut state = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
        state.view.labels.insert("tier".into(), "web".into());
        bench.clusters.insert(name(of), state);
    }
    let placement = json!({"metadata": {"name": "web", "namespace": "apps", "generation": 1},
        "spec": {"instances": {"kind": "App"}, "clusters": {"labelSelector": {"matchLabels": {"tier": "web"}}}}});
    let mut policy = Policy::new(&Object(placement));
    policy.decide(&bench.clusters, Moment::START);
    bench.placements = vec![policy.effective().unwrap().clone()];
    bench.rounds();
    bench.active(&names.iter().map(String::as_str).collect::<Vec<_>>());
    look(&mut bench);
    let said = |bench: &Bench| {
        let instance = bench.instance().unwrap();
        let fleet = &instance.0["status"]["fleet"];
        let count = |field: &str| fleet[field].as_u64().unwrap_or_default();
        (count("ready"), count("failed"), count("unreachable"), instance.0.to_string().len())
    };
    let held = bench.note(hub::HOLDS).len();
    assert_eq!(held, 13 * 1000 - 1, "the record names all of them");
    let (ready, .., well) = said(&bench);
    assert!(ready == 1000 && well < MOST, "{ready} ready, {well} bytes");
    for of in &names {
        let mut report = bench.report();
        (report.state, report.message) =
            (InstanceState::Error, format!("{of}: {}", "no such image; ".repeat(30)));
        bench.fleet.report(&name(of), report);
    }
    look(&mut bench);
    let (_, failed, _, failing) = said(&bench);
    assert!(failed == 1000 && failing > well && failing < MOST, "{failed} failed, {failing} bytes");
    let since = bench.now.rfc3339.clone();
    for state in bench.clusters.values_mut() {
        let message = "connecting fails: ".repeat(30);
        state.health = ClusterHealth::Unreachable { since: since.clone(), message };
    }
    look(&mut bench);
    let (_, _, unreachable, lost) = said(&bench);
    assert!(unreachable == 1000 && lost < MOST, "{unreachable} unreachable, {lost} bytes");
    // Nothing chooses any of them any more: the record says so of each.
    bench.placements.clear();
    look(&mut bench);
    let (held, decided) = (bench.note(hub::HOLDS).len(), bench.note(hub::DECIDED).len());
    let (.., kept) = said(&bench);
    assert!(
        held == 13 * 1000 - 1 && decided > 1000 && kept < MOST,
        "{decided} bytes are remembered of {kept}"
    );
}

#[test]
fn up_to_a_hundred_clusters_stand_in_the_status_alone() {
    let bench = settled(100);
    assert!(bench.reports.is_empty());
    let status = bench.instance().unwrap().0["status"].clone();
    assert_eq!(status["fleet"]["clusters"].as_array().unwrap().len(), 100);
}

#[test]
fn of_more_the_status_lists_what_is_not_well_and_reports_list_all() {
    let mut bench = settled(250);
    assert_eq!(bench.reports.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    let first = &bench.reports[&0];
    assert_eq!((&first["clusters"], &first["ready"], &first["index"]), (&json!(100), &json!(100), &json!(0)));
    assert_eq!(first["instance"], json!({"group": "kro.run", "kind": "App", "name": "app"}));
    assert_eq!(first["entries"].as_array().unwrap().len(), 1, "they stand alike");
    assert_eq!(entries(&bench).len(), 250);
    let status = bench.instance().unwrap().0["status"].clone();
    assert_eq!((&status["fleet"]["clusters"], &status["fleet"]["summary"]), (&json!([]), &json!("250/250")));
    // What changes on two clusters of one report is written there, and in the status.
    fails(&mut bench, 120, "no such image");
    fails(&mut bench, 130, "no such image");
    assert_eq!(bench.rounds(), ["report 1"]);
    assert_eq!(rest(&mut bench), [""; 0]);
    let entry = &bench.reports[&1]["entries"][0];
    assert_eq!((&entry["clusters"], &entry["state"]), (&json!(["c0120", "c0130"]), &json!("ERROR")));
    assert_eq!((&bench.reports[&1]["ready"], &entry["message"]), (&json!(98), &json!("no such image")));
    let status = bench.instance().unwrap().0["status"].clone();
    assert_eq!(status["fleet"]["clusters"].as_array().unwrap().len(), 2);
    (0..40).for_each(|n| fails(&mut bench, n, &format!("no {n}")));
    rest(&mut bench);
    let status = bench.instance().unwrap().0["status"].clone();
    assert_eq!(status["fleet"]["clusters"].as_array().unwrap().len(), 20, "the rest stands in reports");
    assert_eq!(status["fleet"]["failed"], 42);
}

#[test]
fn a_cluster_stays_in_its_report_and_a_new_one_fills_the_first_gap() {
    let mut bench = settled(250);
    let before = entries(&bench);
    for gone in [30, 140, 141] {
        bench.clusters.get_mut(&name(&called(gone))).unwrap().view.leaving = true;
    }
    rest(&mut bench);
    for gone in [30, 140, 141] {
        bench.fleet.gone(&name(&called(gone)));
        bench.clusters.remove(&name(&called(gone)));
    }
    rest(&mut bench);
    assert_eq!(entries(&bench).len(), 247);
    [900, 901].into_iter().for_each(|n| register(&mut bench, n));
    rest(&mut bench);
    bench.active(&["c0900", "c0901"]);
    rest(&mut bench);
    let after = entries(&bench);
    assert_eq!((after["c0900"].0, after["c0901"].0, after.len()), (0, 1, 249));
    let moved = after.iter().filter(|(name, (index, _))| before.get(*name).is_some_and(|(b, _)| b != index));
    assert_eq!(moved.count(), 0);
}

#[test]
fn an_edit_that_settles_soon_writes_each_report_once() {
    let mut bench = settled(250);
    let patch = json!({"spec": {"x": "y"}});
    let object = instance_key("app").object();
    bench.server.change(&object, "user", false, |v| super::api_server::merge(v, &patch)).unwrap();
    let generation = bench.instance().unwrap().generation();
    bench.rounds();
    for n in 0..250 {
        let mut report = bench.report();
        report.generation = generation;
        bench.fleet.report(&name(&called(n)), report);
        bench.round();
    }
    let said = rest(&mut bench);
    assert!(said.len() <= 6, "{said:?}");
    assert!(entries(&bench).values().all(|(_, entry)| entry["observedGeneration"] == generation));
}

#[test]
fn a_restart_writes_nothing_where_nothing_changed() {
    let mut bench = settled(250);
    fails(&mut bench, 7, "no such image");
    (20..50).for_each(|n| fails(&mut bench, n, &format!("no {n}")));
    bench.clusters.get_mut(&name("c0100")).unwrap().health =
        ClusterHealth::Unreachable { since: "2026-01-01T00:00:00Z".into(), message: "refused".into() };
    rest(&mut bench);
    let (before, reports) = (bench.instance().unwrap(), bench.reports.clone());
    restarted(&mut bench);
    assert_eq!(rest(&mut bench), [""; 0], "nobody was heard yet");
    report_all(&mut bench, 250);
    fails(&mut bench, 7, "no such image");
    (20..50).for_each(|n| fails(&mut bench, n, &format!("no {n}")));
    assert_eq!(rest(&mut bench), [""; 0]);
    assert_eq!((bench.instance().unwrap(), &bench.reports), (before, &reports));
    // What changed meanwhile is found.
    restarted(&mut bench);
    report_all(&mut bench, 250);
    fails(&mut bench, 7, "no such image");
    (20..50).filter(|n| *n != 33).for_each(|n| fails(&mut bench, n, &format!("no {n}")));
    assert_eq!(rest(&mut bench), ["report 0"]);
    assert_eq!(entries(&bench)["c0033"].1["state"], "ACTIVE");
}

#[test]
fn what_others_do_to_reports_is_undone_and_a_failed_write_is_tried_again() {
    let mut bench = settled(250);
    let before = bench.reports.clone();
    let mut edits: Vec<(&str, Value)> = Vec::new();
    let original = before[&1].clone();
    let mut edit = |what, change: &dyn Fn(&mut Value)| {
        let mut changed = original.clone();
        change(&mut changed);
        edits.push((what, changed));
    };
    edit("a state", &|r| r["entries"][0]["state"] = json!("ERROR"));
    edit("a time", &|r| r["entries"][0]["since"] = json!("2020-01-01T00:00:00Z"));
    edit("a name more", &|r| r["entries"][0]["clusters"][0] = json!("other"));
    edit("a count", &|r| r["ready"] = json!(3));
    edit("whose it is", &|r| r["instance"]["name"] = json!("other"));
    edit("all", &|r| r["entries"] = json!([]));
    for (what, changed) in edits {
        assert!(bench.fleet.report_stands(1, Some(&changed)), "{what}");
        assert_eq!(rest(&mut bench), ["report 1"], "{what}");
        assert_eq!(bench.reports, before, "{what}");
        assert!(!bench.fleet.report_stands(1, Some(&before[&1])), "{what}: the echo of our write");
    }
    assert!(bench.fleet.report_stands(2, None));
    assert_eq!(rest(&mut bench), ["report 2"]);
    assert!(bench.fleet.report_stands(7, Some(&before[&1])));
    assert_eq!(rest(&mut bench), ["report 7"], "nobody is in it");
    assert_eq!(bench.reports, before);
    // The hub refuses for a while.
    fails(&mut bench, 5, "no");
    bench.fails_once();
    let said = rest(&mut bench);
    assert!(said.len() >= 2, "{said:?}");
    assert_eq!(entries(&bench)["c0005"].1["state"], "ERROR");
}

#[test]
fn few_clusters_need_no_reports_any_more() {
    let mut bench = settled(110);
    let names: BTreeSet<String> = (0..90).map(called).collect();
    bench.annotate(hub::CLUSTERS, Some(&names.into_iter().collect::<Vec<_>>().join(",")));
    rest(&mut bench);
    (90..110).for_each(|n| bench.fleet.gone(&name(&called(n))));
    rest(&mut bench);
    assert!(bench.reports.is_empty(), "{:?}", bench.reports.keys());
    let status = bench.instance().unwrap().0["status"].clone();
    assert_eq!(status["fleet"]["clusters"].as_array().unwrap().len(), 90);
}

#[test]
fn an_instance_on_a_thousand_clusters_with_long_names_stays_below_100_kb() {
    let long = |n: usize| format!("c{n:04}-{}", "x".repeat(57));
    let mut bench = Bench::new(json!({hub::CLUSTERS: "*"}));
    bench.clusters.clear();
    for n in 0..1000 {
        let state = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
        bench.clusters.insert(name(&long(n)), state);
    }
    bench.rounds();
    for n in 0..1000 {
        let mut report = bench.report();
        (report.state, report.message) = (InstanceState::Error, format!("{n}: {}", "why ".repeat(200)));
        bench.fleet.report(&name(&long(n)), report);
    }
    rest(&mut bench);
    let instance = bench.instance().unwrap();
    let size = instance.0.to_string().len();
    assert!(size < 200_000, "{size}");
    let status = instance.0["status"].to_string().len();
    assert!(status < 30_000, "{status}");
    assert_eq!(entries(&bench).len(), 1000);
}
