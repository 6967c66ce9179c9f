//! What an instance reads and does not own, and what its author says of it: both machines, step by step.

use super::fleet_tables::{Bench as FleetBench, name};
use super::graphs::{Blueprint, Outside, Plan, Sort, Wish, outside};
use super::spoke_tables::{Bench, child, remove, run, wish};
use super::world::instance_key;
use crate::api::condition::{Condition, ConditionStatus};
use crate::api::keys::hub;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::spoke::InstanceState;
use crate::reconcile::world::{Looked, Lookup, Stored};
use serde_json::{Value, json};
use std::sync::Arc;

fn reader(outside: Outside) -> Vec<Plan> {
    vec![
        Plan::new("n0", Sort::ConfigMap),
        Plan::new("read", Sort::ConfigMap).outside(outside),
        Plan::new("copy", Sort::ConfigMap).reading(&["read"]),
    ]
}

fn found(values: &[&str]) -> Looked {
    let stored = values.iter().enumerate().map(|(i, value)| {
        Arc::new(Stored::new(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("s{i}"), "namespace": "apps"}, "data": {"value": value}})))
    });
    Looked::Found(stored.collect())
}

/// The one thing that is read.
fn lookup(bench: &Bench) -> Lookup {
    assert_eq!(bench.last.reads.len(), 1, "{:?}", bench.last.reads);
    bench.last.reads.first().unwrap().clone()
}
fn show(bench: &mut Bench, looked: Looked) -> Vec<String> {
    let lookup = lookup(bench);
    bench.lookups.insert(lookup, looked);
    bench.rounds()
}
fn copied(bench: &Bench) -> Value {
    bench
        .server
        .object(&child(Sort::ConfigMap, "copy"))
        .map(|o| o.0["data"]["read"].clone())
        .unwrap_or_default()
}

#[test]
fn case_114_115_119_a_reference_is_waited_for_followed_and_left_alone() {
    let mut bench = Bench::new(reader(Outside::Named));
    assert_eq!(bench.rounds(), ["apply mirror", "apply n0"]);
    assert_eq!(lookup(&bench).to_string(), "v1 ConfigMap apps/settings-x");
    let waits = |bench: &Bench, why: &str| {
        let want = format!("node read: waiting for external reference v1 ConfigMap apps/settings-x: {why}");
        let (state, message) = bench.report();
        assert_eq!(state, "IN_PROGRESS");
        assert!(message.contains(&want), "{message}");
    };
    waits(&bench, "not read yet");
    show(&mut bench, Looked::Failed("403".into()));
    waits(&bench, "403");
    show(&mut bench, found(&[]));
    waits(&bench, "not found");

    assert_eq!(show(&mut bench, found(&["one"])), ["apply copy"]);
    assert_eq!((copied(&bench), bench.report().0), (json!("one"), "ACTIVE".to_owned()));
    assert_eq!(show(&mut bench, found(&["two"])), ["apply copy"]);
    // It goes, or cannot be read any more: what reads it stays as it is, and nothing is pruned.
    for looked in [found(&[]), Looked::Failed("no contact".into()), Looked::NotServed] {
        assert_eq!(show(&mut bench, looked), [""; 0]);
        assert_ne!(bench.report().0, "ACTIVE");
        assert_eq!(copied(&bench), "two");
    }
    bench.want(remove());
    bench.rounds();
    assert!(bench.last.gone);
    assert!(bench.last.reads.is_empty(), "a missing reference blocks no deletion");
}

#[test]
fn case_117_118_121_a_selection_is_a_list_and_an_empty_one_is_ready() {
    let mut bench = Bench::new(reader(Outside::Selected));
    bench.rounds();
    assert_eq!(lookup(&bench).to_string(), "v1 ConfigMap (tier=web) in namespace apps");
    assert_eq!(copied(&bench), Value::Null, "a selection that was not read yet is not empty");
    for (values, want) in [(vec![], "0"), (vec!["a", "b"], "2"), (vec!["a"], "1")] {
        assert_eq!(show(&mut bench, found(&values)), ["apply copy"]);
        assert_eq!((copied(&bench), bench.report().0), (json!(want), "ACTIVE".to_owned()));
    }
}

#[test]
fn only_what_is_read_now_is_looked_for() {
    let mut bench = Bench::new(reader(Outside::Named));
    bench.rounds();
    show(&mut bench, found(&["one"]));
    let other = Wish { x: "y".into(), ..wish() };
    bench.want(run(&bench.blueprint.clone(), &other));
    bench.rounds();
    assert_eq!(lookup(&bench).to_string(), "v1 ConfigMap apps/settings-y");
    bench.redefine(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.rounds();
    assert!(bench.last.reads.is_empty());
    let inventory = bench.server.object(&instance_key("app").object()).unwrap();
    assert_eq!(inventory.annotation("applyset.kubernetes.io/contains-group-kinds"), Some("ConfigMap"));
    assert!(bench.server.get(&outside("x")).is_none());
}

/// Whose author says whether it is open, and repeats what we say of the resources.
fn speaking() -> Arc<Blueprint> {
    let plans = vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::Widget).waiting()];
    Blueprint::edited_by(plans, 1, |definition| {
        definition["spec"]["schema"]["status"]["conditions"] = json!([
            "${runtime.newCondition({type: 'Open', status: n1.status.value == 'x' ? 'True' : 'False', reason: 'R'})}",
            "${runtime.newCondition({type: 'Ready', status: runtime.condition(schema, 'ResourcesReady').status})}",
        ]);
    })
}

fn shown(bench: &Bench) -> String {
    let report = bench.last.report.as_ref().unwrap();
    let list = report.shown().iter().map(|c| format!("{}={:?}", c.type_, c.status));
    list.collect::<Vec<_>>().join(" ")
}

#[test]
fn case_151_152_153_an_author_speaks_in_our_place_and_gives_it_back() {
    let mut bench = Bench::of(speaking());
    bench.rounds();
    assert_eq!((shown(&bench).as_str(), bench.report().0.as_str()), ("Ready=False", "IN_PROGRESS"));
    let mut set = |value: &str, ready: bool| {
        let status = json!({"value": value, "ready": ready});
        bench.server.change(&child(Sort::Widget, "n1"), "operator", true, |v| v["status"] = status).unwrap();
        bench.rounds();
        (shown(&bench), bench.report().0)
    };
    assert_eq!(set("x", true), ("Open=True Ready=True".into(), "ACTIVE".into()));
    assert_eq!(set("y", true), ("Open=False Ready=True".into(), "ACTIVE".into()));
    let mirror = bench.server.object(&instance_key("app").object()).unwrap();
    assert_eq!(mirror.0["status"]["conditions"].as_array().map(Vec::len), Some(2), "ours are not written");
    // What cannot be evaluated for the moment stays as it was said, also after a restart.
    let status = json!({"ready": true});
    bench.server.change(&child(Sort::Widget, "n1"), "operator", true, |v| v["status"] = status).unwrap();
    for _ in 0..2 {
        bench.rounds();
        assert_eq!(shown(&bench), "Open=False Ready=True");
        bench.restart();
    }
    bench.redefine(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.rounds();
    assert_eq!(shown(&bench), "InstanceManaged=True GraphResolved=True ResourcesReady=True Ready=True");
}

#[test]
fn case_151_an_authors_conditions_are_aggregated_by_type() {
    use ConditionStatus::{False, True, Unknown};
    let condition = |type_: &str, status, reason: &str| Condition {
        type_: type_.into(),
        status,
        reason: reason.into(),
        message: format!("{type_} {reason}"),
        last_transition_time: String::new(),
        observed_generation: 1,
    };
    let mut bench = FleetBench::new(json!({hub::CLUSTERS: "a,b"}));
    bench.blueprint = speaking();
    bench.rounds();
    let mut say = |a: ConditionStatus, b: Option<ConditionStatus>, state: InstanceState| {
        for (cluster, status) in [("a", Some(a)), ("b", b)] {
            let mut report = bench.report();
            report.state = state;
            report.author = Some(status.iter().map(|s| condition("Open", *s, cluster)).collect());
            bench.fleet.report(&name(cluster), report);
        }
        bench.later(5);
        bench.rounds();
        let status = bench.instance().unwrap().0["status"].clone();
        let list = status["conditions"].as_array().cloned().unwrap_or_default();
        let text = |c: &Value, k: &str| c[k].as_str().unwrap_or_default().to_owned();
        list.iter()
            .filter(|c| !["Reconciling", "Stalled"].contains(&text(c, "type").as_str()))
            .map(|c| {
                format!(
                    "{}={} {}: {}",
                    text(c, "type"),
                    text(c, "status"),
                    text(c, "reason"),
                    text(c, "message")
                )
            })
            .collect::<Vec<_>>()
            .join("; ")
    };
    let (active, error) = (InstanceState::Active, InstanceState::Error);
    assert_eq!(say(True, Some(True), active), "Open=True a: Open a");
    assert_eq!(say(True, Some(False), active), "Open=False b: b: Open b");
    assert_eq!(say(Unknown, Some(True), active), "Open=Unknown a: a: Open a");
    assert!(
        say(True, None, active).starts_with("Open=Unknown AwaitingReconciliation"),
        "b has not said it yet"
    );
    assert_eq!(say(True, Some(True), error), "Open=True a: Open a", "the state is ours alone");
    let status = |bench: &FleetBench| bench.instance().unwrap().0["status"].clone();
    assert_eq!(status(&bench)["state"], "ERROR");

    bench.clusters.get_mut(&name("b")).unwrap().health =
        ClusterHealth::Unreachable { since: "t".into(), message: "m".into() };
    bench.later(5);
    bench.rounds();
    let open = |bench: &FleetBench| {
        status(bench)["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Open").cloned().unwrap()
    };
    assert_eq!(open(&bench)["status"], "Unknown");

    // While it is deleted, what was said stays, and the deletion is told besides.
    let before = open(&bench);
    bench.server.delete(&instance_key("app").object(), None).unwrap();
    bench.later(5);
    bench.rounds();
    assert_eq!(open(&bench), before);
    let list = status(&bench)["conditions"].clone();
    let deletion = list.as_array().unwrap().iter().find(|c| c["type"] == "ResourcesReady").cloned().unwrap();
    assert_eq!((&deletion["status"], &deletion["reason"]), (&json!("Unknown"), &json!("UnderDeletion")));
}

#[test]
fn only_an_instance_that_reads_a_fact_hears_of_it() {
    let plans = || vec![Plan::new("n0", Sort::ConfigMap)];
    let reading = Blueprint::edited_by(plans(), 1, |definition| {
        definition["spec"]["resources"][0]["template"]["data"]["tier"] =
            json!("${kro.cluster.labels.?tier.orValue('none')}");
    });
    let facts = |tier: &str, minor: u32| {
        Some(Arc::new(json!({"name": "a", "id": "i", "labels": {"tier": tier}, "properties": {},
            "version": {"major": 1, "minor": minor}})))
    };
    for (blueprint, reads) in [(reading, true), (Blueprint::new(plans(), 1), false)] {
        let mut bench = FleetBench::new(json!({hub::CLUSTERS: "a"}));
        bench.blueprint = blueprint;
        let set = |bench: &mut FleetBench, facts| {
            bench.clusters.get_mut(&name("a")).unwrap().facts = facts;
            bench.rounds()
        };
        let told: &[&str] = if reads { &["run a"] } else { &[] };
        let first: &[&str] = if reads { &["record"] } else { &["record", "run a"] };
        assert_eq!(set(&mut bench, None), first, "nothing is rendered for a cluster that is not known");
        assert_eq!(set(&mut bench, facts("gold", 30)), told);
        assert_eq!(set(&mut bench, facts("gold", 31)), [""; 0], "nobody reads the version");
        assert_eq!(set(&mut bench, facts("lead", 31)), told);
    }
}

#[test]
fn case_149_what_stood_stays_while_the_definition_is_not_known() {
    let mut bench = FleetBench::placed("a");
    let mut report = bench.report();
    report.fields.insert("first".into(), json!("x"));
    bench.fleet.report(&name("a"), report);
    bench.later(5);
    bench.rounds();
    bench.undefined = true;
    bench.later(5);
    bench.rounds();
    let status = bench.instance().unwrap().0["status"].clone();
    assert_eq!((&status["state"], &status["first"]), (&json!("ERROR"), &json!("x")));
    let conditions = status["conditions"].as_array().unwrap();
    let resolved = conditions.iter().find(|c| c["type"] == "GraphResolved").unwrap();
    assert_eq!(resolved["reason"], "ResolutionFailed");
}

#[test]
fn a_record_that_cannot_be_written_is_no_secret() {
    let mut bench = FleetBench::placed("a");
    bench.active(&["a"]);
    bench.fleet.meta_written(Err("admission webhook says no".into()), &bench.now);
    bench.annotate(hub::CLUSTERS, Some("a,b"));
    bench.later(5);
    bench.round();
    let (reason, message) = bench.ready();
    assert_eq!(
        (reason.as_str(), message.as_str()),
        ("ManagementFailed", "finalizer/labeling failed: admission webhook says no")
    );
    bench.later(5);
    bench.rounds();
    bench.active(&["a", "b"]);
    bench.later(5);
    bench.rounds();
    assert_ne!(bench.ready().0, "ManagementFailed");
}
