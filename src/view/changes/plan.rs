//! What would change on clusters as they are.

use super::markdown::Frame;
use super::{Changes, RolloutChange, Summary};
use crate::view::document::View;
use crate::view::{Look, Mark};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Write;

/// What objects in files, or deletions, would do to the fleet. Nothing of it was stored.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    #[serde(flatten)]
    pub changes: Changes,
    /// How what changes would travel, where a Placement lets it go by stages.
    pub rollouts: Vec<RolloutChange>,
    /// Clusters of which it cannot be told.
    pub unplanned: Vec<Unplanned>,
    /// Clusters that were looked at, and where nothing changes.
    pub unchanged: Vec<String>,
}

/// A cluster that could not be looked at.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unplanned {
    pub cluster: String,
    /// It is the hub, for resources that live there; then no cluster is named.
    pub hub: bool,
    pub reason: String,
    /// It has no contact, and that was asked to be no failure.
    pub forgiven: bool,
}

impl View for Plan {
    const KIND: &'static str = "Plan";
}

/// Whether all could be told, and anything changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Same,
    Changes,
    /// Something is refused, or a cluster could not be looked at.
    Incomplete,
}

impl Plan {
    pub fn outcome(&self) -> Outcome {
        if self.changes.summary.refused > 0 || self.unplanned.iter().any(|one| !one.forgiven) {
            return Outcome::Incomplete;
        }
        if self.changes.is_empty() { Outcome::Same } else { Outcome::Changes }
    }

    /// `same`: also the clusters where nothing changes.
    pub fn text(&self, look: &Look, same: bool) -> String {
        let mut out = self.changes.text(look);
        self.rollouts.iter().for_each(|one| out.push_str(&one.text(look)));
        if same && !self.unchanged.is_empty() {
            let _ = writeln!(out, "{}   nothing changes", self.unchanged.join(", "));
        }
        self.unplanned.iter().for_each(|one| out.push_str(&one.line(look)));
        let _ = writeln!(out, "Plan: {}.", self.sentence());
        out
    }

    fn sentence(&self) -> String {
        let summary = &self.changes.summary;
        let Summary { clusters, unplanned, .. } = *summary;
        let all = clusters + unplanned;
        let what = if self.changes.is_empty() { "no change".to_owned() } else { summary.objects() };
        let noun = if all == 1 { "cluster" } else { "clusters" };
        format!("{what}; {clusters} of {all} {noun} planned")
    }

    pub fn markdown(&self) -> String {
        let plain = Look { colour: false, utf8: true, width: None };
        self.changes.markdown(Frame {
            mark: "<!-- kro-hub plan -->",
            nothing: format!("**Plan: {}.**", self.sentence()),
            head: format!("**Plan: {}.**", self.sentence()),
            lines: self
                .rollouts
                .iter()
                .map(|one| one.text(&plain))
                .chain(self.unplanned.iter().map(|one| one.line(&plain)))
                .collect(),
            command: "kro-hub plan",
        })
    }

    /// Commands of a workflow: one for what fails each, and what it comes to.
    pub fn github(&self) -> String {
        let mut out = String::new();
        for one in self.unplanned.iter().filter(|one| !one.forgiven) {
            let _ = writeln!(out, "::error title=not planned::{}: {}", one.place(), escaped(&one.reason));
        }
        for group in &self.changes.groups {
            for instance in &group.instances {
                let refused = instance.changes.iter().filter(|c| c.action == super::Action::Refused);
                for change in refused {
                    let place = if group.hub { "the hub".to_owned() } else { group.clusters.join(", ") };
                    let text = format!("{} on {place}: {} {}", instance.title(), change.node, change.reason);
                    let _ = writeln!(out, "::error title=refused::{}", escaped(&text));
                }
            }
        }
        let _ = writeln!(out, "::notice title=kro-hub plan::{}", escaped(&self.sentence()));
        out
    }
}

impl Unplanned {
    fn line(&self, look: &Look) -> String {
        format!("{}   {} not planned: {}\n", self.place(), look.painted(Mark::Silent, "?"), self.reason)
    }

    fn place(&self) -> &str {
        if self.hub { "the hub" } else { &self.cluster }
    }
}

/// As commands of a workflow are written: on one line.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Change, Group, InstanceChanges, StageChange};
    use super::*;

    fn plan(unplanned: Vec<Unplanned>, action: Option<Action>) -> Plan {
        let change = |action| Change {
            node: "database".into(),
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: "shop".into(),
            name: "a".into(),
            action,
            reason: if action == Action::Refused {
                "refused: 100% wrong\nindeed".into()
            } else {
                String::new()
            },
            fields: Vec::new(),
        };
        let instance = |action| InstanceChanges {
            api_version: "kro.run/v1alpha1".into(),
            kind: "Web".into(),
            namespace: "shop".into(),
            name: "shop".into(),
            placement: String::new(),
            changes: vec![change(action)],
        };
        let group =
            |action| Group { clusters: vec!["eu".into()], hub: false, instances: vec![instance(action)] };
        let summary = Summary {
            refused: usize::from(action == Some(Action::Refused)),
            delete: usize::from(action == Some(Action::Delete)),
            clusters: 1,
            unplanned: unplanned.len(),
            ..Summary::default()
        };
        let changes =
            Changes { summary, groups: action.map(group).into_iter().collect(), ..Changes::default() };
        Plan { changes, rollouts: Vec::new(), unplanned, unchanged: vec!["us".into()] }
    }

    fn dead(forgiven: bool) -> Vec<Unplanned> {
        vec![Unplanned { cluster: "ap".into(), hub: false, reason: "no answer".into(), forgiven }]
    }

    #[test]
    fn what_is_refused_or_unknown_is_no_success() {
        for (plan, want) in [
            (plan(vec![], None), Outcome::Same),
            (plan(vec![], Some(Action::Delete)), Outcome::Changes),
            (plan(vec![], Some(Action::Refused)), Outcome::Incomplete),
            (plan(dead(false), Some(Action::Delete)), Outcome::Incomplete),
            (plan(dead(true), Some(Action::Delete)), Outcome::Changes),
            (plan(dead(true), None), Outcome::Same),
        ] {
            assert_eq!(plan.outcome(), want);
        }
    }

    #[test]
    fn it_is_told_in_words() {
        let look = Look { colour: false, utf8: true, width: None };
        let text = plan(dead(true), Some(Action::Delete)).text(&look, true);
        let want = "eu   1 instance\n  Web shop/shop\n  - database  ConfigMap shop/a\nus   nothing changes\n\
                    ap   ? not planned: no answer\nPlan: 1 to delete; 1 of 2 clusters planned.\n";
        assert_eq!(text, want);
        assert_eq!(plan(vec![], None).text(&look, false), "Plan: no change; 1 of 1 cluster planned.\n");
    }

    #[test]
    fn the_hub_is_no_cluster() {
        let hub = || Unplanned { cluster: String::new(), hub: true, reason: "no".into(), forgiven: false };
        let look = Look { colour: false, utf8: true, width: None };
        let mut plan = plan(vec![hub()], None);
        plan.changes.summary.unplanned = 0;
        assert_eq!(
            plan.text(&look, false),
            "the hub   ? not planned: no\nPlan: no change; 1 of 1 cluster planned.\n"
        );
        assert_eq!(plan.outcome(), Outcome::Incomplete);
        assert!(plan.github().starts_with("::error title=not planned::the hub: no\n"));
    }

    #[test]
    fn documents_are_as_their_schema_says() {
        let stage = StageChange {
            name: "canary".into(),
            clusters: vec!["eu".into()],
            at_once: 1,
            soak_seconds: 0,
            approval: true,
        };
        let rollout = RolloutChange {
            by: "Placement shop/web".into(),
            definition: String::new(),
            instances: vec!["Web shop/shop".into()],
            version: 2,
            stages: vec![stage],
            back_to: None,
            max_failures: 0,
            paused: false,
            pinned: Some(1),
        };
        let rolling = Plan { rollouts: vec![rollout], ..plan(vec![], Some(Action::Delete)) };
        for plan in [plan(vec![], None), plan(dead(true), Some(Action::Refused)), rolling] {
            assert_eq!(crate::view::schemas::wrong(&plan), Vec::<String>::new());
        }
    }

    #[test]
    fn a_workflow_is_told_on_one_line_each() {
        let text = plan(dead(false), Some(Action::Refused)).github();
        let want = "::error title=not planned::ap: no answer\n\
                    ::error title=refused::Web shop/shop on eu: database refused: 100%25 wrong%0Aindeed\n\
                    ::notice title=kro-hub plan::1 refused; 1 of 2 clusters planned\n";
        assert_eq!(text, want);
    }

    #[test]
    fn a_comment_has_a_mark_of_its_own() {
        let text = plan(dead(false), Some(Action::Delete)).markdown();
        assert!(
            text.starts_with("<!-- kro-hub plan -->\n**Plan: 1 to delete; 1 of 2 clusters planned.**"),
            "{text}"
        );
        assert!(text.contains("ap   ? not planned: no answer") && text.contains("<details>"), "{text}");
    }
}
