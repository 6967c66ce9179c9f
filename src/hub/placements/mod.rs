//! Placements and ClusterPlacements on the hub: one machine each, decided anew when the clusters change.
//!
//! What each decided goes to the instances of its kind; what became of them goes into its status.

#[cfg(test)]
mod tests;

use super::clusters::Clusters;
use super::context::Context;
use super::debounce::Debounce;
use super::instances::{Instances, Policed};
use super::resources;
use super::view::{Change, View};
use super::{Event, Watched};
use crate::api::Object;
use crate::api::maps::HashMap;
use crate::api::names::{ClusterName, GroupKind};
use crate::reconcile::fleet::ClusterState;
use crate::reconcile::policy::{Policy, PolicyName};
use crate::reconcile::rollout::unit::{News, Told};
use crate::reconcile::spoke::merge_patch;
use crate::reconcile::{Moment, Now};
use crate::spoke::client::ApiError;
use crate::spoke::watch::{Listed, Scope};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A status is written at most this often.
const APART: Duration = Duration::from_secs(1);
/// Before a status that waits for instances is looked at again.
const SOON: Duration = Duration::from_millis(100);
/// Before what was refused is tried again.
const PAUSE: Duration = Duration::from_secs(5);

struct Entry {
    object: Arc<Object>,
    policy: Policy,
    writing: bool,
    /// When the status may be written again.
    next: Moment,
    /// What was told of the rollout of a whole kind.
    told: Told,
}

/// What is to be done for the statuses that are due.
#[derive(Default)]
struct Due {
    patches: Vec<(PolicyName, Value)>,
    /// Events, with what they are about.
    news: Vec<(Arc<Object>, News)>,
}

#[derive(Default)]
pub(super) struct Placements {
    namespaced: View<Object>,
    of_cluster: View<Object>,
    entries: BTreeMap<PolicyName, Entry>,
    /// What the instances of each kind were told.
    told: HashMap<GroupKind, Vec<PolicyName>>,
    /// The clusters changed, or one of these did.
    decide: Debounce,
    decided: bool,
    /// Those whose status may say something else.
    untold: BTreeSet<PolicyName>,
}

impl Placements {
    pub fn new(ctx: &Context) -> Self {
        let all = [
            (Watched::Placements, resources::placements()),
            (Watched::ClusterPlacements, resources::cluster_placements()),
        ];
        for (watched, resource) in all {
            ctx.watch(watched, resource, Scope::default(), ctx.cancel.clone());
        }
        Self::default()
    }

    /// Whether all were listed.
    pub fn is_synced(&self) -> bool {
        self.namespaced.is_synced() && self.of_cluster.is_synced()
    }

    /// Whether the instances know what all of them say.
    pub fn are_decided(&self) -> bool {
        self.decided
    }

    pub fn seen(&mut self, watched: &Watched, listed: Listed, now: Moment) {
        let view = match watched {
            Watched::ClusterPlacements => &mut self.of_cluster,
            _ => &mut self.namespaced,
        };
        for change in view.take(listed) {
            self.changed(&change, now);
        }
    }

    fn changed(&mut self, change: &Change, now: Moment) {
        let name = PolicyName::new(&change.key.namespace, &change.key.name);
        self.decide.want(now);
        let Some(object) = &change.after else {
            self.entries.remove(&name);
            self.untold.remove(&name);
            return;
        };
        let is_same = |entry: &&mut Entry| entry.object.uid() == object.uid();
        match self.entries.get_mut(&name).filter(is_same) {
            Some(entry) => {
                entry.object = object.clone();
                entry.policy.see(object);
            }
            None => {
                let policy = Policy::new(object);
                let (object, told) = (object.clone(), Told::default());
                let entry = Entry { object, policy, writing: false, next: Moment::START, told };
                self.entries.insert(name.clone(), entry);
            }
        }
        self.untold.insert(name);
    }

    /// The clusters changed.
    pub fn clusters_changed(&mut self, now: Moment) {
        if !self.entries.is_empty() {
            self.decide.want(now);
        }
    }

    /// Something changed of the instances of a kind that a status counts.
    pub fn count_anew(&mut self, gk: &GroupKind) {
        let concerned = self.entries.iter().filter(|(_, entry)| entry.policy.group_kind() == *gk);
        self.untold.extend(concerned.map(|(name, _)| name.clone()));
    }

    /// When something is to be done.
    pub fn due(&self) -> Option<Moment> {
        let ready =
            |name: &PolicyName| self.entries.get(name).filter(|entry| !entry.writing).map(|entry| entry.next);
        let wakes = self.entries.values().filter_map(|entry| entry.policy.wakes());
        self.untold.iter().filter_map(ready).chain(self.decide.due(false)).chain(wakes).min()
    }

    /// Decides anew if it is time, or if nothing was decided yet. `clusters` is complete.
    pub fn decide_if_due(&mut self, clusters: &Clusters, instances: &mut Instances, now: Moment) {
        if self.begins(now) {
            self.decide_all(&clusters.states(), instances, now);
        }
    }

    /// Whether to decide now, which is taken as done.
    fn begins(&mut self, now: Moment) -> bool {
        let wakes = |entry: &Entry| entry.policy.wakes().is_some_and(|at| at <= now);
        let is_due = self.decide.take(now, false) || self.entries.values().any(wakes);
        let begins = self.is_synced() && (is_due || !self.decided);
        self.decided |= begins;
        begins
    }

    fn decide_all(
        &mut self,
        states: &BTreeMap<ClusterName, ClusterState>,
        instances: &mut Instances,
        now: Moment,
    ) {
        let mut changed: BTreeSet<GroupKind> = BTreeSet::new();
        let mut kinds: HashMap<GroupKind, Vec<PolicyName>> = HashMap::default();
        for (name, entry) in &mut self.entries {
            if entry.policy.decide(states, now) {
                changed.insert(entry.policy.group_kind());
            }
            // The status tells of clusters that no instance goes by.
            self.untold.insert(name.clone());
            if let Some(selects) = entry.policy.selects() {
                kinds.entry(selects.group_kind.clone()).or_default().push(name.clone());
            }
        }
        let differs = |gk: &&GroupKind| kinds.get(*gk) != self.told.get(*gk);
        changed.extend(kinds.keys().chain(self.told.keys()).filter(differs).cloned().collect::<Vec<_>>());
        for gk in changed {
            let policed = |name: &PolicyName| {
                let entry = self.entries.get(name)?;
                let (policy, uid) = (&entry.policy, Arc::from(entry.object.uid()));
                let (selects, effective) = (policy.selects()?.clone(), policy.effective()?.clone());
                Some(Policed { selects: Arc::new(selects), effective, uid })
            };
            let list = kinds.get(&gk).into_iter().flatten().filter_map(policed).collect();
            instances.set_policies(&gk, list);
        }
        self.told = kinds;
    }

    /// Writes each status that says something else than what stands there, and is due.
    pub fn tell(&mut self, ctx: &Context, instances: &Instances) {
        let Due { patches, news } = self.what_is_due(instances, &ctx.clock.now());
        for (object, News { warning, reason, message }) in news {
            ctx.publish(&object, warning, reason, message);
        }
        for (name, patch) in patches {
            let this = ctx.clone();
            ctx.spawn(async move {
                let of_cluster = name.is_of_cluster();
                let resource =
                    if of_cluster { resources::cluster_placements() } else { resources::placements() };
                let target = this.client.at(&resource, &name.namespace, &name.name);
                let written = match patch.get("status") {
                    Some(_) => target.merge_status(&patch).await,
                    None => target.merge_patch(&patch).await,
                };
                this.tell(Event::PlacementWritten(name, written));
            });
        }
    }

    /// What is to be told now, and written of the status or of the finalizers; from then on it is under way.
    fn what_is_due(&mut self, instances: &Instances, now: &Now) -> Due {
        // What stands now may be otherwise in a moment, and would be told as what the newest words come to.
        if self.decide.due(false).is_some() {
            return Due::default();
        }
        let is_due = |name: &&PolicyName| {
            self.entries.get(*name).is_none_or(|entry| !entry.writing && entry.next <= now.at)
        };
        let due: Vec<PolicyName> = self.untold.iter().filter(is_due).cloned().collect();
        let mut counts = HashMap::default();
        let mut all = Due::default();
        for name in due {
            self.untold.remove(&name);
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            let gk = entry.policy.group_kind();
            let of_kind = counts.entry(gk.clone()).or_insert_with(|| instances.count_policies(&gk, now.at));
            // While the instances were not all seen, their number is not known.
            let Some(of_kind) = of_kind else {
                entry.next = now.at.after(APART);
                self.untold.insert(name);
                continue;
            };
            let mut count = of_kind.get(&name).cloned().unwrap_or_default();
            count.is_served = instances.is_served(&gk);
            // What was said of its instances before they heard of it is true of an earlier generation.
            if count.waits && entry.policy.is_news() {
                entry.next = now.at.after(SOON);
                self.untold.insert(name);
                continue;
            }
            let news = count.rollouts.news(&mut entry.told, entry.policy.written());
            all.news.extend(news.map(|news| (entry.object.clone(), news)));
            if let Some(finalizers) = entry.policy.finalizers(&entry.object, &count) {
                // The status follows once that is answered.
                self.untold.insert(name.clone());
                (entry.writing, entry.next) = (true, now.at.after(APART));
                let version = entry.object.0.pointer("/metadata/resourceVersion").cloned();
                let metadata = json!({
                    "uid": entry.object.uid(), "resourceVersion": version, "finalizers": finalizers,
                });
                all.patches.push((name, json!({"metadata": metadata})));
                continue;
            }
            let Some(status) = entry.policy.status(&count, now) else { continue };
            let old = entry.object.0.get("status").cloned().unwrap_or_else(|| json!({}));
            let new = serde_json::to_value(status).unwrap_or_default();
            let Some(patch) = merge_patch(&old, &new) else { continue };
            entry.writing = true;
            entry.next = now.at.after(APART);
            all.patches.push((name, json!({"metadata": {"uid": entry.object.uid()}, "status": patch})));
        }
        all
    }

    /// A status was written, or not.
    pub fn written(&mut self, name: &PolicyName, result: Result<Value, ApiError>, now: Moment) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.writing = false;
        match result {
            Ok(value) => {
                let view = if name.is_of_cluster() { &mut self.of_cluster } else { &mut self.namespaced };
                if let Some(change) = view.refresh(value) {
                    self.changed(&change, now);
                }
            }
            Err(error) => {
                tracing::debug!(%name, %error, "writing the status failed");
                entry.next = now.after(PAUSE);
                self.untold.insert(name.clone());
            }
        }
    }
}
