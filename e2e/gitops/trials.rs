//! First sync, edits, and rest.

use super::Run;
use super::stand::{CLUSTERS, PATIENCE, SPOKES, Stand};
use crate::env::wait::throughout;
use anyhow::{Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub const ALL: &[Run] = &[
    ("the_first_sync_from_nothing_is_one_go", first_sync),
    ("an_edit_is_not_green_while_a_spoke_hangs", hanging),
    ("an_edit_reaches_the_others_while_a_spoke_is_down", down),
    ("a_refused_definition_fails_at_once_and_its_revert_heals", refused),
    ("a_definition_grows_and_shrinks_back_and_touches_no_instance", additive),
    ("at_rest_not_one_object_is_written", rest),
    ("tracking_keys_stay_on_the_hub", tracking),
];

const DEFINITION: &str = "definitions/note.yaml";
const INSTANCES: &str = "instances/notes.yaml";
const TEXT: &str = "text: on every spoke";
/// So long a hanging spoke is watched: it is found to be out of reach within.
const HANGS: Duration = Duration::from_secs(50);
/// What cannot work is told of far sooner than a tool gives up waiting.
const AT_ONCE: Duration = Duration::from_secs(45);

fn first_sync(stand: &Stand) -> Result<()> {
    stand.begin_from_nothing()?;
    stand.write_example()?;
    let words = stand.listen()?;
    let commit = stand.commit("the example")?;
    stand.wait_green(&commit)?;
    // No try was in vain.
    words.ensure_never_failed(&commit)?;
    // Green was no promise: everything is there.
    for spoke in SPOKES {
        ensure!(stand.page(spoke, "everywhere")?.is_some(), "nothing is on {spoke}");
    }
    ensure!(stand.page("spoke-1", "europe")?.is_some() && stand.page("spoke-2", "europe")?.is_none());
    Ok(())
}

fn hanging(stand: &Stand) -> Result<()> {
    stand.sync_example()?;
    stand.edit(INSTANCES, TEXT, "text: edited while one hangs")?;
    let words = stand.listen()?;
    let commit = stand.while_hanging("spoke-2", || {
        let commit = stand.commit("an edit")?;
        words.ensure_never_green(&commit, HANGS)?;
        Ok(commit)
    })?;
    stand.wait_green(&commit)?;
    for spoke in SPOKES {
        let page = stand.page(spoke, "everywhere")?.unwrap_or_default();
        ensure!(page["data"]["text"] == "edited while one hangs", "green, and on {spoke}: {}", page["data"]);
    }
    Ok(())
}

fn down(stand: &Stand) -> Result<()> {
    stand.sync_example()?;
    let words = stand.listen()?;
    let commit = stand.while_hanging("spoke-2", || {
        stand.wait_reason(&format!("{CLUSTERS}/spoke-2"), "Unreachable")?;
        stand.edit(INSTANCES, TEXT, "text: edited while one is down")?;
        let commit = stand.commit("an edit")?;
        let start = Instant::now();
        stand.wait_page("spoke-1", "everywhere", "edited while one is down")?;
        ensure!(start.elapsed() < Duration::from_secs(30), "it took {:?}", start.elapsed());
        words.ensure_never_green(&commit, Duration::from_secs(10))?;
        Ok(commit)
    })?;
    stand.wait_green(&commit)?;
    stand.wait_page("spoke-2", "everywhere", "edited while one is down")
}

/// resourceVersions of what runs on the spokes, by path.
fn versions(stand: &Stand, clusters: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for cluster in clusters {
        for object in stand.everything(cluster)? {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let of = ["/kind", "/metadata/namespace", "/metadata/name"].map(text).join(" ");
            all.insert(format!("{cluster} {of}"), text("/metadata/resourceVersion").to_owned());
        }
    }
    Ok(all)
}

fn ensure_same(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Result<()> {
    let differs = |(a, b): (&BTreeMap<String, String>, &BTreeMap<String, String>)| {
        a.iter()
            .filter(|(path, version)| b.get(*path) != Some(version))
            .map(|(p, _)| p.clone())
            .collect::<Vec<_>>()
    };
    let moved = [differs((before, after)), differs((after, before))].concat();
    ensure!(moved.is_empty(), "written, made or gone: {moved:?}");
    Ok(())
}

fn refused(stand: &Stand) -> Result<()> {
    for (what, before, after, patience) in [
        ("reads a field that is not there", "'${schema.spec.text}'", "'${schema.spec.txet}'", AT_ONCE),
        // An edit of those instances would help too, so Flux waits as long as it waits for anything.
        ("would break the instances that are there", "text: string", "text: integer", PATIENCE),
    ] {
        stand.sync_example()?;
        let running = versions(stand, &SPOKES)?;
        stand.edit(DEFINITION, before, after)?;
        let refused = stand.commit(what)?;
        let said = stand.wait_failed(&refused, patience)?;
        ensure!(said.contains("note"), "the definition is not named: {said}");
        ensure_same(&running, &versions(stand, &SPOKES)?)?;
        stand.edit(DEFINITION, after, before)?;
        let reverted = stand.commit(&format!("revert: {what}"))?;
        stand.wait_green(&reverted)?;
        ensure_same(&running, &versions(stand, &SPOKES)?)?;
    }
    Ok(())
}

fn additive(stand: &Stand) -> Result<()> {
    stand.sync_example()?;
    let spec = |name: &str| anyhow::Ok(stand.note("hub", name)?["metadata"]["generation"].clone());
    let pages = || {
        SPOKES.map(|spoke| {
            stand.page(spoke, "everywhere").map(|page| page.unwrap_or_default()["metadata"].clone())
        })
    };
    let (generation, before) = (spec("everywhere")?, pages());
    for (message, from, to) in [
        ("a field more", "text: string", "text: string\n      author: string"),
        ("revert: a field more", "text: string\n      author: string", "text: string"),
    ] {
        stand.edit(DEFINITION, from, to)?;
        let commit = stand.commit(message)?;
        stand.wait_green(&commit)?;
        ensure!(spec("everywhere")? == generation, "{message}: the instance was written");
        for (was, is) in before.iter().zip(&pages()) {
            let (Ok(was), Ok(is)) = (was, is) else { anyhow::bail!("{was:?} {is:?}") };
            ensure!(was["resourceVersion"] == is["resourceVersion"], "{message}: {was} became {is}");
        }
    }
    Ok(())
}

fn rest(stand: &Stand) -> Result<()> {
    stand.sync_example()?;
    let clusters = ["hub", "spoke-1", "spoke-2"];
    // What follows from the sync has settled.
    std::thread::sleep(Duration::from_secs(5));
    let before = versions(stand, &clusters)?;
    let mut asked = Instant::now();
    throughout(Duration::from_secs(60), "the tool looks, and finds everything in place", || {
        if asked.elapsed() > Duration::from_secs(15) {
            asked = Instant::now();
            stand.ask()?;
        }
        Ok(())
    })?;
    ensure_same(&before, &versions(stand, &clusters)?)
}

fn tracking(stand: &Stand) -> Result<()> {
    stand.sync_example()?;
    let keys = |cluster: &str| -> Result<Vec<String>> {
        let mut found = Vec::new();
        for object in stand.everything(cluster)? {
            let metadata = &object["metadata"];
            let maps = [&metadata["labels"], &metadata["annotations"]];
            let all = maps.into_iter().filter_map(Value::as_object).flat_map(|map| map.keys());
            let tracking =
                ["argocd.argoproj.io/", "toolkit.fluxcd.io/", "app.kubernetes.io/instance", "last-applied"];
            let of_a_tool = all.filter(|key| tracking.iter().any(|part| key.contains(part)));
            found.extend(of_a_tool.map(|key| format!("{} {}: {key}", object["kind"], metadata["name"])));
        }
        Ok(found)
    };
    // They are there to be copied.
    ensure!(keys("hub")?.iter().any(|key| key.starts_with("\"Note\"")), "{:?}", keys("hub")?);
    for spoke in SPOKES {
        ensure!(stand.note(spoke, "everywhere").is_ok(), "no mirror on {spoke}");
        let found = keys(spoke)?;
        ensure!(found.is_empty(), "on {spoke}: {found:?}");
    }
    Ok(())
}
