//! What a cluster has in a rollout, and what it waits for: in that of its instance, and in that of the whole kind.

use crate::api::Object;
use crate::api::names::GroupKind;
use crate::api::placement::Placement;
use crate::api::rollout::Rollout;
use serde_json::Value;
use std::collections::BTreeMap;

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Progress {
    version: i64,
    /// In one word.
    state: String,
    /// The first stage that is not through.
    stage: String,
}

impl Progress {
    fn read(rollout: &Value) -> Option<Self> {
        let text = |field: &str| rollout.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Self { version: rollout.get("version")?.as_i64()?, state: text("state"), stage: text("stage") })
    }

    /// Why a cluster of this stage does not have the newest version.
    fn why(&self, stage: &str) -> String {
        let is_its = self.stage.is_empty() || self.stage == stage;
        match self.state.as_str() {
            "Halted" => "the rollout is halted".into(),
            "Paused" => "the rollout is paused".into(),
            "PinRefused" => "the revision that is pinned cannot be run".into(),
            "StageUnproven" => "the stage before proves nothing".into(),
            "AwaitingApproval" if is_its => format!("stage {stage} needs approval"),
            "AwaitingApproval" => format!("stage {} needs approval first", self.stage),
            "Complete" => "its turn comes with contact".into(),
            _ if is_its => format!("its turn in stage {stage} is to come"),
            _ => format!("stage {} comes first", self.stage),
        }
    }
}

/// The rollouts of whole kinds, as their ClusterPlacements say how far they are.
#[derive(Clone, Debug, Default)]
pub struct KindRollouts(BTreeMap<GroupKind, Progress>);

impl KindRollouts {
    /// Of Placements and ClusterPlacements: of several that move one kind, that of the lower name does.
    pub fn of(placements: &[Object]) -> Self {
        let mut found: BTreeMap<GroupKind, (&str, Option<Progress>)> = BTreeMap::new();
        for object in placements.iter().filter(|object| object.namespace().is_empty()) {
            let Ok(read) = serde_json::from_value::<Placement>(object.0.clone()) else { continue };
            let moves = read.spec.rollout.as_ref().is_some_and(Rollout::moves_kind);
            let gk = read.spec.instances.group_kind();
            if moves && found.get(&gk).is_none_or(|(name, _)| *name > object.name()) {
                let progress = object.0.pointer("/status/rollout/kind").and_then(Progress::read);
                found.insert(gk, (object.name(), progress));
            }
        }
        Self(found.into_iter().filter_map(|(gk, (_, progress))| Some((gk, progress?))).collect())
    }
}

/// What an entry of a status says of rollouts, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What it has, and why no more.
    pub words: String,
    /// Why it does not have the newest version; empty where it has, or where no rollout moves it.
    pub held: String,
}

impl Told {
    /// `revision`: the number of the one that runs there.
    pub fn of(instance: &Object, kinds: &KindRollouts, entry: &Value, revision: Option<i64>) -> Self {
        let own = instance.0.pointer("/status/fleet/rollout").and_then(Progress::read);
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        let number = |field: &str| entry.get(field).and_then(Value::as_i64);
        let mut told = Self::default();
        if let Some(own) = &own {
            let has = number("version").map(|version| format!("version {version}"));
            told.add(own, text("stage"), number("version"), has);
        }
        let [stage, version] =
            if own.is_some() { ["kindStage", "kindVersion"] } else { ["stage", "version"] };
        if let Some(kind) = kinds.0.get(&instance.group_kind()) {
            told.add(
                kind,
                text(stage),
                number(version),
                revision.map(|revision| format!("revision {revision}")),
            );
        }
        told
    }

    fn add(&mut self, progress: &Progress, stage: &str, version: Option<i64>, has: Option<String>) {
        if stage.is_empty() {
            return;
        }
        let join = |before: &mut String, more: &str| {
            if !before.is_empty() {
                before.push_str("; ");
            }
            before.push_str(more);
        };
        let is_over = progress.state == "Complete";
        let is_held = version.map_or(!is_over, |version| version < progress.version);
        let mut words = match has {
            Some(has) => has,
            None if is_held => "nothing yet".to_owned(),
            None => return,
        };
        if is_held {
            let why = progress.why(stage);
            words.push_str(&format!(", held: {why}"));
            join(&mut self.held, &why);
        }
        join(&mut self.words, &words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn instance(rollout: Value) -> Object {
        Object(
            json!({"apiVersion": "kro.run/v1", "kind": "WebApp", "metadata": {"name": "shop", "namespace": "n"},
            "status": {"fleet": {"rollout": rollout}}}),
        )
    }

    fn by(name: &str, scope: &str, kind: Value) -> Object {
        Object(
            json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "ClusterPlacement", "metadata": {"name": name},
            "spec": {"instances": {"kind": "WebApp"}, "rollout": {"scope": scope, "stages": [{"name": "canary"}]}},
            "status": {"rollout": {"kind": kind}}}),
        )
    }

    fn check(rollout: Value, kinds: &[Object], entry: Value, expect: [&str; 2]) {
        let told = Told::of(&instance(rollout), &KindRollouts::of(kinds), &entry, Some(4));
        assert_eq!([told.words.as_str(), told.held.as_str()], expect, "{entry}");
    }

    #[test]
    fn what_a_cluster_waits_for_follows_from_its_stage_and_how_far_the_rollout_is() {
        let at = |state: &str, stage: &str| json!({"version": 8, "state": state, "stage": stage});
        let prod = json!({"stage": "prod", "version": 7});
        for (state, first, why) in [
            ("AwaitingApproval", "prod", "stage prod needs approval"),
            ("AwaitingApproval", "canary", "stage canary needs approval first"),
            ("InProgress", "prod", "its turn in stage prod is to come"),
            ("InProgress", "canary", "stage canary comes first"),
            ("Paused", "prod", "the rollout is paused"),
            ("Halted", "canary", "the rollout is halted"),
            ("StageUnproven", "prod", "the stage before proves nothing"),
            ("Complete", "", "its turn comes with contact"),
        ] {
            check(at(state, first), &[], prod.clone(), [&format!("version 7, held: {why}"), why]);
        }
        let waits = at("AwaitingApproval", "prod");
        check(waits.clone(), &[], json!({"stage": "canary", "version": 8}), ["version 8", ""]);
        let why = "stage prod needs approval";
        check(waits.clone(), &[], json!({"stage": "prod"}), [&format!("nothing yet, held: {why}"), why]);
        check(waits, &[], json!({}), ["", ""]);
        check(at("Complete", ""), &[], json!({"stage": "prod"}), ["", ""]);
        check(Value::Null, &[], prod, ["", ""]);
    }

    #[test]
    fn the_revision_of_a_kind_is_told_of_by_the_one_that_moves_it() {
        let waits = json!({"version": 3, "state": "AwaitingApproval", "stage": "prod", "revision": 5});
        let kinds = [by("b", "Kind", Value::Null), by("a", "Kind", waits), by("0", "Instance", Value::Null)];
        let why = "stage prod needs approval";
        let held = json!({"stage": "prod", "version": 2});
        check(Value::Null, &kinds, held, [&format!("revision 4, held: {why}"), why]);
        check(Value::Null, &kinds, json!({"stage": "canary", "version": 3}), ["revision 4", ""]);
        // The content by the one, the revision by the other.
        let own = json!({"version": 8, "state": "Complete", "stage": ""});
        let entry = json!({"stage": "all", "version": 8, "kindStage": "prod", "kindVersion": 2});
        check(own, &kinds, entry, [&format!("version 8; revision 4, held: {why}"), why]);
    }
}
