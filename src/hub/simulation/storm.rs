//! A storm from its seed to its verdict; and a failing one made small.

use super::act::{self, Act, Timed};
use super::network::{Doom, HUB};
use super::process::{Process, ProcessId};
use super::rest;
use super::trace::{Trace, is_loud};
use super::weather::Weather;
use super::world::World;
use crate::api::maps;
use crate::hub::machines::random::Random;
use apiserver_model::serve::Shared;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// An hour: the storm, then calm, then everything is removed.
const STORMY: Duration = Duration::from_secs(35 * 60);
const CALM: Duration = Duration::from_secs(15 * 60);
/// So long nothing is written any more before the end of the calm.
const QUIET: u64 = 120_000;
/// A cluster that is out of reach for so long is said to be.
const LOST_AFTER: Duration = Duration::from_secs(120);
/// The longest that a request may be under way, and a watch: each has a limit on the client's side.
const CALL_LIMIT: Duration = Duration::from_secs(16);
const WATCH_LIMIT: Duration = Duration::from_secs(330);
/// After trouble everything shows what it is.
const SHOWN: u64 = 60_000;
const CLEARED: Duration = Duration::from_secs(10 * 60);

/// What a run came to.
#[derive(Debug)]
pub struct Verdict {
    pub bad: Vec<String>,
    pub print: u64,
    pub requests: u64,
    pub writes: u64,
    /// Versions that came to clusters.
    pub landings: usize,
    pub tail: String,
}

/// What happens by itself, later.
#[derive(Debug)]
enum Due {
    /// Whether the site could not be reached at all until now, and the hub could, by one and the same process.
    Fair {
        site: String,
        was_out_of_reach: Option<u32>,
    },
    Start,
    Hear(ProcessId),
    EndToken(String, u64),
    SwapBack(String),
    Register(String),
    /// Somebody looks after what waits for people.
    Tend,
}

struct Storm {
    world: World,
    seed: u64,
    processes: Vec<Process>,
    /// Since when no process runs.
    nobody_since: Option<u64>,
    started: u32,
    /// At which time of the run, in order of time and number.
    due: BTreeMap<(u64, u64), Due>,
    numbers: u64,
    /// Rises with all that may keep a controller from saying what it knows of a cluster.
    disturbed: u32,
    swapped: BTreeMap<String, Shared>,
    restart: Duration,
    /// Processes that ended by themselves, for no reason that they may have.
    ends: Vec<String>,
}

/// What storms are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Instances say where they go.
    Plain,
    /// Placements do, and changes travel by stages.
    Steered,
}

impl Sort {
    pub fn spokes(self, seed: u64) -> Vec<String> {
        let least = if self == Self::Plain { 1 } else { 3 };
        let number = least + Random::new(seed).below(3);
        (1..=number).map(|n| format!("c{n}")).collect()
    }

    /// The acts of a seed.
    pub fn acts(self, seed: u64) -> Vec<Timed> {
        let random = &mut Random::new(seed ^ 0x5704);
        match self {
            Self::Plain => act::random(random, &self.spokes(seed), STORMY),
            Self::Steered => act::steered(random, &self.spokes(seed), STORMY),
        }
    }
}

/// Runs a storm.
pub fn run(sort: Sort, seed: u64, acts: Vec<Timed>, loud: bool) -> Verdict {
    alone(seed, move || Storm::blow(sort, seed, acts, loud)).unwrap_or_else(|panic| Verdict {
        bad: vec![panic],
        print: 0,
        requests: 0,
        writes: 0,
        landings: 0,
        tail: String::new(),
    })
}

/// What is seen once everything is calm after these acts. A complaint of users or a broken law stands for it.
pub fn at_rest<T: Send + 'static>(
    sort: Sort,
    seed: u64,
    acts: Vec<Timed>,
    look: fn(&World) -> T,
) -> Result<T, Vec<String>> {
    let (seen, bad) = with_complaints(sort, seed, acts, look)?;
    if bad.is_empty() { Ok(seen) } else { Err(bad) }
}

/// The same, and what users complain of.
pub fn with_complaints<T: Send + 'static>(
    sort: Sort,
    seed: u64,
    acts: Vec<Timed>,
    look: fn(&World) -> T,
) -> Result<(T, Vec<String>), Vec<String>> {
    let seen = alone(seed, move || async move {
        let mut storm = Storm::new(sort, seed, is_loud());
        storm.begin().await?;
        storm.storm(acts).await;
        let bad = [storm.broken(), rest::complaints(&storm.world)].concat();
        Ok((look(&storm.world), bad))
    });
    seen.unwrap_or_else(|panic| Err(vec![panic]))
}

/// Runs it in a thread of its own, which has a stack that is deep enough for any expression, and time that obeys.
///
/// # Errors
/// It panicked, with these words.
fn alone<F: Future>(seed: u64, make: impl FnOnce() -> F + Send + 'static) -> Result<F::Output, String>
where
    F::Output: Send + 'static,
{
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
        maps::repeat(seed);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let local = tokio::task::LocalSet::new();
        let output = local.block_on(&runtime, make());
        drop(local);
        runtime.shutdown_background();
        output
    });
    thread.unwrap().join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
        format!("panicked: {}", text.unwrap_or_default())
    })
}

/// The fewest acts of a failing storm that fail still.
pub fn minimised(sort: Sort, seed: u64, acts: Vec<Timed>) -> Vec<Timed> {
    let mut acts = acts;
    let mut size = acts.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < acts.len() {
            let mut fewer = acts.clone();
            fewer.drain(at..(at + size).min(acts.len()));
            if run(sort, seed, fewer.clone(), false).bad.is_empty() {
                at += size;
            } else {
                acts = fewer;
            }
        }
        size /= 2;
    }
    acts
}

impl Storm {
    fn new(sort: Sort, seed: u64, loud: bool) -> Self {
        let world = World::new(seed, &sort.spokes(seed), Trace::new(loud), sort == Sort::Steered);
        Self {
            world,
            seed,
            processes: Vec::new(),
            nobody_since: None,
            started: 0,
            due: BTreeMap::new(),
            numbers: 0,
            disturbed: 0,
            swapped: BTreeMap::new(),
            restart: Duration::ZERO,
            ends: Vec::new(),
        }
    }

    async fn blow(sort: Sort, seed: u64, acts: Vec<Timed>, loud: bool) -> Verdict {
        let mut storm = Self::new(sort, seed, loud);
        let mut bad = storm.course(acts).await;
        let network = storm.world.network.clone();
        bad.extend(network.laws.lock().unwrap().breaches.clone());
        let (trace, laws) = (network.trace.lock().unwrap(), network.laws.lock().unwrap());
        let landings = laws.pairs.landings.values().map(Vec::len).sum();
        let (print, requests, writes) = (trace.print(), trace.lines, laws.writes);
        Verdict { bad, print, requests, writes, landings, tail: trace.tail() }
    }

    /// The first ten seconds.
    ///
    /// # Errors
    /// The controller does not serve the definition by then.
    async fn begin(&mut self) -> Result<(), Vec<String>> {
        self.start();
        self.until(5_000).await;
        self.world.register_hub();
        self.world.define(1);
        self.until(10_000).await;
        if self.world.serves() {
            return Ok(());
        }
        let rgd = self.world.get(HUB, &format!("{}/shop", super::wishes::RGDS)).unwrap_or_default();
        Err(vec![format!("ten seconds after its start the controller does not serve it: {}", rgd["status"])])
    }

    /// The acts, and the calm after them; nothing more once a law is broken.
    async fn storm(&mut self, acts: Vec<Timed>) {
        let begin = self.now();
        for (at, act) in acts {
            self.until(begin + millis(at)).await;
            if !self.broken().is_empty() {
                return;
            }
            self.world.network.say(&format!("-- {act:?}"));
            self.act(act).await;
        }
        self.until(begin + millis(STORMY)).await;
        self.calm();
        let calm_until = self.now() + millis(CALM);
        self.until(calm_until).await;
    }

    async fn course(&mut self, acts: Vec<Timed>) -> Vec<String> {
        if let Err(bad) = self.begin().await {
            return bad;
        }
        let network = self.world.network.clone();
        let streams = network.streams();
        self.storm(acts).await;
        if !self.broken().is_empty() {
            return Vec::new();
        }
        let mut bad = std::mem::take(&mut self.ends);
        bad.extend(rest::complaints(&self.world));
        if self.world.steered && bad.is_empty() {
            bad.extend(self.a_restart_writes_nothing().await);
        }
        let last = self.world.network.laws.lock().unwrap().last_write;
        if last + QUIET > self.now() {
            bad.push(format!("it still writes: the last time at {:.3}", last as f64 / 1_000.0));
        }
        if !bad.is_empty() {
            return bad;
        }
        for (what, limit) in [("call", CALL_LIMIT), ("watch", WATCH_LIMIT)] {
            let longest = network.longest(what);
            if longest > limit {
                bad.push(format!("a {what} was under way for {longest:?}"));
            }
        }
        self.world.clear();
        let cleared = self.now() + millis(CLEARED);
        self.until(cleared).await;
        bad.extend(rest::complaints(&self.world));

        // On each site four kinds may be watched on: what was there may come again.
        let most = streams + 4 * self.world.sites().len() as u64;
        if network.streams() > most {
            bad.push(format!(
                "{} requests and watches are under way, {streams} were at first",
                network.streams()
            ));
        }
        bad.extend(self.world.instances().iter().map(|i| format!("{} is still there: {}", i.name(), i.0)));
        bad
    }

    /// L12: who starts again where everything is at rest writes nothing.
    async fn a_restart_writes_nothing(&mut self) -> Option<String> {
        let written = |this: &Self| this.world.network.laws.lock().unwrap().writes;
        let before = written(self);
        for process in std::mem::take(&mut self.processes) {
            process.kill(&self.world.network);
        }
        self.start();
        let until = self.now() + QUIET + 30_000;
        self.until(until).await;
        let after = written(self);
        let last = &self.world.network.laws.lock().unwrap().last_written;
        (after != before)
            .then(|| format!("L12: {} writes after a restart at rest, the last: {last}", after - before))
    }

    fn broken(&self) -> Vec<String> {
        self.world.network.laws.lock().unwrap().breaches.clone()
    }

    fn now(&self) -> u64 {
        self.world.network.clock.millis()
    }

    fn later(&mut self, after: Duration, due: Due) {
        self.numbers += 1;
        self.due.insert((self.now() + millis(after), self.numbers), due);
    }

    /// Lets time go by, up to this time of the run.
    async fn until(&mut self, until: u64) {
        loop {
            self.bury();
            let ends = self.restart_ended().await;
            self.ends.extend(ends);
            let next = self.due.keys().next().copied().filter(|(at, _)| *at <= until);
            let at = next.map_or(until, |(at, _)| at);
            let now = self.now();
            if at > now {
                // In pieces: who fell meanwhile is buried, and started again.
                let piece = (at - now).min(500);
                tokio::time::sleep(Duration::from_millis(piece)).await;
                continue;
            }
            match next {
                Some(key) => {
                    let due = self.due.remove(&key).unwrap();
                    self.on(due);
                }
                None => return,
            }
        }
    }

    fn on(&mut self, due: Due) {
        self.world.network.say(&format!("-- {due:?}"));
        match due {
            Due::Fair { site, was_out_of_reach } => {
                if was_out_of_reach == Some(self.disturbed) && self.world.is_ready(&site) {
                    self.ends.push(format!("{site} is out of reach, and its Cluster is Ready"));
                }
                self.world.network.weather(&site, Weather::Fair);
            }
            Due::Start => self.start(),
            Due::Hear(process) => self.world.network.cut_off(process, false),
            Due::EndToken(site, number) => self.world.end_token(&site, number),
            Due::SwapBack(site) => {
                if let Some(old) = self.swapped.remove(&site) {
                    self.world.swap_back(&site, old);
                }
            }
            Due::Tend => {
                self.world.tend();
                self.later(Duration::from_secs(20), Due::Tend);
            }
            // Whoever answered would be the cluster from then on.
            Due::Register(site) if self.swapped.contains_key(&site) => {
                self.later(Duration::from_secs(10), Due::Register(site));
            }
            Due::Register(site) => {
                self.world.register(&site);
                self.world.wants();
            }
        }
    }

    fn start(&mut self) {
        self.disturbed += 1;
        if self.processes.len() >= 2 {
            return;
        }
        self.started += 1;
        let now = self.now();
        let mut laws = self.world.network.laws.lock().unwrap();
        laws.history.starts.push(now);
        // What happened while nobody looked is decided now.
        if let Some(since) = self.nobody_since.take() {
            laws.history.blind(since, now + SHOWN);
        }
        drop(laws);
        let id = ProcessId(self.started);
        self.processes.push(Process::start(id, &self.world.network, self.seed));
    }

    /// Takes a process out.
    fn take(&mut self, at: usize) -> Process {
        let process = self.processes.remove(at);
        if self.processes.is_empty() {
            self.nobody_since = Some(self.now());
        }
        process
    }

    /// Those that died at a write are gone, and come back.
    fn bury(&mut self) {
        for fallen in self.world.network.take_fallen() {
            if let Some(at) = self.processes.iter().position(|p| p.id == fallen) {
                self.take(at).kill(&self.world.network);
                self.later(self.restart, Due::Start);
            }
        }
    }

    /// A controller that ends by itself is started again, as a kubelet does it. It may end only because the hub refused
    /// what it needs for its start.
    async fn restart_ended(&mut self) -> Vec<String> {
        let (mut bad, mut at) = (Vec::new(), 0);
        while at < self.processes.len() {
            let Some(why) = self.processes[at].ended().await else {
                at += 1;
                continue;
            };
            self.world.network.say(&format!("-- {} ended: {why}", self.processes[at].id));
            if !why.contains("the weather is bad") {
                bad.push(format!("{} ended: {why}", self.processes[at].id));
            }
            self.take(at).kill(&self.world.network);
            self.later(Duration::from_secs(10), Due::Start);
        }
        bad
    }

    fn calm(&mut self) {
        self.world.network.say("-- calm");
        self.world.network.doom(None);
        self.bury();
        let (starts, due): (Vec<Due>, Vec<Due>) =
            std::mem::take(&mut self.due).into_values().partition(|due| matches!(due, Due::Start));
        let (registers, due): (Vec<Due>, Vec<Due>) =
            due.into_iter().partition(|due| matches!(due, Due::Register(_)));
        drop(starts);
        due.into_iter().chain(registers).for_each(|due| self.on(due));
        for site in self.world.sites() {
            self.world.network.weather(&site, Weather::Fair);
        }
        self.world.network.reconnect_all();
        if self.processes.is_empty() {
            self.start();
        }
        if self.world.steered {
            self.world.settle();
            self.later(Duration::from_secs(20), Due::Tend);
        }
    }

    /// Whether one process leads, and nothing stands between it and the hub.
    fn is_calm_at_the_hub(&self) -> bool {
        let one = self.processes.len() == 1 && self.world.network.is_fair(HUB);
        one && !self.due.values().any(|due| matches!(due, Due::Start | Due::Hear(_)))
    }

    async fn act(&mut self, act: Act) {
        // All but what users and others do to objects.
        let harmless = matches!(
            act,
            Act::Create { .. }
                | Act::Edit { .. }
                | Act::Place { .. }
                | Act::Delete { .. }
                | Act::ChildDeleted { .. }
                | Act::ChildEdited { .. }
                | Act::Weather { .. }
                | Act::Steer { .. }
                | Act::Unsteer { .. }
                | Act::Approve { .. }
                | Act::Withdraw { .. }
                | Act::Pause { .. }
                | Act::Pin { .. }
                | Act::Acknowledge
        );
        self.disturbed += u32::from(!harmless);
        self.note_trouble(&act);
        match act {
            Act::Create { name, wish, words } => self.world.create(&name, &wish, &words),
            Act::Edit { name, wish } => self.world.edit(&name, &wish),
            Act::Place { name, words } => self.world.place(&name, &words),
            Act::Delete { name } => self.world.delete(&name),
            Act::ByHand { method, path, body } => {
                self.world.must(HUB, method, &path, &body);
                self.world.wants();
            }
            Act::Revise => self.world.define(self.world.revision() + 1),
            Act::ChildDeleted { site, pick } => self.meddle(&site, pick, false, "DELETE"),
            Act::ChildEdited { site, pick } => self.meddle(&site, pick, false, "PATCH"),
            Act::MirrorDeleted { site, pick } => self.meddle(&site, pick, true, "DELETE"),
            Act::Weather { site, weather, lasting } => {
                let lost = matches!(weather, Weather::Silent | Weather::Refused) && lasting >= LOST_AFTER;
                self.disturbed += 1;
                let watched = lost && site != HUB && self.is_calm_at_the_hub() && self.world.is_ready(&site);
                let was_out_of_reach = watched.then_some(self.disturbed);
                self.world.network.weather(&site, weather);
                self.later(lasting, Due::Fair { site, was_out_of_reach });
            }
            Act::Cut { site } => self.world.network.cut_lines(&site),
            Act::Compact { site } => {
                self.world.network.shared(&site).with(|server| server.forget_history());
                self.world.network.cut_lines(&site);
            }
            Act::Kill { restart } => {
                if !self.processes.is_empty() {
                    self.take(0).kill(&self.world.network);
                    self.later(restart, Due::Start);
                }
            }
            Act::KillAtWrite { after, at, done, restart } => {
                self.restart = restart;
                self.world.network.doom(Some(Doom { after, at, done }));
            }
            Act::Stop { restart } => {
                if !self.processes.is_empty() {
                    self.take(0).stop().await;
                    self.later(restart, Due::Start);
                }
            }
            Act::Standby => self.start(),
            Act::CutOff { lasting } => {
                if let Some(id) = self.processes.first().map(|p| p.id) {
                    self.world.network.cut_off(id, true);
                    self.later(lasting, Due::Hear(id));
                }
            }
            Act::Sleep { millis } => {
                if let Some(process) = self.processes.first() {
                    process.host.sleep(millis);
                    let now = self.world.network.clock.millis();
                    self.world.network.laws.lock().unwrap().slept.push((process.id, now, millis));
                }
            }
            Act::Rotate { site, grace } => {
                let old = self.world.rotate(&site);
                self.later(grace, Due::EndToken(site, old));
            }
            Act::Swap { site, lasting } => {
                if !self.swapped.contains_key(&site) {
                    let old = self.world.swap(&site);
                    self.swapped.insert(site.clone(), old);
                    self.later(lasting, Due::SwapBack(site));
                }
            }
            Act::Deregister { site, again } => {
                self.world.deregister(&site);
                self.world.wants();
                self.later(again, Due::Register(site));
            }
            Act::Restore => self.world.restore(),
            Act::Steer { policy, of_cluster, spec } => self.world.steer(&policy, of_cluster, &spec),
            Act::Unsteer { policy, of_cluster } => self.world.unsteer(&policy, of_cluster),
            Act::Label { site, key, value } => self.world.label(&site, key, value),
            Act::Taint { site, taints } => self.world.taint(&site, &taints),
            Act::Approve { pick, stage } => self.world.approve(pick, stage),
            Act::Withdraw { pick } => self.world.withdraw(pick),
            Act::Pause { policy, of_cluster, on } => self.world.pause(&policy, of_cluster, on),
            Act::Pin { back } => self.world.pin(back),
            Act::Acknowledge => self.world.acknowledge(),
        }
        self.world.remember();
    }

    /// What makes a controller see late what is so.
    fn note_trouble(&self, act: &Act) {
        let now = self.now();
        let mut laws = self.world.network.laws.lock().unwrap();
        // Some silences are noticed only when a watch is over.
        let weather = |weather: &Weather, lasting: Duration| {
            let quiet = matches!(weather, Weather::Silent | Weather::Watches { .. });
            now + millis(lasting) + if quiet { millis(WATCH_LIMIT) } else { SHOWN }
        };
        match act {
            Act::Weather { site, weather: of, lasting } if site == HUB => {
                laws.history.blind(now, weather(of, *lasting));
            }
            Act::Weather { site, weather: of, lasting } => {
                laws.history.trouble(site, now, weather(of, *lasting));
            }
            Act::Cut { site } | Act::Compact { site } if site == HUB => laws.history.blind(now, now + SHOWN),
            Act::Cut { site } | Act::Compact { site } => laws.history.trouble(site, now, now + SHOWN),
            Act::CutOff { lasting } => laws.history.blind(now, now + millis(*lasting) + SHOWN),
            Act::Sleep { millis } => laws.history.blind(now, now + millis + SHOWN),
            Act::Rotate { site, grace: lasting } | Act::Deregister { site, again: lasting } => {
                laws.history.trouble(site, now, now + millis(*lasting) + SHOWN);
            }
            Act::Swap { site, lasting } => {
                laws.history.trouble(site, now, now + millis(*lasting) + SHOWN);
                laws.fields.forget(site);
            }
            _ => {}
        }
    }

    /// Somebody else deletes or changes what a controller made.
    fn meddle(&mut self, site: &str, pick: usize, mirror: bool, method: &str) {
        let made = self.world.made(site);
        let of_sort: Vec<_> = made.iter().filter(|((plural, _), _)| (*plural == "shops") == mirror).collect();
        if of_sort.is_empty() {
            return;
        }
        let (child, _) = of_sort[pick % of_sort.len()];
        let path = if mirror { format!("{}/{}", super::wishes::SHOPS, child.1) } else { rest::path(child) };
        let body = match method {
            "PATCH" if child.0 == "configmaps" => json!({"data": {"value": "meddled", "more": "more"}}),
            "PATCH" if child.0 == "signs" => json!({"spec": {"text": "meddled"}}),
            "PATCH" => json!({"data": {"of": "eA=="}}),
            _ => json!(null),
        };
        self.world.user(site, method, &path, &body);
        if mirror {
            self.world.forget_kinds(site, &child.1.clone());
        }
        self.world.network.laws.lock().unwrap().disturbed(self.now(), Some(site));
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}
