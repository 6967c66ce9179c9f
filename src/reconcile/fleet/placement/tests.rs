//! Tables of where an instance goes, and what the guard keeps.

use super::matches::MOST_NAMES;
use super::*;

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
    past.record = Record::read(Some(&over.record.text()));
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
                record: Record::read(Some(&got.record.text())),
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
    assert_eq!(before.record.text(), format!("{}/@local", silent.fingerprint()));
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
    let record = Record::read(Some(&got.record.text()));
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
