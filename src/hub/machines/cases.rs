//! Corner cases of instances that users of kro rely on, by their numbers.

use super::graphs::{OTHER_NAMESPACE, Plan, Sort, Wish};
use super::spoke_tables::{Bench, child, remove, run, settled, task, wish, words};
use super::wire::Fault;
use super::world::instance_key;
use crate::api::keys::kro;
use crate::api::names::ObjectRef;
use crate::reconcile::spoke::{Goal, Home, Machine, Task};
use crate::reconcile::world::{Rank, Stored};
use serde_json::{Value, json};
use std::sync::Arc;

fn wanting(bench: &mut Bench, wish: &Wish) {
    bench.want(run(&bench.blueprint.clone(), wish));
}
fn items(items: &[&str]) -> Wish {
    Wish { items: items.iter().map(|i| (*i).to_owned()).collect(), ..wish() }
}
fn unflagged() -> Wish {
    Wish { flag: false, ..wish() }
}
fn each(id: &str) -> Plan {
    let mut plan = Plan::new(id, Sort::ConfigMap);
    plan.each = true;
    plan
}
fn flagged(mut plan: Plan) -> Plan {
    plan.flagged = true;
    plan
}
fn names(bench: &Bench) -> Vec<String> {
    let of = |sort: Sort| {
        let name = |v: &std::sync::Arc<Value>| v["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        bench.server.list(&sort.gk(), None).map(name).collect::<Vec<String>>()
    };
    let mut names = [of(Sort::ConfigMap), of(Sort::Widget)].concat();
    for name in &mut names {
        *name = name.trim_start_matches("app-").to_owned();
    }
    names.sort();
    names
}
/// `True AllResourcesReady`, as kro's condition says it.
fn resources_ready(bench: &Bench) -> String {
    let report = bench.last.report.as_ref().unwrap();
    let condition = report.conditions.iter().find(|c| c.type_ == "ResourcesReady").unwrap();
    format!("{:?} {}", condition.status, condition.reason)
}

#[test]
fn case_93_94_106_107_what_is_left_out_is_skipped_pruned_and_comes_back() {
    let mut toggled = each("n1");
    toggled.flagged = true;
    let plans =
        vec![Plan::new("n0", Sort::ConfigMap), toggled, Plan::new("n2", Sort::ConfigMap).reading(&["n1"])];
    let mut bench = settled(plans);
    assert_eq!(names(&bench), ["n0", "n1-a", "n1-b", "n2"]);
    wanting(&mut bench, &unflagged());
    bench.rounds();
    assert_eq!((names(&bench), bench.report().0), (vec!["n0".to_owned()], "ACTIVE".to_owned()));
    wanting(&mut bench, &wish());
    bench.rounds();
    assert_eq!((names(&bench).len(), bench.report().0), (4, "ACTIVE".to_owned()));
    // An empty collection is ready, and those that read it see an empty list.
    wanting(&mut bench, &items(&[]));
    bench.rounds();
    assert_eq!((names(&bench), bench.report().0), (vec!["n0".into(), "n2".into()], "ACTIVE".to_owned()));
    assert_eq!(bench.server.object(&child(Sort::ConfigMap, "n2")).unwrap().0["data"]["n1"], "0");
}

#[test]
fn case_96_the_item_that_left_is_pruned_and_the_others_stay() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap), each("n1")]);
    wanting(&mut bench, &items(&["a", "b", "c"]));
    bench.rounds();
    let uid = |bench: &Bench, item: &str| bench.uid(&child(Sort::ConfigMap, &format!("n1-{item}")));
    let before = (uid(&bench, "a"), uid(&bench, "c"));
    wanting(&mut bench, &items(&["a", "c"]));
    let rounds = bench.rounds().join("; ");
    assert!(rounds.contains("delete n1-b") && !rounds.contains("delete n1-a"), "{rounds}");
    assert_eq!((uid(&bench, "a"), uid(&bench, "c")), before);
    let last = bench.server.object(&child(Sort::ConfigMap, "n1-c")).unwrap();
    assert_eq!(last.label(kro::COLLECTION_INDEX), Some("1"));
    assert_eq!(last.label(kro::COLLECTION_SIZE), Some("2"));
}

#[test]
fn case_97_items_of_one_identity_are_an_error_and_nothing_is_written() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap), each("n1")]);
    wanting(&mut bench, &items(&["a", "a"]));
    assert_eq!(bench.rounds(), ["apply mirror"]);
    let (state, message) = bench.report();
    assert_eq!(state, "ERROR");
    assert!(message.contains("identity collision"), "{message}");
}

#[test]
fn case_100_dependents_wait_for_every_item() {
    let mut plan = Plan::new("n1", Sort::Widget).waiting();
    plan.each = true;
    let reader = Plan::new("n2", Sort::ConfigMap).reading(&["n1"]);
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap), plan, reader]);
    bench.rounds();
    assert_eq!((names(&bench).len(), bench.report().0), (3, "IN_PROGRESS".to_owned()));
    let first = child(Sort::Widget, "n1-a");
    let ready = json!({"value": "x", "ready": true});
    bench.server.change(&first, "operator", true, |v| v["status"] = ready).unwrap();
    bench.rounds();
    assert_eq!(names(&bench), ["n0", "n1-a", "n1-b"], "one of them is not ready");
    bench.operate();
    bench.rounds();
    assert_eq!((names(&bench).len(), bench.report().0), (4, "ACTIVE".to_owned()));
}

#[test]
fn case_101_102_103_items_are_ours_in_every_namespace_and_others_are_not() {
    let mut plan = each("n1");
    plan.elsewhere = true;
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap), plan]);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OTHER_NAMESPACE}});
    let target = ObjectRef::new(super::api_server::namespace_kind(), "", OTHER_NAMESPACE);
    bench.server.create(&target, "admin", &namespace).unwrap();
    bench.rounds();
    let item = |name: &str| ObjectRef::new(Sort::ConfigMap.gk(), OTHER_NAMESPACE, &format!("app-n1-{name}"));
    for name in ["a", "b"] {
        bench.server.change(&item(name), "somebody", false, |v| v["data"]["x"] = json!("y")).unwrap();
        bench.rounds();
        assert_eq!(bench.server.object(&item(name)).unwrap().0["data"]["x"], "x", "{name}");
    }
    wanting(&mut bench, &items(&["a"]));
    bench.rounds();
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "app-n1-b", "namespace": OTHER_NAMESPACE}, "data": {"own": "1"}});
    bench.server.create(&item("b"), "somebody", &foreign).unwrap();
    bench.rounds();
    assert_eq!(bench.report().0, "ACTIVE");
    bench.want(remove());
    bench.rounds();
    assert!(bench.last.gone);
    assert_eq!(names(&bench), ["n1-b"]);
}

#[test]
fn case_110_111_112_113_gates_hold_and_never_take_back() {
    let plans = vec![
        Plan::new("n0", Sort::Widget).waiting(),
        Plan::new("n1", Sort::Widget).waiting(),
        Plan::new("n2", Sort::ConfigMap).reading(&["n0", "n1"]),
        Plan::new("n3", Sort::ConfigMap),
    ];
    let mut bench = Bench::new(plans);
    bench.rounds();
    assert_eq!(names(&bench), ["n0", "n1", "n3"], "what waits for nothing is made meanwhile");
    let (state, message) = bench.report();
    assert_eq!((state.as_str(), resources_ready(&bench).as_str()), ("IN_PROGRESS", "False NotReady"));
    assert!(
        message.contains("node n0: readyWhen") && message.contains("n0.status.ready == true"),
        "{message}"
    );
    assert!(message.contains("node n2: unresolved dependency n0"), "{message}");
    let set = |bench: &mut Bench, name: &str, ready: bool| {
        let status = json!({"value": name, "ready": ready});
        bench.server.change(&child(Sort::Widget, name), "operator", true, |v| v["status"] = status).unwrap();
        bench.rounds()
    };
    set(&mut bench, "n0", true);
    assert_eq!(names(&bench).len(), 3, "only one of two is ready");
    set(&mut bench, "n1", true);
    assert_eq!((names(&bench).len(), bench.report().0), (4, "ACTIVE".to_owned()));
    assert_eq!(set(&mut bench, "n0", false), [""; 0], "dependents freeze");
    assert_eq!((names(&bench).len(), bench.report().0), (4, "IN_PROGRESS".to_owned()));
}

#[test]
fn case_123_131_another_instances_object_is_neither_taken_nor_pruned() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    let of_other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app-n0",
        "namespace": "apps", "labels": {kro::APPLYSET_PART_OF: "applyset-other-v1", "kro.run/instance-kind": "Db",
            "kro.run/instance-name": "theirs", "kro.run/instance-namespace": "apps", "hub.kro.run/hub-id": "hub-1"}}});
    bench.server.create(&child(Sort::ConfigMap, "n0"), "us", &of_other).unwrap();
    bench.rounds();
    let (state, message) = bench.report();
    assert_eq!(state, "ERROR");
    assert!(message.contains("belongs to instance Db apps/theirs"), "{message}");
    assert!(message.contains("different ApplySet"), "{message}");
    bench.want(remove());
    bench.rounds();
    assert_eq!(names(&bench), ["n0"]);
}

#[test]
fn case_125_one_object_of_two_nodes_is_an_error_that_names_both() {
    let mut twin = Plan::new("n1", Sort::ConfigMap);
    twin.suffix = "n0".into();
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap), twin]);
    assert_eq!(bench.rounds(), ["apply mirror"], "nothing is written");
    let (state, message) = bench.report();
    assert_eq!(state, "ERROR");
    let want = "found resources with conflicts: resourceID: n0 conflicts with resourceID: n1";
    assert!(message.contains(want), "{message}");
}

#[test]
fn case_095_a_refused_update_keeps_what_may_have_been_replaced_but_not_what_a_list_dropped() {
    let plans = |suffix: &str| {
        vec![Plan::new("n0", Sort::ConfigMap), Plan { suffix: suffix.to_owned(), ..each("n1") }]
    };
    // What is refused is not tried again: no time passes.
    let refused = |bench: &mut Bench, what: &str| {
        for _ in 0..10 {
            for action in bench.step() {
                let fault = words(std::slice::from_ref(&action)) == format!("apply {what}");
                bench.perform(&action, fault.then_some(Fault::Error));
            }
        }
        bench.step();
        assert_eq!(resources_ready(bench), "False NotReady");
        names(bench)
    };
    let other = |list: &[&str]| Wish { x: "other".into(), ..items(list) };
    let mut shorter = settled(plans("n1"));
    wanting(&mut shorter, &other(&["a"]));
    assert_eq!(refused(&mut shorter, "n0"), ["n0", "n1-a"], "the list got shorter");

    let mut grown = settled(plans("n1"));
    wanting(&mut grown, &items(&["a", "b", "c"]));
    refused(&mut grown, "n1-b");
    wanting(&mut grown, &other(&["a", "c"]));
    assert_eq!(refused(&mut grown, "n1-c"), ["n0", "n1-a", "n1-c"], "though b was never told of c");

    let mut renamed = settled(plans("n1"));
    renamed.redefine(plans("n2"));
    wanting(&mut renamed, &other(&["a", "b"]));
    let all = ["n0", "n1-a", "n1-b", "n2-a", "n2-b"];
    assert_eq!(refused(&mut renamed, "n0"), all, "n0 may still read the old names");

    let mut both = settled(plans("n1"));
    both.redefine(plans("n2"));
    wanting(&mut both, &other(&["a"]));
    assert_eq!(refused(&mut both, "n0"), ["n0", "n1-a", "n1-b", "n2-a"]);

    let reader = vec![Plan::new("n9", Sort::ConfigMap).reading(&["n1"])];
    let mut removed = settled([plans("n1"), reader].concat());
    removed.redefine(plans("n1"));
    wanting(&mut removed, &other(&["a"]));
    assert_eq!(refused(&mut removed, "n0"), ["n0", "n1-a", "n1-b", "n9"], "what reads the list has to stay");
}

#[test]
fn case_128_129_prune_waits_for_what_is_pending_and_not_for_what_is_unready() {
    let waiting = || Plan::new("n0", Sort::Widget).waiting();
    let extra = || Plan::new("n9", Sort::ConfigMap);
    let mut unready = Bench::new(vec![waiting(), extra()]);
    unready.rounds();
    unready.redefine(vec![waiting()]);
    unready.rounds();
    assert_eq!(names(&unready), ["n0"]);
    let reader = || Plan::new("n1", Sort::ConfigMap).reading(&["n0"]);
    let mut pending = Bench::new(vec![waiting(), reader(), extra()]);
    pending.rounds();
    pending.redefine(vec![waiting(), reader()]);
    pending.rounds();
    assert_eq!(names(&pending), ["n0", "n9"], "n1 is not resolved yet");
    pending.operate();
    pending.rounds();
    assert_eq!(names(&pending), ["n0", "n1"]);
}

#[test]
fn case_130_the_inventory_grows_before_anything_is_made_and_shrinks_after_the_prune() {
    let kinds = |bench: &Bench| {
        let mirror = bench.server.object(&instance_key("app").object()).unwrap();
        mirror.annotation("applyset.kubernetes.io/contains-group-kinds").unwrap_or_default().to_owned()
    };
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::Widget)]);
    assert_eq!(bench.round(), "apply mirror");
    assert_eq!(kinds(&bench), "ConfigMap,Widget.example.com");
    bench.rounds();
    bench.redefine(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.rounds();
    assert_eq!((names(&bench), kinds(&bench)), (vec!["n0".to_owned()], "ConfigMap".to_owned()));
}

#[test]
fn case_130_on_the_hub_itself_the_inventory_names_what_the_instance_does_not_leave_out() {
    let mut bench =
        Bench::new(vec![Plan::new("n0", Sort::ConfigMap), flagged(Plan::new("n1", Sort::Widget))]);
    let target = instance_key("app").object();
    let body = |wish: &Wish| {
        json!({"apiVersion": "kro.run/v1alpha1", "kind": "App",
        "metadata": {"name": "app", "namespace": "apps"}, "spec": wish.value()})
    };
    bench.server.create(&target, "user", &body(&unflagged())).unwrap();
    let goal = run(&bench.blueprint, &wish());
    let rounds = |bench: &mut Bench| {
        let instance = bench.server.object(&target).unwrap();
        let hub_uid = instance.uid().to_owned();
        let home = Home::Local { instance: Arc::new(Stored::new(instance.0)) };
        bench.machine.retarget(Arc::new(Task { home, hub_uid, ..(*task(goal.clone(), "")).clone() }));
        let rounds = bench.rounds().join(", ");
        let instance = bench.server.object(&target).unwrap();
        let kinds = instance.annotation("applyset.kubernetes.io/contains-group-kinds").unwrap_or_default();
        (rounds, kinds.to_owned())
    };
    let set = |bench: &mut Bench, flag: bool| {
        bench.server.change(&target, "user", false, |v| v["spec"]["flag"] = json!(flag)).unwrap();
    };
    assert_eq!(rounds(&mut bench), ("apply mirror, apply n0".into(), "ConfigMap".into()));
    set(&mut bench, true);
    let (both, one) = ("ConfigMap,Widget.example.com".to_owned(), "ConfigMap".to_owned());
    assert_eq!(rounds(&mut bench), ("apply mirror, apply n1".into(), both), "recorded before it is made");
    set(&mut bench, false);
    assert_eq!(rounds(&mut bench), ("delete n1, apply mirror".into(), one), "forgotten after it is gone");
}

#[test]
fn case_132_prune_takes_dependents_before_what_they_read_and_unknown_nodes_first() {
    let plans = || {
        vec![
            flagged(Plan::new("n0", Sort::ConfigMap)),
            Plan::new("n1", Sort::ConfigMap).reading(&["n0"]),
            Plan::new("n2", Sort::ConfigMap).reading(&["n1"]),
        ]
    };
    let mut bench = settled([plans(), vec![Plan::new("old", Sort::ConfigMap)]].concat());
    bench.redefine(plans());
    wanting(&mut bench, &unflagged());
    let rounds: Vec<String> = bench.rounds().into_iter().filter(|r| r.contains("delete")).collect();
    assert_eq!(rounds, ["delete old", "delete n2", "delete n1", "delete n0"]);
}

#[test]
fn case_133_a_delete_means_one_uid() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::ConfigMap)]);
    bench.redefine(vec![Plan::new("n0", Sort::ConfigMap)]);
    let actions = bench.step();
    assert_eq!(words(&actions), "delete n1");
    let target = child(Sort::ConfigMap, "n1");
    bench.server.delete(&target, None).unwrap();
    let body =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app-n1", "namespace": "apps"}});
    bench.server.create(&target, "somebody", &body).unwrap();
    bench.perform(&actions[0], None);
    bench.rounds();
    assert!(bench.server.get(&target).is_some());
    assert_eq!(bench.report().0, "ACTIVE");
}

#[test]
fn case_135_a_refused_write_is_an_error_that_ends_by_itself() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.round();
    let actions = bench.step();
    bench.perform(&actions[0], Some(Fault::Error));
    bench.step();
    assert_eq!((bench.report().0.as_str(), resources_ready(&bench).as_str()), ("ERROR", "False NotReady"));
    let due = bench.last.wake_at.unwrap();
    assert!(due > bench.now.at, "it is tried again without an event");
    bench.now.at = due;
    bench.rounds();
    assert_eq!(bench.report().0, "ACTIVE");
}

#[test]
fn a_refused_prune_is_shown_and_tried_again() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::ConfigMap)]);
    bench.redefine(vec![Plan::new("n0", Sort::ConfigMap)]);
    let actions = bench.step();
    assert_eq!(words(&actions), "delete n1");
    bench.perform(&actions[0], Some(Fault::Error));
    bench.step();
    let (state, message) = bench.report();
    assert_eq!((state.as_str(), resources_ready(&bench).as_str()), ("ERROR", "False NotReady"));
    assert!(message.contains("prune of ConfigMap apps/app-n1"), "{message}");
    bench.now.at = bench.last.wake_at.unwrap();
    bench.rounds();
    assert_eq!((names(&bench), bench.report().0), (vec!["n0".to_owned()], "ACTIVE".to_owned()));
}

#[test]
fn case_137_a_child_on_its_way_out_is_named_and_made_again() {
    let mut bench =
        settled(vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::ConfigMap).reading(&["n0"])]);
    let target = child(Sort::ConfigMap, "n0");
    bench.server.delete(&child(Sort::ConfigMap, "n1"), None).unwrap();
    let finalizers = |list: Value| move |v: &mut Value| v["metadata"]["finalizers"] = list;
    bench.server.change(&target, "x", false, finalizers(json!(["x/y"]))).unwrap();
    bench.server.delete(&target, None).unwrap();
    bench.rounds();
    let (state, message) = bench.report();
    assert_eq!(state, "IN_PROGRESS");
    assert_eq!(resources_ready(&bench), "False ResourceDeleting");
    assert!(message.contains("node n0: ConfigMap resource \"apps/app-n0\" is being deleted"), "{message}");
    assert_eq!(names(&bench), ["n0"], "what reads it waits");
    bench.server.change(&target, "x", false, finalizers(json!([]))).unwrap();
    bench.rounds();
    assert_eq!((names(&bench).len(), bench.report().0), (2, "ACTIVE".to_owned()));
}

#[test]
fn case_148_150_all_that_is_ready_is_said_once_and_at_once() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    let mut statuses = 0;
    for _ in 0..10 {
        let actions = bench.step();
        statuses += words(&actions).matches("status").count();
        for action in &actions {
            bench.perform(action, None);
        }
    }
    assert_eq!(statuses, 1, "ready with the first status");
    assert_eq!(
        (bench.report().0.as_str(), resources_ready(&bench).as_str()),
        ("ACTIVE", "True AllResourcesReady")
    );
}

#[test]
fn case_149_a_suspended_instance_keeps_its_fields_and_says_so_also_after_a_restart() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    let suspend = |bench: &Bench| match run(&bench.blueprint, &wish()) {
        Goal::Run { graph, part, mirror, allow_breaking, cluster, .. } => Goal::Run {
            graph,
            part,
            mirror,
            suspended: true,
            allow_breaking,
            cluster,
            mark: None,
            admitted: None,
            facts: None,
            keeps: false,
            rank: Rank::default(),
        },
        other => other,
    };
    bench.want(suspend(&bench));
    bench.server.delete(&child(Sort::ConfigMap, "n0"), None).unwrap();
    for _ in 0..2 {
        assert_eq!(bench.rounds(), [""; 0], "nothing is written");
        let report = bench.last.report.as_ref().unwrap();
        assert_eq!(
            (report.state.as_str(), report.fields.get("first")),
            ("IN_PROGRESS", Some(&json!("app-n0")))
        );
        assert_eq!(resources_ready(&bench), "False ReconciliationSuspended");
        bench.restart();
    }
    wanting(&mut bench, &wish());
    assert_eq!(bench.rounds(), ["apply n0"]);
}

#[test]
fn case_155_157_deletion_says_what_it_does_and_what_blocks_it() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    let mirror = instance_key("app").object();
    let kinds = "applyset.kubernetes.io/contains-group-kinds";
    let set = |bench: &mut Bench, value: &str| {
        bench
            .server
            .change(&mirror, "somebody", false, |v| v["metadata"]["annotations"][kinds] = json!(value))
            .unwrap();
    };
    set(&mut bench, "not a kind");
    bench.want(remove());
    assert_eq!(bench.rounds(), [""; 0]);
    let (state, message) = bench.report();
    assert_eq!((state.as_str(), resources_ready(&bench).as_str()), ("DELETING", "Unknown UnderDeletion"));
    assert!(message.contains("deletion blocked: validate deletion inventory"), "{message}");
    set(&mut bench, "ConfigMap");
    bench.rounds();
    assert!(bench.last.gone);
}

#[test]
fn case_159_an_instance_without_children_goes_at_once() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.round();
    bench.want(remove());
    assert_eq!(bench.rounds(), ["delete mirror"]);
    assert!(bench.last.gone);
}

#[test]
fn case_160_children_without_an_order_go_last() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::ConfigMap)]);
    let target = child(Sort::ConfigMap, "n0");
    bench
        .server
        .change(&target, "kro", false, |v| {
            v["metadata"]["annotations"].as_object_mut().unwrap().remove(kro::APPLY_ORDER);
        })
        .unwrap();
    bench.want(remove());
    assert_eq!(bench.rounds(), ["delete n1", "delete n0", "delete mirror"]);
}

#[test]
fn case_105_119_removal_needs_no_graph() {
    let reader = Plan::new("n2", Sort::ConfigMap).reading(&["n1"]);
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap), each("n1"), reader]);
    bench.machine = Machine::new(task(remove(), "u1"));
    let rounds = bench.rounds();
    assert_eq!(rounds.last().unwrap(), "delete mirror");
    assert!(bench.last.gone);
    assert_eq!(names(&bench), [""; 0]);
}
