//! Each fault of the proxy, as a client can tell it.

use super::front::{Https, Identity, acceptor, https};
use super::script::Chance;
use super::{Fault, Line, Proxy, Rule, Weather, When};
use crate::env::api::{Task, runtime, spawn};
use crate::env::pki::Pki;
use crate::lanes::CLUSTERS;
use crate::scratch_folder;
use anyhow::{Context, Result, bail, ensure};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper_util::rt::TokioIo;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

type Run = fn() -> Result<()>;

pub fn trials() -> Vec<Trial> {
    let all: [(&str, Run); 11] = [
        ("a_closed_line_refuses_and_breaks_what_is_open", refused),
        ("a_black_hole_answers_no_knock", black_hole),
        ("a_silent_line_keeps_what_it_is_given", silent),
        ("what_is_half_open_stays_silent", half_open),
        ("a_bad_line_is_late_slow_and_cut", weather),
        ("answers_of_nobody", answers),
        ("answers_that_come_late_or_never", late),
        ("heads_that_are_held_back", head_held),
        ("bodies_that_no_server_sends", bodies),
        ("another_server_behind_the_address", another),
        ("rules_count_and_a_seed_repeats_them", counted),
    ];
    let trial = |(name, run): (&'static str, Run)| {
        Trial::test(format!("proxy::{name}"), move || {
            CLUSTERS.run(name, || Ok(run().map_err(|error| format!("{error:#}"))?))
        })
    };
    all.into_iter().map(trial).collect()
}

/// So long nothing is taken for never.
const NEVER: Duration = Duration::from_millis(400);

/// A server that says back what it is told.
fn echo() -> Result<(Task, u16)> {
    let listener = runtime()?.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let port = listener.local_addr()?.port();
    let task = spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    })?;
    Ok((task, port))
}

fn connect(proxy: &Proxy, limit: Duration) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], proxy.port())), limit)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

fn say(stream: &mut TcpStream, text: &str) -> Result<String> {
    stream.write_all(text.as_bytes())?;
    hear(stream, text.len())
}

fn hear(stream: &mut TcpStream, bytes: usize) -> Result<String> {
    let mut heard = vec![0; bytes];
    stream.read_exact(&mut heard)?;
    Ok(String::from_utf8(heard)?)
}

/// Nothing comes, and the connection does not end.
fn hears_nothing(stream: &mut TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(NEVER))?;
    let heard = stream.read(&mut [0; 1]);
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    match heard {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        other => bail!("it heard {other:?}"),
    }
}

fn is_reset(stream: &mut TcpStream) -> Result<()> {
    let heard = stream.read(&mut [0; 1]);
    ensure!(
        heard.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset),
        "it heard {heard:?}"
    );
    Ok(())
}

fn refused() -> Result<()> {
    let (_echo, port) = echo()?;
    let proxy = Proxy::tcp(port)?;
    let mut open = connect(&proxy, NEVER)?;
    ensure!(say(&mut open, "one")? == "one", "no echo");
    proxy.line(Line::Refused)?;
    is_reset(&mut open)?;
    let knock = connect(&proxy, NEVER);
    ensure!(knock.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused), "{knock:?}");
    proxy.line(Line::Clear)?;
    ensure!(say(&mut connect(&proxy, NEVER)?, "two")? == "two", "no echo");
    // A reset alone.
    let mut open = connect(&proxy, NEVER)?;
    say(&mut open, "three")?;
    proxy.cut();
    is_reset(&mut open)?;
    ensure!(say(&mut connect(&proxy, NEVER)?, "four")? == "four", "no echo");
    Ok(())
}

fn black_hole() -> Result<()> {
    let (_echo, port) = echo()?;
    let proxy = Proxy::tcp(port)?;
    let mut open = connect(&proxy, NEVER)?;
    say(&mut open, "one")?;
    proxy.line(Line::BlackHole)?;
    open.write_all(b"two")?;
    hears_nothing(&mut open)?;
    let knock = connect(&proxy, NEVER);
    ensure!(knock.as_ref().is_err_and(|e| e.kind() == ErrorKind::TimedOut), "{knock:?}");
    proxy.line(Line::Clear)?;
    // What was on its way arrives.
    ensure!(hear(&mut open, 3)? == "two", "no echo");
    ensure!(say(&mut connect(&proxy, NEVER)?, "three")? == "three", "no echo");
    Ok(())
}

fn silent() -> Result<()> {
    let (_echo, port) = echo()?;
    let proxy = Proxy::tcp(port)?;
    let mut open = connect(&proxy, NEVER)?;
    say(&mut open, "one")?;
    proxy.line(Line::Silent)?;
    open.write_all(b"two")?;
    hears_nothing(&mut open)?;
    let mut new = connect(&proxy, NEVER)?;
    new.write_all(b"three")?;
    hears_nothing(&mut new)?;
    proxy.line(Line::Clear)?;
    ensure!(hear(&mut open, 3)? == "two" && hear(&mut new, 5)? == "three", "no echo");
    Ok(())
}

fn half_open() -> Result<()> {
    let (_echo, port) = echo()?;
    let proxy = Proxy::tcp(port)?;
    let mut open = connect(&proxy, NEVER)?;
    say(&mut open, "one")?;
    proxy.half_open();
    open.write_all(b"two")?;
    hears_nothing(&mut open)?;
    ensure!(say(&mut connect(&proxy, NEVER)?, "three")? == "three", "no echo");
    // Nobody remembers it when all is well again.
    proxy.heal()?;
    hears_nothing(&mut open)
}

fn weather() -> Result<()> {
    let (_echo, port) = echo()?;
    let proxy = Proxy::tcp(port)?;
    let bad = |weather: Weather| proxy.line(Line::Bad(weather));
    let there_and_back = || -> Result<Duration> {
        let mut stream = connect(&proxy, NEVER)?;
        let start = Instant::now();
        say(&mut stream, "one")?;
        Ok(start.elapsed())
    };
    let late = Duration::from_millis(100);
    bad(Weather { delay: late, ..Weather::default() })?;
    let took = there_and_back()?;
    ensure!((late * 2..late * 2 + NEVER).contains(&took), "there and back took {took:?}");

    bad(Weather { jitter: late, ..Weather::default() })?;
    let took = (0..5).map(|_| there_and_back()).collect::<Result<Vec<_>>>()?;
    let (least, most) = (took.iter().min().context("none")?, took.iter().max().context("none")?);
    ensure!(*most - *least > Duration::from_millis(10), "they took {took:?}");

    bad(Weather { bytes_a_second: Some(20_000), ..Weather::default() })?;
    let mut stream = connect(&proxy, NEVER)?;
    let start = Instant::now();
    say(&mut stream, &"x".repeat(10_000))?;
    let took = start.elapsed();
    ensure!(took > Duration::from_millis(450), "10,000 bytes took {took:?}");

    bad(Weather { cut_after: Some(5), ..Weather::default() })?;
    let mut stream = connect(&proxy, NEVER)?;
    ensure!(say(&mut stream, "abc")? == "abc", "no echo");
    stream.write_all(b"defg")?;
    ensure!(hear(&mut stream, 2)? == "de", "no echo");
    is_reset(&mut stream)
}

/// A server, a proxy before it, and a client.
struct Scene {
    proxy: Proxy,
    writes: Arc<AtomicUsize>,
    client: Https<Full<Bytes>>,
    pki: Pki,
    _server: Task,
}

impl Scene {
    fn new() -> Result<Self> {
        let pki = Pki::open(&scratch_folder().join("proxy-pki"))?;
        let (server, port, writes) = server(&pki, "first")?;
        let proxy = Proxy::http(identity(&pki), port)?;
        let client = https(&pki.ca_cert)?;
        Ok(Self { proxy, writes, client, pki, _server: server })
    }

    fn meets(&self, when: When, fault: Fault) -> Result<()> {
        self.proxy.heal()?;
        self.proxy.rule(Rule::new(when, fault));
        Ok(())
    }

    /// The answer, once its head is there.
    fn ask(&self, method: Method, path: &str) -> Result<Response<Incoming>> {
        let uri = format!("https://127.0.0.1:{}{path}", self.proxy.port());
        let request = Request::builder().method(method).uri(uri).body(Full::from("{}"))?;
        runtime()?.block_on(async {
            Ok(tokio::time::timeout(Duration::from_secs(3), self.client.request(request)).await??)
        })
    }

    fn get(&self, path: &str) -> Result<(StatusCode, Value)> {
        let answer = self.ask(Method::GET, path)?;
        let status = answer.status();
        let body = whole(answer)?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    fn status(&self, path: &str) -> Result<u16> {
        Ok(self.get(path)?.0.as_u16())
    }
}

fn whole(answer: Response<Incoming>) -> Result<Bytes> {
    Ok(runtime()?.block_on(answer.into_body().collect())?.to_bytes())
}

fn identity(pki: &Pki) -> Identity<'_> {
    Identity { certificate: &pki.server_cert, key: &pki.server_key, authority: &pki.ca_cert }
}

/// A list of three at any path; a watch shows its first event after a while. Counts what is posted.
fn server(pki: &Pki, name: &'static str) -> Result<(Task, u16, Arc<AtomicUsize>)> {
    let acceptor = acceptor(identity(pki), &[b"http/1.1"])?;
    let listener = runtime()?.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let port = listener.local_addr()?.port();
    let writes = Arc::new(AtomicUsize::new(0));
    let counter = writes.clone();
    let task = spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, counter) = (acceptor.clone(), counter.clone());
            tokio::spawn(async move {
                let Ok(io) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    if request.method() == Method::POST {
                        counter.fetch_add(1, Ordering::SeqCst);
                    }
                    std::future::ready(Ok::<_, Infallible>(said(&request, name)))
                });
                drop(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(io), service)
                        .await,
                );
            });
        }
    })?;
    Ok((task, port, writes))
}

fn said(request: &Request<Incoming>, name: &str) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
        let event = async {
            tokio::time::sleep(NEVER).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"{}\n")))
        };
        return Response::new(StreamBody::new(futures::stream::once(event)).boxed_unsync());
    }
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let list = json!({"by": name, "token": token, "metadata": {"continue": "more"}, "items": [1, 2, 3]});
    Response::new(Full::from(list.to_string()).boxed_unsync())
}

fn answers() -> Result<()> {
    let scene = Scene::new()?;
    for (code, retry) in [(401, None), (403, None), (429, None), (429, Some(7)), (500, None)] {
        scene.meets(When::any(), Fault::Answer(code, retry))?;
        let answer = scene.ask(Method::GET, "/api/v1/pods")?;
        let said =
            answer.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        ensure!(answer.status().as_u16() == code && said == retry, "{answer:?}");
    }
    scene.meets(When::any().under("/apis/metrics.k8s.io"), Fault::Answer(503, None))?;
    let group = "/apis/metrics.k8s.io/v1beta1/nodes";
    let found = (scene.status(group)?, scene.status("/api/v1/pods")?);
    ensure!(found == (503, 200), "{found:?}");
    // The log says what was asked, and what became of it.
    let told = scene.proxy.told();
    let line = format!("GET {group} -> 503 (Answer(503, None))");
    ensure!(told.contains(&line) && told.contains("GET /api/v1/pods -> 200\n"), "{told}");
    Ok(())
}

fn late() -> Result<()> {
    let scene = Scene::new()?;
    scene.meets(When::any(), Fault::Late(NEVER))?;
    let start = Instant::now();
    ensure!(scene.status("/api")? == 200 && start.elapsed() >= NEVER, "after {:?}", start.elapsed());
    scene.meets(When::writes(), Fault::Unanswered)?;
    let asked = scene.ask(Method::POST, "/api/v1/pods");
    ensure!(asked.is_err() && scene.writes.load(Ordering::SeqCst) == 0, "{asked:?}");
    ensure!(scene.status("/api")? == 200, "reads are answered");
    scene.meets(When::writes(), Fault::AnswerLost)?;
    let asked = scene.ask(Method::POST, "/api/v1/pods");
    ensure!(asked.is_err() && scene.writes.load(Ordering::SeqCst) == 1, "{asked:?}");
    Ok(())
}

fn head_held() -> Result<()> {
    let scene = Scene::new()?;
    let head_after = || -> Result<Duration> {
        let start = Instant::now();
        let answer = scene.ask(Method::GET, "/api?watch=true")?;
        let took = start.elapsed();
        ensure!(whole(answer)? == "{}\n", "another event");
        Ok(took)
    };
    let free = head_after()?;
    scene.meets(When::watches(), Fault::HeadHeld)?;
    let held = head_after()?;
    ensure!(free < NEVER && held >= NEVER, "after {free:?}; held, after {held:?}");
    Ok(())
}

fn bodies() -> Result<()> {
    let scene = Scene::new()?;
    scene.meets(When::any(), Fault::Truncated(10))?;
    let read = whole(scene.ask(Method::GET, "/api")?);
    ensure!(read.is_err(), "it ended: {read:?}");
    scene.meets(When::any(), Fault::Short(10))?;
    let read = whole(scene.ask(Method::GET, "/api")?)?;
    ensure!(read.len() == 10, "read {read:?}");

    for (fault, begins) in [(Fault::Endless, "xxx"), (Fault::Flood, "{\"")] {
        scene.meets(When::any(), fault)?;
        let mut body = scene.ask(Method::GET, "/api")?.into_body();
        let read = runtime()?.block_on(async {
            let mut read = Vec::new();
            while read.len() < 3 * 1024 * 1024 {
                let Some(frame) = body.frame().await else { break };
                read.extend(frame?.into_data().unwrap_or_default());
            }
            Ok::<_, hyper::Error>(read)
        })?;
        ensure!(read.len() >= 3 * 1024 * 1024 && read.starts_with(begins.as_bytes()), "{} bytes", read.len());
    }

    let size = 64 * 1024 * 1024;
    scene.meets(When::any(), Fault::GzipBomb(size))?;
    let answer = scene.ask(Method::GET, "/api")?;
    ensure!(answer.headers().get(header::CONTENT_ENCODING).is_some_and(|v| v == "gzip"), "{answer:?}");
    let packed = whole(answer)?;
    let unpacked = miniz_oxide::inflate::decompress_to_vec(packed.get(10..).unwrap_or_default())
        .map_err(|error| anyhow::anyhow!("{:?}", error.status))?;
    ensure!(
        packed.len() < 200_000 && unpacked.len() as u64 == size,
        "{} to {}",
        packed.len(),
        unpacked.len()
    );

    scene.meets(When::any(), Fault::Page)?;
    let answer = scene.ask(Method::GET, "/api")?;
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    ensure!(answer.status() == 200 && kind.is_some_and(|kind| kind == "text/html"), "{answer:?}");

    scene.meets(When::any(), Fault::NullItems)?;
    ensure!(scene.get("/api")?.1 == json!({"by": "first", "token": null, "metadata": {}, "items": null}));
    scene.meets(When::any(), Fault::NoItems)?;
    ensure!(scene.get("/api")?.1["items"] == json!([]));

    scene.meets(When::any(), Fault::Redirect("https://elsewhere.example".into()))?;
    let answer = scene.ask(Method::GET, "/api?a=b")?;
    let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
    ensure!(answer.status() == 307 && to == Some("https://elsewhere.example/api?a=b"), "{answer:?}");
    Ok(())
}

fn another() -> Result<()> {
    let scene = Scene::new()?;
    let (_second, port, _) = server(&scene.pki, "second")?;
    ensure!(scene.get("/api")?.1["by"] == "first");
    let before = scene.proxy.open();
    scene.proxy.lead_to(port);
    ensure!(scene.get("/api")?.1["by"] == "second");
    // A client may open one more before it knows that the first is free again.
    crate::env::eventually(Duration::from_secs(5), "another server, the same connection", || {
        let since = Instant::now();
        ensure!(scene.get("/api")?.1["by"] == "second");
        let seen = scene.proxy.seen(since, &When::any());
        let by: Vec<u64> = seen.iter().map(|seen| seen.connection).collect();
        ensure!(!by.is_empty() && by.iter().all(|number| before.contains(number)), "{by:?}, not {before:?}");
        Ok(())
    })?;
    scene.proxy.lead_to_with(port, "of the gateway");
    ensure!(scene.get("/api")?.1["token"] == "Bearer of the gateway");
    scene.proxy.cut();
    crate::env::eventually(Duration::from_secs(5), "another connection", || {
        ensure!(scene.get("/api")?.1["by"] == "second");
        let open = scene.proxy.open();
        ensure!(!open.iter().any(|number| before.contains(number)), "it is not to be seen: {open:?}");
        Ok(())
    })
}

fn counted() -> Result<()> {
    let scene = Scene::new()?;
    scene.proxy.rule(Rule::new(When::any().at("/api"), Fault::Answer(500, None)).nth(2));
    scene.proxy.rule(Rule::new(When::any().at("/apis"), Fault::Answer(403, None)).times(2));
    let statuses = |path: &str| (0..4).map(|_| scene.status(path)).collect::<Result<Vec<_>>>();
    let found = (statuses("/api")?, statuses("/apis")?);
    ensure!(found == (vec![200, 500, 200, 200], vec![403, 403, 200, 200]), "{found:?}");
    let since = Instant::now();
    scene.proxy.heal()?;
    scene.proxy.rule(Rule::new(When::any(), Fault::Answer(500, None)).share(0.5));
    let found = (0..20).map(|_| scene.status("/api")).collect::<Result<Vec<_>>>()?;
    let mut chance = Chance::new(super::seed());
    let wanted: Vec<u16> = found.iter().map(|_| if chance.part() < 0.5 { 500 } else { 200 }).collect();
    ensure!(found == wanted, "{found:?}");
    let failed = wanted.iter().filter(|status| **status == 500).count();
    ensure!((3..18).contains(&failed), "{wanted:?}");
    ensure!(scene.proxy.seen(since, &When::reads()).len() == 20, "{}", scene.proxy.told());
    Ok(())
}
