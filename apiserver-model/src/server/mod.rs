//! A server: what it keeps, and which part of it answers a request.
//!
//! It knows neither a clock nor chance: whoever calls says what time it is, and ids come from a seed. The same calls give
//! the same bytes.

mod plain;
mod route;

use crate::access::{Access, Denial};
use crate::discovery::{Documents, Kinds};
use crate::kinds::{self, BUILT_IN, Kind, Resource};
use crate::managed::Writer;
use crate::request::{Format, Query};
use crate::status::{Refusal, answer};
use crate::store::{Store, Stored, key};
use crate::tasks::Tasks;
use crate::watch::Watch;
use crate::{crds, metadata, patch};
use http::{HeaderName, HeaderValue, Request, Response, header, request::Parts};
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What a server is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Ids are made from it.
    pub seed: u64,
    /// So many changes are known to watches and to pages of lists.
    pub history: usize,
    /// Objects are kept as JSON: much less memory, and somewhat more work for each look at one.
    pub compact: bool,
    /// So many of the latest requests are known to tests.
    pub log: usize,
    /// From a change of a CRD until it is served.
    pub crd_delay: Duration,
    /// From the deletion of a namespace or of an owner until what is in it or belongs to it goes; `None`: nobody does that,
    /// as on an API server without a controller manager.
    pub collect_after: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            history: 4_096,
            compact: false,
            log: 0,
            crd_delay: Duration::from_millis(60),
            collect_after: Some(Duration::from_millis(200)),
        }
    }
}

/// What comes of a request.
pub enum Answer {
    Reply(Response<Bytes>),
    /// 200, and then what [`Server::read`] gives.
    Watch(Box<Watch>),
}

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub at: Timestamp,
    pub method: String,
    /// With its query.
    pub path: String,
    pub user: String,
    pub status: u16,
}

/// All that is kept; see [`Server::snapshot`].
#[derive(Clone)]
pub struct Snapshot {
    store: Store,
}

pub struct Server {
    pub(crate) options: Options,
    pub(crate) store: Store,
    pub(crate) kinds: Kinds,
    documents: Documents,
    access: Access,
    pub(crate) tasks: Tasks,
    ids: u64,
    pub(crate) stamps: u64,
    log: VecDeque<Logged>,
    /// Given so far.
    answers: u64,
    counts: BTreeMap<(String, u16), u64>,
    /// Watches of an earlier one ended with it.
    pub(crate) epoch: u64,
}

/// What a request is about.
pub(crate) struct Context<'a> {
    pub kind: Arc<Kind>,
    pub namespace: String,
    pub name: String,
    pub sub: String,
    pub query: Query,
    pub format: Format,
    pub parts: &'a Parts,
    pub now: Timestamp,
}

impl Context<'_> {
    pub fn key(&self) -> String {
        key(&self.namespace, &self.name)
    }

    /// Whole seconds.
    pub fn time(&self) -> String {
        seconds(self.now)
    }

    /// The field manager: as the query says, else the program that asks.
    pub fn manager(&self) -> String {
        let named = self.query.get("fieldManager");
        if !named.is_empty() {
            return named.to_owned();
        }
        let agent =
            self.parts.headers.get(header::USER_AGENT).and_then(|a| a.to_str().ok()).unwrap_or_default();
        let program = agent.split('/').next().unwrap_or_default();
        if program.is_empty() { "unknown".into() } else { program.chars().take(128).collect() }
    }

    /// Who writes with this request.
    pub fn as_writer<T>(&self, then: impl FnOnce(&Writer<'_>) -> T) -> T {
        then(&Writer {
            schema: &self.kind.schema,
            manager: &self.manager(),
            subresource: &self.sub,
            api_version: &self.kind.api_version(),
            time: &self.time(),
            reset: self.kind.reset(&self.sub),
            zero: &self.kind.zero,
        })
    }
}

pub(crate) fn seconds(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Server {
    /// A server with the namespaces that every one has.
    #[must_use]
    pub fn new(options: Options, now: Timestamp) -> Self {
        let kinds = BUILT_IN.kinds.iter().map(|k| (place_of(k), Arc::clone(k))).collect();
        let mut server = Self {
            store: Store::new(options.history, options.compact),
            options,
            kinds,
            documents: Documents::default(),
            access: Access::default(),
            tasks: Tasks::default(),
            ids: 0,
            stamps: 0,
            log: VecDeque::new(),
            answers: 0,
            counts: BTreeMap::new(),
            epoch: 0,
        };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let uid = server.uid();
            let object = json!({
                "apiVersion": "v1", "kind": "Namespace", "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
                "metadata": {"name": name, "uid": uid, "creationTimestamp": seconds(now),
                    "labels": {"kubernetes.io/metadata.name": name},
                    "managedFields": [{"manager": "kube-apiserver", "operation": "Update", "apiVersion": "v1",
                        "time": seconds(now), "fieldsType": "FieldsV1", "fieldsV1":
                        {"f:metadata": {"f:labels": {".": {}, "f:kubernetes.io/metadata.name": {}}}}}]},
            });
            server.store.put(&Resource::new("", "namespaces"), name, object, 0);
        }
        server
    }

    /// From now on only known tokens are let in.
    pub fn allow_token(&mut self, token: &str, user: &str) {
        self.access.allow(token, user);
    }

    pub fn forget_token(&mut self, token: &str) {
        self.access.forget(token);
    }

    /// What users may not do, from now on.
    pub fn deny(&mut self, denials: Vec<Denial>) {
        self.access.denials = denials;
    }

    /// The version of the latest write.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.store.version
    }

    /// Watches and pages cannot go on from before now: they hear 410.
    pub fn forget_history(&mut self) {
        self.store.compact();
    }

    /// What is kept, as a backup of etcd holds it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { store: self.store.clone() }
    }

    /// The server as it was; all its watches end. Versions are given a second time.
    pub fn restore(&mut self, snapshot: &Snapshot, now: Timestamp) {
        self.store = snapshot.store.clone();
        self.store.compact();
        self.restart(now);
    }

    /// All watches end, and what was under way begins again.
    pub fn restart(&mut self, now: Timestamp) {
        self.epoch += 1;
        self.tasks = Tasks::default();
        self.kinds.retain(|_, kind| !kind.custom);
        self.documents.forget();
        let all: Vec<Arc<Value>> = self.crds().map(Stored::object).collect();
        for crd in &all {
            if crds::condition(crd, "Established") == Some("True") {
                self.serve(crd);
            }
        }
        self.resume(now);
    }

    /// All objects, by resource and key (`namespace/name`).
    pub fn objects(&self) -> impl Iterator<Item = (&Resource, &str, Arc<Value>)> {
        self.store.all().map(|(resource, key, stored)| (resource, key.as_str(), stored.object()))
    }

    #[must_use]
    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.store.get(resource, &key(namespace, name)).map(Stored::object)
    }

    /// The latest requests, as many as the options say.
    #[must_use]
    pub fn requests(&self) -> &VecDeque<Logged> {
        &self.log
    }

    /// How many requests of a verb were answered with a status.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<(String, u16), u64> {
        &self.counts
    }

    /// Answers one request. Time must not go backwards.
    pub fn handle(&mut self, now: Timestamp, request: &Request<Bytes>) -> Answer {
        self.advance(now);
        let (parts, body) = request.clone().into_parts();
        let user = self.access.user(&parts.headers);
        let name = user.clone().unwrap_or_default();
        let answered = user.and_then(|user| self.route(now, &user, &parts, &body));
        let mut answered = answered.unwrap_or_else(|refusal| Answer::Reply(refusal.response()));
        self.answers += 1;
        let status = match &mut answered {
            Answer::Reply(reply) => {
                let audit = HeaderValue::from_str(&format!("00000000-0000-4000-8000-{:012x}", self.answers));
                reply.headers_mut().extend(audit.ok().map(|id| (HeaderName::from_static("audit-id"), id)));
                reply.status().as_u16()
            }
            Answer::Watch(_) => 200,
        };
        *self.counts.entry((parts.method.to_string(), status)).or_default() += 1;
        if self.options.log > 0 {
            if self.log.len() == self.options.log {
                self.log.pop_front();
            }
            let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            self.log.push_back(Logged {
                at: now,
                method: parts.method.to_string(),
                path,
                user: name,
                status,
            });
        }
        answered
    }

    pub(crate) fn find(&self, context: &Context<'_>) -> Result<&Stored, Refusal> {
        let found = self.store.get(&context.kind.resource(), &context.key());
        found.ok_or_else(|| Refusal::not_found(&context.kind, &context.name))
    }

    /// An object as a version of its kind shows it.
    pub(crate) fn shown(&self, kind: &Kind, stored: &Stored) -> Arc<Value> {
        let object = stored.object();
        let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let same = match version.split_once('/') {
            Some((_, version)) => version == kind.version,
            None => version == kind.version,
        };
        if !kind.custom || (same && stored.stamp == kind.stamp) {
            return object;
        }
        let mut object = (*object).clone();
        object["apiVersion"] = json!(kind.api_version());
        let metadata = object.get("metadata").cloned().unwrap_or_default();
        crate::admit::prune(&mut object, &kind.schema);
        object["metadata"] = metadata;
        crate::admit::default(&mut object, &kind.schema);
        Arc::new(object)
    }

    /// What CRDs serve from now on: the versions of this one, in the place of those that it served before.
    pub(crate) fn serve(&mut self, crd: &Value) {
        self.stop_serving(crd);
        self.stamps += 1;
        for kind in kinds::of_crd(crd, self.stamps) {
            self.kinds.insert(place_of(&kind), kind);
        }
    }

    pub(crate) fn stop_serving(&mut self, crd: &Value) {
        let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (group, plural) = (text("/spec/group"), text("/spec/names/plural"));
        self.kinds.retain(|(g, _, p), _| !(g == group && p == plural));
        self.documents.forget();
    }

    pub(crate) fn crds(&self) -> impl Iterator<Item = &Stored> {
        self.store.of(&crd_resource()).map(|(_, stored)| stored)
    }

    /// An id that looks like any other.
    pub(crate) fn uid(&mut self) -> String {
        self.ids += 1;
        let mut hasher = Sha256::new();
        hasher.update(self.options.seed.to_be_bytes());
        hasher.update(self.ids.to_be_bytes());
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&hasher.finalize()[..16]);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let part = |from: usize, to: usize| hex[from..to].concat();
        format!("{}-{}-{}-{}-{}", part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 16))
    }

    /// Five letters for a generated name.
    pub(crate) fn suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let uid = self.uid();
        let digits = uid.bytes().filter(|b| *b != b'-').collect::<Vec<_>>();
        let number =
            |i: usize| digits.get(i * 2..i * 2 + 2).map_or(0, |d| usize::from(d[0]) * 31 + usize::from(d[1]));
        (0..5).map(|i| char::from(LETTERS[number(i) % LETTERS.len()])).collect()
    }
}

fn place_of(kind: &Kind) -> (String, String, String) {
    (kind.group.clone(), kind.version.clone(), kind.plural.clone())
}

pub(crate) fn crd_resource() -> Resource {
    Resource::new(kinds::CRDS, "customresourcedefinitions")
}

pub(crate) fn json_answer(code: u16, value: &Value) -> Response<Bytes> {
    answer(code, "application/json", value.to_string().into())
}

pub(crate) fn formatted(object: &Value, format: Format) -> Value {
    match format {
        Format::Full => object.clone(),
        Format::Metadata => {
            let metadata = object.get("metadata").cloned().unwrap_or_default();
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
        }
    }
}

pub(crate) fn object_answer(code: u16, object: &Value, format: Format) -> Response<Bytes> {
    match format {
        Format::Full => json_answer(code, object),
        Format::Metadata => json_answer(code, &formatted(object, format)),
    }
}

/// A part of the body of a request, as JSON.
pub(crate) fn parse(kind: &Kind, body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice::<Value>(body).map_err(|error| {
        let why = if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
        let text = String::from_utf8_lossy(body);
        Refusal::bad_request(&format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: {why} ({text})",
            kind.kind
        ))
    })
}

/// A patch that is no list of operations, applied.
pub(crate) fn merged(live: &Value, by: &Value) -> Value {
    let mut object = live.clone();
    patch::merge(&mut object, by);
    if !object.get("metadata").is_some_and(Value::is_object) {
        metadata::tidy(&mut object);
    }
    object
}
