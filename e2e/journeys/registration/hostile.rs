//! What answers as a spoke is not what it should be: another cluster behind the same address, or a server that means harm.

use super::stage::{HOME, Stage, WHILE, cluster_id, text_of};
use crate::env::api::{Task, runtime, spawn};
use crate::env::wait::{eventually, throughout};
use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// A kubeconfig of a cluster that leads to this port of loopback.
fn through(stage: &Stage, cluster: &str, port: u16) -> Result<String> {
    let mut kubeconfig: Value = serde_json::from_str(&stage.kubeconfig(cluster)?)?;
    kubeconfig["clusters"][0]["cluster"]["server"] = json!(format!("https://127.0.0.1:{port}"));
    Ok(kubeconfig.to_string())
}

/// What is open; it is broken when it is dropped.
type Open = Arc<Mutex<Vec<Task>>>;

fn break_all(open: &Open) {
    open.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Calls `serve` with each connection, for as long as the task lives.
fn listen<F: Future<Output = ()> + Send + 'static>(
    open: &Open,
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> Result<(Task, u16)> {
    let listener = runtime()?.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let port = listener.local_addr()?.port();
    let open = open.clone();
    let accepting = spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(task) = spawn(serve(stream)) {
                open.lock().unwrap_or_else(PoisonError::into_inner).push(task);
            }
        }
    })?;
    Ok((accepting, port))
}

pub fn another_cluster_behind_the_address(stage: &Stage) -> Result<()> {
    let port_of = |cluster: &str| -> Result<u16> {
        stage.env.server_url(cluster).rsplit(':').next().and_then(|p| p.parse().ok()).context("no port")
    };
    let target = Arc::new(AtomicU16::new(port_of("eu")?));
    let (open, to) = (Open::default(), target.clone());
    let (_gateway, port) = listen(&open, move |mut near| {
        let port = to.load(Ordering::SeqCst);
        async move {
            if let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await {
                // It ends with either side.
                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
            }
        }
    })?;
    // The same credentials are good on the other cluster.
    stage.kubeconfig("us")?;
    stage.put_secret("eu", &through(stage, "eu", port)?)?;
    let before = stage.ready("eu")?;
    stage.placed_note("kept", "eu")?;
    let (on_us, tried) = (stage.content("us")?, stage.write_requests("us")?);

    target.store(port_of("us")?, Ordering::SeqCst);
    break_all(&open);
    // There is something to write at once.
    stage.note("new", &json!({"hub.kro.run/clusters": "eu"}))?;
    let frozen = stage.is("eu", "Ready", "False", "IdentityChanged")?;
    ensure!(cluster_id(&frozen) == cluster_id(&before), "it took on the new identity: {frozen}");
    throughout(WHILE, "the other cluster untouched", || stage.unchanged("us", &on_us))?;
    let now = stage.write_requests("us")?;
    ensure!(now == tried, "{} writes were tried on us", now - tried);

    // Credentials that are written anew are tried at once.
    target.store(port_of("eu")?, Ordering::SeqCst);
    break_all(&open);
    stage.put_secret("eu", &stage.kubeconfig("eu")?)?;
    stage.ready("eu")?;
    stage.active("new")?;
    ensure!(stage.children("eu", "new")?.len() == 2, "the instance of meanwhile is there");
    stage.deregister("eu")
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// How a hostile server does harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    /// A watch is one line without end.
    Endless,
    /// A watch shows new objects without end.
    Flood,
    /// A watch ends at once.
    Empty,
    /// Everything is to slow down, for two seconds.
    SlowDown,
    /// Everything is a web page.
    Page,
}

fn said(code: u16, kind: &str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()).boxed_unsync());
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    if let Ok(kind) = kind.parse() {
        answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    }
    answer
}

/// A body that goes on for as long as somebody reads it.
fn stream(pieces: impl futures::Stream<Item = Bytes> + Send + 'static) -> Answer {
    let mut answer =
        Response::new(StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))).boxed_unsync());
    let kind = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer
}

fn answer(harm: Harm, path: &str, watch: bool) -> Answer {
    let json = |code: u16, value: Value| said(code, "application/json", value.to_string());
    let about =
        |name: &str, uid: &str| json!({"metadata": {"name": name, "uid": uid, "resourceVersion": "1"}});
    match (harm, path) {
        (Harm::Page, ..) => said(200, "text/html", "<html><body>Welcome</body></html>"),
        (Harm::SlowDown, ..) => {
            let mut answer = said(429, "text/plain", "Too many requests, please try again later.\n");
            answer.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("2"));
            answer
        }
        (Harm::Empty, ..) if watch => said(302, "text/plain", ""),
        (Harm::Endless, ..) if watch => {
            let piece = Bytes::from(vec![b'x'; 64 * 1024]);
            stream(futures::stream::repeat(piece))
        }
        (Harm::Flood, ..) if watch => {
            let note = "x".repeat(16 * 1024);
            stream(futures::stream::iter(0_u64..).map(move |n| {
                let object = json!({"metadata": {"name": format!("{n}.flood.example"), "uid": n.to_string(),
                    "resourceVersion": n.to_string(), "annotations": {"note": note}}});
                Bytes::from(format!("{}\n", json!({"type": "ADDED", "object": object})))
            }))
        }
        (_, "/version") => json(200, json!({"gitVersion": "v1.99.0"})),
        (_, "/api/v1/namespaces/kube-system") => json(200, about("kube-system", "hostile")),
        (_, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions") => {
            json(200, json!({"metadata": {"resourceVersion": "1"}, "items": []}))
        }
        _ => json(404, json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"})),
    }
}

pub fn a_spoke_that_means_harm(stage: &Stage) -> Result<()> {
    let (certificate, key) = stage.env.server_identity();
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let harm = Arc::new(Mutex::new(Harm::Endless));
    let (open, now) = (Open::default(), harm.clone());
    let (_server, port) = listen(&open, move |stream| {
        let (acceptor, now) = (acceptor.clone(), now.clone());
        async move {
            let Ok(io) = acceptor.accept(stream).await else { return };
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
                let harm = *now.lock().unwrap_or_else(PoisonError::into_inner);
                let answer = answer(harm, request.uri().path(), watch);
                async move {
                    // What is created is as it was sent.
                    if request.method() != http::Method::POST {
                        return Ok::<_, Infallible>(answer);
                    }
                    let made = request.into_body().collect().await.map(|body| body.to_bytes());
                    Ok(said(201, "application/json", made.unwrap_or_default()))
                }
            });
            // The hub breaks off what it does not want to read.
            drop(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service).await,
            );
        }
    })?;
    let turn = |to: Harm| *harm.lock().unwrap_or_else(PoisonError::into_inner) = to;
    let rss = || stage.on_controller(crate::env::controller::Controller::rss);
    let asked_in = |time: Duration| -> Result<u64> {
        let before = stage.requests("hostile")?;
        std::thread::sleep(time);
        Ok(stage.requests("hostile")? - before)
    };

    let before = rss()?;
    stage.put_secret("hostile", &through(stage, "eu", port)?)?;
    let cluster = stage.is("hostile", "Reachable", "True", "Limited")?;
    ensure!(text_of(&cluster, "Reachable").contains("4 MiB"), "it says {:?}", text_of(&cluster, "Reachable"));
    let asked = asked_in(Duration::from_secs(3))?;
    let grown = rss()?.saturating_sub(before) / 1024 / 1024;
    println!("a watch line without end: {grown} MiB more, {asked} requests in 3 s");
    ensure!(grown < 100, "the controller grew by {grown} MiB");
    ensure!(asked < 30, "{asked} requests in 3 s");

    // Other credentials: it is connected anew, without the pauses that it has by now.
    let register = |token: &str| -> Result<()> {
        let mut kubeconfig: Value = serde_json::from_str(&through(stage, "eu", port)?)?;
        kubeconfig["users"][0]["user"] = json!({"token": token});
        stage.put_secret("hostile", &kubeconfig.to_string())
    };
    turn(Harm::Flood);
    register("flood")?;
    stage.is("hostile", "Reachable", "True", "Connected")?;
    std::thread::sleep(Duration::from_secs(4));
    let grown = rss()?.saturating_sub(before) / 1024 / 1024;
    println!("events without end: {grown} MiB more");
    ensure!(grown < 150, "the controller grew by {grown} MiB");

    turn(Harm::Empty);
    register("empty")?;
    stage.is("hostile", "Reachable", "True", "Limited")?;
    let asked = asked_in(Duration::from_secs(3))?;
    println!("watches that end at once: {asked} requests in 3 s");
    ensure!(asked < 20, "{asked} requests in 3 s");

    turn(Harm::SlowDown);
    register("one")?;
    let asked = asked_in(Duration::from_secs(4))?;
    println!("429 with a pause of 2 s: {asked} requests in 4 s");
    ensure!((1..8).contains(&asked), "{asked} requests in 4 s");

    turn(Harm::Page);
    register("two")?;
    eventually(super::stage::SOON, "what answers is no API server", || {
        let cluster = stage.cluster("hostile")?;
        let said = text_of(&cluster, "Ready");
        ensure!(said.contains("not a Kubernetes API server"), "it says {said:?}");
        Ok(())
    })?;
    stage.note("elsewhere", &json!({"hub.kro.run/clusters": "hostile"}))?;
    stage.entry("elsewhere", "hostile", "Unreachable")?;
    ensure!(stage.instance("elsewhere")?["metadata"]["namespace"] == HOME);
    stage.deregister("hostile")
}
