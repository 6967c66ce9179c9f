//! The machine of one instance on one cluster, step by step, on the model server.

use super::api_server::{Kind, Server, namespace_kind};
use super::bench::{self, Given};
use super::graphs::app_gvk;
use super::graphs::{Blueprint, NAMESPACE, Plan, Sort, Wish, app_kind, operator_value};
use super::wire::Fault;
use super::world::instance_key;
use crate::api::Object;
use crate::api::keys::{hub, kro};
use crate::api::names::{GroupKind, HubId, ObjectRef};
use crate::reconcile::Moment;
use crate::reconcile::Now;
use crate::reconcile::bounds::Bounds;
use crate::reconcile::rollout::facts::Reads;
use crate::reconcile::rollout::{Facts, Mark};
use crate::reconcile::spoke::tracked::Trouble;
use crate::reconcile::spoke::{
    Action, Goal, Home, Machine, MirrorContent, Outcome, Part, Stands, StatusTrouble, Step, Task,
};
use crate::reconcile::world::{CrdState, CrdWish, KindState, Looked, Lookup, Rank, Stored};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Bench {
    pub server: Server,
    pub machine: Machine,
    pub blueprint: Arc<Blueprint>,
    pub now: Now,
    /// Kinds that are not fully listed, and how they are instead.
    pub unlisted: Vec<(GroupKind, KindState)>,
    /// Kinds that were listed once and may not be seen any more; people are told.
    pub blind: Vec<GroupKind>,
    pub crd: Option<CrdState>,
    /// What the hub asked for last, if not the machine's own.
    crd_wanted: Option<String>,
    /// An object that is shown although it is gone.
    phantom: Option<Object>,
    /// Objects that are not shown although they are there: they left our selection, or a list left them out.
    pub hidden: BTreeSet<ObjectRef>,
    /// What external references find.
    pub lookups: BTreeMap<Lookup, Looked>,
    /// Where resources may be written.
    pub bounds: Arc<Bounds>,
    pub last: Step,
}

pub(super) fn hub_id() -> HubId {
    HubId::new("hub-1")
}

pub(super) fn wish() -> Wish {
    Wish { x: "x".into(), flag: true, items: vec!["a".into(), "b".into()] }
}

pub(super) fn task(goal: Goal, uid: &str) -> Arc<Task> {
    let (key, hub_uid) = (instance_key("app"), uid.to_owned());
    Arc::new(Task { key, gvk: app_gvk(), hub_uid, hub_id: hub_id(), home: Home::Mirror, goal })
}

pub(super) fn run(blueprint: &Blueprint, wish: &Wish) -> Goal {
    let mirror = MirrorContent::new(&BTreeMap::new(), &BTreeMap::new(), &wish.value(), 1);
    Goal::Run {
        graph: blueprint.graph.clone(),
        part: Part::Whole,
        mirror: Arc::new(mirror),
        suspended: false,
        allow_breaking: false,
        cluster: Arc::default(),
        mark: None,
        admitted: None,
        facts: None,
        keeps: false,
        rank: Rank::default(),
    }
}

pub(super) fn remove() -> Goal {
    Goal::Remove { group_kinds: BTreeSet::new() }
}

/// A child by its suffix.
pub(super) fn child(sort: Sort, suffix: &str) -> ObjectRef {
    let namespace = if sort == Sort::Zone { "" } else { NAMESPACE };
    ObjectRef::new(sort.gk(), namespace, &format!("app-{suffix}"))
}

impl Bench {
    pub fn new(plans: Vec<Plan>) -> Self {
        Self::of(Blueprint::new(plans, 1))
    }
    pub fn of(blueprint: Arc<Blueprint>) -> Self {
        let mut server = Server::new("c");
        server.serve(Sort::ConfigMap.gk(), Kind { namespaced: true });
        server.serve(Sort::Widget.gk(), Kind { namespaced: true });
        server.serve(Sort::Zone.gk(), Kind { namespaced: false });
        server.serve(app_kind(), Kind { namespaced: true });
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        server.create(&ObjectRef::new(namespace_kind(), "", NAMESPACE), "admin", &namespace).unwrap();
        let machine = Machine::new(task(run(&blueprint, &wish()), "u1"));
        let now = Now { at: Moment::from_millis(1_000), rfc3339: "2026-01-01T00:00:01Z".into() };
        Self {
            server,
            machine,
            blueprint,
            now,
            unlisted: Vec::new(),
            blind: Vec::new(),
            crd: None,
            crd_wanted: None,
            phantom: None,
            hidden: BTreeSet::new(),
            lookups: BTreeMap::new(),
            bounds: Arc::default(),
            last: Step::default(),
        }
    }

    pub fn want(&mut self, goal: Goal) {
        self.machine.retarget(task(goal, "u1"));
    }
    pub fn redefine(&mut self, plans: Vec<Plan>) {
        self.blueprint = Blueprint::new(plans, self.blueprint.graph.generation + 1);
        self.want(run(&self.blueprint.clone(), &wish()));
    }
    pub fn restart(&mut self) {
        self.machine = Machine::new(self.machine.task().clone());
    }

    fn given(&self) -> Given {
        let kinds: Vec<GroupKind> = Sort::ALL.iter().map(|s| s.gk()).chain([app_kind()]).collect();
        let hash = self.blueprint.graph.crd_hash();
        let crd = self.crd.clone().unwrap_or(CrdState::Ready { hash, serves: 0 });
        let mut given = Given::complete(&self.server, &kinds, crd);
        for (gk, state) in &self.unlisted {
            given.store.kind_mut(gk).state = state.clone();
        }
        for gk in &self.blind {
            given.store.refused(gk, format!("this hub may not list {gk}"));
            while !given.store.tick_blind() {}
        }
        if let Some(phantom) = &self.phantom {
            given.store.objects.upsert(&phantom.object_ref(), Arc::new(Stored::new(phantom.0.clone())));
        }
        for hidden in &self.hidden {
            given.store.objects.remove(hidden, None, None);
        }
        given.crd_wanted.clone_from(&self.crd_wanted);
        given.lookups = self.lookups.clone();
        given.store.bounds = self.bounds.clone();
        given
    }

    /// One step; what it wants done stays undone.
    pub fn step(&mut self) -> Vec<Action> {
        let mut step = self.machine.step(&self.given(), &self.now);
        let actions = std::mem::take(&mut step.actions);
        self.last = step;
        actions
    }

    pub fn perform(&mut self, action: &Action, fault: Option<Fault>) {
        let task = self.machine.task().clone();
        for outcome in bench::perform(&mut self.server, &task, action, fault) {
            self.machine.feed(outcome, &self.now);
        }
    }

    /// One step, and all that it wants; in a few words.
    pub fn round(&mut self) -> String {
        let actions = self.step();
        for action in &actions {
            self.perform(action, None);
        }
        words(&actions)
    }

    /// Rounds until nothing is wanted; status writes are left out.
    pub fn rounds(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        for _ in 0..20 {
            let round = self.round();
            if round.is_empty() {
                return out;
            }
            let round: Vec<&str> = round.split("; ").filter(|w| *w != "status").collect();
            if !round.is_empty() {
                out.push(round.join("; "));
            }
        }
        panic!("no end: {out:#?}");
    }

    pub fn operate(&mut self) {
        for target in self.server.unfinished().clone() {
            let status = json!({"value": operator_value(&target.name), "ready": true});
            self.server.change(&target, "operator", true, |v| v["status"] = status).unwrap();
        }
    }

    pub fn uid(&self, target: &ObjectRef) -> String {
        self.server.object(target).map(|o| o.uid().to_owned()).unwrap_or_default()
    }
    pub fn report(&self) -> (String, String) {
        let report = self.last.report.as_ref().unwrap();
        (report.state.as_str().to_owned(), report.message.clone())
    }
}

pub(super) fn words(actions: &[Action]) -> String {
    let name = |o: &ObjectRef| {
        if o.gk == app_kind() { "mirror".to_owned() } else { o.name.trim_start_matches("app-").to_owned() }
    };
    let list: Vec<String> = actions
        .iter()
        .map(|action| match action {
            Action::Apply(a) => format!("apply {}", name(&a.object)),
            Action::Delete { object, .. } => format!("delete {}", name(object)),
            Action::Release { object, .. } => format!("release {}", name(object)),
            Action::VerifyGone { object, .. } => format!("verify {}", name(object)),
            Action::RemoveFinalizer { .. } => "finalizer".to_owned(),
            Action::WriteStatus { .. } => "status".into(),
            Action::EnsureNamespace(n) => format!("namespace {n}"),
            Action::EnsureGraph(..) => "judge".to_owned(),
            Action::EnsureKind(gk, _) => format!("watch {}", gk.kind),
            Action::ListAnew(gk) => format!("list {}", gk.kind),
            Action::EnsureCrd { .. } => "crd".into(),
        })
        .collect();
    list.join("; ")
}

fn chain() -> Vec<Plan> {
    vec![
        Plan::new("n0", Sort::ConfigMap),
        Plan::new("n1", Sort::Widget).reading(&["n0"]).waiting(),
        Plan::new("n2", Sort::ConfigMap).reading(&["n1"]),
        Plan::new("n3", Sort::Zone),
    ]
}

pub(super) fn settled(plans: Vec<Plan>) -> Bench {
    let mut bench = Bench::new(plans);
    bench.rounds();
    bench.operate();
    bench.rounds();
    assert_eq!(bench.report(), ("ACTIVE".into(), String::new()));
    bench
}

#[test]
fn the_mirror_comes_first_and_nothing_before_what_it_reads() {
    let mut bench = Bench::new(chain());
    assert_eq!(bench.rounds(), ["apply mirror", "apply n0; apply n3", "apply n1"]);
    assert_eq!(bench.report().0, "IN_PROGRESS");
    bench.operate();
    assert_eq!(bench.rounds(), ["apply n2"]);
    assert_eq!(bench.report().0, "ACTIVE");
    bench.restart();
    assert_eq!(bench.rounds(), [""; 0], "a restart at rest writes nothing");
}

#[test]
fn a_namespace_that_is_missing_is_made_before_the_mirror() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.server.delete(&ObjectRef::new(namespace_kind(), "", NAMESPACE), None).unwrap();
    assert_eq!(bench.rounds(), ["apply mirror", "namespace apps", "apply mirror", "apply n0"]);
}

#[test]
fn what_exists_is_taken_only_as_the_policy_says() {
    let ours =
        json!({kro::APPLYSET_PART_OF: crate::api::applyset::id(&instance_key("app")), hub::HUB_ID: "hub-1"});
    let others = json!({kro::APPLYSET_PART_OF: "applyset-other-v1"});
    let cases: [(&str, Value, bool, &str); 5] = [
        ("nobody's", json!({}), false, "ERROR"),
        ("nobody's, and the author adopts", json!({}), true, "ACTIVE"),
        ("ours", ours, false, "ACTIVE"),
        ("another instance's", others.clone(), false, "ERROR"),
        ("another instance's, and the author adopts", others, true, "ERROR"),
    ];
    for (case, labels, adopts, want) in cases {
        let mut plan = Plan::new("n0", Sort::ConfigMap);
        plan.adopts = adopts;
        let mut bench = Bench::new(vec![plan]);
        let target = child(Sort::ConfigMap, "n0");
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "app-n0", "namespace": NAMESPACE, "labels": labels}, "data": {"own": "1"}});
        bench.server.create(&target, "somebody", &body).unwrap();
        bench.rounds();
        assert_eq!(bench.report().0, want, "{case}: {}", bench.report().1);
        let taken = bench.server.object(&target).unwrap().0["data"].get("x").is_some();
        assert_eq!(taken, want == "ACTIVE", "{case}");
    }
}

#[test]
fn what_the_definition_names_no_more_is_pruned() {
    type Edit = fn(&mut Vec<Plan>);
    let cases: [(&str, Edit, &[&str]); 4] = [
        ("removed", |p| drop(p.remove(2)), &["delete n2"]),
        ("renamed", |p| p[3].suffix = "z".into(), &["apply z", "delete n3"]),
        ("orphaned on delete", |p| drop(p.remove(1)), &["release n1"]),
        ("both", |p| p.truncate(1), &["delete n2; delete n3; release n1"]),
    ];
    for (case, edit, want) in cases {
        let mut plans = vec![
            Plan::new("n0", Sort::ConfigMap),
            Plan::new("n1", Sort::ConfigMap),
            Plan::new("n2", Sort::Widget),
            Plan::new("n3", Sort::Zone),
        ];
        plans[1].orphans = true;
        let mut bench = settled(plans.clone());
        edit(&mut plans);
        bench.redefine(plans);
        let rounds = bench.rounds();
        let mut deletes: Vec<String> = rounds.iter().filter(|r| *r != "apply mirror").cloned().collect();
        for round in &mut deletes {
            let mut parts: Vec<&str> = round.split("; ").collect();
            parts.sort_unstable();
            *round = parts.join("; ");
        }
        assert_eq!(deletes, want, "{case}");
    }
}

#[test]
fn nothing_is_deleted_while_anything_is_unknown() {
    let states = [KindState::Unknown, KindState::Syncing, KindState::Failed("403".into())];
    let kinds = [Sort::Widget.gk(), Sort::ConfigMap.gk(), Sort::Zone.gk(), app_kind()];
    for state in states {
        for gk in &kinds {
            for goal in [Some(remove()), None] {
                let mut bench = settled(chain());
                match goal {
                    Some(goal) => bench.want(goal),
                    None => bench.redefine(vec![Plan::new("n0", Sort::ConfigMap)]),
                }
                bench.unlisted = vec![(gk.clone(), state.clone())];
                let actions = bench.step();
                let deletes =
                    actions.iter().any(|a| matches!(a, Action::Delete { .. } | Action::Release { .. }));
                assert!(!deletes && !bench.last.gone, "{gk} {state:?}: {}", words(&actions));
            }
        }
    }
}

#[test]
fn a_removal_goes_wave_by_wave_and_the_mirror_is_last() {
    let mut bench = settled(chain());
    bench.want(remove());
    assert_eq!(
        bench.rounds(),
        ["delete n2; delete n3", "delete n1", "delete n0", "delete mirror"],
        "dependents before what they read"
    );
    assert!(bench.last.gone);
}

#[test]
fn a_finalizer_holds_the_wave() {
    let mut bench = settled(chain());
    let n2 = child(Sort::ConfigMap, "n2");
    bench.server.change(&n2, "x", false, |v| v["metadata"]["finalizers"] = json!(["x/y"])).unwrap();
    bench.want(remove());
    assert_eq!(bench.rounds(), ["delete n2; delete n3"]);
    assert!(!bench.last.gone);
    bench.server.change(&n2, "x", false, |v| v["metadata"]["finalizers"] = json!([])).unwrap();
    bench.rounds();
    assert!(bench.last.gone);
}

#[test]
fn a_mirror_that_vanished_is_made_again_and_its_children_are_adopted() {
    let mut bench = settled(chain());
    let before: Vec<String> = ["n0", "n2"].map(|n| bench.uid(&child(Sort::ConfigMap, n))).to_vec();
    bench.server.delete(&instance_key("app").object(), None).unwrap();
    for round in bench.rounds() {
        assert!(!round.contains("delete"), "{round}");
    }
    let after: Vec<String> = ["n0", "n2"].map(|n| bench.uid(&child(Sort::ConfigMap, n))).to_vec();
    assert_eq!(before, after);
    let mirror = bench.uid(&instance_key("app").object());
    let adopted = bench.server.object(&child(Sort::ConfigMap, "n2")).unwrap();
    assert_eq!(adopted.label(kro::INSTANCE_ID), Some(mirror.as_str()));
    assert_eq!(bench.report().0, "ACTIVE");
}

#[test]
fn a_replaced_mirror_holds_what_only_its_uid_renamed_and_nothing_else() {
    let plans = |suffix: &str, items: bool| {
        let mut by_uid = Plan::new("n0", Sort::ConfigMap);
        by_uid.by_uid = true;
        let mut renamed = Plan::new("n1", Sort::ConfigMap).reading(&["n0"]);
        renamed.suffix = suffix.into();
        let mut both = Plan::new("n2", Sort::ConfigMap);
        (both.by_uid, both.suffix) = (true, suffix.into());
        let mut some = Plan::new("n3", Sort::ConfigMap);
        (some.by_uid, some.each, some.flagged) = (true, true, items);
        vec![by_uid, renamed, both, some]
    };
    let mut bench = settled(plans("s1", true));
    let names = |bench: &Bench| -> Vec<String> {
        let maps = bench.server.iter().filter(|(t, _)| t.gk == Sort::ConfigMap.gk());
        maps.map(|(t, _)| t.name.to_string()).collect()
    };
    let old = bench.uid(&instance_key("app").object());
    bench.server.delete(&instance_key("app").object(), None).unwrap();
    bench.redefine(plans("s2", true));
    let b = Wish { items: vec!["b".into()], ..wish() };
    bench.want(run(&bench.blueprint.clone(), &b));
    bench.rounds();
    let new = bench.uid(&instance_key("app").object());
    let mut want: Vec<String> = [&old, &new].map(|uid| format!("app-n0-{uid}")).to_vec();
    want.extend(["app-s2".into(), format!("app-s2-{new}")]);
    want.extend([&old, &new].map(|uid| format!("app-n3-{uid}-b")));
    want.sort();
    assert_eq!(names(&bench), want, "the author renamed s1, and the spec lost item a");
    let (state, message) = bench.report();
    let kept = format!("ConfigMap apps/app-n0-{old}, ConfigMap apps/app-n3-{old}-b");
    assert_eq!((state.as_str(), message.ends_with(&kept)), ("ERROR", true), "{message}");
    // It is left out: no uid keeps it.
    bench.want(run(&bench.blueprint.clone(), &Wish { flag: false, ..b }));
    bench.rounds();
    want.retain(|name| !name.contains("n3"));
    assert_eq!(names(&bench), want);
    bench.server.delete(&ObjectRef::new(Sort::ConfigMap.gk(), NAMESPACE, &want[0]), None).unwrap();
    bench.rounds();
    assert_eq!(bench.report().0, "ACTIVE");
}

#[test]
fn a_fight_is_bounded_and_ends_in_a_repair_whatever_failed_in_between() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    let target = child(Sort::ConfigMap, "n0");
    let fight = |bench: &mut Bench| {
        bench.server.change(&target, "fighter", false, |v| v["data"]["x"] = json!("mine")).unwrap();
    };
    for _ in 0..3 {
        fight(&mut bench);
        assert_eq!(bench.rounds(), ["apply n0"]);
    }
    fight(&mut bench);
    assert_eq!(bench.rounds(), [""; 0]);
    assert!(bench.report().1.contains("again and again by fighter"), "{}", bench.report().1);
    assert_eq!(bench.last.wake_at, Some(bench.now.at.after(Duration::from_millis(600_000))));
    // Who goes on after the pause is repaired once.
    for _ in 0..2 {
        bench.now.at = bench.now.at.after(Duration::from_millis(600_000));
        assert_eq!(bench.rounds(), ["apply n0"]);
        assert_eq!(bench.last.wake_at, Some(bench.now.at.after(Duration::from_millis(60_000))));
        assert_eq!(bench.report().0, "ERROR");
        fight(&mut bench);
        assert_eq!(bench.rounds(), [""; 0]);
        assert_eq!(bench.last.wake_at, Some(bench.now.at.after(Duration::from_millis(600_000))));
    }
    bench.now.at = bench.now.at.after(Duration::from_millis(600_000));
    assert_eq!(bench.rounds(), ["apply n0"]);
    bench.now.at = bench.now.at.after(Duration::from_millis(60_000));
    bench.rounds();
    assert_eq!(bench.report(), ("ACTIVE".into(), String::new()));
    assert_eq!(bench.last.wake_at, None);
}

#[test]
fn a_repair_that_is_refused_is_none_and_its_error_is_shown() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    let target = child(Sort::ConfigMap, "n0");
    bench.server.change(&target, "fighter", false, |v| v["data"]["x"] = json!("mine")).unwrap();
    for _ in 0..6 {
        let actions = bench.step();
        assert_eq!(words(&actions), "apply n0");
        bench.perform(&actions[0], Some(Fault::Error));
        bench.round();
        let (state, message) = bench.report();
        assert_eq!(state, "ERROR");
        assert!(!message.contains("again and again"), "{message}");
        bench.now.at = bench.now.at.after(Duration::from_millis(10_000));
    }
    assert_eq!(bench.rounds(), ["apply n0"]);
    assert_eq!(bench.report(), ("ACTIVE".into(), String::new()));
}

#[test]
fn after_a_restart_a_settled_status_stands_while_lists_are_under_way_and_a_new_instance_says_so_soon() {
    let silent_for = |bench: &mut Bench| {
        let begun = bench.now.at;
        bench.unlisted = vec![(Sort::ConfigMap.gk(), KindState::Syncing)];
        while bench.now.at.since(begun) < Duration::from_secs(600) {
            bench.round();
            if bench.last.report.is_some() {
                break;
            }
            bench.now.at = bench.now.at.after(Duration::from_secs(1));
        }
        bench.now.at.since(begun).as_secs()
    };
    let mut bench = settled(chain());
    bench.restart();
    assert_eq!(silent_for(&mut bench), 120);
    // Nor is it known whether one stands before the mirrors were listed.
    bench.restart();
    let begun = bench.now.at;
    bench.unlisted = vec![(app_kind(), KindState::Syncing)];
    while bench.now.at.since(begun) < Duration::from_secs(119) {
        bench.round();
        assert!(bench.last.report.is_none());
        bench.now.at = bench.now.at.after(Duration::from_secs(1));
    }
    bench.unlisted.clear();
    assert_eq!(bench.rounds(), [""; 0]);
    let mirror = instance_key("app").object();
    let blank = |v: &mut Value| v["status"]["conditions"] = json!([]);
    bench.server.change(&mirror, "user", true, blank).unwrap();
    bench.restart();
    assert_eq!(silent_for(&mut bench), 10);
}

#[test]
fn what_may_not_be_seen_any_more_is_said_and_nothing_is_deleted_or_written_for_it() {
    for gk in [Sort::ConfigMap.gk(), app_kind()] {
        let mut bench = settled(chain());
        bench.blind = vec![gk.clone()];
        assert_eq!(bench.rounds(), [""; 0], "{gk}");
        let (state, message) = bench.report();
        assert_eq!(state, "ERROR", "{gk}");
        assert!(
            message.contains(&format!("what changes is not seen: this hub may not list {gk}")),
            "{message}"
        );
        bench.blind.clear();
        bench.rounds();
        assert_eq!(bench.report(), ("ACTIVE".into(), String::new()), "{gk}");
    }
}

#[test]
fn a_mirror_of_an_earlier_instance_is_relabelled() {
    let mut bench = settled(chain());
    let goal = bench.machine.task().goal.clone();
    bench.machine = Machine::new(task(goal, "u2"));
    for round in bench.rounds() {
        assert!(!round.contains("delete"), "{round}");
    }
    let mirror = bench.server.object(&instance_key("app").object()).unwrap();
    assert_eq!(mirror.label(hub::INSTANCE_UID), Some("u2"));
}

#[test]
fn a_removal_concerns_the_mirror_of_its_own_instance_only() {
    for later in [false, true] {
        let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
        let goal = bench.machine.task().goal.clone();
        if later {
            bench.machine = Machine::new(task(goal, "u2"));
            bench.rounds();
        }
        bench.machine = Machine::new(task(remove(), "u1"));
        bench.rounds();
        assert!(bench.last.gone);
        let mirror = bench.server.get(&instance_key("app").object());
        assert_eq!(mirror.is_some(), later, "the mirror of the later one stays");
        let child = bench.server.get(&child(Sort::ConfigMap, "n0"));
        assert_eq!(child.is_some(), later, "and its child");
    }
}

#[test]
fn a_mirror_that_was_relabelled_by_hand_is_ours_all_the_same() {
    let all = [hub::HUB_ID, hub::INSTANCE_UID, kro::APPLYSET_ID];
    let changes: Vec<(&str, Vec<(&str, Value)>)> = vec![
        ("hub id off", vec![(hub::HUB_ID, Value::Null)]),
        ("hub id changed", vec![(hub::HUB_ID, json!("hub-9"))]),
        ("uid off", vec![(hub::INSTANCE_UID, Value::Null)]),
        ("uid changed", vec![(hub::INSTANCE_UID, json!("u2"))]),
        ("all off", all.map(|l| (l, Value::Null)).to_vec()),
        ("all changed", all.map(|l| (l, json!("x"))).to_vec()),
    ];
    for (what, change) in changes {
        for restarted in [false, true] {
            let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
            let mirror = instance_key("app").object();
            let uid = bench.uid(&mirror);
            let labels: serde_json::Map<String, Value> =
                change.iter().map(|(label, value)| ((*label).to_owned(), value.clone())).collect();
            let patch = json!({"metadata": {"labels": labels}});
            let relabel = |bench: &mut Bench| {
                bench.server.merge_patch(&mirror, "somebody", false, &patch).unwrap();
                if restarted {
                    bench.restart();
                }
            };
            // While it is wanted: repaired, and nothing else.
            relabel(&mut bench);
            assert_eq!(bench.rounds(), ["apply mirror"], "{what}, restarted {restarted}");
            let repaired = bench.server.object(&mirror).unwrap();
            assert_eq!((repaired.label(hub::HUB_ID), repaired.uid()), (Some("hub-1"), &*uid), "{what}");
            assert_eq!(repaired.label(hub::INSTANCE_UID), Some("u1"), "{what}");
            // When it goes: gone with all that hangs on it.
            bench.want(remove());
            relabel(&mut bench);
            assert_eq!(bench.rounds(), ["delete n0", "delete mirror"], "{what}, restarted {restarted}");
            assert!(bench.last.gone && bench.server.get(&mirror).is_none(), "{what}");
        }
    }
}

#[test]
fn what_may_be_the_mirror_and_does_not_say_so_stands_in_the_way_by_name() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    let mirror = instance_key("app").object();
    let body = bench.server.object(&mirror).unwrap().0;
    bench.server.delete(&mirror, None).unwrap();
    // As a tool restores it: the record without who wrote it, and labels taken off.
    let mut restored = json!({"apiVersion": body["apiVersion"], "kind": body["kind"], "spec": body["spec"],
        "metadata": {"name": "app", "namespace": NAMESPACE, "annotations": body["metadata"]["annotations"]}});
    restored["metadata"]["labels"] = json!({kro::APPLYSET_ID: body["metadata"]["labels"][kro::APPLYSET_ID]});
    bench.server.create(&mirror, "restore", &restored).unwrap();
    bench.restart();
    bench.rounds();
    let (state, message) = bench.report();
    assert_eq!(state, "ERROR");
    assert!(
        message.contains("may be the mirror") && message.contains("hub.kro.run/hub-id=hub-1"),
        "{message}"
    );
    bench.want(remove());
    bench.rounds();
    assert!(!bench.last.gone);
    let (_, message) = bench.report();
    assert!(message.contains("apps/app may be the mirror") && message.contains(hub::RELEASE), "{message}");
    // Handed back as the message says.
    let patch = json!({"metadata": {"labels": {hub::HUB_ID: "hub-1"}}});
    bench.server.merge_patch(&mirror, "somebody", false, &patch).unwrap();
    bench.rounds();
    assert!(bench.last.gone && bench.server.get(&mirror).is_none());
}

/// Labels and annotations that would be a lie on a copy.
fn copied_from_a_mirror(bench: &Bench) -> Value {
    let mirror = bench.server.object(&instance_key("app").object()).unwrap();
    json!({"metadata": {"labels": mirror.labels(), "annotations": mirror.annotations()}})
}

#[test]
fn a_child_with_the_labels_of_its_mirror_is_a_child() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::ConfigMap)]);
    let (n0, n1) = (child(Sort::ConfigMap, "n0"), child(Sort::ConfigMap, "n1"));
    let patch = copied_from_a_mirror(&bench);
    for target in [&n0, &n1] {
        bench.server.merge_patch(target, "somebody", false, &patch).unwrap();
    }
    bench.restart();
    bench.rounds();
    assert_eq!(bench.report(), ("ACTIVE".into(), String::new()));
    // Pruned, and deleted.
    bench.redefine(vec![Plan::new("n0", Sort::ConfigMap)]);
    assert!(bench.rounds().contains(&"delete n1".to_owned()));
    bench.want(remove());
    assert_eq!(bench.rounds(), ["delete n0", "delete mirror"]);
    assert!(bench.last.gone);
}

#[test]
fn nothing_that_was_made_is_left_because_its_labels_say_something_else() {
    let foreign = json!({kro::APPLYSET_PART_OF: "applyset-other-v1"});
    let off = json!({kro::APPLYSET_PART_OF: null});
    let all_off = json!({kro::APPLYSET_PART_OF: null, hub::HUB_ID: null, kro::OWNED: null});
    for labels in [foreign, off, all_off] {
        // Deleted with its instance, or pruned.
        for prune in [false, true] {
            let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::ConfigMap)]);
            let n1 = child(Sort::ConfigMap, "n1");
            let patch = json!({"metadata": {"labels": labels}});
            bench.server.merge_patch(&n1, "somebody", false, &patch).unwrap();
            if prune {
                bench.redefine(vec![Plan::new("n0", Sort::ConfigMap)]);
            } else {
                bench.want(remove());
            }
            bench.rounds();
            assert!(bench.server.get(&n1).is_none(), "{labels}, pruned {prune}");
            assert_eq!(bench.last.gone, !prune, "{labels}");
        }
    }
    // What another instance took over since is not ours any more.
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    let n0 = child(Sort::ConfigMap, "n0");
    let taken = json!({kro::APPLYSET_PART_OF: "applyset-other-v1", kro::INSTANCE_ID: "theirs"});
    bench.server.merge_patch(&n0, "somebody", false, &json!({"metadata": {"labels": taken}})).unwrap();
    bench.want(remove());
    bench.rounds();
    assert!(bench.last.gone && bench.server.get(&n0).is_some());
}

#[test]
fn a_record_that_somebody_edits_loses_no_kind() {
    let lists =
        [kro::APPLYSET_GROUP_KINDS, kro::APPLYSET_NAMESPACES, kro::INVENTORY_HASH, kro::APPLYSET_TOOLING];
    let edits = [json!("not a kind"), json!(""), Value::Null];
    for list in lists {
        for edit in &edits {
            let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::Widget)]);
            bench.operate();
            bench.rounds();
            let mirror = instance_key("app").object();
            // The widget is held, so its kind stays on record although the definition has it no more.
            let n1 = child(Sort::Widget, "n1");
            bench.server.change(&n1, "x", false, |v| v["metadata"]["finalizers"] = json!(["x/y"])).unwrap();
            bench.redefine(vec![Plan::new("n0", Sort::ConfigMap)]);
            bench.rounds();
            let patch = json!({"metadata": {"annotations": {list: edit}}});
            bench.server.merge_patch(&mirror, "somebody", false, &patch).unwrap();
            bench.rounds();
            let record = bench.server.object(&mirror).unwrap();
            let kinds = record.annotation(kro::APPLYSET_GROUP_KINDS).unwrap_or_default().to_owned();
            assert!(kinds.contains("ConfigMap") && kinds.contains("Widget"), "{list} {edit}: {kinds}");
        }
    }
    // Nobody remembers how it was: nothing is written over it, and it is said.
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    let mirror = instance_key("app").object();
    let set = |bench: &mut Bench, value: &str| {
        let patch = json!({"metadata": {"annotations": {kro::APPLYSET_GROUP_KINDS: value}}});
        bench.server.merge_patch(&mirror, "somebody", false, &patch).unwrap();
    };
    set(&mut bench, "ConfigMap,Widget.example.org");
    bench.restart();
    assert_eq!(bench.rounds(), [""; 0]);
    let (state, message) = bench.report();
    assert_eq!(state, "ERROR");
    assert!(message.contains("App apps/app: the record") && message.contains("cannot be read"), "{message}");
    set(&mut bench, "ConfigMap");
    bench.rounds();
    assert_eq!(bench.report(), ("ACTIVE".into(), String::new()));
}

#[test]
fn a_write_that_arrived_although_its_answer_was_lost_leaves_no_failure() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.round();
    let actions = bench.step();
    assert_eq!(words(&actions), "apply n0");
    bench.perform(&actions[0], Some(Fault::Lost));
    bench.step();
    assert!(bench.last.wake_at.is_some(), "it is tried again in a while");
    let Action::Apply(apply) = &actions[0] else { panic!() };
    bench.server.apply(&apply.object, apply.manager, &apply.body).unwrap();
    bench.rounds();
    assert_eq!(bench.report(), ("ACTIVE".into(), String::new()));
    bench.now.at = bench.now.at.after(Duration::from_millis(3_600_000));
    bench.step();
    assert_eq!(bench.last.wake_at, None);
}

#[test]
fn a_failure_of_what_is_wanted_no_more_wakes_nobody() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.redefine(vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::Zone)]);
    bench.round();
    let actions = bench.step();
    let apply = actions.iter().find(|a| words(std::slice::from_ref(a)) == "apply n1").cloned();
    let apply = apply.unwrap_or_else(|| bench.step().remove(0));
    bench.perform(&apply, Some(Fault::Error));
    bench.redefine(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.rounds();
    bench.now.at = bench.now.at.after(Duration::from_millis(60_000));
    bench.step();
    assert_eq!(bench.last.wake_at, None, "a time that has passed would wake it again and again");
}

#[test]
fn a_dropped_field_is_offered_again_when_its_time_comes() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.round();
    let actions = bench.step();
    let Action::Apply(apply) = &actions[0] else { panic!() };
    let mut kept = apply.body.clone();
    kept["data"] = json!({"default": "of the cluster"});
    let live = bench.server.apply(&apply.object, apply.manager, &kept).unwrap();
    let stored = Arc::new(crate::reconcile::world::Stored::new((*live).clone()));
    let body = Arc::new(apply.body.clone());
    let (object, manager) = (apply.object.clone(), apply.manager);
    bench.machine.feed(Outcome::Applied { object, body, manager, stored }, &bench.now);
    assert_eq!(words(&bench.step()), "status");
    assert!(bench.report().1.contains("dropped the field data.x"), "{}", bench.report().1);
    bench.machine.feed(Outcome::StatusWritten, &bench.now);
    bench.machine.schema_changed(&Sort::ConfigMap.gk());
    let actions = bench.step();
    assert!(words(&actions).starts_with("apply n0"));
    // An attempt that failed does not say that the field is there.
    bench.perform(&actions[0], Some(Fault::Lost));
    bench.rounds();
    assert!(bench.report().1.contains("dropped the field data.x"), "{}", bench.report().1);
    bench.now.at = bench.now.at.after(Duration::from_millis(60_000));
    assert_eq!(bench.rounds(), ["apply n0"]);
    assert_eq!(bench.report(), ("ACTIVE".into(), String::new()));
}

#[test]
fn a_refused_crd_is_tried_again_when_it_is_due() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    let wish = CrdWish { hash: bench.blueprint.graph.crd_hash(), allow_breaking: false };
    let due = bench.now.at.after(Duration::from_millis(60_000));
    bench.crd =
        Some(CrdState::Refused { reason: "Conflict", message: "no".into(), wish, retry_at: Some(due) });
    assert_eq!(words(&bench.step()), "");
    assert!(bench.report().1.contains("no"));
    bench.now.at = due;
    assert_eq!(words(&bench.step()), "crd");
    bench.crd = None;
    assert_eq!(bench.rounds(), ["apply mirror", "apply n0"]);
}

#[test]
fn while_the_next_definition_does_not_fit_the_one_of_before_serves_on() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.rounds();
    bench.redefine(vec![Plan { suffix: "n1".into(), ..Plan::new("n0", Sort::ConfigMap) }]);
    let wish = CrdWish { hash: bench.blueprint.graph.crd_hash(), allow_breaking: false };
    let due = bench.now.at.after(Duration::from_millis(60_000));
    bench.crd =
        Some(CrdState::Refused { reason: "Incompatible", message: "no".into(), wish, retry_at: Some(due) });
    assert!(bench.rounds().is_empty());
    let (state, message) = bench.report();
    assert!(state == "ERROR" && message.contains("no; the revision of before serves on"), "{message}");
    let n0 = child(Sort::ConfigMap, "n0");
    bench.server.change(&n0, "somebody", false, |v| v["data"] = json!({"x": "theirs"})).unwrap();
    assert_eq!(bench.rounds(), ["apply n0"], "it is repaired");
    bench.crd = None;
    let rounds = bench.rounds().join("; ");
    assert!(rounds.contains("apply n1") && rounds.contains("delete n0"), "{rounds}");
    assert_eq!(bench.report().0, "ACTIVE");
    // There is nothing left of the one of before.
    bench.now.at = due;
    assert!(bench.rounds().is_empty());
}

#[test]
fn what_nothing_new_can_be_made_for_is_looked_after_as_it_stands() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.rounds();
    let Goal::Run { graph, part, suspended, cluster, rank, .. } = run(&bench.blueprint, &wish()) else {
        panic!()
    };
    let goal = Goal::GoOn { graph, part, suspended, cluster, rank };
    let fresh = |bench: &mut Bench| bench.machine = Machine::new(task(goal.clone(), "u1"));
    fresh(&mut bench);
    assert!(bench.rounds().is_empty(), "nothing is to be repaired");
    assert_eq!(bench.report().0, "ACTIVE");
    let n0 = child(Sort::ConfigMap, "n0");
    bench.server.change(&n0, "somebody", false, |v| v["data"] = json!({"x": "theirs"})).unwrap();
    assert_eq!(bench.rounds(), ["apply n0"]);
    // Where there is none, none is made.
    bench.server.delete(&instance_key("app").object(), None).unwrap();
    fresh(&mut bench);
    assert!(bench.rounds().is_empty());
    assert_eq!(bench.last.report.as_ref().unwrap().stands, Stands::Nothing);
}

#[test]
fn what_a_rollout_wrote_on_a_mirror_stays_until_the_next_change() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    let moved = |goal: Goal| match goal {
        Goal::Run {
            graph,
            part,
            mirror,
            suspended,
            allow_breaking,
            cluster,
            admitted,
            facts,
            keeps,
            rank,
            ..
        } => {
            let mark = Some(Mark { version: 7, since: 1_795_860_000, unjudged: false });
            Goal::Run {
                graph,
                part,
                mirror,
                suspended,
                allow_breaking,
                cluster,
                mark,
                admitted,
                facts,
                keeps,
                rank,
            }
        }
        other => other,
    };
    let plain = |bench: &Bench, wish: &Wish| run(&bench.blueprint, wish);
    bench.want(moved(plain(&bench, &wish())));
    bench.rounds();
    let mark = |bench: &Bench| {
        let mirror = Object(Value::clone(bench.server.get(&instance_key("app").object()).unwrap()));
        mirror.annotation(hub::VERSION).map(str::to_owned)
    };
    assert!(mark(&bench).is_some());
    bench.want(plain(&bench, &wish()));
    assert!(bench.rounds().is_empty(), "nothing else changed");
    assert!(mark(&bench).is_some());
    bench.want(plain(&bench, &Wish { x: "other".into(), ..wish() }));
    assert!(bench.rounds().join(" ").contains("apply mirror"));
    assert!(mark(&bench).is_none());
}

#[test]
fn a_removal_waits_for_writes_that_are_under_way() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.round();
    let actions = bench.step();
    assert_eq!(words(&actions), "apply n0");
    bench.want(remove());
    bench.round();
    bench.round();
    assert!(!bench.last.gone, "the write may still come");
    bench.perform(&actions[0], None);
    bench.rounds();
    assert!(bench.last.gone);
    assert!(bench.server.get(&child(Sort::ConfigMap, "n0")).is_none());
}

#[test]
fn no_contact_is_no_error() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.round();
    let actions = bench.step();
    bench.perform(&actions[0], Some(Fault::Lost));
    bench.step();
    assert_eq!(bench.report().0, "IN_PROGRESS");
    bench.machine.reconnected();
    assert_eq!(words(&bench.step()), "apply n0");
    let (object, body) = (child(Sort::ConfigMap, "n0"), Arc::new(json!({})));
    let (trouble, message) = (Trouble::Error, "refused".to_owned());
    bench.machine.feed(
        Outcome::ApplyFailed { object, body, trouble, message, missing_namespace: None, unanswered: false },
        &bench.now,
    );
}

#[test]
fn a_mirror_that_a_status_write_does_not_find_is_looked_for_and_made_again() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    while bench.round() != "apply n0" {}
    let status = bench.step();
    assert_eq!(words(&status), "status");
    // It is gone, and the watch has not told yet: what the store shows is not there.
    let shown = bench.server.object(&instance_key("app").object()).unwrap();
    bench.server.delete(&instance_key("app").object(), None).unwrap();
    bench.perform(&status[0], None);
    bench.phantom = Some(shown);
    let look = bench.step();
    assert_eq!(words(&look), "verify mirror");
    assert_eq!(words(&bench.step()), "", "once");
    bench.perform(&look[0], None);
    bench.phantom = None;
    assert_eq!(bench.rounds(), ["apply mirror", "apply n0"]);
    assert_eq!(bench.report().0, "ACTIVE");
}

#[test]
fn fields_that_the_cluster_refuses_are_named_and_the_rest_of_the_status_is_written() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    while bench.round() != "apply n0" {}
    let refuse = |bench: &mut Bench| {
        assert_eq!(words(&bench.step()), "status");
        let (message, trouble) = ("status.first: Invalid value".to_owned(), StatusTrouble::Refused);
        bench.machine.feed(Outcome::StatusFailed { message, trouble }, &bench.now);
        bench.now.at = bench.now.at.after(Duration::from_millis(60_000));
    };
    refuse(&mut bench);
    assert_eq!(bench.rounds(), [""; 0]);
    let mirror = bench.server.object(&instance_key("app").object()).unwrap();
    let (state, message) = bench.report();
    assert_eq!((state.as_str(), mirror.str_at("/status/state")), ("ERROR", "ERROR"));
    assert_eq!(message, "the cluster refuses the fields of the status: status.first: Invalid value");
    assert_eq!(mirror.0.pointer("/status/first"), None);
    // Other fields are offered again.
    let mut plans = bench.blueprint.plans.clone();
    plans[0].suffix = "renamed".into();
    bench.redefine(plans);
    bench.rounds();
    let mirror = bench.server.object(&instance_key("app").object()).unwrap();
    assert_eq!(mirror.str_at("/status/first"), "app-renamed");
    assert_eq!(bench.report(), ("ACTIVE".into(), String::new()));
}

#[test]
fn a_definition_that_went_back_is_brought_there_when_the_hub_says_so() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.crd = Some(CrdState::Ready { hash: "of a later generation".into(), serves: 0 });
    // Another instance has heard of it.
    bench.crd_wanted = Some("of a later generation".into());
    assert_eq!(bench.round(), "status");
    assert!(bench.report().1.contains("waiting for the newer revision"), "{}", bench.report().1);
    // The hub came back from a backup: what it says last counts, not the number.
    bench.crd_wanted = Some(bench.blueprint.graph.crd_hash());
    assert_eq!(words(&bench.step()), "crd");
}

#[test]
fn what_was_read_of_the_cluster_is_written_with_something_else_and_not_alone() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
    let facts = |region: &str, since: Option<u64>| {
        let labels = json!({"labels": {"region": region}});
        let facts = Facts::of(&labels, Reads { labels: true, properties: false }).unwrap();
        let facts = match since {
            Some(since) => facts.at(since, false),
            None => facts,
        };
        Some(Arc::new(facts))
    };
    let moved = |bench: &Bench, version: Option<u64>, read: Option<Arc<Facts>>| {
        let mut goal = run(&bench.blueprint, &wish());
        if let Goal::Run { mark, facts, .. } = &mut goal {
            *mark = version.map(|version| Mark { version, since: 1_795_860_000, unjudged: false });
            *facts = read;
        }
        goal
    };
    let stands = |bench: &Bench| {
        let mirror = Object(Value::clone(bench.server.get(&instance_key("app").object()).unwrap()));
        mirror.annotation(hub::FACTS).map(str::to_owned)
    };
    let eu = r#"{"labels":{"region":"eu"}}"#;
    let anew = r#"{"labels":{"region":"us"},"since":"2026-11-28T10:00:00Z"}"#;
    type Case<'c> = (&'c str, Option<u64>, Option<Arc<Facts>>, bool, Option<&'c str>);
    let cases: [Case; 6] = [
        ("written before anybody read", Some(7), None, true, None),
        ("for itself alone it is not", Some(7), facts("eu", None), false, None),
        ("with the next version", Some(8), facts("eu", None), true, Some(eu)),
        ("read anew", Some(8), facts("us", Some(1_795_860_000)), true, Some(anew)),
        ("no rollout moves it any more", None, None, false, Some(anew)),
        ("and the next one finds it", Some(8), facts("us", Some(1_795_860_000)), false, Some(anew)),
    ];
    for (case, version, read, writes, expected) in cases {
        bench.want(moved(&bench, version, read));
        let did = !bench.rounds().is_empty();
        assert_eq!((did, stands(&bench).as_deref()), (writes, expected), "{case}");
    }
}
