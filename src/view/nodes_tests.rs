use super::*;
use crate::graph::{Options, compile};
use crate::schema::kinds::Anywhere;
use serde_json::json;

/// A database, an app that reads it and an optional service; a config that is read.
fn graph() -> Graph {
    let config = |name: &str, data: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": data}});
    let rgd = json!({"metadata": {"name": "webapp"}, "spec": {
    "schema": {"kind": "WebApp", "apiVersion": "v1", "spec": {"service": "boolean"}},
    "resources": [
        {"id": "settings", "externalRef": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}},
        {"id": "database", "template": config("${schema.metadata.name}-db", "x"),
            "readyWhen": ["${database.data.a == 'ready'}"]},
        {"id": "app", "template": config("${schema.metadata.name}", "${database.data.a}${settings.data.a}")},
        {"id": "service", "includeWhen": ["${schema.spec.service}"], "template": config("svc", "${app.metadata.name}")},
    ]}});
    let rgd = serde_json::from_value(rgd).unwrap();
    compile(&rgd, &Options::default(), &Anywhere).unwrap()
}

fn object(node: &str, name: &str, data: &str) -> Object {
    Object(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": data}, "metadata": {"name": name,
        "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {kro::NODE_ID: node}}}))
}

/// Each node in a line: `id state object (message) <- reads`.
fn check(service: bool, members: &[Object], settings: Option<&str>, message: &str, expect: &[&str]) {
    let graph = graph();
    let parent = Object(json!({"apiVersion": "kro.run/v1", "kind": "WebApp",
        "metadata": {"name": "shop", "namespace": "shop", "uid": "u"}, "spec": {"service": service}}));
    let (none, mut looked) = (BTreeMap::new(), BTreeMap::new());
    let unread = BTreeMap::new();
    let seen = |looked| Seen {
        parent: &parent,
        cluster: &Value::Null,
        members,
        on_hub: None,
        unread: &unread,
        looked,
        message,
    };
    let wants = walk(&graph, &seen(&none)).wants;
    assert_eq!(wants.len(), 1, "what is read outside is asked for");
    for lookup in wants {
        let found = settings.map(|data| object("", "settings", data)).into_iter().collect();
        looked.insert(lookup, Ok(found));
    }
    let walked = walk(&graph, &seen(&looked));
    assert!(walked.wants.is_empty());
    let line = |n: &NodeLine| {
        let message = if n.message.is_empty() { String::new() } else { format!(" ({})", n.message) };
        let reads = if n.reads.is_empty() { String::new() } else { format!(" <- {}", n.reads.join(",")) };
        format!("{:?} {} {} {}{message}{reads}", n.mark, n.id, n.state, n.object)
    };
    let got: Vec<String> = walked.nodes.iter().map(line).collect();
    assert_eq!(got, expect);
}

#[test]
fn nodes_are_ready_wait_and_are_left_out_as_the_graph_says() {
    let ready = [object("database", "shop-db", "ready"), object("app", "shop", "x")];
    check(
        false,
        &ready,
        Some("y"),
        "",
        &[
            "Ready settings ready ConfigMap/settings",
            "Ready database ready ConfigMap/shop-db",
            "Ready app ready ConfigMap/shop <- settings,database",
            "Unplaced service excluded ConfigMap <- app",
        ],
    );
    check(
        true,
        &[object("database", "shop-db", "new")],
        Some("y"),
        "",
        &[
            "Ready settings ready ConfigMap/settings",
            "Moving database NotReady ConfigMap/shop-db (readyWhen of database is not met: ${database.data.a == 'ready'})",
            "Absent app waits ConfigMap (unresolved dependency database: readyWhen of database is not met: \
             ${database.data.a == 'ready'}) <- settings,database",
            "Absent service waits ConfigMap (unresolved dependency app: app is waiting for what it depends on) <- app",
        ],
    );
}

#[test]
fn what_the_api_server_refused_stands_at_its_node() {
    check(
        true,
        &[object("database", "shop-db", "ready")],
        Some("y"),
        "resource error: node app: Forbidden: exceeded quota",
        &[
            "Ready settings ready ConfigMap/settings",
            "Ready database ready ConfigMap/shop-db",
            "Failed app missing ConfigMap/shop (Forbidden: exceeded quota) <- settings,database",
            "Absent service waits ConfigMap (unresolved dependency app: app does not exist yet) <- app",
        ],
    );
}

#[test]
fn what_is_read_and_missing_is_said_and_what_a_deletion_takes_is_no_error() {
    let mut going = object("database", "shop-db", "ready");
    going.0["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    going.0["metadata"]["finalizers"] = json!(["cloud/x"]);
    let got = {
        let graph = graph();
        let parent =
            Object(json!({"metadata": {"name": "shop", "namespace": "shop"}, "spec": {"service": false}}));
        let (looked, unread) =
            (BTreeMap::new(), BTreeMap::from([("ConfigMap".to_owned(), "you may not".to_owned())]));
        let members = [going];
        let none = BTreeMap::new();
        let mut seen = Seen {
            parent: &parent,
            cluster: &Value::Null,
            members: &members,
            on_hub: None,
            unread: &none,
            looked: &looked,
            message: "",
        };
        let first = walk(&graph, &seen).nodes[1].clone();
        seen.unread = &unread;
        let second = walk(&graph, &seen).nodes[1].clone();
        [first, second].map(|n| format!("{:?} {} {}", n.mark, n.state, n.message))
    };
    assert_eq!(got, ["Absent deleting waits for finalizers cloud/x", "Silent unknown you may not"]);
}

#[test]
fn the_worst_pods_come_first() {
    let pod = |name: &str, status: Value| Object(json!({"metadata": {"name": name}, "status": status}));
    let waiting = |reason: &str, restarts: i64| {
        json!({"phase": "Running",
        "containerStatuses": [{"state": {"waiting": {"reason": reason}}, "restartCount": restarts}]})
    };
    let pods = [
        pod("well", json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})),
        pod("new", waiting("ContainerCreating", 0)),
        pod("few", waiting("CrashLoopBackOff", 2)),
        pod("many", waiting("CrashLoopBackOff", 9)),
        pod(
            "nowhere",
            json!({"phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]}),
        ),
    ];
    let got: Vec<String> = worst_pods(&pods)
        .iter()
        .map(|p| format!("{:?} {} {} {}", p.mark, p.name, p.state, p.restarts))
        .collect();
    assert_eq!(
        got,
        ["Failed many CrashLoopBackOff 9", "Failed few CrashLoopBackOff 2", "Failed nowhere 0/3 nodes 0"]
    );
}
