//! Many API servers in one process, each on a port of its own, with one CA: a fleet for benches of size.
//!
//! ```text
//! cargo run --release -p apiserver-model --example kro-hub-fleet-sim -- --servers 200 --port 20000 --dir /tmp/fleet
//! ```
//!
//! Writes one kubeconfig a server (`0000.kubeconfig`...) and says what an idle server costs. They serve until the process ends.

use anyhow::{Context, Result, bail};
use apiserver_model::serve::{Http, Open, Shared, connection};
use apiserver_model::server::{Options, Server};
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

struct Arguments {
    servers: u16,
    port: u16,
    dir: PathBuf,
}

fn arguments() -> Result<Arguments> {
    let mut found = Arguments { servers: 10, port: 20_000, dir: PathBuf::from("fleet-sim") };
    let mut all = std::env::args().skip(1);
    while let Some(name) = all.next() {
        let value = all.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--servers" => found.servers = value.parse().context("--servers")?,
            "--port" => found.port = value.parse().context("--port")?,
            "--dir" => found.dir = value.into(),
            _ => bail!("unknown flag {name}; there are --servers, --port and --dir"),
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
    for index in 0..arguments.servers {
        let port = arguments.port + index;
        let listener =
            TcpListener::bind(("127.0.0.1", port)).await.with_context(|| format!("port {port}"))?;
        let options = Options { seed: u64::from(port), ..Options::default() };
        let mut server = Server::new(options, Timestamp::now());
        let token = format!("fleet-sim-{port}");
        server.allow_token(&token, "admin");
        kubeconfig(&arguments.dir, index, port, &token, &ca)?;
        tokio::spawn(accept(listener, acceptor.clone(), Shared::new(server, Timestamp::now)));
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
    std::future::pending::<()>().await;
    Ok(())
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        tokio::spawn(async move {
            // Who cannot speak TLS is not answered.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            connection(stream, shared, Arc::new(Open), if two { Http::Two } else { Http::One }).await;
        });
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

/// JSON is YAML too.
fn kubeconfig(dir: &Path, index: u16, port: u16, token: &str, ca: &str) -> Result<()> {
    use base64::Engine;
    let name = format!("{index:04}");
    let ca = base64::engine::general_purpose::STANDARD.encode(ca);
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{"name": name, "cluster":
            {"server": format!("https://127.0.0.1:{port}"), "certificate-authority-data": ca}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "admin"}}],
    });
    Ok(std::fs::write(dir.join(format!("{name}.kubeconfig")), serde_json::to_string_pretty(&config)?)?)
}
