//! A spoke that is down, and one that is frozen, cost the others nothing.

use super::Run;
use super::faults_spoke_down::{Down, cluster, define};
use super::stand::{Kind, PATIENCE, Stand, entry};
use crate::env::eventually;
use crate::env::registration::condition;
use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::json;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub const TRIALS: &[Run] = &[("faults::a_spoke_that_is_down_slows_no_other", isolation)];

/// Last: it waits for what the trials before it have started.
pub const LAST: &[Run] = &[("faults::a_frozen_spoke_is_noticed_and_recovers", frozen)];

const ROUND: u32 = 15;
/// As often is a time measured again that might be the machine's and not ours: noise only adds.
const ROUNDS: usize = 5;
/// A median below this is fast enough, whatever it was before.
const FLOOR: Duration = Duration::from_millis(15);

/// So much two medians of several requests in a row differ on a busy machine.
const NOISE: Duration = Duration::from_millis(10);

/// And not one of them waits for a cluster that does not answer.
const WORST: Duration = Duration::from_secs(1);

/// A frozen server whose connections are idle is noticed within this.
const NOTICED: Duration = Duration::from_secs(70);
/// When `ap` was frozen. Trials between that and its end go on meanwhile.
static FROZEN: Mutex<Option<Timestamp>> = Mutex::new(None);

/// Freezes `ap`, with an instance on it, if it is not frozen. Nothing is asked of it then: only its silence can tell.
fn freeze(stand: &Stand) -> Result<Timestamp> {
    let mut frozen = FROZEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(since) = *frozen {
        return Ok(since);
    }
    let kind = define(stand, FROZEN_RGD, FROZEN_KIND)?;
    kind.create("a", "eu,ap", "{text: one}")?;
    kind.create("watched", "eu", "{text: one}")?;
    kind.wait_active("a", &["eu", "ap"])?;
    kind.wait_active("watched", &["eu"])?;
    stand.env.freeze("ap")?;
    let since = Timestamp::now();
    *frozen = Some(since);
    Ok(since)
}

const FROZEN_RGD: &str = "frozen";
const FROZEN_KIND: &str = "Frozen";

/// The time until `done`, asked without a pause that would round it.
fn timed(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let start = Instant::now();
    while !done()? {
        if start.elapsed() > PATIENCE {
            bail!("{what}: not within {PATIENCE:?}");
        }
        std::thread::yield_now();
    }
    Ok(start.elapsed())
}

fn p50(mut sample: impl FnMut(u32) -> Result<Duration>) -> Result<Duration> {
    let mut times = (0..ROUND).map(&mut sample).collect::<Result<Vec<_>>>()?;
    times.sort_unstable();
    let worst = times.last().copied().unwrap_or_default();
    ensure!(worst < WORST, "one took {worst:?}: {times:?}");
    times.get(times.len() / 2).copied().context("no times")
}

/// Median time until a changed child is repaired.
///
/// Each change has an author of its own: what one author changes over and over is soon left to him.
pub fn repairs(kind: &Kind, round: &str) -> Result<Duration> {
    let (eu, path) = (kind.stand.api("eu"), kind.beside("configmaps/watched"));
    p50(|n| {
        if n % 5 == 0 {
            // An object that is repaired again and again is repaired ever more slowly; a person's edit starts afresh.
            kind.annotate("watched", &json!({"note": format!("{round}-{n}")}))?;
            std::thread::sleep(Duration::from_millis(500));
        }
        eu.merge_patch(
            &format!("{path}?fieldManager={round}-{n}"),
            &json!({"data": {"text": format!("changed {n}")}}),
        )?;
        timed("a repair", || Ok(eu.get(&path)?.context("the child is gone")?["data"]["text"] == "one"))
    })
}

/// Median time from the creation of an instance on a healthy spoke until the hub says ACTIVE.
fn creations(kind: &Kind, round: &str) -> Result<Duration> {
    let names: Vec<String> = (0..ROUND).map(|n| format!("{round}-{n}")).collect();
    let mut next = names.iter();
    let median = p50(|_| {
        let name = next.next().context("no name left")?;
        kind.create(name, "eu", "{text: one}")?;
        timed("ACTIVE", || Ok(kind.hub(name)?["status"]["state"] == "ACTIVE"))
    })?;
    names.iter().try_for_each(|name| kind.delete(name))?;
    names.iter().try_for_each(|name| kind.wait_gone(name))?;
    Ok(median)
}

/// Best of some rounds; no more of them than are needed to be below `limit`.
pub fn best(limit: Duration, mut round: impl FnMut(usize) -> Result<Duration>) -> Result<Duration> {
    let mut best = round(0)?;
    for n in 1..ROUNDS {
        if best <= limit {
            break;
        }
        best = best.min(round(n)?);
    }
    Ok(best)
}

pub fn limit(before: Duration) -> Duration {
    let noise = if before > FLOOR * 2 { NOISE } else { Duration::ZERO };
    (before * 5 / 4).max(FLOOR) + noise
}

fn isolation(stand: &Stand) -> Result<()> {
    let kind = define(stand, "isolation", "Isolation")?;
    kind.create("watched", "eu,us", "{text: one}")?;
    kind.wait_active("watched", &["eu", "us"])?;
    creations(&kind, "warm")?;
    let (repair, creation) = (repairs(&kind, "before")?, creations(&kind, "before")?);

    freeze(stand)?;
    let down = Down::stop(stand, "us")?;
    // At once, while connections are lost and tried again, and when it is known.
    for when in ["noticing", "noticed"] {
        if when == "noticed" {
            down.wait_noticed()?;
        }
        let now = best(limit(repair), |n| repairs(&kind, &format!("{when}-{n}")))?;
        println!("repairs, p50: {repair:?} before, {now:?} with one spoke down and one frozen ({when})");
        ensure!(now <= limit(repair), "repairs ({when}): {now:?}, before {repair:?}");
        let now = best(limit(creation), |n| creations(&kind, &format!("{when}-{n}")))?;
        println!("creations, p50: {creation:?} before, {now:?} with one spoke down and one frozen ({when})");
        ensure!(now <= limit(creation), "creations ({when}): {now:?}, before {creation:?}");
    }
    down.start()?;
    kind.wait_active("watched", &["eu", "us"])?;
    kind.remove("watched")
}

fn frozen(stand: &Stand) -> Result<()> {
    let since = freeze(stand)?;
    let kind = Kind {
        stand,
        rgd: FROZEN_RGD.to_owned(),
        kind: FROZEN_KIND.to_owned(),
        plural: format!("{}s", FROZEN_KIND.to_lowercase()),
    };
    let lost = eventually(NOTICED + Duration::from_secs(2), "Cluster ap Ready=False", || {
        let cluster = cluster(stand, "ap")?;
        let ready = condition(&cluster, "Ready").cloned().unwrap_or_default();
        ensure!(ready["status"] == "False" && ready["reason"] == "Unreachable", "{ready}");
        Ok(ready)
    })?;
    let at: Timestamp = lost["lastTransitionTime"].as_str().context("since when?")?.parse()?;
    let after = at.as_second() - since.as_second();
    println!("a frozen spoke was noticed after {after} s");
    ensure!((0..=NOTICED.as_secs() as i64).contains(&after), "noticed only after {after} s: {lost}");
    eventually(PATIENCE, "the instance says so", || {
        let entry = entry(&kind.hub("a")?, "ap")?;
        ensure!(entry["state"] == "Unreachable", "{entry}");
        Ok(())
    })?;
    kind.edit("a", "{text: two}")?;
    kind.wait_child("eu", "configmaps/a", |c| c["data"]["text"] == "two")?;
    // What is asked of it now hangs; what is compared comes when it is back.
    let hanging = best(FLOOR, |n| repairs(&kind, &format!("frozen-{n}")))?;
    stand.env.thaw("ap")?;
    *FROZEN.lock().unwrap_or_else(PoisonError::into_inner) = None;
    stand.env.wait_cluster_ready("hub", "ap", PATIENCE)?;
    kind.wait_child("ap", "configmaps/a", |c| c["data"]["text"] == "two")?;
    kind.wait_active("a", &["eu", "ap"])?;
    let healthy = repairs(&kind, "healthy")?;
    println!("repairs, p50: {hanging:?} with one spoke frozen, {healthy:?} when it is back");
    ensure!(hanging <= limit(healthy), "repairs: {hanging:?} with one spoke frozen, {healthy:?} without");
    kind.remove("watched")?;
    kind.remove("a")
}
