//! Many kinds and many definitions: what it costs to know them, and what is asked at rest.
//!
//! 900 CRDs in 90 groups, as two cloud operators bring them, on the hub and on two spokes; then 60 definitions of such kinds,
//! of Kubernetes' own, and of each other, applied one after the other. Some of them are refused. An instance of each of the
//! others goes to both spokes.

use super::results::{Results, Run};
use super::site::Variant;
use super::stages::{Plan, percentiles};
use super::usage::Usage;
use super::workload::{NAMESPACE, RGDS};
use crate::env::api::Api;
use crate::env::controller::{Controller, Options};
use crate::env::{Environment, Programs, eventually};
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const SPOKES: [&str; 2] = ["spoke-1", "spoke-2"];
const GROUPS: usize = 90;
const KINDS_OF_A_GROUP: usize = 10;
const KINDS: usize = GROUPS * KINDS_OF_A_GROUP;
/// Fields of the smallest kind: a CRD of 20 KB. The largest has three times as many.
const FIELDS: usize = 40;
const DEFINITIONS: usize = 60;
/// Every so many definitions, one is refused: for a field that is not there, or for a kind that nobody serves.
const REFUSED_EACH: usize = 10;
const PATIENCE: Duration = Duration::from_secs(240);
/// What follows a change for a while is no rest.
const SETTLE: Duration = Duration::from_secs(45);

/// Documents of OpenAPI for each definition, on all clusters together: the index and the group's own on the hub, and once
/// more what changed meanwhile. Spokes that serve the same ask for little.
pub const DOCUMENTS_EACH: f64 = 6.0;
/// Requests a second of the controller at rest, to all API servers, watches and the lease among them.
pub const AT_REST: f64 = 2.0;

pub fn run(dir: &Path, plan: &Plan, run: usize, results: &mut Results) -> Result<()> {
    let names: Vec<&str> = std::iter::once("hub").chain(SPOKES).collect();
    let env = Environment::start_with(dir, &names, Programs::ServerOnly)?;
    let begun = Instant::now();
    install_kinds(&env, &names)?;
    println!("  {KINDS} CRDs on {} clusters in {:.0} s", names.len(), begun.elapsed().as_secs_f64());
    let controller = Controller::start(&env, Options::default())?;
    let done = measure(&env, &controller, plan, results.run(Variant::Crds.name(), run));
    results.write()?;
    done.with_context(|| format!("the controller's log ends with:\n{}\n", controller.log_tail(6)))
}

fn measure(env: &Environment, controller: &Controller, plan: &Plan, run: &mut Run) -> Result<()> {
    let usage = || Usage::of(&[controller.pid()]);
    run.set("alone_mib", usage()?.resident_mib);
    for spoke in SPOKES {
        let begun = Instant::now();
        env.register("hub", spoke, &[])?;
        env.wait_cluster_ready("hub", spoke, PATIENCE)?;
        let (seconds, used) = (begun.elapsed().as_secs_f64(), usage()?);
        run.set(&format!("connect_{spoke}_s"), seconds);
        run.set(&format!("connected_{spoke}_peak_mib"), used.peak_mib);
        println!(
            "  {spoke} Ready after {seconds:.2} s; {:.0} MiB, at most {:.0}",
            used.resident_mib, used.peak_mib
        );
    }
    let hub = env.api("hub");
    hub.post("/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}}))?;
    run.set("crds", KINDS as f64);
    run.set("definitions", DEFINITIONS as f64);

    let times = define(hub)?;
    println!("  {DEFINITIONS} definitions; to Active: {}", percentiles(run, "to_active", &times));
    let defined = Figures::read(controller)?;
    println!("  until then: {}", defined.told());
    instantiate(hub)?;
    sleep(SETTLE);
    let before = Figures::read(controller)?;
    println!("  with an instance of each on {} spokes: {}", SPOKES.len(), before.told());
    run.set("schema_mb", before.bytes / 1e6);
    run.set("schema_documents", before.documents);
    run.set("schema_documents_per_definition", before.documents / DEFINITIONS as f64);
    run.set("requests", before.sum());
    run.set("peak_mib", Usage::of(&[controller.pid()])?.peak_mib);

    let rest = Duration::from_secs(plan.crds_rest_seconds);
    sleep(rest);
    let after = Figures::read(controller)?;
    let each = (after.sum() - before.sum()) / rest.as_secs_f64();
    run.set("rest_requests_per_s", each);
    run.set("rest_schema_documents", after.documents - before.documents);
    run.set("rest_mib", usage()?.resident_mib);
    println!("  at rest for {} s: {each:.2} requests/s: {}", rest.as_secs(), after.since(&before));
    ensure!(
        before.documents <= DOCUMENTS_EACH * DEFINITIONS as f64,
        "{} documents of OpenAPI for {DEFINITIONS} definitions; {DOCUMENTS_EACH} for each are enough",
        before.documents
    );
    ensure!(each <= AT_REST, "{each:.2} requests a second at rest; {AT_REST} are enough");
    Ok(())
}

fn install_kinds(env: &Environment, names: &[&str]) -> Result<()> {
    let crds: Vec<Value> = (0..KINDS).map(crd).collect();
    let install = |cluster: &str| -> Result<()> {
        env.api(cluster).post_all(CRDS, &crds, 8)?;
        eventually(PATIENCE, &format!("the kinds are described on {cluster}"), || {
            let index = env.api(cluster).text("/openapi/v3")?;
            let unknown = (0..GROUPS).find(|n| !index.contains(&format!("{}/v1", group(*n))));
            ensure!(unknown.is_none(), "{unknown:?} is not");
            let last =
                crds.last().and_then(|crd| crd.pointer("/spec/names/kind")?.as_str()).unwrap_or_default();
            let text = env.api(cluster).text(&format!("/openapi/v3/apis/{}/v1", group(GROUPS - 1)))?;
            ensure!(text.contains(&format!("\"{last}\"")), "{last} is not");
            Ok(())
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = names.iter().map(|name| scope.spawn(|| install(name))).collect();
        let died = || Err(anyhow!("the thread that makes CRDs panicked"));
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| died()))
    })
}

/// Applies the definitions one after the other: milliseconds from each POST until it is Active; those that are refused aside.
fn define(hub: &Api) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for n in 0..DEFINITIONS {
        let start = Instant::now();
        hub.post(RGDS, &definition(n))?;
        let wanted = if is_refused(n) { "Inactive" } else { "Active" };
        let path = format!("{RGDS}/many-{n}");
        eventually(PATIENCE, &format!("definition {n} is {wanted}"), || {
            let found = hub.get(&path)?.context("it is gone")?;
            ensure!(found.pointer("/status/state") == Some(&json!(wanted)), "{}", found["status"]);
            Ok(())
        })?;
        if !is_refused(n) {
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
    }
    Ok(times)
}

/// An instance of each definition that is not refused, on both spokes.
fn instantiate(hub: &Api) -> Result<()> {
    let collection = |n: usize| format!("/apis/kro.run/v1alpha1/namespaces/{NAMESPACE}/many{n}s");
    let accepted = || (0..DEFINITIONS).filter(|n| !is_refused(*n));
    for n in accepted() {
        let instance = json!({"apiVersion": "kro.run/v1alpha1", "kind": format!("Many{n}"),
            "metadata": {"name": format!("i{n}"), "annotations": {"hub.kro.run/clusters": SPOKES.join(",")}},
            "spec": {"name": format!("i{n}")}});
        hub.post(&collection(n), &instance)?;
    }
    for n in accepted() {
        eventually(PATIENCE, &format!("the instance of definition {n} is ACTIVE"), || {
            let found = hub.get(&format!("{}/i{n}", collection(n)))?.context("it is gone")?;
            ensure!(found.pointer("/status/state") == Some(&json!("ACTIVE")), "{}", found["status"]);
            Ok(())
        })?;
    }
    Ok(())
}

/// What the controller counted so far, of all clusters.
struct Figures {
    bytes: f64,
    documents: f64,
    /// By cluster and verb.
    requests: BTreeMap<String, f64>,
}

impl Figures {
    fn read(controller: &Controller) -> Result<Self> {
        let text = controller.metrics()?;
        let counts = |name: &str| -> Vec<(String, f64)> {
            let start = format!("kro_hub_{name}_total{{");
            let lines = text.lines().filter_map(|line| line.strip_prefix(&start)?.rsplit_once("} "));
            lines.filter_map(|(labels, value)| Some((labels.to_owned(), value.parse().ok()?))).collect()
        };
        let sum = |name: &str| counts(name).into_iter().map(|(_, value)| value).sum();
        let mut requests = BTreeMap::new();
        for (labels, value) in counts("requests") {
            let label = |key: &str| {
                let start = labels.split(&format!("{key}=\"")).nth(1).unwrap_or_default();
                start.split('"').next().unwrap_or_default().to_owned()
            };
            *requests.entry(format!("{} {}", label("cluster"), label("verb"))).or_default() += value;
        }
        Ok(Self { bytes: sum("schema_bytes"), documents: sum("schema_documents"), requests })
    }

    fn sum(&self) -> f64 {
        self.requests.values().sum()
    }

    fn told(&self) -> String {
        let (mb, documents) = (self.bytes / 1e6, self.documents);
        format!("{mb:.1} MB of OpenAPI in {documents:.0} documents, {:.0} requests", self.sum())
    }

    /// What came since, by cluster and verb.
    fn since(&self, before: &Self) -> String {
        let more = self.requests.iter().filter_map(|(key, count)| {
            let count = count - before.requests.get(key).copied().unwrap_or_default();
            (count > 0.0).then(|| format!("{key} {count:.0}"))
        });
        more.collect::<Vec<_>>().join(", ")
    }
}

fn group(n: usize) -> String {
    format!("g{n}.bench.example")
}

fn crd(n: usize) -> Value {
    let (group, kind) = (group(n / KINDS_OF_A_GROUP), format!("Thing{n}"));
    let singular = kind.to_lowercase();
    let about = "What this field of the thing is for, in a sentence that is about as long as those of cloud operators are.";
    let fields: serde_json::Map<String, Value> = (0..FIELDS + n % (2 * FIELDS + 1))
        .map(|f| {
            let inner = json!({"type": "object", "description": about, "properties": {
                "name": {"type": "string", "description": about}, "size": {"type": "integer", "description": about}}});
            (format!("field{f}"), inner)
        })
        .collect();
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{singular}s.{group}")},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": format!("{singular}s"), "singular": singular},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": fields},
                    "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}}}}]}})
}

fn is_refused(n: usize) -> bool {
    n % REFUSED_EACH == REFUSED_EACH - 1
}

/// Of Kubernetes' own kinds, of a foreign one, and, every third time, of the definition before.
fn definition(n: usize) -> Value {
    let thing = n * KINDS / DEFINITIONS;
    let name = "${schema.spec.name}";
    let mut spec = json!({"field0": {"name": name}});
    let mut kind = format!("Thing{thing}");
    match (is_refused(n), n % (2 * REFUSED_EACH) < REFUSED_EACH) {
        (true, true) => kind = format!("Nothing{n}"),
        (true, false) => spec = json!({"nosuch": name}),
        _ => {}
    }
    let mut resources = vec![
        json!({"id": "config", "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"a": name}}}),
        json!({"id": "thing", "template": {"apiVersion": format!("{}/v1", group(thing / KINDS_OF_A_GROUP)),
            "kind": kind, "metadata": {"name": name}, "spec": spec}}),
    ];
    if n % 3 == 2 && !is_refused(n - 1) {
        resources.push(json!({"id": "before", "template": {"apiVersion": "kro.run/v1alpha1",
            "kind": format!("Many{}", n - 1), "metadata": {"name": format!("{name}-before")},
            "spec": {"name": format!("{name}-before")}}}));
    }
    json!({"apiVersion": "kro.run/v1alpha1", "kind": "ResourceGraphDefinition",
        "metadata": {"name": format!("many-{n}")},
        "spec": {"schema": {"apiVersion": "v1alpha1", "kind": format!("Many{n}"), "spec": {"name": "string"}},
            "resources": resources}})
}
