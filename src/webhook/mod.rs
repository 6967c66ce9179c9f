//! The validating admission webhook: refuses what no later event can heal, and warns of what one may.
//!
//! Stateless: what it goes by is in the question, or read of the hub meanwhile. It has no Lease and no credentials of
//! clusters, so neither who leads nor whether a cluster answers matters to it. What it cannot find out in time it lets pass:
//! the controller judges in any case.
//!
//! [`review`], [`rules`], [`certificate`] and [`configuration`] decide; [`asking`], [`keeping`] and [`serving`] perform.

mod asking;
mod certificate;
mod configuration;
mod keeping;
mod review;
mod rules;
mod serving;

pub use certificate::Life;
pub use configuration::{FailurePolicy, Reached};
pub use rules::{Judgement, Reading, Said};

use crate::hub::{server, tls};
use crate::metrics::Metrics;
use crate::spoke::client::{BuildError, HubClient};
use crate::spoke::host::ThisHost;
use crate::spoke::pool::Pool;
use crate::spoke::schemas::{Book, ClusterKinds, Reader};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Judges a definition, as an API server shows it, by kinds that the hub serves; in the words of `kro-hub validate`.
pub type Judge = Arc<dyn Fn(&Value, &ClusterKinds, Reading) -> Result<Judgement, String> + Send + Sync>;

/// How it runs.
pub struct Settings {
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    /// Its own: of its Service and of the Secret with its certificates.
    pub namespace: String,
    /// Where labelled Secrets register clusters.
    pub cluster_namespaces: Vec<String>,
    /// Whether Secrets are judged.
    pub secrets: bool,
    /// Where API servers find it.
    pub reached: Reached,
    pub failure_policy: FailurePolicy,
    /// Name of its ValidatingWebhookConfiguration.
    pub configuration: String,
    /// The ClusterRole that the configuration goes with.
    pub owner: String,
    pub certificates: Certificates,
    pub address: SocketAddr,
    pub health_address: Option<SocketAddr>,
    /// Version of Kubernetes that the built-in kinds are of.
    pub builtin: String,
}

/// Where its certificates are from.
#[derive(Clone, Debug)]
pub enum Certificates {
    /// Made here, and kept in the Secret of this name.
    Own { secret: String, life: Life },
    /// Somebody else keeps `tls.crt`, `tls.key` and `ca.crt` in this folder.
    Folder(PathBuf),
}

/// Why it ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("connecting to the hub: {0}")]
    Client(#[from] BuildError),
    #[error("cannot listen on {address} ({flag}): {source}")]
    Listen { address: SocketAddr, flag: &'static str, source: std::io::Error },
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
}

/// Threads that compile definitions.
const THREADS: usize = 2;

/// Serves until `stop` ends.
///
/// # Errors
/// It cannot start.
pub async fn run(settings: Settings, judge: Judge, stop: CancellationToken) -> Result<(), RunError> {
    let client = HubClient::from_environment(
        settings.kubeconfig.as_deref(),
        settings.context.as_deref(),
        Metrics::default(),
        Arc::new(ThisHost),
    )
    .await?;
    let pool = Pool::start(THREADS, client.host()).map_err(RunError::Threads)?;
    let ready = Arc::new(AtomicBool::new(false));
    if let Some(address) = settings.health_address {
        let served = server::health(address, ready.clone(), stop.clone()).await;
        let flag = "--health-probe-bind-address";
        served.map_err(|source| RunError::Listen { address, flag, source })?;
    }
    let (address, flag) = (settings.address, "--bind-address");
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| RunError::Listen { address, flag, source })?;
    let hub = asking::Hub {
        reader: Reader::new(Book::default(), pool.clone()),
        client: client.clone(),
        pool,
        judge,
        builtin: settings.builtin.clone(),
    };
    let shown = tls::Shown::default();
    let keeper = keeping::Keeper { client, settings, shown: shown.clone(), ready };
    tokio::select! {
        () = keeper.keep() => {}
        () = serving::serve(listener, Arc::new(hub), shown, stop) => {}
    }
    Ok(())
}
