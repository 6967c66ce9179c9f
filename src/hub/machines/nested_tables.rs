//! Instances whose home is a spoke, since a resource of another definition made them there.

use super::graphs::app_gvk;
use super::graphs::{Plan, Sort};
use super::spoke_tables::{Bench, child, hub_id, settled, wish};
use super::world::instance_key;
use crate::api::Object;
use crate::api::applyset::Inventory;
use crate::api::keys::{hub, kro};
use crate::api::names::{GroupKind, ObjectRef};
use crate::reconcile::spoke::{Machine, Made, nested as judge, nested_task};
use crate::reconcile::world::{Definition, Stored};
use serde_json::{Value, json};
use std::sync::Arc;

/// The instance as the other definition's resource made it.
fn made(bench: &mut Bench, labels: &Value) -> Object {
    let key = instance_key("app").object();
    let body = json!({"apiVersion": app_gvk().api_version(), "kind": "App", "spec": wish().value(),
        "metadata": {"name": "app", "namespace": &*key.namespace, "labels": labels}});
    bench.server.create(&key, kro::MANAGER_APPLYSET, &body).unwrap();
    bench.server.object(&key).unwrap()
}

/// What the actor does whenever the object changes.
fn look(bench: &mut Bench) {
    let Some(object) = bench.server.object(&instance_key("app").object()) else { return };
    let definition = Definition { graph: bench.blueprint.graph.clone(), allow_breaking: false };
    let task = Arc::new(nested_task(&object.pack(), Some(&definition), &hub_id(), None).unwrap());
    if bench.machine.task().is_nested() {
        bench.machine.retarget(task);
    } else {
        bench.machine = Machine::new(task);
    }
}

fn nested(plans: Vec<Plan>) -> Bench {
    let mut bench = Bench::new(plans);
    made(&mut bench, &json!({hub::HUB_ID: "hub-1", kro::APPLYSET_PART_OF: "applyset-parent-v1"}));
    look(&mut bench);
    bench
}

fn plans() -> Vec<Plan> {
    vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::ConfigMap).reading(&["n0"])]
}

fn status(bench: &Bench) -> String {
    let instance = bench.server.object(&instance_key("app").object()).unwrap();
    instance.str_at("/status/state").to_owned()
}

#[test]
fn it_is_its_own_mirror_and_carries_the_finalizer_before_any_child() {
    let mut bench = nested(plans());
    assert_eq!(bench.round(), "apply mirror");
    let instance = bench.server.object(&instance_key("app").object()).unwrap();
    assert_eq!(instance.finalizers(), [kro::FINALIZER]);
    assert!(instance.label(kro::APPLYSET_ID).is_some() && instance.label(kro::RGD_NAME).is_some());
    assert_eq!(instance.label(hub::INSTANCE_UID), None);
    assert_eq!(
        instance.label(kro::APPLYSET_PART_OF),
        Some("applyset-parent-v1"),
        "what its maker says stays"
    );

    assert_eq!(bench.rounds(), ["apply n0", "apply n1"]);
    assert_eq!(status(&bench), "ACTIVE", "it tells its own status");
    let n0 = bench.server.object(&child(Sort::ConfigMap, "n0")).unwrap();
    assert_eq!(n0.label(hub::HUB_ID), Some("hub-1"));
    assert_eq!(n0.label(kro::INSTANCE_ID), Some(instance.uid()));

    look(&mut bench);
    bench.restart();
    assert_eq!(bench.rounds(), [""; 0], "a restart writes nothing");
}

#[test]
fn it_takes_its_children_with_it_wave_by_wave() {
    let mut bench = nested(plans());
    bench.rounds();
    let key = instance_key("app").object();
    bench.server.delete(&key, None).unwrap();
    look(&mut bench);
    assert_eq!(bench.rounds(), ["delete n1", "delete n0", "finalizer"]);
    assert!(bench.last.gone && bench.server.get(&key).is_none());
}

#[test]
fn it_says_that_it_is_being_deleted_while_something_holds_it() {
    let mut bench = nested(plans());
    bench.rounds();
    let n1 = child(Sort::ConfigMap, "n1");
    bench.server.change(&n1, "x", false, |v| v["metadata"]["finalizers"] = json!(["x/y"])).unwrap();
    bench.server.delete(&instance_key("app").object(), None).unwrap();
    look(&mut bench);
    bench.rounds();
    assert_eq!((status(&bench).as_str(), bench.last.gone), ("DELETING", false));
}

#[test]
fn one_that_goes_is_let_go_also_when_its_definition_went_before() {
    let mut bench = nested(plans());
    bench.rounds();
    let key = instance_key("app").object();
    let task_without = |bench: &Bench| {
        let object = bench.server.object(&key).unwrap();
        nested_task(&object.pack(), None, &hub_id(), None)
    };
    assert!(task_without(&bench).is_none(), "nothing is done for it while it stays");
    bench.server.delete(&key, None).unwrap();
    bench.machine = Machine::new(Arc::new(task_without(&bench).unwrap()));
    assert_eq!(bench.rounds(), ["delete n1", "delete n0", "finalizer"]);
    assert!(bench.last.gone && bench.server.get(&key).is_none());
}

#[test]
fn a_suspended_one_is_left_alone() {
    let mut bench = nested(plans());
    bench.rounds();
    let key = instance_key("app").object();
    bench
        .server
        .change(&key, "x", false, |v| v["metadata"]["annotations"][kro::RECONCILE] = json!("Suspended"))
        .unwrap();
    look(&mut bench);
    bench.server.delete(&child(Sort::ConfigMap, "n1"), None).unwrap();
    assert_eq!(bench.rounds(), [""; 0]);
    assert_eq!(status(&bench), "IN_PROGRESS");
}

#[test]
fn only_what_an_instance_here_made_is_at_home() {
    let object = |labels: Value, managers: &[&str], finalizers: Value, deleting: bool| {
        let entry = |manager: &&str| {
            json!({"manager": manager, "operation": "Apply", "fieldsV1": {"f:metadata":
                {"f:finalizers": {format!("v:{:?}", kro::FINALIZER): {}}, "f:labels": {"f:x": {}}}}})
        };
        let managed: Vec<Value> = managers.iter().map(entry).collect();
        let mut object = json!({"metadata": {"name": "a", "labels": labels, "finalizers": finalizers,
            "managedFields": managed}});
        if deleting {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        Stored::new(object)
    };
    let (made, labeller) = (kro::MANAGER_APPLYSET, kro::MANAGER_LABELLER);
    let ours = json!({hub::HUB_ID: "hub-1", kro::APPLYSET_PART_OF: "x"});
    let copied = json!({hub::HUB_ID: "hub-1", kro::APPLYSET_PART_OF: "x", hub::INSTANCE_UID: "u"});
    let theirs = json!({hub::HUB_ID: "hub-2", kro::APPLYSET_PART_OF: "x"});
    let mut mirror = json!({"metadata": {"name": "a", "labels": copied, "managedFields": [
        {"manager": labeller, "operation": "Apply", "fieldsV1": {"f:spec": {}}}]}});
    let mirror_with = |what: Value| Stored::new(what);
    let (none, held) = (json!([]), json!([kro::FINALIZER]));
    let yes = Some(Made::Yes);
    let cases = [
        ("made by hand", object(json!({}), &[], none.clone(), false), None, Made::No),
        (
            "forged: nobody here has this ApplySet",
            object(ours.clone(), &[], none.clone(), false),
            None,
            Made::No,
        ),
        (
            "forged: its maker knows nothing of it",
            object(ours.clone(), &[], none.clone(), false),
            Some(Made::No),
            Made::No,
        ),
        ("a child", object(ours.clone(), &[made], none.clone(), false), yes, Made::Yes),
        (
            "a child whose maker is not read yet",
            object(ours.clone(), &[made], none.clone(), false),
            Some(Made::Untold),
            Made::Untold,
        ),
        (
            "a child with the labels of a mirror",
            object(copied.clone(), &[made], none.clone(), false),
            yes,
            Made::Yes,
        ),
        (
            "a child whose hub id was taken off",
            object(json!({}), &[made], none.clone(), false),
            yes,
            Made::Yes,
        ),
        ("of another hub", object(theirs.clone(), &[made], none.clone(), false), yes, Made::No),
        ("a mirror", mirror_with(mirror.take()), yes, Made::No),
        (
            "going, with our finalizer",
            object(ours.clone(), &[made, labeller], held.clone(), true),
            yes,
            Made::Yes,
        ),
        (
            "going, held by us, its maker let go",
            object(ours.clone(), &[labeller], held.clone(), true),
            None,
            Made::Yes,
        ),
        (
            "going, held by kro of another hub",
            object(theirs, &[labeller], held.clone(), true),
            None,
            Made::No,
        ),
        ("going, forged with our finalizer", object(ours.clone(), &[], held, true), None, Made::No),
        ("going, without", object(ours, &[made], json!(["x/y"]), true), yes, Made::No),
    ];
    for (what, object, maker, want) in cases {
        assert_eq!(judge(&object, "hub-1", maker), want, "{what}");
    }
}

#[test]
fn an_instance_knows_what_it_made_also_after_a_restart_and_while_it_is_blocked() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    let n0 = child(Sort::ConfigMap, "n0");
    let other = ObjectRef::new(GroupKind::new("", "ConfigMap"), "kube-system", "forged");
    let beside = ObjectRef::new(GroupKind::new("", "ConfigMap"), &n0.namespace, "forged");
    let widget = ObjectRef::new(Sort::Widget.gk(), &n0.namespace, "forged");
    let uid = bench.uid(&n0);
    let knows = |bench: &Bench| {
        [(&n0, &*uid), (&n0, "another"), (&beside, "x"), (&other, "x"), (&widget, "x")]
            .map(|(target, uid)| bench.machine.made(target, uid))
    };
    // It went through all that it wants: nothing else is its own.
    let (yes, no) = (Made::Yes, Made::No);
    assert_eq!(knows(&bench), [yes, no, no, no, no]);
    // What somebody else wrote is neither its own nor asked to go, whatever its labels say.
    let labels = json!({hub::HUB_ID: "hub-1", kro::APPLYSET_PART_OF: bench.machine.task().applyset()});
    let grafted = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": &*beside.name, "namespace": &*beside.namespace, "labels": labels}});
    bench.server.create(&beside, "somebody", &grafted).unwrap();
    let grafted = bench.uid(&beside);
    assert_eq!(super::spoke_tables::words(&bench.step()), "");
    assert_eq!(bench.machine.made(&beside, &grafted), no);
    bench.server.delete(&beside, None).unwrap();
    // Blocked after a restart: what its record names, in its own namespace.
    bench.restart();
    assert_eq!(knows(&bench), [Made::Untold; 5]);
    bench.crd = Some(crate::reconcile::world::CrdState::Working);
    bench.step();
    assert_eq!(knows(&bench), [yes, yes, yes, no, no]);
    // A record that somebody else wrote at names nothing.
    let mirror = instance_key("app").object();
    let forged = Inventory {
        group_kinds: [Sort::ConfigMap.gk(), Sort::Widget.gk()].into(),
        namespaces: ["kube-system".to_owned()].into(),
    };
    let forged = json!(forged.annotations(&bench.machine.task().applyset()));
    let patch = json!({"metadata": {"annotations": forged}});
    bench.server.merge_patch(&mirror, "somebody", false, &patch).unwrap();
    bench.restart();
    bench.step();
    assert_eq!(knows(&bench), [Made::Untold; 5]);
}

#[test]
fn a_mirror_does_not_take_its_place_nor_its_children() {
    let mut bench = nested(plans());
    bench.rounds();
    let kept = bench.uid(&child(Sort::ConfigMap, "n0"));
    // An instance of that name on the hub is placed here.
    let mirrored = Bench::new(plans()).machine;
    bench.machine = mirrored;
    bench.rounds();
    let (state, message) = bench.report();
    assert_eq!(state, "ERROR");
    assert!(message.contains("App apps/app exists and belongs to"), "{message}");
    assert_eq!(bench.uid(&child(Sort::ConfigMap, "n0")), kept);
}

#[test]
fn a_mirror_is_never_taken_for_a_child() {
    // A resource is to have the name that the mirror of another instance has.
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    let n0 = child(Sort::ConfigMap, "n0");
    let labels = json!({hub::HUB_ID: "hub-1", hub::INSTANCE_UID: "u9",
        kro::APPLYSET_PART_OF: bench.machine.task().applyset()});
    let mirror = json!({"apiVersion": "v1", "kind": "ConfigMap", "spec": {"x": 1},
        "metadata": {"name": &*n0.name, "namespace": &*n0.namespace, "labels": labels}});
    bench.server.apply(&n0, kro::MANAGER_LABELLER, &mirror).unwrap();
    bench.rounds();
    let (state, message) = bench.report();
    assert_eq!(state, "ERROR");
    assert!(message.contains("ConfigMap apps/app-n0 exists and belongs to"), "{message}");
    bench.want(super::spoke_tables::remove());
    bench.rounds();
    assert!(bench.last.gone && bench.server.get(&n0).is_some());
}

#[test]
fn one_that_is_released_is_not_held_by_our_finalizer() {
    let mut bench = settled(plans());
    let n0 = child(Sort::ConfigMap, "n0");
    bench
        .server
        .change(&n0, "x", false, |v| {
            v["metadata"]["finalizers"] = json!(["x/y", kro::FINALIZER]);
            v["metadata"]["annotations"][hub::ON_DELETE] = json!("Orphan");
        })
        .unwrap();
    bench.want(super::spoke_tables::remove());
    bench.rounds();
    let left = bench.server.object(&n0).unwrap();
    assert_eq!((left.finalizers(), left.label(kro::OWNED)), (vec!["x/y".to_owned()], None));
}
