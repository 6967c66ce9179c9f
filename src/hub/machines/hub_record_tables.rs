//! The deletion of an instance that ran on the hub, where somebody takes its record off.

use super::fleet_tables::{Bench, name};
use super::graphs::{Blueprint, NAMESPACE, Plan, Sort, Wish};
use super::world::{World, hub_site, instance_key};
use crate::api::applyset::{self, Inventory};
use crate::api::keys::kro;
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use serde_json::{Value, json};

const ALL: [&str; 5] = [
    kro::APPLYSET_ID,
    kro::APPLYSET_TOOLING,
    kro::APPLYSET_GROUP_KINDS,
    kro::APPLYSET_NAMESPACES,
    kro::INVENTORY_HASH,
];

fn take_off(instance: &mut Value, keys: &[&str]) {
    for map in ["labels", "annotations"] {
        if let Some(map) = instance["metadata"][map].as_object_mut() {
            map.retain(|key, _| !keys.contains(&key.as_str()));
        }
    }
}

/// It runs on the hub, and its record stands.
fn on_hub() -> Bench {
    let mut bench = Bench::new(json!({}));
    let mut own = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
    own.view.local = true;
    bench.clusters.insert(name("local"), own);
    bench.rounds();
    let key = instance_key("app");
    let inventory = Inventory { group_kinds: [Sort::ConfigMap.gk()].into(), ..Inventory::default() };
    let id = applyset::id(&key);
    let record = |v: &mut Value| {
        v["metadata"]["labels"][kro::APPLYSET_ID] = json!(id);
        for (key, value) in inventory.annotations(&id) {
            v["metadata"]["annotations"][key] = json!(value);
        }
    };
    bench.server.change(&key.object(), "us", false, record).unwrap();
    bench.active(&["local"]);
    bench.rounds();
    bench
}

#[test]
fn case_157_the_deletion_of_what_runs_on_the_hub_goes_on_without_its_record() {
    let label: &[&str] = &[kro::APPLYSET_ID];
    let cases = [
        ("the label", label),
        ("the label and the hash", &[kro::APPLYSET_ID, kro::INVENTORY_HASH]),
        ("all but the hash", &ALL[..4]),
        ("all", &ALL),
    ];
    for (what, keys) in cases {
        for before in [true, false] {
            let mut bench = on_hub();
            let key = instance_key("app").object();
            if before {
                bench.server.change(&key, "user", false, |v| take_off(v, keys)).unwrap();
            }
            bench.server.delete(&key, None).unwrap();
            let said = bench.rounds().join(", ");
            assert!(said.contains("remove local") && !said.contains("finalizer"), "{what}, {before}: {said}");
            if !before {
                bench.server.change(&key, "user", false, |v| take_off(v, keys)).unwrap();
                let said = bench.rounds().join(", ");
                assert!(!said.contains("finalizer"), "{what}, {before}: {said}");
            }
            assert!(bench.instance().is_some(), "{what}");
            bench.fleet.gone(&name("local"));
            let said = bench.rounds().join(", ");
            assert!(said.contains("finalizer"), "{what}, {before}: {said}");
        }
    }
}

#[test]
fn an_instance_that_never_ran_on_the_hub_goes_at_once() {
    let mut bench = Bench::new(json!({crate::api::keys::hub::CLUSTERS: "a"}));
    bench.rounds();
    bench.server.delete(&instance_key("app").object(), None).unwrap();
    bench.rounds();
    bench.fleet.gone(&name("a"));
    assert!(bench.rounds().join(", ").contains("finalizer"));
}

#[test]
fn what_an_instance_made_on_the_hub_goes_with_it_whatever_somebody_took_off() {
    for keys in [&ALL[..1], &ALL[..]] {
        for seed in 0..8 {
            let blueprint = Blueprint::new(vec![Plan::new("n0", Sort::ConfigMap)], 1);
            let mut world = World::new(seed, 1, true, blueprint, false);
            let (key, wish) =
                (instance_key("app").object(), Wish { x: "x".into(), flag: true, items: Vec::new() });
            let body = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App",
                "metadata": {"name": "app", "namespace": NAMESPACE}, "spec": wish.value()});
            world.hub_server().create(&key, "user", &body).unwrap();
            world.run_to_rest(4_000).unwrap();
            let n0 = super::spoke_tables::child(Sort::ConfigMap, "n0");
            assert!(world.sites[&hub_site()].server.get(&n0).is_some());
            world.hub_server().delete(&key, None).unwrap();
            world.hub_server().change(&key, "user", false, |v| take_off(v, keys)).unwrap();
            world.run_to_rest(4_000).unwrap();
            let server = world.hub_server();
            assert!(server.get(&n0).is_none() && server.get(&key).is_none(), "{keys:?}, seed {seed}");
        }
    }
}
