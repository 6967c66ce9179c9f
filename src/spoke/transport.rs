//! HTTP to one API server: TLS, one multiplexed connection, time limits, a limit of requests in flight, counting.

use super::client::{BuildError, MayWrite};
use super::fence::{Closed, Fence, Fenced};
use super::health::Contact;
use crate::metrics::Metrics;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as LegacyError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::Body;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tower_http::timeout::TimeoutBody;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// A watch ends by itself before this.
const IDLE_LIMIT: Duration = Duration::from_secs(70);
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The text of the error when no head of a response came in time.
pub(super) const HEAD_TIMEOUT: &str = "no answer within 10 s";

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Who hears of each request.
#[derive(Clone)]
pub(super) struct Hook {
    pub cluster: Arc<str>,
    pub metrics: Metrics,
    pub contacts: Option<UnboundedSender<Contact>>,
    /// Asked before anything is sent.
    pub fence: Fence,
}

impl Hook {
    fn done(&self, verb: &'static str, code: &str, contact: Option<Contact>) {
        self.metrics.request(&self.cluster, verb, code);
        if let (Some(contacts), Some(contact)) = (&self.contacts, contact) {
            // Nobody listens any more while an actor ends.
            let _ = contacts.send(contact);
        }
    }
}

/// The innermost service of a client.
#[derive(Clone)]
pub(super) struct Transport {
    http: Client<HttpsConnector<Fenced<HttpConnector>>, Body>,
    base: Uri,
    auth: Option<HeaderValue>,
    in_flight: Arc<Semaphore>,
    hook: Hook,
}

/// Whether a write may be sent, asked last of all: it may have waited since its sender asked.
#[derive(Clone)]
pub(super) struct Guard(pub MayWrite);

/// Marks a request whose sender holds a permit for it already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permitted;

impl Transport {
    pub fn new(
        tls: rustls::ClientConfig,
        server_name: Option<&str>,
        base: Uri,
        auth: Option<HeaderValue>,
        in_flight: Arc<Semaphore>,
        hook: Hook,
    ) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(15)));
        let mut tls = tls;
        tls.alpn_protocols.clear();
        let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let builder = match server_name.and_then(|name| ServerName::try_from(name.to_owned()).ok()) {
            Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name)),
            None => builder,
        };
        let connector =
            builder.enable_http1().enable_http2().wrap_connector(Fenced::new(tcp, hook.fence.clone()));
        let http = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(90))
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_adaptive_window(true)
            .build(connector);
        Self { http, base, auth, in_flight, hook }
    }
}

impl Transport {
    /// Sends a request, and once more when the connection was closed before the server had read it. An API server closes
    /// connections in peace, and does so after each 401: what is sent in that moment says nothing about the cluster.
    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, LegacyError> {
        let again = repeat(&request);
        match (self.http.request(request).await, again) {
            (Err(error), Some(again)) if closed_in_peace(&error) => self.http.request(again).await,
            (answer, _) => answer,
        }
    }
}

/// The same request again, unless its body is a stream.
fn repeat(request: &Request<Body>) -> Option<Request<Body>> {
    let mut again = Request::new(request.body().try_clone()?);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

/// The server said that it goes away, without complaint, and that it did not begin with this request.
fn closed_in_peace(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |e| e.source())
        .filter_map(|e| e.downcast_ref::<h2::Error>())
        .any(|e| e.is_go_away() && e.is_remote() && e.reason() == Some(h2::Reason::NO_ERROR))
}

impl tower::Service<Request<Body>> for Transport {
    type Response = Response<TimeoutBody<Incoming>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let verb = verb(&request);
            *request.uri_mut() = absolute(&this.base, request.uri())?;
            if let Some(auth) = &this.auth {
                request.headers_mut().insert(header::AUTHORIZATION, auth.clone());
            }
            let agent = concat!("kro-hub/", env!("CARGO_PKG_VERSION"));
            request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(agent));
            let _permit = match verb {
                "watch" => None,
                _ if request.extensions().get::<Permitted>().is_some() => None,
                _ => Some(this.in_flight.clone().acquire_owned().await?),
            };
            this.hook.fence.check()?;
            if request.extensions().get::<Guard>().is_some_and(|guard| !(guard.0)()) {
                return Err(Closed.into());
            }
            match tokio::time::timeout(HEAD_LIMIT, this.send(request)).await {
                Ok(Ok(response)) => {
                    let status = response.status();
                    let contact = match status.as_u16() {
                        401 => Contact::Unauthorized,
                        429 => Contact::Throttled,
                        503 => Contact::Unavailable,
                        _ => Contact::Ok,
                    };
                    this.hook.done(verb, status.as_str(), Some(contact));
                    Ok(response.map(|body| TimeoutBody::new(IDLE_LIMIT, body)))
                }
                Ok(Err(error)) => {
                    this.hook.done(verb, "error", Some(Contact::ConnectError));
                    Err(error.into())
                }
                Err(_) => {
                    this.hook.done(verb, "timeout", Some(Contact::Timeout));
                    Err(HEAD_TIMEOUT.into())
                }
            }
        })
    }
}

/// The Kubernetes verb of a request; for metrics.
fn verb(request: &Request<Body>) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    match request.method().as_str() {
        "GET" if query.split('&').any(|p| p == "watch=true" || p == "watch=1") => "watch",
        "GET" if is_collection(request.uri().path()) => "list",
        "GET" => "get",
        "POST" => "create",
        "PUT" => "update",
        "DELETE" => "delete",
        "PATCH" => match request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) {
            Some(kind) if kind.starts_with("application/apply-patch") => "apply",
            _ => "patch",
        },
        _ => "other",
    }
}

fn is_collection(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    let rest = match parts.first() {
        Some(&"api") => parts.get(2..),
        Some(&"apis") => parts.get(3..),
        _ => None,
    };
    matches!(rest, Some(["namespaces", _, _] | [_]))
}

fn absolute(base: &Uri, uri: &Uri) -> Result<Uri, BoxError> {
    let prefix = base.path().trim_end_matches('/');
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(format!("{prefix}{path}").parse()?);
    Ok(Uri::from_parts(parts)?)
}

/// A header that carries a token and never shows it.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The client certificate to show. It is for the server to judge: certificates that this library would not accept from a
/// server (X.509 version 1, as home-made ones often are) are sent as they are.
pub(super) fn client_identity(
    cert: &[u8],
    key: &[u8],
) -> Result<Arc<dyn rustls::client::ResolvesClientCert>, BuildError> {
    let chain: Vec<CertificateDer> = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<_, _>>()
        .map_err(|_| BuildError::Identity("no certificate can be read from it"))?;
    if chain.is_empty() {
        return Err(BuildError::Identity("no certificate can be read from it"));
    }
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| BuildError::Identity("its key cannot be read"))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)
        .map_err(|_| BuildError::Identity("its key is of a kind that is not supported"))?;
    let certified = CertifiedKey::new(chain, key);
    let mismatch = rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch);
    if certified.keys_match() == Err(mismatch) {
        return Err(BuildError::Identity("certificate and key do not fit"));
    }
    Ok(Arc::new(SingleCertAndKey::from(certified)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_told_from_requests() {
        let cases = [
            ("GET", "/api/v1/namespaces/n/configmaps/x", "", "get"),
            ("GET", "/api/v1/namespaces/n/configmaps", "", "list"),
            ("GET", "/apis/apps/v1/deployments?labelSelector=a", "", "list"),
            ("GET", "/apis/apps/v1/deployments?watch=true&x=y", "", "watch"),
            ("GET", "/apis/apps/v1", "", "get"),
            ("PATCH", "/api/v1/namespaces/n", "application/apply-patch+yaml", "apply"),
            ("PATCH", "/api/v1/namespaces/n", "application/merge-patch+json", "patch"),
            ("DELETE", "/api/v1/namespaces/n", "", "delete"),
        ];
        for (method, uri, content, want) in cases {
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .header(header::CONTENT_TYPE, content)
                .body(Body::empty());
            assert_eq!(verb(&request.unwrap()), want, "{method} {uri}");
        }
    }
}
