//! What users do and what goes wrong, from a seed.

use super::graphs::{Blueprint, NAMESPACE, Wish, app_kind};
use super::laws;
use super::random::Random;
use super::shell::{World, hub_site, instance_key};
use crate::api::keys::hub;
use serde_json::json;

const LIMIT: u64 = 60_000;

/// Creates an instance on the hub.
fn create(world: &mut World, name: &str, wish: &Wish, clusters: Option<&str>) {
    let mut body = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": wish.value()});
    if let Some(text) = clusters {
        body["metadata"]["annotations"] = json!({hub::CLUSTERS: text});
    }
    let target = instance_key(name).object();
    world.note(|| format!("user: creates {body}"));
    drop(world.hub_server().create(&target, "user", &body));
}

fn happy(seed: u64, traced: bool) -> (World, Result<(), String>) {
    let mut random = Random::new(seed ^ 0x5eed);
    let blueprint = Blueprint::random(&mut random);
    let local = random.chance(50);
    let mut world = World::new(seed, 1 + random.below(2), local, blueprint, traced);
    for index in 0..=random.below(2) {
        let wish = Wish::random(&mut random);
        let words = random.pick(&[None, Some("*"), Some("c0")]);
        create(&mut world, &format!("app{index}"), &wish, words);
    }
    let verdict = rest(&mut world);
    (world, verdict)
}

/// Runs to rest and checks what must be so then; also that a restart writes nothing.
fn rest(world: &mut World) -> Result<(), String> {
    if world.run_to_rest(LIMIT).is_none() {
        return Err(format!("there is no end to it after {LIMIT} moves"));
    }
    world.laws.verdict()?;
    let bad = laws::at_rest(world);
    if !bad.is_empty() {
        return Err(bad.join("\n"));
    }
    world.crash();
    let before = world.writes;
    if world.run_to_rest(LIMIT).is_none() {
        return Err("there is no end to it after a restart".into());
    }
    world.laws.verdict()?;
    if world.writes != before {
        return Err(format!("a restart at rest wrote {} times", world.writes - before));
    }
    let bad = laws::at_rest(world);
    if bad.is_empty() { Ok(()) } else { Err(format!("after a restart: {}", bad.join("\n"))) }
}

/// Runs seeds; the first that breaks a law is run again with its trace.
fn check(seeds: impl Iterator<Item = u64>, run: impl Fn(u64, bool) -> (World, Result<(), String>)) {
    for seed in seeds {
        if let (_, Err(_)) = run(seed, false) {
            let (world, verdict) = run(seed, true);
            let lines = world.trace();
            let tail = lines.iter().skip(lines.len().saturating_sub(400)).map(String::as_str);
            let tail: Vec<&str> = tail.collect();
            panic!("seed {seed}\n{}\n--\n{}", tail.join("\n"), verdict.unwrap_err());
        }
    }
}

#[test]
fn instances_reach_their_clusters_and_rest() {
    check(0..100, happy);
    let _ = (hub_site(), app_kind());
}
