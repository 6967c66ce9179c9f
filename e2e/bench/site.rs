//! Where one variant runs: fresh API servers and one controller.

use super::workload::{INSTANCES, NAMESPACE, RGDS, definition};
use crate::env::api::Api;
use crate::env::controller::{Controller, Options};
use crate::env::kro::Kro;
use crate::env::{Environment, Programs, eventually};
use anyhow::{Context, Result};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Kro,
    KroTuned,
    Local,
    Fail,
    Adopt,
    Replay,
    Fleet,
    Crds,
    Memory,
    Overloaded,
    IdleSpokes,
    Isolation,
    Large,
    Rollout,
    People,
}

impl Variant {
    pub const ALL: [Self; 15] = [
        Self::Kro,
        Self::KroTuned,
        Self::Local,
        Self::Fail,
        Self::Adopt,
        Self::Replay,
        Self::Fleet,
        Self::Crds,
        Self::Memory,
        Self::Overloaded,
        Self::IdleSpokes,
        Self::Isolation,
        Self::Large,
        Self::Rollout,
        Self::People,
    ];

    /// Those that are compared with each other, value by value.
    pub const COMPARED: [Self; 6] =
        [Self::Kro, Self::KroTuned, Self::Local, Self::Fail, Self::Adopt, Self::Replay];

    /// Too long for a quick look.
    pub fn is_long(self) -> bool {
        matches!(
            self,
            Self::Crds | Self::Large | Self::Rollout | Self::Isolation | Self::Overloaded | Self::People
        )
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Kro => "kro",
            Self::KroTuned => "kro-tuned",
            Self::Local => "local",
            Self::Fail => "fail",
            Self::Adopt => "adopt",
            Self::Replay => "replay",
            Self::Fleet => "fleet",
            Self::Crds => "crds",
            Self::Memory => "memory",
            Self::Overloaded => "overloaded",
            Self::IdleSpokes => "idle-spokes",
            Self::Isolation => "isolation",
            Self::Large => "fleet-1000",
            Self::Rollout => "rollout",
            Self::People => "people",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Kro => "kro 0.9.4",
            Self::KroTuned => "kro 0.9.4, 20 workers, no client limits",
            Self::Local => "kro-hub, instances on the hub itself",
            Self::Fail => "kro-hub, one spoke, policy Fail",
            Self::Adopt => "kro-hub, one spoke, policy Adopt",
            Self::Replay => "replay of kro-hub's writes, no logic",
            Self::Fleet => "kro-hub, many real spokes",
            Self::Crds => "kro-hub, 900 CRDs and 60 definitions, the hub and two spokes",
            Self::Memory => "kro-hub, memory at rest, the hub and two spokes",
            Self::Overloaded => "kro-hub, two spokes and an overloaded machine",
            Self::IdleSpokes => "kro-hub, simulated spokes with little on them",
            Self::Isolation => "kro-hub, a third of the spokes silent",
            Self::Large => "kro-hub, a large simulated fleet",
            Self::Rollout => "kro-hub, a change travels over a large simulated fleet, a third of it silent",
            Self::People => "kro-hub, what people wait for on the command line",
        }
    }

    /// Cluster that instances go to, when it is not the hub itself.
    pub fn spoke(self) -> Option<&'static str> {
        matches!(self, Self::Fail | Self::Adopt).then_some("spoke")
    }

    pub fn clusters(self) -> Vec<&'static str> {
        std::iter::once("hub").chain(self.spoke()).collect()
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

/// Whoever reconciles.
pub enum Manager {
    Kro(Kro),
    Hub(Controller),
}

impl Manager {
    pub fn pid(&self) -> u32 {
        match self {
            Self::Kro(kro) => kro.pid(),
            Self::Hub(hub) => hub.pid(),
        }
    }

    pub fn log_tail(&self) -> String {
        match self {
            Self::Kro(kro) => kro.log_tail(6),
            Self::Hub(hub) => hub.log_tail(6),
        }
    }

    fn terminate(self) -> Result<()> {
        match self {
            Self::Kro(kro) => kro.terminate(),
            Self::Hub(hub) => hub.terminate(),
        }
    }
}

/// Clusters with the controller of a variant.
pub struct Site {
    // It ends before the clusters do.
    pub manager: Option<Manager>,
    pub env: Environment,
    pub variant: Variant,
}

impl Site {
    /// Starts everything; instances may be created once a definition is there.
    pub fn start(variant: Variant, dir: &Path, programs: Programs) -> Result<Self> {
        let env = Environment::start_with(dir, &variant.clusters(), programs)?;
        let mut site = Self { manager: None, env, variant };
        site.start_manager()?;
        match variant {
            Variant::Local | Variant::Replay => {
                let local = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster",
                    "metadata": {"name": "local"}, "spec": {"local": true}});
                // A kind is served a moment after its CRD is established.
                eventually(PATIENCE, "the Cluster local is created", || {
                    site.hub().post("/apis/hub.kro.run/v1alpha1/clusters", &local)
                })?;
                site.env.wait_cluster_ready("hub", "local", PATIENCE)?;
            }
            Variant::Fail | Variant::Adopt => {
                site.env.register("hub", "spoke", &[])?;
                site.env.wait_cluster_ready("hub", "spoke", PATIENCE)?;
            }
            _ => {}
        }
        Ok(site)
    }

    pub fn hub(&self) -> &Api {
        self.env.api("hub")
    }

    /// Where the children are.
    pub fn home(&self) -> &Api {
        self.env.api(self.variant.spoke().unwrap_or("hub"))
    }

    pub fn start_manager(&mut self) -> Result<()> {
        self.manager = Some(match self.variant {
            Variant::Kro => Manager::Kro(Kro::start(&self.env, "hub", &[])?),
            Variant::KroTuned => Manager::Kro(Kro::start(&self.env, "hub", &tuned())?),
            _ => Manager::Hub(Controller::start(&self.env, Options::default())?),
        });
        Ok(())
    }

    /// Ends it in good order.
    pub fn stop_manager(&mut self) -> Result<()> {
        self.manager.take().map_or(Ok(()), Manager::terminate)
    }

    pub fn server_pids(&self) -> Result<Vec<u32>> {
        self.variant.clusters().iter().map(|name| self.env.server_pid(name)).collect()
    }

    pub fn log_tail(&self) -> String {
        self.manager.as_ref().map(Manager::log_tail).unwrap_or_default()
    }
}

/// Registers spokes, and makes the kind of the bench; returns once all are ready and it is served.
pub fn stand<S: AsRef<str>>(
    env: &Environment,
    spokes: &[S],
    variant: Variant,
    patience: Duration,
) -> Result<()> {
    let hub = env.api("hub");
    for spoke in spokes {
        env.register("hub", spoke.as_ref(), &[])?;
    }
    for spoke in spokes {
        env.wait_cluster_ready("hub", spoke.as_ref(), patience)?;
    }
    hub.post("/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}}))?;
    hub.post(RGDS, &definition("bench", "Bench", variant))?;
    eventually(patience, "the kind is served", || hub.get(INSTANCES)?.context("not yet")).map(drop)
}

/// As fast as kro goes: twenty workers everywhere, and no limit of its own.
fn tuned() -> Vec<String> {
    let flags = [
        ("client-qps", 10_000),
        ("client-burst", 10_000),
        ("dynamic-controller-concurrent-reconciles", 20),
        ("resource-graph-definition-concurrent-reconciles", 20),
        ("graph-revision-concurrent-reconciles", 20),
        ("dynamic-controller-rate-limiter-rate-limit", 10_000),
        ("dynamic-controller-rate-limiter-burst-limit", 10_000),
    ];
    flags.iter().map(|(flag, value)| format!("--{flag}={value}")).collect()
}
