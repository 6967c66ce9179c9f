//! What comes to a cluster: L5 and L6; and what must not be lost of it: L7.

use super::admission::Case;
use super::pairs::{Marks, Pair, Pairs};
use crate::api::Object;
use crate::hub::simulation::ground::{Ground, Unit};
use crate::hub::simulation::history::History;
use apiserver_model::kinds::Resource;
use apiserver_model::server::Server;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// L5: what a mirror has is what its version brings.
pub fn a_mirror_has_the_content_of_its_version(
    history: &History,
    now: u64,
    site: &str,
    mirror: &Object,
) -> Option<String> {
    let marks = Marks::of(mirror);
    let number = marks.version?.version;
    let key = (Unit::Instance(marks.uid.clone()), number);
    let on_record = || history.during(now.saturating_sub(60_000), now);
    let mut versions = on_record().filter_map(|ground| ground.versions.get(&key)).peekable();
    versions.peek()?;
    let spec = &mirror.0["spec"];
    let labels = marks.facts.and_then(|facts| facts.labels());
    let is_so = versions.any(|version| Ground::contents(version, site, labels.as_ref()).contains(spec));
    (!is_so).then(|| format!("L5: it has {spec}, which version {number} does not bring"))
}

/// L6: once a newer version is on record, no pair gets an older one that it did not run, but for the stable one.
pub fn nothing_older_comes(case: &Case) -> Option<String> {
    let landing = case.pairs.landings[case.pair].last()?;
    let allowed = case.history.during(landing.since, landing.since + 1_000).any(|ground| {
        let newest = ground.target(&case.pair.unit).map_or(0, |(number, _)| number);
        let stable = ground.stable(&case.pair.unit).map(|(number, _)| number);
        landing.version >= newest || stable == Some(landing.version)
    });
    (!allowed).then(|| format!("L6: version {} came, and a newer one was on record", landing.version))
}

/// L7: no version is deleted that a pair runs, while a rollout is in effect.
pub fn no_version_is_deleted_that_a_pair_runs(
    history: &History,
    pairs: &Pairs,
    now: u64,
    runs: impl Fn(&Pair) -> Option<Object>,
) -> Option<String> {
    let (before, after) = (history.before()?, history.now()?);
    let gone: BTreeSet<&(Unit, u64)> =
        before.versions.keys().filter(|key| !after.versions.contains_key(*key)).collect();
    let lost = gone.into_iter().find(|(unit, number)| {
        pairs.of(unit).any(|(pair, _)| {
            let instance = after.instances.get(&pair.instance);
            let stays = after.rollout(unit, &pair.instance).is_some()
                && instance.is_some_and(|i| !i.deleting && after.must(&pair.instance).contains(&pair.site));
            let sound = !history.is_troubled(&pair.site, now.saturating_sub(60_000), now);
            let number_of = |mirror: Object| {
                let marks = Marks::of(&mirror);
                let own = *unit == Unit::Kind || *unit == Unit::Instance(marks.uid);
                let mark = if *unit == Unit::Kind { marks.admitted.map(|a| a.mark) } else { marks.version };
                mark.filter(|_| own).map(|mark| mark.version)
            };
            stays && sound && runs(pair).and_then(number_of) == Some(*number)
        })
    });
    lost.map(|(unit, number)| format!("L7: version {number} of {unit:?} is deleted, and a cluster runs it"))
}

/// L7: no revision of a definition is deleted that a pair runs by.
pub fn no_revision_is_deleted_that_a_pair_runs_by(
    history: &History,
    pairs: &Pairs,
    now: u64,
    runs: impl Fn(&Pair) -> Option<Object>,
) -> Option<String> {
    let (before, after) = (history.before()?, history.now()?);
    let gone: Vec<u64> =
        before.revisions.keys().filter(|number| !after.revisions.contains_key(number)).copied().collect();
    if gone.is_empty() {
        return None;
    }
    pairs.of(&Unit::Kind).find_map(|(pair, _)| {
        let sound = !history.is_troubled(&pair.site, now.saturating_sub(60_000), now);
        let stays = after.instances.get(&pair.instance).is_some_and(|i| !i.deleting)
            && after.rollout(&Unit::Kind, &pair.instance).is_some()
            && after.must(&pair.instance).contains(&pair.site);
        let admitted =
            runs(pair).filter(|_| sound && stays).and_then(|mirror| Marks::of(&mirror).admitted)?;
        gone.contains(&admitted.revision)
            .then(|| format!("L7: revision {} is deleted, and {} runs by it", admitted.revision, pair.site))
    })
}

/// What the kinds of the definitions had on each cluster.
#[derive(Debug, Default)]
pub struct Fields(BTreeMap<String, BTreeSet<String>>);

impl Fields {
    /// L7: the kind of a definition never loses a field on a cluster.
    pub fn never_go_back(&mut self, site: &str, server: &Server) -> Option<String> {
        let crd = server.get(
            &Resource::new("apiextensions.k8s.io", "customresourcedefinitions"),
            "",
            "shops.kro.run",
        )?;
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let fields = crd.pointer(path).and_then(Value::as_object);
        let fields: BTreeSet<String> = fields.into_iter().flat_map(|f| f.keys().cloned()).collect();
        self.note(site, fields)
    }

    pub fn note(&mut self, site: &str, fields: BTreeSet<String>) -> Option<String> {
        let before = self.0.insert(site.to_owned(), fields.clone()).unwrap_or_default();
        let lost: Vec<&String> = before.difference(&fields).collect();
        (!lost.is_empty()).then(|| format!("L7: the kind lost {lost:?}"))
    }

    /// Another cluster answers there.
    pub fn forget(&mut self, site: &str) {
        self.0.remove(site);
    }
}
