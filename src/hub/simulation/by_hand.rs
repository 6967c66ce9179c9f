//! What somebody does by hand to what the hub keeps: it is noticed when it is done, and mended.

use super::act::{Act, Timed};
use super::network::HUB;
use super::rest::{REVISIONS, condition};
use super::storm::{self, Sort};
use super::weather::Weather;
use super::wishes::{self, RGDS, SHOPS, Wish, Words};
use super::world::World;
use crate::api::keys::kro;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

const SEED: u64 = 1;
const POSTERS: &str = "/apis/kro.run/v1alpha1/namespaces/default/posters";
const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn at(seconds: u64, act: Act) -> Timed {
    (Duration::from_secs(seconds), act)
}

fn by_hand(method: &'static str, path: String, body: Value) -> Act {
    Act::ByHand { method, path, body }
}

fn create(name: &str) -> Act {
    let wish = Wish { value: "v".into(), extra: true, zones: vec!["x".into()] };
    Act::Create { name: name.into(), wish, words: Words::All }
}

#[test]
fn a_deleted_instance_that_lost_its_finalizer_is_cleaned_where_it_was_whether_the_cluster_is_there_or_not() {
    let spokes = Sort::Plain.spokes(SEED);
    let strip = || by_hand("PATCH", format!("{SHOPS}/one"), json!({"metadata": {"finalizers": null}}));
    let silent = |site: &String| Act::Weather {
        site: site.clone(),
        weather: Weather::Silent,
        lasting: Duration::from_secs(90),
    };
    let mut acts = vec![at(1, create("one"))];
    acts.extend(spokes.iter().map(|site| at(60, silent(site))));
    acts.extend([at(100, Act::Delete { name: "one".into() }), at(105, strip())]);
    let left = storm::at_rest(Sort::Plain, SEED, acts, |world| {
        let clusters = world.list(HUB, "/apis/hub.kro.run/v1alpha1/clusters");
        clusters.iter().map(|c| c.0["status"]["leftBehind"].clone()).collect::<Vec<Value>>()
    });
    let left = left.unwrap();
    assert!(!left.is_empty() && left.iter().all(Value::is_null), "{left:?}");
}

#[test]
fn an_instance_that_went_while_nobody_looked_is_cleaned_by_nobody_and_its_mirrors_are_named() {
    let restart = Duration::from_secs(30);
    let strip = by_hand("PATCH", format!("{SHOPS}/one"), json!({"metadata": {"finalizers": null}}));
    let gone = vec![
        at(1, create("one")),
        at(60, Act::Kill { restart }),
        at(65, Act::Delete { name: "one".into() }),
        at(66, strip),
    ];
    let mut back = gone.clone();
    back.push(at(200, create("one")));
    let unknown = |world: &World| -> Vec<Value> {
        let clusters = world.list(HUB, "/apis/hub.kro.run/v1alpha1/clusters");
        let spokes = clusters.iter().filter(|c| c.0["spec"]["local"] != true);
        spokes.map(|c| c.0["status"]["unknownMirrors"].clone()).collect()
    };
    let (named, complaints) = storm::with_complaints(Sort::Plain, SEED, gone, unknown).unwrap();
    assert!(!named.is_empty(), "a spoke");
    let one = json!({"count": 1, "names": ["Shop.kro.run default/one"]});
    assert!(named.iter().all(|named| *named == one), "{named:?}");
    let left_over = complaints.iter().filter(|said| said.contains("left over")).count();
    assert!(left_over > 0 && left_over == complaints.len(), "{complaints:?}");
    // One of that name takes over what stands there.
    let named = storm::at_rest(Sort::Plain, SEED, back, unknown).unwrap();
    assert!(named.iter().all(Value::is_null), "{named:?}");
}

#[test]
fn case_053_a_snapshot_that_is_deleted_by_hand_is_issued_again() {
    let acts = vec![
        at(1, create("one")),
        at(30, by_hand("DELETE", format!("{REVISIONS}/shop-r00001"), Value::Null)),
        at(60, Act::Revise),
        at(90, by_hand("DELETE", format!("{REVISIONS}/shop-r00003"), Value::Null)),
    ];
    let seen = storm::at_rest(Sort::Plain, SEED, acts, |world| {
        let rgd = world.get(HUB, &format!("{RGDS}/shop")).unwrap();
        let names = world.list(HUB, REVISIONS).iter().map(|r| r.name().to_owned()).collect::<Vec<_>>();
        (rgd["status"]["lastIssuedRevision"].clone(), names)
    });
    let (last, mut names) = seen.unwrap();
    names.retain(|name| name.starts_with("shop-"));
    assert_eq!((last, names), (json!(4), vec!["shop-r00002".to_owned(), "shop-r00004".to_owned()]));
}

/// A definition of posters.
fn posters(name: &str) -> Act {
    let mut body = wishes::definition_of_signs();
    body["metadata"]["name"] = json!(name);
    body["spec"]["schema"]["kind"] = json!("Poster");
    body["spec"]["schema"]["metadata"] = json!({"labels": {"team": "x"}});
    by_hand("POST", RGDS.to_owned(), body)
}

/// How many seconds after it was made the definition of posters had its kind.
fn had_its_kind_after(world: &World, name: &str) -> i64 {
    let rgd = world.get(HUB, &format!("{RGDS}/{name}")).unwrap();
    let ready = condition(&rgd, "KindReady").unwrap();
    assert_eq!(ready["status"], "True", "{ready}");
    let time = |text: &Value| text.as_str().unwrap().parse::<Timestamp>().unwrap();
    time(&ready["lastTransitionTime"]).duration_since(time(&rgd["metadata"]["creationTimestamp"])).as_secs()
}

#[test]
fn what_a_message_asks_for_is_noticed_when_somebody_does_it() {
    let relabel = json!({"metadata": {"labels": {kro::RGD_NAME: "posters-b"}}});
    let foreign = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "posters.kro.run"}, "spec": {"group": "kro.run", "scope": "Namespaced",
        "names": {"kind": "Poster", "plural": "posters", "singular": "poster", "listKind": "PosterList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let crd = || format!("{CRDS}/posters.kro.run");
    let given = vec![
        at(1, posters("posters-a")),
        at(40, posters("posters-b")),
        at(110, by_hand("PATCH", crd(), relabel)),
    ];
    let removed = vec![
        at(1, by_hand("POST", CRDS.to_owned(), foreign)),
        at(40, posters("posters-b")),
        at(110, by_hand("DELETE", crd(), Value::Null)),
    ];
    for acts in [given, removed] {
        let after =
            storm::at_rest(Sort::Plain, SEED, acts, |world| had_its_kind_after(world, "posters-b")).unwrap();
        assert!((70..80).contains(&after), "{after} s");
    }
}

#[test]
fn a_kind_that_was_given_to_another_definition_is_cared_for_once_the_first_one_goes() {
    let relabel = json!({"metadata": {"labels": {kro::RGD_NAME: "posters-b"}}});
    let poster = json!({"apiVersion": "kro.run/v1alpha1", "kind": "Poster", "spec": {"text": "x"},
        "metadata": {"name": "p", "namespace": "default", "annotations": {"hub.kro.run/clusters": "*"}}});
    let acts = vec![
        at(1, posters("posters-a")),
        at(20, posters("posters-b")),
        at(30, by_hand("POST", POSTERS.to_owned(), poster)),
        at(50, by_hand("PATCH", format!("{CRDS}/posters.kro.run"), relabel)),
        at(60, by_hand("DELETE", format!("{RGDS}/posters-a"), Value::Null)),
        at(90, by_hand("PATCH", format!("{POSTERS}/p"), json!({"spec": {"text": "y"}}))),
    ];
    let look = |world: &World| {
        let first = world.get(HUB, &format!("{RGDS}/posters-a"));
        (first.map(|rgd| rgd["status"].clone()), world.get(HUB, &format!("{POSTERS}/p")).unwrap())
    };
    // Nobody in the storms wants posters: that they are there is complained of.
    let ((first, poster), _) = storm::with_complaints(Sort::Plain, SEED, acts, look).unwrap();
    assert_eq!(first, None);
    let status = &poster["status"];
    assert!(status["shown"] == "y" && status["state"] == "ACTIVE", "{status}");
}

#[test]
fn a_label_that_somebody_takes_off_a_generated_crd_comes_back() {
    let acts = vec![
        at(1, posters("posters")),
        at(
            60,
            by_hand(
                "PATCH",
                format!("{CRDS}/posters.kro.run"),
                json!({"metadata": {"labels": {"team": null}}}),
            ),
        ),
    ];
    let labels = storm::at_rest(Sort::Plain, SEED, acts, |world| {
        world.get(HUB, &format!("{CRDS}/posters.kro.run")).unwrap()["metadata"]["labels"].clone()
    });
    assert_eq!(labels.unwrap()["team"], "x");
}
