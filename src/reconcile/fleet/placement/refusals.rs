//! Why a cluster that is asked for is not taken. The rules stand in one table, and the first that refuses is told.

use super::ground::{Ground, Names};
use super::{ClusterView, policies};
use crate::api::keys::hub;
use crate::api::names::{ClusterName, ITSELF};
use crate::api::placement::Toleration;
use crate::reconcile::policy::keeps_away;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NotRegistered,
    Leaving,
    NotAllowed,
    Tainted,
    Released,
}

impl Refusal {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotRegistered => "NotRegistered",
            Self::Leaving => "Leaving",
            Self::NotAllowed => "NotAllowed",
            Self::Tainted => "Tainted",
            Self::Released => "Released",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    pub why: Refusal,
    /// A sentence for people.
    pub message: String,
    /// Somebody names this very cluster.
    pub named: bool,
}

impl Refused {
    fn of(why: Refusal, message: String) -> Self {
        Self { why, message, named: false }
    }
}

/// Whoever asks for clusters.
pub(super) struct Asking<'a> {
    /// Those that it names.
    pub named: &'a Names,
    /// Taints that it tolerates.
    pub tolerations: &'a [Toleration],
    /// Those that its guard keeps: who is there stays, whatever else is said.
    pub kept: &'a Names,
}

/// Adds what another one is refused. One who names the cluster is enough.
pub(super) fn add(all: &mut BTreeMap<ClusterName, Refused>, more: BTreeMap<ClusterName, Refused>) {
    for (name, refused) in more {
        all.entry(name).and_modify(|known| known.named |= refused.named).or_insert(refused);
    }
}

/// A cluster that is asked for.
struct Candidate<'a> {
    name: &'a ClusterName,
    /// `None` where no Cluster has this name.
    cluster: Option<&'a ClusterView>,
    ground: &'a Ground<'a>,
    asking: &'a Asking<'a>,
    /// The instance is there.
    is_there: bool,
}

type Rule = fn(&Candidate) -> Option<Refused>;
const RULES: [Rule; 5] = [not_registered, leaving, not_allowed, tainted, released];

/// The clusters that may be taken, and what is said of the others.
pub(super) fn sort(
    asked: Names,
    ground: &Ground,
    asking: &Asking,
) -> (Names, BTreeMap<ClusterName, Refused>) {
    let (mut free, mut refused) = (Names::new(), BTreeMap::new());
    let mut there = None;
    for name in asked {
        let cluster = ground.clusters.get(&name);
        let is_tainted = cluster.is_some_and(|c| !c.taints.is_empty());
        let is_there = is_tainted && there.get_or_insert_with(|| policies::there(ground)).contains(&name);
        let candidate = Candidate { name: &name, cluster, ground, asking, is_there };
        match RULES.iter().find_map(|rule| rule(&candidate)) {
            Some(why) => {
                let why = Refused { named: asking.named.contains(&name), ..why };
                refused.insert(name, why);
            }
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
    candidate.cluster.is_none().then(|| Refused::of(Refusal::NotRegistered, message()))
}

fn leaving(candidate: &Candidate) -> Option<Refused> {
    let message = || "the Cluster is being deregistered".to_owned();
    candidate.cluster?.leaving.then(|| Refused::of(Refusal::Leaving, message()))
}

fn not_allowed(candidate: &Candidate) -> Option<Refused> {
    let (allowed, namespace) = (&candidate.cluster?.allowed_namespaces, candidate.ground.namespace);
    let message = || format!("the Cluster does not allow instances of namespace {namespace:?}");
    let is_allowed = allowed.is_empty() || allowed.iter().any(|n| n == namespace);
    (!is_allowed).then(|| Refused::of(Refusal::NotAllowed, message()))
}

fn tainted(candidate: &Candidate) -> Option<Refused> {
    if candidate.is_there && candidate.asking.kept.contains(candidate.name) {
        return None;
    }
    let taint = keeps_away(&candidate.cluster?.taints, candidate.asking.tolerations, candidate.is_there)?;
    Some(Refused::of(Refusal::Tainted, format!("taint {taint} is not tolerated")))
}

/// While something is still on record there, the record says what becomes of it.
fn released(candidate: &Candidate) -> Option<Refused> {
    let past = candidate.ground.past;
    let is_released = past.released.contains(candidate.name) && !past.holds.contains(candidate.name);
    let message =
        || format!("let go by the annotation {}; remove it to place the instance there again", hub::RELEASE);
    is_released.then(|| Refused::of(Refusal::Released, message()))
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
            let none = Names::new();
            let asking = Asking { named: &none, tolerations: &[], kept: &none };
            let (free, refused) = sort(names(Some("c")), &ground, &asking);
            let why = refused.get(&ClusterName::new("c")).map(|r| r.why);
            assert_eq!((why, free.is_empty()), (want, want.is_some()), "{cluster:?} {released} {holds}");
        }
    }
}
