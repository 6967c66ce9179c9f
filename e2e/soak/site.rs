//! Thirty spokes, two of them real and behind proxies, and what was said to them: it is done here, and compared with what is there.

use super::held::{Held, metric};
use super::plan::{Act, End, INSTANCES, Outage, Plan};
use crate::bench::simulated::changes;
use crate::env::api::Api;
use crate::env::controller::Controller;
use crate::env::simulator::Simulator;
use crate::env::{Programs, eventually};
use crate::faults::{Line, Proxy, When};
use crate::journeys::stand::{PATIENCE, RGDS, Stand, ensure_active, text};
use crate::scratch_folder;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

const REAL: [&str; 2] = ["eu", "us"];
const SIMULATED: u16 = 28;
const KINDS: &str = "/apis/kro.run/v1alpha1/soaks";
const COLLECTION: &str = "/apis/kro.run/v1alpha1/namespaces/soak/soaks";
const DAY: Duration = Duration::from_secs(24 * 3600);
/// For thousands of objects, in a build that is not optimised, beside whatever else the machine does.
const LONG: Duration = Duration::from_secs(900);
/// So long nothing is written: it has settled.
const QUIET: Duration = Duration::from_secs(10);
/// How long it is looked at when it has: longer than the pauses between probes.
const REST: Duration = Duration::from_secs(60);

/// The hub and the real spokes are talked to directly, the controller sees them through proxies.
pub struct Site {
    pub stand: Stand,
    simulator: Simulator,
    spokes: Vec<Spoke>,
    told: Mutex<Told>,
}

struct Spoke {
    name: String,
    api: Api,
    /// Its number in the simulator.
    server: Option<u16>,
}

/// What users said last.
struct Told {
    plan: Plan,
    revision: u64,
    texts: Vec<u64>,
    /// Deleted, and not made again yet.
    away: BTreeSet<usize>,
}

/// What was asked so far.
struct Asked {
    at: Instant,
    simulated: BTreeMap<String, f64>,
}

impl Site {
    pub fn start(seed: u64) -> Result<Self> {
        let stand = Stand::start_through(&["hub", "eu", "us"], "soak", &REAL, Programs::ServerOnly)?;
        let simulator = Simulator::start(&scratch_folder().join("soak-spokes"), SIMULATED)?;
        let real =
            REAL.map(|name| Spoke { name: name.to_owned(), api: stand.api(name).clone(), server: None });
        let simulated = (0..SIMULATED).map(|server| {
            Ok(Spoke { name: format!("s{server:02}"), api: simulator.api(server)?, server: Some(server) })
        });
        let spokes: Vec<Spoke> = real.into_iter().map(Ok).chain(simulated).collect::<Result<_>>()?;
        let told = Told {
            plan: Plan::new(seed, spokes.len()),
            revision: 0,
            texts: vec![0; INSTANCES],
            away: BTreeSet::new(),
        };
        let site = Self { stand, simulator, spokes, told: Mutex::new(told) };
        (REAL.len()..site.spokes.len()).try_for_each(|spoke| site.rotate(spoke))?;
        site.stand.define(&definition(0).to_string())?;
        let bodies: Vec<Value> = (0..INSTANCES).map(|n| site.instance(&site.told(), n)).collect();
        site.stand.api("hub").post_all(COLLECTION, &bodies, 8)?;
        site.right()?;
        Ok(site)
    }

    pub fn spokes(&self) -> usize {
        self.spokes.len()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes by chance, for a time; then whoever is away comes back, and all becomes right.
    pub fn storm(&self, time: Duration, restarts: bool) -> Result<BTreeMap<String, u64>> {
        let mut done: BTreeMap<String, u64> = BTreeMap::new();
        let start = Instant::now();
        while start.elapsed() < time {
            let (pause, act) = self.told().plan.next(restarts);
            sleep(pause);
            self.perform(&act).with_context(|| format!("{act:?}"))?;
            self.make_again()?;
            self.stand.on_controller(Controller::check)?;
            let word = format!("{act:?}");
            *done.entry(word.split('(').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let back = self.told().plan.calm();
        back.iter().try_for_each(|act| self.perform(act))?;
        self.stand.proxies().for_each(Proxy::sweep);
        self.stand.on_controller(Controller::wait_ready)?;
        self.right()?;
        Ok(done)
    }

    fn perform(&self, act: &Act) -> Result<()> {
        let hub = self.stand.api("hub");
        match act {
            Act::Edit(instance) => {
                let mut told = self.told();
                told.texts[*instance] += 1;
                let patch = json!({"spec": {"text": told.texts[*instance].to_string()}});
                if !told.away.contains(instance) {
                    hub.merge_patch(&path(*instance), &patch)?;
                }
            }
            Act::Move(instance, to) => {
                let patch = json!({"metadata": {"annotations": {"hub.kro.run/clusters": self.names(to)}}});
                if !self.told().away.contains(instance) {
                    hub.merge_patch(&path(*instance), &patch)?;
                }
            }
            Act::Replace(instance) => {
                hub.delete(&path(*instance))?;
                self.told().away.insert(*instance);
            }
            Act::Lose(instance, spoke) => self.spokes[*spoke].api.delete(&child(*instance))?,
            Act::Scribble(instance, spoke) => {
                let (api, path) = (&self.spokes[*spoke].api, child(*instance));
                // It may not be there yet, or go at this moment.
                if api.get(&path)?.is_some() {
                    let _gone = api.merge_patch(&path, &json!({"data": {"text": "theirs"}}));
                }
            }
            Act::Revise => {
                let mut told = self.told();
                told.revision += 1;
                hub.merge_patch(&format!("{RGDS}/soak"), &definition(told.revision))?;
            }
            Act::Rotate(spoke) => self.rotate(*spoke)?,
            Act::Down(spoke, how) => self.down(&self.spokes[*spoke], *how)?,
            Act::Up(spoke) => self.up(&self.spokes[*spoke])?,
            Act::CutHub => self.stand.proxy("hub")?.cut(),
            Act::Restart(end) => self.restart(*end)?,
        }
        Ok(())
    }

    /// Those that were deleted and are gone.
    fn make_again(&self) -> Result<()> {
        let mut told = self.told();
        for instance in told.away.clone() {
            if self.stand.api("hub").get(&path(instance))?.is_none() {
                self.stand.api("hub").post(COLLECTION, &self.instance(&told, instance))?;
                told.away.remove(&instance);
            }
        }
        Ok(())
    }

    /// Writes the Secret of a spoke with new credentials.
    pub fn rotate(&self, spoke: usize) -> Result<()> {
        let spoke = &self.spokes[spoke];
        let kubeconfig = match spoke.server {
            None => self.stand.env.least_kubeconfig_of(&spoke.name, "turns", DAY)?,
            Some(server) => {
                self.simulator.turn(server, server)?;
                fs::read_to_string(self.simulator.kubeconfig(server))?
            }
        };
        self.stand.register(&spoke.name, &kubeconfig)
    }

    /// New credentials for all spokes at once, until the controller uses them.
    pub fn rotate_all(&self) -> Result<()> {
        let newest = |name: &str| Ok(self.stand.proxy(name)?.open().last().copied().unwrap_or_default());
        let before: Vec<u64> = REAL.iter().map(|name| newest(name)).collect::<Result<_>>()?;
        (0..self.spokes.len()).try_for_each(|spoke| self.rotate(spoke))?;
        eventually(PATIENCE, "the new credentials are used", || {
            let turned = self.simulator.turned(0, SIMULATED - 1)?;
            ensure!(turned == SIMULATED, "by {turned} of {SIMULATED} simulated spokes");
            for (name, before) in REAL.iter().zip(&before) {
                ensure!(newest(name)? > *before, "not by {name}");
            }
            Ok(())
        })
    }

    fn down(&self, spoke: &Spoke, how: Outage) -> Result<()> {
        let Some(server) = spoke.server else {
            let proxy = self.stand.proxy(&spoke.name)?;
            match how {
                Outage::Refused => proxy.line(Line::Refused)?,
                Outage::Silent => proxy.line(Line::BlackHole)?,
                Outage::HalfOpen => proxy.half_open(),
            }
            return Ok(());
        };
        // The simulator knows one way.
        self.simulator.silence(server, server)
    }

    fn up(&self, spoke: &Spoke) -> Result<()> {
        match spoke.server {
            None => self.stand.proxy(&spoke.name)?.line(Line::Clear),
            Some(server) => self.simulator.speak(server, server),
        }
    }

    pub fn restart(&self, end: End) -> Result<()> {
        match end {
            End::Killed => self.stand.kill_controller(),
            End::Asked => self.stand.end_controller()?,
        }
        self.stand.launch_controller()
    }

    /// Waits until everything is as users said: every child on every spoke, nothing too much and nothing missing.
    pub fn right(&self) -> Result<()> {
        eventually(LONG, "everything is as the instances say", || {
            self.make_again()?;
            self.stand.on_controller(Controller::check)?;
            let told = self.told();
            let on_hub: BTreeMap<String, Value> = named(self.stand.api("hub").list(KINDS)?);
            for instance in 0..INSTANCES {
                let found = on_hub.get(&name(instance)).with_context(|| format!("no {}", name(instance)))?;
                let placed: Vec<&str> = told.plan.places()[instance]
                    .iter()
                    .map(|spoke| self.spokes[*spoke].name.as_str())
                    .collect();
                ensure_active(found, &placed)?;
            }
            ensure!(on_hub.len() == INSTANCES, "{} instances", on_hub.len());
            (0..self.spokes.len()).try_for_each(|spoke| {
                self.right_on(&told, spoke).with_context(|| self.spokes[spoke].name.clone())
            })
        })
    }

    fn right_on(&self, told: &Told, spoke: usize) -> Result<()> {
        let api = &self.spokes[spoke].api;
        let here = || (0..INSTANCES).filter(|n| told.plan.places()[*n].contains(&spoke));
        let same = |what: &str, path: &str, wanted: BTreeMap<String, String>, of: fn(&Value) -> String| {
            // The kind is there once an instance is.
            let found = api.get(path)?.unwrap_or_default()["items"].as_array().cloned().unwrap_or_default();
            let found: BTreeMap<String, String> =
                found.iter().map(|o| (text(o, "/metadata/name"), of(o))).collect();
            let missing: Vec<_> =
                wanted.iter().filter(|(name, as_is)| found.get(*name) != Some(as_is)).collect();
            let too_much: Vec<_> = found.iter().filter(|(name, _)| !wanted.contains_key(*name)).collect();
            ensure!(
                missing.is_empty() && too_much.is_empty(),
                "{what}: not so: {missing:?}; too much: {too_much:?}"
            );
            Ok(())
        };
        let texts = here().map(|n| (name(n), told.texts[n].to_string())).collect();
        same("mirrors", KINDS, texts, |o| text(o, "/spec/text"))?;
        let configs = here().map(|n| (name(n), format!("{} of {}", told.texts[n], told.revision))).collect();
        same("configmaps", &owned("configmaps"), configs, |o| {
            format!("{} of {}", text(o, "/data/text"), text(o, "/data/revision"))
        })?;
        let accounts = here().map(|n| (name(n), String::new())).collect();
        same("serviceaccounts", &owned("serviceaccounts"), accounts, |_| String::new())
    }

    fn settle(&self) -> Result<()> {
        eventually(LONG, "the controller writes nothing", || {
            let before = self.asked()?;
            sleep(QUIET);
            self.no_write_since(&before)
        })
    }

    /// Starts the controller anew while nothing happens: it looks at everything, and writes nothing.
    pub fn rest_afresh(&self) -> Result<Held> {
        self.settle()?;
        let before = self.asked()?;
        self.restart(End::Asked)?;
        self.stand.on_controller(Controller::wait_ready)?;
        eventually(PATIENCE, "all spokes are connected", || {
            let healthy = metric(&self.stand.metrics()?, "kro_hub_cluster_healthy");
            ensure!(healthy == self.spokes.len() as f64, "{healthy} are");
            Ok(())
        })?;
        let held = self.rest()?;
        self.no_write_since(&before).context("a restart at rest")?;
        Ok(held)
    }

    /// Waits until nothing is written, and looks at a minute of that: not one write, and what is held.
    pub fn rest(&self) -> Result<Held> {
        self.settle()?;
        let before = self.asked()?;
        sleep(REST);
        self.no_write_since(&before)?;
        let requests = self.requests_since(&before)? * 60.0 / before.at.elapsed().as_secs_f64();
        self.stand.on_controller(|controller| Held::of(controller, requests))
    }

    fn asked(&self) -> Result<Asked> {
        Ok(Asked { at: Instant::now(), simulated: self.simulated()? })
    }

    fn simulated(&self) -> Result<BTreeMap<String, f64>> {
        let counts = self.simulator.counts(0, SIMULATED - 1)?;
        Ok(counts.into_iter().map(|(what, count)| (format!("spokes {what}"), count)).collect())
    }

    /// The lease aside, which says who leads.
    fn no_write_since(&self, before: &Asked) -> Result<()> {
        let when = When::writes().not_under("/apis/coordination.k8s.io/");
        let real = self.stand.proxies().flat_map(|proxy| proxy.seen(before.at, &when));
        let mut written: Vec<String> =
            real.map(|seen| format!("{} {} {:?}", seen.asked.method, seen.asked.path, seen.status)).collect();
        let now = changes(&self.simulated()?);
        written.extend(now.iter().filter(|(what, count)| before.simulated.get(*what) != Some(count)).map(
            |(what, count)| {
                format!("{what}: {}", count - before.simulated.get(what).copied().unwrap_or_default())
            },
        ));
        ensure!(
            written.is_empty(),
            "{} writes: {:?}",
            written.len(),
            written.iter().take(10).collect::<Vec<_>>()
        );
        Ok(())
    }

    fn requests_since(&self, before: &Asked) -> Result<f64> {
        let real = self.stand.proxies().flat_map(|proxy| proxy.seen(before.at, &When::any()));
        let real = real.filter(|seen| !seen.asked.watches()).count();
        let sum = |counts: &BTreeMap<String, f64>| -> f64 {
            counts.iter().filter(|(what, _)| !what.contains(" WATCH ")).map(|(_, count)| count).sum()
        };
        Ok(real as f64 + sum(&self.simulated()?) - sum(&before.simulated))
    }

    fn names(&self, spokes: &BTreeSet<usize>) -> String {
        if spokes.len() == self.spokes.len() {
            return "*".to_owned();
        }
        spokes.iter().map(|spoke| self.spokes[*spoke].name.as_str()).collect::<Vec<_>>().join(",")
    }

    fn instance(&self, told: &Told, instance: usize) -> Value {
        let placed = self.names(&told.plan.places()[instance]);
        json!({"apiVersion": "kro.run/v1alpha1", "kind": "Soak",
            "metadata": {"name": name(instance), "annotations": {"hub.kro.run/clusters": placed}},
            "spec": {"text": told.texts[instance].to_string()}})
    }
}

/// Two children, the second of which waits for the first.
fn definition(revision: u64) -> Value {
    json!({"apiVersion": "kro.run/v1alpha1", "kind": "ResourceGraphDefinition", "metadata": {"name": "soak"},
    "spec": {"schema": {"apiVersion": "v1alpha1", "kind": "Soak", "spec": {"text": "string"}}, "resources": [
        {"id": "config", "template": {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "${schema.metadata.name}"},
            "data": {"text": "${schema.spec.text}", "revision": revision.to_string()}}},
        {"id": "account", "template": {"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "${config.metadata.name}"}}},
    ]}})
}

fn name(instance: usize) -> String {
    format!("i{instance:03}")
}

fn path(instance: usize) -> String {
    format!("{COLLECTION}/{}", name(instance))
}

fn child(instance: usize) -> String {
    format!("/api/v1/namespaces/soak/configmaps/{}", name(instance))
}

/// In all namespaces.
fn owned(plural: &str) -> String {
    format!("/api/v1/{plural}?labelSelector=kro.run/owned%3Dtrue")
}

fn named(objects: Vec<Value>) -> BTreeMap<String, Value> {
    objects.into_iter().map(|object| (text(&object, "/metadata/name"), object)).collect()
}
