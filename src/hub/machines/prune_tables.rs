//! What an instance does not want any more, of kinds that cannot be looked at.

use super::graphs::{Plan, Sort};
use super::spoke_tables::{Bench, child, settled};
use super::world::instance_key;
use crate::reconcile::world::KindState;
use serde_json::{Value, json};
use std::time::Duration;

fn plans() -> Vec<Plan> {
    vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n3", Sort::Zone)]
}

/// An instance that wants the Zone no more, while the kind is like this.
fn without_zone(state: KindState) -> Bench {
    let mut bench = settled(plans());
    bench.unlisted = vec![(Sort::Zone.gk(), state)];
    bench.redefine(plans()[..1].to_vec());
    bench
}

#[test]
fn an_instance_is_not_ready_while_what_may_be_left_of_it_cannot_be_listed() {
    for restarts in [false, true] {
        let mut bench = without_zone(KindState::Failed("this hub may not list it".into()));
        bench.rounds();
        if restarts {
            bench.restart();
            bench.rounds();
        }
        let (state, message) = bench.report();
        assert_eq!(state, "ERROR");
        let want = "prune of Zone.example.com waits: this hub may not list it";
        assert!(message.contains(want), "{message}");
        assert!(bench.server.object(&child(Sort::Zone, "n3")).is_some(), "nothing is taken for gone");
        bench.unlisted.clear();
        let rounds = bench.rounds();
        assert!(rounds.contains(&"delete n3".to_owned()), "{rounds:?}");
        assert_eq!(bench.report(), ("ACTIVE".into(), String::new()));
    }
}

#[test]
fn a_restart_waits_for_the_list_of_what_may_be_left_and_says_so_where_that_lasts() {
    let mut bench = without_zone(KindState::Failed("this hub may not list it".into()));
    bench.rounds();
    let mirror = instance_key("app").object();
    let status = |bench: &Bench| bench.server.object(&mirror).unwrap().0["status"].clone();
    let before: Value = status(&bench);
    bench.restart();
    bench.unlisted = vec![(Sort::Zone.gk(), KindState::Syncing)];
    let begun = bench.now.at;
    let silent = |bench: &mut Bench| {
        bench.round();
        bench.last.report.is_none()
    };
    while silent(&mut bench) && bench.now.at.since(begun) < Duration::from_secs(600) {
        bench.now.at = bench.now.at.after(Duration::from_secs(1));
    }
    assert!(bench.now.at.since(begun) >= Duration::from_secs(10));
    let (state, message) = bench.report();
    assert_eq!(state, "IN_PROGRESS");
    assert!(message.contains("waiting for the first list of Zone.example.com"), "{message}");
    assert_eq!(status(&bench), before, "what was written stands");
}

#[test]
fn a_settled_status_stands_while_a_kind_without_resources_is_listed_anew() {
    // The node is left out, and its kind may hold something all the same.
    let mut zone = Plan::new("n3", Sort::Zone);
    zone.flagged = true;
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap), zone]);
    let unflagged = super::graphs::Wish { flag: false, ..super::spoke_tables::wish() };
    bench.want(super::spoke_tables::run(&bench.blueprint.clone(), &unflagged));
    bench.rounds();
    assert_eq!(bench.report(), ("ACTIVE".into(), String::new()));
    for state in [KindState::Unknown, KindState::Syncing, KindState::Missing] {
        bench.unlisted = vec![(Sort::Zone.gk(), state.clone())];
        bench.round();
        assert_eq!(bench.report(), ("ACTIVE".into(), String::new()), "{state:?}");
    }
    let status = bench.server.object(&instance_key("app").object()).unwrap();
    assert_eq!(status.0["status"]["state"], json!("ACTIVE"));
}
