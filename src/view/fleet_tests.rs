use super::*;
use serde_json::{Value, json};

fn now() -> Timestamp {
    "2026-01-10T00:00:00Z".parse().unwrap()
}

fn kind() -> Generated {
    let object =
        json!({"metadata": {"name": "webapp"}, "spec": {"schema": {"kind": "WebApp", "apiVersion": "v1"}}});
    Generated::of(&Object(object)).unwrap()
}

fn cluster(name: &str, region: &str) -> Object {
    Object(json!({"metadata": {"name": name, "labels": {"region": region, "name": name}}}))
}

fn line(name: &str, state: &str, revision: &str, message: &str) -> Value {
    json!({"name": name, "state": state, "revision": revision, "message": message, "resources": "2/4",
        "since": "2026-01-09T23:57:00Z"})
}

fn instance(namespace: &str, name: &str, state: &str, reason: &str, lines: &[Value]) -> Object {
    Object(json!({"apiVersion": "kro.run/v1", "kind": "WebApp",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-06T00:00:00Z"},
        "status": {"state": state, "fleet": {"clusters": lines},
            "conditions": [{"type": "Ready", "status": "False", "reason": reason, "message": "no cluster is chosen"}]}}))
}

fn fleet() -> Vec<Object> {
    let quota =
        "resource error: node deployment: Forbidden: exceeded quota: cpu, requested 2, used 7, limited 8";
    vec![
        instance(
            "shop",
            "shop",
            "ERROR",
            "NotReady",
            &[
                line("eu-1", "ACTIVE", "h7", ""),
                line("eu-2", "ERROR", "h7", quota),
                line("us-1", "Unreachable", "h7", "connecting fails"),
            ],
        ),
        instance(
            "team-a",
            "blog",
            "ACTIVE",
            "Ready",
            &[line("eu-1", "ACTIVE", "h7", ""), line("us-1", "ACTIVE", "h6", "")],
        ),
    ]
}

fn table(objects: &[Object], wanted: &Wanted) -> FleetTable {
    let clusters = [cluster("eu-1", "eu"), cluster("eu-2", "eu"), cluster("us-1", "us")];
    let revisions = [("h6".to_owned(), 6), ("h7".to_owned(), 7)].into();
    let around = Around::new(revisions, &[], &clusters);
    let kind = kind();
    let instances: Vec<(&Generated, &Object)> = objects.iter().map(|o| (&kind, o)).collect();
    FleetTable::new(&instances, &clusters, &around, wanted)
}

fn check(width: Option<usize>, layout: &Layout, wanted: &Wanted, expect: &str) {
    let look = Look { colour: false, utf8: true, width };
    assert_eq!(table(&fleet(), wanted).text(&look, layout, now()), expect);
}

fn all() -> Layout {
    Layout { namespaces: true, ..Layout::default() }
}

const WHOLE: &str = "\
NAMESPACE  INSTANCE     READY  REV  EU-1  EU-2  US-1  AGE
shop       webapp/shop  1/3    7    ✓     ✗     ?     4d
team-a     webapp/blog  2/2    6,7  ✓     ·     ✓6    4d
✗ shop/shop on eu-2, 3m: deployment: Forbidden: exceeded quota: cpu, requested 2, used 7, limited 8
2 instances on 3 clusters: 3 ready, 1 failed, 1 without contact
";

#[test]
fn each_cluster_has_a_column_where_there_is_room() {
    check(None, &all(), &Wanted::default(), WHOLE);
    check(Some(200), &all(), &Wanted::default(), WHOLE);
}

#[test]
fn columns_that_do_not_fit_become_groups_by_the_label_that_makes_the_fewest() {
    check(
        Some(40),
        &all(),
        &Wanted::default(),
        "\
INSTANCE     READY  REV  EU (2)  US (1)
webapp/shop  1/3    7    1/2     0/1
webapp/blog  2/2    6,7  1/1     1/1
✗ shop/shop on eu-2, 3m: deployment:
  Forbidden: exceeded quota: cpu,
  requested 2, used 7, limited 8
2 instances on 3 clusters: 3 ready, 1 failed, 1 without contact
",
    );
    let layout = Layout { group_by: Some("region".into()), ..Layout::default() };
    check(
        None,
        &layout,
        &Wanted { problems: true, ..Wanted::default() },
        "\
INSTANCE     READY  REV  EU (2)  US (1)  AGE
webapp/shop  1/3    7    1/2     0/1     4d
✗ shop/shop on eu-2, 3m: deployment: Forbidden: exceeded quota: cpu, requested 2, used 7, limited 8
1 instance on 3 clusters: 1 ready, 1 failed, 1 without contact
",
    );
}

#[test]
fn states_and_clusters_choose_what_is_shown() {
    let named = |wanted: &Wanted| {
        let table = table(&fleet(), wanted);
        let names: Vec<String> = table.instances.iter().map(Row::title).collect();
        (names.join(" "), table.clusters.len())
    };
    let state = |mark| Wanted { state: Some(mark), ..Wanted::default() };
    assert_eq!(named(&state(Mark::Failed)), ("webapp/shop".into(), 3));
    assert_eq!(named(&state(Mark::Ready)), ("webapp/shop webapp/blog".into(), 3));
    assert_eq!(named(&state(Mark::Moving)), (String::new(), 3));
    let only = Wanted { clusters: Some(["us-1".to_owned()].into()), problems: true, ..Wanted::default() };
    assert_eq!(named(&only), ("webapp/shop".into(), 1));
}

#[test]
fn what_is_wrong_with_no_cluster_is_told_too() {
    let objects = [instance("a", "b", "IN_PROGRESS", "NotPlaced", &[])];
    let look = Look { colour: false, utf8: false, width: None };
    assert_eq!(
        table(&objects, &Wanted::default()).text(&look, &Layout::default(), now()),
        "\
INSTANCE  READY  REV  EU-1  EU-2  US-1  AGE
webapp/b  0/0         .     .     .     4d
~ a/b: NotPlaced: no cluster is chosen
1 instance on 3 clusters: nothing placed
"
    );
}

#[test]
fn reports_tell_of_the_clusters_that_the_status_has_no_room_for() {
    let report = Object(json!({"metadata": {"namespace": "team-a", "name": "blog-x-0"},
        "report": {"instance": {"group": "kro.run", "kind": "WebApp", "name": "blog"},
            "entries": [{"clusters": ["ap-1", "ap-2"], "state": "ACTIVE", "revision": "h7"}]}}));
    let reports = [report];
    let around = Around::new([("h7".to_owned(), 7)].into(), &reports, &[]);
    let objects = fleet();
    let names: Vec<String> =
        around.lines(&objects[1]).iter().map(|l| format!("{} {:?}", l.name, l.revision)).collect();
    assert_eq!(names, ["ap-1 Some(7)", "ap-2 Some(7)", "eu-1 Some(7)", "us-1 None"]);
    assert_eq!(around.lines(&objects[0]).len(), 3, "a report is about one instance alone");
}

#[test]
fn an_instance_of_the_hub_alone_stands_on_the_local_cluster() {
    let clusters = [Object(json!({"metadata": {"name": "here"}, "spec": {"local": true}}))];
    let around = Around::new(BTreeMap::new(), &[], &clusters);
    let object = Object(json!({"metadata": {"name": "a"}, "status": {"state": "ACTIVE"}}));
    let lines = around.lines(&object);
    assert!(matches!(lines.as_slice(), [one] if one.name == "here" && one.mark == Mark::Ready), "{lines:?}");
    assert!(around.lines(&Object(json!({"metadata": {"name": "a"}}))).is_empty(), "nobody looked at it yet");
}

#[test]
fn documents_fit_their_schema() {
    assert_eq!(crate::view::schemas::wrong(&table(&fleet(), &Wanted::default())), [""; 0]);
}
