//! The machine of one Placement: it reads the words, decides which clusters they mean, and keeps what would be lost until
//! somebody acknowledges. What it decided stands in the status, so that a restart knows what there was to lose.

use super::clusters::{self, Matching, OutOfReach};
use super::effective::{Chosen, Effective};
use super::guard::{self, Held, Verdict};
use super::{PolicyName, Selects, nulls};
use crate::api::Object;
use crate::api::hash;
use crate::api::names::ClusterName;
use crate::api::placement::{Decided, Instances, Placement, PlacementSpec, PlacementStatus};
use crate::api::rollout::Rollout;
use crate::reconcile::Moment;
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::placement::names;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// So long a cluster is kept that was lost without an edit, in case more are lost. Each further loss begins it anew.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Policy {
    pub(super) name: PolicyName,
    pub(super) generation: i64,
    pub(super) deleting: bool,
    pub(super) spec: PlacementSpec,
    /// The status as it was written last.
    pub(super) written: PlacementStatus,
    pub(super) selects: Option<Selects>,
    clusters: Option<clusters::Read>,
    pub(super) invalid: Option<String>,
    pub(super) decided: Option<Decided>,
    pub(super) matching: Matching,
    pub(super) held: Option<Held>,
    /// Clusters that stay since the expression could not be answered there.
    pub(super) unsure: usize,
    /// Clusters that were lost a moment ago, and until when they are kept.
    losing: Option<(BTreeSet<ClusterName>, Moment)>,
    /// So many clusters of so many are out of reach that none is replaced.
    pub(super) trouble: Option<OutOfReach>,
    effective: Option<Arc<Effective>>,
}

impl Policy {
    pub fn new(object: &Object) -> Self {
        let name = PolicyName::new(object.namespace(), object.name());
        let mut policy = Self {
            name,
            generation: 0,
            deleting: false,
            spec: PlacementSpec::default(),
            written: PlacementStatus::default(),
            selects: None,
            clusters: None,
            invalid: None,
            decided: None,
            matching: Matching::default(),
            held: None,
            unsure: 0,
            losing: None,
            trouble: None,
            effective: None,
        };
        policy.see(object);
        // Only the first look believes the status: from then on the machine knows better.
        policy.decided = policy.written.decided.clone();
        policy
    }

    /// The object is like this now.
    pub fn see(&mut self, object: &Object) {
        self.generation = object.generation();
        self.deleting = object.is_deleting();
        let written = object.0.get("status").cloned().map(serde_json::from_value).transpose();
        self.written = written.ok().flatten().unwrap_or_default();
        self.invalid = match serde_json::from_value::<Placement>(object.0.clone()) {
            Ok(placement) => {
                self.spec = placement.spec;
                nulls::restore(object, &mut self.spec.overrides);
                None
            }
            Err(error) => {
                let instances = object.0.pointer("/spec/instances").cloned().unwrap_or_default();
                if let Ok(instances) = serde_json::from_value::<Instances>(instances) {
                    self.spec.instances = instances;
                }
                Some(format!("spec: {error}"))
            }
        };
        match Selects::read(&self.spec.instances, &self.name) {
            Ok(selects) => self.selects = Some(selects),
            Err(why) => drop(self.invalid.get_or_insert(why)),
        }
        match self.spec.clusters.as_ref().map(clusters::Read::of).transpose() {
            Ok(read) => self.clusters = read,
            Err(why) => drop(self.invalid.get_or_insert(why)),
        }
    }

    pub fn name(&self) -> &PolicyName {
        &self.name
    }

    pub fn rollout(&self) -> Option<&Rollout> {
        self.spec.rollout.as_ref()
    }

    /// The status as it was written last.
    pub fn written(&self) -> &PlacementStatus {
        &self.written
    }

    /// The clusters that its guard keeps, and the token that lets them go.
    pub fn held(&self) -> Option<(&BTreeSet<ClusterName>, &str)> {
        self.held.as_ref().map(|held| (&held.kept, held.token.as_str()))
    }

    /// Why it cannot be read: a sentence that begins with the field.
    pub fn invalid(&self) -> Option<&str> {
        self.invalid.as_deref()
    }

    /// `None` while that could never be read.
    pub fn selects(&self) -> Option<&Selects> {
        self.selects.as_ref()
    }

    pub fn effective(&self) -> Option<&Arc<Effective>> {
        self.effective.as_ref()
    }

    /// Decides over the complete, synced set of clusters. Whether what instances go by is another now.
    pub fn decide(&mut self, all: &BTreeMap<ClusterName, ClusterState>, now: Moment) -> bool {
        let clusters = self.chosen(all, now);
        self.trouble = Some(OutOfReach::of(all.values())).filter(|count| count.is_trouble());
        let new = Effective {
            name: self.name.clone(),
            group_kind: self.spec.instances.group_kind(),
            hash: self.hash(),
            clusters,
            on_unmatch: self.spec.on_unmatch,
            grace: self.spec.grace,
            overrides: self.spec.overrides.clone(),
            rollout: self.spec.rollout.clone(),
            invalid: self.invalid.clone(),
        };
        let changed = self.effective.as_deref() != Some(&new);
        if changed {
            self.effective = Some(Arc::new(new));
        }
        changed
    }

    /// When it is to be decided anew.
    pub fn wakes(&self) -> Option<Moment> {
        self.losing.as_ref().map(|(_, until)| *until)
    }

    fn chosen(&mut self, all: &BTreeMap<ClusterName, ClusterState>, at: Moment) -> Option<Chosen> {
        let registered = |n: &ClusterName| all.get(n).is_some_and(|c| !c.implied && !c.view.leaving);
        let before = self.decided.clone().unwrap_or_default();
        let old = &names(Some(&before.clusters)) | &names(Some(&before.held));
        let losing = self.losing.take();
        if self.invalid.is_some() {
            // What was decided before stands.
            let read = self.clusters.as_ref();
            return (read.is_some() || !old.is_empty()).then(|| Chosen {
                names: old,
                tolerations: read.map(|r| r.tolerations.clone()).unwrap_or_default(),
                limit: read.and_then(|r| r.limit.clone()),
                ..Chosen::default()
            });
        }
        self.matching = match &self.clusters {
            Some(read) => read.matching(&self.name, all),
            None => Matching::default(),
        };
        let unsure: BTreeSet<ClusterName> = self.matching.failed.keys().cloned().collect();
        let mut now = self.matching.names.clone();
        now.extend(unsure.intersection(&old).cloned());
        self.unsure = now.len() - self.matching.names.len();
        let names_only = self.clusters.as_ref().is_some_and(|read| read.names_only);
        let words = self.words();
        let waited = losing.as_ref().filter(|(_, until)| *until <= at).map(|(names, _)| names.clone());
        let Verdict { decided, held, waiting } = guard::judge(&guard::Case {
            before: self.decided.as_ref(),
            words: &words,
            names_only,
            allow_shrink: self.spec.clusters.as_ref().map_or("", |c| c.allow_shrink.as_str()),
            now: &now,
            waited: &waited.unwrap_or_default(),
            counts: &registered,
        });
        if !waiting.is_empty() {
            now.extend(waiting.iter().cloned());
            let until = losing.filter(|(names, _)| *names == waiting).map(|(_, until)| until);
            self.losing = Some((waiting, until.unwrap_or_else(|| at.after(PAUSE))));
        }
        // One that places nothing and never did has nothing to remember.
        let says_something = self.clusters.is_some() || held.is_some();
        self.decided = says_something.then_some(decided);
        self.held = held;
        if let Some(held) = &self.held {
            now.extend(held.kept.iter().cloned());
        }
        says_something.then(|| {
            let read = self.clusters.as_ref();
            Chosen {
                names: now,
                refused: self.matching.refused.keys().cloned().collect(),
                named: read.map(|r| r.filter.names().clone()).unwrap_or_default(),
                kept: self.held.as_ref().map(|held| held.kept.iter().cloned().collect()).unwrap_or_default(),
                unsure,
                names_only,
                tolerations: read.map(|r| r.tolerations.clone()).unwrap_or_default(),
                limit: read.and_then(|r| r.limit.clone()),
            }
        })
    }

    /// A print of what chooses clusters.
    fn words(&self) -> String {
        let mut clusters = json!(self.spec.clusters);
        if let Some(fields) = clusters.as_object_mut() {
            fields.remove("allowShrink");
        }
        hash::json_hex(&clusters)[..8].to_owned()
    }

    fn hash(&self) -> String {
        hash::json_hex(&json!([self.spec.instances, self.spec.clusters]))[..8].to_owned()
    }
}
