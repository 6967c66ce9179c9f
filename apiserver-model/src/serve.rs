//! A server behind a connection: HTTP over anything that bytes flow over.

use crate::server::{Answer, Server};
use crate::watch::Watch;
use http::request::Parts;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};

pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What becomes of a request.
pub enum Verdict {
    Pass,
    /// Passed on after this long.
    After(Duration),
    /// Not the server's answer.
    Answer(Response<Bytes>),
    /// The connection ends before the request reaches the server.
    Cut,
    /// The server does it, and the connection ends without an answer.
    Lose,
    /// Never answered, nor done.
    Hang,
    /// Done, and never answered.
    HangAfter,
}

/// What becomes of the events of a watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchFault {
    /// Each reading of events comes so much later.
    pub delay: Duration,
    /// Each so-manieth event comes twice; 0: none does.
    pub double_each: u64,
    /// The connection ends after so many events.
    pub cut_after: Option<u64>,
    /// Nothing more comes after so many events, and the stream stays open.
    pub silent_after: Option<u64>,
}

/// What stands before a server and makes faults.
pub trait Front: Send + Sync {
    fn on(&self, request: &Parts, body: &Bytes) -> Boxed<Verdict> {
        let _ = (request, body);
        Box::pin(std::future::ready(Verdict::Pass))
    }

    /// What is held for as long as the request, or the watch, is under way.
    fn begun(&self, request: &Parts) -> Box<dyn Send> {
        let _ = request;
        Box::new(())
    }

    /// A watch was opened.
    fn watch(&self, request: &Parts) -> WatchFault {
        let _ = request;
        WatchFault::default()
    }

    /// The server processed a request; called before anything of the answer leaves, while nobody else changes the server.
    fn answered(&self, request: &Parts, body: &Bytes, status: StatusCode, server: &Server) {
        let _ = (request, body, status, server);
    }
}

/// Makes no faults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;
impl Front for Open {}

/// A server that many connections share.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

struct Inner {
    server: Mutex<Server>,
    /// Wakes watches, in the order in which they wait: a run can be repeated to the letter.
    changes: Notify,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    pub fn new(server: Server, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { server: Mutex::new(server), changes: Notify::new(), clock: Box::new(clock) }))
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    fn lock(&self) -> MutexGuard<'_, Server> {
        self.0.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the server or changes it; watches hear of changes.
    pub fn with<T>(&self, work: impl FnOnce(&mut Server) -> T) -> T {
        let mut server = self.lock();
        let before = (server.version(), server.epoch, server.stamps);
        let done = work(&mut server);
        let changed = before != (server.version(), server.epoch, server.stamps);
        drop(server);
        if changed {
            self.0.changes.notify_waiters();
        }
        done
    }

    /// How long until this time; nothing where it has come.
    fn until(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.now())).unwrap_or_default()
    }
}

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http {
    One,
    /// Told before: TLS and tests do.
    #[default]
    Two,
}

/// Serves one connection until it ends.
pub async fn connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    shared: Shared,
    front: Arc<dyn Front>,
    http: Http,
) {
    let cut = Arc::new(Notify::new());
    let ends = Arc::clone(&cut);
    let service = service_fn(move |request| {
        let (shared, front, cut) = (shared.clone(), Arc::clone(&front), Arc::clone(&cut));
        async move { Ok::<_, Infallible>(one(request, shared, front, cut).await) }
    });
    let io = TokioIo::new(io);
    // How a connection ends is the client's concern.
    match http {
        Http::One => {
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
            tokio::select! { biased; _ = serving => {}, () = ends.notified() => {} }
        }
        Http::Two => {
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let serving = builder.max_concurrent_streams(250).serve_connection(io, service);
            tokio::select! { biased; _ = serving => {}, () = ends.notified() => {} }
        }
    }
}

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

async fn one(request: Request<Incoming>, shared: Shared, front: Arc<dyn Front>, cut: Arc<Notify>) -> Reply {
    let (parts, body) = request.into_parts();
    let begun = front.begun(&parts);
    let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        // The client went away.
        return std::future::pending().await;
    };
    let verdict = front.on(&parts, &body).await;
    match verdict {
        Verdict::After(pause) => tokio::time::sleep(pause).await,
        Verdict::Answer(response) => return response.map(|body| Full::new(body).boxed_unsync()),
        Verdict::Cut => {
            cut.notify_one();
            return std::future::pending().await;
        }
        Verdict::Hang => return std::future::pending().await,
        Verdict::Pass | Verdict::Lose | Verdict::HangAfter => {}
    }
    let answer = shared.with(|server| {
        let request = Request::from_parts(parts.clone(), body.clone());
        let answer = server.handle(shared.now(), &request);
        let status = match &answer {
            Answer::Reply(reply) => reply.status(),
            Answer::Watch(_) => StatusCode::OK,
        };
        front.answered(&parts, &body, status, server);
        answer
    });
    match verdict {
        Verdict::Lose => {
            cut.notify_one();
            return std::future::pending().await;
        }
        Verdict::HangAfter => return std::future::pending().await,
        _ => {}
    }
    match answer {
        Answer::Reply(reply) => reply.map(|body| Full::new(body).boxed_unsync()),
        Answer::Watch(watch) => {
            let (sender, receiver) = mpsc::channel(8);
            let fault = front.watch(&parts);
            tokio::spawn(Following { watch: *watch, shared, fault, cut, sender, _begun: begun }.run());
            let mut reply = Response::new(Stream(receiver).boxed_unsync());
            reply
                .headers_mut()
                .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
            reply
        }
    }
}

/// A watch that is being answered.
struct Following {
    watch: Watch,
    shared: Shared,
    fault: WatchFault,
    /// Ends the connection.
    cut: Arc<Notify>,
    sender: mpsc::Sender<Bytes>,
    /// See [`Front::begun`].
    _begun: Box<dyn Send>,
}

impl Following {
    /// Sends what the watch sees until it ends or nobody listens.
    async fn run(self) {
        let Self { mut watch, shared, fault, cut, sender, _begun } = self;
        let mut sent = 0u64;
        loop {
            // Asked for before the server is read: what changes meanwhile is not missed.
            let mut changed = pin!(shared.0.changes.notified());
            changed.as_mut().enable();
            let (lines, due) = shared.with(|server| {
                let lines = server.read(&mut watch, shared.now());
                let due = server.next_due().map_or(watch.next_due(), |at| at.min(watch.next_due()));
                (lines, due)
            });
            if !lines.is_empty() && !fault.delay.is_zero() {
                tokio::time::sleep(fault.delay).await;
            }
            for line in lines {
                if fault.cut_after.is_some_and(|most| sent >= most) {
                    cut.notify_one();
                    return;
                }
                if fault.silent_after.is_some_and(|most| sent >= most) {
                    sender.closed().await;
                    return;
                }
                sent += 1;
                let twice = fault.double_each > 0 && sent.is_multiple_of(fault.double_each);
                if twice && sender.send(line.clone()).await.is_err() {
                    return;
                }
                if sender.send(line).await.is_err() {
                    return;
                }
            }
            if watch.ended() {
                return;
            }
            // A timer of tokio may be a moment early by the clock of the server.
            let pause = shared.until(due).max(Duration::from_millis(1));
            tokio::select! {
                biased;
                () = sender.closed() => return,
                () = changed => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// The body of a watch.
struct Stream(mpsc::Receiver<Bytes>);

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Options;
    use hyper::client::conn::http2::{SendRequest, handshake};
    use serde_json::{Value, json};

    fn start() -> Timestamp {
        "2030-01-01T00:00:00Z".parse().unwrap()
    }

    /// A server on tokio's clock, which may be paused.
    fn server() -> Shared {
        let begun = tokio::time::Instant::now();
        let clock = move || start() + jiff::SignedDuration::try_from(begun.elapsed()).unwrap();
        Shared::new(Server::new(Options::default(), start()), clock)
    }

    async fn client(shared: &Shared, front: Arc<dyn Front>) -> SendRequest<Full<Bytes>> {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(connection(theirs, shared.clone(), front, Http::Two));
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(ours)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    fn request(method: &str, path: &str, body: &Value) -> Request<Full<Bytes>> {
        let uri = format!("http://model{path}");
        let builder = Request::builder().method(method).uri(uri).header("content-type", "application/json");
        let bytes = if body.is_null() { String::new() } else { body.to_string() };
        builder.body(Full::new(bytes.into())).unwrap()
    }

    const MAPS: &str = "/api/v1/namespaces/default/configmaps";

    #[tokio::test(start_paused = true)]
    async fn a_watch_over_http2_sees_writes_bookmarks_and_its_end_on_a_paused_clock() {
        let shared = server();
        let mut client = client(&shared, Arc::new(Open)).await;
        let path = format!(
            "{MAPS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=90&resourceVersion={}",
            shared.with(|s| s.version())
        );
        let watch = client.send_request(request("GET", &path, &Value::Null)).await.unwrap();
        let made =
            client.send_request(request("POST", MAPS, &json!({"metadata": {"name": "a"}}))).await.unwrap();
        assert_eq!(made.status(), 201);
        let text = watch.into_body().collect().await.unwrap().to_bytes();
        let types: Vec<Value> = text
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice::<Value>(line).unwrap()["type"].clone())
            .collect();
        assert_eq!(types, ["ADDED", "BOOKMARK", "BOOKMARK"]);
        assert_eq!(shared.now(), start() + jiff::SignedDuration::from_secs(90));
    }

    struct Faults;
    impl Front for Faults {
        fn on(&self, request: &Parts, _: &Bytes) -> Boxed<Verdict> {
            let verdict = match request.uri.path() {
                "/healthz" => Verdict::Answer(crate::status::Refusal::plain(503).response()),
                "/livez" => Verdict::Hang,
                "/readyz" => Verdict::After(Duration::from_secs(5)),
                _ if request.method == "POST" => Verdict::Lose,
                _ => Verdict::Cut,
            };
            Box::pin(std::future::ready(verdict))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn faults_are_made_before_or_after_the_server() {
        let shared = server();
        let front: Arc<dyn Front> = Arc::new(Faults);
        let mut first = client(&shared, front.clone()).await;
        let get = |path| request("GET", path, &Value::Null);
        assert_eq!(first.send_request(get("/healthz")).await.unwrap().status(), 503);
        assert_eq!(first.send_request(get("/readyz")).await.unwrap().status(), 200);
        assert_eq!(shared.now(), start() + jiff::SignedDuration::from_secs(5));
        let hung = tokio::time::timeout(Duration::from_secs(60), first.send_request(get("/livez"))).await;
        assert!(hung.is_err());
        let lost = first.send_request(request("POST", MAPS, &json!({"metadata": {"name": "a"}}))).await;
        assert!(lost.is_err());
        let map =
            |s: &mut Server| s.get(&crate::kinds::Resource::new("", "configmaps"), "default", "a").is_some();
        assert!(shared.with(map), "it was done all the same");
        assert!(client(&shared, front).await.send_request(get(MAPS)).await.is_err());
    }
}
