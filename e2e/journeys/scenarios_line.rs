//! The line to a spoke: dead at the start, half-open, and with a proxy on it that buffers.

use super::faults_isolation::{best, limit, repairs};
use super::faults_spoke_down::{define, wait_unreachable};
use super::scenarios::Runs::{Alone, Always};
use super::scenarios::{Scenario, is_ready, noticed};
use super::stand::{Kind, PATIENCE, Stand, entry, text, uid};
use crate::env::eventually;
use crate::faults::{Fault, Line, Rule, When};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    ("scenario_01_black_holed_at_start", black_hole, Always),
    ("scenario_02_a_watch_that_is_half_open", half_open, Alone),
    ("scenario_03_heads_of_watches_held_back", held_back, Alone),
];

/// From the start of the controller, on a spoke that answers.
const NORMAL: Duration = Duration::from_secs(10);
/// A black hole is known to be one.
const KNOWN: Duration = Duration::from_secs(45);
/// A connection that carries nothing is known to.
const DEAD: Duration = Duration::from_secs(70);
/// What is polled for is seen.
const POLLED: Duration = Duration::from_secs(30);
/// When contact is back: the longest pause between tries, and a try.
const BACK: Duration = Duration::from_secs(30);

/// Which object, and whether anybody wrote it.
fn print(kind: &Kind, cluster: &str, name: &str) -> Result<[String; 4]> {
    let mirror = kind.on(cluster, name)?.context("no mirror")?;
    let child = kind.child(cluster, &format!("configmaps/{name}"))?.context("no child")?;
    let version = |object| text(object, "/metadata/resourceVersion");
    Ok([uid(&mirror), version(&mirror), uid(&child), version(&child)])
}

fn black_hole(stand: &Stand) -> Result<()> {
    let kind = define(stand, "black-hole", "BlackHole")?;
    kind.create("old", "eu,us", "{text: one}")?;
    kind.wait_active("old", &["eu", "us"])?;
    let proxy = stand.proxy("us")?;
    let before = print(&kind, "us", "old")?;
    stand.end_controller()?;
    proxy.line(Line::BlackHole)?;
    let start = Instant::now();
    stand.start_controller()?;
    kind.edit("old", "{text: two}")?;
    kind.create("new", "eu,us", "{text: two}")?;
    for name in ["old", "new"] {
        kind.wait_child("eu", &format!("configmaps/{name}"), |c| c["data"]["text"] == "two")?;
    }
    let took = start.elapsed();
    ensure!(took < NORMAL, "eu was served {took:?} after the start");
    let known = noticed(stand, "us", "Unreachable", start, KNOWN)?;
    println!("eu was served {took:?} after the start; us was known to be unreachable after {known:?}");
    wait_unreachable(&kind, "old", "us")?;
    is_ready(stand, "eu")?;
    ensure!(print(&kind, "us", "old")? == before, "something was written on us");
    let healed = Instant::now();
    proxy.line(Line::Clear)?;
    for name in ["old", "new"] {
        kind.wait_active(name, &["eu", "us"])?;
    }
    let took = healed.elapsed();
    ensure!(took < BACK, "us was served {took:?} after it was back");
    ensure!(uid(&kind.on("us", "old")?.context("no mirror")?) == before[0], "the mirror was made anew");
    kind.remove("old")?;
    kind.remove("new")
}

fn half_open(stand: &Stand) -> Result<()> {
    let kind = define(stand, "half-open", "HalfOpen")?;
    kind.create("a", "us", "{text: one}")?;
    kind.create("watched", "eu", "{text: one}")?;
    kind.wait_active("a", &["us"])?;
    kind.wait_active("watched", &["eu"])?;
    let baseline = repairs(&kind, "before")?;
    let (proxy, us, path) = (stand.proxy("us")?, stand.api("us"), kind.beside("configmaps/a"));
    let start = Instant::now();
    proxy.half_open();
    // Nobody is told of it.
    us.merge_patch(&path, &json!({"data": {"text": "changed"}}))?;
    let now = best(limit(baseline), |n| repairs(&kind, &format!("half-open-{n}")))?;
    ensure!(now <= limit(baseline), "repairs on eu: {now:?}, before {baseline:?}");
    let left = DEAD.saturating_sub(start.elapsed());
    eventually(left, "the drift that nobody was told of is repaired", || {
        let found = us.get(&path)?.context("no child")?["data"]["text"].clone();
        ensure!(found == "one", "it says {found}");
        Ok(())
    })?;
    println!("repaired {:?} after the connections were half-open", start.elapsed());
    // The watch is at work again; each repair was one write.
    std::thread::sleep(Duration::from_secs(1));
    let again = Instant::now();
    us.merge_patch(&format!("{path}?fieldManager=another"), &json!({"data": {"text": "changed"}}))?;
    kind.wait_child("us", "configmaps/a", |c| c["data"]["text"] == "one")?;
    ensure!(again.elapsed() < Duration::from_secs(2), "the next repair took {:?}", again.elapsed());
    let written = proxy.seen(start, &When::writes().at(&path)).len();
    ensure!(written == 2, "{written} writes for two repairs");
    kind.remove("a")?;
    kind.remove("watched")
}

fn held_back(stand: &Stand) -> Result<()> {
    let kind = define(stand, "held-back", "HeldBack")?;
    kind.create("watched", "eu", "{text: one}")?;
    kind.create("a", "us", "{text: one}")?;
    kind.wait_active("watched", &["eu"])?;
    kind.wait_active("a", &["us"])?;
    let baseline = repairs(&kind, "before")?;
    let proxy = stand.proxy("us")?;
    proxy.rule(Rule::new(When::watches(), Fault::HeadHeld));
    let start = Instant::now();
    proxy.cut();
    kind.create("new", "eu,us", "{text: one}")?;
    kind.wait_child("eu", "configmaps/new", |c| c["data"]["text"] == "one")?;
    let now = best(limit(baseline), |n| repairs(&kind, &format!("held-{n}")))?;
    ensure!(now <= limit(baseline), "repairs on eu: {now:?}, before {baseline:?}");
    kind.wait_active("new", &["eu", "us"])?;
    let took = start.elapsed();
    ensure!(took < DEAD, "us was served after {took:?}");
    // It is polled.
    let (us, path) = (stand.api("us"), kind.beside("configmaps/a"));
    let drift = Instant::now();
    us.merge_patch(&path, &json!({"data": {"text": "changed"}}))?;
    eventually(POLLED, "drift on us is repaired", || {
        let found = us.get(&path)?.context("no child")?["data"]["text"].clone();
        ensure!(found == "one", "it says {found}");
        Ok(())
    })?;
    is_ready(stand, "us")?;
    let ten = Instant::now().checked_sub(Duration::from_secs(10)).unwrap_or(drift);
    let asked = proxy.seen(ten, &When::any()).len();
    println!("served after {took:?}, drift repaired after {:?}; {asked} requests in 10 s", drift.elapsed());
    ensure!(asked < 100, "{asked} requests in 10 s");
    proxy.heal()?;
    eventually(PATIENCE, "us is as it was", || {
        let entry = entry(&kind.hub("new")?, "us")?;
        ensure!(entry["state"] == "ACTIVE", "{entry}");
        Ok(())
    })?;
    ["new", "a", "watched"].iter().try_for_each(|name| kind.remove(name))
}
