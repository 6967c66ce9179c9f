//! A hub, its clusters and everything that befalls them, against the laws of a rollout: edits, failures, partitions,
//! approvals, clusters that come, go and change their stage, crashes between any two writes, and calls that land late.

use super::*;
use crate::reconcile::rollout::stages::{Limit, Stage, Wave};
use crate::reconcile::rollout::versions::{self, Recorded, Records, Target};
use proptest::prelude::*;

/// A call that was not answered by then never lands.
const CALL: u64 = 15;
/// A new life of the hub moves nobody for so long.
const QUIET: u64 = 2 * CALL;
const DEADLINE: u64 = 100;
const STAGES: usize = 3;
/// Labels that do no instance good.
const HARMFUL: u64 = 9;

/// A small generator: one number gives a whole story.
struct Dice(u64);
impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Mirror {
    version: u64,
    since: u64,
    unjudged: bool,
    /// What was read of the cluster; when, where that was after the version came; and whether it was ill then.
    read: u64,
    anew: Option<u64>,
    ill: bool,
}

#[derive(Debug)]
struct Call {
    lands: u64,
    life: u64,
    mirror: Mirror,
}

#[derive(Debug)]
struct Site {
    stage: usize,
    reachable: bool,
    /// As the hub sees it.
    contact: Contact,
    mirror: Option<Mirror>,
    condition: Condition,
    calls: Vec<Call>,
    /// What this life of the hub sent, not answered yet.
    sent: Option<Mirror>,
    ran: BTreeSet<u64>,
    /// What its labels are.
    labels: u64,
}

impl Site {
    fn is_on_the_way(&self, world: &World) -> bool {
        let stable = versions::stable(&world.records).map_or(0, |v| v.number);
        let content = |number: u64| world.records.get(&number).map(|version| *version.content);
        let Contact::Ready(contact) = self.contact else { return false };
        let comes = self.calls.iter().any(|call| call.mirror.version > stable);
        let stands = self.mirror.is_some_and(|mirror| {
            // What the target changes nothing of is at the target, whatever its number is.
            let is_target = content(mirror.version) == content(world.target());
            let soak = if is_target { world.soak } else { 0 };
            let well = matches!(self.condition, Condition::Active(since) if since + soak <= world.now);
            let in_time = world.now < mirror.since.max(contact) + DEADLINE;
            let trying = self.condition == Condition::Moving || !mirror.unjudged || !is_target;
            let soaks = matches!(self.condition, Condition::Active(_)) && !well;
            mirror.version > stable && !well && (in_time || soaks) && trying
        });
        let reads = self.calls.iter().any(|call| call.mirror.anew.is_some())
            || self.mirror.is_some_and(|mirror| {
                let in_time = |anew: u64| world.now < mirror.since.max(anew).max(contact) + DEADLINE;
                let judged = !mirror.ill || self.condition == Condition::Moving;
                let well = matches!(self.condition, Condition::Active(_));
                mirror.anew.is_some_and(in_time) && judged && !well
            });
        self.reachable && (comes || stands || reads)
    }
}

struct World {
    dice: Dice,
    now: u64,
    sites: BTreeMap<ClusterName, Site>,
    records: Records<u64>,
    wanted: u64,
    approvals: BTreeSet<(u64, usize)>,
    max: [u32; STAGES],
    max_failures: u32,
    soak: u64,
    paused: bool,
    asks: bool,
    life: u64,
    began: u64,
    unit: Option<Unit>,
    /// A change that does its clusters no good.
    bad: BTreeSet<u64>,
    calm: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let sites = 2 + dice.below(6);
        let mut world = Self {
            now: 10_000,
            sites: BTreeMap::new(),
            records: Records::new(),
            wanted: 1,
            approvals: BTreeSet::new(),
            max: [1, 1 + dice.below(3) as u32, 1 + dice.below(3) as u32],
            max_failures: dice.below(3) as u32,
            soak: dice.below(2) * 20,
            paused: false,
            asks: dice.chance(40),
            life: 1,
            began: 0,
            unit: None,
            bad: BTreeSet::new(),
            calm: false,
            dice,
        };
        for _ in 0..sites {
            world.join();
        }
        world
    }

    fn join(&mut self) {
        let name = ClusterName::new(&format!("c{}", self.dice.below(12)));
        let site = Site {
            stage: self.dice.below(STAGES as u64) as usize,
            reachable: true,
            contact: Contact::Ready(self.now),
            mirror: None,
            condition: Condition::Moving,
            calls: Vec::new(),
            sent: None,
            ran: BTreeSet::new(),
            labels: self.dice.below(3),
        };
        self.sites.entry(name).or_insert(site);
    }

    fn rules(&self) -> Rules {
        let stage = |n: usize| Stage {
            name: format!("s{n}").into(),
            max_concurrent: Limit::Number(self.max[n]),
            order_by: None,
            soak: self.soak,
            approval: self.asks && n == 1,
        };
        let stages = (0..STAGES).map(stage).collect();
        Rules::new(stages, Limit::Number(self.max_failures), DEADLINE, self.paused, "Placement a/b".into())
    }

    fn target(&self) -> u64 {
        self.records.last_key_value().map_or(0, |(number, _)| *number)
    }

    fn any(&mut self) -> Option<ClusterName> {
        let count = self.sites.len() as u64;
        let index = if count == 0 { 0 } else { self.dice.below(count) };
        self.sites.keys().nth(index as usize).cloned()
    }

    /// Something happens.
    fn happens(&mut self) {
        self.now += if self.dice.chance(3) { 70 } else { self.dice.below(8) };
        match self.dice.below(40) {
            0..=1 => {
                self.wanted = 1 + self.dice.below(6);
                if self.dice.chance(30) {
                    self.bad.insert(self.wanted);
                }
            }
            2..=3 => drop(self.approvals.insert((self.target(), self.dice.below(3) as usize))),
            4 => drop(self.approvals.pop_last()),
            5 => self.paused = self.dice.chance(30),
            6 => self.max[self.dice.below(3) as usize] = 1 + self.dice.below(3) as u32,
            7 => self.max_failures = self.dice.below(3) as u32,
            8 => self.join(),
            9 => {
                if let Some(name) = self.any() {
                    self.sites.remove(&name);
                }
            }
            10 => {
                let stage = self.dice.below(STAGES as u64) as usize;
                if let Some(site) = self.any().and_then(|name| self.sites.get_mut(&name)) {
                    site.stage = stage;
                }
            }
            11..=12 => self.crash(),
            13..=15 => {
                let now = self.now;
                if let Some(site) = self.any().and_then(|name| self.sites.get_mut(&name)) {
                    site.reachable = !site.reachable;
                    site.contact = if site.reachable { Contact::Ready(now) } else { Contact::Lost };
                }
            }
            16..=18 => self.connects(),
            19..=20 => {
                let labels = if self.dice.chance(20) { HARMFUL } else { self.dice.below(3) };
                if let Some(site) = self.any().and_then(|name| self.sites.get_mut(&name)) {
                    site.labels = labels;
                }
            }
            _ => self.lives(40),
        }
        self.lands();
        self.step();
    }

    fn crashes(&mut self, percent: u64) -> bool {
        !self.calm && self.dice.chance(percent)
    }

    fn crash(&mut self) {
        (self.unit, self.life, self.began) = (None, self.life + 1, self.now);
        for site in self.sites.values_mut() {
            site.sent = None;
            if site.reachable {
                site.contact = Contact::Connecting;
            }
        }
    }

    fn connects(&mut self) {
        let now = self.now;
        for site in self.sites.values_mut().filter(|s| s.contact == Contact::Connecting) {
            site.contact = if site.reachable { Contact::Ready(now) } else { Contact::Lost };
        }
    }

    /// What runs on the clusters gets better or worse.
    fn lives(&mut self, ill: u64) {
        let now = self.now;
        let Some(name) = self.any() else { return };
        let (luck, worse) = (self.dice.below(100), self.dice.chance(4));
        let Some(site) = self.sites.get_mut(&name) else { return };
        let Some(mirror) = site.mirror else { return };
        let content = self.records.get(&mirror.version).map(|v| *v.content);
        let bad = content.is_some_and(|content| self.bad.contains(&content)) || mirror.read == HARMFUL;
        site.condition = match site.condition.clone() {
            Condition::Active(_) if worse && ill > 0 => Condition::Error,
            Condition::Active(since) => Condition::Active(since),
            _ if bad && luck < 80 => Condition::Error,
            _ if luck < ill / 4 => Condition::Error,
            _ => Condition::Active(now),
        };
    }

    fn lands(&mut self) {
        let (now, life) = (self.now, self.life);
        for site in self.sites.values_mut() {
            let (landed, open) = std::mem::take(&mut site.calls).into_iter().partition(|c| c.lands <= now);
            site.calls = open;
            for Call { life: of, mirror, .. } in landed {
                if site.mirror != Some(mirror) {
                    site.condition = Condition::Moving;
                }
                site.mirror = Some(mirror);
                site.ran.insert(mirror.version);
                if of == life && site.sent == Some(mirror) {
                    site.sent = None;
                }
            }
            // Who comes back is told again.
            if let Some(mirror) = site.sent.filter(|_| site.reachable && site.calls.is_empty()) {
                site.calls.push(Call { lands: now, life, mirror });
            }
        }
    }

    fn send(&mut self, name: &ClusterName, mirror: Mirror) {
        let lands = self.now + self.dice.below(CALL);
        let life = self.life;
        let Some(site) = self.sites.get_mut(name) else { return };
        // One call at a time in one life; one of a dead life may land between.
        site.calls.retain(|call| call.life != life);
        site.calls.push(Call { lands, life, mirror });
        site.sent = Some(mirror);
    }

    fn seen(&self, site: &Site) -> Pair {
        let runs = site.sent.or(site.mirror);
        let answered = site.sent.is_none();
        let content = runs.and_then(|m| self.records.get(&m.version)).map(|v| *v.content);
        let condition = if answered { site.condition.clone() } else { Condition::Moving };
        Pair {
            place: Place { stage: site.stage, wave: Wave::Last }.into(),
            contact: site.contact,
            version: runs.map_or(Version::Nothing, |m| Version::Number(m.version)),
            admitted: runs.map_or(0, |m| m.since),
            unjudged: runs.is_some_and(|m| m.unjudged),
            condition,
            why: None,
            same: content == Some(self.wanted),
            refused: None,
            read: runs.map_or_else(Read::default, |m| Read {
                stale: m.read != site.labels,
                since: m.anew,
                unjudged: m.ill,
            }),
        }
    }

    fn step(&mut self) {
        let marks: Vec<u64> = self.sites.values().filter_map(|s| s.mirror).map(|m| m.version).collect();
        let approved: Vec<u64> = self.approvals.iter().map(|a| a.0).collect();
        let target = versions::target(&self.records, &self.wanted, marks.into_iter(), approved.into_iter());
        let number = match target {
            Target::Recorded(number) => number,
            Target::New(number) => {
                if self.crashes(10) {
                    return self.crash();
                }
                let content = Arc::new(self.wanted);
                self.records.insert(number, Recorded { number, stable: false, content });
                number
            }
        };
        if self.crashes(5) {
            return self.crash();
        }
        let stable = versions::stable(&self.records);
        let goes_back = stable.is_some_and(|v| *v.content == self.wanted);
        let stages = self.approvals.iter().filter(|a| a.0 == number);
        let frame = Frame {
            rules: Arc::new(self.rules()),
            target: number,
            stable: stable.map(|v| v.number),
            goes_back,
            approved: stages.map(|a| format!("s{}", a.1).into()).collect(),
            astray: Vec::new(),
        };
        let mut unit = self.unit.take().unwrap_or_else(|| Unit::new(frame.clone()));
        unit.reframe(frame.clone(), self.now);
        let gone: Vec<_> =
            unit.pairs().map(|p| p.0.clone()).filter(|n| !self.sites.contains_key(n)).collect();
        for name in gone {
            unit.drop(&name);
        }
        let mut twin = Unit::new(frame);
        for (name, site) in &self.sites {
            let pair = self.seen(site);
            if unit.pair(name).as_ref() != Some(&pair) {
                unit.put(name, pair.clone(), self.now);
            }
            twin.put(name, pair, self.now);
        }
        unit.pass(self.now);
        assert_eq!(unit, twin, "what is new alone, and all");
        let ready = self.now >= self.began + QUIET;
        let admissions = unit.admit(ready);
        let joining = unit.join(ready);
        self.deferred_do_not_matter(&unit, &admissions);
        let complete = unit.is_complete();
        let (progress, bad) = (unit.progress(), unit.failure_budget());
        assert_eq!(progress.total, self.sites.len());
        self.unit = Some(unit);
        for Admission { cluster, unjudged } in admissions {
            if self.crashes(3) {
                return self.crash();
            }
            if !goes_back {
                let failures = self.failures(number);
                assert!(failures <= bad, "L2: {failures} of {bad}");
                let stage = self.sites[&cluster].stage;
                let asked = self.asks && stage == 1;
                assert!(!asked || self.approvals.contains(&(number, stage)), "L3: {stage} of {number}");
            }
            assert!(self.records.contains_key(&number) && !self.paused && ready, "L3");
            self.send(&cluster, self.first(&cluster, number, unjudged));
            self.no_more_than_the_stage_allows(&cluster);
        }
        if self.read_anew(ready) {
            self.tidy(number, joining, complete);
        }
    }

    /// What comes with a version reads what is so now.
    fn first(&self, cluster: &ClusterName, version: u64, unjudged: bool) -> Mirror {
        let read = self.sites[cluster].labels;
        Mirror { version, since: self.now, unjudged, read, anew: None, ill: false }
    }

    fn no_more_than_the_stage_allows(&self, cluster: &ClusterName) {
        let stage = self.sites[cluster].stage;
        let under_way = self.sites.values().filter(|s| s.stage == stage && s.is_on_the_way(self)).count();
        // What goes back to a stable version counts from the moment that it is sent.
        let limit = self.max[stage] as usize;
        assert!(under_way <= limit, "L1: {under_way} of {limit}");
    }

    /// What changed of clusters is read in their turn. Whether the hub lives on.
    fn read_anew(&mut self, ready: bool) -> bool {
        let Some(mut unit) = self.unit.take() else { return true };
        for (name, site) in &self.sites {
            unit.put(name, self.seen(site), self.now);
        }
        let (turns, budget) = (unit.read_anew(ready), unit.failure_budget());
        self.unit = Some(unit);
        for Admission { cluster, unjudged } in turns {
            if self.crashes(3) {
                self.crash();
                return false;
            }
            assert!(!self.paused && ready, "L3");
            let harmed = |s: &&Site| {
                let judged = s.mirror.is_some_and(|m| m.anew.is_some() && !m.ill) && s.sent.is_none();
                judged && s.contact != Contact::Lost && s.condition == Condition::Error
            };
            let is_ill = !matches!(self.sites[&cluster].condition, Condition::Active(_));
            let failures = self.sites.values().filter(harmed).count();
            assert!(failures <= budget || is_ill, "L2: {failures} of {budget}");
            let Some(runs) = self.sites[&cluster].sent.or(self.sites[&cluster].mirror) else { continue };
            let read = self.sites[&cluster].labels;
            self.send(&cluster, Mirror { read, anew: Some(self.now), ill: unjudged, ..runs });
            self.no_more_than_the_stage_allows(&cluster);
        }
        true
    }

    /// Whoever came gets the stable version; what is completed is marked, and what nobody needs goes.
    fn tidy(&mut self, number: u64, joining: Vec<ClusterName>, complete: bool) {
        for cluster in joining {
            let Some(stable) = versions::stable(&self.records).map(|v| v.number) else { continue };
            assert!(self.sites[&cluster].mirror.is_none(), "L6");
            self.send(&cluster, self.first(&cluster, stable, false));
        }
        if complete && let Some(record) = self.records.get_mut(&number) {
            record.stable = true;
        }
        let all = self.sites.values().flat_map(|s| s.calls.iter().map(|c| c.mirror.version));
        let run: BTreeSet<u64> =
            all.chain(self.sites.values().filter_map(|s| Some(s.mirror?.version))).collect();
        for number in versions::needless(&self.records, number, || Some(run)) {
            self.records.remove(&number);
        }
        for site in self.sites.values() {
            let runs = site.mirror.is_none_or(|m| self.records.contains_key(&m.version));
            assert!(runs, "L7: {:?}", site.mirror);
        }
    }

    fn failures(&self, target: u64) -> usize {
        let failed = |s: &&Site| {
            let at_target = s.mirror.is_some_and(|m| m.version == target && !m.unjudged) && s.sent.is_none();
            at_target && s.contact != Contact::Lost && s.condition == Condition::Error
        };
        self.sites.values().filter(failed).count()
    }

    /// Without those that are out of reach the same would be admitted, but for a stage that was not reached at all.
    fn deferred_do_not_matter(&self, unit: &Unit, admissions: &[Admission]) {
        let mut without = unit.clone();
        let out: Vec<_> = self.sites.iter().filter(|(_, s)| s.contact == Contact::Lost).collect();
        let unreached = |stage: usize| {
            self.sites.values().filter(|s| s.stage == stage).all(|s| s.contact == Contact::Lost)
        };
        let target = self.target();
        // A stage that was begun stays open, whoever of it is within reach.
        let begun = out.iter().any(|(_, s)| s.sent.or(s.mirror).is_some_and(|m| m.version == target));
        if begun || out.iter().any(|(_, s)| unreached(s.stage)) {
            return;
        }
        for (name, _) in out {
            without.drop(name);
        }
        assert_eq!(without.admit(self.now >= self.began + QUIET), admissions, "L4");
    }

    /// Nothing befalls them any more.
    fn settles(&mut self) {
        self.wanted = 7;
        (self.paused, self.calm) = (false, true);
        for name in self.sites.keys().cloned().collect::<Vec<_>>() {
            let Some(site) = self.sites.get_mut(&name) else { continue };
            (site.reachable, site.labels) = (true, 7);
            site.contact = Contact::Ready(self.now);
        }
        for _ in 0..400 {
            self.now += 10;
            for _ in 0..self.sites.len() * 2 {
                self.lives(0);
            }
            let target = self.target();
            self.approvals.extend((0..STAGES).map(|stage| (target, stage)));
            self.lands();
            self.step();
            self.connects();
        }
        let unit = self.unit.as_ref().unwrap();
        let said = unit.progress();
        assert!(
            self.sites.is_empty() || said.reason == Reason::Complete,
            "it converges: {said:?} {:?}",
            self.sites
        );
        for site in self.sites.values() {
            let content = site.mirror.and_then(|m| self.records.get(&m.version)).map(|v| *v.content);
            assert_eq!((content, site.mirror.map(|m| m.read)), (Some(7), Some(7)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: stories(), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_rollout_keeps_its_laws_whatever_befalls_it(seed in any::<u64>()) {
        tell(seed);
    }
}

#[test]
fn stories_that_went_wrong_once() {
    // A cluster that went out of reach before it answered had begun its stage.
    tell(6_232_214_752_645_747_215);
    // An edit, and its revert: a cluster that had been ill before is at the target again, by a lower number.
    tell(14_480_887_031_642_366_553);
}

/// `KRO_HUB_SEED` is the first seed, `KRO_HUB_SEEDS` how many.
#[test]
fn the_stories_that_are_asked_for() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let Some(first) = number("KRO_HUB_SEED") else { return };
    for seed in first..first.saturating_add(number("KRO_HUB_SEEDS").unwrap_or(1)) {
        tell(seed);
    }
}

fn tell(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..120 {
        world.happens();
    }
    world.settles();
}

/// `KRO_HUB_STEPS` asks for more of them.
fn stories() -> u32 {
    let steps = std::env::var("KRO_HUB_STEPS").ok().and_then(|steps| steps.parse::<u32>().ok());
    steps.map_or(300, |steps| (steps / 100).max(50))
}
