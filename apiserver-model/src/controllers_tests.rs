//! What a controller manager does, which the suite cannot show: its server stands alone.

use crate::kinds::Resource;
use crate::server::{Answer, Options, Server};
use crate::watch::Watch;
use http::Request;
use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

struct World {
    server: Server,
    now: Timestamp,
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

impl World {
    fn new() -> Self {
        let now = "2030-01-01T00:00:00Z".parse().unwrap();
        Self { server: Server::new(Options { history: 50, ..Options::default() }, now), now }
    }

    fn answer(&mut self, method: &str, path: &str, body: &Value) -> Answer {
        self.now += SignedDuration::from_millis(1);
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.server.handle(self.now, &request.body(Bytes::from(text)).unwrap())
    }

    fn ask(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let Answer::Reply(reply) = self.answer(method, path, body) else { panic!("a watch") };
        (reply.status().as_u16(), serde_json::from_slice(reply.body()).unwrap_or_default())
    }

    fn watch(&mut self, path: &str) -> Watch {
        let Answer::Watch(watch) = self.answer("GET", path, &Value::Null) else { panic!("no watch") };
        *watch
    }

    fn make(&mut self, name: &str, owner: Option<(&str, &str)>) -> String {
        let owners: Vec<Value> = owner
            .into_iter()
            .map(|(name, uid)| {
                json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": true})
            })
            .collect();
        let body = json!({"metadata": {"name": name, "ownerReferences": owners}});
        let (code, made) = self.ask("POST", MAPS, &body);
        assert_eq!(code, 201, "{made}");
        made["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    fn has(&self, name: &str) -> bool {
        self.server.get(&Resource::new("", "configmaps"), "default", name).is_some()
    }

    /// Does what is due, one after the other, until nothing is.
    fn settle(&mut self) {
        for _ in 0..100 {
            let Some(due) = self.server.next_due() else { return };
            self.now = self.now.max(due);
            self.server.advance(self.now);
        }
    }
}

#[test]
fn what_belongs_to_an_owner_goes_after_it_before_it_or_stays() {
    for (policy, owner_held, dependent_stays) in
        [("Background", false, false), ("Foreground", true, false), ("Orphan", true, true)]
    {
        let mut world = World::new();
        let uid = world.make("owner", None);
        world.make("dependent", Some(("owner", &uid)));
        let path = format!("{MAPS}/owner");
        world.ask("DELETE", &path, &json!({"propagationPolicy": policy}));
        assert_eq!(world.has("owner"), owner_held, "{policy}");
        assert!(world.has("dependent"), "{policy}: nothing goes at once");
        world.settle();
        assert!(!world.has("owner"), "{policy}");
        assert_eq!(world.has("dependent"), dependent_stays, "{policy}");
    }
}

#[test]
fn what_belongs_to_a_job_stays_unless_who_deletes_it_says_otherwise() {
    let jobs = json!({"spec": {"group": "batch", "scope": "Namespaced",
        "names": {"plural": "jobs", "singular": "job", "kind": "Job", "listKind": "JobList"},
        "versions": [{"name": "v1", "served": true, "storage": true}]}});
    const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
    // One by its name, and all at once.
    for path in [format!("{JOBS}/job"), JOBS.to_owned()] {
        for (policy, stays) in [(Value::Null, true), (json!("Background"), false)] {
            let mut world = World::new();
            world.server.serve(&jobs);
            let (_, job) = world.ask(
                "POST",
                JOBS,
                &json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}}),
            );
            world.make("pod", Some(("job", job["metadata"]["uid"].as_str().unwrap())));
            world.ask("DELETE", &path, &json!({"propagationPolicy": policy}));
            world.settle();
            assert_eq!(world.ask("GET", &format!("{JOBS}/job"), &Value::Null).0, 404, "{policy}");
            assert_eq!(world.has("pod"), stays, "{path} {policy}");
        }
    }
}

#[test]
fn one_of_two_owners_is_enough_to_stay() {
    let mut world = World::new();
    let (a, b) = (world.make("a", None), world.make("b", None));
    let owner =
        |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid});
    let owners = json!([owner("a", &a), owner("b", &b)]);
    world.ask("POST", MAPS, &json!({"metadata": {"name": "both", "ownerReferences": owners}}));
    world.ask("DELETE", &format!("{MAPS}/a"), &Value::Null);
    world.settle();
    assert!(world.has("both"));
    world.ask("DELETE", &format!("{MAPS}/b"), &Value::Null);
    world.settle();
    assert!(!world.has("both"));
}

#[test]
fn a_namespace_goes_when_the_last_finalizer_in_it_does() {
    let mut world = World::new();
    world.ask("POST", "/api/v1/namespaces", &json!({"metadata": {"name": "n"}}));
    let maps = "/api/v1/namespaces/n/configmaps";
    world.ask("POST", maps, &json!({"metadata": {"name": "held", "finalizers": ["a.example/f"]}}));
    world.ask("POST", maps, &json!({"metadata": {"name": "free"}}));
    world.ask("DELETE", "/api/v1/namespaces/n", &Value::Null);
    world.now += SignedDuration::from_secs(5);
    assert_eq!(world.ask("GET", &format!("{maps}/free"), &Value::Null).0, 404);
    let (code, mut held) = world.ask("GET", &format!("{maps}/held"), &Value::Null);
    assert_eq!(code, 200);
    held["metadata"]["finalizers"] = json!([]);
    world.ask("PUT", &format!("{maps}/held"), &held);
    world.settle();
    assert_eq!(world.ask("GET", "/api/v1/namespaces/n", &Value::Null).0, 404);
}

#[test]
fn who_begins_before_what_is_known_hears_410() {
    let mut world = World::new();
    let version = world.server.version();
    for number in 0..4 {
        world.make(&format!("m{number}"), None);
    }
    let (_, page) = world.ask("GET", &format!("{MAPS}?limit=2"), &Value::Null);
    let next = page["metadata"]["continue"].as_str().unwrap().to_owned();
    let mut open = world.watch(&format!("{MAPS}?watch=true&resourceVersion={version}"));
    for number in 0..60 {
        world.make(&format!("n{number}"), None);
    }
    let (code, gone) = world.ask("GET", &format!("{MAPS}?limit=2&continue={next}"), &Value::Null);
    assert_eq!((code, &gone["reason"]), (410, &json!("Expired")));
    let again = gone["metadata"]["continue"].as_str().unwrap();
    let (code, rest) = world.ask("GET", &format!("{MAPS}?limit=2&continue={again}"), &Value::Null);
    assert_eq!((code, &rest["items"][0]["metadata"]["name"]), (200, &json!("m2")));
    let mut late = world.watch(&format!("{MAPS}?watch=true&resourceVersion={version}"));
    for watch in [&mut open, &mut late] {
        let lines = world.server.read(watch, world.now);
        let event: Value = serde_json::from_slice(&lines[0]).unwrap();
        assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
        assert!(watch.ended() && lines.len() == 1);
    }
}

#[test]
fn a_restored_server_is_as_it_was_and_ends_its_watches() {
    let mut world = World::new();
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.x.example"}, "spec": {"group": "x.example", "scope": "Cluster",
        "names": {"plural": "things", "kind": "Thing"}, "versions": [{"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(world.ask("POST", crds, &crd).0, 201);
    assert_eq!(world.ask("GET", "/apis/x.example/v1/things", &Value::Null).0, 404, "not established yet");
    world.settle();
    let (version, backup) = (world.server.version(), world.server.snapshot());
    let mut watch = world.watch(&format!("/apis/x.example/v1/things?watch=true&resourceVersion={version}"));
    let thing = json!({"apiVersion": "x.example/v1", "kind": "Thing", "metadata": {"name": "a"}});
    assert_eq!(world.ask("POST", "/apis/x.example/v1/things", &thing).0, 201);
    world.server.restore(&backup, world.now);
    assert_eq!(world.server.version(), version);
    assert!(world.server.read(&mut watch, world.now).is_empty() && watch.ended());
    assert_eq!(world.ask("GET", "/apis/x.example/v1/things/a", &Value::Null).0, 404);
    assert_eq!(world.ask("POST", "/apis/x.example/v1/things", &thing).0, 201);
}
