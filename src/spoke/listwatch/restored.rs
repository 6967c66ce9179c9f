//! What a follower shows of the model of an API server that loses its lines, and goes back in time.

use super::*;
use crate::spoke::client::SpokeClient;
use apiserver_model::server::{Answer, Options, Server, Snapshot};
use apiserver_model::watch::Watch;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{Request, Response};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// An answer at once, or events until the line is cut.
type Shown = Either<Full<Bytes>, StreamBody<BoxStream<'static, std::io::Result<Frame<Bytes>>>>>;

const TOKEN: &str = "token";
const KINDS: [&str; 3] = ["configmaps", "secrets", "serviceaccounts"];

/// A server, what it was asked, and the line to it, which is cut now and then.
#[derive(Clone)]
struct Site {
    server: Arc<Mutex<Server>>,
    asked: Arc<Mutex<Vec<String>>>,
    cut: Arc<Mutex<u32>>,
    shown: Arc<Mutex<BTreeMap<&'static str, BTreeSet<String>>>>,
}

impl Site {
    fn new() -> Self {
        let mut server = Server::new(Options::default(), Timestamp::now());
        server.allow_token(TOKEN, "me");
        let site = Self {
            server: Arc::new(Mutex::new(server)),
            asked: Arc::default(),
            cut: Arc::default(),
            shown: Arc::default(),
        };
        site.ask("POST", "/api/v1/namespaces", &json!({"metadata": {"name": "shop"}}));
        site
    }

    fn handle(&self, mut request: Request<Bytes>) -> Answer {
        let bearer = format!("Bearer {TOKEN}");
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        self.server.lock().unwrap().handle(Timestamp::now(), &request)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = Request::builder().method(method).uri(path).body(body).unwrap();
        let Answer::Reply(reply) = self.handle(request) else { panic!("{path} is no watch") };
        assert!(reply.status().is_success(), "{method} {path}: {:?}", reply.body());
    }

    fn make(&self, kind: &str, name: &str) {
        self.ask("POST", &format!("/api/v1/namespaces/shop/{kind}"), &json!({"metadata": {"name": name}}));
    }

    fn delete(&self, kind: &str, name: &str) {
        self.ask("DELETE", &format!("/api/v1/namespaces/shop/{kind}/{name}"), &Value::Null);
    }

    fn snapshot(&self) -> Snapshot {
        self.server.lock().unwrap().snapshot()
    }

    /// Its etcd is restored, and it starts again.
    fn restore(&self, snapshot: &Snapshot) {
        self.server.lock().unwrap().restore(snapshot, Timestamp::now());
        self.cut();
    }

    fn cut(&self) {
        *self.cut.lock().unwrap() += 1;
    }

    /// What a watch shows, until the line is cut.
    fn events(&self, watch: Watch) -> Shown {
        let cut = *self.cut.lock().unwrap();
        let start = (self.clone(), watch, false);
        let events = futures::stream::unfold(start, move |(site, mut watch, over)| async move {
            loop {
                if over {
                    return None;
                }
                if *site.cut.lock().unwrap() != cut {
                    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                    return Some((Err(broken), (site, watch, true)));
                }
                let lines = site.server.lock().unwrap().read(&mut watch, Timestamp::now());
                if !lines.is_empty() {
                    return Some((Ok(Frame::data(lines.concat().into())), (site, watch, false)));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Shown::Right(StreamBody::new(events.boxed()))
    }

    fn client(&self) -> SpokeClient {
        let site = self.clone();
        SpokeClient::in_memory(move |request| {
            let site = site.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                site.asked.lock().unwrap().push(head.uri.to_string());
                Ok(match site.handle(Request::from_parts(head, body)) {
                    Answer::Reply(reply) => reply.map(|body| Shown::Left(body.into())),
                    Answer::Watch(watch) => Response::new(site.events(*watch)),
                })
            }
        })
    }

    /// Follows these kinds, over one client.
    fn follow(&self) -> Vec<tokio_util::task::AbortOnDropHandle<()>> {
        let client = self.client();
        let one = |kind: &'static str| {
            let (client, shown) = (client.clone(), self.shown.clone());
            tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
                let wanted = Wanted {
                    path: format!("/api/v1/namespaces/shop/{kind}"),
                    kind: kind.into(),
                    selectors: Vec::new(),
                    metadata: false,
                };
                let mut listing = None;
                let listed = move |listed: Listed| {
                    let mut shown = shown.lock().unwrap();
                    let there = shown.entry(kind).or_default();
                    let name = |o: &Value| o["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                    match listed {
                        Listed::Started => listing = Some(BTreeSet::new()),
                        Listed::Object(object) => {
                            listing.as_mut().unwrap_or(there).insert(name(&object));
                        }
                        Listed::Left(object) => drop(there.remove(&name(&object))),
                        Listed::Done(_) => *there = listing.take().unwrap_or_default(),
                    }
                    true
                };
                follow(&client, &wanted, listed, |_, _| true).await;
            }))
        };
        KINDS.into_iter().map(one).collect()
    }

    async fn shows(&self, kind: &str, names: &[&str]) {
        let shown = || self.shown.lock().unwrap().get(kind).cloned().unwrap_or_default();
        let want: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let waits = async {
            while shown() != want {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), waits).await;
        assert!(waited.is_ok(), "{kind}: {:?} instead of {want:?}: {:?}", shown(), self.asked());
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn lists(asked: &[String]) -> usize {
    asked.iter().filter(|uri| !uri.contains("watch=true") && !is_probe(uri)).count()
}
fn is_probe(uri: &str) -> bool {
    uri.contains("NotOlderThan") && uri.contains("limit=1&")
}
fn probes(asked: &[String]) -> usize {
    asked.iter().filter(|uri| is_probe(uri)).count()
}

#[tokio::test]
async fn what_a_restore_brought_back_or_took_away_is_seen_though_no_event_tells_of_it() {
    let site = Site::new();
    for kind in KINDS {
        site.make(kind, "old");
    }
    let backup = site.snapshot();
    let _following = site.follow();
    for kind in KINDS {
        site.shows(kind, &["old"]).await;
        for n in 0..9 {
            site.make(kind, &format!("new-{n}"));
        }
        site.delete(kind, "old");
    }
    let new: Vec<String> = (0..9).map(|n| format!("new-{n}")).collect();
    let new: Vec<&str> = new.iter().map(String::as_str).collect();
    for kind in KINDS {
        site.shows(kind, &new).await;
    }
    site.asked();
    site.restore(&backup);
    for kind in KINDS {
        site.shows(kind, &["old"]).await;
    }
    let asked = site.asked();
    assert_eq!((probes(&asked), lists(&asked)), (1, KINDS.len()), "{asked:?}");
    // Versions that were seen before come a second time.
    for kind in KINDS {
        site.make(kind, "newer");
        site.shows(kind, &["newer", "old"]).await;
    }
}

#[tokio::test]
async fn contact_that_was_lost_costs_one_question_and_no_list() {
    let site = Site::new();
    let _following = site.follow();
    for kind in KINDS {
        site.make(kind, "a");
        site.shows(kind, &["a"]).await;
    }
    for (times, name) in [(1, "b"), (2, "c")] {
        site.asked();
        site.cut();
        tokio::time::sleep(Duration::from_millis(20)).await;
        for kind in KINDS {
            site.make(kind, name);
        }
        let names = ["a", "b", "c"];
        for kind in KINDS {
            site.shows(kind, &names[..=times]).await;
        }
        let asked = site.asked();
        assert_eq!((probes(&asked), lists(&asked)), (1, 0), "{asked:?}");
    }
}
