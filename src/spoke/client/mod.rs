//! The one place where clients are built, and the verbs that everything else uses.
//!
//! A client multiplexes HTTP/2 connections where the server offers them, takes no proxy from the environment, retries
//! nothing by itself, and gives up on every request: 5 s to connect, 10 s for the head of a response, 14 s for that to a
//! write, 70 s without a byte of its body, and PINGs that notice a peer which fell silent. Of every answer only so much is read, by what was asked. The types keep a spoke's client and the hub's apart.

mod answers;
mod error;
mod object;
mod verbs;
mod way;

pub use super::build_error::BuildError;
pub use super::fence::MayWrite;
pub(super) use answers::{Lines, pages};
pub use error::ApiError;
pub use object::ObjectVerbs;
pub(super) use object::path;
pub use verbs::Verbs;

use super::connections::Connections;
use super::dial::Dial;
use super::fence::Fence;
use super::gate::Gate;
use super::health::Contact;
use super::host::AnyHost;
use super::kubeconfig::{Endpoint, Refused};
use super::transport::{self, Hook, Server, Transport};
use super::trust;
use super::weight::Kept;
use crate::api::names::ClusterName;
use crate::metrics::Metrics;
use base64::Engine;
use secrecy::ExposeSecret;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;
use way::Way;

/// Most requests in flight to one cluster, watches aside, unless its Cluster says otherwise.
pub const DEFAULT_IN_FLIGHT: usize = 32;

/// The same for the hub, which is asked for all clusters.
const HUB_IN_FLIGHT: usize = 128;

/// Whose requests a client sends, how many at once, and who hears how they end.
pub struct ClientSettings {
    /// The name that requests are counted under.
    pub cluster: ClusterName,
    /// Most requests in flight, watches aside; one at least.
    pub in_flight: usize,
    /// What requests are counted in.
    pub metrics: Metrics,
    /// What each answer says of the contact.
    pub contacts: UnboundedSender<Contact>,
}

impl ClientSettings {
    fn split(self) -> (Arc<Gate>, Hook) {
        let Self { cluster, in_flight, metrics, contacts } = self;
        let (contacts, fence) = (Some(contacts), Fence::default());
        let hook = Hook { cluster: cluster.as_str().into(), metrics, contacts, fence };
        let gate = Gate::new(in_flight);
        gate.show(&hook.metrics, &hook.cluster);
        (gate, hook)
    }
}

/// A client of one registered cluster.
#[derive(Clone)]
pub struct SpokeClient {
    verbs: Verbs,
    /// Those of a registered cluster; the hub is trusted to be itself.
    connections: Option<Connections>,
}

/// A client of the hub.
#[derive(Clone)]
pub struct HubClient {
    verbs: Verbs,
    config: Arc<kube::Config>,
    metrics: Metrics,
    host: AnyHost,
}

/// A client with the rights of the person who runs a command, for whichever cluster a context of theirs names.
#[derive(Clone)]
pub struct PersonClient {
    verbs: Verbs,
}

impl std::ops::Deref for PersonClient {
    type Target = Verbs;
    fn deref(&self) -> &Verbs {
        &self.verbs
    }
}
impl std::ops::Deref for SpokeClient {
    type Target = Verbs;
    fn deref(&self) -> &Verbs {
        &self.verbs
    }
}
impl std::ops::Deref for HubClient {
    type Target = Verbs;
    fn deref(&self) -> &Verbs {
        &self.verbs
    }
}

/// What a client of an untrusted endpoint is made of.
struct Parts {
    tls: rustls::ClientConfig,
    base: http::Uri,
    auth: Option<http::HeaderValue>,
}

impl Parts {
    fn of(endpoint: &Endpoint) -> Result<Self, BuildError> {
        let tls = trust::tls_config(endpoint)?;
        let base: Option<http::Uri> = endpoint.server().parse().ok();
        // The connector speaks http too, which the hub's own configuration may ask for.
        let Some(base) = base.filter(|base| base.scheme() == Some(&http::uri::Scheme::HTTPS)) else {
            let why = "it is not a valid address";
            return Err(Refused::new(endpoint.server_field(), why, "write https://host:port").into());
        };
        let unprintable = || {
            let why = "it is not printable text";
            Refused::new(endpoint.token_field(), why, "store the token as it was issued")
        };
        let auth =
            endpoint.token().map(|token| transport::bearer(token).ok_or_else(unprintable)).transpose()?;
        Ok(Self { tls, base, auth })
    }
}

/// Whether a client can be built for an untrusted endpoint.
///
/// # Errors
/// Certificates, keys or a token that cannot be used.
pub fn check(endpoint: &Endpoint) -> Result<(), BuildError> {
    Parts::of(endpoint).map(drop)
}

impl SpokeClient {
    /// Builds a client for an untrusted endpoint; connects to nothing yet.
    ///
    /// # Errors
    /// Certificates or keys that cannot be read.
    pub fn new(endpoint: &Endpoint, settings: ClientSettings, host: AnyHost) -> Result<Self, BuildError> {
        let Parts { tls, base, auth } = Parts::of(endpoint)?;
        let (gate, hook) = settings.split();
        let dial = Dial::new(tls, endpoint.tls_server_name(), host, hook.fence.clone());
        let server = Server { base, auth, proves: true };
        let transport = Transport::new(dial, server, gate.clone(), hook.clone());
        let connections = Some(transport.connections().clone());
        let verbs = Verbs { kept: Some(Kept::default()), ..Verbs::over(Way::over(transport), gate, hook) };
        Ok(Self { verbs, connections })
    }

    /// Sends nothing at all once this right has ended.
    #[must_use]
    pub fn fenced(self, right: MayWrite) -> Self {
        self.verbs.hook.fence.set(right);
        self
    }

    /// The same client, asking before each write whether it may still be sent.
    #[must_use]
    pub fn guarded(mut self, may_write: MayWrite) -> Self {
        self.verbs.may_write = Some(may_write);
        self
    }

    /// Whoever answers from now on is the cluster: until somebody judged who it is, another one may.
    pub fn forget_who_answers(&self) {
        if let Some(connections) = &self.connections {
            connections.forget();
        }
    }
}

impl HubClient {
    /// The same client, which sends a write only while `may_write` says so; asked when the request has its turn.
    pub fn guarded(mut self, may_write: MayWrite) -> Self {
        // Of all clients of the hub it is the one that has much to ask.
        self.verbs.gate.show(&self.metrics, &self.verbs.hook.cluster);
        self.verbs.may_write = Some(may_write);
        self
    }

    /// The same hub through connections of its own, with the same rights.
    ///
    /// # Errors
    /// As [`Self::from_environment`].
    pub fn apart(&self) -> Result<Self, BuildError> {
        Self::of(self.config.clone(), self.metrics.clone(), self.host.clone())
    }

    /// Sends nothing at all once this right has ended.
    #[must_use]
    pub fn fenced(self, right: MayWrite) -> Self {
        self.verbs.hook.fence.set(right);
        self
    }

    /// The usual discovery: the given file and context, else `KUBECONFIG`, else the service account of the pod.
    ///
    /// # Errors
    /// No configuration is found, or it cannot be read.
    pub async fn from_environment(
        kubeconfig: Option<&std::path::Path>,
        context: Option<&str>,
        metrics: Metrics,
        host: AnyHost,
    ) -> Result<Self, BuildError> {
        let options =
            kube::config::KubeConfigOptions { context: context.map(str::to_owned), ..Default::default() };
        let kubeconfig_error = |e: kube::config::KubeconfigError| BuildError::Kubeconfig(e.to_string());
        let config = if let Some(path) = kubeconfig {
            let file = kube::config::Kubeconfig::read_from(path).map_err(kubeconfig_error)?;
            kube::Config::from_custom_kubeconfig(file, &options).await.map_err(kubeconfig_error)?
        } else if context.is_some() {
            kube::Config::from_kubeconfig(&options).await.map_err(kubeconfig_error)?
        } else {
            kube::Config::infer().await.map_err(|e| BuildError::Kubeconfig(e.to_string()))?
        };
        Self::of(Arc::new(config), metrics, host)
    }

    pub(crate) fn of(config: Arc<kube::Config>, metrics: Metrics, host: AnyHost) -> Result<Self, BuildError> {
        let fence = Fence::default();
        let hook = Hook { cluster: "hub".into(), metrics: metrics.clone(), contacts: None, fence };
        let gate = Gate::new(HUB_IN_FLIGHT);
        let client = trusted(&config, &host, hook.clone(), gate.clone())?;
        Ok(Self { verbs: Verbs::over(client, gate, hook), config, metrics, host })
    }

    /// The hub used as a spoke: the same server through a client of its own.
    ///
    /// # Errors
    /// As [`Self::from_environment`].
    pub fn as_local_spoke(&self, settings: ClientSettings) -> Result<SpokeClient, BuildError> {
        let (gate, hook) = settings.split();
        let client = trusted(&self.config, &self.host, hook.clone(), gate.clone())?;
        Ok(SpokeClient { verbs: Verbs::over(client, gate, hook), connections: None })
    }

    /// The machine that its connections are made from.
    pub fn host(&self) -> &AnyHost {
        &self.host
    }

    /// That of the configuration: where the controller runs.
    pub fn default_namespace(&self) -> &str {
        &self.config.default_namespace
    }
}

impl PersonClient {
    /// Builds a client; connects to nothing yet, but runs the credential plugin of the configuration where there is one.
    ///
    /// # Errors
    /// Certificates or keys that cannot be read, or the plugin fails.
    pub fn new(name: &str, config: &kube::Config, host: &AnyHost) -> Result<Self, BuildError> {
        let fence = Fence::default();
        let hook = Hook { cluster: name.into(), metrics: Metrics::default(), contacts: None, fence };
        let gate = Gate::new(DEFAULT_IN_FLIGHT);
        let way = trusted(config, host, hook.clone(), gate.clone())?;
        Ok(Self { verbs: Verbs::over(way, gate, hook) })
    }
}

/// A client for a configuration that the hub's operator gave.
fn trusted(config: &kube::Config, host: &AnyHost, hook: Hook, gate: Arc<Gate>) -> Result<Way, BuildError> {
    use kube::client::ConfigExt;
    let mut anonymous = config.clone();
    let user = &mut anonymous.auth_info;
    (user.client_certificate, user.client_certificate_data) = (None, None);
    (user.client_key, user.client_key_data) = (None, None);
    let mut tls = anonymous.rustls_client_config()?;
    if let Some((cert, key)) = identity_pem(&config.auth_info)? {
        tls.client_auth_cert_resolver = trust::client_identity(&cert, &key)?;
    }
    tls.resumption = trust::one_server();
    let auth = config.auth_layer()?;
    // Whom the configuration impersonates.
    let headers = config.extra_headers_layer()?;
    let name = config.tls_server_name.clone();
    let dial = Dial::new(tls, name.as_deref(), host.clone(), hook.fence.clone());
    let server = Server { base: config.cluster_url.clone(), auth: None, proves: false };
    let transport = Transport::new(dial, server, gate, hook);
    Ok(Way::over(tower::ServiceBuilder::new().option_layer(auth).layer(headers).service(transport)))
}

type CertAndKey = (Vec<u8>, Vec<u8>);

/// Client certificate and key of a trusted kubeconfig, embedded or in files.
fn identity_pem(user: &kube::config::AuthInfo) -> Result<Option<CertAndKey>, BuildError> {
    let load = |data: Option<&str>, file: Option<&String>, what: &'static str| match (data, file) {
        (Some(data), _) => {
            let clean: String = data.split_whitespace().collect();
            let decoded = base64::engine::general_purpose::STANDARD.decode(clean);
            decoded.map(Some).map_err(|_| BuildError::Kubeconfig(format!("{what}-data is not base64")))
        }
        (None, Some(file)) => std::fs::read(file)
            .map(Some)
            .map_err(|error| BuildError::Kubeconfig(format!("{what}: {file}: {error}"))),
        (None, None) => Ok(None),
    };
    let key = user.client_key_data.as_ref().map(|k| k.expose_secret());
    let cert = load(
        user.client_certificate_data.as_deref(),
        user.client_certificate.as_ref(),
        "client-certificate",
    )?;
    Ok(cert.zip(load(key, user.client_key.as_ref(), "client-key")?))
}

#[cfg(test)]
pub(crate) type Answered =
    http::Response<http_body_util::combinators::UnsyncBoxBody<hyper::body::Bytes, std::convert::Infallible>>;

/// A client of a server that is a function.
#[cfg(test)]
pub(crate) fn in_memory<F>(
    answer: impl Fn(http::Request<kube::client::Body>) -> F + Send + Sync + Clone + 'static,
) -> Verbs
where
    F: Future<Output = Answered> + Send + 'static,
{
    let server = tower::service_fn(move |request| {
        let answered = answer(request);
        async { Ok::<_, std::convert::Infallible>(answered.await) }
    });
    let hook =
        Hook { cluster: "c".into(), metrics: Metrics::default(), contacts: None, fence: Fence::default() };
    let verbs = Verbs::over(Way::over(server), Gate::new(8), hook);
    Verbs { kept: Some(Kept::default()), ..verbs }
}

#[cfg(test)]
impl SpokeClient {
    /// The machine's own way to a server that is trusted, with this many requests in flight.
    pub(in crate::spoke) fn through(
        host: AnyHost,
        server: &str,
        in_flight: super::in_flight::InFlight,
        (metrics, contacts): (Metrics, Option<UnboundedSender<Contact>>),
    ) -> Self {
        let config = kube::Config::new(server.parse().unwrap());
        let hook = Hook { cluster: "c".into(), metrics, contacts, fence: Fence::default() };
        let gate = Gate::over(in_flight);
        gate.show(&hook.metrics, &hook.cluster);
        let client = trusted(&config, &host, hook.clone(), gate.clone()).unwrap();
        Self { verbs: Verbs::over(client, gate, hook), connections: None }
    }

    /// A client of a server that is a function; it may be asked as much as one likes at once.
    pub(crate) fn in_memory<F, B>(
        answer: impl Fn(http::Request<kube::client::Body>) -> F + Send + Sync + Clone + 'static,
    ) -> Self
    where
        F: Future<Output = Result<http::Response<B>, &'static str>> + Send + 'static,
        B: hyper::body::Body<Data = hyper::body::Bytes> + Send + 'static,
        B::Error: Into<tower::BoxError>,
    {
        let server = tower::service_fn(answer);
        let hook = Hook {
            cluster: "c".into(),
            metrics: Metrics::default(),
            contacts: None,
            fence: Fence::default(),
        };
        let all = tokio::sync::Semaphore::MAX_PERMITS;
        let gate = Gate::over(super::in_flight::InFlight::between(all, all));
        let verbs = Verbs::over(Way::over(server), gate, hook);
        Self { verbs: Verbs { kept: Some(Kept::default()), ..verbs }, connections: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// A client of a server that counts the writes it gets.
    fn counting(written: Arc<AtomicUsize>, gate: Arc<Gate>) -> SpokeClient {
        let server = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            assert!(request.extensions().get::<transport::Permitted>().is_some());
            if request.method() != http::Method::GET {
                written.fetch_add(1, Ordering::SeqCst);
            }
            async {
                Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::from(
                    b"{}".to_vec(),
                )))
            }
        });
        let client = Way::over(server);
        let fence = Fence::default();
        let hook =
            Hook { cluster: "c".into(), metrics: Metrics::default(), contacts: None, fence: fence.clone() };
        let verbs = Verbs::over(client, gate, hook);
        SpokeClient { verbs, connections: None }
    }

    #[tokio::test]
    async fn a_write_that_waited_for_its_turn_is_not_sent_without_the_lease() {
        let (written, held) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let (gate, lease) = (Gate::new(1), held.clone());
        let client =
            counting(written.clone(), gate.clone()).guarded(Arc::new(move || lease.load(Ordering::SeqCst)));
        let resource = super::super::crd::crd_resource();
        let body = json!({});
        assert_eq!(client.at(&resource, "", "x").merge_patch(&body).await, Ok(json!({})));
        assert_eq!(written.load(Ordering::SeqCst), 1);

        let turn = gate.turn(None).await.unwrap();
        let write = client.at(&resource, "", "x").merge_patch(&body);
        let lose = async {
            tokio::task::yield_now().await;
            held.store(false, Ordering::SeqCst);
            drop(turn);
        };
        assert_eq!(tokio::join!(write, lose).0, Err(ApiError::NotLeading));
        assert_eq!(written.load(Ordering::SeqCst), 1);
        assert_eq!(client.at(&resource, "", "x").get().await, Ok(Some(json!({}))));
    }

    /// The pool of connections, the buffer of the client and a turn all come after its sender asked.
    #[tokio::test]
    async fn the_right_is_asked_last_of_all() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let client = HubClient::of(
            Arc::new(kube::Config::new(url.parse().unwrap())),
            Metrics::default(),
            Arc::new(crate::spoke::host::ThisHost),
        )
        .unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let times = asked.clone();
        // It ends after it was asked for the first time.
        let client = client.guarded(Arc::new(move || times.fetch_add(1, Ordering::SeqCst) == 0));
        let resource = super::super::crd::crd_resource();
        assert_eq!(client.at(&resource, "", "x").merge_patch(&json!({})).await, Err(ApiError::NotLeading));
        assert!(asked.load(Ordering::SeqCst) >= 2);
        let fenced = client.apart().unwrap().fenced(Arc::new(|| false));
        assert_eq!(fenced.at(&resource, "", "x").get().await, Err(ApiError::NotLeading), "not even a read");
        let nobody = tokio::time::timeout(std::time::Duration::from_millis(50), server.accept()).await;
        assert!(nobody.is_err(), "nothing was sent");
    }
}
