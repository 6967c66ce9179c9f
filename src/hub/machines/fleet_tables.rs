//! The machine of one hub instance, step by step.

use super::api_server::{Kind, Server, merge, namespace_kind};
use super::graphs::app_gvk;
use super::graphs::{Blueprint, NAMESPACE, Plan, Sort, app_kind};
use super::http_server::resource_of;
use super::wire::{Fault, Request};
use super::world::{LeftRecords, instance_key};
use crate::api::Object;
use crate::api::keys::{hub, kro};
use crate::api::names::{ClusterName, HubId, ObjectRef};
use crate::hub::instances::{Outcome, Target, write};
use crate::reconcile::Moment;
use crate::reconcile::Now;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::overriding::Layer;
use crate::reconcile::fleet::placement::DefaultPlacement;
use crate::reconcile::fleet::{ClusterState, Departure, Fleet, FleetAction, FleetStep, Inputs, Registered};
use crate::reconcile::policy::Effective;
use crate::reconcile::spoke::{Goal, InstanceState, Report, StatusTrouble};
use crate::reconcile::world::Stored;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Bench {
    pub server: Server,
    pub fleet: Fleet,
    pub blueprint: Arc<Blueprint>,
    pub clusters: BTreeMap<ClusterName, ClusterState>,
    registered: Registered,
    /// The instance as the last step saw it.
    seen: Option<Arc<Object>>,
    /// What the Placements say that concern the instance.
    pub placements: Vec<Arc<Effective>>,
    /// The spec that each cluster was sent last.
    pub sent: BTreeMap<ClusterName, Value>,
    /// The next report is refused.
    refuses: bool,
    /// What its reports say.
    pub reports: BTreeMap<usize, Value>,
    left: LeftRecords,
    pub now: Now,
    /// The definition did not compile since the start.
    pub undefined: bool,
    /// Why a status write that fails does.
    status_trouble: StatusTrouble,
    /// How the next requests fail.
    fault: Option<Fault>,
}

/// What a refused write says.
fn said(ok: bool) -> Result<(), String> {
    if ok { Ok(()) } else { Err("refused".into()) }
}

pub(super) fn name(text: &str) -> ClusterName {
    ClusterName::new(text)
}

impl Bench {
    /// Three spokes, `a` and `b` of region eu, `c` of region us.
    pub fn new(annotations: Value) -> Self {
        let mut server = Server::new("hub");
        server.serve(app_kind(), Kind { namespaced: true });
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        server.create(&ObjectRef::new(namespace_kind(), "", NAMESPACE), "admin", &namespace).unwrap();
        let body = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App",
            "metadata": {"name": "app", "namespace": NAMESPACE, "annotations": annotations}, "spec": {"x": "x"}});
        server.create(&instance_key("app").object(), "user", &body).unwrap();
        let state = |region: &str| {
            let mut state = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
            state.view.labels.insert("region".into(), region.into());
            state
        };
        let clusters = [("a", "eu"), ("b", "eu"), ("c", "us")].map(|(n, r)| (name(n), state(r)));
        Self {
            server,
            fleet: Fleet::new(instance_key("app"), app_gvk()),
            blueprint: Blueprint::new(vec![Plan::new("n0", Sort::ConfigMap)], 1),
            clusters: clusters.into(),
            registered: Registered::default(),
            seen: None,
            placements: Vec::new(),
            sent: BTreeMap::new(),
            refuses: false,
            reports: BTreeMap::new(),
            left: LeftRecords::default(),
            undefined: false,
            status_trouble: StatusTrouble::Passing,
            fault: None,
            now: Now { at: Moment::from_millis(1_000), rfc3339: "2026-01-01T00:00:01Z".into() },
        }
    }

    /// The next report is refused.
    pub fn fails_once(&mut self) {
        self.refuses = true;
    }
    pub fn instance(&self) -> Option<Object> {
        self.server.object(&instance_key("app").object())
    }
    pub fn note(&self, key: &str) -> String {
        self.instance().and_then(|i| i.annotation(key).map(str::to_owned)).unwrap_or_default()
    }
    pub fn annotate(&mut self, key: &str, value: Option<&str>) {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        self.server.change(&instance_key("app").object(), "user", false, |v| merge(v, &patch)).unwrap();
    }
    pub fn later(&mut self, seconds: u64) {
        self.now.at = self.now.at.after(Duration::from_millis(seconds * 1000));
        self.now.rfc3339 = format!("2026-01-01T00:00:{:02}Z", self.now.at.as_millis() / 1000);
    }

    /// One step, everything in it done at once; in a few words, without status writes.
    pub fn round(&mut self) -> Vec<String> {
        let Some(instance) = self.instance() else { return Vec::new() };
        // Long enough for what passes by itself to be written.
        self.now.at = self.now.at.after(Duration::from_millis(100));
        let step = self.undone();
        let mut out = Vec::new();
        for action in step.actions {
            match &action {
                FleetAction::PatchMeta { .. } => out.push("record".to_owned()),
                FleetAction::Send { cluster, task } => {
                    let what = match &task.goal {
                        Goal::Run { mirror, .. } => {
                            self.sent.insert(cluster.clone(), mirror.spec());
                            "run"
                        }
                        Goal::GoOn { .. } => "go on",
                        Goal::Stay { .. } => "stay",
                        Goal::Remove { .. } => "remove",
                    };
                    out.push(format!("{what} {cluster}"));
                    continue;
                }
                FleetAction::Forget { cluster } => {
                    out.push(format!("forget {cluster}"));
                    continue;
                }
                FleetAction::RecordLeft { cluster, .. } => out.push(format!("left {cluster}")),
                FleetAction::Tell { reason, .. } => {
                    out.push(format!("tell {reason}"));
                    continue;
                }
                FleetAction::WriteStatus { .. } => {}
                FleetAction::WriteReport(write) => {
                    out.push(format!("report {}", write.index));
                    if std::mem::take(&mut self.refuses) {
                        self.fleet.report_written(write.index, Err(()), &self.now);
                        continue;
                    }
                    match &write.report {
                        Some(report) => drop(self.reports.insert(write.index, report.clone())),
                        None => drop(self.reports.remove(&write.index)),
                    }
                    self.fleet.report_written(write.index, Ok(write.report.as_ref()), &self.now);
                    continue;
                }
                FleetAction::Evaluate(question) => {
                    self.fleet.evaluated(question.evaluate());
                    continue;
                }
                FleetAction::RemoveFinalizer => out.push("finalizer".to_owned()),
                FleetAction::RecordVersion { .. }
                | FleetAction::MarkStable { .. }
                | FleetAction::DropVersion { .. } => panic!("no rollout is in effect"),
            }
            let object = Arc::new(instance.clone());
            let object = match action {
                FleetAction::RemoveFinalizer => Arc::new(self.instance().unwrap()),
                _ => object,
            };
            if let FleetAction::RecordLeft { cluster, left } = &action {
                let ok = self.fault.is_none();
                if ok {
                    self.left.record(cluster, left);
                }
                self.fleet.left_recorded(cluster, ok, &self.now);
                continue;
            }
            let target = Target { key: instance_key("app"), object, resource: resource_of(&app_kind()) };
            let request = Request::new(|client| async move { write(&client, &target, action).await });
            match request.run(&mut self.server, self.fault) {
                Some(Outcome::Meta(v)) => self.fleet.meta_written(said(v.is_ok()), &self.now),
                Some(Outcome::Status(v)) => self
                    .fleet
                    .status_written(v.map(drop).map_err(|_| (self.status_trouble, "no".into())), &self.now),
                Some(Outcome::Finalizer(v)) => self.fleet.finalizer_removed(said(v.is_ok()), &self.now),
                other => panic!("{other:?}"),
            }
        }
        out
    }

    /// One step; what it wants stays undone.
    pub fn undone(&mut self) -> FleetStep {
        let Some(instance) = self.instance() else { return FleetStep::default() };
        let hub_id = HubId::new("hub-1");
        self.registered.replace(self.clusters.clone());
        // As the hub's view: what did not change is the same object.
        let instance =
            self.seen.take().filter(|seen| **seen == instance).unwrap_or_else(|| Arc::new(instance));
        self.seen = Some(instance.clone());
        let overrides: Vec<Arc<Layer>> = self
            .placements
            .iter()
            .filter(|of| !of.overrides.is_empty())
            .map(|of| Arc::new(Layer::read(of, &self.blueprint.graph)))
            .collect();
        self.fleet.step(&Inputs {
            instance: &instance,
            stored: &Arc::new(Stored::new(instance.0.clone())),
            graph: Some(&self.blueprint.graph).filter(|_| !self.undefined),
            allow_breaking: false,
            clusters: &self.registered,
            hub_id: &hub_id,
            default_placement: DefaultPlacement::Local,
            placements: &self.placements,
            overrides: &overrides,
            rolled: crate::reconcile::fleet::rollout::Rolled::default(),
            now: &self.now,
        })
    }

    pub fn rounds(&mut self) -> Vec<String> {
        (0..6).map(|_| self.round().join(", ")).filter(|r| !r.is_empty()).collect()
    }

    pub fn active(&mut self, clusters: &[&str]) {
        for cluster in clusters {
            let report = self.report();
            self.fleet.report(&name(cluster), report);
        }
    }
    /// Of a cluster where all is well.
    pub fn report(&self) -> Report {
        Report {
            hub_uid: self.instance().unwrap().uid().to_owned(),
            generation: 1,
            revision: self.blueprint.graph.hash.clone(),
            state: InstanceState::Active,
            ready: 1,
            total: 1,
            message: String::new(),
            conditions: Vec::new().into(),
            author: None,
            hub_values: Arc::default(),
            fields: Map::new(),
            settled: true,
            stands: crate::reconcile::spoke::Stands::Unknown,
            admitted: None,
            facts: None,
        }
    }
    pub fn placed(words: &str) -> Self {
        let mut bench = Self::new(json!({hub::CLUSTERS: words}));
        bench.rounds();
        bench
    }
    pub fn ready(&self) -> (String, String) {
        let conditions = self.instance().unwrap().0["status"]["conditions"].clone();
        let list = conditions.as_array().cloned().unwrap_or_default();
        let ready = list.into_iter().find(|c| c["type"] == "Ready").unwrap_or_default();
        let text = |k: &str| ready[k].as_str().unwrap_or_default().to_owned();
        (text("reason"), text("message"))
    }
}

#[test]
fn where_content_may_exist_is_on_record_before_anybody_is_told() {
    let mut bench = Bench::new(json!({hub::CLUSTERS: "a,b"}));
    assert_eq!(bench.round(), ["record"]);
    assert_eq!(bench.note(hub::HOLDS), "a,b");
    assert_eq!(bench.instance().unwrap().finalizers(), [kro::FINALIZER]);
    assert_eq!(bench.round(), ["run a", "run b"]);
    assert_eq!(bench.rounds(), [""; 0]);
}

#[test]
fn a_record_that_is_on_its_way_counts() {
    let mut bench = Bench::placed("a");
    bench.annotate(hub::CLUSTERS, Some("b"));
    bench.rounds();
    bench.fleet.gone(&name("a"));
    // The record lets a go; before it landed, a is chosen again.
    let step = bench.undone();
    assert!(step.actions.iter().any(|a| matches!(a, FleetAction::PatchMeta { .. })));
    bench.annotate(hub::CLUSTERS, Some("a,b"));
    assert_eq!(bench.rounds(), [""; 0], "the instance still names a, the record on its way does not");
    // Whether it landed is open: it is written again, and only then something goes there.
    bench.fleet.meta_written(said(false), &bench.now);
    bench.later(5);
    assert_eq!(bench.rounds(), ["record", "run a"]);
}

#[test]
fn a_hold_ends_when_its_cluster_says_that_nothing_is_left() {
    let mut bench = Bench::placed("a,b");
    bench.annotate(hub::CLUSTERS, Some("b,c"));
    assert_eq!(bench.rounds(), ["record, remove a", "run c"]);
    assert_eq!(bench.note(hub::HOLDS), "a,b,c");
    bench.fleet.gone(&name("b"));
    assert_eq!(bench.rounds(), [""; 0], "nobody asked b to remove anything");
    bench.fleet.gone(&name("a"));
    assert_eq!(bench.rounds(), ["record"]);
    assert_eq!(bench.note(hub::HOLDS), "b,c");
}

#[test]
fn a_shrink_by_others_is_held_until_it_is_acknowledged() {
    let mut bench = Bench::new(json!({hub::CLUSTER_SELECTOR: "region=eu"}));
    bench.rounds();
    for cluster in ["a", "b"] {
        bench.clusters.get_mut(&name(cluster)).unwrap().view.labels.clear();
    }
    bench.later(5);
    assert_eq!(bench.rounds(), ["record"], "that they are held is on record");
    assert_eq!(bench.note(hub::HOLDS), "a,b");
    let (reason, message) = bench.ready();
    assert_eq!(reason, "ShrinkHeld");
    let token = message.rsplit('=').next().unwrap().to_owned();
    let held = |bench: &Bench| bench.instance().unwrap().0["status"]["fleet"]["held"].clone();
    assert_eq!(held(&bench), json!({"token": token, "clusters": ["a", "b"]}));
    bench.annotate(hub::ALLOW_SHRINK, Some(&token));
    assert!(bench.rounds().concat().contains("remove a, remove b"));
    bench.later(40);
    bench.rounds();
    assert_eq!(held(&bench), json!(null));
}

#[test]
fn a_typo_that_is_mended_label_by_label_deletes_nothing_at_any_pace() {
    for pause in [0, 1, 30] {
        for restarts in [false, true] {
            let mut bench = Bench::new(json!({hub::CLUSTER_SELECTOR: "env=prod"}));
            let label = |bench: &mut Bench, cluster: &str, value: &str| {
                let labels = &mut bench.clusters.get_mut(&name(cluster)).unwrap().view.labels;
                labels.insert("env".into(), value.into());
                let mut rounds = bench.rounds().concat();
                if restarts {
                    bench.fleet = Fleet::new(instance_key("app"), app_gvk());
                }
                bench.later(pause);
                rounds += &bench.rounds().concat();
                rounds
            };
            for cluster in ["a", "b", "c"] {
                label(&mut bench, cluster, "prod");
            }
            let mut told = String::new();
            for (cluster, value) in
                [("a", "typo"), ("b", "typo"), ("c", "typo"), ("a", "prod"), ("b", "prod"), ("c", "prod")]
            {
                told += &label(&mut bench, cluster, value);
            }
            // One of three is no half, if it was alone for long enough.
            let alone = pause == 30 && !restarts;
            assert_eq!(told.contains("remove a"), alone, "{pause} {restarts}: {told}");
            assert!(!told.contains("remove b") && !told.contains("remove c"), "{pause} {restarts}: {told}");
            bench.later(30);
            bench.rounds();
            assert_eq!(bench.note(hub::HOLDS), "a,b,c");
            assert!(bench.note(hub::DECIDED).ends_with("/a,b,c"), "{}", bench.note(hub::DECIDED));
        }
    }
}

#[test]
fn few_that_are_lost_go_after_a_pause_that_a_further_loss_begins_anew() {
    let mut bench = Bench::new(json!({hub::CLUSTERS: "a,b,c"}));
    bench.clusters.insert(name("d"), bench.clusters[&name("c")].clone());
    bench.clusters.insert(name("e"), bench.clusters[&name("c")].clone());
    bench.annotate(hub::CLUSTERS, Some("a,b,c,d,e"));
    bench.rounds();
    let refuse = |bench: &mut Bench, cluster: &str| {
        bench.clusters.get_mut(&name(cluster)).unwrap().view.allowed_namespaces = vec!["other".into()];
    };
    refuse(&mut bench, "a");
    assert_eq!(bench.rounds(), [""; 0]);
    bench.later(3);
    refuse(&mut bench, "b");
    assert_eq!(bench.rounds(), [""; 0]);
    bench.later(3);
    assert_eq!(bench.rounds(), [""; 0]);
    assert_eq!(bench.undone().wake_at.map(|at| at > bench.now.at), Some(true));
    bench.later(3);
    assert_eq!(bench.rounds(), ["record", "remove a, remove b"]);
    // The controller ends while they are being cleaned: that is not begun anew.
    bench.fleet = Fleet::new(instance_key("app"), app_gvk());
    assert_eq!(bench.rounds(), ["run c, run d, run e, remove a, remove b"]);
}

#[test]
fn words_that_are_no_names_hold_nothing() {
    let mut bench = Bench::placed("a");
    bench.annotate(hub::HOLDS, Some("a,NO_NAME,../x"));
    assert_eq!(bench.rounds(), ["record, tell HoldsCorrected"]);
    assert_eq!(bench.note(hub::HOLDS), "a");
    bench.annotate(hub::HOLDS, Some("a,NO_NAME"));
    bench.server.delete(&instance_key("app").object(), None).unwrap();
    bench.fleet.gone(&name("a"));
    bench.rounds();
    bench.fleet.gone(&name("a"));
    assert!(bench.rounds().concat().ends_with("finalizer"));
}

#[test]
fn a_cluster_that_leaves_finishes_deletions_and_lets_all_else_go() {
    let leave = |bench: &mut Bench, departure| {
        let cluster = bench.clusters.get_mut(&name("b")).unwrap();
        (cluster.view.leaving, cluster.departure) = (true, departure);
    };
    let lose = |bench: &mut Bench| {
        bench.clusters.get_mut(&name("b")).unwrap().health =
            ClusterHealth::Unreachable { since: "t".into(), message: "m".into() };
    };
    let delete = |bench: &mut Bench| bench.server.delete(&instance_key("app").object(), None).unwrap();
    // Nothing is asked for as long as the instance may be deleted as well; then it is.
    let mut bench = Bench::placed("a,b");
    leave(&mut bench, Departure::Settling);
    bench.rounds();
    assert_eq!(bench.note(hub::HOLDS), "a,b");
    delete(&mut bench);
    assert_eq!(bench.rounds(), ["remove a, remove b"]);
    leave(&mut bench, Departure::Finishing);
    assert_eq!(bench.rounds(), [""; 0], "it goes on");
    bench.fleet.gone(&name("b"));
    assert_eq!(bench.rounds(), ["record"]);
    assert!(bench.left.0.is_empty());
    // It does not end.
    for ends in [true, false] {
        let mut bench = Bench::placed("a,b");
        delete(&mut bench);
        bench.rounds();
        leave(&mut bench, Departure::Finishing);
        assert_eq!(bench.rounds(), [""; 0]);
        if ends {
            leave(&mut bench, Departure::Over)
        } else {
            lose(&mut bench)
        }
        assert!(bench.rounds().concat().starts_with("forget b, left b"));
        assert_eq!(bench.left.0[&name("b")].len(), 1);
    }
    // It is not deleted.
    let mut bench = Bench::placed("a,b");
    leave(&mut bench, Departure::Settling);
    assert!(!bench.rounds().concat().contains(" b"));
    leave(&mut bench, Departure::Finishing);
    assert!(bench.rounds().concat().starts_with("forget b, left b"));
    assert_eq!(bench.note(hub::HOLDS), "a");
}

#[test]
fn release_lets_go_at_once_and_leaves_a_record() {
    let mut bench = Bench::placed("a,b");
    bench.clusters.get_mut(&name("b")).unwrap().health =
        ClusterHealth::Unreachable { since: "t".into(), message: "m".into() };
    bench.annotate(hub::RELEASE, Some("b"));
    let rounds = bench.rounds().join("; ");
    assert_eq!(rounds, "forget b, left b, record; record", "the hold ends after what is left is on record");
    assert_eq!(bench.note(hub::HOLDS), "a");
    assert_eq!(bench.left.0[&name("b")].len(), 1);
}

#[test]
fn a_deleted_instance_waits_for_every_cluster_that_holds_it() {
    let mut bench = Bench::placed("a,b");
    bench.server.delete(&instance_key("app").object(), None).unwrap();
    assert_eq!(bench.rounds(), ["remove a, remove b"]);
    bench.fleet.gone(&name("a"));
    assert_eq!(bench.rounds(), ["record"]);
    assert!(bench.instance().is_some());
    bench.fleet.gone(&name("b"));
    assert!(bench.rounds().concat().ends_with("finalizer"));
    assert!(bench.instance().is_none());
}

#[test]
fn an_unreachable_cluster_holds_a_deletion_and_is_named() {
    let mut bench = Bench::placed("a");
    bench.clusters.get_mut(&name("a")).unwrap().health =
        ClusterHealth::NotReady { reason: "Frozen".into(), message: "another cluster".into() };
    bench.server.delete(&instance_key("app").object(), None).unwrap();
    bench.later(5);
    assert_eq!(bench.rounds(), [""; 0]);
    assert!(bench.ready().1.contains("deletion waits for a"), "{:?}", bench.ready());
}

#[test]
fn content_that_no_hold_names_is_kept_until_somebody_decides() {
    let mut bench = Bench::placed("a");
    bench.fleet.found(&name("c"));
    let rounds = bench.rounds();
    assert_eq!(bench.note(hub::HOLDS), "a,c");
    assert_eq!(rounds.concat(), "recordrun c", "an older hub does not delete what it does not know of");
    bench.later(5);
    bench.rounds();
    let (reason, message) = bench.ready();
    assert!(reason.contains("ShrinkHeld"), "{reason}: {message}");
    let token = message.rsplit('=').next().unwrap().to_owned();
    bench.annotate(hub::ALLOW_SHRINK, Some(&token));
    assert!(bench.rounds().concat().contains("remove c"));
}

#[test]
fn a_record_that_went_back_loses_nothing_that_was_told_since() {
    let mut bench = Bench::placed("a");
    let backup = bench.server.snapshot();
    bench.annotate(hub::CLUSTERS, Some("b,c"));
    assert_eq!(bench.rounds(), ["record, remove a", "run b, run c"]);
    bench.fleet.gone(&name("a"));
    bench.rounds();
    bench.server.restore(backup, true);
    assert_eq!(bench.rounds(), ["record, run a"], "b and c run on until somebody decides");
    assert_eq!(bench.note(hub::HOLDS), "a,b,c");
    bench.later(5);
    bench.rounds();
    let (reason, message) = bench.ready();
    assert_eq!(reason, "ShrinkHeld", "{message}");
    let token = message.rsplit('=').next().unwrap().to_owned();
    bench.annotate(hub::ALLOW_SHRINK, Some(&token));
    assert!(bench.rounds().concat().contains("remove b, remove c"));
}

#[test]
fn a_cluster_that_connects_anew_is_believed_about_what_was_let_go() {
    let mut bench = Bench::placed("a,b");
    bench.annotate(hub::RELEASE, Some("b"));
    bench.rounds();
    bench.annotate(hub::CLUSTERS, Some("a"));
    bench.annotate(hub::RELEASE, None);
    bench.rounds();
    assert_eq!(bench.note(hub::HOLDS), "a");
    bench.fleet.found(&name("b"));
    bench.rounds();
    assert_eq!(bench.note(hub::HOLDS), "a", "it is on record as left");
    bench.fleet.actor_restarted(&name("b"));
    bench.fleet.found(&name("b"));
    bench.rounds();
    assert_eq!(bench.note(hub::HOLDS), "a,b", "the record was read, and did not say so");
}

#[test]
fn a_record_that_failed_and_is_not_needed_any_more_is_no_trouble() {
    let mut bench = Bench::new(json!({hub::CLUSTER_SELECTOR: "region=us"}));
    bench.fault = Some(Fault::Error);
    bench.rounds();
    bench.fault = None;
    bench.clusters.get_mut(&name("c")).unwrap().view.labels.clear();
    bench.later(5);
    bench.rounds();
    assert_eq!(bench.instance().unwrap().finalizers(), [""; 0]);
    assert_eq!(bench.ready().0, "NotPlaced");
    assert_eq!(bench.instance().unwrap().str_at("/status/state"), "IN_PROGRESS");
}

#[test]
fn a_restart_rewrites_no_status() {
    for (words, clusters) in [(Some("a,b"), vec!["a", "b"]), (None, vec![])] {
        let mut bench = Bench::new(words.map_or(json!({}), |w| json!({hub::CLUSTERS: w})));
        bench.rounds();
        bench.active(&clusters);
        bench.later(5);
        bench.rounds();
        // As an earlier release wrote it.
        let strip = |v: &mut Value| drop(v["status"].as_object_mut().unwrap().remove("observedGeneration"));
        bench.server.change(&instance_key("app").object(), "us", true, strip).unwrap();
        let before = bench.instance().unwrap();
        bench.fleet = Fleet::new(instance_key("app"), app_gvk());
        bench.later(5);
        bench.rounds();
        bench.active(&clusters);
        bench.later(5);
        bench.rounds();
        assert_eq!(bench.instance().unwrap(), before, "{words:?}");
    }
}

#[test]
fn fields_that_the_hub_refuses_are_named_and_the_rest_of_the_status_is_written() {
    let mut bench = Bench::placed("a");
    let mut report = bench.report();
    report.fields.insert("first".into(), json!("n0"));
    bench.fleet.report(&name("a"), report.clone());
    (bench.fault, bench.status_trouble) = (Some(Fault::Error), StatusTrouble::Refused);
    bench.rounds();
    bench.fault = None;
    bench.later(2);
    bench.rounds();
    let (reason, message) = bench.ready();
    assert_eq!(
        (reason.as_str(), message.as_str()),
        ("StatusRefused", "the hub refuses the fields of the status: no")
    );
    let instance = bench.instance().unwrap();
    assert_eq!((instance.str_at("/status/state"), instance.str_at("/status/first")), ("ERROR", ""));
    // Other fields are offered again.
    report.fields.insert("first".into(), json!("n1"));
    bench.fleet.report(&name("a"), report);
    bench.later(2);
    bench.rounds();
    let instance = bench.instance().unwrap();
    assert_eq!((instance.str_at("/status/state"), instance.str_at("/status/first")), ("ACTIVE", "n1"));
}

#[test]
fn an_edit_of_what_runs_on_the_hub_is_told_as_done_once_it_is() {
    let mut bench = Bench::new(json!({}));
    let mut own = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
    own.view.local = true;
    bench.clusters.insert(name("local"), own);
    let told = |bench: &mut Bench| {
        bench.later(5);
        bench.rounds();
        let status = bench.instance().unwrap().0["status"].clone();
        (status["state"].as_str().unwrap_or_default().to_owned(), status["observedGeneration"].clone())
    };
    bench.rounds();
    bench.active(&["local"]);
    assert_eq!(told(&mut bench), ("ACTIVE".to_owned(), json!(1)));
    let edit = json!({"spec": {"x": "y"}});
    bench.server.change(&instance_key("app").object(), "user", false, |v| merge(v, &edit)).unwrap();
    bench.rounds();
    assert_eq!(told(&mut bench), ("ACTIVE".to_owned(), json!(1)), "nobody has acted on it yet");
    bench.later(15);
    assert_eq!(told(&mut bench).0, "IN_PROGRESS", "for long");
    let report = Report { generation: 2, ..bench.report() };
    bench.fleet.report(&name("local"), report);
    assert_eq!(told(&mut bench), ("ACTIVE".to_owned(), json!(2)));
    // What keeps it from being told is no deletion.
    bench.clusters.get_mut(&name("local")).unwrap().health =
        ClusterHealth::NotReady { reason: "Paused".into(), message: "spec.paused is true".into() };
    told(&mut bench);
    assert!(!bench.ready().1.contains("deletion"), "{:?}", bench.ready());
}
