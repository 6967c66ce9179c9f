//! What is taken for gone, and what is let go: no list is believed alone, and what is to live on lives on.

use super::graphs::{Plan, Sort, app_kind};
use super::spoke_tables::{Bench, child, remove, settled, task, words};
use super::world::instance_key;
use crate::api::keys::{hub, kro};
use crate::api::names::ObjectRef;
use crate::reconcile::spoke::tracked::Trouble;
use crate::reconcile::spoke::{Action, Apply, Machine, Outcome};
use crate::reconcile::world::KindState;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// `n0`, and `n1` that is to outlive its instance.
fn one_lives_on() -> Vec<Plan> {
    let mut plans = vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::ConfigMap)];
    plans[1].orphans = true;
    plans
}

fn n1() -> ObjectRef {
    child(Sort::ConfigMap, "n1")
}

fn is_let_go(bench: &Bench) -> bool {
    bench.server.object(&n1()).is_some_and(|o| o.label(kro::OWNED).is_none() && !o.is_deleting())
}

fn take_labels_off(bench: &mut Bench, labels: &[&str]) {
    let off: serde_json::Map<String, Value> =
        labels.iter().map(|label| ((*label).to_owned(), Value::Null)).collect();
    let patch = json!({"metadata": {"labels": off}});
    bench.server.merge_patch(&n1(), "somebody", false, &patch).unwrap();
    // What lost this label left what we watch.
    if labels.contains(&hub::HUB_ID) {
        bench.hidden.insert(n1());
    }
}

#[test]
fn what_is_to_live_on_does_so_whichever_of_our_labels_somebody_took_off() {
    let all = [hub::HUB_ID, kro::NODE_ID, kro::APPLYSET_PART_OF, kro::OWNED, kro::INSTANCE_ID];
    for off in [&[hub::HUB_ID][..], &[kro::NODE_ID], &[kro::APPLYSET_PART_OF], &all] {
        // Deleted with its instance, or pruned.
        for prune in [false, true] {
            let mut bench = settled(one_lives_on());
            take_labels_off(&mut bench, off);
            if prune {
                bench.redefine(vec![Plan::new("n0", Sort::ConfigMap)]);
            } else {
                bench.want(remove());
            }
            let rounds = bench.rounds().join("; ");
            assert!(rounds.contains("release n1") && !rounds.contains("delete n1"), "{off:?}: {rounds}");
            assert!(is_let_go(&bench), "{off:?}, pruned {prune}");
            assert_eq!(bench.last.gone, !prune, "{off:?}");
        }
    }
}

#[test]
fn no_annotation_lets_a_mirror_live_on() {
    let mut bench = settled(one_lives_on());
    let mirror = instance_key("app").object();
    let patch =
        json!({"metadata": {"annotations": {hub::ON_DELETE: "Orphan"}, "labels": {kro::NODE_ID: "n1"}}});
    bench.server.merge_patch(&mirror, "somebody", false, &patch).unwrap();
    bench.want(remove());
    bench.rounds();
    assert!(bench.last.gone && bench.server.get(&mirror).is_none());
}

/// Steps until this apply is wanted, and does all else.
fn until_apply(bench: &mut Bench, what: &str) -> Action {
    for _ in 0..20 {
        let mut found = None;
        for action in bench.step() {
            if words(std::slice::from_ref(&action)) == what {
                found = Some(action);
            } else {
                bench.perform(&action, None);
            }
        }
        if let Some(found) = found {
            return found;
        }
    }
    panic!("no {what}");
}

fn no_answer(bench: &mut Bench, apply: &Apply) {
    let failed = Outcome::ApplyFailed {
        object: apply.object.clone(),
        body: Arc::new(apply.body.clone()),
        trouble: Trouble::Contact,
        message: "timeout".into(),
        missing_namespace: None,
        unanswered: true,
    };
    bench.machine.feed(failed, &bench.now);
}

#[test]
fn what_was_let_go_while_a_write_of_it_had_no_answer_is_let_go_for_good() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.redefine(one_lives_on());
    let Action::Apply(apply) = until_apply(&mut bench, "apply n1") else { panic!() };
    // It was executed, and nobody heard of it.
    bench.server.apply(&apply.object, apply.manager, &apply.body).unwrap();
    no_answer(&mut bench, &apply);
    bench.redefine(vec![Plan::new("n0", Sort::ConfigMap)]);
    let rounds = bench.rounds().join("; ");
    assert!(rounds.contains("release n1") && is_let_go(&bench), "{rounds}");
    bench.hidden.insert(n1());
    for seconds in [1, 30, 61, 600] {
        bench.now.at = bench.now.at.after(Duration::from_secs(seconds));
        assert_eq!(bench.rounds(), [""; 0], "it is nobody's matter here any more");
    }
    // Nor is it deleted with the instance.
    bench.want(remove());
    assert_eq!(bench.rounds(), ["delete n0", "delete mirror"]);
    assert!(bench.last.gone && is_let_go(&bench));
}

#[test]
fn what_was_let_go_goes_again_where_a_late_write_brings_it_back() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.redefine(one_lives_on());
    let Action::Apply(apply) = until_apply(&mut bench, "apply n1") else { panic!() };
    let write =
        |bench: &mut Bench| drop(bench.server.apply(&apply.object, apply.manager, &apply.body).unwrap());
    write(&mut bench);
    no_answer(&mut bench, &apply);
    bench.redefine(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.rounds();
    assert!(is_let_go(&bench));
    write(&mut bench);
    assert!(!is_let_go(&bench));
    assert_eq!(bench.rounds(), ["release n1"]);
    assert!(is_let_go(&bench));
}

#[test]
fn a_removal_that_never_saw_a_mirror_asks_for_it_by_name_and_believes_no_list_alone() {
    let mirror = instance_key("app").object();
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.machine = Machine::new(task(remove(), "u1"));
    bench.hidden.insert(mirror.clone());
    assert_eq!(
        bench.rounds(),
        ["verify mirror", "list App"],
        "and nothing is deleted before it is known whose it is"
    );
    assert!(!bench.last.gone);
    assert!(bench.last.wake_at.is_some(), "it asks again");
    // The list is read once more, and shows it.
    bench.hidden.clear();
    assert_eq!(bench.rounds(), ["delete n0", "delete mirror"]);
    assert!(bench.last.gone && bench.server.get(&mirror).is_none());
}

#[test]
fn a_removal_where_there_is_no_mirror_costs_one_read() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.want(remove());
    bench.rounds();
    bench.machine = Machine::new(task(remove(), "u1"));
    assert_eq!(bench.rounds(), ["verify mirror"]);
    assert!(bench.last.gone);
    // Where the kind is not served, there is nothing to read.
    bench.machine = Machine::new(task(remove(), "u1"));
    bench.unlisted = vec![(app_kind(), KindState::Missing)];
    assert_eq!(bench.rounds(), [""; 0]);
    assert!(bench.last.gone);
}
