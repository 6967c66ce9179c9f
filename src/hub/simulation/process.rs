//! One run of the controller, from its start to its end or its death.

use super::host::SimulatedHost;
use super::network::Network;
use crate::api::cluster::ChildNamespaces;
use crate::graph::Options;
use crate::hub::run::{RunError, run_with};
use crate::hub::{LeaseTimes, Settings};
use crate::metrics::Metrics;
use crate::reconcile::fleet::placement::DefaultPlacement;
use crate::spoke::client::HubClient;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub const HUB_NAMESPACE: &str = "kro-hub";
pub const TIMES: LeaseTimes = LeaseTimes {
    duration: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry_period: Duration::from_secs(2),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessId(pub u32);

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

pub struct Process {
    pub id: ProcessId,
    pub host: Arc<SimulatedHost>,
    stop: CancellationToken,
    run: AbortOnDropHandle<Result<(), RunError>>,
}

impl Process {
    pub fn start(id: ProcessId, network: &Arc<Network>, seed: u64) -> Self {
        let host = Arc::new(SimulatedHost::new(id, network.clone(), seed));
        let (metrics, stop) = (Metrics::default(), CancellationToken::new());
        let config = Arc::new(kube::Config::new(network.hub_uri()));
        let client = HubClient::of(config, metrics.clone(), host.clone()).unwrap();
        let run = AbortOnDropHandle::new(tokio::spawn(run_with(settings(), client, metrics, stop.clone())));
        Self { id, host, stop, run }
    }

    /// Why it ended, if it did.
    pub async fn ended(&mut self) -> Option<String> {
        if !self.run.is_finished() {
            return None;
        }
        Some(match (&mut self.run).await {
            Ok(Ok(())) => "it returned".into(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        })
    }

    /// As SIGTERM.
    pub async fn stop(self) {
        self.stop.cancel();
        drop(tokio::time::timeout(Duration::from_secs(20), self.run).await);
    }

    /// As SIGKILL. What it left running cannot be heard any more.
    pub fn kill(self, network: &Network) {
        network.die(self.id);
        self.stop.cancel();
    }
}

fn settings() -> Settings {
    Settings {
        kubeconfig: None,
        context: None,
        namespace: HUB_NAMESPACE.into(),
        cluster_namespaces: vec![HUB_NAMESPACE.into()],
        default_placement: DefaultPlacement::Local,
        local_child_namespaces: ChildNamespaces::default(),
        hub_id: None,
        upgrade_crds: false,
        allow_crd_deletion: false,
        max_graph_revisions: 5,
        compile: Options::default(),
        lease: TIMES,
        metrics_address: None,
        metrics_secure: false,
        health_address: None,
        step_threads: 1,
    }
}
