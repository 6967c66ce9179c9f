//! The versions of an instance as they stand on the hub: one immutable ControllerRevision each.

use crate::api::Object;
use crate::api::hash;
use crate::api::keys::{self, hub};
use crate::api::names::{GroupKind, Gvk, InstanceKey};
use crate::graph::Graph;
use crate::reconcile::rollout::versions::{Recorded, Records};
use crate::reconcile::spoke::MirrorContent;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a version brings to a cluster.
#[derive(Clone, Debug)]
pub struct Content {
    pub mirror: Arc<MirrorContent>,
    /// Hash of the definition's graph; empty where the revision of the kind moves by itself.
    pub graph: Arc<str>,
    /// The rules of overrides that hold with it.
    pub overrides: Arc<Value>,
    /// Of all that makes it another version. It is on record: what a server makes of numbers must not look like an edit.
    print: Arc<str>,
    /// The same without the graph. Empty where an earlier release recorded none.
    words: Arc<str>,
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl Content {
    pub fn of(mirror: &Arc<MirrorContent>, graph: Option<&Graph>, overrides: Value) -> Self {
        let graph = graph.map(|graph| graph.hash.as_str()).unwrap_or_default();
        let print = hash::json(&json!([mirror.fingerprint(), graph, overrides]));
        let words = hash::json(&json!([mirror.fingerprint(), overrides]));
        Self {
            overrides: Arc::new(overrides),
            mirror: mirror.clone(),
            graph: graph.into(),
            print: format!("{print:016x}").into(),
            words: format!("{words:016x}").into(),
        }
    }

    /// Whether it differs in this alone: one of both names the revision of the definition, and with the other one the revision
    /// of the kind moves by itself.
    pub fn differs_in_who_moves_the_revision(&self, other: &Self) -> bool {
        !self.words.is_empty() && self.words == other.words && self.graph.is_empty() != other.graph.is_empty()
    }

    fn data(&self) -> Value {
        let mirror = &self.mirror;
        json!({
            "spec": mirror.spec(),
            "labels": mirror.labels(),
            "annotations": mirror.annotations(),
            "generation": mirror.generation,
            "graph": *self.graph,
            "overrides": *self.overrides,
            "print": *self.print,
            "words": *self.words,
        })
    }

    fn read(data: &Value) -> Option<Self> {
        // Whoever may write in the namespace may write this too: no more travels than of the instance itself.
        let words = |field: &str| -> BTreeMap<String, String> {
            let all = data.get(field).and_then(|words| serde_json::from_value(words.clone()).ok());
            let all: BTreeMap<String, String> = all.unwrap_or_default();
            all.into_iter().filter(|(key, _)| keys::is_mirrored(key)).collect()
        };
        let text = |field: &str| Some(Arc::from(data.get(field)?.as_str()?));
        let generation = data.get("generation").and_then(Value::as_i64).unwrap_or_default();
        let spec = data.get("spec").unwrap_or(&Value::Null);
        let mirror = MirrorContent::new(&words("labels"), &words("annotations"), spec, generation);
        let overrides = Arc::new(data.get("overrides").cloned().unwrap_or_default());
        let words = text("words").unwrap_or_default();
        Some(Self {
            mirror: Arc::new(mirror),
            overrides,
            graph: text("graph")?,
            print: text("print")?,
            words,
        })
    }
}

/// What is on record of the rollout of one instance.
#[derive(Clone, Debug, Default)]
pub struct OnRecord {
    pub versions: Records<Content>,
    /// Versions with the stages that somebody approved for them.
    pub approvals: BTreeSet<(u64, Arc<str>)>,
}

impl OnRecord {
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty() && self.approvals.is_empty()
    }
}

/// Uid of the instance that a ControllerRevision is a version of, and that version.
pub fn read_version(object: &Object) -> Option<(String, Recorded<Content>)> {
    let uid = object.label(hub::VERSION_OF)?.to_owned();
    let number = object.0.get("revision").and_then(Value::as_u64).filter(|n| *n > 0)?;
    let content = Arc::new(Content::read(object.0.get("data")?)?);
    Some((uid, Recorded { number, stable: object.label(hub::STABLE) == Some("true"), content }))
}

/// The instance that owns a version, as far as the version says it.
pub fn version_owner(version: &Object) -> Option<InstanceKey> {
    let owner = version.0.pointer("/metadata/ownerReferences/0")?;
    let text = |field: &str| owner.get(field).and_then(Value::as_str);
    let group = text("apiVersion")?.split_once('/').map_or("", |(group, _)| group);
    Some(InstanceKey::new(GroupKind::new(group, text("kind")?), version.namespace(), text("name")?))
}

/// The name that versions and approvals of an instance go by: those of cluster scoped ones stand in the controller's
/// namespace, `home`.
pub fn on_record_at(key: &InstanceKey, home: &str) -> InstanceKey {
    let namespace = if key.namespace.is_empty() { home } else { &*key.namespace };
    InstanceKey::new(key.gk.clone(), namespace, &key.name)
}

/// The name of a version's ControllerRevision.
pub fn version_name(key: &InstanceKey, uid: &str, number: u64) -> String {
    let print = hash::fnv32(&format!("{} {uid}", key.gk));
    let suffix = format!("-{print:08x}-{number}");
    let room = 253 - suffix.len();
    let name = key.name.get(..room).unwrap_or(&key.name);
    format!("{}{suffix}", name.trim_end_matches(['-', '.']))
}

/// A version as it is recorded, in the namespace of the instance.
pub fn record(
    (key, gvk, uid): (&InstanceKey, &Gvk, &str),
    number: u64,
    content: &Content,
    stable: bool,
) -> Value {
    let mut labels = json!({hub::VERSION_OF: uid});
    if stable {
        labels[hub::STABLE] = json!("true");
    }
    let owner = json!({
        "apiVersion": gvk.api_version(), "kind": *gvk.kind, "name": *key.name, "uid": uid, "controller": true,
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": version_name(key, uid, number),
            "namespace": *key.namespace,
            "labels": labels,
            "ownerReferences": [owner],
        },
        "revision": number,
        "data": content.data(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_it_was_recorded() {
        let words = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let mirror = MirrorContent::new(&words, &BTreeMap::new(), &json!({"size": 1.0, "name": "x"}), 4);
        let content = Content {
            mirror: Arc::new(mirror),
            overrides: Arc::default(),
            graph: "g".into(),
            print: "p".into(),
            words: "w".into(),
        };
        let key = InstanceKey::new(GroupKind::new("kro.run", "App"), "n", &"long.".repeat(60));
        let gvk = Gvk::new("kro.run", "v1alpha1", "App");
        for stable in [false, true] {
            let object = Object(record((&key, &gvk, "u"), 7, &content, stable));
            assert!(object.name().len() <= 253 && object.name().ends_with("-7"), "{}", object.name());
            let (uid, read) = read_version(&object).unwrap();
            assert_eq!((uid.as_str(), read.number, read.stable), ("u", 7, stable));
            assert_eq!(*read.content, content);
            assert_eq!(*read.content.mirror, *content.mirror);
        }
        let mut forged = record((&key, &gvk, "u"), 7, &content, true);
        let part_of =
            json!({"applyset.kubernetes.io/part-of": "theirs", "hub.kro.run/instance-uid": "v", "team": "a"});
        (forged["data"]["labels"], forged["data"]["annotations"]) = (part_of.clone(), part_of);
        let mirror = read_version(&Object(forged)).unwrap().1.content.mirror.clone();
        assert_eq!(
            (mirror.labels(), mirror.annotations()),
            (words.clone(), words),
            "bookkeeping does not travel"
        );
        let mut foreign = record((&key, &gvk, "u"), 7, &content, true);
        foreign["metadata"]["labels"] = json!({});
        assert!(read_version(&Object(foreign)).is_none());
    }
}
