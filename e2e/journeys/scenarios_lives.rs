//! The controller dies at any write, or sleeps through its own term; and upstream kro lives on a spoke.

use super::faults_spoke_down::define;
use super::scenarios::Runs::Long;
use super::scenarios::{Scenario, is_ready};
use super::stand::{CRDS, Kind, PATIENCE, RGDS, Stand, entry, parse, text};
use crate::env::controller::{Controller, Options};
use crate::env::kro::Kro;
use crate::env::wait::throughout;
use crate::env::{assets, eventually};
use crate::faults::{Fault, Proxy, Rule, When};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    ("scenario_15_killed_at_every_write", killed, Long),
    ("scenario_16_a_leader_that_slept_writes_nothing", slept, Long),
    ("scenario_24_upstream_kro_lives_on_the_spoke", upstream, Long),
];

/// A term of three seconds: whoever comes next need not wait long.
fn short_term(name: &str) -> Options {
    let args = [
        "--leader-election-lease-duration=3",
        "--leader-election-renew-deadline=2",
        "--leader-election-retry-period=1",
    ];
    Options { name: name.into(), args: args.map(str::to_owned).to_vec(), ..Options::default() }
}

/// Writes but for the lease.
fn of_work() -> When {
    When::writes().not_under("/apis/coordination.k8s.io/")
}

/// More writes than a story has.
const MOST: u64 = 80;

/// What stands on a cluster of an instance, without what differs from one run to the next.
fn picture(kind: &Kind, cluster: &str, name: &str) -> Result<BTreeMap<String, Value>> {
    let mut found = BTreeMap::new();
    let mirror = kind.on(cluster, name)?;
    found.extend(mirror.map(|mirror| ("mirror".to_owned(), mirror["spec"].clone())));
    for suffix in ["a", "b"] {
        let child = kind.child(cluster, &format!("configmaps/{name}-{suffix}"))?;
        found.extend(child.map(|child| (suffix.to_owned(), child["data"].clone())));
    }
    Ok(found)
}

/// Creates, edits, moves and deletes an instance; what stood after each.
fn story(kind: &Kind, name: &str) -> Result<Vec<BTreeMap<String, Value>>> {
    let mut seen = Vec::new();
    let mut look = || -> Result<()> {
        for cluster in ["eu", "us"] {
            seen.push(picture(kind, cluster, name)?);
        }
        Ok(())
    };
    kind.create(name, "eu,us", "{text: one}")?;
    kind.wait_active(name, &["eu", "us"])?;
    look()?;
    kind.edit(name, "{text: two}")?;
    kind.wait_active(name, &["eu", "us"])?;
    look()?;
    kind.place(name, "us")?;
    kind.wait_active(name, &["us"])?;
    kind.wait_no_child("eu", &format!("configmaps/{name}-a"))?;
    look()?;
    kind.remove(name)?;
    look()?;
    Ok(seen)
}

/// How often each object of a story came on `us`, by its name.
fn births(events: &std::sync::mpsc::Receiver<(Instant, Value)>, name: &str) -> BTreeMap<String, usize> {
    let mut born = BTreeMap::new();
    for (_, event) in events.try_iter().filter(|(_, event)| event["type"] == "ADDED") {
        let of = text(&event, "/object/metadata/name");
        if of.starts_with(name) {
            *born.entry(of).or_default() += 1;
        }
    }
    born
}

fn killed(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: killed}
spec:
  schema: {apiVersion: v1alpha1, kind: KilledKind, spec: {text: string}}
  resources:
  - id: first
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-a'}
      data: {text: '${schema.spec.text}'}
  - id: second
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-b'}
      data: {text: '${first.data.text}'}
",
    )?;
    stand.end_controller()?;
    let undisturbed = {
        let _controller = stand.another_controller(short_term("killed"))?;
        story(&kind, "undisturbed")?
    };
    for (on, what) in [("hub", "the hub"), ("us", "a spoke")] {
        let proxy = stand.proxy(on)?;
        let mut kills = 0;
        for n in 1..=MOST {
            let name = format!("{on}{n:02}");
            if !killed_at(stand, &kind, proxy, n, &name, &undisturbed)
                .with_context(|| format!("killed at write {n} on {what}"))?
            {
                break;
            }
            kills = n;
        }
        println!("killed at each of {kills} writes on {what}");
        ensure!((6..MOST).contains(&kills), "{kills} writes on {what}");
    }
    stand.start_controller()
}

/// Plays the story and kills the controller when its n-th write is done, before it hears of that. False where there is no
/// such write.
fn killed_at(
    stand: &Stand,
    kind: &Kind,
    proxy: &Proxy,
    n: u64,
    name: &str,
    undisturbed: &[BTreeMap<String, Value>],
) -> Result<bool> {
    let watch = |collection: String| stand.api("us").watch(&format!("{collection}?watch=true"));
    let (_mirrors, mirrors) = watch(kind.collection())?;
    let (_children, children) = watch(kind.beside("configmaps"))?;
    let first = stand.another_controller(short_term("killed"))?;
    proxy.only(Rule::new(of_work(), Fault::AnswerLost).nth(n));
    let start = Instant::now();
    let met = || proxy.seen(start, &of_work()).iter().any(|seen| seen.fault.is_some());
    let (pictures, killed, last) = std::thread::scope(|scope| -> Result<_> {
        let told = scope.spawn(|| story(kind, name));
        let mut controller = Some(first);
        while !told.is_finished() {
            if controller.is_some() && met() {
                if let Some(controller) = controller.take() {
                    controller.kill9();
                }
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let killed = controller.is_none();
        if killed {
            controller = Some(stand.another_controller(short_term("killed"))?);
        }
        let pictures = told.join().map_err(|_| anyhow::anyhow!("the story panicked"))??;
        Ok((pictures, killed, controller))
    })?;
    // In good order: the next one need not wait for its lease.
    last.map_or(Ok(()), Controller::terminate)?;
    proxy.heal()?;
    ensure!(pictures == undisturbed, "it became {pictures:?}, undisturbed {undisturbed:?}");
    for (what, born) in [("mirrors", births(&mirrors, name)), ("children", births(&children, name))] {
        ensure!(
            !born.is_empty() && born.values().all(|count| *count == 1),
            "{what} came more than once: {born:?}"
        );
    }
    Ok(killed)
}

/// So many instances are under way when it falls asleep.
const SLEEPERS: usize = 20;

fn slept(stand: &Stand) -> Result<()> {
    let kind = define(stand, "slept", "Slept")?;
    stand.end_controller()?;
    let sleeper = stand.another_controller(short_term("sleeper"))?;
    let names: Vec<String> = (0..SLEEPERS).map(|n| format!("i{n:02}")).collect();
    for name in &names {
        kind.create(name, "eu,us", "{text: one}")?;
    }
    eventually(PATIENCE, "the work has begun", || {
        ensure!(!kind.owned("us", "configmaps")?.is_empty(), "nothing is there");
        Ok(())
    })?;
    sleeper.freeze()?;
    let heir = stand.another_controller(short_term("heir"))?;
    names.iter().try_for_each(|name| kind.wait_active(name, &["eu", "us"]).map(drop))?;
    for name in &names {
        kind.edit(name, "{text: two}")?;
        kind.wait_child("us", &format!("configmaps/{name}"), |c| c["data"]["text"] == "two")?;
        kind.wait_active(name, &["eu", "us"])?;
    }
    at_rest(stand)?;
    let woken = Instant::now();
    sleeper.thaw()?;
    throughout(Duration::from_secs(8), "not one write", || {
        for proxy in stand.proxies() {
            let written = proxy.seen(woken, &of_work());
            ensure!(written.is_empty(), "written after it woke: {written:?}");
        }
        Ok(())
    })?;
    // Nor does it hold up who leads.
    kind.edit("i00", "{text: three}")?;
    kind.wait_child("us", "configmaps/i00", |c| c["data"]["text"] == "three")?;
    heir.check()?;
    Controller::kill9(sleeper);
    heir.terminate()?;
    stand.start_controller()?;
    names.iter().try_for_each(|name| kind.delete(name))?;
    names.iter().try_for_each(|name| kind.wait_gone(name))
}

/// Nobody writes for two seconds.
fn at_rest(stand: &Stand) -> Result<()> {
    eventually(PATIENCE, "nobody writes any more", || {
        let start = Instant::now();
        std::thread::sleep(Duration::from_secs(2));
        let written: usize = stand.proxies().map(|proxy| proxy.seen(start, &of_work()).len()).sum();
        ensure!(written == 0, "{written} writes in 2 s");
        Ok(())
    })
}

const SHARED: &str = r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: upstream}
spec:
  schema: {apiVersion: v1alpha1, kind: Upstream, spec: {text: string}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}'}
      data: {text: '${schema.spec.text}'}
";

/// Skipped where the real kro cannot be had.
fn upstream(stand: &Stand) -> Result<()> {
    if let Err(error) = assets::Kro::ensure() {
        eprintln!("\nSKIPPED scenario_24: the real kro cannot be had here: {error:#}\n");
        return Ok(());
    }
    let us = stand.api("us");
    let kro = Kro::start(&stand.env, "us", &[])?;
    us.post(RGDS, &parse(SHARED)?)?;
    let crd = format!("{CRDS}/upstreams.kro.run");
    eventually(PATIENCE, "kro serves its kind on us", || us.get(&crd)?.context("no CRD")).map(drop)?;
    us.post("/api/v1/namespaces", &serde_json::json!({"metadata": {"name": "upstream"}}))?;
    let theirs = parse(
        "{apiVersion: kro.run/v1alpha1, kind: Upstream, metadata: {name: theirs}, spec: {text: theirs}}",
    )?;
    let kind = stand.define(SHARED)?;
    eventually(PATIENCE, "an instance of kro's", || us.post(&kind.collection(), &theirs))?;
    kind.wait_child("us", "configmaps/theirs", |c| c["data"]["text"] == "theirs")?;
    std::thread::sleep(Duration::from_secs(2));
    let versions = || -> Result<Vec<String>> {
        let paths = [crd.clone(), kind.path("theirs"), kind.beside("configmaps/theirs")];
        paths
            .iter()
            .map(|path| Ok(text(&us.get(path)?.context("gone")?, "/metadata/resourceVersion")))
            .collect()
    };
    let (before, start) = (versions()?, Instant::now());
    kind.create("ours", "eu,us", "{text: ours}")?;
    eventually(PATIENCE, "eu is served, and us named", || {
        let instance = kind.hub("ours")?;
        let (eu, us) = (entry(&instance, "eu")?, entry(&instance, "us")?);
        let said = us["message"].as_str().unwrap_or_default();
        ensure!(eu["state"] == "ACTIVE" && us["state"] != "ACTIVE" && said.contains("kro"), "{eu} {us}");
        Ok(())
    })?;
    throughout(Duration::from_secs(6), "what is kro's is not touched", || {
        ensure!(versions()? == before, "{:?}, before {before:?}", versions()?);
        ensure!(kind.on("us", "ours")?.is_none(), "there is a mirror");
        is_ready(stand, "us")
    })?;
    let written = stand.proxy("us")?.seen(start, &When::writes().under("/apis/kro.run"));
    ensure!(written.is_empty(), "{written:?}");
    kind.remove("ours")?;
    us.delete(&kind.path("theirs"))?;
    kind.wait_no_child("us", "configmaps/theirs")?;
    us.delete(&format!("{RGDS}/upstream"))?;
    kro.terminate()?;
    us.delete(&crd)
}
