//! What is so when everything is calm: all is as the users said, and nothing else is left.

mod tests;

use super::network::HUB;
use super::wishes::{self, Child, NAMESPACE, Wish};
use super::world::World;
use crate::api::Object;
use crate::api::keys::kro;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub const REVISIONS: &str = "/apis/internal.kro.run/v1alpha1/graphrevisions";

/// What a user would complain of.
pub fn complaints(world: &World) -> Vec<String> {
    let mut bad = Vec::new();
    for name in world.spokes() {
        if world.is_registered(name) {
            let cluster = world.get(HUB, &format!("/apis/hub.kro.run/v1alpha1/clusters/{name}"));
            let ready = cluster.as_ref().and_then(|c| condition(c, "Ready"));
            if ready.is_none_or(|c| c["status"] != "True") {
                bad.push(format!("Cluster {name} is not Ready: {ready:?}"));
            }
        }
    }
    let rgd = world.get(HUB, &format!("{}/shop", wishes::RGDS)).unwrap_or_default();
    if rgd["status"]["state"] != "Active" {
        bad.push(format!("the definition is not Active: {}", rgd["status"]));
    }
    if rgd["status"]["observedGeneration"] != rgd["metadata"]["generation"] {
        bad.push(format!("the definition says nothing of its present spec: {}", rgd["status"]));
    }
    // What it says of its snapshot is there.
    let number = rgd["status"]["lastIssuedRevision"].as_u64().unwrap_or_default();
    if world.get(HUB, &format!("{REVISIONS}/shop-r{number:05}")).is_none() {
        bad.push(format!("there is no GraphRevision {number}: {}", rgd["status"]));
    }
    // Every cluster runs by the newest revision.
    let revisions = &rgd["status"]["fleet"]["revisions"];
    if !revisions.is_null() {
        let lines = |i: &Object| format!("{}: {}", i.name(), i.0["status"]["fleet"]["clusters"]);
        let lines: Vec<String> = world.instances().iter().map(lines).collect();
        bad.push(format!("the definition tells of several revisions: {revisions}; {}", lines.join("; ")));
    }
    let clusters = world.get(HUB, "/apis/hub.kro.run/v1alpha1/clusters").unwrap_or_default();
    let asked = clusters["items"].as_array().map_or(0, Vec::len);
    if rgd["status"]["fleet"]["clusters"].as_u64().unwrap_or(0) != asked as u64 {
        bad.push(format!("the definition does not tell of {asked} clusters: {}", rgd["status"]["fleet"]));
    }
    let signs = world.get(HUB, &format!("{}/sign", wishes::RGDS)).unwrap_or_default();
    if signs["status"]["state"] != "Active" {
        bad.push(format!("the definition of signs is not Active: {}", signs["status"]));
    }
    let mut wanted: BTreeMap<String, BTreeSet<Child>> = BTreeMap::new();
    for instance in world.instances() {
        let name = instance.name().to_owned();
        if instance.is_deleting() {
            bad.push(format!("{name} is still being deleted: {}", instance.0["status"]));
            continue;
        }
        if world.steered {
            bad.extend(steered(world, &instance, &mut wanted));
            continue;
        }
        let places = world.places_of(&instance);
        let nowhere = places.is_empty() || world.names_unknown(&instance);
        let want = if nowhere { "IN_PROGRESS" } else { "ACTIVE" };
        if instance.str_at("/status/state") != want {
            bad.push(format!("{name} is not {want}: {}", instance.0["status"]));
        }
        let wish = Wish::read(&instance.0["spec"]);
        for place in &places {
            for (child, data) in wishes::children(&name, &wish, world.revision()) {
                let (path, field) = (path(&child), if child.0 == "signs" { "spec" } else { "data" });
                match world.get(place, &path) {
                    // What others added stays.
                    Some(live) if data.as_object().unwrap().iter().all(|(k, v)| live[field][k] == *v) => {}
                    Some(live) => bad.push(format!("{place}: {path} has {} instead of {data}", live[field])),
                    None => bad.push(format!("{place}: {path} is missing")),
                }
                wanted.entry(place.clone()).or_default().insert(child);
            }
            if place != HUB {
                let mirror = world.get(place, &format!("{}/{name}", wishes::SHOPS)).unwrap_or_default();
                if mirror["spec"] != instance.0["spec"] {
                    bad.push(format!("{place}: the mirror of {name} has {}", mirror["spec"]));
                }
                if mirror["status"]["state"] != "ACTIVE" {
                    bad.push(format!("{place}: the mirror of {name} says {}", mirror["status"]));
                }
                wanted.entry(place.clone()).or_default().insert(("shops", name.clone()));
            }
        }
    }
    for site in world.sites() {
        for (child, object) in world.made(&site) {
            let (plural, name) = &child;
            let known = wanted.get(&site).is_some_and(|w| w.contains(&child));
            let left = world.steered && is_left(world, &site, &object);
            if !known && !left && !world.is_excused(&site, plural, &object) {
                let labels = &object.0["metadata"]["labels"];
                bad.push(format!("{site}: {plural} {name} is left over: {labels}"));
            }
        }
    }
    bad
}

/// The same of an instance that Placements may say something of.
fn steered(world: &World, instance: &Object, wanted: &mut BTreeMap<String, BTreeSet<Child>>) -> Vec<String> {
    let (ground, name) = (world.ground(), instance.name());
    let known = &ground.instances[name];
    let on: BTreeSet<String> = known.holds.iter().map(|n| n.as_str().to_owned()).collect();
    let (must, may) = (ground.must(name), ground.may(name, true));
    let mut bad = Vec::new();
    if !must.is_subset(&on) || !on.is_subset(&may) {
        bad.push(format!(
            "{name} is on {on:?}; it must be on {must:?} and may be on {may:?}: {}",
            instance.0["status"]
        ));
    }
    let (mut free, mut most) = (ground.named(known, true), 0);
    for policy in ground.selecting(name) {
        let candidates = ground.candidates(policy, true);
        match policy.spec.clusters.as_ref().and_then(|words| words.max) {
            None => free.extend(candidates),
            Some(max) => {
                most += max as usize;
                let least = ground.candidates(policy, false).len().min(max as usize);
                if on.intersection(&candidates).count() < least {
                    bad.push(format!(
                        "{name} is on {on:?}: of {candidates:?} {} may take {max}",
                        policy.name
                    ));
                }
            }
        }
    }
    if on.difference(&free).count() > most {
        bad.push(format!("{name} is on {on:?}: {free:?} and {most} more are chosen"));
    }
    let is_plain = ground.clusters.values().all(|cluster| cluster.taints.is_empty()) && most == 0;
    if is_plain && !on.is_empty() && instance.str_at("/status/state") != "ACTIVE" {
        bad.push(format!("{name} is not ACTIVE: {}", instance.0["status"]));
    }
    for site in on {
        let mirror = world.get(&site, &format!("{}/{name}", wishes::SHOPS)).unwrap_or_default();
        let contents = ground.contents_now(name, &instance.0["spec"], &site);
        if !contents.contains(&mirror["spec"]) {
            bad.push(format!(
                "{site}: the mirror of {name} has {} ({}), of {contents:?}; {}",
                mirror["spec"], mirror["metadata"]["annotations"], instance.0["status"]
            ));
        }
        if mirror["status"]["state"] != "ACTIVE" {
            bad.push(format!("{site}: the mirror of {name} says {}", mirror["status"]));
        }
        for (child, data) in wishes::children(name, &Wish::read(&mirror["spec"]), world.revision()) {
            let (path, field) = (path(&child), if child.0 == "signs" { "spec" } else { "data" });
            let live = world.get(&site, &path).unwrap_or_default();
            if !data.as_object().unwrap().iter().all(|(k, v)| live[field][k] == *v) {
                bad.push(format!(
                    "{site}: {path} has {} instead of {data}; {}",
                    live[field], instance.0["status"]
                ));
            }
            wanted.entry(site.clone()).or_default().insert(child);
        }
        wanted.entry(site).or_default().insert(("shops", name.to_owned()));
    }
    bad
}

/// Whether a Placement left it as it was when it let its instance go.
fn is_left(world: &World, site: &str, object: &Object) -> bool {
    let of = object.label(kro::INSTANCE_NAME).map(|name| name.strip_suffix(wishes::SIGN).unwrap_or(name));
    let name = of.unwrap_or(object.name());
    let laws = world.network.laws.lock().unwrap();
    let now = world.network.clock.millis();
    // Of the hub it is told as long as the instance is there.
    let from = if site == HUB { 0 } else { now };
    laws.history.during(from, now).any(|ground| ground.is_left(site, name))
}

pub fn path((plural, name): &Child) -> String {
    match *plural {
        "signs" => format!("{}/{name}", wishes::SIGNS),
        plural => format!("/api/v1/namespaces/{NAMESPACE}/{plural}/{name}"),
    }
}

pub fn condition<'a>(object: &'a Value, of_type: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|c| c["type"] == of_type)
}

/// Whether an object was made by a controller.
pub fn is_made(object: &Object) -> bool {
    object.label(kro::APPLYSET_PART_OF).is_some()
}
