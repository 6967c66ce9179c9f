//! The connections to one API server. Each one proves which cluster answers before anything else is asked over it: behind
//! one address, with the same certificates and credentials, another cluster may answer from one connection to the next. Where
//! it may answer on a connection that stays open, it is asked once more before its answer counts.

use super::dial::Dial;
use super::fence::is_closed;
use super::in_front;
use super::limits::{Asked, Bounded, UnderWay, not_an_api};
use super::marks::Marks;
use super::transport::{Guard, Hook, Trouble, repeat};
use super::who::{Told, Who};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http::{HeaderValue, Request, Response, Uri, header};
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::connect::Connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::Body;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// TCP, TLS and the proof together.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// For the question who answers, where another request was not answered.
const SYSTEM_LIMIT: Duration = Duration::from_secs(5);
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Servers close what is idle for longer than some minutes.
const IDLE: Duration = Duration::from_secs(60);
/// Requests under way on one HTTP/2 connection, watches among them. Servers take a hundred and let what exceeds them wait,
/// and a watch does not end.
const STREAMS: usize = 80;
/// HTTP/2 connections to one server.
const LINES: usize = 10;
/// Turns of other tasks until an HTTP/1.1 connection whose answer was read is idle.
const PARKING: usize = 4;
/// Tries of one request that was never sent.
const TRIES: usize = 3;

pub(super) const SYSTEM: &str = "/api/v1/namespaces/kube-system";
const PROPERTIES: [&str; 2] = [
    "/apis/about.k8s.io/v1beta1/clusterproperties/cluster.clusterset.k8s.io",
    "/apis/about.k8s.io/v1alpha1/clusterproperties/cluster.clusterset.k8s.io",
];

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    Failed(Trouble),
    /// The cluster refused to say who it is; that is the answer to whatever is asked of it.
    Answered(Arc<Told>),
}

enum HttpConnection {
    One(http1::SendRequest<Body>),
    Two(Two),
}

/// An HTTP/2 connection.
#[derive(Clone)]
struct Two {
    number: u64,
    sender: http2::SendRequest<Body>,
    /// Held by the pool, and by each request until its answer has ended.
    streams: Arc<()>,
}

impl Two {
    fn under_way(&self) -> usize {
        Arc::strong_count(&self.streams)
    }
}

/// The body of an answer, which takes up its connection until it is dropped.
pub(super) struct Streamed {
    body: Incoming,
    _stream: Option<Arc<()>>,
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

type Connecting = Shared<BoxFuture<'static, Result<(), Refusal>>>;

#[derive(Default)]
struct PoolState {
    /// HTTP/2: requests share them. There is more than one only where there are many.
    shared: Vec<Two>,
    /// HTTP/1.1: nothing is under way on them.
    idle: Vec<(Instant, http1::SendRequest<Body>)>,
    connecting: Option<Connecting>,
    /// The server offered no HTTP/2 at last.
    only_http1: bool,
    /// Who answered on the first connection.
    known: Option<Who>,
    marks: Marks,
    /// Rises when all that was known is forgotten.
    generation: u64,
    number: u64,
}

struct Inner {
    dial: Dial,
    base: Uri,
    /// The credentials of the proof; none where who answers does not matter.
    proof: Option<Option<HeaderValue>>,
    hook: Hook,
    under_way: UnderWay,
    state: Mutex<PoolState>,
}

#[derive(Clone)]
pub(super) struct Connections(Arc<Inner>);

impl Connections {
    /// `proof`: whether each connection says who answers, and the `Authorization` header to ask with, if there is one.
    pub fn new(
        dial: Dial,
        base: Uri,
        proof: Option<Option<HeaderValue>>,
        hook: Hook,
        under_way: UnderWay,
    ) -> Self {
        Self(Arc::new(Inner { dial, base, proof, hook, under_way, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever answers next is the cluster: the present connections are not used any more.
    pub fn forget(&self) {
        let mut state = self.state();
        let generation = state.generation + 1;
        *state = PoolState { generation, number: state.number, ..PoolState::default() };
    }

    /// Sends a request. Once more, when it was never sent because an idle connection was closed, or when the server closed
    /// the connection in peace before it had read it; an API server does that after each 401.
    ///
    /// Whether it may be sent is asked when there is a connection, and for each try: the process may have waited long for one.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Streamed>, Refusal> {
        let uri = request.uri().clone();
        let guard = request.extensions_mut().remove::<Guard>();
        for left in (0..TRIES).rev() {
            let again = repeat(&request);
            let mut line = Box::pin(self.line()).await?;
            let guarded = guard.as_ref().map_or(Ok(()), Guard::check);
            if self.0.hook.fence.check().and(guarded).is_err() {
                self.park(line);
                return Err(Refusal::Failed(Trouble::Fenced));
            }
            *request.uri_mut() = uri.clone();
            let (error, unsent) = match line.send(request).await {
                Ok(response) => {
                    if self.0.proof.is_some() && self.state().marks.doubt(response.headers()) {
                        self.prove_again(&mut line).await?;
                        self.state().marks.learn(response.headers());
                    }
                    let stream = line.stream();
                    self.park(line);
                    return Ok(response.map(|body| Streamed { body, _stream: stream }));
                }
                Err(failed) => failed,
            };
            self.discard(&line);
            let next = unsent.or_else(|| again.filter(|_| closed_in_peace(&error)));
            match next {
                Some(next) if left > 0 => request = next,
                _ => return Err(Refusal::Failed(failure(&error))),
            }
        }
        Err(Refusal::Failed(Trouble::Connect("the connection is closed again and again".into())))
    }

    /// A connection to send a request over.
    async fn line(&self) -> Result<HttpConnection, Refusal> {
        let (mut closed, mut patience) = (0, PARKING);
        while closed < TRIES {
            let connecting = {
                let mut state = self.state();
                state.shared.retain(|two| !two.sender.is_closed());
                if let Some(two) = state.with_room() {
                    return Ok(HttpConnection::Two(two));
                }
                state.idle.retain(|(since, one)| since.elapsed() < IDLE && one.is_ready());
                if let Some((_, one)) = state.idle.pop() {
                    return Ok(HttpConnection::One(one));
                }
                if state.only_http1 {
                    None
                } else {
                    let this = self.clone();
                    let connecting = state.connecting.get_or_insert_with(|| {
                        let work = async move {
                            let connected = this.connect().await;
                            this.state().connecting = None;
                            connected.map(|line| this.keep(line))
                        };
                        let work = work.boxed().shared();
                        // It goes on when who began it does not wait any more.
                        tokio::spawn(work.clone());
                        work
                    });
                    Some(connecting.clone())
                }
            };
            match connecting {
                Some(connecting) => {
                    connecting.await?;
                    // Others may have filled it already.
                    closed += usize::from(self.state().shared.is_empty());
                }
                // The one of the last answer is about to come back: who asks one thing after the other needs no second.
                None if patience > 0 => {
                    patience -= 1;
                    tokio::task::yield_now().await;
                }
                None => match self.connect().await? {
                    (_, line @ HttpConnection::One(_)) => return Ok(line),
                    two => {
                        self.keep(two);
                        closed += 1;
                    }
                },
            }
        }
        Err(Refusal::Failed(Trouble::Connect("the connection is closed again and again".into())))
    }

    /// `generation`: of the time when connecting began.
    fn keep(&self, (generation, line): (u64, HttpConnection)) {
        let mut state = self.state();
        if state.generation != generation {
            return;
        }
        match line {
            HttpConnection::Two(two) => {
                state.only_http1 = false;
                state.shared.push(two);
            }
            HttpConnection::One(one) => {
                state.only_http1 = true;
                state.idle.push((Instant::now(), one));
            }
        }
    }

    /// Takes an HTTP/1.1 connection back when its answer was read to the end.
    fn park(&self, line: HttpConnection) {
        let HttpConnection::One(mut one) = line else { return };
        let (this, generation) = (self.clone(), self.state().generation);
        tokio::spawn(async move {
            if one.ready().await.is_ok() {
                this.keep((generation, HttpConnection::One(one)));
            }
        });
    }

    fn discard(&self, line: &HttpConnection) {
        if let HttpConnection::Two(two) = line {
            self.state().shared.retain(|known| known.number != two.number);
        }
    }

    async fn connect(&self) -> Result<(u64, HttpConnection), Refusal> {
        tokio::time::timeout(CONNECT_LIMIT, self.try_connect())
            .await
            .unwrap_or(Err(Refusal::Failed(Trouble::Late)))
    }

    async fn try_connect(&self) -> Result<(u64, HttpConnection), Refusal> {
        let failed = |error: &(dyn std::error::Error + 'static)| Refusal::Failed(failure(error));
        let (generation, number) = {
            let mut state = self.state();
            state.number += 1;
            (state.generation, state.number)
        };
        let io = self.0.dial.dial(&self.0.base).await.map_err(|e| failed(&*e))?;
        let mut line = if io.connected().is_negotiated_h2() {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .adaptive_window(true)
                .handshake(io)
                .await
                .map_err(|e| failed(&e))?;
            tokio::spawn(connection.map(drop));
            HttpConnection::Two(Two { number, sender, streams: Arc::new(()) })
        } else {
            let (sender, connection) = http1::handshake(io).await.map_err(|e| failed(&e))?;
            tokio::spawn(connection.map(drop));
            HttpConnection::One(sender)
        };
        if let Some(auth) = &self.0.proof {
            self.prove(&mut line, auth.as_ref(), generation).await?;
        }
        Ok((generation, line))
    }

    /// What the API server says to the question who it is, whatever it says.
    pub async fn system(&self, auth: Option<&HeaderValue>) -> Result<Arc<Told>, Refusal> {
        let asked = async {
            let mut tries = TRIES;
            loop {
                let mut line = match Box::pin(self.line()).await {
                    Err(Refusal::Answered(told)) => return Ok(told),
                    line => line?,
                };
                tries -= 1;
                match self.ask(&mut line, SYSTEM, auth).await {
                    Ok(told) => {
                        self.park(line);
                        return Ok(Arc::new(told));
                    }
                    // The server may have closed it meanwhile, as it does after a 401.
                    Err(_) if tries > 0 => self.discard(&line),
                    Err(refusal) => return Err(refusal),
                }
            }
        };
        tokio::time::timeout(SYSTEM_LIMIT, asked).await.unwrap_or(Err(Refusal::Failed(Trouble::Late)))
    }

    /// An answer may be another cluster's. Over HTTP/1.1 the connection is taken up by it, so another one has to do.
    async fn prove_again(&self, line: &mut HttpConnection) -> Result<(), Refusal> {
        let generation = self.state().generation;
        let proven = match (&self.0.proof, &*line) {
            (Some(auth), HttpConnection::Two(_)) => {
                let asked = self.prove(line, auth.as_ref(), generation);
                let late = Err(Refusal::Failed(Trouble::Late));
                tokio::time::timeout(CONNECT_LIMIT, asked).await.unwrap_or(late)
            }
            _ => Box::pin(self.connect()).await.map(|line| self.keep(line)),
        };
        if proven.is_err() {
            // The others may lead there too.
            let mut state = self.state();
            (state.shared, state.idle) = (Vec::new(), Vec::new());
        }
        proven
    }

    async fn prove(
        &self,
        line: &mut HttpConnection,
        auth: Option<&HeaderValue>,
        generation: u64,
    ) -> Result<(), Refusal> {
        let system = self.ask(line, SYSTEM, auth).await?;
        let mut found = system.text_at("/metadata/uid").map(Who::System);
        if system.hides() {
            for path in PROPERTIES {
                let property = self.ask(line, path, auth).await?;
                found = property.text_at("/spec/value").map(Who::Property);
                if found.is_some() {
                    break;
                }
            }
        }
        let mut state = self.state();
        let known = state.known.clone().filter(|_| state.generation == generation);
        match (known, found) {
            (_, None) if system.status.is_success() => {
                Err(Refusal::Failed(Trouble::NotAnApi("namespace kube-system has no uid there".into())))
            }
            (Some(_), None) | (Some(Who::System(_)), Some(Who::Property(_))) if system.hides() => {
                Err(Refusal::Failed(Trouble::Nameless(system.words())))
            }
            (_, None) | (Some(Who::System(_)), Some(Who::Property(_))) => {
                Err(Refusal::Answered(Arc::new(system)))
            }
            // It may be read by now; what was known cannot be compared.
            (None | Some(Who::Property(_)), Some(found @ Who::System(_))) | (None, Some(found)) => {
                if state.generation == generation {
                    state.known = Some(found);
                    state.marks.learn(&system.headers);
                }
                Ok(())
            }
            (Some(known), Some(found)) if known == found => {
                state.marks.learn(&system.headers);
                Ok(())
            }
            (Some(known), Some(found)) => {
                let (known, found) = (known.id().to_owned(), found.id().to_owned());
                Err(Refusal::Failed(Trouble::Stranger { known, found }))
            }
        }
    }

    /// One small question over this very connection.
    async fn ask(
        &self,
        line: &mut HttpConnection,
        path: &str,
        auth: Option<&HeaderValue>,
    ) -> Result<Told, Refusal> {
        let failed = |trouble: Trouble| Refusal::Failed(trouble);
        let invalid = |_| failed(Trouble::Connect("the address of the server is not valid".into()));
        let uri = super::transport::absolute(&self.0.base, &Uri::try_from(path).map_err(|_| invalid(()))?)
            .map_err(|_| invalid(()))?;
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(super::transport::AGENT));
        if let Some(auth) = auth {
            headers.insert(header::AUTHORIZATION, auth.clone());
        }
        self.0.hook.fence.check().map_err(|_| failed(Trouble::Fenced))?;
        let answer = line.send(request).await;
        let response = answer.map_err(|(error, _)| failed(failure(&error)))?;
        self.0.hook.counted("get", response.status().as_str());
        let (parts, body) = response.into_parts();
        if let Some(why) =
            not_an_api(parts.status, &parts.headers, hyper::body::Body::is_end_stream(&body), true, path)
        {
            return Err(failed(Trouble::NotAnApi(why)));
        }
        let asked = if parts.status.is_success() { Asked::Discovery } else { Asked::Refusal };
        let body = Bounded::new(body, asked, path.into(), self.0.under_way.clone(), None);
        let body = http_body_util::BodyExt::collect(body).await.map_err(|error| {
            failed(match error.downcast::<Trouble>() {
                Ok(trouble) => *trouble,
                Err(error) => failure(&*error),
            })
        })?;
        if let HttpConnection::One(one) = line {
            one.ready().await.map_err(|error| failed(failure(&error)))?;
        }
        let body = body.to_bytes();
        let foreign = in_front::not_its_own(parts.status, &parts.headers, &body);
        if let Some(trouble @ Trouble::NotAnApi(_)) = foreign.filter(|_| path == SYSTEM) {
            return Err(failed(trouble));
        }
        Ok(Told { status: parts.status, headers: parts.headers, body })
    }
}

impl PoolState {
    /// The first connection that takes more; where there are as many as there may be, the one with the least under way.
    fn with_room(&self) -> Option<Two> {
        // The pool itself holds each once.
        let room = self.shared.iter().find(|two| two.under_way() <= STREAMS);
        let least = || self.shared.iter().min_by_key(|two| two.under_way());
        room.or_else(|| least().filter(|_| self.shared.len() >= LINES)).cloned()
    }
}

impl HttpConnection {
    /// What keeps the place of a request on its connection.
    fn stream(&self) -> Option<Arc<()>> {
        match self {
            Self::One(_) => None,
            Self::Two(two) => Some(two.streams.clone()),
        }
    }

    /// The request comes back with the error if it was never sent.
    async fn send(
        &mut self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<Body>>)> {
        let failed = |mut error: hyper::client::conn::TrySendError<Request<Body>>| {
            let unsent = error.take_message();
            (error.into_error(), unsent)
        };
        match self {
            Self::Two(two) => two.sender.try_send_request(request).await.map_err(failed),
            Self::One(sender) => {
                let host = request.uri().authority().map(|a| HeaderValue::from_str(a.as_str()));
                if let Some(Ok(host)) = host {
                    request.headers_mut().insert(header::HOST, host);
                }
                if let Some(path) = request.uri().path_and_query().cloned() {
                    *request.uri_mut() = Uri::from(path);
                }
                sender.try_send_request(request).await.map_err(failed)
            }
        }
    }
}

/// The server said that it goes away, without complaint, and that it did not begin with this request.
fn closed_in_peace(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |e| e.source())
        .filter_map(|e| e.downcast_ref::<h2::Error>())
        .any(|e| e.is_go_away() && e.is_remote() && e.reason() == Some(h2::Reason::NO_ERROR))
}

fn failure(error: &(dyn std::error::Error + 'static)) -> Trouble {
    if is_closed(error) { Trouble::Fenced } else { Trouble::Connect(deepest(error)) }
}

/// What lies behind an error.
pub(super) fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |e| e.source()).last().map(ToString::to_string).unwrap_or_default()
}
