//! Where a cluster lets resources be written, on the machine of one instance.

use super::api_server::namespace_kind;
use super::graphs::{OTHER_NAMESPACE, Plan, Sort};
use super::spoke_tables::{Bench, child, remove, run, wish};
use crate::api::cluster::{ChildNamespacePolicy, ChildNamespaces, ClusterSpec};
use crate::api::keys::kro;
use crate::api::names::ObjectRef;
use crate::reconcile::bounds::Bounds;
use serde_json::json;
use std::sync::Arc;

fn own(also: &[&str]) -> Arc<Bounds> {
    let also = also.iter().map(|&name| name.to_owned()).collect();
    let said = ChildNamespaces { policy: ChildNamespacePolicy::Own, also };
    let spec = ClusterSpec { child_namespaces: Some(said), ..ClusterSpec::default() };
    Arc::new(Bounds::of("eu", &spec, &ChildNamespaces::default()))
}

fn elsewhere(suffix: &str) -> ObjectRef {
    ObjectRef::new(Sort::ConfigMap.gk(), OTHER_NAMESPACE, &format!("app-{suffix}"))
}

fn plans() -> Vec<Plan> {
    vec![
        Plan::new("n0", Sort::ConfigMap),
        Plan { elsewhere: true, ..Plan::new("n1", Sort::ConfigMap) },
        Plan::new("n2", Sort::Zone),
    ]
}

fn bounded(plans: Vec<Plan>, bounds: Arc<Bounds>) -> Bench {
    let mut bench = Bench::new(plans);
    bench.bounds = bounds;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OTHER_NAMESPACE}});
    bench.server.create(&ObjectRef::new(namespace_kind(), "", OTHER_NAMESPACE), "admin", &namespace).unwrap();
    bench
}

/// All of it was written before anybody set bounds.
fn settled(plans: Vec<Plan>) -> Bench {
    let mut bench = bounded(plans, Arc::default());
    bench.rounds();
    assert_eq!(bench.report(), ("ACTIVE".into(), String::new()));
    bench.bounds = own(&[]);
    bench
}

#[test]
fn a_resource_out_of_bounds_is_named_and_never_written_and_the_others_are() {
    let mut bench = bounded(plans(), own(&[]));
    assert_eq!(bench.rounds(), ["apply mirror", "apply n0; apply n2"]);
    let (state, message) = bench.report();
    assert_eq!(state, "ERROR");
    for part in [
        "node n1: ConfigMap shared/app-n1 is not written",
        "Cluster eu (spec.childNamespaces)",
        "the instance is in apps",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let ready = &bench.last.report.as_ref().unwrap().conditions;
    assert!(
        ready.iter().any(|c| c.type_ == "ResourcesReady" && c.reason == "NamespaceNotAllowed"),
        "{ready:?}"
    );
    assert!(bench.server.object(&elsewhere("n1")).is_none());
}

#[test]
fn once_the_namespace_is_named_it_is_written() {
    let mut bench = bounded(plans(), own(&[]));
    bench.rounds();
    bench.bounds = own(&[OTHER_NAMESPACE]);
    assert_eq!(bench.rounds(), ["apply n1"]);
    assert_eq!(bench.report().0, "ACTIVE");
}

#[test]
fn what_stands_out_of_bounds_stays_as_it_is_and_goes_with_the_instance() {
    let mut bench = settled(plans());
    bench.server.change(&elsewhere("n1"), "someone", false, |v| v["data"] = json!({"drift": "1"})).unwrap();
    assert_eq!(bench.rounds(), [""; 0], "no repair, no deletion");
    assert!(bench.report().1.contains("ConfigMap shared/app-n1 is not written"), "{:?}", bench.report());
    bench.want(run(&bench.blueprint.clone(), &super::graphs::Wish { x: "y".into(), ..wish() }));
    assert_eq!(bench.rounds(), ["apply mirror", "apply n0; apply n2"], "nor an edit, which the others get");
    assert_eq!(bench.server.object(&elsewhere("n1")).unwrap().0["data"]["drift"], "1");
    bench.want(remove());
    bench.rounds();
    assert!(bench.server.object(&elsewhere("n1")).is_none());
}

#[test]
fn what_moves_out_of_bounds_stays_where_it_was() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::ConfigMap)]);
    bench.redefine(vec![
        Plan::new("n0", Sort::ConfigMap),
        Plan { elsewhere: true, ..Plan::new("n1", Sort::ConfigMap) },
    ]);
    bench.rounds();
    assert!(bench.server.object(&child(Sort::ConfigMap, "n1")).is_some(), "{:?}", bench.report());
    assert!(bench.server.object(&elsewhere("n1")).is_none());
}

#[test]
fn a_list_that_got_shorter_is_pruned_beside_a_refusal() {
    let mut bench = settled(vec![
        Plan::new("n0", Sort::ConfigMap),
        Plan { each: true, ..Plan::new("n1", Sort::ConfigMap) },
        Plan { elsewhere: true, ..Plan::new("n2", Sort::ConfigMap) },
    ]);
    let fewer = super::graphs::Wish { items: vec!["a".into()], ..wish() };
    bench.want(run(&bench.blueprint.clone(), &fewer));
    bench.rounds();
    let stands = |bench: &Bench, name: &str| bench.server.object(&child(Sort::ConfigMap, name)).is_some();
    assert!(stands(&bench, "n1-a") && !stands(&bench, "n1-b"), "{:?}", bench.report());
    assert!(bench.server.object(&elsewhere("n2")).is_some());
}

#[test]
fn what_somebody_else_has_out_of_bounds_is_not_adopted() {
    let adopts = Plan { elsewhere: true, adopts: true, ..Plan::new("n1", Sort::ConfigMap) };
    let mut bench = bounded(vec![Plan::new("n0", Sort::ConfigMap), adopts], own(&[]));
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "app-n1", "namespace": OTHER_NAMESPACE}, "data": {"theirs": "1"}});
    bench.server.create(&elsewhere("n1"), "someone", &theirs).unwrap();
    bench.rounds();
    bench.want(remove());
    bench.rounds();
    let stands = bench.server.object(&elsewhere("n1")).unwrap();
    assert_eq!((stands.0["data"]["theirs"].as_str(), stands.label(kro::APPLYSET_PART_OF)), (Some("1"), None));
}
