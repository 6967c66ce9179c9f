//! Rehearsals over the model of an API server: what is tried, and that nothing of it is stored.

use super::{Deed, Rehearsed, Scene, What, play, rehearse};
use crate::api::Object;
use crate::api::names::{HubId, InstanceKey};
use crate::api::rgd::ResourceGraphDefinition;
use crate::graph::{self, Graph, Options};
use crate::reconcile::spoke::{Goal, Home, MirrorContent, Part, Task};
use crate::reconcile::world::{Definition, Rank, Stored};
use crate::reconcile::{Moment, Now};
use crate::schema::crd;
use crate::spoke::client::{Verbs, in_memory};
use crate::spoke::host::{AnyHost, ThisHost};
use crate::spoke::pool::Pool;
use crate::spoke::schemas::{Book, Reader};
use apiserver_model::server::{Answer, Server};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const TOKEN: &str = "token";

struct Cluster {
    server: Arc<Mutex<Server>>,
    verbs: Verbs,
    reader: Reader,
}

fn answered(server: &Mutex<Server>, request: Request<Bytes>) -> Response<Bytes> {
    let (mut head, body) = request.into_parts();
    head.headers.insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    let answer = server.lock().unwrap().handle(Timestamp::now(), &Request::from_parts(head, body));
    match answer {
        Answer::Reply(reply) => reply,
        Answer::Watch(_) => panic!("a rehearsal watches nothing"),
    }
}

impl Cluster {
    fn new() -> Self {
        let mut server = Server::new(apiserver_model::server::Options::default(), Timestamp::now());
        server.allow_token(TOKEN, "me");
        let server = Arc::new(Mutex::new(server));
        let over = server.clone();
        let verbs = in_memory(move |request| {
            let over = over.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                answered(&over, Request::from_parts(head, body)).map(|body| Full::new(body).boxed_unsync())
            }
        });
        let pool = Pool::start(1, &(Arc::new(ThisHost) as AnyHost)).unwrap();
        let cluster = Self { server, verbs, reader: Reader::new(Book::default(), pool) };
        cluster.ask("POST", "/api/v1/namespaces", &json!({"metadata": {"name": "shop"}}));
        cluster
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let reply = answered(&self.server, request.body(body).unwrap());
        serde_json::from_slice(reply.body()).unwrap_or_default()
    }

    async fn graph(&self, resources: &Value) -> Arc<Graph> {
        let rgd: ResourceGraphDefinition = serde_json::from_value(json!({
            "apiVersion": "kro.run/v1alpha1", "kind": "ResourceGraphDefinition",
            "metadata": {"name": "web", "uid": "rgd", "generation": 1},
            "spec": {"schema": {"apiVersion": "v1alpha1", "kind": "Web", "spec": {"note": "string | default=a"}},
                "resources": resources}}))
        .unwrap();
        let kinds = self.reader.kinds(&self.verbs, &graph::kinds_named_by(&rgd)).await.unwrap();
        Arc::new(graph::compile(&rgd, &Options::default(), &kinds).unwrap())
    }

    /// The generated CRD, as the controller brings it.
    async fn bring(&self, graph: &Graph) {
        let body = crd::for_spoke(&graph.crd, &hub_id());
        let resource = crate::spoke::crd::crd_resource();
        self.verbs.at(&resource, "", graph.crd_name()).apply("kro-hub", &body).await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        // The model says that a CRD is established when it is next asked for anything.
        self.data("none");
        self.reader.forget().await;
    }

    fn version(&self) -> u64 {
        self.server.lock().unwrap().version()
    }

    fn data(&self, name: &str) -> Value {
        self.ask("GET", &format!("/api/v1/namespaces/shop/configmaps/{name}"), &Value::Null)["data"].clone()
    }

    async fn rehearsed(&self, scene: Scene) -> Rehearsed {
        let before = self.version();
        let done = rehearse(&self.verbs, &self.reader, scene).await.unwrap();
        assert_eq!(self.version(), before, "something was stored");
        assert!(done.at_rest);
        done
    }
}

fn hub_id() -> HubId {
    HubId::new("h")
}

fn instance(spec: &Value) -> Object {
    Object(json!({"apiVersion": "kro.run/v1alpha1", "kind": "Web",
        "metadata": {"name": "one", "namespace": "shop", "uid": "hub-uid"}, "spec": spec}))
}

fn scene(graph: &Arc<Graph>, goal: impl FnOnce(Arc<Graph>) -> Goal) -> Scene {
    let task = Task {
        key: InstanceKey::of(&instance(&json!({})).object_ref()),
        gvk: graph.gvk.clone(),
        hub_uid: "hub-uid".into(),
        hub_id: hub_id(),
        home: Home::Mirror,
        goal: goal(graph.clone()),
    };
    Scene {
        hub_id: hub_id(),
        local: false,
        bounds: Arc::default(),
        facts: Arc::new(json!({"name": "eu"})),
        definitions: vec![Definition { graph: graph.clone(), allow_breaking: false }],
        tasks: vec![Arc::new(task)],
        now: Now { at: Moment::default(), rfc3339: "2026-01-01T00:00:00Z".into() },
    }
}

fn run(spec: Value) -> impl FnOnce(Arc<Graph>) -> Goal {
    move |graph| Goal::Run {
        graph,
        part: Part::Whole,
        mirror: Arc::new(MirrorContent::of(&instance(&spec))),
        suspended: false,
        allow_breaking: false,
        cluster: Arc::new(json!({"name": "eu"})),
        mark: None,
        admitted: None,
        facts: None,
        keeps: false,
        rank: Rank::default(),
    }
}

fn config(id: &str, name: &str, data: &Value) -> Value {
    json!({"id": id, "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}})
}

/// A word for each write that was tried of a child.
fn words(done: &Rehearsed) -> Vec<String> {
    let word = |deed: &Deed| {
        let what = match &deed.what {
            What::Applied { untried: Some(_), .. } => "untried",
            What::Applied { .. } if deed.before.is_some() => "update",
            What::Applied { .. } => "create",
            What::Refused(_) => "refused",
            What::Deleted => "delete",
            What::DeleteRefused(_) => "stays",
            What::Released => "release",
        };
        format!("{what} {}", deed.object.name)
    };
    done.deeds.iter().filter(|deed| *deed.object.gk.kind == *"ConfigMap").map(word).collect()
}

#[tokio::test]
async fn what_is_tried_is_what_would_be_done_and_nothing_is_stored() {
    let cluster = Cluster::new();
    let first = json!([
        config("a", "one-a", &json!({"note": "${schema.spec.note}"})),
        config("old", "one-old", &json!({}))
    ]);
    let graph = cluster.graph(&first).await;
    cluster.bring(&graph).await;

    let done = cluster.rehearsed(scene(&graph, run(json!({"note": "x"})))).await;
    assert_eq!(words(&done), ["create one-a", "create one-old"]);
    assert_eq!(cluster.data("one-a"), Value::Null);
    // The same with verbs that store: what was told is what happens. What came first is there the second time.
    for _ in 0..2 {
        play(&cluster.verbs, &cluster.reader, scene(&graph, run(json!({"note": "x"})))).await.unwrap();
    }
    assert_eq!(cluster.data("one-a"), json!({"note": "x"}));
    let done = cluster.rehearsed(scene(&graph, run(json!({"note": "x"})))).await;
    assert_eq!(words(&done), Vec::<String>::new(), "what is so is not tried");

    let next = json!([
        config("a", "one-a", &json!({"note": "${schema.spec.note}!"})),
        config("b", "one-b", &json!({"of": "${a.data.note}"}))
    ]);
    let graph = cluster.graph(&next).await;
    let done = cluster.rehearsed(scene(&graph, run(json!({"note": "x"})))).await;
    assert_eq!(words(&done), ["update one-a", "create one-b", "delete one-old"]);
    // What comes later reads what was only tried.
    let made = done.deeds.iter().find(|deed| *deed.object.name == *"one-b").unwrap();
    let What::Applied { body, .. } = &made.what else { panic!("{made:?}") };
    assert_eq!(body["data"], json!({"of": "x!"}));
    let removal = |graph: Arc<Graph>| Goal::Remove { group_kinds: graph.group_kinds() };
    let done = cluster.rehearsed(scene(&graph, removal)).await;
    assert_eq!(words(&done), ["delete one-a", "delete one-old"]);
}

#[tokio::test]
async fn what_is_refused_is_told_in_the_words_of_the_server() {
    let cluster = Cluster::new();
    // Somebody else's object is not taken.
    let taken = json!({"metadata": {"name": "taken"}, "data": {"c": "d"}});
    cluster.ask("POST", "/api/v1/namespaces/shop/configmaps", &taken);
    let graph = cluster.graph(&json!([config("a", "taken", &json!({"a": "b"}))])).await;
    cluster.bring(&graph).await;
    let done = cluster.rehearsed(scene(&graph, run(json!({})))).await;
    assert_eq!(words(&done), ["refused taken"]);
    let What::Refused(why) = &done.deeds.last().unwrap().what else { panic!() };
    assert!(why.contains("exists and belongs to"), "{why}");
}

#[tokio::test]
async fn what_would_come_first_is_said_and_the_rest_is_judged_without_a_server() {
    let cluster = Cluster::new();
    let graph = cluster.graph(&json!([config("a", "one-a", &json!({"note": "${schema.spec.note}"}))])).await;
    // Neither the CRD nor the namespace is there.
    cluster.ask("DELETE", "/api/v1/namespaces/shop", &Value::Null);
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.ask("GET", "/api/v1/namespaces/shop", &Value::Null);
    let done = cluster.rehearsed(scene(&graph, run(json!({"note": "x"})))).await;
    let deed = done.deeds.iter().find(|deed| *deed.object.name == *"one").unwrap();
    let What::Applied { untried: Some(why), .. } = &deed.what else { panic!("{deed:?}") };
    assert!(why.contains("CustomResourceDefinition webs.kro.run would come first"), "{why}");
    let deed = done.deeds.iter().find(|deed| *deed.object.name == *"one-a").unwrap();
    let What::Applied { untried: Some(why), .. } = &deed.what else { panic!("{deed:?}") };
    assert_eq!(why, "namespace shop would come first");
}

#[tokio::test]
async fn what_lives_on_the_hub_is_tried_there_and_read_elsewhere() {
    let (hub, eu) = (Cluster::new(), Cluster::new());
    let mut store = config("store", "one-store", &json!({"note": "${schema.spec.note}"}));
    store["template"]["metadata"]["annotations"] = json!({"hub.kro.run/target": "hub"});
    let graph =
        hub.graph(&json!([store, config("app", "one-app", &json!({"of": "${store.data.note}"}))])).await;
    for cluster in [&hub, &eu] {
        cluster.bring(&graph).await;
    }
    let of = |part: Part, home: Home, local: bool| {
        let goal = |graph| match run(json!({"note": "x"}))(graph) {
            Goal::Run { graph, mirror, cluster, .. } => Goal::Run {
                graph,
                part,
                mirror,
                suspended: false,
                allow_breaking: false,
                cluster,
                mark: None,
                admitted: None,
                facts: None,
                keeps: false,
                rank: Rank::default(),
            },
            other => other,
        };
        let mut scene = scene(&graph, goal);
        Arc::make_mut(&mut scene.tasks[0]).home = home;
        Scene { local, ..scene }
    };
    let instance = Stored::new(instance(&json!({"note": "x"})).0);
    let done = hub.rehearsed(of(Part::Hub, Home::Local { instance: Arc::new(instance) }, true)).await;
    assert_eq!(words(&done), ["create one-store"]);
    let shown = done.reports.values().next().unwrap().hub_values.clone();
    let done = eu.rehearsed(of(Part::Rest(shown), Home::Mirror, false)).await;
    assert_eq!(words(&done), ["create one-app"]);
    let made = done.deeds.iter().find(|deed| *deed.object.name == *"one-app").unwrap();
    let What::Applied { body, .. } = &made.what else { panic!("{made:?}") };
    assert_eq!(body["data"], json!({"of": "x"}));
    // Of which nothing is known, nothing is tried.
    let done = eu.rehearsed(of(Part::Rest(Arc::default()), Home::Mirror, false)).await;
    assert_eq!(words(&done), Vec::<String>::new());
}
