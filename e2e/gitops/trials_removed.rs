//! What a commit takes away.

use super::Run;
use super::stand::{CLUSTERS, NOTES, PATIENCE, RGDS, SPOKES, Stand};
use crate::env::eventually;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

pub const ALL: &[Run] = &[
    ("a_definition_removed_and_restored_takes_nothing_away", restored),
    ("a_removal_that_waits_for_a_spoke_holds_up_no_later_edit", waiting),
    ("everything_removed_in_one_commit_leaves_the_spokes_empty", emptied),
];

const DEFINITION: &str = "definitions/note.yaml";
const INSTANCES: &str = "instances/notes.yaml";

/// What says that an object was never made anew, nor written.
fn identity(object: &Value) -> (Value, Value) {
    (object["metadata"]["uid"].clone(), object["metadata"]["resourceVersion"].clone())
}

fn restored(stand: &Stand) -> Result<()> {
    stand.sync_example()?;
    let pages = || -> Result<Vec<(Value, Value)>> {
        SPOKES.iter().map(|s| Ok(identity(&stand.page(s, "everywhere")?.context("no page")?))).collect()
    };
    let path = format!("{RGDS}/note");
    let before = pages()?;
    let removed = stand.hub().get(&path)?.context("no definition")?;
    stand.remove(DEFINITION)?;
    stand.commit("removed by mistake")?;
    stand.wait_reason(&path, "InstancesExist")?;
    // First into Git, then let go: as docs/definitions.md says.
    stand.take_example("fleet/definitions/note.yaml", DEFINITION)?;
    let commit = stand.commit("put back")?;
    let abandon = json!({"metadata": {"annotations": {"hub.kro.run/abandon": "true"}}});
    stand.hub().merge_patch(&path, &abandon)?;
    eventually(PATIENCE, "the definition is another one", || {
        let definition = stand.hub().get(&path)?.context("there is none")?;
        ensure!(identity(&definition).0 != identity(&removed).0, "{}", definition["status"]);
        Ok(())
    })?;
    stand.wait_green(&commit)?;
    ensure!(pages()? == before, "made anew or written: {before:?}, {:?}", pages()?);
    Ok(())
}

/// Of the two notes one is on both spokes, one on the first alone.
fn waiting(stand: &Stand) -> Result<()> {
    stand.sync_example()?;
    let both = format!("{NOTES}/everywhere");
    let commit = stand.while_hanging("spoke-2", || {
        stand.wait_reason(&format!("{CLUSTERS}/spoke-2"), "Unreachable")?;
        stand.keep_document(INSTANCES, "name: europe")?;
        stand.commit("one note goes")?;
        stand.wait_gone("spoke-1", "everywhere")?;
        let waits = stand.hub().get(&both)?.context("it did not wait for spoke-2")?;
        ensure!(!waits["metadata"]["deletionTimestamp"].is_null(), "{}", waits["metadata"]);

        stand.edit(INSTANCES, "text: in Europe alone", "text: edited while a removal waits")?;
        let commit = stand.commit("the other is edited")?;
        stand.let_the_next_sync_begin()?;
        stand.wait_page("spoke-1", "europe", "edited while a removal waits")?;
        ensure!(stand.hub().get(&both)?.is_some(), "it is gone although spoke-2 was not asked");
        Ok(commit)
    })?;
    stand.wait_gone("spoke-2", "everywhere")?;
    stand.wait_green(&commit)
}

fn emptied(stand: &Stand) -> Result<()> {
    stand.sync_example()?;
    stand.remove_everything()?;
    let commit = stand.commit("all goes")?;
    stand.wait_nothing_on_hub()?;
    stand.wait_green(&commit)?;
    for spoke in SPOKES {
        let left: Vec<String> = stand
            .everything(spoke)?
            .iter()
            .filter(|object| !stays(object) && is_ours(object))
            .map(|object| format!("{} {}", object["kind"], object["metadata"]))
            .collect();
        ensure!(left.is_empty(), "left on {spoke}: {left:?}");
    }
    Ok(())
}

/// The CRD, since others may have instances of that kind by then; and which hub had the cluster.
fn stays(object: &Value) -> bool {
    object["kind"] == "CustomResourceDefinition" || object["metadata"]["name"] == "kro-hub-claim"
}

fn is_ours(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let maps = [&metadata["labels"], &metadata["annotations"]];
    // Rights that the platform team gave stay.
    let marked =
        |key: &String| ["kro.run/", "hub.kro.run/", "internal.kro.run/"].iter().any(|p| key.starts_with(p));
    object["apiVersion"].as_str().is_some_and(|version| version.contains("kro.run/"))
        || maps.into_iter().filter_map(Value::as_object).any(|map| map.keys().any(marked))
}
