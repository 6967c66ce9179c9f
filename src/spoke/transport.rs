//! HTTP to one API server: TLS, time limits, limits of what is sent and received, counting.

use super::connections::{Connections, Refusal, SYSTEM, Streamed};
use super::dial::Dial;
use super::fence::{Closed, Fence, MayWrite};
use super::gate::{Gate, NoTurn, retry_after};
use super::groups::aggregated;
use super::health::Contact;
use super::in_flight::{Begun, Outcome, Sort};
use super::in_front;
use super::limits::{Asked, Bounded, UnderWay, not_an_api};
use super::who::Told;
use crate::metrics::Metrics;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use hyper::body::{Body as HttpBody, Bytes, Frame};
use kube::client::Body;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tower_http::timeout::TimeoutBody;

/// For the head of the answer to a read.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// For that to a write, which waits for admission webhooks: they may take 10 s unless they say otherwise. It stays below the
/// limit of a whole call, since a hub that starts waits for twice that before it moves anybody on: what an earlier life sent
/// has landed by then.
const WRITE_LIMIT: Duration = Duration::from_secs(14);
/// Without a byte. A watch ends by itself before this.
const IDLE_LIMIT: Duration = Duration::from_secs(70);
/// What the server may need beyond the time that a watch was asked for.
const IDLE_MORE: Duration = Duration::from_secs(15);

pub(super) const AGENT: &str = concat!("kro-hub/", env!("CARGO_PKG_VERSION"));

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a request has no answer, or one that is of no use.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("no answer in time")]
    Late,
    /// Nothing was sent.
    #[error("this process does not hold the lease")]
    Fenced,
    /// Nothing was sent: see [`NoTurn::Paused`].
    #[error("{}", NoTurn::PAUSED)]
    Paused,
    #[error("{0}")]
    Connect(String),
    #[error("what answers is not a Kubernetes API server: {0}")]
    NotAnApi(String),
    /// A gateway or load balancer says so by itself.
    #[error("what stands in front of the API server does not reach it ({0})")]
    CutOff(StatusCode),
    #[error("{0}")]
    TooLarge(String),
    /// What serves this group refuses everybody, or us, and the API server itself does not.
    #[error("{}", of_group(*.0))]
    OfGroup(StatusCode),
    #[error("another cluster answers at this address: {found}, where {known} was")]
    Stranger { known: String, found: String },
    /// Whoever answers hides who it is, and did not before: it may be another cluster.
    #[error("a new connection leads to a cluster that does not say which it is, as it did before: {0}")]
    Nameless(String),
}

fn of_group(status: StatusCode) -> String {
    match status {
        StatusCode::UNAUTHORIZED => {
            "what serves it does not accept the credentials (401), though the cluster does".into()
        }
        StatusCode::TOO_MANY_REQUESTS => "what serves it asks to slow down (429)".into(),
        status => format!("what serves it answers {status}"),
    }
}

/// Who hears of each request.
#[derive(Clone)]
pub(super) struct Hook {
    pub cluster: Arc<str>,
    pub metrics: Metrics,
    pub contacts: Option<UnboundedSender<Contact>>,
    /// Asked before anything is sent.
    pub fence: Fence,
}

impl From<NoTurn> for Trouble {
    fn from(why: NoTurn) -> Self {
        match why {
            NoTurn::Closed => Self::Connect("the client is closed".into()),
            NoTurn::Paused => Self::Paused,
        }
    }
}

impl Hook {
    pub fn counted(&self, verb: &'static str, code: &str) {
        self.metrics.request(&self.cluster, verb, code);
    }

    pub fn heard(&self, contact: Contact) {
        if let Some(contacts) = &self.contacts {
            // Nobody listens any more while an actor ends.
            let _ = contacts.send(contact);
        }
    }

    pub(super) fn done(&self, verb: &'static str, code: &str, contact: Option<Contact>) {
        self.counted(verb, code);
        if let Some(contact) = contact {
            self.heard(contact);
        }
    }
}

/// The API server that requests go to.
pub(super) struct Server {
    /// Where its paths begin.
    pub base: Uri,
    /// The bearer token, where the transport adds it.
    pub auth: Option<HeaderValue>,
    /// Whether each connection says first which cluster answers.
    pub proves: bool,
}

/// The innermost service of a client.
#[derive(Clone)]
pub(super) struct Transport {
    connections: Connections,
    base: Uri,
    auth: Option<HeaderValue>,
    pub(super) gate: Arc<Gate>,
    pub(super) hook: Hook,
    under_way: UnderWay,
    pub(super) proves: bool,
}

/// Whether a write may be sent, asked last of all: it may have waited since its sender asked.
#[derive(Clone)]
pub(super) struct Guard(pub MayWrite);

impl Guard {
    pub fn check(&self) -> Result<(), Closed> {
        if (self.0)() { Ok(()) } else { Err(Closed) }
    }
}

/// A request that is under way.
pub(super) struct Sent<'a> {
    pub verb: &'static str,
    pub path: &'a str,
    sort: Sort,
    pub begun: Begun,
    pub auth: Option<HeaderValue>,
    /// The refusal is that of a group alone.
    of_group_alone: bool,
}

impl Sent<'_> {
    pub fn reads(&self) -> bool {
        self.sort == Sort::Read
    }

    fn limit(&self) -> Duration {
        match self.sort {
            _ if self.verb == "watch" => IDLE_LIMIT,
            Sort::Read => READ_LIMIT,
            Sort::Write => WRITE_LIMIT,
        }
    }
}

/// Marks a request whose sender waited for its turn already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permitted;

impl Transport {
    pub fn new(dial: Dial, server: Server, gate: Arc<Gate>, hook: Hook) -> Self {
        let Server { base, auth, proves } = server;
        let under_way = UnderWay::default();
        let proof = proves.then(|| auth.clone());
        let connections = Connections::new(dial, base.clone(), proof, hook.clone(), under_way.clone());
        Self { connections, base, auth, gate, hook, under_way, proves }
    }

    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(super) fn load(&self, request: &Sent<'_>, outcome: Outcome) {
        self.gate.heard(request.begun, outcome);
    }

    /// The answer, as far as it is one; and what it says of the contact.
    fn judge(
        &self,
        parts: &http::response::Parts,
        body: &Answer,
        request: &Sent<'_>,
    ) -> (Option<Contact>, Option<Trouble>) {
        let (status, headers, empty) = (parts.status, &parts.headers, body.is_end_stream());
        let (path, reads) = (request.path, request.reads());
        let alone = request.of_group_alone.then_some(Trouble::OfGroup(status));
        let busy = alone.is_none() && body.asks_to_slow_down(status);
        let foreign = in_front::not_its_own(status, headers, body.text());
        let cut_off = matches!(foreign, Some(Trouble::CutOff(_)));
        // Of a group that another server serves it says nothing about this one.
        let group = aggregated(path);
        let (own, missing) =
            (group.is_none(), status == StatusCode::SERVICE_UNAVAILABLE || cut_off || alone.is_some());
        self.load(
            request,
            match status {
                StatusCode::TOO_MANY_REQUESTS if busy => Outcome::SlowDown(retry_after(headers)),
                _ if missing && own => Outcome::Unavailable(retry_after(headers)),
                _ if missing => Outcome::Aside,
                StatusCode::GATEWAY_TIMEOUT if !body.says(b"Too large resource version") => Outcome::TimedOut,
                _ if request.verb == "watch" => Outcome::Aside,
                _ => Outcome::Answered,
            },
        );
        let trouble =
            not_an_api(status, headers, empty, reads, path).map(Trouble::NotAnApi).or(foreign).or(alone);
        if let Some(group) = group {
            let refused = (missing || trouble.is_some()).then(|| retry_after(headers));
            self.gate.heard_of_group(group, request.begun, refused);
        }
        let contact = match (&trouble, status.as_u16()) {
            (Some(Trouble::NotAnApi(why)), _) => own.then(|| Contact::NotAnApi(why.as_str().into())),
            (Some(_), code) | (None, code @ 503) => own.then_some(Contact::Unavailable(code)),
            (None, 401) => Some(Contact::Unauthorized),
            (None, 429) if busy => Some(Contact::Throttled),
            // It is there, and what is behind it may not be.
            (None, 504) => None,
            (None, _) => Some(Contact::Ok),
        };
        (contact, trouble)
    }

    async fn answer(
        &self,
        request: Request<Body>,
        verb: &'static str,
        path: &str,
    ) -> Result<Response<Answer>, BoxError> {
        let idle = idle_limit(request.uri());
        let sort = if request.method() == http::Method::GET { Sort::Read } else { Sort::Write };
        let auth = request.headers().get(header::AUTHORIZATION).cloned();
        let mut this = Sent { verb, path, sort, begun: self.gate.begin(sort), auth, of_group_alone: false };
        let answer = tokio::time::timeout(this.limit(), self.connections.send(request)).await;
        let mut sent = true;
        let (parts, body) = match answer {
            Ok(Ok(response)) => {
                let (parts, body) = response.into_parts();
                self.gate.shares.store(parts.version == http::Version::HTTP_2, Ordering::Relaxed);
                let asked = if parts.status.is_success() { Asked::of(verb, path) } else { Asked::Refusal };
                let ear = self.hook.contacts.clone();
                let body = Bounded::new(body, asked, path.into(), self.under_way.clone(), ear);
                let empty = body.is_end_stream();
                let mut body = Answer::Live(Box::pin(TimeoutBody::new(idle, body)), empty);
                if in_front::matters(parts.status) {
                    body = body.read().await?;
                }
                (parts, body)
            }
            Ok(Err(Refusal::Answered(told))) => {
                sent = false;
                // Whatever was asked for, this is what the cluster itself said.
                this.path = SYSTEM;
                answered(&told)
            }
            Ok(Err(Refusal::Failed(trouble))) => {
                let contact = match &trouble {
                    Trouble::Fenced => {
                        self.hook.done(verb, "error", None);
                        return Err(trouble.into());
                    }
                    Trouble::Late => Contact::Timeout,
                    Trouble::Connect(_) | Trouble::TooLarge(_) | Trouble::Paused => Contact::ConnectError,
                    Trouble::CutOff(status) | Trouble::OfGroup(status) => {
                        Contact::Unavailable(status.as_u16())
                    }
                    Trouble::NotAnApi(why) => Contact::NotAnApi(why.as_str().into()),
                    Trouble::Nameless(_) => Contact::Nameless(trouble.to_string().into()),
                    Trouble::Stranger { found, .. } => Contact::Stranger(found.as_str().into()),
                };
                self.hook.done(verb, "error", Some(contact));
                return Err(trouble.into());
            }
            Err(_) => {
                self.late(&this);
                return Err(Trouble::Late.into());
            }
        };
        this.of_group_alone = sent && self.may_be_of_group_alone(&this, parts.status, &body).await;
        let (contact, trouble) = self.judge(&parts, &body, &this);
        if sent {
            self.hook.counted(verb, parts.status.as_str());
        }
        contact.into_iter().for_each(|contact| self.hook.heard(contact));
        match trouble {
            Some(trouble) => Err(trouble.into()),
            None => Ok(Response::from_parts(parts, body)),
        }
    }
}

/// How long the answer may pause: a watch for as long as it was asked for.
fn idle_limit(uri: &Uri) -> Duration {
    let asked =
        uri.query().unwrap_or_default().split('&').find_map(|part| part.strip_prefix("timeoutSeconds="));
    let asked = asked.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    asked.map_or(IDLE_LIMIT, |asked| IDLE_LIMIT.max(asked + IDLE_MORE))
}

fn answered(told: &Told) -> (http::response::Parts, Answer) {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = told.status;
    parts.headers = told.headers.clone();
    (parts, Answer::Told(Some(told.body.clone())))
}

/// The body of an answer.
pub(super) enum Answer {
    /// And whether it was known to be empty when it began.
    Live(Pin<Box<TimeoutBody<Bounded<Streamed>>>>, bool),
    Told(Option<Bytes>),
}

impl Answer {
    async fn read(self) -> Result<Self, BoxError> {
        let limited = tokio::time::timeout(READ_LIMIT, http_body_util::BodyExt::collect(self));
        Ok(Self::Told(Some(limited.await.map_err(|_| Trouble::Late)??.to_bytes())))
    }

    /// What of it was read already.
    fn text(&self) -> &[u8] {
        match self {
            Self::Told(Some(text)) => text,
            _ => &[],
        }
    }

    /// An API server refuses a kind with 429 too, for the moment that it needs to begin serving it.
    pub fn asks_to_slow_down(&self, status: StatusCode) -> bool {
        status == StatusCode::TOO_MANY_REQUESTS && !self.says(b"storage is (re)initializing")
    }

    fn says(&self, words: &[u8]) -> bool {
        self.text().windows(words.len()).any(|said| said == words)
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Live(body, _) => body.as_mut().poll_frame(cx),
            Self::Told(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Live(body, empty) => *empty || body.is_end_stream(),
            Self::Told(bytes) => bytes.is_none(),
        }
    }
}

/// The same request again, unless its body is a stream.
pub(super) fn repeat(request: &Request<Body>) -> Option<Request<Body>> {
    let mut again = Request::new(request.body().try_clone()?);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

impl tower::Service<Request<Body>> for Transport {
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let verb = verb(&request);
            let path = request.uri().path().to_owned();
            *request.uri_mut() = absolute(&this.base, request.uri())?;
            if let Some(auth) = &this.auth {
                request.headers_mut().insert(header::AUTHORIZATION, auth.clone());
            }
            request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
            let permitted = request.extensions().get::<Permitted>().is_some();
            let group = aggregated(&path);
            let _turn = match verb {
                _ if permitted => None,
                "watch" => {
                    this.gate.open(group).await.map_err(Trouble::from)?;
                    None
                }
                _ => Some(this.gate.turn(group).await.map_err(Trouble::from)?),
            };
            let guard = request.extensions().get::<Guard>();
            // Asked again over the connection; none is made for nothing.
            this.hook.fence.check().and(guard.map_or(Ok(()), Guard::check))?;
            this.answer(request, verb, &path).await
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

pub(super) fn absolute(base: &Uri, uri: &Uri) -> Result<Uri, BoxError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_may_be_silent_for_as_long_as_it_was_asked_for() {
        let limit = |uri: &str| idle_limit(&uri.parse().unwrap()).as_secs();
        assert_eq!(limit("/api/v1/pods"), 70);
        assert_eq!(limit("/api/v1/pods?watch=true&timeoutSeconds=55"), 70);
        assert_eq!(limit("/api/v1/pods?watch=true&timeoutSeconds=290&resourceVersion=3"), 305);
    }

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
