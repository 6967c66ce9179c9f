//! A server that is slow: what is asked of it at once waits in a queue there. On a clock that runs as fast as the work
//! allows.

use super::client::{ApiError, SpokeClient};
use super::health::Contact;
use super::host::{Connecting, Host, Stream, ThisHost};
use super::in_flight::InFlight;
use super::loopback::config_maps;
use crate::metrics::Metrics;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A server that works at so many requests at once, each for so long.
struct Slow {
    workers: Semaphore,
    work: Duration,
    hangs: AtomicBool,
    /// Behind writes stands a webhook that takes so long, in seconds.
    webhook: AtomicU64,
    asked: AtomicUsize,
    waiting: AtomicUsize,
    most_waiting: AtomicUsize,
}

impl Slow {
    fn new(workers: usize, work: Duration) -> Arc<Self> {
        Arc::new(Self {
            workers: Semaphore::new(workers),
            work,
            hangs: AtomicBool::new(false),
            webhook: AtomicU64::new(0),
            asked: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            most_waiting: AtomicUsize::new(0),
        })
    }

    async fn answer(self: Arc<Self>, writes: bool) -> Response<Full<Bytes>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_waiting.fetch_max(waiting, Ordering::Relaxed);
        // A server goes on with what nobody waits for any more.
        let work = tokio::spawn({
            let this = self.clone();
            async move {
                if this.hangs.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
                if writes {
                    tokio::time::sleep(Duration::from_secs(this.webhook.load(Ordering::Relaxed))).await;
                }
                let _worker = this.workers.acquire().await;
                tokio::time::sleep(this.work).await;
                this.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        });
        drop(work.await);
        let answer = Response::builder().header("content-type", "application/json");
        answer.body(Full::from("{\"metadata\":{\"name\":\"x\"}}")).unwrap()
    }

    fn most_waiting(&self) -> usize {
        self.most_waiting.swap(0, Ordering::Relaxed)
    }
}

/// A machine with one server.
struct Reach(Arc<Slow>);

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reach")
    }
}

impl Host for Reach {
    fn wall(&self) -> jiff::Timestamp {
        ThisHost.wall()
    }
    fn uptime(&self) -> u64 {
        ThisHost.uptime()
    }
    fn random(&self) -> u64 {
        ThisHost.random()
    }
    fn name(&self) -> String {
        ThisHost.name()
    }
    fn connect(&self, _: &Uri) -> Option<Connecting> {
        let server = self.0.clone();
        Some(Box::pin(async move {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (server, writes) = (server.clone(), request.method() != http::Method::GET);
                async move { Ok::<_, Infallible>(server.answer(writes).await) }
            });
            let serving = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move { drop(serving.serve_connection(TokioIo::new(far), service).await) });
            Ok(Stream::new(TokioIo::new(Pipe(near))))
        }))
    }
}

struct Pipe(DuplexStream);

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}
impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct Fleet {
    client: SpokeClient,
    metrics: Metrics,
}

/// What came of the requests of many askers.
#[derive(Debug, Default)]
struct Outcomes {
    answered: AtomicUsize,
    failed: AtomicUsize,
}

impl Fleet {
    fn new(server: &Arc<Slow>, in_flight: InFlight) -> Self {
        let metrics = Metrics::default();
        let host = Arc::new(Reach(server.clone()));
        Self {
            client: SpokeClient::through(host, "http://slow", in_flight, (metrics.clone(), None)),
            metrics,
        }
    }

    /// Sixty-four who ask again and again, for so long; answers and failures.
    async fn ask(&self, seconds: u64) -> (usize, usize) {
        let resource = config_maps();
        let until = Instant::now() + Duration::from_secs(seconds);
        let outcomes = Arc::new(Outcomes::default());
        let askers = (0..64).map(|_| {
            let (client, resource, outcomes) = (self.client.clone(), resource.clone(), outcomes.clone());
            tokio::spawn(async move {
                while Instant::now() < until {
                    let asked = client.at(&resource, "n", "x").merge_patch(&serde_json::json!({})).await;
                    let count = if asked.is_ok() { &outcomes.answered } else { &outcomes.failed };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        futures::future::join_all(askers).await;
        (outcomes.answered.load(Ordering::Relaxed), outcomes.failed.load(Ordering::Relaxed))
    }

    fn limit(&self) -> usize {
        let text = self.metrics.text();
        let name = "kro_hub_requests_in_flight_limit{cluster=\"c\"} ";
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_is_not_asked_more_than_it_can_answer_in_time() {
    let run = async |least: usize| {
        let server = Slow::new(1, Duration::from_millis(500));
        let fleet = Fleet::new(&server, InFlight::between(least, 32));
        let (answered, late) = fleet.ask(600).await;
        (answered, late, server.most_waiting())
    };
    // Two a second: with thirty-two in flight each waits 16 s, and is given up after ten.
    let (answered, late, waiting) = run(32).await;
    assert!(late > 1_000 && waiting > 100, "{answered} answered, {late} late, {waiting} waited at once");
    let (adapted, late, waiting) = run(1).await;
    assert!(late == 0 && waiting <= 12, "{adapted} answered, {late} late, {waiting} waited at once");
    assert!(adapted >= answered && adapted >= 1_200, "{adapted} instead of {answered}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_fast_gets_all_that_it_may_and_again_after_it_hung() {
    let server = Slow::new(64, Duration::from_millis(5));
    let fleet = Fleet::new(&server, InFlight::between(1, 32));
    assert_eq!(fleet.ask(1).await.1, 0);
    assert_eq!((fleet.limit(), server.most_waiting()), (32, 32));

    server.hangs.store(true, Ordering::Relaxed);
    let (_, late) = fleet.ask(60).await;
    assert!((64..=160).contains(&late), "{late} instead of 32 each 10 s");
    server.hangs.store(false, Ordering::Relaxed);
    server.most_waiting();
    let (answered, late) = fleet.ask(2).await;
    assert!(answered > 2_000 && late == 0, "{answered} answered, {late} late");
    assert_eq!(fleet.limit(), 32);
}

/// A webhook may take 10 s unless it says otherwise; then the API server goes on, or refuses, as its `failurePolicy` says.
#[tokio::test(start_paused = true)]
async fn a_webhook_that_hangs_is_the_trouble_of_what_stands_behind_it_and_no_loss_of_contact() {
    let server = Slow::new(8, Duration::from_millis(5));
    let (sender, mut contacts) = tokio::sync::mpsc::unbounded_channel();
    let heard = (Metrics::default(), Some(sender));
    let host = Arc::new(Reach(server.clone()));
    let client = SpokeClient::through(host, "http://slow", InFlight::between(1, 32), heard);
    let resource = config_maps();
    let write = async || client.at(&resource, "n", "x").merge_patch(&serde_json::json!({})).await;
    server.webhook.store(11, Ordering::Relaxed);
    assert!(write().await.is_ok(), "the webhook timed out, and the write landed");
    server.webhook.store(60, Ordering::Relaxed);
    for others in [false, true] {
        while contacts.try_recv().is_ok() {}
        let read = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if others {
                client.at(&resource, "n", "y").get().await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(write(), read);
        assert_eq!(written, Err(ApiError::Timeout));
        let asked = server.asked.swap(0, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(6)).await;
        let asked_more = server.asked.load(Ordering::Relaxed);
        assert_eq!(
            (asked > 0, asked_more),
            (true, usize::from(!others)),
            "one question where nothing was answered"
        );
        let heard: Vec<Contact> = std::iter::from_fn(|| contacts.try_recv().ok()).collect();
        assert!(!heard.contains(&Contact::Timeout), "{heard:?}");
    }
    server.hangs.store(true, Ordering::Relaxed);
    assert_eq!(write().await, Err(ApiError::Timeout));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(contacts.try_recv(), Ok(Contact::Timeout), "nothing at all is answered");
}
