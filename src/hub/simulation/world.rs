//! A hub and spokes with what users put there.

use super::act::NAMES;
use super::network::{HUB, Network, address};
use super::process::HUB_NAMESPACE;
use super::rest::{self, condition, is_made};
use super::trace::Trace;
use super::wishes::{self, Child, NAMESPACE, Wish, Words};
use crate::api::Object;
use crate::api::keys::{hub, kro};
use crate::reconcile::fleet::placement;
use apiserver_model::serve::Shared;
use apiserver_model::server::{Answer, Options, Server, Snapshot};
use base64::Engine;
use http::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of a spoke from outside.
#[derive(Clone, Debug)]
struct Spoke {
    registered: bool,
    /// How often its credentials were changed.
    token: u64,
}

pub struct World {
    pub network: Arc<Network>,
    seed: u64,
    servers: u64,
    spokes: BTreeMap<String, Spoke>,
    revision: u64,
    snapshots: Vec<Snapshot>,
    /// Instances may be unknown to the hub that restored an older state.
    forgot: bool,
    /// Sites where somebody deleted the mirror of an instance: the only record of kinds that its definition made before.
    unrecorded: BTreeSet<(String, String)>,
    /// Labels of clusters, where users steer the fleet.
    pub labels: BTreeMap<String, BTreeMap<String, String>>,
    pub steered: bool,
}

impl World {
    pub fn new(seed: u64, spokes: &[String], trace: Trace, steered: bool) -> Self {
        let network = Network::new(seed, trace);
        let mut world = Self {
            network,
            seed,
            servers: 0,
            spokes: BTreeMap::new(),
            revision: 1,
            snapshots: Vec::new(),
            forgot: false,
            unrecorded: BTreeSet::new(),
            labels: BTreeMap::new(),
            steered,
        };
        let server = world.server();
        world.network.place(HUB, server);
        for name in [NAMESPACE, "kube-system", HUB_NAMESPACE] {
            world.has_namespace(HUB, name);
        }
        for name in spokes {
            let server = world.server();
            world.network.place(name, server);
            for namespace in [NAMESPACE, "kube-system"] {
                world.has_namespace(name, namespace);
            }
            world.spokes.insert(name.clone(), Spoke { registered: false, token: 0 });
            if steered {
                let stage = if name == "c1" { "canary" } else { "prod" };
                let region = if world.spokes.len().is_multiple_of(2) { "eu" } else { "us" };
                let labels =
                    [("stage", stage), ("region", region)].map(|(k, v)| (k.to_owned(), v.to_owned()));
                world.labels.insert(name.clone(), labels.into());
            }
            world.register(name);
        }
        world
    }

    /// A cluster that was just made.
    pub fn server(&mut self) -> Shared {
        self.servers += 1;
        let options = Options { seed: self.seed.wrapping_mul(31) + self.servers, ..Options::default() };
        let clock = self.network.clock;
        Shared::new(Server::new(options, clock.wall()), move || clock.wall())
    }

    fn has_namespace(&self, site: &str, name: &str) {
        if self.get(site, &format!("/api/v1/namespaces/{name}")).is_none() {
            let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            self.must(site, "POST", "/api/v1/namespaces", &body);
        }
    }

    pub fn spokes(&self) -> impl Iterator<Item = &str> {
        self.spokes.keys().map(String::as_str)
    }
    pub fn sites(&self) -> Vec<String> {
        std::iter::once(HUB.to_owned()).chain(self.spokes.keys().cloned()).collect()
    }
    pub fn is_registered(&self, name: &str) -> bool {
        self.spokes.get(name).is_some_and(|s| s.registered)
    }
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// As a user with all rights: code and answer.
    pub fn user(&self, site: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let bytes = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .header("accept", "application/json")
            .header("authorization", format!("Bearer {ADMIN}"))
            .header("user-agent", "user")
            .body(bytes)
            .unwrap();
        let shared = self.network.shared(site);
        let answer = shared.with(|server| {
            let answer = server.handle(shared.now(), &request);
            if site == HUB && method != "GET" {
                self.network.laws.lock().unwrap().note(self.network.clock.millis(), server);
            }
            answer
        });
        match answer {
            Answer::Reply(reply) => {
                let code = reply.status().as_u16();
                (code, serde_json::from_slice(reply.body()).unwrap_or_default())
            }
            Answer::Watch(_) => panic!("a user does not watch"),
        }
    }

    pub fn get(&self, site: &str, path: &str) -> Option<Value> {
        let (code, value) = self.user(site, "GET", path, &Value::Null);
        (code == 200).then_some(value)
    }

    pub fn must(&self, site: &str, method: &str, path: &str, body: &Value) -> Value {
        let (code, value) = self.user(site, method, path, body);
        assert!(code < 300, "{site} {method} {path}: {code} {value}");
        value
    }

    pub fn list(&self, site: &str, path: &str) -> Vec<Object> {
        let list = self.get(site, path).unwrap_or_default();
        list["items"].as_array().into_iter().flatten().map(|v| Object(v.clone())).collect()
    }

    // Clusters.

    pub fn secret_path(name: &str) -> String {
        format!("/api/v1/namespaces/{HUB_NAMESPACE}/secrets/{name}")
    }

    fn kubeconfig(&self, name: &str) -> String {
        let token = token(name, self.spokes[name].token);
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": address(name)}}],
            "users": [{"name": "u", "user": {"token": token}}]});
        base64::engine::general_purpose::STANDARD.encode(config.to_string())
    }

    pub fn register(&mut self, name: &str) {
        let spoke = self.spokes.get_mut(name).unwrap();
        spoke.registered = true;
        self.allow(name);
        let mut labels = self.labels.get(name).cloned().unwrap_or_default();
        labels.insert(hub::CLUSTER_LABEL.into(), "true".into());
        let secret = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": HUB_NAMESPACE, "labels": labels,
                "annotations": {hub::PUBLIC_ROOTS: "true"}},
            "data": {"kubeconfig": self.kubeconfig(name)}});
        if self.get(HUB, &Self::secret_path(name)).is_none() {
            self.must(HUB, "POST", &format!("/api/v1/namespaces/{HUB_NAMESPACE}/secrets"), &secret);
        }
    }

    /// The server takes the present credentials.
    fn allow(&self, name: &str) {
        let token = token(name, self.spokes[name].token);
        self.network.shared(name).with(|server| {
            server.allow_token(&token, "hub");
            server.allow_token(ADMIN, "admin");
        });
    }

    pub fn deregister(&mut self, name: &str) {
        self.spokes.get_mut(name).unwrap().registered = false;
        self.user(HUB, "DELETE", &Self::secret_path(name), &Value::Null);
        self.user(HUB, "DELETE", &format!("/apis/hub.kro.run/v1alpha1/clusters/{name}"), &Value::Null);
    }

    /// New credentials; returns the number of those before.
    pub fn rotate(&mut self, name: &str) -> u64 {
        let spoke = self.spokes.get_mut(name).unwrap();
        let before = spoke.token;
        spoke.token += 1;
        self.allow(name);
        let patch = json!({"data": {"kubeconfig": self.kubeconfig(name)}});
        self.user(HUB, "PATCH", &Self::secret_path(name), &patch);
        before
    }

    pub fn end_token(&self, name: &str, number: u64) {
        self.network.shared(name).with(|server| server.forget_token(&token(name, number)));
    }

    /// Another cluster stands behind the address; returns the one that stood there.
    pub fn swap(&mut self, name: &str) -> Shared {
        let old = self.network.shared(name);
        self.network.laws.lock().unwrap().strangers.insert(name.to_owned());
        let other = self.server();
        self.network.place(name, other);
        for namespace in [NAMESPACE, "kube-system"] {
            self.has_namespace(name, namespace);
        }
        self.allow(name);
        old
    }

    pub fn swap_back(&self, name: &str, old: Shared) {
        self.network.place(name, old);
        self.network.laws.lock().unwrap().strangers.remove(name);
        self.allow(name);
    }

    /// The hub runs instances too.
    pub fn register_hub(&self) {
        let clusters = "/apis/hub.kro.run/v1alpha1/clusters";
        if self.get(HUB, &format!("{clusters}/local")).is_none() {
            let body = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster", "metadata": {"name": "local"},
                "spec": {"local": true}});
            self.must(HUB, "POST", clusters, &body);
        }
    }

    /// Whether the Cluster says that all is well.
    pub fn is_ready(&self, name: &str) -> bool {
        let cluster = self.get(HUB, &format!("/apis/hub.kro.run/v1alpha1/clusters/{name}"));
        let ready = cluster.as_ref().and_then(|c| condition(c, "Ready"));
        self.is_registered(name) && ready.is_some_and(|c| c["status"] == "True")
    }

    // What users want.

    pub fn define(&mut self, revision: u64) {
        self.revision = revision;
        if self.get(HUB, &format!("{}/sign", wishes::RGDS)).is_none() {
            self.must(HUB, "POST", wishes::RGDS, &wishes::definition_of_signs());
        }
        let body = wishes::definition(revision);
        let (code, live) = self.user(HUB, "GET", &format!("{}/shop", wishes::RGDS), &Value::Null);
        if code == 200 {
            let patch = json!({"spec": body["spec"], "metadata": {"resourceVersion": live["metadata"]["resourceVersion"]}});
            self.must(HUB, "PATCH", &format!("{}/shop", wishes::RGDS), &patch);
        } else {
            self.must(HUB, "POST", wishes::RGDS, &body);
        }
        self.wants();
    }

    /// Whether the hub serves instances by now.
    pub fn serves(&self) -> bool {
        self.get(HUB, wishes::SHOPS).is_some()
    }

    pub fn create(&self, name: &str, wish: &Wish, words: &Words) {
        self.user(HUB, "POST", wishes::SHOPS, &wishes::instance(name, wish, words));
        self.wants();
    }

    pub fn edit(&self, name: &str, wish: &Wish) {
        self.user(HUB, "PATCH", &format!("{}/{name}", wishes::SHOPS), &json!({"spec": wish.spec()}));
        self.wants();
    }

    pub fn place(&self, name: &str, words: &Words) {
        let patch = json!({"metadata": {"annotations": {hub::CLUSTERS: words.text()}}});
        self.user(HUB, "PATCH", &format!("{}/{name}", wishes::SHOPS), &patch);
        self.wants();
    }

    pub fn delete(&self, name: &str) {
        self.user(HUB, "DELETE", &format!("{}/{name}", wishes::SHOPS), &Value::Null);
        self.wants();
    }

    pub fn instances(&self) -> Vec<Object> {
        self.list(HUB, wishes::SHOPS)
    }

    /// The sites that an instance chooses.
    pub fn places_of(&self, instance: &Object) -> BTreeSet<String> {
        if self.steered {
            return self.ground().must(instance.name());
        }
        let Some(text) = instance.annotation(hub::CLUSTERS) else { return [HUB.to_owned()].into() };
        let registered = self.spokes.iter().filter(|(_, s)| s.registered).map(|(name, _)| name.clone());
        if text == "*" {
            return registered.collect();
        }
        let named = placement::names(Some(text));
        registered.filter(|name| named.iter().any(|n| n.as_str() == name)).collect()
    }

    pub fn names_unknown(&self, instance: &Object) -> bool {
        let text = instance.annotation(hub::CLUSTERS).filter(|text| *text != "*");
        placement::names(text).iter().any(|n| !self.is_registered(n.as_str()))
    }

    /// Tells the laws what is wanted now.
    pub fn wants(&self) {
        let mut wanted = Vec::new();
        for instance in self.instances().into_iter().filter(|i| !i.is_deleting()) {
            let wish = Wish::read(&instance.0["spec"]);
            for place in self.places_of(&instance) {
                // What the present revision makes, or the one that comes.
                for (child, _) in wishes::children(instance.name(), &wish, self.revision) {
                    // Where changes travel by stages, a cluster may run an older revision, or an older wish.
                    if !self.steered || child.1.ends_with("-front") {
                        wanted.push((place.clone(), child));
                    }
                }
            }
        }
        self.network.laws.lock().unwrap().wants(self.network.clock.millis(), wanted);
    }

    /// What a controller made at a site.
    pub fn made(&self, site: &str) -> Vec<(Child, Object)> {
        let mut out = Vec::new();
        for plural in ["configmaps", "secrets", "signs"] {
            let path = rest::path(&(plural, String::new()));
            let made = self.list(site, path.trim_end_matches('/')).into_iter().filter(is_made);
            out.extend(made.map(|object| ((plural, object.name().to_owned()), object)));
        }
        if site != HUB {
            let mirrors = self.list(site, wishes::SHOPS);
            out.extend(mirrors.into_iter().map(|object| (("shops", object.name().to_owned()), object)));
        }
        out
    }

    /// The record of an instance's kinds at a site is gone.
    pub fn forget_kinds(&mut self, site: &str, instance: &str) {
        self.unrecorded.insert((site.to_owned(), instance.to_owned()));
    }

    /// What nobody can clean: its cluster was deregistered, the hub forgot that it made it, or it is of a kind that the
    /// definition does not make any more while the only record of that is gone.
    pub fn is_excused(&self, site: &str, plural: &str, object: &Object) -> bool {
        let instance = object.label(kro::INSTANCE_NAME).unwrap_or_default();
        let maker = instance.strip_suffix(wishes::SIGN);
        let recorded = !self.unrecorded.contains(&(site.to_owned(), maker.unwrap_or(instance).to_owned()));
        let made = match plural {
            "secrets" => wishes::makes_keys(self.revision),
            "signs" => wishes::makes_signs(self.revision),
            _ => maker.is_none() || wishes::makes_signs(self.revision),
        };
        (site != HUB && !self.is_registered(site)) || self.forgot || !(recorded || made)
    }

    // Restores.

    pub fn remember(&mut self) {
        self.snapshots.push(self.network.shared(HUB).with(|server| server.snapshot()));
        if self.snapshots.len() > 12 {
            self.snapshots.remove(0);
        }
    }

    /// The hub is as it was at the oldest time that is remembered; running watches end.
    pub fn restore(&mut self) {
        if self.snapshots.is_empty() {
            return;
        }
        let snapshot = self.snapshots.remove(0);
        self.snapshots.clear();
        let shared = self.network.shared(HUB);
        shared.with(|server| server.restore(&snapshot, shared.now()));
        self.network.cut_lines(HUB);
        self.forgot = true;
        {
            let mut laws = self.network.laws.lock().unwrap();
            laws.amnesia = true;
            laws.disturbed(self.network.clock.millis(), None);
        }
        // Users sync their repository again.
        self.register_hub();
        self.define(self.revision);
        for name in self.spokes.keys().cloned().collect::<Vec<_>>() {
            if self.is_registered(&name) {
                self.register(&name);
                let patch = json!({"data": {"kubeconfig": self.kubeconfig(&name)}});
                self.user(HUB, "PATCH", &Self::secret_path(&name), &patch);
            } else {
                self.deregister(&name);
            }
        }
        self.wants();
    }

    /// All that users ask for ends.
    pub fn clear(&self) {
        for name in NAMES {
            self.delete(name);
        }
    }
}

const ADMIN: &str = "admin-token";

fn token(site: &str, number: u64) -> String {
    format!("{site}-{number}")
}
