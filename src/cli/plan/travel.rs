//! How what changes would travel, where a Placement lets it go by stages: by production's own decisions.

use super::deciding::Decided;
use crate::api::Object;
use crate::api::names::{ClusterName, GroupKind, InstanceKey, ObjectRef};
use crate::cli::diff::comparing::Subject;
use crate::reconcile::fleet::rollout::ahead::{Ahead, Stands, moves_kind, of_instance, of_kind};
use crate::reconcile::fleet::rollout::kind::Member;
use crate::reconcile::policy::{Effective, PolicyName};
use crate::reconcile::rollout::unit::{Leg, Version};
use crate::reconcile::spoke::has_hub_part;
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

/// A member of a kind that moves as one, with the labels of its instance.
type OfKind = (Member, BTreeMap<String, String>, Stands);

/// All that travels.
#[derive(Default)]
pub struct Travelling {
    told: Vec<RolloutChange>,
    /// By kind, which ClusterPlacement moves its revision, and whom.
    kinds: BTreeMap<GroupKind, (Arc<Effective>, String, Vec<OfKind>)>,
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
        let written = live.and_then(|live| live.0.pointer("/status/fleet/rollout"));
        let known = &decided.is.side.clusters;
        let ahead = of_instance(&placements, known, &members, written).filter(|_| is_version);
        let of = |by: String| RolloutChange {
            by,
            definition: String::new(),
            instances: vec![title(key)],
            version: 0,
            stages: Vec::new(),
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
        let (.., members) = self
            .kinds
            .entry(key.gk.clone())
            .or_insert_with(|| (by.clone(), new.graph.rgd_name.clone(), Vec::new()));
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
        for (by, definition, members) in self.kinds.into_values() {
            if members.iter().all(|(.., stands)| stands.same) {
                continue;
            }
            let written = decided.live.get(&placement(&by.name)).copied();
            let written = written.and_then(|live| live.0.pointer("/status/rollout/kind"));
            let known = &decided.is.side.clusters;
            let Some(ahead) = of_kind(&by, known, &members, written) else { continue };
            let mut instances: Vec<String> = Vec::new();
            for (member, .., stands) in &members {
                let title = title(&member.instance);
                if !stands.same && !instances.contains(&title) {
                    instances.push(title);
                }
            }
            let next = decided.next_revision(&definition);
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
