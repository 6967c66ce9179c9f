//! From the files of two revisions to what is said.

use super::*;
use clap::Parser;
use serde_json::Value;
use std::time::Instant;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

const WEB: &str = "
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: web}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Web
    spec: {image: string, replicas: integer | default=2, password: string | default=hunter2}
  resources:
  - id: secret
    template: {apiVersion: v1, kind: Secret, metadata: {name: '${schema.metadata.name}'}, stringData: {password: '${schema.spec.password}'}}
  - id: service
    template: {apiVersion: v1, kind: Service, metadata: {name: '${schema.metadata.name}'}, spec: {selector: {app: web}, ports: [{port: 80}]}}
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: 'web-${cluster.name}'}
      data: {region: '${cluster.labels.region}', at: '${service.spec.clusterIP}', image: '${schema.spec.image}'}
  - id: deployment
    template:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: '${schema.metadata.name}'}
      spec:
        replicas: ${schema.spec.replicas}
        selector: {matchLabels: {app: web}}
        template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: '${schema.spec.image}'}]}}
";
const SHOP: &str = "
apiVersion: kro.run/v1alpha1
kind: Web
metadata: {name: shop, namespace: team, annotations: {hub.kro.run/clusters: '*'}}
spec: {image: 'app:1'}
";
const PIN: &str = "
apiVersion: hub.kro.run/v1alpha1
kind: Placement
metadata: {name: pin, namespace: team}
spec:
  instances: {kind: Web}
  overrides:
  - clusters: {labelSelector: {matchLabels: {region: us}}}
    spec: {image: 'app:pinned'}
";

fn cluster(name: &str, region: &str) -> String {
    format!(
        "---\napiVersion: hub.kro.run/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}, labels: {{region: {region}}}}}\nspec: {{credentials: {{secretRef: {{name: {name}, namespace: kro-hub}}}}}}\n"
    )
}

fn clusters() -> String {
    ["eu-1", "eu-2", "eu-10"].map(|name| cluster(name, "eu")).concat() + &cluster("us-1", "us")
}

fn compared(before: &[&str], after: &[&str], flags: &str) -> Result<Diff, String> {
    let words = ["diff", "a", "b", "."].into_iter().chain(flags.split_whitespace());
    let args = Line::try_parse_from(words).unwrap().args;
    let judged = |texts: &[&str]| {
        let texts = texts.iter().enumerate().map(|(at, text)| (format!("{at}.yaml"), (*text).to_owned()));
        let judged = args.judging.judge_texts(texts.collect()).unwrap();
        assert!(!judged.has_errors(), "{:?}", validate::shown(&judged, validate::Format::Text, true));
        judged
    };
    let (before, after) = (judged(before), judged(after));
    let spec = Compared { from: "main (1234567)".into(), to: "the work tree".into() };
    view(&args, (&before, &after), spec).map_err(|error| format!("{error:#}"))
}

fn refs(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

const LOOK: crate::view::Look = crate::view::Look { colour: false, utf8: true, width: None };

#[track_caller]
fn check(before: &[&str], after: &[&str], want: &str) {
    let text = compared(before, after, "").unwrap().text(&LOOK);
    assert_eq!(text.trim_end(), want.trim(), "\n{text}");
}

#[test]
fn clusters_that_differ_in_facts_alone_are_one_group() {
    let fleet = clusters();
    let shop = SHOP.replace("'app:1'", "'app:2', replicas: 3");
    check(
        &[WEB, SHOP, PIN, &fleet],
        &[WEB, &shop, PIN, &fleet],
        r#"
eu-1, eu-2, eu-10   3 clusters, 3 instances, equal
  Web team/shop
  ~ config      ConfigMap team/web-${cluster.name}
      data.image  "app:1" -> "app:2"
  ~ deployment  Deployment team/shop
      spec.replicas                             2 -> 3
      spec.template.spec.containers[app].image  "app:1" -> "app:2"
us-1   1 instance
  Web team/shop
  ~ deployment  Deployment team/shop
      spec.replicas  2 -> 3
Diff: 7 to update on 4 of 4 clusters"#,
    );
}

#[test]
fn what_a_definition_makes_no_more_and_what_it_makes_anew() {
    let fleet = cluster("eu-1", "eu");
    let (head, tail) = WEB.split_once("  - id: service").unwrap();
    let (_, rest) = tail.split_once("  - id: config").unwrap();
    let ingress = "  - id: extra\n    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: extra}, data: {region: '${cluster.labels.region}', uid: '${deployment.metadata.uid}'}}\n";
    let after =
        format!("{head}  - id: config{}{ingress}", rest.replace(", at: '${service.spec.clusterIP}'", ""));
    let after = after
        .replace("replicas: integer | default=2", "replicas: integer | default=2, host: string | default=a");
    let text = compared(&[WEB, SHOP, &fleet], &[&after, SHOP, &fleet], "").unwrap().text(&LOOK);
    let mut lines = text.lines();
    let definition = lines.next().unwrap();
    assert!(definition.starts_with("~ definition web   schema: ") && definition.contains("host"), "{text}");
    assert!(definition.ends_with(", nothing breaks"), "{text}");
    assert_eq!(
        lines.collect::<Vec<_>>().join("\n"),
        r"eu-1   1 instance
  Web team/shop
  ~ config   ConfigMap team/web-eu-1
      data.at  - ${service.spec.clusterIP}
  + extra    ConfigMap team/extra     2 fields; data.uid: ${deployment.metadata.uid}
  - service  Service team/shop        no node makes it any more
Diff: 1 to create, 1 to update, 1 to delete on 1 of 1 cluster"
    );
}

#[test]
fn what_comes_from_a_secret_is_nowhere() {
    let fleet = cluster("eu-1", "eu");
    let reading = WEB.to_owned()
        + "  - id: copy\n    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: copy}, data: {it: '${secret.stringData.password}'}}\n";
    let shop = SHOP.replace("'app:1'", "'app:1', password: correct-horse");
    let diff = compared(&[&reading, SHOP, &fleet], &[&reading, &shop, &fleet], "").unwrap();
    let text = diff.text(&LOOK);
    assert!(text.contains("stringData.password  (sensitive, changed)"), "{text}");
    assert!(text.contains("data.it  (sensitive, changed)"), "{text}");
    for form in [text, diff.json(), diff.yaml(), diff.markdown()] {
        assert!(!form.contains("hunter2") && !form.contains("correct-horse"), "{form}");
    }
}

#[test]
fn instances_come_and_go_by_the_words_of_the_hub() {
    let fleet = clusters();
    let eu = SHOP.replace("hub.kro.run/clusters: '*'", "hub.kro.run/cluster-selector: region=eu");
    let text = |after: &[&str]| compared(&[WEB, SHOP, &fleet], after, "").unwrap().text(&LOOK);
    let told = text(&[WEB, &eu, &fleet]);
    assert!(told.contains("us-1   1 instance\n  Web team/shop   leaves\n  - deployment"), "{told}");
    assert!(told.ends_with("4 to delete on 1 of 4 clusters\n"), "{told}");
    let told = text(&[WEB, &fleet]);
    assert!(told.contains("Web team/shop   deleted\n") && told.contains("16 to delete on 4 of 4"), "{told}");
    let other = SHOP.replace("name: shop", "name: blog");
    let told = text(&[WEB, SHOP, &other, &fleet]);
    assert!(told.contains("Web team/blog   new\n") && told.contains("Diff: 16 to create"), "{told}");
}

#[test]
fn what_is_lost_without_an_edit_of_the_words_is_held_as_on_the_hub() {
    let shop = SHOP.replace("hub.kro.run/clusters: '*'", "hub.kro.run/cluster-selector: region=eu");
    let before = cluster("a", "eu") + &cluster("b", "eu");
    let after = cluster("a", "us") + &cluster("b", "eu");
    let text = compared(&[WEB, &shop, &before], &[WEB, &shop, &after], "").unwrap().text(&LOOK);
    assert!(text.contains("Web team/shop   kept until somebody acknowledges: ShrinkHeld, token "), "{text}");
    assert!(!text.contains("to delete"), "{text}");
    let token = text.split("token ").nth(1).unwrap().split_whitespace().next().unwrap();
    let allowed =
        shop.replace("annotations: {", &format!("annotations: {{hub.kro.run/allow-shrink: '{token}', "));
    let text = compared(&[WEB, &shop, &before], &[WEB, &allowed, &after], "").unwrap().text(&LOOK);
    assert!(text.contains("Web team/shop   leaves\n"), "{text}");
}

#[test]
fn what_a_placement_would_lose_of_its_clusters_is_held_too() {
    let place = |region: &str| {
        PIN.replace("name: pin", "name: all").replace(
            "  instances: {kind: Web}\n",
            &format!("  instances: {{kind: Web}}\n  clusters: {{labelSelector: {{matchLabels: {{region: {region}}}}}}}\n"),
        )
    };
    let shop = SHOP.replace(", annotations: {hub.kro.run/clusters: '*'}", "");
    let fleet = clusters();
    let (before, after) = (place("eu"), place("us"));
    let text =
        compared(&[WEB, &shop, &before, &fleet], &[WEB, &shop, &after, &fleet], "").unwrap().text(&LOOK);
    assert!(text.contains("kept until somebody acknowledges: ShrinkHeld, token "), "{text}");
    assert!(text.contains(" of Placement team/all\n") && !text.contains("to delete"), "{text}");
    assert!(text.contains("us-1   1 instance\n  Web team/shop   comes here\n"), "{text}");
}

#[test]
fn on_the_local_cluster_the_instance_is_as_written() {
    let local = "---\napiVersion: hub.kro.run/v1alpha1\nkind: Cluster\nmetadata: {name: here, labels: {region: us}}\nspec: {local: true}\n";
    let fleet = cluster("us-1", "us") + local;
    let shop = SHOP.replace("hub.kro.run/clusters: '*'", "hub.kro.run/clusters: 'us-1,here'");
    let text = compared(&[WEB, &shop, &fleet], &[WEB, &shop, PIN, &fleet], "").unwrap().text(&LOOK);
    assert!(
        text.starts_with("us-1   1 instance\n") && text.contains("\"app:1\" -> \"app:pinned\""),
        "{text}"
    );
    assert!(!text.contains("here"), "overrides are for copies: {text}");
}

#[test]
fn a_cluster_that_is_taken_out_keeps_what_it_has() {
    let (before, after) = (clusters(), cluster("eu-1", "eu"));
    check(
        &[WEB, SHOP, &before],
        &[WEB, SHOP, &after, &cluster("new", "eu").replace("new", "eu-3")],
        r"
+ cluster eu-3   to be registered
- cluster eu-10   what runs there stays
- cluster eu-2   what runs there stays
- cluster us-1   what runs there stays
eu-3   1 instance
  Web team/shop   comes here
  + secret      Secret team/shop         1 field
  + service     Service team/shop        2 fields
  + config      ConfigMap team/web-eu-3  3 fields; data.at: ${service.spec.clusterIP}
  + deployment  Deployment team/shop     5 fields
Diff: 4 to create on 1 of 2 clusters",
    );
}

#[test]
fn instances_within_instances_are_opened() {
    let shops = "
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: mall}
spec:
  schema: {apiVersion: v1alpha1, kind: Mall, spec: {count: integer | default=1}}
  resources:
  - id: service
    template: {apiVersion: v1, kind: Service, metadata: {name: mall}, spec: {selector: {app: web}, ports: [{port: 80}]}}
  - id: web
    template: {apiVersion: kro.run/v1alpha1, kind: Web, metadata: {name: inner}, spec: {image: '${service.spec.clusterIP}'}}
";
    let mall = SHOP.replace("kind: Web", "kind: Mall").replace("{image: 'app:1'}", "{count: 1}");
    let fleet = cluster("eu-1", "eu");
    let after = WEB.replace("app: web}}, spec: {containers", "app: web, more: x}}, spec: {containers");
    let text =
        compared(&[WEB, shops, &mall, &fleet], &[&after, shops, &mall, &fleet], "").unwrap().text(&LOOK);
    assert!(
        text.contains("  Web team/inner\n  ~ deployment  Deployment team/inner\n      spec.template.metadata.labels.more  + \"x\"\n"),
        "{text}"
    );
}

#[test]
fn what_no_cluster_could_make_is_refused_and_takes_nothing_away() {
    let fleet = cluster("eu-1", "eu");
    let after = WEB.replace("name: 'web-${cluster.name}'", "name: 'Web ${cluster.name}'");
    // What waits for a cluster's answer is not judged.
    let without = |text: &str| text.replace("at: '${service.spec.clusterIP}', ", "");
    let diff = compared(&[&without(WEB), SHOP, &fleet], &[&without(&after), SHOP, &fleet], "").unwrap();
    let text = diff.text(&LOOK);
    assert!(text.contains("! config") && text.contains("refused: ") && text.contains("1 refused"), "{text}");
    assert!(!text.contains("to delete"), "{text}");
}

#[test]
fn a_fact_that_nobody_gave_is_asked_for() {
    let versioned =
        WEB.replace("region: '${cluster.labels.region}'", "minor: '${string(cluster.version.minor)}'");
    let fleet = cluster("eu-3", "eu");
    let told = compared(&[&versioned, SHOP, &fleet], &[&versioned, SHOP, &fleet], "").unwrap_err();
    assert_eq!(told, "eu-3: kro.cluster.version.minor is not in facts.yaml");
    let facts =
        "apiVersion: cli.hub.kro.run/v1alpha1\nkind: Facts\nclusters: {eu-3: {id: a, version: v1.33.1}}\n";
    let diff = compared(&[&versioned, SHOP, &fleet], &[&versioned, SHOP, &fleet, facts], "").unwrap();
    assert!(diff.changes.is_empty(), "facts are no part of a change: {}", diff.text(&LOOK));
    let told = compared(&[WEB, SHOP], &[WEB, SHOP], "").unwrap_err();
    assert!(told.starts_with("web reads kro.cluster.labels.region: there is no Cluster"), "{told}");
    let told = compared(&[WEB, SHOP, &fleet], &[WEB, SHOP, &fleet], "--clusters eu-4").unwrap_err();
    assert!(told.contains("there is no cluster \"eu-4\"; did you mean \"eu-3\"?"), "{told}");
}

#[test]
fn documents_fit_their_schema_and_a_comment_fits_its_forge() {
    let fleet = clusters();
    let mut before: Vec<String> = vec![WEB.into(), fleet.clone()];
    let mut after = before.clone();
    for number in 0..400 {
        let shop = SHOP.replace("name: shop", &format!("name: shop-{number}"));
        after.push(shop.replace("app:1", "app:`````2"));
        before.push(shop);
    }
    let diff = compared(&refs(&before), &refs(&after), "").unwrap();
    let document: Value = serde_json::from_str(&diff.json()).unwrap();
    assert_eq!(document["summary"]["update"], 3200);
    let markdown = diff.markdown();
    assert!(markdown.len() <= 60_000, "{}", markdown.len());
    assert!(markdown.contains("Left out here, for want of room: "), "{}", &markdown[markdown.len() - 300..]);
    assert_eq!(markdown.matches("<details>").count(), markdown.matches("</details>").count());
    assert!(markdown.contains("\n``````diff\n"), "a longer run of backticks holds the shorter one");
}

/// 100 instances on 40 clusters, each of which makes its own objects; with optimization it is to take five seconds at most.
#[test]
fn a_large_repository_is_compared_in_seconds() {
    let fleet: String = (0..40).map(|n| cluster(&format!("c-{n}"), "eu")).collect();
    let of = |image: &str| -> Vec<String> {
        let shops =
            (0..100).map(|n| SHOP.replace("name: shop", &format!("name: shop-{n}")).replace("app:1", image));
        [WEB.to_owned(), fleet.clone()].into_iter().chain(shops).collect()
    };
    let (before, after) = (of("app:1"), of("app:2"));
    let began = Instant::now();
    let diff = compared(&refs(&before), &refs(&after), "").unwrap();
    let took = began.elapsed();
    assert_eq!((diff.changes.groups.len(), diff.changes.summary.update), (1, 8000));
    println!("100 instances on 40 clusters, two revisions: {took:?}");
    let bound = if cfg!(debug_assertions) { 120 } else { 5 };
    assert!(took.as_secs() < bound, "{took:?}");
}
