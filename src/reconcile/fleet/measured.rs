//! What the bench `fleet-step` drives: the machine as it ships, with one instance at rest on many clusters.

use super::aggregate::ClusterHealth;
use super::placement::DefaultPlacement;
use super::rollout::{OnRecord, Rolled, read_version};
use super::{ClusterState, Fleet, FleetAction, Inputs, Registered};
use crate::api::amounts::{Amount, Span};
use crate::api::condition::{Condition, ConditionStatus};
use crate::api::keys::hub;
use crate::api::names::{ClusterName, GroupKind, Gvk, HubId, InstanceKey};
use crate::api::placement::OnUnmatch;
use crate::api::rollout::{Rollout, Stage};
use crate::api::{Object, ResourceGraphDefinition};
use crate::graph::{Graph, Options, compile};
use crate::reconcile::policy::{Effective, PolicyName};
use crate::reconcile::rollout::Mark;
use crate::reconcile::spoke::{DEPENDENTS, InstanceState, Report, Stands};
use crate::reconcile::world::Stored;
use crate::reconcile::{Moment, Now};
use crate::schema::kinds::{Kinds, Served};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Nobody says what is served.
struct Unasked;

impl Kinds for Unasked {
    fn find(&self, _: &Gvk) -> Served {
        Served::Unknown
    }
}

/// An instance that was placed on so many clusters and is ready on all of them, by its status too.
pub struct AtRest {
    fleet: Fleet,
    instance: Arc<Object>,
    stored: Arc<Stored>,
    graph: Arc<Graph>,
    clusters: Registered,
    names: Vec<ClusterName>,
    hub_id: HubId,
    now: Now,
    /// A rollout that is under way.
    placements: Vec<Arc<Effective>>,
    on_record: Option<Arc<OnRecord>>,
    marks: Vec<Option<Mark>>,
}

impl AtRest {
    /// `None` where it does not come to rest.
    #[must_use]
    pub fn on(clusters: usize) -> Option<Self> {
        let definition: ResourceGraphDefinition = serde_json::from_value(json!({
            "metadata": {"name": "app", "uid": "1", "generation": 1},
            "spec": {
                "schema": {"kind": "App", "apiVersion": "v1alpha1", "spec": {"name": "string"},
                    "status": {"made": "${c.metadata.name}"}},
                "resources": [{"id": "c", "template": {"apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": "${schema.spec.name}"}}}],
            },
        }))
        .ok()?;
        let graph = Arc::new(compile(&definition, &Options::default(), &Unasked).ok()?);
        let instance = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App", "spec": {"name": "web"},
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": "1",
                "annotations": {hub::CLUSTERS: "*"}}});
        let names: Vec<ClusterName> =
            (0..clusters).map(|n| ClusterName::new(&format!("cluster-{n:04}"))).collect();
        let ready = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
        let mut registered = Registered::default();
        registered.replace(names.iter().map(|name| (name.clone(), ready.clone())).collect());
        let key = InstanceKey::new(GroupKind::new("kro.run", "App"), "shop", "web");
        let mut this = Self {
            fleet: Fleet::new(key, Gvk::new("kro.run", "v1alpha1", "App")),
            stored: Arc::new(Stored::new(instance.clone())),
            instance: Arc::new(Object(instance)),
            graph,
            clusters: registered,
            names,
            hub_id: HubId::new("hub"),
            now: Now { at: Moment::START, rfc3339: "2026-01-01T00:00:00Z".into() },
            placements: Vec::new(),
            on_record: None,
            marks: vec![None; clusters],
        };
        this.step();
        (0..clusters).for_each(|n| this.reports(n, true));
        let rests = (0..10).any(|_| {
            this.passes(Duration::from_secs(60));
            this.step() == 0
        });
        let says = this.instance.0.pointer("/status/fleet/ready").and_then(Value::as_u64);
        (rests && says == u64::try_from(clusters).ok()).then_some(this)
    }

    /// The same with a rollout under way: one cluster is on its way to the second version, all others wait.
    #[must_use]
    pub fn rolling(clusters: usize) -> Option<Self> {
        let mut this = Self::on(clusters)?;
        let stage = Stage { name: "all".into(), max_concurrent: Amount::Count(1), ..Stage::default() };
        let rollout = Rollout { stages: vec![stage], ..Rollout::default() };
        this.placements = vec![Arc::new(Effective {
            name: PolicyName::new("shop", "web"),
            group_kind: GroupKind::new("kro.run", "App"),
            hash: String::new(),
            clusters: None,
            on_unmatch: OnUnmatch::Delete,
            grace: Span(0),
            overrides: Vec::new(),
            rollout: Some(rollout),
            invalid: None,
        })];
        for generation in [1, 2] {
            this.write(&json!({"metadata": {"generation": generation},
                "spec": {"name": if generation == 1 { "web" } else { "web2" }}}));
            let rests = (0..20).any(|_| {
                this.passes(Duration::from_secs(60));
                this.step() == 0
            });
            if !rests {
                return None;
            }
        }
        let status = this.instance.0.pointer("/status/fleet/rollout/state");
        (status.and_then(Value::as_str) == Some("InProgress")).then_some(this)
    }

    /// Time passes.
    pub fn passes(&mut self, time: Duration) {
        self.now.at = self.now.at.after(time);
    }

    /// One cluster says how the instance is there.
    pub fn reports(&mut self, cluster: usize, ready: bool) {
        let Some(name) = self.names.get(cluster) else { return };
        let (state, status, message) = match ready {
            true => (InstanceState::Active, ConditionStatus::True, ""),
            false => {
                (InstanceState::InProgress, ConditionStatus::False, "awaiting resource readiness: node c")
            }
        };
        let condition = |type_: &&str| Condition {
            type_: (*type_).to_owned(),
            status,
            reason: "Said".into(),
            message: message.into(),
            last_transition_time: self.now.rfc3339.clone(),
            observed_generation: 1,
        };
        let report = Report {
            hub_uid: "u".into(),
            generation: 1,
            revision: self.graph.hash.clone(),
            state,
            ready: usize::from(ready),
            total: 1,
            message: message.into(),
            conditions: DEPENDENTS.iter().map(condition).collect::<Vec<_>>().into(),
            author: None,
            hub_values: Arc::default(),
            fields: Map::from_iter([("made".to_owned(), json!("web"))]),
            settled: ready,
            stands: Stands::Mirror(self.marks.get(cluster).copied().flatten()),
            admitted: None,
            facts: None,
        };
        self.fleet.report(name, report);
    }

    /// One step; what it wants done to the instance is done at once. How much it wanted done.
    pub fn step(&mut self) -> usize {
        let step = self.fleet.step(&Inputs {
            instance: &self.instance,
            stored: &self.stored,
            graph: Some(&self.graph),
            allow_breaking: false,
            clusters: &self.clusters,
            hub_id: &self.hub_id,
            default_placement: DefaultPlacement::Local,
            placements: &self.placements,
            overrides: &[],
            rolled: Rolled { on_record: self.on_record.as_ref(), ..Rolled::default() },
            now: &self.now,
        });
        for action in &step.actions {
            match action {
                FleetAction::PatchMeta { body } => {
                    self.write(body);
                    self.fleet.meta_written(Ok(()), &self.now);
                }
                FleetAction::WriteStatus { patch } => {
                    self.write(&json!({"status": patch}));
                    self.fleet.status_written(Ok(()), &self.now);
                }
                FleetAction::RecordVersion { body, .. } => {
                    let mut on_record = self.on_record.as_deref().cloned().unwrap_or_default();
                    let version = read_version(&Object(body.clone())).map(|(_, version)| version);
                    on_record.versions.extend(version.map(|version| (version.number, version)));
                    self.on_record = Some(Arc::new(on_record));
                    self.fleet.version_written(true, &self.now);
                }
                _ => {}
            }
        }
        step.actions.len()
    }

    fn write(&mut self, patch: &Value) {
        let mut object = (*self.instance).clone();
        merge(&mut object.0, patch);
        let version = (object.version() + 1).to_string();
        merge(&mut object.0, &json!({"metadata": {"resourceVersion": version}}));
        self.stored = Arc::new(Stored::new(object.0.clone()));
        self.instance = Arc::new(object);
    }
}

/// A JSON merge patch.
fn merge(value: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    let Some(object) = value.as_object_mut() else { return };
    for (key, patch) in fields {
        if patch.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.clone()).or_insert(Value::Null), patch);
        }
    }
}
