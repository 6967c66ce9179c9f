//! `kro-hub controller`: its flags, and how it starts and stops.

use super::gates::Gates;
use crate::api::cluster::ChildNamespaces;
use crate::graph::Options;
use crate::hub::{LeaseTimes, Settings};
use crate::reconcile::fleet::placement::DefaultPlacement;
use anyhow::Context;
use clap::{Args as ClapArgs, ValueEnum};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Kubeconfig of the hub; without it KUBECONFIG, then the service account of the pod
    #[arg(long, env = "KRO_HUB_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, env = "KRO_HUB_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// Namespace of the controller: its Lease and its ConfigMaps
    #[arg(long, env = "KRO_HUB_NAMESPACE", default_value = "kro-hub", value_name = "NAME")]
    namespace: String,
    /// Namespaces that kubeconfig Secrets are read from [default: the controller's and kro-system]
    #[arg(long, env = "KRO_HUB_CLUSTER_NAMESPACES", value_delimiter = ',', value_name = "NAMES")]
    cluster_namespaces: Vec<String>,
    /// Where an instance goes that says nothing
    #[arg(long, env = "KRO_HUB_DEFAULT_PLACEMENT", value_enum, default_value = "local")]
    default_placement: Placement,
    /// Into which namespaces of the hub itself instances may write their resources: Any, Own, or Own and more, as `Own,logs`
    #[arg(long, env = "KRO_HUB_LOCAL_CHILD_NAMESPACES", default_value = "Any", value_name = "POLICY", value_parser = super::bounds::child_namespaces)]
    local_child_namespaces: ChildNamespaces,
    /// Id of this hub, when it is set up anew and its ConfigMap kro-hub-id is not restored
    #[arg(long, env = "KRO_HUB_ID", value_name = "ID")]
    hub_id: Option<String>,
    /// Add to kro's CRDs what they lack of kro 0.9.4
    #[arg(long, env = "KRO_HUB_UPGRADE_CRDS")]
    upgrade_crds: bool,
    /// Delete the generated CRD on the hub together with its definition
    #[arg(long, env = "KRO_HUB_ALLOW_CRD_DELETION")]
    allow_crd_deletion: bool,
    /// GraphRevisions kept per definition; 0 keeps all
    #[arg(long, env = "KRO_HUB_RGD_MAX_GRAPH_REVISIONS", default_value = "5", value_name = "N")]
    rgd_max_graph_revisions: usize,
    /// Most objects of one collection
    #[arg(long, env = "KRO_HUB_RGD_MAX_COLLECTION_SIZE", default_value = "1000", value_name = "N")]
    rgd_max_collection_size: usize,
    /// Most forEach dimensions of one resource
    #[arg(long, env = "KRO_HUB_RGD_MAX_COLLECTION_DIMENSION_SIZE", default_value = "10", value_name = "N")]
    rgd_max_collection_dimension_size: usize,
    /// kro's feature gates, e.g. `CELOmitFunction=true`
    #[arg(long, env = "KRO_HUB_FEATURE_GATES", default_value = "", value_name = "NAME=BOOL,…")]
    feature_gates: Gates,
    /// Address of /metrics; 0 serves none
    #[arg(long, env = "KRO_HUB_METRICS_BIND_ADDRESS", default_value = ":8078", value_parser = address)]
    metrics_bind_address: Address,
    /// Serve /metrics by TLS, and to nobody but those whose token may get it (TokenReview, SubjectAccessReview)
    #[arg(long, env = "KRO_HUB_METRICS_SECURE")]
    metrics_secure: bool,
    /// Address of /healthz and /readyz; 0 serves none
    #[arg(long, env = "KRO_HUB_HEALTH_PROBE_BIND_ADDRESS", default_value = ":8079", value_parser = address)]
    health_probe_bind_address: Address,
    /// Seconds after which another process may take an unrenewed lease
    #[arg(long, env = "KRO_HUB_LEASE_DURATION", default_value = "15", value_parser = seconds)]
    leader_election_lease_duration: Duration,
    /// Seconds without renewal after which this process stops writing
    #[arg(long, env = "KRO_HUB_LEASE_RENEW_DEADLINE", default_value = "10", value_parser = seconds)]
    leader_election_renew_deadline: Duration,
    /// Seconds between two tries to take or renew the lease
    #[arg(long, env = "KRO_HUB_LEASE_RETRY_PERIOD", default_value = "2", value_parser = seconds)]
    leader_election_retry_period: Duration,
    /// Threads that reconcile; more than the machine's cores are of no use
    #[arg(long, env = "KRO_HUB_STEP_THREADS", default_value = "2", value_name = "N")]
    step_threads: usize,
    /// What is logged: a level, or a filter such as `kro_hub::spoke=debug`
    #[arg(long, env = "KRO_HUB_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// How it is logged
    #[arg(long, env = "KRO_HUB_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Placement {
    /// On the cluster that is registered as local, as with kro
    Local,
    /// Nowhere
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// `None`: not served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Address(pub Option<SocketAddr>);

pub(super) fn address(text: &str) -> Result<Address, String> {
    if text == "0" {
        return Ok(Address(None));
    }
    if let Some(port) = text.strip_prefix(':') {
        let port: u16 = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
        return Ok(Address(Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))));
    }
    text.parse().map(|a| Address(Some(a))).map_err(|_| "write HOST:PORT, :PORT or 0".to_owned())
}

/// Plain seconds, or as in Go: `15s`, `1500ms`, `2m`.
fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "write seconds, as 15 or 15s".to_owned();
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let scale = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * scale).map_err(|_| wrong())
}

impl Args {
    fn settings(self) -> anyhow::Result<Settings> {
        let lease = LeaseTimes {
            duration: self.leader_election_lease_duration,
            renew_deadline: self.leader_election_renew_deadline,
            retry_period: self.leader_election_retry_period,
        };
        anyhow::ensure!(
            lease.retry_period < lease.renew_deadline && lease.renew_deadline < lease.duration,
            "lease times: --leader-election-retry-period must be shorter than --leader-election-renew-deadline, and that \
             shorter than --leader-election-lease-duration"
        );
        let mut cluster_namespaces = self.cluster_namespaces;
        if cluster_namespaces.is_empty() {
            cluster_namespaces = vec![self.namespace.clone(), "kro-system".into()];
        }
        cluster_namespaces.sort();
        cluster_namespaces.dedup();
        Ok(Settings {
            kubeconfig: self.kubeconfig,
            context: self.context,
            namespace: self.namespace,
            cluster_namespaces,
            default_placement: match self.default_placement {
                Placement::Local => DefaultPlacement::Local,
                Placement::None => DefaultPlacement::None,
            },
            local_child_namespaces: self.local_child_namespaces,
            hub_id: self.hub_id,
            upgrade_crds: self.upgrade_crds,
            allow_crd_deletion: self.allow_crd_deletion,
            max_graph_revisions: self.rgd_max_graph_revisions,
            compile: Options {
                collection_size: self.rgd_max_collection_size,
                collection_dimensions: self.rgd_max_collection_dimension_size,
                omit: self.feature_gates.omit,
                status_schema: None,
            },
            lease,
            metrics_address: self.metrics_bind_address.0,
            metrics_secure: self.metrics_secure,
            health_address: self.health_probe_bind_address.0,
            step_threads: self.step_threads,
        })
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    log_to_stderr(&args.log, args.log_format)?;
    super::descriptors::raise();
    let settings = args.settings()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let work = move || {
        runtime.block_on(async {
            let stop = CancellationToken::new();
            stop_on_signal(stop.clone())?;
            Box::pin(crate::hub::run(settings, stop)).await.map_err(anyhow::Error::from)
        })
    };
    // The hub's loop goes down into objects as deep as API servers take them, so its stack has a known size.
    let hub = std::thread::Builder::new().name("hub".into()).stack_size(crate::spoke::pool::STACK_BYTES);
    hub.spawn(work)?.join().map_err(|_| anyhow::anyhow!("the hub's loop panicked"))?
}

pub(super) fn stop_on_signal(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.cancel();
    });
    Ok(())
}

pub(super) fn log_to_stderr(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter).context("--log")?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_times() {
        assert_eq!(address("0"), Ok(Address(None)));
        assert_eq!(address(":80").unwrap().0.unwrap().port(), 80);
        assert_eq!(address("127.0.0.1:80").unwrap().0.unwrap().to_string(), "127.0.0.1:80");
        assert!(address("localhost").is_err() && address(":x").is_err());
        assert_eq!(seconds("15"), Ok(Duration::from_secs(15)));
        assert_eq!(seconds("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(seconds("2m"), Ok(Duration::from_secs(120)));
        assert!(seconds("x").is_err() && seconds("1e99").is_err() && seconds("-1").is_err());
    }
}
