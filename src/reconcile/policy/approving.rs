//! What may be approved: the stages of the rollout that moves an instance, and of one that moves a whole kind.

use super::Policy;
use crate::api::names::InstanceKey;
use crate::api::rollout::{Rollout, Scope};
use crate::reconcile::rollout::approving::Approves;
use std::collections::BTreeMap;

/// Which stages there are to approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stages {
    These(Vec<String>),
    /// No rollout with stages moves it.
    None,
    /// Which rollout moves the instance depends on labels that nobody knows here.
    Unknown,
}

impl Stages {
    /// Those of an instance, where these are all Placements and ClusterPlacements that may be about it.
    pub fn of_instance(
        policies: &[Policy],
        key: &InstanceKey,
        labels: Option<&BTreeMap<String, String>>,
    ) -> Self {
        let nothing = BTreeMap::new();
        let about = |policy: &&Policy| {
            policy.selects().is_some_and(|selects| match labels {
                Some(labels) => selects.matches(key, labels),
                None => selects.may_match(key),
            })
        };
        let moves = |policy: &&Policy| policy.rollout().is_some_and(Rollout::moves_instances);
        // The nearest has the word: a Placement before a ClusterPlacement, then the lower name.
        let mut moving: Vec<&Policy> = policies.iter().filter(about).filter(moves).collect();
        moving.sort_by_key(|policy| (policy.name().is_of_cluster(), policy.name().clone()));
        let first_known = moving.iter().position(|policy| {
            labels.is_some() || policy.selects().is_some_and(|selects| selects.matches(key, &nothing))
        });
        match (moving.first(), first_known) {
            (None, _) => Self::None,
            (Some(policy), Some(0)) => policy.rollout().map_or(Self::None, Self::of),
            _ => Self::Unknown,
        }
    }

    /// Those of a ClusterPlacement that moves a whole kind.
    pub fn of_kind(policy: &Policy) -> Self {
        policy.rollout().filter(|rollout| rollout.scope == Scope::Kind).map_or(Self::None, Self::of)
    }

    fn of(rollout: &Rollout) -> Self {
        Self::These(rollout.stages.iter().map(|stage| stage.name.clone()).collect())
    }

    /// Why an approval counts for nothing; `none` where nothing of it is to be approved.
    pub fn refuse(&self, approval: Approves, newest: Option<u64>, none: &str) -> Option<String> {
        match self {
            Self::These(names) => approval.refused(names.iter().map(String::as_str), newest),
            Self::None => Some(none.to_owned()),
            Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Object;
    use crate::api::names::GroupKind;
    use serde_json::{Value, json};

    fn policy(namespace: &str, name: &str, instances: Value, rollout: Value) -> Policy {
        let mut metadata = json!({"name": name});
        if !namespace.is_empty() {
            metadata["namespace"] = json!(namespace);
        }
        let mut spec = json!({"instances": instances});
        if !rollout.is_null() {
            spec["rollout"] = rollout;
        }
        Policy::new(&Object(json!({"metadata": metadata, "spec": spec})))
    }

    fn stages(names: &[&str]) -> Value {
        json!({"stages": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()})
    }

    #[test]
    fn the_rollout_that_moves_an_instance_says_which_stages_there_are() {
        let app = json!({"kind": "App"});
        let key = InstanceKey::new(GroupKind::new("kro.run", "App"), "shop", "web");
        let labelled = json!({"kind": "App", "labelSelector": {"matchLabels": {"tier": "web"}}});
        let (base, all) = (policy("", "base", app.clone(), stages(&["wide"])), stages(&["canary", "prod"]));
        let near = policy("shop", "near", labelled, all);
        let pinned = policy("shop", "a", app.clone(), json!({"revision": 4}));
        let mut whole = stages(&["kinds"]);
        whole["scope"] = json!("Kind");
        let kind = policy("", "a", app, whole);
        let policies = [base, near, pinned, kind];
        let of = |labels: Option<&[(&str, &str)]>| {
            let owned = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
            let labels: Option<BTreeMap<_, _>> = labels.map(|labels| labels.iter().map(owned).collect());
            Stages::of_instance(&policies, &key, labels.as_ref())
        };
        let these = |names: &[&str]| Stages::These(names.iter().map(ToString::to_string).collect());
        assert_eq!(of(Some(&[("tier", "web")])), these(&["canary", "prod"]));
        assert_eq!(of(Some(&[])), these(&["wide"]));
        assert_eq!(of(None), Stages::Unknown);
        assert_eq!(Stages::of_kind(&policies[3]), these(&["kinds"]));
        assert_eq!(Stages::of_kind(&policies[0]), Stages::None);
        let other = InstanceKey::new(GroupKind::new("kro.run", "Other"), "shop", "web");
        assert_eq!(Stages::of_instance(&policies, &other, None), Stages::None);
        let approval = Approves { version: 8, stage: "prdo" };
        let why = of(Some(&[])).refuse(approval, Some(8), "none").unwrap();
        assert_eq!(why, "there is no stage prdo; there are wide, rest");
        assert_eq!(Stages::None.refuse(approval, None, "none").as_deref(), Some("none"));
        assert_eq!(Stages::Unknown.refuse(approval, None, "none"), None);
    }
}
