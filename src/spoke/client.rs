//! The one place where clients are built, and the verbs that everything else uses.
//!
//! A client multiplexes one HTTP/2 connection where the server offers it, takes no proxy from the environment, retries
//! nothing by itself, and gives up on every request: 5 s to connect, 10 s for the head of a response, 70 s without a byte
//! of its body, and PINGs that notice a peer which fell silent. The types keep a spoke's client and the hub's apart.

use super::fence::{Closed, Fence};
use super::health::Contact;
use super::kubeconfig::Endpoint;
use super::transport::{self, Hook, Transport};
use super::trust;
use crate::api::names::ClusterName;
use crate::metrics::Metrics;
use base64::Engine;
use http::{Method, Request};
use kube::core::ApiResource;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

/// Requests in flight to one cluster, watches aside, unless its Cluster says otherwise.
pub const DEFAULT_IN_FLIGHT: usize = 32;
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

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
                | Self::NotLeading
        )
    }
}

/// Sorts an error by what it means; by its body too, since the code alone does not tell a sick cluster from an object
/// that does not fit.
pub fn classify(error: &kube::Error) -> ApiError {
    let kube::Error::Api(status) = error else {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            if inner.is::<Closed>() {
                return ApiError::NotLeading;
            }
            text = inner.to_string();
            cause = inner.source();
        }
        return if text.contains(transport::HEAD_TIMEOUT) {
            ApiError::Timeout
        } else {
            ApiError::Connect { message: text }
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
    cluster: Arc<str>,
    in_flight: Arc<Semaphore>,
    may_write: Option<MayWrite>,
    fence: Fence,
}

/// Whether a write may be sent now.
pub type MayWrite = Arc<dyn Fn() -> bool + Send + Sync>;

/// A client of one registered cluster.
#[derive(Clone)]
pub struct SpokeClient(Verbs);

/// A client of the hub.
#[derive(Clone)]
pub struct HubClient {
    verbs: Verbs,
    config: Arc<kube::Config>,
    metrics: Metrics,
}

impl std::ops::Deref for SpokeClient {
    type Target = Verbs;
    fn deref(&self) -> &Verbs {
        &self.0
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
        let (hook, in_flight) = (hook(cluster, metrics, contacts), limit(in_flight));
        let fence = hook.fence.clone();
        let transport = Transport::new(tls, endpoint.tls_server_name(), base, auth, in_flight.clone(), hook);
        let client = kube::Client::new(transport, "default");
        Ok(Self::over(client, cluster, in_flight, fence))
    }

    fn over(client: kube::Client, cluster: &ClusterName, in_flight: Arc<Semaphore>, fence: Fence) -> Self {
        Self(Verbs { client, cluster: cluster.as_str().into(), in_flight, may_write: None, fence })
    }

    /// Sends nothing at all once this right has ended.
    #[must_use]
    pub fn fenced(self, right: MayWrite) -> Self {
        self.0.fence.set(right);
        self
    }

    /// The same client, asking before each write whether it may still be sent.
    #[must_use]
    pub fn guarded(mut self, may_write: MayWrite) -> Self {
        self.0.may_write = Some(may_write);
        self
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
        Self::of(self.config.clone(), self.metrics.clone())
    }

    /// Sends nothing at all once this right has ended.
    #[must_use]
    pub fn fenced(self, right: MayWrite) -> Self {
        self.verbs.fence.set(right);
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
        Self::of(Arc::new(config), metrics)
    }

    pub(crate) fn of(config: Arc<kube::Config>, metrics: Metrics) -> Result<Self, BuildError> {
        let fence = Fence::default();
        let hook =
            Hook { cluster: "hub".into(), metrics: metrics.clone(), contacts: None, fence: fence.clone() };
        let in_flight = limit(128);
        let client = trusted(&config, hook, in_flight.clone())?;
        let verbs = Verbs { client, cluster: "hub".into(), in_flight, may_write: None, fence };
        Ok(Self { verbs, config, metrics })
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
        let (hook, in_flight) = (hook(cluster, metrics, contacts), limit(in_flight));
        let fence = hook.fence.clone();
        let client = trusted(&self.config, hook, in_flight.clone())?;
        Ok(SpokeClient::over(client, cluster, in_flight, fence))
    }

    pub fn default_namespace(&self) -> &str {
        &self.config.default_namespace
    }
}

/// What a cluster's requests are counted and judged by.
fn hook(cluster: &ClusterName, metrics: Metrics, contacts: UnboundedSender<Contact>) -> Hook {
    Hook { cluster: cluster.as_str().into(), metrics, contacts: Some(contacts), fence: Fence::default() }
}

fn limit(in_flight: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(in_flight.max(1)))
}

/// A client for a configuration that the hub's operator gave.
fn trusted(config: &kube::Config, hook: Hook, in_flight: Arc<Semaphore>) -> Result<kube::Client, BuildError> {
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
    let transport = Transport::new(tls, name.as_deref(), config.cluster_url.clone(), None, in_flight, hook);
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
    pub fn kube(&self) -> &kube::Client {
        &self.client
    }
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    async fn call<T: serde::de::DeserializeOwned>(&self, request: Request<Vec<u8>>) -> Result<T, ApiError> {
        self.in_turn(request, |client, request| async move { client.request::<T>(request).await }).await
    }

    /// Waits for its turn first: neither the clock of the call runs meanwhile, nor does the right to write that was
    /// there before count.
    async fn in_turn<T, F: Future<Output = kube::Result<T>>>(
        &self,
        mut request: Request<Vec<u8>>,
        ask: impl FnOnce(kube::Client, Request<Vec<u8>>) -> F,
    ) -> Result<T, ApiError> {
        let closed = |_| ApiError::Connect { message: "the client is closed".into() };
        let _permit = self.in_flight.clone().acquire_owned().await.map_err(closed)?;
        request.extensions_mut().insert(transport::Permitted);
        let writes = request.method() != Method::GET;
        if writes && self.may_write.as_ref().is_some_and(|may_write| !may_write()) {
            return Err(ApiError::NotLeading);
        }
        if let Some(may_write) = self.may_write.as_ref().filter(|_| writes) {
            request.extensions_mut().insert(transport::Guard(may_write.clone()));
        }
        match tokio::time::timeout(CALL_TIMEOUT, ask(self.client.clone(), request)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => Err(ApiError::Timeout),
        }
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
        match self.in_turn(request, |client, request| async move { client.request_text(request).await }).await
        {
            // A redirect: what the path names by its hash is something else by now.
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Ok(Some(text)),
            Err(ApiError::NotFound | ApiError::KindUnknown) => Ok(None),
            Err(error) => Err(error),
        }
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

fn path(resource: &ApiResource, namespace: &str, name: &str) -> String {
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
    fn counting(written: Arc<AtomicUsize>, in_flight: Arc<Semaphore>) -> SpokeClient {
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
        SpokeClient(Verbs {
            client,
            cluster: "c".into(),
            in_flight,
            may_write: None,
            fence: Fence::default(),
        })
    }

    #[tokio::test]
    async fn a_write_that_waited_for_its_turn_is_not_sent_without_the_lease() {
        let (written, held) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let (gate, lease) = (limit(1), held.clone());
        let client =
            counting(written.clone(), gate.clone()).guarded(Arc::new(move || lease.load(Ordering::SeqCst)));
        let resource = super::super::crd::crd_resource();
        let body = json!({});
        assert_eq!(client.merge_patch(&resource, "", "x", &body).await, Ok(json!({})));
        assert_eq!(written.load(Ordering::SeqCst), 1);

        let turn = gate.acquire_owned().await.unwrap();
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
        let client =
            HubClient::of(Arc::new(kube::Config::new(url.parse().unwrap())), Metrics::default()).unwrap();
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
