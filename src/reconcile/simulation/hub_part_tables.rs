//! Resources that live on the hub, once for all clusters: both machines, step by step.

use super::api_server::{Kind, Server};
use super::fleet_tables::{Bench as FleetBench, name};
use super::graphs::{Blueprint, Plan, Sort};
use super::shell::instance_key;
use super::spoke_tables::{Bench, child, run, task, wish};
use crate::api::Object;
use crate::api::keys::hub;
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::spoke::{Goal, Home, HubValues, Machine, Part, Task};
use serde_json::json;
use std::sync::Arc;

/// A database on the hub, and what reads it on each cluster.
fn plans() -> Vec<Plan> {
    vec![
        Plan::new("n0", Sort::ConfigMap),
        Plan::new("db", Sort::Widget).waiting().on_hub(),
        Plan::new("app", Sort::ConfigMap).reading(&["db"]),
    ]
}

fn goal(blueprint: &Blueprint, part: Part) -> Goal {
    match run(blueprint, &wish()) {
        Goal::Run { graph, mirror, suspended, allow_breaking, cluster, .. } => {
            Goal::Run { graph, part, mirror, suspended, allow_breaking, cluster }
        }
        removal @ Goal::Remove { .. } => removal,
    }
}

fn database(value: &str) -> HubValues {
    let mut values = HubValues::default();
    values.insert("db", vec![json!({"metadata": {"name": "db"}, "status": {"value": value, "ready": true}})]);
    values
}

#[test]
fn a_cluster_waits_for_what_lives_on_the_hub_and_makes_the_rest() {
    let mut bench = Bench::new(plans());
    let part = |values: HubValues| Part::Rest(Arc::new(values));
    bench.want(goal(&bench.blueprint.clone(), part(HubValues::default())));
    assert_eq!(bench.rounds(), ["apply mirror", "apply n0"]);
    let (state, message) = bench.report();
    assert_eq!(state, "IN_PROGRESS");
    assert!(message.contains("node db: waiting for db on the hub"), "{message}");

    bench.want(goal(&bench.blueprint.clone(), part(database("first"))));
    assert_eq!(bench.rounds(), ["apply app"]);
    assert_eq!(bench.report(), ("ACTIVE".into(), String::new()));
    let app = bench.server.object(&child(Sort::ConfigMap, "app")).unwrap();
    assert_eq!(app.0["data"]["db"], "first");
    assert!(bench.server.get(&child(Sort::Widget, "db")).is_none(), "it lives on the hub alone");

    bench.want(goal(&bench.blueprint.clone(), part(database("second"))));
    assert_eq!(bench.rounds(), ["apply app"]);
    bench.want(goal(&bench.blueprint.clone(), part(HubValues::default())));
    assert_eq!(bench.rounds(), [""; 0], "what stands is kept while the hub says nothing");
}

#[test]
fn the_hub_makes_its_part_alone_and_shows_what_is_ready() {
    let mut bench = Bench::new(plans());
    let body = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App",
        "metadata": {"name": "app", "namespace": "apps"}, "spec": wish().value()});
    let target = instance_key("app").object();
    bench.server.create(&target, "user", &body).unwrap();
    let goal = goal(&bench.blueprint, Part::Hub);
    let of = |server: &Server| {
        let instance = server.object(&target).unwrap();
        let hub_uid = instance.uid().to_owned();
        let home = Home::Local { instance: Arc::new(Object(instance.0)) };
        Arc::new(Task { home, hub_uid, ..(*task(goal.clone(), "")).clone() })
    };
    bench.machine = Machine::new(of(&bench.server));
    assert_eq!(bench.rounds(), ["apply mirror", "apply db"]);
    let shown = |bench: &Bench| format!("{:?}", bench.last.report.as_ref().unwrap().hub_values);
    assert_eq!(shown(&bench), "{}", "it is not ready");
    bench.operate();
    bench.rounds();
    assert_eq!(shown(&bench), r#"{"db"}"#);
    let report = bench.last.report.clone().unwrap();
    assert_eq!((report.state.as_str(), report.ready, report.total), ("ACTIVE", 1, 1));
    assert!(report.fields.is_empty(), "the status is about the whole");
    let parent = bench.server.object(&target).unwrap();
    assert_eq!(parent.annotation("applyset.kubernetes.io/contains-group-kinds"), Some("Widget.example.com"));
}

/// An instance with a part on the hub, which is registered as `local`.
fn placed(clusters: &str) -> FleetBench {
    let mut bench = FleetBench::new(json!({hub::CLUSTERS: clusters}));
    let mut local = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
    local.view.local = true;
    bench.clusters.insert(name("local"), local);
    bench.blueprint = Blueprint::new(plans(), 1);
    bench
}

#[test]
fn the_hub_runs_its_part_for_instances_that_are_placed_elsewhere() {
    let mut bench = placed("a");
    bench.server.serve(Sort::Widget.gk(), Kind { namespaced: true });
    assert_eq!(bench.rounds(), ["record", "run a, run local"]);
    let mut report = bench.report();
    report.hub_values = Arc::new(database("first"));
    bench.fleet.report(&name("local"), report.clone());
    assert_eq!(bench.rounds(), ["run a"], "the cluster hears of it");
    bench.fleet.report(&name("local"), report.clone());
    assert_eq!(bench.rounds(), [""; 0]);
    report.generation = 0;
    bench.fleet.report(&name("local"), report);
    assert_eq!(bench.rounds(), ["run a"], "what was shown for another spec does not count");
}

#[test]
fn what_lives_on_the_hub_goes_last() {
    let mut bench = placed("a");
    bench.rounds();
    let applyset = json!({"metadata": {"labels": {"applyset.kubernetes.io/id": "x"}}});
    let target = instance_key("app").object();
    bench.server.change(&target, "us", false, |v| super::api_server::merge(v, &applyset)).unwrap();
    bench.rounds();
    bench.server.delete(&target, None).unwrap();
    assert_eq!(bench.rounds(), ["remove a"]);
    bench.fleet.gone(&name("a"));
    assert_eq!(bench.rounds(), ["record", "remove local"]);
    bench.fleet.gone(&name("local"));
    assert!(bench.rounds().concat().ends_with("finalizer"));
}

#[test]
fn the_part_on_the_hub_is_named_where_the_hub_is_not_registered() {
    let mut bench = placed("a");
    bench.clusters.remove(&name("local"));
    assert_eq!(bench.rounds(), ["record", "run a"]);
    bench.later(5);
    bench.rounds();
    let (_, message) = bench.ready();
    assert!(message.contains("need the hub itself as a Cluster with spec.local: true"), "{message}");
}

#[test]
fn an_instance_is_as_well_as_its_part_on_the_hub() {
    let mut bench = placed("a");
    bench.rounds();
    bench.active(&["a"]);
    bench.later(5);
    bench.rounds();
    let status = |bench: &FleetBench| bench.instance().unwrap().0["status"].clone();
    assert_eq!(status(&bench)["state"], "IN_PROGRESS");
    let mut of_a = bench.report();
    of_a.fields.insert("first".into(), json!("x"));
    bench.fleet.report(&name("a"), of_a);
    bench.active(&["local"]);
    bench.later(5);
    bench.rounds();
    assert_eq!((&status(&bench)["state"], &status(&bench)["first"]), (&json!("ACTIVE"), &json!("x")));
}
