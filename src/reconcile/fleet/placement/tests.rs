//! Tables of where an instance goes, and what the guard keeps.

use super::matches::MOST_NAMES;
use super::*;
use crate::api::amounts::Span;
use crate::api::cluster::{Effect, Taint};
use crate::api::names::{GroupKind, InstanceKey};
use crate::api::placement::{OnUnmatch, Operator, Toleration};
use crate::reconcile::policy::{Chosen, Effective, Limit, PolicyName};
use std::sync::Arc;

/// Without any Placement.
pub(super) fn decide(
    words: &Words,
    namespace: &str,
    clusters: &BTreeMap<ClusterName, ClusterView>,
    past: &Past,
    default: DefaultPlacement,
) -> Decision {
    super::decide(words, super::Around { namespace, clusters, default, said: None }, past)
}

fn clusters() -> BTreeMap<ClusterName, ClusterView> {
    let view = |region: &str| ClusterView {
        labels: BTreeMap::from([("region".to_owned(), region.to_owned())]),
        ..ClusterView::default()
    };
    let mut map: BTreeMap<ClusterName, ClusterView> =
        [("eu-1", "eu"), ("eu-2", "eu"), ("us-1", "us")].map(|(n, r)| (ClusterName::new(n), view(r))).into();
    map.insert(ClusterName::new("local"), ClusterView { local: true, ..view("hub") });
    map
}
fn words(clusters: Option<&str>, selector: Option<&str>) -> Words {
    Words { clusters: clusters.map(str::to_owned), selector: selector.map(str::to_owned) }
}
fn place(w: &Words, past: &Past) -> Decision {
    decide(w, "default", &clusters(), past, DefaultPlacement::Local)
}

#[test]
fn words_choose_clusters() {
    let cases: [(Option<&str>, Option<&str>, &str, bool); 9] = [
        (None, None, "", true),
        (Some("*"), None, "eu-1,eu-2,us-1", false),
        (Some("eu-1, us-1"), None, "eu-1,us-1", false),
        (Some("local,us-1"), None, "us-1", true),
        (None, Some("region=eu"), "eu-1,eu-2", false),
        (None, Some(""), "", false),
        (None, Some("region in (eu,us),region!=us"), "eu-1,eu-2", false),
        (Some("us-1"), Some("region=eu"), "eu-1,eu-2,us-1", false),
        (None, Some("region notin (eu)"), "us-1", true),
    ];
    for (c, s, want, local) in cases {
        let got = place(&words(c, s), &Past::default());
        assert_eq!((names_text(&got.spokes).as_str(), got.local.is_some()), (want, local), "{c:?} {s:?}");
    }
}

#[test]
fn an_unregistered_name_is_an_entry() {
    let got = place(&words(Some("eu-1,mars"), None), &Past::default());
    assert_eq!(got.refused.get(&ClusterName::new("mars")).unwrap().why.as_str(), "NotRegistered");
}

#[test]
fn without_a_local_cluster_nothing_is_chosen() {
    let mut all = clusters();
    all.remove(&ClusterName::new("local"));
    let got = decide(&Words::default(), "default", &all, &Past::default(), DefaultPlacement::Local);
    assert_eq!((got.spokes.len(), got.local), (0, None));
}

#[test]
fn a_shrink_by_others_is_held_until_acknowledged() {
    let w = words(None, Some("region=gone"));
    let past = past("eu-1,eu-2", "eu-1,eu-2", &w);
    let held = place(&w, &past).held.expect("held");
    assert_eq!(names_text(&held.kept), "eu-1,eu-2");
    let acknowledged = Past { allow_shrink: Some(held.token), ..past };
    assert_eq!(place(&w, &acknowledged).spokes.len(), 0);
}

#[test]
fn a_shrink_by_an_edit_is_not_held_and_half_counts_as_more() {
    let w = words(Some("eu-1"), None);
    let edited = past("eu-1,eu-2,us-1", "eu-1,eu-2,us-1", &words(Some("*"), None));
    assert_eq!(place(&w, &edited).held, None);
    let w = words(None, Some("region=us"));
    let half = past("eu-1,us-1", "eu-1,us-1", &w);
    assert_eq!(names_text(&place(&w, &half).held.unwrap().kept), "eu-1");
}

#[test]
fn few_are_let_go_after_a_pause_and_only_once_that_is_on_record() {
    let w = words(None, Some("region=eu"));
    let mut past = past("eu-1,eu-2,us-1", "eu-1,eu-2,us-1", &w);
    let lost = place(&w, &past);
    assert_eq!((names_text(&lost.spokes).as_str(), lost.held), ("eu-1,eu-2,us-1", None));
    assert_eq!(names_text(&lost.waiting), "us-1");
    past.waited = lost.waiting;
    let over = place(&w, &past);
    assert_eq!(
        (names_text(&over.spokes).as_str(), names_text(&over.record.gone).as_str()),
        ("eu-1,eu-2,us-1", "us-1")
    );
    past.record = Record::read(Some(&over.record.text(&BTreeSet::new())), &BTreeSet::new());
    let after = place(&w, &past);
    assert_eq!((names_text(&after.spokes).as_str(), after.waiting.len(), after.held), ("eu-1,eu-2", 0, None));
    assert_eq!(after.record, over.record);
}

#[test]
fn an_acknowledgement_is_spent_once() {
    let w = words(None, Some("region=eu"));
    let mut past = past("eu-1,us-1", "eu-1,us-1", &w);
    let held = place(&w, &past).held.unwrap();
    past.allow_shrink = Some(held.token.clone());
    past.record = place(&w, &past).record;
    assert_eq!(past.record.acknowledged.as_ref(), Some(&held.token));
    // It is chosen again, and lost again.
    past.record.placed = names(Some("eu-1,us-1"));
    let again = place(&w, &past).held.expect("held again");
    assert!(again.kept == held.kept && again.token != held.token);
}

#[test]
fn too_many_names_and_what_is_none_are_refused_and_take_nothing_away() {
    let many: Vec<String> = (0..=MOST_NAMES).map(|n| format!("c{n}")).collect();
    let long = format!("region={}", "x".repeat(5_000));
    let bad = "x".repeat(100_000);
    let spread = format!("eu-1,{bad}");
    let cases = [
        (Some(many.join(",")), None, "hub.kro.run/clusters: 1001 names are listed, and at most 1000 may be"),
        (Some("eu-1,prod_eu".to_owned()), None, "hub.kro.run/clusters: \"prod_eu\" can be no Cluster's name"),
        (Some(spread), None, "can be no Cluster's name"),
        (
            None,
            Some(long),
            "hub.kro.run/cluster-selector: the selector has 5007 bytes, and at most 4096 may be",
        ),
        (None, Some(format!("a={}(", "b".repeat(4_000))), "hub.kro.run/cluster-selector: cannot read"),
    ];
    for (clusters, selector, why) in cases {
        let w = words(clusters.as_deref(), selector.as_deref());
        let got = place(&w, &past("us-1", "us-1", &words(Some("us-1"), None)));
        let invalid = got.invalid.unwrap_or_default();
        assert!(invalid.contains(why) && invalid.len() < 400, "{why}: {invalid:.500}");
        assert!(got.spokes.contains(&ClusterName::new("us-1")) && got.held.is_none(), "{why}");
    }
    let few: Vec<String> = many.into_iter().take(MOST_NAMES).collect();
    assert_eq!(place(&words(Some(&few.join(",")), None), &Past::default()).invalid, None);
}

#[test]
fn what_can_be_no_name_is_no_hold() {
    assert_eq!(holds(Some("a,x_y,../etc, b ,@hub,UP")), (names(Some("a,b")), 4));
    assert_eq!(holds(None), (BTreeSet::new(), 0));
    assert_eq!(names_text(&names(Some("a,x_y,@hub"))), "@hub,a");
}

#[test]
fn clusters_newly_chosen_are_added_while_a_shrink_is_held() {
    let w = words(None, Some("region=us"));
    let got = place(&w, &past("eu-1,eu-2", "eu-1,eu-2", &w));
    assert!(got.held.is_some());
    assert_eq!(names_text(&got.spokes), "eu-1,eu-2,us-1");
}

#[test]
fn a_selector_that_cannot_be_read_shrinks_nothing_even_when_edited() {
    let w = words(None, Some("region=(("));
    let got = place(&w, &past("eu-1", "eu-1", &words(Some("eu-1"), None)));
    assert!(got.invalid.is_some());
    assert_eq!(names_text(&got.spokes), "eu-1");
}

#[test]
fn a_cluster_that_leaves_or_is_released_is_not_held() {
    let mut all = clusters();
    all.get_mut(&ClusterName::new("eu-1")).unwrap().leaving = true;
    let w = words(Some("eu-1"), None);
    let past = past("eu-1", "eu-1", &w);
    let got = decide(&w, "default", &all, &past, DefaultPlacement::Local);
    assert_eq!((got.held, got.spokes.len()), (None, 0));
    let w = words(Some("us-1"), None);
    let released = Past { released: names(Some("us-1")), ..self::past("us-1", "us-1", &w) };
    assert_eq!(place(&w, &released).held, None);
}

#[test]
fn a_cluster_that_is_already_on_its_way_out_is_no_shrink() {
    let w = words(Some("eu-1"), None);
    assert_eq!(place(&w, &past("eu-1,eu-2,us-1", "eu-1", &w)).held, None);
}

#[test]
fn losses_one_by_one_count_as_one() {
    let w = words(None, Some("env=prod"));
    let all: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
    let mut clusters: BTreeMap<ClusterName, ClusterView> = all
        .iter()
        .map(|n| {
            let labels = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
            (ClusterName::new(n), ClusterView { labels, ..ClusterView::default() })
        })
        .collect();
    let mut past = Past::default();
    let mut left = 0;
    for name in &all {
        // Lost, waited, on record.
        for _ in 0..3 {
            let got = decide(&w, "default", &clusters, &past, DefaultPlacement::Local);
            left = got.spokes.len();
            past = Past {
                holds: got.spokes.clone(),
                record: Record::read(Some(&got.record.text(&BTreeSet::new())), &BTreeSet::new()),
                waited: got.waiting,
                ..Past::default()
            };
        }
        clusters.get_mut(&ClusterName::new(name)).unwrap().labels.clear();
    }
    assert_eq!(left, 6, "fewer than half may go, then it is held");
}

#[test]
fn the_local_cluster_is_guarded_as_every_other() {
    let silent = Words::default();
    let before = decide(&silent, "default", &clusters(), &Past::default(), DefaultPlacement::Local);
    assert_eq!(before.record.text(&BTreeSet::new()), format!("{}/@local", silent.fingerprint()));
    let past = Past { record: before.record, ..Past::default() };
    let restarted = decide(&silent, "default", &clusters(), &past, DefaultPlacement::None);
    assert!(restarted.held.is_some() && restarted.local.is_some());
    let edited = decide(&words(Some("eu-1"), None), "default", &clusters(), &past, DefaultPlacement::None);
    assert!(edited.held.is_none() && edited.local.is_none());
}

#[test]
fn what_was_left_on_the_hub_stays_on_record_until_a_cluster_stands_for_it() {
    let mut without = clusters();
    without.remove(&ClusterName::new("local"));
    let w = words(Some("local,eu-1"), None);
    let mut past = past("eu-1", "eu-1", &w);
    past.record.local = true;
    for words in [w, words(Some("us-1"), None)] {
        let left = decide(&words, "default", &without, &past, DefaultPlacement::Local);
        assert!(left.record.local && left.local.is_none() && left.held.is_none(), "{words:?}");
        let mut leaving = clusters();
        leaving.get_mut(&ClusterName::new("local")).unwrap().leaving = true;
        assert!(decide(&words, "default", &leaving, &past, DefaultPlacement::Local).record.local);
    }
    let edited = place(&words(Some("us-1"), None), &past);
    assert!(!edited.record.local, "with a Cluster that stands for the hub, an edit takes it away");
}

#[test]
fn content_that_an_older_hub_does_not_know_of_is_kept_until_somebody_decides() {
    let w = words(Some("eu-1"), None);
    let restored = Past { found: names(Some("us-1")), ..past("eu-1", "eu-1", &w) };
    let got = place(&w, &restored);
    assert_eq!(names_text(&got.spokes), "eu-1,us-1");
    // It stays held when it is on record, and goes with an acknowledgement or an edit.
    let record = Record::read(Some(&got.record.text(&BTreeSet::new())), &BTreeSet::new());
    let later = Past { holds: names(Some("eu-1,us-1")), record, ..Past::default() };
    let held = place(&w, &later).held.expect("still held");
    let acknowledged = Past { allow_shrink: Some(held.token), ..later.clone() };
    assert_eq!(names_text(&place(&w, &acknowledged).spokes), "eu-1");
    assert_eq!(names_text(&place(&words(Some("eu-2"), None), &later).spokes), "eu-2");
}

fn past(holds: &str, placed: &str, w: &Words) -> Past {
    Past {
        holds: names(Some(holds)),
        record: Record { words: Some(w.fingerprint()), placed: names(Some(placed)), ..Record::default() },
        ..Past::default()
    }
}

/// One instance that Placements choose for, over decisions that are each on record before the next.
pub(super) struct Placed {
    placements: Vec<Arc<Effective>>,
    pub clusters: BTreeMap<ClusterName, ClusterView>,
    pub lost: BTreeMap<ClusterName, i64>,
    past: Past,
    pub now: i64,
    /// When so many were out of reach last that none is replaced.
    trouble_at: i64,
}

fn key() -> InstanceKey {
    InstanceKey::new(GroupKind::new("kro.run", "App"), "default", "web")
}

pub(super) fn placement(name: &str, hash: &str, chosen: &str, limit: Option<Limit>) -> Effective {
    Effective {
        name: PolicyName::new("default", name),
        group_kind: key().gk.clone(),
        hash: hash.to_owned(),
        clusters: Some(Chosen { names: names(Some(chosen)), limit, ..Chosen::default() }),
        on_unmatch: OnUnmatch::Delete,
        grace: Span(0),
        overrides: Vec::new(),
        rollout: None,
        invalid: None,
    }
}

impl Placed {
    pub fn new(placements: Vec<Effective>) -> Self {
        let placements = placements.into_iter().map(Arc::new).collect();
        Self {
            placements,
            clusters: clusters(),
            lost: BTreeMap::new(),
            past: Past::default(),
            now: 1_000,
            trouble_at: 0,
        }
    }

    pub fn say(&mut self, placements: Vec<Effective>) {
        self.placements = placements.into_iter().map(Arc::new).collect();
    }

    /// A decision that is put on record: what is there grows at once, and what goes is gone at once.
    pub fn decide(&mut self) -> Decision {
        let reach =
            |name: &ClusterName| self.lost.get(name).map_or(Reach::Ready, |since| Reach::Lost(*since));
        let key = key();
        let said = Said {
            placements: &self.placements,
            key: &key,
            reach: &reach,
            is_active: &|_| true,
            trouble: self.trouble_at == self.now,
            trouble_at: self.trouble_at,
            now: self.now,
        };
        let default = DefaultPlacement::Local;
        let around =
            super::Around { namespace: "default", clusters: &self.clusters, default, said: Some(&said) };
        let out = super::decide(&Words::default(), around, &self.past);
        let holds = &out.spokes | &out.orphaned;
        let text = out.record.text(&holds);
        self.past.record = Record::read(Some(&text), &holds);
        assert_eq!(self.past.record.text(&holds), text);
        self.past.waited = out.waiting.clone();
        self.past.holds = holds;
        out
    }

    pub fn spokes(&mut self) -> String {
        names_text(&self.decide().spokes)
    }
}

#[test]
fn placements_add_up_and_one_that_vanished_takes_nothing_away() {
    let two = || vec![placement("a", "1", "eu-1,eu-2", None), placement("b", "1", "us-1", None)];
    let mut placed = Placed::new(two());
    assert_eq!(placed.spokes(), "eu-1,eu-2,us-1");
    placed.say(vec![]);
    let held = placed.decide();
    assert_eq!((names_text(&held.spokes).as_str(), held.local.is_some()), ("eu-1,eu-2,us-1", false));
    let gone: Vec<String> = held.held.unwrap().gone.iter().map(ToString::to_string).collect();
    assert_eq!(gone, ["Placement default/a", "Placement default/b"]);
    // Another one chooses the same: the hold lifts, and what it replaced is forgotten.
    placed.say(vec![placement("c", "1", "eu-1,eu-2,us-1", None)]);
    let after = placed.decide();
    assert!(after.held.is_none() && after.record.policies.keys().eq(["c"]), "{after:?}");
    // Its author takes two away.
    placed.say(vec![placement("c", "2", "us-1", None)]);
    assert_eq!(placed.spokes(), "us-1");
}

#[test]
fn a_taint_refuses_new_ones_or_all_of_them_unless_it_is_tolerated() {
    use Effect::{NoSelect, NoSelectIfNew};
    let tolerant = || {
        let mut tolerant = placement("a", "1", "eu-1,us-1", None);
        let all = Toleration { operator: Operator::Exists, ..Toleration::default() };
        tolerant.clusters.as_mut().unwrap().tolerations = vec![all];
        tolerant
    };
    for (effect, new, there) in [(NoSelect, "us-1", false), (NoSelectIfNew, "us-1", true)] {
        let taint = Taint { key: "gpu".into(), value: "yes".into(), effect };
        let mut fresh = Placed::new(vec![placement("a", "1", "eu-1,us-1", None)]);
        fresh.clusters.get_mut(&ClusterName::new("eu-1")).unwrap().taints = vec![taint.clone()];
        let out = fresh.decide();
        assert_eq!(names_text(&out.spokes), new);
        let message = &out.refused.get(&ClusterName::new("eu-1")).unwrap().message;
        assert_eq!(*message, format!("taint gpu=yes:{effect} is not tolerated"));
        fresh.say(vec![tolerant()]);
        assert_eq!(fresh.spokes(), "eu-1,us-1");
        let mut old = Placed::new(vec![placement("a", "1", "eu-1,us-1", None)]);
        old.decide();
        old.clusters.get_mut(&ClusterName::new("eu-1")).unwrap().taints = vec![taint];
        // Half of them is many: the guard asks first.
        assert_eq!(old.decide().held.is_none(), there, "{effect}");
    }
}

#[test]
fn what_the_guard_of_a_placement_keeps_is_kept_from_a_taint_and_takes_nobody_new() {
    let kept = || {
        let mut kept = placement("a", "1", "eu-1,eu-2,us-1", None);
        kept.clusters.as_mut().unwrap().kept = names(Some("us-1"));
        vec![kept]
    };
    let taint = Taint { key: "gpu".into(), value: String::new(), effect: Effect::NoSelect };
    for (stands, spokes) in [(true, "eu-1,eu-2,us-1"), (false, "eu-1,eu-2")] {
        let mut placed = Placed::new(vec![placement("a", "1", "eu-1,eu-2,us-1", None)]);
        if stands {
            placed.decide();
        }
        placed.clusters.get_mut(&ClusterName::new("us-1")).unwrap().taints = vec![taint.clone()];
        placed.say(kept());
        assert_eq!(placed.spokes(), spokes);
        let said = placed.decide();
        assert_eq!(said.refused.get(&ClusterName::new("us-1")).map(|r| r.named), (!stands).then_some(false));
    }
}

/// As a Placement says it that left out what it may not take.
#[test]
fn a_tainted_cluster_is_told_of_and_left_by_the_rules_of_who_named_it() {
    let with = |names_only, free: &str, refused: &str| {
        let mut placement = Effective { grace: Span(60), ..placement("a", "1", free, None) };
        let chosen = placement.clusters.as_mut().unwrap();
        (chosen.names_only, chosen.refused) = (names_only, names(Some(refused)));
        vec![placement]
    };
    for names_only in [true, false] {
        let mut placed = Placed::new(with(names_only, "eu-1,eu-2,us-1", ""));
        assert_eq!(placed.spokes(), "eu-1,eu-2,us-1");
        let taint = Taint { key: "gpu".into(), value: String::new(), effect: Effect::NoSelect };
        placed.clusters.get_mut(&ClusterName::new("us-1")).unwrap().taints = vec![taint];
        placed.say(with(names_only, "eu-1,eu-2", "us-1"));
        placed.decide();
        let out = placed.decide();
        assert_eq!(names_text(&out.spokes), "eu-1,eu-2,us-1", "{names_only}");
        let stays = out.stays.get(&ClusterName::new("us-1")).unwrap();
        assert_eq!(
            *stays,
            "taint gpu:NoSelect is not tolerated; deleted at 1970-01-01T00:17:40Z (Delete, grace 1m)"
        );
        placed.now += 60;
        let out = placed.decide();
        assert_eq!(names_text(&out.spokes), "eu-1,eu-2", "{names_only}");
        assert!(out.refused.contains_key(&ClusterName::new("us-1")), "{names_only}");
    }
}

#[test]
fn grace_keeps_what_nothing_chooses_and_then_it_goes_or_is_left() {
    for (on_unmatch, orphaned) in [(OnUnmatch::Delete, ""), (OnUnmatch::Orphan, "us-1")] {
        let with = |hash: &str, chosen: &str| {
            vec![Effective { on_unmatch, grace: Span(60), ..placement("a", hash, chosen, None) }]
        };
        let mut placed = Placed::new(with("1", "eu-1,us-1"));
        placed.decide();
        placed.say(with("2", "eu-1,eu-2"));
        let out = placed.decide();
        assert_eq!(names_text(&out.spokes), "eu-1,eu-2,us-1");
        let stays = out.stays.get(&ClusterName::new("us-1")).unwrap();
        assert!(stays.starts_with("no placement chooses it; "), "{stays}");
        let until = format!(" at 1970-01-01T00:17:40Z ({on_unmatch:?}, grace 1m)");
        assert!(stays.ends_with(&until), "{stays}");
        assert_eq!(out.wake, Some(1_060));
        placed.now = 1_059;
        assert_eq!(placed.spokes(), "eu-1,eu-2,us-1");
        placed.now = 1_060;
        let out = placed.decide();
        assert_eq!(
            (names_text(&out.spokes).as_str(), names_text(&out.orphaned).as_str()),
            ("eu-1,eu-2", orphaned)
        );
    }
    // What was recorded without its grace is read as well.
    let record = Record::read(Some("w/a//////1060:D:us-1,1060:O60:us-2"), &names(Some("a,us-1,us-2")));
    let told = |name: &str| record.unmatched.get(&ClusterName::new(name)).map(|u| u.message(None));
    assert!(told("us-1").unwrap().ends_with("Z (Delete)"), "{record:?}");
    assert!(told("us-2").unwrap().ends_with("Z (Orphan, grace 1m)"), "{record:?}");
    // Without grace it goes at once.
    let mut placed = Placed::new(vec![placement("a", "1", "eu-1,us-1", None)]);
    placed.decide();
    placed.say(vec![placement("a", "2", "eu-1", None)]);
    assert_eq!(placed.spokes(), "eu-1");
}

#[test]
fn a_lost_cluster_is_replaced_after_a_while_and_goes_once_it_is_back() {
    let limit = Limit { max: 1, failover: Some(Span(600)), ..Limit::default() };
    let mut placed = Placed::new(vec![placement("a", "1", "eu-1,eu-2", Some(limit))]);
    let first = placed.spokes();
    let other = if first == "eu-1" { "eu-2" } else { "eu-1" };
    placed.lost.insert(ClusterName::new(&first), 1_000);
    let waits = placed.decide();
    assert_eq!(
        (names_text(&waits.spokes), waits.wake, waits.watches),
        (first.clone(), Some(1_600), Watches::All)
    );
    placed.now = 1_600;
    let out = placed.decide();
    assert_eq!(names_text(&out.spokes), "eu-1,eu-2");
    let stays = out.stays.get(&ClusterName::new(&first)).unwrap();
    assert!(stays.contains(&format!("replaced by {other}")), "{stays}");
    placed.now = 9_000;
    assert_eq!(placed.spokes(), "eu-1,eu-2", "nothing goes while there is no contact");
    placed.lost.clear();
    assert_eq!(placed.spokes(), "eu-1,eu-2", "on record first");
    assert_eq!(placed.spokes(), other);
    assert_eq!(placed.spokes(), other, "and stays there, though the other is back");
}

/// The clusters come back one after the other: who is last was out of reach no longer than the network.
#[test]
fn nobody_is_replaced_at_once_when_a_lost_network_is_back() {
    let limit = Limit { max: 1, failover: Some(Span(600)), ..Limit::default() };
    let mut placed = Placed::new(vec![placement("a", "1", "eu-1,eu-2", Some(limit))]);
    let first = placed.spokes();
    placed.lost.insert(ClusterName::new(&first), 1_000);
    (placed.now, placed.trouble_at) = (5_000, 5_000);
    assert_eq!(placed.spokes(), first, "so many are lost");
    placed.now = 5_001;
    let out = placed.decide();
    assert_eq!((names_text(&out.spokes), out.wake), (first, Some(5_600)), "it may be back in a moment");
    placed.now = 5_600;
    assert_eq!(placed.spokes(), "eu-1,eu-2");
}

#[test]
fn a_limit_is_kept_by_who_is_there_and_says_what_it_lacks() {
    let limit = |max| Some(Limit { max, ..Limit::default() });
    let mut placed = Placed::new(vec![placement("a", "1", "eu-1,eu-2,us-1", limit(2))]);
    let two = placed.spokes();
    assert_eq!(two.split(',').count(), 2);
    // One that is not there is lost: nothing moves.
    placed.lost.insert(ClusterName::new("us-1"), 0);
    assert_eq!(placed.spokes(), two);
    placed.say(vec![placement("a", "2", "eu-1,us-1", limit(2))]);
    let mut fresh = Placed::new(vec![placement("a", "2", "eu-1,us-1", limit(2))]);
    fresh.lost.insert(ClusterName::new("us-1"), 0);
    let out = fresh.decide();
    assert_eq!(names_text(&out.spokes), "eu-1");
    let short = Short { policy: PolicyName::new("default", "a"), have: 1, why: "us-1 is not ready".into() };
    assert_eq!((out.short, out.watches), (vec![short], Watches::All));
}
