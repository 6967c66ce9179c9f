//! `/healthz` and `/readyz` for the kubelet, `/metrics` for Prometheus.

use crate::metrics::Metrics;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;
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

/// Serves the metrics.
///
/// # Errors
/// The address is taken.
pub async fn metrics(
    address: SocketAddr,
    metrics: Metrics,
    cancel: CancellationToken,
) -> std::io::Result<()> {
    let text = move || {
        let metrics = metrics.clone();
        async move {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], metrics.text())
        }
    };
    serve(address, Router::new().route("/metrics", get(text)), cancel, "metrics").await
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
