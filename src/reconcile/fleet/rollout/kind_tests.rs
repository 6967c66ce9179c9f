//! The rollout of a whole kind, with clusters that run what they may.

use super::QUIET;
use super::kind::{By, KindInputs, KindRecord, KindRollout, Seen, read_kind_version};
use super::tests::{graph, stage};
use crate::api::Object;
use crate::api::amounts::Span;
use crate::api::keys::hub;
use crate::api::names::{ClusterName, GroupKind, InstanceKey};
use crate::api::placement::OnUnmatch;
use crate::api::rollout::{Rollout, Scope, StageInstances};
use crate::graph::Graph;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::gate::Itself;
use crate::reconcile::fleet::{ClusterState, FleetAction, Registered, Was};
use crate::reconcile::policy::{Effective, PolicyName};
use crate::reconcile::rollout::pin::Unfit;
use crate::reconcile::rollout::unit::Reason;
use crate::reconcile::rollout::{Admitted, marks};
use crate::reconcile::spoke::{InstanceState, Report, Stands};
use crate::reconcile::{Moment, Now};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What runs of an instance on a cluster: by which graph, and what its mirror says.
type Site = (String, Option<Admitted>);

struct Bench {
    gk: GroupKind,
    rollout: KindRollout,
    by: By,
    record: Arc<KindRecord>,
    newest: Arc<Graph>,
    former: BTreeMap<String, Arc<Graph>>,
    revisions: BTreeMap<u64, String>,
    unfit: Unfit,
    clusters: Registered,
    instances: Vec<&'static str>,
    sites: BTreeMap<(&'static str, ClusterName), Option<Site>>,
    /// Hash of a graph by which nothing gets ready, and since when the status says so.
    bad: String,
    unwell: Option<u64>,
    now: Now,
    seconds: u64,
    quiet_until: Moment,
    /// What the status says of a site that does well: by which graph, and since when.
    written: BTreeMap<(&'static str, ClusterName), (String, u64)>,
    /// The highest revision of an instance, where somebody pins it.
    ceilings: BTreeMap<&'static str, u64>,
    /// Instances that somebody suspended.
    suspended: BTreeSet<&'static str>,
    /// Changes of what runs somewhere.
    writes: usize,
    /// The Cluster that stands for the hub, where one does.
    itself: Option<ClusterName>,
}

fn data(revision: u64) -> String {
    format!("${{string(schema.spec.size)}}{}", "!".repeat(usize::try_from(revision).unwrap()))
}

fn ruled(rollout: Rollout) -> By {
    let effective = Effective {
        name: PolicyName::new("", "app"),
        group_kind: GroupKind::new("kro.run", "App"),
        hash: String::new(),
        clusters: None,
        on_unmatch: OnUnmatch::Delete,
        grace: Span(0),
        overrides: Vec::new(),
        rollout: Some(rollout),
        invalid: None,
    };
    By { effective: Arc::new(effective), uid: "p".into() }
}

fn stages() -> Rollout {
    let stages = vec![stage("canary", &["a"], 2, 0, false), stage("prod", &[], 2, 0, false)];
    Rollout { stages, scope: Scope::Kind, ..Rollout::default() }
}

impl Bench {
    fn new(rollout: Rollout) -> Self {
        let names = ["a", "b", "c"].map(ClusterName::new);
        let ready = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
        let mut clusters = Registered::default();
        clusters.replace(names.iter().map(|name| (name.clone(), ready.clone())).collect());
        let newest = graph(&data(1), 1);
        let instances = vec!["x", "y"];
        let sites = instances.iter().flat_map(|i| names.iter().map(|n| ((*i, n.clone()), None))).collect();
        let mut bench = Self {
            gk: GroupKind::new("kro.run", "App"),
            rollout: KindRollout::default(),
            by: ruled(rollout),
            record: Arc::default(),
            revisions: BTreeMap::from([(1, newest.hash.clone())]),
            newest,
            former: BTreeMap::new(),
            unfit: Unfit::new(),
            clusters,
            instances,
            sites,
            bad: String::new(),
            unwell: None,
            now: Now::default(),
            seconds: 1_795_860_000,
            quiet_until: Moment::START,
            written: BTreeMap::new(),
            ceilings: BTreeMap::new(),
            suspended: BTreeSet::new(),
            writes: 0,
            itself: None,
        };
        bench.passes(1);
        bench
    }

    fn passes(&mut self, seconds: u64) {
        self.seconds += seconds;
        self.now.at = self.now.at.after(Duration::from_secs(seconds));
        self.now.rfc3339 = marks::time_text(self.seconds);
        self.rests();
    }

    fn redefines(&mut self, revision: u64, bad: bool) {
        let next = graph(&data(revision), 1);
        let before = std::mem::replace(&mut self.newest, next);
        self.former.insert(before.hash.clone(), before);
        self.revisions.insert(revision, self.newest.hash.clone());
        if bad {
            self.bad = self.newest.hash.clone();
        }
        self.rests();
    }

    /// Nothing but what stands somewhere is known.
    fn crashes(&mut self) {
        self.rollout = KindRollout::default();
        self.quiet_until = self.now.at.after(QUIET);
        self.rests();
    }

    fn report(&self, site: Option<&Site>, told: bool) -> Report {
        let (graph, admitted) = site.cloned().unwrap_or_default();
        let state = if graph == self.bad { InstanceState::InProgress } else { InstanceState::Active };
        Report {
            hub_uid: "u".into(),
            generation: 1,
            revision: if told { graph } else { String::new() },
            state,
            ready: 1,
            total: 1,
            message: String::new(),
            conditions: Vec::new().into(),
            author: None,
            hub_values: Arc::default(),
            fields: serde_json::Map::new(),
            settled: true,
            stands: site.map_or(Stands::Nothing, |_| Stands::Mirror(None)),
            admitted,
            facts: None,
        }
    }

    fn key(&self, name: &str) -> InstanceKey {
        InstanceKey::new(self.gk.clone(), "shop", name)
    }

    fn rests(&mut self) {
        for _ in 0..20 {
            for name in self.instances.clone() {
                self.step(name);
            }
        }
    }

    fn step(&mut self, name: &'static str) {
        let key = self.key(name);
        let gates = self.rollout.gates(&key).clone();
        let (mut on, mut on_hub) = (Vec::new(), None);
        let own: Vec<ClusterName> =
            self.sites.keys().filter(|(i, _)| *i == name).map(|(_, cluster)| cluster.clone()).collect();
        for cluster in own {
            let site = self.sites.get_mut(&(name, cluster.clone())).unwrap();
            let gate = gates.gate(&cluster);
            if let Some(gate) = gate {
                let wanted = Some((gate.graph.to_string(), gate.admitted));
                self.writes += usize::from(*site != wanted);
                *site = wanted;
            }
            let site = site.clone();
            // Nobody asks there what stands: the instance says it.
            let is_hub = self.itself.as_ref() == Some(&cluster);
            if is_hub {
                let admitted = site.as_ref().and_then(|(_, admitted)| *admitted);
                on_hub = Some(Itself { name: cluster.clone(), admitted, runs: site.is_some() });
            }
            let report = (!is_hub || gate.is_some()).then(|| self.report(site.as_ref(), gate.is_some()));
            on.push((cluster, report.map(Arc::new)));
        }
        let inputs = KindInputs {
            gk: &self.gk,
            by: &self.by,
            on_record: Some(&self.record),
            newest: &self.newest,
            former: &self.former,
            revisions: &self.revisions,
            unfit: &self.unfit,
            clusters: &self.clusters,
            quiet_until: self.quiet_until,
            now: &self.now,
        };
        let ceiling = self.ceilings.get(name).copied();
        // As the status says it.
        let sites = self.sites.clone();
        let was = |cluster: &ClusterName| {
            let at = (name, cluster.clone());
            let (graph, _) = sites.get(&at)?.clone()?;
            let since = self.written.get(&at).filter(|(of, _)| *of == graph).map(|(_, since)| *since);
            let unwell_since = self.unwell.filter(|_| graph == self.bad);
            Some(Was { graph, well_since: since, unwell_since })
        };
        let labels = BTreeMap::new();
        let suspended = self.suspended.contains(name);
        let seen = Seen { key: &key, labels: &labels, suspended, ceiling, was: &was, on, on_hub };
        let moves = self.rollout.look(&inputs, seen);
        let Some(write) = moves.write else { return };
        let record = Arc::make_mut(&mut self.record);
        let number = |name: &str| name.rsplit('-').next().unwrap().parse::<u64>().unwrap();
        match write {
            FleetAction::RecordVersion { body, .. } => {
                let (uid, gk, version) = read_kind_version(&Object(body)).unwrap();
                assert_eq!((uid.as_str(), &gk), (&*self.by.uid, &self.gk));
                record.versions.insert(version.number, version);
            }
            FleetAction::MarkStable { name } => {
                record.versions.get_mut(&number(&name)).unwrap().stable = true
            }
            FleetAction::DropVersion { name } => drop(record.versions.remove(&number(&name))),
            other => panic!("{other:?}"),
        }
        self.rollout.written(true, &self.now);
    }

    /// The revisions that run: of each instance, on a, b and c; 0 where none does.
    fn run(&self) -> Vec<u64> {
        let revision = |site: &Option<Site>| {
            let hash = site.as_ref().map(|(hash, _)| hash);
            self.revisions.iter().find(|(_, graph)| Some(*graph) == hash).map_or(0, |(number, _)| *number)
        };
        self.sites.values().map(revision).collect()
    }

    fn says(&self) -> (Reason, String) {
        let progress = self.rollout.progress().unwrap();
        (progress.reason, progress.message.clone())
    }
}

#[test]
fn a_revision_goes_by_stages_and_halts_and_a_restart_moves_nobody() {
    let mut bench = Bench::new(Rollout { progress_deadline: Span(5), ..stages() });
    assert_eq!(bench.run(), [1; 6], "the first revision needs no stages");
    bench.redefines(2, true);
    assert_eq!(bench.run(), [2, 1, 1, 2, 1, 1]);
    bench.passes(6);
    let (reason, message) = bench.says();
    assert_eq!(reason, Reason::Halted);
    assert!(message.starts_with("revision 2: version 2: 2 failed, 0 allowed: shop/x on a: "), "{message}");
    let writes = bench.writes;
    for quiet in [0, 31] {
        bench.crashes();
        bench.passes(quiet);
        assert_eq!((bench.run(), bench.writes), (vec![2, 1, 1, 2, 1, 1], writes), "{quiet}");
    }
    bench.by = ruled(Rollout { revision: Some(1), ..stages() });
    bench.passes(1);
    assert_eq!((bench.run(), bench.writes), (vec![1; 6], writes + 2), "nobody else is written to");
    assert_eq!(bench.says().0, Reason::Complete);
}

#[test]
fn who_was_late_is_late_after_a_restart_too() {
    let one = |max| Rollout { stages: vec![stage("all", &[], max, 0, false)], ..stages() };
    let mut bench = Bench::new(one(1));
    bench.redefines(2, true);
    bench.unwell = Some(bench.seconds);
    bench.passes(601);
    let moved = bench.run();
    assert_eq!((moved.iter().filter(|n| **n == 2).count(), bench.says().0), (1, Reason::Halted));
    bench.by = ruled(one(2));
    bench.crashes();
    bench.passes(31);
    assert_eq!((bench.run(), bench.says().0), (moved, Reason::Halted));
}

/// The kind runs by its second revision everywhere, and nothing of a rollout is known.
fn at_second(rollout: Rollout) -> Bench {
    let mut bench = Bench::new(stages());
    bench.redefines(2, false);
    let hash = bench.newest.hash.clone();
    for site in bench.sites.values_mut() {
        *site = Some((hash.clone(), None));
    }
    (bench.rollout, bench.record) = (KindRollout::default(), Arc::default());
    bench.by = By { uid: "q".into(), ..ruled(rollout) };
    bench
}

#[test]
fn a_pin_that_comes_with_its_rollout_moves_nobody_out_of_turn() {
    let mut bench = at_second(Rollout { revision: Some(1), paused: true, ..stages() });
    bench.passes(31);
    assert_eq!(bench.run(), [2; 6], "it is paused");
    let one = vec![stage("canary", &["a"], 1, 0, false), stage("prod", &[], 1, 0, true)];
    bench.by = By { uid: "q".into(), ..ruled(Rollout { revision: Some(1), stages: one, ..stages() }) };
    bench.passes(1);
    assert_eq!((bench.run(), bench.says().0), (vec![1, 2, 2, 1, 2, 2], Reason::AwaitingApproval));
}

#[test]
fn what_all_run_when_a_rollout_comes_is_written_to_nobody() {
    let mut bench = at_second(stages());
    let writes = bench.writes;
    bench.passes(31);
    assert_eq!((bench.run(), bench.writes, bench.says().0), (vec![2; 6], writes, Reason::Complete));
    assert!(bench.record.versions.values().all(|version| version.stable));
}

#[test]
fn another_who_moves_the_kind_takes_over_where_it_was() {
    let approval = || vec![stage("canary", &["a"], 9, 0, false), stage("prod", &[], 9, 0, true)];
    let mut bench = Bench::new(Rollout { stages: approval(), ..stages() });
    bench.redefines(2, false);
    assert_eq!(bench.run(), [2, 1, 1, 2, 1, 1]);
    for crashed in [false, true] {
        bench.record = Arc::default();
        bench.by = By { uid: if crashed { "r" } else { "q" }.into(), ..bench.by.clone() };
        if crashed {
            bench.crashes();
        }
        bench.passes(31);
        assert_eq!(
            (bench.run(), bench.says().0),
            (vec![2, 1, 1, 2, 1, 1], Reason::AwaitingApproval),
            "{crashed}"
        );
    }
}

#[test]
fn marks_of_a_rollout_that_ended_bring_nothing_back() {
    let mut bench = Bench::new(stages());
    bench.redefines(2, false);
    assert_eq!(bench.run(), [2; 6]);
    // Without the rollout all get the third.
    bench.rollout = KindRollout::default();
    let third = graph(&data(3), 1);
    for site in bench.sites.values_mut().flatten() {
        site.0.clone_from(&third.hash);
    }
    bench.redefines(3, false);
    assert_eq!(bench.run(), [3; 6]);
}

#[test]
fn what_does_well_goes_on_and_only_what_is_needed_stays_on_record() {
    let mut bench = Bench::new(stages());
    bench.redefines(2, false);
    assert_eq!(bench.run(), [2; 6]);
    bench.redefines(3, false);
    assert_eq!(bench.run(), [3; 6]);
    let kept: Vec<(u64, bool)> = bench.record.versions.values().map(|v| (v.number, v.stable)).collect();
    assert_eq!(kept, [(3, true)]);
    // Who comes then waits for nobody.
    bench.sites.insert(("z", ClusterName::new("b")), None);
    bench.instances.push("z");
    bench.rests();
    assert_eq!(bench.run(), [3; 7]);
}

#[test]
fn who_comes_while_a_revision_is_held_gets_the_stable_one() {
    let mut bench = Bench::new(Rollout { progress_deadline: Span(5), ..stages() });
    bench.redefines(2, true);
    bench.passes(6);
    bench.sites.insert(("z", ClusterName::new("b")), None);
    bench.instances.push("z");
    bench.rests();
    assert_eq!(bench.run(), [2, 1, 1, 2, 1, 1, 1]);
}

#[test]
fn approvals_count_for_their_version_alone() {
    let approval = vec![stage("canary", &["a"], 9, 0, false), stage("prod", &[], 9, 0, true)];
    let mut bench = Bench::new(Rollout { stages: approval, ..stages() });
    let approve = |bench: &mut Bench, version: u64| {
        Arc::make_mut(&mut bench.record).approvals.insert((version, "prod".into()));
        bench.rests();
    };
    bench.redefines(2, false);
    assert_eq!(bench.says().0, Reason::AwaitingApproval);
    approve(&mut bench, 1);
    assert_eq!(bench.run(), [2, 1, 1, 2, 1, 1]);
    approve(&mut bench, 2);
    assert_eq!(bench.run(), [2; 6]);
}

#[test]
fn a_stage_may_be_of_some_instances() {
    let mut canary = stage("canary", &[], 9, 0, false);
    canary.instances = Some(StageInstances { namespaces: vec!["elsewhere".into()], label_selector: None });
    let prod = stage("prod", &[], 9, 0, true);
    let mut bench = Bench::new(Rollout { stages: vec![canary, prod], ..stages() });
    bench.redefines(2, false);
    assert_eq!(bench.run(), [1; 6], "nobody is of the canary, and the rest waits for approval");
}

#[test]
fn a_pin_to_what_is_not_there_moves_nobody() {
    let mut bench = Bench::new(stages());
    bench.redefines(3, false);
    bench.revisions.remove(&1);
    bench.by = ruled(Rollout { revision: Some(2), ..stages() });
    bench.redefines(4, false);
    assert_eq!(bench.run(), [3; 6]);
    let said = "there is no revision 2 of app; there are 3 to 4";
    assert_eq!(bench.says(), (Reason::PinRefused, said.to_owned()));
}

#[test]
fn a_pin_to_what_does_not_compile_any_more_moves_nobody_and_says_so() {
    let mut bench = Bench::new(stages());
    bench.redefines(2, false);
    bench.by = ruled(Rollout { revision: Some(1), ..stages() });
    bench.passes(1);
    assert_eq!(bench.run(), [1; 6]);
    let first = bench.revisions[&1].clone();
    let kept = bench.former.remove(&first).unwrap();
    bench.unfit.insert(first.clone(), "does not compile".into());
    bench.crashes();
    bench.passes(31);
    assert_eq!(bench.run(), [1; 6]);
    assert_eq!(bench.says(), (Reason::PinRefused, "revision 1 does not compile".to_owned()));
    bench.former.insert(first, kept);
    bench.passes(1);
    assert_eq!((bench.run(), bench.says().0), (vec![1; 6], Reason::Complete));
}

#[test]
fn a_soak_counts_on_after_a_restart_by_what_the_status_says() {
    let soaking = vec![stage("canary", &["a"], 2, 100, false), stage("prod", &[], 9, 0, false)];
    for (written, at_once) in [(true, true), (false, false)] {
        let mut bench = Bench::new(Rollout { stages: soaking.clone(), ..stages() });
        bench.passes(200);
        assert_eq!(bench.says().0, Reason::Complete, "the first revision");
        bench.redefines(2, false);
        assert_eq!(bench.run(), [2, 1, 1, 2, 1, 1]);
        for name in ["x", "y"] {
            let of = if written { bench.newest.hash.clone() } else { "another".to_owned() };
            bench.written.insert((name, ClusterName::new("a")), (of, bench.seconds));
        }
        bench.passes(60);
        bench.crashes();
        bench.passes(31);
        assert_eq!(bench.run(), [2, 1, 1, 2, 1, 1]);
        bench.passes(10);
        assert_eq!(bench.run() == [2; 6], at_once);
        bench.passes(60);
        assert_eq!(bench.run(), [2; 6]);
    }
}

#[test]
fn who_is_pinned_below_is_no_matter_of_the_rollout() {
    let mut bench = Bench::new(Rollout { progress_deadline: Span(5), ..stages() });
    bench.ceilings.insert("x", 1);
    bench.redefines(2, true);
    bench.passes(6);
    assert_eq!(bench.run(), [1, 1, 1, 2, 1, 1], "x stays, and y is halted after the canary");
    assert_eq!(bench.says().0, Reason::Halted);
    // One that comes while it is so gets what all ran.
    bench.ceilings.insert("z", 1);
    bench.sites.insert(("z", ClusterName::new("a")), None);
    bench.instances.push("z");
    bench.rests();
    assert_eq!(bench.run(), [1, 1, 1, 2, 1, 1, 1]);
    bench.ceilings.clear();
    bench.bad.clear();
    bench.passes(1);
    assert_eq!(bench.run(), [2; 7]);
}

#[test]
fn who_is_suspended_neither_fails_nor_is_waited_for() {
    let slow = || Rollout { progress_deadline: Span(5), ..stages() };
    let approved = Rollout {
        stages: vec![stage("canary", &["a"], 2, 0, false), stage("prod", &[], 2, 0, true)],
        ..slow()
    };
    // Suspended before its turn, and after.
    for (suspends_first, canary) in [(true, [1, 1, 1, 2, 1, 1]), (false, [2, 1, 1, 2, 1, 1])] {
        let mut bench = Bench::new(approved.clone());
        if suspends_first {
            bench.suspended.insert("x");
        }
        bench.redefines(2, !suspends_first);
        bench.suspended.insert("x");
        bench.bad.clear();
        bench.rests();
        // What is suspended does not get ready.
        bench.passes(6);
        assert_eq!(bench.run(), canary);
        assert_eq!(bench.says().0, Reason::AwaitingApproval, "{:?}", bench.says());
        bench.by = ruled(slow());
        bench.passes(1);
        let rest: Vec<u64> = canary[..3].iter().copied().chain([2; 3]).collect();
        assert_eq!((bench.run(), bench.says().0), (rest, Reason::Complete), "{:?}", bench.says());
        bench.suspended.clear();
        bench.passes(1);
        assert_eq!(bench.run(), [2; 6], "who goes on gets what all have");
    }
}

#[test]
fn what_ran_before_there_was_a_rollout_is_not_touched() {
    let mut bench = Bench::new(stages());
    let hash = bench.newest.hash.clone();
    bench.rollout = KindRollout::default();
    bench.record = Arc::default();
    bench.sites.values_mut().for_each(|site| *site = Some((hash.clone(), None)));
    let writes = bench.writes;
    bench.rests();
    assert_eq!((bench.run(), bench.writes), (vec![1; 6], writes));
    assert_eq!(bench.says().0, Reason::Complete);
    bench.redefines(2, false);
    assert_eq!(bench.run(), [2; 6]);
}

#[test]
fn what_is_no_version_of_a_kind_is_none() {
    let mut object = json!({
        "metadata": {"labels": {hub::VERSION_OF: "p"}},
        "revision": 2,
        "data": {"kind": {"group": "kro.run", "kind": "App"}, "revision": 5, "graph": "g"},
    });
    let (.., version) = read_kind_version(&Object(object.clone())).unwrap();
    assert_eq!((version.number, version.content.number, version.stable), (2, 5, false));
    for field in ["kind", "revision", "graph"] {
        let mut broken = object.clone();
        broken["data"].as_object_mut().unwrap().remove(field);
        assert!(read_kind_version(&Object(broken)).is_none(), "{field}");
    }
    object["metadata"]["labels"] = json!({});
    assert!(read_kind_version(&Object(object)).is_none());
}

#[test]
fn the_hub_is_moved_like_any_cluster_and_says_itself_what_it_runs_by() {
    let prod = stage("prod", &[], 2, 0, true);
    let mut bench = Bench::new(stages());
    bench.by = ruled(Rollout { stages: vec![stage("canary", &["a"], 2, 0, false), prod], ..stages() });
    bench.itself = Some(ClusterName::new("c"));
    bench.crashes();
    bench.passes(31);
    let writes = bench.writes;
    bench.redefines(2, false);
    assert_eq!(bench.run(), [2, 1, 1, 2, 1, 1]);
    for quiet in [0, 31] {
        bench.crashes();
        bench.passes(quiet);
        assert_eq!((bench.run(), bench.writes), (vec![2, 1, 1, 2, 1, 1], writes + 2), "{quiet}");
    }
    let newest = *bench.record.versions.last_key_value().unwrap().0;
    Arc::make_mut(&mut bench.record).approvals.insert((newest, "prod".into()));
    bench.passes(1);
    assert_eq!((bench.run(), bench.writes), (vec![2; 6], writes + 6));
    bench.crashes();
    bench.passes(31);
    assert_eq!((bench.run(), bench.writes, bench.says().0), (vec![2; 6], writes + 6, Reason::Complete));
}
