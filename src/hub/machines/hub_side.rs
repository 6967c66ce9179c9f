//! The hub side without its connections: the instances as they ship, and the clusters that are registered.

use super::api_server::Server;
use super::graphs::app_kind;
use super::site::listed;
use super::watch::Watch;
use crate::api::names::{ClusterName, HubId, InstanceKey};
use crate::graph::Graph;
use crate::hub::definitions;
use crate::hub::instances::{Effect, Instances, Outcome, Unwatched};
use crate::reconcile::Moment;
use crate::reconcile::Now;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::over_all::Question;
use crate::reconcile::fleet::placement::{ClusterView, DefaultPlacement};
use crate::reconcile::fleet::{ClusterState, Departure, Left};
use crate::spoke::messages::Said;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub struct HubSide {
    pub epoch: u64,
    pub instances: Instances,
    pub watch: Option<Watch>,
    pub graph: Arc<Graph>,
    clusters: BTreeMap<ClusterName, ClusterState>,
    /// Leftovers as read when a cluster connected, and recorded since.
    pub left: BTreeMap<ClusterName, BTreeMap<String, Left>>,
    pub inbox: VecDeque<(ClusterName, u64, Said)>,
    /// Fields that are being evaluated, with key and uid of their instance.
    pub questions: VecDeque<(InstanceKey, String, Question)>,
    /// When the instances are to be listed anew, for which CRD.
    pub rereads: Vec<(Moment, String)>,
}

impl HubSide {
    pub fn new(
        epoch: u64,
        hub_id: HubId,
        graph: Arc<Graph>,
        clusters: &[(ClusterName, &'static str)],
    ) -> Self {
        let mut out = Self {
            epoch,
            instances: Instances::new(hub_id, DefaultPlacement::Local),
            watch: None,
            graph: graph.clone(),
            clusters: clusters.iter().map(|(n, tier)| (n.clone(), unknown(n, tier))).collect(),
            left: BTreeMap::new(),
            inbox: VecDeque::new(),
            questions: VecDeque::new(),
            rereads: Vec::new(),
        };
        let plural = "apps".to_owned();
        out.instances.serve(definitions::Effect::Watch { gvk: graph.gvk.clone(), plural });
        out.tell_clusters();
        out.serve(graph);
        out
    }

    pub fn serve(&mut self, graph: Arc<Graph>) {
        self.graph = graph.clone();
        self.instances.serve(definitions::Effect::Serve { graph, allow_breaking: false, revision: 0 });
    }

    /// What the instances want done.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        self.instances.judge_leftovers(&Unwatched { all_watched: true, ..Unwatched::default() });
        self.instances.take_effects()
    }

    pub fn see(&mut self, server: &Server) {
        let shown = self.watch.as_mut().and_then(|w| w.next(server));
        if let Some(listed) = shown.and_then(listed) {
            self.instances.seen(&app_kind(), listed);
        }
    }

    fn tell_clusters(&mut self) {
        self.instances.clusters_changed(self.clusters.clone());
    }

    fn change(&mut self, name: &ClusterName, change: impl FnOnce(&mut ClusterState)) {
        if let Some(state) = self.clusters.get_mut(name) {
            change(state);
        }
        self.tell_clusters();
    }

    /// The Cluster is being deleted.
    pub fn leaves(&mut self, name: &ClusterName) {
        self.change(name, |state| {
            state.view.leaving = true;
            state.departure = Departure::Settling;
        });
    }
    /// Time passed since it is being deleted.
    pub fn departs(&mut self, name: &ClusterName) {
        self.change(name, |state| {
            state.departure = match state.departure {
                Departure::Settling => Departure::Finishing,
                Departure::Finishing | Departure::Over => Departure::Over,
            };
        });
    }
    /// Whether time may change what is let go there.
    pub fn may_depart(&self, name: &ClusterName) -> bool {
        self.clusters.get(name).is_some_and(|c| c.view.leaving && c.departure != Departure::Over)
    }
    /// Whether nothing is known to be held there any more.
    pub fn may_let_go(&self, name: &ClusterName) -> bool {
        self.instances.are_synced() && !self.instances.holds_any(name)
    }
    pub fn unregistered(&mut self, name: &ClusterName) {
        self.clusters.remove(name);
        self.tell_clusters();
    }
    pub fn registered(&mut self, name: &ClusterName, tier: &'static str) {
        self.clusters.entry(name.clone()).or_insert_with(|| unknown(name, tier));
        self.tell_clusters();
    }

    /// Somebody labels the Cluster anew.
    pub fn relabelled(&mut self, name: &ClusterName, tier: &'static str) {
        self.change(name, |state| {
            state.view.labels.insert("tier".into(), tier.into());
            if state.facts.is_some() {
                state.facts = Some(facts(name, tier));
            }
        });
    }

    /// The cluster has a new actor; and what is on record as left there.
    pub fn connected(&mut self, name: &ClusterName, left: BTreeMap<String, Left>, tier: &'static str) {
        self.change(name, |state| {
            state.health = ClusterHealth::Ready;
            state.facts = Some(facts(name, tier));
        });
        self.instances.connected(name, left.values().cloned().collect());
        self.left.insert(name.clone(), left);
    }

    pub fn cannot_connect(&mut self, name: &ClusterName, now: &Now) {
        self.change(name, |state| state.health = unreachable(now));
    }

    pub fn contact(&mut self, name: &ClusterName, ready: bool, now: &Now) {
        let health = if ready { ClusterHealth::Ready } else { unreachable(now) };
        self.change(name, |state| state.health = health);
        if ready {
            let left = self.left.get(name).cloned().unwrap_or_default();
            self.instances.returned(name, left.into_values().collect());
        }
    }

    /// Answers the question that waited longest.
    pub fn evaluate(&mut self, now: &Now) {
        let Some((key, uid, question)) = self.questions.pop_front() else { return };
        let answer = Outcome::Evaluated(question.evaluate(), Duration::ZERO);
        self.instances.outcome(&key, &uid, answer, now);
    }

    pub fn next_wake(&self) -> Option<Moment> {
        self.instances.next_wake().into_iter().chain(self.rereads.iter().map(|(at, _)| *at)).min()
    }

    pub fn wake_due(&mut self, now: &Now) {
        self.instances.wake_due(now.at);
        let (due, later) = std::mem::take(&mut self.rereads).into_iter().partition(|(at, _)| *at <= now.at);
        self.rereads = later;
        let due: Vec<(Moment, String)> = due;
        due.iter().for_each(|(_, hash)| self.instances.reread(&app_kind(), hash));
    }
}

/// A cluster that nobody spoke to yet.
fn unknown(name: &ClusterName, tier: &str) -> ClusterState {
    let mut view = ClusterView { local: name.as_str() == "local", ..ClusterView::default() };
    view.labels.insert("tier".into(), tier.into());
    ClusterState { view, ..ClusterState::default() }
}

/// What `kro.cluster` is there.
fn facts(name: &ClusterName, tier: &str) -> Arc<Value> {
    Arc::new(
        json!({"name": name.as_str(), "id": format!("id-{name}"), "labels": {"tier": tier}, "properties": {},
        "version": {"major": 1, "minor": 34}}),
    )
}

fn unreachable(now: &Now) -> ClusterHealth {
    ClusterHealth::Unreachable { since: now.rfc3339.clone(), message: "connection refused".into() }
}
