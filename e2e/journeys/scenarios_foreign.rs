//! Others write on the spokes too: against us, or more than anybody can read.

use super::faults_spoke_down::define;
use super::scenarios::Runs::Long;
use super::scenarios::{Scenario, is_ready};
use super::stand::{Kind, PATIENCE, Stand, entry, text};
use crate::bench::simulated::Fleet;
use crate::bench::workload::INSTANCES;
use crate::env::controller::Controller;
use crate::env::eventually;
use crate::faults::When;
use crate::scratch_folder;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    ("scenario_21_who_writes_against_us_is_named", fights, Long),
    ("scenario_25_more_than_anybody_can_read", huge, Long),
    ("scenario_25_five_hundred_clusters", five_hundred, Long),
];

/// How long somebody fights.
const FIGHT: Duration = Duration::from_secs(20);
/// Writes of ours in that time: three repairs in five minutes, then one in ten, and what was under way.
const REPAIRS: usize = 5;

/// Waits until an instance says that a field is contested, and by whom.
fn contested(kind: &Kind, name: &str, parts: &[&str]) -> Result<()> {
    eventually(PATIENCE, "the fight is told of", || {
        let instance = kind.hub(name)?;
        let said = text(&entry(&instance, "us")?, "/message");
        let named = parts.iter().all(|part| said.contains(part));
        ensure!(named, "it should name {parts:?}: {}", instance["status"]);
        println!("it says: {said}");
        Ok(())
    })
}

fn fights(stand: &Stand) -> Result<()> {
    let kind = define(stand, "fight", "Fight")?;
    kind.create("a", "eu,us", "{text: one}")?;
    kind.wait_active("a", &["eu", "us"])?;
    let (proxy, us, path) = (stand.proxy("us")?, stand.api("us"), kind.beside("configmaps/a"));
    // As an autoscaler would: whatever it finds, it says its own.
    let (start, mut theirs) = (Instant::now(), 0);
    while start.elapsed() < FIGHT {
        let found = us.get(&path)?.context("no child")?;
        if found["data"]["text"] != "theirs" {
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"text": "theirs"}});
            us.apply_as("autoscaler", &path, &body)?;
            theirs += 1;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let ours = proxy.seen(start, &When::writes().at(&path)).len();
    println!("{ours} writes of ours and {theirs} of an autoscaler in {FIGHT:?}");
    ensure!((1..=REPAIRS).contains(&ours), "{ours} writes of ours");
    contested(&kind, "a", &["data.text", "autoscaler"])?;
    let mirror = proxy.seen(start, &When::writes().at(&kind.path("a"))).len();
    ensure!(mirror < 10, "{mirror} writes of the mirror");
    // A person's edit starts afresh.
    kind.edit("a", "{text: two}")?;
    kind.wait_child("us", "configmaps/a", |c| c["data"]["text"] == "two")?;
    kind.wait_active("a", &["eu", "us"])?;
    admission(stand, &kind)?;
    kind.remove("a")
}

/// The API server itself changes what is applied, as a webhook would.
fn admission(stand: &Stand, kind: &Kind) -> Result<()> {
    const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
    let (us, proxy, path) = (stand.api("us"), stand.proxy("us")?, kind.beside("configmaps/a"));
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": "theirs"},
        "spec": {
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": kind.rgd}},
                "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                    "resources": ["configmaps"]}],
            },
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression":
                "[JSONPatch{op: 'replace', path: '/data/text', value: 'theirs'}]"}}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": "theirs"}, "spec": {"policyName": "theirs"},
    });
    us.post(&format!("{GROUP}/mutatingadmissionpolicies"), &policy)?;
    us.post(&format!("{GROUP}/mutatingadmissionpolicybindings"), &binding)?;
    eventually(PATIENCE, "the policy is at work", || {
        let probe = json!({"metadata": {"name": "probe"}, "data": {"text": "mine"}});
        let collection = format!("{}?dryRun=All", kind.beside("configmaps"));
        let made = us.post(&collection, &probe)?;
        ensure!(made["data"]["text"] == "theirs", "{}", made["data"]);
        Ok(())
    })?;
    let start = Instant::now();
    kind.edit("a", "{text: three}")?;
    std::thread::sleep(FIGHT);
    let ours = proxy.seen(start, &When::writes().at(&path)).len();
    println!("{ours} writes of ours in {FIGHT:?} against a policy that changes each");
    ensure!((1..=12).contains(&ours), "{ours} writes of ours");
    contested(kind, "a", &["data.text"])?;
    us.delete(&format!("{GROUP}/mutatingadmissionpolicybindings/theirs"))?;
    us.delete(&format!("{GROUP}/mutatingadmissionpolicies/theirs"))?;
    eventually(PATIENCE, "an edit is written as it is", || {
        kind.edit("a", &format!("{{text: 'after {}'}}", start.elapsed().as_secs()))?;
        let wanted = kind.hub("a")?["spec"]["text"].clone();
        std::thread::sleep(Duration::from_secs(2));
        let found = us.get(&path)?.context("no child")?["data"]["text"].clone();
        ensure!(found == wanted, "{found} is not {wanted}");
        Ok(())
    })?;
    kind.wait_active("a", &["eu", "us"]).map(drop)
}

/// Memory that what is not ours may take, and what says it is.
const FOREIGN: u64 = 16 * 1024 * 1024;
const CLAIMED: u64 = 128 * 1024 * 1024;

fn huge(stand: &Stand) -> Result<()> {
    let kind = define(stand, "huge", "Huge")?;
    kind.create("a", "eu,us", "{text: one}")?;
    kind.wait_active("a", &["eu", "us"])?;
    let us = stand.api("us");
    let rss = || stand.on_controller(Controller::rss);
    let before = rss()?;
    let body = |name: String, size: usize, labels: &Value| json!({"metadata": {"name": name, "labels": labels}, "data": {"text": "x".repeat(size)}});
    let many = |what: &str, count: usize, size: usize, labels: &Value| -> Result<()> {
        let bodies: Vec<Value> = (0..count).map(|n| body(format!("{what}-{n}"), size, labels)).collect();
        us.post_all(&kind.beside("configmaps"), &bodies, 4).map(drop)
    };
    let in_time = |what: &str| -> Result<()> {
        let start = Instant::now();
        kind.edit("a", &format!("{{text: '{what}'}}"))?;
        for spoke in ["eu", "us"] {
            kind.wait_child(spoke, "configmaps/a", |c| c["data"]["text"] == what)?;
        }
        let took = start.elapsed();
        ensure!(took < Duration::from_secs(5), "{what}: an edit took {took:?}");
        Ok(())
    };
    many("foreign", 2_000, 100, &json!({}))?;
    many("foreign-large", 30, 900_000, &json!({}))?;
    in_time("foreign")?;
    let grown = rss()?.saturating_sub(before);
    println!("2,000 foreign objects and 30 of 900 kB: {} KiB more", grown / 1024);
    ensure!(grown < FOREIGN, "foreign objects: {grown} bytes more");
    // Labels travel with copies.
    let child = kind.child("us", "configmaps/a")?.context("no child")?;
    let labels = child["metadata"]["labels"].clone();
    many("claimed-large", 30, 900_000, &labels)?;
    let event = |n: usize| json!({"metadata": {"annotations": {"n": n.to_string()}}});
    for n in 0..500 {
        us.merge_patch(&kind.beside("configmaps/claimed-large-0"), &event(n))?;
    }
    in_time("claimed")?;
    is_ready(stand, "us")?;
    let grown = rss()?.saturating_sub(before);
    println!("and 30 of 900 kB with our labels, and 500 events of one: {} KiB more", grown / 1024);
    ensure!(grown < CLAIMED, "claimed objects: {grown} bytes more");
    let left = us.list(&kind.beside("configmaps"))?.len();
    ensure!(left == 2_000 + 30 + 30 + 1, "{left} objects are there");
    us.delete(&kind.beside("configmaps"))?;
    kind.wait_active("a", &["eu", "us"])?;
    kind.remove("a")
}

/// Of an instance on the hub, as it is kept.
const PARENT: usize = 100 * 1024;
const RESIDENT: f64 = 400.0;

fn five_hundred(_: &Stand) -> Result<()> {
    let fleet = Fleet::start(&scratch_folder().join("five-hundred"), 500)?;
    fleet.register()?;
    let took = fleet.place(3)?;
    let instances = fleet.hub.list(INSTANCES)?;
    let largest = instances.iter().map(|instance| instance.to_string().len()).max().context("no instance")?;
    let resident = fleet.resident_mib()?;
    println!("three instances on 500 clusters in {took:.0} s: {largest} bytes each, {resident:.0} MiB");
    ensure!(largest < PARENT, "an instance has {largest} bytes");
    ensure!(resident < RESIDENT, "the controller has {resident:.0} MiB");
    Ok(())
}
