//! Start and end of the controller: addresses, lease, CRDs, then the hub's task until a signal or the loss of the lease.

use super::context::{Context, Evaluators, Settings};
use super::controller::Hub;
use super::identity::{self, AskError, IdentityError};
use super::install::{self, InstallError};
use super::lease::{Keeper, Lease, Term};
use super::neighbours::Neighbours;
use super::scrapers::Scrapers;
use super::server;
use crate::api::keys::hub;
use crate::metrics::Metrics;
use crate::spoke::client::{BuildError, HubClient, MayWrite};
use crate::spoke::host::{Clock, ThisHost};
use crate::spoke::pool::Pool;
use crate::spoke::schemas::{Book, Reader};
use crate::spoke::share::Clusters;
use kube::runtime::events::{Recorder, Reporter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Why the controller ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("connecting to the hub: {0}")]
    Client(#[from] BuildError),
    #[error("cannot listen on {address} ({flag}): {source}")]
    Listen { address: std::net::SocketAddr, flag: &'static str, source: std::io::Error },
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("asking the hub who it is: {0}")]
    Hub(#[from] AskError),
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
}

/// Runs the controller until `stop` ends, then gives the lease back.
///
/// # Errors
/// It cannot start, or it lost its lease.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), RunError> {
    let metrics = Metrics::default();
    let client = HubClient::from_environment(
        settings.kubeconfig.as_deref(),
        settings.context.as_deref(),
        metrics.clone(),
        Arc::new(ThisHost),
    )
    .await?;
    Box::pin(run_with(settings, client, metrics, stop)).await
}

/// As [`run`], with a client of the hub.
pub(super) async fn run_with(
    settings: Settings,
    client: HubClient,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let ready = Arc::new(AtomicBool::new(false));
    if let Some(address) = settings.health_address {
        let served = server::health(address, ready.clone(), stop.clone()).await;
        let flag = "--health-probe-bind-address";
        served.map_err(|source| RunError::Listen { address, flag, source })?;
    }
    if let Some(address) = settings.metrics_address {
        // With connections of its own: whoever asks for metrics holds up nothing else.
        let scrapers = match settings.metrics_secure {
            true => Some(Scrapers::new((*client.apart()?).clone())),
            false => None,
        };
        let served = server::metrics(address, metrics.clone(), scrapers, stop.clone()).await;
        let flag = "--metrics-bind-address";
        served.map_err(|source| RunError::Listen { address, flag, source })?;
    }
    let host = client.host();
    let holder = format!("{}_{}", host.name(), identity::random_id(host));
    let lease = Lease::new(&settings.namespace, &holder, settings.lease, host.clone());
    let keeper = Keeper::start(lease, client.clone()).map_err(RunError::Threads)?;
    // Who stands by is ready to take over: a rolling update waits for that.
    ready.store(true, Ordering::Release);
    let candidate = Candidate { settings, client, metrics, ready, holder };
    tokio::select! {
        biased;
        result = candidate.lead_again_and_again(&keeper, &stop) => return result,
        () = stop.cancelled() => {}
    }
    // Requests that are under way may still end well.
    tokio::time::sleep(Duration::from_millis(50)).await;
    keeper.release().await;
    Ok(())
}

/// Who leads whenever the lease is its own.
struct Candidate {
    settings: Settings,
    client: HubClient,
    metrics: Metrics,
    ready: Arc<AtomicBool>,
    holder: String,
}

impl Candidate {
    /// Ends only with an error that no waiting cures, or from outside.
    async fn lead_again_and_again(&self, keeper: &Keeper, stop: &CancellationToken) -> Result<(), RunError> {
        let place = format!("{}/{}", self.settings.namespace, hub::LEASE);
        loop {
            // The lease lives in the namespace, so that comes first; creating what is already there harms nobody.
            if let Err(error) = install::namespace(&self.client, &self.settings.namespace).await {
                wait_if_contact(error.into()).await?;
                continue;
            }
            let held = keeper.acquire().await;
            self.ready.store(false, Ordering::Release);
            tracing::info!(holder = self.holder, "holding the lease {place}");
            let term = stop.child_token();
            let result = tokio::select! {
                biased;
                () = keeper.keep(&held) => None,
                result = self.lead(held.clone(), term.clone()) => Some(result),
            };
            term.cancel();
            self.ready.store(true, Ordering::Release);
            match result {
                None => tracing::error!("the lease {place} is lost; standing by"),
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    keeper.release().await;
                    wait_if_contact(error).await?;
                }
            }
        }
    }

    /// One term.
    async fn lead(&self, lease: Term, cancel: CancellationToken) -> Result<(), RunError> {
        let (settings, metrics) = (self.settings.clone(), self.metrics.clone());
        let (held, term) = (lease.clone(), cancel.clone());
        let may: MayWrite = Arc::new(move || held.is_held() && !term.is_cancelled());
        // What a former term has begun ends with its connections.
        let client = self.client.apart()?.guarded(may.clone()).fenced(may);
        install::crds(&client, settings.upgrade_crds).await?;
        let (hub_id, is_first) =
            identity::of_hub(&client, &settings.namespace, settings.hub_id.as_deref()).await?;
        let info = identity::of_cluster(&client).await?;
        tracing::info!(%hub_id, cluster_id = info.id, version = info.version, "this hub");
        let host = client.host().clone();
        let pool = Pool::start(settings.step_threads, &host).map_err(RunError::Threads)?;
        let reporter = Reporter { controller: "hub.kro.run/kro-hub".into(), instance: Some(host.name()) };
        let recorder = Recorder::new(client.kube(), reporter);
        // Bounded by construction: one event for each object that a watch on the hub shows, which the hub keeps in any case,
        // and one for each request that is under way. The hub takes all of them before it steps an instance, and waits for
        // nothing meanwhile. What waits all the same is measured.
        let (sender, events) = mpsc::unbounded_channel();
        let book = Book::counting(metrics.clone());
        let ctx = Context {
            reader: Reader::new(book.clone(), pool.clone()),
            book,
            neighbours: Neighbours::default(),
            client,
            hub_id,
            is_first,
            settings: Arc::new(settings),
            metrics,
            clock: Clock::start(host.clone()),
            lease,
            pool,
            talking: Clusters::default(),
            evaluators: Evaluators::start(&host).map_err(RunError::Threads)?,
            recorder,
            events: sender,
            cancel,
        };
        // The same: an actor says a thing once for each step of an instance, of which it does not begin the next before
        // requests of the last one are answered.
        let (to_hub, from_spokes) = mpsc::unbounded_channel();
        Hub::new(ctx, info, to_hub, self.ready.clone()).run(events, from_spokes).await;
        Ok(())
    }
}

/// A hub that does not answer may answer later; everything else is for the operator to mend.
async fn wait_if_contact(error: RunError) -> Result<(), RunError> {
    let contact = match &error {
        RunError::Install(InstallError::Api { source, .. })
        | RunError::Identity(IdentityError::Api(source)) => source.is_contact_problem(),
        RunError::Hub(source) => source.is_contact_problem(),
        _ => false,
    };
    if !contact {
        return Err(error);
    }
    tracing::warn!(%error, "the hub cannot be reached; trying again");
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(())
}
