//! What reached each cluster of the versions of a rollout, as the servers saw it.

use super::super::ground::{Ground, Unit};
use super::super::wishes::{self, Wish};
use crate::api::Object;
use crate::api::keys::hub;
use crate::reconcile::rollout::{Admitted, Facts, Mark, marks};
use apiserver_model::kinds::Resource;
use apiserver_model::server::Server;
use serde_json::Value;
use std::collections::BTreeMap;

/// A version that came to a pair.
#[derive(Clone, Debug)]
pub struct Landing {
    pub version: u64,
    /// When its turn came, by its mark; in milliseconds.
    pub since: u64,
    pub unjudged: bool,
    /// When all that it makes was there for the first time.
    pub well: Option<u64>,
    /// The revision of the definition that it runs by, where that is known.
    pub revision: Option<u64>,
}

/// Whose it is: unit, instance, cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    pub unit: Unit,
    pub instance: String,
    pub site: String,
}

#[derive(Debug, Default)]
pub struct Pairs {
    pub landings: BTreeMap<Pair, Vec<Landing>>,
    /// What the mirrors have, by instance and site.
    specs: BTreeMap<(String, String), Value>,
}

/// The marks that a mirror bears.
pub struct Marks {
    pub uid: String,
    pub version: Option<Mark>,
    pub admitted: Option<Admitted>,
    pub facts: Option<Facts>,
}

impl Marks {
    pub fn of(mirror: &Object) -> Self {
        Self {
            uid: mirror.label(hub::INSTANCE_UID).unwrap_or_default().to_owned(),
            version: mirror.annotation(hub::VERSION).and_then(Mark::read),
            admitted: mirror.annotation(hub::REVISION).and_then(Admitted::read),
            facts: mirror.annotation(hub::FACTS).and_then(Facts::read),
        }
    }
}

/// Milliseconds of the run.
pub fn millis(seconds: u64) -> u64 {
    let begin = marks::time("2026-01-01T00:00:00Z").unwrap();
    seconds.saturating_sub(begin) * 1_000
}

impl Pairs {
    pub fn of_landings(landings: BTreeMap<Pair, Vec<Landing>>) -> Self {
        Self { landings, specs: BTreeMap::new() }
    }

    /// A mirror was written: the versions that are new to their pair.
    pub fn landed(&mut self, ground: &Ground, site: &str, name: &str, mirror: &Object) -> Vec<Pair> {
        let found = Marks::of(mirror);
        self.specs.insert((name.to_owned(), site.to_owned()), mirror.0["spec"].clone());
        let mut new = Vec::new();
        let instance = found.version.map(|mark| {
            let unit = Unit::Instance(found.uid.clone());
            let version = ground.versions.get(&(unit.clone(), mark.version));
            let own = version.and_then(|v| ground.graphs.get(&v.graph)).copied();
            // Where the whole kind moves as one, it says the revision.
            let by_kind = ground.rollout(&Unit::Kind, name).is_some() || found.admitted.is_some();
            (unit, mark, own.filter(|_| !by_kind))
        });
        let kind = found
            .admitted
            .map(|admitted| (Unit::Kind, admitted.mark, ground.revisions.get(&admitted.revision).copied()));
        for (unit, mark, revision) in instance.into_iter().chain(kind) {
            let pair = Pair { unit, instance: name.to_owned(), site: site.to_owned() };
            let landings = self.landings.entry(pair.clone()).or_default();
            if landings.iter().all(|landing| landing.version != mark.version) {
                let since = millis(mark.since);
                let Mark { version, unjudged, .. } = mark;
                landings.push(Landing { version, since, unjudged, well: None, revision });
                new.push(pair);
            }
        }
        new
    }

    /// Something of the cluster changed: which pairs are well there now.
    pub fn look(&mut self, now: u64, site: &str, server: &Server) {
        for (pair, landings) in self.landings.iter_mut().filter(|(pair, _)| pair.site == site) {
            let Some(last) = landings.last_mut().filter(|landing| landing.well.is_none()) else { continue };
            if is_well(server, &pair.instance, last.revision) {
                last.well = Some(now);
            }
        }
    }

    /// Whether something is under way to a pair at this time: what is stable, and what is older, is no trial. `soak`: of
    /// that version.
    pub fn under_way(
        &self,
        (pair, at): (&Pair, u64),
        stable: u64,
        (soak, deadline): (impl Fn(u64) -> u64, u64),
    ) -> bool {
        let Some(landings) = self.landings.get(pair) else { return false };
        let ends = |n: usize, landing: &Landing| {
            let well = landing.well.map_or(u64::MAX, |well| well + soak(landing.version));
            let next = landings.get(n + 1).map_or(u64::MAX, |next| next.since);
            well.min(next).min(landing.since + deadline)
        };
        // A mark says only the second.
        let holds = |(n, landing): (usize, &Landing)| {
            landing.version > stable
                && !landing.unjudged
                && landing.since <= at
                && ends(n, landing) > at + 1_000
        };
        landings.iter().enumerate().any(holds)
    }

    /// What the mirror of a pair has.
    pub fn spec(&self, pair: &Pair) -> Option<&Value> {
        self.specs.get(&(pair.instance.clone(), pair.site.clone()))
    }

    pub fn of(&self, unit: &Unit) -> impl Iterator<Item = (&Pair, &Vec<Landing>)> {
        self.landings.iter().filter(move |(pair, _)| pair.unit == *unit)
    }
}

/// Whether everything that the mirror asks for is there, by this revision of the definition.
fn is_well(server: &Server, name: &str, revision: Option<u64>) -> bool {
    let get = |group: &str, plural: &str, name: &str| {
        server.get(&Resource::new(group, plural), wishes::NAMESPACE, name)
    };
    let Some(mirror) = get(wishes::GROUP, "shops", name) else { return false };
    let wish = Wish::read(&mirror["spec"]);
    let Some(front) = get("", "configmaps", &format!("{name}-front")) else { return false };
    let live = front["data"]["revision"].as_str().and_then(|r| r.strip_prefix('r')?.parse().ok());
    let Some(revision) = revision.or(live) else { return false };
    // What the sign makes in its turn is not waited for.
    let board = format!("{name}{}-board", wishes::SIGN);
    let mut own =
        wishes::children(name, &wish, revision).into_iter().filter(|((_, child), _)| *child != board);
    !wish.is_ill()
        && own.all(|((plural, child), data)| {
            let (group, field) = if plural == "signs" { (wishes::GROUP, "spec") } else { ("", "data") };
            let fields = data.as_object().unwrap();
            let is_so = |live: &Value| fields.iter().all(|(k, v)| live[field][k] == *v);
            get(group, plural, &child).is_some_and(|live| is_so(&live))
        })
}

/// Whether a path is that of an instance, and which.
pub fn instance_at(path: &str) -> Option<&str> {
    let name = path.strip_prefix(wishes::SHOPS)?.strip_prefix('/')?;
    (!name.contains('/')).then_some(name)
}

/// What stands on a cluster under the name of an instance.
pub fn mirror(server: &Server, name: &str) -> Option<Object> {
    let found = server.get(&Resource::new(wishes::GROUP, "shops"), wishes::NAMESPACE, name)?;
    Some(Object((*found).clone()))
}
