//! The machine of an instance that a rollout moves, with clusters that do as they are told.

use super::*;
use crate::api::amounts::{Amount, Span};
use crate::api::condition::{Condition, ConditionStatus};
use crate::api::keys::{hub, kro};
use crate::api::names::{GroupKind, Gvk, HubId, InstanceKey};
use crate::api::placement::{ClusterFilter, OnUnmatch, Override};
use crate::api::rollout::{Rollout, Stage};
use crate::api::{Object, ResourceGraphDefinition};
use crate::graph::{Options, compile};
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::gate::{Gate, Gated};
use crate::reconcile::fleet::on_hub::ITSELF;
use crate::reconcile::fleet::overriding::Layer;
use crate::reconcile::fleet::placement::DefaultPlacement;
use crate::reconcile::fleet::{ClusterState, Registered};
use crate::reconcile::policy::{Chosen, Effective, PolicyName};
use crate::reconcile::rollout::Admitted;
use crate::reconcile::rollout::Facts;
use crate::reconcile::spoke::{DEPENDENTS, Goal, InstanceState, Report, Task};
use crate::reconcile::world::Stored;
use crate::schema::kinds::Anywhere;
use serde_json::{Value, json};

/// A cluster: the mirror that stands there, and the task it goes by.
#[derive(Default)]
struct Site {
    mirror: Option<(Option<Mark>, Value)>,
    /// What the mirror says was read of the cluster.
    facts: Option<Arc<Facts>>,
    task: Option<Arc<Task>>,
    lost: bool,
    /// Whatever is written there is refused.
    refuses: bool,
    /// Nothing may be looked at there.
    blind: bool,
}

struct Bench {
    fleet: Fleet,
    instance: Arc<Object>,
    graph: Arc<Graph>,
    former: Arc<BTreeMap<String, Arc<Graph>>>,
    unfit: Option<Arc<Unfit>>,
    newest: Option<Arc<Graph>>,
    gates: Option<Arc<Gates>>,
    ceiling: Option<u64>,
    clusters: Registered,
    sites: BTreeMap<ClusterName, Site>,
    on_record: Option<Arc<OnRecord>>,
    approvals: BTreeSet<(u64, Arc<str>)>,
    policy: Vec<Arc<Effective>>,
    layers: Vec<Arc<Layer>>,
    now: Now,
    seconds: u64,
    quiet_until: Moment,
    /// A size that does no cluster any good.
    bad: Option<i64>,
    /// A size that no cluster is ever done with.
    slow: Option<i64>,
    told: Vec<String>,
    wakes: Option<Moment>,
    /// Writes to the hub.
    writes: usize,
    /// What lives on the hub takes its time.
    hub_is_slow: bool,
}

pub(super) fn graph(data: &str, generation: i64) -> Arc<Graph> {
    let definition: ResourceGraphDefinition = serde_json::from_value(json!({
        "metadata": {"name": "app", "uid": "1", "generation": generation},
        "spec": {
            "schema": {"kind": "App", "apiVersion": "v1alpha1", "spec": {"size": "integer"}},
            "resources": [{"id": "c", "template": {"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "${schema.metadata.name}"}, "data": {"size": data}}}],
        },
    }))
    .unwrap();
    Arc::new(compile(&definition, &Options::default(), &Anywhere).unwrap())
}

/// One whose ConfigMap lives on the hub.
fn graph_on_hub(data: &str, generation: i64) -> Arc<Graph> {
    let definition: ResourceGraphDefinition = serde_json::from_value(json!({
        "metadata": {"name": "app", "uid": "1", "generation": generation},
        "spec": {
            "schema": {"kind": "App", "apiVersion": "v1alpha1", "spec": {"size": "integer"}},
            "resources": [
                {"id": "db", "template": {"apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": "${schema.metadata.name}-db", "annotations": {hub::TARGET: "hub"}},
                    "data": {"size": data}}},
                {"id": "c", "template": {"apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": "${schema.metadata.name}"}, "data": {"of": "${db.data.size}"}}},
            ],
        },
    }))
    .unwrap();
    Arc::new(compile(&definition, &Options::default(), &Anywhere).unwrap())
}

fn key() -> InstanceKey {
    InstanceKey::new(GroupKind::new("kro.run", "App"), "shop", "web")
}

fn new_fleet() -> Fleet {
    Fleet::new(key(), Gvk::new("kro.run", "v1alpha1", "App"))
}

pub(super) fn stage(name: &str, names: &[&str], max: u32, soak: u64, approval: bool) -> Stage {
    let filter =
        ClusterFilter { names: names.iter().map(ToString::to_string).collect(), ..ClusterFilter::default() };
    Stage {
        name: name.into(),
        clusters: Some(filter).filter(|_| !names.is_empty()),
        max_concurrent: Amount::Count(max),
        soak: Span(soak),
        approval,
        ..Stage::default()
    }
}

fn canary_then_prod(soak: u64, approval: bool) -> Rollout {
    let stages = vec![stage("canary", &["a"], 1, soak, false), stage("prod", &[], 1, 0, approval)];
    Rollout { stages, ..Rollout::default() }
}

fn placement(name: &str, rollout: Option<Rollout>, overrides: Vec<Override>) -> Effective {
    Effective {
        name: PolicyName::new("shop", name),
        group_kind: key().gk.clone(),
        hash: String::new(),
        clusters: None,
        on_unmatch: OnUnmatch::Delete,
        grace: Span(0),
        overrides,
        rollout,
        invalid: None,
    }
}

impl Bench {
    fn new(rollout: Option<Rollout>) -> Self {
        let names = ["a", "b", "c"].map(ClusterName::new);
        let ready = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
        let mut clusters = Registered::default();
        clusters.replace(names.iter().map(|name| (name.clone(), ready.clone())).collect());
        let instance = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App", "spec": {"size": 1},
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": "1",
                "annotations": {hub::CLUSTERS: "a,b,c"}}});
        let mut bench = Self {
            fleet: new_fleet(),
            instance: Arc::new(Object(instance)),
            graph: graph("${string(schema.spec.size)}", 1),
            former: Arc::default(),
            unfit: None,
            newest: None,
            gates: None,
            ceiling: None,
            clusters,
            sites: names.iter().map(|name| (name.clone(), Site::default())).collect(),
            on_record: None,
            approvals: BTreeSet::new(),
            policy: Vec::new(),
            layers: Vec::new(),
            now: Now::default(),
            seconds: 1_795_860_000,
            quiet_until: Moment::START,
            bad: None,
            slow: None,
            told: Vec::new(),
            wakes: None,
            writes: 0,
            hub_is_slow: false,
        };
        bench.rolls(rollout);
        bench.passes(0);
        bench
    }

    fn rolls(&mut self, rollout: Option<Rollout>) {
        self.rolls_with(rollout, Vec::new());
    }

    fn rolls_with(&mut self, rollout: Option<Rollout>, overrides: Vec<Override>) {
        let of = rollout.into_iter().map(|rollout| placement("web", Some(rollout), overrides.clone()));
        self.follows(of.collect());
    }

    fn follows(&mut self, placements: Vec<Effective>) {
        self.policy = placements.into_iter().map(Arc::new).collect();
        let layers = self.policy.iter().filter(|of| !of.overrides.is_empty());
        self.layers = layers.map(|of| Arc::new(Layer::read(of, &self.graph))).collect();
    }

    fn passes(&mut self, seconds: u64) {
        self.seconds += seconds;
        self.now.at = self.now.at.after(Duration::from_secs(seconds));
        self.now.rfc3339 = marks::time_text(self.seconds);
    }

    fn records(&mut self, change: impl FnOnce(&mut OnRecord)) {
        let mut on_record = self.on_record.take().map(|known| (*known).clone()).unwrap_or_default();
        change(&mut on_record);
        on_record.approvals = self.approvals.clone();
        self.on_record = Some(Arc::new(on_record)).filter(|on_record| !on_record.is_empty());
    }

    fn approves(&mut self, version: u64, stage: &str) {
        self.approvals.insert((version, stage.into()));
        self.records(|_| {});
    }

    fn write(&mut self, patch: &Value) {
        let mut object = (*self.instance).clone();
        merge(&mut object.0, patch);
        let version = (object.version() + 1).to_string();
        merge(&mut object.0, &json!({"metadata": {"resourceVersion": version}}));
        self.instance = Arc::new(object);
    }

    fn edits(&mut self, size: i64) {
        let generation = self.instance.generation() + 1;
        self.write(&json!({"spec": {"size": size}, "metadata": {"generation": generation}}));
    }

    fn redefines(&mut self, data: &str, generation: i64) {
        let former = Arc::make_mut(&mut self.former);
        former.insert(self.graph.hash.clone(), self.graph.clone());
        self.graph = graph(data, generation);
    }

    /// The controller starts anew; nothing but what stands somewhere is known.
    fn crashes(&mut self) {
        self.fleet = new_fleet();
        self.quiet_until = self.now.at.after(QUIET);
        for site in self.sites.values_mut() {
            site.task = None;
        }
    }

    fn loses(&mut self, name: &str, lost: bool) {
        let name = ClusterName::new(name);
        self.sites.get_mut(&name).unwrap().lost = lost;
        let since = self.now.rfc3339.clone();
        let health = match lost {
            true => ClusterHealth::Unreachable { since, message: "gone".into() },
            false => ClusterHealth::Ready,
        };
        self.clusters.set(&name, Some(ClusterState { health, ..ClusterState::default() }));
    }

    /// The Cluster is so.
    fn is(&mut self, name: &str, tier: &str, minor: u32) {
        let mut state = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
        state.view.labels.insert("tier".into(), tier.into());
        state.facts =
            Some(Arc::new(json!({"name": name, "id": name, "labels": {"tier": tier}, "properties": {},
            "version": {"major": 1, "minor": minor}})));
        self.clusters.set(&ClusterName::new(name), Some(state));
    }

    fn are(&mut self, tier: &str) {
        ["a", "b", "c"].into_iter().for_each(|name| self.is(name, tier, 30));
    }

    /// The labels and versions that each cluster was told to go by.
    fn read(&self) -> Vec<(String, u64)> {
        let of = |site: &Site| match &site.task.as_ref().unwrap().goal {
            Goal::Run { cluster, .. } => (
                cluster["labels"]["tier"].as_str().unwrap().to_owned(),
                cluster["version"]["minor"].as_u64().unwrap(),
            ),
            _ => (String::new(), 0),
        };
        self.sites.values().map(of).collect()
    }

    fn step(&mut self) -> bool {
        let step = self.fleet.step(&Inputs {
            instance: &self.instance,
            stored: &Arc::new(Stored::new(self.instance.0.clone())),
            graph: Some(&self.graph),
            allow_breaking: false,
            clusters: &self.clusters,
            hub_id: &HubId::new("hub"),
            default_placement: DefaultPlacement::Local,
            placements: &self.policy,
            overrides: &self.layers,
            rolled: Rolled {
                on_record: self.on_record.as_ref(),
                former: Some(&self.former),
                unfit: self.unfit.as_ref(),
                revisions: None,
                quiet_until: self.quiet_until,
                newest: self.newest.as_ref(),
                gates: self.gates.as_ref(),
                ceiling: self.ceiling,
            },
            now: &self.now,
        });
        self.wakes = step.wake_at;
        let did = !step.actions.is_empty();
        for action in step.actions {
            self.writes +=
                usize::from(!matches!(action, FleetAction::Send { .. } | FleetAction::Tell { .. }));
            self.does(action);
        }
        did
    }

    fn does(&mut self, action: FleetAction) {
        match action {
            FleetAction::PatchMeta { body } => {
                self.write(&body);
                self.fleet.meta_written(Ok(()), &self.now);
            }
            FleetAction::WriteStatus { patch } => {
                self.write(&json!({"status": patch}));
                self.fleet.status_written(Ok(()), &self.now);
            }
            FleetAction::RecordVersion { body, .. } => {
                let (uid, version) = read_version(&Object(body)).unwrap();
                assert_eq!(uid, "u");
                self.told.push(format!(
                    "record {}{}",
                    version.number,
                    if version.stable { " stable" } else { "" }
                ));
                self.records(|all| assert!(all.versions.insert(version.number, version).is_none()));
                self.fleet.version_written(true, &self.now);
            }
            FleetAction::MarkStable { name } => {
                let number: u64 = name.rsplit('-').next().unwrap().parse().unwrap();
                self.told.push(format!("stable {number}"));
                self.records(|all| all.versions.get_mut(&number).unwrap().stable = true);
                self.fleet.version_written(true, &self.now);
            }
            FleetAction::DropVersion { name } => {
                let number: u64 = name.rsplit('-').next().unwrap().parse().unwrap();
                self.told.push(format!("drop {number}"));
                self.records(|all| drop(all.versions.remove(&number)));
                self.fleet.version_written(true, &self.now);
            }
            FleetAction::Send { cluster, task } => {
                if let Goal::Run { mark: Some(mark), .. } = &task.goal {
                    let known =
                        self.on_record.as_ref().is_some_and(|r| r.versions.contains_key(&mark.version));
                    assert!(known, "no task before its version is on record");
                }
                let site = self.sites.get_mut(&cluster).unwrap();
                if !site.lost {
                    site.task = Some(task);
                    self.obeys(&cluster);
                }
            }
            FleetAction::Tell { reason, .. } => self.told.push(reason.into()),
            _ => {}
        }
    }

    /// A cluster does what it was told last, and says so.
    fn obeys(&mut self, name: &ClusterName) {
        let site = self.sites.get_mut(name).unwrap();
        let Some(task) = site.task.clone() else { return };
        if site.blind {
            return self.fleet.report(name, Report::of_unseen("u", "this hub may not list App".into()));
        }
        let mut state = InstanceState::Active;
        let (generation, revision) = match &task.goal {
            Goal::Run { mirror, mark, graph, cluster, facts, .. } => {
                let wanted = (*mark, mirror.spec());
                if site.refuses && site.mirror.as_ref() != Some(&wanted) {
                    state = InstanceState::Error;
                } else if site.mirror.as_ref() != Some(&wanted) {
                    self.told.push(format!(
                        "{name}: {} {}",
                        mark.map_or(0, |m| m.version),
                        mirror.spec()["size"]
                    ));
                    site.mirror = Some(wanted);
                    site.facts.clone_from(facts);
                }
                // For itself alone what was read is not written.
                let alone = site.facts.is_none()
                    && facts.as_ref().is_some_and(|facts| facts.since.is_none() && !facts.held);
                let text = |facts: &Option<Arc<Facts>>| facts.as_ref().map(|facts| facts.text());
                if text(&site.facts) != text(facts) && !alone {
                    self.told.push(format!("{name}: {}", cluster["labels"]["tier"].as_str().unwrap_or("-")));
                    site.facts.clone_from(facts);
                }
                if mirror.spec()["size"].as_i64() == self.bad || cluster["labels"]["tier"] == "bad" {
                    state = InstanceState::Error;
                }
                if mirror.spec()["size"].as_i64() == self.slow {
                    state = InstanceState::InProgress;
                }
                (mirror.generation, graph.hash.clone())
            }
            Goal::GoOn { graph, .. } => (0, graph.hash.clone()),
            Goal::Stay { .. } => (0, String::new()),
            Goal::Remove { .. } => return,
        };
        if *name == ClusterName::new(ITSELF) && self.hub_is_slow {
            state = InstanceState::InProgress;
        }
        let mark = site.mirror.as_ref().map(|(mark, _)| *mark);
        let condition = |type_: &&str| Condition {
            type_: (*type_).to_owned(),
            status: if state == InstanceState::Active {
                ConditionStatus::True
            } else {
                ConditionStatus::False
            },
            reason: "Said".into(),
            message: String::new(),
            last_transition_time: String::new(),
            observed_generation: 1,
        };
        let report = Report {
            hub_uid: "u".into(),
            generation,
            revision,
            state,
            ready: 1,
            total: 1,
            message: if state == InstanceState::Error { "no image".into() } else { String::new() },
            conditions: DEPENDENTS.iter().map(condition).collect::<Vec<_>>().into(),
            author: None,
            hub_values: Arc::default(),
            fields: serde_json::Map::new(),
            settled: true,
            stands: mark.map_or(Stands::Nothing, Stands::Mirror),
            admitted: None,
            facts: site.facts.clone(),
        };
        let (stands, is_local) = (report.stands, task.is_local());
        self.fleet.report(name, report);
        if is_local && let Stands::Mirror(mark) = stands {
            self.says_itself(mark);
        }
    }

    /// What runs on the hub says so on the instance.
    fn says_itself(&mut self, mark: Option<Mark>) {
        let says = (self.instance.label(kro::APPLYSET_ID), self.instance.annotation(hub::VERSION));
        let text = mark.map(Mark::text);
        if says != (Some("x"), text.as_deref()) {
            let labels = json!({kro::APPLYSET_ID: "x"});
            self.write(&json!({"metadata": {"labels": labels, "annotations": {hub::VERSION: text}}}));
        }
    }

    /// Steps until nothing more is to be done now.
    fn rests(&mut self) {
        for _ in 0..200 {
            if self.step() {
                self.now.at = self.now.at.after(Duration::from_millis(200));
                continue;
            }
            match self.wakes {
                // A status waits for its time.
                Some(at) if at <= self.now.at.after(Duration::from_secs(5)) => self.now.at = at,
                _ => return,
            }
        }
        panic!("it does not come to rest: {:?}", self.told);
    }

    /// What happened since.
    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    fn ready(&self) -> (String, String) {
        let conditions = self.instance.0.pointer("/status/conditions").unwrap().as_array().unwrap();
        let ready = conditions.iter().find(|c| c["type"] == "Ready").unwrap();
        (ready["reason"].as_str().unwrap().into(), ready["message"].as_str().unwrap_or_default().into())
    }

    fn versions(&self) -> Vec<u64> {
        self.on_record.iter().flat_map(|r| r.versions.keys().copied()).collect()
    }

    fn runs(&self) -> Vec<i64> {
        self.sites
            .values()
            .map(|s| s.mirror.as_ref().map_or(0, |(_, spec)| spec["size"].as_i64().unwrap()))
            .collect()
    }
}

fn merge(value: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    let object = value.as_object_mut().unwrap();
    for (key, patch) in fields {
        if patch.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.clone()).or_insert(Value::Null), patch);
        }
    }
}

/// At rest on all three at version 1.
fn settled(rollout: Rollout) -> Bench {
    rest_at_first(Bench::new(Some(rollout)))
}

/// The same of a definition that reads a label and the version of the cluster.
fn settled_reading(rollout: Rollout) -> Bench {
    let mut bench = Bench::new(Some(rollout));
    bench.graph = graph("${cluster.labels.tier + string(cluster.version.minor)}", 1);
    bench.are("one");
    rest_at_first(bench)
}

fn rest_at_first(bench: Bench) -> Bench {
    rest_at(bench, [1, 1, 1])
}

fn rest_at(mut bench: Bench, sizes: [i64; 3]) -> Bench {
    bench.approves(1, "prod");
    bench.rests();
    bench.passes(100);
    bench.rests();
    bench.passes(100);
    bench.rests();
    // An approval that was there before anything was on record counts for nothing.
    let first = bench.versions();
    assert_eq!(first.len(), 1, "{:?}", bench.told);
    bench.approves(first[0], "prod");
    bench.rests();
    assert_eq!(bench.runs(), sizes, "{:?} {:?}", bench.told, bench.ready());
    bench.told();
    bench
}

#[test]
fn a_first_version_goes_by_stages_too() {
    let mut bench = Bench::new(Some(canary_then_prod(0, true)));
    bench.rests();
    assert_eq!(bench.told(), ["record 1", "a: 1 1", "RolloutAwaitingApproval"]);
    let wait =
        "version 1: stage canary is done (1 cluster); create a RolloutApproval for version 1, stage prod";
    assert_eq!(bench.ready(), ("RolloutAwaitingApproval".into(), wait.into()));
    let fleet = &bench.instance.0["status"]["fleet"];
    assert_eq!(fleet["summary"], "1/3, 1 updated");
    assert_eq!(fleet["rollout"]["state"], "AwaitingApproval");
    let entries = fleet["clusters"].as_array().unwrap();
    let b = entries.iter().find(|e| e["name"] == "b").unwrap();
    assert_eq!((&b["state"], &b["message"]), (&json!("Waiting"), &json!("its turn comes with stage prod")));
    let a = entries.iter().find(|e| e["name"] == "a").unwrap();
    assert_eq!((&a["version"], &a["stage"]), (&json!(1), &json!("canary")));
    bench.approves(1, "prod");
    bench.rests();
    assert_eq!(bench.told(), ["b: 1 1", "c: 1 1", "stable 1"]);
    assert_eq!(bench.instance.0["status"]["fleet"]["summary"], "3/3");
    assert_eq!(bench.instance.0["status"]["state"], "ACTIVE");
}

#[test]
fn a_change_soaks_on_the_canary_and_waits_for_a_word() {
    let mut bench = settled(canary_then_prod(60, true));
    let number = bench.versions()[0];
    bench.edits(2);
    bench.rests();
    let next = number + 1;
    assert_eq!(bench.told(), [format!("record {next}"), format!("a: {next} 2")]);
    assert_eq!(bench.ready().0, "RolloutInProgress");
    bench.passes(61);
    bench.rests();
    assert_eq!(
        (bench.told(), bench.ready().0),
        (vec!["RolloutAwaitingApproval".to_owned()], "RolloutAwaitingApproval".to_owned())
    );
    bench.approves(next, "prod");
    bench.rests();
    let told =
        [format!("b: {next} 2"), format!("c: {next} 2"), format!("stable {next}"), format!("drop {number}")];
    assert_eq!(bench.told(), told);
    assert_eq!(bench.versions(), [next]);
}

#[test]
fn a_version_that_cannot_be_put_on_record_says_why_nothing_moves() {
    let mut bench = settled(canary_then_prod(0, false));
    bench.edits(2);
    bench.fleet.version_refused("forbidden".into());
    bench.fleet.version_written(false, &bench.now.clone());
    bench.step();
    let says =
        |bench: &Bench| bench.fleet.progress().unwrap().message.contains("cannot be written: forbidden");
    assert!(says(&bench) && bench.told().is_empty());
    bench.passes(600);
    bench.rests();
    assert_eq!(bench.runs(), [2, 2, 2]);
    assert!(!says(&bench));
}

#[test]
fn a_failure_halts_and_a_revert_goes_back_where_it_was() {
    let mut bench = settled(canary_then_prod(0, false));
    bench.bad = Some(2);
    bench.edits(2);
    bench.rests();
    assert_eq!(bench.told().last().unwrap(), "RolloutHalted");
    let (reason, message) = bench.ready();
    assert_eq!(reason, "RolloutHalted");
    assert!(message.contains("1 failed, 0 allowed: a: no image; 2 clusters stay at version"), "{message}");
    assert_eq!(bench.instance.0["status"]["state"], "ERROR");
    bench.edits(1);
    bench.rests();
    assert_eq!(bench.runs(), [1, 1, 1]);
    let told = bench.told();
    assert!(!told.iter().any(|t| t.starts_with("b:") || t.starts_with("c:")), "{told:?}");
    assert_eq!(bench.instance.0["status"]["state"], "ACTIVE");
}

#[test]
fn a_killed_controller_goes_on_where_it_was_after_a_pause() {
    let mut bench = settled(canary_then_prod(0, true));
    bench.edits(2);
    bench.rests();
    let next = *bench.versions().last().unwrap();
    bench.told();
    bench.crashes();
    bench.approves(next, "prod");
    bench.rests();
    assert_eq!((bench.told(), bench.runs()), (vec![], vec![2, 1, 1]), "what was under way may land");
    bench.passes(31);
    bench.rests();
    assert_eq!(bench.runs(), [2, 2, 2]);
}

#[test]
fn a_soak_counts_on_after_a_restart() {
    let mut bench = settled(canary_then_prod(100, false));
    bench.edits(2);
    bench.rests();
    bench.passes(60);
    bench.rests();
    bench.crashes();
    bench.rests();
    bench.passes(31);
    bench.rests();
    assert_eq!(bench.runs(), [2, 1, 1], "{:?}", bench.told);
    bench.passes(15);
    bench.rests();
    assert_eq!(bench.runs(), [2, 2, 2], "{:?}", bench.told);
}

#[test]
fn a_restart_at_rest_writes_nothing() {
    let mut bench = settled(canary_then_prod(0, false));
    bench.passes(100);
    bench.rests();
    bench.crashes();
    bench.writes = 0;
    for _ in 0..3 {
        bench.rests();
        bench.passes(20);
    }
    assert_eq!((bench.writes, bench.told()), (0, vec![]));
}

#[test]
fn an_instance_that_ran_before_is_taken_as_it_is() {
    let mut bench = Bench::new(None);
    bench.rests();
    assert_eq!(bench.runs(), [1, 1, 1]);
    bench.told();
    bench.rolls(Some(canary_then_prod(0, false)));
    bench.rests();
    assert_eq!(bench.told(), ["record 1 stable"]);
    assert_eq!(bench.instance.0["status"]["state"], "ACTIVE");
    bench.crashes();
    bench.rests();
    bench.passes(31);
    bench.rests();
    assert_eq!(bench.told(), [""; 0]);
    bench.edits(2);
    bench.rests();
    assert_eq!(bench.told(), ["record 2", "a: 2 2", "b: 2 2", "c: 2 2", "stable 2", "drop 1"]);
}

/// An instance that ran before it had a rollout, whose mirrors say no version.
fn ran_before(rollout: Rollout) -> Bench {
    let mut bench = Bench::new(None);
    bench.rests();
    bench.rolls(Some(rollout));
    bench.rests();
    assert_eq!((bench.runs(), bench.versions()), (vec![1, 1, 1], vec![1]));
    bench.told();
    bench
}

#[test]
fn what_ran_before_waits_for_its_word_after_a_restart_where_overrides_alone_are_new() {
    for status_is_lost in [false, true] {
        let mut bench = ran_before(canary_then_prod(0, true));
        let sizes = ["a", "b", "c"].map(|name| size_of(name, 5));
        bench.rolls_with(Some(canary_then_prod(0, true)), sizes.into());
        bench.rests();
        assert_eq!(bench.runs(), [5, 1, 1]);
        if status_is_lost {
            bench.write(&json!({"status": null}));
        }
        bench.crashes();
        bench.rests();
        bench.passes(31);
        bench.rests();
        assert_eq!(bench.runs(), [5, 1, 1], "{status_is_lost}: {:?}", bench.told);
        bench.approves(2, "prod");
        bench.rests();
        assert_eq!(bench.runs(), [5, 5, 5], "{status_is_lost}");
    }
}

#[test]
fn a_restart_at_rest_writes_nothing_where_all_went_back_to_what_ran_before() {
    let mut bench = ran_before(canary_then_prod(0, true));
    bench.rolls_with(Some(canary_then_prod(0, true)), vec![size_of("a", 5)]);
    bench.rests();
    bench.rolls(Some(canary_then_prod(0, true)));
    bench.rests();
    assert_eq!(bench.runs(), [1, 1, 1]);
    bench.passes(100);
    bench.rests();
    bench.crashes();
    bench.told();
    bench.writes = 0;
    for _ in 0..3 {
        bench.rests();
        bench.passes(20);
    }
    assert_eq!((bench.writes, bench.told()), (0, vec![]));
}

#[test]
fn what_came_to_all_while_there_was_no_rollout_stays_when_one_is_back() {
    // Overrides alone are new meanwhile, or the revision is.
    for revised in [false, true] {
        for crashed in [false, true] {
            let mut bench = settled(canary_then_prod(0, true));
            let overrides =
                || if revised { vec![] } else { ["a", "b", "c"].map(|name| size_of(name, 5)).into() };
            bench.follows(vec![placement("web", None, overrides())]);
            if revised {
                bench.redefines("${string(schema.spec.size)}!", 2);
            }
            bench.rests();
            let runs = |bench: &Bench| (bench.runs(), generations(bench));
            let all = runs(&bench);
            assert_eq!(all, if revised { (vec![1; 3], vec![2; 3]) } else { (vec![5; 3], vec![1; 3]) });
            bench.told();
            bench.follows(vec![placement("web", Some(canary_then_prod(0, true)), overrides())]);
            if crashed {
                bench.rests();
                bench.crashes();
            }
            bench.rests();
            bench.passes(31);
            bench.rests();
            assert_eq!(runs(&bench), all, "revised {revised}, crashed {crashed}: {:?}", bench.told);
            bench.edits(2);
            bench.rests();
            let next = if revised { vec![2, 1, 1] } else { vec![5; 3] };
            assert_eq!(bench.runs(), next, "revised {revised}, crashed {crashed}: {:?}", bench.told);
        }
    }
}

#[test]
fn what_is_refused_on_the_canary_stays_a_failure_after_a_restart() {
    let mut bench = ran_before(canary_then_prod(60, false));
    let sizes = ["a", "b", "c"].map(|name| size_of(name, 5));
    bench.sites.get_mut(&ClusterName::new("a")).unwrap().refuses = true;
    bench.rolls_with(Some(canary_then_prod(60, false)), sizes.into());
    for crashed in [false, true, true] {
        if crashed {
            bench.crashes();
        }
        for seconds in [31, 301, 301, 61] {
            bench.rests();
            bench.passes(seconds);
        }
        bench.rests();
        assert_eq!(bench.runs(), [1, 1, 1], "{:?}", bench.told);
        assert_eq!(bench.ready().0, "RolloutHalted", "{:?}", bench.told);
    }
}

#[test]
fn who_was_late_is_late_after_a_restart_too() {
    let rollout = || Rollout { stages: vec![stage("all", &[], 2, 0, false)], ..Rollout::default() };
    let mut bench = settled(Rollout { stages: vec![stage("all", &[], 1, 0, false)], ..rollout() });
    bench.slow = Some(2);
    bench.edits(2);
    bench.rests();
    bench.passes(601);
    bench.rests();
    assert_eq!((bench.runs(), bench.ready().0.as_str()), (vec![2, 1, 1], "RolloutHalted"));
    bench.crashes();
    bench.rolls(Some(rollout()));
    bench.rests();
    bench.passes(31);
    bench.rests();
    assert_eq!(
        (bench.runs(), bench.ready().0.as_str()),
        (vec![2, 1, 1], "RolloutHalted"),
        "{:?}",
        bench.told
    );
}

#[test]
fn a_suspended_instance_moves_no_further() {
    let mut bench = settled(canary_then_prod(0, false));
    bench.write(&json!({"metadata": {"annotations": {kro::RECONCILE: "suspended"}}}));
    bench.edits(2);
    for _ in 0..3 {
        bench.rests();
        bench.passes(601);
    }
    assert_eq!(bench.runs(), [1, 1, 1], "{:?}", bench.told);
    bench.write(&json!({"metadata": {"annotations": {kro::RECONCILE: null}}}));
    bench.rests();
    assert_eq!(bench.runs(), [2, 2, 2]);
}

#[test]
fn where_a_placement_is_gone_its_overrides_reach_nobody_else() {
    let chosen = |names: &[&str]| Chosen {
        names: names.iter().map(|n| ClusterName::new(n)).collect(),
        ..Chosen::default()
    };
    let rolls = || placement("rolls", Some(canary_then_prod(0, true)), vec![]);
    let big = || Override { clusters: None, spec: json!({"size": 5}) };
    let mut bench = Bench::new(None);
    let of_a = Effective { clusters: Some(chosen(&["a"])), ..placement("a", None, vec![big()]) };
    bench.follows(vec![of_a, rolls()]);
    let mut bench = rest_at(bench, [5, 1, 1]);
    bench.follows(vec![rolls()]);
    bench.rests();
    bench.passes(31);
    bench.rests();
    assert_eq!(bench.runs(), [1, 1, 1], "{:?}", bench.told);
}

/// What a guard keeps goes on by what it has, whatever moves the others.
#[test]
fn where_a_placement_is_gone_what_is_kept_keeps_its_overrides() {
    let names = ["a", "b", "c"].map(ClusterName::new);
    let chosen = Chosen { names: names.clone().into(), ..Chosen::default() };
    let big = Override { clusters: None, spec: json!({"size": 5}) };
    for gated in [true, false] {
        let others = || match gated {
            true => vec![],
            false => vec![placement("rolls", Some(canary_then_prod(0, false)), vec![])],
        };
        let of_all = Effective { clusters: Some(chosen.clone()), ..placement("a", None, vec![big.clone()]) };
        let mut bench = Bench::new(None);
        bench.write(&json!({"metadata": {"annotations": {hub::CLUSTERS: null}}}));
        if gated {
            let gate = Gate { revision: 1, graph: bench.graph.hash.as_str().into(), admitted: None };
            let gated = Gated { stage: "all".into(), version: Some(1), gate: Some(gate) };
            let gates = names.iter().map(|name| (name.clone(), gated.clone())).collect();
            bench.gates = Some(Arc::new(Gates(gates)));
        }
        bench.follows([vec![of_all], others()].concat());
        for _ in 0..3 {
            bench.rests();
            bench.passes(100);
        }
        assert_eq!(bench.runs(), [5, 5, 5], "{gated}: {:?}", bench.told());
        bench.follows(others());
        for _ in 0..3 {
            bench.rests();
            bench.passes(601);
        }
        assert_eq!(bench.runs(), [5, 5, 5], "{gated}: {:?}", bench.told);
        assert_eq!(bench.ready().0, "ShrinkHeld", "{gated}");
        bench.edits(2);
        bench.rests();
        assert_eq!(bench.runs(), [5, 5, 5], "{gated}: {:?}", bench.told);
    }
}

#[test]
fn where_nothing_may_be_looked_at_one_cluster_holds_no_other_up() {
    let mut bench = settled(canary_then_prod(0, false));
    bench.sites.get_mut(&ClusterName::new("c")).unwrap().blind = true;
    bench.crashes();
    bench.rests();
    bench.passes(31);
    bench.edits(2);
    for _ in 0..3 {
        bench.rests();
        bench.passes(31);
    }
    assert_eq!(bench.runs(), [2, 2, 1], "{:?}", bench.told);
    let all = bench.instance.0.pointer("/status/fleet/clusters").unwrap().as_array().unwrap();
    let of_c = all.iter().find(|entry| entry["name"] == "c").unwrap();
    assert_eq!((&of_c["state"], &of_c["message"]), (&json!("ERROR"), &json!("this hub may not list App")));
    bench.sites.get_mut(&ClusterName::new("c")).unwrap().blind = false;
    bench.obeys(&ClusterName::new("c"));
    bench.rests();
    assert_eq!(bench.runs(), [2, 2, 2], "{:?}", bench.told);
}

#[test]
fn a_pause_without_stages_moves_nobody_and_ends_with_all_at_once() {
    let mut bench = settled(canary_then_prod(0, false));
    bench.rolls(Some(Rollout { paused: true, ..Rollout::default() }));
    bench.edits(2);
    for _ in 0..3 {
        bench.rests();
        bench.passes(601);
    }
    assert_eq!((bench.runs(), bench.ready().0.as_str()), (vec![1, 1, 1], "RolloutPaused"));
    bench.rolls(None);
    bench.rests();
    bench.passes(31);
    bench.rests();
    assert_eq!(bench.runs(), [2, 2, 2], "{:?}", bench.told);
}

#[test]
fn a_paused_one_moves_nobody_and_who_comes_gets_the_stable_version() {
    let mut bench = settled(canary_then_prod(0, false));
    bench.rolls(Some(Rollout { paused: true, ..canary_then_prod(0, false) }));
    bench.edits(2);
    bench.rests();
    assert_eq!((bench.runs(), bench.ready().0.as_str()), (vec![1, 1, 1], "RolloutPaused"));
    let name = ClusterName::new("d");
    let ready = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
    bench.clusters.set(&name, Some(ready));
    bench.sites.insert(name, Site::default());
    bench.write(&json!({"metadata": {"annotations": {hub::CLUSTERS: "a,b,c,d"}}}));
    bench.rests();
    assert_eq!(bench.runs(), [1, 1, 1, 1]);
}

#[test]
fn a_rollout_that_cannot_be_read_moves_nobody_until_it_can() {
    let mut bench = settled(canary_then_prod(0, false));
    let broken = Effective {
        invalid: Some("spec.rollout.stages[0].clusters.names: no".into()),
        ..placement("rolls", Some(canary_then_prod(0, false)), vec![])
    };
    bench.follows(vec![broken.clone()]);
    bench.edits(2);
    bench.rests();
    bench.passes(31);
    bench.rests();
    assert_eq!((bench.runs(), bench.ready().0.as_str()), (vec![1, 1, 1], "InvalidPlacement"));
    bench.follows(vec![Effective { invalid: None, ..broken }]);
    bench.rests();
    bench.passes(31);
    bench.rests();
    assert_eq!(bench.runs(), [2, 2, 2], "{:?}", bench.told);
}

#[test]
fn a_cluster_that_was_lost_is_passed_by_and_follows_once() {
    let mut bench = settled(canary_then_prod(0, false));
    bench.loses("b", true);
    bench.edits(2);
    bench.rests();
    assert_eq!(bench.runs(), [2, 1, 2]);
    assert_eq!(bench.instance.0["status"]["fleet"]["rollout"]["state"], "Complete");
    assert_eq!(bench.instance.0["status"]["fleet"]["rollout"]["deferred"], 1);
    bench.loses("b", false);
    bench.obeys(&ClusterName::new("b"));
    bench.rests();
    assert_eq!(bench.runs(), [2, 2, 2]);
}

#[test]
fn a_revision_of_the_definition_is_a_change_and_what_is_held_runs_by_the_older_one() {
    let mut bench = settled(canary_then_prod(0, true));
    bench.redefines("size-${string(schema.spec.size)}", 2);
    bench.rests();
    let told = |site: &Site| match &site.task.as_ref().unwrap().goal {
        Goal::Run { graph, rank, .. } => (graph.generation, rank.behind),
        _ => (0, false),
    };
    assert_eq!(bench.sites.values().map(told).collect::<Vec<_>>(), [(2, false), (1, true), (1, true)]);
    assert_eq!(bench.ready().0, "RolloutAwaitingApproval");
}

/// Which graph each cluster was told to run by.
fn generations(bench: &Bench) -> Vec<i64> {
    let told = |site: &Site| match &site.task.as_ref().unwrap().goal {
        Goal::Run { graph, .. } => graph.generation,
        _ => 0,
    };
    bench.sites.values().map(told).collect()
}

/// What each cluster may run, where the revision of the kind moves by itself.
fn gates(runs: [(u64, &Arc<Graph>); 3]) -> Option<Arc<Gates>> {
    let gate = |(name, (revision, graph)): (&str, (u64, &Arc<Graph>))| {
        let graph = graph.hash.as_str().into();
        let gate = Some(Gate { revision, graph, admitted: None });
        (ClusterName::new(name), Gated { stage: "all".into(), version: None, gate })
    };
    Some(Arc::new(Gates(["a", "b", "c"].into_iter().zip(runs).map(gate).collect())))
}

#[test]
fn where_the_revision_of_the_kind_moves_by_itself_the_rollout_of_an_instance_moves_its_content_alone() {
    let first = graph("${string(schema.spec.size)}", 1);
    let mut bench = Bench::new(None);
    bench.gates = gates([(1, &first); 3]);
    bench.rolls(Some(canary_then_prod(0, true)));
    bench.rests();
    bench.approves(1, "prod");
    bench.passes(100);
    bench.rests();
    let versions = bench.versions();
    bench.approves(*versions.last().unwrap(), "prod");
    bench.rests();
    assert_eq!(bench.runs(), [1, 1, 1]);
    let versions = bench.versions();
    bench.redefines("size-${string(schema.spec.size)}", 2);
    bench.rests();
    assert_eq!((bench.versions(), generations(&bench)), (versions, vec![1, 1, 1]), "no word of the instance");
    bench.edits(2);
    bench.rests();
    assert_eq!((bench.runs(), generations(&bench)), (vec![2, 1, 1], vec![1, 1, 1]));
    let second = bench.graph.clone();
    bench.gates = gates([(1, &first), (2, &second), (1, &first)]);
    bench.rests();
    assert_eq!((bench.runs(), generations(&bench)), (vec![2, 1, 1], vec![1, 2, 1]));
    // Whatever the kind may run: pinned is pinned.
    (bench.newest, bench.graph, bench.ceiling) = (Some(second), first, Some(1));
    bench.rests();
    assert_eq!((bench.runs(), generations(&bench)), (vec![2, 1, 1], vec![1, 1, 1]));
}

/// Nobody has to agree to what changes nothing; and what comes afterwards goes by stages again.
#[test]
fn that_the_revision_of_the_kind_moves_by_itself_from_now_on_or_no_more_is_no_change() {
    let mut bench = settled(canary_then_prod(0, true));
    let (first, versions) = (bench.graph.clone(), bench.versions());
    bench.gates = gates([(1, &first); 3]);
    bench.rests();
    assert_eq!(bench.versions(), [versions.last().unwrap() + 1]);
    assert_eq!((bench.runs(), bench.ready().0), (vec![1, 1, 1], "Ready".to_owned()));
    // The kind goes to its second revision.
    bench.redefines("size-${string(schema.spec.size)}", 2);
    let second = bench.graph.clone();
    bench.gates = gates([(2, &second); 3]);
    bench.rests();
    assert_eq!(generations(&bench), [2, 2, 2]);
    // And by itself no more.
    bench.gates = None;
    bench.rests();
    assert_eq!(bench.versions(), [versions.last().unwrap() + 2]);
    assert_eq!((generations(&bench), bench.ready().0), (vec![2, 2, 2], "Ready".to_owned()));
    bench.redefines("of-${string(schema.spec.size)}", 3);
    bench.rests();
    assert_eq!((generations(&bench), bench.ready().0), (vec![3, 2, 2], "RolloutAwaitingApproval".to_owned()));
}

/// An edit at the same time is a change.
#[test]
fn where_the_rollout_of_the_kind_ends_before_its_newest_revision_the_own_one_goes_on_by_stages() {
    for crashed in [false, true] {
        let mut bench = settled(canary_then_prod(0, true));
        let first = bench.graph.clone();
        bench.redefines("size-${string(schema.spec.size)}", 2);
        bench.gates = gates([(1, &first); 3]);
        bench.rests();
        bench.passes(31);
        bench.rests();
        assert_eq!(generations(&bench), [1, 1, 1]);
        bench.gates = None;
        if crashed {
            bench.crashes();
            bench.rests();
            bench.passes(31);
        }
        bench.rests();
        assert_eq!(generations(&bench), [2, 1, 1], "{crashed}: {:?}", bench.told);
        assert_eq!(bench.ready().0, "RolloutAwaitingApproval");
    }
}

#[test]
fn an_edit_that_comes_with_a_rollout_of_the_kind_goes_by_stages() {
    let mut bench = settled(canary_then_prod(0, true));
    let first = bench.graph.clone();
    bench.gates = gates([(1, &first); 3]);
    bench.edits(2);
    bench.rests();
    assert_eq!((bench.runs(), bench.ready().0), (vec![2, 1, 1], "RolloutAwaitingApproval".to_owned()));
}

#[test]
fn what_cannot_be_run_by_its_revision_says_so_and_stays() {
    for by_kind in [true, false] {
        let mut bench = settled(canary_then_prod(0, true));
        let first = bench.graph.clone();
        if by_kind {
            bench = Bench::new(None);
            let gate = || Some(Gate { revision: 1, graph: first.hash.as_str().into(), admitted: None });
            let gated =
                |name| (ClusterName::new(name), Gated { stage: "all".into(), version: None, gate: gate() });
            bench.gates = Some(Arc::new(Gates(["a", "b", "c"].into_iter().map(gated).collect())));
            bench.rests();
        }
        bench.redefines("size-${string(schema.spec.size)}", 2);
        bench.rests();
        // After a restart the first is not at hand.
        bench.former = Arc::default();
        bench.crashes();
        bench.passes(31);
        bench.rests();
        let runs = bench.runs();
        bench.unfit = Some(Arc::new([(first.hash.clone(), "does not compile: no such kind".into())].into()));
        bench.rests();
        let all = bench.instance.0.pointer("/status/fleet/clusters").unwrap().as_array().unwrap();
        let b = all.iter().find(|entry| entry["name"] == "b").unwrap();
        assert_eq!(b["state"], "NotCompiled", "{by_kind} {b}");
        let message = b["message"].as_str().unwrap();
        assert!(message.contains("does not compile: no such kind; what runs there stays"), "{message}");
        assert_eq!(bench.instance.0["status"]["state"], "ERROR");
        assert_eq!(bench.runs(), runs);
        // It can be made again.
        (bench.former, bench.unfit) = (Arc::new([(first.hash.clone(), first)].into()), None);
        bench.rests();
        let all = bench.instance.0.pointer("/status/fleet/clusters").unwrap().as_array().unwrap();
        assert!(all.iter().all(|entry| entry["state"] == "ACTIVE"), "{by_kind} {all:?}");
        assert_eq!(bench.runs(), runs);
    }
}

#[test]
fn an_entry_names_the_stage_in_which_the_kind_moves_it_and_what_it_was_let_run_by() {
    let first = graph("${string(schema.spec.size)}", 1);
    let admitted = Admitted { revision: 1, mark: Mark { version: 3, since: 1, unjudged: false } };
    let gate = |admitted| Some(Gate { revision: 1, graph: first.hash.as_str().into(), admitted });
    let gated = |stage: &str, version, gate| Gated { stage: stage.into(), version, gate };
    let gates = [
        ("a", gated("canary", Some(3), gate(Some(admitted)))),
        ("b", gated("prod", Some(2), gate(None))),
        ("c", gated("prod", None, None)),
    ];
    let gates: BTreeMap<_, _> =
        gates.into_iter().map(|(name, gate)| (ClusterName::new(name), gate)).collect();
    let mut bench = Bench::new(None);
    bench.gates = Some(Arc::new(Gates(gates.clone())));
    bench.rests();
    let entry = |bench: &Bench, name: &str| {
        let all = bench.instance.0.pointer("/status/fleet/clusters").unwrap().as_array().unwrap();
        let found = all.iter().find(|entry| entry["name"] == name).unwrap();
        json!([found["stage"], found["version"], found["state"]])
    };
    assert_eq!(entry(&bench, "a"), json!(["canary", 3, "ACTIVE"]));
    assert_eq!(entry(&bench, "b"), json!(["prod", 2, "ACTIVE"]));
    assert_eq!(entry(&bench, "c"), json!(["prod", null, "Waiting"]));
    // Which cluster belongs to which stage may change.
    let relabelled = gates.into_iter().map(|(name, gate)| (name, Gated { stage: "rest".into(), ..gate }));
    bench.gates = Some(Arc::new(Gates(relabelled.collect())));
    bench.rests();
    assert_eq!(entry(&bench, "b"), json!(["rest", 2, "ACTIVE"]));
    // With a rollout of its own, that has the word; what was shown of the kind's counts for nothing there.
    bench.rolls(Some(canary_then_prod(0, false)));
    bench.rests();
    bench.passes(100);
    bench.rests();
    let all = bench.instance.0.pointer("/status/fleet/clusters").unwrap().as_array().unwrap();
    let a = all.iter().find(|entry| entry["name"] == "a").unwrap();
    assert_eq!(json!([a["stage"], a["kindStage"], a["kindVersion"]]), json!(["canary", "rest", 3]));
    assert_ne!(a["version"], 3);
}

#[test]
fn a_pin_of_an_instance_brings_the_revision_back_and_a_newer_one_moves_nobody() {
    let mut bench = settled(canary_then_prod(0, false));
    let first = bench.graph.clone();
    bench.redefines("size-${string(schema.spec.size)}", 2);
    bench.rests();
    assert_eq!(generations(&bench), [2, 2, 2]);
    (bench.newest, bench.graph, bench.ceiling) = (Some(bench.graph.clone()), first, Some(1));
    bench.rests();
    assert_eq!(generations(&bench), [1, 1, 1]);
    let versions = bench.versions();
    bench.newest = Some(graph("another-${string(schema.spec.size)}", 3));
    bench.rests();
    assert_eq!((bench.versions(), generations(&bench)), (versions, vec![1, 1, 1]));
}

#[test]
fn a_late_edit_of_a_mirror_comes_back_from_its_own_version() {
    let mut bench = settled(canary_then_prod(0, true));
    bench.edits(2);
    bench.rests();
    let b = ClusterName::new("b");
    let held = bench.sites[&b].mirror.clone();
    bench.crashes();
    bench.rests();
    bench.sites.get_mut(&b).unwrap().mirror = None;
    bench.obeys(&b);
    bench.rests();
    assert_eq!(bench.sites[&b].mirror, held);
    // Somebody takes it away while nobody looks.
    bench.crashes();
    bench.sites.get_mut(&b).unwrap().mirror = None;
    bench.rests();
    let (mark, spec) = held.unwrap();
    let (now, again) = bench.sites[&b].mirror.clone().unwrap();
    assert_eq!((now.unwrap().version, again), (mark.unwrap().version, spec));
}

fn size_of(cluster: &str, size: i64) -> Override {
    let clusters = Some(ClusterFilter { names: vec![cluster.into()], ..ClusterFilter::default() });
    Override { clusters, spec: json!({"size": size}) }
}

#[test]
fn rules_of_overrides_are_part_of_the_version_and_what_is_held_keeps_its_own() {
    let mut bench = settled(canary_then_prod(0, true));
    let held = || canary_then_prod(0, true);
    bench.rolls_with(Some(held()), vec![size_of("c", 5)]);
    bench.rests();
    // Nothing changes on the canary, nor on b.
    let first = *bench.versions().last().unwrap();
    bench.approves(first, "prod");
    bench.rests();
    assert_eq!(bench.runs(), [1, 1, 5]);
    bench.told();
    bench.edits(2);
    bench.rests();
    assert_eq!(bench.runs(), [2, 1, 5], "{:?}", bench.told);
    bench.rolls_with(Some(held()), vec![size_of("c", 6)]);
    bench.crashes();
    bench.rests();
    bench.passes(31);
    bench.rests();
    assert_eq!(bench.runs(), [2, 1, 5], "{:?}", bench.told);
    let newest = *bench.versions().last().unwrap();
    bench.approves(newest, "prod");
    bench.rests();
    assert_eq!(bench.runs(), [2, 2, 6]);
}

#[test]
fn where_the_content_cannot_be_made_the_rollout_halts_and_what_runs_stays() {
    let mut bench = settled(canary_then_prod(0, false));
    let rule = Override { spec: json!({"size": "${schema.spec.size / 0}"}), ..size_of("a", 0) };
    bench.rolls_with(Some(canary_then_prod(0, false)), vec![rule]);
    bench.rests();
    let (reason, message) = bench.ready();
    assert_eq!((bench.runs(), reason.as_str()), (vec![1, 1, 1], "RolloutHalted"), "{message}");
    assert!(message.contains("a: Placement shop/web spec.overrides[0]"), "{message}");
}

fn all(tier: &str, minor: u64) -> Vec<(String, u64)> {
    vec![(tier.to_owned(), minor); 3]
}

#[test]
fn labels_that_change_go_by_turns_without_a_version_and_what_a_cluster_is_counts_at_once() {
    let mut bench = settled_reading(canary_then_prod(0, false));
    let versions = bench.versions();
    assert_eq!(bench.read(), all("one", 30));
    bench.rolls(Some(Rollout { paused: true, ..canary_then_prod(0, false) }));
    ["a", "b", "c"].into_iter().for_each(|name| bench.is(name, "two", 31));
    bench.rests();
    assert_eq!((bench.read(), bench.told()), (all("one", 31), vec![]), "they wait, and their version is new");
    assert_eq!(bench.ready().0, "RolloutPaused");
    bench.rolls(Some(canary_then_prod(0, false)));
    bench.rests();
    assert_eq!(bench.told(), ["a: two", "b: two", "c: two"]);
    assert_eq!((bench.read(), bench.versions()), (all("two", 31), versions));
    assert_eq!(bench.instance.0["status"]["state"], "ACTIVE");
}

#[test]
fn labels_that_do_no_good_halt_and_are_put_right_at_once() {
    let mut bench = settled_reading(canary_then_prod(0, false));
    bench.are("bad");
    bench.rests();
    let told = bench.told();
    assert!(told.contains(&"a: bad".into()) && !told.contains(&"c: bad".into()), "{told:?}");
    let (reason, message) = bench.ready();
    assert_eq!(reason, "RolloutHalted", "{message}");
    let says = ["a: no image", "1 cluster goes by earlier labels or properties"];
    assert!(says.iter().all(|part| message.contains(part)), "{message}");
    // After a start it is the same.
    bench.crashes();
    bench.passes(31);
    bench.rests();
    assert_eq!((bench.ready().0.as_str(), bench.read()[2].0.as_str()), ("RolloutHalted", "one"));
    bench.told();
    bench.are("one");
    bench.rests();
    let told = bench.told();
    assert!(told.contains(&"a: one".into()) && !told.contains(&"c: one".into()), "{told:?}");
    assert_eq!(bench.read(), all("one", 30));
    assert_eq!(bench.instance.0["status"]["state"], "ACTIVE");
}

#[test]
fn what_was_read_outlives_a_crash() {
    let mut bench = settled_reading(canary_then_prod(0, false));
    bench.rolls(Some(Rollout { paused: true, ..canary_then_prod(0, false) }));
    bench.are("two");
    bench.rests();
    bench.crashes();
    bench.rests();
    bench.passes(31);
    bench.rests();
    assert_eq!((bench.read(), bench.told()), (all("one", 30), vec![]));
    // A new version takes what is so now.
    bench.edits(2);
    bench.rests();
    bench.rolls(Some(canary_then_prod(0, true)));
    bench.rests();
    assert_eq!(bench.runs(), [2, 1, 1]);
    assert_eq!(bench.read(), all("two", 30), "{:?}", bench.told);
}

#[test]
fn a_mirror_that_says_nothing_of_what_was_read_is_not_written_for_that_alone() {
    let mut bench = settled_reading(canary_then_prod(0, false));
    assert!(bench.sites.values().all(|site| site.facts.is_some()));
    bench.sites.values_mut().for_each(|site| site.facts = None);
    bench.crashes();
    bench.writes = 0;
    bench.rests();
    bench.passes(31);
    bench.rests();
    assert_eq!((bench.writes, bench.told()), (0, vec![]));
    bench.are("two");
    bench.rests();
    // What waits for its turn is on record first: a restart would let it there.
    assert_eq!(bench.told(), ["a: two", "b: two", "c: one", "c: two"]);
    assert!(bench.sites.values().all(|site| site.facts.as_ref().unwrap().since.is_some()));
    bench.crashes();
    bench.writes = 0;
    bench.rests();
    bench.passes(31);
    bench.rests();
    assert_eq!((bench.writes, bench.told()), (0, vec![]));
}

#[test]
fn a_label_that_is_held_back_is_held_back_after_a_crash_though_its_mirrors_said_nothing_of_it() {
    let mut bench = settled_reading(canary_then_prod(0, false));
    bench.sites.values_mut().for_each(|site| site.facts = None);
    bench.crashes();
    bench.rests();
    bench.passes(31);
    bench.rests();
    bench.rolls(Some(Rollout { paused: true, ..canary_then_prod(0, false) }));
    bench.are("two");
    bench.rests();
    assert_eq!(bench.told(), ["a: one", "b: one", "c: one"], "what counts is on record now");
    for _ in 0..2 {
        bench.crashes();
        bench.rests();
        bench.passes(31);
        bench.rests();
        assert_eq!((bench.read(), bench.told()), (all("one", 30), vec![]));
    }
    bench.rolls(Some(canary_then_prod(0, false)));
    bench.rests();
    assert_eq!(
        (bench.read(), bench.told()),
        (all("two", 30), ["a: two", "b: two", "c: two"].map(String::from).into())
    );
}

#[test]
fn a_label_that_an_override_goes_by_waits_like_one_that_is_rendered() {
    let mut bench = settled(canary_then_prod(0, false));
    bench.are("one");
    let two = json!({"labelSelector": {"matchLabels": {"tier": "two"}}});
    let rule = Override { clusters: serde_json::from_value(two).unwrap(), spec: json!({"size": 5}) };
    bench.rolls_with(Some(canary_then_prod(0, false)), vec![rule.clone()]);
    bench.rests();
    assert_eq!(bench.runs(), [1, 1, 1]);
    let paused = Rollout { paused: true, ..canary_then_prod(0, false) };
    bench.rolls_with(Some(paused), vec![rule.clone()]);
    bench.are("two");
    bench.rests();
    bench.crashes();
    bench.rests();
    bench.passes(31);
    bench.rests();
    assert_eq!((bench.runs(), bench.ready().0.as_str()), (vec![1, 1, 1], "RolloutPaused"));
    bench.rolls_with(Some(canary_then_prod(0, false)), vec![rule]);
    bench.rests();
    assert_eq!(bench.runs(), [5, 5, 5], "{:?}", bench.told);
}

#[test]
fn on_the_hub_content_counts_at_once_and_the_revision_goes_by_stages() {
    let mut bench = Bench::new(Some(canary_then_prod(0, true)));
    let mut local = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
    local.view.local = true;
    bench.clusters.set(&ClusterName::new("c"), Some(local));
    let mut bench = rest_at_first(bench);
    assert!(bench.instance.annotation(hub::VERSION).is_some());
    bench.edits(2);
    bench.rests();
    assert_eq!((bench.runs(), bench.ready().0.as_str()), (vec![2, 1, 2], "RolloutAwaitingApproval"));
    bench.approves(*bench.versions().last().unwrap(), "prod");
    bench.rests();
    assert_eq!((bench.runs(), generations(&bench)), (vec![2, 2, 2], vec![1, 1, 1]));
    bench.redefines("size-${string(schema.spec.size)}", 2);
    bench.rests();
    assert_eq!(generations(&bench), [2, 1, 1]);
    bench.told();
    bench.crashes();
    bench.rests();
    bench.passes(31);
    bench.rests();
    let told = |bench: &Bench| bench.sites[&ClusterName::new("c")].task.clone().map(|task| task.goal.clone());
    let Some(Goal::Run { graph, .. }) = told(&bench) else { panic!("the hub is looked after") };
    assert_eq!((graph.generation, bench.told()), (1, vec![]));
    bench.approves(*bench.versions().last().unwrap(), "prod");
    bench.rests();
    assert_eq!(generations(&bench), [2, 2, 2]);
    let newest = *bench.versions().last().unwrap();
    let says = bench.instance.annotation(hub::VERSION).and_then(Mark::read).unwrap();
    assert_eq!((says.version, bench.versions()), (newest, vec![newest]));
    assert_eq!(bench.instance.0["status"]["state"], "ACTIVE");
    bench.crashes();
    bench.writes = 0;
    bench.rests();
    bench.passes(31);
    bench.rests();
    assert_eq!(bench.writes, 0);
}

#[test]
fn what_lives_on_the_hub_comes_before_all_stages_and_goes_last() {
    let mut bench = Bench::new(Some(canary_then_prod(0, true)));
    let hub = ClusterName::new(ITSELF);
    let mut implied = ClusterState { health: ClusterHealth::Ready, implied: true, ..ClusterState::default() };
    implied.view.local = true;
    bench.clusters.set(&hub, Some(implied));
    bench.sites.insert(hub.clone(), Site::default());
    bench.graph = graph_on_hub("${string(schema.spec.size)}", 1);
    bench.rests();
    bench.approves(1, "prod");
    bench.rests();
    let keeps = |bench: &Bench| match &bench.sites[&hub].task.as_ref().unwrap().goal {
        Goal::Run { keeps, .. } => *keeps,
        _ => panic!("it runs"),
    };
    let others = |bench: &Bench| {
        ["a", "b", "c"].map(|name| {
            bench.sites[&ClusterName::new(name)]
                .mirror
                .as_ref()
                .map_or(0, |(_, spec)| spec["size"].as_i64().unwrap())
        })
    };
    assert_eq!((others(&bench), keeps(&bench)), ([1, 1, 1], false), "{:?}", bench.told);
    bench.hub_is_slow = true;
    bench.edits(2);
    bench.rests();
    assert_eq!((others(&bench), keeps(&bench)), ([1, 1, 1], true));
    assert!(bench.ready().1.contains("what lives on the hub comes first"), "{:?}", bench.ready());
    bench.hub_is_slow = false;
    bench.obeys(&hub);
    bench.rests();
    assert_eq!((others(&bench), keeps(&bench)), ([2, 1, 1], true));
    bench.approves(2, "prod");
    bench.rests();
    assert_eq!((others(&bench), keeps(&bench)), ([2, 2, 2], false), "{:?}", bench.ready());
}
