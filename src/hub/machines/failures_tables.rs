//! What fails for as long as one looks: it is asked for ever less, however often something else gives reason to look.

use super::api_server::namespace_kind;
use super::graphs::{NAMESPACE, Plan, Sort};
use super::spoke_tables::{Bench, remove, settled, words};
use super::wire::Fault;
use crate::api::names::ObjectRef;
use std::time::Duration;

/// Requests in each of ten minutes, if what these words name fails all the time, and something looks every so many
/// milliseconds.
fn requests(mut bench: Bench, fails: &str, look: usize) -> Vec<usize> {
    let (begun, mut counts) = (bench.now.at, vec![0; 10]);
    for millis in (0..600_000_u64).step_by(look) {
        bench.now.at = begun.after(Duration::from_millis(millis));
        loop {
            let actions = bench.step();
            if actions.is_empty() {
                break;
            }
            for action in &actions {
                counts[usize::try_from(millis / 60_000).unwrap()] += 1;
                let failing = words(std::slice::from_ref(action)) == fails;
                bench.perform(action, failing.then_some(Fault::Error));
            }
        }
    }
    counts
}

#[test]
fn a_failure_that_lasts_is_asked_for_ever_less() {
    let plans = || vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::ConfigMap)];
    type Stage = fn(Vec<Plan>) -> Bench;
    let homeless: Stage = |plans| {
        let mut bench = Bench::new(plans);
        bench.server.delete(&ObjectRef::new(namespace_kind(), "", NAMESPACE), None).unwrap();
        bench
    };
    let leaving: Stage = |plans| {
        let mut bench = settled(plans);
        bench.want(remove());
        bench
    };
    let cases: [(&str, Stage, &str); 5] = [
        ("403, or a dead webhook, on a child", Bench::new, "apply n0"),
        ("the same on the mirror", Bench::new, "apply mirror"),
        ("the namespace cannot be made", homeless, "namespace apps"),
        ("the status is refused", Bench::new, "status"),
        ("a child cannot be deleted", leaving, "delete n0"),
    ];
    for (what, stage, fails) in cases {
        for look in [250, 5_000] {
            let counts = requests(stage(plans()), fails, look);
            assert!(counts[0] >= 3, "{what}, looked at every {look} ms: nothing is tried: {counts:?}");
            assert!(counts[0] <= 24, "{what}, looked at every {look} ms: {counts:?}");
            let later = counts[1..].windows(2).all(|pair| pair[1] <= pair[0] + 1);
            assert!(later && counts[9] <= 4, "{what}, looked at every {look} ms: {counts:?}");
        }
    }
}
