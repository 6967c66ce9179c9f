//! Tables of what is kept though no Placement chooses it now, and of how it goes.

use super::tests::{Placed, placement};
use super::*;
use crate::api::amounts::Span;
use crate::api::cluster::Effect;
use crate::api::placement::OnUnmatch;
use crate::reconcile::policy::{Effective, Limit};

/// Neither is its replacement proven by what it said before contact was lost.
#[test]
fn what_was_replaced_stays_while_there_is_no_contact_with_what_replaced_it() {
    let limit = Limit { max: 1, failover: Some(Span(600)), ..Limit::default() };
    let mut placed = Placed::new(vec![placement("a", "1", "eu-1,eu-2", Some(limit))]);
    let first = placed.spokes();
    let other = if first == "eu-1" { "eu-2" } else { "eu-1" };
    placed.lost.insert(ClusterName::new(&first), 1_000);
    placed.now = 1_600;
    assert_eq!(placed.spokes(), "eu-1,eu-2");
    placed.lost = [(ClusterName::new(other), 1_700)].into();
    placed.now = 1_800;
    for _ in 0..3 {
        let out = placed.decide();
        assert_eq!((names_text(&out.spokes).as_str(), out.watches), ("eu-1,eu-2", Watches::All));
    }
    // Long after, it takes the place back, and the other is the one that goes.
    placed.now = 2_300;
    assert_eq!(placed.spokes(), "eu-1,eu-2");
    placed.lost.clear();
    placed.decide();
    assert_eq!(placed.spokes(), first);
}

fn unreadable(placement: Effective) -> Effective {
    Effective { invalid: Some("spec.clusters.expression: no".into()), ..placement }
}

#[test]
fn one_that_says_nothing_more_of_clusters_keeps_who_is_there_and_takes_nobody_new() {
    let standing = |hash: &str| {
        let mut standing = placement("a", hash, "", None);
        let chosen = standing.clusters.as_mut().unwrap();
        (chosen.standing, chosen.kept) = (names(Some("eu-1,eu-2,us-1")), names(Some("eu-1,eu-2,us-1")));
        standing
    };
    let limit = Limit { max: 1, ..Limit::default() };
    for later in [standing("2"), unreadable(standing("2")), standing("1")] {
        let mut placed = Placed::new(vec![placement("a", "1", "eu-1,eu-2,us-1", Some(limit.clone()))]);
        let one = placed.spokes();
        // Who is there tolerated it.
        let taint = Taint { key: "gpu".into(), value: String::new(), effect: Effect::NoSelect };
        placed.clusters.get_mut(&ClusterName::new(&one)).unwrap().taints = vec![taint];
        placed.say(vec![later.clone()]);
        for _ in 0..2 {
            let out = placed.decide();
            let told = (names_text(&out.spokes), out.held, out.stays.len());
            assert_eq!(told, (one.clone(), None, 0), "{later:?}");
        }
        let out = Placed::new(vec![later]).decide();
        assert_eq!((out.spokes.len(), out.local), (0, None), "nobody new, and not the hub instead");
    }
}

#[test]
fn one_that_was_never_readable_is_told_of_and_moves_nobody() {
    let overrides_only = Effective { clusters: None, ..placement("a", "1", "", None) };
    for (broken, local) in [(placement("a", "1", "", None), false), (overrides_only, true)] {
        let broken = unreadable(broken);
        let mut fresh = Placed::new(vec![broken.clone()]);
        let out = fresh.decide();
        let told = "Placement default/a: spec.clusters.expression: no; what was decided before stands";
        assert_eq!((out.spokes.len(), out.local.is_some()), (0, local));
        assert_eq!(out.invalid.as_deref(), Some(told));
        // What ran before it came runs on.
        let mut silent = Placed::new(vec![]);
        assert!(silent.decide().local.is_some());
        silent.say(vec![broken]);
        assert!(silent.decide().local.is_some());
    }
}

#[test]
fn what_cannot_be_read_takes_nothing_away_whose_time_is_over() {
    for (on_unmatch, orphaned) in [(OnUnmatch::Delete, ""), (OnUnmatch::Orphan, "us-1")] {
        let with = |hash: &str, chosen: &str| Effective {
            on_unmatch,
            grace: Span(60),
            ..placement("a", hash, chosen, None)
        };
        let mut placed = Placed::new(vec![with("1", "eu-1,us-1")]);
        placed.decide();
        placed.say(vec![with("2", "eu-1,eu-2")]);
        placed.decide();
        placed.now = 1_100;
        placed.say(vec![unreadable(with("2", "eu-1,eu-2"))]);
        for _ in 0..2 {
            let out = placed.decide();
            assert_eq!((names_text(&out.spokes).as_str(), out.orphaned.len()), ("eu-1,eu-2,us-1", 0));
            let stays = out.stays.get(&ClusterName::new("us-1")).unwrap();
            assert!(stays.ends_with(", grace 1m); it stays until all words can be read"), "{stays}");
            assert_eq!(out.wake, None);
        }
        placed.say(vec![with("2", "eu-1,eu-2")]);
        let out = placed.decide();
        let now = (names_text(&out.spokes), names_text(&out.orphaned));
        assert_eq!(now, ("eu-1,eu-2".to_owned(), orphaned.to_owned()));
    }
    // Nor what was replaced.
    let limited = || {
        let limit = Limit { max: 1, failover: Some(Span(600)), ..Limit::default() };
        placement("a", "1", "eu-1,eu-2", Some(limit))
    };
    let mut placed = Placed::new(vec![limited()]);
    let first = ClusterName::new(&placed.spokes());
    placed.lost.insert(first, 1_000);
    placed.now = 1_600;
    placed.decide();
    placed.lost.clear();
    placed.say(vec![unreadable(limited())]);
    placed.decide();
    assert_eq!(placed.spokes(), "eu-1,eu-2");
    placed.say(vec![limited()]);
    placed.decide();
    assert_eq!(placed.spokes().split(',').count(), 1);
}

/// Who never had the cluster has no say in how it goes.
#[test]
fn only_those_that_let_a_cluster_go_say_how_it_goes() {
    let first = |hash: &str, chosen: &str| placement("a", hash, chosen, None);
    let second = |hash: &str, chosen: &str| Effective {
        on_unmatch: OnUnmatch::Orphan,
        grace: Span(3_600),
        ..placement("b", hash, chosen, None)
    };
    let refusing = |refused: &str| {
        let mut b = second("1", "us-2");
        b.clusters.as_mut().unwrap().refused = names(Some(refused));
        b
    };
    let left = "(Orphan, grace 1h)";
    // What is said later, which cluster is let go, and how; nothing where it goes at once.
    for (later, name, how) in [
        (vec![first("2", "eu-1"), second("1", "us-1,us-2")], "eu-2", None),
        (vec![first("1", "eu-1,eu-2"), second("2", "us-2")], "us-1", Some(left)),
        (vec![first("2", "eu-1"), second("2", "us-1,us-2")], "eu-2", Some(left)),
        // A label moved: each may have chosen it, and so may the one that was edited.
        (vec![first("1", "eu-1,eu-2"), second("1", "us-2")], "us-1", Some(left)),
        // A taint came while the other one was edited.
        (vec![first("2", "eu-1,eu-2,eu-3"), refusing("us-1")], "us-1", Some(left)),
    ] {
        let mut placed = Placed::new(vec![first("1", "eu-1,eu-2"), second("1", "us-1,us-2")]);
        for more in ["eu-3", "us-2"] {
            placed.clusters.insert(ClusterName::new(more), ClusterView::default());
        }
        placed.decide();
        let taint = Taint { key: "gpu".into(), value: String::new(), effect: Effect::NoSelect };
        if later.iter().any(|of| of.clusters.as_ref().is_some_and(|c| !c.refused.is_empty())) {
            placed.clusters.get_mut(&ClusterName::new(name)).unwrap().taints = vec![taint];
        }
        placed.say(later.clone());
        // A loss without an edit waits first, and is on record before it goes.
        let rest = (0..3).map(|_| placed.decide()).last().unwrap();
        let stays = rest.stays.get(&ClusterName::new(name)).map(String::as_str);
        assert_eq!(rest.spokes.contains(&ClusterName::new(name)), how.is_some(), "{later:?}");
        assert!(stays.is_none_or(|stays| stays.ends_with(how.unwrap_or("?"))), "{later:?}: {stays:?}");
        assert_eq!(stays.is_some(), how.is_some(), "{later:?}");
    }
}
