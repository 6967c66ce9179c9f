//! A server: what it keeps, and which part of it answers a request.
//!
//! It knows neither a clock nor chance: whoever calls says what time it is, and ids come from a seed. The same calls give
//! the same bytes.

use crate::access::{Access, Asked, Denial};
use crate::discovery::{self, Document, Documents, Kinds};
use crate::kinds::{self, BUILT_IN, Kind, Resource};
use crate::request::{self, Format, Place, Query};
use crate::status::{Refusal, answer};
use crate::store::{Store, Stored, key};
use crate::tasks::Tasks;
use crate::watch::Watch;
use crate::{crds, metadata, patch};
use http::{HeaderValue, Method, Request, Response, header, request::Parts};
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
            store: Store::new(options.history),
            options,
            kinds,
            documents: Documents::default(),
            access: Access::default(),
            tasks: Tasks::default(),
            ids: 0,
            stamps: 0,
            log: VecDeque::new(),
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
        let all: Vec<Arc<Value>> = self.crds().map(|s| Arc::clone(&s.object)).collect();
        for crd in &all {
            if crds::condition(crd, "Established") == Some("True") {
                self.serve(crd);
            }
        }
        self.resume(now);
    }

    /// All objects, by resource and key (`namespace/name`).
    pub fn objects(&self) -> impl Iterator<Item = (&Resource, &str, &Value)> {
        self.store.all().map(|(resource, key, stored)| (resource, key.as_str(), &*stored.object))
    }

    #[must_use]
    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<&Value> {
        self.store.get(resource, &key(namespace, name)).map(|s| &*s.object)
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
        let answered = answered.unwrap_or_else(|refusal| Answer::Reply(refusal.response()));
        let status = match &answered {
            Answer::Reply(reply) => reply.status().as_u16(),
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

    fn route(&mut self, now: Timestamp, user: &str, parts: &Parts, body: &Bytes) -> Result<Answer, Refusal> {
        let path = parts.uri.path();
        let query = Query::of(parts);
        let Place::Resource { group, version, namespace, plural, name, sub } = request::place(path) else {
            let verb = parts.method.as_str().to_lowercase();
            let asked = Asked { verb: &verb, group: "", plural: "", sub: "", namespace: "", name: "", path };
            self.access.check(user, &asked)?;
            return self.other(parts, &query).map(Answer::Reply);
        };
        let watches = query.is("watch") && parts.method == Method::GET;
        let verb = request::verb(&parts.method, !name.is_empty() && !watches, watches);
        let space =
            if plural == "namespaces" && group.is_empty() { name.as_str() } else { namespace.as_str() };
        let asked =
            Asked { verb, group: &group, plural: &plural, sub: &sub, namespace: space, name: &name, path };
        self.access.check(user, &asked)?;
        let kind = self.kind_at(&group, &version, &plural, &namespace, &name, &parts.method)?;
        let format = request::format(&parts.headers)?;
        let context = Context { kind, namespace, name, sub, query, format, parts, now };
        self.answer(&context, body)
    }

    fn kind_at(
        &self,
        group: &str,
        version: &str,
        plural: &str,
        namespace: &str,
        name: &str,
        method: &Method,
    ) -> Result<Arc<Kind>, Refusal> {
        let own = |g: &str| BUILT_IN.kinds.iter().any(|k| k.group == g);
        let nothing = || if own(group) { Refusal::resource() } else { Refusal::page() };
        let wanted = (group.to_owned(), version.to_owned(), plural.to_owned());
        let Some(kind) = self.kinds.get(&wanted) else { return Err(nothing()) };
        let all_namespaces = namespace.is_empty() && name.is_empty();
        let right =
            if kind.namespaced { !namespace.is_empty() || all_namespaces } else { namespace.is_empty() };
        if !right {
            return Err(nothing());
        }
        if kind.namespaced && all_namespaces && method != Method::GET {
            return Err(Refusal::method());
        }
        Ok(Arc::clone(kind))
    }

    fn answer(&mut self, context: &Context<'_>, body: &Bytes) -> Result<Answer, Refusal> {
        let kind = &context.kind;
        match context.sub.as_str() {
            "" => {}
            "status" if kind.status => {}
            "finalize" => return Err(Refusal::lacking("namespaces/finalize")),
            "scale" if kind.custom && self.has_scale(kind) => {
                return Err(Refusal::lacking("the scale subresource"));
            }
            _ if kind.custom => return Err(Refusal::not_found(kind, &context.name)),
            _ => return Err(Refusal::resource()),
        }
        let named = !context.name.is_empty();
        if context.query.is("watch") && context.parts.method == Method::GET && context.sub.is_empty() {
            return self.open(context).map(|watch| Answer::Watch(Box::new(watch)));
        }
        let reply = match (context.parts.method.as_str(), named, context.sub.as_str()) {
            ("GET", true, _) => self.read_one(context),
            ("GET", false, _) => self.list(context),
            ("POST", false, _) => self.create(context, body),
            ("PUT", true, _) => self.replace(context, body),
            ("PATCH", true, _) => self.patch(context, body),
            ("DELETE", true, "") => self.delete(context, body),
            ("DELETE", false, _) if context.kind.verbs().contains(&"deletecollection") => {
                self.delete_collection(context, body)
            }
            _ => Err(Refusal::method()),
        };
        reply.map(Answer::Reply)
    }

    fn has_scale(&self, kind: &Kind) -> bool {
        let crd = self.store.get(&crd_resource(), &kind.qualified());
        let versions = crd.and_then(|c| c.object.pointer("/spec/versions")).and_then(Value::as_array);
        let this = versions.into_iter().flatten().find(|v| v["name"] == kind.version.as_str());
        this.is_some_and(|v| v.pointer("/subresources/scale").is_some())
    }

    fn read_one(&self, context: &Context<'_>) -> Result<Response<Bytes>, Refusal> {
        let stored = self.find(context)?;
        Ok(object_answer(200, &self.shown(&context.kind, stored), context.format))
    }

    pub(crate) fn find(&self, context: &Context<'_>) -> Result<&Stored, Refusal> {
        let found = self.store.get(&context.kind.resource(), &context.key());
        found.ok_or_else(|| Refusal::not_found(&context.kind, &context.name))
    }

    /// An object as a version of its kind shows it.
    pub(crate) fn shown(&self, kind: &Kind, stored: &Stored) -> Arc<Value> {
        let version = stored.object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let same = match version.split_once('/') {
            Some((_, version)) => version == kind.version,
            None => version == kind.version,
        };
        if !kind.custom || (same && stored.stamp == kind.stamp) {
            return Arc::clone(&stored.object);
        }
        let mut object = (*stored.object).clone();
        object["apiVersion"] = json!(kind.api_version());
        let metadata = object.get("metadata").cloned().unwrap_or_default();
        crate::admit::prune(&mut object, &kind.schema);
        object["metadata"] = metadata;
        crate::admit::default(&mut object, &kind.schema);
        Arc::new(object)
    }

    fn documents(&mut self) -> BTreeMap<String, Document> {
        let (store, kinds) = (&self.store, &self.kinds);
        self.documents.all(|| {
            let custom = kinds.values().filter(|k| k.custom);
            custom
                .map(|kind| {
                    let crd = store.get(&crd_resource(), &kind.qualified());
                    let versions =
                        crd.and_then(|c| c.object.pointer("/spec/versions")).and_then(Value::as_array);
                    let this = versions.into_iter().flatten().find(|v| v["name"] == kind.version.as_str());
                    let schema = this.and_then(|v| v.pointer("/schema/openAPIV3Schema")).cloned();
                    (Arc::clone(kind), schema.unwrap_or_else(|| json!({"type": "object"})))
                })
                .collect()
        })
    }

    fn other(&mut self, parts: &Parts, query: &Query) -> Result<Response<Bytes>, Refusal> {
        let path = parts.uri.path().trim_end_matches('/');
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        if path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" || !reads {
            return Err(Refusal::lacking(&format!("{} {path}", parts.method)));
        }
        let words: Vec<&str> = path.split('/').skip(1).collect();
        let value = match words.as_slice() {
            ["healthz" | "readyz" | "livez", ..] => {
                return Ok(answer(200, "text/plain; charset=utf-8", Bytes::from_static(b"ok")));
            }
            ["version"] => discovery::version(),
            ["api"] => discovery::core(),
            ["apis"] => discovery::groups(&self.kinds),
            ["api", version] => {
                discovery::resources(&self.kinds, "", version).ok_or_else(Refusal::resource)?
            }
            ["apis", group] => discovery::group(&self.kinds, group).ok_or_else(Refusal::page)?,
            ["apis", group, version] => {
                let nothing = || {
                    if BUILT_IN.kinds.iter().any(|k| &k.group == group) {
                        Refusal::resource()
                    } else {
                        Refusal::page()
                    }
                };
                discovery::resources(&self.kinds, group, version).ok_or_else(nothing)?
            }
            ["openapi", "v3"] => discovery::index(&self.documents()),
            ["openapi", "v3", ..] => return self.document(parts, query, path),
            ["openapi", ..] => return Err(Refusal::lacking("OpenAPI v2")),
            _ => return Err(Refusal::page()),
        };
        Ok(json_answer(200, &value))
    }

    /// A document by its path. One that is asked for by the hash of another is told where it is.
    fn document(&mut self, parts: &Parts, query: &Query, path: &str) -> Result<Response<Bytes>, Refusal> {
        let name = path.trim_start_matches("/openapi/v3/");
        let Some(document) = self.documents().get(name).cloned() else {
            let mut nothing = answer(404, "application/json", Bytes::new());
            nothing.headers_mut().remove(header::CONTENT_TYPE);
            return Ok(nothing);
        };
        let etag = format!("\"{}\"", document.hash);
        let asked = query.get("hash");
        let known = parts.headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()) == Some(&etag);
        let mut reply = if !asked.is_empty() && asked != &*document.hash {
            let mut moved = answer(301, "application/json", Bytes::new());
            let location = format!("/openapi/v3/{name}?hash={}", document.hash);
            if let Ok(value) = HeaderValue::from_str(&location) {
                moved.headers_mut().insert(header::LOCATION, value);
            }
            moved
        } else if known {
            answer(304, "application/json", Bytes::new())
        } else {
            answer(200, "application/json", Bytes::copy_from_slice(document.text.as_bytes()))
        };
        if let Ok(value) = HeaderValue::from_str(&etag) {
            reply.headers_mut().insert(header::ETAG, value);
        }
        Ok(reply)
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
