//! `/healthz` and `/readyz` for the kubelet, `/metrics` for Prometheus.

use super::scrapers::{self, Scrapers};
use super::tls;
use crate::metrics::Metrics;
use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Serves the probes.
///
/// # Errors
/// The address is taken.
pub async fn health(
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    cancel: CancellationToken,
) -> std::io::Result<()> {
    let readyz = move || {
        let ready = ready.clone();
        async move {
            if ready.load(Ordering::Acquire) {
                (StatusCode::OK, "ok")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "not yet: the first lists are not complete")
            }
        }
    };
    let app = Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(readyz));
    serve(address, app, cancel, "health").await
}

/// Serves the metrics: to anybody, or by TLS to those whom the API server lets read them.
///
/// # Errors
/// The address is taken, or no certificate can be made.
pub(super) async fn metrics(
    address: SocketAddr,
    metrics: Metrics,
    scrapers: Option<Scrapers>,
    cancel: CancellationToken,
) -> std::io::Result<()> {
    let secure = scrapers.is_some();
    let text = move |headers: HeaderMap| {
        let (metrics, scrapers) = (metrics.clone(), scrapers.clone());
        async move {
            if let Some(scrapers) = scrapers
                && let Err(refused) = Box::pin(scrapers.admit(&headers)).await
            {
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
                let (status, why) = refused.answer();
                return (status, challenge, why).into_response();
            }
            metrics.tasks(Handle::current().metrics().num_alive_tasks());
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], metrics.text()).into_response()
        }
    };
    let app = Router::new().route("/metrics", get(text));
    if !secure {
        return serve(address, app, cancel, "metrics").await;
    }
    let listener = TcpListener::bind(address).await?;
    let shown = scrapers::certificate().map_err(std::io::Error::other)?;
    tracing::info!(address = %listener.local_addr()?, "serving metrics by TLS, to who may get them");
    tokio::spawn(tls::serve(listener, app, shown, cancel));
    Ok(())
}

async fn serve(
    address: SocketAddr,
    app: Router,
    cancel: CancellationToken,
    what: &'static str,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "serving {what}");
    tokio::spawn(async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(cancel.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "serving {what} ended");
        }
    });
    Ok(())
}
