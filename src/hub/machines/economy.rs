//! What an instance costs: requests from its creation until it is at rest, by who is asked and for what.
//!
//! The CRD, the watches and the namespace are up before, as an earlier instance left them.

use super::graphs::{Blueprint, NAMESPACE, Plan, Sort, Wish};
use super::world::{World, instance_key};
use crate::api::keys::hub;
use serde_json::json;

/// A configuration, an account, a workload that reads the configuration, a service that reads the workload.
fn four_children(adopts: bool) -> Vec<Plan> {
    let child = |id: &str, reads: &[&str]| {
        let mut plan = Plan::new(id, Sort::ConfigMap).reading(reads);
        plan.adopts = adopts;
        plan
    };
    vec![child("n0", &[]), child("n1", &[]), child("n2", &["n0"]), child("n3", &["n2"])]
}

fn create(world: &mut World, name: &str, clusters: Option<&str>) {
    let wish = Wish { x: "x".into(), flag: true, items: Vec::new() };
    let mut body = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": wish.value()});
    if let Some(words) = clusters {
        body["metadata"]["annotations"] = json!({hub::CLUSTERS: words});
    }
    world.hub_server().create(&instance_key(name).object(), "user", &body).unwrap();
}

struct Cost {
    lines: Vec<String>,
    total: u64,
}

/// What the second instance costs. `pace`: up to so many milliseconds pass between two events.
fn cost(seed: u64, clusters: Option<&str>, adopts: bool, pace: usize) -> Cost {
    let blueprint = Blueprint::new(four_children(adopts), 1);
    let mut world = World::new(seed, 1, clusters.is_none(), blueprint, false);
    world.pace = pace;
    create(&mut world, "first", clusters);
    world.run_to_rest(4_000).unwrap();
    world.calls.clear();
    create(&mut world, "second", clusters);
    world.run_to_rest(4_000).unwrap();
    world.laws.verdict().unwrap();
    let state = world.hub_server().object(&instance_key("second").object()).unwrap();
    assert_eq!(state.str_at("/status/state"), "ACTIVE");
    let lines = world.calls.iter().map(|(what, count)| format!("{what} {count}")).collect();
    Cost { lines, total: world.calls.values().sum() }
}

#[test]
fn an_instance_with_four_children_costs_so_many_requests() {
    let cases: [(Option<&str>, bool, &[&str]); 3] = [
        (None, false, &["hub apply 6", "hub status 1"]),
        (
            Some("c0"),
            false,
            &["hub apply 1", "hub status 1", "spoke apply 5", "spoke get 4", "spoke status 1"],
        ),
        (Some("c0"), true, &["hub apply 1", "hub status 1", "spoke apply 5", "spoke status 1"]),
    ];
    for (clusters, adopts, want) in cases {
        for seed in 0..20 {
            assert_eq!(
                cost(seed, clusters, adopts, 0).lines,
                want,
                "{clusters:?}, adopts: {adopts}, seed {seed}"
            );
        }
    }
}

#[test]
fn one_request_more_says_that_it_takes_a_while() {
    for (clusters, adopts, budget) in [(None, false, 8), (Some("c0"), false, 13), (Some("c0"), true, 9)] {
        for seed in 0..20 {
            let total = cost(seed, clusters, adopts, 20).total;
            assert!(total <= budget, "{clusters:?}, adopts: {adopts}, seed {seed}: {total} requests");
        }
    }
}

#[test]
fn many_at_once_cost_the_hub_few_status_writes_however_long_they_take() {
    const MANY: usize = 40;
    // So many milliseconds pass with each thing that happens: from as fast as it goes to a minute and more for all.
    for pace in [0, 4, 16, 64] {
        let blueprint = Blueprint::new(four_children(true), 1);
        let mut world = World::new(1, 2, false, blueprint, false);
        world.pace = pace;
        create(&mut world, "first", Some("c0,c1"));
        world.run_to_rest(20_000).unwrap();
        world.calls.clear();
        let began = world.now.at;
        (0..MANY).for_each(|n| create(&mut world, &format!("many-{n}"), Some("c0,c1")));
        world.run_to_rest(200_000).unwrap();
        world.laws.verdict().unwrap();
        let writes = world.calls.get("hub status").copied().unwrap_or_default();
        let took = world.now.at.since(began);
        assert!(writes <= 3 * MANY as u64, "pace {pace}: {writes} writes for {MANY} instances in {took:?}");
    }
}
