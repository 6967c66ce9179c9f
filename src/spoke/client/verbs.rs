//! The verbs that everything else uses: each request waits for its turn, has a time limit, and is read only so far.

use super::MayWrite;
use super::answers::{Lines, List, Page, Slim};
use super::error::{ApiError, in_its_group, not_json, read, refused, unsent};
use super::object::{ObjectVerbs, path};
use super::way::{Incoming, Way};
use crate::spoke::gate::Gate;
use crate::spoke::groups::aggregated;
use crate::spoke::health::Contact;
use crate::spoke::listwatch::Past;
use crate::spoke::transport::{self, Hook};
use crate::spoke::weight::Kept;
use futures::future::BoxFuture;
use http::{Method, Request};
use hyper::body::Bytes;
use kube::client::Body;
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// The verbs, on any cluster. Not public by itself: a [`super::SpokeClient`] or a [`super::HubClient`] has it.
#[derive(Clone)]
pub struct Verbs {
    pub(super) way: Way,
    pub(super) gate: Arc<Gate>,
    pub(super) hook: Hook,
    pub(super) may_write: Option<MayWrite>,
    /// Of a cluster that is not trusted.
    pub(super) kept: Option<Kept>,
    /// No write is stored.
    pub(super) dry_run: bool,
    /// Whether the server went back in time.
    pub(super) past: Past,
}

impl Verbs {
    pub(super) fn over(way: Way, gate: Arc<Gate>, hook: Hook) -> Self {
        Self { way, gate, hook, may_write: None, kept: None, dry_run: false, past: Past::default() }
    }
    /// The same verbs, none of which stores anything: each write goes out with `dryRun=All`. A client of the library is not
    /// bound by it.
    #[must_use]
    pub fn dry_run(self) -> Self {
        Self { dry_run: true, ..self }
    }
    /// A client of the library: without the time limit of a whole call.
    pub fn kube(&self) -> kube::Client {
        self.way.kube()
    }
    /// The name that its requests are counted under.
    pub fn cluster(&self) -> &str {
        &self.hook.cluster
    }

    /// Whether requests share connections, so that one which fell silent is noticed without asking anything.
    pub(in crate::spoke) fn shares_connections(&self) -> bool {
        self.gate.shares.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Says something of the cluster that is no matter of one object: what it is about, and the text.
    pub(in crate::spoke) fn note(&self, topic: &'static str, text: &str) {
        self.hook.heard(Contact::Note(topic, text.into()));
    }

    /// What is kept of the cluster, where that is bounded: a hub is trusted to be no larger than it has to be.
    pub(in crate::spoke) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    pub(in crate::spoke) fn past(&self) -> &Past {
        &self.past
    }

    /// Whether the server has come to the version that a path asks for.
    ///
    /// # Errors
    /// As for [`Self::get_json`].
    pub(in crate::spoke) async fn has_come_to(&self, path: &str) -> Result<bool, ApiError> {
        let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        match self.in_turn(request(Method::GET, path, accept, None)).await {
            Err(ApiError::YetToCome { .. }) => Ok(false),
            answered => answered.map(|_| true),
        }
    }

    pub(super) async fn call<T: serde::de::DeserializeOwned>(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<T, ApiError> {
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
    ///
    /// In a box: what waits for an answer is large, and tasks that live long ask now and then.
    fn in_turn(&self, request: Request<Vec<u8>>) -> BoxFuture<'_, Result<Bytes, ApiError>> {
        Box::pin(self.take_turn(request))
    }

    async fn take_turn(&self, mut request: Request<Vec<u8>>) -> Result<Bytes, ApiError> {
        let path = request.uri().path();
        let turn = self.gate.turn(aggregated(path)).await;
        let _turn = turn.map_err(|why| in_its_group(path, unsent(&transport::Trouble::from(why))))?;
        request.extensions_mut().insert(transport::Permitted);
        let writes = request.method() != Method::GET;
        if writes && self.may_write.as_ref().is_some_and(|may_write| !may_write()) {
            return Err(ApiError::NotLeading);
        }
        if writes && self.dry_run {
            request = not_stored(request)?;
        }
        if let Some(may_write) = self.may_write.as_ref().filter(|_| writes) {
            request.extensions_mut().insert(transport::Guard(may_write.clone()));
        }
        let answer = async {
            let response = self.send(request).await?;
            whole(response.into_body()).await
        };
        tokio::time::timeout(CALL_TIMEOUT, answer).await.unwrap_or(Err(ApiError::Timeout))
    }

    /// The answer, unless it is a refusal.
    async fn send(&self, request: Request<Vec<u8>>) -> Result<http::Response<Incoming>, ApiError> {
        let path = request.uri().path().to_owned();
        let sent = self.way.send(request.map(Body::from)).await;
        let response = sent.map_err(|e| in_its_group(&path, unsent(&*e)))?;
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(response);
        }
        let body = whole(response.into_body()).await?;
        Err(refused(&path, status.as_u16(), &body))
    }

    /// `Ok(None)` is a 404 for the object itself, or for the namespace that it would be in; a missing kind is an error.
    pub(super) async fn find(&self, request: Request<Vec<u8>>) -> Result<Option<Value>, ApiError> {
        match self.call(request).await {
            Ok(value) => Ok(Some(value)),
            Err(ApiError::NotFound | ApiError::NamespaceMissing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The object of this name; an empty namespace is that of a cluster-scoped kind.
    pub fn at<'a>(&'a self, resource: &'a ApiResource, namespace: &'a str, name: &'a str) -> ObjectVerbs<'a> {
        ObjectVerbs { verbs: self, resource, namespace, name }
    }

    /// Any path; `Ok(None)` where the server knows none.
    ///
    /// # Errors
    /// As `error.rs` sorts them; so for all verbs.
    pub async fn get_json(&self, path: &str) -> Result<Option<Value>, ApiError> {
        match self.find(request(Method::GET, path, "application/json", None)).await {
            Err(ApiError::KindUnknown) => Ok(None),
            other => other,
        }
    }

    /// The text at a path, which is read elsewhere; `Ok(None)` where the server knows none.
    ///
    /// # Errors
    /// As for [`Self::get_json`].
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
    /// As for [`Self::get_json`]; [`ApiError::TooLarge`] when fewer objects may fit.
    pub(in crate::spoke) async fn page(&self, path: &str, accept: &str) -> Result<Page, ApiError> {
        let closed = |_| ApiError::Connect { message: "the client is closed".into() };
        let _one = self.gate.pages.clone().acquire_owned().await.map_err(closed)?;
        let text = self.in_turn(request(Method::GET, path, accept, None)).await?;
        let list = if accept.contains("PartialObjectMetadata") {
            self.understood(read::<List<Slim>>(&text).map(List::whole))?
        } else {
            self.understood(read::<List<Value>>(&text))?
        };
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
    /// As for [`Self::get_json`].
    pub(in crate::spoke) async fn watch(&self, path: &str, accept: &str) -> Result<Lines, ApiError> {
        let response = Box::pin(self.send(request(Method::GET, path, accept, None))).await?;
        Ok(Lines::of(response.into_body()))
    }

    /// Creates an object, which names itself.
    ///
    /// # Errors
    /// As for [`Self::get_json`].
    pub async fn create(
        &self,
        resource: &ApiResource,
        namespace: &str,
        body: &Value,
    ) -> Result<Value, ApiError> {
        let path = path(resource, namespace, "");
        self.call(request(Method::POST, &path, "application/json", Some(("application/json", body)))).await
    }
}

/// The same request, so that the API server does all but store it. A deletion says so in its body: where there is one, the
/// query counts for nothing.
fn not_stored(request: Request<Vec<u8>>) -> Result<Request<Vec<u8>>, ApiError> {
    let unable = || ApiError::Invalid { message: "a request that cannot be sent as a dry run".into() };
    let (mut head, mut body) = request.into_parts();
    if head.method == Method::DELETE {
        let mut options: Value = serde_json::from_slice(&body).map_err(|_| unable())?;
        options.as_object_mut().ok_or_else(unable)?.insert("dryRun".into(), json!(["All"]));
        body = options.to_string().into_bytes();
    }
    let sign = if head.uri.query().is_some() { '&' } else { '?' };
    head.uri = format!("{}{sign}dryRun=All", head.uri).parse().map_err(|_| unable())?;
    Ok(Request::from_parts(head, body))
}

async fn whole(body: Incoming) -> Result<Bytes, ApiError> {
    let read = http_body_util::BodyExt::collect(body).await;
    read.map(http_body_util::Collected::to_bytes).map_err(|error| unsent(&*error))
}

pub(super) fn request(
    method: Method,
    path: &str,
    accept: &str,
    body: Option<(&str, &Value)>,
) -> Request<Vec<u8>> {
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
    use crate::spoke::client::in_memory;
    use http_body_util::{BodyExt, Full};
    use std::sync::Mutex;

    #[tokio::test]
    async fn a_dry_run_says_so_with_each_write_and_with_no_read() {
        let sent: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = sent.clone();
        let client = in_memory(move |request| {
            let seen = seen.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                let body = String::from_utf8_lossy(&body).into_owned();
                seen.lock().unwrap().push(format!("{} {} {body}", head.method, head.uri));
                http::Response::new(Full::new("{}".into()).boxed_unsync())
            }
        });
        let dry = client.dry_run();
        let resource = crate::spoke::crd::crd_resource();
        let at = || dry.at(&resource, "n", "c");
        let (body, read) = (json!({"a": 1}), crate::api::Object::default());
        at().get().await.unwrap();
        at().apply("me", &body).await.unwrap();
        at().merge_patch(&body).await.unwrap();
        at().merge_status(&body).await.unwrap();
        at().json_patch(&body).await.unwrap();
        at().replace(&body).await.unwrap();
        at().delete("u").await.unwrap();
        at().delete_unchanged(&read).await.unwrap();
        dry.create(&resource, "n", &body).await.unwrap();
        let sent = sent.lock().unwrap();
        assert_eq!(sent.len(), 9);
        for request in sent.iter() {
            assert_eq!(request.contains("dryRun=All"), !request.starts_with("GET"), "{request}");
            assert_eq!(request.contains(r#""dryRun":["All"]"#), request.starts_with("DELETE"), "{request}");
        }
    }
}
