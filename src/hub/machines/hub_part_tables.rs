//! Resources that live on the hub, once for all clusters: both machines, step by step.

use super::api_server::{Kind, Server, merge};
use super::fleet_tables::{Bench as FleetBench, name};
use super::graphs::{Blueprint, Plan, Sort};
use super::spoke_tables::{Bench, child, run, task, wish};
use super::world::instance_key;
use crate::api::keys::{hub, kro};
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::on_hub::ITSELF;
use crate::reconcile::fleet::{ClusterState, Fleet};
use crate::reconcile::spoke::{Goal, Home, HubValues, InstanceState, Machine, Part, Report, Task};
use crate::reconcile::world::{Rank, Stored};
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
        Goal::Run { graph, mirror, suspended, allow_breaking, cluster, .. } => Goal::Run {
            graph,
            part,
            mirror,
            suspended,
            allow_breaking,
            cluster,
            mark: None,
            admitted: None,
            facts: None,
            keeps: false,
            rank: Rank::default(),
        },
        other => other,
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
        let home = Home::Local { instance: Arc::new(Stored::new(instance.0)) };
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
    bench.clusters.insert(name("local"), hub_as(false));
    bench.blueprint = Blueprint::new(plans(), 1);
    bench
}

fn hub_as(implied: bool) -> ClusterState {
    let mut hub = ClusterState { health: ClusterHealth::Ready, implied, ..ClusterState::default() };
    hub.view.local = true;
    hub
}

/// No Cluster stands for the hub.
fn unregister(bench: &mut FleetBench) {
    bench.clusters.remove(&name("local"));
    bench.clusters.insert(name(ITSELF), hub_as(true));
}

fn register(bench: &mut FleetBench) {
    bench.clusters.remove(&name(ITSELF));
    bench.clusters.insert(name("local"), hub_as(false));
}

fn unregistered(clusters: &str) -> FleetBench {
    let mut bench = placed(clusters);
    unregister(&mut bench);
    bench
}

/// The actor wrote the inventory onto the instance.
fn has_children_on_the_hub(bench: &mut FleetBench) {
    let applyset = json!({"metadata": {"labels": {kro::APPLYSET_ID: "x"}}});
    let target = instance_key("app").object();
    bench.server.change(&target, "us", false, |v| merge(v, &applyset)).unwrap();
}

fn entries(bench: &FleetBench) -> Vec<String> {
    let list = bench.instance().unwrap().0["status"]["fleet"]["clusters"].clone();
    let list = list.as_array().cloned().unwrap_or_default();
    list.iter().map(|e| format!("{} {}", e["name"], e["state"]).replace('"', "")).collect()
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
    has_children_on_the_hub(&mut bench);
    bench.rounds();
    bench.server.delete(&instance_key("app").object(), None).unwrap();
    assert_eq!(bench.rounds(), ["remove a"]);
    bench.fleet.gone(&name("a"));
    assert_eq!(bench.rounds(), ["record", "remove local"]);
    bench.fleet.gone(&name("local"));
    assert!(bench.rounds().concat().ends_with("finalizer"));
}

#[test]
fn an_instance_is_as_well_as_its_part_on_the_hub() {
    let mut bench = placed("a");
    bench.rounds();
    bench.active(&["a"]);
    for _ in 0..2 {
        bench.later(5);
        bench.rounds();
    }
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

#[test]
fn without_a_cluster_for_the_hub_its_part_is_made_all_the_same() {
    let mut bench = unregistered("a");
    assert_eq!(bench.rounds(), ["record", "run a, run @hub"]);
    let mut report = bench.report();
    report.hub_values = Arc::new(database("first"));
    bench.fleet.report(&name(ITSELF), report);
    assert_eq!(bench.rounds(), ["run a"], "the cluster hears of it");
    bench.active(&["a"]);
    bench.later(5);
    bench.rounds();
    assert_eq!(entries(&bench), ["@hub ACTIVE", "a ACTIVE"]);
    assert_eq!(bench.note(hub::HOLDS), "a", "its inventory is the record");
}

#[test]
fn the_part_on_the_hub_waits_until_the_hub_is_connected() {
    let mut bench = placed("a");
    bench.clusters.remove(&name("local"));
    assert_eq!(bench.rounds(), ["record", "run a"]);
    bench.active(&["a"]);
    bench.later(5);
    bench.rounds();
    assert_eq!(entries(&bench), ["@hub Connecting", "a ACTIVE"]);
    assert_eq!(bench.instance().unwrap().0["status"]["state"], "IN_PROGRESS");
}

#[test]
fn nothing_is_placed_on_a_hub_that_nobody_registered() {
    let selects_all = json!({hub::CLUSTER_SELECTOR: "region!=x"});
    let cases = [
        (json!({}), "", "NotPlaced"),
        (json!({hub::CLUSTERS: "@hub"}), "", "NotRegistered"),
        (json!({hub::CLUSTERS: "hub"}), "", "NotRegistered"),
        (json!({hub::CLUSTERS: "*"}), "a,b,c", ""),
        (selects_all, "a,b,c", ""),
    ];
    for (words, holds, reason) in cases {
        let mut bench = FleetBench::new(words.clone());
        bench.clusters.insert(name(ITSELF), hub_as(true));
        let rounds = bench.rounds().concat();
        assert!(!rounds.contains("@hub"), "{words}: {rounds}");
        bench.later(5);
        bench.rounds();
        assert_eq!(bench.note(hub::HOLDS), holds, "{words}");
        let (said, message) = bench.ready();
        assert!(reason.is_empty() || said == reason, "{words}: {said}");
        assert!(said != "NotPlaced" || message.contains("spec.local: true"), "{message}");
    }
}

#[test]
fn a_cluster_may_be_called_hub() {
    let mut bench = unregistered("hub");
    let spoke = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
    bench.clusters.insert(name("hub"), spoke);
    assert_eq!(bench.rounds(), ["record", "run hub, run @hub"]);
    assert_eq!(bench.note(hub::HOLDS), "hub");
}

#[test]
fn a_deletion_waits_for_the_part_on_the_hub() {
    let mut bench = unregistered("a");
    bench.rounds();
    has_children_on_the_hub(&mut bench);
    bench.rounds();
    bench.server.delete(&instance_key("app").object(), None).unwrap();
    assert_eq!(bench.rounds(), ["remove a"]);
    bench.fleet.gone(&name("a"));
    // Another run of the controller finds it as it is.
    bench.fleet = Fleet::new(instance_key("app"), super::graphs::app_gvk());
    assert_eq!(bench.rounds(), ["remove a"]);
    bench.fleet.gone(&name("a"));
    assert_eq!(bench.rounds(), ["record", "remove @hub"]);
    let report = Report { state: InstanceState::Deleting, ..bench.report() };
    bench.fleet.report(&name(ITSELF), report);
    bench.later(5);
    bench.rounds();
    assert_eq!(entries(&bench), ["@hub DELETING"]);
    bench.fleet.gone(&name(ITSELF));
    assert!(bench.rounds().concat().ends_with("finalizer"));
}

#[test]
fn the_part_on_the_hub_goes_when_the_instance_is_placed_nowhere() {
    let mut bench = unregistered("a");
    bench.rounds();
    has_children_on_the_hub(&mut bench);
    bench.active(&["a", ITSELF]);
    bench.rounds();
    bench.annotate(hub::CLUSTERS, Some(""));
    let rounds = bench.rounds().concat();
    assert!(
        rounds.contains("remove a") && !rounds.contains("remove @hub"),
        "a cluster may read it: {rounds}"
    );
    bench.fleet.gone(&name("a"));
    assert_eq!(bench.rounds(), ["record", "remove @hub"]);
    bench.fleet.gone(&name(ITSELF));
    bench.later(5);
    bench.rounds();
    assert_eq!(bench.ready().0, "NotPlaced");
}

#[test]
fn a_cluster_for_the_hub_takes_over_and_hands_back() {
    let mut bench = unregistered("a");
    bench.rounds();
    has_children_on_the_hub(&mut bench);
    let mut report = bench.report();
    report.hub_values = Arc::new(database("first"));
    bench.fleet.report(&name(ITSELF), report.clone());
    bench.active(&["a"]);
    bench.rounds();
    let hands = [("local", register as fn(&mut FleetBench)), (ITSELF, unregister)];
    for (to, change) in hands {
        change(&mut bench);
        bench.fleet.actor_restarted(&name(to));
        assert_eq!(bench.rounds(), [format!("run {to}")], "a keeps what it has until {to} has spoken");
        bench.fleet.report(&name(to), report.clone());
        assert_eq!(bench.rounds(), [""; 0]);
    }
}

/// What a whole instance made on the hub, and what becomes of it when nobody stands for the hub.
#[test]
fn what_was_let_go_with_the_hub_is_not_taken_away() {
    for words in [None, Some("local"), Some("local,a")] {
        let mut bench = FleetBench::new(words.map_or(json!({}), |w| json!({hub::CLUSTERS: w})));
        bench.blueprint = Blueprint::new(plans(), 1);
        bench.clusters.insert(name("local"), hub_as(false));
        bench.rounds();
        has_children_on_the_hub(&mut bench);
        bench.rounds();
        bench.clusters.get_mut(&name("local")).unwrap().view.leaving = true;
        assert_eq!(bench.rounds().concat().matches("forget local").count(), 1, "{words:?}");
        unregister(&mut bench);
        for fresh in [false, true] {
            if fresh {
                bench.fleet = Fleet::new(instance_key("app"), super::graphs::app_gvk());
            }
            let rounds = bench.rounds().concat();
            assert!(!rounds.contains("@hub"), "{words:?}: {rounds}");
        }
        // Nor when it goes elsewhere.
        bench.annotate(hub::CLUSTERS, Some("b"));
        bench.later(5);
        let rounds = bench.rounds().concat();
        assert!(!rounds.contains("@hub"), "{words:?}: {rounds}");
        bench.active(&["a", "b"]);
        bench.later(5);
        bench.rounds();
        assert!(entries(&bench).contains(&"@hub NotRegistered".to_owned()), "{:?}", entries(&bench));
        bench.server.delete(&instance_key("app").object(), None).unwrap();
        bench.rounds();
        for spoke in ["a", "b"] {
            bench.fleet.gone(&name(spoke));
        }
        bench.rounds();
        bench.fleet.gone(&name(ITSELF));
        assert!(bench.rounds().concat().ends_with("finalizer"), "{words:?}");
    }
}

#[test]
fn what_kro_made_on_the_hub_stays_until_its_instance_is_deleted() {
    for words in [json!({}), json!({hub::CLUSTERS: "a"})] {
        let mut bench = FleetBench::new(words.clone());
        bench.blueprint = Blueprint::new(plans(), 1);
        bench.clusters.insert(name(ITSELF), hub_as(true));
        has_children_on_the_hub(&mut bench);
        let finalizer = json!({"metadata": {"finalizers": [kro::FINALIZER]}});
        let target = instance_key("app").object();
        bench.server.change(&target, "kro", false, |v| merge(v, &finalizer)).unwrap();
        let rounds = bench.rounds().concat();
        assert!(!rounds.contains("@hub"), "{words}: {rounds}");
    }
}

#[test]
fn what_the_hub_made_goes_with_its_cluster_where_that_is_wanted() {
    let mut bench = placed("local,a");
    bench.rounds();
    has_children_on_the_hub(&mut bench);
    bench.rounds();
    let local = bench.clusters.get_mut(&name("local")).unwrap();
    (local.view.leaving, local.delete_on_leave) = (true, true);
    assert_eq!(bench.round(), ["record", "run local"], "only what lives on the hub");
    assert!(!bench.fleet.is_clean_on_hub(&name("local")), "that is not on record yet");
    bench.rounds();
    assert!(bench.fleet.is_clean_on_hub(&name("local")));
    unregister(&mut bench);
    assert_eq!(bench.rounds(), ["run @hub"], "what lives there is wanted still");
}
