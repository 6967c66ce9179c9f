//! The machine of one Placement: it reads the words, decides which clusters they mean, and keeps what would be lost until
//! somebody acknowledges. What it decided stands in the status, so that a restart knows what there was to lose.

use super::clusters::{self, Matching, OutOfReach};
use super::effective::{Chosen, Effective};
use super::guard::{self, Held, Verdict};
use super::{PolicyName, Selects, nulls, stages};
use crate::api::Object;
use crate::api::hash;
use crate::api::names::ClusterName;
use crate::api::placement::{Decided, Placement, PlacementSpec, PlacementStatus};
use crate::api::rollout::Rollout;
use crate::reconcile::Moment;
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::fleet::placement::names;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// So long a cluster is kept that was lost without an edit, in case more are lost. Each further loss begins it anew.
const PAUSE: Duration = Duration::from_secs(5);

/// The status as it stands on the object.
fn status(object: &Object) -> PlacementStatus {
    let status = object.0.get("status").cloned().map(serde_json::from_value).transpose();
    status.ok().flatten().unwrap_or_default()
}

/// A field of the spec, if that can be read by itself.
fn part<T: DeserializeOwned>(object: &Object, field: &str) -> Option<T> {
    serde_json::from_value(object.0.get("spec")?.get(field)?.clone()).ok()
}

#[derive(Debug)]
pub struct Policy {
    pub(super) name: PolicyName,
    pub(super) generation: i64,
    pub(super) deleting: bool,
    pub(super) spec: PlacementSpec,
    /// It could be read as a whole at some time.
    is_known: bool,
    /// The status as it was written last.
    pub(super) written: PlacementStatus,
    pub(super) selects: Option<Selects>,
    /// As they were read last, or decided by.
    clusters: Option<clusters::Read>,
    pub(super) invalid: Option<String>,
    pub(super) decided: Option<Decided>,
    pub(super) matching: Matching,
    pub(super) held: Option<Held>,
    /// How many registered clusters it means, those that are kept among them.
    pub(super) taken: usize,
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
            is_known: false,
            written: PlacementStatus::default(),
            selects: None,
            clusters: None,
            invalid: None,
            decided: None,
            matching: Matching::default(),
            held: None,
            taken: 0,
            losing: None,
            trouble: None,
            effective: None,
        };
        // Only the first look believes the status: from then on the machine knows better.
        policy.decided = status(object).decided;
        policy.see(object);
        policy
    }

    /// The object is like this now.
    pub fn see(&mut self, object: &Object) {
        self.generation = object.generation();
        self.deleting = object.is_deleting();
        self.written = status(object);
        self.invalid = match serde_json::from_value::<Placement>(object.0.clone()) {
            Ok(placement) => {
                self.spec = placement.spec;
                self.is_known = true;
                nulls::restore(object, &mut self.spec.overrides);
                None
            }
            Err(error) => {
                self.see_in_part(object);
                Some(format!("spec: {error}"))
            }
        };
        match Selects::read(&self.spec.instances, &self.name) {
            Ok(selects) => self.selects = Some(selects),
            Err(why) => drop(self.invalid.get_or_insert(why)),
        }
        let read = self.spec.clusters.as_ref().map(clusters::Read::of).transpose();
        let stages = self.spec.rollout.as_ref().and_then(|rollout| stages::problems(rollout).next());
        let problem = read.as_ref().err().cloned().or(stages);
        if let Some(why) = problem {
            self.invalid.get_or_insert(why);
        }
        // What was decided before stands, by the words of then.
        let is_decided = |words: &str| self.decided.as_ref().is_some_and(|decided| decided.words == words);
        if let Ok(read) = read
            && (self.invalid.is_none() || is_decided(&self.words()))
        {
            self.clusters = read;
        }
    }

    /// It cannot be read as a whole. Of what was read before, only whom it is about is another.
    fn see_in_part(&mut self, object: &Object) {
        if let Some(instances) = part(object, "instances") {
            self.spec.instances = instances;
        }
        if self.is_known {
            return;
        }
        let spec = &mut self.spec;
        // That it places at all is known.
        let places = object.0.pointer("/spec/clusters").is_some_and(|clusters| !clusters.is_null());
        spec.clusters = places.then(|| part(object, "clusters").unwrap_or_default());
        spec.on_unmatch = part(object, "onUnmatch").unwrap_or_default();
        spec.grace = part(object, "grace").unwrap_or_default();
        spec.overrides = part(object, "overrides").unwrap_or_default();
        nulls::restore(object, &mut spec.overrides);
        spec.rollout = part(object, "rollout");
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
            self.taken = old.iter().filter(|name| registered(name)).count();
            return self.as_before(old);
        }
        self.matching = match &self.clusters {
            Some(read) => read.matching(&self.name, all),
            None => Matching::default(),
        };
        let unsure: BTreeSet<ClusterName> = self.matching.failed.keys().cloned().collect();
        let mut now = self.matching.names.clone();
        now.extend(unsure.intersection(&old).cloned());
        self.taken = now.len() - self.matching.unregistered;
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
        let kept = held.as_ref().map(|held| held.kept.clone()).unwrap_or_default();
        self.taken += kept.len();
        // One that places nothing and never did has nothing to remember.
        let says_something = self.clusters.is_some() || held.is_some();
        self.decided = says_something.then_some(decided);
        self.held = held;
        let Some(read) = &self.clusters else {
            // It places nothing any more: nobody goes where it is kept that was not there.
            return says_something.then(|| Chosen::standing(kept));
        };
        now.extend(kept.iter().cloned());
        Some(Chosen {
            names: now,
            refused: self.matching.refused.keys().cloned().collect(),
            named: read.filter.names().clone(),
            kept,
            unsure,
            standing: BTreeSet::new(),
            names_only,
            tolerations: read.tolerations.clone(),
            limit: read.limit.clone(),
        })
    }

    /// While it cannot be read, what was decided before stands. By which words is not known after a start, unless they are
    /// the same: so neither is how many of the clusters each instance took.
    fn as_before(&self, old: BTreeSet<ClusterName>) -> Option<Chosen> {
        let places = self.clusters.is_some() || self.spec.clusters.is_some() || !old.is_empty();
        places.then(|| match &self.clusters {
            Some(read) => Chosen {
                names: old,
                tolerations: read.tolerations.clone(),
                limit: read.limit.clone(),
                ..Chosen::default()
            },
            None => Chosen::standing(old),
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
