//! Many API servers in one process, each on a port of its own, with one CA: a fleet for benches of size.
//!
//! ```text
//! cargo run --release -p apiserver-model --example kro-hub-fleet-sim -- --servers 200 --port 20000 --dir /tmp/fleet
//! ```
//!
//! Writes one kubeconfig a server (`0000.kubeconfig`...) and says what an idle server costs. They serve until the process ends.
//! With `--control PORT` it says what was asked of servers, lets some fall silent, and makes their credentials anew: see [`control`].

use anyhow::{Context, Result, bail};
use apiserver_model::serve::{Front, Http, Shared, connection};
use apiserver_model::server::{Options, Server};
use http::{StatusCode, header, request::Parts};
use hyper::body::Bytes;
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Waker, Poll};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// A watch that lags further behind lists anew.
const HISTORY: usize = 1_024;

struct Arguments {
    servers: u16,
    port: u16,
    control: Option<u16>,
    dir: PathBuf,
}

fn arguments() -> Result<Arguments> {
    let mut found = Arguments { servers: 10, port: 20_000, control: None, dir: PathBuf::from("fleet-sim") };
    let mut all = std::env::args().skip(1);
    while let Some(name) = all.next() {
        let value = all.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--servers" => found.servers = value.parse().context("--servers")?,
            "--port" => found.port = value.parse().context("--port")?,
            "--control" => found.control = Some(value.parse().context("--control")?),
            "--dir" => found.dir = value.into(),
            _ => bail!("unknown flag {name}; there are --servers, --port, --control and --dir"),
        }
    }
    found.port.checked_add(found.servers).context("the last port would be beyond 65535")?;
    Ok(found)
}

/// Memory of this process that is its own, in bytes.
fn memory() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status").context("memory is known on Linux alone")?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = arguments()?;
    std::fs::create_dir_all(&arguments.dir)?;
    let (acceptor, ca) = tls()?;
    // What all share is read before memory is measured.
    drop(Server::new(Options::default(), Timestamp::now()));
    let before = memory()?;
    let mut members = Vec::new();
    for index in 0..arguments.servers {
        let port = arguments.port + index;
        let listener =
            TcpListener::bind(("127.0.0.1", port)).await.with_context(|| format!("port {port}"))?;
        let options =
            Options { seed: u64::from(port), history: HISTORY, compact: true, ..Options::default() };
        let mut server = Server::new(options, Timestamp::now());
        let named = Named { dir: arguments.dir.clone(), index, port, ca: ca.clone() };
        server.allow_token(&named.token(0), "admin");
        named.kubeconfig(0)?;
        let shared = Shared::new(server, Timestamp::now);
        let member = Arc::new(Member {
            named,
            shared: shared.clone(),
            turns: AtomicU64::new(0),
            used: AtomicU64::new(0),
            counts: Mutex::default(),
            silent: watch::channel(false).0,
        });
        members.push(Arc::clone(&member));
        tokio::spawn(accept(listener, acceptor.clone(), shared, member));
    }
    let each = memory()?.saturating_sub(before) / u64::from(arguments.servers.max(1));
    println!(
        "{} servers on 127.0.0.1:{}-{}, kubeconfigs in {}; {} KiB each when idle, {} MiB in all",
        arguments.servers,
        arguments.port,
        arguments.port + arguments.servers.saturating_sub(1),
        arguments.dir.display(),
        each / 1024,
        memory()? / 1024 / 1024
    );
    match arguments.control {
        None => std::future::pending().await,
        Some(port) => control(TcpListener::bind(("127.0.0.1", port)).await?, members).await,
    }
}

/// How a server is found and talked to.
struct Named {
    dir: PathBuf,
    index: u16,
    port: u16,
    ca: String,
}

impl Named {
    /// The n-th that lets in.
    fn token(&self, turn: u64) -> String {
        format!("fleet-sim-{}-{turn}", self.port)
    }

    /// JSON is YAML too.
    fn kubeconfig(&self, turn: u64) -> Result<()> {
        use base64::Engine;
        let name = format!("{:04}", self.index);
        let ca = base64::engine::general_purpose::STANDARD.encode(&self.ca);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": name,
            "clusters": [{"name": name, "cluster":
                {"server": format!("https://127.0.0.1:{}", self.port), "certificate-authority-data": ca}}],
            "users": [{"name": "admin", "user": {"token": self.token(turn)}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": "admin"}}],
        });
        let path = self.dir.join(format!("{name}.kubeconfig"));
        Ok(std::fs::write(path, serde_json::to_string_pretty(&config)?)?)
    }
}

/// What is known of a server beside what it keeps.
struct Member {
    named: Named,
    shared: Shared,
    /// How often its credentials were made anew, and which of them were used last.
    turns: AtomicU64,
    used: AtomicU64,
    /// `VERB resource/subresource`, and how many were answered.
    counts: Mutex<BTreeMap<String, u64>>,
    /// While it holds, nothing is accepted, read or written.
    silent: watch::Sender<bool>,
}

impl Member {
    /// A new token and its kubeconfig. Good are the one before, as where credentials overlap, and the first, whose
    /// kubeconfig somebody may have read at the start.
    fn turn(&self) -> Result<()> {
        let turn = self.turns.fetch_add(1, Ordering::SeqCst) + 1;
        self.shared.with(|server| {
            server.allow_token(&self.named.token(turn), "admin");
            if let Some(old) = turn.checked_sub(2).filter(|old| *old > 0) {
                server.forget_token(&self.named.token(old));
            }
        });
        self.named.kubeconfig(turn)
    }
}

impl Front for Member {
    fn answered(&self, request: &Parts, _: &Bytes, _: StatusCode, _: &Server) {
        let turn = self.turns.load(Ordering::SeqCst);
        let sent = request.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if sent.and_then(|sent| sent.strip_prefix("Bearer ")) == Some(&self.named.token(turn)) {
            self.used.store(turn, Ordering::SeqCst);
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(asked(request)).or_default() += 1;
    }
}

/// `PATCH benches/status`; an apply is APPLY, as in the metrics of an API server.
fn asked(request: &Parts) -> String {
    let words: Vec<&str> = request.uri.path().split('/').filter(|w| !w.is_empty()).collect();
    let rest = match words.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        _ => &[],
    };
    // An object of a namespace, or a namespace itself.
    let rest = match rest {
        ["namespaces", _, inner @ ..] if !inner.is_empty() => inner,
        _ => rest,
    };
    let content = request.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let watches =
        request.uri.query().is_some_and(|q| q.split('&').any(|p| p == "watch=1" || p == "watch=true"));
    let verb = match (request.method.as_str(), rest.len()) {
        ("GET", _) if watches => "WATCH",
        ("GET", 1) => "LIST",
        ("PATCH", _) if content.starts_with("application/apply-patch") => "APPLY",
        (method, _) => method,
    };
    match rest {
        [] => format!("{verb} (no resource)"),
        [plural] | [plural, _] => format!("{verb} {plural}"),
        [plural, _, sub, ..] => format!("{verb} {plural}/{sub}"),
    }
}

/// `GET /counts?servers=0-9`: what was asked of them, as JSON; `/silence`, `/speak`, `/turn` and
/// `/turned` in the same way.
async fn control(listener: TcpListener, members: Vec<Arc<Member>>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        // Whoever asks wrongly or goes away is not answered; the others are.
        if stream.read_line(&mut line).await.is_err() {
            continue;
        }
        let asked = line.split_whitespace().nth(1).unwrap_or_default();
        let (code, text) = match answer(asked, &members) {
            Ok(value) => ("200 OK", value.to_string()),
            Err(error) => ("400 Bad Request", format!("{error:#}")),
        };
        let reply = format!("HTTP/1.0 {code}\r\ncontent-type: application/json\r\n\r\n{text}");
        let _ = stream.get_mut().write_all(reply.as_bytes()).await;
        let _ = stream.get_mut().shutdown().await;
    }
}

fn answer(asked: &str, members: &[Arc<Member>]) -> Result<Value> {
    let (what, range) = asked.split_once("?servers=").context("what of which servers?")?;
    let chosen = members.get(range_of(range)?).context("there are not so many servers")?;
    match what {
        "/counts" => {
            let mut sum: BTreeMap<String, u64> = BTreeMap::new();
            for member in chosen {
                let counts = member.counts.lock().unwrap_or_else(PoisonError::into_inner);
                for (key, count) in counts.iter() {
                    *sum.entry(key.clone()).or_default() += count;
                }
            }
            return Ok(json!(sum));
        }
        "/silence" | "/speak" => {
            let silent = what == "/silence";
            for member in chosen {
                member.silent.send_replace(silent);
            }
        }
        "/turned" => {
            let is_new = |m: &&Arc<Member>| m.used.load(Ordering::SeqCst) == m.turns.load(Ordering::SeqCst);
            return Ok(json!(chosen.iter().filter(is_new).count()));
        }
        "/turn" => chosen.iter().try_for_each(|member| member.turn())?,
        _ => bail!("there are /counts, /silence, /speak, /turn and /turned"),
    }
    Ok(json!({}))
}

fn range_of(text: &str) -> Result<RangeInclusive<usize>> {
    let (first, last) = text.split_once('-').context("servers are named as 3-7")?;
    Ok(first.parse()?..=last.parse()?)
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Shared, member: Arc<Member>) {
    let mut silent = member.silent.subscribe();
    loop {
        let _ = silent.wait_for(|silent| !silent).await;
        let Ok((stream, _)) = listener.accept().await else { return };
        // Small answers must not wait for more of them.
        let _ = stream.set_nodelay(true);
        let stream = Gated { stream, gate: Gate::new(&member) };
        let (acceptor, shared, member) = (acceptor.clone(), shared.clone(), Arc::clone(&member));
        tokio::spawn(async move {
            // Who cannot speak TLS is not answered.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            connection(stream, shared, member, if two { Http::Two } else { Http::One }).await;
        });
    }
}

/// Whether a server speaks, for one direction or the other of a connection.
struct Gate {
    silent: watch::Receiver<bool>,
    /// Until it speaks again.
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Gate {
    fn new(member: &Member) -> Self {
        Self { silent: member.silent.subscribe(), waiting: None }
    }

    fn poll(&mut self, waker: &mut Waker<'_>) -> Poll<()> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                if waiting.as_mut().poll(waker).is_pending() {
                    return Poll::Pending;
                }
                self.waiting = None;
            }
            if !*self.silent.borrow() {
                return Poll::Ready(());
            }
            let mut silent = self.silent.clone();
            self.waiting = Some(Box::pin(async move {
                let _ = silent.wait_for(|silent| !silent).await;
            }));
        }
    }
}

/// A connection on which nothing moves while its server is silent.
struct Gated {
    stream: TcpStream,
    gate: Gate,
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        waker: &mut Waker<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.gate.poll(waker).is_pending() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(waker, buffer)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        waker: &mut Waker<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.gate.poll(waker).is_pending() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(waker, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(waker)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(waker)
    }
}

/// A server certificate for loopback, and its CA.
fn tls() -> Result<(TlsAcceptor, String)> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate()?;
    let ca = params.self_signed(&ca_key)?;
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate()?;
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let cert = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], secret)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), ca.pem()))
}
