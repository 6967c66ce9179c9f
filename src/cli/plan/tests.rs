//! From files and a hub to what clusters are told.

use super::overlay::{self, Deleted, lay};
use super::reading::Read;
use crate::api::Object;
use crate::api::names::HubId;
use clap::Parser;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: super::Args,
}

fn hub(objects: Vec<Value>) -> Read {
    Read {
        objects: objects.into_iter().map(Object).collect(),
        clusters: Vec::new(),
        facts: BTreeMap::new(),
        revisions: BTreeMap::new(),
        documents: Vec::new(),
        hub_id: HubId::new("h"),
    }
}

fn definition() -> Value {
    json!({"apiVersion": "kro.run/v1alpha1", "kind": "ResourceGraphDefinition", "metadata": {"name": "web", "uid": "r"},
        "spec": {"schema": {"apiVersion": "v1alpha1", "kind": "Web", "spec": {}}, "resources": []}})
}

fn web(name: &str, metadata: Value) -> Value {
    let mut object =
        json!({"apiVersion": "kro.run/v1alpha1", "kind": "Web", "metadata": metadata, "spec": {"a": 1}});
    object["metadata"]["name"] = name.into();
    object
}

fn laid(objects: Vec<Value>, files: Vec<Value>, delete: &[&str]) -> Result<overlay::Laid, String> {
    let files = files.into_iter().map(|object| ("f.yaml".to_owned(), Object(object))).collect();
    let delete: Vec<Deleted> = delete.iter().map(|text| overlay::deleted(text).unwrap()).collect();
    lay(&hub(objects), files, &delete, "shop").map_err(|error| format!("{error:#}"))
}

/// The object of a name, as it is laid.
fn object(laid: &overlay::Laid, name: &str) -> Option<Value> {
    let read = laid.texts.iter().filter_map(|(_, text)| serde_saphyr::from_str::<Value>(text).ok());
    read.into_iter().find(|object| object["metadata"]["name"] == name)
}

#[test]
fn files_are_laid_over_what_the_hub_has() {
    let live = web(
        "one",
        json!({"namespace": "shop", "uid": "u", "resourceVersion": "5", "labels": {"old": "x"},
            "annotations": {"hub.kro.run/holds": "eu", "hub.kro.run/clusters": "eu"}}),
    );
    let other = web("two", json!({"namespace": "shop", "uid": "v"}));
    let file = web("one", json!({"annotations": {"hub.kro.run/clusters": "us"}, "labels": {"new": "y"}}));
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
    let laid = laid(vec![definition(), live, other], vec![file, config], &[]).unwrap();
    let one = object(&laid, "one").unwrap();
    assert_eq!(one["metadata"]["uid"], "u");
    assert_eq!(
        one["metadata"]["annotations"],
        json!({"hub.kro.run/holds": "eu", "hub.kro.run/clusters": "us"}),
        "what the controller notes stays; what the author wrote is the file's"
    );
    assert_eq!(one["metadata"]["labels"], json!({"new": "y"}));
    assert!(object(&laid, "two").is_some() && object(&laid, "web").is_some());
    assert_eq!(laid.touched.instances.len(), 1);
    assert!(laid.notes[0].starts_with("1 objects in the files"), "{:?}", laid.notes);
}

#[test]
fn what_the_controller_set_on_a_cluster_is_no_matter_of_its_file() {
    let cluster = |labels: Value| json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster", "metadata": {"name": "eu", "labels": labels}, "spec": {}});
    let mut live = cluster(json!({"region": "eu", "tier": "old"}));
    live["metadata"]["managedFields"] = json!([{"manager": "kro-hub", "operation": "Apply",
        "fieldsV1": {"f:metadata": {"f:labels": {"f:region": {}}}}}]);
    let laid = laid(vec![live], vec![cluster(json!({"tier": "new"}))], &[]).unwrap();
    let eu = object(&laid, "eu").unwrap();
    assert_eq!(eu["metadata"]["labels"], json!({"region": "eu", "tier": "new"}));
}

#[test]
fn what_is_deleted_is_named_as_on_the_command_line() {
    let all = || vec![definition(), web("one", json!({"namespace": "shop", "uid": "u"}))];
    for (delete, want) in [
        ("web/one", Ok(false)),
        ("webs.kro.run/one", Ok(false)),
        ("rgd/web", Ok(true)),
        ("web/two", Err("it is not on the hub")),
        ("cluster/eu", Err("it is not on the hub")),
        ("wob/one", Err("did you mean webs")),
    ] {
        match (laid(all(), vec![], &[delete]), want) {
            (Ok(laid), Ok(has_instance)) => {
                assert_eq!(object(&laid, "one").is_some(), has_instance, "{delete}");
            }
            (Err(said), Err(want)) => assert!(said.contains(want), "{delete}: {said}"),
            (got, _) => panic!("{delete}: {:?}", got.map(|laid| laid.texts)),
        }
    }
    let both = laid(all(), vec![web("one", json!({}))], &["web/one"]).err().unwrap();
    assert!(both.contains("among the files too"), "{both}");
    assert!(overlay::deleted("web").is_err() && overlay::deleted("web/a/b").is_err());
}

#[test]
fn the_command_line_wants_files_or_something_to_delete() {
    for (line, good) in [
        ("plan -f a.yaml b.yaml", true),
        ("plan --delete web/one --unreachable skip", true),
        ("plan", false),
        ("plan -f a --from ui", false),
        ("plan -f a --delete web", false),
    ] {
        assert_eq!(Line::try_parse_from(line.split(' ')).is_ok(), good, "{line}");
    }
}
