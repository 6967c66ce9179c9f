//! Why a cluster that is asked for is not taken. The rules stand in one table, and the first that refuses is told.

use super::ClusterView;
use super::ground::{Ground, Names};
use crate::api::keys::hub;
use crate::api::names::{ClusterName, ITSELF};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NotRegistered,
    Leaving,
    NotAllowed,
    Released,
}

impl Refusal {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotRegistered => "NotRegistered",
            Self::Leaving => "Leaving",
            Self::NotAllowed => "NotAllowed",
            Self::Released => "Released",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    pub why: Refusal,
    /// A sentence for people.
    pub message: String,
}

/// A cluster that is asked for.
struct Candidate<'a> {
    name: &'a ClusterName,
    /// `None` where no Cluster has this name.
    cluster: Option<&'a ClusterView>,
    ground: &'a Ground<'a>,
}

type Rule = fn(&Candidate) -> Option<Refused>;
const RULES: [Rule; 4] = [not_registered, leaving, not_allowed, released];

/// The clusters that may be taken, and what is said of the others.
pub(super) fn sort(asked: Names, ground: &Ground) -> (Names, BTreeMap<ClusterName, Refused>) {
    let (mut free, mut refused) = (Names::new(), BTreeMap::new());
    for name in asked {
        let candidate = Candidate { name: &name, cluster: ground.clusters.get(&name), ground };
        match RULES.iter().find_map(|rule| rule(&candidate)) {
            Some(why) => drop(refused.insert(name, why)),
            None => drop(free.insert(name)),
        }
    }
    (free, refused)
}

fn not_registered(candidate: &Candidate) -> Option<Refused> {
    let message = || {
        if candidate.name.as_str() == ITSELF {
            "no Cluster can have this name; what is meant is the Cluster with spec.local: true, by its own name".into()
        } else {
            format!("no Cluster named {} is registered; the instance goes there once it is", candidate.name)
        }
    };
    candidate.cluster.is_none().then(|| Refused { why: Refusal::NotRegistered, message: message() })
}

fn leaving(candidate: &Candidate) -> Option<Refused> {
    let message = || "the Cluster is being deregistered".to_owned();
    candidate.cluster?.leaving.then(|| Refused { why: Refusal::Leaving, message: message() })
}

fn not_allowed(candidate: &Candidate) -> Option<Refused> {
    let (allowed, namespace) = (&candidate.cluster?.allowed_namespaces, candidate.ground.namespace);
    let message = || format!("the Cluster does not allow instances of namespace {namespace:?}");
    let is_allowed = allowed.is_empty() || allowed.iter().any(|n| n == namespace);
    (!is_allowed).then(|| Refused { why: Refusal::NotAllowed, message: message() })
}

/// While something is still on record there, the record says what becomes of it.
fn released(candidate: &Candidate) -> Option<Refused> {
    let past = candidate.ground.past;
    let is_released = past.released.contains(candidate.name) && !past.holds.contains(candidate.name);
    let message =
        || format!("let go by the annotation {}; remove it to place the instance there again", hub::RELEASE);
    is_released.then(|| Refused { why: Refusal::Released, message: message() })
}

#[cfg(test)]
mod tests {
    use super::super::names::names;
    use super::super::{DefaultPlacement, Past, Words};
    use super::*;

    #[test]
    fn the_first_rule_that_refuses_is_told() {
        use Refusal::{Leaving, NotAllowed, NotRegistered, Released};
        let view = |leaving, allowed: &[&str]| ClusterView {
            leaving,
            allowed_namespaces: allowed.iter().map(|&n| n.to_owned()).collect(),
            ..ClusterView::default()
        };
        let open = view(false, &[]);
        for (cluster, released, holds, want) in [
            (None, "", "", Some(NotRegistered)),
            (None, "c", "", Some(NotRegistered)),
            (Some(&open), "", "", None),
            (Some(&open), "c", "", Some(Released)),
            (Some(&open), "c", "c", None),
            (Some(&view(false, &["shop", "n"])), "", "", None),
            (Some(&view(false, &["shop"])), "c", "", Some(NotAllowed)),
            (Some(&view(true, &["shop"])), "c", "", Some(Leaving)),
        ] {
            let clusters = cluster.map(|c| (ClusterName::new("c"), c.clone())).into_iter().collect();
            let past = Past { released: names(Some(released)), holds: names(Some(holds)), ..Past::default() };
            let words = Words::default();
            let ground = Ground::of(&words, "n", &clusters, &past, DefaultPlacement::Local);
            let (free, refused) = sort(names(Some("c")), &ground);
            let why = refused.get(&ClusterName::new("c")).map(|r| r.why);
            assert_eq!((why, free.is_empty()), (want, want.is_some()), "{cluster:?} {released} {holds}");
        }
    }
}
