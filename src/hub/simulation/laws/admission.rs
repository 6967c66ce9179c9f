//! When a version may come to a cluster: L1 to L3, and the order of the stages. Each law looks back to the second in which
//! the turn of the pair came, which its mark tells, and holds if it held by anything that the controller may have seen then.

use super::pairs::{Landing, Pair, Pairs};
use crate::api::rollout::Rollout;
use crate::hub::simulation::ground::{Ground, Instance, Unit, count};
use crate::hub::simulation::history::History;
use crate::hub::simulation::network::HUB;
use std::collections::BTreeSet;

/// How long what is on its way may still land, in milliseconds.
const CALL: u64 = 16_000;
/// Trouble of a cluster may show that much later.
const AFTERMATH: u64 = 60_000;

/// A version that came to a pair just now.
pub struct Case<'a> {
    pub history: &'a History,
    pub pairs: &'a Pairs,
    pub now: u64,
    pub pair: &'a Pair,
}

impl Case<'_> {
    fn landing(&self) -> &Landing {
        self.pairs.landings[self.pair].last().unwrap()
    }

    /// Whether it is so by something that may have been seen in that second.
    fn holds_at(&self, at: u64, holds: impl FnMut(&Ground) -> bool) -> bool {
        self.history.during(at, at + 1_000).any(holds)
    }

    fn rollout<'g>(&self, ground: &'g Ground) -> Option<&'g Rollout> {
        ground.rollout(&self.pair.unit, &self.pair.instance)
    }

    /// It is no trial: the pair comes to what was completed.
    fn is_stable(&self, ground: &Ground) -> bool {
        let version = self.landing().version;
        ground.stable(&self.pair.unit).is_some_and(|(stable, _)| version <= stable)
    }

    fn goes_back(&self, ground: &Ground) -> bool {
        let stable = ground.stable(&self.pair.unit).map(|(_, version)| version);
        let own = ground.versions.get(&(self.pair.unit.clone(), self.landing().version));
        stable.zip(own).is_some_and(|(stable, own)| stable.print == own.print || stable.is_alike(own))
    }

    /// Whether the cluster of a pair answered as it should, around this time.
    fn is_sound(&self, pair: &Pair, from: u64, until: u64) -> bool {
        let sound = !self.history.is_troubled(&pair.site, from.saturating_sub(AFTERMATH), until + CALL);
        let is_there = |ground: &Ground| {
            let holds = ground.instances.get(&pair.instance).is_some_and(|i| {
                let own = pair.unit == Unit::Kind || pair.unit == Unit::Instance(i.uid.clone());
                own && !i.deleting && i.holds.iter().any(|n| n.as_str() == pair.site)
            });
            holds
                && ground.must(&pair.instance).contains(&pair.site)
                && ground.clusters.get(&pair.site).is_some_and(|c| c.ready)
        };
        sound && self.history.during(from, until.max(self.now)).all(is_there)
    }
}

/// L1: of one stage no more are under way at a time than it allows, what a dead life sent included.
pub fn no_more_at_a_time_than_the_stage_allows(case: &Case) -> Option<String> {
    let begin = case.landing().since;
    let later = case.pairs.of(&case.pair.unit).flat_map(|(_, landings)| landings).map(|l| l.since);
    let times: BTreeSet<u64> = later.filter(|since| *since >= begin).collect();
    times.into_iter().find_map(|at| {
        let mut seen = (0, 0);
        let within = case.holds_at(at, |ground| {
            let Some(rollout) = case.rollout(ground) else { return true };
            let (found, limit) = under_way(case, ground, rollout, at);
            seen = (found, limit);
            found <= limit
        });
        let all = || case.pairs.of(&case.pair.unit).map(|(pair, l)| (&pair.instance, &pair.site, l.last()));
        (!within).then(|| {
            let known: Vec<_> = all().collect();
            format!("L1: {} are under way in the stage at {at}, {} may be: {known:?}", seen.0, seen.1)
        })
    })
}

/// The pairs that a unit moves by what is on record, whether anything came to them or not.
fn placed<'g>(ground: &'g Ground, unit: &'g Unit) -> impl Iterator<Item = (&'g str, &'g str)> {
    let is_of = |instance: &Instance| *unit == Unit::Kind || *unit == Unit::Instance(instance.uid.clone());
    let own = ground.instances.iter().filter(move |(_, instance)| is_of(instance));
    // The hub holds nothing of an instance that runs there as a whole, and is a member all the same.
    own.flat_map(|(name, instance)| {
        let sites = instance.holds.iter().map(|site| site.as_str());
        sites.chain(instance.on_hub.then_some(HUB)).map(move |site| (name.as_str(), site))
    })
}

fn under_way(case: &Case, ground: &Ground, rollout: &Rollout, at: u64) -> (usize, usize) {
    let unit = &case.pair.unit;
    let stage = ground.stage(rollout, &case.pair.instance, &case.pair.site);
    let stable = ground.stable(unit).map_or(0, |(number, _)| number);
    let of_stage = rollout.stages.get(stage).or(rollout.stages.last());
    let deadline = rollout.progress_deadline.0 * 1_000;
    let print = |number: u64| ground.versions.get(&(unit.clone(), number)).map(|version| &version.print);
    let target = ground.target(unit).map(|(_, version)| &version.print);
    // What is not wanted any more is over as soon as it is ACTIVE.
    let soak = |version: u64| of_stage.filter(|_| print(version) == target).map_or(0, |s| s.soak.0 * 1_000);
    let members =
        case.pairs.of(unit).filter(|(pair, _)| ground.stage(rollout, &pair.instance, &pair.site) == stage);
    let members: Vec<&Pair> = members.map(|(pair, _)| pair).collect();
    let all = placed(ground, unit).filter(|(name, site)| ground.stage(rollout, name, site) == stage).count();
    let limit = of_stage.map_or(usize::MAX, |s| count(&s.max_concurrent, members.len().max(all)).max(1));
    let counts = |pair: &&&Pair| {
        case.pairs.under_way((pair, at), stable, (soak, deadline))
            && (**pair == case.pair || case.is_sound(pair, at, at))
    };
    (members.iter().filter(counts).count(), limit)
}

/// L2: going back aside, nothing is begun while more failed than may. Where the version of an instance and the revision of
/// its kind both move, a pair of the kind may wait for its instance, and is not judged here.
pub fn nothing_goes_on_after_too_many_failures(case: &Case) -> Option<String> {
    let landing = case.landing();
    let at = landing.since;
    let mut seen = (0, 0);
    let within = case.holds_at(at, |ground| {
        let Some(rollout) = case.rollout(ground) else { return true };
        let deadline = rollout.progress_deadline.0 * 1_000;
        let moves_too = |pair: &Pair| {
            let own = ground.instances.get(&pair.instance).map(|i| Unit::Instance(i.uid.clone()));
            pair.unit == Unit::Kind
                && own.is_some_and(|unit| {
                    let governed = ground.rollout(&unit, &pair.instance).is_some();
                    governed || ground.versions.keys().any(|(of, _)| *of == unit)
                })
        };
        let failed = |(pair, landings): &(&Pair, &Vec<Landing>)| {
            let last = landings.iter().rfind(|l| l.since <= at);
            last.is_some_and(|l| {
                let ended = l.since + deadline + AFTERMATH;
                let is_late =
                    l.version == landing.version && ended < at && l.well.is_none_or(|well| well > at);
                let unbroken = !case.history.started(l.since, at) && case.is_sound(pair, l.since, at);
                is_late && !l.unjudged && unbroken && *pair != case.pair && !moves_too(pair)
            })
        };
        let failures = case.pairs.of(&case.pair.unit).filter(failed).count();
        let landed = case.pairs.of(&case.pair.unit).count();
        let all = placed(ground, &case.pair.unit).count().max(landed);
        seen = (failures, count(&rollout.max_failures, all));
        failures <= seen.1 || case.goes_back(ground) || case.is_stable(ground)
    });
    (!within).then(|| format!("L2: begun though {} failed, {} may", seen.0, seen.1))
}

/// L3: what comes is on record.
pub fn what_comes_is_on_record(case: &Case) -> Option<String> {
    let version = case.landing().version;
    let key = (case.pair.unit.clone(), version);
    let on_record =
        case.history.during(case.landing().since, case.now).any(|ground| ground.versions.contains_key(&key));
    (!on_record).then(|| format!("L3: version {version} is not on record"))
}

/// L3: no stage without its approval, and none while somebody paused it.
pub fn nobody_is_moved_without_leave(case: &Case) -> Option<String> {
    let landing = case.landing();
    let of = if case.pair.unit == Unit::Kind { None } else { Some(case.pair.instance.clone()) };
    let mut why = "";
    let allowed = case.holds_at(landing.since, |ground| {
        let Some(rollout) = case.rollout(ground) else { return true };
        if case.is_stable(ground) {
            return true;
        }
        let number = ground.stage(rollout, &case.pair.instance, &case.pair.site);
        let asks = match rollout.stages.get(number) {
            Some(stage) => stage.approval.then_some(stage.name.as_str()),
            None => rollout.stages.iter().any(|stage| stage.approval).then_some("rest"),
        };
        let approved = asks
            .is_none_or(|stage| ground.approvals.contains(&(of.clone(), landing.version, stage.to_owned())));
        why = if rollout.paused { "while it is paused" } else { "without approval of its stage" };
        !rollout.paused && (approved || case.goes_back(ground))
    });
    (!allowed).then(|| format!("L3: version {} came {why}", landing.version))
}

/// Nobody is read anew while somebody paused it; nor does that bring a version. `since`: when it was, in milliseconds.
pub fn nobody_is_read_anew_while_it_is_paused(
    history: &History,
    (unit, name): (&Unit, &str),
    since: u64,
) -> Option<String> {
    let open = |ground: &Ground| ground.rollout(unit, name).is_none_or(|rollout| !rollout.paused);
    let allowed = history.during(since, since + 1_000).any(open);
    (!allowed).then(|| format!("L5: {name} goes by other labels while its rollout is paused"))
}

/// L3: no revision above the one that somebody pinned, but for who comes to what all had completed.
pub fn no_revision_is_above_the_ceiling(case: &Case, revision: Option<u64>) -> Option<String> {
    let revision = revision.filter(|_| case.pair.unit == Unit::Kind)?;
    let mut seen = 0;
    let within = case.holds_at(case.landing().since, |ground| {
        let pin = case.rollout(ground).and_then(|rollout| rollout.revision);
        let pin = pin.and_then(|pin| u64::try_from(pin).ok());
        seen = pin.unwrap_or_default();
        pin.is_none_or(|pin| revision <= pin) || case.is_stable(ground)
    });
    (!within).then(|| format!("L3: revision {revision} came, and {seen} is the highest that may"))
}

/// Stages in order: one is begun only once each earlier one that has a member within reach was.
pub fn stages_are_begun_in_order(case: &Case) -> Option<String> {
    let landing = case.landing();
    let at = landing.since;
    let mut seen = String::new();
    let in_order = case.holds_at(at, |ground| {
        let Some(rollout) = case.rollout(ground) else { return true };
        if case.is_stable(ground) || case.goes_back(ground) {
            return true;
        }
        let stage_of = |pair: &Pair| ground.stage(rollout, &pair.instance, &pair.site);
        let own = stage_of(case.pair);
        let version = |number: u64| ground.versions.get(&(case.pair.unit.clone(), number));
        let print = |number: u64| version(number).map(|v| &v.print);
        // What a mirror has from before the rollout is not written again where it is the same.
        let is_same = |pair: &Pair| {
            let spec = case.pairs.spec(pair).filter(|_| pair.unit != Unit::Kind);
            let brings = version(landing.version).map(|v| Ground::contents(v, &pair.site, None));
            spec.zip(brings).is_some_and(|(spec, brings)| brings.contains(spec))
        };
        let is_there = |pair: &Pair, landings: &Vec<Landing>| {
            let last = landings.iter().rfind(|l| l.since <= at);
            last.is_some_and(|l| l.version == landing.version || print(l.version) == print(landing.version))
                || is_same(pair)
        };
        let members: Vec<(&Pair, &Vec<Landing>)> =
            case.pairs.of(&case.pair.unit).filter(|(pair, _)| *pair != case.pair).collect();
        let begun = |stage: usize| members.iter().any(|(p, l)| stage_of(p) == stage && is_there(p, l));
        let waiting = members.iter().find(|(pair, landings)| {
            let stage = stage_of(pair);
            let ran = landings.iter().any(|l| l.since + AFTERMATH < at);
            stage < own && ran && !begun(stage) && case.is_sound(pair, at.saturating_sub(AFTERMATH), at)
        });
        seen = waiting.map(|(pair, _)| pair.site.clone()).unwrap_or_default();
        waiting.is_none() || begun(own)
    });
    (!in_order)
        .then(|| format!("L3: version {} came before an earlier stage began: {seen} waits", landing.version))
}
