//! What is so at rest follows from users' words alone, and what differs from them is told.

use super::super::act::{Act, Timed};
use super::super::storm::{self, Sort};
use super::super::weather::Weather;
use super::super::wishes::{self, KIND, Wish, Words};
use super::super::world::World;
use super::{HUB, NAMESPACE, complaints, path};
use crate::api::keys::hub;
use crate::hub::machines::random::Random;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A seed of a fleet of four spokes.
const SEED: u64 = 4;

fn wish(value: &str, zones: &[&str]) -> Wish {
    Wish { value: value.into(), extra: true, zones: zones.iter().map(|z| (*z).to_owned()).collect() }
}

/// Users' words, each of another object, so that they mean the same in any order. `value` is what one instance asks for.
fn words(value: &str) -> Vec<Act> {
    let steer = |policy: &str, of_cluster: bool, more: &Value| {
        let mut spec = json!({"instances": {"kind": KIND}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Act::Steer { policy: policy.into(), of_cluster, spec }
    };
    let create = |name: &str, wish, words| Act::Create { name: name.into(), wish, words };
    let label = |site: &str, value| Act::Label { site: site.into(), key: "region", value };
    let over =
        json!({"spec": {"value": "over"}, "clusters": {"labelSelector": {"matchLabels": {"region": "eu"}}}});
    let stages = json!([
        {"name": "canary", "maxConcurrent": 1, "clusters": {"names": ["c1"]}},
        {"name": "last", "maxConcurrent": 2, "soak": "20s", "approval": true}]);
    vec![
        create("one", wish(value, &["x"]), Words::None),
        create("two", wish("b", &["x", "z"]), Words::None),
        create("three", wish("c", &[]), Words::Names(["c2".to_owned()].into())),
        steer("web", false, &json!({"clusters": {"all": true, "exclude": ["c3"]}, "overrides": [over]})),
        steer("base", true, &json!({"rollout": {"stages": stages, "progressDeadline": "60s"}})),
        steer(
            "kind",
            true,
            &json!({"rollout": {"scope": "Kind", "stages": [{"name": "last", "maxConcurrent": 1}]}}),
        ),
        label("c2", "eu"),
        label("c4", "us"),
        Act::Revise,
        Act::Taint {
            site: "c1".into(),
            taints: json!([{"key": "gpu", "value": "yes", "effect": "PreferNoSelect"}]),
        },
    ]
}

/// These words in an order of chance, over two minutes or over twenty. `crashes`: between them are kills and bad weather.
fn in_some_order(order: u64, mut words: Vec<Act>, crashes: bool) -> Vec<Timed> {
    let random = &mut Random::new(order);
    let step = Duration::from_secs(random.pick(&[10, 100]));
    let mut acts = Vec::new();
    while !words.is_empty() {
        let at = step * u32::try_from(acts.len()).unwrap();
        acts.push((at, words.swap_remove(random.below(words.len()))));
        if crashes {
            let site = random.pick(&[HUB, "c1", "c2", "c4"]).to_owned();
            let restart = Duration::from_secs(random.pick(&[1, 20]));
            let (after, done) = (random.below(6) as u64, random.chance(50));
            let lasting = Duration::from_secs(random.pick(&[5, 60]));
            let weather = Weather::random(random);
            acts.push((at + step / 3, Act::Weather { site, weather, lasting }));
            acts.push((at + step / 2, Act::KillAtWrite { after, at: "", done, restart }));
        }
    }
    acts
}

/// Where instances are, with which content, and what is made there; by site and object.
fn all_there_is(world: &World) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for instance in world.instances() {
        let holds: BTreeSet<&str> = instance.annotation(hub::HOLDS).unwrap_or_default().split(',').collect();
        all.insert(format!("{} is held on", instance.name()), json!(holds));
    }
    for site in world.sites() {
        for ((plural, name), object) in world.made(&site) {
            let field = if matches!(plural, "signs" | "shops") { "spec" } else { "data" };
            all.insert(format!("{site}: {plural} {name}"), object.0[field].clone());
        }
    }
    all
}

fn end(acts: Vec<Timed>) -> BTreeMap<String, Value> {
    let end = storm::at_rest(Sort::Steered, SEED, acts, all_there_is);
    end.unwrap_or_else(|bad| panic!("{}", bad.join("\n")))
}

/// L11.
#[test]
fn the_same_words_come_to_the_same_in_any_order_with_any_crash() {
    let undisturbed = end(in_some_order(1, words("a"), false));
    assert!(undisturbed.len() > 30, "{undisturbed:#?}");
    for order in 2..5 {
        assert_eq!(end(in_some_order(order, words("a"), order > 2)), undisturbed, "order {order}");
    }
    // Other words come to something else.
    assert_ne!(end(in_some_order(1, words("other"), false)), undisturbed);
}

/// Somebody does this where everything is at rest, while no controller looks: the complaint has these words in it.
type Spoilt = (&'static str, &'static str, String, Value, &'static str);

fn spoils() -> Vec<Spoilt> {
    let mirror = format!("{}/one", wishes::SHOPS);
    let annotated = |key: &str, value: &str| json!({"metadata": {"annotations": {key: value}}});
    let front = path(&("configmaps", "one-front".into()));
    let left = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one-zone-y", "namespace": NAMESPACE,
        "labels": {"applyset.kubernetes.io/part-of": "applyset-x", "kro.run/instance-name": "one"}}});
    let configmaps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    vec![
        ("c1", "PATCH", mirror.clone(), json!({"spec": {"value": "b"}}), "c1: the mirror of one has"),
        ("c4", "PATCH", mirror.clone(), json!({"spec": {"zones": []}}), "c4: the mirror of one has"),
        ("c1", "PATCH", front.clone(), json!({"data": {"revision": "r1"}}), "has {"),
        ("c2", "DELETE", front, Value::Null, "one-front has null"),
        ("c1", "POST", configmaps, left, "configmaps one-zone-y is left over"),
        (HUB, "PATCH", mirror.clone(), annotated(hub::HOLDS, "c1,c2"), "one is on {\"c1\", \"c2\"}"),
        (HUB, "PATCH", mirror, annotated(hub::HOLDS, "c1,c2,c3,c4"), "one is on"),
    ]
}

#[test]
fn what_differs_at_rest_from_what_users_said_is_told() {
    let missed = storm::at_rest(Sort::Steered, SEED, in_some_order(1, words("a"), false), |world| {
        let mut missed = Vec::new();
        for (site, method, at, body, complaint) in spoils() {
            let before = world.network.shared(site).with(|server| server.snapshot());
            world.must(site, method, &at, &body);
            let told = complaints(world);
            if !told.iter().any(|said| said.contains(complaint)) {
                missed.push(format!("{site} {method} {at} {body}: {told:?}"));
            }
            let shared = world.network.shared(site);
            shared.with(|server| server.restore(&before, shared.now()));
        }
        assert_eq!(complaints(world), Vec::<String>::new());
        missed
    });
    assert_eq!(missed, Ok(Vec::new()));
}
