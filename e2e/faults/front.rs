//! The front of a server: TLS ends here, with a certificate of the environment, and each request is judged by itself.

use super::Shared;
use super::bodies::{self, Answer, Trouble};
use super::script::{Asked, Fault};
use crate::env::Environment;
use anyhow::{Context, Result};
use http::{HeaderValue, Request, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tokio::io::DuplexStream;
use tokio_rustls::TlsAcceptor;

/// Requests with bodies of type `B`, over TLS.
pub type Https<B> = Client<HttpsConnector<HttpConnector>, B>;

/// Certificate and key that are shown, and the authority that the server behind is known by.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    pub certificate: &'a Path,
    pub key: &'a Path,
    pub authority: &'a Path,
}

impl<'a> Identity<'a> {
    pub fn of(env: &'a Environment) -> Self {
        let (certificate, key) = env.server_identity();
        Self { certificate, key, authority: env.authority() }
    }
}

pub struct Front {
    acceptor: TlsAcceptor,
    behind: Https<Incoming>,
}

impl Front {
    pub fn new(identity: Identity<'_>) -> Result<Self> {
        let acceptor = acceptor(identity, &[b"h2", b"http/1.1"])?;
        Ok(Self { acceptor, behind: https(identity.authority)? })
    }
}

/// Ends TLS, and offers these protocols.
pub fn acceptor(identity: Identity<'_>, protocols: &[&[u8]]) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(identity.certificate)?.collect::<Result<Vec<_>, _>>()?;
    let mut tls =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(identity.key)?)?;
    tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

/// A client of servers with certificates of this authority. HTTP/1.1: as many watches at a time as are asked for.
pub fn https<B>(authority: &Path) -> Result<Https<B>>
where
    B: hyper::body::Body + Send,
    B::Data: Send,
{
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority)? {
        roots.add(certificate?)?;
    }
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector =
        hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// Serves one connection until it ends.
pub async fn serve(shared: Arc<Shared>, front: Arc<Front>, io: DuplexStream, connection: u64) {
    let Ok(io) = front.acceptor.accept(io).await else { return };
    let two = io.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| {
        let (shared, front) = (shared.clone(), front.clone());
        async move {
            let answer = answer(&shared, &front, request, connection).await;
            if answer.is_err() {
                // As when nobody is behind: not this request alone fails.
                shared.reset(connection);
            }
            answer
        }
    });
    let io = TokioIo::new(io);
    // Clients break off what they do not want to read.
    if two {
        let server = http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(250)
            .serve_connection(io, service);
        drop(server.await);
    } else {
        drop(http1::Builder::new().serve_connection(io, service).await);
    }
}

async fn answer(
    shared: &Shared,
    front: &Front,
    request: Request<Incoming>,
    connection: u64,
) -> Result<Answer, Trouble> {
    let asked = Asked {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
    };
    let fault = shared.decide(&asked);
    let entry = shared.log().ask(connection, asked);
    if let Some(seen) = shared.log().seen.get_mut(entry) {
        seen.fault.clone_from(&fault);
    }
    let answer = meet(shared, front, request, fault).await;
    if let (Ok(answer), Some(seen)) = (&answer, shared.log().seen.get_mut(entry)) {
        seen.status = Some(answer.status().as_u16());
    }
    answer
}

async fn meet(
    shared: &Shared,
    front: &Front,
    request: Request<Incoming>,
    fault: Option<Fault>,
) -> Result<Answer, Trouble> {
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let made = match &fault {
        Some(Fault::Answer(code, retry_after)) => Some(bodies::status(*code, *retry_after)),
        Some(Fault::Endless) => Some(bodies::endless()),
        Some(Fault::Flood) => Some(bodies::flood()),
        Some(Fault::GzipBomb(unpacked)) => Some(bodies::gzip_bomb(*unpacked)),
        Some(Fault::Page) => Some(bodies::page()),
        Some(Fault::Redirect(host)) => Some(bodies::redirect(&format!("{host}{path}"))),
        Some(Fault::Unanswered) => std::future::pending().await,
        _ => None,
    };
    if let Some(answer) = made {
        // What is sent is read: the connection goes on.
        request.into_body().collect().await.map_err(Trouble::other)?;
        return Ok(answer);
    }
    if let Some(Fault::Late(time)) = fault {
        tokio::time::sleep(time).await;
    }
    let answer = forward(shared, front, request).await?;
    Ok(match fault {
        Some(Fault::AnswerLost) => return Err(Trouble::other("the answer is lost")),
        Some(Fault::HeadHeld) => bodies::with_first_piece(answer).await,
        Some(Fault::Truncated(limit)) => bodies::after_bytes(answer, limit, true),
        Some(Fault::Short(limit)) => bodies::after_bytes(answer, limit, false),
        Some(Fault::NullItems) => bodies::with_items(answer, Value::Null).await?,
        Some(Fault::NoItems) => bodies::with_items(answer, json!([])).await?,
        _ => answer,
    })
}

async fn forward(shared: &Shared, front: &Front, request: Request<Incoming>) -> Result<Answer, Trouble> {
    let target = shared.target();
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    head.uri = format!("https://127.0.0.1:{}{path}", target.port).parse::<Uri>().map_err(Trouble::other)?;
    head.version = http::Version::HTTP_11;
    head.headers.remove(header::HOST);
    if let Some(token) = &target.token {
        head.headers.insert(
            header::AUTHORIZATION,
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(Trouble::other)?,
        );
    }
    let answer = front.behind.request(Request::from_parts(head, body)).await.map_err(Trouble::other)?;
    let mut answer = bodies::passed(answer);
    // They are of one connection, and HTTP/2 knows none of them.
    for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
        answer.headers_mut().remove(name);
    }
    *answer.version_mut() = http::Version::default();
    Ok(answer)
}

/// The kubeconfig, leading to this port of loopback.
pub fn leading_to(kubeconfig: &str, port: u16) -> Result<String> {
    let mut read: Value = serde_saphyr::from_str(kubeconfig).context("a kubeconfig")?;
    read["clusters"][0]["cluster"]["server"] = json!(format!("https://127.0.0.1:{port}"));
    Ok(read.to_string())
}
