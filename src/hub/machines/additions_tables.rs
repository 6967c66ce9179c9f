//! What somebody adds to a mirror by hand: it stays there, and nothing is made of it.

use super::graphs::{Blueprint, NAMESPACE, Plan, Sort};
use super::spoke_tables::{Bench, child, run, wish};
use super::world::instance_key;
use crate::reconcile::spoke::{Goal, MirrorContent};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn blueprint() -> Arc<Blueprint> {
    let plans = vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::ConfigMap)];
    Blueprint::edited_by(plans, 1, |definition| {
        let spec = &mut definition["spec"];
        spec["schema"]["spec"]["host"] = json!("string");
        spec["schema"]["spec"]["size"] = json!("integer | default=3");
        spec["schema"]["spec"]["extra"] = json!("map[string]string");
        let data = &mut spec["resources"][0]["template"]["data"];
        data["size"] = json!("${string(schema.spec.size)}");
        data["extra"] = json!("${string(size(schema.spec.extra))}");
        data["team"] = json!("${string(has(schema.metadata.labels) && 'team' in schema.metadata.labels)}");
        spec["resources"][1]["includeWhen"] = json!(["${has(schema.spec.host)}"]);
    })
}

/// The instance on the hub says this.
fn say(bench: &mut Bench, spec: &Value, labels: &[(&str, &str)]) {
    let mut goal = run(&bench.blueprint.clone(), &wish());
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    if let Goal::Run { mirror, .. } = &mut goal {
        *mirror = Arc::new(MirrorContent::new(&labels, &BTreeMap::new(), spec, 1));
    }
    bench.want(goal);
    bench.rounds();
}

fn spec(host: Option<&str>) -> Value {
    let mut spec = json!({"x": "x", "flag": true, "items": ["a"], "extra": {"a": "b"}});
    if let Some(host) = host {
        spec["host"] = json!(host);
    }
    spec
}

/// What is made of the instance.
fn made(bench: &Bench) -> String {
    let n0 = bench.server.object(&child(Sort::ConfigMap, "n0")).unwrap();
    let text = |key: &str| n0.0["data"][key].as_str().unwrap_or_default().to_owned();
    let n1 = bench.server.object(&child(Sort::ConfigMap, "n1")).is_some();
    format!("size {} extra {} team {} n1 {n1}", text("size"), text("extra"), text("team"))
}

const PLAIN: &str = "size 3 extra 1 team false n1 false";

#[test]
fn what_somebody_adds_to_a_mirror_makes_nothing() {
    type Edit = fn(&mut Value);
    let edits: [(&str, Edit); 5] = [
        ("a field", |v| v["spec"]["host"] = json!("by-hand")),
        ("an entry of a map", |v| v["spec"]["extra"]["c"] = json!("d")),
        ("a value where the default counts", |v| v["spec"]["size"] = json!(7)),
        ("a field that only another revision knows", |v| v["spec"]["later"] = json!({"a": 1})),
        ("a label", |v| v["metadata"]["labels"]["team"] = json!("blue")),
    ];
    for (what, edit) in edits {
        for restarts in [false, true] {
            let mut bench = Bench::of(blueprint());
            say(&mut bench, &spec(None), &[]);
            assert_eq!(made(&bench), PLAIN, "{what}");
            bench.server.change(&instance_key("app").object(), "somebody", false, edit).unwrap();
            if restarts {
                bench.restart();
            }
            assert_eq!(bench.rounds(), [""; 0], "{what}");
            assert_eq!((made(&bench).as_str(), bench.report().0.as_str()), (PLAIN, "ACTIVE"), "{what}");
        }
    }
}

#[test]
fn what_the_hub_says_counts_and_what_it_says_no_more_does_not() {
    let mut bench = Bench::of(blueprint());
    let mirror = instance_key("app").object();
    for others in [false, true] {
        say(&mut bench, &spec(Some("a")), &[("team", "blue")]);
        assert_eq!(made(&bench), "size 3 extra 1 team true n1 true");
        if others {
            // Somebody says the same, so that it stays when the hub takes it back.
            let same = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App", "spec": {"host": "a"},
                "metadata": {"name": "app", "namespace": NAMESPACE, "labels": {"team": "blue"}}});
            bench.server.apply(&mirror, "somebody", &same).unwrap();
        }
        say(&mut bench, &spec(None), &[]);
        assert_eq!((made(&bench).as_str(), bench.report().0.as_str()), (PLAIN, "ACTIVE"), "{others}");
    }
}
