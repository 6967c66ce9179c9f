//! RolloutApprovals that count for nothing. They have no status, so an Event on them says so: once, a moment after they were
//! made, when what they are about had time to come. What was there at the start was told before.

use super::{InstanceKey, Instances};
use crate::api::Object;
use crate::api::names::GroupKind;
use crate::api::rollout_approval::{RolloutApproval, RolloutApprovalSpec};
use crate::reconcile::Moment;
use crate::reconcile::rollout::approving::Approves;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Tools apply what belongs together within this.
const LATER: Duration = Duration::from_secs(5);

/// Those that nobody judged yet, by uid, with when to.
#[derive(Default)]
pub(super) struct Unjudged(BTreeMap<String, (Moment, Arc<Object>)>);

impl Unjudged {
    pub fn add(&mut self, approval: Arc<Object>, now: Moment) {
        self.0.insert(approval.uid().to_owned(), (now.after(LATER), approval));
    }

    pub fn remove(&mut self, approval: &Object) {
        self.0.remove(approval.uid());
    }

    fn due(&self) -> Option<Moment> {
        self.0.values().map(|(at, _)| *at).min()
    }

    fn take_due(&mut self, now: Moment) -> Vec<Arc<Object>> {
        let due: Vec<String> =
            self.0.iter().filter(|(_, (at, _))| *at <= now).map(|(uid, _)| uid.clone()).collect();
        due.into_iter().filter_map(|uid| self.0.remove(&uid)).map(|(_, approval)| approval).collect()
    }
}

/// What an approval comes to.
enum Judged {
    Counts,
    /// Nobody can say yet.
    Open,
    Nothing(String),
}

impl Judged {
    /// `said`: what the rollout says of it; `None` where there is none.
    fn of(said: Option<Option<String>>, or: impl FnOnce() -> Self) -> Self {
        match said {
            Some(Some(why)) => Self::Nothing(why),
            Some(None) => Self::Counts,
            None => or(),
        }
    }
}

impl Instances {
    /// When an approval is to be judged.
    pub fn judges_approvals_at(&self) -> Option<Moment> {
        self.approvals.due()
    }

    /// Approvals that count for nothing, of those whose time to be judged has come, each with why.
    pub fn judge_approvals(&mut self, now: Moment) -> Vec<(Arc<Object>, String)> {
        let mut found = Vec::new();
        for object in self.approvals.take_due(now) {
            match self.judge_approval(&object) {
                Judged::Counts => {}
                Judged::Open => self.approvals.add(object, now),
                Judged::Nothing(why) => found.push((object, format!("it counts for nothing: {why}"))),
            }
        }
        found
    }

    fn judge_approval(&self, object: &Object) -> Judged {
        let Ok(approval) = serde_json::from_value::<RolloutApproval>(object.0.clone()) else {
            return Judged::Counts;
        };
        let RolloutApprovalSpec { instance, cluster_placement, version, stage } = approval.spec;
        let Ok(version) = u64::try_from(version) else { return Judged::Counts };
        let approves = Approves { version, stage: &stage };
        match (instance, cluster_placement) {
            (Some(instance), _) => {
                let gk = GroupKind::new(&instance.group, &instance.kind);
                let key = InstanceKey::new(gk, object.namespace(), &instance.name);
                self.judge_of_instance(&key, approves)
            }
            (None, Some(name)) => self.judge_of_kind(object.namespace(), &name, approves),
            (None, None) => Judged::Counts,
        }
    }

    fn judge_of_instance(&self, key: &InstanceKey, approves: Approves) -> Judged {
        let Some(kind) = self.kinds.get(&key.gk) else {
            return Judged::Nothing(format!("no ResourceGraphDefinition makes {}", key.gk));
        };
        if !kind.view.is_synced() {
            return Judged::Open;
        }
        let place = self.place_of(key);
        let Some(slot) = place.and_then(|place| kind.slots.get(&place)) else {
            let (gk, namespace) = (&key.gk, &key.namespace);
            return Judged::Nothing(format!("there is no {} {} in namespace {namespace}", gk.kind, key.name));
        };
        if slot.fleet.is_planned() {
            let none =
                || Judged::Nothing(format!("no rollout with stages moves {} {}", key.gk.kind, key.short()));
            Judged::of(slot.fleet.judges(approves), none)
        } else {
            Judged::Open
        }
    }

    fn judge_of_kind(&self, namespace: &str, name: &str, approves: Approves) -> Judged {
        let home = &self.rollouts.home;
        if namespace != home {
            let why = format!("what is approved of a ClusterPlacement stands in namespace {home}, not here");
            return Judged::Nothing(why);
        }
        let Some(gk) = self.policies.kind_moved_by(name) else {
            return Judged::Nothing(format!(
                "there is no ClusterPlacement {name} whose rollout has the scope Kind"
            ));
        };
        let mover = self.policies.moves_kind(gk);
        if let Some(mover) = mover.filter(|mover| *mover.effective.name.name != *name) {
            return Judged::Nothing(format!("{} moves {gk}, not this one", mover.effective.name));
        }
        let rollout = self.kinds.get(gk).and_then(|kind| kind.rollout.as_ref());
        // Without instances there is nothing to approve yet.
        Judged::of(rollout.and_then(|rollout| rollout.judges(approves)), || Judged::Counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::{Gvk, HubId};
    use crate::hub::definitions::Effect;
    use crate::reconcile::fleet::placement::DefaultPlacement;
    use crate::spoke::watch::Listed;
    use serde_json::{Value, json};

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    fn approval(name: &str, namespace: &str, spec: &Value) -> Value {
        let mut spec = spec.clone();
        (spec["version"], spec["stage"]) = (json!(1), json!("prod"));
        json!({"metadata": {"name": name, "namespace": namespace, "uid": name, "resourceVersion": "1"}, "spec": spec})
    }

    fn instances() -> Instances {
        let mut instances = Instances::new(HubId::new("h"), DefaultPlacement::Local);
        instances.lives_in("home");
        let gvk = Gvk::new("kro.run", "v1alpha1", "App");
        let gk = gvk.group_kind();
        instances.serve(Effect::Watch { gvk, plural: "apps".into() });
        instances.seen(&gk, Listed::Started);
        instances.seen(&gk, Listed::Done(1));
        instances.seen_approval(Listed::Started, at(0));
        let old = json!({"instance": {"kind": "Nobodys", "name": "old"}});
        instances.seen_approval(Listed::Object(approval("old", "shop", &old)), at(0));
        instances.seen_approval(Listed::Done(1), at(0));
        instances
    }

    #[test]
    fn an_approval_that_counts_for_nothing_is_told_of_once_a_moment_later() {
        for (namespace, spec, want) in [
            (
                "shop",
                json!({"instance": {"kind": "Other", "name": "web"}}),
                "it counts for nothing: no ResourceGraphDefinition makes Other.kro.run",
            ),
            (
                "shop",
                json!({"instance": {"kind": "App", "name": "web"}}),
                "it counts for nothing: there is no App web in namespace shop",
            ),
            (
                "shop",
                json!({"clusterPlacement": "app"}),
                "it counts for nothing: what is approved of a ClusterPlacement stands in namespace home, not here",
            ),
            (
                "home",
                json!({"clusterPlacement": "app"}),
                "it counts for nothing: there is no ClusterPlacement app whose rollout has the scope Kind",
            ),
        ] {
            let mut instances = instances();
            assert_eq!(instances.judges_approvals_at(), None, "those that are listed first were told");
            instances.seen_approval(Listed::Object(approval("a", namespace, &spec)), at(10));
            assert_eq!(instances.judges_approvals_at(), Some(at(15)));
            assert!(instances.judge_approvals(at(14)).is_empty());
            let told = instances.judge_approvals(at(15));
            let told: Vec<(&str, &str)> =
                told.iter().map(|(object, why)| (object.name(), why.as_str())).collect();
            assert_eq!(told, [("a", want)]);
            assert_eq!(instances.judges_approvals_at(), None);
        }
    }

    #[test]
    fn what_nobody_looked_at_yet_is_judged_later_and_what_went_never() {
        let mut instances = instances();
        let object =
            json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "1"}});
        instances.seen(&GroupKind::new("kro.run", "App"), Listed::Object(object));
        let spec = json!({"instance": {"kind": "App", "name": "web"}});
        instances.seen_approval(Listed::Object(approval("a", "shop", &spec)), at(10));
        assert!(instances.judge_approvals(at(15)).is_empty());
        assert_eq!(instances.judges_approvals_at(), Some(at(20)));
        instances.seen_approval(Listed::Left(approval("a", "shop", &spec)), at(16));
        assert_eq!(instances.judges_approvals_at(), None);
    }
}
