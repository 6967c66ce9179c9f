//! How what changes would travel, where a Placement lets it go by stages: by production's own decisions.

use super::deciding::Decided;
use crate::api::Object;
use crate::api::names::{ClusterName, GroupKind, InstanceKey, ObjectRef};
use crate::cli::diff::comparing::Subject;
use crate::reconcile::fleet::rollout::Content;
use crate::reconcile::fleet::rollout::ahead::{Ahead, Known, Stands, moves_kind, of_instance, of_kind};
use crate::reconcile::fleet::rollout::kind::{Member, Revision};
use crate::reconcile::policy::{Effective, PolicyName};
use crate::reconcile::rollout::unit::{Leg, Version};
use crate::reconcile::spoke::{MirrorContent, has_hub_part};
use crate::view::changes::{RolloutChange, StageChange, together};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What changes of an instance on a cluster that it is on.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    pub was_there: bool,
    pub content: bool,
    pub graph: bool,
}

/// A kind that moves as one.
struct OfKind {
    by: Arc<Effective>,
    definition: String,
    /// Hash of the graph that comes.
    graph: Arc<str>,
    /// With the labels of their instances.
    members: Vec<(Member, BTreeMap<String, String>, Stands)>,
}

/// All that travels.
#[derive(Default)]
pub struct Travelling {
    told: Vec<RolloutChange>,
    /// By kind, which ClusterPlacement moves its revision, and whom.
    kinds: BTreeMap<GroupKind, OfKind>,
}

impl Travelling {
    /// An instance, as it would be, and what changes of it on each of its clusters.
    pub fn add(
        &mut self,
        decided: &Decided<'_>,
        key: &InstanceKey,
        new: &Subject<'_>,
        moved: BTreeMap<ClusterName, Moved>,
    ) {
        let placements = decided.is.concerning(new.instance);
        let mover =
            placements.iter().filter(|one| moves_kind(one)).min_by_key(|one| one.name.clone()).cloned();
        let live = decided.live.get(&key.object()).copied();
        if let Some(by) = &mover {
            self.add_to_kind(by, key, new, (&moved, live));
        }
        let gated = mover.is_some();
        // The local cluster has what is written at once, and what lives on the hub comes before all stages.
        let at_once = |name: &ClusterName| {
            let local = new.decision.local.as_ref() == Some(name);
            local && (gated || has_hub_part(new.graph))
        };
        let graph_moves = !gated && moved.values().any(|moved| moved.graph && moved.was_there);
        let pin = pin(decided, &placements, new).filter(|_| graph_moves);
        // By a revision that is pinned it goes on as it is.
        let changes = |moved: &Moved| moved.content || (moved.graph && !gated && pin.is_none());
        let members: BTreeMap<ClusterName, Stands> = moved
            .iter()
            .filter(|(name, _)| !at_once(name))
            .map(|(name, moved)| (name.clone(), stands(name, moved.was_there, !changes(moved), live)))
            .collect();
        // Where it comes to by a Placement it has at once what all have.
        let is_version = live.is_none() || moved.values().any(|moved| moved.was_there && changes(moved));
        let record = decided.rollouts.of_instance(key, live.map(Object::uid).unwrap_or_default());
        let mirror = Arc::new(MirrorContent::of(new.instance));
        let known = Known {
            records: &record.versions,
            approvals: &record.approvals,
            wanted: &Content::of(&mirror, (!gated).then_some(new.graph), new.rules()),
            written: live.and_then(|live| live.0.pointer("/status/fleet/rollout")),
        };
        let clusters = &decided.is.side.clusters;
        let ahead = of_instance(&placements, clusters, &members, &known).filter(|_| is_version);
        let of = |by: String| RolloutChange {
            by,
            definition: String::new(),
            instances: vec![title(key)],
            version: 0,
            stages: Vec::new(),
            back_to: None,
            max_failures: 0,
            paused: false,
            pinned: pin.as_ref().map(|(_, revision)| *revision),
        };
        match (ahead, &pin) {
            (Some(Ahead { by, version, course }), _) if !course.stages.is_empty() => {
                let legs = course.stages.iter();
                let legs = legs.map(|leg| stage(leg, leg.members.iter().map(ClusterName::as_str)));
                self.told.push(RolloutChange {
                    version,
                    stages: legs.collect(),
                    back_to: course.back_to,
                    max_failures: course.failures,
                    paused: course.paused,
                    ..of(by.to_string())
                });
            }
            (_, Some((by, _))) => self.told.push(of(by.name.to_string())),
            _ => {}
        }
    }

    fn add_to_kind(
        &mut self,
        by: &Arc<Effective>,
        key: &InstanceKey,
        new: &Subject<'_>,
        (moved, live): (&BTreeMap<ClusterName, Moved>, Option<&Object>),
    ) {
        let made = || OfKind {
            by: by.clone(),
            definition: new.graph.rgd_name.clone(),
            graph: new.graph.hash.as_str().into(),
            members: Vec::new(),
        };
        let OfKind { members, .. } = self.kinds.entry(key.gk.clone()).or_insert_with(made);
        let there = moved.iter().filter(|(_, moved)| moved.was_there);
        members.extend(there.map(|(cluster, moved)| {
            let member = Member { instance: key.clone(), cluster: cluster.clone() };
            // Which revision of the kind it was let run by: its own version is another number.
            let stands = kind_stands(cluster, !moved.graph, live);
            (member, new.instance.labels(), stands)
        }));
    }

    /// All of it, the same for several instances once.
    pub fn told(self, decided: &Decided<'_>) -> Vec<RolloutChange> {
        let mut all = Vec::new();
        for (kind, OfKind { by, definition, graph, members }) in self.kinds {
            if members.iter().all(|(.., stands)| stands.same) {
                continue;
            }
            let live = decided.live.get(&placement(&by.name)).copied();
            let next = decided.next_revision(&definition);
            let record =
                decided.rollouts.of_kind(&by.name.name, live.map(Object::uid).unwrap_or_default(), &kind);
            let known = Known {
                records: &record.versions,
                approvals: &record.approvals,
                wanted: &Revision { number: u64::try_from(next).unwrap_or_default(), graph },
                written: live.and_then(|live| live.0.pointer("/status/rollout/kind")),
            };
            let Some(ahead) = of_kind(&by, &decided.is.side.clusters, &members, &known) else { continue };
            let mut instances: Vec<String> = Vec::new();
            for (member, .., stands) in &members {
                let title = title(&member.instance);
                if !stands.same && !instances.contains(&title) {
                    instances.push(title);
                }
            }
            let pinned = by.rollout.as_ref().and_then(|r| r.revision).filter(|pin| *pin < next);
            let course = ahead.course;
            let legs = course.stages.iter().filter(|_| pinned.is_none()).map(|leg| {
                let mut seen = BTreeSet::new();
                let names = leg.members.iter().map(|member| member.cluster.as_str());
                stage(leg, names.filter(|name| seen.insert(*name)))
            });
            all.push(RolloutChange {
                by: ahead.by.to_string(),
                definition,
                instances,
                version: ahead.version,
                stages: legs.collect(),
                back_to: course.back_to.filter(|_| pinned.is_none()),
                max_failures: course.failures,
                paused: course.paused,
                pinned,
            });
        }
        all.extend(self.told);
        together(all)
    }
}

/// The lowest revision that Placements pin an instance to, where the definition would have a higher one; and which does.
fn pin(
    decided: &Decided<'_>,
    placements: &[Arc<Effective>],
    new: &Subject<'_>,
) -> Option<(Arc<Effective>, i64)> {
    let next = decided.next_revision(&new.graph.rgd_name);
    let pins = placements.iter().filter_map(|one| Some((one.clone(), one.rollout.as_ref()?.revision?)));
    pins.min_by_key(|(_, pin)| *pin).filter(|(_, pin)| *pin < next)
}

fn stage<K>(leg: &Leg<K>, clusters: impl Iterator<Item = impl Into<String>>) -> StageChange {
    StageChange {
        name: leg.stage.to_string(),
        clusters: clusters.map(Into::into).collect(),
        at_once: leg.at_once,
        soak_seconds: leg.soak,
        approval: leg.approval,
    }
}

/// `Web shop/shop`
fn title(key: &InstanceKey) -> String {
    let place = if key.namespace.is_empty() { String::new() } else { format!("{}/", key.namespace) };
    format!("{} {place}{}", key.gk.kind, key.name)
}

fn placement(name: &PolicyName) -> ObjectRef {
    let kind = if name.is_of_cluster() { "ClusterPlacement" } else { "Placement" };
    ObjectRef::new(GroupKind::new(crate::api::keys::hub::GROUP, kind), &name.namespace, &name.name)
}

/// By what the status says of the cluster.
fn stands(name: &ClusterName, there: bool, same: bool, live: Option<&Object>) -> Stands {
    Stands { version: if there { version(name, live, "version") } else { Version::Nothing }, same }
}

fn kind_stands(name: &ClusterName, same: bool, live: Option<&Object>) -> Stands {
    let of_kind = match version(name, live, "kindVersion") {
        Version::Unmarked => version(name, live, "version"),
        number => number,
    };
    Stands { version: of_kind, same }
}

fn version(name: &ClusterName, live: Option<&Object>, field: &str) -> Version {
    let entries = live.and_then(|live| live.0.pointer("/status/fleet/clusters")?.as_array());
    let entry = entries
        .into_iter()
        .flatten()
        .find(|entry| entry.get("name").and_then(Value::as_str) == Some(name.as_str()));
    let number = entry.and_then(|entry| entry.get(field)?.as_u64());
    number.map_or(Version::Unmarked, Version::Number)
}
