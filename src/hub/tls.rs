//! Whatever is served by TLS: with whatever certificate is the present one, to a bounded number of connections, one question
//! at a time over each.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Who asks keeps a few connections open.
const CONNECTIONS: usize = 256;
const HANDSHAKE: Duration = Duration::from_secs(5);
const HEAD: Duration = Duration::from_secs(60);
/// What is under way may end when the process does.
const GRACE: Duration = Duration::from_secs(5);
/// After the machine refused a connection.
const PAUSE: Duration = Duration::from_millis(200);

/// A certificate and its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// The certificate that new connections are shown; none before there is one.
#[derive(Clone, Debug, Default)]
pub struct Shown(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get()
    }
}

impl Shown {
    fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.get().is_none()
    }

    /// Whether this is the one.
    pub fn is(&self, key: &CertifiedKey) -> bool {
        self.get().is_some_and(|shown| shown.cert == key.cert)
    }

    /// Shows this one from now on.
    pub fn set(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(key));
    }
}

/// A certificate and its key, ready to be served.
///
/// # Errors
/// They cannot be read, or do not belong together; in words without a byte of the key.
pub fn certified(pair: &Pair) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| "the certificate is no PEM".to_owned())?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes());
    let key = key.map_err(|_| "the key is no PEM of a private key".to_owned())?;
    let provider = ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider)
        .map_err(|_| "the key cannot be used, or is not that of the certificate".to_owned())
}

/// Answers until `stop` ends.
pub async fn serve(listener: TcpListener, app: Router, shown: Shown, stop: CancellationToken) {
    let Some(tls) = acceptor(shown) else { return };
    let (places, tasks) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (tls, app, stop) = (tls.clone(), app.clone(), stop.clone());
                tasks.spawn(async move {
                    let _place = place;
                    connection(stream, tls, app, stop).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    tasks.close();
    drop(tokio::time::timeout(GRACE, tasks.wait()).await);
}

fn acceptor(shown: Shown) -> Option<TlsAcceptor> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    match builder.with_safe_default_protocol_versions() {
        Ok(builder) => {
            let config = builder.with_no_client_auth().with_cert_resolver(Arc::new(shown));
            Some(TlsAcceptor::from(Arc::new(config)))
        }
        Err(error) => {
            tracing::error!(%error, "TLS cannot be served");
            None
        }
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, app: Router, stop: CancellationToken) {
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => return,
    };
    let service = TowerToHyperService::new(app);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}
