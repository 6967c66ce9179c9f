//! What users write of where instances go: annotations, which may be forged, and Placements.

use crate::api::keys::hub;
use crate::api::names::{ClusterName, InstanceKey};
use crate::api::{GroupKind, Object};
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::placement::{
    Around, ClusterView, DefaultPlacement, Past, Reach, Record, Said, Selector, Words, decide, holds, names,
};
use crate::reconcile::policy::{Count, Policy};
use crate::reconcile::{Moment, Now};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Of the instance.
const NAMESPACE: &str = "shop";
const ANNOTATIONS: [(&str, &str); 6] = [
    ("clusters", hub::CLUSTERS),
    ("selector", hub::CLUSTER_SELECTOR),
    ("holds", hub::HOLDS),
    ("decided", hub::DECIDED),
    ("allow", hub::ALLOW_SHRINK),
    ("release", hub::RELEASE),
];

/// Lines `clusters: …`, `selector: …`, `holds: …`, `decided: …`, `allow: …` and `release: …`, as they stand on an instance;
/// those after a line `---` are the JSON of a Placement.
///
/// # Panics
/// A law is broken.
pub fn placement(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (lines, object) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let mut annotations = Map::new();
    for (name, value) in lines.lines().filter_map(|line| line.split_once(": ")) {
        let key = ANNOTATIONS.iter().find(|(short, _)| *short == name);
        annotations.extend(key.map(|(_, key)| ((*key).to_owned(), json!(value))));
    }
    let metadata = json!({"name": "web", "namespace": NAMESPACE, "annotations": annotations});
    let instance = Object(json!({"metadata": metadata}));
    let all = clusters();
    let policy = policy(object, &all);
    decided(&instance, &all, policy.as_ref());
    if let Ok(selector) = Selector::parse(instance.annotation(hub::CLUSTER_SELECTOR).unwrap_or_default()) {
        let _ = all.values().filter(|cluster| selector.matches(&cluster.view.labels)).count();
    }
}

fn clusters() -> BTreeMap<ClusterName, ClusterState> {
    let state = |name: &str, region: &str, more: Value| {
        let labels: BTreeMap<String, String> = [("region".to_owned(), region.to_owned())].into();
        let taints = serde_json::from_value(more["taints"].clone()).unwrap_or_default();
        let allowed_namespaces = serde_json::from_value(more["allowed"].clone()).unwrap_or_default();
        let view = ClusterView { labels, local: name == "local", taints, allowed_namespaces, leaving: false };
        let facts =
            json!({"name": name, "id": name, "labels": {"region": region}, "properties": {}, "version": {}});
        let health = ClusterHealth::Ready;
        let cluster = ClusterState { view, health, facts: Some(Arc::new(facts)), ..ClusterState::default() };
        (ClusterName::new(name), cluster)
    };
    let taint = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
    [
        state("eu-1", "eu", Value::Null),
        state("eu-2", "eu", taint),
        state("us-1", "us", json!({"allowed": ["other"]})),
        state("local", "hub", Value::Null),
    ]
    .into()
}

/// A Placement of the instance's namespace, decided.
fn policy(text: &str, all: &BTreeMap<ClusterName, ClusterState>) -> Option<Policy> {
    let mut object: Value = serde_json::from_str(text).ok()?;
    let top = object.as_object_mut()?;
    top.insert("metadata".into(), json!({"name": "web", "namespace": NAMESPACE, "generation": 1}));
    let object = Object(object);
    let mut policy = Policy::new(&object);
    let now = Moment::START;
    policy.decide(all, now);
    assert!(policy.invalid().is_none_or(|why| !why.is_empty()));
    let first = policy.effective().cloned();
    assert!(!policy.decide(all, now) && policy.effective() == first.as_ref(), "the same again");
    let mut again = Policy::new(&object);
    again.decide(all, now);
    assert_eq!(again.effective(), first.as_ref(), "the same after a restart");
    let key = |namespace: &str| InstanceKey::new(GroupKind::new("kro.run", "WebApp"), namespace, "web");
    let elsewhere = key("other");
    assert!(
        policy.selects().is_none_or(|selects| !selects.may_match(&elsewhere)),
        "another namespace's instance"
    );
    let at = Now { rfc3339: "2026-01-01T00:00:00Z".into(), ..Now::default() };
    drop(policy.status(&Count { is_served: true, instances: 1, ..Count::default() }, &at));
    Some(policy)
}

fn decided(instance: &Object, all: &BTreeMap<ClusterName, ClusterState>, policy: Option<&Policy>) {
    let (holds, _) = holds(instance.annotation(hub::HOLDS));
    let record = Record::on(instance);
    let written = record.text(&holds);
    assert_eq!(
        Record::read(Some(&written), &holds).text(&holds),
        written,
        "a record is read as it was written"
    );
    let past = Past {
        holds: holds.clone(),
        record,
        found: BTreeSet::new(),
        allow_shrink: instance.annotation(hub::ALLOW_SHRINK).map(str::to_owned),
        waited: BTreeSet::new(),
        released: names(instance.annotation(hub::RELEASE)),
    };
    let views: BTreeMap<ClusterName, ClusterView> =
        all.iter().map(|(n, c)| (n.clone(), c.view.clone())).collect();
    let placements: Vec<_> = policy.and_then(Policy::effective).cloned().into_iter().collect();
    let key = InstanceKey::new(GroupKind::new("kro.run", "WebApp"), NAMESPACE, "web");
    let said = Said {
        placements: &placements,
        key: &key,
        reach: &|_| Reach::Ready,
        is_active: &|_| true,
        trouble: false,
        trouble_at: 0,
        now: 1_800_000_000,
    };
    let around = Around {
        namespace: NAMESPACE,
        clusters: &views,
        default: DefaultPlacement::Local,
        said: policy.map(|_| &said),
    };
    let words = Words::of(instance);
    let decision = decide(&words, around, &past);
    assert_eq!(decision, decide(&words, around, &past), "the same again");
    let record = &past.record;
    let recorded = [&holds, &record.placed, &record.restored, &record.gone, &record.held];
    for name in &decision.spokes {
        // What was there stays for as long as somebody has to let it go.
        if recorded.iter().any(|names| names.contains(name)) || record.unmatched.contains_key(name) {
            continue;
        }
        let allowed = views.get(name).map(|view| &view.allowed_namespaces);
        assert!(allowed.is_some(), "{name} is nowhere");
        let admits = |all: &&Vec<String>| all.is_empty() || all.iter().any(|n| n == NAMESPACE);
        assert!(allowed.is_some_and(|all| admits(&all)), "{name} is not allowed");
    }
    let text = decision.record.text(&holds);
    assert_eq!(Record::read(Some(&text), &holds), decision.record, "what is recorded is read as it was");
}
