//! What people ask on the command line, of a fleet where one cluster is dead to them and one forbidden.

use super::Run;
use super::stand::{Kind, PATIENCE, Stand, parse};
use crate::env::contexts::Contexts;
use crate::env::controller::binary;
use crate::env::eventually;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

pub const TRIALS: &[Run] = &[
    ("people::a_broken_instance_is_traced_down_to_the_reason", traced),
    ("people::mistakes_are_told_in_a_sentence_and_cost_one", mistaken),
    ("people::a_thousand_instances_are_shown_in_a_second", many),
];

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A person whose contexts are named like the clusters; `ap` is dead to them, and on `us` they may do nothing.
pub struct Person {
    pub kubeconfig: PathBuf,
    namespace: String,
}

impl Person {
    pub fn new(stand: &Stand, namespace: &str) -> Result<Self> {
        let mut contexts = Contexts::new(namespace);
        let mut add = |name: &str, of: &str, change: &dyn Fn(&mut Value, &mut Value)| {
            contexts.add(name, stand.env.kubeconfig(of), change)
        };
        add("hub", "hub", &|_, _| ())?;
        add("eu", "eu", &|_, _| ())?;
        add("us", "us", &|_, user| user["as"] = json!("nobody"))?;
        add("us-admin", "us", &|_, _| ())?;
        add("ap", "ap", &|cluster, _| cluster["server"] = json!("https://127.0.0.1:1"))?;
        add("stranger", "hub", &|_, user| user["as"] = json!("nobody"))?;
        let kubeconfig = stand.env.dir().join(format!("{namespace}.kubeconfig"));
        contexts.write(&kubeconfig)?;
        Ok(Self { kubeconfig, namespace: namespace.to_owned() })
    }

    pub fn says(&self, line: &str) -> Result<Said> {
        let output = Command::new(binary()?)
            .args(line.split_whitespace())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NO_COLOR")
            .output()?;
        Ok(Said {
            code: output.status.code().context("it was killed")?,
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Exit code 0, and standard output has all of this.
    pub fn shows(&self, line: &str, parts: &[&str]) -> Result<String> {
        let said = self.says(line)?;
        ensure!(said.code == 0, "{line}: {said:?}");
        for part in parts {
            ensure!(said.out.contains(part), "{line} lacks {part:?}:\n{}\n{}", said.out, said.err);
        }
        Ok(said.out)
    }
}

fn define<'a>(stand: &'a Stand, name: &str, kind: &str) -> Result<Kind<'a>> {
    stand.define(&format!(
        r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: {name}}}
spec:
  schema: {{apiVersion: v1alpha1, kind: {kind}, spec: {{port: 'integer | default=80'}}}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{schema.metadata.name}}'}}
      data: {{a: b}}
  - id: service
    template:
      apiVersion: v1
      kind: Service
      metadata: {{name: '${{config.metadata.name}}'}}
      spec: {{ports: [{{port: '${{schema.spec.port}}'}}]}}
  - id: after
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{service.metadata.name}}-after'}}
"#
    ))
}

fn traced(stand: &Stand) -> Result<()> {
    let kind = define(stand, "people", "Guest")?;
    let person = Person::new(stand, "people")?;
    kind.create("good", "eu,us,ap", "{}")?;
    kind.create("bad", "eu", "{port: 70000}")?;
    kind.wait_active("good", &["ap", "eu", "us"])?;
    kind.wait_reason("bad", "NotReady")?;
    let refused = "must be between 1 and 65535";

    person.shows(
        "get guests",
        &[
            "INSTANCE    READY  REV  AP  EU  US",
            "guest/bad   0/1    1    ·   ✗   ·",
            "guest/good  3/3    1    ✓   ✓   ✓",
            refused,
        ],
    )?;
    let problems = person.shows("get -A --problems", &["guest/bad", refused])?;
    ensure!(!problems.contains("guest/good"), "{problems}");
    person.shows("get clusters", &["NAME", "eu    ✓"])?;
    person.shows("get definitions people", &["Guest.kro.run", "✓ Active"])?;

    // Down to the reason: the node that the API server refused, and the one that waits for it.
    person.shows(
        "trace guest/bad",
        &[
            "✗ eu",
            "✓ config   ConfigMap/bad",
            "✗ service  Service/bad",
            refused,
            "- after",
            "waits",
            "<- service",
            "eu by your contexts",
        ],
    )?;
    // A dead and a forbidden cluster cost their own lines.
    let begun = Instant::now();
    let tree = person.shows(
        "trace guest good --all",
        &[
            "Guest people/good   ACTIVE",
            "3/3 clusters",
            "✓ eu",
            "✓ service  Service/good",
            "you may not get namespaces",
            "https://127.0.0.1:1 cannot be reached",
            "ap, us by the hub",
        ],
    )?;
    ensure!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    ensure!(tree.matches("Service/good").count() == 1, "{tree}");
    let hub = person.shows("trace guest good --from hub", &["ap, eu, us by the hub"])?;
    ensure!(!hub.contains("Service/good") && !hub.contains("not read there"), "{hub}");
    // The hub's own credentials reach them.
    let all = person.shows("trace guest good --all --hub-credentials", &["with the hub's credentials"])?;
    ensure!(all.matches("Service/good").count() == 3, "{all}");
    // A context that leads elsewhere is not believed.
    person.shows(
        "trace guest good --all --spoke-context us=eu",
        &["eu leads to another cluster than Cluster us"],
    )?;

    let json: Value = serde_json::from_str(&person.shows("trace guest/bad -o json", &[])?)?;
    ensure!(json["kind"] == "Trace" && json["clusters"][0]["nodes"][1]["mark"] == "failed", "{json}");
    let json: Value = serde_json::from_str(&person.shows("get guests -o json", &[])?)?;
    ensure!(json["kind"] == "FleetTable" && json["summary"]["failed"] == 1, "{json}");
    person.shows("trace guest/bad -o mermaid", &["flowchart TD", "classDef failed"])?;
    person.shows("trace guest/bad -o svg", &["<svg", "failed"])?;
    person.shows("trace guest/bad -o dot", &["digraph"])?;

    person.shows("explain guest/good", &["eu  chosen by annotation hub.kro.run/clusters"])?;
    person.shows("wait guest/good --timeout 20s", &["eu ACTIVE 3/3"])?;
    person.shows("wait guest/bad --for ResourcesReady=False", &[])?;
    person.shows("events guest/good", &[])?;
    let names = person.shows("__complete get guest/", &["guest/bad", "guest/good", ":4"])?;
    ensure!(!names.contains("clusters"), "{names}");

    let failed = person.says("wait guest/bad --fail-fast --timeout 20s")?;
    ensure!(failed.code == 1 && failed.err.contains("guest/bad failed on eu"), "{failed:?}");
    let late = person.says("wait guest/bad --timeout 1s")?;
    ensure!(late.code == 1 && late.err.contains("is not active after 1 s"), "{late:?}");
    kind.remove("bad")?;
    person.shows("wait guest/bad --for deleted", &[])?;
    kind.remove("good")
}

fn mistaken(stand: &Stand) -> Result<()> {
    let kind = define(stand, "mistakes", "Mistake")?;
    let person = Person::new(stand, "mistakes")?;
    kind.create("shop", "eu", "{}")?;
    kind.wait_active("shop", &["eu"])?;
    for (line, expect) in [
        ("get mistaks", "no definition generates \"mistaks\"; did you mean mistakes (Mistake.kro.run)?"),
        (
            "trace mistake/shop -n default",
            "mistake/shop is not in namespace default of context hub; it is in: mistakes",
        ),
        (
            "trace mistake/shoq",
            "mistake/shoq is not in namespace mistakes of context hub; did you mean \"shop\"?",
        ),
        ("get clusters nope", "there is no cluster \"nope\""),
        ("get mistakes --context eu", "context eu serves no clusters.hub.kro.run"),
        (
            "get mistakes --context nope",
            "the kubeconfig has no context \"nope\"; it has: hub, eu, us, us-admin, ap, stranger",
        ),
        ("get mistakes --context ap", "https://127.0.0.1:1 cannot be reached (connect)"),
        (
            "get mistakes --context stranger",
            "you may not list resourcegraphdefinitions.kro.run; ask for ClusterRole kro-hub-view",
        ),
        (
            "get mistakes --as nobody",
            "you may not list resourcegraphdefinitions.kro.run; ask for ClusterRole kro-hub-view",
        ),
        ("approve mistake/shop", "mistake/shop waits for no approval: no rollout moves it"),
        ("trace mistake", ""),
        (
            "trace mistake/shop -o svg --from hub",
            "no cluster of it could be read, so there is nothing to draw",
        ),
        ("explain mistake/shop --as-group x", "--as-group needs --as"),
    ] {
        let said = person.says(line)?;
        let code = i32::from(!expect.is_empty());
        ensure!(said.code == code && said.err.contains(expect), "{line}: {said:?}");
        ensure!(code == 0 || said.out.is_empty(), "{line}: {said:?}");
    }
    // What Git takes is what is created.
    let placements = format!("/apis/hub.kro.run/v1alpha1/namespaces/{}/placements", person.namespace);
    let staged = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Placement",
        "metadata": {"name": "staged", "namespace": person.namespace},
        "spec": {"instances": {"kind": kind.kind}, "rollout": {"stages": [{"name": "prod", "approval": true}]}}});
    stand.api("hub").post(&placements, &staged)?;
    eventually(PATIENCE, "its rollout is told", || {
        let said = person.says("approve mistake/shop --stage prod --version 1 -o yaml")?;
        ensure!(said.code == 0, "{said:?}");
        Ok(())
    })?;
    let printed =
        person.shows("approve mistake/shop --stage prod --version 1 -o yaml", &["name: shop-1-prod"])?;
    person
        .shows("approve mistake/shop --stage prod --version 1", &["rolloutapproval/shop-1-prod created"])?;
    person.shows("approve mistake/shop --stage prod --version 1", &["is there already"])?;
    let path =
        format!("/apis/hub.kro.run/v1alpha1/namespaces/{}/rolloutapprovals/shop-1-prod", person.namespace);
    let stored = stand.api("hub").get(&path)?.context("it was created")?;
    ensure!(stored["spec"] == parse(&printed)?["spec"], "{stored}");
    stand.api("hub").delete(&path)?;
    stand.api("hub").delete(&format!("{placements}/staged"))?;
    kind.remove("shop")
}

fn many(stand: &Stand) -> Result<()> {
    const COUNT: usize = 1_000;
    let kind = define(stand, "crowds", "Crowd")?;
    let person = Person::new(stand, "crowds")?;
    kind.create("first", "nowhere", "{}")?;
    let body = |n: usize| {
        json!({"apiVersion": "kro.run/v1alpha1", "kind": "Crowd", "spec": {},
            "metadata": {"name": format!("c-{n}"), "annotations": {"hub.kro.run/clusters": "nowhere"}}})
    };
    let bodies: Vec<Value> = (1..COUNT).map(body).collect();
    stand.api("hub").post_all(&kind.collection(), &bodies, 16)?;
    eventually(PATIENCE * 4, "all have a status", || {
        let shown = person.shows("get crowds -o json", &[])?;
        let table: Value = serde_json::from_str(&shown)?;
        ensure!(table["summary"]["unreachable"] == COUNT, "{}", table["summary"]);
        Ok(())
    })?;
    // The best of three: what else the machine does is not meant. A build for tests is slower by far.
    let most = Duration::from_millis(if cfg!(debug_assertions) { 4_000 } else { 1_000 });
    let mut took = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        person.shows("get crowds", &["1000 instances on"])?;
        took.push(begun.elapsed());
    }
    let best = took.iter().min().copied().unwrap_or_default();
    eprintln!("get of {COUNT} instances: {took:?}");
    ensure!(best <= most, "{took:?}");
    eventually(PATIENCE * 4, "all are gone", || {
        // A busy server answers late, and goes on all the same.
        drop(stand.api("hub").delete(&kind.collection()));
        let left = stand.api("hub").list(&kind.collection())?.len();
        ensure!(left == 0, "{left} are left");
        Ok(())
    })
}
