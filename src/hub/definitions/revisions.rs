//! GraphRevisions: immutable snapshots of a definition, issued when its graph changes.
//!
//! They are what survives a restart: while an edit does not compile, instances run on the newest snapshot that does.

use crate::api::hash::{fnv32, label_value};
use crate::api::keys::kro;
use crate::api::rgd::{Metadata, ResourceGraphDefinition, RgdSpec};
use crate::api::{Condition, ConditionStatus, Conditions, Object};
use crate::graph::{self, Graph};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// On a GraphRevision: hash of its graph.
pub const HASH_LABEL: &str = "kro.run/graph-revision-hash";
const STATUS_SCHEMA: &str = "hub.kro.run/status-schema";
const MAX_NAME: usize = 253;

/// The revisions of one definition, as the hub shows them.
#[derive(Clone, Debug, Default)]
pub struct Revisions {
    /// Ascending by number; without those that are being deleted.
    live: Vec<Arc<Object>>,
    highest: i64,
    /// Hashes of graphs that instances may run by.
    needed: BTreeSet<String>,
}

/// Whether the graph that compiles now has its snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This one.
    Issued(i64),
    /// To be issued with this number.
    Missing(i64),
}

impl Revisions {
    /// Those of `all` that belong to the definition `rgd`.
    pub fn of<'a>(rgd: &str, all: impl Iterator<Item = &'a Arc<Object>>) -> Self {
        let mut live: Vec<Arc<Object>> = Vec::new();
        let mut highest = 0;
        for object in all.filter(|o| of_definition(o) == rgd) {
            highest = highest.max(number(object));
            if !object.is_deleting() {
                live.push(object.clone());
            }
        }
        live.sort_by_key(|o| number(o));
        Self { live, highest, needed: BTreeSet::new() }
    }

    /// Whether the newest snapshot is that of `hash`. The label is not asked: another program may hash in another way.
    pub fn standing(&self, hash: &str, last_issued: i64) -> Standing {
        match self.live.last() {
            // What was issued is not shown yet: the newest that is shown says nothing.
            _ if last_issued > self.highest => Standing::Missing(last_issued + 1),
            Some(newest) if snapshot_hash(newest).as_deref() == Some(hash) => {
                Standing::Issued(number(newest))
            }
            _ => Standing::Missing(self.highest.max(last_issued) + 1),
        }
    }

    /// What the snapshot of this spec says of its status.
    pub fn status_schema(&self, hash: &str) -> Option<Value> {
        let same = self.live.iter().rev().find(|o| snapshot_hash(o).as_deref() == Some(hash))?;
        status_schema(&snapshot(same, "")?)
    }

    /// Snapshots as definitions, the newest first; what cannot be read is left out.
    pub fn snapshots(&self, rgd_uid: &str) -> Vec<ResourceGraphDefinition> {
        self.live.iter().rev().filter_map(|o| snapshot(o, rgd_uid)).collect()
    }

    /// Hashes of the graphs, by number.
    pub fn numbers(&self) -> BTreeMap<u64, String> {
        let of = |o: &Arc<Object>| Some((u64::try_from(number(o)).ok()?, snapshot_hash(o)?));
        self.live.iter().filter_map(of).collect()
    }

    pub fn newest(&self) -> Option<i64> {
        self.live.last().map(|o| number(o))
    }

    /// The same, of which those of these graphs never exceed the limit.
    pub fn needing(self, needed: &BTreeSet<String>) -> Self {
        Self { needed: needed.clone(), ..self }
    }

    /// What exceeds the limit; 0 keeps all.
    pub fn surplus(&self, limit: usize) -> Vec<Arc<Object>> {
        let count = if limit == 0 { 0 } else { self.live.len().saturating_sub(limit) };
        let is_needed = |o: &Object| {
            !self.needed.is_empty() && snapshot_hash(o).is_some_and(|hash| self.needed.contains(&hash))
        };
        self.live.iter().take(count).filter(|o| !is_needed(o)).cloned().collect()
    }

    /// Revisions that the definition with this uid does not own yet, with the ownerReferences that they should have.
    pub fn to_adopt(&self, rgd: &Metadata) -> Vec<(Arc<Object>, Value)> {
        let adopt = self.live.iter().filter_map(|object| {
            let mut owners: Vec<Value> = object
                .0
                .pointer("/metadata/ownerReferences")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let text = |o: &Value, k: &str| o.get(k).and_then(Value::as_str).unwrap_or_default().to_owned();
            let is_rgd = |o: &Value| text(o, "kind") == "ResourceGraphDefinition";
            let owned = owners.iter().any(|o| {
                is_rgd(o) && text(o, "uid") == rgd.uid && o.get("controller") == Some(&Value::Bool(true))
            });
            if owned {
                return None;
            }
            owners.retain(|o| !is_rgd(o));
            owners.push(owner(rgd));
            Some((object.clone(), Value::Array(owners)))
        });
        adopt.collect()
    }
}

pub(super) fn number(object: &Object) -> i64 {
    object.0.pointer("/spec/revision").and_then(Value::as_i64).unwrap_or_default()
}

/// Name of the definition that a GraphRevision belongs to.
pub(super) fn of_definition(object: &Object) -> &str {
    object.str_at("/spec/snapshot/name")
}

/// The definition that a GraphRevision keeps.
pub fn snapshot(object: &Object, rgd_uid: &str) -> Option<ResourceGraphDefinition> {
    let snapshot = object.0.pointer("/spec/snapshot")?;
    let spec: RgdSpec = serde_json::from_value(snapshot.get("spec")?.clone()).ok()?;
    let annotations = object.0.pointer("/metadata/annotations").cloned().unwrap_or_default();
    let metadata = Metadata {
        annotations: serde_json::from_value(annotations).unwrap_or_default(),
        name: snapshot.get("name")?.as_str()?.to_owned(),
        uid: rgd_uid.to_owned(),
        generation: snapshot.get("generation").and_then(Value::as_i64).unwrap_or_default(),
        ..Metadata::default()
    };
    Some(ResourceGraphDefinition { metadata, spec, status: None })
}

/// OpenAPI of the author's status as it was when the snapshot was made: what the kinds say later does not change it.
pub fn status_schema(snapshot: &ResourceGraphDefinition) -> Option<Value> {
    serde_json::from_str(snapshot.metadata.annotations.get(STATUS_SCHEMA)?).ok()
}

fn snapshot_hash(object: &Object) -> Option<String> {
    Some(graph::spec_hash(&snapshot(object, "")?.spec))
}

fn owner(rgd: &Metadata) -> Value {
    json!({"apiVersion": format!("{}/{}", kro::GROUP, kro::VERSION), "kind": "ResourceGraphDefinition",
        "name": rgd.name, "uid": rgd.uid, "controller": true})
}

/// The object to create.
pub fn body(rgd: &ResourceGraphDefinition, spec: &Value, graph: &Graph, revision: i64) -> Value {
    let mut annotations = graph::meaningful_annotations(rgd);
    annotations.insert(STATUS_SCHEMA.to_owned(), graph.status_schema().to_string());
    json!({
        "apiVersion": "internal.kro.run/v1alpha1",
        "kind": "GraphRevision",
        "metadata": {
            "name": name(&rgd.metadata.name, revision),
            "labels": {
                kro::OWNED: "true",
                kro::KRO_VERSION: kro::COMPATIBLE_VERSION,
                kro::RGD_NAME: label_value(&rgd.metadata.name),
                HASH_LABEL: graph.hash,
            },
            "annotations": annotations,
            "ownerReferences": [owner(&rgd.metadata)],
        },
        "spec": {
            "revision": revision,
            "snapshot": {"name": rgd.metadata.name, "generation": rgd.metadata.generation, "spec": spec},
        },
    })
}

/// The status of a revision whose graph compiled.
pub fn verified_status(graph: &Graph, generation: i64, now: &str) -> Value {
    let mut list = Conditions::new(Vec::<Condition>::new(), generation, now);
    list.set("GraphVerified", ConditionStatus::True, "Verified", "graph revision compiled and verified");
    list.set_ready_from(&["GraphVerified"]);
    json!({
        "topologicalOrder": graph.nodes.iter().map(|n| n.id.as_str()).collect::<Vec<_>>(),
        "resources": graph.resources,
        "conditions": list.into_list(),
    })
}

/// `<rgd>-r00001`; where that is too long, a cut name with a hash that keeps two definitions apart.
fn name(rgd: &str, revision: i64) -> String {
    let whole = format!("{rgd}-r{revision:05}");
    if whole.len() <= MAX_NAME {
        return whole;
    }
    let suffix = format!("-r{revision:05}-{:08x}", fnv32(rgd));
    let cut = rgd.get(..MAX_NAME - suffix.len()).unwrap_or_default().trim_end_matches(['.', '-']);
    format!("{}{suffix}", if cut.is_empty() { "gr" } else { cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(rgd: &str, number: i64, kind: &str) -> Arc<Object> {
        let spec = json!({"schema": {"kind": kind, "apiVersion": "v1"}});
        Arc::new(Object(json!({
            "metadata": {"name": name(rgd, number)},
            "spec": {"revision": number, "snapshot": {"name": rgd, "generation": 1, "spec": spec}},
        })))
    }
    fn hash(kind: &str) -> String {
        snapshot_hash(&revision("a", 1, kind)).unwrap()
    }

    #[test]
    fn a_new_spec_gets_a_new_number_and_numbers_never_go_back() {
        let all = [revision("a", 1, "One"), revision("a", 3, "Two"), revision("b", 9, "One")];
        let revisions = Revisions::of("a", all.iter());
        assert_eq!(revisions.standing(&hash("Two"), 0), Standing::Issued(3));
        assert_eq!(revisions.standing(&hash("One"), 0), Standing::Missing(4), "going back is a new revision");
        assert_eq!(revisions.standing(&hash("New"), 7), Standing::Missing(8));
        assert_eq!(revisions.standing(&hash("Two"), 4), Standing::Missing(5), "the fourth is not shown yet");
        assert_eq!(Revisions::default().standing(&hash("One"), 0), Standing::Missing(1));
    }

    #[test]
    fn the_oldest_exceed_the_limit() {
        let all: Vec<_> = (1..=6).map(|n| revision("a", n, "One")).collect();
        let revisions = Revisions::of("a", all.iter());
        assert_eq!(revisions.surplus(5).iter().map(|o| number(o)).collect::<Vec<_>>(), [1]);
        let needed = snapshot_hash(&revisions.live[0]).into_iter().collect();
        assert!(
            revisions
                .clone()
                .needing(&needed)
                .surplus(1)
                .iter()
                .all(|o| snapshot_hash(o) != snapshot_hash(&revisions.live[0]))
        );
        assert!(revisions.surplus(0).is_empty() && revisions.surplus(9).is_empty());
    }

    #[test]
    fn a_recreated_definition_adopts_what_is_there() {
        let metadata = Metadata { name: "a".into(), uid: "new".into(), ..Metadata::default() };
        let mut old = (*revision("a", 1, "One")).clone();
        old.0["metadata"]["ownerReferences"] =
            json!([{"kind": "ResourceGraphDefinition", "uid": "old"}, {"kind": "X"}]);
        let old = Arc::new(old);
        let adopted = Revisions::of("a", [&old].into_iter()).to_adopt(&metadata);
        let owners = adopted[0].1.as_array().unwrap();
        assert_eq!((owners.len(), owners[1]["uid"].as_str()), (2, Some("new")));
    }

    #[test]
    fn names() {
        assert_eq!(name("my-webapp", 1), "my-webapp-r00001");
        assert_eq!(name(&"a".repeat(246), 1), format!("{}-r00001", "a".repeat(246)));
        assert_eq!(name(&"a".repeat(247), 1), format!("{}-r00001-ee12716e", "a".repeat(237)));
        let long = format!("{}.x", "a".repeat(251));
        let (a, b) = (name(&long, 1), name(&format!("{}.y", "a".repeat(251)), 1));
        assert!(a.len() <= 253 && a != b, "{a}");
        assert_eq!(name(&".".repeat(253), 1), format!("gr-r00001-{:08x}", fnv32(&".".repeat(253))));
    }
}
