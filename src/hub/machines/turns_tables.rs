//! Which instances are looked at when a cluster changes: those that it may concern, however many there are besides.

use super::graphs::{Blueprint, NAMESPACE, Plan, Sort, app_kind};
use super::hub_side::HubSide;
use crate::api::keys::{hub, kro};
use crate::api::names::{ClusterName, HubId};
use crate::reconcile::{Moment, Now};
use crate::spoke::watch::Listed;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const SILENT: usize = 50;

fn instance(name: &str, annotations: Value, labels: Value) -> Value {
    json!({"apiVersion": "kro.run/v1alpha1", "kind": "App", "spec": {"x": "x"}, "metadata": {
        "name": name, "namespace": NAMESPACE, "uid": name, "generation": 1, "resourceVersion": "1",
        "finalizers": [kro::FINALIZER], "annotations": annotations, "labels": labels}})
}

/// Everybody who wants to be looked at is, also who has to wait since the last look took long. Who that was.
fn rest(hub: &mut HubSide, now: &mut Now) -> BTreeSet<String> {
    let mut looked_at = BTreeSet::new();
    while hub.instances.queue_length() > 0 {
        looked_at.extend(hub.instances.step_next(now).map(|key| key.name.to_string()));
        if !hub.instances.has_work(now.at) {
            now.at = now.at.after(Duration::from_millis(100));
        }
    }
    hub.take_effects();
    looked_at
}

#[test]
fn a_change_of_a_cluster_makes_those_step_that_it_may_concern() {
    let [local, a, b, c] = ["local", "a", "b", "c"].map(ClusterName::new);
    let clusters = [(local.clone(), "hub"), (a.clone(), "eu"), (b.clone(), "eu"), (c.clone(), "us")];
    let graph = Blueprint::new(vec![Plan::new("n0", Sort::ConfigMap)], 1).graph.clone();
    let mut side = HubSide::new(1, HubId::new("hub-1"), graph, &clusters);
    let mut now = Now { at: Moment::from_millis(1_000), rfc3339: "2026-01-01T00:00:01Z".into() };
    let on = |words: &str, holds: &str| json!({hub::CLUSTERS: words, hub::HOLDS: holds});
    let mut all = vec![
        instance("on-a", on("a", "a"), json!({})),
        instance("on-b", on("b", "b"), json!({})),
        instance("on-a-and-b", on("a,b", "a,b"), json!({})),
        // It went from there, and something may be left.
        instance("was-on-a", on("b", "a,b"), json!({})),
        instance("everywhere", on("*", "a,b,c"), json!({})),
        instance("in-us", json!({hub::CLUSTER_SELECTOR: "tier=us", hub::HOLDS: "c"}), json!({})),
        instance("on-mars", on("mars", ""), json!({})),
    ];
    all.extend((0..SILENT).map(|n| instance(&format!("silent-{n}"), json!({}), json!({}))));
    side.instances.seen(&app_kind(), Listed::Started);
    for value in all {
        side.instances.seen(&app_kind(), Listed::Object(value));
    }
    side.instances.seen(&app_kind(), Listed::Done(1));
    for name in [&local, &a, &b, &c] {
        side.contact(name, true, &now);
    }
    // A second look finds that nothing follows from the first.
    for _ in 0..3 {
        rest(&mut side, &mut now);
        now.at = now.at.after(Duration::from_secs(60));
        side.instances.wake_due(now.at);
    }
    let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<String>>();
    let of_a = names(&["on-a", "on-a-and-b", "was-on-a", "everywhere"]);
    side.contact(&a, false, &now);
    assert_eq!(rest(&mut side, &mut now), of_a, "contact is lost");
    side.contact(&a, true, &now);
    assert_eq!(rest(&mut side, &mut now), of_a, "and is back");
    side.contact(&c, false, &now);
    assert_eq!(rest(&mut side, &mut now), names(&["everywhere", "in-us"]));
    // Whose words select may be concerned by another label, whatever they select.
    side.relabelled(&c, "eu");
    assert_eq!(rest(&mut side, &mut now), names(&["everywhere", "in-us"]));
    side.registered(&ClusterName::new("mars"), "red");
    assert_eq!(rest(&mut side, &mut now), names(&["everywhere", "in-us", "on-mars"]));
    // How the hub is matters to who is there.
    side.contact(&local, false, &now);
    let silent: BTreeSet<String> = (0..SILENT).map(|n| format!("silent-{n}")).collect();
    assert_eq!(rest(&mut side, &mut now), silent);
}
