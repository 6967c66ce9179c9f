//! One rule a case.

use super::*;
use crate::reconcile::rollout::stages::{Limit, Stage, Wave};

fn stage(name: &str, max: u32, soak: u64, approval: bool) -> Stage {
    Stage { name: name.into(), max_concurrent: Limit::Number(max), order_by: None, soak, approval }
}

fn rules(max_failures: u32, paused: bool) -> Arc<Rules> {
    let stages = vec![stage("canary", 1, 30, false), stage("prod", 2, 0, true)];
    Arc::new(Rules::new(stages, Limit::Number(max_failures), 600, paused, "Placement shop/web".into()))
}

fn frame(max_failures: u32) -> Frame {
    Frame {
        rules: rules(max_failures, false),
        target: 8,
        stable: Some(7),
        goes_back: false,
        approved: BTreeSet::new(),
        astray: Vec::new(),
    }
}

fn pair(stage: usize, version: Version, condition: Condition) -> Pair {
    Pair {
        place: Place { stage, wave: Wave::Last }.into(),
        contact: Contact::Ready(0),
        version,
        admitted: 1_000,
        unjudged: false,
        condition,
        why: None,
        same: false,
        refused: None,
        read: Read::default(),
    }
}

fn at(number: u64, stage: usize, condition: Condition) -> Pair {
    pair(stage, Version::Number(number), condition)
}

fn unit(frame: Frame, pairs: &[(&str, Pair)]) -> Unit {
    let mut unit = Unit::new(frame);
    for (name, pair) in pairs {
        unit.put(&ClusterName::new(name), pair.clone(), 1_000);
    }
    unit
}

fn admitted(unit: &Unit) -> Vec<String> {
    unit.admit(true).iter().map(|a| a.cluster.to_string()).collect()
}

fn said(unit: &Unit) -> (Reason, String) {
    let progress = unit.progress();
    (progress.reason, progress.message)
}

const WELL: Condition = Condition::Active(0);

#[test]
fn canaries_go_one_at_a_time_and_prod_waits_for_a_word() {
    let held = [("a", at(7, 0, WELL)), ("b", at(7, 0, WELL)), ("p", at(7, 1, WELL)), ("q", at(7, 1, WELL))];
    let mut unit = unit(frame(0), &held);
    assert_eq!(admitted(&unit), ["a"]);
    assert_eq!(unit.admit(false), []);
    unit.put(&ClusterName::new("a"), at(8, 0, Condition::Moving), 1_000);
    assert!(admitted(&unit).is_empty());
    assert_eq!(
        said(&unit),
        (Reason::InProgress, "version 8: 0 of 4 clusters updated, stage canary, 1 under way".into())
    );
    // It is well, and has to stay so.
    unit.put(&ClusterName::new("a"), at(8, 0, Condition::Active(1_005)), 1_010);
    assert_eq!((admitted(&unit), unit.next()), (vec![], Some(1_035)));
    unit.pass(1_035);
    assert_eq!(admitted(&unit), ["b"]);
    unit.put(&ClusterName::new("b"), at(8, 0, Condition::Active(1_036)), 1_036);
    unit.pass(1_066);
    let wait =
        "version 8: stage canary is done (2 clusters); create a RolloutApproval for version 8, stage prod";
    assert_eq!((admitted(&unit), said(&unit)), (vec![], (Reason::AwaitingApproval, wait.into())));
    let approvals =
        [(9, "prod"), (8, "prdo"), (7, "prdo")].map(|(version, stage)| (version, Arc::from(stage)));
    let rules = frame(0).rules;
    let astray = Frame { astray: super::astray(&rules, 8, &BTreeSet::from(approvals)), ..frame(0) };
    assert_eq!(astray.astray.len(), 2, "what an older version asked for is over");
    unit.reframe(astray, 1_066);
    let (reason, message) = said(&unit);
    assert_eq!(reason, Reason::AwaitingApproval);
    let why = "; the one for version 8, stage prdo counts for nothing: there is no stage prdo; there are canary, prod, rest";
    assert_eq!(message, format!("{wait}{why}, and so do 1 more"));
    unit.reframe(Frame { approved: BTreeSet::from(["prod".into()]), ..frame(0) }, 1_066);
    assert_eq!(admitted(&unit), ["p", "q"]);
    for name in ["p", "q"] {
        unit.put(&ClusterName::new(name), at(8, 1, Condition::Active(1_067)), 1_067);
    }
    assert!(unit.is_complete());
    assert_eq!(said(&unit), (Reason::Complete, "version 8 on 4 clusters".into()));
}

#[test]
fn a_failure_above_the_budget_halts_and_lets_go_once_it_heals() {
    let mut ill = at(8, 0, Condition::Error);
    ill.why = Some("Deployment web: no image".into());
    let pairs = [("a", ill.clone()), ("b", at(7, 0, WELL)), ("p", at(7, 1, WELL))];
    let mut unit = unit(frame(0), &pairs);
    let halted = "version 8: 1 failed, 0 allowed: a: Deployment web: no image; 2 clusters stay at version 7. Edit, go \
                  back, or raise maxFailures";
    assert_eq!((admitted(&unit), said(&unit)), (vec![], (Reason::Halted, halted.into())));
    assert_eq!(unit.state(&ClusterName::new("a")), Some(State::Failing));
    unit.pass(1_600);
    assert_eq!(unit.state(&ClusterName::new("a")), Some(State::Failed));
    assert_eq!((admitted(&unit), unit.progress().reason), (vec![], Reason::Halted));
    // It heals after its time.
    unit.put(&ClusterName::new("a"), at(8, 0, Condition::Active(2_000)), 2_031);
    assert_eq!(admitted(&unit), ["b"]);
}

#[test]
fn one_failure_within_the_budget_frees_its_place_and_does_not_complete() {
    let pairs = [("a", at(8, 0, WELL)), ("b", at(8, 0, Condition::Error)), ("p", at(7, 1, WELL))];
    let mut unit = unit(Frame { approved: BTreeSet::from(["prod".into()]), ..frame(1) }, &pairs);
    // It is still on its way.
    assert!(admitted(&unit).is_empty());
    unit.pass(1_600);
    assert_eq!(admitted(&unit), ["p"]);
    unit.put(&ClusterName::new("p"), at(8, 1, WELL), 1_601);
    assert!(!unit.is_complete());
    assert_eq!(
        said(&unit),
        (Reason::InProgress, "version 8: 2 of 3 clusters updated, stage canary, 1 failed".into())
    );
}

/// Nobody said that the version may come to them, so they are none of those that come late.
#[test]
fn who_is_out_of_reach_in_a_stage_without_its_approval_waits_for_one() {
    let away = Pair { contact: Contact::Lost, ..at(7, 1, WELL) };
    let mut unit = unit(frame(0), &[("a", at(8, 0, WELL)), ("p", away.clone())]);
    assert_eq!((unit.is_complete(), said(&unit).0), (false, Reason::AwaitingApproval));
    let p = ClusterName::new("p");
    unit.put(&p, at(7, 1, WELL), 1_001);
    assert_eq!((admitted(&unit), said(&unit).0), (vec![], Reason::AwaitingApproval));
    // Nothing of it is to come there.
    unit.put(&p, Pair { same: true, ..away.clone() }, 1_002);
    assert!(unit.is_complete());
    unit.put(&p, away, 1_003);
    unit.reframe(Frame { approved: BTreeSet::from(["prod".into()]), ..frame(0) }, 1_003);
    assert_eq!((unit.is_complete(), said(&unit).0), (true, Reason::Complete));
}

#[test]
fn going_back_asks_nobody() {
    let back = Frame { target: 9, goes_back: true, ..frame(0) };
    let same = |stage| Pair { same: true, ..at(7, stage, WELL) };
    let pairs = [
        ("a", at(8, 0, Condition::Error)),
        ("b", at(8, 0, WELL)),
        ("p", at(8, 1, WELL)),
        ("q", same(1)),
        ("r", at(8, 1, Condition::Moving)),
    ];
    let unit = unit(back, &pairs);
    // What is not well goes first, within the places of its stage.
    assert_eq!(admitted(&unit), ["a", "r", "p"]);
    assert_eq!(unit.state(&ClusterName::new("q")), Some(State::Done));
}

#[test]
fn what_is_out_of_reach_holds_nothing_up_and_a_stage_of_it_proves_nothing() {
    let lost = Pair { contact: Contact::Lost, ..at(7, 0, WELL) };
    let pairs = [("a", lost.clone()), ("b", lost), ("p", at(7, 1, WELL))];
    let mut unit = unit(frame(0), &pairs);
    let rules = Rules::new(
        vec![stage("canary", 1, 0, false), stage("prod", 2, 0, false)],
        Limit::Number(0),
        600,
        false,
        "x".into(),
    );
    let plain = Frame { rules: Arc::new(rules), ..frame(0) };
    unit.reframe(plain.clone(), 1_000);
    let unproven = "version 8: all 2 clusters of stage canary are unreachable, so it proves nothing; wait, or approve stage prod";
    assert_eq!((admitted(&unit), said(&unit)), (vec![], (Reason::StageUnproven, unproven.into())));
    unit.reframe(Frame { approved: BTreeSet::from(["prod".into()]), ..plain }, 1_000);
    assert_eq!(admitted(&unit), ["p"]);
    unit.put(&ClusterName::new("p"), at(8, 1, WELL), 1_000);
    assert_eq!(said(&unit), (Reason::Complete, "version 8 on 1 of 3 clusters, 2 deferred".into()));
}

#[test]
fn contact_that_returned_starts_the_clock_anew() {
    let back = Pair { contact: Contact::Ready(5_000), ..at(8, 0, Condition::Moving) };
    let mut unit = unit(frame(0), &[("a", back)]);
    unit.pass(5_599);
    assert_eq!(unit.state(&ClusterName::new("a")), Some(State::InFlight));
    unit.pass(5_600);
    assert_eq!(unit.state(&ClusterName::new("a")), Some(State::Failed));
}

#[test]
fn old_wrecks_go_last_and_stop_nobody() {
    let pairs = [("a", at(7, 0, Condition::Error)), ("b", at(7, 0, WELL))];
    let mut unit = unit(frame(0), &pairs);
    assert_eq!(unit.admit(true), [Admission { cluster: ClusterName::new("b"), unjudged: false }]);
    unit.put(&ClusterName::new("b"), at(8, 0, WELL), 1_000);
    assert_eq!(unit.admit(true), [Admission { cluster: ClusterName::new("a"), unjudged: true }]);
    let wreck = Pair { unjudged: true, ..at(8, 0, Condition::Error) };
    unit.put(&ClusterName::new("a"), wreck, 1_000);
    assert!(unit.is_complete());
}

#[test]
fn a_newer_edit_takes_over_what_is_under_way() {
    let newer = Frame { target: 9, ..frame(0) };
    let pairs =
        [("a", at(7, 0, WELL)), ("b", at(8, 0, Condition::Error)), ("p", at(8, 1, Condition::Moving))];
    let mut unit = unit(newer, &pairs);
    // In its own place, judged by what the new version does.
    assert_eq!(unit.admit(true), [Admission { cluster: ClusterName::new("b"), unjudged: false }]);
    assert_eq!(unit.progress().failing, 0);
    unit.put(&ClusterName::new("b"), at(9, 0, WELL), 1_000);
    assert_eq!(admitted(&unit), ["a"]);
}

#[test]
fn who_comes_gets_the_stable_version_unless_its_turn_is_now() {
    let new = |stage| pair(stage, Version::Nothing, Condition::Moving);
    let pairs = [("a", at(8, 0, Condition::Moving)), ("n", new(0)), ("o", new(1))];
    let names = |list: Vec<ClusterName>| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    // Canary is open, its place is taken; prod waits.
    assert_eq!(names(unit(frame(0), &pairs).join(true)), ["o"]);
    assert!(unit(frame(0), &pairs).join(false).is_empty());
    let first = Frame { stable: None, ..frame(0) };
    assert!(unit(first, &pairs).join(true).is_empty());
    let paused = Frame { rules: rules(0, true), ..frame(0) };
    assert_eq!(names(unit(paused, &pairs).join(true)), ["n", "o"]);
    let settled = Frame { stable: Some(8), goes_back: true, ..frame(0) };
    let unit = unit(settled, &pairs);
    assert_eq!((names(unit.join(true)), admitted(&unit)), (vec![], vec!["o".to_owned()]));
}

#[test]
fn what_cannot_be_moved_fails_when_its_stage_opens() {
    let refused = |stage| Pair { refused: Some("no such key: registry".into()), ..at(7, stage, WELL) };
    let later = unit(frame(0), &[("a", at(7, 0, WELL)), ("p", refused(1))]);
    assert_eq!(admitted(&later), ["a"]);
    let now = unit(frame(0), &[("a", at(7, 0, WELL)), ("b", refused(0))]);
    let (reason, message) = said(&now);
    assert_eq!((admitted(&now), reason), (vec![], Reason::Halted));
    assert!(message.contains("1 failed, 0 allowed: b: no such key: registry"), "{message}");
}

#[test]
fn nobody_is_moved_while_a_cluster_connects_or_somebody_paused() {
    let connecting = Pair { contact: Contact::Connecting, ..at(7, 1, WELL) };
    assert!(admitted(&unit(frame(0), &[("a", at(7, 0, WELL)), ("p", connecting)])).is_empty());
    let paused = unit(Frame { rules: rules(0, true), ..frame(0) }, &[("a", at(7, 0, WELL))]);
    let message = "version 8: paused by Placement shop/web at 0 of 1";
    assert_eq!((admitted(&paused), said(&paused)), (vec![], (Reason::Paused, message.into())));
}

#[test]
fn once_all_completed_it_an_illness_is_no_matter_of_the_rollout() {
    let settled = Frame { stable: Some(8), goes_back: true, ..frame(0) };
    let unit =
        unit(settled, &[("a", Pair { admitted: 0, ..at(8, 0, Condition::Error) }), ("b", at(8, 0, WELL))]);
    assert_eq!(said(&unit), (Reason::Complete, "version 8 on 2 clusters".into()));
}

/// At the stable version, and the cluster is otherwise than it was read.
fn stale(stage: usize, condition: Condition) -> Pair {
    Pair { read: Read { stale: true, ..Read::default() }, admitted: 0, ..at(8, stage, condition) }
}

fn anew(since: u64, condition: Condition) -> Pair {
    Pair { read: Read { since: Some(since), ..Read::default() }, admitted: 0, ..at(8, 1, condition) }
}

fn read_anew(unit: &Unit) -> Vec<String> {
    unit.read_anew(true).iter().map(|a| a.cluster.to_string()).collect()
}

#[test]
fn what_changed_of_a_cluster_waits_for_its_turn_and_for_no_stage() {
    let settled = || Frame { stable: Some(8), goes_back: true, ..frame(0) };
    let four = [("a", stale(0, WELL)), ("p", stale(1, WELL)), ("q", stale(1, WELL)), ("r", stale(1, WELL))];
    let (moving, error) = (Condition::Moving, Condition::Error);
    type Case<'c> = (&'c str, Frame, Vec<(&'c str, Pair)>, &'c [&'c str], Reason);
    let with = |more: Vec<(&'static str, Pair)>| four.iter().cloned().chain(more).collect::<Vec<_>>();
    let cases: Vec<Case> = vec![
        (
            "all stages at once, as many as each allows",
            settled(),
            with(vec![]),
            &["a", "p", "q"],
            Reason::InProgress,
        ),
        ("paused", Frame { rules: rules(0, true), ..settled() }, with(vec![]), &[], Reason::Paused),
        (
            "under way for another version",
            frame(0),
            with(vec![("x", at(8, 1, moving.clone()))]),
            &["a", "p"],
            Reason::InProgress,
        ),
        (
            "under way since it was read",
            settled(),
            with(vec![("x", anew(900, moving.clone()))]),
            &["a", "p"],
            Reason::InProgress,
        ),
        ("late since it was read", settled(), with(vec![("x", anew(300, moving))]), &[], Reason::Halted),
        ("one that failed", settled(), with(vec![("x", anew(900, error.clone()))]), &[], Reason::Halted),
        (
            "within the budget",
            Frame { rules: rules(1, false), ..settled() },
            with(vec![("x", anew(900, error.clone()))]),
            &["a", "p"],
            Reason::InProgress,
        ),
        (
            "what it did no good to is put right",
            settled(),
            with(vec![(
                "x",
                Pair {
                    read: Read { stale: true, since: Some(900), unjudged: false },
                    ..stale(1, error.clone())
                },
            )]),
            &["x"],
            Reason::Halted,
        ),
        (
            "ill before, so nobody can say",
            settled(),
            vec![
                ("p", stale(1, error.clone())),
                ("q", stale(1, WELL)),
                (
                    "x",
                    Pair {
                        read: Read { since: Some(900), unjudged: true, stale: false },
                        ..anew(900, error)
                    },
                ),
            ],
            &["q", "p"],
            Reason::InProgress,
        ),
    ];
    for (case, frame, pairs, expected, reason) in cases {
        let unit = unit(frame, &pairs);
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        let (told, message) = said(&unit);
        assert_eq!((read_anew(&unit), told), (expected, reason), "{case}: {message}");
    }
}

#[test]
fn who_is_out_of_reach_or_has_nothing_is_not_read_anew() {
    let lost = Pair { contact: Contact::Lost, ..stale(1, WELL) };
    let nothing = Pair { version: Version::Nothing, ..stale(1, WELL) };
    let pairs = [("p", lost), ("q", nothing), ("r", stale(1, WELL))];
    let mut unit = unit(Frame { stable: Some(8), goes_back: true, ..frame(0) }, &pairs);
    assert_eq!((read_anew(&unit), unit.read_anew(false)), (vec!["r".to_owned()], vec![]));
    unit.put(&ClusterName::new("p"), Pair { contact: Contact::Connecting, ..stale(1, WELL) }, 1_000);
    assert!(read_anew(&unit).is_empty(), "nobody knows what is under way");
}

#[test]
fn a_soak_holds_the_place_of_one_that_was_read_anew() {
    let since = |at| Pair {
        place: Place { stage: 0, wave: Wave::Last }.into(),
        ..anew(1_000, Condition::Active(at))
    };
    let frame = Frame { stable: Some(8), goes_back: true, ..frame(0) };
    let mut unit = unit(frame, &[("a", since(1_005)), ("b", stale(0, WELL))]);
    assert_eq!((read_anew(&unit), unit.next()), (vec![], Some(1_035)));
    unit.pass(1_035);
    assert_eq!(read_anew(&unit), ["b"]);
}

#[test]
fn what_comes_of_a_version_is_told_before() {
    let held = |stage: usize| pair(stage, Version::Number(7), WELL);
    let same = Pair { same: true, ..held(0) };
    let new = pair(1, Version::Nothing, WELL);
    let pairs = [
        ("b", held(0)),
        ("a", held(0)),
        ("s", same),
        ("q", held(1)),
        ("p", held(1)),
        ("n", new),
        ("r", held(2)),
    ];
    let pairs =
        || pairs.iter().map(|(name, pair)| (ClusterName::new(name), pair.clone())).collect::<Vec<_>>();
    let told = |frame: Frame| -> (Vec<String>, bool, usize) {
        let course = course(frame, pairs());
        let leg = |leg: &Leg<ClusterName>| {
            let members: Vec<&str> = leg.members.iter().map(ClusterName::as_str).collect();
            let approval = if leg.approval { " approved" } else { "" };
            format!("{} {} {}x{}s{approval}", leg.stage, members.join(","), leg.at_once, leg.soak)
        };
        (course.stages.iter().map(leg).collect(), course.paused, course.failures)
    };
    // The first stage soaks; the next and what belongs to none wait for a word; who changes nothing is not moved.
    let all = ["canary a,b 1x30s", "prod n,p,q 2x0s approved", "rest r 2x0s approved"];
    assert_eq!(told(frame(1)), (all.map(str::to_owned).into(), false, 1));
    assert_eq!(told(Frame { rules: rules(0, true), ..frame(0) }), (all.map(str::to_owned).into(), true, 0));
    let approved = Frame { approved: ["prod".into()].into(), ..frame(0) };
    assert_eq!(told(approved).0[1], "prod n,p,q 2x0s");
    // The way back knows no order of stages.
    let back = told(Frame { goes_back: true, ..frame(0) }).0;
    assert!(back.iter().all(|leg| !leg.ends_with("approved")), "{back:?}");
}
