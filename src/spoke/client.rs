//! The one place where clients are built, and the verbs that everything else uses.
//!
//! A client multiplexes HTTP/2 connections where the server offers them, takes no proxy from the environment, retries
//! nothing by itself, and gives up on every request: 5 s to connect, 10 s for the head of a response, 70 s without a byte
//! of its body, and PINGs that notice a peer which fell silent. Of every answer only so much is read, by what was asked. The types keep a spoke's client and the hub's apart.

use super::connections::{Connections, deepest};
use super::dial::Dial;
use super::fence::{Fence, is_closed};
use super::health::Contact;
use super::host::AnyHost;
use super::kubeconfig::Endpoint;
use super::transport::{self, Gate, Hook, Transport, Trouble};
use super::trust;
use super::weight::Kept;
use crate::api::names::ClusterName;
use crate::api::text::cut;
use crate::metrics::Metrics;
use base64::Engine;
use http::{Method, Request};
use hyper::body::Bytes;
use kube::client::Body;
use kube::core::ApiResource;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// Requests in flight to one cluster, watches aside, unless its Cluster says otherwise.
pub const DEFAULT_IN_FLIGHT: usize = 32;
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Of a refusal in plain text, so many bytes are shown.
const PLAIN: usize = 400;

/// Why a client cannot be built. Texts carry no secret.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A field of a kubeconfig.
    #[error("{0}: {1}")]
    Field(String, &'static str),
    #[error("client certificate: {0}")]
    Identity(&'static str),
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    #[error("{0}")]
    Config(#[from] kube::Error),
    #[error("kubeconfig: {0}")]
    Kubeconfig(String),
}

/// What an API server said, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    #[error("not found")]
    NotFound,
    #[error("the cluster does not serve this kind")]
    KindUnknown,
    #[error("namespace {namespace:?} does not exist")]
    NamespaceMissing { namespace: String },
    #[error("conflict: {message}")]
    Conflict { message: String },
    #[error("already exists")]
    AlreadyExists,
    #[error("{message}")]
    Invalid { message: String },
    #[error("forbidden: {message}")]
    Forbidden { message: String },
    #[error("the credentials are not accepted (401)")]
    Unauthorized,
    #[error("{message}")]
    FieldNotDeclared { message: String },
    #[error("the cluster asks to slow down (429)")]
    Throttled,
    #[error("the cluster is unavailable: {message}")]
    Unavailable { message: String },
    #[error("no contact: {message}")]
    Connect { message: String },
    /// What serves this group is dead, or is no API server: the rest of the cluster is not concerned.
    #[error("the API group {group} does not work on the cluster: {message}")]
    GroupUnavailable { group: String, message: String },
    #[error("what answers is not a Kubernetes API server: {message}")]
    NotAnApi { message: String },
    #[error("{message}")]
    TooLarge { message: String },
    /// With the identity that was found.
    #[error("another cluster answers at this address: {found}")]
    Stranger { found: String },
    #[error("no answer in time")]
    Timeout,
    /// Nothing was sent.
    #[error("this process does not hold the lease")]
    NotLeading,
    #[error("{message}")]
    Other { code: u16, message: String },
}

impl ApiError {
    /// Whether the error says nothing about the object that was asked for.
    pub fn is_contact_problem(&self) -> bool {
        matches!(
            self,
            Self::Unauthorized
                | Self::Throttled
                | Self::Unavailable { .. }
                | Self::Connect { .. }
                | Self::Timeout
                | Self::NotAnApi { .. }
                | Self::Stranger { .. }
                | Self::NotLeading
        )
    }
}

/// Sorts an error by what it means; by its body too, since the code alone does not tell a sick cluster from an object
/// that does not fit.
pub(super) fn classify(error: &kube::Error) -> ApiError {
    let kube::Error::Api(status) = error else {
        let found = std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |e| e.source())
            .find_map(|e| e.downcast_ref::<Trouble>());
        return match found {
            Some(Trouble::Late) => ApiError::Timeout,
            Some(Trouble::TooLarge(message)) => ApiError::TooLarge { message: message.clone() },
            Some(Trouble::NotAnApi(message)) => ApiError::NotAnApi { message: message.clone() },
            Some(Trouble::Stranger { found, .. }) => ApiError::Stranger { found: found.clone() },
            Some(Trouble::Fenced) => ApiError::NotLeading,
            Some(Trouble::Connect(message)) => ApiError::Connect { message: message.clone() },
            None if is_closed(error) => ApiError::NotLeading,
            None => ApiError::Connect { message: deepest(error) },
        };
    };
    let message = status.message.clone();
    let details_kind = status.details.as_ref().map(|d| d.kind.as_str()).unwrap_or_default();
    if message.contains("field not declared in schema") {
        return ApiError::FieldNotDeclared { message };
    }
    match (status.code, status.reason.as_str()) {
        (404, _) if details_kind == "namespaces" => {
            let namespace = status.details.as_ref().map(|d| d.name.clone()).unwrap_or_default();
            ApiError::NamespaceMissing { namespace }
        }
        (404, _)
            if message.contains("could not find the requested resource")
                || message.contains("page not found") =>
        {
            ApiError::KindUnknown
        }
        (404, _) => ApiError::NotFound,
        (409, "AlreadyExists") => ApiError::AlreadyExists,
        (409, _) => ApiError::Conflict { message },
        (400 | 422, _) => ApiError::Invalid { message },
        (403, _) => ApiError::Forbidden { message },
        (401, _) => ApiError::Unauthorized,
        (429, _) => ApiError::Throttled,
        (503, _) => ApiError::Unavailable { message },
        (504, _) => ApiError::Timeout,
        (code, _) => ApiError::Other { code, message },
    }
}

/// The verbs, on any cluster. Not public by itself: a [`SpokeClient`] or a [`HubClient`] has it.
#[derive(Clone)]
pub struct Verbs {
    client: kube::Client,
    gate: Arc<Gate>,
    hook: Hook,
    may_write: Option<MayWrite>,
    /// Of a cluster that is not trusted.
    kept: Option<Kept>,
}

/// Whether a write may be sent now.
pub type MayWrite = Arc<dyn Fn() -> bool + Send + Sync>;

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

impl SpokeClient {
    /// Builds a client for an untrusted endpoint; connects to nothing yet.
    ///
    /// # Errors
    /// Certificates or keys that cannot be read.
    pub fn new(
        endpoint: &Endpoint,
        cluster: &ClusterName,
        in_flight: usize,
        metrics: Metrics,
        contacts: UnboundedSender<Contact>,
        host: AnyHost,
    ) -> Result<Self, BuildError> {
        let tls = trust::tls_config(endpoint)?;
        let base: http::Uri = endpoint
            .server()
            .parse()
            .map_err(|_| BuildError::Field(endpoint.server_field(), "it is not a valid address"))?;
        let auth = match endpoint.token() {
            Some(token) => Some(
                transport::bearer(token)
                    .ok_or_else(|| BuildError::Field(endpoint.token_field(), "it is not printable text"))?,
            ),
            None => None,
        };
        let hook = hook(cluster, metrics, contacts);
        let gate = Gate::new(in_flight);
        let dial = Dial::new(tls, endpoint.tls_server_name(), host, hook.fence.clone());
        let transport = Transport::new(dial, base, auth, true, gate.clone(), hook.clone());
        let connections = Some(transport.connections().clone());
        let client = kube::Client::new(transport, "default");
        let verbs = Verbs { kept: Some(Kept::default()), ..Verbs::over(client, gate, hook) };
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
        let gate = Gate::new(128);
        let client = trusted(&config, &host, hook.clone(), gate.clone())?;
        Ok(Self { verbs: Verbs::over(client, gate, hook), config, metrics, host })
    }

    /// The hub used as a spoke: the same server through a client of its own.
    ///
    /// # Errors
    /// As [`Self::from_environment`].
    pub fn as_local_spoke(
        &self,
        cluster: &ClusterName,
        in_flight: usize,
        metrics: Metrics,
        contacts: UnboundedSender<Contact>,
    ) -> Result<SpokeClient, BuildError> {
        let (hook, gate) = (hook(cluster, metrics, contacts), Gate::new(in_flight));
        let client = trusted(&self.config, &self.host, hook.clone(), gate.clone())?;
        Ok(SpokeClient { verbs: Verbs::over(client, gate, hook), connections: None })
    }

    /// The machine that its connections are made from.
    pub fn host(&self) -> &AnyHost {
        &self.host
    }

    pub fn default_namespace(&self) -> &str {
        &self.config.default_namespace
    }
}

/// What a cluster's requests are counted and judged by.
fn hook(cluster: &ClusterName, metrics: Metrics, contacts: UnboundedSender<Contact>) -> Hook {
    Hook { cluster: cluster.as_str().into(), metrics, contacts: Some(contacts), fence: Fence::default() }
}

/// A client for a configuration that the hub's operator gave.
fn trusted(
    config: &kube::Config,
    host: &AnyHost,
    hook: Hook,
    gate: Arc<Gate>,
) -> Result<kube::Client, BuildError> {
    use kube::client::ConfigExt;
    let mut anonymous = config.clone();
    let user = &mut anonymous.auth_info;
    (user.client_certificate, user.client_certificate_data) = (None, None);
    (user.client_key, user.client_key_data) = (None, None);
    let mut tls = anonymous.rustls_client_config()?;
    if let Some((cert, key)) = identity_pem(&config.auth_info)? {
        tls.client_auth_cert_resolver = transport::client_identity(&cert, &key)?;
    }
    let auth = config.auth_layer()?;
    let name = config.tls_server_name.clone();
    let server = config.cluster_url.clone();
    let dial = Dial::new(tls, name.as_deref(), host.clone(), hook.fence.clone());
    let transport = Transport::new(dial, server, None, false, gate, hook);
    let stack = tower::ServiceBuilder::new().option_layer(auth).service(transport);
    Ok(kube::Client::new(stack, config.default_namespace.clone()))
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

impl Verbs {
    fn over(client: kube::Client, gate: Arc<Gate>, hook: Hook) -> Self {
        Self { client, gate, hook, may_write: None, kept: None }
    }
    pub fn kube(&self) -> &kube::Client {
        &self.client
    }
    pub fn cluster(&self) -> &str {
        &self.hook.cluster
    }

    /// Whether requests share connections, so that one which fell silent is noticed without asking anything.
    pub(super) fn shares_connections(&self) -> bool {
        self.gate.shares.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Says something of the cluster that is no matter of one object: what it is about, and the text.
    pub(super) fn note(&self, topic: &'static str, text: &str) {
        self.hook.heard(Contact::Note(topic, text.into()));
    }

    /// What is kept of the cluster, where that is bounded: a hub is trusted to be no larger than it has to be.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    async fn call<T: serde::de::DeserializeOwned>(&self, request: Request<Vec<u8>>) -> Result<T, ApiError> {
        let path = request.uri().path().to_owned();
        let read = read(&self.in_turn(request).await?);
        self.understood(read.map_err(|error| in_its_group(&path, error)))
    }

    /// An answer that came, and is none, is no loss of contact; people should know of it.
    fn understood<T>(&self, read: Result<T, ApiError>) -> Result<T, ApiError> {
        if let Err(error @ ApiError::NotAnApi { .. }) = &read {
            self.note("answer", &error.to_string());
        }
        read
    }

    /// Waits for its turn first: neither the clock of the call runs meanwhile, nor does the right to write that was
    /// there before count.
    async fn in_turn(&self, mut request: Request<Vec<u8>>) -> Result<Bytes, ApiError> {
        let closed = |_| ApiError::Connect { message: "the client is closed".into() };
        let _permit = self.gate.in_flight.clone().acquire_owned().await.map_err(closed)?;
        self.gate.throttle.pass().await;
        request.extensions_mut().insert(transport::Permitted);
        let writes = request.method() != Method::GET;
        if writes && self.may_write.as_ref().is_some_and(|may_write| !may_write()) {
            return Err(ApiError::NotLeading);
        }
        if let Some(may_write) = self.may_write.as_ref().filter(|_| writes) {
            request.extensions_mut().insert(transport::Guard(may_write.clone()));
        }
        let answer = async {
            let response = self.send(request).await?;
            response.into_body().collect_bytes().await.map_err(|e| classify(&e))
        };
        tokio::time::timeout(CALL_TIMEOUT, answer).await.unwrap_or(Err(ApiError::Timeout))
    }

    /// The answer, unless it is a refusal.
    async fn send(&self, request: Request<Vec<u8>>) -> Result<http::Response<Body>, ApiError> {
        let path = request.uri().path().to_owned();
        let sent = self.client.send(request.map(Body::from)).await;
        let response = sent.map_err(|e| in_its_group(&path, classify(&e)))?;
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(response);
        }
        let body = response.into_body().collect_bytes().await.map_err(|e| classify(&e))?;
        Err(in_its_group(&path, refused(status.as_u16(), &body)))
    }

    /// `Ok(None)` is a 404 for the object itself, or for the namespace that it would be in; a missing kind is an error.
    async fn find(&self, request: Request<Vec<u8>>) -> Result<Option<Value>, ApiError> {
        match self.call(request).await {
            Ok(value) => Ok(Some(value)),
            Err(ApiError::NotFound | ApiError::NamespaceMissing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// # Errors
    /// As [`classify`] sorts them; so for all verbs.
    pub async fn get(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, ApiError> {
        self.find(request(Method::GET, &path(resource, namespace, name), "application/json", None)).await
    }

    /// Metadata alone, as `PartialObjectMetadata`.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn get_metadata(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, ApiError> {
        let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        self.find(request(Method::GET, &path(resource, namespace, name), accept, None)).await
    }

    /// Any path; `Ok(None)` where the server knows none.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn get_json(&self, path: &str) -> Result<Option<Value>, ApiError> {
        match self.find(request(Method::GET, path, "application/json", None)).await {
            Err(ApiError::KindUnknown) => Ok(None),
            other => other,
        }
    }

    /// The text at a path, which is read elsewhere; `Ok(None)` where the server knows none.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn get_text(&self, path: &str) -> Result<Option<String>, ApiError> {
        let request = request(Method::GET, path, "application/json", None);
        match self.in_turn(request).await {
            // A redirect: what the path names by its hash is something else by now.
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => String::from_utf8(text.into()).map(Some).map_err(|_| not_json()),
            Err(ApiError::NotFound | ApiError::KindUnknown) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One page of a list. An answer that is not clearly a list is an error: what is not in a list is taken for gone.
    ///
    /// # Errors
    /// As for [`Self::get`]; [`ApiError::TooLarge`] when fewer objects may fit.
    pub(super) async fn page(&self, path: &str, accept: &str) -> Result<Page, ApiError> {
        let closed = |_| ApiError::Connect { message: "the client is closed".into() };
        let _one = self.gate.pages.clone().acquire_owned().await.map_err(closed)?;
        let text = self.in_turn(request(Method::GET, path, accept, None)).await?;
        let list: List = self.understood(read(&text))?;
        if list.metadata.resource_version.is_empty() {
            return self.understood(Err(ApiError::NotAnApi { message: "its answer is no list".into() }));
        }
        Ok(Page {
            version: list.metadata.resource_version,
            next: list.metadata.next.unwrap_or_default(),
            items: list.items.unwrap_or_default(),
            size: text.len(),
        })
    }

    /// Opens a watch. It waits for the head of the answer for as long as a watch may be silent.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub(super) async fn watch(&self, path: &str, accept: &str) -> Result<Lines, ApiError> {
        let response = self.send(request(Method::GET, path, accept, None)).await?;
        Ok(Lines { body: response.into_body(), received: Vec::new(), scanned: 0, size: 0 })
    }

    /// Server-side apply with force: kro's way, so that either can take over from the other.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn apply(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        manager: &str,
        body: &Value,
    ) -> Result<Value, ApiError> {
        let manager: String = url::form_urlencoded::byte_serialize(manager.as_bytes()).collect();
        let path = format!(
            "{}?fieldManager={manager}&force=true&fieldValidation=Strict",
            path(resource, namespace, name)
        );
        self.call(request(
            Method::PATCH,
            &path,
            "application/json",
            Some(("application/apply-patch+yaml", body)),
        ))
        .await
    }

    /// JSON merge patch.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn merge_patch(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, ApiError> {
        self.merge(&path(resource, namespace, name), patch).await
    }

    /// JSON patch; `patch` is a list of operations.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn json_patch(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, ApiError> {
        let body = Some(("application/json-patch+json", patch));
        self.call(request(Method::PATCH, &path(resource, namespace, name), "application/json", body)).await
    }

    /// JSON merge patch of the status subresource; `patch` is the whole object's patch, `{"status": …}`.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn merge_status(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, ApiError> {
        self.merge(&format!("{}/status", path(resource, namespace, name)), patch).await
    }

    async fn merge(&self, path: &str, patch: &Value) -> Result<Value, ApiError> {
        let body = Some(("application/merge-patch+json", patch));
        self.call(request(Method::PATCH, path, "application/json", body)).await
    }

    /// # Errors
    /// As for [`Self::get`].
    pub async fn create(
        &self,
        resource: &ApiResource,
        namespace: &str,
        body: &Value,
    ) -> Result<Value, ApiError> {
        let path = path(resource, namespace, "");
        self.call(request(Method::POST, &path, "application/json", Some(("application/json", body)))).await
    }

    /// Replaces the whole object; its resourceVersion must be in `body`.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn replace(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        body: &Value,
    ) -> Result<Value, ApiError> {
        let path = path(resource, namespace, name);
        self.call(request(Method::PUT, &path, "application/json", Some(("application/json", body)))).await
    }

    /// Deletes the object of this uid; `Ok(None)` when there is none of the name.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] when another object has the name; else as for [`Self::get`].
    pub async fn delete(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<Option<Value>, ApiError> {
        let body = serde_json::json!({"preconditions": {"uid": uid}});
        let path = path(resource, namespace, name);
        self.find(request(Method::DELETE, &path, "application/json", Some(("application/json", &body)))).await
    }

    /// Deletes an object if it is as it was read. `None`: it is not there.
    ///
    /// # Errors
    /// See [`ApiError`]; `Conflict` if it changed meanwhile.
    pub async fn delete_unchanged(
        &self,
        resource: &ApiResource,
        namespace: &str,
        read: &crate::api::Object,
    ) -> Result<Option<Value>, ApiError> {
        let preconditions =
            serde_json::json!({"uid": read.uid(), "resourceVersion": read.resource_version()});
        let body = serde_json::json!({"preconditions": preconditions});
        let path = path(resource, namespace, read.name());
        self.find(request(Method::DELETE, &path, "application/json", Some(("application/json", &body)))).await
    }
}

/// One page of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub version: String,
    /// Where the next page begins; empty where this is the last one.
    pub next: String,
    pub items: Vec<Value>,
    /// In bytes, as received.
    pub size: usize,
}

#[derive(serde::Deserialize)]
struct List {
    metadata: ListMeta,
    // Some servers say null for none; a list that does not speak of items is none.
    items: Option<Vec<Value>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// The events of a watch.
pub(super) struct Lines {
    body: Body,
    received: Vec<u8>,
    /// So much of it holds no line end.
    scanned: usize,
    /// Of the last event, in bytes.
    pub size: usize,
}

impl Lines {
    /// The next event; `Ok(None)` when the server ended the watch. May be dropped and asked again.
    pub async fn next(&mut self) -> Result<Option<Value>, ApiError> {
        loop {
            let rest = self.received.get(self.scanned..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let end = self.scanned + end;
                self.scanned = 0;
                let line: Vec<u8> = self.received.drain(..=end).collect();
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                self.size = line.len();
                return read(&line).map(Some);
            }
            self.scanned = self.received.len();
            let frame = std::future::poll_fn(|cx| {
                let body = std::pin::Pin::new(&mut self.body);
                hyper::body::Body::poll_frame(body, cx)
            });
            match frame.await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.received.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(classify(&error)),
                None => return Ok(None),
            }
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(text).map_err(|_| not_json())
}

/// The text is not shown: it may be a Secret's.
fn not_json() -> ApiError {
    ApiError::NotAnApi { message: "its answer is not the JSON that was asked for".into() }
}

/// What a refusal says.
fn refused(code: u16, body: &[u8]) -> ApiError {
    let status = serde_json::from_slice::<kube::core::Status>(body).ok().filter(|s| s.code == code);
    classify(&kube::Error::Api(Box::new(status.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(body);
        let text = cut(text.trim(), PLAIN);
        kube::core::Status { code, ..kube::core::Status::failure(&text, "") }
    }))))
}

/// What a dead server of one group answers, or what stands in its place, is that group's trouble.
fn in_its_group(path: &str, error: ApiError) -> ApiError {
    let Some(group) = transport::aggregated(path).map(str::to_owned) else { return error };
    match error {
        ApiError::Unavailable { message } => {
            ApiError::GroupUnavailable { group, message: format!("503, {message}") }
        }
        ApiError::NotAnApi { message } => ApiError::GroupUnavailable { group, message },
        error => error,
    }
}

pub(super) fn path(resource: &ApiResource, namespace: &str, name: &str) -> String {
    let mut out = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    if !namespace.is_empty() {
        out.push_str(&format!("/namespaces/{}", encode(namespace)));
    }
    out.push_str(&format!("/{}", resource.plural));
    if !name.is_empty() {
        out.push_str(&format!("/{}", encode(name)));
    }
    out
}

fn request(method: Method, path: &str, accept: &str, body: Option<(&str, &Value)>) -> Request<Vec<u8>> {
    let builder = Request::builder().method(method).uri(path).header(http::header::ACCEPT, accept);
    let built = match body {
        Some((kind, value)) => {
            builder.header(http::header::CONTENT_TYPE, kind).body(value.to_string().into_bytes())
        }
        None => builder.body(Vec::new()),
    };
    // Paths are encoded above and headers are constants; an empty request would be answered with an error.
    built.unwrap_or_default()
}

#[cfg(test)]
pub(super) type Answered =
    http::Response<http_body_util::combinators::UnsyncBoxBody<Bytes, std::convert::Infallible>>;

/// A client of a server that is a function.
#[cfg(test)]
pub(super) fn in_memory<F>(answer: impl Fn(Request<Body>) -> F + Send + Clone + 'static) -> Verbs
where
    F: Future<Output = Answered> + Send + 'static,
{
    let server = tower::service_fn(move |request| {
        let answered = answer(request);
        async { Ok::<_, std::convert::Infallible>(answered.await) }
    });
    let hook =
        Hook { cluster: "c".into(), metrics: Metrics::default(), contacts: None, fence: Fence::default() };
    let verbs = Verbs::over(kube::Client::new(server, "default"), Gate::new(8), hook);
    Verbs { kept: Some(Kept::default()), ..verbs }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    fn api(code: u16, reason: &str, message: &str, details: Value) -> kube::Error {
        let status = json!({"code": code, "reason": reason, "message": message, "details": details});
        kube::Error::Api(serde_json::from_value(status).unwrap())
    }

    #[test]
    fn errors_are_sorted_by_body_too() {
        let none = json!(null);
        let cases = [
            (
                api(404, "NotFound", "configmaps \"x\" not found", json!({"kind": "configmaps"})),
                ApiError::NotFound,
            ),
            (
                api(404, "NotFound", "the server could not find the requested resource", none.clone()),
                ApiError::KindUnknown,
            ),
            (
                api(
                    404,
                    "NotFound",
                    "namespaces \"a\" not found",
                    json!({"kind": "namespaces", "name": "a"}),
                ),
                ApiError::NamespaceMissing { namespace: "a".into() },
            ),
            (
                api(
                    500,
                    "",
                    "failed to create typed patch object: .spec.x: field not declared in schema",
                    none.clone(),
                ),
                ApiError::FieldNotDeclared {
                    message: "failed to create typed patch object: .spec.x: field not declared in schema"
                        .into(),
                },
            ),
            (api(409, "AlreadyExists", "x", none.clone()), ApiError::AlreadyExists),
            (api(409, "Conflict", "x", none.clone()), ApiError::Conflict { message: "x".into() }),
            (api(401, "Unauthorized", "x", none.clone()), ApiError::Unauthorized),
            (api(429, "TooManyRequests", "x", none.clone()), ApiError::Throttled),
            (api(500, "InternalError", "boom", none), ApiError::Other { code: 500, message: "boom".into() }),
        ];
        for (error, want) in cases {
            assert_eq!(classify(&error), want);
        }
    }

    /// A client of a server that counts the writes it gets.
    fn counting(written: Arc<AtomicUsize>, gate: Arc<Gate>) -> SpokeClient {
        let server = tower::service_fn(move |request: Request<kube::client::Body>| {
            assert!(request.extensions().get::<transport::Permitted>().is_some());
            if request.method() != Method::GET {
                written.fetch_add(1, Ordering::SeqCst);
            }
            async {
                Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::from(
                    b"{}".to_vec(),
                )))
            }
        });
        let client = kube::Client::new(server, "default");
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
        assert_eq!(client.merge_patch(&resource, "", "x", &body).await, Ok(json!({})));
        assert_eq!(written.load(Ordering::SeqCst), 1);

        let turn = gate.in_flight.clone().acquire_owned().await.unwrap();
        let write = client.merge_patch(&resource, "", "x", &body);
        let lose = async {
            tokio::task::yield_now().await;
            held.store(false, Ordering::SeqCst);
            drop(turn);
        };
        assert_eq!(tokio::join!(write, lose).0, Err(ApiError::NotLeading));
        assert_eq!(written.load(Ordering::SeqCst), 1);
        assert_eq!(client.get(&resource, "", "x").await, Ok(Some(json!({}))));
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
        assert_eq!(client.merge_patch(&resource, "", "x", &json!({})).await, Err(ApiError::NotLeading));
        assert!(asked.load(Ordering::SeqCst) >= 2);
        let fenced = client.apart().unwrap().fenced(Arc::new(|| false));
        assert_eq!(fenced.get(&resource, "", "x").await, Err(ApiError::NotLeading), "not even a read");
        let nobody = tokio::time::timeout(Duration::from_millis(50), server.accept()).await;
        assert!(nobody.is_err(), "nothing was sent");
    }

    #[test]
    fn paths() {
        let core = ApiResource {
            group: String::new(),
            version: "v1".into(),
            api_version: "v1".into(),
            kind: "Secret".into(),
            plural: "secrets".into(),
        };
        assert_eq!(path(&core, "n", "a"), "/api/v1/namespaces/n/secrets/a");
        let apps = ApiResource {
            group: "apps".into(),
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            plural: "deployments".into(),
            ..core
        };
        assert_eq!(path(&apps, "", ""), "/apis/apps/v1/deployments");
        assert_eq!(path(&apps, "n", "a/../b"), "/apis/apps/v1/namespaces/n/deployments/a%2F..%2Fb");
    }
}
