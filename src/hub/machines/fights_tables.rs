//! Objects that do not come to rest, step by step: they are written ever more slowly, and the instance says why.

use super::graphs::{Blueprint, Outside, Plan, Sort, Wish};
use super::spoke_tables::{Bench, child, run, settled, wish};
use super::world::instance_key;
use crate::reconcile::Moment;
use crate::reconcile::world::{Looked, Stored};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const TEN_MINUTES: Duration = Duration::from_secs(600);
/// Writes of one object that ten minutes may see.
const BOUND: usize = 24;

/// When each thing was written.
type Times = BTreeMap<String, Vec<Moment>>;

/// Lets something move whenever all that may be written is written. Says what was said last.
fn contest(
    bench: &mut Bench,
    span: Duration,
    mut moves: impl FnMut(&mut Bench),
) -> (Times, (String, String)) {
    let (end, mut times, mut said) = (bench.now.at.after(span), Times::new(), None);
    while bench.now.at < end {
        moves(bench);
        let now = bench.now.at;
        for round in bench.rounds() {
            for write in round.split("; ").filter(|w| w.starts_with("apply")) {
                times.entry(write.to_owned()).or_default().push(now);
            }
        }
        let report = bench.report();
        if said.as_ref().is_some_and(|(state, _): &(String, String)| state == "ERROR") {
            assert_ne!(report.0, "ACTIVE", "what is fought over is not well in between: {said:?}");
        }
        if bench.last.held.is_empty() {
            bench.now.at = bench.now.at.after(Duration::from_millis(10));
            continue;
        }
        for held in &bench.last.held {
            assert!(report.1.contains(&held.to_string()), "{held}: {}", report.1);
        }
        said = Some(report);
        bench.now.at = bench.last.wake_at.unwrap();
    }
    (times, said.unwrap())
}

fn reason(bench: &Bench) -> String {
    let report = bench.last.report.as_ref().unwrap();
    report.conditions.iter().find(|c| c.type_ == "ResourcesReady").unwrap().reason.clone()
}

fn bounded(times: &Times) {
    for (write, times) in times {
        for (index, start) in times.iter().enumerate() {
            let within = times[index..].iter().take_while(|t| **t < start.after(TEN_MINUTES)).count();
            assert!(within <= BOUND, "{write}: {within} times in ten minutes: {times:?}");
        }
    }
}

/// What is there is as wanted, and a minute after it was written all is well.
fn rests(bench: &mut Bench, case: &str) {
    bench.now.at = bench.now.at.after(TEN_MINUTES);
    bench.rounds();
    bench.now.at = bench.now.at.after(Duration::from_millis(60_000));
    bench.rounds();
    assert_eq!(bench.report(), ("ACTIVE".into(), String::new()), "{case}");
}

#[test]
fn what_others_move_is_written_ever_more_slowly_and_named() {
    let n0 = child(Sort::ConfigMap, "n0");
    let mirror = instance_key("app").object();
    type Moves = Box<dyn FnMut(&mut Bench)>;
    let (a, b, c, d) = (n0.clone(), n0.clone(), mirror.clone(), mirror);
    let cases: [(&str, Moves, &str); 5] = [
        (
            "deletes",
            Box::new(move |bench| drop(bench.server.delete(&a, None))),
            "ConfigMap apps/app-n0: is deleted again and again; written",
        ),
        (
            "takes the labels off",
            Box::new(move |bench| {
                drop(bench.server.change(&b, "x", false, |v| {
                    v["metadata"].as_object_mut().unwrap().remove("labels");
                }));
            }),
            "ConfigMap apps/app-n0: ",
        ),
        (
            "deletes the mirror",
            Box::new(move |bench| drop(bench.server.delete(&c, None))),
            "App.kro.run apps/app: is deleted again and again; written",
        ),
        (
            "changes the mirror",
            Box::new(move |bench| {
                drop(bench.server.change(&d, "x", false, |v| v["spec"]["x"] = json!("other")));
            }),
            "App.kro.run apps/app: field spec.x is changed again and again by x",
        ),
        (
            "changes one field, while others write others",
            Box::new(move |bench| {
                let n = bench.now.at.as_millis().to_string();
                drop(bench.server.change(&n0, "fighter", false, |v| v["data"]["x"] = json!(n)));
                drop(bench.server.change(&n0, "bystander", false, |v| v["data"]["seen"] = json!(n)));
            }),
            "ConfigMap apps/app-n0: field data.x is changed again and again by fighter",
        ),
    ];
    for (case, moves, want) in cases {
        let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
        let (times, (state, message)) = contest(&mut bench, 3 * TEN_MINUTES, moves);
        assert_eq!((state.as_str(), reason(&bench).as_str()), ("ERROR", "Contested"), "{case}: {message}");
        assert!(message.contains(want), "{case}: {message}");
        bounded(&times);
        // Whoever did it stops: what is there is as wanted, and a minute later all is well.
        rests(&mut bench, case);
    }
}

#[test]
fn what_a_person_wants_is_written_at_once_in_the_middle_of_a_fight() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    let n0 = child(Sort::ConfigMap, "n0");
    let target = n0.clone();
    contest(&mut bench, TEN_MINUTES, move |bench| drop(bench.server.delete(&target, None)));
    bench.rounds();
    drop(bench.server.delete(&n0, None));
    assert_eq!(bench.rounds(), [""; 0]);
    let edited = Wish { x: "edited".into(), ..wish() };
    bench.want(run(&bench.blueprint.clone(), &edited));
    assert_eq!(bench.rounds(), ["apply mirror", "apply n0"]);
    assert_eq!(bench.report().0, "ACTIVE");
}

/// What is read says this.
fn show(bench: &mut Bench, value: &str) {
    let stored = Arc::new(Stored::new(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "s", "namespace": "apps"}, "data": {"value": value}})));
    for lookup in bench.last.reads.clone() {
        bench.lookups.insert(lookup, Looked::Found(vec![stored.clone()]));
    }
}

/// `copy` follows what is read, as the edit of the definition says.
fn follower(edit: fn(&mut Value)) -> Bench {
    let plans = vec![
        Plan::new("n0", Sort::ConfigMap),
        Plan::new("read", Sort::ConfigMap).outside(Outside::Named),
        Plan::new("copy", Sort::ConfigMap).reading(&["read"]),
    ];
    let mut bench = Bench::of(Blueprint::edited_by(plans, 1, edit));
    bench.rounds();
    show(&mut bench, "v0");
    bench.rounds();
    assert_eq!(bench.report().0, "ACTIVE");
    bench
}

#[test]
fn what_our_own_writes_move_is_named_with_the_field_that_moves() {
    type Case = (&'static str, fn(&mut Value), &'static str);
    let cases: [Case; 3] = [
        (
            "content",
            |_| {},
            "ConfigMap apps/app-copy: field data.read changes with each of our own writes; written",
        ),
        (
            "names",
            |d| {
                d["spec"]["resources"][2]["template"]["metadata"]["name"] =
                    json!("${schema.metadata.name}-${read.data.value}");
            },
            "the names of its objects change again and again; replaced",
        ),
        (
            "whether it is there",
            |d| d["spec"]["resources"][2]["includeWhen"] = json!(["${read.data.value != 'v1'}"]),
            "ConfigMap apps/app-copy: is made and removed again and again by the definition itself; written",
        ),
    ];
    for (case, edit, want) in cases {
        let mut bench = follower(edit);
        let mut turn = 0;
        let (times, (state, message)) = contest(&mut bench, 3 * TEN_MINUTES, |bench| {
            if bench.last.held.is_empty() {
                turn = if case == "whether it is there" { 1 - turn } else { turn + 1 };
                show(bench, &format!("v{turn}"));
            }
        });
        assert!(message.contains(want), "{case}: {message}");
        assert_eq!((state.as_str(), reason(&bench).as_str()), ("ERROR", "Restless"), "{case}");
        bounded(&times);
        // It comes to rest.
        rests(&mut bench, case);
    }
}

#[test]
fn a_status_that_moves_is_written_at_most_once_a_minute_in_the_end() {
    let mut bench = follower(|d| d["spec"]["schema"]["status"]["first"] = json!("${read.data.value}"));
    let (mut times, mut turn) = (Vec::new(), 0);
    let end = bench.now.at.after(TEN_MINUTES);
    while bench.now.at < end {
        turn += 1;
        show(&mut bench, &format!("v{turn}"));
        for _ in 0..6 {
            let round = bench.round();
            times.extend(round.contains("status").then_some(bench.now.at));
        }
        bench.now.at = bench.now.at.after(Duration::from_millis(500));
    }
    assert!(times.len() <= 45, "{}", times.len());
    show(&mut bench, "last");
    bench.now.at = bench.now.at.after(Duration::from_millis(120_000));
    bench.rounds();
    bench.now.at = bench.now.at.after(Duration::from_millis(120_000));
    bench.rounds();
    let mirror = bench.server.object(&instance_key("app").object()).unwrap();
    assert_eq!(mirror.str_at("/status/first"), "last");
}

#[test]
fn a_collection_that_grows_is_made_at_once() {
    let mut plan = Plan::new("n1", Sort::ConfigMap);
    plan.each = true;
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap), plan]);
    let items = (0..200).map(|i| format!("i{i}")).collect();
    bench.want(run(&bench.blueprint.clone(), &Wish { items, ..wish() }));
    bench.rounds();
    assert_eq!(bench.report().0, "ACTIVE");
}
