//! A spoke that answers, but not what was asked: to slow down, not now, late, or not for that group.

use super::faults_isolation::{best, limit, repairs};
use super::faults_spoke_down::{cluster, define, wait_unreachable};
use super::scenarios::Runs::{Always, Long};
use super::scenarios::{Scenario, is_ready, noticed};
use super::schemas::{GROUP, install};
use super::stand::{PATIENCE, Stand, entry};
use crate::env::controller::Controller;
use crate::env::eventually;
use crate::env::registration::condition;
use crate::env::wait::throughout;
use crate::faults::{Fault, Rule, When};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    ("scenario_04_answers_that_ask_for_patience", asks_to_wait, Long),
    ("scenario_04_answers_that_name_no_pause", names_no_pause, Long),
    ("scenario_04_a_load_balancer_without_its_server", cut_off, Long),
    ("scenario_22_one_group_of_a_spoke_is_down", group_down, Always),
    ("scenario_22_one_group_refuses_the_credentials", group_refuses, Always),
    ("scenario_22_one_group_asks_for_patience", group_is_busy, Long),
    ("scenario_22_a_webhook_hangs", webhook_hangs, Long),
    ("scenario_22_the_right_to_list_a_kind_is_lost", right_lost, Long),
];

/// How long each sort of answer is given.
const WHILE: Duration = Duration::from_secs(12);
/// Memory that any of it may take.
const GROWTH: u64 = 24 * 1024 * 1024;
const INSTANCES: usize = 20;
/// As good as for ever.
const NEVER: Duration = Duration::from_secs(600);
/// Who does not reach the API server is known not to.
const KNOWN: Duration = Duration::from_secs(45);

fn queue(stand: &Stand, cluster: &str) -> Result<usize> {
    let text = stand.metrics()?;
    let name = format!("kro_hub_queue_length{{cluster=\"{cluster}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name)).context("no such metric")?;
    Ok(value.trim().parse()?)
}

/// What a spoke does, how, and how many requests are decent while it does.
type Case = (&'static str, Fault, usize);

fn asks_to_wait(stand: &Stand) -> Result<()> {
    let cases = [
        ("asks-for-a-pause", Fault::Answer(429, Some(4)), 6),
        ("is-unavailable", Fault::Answer(503, None), 40),
    ];
    overloaded(stand, ("overload", "Overload"), &cases)
}

fn names_no_pause(stand: &Stand) -> Result<()> {
    let late = Fault::Late(Duration::from_secs(10));
    let cases = [("asks-to-slow-down", Fault::Answer(429, None), 30), ("answers-late", late, 40)];
    overloaded(stand, ("overload-more", "OverloadMore"), &cases)
}

fn overloaded(stand: &Stand, (rgd, kind): (&str, &str), cases: &[Case]) -> Result<()> {
    let kind = define(stand, rgd, kind)?;
    let names: Vec<String> = (0..INSTANCES).map(|n| format!("i{n:02}")).collect();
    for name in &names {
        kind.create(name, "eu,us", "{text: one}")?;
    }
    kind.create("watched", "eu", "{text: one}")?;
    kind.wait_active("watched", &["eu"])?;
    names.iter().try_for_each(|name| kind.wait_active(name, &["eu", "us"]).map(drop))?;
    let baseline = repairs(&kind, "before")?;
    let proxy = stand.proxy("us")?;
    for (case, fault, most) in cases {
        let rss = stand.on_controller(Controller::rss)?;
        proxy.rule(Rule::new(When::any(), fault.clone()));
        for name in &names {
            kind.edit(name, &format!("{{text: {case}}}"))?;
        }
        for name in &names {
            kind.wait_child("eu", &format!("configmaps/{name}"), |c| c["data"]["text"] == *case)?;
        }
        // The first of them were under way at once.
        let start = Instant::now();
        let now = best(limit(baseline), |n| repairs(&kind, &format!("{case}-{n}")))?;
        ensure!(now <= limit(baseline), "repairs on eu while us {case}: {now:?}, before {baseline:?}");
        throughout(WHILE.saturating_sub(start.elapsed()), "the queue is bounded", || {
            let queued = queue(stand, "us")?;
            ensure!(queued <= INSTANCES, "{queued} instances wait");
            Ok(())
        })?;
        let asked = proxy.seen(start, &When::any()).len();
        let grown = stand.on_controller(Controller::rss)?.saturating_sub(rss);
        println!("while us {case}: {asked} requests in {:?}, {} KiB more", start.elapsed(), grown / 1024);
        ensure!(asked <= *most, "while us {case}: {asked} requests, at most {most} are decent");
        ensure!(grown < GROWTH, "while us {case}: {grown} bytes more");
        proxy.heal()?;
        for name in &names {
            kind.wait_child("us", &format!("configmaps/{name}"), |c| c["data"]["text"] == *case)?;
            kind.wait_active(name, &["eu", "us"])?;
        }
    }
    names.iter().try_for_each(|name| kind.delete(name))?;
    names.iter().try_for_each(|name| kind.wait_gone(name))?;
    kind.remove("watched")
}

/// The API server is dead, and what stands in front of it is not.
fn cut_off(stand: &Stand) -> Result<()> {
    let kind = define(stand, "cut-off", "CutOff")?;
    kind.create("a", "eu,us", "{text: one}")?;
    kind.wait_active("a", &["eu", "us"])?;
    let proxy = stand.proxy("us")?;
    let start = Instant::now();
    proxy.rule(Rule::new(When::any(), Fault::Answer(502, None)));
    proxy.cut();
    let known = noticed(stand, "us", "Unreachable", start, KNOWN)?;
    wait_unreachable(&kind, "a", "us")?;
    let edited = Instant::now();
    kind.edit("a", "{text: two}")?;
    kind.wait_child("eu", "configmaps/a", |c| c["data"]["text"] == "two")?;
    let took = edited.elapsed();
    ensure!(took < Duration::from_secs(5), "eu waited {took:?}");
    is_ready(stand, "eu")?;
    proxy.heal()?;
    let healed = Instant::now();
    kind.wait_active("a", &["eu", "us"])?;
    kind.wait_child("us", "configmaps/a", |c| c["data"]["text"] == "two")?;
    println!(
        "us was known to be cut off after {known:?}, and served {:?} after it was back",
        healed.elapsed()
    );
    kind.remove("a")
}

/// A group that another server stands behind, as a CRD or an APIService has it: no server answers 503 for groups of its own.
fn group_down(stand: &Stand) -> Result<()> {
    group_fails(stand, ("group-down", "GroupDown", "Pump"), (503, None))
}

/// Credentials that the cluster accepts.
fn group_refuses(stand: &Stand) -> Result<()> {
    group_fails(stand, ("group-refusal", "GroupRefusal", "Valve"), (401, None))
}

fn group_is_busy(stand: &Stand) -> Result<()> {
    group_fails(stand, ("group-throttle", "GroupThrottle", "Gauge"), (429, Some(30)))
}

fn group_fails(
    stand: &Stand,
    (rgd, kind, made): (&str, &str, &str),
    (code, pause): (u16, Option<u64>),
) -> Result<()> {
    for cluster in ["hub", "eu", "us"] {
        install(stand, cluster, made, "{text: {type: string}}")?;
    }
    let with = stand.define(&format!(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: {rgd}}}
spec:
  schema: {{apiVersion: v1alpha1, kind: {kind}, spec: {{text: string}}}}
  resources:
  - id: pump
    template:
      apiVersion: {GROUP}/v1
      kind: {made}
      metadata: {{name: '${{schema.metadata.name}}'}}
      spec: {{text: '${{schema.spec.text}}'}}
"
    ))?;
    let without = define(stand, &format!("{rgd}-not"), &format!("{kind}Not"))?;
    with.create("old", "eu,us", "{text: one}")?;
    with.wait_active("old", &["eu", "us"])?;
    let pump = |name: &str| format!("{GROUP}/v1/{}s/{name}", made.to_lowercase());
    let proxy = stand.proxy("us")?;
    proxy.rule(Rule::new(When::any().under(&format!("/apis/{GROUP}")), Fault::Answer(code, pause)));
    proxy.cut();
    let start = Instant::now();
    with.create("new", "eu,us", "{text: one}")?;
    without.create("a", "eu,us", "{text: one}")?;
    without.wait_active("a", &["eu", "us"])?;
    let took = start.elapsed();
    ensure!(took < Duration::from_secs(5), "who does not use the group waited {took:?}");
    with.wait_child("eu", &pump("new"), |_| true)?;
    eventually(PATIENCE, "the pair that waits says for what", || {
        let new = with.hub("new")?;
        let (us, eu) = (entry(&new, "us")?, entry(&new, "eu")?);
        let said = us["message"].as_str().unwrap_or_default();
        let why = said.contains(&code.to_string()) || said.contains("is asked ever less");
        ensure!(us["state"] != "ACTIVE" && why && eu["state"] == "ACTIVE", "{us} {eu}");
        println!("it says: {said}");
        Ok(())
    })?;
    throughout(Duration::from_secs(8), "us is Ready, and serves the others", || {
        is_ready(stand, "us")?;
        without.edit("a", &format!("{{text: '{}'}}", start.elapsed().as_millis()))?;
        Ok(())
    })?;
    let asked = proxy.seen(start, &When::any().under(&format!("/apis/{GROUP}"))).len();
    ensure!(asked < 60, "{asked} requests to the group in {:?}", start.elapsed());
    ensure!(with.child("us", &pump("old"))?.is_some(), "what stood there is gone");
    proxy.heal()?;
    for name in ["old", "new"] {
        with.wait_active(name, &["eu", "us"])?;
        with.remove(name)?;
    }
    without.remove("a")
}

/// An admission webhook of the spoke takes its time, and then for ever, behind what is written of one object.
fn webhook_hangs(stand: &Stand) -> Result<()> {
    let kind = define(stand, "hanging-hook", "HangingHook")?;
    for name in ["behind", "beside"] {
        kind.create(name, "eu,us", "{text: one}")?;
        kind.wait_active(name, &["eu", "us"])?;
    }
    let (proxy, behind) = (stand.proxy("us")?, kind.beside("configmaps/behind"));
    let text = |name: &str| -> Result<String> {
        let child = kind.child("us", &format!("configmaps/{name}"))?.context("no child")?;
        Ok(child["data"]["text"].as_str().unwrap_or_default().to_owned())
    };
    let slow = |takes| Rule::new(When::writes().at(&behind), Fault::Late(takes));
    // As long as one may take that does not say otherwise, and a little.
    proxy.rule(slow(Duration::from_secs(11)));
    kind.edit("behind", "{text: two}")?;
    let start = Instant::now();
    while text("behind")? != "two" {
        is_ready(stand, "us")?;
        ensure!(start.elapsed() < Duration::from_secs(20), "it did not land: {}", text("behind")?);
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("what the webhook held up for 11 s landed after {:?}", start.elapsed());
    proxy.only(slow(NEVER));
    kind.edit("behind", "{text: three}")?;
    let start = Instant::now();
    throughout(Duration::from_secs(50), "us is Ready, and serves the others", || {
        is_ready(stand, "us")?;
        let edited = (Instant::now(), format!("{:?}", start.elapsed()));
        kind.edit("beside", &format!("{{text: '{}'}}", edited.1))?;
        kind.wait_child("us", "configmaps/beside", |c| c["data"]["text"] == edited.1)?;
        ensure!(edited.0.elapsed() < Duration::from_secs(5), "it took {:?}", edited.0.elapsed());
        std::thread::sleep(Duration::from_secs(4));
        Ok(())
    })?;
    let entry = entry(&kind.hub("behind")?, "us")?;
    ensure!(entry["state"] != "ACTIVE" && text("behind")? == "two", "{entry}");
    println!("it says: {}", entry["message"]);
    proxy.heal()?;
    kind.wait_child("us", "configmaps/behind", |c| c["data"]["text"] == "three")?;
    ["behind", "beside"].iter().try_for_each(|name| kind.remove(name))
}

/// The kind was listed once, so nothing of it is taken for gone; what changes is not seen any more.
fn right_lost(stand: &Stand) -> Result<()> {
    let kind = define(stand, "blind-spot", "BlindSpot")?;
    kind.create("a", "eu,us", "{text: one}")?;
    kind.wait_active("a", &["eu", "us"])?;
    let proxy = stand.proxy("us")?;
    // Neither listed nor watched; still written and read by name.
    proxy.rule(Rule::new(When::any().at("/api/v1/configmaps"), Fault::Answer(403, None)));
    proxy.cut();
    let start = Instant::now();
    throughout(Duration::from_secs(45), "what may pass by itself is not said", || {
        let entry = entry(&kind.hub("a")?, "us")?;
        ensure!(entry["state"] == "ACTIVE", "{entry}");
        Ok(())
    })?;
    eventually(PATIENCE, "the instance and the Cluster say it", || {
        let entry = entry(&kind.hub("a")?, "us")?;
        let said = entry["message"].as_str().unwrap_or_default();
        ensure!(entry["state"] == "ERROR" && said.contains("may not list or watch ConfigMap"), "{entry}");
        let found = cluster(stand, "us")?;
        let reachable = condition(&found, "Reachable").cloned().unwrap_or_default();
        let limited = reachable["reason"] == "Limited" && reachable["status"] == "True";
        ensure!(limited && reachable["message"].to_string().contains("ConfigMap"), "{reachable}");
        println!("after {:?}: {said}", start.elapsed());
        Ok(())
    })?;
    is_ready(stand, "us")?;
    ensure!(kind.child("us", "configmaps/a")?.is_some(), "what stood there is gone");
    kind.edit("a", "{text: two}")?;
    kind.wait_child("us", "configmaps/a", |c| c["data"]["text"] == "two")?;
    proxy.heal()?;
    kind.wait_active("a", &["eu", "us"])?;
    kind.remove("a")
}
