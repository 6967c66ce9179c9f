//! What a client does when a server on loopback misbehaves: over TLS, by HTTP/2 and by HTTP/1.1.

mod gateways;
mod redirects;
mod second_looks;

use super::client::{ApiError, ClientSettings, DEFAULT_IN_FLIGHT, SpokeClient};
use super::health::Contact;
use super::host::ThisHost;
use super::kubeconfig::{Policy, parse};
use super::limits::{Asked, TOGETHER};
use super::listwatch::{self, Wanted};
use super::watch::Listed;
use crate::api::names::ClusterName;
use crate::metrics::Metrics;
use base64::Engine;
use futures::StreamExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;
/// What is answered to a method and a path with its query.
type Behaviour = Arc<dyn Fn(&str) -> BoxFuture<'static, Answer> + Send + Sync>;

fn text(status: u16, kind: &str, text: impl Into<Bytes>) -> BoxFuture<'static, Answer> {
    let mut answer = Response::builder().status(status);
    if !kind.is_empty() {
        answer = answer.header("content-type", kind);
    }
    let answer = answer.body(Full::new(text.into()).boxed_unsync()).unwrap();
    Box::pin(async move { answer })
}
fn said(status: u16, value: &Value) -> BoxFuture<'static, Answer> {
    text(status, "application/json", value.to_string())
}
fn system(uid: &str) -> BoxFuture<'static, Answer> {
    said(200, &json!({"metadata": {"name": "kube-system", "uid": uid}}))
}

struct Server {
    client: SpokeClient,
    contacts: mpsc::UnboundedReceiver<Contact>,
    asked: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        self.break_connections();
    }
}

impl Server {
    async fn start(http2: bool, behaviour: Behaviour) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let cert =
            rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
        let der = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut tls =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![cert.der().clone()], der)
                .unwrap();
        tls.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (log, open) = (asked.clone(), connections.clone());
        let accepting = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, log, behaviour) = (acceptor.clone(), log.clone(), behaviour.clone());
                let serving = tokio::spawn(async move {
                    let Ok(io) = acceptor.accept(tcp).await else { return };
                    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                        let path = request.uri().path_and_query().unwrap().to_string();
                        let line = format!("{} {path}", request.method());
                        let answer = behaviour(&line);
                        log.lock().unwrap().push(line);
                        async move { Ok::<_, Infallible>(answer.await) }
                    });
                    let io = TokioIo::new(io);
                    // The client breaks what it does not want to read.
                    if http2 {
                        let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        // As API servers have it.
                        server.max_concurrent_streams(100);
                        drop(server.serve_connection(io, service).await);
                    } else {
                        let server = hyper::server::conn::http1::Builder::new();
                        drop(server.serve_connection(io, service).await);
                    }
                });
                open.lock().unwrap().push(serving.abort_handle());
            }
        });
        let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: \"https://localhost:{port}\", certificate-authority-data: {}}}}}]\n\
             users: [{{name: u, user: {{token: t}}}}]\n",
            base64(cert.pem().as_bytes())
        );
        let endpoint = parse(kubeconfig.as_bytes(), &Policy::default()).unwrap();
        let (sender, contacts) = mpsc::unbounded_channel();
        let settings = ClientSettings {
            cluster: ClusterName::new("c"),
            in_flight: DEFAULT_IN_FLIGHT,
            metrics: Metrics::default(),
            contacts: sender,
        };
        let client = SpokeClient::new(&endpoint, settings, Arc::new(ThisHost)).unwrap();
        Self { client, contacts, asked, connections, accepting }
    }

    /// Until the client has seen it: what is sent at the very moment fails, since the server may have read it.
    async fn end_connections(&self) {
        self.break_connections();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fn break_connections(&self) {
        self.connections.lock().unwrap().drain(..).for_each(|c| c.abort());
    }
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
    fn contacts(&mut self) -> Vec<Contact> {
        std::iter::from_fn(|| self.contacts.try_recv().ok()).collect()
    }
}

pub(super) fn config_maps() -> ApiResource {
    ApiResource {
        group: String::new(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
    }
}
const SYSTEM: &str = "GET /api/v1/namespaces/kube-system";

/// A cluster with this uid behind the number.
fn cluster(uid: Arc<AtomicUsize>) -> Behaviour {
    Arc::new(move |line| match line {
        SYSTEM => system(&format!("uid-{}", uid.load(Ordering::SeqCst))),
        _ => said(200, &json!({"metadata": {"name": "x"}})),
    })
}

#[tokio::test]
async fn every_connection_says_first_who_answers_and_another_cluster_gets_no_request() {
    for http2 in [true, false] {
        let uid = Arc::new(AtomicUsize::new(1));
        let mut server = Server::start(http2, cluster(uid.clone())).await;
        let (client, resource) = (server.client.clone(), config_maps());
        for _ in 0..5 {
            assert!(client.at(&resource, "n", "x").get().await.is_ok());
        }
        let asked = server.asked();
        assert_eq!((asked.first().unwrap().as_str(), asked.len()), (SYSTEM, 6), "one proof for a connection");

        server.end_connections().await;
        assert!(client.at(&resource, "n", "x").get().await.is_ok(), "the same cluster again");
        assert_eq!(server.asked(), [SYSTEM, "GET /api/v1/namespaces/n/configmaps/x"]);

        uid.store(2, Ordering::SeqCst);
        server.end_connections().await;
        server.contacts();
        let body = json!({});
        let writes = (0..8).map(|_| client.at(&resource, "n", "x").merge_patch(&body));
        for written in futures::future::join_all(writes).await {
            assert_eq!(written, Err(ApiError::Stranger { found: "uid-2".into() }));
        }
        assert!(server.asked().iter().all(|line| line == SYSTEM), "not one of them was sent");
        assert!(server.contacts().contains(&Contact::Stranger("uid-2".into())));

        client.forget_who_answers();
        assert!(client.at(&resource, "n", "x").get().await.is_ok(), "somebody judges anew who it is");
    }
}

#[tokio::test]
async fn who_hides_who_it_is_where_it_was_known_gets_nothing_and_is_no_contact() {
    let hides = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let now = hides.clone();
    let behaviour: Behaviour = Arc::new(move |line| match line {
        _ if now.load(Ordering::SeqCst) => said(403, &json!({"code": 403, "message": "you may not"})),
        SYSTEM => system("u"),
        _ => said(200, &json!({})),
    });
    let mut server = Server::start(true, behaviour).await;
    let (client, resource) = (server.client.clone(), config_maps());
    assert!(client.at(&resource, "n", "x").get().await.is_ok());
    hides.store(true, Ordering::SeqCst);
    server.end_connections().await;
    server.asked();
    server.contacts();
    let written = client.at(&resource, "n", "x").merge_patch(&json!({})).await;
    let Err(ApiError::Connect { message }) = written else { panic!("{written:?}") };
    assert!(message.contains("does not say which it is") && message.contains("you may not"), "{message}");
    assert!(!server.asked().iter().any(|line| line.contains("configmaps")));
    assert!(server.contacts().iter().all(|c| matches!(c, Contact::Nameless(_))));
    hides.store(false, Ordering::SeqCst);
    assert!(client.at(&resource, "n", "x").get().await.is_ok(), "it is asked again");
}

/// A gateway sends each request where it likes, over a connection that stays open.
#[tokio::test]
async fn another_cluster_on_an_open_connection_is_found_out_by_its_first_answer() {
    for http2 in [true, false] {
        let uid = Arc::new(AtomicUsize::new(1));
        let now = uid.clone();
        let behaviour: Behaviour = Arc::new(move |line| {
            let uid = now.load(Ordering::SeqCst);
            let sort = if line.starts_with("GET") { "reads" } else { "writes" };
            let answer = if line == SYSTEM { system(&format!("uid-{uid}")) } else { said(200, &json!({})) };
            Box::pin(async move {
                let mut answer = answer.await;
                let mark = format!("{sort} of {uid}").parse().unwrap();
                answer.headers_mut().insert("x-kubernetes-pf-flowschema-uid", mark);
                answer
            })
        });
        let mut server = Server::start(http2, behaviour).await;
        let (client, resource) = (server.client.clone(), config_maps());
        for _ in 0..5 {
            client.at(&resource, "n", "x").get().await.unwrap();
            client.at(&resource, "n", "x").merge_patch(&json!({})).await.unwrap();
        }
        let proofs = |server: &Server| server.asked().iter().filter(|line| *line == SYSTEM).count();
        assert_eq!(proofs(&server), 2, "once, and once more for what is let in by another flow schema");
        server.contacts();
        uid.store(2, Ordering::SeqCst);
        for _ in 0..3 {
            let read = client.at(&resource, "n", "x").get().await;
            assert_eq!(
                read,
                Err(ApiError::Stranger { found: "uid-2".into() }),
                "what it says is not believed"
            );
        }
        assert!(server.contacts().contains(&Contact::Stranger("uid-2".into())));
        let asked = server.asked();
        assert_eq!(asked.iter().filter(|line| *line != SYSTEM).count(), 1, "{asked:?}");
    }
}

#[tokio::test]
async fn a_refused_proof_is_the_answer_to_what_was_asked() {
    let status =
        |code: u16, message: &str| json!({"kind": "Status", "code": code, "message": message, "reason": ""});
    let forbidden = status(403, "namespaces \"kube-system\" is forbidden");
    let cases: [(BoxFuture<Answer>, ApiError); 3] = [
        (said(401, &status(401, "Unauthorized")), ApiError::Unauthorized),
        (
            said(403, &forbidden),
            ApiError::Forbidden { message: "namespaces \"kube-system\" is forbidden".into() },
        ),
        (
            text(200, "text/html", "<html>"),
            ApiError::NotAnApi { message: "it answers with text/html, not with JSON".into() },
        ),
    ];
    for (answer, want) in cases {
        let answer = Arc::new(Mutex::new(Some(answer)));
        let behaviour: Behaviour = Arc::new(move |line| match line {
            SYSTEM => answer.lock().unwrap().take().unwrap_or_else(|| system("u")),
            line if line.contains("about.k8s.io") => said(404, &json!({})),
            _ => said(200, &json!({})),
        });
        let server = Server::start(true, behaviour).await;
        assert_eq!(server.client.at(&config_maps(), "n", "x").get().await, Err(want));
        assert!(!server.asked().iter().any(|line| line.contains("configmaps")));
        assert!(server.client.at(&config_maps(), "n", "x").get().await.is_ok(), "it is asked again");
    }
}

#[tokio::test]
async fn where_kube_system_is_hidden_the_property_says_who_answers() {
    let id = Arc::new(Mutex::new("p1"));
    let now = id.clone();
    let behaviour: Behaviour = Arc::new(move |line| match line {
        SYSTEM => said(403, &json!({"code": 403, "message": "no"})),
        line if line.contains("about.k8s.io/v1alpha1") => {
            said(200, &json!({"spec": {"value": *now.lock().unwrap()}}))
        }
        line if line.contains("about.k8s.io") => said(404, &json!({})),
        _ => said(200, &json!({})),
    });
    let server = Server::start(true, behaviour).await;
    assert!(server.client.at(&config_maps(), "n", "x").get().await.is_ok());
    *id.lock().unwrap() = "p2";
    server.end_connections().await;
    let asked = server.client.at(&config_maps(), "n", "x").get().await;
    assert_eq!(asked, Err(ApiError::Stranger { found: "p2".into() }));
}

/// A body without end, which counts what of it was taken.
fn endless(taken: Arc<AtomicUsize>) -> BoxFuture<'static, Answer> {
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    let pieces = futures::stream::repeat(piece).map(move |piece| {
        taken.fetch_add(piece.len(), Ordering::SeqCst);
        Ok(Frame::data(piece))
    });
    let body = StreamBody::new(pieces).boxed_unsync();
    let answer = Response::builder().header("content-type", "application/json").body(body).unwrap();
    Box::pin(async move { answer })
}

#[tokio::test]
async fn no_answer_fills_the_memory() {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let behaviour: Behaviour = Arc::new(move |line| match line {
        SYSTEM => system("u"),
        _ => endless(counted.clone()),
    });
    let mut server = Server::start(true, behaviour).await;
    let client = server.client.clone();
    // What the transport itself holds before it tells the server to wait.
    const WINDOWS: usize = 24 * 1024 * 1024;
    let too_large =
        |error: Option<ApiError>| assert!(matches!(error, Some(ApiError::TooLarge { .. })), "{error:?}");
    let mut look = |asked: Asked| {
        let taken = taken.swap(0, Ordering::SeqCst);
        assert!(taken < asked.limit() + WINDOWS, "{asked:?}: {taken} bytes");
        let notes = server.contacts().into_iter().any(|c| matches!(c, Contact::Note("size", _)));
        assert!(notes, "{asked:?} is not said");
    };
    let mut lines = client.watch("/api/v1/configmaps?watch=true", "application/json").await.unwrap();
    too_large(lines.next().await.err());
    drop(lines);
    look(Asked::Watch);
    too_large(client.page("/api/v1/configmaps", "application/json").await.err());
    look(Asked::Page);
    too_large(client.at(&config_maps(), "n", "x").get().await.err());
    look(Asked::Object);
    too_large(client.at(&config_maps(), "n", "x").merge_patch(&json!({})).await.err());
    look(Asked::Object);
    too_large(client.get_json("/version").await.err());
    look(Asked::Discovery);
    too_large(client.get_text("/openapi/v3/api/v1").await.err());
    look(Asked::Document);
    let all = (0..30).map(|_| client.get_text("/openapi/v3/api/v1"));
    futures::future::join_all(all).await.into_iter().for_each(|answer| too_large(answer.err()));
    let together = taken.swap(0, Ordering::SeqCst);
    assert!(together < 4 * TOGETHER, "thirty at once: {together} bytes");
}

#[tokio::test]
async fn a_list_of_large_objects_is_read_in_smaller_pages() {
    let asked_for = |line: &str, name: &str| -> usize {
        let found = line.split(['?', '&']).find_map(|part| part.strip_prefix(&format!("{name}=")));
        found.and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    let large = "x".repeat(500 * 1024);
    let behaviour: Behaviour = Arc::new(move |line| match line {
        SYSTEM => system("u"),
        line if line.contains("watch=true") => Box::pin(std::future::pending()),
        line => {
            let (from, limit) = (asked_for(line, "continue"), asked_for(line, "limit"));
            let to = (from + limit).min(60);
            let items: Vec<Value> = (from..to)
                .map(|n| json!({"metadata": {"name": n.to_string()}, "data": {"x": large}}))
                .collect();
            let next = if to < 60 { to.to_string() } else { String::new() };
            said(200, &json!({"metadata": {"resourceVersion": "1", "continue": next}, "items": items}))
        }
    });
    let server = Server::start(true, behaviour).await;
    let wanted = Wanted {
        path: "/api/v1/configmaps".into(),
        kind: "ConfigMap".into(),
        selectors: Vec::new(),
        metadata: false,
    };
    let shown = Mutex::new(0);
    let listed = |listed: Listed| {
        *shown.lock().unwrap() += usize::from(matches!(listed, Listed::Object(_)));
        !matches!(listed, Listed::Done(_))
    };
    let followed = listwatch::follow(&server.client, &wanted, listed, |_, why| panic!("{why}"));
    tokio::time::timeout(Duration::from_secs(60), followed).await.unwrap();
    assert_eq!(*shown.lock().unwrap(), 60);
}

#[tokio::test]
async fn what_is_no_api_server_is_named() {
    type Answers = fn() -> BoxFuture<'static, Answer>;
    let cases: [(Answers, &str); 4] = [
        (|| text(200, "text/html; charset=utf-8", "<html>hello</html>"), "text/html"),
        (|| text(302, "", ""), "redirects"),
        (|| text(200, "", ""), "nothing"),
        (|| text(204, "", ""), "nothing"),
    ];
    for (answer, word) in cases {
        for http2 in [true, false] {
            let behaviour: Behaviour =
                Arc::new(move |line| if line == SYSTEM { system("u") } else { answer() });
            let mut server = Server::start(http2, behaviour).await;
            let Err(ApiError::NotAnApi { message }) = server.client.at(&config_maps(), "n", "x").get().await
            else {
                panic!("{word}: that is an answer");
            };
            assert!(message.contains(word), "{message}");
            assert!(server.client.watch("/api/v1/configmaps?watch=true", "application/json").await.is_err());
            let heard = server.contacts();
            assert!(heard.iter().all(|c| matches!(c, Contact::NotAnApi(_))), "{heard:?}");
        }
    }
}

#[tokio::test]
async fn a_dead_group_is_its_own_trouble() {
    let behaviour: Behaviour = Arc::new(|line| match line {
        SYSTEM => system("u"),
        line if line.contains("/apis/custom.example/") => text(503, "text/plain", "service unavailable\n"),
        line if line.contains("/apis/html.example/") => text(200, "text/html", "<html>"),
        line if line.contains("/apis/garbage.example/") => text(200, "application/json", "<html>"),
        line if line.contains("/apis/none.example/") => gateways::not_served(),
        line if line.contains("/apis/apiextensions.k8s.io/") => text(503, "text/plain", "starting"),
        _ => said(200, &json!({})),
    });
    let mut server = Server::start(true, behaviour).await;
    let dead = server.client.get_json("/apis/custom.example/v1").await;
    let want = ApiError::GroupUnavailable {
        group: "custom.example".into(),
        message: "503, service unavailable".into(),
    };
    assert_eq!((dead.as_ref().unwrap_err(), want.is_contact_problem()), (&want, false));
    let html = server.client.get_json("/apis/html.example/v1").await;
    assert!(matches!(html, Err(ApiError::GroupUnavailable { .. })), "{html:?}");
    let text = server.client.get_json("/apis/garbage.example/v1").await;
    assert!(matches!(text, Err(ApiError::GroupUnavailable { .. })), "{text:?}");
    assert_eq!(server.client.get_json("/apis/none.example/v1").await, Ok(None));
    assert_eq!(server.contacts(), [Contact::Ok, Contact::Ok], "those that were answered");
    let own = server.client.get_json("/apis/apiextensions.k8s.io/v1").await;
    assert_eq!(own, Err(ApiError::Unavailable { message: "starting".into() }));
    assert_eq!(server.contacts(), [Contact::Unavailable(503)]);
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let behaviour: Behaviour = Arc::new(|line| match line {
        SYSTEM => system("u"),
        _ => {
            let answer = Response::builder().status(429).header("retry-after", "1");
            let answer = answer.body(Full::new(Bytes::from("wait")).boxed_unsync()).unwrap();
            Box::pin(async move { answer })
        }
    });
    let mut server = Server::start(true, behaviour).await;
    let client = server.client.clone();
    let asking = (0..10).map(|_| async {
        loop {
            assert_eq!(client.at(&config_maps(), "n", "x").get().await, Err(ApiError::Throttled));
        }
    });
    let all = futures::future::join_all(asking);
    assert!(tokio::time::timeout(Duration::from_millis(2_500), all).await.is_err());
    let sent = server.asked().len();
    assert!((9..=12).contains(&sent), "{sent} requests in 2.5 s, eight of them at once");
    assert!(server.contacts().contains(&Contact::Throttled));
}

#[tokio::test]
async fn a_kind_that_is_not_served_yet_slows_nothing_else_down() {
    let behaviour: Behaviour = Arc::new(|line| match line {
        SYSTEM => system("u"),
        line if line.contains("/news") => {
            said(429, &json!({"kind": "Status", "code": 429, "message": "storage is (re)initializing"}))
        }
        _ => said(200, &json!({})),
    });
    let mut server = Server::start(true, behaviour).await;
    let client = server.client.clone();
    assert_eq!(client.get_json("/apis/x.example/v1/news").await, Err(ApiError::Throttled));
    let others = (0..20).map(|_| client.get_json("/apis/x.example/v1/others"));
    let others = tokio::time::timeout(Duration::from_millis(500), futures::future::join_all(others)).await;
    assert!(others.unwrap().into_iter().all(|answer| answer.is_ok()));
    assert!(!server.contacts().contains(&Contact::Throttled));
}

#[tokio::test]
async fn many_watches_hold_no_other_request_up() {
    const WATCHES: usize = 250;
    let behaviour: Behaviour = Arc::new(|line| match line {
        line if line.contains("/namespaces/kube-system") => system("one"),
        line if line.contains("watch") => {
            let body = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, Infallible>>());
            let answer = Response::builder().header("content-type", "application/json");
            let answer = answer.body(body.boxed_unsync()).unwrap();
            Box::pin(async move { answer })
        }
        _ => said(200, &json!({"metadata": {"name": "x"}})),
    });
    let (server, resource) = (Server::start(true, behaviour).await, config_maps());
    let watch = |_| async {
        let path = "/api/v1/configmaps?watch=true";
        let request = Request::get(path).body(Vec::new()).unwrap();
        server.client.kube().send(request.map(kube::client::Body::from)).await.unwrap()
    };
    let watches =
        tokio::time::timeout(Duration::from_secs(8), futures::future::join_all((0..WATCHES).map(watch)));
    let watches = watches.await.expect("each watch begins");
    for _ in 0..40 {
        let found = server.client.at(&resource, "n", "x").get();
        let found = tokio::time::timeout(Duration::from_secs(3), found).await.expect("an answer in time");
        assert!(found.unwrap().is_some());
    }
    let connections = server.connections.lock().unwrap().len();
    assert_eq!(connections, WATCHES / 80 + 1, "as few connections as carry them");
    drop(watches);
    assert!(server.client.at(&resource, "n", "x").get().await.unwrap().is_some());
    assert_eq!(server.connections.lock().unwrap().len(), connections, "no further one");
}
