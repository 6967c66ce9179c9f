use super::*;

const LOOK: Look = Look { colour: false, utf8: true, width: None };

fn shown(all: bool) -> Shown {
    Shown { all, now: "2026-01-10T00:00:00Z".parse().unwrap(), program: "kro-hub" }
}

fn line(name: &str, state: &str, resources: &str, revision: i64, message: &str) -> ClusterLine {
    ClusterLine {
        name: name.into(),
        mark: Mark::of_line(state),
        state: state.into(),
        revision: Some(revision),
        resources: resources.into(),
        message: message.into(),
        since: if state == "ACTIVE" { "2026-01-08T00:00:00Z" } else { "2026-01-09T23:57:00Z" }.into(),
        version: None,
        stage: String::new(),
        rollout: String::new(),
        held: String::new(),
        said: String::new(),
    }
}

fn node(id: &str, mark: Mark, state: &str, object: &str, message: &str, reads: &[&str]) -> NodeLine {
    NodeLine {
        id: id.into(),
        mark,
        state: state.into(),
        object: object.into(),
        api_version: "v1".into(),
        namespace: "shop".into(),
        there: 1,
        desired: 1,
        message: message.into(),
        since: if state == "ready" { "2026-01-08T00:00:00Z".into() } else { String::new() },
        reads: reads.iter().map(|r| (*r).to_owned()).collect(),
        excluded: false,
        external: false,
        pods: Vec::new(),
        nodes: Vec::new(),
    }
}

fn trace() -> Trace {
    let quota = "Forbidden: exceeded quota: cpu, requested 2, used 7, limited 8";
    let cluster =
        |line: ClusterLine, source, nodes| TracedCluster { line, source, unread: String::new(), nodes };
    let well = vec![node("database", Mark::Ready, "ready", "Database/shop-db", "", &[])];
    let bad = vec![
        node("database", Mark::Ready, "ready", "Database/shop-db", "", &[]),
        node("bucket", Mark::Ready, "ready", "Bucket/shop-assets", "", &[]),
        node("deployment", Mark::Failed, "missing", "Deployment/shop", quota, &["database", "bucket"]),
        node("service", Mark::Absent, "waits", "Service", "", &["deployment"]),
    ];
    Trace {
        spec: Subject {
            api_version: "kro.run/v1".into(),
            kind: "WebApp".into(),
            namespace: "shop".into(),
            name: "shop".into(),
            generation: 3,
            revision: 7,
        },
        state: "ERROR".into(),
        reason: "NotReady".into(),
        message: String::new(),
        since: "2026-01-09T23:57:00Z".into(),
        ready: 1,
        placed: 3,
        clusters: vec![
            cluster(line("eu-1", "ACTIVE", "4/4", 7, ""), Source::Spokes, well),
            cluster(line("eu-2", "ERROR", "2/4", 7, &format!("deployment: {quota}")), Source::Spokes, bad),
            cluster(line("us-1", "Unreachable", "4/4", 6, "connecting fails"), Source::Hub, Vec::new()),
        ],
    }
}

fn check(look: Look, all: bool, expect: &str) {
    assert_eq!(trace().text(&look, shown(all)), expect);
}

#[test]
fn clusters_that_are_well_are_one_line_and_what_fails_is_told_in_full() {
    check(
        LOOK,
        false,
        "\
WebApp shop/shop   ERROR 3m   1/3 clusters   revision 6 to 7
├─ ✓ eu-1  ACTIVE       4/4  r7  48h
├─ ✗ eu-2  ERROR        2/4  r7  3m
│  ├─ ✓ database    Database/shop-db    ready    2d
│  ├─ ✓ bucket      Bucket/shop-assets  ready    2d
│  ├─ ✗ deployment  Deployment/shop     missing       <- database, bucket
│  │     Forbidden: exceeded quota: cpu, requested 2, used 7, limited 8
│  └─ - service     Service             waits         <- deployment
└─ ? us-1  Unreachable  4/4  r6  3m   connecting fails; changes since then are not there
read from: eu-1, eu-2 by your contexts; us-1 by the hub.   next: kro-hub explain Unreachable
"
        .replace("48h", "2d")
        .as_str(),
    );
}

#[test]
fn all_opens_what_is_well_and_signs_need_no_utf8() {
    let look = Look { utf8: false, width: Some(60), ..LOOK };
    check(
        look,
        true,
        "\
WebApp shop/shop   ERROR 3m   1/3 clusters   revision 6 to 7
|- + eu-1  ACTIVE       4/4  r7  2d
|  `- + database  Database/shop-db  ready  2d
|- x eu-2  ERROR        2/4  r7  3m
|  |- + database    Database/shop-db    ready    2d
|  |- + bucket      Bucket/shop-assets  ready    2d
|  |- x deployment  Deployment/shop     missing       <- database, bucket
|  |     Forbidden: exceeded quota: cpu, requested 2, used
|  |     7, limited 8
|  `- - service     Service             waits         <- deployment
`- ? us-1  Unreachable  4/4  r6  3m   connecting fails; changes since then are not there
read from: eu-1, eu-2 by your contexts; us-1 by the hub.   next: kro-hub explain Unreachable
",
    );
}

#[test]
fn who_waits_in_a_rollout_says_for_what() {
    let mut held = trace();
    held.clusters.truncate(1);
    held.clusters[0].line.held = "stage prod needs approval".into();
    let text = held.text(&LOOK, shown(false));
    assert!(text.contains("└─ ✓ eu-1  ACTIVE  4/4  r7  2d   held: stage prod needs approval\n"), "{text}");
}

#[test]
fn documents_fit_their_schema() {
    use crate::view::schemas::wrong;
    assert_eq!(wrong(&trace()), [""; 0]);
    let mut inner = trace();
    inner.clusters[0].nodes[0].nodes = vec![node("inner", Mark::Silent, "unknown", "Pod/x", "why", &[])];
    inner.clusters[0].unread = "no".into();
    assert_eq!(wrong(&Traces { items: vec![inner, trace()] }), [""; 0]);
}
